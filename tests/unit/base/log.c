/* base/log.c: levels, sinks, lines of any length. What goes to standard error is caught through a pipe. */
#include "tests/unit/base/test_base.h"

static char seen[8192];
static sv_level seen_level;
static int seen_count;

static void keep(void *context, sv_level level, const char *line)
{
    assert_ptr_equal(context, &seen_count);
    snprintf(seen, sizeof seen, "%s", line);
    seen_level = level;
    seen_count++;
}

static void the_sink_gets_what_the_level_lets_through(void **state)
{
    (void)state;
    static const struct { sv_level most; int count; } cases[] = { { SV_QUIET, 0 }, { SV_WARNING, 1 }, { SV_INFO, 2 }, { SV_VERBOSE, 3 } };
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        seen_count = 0;
        sv_log_set(keep, &seen_count, cases[i].most);
        sv_log(SV_WARNING, "w");
        sv_log(SV_INFO, "i");
        sv_log(SV_VERBOSE, "v");
        sv_log(SV_QUIET, "never");
        assert_int_equal(seen_count, cases[i].count);
    }
    sv_log_set(keep, &seen_count, SV_INFO);
    sv_log(SV_WARNING, "%s: %d", "a", 5);
    assert_string_equal(seen, "a: 5");
    assert_int_equal(seen_level, SV_WARNING);
    sv_log_set(NULL, NULL, SV_INFO);
}

static void long_lines_are_cut_not_lost(void **state)
{
    (void)state;
    static char line[10000];
    memset(line, 'x', sizeof line - 1);
    sv_log_set(keep, &seen_count, SV_INFO);
    sv_log(SV_INFO, "%s", line);
    sv_log_set(NULL, NULL, SV_INFO);
    assert_true(strlen(seen) >= 4000);
}

static void logging_allocates_nothing(void **state)
{
    (void)state;
    sv_log_set(keep, &seen_count, SV_INFO);
    size_t before = sv_memory_now().allocations;
    for (int i = 0; i < 100; i++) sv_log(SV_INFO, "line %d", i);
    assert_int_equal(sv_memory_now().allocations, before);
    sv_log_set(NULL, NULL, SV_INFO);
}

static int handed_on;
static void hand_on(void *context, sv_level level, const char *line)
{
    assert_ptr_equal(context, &handed_on);
    handed_on++;
    sv_log(level, "from here: %s", line);
}

static void a_thread_can_have_a_sink_of_its_own(void **state)
{
    (void)state;
    seen_count = handed_on = 0;
    sv_log_set(keep, &seen_count, SV_WARNING);
    sv_log_set_here(hand_on, &handed_on);
    sv_log(SV_INFO, "a remark"); /* handed on, and then below the level of the program */
    sv_log(SV_WARNING, "a warning");
    sv_log(SV_VERBOSE, "a detail");
    sv_log_set_here(NULL, NULL);
    assert_int_equal(handed_on, 2);
    assert_int_equal(seen_count, 1);
    assert_string_equal(seen, "from here: a warning");
    sv_log(SV_WARNING, "again");
    assert_int_equal(handed_on, 2);
    assert_string_equal(seen, "again");
    sv_log_set(NULL, NULL, SV_INFO);
}

static void the_default_sink_marks_warnings(void **state)
{
    (void)state;
    int ends[2];
    char got[256] = "";
    assert_int_equal(pipe(ends), 0);
    int kept = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    sv_log(SV_INFO, "reading");
    sv_log(SV_WARNING, "3 pictures skipped");
    sv_log(SV_VERBOSE, "unseen");
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(ends[1]);
    assert_true(read(ends[0], got, sizeof got - 1) > 0);
    close(ends[0]);
    assert_string_equal(got, "reading\nwarning: 3 pictures skipped\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sink_gets_what_the_level_lets_through),
        cmocka_unit_test(long_lines_are_cut_not_lost),
        cmocka_unit_test(logging_allocates_nothing),
        cmocka_unit_test(a_thread_can_have_a_sink_of_its_own),
        cmocka_unit_test(the_default_sink_marks_warnings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
