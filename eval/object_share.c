/* The share of kept tokens that lie on the object, beside what tokens kept at random would have. */
#include "eval/object.h"
#include "eval/stage_view.h"
#include "pruning/grid.h"

#include <string.h>

double sv_object_coverage(const uint8_t *view, size_t size, size_t side, double *coverage)
{
    const size_t patch = size / side;
    double sum = 0;
    memset(coverage, 0, side * side * sizeof *coverage);
    for (size_t y = 0; y < side * patch; y++)
        for (size_t x = 0; x < side * patch; x++) coverage[y / patch * side + x / patch] += view[y * size + x] ? 1 : 0;
    for (size_t p = 0; p < side * side; p++) {
        coverage[p] /= (double)(patch * patch);
        sum += coverage[p];
    }
    return sum / (double)(side * side);
}

void sv_object_share_add(sv_object_share *sums, const double *coverage, const uint8_t *stays, size_t stages, size_t patches)
{
    double object = 0;
    for (size_t p = 0; p < patches; p++) object += coverage[p];
    sums->stages = stages;
    if (!(object > 0)) {
        sums->unseen++;
        return;
    }
    sums->pictures++;
    sums->area += object / (double)patches;
    for (size_t t = 0; t < stages; t++) {
        double kept = 0, on = 0;
        for (size_t p = 0; p < patches; p++)
            if (stays[t * patches + p]) kept++, on += coverage[p];
        sums->kept[t] += kept / (double)patches;
        if (kept > 0) sums->on_object[t] += on / kept;
        sums->object_kept[t] += on / object;
    }
}

/* ---- over a source ------------------------------------------------------------------------------------------------- */

typedef struct room { sv_transform *transform; sv_picture picture; sv_real *chw; uint8_t *view, *stays; double *coverage; } room;

static sv_status prepare(room *r, const sv_removal_tape *removal, const sv_transform_options *transform, size_t patches, sv_error *err)
{
    sv_status status = sv_transform_create(&r->transform, transform, err);
    if (!status) status = sv_alloc(&r->chw, sv_tensor_width(removal->picture) * sizeof *r->chw, "object", err);
    if (!status) status = sv_alloc(&r->view, transform->size * transform->size, "object", err);
    if (!status) status = sv_alloc_zero(&r->stays, SV_MOST_STAGES * patches, "object", err);
    if (!status) status = sv_alloc(&r->coverage, patches * sizeof *r->coverage, "object", err);
    return status;
}

static sv_status run_one(room *r, const sv_removal_tape *removal, uint64_t sample, size_t patches, sv_error *err)
{
    const sv_step step = { .images = 1, .samples = &sample };
    sv_status status = sv_transform_evaluation(r->transform, &r->picture, r->chw, err);
    if (status) return status;
    memcpy(sv_tape_data(removal->tape, removal->picture, 0), r->chw, sv_tensor_width(removal->picture) * sizeof *r->chw);
    status = sv_tape_forward(removal->tape, &step, err);
    for (size_t t = 0; !status && t < removal->stages; t++) (void)sv_stage_view(removal, t, 0, patches, r->stays + t * patches, NULL);
    return status;
}

static void finish(sv_object_share *sums)
{
    const double pictures = sums->pictures ? (double)sums->pictures : 1;
    sums->area /= pictures;
    for (size_t t = 0; t < sums->stages; t++) {
        sums->kept[t] /= pictures;
        sums->on_object[t] /= pictures;
        sums->object_kept[t] /= pictures;
    }
}

sv_status sv_object_share_of(sv_object_share *out, const sv_removal_tape *removal, const sv_source *source, const sv_objects *objects,
                             const sv_transform_options *transform, size_t side, sv_error *err)
{
    sv_object_share sums = { .stages = removal->stages };
    room r = { 0 };
    if (removal->stages) side = sv_grid_common(removal->patches, removal->stages, transform->size);
    size_t count, patches = side * side;
    const uint64_t *samples = sv_objects_samples(objects, &count);
    sv_status status = prepare(&r, removal, transform, patches, err);
    for (size_t i = 0; !status && i < count; i++) {
        status = sv_source_read(source, (size_t)samples[i], &r.picture, err);
        if (status == SV_DATA) { /* as in the evaluation before, which has said so */
            status = SV_OK;
            continue;
        }
        if (!status) status = sv_objects_view(objects, samples[i], transform, r.view, err);
        if (!status) status = run_one(&r, removal, samples[i], patches, err);
        if (status) break;
        (void)sv_object_coverage(r.view, transform->size, side, r.coverage);
        sv_object_share_add(&sums, r.coverage, r.stays, removal->stages, patches);
        sv_progress("objects %zu of %zu pictures", i + 1, count);
        if (sv_interrupted()) status = sv_fail(err, SV_INTERRUPTED, "interrupted while looking where objects are");
    }
    sv_progress_end();
    finish(&sums);
    if (!status) *out = sums;
    sv_transform_destroy(r.transform);
    sv_picture_clear(&r.picture);
    sv_free(r.chw);
    sv_free(r.view);
    sv_free(r.stays);
    sv_free(r.coverage);
    return status;
}

void sv_object_share_print(sv_text *text, const sv_object_share *share, const size_t *before_block)
{
    sv_text_add(text, "\nkept tokens and the object, %zu pictures", share->pictures);
    if (share->unseen) sv_text_add(text, " (%zu more whose object the crop leaves out)", share->unseen);
    sv_text_add(text, "; the object is %.1f %% of the area\n%-16s %8s %15s %15s %19s\n", 100 * share->area, "", "kept", "on the object", "times the area", "of the object kept");
    for (size_t t = 0; t < share->stages; t++)
        sv_text_add(text, "before block %-3zu %6.1f %% %13.1f %% %15.2f %17.1f %%\n", before_block[t], 100 * share->kept[t], 100 * share->on_object[t],
                    share->area > 0 ? share->on_object[t] / share->area : 0, 100 * share->object_kept[t]);
}
