/* Rows of 8-bit pixels over vectors, the same bytes as kernels/pixels.c: the compiler's own vectors, as wide as the flags of the file that
 * includes this, which says how four bytes become whole4 (whole_at) and real4 (real_at). A pixel's three channels and the byte behind them
 * are one vector; where no byte is behind them, the C form is taken. */
#ifndef SIEVE_KERNELS_WIDE_PIXELS_H
#define SIEVE_KERNELS_WIDE_PIXELS_H

#include <string.h>

enum { PRECISION = 22, HALF = 1 << (PRECISION - 1), STRIP = 64 };

ALWAYS uint8_t to_byte(int32_t value) { return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value); }

ALWAYS void put_three(uint8_t *out, whole4 value)
{
    for (size_t c = 0; c < 3; c++) out[c] = to_byte(value[c]);
}

/* ---- resize ------------------------------------------------------------------------------------------------------ */

/* Strips whose sums stay in registers. */
static void resize_down(uint8_t *out, const uint8_t *in, size_t stride, const int32_t *weights, size_t taps, size_t count)
{
    size_t at = 0;
    for (; at + STRIP <= count; at += STRIP) {
        int32_t sums[STRIP];
        for (size_t i = 0; i < STRIP; i++) sums[i] = HALF;
        for (size_t k = 0; k < taps; k++) {
            const uint8_t *row = in + k * stride + at;
            const int32_t weight = weights[k];
            for (size_t i = 0; i < STRIP; i++) sums[i] += row[i] * weight;
        }
        for (size_t i = 0; i < STRIP; i++) out[at + i] = to_byte(sums[i] >> PRECISION);
    }
    sv_resize_down_c(out + at, in + at, stride, weights, taps, count - at);
}

/* ---- blends ------------------------------------------------------------------------------------------------------ */

static void blend_bytes(uint8_t *restrict near, const uint8_t *restrict far, float factor, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float value = (float)far[i] + factor * (float)(near[i] - far[i]);
        value = value > 0.0f ? value : 0.0f;
        value = value < 255.0f ? value : 255.0f;
        near[i] = (uint8_t)(int32_t)value;
    }
}

static void smooth_bytes(uint8_t *restrict out, const uint8_t *restrict above, const uint8_t *restrict here, const uint8_t *restrict below,
                         size_t count)
{
    const float side = 1.0f / 13.0f, middle = 5.0f / 13.0f;
    for (size_t i = 3; i + 3 < count; i++) {
        float sum = 0.5f;
        sum += (float)below[i - 3] * side + (float)below[i] * side + (float)below[i + 3] * side;
        sum += (float)here[i - 3] * side + (float)here[i] * middle + (float)here[i + 3] * side;
        sum += (float)above[i - 3] * side + (float)above[i] * side + (float)above[i + 3] * side;
        sum = sum < 255.0f ? sum : 255.0f;
        out[i] = (uint8_t)(int32_t)sum;
    }
}

/* ---- moving pixels ----------------------------------------------------------------------------------------------- */

/* Through four bytes: all but the products with t is exact, so the order of sums is free. */
ALWAYS real4 cubic_bytes(const uint8_t *rgb, double t)
{
    const real4 v0 = real_at(rgb), v1 = real_at(rgb + 3), v2 = real_at(rgb + 6), v3 = real_at(rgb + 9), first = v0 - v1, last = v2 - v3;
    return v1 + t * ((v2 - v0) + t * ((first + first + last) - t * (first + last)));
}

/* All sixteen pixels inside, with one behind the last. */
ALWAYS void sample_inside(uint8_t *out, const uint8_t *rgb, size_t stride, double dx, double dy)
{
    const real4 v0 = cubic_bytes(rgb, dx), v1 = cubic_bytes(rgb + stride, dx), v2 = cubic_bytes(rgb + 2 * stride, dx),
                v3 = cubic_bytes(rgb + 3 * stride, dx);
    const real4 p1 = v1, p2 = v2 - v0, p3 = 2 * (v0 - v1) + v2 - v3, p4 = -v0 + v1 - v2 + v3;
    put_three(out, __builtin_convertvector(p1 + dy * (p2 + dy * (p3 + dy * p4)), whole4));
}

static void move_row(uint8_t *out, const sv_move *m, size_t row)
{
    const double yout = (double)row + 0.5, width = (double)m->width, height = (double)m->height;
    const ptrdiff_t columns = (ptrdiff_t)m->width, rows = (ptrdiff_t)m->height;
    const size_t stride = m->width * 3;
    for (size_t column = 0; column < m->width; column++, out += 3) {
        const double xout = (double)column + 0.5;
        const double xin = m->a * xout + m->b * yout + m->c, yin = m->d * xout + m->e * yout + m->f;
        const double xs = xin - 0.5, ys = yin - 0.5;
        if (!(xin >= 0 && xin < width && yin >= 0 && yin < height)) {
            memcpy(out, m->fill, 3);
            continue;
        }
        const ptrdiff_t x = (ptrdiff_t)xs, y = (ptrdiff_t)ys;
        if (!m->linear && x >= 1 && y >= 1 && x + 3 < columns && y + 2 < rows)
            sample_inside(out, m->rgb + ((size_t)y - 1) * stride + 3 * ((size_t)x - 1), stride, xs - (double)x, ys - (double)y);
        else
            sv_move_pixel_c(out, m, column, row);
    }
}

#endif
