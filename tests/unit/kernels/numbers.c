/* The kernels against formulas in double: polynomials against libm, products and norms against plain loops, gradients against
 * differences. The bounds are those that kernels/ states. Runs with the forms of this machine. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kernels.h"

static const bool wide = sizeof(sv_real) == 8;

static void fill(sv_real *x, size_t count, uint32_t position)
{
    sv_random random = sv_random_at(3, SV_FOR_TEST, 0, 0, position);
    for (size_t i = 0; i < count; i++) x[i] = (sv_real)sv_random_normal(&random);
}

static void expect_within(double got, double expected, double error, const char *what, double at)
{
    if (!(fabs(got - expected) <= error)) fail_msg("%s at %.9g is %.9g, expected %.9g within %.2g", what, at, got, expected, error);
}

static double gelu_exactly(double x) { return 0.5 * x * erfc(-x / sqrt(2)); }
static double slope_exactly(double x) { return 0.5 * erfc(-x / sqrt(2)) + x * exp(-0.5 * x * x) / sqrt(2 * acos(-1)); }

static void exp_ln_and_erf_are_within_two_ulp(void **state)
{
    (void)state;
    const double ulp2 = wide ? 4.5e-16 : 2.4e-7;
    for (double x = -87; x < 88; x += 0.00317) {
        const sv_real at = (sv_real)x;
        expect_within((double)sv_exp(at), exp((double)at), exp((double)at) * ulp2, "exp", x);
    }
    for (double x = 1e-37; x < 1e38; x *= 1.00037) {
        const sv_real at = (sv_real)x;
        expect_within((double)sv_ln(at), log((double)at), fabs(log((double)at)) * ulp2, "ln", x);
    }
    for (double x = 0.7; x < 1.5; x += 0.0000123) {
        const sv_real at = (sv_real)x;
        expect_within((double)sv_ln(at), log((double)at), fabs(log((double)at)) * ulp2, "ln", x);
    }
    for (double x = -5; x < 5; x += 0.000317) {
        const sv_real at = (sv_real)x;
        expect_within((double)sv_erf(at), erf((double)at), fabs(erf((double)at)) * ulp2, "erf", x);
    }
}

static void functions_end_where_they_should(void **state)
{
    (void)state;
    assert_true(sv_exp((sv_real)-INFINITY) == 0 && sv_exp((sv_real)INFINITY) == (sv_real)INFINITY && sv_exp(0) == 1);
    assert_true(sv_ln(0) == (sv_real)-INFINITY && sv_ln((sv_real)INFINITY) == (sv_real)INFINITY && sv_ln(1) == 0);
    assert_true(isnan((double)sv_ln(-1)) && isnan((double)sv_exp((sv_real)NAN)) && isnan((double)sv_ln((sv_real)NAN)));
    assert_true(sv_erf((sv_real)INFINITY) == 1 && sv_erf((sv_real)-INFINITY) == -1 && sv_erf(0) == 0
                && isnan((double)sv_erf((sv_real)NAN)));
    assert_true(sv_sigmoid(0) == (sv_real)0.5 && sv_sigmoid(1000) == 1 && sv_sigmoid(-1000) == 0);
}

static void gelu_and_its_slope_are_near_exact(void **state)
{
    (void)state;
    static sv_real x[20001], y[20001], slope[20001], one[20001];
    for (size_t i = 0; i < 20001; i++) {
        x[i] = (sv_real)(-10 + 0.001 * (double)i);
        one[i] = 1;
    }
    sv_gelu(y, x, 20001);
    sv_gelu_backward(slope, one, x, 20001, false);
    for (size_t i = 0; i < 20001; i++) {
        const double at = (double)x[i];
        expect_within((double)y[i], gelu_exactly(at), (wide ? 1e-15 : 1.2e-7) * (1 + fabs(at) / 2), "gelu", at);
        expect_within((double)slope[i], slope_exactly(at), wide ? 1e-15 : 4e-7, "slope of gelu", at);
    }
    assert_true(y[10000] == 0); /* nothing comes of nothing */
    sv_real ends[3] = { (sv_real)INFINITY, (sv_real)-INFINITY, (sv_real)NAN }, out[3];
    sv_gelu(out, ends, 3);
    assert_true(out[0] == (sv_real)INFINITY && (wide || fabs((double)out[1]) < 1e-7) && isnan((double)out[2]));
}

