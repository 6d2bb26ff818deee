/* Class files and ImageFolder trees: indices, order, names of every kind, and what is refused. */
#include "tests/unit/data/test_data.h"

static void assert_class_file(const char *text, const char *says)
{
    sv_classes classes = { 0 };
    sv_error err = { 0 };
    write_text(in_folder("classes.txt"), text);
    sv_status status = sv_classes_read(&classes, in_folder("classes.txt"), &err);
    if (status != SV_DATA || !strstr(err.text, says)) fail_msg("expected a refusal that says '%s', got %d '%s'", says, (int)status, err.text);
    assert_int_equal(classes.count, 0);
}

static void class_files_give_line_numbers(void **state)
{
    static const char *const texts[] = { "n2\tzebra, striped\nn1\tapple\nn3\n", "\xef\xbb\xbfn2\tzebra, striped\r\nn1\tapple\r\nn3\r\n\r\n\n", "n2\tzebra, striped\nn1\tapple\nn3" };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(texts); i++) {
        sv_classes classes = { 0 };
        sv_error err = { 0 };
        write_text(in_folder("classes.txt"), texts[i]);
        assert_ok(sv_classes_read(&classes, in_folder("classes.txt"), &err), err);
        assert_int_equal(classes.count, 3);
        assert_int_equal(sv_classes_find(&classes, "n1"), 1);
        assert_int_equal(sv_classes_find(&classes, "n2"), 0);
        assert_int_equal(sv_classes_find(&classes, "n3"), 2);
        assert_int_equal(sv_classes_find(&classes, "n4"), -1);
        assert_string_equal(classes.names[0], "zebra, striped");
        assert_string_equal(classes.names[2], "n3");
        sv_classes_clear(&classes);
    }
}

static void broken_class_files_are_refused_with_their_line(void **state)
{
    char long_line[1200];
    (void)state;
    memset(long_line, 'x', sizeof long_line - 1);
    long_line[sizeof long_line - 1] = 0;
    assert_class_file("", "no class");
    assert_class_file("\n\n", "no class");
    assert_class_file("a\tA\n\nb\tB\n", "classes.txt:2: the line names no class");
    assert_class_file("a\tA\n\tB\n", "classes.txt:2: the line names no class");
    assert_class_file("a\tA\nb\t\n", "classes.txt:2: nothing follows");
    assert_class_file("a\tA\nb\tB\na\tC\n", "classes.txt:3: class 'a' stands on line 1");
    assert_class_file(long_line, "classes.txt:1: the line has 1199 bytes");
    sv_classes classes = { 0 };
    sv_error err = { 0 };
    assert_ok(sv_file_write_atomic(in_folder("zero"), "a\tb\0c\n", 6, &err), err);
    assert_int_equal(sv_classes_read(&classes, in_folder("zero"), &err), SV_DATA);
    assert_non_null(strstr(err.text, "zero:1: the line holds a zero byte"));
    assert_int_equal(sv_classes_read(&classes, in_folder("absent"), &err), SV_DATA);
}

static void folders_sorted_by_bytes_are_the_classes(void **state)
{
    static const struct { const char *path; uint32_t label; } expected[] = {
        { "t1/B/one.jpg", 0 }, { "t1/a b/f\xc3\xbcr Elise (1).png", 1 }, { "t1/a b/no-extension", 1 }, { "t1/a b/sub/deep.jpg", 1 }, { "t1/\xe7\x8c\xab/-v.jpg", 2 },
    };
    sv_source *source;
    sv_error err = { 0 };
    (void)state;
    for (size_t i = SV_COUNT(expected); i-- > 0;) put_picture(expected[i].path, (unsigned)i);
    put_picture("t1/a b/.hidden.jpg", 1);
    put_picture("t1/.hidden/a.jpg", 1);
    write_text(in_folder("t1/README"), "not a class\n");
    assert_ok(sv_source_open_folder(&source, in_folder("t1"), NULL, &err), err);
    assert_int_equal(sv_source_count(source), SV_COUNT(expected));
    assert_int_equal(sv_source_classes(source)->count, 3);
    assert_string_equal(sv_source_classes(source)->names[1], "a b");
    for (size_t i = 0; i < SV_COUNT(expected); i++) {
        sv_picture picture = { 0 };
        char *path;
        assert_ok(sv_source_path(source, i, &path, &err), err);
        assert_string_equal(path, in_folder(expected[i].path));
        assert_int_equal(sv_source_label(source, i), expected[i].label);
        assert_ok(sv_source_read(source, i, &picture, &err), err);
        sv_picture_clear(&picture);
        sv_free(path);
    }
    sv_source_close(source);
}

static void a_class_file_fixes_indices_of_the_folders_present(void **state)
{
    sv_source *source;
    sv_error err = { 0 };
    (void)state;
    put_tree("t2", 2, 1);
    write_text(in_folder("t2.txt"), "zero\tnone\nclassB\tthe b\nclassC\tabsent\nclassA\tthe a\n");
    assert_ok(sv_source_open_folder(&source, in_folder("t2"), in_folder("t2.txt"), &err), err);
    assert_int_equal(sv_source_classes(source)->count, 4);
    assert_int_equal(sv_source_label(source, 0), 3);
    assert_int_equal(sv_source_label(source, 1), 1);
    sv_source_close(source);
    write_text(in_folder("t2.txt"), "classA\tthe a\n");
    assert_int_equal(sv_source_open_folder(&source, in_folder("t2"), in_folder("t2.txt"), &err), SV_DATA);
    assert_non_null(strstr(err.text, "'classB' is not named in"));
}

