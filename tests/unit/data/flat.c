/* Pictures in one folder with a list of labels, subsets of the classes, and how the kind of a source is told. */
#include "tests/unit/data/test_data.h"

static sv_source *open_ok(const char *folder, const sv_source_options *options)
{
    sv_source *source;
    sv_error err = { 0 };
    assert_ok(sv_source_open(&source, in_folder(folder), options, &err), err);
    return source;
}

static void assert_refused(const char *folder, const sv_source_options *options, sv_status code, const char *says)
{
    sv_source *source;
    sv_error err = { 0 };
    sv_memory before = sv_memory_now();
    sv_status status = sv_source_open(&source, in_folder(folder), options, &err);
    if (status != code || !strstr(err.text, says)) fail_msg("expected a refusal that says '%s', got %d '%s'", says, (int)status, err.text);
    assert_int_equal(sv_memory_now().live, before.live);
}

static void assert_list_refused(const char *list, const sv_source_options *options, const char *says)
{
    write_text(in_folder("bad/val.txt"), list);
    assert_refused("bad", options, SV_DATA, says);
}

static void put_flat(const char *folder, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s/p%02zu.jpg", folder, i);
        put_picture(name, (unsigned)i);
    }
}

static void folders_the_class_file_does_not_name_can_be_left_out(void **state)
{
    sv_source_options options = { .unlisted = SV_UNLISTED_SKIP };
    char list[512];
    (void)state;
    put_tree("s", 4, 3);
    snprintf(list, sizeof list, "%s", in_folder("s.txt"));
    options.class_file = list;
    write_text(list, "classD\tthe d\nclassB\tthe b\n");
    sv_source *source = open_ok("s", &options);
    assert_int_equal(sv_source_count(source), 6);
    assert_int_equal(sv_source_classes(source)->count, 2);
    for (size_t i = 0; i < 6; i++) assert_int_equal(sv_source_label(source, i), i < 3);
    sv_source_close(source);
    options.unlisted = SV_UNLISTED_ERROR;
    assert_refused("s", &options, SV_DATA, "class folder 'classA' is not named in");
    write_text(list, "another\tname\n");
    options.unlisted = SV_UNLISTED_SKIP;
    assert_refused("s", &options, SV_DATA, "none of its 4 class folders");
}

static void a_list_gives_pictures_their_labels_in_its_order(void **state)
{
    static const char *const expected[] = { "f/val/p02.jpg", "f/val/with space.png", "f/val/p00.jpg", "f/val/sub/x.jpg" };
    static const uint32_t labels[] = { 7, 0, 3, 1 };
    sv_source_options options = { 0 };
    sv_error err = { 0 };
    (void)state;
    put_flat("f/val", 3);
    put_picture("f/val/with space.png", 1);
    put_picture("f/val/sub/x.jpg", 2); /* a folder in it does not make it a tree where the list is given */
    write_text(in_folder("f/list"), "\xef\xbb\xbf# a comment\r\np02.jpg 7\r\n\r\n  with space.png\t 0\nsub/../p00.jpg  3\nsub/x.jpg 1");
    char list[512];
    snprintf(list, sizeof list, "%s", in_folder("f/list"));
    options.list_file = list;
    assert_refused("f/val", &options, SV_DATA, "list:5: 'sub/../p00.jpg' leads out");
    write_text(list, "\xef\xbb\xbf# a comment\r\np02.jpg 7\r\n\r\n  with space.png\t 0\np00.jpg  3 \nsub/x.jpg 1");
    sv_source *source = open_ok("f/val", &options);
    assert_int_equal(sv_source_count(source), 4);
    assert_int_equal(sv_source_classes(source)->count, 8);
    assert_string_equal(sv_source_classes(source)->names[7], "7");
    for (size_t i = 0; i < 4; i++) {
        sv_picture picture = { 0 };
        char *path;
        assert_int_equal(sv_source_label(source, i), labels[i]);
        assert_ok(sv_source_path(source, i, &path, &err), err);
        assert_string_equal(path, in_folder(expected[i]));
        assert_ok(sv_source_read(source, i, &picture, &err), err);
        sv_picture_clear(&picture);
        sv_free(path);
    }
    sv_source_close(source);
}

