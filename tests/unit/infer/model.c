/* infer/model.c: a model file becomes a model or one sentence, and nothing stays behind. */
#include "tests/unit/infer/test_infer.h"

static void a_model_tells_what_it_is(void **state)
{
    (void)state;
    put_model("m", 1, &(sv_pruning_plan){ .stages = 1, .at = { 2 }, .keep = { 0.5 }, .count = { 8 }, .rule = SV_RULE_TOPK, .min_keep = 1 },
              "[run]\nseed = 1\n\n[data]\nimage_size = 16\nmean = 0.5,0.25,0.125\ndeviation = 1,2,4\n\n[train]\nmean = 3\n");
    sieve_model *model = load("m");
    sieve_about about = sieve_model_about(model);
    assert_true(about.image == IMAGE && about.patches == PATCHES && about.classes == CLASSES && about.patch == 4);
    assert_true(about.stages == 1 && about.stage_before_block[0] == 2 && about.parameters > 1000);
    assert_true(about.mean[0] == 0.5f && about.mean[2] == 0.125f && about.deviation[2] == 4.0f);
    assert_string_equal(sieve_class_name(model, 0), "cat");
    assert_string_equal(sieve_class_name(model, 2), "red fox");
    assert_null(sieve_class_name(model, 3));
    assert_null(sieve_class_name(model, CLASSES));
    sieve_model_free(model);
    sieve_model_free(NULL);
    assert_string_equal(sieve_version(), SV_VERSION);
}

static void assert_refused(const char *path, const sieve_load_options *options, sieve_code code, const char *sentence)
{
    sieve_model *model = (sieve_model *)(void *)test_folder;
    sieve_error error = { SIEVE_OK, "" };
    sv_memory memory = sv_memory_now();
    size_t descriptors = open_descriptors();
    sieve_code got = sieve_model_load(&model, path, options, &error);
    if (got != code || error.code != code || !strstr(error.text, sentence))
        fail_msg("code %d, '%s'; expected %d and '%s' in it", (int)got, error.text, (int)code, sentence);
    assert_ptr_equal(model, test_folder); /* untouched */
    assert_int_equal(sieve_model_load(&model, path, options, NULL), code);
    assert_int_equal(sv_memory_now().live, memory.live);
    assert_int_equal(open_descriptors(), descriptors);
}

static void absent_cut_and_foreign_files_are_refused_with_a_sentence(void **state)
{
    (void)state;
    unsigned char *bytes = NULL;
    size_t count;
    sv_error err = { 0 };
    put_pruned("good", 1);
    assert_ok(sv_file_read_all(in_folder("good"), 1 << 24, SV_DATA, &bytes, &count, &err), err);
    assert_ok(sv_file_write_atomic(in_folder("cut"), bytes, count - 1, &err), err);
    assert_ok(sv_file_write_atomic(in_folder("head"), bytes, 7, &err), err);
    sv_free(bytes);
    write_text(in_folder("text"), "no model");
    put_model("odd", 1, NULL, "[data]\ncrop_ratio = 7\n");
    assert_refused(in_folder("absent"), NULL, SIEVE_MODEL_FILE, "absent");
    assert_refused(in_folder("cut"), NULL, SIEVE_MODEL_FILE, "cut");
    assert_refused(in_folder("head"), NULL, SIEVE_MODEL_FILE, "head");
    assert_refused(in_folder("text"), NULL, SIEVE_MODEL_FILE, "text");
    assert_refused(in_folder("odd"), NULL, SIEVE_MODEL_FILE, "data.crop_ratio");
    assert_refused(test_folder, NULL, SIEVE_MODEL_FILE, test_folder);
    assert_refused(NULL, NULL, SIEVE_USAGE, "NULL");
    assert_refused(in_folder("good"), &(sieve_load_options){ .arch = "vit_tets" }, SIEVE_USAGE, "vit_test");
    assert_refused(in_folder("good"), &(sieve_load_options){ .precision = "fp16" }, SIEVE_USAGE, "expected fp32, bf16 or bf16x3");
}

static void refuse_line(void *context, sv_level level, const char *line)
{
    (void)context, (void)level;
    fail_msg("the library told the program's sink: %s", line);
}

