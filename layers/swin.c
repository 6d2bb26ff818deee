/* Swin (Liu et al. 2021): attention inside windows of a grid, shifted by half a window in every second block, with a table of relative
 * positions; between stages 2 x 2 places are merged into one of twice the width. No class token: the head reads the mean.
 * Parameters carry timm's names; the authors count the merging to the stage before it and call the head's layer `head`. */
#include "layers/swin.h"
#include "layers/block.h"

#include <stdio.h>
#include <string.h>

typedef struct swin_merging {
    sv_parameter *norm, *norm_bias, *reduction;
} swin_merging;

typedef struct swin_slots {
    sv_parameter *patch, *patch_bias, *patch_norm, *patch_norm_bias, *norm_gain, *norm_bias, *head, *head_bias;
    swin_merging mergings[SV_BACKBONE_STAGES]; /* [s]: before stage s, s >= 1 */
    struct swin_block {
        sv_block plain;
        sv_parameter *table;
    } blocks[];
} swin_slots;

static size_t side_of(const sv_model *model, size_t stage) { return (model->options.image / model->options.patch) >> stage; }

/* A grid no larger than a window is one window. */
static size_t window_of(const sv_model *model, size_t stage)
{
    const size_t side = side_of(model, stage), window = sv_stages_of(model)->window;
    return side <= window ? side : window;
}

static size_t shift_of(const sv_model *model, size_t stage, size_t inside)
{
    const size_t window = sv_stages_of(model)->window;
    return inside % 2 && side_of(model, stage) > window ? window / 2 : 0;
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
                            .drop_share = o->depth > 1 ? o->drop_path * (double)index / (double)(o->depth - 1) : 0 };
}

/* ---- parameters ---------------------------------------------------------------------------------------------------- */

static sv_status swin_check(const sv_model *model, sv_error *err)
{
    const sv_stages *stages = sv_stages_of(model);
    const sv_model_options *o = &model->options;
    const size_t multiple = o->patch << (stages->count - 1);
    sv_status status = sv_stages_check(model, err);
    if (!status && o->distilled)
        status = sv_fail(err, SV_USAGE, "%s has no class token, so model.distilled does not fit it", model->backbone->name);
    if (!status && o->image % multiple)
        status = sv_fail(err, SV_USAGE, "data.image_size = %zu is not a multiple of %zu, which %s halves to whole grids", o->image,
                         multiple, model->backbone->name);
    for (size_t s = 0; !status && s < stages->count; s++)
        if (side_of(model, s) % window_of(model, s))
            status = sv_fail(
                err, SV_USAGE,
                "data.image_size = %zu gives stage %zu of %s a grid of %zu x %zu, which windows of %zu do not fill; take a multiple of %zu",
                o->image, s, model->backbone->name, side_of(model, s), side_of(model, s), stages->window, multiple * stages->window);
    return status;
}

static sv_status declare_merging(sv_model *model, size_t stage, swin_merging *merging, sv_error *err)
{
    const sv_stages *stages = sv_stages_of(model);
    const size_t from = 4 * stages->width[stage - 1];
    char name[64];
    snprintf(name, sizeof name, "layers.%zu.downsample.norm", stage);
    sv_status status = sv_norm_declare(model, name, &merging->norm, &merging->norm_bias, from, err);
    snprintf(name, sizeof name, "layers.%zu.downsample.reduction", stage);
    return status ? status : sv_linear_declare(model, name, &merging->reduction, NULL, stages->width[stage], from, err);
}

static sv_status declare_block(sv_model *model, size_t index, swin_slots *slots, sv_error *err)
{
    const sv_block_form form = form_of(model, index);
    size_t inside = 0, stage = sv_stage_of(sv_stages_of(model), index, &inside), reach = 2 * window_of(model, stage) - 1;
    char at[48], name[96];
    snprintf(at, sizeof at, "layers.%zu.blocks.%zu", stage, inside);
    snprintf(name, sizeof name, "%s.attn.relative_position_bias_table", at);
    sv_status status = stage && !inside ? declare_merging(model, stage, &slots->mergings[stage], err) : SV_OK;
    if (!status)
        status = sv_parameters_add(model->parameters, &slots->blocks[index].table, name, 2, (size_t[]){ reach * reach, form.heads }, err);
    return status ? status : sv_block_declare(model, &slots->blocks[index].plain, at, &form, err);
}