enum { M = 23, N = 61, K = 37 };
static sv_real left[M * K], weight[N * K], bias[N], addend[M * N], result[M * N], before[M * N], panels[4096];

static double plain_sum(size_t i, size_t j)
{
    double sum = (double)bias[j];
    for (size_t l = 0; l < K; l++) sum += (double)left[i * K + l] * (double)weight[j * K + l];
    return sum;
}

static void product_gives_x_times_w_transposed(void **state)
{
    (void)state;
    const double error = wide ? 1e-13 : 1e-5;
    fill(left, M * K, 1);
    fill(weight, N * K, 2);
    fill(bias, N, 3);
    fill(addend, M * N, 4);
    assert_true(sv_pack_forward_bytes(N, K) <= sizeof panels && sv_pack_backward_bytes(N, K) <= sizeof panels);
    sv_pack_forward(panels, weight, N, K);
    sv_product p = { .m = M,
                     .n = N,
                     .k = K,
                     .x = left,
                     .x_stride = K,
                     .panels = panels,
                     .bias = bias,
                     .addend = addend,
                     .addend_stride = N,
                     .before = before,
                     .before_stride = N,
                     .y = result,
                     .y_stride = N };
    for (p.epilogue = SV_STORE; p.epilogue <= SV_GELU; p.epilogue++) {
        sv_product_rows(&p);
        for (size_t i = 0; i < M; i++)
            for (size_t j = 0; j < N; j++) {
                const double sum = plain_sum(i, j), more = p.epilogue == SV_ADD ? (double)addend[i * N + j] : 0;
                expect_within((double)result[i * N + j], p.epilogue == SV_GELU ? gelu_exactly(sum) : sum + more, error, "product",
                              (double)(i * N + j));
                if (p.epilogue == SV_GELU) expect_within((double)before[i * N + j], sum, error, "before", (double)(i * N + j));
            }
    }
}

static void gradients_of_a_product_are_products(void **state)
{
    (void)state;
    const double error = wide ? 1e-13 : 1e-5;
    static sv_real dy[M * N], dx[M * K], dw[N * K], plain[M * K], sums[N];
    fill(dy, M * N, 5);
    fill(weight, N * K, 6);
    fill(left, M * K, 7);
    sv_pack_backward(panels, weight, N, K);
    sv_product_rows(&(sv_product){ .m = M, .n = K, .k = N, .x = dy, .x_stride = N, .panels = panels, .y = dx, .y_stride = K });
    sv_product_plain(plain, K, dy, N, false, weight, K, false, M, K, N, false);
    sv_product_outer(dw, K, dy, N, left, K, M, N, K, false);
    sv_column_sums(sums, dy, N, M, N, false);
    for (size_t i = 0; i < M; i++)
        for (size_t l = 0; l < K; l++) {
            double sum = 0;
            for (size_t j = 0; j < N; j++) sum += (double)dy[i * N + j] * (double)weight[j * K + l];
            expect_within((double)dx[i * K + l], sum, error, "dx", (double)(i * K + l));
            assert_true(dx[i * K + l] == plain[i * K + l]); /* the same chain */
        }
    for (size_t j = 0; j < N; j++) {
        double sum = 0, column = 0;
        for (size_t i = 0; i < M; i++) sum += (double)dy[i * N + j] * (double)left[i * K + 5];
        for (size_t i = 0; i < M; i++) column += (double)dy[i * N + j];
        expect_within((double)dw[j * K + 5], sum, error, "dw", (double)j);
        expect_within((double)sums[j], column, error, "column sum", (double)j);
    }
}

enum { ROWS = 5, WIDTH = 70 };
static double norm_loss(const double *x, const double *gain, const double *shift, const double *g, double *y)
{
    double loss = 0;
    for (size_t r = 0; r < ROWS; r++) {
        double mean = 0, variance = 0;
        for (size_t i = 0; i < WIDTH; i++) mean += x[r * WIDTH + i] / WIDTH;
        for (size_t i = 0; i < WIDTH; i++) variance += (x[r * WIDTH + i] - mean) * (x[r * WIDTH + i] - mean) / WIDTH;
        for (size_t i = 0; i < WIDTH; i++) {
            const double out = (x[r * WIDTH + i] - mean) / sqrt(variance + 1e-6) * gain[i] + shift[i];
            if (y) y[r * WIDTH + i] = out;
            loss += out * g[r * WIDTH + i];
        }
    }
    return loss;
}

