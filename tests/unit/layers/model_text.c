/* layers/model_text.c: what is printed is read back; whatever else is refused with path and line. */
#include "tests/unit/base/test_base.h"

#include "layers/layers.h"

static void printed_models_come_back_with_the_same_sizes(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 0, 0, 0);
        sv_model *model = NULL, *again = NULL;
        sv_text one = { 0 }, two = { 0 };
        sv_error err = { 0 };
        size_t patch = 1 + sv_random_below(&random, 8), heads = 1 + sv_random_below(&random, 4);
        sv_model_options options = { .image = patch * (1 + sv_random_below(&random, 6)),
                                     .patch = patch,
                                     .heads = heads,
                                     .width = heads * (1 + sv_random_below(&random, 16)),
                                     .depth = 1 + sv_random_below(&random, 5),
                                     .mlp_ratio = 1 + (double)sv_random_below(&random, 4),
                                     .classes = 1 + sv_random_below(&random, 50),
                                     .distilled = sv_random_below(&random, 2) != 0,
                                     .norm_eps = 1e-3 * sv_random_uniform(&random) };
        const sv_backbone *row = &sv_backbones[sv_random_below(&random, sv_backbone_count)];
        if (row->form) options = (sv_model_options){ .classes = 1 + sv_random_below(&random, 50) }; /* its sizes are its own */
        assert_ok(sv_model_create(&model, row->name, &options, &err), err);
        sv_model_print(model, &one);
        assert_ok(sv_text_check(&one, &err), err);
        if (sv_model_parse(&again, one.data, "model.safetensors", &err)) fail_msg("seed %d: %s in\n%s", (int)seed, err.text, one.data);
        sv_model_print(again, &two);
        assert_string_equal(one.data, two.data);
        assert_true(again->options.norm_eps == model->options.norm_eps && again->parameters->count == model->parameters->count);
        sv_text_clear(&one);
        sv_text_clear(&two);
        sv_model_destroy(again);
        sv_model_destroy(model);
    }
}

#define SIZES "image 16\npatch 4\nwidth 32\ndepth 4\nheads 2\nmlp_ratio 2\nclasses 5\ndistilled 0\n"
#define EPS "norm_eps 1e-06\n"

static void assert_refused(const char *text, const char *part)
{
    sv_model *model = NULL;
    sv_error err = { 0 };
    sv_status status = sv_model_parse(&model, text, "old/run.safetensors", &err);
    if (status != SV_MODEL_FILE || err.code != SV_MODEL_FILE || !strstr(err.text, "old/run.safetensors") || !strstr(err.text, part))
        fail_msg("expected a refusal that says '%s', got %d '%s'", part, (int)status, status ? err.text : "");
    assert_null(model);
}

static void broken_descriptions_are_refused_with_path_and_line(void **state)
{
    (void)state;
    char long_line[300];
    sv_model *model = NULL;
    sv_error err = { 0 };
    snprintf(long_line, sizeof long_line, "arch vit_test\n%s", SIZES);
    memset(long_line + strlen(long_line), 'x', 130);
    long_line[14 + strlen(SIZES) + 130] = 0;
    assert_ok(sv_model_parse(&model, "arch vit_test\n" SIZES EPS, "good", &err), err);
    sv_model_destroy(model);
    assert_refused("arch vit_test\n" SIZES EPS "colour 3\n", "line 11");
    assert_refused("arch vit_test\nimage 16\nimage 16\n", "line 3");
    assert_refused("arch vit_test\narch vit_test\n", "line 2");
    assert_refused("arch vit_test\nwidth\n", "'width'");
    assert_refused("arch vit_test\nwidth 32px\n", "'width 32px'");
    assert_refused("arch vit_test\nwidth -32\n", "line 2");
    assert_refused("arch vit_test\nwidth 0\n", "line 2");
    assert_refused("arch vit_test\ndistilled 2\n", "line 2");
    assert_refused("arch vit_test\nmlp_ratio nan\n", "line 2");
    assert_refused("arch vit_test\nnorm_eps 0\n", "line 2");
    assert_refused("arch vit_test\n\n" SIZES EPS, "line 2");
    assert_refused(long_line, "line 10");
}

static void incomplete_or_contradicting_descriptions_are_refused(void **state)
{
    (void)state;
    assert_refused("", "'arch'");
    assert_refused(SIZES EPS, "'arch'");
    assert_refused("arch vit_test\n" SIZES, "'norm_eps'");
    assert_refused("arch vit_tset\n" SIZES EPS, "vit_test");
    assert_refused("arch deit_t_distilled\n" SIZES EPS, "distilled 0");
    assert_refused("arch vit_test\nimage 17\npatch 4\nwidth 32\ndepth 4\nheads 2\nmlp_ratio 2\nclasses 5\ndistilled 0\n" EPS, "17");
}

static void config_gives_sizes_and_distillation(void **state)
{
    (void)state;
    sv_config *config = NULL;
    sv_model *model = NULL;
    sv_error err = { 0 };
    assert_ok(sv_config_create(&config, &sv_model_config, 1, &err), err);
    assert_string_equal(sv_config_text(config, "model.arch"), "deit_t");
    assert_ok(sv_config_set(config, "model.arch", "vit_test", "here", &err), err);
    assert_ok(sv_config_set(config, "model.depth", "3", "here", &err), err);
    assert_ok(sv_config_set(config, "model.distilled", "yes", "here", &err), err);
    assert_ok(sv_config_set(config, "model.pos_resize", "bilinear", "here", &err), err);
    assert_ok(sv_model_from_config(&model, config, 24, 7, &err), err);
    assert_int_equal(model->options.image, 24);
    assert_int_equal(model->options.classes, 7);
    assert_int_equal(model->options.depth, 3);
    assert_int_equal(model->options.width, 32);
    assert_int_equal(sv_model_prefix(model), 2);
    assert_int_equal(sv_load_options_from_config(config).resize, SV_RESIZE_BILINEAR);
    sv_model_destroy(model);
    assert_ok(sv_config_set(config, "model.arch", "vit_tset", "run.ini:3", &err), err);
    assert_int_equal(sv_model_from_config(&model, config, 24, 7, &err), SV_USAGE);
    assert_true(strstr(err.text, "run.ini:3") && strstr(err.text, "vit_test"));
    assert_int_equal(sv_model_from_config(&model, config, 24, 7, NULL), SV_USAGE);
    sv_config_destroy(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(printed_models_come_back_with_the_same_sizes),
                                        cmocka_unit_test(broken_descriptions_are_refused_with_path_and_line),
                                        cmocka_unit_test(incomplete_or_contradicting_descriptions_are_refused),
                                        cmocka_unit_test(config_gives_sizes_and_distillation) };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
