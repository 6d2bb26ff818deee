/* latency/table_file.c and table_choose.c: tables of several models in one file. */
#include "tests/unit/latency/test_latency.h"

#include "base/fault.h"
#include "latency/measure_model.h"

/* A small table of a width, so that models differ. */
static sv_latency_table table_of(size_t width, const char *selector, const char *precision, size_t batch)
{
    sv_latency_table table = empty_table();
    sv_error err;
    table.about.width = width;
    snprintf(table.about.arch, sizeof table.about.arch, "deit_%zu", width);
    snprintf(table.about.selector, sizeof table.about.selector, "%s", selector);
    snprintf(table.about.precision, sizeof table.about.precision, "%s", precision);
    for (size_t n = 1; n < 4; n++)
        assert_ok(sv_latency_table_add(&table, &(sv_latency_row){ .op = SV_LATENCY_BLOCK, .batch = batch, .tokens = n, .median_ms = (double)(n * width), .p95_ms = (double)(n * width) }, &err), err);
    return table;
}

static void add_text(sv_text *text, size_t width, const char *selector, const char *precision, size_t batch)
{
    sv_latency_table table = table_of(width, selector, precision, batch);
    sv_error err;
    assert_ok(sv_latency_table_print(&table, text, &err), err);
    sv_latency_table_clear(&table);
}

static void put(const char *path, size_t width, const char *selector, const char *precision, size_t batch, bool expected)
{
    sv_latency_table table = table_of(width, selector, precision, batch);
    sv_error err;
    bool replaced = !expected;
    assert_ok(sv_latency_file_put(&table, path, &replaced, &err), err);
    assert_true(replaced == expected);
    sv_latency_table_clear(&table);
}

static void assert_refused(const char *bytes, size_t count, const char *sentence)
{
    sv_latency_file file = { 0 };
    sv_error err = { 0 };
    sv_status status = sv_latency_file_parse(&file, bytes, count, "both.csv", &err);
    if (status != SV_MODEL_FILE || !strstr(err.text, sentence)) fail_msg("status %d, '%s'; expected '%s' in it", status, status ? err.text : "", sentence);
    assert_null(file.parts);
}

static void a_file_of_one_table_is_what_it_was(void **state)
{
    (void)state;
    const char *path = in_folder("one.csv"), *other = in_folder("other.csv");
    sv_latency_table table = full_table();
    unsigned char *a = NULL, *b = NULL;
    size_t a_count = 0, b_count = 0;
    bool replaced = true;
    sv_error err;
    assert_ok(sv_latency_table_write(&table, path, &err), err);
    assert_ok(sv_latency_file_put(&table, other, &replaced, &err), err);
    assert_false(replaced);
    assert_ok(sv_file_read_all(path, 1 << 20, SV_DATA, &a, &a_count, &err), err);
    assert_ok(sv_file_read_all(other, 1 << 20, SV_DATA, &b, &b_count, &err), err);
    assert_int_equal(a_count, b_count);
    assert_memory_equal(a, b, a_count);
    sv_free(a);
    sv_free(b);
    sv_latency_table_clear(&table);
}

