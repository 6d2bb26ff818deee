/* Two pruning stages as a model records them, in the plain masked form (every row where it was, every row with its gradient) and with kept
 * rows in front (rows dropped earlier behind them, without a gradient of their own): the same losses, the same gradients. */
#include "test_selector.h"

enum { PATCHES = 8, WIDTH = 16, HEADS = 2, HEAD = WIDTH / HEADS, IMAGES = 4, STAGES = 2 };

typedef enum net_form { PLAIN, ORDERED } net_form;

typedef struct net {
    sv_parameters *set;
    sv_tape *tape;
    selector selectors[STAGES];
    layer qkv[STAGES];
    sv_tensor *x, *noise[STAGES], *shares[STAGES], *loss;
} net;

/* What a stage hands on: tokens, their policy, their origin (-1: class and package tokens). */
typedef struct tokens {
    sv_tensor *x, *policy, *origin;
} tokens;

static tokens stage_record(net *n, net_form form, size_t stage, tokens in)
{
    sv_tape *t = n->tape;
    sv_tensor *score = NULL, *some = NULL, *u = sv_tape_slice_rows(t, in.x, 1, 0), *order = NULL;
    sv_tensor *before = sv_tape_slice_rows(t, in.policy, 1, 0), *origin = sv_tape_slice_rows(t, in.origin, 1, 0);
    n->noise[stage] = sv_tape_input(t, "noise", SV_REAL, PATCHES, 1, false);
    sv_tensor *a = selector_record(t, &n->selectors[stage], u, before, HEADS, HEAD, &score);
    sv_tensor *keep = sv_tape_decide(t, a, before, origin, n->noise[stage], 1, stage, false);
    sv_tensor *package = sv_tape_package(t, u, before, keep, score, SV_PACKAGE_WAVG, SV_EMPTY_MASK, &some);
    n->shares[stage] = sv_tape_kept_share(t, keep, origin, PATCHES);
    sv_tape_keep(t, n->shares[stage]);
    tokens out = { .x = sv_tape_concat_rows(t, in.x, package),
                   .origin = sv_tape_concat_rows(t, in.origin, sv_tape_fill_index(t, in.x, 1, -1)) };
    out.policy = sv_tape_concat_rows(t, sv_tape_concat_rows(t, sv_tape_slice_rows(t, in.policy, 0, 1), keep), some);
    if (form == ORDERED) {
        order = sv_tape_live_order(t, out.policy);
        out.x = sv_tape_gather_rows(t, out.x, order, SV_TAKE_ALL);
        out.origin = sv_tape_gather_rows(t, out.origin, order, SV_TAKE_ALL);
        out.policy = sv_tape_gather_rows(t, out.policy, order, SV_TAKE_ALL_LIVE);
    }
    sv_tensor *qkv = sv_tape_linear(t, out.x, sv_tape_parameter(t, n->qkv[stage].weight), sv_tape_parameter(t, n->qkv[stage].bias));
    out.x = sv_tape_add(t, out.x,
                        form == ORDERED ? sv_tape_attention(t, qkv, out.policy, HEADS, 30)
                                        : sv_tape_policy_attention(t, qkv, out.policy, HEADS, 0, false, 30));
    sv_tape_cut(t);
    return out;
}

static net net_create(net_form form)
{
    net n = { .tape = tape_in(SV_TRAINING, IMAGES) };
    assert_int_equal(sv_parameters_create(&n.set, NULL), SV_OK);
    for (int s = 0; s < STAGES; s++) {
        n.selectors[s] = selector_of(n.set, s, HEADS, HEAD);
        n.qkv[s] = layer_of(n.set, "qkv", s, 3 * WIDTH, WIDTH);
    }
    assert_int_equal(sv_parameters_allocate(n.set, true, NULL), SV_OK);
    fill_normal(n.set->values, n.set->total, 8, 0.5);
    n.x = sv_tape_input(n.tape, "x", SV_REAL, 1 + PATCHES, WIDTH, true);
    tokens in = { n.x, sv_tape_fill(n.tape, n.x, 0, 1), sv_tape_count_up(n.tape, n.x, -1) };
    for (size_t s = 0; s < STAGES; s++) in = stage_record(&n, form, s, in);
    sv_tensor *terms[1 + STAGES] = { square_loss(n.tape, sv_tape_slice_rows(n.tape, in.x, 0, 1)) };
    for (size_t s = 0; s < STAGES; s++) terms[1 + s] = sv_tape_batch_mean(n.tape, n.shares[s]);
    n.loss = sv_tape_weighted_sum(n.tape, terms, 1 + STAGES, (double[]){ 0.01, 1, -2 });
    finish(n.tape, n.loss);
    return n;
}

/* Image 0 drops nothing at the first stage, image 1 nothing at all, image 2 everything at the second stage, image 3 a few at
 * each, with noise that does not silence the scores. */
static void net_run(net *n)
{
    for (size_t b = 0; b < IMAGES; b++) {
        fill_normal(sv_tape_data(n->tape, n->x, b), (1 + PATCHES) * WIDTH, 40 + b, 1);
        for (size_t s = 0; s < STAGES; s++) {
            fill_normal(sv_tape_data(n->tape, n->noise[s], b), PATCHES, 50 + b + 10 * s, 2);
            for (size_t r = 0; r < PATCHES && ((b == 0 && s == 0) || b == 1 || (b == 2 && s == 1)); r++)
                sv_tape_data(n->tape, n->noise[s], b)[r] = b == 2 ? -50 : 50;
            for (size_t r = 0; r < PATCHES && b == 3; r++) sv_tape_data(n->tape, n->noise[s], b)[r] = r % 4 == s ? -4 : 4;
        }
    }
    sv_parameters_changed(n->set);
    forward(n->tape, IMAGES, 1);
    sv_tape_backward(n->tape, 1);
}

