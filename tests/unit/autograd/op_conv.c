/* Convolutions and windows against each other: a depthwise convolution is one of as many groups as channels; windows there and back. */
#include "test_ops.h"

enum { HEIGHT = 5, ACROSS = 6, CHANNELS = 4, PLACES = HEIGHT * ACROSS };

static sv_parameter *add(sv_parameters *set, const char *name, uint32_t dims, const size_t *shape)
{
    sv_parameter *p = NULL;
    assert_int_equal(sv_parameters_add(set, &p, name, dims, shape, NULL), SV_OK);
    return p;
}

static void assert_all_near(const sv_real *got, const sv_real *expected, size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++) assert_near((double)got[i], (double)expected[i], CLOSE, what, i);
}

static void depthwise_equals_grouped(size_t times, size_t side, size_t stride, size_t padding)
{
    const size_t outs = times * CHANNELS;
    sv_parameters *set = NULL;
    sv_parameter *weights[2], *biases[2];
    sv_tensor *x[2], *y[2];
    sv_tape *tape = tape_in(SV_TRAINING, 2);
    assert_int_equal(sv_parameters_create(&set, NULL), SV_OK);
    for (size_t k = 0; k < 2; k++) {
        weights[k] = add(set, k ? "weight 1" : "weight 0", 4, (size_t[]){ outs, 1, side, side });
        biases[k] = add(set, k ? "bias 1" : "bias 0", 1, &outs);
        x[k] = sv_tape_input(tape, "x", SV_REAL, PLACES, CHANNELS, true);
    }
    assert_int_equal(sv_parameters_allocate(set, true, NULL), SV_OK);
    for (size_t k = 0; k < 2; k++) {
        fill_normal(weights[k]->value, weights[k]->count, 1, 1);
        fill_normal(biases[k]->value, outs, 2, 1);
    }
    y[0] = sv_tape_depthwise_conv(tape, x[0], sv_tape_parameter(tape, weights[0]), sv_tape_parameter(tape, biases[0]), HEIGHT, ACROSS,
                                  stride, padding);
    y[1] = sv_tape_conv2d(tape, x[1], sv_tape_parameter(tape, weights[1]), sv_tape_parameter(tape, biases[1]), HEIGHT, ACROSS, stride,
                          padding, CHANNELS);
    for (size_t k = 0; k < 2; k++) sv_tape_keep(tape, y[k]);
    finish(tape, square_loss(tape, sv_tape_concat_columns(tape, y[0], y[1])));
    for (size_t b = 0; b < 4; b++) fill_normal(sv_tape_data(tape, x[b % 2], b / 2), PLACES * CHANNELS, 3 + b / 2, 1);
    forward(tape, 2, 1);
    sv_tape_backward(tape, 1);
    for (size_t b = 0; b < 2; b++) {
        assert_all_near(sv_tape_data(tape, y[0], b), sv_tape_data(tape, y[1], b), sv_tape_rows(tape, y[0], b) * outs, "y");
        assert_all_near(sv_tape_gradient(tape, x[0], b), sv_tape_gradient(tape, x[1], b), PLACES * CHANNELS, "dx");
    }
    assert_all_near(weights[0]->gradient, weights[1]->gradient, weights[0]->count, "dweight");
    assert_all_near(biases[0]->gradient, biases[1]->gradient, outs, "dbias");
    sv_tape_destroy(tape);
    sv_parameters_destroy(set);
}

static void depthwise_conv_equals_conv2d_of_as_many_groups(void **state)
{
    (void)state;
    depthwise_equals_grouped(1, 3, 1, 1);
    depthwise_equals_grouped(2, 3, 2, 1);
    depthwise_equals_grouped(3, 5, 1, 2);
    depthwise_equals_grouped(1, 2, 2, 0);
}

/* A window of one place is a linear layer, to the bit: the same product. */
static void conv2d_of_one_pixel_equals_linear(void **state)
{
    (void)state;
    sv_parameters *set = NULL;
    sv_tape *tape = tape_in(SV_INFERENCE, 1);
    assert_int_equal(sv_parameters_create(&set, NULL), SV_OK);
    sv_parameter *conv = add(set, "conv", 4, (size_t[]){ 7, CHANNELS, 1, 1 }), *linear = add(set, "linear", 2, (size_t[]){ 7, CHANNELS });
    assert_int_equal(sv_parameters_allocate(set, false, NULL), SV_OK);
    fill_normal(conv->value, conv->count, 1, 1);
    fill_normal(linear->value, linear->count, 1, 1);
    sv_tensor *x = sv_tape_input(tape, "x", SV_REAL, PLACES, CHANNELS, false);
    sv_tensor *y = sv_tape_conv2d(tape, x, sv_tape_parameter(tape, conv), NULL, HEIGHT, ACROSS, 1, 0, 1);
    sv_tensor *z = sv_tape_linear(tape, x, sv_tape_parameter(tape, linear), NULL);
    sv_tape_keep(tape, y);
    sv_tape_keep(tape, z);
    finish(tape, NULL);
    fill_normal(sv_tape_data(tape, x, 0), PLACES * CHANNELS, 5, 1);
    forward(tape, 1, 1);
    assert_memory_equal(sv_tape_data(tape, y, 0), sv_tape_data(tape, z, 0), PLACES * 7 * sizeof(sv_real));
    sv_tape_destroy(tape);
    sv_parameters_destroy(set);
}

static void windows_there_and_back_change_nothing(void **state)
{
    (void)state;
    static const size_t forms[][4] = { { 6, 6, 3, 1 }, { 4, 6, 2, 1 }, { 8, 4, 4, 2 }, { 5, 5, 5, 0 }, { 6, 9, 3, 2 } };
    for (size_t i = 0; i < SV_COUNT(forms); i++) {
        const size_t *f = forms[i], count = f[0] * f[1] * 3;
        sv_tape *tape = tape_in(SV_INFERENCE, 1);
        sv_tensor *x = sv_tape_input(tape, "x", SV_REAL, f[0] * f[1], 3, false),
                  *w = sv_tape_window_partition(tape, x, f[0], f[1], f[2], f[3]);
        sv_tensor *y = sv_tape_window_reverse(tape, w, f[0], f[1], f[2], f[3]);
        sv_tape_keep(tape, w);
        sv_tape_keep(tape, y);
        finish(tape, NULL);
        for (size_t k = 0; k < count; k++) sv_tape_data(tape, x, 0)[k] = (sv_real)k;
        forward(tape, 1, 1);
        assert_memory_equal(sv_tape_data(tape, x, 0), sv_tape_data(tape, y, 0), count * sizeof(sv_real));
        assert_int_equal((size_t)sv_tape_data(tape, w, 0)[0], 3 * (f[3] * f[1] + f[3])); /* the first window begins at (shift, shift) */
        sv_tape_destroy(tape);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(depthwise_conv_equals_conv2d_of_as_many_groups),
        cmocka_unit_test(conv2d_of_one_pixel_equals_linear),
        cmocka_unit_test(windows_there_and_back_change_nothing),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
