/* The deployed form: decisions without noise, tokens really leave, each image with its own count (spec SPViT 7.2). Rows of an image stay together and
 * in order; no row is ever padded, so an image's result does not depend on what else is in the batch. */
#include "pruning/inside.h"

#include <stdlib.h>
#include <string.h>

static sv_rule rule_of(sv_decision_rule rule)
{
    static const sv_rule rules[] = { [SV_RULE_THRESHOLD] = SV_BY_THRESHOLD, [SV_RULE_TOPK] = SV_BY_TOP_K, [SV_RULE_ARGMAX] = SV_BY_THRESHOLD, [SV_RULE_GUMBEL] = SV_BY_NOISE };
    return rules[rule];
}

typedef struct deployed_walk {
    sv_removal_tape *out;
    const sv_pruning *pruning;
    const sv_pruning_plan *plan;
} deployed_walk;

static sv_stream record_stage(void *context, size_t t, sv_stream stream)
{
    const deployed_walk *walk = context;
    sv_removal_tape *out = walk->out;
    sv_tape *tape = out->tape;
    sv_cut cut = { 0 };
    stream = sv_stream_leave(tape, walk->pruning, walk->plan, rule_of(walk->plan->rule), t, stream, out->value, &cut, &out->a[t]);
    out->keep[t] = cut.keep, out->before[t] = cut.origin, out->after[t] = stream.origin;
    sv_tape_keep(tape, out->a[t]);
    sv_tape_keep(tape, cut.keep);
    sv_tape_keep(tape, cut.origin);
    sv_tape_keep(tape, stream.origin);
    sv_tape_cut(tape);
    return stream;
}

/* Of merged tokens: those that are left, each by the patch it stands in. */
static void keep_merged(sv_removal_tape *out, const sv_stream *stream)
{
    out->a[0] = sv_tape_fill(out->tape, stream->origin, 0, 0);
    out->keep[0] = sv_tape_fill(out->tape, stream->origin, 0, 1);
    out->before[0] = out->after[0] = stream->origin;
    sv_tape_keep(out->tape, out->a[0]);
    sv_tape_keep(out->tape, out->keep[0]);
    sv_tape_keep(out->tape, out->after[0]);
}

sv_status sv_removal_record(sv_removal_tape *out, const sv_pruning *pruning, const sv_pruning_plan *plan, size_t images, sv_error *err)
{
    const sv_model *model = pruning->model;
    sv_tape_options options = { .mode = SV_INFERENCE, .images_most = images, .precision = model->options.precision };
    memset(out, 0, sizeof *out);
    sv_status status = sv_tape_create(&out->tape, &options, err);
    if (status) return status;
    out->stages = plan ? plan->stages : 0;
    out->picture = sv_tape_input(out->tape, "picture", SV_REAL, 1, 3 * model->options.image * model->options.image, false);
    if (out->stages) out->value = sv_tape_batch_input(out->tape, "thresholds", out->stages);
    sv_stream stream = { .x = sv_model_embed(out->tape, model, out->picture) };
    deployed_walk walk = { out, pruning, plan };
    stream = sv_stream_walk(out->tape, pruning, plan, stream, &(sv_walk){ &walk, record_stage, out->value });
    if (out->stages && sv_pruning_method_of(plan->method)->merges) keep_merged(out, &stream);
    stream.x = sv_model_head_rows(out->tape, model, stream.x);
    out->logits = sv_model_head_kept(out->tape, model, sv_model_finish(out->tape, model, stream.x), stream.origin);
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
