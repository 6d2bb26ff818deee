/* Losses of one image where a gradient check cannot see a wrong value: what is counted and what is left out. */
#include "test_ops.h"

enum { ROWS = 6, TEACHER = 8, WIDTH = 3, OFFSET = 1 };

typedef struct features {
    sv_tape *tape;
    sv_tensor *x, *teacher, *policy, *origin, *sum;
} features;

/* Rows ordered by their policy, so that dropped rows are not live: they are in no sum. */
static features features_create(void)
{
    features f = { .tape = tape_in(SV_TRAINING, 1) };
    f.x = sv_tape_input(f.tape, "x", SV_REAL, ROWS, WIDTH, true);
    f.policy = sv_tape_input(f.tape, "policy", SV_REAL, ROWS, 1, false);
    f.origin = sv_tape_input(f.tape, "origin", SV_INDEX, ROWS, 1, false);
    f.teacher = sv_tape_input(f.tape, "teacher", SV_REAL, TEACHER, WIDTH, false);
    sv_tensor *order = sv_tape_live_order(f.tape, f.policy);
    sv_tensor *x = sv_tape_gather_rows(f.tape, f.x, order, SV_TAKE_ALL),
              *origin = sv_tape_gather_rows(f.tape, f.origin, order, SV_TAKE_ALL);
    f.sum = sv_tape_masked_square(f.tape, x, f.teacher, origin, OFFSET);
    sv_tape_keep(f.tape, f.sum);
    finish(f.tape, sv_tape_batch_ratio(f.tape, f.sum));
    fill_normal(sv_tape_data(f.tape, f.x, 0), ROWS * WIDTH, 1, 1);
    fill_normal(sv_tape_data(f.tape, f.teacher, 0), TEACHER * WIDTH, 2, 1);
    return f;
}

static void only_kept_patches_are_compared_each_with_its_own_teacher_row(void **state)
{
    (void)state;
    const int32_t origin[ROWS] = { -1, 4, 0, 2, -1, 6 }; /* class and package tokens are -1 */
    const bool kept[ROWS] = { true, true, false, true, true, true };
    features f = features_create();
    double sum = 0, count = 0;
    for (size_t r = 0; r < ROWS; r++) {
        ((int32_t *)(void *)sv_tape_data(f.tape, f.origin, 0))[r] = origin[r];
        sv_tape_data(f.tape, f.policy, 0)[r] = kept[r];
    }
    forward(f.tape, 1, 1);
    sv_tape_backward(f.tape, 1);
    const sv_real *x = sv_tape_data(f.tape, f.x, 0), *teacher = sv_tape_data(f.tape, f.teacher, 0);
    for (size_t i = 0; i < ROWS * WIDTH; i++) {
        if (!kept[i / WIDTH] || origin[i / WIDTH] < 0) continue;
        sum += pow((double)x[i] - (double)teacher[((size_t)origin[i / WIDTH] + OFFSET) * WIDTH + i % WIDTH], 2);
        count++;
    }
    assert_near((double)sv_tape_data(f.tape, f.sum, 0)[0], sum, CLOSE, "sum", 0);
    assert_true(sv_tape_data(f.tape, f.sum, 0)[1] == (sv_real)count);
    for (size_t i = 0; i < ROWS * WIDTH; i++) {
        const bool in = kept[i / WIDTH] && origin[i / WIDTH] >= 0;
        const size_t own = in ? ((size_t)origin[i / WIDTH] + OFFSET) * WIDTH + i % WIDTH : 0;
        assert_near((double)sv_tape_gradient(f.tape, f.x, 0)[i], in ? 2 * ((double)x[i] - (double)teacher[own]) / count : 0, CLOSE, "dx",
                    i);
    }
    sv_tape_destroy(f.tape);
}

static void nothing_kept_is_zero_not_a_division_by_zero(void **state)
{
    (void)state;
    features f = features_create();
    for (size_t r = 0; r < ROWS; r++) ((int32_t *)(void *)sv_tape_data(f.tape, f.origin, 0))[r] = -1;
    forward(f.tape, 1, 1);
    sv_tape_backward(f.tape, 1);
    assert_true(sv_tape_data(f.tape, f.sum, 0)[0] == 0 && sv_tape_data(f.tape, f.sum, 0)[1] == 0);
    for (size_t i = 0; i < ROWS * WIDTH; i++) assert_true(sv_tape_gradient(f.tape, f.x, 0)[i] == 0);
    sv_tape_destroy(f.tape);
}

static void the_share_counts_patches_alone(void **state)
{
    (void)state;
    sv_tape *tape = tape_in(SV_INFERENCE, 1);
    sv_tensor *keep = sv_tape_input(tape, "keep", SV_REAL, ROWS, 1, false),
              *origin = sv_tape_input(tape, "origin", SV_INDEX, ROWS, 1, false);
    sv_tensor *share = sv_tape_kept_share(tape, keep, origin, 10);
    sv_tape_keep(tape, share);
    finish(tape, NULL);
    for (int32_t r = 0; r < ROWS; r++) {
        sv_tape_data(tape, keep, 0)[r] = r != 2;
        ((int32_t *)(void *)sv_tape_data(tape, origin, 0))[r] = r < 4 ? r : -1;
    }
    forward(tape, 1, 1);
    assert_near((double)sv_tape_data(tape, share, 0)[0], 0.3, CLOSE, "share", 0);
    sv_tape_destroy(tape);
}

/* Ties go to the lower class; a row with a NaN has no first class. */
static void the_top_class_is_one_and_a_broken_row_none(void **state)
{
    enum { CLASSES = 4, CASES = 5 };
    static const float x[CASES][CLASSES] = { { 1, 3, 2, 3 }, { -1, -1, -1, -1 }, { -INFINITY, -5, -4, -INFINITY }, { NAN, 1, 2, 3 }, { 3, 2, 1, NAN } };
    static const size_t top[CASES] = { 1, 0, 2, CLASSES, CLASSES };
    (void)state;
    sv_tape *tape = tape_in(SV_INFERENCE, 1);
    sv_tensor *logits = sv_tape_input(tape, "logits", SV_REAL, CASES, CLASSES, false), *y = sv_tape_top_class(tape, logits);
    sv_tape_keep(tape, y);
    finish(tape, NULL);
    for (size_t i = 0; i < CASES * CLASSES; i++) sv_tape_data(tape, logits, 0)[i] = (sv_real)x[i / CLASSES][i % CLASSES];
    forward(tape, 1, 1);
    for (size_t i = 0; i < CASES * CLASSES; i++) {
        double got = (double)sv_tape_data(tape, y, 0)[i];
        assert_true(top[i / CLASSES] == CLASSES ? isnan(got) : got == (i % CLASSES == top[i / CLASSES]));
    }
    sv_tape_destroy(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_kept_patches_are_compared_each_with_its_own_teacher_row),
        cmocka_unit_test(nothing_kept_is_zero_not_a_division_by_zero),
        cmocka_unit_test(the_share_counts_patches_alone),
        cmocka_unit_test(the_top_class_is_one_and_a_broken_row_none),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
