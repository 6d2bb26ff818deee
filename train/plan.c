/* From a latency budget to what the selectors must keep: the device's table, the solver, the targets in force. */
#include "latency/measure_model.h"
#include "train/session.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static sv_latency_packages packages_of(const sv_pruning_plan *plan) { return plan->package == SV_CHOICE_NONE ? SV_LATENCY_NO_PACKAGE : SV_LATENCY_EACH_PACKAGE; }

static sv_status make_shape(sv_session *s, sv_error *err)
{
    const sv_pruning_plan *plan = sv_pruning_plan_of(s->pruning);
    int64_t at[SV_MOST_STAGES];
    for (size_t t = 0; t < plan->stages; t++) at[t] = (int64_t)plan->at[t];
    sv_status status = sv_latency_shape_fill(&s->shape, sv_model_prefix(s->model), sv_model_patches(s->model), sv_model_depth(s->model), at, plan->stages, packages_of(plan), err);
    if (!status) sv_latency_shape_method(&s->shape, plan);
    return status;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static sv_status measure_here(sv_session *s, const char *path, sv_error *err)
{
    sv_latency_quality quality = { 0 };
    char busy[160], taken[32];
    double begin = sv_now_seconds();
    sv_model_measure measure = { .batch = (size_t)sv_config_int(s->config, "latency.batch"), .tolerance = sv_config_real(s->config, "latency.tolerance") };
    measure.options = sv_measure_defaults();
    measure.options.warm_up = (size_t)sv_config_int(s->config, "latency.warm_up");
    measure.options.runs = (size_t)sv_config_int(s->config, "latency.runs");
    measure.options.seconds_most = sv_config_real(s->config, "latency.seconds");
    sv_log(SV_INFO, "measuring how long the parts of %s take on this machine (kept in %s)", s->model->backbone->name, path);
    sv_status status = sv_latency_measure_model(&s->table, s->pruning, &measure, &quality, err);
    if (!status) status = sv_latency_table_write(&s->table, path, err);
    if (status) return status;
    /* The file has fewer digits: a run that goes on, and other ranks, read it, and must find the numbers this process trains by. */
    sv_latency_table_clear(&s->table);
    status = sv_latency_table_read(&s->table, path, err);
    if (status) return status;
    sv_log(SV_INFO, "measured %zu points in %s", s->table.count, sv_duration(taken, sv_now_seconds() - begin));
    sv_machine_busy(busy, sizeof busy, quality.machine);
    if (busy[0]) sv_log(SV_WARNING, "while measuring, %s: the times may be too long", busy);
    if (quality.unsteady) sv_log(SV_WARNING, "%zu of %zu points did not repeat within %.0f %%", quality.unsteady, s->table.count, 100 * measure.tolerance);
    return SV_OK;
}

static sv_status take_table(sv_session *s, sv_error *err)
{
    const char *given = sv_config_text(s->config, "latency.table");
    sv_latency_about here = { 0 };
    char *path = NULL, differs[256];
    sv_status status = SV_OK;
    sv_latency_about_model(&here, s->model);
    if (given[0]) {
        status = sv_latency_table_read(&s->table, given, err);
        if (!status) status = sv_latency_fits_model(&s->table, &here, given, err);
        if (!status) status = sv_latency_fits_method(&s->table, sv_pruning_plan_of(s->pruning), given, err);
        if (!status && sv_latency_differs(differs, sizeof differs, &s->table, &here)[0]) {
            s->foreign_table = true;
            sv_log(SV_WARNING, "%s is of another machine or setting (%s): times are predicted for it and not measured here", given, differs);
        }
        return status;
    }
    status = sv_path_join(&path, s->folder, "latency.csv", err);
    if (!status && sv_path_exists(path)) {
        status = sv_latency_table_read(&s->table, path, err);
        if (!status) status = sv_latency_fits_model(&s->table, &here, path, err);
        if (!status) status = sv_latency_fits_method(&s->table, sv_pruning_plan_of(s->pruning), path, err);
    } else if (!status) {
        status = measure_here(s, path, err);
    }
    sv_free(path);
    return status;
}

/* ---- keep ratios ------------------------------------------------------------------------------------------------- */

static sv_latency_question question(const sv_session *s, double budget_ms)
{
    return (sv_latency_question){ .table = &s->table, .batch = (size_t)sv_config_int(s->config, "latency.batch"), .shape = &s->shape,
                                  .rule = (sv_latency_rule)sv_config_choice(s->config, "latency.rule"), .budget_ms = budget_ms,
                                  .keep_least = sv_config_real(s->config, "latency.keep_least") };
}

sv_status sv_session_apply_keep(sv_session *s, const double *keep, sv_error *err)
{
    sv_pruning_plan *plan = sv_pruning_plan_of(s->pruning);
    sv_latency_prediction predicted;
    size_t batch = (size_t)sv_config_int(s->config, "latency.batch");
    sv_plan_set_keep(plan, keep, sv_model_patches(s->model));
    for (size_t t = 0; t < plan->stages; t++) s->state.keep[t] = keep[t];
    if (!s->has_table || !plan->stages) return SV_OK;
    sv_status status = sv_latency_predict(&s->table, batch, &s->shape, plan->count, (sv_latency_rule)sv_config_choice(s->config, "latency.rule"), &predicted, err);
    if (status) return status;
    s->predicted_ms = predicted.total_ms;
    if (s->training.curve) status = sv_latency_curve(&s->table, batch, &s->shape, isfinite(s->budget_ms) ? s->budget_ms : s->dense_ms, sv_tape_data(s->training.tape, s->training.curve, 0), err);
    return status;
}

static void say_plan(const sv_session *s)
{
    const sv_pruning_plan *plan = sv_pruning_plan_of(s->pruning);
    sv_text text = { 0 };
    const bool merges = plan->stages && sv_method_form_of(plan->method) == SV_IN_EVERY_BLOCK;
    if (merges) sv_text_add(&text, "%.3f (%zu patches, merged) behind the last block", plan->keep[0], plan->count[0]);
    for (size_t t = 0; !merges && t < plan->stages; t++) sv_text_add(&text, "%s%.3f (%zu patches) before block %zu", t ? ", " : "", plan->keep[t], plan->count[t], plan->at[t]);
    if (text.data) sv_log(SV_INFO, "keeps %s", text.data);
    sv_text_clear(&text);
    if (s->has_table)
        sv_log(SV_INFO, "dense %.2f ms, budget %.2f ms, predicted %.2f ms for %s", s->dense_ms, s->budget_ms, s->predicted_ms, s->foreign_table ? s->table.about.device : "this machine");
}

static sv_status solve(sv_session *s, sv_error *err)
{
    const sv_pruning_plan *plan = sv_pruning_plan_of(s->pruning);
    sv_latency_question asked = question(s, s->budget_ms);
    sv_latency_answer answer;
    sv_status status = SV_OK;
    if (s->budget.kind == SV_NO_BUDGET) return sv_session_apply_keep(s, plan->keep, err);
    status = sv_config_given(s->config, "pruning.keep") ? sv_latency_check_keep(&asked, plan->keep, &answer, err) : sv_latency_solve_family(&asked, &answer, err);
    return status ? status : sv_session_apply_keep(s, answer.keep, err);
}

sv_status sv_session_plan(sv_session *s, sv_error *err)
{
    const sv_pruning_plan *plan = sv_pruning_plan_of(s->pruning);
    sv_latency_prediction dense;
    double weight = sv_config_real(s->config, "latency.weight");
    sv_status status = sv_budget_parse(&s->budget, sv_config_text(s->config, "latency.budget"), sv_config_where(s->config, "latency.budget"), err);
    if (status) return status;
    s->budget_ms = INFINITY;
    if (!plan->stages && s->budget.kind != SV_NO_BUDGET)
        return sv_fail(err, SV_USAGE, "%s: latency.budget needs selectors that can meet it; set pruning.method", sv_config_where(s->config, "latency.budget"));
    if (!plan->stages || (s->budget.kind == SV_NO_BUDGET && weight <= 0 && !sv_config_text(s->config, "latency.table")[0])) {
        s->budget_ms = 0;
        return SV_OK;
    }
    status = make_shape(s, err);
    if (!status) status = take_table(s, err);
    if (!status) status = sv_latency_predict_dense(&s->table, (size_t)sv_config_int(s->config, "latency.batch"), &s->shape, (sv_latency_rule)sv_config_choice(s->config, "latency.rule"), &dense, err);
    if (status) return status;
    s->has_table = true;
    s->dense_ms = dense.total_ms;
    s->budget_ms = sv_budget_ms(s->budget, dense.total_ms);
    status = solve(s, err);
    if (!status) say_plan(s);
    return status;
}

/* ---- the plan, said ---------------------------------------------------------------------------------------------- */

static double seconds_of_a_step(sv_session *s)
{
    sv_step step = { .images = s->options.batch, .seed = s->options.seed };
    double least = INFINITY;
    sv_training_set_goals(&s->training, sv_pruning_options_of(s->pruning), s->state.keep, s->state.multiplier);
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
    for (size_t t = 0; t < plan->stages; t++) sv_log(SV_INFO, "selector %zu  before block %zu, keeps %.3f: %zu of %zu patches", t + 1, plan->at[t], plan->keep[t], plan->count[t], sv_model_patches(s->model));
    if (s->has_table) sv_log(SV_INFO, "latency     dense %.2f ms, budget %.2f ms, predicted %.2f ms", s->dense_ms, s->budget_ms, s->predicted_ms);
    sv_log(SV_INFO, "data        %zu pictures to train on, %zu to validate, %zu classes", sv_source_count(s->train_source), sv_source_count(s->val_source), sv_source_classes(s->train_source)->count);
    sv_log(SV_INFO, "steps       %zu epochs of %llu steps of %zu pictures", s->options.epochs, (unsigned long long)s->steps_per_epoch, s->options.batch * s->options.accumulate);
    sv_log(SV_INFO, "memory      %.0f MiB of activations, %.0f MiB of gradient lanes, %.0f MiB in all", (double)training.stored / 1048576, (double)training.lanes / 1048576,
           (double)sv_memory_now().bytes_peak / 1048576);
    sv_log(SV_INFO, "time        %s a step, %s in all on %zu threads, without evaluation", sv_duration(path, step), sv_duration(time, all), sv_threads());
}
