/* Two paths (dynamic spatial sparsification, Rao et al. 2023; spec DynamicViT 7): for backbones whose blocks need the whole grid. No row leaves; in one
 * stage each row takes the block's own branch (slow: the MLP) or a norm and one linear layer (fast). Predictors stand inside the stage; each decides
 * anew for all rows. Trained on one stream, base + keep slow + (1 - keep) fast, which is what is deployed for any decisions: the reference trains two
 * streams, whose values at rows that change their path are not those of inference (spec 7.6). */
#include "pruning/form.h"

#include <stdio.h>
#include <string.h>

typedef struct fast_path {
    sv_layer_slots norm, linear;
    sv_parameter *gain;     /* NULL: the backbone has none */
} fast_path;

/* Of blocks first .. end - 1; the blocks of that stage behind the first predictor. */
typedef struct fast_paths {
    size_t first, end;
    fast_path items[];
} fast_paths;

static const double FAST_GAIN = 1e-6; /* where the reference begins */

static const sv_block_ways *ways_of(const sv_model *model) { return model->backbone->family->ways; }

static const char *paths_misfit(const sv_model *model) { return ways_of(model) ? NULL : "its blocks have one way alone"; }

/* The block behind the last one of the stage that block `index` is in. */
static size_t stage_end(const sv_model *model, size_t index)
{
    const size_t stage = sv_model_place(model, index).stage;
    while (index < sv_model_depth(model) && sv_model_place(model, index).stage == stage) index++;
    return index;
}

static sv_status paths_check(const sv_model *model, const sv_pruning_options *options, sv_error *err)
{
    const sv_pruning_plan *plan = &options->plan;
    const size_t first = plan->at[0], end = stage_end(model, first), last = plan->at[plan->stages - 1];
    if (last >= end)
        return sv_fail(err, SV_USAGE, "predictors of %s must stand in one stage, but block %zu is in stage %zu and block %zu in stage %zu; blocks up to %zu are in the stage of the first (pruning.at)",
                       model->backbone->name, first, sv_model_place(model, first).stage, last, sv_model_place(model, last).stage, end - 1);
    if (plan->package != SV_CHOICE_NONE) return sv_fail(err, SV_USAGE, "where rows take two paths none is dropped, so there is nothing to pack; set pruning.package_form = none");
    if (options->mask_eps > 0 || options->mask_all) return sv_fail(err, SV_USAGE, "where rows take two paths attention has no mask; leave pruning.mask_eps and pruning.mask_max out");
    return SV_OK;
}

/* ---- parameters ---------------------------------------------------------------------------------------------------- */

static sv_status add_pair(sv_model *model, sv_layer_slots *slots, const char *name, size_t rows, size_t columns, sv_error *err)
{
    char full[112];
    size_t shape[] = { rows ? rows : columns, columns };
    snprintf(full, sizeof full, "%s.weight", name);
    sv_status status = sv_parameters_add(model->parameters, &slots->weight, full, rows ? 2 : 1, shape, err);
    snprintf(full, sizeof full, "%s.bias", name);
    return status ? status : sv_parameters_add(model->parameters, &slots->bias, full, 1, shape, err);
}

static sv_status declare_path(sv_model *model, size_t index, fast_path *path, sv_error *err)
{
    const sv_block_ways *ways = ways_of(model);
    const size_t width = sv_model_place(model, index).width;
    char block[64], name[96];
    ways->name(model, index, block, sizeof block);
    snprintf(name, sizeof name, "%s.%s.0", block, ways->fast);
    sv_status status = add_pair(model, &path->norm, name, 0, width, err);
    snprintf(name, sizeof name, "%s.%s.1", block, ways->fast);
    if (!status) status = add_pair(model, &path->linear, name, width, width, err);
    if (status || !ways->fast_gain) return status;
    snprintf(name, sizeof name, "%s.%s", block, ways->fast_gain);
    return sv_parameters_add(model->parameters, &path->gain, name, 1, &width, err);
}

static sv_status paths_declare(sv_pruning *pruning, sv_error *err)
{
    const size_t first = pruning->options.plan.at[0], end = stage_end(pruning->model, first);
    fast_paths *paths = NULL;
    sv_status status = sv_alloc_zero(&paths, sizeof *paths + (end - first) * sizeof *paths->items, "fast paths", err);
    if (status) return status;
    pruning->extra = paths;
    paths->first = first, paths->end = end;
    for (size_t i = first; !status && i < end; i++) status = declare_path(pruning->model, i, &paths->items[i - first], err);
    return status;
}

