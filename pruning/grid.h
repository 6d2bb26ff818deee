/* Square grids of patches over one picture: selectors of a backbone of several stages have their own, and are drawn on one. */
#ifndef SIEVE_PRUNING_GRID_H
#define SIEVE_PRUNING_GRID_H

#include "base/base.h"

/* The side of the grid that decisions of all these square grids (patches[count] of them each) are drawn on, over a picture of `size` pixels a side: the
 * finest of them where it divides the picture and the others divide it, else the finest of at most 64 a side that divides the picture (a decision is then
 * drawn where its patch lies, to a cell). Not below any of them. */
size_t sv_grid_common(const size_t *patches, size_t count, size_t size);
/* cells: numbers of `bytes` bytes each, `from` of them in raster order, room for `to`; both squares, to not below from. Afterwards `to` of them: each cell has
 * what the patch over its corner had. */
void sv_grid_spread(void *cells, size_t bytes, size_t from, size_t to);

#endif
