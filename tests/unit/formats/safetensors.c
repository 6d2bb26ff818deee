/* safetensors read and written by Sieve. */
#include "tests/unit/formats/test_weights.h"

#include <math.h>

static const float floats[6] = { 0.0F, -1.5F, 3.25F, 1e30F, -0.0F, 1e-40F };
static const int64_t longs[2] = { INT64_MIN, 9007199254740993 };
static const uint8_t flags[3] = { 0, 1, 7 };
static const uint16_t halves[4] = { 0x3C00, 0xFBFF, 0x0001, 0x8000 }; /* 1, -65504, 2^-24, -0 */
static const uint16_t brains[2] = { 0x3F80, 0xC2F7 };                 /* 1, -123.5 */
static const uint8_t eights[5] = { 0x38, 0x7E, 0x01, 0xB8, 0x7F };    /* e4m3fn: 1, 448, 2^-9, -1, NaN */
static const uint8_t fives[4] = { 0x3C, 0x7B, 0x01, 0x7C };           /* e5m2: 1, 57344, 2^-16, infinity */

static sv_status write_sample(const char *path, sv_crc_choice crc, sv_error *err)
{
    sv_weights_writer *writer = NULL;
    const size_t shape[3] = { 2, 1, 3 }, two[1] = { 2 }, three[1] = { 3 }, four[2] = { 2, 2 }, five[1] = { 5 }, none[2] = { 0, 7 };
    sv_status status = sv_weights_writer_create(&writer, err);
    if (!status) status = sv_weights_writer_add(writer, "bool", "bool", 1, three, flags, err);
    if (!status) status = sv_weights_writer_add(writer, "blocks.0.weight", "float32", 3, shape, floats, err);
    if (!status) status = sv_weights_writer_add(writer, "long", "int64", 1, two, longs, err);
    if (!status) status = sv_weights_writer_add(writer, "half", "float16", 2, four, halves, err);
    if (!status) status = sv_weights_writer_add(writer, "brain", "bfloat16", 1, two, brains, err);
    if (!status) status = sv_weights_writer_add(writer, "eight", "float8_e4m3fn", 1, five, eights, err);
    if (!status) status = sv_weights_writer_add(writer, "five", "float8_e5m2", 2, four, fives, err);
    if (!status) status = sv_weights_writer_add(writer, "scalar \"\\\n\xC3\xBC\xF0\x9F\x98\x80", "float32", 0, NULL, floats + 2, err);
    if (!status) status = sv_weights_writer_add(writer, "", "float64", 2, none, NULL, err);
    if (!status) status = sv_weights_writer_metadata(writer, "z", "last", err);
    if (!status) status = sv_weights_writer_metadata(writer, "format", "pt", err);
    if (!status) status = sv_weights_writer_metadata(writer, "config", "[train]\nlr = \"5e-4\"\t\xC3\xA4", err);
    if (!status) status = sv_weights_write_safetensors(writer, path, crc, err);
    sv_weights_writer_destroy(writer);
    return status;
}

static const sv_weights_entry *entry_of(const sv_weights *weights, const char *name, const char *dtype, size_t count)
{
    const sv_weights_entry *entry = sv_weights_find(weights, name);
    if (!entry) fail_msg("no tensor '%s'", name);
    assert_string_equal(entry->dtype, dtype);
    assert_int_equal(entry->count, count);
    return entry;
}

static void assert_doubles(sv_weights *weights, const char *name, const char *dtype, const double *expected, size_t count)
{
    double values[8];
    sv_error err = { 0 };
    assert_ok(sv_weights_read_doubles(weights, entry_of(weights, name, dtype, count), values, &err), err);
    for (size_t i = 0; i < count; i++)
        if (!(isnan(values[i]) && isnan(expected[i])) && memcmp(&values[i], &expected[i], sizeof values[i]) != 0)
            fail_msg("%s[%d]: got %.17g, expected %.17g", name, (int)i, values[i], expected[i]);
}

