/* A small model with selectors of any method, drawn from a seed, in its training form and its deployed form. */
#ifndef SIEVE_TESTS_PRUNING_TEST_PRUNING_H
#define SIEVE_TESTS_PRUNING_TEST_PRUNING_H

#include "tests/unit/base/test_base.h"

#include <math.h>

#include "kernels/kernels.h"
#include "pruning/pruning.h"

enum { MOST_IMAGES = 5 };

typedef struct world {
    uint64_t seed;
    size_t images;
    const char *backbone;       /* NULL: vit_test */
    sv_model_options sizes;
    sv_pruning_options options;
    sv_model *student, *teacher;
    sv_pruning *pruning;
    sv_training_tape training;
    sv_removal_tape removal;    /* by the same draws as training */
} world;

/* Sizes and plan from the seed: 1 to 49 patches, with and without distillation token, 0 to 5 selectors anywhere, every method and package
 * form. */
static inline world world_of(uint64_t seed)
{
    sv_random random = sv_random_at(seed, SV_FOR_TEST, 0, 0, 0);
    world w = { .seed = seed, .images = 1 + sv_random_below(&random, MOST_IMAGES) };
    size_t side = 1 + sv_random_below(&random, 7), heads = 1 + sv_random_below(&random, 4), depth = 1 + sv_random_below(&random, 5);
    w.sizes = (sv_model_options){ .image = 4 * side, .patch = 4, .heads = heads, .width = heads * 4 * (1 + sv_random_below(&random, 5)),
                                  .depth = depth, .mlp_ratio = 2, .classes = 2 + sv_random_below(&random, 6), .distilled = sv_random_below(&random, 2) != 0 };
    sv_pruning_plan *plan = &w.options.plan;
    for (size_t i = 0; i < depth; i++)
        if (plan->stages < SV_MOST_STAGES && sv_random_below(&random, 2)) plan->at[plan->stages++] = i;
    for (size_t t = 0; t < plan->stages; t++) plan->keep[t] = (t ? plan->keep[t - 1] : 1) * (0.4 + 0.6 * sv_random_uniform(&random));
    plan->package = (sv_package_choice)sv_random_below(&random, 4);
    plan->empty = (sv_package_empty)sv_random_below(&random, 2);
    plan->rule = SV_RULE_GUMBEL;
    if (seed % 3 == 2) plan->method = SV_METHOD_DYNAMICVIT, plan->package = SV_CHOICE_NONE, w.options.ratio_per_image = true;
    w.options.mask_clamp = 30, w.options.tau = 1;
    w.options.kl_weight = 0.5, w.options.token_weight = 0.5, w.options.ratio_weight = 2;
    w.options.keep_bias = true;
    return w;
}

/* Selectors that answer differently from token to token. */
static inline void wake_selectors(sv_model *model, uint64_t seed)
{
    for (size_t i = 0; i < model->parameters->count; i++) {
        sv_parameter *p = model->parameters->items[i];
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 1, i, 0);
        if (sv_name_selects(p->name) && p->dims == 2)
            for (size_t k = 0; k < p->count; k++) p->value[k] = (sv_real)(0.5 * sv_random_normal(&random));
    }
    sv_parameters_changed(model->parameters);
}

/* Every output of every selector moved by so much: above 40 nothing is dropped, below -40 everything. */
static inline void lean_selectors(world *w, double by)
{
    for (size_t t = 0; t < w->options.plan.stages; t++) {
        char name[64];
        snprintf(name, sizeof name, w->options.plan.method == SV_METHOD_SPVIT ? "selectors.%zu.fc_out.bias" : "score_predictor.%zu.out_conv.4.bias", t);
        sv_parameters_find(w->student->parameters, name)->value[0] = (sv_real)by;
    }
    sv_parameters_changed(w->student->parameters);
}

static inline void fill_picture(const sv_tape *tape, const sv_tensor *picture, size_t image, size_t sample)
{
    sv_random random = sv_random_at(sample, SV_FOR_TEST, 2, 0, 0);
    sv_real *data = sv_tape_data(tape, picture, image);
    for (size_t i = 0; i < sv_tensor_width(picture); i++) data[i] = (sv_real)sv_random_normal(&random);
}

