/* Convolution of each channel with its own window, C forms, over places of a picture as rows (channels last).
 *   y[p][c] = start[c] + sum over taps t of weight[t][c] x[tap(p, t)][c],  start = bias, or y itself, or 0
 *   d_weight[t][c] = sum over places p of dy[p][c] x[tap(p, t)][c]
 * Order of sums: taps in raster order, places in raster order, each one chain of fused multiply-adds; taps outside of the picture are
 * no step of it. The sum of d_weight begins from zero and is added to what is there at the end. */
#include "kernels/real.h"

/* Row of x that tap (down, across) of a place sees; false: outside. */
static bool tap_row(const sv_depthwise *d, size_t place, size_t down, size_t across, size_t *row)
{
    const ptrdiff_t y = (ptrdiff_t)(place / d->across * d->stride + down) - d->padding;
    const ptrdiff_t x = (ptrdiff_t)(place % d->across * d->stride + across) - d->padding;
    if (y < 0 || x < 0 || y >= (ptrdiff_t)d->height || x >= (ptrdiff_t)d->width) return false;
    *row = (size_t)y * d->width + (size_t)x;
    return true;
}

static void add_products(sv_real *restrict sum, const sv_real *restrict a, const sv_real *restrict b, size_t count)
{
    for (size_t c = 0; c < count; c++) sum[c] = real_fma(a[c], b[c], sum[c]);
}

void sv_depthwise_forward_c(const sv_depthwise *d, size_t begin, size_t end)
{
    for (size_t place = begin; place < end; place++) {
        sv_real *y = d->y + place * d->channels;
        for (size_t c = 0; !d->accumulate && c < d->channels; c++) y[c] = d->bias ? d->bias[c] : 0;
        for (size_t t = 0, row; t < d->side * d->side; t++)
            if (tap_row(d, place, t / d->side, t % d->side, &row))
                add_products(y, d->weight + t * d->channels, d->x + row * d->channels, d->channels);
    }
}

void sv_depthwise_weights_c(sv_real *d_weight, const sv_depthwise *d, const sv_real *dy, bool accumulate)
{
    enum { AT_ONCE = 64 };
    for (size_t t = 0; t < d->side * d->side; t++)
        for (size_t first = 0, count; first < d->channels; first += count) {
            sv_real sum[AT_ONCE] = { 0 }, *to = d_weight + t * d->channels + first;
            count = d->channels - first < AT_ONCE ? d->channels - first : AT_ONCE;
            for (size_t place = 0, row; place < d->down * d->across; place++)
                if (tap_row(d, place, t / d->side, t % d->side, &row))
                    add_products(sum, dy + place * d->channels + first, d->x + row * d->channels + first, count);
            for (size_t c = 0; c < count; c++) to[c] = accumulate ? to[c] + sum[c] : sum[c];
        }
}

void sv_turn_rows_c(sv_real *out, size_t out_stride, const sv_real *const *rows, size_t count, size_t columns)
{
    for (size_t r = 0; r < count; r++)
        for (size_t c = 0; c < columns; c++) out[c * out_stride + r] = rows[r] ? rows[r][c] : 0;
}
