/* The optimizer: groups by name, the schedule's published values, AdamW against its formula, the same bits for any number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/fault.h"
#include "kernels/kernels.h"
#include "train/optimizer.h"

static sv_parameters *model(void)
{
    sv_parameters *set = NULL;
    sv_parameter *p = NULL;
    const char *names[] = { "cls_token", "pos_embed", "blocks.0.attn.qkv.weight", "blocks.0.attn.qkv.bias", "head.weight", "selectors.0.fc_in.weight", "selectors.0.fc_in.bias" };
    size_t shapes[][3] = { { 1, 1, 8 }, { 1, 5, 8 }, { 300, 301, 0 }, { 24, 0, 0 }, { 10, 8, 0 }, { 4, 4, 0 }, { 4, 0, 0 } };
    uint32_t dims[] = { 3, 3, 2, 1, 2, 2, 1 };
    assert_int_equal(sv_parameters_create(&set, NULL), SV_OK);
    for (size_t i = 0; i < SV_COUNT(names); i++) assert_int_equal(sv_parameters_add(set, &p, names[i], dims[i], shapes[i], NULL), SV_OK);
    assert_int_equal(sv_parameters_allocate(set, true, NULL), SV_OK);
    sv_random random = sv_random_at(1, SV_FOR_TEST, 0, 0, 0);
    for (size_t i = 0; i < set->count; i++)
        for (size_t k = 0; k < set->items[i]->count; k++) {
            set->items[i]->value[k] = (sv_real)sv_random_normal(&random);
            set->items[i]->gradient[k] = (sv_real)sv_random_normal(&random);
        }
    return set;
}

static const double pi = 3.14159265358979323846;
static const sv_optimizer_options plain = { .decay = 0.05, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8 };

static void a_parameter_follows_the_group_its_name_says(void **state)
{
    (void)state;
    sv_parameters *set = model();
    sv_optimizer *optimizer = NULL;
    bool is_new[7] = { [4] = true };
    uint8_t expected[] = { SV_GROUP_FROZEN, SV_GROUP_FROZEN, SV_GROUP_BACKBONE, SV_GROUP_BACKBONE, SV_GROUP_NEW, SV_GROUP_SELECTOR, SV_GROUP_SELECTOR };
    assert_int_equal(sv_optimizer_create(&optimizer, set, &plain, is_new, NULL), SV_OK);
    assert_memory_equal(optimizer->group, expected, sizeof expected);
    assert_false(set->items[0]->trainable);
    assert_true(set->items[2]->trainable);
    sv_optimizer_destroy(optimizer);
    sv_parameters_destroy(set);
}

static void a_step_is_adamw_with_decay_on_matrices_alone(void **state)
{
    (void)state;
    sv_parameters *set = model();
    sv_optimizer *optimizer = NULL;
    double rates[SV_GROUP_COUNT] = { 1e-2, 1e-2, 0, 1e-3 }, first = 0, second = 0;
    assert_int_equal(sv_optimizer_create(&optimizer, set, &plain, NULL, NULL), SV_OK);
    double weight = (double)set->items[2]->value[7], bias = (double)set->items[3]->value[3], token = (double)set->items[0]->value[0];
    double gw = (double)set->items[2]->gradient[7], gb = (double)set->items[3]->gradient[3], mw = 0, vw = 0;
    for (int t = 1; t <= 3; t++) {
        sv_optimizer_step(optimizer, rates, 0.5);
        double c1 = 1 - pow(0.9, t), c2 = 1 - pow(0.999, t);
        mw = 0.9 * mw + 0.1 * 0.5 * gw, vw = 0.999 * vw + 0.001 * 0.25 * gw * gw;
        weight = weight * (1 - 1e-3 * 0.05) - 1e-3 * (mw / c1) / (sqrt(vw) / sqrt(c2) + 1e-8);
        first = 0.9 * first + 0.1 * 0.5 * gb, second = 0.999 * second + 0.001 * 0.25 * gb * gb;
        bias -= 1e-3 * (first / c1) / (sqrt(second) / sqrt(c2) + 1e-8);
    }
    assert_true(fabs((double)set->items[2]->value[7] - weight) < 2e-6);
    assert_true(fabs((double)set->items[3]->value[3] - bias) < 2e-6);
    assert_true((double)set->items[0]->value[0] == token);
    sv_optimizer_destroy(optimizer);
    sv_parameters_destroy(set);
}

static void threads_do_not_change_step_or_norm(void **state)
{
    (void)state;
    sv_real *first = NULL;
    double norm = 0;
    for (size_t threads = 1; threads <= 7; threads += 2) {
        sv_parameters *set = model();
        sv_optimizer *optimizer = NULL;
        double rates[SV_GROUP_COUNT] = { 1e-2, 1e-2, 0, 1e-3 };
        sv_threads_set(threads);
        assert_int_equal(sv_optimizer_create(&optimizer, set, &plain, NULL, NULL), SV_OK);
        double now = sv_optimizer_gradient_norm(optimizer, NULL);
        sv_optimizer_step(optimizer, rates, 1);
        if (!first) {
            norm = now;
            assert_int_equal(sv_alloc(&first, set->total * sizeof *first, "test", NULL), SV_OK);
            memcpy(first, set->values, set->total * sizeof *first);
        }
        assert_true(now == norm);
        assert_memory_equal(first, set->values, set->total * sizeof *first);
        sv_optimizer_destroy(optimizer);
        sv_parameters_destroy(set);
    }
    sv_free(first);
    sv_threads_set(0);
}

/* The parameter of that name. */
static sv_parameter *named(sv_parameters *set, const char *name)
{
    sv_parameter *p = sv_parameters_find(set, name);
    assert_non_null(p);
    return p;
}

