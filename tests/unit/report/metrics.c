/* report/metrics.c: a resume cuts what came after its checkpoint, and no byte of a file that is not ours is ever touched. */
#include "tests/unit/base/test_base.h"

#include "report/report.h"

#include <math.h>

static const char *const columns[] = { "step", "loss", "share 1" };
#define HEADER "step,loss,share 1\n"
#define ROWS "1,0.5,0.25\n2,,0.125\n10,3,4\n"

static sv_status open_file(sv_metrics **metrics, uint64_t last, sv_error *err)
{
    return sv_metrics_open(metrics, in_folder("m.csv"), columns, SV_COUNT(columns), last, err);
}

/* Opens what is there with `last` and closes it again. */
static void reopen(uint64_t last)
{
    sv_metrics *metrics = NULL;
    sv_error err = { 0 };
    assert_ok(open_file(&metrics, last, &err), err);
    sv_metrics_close(metrics);
}

static void assert_left_alone(const char *bytes, const char *sentence)
{
    sv_metrics *metrics = NULL;
    sv_error err = { 0 };
    write_text(in_folder("m.csv"), bytes);
    assert_int_equal(open_file(&metrics, UINT64_MAX, &err), SV_DATA);
    assert_null(metrics);
    if (!strstr(err.text, sentence)) fail_msg("'%s'; expected '%s' in it", err.text, sentence);
    assert_holds(in_folder("m.csv"), bytes);
    assert_int_equal(entries_in(test_folder), 1);
}

static void each_row_is_in_the_file_when_add_returns(void **state)
{
    (void)state;
    static const double rows[][3] = { { 1, 0.5, 0.25 }, { 2, NAN, 0.125 }, { 10, 3, 4 } };
    sv_metrics *metrics = NULL;
    sv_error err = { 0 };
    assert_ok(open_file(&metrics, UINT64_MAX, &err), err);
    assert_holds(in_folder("m.csv"), HEADER);
    assert_ok(sv_metrics_add(metrics, rows[0], &err), err);
    assert_holds(in_folder("m.csv"), HEADER "1,0.5,0.25\n");
    for (size_t i = 1; i < 3; i++) assert_ok(sv_metrics_add(metrics, rows[i], &err), err);
    assert_holds(in_folder("m.csv"), HEADER ROWS);
    sv_metrics_close(metrics);
    sv_metrics_close(NULL);
    assert_holds(in_folder("m.csv"), HEADER ROWS);
}

static void reopening_cuts_the_rows_after_last_and_no_other_byte(void **state)
{
    (void)state;
    static const struct {
        uint64_t last;
        const char *kept;
    } cases[] = {
        { UINT64_MAX, HEADER ROWS },  { 10, HEADER ROWS }, { 9, HEADER "1,0.5,0.25\n2,,0.125\n" }, { 2, HEADER "1,0.5,0.25\n2,,0.125\n" },
        { 1, HEADER "1,0.5,0.25\n" }, { 0, HEADER },
    };
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        write_text(in_folder("m.csv"), HEADER ROWS);
        reopen(cases[i].last);
        assert_holds(in_folder("m.csv"), cases[i].kept);
    }
}

static void a_resumed_run_goes_on_behind_the_rows_that_stay(void **state)
{
    (void)state;
    static const double same[] = { 2, 1, 1 }, next[] = { 3, 1, 1 };
    sv_metrics *metrics = NULL;
    sv_error err = { 0 };
    write_text(in_folder("m.csv"), HEADER ROWS);
    assert_ok(open_file(&metrics, 5, &err), err);
    assert_int_equal(sv_metrics_add(metrics, same, &err), SV_FAULT); /* the counter of the file counts, not of this process */
    assert_ok(sv_metrics_add(metrics, next, &err), err);
    assert_holds(in_folder("m.csv"), HEADER "1,0.5,0.25\n2,,0.125\n3,1,1\n");
    sv_metrics_close(metrics);
}

static void other_columns_are_refused_and_the_file_is_left_alone(void **state)
{
    (void)state;
    assert_left_alone("step,loss\n1,2\n", "has the columns 'step,loss', not those of this run");
    assert_left_alone("step,loss,share 1,share 2\n1,2,3,4\n", "'step,loss,share 1,share 2'");
    assert_left_alone("step,share 1,loss\n1,2,3\n", "'step,share 1,loss'");
    assert_left_alone("step,loss,share 2\n", "'step,loss,share 2'");
    assert_left_alone("a letter to my aunt", "'a letter to my aunt'");
    assert_left_alone("\x1b[2Jstep\n", "'?[2Jstep'");
}

