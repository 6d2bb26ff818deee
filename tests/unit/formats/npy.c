/* NumPy .npy and .npz read by Sieve. */
#include "tests/unit/formats/test_weights.h"

static const float six[6] = { 0, 1, 2, 3, 4, 5 };

/* A .npy of version `major`; the header's own length is what it says. */
static void put_npy(sv_text *to, int major, const char *header, const void *data, size_t bytes)
{
    sv_text_add_bytes(to, "\x93NUMPY", 6);
    put_number(to, (uint64_t)major, 2);
    put_number(to, strlen(header), major == 1 ? 2 : 4);
    sv_text_add(to, "%s", header);
    sv_text_add_bytes(to, data, bytes);
}

static void write_npy(const char *path, int major, const char *header, const void *data, size_t bytes)
{
    sv_text text = { 0 };
    put_npy(&text, major, header, data, bytes);
    write_bytes(path, text.data, text.length);
    sv_text_clear(&text);
}

static void assert_holds_floats(const char *path, const char *name, const float *expected, size_t count)
{
    sv_weights *weights = NULL;
    sv_error err = { 0 };
    float values[6];
    assert_ok(sv_weights_open(&weights, path, &err), err);
    const sv_weights_entry *entry = sv_weights_find(weights, name);
    assert_true(entry && entry->count == count);
    assert_ok(sv_weights_read_floats(weights, entry, values, &err), err);
    assert_memory_equal(values, expected, count * sizeof *expected);
    sv_weights_close(weights);
}

static void both_orders_and_byte_orders_give_the_array(void **state)
{
    static const float by_column[6] = { 0, 3, 1, 4, 2, 5 };
    unsigned char swapped[sizeof six];
    (void)state;
    for (size_t i = 0; i < sizeof six; i++) swapped[i] = ((const unsigned char *)six)[i ^ 3];
    for (int major = 1; major <= 3; major++)
        write_npy(in_folder("a"), major, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n", six, sizeof six),
            assert_holds_floats(in_folder("a"), "array", six, 6);
    write_npy(in_folder("a"), 1, "{'shape': (2, 3), 'fortran_order': True, 'descr': '<f4'}\n", by_column, sizeof by_column);
    assert_holds_floats(in_folder("a"), "array", six, 6);
    write_npy(in_folder("a"), 1, "{'descr': '>f4', 'fortran_order': False, 'shape': (6,)}", swapped, sizeof swapped);
    assert_holds_floats(in_folder("a"), "array", six, 6);
    write_npy(in_folder("a"), 1, "{'descr': '|b1', 'fortran_order': False, 'shape': ()}", "\7", 1);
    assert_holds_floats(in_folder("a"), "array", (float[]){ 1 }, 1);
    write_npy(in_folder("a"), 1, "{'descr': '<f8', 'fortran_order': True, 'shape': (0, 3)}", "", 0);
    assert_holds_floats(in_folder("a"), "array", NULL, 0);
}

static void what_is_no_plain_array_is_refused(void **state)
{
    static const char *const headers[] = {
        "{'descr': '|O', 'fortran_order': False, 'shape': (6,)}",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,)}",
        "{'descr': '<f4', 'fortran_order': 1, 'shape': (6,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-6,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (7,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (5,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551622,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,6)}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}",
        "{'descr': '<f4', 'shape': (6,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} x",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6,)",
        "{'descr': '<f4' 'fortran_order': False, 'shape': (6,)}",
        "{'descr': '<f4",
        "",
    };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(headers); i++) {
        write_npy(in_folder("a"), 1, headers[i], six, sizeof six);
        assert_refused(in_folder("a"), "array 'array'");
    }
    write_npy(in_folder("a"), 4, headers[0], six, sizeof six);
    assert_refused(in_folder("a"), "format 1 to 3");
}

static void an_npz_gives_its_arrays_by_name(void **state)
{
    sv_text text = { 0 };
    sv_error err = { 0 };
    sv_weights *weights = NULL;
    (void)state;
    put_npy(&text, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (6,)}\n", six, sizeof six);
    zip_part parts[] = { { "embedding/kernel.npy", text.data, text.length, false }, { "b.npy", text.data, text.length, true } };
    write_zip(in_folder("a"), parts, SV_COUNT(parts));
    assert_holds_floats(in_folder("a"), "embedding/kernel", six, 6);
    assert_holds_floats(in_folder("a"), "b", six, 6);
    assert_ok(sv_weights_open(&weights, in_folder("a"), &err), err);
    assert_string_equal(sv_weights_format(weights), "npz");
    assert_int_equal(sv_weights_count(weights), 2);
    sv_weights_close(weights);
    each_damage(in_folder("a"), in_folder("b"));
    sv_text_clear(&text);
}

static sv_status fault_read(sv_error *err) { return read_whole(in_folder("a"), err); }

static void any_failed_call_of_reading_leaves_nothing(void **state)
{
    sv_text text = { 0 };
    (void)state;
    put_npy(&text, 1, "{'descr': '<f4', 'fortran_order': True, 'shape': (2,3)}\n", six, sizeof six);
    zip_part parts[] = { { "a.npy", text.data, text.length, false }, { "b.npy", text.data, text.length, true } };
    write_bytes(in_folder("a"), text.data, text.length);
    each_fault(SV_FAULT_ALLOC, fault_read, NULL);
    each_fault(SV_FAULT_READ, fault_read, NULL);
    each_damage(in_folder("a"), in_folder("b"));
    write_zip(in_folder("a"), parts, SV_COUNT(parts));
    each_fault(SV_FAULT_ALLOC, fault_read, NULL);
    each_fault(SV_FAULT_READ, fault_read, NULL);
    sv_text_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_orders_and_byte_orders_give_the_array),
        cmocka_unit_test(what_is_no_plain_array_is_refused),
        cmocka_unit_test(an_npz_gives_its_arrays_by_name),
        cmocka_unit_test(any_failed_call_of_reading_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
