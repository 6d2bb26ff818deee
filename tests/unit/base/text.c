/* base/text.c: growing text, numbers read whole or not at all, names made fit to be shown. */
#include "tests/unit/base/test_base.h"

#include <locale.h>

static void additions_are_joined(void **state)
{
    (void)state;
    sv_error err;
    sv_text text = { 0 };
    assert_ok(sv_text_check(&text, &err), err);
    assert_string_equal(text.data, "");
    for (int i = 0; i < 1000; i++) sv_text_add(&text, "%d,", i % 10);
    sv_text_add_bytes(&text, "a\0b", 3);
    assert_ok(sv_text_check(&text, &err), err);
    assert_int_equal(text.length, 2003);
    assert_memory_equal(text.data + 2000, "a\0b\0", 4);
    sv_text_clear(&text);
    sv_text_clear(&text);
}

static void a_failed_addition_is_remembered(void **state)
{
    (void)state;
    for (uint64_t at = 1; at < 4; at++) {
        sv_error err = { 0 };
        sv_text text = { 0 };
        sv_fault_set(SV_FAULT_ALLOC, at, false);
        for (int i = 0; i < 20; i++) sv_text_add(&text, "%s", "0123456789");
        sv_fault_set(SV_FAULT_ALLOC, 0, false);
        assert_true(text.failed);
        assert_int_equal(sv_text_check(&text, &err), SV_FAULT);
        assert_non_null(strstr(err.text, "out of memory"));
        assert_true(text.length < 200);
        sv_text_clear(&text);
        assert_false(text.failed);
    }
}

static void whole_numbers_are_read_whole_or_not_at_all(void **state)
{
    (void)state;
    static const struct { const char *text; bool good; int64_t value; } cases[] = {
        { "0", true, 0 }, { "-1", true, -1 }, { "+7", true, 7 }, { "007", true, 7 }, { "9223372036854775807", true, INT64_MAX },
        { "-9223372036854775808", true, INT64_MIN }, { "9223372036854775808", false, 0 }, { "", false, 0 }, { " 1", false, 0 }, { "1 ", false, 0 },
        { "1.0", false, 0 }, { "1e3", false, 0 }, { "0x10", false, 0 }, { "--1", false, 0 }, { "1-", false, 0 }, { "-", false, 0 }, { "ten", false, 0 },
    };
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        int64_t value = 42;
        if (sv_parse_int(cases[i].text, &value) != cases[i].good) fail_msg("'%s'", cases[i].text);
        assert_int_equal(value, cases[i].good ? cases[i].value : 42);
    }
}

static void reals_are_read_whole_finite_or_not_at_all(void **state)
{
    (void)state;
    static const struct { const char *text; bool good; double value; } cases[] = {
        { "0", true, 0 }, { "-0.5", true, -0.5 }, { ".5", true, 0.5 }, { "5.", true, 5 }, { "1e-3", true, 1e-3 }, { "1E+3", true, 1000 },
        { "1e308", true, 1e308 }, { "1e309", false, 0 }, { "inf", false, 0 }, { "nan", false, 0 }, { "0x1p3", false, 0 }, { "", false, 0 },
        { " 1", false, 0 }, { "1 ", false, 0 }, { "1,5", false, 0 }, { "1e", false, 0 }, { "e5", false, 0 }, { "1.2.3", false, 0 }, { "1e-400", true, 0 },
    };
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        double value = 42;
        if (sv_parse_real(cases[i].text, &value) != cases[i].good) fail_msg("'%s'", cases[i].text);
        assert_true(value == (cases[i].good ? cases[i].value : 42));
    }
}

static void reals_do_not_depend_on_the_locale(void **state)
{
    (void)state;
    static const char *const with_comma[] = { "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "ru_RU.UTF-8" };
    bool set = false;
    for (size_t i = 0; i < SV_COUNT(with_comma) && !set; i++) set = setlocale(LC_NUMERIC, with_comma[i]) != NULL;
    if (!set) skip();
    double value = 0;
    bool good = sv_parse_real("1.5", &value), comma = sv_parse_real("1,5", &value);
    setlocale(LC_NUMERIC, "C");
    assert_true(good && value == 1.5 && !comma);
}

static void unfit_characters_are_shown_as_question_marks(void **state)
{
    (void)state;
    static const struct { const char *from, *to; } cases[] = {
        { "plain name.jpg", "plain name.jpg" }, { "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" }, { "a\nb\tc\033[31m", "a?b?c?[31m" }, { "\x7f", "?" },
        { "\xff\xfe", "??" }, { "\xc3", "?" }, { "\xc0\xaf", "??" }, { "\xed\xa0\x80", "???" }, { "\xf4\x90\x80\x80", "????" },
        { "\xc2\x9b" "2J", "?2J" }, { "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" }, { "\xe2\x82", "??" }, { "", "" },
    };
    char room[64];
    for (size_t i = 0; i < SV_COUNT(cases); i++) assert_string_equal(sv_text_safe(room, sizeof room, cases[i].from), cases[i].to);
}

static void shown_names_fit_the_room_and_end_between_characters(void **state)
{
    (void)state;
    char room[8];
    memset(room, 'x', sizeof room);
    assert_string_equal(sv_text_safe(room, 4, "ab\xc3\xbc" "c"), "ab");
    assert_int_equal(room[4], 'x');
    assert_string_equal(sv_text_safe(room, 1, "abc"), "");
    assert_string_equal(sv_text_safe(room, 0, "abc"), "");
}

static void copies_are_the_callers(void **state)
{
    (void)state;
    sv_error err;
    char *copy = NULL;
    assert_ok(sv_text_copy(&copy, "a name", &err), err);
    assert_string_equal(copy, "a name");
    sv_free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(additions_are_joined),
        cmocka_unit_test(a_failed_addition_is_remembered),
        cmocka_unit_test(whole_numbers_are_read_whole_or_not_at_all),
        cmocka_unit_test(reals_are_read_whole_finite_or_not_at_all),
        cmocka_unit_test(reals_do_not_depend_on_the_locale),
        cmocka_unit_test(unfit_characters_are_shown_as_question_marks),
        cmocka_unit_test(shown_names_fit_the_room_and_end_between_characters),
        cmocka_unit_test(copies_are_the_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