static void tables_one_behind_another_are_read_with_the_lines_of_their_file(void **state)
{
    (void)state;
    sv_text text = { 0 };
    sv_latency_file file = { 0 };
    sv_error err;
    sv_text_add(&text, "%s%sblock,1,2,3,4\n\n", HEADER, COLUMNS); /* by hand, and first */
    add_text(&text, 384, "spvit", "fp32", 1);
    sv_text_add(&text, "\r\n \t#\tformat : sieve latency table 1\n# note: by hand: # format: no\n%s%sblock,1,7,3,4\n", HEADER, COLUMNS);
    char *arch = strstr(strstr(text.data, "by hand:"), "deit_t");
    memcpy(arch, "deit_b", 6);
    assert_ok(sv_latency_file_parse(&file, text.data, text.length, "three.csv", &err), err);
    assert_int_equal(file.count, 3);
    assert_string_equal(file.parts[0].table.about.arch, "deit_t");
    assert_string_equal(file.parts[1].table.about.arch, "deit_384");
    assert_string_equal(file.parts[2].table.about.arch, "deit_b");
    size_t line = 1;
    for (const char *at = text.data, *row = strstr(text.data, "block,1,7"); at < row; at++) line += *at == '\n';
    assert_int_equal(file.parts[2].table.rows[0].line, line);
    assert_int_equal(file.parts[0].begin, 0);
    assert_int_equal(file.parts[0].end, file.parts[1].begin);
    assert_int_equal(file.parts[2].end, text.length);
    sv_latency_file_clear(&file);
    sv_text_clear(&text);
}

static void what_is_wrong_in_a_later_table_is_named_with_the_files_line(void **state)
{
    (void)state;
    sv_text text = { 0 };
    sv_text_add(&text, "%s%sblock,1,2,3,4\n", HEADER, COLUMNS); /* 9 lines */
    const size_t first = text.length;
    sv_text_add(&text, "# format: sieve latency table 1\n%s%sblokc,1,2,3,4\n", HEADER, COLUMNS);
    assert_refused(text.data, text.length, "both.csv:19: unknown op 'blokc'; did you mean 'block'?");
    text.length = first;
    sv_text_add(&text, "# format: sieve latency table 1\n%s%s", HEADER, COLUMNS);
    assert_refused(text.data, text.length, "both.csv:10: the table from here on: has no rows; is the file cut off?");
    text.length = first;
    sv_text_add(&text, "# format: sieve latency table 1\n# rows: 2\n%s%sblock,1,2,3,4\n", HEADER, COLUMNS);
    assert_refused(text.data, text.length, "both.csv:10: the table from here on: 2 rows are told, 1 are there");
    text.length = first;
    sv_text_add(&text, "# format: sieve latency table 1\n%sblock,1,2,3,4\n", COLUMNS);
    assert_refused(text.data, text.length, "both.csv:10: the table from here on: the header does not tell 'device'");
    text.length = first;
    sv_text_add(&text, "# format: sieve latency table 1\n");
    assert_refused(text.data, text.length, "both.csv:10: the table from here on: the line 'op,batch,tokens,ms_median,ms_p95' and all rows are missing");
    text.length = first;
    sv_text_add(&text, "# device: no line of format\n");
    assert_refused(text.data, text.length, "both.csv:10: the key 'device' stands below the rows");
    sv_text_clear(&text);
}

/* Cut exactly between two tables it is a whole file of fewer. Without its last line, crc32, a table is whole and says how many rows it has. */
static void every_truncation_of_several_tables_is_refused_or_lies_between_them(void **state)
{
    (void)state;
    sv_text text = { 0 };
    sv_latency_file file = { 0 };
    sv_error err;
    add_text(&text, 192, "spvit", "fp32", 1);
    const size_t first = text.length, sum = strlen("# crc32: 00000000\n");
    add_text(&text, 384, "spvit", "fp32", 1);
    for (size_t length = 0; length < text.length; length++) {
        const bool whole = length == first || length == first - sum || length == text.length - sum;
        const sv_status status = sv_latency_file_parse(&file, text.data, length, "cut", &err);
        if (status != (whole ? SV_OK : SV_MODEL_FILE)) fail_msg("cut to %zu of %zu bytes: status %d", length, text.length, status);
        if (whole) assert_int_equal(file.count, length <= first ? 1 : 2);
        sv_latency_file_clear(&file);
    }
    sv_text_clear(&text);
}

