/* LayerNorm of rows and its backward, C form.
 * y = gain xhat + bias, xhat = (x - mean) / deviation, deviation = sqrt(mean of (x - mean)^2 + eps).
 * With g = dy gain:  dx = (g - mean(g) - xhat mean(g xhat)) / deviation;  d_gain = sum of dy xhat;  d_bias = sum of dy. */
#include "kernels/real.h"

static void statistics_of(const sv_real *x, size_t width, sv_real eps, sv_real stats[2])
{
    sv_real lanes[SV_LANES] = { 0 };
    for (size_t i = 0; i < width; i++) lanes[i % SV_LANES] += x[i];
    const sv_real mean = lanes_total(lanes) / (sv_real)width;
    memset(lanes, 0, sizeof lanes);
    for (size_t i = 0; i < width; i++) {
        const sv_real away = x[i] - mean;
        lanes[i % SV_LANES] = real_fma(away, away, lanes[i % SV_LANES]);
    }
    stats[0] = mean;
    stats[1] = 1 / real_sqrt(lanes_total(lanes) / (sv_real)width + eps);
}

void sv_layer_norm_c(sv_real *y, size_t y_stride, sv_real *stats, const sv_real *x, size_t x_stride, const sv_real *gain,
                     const sv_real *bias, size_t rows, size_t width, double eps)
{
    for (size_t row = 0; row < rows; row++, x += x_stride, y += y_stride) {
        sv_real own[2];
        statistics_of(x, width, (sv_real)eps, own);
        for (size_t i = 0; i < width; i++) y[i] = real_fma((x[i] - own[0]) * own[1], gain[i], bias[i]);
        if (stats) memcpy(stats + 2 * row, own, sizeof own);
    }
}

static void backward_row(sv_real *dx, const sv_real *dy, const sv_real *x, const sv_real *stats, const sv_real *gain, size_t width,
                         bool accumulate)
{
    sv_real sums[SV_LANES] = { 0 }, products[SV_LANES] = { 0 };
    for (size_t i = 0; i < width; i++) {
        const sv_real g = dy[i] * gain[i];
        sums[i % SV_LANES] += g;
        products[i % SV_LANES] = real_fma(g, (x[i] - stats[0]) * stats[1], products[i % SV_LANES]);
    }
    const sv_real mean_g = lanes_total(sums) / (sv_real)width, mean_product = lanes_total(products) / (sv_real)width;
    for (size_t i = 0; i < width; i++) {
        const sv_real xhat = (x[i] - stats[0]) * stats[1];
        const sv_real inner = real_fma(-xhat, mean_product, dy[i] * gain[i] - mean_g);
        dx[i] = accumulate ? real_fma(inner, stats[1], dx[i]) : inner * stats[1];
    }
}

void sv_layer_norm_backward_c(sv_real *dx, size_t dx_stride, sv_real *d_gain, sv_real *d_bias, const sv_real *dy, size_t dy_stride,
                              const sv_real *x, size_t x_stride, const sv_real *stats, const sv_real *gain, size_t rows, size_t width,
                              bool accumulate_x, bool accumulate_parameters)
{
    if (d_gain && !accumulate_parameters) {
        memset(d_gain, 0, width * sizeof *d_gain);
        memset(d_bias, 0, width * sizeof *d_bias);
    }
    for (size_t row = 0; row < rows; row++, x += x_stride, dy += dy_stride, dx += dx_stride, stats += 2) {
        for (size_t i = 0; d_gain && i < width; i++) { /* before dx, which may stand where dy stands */
            d_gain[i] = real_fma(dy[i], (x[i] - stats[0]) * stats[1], d_gain[i]);
            d_bias[i] += dy[i];
        }
        backward_row(dx, dy, x, stats, gain, width, accumulate_x);
    }
}
