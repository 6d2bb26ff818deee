/* The package token where something, nothing, and everything is dropped. */
#include "test_ops.h"

enum { ROWS = 6, WIDTH = 5 };

typedef struct pack {
    sv_tape *tape;
    sv_tensor *u, *before, *after, *score, *package, *policy;
} pack;

static pack pack_create(sv_package_form form, sv_package_empty empty)
{
    pack p = { .tape = tape_in(SV_TRAINING, 1) };
    p.u = sv_tape_input(p.tape, "u", SV_REAL, ROWS, WIDTH, true);
    p.before = sv_tape_input(p.tape, "before", SV_REAL, ROWS, 1, true);
    p.after = sv_tape_input(p.tape, "after", SV_REAL, ROWS, 1, true);
    p.score = sv_tape_input(p.tape, "score", SV_REAL, ROWS, 1, true);
    p.package = sv_tape_package(p.tape, p.u, p.before, p.after, p.score, form, empty, &p.policy);
    sv_tape_keep(p.tape, p.package);
    sv_tape_keep(p.tape, p.policy);
    finish(p.tape, square_loss(p.tape, p.package));
    fill_normal(sv_tape_data(p.tape, p.u, 0), ROWS * WIDTH, 3, 1);
    for (size_t r = 0; r < ROWS; r++) {
        sv_tape_data(p.tape, p.score, 0)[r] = (sv_real)(0.1 + 0.1 * (double)r);
        sv_tape_data(p.tape, p.before, 0)[r] = sv_tape_data(p.tape, p.after, 0)[r] = 1;
    }
    return p;
}

static sv_real *data(const pack *p, const sv_tensor *tensor) { return sv_tape_data(p->tape, tensor, 0); }

static void three_forms_are_the_three_formulas(void **state)
{
    (void)state;
    for (int form = SV_PACKAGE_WAVG; form <= SV_PACKAGE_MEAN; form++) {
        pack p = pack_create((sv_package_form)form, SV_EMPTY_MASK);
        data(&p, p.after)[1] = data(&p, p.after)[4] = 0;
        data(&p, p.before)[5] = data(&p, p.after)[5] = 0; /* dropped earlier: not in it */
        forward(p.tape, 1, 1);
        const double weight[2] = { form == SV_PACKAGE_MEAN ? 1 : 0.2, form == SV_PACKAGE_MEAN ? 1 : 0.5 },
                     below = form == SV_PACKAGE_SUM ? 1 : weight[0] + weight[1];
        for (size_t i = 0; i < WIDTH; i++)
            assert_near((double)data(&p, p.package)[i],
                        (weight[0] * (double)data(&p, p.u)[WIDTH + i] + weight[1] * (double)data(&p, p.u)[4 * WIDTH + i]) / below, CLOSE,
                        "package", i);
        assert_true(data(&p, p.policy)[0] == 1);
        sv_tape_destroy(p.tape);
    }
}

static void one_token_dropped_is_that_token(void **state)
{
    (void)state;
    pack p = pack_create(SV_PACKAGE_WAVG, SV_EMPTY_MASK);
    data(&p, p.after)[3] = 0;
    forward(p.tape, 1, 1);
    assert_true(data(&p, p.policy)[0] == 1);
    for (size_t i = 0; i < WIDTH; i++)
        assert_near((double)data(&p, p.package)[i], (double)data(&p, p.u)[3 * WIDTH + i], CLOSE, "package", i);
    sv_tape_destroy(p.tape);
}

static void nothing_dropped_is_a_zero_row_with_finite_gradients(void **state)
{
    (void)state;
    for (int form = SV_PACKAGE_WAVG; form <= SV_PACKAGE_MEAN; form++)
        for (int empty = SV_EMPTY_MASK; empty <= SV_EMPTY_KEEP_ZERO; empty++) {
            pack p = pack_create((sv_package_form)form, (sv_package_empty)empty);
            forward(p.tape, 1, 1);
            sv_tape_backward(p.tape, 1);
            for (size_t i = 0; i < WIDTH; i++) assert_true(data(&p, p.package)[i] == 0);
            assert_true(data(&p, p.policy)[0] == (empty == SV_EMPTY_KEEP_ZERO ? 1 : 0));
            for (size_t r = 0; r < ROWS; r++) assert_true(fabs((double)sv_tape_gradient(p.tape, p.after, 0)[r]) < 100);
            sv_tape_destroy(p.tape);
        }
}

static void everything_dropped_for_sure_is_finite(void **state)
{
    (void)state;
    pack p = pack_create(SV_PACKAGE_WAVG, SV_EMPTY_MASK);
    for (size_t r = 0; r < ROWS; r++) {
        data(&p, p.after)[r] = 0;
        data(&p, p.score)[r] = (sv_real)1e-30;
    }
    forward(p.tape, 1, 1);
    sv_tape_backward(p.tape, 1);
    assert_true(data(&p, p.policy)[0] == 1);
    for (size_t i = 0; i < ROWS * WIDTH; i++) assert_true(isfinite((double)sv_tape_gradient(p.tape, p.u, 0)[i]));
    for (size_t r = 0; r < ROWS; r++) assert_true(isfinite((double)sv_tape_gradient(p.tape, p.score, 0)[r]));
    sv_tape_destroy(p.tape);
}

/* Rows dropped earlier give nothing to the package, get nothing for their values, and still teach the decision that dropped them. */
static void rows_dropped_earlier_teach_their_decision_alone(void **state)
{
    (void)state;
    pack p = pack_create(SV_PACKAGE_WAVG, SV_EMPTY_MASK);
    data(&p, p.after)[1] = data(&p, p.after)[2] = 0;
    data(&p, p.before)[5] = data(&p, p.after)[5] = 0;
    forward(p.tape, 1, 1);
    sv_tape_backward(p.tape, 1);
    for (size_t i = 0; i < WIDTH; i++) assert_true(sv_tape_gradient(p.tape, p.u, 0)[5 * WIDTH + i] == 0);
    assert_true(sv_tape_gradient(p.tape, p.score, 0)[5] == 0);
    assert_true(sv_tape_gradient(p.tape, p.before, 0)[5] != 0);
    assert_true(sv_tape_gradient(p.tape, p.before, 0)[5] == -sv_tape_gradient(p.tape, p.after, 0)[5]);
    sv_tape_destroy(p.tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_forms_are_the_three_formulas),
        cmocka_unit_test(one_token_dropped_is_that_token),
        cmocka_unit_test(nothing_dropped_is_a_zero_row_with_finite_gradients),
        cmocka_unit_test(everything_dropped_for_sure_is_finite),
        cmocka_unit_test(rows_dropped_earlier_teach_their_decision_alone),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
