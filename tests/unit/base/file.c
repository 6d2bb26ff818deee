/* base/file.c: reading at any place, refusing what is no file, failures that say which file and why, nothing left open. */
#include "tests/unit/base/test_base.h"

static void any_part_of_a_file_can_be_read(void **state)
{
    (void)state;
    sv_error err;
    sv_file file = { 0 };
    char room[8] = "";
    write_text(in_folder("a"), "0123456789");
    assert_ok(sv_file_open(&file, in_folder("a"), SV_DATA, &err), err);
    assert_int_equal(file.size, 10);
    assert_ok(sv_file_read_at(&file, 3, room, 4, &err), err);
    assert_memory_equal(room, "3456", 4);
    assert_ok(sv_file_read_at(&file, 10, room, 0, &err), err);
    sv_file_close(&file);
    sv_file_close(&file);
}

static void a_short_file_says_where_it_ends(void **state)
{
    (void)state;
    sv_error err;
    sv_file file = { 0 };
    char room[64], expected[256];
    write_text(in_folder("a"), "0123456789");
    assert_ok(sv_file_open(&file, in_folder("a"), SV_MODEL_FILE, &err), err);
    assert_int_equal(sv_file_read_at(&file, 6, room, 10, &err), SV_MODEL_FILE);
    snprintf(expected, sizeof expected, "%s: ends at byte 10, where 6 more were expected; is the file cut off?", in_folder("a"));
    assert_string_equal(err.text, expected);
    assert_int_equal(sv_file_read_at(&file, UINT64_MAX, room, 10, &err), SV_MODEL_FILE);
    assert_int_equal(sv_file_read_at(&file, INT64_MAX, room, 10, &err), SV_MODEL_FILE);
    sv_file_close(&file);
}

static void what_is_no_file_is_refused_by_name(void **state)
{
    (void)state;
    static const struct { const char *path, *why; } cases[] = {
        { "/dev/null", "is a device or pipe; expected a file" }, { "/tmp", "is a folder; expected a file" },
        { "/nowhere/a", "cannot be opened: No such file or directory" }, { "", "cannot be opened: No such file or directory" },
    };
    size_t before = open_descriptors();
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        sv_error err = { 0 };
        sv_file file = { 0 };
        char expected[128];
        assert_int_equal(sv_file_open(&file, cases[i].path, SV_DATA, &err), SV_DATA);
        snprintf(expected, sizeof expected, "%s: %s", cases[i].path, cases[i].why);
        assert_string_equal(err.text, expected);
        assert_null(file.path);
    }
    assert_int_equal(open_descriptors(), before);
}

static void a_pipe_does_not_block(void **state)
{
    (void)state;
    sv_error err;
    sv_file file = { 0 };
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    assert_int_equal(sv_file_open(&file, in_folder("pipe"), SV_DATA, &err), SV_DATA);
    assert_non_null(strstr(err.text, "device or pipe"));
}

static void whole_files_are_bounded_and_end_in_zero(void **state)
{
    (void)state;
    sv_error err;
    unsigned char *bytes = NULL;
    size_t count = 0;
    write_text(in_folder("a"), "hello");
    assert_ok(sv_file_read_all(in_folder("a"), 5, SV_DATA, &bytes, &count, &err), err);
    assert_int_equal(count, 5);
    assert_string_equal((char *)bytes, "hello");
    sv_free(bytes);
    bytes = NULL;
    assert_int_equal(sv_file_read_all(in_folder("a"), 4, SV_DATA, &bytes, &count, &err), SV_DATA);
    assert_non_null(strstr(err.text, "has 5 bytes; at most 4 were expected"));
    assert_null(bytes);
    write_text(in_folder("empty"), "");
    assert_ok(sv_file_read_all(in_folder("empty"), 0, SV_DATA, &bytes, &count, &err), err);
    assert_int_equal(count, 0);
    assert_int_equal(bytes[0], 0);
    sv_free(bytes);
}

static void every_failing_call_of_a_read_leaks_nothing(void **state)
{
    (void)state;
    static const sv_fault_kind kinds[] = { SV_FAULT_ALLOC, SV_FAULT_OPEN, SV_FAULT_READ };
    write_text(in_folder("a"), "hello");
    sv_memory memory = sv_memory_now();
    size_t descriptors = open_descriptors();
    for (size_t k = 0; k < SV_COUNT(kinds); k++) {
        bool survived = false;
        for (uint64_t at = 1; at < 20 && !survived; at++) {
            sv_error err = { 0 };
            unsigned char *bytes = NULL;
            size_t count;
            sv_fault_set(kinds[k], at, false);
            survived = sv_file_read_all(in_folder("a"), 100, SV_DATA, &bytes, &count, &err) == SV_OK;
            assert_true(survived || err.text[0]);
            assert_true(survived == (bytes != NULL));
            sv_free(bytes);
            assert_int_equal(sv_memory_now().live, memory.live);
            assert_int_equal(open_descriptors(), descriptors);
        }
        sv_fault_set(kinds[k], 0, false);
        assert_true(survived);
    }
}

static void appending_adds_at_the_end_and_reports_a_full_disk(void **state)
{
    (void)state;
    sv_error err = { 0 };
    size_t descriptors = open_descriptors();
    assert_ok(sv_file_append(in_folder("log"), "one\n", 4, &err), err);
    assert_ok(sv_file_append(in_folder("log"), "two\n", 4, &err), err);
    assert_holds(in_folder("log"), "one\ntwo\n");
    static const sv_fault_kind kinds[] = { SV_FAULT_OPEN, SV_FAULT_WRITE, SV_FAULT_SYNC };
    for (size_t k = 0; k < SV_COUNT(kinds); k++) {
        sv_fault_set(kinds[k], 1, false);
        assert_int_equal(sv_file_append(in_folder("log"), "x", 1, &err), SV_FAULT);
        assert_non_null(strstr(err.text, "log: "));
        sv_fault_set(kinds[k], 0, false);
    }
    assert_int_equal(open_descriptors(), descriptors);
    assert_int_equal(sv_file_append("/nowhere/log", "x", 1, &err), SV_FAULT);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(any_part_of_a_file_can_be_read),
        WITH_FOLDER(a_short_file_says_where_it_ends),
        cmocka_unit_test(what_is_no_file_is_refused_by_name),
        WITH_FOLDER(a_pipe_does_not_block),
        WITH_FOLDER(whole_files_are_bounded_and_end_in_zero),
        WITH_FOLDER(every_failing_call_of_a_read_leaks_nothing),
        WITH_FOLDER(appending_adds_at_the_end_and_reports_a_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
