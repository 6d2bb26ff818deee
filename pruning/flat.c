/* The flat form: all blocks work on rows of one width, so what is dropped leaves for good. Masked, dropped rows go on behind the live ones and have a
 * gradient of exactly zero, so that backward runs over live rows alone (spec exact savings); deployed, they are gone. */
#include "pruning/form.h"

static const char *flat_misfit(const sv_model *model) { return sv_model_unfit(model); }

static const sv_pruning_method *method_of(const sv_pruning_plan *plan) { return sv_pruning_method_of(plan->stages ? plan->method : SV_METHOD_SPVIT); }

/* ---- the masked student -------------------------------------------------------------------------------------------- */

typedef struct student_walk {
    sv_training_tape *out;
    const sv_pruning *pruning;
    const sv_training_choice *choice;
} student_walk;

/* Decisions that are not learned: what is trained is what is deployed. */
static sv_stream mask_stage(void *context, size_t t, sv_stream stream)
{
    const student_walk *walk = context;
    const sv_pruning *pruning = walk->pruning;
    const sv_pruning_plan *plan = &pruning->options.plan;
    const sv_cut_form how = method_of(plan)->fixed ? SV_CUT_REMOVED : pruning->model->attention.plain ? SV_CUT_IN_PLACE : SV_CUT_MASKED;
    sv_cut cut = sv_stream_scored(walk->out->tape, pruning, &stream);
    sv_training_decide(walk->out, pruning, walk->choice, t, &cut);
    stream = sv_stream_cut(walk->out->tape, pruning, stream, &cut, plan->package, plan->empty, how);
    sv_training_keep_stage(walk->out, &cut, t, walk->choice);
    return stream;
}

/* Of merged tokens: as many as are left, each by the patch it stands in. */
static void keep_merged_student(const student_walk *walk, const sv_stream *stream)
{
    sv_training_tape *out = walk->out;
    sv_tape *tape = out->tape;
    sv_cut cut = { .origin = stream->origin, .before = sv_tape_fill(tape, stream->origin, 0, 1), .keep = sv_tape_fill(tape, stream->origin, 0, 1) };
    cut.score = cut.keep;
    out->a[0] = sv_tape_fill(tape, stream->origin, 0, 0);
    out->share[0] = sv_tape_kept_share(tape, cut.keep, stream->origin, walk->pruning->options.plan.patches[0]);
    sv_training_keep_stage(out, &cut, 0, walk->choice);
}

/* Selectors at their places, blocks between them; returns the tokens in front of the last norm, live rows first. */
static sv_stream mask_blocks(sv_training_tape *out, const sv_pruning *pruning, const sv_training_choice *choice)
{
    const sv_pruning_plan *plan = &pruning->options.plan;
    const sv_model *model = pruning->model;
    sv_tape *tape = out->tape;
    student_walk walk = { out, pruning, choice };
    sv_stream stream = { .x = sv_model_embed(tape, model, out->picture) };
    stream = sv_stream_walk(tape, pruning, plan, stream, &(sv_walk){ &walk, mask_stage, out->value });
    if (method_of(plan)->merges) keep_merged_student(&walk, &stream);
    if (stream.policy && model->attention.plain) { /* rows stayed where they were */
        sv_tensor *order = sv_tape_live_order(tape, stream.policy);
        stream.x = sv_tape_gather_rows(tape, stream.x, order, SV_TAKE_ALL);
        stream.origin = sv_tape_gather_rows(tape, stream.origin, order, SV_TAKE_ALL);
    }
    return stream;
}

static sv_student flat_student(sv_training_tape *out, const sv_pruning *pruning, const sv_training_choice *choice, bool tokens)
{
    const sv_model *model = pruning->model;
    sv_tape *tape = out->tape;
    sv_stream stream = mask_blocks(out, pruning, choice);
    sv_student student = { .finished = sv_model_finish(tape, model, tokens ? stream.x : sv_model_head_rows(tape, model, stream.x)), .kept = stream.origin };
    if (!tokens) return student;
    student.tokens = student.finished;
    student.origin = stream.origin ? stream.origin : sv_tape_count_up(tape, student.finished, -(int64_t)sv_model_prefix(model));
    return student;
}