static void every_flipped_bit_of_several_tables_is_refused(void **state)
{
    (void)state;
    sv_text text = { 0 };
    sv_latency_file file = { 0 };
    sv_error err;
    add_text(&text, 192, "spvit", "fp32", 1);
    add_text(&text, 384, "spvit", "fp32", 1);
    for (size_t i = 0; i < text.length; i++)
        for (int bit = 0; bit < 8; bit++) {
            text.data[i] = (char)(text.data[i] ^ (1 << bit));
            if (sv_latency_file_parse(&file, text.data, text.length, "flipped", &err) != SV_MODEL_FILE)
                fail_msg("bit %d of byte %zu (line '%.20s') went unseen", bit, i, text.data + i);
            text.data[i] = (char)(text.data[i] ^ (1 << bit));
        }
    sv_text_clear(&text);
}

/* A whole table inside another, behind any of its lines. */
static void mixed_up_tables_are_refused(void **state)
{
    (void)state;
    sv_text a = { 0 }, b = { 0 }, mixed = { 0 };
    sv_latency_file file = { 0 };
    sv_error err;
    add_text(&a, 192, "spvit", "fp32", 1);
    add_text(&b, 384, "spvit", "fp32", 1);
    for (size_t i = 1; i < a.length; i++) {
        if (a.data[i - 1] != '\n') continue;
        mixed.length = 0;
        sv_text_add_bytes(&mixed, a.data, i); /* the second stands inside the first */
        sv_text_add_bytes(&mixed, b.data, b.length);
        sv_text_add_bytes(&mixed, a.data + i, a.length - i);
        err.text[0] = 0;
        if (sv_latency_file_parse(&file, mixed.data, mixed.length, "mixed", &err) != SV_MODEL_FILE) fail_msg("a table inside another, behind %zu bytes, went unseen", i);
        assert_true(strncmp(err.text, "mixed", 5) == 0 && strlen(err.text) > 20);
    }
    sv_text_clear(&a);
    sv_text_clear(&b);
    sv_text_clear(&mixed);
}

static void a_table_twice_is_refused_naming_both_lines(void **state)
{
    (void)state;
    sv_text text = { 0 };
    sv_latency_file file = { 0 };
    sv_error err;
    add_text(&text, 192, "spvit", "fp32", 1);
    const size_t one = text.length;
    add_text(&text, 192, "spvit with more words", "fp32", 1);
    assert_refused(text.data, text.length, "a second table of deit_192 with the same selectors, precision and batch begins here; the first begins in line 1");
    text.length = one; /* each of these is another question */
    add_text(&text, 384, "spvit", "fp32", 1);
    add_text(&text, 192, "spv", "fp32", 1);
    add_text(&text, 192, "", "fp32", 1);
    add_text(&text, 192, "spvit", "bf16", 1);
    add_text(&text, 192, "spvit", "fp32", 8);
    assert_ok(sv_latency_file_parse(&file, text.data, text.length, "both.csv", &err), err);
    assert_int_equal(file.count, 6);
    sv_latency_file_clear(&file);
    sv_text_clear(&text);
}

static void more_tables_than_a_file_holds_are_refused(void **state)
{
    (void)state;
    sv_text text = { 0 };
    sv_latency_file file = { 0 };
    sv_error err;
    for (size_t i = 0; i < SV_LATENCY_TABLES_MOST; i++) add_text(&text, 100 + i, "spvit", "fp32", 1);
    assert_ok(sv_latency_file_parse(&file, text.data, text.length, "both.csv", &err), err);
    assert_int_equal(file.count, SV_LATENCY_TABLES_MOST);
    sv_latency_file_clear(&file);
    add_text(&text, 10, "spvit", "fp32", 1);
    assert_refused(text.data, text.length, "a file holds at most 64 tables");
    sv_text_clear(&text);
    char *large = calloc(1, SV_LATENCY_FILE_MOST + 1);
    assert_refused(large, SV_LATENCY_FILE_MOST + 1, "at most 1048576");
    free(large);
}

