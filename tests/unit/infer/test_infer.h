/* What the tests of infer/ share: model files made on the spot, and pictures that are functions of a number. */
#ifndef SIEVE_TESTS_INFER_H
#define SIEVE_TESTS_INFER_H

#include "tests/unit/eval/test_eval.h"

#include "infer/sieve_infer.h"
#include "train/checkpoint.h"

enum { SIDE = 24, NUMBERS = 3 * IMAGE * IMAGE };

static inline void assert_done(sieve_code code, const sieve_error *error)
{
    if (code) fail_msg("code %d: %s", (int)code, error->text);
}

/* A small model with weights of `seed` at test_folder/name; plan NULL: dense; config NULL: none stored. */
static inline void put_model(const char *name, uint64_t seed, const sv_pruning_plan *plan, const char *config)
{
    sv_model *model = NULL;
    sv_pruning *pruning = NULL;
    sv_error err = { 0 };
    sv_pruning_options options = { .mask_clamp = 30, .tau = 1 };
    sv_text about = { 0 }, of_plan = { 0 };
    if (plan) options.plan = *plan;
    assert_ok(sv_model_create(&model, "vit_test", &(sv_model_options){ .image = IMAGE, .classes = CLASSES }, &err), err);
    assert_ok(sv_pruning_create(&pruning, model, &options, &err), err);
    assert_ok(sv_model_allocate(model, false, &err), err);
    sv_model_initialise(model, seed);
    sv_pruning_initialise(pruning, seed);
    wake_selectors(model, seed);
    sv_model_print(model, &about);
    if (plan) sv_plan_print(plan, &of_plan);
    sv_checkpoint checkpoint = {
        .set = model->parameters, .model = about.data, .plan = of_plan.data, .classes = "cat\ndog\nred fox\n", .config = config
    };
    assert_ok(sv_checkpoint_write(&checkpoint, in_folder(name), &err), err);
    sv_text_clear(&about);
    sv_text_clear(&of_plan);
    sv_pruning_destroy(pruning);
    sv_model_destroy(model);
}

static inline void put_pruned(const char *name, uint64_t seed)
{
    sv_pruning_plan plan = plan_of(SV_RULE_TOPK, 0.7, 0.4);
    put_model(name, seed, &plan, NULL);
}

/* SIDE x SIDE + number of noise. */
static inline sieve_rgb picture_of(unsigned number, uint8_t *room)
{
    const size_t width = SIDE, height = SIDE + number % 5;
    sv_random random = sv_random_at(5, SV_FOR_TEST, 0, number, 0);
    for (size_t i = 0; i < 3 * width * height; i++) room[i] = (uint8_t)sv_random_below(&random, 256);
    return (sieve_rgb){ room, width, height };
}

static inline void fill_numbers(float *numbers, size_t pictures, unsigned seed)
{
    sv_random random = sv_random_at(7, SV_FOR_TEST, 0, seed, 0);
    for (size_t i = 0; i < pictures * NUMBERS; i++) numbers[i] = (float)sv_random_normal(&random);
}

static inline sieve_model *load(const char *name)
{
    sieve_model *model = NULL;
    sieve_error error;
    assert_done(sieve_model_load(&model, in_folder(name), NULL, &error), &error);
    return model;
}

static inline sieve_session *session_of(sieve_model *model, size_t batch, size_t threads)
{
    sieve_session *session = NULL;
    sieve_error error;
    assert_done(sieve_session_create(&session, model, &(sieve_session_options){ .batch = batch, .threads = threads }, &error), &error);
    return session;
}

#endif
