/* rounds.csv: what each measured end of a run found. A run that goes on keeps the lines of the rounds before it. */
#include "train/session.h"

#include <math.h>
#include <stdio.h>

enum { FIXED = 8, COLUMNS = FIXED + 2 * SV_MOST_STAGES };

static sv_status path_of(const sv_session *s, char **path, sv_error *err) { return sv_path_join(path, s->folder, "rounds.csv", err); }

sv_status sv_rounds_add(const sv_session *s, sv_error *err)
{
    const sv_pruning_plan *plan = sv_pruning_plan_of(s->pruning);
    const sv_evaluation *e = &s->evaluation;
    const bool measured = s->was_measured;
    const double nothing = NAN, values[FIXED] = { (double)s->state.round + 1, (double)s->state.epoch, s->budget.kind == SV_NO_BUDGET ? nothing : s->budget_ms,
                                                  s->has_table ? s->predicted_ms : nothing, measured ? s->measured_pruned.median_ms : nothing, measured ? s->measured_pruned.p95_ms : nothing,
                                                  measured ? s->measured_dense.median_ms : s->has_table ? s->dense_ms : nothing, e->images ? (double)e->top1 / (double)e->images : nothing };
    const char *names[COLUMNS] = { "round", "epoch", "budget_ms", "predicted_ms", "measured_ms", "measured_p95_ms", "dense_ms", "top1" };
    char room[2 * SV_MOST_STAGES][16];
    double row[COLUMNS];
    sv_metrics *file = NULL;
    char *path = NULL;
    if (!plan->stages) return SV_OK;
    for (size_t i = 0; i < FIXED; i++) row[i] = values[i];
    for (size_t i = 0; i < 2 * plan->stages; i++) {
        const size_t t = i / 2;
        snprintf(room[i], sizeof room[i], i % 2 ? "kept_%zu" : "target_%zu", t);
        names[FIXED + i] = room[i];
        row[FIXED + i] = i % 2 ? (e->images ? e->kept[t] / (double)plan->patches[t] : NAN) : plan->keep[t];
    }
    sv_status status = path_of(s, &path, err);
    if (!status) status = sv_metrics_open(&file, path, names, FIXED + 2 * plan->stages, s->state.round, err);
    if (!status) status = sv_metrics_add(file, row, err);
    sv_metrics_close(file);
    sv_free(path);
    return status;
}

sv_status sv_rounds_read(const sv_session *s, sv_report_round *rounds, size_t most, size_t *count, sv_error *err)
{
    static const struct { const char *column; size_t at; } fields[] = {
        { "epoch", offsetof(sv_report_round, epoch) },       { "budget_ms", offsetof(sv_report_round, budget_ms) },     { "predicted_ms", offsetof(sv_report_round, predicted_ms) },
        { "measured_ms", offsetof(sv_report_round, measured_ms) }, { "measured_p95_ms", offsetof(sv_report_round, p95_ms) }, { "dense_ms", offsetof(sv_report_round, dense_ms) },
        { "top1", offsetof(sv_report_round, top1) },
    };
    sv_metrics_table table = { 0 };
    char *path = NULL;
    *count = 0;
    sv_status status = path_of(s, &path, err);
    if (!status && sv_path_exists(path)) {
        status = sv_metrics_read(&table, path, err);
        if (!status) *count = table.row_count < most ? table.row_count : most;
    }
    for (size_t f = 0; f < SV_COUNT(fields); f++) {
        const double *column = *count ? sv_metrics_column(&table, fields[f].column) : NULL;
        for (size_t i = 0; i < *count; i++) *(double *)(void *)((char *)&rounds[i] + fields[f].at) = column ? column[i] : NAN;
    }
    sv_metrics_table_clear(&table);
    sv_free(path);
    return status;
}

static const char *in_ms(char *room, size_t bytes, double ms)
{
    if (isfinite(ms)) snprintf(room, bytes, "%.3f", ms);
    else snprintf(room, bytes, "-");
    return room;
}

void sv_rounds_say(const sv_session *s)
{
    sv_report_round rounds[SV_REPORT_ROUNDS_MOST];
    sv_error err = { 0 };
    size_t count = 0;
    char a[16], b[16], c[16], d[16], e[16];
    if (sv_rounds_read(s, rounds, SV_COUNT(rounds), &count, &err) || !count || s->budget.kind == SV_NO_BUDGET) return;
    sv_log(SV_INFO, "round  epoch     budget  predicted   measured        p95      dense ms");
    for (size_t i = 0; i < count; i++) {
        const sv_report_round *r = &rounds[i];
        sv_log(SV_INFO, "%5zu  %5.0f  %9s  %9s  %9s  %9s  %9s  %s", i + 1, r->epoch, in_ms(a, sizeof a, r->budget_ms), in_ms(b, sizeof b, r->predicted_ms), in_ms(c, sizeof c, r->measured_ms),
               in_ms(d, sizeof d, r->p95_ms), in_ms(e, sizeof e, r->dense_ms), !isfinite(r->measured_ms) ? "" : r->measured_ms <= r->budget_ms ? "met" : "over");
    }
}