static double norm_difference(double *at, const double *x, const double *gain, const double *shift, const double *g)
{
    const double kept = *at, h = 1e-4;
    *at = kept + h;
    const double up = norm_loss(x, gain, shift, g, NULL);
    *at = kept - h;
    const double down = norm_loss(x, gain, shift, g, NULL);
    *at = kept;
    return (up - down) / (2 * h);
}

static void layer_norm_and_its_gradients_match_differences(void **state)
{
    (void)state;
    const double error = wide ? 1e-6 : 3e-5;
    static sv_real x[ROWS * WIDTH], g[ROWS * WIDTH], y[ROWS * WIDTH], dx[ROWS * WIDTH], gain[WIDTH], shift[WIDTH], d_gain[WIDTH],
        d_shift[WIDTH], stats[2 * ROWS];
    static double wx[ROWS * WIDTH], wg[ROWS * WIDTH], wy[ROWS * WIDTH], w_gain[WIDTH], w_shift[WIDTH];
    fill(x, ROWS * WIDTH, 8);
    fill(g, ROWS * WIDTH, 9);
    fill(gain, WIDTH, 10);
    fill(shift, WIDTH, 11);
    for (size_t i = 0; i < ROWS * WIDTH; i++) {
        wx[i] = (double)x[i];
        wg[i] = (double)g[i];
    }
    for (size_t i = 0; i < WIDTH; i++) {
        w_gain[i] = (double)gain[i];
        w_shift[i] = (double)shift[i];
    }
    norm_loss(wx, w_gain, w_shift, wg, wy);
    sv_layer_norm(y, WIDTH, stats, x, WIDTH, gain, shift, ROWS, WIDTH, 1e-6);
    sv_layer_norm_backward(dx, WIDTH, d_gain, d_shift, g, WIDTH, x, WIDTH, stats, gain, ROWS, WIDTH, false, false);
    for (size_t i = 0; i < ROWS * WIDTH; i++) {
        expect_within((double)y[i], wy[i], error, "layer norm", (double)i);
        expect_within((double)dx[i], norm_difference(&wx[i], wx, w_gain, w_shift, wg), error, "dx of layer norm", (double)i);
    }
    for (size_t i = 0; i < WIDTH; i++) {
        expect_within((double)d_gain[i], norm_difference(&w_gain[i], wx, w_gain, w_shift, wg), error, "gain of layer norm", (double)i);
        expect_within((double)d_shift[i], norm_difference(&w_shift[i], wx, w_gain, w_shift, wg), error, "bias of layer norm", (double)i);
    }
}

static void softmax_rows_sum_to_one_and_empty_rows_are_zero(void **state)
{
    (void)state;
    static sv_real x[3 * 53], y[3 * 53], logs[3 * 53];
    fill(x, 3 * 53, 12);
    for (size_t i = 0; i < 53; i++) x[53 + i] = (sv_real)-INFINITY;
    for (size_t i = 0; i < 53; i++) x[106 + i] = i == 7 ? 5 : (sv_real)-INFINITY;
    sv_softmax(y, 53, x, 53, 3, 53, false);
    sv_softmax(logs, 53, x, 53, 3, 53, true);
    double total = 0, sum = 0;
    for (size_t i = 0; i < 53; i++) total += exp((double)x[i]);
    for (size_t i = 0; i < 53; i++) {
        sum += (double)y[i];
        expect_within((double)y[i], exp((double)x[i]) / total, wide ? 1e-15 : 1e-7, "softmax", (double)i);
        expect_within((double)logs[i], (double)x[i] - log(total), wide ? 1e-14 : 1e-6, "log softmax", (double)i);
        assert_true(y[53 + i] == 0 && logs[53 + i] == 0);
        assert_true(y[106 + i] == (i == 7 ? 1 : 0));
    }
    expect_within(sum, 1, wide ? 1e-14 : 1e-6, "sum of softmax", 0);
}

