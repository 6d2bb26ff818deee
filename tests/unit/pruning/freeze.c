/* pruning/freeze.c: backbones of several stages (PiT, Swin), whose dropped tokens wait in their grid: the masked form that is trained and the form in
 * which tokens really leave are one model. */
#include "test_pruning.h"

enum { WORLDS = 80 };

/* Selectors anywhere, several in a stage too; every package form. */
static world stages_of(uint64_t seed)
{
    sv_random random = sv_random_at(seed, SV_FOR_TEST, 9, 0, 0);
    const size_t depth = seed % 2 ? 5 : 4;
    world w = { .seed = seed, .images = 1 + sv_random_below(&random, MOST_IMAGES), .backbone = seed % 2 ? "swin_test" : "pit_test" };
    sv_pruning_plan *plan = &w.options.plan;
    w.sizes = (sv_model_options){ .classes = 7, .distilled = !(seed % 2) && seed % 3 == 0 };
    for (size_t i = 0; i < depth; i++)
        if (sv_random_below(&random, 2)) plan->at[plan->stages++] = i;
    if (!plan->stages) plan->at[plan->stages++] = 1;
    for (size_t t = 0; t < plan->stages; t++) plan->keep[t] = (t ? plan->keep[t - 1] : 1) * (0.4 + 0.5 * sv_random_uniform(&random));
    plan->package = (sv_package_choice)sv_random_below(&random, 4);
    plan->empty = (sv_package_empty)sv_random_below(&random, 2);
    plan->rule = SV_RULE_GUMBEL;
    w.options.mask_clamp = 30, w.options.tau = 1, w.options.keep_bias = true;
    w.options.kl_weight = 0.5, w.options.token_weight = 0.5, w.options.ratio_weight = 2;
    return w;
}

static void masked_and_removed_with_the_same_draws_give_the_same_bits(void **state)
{
    size_t dropped = 0;
    (void)state;
    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        world w = stages_of(seed);
        w.sizes.precision = (sv_precision)(seed / 2 % SV_PRECISION_COUNT);
        world_open(&w);
        dropped += assert_masked_is_removed(&w);
        world_close(&w);
    }
    assert_true(dropped > 1000);
}

/* Keys are summed by rows instead of by windows, so not to the bit. */
static void nothing_dropped_is_the_dense_model(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 24; seed++) assert_nothing_dropped_is_dense(stages_of(seed), assert_near);
}

/* -1e6: one token alone stays where decisions are deployed, none where they are sampled. */
static void everything_or_nothing_dropped_stays_finite_forward_and_backward(void **state)
{
    static const double leans[] = { -100, 100, -1e6, 0 };
    (void)state;
    for (uint64_t seed = 0; seed < 64; seed++) {
        world w = stages_of(seed);
        w.options.plan.min_keep = 1;
        w.options.plan.rule = (sv_decision_rule)(seed / 8 % 4);
        world_open(&w);
        lean_selectors(&w, leans[seed / 2 % SV_COUNT(leans)]);
        assert_finite_both_ways(&w);
        forward(w.removal.tape, w.images, seed);
        assert_null(sv_tape_not_finite(w.removal.tape));
        for (size_t b = 0; b < w.images; b++)
            for (size_t t = 0; t < w.options.plan.stages; t++) assert_true(sv_removal_kept(&w.removal, t, b) >= 1);
        world_close(&w);
    }
}

static void a_picture_alone_gets_the_bits_it_gets_in_a_batch(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 24; seed++) {
        world w = stages_of(seed);
        w.options.plan.rule = SV_RULE_THRESHOLD;
        for (size_t t = 0; t < SV_MOST_STAGES; t++) w.options.plan.threshold[t] = 0.5;
        world_open(&w);
        assert_alone_as_in_batch(&w);
        world_close(&w);
    }
}

static void gradients_do_not_depend_on_threads_or_on_making_rows_again(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 16; seed++) {
        world one = stages_of(seed), other = stages_of(seed);
        other.sizes.recompute = true;
        world_open(&one);
        world_open(&other);
        sv_threads_set(1);
        forward(one.training.tape, one.images, seed);
        sv_tape_backward(one.training.tape, 1);
        sv_threads_set(3);
        forward(other.training.tape, other.images, seed);
        sv_tape_backward(other.training.tape, 1);
        sv_threads_set(2);
        assert_same_numbers(one.student->parameters->gradients, other.student->parameters->gradients, one.student->parameters->total, "gradients", seed);
        world_close(&one);
        world_close(&other);
    }
}

/* Selectors get a gradient through frozen cells, keys, package and losses. */
static void every_selector_learns(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 16; seed++) {
        world w = stages_of(seed);
        w.options.ratio_weight = 0;
        world_open(&w);
        forward(w.training.tape, w.images, seed);
        sv_tape_backward(w.training.tape, 1);
        for (size_t t = 0; t < w.options.plan.stages; t++) {
            char name[64];
            snprintf(name, sizeof name, "selectors.%zu.fc_out.bias", t);
            const sv_parameter *p = sv_parameters_find(w.student->parameters, name);
            if (p->gradient[0] == 0) fail_msg("world %d: selector %zu before block %zu learns nothing", (int)seed, t, w.options.plan.at[t]);
        }
        world_close(&w);
    }
}

