/* base/interrupt.c: the first signal is a request, the second one ends the process. In children, which may die. */
#include "tests/unit/base/test_base.h"

#include <signal.h>
#include <sys/wait.h>

static int how_it_ended(pid_t child)
{
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    return how;
}

static void the_first_signal_sets_the_flag(void **state)
{
    (void)state;
    static const int signals[] = { SIGINT, SIGTERM };
    for (size_t i = 0; i < SV_COUNT(signals); i++) {
        pid_t child = fork();
        if (child == 0) {
            sv_interrupt_install();
            bool before = sv_interrupted();
            raise(signals[i]);
            _exit(!before && sv_interrupted() ? 7 : 1);
        }
        int how = how_it_ended(child);
        assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 7);
    }
}

static void the_second_signal_ends_the_process(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        sv_interrupt_install();
        raise(SIGINT);
        raise(SIGTERM);
        _exit(1);
    }
    int how = how_it_ended(child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGTERM);
}

static void the_clock_never_goes_back(void **state)
{
    (void)state;
    double last = sv_now_seconds();
    for (int i = 0; i < 10000; i++) {
        double now = sv_now_seconds();
        assert_true(now >= last);
        last = now;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_signal_sets_the_flag),
        cmocka_unit_test(the_second_signal_ends_the_process),
        cmocka_unit_test(the_clock_never_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
