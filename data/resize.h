/* Resize as Pillow does it, to the integer (spec/training.md 8): separable, the filter widens where a side shrinks, 22-bit fixed point, each pass
 * rounded to 8 bits. */
#ifndef SIEVE_DATA_RESIZE_H
#define SIEVE_DATA_RESIZE_H

#include "formats/pictures.h"

/* ---- resize ------------------------------------------------------------------------------------------------------ */

typedef enum sv_interpolation { SV_BICUBIC, SV_BILINEAR } sv_interpolation;

/* Scratch of one thread: coefficient tables and the picture between the two passes. All zero is empty. */
typedef struct sv_resize_axis { size_t in, out, first, count, taps, capacity_lows, capacity_weights, capacity_halves; sv_interpolation kind; size_t *lows, *lengths; int32_t *weights; int16_t *halves; } sv_resize_axis;
typedef struct sv_resizer { sv_resize_axis across, down; uint8_t *between; size_t capacity; } sv_resizer;
void sv_resizer_clear(sv_resizer *resizer);

/* Which pass comes first shows in single grey levels where the height shrinks much more than the width. */
typedef enum sv_pass_order { SV_AS_PILLOW_13, SV_ACROSS_FIRST /* Pillow up to 12 */ } sv_pass_order;

/* The whole result is width x height; `window` is the part of it that is wanted. */
typedef struct sv_resize_to { size_t width, height; sv_box window; sv_interpolation kind; sv_pass_order order; } sv_resize_to;

/* Cuts `crop` out of `from` (a copy: the filter sees nothing outside), resizes it, and gives the window in *to: the same bytes as
 * Pillow's from.crop(...).resize((width, height), kind).crop(window). Boxes must lie inside and not be empty (assert).
 * SV_FAULT: memory; SV_DATA: a window above the picture limit. Then *to is undefined. */
sv_status sv_resize(sv_resizer *resizer, const sv_picture *from, sv_box crop, const sv_resize_to *result, sv_picture *to, sv_error *err) SV_MUST_CHECK;

#endif
