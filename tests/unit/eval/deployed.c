/* eval/deployed.c: a model file brings the whole model back, and what is no whole model is refused and leaves nothing behind. */
#include "tests/unit/eval/test_eval.h"

#include "train/checkpoint.h"

static sv_model *make_model(const sv_pruning_plan *plan, sv_pruning **pruning)
{
    sv_model *model = NULL;
    sv_error err = { 0 };
    sv_pruning_options options = { .mask_clamp = 30, .tau = 1 };
    if (plan) options.plan = *plan;
    assert_ok(sv_model_create(&model, "vit_test", &(sv_model_options){ .image = IMAGE, .classes = CLASSES }, &err), err);
    assert_ok(sv_pruning_create(pruning, model, &options, &err), err);
    assert_ok(sv_model_allocate(model, false, &err), err);
    sv_model_initialise(model, 3);
    sv_pruning_initialise(*pruning, 3);
    wake_selectors(model, 3);
    return model;
}

/* A file at test_folder/name; texts that are NULL are left out, "" is made from model and plan. */
static void put_file(const char *name, const sv_model *model, const sv_pruning_plan *plan, const char *model_text, const char *plan_text)
{
    sv_text about = { 0 }, of_plan = { 0 };
    sv_error err = { 0 };
    sv_model_print(model, &about);
    if (plan) sv_plan_print(plan, &of_plan);
    sv_checkpoint checkpoint = { .set = model->parameters, .classes = "cat\ndog\n", .config = "[run]\nseed = 1\n" };
    checkpoint.model = model_text && !*model_text ? about.data : model_text;
    checkpoint.plan = plan_text && !*plan_text ? of_plan.data : plan_text;
    assert_ok(sv_checkpoint_write(&checkpoint, in_folder(name), &err), err);
    sv_text_clear(&about);
    sv_text_clear(&of_plan);
}

static void assert_same_weights(const sv_model *one, const sv_model *other)
{
    assert_int_equal(one->parameters->count, other->parameters->count);
    for (size_t i = 0; i < one->parameters->count; i++) {
        const sv_parameter *a = one->parameters->items[i], *b = sv_parameters_find(other->parameters, a->name);
        if (!b || a->count != b->count) fail_msg("%s is missing", a->name);
        assert_memory_equal(a->value, b->value, a->count * sizeof *a->value);
    }
}

static void a_pruned_model_comes_back_with_plan_classes_and_config(void **state)
{
    (void)state;
    sv_pruning_plan plan = plan_of(SV_RULE_THRESHOLD, 0.7, 1.0 / 3);
    plan.threshold[0] = 0.1 + 0.2, plan.threshold[1] = 1.0 / 7;
    sv_pruning *pruning = NULL;
    sv_model *model = make_model(&plan, &pruning);
    sv_deployed d;
    sv_error err = { 0 };
    put_file("m", model, &plan, "", "");
    assert_ok(sv_deployed_load(&d, in_folder("m"), &err), err);
    assert_same_weights(model, d.model);
    assert_int_equal(d.plan.stages, 2);
    for (size_t t = 0; t < 2; t++) {
        assert_true(d.plan.at[t] == plan.at[t] && d.plan.keep[t] == plan.keep[t] && d.plan.threshold[t] == plan.threshold[t]);
        assert_int_equal(d.plan.count[t], plan.count[t]);
    }
    assert_true(d.plan.rule == plan.rule && d.plan.package == plan.package && d.plan.empty == plan.empty
                && d.plan.min_keep == plan.min_keep);
    assert_string_equal(d.classes, "cat\ndog\n");
    assert_string_equal(d.config, "[run]\nseed = 1\n");
    assert_non_null(d.pruning);
    sv_deployed_clear(&d);
    assert_null(d.model);
    sv_deployed_clear(&d);
    sv_pruning_destroy(pruning);
    sv_model_destroy(model);
}

static void what_it_answers_is_what_the_trained_model_answers(void **state)
{
    (void)state;
    bench b;
    sv_deployed d;
    sv_error err = { 0 };
    sv_pruning_plan plan = plan_of(SV_RULE_TOPK, 0.7, 0.4);
    put_tree("p", 3, 4);
    bench_open(&b, &plan, CLASSES, "p");
    sv_evaluation expected = evaluate(&b, NULL);
    put_file("m", b.model, &plan, "", "");
    assert_ok(sv_deployed_load(&d, in_folder("m"), &err), err);
    sv_removal_clear(&b.removal);
    assert_ok(sv_removal_record(&b.removal, d.pruning, &d.plan, BATCH, &err), err);
    sv_evaluation got = evaluate(&b, NULL);
    assert_true(got.loss == expected.loss && got.top1 == expected.top1 && got.macs == expected.macs && got.kept[1] == expected.kept[1]);
    bench_close(&b);
    sv_deployed_clear(&d);
}

