/* Attention against the plain formula in double, dead rows included; gradients against differences of that formula, in which
 * the policy is a number between 0 and 1 for each key. Runs with the forms of this machine; the f64 build is held to 1e-7. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kernels.h"

enum { ROWS_MOST = 40, HEADS_MOST = 3, WIDTH_MOST = 64, ALL_MOST = HEADS_MOST * WIDTH_MOST };

/* Sums over the products of the float build are good to some 1e-6 of their size; the differences to 1e-8. */
static const double tolerance = sizeof(sv_real) == 8 ? 2e-7 : 2e-5;

typedef struct image {
    size_t rows, live, heads, width;
    double qkv[ROWS_MOST * 3 * ALL_MOST], policy[ROWS_MOST], out_gradient[ROWS_MOST * ALL_MOST];
} image;

static double score(const image *m, size_t h, size_t i, size_t j)
{
    const size_t all = m->heads * m->width;
    const double *q = m->qkv + i * 3 * all + h * m->width, *k = m->qkv + j * 3 * all + all + h * m->width;
    double sum = 0;
    for (size_t c = 0; c < m->width; c++) sum += q[c] * k[c];
    return sum / sqrt((double)m->width);
}

/* spec SPViT 3.1 with eps 0: weights exp(a) A / sum, A = pol + (1 - pol) I. */
static void naive_row(const image *m, size_t h, size_t i, double *out, double *top, double *log_sum)
{
    const size_t all = m->heads * m->width;
    double a[ROWS_MOST], total = 0;
    *top = -INFINITY;
    for (size_t j = 0; j < m->rows; j++) {
        a[j] = score(m, h, i, j);
        if ((j < m->live || j == i) && a[j] > *top) *top = a[j];
    }
    memset(out, 0, m->width * sizeof *out);
    for (size_t j = 0; j < m->rows; j++) {
        const double factor = j == i ? 1 : m->policy[j], weight = factor == 0 ? 0 : exp(a[j] - *top) * factor;
        total += weight;
        for (size_t c = 0; c < m->width; c++) out[c] += weight * m->qkv[j * 3 * all + 2 * all + h * m->width + c];
    }
    for (size_t c = 0; c < m->width; c++) out[c] /= total;
    *log_sum = *top + log(total);
}

/* What the differences are taken of: the outputs of live rows weighed with their gradient. */
static double naive_loss(const image *m)
{
    double loss = 0, out[WIDTH_MOST], top, log_sum;
    for (size_t h = 0; h < m->heads; h++)
        for (size_t i = 0; i < m->live; i++) {
            naive_row(m, h, i, out, &top, &log_sum);
            for (size_t c = 0; c < m->width; c++) loss += out[c] * m->out_gradient[i * m->heads * m->width + h * m->width + c];
        }
    return loss;
}

static image *image_of(uint32_t position, size_t rows, size_t live, size_t heads, size_t width)
{
    static image m;
    sv_random random = sv_random_at(7, SV_FOR_TEST, 0, 0, position);
    m = (image){ .rows = rows, .live = live, .heads = heads, .width = width };
    const size_t all = heads * width;
    for (size_t i = 0; i < rows * 3 * all; i++) m.qkv[i] = (double)(sv_real)sv_random_normal(&random);
    for (size_t i = 0; i < rows * all; i++) m.out_gradient[i] = (double)(sv_real)sv_random_normal(&random);
    for (size_t i = 0; i < live; i++) m.policy[i] = 1;
    return &m;
}

static struct {
    sv_real qkv[ROWS_MOST * 3 * ALL_MOST], out[ROWS_MOST * ALL_MOST], log_sum[HEADS_MOST * ROWS_MOST], top[HEADS_MOST * ROWS_MOST];
    sv_real g[ROWS_MOST * ALL_MOST], d_qkv[ROWS_MOST * 3 * ALL_MOST], policy[ROWS_MOST];
} held;

static sv_attention attention_of(const image *m)
{
    const size_t all = m->heads * m->width;
    for (size_t i = 0; i < m->rows * 3 * all; i++) held.qkv[i] = (sv_real)m->qkv[i];
    for (size_t i = 0; i < m->rows * all; i++) held.g[i] = (sv_real)m->out_gradient[i];
    return (sv_attention){ .rows = m->rows,
                           .live = m->live,
                           .heads = m->heads,
                           .width = m->width,
                           .qkv = held.qkv,
                           .qkv_stride = 3 * all,
                           .out = held.out,
                           .out_stride = all,
                           .log_sum = held.log_sum,
                           .top = held.top };
}

static void expect_near(double got, double expected, double scale, const char *what, size_t index)
{
    if (!(fabs(got - expected) <= tolerance * (scale + fabs(expected))))
        fail_msg("%s[%zu] is %.9g, expected %.9g", what, index, got, expected);
}

