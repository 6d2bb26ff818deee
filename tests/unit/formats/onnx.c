/* formats/onnx_graph.c, onnx_write.c, onnx_read.c: what is written reads back, what is damaged is refused, and no half file takes its name. */
#include "formats/onnx.h"
#include "tests/unit/base/test_base.h"

enum { CHANGES = 500 };

static const float numbers[6] = { 0.0F, -1.5F, 3.25F, 1e30F, -0.0F, 1e-40F };

static void *copy_of(const void *bytes, size_t count)
{
    void *copy = NULL;
    sv_error err = { 0 };
    assert_ok(sv_alloc(&copy, count, "test", &err), err);
    memcpy(copy, bytes, count);
    return copy;
}

/* y = (x w) + 1, a list of sizes, a large tensor, text pairs: every kind of field that exports use. */
static sv_onnx_graph *make_graph(void)
{
    static const float large[300] = { 1, 2, 3 };
    static const uint16_t halves[2] = { 0x3C00, 0xC000 };
    sv_onnx_graph *graph = NULL;
    sv_error err = { 0 };
    assert_ok(sv_onnx_create(&graph, "sample", &err), err);
    const sv_onnx_dim dims[] = { { .word = "batch" }, { .size = 2 } }, out[] = { { .word = "batch" }, { .size = 3 } };
    sv_onnx_value x = sv_onnx_input(graph, "x", SV_ONNX_FLOAT, 2, dims);
    sv_onnx_value w = sv_onnx_initializer(graph, "w", SV_ONNX_FLOAT, 2, (size_t[]){ 2, 3 }, copy_of(numbers, sizeof numbers));
    sv_onnx_initializer(graph, "large", SV_ONNX_FLOAT, 1, (size_t[]){ 300 }, copy_of(large, sizeof large));
    sv_onnx_initializer(graph, "half", SV_ONNX_FLOAT16, 1, (size_t[]){ 2 }, copy_of(halves, sizeof halves));
    sv_onnx_scope(graph, "part.%d", 1);
    sv_onnx_value y = sv_onnx_node(graph, &(sv_onnx_call){ .op = "MatMul", .inputs = 2, .input = { x, w } });
    y = sv_onnx_node(graph, &(sv_onnx_call){ .op = "Add",
                                             .inputs = 2,
                                             .input = { y, sv_onnx_real(graph, 1) },
                                             .attributes = 4,
                                             .attribute = { { .name = "i", .kind = SV_ONNX_I, .i = -7 },
                                                            { .name = "f", .kind = SV_ONNX_F, .f = 0.5 },
                                                            { .name = "ints", .kind = SV_ONNX_INTS, .count = 2, .ints = { -1, 300 } },
                                                            { .name = "one", .kind = SV_ONNX_ONE, .f = 2 } } });
    assert_int_equal(sv_onnx_ints(graph, 2, (int64_t[]){ 0, -1 }), sv_onnx_ints(graph, 2, (int64_t[]){ 0, -1 }));
    sv_onnx_output(graph, y, "y", SV_ONNX_FLOAT, 2, out);
    sv_onnx_metadata(graph, "licence", "Apache-2.0");
    sv_onnx_metadata(graph, "classes", "");
    return graph;
}

static void write_sample(const char *path, uint64_t above)
{
    sv_error err = { 0 };
    sv_onnx_graph *graph = make_graph();
    assert_ok(sv_onnx_write(graph, path, above, NULL, NULL, &err), err);
    sv_onnx_destroy(graph);
}

