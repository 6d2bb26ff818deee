/* pruning/{training,removal,stream}.c: the masked form that is trained and the form in which tokens really leave are one model, whatever
 * the sizes, the plan and the decisions. */
#include "test_pruning.h"

enum { WORLDS = 150 };

static void training_and_removal_with_the_same_draws_give_the_same_bits(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        world w = world_of(seed);
        w.sizes.precision = (sv_precision)(seed % SV_PRECISION_COUNT);
        world_open(&w);
        assert_masked_is_removed(&w);
        world_close(&w);
    }
}

/* The reference's form with its maximum over all keys, eps 0: the same function, other sums. */
static void the_plain_masked_form_equals_the_exact_one(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        world plain = world_of(seed), exact = world_of(seed);
        plain.options.mask_all = true;
        world_open(&plain);
        world_open(&exact);
        forward(plain.training.tape, plain.images, seed);
        forward(exact.training.tape, exact.images, seed);
        for (size_t b = 0; b < plain.images; b++)
            for (size_t k = 0; k < plain.sizes.classes; k++) {
                double a = (double)sv_tape_data(plain.training.tape, plain.training.logits, b)[k], c = (double)sv_tape_data(exact.training.tape, exact.training.logits, b)[k];
                if (!(fabs(a - c) < 1e-5)) fail_msg("world %d: logit %zu of picture %zu: plain %.9g, exact %.9g", (int)seed, k, b, a, c);
            }
        sv_tape_backward(plain.training.tape, 1);
        sv_tape_backward(exact.training.tape, 1);
        assert_null(sv_tape_not_finite(plain.training.tape));
        for (size_t i = 0; i < plain.student->parameters->count; i++) {
            const sv_parameter *p = plain.student->parameters->items[i], *e = exact.student->parameters->items[i];
            double off = 0, size = 1e-3;
            for (size_t k = 0; k < p->count; k++) {
                off = fmax(off, fabs((double)p->gradient[k] - (double)e->gradient[k]));
                size = fmax(size, fabs((double)e->gradient[k]));
            }
            if (!(off <= 1e-3 * size)) fail_msg("world %d: gradient of %s is off by %.3g of %.3g", (int)seed, p->name, off, size);
        }
        world_close(&plain);
        world_close(&exact);
    }
}

static void nothing_dropped_is_the_dense_model(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) assert_nothing_dropped_is_dense(world_of(seed), assert_same_numbers);
}

static void everything_or_nothing_dropped_stays_finite_forward_and_backward(void **state)
{
    static const double leans[] = { -100, 100, -1e6 };
    (void)state;
    for (uint64_t seed = 0; seed < 120; seed++) {
        world w = world_of(seed);
        w.options.mask_eps = seed % 4 == 3 ? 1e-6 : 0;
        world_open(&w);
        lean_selectors(&w, leans[seed % SV_COUNT(leans)]);
        assert_finite_both_ways(&w);
        world_close(&w);
    }
}

static void min_keep_patches_stay_whatever_the_selectors_say(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        world w = world_of(seed);
        size_t patches = w.sizes.image / 4 * (w.sizes.image / 4);
        w.options.plan.rule = (sv_decision_rule)(seed % 4);
        w.options.plan.min_keep = patches < 3 ? patches : 1 + seed % 3;
        for (size_t t = 0; t < w.options.plan.stages; t++) w.options.plan.threshold[t] = 0.5, w.options.plan.keep[t] = 1e-3;
        world_open(&w);
        lean_selectors(&w, -60);
        forward(w.removal.tape, w.images, seed);
        for (size_t b = 0; b < w.images; b++)
            for (size_t t = 0; t < w.options.plan.stages; t++) assert_int_equal(sv_removal_kept(&w.removal, t, b), w.options.plan.min_keep);
        assert_null(sv_tape_not_finite(w.removal.tape));
        world_close(&w);
    }
}

