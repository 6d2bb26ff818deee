/* train/told.c: status.txt reads back as it was written, later lines are passed over, and what is cut is no status. */
#include "tests/unit/base/test_base.h"

#include "train/status.h"

#include <math.h>

static sv_run_told odd(void)
{
    sv_run_told told = { .state = "stopped", .host = "a host", .said = "stopped after step 3; go on", .process = 4711, .code = 75, .epoch = 2, .epochs = 9, .step = UINT64_C(1) << 60,
                         .epoch_step = 3, .epoch_steps = 4, .skipped = 1, .stages = 2, .memory_mib = 17, .written = 1795258382.125, .began = 1e9, .loss = NAN, .top1 = 0.1, .best = NAN,
                         .images_per_s = 1.0 / 3, .left_s = 0, .keep = { 0.5, NAN }, .target = { 0.25, 0.125 } };
    return told;
}

static void a_status_reads_back_as_it_was_written(void **state)
{
    (void)state;
    const sv_run_told told = odd();
    sv_run_told read;
    sv_text one = { 0 }, other = { 0 };
    sv_error err = { 0 };
    sv_run_told_print(&told, &one);
    sv_text_add(&one, "of_a_later_version 1 2 3\n");
    assert_ok(sv_run_told_parse(&read, one.data, "s", &err), err);
    sv_run_told_print(&read, &other);
    assert_int_equal(strncmp(one.data, other.data, other.length), 0);
    assert_string_equal(read.said, told.said);
    assert_true(read.step == told.step && read.written == told.written && isnan(read.loss) && isnan(read.keep[1]) && read.target[1] == 0.125);
    sv_text_clear(&one);
    sv_text_clear(&other);
}

static void no_cut_status_is_taken_for_one(void **state)
{
    (void)state;
    const sv_run_told told = odd();
    sv_text text = { 0 };
    sv_error err = { 0 };
    sv_run_told_print(&told, &text);
    const size_t said = (size_t)(strstr(text.data, "\nsaid") - text.data) + 5; /* only the last text may be shorter than it was */
    for (size_t length = 0; length < said; length++) {
        sv_run_told read = { .process = 1 };
        char *cut = NULL;
        assert_ok(sv_text_copy(&cut, text.data, &err), err);
        cut[length] = 0;
        assert_int_equal(sv_run_told_parse(&read, cut, "s", &err), SV_DATA);
        assert_int_equal(read.process, 1);
        sv_free(cut);
    }
    sv_text_clear(&text);
}

static void a_sentence_of_two_lines_stays_one(void **state)
{
    (void)state;
    sv_run_told told = odd(), read;
    sv_text text = { 0 };
    sv_error err = { 0 };
    strcpy(told.said, "one\nstate finished");
    sv_run_told_print(&told, &text);
    assert_ok(sv_run_told_parse(&read, text.data, "s", &err), err);
    assert_string_equal(read.state, "stopped");
    assert_string_equal(read.said, "one?state finished");
    sv_text_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_status_reads_back_as_it_was_written),
        cmocka_unit_test(no_cut_status_is_taken_for_one),
        cmocka_unit_test(a_sentence_of_two_lines_stays_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
