/* LV-ViT (Jiang et al. 2021): three convolutions with batch norm in front of the patches, blocks without a bias of qkv whose branches are
 * divided by skip_lam, and a second head for every patch. Answer: class head + half the largest of the kept patches', class by class; dense
 * training learns what is measured, so it is recorded alike. Batch norms use their stored statistics, which never change here (docs/decisions.md).
 * Parameters carry the authors' names; timm has no such model. */
#include "layers/lvvit.h"
#include "layers/block.h"

#include <stdio.h>
#include <string.h>

enum { PATCH = 16, PROJ = 8, CONVS = 3 }; /* the stem halves the picture once, patches of 8 do the rest */

typedef struct stem_conv {
    sv_parameter *weight, *gain, *bias, *mean, *variance;
} stem_conv;

typedef struct lvvit_slots {
    sv_parameter *class_token, *positions, *proj, *proj_bias, *norm_gain, *norm_bias, *head, *head_bias, *aux, *aux_bias;
    stem_conv convs[CONVS];
    sv_block blocks[];
} lvvit_slots;

typedef struct conv_size {
    size_t side, stride, padding;
} conv_size;
static const conv_size sizes[CONVS] = { { 7, 2, 3 }, { 3, 1, 1 }, { 3, 1, 1 } };
static const double batch_norm_eps = 1e-5;

static const sv_lvvit_form *form_row(const sv_model *model) { return model->backbone->form; }

static sv_block_form form_of(const sv_model *model, size_t index)
{
    const sv_model_options *o = &model->options;
    return (sv_block_form){ .index = index,
                            .width = o->width,
                            .hidden = (size_t)(o->mlp_ratio * (double)o->width + 0.5),
                            .heads = o->heads,
                            .eps = o->norm_eps,
                            .dropout = o->dropout,
                            .drop_share = o->depth > 1 ? o->drop_path * (double)index / (double)(o->depth - 1) : 0,
                            .branch_scale = 1 / form_row(model)->skip_lam,
                            .bare_qkv = true };
}

/* ---- parameters ---------------------------------------------------------------------------------------------------- */

static sv_status lvvit_check(const sv_model *model, sv_error *err)
{
    const sv_model_options *o = &model->options;
    if (o->patch != PATCH)
        return sv_fail(err, SV_USAGE, "model.patch = %zu, but the stem of %s makes patches of %d pixels", o->patch, model->backbone->name,
                       PATCH);
    if (o->image % PATCH) return sv_fail(err, SV_USAGE, "data.image_size = %zu is not a multiple of %d", o->image, PATCH);
    if (o->width % o->heads) return sv_fail(err, SV_USAGE, "model.width = %zu is not a multiple of model.heads = %zu", o->width, o->heads);
    if (o->distilled)
        return sv_fail(err, SV_USAGE, "%s has no distillation token, so model.distilled does not fit it", model->backbone->name);
    return SV_OK;
}

static sv_status declare_statistic(sv_model *model, const char *norm, const char *word, sv_parameter **out, size_t width, sv_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", norm, word);
    sv_status status = sv_parameters_add(model->parameters, out, name, 1, &width, err);
    if (!status) (*out)->fixed = true;
    return status;
}

static sv_status declare_conv(sv_model *model, size_t i, stem_conv *conv, sv_error *err)
{
    const size_t stem = form_row(model)->stem, side = sizes[i].side;
    char name[48];
    snprintf(name, sizeof name, "patch_embed.conv%zu", i + 1);
    sv_status status = sv_pair_declare(model, name, &conv->weight, NULL, 4, (size_t[]){ stem, i ? stem : 3, side, side }, err);
    snprintf(name, sizeof name, "patch_embed.bn%zu", i + 1);
    if (!status) status = sv_norm_declare(model, name, &conv->gain, &conv->bias, stem, err);
    if (!status) status = declare_statistic(model, name, "running_mean", &conv->mean, stem, err);
    return status ? status : declare_statistic(model, name, "running_var", &conv->variance, stem, err);
}

