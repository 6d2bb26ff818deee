/* A table held against whole models. One picture at a time, all keep as many patches (the best k). In a batch, thresholds decide, and each picture
 * keeps its own number. */
#include "kernels/kernels.h"
#include "latency/measure_model.h"

#include <string.h>

enum { PICTURES = 32, FLAT_SQUARE = 8 };

typedef struct trial_room {
    sv_removal_tape tapes[SV_MEASURE_SUBJECTS_MOST];
    const sv_removal_tape *list[SV_MEASURE_SUBJECTS_MOST];
    sv_measured measured[SV_MEASURE_SUBJECTS_MOST];
    sv_real *block;
    const sv_real *pictures[PICTURES];
    double *scores;     /* of one selector, all pictures of a batch */
} trial_room;

/* The first selector keeps 40 to 95 % of all patches, each later one 50 to 95 % of what came to it. */
static void draw_plan(sv_pruning_plan *plan, uint64_t seed, size_t trial)
{
    sv_random random = sv_random_at(seed, SV_FOR_TEST, 0, trial, 1);
    double keep[SV_MOST_STAGES], share = 1;
    for (size_t t = 0; t < plan->stages; t++) {
        const double least = t ? 0.5 : 0.4;
        share *= least + (0.95 - least) * sv_random_uniform(&random);
        keep[t] = share;
    }
    sv_plan_set_keep(plan, keep);
}

/* The mean over the pictures of a batch of what a batch of such pictures takes. */
static sv_status predict(sv_latency_trial *trial, const sv_latency_table *table, const sv_removal_tape *tape, const sv_latency_shape *shape, const sv_pruning_plan *plan, size_t batch,
                         sv_latency_rule rule, sv_error *err)
{
    const size_t differing = plan->rule == SV_RULE_THRESHOLD ? batch : 1;
    sv_latency_prediction predicted;
    sv_status status = SV_OK;
    if (!tape->stages) {
        status = sv_latency_predict_dense(table, batch, shape, rule, &predicted, err);
        if (!status) trial->predicted_ms = predicted.total_ms;
        return status;
    }
    for (size_t b = 0; !status && b < differing; b++) {
        size_t kept[SV_MOST_STAGES];
        for (size_t t = 0; t < plan->stages; t++) kept[t] = differing > 1 ? sv_removal_kept(tape, t, b) : plan->count[t];
        status = sv_latency_predict(table, batch, shape, kept, rule, &predicted, err);
        if (!status) trial->predicted_ms += predicted.total_ms / (double)differing;
    }
    return status;
}

/* Noise, with so many flat squares that pictures differ in how much of them there is to keep. */
static sv_status make_pictures(trial_room *room, const sv_model *model, sv_error *err)
{
    const size_t side = model->options.image, numbers = 3 * side * side;
    sv_status status = sv_alloc(&room->block, PICTURES * numbers * sizeof *room->block, "pictures", err);
    if (status) return status;
    for (size_t i = 0; i < PICTURES; i++) {
        sv_random random = sv_random_at(1, SV_FOR_TEST, 0, i, 0);
        sv_real *picture = room->block + i * numbers;
        for (size_t k = 0; k < numbers; k++) picture[k] = (sv_real)(2 * sv_random_uniform(&random) - 1);
        for (size_t y = 0; y < side; y += FLAT_SQUARE)
            for (size_t x = 0; x < side; x += FLAT_SQUARE) {
                const bool flat = sv_random_uniform(&random) < (double)i / PICTURES;
                for (size_t k = 0; flat && k < 3 * FLAT_SQUARE * FLAT_SQUARE; k++) {
                    const size_t channel = k / (FLAT_SQUARE * FLAT_SQUARE), row = y + k / FLAT_SQUARE % FLAT_SQUARE, column = x + k % FLAT_SQUARE;
                    if (row < side && column < side) picture[(channel * side + row) * side + column] = (sv_real)0.5;
                }
            }
        room->pictures[i] = picture;
    }
    return SV_OK;
}

static sv_status run_once(const trial_room *room, const sv_removal_tape *tape, size_t batch, sv_error *err)
{
    const sv_step step = { .images = batch };
    for (size_t b = 0; b < batch; b++)
        memcpy(sv_tape_data(tape->tape, tape->picture, b), room->pictures[b % PICTURES], sv_tensor_width(tape->picture) * sizeof(sv_real));
    return sv_tape_forward(tape->tape, &step, err);
}

