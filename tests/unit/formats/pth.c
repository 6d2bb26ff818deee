/* PyTorch .pth read and written by Sieve: pickles put together opcode by opcode, in both forms of file. */
#include "tests/unit/formats/test_weights.h"

static const float four[4] = { 0, 1, 2, 3 };

/* ---- a pickle assembler ------------------------------------------------------------------------------------------ */

static void put_text(sv_text *to, const char *text)
{
    sv_text_add(to, "X");
    put_number(to, strlen(text), 4);
    sv_text_add(to, "%s", text);
}

static void put_size(sv_text *to, int64_t value)
{
    put_number(to, 0x088A, 2);
    put_number(to, (uint64_t)value, 8);
}

static void put_storage(sv_text *to, const char *kind, const char *key, int64_t count)
{
    sv_text_add(to, "(");
    put_text(to, "storage");
    sv_text_add(to, "ctorch\n%s\n", kind);
    put_text(to, key);
    put_text(to, "cpu");
    put_size(to, count);
}

/* A tensor of rank 2 over the storage of four floats. */
static void put_tensor(sv_text *to, const char *key, int64_t offset, const int64_t size[2], const int64_t stride[2])
{
    sv_text_add(to, "ctorch._utils\n_rebuild_tensor_v2\n(");
    put_storage(to, "FloatStorage", key, 4);
    sv_text_add(to, "tQ");
    put_size(to, offset);
    sv_text_add(to, "(");
    for (int i = 0; i < 2; i++) put_size(to, size[i]);
    sv_text_add(to, "t(");
    for (int i = 0; i < 2; i++) put_size(to, stride[i]);
    sv_text_add(to, "t\x89"
                    "ccollections\nOrderedDict\n)RtR");
}

static void put_w(sv_text *to) { put_tensor(to, "0", 0, (int64_t[]){ 2, 2 }, (int64_t[]){ 2, 1 }); }

/* The smallest checkpoint, around it what a case wants: {"w": tensor, "x": <more>}. */
static void put_beside(sv_text *to, const void *more, size_t count)
{
    sv_text_add(to, "\x80\x02}(");
    put_text(to, "w");
    put_w(to);
    put_text(to, "x");
    sv_text_add_bytes(to, more, count);
    sv_text_add(to, "u.");
}

static void write_pth(const char *path, const sv_text *pickle, bool deflated)
{
    const zip_part parts[] = { { "a/data.pkl", pickle->data, pickle->length, deflated },
                               { "a/version", "3\n", 2, false },
                               { "a/data/0", four, sizeof four, deflated } };
    write_zip(path, parts, SV_COUNT(parts));
}

static void write_beside(const char *path, const void *more, size_t count)
{
    sv_text pickle = { 0 };
    put_beside(&pickle, more, count);
    write_pth(path, &pickle, false);
    sv_text_clear(&pickle);
}

