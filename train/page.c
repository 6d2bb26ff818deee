/* The run's page: report.html, made anew from metrics.csv and what the run knows. A page that cannot be written is said, and the run goes on. */
#include "train/page_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SERIES_MOST = 24, CHARTS_MOST = 8 };

typedef struct page { sv_metrics_table table; sv_chart charts[CHARTS_MOST]; size_t chart_count; sv_chart_series series[SERIES_MOST]; size_t series_count; char names[SERIES_MOST][48]; sv_chart_goal goal; sv_page_parts parts; } page;

static bool add_series(page *p, const char *column, const char *name, unsigned color, sv_line_kind kind)
{
    const double *y = sv_metrics_column(&p->table, column), *x = sv_metrics_column(&p->table, "epoch");
    bool any = false;
    for (size_t i = 0; y && i < p->table.row_count; i++) any = any || isfinite(y[i]);
    if (!any || !x || p->series_count == SERIES_MOST) return false;
    snprintf(p->names[p->series_count], sizeof p->names[0], "%s", name);
    p->series[p->series_count] = (sv_chart_series){ .name = p->names[p->series_count], .x = x, .y = y, .count = p->table.row_count, .color = color, .kind = kind };
    p->series_count++;
    return true;
}

static void add_chart(page *p, const char *title, const char *unit, sv_chart_scale scale, double factor, size_t from)
{
    if (p->series_count == from || p->chart_count == CHARTS_MOST) return;
    p->charts[p->chart_count++] = (sv_chart){ .title = title, .x_label = "epoch", .unit = unit, .scale = scale, .y_factor = factor, .series = p->series + from, .series_count = p->series_count - from };
}

static void make_charts(page *p, size_t stages, double budget_ms)
{
    size_t from = p->series_count;
    add_series(p, "top1", "top-1", 0, SV_LINE_SOLID);
    add_series(p, "top1_among", "among present classes", 1, SV_LINE_SOLID);
    add_series(p, "top1_ema", "averaged weights", 2, SV_LINE_SOLID);
    add_chart(p, "Accuracy on validation", "%", SV_SCALE_LINEAR, 100, from);
    from = p->series_count;
    add_series(p, "loss", "all", 0, SV_LINE_SOLID);
    add_series(p, "loss_cls", "classes", 1, SV_LINE_SOLID);
    add_series(p, "loss_kl", "teacher", 2, SV_LINE_SOLID);
    add_series(p, "loss_token", "tokens", 3, SV_LINE_SOLID);
    add_series(p, "loss_distill", "distillation", 4, SV_LINE_SOLID);
    add_series(p, "loss_ratio", "ratios", 5, SV_LINE_SOLID);
    add_series(p, "loss_latency", "latency", 6, SV_LINE_SOLID);
    add_chart(p, "Loss", "", SV_SCALE_FROM_ZERO, 1, from);
    from = p->series_count;
    for (size_t t = 0; t < stages && t < 3; t++) {
        char column[24], name[48];
        snprintf(column, sizeof column, "kept_%zu", t);
        snprintf(name, sizeof name, "selector %zu", t + 1);
        add_series(p, column, name, (unsigned)t, SV_LINE_SOLID);
        snprintf(column, sizeof column, "sampled_%zu", t);
        snprintf(name, sizeof name, "selector %zu, sampled", t + 1);
        add_series(p, column, name, (unsigned)t, SV_LINE_FAINT);
        snprintf(column, sizeof column, "target_%zu", t);
        snprintf(name, sizeof name, "target %zu", t + 1);
        add_series(p, column, name, (unsigned)t, SV_LINE_DASHED);
    }
    add_chart(p, "Tokens kept", "%", SV_SCALE_FROM_ZERO, 100, from);
    from = p->series_count;
    add_series(p, "lr", "selectors", 0, SV_LINE_SOLID);
    add_series(p, "lr_backbone", "backbone", 1, SV_LINE_SOLID);
    add_chart(p, "Learning rate", "", SV_SCALE_LOG, 1, from);
    from = p->series_count;
    add_series(p, "predicted_ms", "predicted", 0, SV_LINE_SOLID);
    add_chart(p, "Latency of a picture", "ms", SV_SCALE_FROM_ZERO, 1, from);
    if (p->series_count > from && budget_ms > 0 && isfinite(budget_ms)) {
        p->goal = (sv_chart_goal){ "budget", budget_ms, 3 };
        p->charts[p->chart_count - 1].goals = &p->goal;
        p->charts[p->chart_count - 1].goal_count = 1;
    }
    from = p->series_count;
    add_series(p, "images_per_s", "training", 0, SV_LINE_SOLID);
    add_chart(p, "Pictures a second", "", SV_SCALE_FROM_ZERO, 1, from);
}

