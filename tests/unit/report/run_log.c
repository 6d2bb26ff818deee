/* report/run_log.c: what is logged reaches the file by its level, and a full disk ends no run. */
#include "tests/unit/report/test_report.h"

/* The lines of the file without date and time, whose form is checked. */
static void assert_lines(const char *expected)
{
    unsigned char *bytes = NULL;
    size_t count;
    sv_error err = { 0 };
    char rest[8192] = "";
    assert_ok(sv_file_read_all(in_folder("log.txt"), 1 << 20, SV_DATA, &bytes, &count, &err), err);
    for (char *line = (char *)bytes; *line;) {
        int year, month, day, hour, minute, second, used = 0;
        char *end = strchr(line, '\n');
        assert_non_null(end);
        if (sscanf(line, "%4d-%2d-%2d %2d:%2d:%2d%n", &year, &month, &day, &hour, &minute, &second, &used) != 6 || used != 19
            || line[19] != ' ')
            fail_msg("no date and time: %s", line);
        strncat(rest, line + 20, (size_t)(end + 1 - line - 20));
        line = end + 1;
    }
    assert_string_equal(rest, expected);
    sv_free(bytes);
}

/* Standard error goes to a file from _begin to _end. */
static int saved_error = -1;
static void capture_begin(void)
{
    saved_error = dup(2);
    assert_non_null(freopen(in_folder("said"), "w", stderr));
}
static void capture_end(void)
{
    fflush(stderr);
    dup2(saved_error, 2);
    close(saved_error);
}

static void each_message_goes_to_the_file_and_the_terminal_by_its_level(void **state)
{
    (void)state;
    sv_run_log *log = NULL;
    sv_error err = { 0 };
    assert_ok(sv_run_log_open(&log, in_folder("log.txt"), 0, SV_VERBOSE, SV_WARNING, &err), err);
    capture_begin();
    sv_log(SV_WARNING, "a %s", "warning");
    sv_log(SV_INFO, "news");
    sv_log(SV_VERBOSE, "more");
    capture_end();
    sv_run_log_close(log);
    assert_lines("warning: a warning\nnews\nmore\n");
    assert_holds(in_folder("said"), "warning: a warning\n");
}

static void the_file_may_hold_less_than_the_terminal(void **state)
{
    (void)state;
    sv_run_log *log = NULL;
    sv_error err = { 0 };
    assert_ok(sv_run_log_open(&log, in_folder("log.txt"), 0, SV_WARNING, SV_INFO, &err), err);
    capture_begin();
    sv_log(SV_INFO, "news");
    sv_log(SV_VERBOSE, "more");
    capture_end();
    sv_run_log_close(log);
    assert_holds(in_folder("log.txt"), "");
    assert_holds(in_folder("said"), "news\n");
}

static void a_log_goes_on_behind_what_is_there_and_ends_when_closed(void **state)
{
    (void)state;
    sv_error err = { 0 };
    for (int run = 0; run < 2; run++) {
        sv_run_log *log = NULL;
        assert_ok(sv_run_log_open(&log, in_folder("log.txt"), 0, SV_INFO, SV_QUIET, &err), err);
        sv_log(SV_INFO, "run %d", run);
        sv_run_log_close(log);
        sv_log(SV_INFO, "nobody hears this");
    }
    sv_run_log_close(NULL);
    assert_lines("run 0\nrun 1\n");
}

static void a_line_that_cannot_be_written_is_said_once_and_the_run_goes_on(void **state)
{
    (void)state;
    sv_run_log *log = NULL;
    sv_error err = { 0 };
    assert_ok(sv_run_log_open(&log, in_folder("log.txt"), 0, SV_INFO, SV_QUIET, &err), err);
    capture_begin();
    sv_fault_set(SV_FAULT_WRITE, 1, true);
    for (int i = 0; i < 3; i++) sv_log(SV_INFO, "lost %d", i);
    sv_fault_set(SV_FAULT_WRITE, 0, false);
    sv_log(SV_INFO, "kept");
    capture_end();
    sv_run_log_close(log);
    assert_lines("kept\n");
    unsigned char *said = NULL;
    size_t count;
    assert_ok(sv_file_read_all(in_folder("said"), 1 << 20, SV_DATA, &said, &count, &err), err);
    assert_int_equal(times_in((char *)said, "\n"), 1);
    assert_part((char *)said, "log.txt: appending ");
    sv_free(said);
}