/* The legacy form: magic, protocol, machine, object, keys, storage. */
static void write_legacy(const char *path, const sv_text *pickle, const char *key, int64_t count)
{
    sv_text text = { 0 };
    sv_text_add(&text, "\x80\x02\x8a\x0a");
    sv_text_add_bytes(&text, "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 11);
    sv_text_add(&text, "\x80\x02M\xe9\x03.\x80\x02}.");
    sv_text_add_bytes(&text, pickle->data, pickle->length);
    sv_text_add(&text, "\x80\x02](");
    put_text(&text, key);
    sv_text_add(&text, "e.");
    put_number(&text, (uint64_t)count, 8);
    sv_text_add_bytes(&text, four, sizeof four);
    write_bytes(path, text.data, text.length);
    sv_text_clear(&text);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void assert_w(const char *path)
{
    sv_weights *weights = NULL;
    sv_error err = { 0 };
    float values[4];
    assert_ok(sv_weights_open(&weights, path, &err), err);
    const sv_weights_entry *entry = sv_weights_find(weights, "w");
    assert_non_null(entry);
    assert_int_equal(entry->rank, 2);
    assert_int_equal(entry->count, 4);
    assert_ok(sv_weights_read_floats(weights, entry, values, &err), err);
    assert_memory_equal(values, four, sizeof four);
    sv_weights_close(weights);
}

static void both_forms_give_the_tensor(void **state)
{
    sv_text pickle = { 0 };
    (void)state;
    put_beside(&pickle, "N", 1);
    write_pth(in_folder("a"), &pickle, false);
    assert_w(in_folder("a"));
    write_pth(in_folder("a"), &pickle, true);
    assert_w(in_folder("a"));
    write_legacy(in_folder("a"), &pickle, "0", 4);
    assert_w(in_folder("a"));
    write_legacy(in_folder("a"), &pickle, "1", 4);
    assert_refused(in_folder("a"), "storage '1'");
    write_legacy(in_folder("a"), &pickle, "0", 5);
    assert_refused(in_folder("a"), "differ");
    write_legacy(in_folder("a"), &pickle, "0", -4);
    assert_refused(in_folder("a"), "differ");
    sv_text_clear(&pickle);
}

static void views_are_read_in_row_major_order(void **state)
{
    static const struct {
        int64_t offset, size[2], stride[2];
        float values[4];
        size_t count;
    } cases[] = {
        { 0, { 2, 2 }, { 1, 2 }, { 0, 2, 1, 3 }, 4 }, /* transposed */
        { 1, { 1, 3 }, { 9, 1 }, { 1, 2, 3 }, 3 },    /* a stride nobody walks */
        { 0, { 2, 2 }, { 0, 3 }, { 0, 3, 0, 3 }, 4 }, /* expanded */
        { 3, { 1, 1 }, { 1, 1 }, { 3 }, 1 },          { 0, { 0, 2 }, { 1, 1 }, { 0 }, 0 },
    };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++)
        for (int deflated = 0; deflated < 2; deflated++) {
            sv_text pickle = { 0 };
            sv_weights *weights = NULL;
            sv_error err = { 0 };
            float values[4];
            sv_text_add(&pickle, "\x80\x02}(");
            put_text(&pickle, "v");
            put_tensor(&pickle, "0", cases[i].offset, cases[i].size, cases[i].stride);
            sv_text_add(&pickle, "u.");
            write_pth(in_folder("a"), &pickle, deflated);
            assert_ok(sv_weights_open(&weights, in_folder("a"), &err), err);
            assert_int_equal(sv_weights_at(weights, 0)->count, cases[i].count);
            assert_ok(sv_weights_read_floats(weights, sv_weights_at(weights, 0), values, &err), err);
            assert_memory_equal(values, cases[i].values, cases[i].count * sizeof *values);
            sv_weights_close(weights);
            sv_text_clear(&pickle);
        }
}

static void views_beyond_their_storage_are_refused(void **state)
{
    static const struct {
        int64_t offset, size[2], stride[2];
    } cases[] = {
        { 1, { 2, 2 }, { 2, 1 } },
        { -1, { 2, 2 }, { 2, 1 } },
        { 0, { 2, 2 }, { -2, 1 } },
        { 0, { -2, 2 }, { 2, 1 } },
        { 0, { 5, 1 }, { INT64_C(1) << 62, 1 } },
        { 0, { INT64_C(1) << 32, INT64_C(1) << 32 }, { 0, 0 } },
        { 0, { INT64_C(1) << 40, 1 }, { 0, 0 } },
        { INT64_MAX, { 1, 1 }, { 1, 1 } },
    };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        sv_text pickle = { 0 };
        sv_text_add(&pickle, "\x80\x02}(");
        put_text(&pickle, "v");
        put_tensor(&pickle, "0", cases[i].offset, cases[i].size, cases[i].stride);
        sv_text_add(&pickle, "u.");
        write_pth(in_folder("a"), &pickle, false);
        assert_refused(in_folder("a"), "tensor");
        sv_text_clear(&pickle);
    }
}

#define BESIDE(text)                                                                                                                       \
    {                                                                                                                                      \
        text, sizeof text - 1                                                                                                              \
    }
typedef struct beside {
    const char *bytes;
    size_t count;
} beside;