/* ---- work ---------------------------------------------------------------------------------------------------------- */

/* PiT's work depends on counts alone. */
static void work_is_what_the_tape_counts(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed += 2) {
        world w = stages_of(seed);
        w.images = 1;
        w.options.plan.rule = SV_RULE_TOPK;
        w.options.plan.min_keep = 1;
        w.options.plan.package = seed % 4 ? SV_CHOICE_WAVG : SV_CHOICE_NONE;
        world_open(&w);
        const sv_pruning_plan *plan = &sv_pruning_options_of(w.pruning)->plan;
        bool drops = true; /* else there is no package that is counted */
        for (size_t t = 0; t < plan->stages; t++) drops = drops && plan->count[t] < plan->patches[t];
        forward(w.removal.tape, 1, seed);
        if (drops) assert_int_equal(sv_tape_macs(w.removal.tape), sv_pruned_macs(w.student, plan, plan->count));
        world_close(&w);
    }
}

/* Spec SPViT on other backbones 4.10, from the cells of each window that really live. */
static void the_work_of_swin_is_that_of_its_windows(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 41; seed += 2) {
        world w = stages_of(seed);
        sv_pruning_plan *plan = &w.options.plan;
        uint64_t pairs = 0, even = 0;
        w.images = 1;
        plan->stages = 1, plan->at[0] = 4, plan->keep[0] = 0.5, plan->package = SV_CHOICE_WAVG, plan->empty = SV_EMPTY_MASK; /* the last block, 2 x 2 cells: a window */
        if (seed % 4 == 1) plan->at[0] = 2, plan->package = SV_CHOICE_NONE;
        world_open(&w);
        forward(w.removal.tape, 1, seed);
        const size_t n = sv_removal_kept(&w.removal, 0, 0), all = sv_pruning_options_of(w.pruning)->plan.patches[0], c = all == 4 ? 32 : 16;
        const int32_t *origin = (const int32_t *)(const void *)sv_tape_data(w.removal.tape, w.removal.after[0], 0);
        if (all == 4) {
            const uint64_t package = n < 4;
            pairs = even = n * (n + package) + package * (n + 1);
        } else { /* blocks 2 and 3, windows of 2 x 2 in 4 x 4, the second shifted by one */
            for (size_t shift = 0; shift < 2; shift++) {
                uint64_t count[4] = { 0 };
                for (size_t i = 0; i < n; i++) count[((size_t)origin[i] / 4 + 4 - shift) % 4 / 2 * 2 + ((size_t)origin[i] % 4 + 4 - shift) % 4 / 2]++;
                for (size_t k = 0; k < 4; k++) pairs += count[k] * count[k];
                even += (n * n + 2) / 4;
            }
        }
        if (n < all) assert_int_equal(sv_tape_macs(w.removal.tape), sv_pruned_macs(w.student, &sv_pruning_options_of(w.pruning)->plan, &n) + 2 * c * (pairs - even));
        world_close(&w);
    }
}

static void refusals_say_what_to_do(void **state)
{
    (void)state;
    sv_pruning_options options = { .plan = { .stages = 1, .at = { 1 }, .package = SV_CHOICE_NONE }, .mask_eps = 1e-6 };
    sv_pruning *pruning = NULL;
    sv_model *model = NULL;
    sv_error err = { 0 };
    assert_ok(sv_model_create(&model, "pit_test", NULL, &err), err);
    assert_int_equal(sv_pruning_create(&pruning, model, &options, &err), SV_USAGE);
    assert_non_null(strstr(err.text, "mask_eps = 0"));
    options.mask_eps = 0, options.plan.method = SV_METHOD_DYNAMICVIT;
    assert_int_equal(sv_pruning_create(&pruning, model, &options, &err), SV_USAGE);
    assert_non_null(strstr(err.text, "pooling"));
    sv_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masked_and_removed_with_the_same_draws_give_the_same_bits),
        cmocka_unit_test(nothing_dropped_is_the_dense_model),
        cmocka_unit_test(everything_or_nothing_dropped_stays_finite_forward_and_backward),
        cmocka_unit_test(a_picture_alone_gets_the_bits_it_gets_in_a_batch),
        cmocka_unit_test(gradients_do_not_depend_on_threads_or_on_making_rows_again),
        cmocka_unit_test(every_selector_learns),
        cmocka_unit_test(work_is_what_the_tape_counts),
        cmocka_unit_test(the_work_of_swin_is_that_of_its_windows),
        cmocka_unit_test(refusals_say_what_to_do),
    };
    sv_kernels_init();
    sv_threads_set(2);
    return cmocka_run_group_tests_name("freeze", tests, NULL, NULL);
}
