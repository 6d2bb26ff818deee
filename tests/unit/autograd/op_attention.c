/* Attention with kept rows in front, whose dropped rows cost no backward, against the plain masked form,
 * in which every row has its gradient. Two layers, so that the second one reads what the first made of dropped rows. */
#include "test_ops.h"

enum { ROWS = 11, WIDTH = 8, HEADS = 2, IMAGES = 5 };

static sv_tensor *fused(sv_tape *tape, sv_tensor *const *in, const sv_attributes *attributes)
{
    return sv_tape_attention(tape, in[0], in[1], (size_t)attributes->i[0], attributes->r[0]);
}

static sv_tensor *plain(sv_tape *tape, sv_tensor *const *in, const sv_attributes *attributes)
{
    return sv_tape_policy_attention(tape, in[0], NULL, (size_t)attributes->i[0], 0, false, attributes->r[0]);
}

static void attention_equals_policy_attention_where_all_rows_live(void **state)
{
    (void)state;
    assert_ways_equal("attention", fused, plain);
}

typedef struct net {
    sv_parameters *set;
    sv_parameter *weight;
    sv_tape *tape;
    sv_tensor *qkv, *policy, *origin, *out, *order, *teacher;
} net;

typedef enum net_form { PLAIN, ORDERED, REMOVED } net_form;

static net net_create(net_form form, sv_mode mode, double clamp)
{
    net n = { 0 };
    assert_int_equal(sv_parameters_create(&n.set, NULL), SV_OK);
    assert_int_equal(sv_parameters_add(n.set, &n.weight, "weight", 2, (size_t[]){ 3 * WIDTH, WIDTH }, NULL), SV_OK);
    assert_int_equal(sv_parameters_allocate(n.set, true, NULL), SV_OK);
    fill_normal(n.weight->value, n.weight->count, 5, 0.5);
    n.tape = tape_in(mode, IMAGES);
    n.qkv = sv_tape_input(n.tape, "qkv", SV_REAL, ROWS, 3 * WIDTH, true);
    n.policy = sv_tape_input(n.tape, "policy", SV_REAL, ROWS, 1, true);
    n.origin = sv_tape_input(n.tape, "origin", SV_INDEX, ROWS, 1, false);
    sv_tensor *x = n.qkv, *policy = n.policy, *origin = n.origin;
    if (form != PLAIN) {
        sv_tensor *order = n.order = sv_tape_live_order(n.tape, n.policy);
        sv_take take = form == REMOVED ? SV_TAKE_LIVE : SV_TAKE_ALL;
        x = sv_tape_gather_rows(n.tape, x, order, take);
        policy = sv_tape_gather_rows(n.tape, policy, order, form == REMOVED ? SV_TAKE_LIVE : SV_TAKE_ALL_LIVE);
        origin = sv_tape_gather_rows(n.tape, origin, order, take);
    }
    for (int layer = 0; layer < 2; layer++) {
        if (layer) x = sv_tape_linear(n.tape, x, sv_tape_parameter(n.tape, n.weight), NULL);
        if (form == PLAIN)
            x = sv_tape_policy_attention(n.tape, x, policy, HEADS, 0, false, clamp);
        else
            x = sv_tape_attention(n.tape, x, form == ORDERED ? policy : NULL, HEADS, clamp);
    }
    n.out = x;
    sv_tape_keep(n.tape, x);
    sv_tape_keep(n.tape, n.order);
    n.teacher = sv_tape_input(n.tape, "teacher", SV_REAL, ROWS, WIDTH, false);
    sv_tensor *loss =
        mode == SV_TRAINING
            ? sv_tape_batch_mean(n.tape, sv_tape_slice_columns(n.tape, sv_tape_masked_square(n.tape, x, n.teacher, origin, 0), 0, 1))
            : NULL;
    finish(n.tape, loss);
    return n;
}

static void net_destroy(net *n)
{
    sv_tape_destroy(n->tape);
    sv_parameters_destroy(n->set);
}

/* Image 0 keeps everything, image 1 only row 0, the others by chance. Rows that are dropped are not in the loss (origin -1). */
static bool kept(size_t image, size_t row)
{
    sv_random random = sv_random_at(image, SV_FOR_TEST, 2, row, 0);
    return row == 0 || image == 0 || (image > 1 && sv_random_uniform(&random) < 0.5);
}

static void net_run(net *n, double factor)
{
    for (size_t b = 0; b < IMAGES; b++) {
        fill_normal(sv_tape_data(n->tape, n->qkv, b), ROWS * 3 * WIDTH, 10 + b, factor);
        fill_normal(sv_tape_data(n->tape, n->teacher, b), ROWS * WIDTH, 20 + b, 1);
        for (size_t r = 0; r < ROWS; r++) {
            sv_tape_data(n->tape, n->policy, b)[r] = kept(b, r);
            ((int32_t *)(void *)sv_tape_data(n->tape, n->origin, b))[r] = kept(b, r) ? (int32_t)r : -1;
        }
    }
    sv_parameters_changed(n->set);
    forward(n->tape, IMAGES, 1);
}

