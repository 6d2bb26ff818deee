/* train/search_stages.c, train/search_trials.c: ratios of blocks become stages; trials as text. */
#include "tests/unit/base/test_base.h"

#include "train/search.h"

#include <math.h>

static size_t stages_of(const double *ratios, size_t blocks, double tolerance, size_t *at, double *keep)
{
    return sv_search_stages(ratios, blocks, tolerance, at, keep);
}

static void blocks_with_like_ratios_are_one_stage(void **state)
{
    (void)state;
    static const double ratios[] = { 1, 1, 1, 0.7, 0.7, 0.65, 0.5, 0.45, 1, 0.2, 0.2, 0.15 };
    size_t at[SV_MOST_STAGES];
    double keep[SV_MOST_STAGES];
    assert_int_equal(stages_of(ratios, 12, 0.085, at, keep), 3);
    assert_true(at[0] == 3 && at[1] == 6 && at[2] == 9); /* the first block of each */
    assert_true(keep[0] == 0.6833 && keep[1] == 0.475 && keep[2] == 0.1833);
    assert_int_equal(stages_of(ratios, 12, 1, at, keep), 1);
    assert_true(at[0] == 3);
    assert_int_equal(stages_of((const double[]){ 1, 1, 1 }, 3, 0.085, at, keep), 0);
    assert_int_equal(stages_of((const double[]){ 1, 0.9, 0.5 }, 3, 0.085, at, keep), 2);
}

static void more_stages_than_there_may_be_are_joined_by_the_nearest(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 0, 0, 0);
        double ratios[SV_SEARCH_BLOCKS_MOST], keep[SV_MOST_STAGES], last = 0.999;
        size_t at[SV_MOST_STAGES], blocks = 1 + sv_random_below(&random, SV_SEARCH_BLOCKS_MOST), some = 0;
        for (size_t b = 0; b < blocks; b++) {
            last *= 0.8 + 0.2 * sv_random_uniform(&random);
            ratios[b] = sv_random_below(&random, 3) ? last : 1;
            some += ratios[b] < 1;
        }
        size_t count = stages_of(ratios, blocks, 0, at, keep);
        assert_int_equal(count, some < SV_MOST_STAGES ? some : SV_MOST_STAGES);
        for (size_t t = 0; t < count; t++) assert_true(ratios[at[t]] < 1 && keep[t] <= 1);
        for (size_t t = 1; t < count; t++) assert_true(at[t] > at[t - 1] && keep[t] <= keep[t - 1]);
    }
    size_t at[SV_MOST_STAGES];
    double keep[SV_MOST_STAGES];
    static const double seven[] = { 0.9, 0.8, 0.7, 0.6, 0.45, 0.4, 0.2 };
    assert_int_equal(stages_of(seven, 7, 0.01, at, keep), 6);
    assert_true(at[4] == 4 && keep[4] == 0.425 && at[5] == 6);
}

static void trials_come_back_from_their_file(void **state)
{
    (void)state;
    sv_trials written = { 0 }, read = { 0 };
    sv_error err = { 0 };
    const sv_trial dense = { .block = SIZE_MAX, .ratio = 1, .right = 90, .images = 100, .predicted_ms = NAN, .accepted = true };
    const sv_trial one = { .block = 5, .ratio = 0.1 + 0.2, .right = 88, .images = 100, .predicted_ms = 1.25, .stages = 2, .at = { 3, 5 }, .keep = { 0.7, 0.1 + 0.2 } };
    assert_ok(sv_trials_read(&read, in_folder("trials.csv"), 7, &err), err);
    assert_int_equal(read.count, 0);
    assert_ok(sv_trials_add(&written, &dense, &err), err);
    assert_ok(sv_trials_add(&written, &one, &err), err);
    assert_ok(sv_trials_write(&written, in_folder("trials.csv"), 7, &err), err);
    assert_ok(sv_trials_read(&read, in_folder("trials.csv"), 7, &err), err);
    assert_int_equal(read.count, 2);
    assert_true(read.items[0].block == SIZE_MAX && read.items[0].accepted && isnan(read.items[0].predicted_ms));
    assert_true(read.items[1].ratio == 0.1 + 0.2 && read.items[1].keep[1] == 0.1 + 0.2 && read.items[1].at[1] == 5 && !read.items[1].accepted);
    assert_int_equal(sv_trials_read(&read, in_folder("trials.csv"), 8, &err), SV_USAGE);
    assert_non_null(strstr(err.text, "another config"));
    assert_int_equal(read.count, 2);
    sv_trials_clear(&written);
    sv_trials_clear(&read);
}

static void damaged_trials_are_refused_with_their_line(void **state)
{
    (void)state;
    static const char begin[] = "# search 0000000000000007\ntrial,block,keep,right,images,predicted_ms,accepted,at,ratios\n";
    static const char *const lines[] = {
        "0,,1,90,100,,1,,", "1,,1,90,100,,1,,\n", "0,x,1,90,100,,1,,\n", "0,,,90,100,,1,,\n", "0,,1,-9,100,,1,,\n", "0,,1,90,100,,2,,\n", "0,,1,90,100,,1,3,\n", "0,,1,90,100,,1,3,0.5 0.4\n",
        "0,,1,90,100,,1,1 2 3 4 5 6 7,1 1 1 1 1 1 1\n", "0,,1,90,100,,1,,,\n", "0,,1\n",
    };
    sv_trials read = { 0 };
    sv_error err = { 0 };
    for (size_t i = 0; i < SV_COUNT(lines); i++) {
        char text[512];
        snprintf(text, sizeof text, "%s%s", begin, lines[i]);
        assert_ok(sv_file_write_atomic(in_folder("trials.csv"), text, strlen(text), &err), err);
        assert_int_equal(sv_trials_read(&read, in_folder("trials.csv"), 7, &err), SV_MODEL_FILE);
        assert_non_null(strstr(err.text, "trials.csv:3: "));
    }
    assert_ok(sv_file_write_atomic(in_folder("trials.csv"), "epoch,loss\n", 11, &err), err);
    assert_int_equal(sv_trials_read(&read, in_folder("trials.csv"), 7, &err), SV_MODEL_FILE);
    assert_int_equal(read.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_with_like_ratios_are_one_stage),
        cmocka_unit_test(more_stages_than_there_may_be_are_joined_by_the_nearest),
        cmocka_unit_test_setup_teardown(trials_come_back_from_their_file, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(damaged_trials_are_refused_with_their_line, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