static void selectors_of_every_method_are_selectors(void **state)
{
    (void)state;
    static const char *const names[] = { "selectors.1.norm.weight", "score_predictor.1.in_conv.0.weight" };
    sv_parameters *set = NULL;
    sv_parameter *p = NULL;
    sv_optimizer *optimizer = NULL;
    assert_int_equal(sv_parameters_create(&set, NULL), SV_OK);
    for (size_t i = 0; i < SV_COUNT(names); i++) assert_int_equal(sv_parameters_add(set, &p, names[i], 1, (size_t[]){ 4 }, NULL), SV_OK);
    assert_int_equal(sv_parameters_allocate(set, true, NULL), SV_OK);
    assert_int_equal(sv_optimizer_create(&optimizer, set, &plain, NULL, NULL), SV_OK);
    for (size_t i = 0; i < SV_COUNT(names); i++) assert_int_equal(optimizer->group[i], SV_GROUP_SELECTOR);
    sv_optimizer_destroy(optimizer);
    sv_parameters_destroy(set);
}

static void from_scratch_everything_but_selectors_follows_the_schedule(void **state)
{
    (void)state;
    sv_parameters *set = model();
    sv_optimizer *optimizer = NULL;
    sv_optimizer_options options = plain;
    options.all_new = true;
    uint8_t expected[] = { SV_GROUP_NEW, SV_GROUP_NEW, SV_GROUP_NEW, SV_GROUP_NEW, SV_GROUP_NEW, SV_GROUP_SELECTOR, SV_GROUP_SELECTOR };
    assert_int_equal(sv_optimizer_create(&optimizer, set, &options, NULL, NULL), SV_OK);
    assert_memory_equal(optimizer->group, expected, sizeof expected);
    for (size_t i = 0; i < set->count; i++) assert_true(set->items[i]->trainable);
    sv_optimizer_destroy(optimizer);
    sv_parameters_destroy(set);
}

