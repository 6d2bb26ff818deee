/* Accuracy: pictures in order through a deployed model, counted. */
#include "eval/eval.h"
#include "kernels/kernels.h"

#include <string.h>

/* Answers that beat class `label`: larger logits, or equal ones of a lower index; and what is no number beats all and is right about nothing. */
static size_t rank_of(const sv_real *logits, size_t classes, size_t label, const uint8_t *allowed)
{
    size_t better = 0;
    for (size_t k = 0; k < classes; k++)
        if ((!allowed || allowed[k]) && !(logits[label] > logits[k] || (logits[label] == logits[k] && label <= k))) better++;
    return better;
}

static double cross_entropy(const sv_real *logits, size_t classes, size_t label)
{
    double top = (double)logits[0], sum = 0;
    for (size_t k = 1; k < classes; k++)
        if ((double)logits[k] > top) top = (double)logits[k];
    for (size_t k = 0; k < classes; k++) sum += (double)sv_exp((sv_real)((double)logits[k] - top));
    return (double)sv_ln((sv_real)sum) + top - (double)logits[label];
}

static size_t answer_of(const sv_real *logits, size_t classes)
{
    size_t best = 0;
    for (size_t k = 1; k < classes; k++)
        if (logits[k] > logits[best]) best = k;
    return best;
}

static sv_status count_batch(const sv_removal_tape *removal, const sv_batch *batch, size_t classes, const uint8_t *present, const sv_evaluate_options *options,
                             sv_evaluation *out, sv_error *err)
{
    for (size_t b = 0; b < batch->count; b++) {
        const sv_real *logits = sv_tape_data(removal->tape, removal->logits, b);
        size_t label = batch->labels[b], rank = 0;
        if (label >= classes) return sv_fail(err, SV_DATA, "a picture has class %zu, but the model knows %zu classes; give the class list the model was trained with (data.classes)", label, classes);
        rank = rank_of(logits, classes, label, NULL);
        out->top1 += rank < 1;
        out->top5 += rank < 5;
        out->top1_among += rank_of(logits, classes, label, present) < 1;
        out->loss += cross_entropy(logits, classes, label);
        if (options->confusion) options->confusion[label * classes + answer_of(logits, classes)]++;
        for (size_t t = 0; t < removal->stages; t++) {
            size_t kept = sv_removal_kept(removal, t, b);
            out->kept[t] += (double)kept;
            if (kept < out->kept_least[t]) out->kept_least[t] = kept;
            if (kept > out->kept_most[t]) out->kept_most[t] = kept;
        }
        if (options->sink) {
            sv_status status = options->sink(options->sink_context, batch->samples[b], batch->labels[b], logits, classes, err);
            if (status) return status;
        }
    }
    out->images += batch->count;
    out->macs += (double)sv_tape_macs(removal->tape);
    return SV_OK;
}

static sv_status run_batch(const sv_removal_tape *removal, const sv_batch *batch, double *seconds, sv_error *err)
{
    sv_step step = { .images = batch->count, .samples = batch->samples };
    size_t numbers = sv_tensor_width(removal->picture);
    double begin = sv_now_seconds();
    for (size_t b = 0; b < batch->count; b++) memcpy(sv_tape_data(removal->tape, removal->picture, b), batch->pictures + b * numbers, numbers * sizeof(sv_real));
    sv_status status = sv_tape_forward(removal->tape, &step, err);
    *seconds += sv_now_seconds() - begin;
    return status;
}

static void finish(sv_evaluation *out, size_t stages)
{
    double images = out->images ? (double)out->images : 1;
    out->loss /= images;
    out->macs /= images;
    for (size_t t = 0; t < stages; t++) {
        out->kept[t] /= images;
        if (!out->images) out->kept_least[t] = 0;
    }
}

sv_status sv_evaluate(const sv_removal_tape *removal, sv_loader *loader, const sv_source *source, const sv_evaluate_options *options, sv_evaluation *out, sv_error *err)
{
    size_t classes = sv_tensor_width(removal->logits), all = sv_source_count(source);
    uint8_t *present = NULL;
    sv_evaluation result = { 0 };
    sv_batch *batch = NULL;
    sv_status status = sv_alloc_zero(&present, classes, "evaluation", err);
    if (status) return status;
    for (size_t i = 0; i < all; i++)
        if (sv_source_label(source, i) < classes) present[sv_source_label(source, i)] = 1;
    for (size_t t = 0; t < SV_MOST_STAGES; t++) result.kept_least[t] = SIZE_MAX;
    sv_loader_start(loader, 0, 0, 1);
    while (!(status = sv_loader_next(loader, &batch, err)) && batch) {
        if (batch->count) status = run_batch(removal, batch, &result.seconds, err);
        if (!status && batch->count) status = count_batch(removal, batch, classes, present, options, &result, err);
        if (status) break;
        if (options->progress) sv_progress("%s %zu of %zu pictures, top-1 %.2f %%", options->progress, result.images, all, 100.0 * (double)result.top1 / (double)(result.images ? result.images : 1));
        if (options->pictures_most && result.images >= options->pictures_most) break;
        if (sv_interrupted()) {
            status = sv_fail(err, SV_INTERRUPTED, "interrupted while evaluating");
            break;
        }
    }
    if (options->progress) sv_progress_end();
    result.bad_pictures = sv_loader_stats_now(loader).bad_pictures;
    finish(&result, removal->stages);
    if (!status) *out = result;
    sv_free(present);
    return status;
}
