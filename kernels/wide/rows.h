/* Element-wise and row kernels over vector words: the loops of norm.c, activation.c, softmax.c, optimizer.c, convert.c and the
 * column sums, sixteen numbers at a time, in the same order. Each has one step for a vector; whole vectors call it with 16. */
#ifndef SIEVE_KERNELS_WIDE_ROWS_H
#define SIEVE_KERNELS_WIDE_ROWS_H

#define LOWEST (-__builtin_inff())

/* ---- single numbers ---------------------------------------------------------------------------------------------- */

static void gelu(float *y, const float *x, size_t count)
{
    size_t i = 0;
    for (; i + 16 <= count; i += 16) v_store(y + i, w_gelu(v_load(x + i, 16)), 16);
    if (i < count) v_store(y + i, w_gelu(v_load(x + i, count - i)), count - i);
}

static void sigmoids(float *y, const float *x, size_t count)
{
    size_t i = 0;
    for (; i + 16 <= count; i += 16) v_store(y + i, w_sigmoid(v_load(x + i, 16)), 16);
    if (i < count) v_store(y + i, w_sigmoid(v_load(x + i, count - i)), count - i);
}

WORD void gelu_backward_step(float *dx, const float *dy, const float *x, size_t n, bool accumulate)
{
    const v16 slope = w_gelu_slope(v_load(x, n)), grown = v_load(dy, n);
    v_store(dx, accumulate ? v_fma(grown, slope, v_load(dx, n)) : v_mul(grown, slope), n);
}

static void gelu_backward(float *dx, const float *dy, const float *x, size_t count, bool accumulate)
{
    size_t i = 0;
    for (; i + 16 <= count; i += 16) gelu_backward_step(dx + i, dy + i, x + i, 16, accumulate);
    if (i < count) gelu_backward_step(dx + i, dy + i, x + i, count - i, accumulate);
}

WORD void scale_step(float *y, const float *x, v16 a, size_t n, bool accumulate)
{
    const v16 number = v_load(x, n);
    v_store(y, accumulate ? v_fma(a, number, v_load(y, n)) : v_mul(a, number), n);
}

static void scale(float *y, const float *x, float a, size_t count, bool accumulate)
{
    size_t i = 0;
    for (; i + 16 <= count; i += 16) scale_step(y + i, x + i, v_set(a), 16, accumulate);
    if (i < count) scale_step(y + i, x + i, v_set(a), count - i, accumulate);
}

static float dot(const float *x, const float *y, size_t count)
{
    v16 sum = v_set(0.0f);
    size_t i = 0;
    for (; i + 16 <= count; i += 16) sum = v_fma(v_load(x + i, 16), v_load(y + i, 16), sum);
    if (i < count) sum = v_fma(v_load(x + i, count - i), v_load(y + i, count - i), sum);
    float lanes[16], total = 0.0f;
    v_store(lanes, sum, 16);
    for (size_t l = 0; l < 16; l++) total += lanes[l];
    return total;
}

WORD void adamw_numbers(float *p, float *m, float *v, const float *g, size_t n, const sv_adamw_factors *f)
{
    const v16 gradient = v_mul(v_load(g, n), v_set(f->gradient_scale));
    const v16 mean = v_fma(v_set(f->keep1), v_load(m, n), v_mul(v_set(f->take1), gradient));
    const v16 square = v_fma(v_set(f->keep2), v_load(v, n), v_mul(v_mul(v_set(f->take2), gradient), gradient));
    const v16 divisor = v_fma(v_sqrt(square), v_set(f->correct), v_set(f->eps));
    v_store(m, mean, n);
    v_store(v, square, n);
    v_store(p, v_fma(v_set(f->step), v_div(mean, divisor), v_mul(v_load(p, n), v_set(f->shrink))), n);
}

static void adamw_step(float *p, float *m, float *v, const float *g, size_t count, const sv_adamw *adamw)
{
    const sv_adamw_factors f = sv_adamw_prepare(adamw);
    size_t i = 0;
    for (; i + 16 <= count; i += 16) adamw_numbers(p + i, m + i, v + i, g + i, 16, &f);
    if (i < count) adamw_numbers(p + i, m + i, v + i, g + i, count - i, &f);
}