static void what_is_written_reads_back(void **state)
{
    sv_weights *weights = NULL;
    sv_error err = { 0 };
    float values[6];
    sv_real reals[6];
    uint8_t raw[24];
    uint32_t crc;
    (void)state;
    assert_ok(write_sample(in_folder("a"), SV_WITH_CRC, &err), err);
    assert_ok(sv_weights_open(&weights, in_folder("a"), &err), err);
    assert_string_equal(sv_weights_format(weights), "safetensors");
    assert_int_equal(sv_weights_count(weights), 9);
    const sv_weights_entry *entry = entry_of(weights, "blocks.0.weight", "float32", 6);
    assert_int_equal(entry->rank, 3);
    assert_int_equal(entry->shape[2], 3);
    assert_ok(sv_weights_read_floats(weights, entry, values, &err), err);
    assert_memory_equal(values, floats, sizeof floats);
    assert_ok(sv_weights_read(weights, entry, reals, &err), err);
    for (size_t i = 0; i < 6; i++) assert_true(reals[i] == (sv_real)floats[i]);
    assert_ok(sv_weights_read_bytes(weights, entry, raw, &err), err);
    assert_memory_equal(raw, floats, sizeof raw);
    assert_ok(sv_weights_crc32(weights, entry, &crc, &err), err);
    assert_int_equal(crc, (uint32_t)crc32(0, (const unsigned char *)floats, sizeof floats));
    assert_doubles(weights, "bool", "bool", (double[]){ 0, 1, 1 }, 3);
    assert_doubles(weights, "long", "int64", (double[]){ -9223372036854775808.0, 9007199254740992.0 }, 2);
    assert_doubles(weights, "half", "float16", (double[]){ 1, -65504, ldexp(1, -24), -0.0 }, 4);
    assert_doubles(weights, "brain", "bfloat16", (double[]){ 1, -123.5 }, 2);
    assert_doubles(weights, "eight", "float8_e4m3fn", (double[]){ 1, 448, ldexp(1, -9), -1, (double)NAN }, 5);
    assert_doubles(weights, "five", "float8_e5m2", (double[]){ 1, 57344, ldexp(1, -16), (double)INFINITY }, 4);
    assert_doubles(weights, "scalar \"\\\n\xC3\xBC\xF0\x9F\x98\x80", "float32", (double[]){ 3.25 }, 1);
    assert_doubles(weights, "", "float64", NULL, 0);
    assert_null(sv_weights_find(weights, "blocks.0"));
    sv_weights_close(weights);
}

static void metadata_is_looked_up_and_listed_in_order(void **state)
{
    sv_weights *weights = NULL;
    sv_error err = { 0 };
    (void)state;
    assert_ok(write_sample(in_folder("a"), SV_WITHOUT_CRC, &err), err);
    assert_ok(sv_weights_open(&weights, in_folder("a"), &err), err);
    assert_string_equal(sv_weights_metadata(weights, "config"), "[train]\nlr = \"5e-4\"\t\xC3\xA4");
    assert_null(sv_weights_metadata(weights, "confi"));
    assert_null(sv_weights_metadata(weights, "crc32"));
    assert_int_equal(sv_weights_metadata_count(weights), 3);
    assert_string_equal(sv_weights_metadata_key(weights, 0), "config");
    assert_string_equal(sv_weights_metadata_key(weights, 2), "z");
    assert_string_equal(sv_weights_metadata_value(weights, 2), "last");
    sv_weights_close(weights);
}

static void same_calls_give_same_bytes(void **state)
{
    unsigned char *first = NULL, *second = NULL;
    size_t first_count = 0, second_count = 0;
    sv_error err = { 0 };
    (void)state;
    assert_ok(write_sample(in_folder("a"), SV_WITH_CRC, &err), err);
    assert_ok(write_sample(in_folder("b"), SV_WITH_CRC, &err), err);
    assert_ok(sv_file_read_all(in_folder("a"), 1 << 20, SV_DATA, &first, &first_count, &err), err);
    assert_ok(sv_file_read_all(in_folder("b"), 1 << 20, SV_DATA, &second, &second_count, &err), err);
    assert_int_equal(first_count, second_count);
    assert_memory_equal(first, second, first_count);
    assert_int_equal(first[0] % 8, 0); /* data begin at a multiple of 8 */
    sv_free(first);
    sv_free(second);
}

static void crc_mismatch_names_the_tensor(void **state)
{
    unsigned char *bytes = NULL;
    size_t count = 0;
    sv_error err = { 0 };
    (void)state;
    assert_ok(write_sample(in_folder("a"), SV_WITH_CRC, &err), err);
    assert_ok(sv_file_read_all(in_folder("a"), 1 << 20, SV_DATA, &bytes, &count, &err), err);
    for (size_t i = 0; i + sizeof floats <= count; i++)
        if (memcmp(bytes + i, floats, sizeof floats) == 0) bytes[i + 5] ^= 1;
    write_bytes(in_folder("b"), bytes, count);
    assert_refused(in_folder("b"), "'blocks.0.weight': CRC-32");
    sv_free(bytes);
}

