/* base/atomic_file.c: whatever call fails, the old file is whole and nothing is left behind. */
#include "tests/unit/base/test_base.h"

#include <signal.h>
#include <sys/wait.h>

enum { BIG = 700000 }; /* more than two buffers */

static sv_status write_big(const char *path, sv_error *err)
{
    static char line[1000];
    sv_atomic_file file = { 0 };
    memset(line, 'n', sizeof line);
    sv_status status = sv_atomic_open(&file, path, err);
    for (size_t done = 0; done < BIG && !status; done += sizeof line) status = sv_atomic_write(&file, line, sizeof line, err);
    if (!status) status = sv_atomic_commit(&file, err);
    sv_atomic_abandon(&file);
    return status;
}

static size_t size_of(const char *path)
{
    struct stat about;
    return stat(path, &about) ? 0 : (size_t)about.st_size;
}

static void the_new_file_takes_the_place_of_the_old(void **state)
{
    (void)state;
    sv_error err;
    const char *path = in_folder("model.bin");
    assert_ok(sv_file_write_atomic(path, "old", 3, &err), err);
    assert_holds(path, "old");
    assert_ok(sv_file_write_atomic(path, "newer", 5, &err), err);
    assert_holds(path, "newer");
    assert_ok(sv_file_write_atomic(path, NULL, 0, &err), err);
    assert_holds(path, "");
    assert_int_equal(entries_in(test_folder), 1);
}

static void until_commit_the_old_file_stands(void **state)
{
    (void)state;
    sv_error err;
    sv_atomic_file file = { 0 };
    const char *path = in_folder("model.bin");
    write_text(path, "old");
    assert_ok(sv_atomic_open(&file, path, &err), err);
    for (int i = 0; i < 100000; i++) assert_ok(sv_atomic_write(&file, "0123456789", 10, &err), err);
    assert_holds(path, "old");
    sv_atomic_abandon(&file);
    sv_atomic_abandon(&file);
    assert_holds(path, "old");
    assert_int_equal(entries_in(test_folder), 1);
}

/* The file before is whole after every failure but one: where only the folder's sync failed, the new one stands, whole. */
static void fail_each_call(sv_fault_kind kind, bool forever)
{
    const char *path = in_folder("model.bin");
    size_t descriptors = open_descriptors(), failures = 0;
    sv_memory memory = sv_memory_now();
    bool survived = false;
    for (uint64_t at = 1; at < 100 && !survived; at++) {
        sv_error err = { 0 };
        write_text(path, "old");
        sv_fault_set(kind, at, forever);
        survived = write_big(path, &err) == SV_OK;
        sv_fault_set(kind, 0, false);
        bool folder_sync = strstr(err.text, "may not outlive a power cut") != NULL;
        if (survived || folder_sync) assert_int_equal(size_of(path), BIG);
        else assert_holds(path, "old");
        if (!survived) {
            assert_int_equal(err.code, SV_FAULT);
            assert_true(strstr(err.text, "model.bin") || strstr(err.text, "out of memory"));
            failures++;
        }
        assert_int_equal(entries_in(test_folder), 1);
        assert_int_equal(open_descriptors(), descriptors);
        assert_int_equal(sv_memory_now().live, memory.live);
    }
    assert_true(survived);
    assert_true(failures > 0);
}

static void every_failing_call_leaves_the_old_file_whole(void **state)
{
    (void)state;
    static const sv_fault_kind kinds[] = { SV_FAULT_ALLOC, SV_FAULT_OPEN, SV_FAULT_WRITE, SV_FAULT_SYNC, SV_FAULT_RENAME };
    for (size_t k = 0; k < SV_COUNT(kinds); k++) {
        fail_each_call(kinds[k], false);
        fail_each_call(kinds[k], true);
    }
}

static void a_full_disk_is_named(void **state)
{
    (void)state;
    sv_error err;
    char expected[512];
    sv_fault_set(SV_FAULT_WRITE, 1, true);
    assert_int_equal(sv_file_write_atomic(in_folder("a"), "x", 1, &err), SV_FAULT);
    snprintf(expected, sizeof expected, "%s: writing failed after 0 bytes: No space left on device; the file before stays as it was", in_folder("a"));
    assert_string_equal(err.text, expected);
}