static void one_table_alone_is_what_read_asks_for(void **state)
{
    (void)state;
    sv_text text = { 0 };
    sv_latency_table table = { 0 };
    sv_error err;
    add_text(&text, 192, "spvit", "fp32", 1);
    add_text(&text, 384, "spvit", "fp32", 1);
    assert_int_equal(sv_latency_table_parse(&table, text.data, text.length, "both.csv", &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "stands below crc32, which ends the table"));
    sv_text_clear(&text);
}

static void put_adds_or_replaces_and_leaves_the_others_bytes(void **state)
{
    (void)state;
    const char *path = in_folder("many.csv");
    sv_text hand = { 0 }, expected = { 0 };
    unsigned char *bytes = NULL;
    size_t count = 0;
    sv_error err;
    sv_text_add(&hand, "# note: mine\n%s\n%s  block, 1,2,3.0,4\n\n", HEADER, COLUMNS);
    write_text(path, hand.data);
    put(path, 192, "spvit", "fp32", 1, false);
    put(path, 384, "spvit", "fp32", 1, false);
    put(path, 192, "spvit", "fp32", 1, true);
    put(path, 384, "spvit", "bf16", 1, false);
    sv_text_add(&expected, "%s", hand.data);
    add_text(&expected, 192, "spvit", "fp32", 1);
    add_text(&expected, 384, "spvit", "fp32", 1);
    add_text(&expected, 384, "spvit", "bf16", 1);
    assert_ok(sv_file_read_all(path, 1 << 20, SV_DATA, &bytes, &count, &err), err);
    assert_string_equal((char *)bytes, expected.data);
    sv_free(bytes);
    bytes = NULL;
    /* the first, by hand, gives way too */
    sv_latency_table first = empty_table();
    bool replaced = false;
    add(&first, SV_LATENCY_BLOCK, 5, 1);
    assert_ok(sv_latency_file_put(&first, path, &replaced, &err), err);
    assert_true(replaced);
    assert_ok(sv_file_read_all(path, 1 << 20, SV_DATA, &bytes, &count, &err), err);
    assert_true(strncmp((char *)bytes, "# format", 8) == 0);
    assert_string_equal(strstr((char *)bytes + 1, "# format"), expected.data + hand.length);
    sv_free(bytes);
    sv_latency_table_clear(&first);
    sv_text_clear(&hand);
    sv_text_clear(&expected);
}

static void a_damaged_file_is_not_added_to(void **state)
{
    (void)state;
    const char *path = in_folder("many.csv");
    sv_latency_table table = table_of(192, "spvit", "fp32", 1);
    bool replaced = false;
    unsigned char *bytes = NULL;
    size_t count = 0;
    sv_error err;
    write_text(path, "# device: x\n");
    assert_int_equal(sv_latency_file_put(&table, path, &replaced, &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "many.csv"));
    assert_ok(sv_file_read_all(path, 1 << 20, SV_DATA, &bytes, &count, &err), err);
    assert_string_equal((char *)bytes, "# device: x\n");
    sv_free(bytes);
    sv_latency_table_clear(&table);
}

static void with_any_call_failing_the_old_file_stays(void **state)
{
    (void)state;
    const char *path = in_folder("many.csv");
    sv_latency_table table = table_of(576, "spvit", "fp32", 1);
    sv_error err;
    for (int kind = 0; kind < SV_FAULT_KINDS; kind++)
        for (int forever = 0; forever < 2; forever++)
            for (uint64_t at = 1;; at++) {
                sv_latency_file file = { 0 };
                bool replaced = false;
                sv_text text = { 0 };
                add_text(&text, 192, "spvit", "fp32", 1);
                add_text(&text, 384, "spvit", "fp32", 1);
                write_text(path, text.data);
                sv_text_clear(&text);
                const size_t live = sv_memory_now().live;
                sv_fault_set((sv_fault_kind)kind, at, forever);
                err.text[0] = 0;
                const sv_status status = sv_latency_file_put(&table, path, &replaced, &err);
                const bool reached = sv_fault_calls((sv_fault_kind)kind) >= at;
                sv_fault_set((sv_fault_kind)kind, 0, false);
                assert_int_equal(sv_memory_now().live, live);
                assert_ok(sv_latency_file_read(&file, path, &err), err);
                assert_true(status == SV_OK || status == SV_FAULT || status == SV_MODEL_FILE);
                assert_true(file.count == 3 || (status && file.count == 2));
                sv_latency_file_clear(&file);
                if (!reached) {
                    assert_int_equal(status, SV_OK);
                    break;
                }
            }
    sv_latency_table_clear(&table);
}

