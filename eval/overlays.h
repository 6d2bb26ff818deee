/* What becomes of a few pictures inside a pruned model, drawn: the picture, then what survives each stage, with the model's answer. For the report
 * page, `eval --overlays` and `classify --overlay`. */
#ifndef SIEVE_EVAL_OVERLAYS_H
#define SIEVE_EVAL_OVERLAYS_H

#include "data/source.h"
#include "data/transform.h"
#include "pruning/pruning.h"

enum { SV_OVERLAYS_MOST = 64 };

/* Image `image` of the tape's last run. chw: [3, size, size], what that image was. *drawn is cleared by the caller. */
sv_status sv_overlay_of_run(const sv_removal_tape *removal, size_t image, const sv_real *chw, const sv_transform_options *transform, sv_picture *drawn, sv_error *err) SV_MUST_CHECK;

typedef struct sv_overlaid {
    sv_picture drawn;
    char *file;                         /* name of the picture's file without its folders: any bytes */
    uint64_t sample;
    size_t truth, answer;               /* classes; the answer is the first of equals */
    double probability;                 /* of the answer */
    size_t kept[SV_MOST_STAGES];        /* patches behind each selector */
} sv_overlaid;
typedef struct sv_overlays { sv_overlaid *items; size_t count, stages, patches[SV_MOST_STAGES]; } sv_overlays;

/* `wanted` pictures (at most SV_OVERLAYS_MOST, and no more than there are) evenly spread over the source, one at a time through the tape, which was
 * recorded for pictures of `transform`. For one that cannot be read the next that can stands in; where there is none before
 * the following place, it is left out. */
sv_status sv_overlays_make(sv_overlays *out, const sv_removal_tape *removal, const sv_source *source, const sv_transform_options *transform, size_t wanted,
                           sv_error *err) SV_MUST_CHECK;
void sv_overlays_clear(sv_overlays *overlays);

/* "x.jpg: cat, answered dog (51.2 %); keeps 98, 61 of 196 patches", or of each selector's own grid. Names stand in it as they are: whoever shows it must escape it. */
void sv_overlay_caption(const sv_overlays *overlays, size_t at, const sv_classes *classes, sv_text *text);
/* All below one another on white. *sheet is cleared by the caller. SV_USAGE where there is none. */
sv_status sv_overlays_sheet(const sv_overlays *overlays, sv_picture *sheet, sv_error *err) SV_MUST_CHECK;

#endif