static void topk_keeps_the_counts_of_the_plan(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        world w = world_of(seed);
        w.options.plan.rule = SV_RULE_TOPK;
        w.options.plan.min_keep = 1;
        world_open(&w);
        forward(w.removal.tape, w.images, seed);
        for (size_t b = 0; b < w.images; b++)
            for (size_t t = 0; t < w.options.plan.stages; t++) assert_int_equal(sv_removal_kept(&w.removal, t, b), sv_pruning_options_of(w.pruning)->plan.count[t]);
        world_close(&w);
    }
}

/* What is not kept is made again: by the same steps from the same numbers. */
static void computing_again_gives_the_gradients_of_keeping(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        world keep = world_of(seed), again = world_of(seed);
        keep.sizes.precision = again.sizes.precision = (sv_precision)(seed / 2 % SV_PRECISION_COUNT);
        keep.options.mask_eps = again.options.mask_eps = seed % 5 == 4 ? 1e-6 : 0;
        keep.sizes.drop_path = again.sizes.drop_path = seed % 2 ? 0.3 : 0;
        keep.sizes.dropout = again.sizes.dropout = seed % 7 == 6 ? 0.2 : 0;
        again.sizes.recompute = true;
        world_open(&keep);
        world_open(&again);
        for (size_t step = 0; step < 2; step++) {
            forward(keep.training.tape, keep.images, seed + step);
            forward(again.training.tape, again.images, seed + step);
            sv_tape_backward(keep.training.tape, 1);
            sv_tape_backward(again.training.tape, 1);
        }
        assert_same_numbers(keep.student->parameters->gradients, again.student->parameters->gradients, keep.student->parameters->total, "gradients", seed);
        assert_true(sv_tape_bytes_planned(again.training.tape).stored < sv_tape_bytes_planned(keep.training.tape).stored);
        world_close(&keep);
        world_close(&again);
    }
}

static void a_picture_alone_gets_the_bits_it_gets_in_a_batch(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        world w = world_of(seed);
        w.sizes.precision = (sv_precision)(seed % SV_PRECISION_COUNT);
        w.options.plan.rule = (sv_decision_rule)(seed % 3);
        w.options.plan.min_keep = 1;
        for (size_t t = 0; t < w.options.plan.stages; t++) w.options.plan.threshold[t] = w.options.plan.keep[t];
        world_open(&w);
        assert_alone_as_in_batch(&w);
        world_close(&w);
    }
}

/* Gradients are summed in lanes, whoever works on them. */
static void a_training_step_gives_the_same_bits_on_any_number_of_threads(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        world one = world_of(seed), many = world_of(seed);
        world_open(&one);
        world_open(&many);
        sv_threads_set(1);
        forward(one.training.tape, one.images, seed);
        sv_tape_backward(one.training.tape, 1);
        for (size_t threads = 2; threads < 4; threads++) {
            sv_threads_set(threads);
            sv_parameters_zero_gradients(many.student->parameters);
            forward(many.training.tape, many.images, seed);
            sv_tape_backward(many.training.tape, 1);
            assert_same_numbers(sv_tape_data(one.training.tape, one.training.loss, 0), sv_tape_data(many.training.tape, many.training.loss, 0), 1, "loss", seed);
            assert_same_numbers(one.student->parameters->gradients, many.student->parameters->gradients, one.student->parameters->total, "gradients", seed);
        }
        world_close(&one);
        world_close(&many);
    }
    sv_threads_set(0);
}

