/* ViT (Dosovitskiy et al. 2021), DeiT (Touvron et al. 2021): x += attention(norm1 x); x += mlp(norm2 x); norm; head on the class token.
 * qkv rows are [q of all heads | k of all heads | v of all heads]. Parameters carry timm's names. */
#include "layers/vit.h"
#include "autograd/ops.h"

#include <stdio.h>
#include <string.h>

typedef struct vit_block {
    sv_parameter *norm1_gain, *norm1_bias, *qkv, *qkv_bias, *proj, *proj_bias, *norm2_gain, *norm2_bias, *fc1, *fc1_bias, *fc2, *fc2_bias;
} vit_block;

typedef struct vit_slots {
    sv_parameter *class_token, *distillation_token, *positions, *patch, *patch_bias, *norm_gain, *norm_bias, *head, *head_bias, *head_dist, *head_dist_bias;
    vit_block blocks[];
} vit_slots;

static size_t hidden_width(const sv_model *model) { return (size_t)(model->options.mlp_ratio * (double)model->options.width + 0.5); }

/* ---- parameters -------------------------------------------------------------------------------------------------- */

/* Declares NAME.weight [rows, columns] (or [columns] where rows is 0) and NAME.bias. */
static sv_status declare_pair(sv_model *model, const char *name, sv_parameter **weight, sv_parameter **bias, size_t rows, size_t columns, sv_error *err)
{
    char full[96];
    size_t shape[] = { rows ? rows : columns, columns }, bias_shape[] = { rows ? rows : columns };
    snprintf(full, sizeof full, "%s.weight", name);
    sv_status status = sv_parameters_add(model->parameters, weight, full, rows ? 2 : 1, shape, err);
    if (status) return status;
    snprintf(full, sizeof full, "%s.bias", name);
    return sv_parameters_add(model->parameters, bias, full, 1, bias_shape, err);
}

static sv_status declare_block(sv_model *model, size_t index, vit_block *b, sv_error *err)
{
    size_t d = model->options.width, hidden = hidden_width(model);
    const struct { const char *name; sv_parameter **weight, **bias; size_t rows, columns; } pairs[] = {
        { "norm1", &b->norm1_gain, &b->norm1_bias, 0, d }, { "attn.qkv", &b->qkv, &b->qkv_bias, 3 * d, d }, { "attn.proj", &b->proj, &b->proj_bias, d, d },
        { "norm2", &b->norm2_gain, &b->norm2_bias, 0, d }, { "mlp.fc1", &b->fc1, &b->fc1_bias, hidden, d }, { "mlp.fc2", &b->fc2, &b->fc2_bias, d, hidden },
    };
    for (size_t i = 0; i < SV_COUNT(pairs); i++) {
        char name[64];
        snprintf(name, sizeof name, "blocks.%zu.%s", index, pairs[i].name);
        sv_status status = declare_pair(model, name, pairs[i].weight, pairs[i].bias, pairs[i].rows, pairs[i].columns, err);
        if (status) return status;
    }
    return SV_OK;
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
    if (!status) status = declare_pair(model, "norm", &slots->norm_gain, &slots->norm_bias, 0, o->width, err);
    if (!status) status = declare_pair(model, "head", &slots->head, &slots->head_bias, o->classes, o->width, err);
    if (!status && o->distilled) status = declare_pair(model, "head_dist", &slots->head_dist, &slots->head_dist_bias, o->classes, o->width, err);
    return status;
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
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
        bool norm = p->dims == 1 && ends_with(p->name, ".weight"), zero = p->dims == 1 && !patch && !norm;
        for (size_t k = 0; k < p->count; k++)
            p->value[k] = (sv_real)(norm ? 1 : zero ? 0 : patch ? bound * (2 * sv_random_uniform(&random) - 1) : spread * sv_random_normal(&random));
    }
}

/* ---- recording --------------------------------------------------------------------------------------------------- */

static sv_tensor *linear_of(sv_tape *tape, sv_tensor *x, sv_parameter *weight, sv_parameter *bias)
{
    return sv_tape_linear(tape, x, sv_tape_parameter(tape, weight), sv_tape_parameter(tape, bias));
}

static sv_tensor *norm_of(sv_tape *tape, const sv_model *model, sv_tensor *x, sv_parameter *gain, sv_parameter *bias)
{
    return sv_tape_layer_norm(tape, x, sv_tape_parameter(tape, gain), sv_tape_parameter(tape, bias), model->options.norm_eps);
}

