/* latency/table*.c: what is written is read back, whatever is broken is named with its line, and no bit changes unseen. */
#include "tests/unit/latency/test_latency.h"

#include "base/fault.h"

static sv_status parse(const char *rows, sv_latency_table *table, sv_error *err)
{
    char text[4096];
    snprintf(text, sizeof text, "%s%s%s", HEADER, COLUMNS, rows);
    return sv_latency_table_parse(table, text, strlen(text), "phone.csv", err);
}

static void assert_refused(const char *whole, const char *sentence)
{
    sv_latency_table table = { 0 };
    sv_error err = { 0 };
    sv_status status = sv_latency_table_parse(&table, whole, strlen(whole), "phone.csv", &err);
    if (status != SV_MODEL_FILE || !strstr(err.text, sentence)) fail_msg("status %d, '%s'; expected '%s' in it", status, status ? err.text : "", sentence);
    assert_null(table.rows);
}

static void assert_row_refused(const char *rows, const char *sentence)
{
    char text[4096];
    snprintf(text, sizeof text, "%s%s%s", HEADER, COLUMNS, rows);
    assert_refused(text, sentence);
}

static void a_table_by_hand_needs_device_model_and_rows(void **state)
{
    (void)state;
    sv_latency_table table = { 0 };
    sv_error err;
    assert_ok(parse("block, 1, 197, 1.034, 1.08\r\n\nblock,1,99,0.636,0.7\nmodel,1,,26,\n", &table, &err), err);
    assert_int_equal(table.count, 3);
    assert_int_equal(table.rows[0].tokens, 99);
    assert_int_equal(table.rows[1].tokens, 197);
    assert_true(table.rows[1].median_ms == 1.034 && table.rows[1].p95_ms == 1.08);
    assert_true(table.rows[2].op == SV_LATENCY_MODEL && table.rows[2].tokens == 0 && isnan(table.rows[2].p95_ms));
    assert_string_equal(table.about.arch, "deit_t");
    assert_int_equal(table.about.width, 192);
    sv_latency_table_clear(&table);
}

static void print_then_parse_then_print_gives_the_same_bytes(void **state)
{
    (void)state;
    sv_latency_table table = full_table(), again = { 0 };
    sv_text one = { 0 }, two = { 0 };
    sv_error err;
    strcpy(table.about.note, "measured by the test; \xc3\xa4");
    table.about.threads = 2;
    assert_ok(sv_latency_table_print(&table, &one, &err), err);
    assert_ok(sv_latency_table_parse(&again, one.data, one.length, "printed", &err), err);
    assert_ok(sv_latency_table_print(&again, &two, &err), err);
    assert_string_equal(one.data, two.data);
    assert_int_equal(again.count, table.count);
    assert_string_equal(again.about.note, table.about.note);
    sv_text_clear(&one);
    sv_text_clear(&two);
    sv_latency_table_clear(&again);
    sv_latency_table_clear(&table);
}

static void rows_added_in_any_order_stand_sorted_and_once(void **state)
{
    (void)state;
    sv_latency_table table = empty_table();
    add(&table, SV_LATENCY_HEAD, 197, 0.1);
    add(&table, SV_LATENCY_BLOCK, 197, 3);
    add(&table, SV_LATENCY_BLOCK, 99, 1);
    add(&table, SV_LATENCY_BLOCK, 138, 2);
    add(&table, SV_LATENCY_BLOCK, 138, 2.5);
    assert_int_equal(table.count, 4);
    assert_int_equal(table.rows[0].tokens, 99);
    assert_int_equal(table.rows[1].tokens, 138);
    assert_true(table.rows[1].median_ms == 2.5);
    assert_int_equal(table.rows[3].op, SV_LATENCY_HEAD);
    sv_latency_table_clear(&table);
}