static void harmless_values_are_stepped_over(void **state)
{
    static const beside cases[] = {
        BESIDE("N"),
        BESIDE("I01\n"),
        BESIDE("I-7\n"),
        BESIDE("L99999L\n"),
        BESIDE("F1.5\n"),
        BESIDE("G\0\0\0\0\0\0\0\0"),
        BESIDE("S'text'\n"),
        BESIDE("S'a\\x41'\n"),
        BESIDE("Vtext\n"),
        BESIDE("U\2\xff\xfe"),
        BESIDE("C\2\xff\xfe"),
        BESIDE("\x8a\x0b\1\2\3\4\5\6\7\10\11\12\13"),
        BESIDE("(K\1K\2t"),
        BESIDE("(K\1K\2l"),
        BESIDE("(K\1K\2d"),
        BESIDE("]q\0h\0a"),
        BESIDE("\x8f(K\1\x90"),
        BESIDE("(K\1\x91"),
        BESIDE("cargparse\nNamespace\n)\x81}X\1\0\0\0aK\1sb"),
        BESIDE("cargparse\nNamespace\n)}\x92"),
        BESIDE("cos\nsystem\n"),
        BESIDE("c__builtin__\nset\n(]tR"),
        BESIDE("ccollections\nOrderedDict\n)R}X\1\0\0\0a](K\1esb"),
        BESIDE("c__builtin__\nbytearray\n(J\xff\xff\xff\x7ftR"),
        BESIDE("K\1p5\ng5\n0"),
        BESIDE("N20"),
        BESIDE("(N1N"),
        BESIDE("(0N"),
    };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        write_beside(in_folder("a"), cases[i].bytes, cases[i].count);
        assert_w(in_folder("a"));
    }
}

static void calls_and_broken_pickles_are_refused(void **state)
{
    static const struct {
        beside more;
        const char *says;
    } cases[] = {
        { BESIDE("cos\nsystem\n(X\4\0\0\0truetR"), "call os.system" },
        { BESIDE("cos\nabort\n)R"), "call os.abort" },
        { BESIDE("(X\4\0\0\0trueios\nsystem\n"), "call os.system" },
        { BESIDE("(cos\nsystem\nX\4\0\0\0trueo"), "call os.system" },
        { BESIDE("X\2\0\0\0osX\6\0\0\0system\x93(X\4\0\0\0truetR"), "call os.system" },
        { BESIDE("cos\nsystem\n(K\1t\x81"), "os.system made with arguments" },
        { BESIDE("cargparse\nNamespace\n)}K\1K\2s\x92"), "named arguments" },
        { BESIDE("\x82\1)R"), "EXT1" },
        { BESIDE("\x97"), "NEXT_BUFFER" },
        { BESIDE("Pid\n"), "PERSID" },
        { BESIDE("K\1Q"), "persistent id" },
        { BESIDE("K\1)R"), "a call of a number" },
        { BESIDE("\xfe"), "0xfe is no opcode" },
        { BESIDE("X\xff\xff\xff\x7f"), "bytes are announced" },
        { BESIDE("\x8d\0\0\0\0\0\0\0\x80"), "bytes are announced" },
        { BESIDE("\x8b\xff\xff\xff\xff"), "negative number of bytes" },
        { BESIDE("X\1\0\0\0\xff"), "not UTF-8" },
        { BESIDE("h\7"), "memo entry 7" },
        { BESIDE("Nr\xff\xff\xff\xff"), "memo entry 4294967295" },
        { BESIDE("}]Ns"), "a list as the key" },
        { BESIDE("}(Nu"), "a key without a value" },
        { BESIDE("K\1Na"), "items are put into a number" },
        { BESIDE("K\1Nb"), "state is given to a number" },
        { BESIDE("\x80\6"), "protocol 6" },
        { BESIDE("\x95\0\0\0\0\0\0\0\1"), "bytes are announced" },
        { BESIDE("tt"), "a mark is expected" },
        { BESIDE("cos\n\1\n"), "control character" },
    };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        write_beside(in_folder("a"), cases[i].more.bytes, cases[i].more.count);
        assert_refused(in_folder("a"), cases[i].says);
    }
}

static void what_was_left_out_is_named(void **state)
{
    sv_weights *weights = NULL;
    sv_error err = { 0 };
    (void)state;
    write_beside(in_folder("a"), "](K\1K\2e", 7);
    assert_ok(sv_weights_open(&weights, in_folder("a"), &err), err);
    assert_int_equal(sv_weights_skipped_count(weights), 1);
    assert_string_equal(sv_weights_skipped(weights, 0), "x: a list");
    sv_weights_close(weights);
}