static void a_dense_model_has_no_stages(void **state)
{
    (void)state;
    sv_pruning *pruning = NULL;
    sv_model *model = make_model(NULL, &pruning);
    sv_deployed d;
    sv_error err = { 0 };
    put_file("m", model, NULL, "", NULL);
    assert_ok(sv_deployed_load(&d, in_folder("m"), &err), err);
    assert_int_equal(d.plan.stages, 0);
    assert_same_weights(model, d.model);
    sv_deployed_clear(&d);
    sv_pruning_destroy(pruning);
    sv_model_destroy(model);
}

static void assert_refused(const char *name, const char *sentence)
{
    sv_deployed d;
    sv_error err = { 0 };
    sv_memory memory = sv_memory_now();
    memset(&d, 0x5a, sizeof d);
    sv_status status = sv_deployed_load(&d, in_folder(name), &err);
    if (status != SV_MODEL_FILE || !strstr(err.text, sentence))
        fail_msg("status %d, '%s'; expected '%s' in it", status, status ? err.text : "", sentence);
    assert_true(!d.model && !d.pruning && !d.classes && !d.config && d.plan.stages == 0);
    assert_int_equal(sv_memory_now().live, memory.live);
}

static void what_is_no_whole_model_is_refused(void **state)
{
    (void)state;
    sv_pruning_plan plan = plan_of(SV_RULE_TOPK, 0.7, 0.4), deep = plan;
    sv_pruning *pruning = NULL, *none = NULL;
    sv_model *model = make_model(&plan, &pruning), *dense = make_model(NULL, &none);
    sv_error err = { 0 };
    unsigned char *bytes = NULL;
    size_t count;
    deep.at[1] = 4; /* the model has blocks 0 to 3 */
    put_file("no text", model, &plan, NULL, "");
    put_file("odd text", model, &plan, "arch nonsense\n", "");
    put_file("odd plan", model, &plan, "", "nonsense\n");
    put_file("deep plan", model, &deep, "", "");
    put_file("no selectors", dense, &plan, "", "");
    put_file("good", model, &plan, "", "");
    assert_ok(sv_file_read_all(in_folder("good"), 1 << 24, SV_DATA, &bytes, &count, &err), err);
    assert_ok(sv_file_write_atomic(in_folder("cut"), bytes, count - 1, &err), err);
    sv_free(bytes);
    write_text(in_folder("text"), "no model");
    assert_refused("absent", "absent");
    assert_refused("text", "text");
    assert_refused("cut", "cut");
    assert_refused("no text", "is no checkpoint of Sieve: it does not say which model it holds; name it");
    assert_refused("odd text", "odd text");
    assert_refused("odd plan", "odd plan: line 1 of the pruning plan, 'nonsense', is not understood");
    assert_refused("deep plan", "the plan puts a selector before block 4, but the model has 4; the file is damaged");
    sv_log_set(log_keep, NULL, SV_WARNING); /* the table of what is missing */
    logged[0] = 0;
    assert_refused("no selectors", "no selectors");
    sv_log_set(NULL, NULL, SV_INFO);
    assert_non_null(strstr(logged, "selectors.0.norm.weight"));
    sv_pruning_destroy(pruning);
    sv_pruning_destroy(none);
    sv_model_destroy(model);
    sv_model_destroy(dense);
}

static void weights_of_a_named_backbone_make_a_dense_model(void **state)
{
    (void)state;
    sv_pruning *pruning = NULL;
    sv_model *model = make_model(NULL, &pruning);
    sv_deployed d;
    sv_error err = { 0 };
    put_file("w", model, NULL, NULL, NULL);
    assert_ok(sv_deployed_from_weights(&d, "vit_test", in_folder("w"), IMAGE, CLASSES, &err), err);
    assert_same_weights(model, d.model);
    assert_int_equal(d.plan.stages, 0);
    assert_true(!d.classes && !d.config);
    sv_deployed_clear(&d);
    sv_memory memory = sv_memory_now();
    assert_int_equal(sv_deployed_from_weights(&d, "vit_tets", in_folder("w"), IMAGE, CLASSES, &err), SV_USAGE);
    assert_non_null(strstr(err.text, "vit_test"));
    assert_true(!d.model && !d.pruning);
    assert_int_equal(sv_deployed_from_weights(&d, "vit_test", in_folder("absent"), IMAGE, CLASSES, &err), SV_MODEL_FILE);
    assert_true(!d.model && !d.pruning);
    assert_int_equal(sv_memory_now().live, memory.live);
    sv_pruning_destroy(pruning);
    sv_model_destroy(model);
}