static void broken_checksums_are_refused(void **state)
{
    static const char *const values[] = { "{", "{\\\"w\\\":1}", "{\\\"w\\\":\\\"0123456\\\"}", "{\\\"w\\\":\\\"0123456g\\\"}",
                                          "{\\\"w\\\":\\\"01234567\\\"} x" };
    char header[256];
    (void)state;
    for (size_t i = 0; i < SV_COUNT(values); i++) {
        snprintf(header, sizeof header,
                 "{\"__metadata__\":{\"crc32\":\"%s\"},\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", values[i]);
        write_safetensors(in_folder("a"), header, "x", 1);
        assert_refused(in_folder("a"), "'crc32' is broken");
    }
}

static void what_the_format_forbids_is_refused(void **state)
{
#define ENTRY(dtype, shape, offsets) "{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define W ENTRY("\"F32\"", "[4]", "[0,16]")
    static const struct {
        const char *header, *says;
    } cases[] = {
        { "{\"w\":" ENTRY("\"F32\"", "[5]", "[0,16]") "}", "'w'" },
        { "{\"w\":" ENTRY("\"F32\"", "[4]", "[0,20]") "}", "do not lie in the 16 bytes" },
        { "{\"w\":" ENTRY("\"F32\"", "[4]", "[16,0]") "}", "do not lie" },
        { "{\"w\":" ENTRY("\"F32\"", "[3]", "[4,16]") "}", "leave a gap" },
        { "{\"w\":" ENTRY("\"F32\"", "[2]", "[0,8]") "}", "behind the last one" },
        { "{\"a\":" W ",\"b\":" W "}", "overlap" },
        { "{\"a\":" W ",\"z\":" ENTRY("\"F32\"", "[0]", "[8,8]") "}", "overlap" },
        { "{\"a\":" W ",\"\\u0061\":" ENTRY("\"F32\"", "[0]", "[16,16]") "}", "twice" },
        { "{\"w\":" ENTRY("\"F32\"", "[4611686018427387904]", "[0,0]") "}", "more elements than any file" },
        { "{\"w\":" ENTRY("\"F32\"", "[9223372036854775808,2]", "[0,0]") "}", "more elements than any file" },
        { "{\"w\":" ENTRY("\"F32\"", "[-4]", "[0,16]") "}", "not negative" },
        { "{\"w\":" ENTRY("\"F32\"", "[4.0]", "[0,16]") "}", "whole number" },
        { "{\"w\":" ENTRY("\"F32\"", "[18446744073709551620]", "[0,16]") "}", "64 bits" },
        { "{\"w\":" ENTRY("\"f32\"", "[4]", "[0,16]") "}", "no dtype 'f32'" },
        { "{\"w\":" ENTRY("\"F32\"", "[1,1,1,1,1,1,1,1,4]", "[0,16]") "}", "8 dimensions" },
        { "{\"w\":" ENTRY("\"F32\"", "[4]", "[0,16],\"dtype\":\"F32\"") "}", "stands twice" },
        { "{\"w\":{\"dtype\":\"F32\",\"shape\":[4]}}", "missing" },
        { "{\"w\":" W ",}", "expected a value" },
        { "{\"w\":" W "}{}", "after the end" },
        { "{\"w\":" W ",\"x\":[[1,2}}", "expected ',' or ']'" },
        { "{\"\\ud800\":" W "}", "surrogate" },
        { "{\"\\u0000\":" W "}", "zero byte" },
        { "{\"\xff\":" W "}", "UTF-8" },
        { "{\"\\x\":" W "}", "escape" },
        { "{\"__metadata__\":{\"a\":1},\"w\":" W "}", "metadata must be text" },
        { "{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"},\"w\":" W "}", "'a' stands twice" },
        { "{\"__metadata__\":{},\"__metadata__\":{},\"w\":" W "}", "__metadata__ stands twice" },
    };
    static const float data[4] = { 0, 1, 2, 3 };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        write_safetensors(in_folder("a"), cases[i].header, data, sizeof data);
        assert_refused(in_folder("a"), cases[i].says);
    }
    write_safetensors(in_folder("a"), "{\"w\":" W ",\"__metadata__\":null}  \n", data, sizeof data);
    sv_error err = { 0 };
    assert_ok(read_whole(in_folder("a"), &err), err);
#undef W
#undef ENTRY
}

