#include "eval/sensitivity.h"

#include <math.h>
#include <stdio.h>

const double sv_sensitivity_keep[SV_SENSITIVITY_STEPS] = { 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1 };

typedef struct probe {
    sv_removal_tape tape;
    sv_pruning_plan plan;
    sv_loader *loader;
    const sv_source *source;
    size_t pictures;
} probe;

static sv_status loss_at(probe *p, size_t stage, double keep, double *loss, sv_error *err)
{
    double ratios[SV_MOST_STAGES];
    char what[64];
    sv_evaluation result;
    for (size_t t = 0; t < p->plan.stages; t++) ratios[t] = t < stage ? 1 : keep;
    sv_plan_set_keep(&p->plan, ratios);
    sv_removal_set_plan(&p->tape, &p->plan);
    snprintf(what, sizeof what, "selector %zu keeps %g", stage + 1, keep);
    const sv_evaluate_options options = { .progress = what, .pictures_most = p->pictures };
    sv_status status = sv_evaluate(&p->tape, p->loader, p->source, &options, &result, err);
    if (!status && !result.images) status = sv_fail(err, SV_DATA, "%s: there is no readable picture", sv_source_name(p->source));
    if (!status) *loss = result.loss;
    return status;
}

sv_status sv_sensitivity(double *cost, const sv_deployed *deployed, sv_loader *loader, const sv_source *source, size_t batch, size_t pictures, sv_error *err)
{
    probe p = { .plan = deployed->plan, .loader = loader, .source = source, .pictures = pictures };
    double whole = 0;
    if (!p.plan.stages) return sv_fail(err, SV_USAGE, "the model has no selectors whose keep ratios could be varied");
    p.plan.rule = SV_RULE_TOPK;
    sv_status status = sv_removal_record(&p.tape, deployed->pruning, &p.plan, batch, err);
    if (!status) status = loss_at(&p, 0, 1, &whole, err);
    for (size_t t = 0; !status && t < p.plan.stages; t++) {
        double *row = cost + t * SV_SENSITIVITY_STEPS;
        row[0] = 0;
        for (size_t i = 1; !status && i < SV_SENSITIVITY_STEPS; i++) {
            double loss = 0;
            status = loss_at(&p, t, sv_sensitivity_keep[i], &loss, err);
            row[i] = fmax(row[i - 1], loss - whole);
        }
    }
    sv_removal_clear(&p.tape);
    return status;
}

void sv_sensitivity_print(sv_text *text, const double *cost, size_t stages)
{
    sv_text_add(text, "selector,keep,cost\n");
    for (size_t t = 0; t < stages; t++)
        for (size_t i = 0; i < SV_SENSITIVITY_STEPS; i++) sv_text_add(text, "%zu,%g,%.6g\n", t + 1, sv_sensitivity_keep[i], cost[t * SV_SENSITIVITY_STEPS + i]);
}
