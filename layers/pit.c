/* PiT (Heo et al. 2021): an overlapping stem, positions as a map, and between three stages of plain blocks a pooling that halves the grid and
 * doubles the width: a depthwise convolution for patches, a linear layer for the class tokens. Norm and head see the class tokens alone.
 * Parameters carry timm's names; the authors' files have pools.S where timm has transformers.(S+1).pool. */
#include "layers/pit.h"
#include "layers/block.h"

#include <stdio.h>
#include <string.h>

typedef struct pit_pool {
    sv_parameter *conv, *conv_bias, *fc, *fc_bias;
} pit_pool;

typedef struct pit_slots {
    sv_parameter *tokens, *positions, *patch, *patch_bias, *norm_gain, *norm_bias, *head, *head_bias, *head_dist, *head_dist_bias;
    pit_pool pools[SV_BACKBONE_STAGES]; /* [s]: before stage s, s >= 1 */
    sv_block blocks[];
} pit_slots;

/* Places a side in stage `stage`: floor((image - patch) / stride) + 1, then halved, rounded up. */
static size_t side_of(const sv_model *model, size_t stage)
{
    const sv_model_options *o = &model->options;
    size_t side = (o->image - o->patch) / sv_stages_of(model)->stride + 1;
    while (stage--) side = (side - 1) / 2 + 1;
    return side;
}

static sv_block_form form_of(const sv_model *model, size_t index)
{
    const sv_stages *stages = sv_stages_of(model);
    const sv_model_options *o = &model->options;
    size_t inside = 0, stage = sv_stage_of(stages, index, &inside), width = stages->width[stage];
    return (sv_block_form){ .index = index,
                            .width = width,
                            .hidden = (size_t)(o->mlp_ratio * (double)width + 0.5),
                            .heads = stages->heads[stage],
                            .eps = o->norm_eps,
                            .dropout = o->dropout,
                            .drop_share = o->drop_path * (double)index
                                          / (double)o->depth }; /* the authors' rule: the last block stays below the maximum */
}

/* ---- parameters ---------------------------------------------------------------------------------------------------- */

static sv_status pit_check(const sv_model *model, sv_error *err)
{
    if (model->options.image < model->options.patch)
        return sv_fail(err, SV_USAGE, "data.image_size = %zu is less than a patch of %zu pixels", model->options.image,
                       model->options.patch);
    return sv_stages_check(model, err);
}

static sv_status declare_pool(sv_model *model, size_t stage, pit_pool *pool, sv_error *err)
{
    const sv_stages *stages = sv_stages_of(model);
    size_t from = stages->width[stage - 1], to = stages->width[stage];
    char name[64];
    snprintf(name, sizeof name, "transformers.%zu.pool.conv", stage);
    sv_status status = sv_pair_declare(model, name, &pool->conv, &pool->conv_bias, 4, (size_t[]){ to, 1, 3, 3 }, err);
    snprintf(name, sizeof name, "transformers.%zu.pool.fc", stage);
    return status ? status : sv_linear_declare(model, name, &pool->fc, &pool->fc_bias, to, from, err);
}

static sv_status declare_blocks(sv_model *model, pit_slots *slots, sv_error *err)
{
    sv_status status = SV_OK;
    for (size_t i = 0; !status && i < model->options.depth; i++) {
        const sv_block_form form = form_of(model, i);
        size_t inside = 0, stage = sv_stage_of(sv_stages_of(model), i, &inside);
        char name[64];
        snprintf(name, sizeof name, "transformers.%zu.blocks.%zu", stage, inside);
        if (stage && !inside) status = declare_pool(model, stage, &slots->pools[stage], err);
        if (!status) status = sv_block_declare(model, &slots->blocks[i], name, &form, err);
    }
    return status;
}