static void rows_that_are_not_ours_are_refused_with_their_line(void **state)
{
    (void)state;
    assert_left_alone(HEADER "1,2,3\nx,2,3\n", "m.csv:3: does not begin with a whole number above the one before");
    assert_left_alone(HEADER "1,2,3\n1,2,3\n", "m.csv:3: ");
    assert_left_alone(HEADER "5,2,3\n4,2,3\n6,1,1\n", "m.csv:3: ");
    assert_left_alone(HEADER "-1,2,3\n", "m.csv:2: ");
    assert_left_alone(HEADER "1.5,2,3\n", "m.csv:2: ");
    assert_left_alone(HEADER ",2,3\n", "m.csv:2: ");
    assert_left_alone(HEADER "\n", "m.csv:2: ");
    assert_left_alone(HEADER "100000000000000000000000000000000000000,1,1\n", "m.csv:2: ");
}

static void a_file_torn_at_any_byte_opens_with_its_whole_lines(void **state)
{
    (void)state;
    static const char whole[] = HEADER ROWS;
    for (size_t length = 0; length < sizeof whole; length++) {
        char torn[sizeof whole] = "";
        memcpy(torn, whole, length);
        write_text(in_folder("m.csv"), torn);
        reopen(UINT64_MAX);
        char *end = strrchr(torn, '\n');
        if (end) end[1] = 0;
        assert_holds(in_folder("m.csv"), end ? torn : HEADER);
    }
}

static void what_is_not_finite_becomes_an_empty_field_and_reads_as_nan(void **state)
{
    (void)state;
    static const double rows[][3] = { { 0, NAN, INFINITY }, { 1, -INFINITY, -0.0 } };
    sv_metrics *metrics = NULL;
    sv_metrics_table table = { 0 };
    sv_error err = { 0 };
    assert_ok(open_file(&metrics, UINT64_MAX, &err), err);
    for (size_t i = 0; i < 2; i++) assert_ok(sv_metrics_add(metrics, rows[i], &err), err);
    sv_metrics_close(metrics);
    assert_holds(in_folder("m.csv"), HEADER "0,,\n1,,-0\n");
    assert_ok(sv_metrics_read(&table, in_folder("m.csv"), &err), err);
    assert_int_equal(table.row_count, 2);
    assert_true(isnan(table.values[1][0]) && isnan(table.values[2][0]) && isnan(table.values[1][1]) && table.values[2][1] == 0);
    sv_metrics_table_clear(&table);
}

static void the_counter_must_rise_and_a_refused_row_writes_nothing(void **state)
{
    (void)state;
    static const double refused[] = { 7, 6, 0, -1, 7.5, NAN, INFINITY, -INFINITY, 9007199254740992.0 };
    sv_metrics *metrics = NULL;
    sv_error err = { 0 };
    double row[] = { 7, 1, 2 };
    assert_ok(open_file(&metrics, UINT64_MAX, &err), err);
    assert_ok(sv_metrics_add(metrics, row, &err), err);
    for (size_t i = 0; i < SV_COUNT(refused); i++) {
        row[0] = refused[i];
        assert_int_equal(sv_metrics_add(metrics, row, &err), SV_FAULT);
        assert_holds(in_folder("m.csv"), HEADER "7,1,2\n");
    }
    row[0] = 9007199254740991.0; /* in full: no digit of it is rounded away */
    assert_ok(sv_metrics_add(metrics, row, &err), err);
    assert_holds(in_folder("m.csv"), HEADER "7,1,2\n9007199254740991,1,2\n");
    sv_metrics_close(metrics);
    reopen(UINT64_MAX);
    assert_holds(in_folder("m.csv"), HEADER "7,1,2\n9007199254740991,1,2\n");
}

static void a_row_that_could_not_be_written_may_be_tried_again(void **state)
{
    (void)state;
    static const double row[] = { 1, 2, 3 };
    sv_metrics *metrics = NULL;
    sv_error err = { 0 };
    assert_ok(open_file(&metrics, UINT64_MAX, &err), err);
    sv_fault_set(SV_FAULT_WRITE, 1, false);
    assert_int_equal(sv_metrics_add(metrics, row, &err), SV_FAULT);
    sv_fault_set(SV_FAULT_ALLOC, 1, false);
    assert_int_equal(sv_metrics_add(metrics, row, &err), SV_FAULT);
    assert_holds(in_folder("m.csv"), HEADER);
    assert_ok(sv_metrics_add(metrics, row, &err), err);
    assert_holds(in_folder("m.csv"), HEADER "1,2,3\n");
    sv_metrics_close(metrics);
}

