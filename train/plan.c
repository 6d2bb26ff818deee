/* The table and the plan a run begins with. What the selectors must keep is solved in train/targets.c. */
#include "latency/shape.h"
#include "train/session.h"
#include "train/table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

sv_status sv_session_plan(sv_session *s, sv_error *err)
{
    const sv_pruning_plan *plan = sv_pruning_plan_of(s->pruning);
    sv_latency_prediction dense;
    const bool term = sv_pruning_options_of(s->pruning)->latency_weight > 0;
    sv_status status = sv_budget_parse(&s->budget, sv_config_text(s->config, "latency.budget"), sv_config_where(s->config, "latency.budget"), err);
    if (status) return status;
    s->budget_ms = INFINITY;
    if (!plan->stages && s->budget.kind != SV_NO_BUDGET)
        return sv_fail(err, SV_USAGE, "%s: latency.budget needs selectors that can meet it; set pruning.method", sv_config_where(s->config, "latency.budget"));
    if (!plan->stages || (s->budget.kind == SV_NO_BUDGET && !term && !sv_config_text(s->config, "latency.table")[0])) {
        s->budget_ms = 0;
        return SV_OK;
    }
    status = sv_latency_shape_of(&s->shape, s->model, plan, err);
    if (!status) status = sv_table_take(&s->table, &s->foreign_table, s->config, s->pruning, s->folder, err);
    if (!status) status = sv_latency_predict_dense(&s->table, (size_t)sv_config_int(s->config, "latency.batch"), &s->shape, (sv_latency_rule)sv_config_choice(s->config, "latency.rule"), &dense, err);
    if (status) return status;
    s->has_table = true;
    s->dense_ms = dense.total_ms;
    s->budget_ms = sv_budget_ms(s->budget, dense.total_ms);
    return sv_session_solve(s, err);
}

/* ---- the plan, said ---------------------------------------------------------------------------------------------- */

static double seconds_of_a_step(sv_session *s)
{
    sv_step step = { .images = s->options.batch, .seed = s->options.seed };
    double least = INFINITY;
    sv_training_set_goals(&s->training, sv_pruning_options_of(s->pruning), s->state.keep, s->state.multiplier, s->state.latency_multiplier);
    for (int i = 0; i < 2; i++) {
        double begin = sv_now_seconds();
        if (sv_tape_forward(s->training.tape, &step, NULL)) return NAN;
        sv_tape_backward(s->training.tape, 1);
        least = fmin(least, sv_now_seconds() - begin);
    }
    return least;
}

void sv_session_dry_run(sv_session *s)
{
    const sv_pruning_plan *plan = sv_pruning_plan_of(s->pruning);
    sv_tape_bytes training = sv_tape_bytes_planned(s->training.tape);
    char time[32], path[32];
    size_t parameters = sv_model_parameter_count(s->model);
    double step = seconds_of_a_step(s), all = step * (double)s->options.accumulate * (double)s->steps_per_epoch * (double)s->options.epochs;
    sv_log(SV_INFO, "model       %s, %zu parameters, %zu tokens", s->model->backbone->name, parameters, sv_model_prefix(s->model) + sv_model_patches(s->model));
    sv_log(SV_INFO, "work        %.3f GMAC a picture dense%s", 1e-9 * (double)sv_model_macs(s->model), plan->stages ? "" : "; no selectors");
    if (s->teacher) sv_log(SV_INFO, "teacher     %s, %.3f GMAC a picture", s->teacher->backbone->name, 1e-9 * (double)sv_model_macs(s->teacher));
    if (plan->stages) sv_log(SV_INFO, "            %.3f GMAC pruned, %.3f GMAC a picture of a training step", 1e-9 * (double)sv_pruned_macs(s->model, plan, plan->count),
                             1e-9 * (double)sv_training_macs(s->model, plan, plan->count, s->teacher));
    for (size_t t = 0; t < plan->stages; t++) sv_log(SV_INFO, "selector %zu  before block %zu, keeps %.3f: %zu of %zu patches", t + 1, plan->at[t], plan->keep[t], plan->count[t], plan->patches[t]);
    if (s->has_table) sv_log(SV_INFO, "latency     dense %.2f ms, budget %.2f ms, predicted %.2f ms", s->dense_ms, s->budget_ms, s->predicted_ms);
    sv_log(SV_INFO, "data        %zu pictures to train on, %zu to validate, %zu classes", sv_source_count(s->train_source), sv_source_count(s->val_source), sv_source_classes(s->train_source)->count);
    sv_log(SV_INFO, "steps       %zu epochs of %llu steps of %zu pictures", s->options.epochs, (unsigned long long)s->steps_per_epoch, s->options.batch * s->options.accumulate);
    sv_log(SV_INFO, "memory      %.0f MiB of activations, %.0f MiB of gradient lanes, %.0f MiB in all", (double)training.stored / 1048576, (double)training.lanes / 1048576,
           (double)sv_memory_now().bytes_peak / 1048576);
    sv_log(SV_INFO, "time        %s a step, %s in all on %zu threads, without evaluation", sv_duration(path, step), sv_duration(time, all), sv_threads());
}
