/* A table held against whole models. */
#include "latency/measure_model.h"

#include <string.h>

enum { PICTURES = 8 };

typedef struct trial_room {
    sv_removal_tape tapes[SV_MEASURE_SUBJECTS_MOST];
    const sv_removal_tape *list[SV_MEASURE_SUBJECTS_MOST];
    sv_measured measured[SV_MEASURE_SUBJECTS_MOST];
    sv_real *block;
    const sv_real *pictures[PICTURES];
} trial_room;

/* The first selector keeps 40 to 95 % of all patches, each later one 50 to 95 % of what came to it. */
static void draw_plan(sv_pruning_plan *plan, size_t patches, uint64_t seed, size_t trial)
{
    sv_random random = sv_random_at(seed, SV_FOR_TEST, 0, trial, 1);
    double keep[SV_MOST_STAGES], share = 1;
    for (size_t t = 0; t < plan->stages; t++) {
        const double least = t ? 0.5 : 0.4;
        share *= least + (0.95 - least) * sv_random_uniform(&random);
        keep[t] = share;
    }
    sv_plan_set_keep(plan, keep, patches);
}

static sv_status predict(sv_latency_trial *trial, size_t index, const sv_latency_table *table, const sv_model *model, const sv_pruning_plan *plan, size_t batch, sv_latency_rule rule,
                         sv_error *err)
{
    sv_latency_shape shape;
    sv_latency_prediction predicted;
    int64_t at[SV_MOST_STAGES];
    for (size_t t = 0; t < plan->stages; t++) at[t] = (int64_t)plan->at[t];
    sv_status status = sv_latency_shape_fill(&shape, sv_model_prefix(model), sv_model_patches(model), sv_model_depth(model), at, plan->stages,
                                             plan->package == SV_CHOICE_NONE ? SV_LATENCY_NO_PACKAGE : SV_LATENCY_EACH_PACKAGE, err);
    if (!status) sv_latency_shape_method(&shape, plan);
    if (!status && !index) status = sv_latency_predict_dense(table, batch, &shape, rule, &predicted, err);
    else if (!status) status = sv_latency_predict(table, batch, &shape, plan->count, rule, &predicted, err);
    if (!status) trial->predicted_ms = predicted.total_ms;
    return status;
}

static sv_status make_pictures(trial_room *room, const sv_model *model, sv_error *err)
{
    const size_t numbers = 3 * model->options.image * model->options.image;
    sv_status status = sv_alloc(&room->block, PICTURES * numbers * sizeof *room->block, "pictures", err);
    if (status) return status;
    sv_random random = sv_random_at(1, SV_FOR_TEST, 0, 0, 0);
    for (size_t i = 0; i < PICTURES * numbers; i++) room->block[i] = (sv_real)(2 * sv_random_uniform(&random) - 1);
    for (size_t i = 0; i < PICTURES; i++) room->pictures[i] = room->block + i * numbers;
    return SV_OK;
}

sv_status sv_latency_try(sv_latency_trial *trials, size_t count, const sv_latency_table *table, const sv_pruning *pruning, const sv_model_measure *measure,
                         sv_latency_rule rule, uint64_t seed, sv_machine_state *machine, sv_error *err)
{
    const sv_model *model = sv_pruning_model(pruning);
    sv_pruning_plan plan = sv_pruning_options_of(pruning)->plan;
    trial_room room = { .block = NULL };
    if (!plan.stages) return sv_fail(err, SV_USAGE, "the model has no selectors to try keep ratios with; set pruning.method");
    if (!count || count > SV_MEASURE_SUBJECTS_MOST) return sv_fail(err, SV_USAGE, "%zu trials were asked for; 1 to %d can be made", count, SV_MEASURE_SUBJECTS_MOST);
    plan.rule = SV_RULE_TOPK;
    sv_status status = make_pictures(&room, model, err);
    for (size_t i = 0; !status && i < count; i++) {
        if (i) draw_plan(&plan, sv_model_patches(model), seed, i);
        memcpy(trials[i].kept, plan.count, sizeof plan.count);
        status = predict(&trials[i], i, table, model, &plan, measure->batch, rule, err);
        if (!status) status = sv_removal_record(&room.tapes[i], pruning, i ? &plan : NULL, measure->batch, err);
        room.list[i] = &room.tapes[i];
    }
    if (!status) status = sv_latency_measure_tapes(room.list, count, room.pictures, PICTURES, measure->batch, &measure->options, room.measured, machine, err);
    for (size_t i = 0; !status && i < count; i++) trials[i].measured_ms = room.measured[i].median_ms, trials[i].p95_ms = room.measured[i].p95_ms;
    for (size_t i = 0; i < count; i++) sv_removal_clear(&room.tapes[i]);
    sv_free(room.block);
    return status;
}
