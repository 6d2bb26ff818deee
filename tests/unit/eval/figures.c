/* eval/figures*.c: what is printed says what was measured, columns stand under their headings, names from files cannot break a line. */
#include "tests/unit/eval/test_eval.h"

#include "eval/figures.h"

#include <jansson.h>

static const sv_record rows[] = {
    { 0, 0.5, 0.60, 0, 0, 0, 0, { 3, 2 } }, { 1, 1.5, 0.60, 0, 1, 1, 1, { 3, 2 } }, { 2, 0.1, 0.98, 1, 1, 0, 0, { 16, 2 } }, { 3, 0.2, 0.96, 1, 0, 6, 1, { 4, 2 } },
};
static const sv_records records = { .rows = (sv_record *)(uintptr_t)rows, .count = SV_COUNT(rows), .stages = 2, .classes = 7 };
static const sv_evaluation evaluation = { .images = 4, .top1 = 2, .top5 = 3, .top1_among = 2, .loss = 0.575, .kept = { 6.5, 2 }, .kept_least = { 3, 2 }, .kept_most = { 16, 2 },
                                          .macs = 2e6, .seconds = 2 };
static const sv_pruning_plan plan = { .stages = 2, .at = { 1, 2 }, .patches = { 16, 16 } };
static const char *names[] = { "a \"b\",\n", "second" };
static const sv_classes classes = { .count = 2, .names = names };

static sv_figures both[2];
static int fill(void **state)
{
    (void)state;
    both[0] = (sv_figures){ .name = "dense", .e = &evaluation, .records = &records, .patches = 16, .ms_median = NAN, .ms_p95 = NAN };
    both[1] = (sv_figures){ .name = "pruned", .e = &evaluation, .records = &records, .plan = &plan, .patches = 16, .ms_median = NAN, .ms_p95 = NAN };
    return 0;
}

static void assert_part(const char *text, const char *part)
{
    if (!text || !strstr(text, part)) fail_msg("'%s' is not in:\n%s", part, text ? text : "");
}

/* Length of line `number`. */
static size_t line_length(const char *text, size_t number)
{
    for (; number; number--) text = strchr(text, '\n') + 1;
    return strcspn(text, "\n");
}

static void the_table_is_aligned(void **state)
{
    (void)state;
    sv_text text = { 0 };
    sv_figures_print(&text, both, 2);
    assert_int_equal(line_length(text.data, 0), line_length(text.data, 1));
    assert_int_equal(line_length(text.data, 1), line_length(text.data, 2));
    assert_part(text.data, "pruned        2   50.00 %  15.0 to  85.0 %      3   75.00 %  30.1 to  95.4 %        2   0.5750    0.002         2.0\n");
    assert_part(text.data, "4 pictures, 0 unreadable");
    sv_text_clear(&text);
    both[0].ms_median = 10, both[0].ms_p95 = 11, both[1].ms_median = 4, both[1].ms_p95 = 5;
    sv_figures_print(&text, both, 2);
    assert_int_equal(line_length(text.data, 0), line_length(text.data, 1));
    assert_part(text.data, "the pruned model is 2.50 times as fast\n");
    sv_text_clear(&text);
}

static void bars_tell_where_pictures_differ(void **state)
{
    (void)state;
    sv_text text = { 0 };
    sv_error err = { 0 };
    assert_ok(sv_tokens_print(&text, &both[0], &err), err);
    assert_int_equal(text.length, 0);
    assert_ok(sv_tokens_print(&text, &both[1], &err), err);
    assert_part(text.data, "selector 1, before block 1, keeps 6.5 of 16 patches (40.6 %), least 3, most 16\n");
    assert_part(text.data, "             3       2  ########################################\n");
    assert_part(text.data, "             4       1  ####################\n            16       1  ####################\n");
    assert_part(text.data, "selector 2, before block 2, keeps 2.0 of 16 patches (12.5 %) of every picture\n");
    sv_text_clear(&text);
}

