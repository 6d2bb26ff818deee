/* Where a figure is drawn: pixels, or SVG. White at the start; what is drawn later lies above. Places are in pixels of the larger form, from the left upper
 * corner. */
#ifndef SIEVE_REPORT_CANVAS_H
#define SIEVE_REPORT_CANVAS_H

#include "report/letters.h"

typedef enum sv_canvas_form { SV_CANVAS_PIXELS, SV_CANVAS_SVG } sv_canvas_form;
/* All zero is none. A failure stays and later drawing does nothing: sv_canvas_check tells it. */
typedef struct sv_canvas {
    sv_canvas_form form;
    size_t width, height;
    sv_picture picture;                 /* SV_CANVAS_PIXELS */
    sv_text svg;                        /* SV_CANVAS_SVG: whole after sv_canvas_check */
    sv_status failed;
    sv_error *err;
} sv_canvas;

/* `err` is kept. Cleared by the caller, after a failure too. SV_USAGE: more than 16384 pixels a side. */
sv_status sv_canvas_open(sv_canvas *canvas, sv_canvas_form form, size_t width, size_t height, sv_error *err) SV_MUST_CHECK;
void sv_canvas_fill(sv_canvas *canvas, double x, double y, double width, double height, const uint8_t color[3]);
/* A picture as it is, its corner at a whole pixel. */
void sv_canvas_picture(sv_canvas *canvas, size_t x, size_t y, const sv_picture *picture);
/* In one line, its baseline at y; narrowed letter by letter at its end ("...") to `most` pixels. */
void sv_canvas_text(sv_canvas *canvas, double x, double y, double size, double most, sv_anchor anchor, const uint8_t color[3], const char *text);
/* The end: SV_OK where all could be drawn. */
sv_status sv_canvas_check(sv_canvas *canvas) SV_MUST_CHECK;
/* By the end of the name: .png, .jpg or .jpeg (quality 75), .svg; SV_USAGE for another, or one of the other form. */
sv_status sv_canvas_write(sv_canvas *canvas, const char *path, sv_error *err) SV_MUST_CHECK;
/* The form a name asks for. SV_USAGE. */
sv_status sv_canvas_form_of(sv_canvas_form *out, const char *path, sv_error *err) SV_MUST_CHECK;
void sv_canvas_clear(sv_canvas *canvas);

#endif