static sv_status fault_read(sv_error *err) { return read_whole(in_folder("a"), err); }
static sv_status fault_write(sv_error *err) { return write_sample(in_folder("a"), SV_WITH_CRC, err); }

static void old_file_is_whole(void)
{
    sv_error err = { 0 };
    assert_ok(read_whole(in_folder("a"), &err), err);
    assert_int_equal(entries_in(test_folder), 1);
}

static void any_failed_call_of_reading_leaves_nothing(void **state)
{
    sv_error err = { 0 };
    (void)state;
    assert_ok(write_sample(in_folder("a"), SV_WITH_CRC, &err), err);
    each_fault(SV_FAULT_ALLOC, fault_read, NULL);
    each_fault(SV_FAULT_READ, fault_read, NULL);
    each_fault(SV_FAULT_OPEN, fault_read, NULL);
}

static void any_failed_call_of_writing_keeps_the_old_file(void **state)
{
    sv_error err = { 0 };
    (void)state;
    remove_folder(NULL);
    make_folder(NULL);
    assert_ok(write_sample(in_folder("a"), SV_WITH_CRC, &err), err);
    static const sv_fault_kind kinds[] = { SV_FAULT_ALLOC, SV_FAULT_OPEN, SV_FAULT_WRITE, SV_FAULT_SYNC, SV_FAULT_RENAME };
    for (size_t i = 0; i < SV_COUNT(kinds); i++) each_fault(kinds[i], fault_write, old_file_is_whole);
}

static void cuts_and_changed_bytes_never_do_worse_than_a_refusal(void **state)
{
    sv_error err = { 0 };
    (void)state;
    assert_ok(write_sample(in_folder("a"), SV_WITH_CRC, &err), err);
    each_damage(in_folder("a"), in_folder("b"));
}

static void a_header_of_tiny_tensors_stays_in_its_memory(void **state)
{
    sv_text header = { 0 };
    (void)state;
    sv_text_add(&header, "{");
    for (int i = 0; i < 100000; i++)
        sv_text_add(&header, "%s\"%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? "," : "", i);
    sv_text_add(&header, "}");
    write_safetensors(in_folder("a"), header.data, "", 0);
    size_t bound = 4 * header.length + (64 << 20);
    sv_text_clear(&header);
    assert_true(peak_of_reading(in_folder("a")) < bound);
}

static void bad_calls_of_the_writer_are_refused(void **state)
{
    sv_weights_writer *writer = NULL;
    sv_error err = { 0 };
    const size_t one[1] = { 1 };
    (void)state;
    assert_ok(sv_weights_writer_create(&writer, &err), err);
    assert_ok(sv_weights_writer_add(writer, "w", "float32", 1, one, floats, &err), err);
    assert_int_equal(sv_weights_writer_add(writer, "w", "float32", 1, one, floats, &err), SV_FAULT);
    assert_int_equal(sv_weights_writer_add(writer, "v", "complex64", 1, one, floats, &err), SV_FAULT);
    assert_int_equal(sv_weights_writer_add(writer, "\xff", "float32", 1, one, floats, &err), SV_FAULT);
    assert_int_equal(sv_weights_writer_add(writer, "__metadata__", "float32", 1, one, floats, &err), SV_FAULT);
    assert_int_equal(sv_weights_writer_add(writer, "r", "float32", 9, one, floats, &err), SV_FAULT);
    assert_ok(sv_weights_writer_metadata(writer, "k", "v", &err), err);
    assert_int_equal(sv_weights_writer_metadata(writer, "k", "v", &err), SV_FAULT);
    assert_int_equal(sv_weights_write_safetensors(writer, in_folder("none/a"), SV_WITH_CRC, &err), SV_FAULT);
    sv_weights_writer_destroy(writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(metadata_is_looked_up_and_listed_in_order),
        cmocka_unit_test(same_calls_give_same_bytes),
        cmocka_unit_test(crc_mismatch_names_the_tensor),
        cmocka_unit_test(broken_checksums_are_refused),
        cmocka_unit_test(what_the_format_forbids_is_refused),
        cmocka_unit_test(any_failed_call_of_reading_leaves_nothing),
        cmocka_unit_test(any_failed_call_of_writing_keeps_the_old_file),
        cmocka_unit_test(cuts_and_changed_bytes_never_do_worse_than_a_refusal),
        cmocka_unit_test(a_header_of_tiny_tensors_stays_in_its_memory),
        cmocka_unit_test(bad_calls_of_the_writer_are_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