static void adamw_follows_its_formula_for_many_steps(void **state)
{
    (void)state;
    enum { COUNT = 37 };
    sv_real p[COUNT], m[COUNT] = { 0 }, v[COUNT] = { 0 }, g[COUNT];
    double wp[COUNT], wm[COUNT] = { 0 }, wv[COUNT] = { 0 };
    fill(p, COUNT, 13);
    for (size_t i = 0; i < COUNT; i++) wp[i] = (double)p[i];
    for (uint64_t t = 1; t <= 50; t++) {
        const sv_adamw step = { .lr = 1e-2, .decay = 0.05, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .t = t, .gradient_scale = 0.25 };
        fill(g, COUNT, 100 + (uint32_t)t);
        sv_adamw_step(p, m, v, g, COUNT, &step);
        for (size_t i = 0; i < COUNT; i++) {
            const double gradient = (double)g[i] * 0.25;
            wp[i] -= wp[i] * 1e-2 * 0.05;
            wm[i] = 0.9 * wm[i] + 0.1 * gradient;
            wv[i] = 0.999 * wv[i] + 0.001 * gradient * gradient;
            wp[i] -= 1e-2 * (wm[i] / (1 - pow(0.9, (double)t))) / (sqrt(wv[i]) / sqrt(1 - pow(0.999, (double)t)) + 1e-8);
        }
    }
    for (size_t i = 0; i < COUNT; i++) expect_within((double)p[i], wp[i], wide ? 1e-13 : 2e-5, "parameter", (double)i);
}

/* Three steps of torch.optim.SGD 2.13 in double: lr 0.1, momentum 0.9, weight_decay 0.01, gradients (0.3, -0.2, 0.5) * 1, 2, 3. */
static void sgd_gives_the_numbers_of_pytorch(void **state)
{
    static const double wanted[2][2][3] = { { { 0.709268769, -0.3071133795, -0.22661135025 }, { 1.70862231, -1.134571205, 2.8093660025 } },
                                            { { 0.555720235371, -0.2051526733905, -0.47908321766475 },
                                              { 1.7075719191, -1.13387514005, 2.807651014025 } } };
    static const double gradient[3] = { 0.3, -0.2, 0.5 };
    (void)state;
    for (size_t form = 0; form < 2; form++) {
        const sv_sgd step = { .lr = 0.1, .decay = 0.01, .momentum = 0.9, .gradient_scale = 0.5, .nesterov = form == 1 };
        sv_real p[3] = { (sv_real)1, (sv_real)-0.5, (sv_real)0.25 }, m[3] = { 0 }, g[3];
        for (size_t t = 1; t <= 3; t++) {
            for (size_t i = 0; i < 3; i++) g[i] = (sv_real)(2 * gradient[i] * (double)t); /* halved again by gradient_scale */
            sv_sgd_step(p, m, g, 3, &step);
        }
        for (size_t i = 0; i < 3; i++) {
            expect_within((double)p[i], wanted[form][0][i], wide ? 1e-14 : 5e-7, "parameter", (double)i);
            expect_within((double)m[i], wanted[form][1][i], wide ? 1e-14 : 5e-7, "momentum", (double)i);
        }
    }
}

static void bf16_rounds_to_nearest_even_for_every_pattern(void **state)
{
    (void)state;
    static uint16_t in[65536], out[65536];
    static float wide_values[65536];
    for (size_t i = 0; i < 65536; i++) in[i] = (uint16_t)i;
    sv_from_bf16(wide_values, in, 65536);
    sv_to_bf16(out, wide_values, 65536);
    for (size_t i = 0; i < 65536; i++) {
        const bool nan = (i & 0x7fff) > 0x7f80;
        if (nan)
            assert_true((out[i] & 0x7fff) > 0x7f80);
        else
            assert_int_equal(out[i], i);
    }
    static const struct {
        uint32_t bits;
        uint16_t rounded;
    } ties[] = { { 0x3f808000, 0x3f80 }, { 0x3f818000, 0x3f82 }, { 0x3f808001, 0x3f81 }, { 0x3f807fff, 0x3f80 },
                 { 0x7f7fffff, 0x7f80 }, { 0x00008000, 0x0000 }, { 0x7f800001, 0x7fc0 } };
    for (size_t i = 0; i < SV_COUNT(ties); i++) {
        float value;
        memcpy(&value, &ties[i].bits, sizeof value);
        sv_to_bf16(out, &value, 1);
        assert_int_equal(out[0], ties[i].rounded);
    }
}