static const sv_onnx_read_tensor *tensor_of(const sv_onnx_model *model, const char *name)
{
    for (size_t i = 0; i < model->initializer_count; i++)
        if (model->initializers[i].value == sv_onnx_find(model, name)) return &model->initializers[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static void assert_sample(const sv_onnx_model *model)
{
    assert_int_equal(model->ir, SV_ONNX_IR);
    assert_int_equal(model->opset, SV_ONNX_OPSET);
    assert_int_equal(model->input_count, 1);
    assert_int_equal(model->inputs[0].dims[0], -1);
    assert_int_equal(model->inputs[0].dims[1], 2);
    assert_string_equal(model->names[model->outputs[0].value], "y");
    assert_int_equal(model->outputs[0].type, SV_ONNX_FLOAT);
    assert_int_equal(model->node_count, 3);
    assert_string_equal(model->nodes[0].op, "MatMul");
    assert_string_equal(model->names[model->nodes[0].out[0]], model->names[model->nodes[1].in[0]]);
    assert_int_equal(strncmp(model->names[model->nodes[0].out[0]], "part.1/MatMul", 13), 0);
    assert_int_equal(model->metadata_count, 2);
    assert_string_equal(model->metadata[0], "licence");
    assert_string_equal(model->metadata[1], "Apache-2.0");
    assert_string_equal(model->metadata[3], "");
    assert_int_equal(model->initializer_count, 5);
    const sv_onnx_read_tensor *w = tensor_of(model, "w"), *large = tensor_of(model, "large");
    assert_int_equal(w->rank, 2);
    assert_int_equal(w->dims[1], 3);
    assert_memory_equal(w->data, numbers, sizeof numbers);
    assert_int_equal(large->count, 300);
    assert_int_equal(tensor_of(model, "half")->type, SV_ONNX_FLOAT16);
    assert_memory_equal(tensor_of(model, "ints_0_-1")->data, ((int64_t[]){ 0, -1 }), 16);
    assert_int_equal(sv_onnx_find(model, "nobody"), UINT32_MAX);
}

static void assert_attributes(const sv_onnx_model *model)
{
    const sv_onnx_read_attribute *i = sv_onnx_attribute_of(&model->nodes[1], "i"), *f = sv_onnx_attribute_of(&model->nodes[1], "f");
    const sv_onnx_read_attribute *ints = sv_onnx_attribute_of(&model->nodes[1], "ints"),
                                 *one = sv_onnx_attribute_of(&model->nodes[1], "one");
    assert_true(i && f && ints && one && !sv_onnx_attribute_of(&model->nodes[1], "none"));
    assert_true(i->has_i && i->i == -7 && f->has_f && f->f > 0.4F && f->f < 0.6F);
    assert_true(ints->int_count == 2 && ints->ints[0] == -1 && ints->ints[1] == 300);
    const float two = 2;
    assert_true(one->has_tensor && one->tensor.count == 1);
    assert_memory_equal(one->tensor.data, &two, sizeof two);
}

static void what_is_written_reads_back(void **state)
{
    sv_onnx_model model = { 0 };
    sv_error err = { 0 };
    (void)state;
    write_sample(in_folder("a.onnx"), 0);
    assert_false(sv_path_exists(in_folder("a.onnx.data")));
    assert_ok(sv_onnx_read(&model, in_folder("a.onnx"), NULL, &err), err);
    assert_sample(&model);
    assert_attributes(&model);
    sv_onnx_clear(&model);
}

static void large_tensors_move_beside_the_model(void **state)
{
    sv_onnx_model model = { 0 };
    sv_error err = { 0 };
    (void)state;
    write_sample(in_folder("b.onnx"), 1000);
    assert_true(sv_path_exists(in_folder("b.onnx.data")));
    assert_ok(sv_onnx_read(&model, in_folder("b.onnx"), NULL, &err), err);
    assert_sample(&model);
    sv_onnx_clear(&model);
    assert_int_equal(truncate(in_folder("b.onnx.data"), 1199), 0);
    assert_int_equal(sv_onnx_read(&model, in_folder("b.onnx"), NULL, &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "too short"));
    assert_int_equal(remove(in_folder("b.onnx.data")), 0);
    assert_int_equal(sv_onnx_read(&model, in_folder("b.onnx"), NULL, &err), SV_MODEL_FILE);
}

static void same_calls_give_same_bytes(void **state)
{
    unsigned char *one = NULL, *other = NULL;
    size_t count = 0, other_count = 0;
    sv_error err = { 0 };
    (void)state;
    write_sample(in_folder("c.onnx"), 0);
    write_sample(in_folder("d.onnx"), 0);
    assert_ok(sv_file_read_all(in_folder("c.onnx"), 1 << 20, SV_DATA, &one, &count, &err), err);
    assert_ok(sv_file_read_all(in_folder("d.onnx"), 1 << 20, SV_DATA, &other, &other_count, &err), err);
    assert_int_equal(count, other_count);
    assert_memory_equal(one, other, count);
    sv_free(one);
    sv_free(other);
}

/* ---- damaged files ----------------------------------------------------------------------------------------------- */

static void try_bytes(const unsigned char *bytes, size_t count, bool must_fail)
{
    sv_onnx_model model = { 0 };
    sv_error err = { 0 };
    const char *path = in_folder("bad.onnx");
    const size_t live = sv_memory_now().live;
    assert_ok(sv_file_write_atomic(path, bytes, count, &err), err);
    sv_status status = sv_onnx_read(&model, path, NULL, &err);
    if (status && (status != SV_MODEL_FILE || !strstr(err.text, "bad.onnx"))) fail_msg("status %d: %s", (int)status, err.text);
    if (must_fail && !status) fail_msg("a file cut at %zu is taken for whole", count);
    sv_onnx_clear(&model);
    assert_int_equal(sv_memory_now().live, live);
}

static void cut_anywhere_it_is_refused(void **state)
{
    unsigned char *bytes = NULL;
    size_t count = 0;
    sv_error err = { 0 };
    (void)state;
    write_sample(in_folder("e.onnx"), 0);
    assert_ok(sv_file_read_all(in_folder("e.onnx"), 1 << 20, SV_DATA, &bytes, &count, &err), err);
    for (size_t cut = 0; cut < count; cut++) try_bytes(bytes, cut, true);
    sv_free(bytes);
}

/* Changed bytes: refused with one sentence, or read; never beyond the file. */
static void change_everywhere(const char *name, uint64_t above, uint64_t seed)
{
    unsigned char *bytes = NULL;
    size_t count = 0;
    sv_error err = { 0 };
    sv_random random = sv_random_at(seed, SV_FOR_TEST, 0, 0, 0);
    write_sample(in_folder(name), above);
    assert_ok(sv_file_read_all(in_folder(name), 1 << 20, SV_DATA, &bytes, &count, &err), err);
    for (size_t i = 0; i < CHANGES; i++) {
        unsigned char before[4];
        size_t places[4], changes = 1 + sv_random_below(&random, 4);
        for (size_t k = 0; k < changes; k++) {
            places[k] = sv_random_below(&random, count);
            before[k] = bytes[places[k]];
            bytes[places[k]] = (unsigned char)sv_random_word(&random);
        }
        try_bytes(bytes, count, false);
        for (size_t k = changes; k-- > 0;) bytes[places[k]] = before[k];
    }
    sv_free(bytes);
}

static void changed_bytes_do_no_harm(void **state)
{
    (void)state;
    change_everywhere("f.onnx", 0, 5);
    change_everywhere("g.onnx", 1000, 6);
}

static void refuse(const char *part, const void *bytes, size_t count)
{
    sv_onnx_model model = { 0 };
    sv_error err = { 0 };
    assert_ok(sv_file_write_atomic(in_folder("bad.onnx"), bytes, count, &err), err);
    sv_status status = sv_onnx_read(&model, in_folder("bad.onnx"), NULL, &err);
    if (status != SV_MODEL_FILE || !strstr(err.text, part))
        fail_msg("expected a refusal that says '%s', got %d '%s'", part, (int)status, err.text);
}

#define HEAD "\x08\x08\x42\x02\x10\x11" /* IR 8, opset 17 */
#define REFUSE(part, bytes) refuse(part, bytes, sizeof(bytes) - 1)

static void hostile_files_are_refused_by_name(void **state)
{
    (void)state;
    REFUSE("no ONNX model", "");
    REFUSE("one graph", HEAD);
    REFUSE("cut off", HEAD "\x3a\xff\xff\xff\xff\x0f");                                                 /* a graph of 4 GiB */
    REFUSE("cut off", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");                                  /* a tag without end */
    REFUSE("cut off", HEAD "\x3b");                                                                     /* a group */
    REFUSE("IR version", "\x3a\x00");                                                                   /* nothing but a graph */
    REFUSE("'x' is used before", HEAD "\x3a\x0b\x0a\x09\x0a\x01x\x12\x01y\x22\x01Z");                   /* a node of nothing */
    REFUSE("'y' is made twice", HEAD "\x3a\x12\x0a\x07\x12\x01y\x22\x02Op\x0a\x07\x12\x01y\x22\x02Op"); /* two of one name */
    REFUSE("no op", HEAD "\x3a\x05\x0a\x03\x12\x01y");                                                  /* a node without op */
    REFUSE("UTF-8", HEAD "\x3a\x09\x0a\x07\x12\x02\xff\xfe\x22\x01Z");                                  /* a name of no letters */
    REFUSE("another length", HEAD "\x3a\x0d\x2a\x0b\x08\x02\x10\x01\x42\x01w\x4a\x02zz");               /* two floats in two bytes */
    REFUSE("another kind", HEAD "\x3a\x0d\x2a\x0b\x08\x02\x10\x08\x42\x01w\x4a\x02zz");                 /* strings */
    REFUSE("larger than memory", HEAD
           "\x3a\x19\x2a\x17\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x08\xff\xff\xff\xff\x0f\x10\x01\x42\x01w\x4a\x00"); /* giant sizes */
    REFUSE("plain name",
           HEAD "\x3a\x21\x2a\x1f\x08\x02\x10\x01\x42\x01w\x6a\x14\x0a\x08location\x12\x08../other\x70\x01"); /* data outside the folder */
}

/* ---- atomic ------------------------------------------------------------------------------------------------------ */

typedef struct witness {
    const char *path;
    bool was_there;
    sv_status answer;
} witness;

static sv_status look_on(void *context, const char *file, const char *data, sv_error *err)
{
    witness *w = context;
    sv_onnx_model model = { 0 };
    w->was_there = sv_path_exists(w->path);
    assert_ok(sv_onnx_read(&model, file, data, err), *err);
    assert_sample(&model);
    sv_onnx_clear(&model);
    return w->answer ? sv_fail(err, w->answer, "no") : SV_OK;
}

static size_t files_in_folder(void)
{
    sv_names names = { 0 };
    sv_error err = { 0 };
    size_t count = 0;
    assert_ok(sv_folder_list(test_folder, SV_DATA, &names, &err), err);
    DIR *folder = opendir(test_folder);
    while (folder && readdir(folder)) count++; /* hidden ones too */
    closedir(folder);
    assert_int_equal(count, names.count + 2);
    sv_names_clear(&names);
    return count;
}

static void a_file_that_fails_its_check_gets_no_name(void **state)
{
    sv_error err = { 0 };
    (void)state;
    for (uint64_t above = 0; above <= 1000; above += 1000) {
        sv_onnx_graph *graph = make_graph();
        witness w = { .path = in_folder("h.onnx"), .answer = SV_FAULT };
        const size_t before = files_in_folder();
        assert_int_equal(sv_onnx_write(graph, w.path, above, look_on, &w, &err), SV_FAULT);
        assert_false(w.was_there);
        assert_int_equal(files_in_folder(), before);
        w.answer = SV_OK;
        assert_ok(sv_onnx_write(graph, w.path, above, look_on, &w, &err), err);
        assert_int_equal(files_in_folder(), before + (above ? 2 : 1));
        assert_ok(sv_onnx_write(graph, w.path, above, look_on, &w, &err), err); /* over an older one */
        sv_onnx_destroy(graph);
        remove(in_folder("h.onnx"));
        remove(in_folder("h.onnx.data"));
    }
}

/* Call 1, 2, 3 ... of a kind fails, until a run survives: no half file, no leak. */
static void fail_each(sv_fault_kind kind, uint64_t above)
{
    for (uint64_t at = 1;; at++) {
        sv_onnx_graph *graph = NULL;
        sv_onnx_model model = { 0 };
        sv_error err = { 0 };
        graph = make_graph();
        remove(in_folder("i.onnx"));
        remove(in_folder("i.onnx.data"));
        sv_fault_set(kind, at, true);
        sv_status status = sv_onnx_write(graph, in_folder("i.onnx"), above, NULL, NULL, &err);
        sv_fault_set(kind, 0, false);
        sv_onnx_destroy(graph);
        if (status) assert_int_equal(status, SV_FAULT);
        if (sv_path_exists(in_folder("i.onnx"))) {
            sv_error other = { 0 };
            assert_ok(sv_onnx_read(&model, in_folder("i.onnx"), NULL, &other), other);
            assert_sample(&model);
            sv_onnx_clear(&model);
        }
        files_in_folder();
        if (!status) break;
        assert_true(at < 10000);
    }
}

static void no_half_file_when_calls_fail(void **state)
{
    (void)state;
    static const sv_fault_kind kinds[] = { SV_FAULT_OPEN, SV_FAULT_WRITE, SV_FAULT_SYNC, SV_FAULT_RENAME, SV_FAULT_ALLOC };
    for (size_t i = 0; i < SV_COUNT(kinds); i++) {
        fail_each(kinds[i], 0);
        fail_each(kinds[i], 1000);
    }
}

/* Reading with the n-th allocation or read failing leaves nothing behind. */
static void failed_reads_leave_nothing(void **state)
{
    static const sv_fault_kind kinds[] = { SV_FAULT_ALLOC, SV_FAULT_READ, SV_FAULT_OPEN };
    (void)state;
    write_sample(in_folder("j.onnx"), 1000);
    for (size_t i = 0; i < SV_COUNT(kinds); i++) {
        sv_status status = SV_FAULT;
        for (uint64_t at = 1; status && at < 1000; at++) {
            sv_onnx_model model = { 0 };
            sv_error err = { 0 };
            const size_t live = sv_memory_now().live;
            sv_fault_set(kinds[i], at, true);
            status = sv_onnx_read(&model, in_folder("j.onnx"), NULL, &err);
            sv_fault_set(kinds[i], 0, false);
            sv_onnx_clear(&model);
            assert_int_equal(sv_memory_now().live, live);
        }
        assert_int_equal(status, SV_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(large_tensors_move_beside_the_model),
        cmocka_unit_test(same_calls_give_same_bytes),
        cmocka_unit_test(cut_anywhere_it_is_refused),
        cmocka_unit_test(changed_bytes_do_no_harm),
        cmocka_unit_test(hostile_files_are_refused_by_name),
        cmocka_unit_test(a_file_that_fails_its_check_gets_no_name),
        cmocka_unit_test(no_half_file_when_calls_fail),
        cmocka_unit_test(failed_reads_leave_nothing),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