static void what_a_killed_writer_left_is_taken_over(void **state)
{
    (void)state;
    sv_error err;
    const char *path = in_folder("model.bin");
    write_text(path, "old");
    pid_t child = fork();
    if (child == 0) {
        sv_atomic_file file = { 0 };
        static char much[1 << 20];
        bool fine = sv_atomic_open(&file, path, NULL) == SV_OK && sv_atomic_write(&file, much, sizeof much, NULL) == SV_OK;
        if (fine) raise(SIGKILL);
        _exit(1);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how));
    assert_holds(path, "old");
    assert_int_equal(entries_in(test_folder), 2);
    assert_ok(sv_file_write_atomic(path, "new", 3, &err), err);
    assert_holds(path, "new");
    assert_int_equal(entries_in(test_folder), 1);
}

static void two_writers_of_one_file_do_not_mix(void **state)
{
    (void)state;
    sv_error err;
    const char *path = in_folder("model.bin");
    enum { WRITERS = 4, ROUNDS = 20 };
    pid_t children[WRITERS];
    for (int w = 0; w < WRITERS; w++) {
        children[w] = fork();
        if (children[w] == 0) {
            char text[5000];
            memset(text, 'a' + w, sizeof text);
            bool fine = true;
            for (int i = 0; i < ROUNDS && fine; i++) fine = sv_file_write_atomic(path, text, sizeof text, &err) == SV_OK;
            if (!fine) fprintf(stderr, "%s\n", err.text);
            _exit(fine ? 0 : 1);
        }
    }
    for (int w = 0; w < WRITERS; w++) {
        int how;
        assert_int_equal(waitpid(children[w], &how, 0), children[w]);
        assert_int_equal(how, 0);
    }
    unsigned char *bytes;
    size_t count;
    assert_ok(sv_file_read_all(path, 1 << 20, SV_DATA, &bytes, &count, &err), err);
    assert_int_equal(count, 5000);
    for (size_t i = 1; i < count; i++) assert_int_equal(bytes[i], bytes[0]);
    sv_free(bytes);
    assert_int_equal(entries_in(test_folder), 1);
}

static void a_link_keeps_pointing_at_its_file(void **state)
{
    (void)state;
    sv_error err;
    write_text(in_folder("real"), "old");
    assert_int_equal(symlink("real", in_folder("link")), 0);
    assert_ok(sv_file_write_atomic(in_folder("link"), "new", 3, &err), err);
    struct stat about;
    assert_int_equal(lstat(in_folder("link"), &about), 0);
    assert_true(S_ISLNK(about.st_mode));
    assert_holds(in_folder("real"), "new");
}

static void rights_of_the_old_file_are_kept(void **state)
{
    (void)state;
    sv_error err;
    struct stat about;
    write_text(in_folder("a"), "old");
    assert_int_equal(chmod(in_folder("a"), 0640), 0);
    assert_ok(sv_file_write_atomic(in_folder("a"), "new", 3, &err), err);
    assert_int_equal(stat(in_folder("a"), &about), 0);
    assert_int_equal(about.st_mode & 0777, 0640);
}

static void folders_devices_and_absent_folders_are_refused(void **state)
{
    (void)state;
    sv_error err;
    assert_int_equal(sv_file_write_atomic("/tmp", "x", 1, &err), SV_FAULT);
    assert_string_equal(err.text, "/tmp: is a folder; expected a file or nothing yet");
    assert_int_equal(sv_file_write_atomic("/dev/null", "x", 1, &err), SV_FAULT);
    assert_string_equal(err.text, "/dev/null: is a device or pipe; expected a file or nothing yet");
    assert_int_equal(sv_file_write_atomic("/nowhere/a", "x", 1, &err), SV_FAULT);
    assert_string_equal(err.text, "/nowhere/a: cannot be written: /nowhere/.a.partial cannot be created: No such file or directory");
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(the_new_file_takes_the_place_of_the_old),
        WITH_FOLDER(until_commit_the_old_file_stands),
        WITH_FOLDER(every_failing_call_leaves_the_old_file_whole),
        WITH_FOLDER(a_full_disk_is_named),
        WITH_FOLDER(what_a_killed_writer_left_is_taken_over),
        WITH_FOLDER(two_writers_of_one_file_do_not_mix),
        WITH_FOLDER(a_link_keeps_pointing_at_its_file),
        WITH_FOLDER(rights_of_the_old_file_are_kept),
        cmocka_unit_test(folders_devices_and_absent_folders_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
