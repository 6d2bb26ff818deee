/* base/folder.c: created with parents, listed in the order of bytes, joined. */
#include "tests/unit/base/test_base.h"

static void folders_are_created_with_their_parents(void **state)
{
    (void)state;
    sv_error err = { 0 };
    assert_ok(sv_folder_create(in_folder("a/b c//d/"), &err), err);
    assert_true(sv_path_is_folder(in_folder("a/b c/d")));
    assert_ok(sv_folder_create(in_folder("a/b c/d"), &err), err);
    assert_ok(sv_folder_create("/", &err), err);
    write_text(in_folder("file"), "");
    assert_int_equal(sv_folder_create(in_folder("file/x"), &err), SV_FAULT);
    char expected[256];
    snprintf(expected, sizeof expected, "%s: the folder cannot be created: Not a directory", in_folder("file"));
    assert_string_equal(err.text, expected);
}

static void names_are_sorted_by_bytes_and_hidden_ones_left_out(void **state)
{
    (void)state;
    static const char *const given[] = { "b", "a", "Z", "a b", "\xc3\xa4", ".hidden", "10", "9" };
    static const char *const expected[] = { "10", "9", "Z", "a", "a b", "b", "\xc3\xa4" };
    sv_error err;
    sv_names names = { 0 };
    for (size_t i = 0; i < SV_COUNT(given); i++) write_text(in_folder(given[i]), "");
    assert_ok(sv_folder_list(test_folder, SV_DATA, &names, &err), err);
    assert_int_equal(names.count, SV_COUNT(expected));
    for (size_t i = 0; i < names.count; i++) assert_string_equal(names.items[i], expected[i]);
    sv_names_clear(&names);
    sv_names_clear(&names);
}

static void an_empty_folder_has_no_names_and_an_absent_one_is_an_error(void **state)
{
    (void)state;
    sv_error err;
    sv_names names = { 0 };
    assert_ok(sv_folder_list(test_folder, SV_DATA, &names, &err), err);
    assert_int_equal(names.count, 0);
    sv_names_clear(&names);
    assert_int_equal(sv_folder_list("/nowhere", SV_DATA, &names, &err), SV_DATA);
    assert_string_equal(err.text, "/nowhere: the folder cannot be listed: No such file or directory");
}

static void a_listing_that_runs_out_of_memory_leaks_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        write_text(in_folder(name), "");
    }
    sv_memory memory = sv_memory_now();
    bool survived = false;
    for (uint64_t at = 1; at < 100 && !survived; at++) {
        sv_error err = { 0 };
        sv_names names = { 0 };
        sv_fault_set(SV_FAULT_ALLOC, at, false);
        survived = sv_folder_list(test_folder, SV_DATA, &names, &err) == SV_OK;
        sv_names_clear(&names);
        assert_int_equal(sv_memory_now().live, memory.live);
    }
    assert_true(survived);
}

static void kinds_of_paths_are_told_apart_through_links(void **state)
{
    (void)state;
    write_text(in_folder("file"), "x");
    assert_int_equal(symlink("file", in_folder("to file")), 0);
    assert_int_equal(symlink(test_folder, in_folder("to folder")), 0);
    assert_int_equal(symlink("absent", in_folder("to nothing")), 0);
    assert_true(sv_path_is_file(in_folder("to file")) && !sv_path_is_folder(in_folder("to file")));
    assert_true(sv_path_is_folder(in_folder("to folder")) && !sv_path_is_file(in_folder("to folder")));
    assert_false(sv_path_exists(in_folder("to nothing")));
    assert_true(sv_path_exists("/dev/null") && !sv_path_is_file("/dev/null"));
}

static void joining_puts_one_slash_between(void **state)
{
    (void)state;
    static const struct { const char *folder, *name, *joined; } cases[] = {
        { "a", "b", "a/b" }, { "a/", "b", "a/b" }, { "", "b", "b" }, { "a", "/b", "/b" }, { "/", "b", "/b" }, { "a b", "c d", "a b/c d" },
    };
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        sv_error err;
        char *path;
        assert_ok(sv_path_join(&path, cases[i].folder, cases[i].name, &err), err);
        assert_string_equal(path, cases[i].joined);
        sv_free(path);
    }
}

static void the_folder_of_the_program_holds_the_program(void **state)
{
    (void)state;
    sv_error err;
    char *folder, *path;
    assert_ok(sv_path_of_program(&folder, &err), err);
    assert_ok(sv_path_join(&path, folder, "folder", &err), err);
    assert_true(sv_path_is_file(path));
    sv_free(path);
    sv_free(folder);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(folders_are_created_with_their_parents),
        WITH_FOLDER(names_are_sorted_by_bytes_and_hidden_ones_left_out),
        WITH_FOLDER(an_empty_folder_has_no_names_and_an_absent_one_is_an_error),
        WITH_FOLDER(a_listing_that_runs_out_of_memory_leaks_nothing),
        WITH_FOLDER(kinds_of_paths_are_told_apart_through_links),
        cmocka_unit_test(joining_puts_one_slash_between),
        cmocka_unit_test(the_folder_of_the_program_holds_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