/* ---- choosing ---- */

static sv_status choose(size_t *chosen, const sv_text *text, size_t width, sv_method method, const char *precision, size_t batch, sv_error *err)
{
    sv_latency_file file = { 0 };
    sv_latency_about about = empty_table().about;
    const sv_pruning_plan plan = { .stages = 1, .method = method };
    about.width = width;
    snprintf(about.arch, sizeof about.arch, "deit_%zu", width);
    snprintf(about.precision, sizeof about.precision, "%s", precision);
    assert_ok(sv_latency_file_parse(&file, text->data, text->length, "many.csv", err), *err);
    const sv_status status = sv_latency_file_choose(chosen, &file, "many.csv", &about, &plan, batch, err);
    sv_latency_file_clear(&file);
    return status;
}

static void assert_chosen(const sv_text *text, size_t width, sv_method method, const char *precision, size_t batch, size_t expected)
{
    size_t chosen = 99;
    sv_error err;
    assert_ok(choose(&chosen, text, width, method, precision, batch, &err), err);
    assert_int_equal(chosen, expected);
}

static void the_table_of_the_asked_model_method_batch_and_precision_is_chosen(void **state)
{
    (void)state;
    sv_text text = { 0 };
    add_text(&text, 192, "", "", 1);                /* 0 */
    add_text(&text, 384, "dynamicvit", "fp32", 1);  /* 1 */
    add_text(&text, 192, "dynamicvit", "fp32", 1);  /* 2 */
    add_text(&text, 192, "spvit", "fp32", 1);       /* 3 */
    add_text(&text, 192, "spvit", "bf16", 1);       /* 4 */
    add_text(&text, 192, "spvit", "fp32", 8);       /* 5 */
    assert_chosen(&text, 384, SV_METHOD_DYNAMICVIT, "fp32", 1, 1);
    assert_chosen(&text, 192, SV_METHOD_DYNAMICVIT, "fp32", 1, 2);
    assert_chosen(&text, 192, SV_METHOD_SPVIT, "fp32", 1, 3);
    assert_chosen(&text, 192, SV_METHOD_SPVIT, "bf16", 1, 4);
    assert_chosen(&text, 192, SV_METHOD_SPVIT, "fp32", 8, 5);
    assert_chosen(&text, 192, SV_METHOD_SPVIT, "bf16", 8, 5);   /* a precision is warned of, a batch that is missing is an error */
    assert_chosen(&text, 192, SV_METHOD_DYNAMICVIT, "bf16", 1, 0); /* of no precision, before one of another */
    sv_text_clear(&text);
}