static sv_status pit_declare(sv_model *model, sv_error *err)
{
    const sv_model_options *o = &model->options;
    const sv_stages *stages = sv_stages_of(model);
    const size_t side = side_of(model, 0), last = stages->width[stages->count - 1];
    pit_slots *slots = NULL;
    sv_status status = sv_alloc_zero(&slots, sizeof *slots + o->depth * sizeof *slots->blocks, "model", err);
    if (status) return status;
    model->slots = slots;
    status = sv_parameters_add(model->parameters, &slots->positions, "pos_embed", 4, (size_t[]){ 1, o->width, side, side }, err);
    if (!status)
        status =
            sv_parameters_add(model->parameters, &slots->tokens, "cls_token", 3, (size_t[]){ 1, sv_model_prefix(model), o->width }, err);
    if (!status)
        status = sv_pair_declare(model, "patch_embed.conv", &slots->patch, &slots->patch_bias, 4,
                                 (size_t[]){ o->width, 3, o->patch, o->patch }, err);
    if (!status) status = declare_blocks(model, slots, err);
    if (!status) status = sv_norm_declare(model, "norm", &slots->norm_gain, &slots->norm_bias, last, err);
    if (!status) status = sv_linear_declare(model, "head", &slots->head, &slots->head_bias, o->classes, last, err);
    if (!status && o->distilled)
        status = sv_linear_declare(model, "head_dist", &slots->head_dist, &slots->head_dist_bias, o->classes, last, err);
    return status;
}

/* Positions and tokens normal .02, norms 1 and 0, every linear layer and convolution as torch makes them (spec 5.8). */
static void pit_initialise(sv_model *model, uint64_t seed)
{
    const pit_slots *slots = model->slots;
    for (size_t i = 0; i < model->parameters->count; i++) {
        const sv_parameter *p = model->parameters->items[i];
        const bool usual = p == slots->positions || p == slots->tokens || strstr(p->name, "norm");
        sv_start_parameter(model, i, seed, usual ? sv_start_usual(p, 0.02) : sv_start_torch(model, p));
    }
}

static bool pit_official_name(const char *own, char *out, size_t room)
{
    unsigned stage = 0;
    int used = 0;
    if (sscanf(own, "transformers.%u.pool.%n", &stage, &used) != 1 || !used) return false;
    snprintf(out, room, "pools.%u.%s", stage - 1, own + used);
    return true;
}

/* ---- recording ----------------------------------------------------------------------------------------------------- */

static size_t pit_patches(const sv_model *model)
{
    size_t side = side_of(model, 0);
    return side * side;
}

static sv_tensor *pit_embed(sv_tape *tape, const sv_model *model, sv_tensor *picture)
{
    const pit_slots *s = model->slots;
    const size_t image = model->options.image;
    sv_tensor *patches = sv_tape_conv2d(tape, picture, sv_tape_parameter(tape, s->patch), sv_tape_parameter(tape, s->patch_bias), image,
                                        image, sv_stages_of(model)->stride, 0, 1);
    sv_tensor *x = sv_tape_embed_map(tape, patches, sv_tape_parameter(tape, s->tokens), sv_tape_parameter(tape, s->positions));
    if (model->options.dropout > 0) x = sv_tape_dropout(tape, x, model->options.dropout, 0);
    sv_tape_label(tape, x, "embed");
    return x;
}

static sv_tensor *pit_pooled(sv_tape *tape, const sv_model *model, size_t stage, sv_tensor *x)
{
    const pit_pool *pool = &((const pit_slots *)model->slots)->pools[stage];
    const size_t prefix = sv_model_prefix(model), side = side_of(model, stage - 1), behind = prefix + side * side;
    const bool more = sv_tensor_rows(x).most > behind; /* package tokens */
    sv_tensor *tokens = sv_linear_of(tape, sv_tape_slice_rows(tape, x, 0, prefix), pool->fc, pool->fc_bias);
    sv_tensor *grid = sv_tape_depthwise_conv(tape, sv_tape_slice_rows(tape, x, prefix, more ? side * side : 0), sv_tape_parameter(tape, pool->conv),
                                             sv_tape_parameter(tape, pool->conv_bias), side, side, 2, 1);
    grid = sv_tape_concat_rows(tape, tokens, grid);
    return more ? sv_tape_concat_rows(tape, grid, sv_linear_of(tape, sv_tape_slice_rows(tape, x, behind, 0), pool->fc, pool->fc_bias)) : grid;
}

static sv_tensor *pit_enter(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x)
{
    size_t inside = 0, stage = sv_stage_of(sv_stages_of(model), index, &inside);
    return stage && !inside ? pit_pooled(tape, model, stage, x) : x;
}

