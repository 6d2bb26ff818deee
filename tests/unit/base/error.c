/* base/error.c: one sentence, in the caller's room, never longer than it. */
#include "tests/unit/base/test_base.h"

static void fail_returns_the_code_and_keeps_the_sentence(void **state)
{
    (void)state;
    sv_error err = { 0 };
    assert_int_equal(sv_fail(&err, SV_DATA, "%s: row %d", "a.csv", 7), SV_DATA);
    assert_int_equal(err.code, SV_DATA);
    assert_string_equal(err.text, "a.csv: row 7");
}

static void fail_without_room_still_returns_the_code(void **state)
{
    (void)state;
    assert_int_equal(sv_fail(NULL, SV_BUDGET, "%s", "unseen"), SV_BUDGET);
}

static void context_is_put_before_the_sentence(void **state)
{
    (void)state;
    sv_error err = { 0 };
    sv_fail(&err, SV_MODEL_FILE, "tensor 'a' is too short");
    assert_int_equal(sv_fail_within(&err, "reading %s", "m.pth"), SV_MODEL_FILE);
    assert_string_equal(err.text, "reading m.pth: tensor 'a' is too short");
}

static void long_sentences_are_cut_at_the_end(void **state)
{
    (void)state;
    sv_error err;
    memset(&err, 'x', sizeof err);
    char longer[4000];
    memset(longer, 'y', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    sv_fail(&err, SV_FAULT, "%s", longer);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    sv_fail_within(&err, "place");
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_int_equal(strncmp(err.text, "place: yyy", 10), 0);
    sv_fail_within(&err, "%s", longer);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_returns_the_code_and_keeps_the_sentence),
        cmocka_unit_test(fail_without_room_still_returns_the_code),
        cmocka_unit_test(context_is_put_before_the_sentence),
        cmocka_unit_test(long_sentences_are_cut_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