/* ---- the deployed form --------------------------------------------------------------------------------------------- */

typedef struct deployed_walk {
    sv_removal_tape *out;
    const sv_pruning *pruning;
    const sv_pruning_plan *plan;
} deployed_walk;

static sv_stream remove_stage(void *context, size_t t, sv_stream stream)
{
    const deployed_walk *walk = context;
    sv_cut cut = sv_stream_scored(walk->out->tape, walk->pruning, &stream);
    sv_removal_decide(walk->out, walk->pruning, walk->plan, t, &cut);
    stream = sv_stream_cut(walk->out->tape, walk->pruning, stream, &cut, walk->plan->package, walk->plan->empty, SV_CUT_REMOVED);
    sv_removal_keep_stage(walk->out, &cut, t, stream.origin);
    return stream;
}

/* Of merged tokens: those that are left, each by the patch it stands in. Ends no segment: the last block has. */
static void keep_merged_deployed(sv_removal_tape *out, const sv_stream *stream)
{
    out->a[0] = sv_tape_fill(out->tape, stream->origin, 0, 0);
    out->keep[0] = sv_tape_fill(out->tape, stream->origin, 0, 1);
    out->before[0] = out->after[0] = stream->origin;
    sv_tape_keep(out->tape, out->a[0]);
    sv_tape_keep(out->tape, out->keep[0]);
    sv_tape_keep(out->tape, out->after[0]);
}

static sv_tensor *flat_deployed(sv_removal_tape *out, const sv_pruning *pruning, const sv_pruning_plan *plan, sv_tensor **kept)
{
    const sv_model *model = pruning->model;
    deployed_walk walk = { out, pruning, plan };
    sv_stream stream = { .x = sv_model_embed(out->tape, model, out->picture) };
    stream = sv_stream_walk(out->tape, pruning, plan, stream, &(sv_walk){ &walk, remove_stage, out->value });
    if (out->stages && method_of(plan)->merges) keep_merged_deployed(out, &stream);
    *kept = stream.origin;
    return sv_model_head_rows(out->tape, model, stream.x);
}

/* ---- parts --------------------------------------------------------------------------------------------------------- */

/* In every block: attention with the meeting of tokens, then the MLP. */
static void list_merging(const sv_pruning_plan *plan, sv_part_list *list)
{
    const size_t prefix = sv_model_prefix(list->model), patches = sv_model_patches(list->model), depth = sv_model_depth(list->model);
    size_t rows = patches;
    for (size_t i = 0; i < depth; i++) {
        sv_part_add(list, SV_PART_SELECTOR, i, 0, rows);
        rows -= sv_merge_count(patches, plan->count[0], depth, i, rows);
        sv_part_add(list, SV_PART_MLP, i, 0, prefix + rows);
    }
    sv_part_add(list, SV_PART_HEAD, depth - 1, 0, prefix + rows);
}

/* Behind selector t there are the prefix, its count and the packages; in front of the first all patches. Steps are of dense models of several stages. */
static void flat_parts(const sv_pruning_plan *plan, sv_part_list *list)
{
    const sv_model *model = list->model;
    const size_t prefix = sv_model_prefix(model), depth = sv_model_depth(model);
    const sv_pruning_method *method = method_of(plan);
    sv_place place = sv_model_place(model, 0);
    size_t t = 0, more = place.patches; /* tokens but the prefix and what selector t keeps */
    sv_part_add(list, SV_PART_EMBED, 0, 0, prefix + more);
    if (plan->stages && method->merges) {
        list_merging(plan, list);
        return;
    }
    for (size_t i = 0; i < depth; i++) {
        const bool here = t < plan->stages && plan->at[t] == i, opens = sv_model_place(model, i).stage != place.stage;
        place = sv_model_place(model, i);
        if (opens) more = place.patches;
        if (opens) sv_part_add(list, SV_PART_STEP, i, 0, prefix + more);
        if (here) sv_part_add(list, SV_PART_SELECTOR, i, t, more);
        if (here) more = sv_plan_packages(plan, ++t);
        sv_part_add(list, here && method->inside ? SV_PART_MLP : SV_PART_BLOCK, i, t, prefix + more);
    }
    sv_part_add(list, SV_PART_HEAD, depth - 1, t, prefix + more);
}