static sv_status swin_declare(sv_model *model, sv_error *err)
{
    const sv_model_options *o = &model->options;
    const sv_stages *stages = sv_stages_of(model);
    const size_t last = stages->width[stages->count - 1];
    swin_slots *slots = NULL;
    sv_status status = sv_alloc_zero(&slots, sizeof *slots + o->depth * sizeof *slots->blocks, "model", err);
    if (status) return status;
    model->slots = slots;
    status = sv_pair_declare(model, "patch_embed.proj", &slots->patch, &slots->patch_bias, 4, (size_t[]){ o->width, 3, o->patch, o->patch },
                             err);
    if (!status) status = sv_norm_declare(model, "patch_embed.norm", &slots->patch_norm, &slots->patch_norm_bias, o->width, err);
    for (size_t i = 0; !status && i < o->depth; i++) status = declare_block(model, i, slots, err);
    if (!status) status = sv_norm_declare(model, "norm", &slots->norm_gain, &slots->norm_bias, last, err);
    if (!status) status = sv_linear_declare(model, "head.fc", &slots->head, &slots->head_bias, o->classes, last, err);
    return status;
}

/* Linear layers and tables normal .02, biases 0, norms 1 and 0; the stem as torch makes it (spec 6.11). */
static void swin_initialise(sv_model *model, uint64_t seed)
{
    const swin_slots *slots = model->slots;
    const double spread = model->backbone->init > 0 ? model->backbone->init : 0.02;
    for (size_t i = 0; i < model->parameters->count; i++) {
        const sv_parameter *p = model->parameters->items[i];
        const bool stem = p == slots->patch || p == slots->patch_bias, table = sv_name_ends(p->name, "_table");
        sv_start_parameter(model, i, seed, stem ? sv_start_torch(model, p) : sv_start_usual(p, table ? 0.02 : spread));
    }
}

static bool swin_official_name(const char *own, char *out, size_t room)
{
    unsigned stage = 0;
    int used = 0;
    if (strncmp(own, "head.fc.", 8) == 0) {
        snprintf(out, room, "head.%s", own + 8);
        return true;
    }
    if (strncmp(own, "score_predictor.", 16) == 0) { /* of the third stage's blocks, and counted to it */
        snprintf(out, room, "layers.2.%s", own);
        return true;
    }
    if (sscanf(own, "layers.%u.downsample.%n", &stage, &used) != 1 || !used) return false;
    snprintf(out, room, "layers.%u.downsample.%s", stage - 1, own + used);
    return true;
}

/* ---- recording ----------------------------------------------------------------------------------------------------- */

static sv_tensor *swin_embed(sv_tape *tape, const sv_model *model, sv_tensor *picture)
{
    const swin_slots *s = model->slots;
    sv_tensor *x = sv_tape_patch_embed(tape, picture, sv_tape_parameter(tape, s->patch), sv_tape_parameter(tape, s->patch_bias),
                                       model->options.image, model->options.image);
    x = sv_norm_of(tape, x, s->patch_norm, s->patch_norm_bias, model->options.norm_eps);
    return model->options.dropout > 0 ? sv_tape_dropout(tape, x, model->options.dropout, 0) : x;
}

/* A package token is merged as four equal neighbours. */
static sv_tensor *merged_of(sv_tape *tape, const sv_model *model, const swin_merging *merging, sv_tensor *four)
{
    return sv_linear_of(tape, sv_norm_of(tape, four, merging->norm, merging->norm_bias, model->options.norm_eps), merging->reduction, NULL);
}