static void a_list_is_found_in_the_folder_or_beside_it(void **state)
{
    sv_source_options options = { 0 };
    (void)state;
    put_flat("g/val", 3);
    assert_refused("g/val", &options, SV_DATA, "there is no class folder in it; expected");
    options.format = "flat";
    assert_refused("g/val", &options, SV_DATA, "there is no list val.txt in it or beside it");
    options.format = NULL;
    write_text(in_folder("g/val.txt"), "p00.jpg 0\n");
    sv_source *source = open_ok("g/val", &options);
    assert_int_equal(sv_source_count(source), 1);
    sv_source_close(source);
    write_text(in_folder("g/val/val.txt"), "p00.jpg 0\np01.jpg 1\n");
    source = open_ok("g/val", &options);
    assert_int_equal(sv_source_count(source), 2);
    sv_source_close(source);
    put_tree("g/val", 2, 1); /* class folders win */
    source = open_ok("g/val", &options);
    assert_string_equal(sv_source_classes(source)->names[0], "classA");
    sv_source_close(source);
    options.format = "flat";
    source = open_ok("g/val", &options);
    assert_int_equal(sv_source_count(source), 2);
    sv_source_close(source);
    options.format = "tree";
    assert_refused("g/val", &options, SV_USAGE, "data.format = tree is not known");
}

static void labels_can_be_class_folders_of_the_class_file(void **state)
{
    sv_source_options options = { 0 };
    char classes[512];
    (void)state;
    put_flat("h", 4);
    snprintf(classes, sizeof classes, "%s", in_folder("h.txt"));
    options.class_file = classes;
    write_text(classes, "n2\ttwo\nn 1\tone\n");
    write_text(in_folder("h/val.txt"), "p00.jpg n2\np01.jpg\tn 1\np02.jpg 1\n");
    sv_source *source = open_ok("h", &options);
    for (size_t i = 0; i < 3; i++) assert_int_equal(sv_source_label(source, i), i > 0);
    assert_string_equal(sv_source_classes(source)->names[1], "one");
    sv_source_close(source);
    write_text(in_folder("h/val.txt"), "p00.jpg n2\np01.jpg n9\np02.jpg 1\n");
    assert_refused("h", &options, SV_DATA, "val.txt:2: class 'n9' is not named in");
    options.unlisted = SV_UNLISTED_SKIP;
    source = open_ok("h", &options);
    assert_int_equal(sv_source_count(source), 2);
    sv_source_close(source);
    write_text(in_folder("h/val.txt"), "p00.jpg 2\n");
    assert_refused("h", &options, SV_DATA, "val.txt:1: label 2 is not a class; expected 0 to 1");
}

static void broken_lists_are_refused_with_their_line(void **state)
{
    sv_source_options options = { 0 };
    char long_line[5000];
    (void)state;
    put_flat("bad", 3);
    memset(long_line, 'x', sizeof long_line - 1);
    long_line[sizeof long_line - 1] = 0;
    assert_list_refused("", &options, "it lists no picture");
    assert_list_refused("# nothing\n\n", &options, "it lists no picture");
    assert_list_refused("p00.jpg 0\np01.jpg\n", &options, "val.txt:2: there is no label behind 'p01.jpg'");
    assert_list_refused("p00.jpg 0\np01.jpg cat\n", &options, "val.txt:2: label 'cat' is not a number");
    assert_list_refused("p00.jpg -1\n", &options, "val.txt:1: label -1 is not a class");
    assert_list_refused("p00.jpg 1000000\n", &options, "val.txt:1: label 1000000 is not a class");
    assert_list_refused("# c\np00.jpg 0\n\np01.jpg 1\np00.jpg 2\n", &options, "val.txt:5: 'p00.jpg' stands on line 2 already");
    assert_list_refused("other.jpg 0\n", &options, "val.txt:1: there is no 'other.jpg'");
    assert_list_refused("/etc/passwd 0\n", &options, "val.txt:1: '/etc/passwd' leads out");
    assert_list_refused("a/.. 0\n", &options, "val.txt:1: 'a/..' leads out");
    assert_list_refused(long_line, &options, "val.txt:1: the line has 4999 bytes");
    sv_error err = { 0 };
    assert_ok(sv_file_write_atomic(in_folder("bad/val.txt"), "p00.jpg 0\n\0 1\n", 14, &err), err);
    assert_refused("bad", &options, SV_DATA, "val.txt:2: the line holds a zero byte");
}

