/* The optimizer: groups by name, the schedule's published values, AdamW against its formula, the same bits for any number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

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
        double now = sv_optimizer_gradient_norm(optimizer);
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
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parameter_follows_the_group_its_name_says),
        cmocka_unit_test(a_step_is_adamw_with_decay_on_matrices_alone),
        cmocka_unit_test(threads_do_not_change_step_or_norm),
        cmocka_unit_test(epoch_cosine_gives_the_logged_rates),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
