#include "pruning/grid.h"

#include <string.h>

enum { FINEST = 64 };

static size_t side_of(size_t patches)
{
    size_t side = 0;
    while ((side + 1) * (side + 1) <= patches) side++;
    return side;
}

size_t sv_grid_common(const size_t *patches, size_t count, size_t size)
{
    size_t finest = 1;
    bool whole = true;
    for (size_t t = 0; t < count; t++)
        if (side_of(patches[t]) > finest) finest = side_of(patches[t]);
    for (size_t t = 0; t < count; t++) whole = whole && finest % side_of(patches[t]) == 0;
    if (whole && size % finest == 0) return finest;
    for (size_t side = finest > FINEST ? finest : FINEST; side >= finest; side--)
        if (size % side == 0) return side;
    return size; /* a cell a pixel: a prime number of them */
}

/* From the last cell on: what a cell is made from never stands behind it. */
void sv_grid_spread(void *cells, size_t bytes, size_t from, size_t to)
{
    const size_t coarse = side_of(from), fine = side_of(to);
    unsigned char *at = cells;
    if (coarse == fine) return;
    for (size_t y = fine; y-- > 0;)
        for (size_t x = fine; x-- > 0;) memmove(at + (y * fine + x) * bytes, at + (y * coarse / fine * coarse + x * coarse / fine) * bytes, bytes);
}