static inline void world_open(world *w)
{
    sv_training_choice choice = { .images = w->images, .lanes = 3, .details = true };
    sv_error err = { 0 };
    const char *backbone = w->backbone ? w->backbone : "vit_test";
    assert_ok(sv_model_create(&w->student, backbone, &w->sizes, &err), err);
    sv_plan_fit(&w->options.plan, w->student);
    sv_plan_set_keep(&w->options.plan, w->options.plan.keep);
    assert_ok(sv_pruning_create(&w->pruning, w->student, &w->options, &err), err);
    assert_ok(sv_model_allocate(w->student, true, &err), err);
    assert_ok(sv_model_create(&w->teacher, backbone, &w->sizes, &err), err);
    assert_ok(sv_model_allocate(w->teacher, false, &err), err);
    sv_model_initialise(w->student, w->seed);
    sv_model_initialise(w->teacher, w->seed + 1);
    sv_pruning_initialise(w->pruning, w->seed);
    wake_selectors(w->student, w->seed);
    assert_ok(sv_training_record(&w->training, w->pruning, w->teacher, &choice, &err), err);
    assert_ok(sv_removal_record(&w->removal, w->pruning, &w->options.plan, w->images, &err), err);
    for (size_t b = 0; b < w->images; b++) {
        fill_picture(w->training.tape, w->training.picture, b, b);
        fill_picture(w->removal.tape, w->removal.picture, b, b);
        sv_tape_data(w->training.tape, w->training.target, b)[b % w->sizes.classes] = 1;
    }
    sv_training_set_goals(&w->training, &w->options, w->options.plan.keep, NULL, 0);
}

static inline void world_close(world *w)
{
    sv_training_clear(&w->training);
    sv_removal_clear(&w->removal);
    sv_pruning_destroy(w->pruning);
    sv_model_destroy(w->student);
    sv_model_destroy(w->teacher);
}

static inline void forward(sv_tape *tape, size_t images, uint64_t seed)
{
    sv_step step = { .images = images, .seed = seed, .epoch = 1 };
    sv_error err = { 0 };
    assert_ok(sv_tape_forward(tape, &step, &err), err);
}

static inline void assert_same_numbers(const sv_real *a, const sv_real *b, size_t count, const char *what, uint64_t seed)
{
    for (size_t k = 0; k < count; k++)
        if (memcmp(&a[k], &b[k], sizeof a[k]) != 0) fail_msg("world %d: %s: number %zu is %.9g and %.9g", (int)seed, what, k, (double)a[k], (double)b[k]);
}

/* ---- what holds of every backbone and method, on an opened world --------------------------------------------------- */

static inline void assert_near(const sv_real *a, const sv_real *b, size_t count, const char *what, uint64_t seed)
{
    for (size_t k = 0; k < count; k++)
        if (!(fabs((double)a[k] - (double)b[k]) < 1e-5)) fail_msg("world %d: %s: number %zu is %.9g and %.9g", (int)seed, what, k, (double)a[k], (double)b[k]);
}

typedef void same_numbers(const sv_real *a, const sv_real *b, size_t count, const char *what, uint64_t seed);

/* The masked form and the one in which tokens leave, by the same draws. Returns how many tokens were dropped. */
static inline size_t assert_masked_is_removed(world *w)
{
    size_t dropped = 0;
    forward(w->training.tape, w->images, w->seed);
    forward(w->removal.tape, w->images, w->seed);
    for (size_t b = 0; b < w->images; b++) {
        for (size_t t = 0; t < w->options.plan.stages; t++) {
            const size_t patches = sv_pruning_options_of(w->pruning)->plan.patches[t], kept = sv_removal_kept(&w->removal, t, b);
            assert_int_equal((size_t)((double)sv_tape_data(w->training.tape, w->training.share[t], b)[0] * (double)patches + 0.5), kept);
            dropped += patches - kept;
        }
        assert_same_numbers(sv_tape_data(w->training.tape, w->training.logits, b), sv_tape_data(w->removal.tape, w->removal.logits, b), w->sizes.classes,
                            "logits", w->seed);
    }
    return dropped;
}

