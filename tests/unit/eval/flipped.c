/* Model files with one byte changed: refused with one sentence and code 4, or read and run to the end; never more memory or time than the whole file
 * takes, never a crash. In the sanitizer builds this is what ASan and UBSan watch. Safetensors of ours have a CRC-32 a tensor, so there a changed
 * number is always found. SIEVE_FLIPS=N: so many changes a file instead of 300. */
#include "tests/unit/pruning/test_pruning.h"

#include "eval/onnx_export.h"
#include "eval/onnx_run.h"
#include "eval/weights_export.h"

enum { FLIPS = 300 };

typedef struct file_case {
    const char *name;
    bool onnx;
    sv_onnx_type weights;
    sv_onnx_mode mode;
    sv_method method;
} file_case;
static const file_case cases[] = {
    { "static.onnx", true, SV_ONNX_FLOAT, SV_ONNX_STATIC, SV_METHOD_SPVIT },
    { "dynamic.onnx", true, SV_ONNX_FLOAT, SV_ONNX_DYNAMIC, SV_METHOD_SPVIT },
    { "int8.onnx", true, SV_ONNX_INT8, SV_ONNX_STATIC, SV_METHOD_SPVIT },
    { "half.onnx", true, SV_ONNX_FLOAT16, SV_ONNX_DYNAMIC, SV_METHOD_SPVIT },
    { "merged.onnx", true, SV_ONNX_FLOAT, SV_ONNX_STATIC, SV_METHOD_TOME },
    { "plain.safetensors", false, SV_ONNX_FLOAT, SV_ONNX_STATIC, SV_METHOD_SPVIT },
    { "int8.safetensors", false, SV_ONNX_INT8, SV_ONNX_STATIC, SV_METHOD_SPVIT },
    { "half.safetensors", false, SV_ONNX_BFLOAT16, SV_ONNX_STATIC, SV_METHOD_SPVIT },
};

static size_t flips_wanted(void)
{
    const char *wanted = getenv("SIEVE_FLIPS");
    return wanted ? (size_t)strtoul(wanted, NULL, 10) : FLIPS;
}

static sv_deployed student(sv_method method)
{
    uint64_t seed = 0;
    sv_deployed d = { 0 };
    sv_error err = { 0 };
    while (!world_of(seed).options.plan.stages) seed++;
    world w = world_of(seed);
    w.options.plan.rule = SV_RULE_THRESHOLD;
    w.options.plan.min_keep = 1;
    for (size_t t = 0; t < w.options.plan.stages; t++) {
        w.options.plan.threshold[t] = 0.5;
        w.options.plan.count[t] = (size_t)((double)(w.sizes.image / 4 * (w.sizes.image / 4)) * w.options.plan.keep[t] + 1e-9);
    }
    if (method == SV_METHOD_TOME)
        w.options.plan = (sv_pruning_plan){ .stages = 1, .method = method, .keep = { 0.5 }, .rule = SV_RULE_TOPK, .package = SV_CHOICE_NONE, .min_keep = 1,
                                            .count = { w.sizes.image / 4 * (w.sizes.image / 4) / 2 } };
    assert_ok(sv_model_create(&d.model, "vit_test", &w.sizes, &err), err);
    assert_ok(sv_pruning_create(&d.pruning, d.model, &w.options, &err), err);
    assert_ok(sv_model_allocate(d.model, false, &err), err);
    sv_model_initialise(d.model, seed);
    sv_pruning_initialise(d.pruning, seed);
    wake_selectors(d.model, seed);
    d.plan = *sv_pruning_plan_of(d.pruning);
    return d;
}

static void write_case(const file_case *c, const char *path)
{
    sv_deployed d = student(c->method);
    sv_error err = { 0 };
    size_t tensors = 0;
    if (c->onnx)
        assert_ok(sv_onnx_export(&d, NULL, path, &(sv_onnx_options){ .mode = c->mode, .weights = c->weights }, NULL, &err), err);
    else
        assert_ok(sv_weights_export(&d, path, &(sv_weights_export_options){ .weights = c->weights }, &tensors, &err), err);
    sv_deployed_clear(&d);
}

