/* sv_schedule_rates: the forms of spec training 3 over a whole run, and at its edges. */
#include "tests/unit/base/test_base.h"

#include "train/optimizer.h"

#include <math.h>

static double rates[SV_GROUP_COUNT];

static double rate_at(const sv_schedule_options *options, size_t epoch, double share)
{
    for (size_t g = 0; g < SV_GROUP_COUNT; g++) rates[g] = NAN;
    sv_schedule_rates(options, epoch, share, rates);
    assert_true(rates[SV_GROUP_NEW] == rates[SV_GROUP_SELECTOR]);
    assert_true(rates[SV_GROUP_FROZEN] == 0);
    for (size_t g = 0; g < SV_GROUP_COUNT; g++) assert_true(isfinite(rates[g]) && rates[g] >= 0);
    return rates[SV_GROUP_SELECTOR];
}

static bool near(double a, double b) { return fabs(a - b) < 1e-12; }

static void step_cosine_rises_linearly_then_falls_to_the_least(void **state)
{
    (void)state;
    sv_schedule_options o = { .schedule = SV_COSINE_STEP, .lr = 1, .min_lr = 0.1, .backbone_scale = 1, .epochs = 25, .warmup_epochs = 5 };
    assert_true(rate_at(&o, 0, 0) == 0);
    assert_true(near(rate_at(&o, 0, 0.5), 0.1));
    assert_true(near(rate_at(&o, 2, 0.5), 0.5));
    assert_true(near(rate_at(&o, 4, 0.75), 0.95));
    assert_true(near(rate_at(&o, 5, 0), 1)); /* no jump at the end of the rise */
    assert_true(near(rate_at(&o, 10, 0), 0.1 + 0.9 * 0.5 * (1 + cos(acos(-1) / 4))));
    assert_true(near(rate_at(&o, 15, 0), 0.55));
    assert_true(near(rate_at(&o, 14, 1), 0.55)); /* the end of an epoch is the beginning of the next */
    assert_true(near(rate_at(&o, 25, 0), 0.1));
    double before = 1;
    for (size_t i = 0; i <= 20 * 16; i++) {
        double now = rate_at(&o, 5 + i / 16, (double)(i % 16) / 16);
        assert_true(now <= before && now >= 0.1 - 1e-12);
        before = now;
    }
}

static void epoch_cosine_is_one_value_an_epoch(void **state)
{
    (void)state;
    sv_schedule_options o = { .schedule = SV_COSINE_EPOCH, .lr = 1, .min_lr = 0, .backbone_scale = 0.01, .epochs = 4 };
    static const double expected[] = { 1, 0.85355339059327376, 0.5, 0.14644660940672624, 0 };
    for (size_t epoch = 0; epoch <= 4; epoch++)
        for (size_t share = 0; share < 4; share++) assert_true(near(rate_at(&o, epoch, (double)share / 4), expected[epoch]));
}

static void a_rise_in_the_epoch_form_is_one_value_an_epoch_too(void **state)
{
    (void)state;
    sv_schedule_options o = {
        .schedule = SV_COSINE_EPOCH, .lr = 1, .min_lr = 0, .warmup_lr = 0.2, .backbone_scale = 1, .epochs = 100, .warmup_epochs = 4
    };
    static const double expected[] = { 0.2, 0.4, 0.6, 0.8 };
    for (size_t epoch = 0; epoch < 4; epoch++)
        for (size_t share = 0; share < 4; share++) assert_true(near(rate_at(&o, epoch, (double)share / 4), expected[epoch]));
    assert_true(rate_at(&o, 4, 0) > 0.99); /* the cosine began at epoch 0 */
}

static void a_constant_rate_stays_but_for_its_rise(void **state)
{
    (void)state;
    sv_schedule_options o = {
        .schedule = SV_CONSTANT, .lr = 0.5, .min_lr = 0.001, .backbone_scale = 0.1, .epochs = 10, .warmup_epochs = 2
    };
    assert_true(near(rate_at(&o, 1, 0), 0.25));
    for (size_t epoch = 2; epoch < 20; epoch++) {
        assert_true(rate_at(&o, epoch, 0.3) == 0.5);
        assert_true(near(rates[SV_GROUP_BACKBONE], 0.05));
    }
}

