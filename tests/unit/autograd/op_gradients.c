/* Every op on every one of its samples: the gradient against five-point differences. One test an op, under the op's name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "autograd/op.h"
#include "kernels/kernels.h"

#include <stdlib.h>
#include <string.h>

/* In double the differences themselves are good to about 1e-10. In float they are not good for more than a gross error: steps of 1e-2
 * over values rounded to 6e-8 of their size. */
#ifdef SIEVE_F64
static const double bound = 1e-7;
#else
static const double bound = 2e-2;
#endif

/* Not in float: large numbers, whose rounding alone is as large as the step; and curves with corners closer than the step. */
static bool is_checked(const sv_op *op, const sv_sample *sample)
{
    return sizeof(sv_real) == sizeof(double) || (!strstr(sample->name, "large") && strcmp(op->name, "latency_loss") != 0 && strcmp(op->name, "relu") != 0 && strcmp(op->name, "pool") != 0);
}

static void gradient_equals_differences(void **state)
{
    const sv_op *op = *state;
    double most = 0;
    assert_true(op->sample_count >= 6);
    for (size_t s = 0; s < op->sample_count; s++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            sv_error err = { 0 };
            double worst = 0;
            if (sv_gradient_check(op, &op->samples[s], seed, &worst, &err))
                fail_msg("%s, sample '%s': %s", op->name, op->samples[s].name, err.text);
            if (!is_checked(op, &op->samples[s])) continue;
            if (!(worst <= bound))
                fail_msg("%s, sample '%s', seed %llu: gradient off by %.3g, at most %.0e", op->name, op->samples[s].name,
                         (unsigned long long)seed, worst, bound);
            if (worst > most) most = worst;
        }
    if (op->backward)
        print_message("%-20s worst %.1e over %zu samples\n", op->name, most, op->sample_count);
    else
        print_message("%-20s no gradient; ran on %zu samples\n", op->name, op->sample_count);
}

int main(void)
{
    struct CMUnitTest *tests = calloc(sv_op_count, sizeof *tests);
    int failed = 1;
    if (!tests) return failed;
    sv_kernels_init();
    sv_threads_set(1); /* thousands of steps of a few numbers each: meeting would take longer than the work */
    for (size_t i = 0; i < sv_op_count; i++)
        tests[i] = (struct CMUnitTest){ .name = sv_ops[i]->name,
                                        .test_func = gradient_equals_differences,
                                        .initial_state = (void *)(uintptr_t)sv_ops[i] };
    failed = _cmocka_run_group_tests("op_gradients", tests, sv_op_count, NULL, NULL);
    free(tests);
    return failed;
}
