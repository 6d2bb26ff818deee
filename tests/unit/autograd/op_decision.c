/* Decisions and the order they lead to. */
#include "test_ops.h"

enum { ROWS = 9, PATCHES = 8, IMAGES = 4 }; /* the last row is a package token */

typedef struct decision {
    sv_tape *tape;
    sv_tensor *a, *before, *origin, *noise, *value, *keep, *order;
} decision;

static int32_t *indices(const sv_tape *tape, const sv_tensor *tensor, size_t image)
{
    return (int32_t *)(void *)sv_tape_data(tape, tensor, image);
}

static decision inputs_of(sv_mode mode)
{
    decision d = { .tape = tape_in(mode, IMAGES) };
    d.a = sv_tape_input(d.tape, "a", SV_REAL, ROWS, 1, true);
    d.before = sv_tape_input(d.tape, "before", SV_REAL, ROWS, 1, true);
    d.origin = sv_tape_input(d.tape, "origin", SV_INDEX, ROWS, 1, false);
    return d;
}

static void fill_inputs(const decision *d)
{
    for (size_t b = 0; b < IMAGES; b++) {
        fill_normal(sv_tape_data(d->tape, d->a, b), ROWS, 30 + b, 1);
        for (size_t r = 0; r < ROWS; r++) {
            sv_tape_data(d->tape, d->before, b)[r] = !(b == 2 && r == 3) && !(b == 3 && r != PATCHES);
            indices(d->tape, d->origin, b)[r] = r < PATCHES ? (int32_t)((r + b) % PATCHES) : -1;
        }
    }
}

static void destroy(decision *d) { sv_tape_destroy(d->tape); }

static decision training(bool soft, size_t stage)
{
    decision d = inputs_of(SV_TRAINING);
    d.keep = sv_tape_decide(d.tape, d.a, d.before, d.origin, NULL, 1, stage, soft);
    sv_tape_keep(d.tape, d.keep);
    finish(d.tape, sv_tape_batch_mean(d.tape, sv_tape_kept_share(d.tape, d.keep, d.origin, PATCHES)));
    fill_inputs(&d);
    return d;
}

static void hard_decisions_are_zero_or_one_with_the_soft_gradient(void **state)
{
    (void)state;
    decision hard = training(false, 0), soft = training(true, 0);
    size_t kept = 0, dropped = 0;
    forward(hard.tape, IMAGES, 1);
    forward(soft.tape, IMAGES, 1);
    sv_tape_backward(hard.tape, 1);
    sv_tape_backward(soft.tape, 1);
    for (size_t b = 0; b < IMAGES; b++)
        for (size_t r = 0; r < ROWS; r++) {
            sv_real keep = sv_tape_data(hard.tape, hard.keep, b)[r], smooth = sv_tape_data(soft.tape, soft.keep, b)[r];
            assert_true(keep == 0 || keep == 1);
            if (r < PATCHES)
                assert_true(keep == (smooth >= (sv_real)0.5 ? 1 : 0));
            else
                assert_true(keep == 1); /* the package token is passed on */
            kept += keep == 1;
            dropped += keep == 0;
            assert_true(sv_tape_gradient(hard.tape, hard.a, b)[r] == sv_tape_gradient(soft.tape, soft.a, b)[r]);
        }
    assert_true(kept > 0 && dropped > 0);
    destroy(&hard);
    destroy(&soft);
}

/* A patch dropped before stays dropped, yet its keep has the gradient that teaches the stage before: what its own step says. */
static void dropped_before_stays_dropped_but_passes_its_gradient(void **state)
{
    (void)state;
    decision d = training(false, 0);
    sv_tape_data(d.tape, d.a, 2)[3] = 50; /* surely kept, had it not been dropped */
    sv_tape_data(d.tape, d.a, 3)[3] = -50;
    forward(d.tape, IMAGES, 1);
    sv_tape_backward(d.tape, 1);
    assert_true(sv_tape_data(d.tape, d.keep, 2)[3] == 0);
    assert_near((double)sv_tape_gradient(d.tape, d.before, 2)[3], 1.0 / (PATCHES * IMAGES), CLOSE, "dbefore", 3);
    assert_true(sv_tape_gradient(d.tape, d.before, 3)[3] == 0);
    assert_true(sv_tape_gradient(d.tape, d.a, 2)[3] == 0);
    destroy(&d);
}