WORD void sgd_numbers(float *p, float *m, const float *g, size_t n, const sv_sgd_factors *f, bool nesterov)
{
    const v16 momentum = v_set(f->momentum), from = v_load(p, n);
    const v16 gradient = v_fma(v_set(f->decay), from, v_mul(v_load(g, n), v_set(f->gradient_scale)));
    const v16 buffer = v_fma(momentum, v_load(m, n), gradient);
    v_store(m, buffer, n);
    v_store(p, v_fma(v_set(f->step), nesterov ? v_fma(momentum, buffer, gradient) : buffer, from), n);
}

static void sgd_step(float *p, float *m, const float *g, size_t count, const sv_sgd *sgd)
{
    const sv_sgd_factors f = sv_sgd_prepare(sgd);
    size_t i = 0;
    for (; i + 16 <= count; i += 16) sgd_numbers(p + i, m + i, g + i, 16, &f, sgd->nesterov);
    if (i < count) sgd_numbers(p + i, m + i, g + i, count - i, &f, sgd->nesterov);
}

static void to_bf16(uint16_t *out, const float *in, size_t count)
{
    size_t i = 0;
    for (; i + 16 <= count; i += 16) v_store_bf16(out + i, v_load(in + i, 16), 16);
    if (i < count) v_store_bf16(out + i, v_load(in + i, count - i), count - i);
}

static void from_bf16(float *out, const uint16_t *in, size_t count)
{
    size_t i = 0;
    for (; i + 16 <= count; i += 16) v_store(out + i, v_load_bf16(in + i, 16), 16);
    if (i < count) v_store(out + i, v_load_bf16(in + i, count - i), count - i);
}

/* ---- LayerNorm --------------------------------------------------------------------------------------------------- */

static float mean_of(const float *x, size_t width)
{
    v16 sum = v_set(0.0f);
    for (size_t i = 0; i < width; i += 16) sum = v_add(sum, i + 16 <= width ? v_load(x + i, 16) : v_load(x + i, width - i));
    return v_total(sum) / (float)width;
}

static float inverse_deviation(const float *x, float mean, size_t width, float eps)
{
    v16 sum = v_set(0.0f);
    size_t i = 0;
    for (; i + 16 <= width; i += 16) {
        const v16 away = v_sub(v_load(x + i, 16), v_set(mean));
        sum = v_fma(away, away, sum);
    }
    if (i < width) {
        const v16 away = v_keep(v_sub(v_load(x + i, width - i), v_set(mean)), width - i);
        sum = v_fma(away, away, sum);
    }
    return 1.0f / root_of(v_total(sum) / (float)width + eps);
}

WORD void norm_step(float *y, const float *x, const float *gain, const float *bias, float mean, float inverse, size_t n)
{
    const v16 xhat = v_mul(v_sub(v_load(x, n), v_set(mean)), v_set(inverse));
    v_store(y, v_fma(xhat, v_load(gain, n), v_load(bias, n)), n);
}

static void layer_norm(float *y, size_t y_stride, float *stats, const float *x, size_t x_stride, const float *gain, const float *bias,
                       size_t rows, size_t width, double eps)
{
    for (size_t row = 0; row < rows; row++, x += x_stride, y += y_stride) {
        const float mean = mean_of(x, width), inverse = inverse_deviation(x, mean, width, (float)eps);
        size_t i = 0;
        for (; i + 16 <= width; i += 16) norm_step(y + i, x + i, gain + i, bias + i, mean, inverse, 16);
        if (i < width) norm_step(y + i, x + i, gain + i, bias + i, mean, inverse, width - i);
        if (stats) {
            stats[2 * row] = mean;
            stats[2 * row + 1] = inverse;
        }
    }
}

/* A row on its way back: what its steps share. */
typedef struct norm_row {
    float *dx;
    const float *dy, *x, *gain;
    float *d_gain, *d_bias;
    float mean, inverse;
} norm_row;

