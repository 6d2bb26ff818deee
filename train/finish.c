/* The measured end of a run: the deployed model timed on this machine beside the dense one, against the budget. Over it: the targets are tightened by
 * what was measured and the run goes on, latency.rounds times at most. A run ends with a number that was measured. */
#include "latency/measure_model.h"
#include "train/session.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PICTURES_MOST = 32 };

typedef struct picture_set { sv_real *block; const sv_real *items[PICTURES_MOST]; size_t count; } picture_set;

static sv_status take_pictures(sv_session *s, picture_set *set, size_t wanted, sv_error *err)
{
    size_t numbers = sv_tensor_width(s->pruned.picture);
    sv_batch *batch = NULL;
    sv_status status = sv_alloc(&set->block, wanted * numbers * sizeof *set->block, "pictures", err);
    sv_loader_start(s->val, 0, 0, 1);
    while (!status && set->count < wanted && !(status = sv_loader_next(s->val, &batch, err)) && batch)
        for (size_t b = 0; b < batch->count && set->count < wanted; b++) {
            memcpy(set->block + set->count * numbers, batch->pictures + b * numbers, numbers * sizeof *set->block);
            set->items[set->count] = set->block + set->count * numbers;
            set->count++;
        }
    if (!status && !set->count) status = sv_fail(err, SV_DATA, "%s: there is no readable picture to measure with", sv_source_name(s->val_source));
    return status;
}

/* Dense first; without selectors it is alone. */
static sv_status measure(sv_session *s, sv_error *err)
{
    const sv_pruning_plan *plan = sv_pruning_plan_of(s->pruning);
    size_t batch = (size_t)sv_config_int(s->config, "latency.batch");
    sv_removal_tape dense = { 0 }, pruned = { 0 };
    const sv_removal_tape *tapes[] = { &dense, &pruned };
    sv_measured measured[2] = { 0 };
    sv_machine_state machine = { 0 };
    picture_set pictures = { 0 };
    sv_measure_options options = sv_measure_defaults();
    char busy[160];
    options.runs = (size_t)sv_config_int(s->config, "latency.runs");
    options.warm_up = (size_t)sv_config_int(s->config, "latency.warm_up");
    options.rehearsals = 1;
    options.seconds_most = fmax(20, 4 * sv_config_real(s->config, "latency.seconds"));
    sv_status status = take_pictures(s, &pictures, PICTURES_MOST, err);
    if (!status) status = sv_removal_record(&dense, s->start_pruning ? s->start_pruning : s->pruning, NULL, batch, err);
    if (!status && plan->stages) status = sv_removal_record(&pruned, s->pruning, plan, batch, err);
    if (!status) status = sv_latency_measure_tapes(tapes, plan->stages ? 2 : 1, pictures.items, pictures.count, batch, &options, measured, &machine, err);
    if (!status) {
        s->measured_dense = measured[0];
        s->measured_pruned = measured[plan->stages ? 1 : 0];
        s->was_measured = true;
        sv_machine_busy(busy, sizeof busy, machine);
        if (busy[0]) sv_log(SV_WARNING, "while measuring, %s: the times may be too long", busy);
    }
    sv_removal_clear(&dense);
    sv_removal_clear(&pruned);
    sv_free(pictures.block);
    return status;
}

static sv_status write_model(sv_session *s, sv_error *err)
{
    sv_text plan = { 0 }, card = { 0 };
    char *path = NULL;
    sv_plan_print(sv_pruning_plan_of(s->pruning), &plan);
    sv_status status = sv_text_check(&plan, err);
    if (!status) status = sv_session_card(s, &s->evaluation, &card, err);
    sv_checkpoint checkpoint = { .card = card.data, .set = s->model->parameters, .model = s->model_text, .plan = plan.data, .classes = s->classes_text, .config = s->recipe_text };
    if (!status) status = sv_path_join(&path, s->folder, "model.safetensors", err);
    if (!status) status = sv_checkpoint_write(&checkpoint, path, err);
    sv_free(path);
    sv_text_clear(&card);
    sv_text_clear(&plan);
    return status;
}

/* Another round: less is kept, and an epoch more. */
static sv_status tighten(sv_session *s, sv_error *err)
{
    sv_log(SV_INFO, "round %llu: measured %.2f ms is above the budget of %.2f ms; keeps less and trains another epoch", (unsigned long long)s->state.round + 1, s->measured_pruned.median_ms,
           s->budget_ms);
    sv_status status = sv_session_tighten(s, err);
    if (status) return status;
    s->state.round++;
    s->epochs++;
    return sv_session_save(s, err);
}

