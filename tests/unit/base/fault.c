/* base/fault.c: exactly the call that was asked for fails; whole programs can ask through the environment. */
#include "tests/unit/base/test_base.h"

#include <signal.h>
#include <sys/wait.h>

static void only_the_chosen_call_fails(void **state)
{
    (void)state;
    sv_fault_set(SV_FAULT_READ, 3, false);
    for (int i = 1; i <= 6; i++) assert_int_equal(sv_fault_here(SV_FAULT_READ), i == 3);
    assert_int_equal(sv_fault_calls(SV_FAULT_READ), 6);
    sv_fault_set(SV_FAULT_READ, 3, true);
    assert_int_equal(sv_fault_calls(SV_FAULT_READ), 0);
    for (int i = 1; i <= 6; i++) assert_int_equal(sv_fault_here(SV_FAULT_READ), i >= 3);
    sv_fault_set(SV_FAULT_READ, 0, true);
    for (int i = 1; i <= 6; i++) assert_false(sv_fault_here(SV_FAULT_READ));
}

static void kinds_count_apart(void **state)
{
    (void)state;
    sv_fault_set(SV_FAULT_OPEN, 1, false);
    sv_fault_set(SV_FAULT_SYNC, 0, false);
    assert_false(sv_fault_here(SV_FAULT_SYNC));
    assert_true(sv_fault_here(SV_FAULT_OPEN));
    assert_int_equal(sv_fault_calls(SV_FAULT_SYNC), 1);
}

/* The environment is read once a process, so each case is this program again, as "fault --child". */
static int child(void)
{
    bool first = sv_fault_here(SV_FAULT_ALLOC), second = sv_fault_here(SV_FAULT_ALLOC), third = sv_fault_here(SV_FAULT_ALLOC);
    bool write = sv_fault_here(SV_FAULT_WRITE);
    return first + 2 * second + 4 * third + 8 * write;
}

static int run_child(const char *environment)
{
    int how = -1;
    pid_t id = fork();
    if (id == 0) {
        setenv("SIEVE_FAULT", environment, 1);
        if (!freopen("/dev/null", "w", stderr)) _exit(99);
        execl("/proc/self/exe", "fault", "--child", (char *)NULL);
        _exit(98);
    }
    assert_int_equal(waitpid(id, &how, 0), id);
    if (WIFSIGNALED(how)) return -WTERMSIG(how);
    assert_true(WIFEXITED(how));
    return WEXITSTATUS(how);
}

static void programs_fail_as_the_environment_says(void **state)
{
    (void)state;
    assert_int_equal(run_child(""), 0);
    assert_int_equal(run_child("alloc:2"), 2);
    assert_int_equal(run_child("alloc:2+"), 2 + 4);
    assert_int_equal(run_child("alloc:1, write:1"), 1 + 8);
    assert_int_equal(run_child("write:1,alloc:3"), 4 + 8);
    assert_int_equal(run_child("nonsense"), 0);
    assert_int_equal(run_child("alloc:x,write:1"), 8);
    assert_int_equal(run_child(":,+,alloc:"), 0);
    assert_int_equal(run_child("alloc:2!"), -SIGKILL);
    assert_int_equal(run_child("alloc:9!"), 0);
    assert_int_equal(run_child("alloc:2,rank:0"), 2);
    assert_int_equal(run_child("alloc:2!,rank:1"), 0);
    assert_int_equal(run_child("slow:1,clock:5"), 0);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--child") == 0) return child();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_chosen_call_fails),
        cmocka_unit_test(kinds_count_apart),
        cmocka_unit_test(programs_fail_as_the_environment_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
