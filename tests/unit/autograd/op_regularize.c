/* Chance that can be repeated. */
#include "test_ops.h"

enum { ROWS = 40, WIDTH = 25, IMAGES = 50 };

typedef sv_tensor *regularize(sv_tape *tape, sv_tensor *x, double share, size_t position);

static sv_tape *tape_of(regularize *op, sv_mode mode, double share, size_t position, sv_tensor **x, sv_tensor **y)
{
    sv_tape *tape = tape_in(mode, IMAGES);
    *x = sv_tape_input(tape, "x", SV_REAL, ROWS, WIDTH, false);
    *y = op(tape, *x, share, position);
    sv_tape_keep(tape, *y);
    finish(tape, NULL);
    for (size_t b = 0; b < IMAGES; b++)
        for (size_t i = 0; i < ROWS * WIDTH; i++) sv_tape_data(tape, *x, b)[i] = 1;
    return tape;
}

static void nothing_is_recorded_in_inference_or_with_share_zero(void **state)
{
    (void)state;
    regularize *const ops[] = { sv_tape_dropout, sv_tape_drop_path };
    for (size_t k = 0; k < 2; k++) {
        sv_tape *infer = tape_in(SV_INFERENCE, 1), *train = tape_in(SV_TRAINING, 1);
        sv_tensor *x = sv_tape_input(infer, "x", SV_REAL, 1, 1, false), *z = sv_tape_input(train, "x", SV_REAL, 1, 1, false);
        assert_ptr_equal(ops[k](infer, x, 0.5, 0), x);
        assert_ptr_equal(ops[k](train, z, 0, 0), z);
        assert_ptr_not_equal(ops[k](train, z, 0.5, 0), z);
        sv_tape_destroy(infer);
        sv_tape_destroy(train);
    }
}

static void the_share_dropped_is_the_share_asked_for(void **state)
{
    (void)state;
    sv_tensor *x, *y;
    sv_tape *tape = tape_of(sv_tape_dropout, SV_TRAINING, 0.3, 5, &x, &y);
    double zeros = 0;
    forward(tape, IMAGES, 11);
    for (size_t b = 0; b < IMAGES; b++)
        for (size_t i = 0; i < ROWS * WIDTH; i++) {
            const sv_real value = sv_tape_data(tape, y, b)[i];
            if (value == 0)
                zeros++;
            else
                assert_near((double)value, 1 / 0.7, CLOSE, "kept number", i);
        }
    assert_true(fabs(zeros / (IMAGES * ROWS * WIDTH) - 0.3) < 0.01); /* five standard deviations: 0.0103 */
    sv_tape_destroy(tape);
}

static void a_path_is_dropped_for_a_whole_image(void **state)
{
    (void)state;
    sv_tensor *x, *y;
    sv_tape *tape = tape_of(sv_tape_drop_path, SV_TRAINING, 0.5, 2, &x, &y);
    size_t dropped = 0;
    forward(tape, IMAGES, 3);
    for (size_t b = 0; b < IMAGES; b++) {
        const sv_real first = sv_tape_data(tape, y, b)[0];
        assert_true(first == 0 || first == 2);
        dropped += first == 0;
        for (size_t i = 0; i < ROWS * WIDTH; i++) assert_true(sv_tape_data(tape, y, b)[i] == first);
    }
    assert_true(dropped > 10 && dropped < 40);
    sv_tape_destroy(tape);
}

static void same_step_same_draws_other_position_other_draws(void **state)
{
    (void)state;
    sv_tensor *x, *y, *z;
    sv_tape *tape = tape_of(sv_tape_dropout, SV_TRAINING, 0.5, 1, &x, &y), *again = tape_of(sv_tape_dropout, SV_TRAINING, 0.5, 1, &x, &z);
    forward(tape, IMAGES, 3);
    forward(again, IMAGES, 3);
    assert_memory_equal(sv_tape_data(tape, y, 4), sv_tape_data(again, z, 4), ROWS * WIDTH * sizeof(sv_real));
    forward(again, IMAGES, 4);
    assert_memory_not_equal(sv_tape_data(tape, y, 4), sv_tape_data(again, z, 4), ROWS * WIDTH * sizeof(sv_real));
    sv_tape_destroy(again);
    again = tape_of(sv_tape_dropout, SV_TRAINING, 0.5, 2, &x, &z);
    forward(again, IMAGES, 3);
    assert_memory_not_equal(sv_tape_data(tape, y, 4), sv_tape_data(again, z, 4), ROWS * WIDTH * sizeof(sv_real));
    sv_tape_destroy(again);
    sv_tape_destroy(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_recorded_in_inference_or_with_share_zero),
        cmocka_unit_test(the_share_dropped_is_the_share_asked_for),
        cmocka_unit_test(a_path_is_dropped_for_a_whole_image),
        cmocka_unit_test(same_step_same_draws_other_position_other_draws),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