static void check_forward(const image *m, sv_attention *a)
{
    const size_t all = m->heads * m->width;
    double out[WIDTH_MOST], top, log_sum;
    sv_attention_forward(a, 0, m->rows / 2);
    sv_attention_forward(a, m->rows / 2, m->rows);
    for (size_t h = 0; h < m->heads; h++)
        for (size_t i = 0; i < m->rows; i++) {
            naive_row(m, h, i, out, &top, &log_sum);
            for (size_t c = 0; c < m->width; c++) expect_near((double)held.out[i * all + h * m->width + c], out[c], 1, "out", i * all + c);
            expect_near((double)held.top[h * m->rows + i], top, 1, "top", h * m->rows + i);
            expect_near((double)held.log_sum[h * m->rows + i], log_sum, 1, "log_sum", h * m->rows + i);
        }
}

/* Central differences of four points: their own error is h^4. */
static double difference(image *m, double *at)
{
    const double x = *at, h = 1e-3;
    static const double steps[4] = { -2, -1, 1, 2 }, weights[4] = { 1.0 / 12, -8.0 / 12, 8.0 / 12, -1.0 / 12 };
    double sum = 0;
    for (size_t s = 0; s < 4; s++) {
        *at = x + steps[s] * h;
        sum += weights[s] * naive_loss(m) / h;
    }
    *at = x;
    return sum;
}

static void check_backward(image *m, sv_attention *a, size_t every)
{
    const size_t all = m->heads * m->width;
    uint64_t clamped = 0;
    for (size_t i = 0; i < m->rows * 3 * all; i++) held.d_qkv[i] = 1234;
    for (size_t j = 0; j < m->rows; j++) held.policy[j] = 0.5; /* added to */
    sv_attention_backward(a, held.g, all, held.d_qkv, 3 * all, held.policy, 80, &clamped);
    assert_int_equal(clamped, 0);
    for (size_t i = 0; i < m->live * 3 * all; i += every) expect_near((double)held.d_qkv[i], difference(m, &m->qkv[i]), 3, "d_qkv", i);
    for (size_t i = m->live * 3 * all; i < m->rows * 3 * all; i++) assert_true(held.d_qkv[i] == 1234); /* dead rows are not touched */
    for (size_t j = 0; j < m->rows; j++) expect_near((double)held.policy[j] - 0.5, difference(m, &m->policy[j]), 3, "policy", j);
}

static void check(uint32_t position, size_t rows, size_t live, size_t heads, size_t width, size_t every)
{
    static _Alignas(64) unsigned char scratch[1 << 20];
    assert_true(sv_attention_forward_scratch(rows, width) <= sizeof scratch
                && sv_attention_backward_scratch(rows, width) <= sizeof scratch);
    image *m = image_of(position, rows, live, heads, width);
    sv_attention a = attention_of(m);
    a.scratch = scratch;
    check_forward(m, &a);
    check_backward(m, &a, every);
}

static void dense_attention_equals_the_formula(void **state)
{
    (void)state;
    check(1, 1, 1, 1, 4, 1);
    check(2, 7, 7, 2, 8, 3);
    check(3, 19, 19, 3, 16, 31);
    check(4, 33, 33, 1, 64, 53);
}

static void dropped_rows_see_the_kept_ones_and_themselves(void **state)
{
    (void)state;
    check(5, 2, 1, 1, 4, 1);
    check(6, 9, 4, 2, 8, 3);
    check(7, 21, 16, 3, 16, 29);
    check(8, 40, 17, 1, 64, 53);
}

static void everything_dropped_leaves_each_row_its_own_value(void **state)
{
    (void)state;
    check(9, 5, 0, 2, 8, 1);
    for (size_t i = 0; i < 5; i++)
        for (size_t c = 0; c < 16; c++) assert_true(held.out[i * 16 + c] == held.qkv[i * 48 + 32 + c]);
}

static void a_dead_key_far_above_the_rest_is_clamped_and_counted(void **state)
{
    (void)state;
    static _Alignas(64) unsigned char scratch[1 << 16];
    image *m = image_of(10, 6, 5, 1, 4);
    for (size_t c = 0; c < 4; c++) m->qkv[5 * 12 + 4 + c] *= 1000; /* the key of the dead row */
    sv_attention a = attention_of(m);
    a.scratch = scratch;
    uint64_t clamped = 0;
    memset(held.policy, 0, sizeof held.policy);
    sv_attention_forward(&a, 0, 6);
    sv_attention_backward(&a, held.g, 4, held.d_qkv, 12, held.policy, 80, &clamped);
    assert_true(clamped > 0);
    assert_true(isfinite((double)held.policy[5]));
}

int main(void)
{
    sv_kernels_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_attention_equals_the_formula),
        cmocka_unit_test(dropped_rows_see_the_kept_ones_and_themselves),
        cmocka_unit_test(everything_dropped_leaves_each_row_its_own_value),
        cmocka_unit_test(a_dead_key_far_above_the_rest_is_clamped_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
