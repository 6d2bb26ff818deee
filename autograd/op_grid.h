/* For ops whose rows are the places of a picture: height x width rows in raster order, a column a channel (channels last). A window
 * of side x side taps goes over the grid in steps of `stride`; taps in the padding lie outside and count as zero. */
#ifndef SIEVE_AUTOGRAD_OP_GRID_H
#define SIEVE_AUTOGRAD_OP_GRID_H

#include "autograd/op_shape.h"

typedef struct sv_grid {
    size_t height, width, side, stride, padding;
    size_t down, across; /* places of the result */
} sv_grid;

enum { SV_OUTSIDE = -1 };

/* attributes i[0..3]: height, width, stride, padding. Fails where nothing is left of the picture. */
sv_status sv_grid_of(sv_grid *out, const sv_attributes *attributes, size_t side, sv_error *err) SV_MUST_CHECK;
/* The same for what sv_grid_of has accepted. */
sv_grid sv_grid_accepted(const sv_attributes *attributes, size_t side);
/* Row of the picture that tap `tap` (raster order) of result place `place` reads, or SV_OUTSIDE. */
static inline int64_t sv_grid_tap(const sv_grid *grid, size_t place, size_t tap)
{
    const int64_t y = (int64_t)(place / grid->across * grid->stride + tap / grid->side) - (int64_t)grid->padding;
    const int64_t x = (int64_t)(place % grid->across * grid->stride + tap % grid->side) - (int64_t)grid->padding;
    if (y < 0 || x < 0 || y >= (int64_t)grid->height || x >= (int64_t)grid->width) return SV_OUTSIDE;
    return y * (int64_t)grid->width + x;
}
/* x must have a row a place. */
sv_status sv_want_grid_rows(const sv_tensor *x, size_t height, size_t width, sv_error *err) SV_MUST_CHECK;
/* Of a convolution: weight (input 1) [O,C/groups,P,P], bias (input 2) [O] or none; attribute i[4]: groups. */
sv_status sv_want_windows(const sv_node *node, sv_error *err) SV_MUST_CHECK;

#endif
