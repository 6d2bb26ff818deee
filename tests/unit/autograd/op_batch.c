/* Losses of the batch where a gradient check of one op cannot look: terms that are sums themselves,
 * budgets that are met, corners of curves. */
#include "test_ops.h"

enum { IMAGES = 3, PATCHES = 4 };

static void terms_get_their_weights(void **state)
{
    (void)state;
    sv_tape *tape = tape_in(SV_TRAINING, IMAGES);
    sv_tensor *x[SV_MOST_INPUTS], *terms[SV_MOST_INPUTS];
    double weights[SV_MOST_INPUTS];
    for (size_t t = 0; t < SV_MOST_INPUTS; t++) {
        x[t] = sv_tape_input(tape, "x", SV_REAL, 1, 1, true);
        terms[t] = sv_tape_batch_mean(tape, x[t]);
        weights[t] = (double)t - 2.5;
    }
    sv_tensor *sum = sv_tape_weighted_sum(tape, terms, SV_MOST_INPUTS, weights);
    finish(tape, sum);
    for (size_t t = 0; t < SV_MOST_INPUTS; t++)
        for (size_t b = 0; b < IMAGES; b++) sv_tape_data(tape, x[t], b)[0] = (sv_real)(t + 1);
    forward(tape, IMAGES, 1);
    assert_near((double)sv_tape_data(tape, sum, 0)[0], -2.5 * 36 + 168, CLOSE, "sum", 0);
    sv_tape_backward(tape, 2);
    for (size_t t = 0; t < SV_MOST_INPUTS; t++)
        assert_near((double)sv_tape_gradient(tape, x[t], 1)[0], 2 * weights[t] / IMAGES, CLOSE, "dx", t);
    sv_tape_destroy(tape);
}

typedef struct latency {
    sv_tape *tape;
    sv_tensor *shares[2], *curve, *ms, *loss;
} latency;

/* Two stages; ms after stage 0: 0 1 3 6 10 for 0..4 patches; after stage 1: 2 for each patch. fixed 5. */
static latency latency_create(double budget, double share0, double share1)
{
    static const double ms[] = { 0, 1, 3, 6, 10, 0, 2, 4, 6, 8 };
    latency l = { .tape = tape_in(SV_TRAINING, IMAGES) };
    for (size_t t = 0; t < 2; t++) l.shares[t] = sv_tape_input(l.tape, "share", SV_REAL, 1, 1, true);
    l.curve = sv_tape_batch_input(l.tape, "curve", 3 + SV_COUNT(ms));
    l.loss = sv_tape_latency_loss(l.tape, l.shares, 2, l.curve, PATCHES, &l.ms);
    finish(l.tape, l.loss);
    sv_tape_data(l.tape, l.curve, 0)[0] = 5;
    sv_tape_data(l.tape, l.curve, 0)[1] = (sv_real)budget;
    for (size_t i = 0; i < SV_COUNT(ms); i++) sv_tape_data(l.tape, l.curve, 0)[3 + i] = (sv_real)ms[i];
    for (size_t b = 0; b < IMAGES; b++) { /* means are share0, share1 */
        sv_tape_data(l.tape, l.shares[0], b)[0] = (sv_real)(share0 + 0.1 * ((double)b - 1));
        sv_tape_data(l.tape, l.shares[1], b)[0] = (sv_real)share1;
    }
    forward(l.tape, IMAGES, 1);
    sv_tape_backward(l.tape, 1);
    return l;
}

static double value(const latency *l, const sv_tensor *tensor) { return (double)sv_tape_data(l->tape, tensor, 0)[0]; }
static double pull(const latency *l, size_t stage) { return (double)sv_tape_gradient(l->tape, l->shares[stage], 2)[0]; }

static void over_budget_pulls_by_the_slope_of_the_curve(void **state)
{
    (void)state;
    latency l = latency_create(10, 0.625, 0.5); /* 2.5 and 2 patches: 5 + 4.5 + 4 */
    assert_near(value(&l, l.ms), 13.5, CLOSE, "ms", 0);
    assert_near(value(&l, l.loss), 0.35 * 0.35, CLOSE, "loss", 0);
    assert_near(pull(&l, 0), 2 * 0.35 / 10 * 3 * PATCHES / IMAGES, CLOSE, "dshare", 0);
    assert_near(pull(&l, 1), 2 * 0.35 / 10 * 2 * PATCHES / IMAGES, CLOSE, "dshare", 1);
    sv_tape_destroy(l.tape);
}

static void within_budget_pulls_nothing(void **state)
{
    (void)state;
    latency l = latency_create(13.5, 0.625, 0.5), far = latency_create(100, 1, 1);
    assert_near(value(&l, l.loss), 0, CLOSE, "loss", 0);
    assert_near(pull(&far, 0), 0, CLOSE, "dshare", 0);
    assert_true(value(&far, far.loss) == 0 && pull(&far, 1) == 0);
    sv_tape_destroy(l.tape);
    sv_tape_destroy(far.tape);
}

static void ends_of_the_curve_are_read(void **state)
{
    (void)state;
    latency all = latency_create(1, 1, 1), none = latency_create(1, 0, 0), beyond = latency_create(1, 1.5, -0.5);
    assert_near(value(&all, all.ms), 5 + 10 + 8, CLOSE, "ms", 0);
    assert_near(value(&none, none.ms), 5, CLOSE, "ms", 0);
    assert_near(pull(&none, 1), 2 * 4.0 * 2 * PATCHES / IMAGES, CLOSE, "dshare", 1);
    assert_near(value(&beyond, beyond.ms), 5 + 10 + 0, CLOSE, "ms", 0);
    assert_true(pull(&beyond, 0) == 0 && pull(&beyond, 1) == 0);
    sv_tape_destroy(beyond.tape);
    sv_tape_destroy(all.tape);
    sv_tape_destroy(none.tape);
}

static void the_ratio_of_sums_is_over_the_whole_batch(void **state)
{
    (void)state;
    sv_tape *tape = tape_in(SV_TRAINING, IMAGES);
    sv_tensor *x = sv_tape_input(tape, "x", SV_REAL, 1, 2, true), *ratio = sv_tape_batch_ratio(tape, x);
    finish(tape, ratio);
    for (size_t b = 0; b < IMAGES; b++) {
        sv_tape_data(tape, x, b)[0] = (sv_real)(b + 1);
        sv_tape_data(tape, x, b)[1] = (sv_real)(10 * b);
    }
    forward(tape, IMAGES, 1);
    assert_near((double)sv_tape_data(tape, ratio, 0)[0], 6.0 / 30, CLOSE, "ratio", 0);
    sv_tape_destroy(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terms_get_their_weights),
        cmocka_unit_test(over_budget_pulls_by_the_slope_of_the_curve),
        cmocka_unit_test(within_budget_pulls_nothing),
        cmocka_unit_test(ends_of_the_curve_are_read),
        cmocka_unit_test(the_ratio_of_sums_is_over_the_whole_batch),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