static void say_times(const sv_session *s)
{
    const sv_measured *dense = &s->measured_dense, *pruned = &s->measured_pruned;
    char goal[96] = "";
    if (s->budget.kind != SV_NO_BUDGET) snprintf(goal, sizeof goal, "; budget %.2f ms, predicted %.2f ms", s->budget_ms, s->predicted_ms);
    if (s->was_measured && !s->pruned.stages) sv_log(SV_INFO, "measured: %.2f ms a picture (p95 %.2f)", dense->median_ms, dense->p95_ms);
    else if (s->was_measured)
        sv_log(SV_INFO, "measured: pruned %.2f ms (p95 %.2f), dense %.2f ms: %.2f times as fast%s", pruned->median_ms, pruned->p95_ms, dense->median_ms,
               dense->median_ms / pruned->median_ms, goal);
    else if (s->pruned.stages && s->has_table)
        sv_log(SV_INFO, "predicted for %s: %.2f ms, budget %.2f ms; not measured here", s->table.about.device, s->predicted_ms, s->budget_ms);
}

sv_status sv_session_finish(sv_session *s, bool *again, sv_error *err)
{
    bool over = false;
    sv_status status = SV_OK;
    *again = false;
    if (!s->foreign_table && !s->request->unmeasured) status = measure(s, err);
    if (!status) status = write_model(s, err);
    if (status) return status;
    if (s->was_measured) {
        if (s->budget.kind == SV_BUDGET_SHARE) s->budget_ms = s->budget.value * s->measured_dense.median_ms;
        over = s->budget.kind != SV_NO_BUDGET && s->measured_pruned.median_ms > s->budget_ms;
    }
    say_times(s);
    status = s->request->unmeasured ? SV_OK : sv_rounds_add(s, err);
    if (status) return status;
    sv_rounds_say(s);
    status = sv_session_page(s, over ? SV_VERDICT_MISSED : SV_VERDICT_MET, err);
    if (status || !over) return status;
    if (s->state.round < (uint64_t)sv_config_int(s->config, "latency.rounds")) {
        *again = true;
        return tighten(s, err);
    }
    return sv_fail(err, SV_BUDGET, "the budget is missed: measured %.2f ms (p95 %.2f), budget %.2f ms, predicted %.2f ms, dense %.2f ms, after %llu rounds; keep less, allow more, or raise latency.rounds",
                   s->measured_pruned.median_ms, s->measured_pruned.p95_ms, s->budget_ms, s->predicted_ms, s->measured_dense.median_ms, (unsigned long long)s->state.round);
}

static double share(size_t count, size_t images) { return images ? (double)count / (double)images : NAN; }

void sv_session_result(const sv_session *s, sv_train_result *r)
{
    const sv_pruning_plan *plan = sv_pruning_plan_of(s->pruning);
    const sv_evaluation *e = &s->evaluation, *d = &s->dense_evaluation;
    *r = (sv_train_result){ .epochs = s->state.epoch, .steps = s->state.step, .top1 = share(e->top1, e->images), .top1_ema = s->ema ? share(s->ema_evaluation.top1, s->ema_evaluation.images) : NAN,
                            .top1_dense = share(d->top1, d->images), .loss = e->loss, .images = e->images, .right = e->top1, .right_among = e->top1_among, .dense_right = d->top1,
                            .dense_right_among = d->top1_among, .stages = plan->stages, .budget_ms = s->budget.kind == SV_NO_BUDGET ? NAN : s->budget_ms,
                            .predicted_ms = s->has_table ? s->predicted_ms : NAN, .measured_ms = s->was_measured ? s->measured_pruned.median_ms : NAN,
                            .measured_p95_ms = s->was_measured ? s->measured_pruned.p95_ms : NAN, .dense_ms = s->was_measured ? s->measured_dense.median_ms : s->has_table ? s->dense_ms : NAN,
                            .images_per_s = s->worked > 0 ? (double)s->pictures / s->worked : NAN, .peak_mib = (double)sv_memory_now().bytes_peak / 1048576 };
    for (size_t t = 0; t < plan->stages; t++) {
        r->keep[t] = plan->keep[t];
        r->kept_share[t] = e->images ? e->kept[t] / (double)plan->patches[t] : NAN;
    }
    snprintf(r->checkpoint, sizeof r->checkpoint, "%s/model.safetensors", s->folder);
}
