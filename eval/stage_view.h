/* What one selector said of one picture: for overlays, for the share of an object, for other people's programs. */
#ifndef SIEVE_EVAL_STAGE_VIEW_H
#define SIEVE_EVAL_STAGE_VIEW_H

#include "pruning/pruning.h"

/* Selector `stage` and image `image` of the tape's last run. kept [patches]: 1 where the patch stays, else 0; patches: of the selector's own grid, or of
 * a finer one that it is spread over (pruning/grid.h). score [patches] (NULL: not wanted): the
 * probability to be kept, sigmoid of the decision logit; NAN where the patch had left before. Returns the share of the score of the patches the selector
 * saw that went into its package token; NAN where the model packs none. */
double sv_stage_view(const sv_removal_tape *removal, size_t stage, size_t image, size_t patches, uint8_t *kept, float *score);

#endif
