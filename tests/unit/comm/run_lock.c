/* comm/run_lock.c: one process a folder; whoever ends lets go, whatever is left behind. */
#include "tests/unit/base/test_base.h"

#include "comm/comm.h"

#include <signal.h>
#include <sys/wait.h>

static void a_folder_is_taken_once_and_free_again_after_release(void **state)
{
    (void)state;
    sv_run_lock *first = NULL, *second = NULL;
    sv_error err = { 0 };
    assert_ok(sv_run_lock_take(&first, test_folder, &err), err);
    assert_int_equal(sv_run_lock_take(&second, test_folder, &err), SV_USAGE);
    assert_null(second);
    sv_run_lock_release(first);
    assert_ok(sv_run_lock_take(&second, test_folder, &err), err);
    sv_run_lock_release(second);
    sv_run_lock_release(NULL);
}

static void who_holds_it_is_named_with_process_and_host(void **state)
{
    (void)state;
    sv_run_lock *first = NULL, *second = NULL;
    sv_error err = { 0 };
    char host[64] = "", expected[512];
    gethostname(host, sizeof host - 1);
    assert_ok(sv_run_lock_take(&first, test_folder, &err), err);
    assert_int_equal(sv_run_lock_take(&second, test_folder, &err), SV_USAGE);
    snprintf(expected, sizeof expected, "%s is in use by process %ld on %s; wait for it, or give another run.dir", test_folder,
             (long)getpid(), host);
    assert_string_equal(err.text, expected);
    snprintf(expected, sizeof expected, "process %ld on %s\n", (long)getpid(), host);
    assert_holds(in_folder(".lock"), expected); /* a refused one does not write over it */
    sv_run_lock_release(first);
}

static void two_folders_are_no_matter_to_each_other(void **state)
{
    (void)state;
    sv_run_lock *first = NULL, *second = NULL;
    sv_error err = { 0 };
    assert_ok(sv_folder_create(in_folder("a"), &err), err);
    assert_ok(sv_folder_create(in_folder("b"), &err), err);
    assert_ok(sv_run_lock_take(&first, in_folder("a"), &err), err);
    assert_ok(sv_run_lock_take(&second, in_folder("b/"), &err), err);
    sv_run_lock_release(first);
    sv_run_lock_release(second);
}

static void what_an_earlier_process_left_behind_means_nothing(void **state)
{
    (void)state;
    sv_run_lock *lock = NULL;
    sv_error err = { 0 };
    char expected[256], host[64] = "";
    gethostname(host, sizeof host - 1);
    write_text(in_folder(".lock"),
               "process 1 on a machine with a name that is much longer than that of this one, so that something could be left of it\n");
    assert_ok(sv_run_lock_take(&lock, test_folder, &err), err);
    snprintf(expected, sizeof expected, "process %ld on %s\n", (long)getpid(), host);
    assert_holds(in_folder(".lock"), expected);
    sv_run_lock_release(lock);
}

/* Takes the folder in another process, which then waits to be killed; returns when it holds it. */
static pid_t hold_elsewhere(void)
{
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        sv_run_lock *lock = NULL;
        sv_error err;
        byte = sv_run_lock_take(&lock, test_folder, &err) ? 'n' : 'y';
        if (write(ready[1], &byte, 1) == 1) pause();
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    if (byte != 'y') {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        fail_msg("the other process could not take the folder");
    }
    return child;
}

static void another_process_is_kept_out_until_it_is_killed(void **state)
{
    (void)state;
    sv_run_lock *lock = NULL;
    sv_error err = { 0 };
    char named[64];
    pid_t child = hold_elsewhere();
    sv_status refused = sv_run_lock_take(&lock, test_folder, &err);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(refused, SV_USAGE);
    snprintf(named, sizeof named, "is in use by process %ld on ", (long)child);
    if (!strstr(err.text, named)) fail_msg("'%s'; expected '%s' in it", err.text, named);
    assert_ok(sv_run_lock_take(&lock, test_folder, &err), err); /* the system let go of it */
    sv_run_lock_release(lock);
}

