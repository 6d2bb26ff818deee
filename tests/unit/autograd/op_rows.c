/* Moving rows where the number of rows differs from image to image. */
#include "test_ops.h"

enum { ROWS = 7, WIDTH = 3, IMAGES = 4 };

static bool kept(size_t image, size_t row) { return row == 0 || (row * 5 + image * 3) % (image + 2) == 0; }

static size_t kept_count(size_t image)
{
    size_t count = 0;
    for (size_t r = 0; r < ROWS; r++) count += kept(image, r);
    return count;
}

static void fill_all(sv_tape *tape, sv_tensor *x, sv_tensor *policy)
{
    for (size_t b = 0; b < IMAGES; b++) {
        for (size_t i = 0; i < ROWS * WIDTH; i++) sv_tape_data(tape, x, b)[i] = (sv_real)(100 * b + i + 1);
        for (size_t r = 0; r < ROWS; r++) sv_tape_data(tape, policy, b)[r] = kept(b, r);
    }
}

static void what_is_gathered_scatters_back_to_its_place(void **state)
{
    (void)state;
    sv_tape *tape = tape_in(SV_INFERENCE, IMAGES);
    sv_tensor *x = sv_tape_input(tape, "x", SV_REAL, ROWS, WIDTH, false), *policy = sv_tape_input(tape, "policy", SV_REAL, ROWS, 1, false);
    sv_tensor *order = sv_tape_live_order(tape, policy),
              *origin = sv_tape_gather_rows(tape, sv_tape_count_up(tape, x, 0), order, SV_TAKE_LIVE);
    sv_tensor *left = sv_tape_gather_rows(tape, x, order, SV_TAKE_LIVE), *back = sv_tape_scatter_rows(tape, left, origin, ROWS);
    sv_tape_keep(tape, back);
    sv_tape_keep(tape, left);
    finish(tape, NULL);
    fill_all(tape, x, policy);
    forward(tape, IMAGES, 1);
    for (size_t b = 0; b < IMAGES; b++) {
        assert_int_equal(sv_tape_rows(tape, left, b), kept_count(b));
        for (size_t i = 0; i < ROWS * WIDTH; i++)
            assert_true(sv_tape_data(tape, back, b)[i] == (kept(b, i / WIDTH) ? sv_tape_data(tape, x, b)[i] : 0));
    }
    sv_tape_destroy(tape);
}

/* As a model does: rows leave, one is appended, the first is read, the rest is read. */
static void slices_and_appended_rows_follow_the_number_of_rows(void **state)
{
    (void)state;
    sv_tape *tape = tape_in(SV_TRAINING, IMAGES);
    sv_tensor *x = sv_tape_input(tape, "x", SV_REAL, ROWS, WIDTH, true), *policy = sv_tape_input(tape, "policy", SV_REAL, ROWS, 1, false);
    sv_tensor *added = sv_tape_input(tape, "added", SV_REAL, 2, WIDTH, true);
    sv_tensor *left = sv_tape_gather_rows(tape, x, sv_tape_live_order(tape, policy), SV_TAKE_LIVE);
    sv_tensor *all = sv_tape_concat_rows(tape, left, added), *first = sv_tape_slice_rows(tape, all, 0, 1),
              *rest = sv_tape_slice_rows(tape, all, 1, 0);
    sv_tape_keep(tape, first);
    sv_tape_keep(tape, rest);
    sv_tensor *terms[] = { square_loss(tape, first), square_loss(tape, rest) };
    finish(tape, sv_tape_weighted_sum(tape, terms, 2, (double[]){ IMAGES, 10 * IMAGES }));
    fill_all(tape, x, policy);
    for (size_t b = 0; b < IMAGES; b++) fill_normal(sv_tape_data(tape, added, b), 2 * WIDTH, b, 1);
    forward(tape, IMAGES, 1);
    for (size_t b = 0; b < IMAGES; b++) {
        const size_t rows = kept_count(b);
        assert_int_equal(sv_tape_rows(tape, first, b), 1);
        assert_int_equal(sv_tape_rows(tape, rest, b), rows + 1);
        assert_memory_equal(sv_tape_data(tape, first, b), sv_tape_data(tape, x, b), WIDTH * sizeof(sv_real));
        assert_memory_equal(sv_tape_data(tape, rest, b) + (rows - 1) * WIDTH, sv_tape_data(tape, added, b), 2 * WIDTH * sizeof(sv_real));
    }
    sv_tape_backward(tape, 1);
    for (size_t b = 0; b < IMAGES; b++) {
        for (size_t i = 0; i < ROWS * WIDTH; i++)
            assert_near((double)sv_tape_gradient(tape, x, b)[i],
                        kept(b, i / WIDTH) ? (i < WIDTH ? 2 : 20) * (double)sv_tape_data(tape, x, b)[i] : 0, CLOSE, "dx", i);
        for (size_t i = 0; i < 2 * WIDTH; i++)
            assert_near((double)sv_tape_gradient(tape, added, b)[i], 20 * (double)sv_tape_data(tape, added, b)[i], CLOSE, "dadded", i);
    }
    sv_tape_destroy(tape);
}

/* Rows ordered but not removed: the slices and sums of a masked model. Only live rows have a gradient. */
static void live_rows_follow_through_slices(void **state)
{
    (void)state;
    sv_tape *tape = tape_in(SV_TRAINING, IMAGES);
    sv_tensor *x = sv_tape_input(tape, "x", SV_REAL, ROWS, WIDTH, true), *policy = sv_tape_input(tape, "policy", SV_REAL, ROWS, 1, false);
    sv_tensor *ordered = sv_tape_gather_rows(tape, x, sv_tape_live_order(tape, policy), SV_TAKE_ALL);
    sv_tensor *rest = sv_tape_slice_rows(tape, sv_tape_scale(tape, ordered, 3), 1, 0);
    finish(tape, square_loss(tape, rest));
    fill_all(tape, x, policy);
    forward(tape, IMAGES, 1);
    sv_tape_backward(tape, IMAGES);
    for (size_t b = 0; b < IMAGES; b++)
        for (size_t i = 0; i < ROWS * WIDTH; i++)
            assert_near((double)sv_tape_gradient(tape, x, b)[i],
                        kept(b, i / WIDTH) && i >= WIDTH ? 18 * (double)sv_tape_data(tape, x, b)[i] : 0, CLOSE, "dx", i);
    sv_tape_destroy(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_gathered_scatters_back_to_its_place),
        cmocka_unit_test(slices_and_appended_rows_follow_the_number_of_rows),
        cmocka_unit_test(live_rows_follow_through_slices),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
