/* What becomes of a few pictures inside a pruned model, drawn: the picture, then what survives each stage, with the model's answer. For the report
 * page, `eval --overlays` and `classify --overlay`. */
#ifndef SIEVE_EVAL_OVERLAYS_H
#define SIEVE_EVAL_OVERLAYS_H

#include "data/source.h"
#include "data/transform.h"
#include "pruning/pruning.h"

enum { SV_OVERLAYS_MOST = 64 };

typedef struct sv_overlaid {
    sv_picture drawn;
    char *file;                         /* name of the picture's file without its folders: any bytes */
    uint64_t sample;
    size_t truth, answer;               /* classes; the answer is the first of equals */
    double probability;                 /* of the answer */
    size_t kept[SV_MOST_STAGES];        /* patches behind each selector */
    uint8_t *seen;                      /* the picture as the model sees it, rows of R, G, B */
    uint8_t *stays;                     /* [stages * patches], 1 where the patch stays */
    float *score;                       /* the same: see sv_stage_view */
    double packaged[SV_MOST_STAGES];
    uint8_t *object;                    /* a byte a pixel of `seen`, for the outline; set by who knows it (eval/object.h), freed with the rest */
} sv_overlaid;
typedef struct sv_overlays { sv_overlaid *items; size_t count, stages, patches /* of the grid they are drawn on */, own[SV_MOST_STAGES] /* of each selector's */, size /* pixels a side */, before_block[SV_MOST_STAGES]; bool placed; /* before_block is known */ } sv_overlays;

/* What sv_overlays_make shows. */
typedef struct sv_overlay_choice {
    size_t wanted;                      /* at most SV_OVERLAYS_MOST, and no more than there are; evenly spread over the source */
    const uint64_t *samples;            /* or these [wanted]; NULL: spread */
    const size_t *before_block;         /* places of the selectors, for headings; NULL: not known */
} sv_overlay_choice;

/* The chosen pictures one at a time through the tape, which was
 * recorded for pictures of `transform`; a dense model's has side * side patches, a pruned one's say themselves (pruning/grid.h). For one that cannot be read the next that can stands in; where there is none before
 * the following place, it is left out. */
sv_status sv_overlays_make(sv_overlays *out, const sv_removal_tape *removal, const sv_source *source, const sv_transform_options *transform, size_t side,
                           const sv_overlay_choice *choice, sv_error *err) SV_MUST_CHECK;
void sv_overlays_clear(sv_overlays *overlays);

/* "x.jpg: cat, answered dog (51.2 %); keeps 98, 61 of 196 patches". Names stand in it as they are: whoever shows it must escape it. */
void sv_overlay_caption(const sv_overlays *overlays, size_t at, const sv_classes *classes, sv_text *text);
/* A figure of all, or with `at` below the count of that one alone, into a file: .png, .jpg or .svg (report/figure.h). SV_USAGE where there is none. */
typedef struct sv_overlay_figure { bool heat; size_t across; /* 0: as it fits */ } sv_overlay_figure;
sv_status sv_overlays_write(const sv_overlays *overlays, size_t at, const sv_classes *classes, const sv_overlay_figure *figure, const char *path, sv_error *err) SV_MUST_CHECK;

#endif
