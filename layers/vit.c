/* ViT (Dosovitskiy et al. 2021), DeiT (Touvron et al. 2021): x += attention(norm1 x); x += mlp(norm2 x); norm; head on the class token.
 * qkv rows are [q of all heads | k of all heads | v of all heads]. Parameters carry timm's names. */
#include "layers/vit.h"
#include "layers/block.h"

#include <stdio.h>
#include <string.h>

typedef struct vit_slots {
    sv_parameter *class_token, *distillation_token, *positions, *patch, *patch_bias, *norm_gain, *norm_bias, *head, *head_bias, *head_dist, *head_dist_bias;
    sv_block blocks[];
} vit_slots;

static size_t hidden_width(const sv_model *model) { return (size_t)(model->options.mlp_ratio * (double)model->options.width + 0.5); }

/* ---- parameters -------------------------------------------------------------------------------------------------- */

static sv_block_form form_of(const sv_model *model, size_t index)
{
    const sv_model_options *o = &model->options;
    return (sv_block_form){ .index = index, .width = o->width, .hidden = hidden_width(model), .heads = o->heads, .eps = o->norm_eps, .dropout = o->dropout,
                            .drop_share = o->depth > 1 ? o->drop_path * (double)index / (double)(o->depth - 1) : 0 };
}

static sv_status declare_block(sv_model *model, size_t index, sv_block *block, sv_error *err)
{
    const sv_block_form form = form_of(model, index);
    char name[64];
    snprintf(name, sizeof name, "blocks.%zu", index);
    return sv_block_declare(model, block, name, &form, err);
}

static sv_status vit_declare(sv_model *model, sv_error *err)
{
    const sv_model_options *o = &model->options;
    size_t bytes = 0, token[] = { 1, 1, o->width }, positions[] = { 1, sv_model_patches(model) + sv_model_prefix(model), o->width };
    size_t patch[] = { o->width, 3, o->patch, o->patch };
    vit_slots *slots = NULL;
    if (sv_mul_size(&bytes, o->depth, sizeof *slots->blocks) || sv_add_size(&bytes, bytes, sizeof *slots)) return sv_fail(err, SV_USAGE, "model.depth = %zu is too large", o->depth);
    sv_status status = sv_alloc_zero(&slots, bytes, "model", err);
    if (status) return status;
    model->slots = slots;
    status = sv_parameters_add(model->parameters, &slots->class_token, "cls_token", 3, token, err);
    if (!status && o->distilled) status = sv_parameters_add(model->parameters, &slots->distillation_token, "dist_token", 3, token, err);
    if (!status) status = sv_parameters_add(model->parameters, &slots->positions, "pos_embed", 3, positions, err);
    if (!status) status = sv_parameters_add(model->parameters, &slots->patch, "patch_embed.proj.weight", 4, patch, err);
    if (!status) status = sv_parameters_add(model->parameters, &slots->patch_bias, "patch_embed.proj.bias", 1, patch, err);
    for (size_t i = 0; !status && i < o->depth; i++) status = declare_block(model, i, &slots->blocks[i], err);
    if (!status) status = sv_norm_declare(model, "norm", &slots->norm_gain, &slots->norm_bias, o->width, err);
    if (!status) status = sv_linear_declare(model, "head", &slots->head, &slots->head_bias, o->classes, o->width, err);
    if (!status && o->distilled) status = sv_linear_declare(model, "head_dist", &slots->head_dist, &slots->head_dist_bias, o->classes, o->width, err);
    return status;
}

/* Linear weights, tokens and positions normal .02, biases 0, norms 1 and 0; the patch convolution uniform +- 1/sqrt(fan in) (spec 1.8, 3.11). */
static void vit_initialise(sv_model *model, uint64_t seed)
{
    const vit_slots *slots = model->slots;
    double bound = 1 / __builtin_sqrt((double)(3 * model->options.patch * model->options.patch));
    for (size_t i = 0; i < model->parameters->count; i++) {
        sv_parameter *p = model->parameters->items[i];
        sv_random random = sv_random_at(seed, SV_FOR_INIT, 0, i, 0);
        bool patch = p == slots->patch || p == slots->patch_bias;
        double spread = p->dims == 2 && model->backbone->init > 0 ? model->backbone->init : 0.02;
        bool norm = p->dims == 1 && sv_name_ends(p->name, ".weight"), zero = p->dims == 1 && !patch && !norm;
        for (size_t k = 0; k < p->count; k++)
            p->value[k] = (sv_real)(norm ? 1 : zero ? 0 : patch ? bound * (2 * sv_random_uniform(&random) - 1) : spread * sv_random_normal(&random));
    }
}