/* The worst error of a product of m x k by k x n, as a share of the sum of absolute products. */
static double product_error(sv_parts parts, size_t m, size_t n, size_t k, const sv_real *x, const sv_real *w, void *packed, sv_real *y)
{
    double worst = 0;
    sv_pack_forward_parts(packed, w, n, k, parts);
    const sv_product product = { .m = m, .n = n, .k = k, .x = x, .x_stride = k, .panels = packed, .parts = parts, .y = y, .y_stride = n };
    sv_product_rows(&product);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0, size = 0;
            for (size_t l = 0; l < k; l++) {
                sum += (double)x[i * k + l] * (double)w[j * k + l];
                size += fabs((double)x[i * k + l] * (double)w[j * k + l]);
            }
            worst = fmax(worst, fabs((double)y[i * n + j] - sum) / size);
        }
    return worst;
}

static void three_parts_are_as_exact_as_whole_numbers(void **state)
{
    (void)state;
    enum { HIGH = 37, BROAD = 70, DEEP = 900 };
    static sv_real x[HIGH * DEEP], w[BROAD * DEEP], y[HIGH * BROAD];
    static uint16_t packed[3 * 96 * (DEEP + 32) * 2];
    static const size_t depths[] = { 1, 31, 64, 192, 900 };
    for (size_t i = 0; i < SV_COUNT(depths); i++) {
        fill(x, HIGH * depths[i], 16);
        fill(w, BROAD * depths[i], 17);
        const double whole = product_error(SV_WHOLE, HIGH, BROAD, depths[i], x, w, packed, y);
        const double three = product_error(SV_THREE_PARTS, HIGH, BROAD, depths[i], x, w, packed, y);
        const double one = product_error(SV_ONE_PART, HIGH, BROAD, depths[i], x, w, packed, y);
        print_message("depth %zu: error %.2e whole, %.2e in three parts, %.2e in one\n", depths[i], whole, three, one);
        assert_true(three <= (wide ? 1e-15 : 1.2e-7 + 1.5 * whole));
        assert_true(one < 8e-3);
    }
}

static void dot_and_scale_match_plain_sums(void **state)
{
    (void)state;
    static sv_real x[1003], y[1003];
    fill(x, 1003, 14);
    fill(y, 1003, 15);
    double sum = 0;
    for (size_t i = 0; i < 1003; i++) sum += (double)x[i] * (double)y[i];
    expect_within((double)sv_dot(x, y, 1003), sum, wide ? 1e-12 : 1e-4, "dot", 0);
    const double kept = (double)y[1002];
    sv_scale(y, x, 2, 1003, true);
    expect_within((double)y[1002], kept + 2 * (double)x[1002], wide ? 1e-15 : 1e-6, "scale", 1002);
    sv_scale(y, x, 2, 1003, false);
    assert_true(y[1002] == 2 * x[1002]);
}

int main(void)
{
    sv_kernels_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_ln_and_erf_are_within_two_ulp),
        cmocka_unit_test(functions_end_where_they_should),
        cmocka_unit_test(gelu_and_its_slope_are_near_exact),
        cmocka_unit_test(product_gives_x_times_w_transposed),
        cmocka_unit_test(gradients_of_a_product_are_products),
        cmocka_unit_test(layer_norm_and_its_gradients_match_differences),
        cmocka_unit_test(softmax_rows_sum_to_one_and_empty_rows_are_zero),
        cmocka_unit_test(adamw_follows_its_formula_for_many_steps),
        cmocka_unit_test(sgd_gives_the_numbers_of_pytorch),
        cmocka_unit_test(bf16_rounds_to_nearest_even_for_every_pattern),
        cmocka_unit_test(three_parts_are_as_exact_as_whole_numbers),
        cmocka_unit_test(dot_and_scale_match_plain_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
