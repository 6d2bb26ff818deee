/* Backbones of several stages: pictures shrink and widths grow from stage to stage. A block's index counts through all stages; the step to
 * a stage belongs to the first block of it (`enter` of a family), so that a model stays a list of blocks. */
#ifndef SIEVE_LAYERS_STAGES_H
#define SIEVE_LAYERS_STAGES_H

#include "layers/layers.h"

enum { SV_BACKBONE_STAGES = 4 };

/* What stands in a row of the table of backbones (its `form`) beside sv_model_options. */
typedef struct sv_stages {
    size_t count;
    size_t depth[SV_BACKBONE_STAGES], width[SV_BACKBONE_STAGES], heads[SV_BACKBONE_STAGES];
    size_t stride; /* of the stem; 0: its patch */
    size_t window; /* of attention; 0: the whole picture */
} sv_stages;

const sv_stages *sv_stages_of(const sv_model *model);
/* Stage of block `index`, and its number inside. */
size_t sv_stage_of(const sv_stages *stages, size_t index, size_t *inside);
/* The grid that block `index` works on; side_of: of a stage's grid. Backbones without heads count as one. */
sv_place sv_stage_place(const sv_model *model, size_t index, size_t (*side_of)(const sv_model *model, size_t stage));
/* Sizes a run cannot change, because the row has them by stage: SV_USAGE where it tried. */
sv_status sv_stages_check(const sv_model *model, sv_error *err) SV_MUST_CHECK;

#endif
