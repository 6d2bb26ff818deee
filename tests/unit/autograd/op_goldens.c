/* Ops against PyTorch: values and all gradients of tests/golden/ops.h. Every loss is a sum of squares against constants. */
#include "test_selector.h"
#include "tests/golden/ops.h"

/* Numbers of size 1 to 30; in float a dozen roundings of sums of some twenty terms. */
#ifdef SIEVE_F64
static const double bound = 1e-12;
#else
static const double bound = 1e-4;
#endif

typedef struct golden {
    sv_tape *tape;
    sv_parameters *set;
    sv_tensor *terms[4];
    size_t term_count;
} golden;

static golden golden_create(void)
{
    golden g = { .tape = tape_in(SV_TRAINING, 1) };
    assert_int_equal(sv_parameters_create(&g.set, NULL), SV_OK);
    return g;
}

static void golden_destroy(golden *g)
{
    sv_tape_destroy(g->tape);
    sv_parameters_destroy(g->set);
}

static sv_parameter *parameter(golden *g, const char *name, uint32_t dims, size_t a, size_t b, size_t c, size_t d)
{
    sv_parameter *p = NULL;
    assert_int_equal(sv_parameters_add(g->set, &p, name, dims, (size_t[]){ a, b, c, d }, NULL), SV_OK);
    return p;
}

static void set_numbers(sv_real *to, const double *from, size_t count)
{
    for (size_t i = 0; i < count; i++) to[i] = (sv_real)from[i];
}

static void set_input(const golden *g, const sv_tensor *tensor, const double *from)
{
    set_numbers(sv_tape_data(g->tape, tensor, 0), from, sv_tape_rows(g->tape, tensor, 0) * sv_tensor_width(tensor));
}

/* One more sum of squares: |y - goal|^2 over all rows. Returns the goal. */
static sv_tensor *square(golden *g, sv_tensor *y)
{
    sv_tensor *goal = sv_tape_input(g->tape, "goal", SV_REAL, sv_tensor_rows(y).most, sv_tensor_width(y), false);
    sv_tensor *sum = sv_tape_masked_square(g->tape, y, goal, sv_tape_count_up(g->tape, y, 0), 0);
    g->terms[g->term_count++] = sv_tape_batch_mean(g->tape, sv_tape_slice_columns(g->tape, sum, 0, 1));
    sv_tape_keep(g->tape, y);
    return goal;
}

static void golden_finish(golden *g) { finish(g->tape, sv_tape_weighted_sum(g->tape, g->terms, g->term_count, (double[]){ 1, 1, 1, 1 })); }

static void run(golden *g)
{
    sv_parameters_changed(g->set);
    forward(g->tape, 1, 1);
    sv_tape_backward(g->tape, 1);
}

static void same(const char *what, const sv_real *got, const double *expected, size_t count)
{
    assert_non_null(got);
    for (size_t i = 0; i < count; i++) assert_near((double)got[i], expected[i], bound, what, i);
}

#define VALUES(tensor, name) same(#name, sv_tape_data(g.tape, tensor, 0), golden_##name, SV_COUNT(golden_##name))
#define GRADIENT(tensor, name) same(#name, sv_tape_gradient(g.tape, tensor, 0), golden_##name, SV_COUNT(golden_##name))
#define SET_PARAMETER(p, name) (assert_int_equal((p)->count, SV_COUNT(golden_##name)), set_numbers((p)->value, golden_##name, (p)->count))
#define PARAMETER_GRADIENT(p, name) same(#name, (p)->gradient, golden_##name, SV_COUNT(golden_##name))

static void layer_norm_is_torchs(void **state)
{
    (void)state;
    golden g = golden_create();
    sv_parameter *gain = parameter(&g, "gain", 1, 17, 0, 0, 0), *bias = parameter(&g, "bias", 1, 17, 0, 0, 0);
    assert_int_equal(sv_parameters_allocate(g.set, true, NULL), SV_OK);
    sv_tensor *x = sv_tape_input(g.tape, "x", SV_REAL, 3, 17, true);
    sv_tensor *y = sv_tape_layer_norm(g.tape, x, sv_tape_parameter(g.tape, gain), sv_tape_parameter(g.tape, bias), 1e-6),
              *goal = square(&g, y);
    golden_finish(&g);
    SET_PARAMETER(gain, norm_gain);
    SET_PARAMETER(bias, norm_bias);
    set_input(&g, x, golden_norm_x);
    set_input(&g, goal, golden_norm_y_goal);
    run(&g);
    VALUES(y, norm_y);
    GRADIENT(x, norm_d_x);
    PARAMETER_GRADIENT(gain, norm_d_gain);
    PARAMETER_GRADIENT(bias, norm_d_bias);
    golden_destroy(&g);
}