static void each_bad_row_is_named_with_its_line(void **state)
{
    (void)state;
    assert_row_refused("block,1,197,1,2\nblokc,1,99,1,2\n", "phone.csv:10: unknown op 'blokc'; did you mean 'block'?");
    assert_row_refused("teapot,1,99,1,2\n", "phone.csv:9: unknown op 'teapot'; expected block, selector");
    assert_row_refused("block,1,197,-1,2\n", "phone.csv:9: ms_median is '-1'; expected milliseconds above 0");
    assert_row_refused("block,1,197,nan,2\n", "ms_median is 'nan'");
    assert_row_refused("block,1,197,0,2\n", "ms_median is '0'");
    assert_row_refused("block,1,197,2,1\n", "phone.csv:9: ms_p95 1 is below ms_median 2");
    assert_row_refused("block,0,197,1,2\n", "batch is '0'; expected a whole number from 1 to 65536");
    assert_row_refused("block,1,1.5,1,2\n", "tokens is '1.5'");
    assert_row_refused("block,1,99999999999,1,2\n", "tokens is '99999999999'");
    assert_row_refused("block,1,,1,2\n", "tokens is ''");
    assert_row_refused("block,1,197,1,\n", "ms_p95 is ''");
    assert_row_refused("block,1,197,1\n", "phone.csv:9: 4 values in the row");
    assert_row_refused("block,1,197,1,2,3\n", "phone.csv:9: 6 values in the row");
    assert_row_refused("block,1,197,1,2\nblock,2,197,1,2\nblock,1,197,1,2\n", "phone.csv:11: block at batch 1 and 197 tokens stands in line 9 already");
    assert_row_refused("block,1,197,1,2\n# note: late\n", "phone.csv:10: the key 'note' stands below the rows");
    assert_row_refused("", "has no rows");
}

static void each_bad_header_is_named(void **state)
{
    (void)state;
    assert_refused("# device:\n", "phone.csv:1: 'device' has no value; give one or remove the line");
    assert_refused("# device: x\n# device: y\n", "phone.csv:2: 'device' is told twice");
    assert_refused("# devcie: x\n", "phone.csv:1: unknown key 'devcie'; did you mean 'device'?");
    assert_refused("# zzzzzzzzzzzzzzz: x\n", "phone.csv:1: unknown key 'zzzzzzzzzzzzzzz'");
    assert_refused("# a comment\n", "phone.csv:1: expected '# key: value'");
    assert_refused("# width: wide\n", "phone.csv:1: width is 'wide'; expected a whole number");
    assert_refused("# device: a\x01z\n", "control characters");
    assert_refused("# device: a\xffz\n", "broken UTF-8");
    assert_refused("# format: sieve latency table 9\n", "this program reads 'sieve latency table 1'");
    assert_refused("op,batch,token,ms_median,ms_p95\n", "phone.csv:1: expected the line 'op,batch,tokens,ms_median,ms_p95'");
    assert_refused("# device: x\n", "phone.csv: the line 'op,batch,tokens,ms_median,ms_p95' and all rows are missing; is the file cut off?");
    assert_refused("op,batch,tokens,ms_median,ms_p95\nblock,1,2,3,4\n", "the header does not tell 'device'");
    assert_refused("# device: x\nop,batch,tokens,ms_median,ms_p95\nblock,1,2,3,4\n", "the header does not tell 'arch'; expected a line '# arch: ...'");
    assert_refused("", "is the file cut off?");
    char text[4096];
    snprintf(text, sizeof text, "# device: %0600d\n", 1);
    assert_refused(text, "at most 127 fit");
    snprintf(text, sizeof text, "# device: %02000d\n", 1);
    assert_refused(text, "at most 1023 are read");
}

static void times_that_fall_beyond_noise_are_refused_and_within_it_are_not(void **state)
{
    (void)state;
    sv_latency_table table = { 0 };
    sv_error err;
    assert_row_refused("block,1,100,4,4\nblock,1,110,3.5,3.5\nblock,1,120,2.9,2.9\n",
                       "phone.csv:11: block at batch 1 takes 2.9 ms with 120 tokens, but 4 ms with 100");
    assert_ok(parse("block,1,100,4,4\nblock,1,110,3.1,3.2\nblock,2,120,1,2\nhead,1,1,0.04,1\nhead,1,2,0.001,1\n", &table, &err), err);
    sv_latency_table_clear(&table);
}

static const char STAGED[] = "# device: Test board\n# arch: pit_nano\n# image: 64\n# patch: 16\n# depth: 4\n# width: 32\n# heads: 2\n# depths: 1,2,1\n# widths: 32,64,128\n";

