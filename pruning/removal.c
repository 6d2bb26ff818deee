/* The deployed form: decisions without noise, tokens really leave, each image with its own count (spec SPViT 7.2). Rows of an image stay together and
 * in order; no row is ever padded, so an image's result does not depend on what else is in the batch. */
#include "pruning/form.h"

#include <stdlib.h>
#include <string.h>

static sv_rule rule_of(sv_decision_rule rule)
{
    static const sv_rule rules[] = { [SV_RULE_THRESHOLD] = SV_BY_THRESHOLD, [SV_RULE_TOPK] = SV_BY_TOP_K, [SV_RULE_ARGMAX] = SV_BY_THRESHOLD, [SV_RULE_GUMBEL] = SV_BY_NOISE };
    return rules[rule];
}

void sv_removal_decide(sv_removal_tape *out, const sv_pruning *pruning, const sv_pruning_plan *plan, size_t t, sv_cut *cut)
{
    out->a[t] = sv_cut_score(out->tape, pruning, t, cut);
    cut->keep = sv_tape_choose(out->tape, out->a[t], cut->before, cut->origin, out->value, rule_of(plan->rule), t, plan->min_keep);
}

void sv_removal_keep_stage(sv_removal_tape *out, const sv_cut *cut, size_t t, sv_tensor *after)
{
    sv_tape *tape = out->tape;
    out->keep[t] = cut->keep, out->before[t] = cut->origin, out->after[t] = after;
    sv_tape_keep(tape, out->a[t]);
    sv_tape_keep(tape, cut->keep);
    sv_tape_keep(tape, cut->origin);
    sv_tape_keep(tape, after);
    sv_tape_cut(tape);
}

sv_status sv_removal_record(sv_removal_tape *out, const sv_pruning *pruning, const sv_pruning_plan *plan, size_t images, sv_error *err)
{
    const sv_model *model = pruning->model;
    sv_tape_options options = { .mode = SV_INFERENCE, .images_most = images, .precision = model->options.precision };
    memset(out, 0, sizeof *out);
    sv_status status = sv_tape_create(&out->tape, &options, err);
    if (status) return status;
    out->stages = plan ? plan->stages : 0;
    out->packs = out->stages && plan->package != SV_CHOICE_NONE;
    memcpy(out->patches, pruning->options.plan.patches, sizeof out->patches);
    out->picture = sv_tape_input(out->tape, "picture", SV_REAL, 1, 3 * model->options.image * model->options.image, false);
    if (out->stages) out->value = sv_tape_batch_input(out->tape, "thresholds", out->stages);
    const sv_pruning_form *form = out->stages ? pruning->form : &sv_form_flat;
    sv_tensor *kept = NULL, *rows = form->deployed(out, pruning, plan, &kept);
    out->logits = sv_model_head_kept(out->tape, model, sv_model_finish(out->tape, model, rows), kept);
    sv_tape_keep(out->tape, out->logits);
    status = sv_tape_finish(out->tape, NULL, err);
    if (status) sv_removal_clear(out);
    else if (out->stages) sv_removal_set_plan(out, plan);
    return status;
}

void sv_removal_clear(sv_removal_tape *removal)
{
    sv_tape_destroy(removal->tape);
    memset(removal, 0, sizeof *removal);
}

void sv_removal_set_plan(sv_removal_tape *removal, const sv_pruning_plan *plan)
{
    if (!removal->stages) return;
    sv_real *value = sv_tape_data(removal->tape, removal->value, 0);
    const bool counts = plan->rule == SV_RULE_TOPK || sv_pruning_method_of(plan->method)->merges;
    for (size_t t = 0; t < removal->stages; t++)
        value[t] = (sv_real)(counts ? (double)plan->count[t] : plan->rule == SV_RULE_THRESHOLD ? plan->threshold[t] : 0.5);
}

size_t sv_removal_kept(const sv_removal_tape *removal, size_t stage, size_t image)
{
    const int32_t *origin = (const int32_t *)(const void *)sv_tape_data(removal->tape, removal->after[stage], image);
    size_t rows = sv_tape_rows(removal->tape, removal->after[stage], image), kept = 0;
    for (size_t r = 0; r < rows; r++) kept += origin[r] >= 0;
    return kept;
}

static int falling(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

double sv_threshold_for(double *values, size_t count, double wanted)
{
    size_t pass = wanted <= 0 ? 0 : (size_t)(wanted + 0.5);
    if (!count || pass >= count) return 0;
    qsort(values, count, sizeof *values, falling);
    if (!pass) return 1;
    return 0.5 * (values[pass - 1] + values[pass]);
}