static void embeddings_are_trained_where_asked_for_or_made_anew(void **state)
{
    (void)state;
    sv_parameters *set = model();
    sv_optimizer *optimizer = NULL;
    sv_optimizer_options options = plain;
    bool is_new[7] = { [1] = true };
    assert_int_equal(sv_optimizer_create(&optimizer, set, &plain, is_new, NULL), SV_OK);
    assert_true(optimizer->group[0] == SV_GROUP_FROZEN && optimizer->group[1] == SV_GROUP_NEW);
    assert_true(!set->items[0]->trainable && set->items[1]->trainable);
    sv_optimizer_destroy(optimizer);
    options.train_embeddings = true;
    assert_int_equal(sv_optimizer_create(&optimizer, set, &options, NULL, NULL), SV_OK);
    assert_true(optimizer->group[0] == SV_GROUP_BACKBONE && optimizer->group[1] == SV_GROUP_BACKBONE);
    assert_true(set->items[0]->trainable);
    sv_optimizer_destroy(optimizer);
    sv_parameters_destroy(set);
}

/* Gradients of 0: what moves a value then is decay alone. */
static void decay_takes_what_the_options_say(void **state)
{
    (void)state;
    static const struct {
        bool all_selectors;
        const char *name;
        bool decays;
    } cases[] = {
        { false, "selectors.0.fc_in.weight", true },
        { false, "selectors.0.fc_in.bias", false },
        { true, "selectors.0.fc_in.bias", true },
        { true, "blocks.0.attn.qkv.bias", false },
        { true, "cls_token", false },
        { true, "pos_embed", false },
        { true, "head.weight", true },
        { false, "blocks.0.attn.qkv.weight", true },
    };
    double rates[SV_GROUP_COUNT] = { 0.5, 0.5, 0.5, 0.5 };
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        sv_parameters *set = model();
        sv_optimizer *optimizer = NULL;
        sv_optimizer_options options = plain;
        options.decay_all_selectors = cases[i].all_selectors;
        options.train_embeddings = true;
        assert_int_equal(sv_optimizer_create(&optimizer, set, &options, NULL, NULL), SV_OK);
        sv_parameters_zero_gradients(set);
        const sv_parameter *p = named(set, cases[i].name);
        double before = (double)p->value[1];
        sv_optimizer_step(optimizer, rates, 1);
        double expected = cases[i].decays ? before * (1 - 0.5 * 0.05) : before;
        if (!(fabs((double)p->value[1] - expected) <= 1e-6 * fabs(before)))
            fail_msg("%s: %.9g became %.9g", cases[i].name, before, (double)p->value[1]);
        sv_optimizer_destroy(optimizer);
        sv_parameters_destroy(set);
    }
}

/* The first step of AdamW without decay moves each value by its rate, against the sign of its gradient. */
static void each_group_has_its_own_rate(void **state)
{
    (void)state;
    sv_parameters *set = model();
    sv_optimizer *optimizer = NULL;
    sv_optimizer_options options = plain;
    bool is_new[7] = { [4] = true };
    double rates[SV_GROUP_COUNT] = {
        [SV_GROUP_SELECTOR] = 0.125, [SV_GROUP_NEW] = 0.25, [SV_GROUP_FROZEN] = 16, [SV_GROUP_BACKBONE] = 0.5
    };
    options.decay = 0;
    assert_int_equal(sv_optimizer_create(&optimizer, set, &options, is_new, NULL), SV_OK);
    sv_real *before = NULL;
    assert_int_equal(sv_alloc(&before, set->total * sizeof *before, "test", NULL), SV_OK);
    memcpy(before, set->values, set->total * sizeof *before);
    sv_optimizer_step(optimizer, rates, 1);
    for (size_t i = 0; i < set->count; i++) {
        const sv_parameter *p = set->items[i];
        double rate = optimizer->group[i] == SV_GROUP_FROZEN ? 0 : rates[optimizer->group[i]];
        for (size_t k = 0; k < p->count; k++) {
            double moved = (double)p->value[k] - (double)before[p->offset + k], g = (double)p->gradient[k];
            if (fabs(g) > 1e-3 && !(fabs(moved + (g > 0 ? rate : -rate)) < 1e-5))
                fail_msg("%s: moved by %g, its rate is %g", p->name, moved, rate);
        }
    }
    sv_free(before);
    sv_optimizer_destroy(optimizer);
    sv_parameters_destroy(set);
}