static sv_tensor *swin_merged(sv_tape *tape, const sv_model *model, size_t stage, sv_tensor *x)
{
    const swin_merging *merging = &((const swin_slots *)model->slots)->mergings[stage];
    const size_t side = side_of(model, stage - 1);
    if (sv_tensor_rows(x).most == side * side) return merged_of(tape, model, merging, sv_tape_merge_patches(tape, x, side, side));
    sv_tensor *package = sv_tape_slice_rows(tape, x, side * side, 0), *two = sv_tape_concat_columns(tape, package, package);
    x = sv_tape_merge_patches(tape, sv_tape_slice_rows(tape, x, 0, side * side), side, side);
    package = merged_of(tape, model, merging, sv_tape_concat_columns(tape, two, two));
    return sv_tape_concat_rows(tape, merged_of(tape, model, merging, x), package);
}

static sv_tensor *swin_enter(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x)
{
    size_t inside = 0, stage = sv_stage_of(sv_stages_of(model), index, &inside);
    return stage && !inside ? swin_merged(tape, model, stage, x) : x;
}

/* ---- a block, and its two ways (Rao et al. 2023): the MLP is a row's own work ---- */

/* qkv is a row's own work, so rows are put into windows before it and back after the attention. */
static sv_tensor *swin_mix(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor **base)
{
    const struct swin_block *b = &((const swin_slots *)model->slots)->blocks[index];
    const sv_block_form form = form_of(model, index);
    size_t inside = 0, stage = sv_stage_of(sv_stages_of(model), index, &inside);
    const size_t side = side_of(model, stage), window = window_of(model, stage), shift = shift_of(model, stage, inside);
    sv_tensor *h = sv_norm_of(tape, x, b->plain.norm1_gain, b->plain.norm1_bias, form.eps);
    h = sv_linear_of(tape, sv_tape_window_partition(tape, h, side, side, window, shift), b->plain.qkv, b->plain.qkv_bias);
    h = sv_tape_window_attention(tape, h, sv_tape_parameter(tape, b->table), side, side, window, shift, form.heads);
    h = sv_tape_window_reverse(tape, h, side, side, window, shift);
    return *base = sv_block_add(tape, &form, 0, h, b->plain.proj, b->plain.proj_bias, x);
}

static sv_tensor *swin_branch(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *y)
{
    const sv_block_form form = form_of(model, index);
    return sv_block_branch(tape, &((const swin_slots *)model->slots)->blocks[index].plain, &form, y);
}

static sv_tensor *swin_join(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *base, sv_tensor *h)
{
    const sv_block_form form = form_of(model, index);
    return sv_block_join(tape, &form, 1, h, base);
}

static uint64_t swin_branch_macs(const sv_model *model, size_t index)
{
    const sv_block_form form = form_of(model, index);
    return 2 * (uint64_t)form.width * form.hidden;
}

static void swin_name(const sv_model *model, size_t index, char *out, size_t room)
{
    size_t inside = 0, stage = sv_stage_of(sv_stages_of(model), index, &inside);
    snprintf(out, room, "layers.%zu.blocks.%zu", stage, inside);
}

static const sv_block_ways swin_ways = {
    .mix = swin_mix,
    .branch = swin_branch,
    .join = swin_join,
    .branch_macs = swin_branch_macs,
    .name = swin_name,
    .fast = "fastmlp.fc1",
};

/* There is no policy to heed: see unfit. */
static sv_tensor *swin_record_block(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor *policy)
{
    const sv_block_form form = form_of(model, index);
    sv_tensor *base = NULL;
    char name[64];
    (void)policy;
    swin_mix(tape, model, index, x, &base);
    x = sv_block_mlp(tape, &((const swin_slots *)model->slots)->blocks[index].plain, &form, base);
    swin_name(model, index, name, sizeof name);
    sv_tape_label(tape, x, "%s", name);
    return x;
}

