/* eval/measures.c: intervals, tests, classes, calibration and token counts against values worked out by hand. */
#include "tests/unit/eval/test_eval.h"

#include "eval/measures.h"

static void assert_close(double value, double expected)
{
    if (!(fabs(value - expected) < 1e-9)) fail_msg("%.15g, expected %.15g", value, expected);
}

/* ---- intervals --------------------------------------------------------------------------------------------------- */

static void wilson_is_the_formula_of_1927(void **state)
{
    (void)state;
    static const struct { size_t count, of; double low, high; } cases[] = {
        { 8, 10, 0.4901624715366418, 0.9433178485456248 },  /* p .8: middle (.8 + .19207) / 1.38415, half 1.95996 / 1.38415 sqrt(.016 + .0096036) */
        { 81, 263, 0.2552885198782742, 0.3662095769828 },
        { 365, 500, 0.6894413425907917, 0.7670514607968943 },
        { 0, 10, 0, 0.2775327998628892 },             /* high: z2 / (n + z2) */
        { 10, 10, 0.7224672001371107, 1 },
        { 0, 0, 0, 1 },
    };
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        const sv_interval got = sv_wilson(cases[i].count, cases[i].of);
        assert_close(got.low, cases[i].low);
        assert_close(got.high, cases[i].high);
        assert_true(got.low >= 0 && got.high <= 1 && got.low <= got.high);
    }
    assert_true(sv_wilson(0, 7).low == 0 && sv_wilson(7, 7).high == 1);
    assert_close(sv_wilson(0, 10).high, 3.841458820694124 / (10 + 3.841458820694124));
}

static void mcnemar_is_a_sum_of_binomials(void **state)
{
    (void)state;
    assert_close(sv_mcnemar(1, 8), 2 * (1 + 9) / 512.0);
    assert_close(sv_mcnemar(8, 1), 2 * (1 + 9) / 512.0);
    assert_close(sv_mcnemar(0, 5), 2 / 32.0);
    assert_close(sv_mcnemar(2, 4), 2 * (1 + 6 + 15) / 64.0);
    assert_close(sv_mcnemar(3, 3), 1);
    assert_close(sv_mcnemar(0, 0), 1);
    assert_close(sv_mcnemar(0, 1), 1);
    assert_close(sv_mcnemar(500, 600), 0.0028195449914364275);
    assert_true(sv_mcnemar(0, 5000) == 0 || sv_mcnemar(0, 5000) < 1e-300);
}

static void the_interval_of_a_difference_adds_one_to_each_count(void **state)
{
    (void)state;
    const sv_interval even = sv_paired_interval(3, 3, 100), none = sv_paired_interval(0, 0, 8), some = sv_paired_interval(1, 8, 20), all = sv_paired_interval(0, 10, 10);
    assert_close(even.high, 1.959963984540054 * sqrt(8 / 102.0 / 102.0));
    assert_close(even.low, -even.high);
    assert_close(none.high, 1.959963984540054 * sqrt(0.2 / 10));
    assert_close(some.low, 7 / 22.0 - 1.959963984540054 * sqrt((11 / 22.0 - 49 / 484.0) / 22));
    assert_close(some.high, 7 / 22.0 + 1.959963984540054 * sqrt((11 / 22.0 - 49 / 484.0) / 22));
    assert_true(all.high <= 1);
}

/* ---- records made by hand ---------------------------------------------------------------------------------------- */

static const sv_record rows[] = {
    /* sample, loss, confidence, label, answer, rank, rank_among, kept */
    { 0, 0.5, 0.60, 0, 0, 0, 0, { 3 } },
    { 1, 1.5, 0.60, 0, 1, 1, 1, { 3 } },
    { 2, 2.5, 0.05, 0, 2, 7, 2, { 0 } },
    { 3, 0.1, 0.98, 1, 1, 0, 0, { 16 } },
    { 4, 0.2, 0.96, 1, 1, 0, 0, { 4 } },
    { 5, 3.2, 0.60, 4, 2, 1, 1, { 5 } },
    { 6, 2.0, 0.20, 4, 1, 4, 4, { 5 } },
    { 7, 4.0, 0.30, 4, 1, 5, 4, { 9 } },
    { 8, 4.0, 1.00, 4, 2, 5, 4, { 9 } },
};
static const sv_records by_hand = { .rows = (sv_record *)(uintptr_t)rows, .count = SV_COUNT(rows), .stages = 1, .classes = 7 };