static void a_rate_of_zero_leaves_values_but_moves_moments(void **state)
{
    (void)state;
    sv_parameters *set = model();
    sv_optimizer *optimizer = NULL;
    double rates[SV_GROUP_COUNT] = { 0 };
    sv_real *before = NULL;
    assert_int_equal(sv_optimizer_create(&optimizer, set, &plain, NULL, NULL), SV_OK);
    assert_int_equal(sv_alloc(&before, set->total * sizeof *before, "test", NULL), SV_OK);
    memcpy(before, set->values, set->total * sizeof *before);
    assert_int_equal(optimizer->t, 0);
    sv_optimizer_step(optimizer, rates, 1);
    assert_int_equal(optimizer->t, 1);
    assert_memory_equal(before, set->values, set->total * sizeof *before);
    for (size_t i = 0; i < set->count; i++) {
        const sv_parameter *p = set->items[i];
        for (size_t k = 0; k < p->count; k++) {
            double g = optimizer->group[i] == SV_GROUP_FROZEN ? 0 : (double)p->gradient[k];
            assert_true(fabs((double)optimizer->first[p->offset + k] - 0.1 * g) <= 1e-6 * fabs(g));
            assert_true(fabs((double)optimizer->second[p->offset + k] - 0.001 * g * g) <= 1e-5 * g * g);
        }
    }
    sv_free(before);
    sv_optimizer_destroy(optimizer);
    sv_parameters_destroy(set);
}

static void the_norm_is_that_of_all_gradients_but_frozen_ones(void **state)
{
    (void)state;
    sv_parameters *set = model();
    sv_optimizer *optimizer = NULL;
    double sum = 0;
    assert_int_equal(sv_optimizer_create(&optimizer, set, &plain, NULL, NULL), SV_OK);
    for (size_t i = 2; i < set->count; i++)
        for (size_t k = 0; k < set->items[i]->count; k++) sum += (double)set->items[i]->gradient[k] * (double)set->items[i]->gradient[k];
    assert_true(fabs(sv_optimizer_gradient_norm(optimizer, NULL) / sqrt(sum) - 1) < 1e-6);
    set->items[0]->gradient[0] = 1000; /* a frozen one */
    assert_true(fabs(sv_optimizer_gradient_norm(optimizer, NULL) / sqrt(sum) - 1) < 1e-6);
    sv_parameters_zero_gradients(set);
    assert_true(sv_optimizer_gradient_norm(optimizer, NULL) == 0);
    set->items[3]->gradient[23] = 3; /* the last of one parameter and the last of all */
    set->items[6]->gradient[3] = -4;
    assert_true(fabs(sv_optimizer_gradient_norm(optimizer, NULL) - 5) < 1e-12);
    sv_optimizer_destroy(optimizer);
    sv_parameters_destroy(set);
}

static void one_gradient_that_is_not_finite_is_seen_wherever_it_stands(void **state)
{
    (void)state;
    static const struct {
        size_t parameter, at;
    } places[] = { { 2, 0 }, { 2, 4095 }, { 2, 32767 }, { 2, 32768 }, { 2, 90299 }, { 3, 23 }, { 4, 0 }, { 5, 15 }, { 6, 3 } };
    const sv_real odd[] = { (sv_real)NAN, (sv_real)INFINITY, -(sv_real)INFINITY };
    sv_parameters *set = model();
    sv_optimizer *optimizer = NULL;
    assert_int_equal(sv_optimizer_create(&optimizer, set, &plain, NULL, NULL), SV_OK);
    assert_true(isfinite(sv_optimizer_gradient_norm(optimizer, NULL)));
    for (size_t i = 0; i < SV_COUNT(places); i++)
        for (size_t k = 0; k < SV_COUNT(odd); k++) {
            sv_real *at = &set->items[places[i].parameter]->gradient[places[i].at], kept = *at;
            *at = odd[k];
            if (isfinite(sv_optimizer_gradient_norm(optimizer, NULL)))
                fail_msg("%g in parameter %zu at %zu is not seen", (double)odd[k], places[i].parameter, places[i].at);
            *at = kept;
        }
    sv_optimizer_destroy(optimizer);
    sv_parameters_destroy(set);
}