/* Rows need no windows before the attention, which looks at the cell of each. */
static sv_tensor *swin_among(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor *place, sv_tensor *policy)
{
    const struct swin_block *b = &((const swin_slots *)model->slots)->blocks[index];
    const sv_block_form form = form_of(model, index);
    size_t inside = 0, stage = sv_stage_of(sv_stages_of(model), index, &inside);
    const size_t side = side_of(model, stage), window = window_of(model, stage), shift = shift_of(model, stage, inside);
    sv_tensor *h = sv_tape_cell_attention(tape, sv_block_qkv(tape, &b->plain, &form, x), sv_tape_parameter(tape, b->table), place, policy, side, side, window,
                                          shift, form.heads, model->attention.clamp);
    x = sv_block_mlp(tape, &b->plain, &form, sv_block_add(tape, &form, 0, h, b->plain.proj, b->plain.proj_bias, x));
    sv_tape_label(tape, x, "layers.%zu.blocks.%zu", stage, inside);
    return x;
}

static sv_tensor *swin_finish(sv_tape *tape, const sv_model *model, sv_tensor *x)
{
    const swin_slots *s = model->slots;
    return sv_norm_of(tape, x, s->norm_gain, s->norm_bias, model->options.norm_eps);
}

static sv_tensor *swin_head(sv_tape *tape, const sv_model *model, sv_tensor *finished)
{
    const swin_slots *s = model->slots;
    sv_tensor *logits = sv_linear_of(tape, sv_tape_weighted_mean(tape, finished, NULL, 1), s->head, s->head_bias);
    sv_tape_label(tape, logits, "logits");
    return logits;
}

/* ---- work ---------------------------------------------------------------------------------------------------------- */

static sv_place swin_place(const sv_model *model, size_t index) { return sv_stage_place(model, index, side_of); }

/* n C^2 (4 + 2R) + 2 C sum over windows of n_w (n_w + packages), and the same of a package, which sees all; n_w taken as n / windows. */
static uint64_t swin_among_macs(const sv_model *model, size_t index, size_t patches, size_t packages)
{
    const sv_block_form form = form_of(model, index);
    size_t inside = 0, stage = sv_stage_of(sv_stages_of(model), index, &inside);
    const uint64_t c = form.width, n = patches, side = side_of(model, stage), window = window_of(model, stage), windows = side / window * (side / window);
    const uint64_t rows = sv_block_macs(&form, n + packages, 0), pairs = (n * n + windows / 2) / windows + n * packages + packages * (n + 1);
    return rows + 2 * c * pairs;
}

static uint64_t swin_carry_macs(const sv_model *model, size_t index)
{
    const sv_stages *stages = sv_stages_of(model);
    size_t inside = 0, stage = sv_stage_of(stages, index, &inside);
    return stage && !inside ? 4 * (uint64_t)stages->width[stage - 1] * stages->width[stage] : 0;
}

static uint64_t swin_macs(const sv_model *model)
{
    const sv_stages *stages = sv_stages_of(model);
    const sv_model_options *o = &model->options;
    uint64_t sum = (uint64_t)side_of(model, 0) * side_of(model, 0) * 3 * o->patch * o->patch * o->width
                   + stages->width[stages->count - 1] * o->classes;
    for (size_t i = 0; i < o->depth; i++) {
        const sv_block_form form = form_of(model, i);
        size_t inside = 0, stage = sv_stage_of(stages, i, &inside), places = side_of(model, stage) * side_of(model, stage);
        if (stage && !inside) sum += (uint64_t)places * 4 * stages->width[stage - 1] * form.width;
        sum += sv_block_macs(&form, places, window_of(model, stage) * window_of(model, stage));
    }
    return sum;
}

static const char *const head_names[] = { "head.fc.weight", "head.fc.bias", NULL };

const sv_family sv_family_swin = {
    .name = "swin",
    .check = swin_check,
    .declare = swin_declare,
    .initialise = swin_initialise,
    .embed = swin_embed,
    .enter = swin_enter,
    .place = swin_place,
    .ways = &swin_ways,
    .block = swin_record_block,
    .among = swin_among,
    .among_macs = swin_among_macs,
    .carry_macs = swin_carry_macs,
    .finish = swin_finish,
    .head = swin_head,
    .macs = swin_macs,
    .without_prefix = true,
    .head_reads_all = true,
    .head_names = head_names,
    .official_probe = "layers.0.downsample.norm.weight",
    .official_name = swin_official_name,
    .unfit = "its windows need the whole grid of patches",
};