static void classes_stand_worst_first(void **state)
{
    (void)state;
    sv_class_table table = { 0 };
    sv_error err = { 0 };
    assert_ok(sv_class_table_make(&table, &by_hand, &err), err);
    assert_int_equal(table.count, 3);
    const sv_class_row expected[] = { { 4, 4, 0, 2, 1, 2 }, { 0, 3, 1, 2, 1, 1 }, { 1, 2, 2, 2, 0, 0 } }; /* 1 before 2: of equals the lowest */
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(table.rows[i].index, expected[i].index);
        assert_int_equal(table.rows[i].images, expected[i].images);
        assert_int_equal(table.rows[i].top1, expected[i].top1);
        assert_int_equal(table.rows[i].top5, expected[i].top5);
        assert_int_equal(table.rows[i].mistaken, expected[i].mistaken);
        if (expected[i].mistaken) assert_int_equal(table.rows[i].mistake, expected[i].mistake);
    }
    sv_class_table_clear(&table);
    assert_ok(sv_class_table_make(&table, &(sv_records){ 0 }, &err), err);
    assert_int_equal(table.count, 0);
    sv_class_table_clear(&table);
    sv_fault_set(SV_FAULT_ALLOC, 1, false);
    assert_int_equal(sv_class_table_make(&table, &by_hand, &err), SV_FAULT);
}

static void calibration_is_the_mean_gap_of_the_bins(void **state)
{
    (void)state;
    sv_calibration c;
    sv_calibration_of(&c, &by_hand);
    assert_int_equal(c.images[0], 1);  /* .05 */
    assert_int_equal(c.images[2], 1);  /* .20 is the upper end of bin 2: (2/15, 3/15] */
    assert_int_equal(c.images[4], 1);  /* .30 */
    assert_int_equal(c.images[8], 3);  /* .60 is the upper end of bin 8 */
    assert_int_equal(c.images[14], 3); /* .96 .98 1 */
    assert_int_equal(c.right[8], 1);
    assert_int_equal(c.right[14], 2);
    assert_close(c.said[8], 0.6);
    assert_close(c.said[14], 0.98);
    assert_close(c.confidence, (0.6 * 3 + 0.05 + 0.98 + 0.96 + 0.2 + 0.3 + 1) / 9);
    assert_close(c.error, (0.05 + 0.2 + 0.3 + (1.8 - 1) + (2.94 - 2)) / 9);
    assert_close(c.loss, 18 / 9.0);
}

static void what_is_no_number_is_told_as_none(void **state)
{
    (void)state;
    sv_record two[2] = { rows[0], rows[1] };
    sv_calibration c;
    two[1].confidence = two[1].loss = NAN;
    sv_calibration_of(&c, &(sv_records){ .rows = two, .count = 2, .classes = 7 });
    assert_true(isnan(c.error) && isnan(c.confidence) && isnan(c.loss));
    assert_int_equal(c.images[8], 1);
    sv_calibration_of(&c, &(sv_records){ 0 });
    assert_true(c.error == 0 && c.loss == 0);
}

static void tokens_are_counted_by_stage(void **state)
{
    (void)state;
    size_t counts[17];
    sv_tokens_count(counts, 16, &by_hand, 0);
    for (size_t n = 0; n <= 16; n++) assert_int_equal(counts[n], n == 0 || n == 4 || n == 16 ? 1 : n == 3 || n == 5 || n == 9 ? 2 : 0);
    for (size_t patches = 1; patches < 1000; patches++) {
        const size_t step = sv_tokens_step(patches);
        assert_true((patches + step) / step <= 20);
    }
    assert_int_equal(sv_tokens_step(196), 10);
}