static void a_table_of_several_grids_comes_back_and_has_its_own_order(void **state)
{
    (void)state;
    char text[4096];
    sv_latency_table table = { 0 };
    sv_text printed = { 0 };
    sv_error err;
    double ms;
    snprintf(text, sizeof text, "%s%s%s", STAGED, COLUMNS, "step.3,1,5,0.1,0.1\nliving.3,1,4,3,3\nliving.2,1,12,5,5\nembed,1,50,1,1\nblock.1,1,50,2,2\nliving.2,1,6,4,4\n");
    assert_ok(sv_latency_table_parse(&table, text, strlen(text), "staged.csv", &err), err);
    assert_string_equal(table.about.depths, "1,2,1");
    assert_ok(sv_latency_at(&table, SV_LATENCY_LIVING, 2, 1, 9, SV_LATENCY_LINEAR, &ms, &err), err);
    assert_true(fabs(ms - 4.5) < 1e-12);
    assert_ok(sv_latency_at(&table, SV_LATENCY_LIVING, 3, 1, 4, SV_LATENCY_LINEAR, &ms, &err), err); /* fewer ms than the second grid's 6: another curve */
    assert_true(ms == 3);
    assert_int_equal(sv_latency_at(&table, SV_LATENCY_LIVING, 1, 1, 4, SV_LATENCY_LINEAR, &ms, &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "has no 'living.1' rows; measure one with `latency measure` for these places of selectors"));
    assert_int_equal(sv_latency_at(&table, SV_LATENCY_LIVING, 2, 1, 19, SV_LATENCY_LINEAR, &ms, &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "knows 'living.2' up to 12 tokens"));
    assert_ok(sv_latency_table_print(&table, &printed, &err), err);
    char *row = strstr(printed.data, COLUMNS) + strlen(COLUMNS);
    assert_int_equal(strncmp(row, "block.1,1,50,2,2\nembed,1,50,1,1\nliving.2,1,6,4,4\nliving.2,1,12,5,5\nliving.3,1,4,3,3\nstep.3,1,5,0.1,0.1\n# crc32", 107), 0);
    assert_non_null(strstr(printed.data, "# heads: 2\n# depths: 1,2,1\n# widths: 32,64,128\n"));
    sv_text_clear(&printed);
    sv_latency_table_clear(&table);
}

static void grids_that_do_not_go_with_the_header_are_refused(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "block.4,1,5,1,1\n", "phone.csv:11: 'block.4' is of grid 4, but 'depths' in the header tells 3" },
        { "block,1,5,1,1\n", "phone.csv:11: 'block' is of no grid, but the header's 'depths' tells 3; expected 'block.1' to 'block.3'" },
        { "block.0,1,5,1,1\n", "op 'block.0': expected a grid from 1 to 16 behind the dot" },
        { "block.,1,5,1,1\n", "op 'block.': expected a grid" },
        { "block.+1,1,5,1,1\n", "op 'block.+1': expected a grid" },
        { "block.17,1,5,1,1\n", "op 'block.17': expected a grid" },
        { "embed.1,1,5,1,1\n", "op 'embed.1' has a number; embed is there once" },
        { "livnig.2,1,5,1,1\n", "unknown op 'livnig.2'; did you mean 'living'?" },
        { "living.2,1,5,1,1\nliving.2,1,5,1,1\n", "phone.csv:12: living.2 at batch 1 and 5 tokens stands in line 11 already" },
        { "living.2,1,5,4,4\nliving.2,1,6,1,1\n", "phone.csv:12: living.2 at batch 1 takes 1 ms with 6 tokens, but 4 ms with 5" },
    };
    char text[4096];
    for (size_t i = 0; i < SV_COUNT(rows); i++) {
        snprintf(text, sizeof text, "%s%s%s", STAGED, COLUMNS, rows[i][0]);
        assert_refused(text, rows[i][1]);
    }
    assert_row_refused("block.1,1,197,1,2\n", "phone.csv:9: 'block.1' is of grid 1, but 'depths' in the header tells 0");
    sv_latency_table table = empty_table();
    sv_latency_about model = table.about;
    sv_error err;
    strcpy(table.about.widths, "32,64,128");
    strcpy(model.widths, "32,64,96");
    assert_int_equal(sv_latency_fits_model(&table, &model, "phone.csv", &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "widths 32,64,128, not 32,64,96"));
}

static void every_truncation_of_a_written_table_is_refused(void **state)
{
    (void)state;
    sv_latency_table table = full_table(), broken = { 0 };
    sv_text text = { 0 };
    sv_error err;
    assert_ok(sv_latency_table_print(&table, &text, &err), err);
    size_t last = text.length - strlen("# crc32: 00000000\n"); /* without its last line the table is whole, and says how many rows */
    for (size_t length = 0; length < text.length; length++)
        if (length != last) assert_int_equal(sv_latency_table_parse(&broken, text.data, length, "cut", &err), SV_MODEL_FILE);
    sv_text_clear(&text);
    sv_latency_table_clear(&table);
}