/* Sets the plan's thresholds so that the pictures of a batch keep its ratios on average, selector by selector; the last run is with all of them. */
static sv_status set_thresholds(trial_room *room, sv_removal_tape *tape, sv_pruning_plan *plan, size_t batch, sv_error *err)
{
    sv_status status = SV_OK;
    for (size_t t = 0; t < plan->stages; t++) plan->threshold[t] = 0;
    for (size_t t = 0; !status && t <= plan->stages; t++) {
        size_t count = 0;
        sv_removal_set_plan(tape, plan);
        status = run_once(room, tape, batch, err);
        for (size_t b = 0; !status && t < plan->stages && b < batch; b++) {
            const sv_real *a = sv_tape_data(tape->tape, tape->a[t], b);
            const int32_t *origin = (const int32_t *)(const void *)sv_tape_data(tape->tape, tape->before[t], b);
            for (size_t r = 0, rows = sv_tape_rows(tape->tape, tape->a[t], b); r < rows; r++)
                if (origin[r] >= 0) room->scores[count++] = (double)sv_sigmoid(a[r]);
        }
        if (!status && t < plan->stages) plan->threshold[t] = sv_threshold_for(room->scores, count, plan->keep[t] * (double)plan->patches[t] * (double)batch);
    }
    return status;
}

static sv_status prepare(trial_room *room, size_t index, sv_latency_trial *trial, const sv_latency_table *table, const sv_pruning *pruning, sv_pruning_plan *plan, size_t batch,
                         sv_latency_rule rule, sv_error *err)
{
    const sv_model *model = sv_pruning_model(pruning);
    sv_removal_tape *tape = &room->tapes[index];
    sv_latency_shape shape;
    *trial = (sv_latency_trial){ .predicted_ms = 0 };
    sv_status status = sv_latency_shape_of(&shape, model, plan, err);
    if (!status) status = sv_removal_record(tape, pruning, index ? plan : NULL, batch, err);
    if (!status && index && plan->rule == SV_RULE_THRESHOLD) status = set_thresholds(room, tape, plan, batch, err);
    if (!status) status = predict(trial, table, tape, &shape, plan, batch, rule, err);
    if (status) return status;
    memcpy(trial->least, plan->count, sizeof trial->least);
    memcpy(trial->most, plan->count, sizeof trial->most);
    for (size_t t = 0; index && plan->rule == SV_RULE_THRESHOLD && t < plan->stages; t++) {
        trial->least[t] = SIZE_MAX, trial->most[t] = 0;
        for (size_t b = 0; b < batch; b++) {
            const size_t kept = sv_removal_kept(tape, t, b);
            if (kept < trial->least[t]) trial->least[t] = kept;
            if (kept > trial->most[t]) trial->most[t] = kept;
        }
    }
    return SV_OK;
}

sv_status sv_latency_try(sv_latency_trial *trials, size_t count, const sv_latency_table *table, const sv_pruning *pruning, const sv_model_measure *measure,
                         sv_latency_rule rule, uint64_t seed, sv_machine_state *machine, sv_error *err)
{
    const sv_model *model = sv_pruning_model(pruning);
    sv_pruning_plan plan = sv_pruning_options_of(pruning)->plan;
    trial_room room = { .block = NULL };
    const size_t pictures = measure->batch > 1 && measure->batch < PICTURES ? measure->batch : PICTURES; /* of a batch always the same */
    size_t scores = 0;
    if (!plan.stages) return sv_fail(err, SV_USAGE, "the model has no selectors to try keep ratios with; set pruning.method");
    if (!count || count > SV_MEASURE_SUBJECTS_MOST) return sv_fail(err, SV_USAGE, "%zu trials were asked for; 1 to %d can be made", count, SV_MEASURE_SUBJECTS_MOST);
    plan.rule = measure->batch > 1 ? SV_RULE_THRESHOLD : SV_RULE_TOPK;
    sv_status status = make_pictures(&room, model, err);
    if (!status && sv_mul_size3(&scores, measure->batch, sv_model_patches(model), sizeof *room.scores)) status = sv_fail(err, SV_FAULT, "scores of %zu pictures do not fit", measure->batch);
    if (!status) status = sv_alloc(&room.scores, scores, "scores", err);
    for (size_t i = 0; !status && i < count; i++) {
        if (i) draw_plan(&plan, seed, i);
        status = prepare(&room, i, &trials[i], table, pruning, &plan, measure->batch, rule, err);
        room.list[i] = &room.tapes[i];
    }
    if (!status) status = sv_latency_measure_tapes(room.list, count, room.pictures, pictures, measure->batch, &measure->options, room.measured, machine, err);
    for (size_t i = 0; !status && i < count; i++) trials[i].measured_ms = room.measured[i].median_ms, trials[i].p95_ms = room.measured[i].p95_ms;
    for (size_t i = 0; i < count; i++) sv_removal_clear(&room.tapes[i]);
    sv_free(room.block);
    sv_free(room.scores);
    return status;
}