/* ---- work ---------------------------------------------------------------------------------------------------------- */

/* A block with a stage in it: attention over all tokens, the MLP over those that are left. */
static uint64_t split_macs(const sv_model *model, size_t tokens, size_t left)
{
    return sv_model_block_macs(model, tokens) - sv_model_mlp_macs(model, tokens) + sv_model_mlp_macs(model, left);
}

static uint64_t merged_macs(const sv_model *model, const sv_pruning_plan *plan, size_t kept)
{
    const size_t prefix = sv_model_prefix(model), patches = sv_model_patches(model), depth = sv_model_depth(model);
    size_t tokens = prefix + patches;
    uint64_t sum = sv_model_fixed_macs(model);
    for (size_t i = 0; i < depth; i++) {
        const sv_place place = sv_model_place(model, i);
        const size_t left = tokens - sv_merge_count(patches, kept, depth, i, tokens - prefix);
        sum += sv_selector_macs(plan->method, &place, tokens - prefix) + split_macs(model, tokens, left);
        tokens = left;
    }
    return sum + sv_model_patch_head_macs(model, tokens - prefix);
}

static uint64_t flat_macs(const sv_model *model, const sv_pruning_plan *plan, const size_t *kept)
{
    const sv_pruning_method *method = method_of(plan);
    if (method->merges) return merged_macs(model, plan, kept[0]);
    uint64_t sum = sv_model_fixed_macs(model);
    size_t prefix = sv_model_prefix(model), tokens = prefix + sv_model_patches(model);
    for (size_t i = 0, t = 0; i < sv_model_depth(model); i++) {
        const size_t before = tokens;
        if (t < plan->stages && plan->at[t] == i) {
            const sv_place place = sv_model_place(model, i);
            sum += sv_selector_macs(plan->method, &place, tokens - prefix);
            tokens = prefix + kept[t] + sv_plan_packages(plan, t + 1);
            t++;
        }
        sum += method->inside ? split_macs(model, before, tokens) : sv_model_block_macs(model, tokens);
    }
    return sum + sv_model_patch_head_macs(model, tokens - prefix);
}

static uint64_t flat_training_macs(const sv_model *model, const sv_pruning_plan *plan, const size_t *kept)
{
    if (method_of(plan)->fixed) return 3 * flat_macs(model, plan, kept);
    size_t prefix = sv_model_prefix(model), all = prefix + sv_model_patches(model), live = all;
    uint64_t patch = (uint64_t)sv_model_patches(model) * 3 * model->options.patch * model->options.patch * model->options.width;
    uint64_t sum = sv_model_fixed_macs(model) + patch;
    for (size_t i = 0, t = 0; i < sv_model_depth(model); i++) {
        if (t < plan->stages && plan->at[t] == i) {
            all += sv_plan_packages(plan, 1);
            live = prefix + kept[t] + sv_plan_packages(plan, t + 1);
            t++;
        }
        sum += sv_model_block_macs(model, all) + 2 * sv_model_block_macs(model, live);
        if (t) sum += 2 * (uint64_t)live * (all - live) * model->options.width;
    }
    return sum + sv_model_patch_head_macs(model, all - prefix) + 2 * sv_model_patch_head_macs(model, live - prefix);
}

const sv_pruning_form sv_form_flat = {
    .name = "flat",
    .misfit = flat_misfit,
    .student = flat_student,
    .deployed = flat_deployed,
    .parts = flat_parts,
    .macs = flat_macs,
    .training_macs = flat_training_macs,
};