/* A program that the run starts (a viewer, a hook) must not keep the folder after the run has ended. */
static void a_program_started_by_the_run_does_not_inherit_the_lock(void **state)
{
    (void)state;
    sv_run_lock *lock = NULL;
    sv_error err = { 0 };
    assert_ok(sv_run_lock_take(&lock, test_folder, &err), err);
    pid_t child = fork();
    if (child == 0) {
        execlp("sleep", "sleep", "30", (char *)NULL);
        _exit(127);
    }
    assert_true(child > 0);
    char link[64], target[64];
    snprintf(link, sizeof link, "/proc/%ld/exe", (long)child);
    for (int i = 0; i < 2000; i++) { /* until it is another program */
        ssize_t length = readlink(link, target, sizeof target - 1);
        target[length > 0 ? length : 0] = 0;
        if (!strstr(target, "run_lock") && length > 0) break;
        usleep(1000);
    }
    sv_run_lock_release(lock);
    lock = NULL;
    sv_status status = sv_run_lock_take(&lock, test_folder, &err);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(status, SV_OK);
    sv_run_lock_release(lock);
}

static void a_holder_without_a_word_or_with_an_odd_one_is_still_told(void **state)
{
    (void)state;
    sv_run_lock *first = NULL, *second = NULL;
    sv_error err = { 0 };
    assert_ok(sv_run_lock_take(&first, test_folder, &err), err);
    write_text(in_folder(".lock"), ""); /* between the lock and the word */
    assert_int_equal(sv_run_lock_take(&second, test_folder, &err), SV_USAGE);
    assert_non_null(strstr(err.text, " is in use by another process; "));
    write_text(in_folder(".lock"), "pro\x1b[2Jcess\nsecond line");
    assert_int_equal(sv_run_lock_take(&second, test_folder, &err), SV_USAGE);
    assert_non_null(strstr(err.text, " is in use by pro?[2Jcess; "));
    sv_run_lock_release(first);
}

static void a_lock_that_cannot_be_made_is_a_fault_that_says_why(void **state)
{
    (void)state;
    sv_run_lock *lock = NULL;
    sv_error err = { 0 };
    assert_int_equal(sv_run_lock_take(&lock, in_folder("absent"), &err), SV_FAULT);
    assert_non_null(strstr(err.text, "absent/.lock cannot be opened: No such file or directory"));
    assert_null(lock);
    assert_int_equal(mkdir(in_folder(".lock"), 0777), 0);
    assert_int_equal(sv_run_lock_take(&lock, test_folder, &err), SV_FAULT);
    assert_null(lock);
}

static void nothing_is_left_open_and_no_memory_held_however_it_ends(void **state)
{
    (void)state;
    sv_memory memory = sv_memory_now();
    size_t descriptors = open_descriptors();
    bool survived = false;
    for (uint64_t at = 1; at < 20 && !survived; at++) {
        sv_run_lock *lock = NULL, *second = NULL;
        sv_error err = { 0 };
        sv_fault_set(SV_FAULT_ALLOC, at, false);
        survived = sv_run_lock_take(&lock, test_folder, &err) == SV_OK;
        sv_fault_set(SV_FAULT_ALLOC, 0, false);
        if (survived) assert_int_equal(sv_run_lock_take(&second, test_folder, &err), SV_USAGE);
        sv_run_lock_release(lock);
        assert_int_equal(sv_memory_now().live, memory.live);
        assert_int_equal(open_descriptors(), descriptors);
    }
    assert_true(survived);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(a_folder_is_taken_once_and_free_again_after_release),
        WITH_FOLDER(who_holds_it_is_named_with_process_and_host),
        WITH_FOLDER(two_folders_are_no_matter_to_each_other),
        WITH_FOLDER(what_an_earlier_process_left_behind_means_nothing),
        WITH_FOLDER(another_process_is_kept_out_until_it_is_killed),
        WITH_FOLDER(a_program_started_by_the_run_does_not_inherit_the_lock),
        WITH_FOLDER(a_holder_without_a_word_or_with_an_odd_one_is_still_told),
        WITH_FOLDER(a_lock_that_cannot_be_made_is_a_fault_that_says_why),
        WITH_FOLDER(nothing_is_left_open_and_no_memory_held_however_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
