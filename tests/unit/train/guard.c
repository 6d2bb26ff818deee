/* train/guard.c: the running means follow their formula, a spike is told and does not enter them, what is usual is not. */
#include "tests/unit/base/test_base.h"

#include "train/guard.h"

#include <math.h>

static sv_run_state warmed_up(size_t steps)
{
    sv_run_state state = { 0 };
    for (size_t i = 0; i < steps; i++) {
        sv_random random = sv_random_at(5, SV_FOR_TEST, 0, i, 0);
        assert_null(sv_guard_judge(&state, 1e9, 2 + 0.1 * sv_random_normal(&random), 1 + 0.2 * sv_random_normal(&random)).what);
    }
    return state;
}

static void means_and_deviations_are_those_of_the_numbers(void **state)
{
    (void)state;
    sv_run_state run = { 0 };
    double sum = 0, squares = 0;
    for (size_t i = 1; i <= SV_GUARD_WINDOW; i++) { /* so far every number weighs alike */
        const double value = (double)(i * i % 17);
        sum += value, squares += value * value;
        assert_null(sv_guard_judge(&run, 1e9, value, 3).what);
    }
    const double mean = sum / SV_GUARD_WINDOW;
    assert_true(fabs(run.guard[0] - mean) < 1e-9);
    assert_true(fabs(run.guard[1] - (squares / SV_GUARD_WINDOW - mean * mean)) < 1e-9);
    assert_true(run.guard[2] == 3 && run.guard[3] == 0);
    assert_int_equal(run.guard_count, SV_GUARD_WINDOW);
}

static void a_spike_is_told_and_leaves_the_means_alone(void **state)
{
    (void)state;
    sv_run_state run = warmed_up(60);
    const sv_run_state before = run;
    sv_spike spike = sv_guard_judge(&run, 6, 2, 1 + 6.5 * 0.25);
    assert_string_equal(spike.what, "gradient norm");
    spike = sv_guard_judge(&run, 6, 3.5, 1);
    assert_string_equal(spike.what, "loss");
    assert_true(spike.value == 3.5 && spike.mean > 1.9 && spike.mean < 2.1 && spike.deviation > 0.05 && spike.deviation < 0.2);
    assert_memory_equal(&run, &before, sizeof run);
    assert_null(sv_guard_judge(&run, 6, 0.1, 0.1).what); /* falling is no harm */
    assert_int_equal(run.guard_count, before.guard_count + 1);
}

static void nothing_is_judged_before_there_is_a_mean(void **state)
{
    (void)state;
    sv_run_state run = warmed_up(SV_GUARD_WARM_UP - 1);
    assert_null(sv_guard_judge(&run, 1, 1e6, 1e6).what);
    run = warmed_up(SV_GUARD_WARM_UP);
    assert_non_null(sv_guard_judge(&run, 1, 1e6, 1e6).what);
    sv_guard_forget(&run);
    assert_null(sv_guard_judge(&run, 1, 1e6, 1e6).what);
    assert_true(run.guard[0] == 1e6 && run.guard[1] == 0);
}

static void a_loss_that_stands_still_makes_no_spikes_of_its_last_digits(void **state)
{
    (void)state;
    sv_run_state run = { 0 };
    for (size_t i = 0; i < 50; i++) assert_null(sv_guard_judge(&run, 3, 0.5, 0.25).what);
    assert_null(sv_guard_judge(&run, 3, 0.5005, 0.2504).what);
    assert_non_null(sv_guard_judge(&run, 3, 0.51, 0.25).what);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(means_and_deviations_are_those_of_the_numbers),
        cmocka_unit_test(a_spike_is_told_and_leaves_the_means_alone),
        cmocka_unit_test(nothing_is_judged_before_there_is_a_mean),
        cmocka_unit_test(a_loss_that_stands_still_makes_no_spikes_of_its_last_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