static sv_status declare_ends(sv_model *model, lvvit_slots *slots, sv_error *err)
{
    const sv_model_options *o = &model->options;
    sv_status status = sv_norm_declare(model, "norm", &slots->norm_gain, &slots->norm_bias, o->width, err);
    if (!status) status = sv_linear_declare(model, "head", &slots->head, &slots->head_bias, o->classes, o->width, err);
    return status ? status : sv_linear_declare(model, "aux_head", &slots->aux, &slots->aux_bias, o->classes, o->width, err);
}

static sv_status lvvit_declare(sv_model *model, sv_error *err)
{
    const sv_model_options *o = &model->options;
    lvvit_slots *slots = NULL;
    sv_status status = sv_alloc_zero(&slots, sizeof *slots + o->depth * sizeof *slots->blocks, "model", err);
    if (status) return status;
    model->slots = slots;
    status = sv_parameters_add(model->parameters, &slots->class_token, "cls_token", 3, (size_t[]){ 1, 1, o->width }, err);
    if (!status)
        status = sv_parameters_add(model->parameters, &slots->positions, "pos_embed", 3,
                                   (size_t[]){ 1, 1 + sv_model_patches(model), o->width }, err);
    for (size_t i = 0; !status && i < CONVS; i++) status = declare_conv(model, i, &slots->convs[i], err);
    if (!status)
        status = sv_pair_declare(model, "patch_embed.proj", &slots->proj, &slots->proj_bias, 4,
                                 (size_t[]){ o->width, form_row(model)->stem, PROJ, PROJ }, err);
    for (size_t i = 0; !status && i < o->depth; i++) {
        const sv_block_form form = form_of(model, i);
        char name[48];
        snprintf(name, sizeof name, "blocks.%zu", i);
        status = sv_block_declare(model, &slots->blocks[i], name, &form, err);
    }
    return status ? status : declare_ends(model, slots, err);
}

/* Linear layers, token and positions normal .02, biases 0, norms 1 and 0; convolutions as torch makes them (spec 4.9). */
static void lvvit_initialise(sv_model *model, uint64_t seed)
{
    const lvvit_slots *slots = model->slots;
    const double spread = model->backbone->init > 0 ? model->backbone->init : 0.02;
    for (size_t i = 0; i < model->parameters->count; i++) {
        const sv_parameter *p = model->parameters->items[i];
        sv_start_rule rule = sv_start_usual(p, p->dims == 2 ? spread : 0.02);
        if (p->dims == 4 || p == slots->proj_bias) rule = sv_start_torch(model, p);
        if (sv_name_ends(p->name, "running_var")) rule = (sv_start_rule){ SV_START_ONE, 0 };
        sv_start_parameter(model, i, seed, rule);
    }
}

/* ---- recording ----------------------------------------------------------------------------------------------------- */

static sv_tensor *stem_of(sv_tape *tape, const sv_model *model, sv_tensor *x)
{
    const lvvit_slots *s = model->slots;
    size_t side = model->options.image;
    for (size_t i = 0; i < CONVS; i++) {
        const stem_conv *conv = &s->convs[i];
        x = sv_tape_conv2d(tape, x, sv_tape_parameter(tape, conv->weight), NULL, side, side, sizes[i].stride, sizes[i].padding, 1);
        x = sv_tape_batch_norm(tape, x, sv_tape_parameter(tape, conv->gain), sv_tape_parameter(tape, conv->bias),
                               sv_tape_parameter(tape, conv->mean), sv_tape_parameter(tape, conv->variance), batch_norm_eps);
        x = sv_tape_relu(tape, x);
        if (!i) side /= 2;
    }
    return sv_tape_conv2d(tape, x, sv_tape_parameter(tape, s->proj), sv_tape_parameter(tape, s->proj_bias), side, side, PROJ, 0, 1);
}

static sv_tensor *lvvit_embed(sv_tape *tape, const sv_model *model, sv_tensor *picture)
{
    const lvvit_slots *s = model->slots;
    sv_tensor *x = sv_tape_embed_tokens(tape, stem_of(tape, model, picture), sv_tape_parameter(tape, s->class_token), NULL,
                                        sv_tape_parameter(tape, s->positions));
    if (model->options.dropout > 0) x = sv_tape_dropout(tape, x, model->options.dropout, 0);
    sv_tape_label(tape, x, "embed");
    return x;
}