/* Sums of g and of g xhat; the gradients of gain and bias on the way. */
WORD void norm_back_sums(const norm_row *r, size_t i, size_t n, v16 *sum, v16 *product)
{
    const v16 dy = v_load(r->dy + i, n), g = v_mul(dy, v_load(r->gain + i, n));
    const v16 xhat = v_mul(v_sub(v_load(r->x + i, n), v_set(r->mean)), v_set(r->inverse));
    *sum = v_add(*sum, g);
    *product = v_fma(g, n == 16 ? xhat : v_keep(xhat, n), *product);
    if (r->d_gain) {
        v_store(r->d_gain + i, v_fma(dy, xhat, v_load(r->d_gain + i, n)), n);
        v_store(r->d_bias + i, v_add(v_load(r->d_bias + i, n), dy), n);
    }
}

WORD void norm_back_step(const norm_row *r, size_t i, size_t n, v16 mean_g, v16 mean_product, bool accumulate)
{
    const v16 xhat = v_mul(v_sub(v_load(r->x + i, n), v_set(r->mean)), v_set(r->inverse));
    const v16 g = v_mul(v_load(r->dy + i, n), v_load(r->gain + i, n));
    const v16 inner = v_fnma(xhat, mean_product, v_sub(g, mean_g));
    v_store(r->dx + i, accumulate ? v_fma(inner, v_set(r->inverse), v_load(r->dx + i, n)) : v_mul(inner, v_set(r->inverse)), n);
}

static void norm_back_row(const norm_row *r, size_t width, bool accumulate)
{
    v16 sum = v_set(0.0f), product = v_set(0.0f);
    size_t i = 0;
    for (; i + 16 <= width; i += 16) norm_back_sums(r, i, 16, &sum, &product);
    if (i < width) norm_back_sums(r, i, width - i, &sum, &product);
    const v16 mean_g = v_set(v_total(sum) / (float)width), mean_product = v_set(v_total(product) / (float)width);
    for (i = 0; i + 16 <= width; i += 16) norm_back_step(r, i, 16, mean_g, mean_product, accumulate);
    if (i < width) norm_back_step(r, i, width - i, mean_g, mean_product, accumulate);
}

static void layer_norm_backward(float *dx, size_t dx_stride, float *d_gain, float *d_bias, const float *dy, size_t dy_stride,
                                const float *x, size_t x_stride, const float *stats, const float *gain, size_t rows, size_t width,
                                bool accumulate_x, bool accumulate_parameters)
{
    for (size_t i = 0; d_gain && !accumulate_parameters && i < width; i++) d_gain[i] = d_bias[i] = 0.0f;
    for (size_t row = 0; row < rows; row++) {
        const norm_row r = { dx + row * dx_stride, dy + row * dy_stride, x + row * x_stride, gain, d_gain, d_bias,
                             stats[2 * row],       stats[2 * row + 1] };
        norm_back_row(&r, width, accumulate_x);
    }
}

/* ---- softmax, column sums ---------------------------------------------------------------------------------------- */

static float top_of(const float *x, size_t width)
{
    v16 top = v_set(LOWEST);
    size_t i = 0;
    for (; i + 16 <= width; i += 16) top = v_max(v_load(x + i, 16), top);
    if (i < width) top = v_max(v_load_or(x + i, width - i, top), top);
    return v_top(top);
}

/* Where the maximum is -inf: true for -inf alone, false where a NaN hides. */
static bool all_lowest(const float *x, size_t width)
{
    size_t i = 0;
    while (i < width && x[i] == LOWEST) i++;
    return i == width;
}

static void softmax_row(float *y, const float *x, size_t width, bool log_form)
{
    const float top = top_of(x, width);
    const bool empty = top == LOWEST && all_lowest(x, width);
    v16 sum = v_set(0.0f);
    for (size_t i = 0; i < width; i += 16) {
        const size_t n = least(width - i, 16);
        const v16 away = v_sub(v_load(x + i, n), v_set(top)), weight = v_keep(w_exp(away), n);
        sum = v_add(sum, weight);
        v_store(y + i, empty ? v_set(0.0f) : log_form ? away : weight, n);
    }
    if (empty) return;
    const float total = v_total(sum);
    const v16 factor = v_set(1.0f / total), log_total = v_set(log_form ? sv_ln(total) : 0.0f);
    for (size_t i = 0; i < width; i += 16) {
        const size_t n = least(width - i, 16);
        const v16 number = v_load(y + i, n);
        v_store(y + i, log_form ? v_sub(number, log_total) : v_mul(number, factor), n);
    }
}

