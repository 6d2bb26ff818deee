/* Thresholds of the selectors: stage by stage, because what a later selector sees depends on what earlier ones let through. */
#include "eval/eval.h"
#include "kernels/kernels.h"

#include <string.h>

typedef struct scores { double *values; size_t count, capacity; } scores;

/* sigmoid(a) of the patches that selector `stage` had to decide on. */
static sv_status gather(const sv_removal_tape *removal, size_t stage, size_t image, scores *all, sv_error *err)
{
    const sv_real *a = sv_tape_data(removal->tape, removal->a[stage], image);
    const int32_t *origin = (const int32_t *)(const void *)sv_tape_data(removal->tape, removal->before[stage], image);
    size_t rows = sv_tape_rows(removal->tape, removal->a[stage], image);
    sv_status status = sv_grow(&all->values, &all->capacity, all->count + rows, sizeof *all->values, "calibration", err);
    if (status) return status;
    for (size_t r = 0; r < rows; r++)
        if (origin[r] >= 0) all->values[all->count++] = (double)sv_sigmoid(a[r]);
    return SV_OK;
}

static sv_status gather_stage(const sv_removal_tape *removal, size_t stage, sv_loader *loader, size_t pictures, scores *all, size_t *seen, sv_error *err)
{
    size_t numbers = sv_tensor_width(removal->picture);
    sv_batch *batch = NULL;
    sv_status status = SV_OK;
    sv_loader_start(loader, 0, 0, 1);
    while (*seen < pictures && !(status = sv_loader_next(loader, &batch, err)) && batch) {
        sv_step step = { .images = batch->count, .samples = batch->samples };
        if (!batch->count) continue;
        for (size_t b = 0; b < batch->count; b++) memcpy(sv_tape_data(removal->tape, removal->picture, b), batch->pictures + b * numbers, numbers * sizeof(sv_real));
        status = sv_tape_forward(removal->tape, &step, err);
        for (size_t b = 0; !status && b < batch->count && *seen < pictures; b++, (*seen)++) status = gather(removal, stage, b, all, err);
        if (status) break;
        if (sv_interrupted()) return sv_fail(err, SV_INTERRUPTED, "interrupted while setting thresholds");
    }
    return status;
}

sv_status sv_calibrate(sv_removal_tape *removal, sv_pruning_plan *plan, sv_loader *loader, size_t pictures, sv_error *err)
{
    scores all = { 0 };
    sv_status status = SV_OK;
    for (size_t t = 0; !status && plan->rule == SV_RULE_THRESHOLD && t < plan->stages; t++) {
        size_t seen = 0;
        all.count = 0;
        sv_removal_set_plan(removal, plan);
        status = gather_stage(removal, t, loader, pictures, &all, &seen, err);
        if (!status && !seen) status = sv_fail(err, SV_DATA, "there is no readable picture to set the selectors' thresholds on");
        if (!status) plan->threshold[t] = sv_threshold_for(all.values, all.count, plan->keep[t] * (double)plan->patches[t] * (double)seen);
    }
    if (!status) sv_removal_set_plan(removal, plan);
    sv_free(all.values);
    return status;
}
