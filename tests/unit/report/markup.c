/* report/markup.c: escaping, numbers for people, base64 by the vectors of RFC 4648. */
#include "tests/unit/report/test_report.h"

#include "report/markup.h"

static void numbers_have_about_four_digits_and_no_zeros_behind(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        { 0, "0" },
        { 1, "1" },
        { 0.0123, "0.0123" },
        { 0.5, "0.5" },
        { 12.3, "12.3" },
        { 12.345, "12.35" },
        { 123.45, "123.5" },
        { 1234, "1234" },
        { 1234.5678, "1235" },
        { 999999, "999999" },
        { 1e6, "1 M" },
        { 22.5e6, "22.5 M" },
        { 4.6e9, "4.6 G" },
        { 1.5e12, "1.5e+12" },
        { 0.0005, "0.0005" },
        { 1.25e-7, "1.25e-07" },
        { 100, "100" },
        { 1000, "1000" },
        { -12.3, "-12.3" },
        { -4.6e9, "-4.6 G" },
        { 9.99999, "10" },
        { 0.99999, "1" },
        { NAN, "-" },
        { INFINITY, "-" },
        { -INFINITY, "-" },
        { 1e300, "1e+300" },
        { 5e-324, "4.94e-324" },
    };
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        char room[32];
        assert_string_equal(sv_markup_number(room, cases[i].value), cases[i].text);
    }
}

static void a_number_is_as_near_as_its_digits_tell(void **state)
{
    (void)state;
    sv_random random = sv_random_at(2, SV_FOR_TEST, 0, 0, 0);
    for (size_t i = 0; i < 20000; i++) {
        char room[32], *end = NULL;
        double value = sv_random_normal(&random) * pow(10, 24 * sv_random_uniform(&random) - 12);
        double read = strtod(sv_markup_number(room, value), &end);
        read *= strcmp(end, " G") == 0 ? 1e9 : strcmp(end, " M") == 0 ? 1e6 : *end ? NAN : 1;
        if (!(fabs(read - value) <= fmax(0.0051 * fabs(value), fabs(value) < 0.001 ? 0 : 5.1e-5)))
            fail_msg("%.17g is shown as %s", value, room);
    }
}

static void what_means_something_in_markup_is_escaped(void **state)
{
    (void)state;
    sv_text text = { 0 };
    sv_error err = { 0 };
    sv_markup_text(&text, "a<b>&\"c\" \xc3\xa4 \x01 \xff 'd'");
    sv_markup_text(&text, NULL);
    sv_markup_text(&text, "");
    assert_ok(sv_text_check(&text, &err), err);
    assert_string_equal(text.data, "a&lt;b&gt;&amp;&quot;c&quot; \xc3\xa4 ? ? 'd'");
    sv_text_clear(&text);
}

static void base64_is_that_of_the_standard(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        { "", "" },
        { "f", "Zg==" },
        { "fo", "Zm8=" },
        { "foo", "Zm9v" },
        { "foob", "Zm9vYg==" },
        { "fooba", "Zm9vYmE=" },
        { "foobar", "Zm9vYmFy" },
        { "\xff\xfe\xfb", "//77" },
        { "\xfb\xef\xbe", "++++" },
    };
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        sv_text text = { 0 };
        sv_error err = { 0 };
        sv_markup_base64(&text, (const unsigned char *)cases[i].bytes, strlen(cases[i].bytes));
        assert_ok(sv_text_check(&text, &err), err);
        assert_string_equal(text.data, cases[i].text);
        sv_text_clear(&text);
    }
}

/* Digits by their place, against a decoder written out here: lengths around the block that is written at a time. */
static void base64_of_any_length_decodes_to_the_same_bytes(void **state)
{
    (void)state;
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static unsigned char bytes[1600];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 167 + i / 256);
    for (size_t count = 760; count <= sizeof bytes; count += count < 780 ? 1 : 91) {
        sv_text text = { 0 };
        sv_error err = { 0 };
        sv_markup_base64(&text, bytes, count);
        assert_ok(sv_text_check(&text, &err), err);
        assert_int_equal(text.length, (count + 2) / 3 * 4);
        for (size_t i = 0; i < count; i++) {
            uint32_t word = 0;
            for (size_t k = 0; k < 4; k++) {
                const char *at = memchr(digits, text.data[i / 3 * 4 + k], 64);
                word = word << 6 | (at ? (uint32_t)(at - digits) : 0);
            }
            assert_int_equal(word >> (16 - 8 * (i % 3)) & 255, bytes[i]);
        }
        sv_text_clear(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_about_four_digits_and_no_zeros_behind), cmocka_unit_test(a_number_is_as_near_as_its_digits_tell),
        cmocka_unit_test(what_means_something_in_markup_is_escaped),          cmocka_unit_test(base64_is_that_of_the_standard),
        cmocka_unit_test(base64_of_any_length_decodes_to_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