static void net_destroy(net *n)
{
    sv_tape_destroy(n->tape);
    sv_parameters_destroy(n->set);
}

static void two_stages_in_ordered_form_give_the_masked_losses_and_gradients(void **state)
{
    (void)state;
    net a = net_create(ORDERED), b = net_create(PLAIN);
    double most = 0;
    net_run(&a);
    net_run(&b);
    assert_near((double)sv_tape_data(a.tape, a.loss, 0)[0], (double)sv_tape_data(b.tape, b.loss, 0)[0], CLOSE, "loss", 0);
    for (size_t i = 0; i < IMAGES; i++) {
        for (size_t s = 0; s < STAGES; s++) assert_true(sv_tape_data(a.tape, a.shares[s], i)[0] == sv_tape_data(b.tape, b.shares[s], i)[0]);
        for (size_t k = 0; k < (1 + PATCHES) * WIDTH; k++)
            assert_near((double)sv_tape_gradient(a.tape, a.x, i)[k], (double)sv_tape_gradient(b.tape, b.x, i)[k], 10 * CLOSE, "dx", k);
    }
    for (size_t k = 0; k < a.set->total; k++) most = fmax(most, fabs((double)b.set->gradients[k]));
    assert_true(most > 0.01);
    for (size_t k = 0; k < a.set->total; k++)
        assert_near((double)a.set->gradients[k] / most, (double)b.set->gradients[k] / most, 10 * CLOSE, "parameter gradient", k);
    net_destroy(&a);
    net_destroy(&b);
}

static void the_images_are_what_they_are_meant_to_be(void **state)
{
    (void)state;
    net n = net_create(ORDERED);
    net_run(&n);
#define SHARE(stage, image) sv_tape_data(n.tape, n.shares[stage], image)[0]
    assert_true(SHARE(0, 0) == 1 && SHARE(1, 0) < 1);
    assert_true(SHARE(0, 1) == 1 && SHARE(1, 1) == 1);
    assert_true(SHARE(0, 2) > 0 && SHARE(0, 2) < 1 && SHARE(1, 2) == 0);
    assert_true(SHARE(0, 3) < 1 && SHARE(1, 3) > 0 && SHARE(1, 3) < SHARE(0, 3));
    net_destroy(&n);
}

/* The ops that read rows which are not live, on a tensor that is made again in backward: such rows must be made again too. */
static sv_tape *rebuilt(net_form form, sv_tensor *in[4])
{
    sv_tape *t = tape_in(SV_TRAINING, IMAGES);
    in[0] = sv_tape_input(t, "x", SV_REAL, PATCHES, WIDTH, true);
    for (size_t i = 1; i < 4; i++) in[i] = sv_tape_input(t, "policy", SV_REAL, PATCHES, 1, true);
    sv_tensor *x = in[0], *policy = in[1], *after = in[2], *score = in[3];
    if (form == ORDERED) {
        sv_tensor *order = sv_tape_live_order(t, policy);
        x = sv_tape_gather_rows(t, x, order, SV_TAKE_ALL);
        policy = sv_tape_gather_rows(t, policy, order, SV_TAKE_ALL_LIVE);
        after = sv_tape_gather_rows(t, after, order, SV_TAKE_ALL_LIVE);
        score = sv_tape_gather_rows(t, score, order, SV_TAKE_ALL);
    }
    sv_tensor *mean = sv_tape_weighted_mean(t, sv_tape_gelu(t, x), policy, 1);
    sv_tensor *package =
        sv_tape_package(t, sv_tape_gelu(t, x), policy, after, sv_tape_gelu(t, score), SV_PACKAGE_WAVG, SV_EMPTY_MASK, NULL);
    finish(t, square_loss(t, sv_tape_add(t, mean, package)));
    for (size_t b = 0; b < IMAGES; b++) {
        fill_normal(sv_tape_data(t, in[0], b), PATCHES * WIDTH, b, 1);
        for (size_t r = 0; r < PATCHES; r++) {
            sv_tape_data(t, in[1], b)[r] = r == 0 || (r + b) % 3 != 0;
            sv_tape_data(t, in[2], b)[r] = (r == 0 || (r + b) % 3 != 0) && (r + b) % 4 != 0;
            sv_tape_data(t, in[3], b)[r] = (sv_real)(1 + 0.1 * (double)r);
        }
    }
    forward(t, IMAGES, 1);
    sv_tape_backward(t, 1);
    return t;
}

static void dead_rows_of_rebuilt_tensors_are_rebuilt_where_they_are_read(void **state)
{
    (void)state;
    sv_tensor *a[4], *b[4];
    sv_tape *ordered = rebuilt(ORDERED, a), *plain = rebuilt(PLAIN, b);
    for (size_t i = 0; i < 4; i++)
        for (size_t image = 0; image < IMAGES; image++)
            for (size_t k = 0; k < PATCHES * (i ? 1 : WIDTH); k++)
                assert_near((double)sv_tape_gradient(ordered, a[i], image)[k], (double)sv_tape_gradient(plain, b[i], image)[k], CLOSE,
                            "gradient", k);
    sv_tape_destroy(ordered);
    sv_tape_destroy(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_stages_in_ordered_form_give_the_masked_losses_and_gradients),
        cmocka_unit_test(dead_rows_of_rebuilt_tensors_are_rebuilt_where_they_are_read),
        cmocka_unit_test(the_images_are_what_they_are_meant_to_be),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
