/* Mixup, cutmix and label smoothing of a batch (spec/training.md 5; timm 0.4.5, batch mode): image i is mixed with image B-1-i, one
 * share and one box for the batch. The draws are a function of (seed, epoch, step). */
#ifndef SIEVE_DATA_MIX_H
#define SIEVE_DATA_MIX_H

#include "base/base.h"

typedef struct sv_mix_options {
    double mixup;           /* alpha of Beta(alpha, alpha); 0: off; 0.8 */
    double cutmix;          /* the same for cutmix; 0: off; 1.0 */
    double probability;     /* that a batch is mixed at all; 1.0 */
    double switching;       /* that a mixed batch takes cutmix where both are on; 0.5 */
    double smoothing;       /* label smoothing; 0.1 */
} sv_mix_options;

/* What was drawn for a batch: targets are share * own + (1 - share) * partner's. */
typedef struct sv_mix {
    enum { SV_MIX_NONE, SV_MIX_UP, SV_MIX_CUT } kind;
    double share;
    size_t top, bottom, left, right; /* of the cutmix box: rows top..bottom-1, columns left..right-1 */
} sv_mix;

/* The draw for step `step` of epoch `epoch`, pictures of height x width. */
sv_mix sv_mix_draw(const sv_mix_options *options, uint64_t seed, uint32_t epoch, uint64_t step, size_t height, size_t width);
/* Mixes pictures [count, channels, height, width] in place. count must be even unless kind is SV_MIX_NONE (assert). */
void sv_mix_pictures(const sv_mix *mix, sv_real *pictures, size_t count, size_t channels, size_t height, size_t width);
/* The same for pictures first .. end-1 and their partners alone; the others are not touched. */
void sv_mix_pictures_of(const sv_mix *mix, sv_real *pictures, size_t count, size_t first, size_t end, size_t channels, size_t height,
                        size_t width);
/* Soft targets [count, classes]; rows sum to 1. Labels are below classes (assert). */
void sv_mix_targets(const sv_mix *mix, double smoothing, const uint32_t *labels, size_t count, size_t classes, sv_real *targets);

#endif