static void a_dict_under_a_model_key_is_the_model(void **state)
{
    static const char *const keys[] = { "model", "state_dict", "state_dict_ema", "model_ema" };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(keys); i++) {
        sv_text pickle = { 0 };
        sv_error err = { 0 };
        sv_weights *weights = NULL;
        sv_text_add(&pickle, "\x80\x02}(");
        put_text(&pickle, "epoch");
        sv_text_add(&pickle, "K\3");
        put_text(&pickle, keys[i]);
        sv_text_add(&pickle, "}(");
        put_text(&pickle, "w");
        put_w(&pickle);
        put_text(&pickle, "deep");
        sv_text_add(&pickle, "}");
        put_text(&pickle, "er");
        put_w(&pickle);
        sv_text_add(&pickle, "suu.");
        write_pth(in_folder("a"), &pickle, false);
        assert_w(in_folder("a"));
        assert_ok(sv_weights_open(&weights, in_folder("a"), &err), err);
        assert_int_equal(sv_weights_count(weights), 2);
        assert_non_null(sv_weights_find(weights, "deep.er"));
        assert_string_equal(sv_weights_skipped(weights, 0), "epoch: a number");
        sv_weights_close(weights);
        sv_text_clear(&pickle);
    }
}

/* ---- bounds ------------------------------------------------------------------------------------------------------ */

/* Twenty dicts, each ten times the one before: few bytes, 10^20 names. */
static void dicts_that_multiply_are_refused_soon(void **state)
{
    sv_text pickle = { 0 };
    (void)state;
    sv_text_add(&pickle, "\x80\x02}(");
    put_text(&pickle, "w");
    put_w(&pickle);
    sv_text_add_bytes(&pickle, "uq\0", 3);
    for (int i = 0; i < 20; i++) {
        sv_text_add(&pickle, "}(");
        for (int k = 0; k < 10; k++) {
            put_text(&pickle, (char[]){ (char)('a' + k), 0 });
            sv_text_add_bytes(&pickle, (char[]){ 'h', (char)i }, 2);
        }
        sv_text_add_bytes(&pickle, (char[]){ 'u', 'q', (char)(i + 1) }, 3);
    }
    sv_text_add(&pickle, ".");
    write_pth(in_folder("a"), &pickle, false);
    assert_refused(in_folder("a"), "more names than");
    sv_text_clear(&pickle);
}