/* How many decisions of two runs differ, patch by patch (a = 0, so only draws decide). */
static size_t differences(decision *x, uint64_t seed_x, decision *y, uint64_t seed_y, uint32_t epoch_y, bool shifted)
{
    sv_step step_x = { .images = IMAGES, .seed = seed_x }, step_y = { .images = IMAGES, .seed = seed_y, .epoch = epoch_y };
    size_t count = 0;
    for (size_t b = 0; b < IMAGES; b++)
        for (size_t r = 0; r < ROWS; r++) {
            sv_tape_data(x->tape, x->a, b)[r] = sv_tape_data(y->tape, y->a, b)[r] = 0;
            sv_tape_data(x->tape, x->before, b)[r] = sv_tape_data(y->tape, y->before, b)[r] = 1;
            indices(x->tape, x->origin, b)[r] = r < PATCHES ? (int32_t)r : -1;
            indices(y->tape, y->origin, b)[r] = r < PATCHES ? (int32_t)(shifted ? (r + 3) % PATCHES : r) : -1;
        }
    assert_int_equal(sv_tape_forward(x->tape, &step_x, NULL), SV_OK);
    assert_int_equal(sv_tape_forward(y->tape, &step_y, NULL), SV_OK);
    for (size_t b = 0; b < IMAGES; b++)
        for (size_t r = 0; r < PATCHES; r++)
            count += sv_tape_data(x->tape, x->keep, b)[shifted ? (r + 3) % PATCHES : r] != sv_tape_data(y->tape, y->keep, b)[r];
    return count;
}

static void draws_belong_to_seed_epoch_stage_and_patch_not_to_the_row(void **state)
{
    (void)state;
    decision a = training(false, 0), b = training(false, 0), other_stage = training(false, 1);
    assert_int_equal(differences(&a, 1, &b, 1, 0, false), 0);
    assert_int_equal(differences(&a, 1, &b, 1, 0, true), 0);
    assert_true(differences(&a, 1, &b, 2, 0, false) > 4);
    assert_true(differences(&a, 1, &b, 1, 1, false) > 4);
    assert_true(differences(&a, 1, &other_stage, 1, 0, false) > 4);
    destroy(&a);
    destroy(&b);
    destroy(&other_stage);
}

static decision inference(sv_rule rule, size_t min_keep, double value)
{
    decision d = inputs_of(SV_INFERENCE);
    d.value = sv_tape_batch_input(d.tape, "value", 2);
    d.keep = sv_tape_choose(d.tape, d.a, d.before, d.origin, d.value, rule, 1, min_keep);
    sv_tape_keep(d.tape, d.keep);
    finish(d.tape, NULL);
    fill_inputs(&d);
    sv_tape_data(d.tape, d.value, 0)[0] = -1000;
    sv_tape_data(d.tape, d.value, 0)[1] = (sv_real)value;
    return d;
}

static size_t kept_of(const decision *d, size_t image)
{
    size_t count = 0;
    for (size_t r = 0; r < PATCHES; r++) count += sv_tape_data(d->tape, d->keep, image)[r] == 1;
    return count;
}

static void threshold_keeps_scores_at_or_above_it(void **state)
{
    (void)state;
    decision d = inference(SV_BY_THRESHOLD, 0, 0.5);
    sv_tape_data(d.tape, d.a, 0)[2] = 0; /* exactly on the threshold */
    forward(d.tape, IMAGES, 1);
    for (size_t b = 0; b < 2; b++)
        for (size_t r = 0; r < PATCHES; r++)
            assert_true(sv_tape_data(d.tape, d.keep, b)[r] == (sv_tape_data(d.tape, d.a, b)[r] >= 0 ? 1 : 0));
    assert_true(sv_tape_data(d.tape, d.keep, 2)[3] == 0); /* dropped before */
    assert_int_equal(kept_of(&d, 3), 0);
    assert_true(sv_tape_data(d.tape, d.keep, 3)[PATCHES] == 1); /* the package token */
    destroy(&d);
}