static sv_status run_onnx(const char *path, sv_error *err)
{
    sv_onnx_model model = { 0 };
    sv_onnx_array outputs[16] = { { 0 } };
    sv_status status = sv_onnx_read(&model, path, NULL, err);
    if (!status && model.input_count == 1 && model.output_count <= SV_COUNT(outputs) && model.inputs[0].rank == 4
        && model.inputs[0].dims[2] > 0 && model.inputs[0].dims[2] <= 64) {
        const size_t side = (size_t)model.inputs[0].dims[2], count = 3 * side * side;
        float *picture = NULL;
        assert_ok(sv_alloc_zero(&picture, count * sizeof *picture, "picture", err), *err);
        for (size_t i = 0; i < count; i++) picture[i] = (float)(i % 7) - 3;
        const sv_onnx_array input = { .type = SV_ONNX_FLOAT, .rank = 4, .dims = { 1, 3, side, side }, .count = count, .data = picture };
        status = sv_onnx_run(&model, &input, outputs, err);
        sv_free(picture);
    }
    for (size_t i = 0; i < SV_COUNT(outputs); i++) sv_onnx_array_clear(&outputs[i]);
    sv_onnx_clear(&model);
    return status;
}

static sv_status run_safetensors(const char *path, sv_error *err)
{
    sv_deployed d = { 0 };
    sv_removal_tape tape = { 0 };
    sv_step step = { .images = 1 };
    sv_status status = sv_deployed_load(&d, path, err);
    if (!status) status = sv_removal_record(&tape, d.pruning, &d.plan, 1, err);
    if (!status) status = sv_tape_forward(tape.tape, &step, err);
    sv_removal_clear(&tape);
    sv_deployed_clear(&d);
    return status;
}

/* Where the words of the file stand: the graph of an ONNX file comes first, the header of a safetensors file too. */
static size_t words_of(const file_case *c, const unsigned char *bytes, size_t count)
{
    uint64_t header = 0;
    for (size_t i = 8; i-- > 0;) header = header << 8 | bytes[i];
    const size_t words = c->onnx ? 24000 : (size_t)header + 8;
    return words < count ? words : count;
}

static void silent(void *context, sv_level level, const char *line) { (void)context, (void)level, (void)line; }

static void write_bytes(const char *path, const unsigned char *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static void any_byte_may_change(void **state)
{
    (void)state;
    sv_log_set(silent, NULL, SV_WARNING);
    for (size_t k = 0; k < SV_COUNT(cases); k++) {
        const file_case *c = &cases[k];
        const char *path = in_folder(c->name);
        unsigned char *bytes = NULL;
        size_t count = 0, refused = 0;
        sv_error err = { 0 };
        write_case(c, path);
        assert_ok(sv_file_read_all(path, 64 << 20, SV_DATA, &bytes, &count, &err), err);
        const size_t words = words_of(c, bytes, count), live = sv_memory_now().live, wanted = flips_wanted();
        for (size_t i = 0; i < wanted; i++) {
            sv_random random = sv_random_at(k, SV_FOR_TEST, 5, i, 0);
            const size_t at = (size_t)sv_random_below(&random, i % 3 ? words : count);
            const unsigned char old = bytes[at];
            bytes[at] ^= (unsigned char)(i % 4 ? 1U << sv_random_below(&random, 8) : 1 + sv_random_below(&random, 255));
            sv_error said = { 0 };
            write_bytes(in_folder("flipped"), bytes, count);
            const sv_status status = (c->onnx ? run_onnx : run_safetensors)(in_folder("flipped"), &said);
            if (status && (status != SV_MODEL_FILE || !said.text[0] || strchr(said.text, '\n')))
                fail_msg("%s, byte %zu of %zu, change %zu: %d '%s'", c->name, at, count, i, (int)status, said.text);
            if (!status && !c->onnx && at >= words) fail_msg("%s: a changed number at byte %zu was not found", c->name, at);
            refused += status != SV_OK;
            bytes[at] = old;
        }
        assert_int_equal(sv_memory_now().live, live);
        print_message("%s: %zu bytes, %zu changes, %zu refused\n", c->name, count, wanted, refused);
        sv_free(bytes);
    }
}

static int set_up(void **state)
{
    sv_kernels_init();
    return make_folder(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(any_byte_may_change) };
    return cmocka_run_group_tests(tests, set_up, remove_folder);
}
