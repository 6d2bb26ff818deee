/* base/progress.c: plain lines in a pipe, a live line on a terminal (a pseudo terminal here), durations. Each case runs in a
 * child of its own, since the time of the last line is kept for the life of a process. */
#include "tests/unit/base/test_base.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

typedef void scene(void);

static size_t read_all(int descriptor, char *room, size_t room_bytes)
{
    size_t used = 0;
    for (;;) {
        ssize_t got = read(descriptor, room + used, room_bytes - 1 - used);
        if (got <= 0) break; /* a terminal whose other side is closed says EIO */
        used += (size_t)got;
    }
    room[used] = 0;
    return used;
}

static void play(scene *what, int error_end)
{
    dup2(error_end, STDERR_FILENO);
    setenv("TERM", "xterm", 1);
    what();
    _exit(0);
}

static void run_in_pipe(scene *what, char *room, size_t room_bytes)
{
    int ends[2], how;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) play(what, ends[1]);
    close(ends[1]);
    read_all(ends[0], room, room_bytes);
    close(ends[0]);
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_int_equal(how, 0);
}

static bool run_on_terminal(scene *what, unsigned short columns, char *room, size_t room_bytes)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY), how;
    if (master < 0 || grantpt(master) || unlockpt(master)) return false;
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    if (slave < 0) return false;
    struct winsize size = { .ws_row = 24, .ws_col = columns };
    struct termios plain;
    ioctl(slave, TIOCSWINSZ, &size);
    tcgetattr(slave, &plain);
    cfmakeraw(&plain);
    tcsetattr(slave, TCSANOW, &plain);
    pid_t child = fork();
    if (child == 0) play(what, slave);
    close(slave);
    read_all(master, room, room_bytes);
    close(master);
    return waitpid(child, &how, 0) == child && how == 0;
}

static void many_steps(void)
{
    for (int i = 1; i <= 1000; i++) sv_progress("step %d of 1000", i);
    sv_log(SV_WARNING, "a picture is broken");
    for (int i = 1; i <= 10; i++) sv_progress("again %d", i);
    sv_progress_end();
}

static void a_pipe_gets_plain_lines_at_most_one_in_ten_seconds(void **state)
{
    (void)state;
    char got[4096];
    run_in_pipe(many_steps, got, sizeof got);
    assert_string_equal(got, "step 1 of 1000\nwarning: a picture is broken\n");
}

static void with_control_characters(void) { sv_progress("name\n\033[2J"); }

static void control_characters_do_not_reach_the_line(void **state)
{
    (void)state;
    char got[4096];
    run_in_pipe(with_control_characters, got, sizeof got);
    assert_string_equal(got, "name??[2J\n");
}

static void a_message(void)
{
    sv_progress("step 1");
    sv_log(SV_INFO, "hello");
    sv_progress("step 2");
    sv_progress_end();
    sv_log(SV_INFO, "after");
}

static void messages_stand_above_the_live_line(void **state)
{
    (void)state;
    char got[4096];
    if (!run_on_terminal(a_message, 80, got, sizeof got)) skip();
    assert_string_equal(got, "\rstep 1\033[K\r\033[Khello\n\rstep 1\033[K\rstep 2\033[K\nafter\n");
}

static void wide(void)
{
    sv_progress("0123456789\xc3\xa4\xc3\xa4 and more than fits");
    sv_progress_end();
}

static void the_line_is_cut_to_the_terminal(void **state)
{
    (void)state;
    char got[4096];
    if (!run_on_terminal(wide, 12, got, sizeof got)) skip();
    assert_string_equal(got, "\r0123456789\xc3\xa4\033[K\r0123456789\xc3\xa4\033[K\n");
}

static void nothing_but_end(void) { sv_progress_end(); }

static void an_end_without_progress_prints_nothing(void **state)
{
    (void)state;
    char got[64];
    run_in_pipe(nothing_but_end, got, sizeof got);
    assert_string_equal(got, "");
}

static void when_quiet(void)
{
    sv_log_set(NULL, NULL, SV_WARNING);
    sv_progress("step 1");
    sv_log(SV_WARNING, "trouble");
    sv_progress_end();
}

static void quiet_programs_show_no_progress(void **state)
{
    (void)state;
    char got[64];
    run_in_pipe(when_quiet, got, sizeof got);
    assert_string_equal(got, "warning: trouble\n");
}

static void durations_read_well(void **state)
{
    (void)state;
    static const struct { double seconds; const char *text; } cases[] = {
        { 0, "0.0 s" }, { 12.34, "12.3 s" }, { 59.94, "59.9 s" }, { 59.96, "1 min 0 s" }, { 250, "4 min 10 s" }, { 3599.4, "59 min 59 s" },
        { 3599.6, "1 h 00 min" }, { 3780, "1 h 03 min" }, { 100000, "27 h 47 min" }, { -1, "unknown" }, { 1e300, "unknown" },
    };
    char room[32];
    for (size_t i = 0; i < SV_COUNT(cases); i++) assert_string_equal(sv_duration(room, cases[i].seconds), cases[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pipe_gets_plain_lines_at_most_one_in_ten_seconds),
        cmocka_unit_test(control_characters_do_not_reach_the_line),
        cmocka_unit_test(messages_stand_above_the_live_line),
        cmocka_unit_test(the_line_is_cut_to_the_terminal),
        cmocka_unit_test(an_end_without_progress_prints_nothing),
        cmocka_unit_test(quiet_programs_show_no_progress),
        cmocka_unit_test(durations_read_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
