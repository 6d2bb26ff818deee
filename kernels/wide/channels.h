/* Rows of channels over vector words: kernels/channels.c. */
#ifndef SIEVE_KERNELS_WIDE_CHANNELS_H
#define SIEVE_KERNELS_WIDE_CHANNELS_H

WORD void affine_step(float *y, const float *x, const sv_affine *affine, size_t at, size_t c, size_t n)
{
    v16 number = v_mul(v_load(x + at, n), v_load(affine->factor + c, n));
    if (affine->shift) number = v_add(number, v_load(affine->shift + c, n));
    if (affine->addend) number = v_add(number, v_load(affine->addend + at, n));
    v_store(y + at, number, n);
}

static void affine_rows(float *y, const float *x, const sv_affine *affine, size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r++) {
        size_t c = 0;
        for (; c + 16 <= width; c += 16) affine_step(y, x, affine, r * width + c, c, 16);
        if (c < width) affine_step(y, x, affine, r * width + c, c, width - c);
    }
}

/* Four vectors of columns at a time: one chain each. */
WORD void dots_strip(float *sum, const float *a, const float *b, const float *shift, size_t rows, size_t width, size_t vectors, size_t n,
                     bool accumulate)
{
    v16 total[4], away[4];
    for (size_t v = 0; v < vectors; v++) {
        total[v] = accumulate ? v_load(sum + 16 * v, n) : v_set(0.0f);
        away[v] = shift ? v_load(shift + 16 * v, n) : v_set(0.0f);
    }
    for (size_t r = 0; r < rows; r++, a += width, b += width)
        for (size_t v = 0; v < vectors; v++) total[v] = v_fma(v_load(a + 16 * v, n), v_sub(v_load(b + 16 * v, n), away[v]), total[v]);
    for (size_t v = 0; v < vectors; v++) v_store(sum + 16 * v, total[v], n);
}

static void column_dots(float *sum, const float *a, const float *b, const float *shift, size_t rows, size_t width, bool accumulate)
{
    size_t c = 0;
#define STRIP(vectors, n) dots_strip(sum + c, a + c, b + c, shift ? shift + c : NULL, rows, width, vectors, n, accumulate)
    for (; c + 64 <= width; c += 64) STRIP(4, 16);
    for (; c + 16 <= width; c += 16) STRIP(1, 16);
    if (c < width) STRIP(1, width - c);
#undef STRIP
}

#endif