static sv_report_model model_of(const sv_evaluation *e, const sv_measured *measured, bool was_measured)
{
    sv_report_model m = sv_report_unknown();
    if (e->images) {
        m.top1 = (double)e->top1 / (double)e->images;
        m.top5 = (double)e->top5 / (double)e->images;
        m.macs = e->macs;
        m.images_per_s = e->seconds > 0 ? (double)e->images / e->seconds : NAN;
    }
    if (was_measured) m.ms_median = measured->median_ms, m.ms_p95 = measured->p95_ms;
    return m;
}

static size_t count_parameters(const sv_session *s, bool with_selectors)
{
    size_t count = 0;
    for (size_t i = 0; i < s->model->parameters->count; i++)
        if (with_selectors || !sv_name_selects(s->model->parameters->items[i]->name)) count += s->model->parameters->items[i]->count;
    return count;
}

static void fill(const sv_session *s, sv_report *r, sv_report_stage *stages, sv_verdict verdict)
{
    const sv_pruning_plan *plan = sv_pruning_plan_of(s->pruning);
    r->title = s->folder;
    r->verdict = s->budget.kind == SV_NO_BUDGET ? SV_VERDICT_NONE : verdict;
    r->budget_ms = s->budget_ms > 0 ? s->budget_ms : NAN;
    r->predicted_ms = s->predicted_ms > 0 ? s->predicted_ms : NAN;
    r->dense = model_of(plan->stages ? &s->dense_evaluation : &s->evaluation, &s->measured_dense, s->was_measured);
    r->dense.parameters = (double)count_parameters(s, false);
    if (plan->stages) {
        r->pruned = model_of(&s->evaluation, &s->measured_pruned, s->was_measured);
        r->pruned.parameters = (double)count_parameters(s, true);
    }
    if (s->ema && s->ema_evaluation.images) r->top1_ema = (double)s->ema_evaluation.top1 / (double)s->ema_evaluation.images;
    for (size_t t = 0; t < plan->stages; t++)
        stages[t] = (sv_report_stage){ .before_block = plan->at[t], .target = plan->keep[t], .reached = s->evaluation.images ? s->evaluation.kept[t] / (double)plan->patches[t] : NAN,
                                       .tokens = s->evaluation.images ? s->evaluation.kept[t] : NAN };
    r->stages = stages;
    r->stage_count = plan->stages;
    r->config = s->config_text;
    r->tool = "Sieve " SV_VERSION;
}

sv_status sv_session_page(sv_session *s, sv_verdict verdict, sv_error *err)
{
    page *p = NULL;
    char *metrics = NULL, *path = NULL, machine[128], line[256];
    sv_report report = sv_report_empty();
    sv_report_stage stages[SV_MOST_STAGES];
    sv_report_round rounds[SV_REPORT_ROUNDS_MOST];
    sv_latency_about here = { 0 };
    if (s->request->unmeasured) return SV_OK; /* a trial is looked at by nobody */
    sv_status status = sv_alloc_zero(&p, sizeof *p, "page", err);
    if (!status) status = sv_path_join(&metrics, s->folder, "metrics.csv", err);
    if (!status) status = sv_path_join(&path, s->folder, "report.html", err);
    if (!status) status = sv_metrics_read(&p->table, metrics, err);
    if (!status) status = sv_rounds_read(s, rounds, SV_COUNT(rounds), &report.round_count, err);
    if (!status) {
        fill(s, &report, stages, verdict);
        make_charts(p, s->training.stages, s->budget_ms);
        status = sv_page_parts_make(&p->parts, s, &report, err);
    }
    if (!status) {
        report.rounds = rounds;
        report.charts = p->charts;
        report.chart_count = p->chart_count;
        sv_latency_about_here(&here, sv_precision_name(s->model->options.precision));
        snprintf(line, sizeof line, "%s, %zu threads, %s", sv_machine_name(machine, sizeof machine), sv_threads(), sv_isa_name(sv_isa_now()));
        report.machine = line;
        report.date = here.date;
        status = sv_report_write(&report, path, err);
    }
    if (p) sv_metrics_table_clear(&p->table);
    if (p) sv_page_parts_clear(&p->parts);
    if (status) sv_log(SV_WARNING, "the report page is not up to date: %s", err ? err->text : "");
    sv_free(p);
    sv_free(metrics);
    sv_free(path);
    return SV_OK;
}
