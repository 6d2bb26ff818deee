/* The fused linear layers against the plain ops they equal, and MACs. */
#include "test_ops.h"

static sv_tensor *fused_add(sv_tape *tape, sv_tensor *const *in, const sv_attributes *attributes)
{
    (void)attributes;
    return sv_tape_linear_add(tape, in[0], in[1], in[2], in[3]);
}

static sv_tensor *plain_add(sv_tape *tape, sv_tensor *const *in, const sv_attributes *attributes)
{
    (void)attributes;
    return sv_tape_add(tape, sv_tape_linear(tape, in[0], in[1], in[2]), in[3]);
}

static sv_tensor *fused_gelu(sv_tape *tape, sv_tensor *const *in, const sv_attributes *attributes)
{
    (void)attributes;
    return sv_tape_linear_gelu(tape, in[0], in[1], in[2]);
}

static sv_tensor *plain_gelu(sv_tape *tape, sv_tensor *const *in, const sv_attributes *attributes)
{
    (void)attributes;
    return sv_tape_gelu(tape, sv_tape_linear(tape, in[0], in[1], in[2]));
}

static void linear_add_equals_linear_then_add(void **state)
{
    (void)state;
    assert_ways_equal("linear_add", fused_add, plain_add);
}

static void linear_gelu_equals_linear_then_gelu(void **state)
{
    (void)state;
    assert_ways_equal("linear_gelu", fused_gelu, plain_gelu);
}

/* x read by the layer and by the sum: its gradient is added to twice, once in memory that is shared. */
static sv_tensor *fused_residual(sv_tape *tape, sv_tensor *const *in, const sv_attributes *attributes)
{
    (void)attributes;
    sv_tensor *x = sv_tape_scale(tape, in[0], 2);
    return sv_tape_linear_add(tape, sv_tape_linear_gelu(tape, x, in[1], in[2]), in[1], in[2], x);
}

static sv_tensor *plain_residual(sv_tape *tape, sv_tensor *const *in, const sv_attributes *attributes)
{
    (void)attributes;
    sv_tensor *x = sv_tape_scale(tape, in[0], 2);
    sv_tensor *inner = sv_tape_gelu(tape, sv_tape_linear(tape, x, in[1], in[2]));
    return sv_tape_add(tape, x, sv_tape_linear(tape, inner, in[1], in[2]));
}

static void residual_around_shared_weights_has_the_plain_gradient(void **state)
{
    (void)state;
    const sv_sample sample = { .name = "residual",
                               .images = 3,
                               .in = { { .fill = SV_FILL_NORMAL, .rows = 5, .width = 7 },
                                       { .kind = SV_SAMPLE_PARAMETER, .fill = SV_FILL_NORMAL, .rows = 7, .width = 7 },
                                       { .kind = SV_SAMPLE_PARAMETER, .fill = SV_FILL_NORMAL, .width = 7 } } };
    numbers a = run_way(&sample, fused_residual), b = run_way(&sample, plain_residual);
    double most = 1;
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++) most = fmax(most, fabs(b.items[i]));
    for (size_t i = 0; i < a.count; i++) assert_near(a.items[i] / most, b.items[i] / most, CLOSE, "residual", i);
    free(a.items);
    free(b.items);
}

static void same_tensor_twice_in_a_sum_has_twice_the_gradient(void **state)
{
    (void)state;
    sv_tape *tape = tape_in(SV_TRAINING, 1);
    sv_tensor *x = sv_tape_input(tape, "x", SV_REAL, 2, 3, true);
    finish(tape, square_loss(tape, sv_tape_add(tape, x, x)));
    fill_normal(sv_tape_data(tape, x, 0), 6, 1, 1);
    forward(tape, 1, 1);
    sv_tape_backward(tape, 1);
    for (size_t i = 0; i < 6; i++)
        assert_near((double)sv_tape_gradient(tape, x, 0)[i], 8 * (double)sv_tape_data(tape, x, 0)[i], CLOSE, "dx", i);
    sv_tape_destroy(tape);
}

/* Gelu, then a norm, then a layer: two tensors made again in backward, the second from the first. Kept ones give the same bits. */
static sv_tensor *chain(sv_tape *tape, sv_tensor *const *in, bool kept)
{
    sv_tensor *inner = sv_tape_gelu(tape, in[0]), *normed = sv_tape_layer_norm(tape, inner, in[1], in[2], 1e-6);
    if (kept) sv_tape_keep(tape, inner);
    if (kept) sv_tape_keep(tape, normed);
    return sv_tape_linear(tape, normed, in[3], NULL);
}

static sv_tensor *chain_made_again(sv_tape *tape, sv_tensor *const *in, const sv_attributes *attributes)
{
    (void)attributes;
    return chain(tape, in, false);
}

static sv_tensor *chain_kept(sv_tape *tape, sv_tensor *const *in, const sv_attributes *attributes)
{
    (void)attributes;
    return chain(tape, in, true);
}

static void tensors_made_again_give_the_gradients_of_kept_ones(void **state)
{
    (void)state;
    const sv_sample sample = { .name = "chain",
                               .images = 3,
                               .in = { { .fill = SV_FILL_NORMAL, .rows = 4, .width = 7 },
                                       { .kind = SV_SAMPLE_PARAMETER, .fill = SV_FILL_NORMAL, .width = 7 },
                                       { .kind = SV_SAMPLE_PARAMETER, .fill = SV_FILL_NORMAL, .width = 7 },
                                       { .kind = SV_SAMPLE_PARAMETER, .fill = SV_FILL_NORMAL, .rows = 5, .width = 7 } } };
    numbers a = run_way(&sample, chain_made_again), b = run_way(&sample, chain_kept);
    assert_int_equal(a.count, b.count);
    assert_memory_equal(a.items, b.items, a.count * sizeof *a.items);
    free(a.items);
    free(b.items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_add_equals_linear_then_add),
        cmocka_unit_test(linear_gelu_equals_linear_then_gelu),
        cmocka_unit_test(tensors_made_again_give_the_gradients_of_kept_ones),
        cmocka_unit_test(residual_around_shared_weights_has_the_plain_gradient),
        cmocka_unit_test(same_tensor_twice_in_a_sum_has_twice_the_gradient),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