static void a_line_that_is_too_long_is_cut_and_still_a_line(void **state)
{
    (void)state;
    static char line[10000];
    sv_run_log *log = NULL;
    sv_error err = { 0 };
    memset(line, 'x', sizeof line - 1);
    assert_ok(sv_run_log_open(&log, in_folder("log.txt"), 0, SV_INFO, SV_QUIET, &err), err);
    sv_log(SV_INFO, "%s", line);
    sv_log(SV_INFO, "next");
    sv_run_log_close(log);
    unsigned char *bytes = NULL;
    size_t count;
    assert_ok(sv_file_read_all(in_folder("log.txt"), 1 << 20, SV_DATA, &bytes, &count, &err), err);
    assert_int_equal(times_in((char *)bytes, "\n"), 2);
    assert_part((char *)bytes, " next\n");
    assert_part((char *)bytes, "xxxxxxxxxx");
    sv_free(bytes);
}

static void a_folder_that_is_not_there_is_said_when_the_log_is_opened(void **state)
{
    (void)state;
    sv_run_log *log = NULL;
    sv_error err = { 0 };
    sv_memory memory = sv_memory_now();
    assert_int_equal(sv_run_log_open(&log, in_folder("absent/log.txt"), 0, SV_INFO, SV_QUIET, &err), SV_FAULT);
    assert_null(log);
    assert_part(err.text, "absent/log.txt");
    assert_int_equal(sv_memory_now().live, memory.live);
}

static void a_log_that_is_full_becomes_the_first_old_one(void **state)
{
    (void)state;
    sv_run_log *log = NULL;
    sv_error err = { 0 };
    assert_ok(sv_run_log_open(&log, in_folder("log.txt"), 60, SV_INFO, SV_QUIET, &err), err);
    for (int i = 0; i < 12; i++) sv_log(SV_INFO, "line %02d", i); /* 28 bytes each: two fit */
    sv_run_log_close(log);
    assert_lines("line 10\nline 11\n");
    for (int old = 1; old <= SV_RUN_LOG_OLD; old++) {
        unsigned char *bytes = NULL;
        size_t count;
        char name[32], line[32];
        snprintf(name, sizeof name, "log.%d.txt", old);
        snprintf(line, sizeof line, "line %02d\n", 10 - 2 * old);
        assert_ok(sv_file_read_all(in_folder(name), 1 << 20, SV_DATA, &bytes, &count, &err), err);
        assert_part((char *)bytes, line);
        assert_int_equal(times_in((char *)bytes, "\n"), 2);
        sv_free(bytes);
    }
    assert_int_equal(entries_in(test_folder), 1 + SV_RUN_LOG_OLD);
}

static int back_to_the_default(void **state)
{
    sv_log_set(NULL, NULL, SV_QUIET);
    return remove_folder(state);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, back_to_the_default)
int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(each_message_goes_to_the_file_and_the_terminal_by_its_level),
        WITH_FOLDER(the_file_may_hold_less_than_the_terminal),
        WITH_FOLDER(a_log_goes_on_behind_what_is_there_and_ends_when_closed),
        WITH_FOLDER(a_line_that_cannot_be_written_is_said_once_and_the_run_goes_on),
        WITH_FOLDER(a_log_that_is_full_becomes_the_first_old_one),
        WITH_FOLDER(a_line_that_is_too_long_is_cut_and_still_a_line),
        WITH_FOLDER(a_folder_that_is_not_there_is_said_when_the_log_is_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
