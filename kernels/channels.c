/* Rows of channels, C forms: a factor, a shift a channel, and sums down the columns. Every step is rounded by itself, so that several in one
 * pass give the bits of one pass each. */
#include "kernels/real.h"

void sv_affine_rows_c(sv_real *y, const sv_real *x, const sv_affine *affine, size_t rows, size_t width)
{
    for (size_t i = 0; i < rows * width; i++) {
        sv_real number = x[i] * affine->factor[i % width];
        if (affine->shift) number += affine->shift[i % width];
        if (affine->addend) number += affine->addend[i];
        y[i] = number;
    }
}

void sv_column_dots_c(sv_real *sum, const sv_real *a, const sv_real *b, const sv_real *shift, size_t rows, size_t width, bool accumulate)
{
    for (size_t c = 0; c < width; c++) {
        sv_real total = accumulate ? sum[c] : 0;
        for (size_t r = 0; r < rows; r++) total = real_fma(a[r * width + c], b[r * width + c] - (shift ? shift[c] : 0), total);
        sum[c] = total;
    }
}