static void objects_of_one_byte_stay_in_their_memory(void **state)
{
    static const char kinds[] = { ']', '}', '(', 'N', ')' };
    enum { COUNT = 8 << 20 };
    (void)state;
    for (size_t i = 0; i < sizeof kinds; i++)
        for (int deflated = 0; deflated < 2; deflated++) {
            sv_text pickle = { 0 };
            char *many = malloc(COUNT);
            struct stat about;
            assert_non_null(many);
            memset(many, kinds[i], COUNT);
            put_beside(&pickle, many, COUNT);
            write_pth(in_folder("a"), &pickle, deflated);
            sv_text_clear(&pickle);
            free(many);
            assert_int_equal(stat(in_folder("a"), &about), 0);
            size_t now = sv_memory_now().bytes_now, peak = peak_of_reading(in_folder("a"));
            if (peak > now + 4 * (size_t)about.st_size + (64 << 20)) fail_msg("'%c': %zu bytes at most", kinds[i], peak);
        }
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static sv_status write_sample(const char *path, sv_error *err)
{
    sv_weights_writer *writer = NULL;
    static const int64_t longs[3] = { -1, 0, INT64_C(1) << 40 };
    const size_t square[2] = { 2, 2 }, three[1] = { 3 }, none[2] = { 0, 3 };
    sv_status status = sv_weights_writer_create(&writer, err);
    if (!status) status = sv_weights_writer_add(writer, "w", "float32", 2, square, four, err);
    if (!status) status = sv_weights_writer_add(writer, "\xC3\xBC.long", "int64", 1, three, longs, err);
    if (!status) status = sv_weights_writer_add(writer, "scalar", "float32", 0, NULL, four + 3, err);
    if (!status) status = sv_weights_writer_add(writer, "empty", "float32", 2, none, NULL, err);
    if (!status) status = sv_weights_writer_metadata(writer, "method", "spvit", err);
    if (!status) status = sv_weights_write_pth(writer, path, err);
    sv_weights_writer_destroy(writer);
    return status;
}

static void what_is_written_reads_back(void **state)
{
    sv_weights *weights = NULL;
    sv_error err = { 0 };
    double values[3];
    (void)state;
    assert_ok(write_sample(in_folder("a"), &err), err);
    assert_w(in_folder("a"));
    assert_ok(sv_weights_open(&weights, in_folder("a"), &err), err);
    assert_string_equal(sv_weights_format(weights), "pth");
    assert_int_equal(sv_weights_count(weights), 4);
    const sv_weights_entry *entry = sv_weights_find(weights, "\xC3\xBC.long");
    assert_non_null(entry);
    assert_ok(sv_weights_read_doubles(weights, entry, values, &err), err);
    assert_true(values[0] == -1 && values[2] == 1099511627776.0);
    entry = sv_weights_find(weights, "empty");
    assert_true(entry && entry->count == 0 && entry->rank == 2);
    sv_weights_close(weights);
}

static void dtypes_without_a_storage_are_refused_when_writing(void **state)
{
    sv_weights_writer *writer = NULL;
    sv_error err = { 0 };
    const size_t one[1] = { 1 };
    (void)state;
    assert_ok(sv_weights_writer_create(&writer, &err), err);
    assert_ok(sv_weights_writer_add(writer, "w", "uint16", 1, one, four, &err), err);
    assert_int_equal(sv_weights_write_pth(writer, in_folder("b"), &err), SV_FAULT);
    assert_non_null(strstr(err.text, "'w'"));
    assert_false(sv_path_exists(in_folder("b")));
    sv_weights_writer_destroy(writer);
}

static sv_status fault_read(sv_error *err) { return read_whole(in_folder("a"), err); }
static sv_status fault_write(sv_error *err) { return write_sample(in_folder("a"), err); }

static void old_file_is_whole(void)
{
    assert_w(in_folder("a"));
    assert_int_equal(entries_in(test_folder), 1);
}

static void any_failed_call_of_reading_leaves_nothing(void **state)
{
    sv_text pickle = { 0 };
    (void)state;
    sv_text_add(&pickle, "\x80\x02}(");
    put_text(&pickle, "v");
    put_tensor(&pickle, "0", 0, (int64_t[]){ 2, 2 }, (int64_t[]){ 1, 2 });
    put_text(&pickle, "x");
    sv_text_add(&pickle, "](K\1K\2eu.");
    for (int form = 0; form < 3; form++) {
        if (form < 2)
            write_pth(in_folder("a"), &pickle, form);
        else
            write_legacy(in_folder("a"), &pickle, "0", 4);
        each_fault(SV_FAULT_ALLOC, fault_read, NULL);
        each_fault(SV_FAULT_READ, fault_read, NULL);
    }
    sv_text_clear(&pickle);
}

static void any_failed_call_of_writing_keeps_the_old_file(void **state)
{
    static const sv_fault_kind kinds[] = { SV_FAULT_ALLOC, SV_FAULT_OPEN, SV_FAULT_WRITE, SV_FAULT_SYNC, SV_FAULT_RENAME };
    sv_error err = { 0 };
    (void)state;
    remove_folder(NULL);
    make_folder(NULL);
    assert_ok(write_sample(in_folder("a"), &err), err);
    for (size_t i = 0; i < SV_COUNT(kinds); i++) each_fault(kinds[i], fault_write, old_file_is_whole);
}

static void cuts_and_changed_bytes_never_do_worse_than_a_refusal(void **state)
{
    sv_text pickle = { 0 };
    (void)state;
    put_beside(&pickle, "](K\1K\2e", 7);
    for (int form = 0; form < 3; form++) {
        if (form < 2)
            write_pth(in_folder("a"), &pickle, form);
        else
            write_legacy(in_folder("a"), &pickle, "0", 4);
        each_damage(in_folder("a"), in_folder("b"));
    }
    sv_text_clear(&pickle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_forms_give_the_tensor),
        cmocka_unit_test(views_are_read_in_row_major_order),
        cmocka_unit_test(views_beyond_their_storage_are_refused),
        cmocka_unit_test(harmless_values_are_stepped_over),
        cmocka_unit_test(calls_and_broken_pickles_are_refused),
        cmocka_unit_test(what_was_left_out_is_named),
        cmocka_unit_test(a_dict_under_a_model_key_is_the_model),
        cmocka_unit_test(dicts_that_multiply_are_refused_soon),
        cmocka_unit_test(objects_of_one_byte_stay_in_their_memory),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(dtypes_without_a_storage_are_refused_when_writing),
        cmocka_unit_test(any_failed_call_of_reading_leaves_nothing),
        cmocka_unit_test(any_failed_call_of_writing_keeps_the_old_file),
        cmocka_unit_test(cuts_and_changed_bytes_never_do_worse_than_a_refusal),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
