/* Rows of 8-bit pixels, C forms: integers, or float and double without fused operations, so that every form gives the same bytes
 * (spec/training.md 7.3, 7.4, 8). */
#include "kernels/table.h"

#include <string.h>

enum { PRECISION = 22, HALF = 1 << (PRECISION - 1) };

static uint8_t to_byte(int32_t value) { return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value); }

void sv_resize_across_c(uint8_t *out, const uint8_t *in, const sv_resize_taps *axis)
{
    for (size_t x = 0; x < axis->count; x++, out += 3)
        for (size_t c = 0; c < 3; c++) {
            const size_t low = axis->lows[x], taps = axis->width - low < 4 * axis->fours ? axis->width - low : 4 * axis->fours;
            int32_t sum = HALF;
            for (size_t k = 0; k < taps; k++) {
                const int16_t *four = axis->halves + (x * axis->fours + k / 4) * 8 + k % 4;
                sum += in[3 * (low + k) + c] * (four[0] * SV_TAP_UNIT + four[4]);
            }
            out[c] = to_byte(sum >> PRECISION);
        }
}

void sv_resize_down_c(uint8_t *out, const uint8_t *in, size_t stride, const int32_t *weights, size_t taps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int32_t sum = HALF;
        for (size_t k = 0; k < taps; k++) sum += in[k * stride + i] * weights[k];
        out[i] = to_byte(sum >> PRECISION);
    }
}

void sv_blend_bytes_c(uint8_t *near, const uint8_t *far, float factor, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const float value = (float)far[i] + factor * (float)(near[i] - far[i]);
        near[i] = value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)value;
    }
}

void sv_smooth_bytes_c(uint8_t *out, const uint8_t *above, const uint8_t *here, const uint8_t *below, size_t count)
{
    const float side = 1.0f / 13.0f, middle = 5.0f / 13.0f;
    for (size_t i = 3; i + 3 < count; i++) {
        float sum = 0.5f;
        sum += (float)below[i - 3] * side + (float)below[i] * side + (float)below[i + 3] * side;
        sum += (float)here[i - 3] * side + (float)here[i] * middle + (float)here[i + 3] * side;
        sum += (float)above[i - 3] * side + (float)above[i] * side + (float)above[i + 3] * side;
        out[i] = sum >= 255 ? 255 : (uint8_t)sum;
    }
}

/* ---- moving pixels ----------------------------------------------------------------------------------------------- */

static size_t clamped(ptrdiff_t i, size_t count) { return i < 0 ? 0 : (size_t)i < count ? (size_t)i : count - 1; }

static double cubic(const double v[4], double t)
{
    const double p1 = v[1], p2 = v[2] - v[0], p3 = 2 * (v[0] - v[1]) + v[2] - v[3], p4 = -v[0] + v[1] - v[2] + v[3];
    return p1 + t * (p2 + t * (p3 + t * p4));
}

static double at(const sv_move *m, ptrdiff_t x, ptrdiff_t y, size_t c)
{
    return m->rgb[(clamped(y, m->height) * m->width + clamped(x, m->width)) * 3 + c];
}

static double bicubic(const sv_move *m, ptrdiff_t x, ptrdiff_t y, double dx, double dy, size_t c)
{
    double rows[4];
    for (ptrdiff_t k = 0; k < 4; k++)
        rows[k] = cubic(
            (double[4]){ at(m, x - 1, y - 1 + k, c), at(m, x, y - 1 + k, c), at(m, x + 1, y - 1 + k, c), at(m, x + 2, y - 1 + k, c) }, dx);
    return cubic(rows, dy);
}

static double bilinear(const sv_move *m, ptrdiff_t x, ptrdiff_t y, double dx, double dy, size_t c)
{
    const double above = at(m, x, y, c) + (at(m, x + 1, y, c) - at(m, x, y, c)) * dx;
    const double below = at(m, x, y + 1, c) + (at(m, x + 1, y + 1, c) - at(m, x, y + 1, c)) * dx;
    return above + (below - above) * dy;
}

void sv_move_pixel_c(uint8_t out[3], const sv_move *m, size_t column, size_t row)
{
    const double xout = (double)column + 0.5, yout = (double)row + 0.5;
    const double xin = m->a * xout + m->b * yout + m->c, yin = m->d * xout + m->e * yout + m->f;
    if (!(xin >= 0 && xin < (double)m->width && yin >= 0 && yin < (double)m->height)) {
        memcpy(out, m->fill, 3);
        return;
    }
    const double xs = xin - 0.5, ys = yin - 0.5;
    const ptrdiff_t x = (ptrdiff_t)xs - (xs < 0), y = (ptrdiff_t)ys - (ys < 0);
    for (size_t c = 0; c < 3; c++) {
        const double value = (m->linear ? bilinear : bicubic)(m, x, y, xs - (double)x, ys - (double)y, c);
        out[c] = value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)value;
    }
}

void sv_move_row_c(uint8_t *out, const sv_move *m, size_t row)
{
    for (size_t column = 0; column < m->width; column++) sv_move_pixel_c(out + 3 * column, m, column, row);
}