static void a_cut_that_fails_leaves_the_old_file(void **state)
{
    (void)state;
    static const sv_fault_kind kinds[] = { SV_FAULT_OPEN, SV_FAULT_READ, SV_FAULT_WRITE, SV_FAULT_RENAME };
    for (size_t i = 0; i < SV_COUNT(kinds); i++) {
        sv_metrics *metrics = NULL;
        sv_error err = { 0 };
        write_text(in_folder("m.csv"), HEADER ROWS);
        sv_fault_set(kinds[i], 1, false);
        assert_int_not_equal(open_file(&metrics, 1, &err), SV_OK);
        assert_null(metrics);
        sv_fault_set(kinds[i], 0, false);
        assert_holds(in_folder("m.csv"), HEADER ROWS);
    }
}

static void floats_come_back_to_the_bit(void **state)
{
    (void)state;
    sv_random random = sv_random_at(1, SV_FOR_TEST, 0, 0, 0);
    sv_metrics *metrics = NULL;
    sv_metrics_table table = { 0 };
    sv_error err = { 0 };
    float expected[200];
    assert_ok(open_file(&metrics, UINT64_MAX, &err), err);
    for (size_t i = 0; i < 200; i++) {
        expected[i] = (float)(sv_random_normal(&random) * pow(10, 60 * sv_random_uniform(&random) - 30));
        assert_ok(sv_metrics_add(metrics, (double[]){ (double)(3 * i), (double)expected[i], -1 }, &err), err);
    }
    sv_metrics_close(metrics);
    assert_ok(sv_metrics_read(&table, in_folder("m.csv"), &err), err);
    assert_int_equal(table.row_count, 200);
    assert_int_equal(table.column_count, 3);
    const double *loss = sv_metrics_column(&table, "loss"), *step = sv_metrics_column(&table, "step");
    assert_non_null(loss);
    assert_non_null(step);
    assert_ptr_equal(sv_metrics_column(&table, "share 1"), table.values[2]);
    assert_null(sv_metrics_column(&table, "los"));
    assert_null(sv_metrics_column(&table, ""));
    for (size_t i = 0; i < 200; i++) assert_true((float)loss[i] == expected[i] && step[i] == (double)(3 * i));
    sv_metrics_table_clear(&table);
    sv_metrics_table_clear(&table);
    assert_int_equal(table.row_count, 0);
}

static void reading_says_where_a_file_is_broken(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *sentence;
    } cases[] = {
        { "", "expected a line of 1 to 128 column names" },     { "step,loss", "expected a line of 1 to 128 column names" },
        { "a,b\n1,2\n3\n", "m.csv:3: expected 2 values" },      { "a,b\n1,2,3\n", "m.csv:2: expected 2 values" },
        { "a,b\n1,\x01two\n", "m.csv:2: '?two' is no number" }, { "a,b\n1,inf\n", "m.csv:2: 'inf' is no number" },
    };
    sv_memory memory = sv_memory_now();
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        sv_metrics_table table = { 0 };
        sv_error err = { 0 };
        write_text(in_folder("m.csv"), cases[i].bytes);
        assert_int_equal(sv_metrics_read(&table, in_folder("m.csv"), &err), SV_DATA);
        if (!strstr(err.text, cases[i].sentence)) fail_msg("'%s'; expected '%s' in it", err.text, cases[i].sentence);
        assert_null(table.text);
    }
    assert_int_equal(sv_memory_now().live, memory.live);
}

static void reading_leaves_out_a_line_that_is_being_written(void **state)
{
    (void)state;
    sv_metrics_table table = { 0 };
    sv_error err = { 0 };
    write_text(in_folder("m.csv"), "a,b\n1,2\n3");
    assert_ok(sv_metrics_read(&table, in_folder("m.csv"), &err), err);
    assert_int_equal(table.row_count, 1);
    assert_true(table.values[0][0] == 1 && table.values[1][0] == 2);
    sv_metrics_table_clear(&table);
    write_text(in_folder("m.csv"), "a\n");
    assert_ok(sv_metrics_read(&table, in_folder("m.csv"), &err), err);
    assert_int_equal(table.row_count, 0);
    assert_string_equal(table.columns[0], "a");
    sv_metrics_table_clear(&table);
}