/* DynamicViT by the best k: the masked form, its noise forced to the choice of the deployed one, answers as that one does (spec 4.5, 4.6). */
static void the_masked_form_forced_to_the_best_k_answers_as_removal(void **state)
{
    (void)state;
    for (uint64_t seed = 2; seed < 3 * 40; seed += 3) {
        world w = world_of(seed);
        sv_training_choice choice = { .images = w.images, .lanes = 3, .given_noise = true };
        sv_training_tape masked;
        sv_error err = { 0 };
        w.options.plan.rule = SV_RULE_TOPK;
        w.options.plan.min_keep = 1;
        world_open(&w);
        forward(w.removal.tape, w.images, seed);
        assert_ok(sv_training_record(&masked, w.pruning, w.teacher, &choice, &err), err);
        sv_training_set_goals(&masked, &w.options, w.options.plan.keep, NULL, 0);
        for (size_t b = 0; b < w.images; b++) {
            fill_picture(masked.tape, masked.picture, b, b);
            for (size_t t = 0; t < w.options.plan.stages; t++) {
                const int32_t *left = (const int32_t *)(const void *)sv_tape_data(w.removal.tape, w.removal.after[t], b);
                sv_real *noise = sv_tape_data(masked.tape, masked.noise[t], b);
                for (size_t j = 0; j < sv_model_patches(w.student); j++) noise[j] = -1e4f;
                for (size_t r = 0; r < sv_tape_rows(w.removal.tape, w.removal.after[t], b); r++)
                    if (left[r] >= 0) noise[left[r]] = 1e4f;
            }
        }
        forward(masked.tape, w.images, seed);
        for (size_t b = 0; b < w.images; b++)
            assert_same_numbers(sv_tape_data(masked.tape, masked.logits, b), sv_tape_data(w.removal.tape, w.removal.logits, b), w.sizes.classes, "logits", seed);
        sv_training_clear(&masked);
        world_close(&w);
    }
}

static void the_work_counted_by_formula_is_the_work_done(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < WORLDS; seed++) assert_work_by_formula(world_of(seed));
}

static void drop_path_of_the_student_is_not_the_teachers(void **state)
{
    (void)state;
    world calm = world_of(4), wild = world_of(4);
    wild.sizes.drop_path = 0.5, wild.sizes.dropout = 0.3;
    world_open(&calm);
    world_open(&wild);
    forward(calm.training.tape, calm.images, 4);
    forward(wild.training.tape, wild.images, 4);
    for (size_t b = 0; b < calm.images; b++)
        assert_same_numbers(sv_tape_data(calm.training.tape, calm.training.teacher_logits, b), sv_tape_data(wild.training.tape, wild.training.teacher_logits, b),
                            calm.sizes.classes, "teacher", 4);
    assert_true(sv_tape_data(calm.training.tape, calm.training.loss, 0)[0] < sv_tape_data(wild.training.tape, wild.training.loss, 0)[0]
                || sv_tape_data(calm.training.tape, calm.training.loss, 0)[0] > sv_tape_data(wild.training.tape, wild.training.loss, 0)[0]);
    world_close(&calm);
    world_close(&wild);
}

static void the_threshold_parts_the_values_at_the_wanted_count(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 0, 0, 0);
        double values[50];
        size_t count = 1 + sv_random_below(&random, 50), wanted = sv_random_below(&random, count + 1), pass = 0;
        for (size_t i = 0; i < count; i++) values[i] = sv_random_uniform(&random);
        double threshold = sv_threshold_for(values, count, (double)wanted);
        for (size_t i = 0; i < count; i++) pass += values[i] >= threshold;
        assert_int_equal(pass, wanted);
    }
    assert_true(sv_threshold_for(NULL, 0, 3) <= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_and_removal_with_the_same_draws_give_the_same_bits),
        cmocka_unit_test(the_plain_masked_form_equals_the_exact_one),
        cmocka_unit_test(nothing_dropped_is_the_dense_model),
        cmocka_unit_test(everything_or_nothing_dropped_stays_finite_forward_and_backward),
        cmocka_unit_test(min_keep_patches_stay_whatever_the_selectors_say),
        cmocka_unit_test(topk_keeps_the_counts_of_the_plan),
        cmocka_unit_test(computing_again_gives_the_gradients_of_keeping),
        cmocka_unit_test(a_picture_alone_gets_the_bits_it_gets_in_a_batch),
        cmocka_unit_test(a_training_step_gives_the_same_bits_on_any_number_of_threads),
        cmocka_unit_test(the_masked_form_forced_to_the_best_k_answers_as_removal),
        cmocka_unit_test(the_work_counted_by_formula_is_the_work_done),
        cmocka_unit_test(drop_path_of_the_student_is_not_the_teachers),
        cmocka_unit_test(the_threshold_parts_the_values_at_the_wanted_count),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