static void where_none_fits_the_sentence_lists_what_is_there(void **state)
{
    (void)state;
    sv_text text = { 0 };
    size_t chosen = 0;
    sv_error err;
    add_text(&text, 192, "spvit", "fp32", 1);
    add_text(&text, 384, "dynamicvit", "fp32", 1);
    assert_int_equal(choose(&chosen, &text, 768, SV_METHOD_SPVIT, "fp32", 1, &err), SV_MODEL_FILE);
    assert_string_equal(err.text,
                        "many.csv: holds no table of deit_768 (image 224, patch 16, depth 12, width 768, heads 3, selectors of spvit, fp32); it holds those of "
                        "deit_192 (image 224, patch 16, depth 12, width 192, heads 3, selectors of spvit, fp32), "
                        "deit_384 (image 224, patch 16, depth 12, width 384, heads 3, selectors of dynamicvit, fp32). "
                        "Add one with `latency measure --config FILE --out many.csv --add`");
    assert_int_equal(choose(&chosen, &text, 192, SV_METHOD_DYNAMICVIT, "fp32", 1, &err), SV_MODEL_FILE);
    for (size_t i = 0; i < 9; i++) add_text(&text, 500 + i, "spvit", "fp32", 1);
    assert_int_equal(choose(&chosen, &text, 768, SV_METHOD_SPVIT, "fp32", 1, &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, " and 5 more. Add one"));
    sv_text_clear(&text);
}

static void a_file_of_one_table_is_judged_by_it(void **state)
{
    (void)state;
    sv_text text = { 0 };
    size_t chosen = 99;
    sv_error err;
    add_text(&text, 192, "spvit", "fp32", 1);
    assert_chosen(&text, 192, SV_METHOD_SPVIT, "bf16", 8, 0);
    assert_int_equal(choose(&chosen, &text, 384, SV_METHOD_SPVIT, "fp32", 1, &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "many.csv: is the table of another model: arch deit_192, not deit_384"));
    assert_int_equal(choose(&chosen, &text, 192, SV_METHOD_DYNAMICVIT, "fp32", 1, &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "is the table of selectors of spvit"));
    sv_text_clear(&text);
}

static void what_is_taken_is_the_callers_and_a_failure_leaves_it(void **state)
{
    (void)state;
    const char *path = in_folder("many.csv");
    sv_latency_table table = { 0 };
    sv_latency_about about = empty_table().about;
    const sv_pruning_plan plan = { .stages = 1, .method = SV_METHOD_SPVIT };
    sv_text text = { 0 };
    sv_error err;
    add_text(&text, 384, "spvit", "fp32", 1);
    add_text(&text, 192, "spvit", "fp32", 1);
    write_text(path, text.data);
    strcpy(about.arch, "deit_192");
    assert_ok(sv_latency_table_take(&table, path, &about, &plan, 1, &err), err);
    assert_int_equal(table.about.width, 192);
    strcpy(about.arch, "deit_b");
    assert_int_equal(sv_latency_table_take(&table, path, &about, &plan, 1, &err), SV_MODEL_FILE);
    assert_int_equal(table.about.width, 192);
    assert_int_equal(table.count, 3);
    sv_latency_table_clear(&table);
    sv_text_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_of_one_table_is_what_it_was, make_folder, remove_folder),
        cmocka_unit_test(tables_one_behind_another_are_read_with_the_lines_of_their_file),
        cmocka_unit_test(what_is_wrong_in_a_later_table_is_named_with_the_files_line),
        cmocka_unit_test(every_truncation_of_several_tables_is_refused_or_lies_between_them),
        cmocka_unit_test(every_flipped_bit_of_several_tables_is_refused),
        cmocka_unit_test(mixed_up_tables_are_refused),
        cmocka_unit_test(a_table_twice_is_refused_naming_both_lines),
        cmocka_unit_test(more_tables_than_a_file_holds_are_refused),
        cmocka_unit_test(one_table_alone_is_what_read_asks_for),
        cmocka_unit_test_setup_teardown(put_adds_or_replaces_and_leaves_the_others_bytes, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_not_added_to, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(with_any_call_failing_the_old_file_stays, make_folder, remove_folder),
        cmocka_unit_test(the_table_of_the_asked_model_method_batch_and_precision_is_chosen),
        cmocka_unit_test(where_none_fits_the_sentence_lists_what_is_there),
        cmocka_unit_test(a_file_of_one_table_is_judged_by_it),
        cmocka_unit_test_setup_teardown(what_is_taken_is_the_callers_and_a_failure_leaves_it, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