static void an_optimizer_that_finds_no_memory_leaves_the_model_alone(void **state)
{
    (void)state;
    sv_parameters *set = model();
    size_t live = sv_memory_now().live;
    bool survived = false;
    for (uint64_t at = 1; at < 50 && !survived; at++) {
        sv_optimizer *optimizer = NULL;
        sv_error err = { 0 };
        sv_fault_set(SV_FAULT_ALLOC, at, false);
        survived = sv_optimizer_create(&optimizer, set, &plain, NULL, &err) == SV_OK;
        sv_fault_set(SV_FAULT_ALLOC, 0, false);
        if (!survived) assert_true(err.code == SV_FAULT && set->items[0]->trainable);
        sv_optimizer_destroy(optimizer);
        assert_int_equal(sv_memory_now().live, live);
    }
    assert_true(survived);
    sv_optimizer_destroy(NULL);
    sv_parameters_destroy(set);
}

/* The logged run of the reference: 8 x 80 pictures, lr 5e-4 * 640 / 512, 30 epochs, min 1e-5 (spec training 3). */
static void epoch_cosine_gives_the_logged_rates(void **state)
{
    (void)state;
    sv_schedule_options options = { .schedule = SV_COSINE_EPOCH, .lr = 6.25e-4, .min_lr = 1e-5, .backbone_scale = 0.01, .epochs = 30, .frozen_epochs = 5 };
    double rates[SV_GROUP_COUNT];
    sv_schedule_rates(&options, 1, 0.5, rates);
    assert_true(fabs(rates[SV_GROUP_SELECTOR] - 6.233e-4) < 5e-8);
    assert_true(rates[SV_GROUP_BACKBONE] == 0);
    sv_schedule_rates(&options, 5, 0, rates);
    assert_true(fabs(rates[SV_GROUP_SELECTOR] - 5.838e-4) < 5e-8);
    assert_true(fabs(rates[SV_GROUP_BACKBONE] - 6.25e-6) < 1e-12);
    sv_schedule_rates(&options, 15, 0, rates);
    assert_true(fabs(rates[SV_GROUP_SELECTOR] - 3.175e-4) < 5e-8);
    sv_schedule_rates(&options, 29, 0.99, rates);
    assert_true(fabs(rates[SV_GROUP_BACKBONE] - 6.25e-6) < 1e-18);
}

/* The same run beyond epoch 30: the reference forgets the batch and begins its cosine at 5e-4. */
static void the_reference_jumps_to_another_rate(void **state)
{
    (void)state;
    sv_schedule_options options = { .schedule = SV_COSINE_EPOCH, .lr = 1e-3, .min_lr = 1e-5, .backbone_scale = 0.01, .epochs = 60, .frozen_epochs = 5, .jump_epoch = 30 };
    double rates[SV_GROUP_COUNT];
    sv_schedule_rates(&options, 29, 0, rates);
    assert_true(fabs(rates[SV_GROUP_SELECTOR] - (1e-5 + 9.9e-4 * 0.5 * (1 + cos(pi * 29 / 60)))) < 1e-15);
    assert_true(fabs(rates[SV_GROUP_BACKBONE] - 1e-5) < 1e-18);
    sv_schedule_rates(&options, 30, 0, rates);
    assert_true(fabs(rates[SV_GROUP_SELECTOR] - (1e-5 + 4.9e-4 * 0.5)) < 1e-15);
    assert_true(fabs(rates[SV_GROUP_BACKBONE] - 5e-6) < 1e-18);
}