static void pairs_are_of_the_same_pictures(void **state)
{
    (void)state;
    sv_record other[SV_COUNT(rows)];
    sv_records second = { .rows = other, .count = SV_COUNT(rows), .classes = 7 };
    sv_paired paired = { .both = 99 };
    sv_error err = { 0 };
    memcpy(other, rows, sizeof rows);
    other[0].rank = 3, other[5].rank = other[6].rank = 0; /* one lost, two won */
    assert_ok(sv_paired_of(&paired, &by_hand, &second, &err), err);
    assert_true(paired.both == 2 && paired.first_alone == 1 && paired.second_alone == 2 && paired.neither == 4);
    assert_close(paired.difference, 1 / 9.0);
    assert_close(paired.p, 1);
    paired.both = 99;
    other[3].sample = 77;
    assert_int_equal(sv_paired_of(&paired, &by_hand, &second, &err), SV_FAULT);
    second.count = 2;
    assert_int_equal(sv_paired_of(&paired, &by_hand, &second, &err), SV_FAULT);
    assert_int_equal(paired.both, 99);
}

/* ---- records of a model ------------------------------------------------------------------------------------------- */

static void records_add_up_to_the_evaluation_whatever_the_batch_and_the_threads(void **state)
{
    (void)state;
    enum { FOLDERS = 6, EACH = 3 };
    bench b;
    sv_records first = { 0 };
    sv_pruning_plan plan = plan_of(SV_RULE_THRESHOLD, 0.7, 0.4);
    put_tree("p", FOLDERS, EACH);
    bench_open(&b, &plan, CLASSES, "p");
    b.plan.threshold[0] = b.plan.threshold[1] = 0.5;
    sv_removal_set_plan(&b.removal, &b.plan);
    for (size_t batch = BATCH; batch >= 1; batch--) {
        sv_records records = { 0 };
        sv_class_table table = { 0 };
        sv_calibration c;
        sv_error err = { 0 };
        size_t counts[PATCHES + 1], pictures = 0, top1 = 0, kept = 0;
        close_loader(&b);
        open_loader(&b, "p", batch);
        sv_threads_set(batch);
        sv_evaluation e = evaluate(&b, &(sv_evaluate_options){ .records = &records });
        assert_int_equal(records.count, FOLDERS * EACH);
        assert_int_equal(records.stages, 2);
        assert_ok(sv_class_table_make(&table, &records, &err), err);
        for (size_t i = 0; i < table.count; i++) pictures += table.rows[i].images, top1 += table.rows[i].top1;
        assert_true(pictures == e.images && top1 == e.top1);
        sv_tokens_count(counts, PATCHES, &records, 0);
        for (size_t n = 0; n <= PATCHES; n++) kept += n * counts[n];
        assert_close((double)kept / (double)e.images, e.kept[0]);
        sv_calibration_of(&c, &records);
        assert_true(c.loss == e.loss);
        if (!first.rows) {
            first = records;
        } else {
            assert_memory_equal(first.rows, records.rows, records.count * sizeof *records.rows);
            sv_records_clear(&records);
        }
        sv_class_table_clear(&table);
    }
    sv_threads_set(0);
    sv_records_clear(&first);
    bench_close(&b);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wilson_is_the_formula_of_1927),
        cmocka_unit_test(mcnemar_is_a_sum_of_binomials),
        cmocka_unit_test(the_interval_of_a_difference_adds_one_to_each_count),
        cmocka_unit_test(classes_stand_worst_first),
        cmocka_unit_test(calibration_is_the_mean_gap_of_the_bins),
        cmocka_unit_test(what_is_no_number_is_told_as_none),
        cmocka_unit_test(tokens_are_counted_by_stage),
        cmocka_unit_test(pairs_are_of_the_same_pictures),
        WITH_FOLDER(records_add_up_to_the_evaluation_whatever_the_batch_and_the_threads),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
