/* Keep ratios for several devices and budgets at once. */
#ifndef SIEVE_LATENCY_PLANS_H
#define SIEVE_LATENCY_PLANS_H

#include "latency/latency.h"
#include "pruning/pruning.h"

/* How ratios are found: the family r, r^2, r^3 ...; the plan's own, checked; or free, of least measured cost. */
typedef enum sv_plan_form { SV_PLAN_FAMILY, SV_PLAN_GIVEN, SV_PLAN_FREE } sv_plan_form;

/* One question: a table and a budget. */
typedef struct sv_plan_request {
    const sv_pruning *pruning;          /* with selectors */
    const sv_latency_table *table;
    const char *name;                   /* of the table, for messages */
    sv_budget budget;
    size_t batch;
    sv_latency_rule rule;
    double keep_least;
    sv_plan_form form;
    const sv_latency_costs *costs;      /* SV_PLAN_FREE */
} sv_plan_request;
/* SV_MODEL_FILE: the table is for another model or lacks rows; SV_BUDGET: it cannot be met, and the sentence says what can; SV_USAGE: no budget, no
 * selectors, ratios that rise. */
sv_status sv_plan_solve(const sv_plan_request *request, sv_latency_answer *out, sv_error *err) SV_MUST_CHECK;

/* Costs of keeping less, by selector, as `eval --sensitivity` writes them: lines `selector,keep,cost` (selector from 1, keep falling from 1 and the same for
 * all). The arrays are owned by the caller, sv_free of costs->keep and costs->cost. SV_MODEL_FILE with file:line. */
sv_status sv_costs_read(sv_latency_costs *out, size_t selectors, const char *path, sv_error *err) SV_MUST_CHECK;

/* A line of a CSV of plans: device,table,budget,budget_ms,dense_ms,predicted_ms,keep,patches,gmac,note; keep and patches with spaces between. `failure`: the
 * sentence of a budget that cannot be met, NULL: *answer is one. */
void sv_plans_header(sv_text *text);
void sv_plans_row(sv_text *text, const sv_plan_request *request, const char *budget, const sv_latency_answer *answer, const char *failure);

#endif