static sv_tensor *vit_embed(sv_tape *tape, const sv_model *model, sv_tensor *picture)
{
    const vit_slots *s = model->slots;
    sv_tensor *patches = sv_tape_patch_embed(tape, picture, sv_tape_parameter(tape, s->patch), sv_tape_parameter(tape, s->patch_bias), model->options.image, model->options.image);
    sv_tensor *x = sv_tape_embed_tokens(tape, patches, sv_tape_parameter(tape, s->class_token), sv_tape_parameter(tape, s->distillation_token), sv_tape_parameter(tape, s->positions));
    if (model->options.dropout > 0) x = sv_tape_dropout(tape, x, model->options.dropout, 0);
    sv_tape_label(tape, x, "embed");
    return x;
}

/* x + branch(h W + b), the branch dropped for whole pictures now and then where drop path is on. */
static sv_tensor *add_branch(sv_tape *tape, const sv_model *model, size_t index, size_t which, sv_tensor *h, sv_parameter *weight, sv_parameter *bias, sv_tensor *x)
{
    const sv_model_options *o = &model->options;
    double share = o->depth > 1 ? o->drop_path * (double)index / (double)(o->depth - 1) : 0;
    size_t position = 1 + 4 * index + 2 * which;
    if (share <= 0 && o->dropout <= 0) return sv_tape_linear_add(tape, h, sv_tape_parameter(tape, weight), sv_tape_parameter(tape, bias), x);
    h = linear_of(tape, h, weight, bias);
    if (o->dropout > 0) h = sv_tape_dropout(tape, h, o->dropout, position);
    if (share > 0) h = sv_tape_drop_path(tape, h, share, position + 1);
    return sv_tape_add(tape, x, h);
}

static sv_tensor *vit_block_record(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor *policy)
{
    const vit_block *b = &((const vit_slots *)model->slots)->blocks[index];
    const sv_attention_form *form = &model->attention;
    sv_tensor *h = linear_of(tape, norm_of(tape, model, x, b->norm1_gain, b->norm1_bias), b->qkv, b->qkv_bias);
    if (policy && form->plain) h = sv_tape_policy_attention(tape, h, policy, model->options.heads, form->eps, form->top_all, form->clamp);
    else h = sv_tape_attention(tape, h, policy, model->options.heads, form->clamp);
    x = add_branch(tape, model, index, 0, h, b->proj, b->proj_bias, x);
    h = norm_of(tape, model, x, b->norm2_gain, b->norm2_bias);
    h = sv_tape_linear_gelu(tape, h, sv_tape_parameter(tape, b->fc1), sv_tape_parameter(tape, b->fc1_bias));
    if (model->options.dropout > 0) h = sv_tape_dropout(tape, h, model->options.dropout, 4 * index + 4);
    x = add_branch(tape, model, index, 1, h, b->fc2, b->fc2_bias, x);
    sv_tape_label(tape, x, "blocks.%zu", index);
    return x;
}

static sv_tensor *vit_finish(sv_tape *tape, const sv_model *model, sv_tensor *x)
{
    const vit_slots *s = model->slots;
    return norm_of(tape, model, x, s->norm_gain, s->norm_bias);
}

static sv_tensor *vit_heads(sv_tape *tape, const sv_model *model, sv_tensor *finished, sv_tensor **distillation)
{
    const vit_slots *s = model->slots;
    sv_tensor *logits = linear_of(tape, sv_tape_slice_rows(tape, finished, 0, 1), s->head, s->head_bias);
    if (model->options.distilled) *distillation = linear_of(tape, sv_tape_slice_rows(tape, finished, 1, 1), s->head_dist, s->head_dist_bias);
    return logits;
}

static sv_tensor *vit_head(sv_tape *tape, const sv_model *model, sv_tensor *finished)
{
    sv_tensor *other = NULL, *logits = vit_heads(tape, model, finished, &other);
    if (other) logits = sv_tape_scale(tape, sv_tape_add(tape, logits, other), 0.5);
    sv_tape_label(tape, logits, "logits");
    return logits;
}

/* ---- work -------------------------------------------------------------------------------------------------------- */

static uint64_t vit_block_macs(const sv_model *model, size_t tokens)
{
    uint64_t n = tokens, d = model->options.width, hidden = hidden_width(model);
    return n * d * (4 * d + 2 * hidden) + 2 * n * n * d;
}

static uint64_t vit_fixed_macs(const sv_model *model)
{
    const sv_model_options *o = &model->options;
    return (uint64_t)sv_model_patches(model) * 3 * o->patch * o->patch * o->width + (uint64_t)sv_model_prefix(model) * o->width * o->classes;
}

static const char *const head_names[] = { "head.weight", "head.bias", "head_dist.weight", "head_dist.bias", NULL };

const sv_family sv_family_vit = { .name = "vit", .declare = vit_declare, .initialise = vit_initialise, .embed = vit_embed, .block = vit_block_record,
    .finish = vit_finish, .head = vit_head, .block_macs = vit_block_macs, .fixed_macs = vit_fixed_macs, .head_names = head_names, .heads = vit_heads };