static void numbered_classes_go_with_named_ones_where_labels_fit(void **state)
{
    sv_source_options options = { 0 };
    sv_error err = { 0 };
    (void)state;
    put_tree("c/train", 3, 1);
    put_flat("c/val", 3);
    sv_source *train = open_ok("c/train", &options), *val;
    write_text(in_folder("c/val.txt"), "p00.jpg 1\np01.jpg 0\n");
    val = open_ok("c/val", &options);
    assert_ok(sv_source_check_same(train, val, &err), err);
    assert_int_equal(sv_source_check_same(val, train, &err), SV_DATA); /* training would know 2 classes only */
    sv_source_close(val);
    write_text(in_folder("c/val.txt"), "p00.jpg 2\np01.jpg 0\n");
    val = open_ok("c/val", &options);
    assert_ok(sv_source_check_same(train, val, &err), err);
    assert_ok(sv_source_check_same(val, train, &err), err);
    assert_ok(sv_source_check_same(val, val, &err), err);
    sv_source_close(val);
    write_text(in_folder("c/val.txt"), "p00.jpg 3\np01.jpg 0\n");
    val = open_ok("c/val", &options);
    assert_int_equal(sv_source_check_same(train, val, &err), SV_DATA);
    assert_non_null(strstr(err.text, "its largest label is 3"));
    sv_source_close(val);
    sv_source_close(train);
}

static void bytes_are_the_files_and_their_room_is_used_again(void **state)
{
    sv_bytes room = { 0 };
    sv_error err = { 0 };
    (void)state;
    put_tree("b", 2, 3);
    sv_source *source = open_ok("b", &(sv_source_options){ 0 });
    for (size_t turn = 0, allocations = 0; turn < 2; turn++) {
        for (size_t i = 0; i < sv_source_count(source); i++) {
            unsigned char *expected;
            size_t count;
            char *path;
            assert_ok(sv_source_bytes(source, i, &room, &err), err);
            assert_ok(sv_source_path(source, i, &path, &err), err);
            assert_ok(sv_file_read_all(path, SIZE_MAX, SV_DATA, &expected, &count, &err), err);
            assert_int_equal(room.count, count);
            assert_memory_equal(room.data, expected, count);
            sv_free(expected);
            sv_free(path);
        }
        if (!turn)
            allocations = room.capacity;
        else
            assert_int_equal(room.capacity, allocations);
    }
    assert_int_equal(unlink(in_folder("b/classB/01.jpg")), 0);
    assert_int_equal(sv_source_bytes(source, 4, &room, &err), SV_DATA);
    assert_non_null(strstr(err.text, "b/classB/01.jpg: cannot be opened"));
    assert_int_equal(room.count, 0);
    write_text(in_folder("b/classB/01.jpg"), "");
    assert_ok(sv_source_bytes(source, 4, &room, &err), err);
    sv_picture picture = { 0 };
    assert_int_equal(sv_source_read(source, 4, &picture, &err), SV_DATA);
    assert_non_null(strstr(err.text, "b/classB/01.jpg: the file is empty"));
    sv_bytes_clear(&room);
    sv_source_close(source);
}

static void any_failed_call_leaves_nothing(void **state)
{
    (void)state;
    put_flat("z", 3);
    write_text(in_folder("z/val.txt"), "p00.jpg 0\np02.jpg 1\np01.jpg 0\n");
    for (int kind = SV_FAULT_ALLOC; kind <= SV_FAULT_READ; kind++)
        for (uint64_t at = 1;; at++) {
            sv_source *source = NULL;
            sv_error err = { 0 };
            sv_memory before = sv_memory_now();
            size_t descriptors = open_descriptors();
            sv_fault_set((sv_fault_kind)kind, at, false);
            sv_status status = sv_source_open(&source, in_folder("z"), &(sv_source_options){ .format = "flat" }, &err);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_the_class_file_does_not_name_can_be_left_out),
        cmocka_unit_test(a_list_gives_pictures_their_labels_in_its_order),
        cmocka_unit_test(a_list_is_found_in_the_folder_or_beside_it),
        cmocka_unit_test(labels_can_be_class_folders_of_the_class_file),
        cmocka_unit_test(broken_lists_are_refused_with_their_line),
        cmocka_unit_test(numbered_classes_go_with_named_ones_where_labels_fit),
        cmocka_unit_test(bytes_are_the_files_and_their_room_is_used_again),
        cmocka_unit_test(any_failed_call_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