static void gelu_is_torchs(void **state)
{
    (void)state;
    golden g = golden_create();
    sv_tensor *x = sv_tape_input(g.tape, "x", SV_REAL, 3, 11, true), *y = sv_tape_gelu(g.tape, x), *goal = square(&g, y);
    golden_finish(&g);
    set_input(&g, x, golden_gelu_x);
    set_input(&g, goal, golden_gelu_y_goal);
    run(&g);
    VALUES(y, gelu_y);
    GRADIENT(x, gelu_d_x);
    golden_destroy(&g);
}

static void patch_embed_is_torchs_convolution(void **state)
{
    (void)state;
    golden g = golden_create();
    sv_parameter *weight = parameter(&g, "weight", 4, 5, 3, 2, 2), *bias = parameter(&g, "bias", 1, 5, 0, 0, 0);
    assert_int_equal(sv_parameters_allocate(g.set, true, NULL), SV_OK);
    sv_tensor *picture = sv_tape_input(g.tape, "picture", SV_REAL, 1, 72, true);
    sv_tensor *y = sv_tape_patch_embed(g.tape, picture, sv_tape_parameter(g.tape, weight), sv_tape_parameter(g.tape, bias), 4, 6),
              *goal = square(&g, y);
    golden_finish(&g);
    SET_PARAMETER(weight, patches_weight);
    SET_PARAMETER(bias, patches_bias);
    set_input(&g, picture, golden_patches_picture);
    set_input(&g, goal, golden_patches_y_goal);
    run(&g);
    VALUES(y, patches_y);
    GRADIENT(picture, patches_d_picture);
    PARAMETER_GRADIENT(weight, patches_d_weight);
    PARAMETER_GRADIENT(bias, patches_d_bias);
    golden_destroy(&g);
}

typedef struct attention_case {
    const double *qkv, *policy, *y, *goal, *d_qkv, *d_policy;
    double eps;
    bool top_all;
} attention_case;

static void check_plain(const attention_case *c, bool with_policy)
{
    golden g = golden_create();
    sv_tensor *qkv = sv_tape_input(g.tape, "qkv", SV_REAL, 6, 24, true), *policy = sv_tape_input(g.tape, "policy", SV_REAL, 6, 1, true);
    sv_tensor *y = with_policy ? sv_tape_policy_attention(g.tape, qkv, policy, 2, c->eps, c->top_all, 80)
                               : sv_tape_attention(g.tape, qkv, NULL, 2, 80);
    sv_tensor *goal = square(&g, y);
    golden_finish(&g);
    set_input(&g, qkv, c->qkv);
    set_input(&g, policy, c->policy);
    set_input(&g, goal, c->goal);
    run(&g);
    same("y", sv_tape_data(g.tape, y, 0), c->y, 48);
    same("dqkv", sv_tape_gradient(g.tape, qkv, 0), c->d_qkv, 144);
    if (with_policy) same("dpolicy", sv_tape_gradient(g.tape, policy, 0), c->d_policy, 6);
    golden_destroy(&g);
}

static void attention_is_softmax_attention(void **state)
{
    (void)state;
    check_plain(&(attention_case){ golden_attention_qkv, golden_attention_policy, golden_attention_y, golden_attention_y_goal,
                                   golden_attention_d_qkv, NULL, 0, false },
                false);
}

static void policy_attention_is_the_formula_with_and_without_eps(void **state)
{
    (void)state;
    check_plain(&(attention_case){ golden_masked_qkv, golden_masked_policy, golden_masked_y, golden_masked_y_goal, golden_masked_d_qkv,
                                   golden_masked_d_policy, 0, false },
                true);
    check_plain(&(attention_case){ golden_reference_qkv, golden_reference_policy, golden_reference_y, golden_reference_y_goal,
                                   golden_reference_d_qkv, golden_reference_d_policy, 1e-6, true },
                true);
}