static void every_flipped_bit_of_a_written_table_is_refused(void **state)
{
    (void)state;
    sv_latency_table table = empty_table(), broken = { 0 };
    sv_text text = { 0 };
    sv_error err;
    for (size_t n = 10; n < 20; n++) add(&table, SV_LATENCY_BLOCK, n, block_ms(n));
    assert_ok(sv_latency_table_print(&table, &text, &err), err);
    for (size_t i = 0; i < text.length; i++)
        for (int bit = 0; bit < 8; bit++) {
            text.data[i] = (char)(text.data[i] ^ (1 << bit));
            if (sv_latency_table_parse(&broken, text.data, text.length, "flipped", &err) != SV_MODEL_FILE)
                fail_msg("bit %d of byte %zu (line '%.20s') went unseen", bit, i, text.data + i);
            text.data[i] = (char)(text.data[i] ^ (1 << bit));
        }
    sv_text_clear(&text);
    sv_latency_table_clear(&table);
}

static void an_edited_table_says_what_to_remove(void **state)
{
    (void)state;
    sv_latency_table table = full_table();
    sv_text text = { 0 };
    sv_error err;
    assert_ok(sv_latency_table_print(&table, &text, &err), err);
    char *row = strstr(text.data, "block,1,100,");
    assert_int_equal(row[strlen("block,1,100,0.")], '5');
    row[strlen("block,1,100,0.")] = '4';
    assert_refused(text.data, "If you edited it, remove the lines 'crc32' and 'rows'");
    sv_text_clear(&text);
    sv_latency_table_clear(&table);
}

static void a_table_too_large_is_refused_before_it_is_held(void **state)
{
    (void)state;
    const char *path = in_folder("large.csv");
    char *text = malloc(SV_LATENCY_FILE_MOST + 2);
    sv_latency_table table = { 0 };
    sv_error err;
    memset(text, '\n', SV_LATENCY_FILE_MOST + 1);
    text[SV_LATENCY_FILE_MOST + 1] = 0;
    write_text(path, text);
    free(text);
    assert_int_equal(sv_latency_table_read(&table, path, &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "at most 1048576"));
}

static void a_failed_read_leaves_the_table_as_it_was(void **state)
{
    (void)state;
    sv_latency_table table = full_table();
    size_t count = table.count;
    sv_error err;
    assert_int_equal(sv_latency_table_read(&table, in_folder("absent.csv"), &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "absent.csv"));
    assert_int_equal(table.count, count);
    assert_int_equal(parse("block,1,197,1\n", &table, &err), SV_MODEL_FILE);
    assert_int_equal(table.count, count);
    sv_latency_table_clear(&table);
}

static void a_table_its_reader_would_refuse_is_not_written(void **state)
{
    (void)state;
    const char *path = in_folder("table.csv");
    sv_latency_table table = empty_table();
    sv_error err;
    add(&table, SV_LATENCY_BLOCK, 10, 5);
    add(&table, SV_LATENCY_BLOCK, 20, 1);
    assert_int_equal(sv_latency_table_write(&table, path, &err), SV_MODEL_FILE);
    assert_false(sv_path_exists(path));
    table.rows[1].median_ms = 6;
    table.rows[1].p95_ms = 7;
    assert_ok(sv_latency_table_write(&table, path, &err), err);
    assert_true(sv_path_exists(path));
    sv_latency_table_clear(&table);
}

static void another_models_table_is_refused_naming_what_differs(void **state)
{
    (void)state;
    sv_latency_table table = empty_table();
    sv_latency_about model = table.about;
    sv_error err;
    assert_ok(sv_latency_fits_model(&table, &model, "phone.csv", &err), err);
    strcpy(model.arch, "deit_s");
    model.width = 384;
    model.heads = 6;
    assert_int_equal(sv_latency_fits_model(&table, &model, "phone.csv", &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "phone.csv: is the table of another model: arch deit_t, not deit_s, width 192, not 384, heads 3, not 6"));
}

static void another_machine_is_told_and_what_is_not_told_differs_not(void **state)
{
    (void)state;
    char room[256];
    sv_latency_table table = empty_table();
    sv_latency_about here = { .device = "Test board", .threads = 4, .isa = "avx2" };
    assert_string_equal(sv_latency_differs(room, sizeof room, &table, &here), "");
    table.about.threads = 2;
    strcpy(table.about.isa, "avx512");
    assert_string_equal(sv_latency_differs(room, sizeof room, &table, &here), "threads 2, not 4, isa avx512, not avx2");
    strcpy(table.about.precision, "fp32");
    strcpy(here.precision, "bf16");
    strcpy(table.about.cpu, "small");
    strcpy(here.cpu, "large");
    strcpy(here.device, "Other board");
    sv_latency_differs(room, sizeof room, &table, &here);
    static const char *const parts[] = { "device Test board, not Other board", "cpu small, not large", "threads 2, not 4", "precision fp32, not bf16", "isa avx512, not avx2" };
    for (size_t i = 0; i < SV_COUNT(parts); i++) assert_non_null(strstr(room, parts[i]));
}

