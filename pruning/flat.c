/* The flat form: all blocks work on rows of one width, so what is dropped leaves for good. Masked, dropped rows go on behind the live ones and have a
 * gradient of exactly zero, so that backward runs over live rows alone (spec exact savings); deployed, they are gone. */
#include "pruning/form.h"

static const char *flat_misfit(const sv_model *model) { return sv_model_unfit(model); }

/* ---- the masked student -------------------------------------------------------------------------------------------- */

static sv_stream mask_stage(sv_training_tape *out, const sv_pruning *pruning, const sv_training_choice *choice, size_t t, sv_stream stream)
{
    const sv_pruning_options *o = &pruning->options;
    sv_cut_form how = pruning->model->attention.plain ? SV_CUT_IN_PLACE : SV_CUT_MASKED;
    sv_cut cut = { 0 };
    sv_stream_scored(out->tape, pruning, &stream, &cut.u, &cut.before, &cut.origin);
    sv_training_decide(out, pruning, choice, t, &cut);
    stream = sv_stream_cut(out->tape, pruning, stream, &cut, o->plan.package, o->plan.empty, how);
    sv_training_keep_stage(out, &cut, t, choice);
    return stream;
}

/* Selectors at their places, blocks between them; returns the tokens in front of the last norm, live rows first. */
static sv_stream mask_blocks(sv_training_tape *out, const sv_pruning *pruning, const sv_training_choice *choice)
{
    const sv_pruning_plan *plan = &pruning->options.plan;
    const sv_model *model = pruning->model;
    sv_tape *tape = out->tape;
    sv_stream stream = { .x = sv_model_embed(tape, model, out->picture) };
    for (size_t i = 0, t = 0; i < sv_model_depth(model); i++) {
        if (t < plan->stages && plan->at[t] == i) stream = mask_stage(out, pruning, choice, t++, stream);
        stream.x = sv_model_block(tape, model, i, stream.x, stream.policy);
    }
    if (plan->stages && model->attention.plain) { /* rows stayed where they were */
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
    sv_student student = { .finished = sv_model_finish(tape, model, tokens ? stream.x : sv_model_head_rows(tape, model, stream.x)) };
    if (!tokens) return student;
    student.tokens = student.finished;
    student.origin = stream.origin ? stream.origin : sv_tape_count_up(tape, student.finished, -(int64_t)sv_model_prefix(model));
    return student;
}

/* ---- the deployed form --------------------------------------------------------------------------------------------- */

static sv_stream remove_stage(sv_removal_tape *out, const sv_pruning *pruning, const sv_pruning_plan *plan, size_t t, sv_stream stream)
{
    sv_cut cut = { 0 };
    sv_stream_scored(out->tape, pruning, &stream, &cut.u, &cut.before, &cut.origin);
    sv_removal_decide(out, pruning, plan, t, &cut);
    stream = sv_stream_cut(out->tape, pruning, stream, &cut, plan->package, plan->empty, SV_CUT_REMOVED);
    sv_removal_keep_stage(out, &cut, t, stream.origin);
    return stream;
}

static sv_tensor *flat_deployed(sv_removal_tape *out, const sv_pruning *pruning, const sv_pruning_plan *plan)
{
    const sv_model *model = pruning->model;
    sv_stream stream = { .x = sv_model_embed(out->tape, model, out->picture) };
    for (size_t i = 0, t = 0; i < sv_model_depth(model); i++) {
        if (t < out->stages && plan->at[t] == i) stream = remove_stage(out, pruning, plan, t++, stream);
        stream.x = sv_model_block(out->tape, model, i, stream.x, NULL);
    }
    return sv_model_head_rows(out->tape, model, stream.x);
}

/* ---- work ---------------------------------------------------------------------------------------------------------- */

static uint64_t flat_macs(const sv_model *model, const sv_pruning_plan *plan, const size_t *kept)
{
    uint64_t sum = sv_model_fixed_macs(model);
    size_t prefix = sv_model_prefix(model), tokens = prefix + sv_model_patches(model);
    for (size_t i = 0, t = 0; i < sv_model_depth(model); i++) {
        if (t < plan->stages && plan->at[t] == i) {
            const sv_place place = sv_model_place(model, i);
            sum += sv_selector_macs(plan->method, &place, tokens - prefix);
            tokens = prefix + kept[t] + sv_plan_packages(plan, t + 1);
            t++;
        }
        sum += sv_model_block_macs(model, tokens);
    }
    return sum;
}

static uint64_t flat_training_macs(const sv_model *model, const sv_pruning_plan *plan, const size_t *kept)
{
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
    return sum;
}

const sv_pruning_form sv_form_flat = {
    .name = "flat",
    .misfit = flat_misfit,
    .student = flat_student,
    .deployed = flat_deployed,
    .macs = flat_macs,
    .training_macs = flat_training_macs,
};