/* DeiT from scratch: 5e-4 * 1024 / 512, 300 epochs of which 5 rise from 1e-6, the cosine counted from epoch 0 (timm 0.4.5). */
static void epoch_warmup_is_that_of_deit(void **state)
{
    (void)state;
    sv_schedule_options options = { .schedule = SV_COSINE_EPOCH, .lr = 1e-3, .min_lr = 1e-5, .warmup_lr = 1e-6, .backbone_scale = 1, .epochs = 300, .warmup_epochs = 5 };
    const double expected[] = { 1e-6, 2.008e-4, 4.006e-4, 6.004e-4, 8.002e-4 };
    double rates[SV_GROUP_COUNT];
    for (size_t epoch = 0; epoch < 5; epoch++) {
        sv_schedule_rates(&options, epoch, 0.9, rates);
        assert_true(fabs(rates[SV_GROUP_NEW] - expected[epoch]) < 1e-15);
    }
    sv_schedule_rates(&options, 5, 0, rates);
    assert_true(fabs(rates[SV_GROUP_NEW] - (1e-5 + 9.9e-4 * 0.5 * (1 + cos(pi * 5 / 300)))) < 1e-15);
}

/* DynamicViT: np.concatenate((linspace(0, lr, 5 n), cosine over k = 0 .. K-1 with K = E n - 5 n)); n = 1251 of ImageNet at 1024. */
static void step_form_is_the_list_of_dynamicvit(void **state)
{
    (void)state;
    const size_t n = 1251, epochs = 30, warm = 5 * n, rest = epochs * n - warm;
    sv_schedule_options options = { .schedule = SV_COSINE_STEP, .lr = 1e-3, .min_lr = 1e-6, .backbone_scale = 0.01, .epochs = (double)epochs, .warmup_epochs = 5, .frozen_epochs = 5, .steps = (double)n };
    for (size_t i = 0; i < epochs * n; i++) {
        double rates[SV_GROUP_COUNT], expected = 1e-3 * (double)i / (double)(warm - 1);
        if (i >= warm) expected = 1e-6 + 0.5 * (1e-3 - 1e-6) * (1 + cos(pi * (double)(i - warm) / (double)rest));
        sv_schedule_rates(&options, i / n, (double)(i % n) / (double)n, rates);
        assert_true(fabs(rates[SV_GROUP_SELECTOR] - expected) < 1e-15);
        assert_true(fabs(rates[SV_GROUP_BACKBONE] - (i < warm ? 0 : 0.01 * expected)) < 1e-15);
    }
}

/* Warm-ups that end inside an epoch, or have a single step, stay between their ends. */
static void odd_warmups_never_pass_the_rate(void **state)
{
    static const struct { double warmup, steps; } cases[] = { { 0.5, 7 }, { 0.01, 7 }, { 1, 1 }, { 1.25, 3 }, { 2, 0 } };
    (void)state;
    for (size_t c = 0; c < SV_COUNT(cases); c++) {
        sv_schedule_options options = { .schedule = SV_CONSTANT, .lr = 1, .backbone_scale = 1, .epochs = 3, .warmup_epochs = cases[c].warmup, .steps = cases[c].steps };
        size_t n = cases[c].steps > 0 ? (size_t)cases[c].steps : 10;
        double before = 0, rates[SV_GROUP_COUNT];
        for (size_t i = 0; i < 3 * n; i++) {
            sv_schedule_rates(&options, i / n, (double)(i % n) / (double)n, rates);
            assert_true(rates[SV_GROUP_NEW] >= before && rates[SV_GROUP_NEW] <= 1);
            before = rates[SV_GROUP_NEW];
        }
        assert_true(before == 1);
    }
}

static void sgd_clips_decays_and_has_one_moment(void **state)
{
    (void)state;
    sv_parameters *set = model();
    sv_optimizer *optimizer = NULL;
    const sv_optimizer_options options = { .kind = SV_SGD, .decay = 0.01, .momentum = 0.9 };
    const double rates[SV_GROUP_COUNT] = { 1e-2, 1e-2, 0, 1e-3 };
    assert_int_equal(sv_optimizer_create(&optimizer, set, &options, NULL, NULL), SV_OK);
    assert_null(optimizer->second);
    double weight = (double)set->items[2]->value[7], bias = (double)set->items[3]->value[3], token = (double)set->items[0]->value[0], mw = 0, mb = 0;
    for (int t = 1; t <= 3; t++) {
        sv_optimizer_step(optimizer, rates, 0.5);
        mw = 0.9 * mw + 0.5 * (double)set->items[2]->gradient[7] + 0.01 * weight;
        mb = 0.9 * mb + 0.5 * (double)set->items[3]->gradient[3];
        weight -= 1e-3 * mw;
        bias -= 1e-3 * mb;
    }
    assert_true(fabs((double)set->items[2]->value[7] - weight) < 1e-6);
    assert_true(fabs((double)set->items[3]->value[3] - bias) < 1e-6);
    assert_true((double)set->items[0]->value[0] == token);
    sv_optimizer_destroy(optimizer);
    sv_parameters_destroy(set);
}

