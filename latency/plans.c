#include "latency/plans.h"

#include <stdio.h>
#include <string.h>

#include "latency/measure_model.h"

sv_status sv_plan_solve(const sv_plan_request *r, sv_latency_answer *out, sv_error *err)
{
    const sv_pruning_plan *plan = &sv_pruning_options_of(r->pruning)->plan;
    sv_latency_about about = { 0 };
    sv_latency_shape shape;
    sv_latency_prediction dense;
    if (!plan->stages) return sv_fail(err, SV_USAGE, "the model has no selectors to solve keep ratios for; set pruning.method");
    if (r->budget.kind == SV_NO_BUDGET) return sv_fail(err, SV_USAGE, "there is no budget to solve for: give 70%% of the dense model, or 12.5ms");
    sv_latency_about_model(&about, sv_pruning_model(r->pruning));
    sv_status status = sv_latency_fits_model(r->table, &about, r->name, err);
    if (!status) status = sv_latency_fits_method(r->table, plan, r->name, err);
    if (!status) status = sv_latency_shape_of(&shape, sv_pruning_model(r->pruning), plan, err);
    if (!status) status = sv_latency_predict_dense(r->table, r->batch, &shape, r->rule, &dense, err);
    if (status) return status;
    const sv_latency_question question = { .table = r->table, .batch = r->batch, .shape = &shape, .rule = r->rule, .budget_ms = sv_budget_ms(r->budget, dense.total_ms),
                                           .keep_least = r->keep_least };
    if (r->form == SV_PLAN_GIVEN) return sv_latency_check_keep(&question, plan->keep, out, err);
    return r->form == SV_PLAN_FREE ? sv_latency_solve_free(&question, r->costs, out, err) : sv_latency_solve_family(&question, out, err);
}

/* ---- costs ------------------------------------------------------------------------------------------------------- */

typedef struct costs_reader {
    size_t selectors, steps, line, count;  /* steps: of the first selector; count: rows read */
    double keep[SV_LATENCY_MOST_STEPS], cost[SV_LATENCY_MOST_STAGES * SV_LATENCY_MOST_STEPS];
} costs_reader;

/* Rows come selector by selector. */
static sv_status take_row(costs_reader *r, const char *path, int64_t selector, double keep, double cost, sv_error *err)
{
    const size_t t = (size_t)selector - 1;
    if (selector < 1 || t >= r->selectors) return sv_fail(err, SV_MODEL_FILE, "%s:%zu: selector %lld of a model that has %zu", path, r->line, (long long)selector, r->selectors);
    if (t == 0) {
        if (r->count != r->steps || r->steps == SV_LATENCY_MOST_STEPS || (r->steps ? keep >= r->keep[r->steps - 1] : keep != 1))
            return sv_fail(err, SV_MODEL_FILE, "%s:%zu: keep %g; at most %d falling ratios that begin with 1 were expected", path, r->line, keep, SV_LATENCY_MOST_STEPS);
        r->keep[r->steps++] = keep;
    } else if (!r->steps || r->count / r->steps != t || keep != r->keep[r->count % r->steps]) {
        return sv_fail(err, SV_MODEL_FILE, "%s:%zu: selector %lld at keep %g; each selector needs the ratios of the first one, in its order", path, r->line, (long long)selector, keep);
    }
    r->cost[r->count++] = cost;
    return SV_OK;
}

static sv_status take_line(costs_reader *r, const char *path, char *line, sv_error *err)
{
    int64_t selector = 0;
    double keep = 0, cost = 0;
    char *first = strchr(line, ','), *second = first ? strchr(first + 1, ',') : NULL;
    r->line++;
    if (!line[0] || line[0] == '#' || strcmp(line, "selector,keep,cost") == 0) return SV_OK;
    if (first) *first = 0;
    if (second) *second = 0;
    if (!second || !sv_parse_int(line, &selector) || !sv_parse_real(first + 1, &keep) || !sv_parse_real(second + 1, &cost) || !(keep > 0 && keep <= 1))
        return sv_fail(err, SV_MODEL_FILE, "%s:%zu: expected `selector,keep,cost` such as `1,0.7,0.013`", path, r->line);
    return take_row(r, path, selector, keep, cost, err);
}

sv_status sv_costs_read(sv_latency_costs *out, size_t selectors, const char *path, sv_error *err)
{
    costs_reader reader = { .selectors = selectors };
    unsigned char *bytes = NULL;
    size_t count = 0;
    double *keep = NULL, *cost = NULL;
    sv_status status = sv_file_read_all(path, SV_LATENCY_FILE_MOST, SV_MODEL_FILE, &bytes, &count, err);
    for (char *at = (char *)bytes, *end = NULL; !status && at && *at; at = end) {
        end = at + strcspn(at, "\n");
        if (*end) *end++ = 0;
        at[strcspn(at, "\r")] = 0;
        status = take_line(&reader, path, at, err);
    }
    sv_free(bytes);
    if (!status && (!reader.steps || reader.count != selectors * reader.steps))
        status = sv_fail(err, SV_MODEL_FILE, "%s: %zu costs of %zu ratios; %zu selectors need %zu", path, reader.count, reader.steps, selectors, selectors * reader.steps);
    if (!status) status = sv_alloc(&keep, reader.steps * sizeof *keep, "costs", err);
    if (!status) status = sv_alloc(&cost, reader.count * sizeof *cost, "costs", err);
    if (status) {
        sv_free(keep);
        return status;
    }
    memcpy(keep, reader.keep, reader.steps * sizeof *keep);
    memcpy(cost, reader.cost, reader.count * sizeof *cost);
    *out = (sv_latency_costs){ reader.steps, keep, cost };
    return SV_OK;
}

/* ---- CSV --------------------------------------------------------------------------------------------------------- */

/* A field that may hold commas or quotes. */
static void add_field(sv_text *text, const char *field)
{
    sv_text_add(text, "\"");
    for (; *field; field++) sv_text_add(text, *field == '"' ? "\"\"" : "%c", *field);
    sv_text_add(text, "\"");
}

void sv_plans_header(sv_text *text) { sv_text_add(text, "device,table,budget,budget_ms,dense_ms,predicted_ms,keep,patches,gmac,note\n"); }

void sv_plans_row(sv_text *text, const sv_plan_request *request, const char *budget, const sv_latency_answer *a, const char *failure)
{
    const sv_pruning_plan *plan = &sv_pruning_options_of(request->pruning)->plan;
    add_field(text, request->table->about.device);
    sv_text_add(text, ",");
    add_field(text, request->name);
    sv_text_add(text, ",%s,", budget);
    if (failure) {
        sv_text_add(text, ",,,,,,");
        add_field(text, failure);
    } else {
        sv_text_add(text, "%.4f,%.4f,%.4f,", a->budget_ms, a->dense_ms, a->predicted.total_ms);
        for (size_t t = 0; t < a->selectors; t++) sv_text_add(text, "%s%.4g", t ? " " : "", a->keep[t]);
        sv_text_add(text, ",");
        for (size_t t = 0; t < a->selectors; t++) sv_text_add(text, "%s%zu", t ? " " : "", a->kept[t]);
        sv_text_add(text, ",%.4f,", 1e-9 * (double)sv_pruned_macs(sv_pruning_model(request->pruning), plan, a->kept));
    }
    sv_text_add(text, "\n");
}