static sv_tensor *pit_block(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor *policy)
{
    const sv_block_form form = form_of(model, index);
    size_t inside = 0, stage = sv_stage_of(sv_stages_of(model), index, &inside);
    x = sv_block_record(tape, model, &((const pit_slots *)model->slots)->blocks[index], &form, x, policy);
    sv_tape_label(tape, x, "transformers.%zu.blocks.%zu", stage, inside);
    return x;
}

/* Attention is over all rows there are, so places do not matter. */
static sv_tensor *pit_among(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor *place, sv_tensor *policy)
{
    (void)place;
    return pit_block(tape, model, index, x, policy);
}

static sv_tensor *pit_finish(sv_tape *tape, const sv_model *model, sv_tensor *x)
{
    const pit_slots *s = model->slots;
    return sv_norm_of(tape, x, s->norm_gain, s->norm_bias, model->options.norm_eps);
}

static sv_tensor *pit_heads(sv_tape *tape, const sv_model *model, sv_tensor *finished, sv_tensor **distillation)
{
    const pit_slots *s = model->slots;
    sv_tensor *logits = sv_linear_of(tape, sv_tape_slice_rows(tape, finished, 0, 1), s->head, s->head_bias);
    if (model->options.distilled)
        *distillation = sv_linear_of(tape, sv_tape_slice_rows(tape, finished, 1, 1), s->head_dist, s->head_dist_bias);
    return logits;
}

static sv_tensor *pit_head(sv_tape *tape, const sv_model *model, sv_tensor *finished)
{
    sv_tensor *other = NULL, *logits = pit_heads(tape, model, finished, &other);
    if (other) logits = sv_tape_scale(tape, sv_tape_add(tape, logits, other), 0.5);
    sv_tape_label(tape, logits, "logits");
    return logits;
}

/* ---- work ---------------------------------------------------------------------------------------------------------- */

static sv_place pit_place(const sv_model *model, size_t index) { return sv_stage_place(model, index, side_of); }

static uint64_t pit_among_macs(const sv_model *model, size_t index, size_t patches, size_t packages)
{
    const sv_block_form form = form_of(model, index);
    const size_t tokens = sv_model_prefix(model) + patches + packages;
    return sv_block_macs(&form, tokens, tokens);
}

static uint64_t pit_carry_macs(const sv_model *model, size_t index)
{
    const sv_stages *stages = sv_stages_of(model);
    size_t inside = 0, stage = sv_stage_of(stages, index, &inside);
    return stage && !inside ? (uint64_t)stages->width[stage - 1] * stages->width[stage] : 0;
}

static uint64_t pit_macs(const sv_model *model)
{
    const sv_stages *stages = sv_stages_of(model);
    const sv_model_options *o = &model->options;
    const uint64_t prefix = sv_model_prefix(model);
    uint64_t sum = pit_patches(model) * 3 * o->patch * o->patch * o->width + prefix * stages->width[stages->count - 1] * o->classes;
    for (size_t i = 0; i < o->depth; i++) {
        const sv_block_form form = form_of(model, i);
        size_t inside = 0, stage = sv_stage_of(stages, i, &inside), places = side_of(model, stage) * side_of(model, stage);
        if (stage && !inside) sum += places * 9 * form.width + prefix * stages->width[stage - 1] * form.width;
        sum += sv_block_macs(&form, places + prefix, places + prefix);
    }
    return sum;
}

static const char *const head_names[] = { "head.weight", "head.bias", "head_dist.weight", "head_dist.bias", NULL };

const sv_family sv_family_pit = {
    .name = "pit",
    .check = pit_check,
    .declare = pit_declare,
    .initialise = pit_initialise,
    .patches = pit_patches,
    .embed = pit_embed,
    .enter = pit_enter,
    .place = pit_place,
    .block = pit_block,
    .among = pit_among,
    .among_macs = pit_among_macs,
    .carry_macs = pit_carry_macs,
    .finish = pit_finish,
    .head = pit_head,
    .heads = pit_heads,
    .macs = pit_macs,
    .head_names = head_names,
    .official_probe = "pools.0.fc.weight",
    .official_name = pit_official_name,
    .unfit = "its pooling between stages needs the whole grid of patches",
};