static void losses_of_logits_are_torchs(void **state)
{
    (void)state;
    for (int kl = 0; kl < 2; kl++) {
        golden g = golden_create();
        sv_tensor *logits = sv_tape_input(g.tape, "logits", SV_REAL, 1, 10, true),
                  *other = sv_tape_input(g.tape, "other", SV_REAL, 1, 10, false);
        sv_tensor *y = kl ? sv_tape_kl(g.tape, logits, other) : sv_tape_cross_entropy(g.tape, logits, other), *goal = square(&g, y);
        golden_finish(&g);
        set_input(&g, logits, kl ? golden_kl_logits : golden_entropy_logits);
        set_input(&g, other, kl ? golden_kl_teacher : golden_entropy_target);
        set_input(&g, goal, kl ? golden_kl_y_goal : golden_entropy_y_goal);
        run(&g);
        same("y", sv_tape_data(g.tape, y, 0), kl ? golden_kl_y : golden_entropy_y, 1);
        same("dlogits", sv_tape_gradient(g.tape, logits, 0), kl ? golden_kl_d_logits : golden_entropy_d_logits, 10);
        golden_destroy(&g);
    }
}

enum { TOKENS = 7, PATCHES = 5, WIDTH = 24, HEADS = 3, HEAD = 8 };

#define SET_LAYER(layer) (SET_PARAMETER(s.layer.weight, selector_##layer##_weight), SET_PARAMETER(s.layer.bias, selector_##layer##_bias))
#define LAYER_GRADIENT(layer)                                                                                                              \
    (PARAMETER_GRADIENT(s.layer.weight, selector_d_##layer##_weight), PARAMETER_GRADIENT(s.layer.bias, selector_d_##layer##_bias))

/* The whole selector as the models record it, decision and package token behind it. */
static void selector_decision_and_package_are_those_of_the_spec(void **state)
{
    (void)state;
    golden g = golden_create();
    selector s = selector_of(g.set, 0, HEADS, HEAD);
    assert_int_equal(sv_parameters_allocate(g.set, true, NULL), SV_OK);
    sv_tensor *u = sv_tape_input(g.tape, "u", SV_REAL, TOKENS, WIDTH, true),
              *before = sv_tape_input(g.tape, "before", SV_REAL, TOKENS, 1, true);
    sv_tensor *origin = sv_tape_input(g.tape, "origin", SV_INDEX, TOKENS, 1, false), *score = NULL;
    sv_tensor *noise = sv_tape_input(g.tape, "noise", SV_REAL, PATCHES, 1, false);
    sv_tensor *a = selector_record(g.tape, &s, u, before, HEADS, HEAD, &score);
    sv_tensor *keep = sv_tape_decide(g.tape, a, before, origin, noise, 1, 0, false);
    sv_tensor *package = sv_tape_package(g.tape, u, before, keep, score, SV_PACKAGE_WAVG, SV_EMPTY_MASK, NULL);
    sv_tensor *goals[] = { square(&g, a), square(&g, score), square(&g, keep), square(&g, package) };
    golden_finish(&g);
    SET_LAYER(norm), SET_LAYER(fc_in), SET_LAYER(fc1), SET_LAYER(fc2), SET_LAYER(fc_out), SET_LAYER(head_fc1), SET_LAYER(head_fc2);
    set_input(&g, u, golden_selector_u);
    set_input(&g, before, golden_selector_before);
    set_input(&g, noise, golden_selector_noise);
    for (int32_t r = 0; r < TOKENS; r++) ((int32_t *)(void *)sv_tape_data(g.tape, origin, 0))[r] = r < PATCHES ? r : -1;
    set_input(&g, goals[0], golden_selector_a_goal);
    set_input(&g, goals[1], golden_selector_score_goal);
    set_input(&g, goals[2], golden_selector_keep_goal);
    set_input(&g, goals[3], golden_selector_package_goal);
    run(&g);
    VALUES(a, selector_a);
    VALUES(score, selector_score);
    VALUES(keep, selector_keep);
    VALUES(package, selector_package);
    GRADIENT(u, selector_d_u);
    GRADIENT(before, selector_d_before);
    LAYER_GRADIENT(norm), LAYER_GRADIENT(fc_in), LAYER_GRADIENT(fc1), LAYER_GRADIENT(fc2), LAYER_GRADIENT(fc_out), LAYER_GRADIENT(head_fc1),
        LAYER_GRADIENT(head_fc2);
    golden_destroy(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layer_norm_is_torchs),
        cmocka_unit_test(gelu_is_torchs),
        cmocka_unit_test(patch_embed_is_torchs_convolution),
        cmocka_unit_test(attention_is_softmax_attention),
        cmocka_unit_test(policy_attention_is_the_formula_with_and_without_eps),
        cmocka_unit_test(losses_of_logits_are_torchs),
        cmocka_unit_test(selector_decision_and_package_are_those_of_the_spec),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
