/* A figure of which tokens stay, fit for a page: for each picture a row with the input, then what survives each selector, dropped patches faded; with
 * `heat` beside each the scores as colours. Under them class and answer, how many patches stay, and how much of the score went into the package token. White
 * margins; everything at twice the size of a screen's pixels. Plain numbers in, drawn on a canvas. */
#ifndef SIEVE_REPORT_FIGURE_H
#define SIEVE_REPORT_FIGURE_H

#include "report/canvas.h"

typedef struct sv_figure_stage {
    const uint8_t *kept;                /* [rows * columns] of the grid, not 0 where the patch stays */
    const float *score;                 /* the same: 0..1; NAN: the patch had left before. NULL without heat */
    double packaged;                    /* share of the score in the package token; NAN: there is none */
    size_t kept_count, patches;         /* what is written below; patches 0: cells of the grid are counted */
} sv_figure_stage;

typedef enum sv_note { SV_NOTE_PLAIN, SV_NOTE_RIGHT, SV_NOTE_WRONG, SV_NOTES } sv_note;
typedef struct sv_figure_row {
    const uint8_t *rgb;                 /* height rows of width R, G, B */
    const uint8_t *object;              /* [height * width], 128 and more: the object, which is outlined; NULL: not known */
    const char *name, *note;            /* two lines under the input */
    sv_note kind;
    const sv_figure_stage *stages;
} sv_figure_row;

typedef struct sv_figure {
    size_t width, height;               /* of each picture */
    size_t grid_columns, grid_rows;     /* must divide them */
    size_t stages;
    const size_t *before_block;         /* [stages], for the headings; NULL: they are numbered */
    const sv_figure_row *rows; size_t row_count;
    size_t across;                      /* pictures side by side; 0: one, with more than six pictures two */
    bool heat;
} sv_figure;

/* Opens the canvas in that form, draws, and checks it: then it can be written. SV_USAGE: a grid that does not divide the picture, nothing to show, too
 * large. The canvas is cleared by the caller, after a failure too. */
sv_status sv_figure_draw(sv_canvas *canvas, sv_canvas_form form, const sv_figure *figure, sv_error *err) SV_MUST_CHECK;

#endif