static void with_any_call_failing_the_old_table_stays(void **state)
{
    (void)state;
    const char *path = in_folder("table.csv");
    sv_latency_table table = full_table(), read = { 0 };
    sv_error err;
    assert_ok(sv_latency_table_write(&table, path, &err), err);
    for (int kind = 0; kind < SV_FAULT_KINDS; kind++)
        for (int forever = 0; forever < 2; forever++)
            for (uint64_t at = 1;; at++) {
                sv_fault_set((sv_fault_kind)kind, at, forever);
                err.text[0] = 0;
                sv_status status = sv_latency_table_write(&table, path, &err);
                bool reached = sv_fault_calls((sv_fault_kind)kind) >= at;
                sv_fault_set((sv_fault_kind)kind, 0, false);
                assert_ok(sv_latency_table_read(&read, path, &err), err);
                if (!reached) {
                    assert_int_equal(status, SV_OK);
                    break;
                }
                assert_true(status == SV_FAULT);
            }
    sv_latency_table_clear(&read);
    sv_latency_table_clear(&table);
}

static void with_any_call_failing_a_read_gives_one_sentence(void **state)
{
    (void)state;
    const char *path = in_folder("table.csv");
    sv_latency_table table = full_table(), read = { 0 };
    sv_error err;
    assert_ok(sv_latency_table_write(&table, path, &err), err);
    for (int kind = 0; kind < SV_FAULT_KINDS; kind++)
        for (uint64_t at = 1;; at++) {
            size_t live = sv_memory_now().live;
            sv_fault_set((sv_fault_kind)kind, at, false);
            err.text[0] = 0;
            sv_status status = sv_latency_table_read(&read, path, &err);
            bool reached = sv_fault_calls((sv_fault_kind)kind) >= at;
            sv_fault_set((sv_fault_kind)kind, 0, false);
            if (!status) sv_latency_table_clear(&read);
            assert_int_equal(sv_memory_now().live, live);
            if (!reached) break;
            assert_true(status == SV_FAULT || status == SV_MODEL_FILE);
            assert_true(strlen(err.text) > 0);
        }
    sv_latency_table_clear(&table);
}

static void the_published_devices_are_read_and_cite(void **state)
{
    (void)state;
    sv_names names = { 0 };
    sv_error err;
    assert_ok(sv_folder_list("latency/devices", SV_DATA, &names, &err), err);
    assert_true(names.count > 0);
    for (size_t i = 0; i < names.count; i++) {
        char path[512];
        sv_latency_table table = { 0 };
        snprintf(path, sizeof path, "latency/devices/%s", names.items[i]);
        assert_ok(sv_latency_table_read(&table, path, &err), err);
        assert_true(strlen(table.about.citation) > 20);
        for (size_t row = 0; row < table.count; row++) assert_int_equal(table.rows[row].op, SV_LATENCY_MODEL);
        sv_latency_table_clear(&table);
    }
    sv_names_clear(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_by_hand_needs_device_model_and_rows),
        cmocka_unit_test(print_then_parse_then_print_gives_the_same_bytes),
        cmocka_unit_test(rows_added_in_any_order_stand_sorted_and_once),
        cmocka_unit_test(each_bad_row_is_named_with_its_line),
        cmocka_unit_test(each_bad_header_is_named),
        cmocka_unit_test(times_that_fall_beyond_noise_are_refused_and_within_it_are_not),
        cmocka_unit_test(a_table_of_several_grids_comes_back_and_has_its_own_order),
        cmocka_unit_test(grids_that_do_not_go_with_the_header_are_refused),
        cmocka_unit_test(every_truncation_of_a_written_table_is_refused),
        cmocka_unit_test(every_flipped_bit_of_a_written_table_is_refused),
        cmocka_unit_test(an_edited_table_says_what_to_remove),
        cmocka_unit_test_setup_teardown(a_table_too_large_is_refused_before_it_is_held, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_failed_read_leaves_the_table_as_it_was, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_table_its_reader_would_refuse_is_not_written, make_folder, remove_folder),
        cmocka_unit_test(another_models_table_is_refused_naming_what_differs),
        cmocka_unit_test(another_machine_is_told_and_what_is_not_told_differs_not),
        cmocka_unit_test_setup_teardown(with_any_call_failing_the_old_table_stays, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(with_any_call_failing_a_read_gives_one_sentence, make_folder, remove_folder),
        cmocka_unit_test(the_published_devices_are_read_and_cite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