static sv_tensor *lvvit_block(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor *policy)
{
    const sv_block_form form = form_of(model, index);
    x = sv_block_record(tape, model, &((const lvvit_slots *)model->slots)->blocks[index], &form, x, policy);
    sv_tape_label(tape, x, "blocks.%zu", index);
    return x;
}

static sv_tensor *lvvit_finish(sv_tape *tape, const sv_model *model, sv_tensor *x)
{
    const lvvit_slots *s = model->slots;
    return sv_norm_of(tape, x, s->norm_gain, s->norm_bias, model->options.norm_eps);
}

static sv_tensor *lvvit_class_head(sv_tape *tape, const sv_model *model, sv_tensor *finished)
{
    const lvvit_slots *s = model->slots;
    return sv_linear_of(tape, sv_tape_slice_rows(tape, finished, 0, 1), s->head, s->head_bias);
}

static sv_tensor *lvvit_patch_head(sv_tape *tape, const sv_model *model, sv_tensor *rows)
{
    const lvvit_slots *s = model->slots;
    return sv_linear_of(tape, rows, s->aux, s->aux_bias);
}

/* Package tokens pass the second head with the others and are left out of the maximum, as are patches that are no more (spec SPViT on other
 * backbones 2.3). */
static sv_tensor *lvvit_head_kept(sv_tape *tape, const sv_model *model, sv_tensor *finished, sv_tensor *origin)
{
    sv_tensor *logits = lvvit_class_head(tape, model, finished);
    sv_tensor *of_patches = lvvit_patch_head(tape, model, sv_tape_slice_rows(tape, finished, 1, 0));
    sv_tensor *largest = sv_tape_largest_kept(tape, of_patches, origin ? sv_tape_slice_rows(tape, origin, 1, 0) : NULL);
    logits = sv_tape_add(tape, logits, sv_tape_scale(tape, largest, 0.5));
    sv_tape_label(tape, logits, "logits");
    return logits;
}

static sv_tensor *lvvit_head(sv_tape *tape, const sv_model *model, sv_tensor *finished) { return lvvit_head_kept(tape, model, finished, NULL); }

static const sv_block *lvvit_block_of(const sv_model *model, size_t index, sv_block_form *form)
{
    *form = form_of(model, index);
    return &((const lvvit_slots *)model->slots)->blocks[index];
}

/* ---- work ---------------------------------------------------------------------------------------------------------- */

static uint64_t lvvit_block_macs(const sv_model *model, size_t tokens)
{
    const sv_block_form form = form_of(model, 0);
    return sv_block_macs(&form, tokens, tokens);
}

static uint64_t lvvit_fixed_macs(const sv_model *model)
{
    const sv_model_options *o = &model->options;
    const uint64_t stem = form_row(model)->stem, half = o->image / 2;
    return half * half * stem * (3 * 7 * 7 + 2 * 9 * stem) + sv_model_patches(model) * PROJ * PROJ * stem * o->width + o->width * o->classes;
}

static uint64_t lvvit_patch_head_macs(const sv_model *model, size_t patches) { return (uint64_t)patches * model->options.width * model->options.classes; }

static const char *const head_names[] = { "head.weight", "head.bias", "aux_head.weight", "aux_head.bias", NULL };

const sv_family sv_family_lvvit = {
    .name = "lvvit",
    .check = lvvit_check,
    .declare = lvvit_declare,
    .initialise = lvvit_initialise,
    .embed = lvvit_embed,
    .block = lvvit_block,
    .finish = lvvit_finish,
    .head = lvvit_head,
    .head_kept = lvvit_head_kept,
    .class_head = lvvit_class_head,
    .patch_head = lvvit_patch_head,
    .block_macs = lvvit_block_macs,
    .fixed_macs = lvvit_fixed_macs,
    .patch_head_macs = lvvit_patch_head_macs,
    .block_of = lvvit_block_of,
    .head_reads_all = true,
    .head_names = head_names,
};