/* Three blocks, 0.5: embeddings 1/16, blocks 1/8, 1/4, 1/2, norm, head and selectors 1 (the list of MAE's lr_decay.py for depth 3). */
static void layers_far_from_the_head_move_less(void **state)
{
    static const struct { const char *name; double share; } cases[] = {
        { "cls_token", 0.0625 }, { "pos_embed", 0.0625 }, { "patch_embed.proj.weight", 0.0625 }, { "patch_embed.proj.bias", 0.0625 },
        { "blocks.0.norm1.weight", 0.125 }, { "blocks.1.attn.qkv.weight", 0.25 }, { "blocks.2.mlp.fc2.bias", 0.5 },
        { "norm.weight", 1 }, { "head.weight", 1 }, { "head_dist.bias", 1 }, { "selectors.0.fc_in.weight", 1 },
    };
    const sv_optimizer_options options = { .kind = SV_SGD, .train_embeddings = true, .layer_decay = 0.5 };
    const double rates[SV_GROUP_COUNT] = { 0.5, 0.5, 0, 0.25 };
    sv_parameters *set = NULL;
    sv_parameter *p = NULL;
    sv_optimizer *optimizer = NULL;
    bool is_new[SV_COUNT(cases)] = { [8] = true };
    (void)state;
    assert_int_equal(sv_parameters_create(&set, NULL), SV_OK);
    for (size_t i = 0; i < SV_COUNT(cases); i++) assert_int_equal(sv_parameters_add(set, &p, cases[i].name, 1, (size_t[]){ 3 }, NULL), SV_OK);
    assert_int_equal(sv_parameters_allocate(set, true, NULL), SV_OK);
    for (size_t i = 0; i < set->total; i++) set->values[i] = 0, set->gradients[i] = 1;
    assert_int_equal(sv_optimizer_create(&optimizer, set, &options, is_new, NULL), SV_OK);
    sv_optimizer_step(optimizer, rates, 1);
    for (size_t i = 0; i < SV_COUNT(cases); i++)
        assert_true((double)set->items[i]->value[0] == -rates[optimizer->group[i]] * cases[i].share);
    assert_int_equal(optimizer->group[8], SV_GROUP_NEW);
    sv_optimizer_destroy(optimizer);
    sv_parameters_destroy(set);
}

/* With frozen_moments = skip a frozen step never was for the backbone: values, moments and the next step are those of a run without it. */
static void frozen_moments_are_kept_or_skipped(void **state)
{
    const double frozen[SV_GROUP_COUNT] = { 1e-2, 1e-2, 0, 0 }, moving[SV_GROUP_COUNT] = { 1e-2, 1e-2, 0, 1e-3 };
    sv_optimizer_options skip = plain;
    (void)state;
    skip.skip_frozen = true;
    sv_parameters *kept_set = model(), *set = model(), *fresh_set = model();
    sv_optimizer *kept = NULL, *optimizer = NULL, *fresh = NULL;
    assert_int_equal(sv_optimizer_create(&kept, kept_set, &plain, NULL, NULL), SV_OK);
    assert_int_equal(sv_optimizer_create(&optimizer, set, &skip, NULL, NULL), SV_OK);
    assert_int_equal(sv_optimizer_create(&fresh, fresh_set, &skip, NULL, NULL), SV_OK);
    const sv_parameter *weight = set->items[2], *selector = set->items[5];
    const size_t bytes = weight->count * sizeof(sv_real);
    sv_optimizer_step(kept, frozen, 1);
    sv_optimizer_step(optimizer, frozen, 1);
    assert_true(kept->first[weight->offset] != 0 && kept->second[weight->offset] != 0);
    assert_true(optimizer->first[weight->offset] == 0 && optimizer->second[weight->offset] == 0);
    assert_true(optimizer->first[selector->offset] == kept->first[selector->offset]);
    assert_memory_equal(weight->value, kept_set->items[2]->value, bytes);
    sv_optimizer_step(optimizer, moving, 1);
    sv_optimizer_step(fresh, moving, 1);
    assert_memory_equal(weight->value, fresh_set->items[2]->value, bytes);
    sv_optimizer_destroy(kept);
    sv_optimizer_destroy(optimizer);
    sv_optimizer_destroy(fresh);
    sv_parameters_destroy(kept_set);
    sv_parameters_destroy(set);
    sv_parameters_destroy(fresh_set);
}