/* All else was drawn with the predictors: weights normal .02, biases 0. */
static void paths_initialise(sv_pruning *pruning, uint64_t seed)
{
    const fast_paths *paths = pruning->extra;
    (void)seed;
    for (size_t i = 0; i < paths->end - paths->first; i++) {
        const fast_path *path = &paths->items[i];
        for (size_t k = 0; k < path->norm.weight->count; k++) path->norm.weight->value[k] = 1;
        for (size_t k = 0; path->gain && k < path->gain->count; k++) path->gain->value[k] = (sv_real)FAST_GAIN;
    }
}

/* ---- recording ----------------------------------------------------------------------------------------------------- */

static bool has_two_ways(const sv_pruning *pruning, size_t index)
{
    const fast_paths *paths = pruning->extra;
    return index >= paths->first && index < paths->end;
}

static sv_tensor *record_fast(sv_tape *tape, const sv_pruning *pruning, size_t index, sv_tensor *y)
{
    const fast_paths *paths = pruning->extra;
    const fast_path *path = &paths->items[index - paths->first];
    sv_tensor *h = sv_tape_layer_norm(tape, y, sv_tape_parameter(tape, path->norm.weight), sv_tape_parameter(tape, path->norm.bias), pruning->model->options.norm_eps);
    h = sv_slot_linear(tape, h, &path->linear);
    return path->gain ? sv_tape_layer_scale(tape, h, sv_tape_parameter(tape, path->gain)) : h;
}

/* What a predictor decides on: all rows, whatever was decided before. */
static sv_cut all_rows(sv_tape *tape, sv_tensor *x) { return (sv_cut){ .u = x, .before = sv_tape_fill(tape, x, 0, 1), .origin = sv_tape_count_up(tape, x, 0) }; }

/* The step to the stage that block i opens, a segment of its own. */
static sv_tensor *entered(sv_tape *tape, const sv_model *model, size_t i, sv_tensor *x)
{
    sv_tensor *grid = sv_model_enter(tape, model, i, x);
    if (grid != x) sv_tape_cut(tape);
    return grid;
}

static sv_student paths_student(sv_training_tape *out, const sv_pruning *pruning, const sv_training_choice *choice, bool tokens)
{
    const sv_pruning_plan *plan = &pruning->options.plan;
    const sv_model *model = pruning->model;
    const sv_block_ways *ways = ways_of(model);
    sv_tape *tape = out->tape;
    sv_tensor *x = sv_model_embed(tape, model, out->picture), *base = NULL;
    sv_cut cut = { 0 };
    for (size_t i = 0, t = 0; i < sv_model_depth(model); i++) {
        x = entered(tape, model, i, x);
        if (t < plan->stages && plan->at[t] == i) {
            cut = all_rows(tape, x);
            sv_training_decide(out, pruning, choice, t, &cut);
            sv_training_keep_stage(out, &cut, t++, choice);
        }
        if (has_two_ways(pruning, i)) {
            sv_tensor *y = ways->mix(tape, model, i, x, &base);
            x = ways->join(tape, model, i, base, sv_tape_blend_rows(tape, ways->branch(tape, model, i, y), record_fast(tape, pruning, i, y), cut.keep));
            sv_tape_cut(tape);
        } else {
            x = sv_model_block_inside(tape, model, i, x, NULL);
        }
    }
    sv_student student = { .finished = sv_model_finish(tape, model, sv_model_head_rows(tape, model, x)) };
    if (!tokens) return student;
    student.tokens = sv_model_features(tape, model, x);
    student.origin = sv_tape_count_up(tape, student.tokens, 0);
    return student;
}

/* The rows behind a predictor, by the path they take: numbers of rows, SV_INDEX [k,1]. */
typedef struct row_lists { sv_tensor *slow, *fast, *slow_rows, *fast_rows; } row_lists;

static row_lists list_rows(sv_tape *tape, const sv_cut *cut)
{
    sv_tensor *dropped = sv_tape_add(tape, sv_tape_fill(tape, cut->keep, 0, 1), sv_tape_scale(tape, cut->keep, -1));
    row_lists lists = { .slow = sv_tape_live_order(tape, cut->keep), .fast = sv_tape_live_order(tape, dropped) };
    lists.slow_rows = sv_tape_gather_rows(tape, cut->origin, lists.slow, SV_TAKE_LIVE);
    lists.fast_rows = sv_tape_gather_rows(tape, cut->origin, lists.fast, SV_TAKE_LIVE);
    return lists;
}