static void links_are_followed_and_loops_end(void **state)
{
    sv_source *source;
    sv_error err = { 0 };
    (void)state;
    put_tree("t3", 1, 2);
    assert_int_equal(symlink("classA", in_folder("t3/classB")), 0);
    assert_int_equal(symlink("00.jpg", in_folder("t3/classA/99.jpg")), 0);
    assert_ok(sv_source_open_folder(&source, in_folder("t3"), NULL, &err), err);
    assert_int_equal(sv_source_count(source), 6);
    sv_source_close(source);
    assert_int_equal(symlink(".", in_folder("t3/classA/loop")), 0);
    assert_int_equal(sv_source_open_folder(&source, in_folder("t3"), NULL, &err), SV_DATA);
    assert_non_null(strstr(err.text, "point back"));
}

static void what_cannot_be_a_source_is_refused(void **state)
{
    sv_source *source;
    sv_error err = { 0 };
    (void)state;
    assert_int_equal(sv_source_open_folder(&source, in_folder("nothing here"), NULL, &err), SV_DATA);
    assert_non_null(strstr(err.text, "nothing here"));
    assert_ok(sv_folder_create(in_folder("t4"), &err), err);
    write_text(in_folder("t4/file.jpg"), "x");
    assert_int_equal(sv_source_open_folder(&source, in_folder("t4"), NULL, &err), SV_DATA);
    assert_non_null(strstr(err.text, "no class folder"));
    assert_int_equal(sv_source_open_folder(&source, in_folder("t4/file.jpg"), NULL, &err), SV_DATA);
    put_tree("t4", 1, 1);
    assert_ok(sv_folder_create(in_folder("t4/empty one"), &err), err);
    assert_int_equal(sv_source_open_folder(&source, in_folder("t4"), NULL, &err), SV_DATA);
    assert_non_null(strstr(err.text, "'empty one' holds no picture"));
}

static void sources_that_differ_in_classes_are_told_apart(void **state)
{
    sv_source *one, *other, *more;
    sv_error err = { 0 };
    (void)state;
    put_tree("t5/one", 2, 1);
    put_tree("t5/more", 3, 1);
    put_picture("t5/other/classA/a.jpg", 0);
    put_picture("t5/other/classX/a.jpg", 0);
    assert_ok(sv_source_open_folder(&one, in_folder("t5/one"), NULL, &err), err);
    assert_ok(sv_source_open_folder(&other, in_folder("t5/other"), NULL, &err), err);
    assert_ok(sv_source_open_folder(&more, in_folder("t5/more"), NULL, &err), err);
    assert_ok(sv_source_check_same(one, one, &err), err);
    assert_int_equal(sv_source_check_same(one, other, &err), SV_DATA);
    assert_non_null(strstr(err.text, "class 1 is 'classB'"));
    assert_int_equal(sv_source_check_same(one, more, &err), SV_DATA);
    assert_non_null(strstr(err.text, "2 classes"));
    sv_source_close(one);
    sv_source_close(other);
    sv_source_close(more);
}

static void any_failed_call_leaves_nothing(void **state)
{
    (void)state;
    put_tree("t6", 3, 2);
    write_text(in_folder("t6.txt"), "classA\ta\nclassB\tb\nclassC\tc\n");
    for (int with_file = 0; with_file < 2; with_file++)
        for (int kind = SV_FAULT_ALLOC; kind <= SV_FAULT_READ; kind++)
            for (uint64_t at = 1;; at++) {
                sv_source *source = NULL;
                sv_error err = { 0 };
                sv_memory before = sv_memory_now();
                size_t descriptors = open_descriptors();
                sv_fault_set((sv_fault_kind)kind, at, false);
                sv_status status = sv_source_open_folder(&source, in_folder("t6"), with_file ? in_folder("t6.txt") : NULL, &err);
                bool survived = sv_fault_calls((sv_fault_kind)kind) < at;
                sv_fault_set((sv_fault_kind)kind, 0, false);
                assert_true(survived == !status);
                if (status) assert_true(err.text[0] && (status == SV_FAULT || status == SV_DATA));
                sv_source_close(status ? NULL : source);
                assert_int_equal(sv_memory_now().live, before.live);
                assert_int_equal(open_descriptors(), descriptors);
                if (survived) break;
            }
}

static void real_trees_are_listed(void **state)
{
    sv_source *source;
    sv_error err = { 0 };
    (void)state;
    skip_without("imagenette");
    assert_ok(sv_source_open_folder(&source, data_path("imagenette/val"), data_path("imagenet_classes.txt"), &err), err);
    assert_int_equal(sv_source_count(source), 500);
    assert_int_equal(sv_source_classes(source)->count, 1000);
    assert_int_equal(sv_source_label(source, 50), 217);
    sv_source_close(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(class_files_give_line_numbers),
        cmocka_unit_test(broken_class_files_are_refused_with_their_line),
        cmocka_unit_test(folders_sorted_by_bytes_are_the_classes),
        cmocka_unit_test(a_class_file_fixes_indices_of_the_folders_present),
        cmocka_unit_test(links_are_followed_and_loops_end),
        cmocka_unit_test(what_cannot_be_a_source_is_refused),
        cmocka_unit_test(sources_that_differ_in_classes_are_told_apart),
        cmocka_unit_test(any_failed_call_leaves_nothing),
        cmocka_unit_test(real_trees_are_listed),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