static void calibration_and_classes_are_told(void **state)
{
    (void)state;
    sv_text text = { 0 };
    sv_error err = { 0 };
    sv_class_table table = { 0 };
    sv_calibration_print(&text, &both[0], false);
    assert_string_equal(text.data,
                        "dense: answers said to be right with 78.50 % on average are right with 50.00 %; expected calibration error 28.50 %, negative log likelihood 0.5750\n");
    sv_calibration_print(&text, &both[0], true);
    assert_part(text.data, "  0.53 to 0.60            2   60.00 %   50.00 %  -10.00 %\n");
    sv_text_clear(&text);
    assert_ok(sv_class_table_make(&table, &records, &err), err);
    sv_classes_print(&text, &table, &classes, 1);
    assert_part(text.data, "second                          2      1   50.00 %      1   50.00 %  a \"b\",? (1)\n... of 2\n");
    sv_text_clear(&text);
    sv_classes_csv(&text, &table, &classes);
    assert_string_equal(text.data, "class,name,pictures,top1,top5,top1_share,mistaken_for,mistaken_pictures\n"
                                   "1,\"second\",2,1,1,0.5,\"a \"\"b\"\",?\",1\n0,\"a \"\"b\"\",?\",2,1,2,0.5,\"second\",1\n");
    sv_text_clear(&text);
    sv_class_table_clear(&table);
}

static void csv_has_a_number_a_line(void **state)
{
    (void)state;
    sv_text text = { 0 };
    sv_error err = { 0 };
    sv_paired paired;
    assert_ok(sv_paired_of(&paired, &records, &records, &err), err);
    assert_ok(sv_figures_csv(&text, both, 2, &paired, &err), err);
    assert_int_equal(strncmp(text.data, "model,table,key,name,value\ndense,accuracy,,images,4\n", 52), 0);
    assert_part(text.data, "\npruned,accuracy,top1,share,0.5\n");
    assert_part(text.data, "\npruned,tokens,1,kept 3,2\npruned,tokens,1,kept 4,1\npruned,tokens,1,kept 16,1\n");
    assert_part(text.data, "\ndense,calibration,9,said,0.59999999999999998\n");
    assert_part(text.data, "\npruned,paired,dense,p,1\n");
    for (const char *at = text.data; *at; at += strcspn(at, "\n") + 1) {
        size_t commas = 0;
        for (const char *c = at; *c != '\n'; c++) commas += *c == ',';
        assert_int_equal(commas, 4);
    }
    sv_text_clear(&text);
}

static void json_reads_back(void **state)
{
    (void)state;
    sv_text text = { 0 };
    sv_json json = { .text = &text };
    sv_error err = { 0 };
    sv_class_table table = { 0 };
    assert_ok(sv_class_table_make(&table, &records, &err), err);
    sv_json_open(&json, NULL);
    assert_ok(sv_figures_json(&json, &both[1], &err), err);
    sv_classes_json(&json, "classes", &table, &classes);
    sv_json_close(&json);
    json_t *read = json_loads(text.data, 0, NULL);
    assert_non_null(read);
    assert_int_equal(json_integer_value(json_object_get(read, "top1_count")), 2);
    json_t *first = json_array_get(json_array_get(json_object_get(read, "tokens_pictures"), 0), 0);
    assert_int_equal(json_integer_value(json_array_get(first, 0)), 3);
    assert_int_equal(json_integer_value(json_array_get(first, 1)), 2);
    assert_int_equal(json_array_size(json_object_get(read, "calibration")), SV_CALIBRATION_BINS);
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(read, "classes"), 0), "name")), "second");
    json_decref(read);
    sv_text_clear(&text);
    sv_class_table_clear(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_table_is_aligned, fill),         cmocka_unit_test_setup(bars_tell_where_pictures_differ, fill),
        cmocka_unit_test_setup(calibration_and_classes_are_told, fill), cmocka_unit_test_setup(csv_has_a_number_a_line, fill),
        cmocka_unit_test_setup(json_reads_back, fill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