static void dropped_rows_in_ordered_form_give_the_masked_gradients(void **state)
{
    (void)state;
    net a = net_create(ORDERED, SV_TRAINING, 30), b = net_create(PLAIN, SV_TRAINING, 30);
    net_run(&a, 1);
    net_run(&b, 1);
    sv_tape_backward(a.tape, 1);
    sv_tape_backward(b.tape, 1);
    size_t policy_reached = 0;
    for (size_t i = 0; i < IMAGES; i++) {
        for (size_t k = 0; k < ROWS * 3 * WIDTH; k++) {
            assert_near((double)sv_tape_gradient(a.tape, a.qkv, i)[k], (double)sv_tape_gradient(b.tape, b.qkv, i)[k], CLOSE, "dqkv", k);
            if (!kept(i, k / (3 * WIDTH))) assert_true(sv_tape_gradient(a.tape, a.qkv, i)[k] == 0);
        }
        for (size_t r = 0; r < ROWS; r++) {
            assert_near((double)sv_tape_gradient(a.tape, a.policy, i)[r], (double)sv_tape_gradient(b.tape, b.policy, i)[r], CLOSE,
                        "dpolicy", r);
            policy_reached += sv_tape_gradient(a.tape, a.policy, i)[r] != 0 && !kept(i, r);
        }
    }
    assert_true(policy_reached > IMAGES); /* dropped rows teach the policy */
    for (size_t k = 0; k < a.weight->count; k++)
        assert_near((double)a.weight->gradient[k], (double)b.weight->gradient[k], CLOSE, "dweight", k);
    net_destroy(&a);
    net_destroy(&b);
}

static void removed_rows_give_the_masked_values(void **state)
{
    (void)state;
    net a = net_create(ORDERED, SV_INFERENCE, 30), b = net_create(REMOVED, SV_INFERENCE, 30);
    net_run(&a, 1);
    net_run(&b, 1);
    for (size_t i = 0; i < IMAGES; i++) {
        const size_t rows = sv_tape_rows(b.tape, b.out, i);
        size_t expected = 0;
        for (size_t r = 0; r < ROWS; r++) expected += kept(i, r);
        assert_int_equal(rows, expected);
        assert_memory_equal(sv_tape_data(a.tape, a.out, i), sv_tape_data(b.tape, b.out, i), rows * WIDTH * sizeof(sv_real));
    }
    net_destroy(&a);
    net_destroy(&b);
}

static void scores_of_dropped_keys_far_above_the_kept_ones_stay_finite(void **state)
{
    (void)state;
    net a = net_create(ORDERED, SV_TRAINING, 80);
    net_run(&a, 30);
    sv_tape_backward(a.tape, 1);
    for (size_t i = 0; i < IMAGES; i++)
        for (size_t r = 0; r < ROWS; r++) assert_true(isfinite((double)sv_tape_gradient(a.tape, a.policy, i)[r]));
    net_destroy(&a);
}

/* The exponent of a dropped key is cut at the clamp; a small clamp changes its policy's gradient and nothing else. */
static void the_clamp_is_the_plain_forms_clamp(void **state)
{
    (void)state;
    net a = net_create(ORDERED, SV_TRAINING, 0.5), b = net_create(PLAIN, SV_TRAINING, 0.5), c = net_create(PLAIN, SV_TRAINING, 30);
    bool cut = false;
    net_run(&a, 2);
    net_run(&b, 2);
    net_run(&c, 2);
    sv_tape_backward(a.tape, 1);
    sv_tape_backward(b.tape, 1);
    sv_tape_backward(c.tape, 1);
    for (size_t i = 0; i < IMAGES; i++)
        for (size_t r = 0; r < ROWS; r++) {
            double got = (double)sv_tape_gradient(a.tape, a.policy, i)[r], uncut = (double)sv_tape_gradient(c.tape, c.policy, i)[r];
            assert_near(got, (double)sv_tape_gradient(b.tape, b.policy, i)[r], 10 * CLOSE, "dpolicy", r);
            cut = cut || fabs(got - uncut) > 1e-3 * fabs(uncut);
        }
    assert_true(cut);
    for (size_t k = 0; k < a.weight->count; k++)
        assert_near((double)a.weight->gradient[k], (double)c.weight->gradient[k], 10 * CLOSE, "dweight", k);
    net_destroy(&a);
    net_destroy(&b);
    net_destroy(&c);
}

static void macs_count_what_each_query_sees(void **state)
{
    (void)state;
    net n = net_create(ORDERED, SV_INFERENCE, 30);
    uint64_t expected = 0;
    net_run(&n, 1);
    for (size_t i = 0; i < IMAGES; i++) {
        uint64_t live = 0;
        for (size_t r = 0; r < ROWS; r++) live += kept(i, r);
        expected += 2 * 2 * (ROWS * live + ROWS - live) * WIDTH + ROWS * 3 * WIDTH * WIDTH;
    }
    assert_int_equal(sv_tape_macs(n.tape), expected);
    net_destroy(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_equals_policy_attention_where_all_rows_live),
        cmocka_unit_test(dropped_rows_in_ordered_form_give_the_masked_gradients),
        cmocka_unit_test(removed_rows_give_the_masked_values),
        cmocka_unit_test(scores_of_dropped_keys_far_above_the_kept_ones_stay_finite),
        cmocka_unit_test(the_clamp_is_the_plain_forms_clamp),
        cmocka_unit_test(macs_count_what_each_query_sees),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