static void its_pictures_go_through_the_transform_of_its_config(void **state)
{
    (void)state;
    sv_pruning *pruning = NULL;
    sv_transform_options o, defaults = sv_transform_defaults();
    sv_error err = { 0 };
    sv_deployed d = { .model = make_model(NULL, &pruning) };
    static char config[] = "[model]\narch = x\ncrop_ratio = 9\n\n[data]\ntrain = \"${NOT_SET} # x\"\nimage_size = 96\ninterpolation = bilinear\n"
                           "resize_order = pillow12\ncrop_ratio = 0.9\ncrop_round = up\nmean = 0.5,0.25,0\ndeviation = 1,2,3\nnew_key = 7\n\n[train]\nmean = 4";
    static char wrong[] = "[data]\nmean = 0.5\n", worse[] = "[data]\ncrop_ratio = much\n";
    assert_ok(sv_deployed_transform(&d, &o, &err), err);
    assert_true(o.size == IMAGE && o.crop_ratio == defaults.crop_ratio && o.mean[1] == defaults.mean[1]);
    d.config = config;
    assert_ok(sv_deployed_transform(&d, &o, &err), err);
    assert_true(o.size == IMAGE && o.crop_ratio == 0.9 && o.crop_round == SV_ROUND_UP && o.interpolation == SV_BILINEAR && o.pass_order == SV_ACROSS_FIRST);
    assert_true(o.mean[1] == 0.25f && o.deviation[2] == 3.0f);
    d.config = wrong;
    assert_int_equal(sv_deployed_transform(&d, &o, &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "data.mean has 1 values"));
    d.config = worse;
    assert_int_equal(sv_deployed_transform(&d, &o, &err), SV_MODEL_FILE);
    assert_int_equal(err.code, SV_MODEL_FILE);
    sv_pruning_destroy(pruning);
    sv_model_destroy(d.model);
}

static void a_precision_is_set_by_name_and_a_wrong_name_changes_nothing(void **state)
{
    (void)state;
    sv_pruning *pruning = NULL;
    sv_model *model = make_model(NULL, &pruning);
    sv_deployed d = { .model = model }, empty = { 0 };
    sv_error err = { 0 };
    static const struct {
        const char *name;
        sv_precision precision;
    } cases[] = { { "bf16", SV_PRECISION_BF16 }, { "fp32", SV_PRECISION_FP32 }, { "bf16x3", SV_PRECISION_BF16X3 } };
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        assert_ok(sv_deployed_set_precision(&d, cases[i].name, &err), err);
        assert_int_equal(model->options.precision, cases[i].precision);
    }
    assert_ok(sv_deployed_set_precision(&d, NULL, &err), err);
    assert_int_equal(model->options.precision, SV_PRECISION_BF16X3);
    static const char *const wrong[] = { "", "fp16", "BF16", "bf16 ", "bf16x" };
    for (size_t i = 0; i < SV_COUNT(wrong); i++) {
        assert_int_equal(sv_deployed_set_precision(&d, wrong[i], &err), SV_USAGE);
        assert_non_null(strstr(err.text, "expected fp32, bf16 or bf16x3"));
        assert_int_equal(model->options.precision, SV_PRECISION_BF16X3);
    }
    assert_ok(sv_deployed_set_precision(&empty, "bf16", &err), err);
    sv_pruning_destroy(pruning);
    sv_model_destroy(model);
}

static void running_out_of_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    sv_pruning_plan plan = plan_of(SV_RULE_TOPK, 0.7, 0.4);
    sv_pruning *pruning = NULL;
    sv_model *model = make_model(&plan, &pruning);
    sv_error err = { 0 };
    bool survived = false;
    put_file("m", model, &plan, "", "");
    sv_memory memory = sv_memory_now();
    size_t descriptors = open_descriptors();
    for (uint64_t at = 1; at < 5000 && !survived; at++) {
        sv_deployed d;
        sv_fault_set(SV_FAULT_ALLOC, at, false);
        survived = sv_deployed_load(&d, in_folder("m"), &err) == SV_OK;
        sv_fault_set(SV_FAULT_ALLOC, 0, false);
        sv_deployed_clear(&d);
        assert_int_equal(sv_memory_now().live, memory.live);
        assert_int_equal(open_descriptors(), descriptors);
    }
    assert_true(survived);
    sv_pruning_destroy(pruning);
    sv_model_destroy(model);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(a_pruned_model_comes_back_with_plan_classes_and_config),
        WITH_FOLDER(what_it_answers_is_what_the_trained_model_answers),
        WITH_FOLDER(a_dense_model_has_no_stages),
        WITH_FOLDER(what_is_no_whole_model_is_refused),
        WITH_FOLDER(weights_of_a_named_backbone_make_a_dense_model),
        cmocka_unit_test(its_pictures_go_through_the_transform_of_its_config),
        cmocka_unit_test(a_precision_is_set_by_name_and_a_wrong_name_changes_nothing),
        WITH_FOLDER(running_out_of_memory_leaves_nothing_behind),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
