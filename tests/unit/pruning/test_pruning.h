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

#endif
