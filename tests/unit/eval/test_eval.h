/* What the tests of eval/ share: a small model with selectors beside a tree of pictures it can read. */
#ifndef SIEVE_TESTS_EVAL_H
#define SIEVE_TESTS_EVAL_H

#include "tests/unit/data/test_data.h"
#include "tests/unit/pruning/test_pruning.h"

#include "eval/eval.h"

enum { IMAGE = 16, PATCHES = 16, CLASSES = 7, BATCH = 4 };

typedef struct bench {
    sv_model *model;
    sv_pruning *pruning;
    sv_pruning_plan plan;
    sv_removal_tape removal;
    sv_source *source;
    sv_loader *loader;
} bench;

/* A plan of two selectors by `rule`. */
static inline sv_pruning_plan plan_of(sv_decision_rule rule, double first, double second)
{
    sv_pruning_plan plan = { .stages = 2, .at = { 1, 2 }, .rule = rule, .package = SV_CHOICE_WAVG, .min_keep = 1 };
    sv_plan_fit_grid(&plan, PATCHES);
    sv_plan_set_keep(&plan, (double[]){ first, second });
    return plan;
}

static inline void open_loader(bench *b, const char *root, size_t batch)
{
    sv_error err = { 0 };
    sv_loader_options options = {
        .use = SV_LOAD_EVALUATION, .batch = batch, .workers = 2, .queue = 2, .seed = 1, .max_bad = 1, .transform = sv_transform_defaults()
    };
    options.transform.size = IMAGE;
    assert_ok(sv_source_open_folder(&b->source, in_folder(root), NULL, &err), err);
    assert_ok(sv_loader_create(&b->loader, b->source, &options, &err), err);
}

static inline void close_loader(bench *b)
{
    sv_loader_destroy(b->loader);
    sv_source_close(b->source);
    b->loader = NULL;
    b->source = NULL;
}

/* plan NULL: dense. Pictures are those of test_folder/root. */
static inline void bench_open(bench *b, const sv_pruning_plan *plan, size_t classes, const char *root)
{
    sv_error err = { 0 };
    sv_pruning_options options = { .mask_clamp = 30, .tau = 1 };
    memset(b, 0, sizeof *b);
    if (plan) options.plan = b->plan = *plan;
    assert_ok(sv_model_create(&b->model, "vit_test", &(sv_model_options){ .image = IMAGE, .classes = classes }, &err), err);
    assert_ok(sv_pruning_create(&b->pruning, b->model, &options, &err), err);
    assert_ok(sv_model_allocate(b->model, false, &err), err);
    sv_model_initialise(b->model, 3);
    sv_pruning_initialise(b->pruning, 3);
    wake_selectors(b->model, 3);
    assert_ok(sv_removal_record(&b->removal, b->pruning, plan, BATCH, &err), err);
    open_loader(b, root, BATCH);
}

static inline void bench_close(bench *b)
{
    close_loader(b);
    sv_removal_clear(&b->removal);
    sv_pruning_destroy(b->pruning);
    sv_model_destroy(b->model);
}

/* Whatever the picture, the logits are these. */
static inline void answer_always(bench *b, const double *logits)
{
    sv_parameter *weight = sv_parameters_find(b->model->parameters, "head.weight"),
                 *bias = sv_parameters_find(b->model->parameters, "head.bias");
    assert_true(weight && bias);
    for (size_t i = 0; i < weight->count; i++) weight->value[i] = 0;
    for (size_t i = 0; i < bias->count; i++) bias->value[i] = (sv_real)logits[i];
    sv_parameters_changed(b->model->parameters);
}

static inline sv_evaluation evaluate(bench *b, const sv_evaluate_options *options)
{
    sv_evaluation out = { 0 };
    sv_error err = { 0 };
    assert_ok(sv_evaluate(&b->removal, b->loader, b->source, options ? options : &(sv_evaluate_options){ 0 }, &out, &err), err);
    return out;
}

#endif