static void the_backbone_follows_as_each_form_says(void **state)
{
    (void)state;
    /* epoch form: a rate of its own that the falling one undercuts in the end; step form: a share of the rate */
    sv_schedule_options o = { .schedule = SV_COSINE_EPOCH, .lr = 1, .min_lr = 0, .backbone_scale = 0.5, .epochs = 4 };
    static const double epoch_form[] = { 0.5, 0.5, 0.5, 0.14644660940672624, 0 };
    for (size_t epoch = 0; epoch <= 4; epoch++) {
        rate_at(&o, epoch, 0);
        assert_true(near(rates[SV_GROUP_BACKBONE], epoch_form[epoch]));
    }
    o.schedule = SV_COSINE_STEP;
    for (size_t epoch = 0; epoch <= 4; epoch++) {
        double rate = rate_at(&o, epoch, 0.5);
        assert_true(near(rates[SV_GROUP_BACKBONE], 0.5 * rate));
    }
}

static void the_backbone_stands_still_for_the_frozen_epochs_and_no_longer(void **state)
{
    (void)state;
    for (int form = SV_COSINE_EPOCH; form <= SV_CONSTANT; form++) {
        sv_schedule_options o = {
            .schedule = (sv_schedule)form, .lr = 1, .min_lr = 0, .backbone_scale = 0.5, .epochs = 30, .frozen_epochs = 5
        };
        for (size_t epoch = 0; epoch < 10; epoch++)
            for (size_t share = 0; share < 4; share++) {
                assert_true(rate_at(&o, epoch, (double)share / 4) > 0); /* selectors train meanwhile */
                assert_true((rates[SV_GROUP_BACKBONE] > 0) == (epoch >= 5));
            }
    }
}

static void behind_its_end_a_cosine_does_not_rise_again(void **state)
{
    (void)state;
    for (int form = SV_COSINE_EPOCH; form <= SV_COSINE_STEP; form++) {
        sv_schedule_options o = {
            .schedule = (sv_schedule)form, .lr = 1, .min_lr = 0.25, .backbone_scale = 1, .epochs = 3, .warmup_epochs = 1
        };
        for (size_t epoch = 3; epoch < 12; epoch++) assert_true(near(rate_at(&o, epoch, 0.5), 0.25));
    }
}

static void runs_without_epochs_or_all_of_rise_have_rates_too(void **state)
{
    (void)state;
    for (int form = SV_COSINE_EPOCH; form <= SV_CONSTANT; form++) {
        sv_schedule_options none = { .schedule = (sv_schedule)form, .lr = 1, .min_lr = 0.25, .backbone_scale = 1 };
        sv_schedule_options rise = {
            .schedule = (sv_schedule)form, .lr = 1, .min_lr = 0, .backbone_scale = 1, .epochs = 4, .warmup_epochs = 8
        };
        assert_true(rate_at(&none, 0, 0) <= 1);
        assert_true(near(rate_at(&rise, 2, 0), 0.25));
        assert_true(near(rate_at(&rise, 3, 0.5), form == SV_COSINE_EPOCH ? 0.375 : 0.4375));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(step_cosine_rises_linearly_then_falls_to_the_least),
        cmocka_unit_test(epoch_cosine_is_one_value_an_epoch),
        cmocka_unit_test(a_rise_in_the_epoch_form_is_one_value_an_epoch_too),
        cmocka_unit_test(a_constant_rate_stays_but_for_its_rise),
        cmocka_unit_test(the_backbone_follows_as_each_form_says),
        cmocka_unit_test(the_backbone_stands_still_for_the_frozen_epochs_and_no_longer),
        cmocka_unit_test(behind_its_end_a_cosine_does_not_rise_again),
        cmocka_unit_test(runs_without_epochs_or_all_of_rise_have_rates_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