/* Every patch kept: the model without selectors. Opens and closes the world. */
static inline void assert_nothing_dropped_is_dense(world w, same_numbers *same)
{
    sv_removal_tape dense;
    sv_error err = { 0 };
    w.options.plan.empty = SV_EMPTY_MASK;
    for (size_t t = 0; t < w.options.plan.stages; t++) w.options.plan.keep[t] = 1;
    world_open(&w);
    if (w.training.goal[0]) lean_selectors(&w, 100);
    assert_ok(sv_removal_record(&dense, w.pruning, NULL, w.images, &err), err);
    for (size_t b = 0; b < w.images; b++) fill_picture(dense.tape, dense.picture, b, b);
    forward(dense.tape, w.images, w.seed);
    assert_int_equal(sv_tape_macs(dense.tape), w.images * sv_model_macs(w.student));
    forward(w.training.tape, w.images, w.seed);
    forward(w.removal.tape, w.images, w.seed);
    for (size_t b = 0; b < w.images; b++) {
        same(sv_tape_data(dense.tape, dense.logits, b), sv_tape_data(w.removal.tape, w.removal.logits, b), w.sizes.classes, "removal", w.seed);
        same(sv_tape_data(dense.tape, dense.logits, b), sv_tape_data(w.training.tape, w.training.logits, b), w.sizes.classes, "training", w.seed);
    }
    sv_removal_clear(&dense);
    world_close(&w);
}

static inline void assert_finite_both_ways(world *w)
{
    forward(w->training.tape, w->images, w->seed);
    sv_tape_backward(w->training.tape, 1);
    const char *bad = sv_tape_not_finite(w->training.tape);
    if (bad) fail_msg("world %d: %s is not finite", (int)w->seed, bad);
    for (size_t i = 0; i < w->student->parameters->total; i++) assert_true(isfinite((double)w->student->parameters->gradients[i]));
}

/* Whoever stands beside it, whatever the number of threads. Leaves one thread a core. */
static inline void assert_alone_as_in_batch(world *w)
{
    const size_t classes = w->sizes.classes;
    sv_real *logits = NULL;
    assert_int_equal(sv_alloc(&logits, w->images * classes * sizeof *logits, "test", NULL), SV_OK);
    forward(w->removal.tape, w->images, w->seed);
    for (size_t b = 0; b < w->images; b++) memcpy(logits + b * classes, sv_tape_data(w->removal.tape, w->removal.logits, b), classes * sizeof *logits);
    for (size_t b = 0; b < w->images; b++) {
        fill_picture(w->removal.tape, w->removal.picture, 0, b);
        for (size_t threads = 1; threads < 4; threads++) {
            const uint64_t sample = b;
            const sv_step step = { .images = 1, .seed = w->seed, .epoch = 1, .samples = &sample };
            sv_error err = { 0 };
            sv_threads_set(threads);
            assert_ok(sv_tape_forward(w->removal.tape, &step, &err), err);
            assert_same_numbers(logits + b * classes, sv_tape_data(w->removal.tape, w->removal.logits, 0), classes, "logits", w->seed);
        }
    }
    sv_threads_set(0);
    sv_free(logits);
}

/* Each picture's own count by the formula, against what the tape counted. Opens and closes the world; a package each stage, as the formula has it. */
static inline void assert_work_by_formula(world w)
{
    uint64_t sum = 0;
    w.options.plan.empty = SV_EMPTY_KEEP_ZERO;
    world_open(&w);
    forward(w.removal.tape, w.images, w.seed);
    for (size_t b = 0; b < w.images; b++) {
        size_t kept[SV_MOST_STAGES] = { 0 };
        for (size_t t = 0; t < w.options.plan.stages; t++) kept[t] = sv_removal_kept(&w.removal, t, b);
        sum += sv_pruned_macs(w.student, &w.options.plan, kept);
    }
    assert_int_equal(sum, sv_tape_macs(w.removal.tape));
    world_close(&w);
}

#endif