/* ---- recording --------------------------------------------------------------------------------------------------- */

static sv_tensor *vit_embed(sv_tape *tape, const sv_model *model, sv_tensor *picture)
{
    const vit_slots *s = model->slots;
    sv_tensor *patches = sv_tape_patch_embed(tape, picture, sv_tape_parameter(tape, s->patch), sv_tape_parameter(tape, s->patch_bias), model->options.image, model->options.image);
    sv_tensor *x = sv_tape_embed_tokens(tape, patches, sv_tape_parameter(tape, s->class_token), sv_tape_parameter(tape, s->distillation_token), sv_tape_parameter(tape, s->positions));
    if (model->options.dropout > 0) x = sv_tape_dropout(tape, x, model->options.dropout, 0);
    sv_tape_label(tape, x, "embed");
    return x;
}

static sv_tensor *vit_block_record(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor *policy)
{
    const sv_block_form form = form_of(model, index);
    x = sv_block_record(tape, model, &((const vit_slots *)model->slots)->blocks[index], &form, x, policy);
    sv_tape_label(tape, x, "blocks.%zu", index);
    return x;
}

static sv_tensor *vit_finish(sv_tape *tape, const sv_model *model, sv_tensor *x)
{
    const vit_slots *s = model->slots;
    return sv_norm_of(tape, x, s->norm_gain, s->norm_bias, model->options.norm_eps);
}

static sv_tensor *vit_heads(sv_tape *tape, const sv_model *model, sv_tensor *finished, sv_tensor **distillation)
{
    const vit_slots *s = model->slots;
    sv_tensor *logits = sv_linear_of(tape, sv_tape_slice_rows(tape, finished, 0, 1), s->head, s->head_bias);
    if (model->options.distilled) *distillation = sv_linear_of(tape, sv_tape_slice_rows(tape, finished, 1, 1), s->head_dist, s->head_dist_bias);
    return logits;
}

static sv_tensor *vit_head(sv_tape *tape, const sv_model *model, sv_tensor *finished)
{
    sv_tensor *other = NULL, *logits = vit_heads(tape, model, finished, &other);
    if (other) logits = sv_tape_scale(tape, sv_tape_add(tape, logits, other), 0.5);
    sv_tape_label(tape, logits, "logits");
    return logits;
}

static const sv_block *vit_block_of(const sv_model *model, size_t index, sv_block_form *form)
{
    *form = form_of(model, index);
    return &((const vit_slots *)model->slots)->blocks[index];
}

/* ---- work -------------------------------------------------------------------------------------------------------- */

static uint64_t vit_block_macs(const sv_model *model, size_t tokens)
{
    const sv_block_form form = form_of(model, 0);
    return sv_block_macs(&form, tokens, tokens);
}

static uint64_t vit_fixed_macs(const sv_model *model)
{
    const sv_model_options *o = &model->options;
    return (uint64_t)sv_model_patches(model) * 3 * o->patch * o->patch * o->width + (uint64_t)sv_model_prefix(model) * o->width * o->classes;
}

static const char *const head_names[] = { "head.weight", "head.bias", "head_dist.weight", "head_dist.bias", NULL };

const sv_family sv_family_vit = { .name = "vit", .declare = vit_declare, .initialise = vit_initialise, .embed = vit_embed, .block = vit_block_record,
    .finish = vit_finish, .head = vit_head, .block_macs = vit_block_macs, .fixed_macs = vit_fixed_macs, .head_names = head_names, .heads = vit_heads, .block_of = vit_block_of };