static void take_line(void *context, int level, const char *line)
{
    assert_int_equal(level, 1);
    sv_text_add(context, "%s\n", line);
}

static void remarks_go_to_the_caller_of_the_load_alone(void **state)
{
    (void)state;
    sv_text told = { 0 };
    sv_pruning_plan plan = plan_of(SV_RULE_TOPK, 0.7, 0.4);
    sv_model *model = NULL;
    sv_error err = { 0 };
    sv_text about = { 0 }, of_plan = { 0 };
    assert_ok(sv_model_create(&model, "vit_test", &(sv_model_options){ .image = IMAGE, .classes = CLASSES }, &err), err);
    assert_ok(sv_model_allocate(model, false, &err), err);
    sv_model_print(model, &about);
    sv_plan_print(&plan, &of_plan);
    assert_ok(sv_checkpoint_write(&(sv_checkpoint){ .set = model->parameters, .model = about.data, .plan = of_plan.data },
                                  in_folder("none"), &err),
              err);
    sv_log_set(refuse_line, NULL, SV_INFO);
    assert_refused(in_folder("none"), NULL, SIEVE_MODEL_FILE, "none");
    sieve_model *out = NULL;
    sieve_load_options options = { .say = take_line, .say_context = &told };
    assert_int_equal(sieve_model_load(&out, in_folder("none"), &options, NULL), SIEVE_MODEL_FILE);
    sv_log_set(NULL, NULL, SV_INFO);
    assert_non_null(strstr(told.data, "selectors.0.norm.weight"));
    sv_text_clear(&told);
    sv_text_clear(&about);
    sv_text_clear(&of_plan);
    sv_model_destroy(model);
}

static void a_picture_file_becomes_bytes(void **state)
{
    (void)state;
    sieve_rgb picture = { 0 };
    sieve_error error;
    sv_picture expected = { 0 };
    sv_error err = { 0 };
    put_picture("p.jpg", 4);
    assert_done(sieve_picture_read(&picture, in_folder("p.jpg"), &error), &error);
    assert_ok(sv_picture_read(&expected, in_folder("p.jpg"), &err), err);
    assert_true(picture.width == expected.width && picture.height == expected.height);
    assert_memory_equal(picture.pixels, expected.rgb, 3 * picture.width * picture.height);
    sv_picture_clear(&expected);
    sieve_picture_free(&picture);
    assert_null(picture.pixels);
    sieve_picture_free(&picture);
    sieve_picture_free(NULL);
    assert_int_equal(sieve_picture_read(&picture, in_folder("absent"), &error), SIEVE_PICTURE);
    assert_int_equal(sieve_picture_read(&picture, NULL, &error), SIEVE_USAGE);
    assert_null(picture.pixels);
}

static void running_out_of_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    bool survived = false;
    put_pruned("m", 1);
    sieve_model *first = load("m");
    sieve_session_free(session_of(first, 1, 2)); /* what the first one leaves for good is not counted below */
    sieve_model_free(first);
    sv_memory memory = sv_memory_now();
    for (uint64_t at = 1; at < 5000 && !survived; at++) {
        sieve_model *model = NULL;
        sieve_session *session = NULL;
        sieve_error error = { SIEVE_OK, "" };
        sieve_session_options options = { .batch = 2, .threads = 2 };
        sv_fault_set(SV_FAULT_ALLOC, at, false);
        sieve_code code = sieve_model_load(&model, in_folder("m"), NULL, &error);
        if (!code) code = sieve_session_create(&session, model, &options, &error);
        sv_fault_set(SV_FAULT_ALLOC, 0, false);
        survived = code == SIEVE_OK;
        if (!survived) assert_true(code == SIEVE_FAULT && error.code == SIEVE_FAULT && strlen(error.text) > 10 && !session);
        sieve_session_free(session);
        sieve_model_free(model);
        assert_int_equal(sv_memory_now().live, memory.live);
    }
    assert_true(survived);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(a_model_tells_what_it_is),
        WITH_FOLDER(absent_cut_and_foreign_files_are_refused_with_a_sentence),
        WITH_FOLDER(remarks_go_to_the_caller_of_the_load_alone),
        WITH_FOLDER(a_picture_file_becomes_bytes),
        WITH_FOLDER(running_out_of_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
