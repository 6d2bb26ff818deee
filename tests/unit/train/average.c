/* Averaged weights against their formula, what they settle at, the warm-up of the decay, the same bits for any number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "train/average.h"

enum { COUNT = 150001 }; /* more than two chunks */
static sv_real average[COUNT], values[COUNT], first[COUNT];

static void fill(uint64_t seed)
{
    sv_random random = sv_random_at(seed, SV_FOR_TEST, 0, 0, 0);
    for (size_t i = 0; i < COUNT; i++) values[i] = (sv_real)sv_random_normal(&random);
}

static void an_average_follows_its_formula(void **state)
{
    static const size_t places[] = { 0, 1, 65535, 65536, COUNT - 1 };
    double wanted[SV_COUNT(places)];
    (void)state;
    fill(1);
    memcpy(average, values, sizeof average);
    for (size_t i = 0; i < SV_COUNT(places); i++) wanted[i] = (double)values[places[i]];
    for (uint64_t t = 1; t <= 20; t++) {
        fill(1 + t);
        sv_average_step(average, values, COUNT, 0.9);
        for (size_t i = 0; i < SV_COUNT(places); i++) wanted[i] = wanted[i] * 0.9 + 0.1 * (double)values[places[i]];
    }
    for (size_t i = 0; i < SV_COUNT(places); i++) assert_true(fabs((double)average[places[i]] - wanted[i]) < 1e-6); /* 20 roundings of 6e-8 */
}

/* Weights that stand still are their own average, however many steps on: nothing shrinks or grows. */
static void the_average_of_one_is_one(void **state)
{
    (void)state;
    average[0] = values[0] = 1;
    for (size_t t = 0; t < 100000; t++) sv_average_step(average, values, 1, 0.99996);
    assert_true(average[0] == 1);
}

static void warmup_bounds_the_decay(void **state)
{
    const sv_average_options plain = { .decay = 0.999 }, warm = { .decay = 0.999, .warmup = true };
    (void)state;
    assert_true(sv_average_decay(&plain, 1) == 0.999);
    assert_true(sv_average_decay(&warm, 1) == 2.0 / 11);
    assert_true(sv_average_decay(&warm, 90) == 91.0 / 100);
    assert_true(sv_average_decay(&warm, 8989) < 0.999);
    assert_true(sv_average_decay(&warm, 8991) == 0.999);
}

static void threads_do_not_change_the_average(void **state)
{
    (void)state;
    for (size_t threads = 1; threads <= 5; threads += 2) {
        sv_threads_set(threads);
        fill(3);
        memcpy(average, values, sizeof average);
        fill(4);
        sv_average_step(average, values, COUNT, 0.99);
        if (threads == 1) memcpy(first, average, sizeof first);
        assert_memory_equal(first, average, sizeof first);
    }
    sv_threads_set(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_average_follows_its_formula),
        cmocka_unit_test(the_average_of_one_is_one),
        cmocka_unit_test(warmup_bounds_the_decay),
        cmocka_unit_test(threads_do_not_change_the_average),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