static void more_columns_than_fit_are_refused_and_as_many_as_fit_are_not(void **state)
{
    (void)state;
    for (size_t count = SV_METRICS_COLUMNS_MOST; count <= SV_METRICS_COLUMNS_MOST + 200; count += 200) {
        sv_metrics_table table = { 0 };
        sv_text text = { 0 };
        sv_error err = { 0 };
        for (size_t i = 0; i < count; i++) sv_text_add(&text, "%sc%zu", i ? "," : "", i);
        sv_text_add(&text, "\n");
        for (size_t i = 0; i < count; i++) sv_text_add(&text, "%s%zu", i ? "," : "", i);
        sv_text_add(&text, "\n");
        assert_ok(sv_text_check(&text, &err), err);
        write_text(in_folder("m.csv"), text.data);
        sv_status status = sv_metrics_read(&table, in_folder("m.csv"), &err);
        assert_int_equal(status, count > SV_METRICS_COLUMNS_MOST ? SV_DATA : SV_OK);
        if (!status) assert_true(table.values[count - 1][0] == (double)(count - 1));
        sv_metrics_table_clear(&table);
        sv_text_clear(&text);
    }
}

static void running_out_of_memory_leaks_nothing(void **state)
{
    (void)state;
    sv_memory memory = sv_memory_now();
    bool survived = false;
    for (uint64_t at = 1; at < 100 && !survived; at++) {
        sv_metrics *metrics = NULL;
        sv_metrics_table table = { 0 };
        sv_error err = { 0 };
        write_text(in_folder("m.csv"), HEADER ROWS);
        sv_fault_set(SV_FAULT_ALLOC, at, false);
        survived = open_file(&metrics, 2, &err) == SV_OK && sv_metrics_read(&table, in_folder("m.csv"), &err) == SV_OK;
        sv_fault_set(SV_FAULT_ALLOC, 0, false);
        sv_metrics_close(metrics);
        sv_metrics_table_clear(&table);
        assert_int_equal(sv_memory_now().live, memory.live);
    }
    assert_true(survived);
}

/* Whatever part of a failed row reached the disk, the next try writes it once and whole. */
static void a_failed_row_leaves_no_part_of_itself(void **state)
{
    (void)state;
    static const double rows[][3] = { { 1, 0.5, 0.25 }, { 2, NAN, 0.125 }, { 10, 3, 4 } };
    static const sv_fault_kind kinds[] = { SV_FAULT_SYNC, SV_FAULT_WRITE, SV_FAULT_OPEN };
    sv_metrics *metrics = NULL;
    sv_error err = { 0 };
    assert_ok(open_file(&metrics, UINT64_MAX, &err), err);
    for (size_t i = 0; i < 3; i++) {
        sv_fault_set(kinds[i], 1, false); /* a failed sync leaves the whole row behind */
        assert_int_equal(sv_metrics_add(metrics, rows[i], &err), SV_FAULT);
        if (i == 1) assert_ok(sv_file_append(in_folder("m.csv"), "2,,0.1", 6, &err), err); /* as a disk that became full in mid row */
        assert_ok(sv_metrics_add(metrics, rows[i], &err), err);
    }
    sv_metrics_close(metrics);
    assert_holds(in_folder("m.csv"), HEADER ROWS);
    reopen(2);
    assert_ok(open_file(&metrics, UINT64_MAX, &err), err); /* the size is right after a cut too */
    sv_fault_set(SV_FAULT_SYNC, 1, false);
    assert_int_equal(sv_metrics_add(metrics, rows[2], &err), SV_FAULT);
    assert_ok(sv_metrics_add(metrics, rows[2], &err), err);
    sv_metrics_close(metrics);
    assert_holds(in_folder("m.csv"), HEADER ROWS);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(each_row_is_in_the_file_when_add_returns),
        WITH_FOLDER(reopening_cuts_the_rows_after_last_and_no_other_byte),
        WITH_FOLDER(a_resumed_run_goes_on_behind_the_rows_that_stay),
        WITH_FOLDER(other_columns_are_refused_and_the_file_is_left_alone),
        WITH_FOLDER(rows_that_are_not_ours_are_refused_with_their_line),
        WITH_FOLDER(a_file_torn_at_any_byte_opens_with_its_whole_lines),
        WITH_FOLDER(what_is_not_finite_becomes_an_empty_field_and_reads_as_nan),
        WITH_FOLDER(the_counter_must_rise_and_a_refused_row_writes_nothing),
        WITH_FOLDER(a_row_that_could_not_be_written_may_be_tried_again),
        WITH_FOLDER(a_failed_row_leaves_no_part_of_itself),
        WITH_FOLDER(a_cut_that_fails_leaves_the_old_file),
        WITH_FOLDER(floats_come_back_to_the_bit),
        WITH_FOLDER(reading_says_where_a_file_is_broken),
        WITH_FOLDER(reading_leaves_out_a_line_that_is_being_written),
        WITH_FOLDER(more_columns_than_fit_are_refused_and_as_many_as_fit_are_not),
        WITH_FOLDER(running_out_of_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
