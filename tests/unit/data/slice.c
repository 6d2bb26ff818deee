/* data/slice.c: what is held out and what is left make the whole, by a draw of the seed alone. */
#include "tests/unit/data/test_data.h"

enum { PICTURES = 30 };

static sv_source *open_tree(void)
{
    sv_source *source = NULL;
    sv_error err = { 0 };
    for (size_t i = 0; i < PICTURES; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s/tree/%c", test_folder, "abc"[i % 3]);
        assert_ok(sv_folder_create(name, &err), err);
        snprintf(name, sizeof name, "tree/%c/%02zu", "abc"[i % 3], i);
        write_text(in_folder(name), name + 7);
    }
    assert_ok(sv_source_open_folder(&source, in_folder("tree"), NULL, &err), err);
    return source;
}

static sv_source *slice_of(sv_slice_part part, size_t held_out, uint64_t seed)
{
    sv_source *out = NULL;
    sv_error err = { 0 };
    assert_ok(sv_source_slice(&out, open_tree(), part, held_out, seed, &err), err);
    return out;
}

/* Marks by the whole's path; asserts that labels and bytes are those of the path. */
static void mark(const sv_source *source, unsigned *seen)
{
    sv_bytes bytes = { 0 };
    sv_error err = { 0 };
    size_t last = 0;
    for (size_t i = 0; i < sv_source_count(source); i++) {
        char *path = NULL;
        assert_ok(sv_source_path(source, i, &path, &err), err);
        const char *name = strrchr(path, '/') + 1;
        const size_t number = strtoul(name, NULL, 10), place = (size_t)(name[-2] - 'a') * PICTURES + number;
        assert_int_equal(sv_source_label(source, i), number % 3);
        assert_true(i == 0 || place > last); /* in the whole's order */
        last = place;
        assert_ok(sv_source_bytes(source, i, &bytes, &err), err);
        assert_int_equal(strtoul((const char *)bytes.data, NULL, 10), number);
        seen[number]++;
        sv_free(path);
    }
    sv_bytes_clear(&bytes);
}

static void both_parts_make_the_whole_once(void **state)
{
    (void)state;
    unsigned first[PICTURES] = { 0 };
    for (uint64_t seed = 0; seed < 3; seed++) {
        unsigned seen[PICTURES] = { 0 };
        sv_source *held = slice_of(SV_SLICE_HELD_OUT, 11, seed), *rest = slice_of(SV_SLICE_TRAINING, 11, seed);
        assert_int_equal(sv_source_count(held), 11);
        assert_int_equal(sv_source_count(rest), PICTURES - 11);
        assert_int_equal(sv_source_classes(held)->count, 3);
        mark(held, seen);
        if (!seed) memcpy(first, seen, sizeof first);
        else assert_memory_not_equal(first, seen, sizeof first); /* another seed, other pictures */
        mark(rest, seen);
        for (size_t i = 0; i < PICTURES; i++) assert_int_equal(seen[i], 1);
        sv_source_close(held);
        sv_source_close(rest);
    }
}

static void more_than_there_is_cannot_be_held_out(void **state)
{
    (void)state;
    sv_source *whole = open_tree(), *out = NULL;
    sv_error err = { 0 };
    assert_int_equal(sv_source_slice(&out, whole, SV_SLICE_TRAINING, PICTURES, 1, &err), SV_USAGE);
    assert_non_null(strstr(err.text, "expected 1 to 29"));
    assert_null(out);
    sv_source_close(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_parts_make_the_whole_once, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(more_than_there_is_cannot_be_held_out, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