static void softmax(float *y, size_t y_stride, const float *x, size_t x_stride, size_t rows, size_t width, bool log_form)
{
    for (size_t row = 0; row < rows; row++) softmax_row(y + row * y_stride, x + row * x_stride, width, log_form);
}

/* Four vectors of columns at a time: one chain each. */
WORD void weighted_strip(float *y, const float *x, size_t x_stride, const float *weight, size_t rows, size_t vectors, size_t n)
{
    v16 total[4];
    for (size_t v = 0; v < vectors; v++) total[v] = v_set(0.0f);
    for (size_t row = 0; row < rows; row++, x += x_stride) {
        const v16 factor = v_set(weight ? weight[row] : 1.0f);
        for (size_t v = 0; v < vectors; v++) total[v] = v_fma(factor, v_load(x + 16 * v, n), total[v]);
    }
    for (size_t v = 0; v < vectors; v++) v_store(y + 16 * v, total[v], n);
}

static void weighted_rows(float *y, const float *x, size_t x_stride, const float *weight, size_t rows, size_t width)
{
    size_t c = 0;
    for (; c + 64 <= width; c += 64) weighted_strip(y + c, x + c, x_stride, weight, rows, 4, 16);
    for (; c + 32 <= width; c += 32) weighted_strip(y + c, x + c, x_stride, weight, rows, 2, 16);
    for (; c + 16 <= width; c += 16) weighted_strip(y + c, x + c, x_stride, weight, rows, 1, 16);
    if (c < width) weighted_strip(y + c, x + c, x_stride, weight, rows, 1, width - c);
}

WORD void column_strip(float *sum, const float *a, size_t a_stride, size_t m, size_t vectors, size_t n, bool accumulate)
{
    v16 total[4];
    for (size_t v = 0; v < vectors; v++) total[v] = accumulate ? v_load(sum + 16 * v, n) : v_set(0.0f);
    for (size_t row = 0; row < m; row++, a += a_stride)
        for (size_t v = 0; v < vectors; v++) total[v] = v_add(total[v], v_load(a + 16 * v, n));
    for (size_t v = 0; v < vectors; v++) v_store(sum + 16 * v, total[v], n);
}

static void column_sums(float *sum, const float *a, size_t a_stride, size_t m, size_t n, bool accumulate)
{
    size_t j = 0;
    for (; j + 64 <= n; j += 64) column_strip(sum + j, a + j, a_stride, m, 4, 16, accumulate);
    for (; j + 16 <= n; j += 16) column_strip(sum + j, a + j, a_stride, m, 1, 16, accumulate);
    if (j < n) column_strip(sum + j, a + j, a_stride, m, 1, n - j, accumulate);
}

/* ---- the yardstick ----------------------------------------------------------------------------------------------- */

/* PEAK_CHAINS chains of multiply-adds; the numbers keep changing, because a multiplier at rest draws less power and clocks
 * higher than any product can. */
static double peak_gflops(double seconds)
{
    enum { STEPS = 20000 };
    v16 sum[PEAK_CHAINS];
    const v16 factor = v_set(-0.99999f);
    float start[16];
    for (size_t l = 0; l < 16; l++) start[l] = 0.1f + 0.0937f * (float)l;
    const v16 term = v_load(start, 16);
    for (int c = 0; c < PEAK_CHAINS; c++) sum[c] = v_set(1.1234f * (float)c);
    double done = 0;
    const double begin = sv_now_seconds();
    double now = begin;
    for (; now - begin < seconds || done == 0; now = sv_now_seconds()) {
        for (int s = 0; s < STEPS; s++) {
            UNROLL for (int c = 0; c < PEAK_CHAINS; c++) sum[c] = v_fma(sum[c], factor, term);
        }
        done += 32.0 * PEAK_CHAINS * STEPS;
    }
    v16 all = v_set(0.0f);
    for (int c = 0; c < PEAK_CHAINS; c++) all = v_add(all, sum[c]);
    volatile float sink = v_total(all);
    (void)sink;
    return now > begin ? done / (now - begin) * 1e-9 : 0;
}

#endif
