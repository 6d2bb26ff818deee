/* base/json.c: objects as written, strings escaped, numbers that read back to the same bits. */
#include "tests/unit/base/test_base.h"

#include "base/json.h"

#include <jansson.h>
#include <math.h>

static void members_come_in_the_order_of_the_calls(void **state)
{
    (void)state;
    static const double keep[] = { 0.7, 0.49, 0.343 };
    sv_error err;
    sv_text text = { 0 };
    sv_json json = { .text = &text };
    sv_json_open(&json, NULL);
    sv_json_text(&json, "case", "infer");
    sv_json_int(&json, "images", 50000);
    sv_json_real(&json, "top1", 72.13);
    sv_json_bool(&json, "ok", true);
    sv_json_reals(&json, "keep_ratios", keep, 3);
    sv_json_open_array(&json, "rows");
    sv_json_open(&json, NULL);
    sv_json_close(&json);
    sv_json_int(&json, NULL, -1);
    sv_json_text(&json, NULL, NULL);
    sv_json_close_array(&json);
    sv_json_open(&json, "dense");
    sv_json_real(&json, "ms", 5);
    sv_json_close(&json);
    sv_json_close(&json);
    sv_text_add(&text, "\n");
    sv_json_open(&json, NULL);
    sv_json_close(&json);
    assert_ok(sv_text_check(&text, &err), err);
    assert_string_equal(text.data, "{\"case\": \"infer\", \"images\": 50000, \"top1\": 72.13, \"ok\": true, \"keep_ratios\": [0.7, 0.49, 0.343], "
                                   "\"rows\": [{}, -1, null], \"dense\": {\"ms\": 5}}\n{}");
    sv_text_clear(&text);
}

static void strings_are_escaped(void **state)
{
    (void)state;
    static const struct { const char *from, *to; } cases[] = {
        { "a\"b\\c", "\"a\\\"b\\\\c\"" }, { "\n\t\r\001\x7f", "\"\\n\\t\\u000d\\u0001\\u007f\"" }, { "gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\"" },
        { "\xff" "a\xc3", "\"\xef\xbf\xbd" "a\xef\xbf\xbd\"" }, { "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" }, { "", "\"\"" },
    };
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        sv_error err;
        sv_text text = { 0 };
        sv_json json = { .text = &text };
        sv_json_text(&json, NULL, cases[i].from);
        assert_ok(sv_text_check(&text, &err), err);
        assert_string_equal(text.data, cases[i].to);
        sv_text_clear(&text);
    }
}

/* Any bytes as name and value give text that a strict reader takes. */
static void any_bytes_give_valid_json(void **state)
{
    (void)state;
    sv_random random = sv_random_at(11, SV_FOR_TEST, 0, 0, 0);
    for (int i = 0; i < 2000; i++) {
        char bytes[41];
        size_t length = (size_t)sv_random_below(&random, 40);
        for (size_t b = 0; b < length; b++) bytes[b] = (char)(1 + sv_random_below(&random, 255));
        bytes[length] = 0;
        sv_error err;
        sv_text text = { 0 };
        sv_json json = { .text = &text };
        sv_json_open(&json, NULL);
        sv_json_text(&json, bytes, bytes);
        sv_json_close(&json);
        assert_ok(sv_text_check(&text, &err), err);
        json_error_t why;
        json_t *value = json_loadb(text.data, text.length, 0, &why);
        if (!value) fail_msg("%s: %s", text.data, why.text);
        json_decref(value);
        sv_text_clear(&text);
    }
}

static void one_real(double value, char room[64])
{
    sv_text text = { 0 };
    sv_json json = { .text = &text };
    sv_json_real(&json, NULL, value);
    assert_true(text.length < 64);
    memcpy(room, text.data, text.length + 1);
    sv_text_clear(&text);
}

static void reals_are_short_and_read_back_to_the_same_bits(void **state)
{
    (void)state;
    static const struct { double value; const char *text; } cases[] = {
        { 0, "0" }, { -0.0, "-0" }, { 0.1, "0.1" }, { 1e21, "1e+21" }, { 1.0 / 3, "0.3333333333333333" }, { 5e-324, "5e-324" }, { 1e300, "1e+300" },
        { NAN, "null" }, { INFINITY, "null" }, { -INFINITY, "null" }, { 123456789, "123456789" },
    };
    char room[64];
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        one_real(cases[i].value, room);
        assert_string_equal(room, cases[i].text);
    }
    sv_random random = sv_random_at(12, SV_FOR_TEST, 0, 0, 0);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = (uint64_t)sv_random_word(&random) << 32 | sv_random_word(&random);
        double value, back;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        one_real(value, room);
        back = strtod(room, NULL);
        assert_memory_equal(&back, &value, sizeof value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_come_in_the_order_of_the_calls),
        cmocka_unit_test(strings_are_escaped),
        cmocka_unit_test(any_bytes_give_valid_json),
        cmocka_unit_test(reals_are_short_and_read_back_to_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