static void top_k_keeps_the_best_ties_by_lower_row(void **state)
{
    (void)state;
    decision d = inference(SV_BY_TOP_K, 1, 3);
    for (size_t r = 0; r < ROWS; r++) sv_tape_data(d.tape, d.a, 0)[r] = r == 5 ? 2 : 1;
    sv_tape_data(d.tape, d.a, 1)[4] = (sv_real)NAN;
    forward(d.tape, IMAGES, 1);
    for (size_t r = 0; r < PATCHES; r++) assert_true(sv_tape_data(d.tape, d.keep, 0)[r] == (r == 0 || r == 1 || r == 5));
    assert_int_equal(kept_of(&d, 1), 3);
    assert_true(sv_tape_data(d.tape, d.keep, 1)[4] == 0);
    assert_int_equal(kept_of(&d, 2), 3);
    assert_true(sv_tape_data(d.tape, d.keep, 2)[3] == 0);
    assert_int_equal(kept_of(&d, 3), 0); /* nobody left to keep */
    destroy(&d);
}

static void top_k_of_more_than_there_are_keeps_all(void **state)
{
    (void)state;
    decision d = inference(SV_BY_TOP_K, 1, 1e9);
    forward(d.tape, IMAGES, 1);
    assert_int_equal(kept_of(&d, 0), PATCHES);
    assert_int_equal(kept_of(&d, 2), PATCHES - 1);
    destroy(&d);
}

static void where_no_patch_passes_the_best_ones_stay(void **state)
{
    (void)state;
    const sv_rule rules[] = { SV_BY_THRESHOLD, SV_BY_NOISE };
    for (size_t k = 0; k < 2; k++) {
        decision d = inference(rules[k], 2, 1.5);
        for (size_t r = 0; r < ROWS; r++) sv_tape_data(d.tape, d.a, 0)[r] = (sv_real)-100 - (sv_real)((r * 5) % PATCHES);
        forward(d.tape, IMAGES, 1);
        assert_int_equal(kept_of(&d, 0), 2);
        assert_true(sv_tape_data(d.tape, d.keep, 0)[0] == 1 && sv_tape_data(d.tape, d.keep, 0)[5] == 1);
        destroy(&d);
    }
}

static void choosing_by_noise_decides_as_training_did(void **state)
{
    (void)state;
    decision train = training(false, 1), infer = inference(SV_BY_NOISE, 0, 0);
    forward(train.tape, IMAGES, 7);
    forward(infer.tape, IMAGES, 7);
    for (size_t b = 0; b < IMAGES; b++)
        assert_memory_equal(sv_tape_data(train.tape, train.keep, b), sv_tape_data(infer.tape, infer.keep, b), ROWS * sizeof(sv_real));
    destroy(&train);
    destroy(&infer);
}

static void order_puts_kept_rows_first_and_counts_them(void **state)
{
    (void)state;
    decision d = { .tape = tape_in(SV_INFERENCE, IMAGES) };
    d.before = sv_tape_input(d.tape, "policy", SV_REAL, ROWS, 1, false);
    d.order = sv_tape_live_order(d.tape, d.before);
    d.keep = sv_tape_gather_rows(d.tape, d.before, d.order, SV_TAKE_LIVE);
    sv_tape_keep(d.tape, d.order);
    sv_tape_keep(d.tape, d.keep);
    finish(d.tape, NULL);
    for (size_t b = 0; b < IMAGES; b++)
        for (size_t r = 0; r < ROWS; r++) sv_tape_data(d.tape, d.before, b)[r] = b == 0 ? 0 : b == 1 ? 1 : (r + b) % 3 == 0;
    forward(d.tape, IMAGES, 1);
    assert_int_equal(sv_tape_rows(d.tape, d.keep, 0), 0);
    assert_int_equal(sv_tape_rows(d.tape, d.keep, 1), ROWS);
    assert_int_equal(sv_tape_rows(d.tape, d.keep, 2), 3);
    const int32_t expected[ROWS] = { 1, 4, 7, 0, 2, 3, 5, 6, 8 };
    assert_memory_equal(sv_tape_data(d.tape, d.order, 2), expected, sizeof expected);
    destroy(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hard_decisions_are_zero_or_one_with_the_soft_gradient),
        cmocka_unit_test(dropped_before_stays_dropped_but_passes_its_gradient),
        cmocka_unit_test(draws_belong_to_seed_epoch_stage_and_patch_not_to_the_row),
        cmocka_unit_test(threshold_keeps_scores_at_or_above_it),
        cmocka_unit_test(top_k_keeps_the_best_ties_by_lower_row),
        cmocka_unit_test(top_k_of_more_than_there_are_keeps_all),
        cmocka_unit_test(where_no_patch_passes_the_best_ones_stay),
        cmocka_unit_test(choosing_by_noise_decides_as_training_did),
        cmocka_unit_test(order_puts_kept_rows_first_and_counts_them),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