static sv_tensor *paths_deployed(sv_removal_tape *out, const sv_pruning *pruning, const sv_pruning_plan *plan, sv_tensor **kept)
{
    (void)kept;
    const sv_model *model = pruning->model;
    const sv_block_ways *ways = ways_of(model);
    sv_tape *tape = out->tape;
    sv_tensor *x = sv_model_embed(tape, model, out->picture), *base = NULL;
    row_lists lists = { 0 };
    for (size_t i = 0, t = 0; i < sv_model_depth(model); i++) {
        x = entered(tape, model, i, x);
        if (t < plan->stages && plan->at[t] == i) {
            sv_cut cut = all_rows(tape, x);
            sv_removal_decide(out, pruning, plan, t, &cut);
            lists = list_rows(tape, &cut);
            sv_removal_keep_stage(out, &cut, t++, lists.slow_rows);
        }
        if (has_two_ways(pruning, i)) {
            sv_tensor *y = ways->mix(tape, model, i, x, &base);
            sv_tensor *slow = ways->branch(tape, model, i, sv_tape_gather_rows(tape, y, lists.slow, SV_TAKE_LIVE));
            sv_tensor *fast = record_fast(tape, pruning, i, sv_tape_gather_rows(tape, y, lists.fast, SV_TAKE_LIVE));
            x = sv_tape_add_rows_at(tape, sv_tape_add_rows_at(tape, base, slow, lists.slow_rows), fast, lists.fast_rows);
            sv_tape_cut(tape);
        } else {
            x = sv_model_block_inside(tape, model, i, x, NULL);
        }
    }
    return sv_model_head_rows(tape, model, x);
}

/* ---- parts --------------------------------------------------------------------------------------------------------- */

static void paths_parts(const sv_pruning_plan *plan, sv_part_list *list)
{
    const sv_model *model = list->model;
    const size_t prefix = sv_model_prefix(model), depth = sv_model_depth(model), end = stage_end(model, plan->at[0]);
    size_t t = 0, rows = prefix + sv_model_patches(model);
    sv_part_add(list, SV_PART_EMBED, 0, 0, rows);
    for (size_t i = 0; i < depth; i++) {
        rows = prefix + sv_model_place(model, i).patches;
        if (i && sv_model_place(model, i).stage != sv_model_place(model, i - 1).stage) sv_part_add(list, SV_PART_STEP, i, 0, rows);
        if (t < plan->stages && plan->at[t] == i) {
            sv_part_add(list, SV_PART_SELECTOR, i, 0, rows);
            t++;
        }
        if (t && i < end) sv_part_add(list, SV_PART_PATHS, i, t, 0);
        else sv_part_add(list, SV_PART_BLOCK, i, 0, rows);
    }
    sv_part_add(list, SV_PART_HEAD, depth - 1, 0, rows);
}

/* ---- work ---------------------------------------------------------------------------------------------------------- */

/* Over the dense model: what predictors cost, and for each block behind one what rows on the fast path save. */
static uint64_t paths_macs(const sv_model *model, const sv_pruning_plan *plan, const size_t *kept)
{
    uint64_t sum = sv_model_macs(model);
    for (size_t t = 0; t < plan->stages; t++) {
        const sv_place place = sv_model_place(model, plan->at[t]);
        const size_t end = t + 1 < plan->stages ? plan->at[t + 1] : stage_end(model, plan->at[t]);
        sum += sv_selector_macs(plan->method, &place, place.patches);
        for (size_t i = plan->at[t]; i < end; i++)
            sum -= (uint64_t)(place.patches - kept[t]) * (ways_of(model)->branch_macs(model, i) - (uint64_t)place.width * place.width);
    }
    return sum;
}

/* In training all rows take both paths; backward is two products for one. */
static uint64_t paths_training_macs(const sv_model *model, const sv_pruning_plan *plan, const size_t *kept)
{
    uint64_t sum = sv_model_macs(model);
    (void)kept;
    for (size_t t = 0; t < plan->stages; t++) {
        const sv_place place = sv_model_place(model, plan->at[t]);
        const size_t end = t + 1 < plan->stages ? plan->at[t + 1] : stage_end(model, plan->at[t]);
        sum += sv_selector_macs(plan->method, &place, place.patches) + (end - plan->at[t]) * place.patches * (uint64_t)place.width * place.width;
    }
    return 3 * sum;
}

const sv_pruning_form sv_form_paths = {
    .name = "two paths",
    .misfit = paths_misfit,
    .check = paths_check,
    .declare = paths_declare,
    .initialise = paths_initialise,
    .independent = true,
    .student = paths_student,
    .deployed = paths_deployed,
    .parts = paths_parts,
    .macs = paths_macs,
    .training_macs = paths_training_macs,
};
