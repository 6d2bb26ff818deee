/* base/kinds.c: rows found by name, and the name that was meant. */
#include "tests/unit/base/test_base.h"

typedef struct row { const char *name; double size; } row;
static const row rows[] = { { "deit_t", 1 }, { "deit_s", 2 }, { "deit_b", 3 }, { "lvvit_s", 4 }, { "swin_t", 5 }, { "convnext_tiny", 6 } };

static const char *nearest(const char *name) { return sv_kind_nearest(rows, SV_COUNT(rows), sizeof rows[0], name); }

static void rows_are_found_by_whole_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_COUNT(rows); i++) assert_ptr_equal(SV_KIND_FIND(rows, rows[i].name), &rows[i]);
    assert_null(SV_KIND_FIND(rows, "deit"));
    assert_null(SV_KIND_FIND(rows, ""));
    assert_null(SV_KIND_FIND(rows, "deit_tt"));
}

static void one_slip_of_the_finger_is_understood(void **state)
{
    (void)state;
    assert_string_equal(nearest("diet_t"), "deit_t");       /* exchanged */
    assert_string_equal(nearest("deit-b"), "deit_b");       /* changed */
    assert_string_equal(nearest("lvit_s"), "lvvit_s");      /* left out */
    assert_string_equal(nearest("swiin_t"), "swin_t");      /* added */
    assert_string_equal(nearest("convnext_tny"), "convnext_tiny");
    assert_string_equal(nearest("convnxet_tniy"), "convnext_tiny");
}

static void what_is_far_is_not_guessed(void **state)
{
    (void)state;
    assert_null(nearest("resnet50"));
    assert_null(nearest(""));
    assert_null(nearest("x"));
    char longer[300];
    memset(longer, 'd', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    assert_null(nearest(longer));
}

static void every_single_edit_of_a_long_name_finds_it(void **state)
{
    (void)state;
    static const char name[] = "convnext_tiny";
    char edited[32];
    for (size_t at = 0; at < strlen(name); at++) {
        snprintf(edited, sizeof edited, "%.*s%s", (int)at, name, name + at + 1);
        assert_string_equal(nearest(edited), name);
        snprintf(edited, sizeof edited, "%.*sq%s", (int)at, name, name + at);
        assert_string_equal(nearest(edited), name);
        snprintf(edited, sizeof edited, "%.*sq%s", (int)at, name, name + at + 1);
        assert_string_equal(nearest(edited), name);
    }
}

static void long_section_names_do_not_make_keys_alike(void **state)
{
    (void)state;
    static const row keys[] = { { "progressive.lr", 0 }, { "progressive.epochs", 0 } };
    assert_null(sv_kind_nearest(keys, SV_COUNT(keys), sizeof keys[0], "progressive.tol"));
    assert_string_equal(sv_kind_nearest(keys, SV_COUNT(keys), sizeof keys[0], "progressive.epoch"), "progressive.epochs");
}

static void a_list_names_all_in_order(void **state)
{
    (void)state;
    sv_error err;
    sv_text text = { 0 };
    sv_kind_list(rows, 3, sizeof rows[0], &text);
    assert_ok(sv_text_check(&text, &err), err);
    assert_string_equal(text.data, "deit_t, deit_s, deit_b");
    sv_text_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_found_by_whole_name),
        cmocka_unit_test(one_slip_of_the_finger_is_understood),
        cmocka_unit_test(what_is_far_is_not_guessed),
        cmocka_unit_test(every_single_edit_of_a_long_name_finds_it),
        cmocka_unit_test(long_section_names_do_not_make_keys_alike),
        cmocka_unit_test(a_list_names_all_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