static void skipped_gradients_do_not_count_for_the_norm(void **state)
{
    const double frozen[SV_GROUP_COUNT] = { 1e-2, 1e-2, 0, 0 }, moving[SV_GROUP_COUNT] = { 1e-2, 1e-2, 0, 1e-3 };
    sv_optimizer_options options = plain;
    sv_parameters *set = model();
    sv_optimizer *keep = NULL, *skip = NULL;
    double selectors = 0;
    (void)state;
    assert_int_equal(sv_optimizer_create(&keep, set, &options, NULL, NULL), SV_OK);
    options.skip_frozen = true;
    assert_int_equal(sv_optimizer_create(&skip, set, &options, NULL, NULL), SV_OK);
    for (size_t i = 5; i < 7; i++)
        for (size_t k = 0; k < set->items[i]->count; k++) selectors += (double)set->items[i]->gradient[k] * (double)set->items[i]->gradient[k];
    assert_true(sv_optimizer_gradient_norm(keep, frozen) == sv_optimizer_gradient_norm(keep, moving));
    assert_true(sv_optimizer_gradient_norm(skip, moving) == sv_optimizer_gradient_norm(keep, moving));
    assert_true(fabs(sv_optimizer_gradient_norm(skip, frozen) - sqrt(selectors)) < 1e-6);
    set->items[2]->gradient[0] = (sv_real)NAN;
    assert_true(isfinite(sv_optimizer_gradient_norm(skip, frozen)) && !isfinite(sv_optimizer_gradient_norm(skip, moving)));
    sv_optimizer_destroy(keep);
    sv_optimizer_destroy(skip);
    sv_parameters_destroy(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parameter_follows_the_group_its_name_says),
        cmocka_unit_test(a_step_is_adamw_with_decay_on_matrices_alone),
        cmocka_unit_test(threads_do_not_change_step_or_norm),
        cmocka_unit_test(sgd_clips_decays_and_has_one_moment),
        cmocka_unit_test(layers_far_from_the_head_move_less),
        cmocka_unit_test(frozen_moments_are_kept_or_skipped),
        cmocka_unit_test(skipped_gradients_do_not_count_for_the_norm),
        cmocka_unit_test(epoch_cosine_gives_the_logged_rates),
        cmocka_unit_test(selectors_of_every_method_are_selectors),
        cmocka_unit_test(from_scratch_everything_but_selectors_follows_the_schedule),
        cmocka_unit_test(embeddings_are_trained_where_asked_for_or_made_anew),
        cmocka_unit_test(decay_takes_what_the_options_say),
        cmocka_unit_test(each_group_has_its_own_rate),
        cmocka_unit_test(a_rate_of_zero_leaves_values_but_moves_moments),
        cmocka_unit_test(the_norm_is_that_of_all_gradients_but_frozen_ones),
        cmocka_unit_test(one_gradient_that_is_not_finite_is_seen_wherever_it_stands),
        cmocka_unit_test(an_optimizer_that_finds_no_memory_leaves_the_model_alone),
        cmocka_unit_test(the_reference_jumps_to_another_rate),
        cmocka_unit_test(epoch_warmup_is_that_of_deit),
        cmocka_unit_test(step_form_is_the_list_of_dynamicvit),
        cmocka_unit_test(odd_warmups_never_pass_the_rate),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
