#include "eval/stage_view.h"
#include "kernels/kernels.h"
#include "pruning/grid.h"

#include <math.h>
#include <string.h>

static const int32_t *origins(const sv_removal_tape *removal, const sv_tensor *tensor, size_t image, size_t *rows)
{
    *rows = sv_tape_rows(removal->tape, tensor, image);
    return (const int32_t *)(const void *)sv_tape_data(removal->tape, tensor, image);
}

double sv_stage_view(const sv_removal_tape *removal, size_t stage, size_t image, size_t patches, uint8_t *kept, float *score)
{
    const size_t own = removal->patches[stage];
    size_t rows;
    double all = 0, packed = 0;
    memset(kept, 0, own);
    for (size_t p = 0; score && p < own; p++) score[p] = NAN;
    const int32_t *after = origins(removal, removal->after[stage], image, &rows);
    for (size_t r = 0; r < rows; r++)
        if (after[r] >= 0) kept[after[r]] = 1;
    const int32_t *before = origins(removal, removal->before[stage], image, &rows);
    const sv_real *a = sv_tape_data(removal->tape, removal->a[stage], image);
    for (size_t r = 0; r < rows; r++) {
        if (before[r] < 0) continue; /* package tokens of earlier selectors are never dropped */
        const double value = (double)sv_sigmoid(a[r]);
        all += value;
        if (!kept[before[r]]) packed += value;
        if (score) score[before[r]] = (float)value;
    }
    sv_grid_spread(kept, sizeof *kept, own, patches);
    if (score) sv_grid_spread(score, sizeof *score, own, patches);
    return removal->packs && all > 0 ? packed / all : NAN;
}
