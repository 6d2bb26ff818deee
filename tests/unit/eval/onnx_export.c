/* eval/onnx_*.c: random models, plans and package forms go through writer, reader and interpreter, and answer as Sieve does; what cannot be
 * exported is refused, and nothing is left behind. */
#include "tests/unit/pruning/test_pruning.h"

#include "eval/onnx_export.h"
#include "eval/onnx_run.h"

enum { WORLDS = 20 };

/* A world's student as it would be loaded from a file; what is not needed of the world is not made. */
static sv_deployed deploy(world *w)
{
    sv_deployed d = { 0 };
    sv_error err = { 0 };
    sv_random random = sv_random_at(w->seed, SV_FOR_TEST, 7, 0, 0);
    sv_pruning_plan *plan = &w->options.plan;
    plan->rule = SV_RULE_THRESHOLD;
    plan->min_keep = 1 + sv_random_below(&random, 2);
    sv_plan_fit_grid(plan, w->sizes.image / 4 * (w->sizes.image / 4));
    sv_plan_set_keep(plan, plan->keep);
    for (size_t t = 0; t < plan->stages; t++) plan->threshold[t] = sv_random_uniform(&random);
    assert_ok(sv_model_create(&d.model, "vit_test", &w->sizes, &err), err);
    assert_ok(sv_pruning_create(&d.pruning, d.model, &w->options, &err), err);
    assert_ok(sv_model_allocate(d.model, false, &err), err);
    sv_model_initialise(d.model, w->seed);
    sv_pruning_initialise(d.pruning, w->seed);
    wake_selectors(d.model, w->seed);
    d.plan = *plan;
    return d;
}

static void export_one(sv_deployed *d, uint64_t seed, sv_onnx_mode mode, sv_onnx_type weights, size_t batch, uint64_t above)
{
    const sv_onnx_options options = { .mode = mode, .weights = weights, .batch = batch, .external_above = above, .licence = "Apache-2.0" };
    sv_onnx_report report = { 0 };
    sv_error err = { 0 };
    if (sv_onnx_export(d, NULL, in_folder("m.onnx"), &options, &report, &err))
        fail_msg("world %d, mode %d: %s", (int)seed, (int)mode, err.text);
    if (!report.compared) fail_msg("world %d, mode %d: not compared", (int)seed, (int)mode);
}

static void exports_answer_as_sieve_does(void **state)
{
    static const sv_onnx_type kinds[] = { SV_ONNX_FLOAT, SV_ONNX_FLOAT16, SV_ONNX_BFLOAT16, SV_ONNX_INT8 };
    (void)state;
    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        world w = world_of(seed);
        sv_deployed d = deploy(&w);
        for (int mode = SV_ONNX_STATIC; mode <= SV_ONNX_DYNAMIC; mode++)
            export_one(&d, seed, (sv_onnx_mode)mode, kinds[seed % 4], mode == SV_ONNX_STATIC ? seed % 4 : 0, seed % 2 ? 2000 : 0);
        sv_deployed_clear(&d);
    }
}

static void thresholds_may_keep_all_or_one(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed < 108; seed++) {
        world w = world_of(seed);
        sv_deployed d = deploy(&w);
        for (size_t t = 0; t < d.plan.stages; t++) d.plan.threshold[t] = seed % 2 ? 0 : 1;
        export_one(&d, seed, SV_ONNX_DYNAMIC, SV_ONNX_FLOAT, 0, 0);
        sv_deployed_clear(&d);
    }
}

/* ---- families ---------------------------------------------------------------------------------------------------- */

/* Numbers that differ from the starting values of norms, factors and statistics, so that each of them shows in the logits. */
static void shake(sv_model *model, uint64_t seed)
{
    sv_random random = sv_random_at(seed, SV_FOR_TEST, 9, 0, 0);
    for (size_t i = 0; i < model->parameters->count; i++) {
        sv_parameter *p = model->parameters->items[i];
        const bool table = strstr(p->name, "position_bias_table") != NULL;
        for (size_t k = 0; k < p->count && (p->dims == 1 || table); k++) p->value[k] += (sv_real)(0.2 + 0.3 * sv_random_uniform(&random));
    }
    sv_parameters_changed(model->parameters);
}

/* plan: of the method, with its places and keep ratios; NULL: dense. */
static sv_deployed model_of(const char *backbone, const sv_model_options *sizes, const sv_pruning_plan *plan, uint64_t seed)
{
    sv_deployed d = { 0 };
    sv_error err = { 0 };
    sv_pruning_options options = { .mask_clamp = 30, .tau = 1 };
    sv_random random = sv_random_at(seed, SV_FOR_TEST, 11, 0, 0);
    if (plan) options.plan = *plan;
    options.plan.min_keep = 1;
    assert_ok(sv_model_create(&d.model, backbone, sizes, &err), err);
    sv_plan_fit(&options.plan, d.model);
    sv_plan_set_keep(&options.plan, options.plan.keep);
    for (size_t t = 0; t < options.plan.stages; t++) options.plan.threshold[t] = sv_random_uniform(&random);
    assert_ok(sv_pruning_create(&d.pruning, d.model, &options, &err), err);
    assert_ok(sv_model_allocate(d.model, false, &err), err);
    sv_model_initialise(d.model, seed);
    if (plan) sv_pruning_initialise(d.pruning, seed), wake_selectors(d.model, seed);
    shake(d.model, seed);
    d.plan = *sv_pruning_plan_of(d.pruning);
    return d;
}

static void every_family_answers_as_sieve_does(void **state)
{
    static const struct family_case {
        const char *backbone;
        sv_model_options sizes;
    } cases[] = {
        { "lvvit_test", { 0 } },
        { "lvvit_test", { .image = 48 } },
        { "lvvit_test", { .depth = 3, .width = 20 } },
        { "lvvit_nano", { 0 } },
        { "pit_test", { 0 } },
        { "pit_test", { .image = 23 } },
        { "pit_test", { .distilled = true } },
        { "pit_nano", { 0 } },
        { "swin_test", { 0 } },
        { "swin_test", { .image = 16 } },
        { "swin_test", { .image = 64 } },
        { "swin_nano", { 0 } },
        { "convnext_test", { 0 } },
        { "convnext_test", { .image = 48 } },
        { "convnext_nano", { 0 } },
    };
    static const sv_onnx_type kinds[] = { SV_ONNX_FLOAT, SV_ONNX_FLOAT16, SV_ONNX_BFLOAT16, SV_ONNX_INT8 };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        sv_deployed d = model_of(cases[i].backbone, &cases[i].sizes, NULL, i);
        const bool small = strstr(cases[i].backbone, "_test") != NULL;
        for (size_t batch = 0; batch < (small ? 3 : 1); batch++)
            export_one(&d, i, SV_ONNX_STATIC, kinds[(i + batch) % 4], batch, i % 2 ? 2000 : 0);
        if (small) export_one(&d, i, SV_ONNX_DYNAMIC, SV_ONNX_FLOAT, 0, 0);
        sv_deployed_clear(&d);
    }
}

/* ---- pruned ------------------------------------------------------------------------------------------------------ */

typedef struct pruned_case {
    const char *backbone;
    sv_model_options sizes;
    sv_pruning_plan plan; /* rule: threshold exports both modes, topk the static one */
} pruned_case;

static const sv_pruning_plan two_selectors = { .stages = 2, .at = { 0, 2 }, .keep = { 0.7, 0.4 } };

static void pruned_models_answer_as_sieve_does(const pruned_case *cases, size_t count)
{
    static const sv_onnx_type kinds[] = { SV_ONNX_FLOAT, SV_ONNX_FLOAT16, SV_ONNX_BFLOAT16, SV_ONNX_INT8 };
    for (size_t i = 0; i < count; i++) {
        sv_deployed d = model_of(cases[i].backbone, &cases[i].sizes, &cases[i].plan, 50 + i);
        for (size_t batch = 0; batch < 3; batch++) export_one(&d, i, SV_ONNX_STATIC, kinds[(i + batch) % 4], batch, i % 2 ? 2000 : 0);
        if (d.plan.rule == SV_RULE_THRESHOLD) export_one(&d, i, SV_ONNX_DYNAMIC, SV_ONNX_FLOAT, 0, 0);
        sv_deployed_clear(&d);
    }
}

/* Its second head takes the largest answer of the patches that are left, no package's. */
static void lvvit_with_selectors(void **state)
{
    const sv_pruning_plan predictors = { .stages = 2, .at = { 0, 2 }, .keep = { 0.7, 0.4 }, .method = SV_METHOD_DYNAMICVIT, .package = SV_CHOICE_NONE };
    sv_pruning_plan sum = two_selectors, zeros = two_selectors, one = two_selectors;
    sum.package = SV_CHOICE_SUM;
    zeros.empty = SV_EMPTY_KEEP_ZERO, zeros.keep[0] = 1;
    one.keep[1] = 0.01;
    const pruned_case cases[] = {
        { "lvvit_test", { .image = 64, .depth = 3 }, two_selectors }, { "lvvit_test", { .image = 64, .depth = 3 }, predictors },
        { "lvvit_test", { .image = 48, .depth = 4 }, sum },           { "lvvit_test", { .image = 48, .depth = 3 }, zeros },
        { "lvvit_test", { .image = 80, .depth = 3 }, one },
    };
    (void)state;
    pruned_models_answer_as_sieve_does(cases, SV_COUNT(cases));
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

static world world_with_selectors(void)
{
    uint64_t seed = 0;
    while (!world_of(seed).options.plan.stages) seed++;
    return world_of(seed);
}

static void refuse(sv_deployed *d, const sv_onnx_options *options, sv_status code, const char *part)
{
    sv_error err = { 0 };
    sv_names names = { 0 };
    sv_status status = sv_onnx_export(d, NULL, in_folder("never.onnx"), options, NULL, &err);
    if (status != code || !strstr(err.text, part)) fail_msg("expected %d with '%s', got %d '%s'", (int)code, part, (int)status, err.text);
    assert_ok(sv_folder_list(test_folder, SV_DATA, &names, &err), err);
    for (size_t i = 0; i < names.count; i++) assert_null(strstr(names.items[i], "never"));
    assert_false(sv_path_exists(in_folder(".never.onnx.partial")));
    sv_names_clear(&names);
}

static void plans_a_graph_cannot_say_are_refused(void **state)
{
    world w = world_with_selectors();
    sv_deployed d = deploy(&w);
    const sv_onnx_options fixed = { .mode = SV_ONNX_STATIC, .weights = SV_ONNX_FLOAT },
                          open = { .mode = SV_ONNX_DYNAMIC, .weights = SV_ONNX_FLOAT };
    sv_onnx_options two = open;
    (void)state;
    two.batch = 2;
    refuse(&d, &two, SV_USAGE, "one picture at a time");
    d.plan.rule = SV_RULE_TOPK;
    refuse(&d, &open, SV_USAGE, "pruning.rule = topk");
    d.plan.rule = SV_RULE_THRESHOLD;
    d.plan.min_keep = 0;
    refuse(&d, &fixed, SV_USAGE, "min_keep");
    sv_deployed_clear(&d);
}

static void pruned_forms_that_have_no_graph_are_refused(void **state)
{
    static const char *const backbones[] = { "pit_test", "swin_test" };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(backbones); i++) {
        sv_deployed d = model_of(backbones[i], NULL, &(sv_pruning_plan){ .stages = 1, .at = { 1 }, .keep = { 0.5 } }, i);
        refuse(&d, &(sv_onnx_options){ .weights = SV_ONNX_FLOAT }, SV_USAGE, "cannot go to ONNX");
        sv_deployed_clear(&d);
    }
}

static void weights_that_are_no_numbers_are_refused(void **state)
{
    world w = world_with_selectors();
    sv_deployed d = deploy(&w);
    sv_parameter *head = sv_parameters_find(d.model->parameters, "head.weight");
    (void)state;
    head->value[1] = (sv_real)1e6;
    refuse(&d, &(sv_onnx_options){ .weights = SV_ONNX_FLOAT16 }, SV_MODEL_FILE, "beyond float16");
    head->value[1] = (sv_real)NAN;
    refuse(&d, &(sv_onnx_options){ .weights = SV_ONNX_FLOAT }, SV_MODEL_FILE, "head.weight");
    sv_deployed_clear(&d);
}

/* ---- the interpreter --------------------------------------------------------------------------------------------- */

static void unknown_ops_and_foreign_inputs_are_named(void **state)
{
    sv_onnx_graph *graph = NULL;
    sv_onnx_model model = { 0 };
    sv_error err = { 0 };
    float number = 1;
    sv_onnx_array in = { .type = SV_ONNX_FLOAT, .rank = 1, .dims = { 1 }, .count = 1, .data = &number }, out[1] = { { 0 } };
    (void)state;
    assert_ok(sv_onnx_create(&graph, "g", &err), err);
    sv_onnx_value x = sv_onnx_input(graph, "x", SV_ONNX_FLOAT, 1, &(sv_onnx_dim){ .size = 1 });
    x = sv_onnx_node(graph, &(sv_onnx_call){ .op = "Cosh", .inputs = 1, .input = { x } });
    sv_onnx_output(graph, x, "y", SV_ONNX_FLOAT, 1, &(sv_onnx_dim){ .size = 1 });
    assert_ok(sv_onnx_write(graph, in_folder("cosh.onnx"), 0, NULL, NULL, &err), err);
    assert_ok(sv_onnx_read(&model, in_folder("cosh.onnx"), NULL, &err), err);
    assert_int_equal(sv_onnx_run(&model, &in, out, &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "Cosh"));
    in.dims[0] = 2;
    assert_int_equal(sv_onnx_run(&model, &in, out, &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "input 0"));
    sv_onnx_array_clear(&out[0]);
    sv_onnx_clear(&model);
    sv_onnx_destroy(graph);
}

static int set_up(void **state)
{
    sv_kernels_init();
    return make_folder(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exports_answer_as_sieve_does),
        cmocka_unit_test(thresholds_may_keep_all_or_one),
        cmocka_unit_test(every_family_answers_as_sieve_does),
        cmocka_unit_test(lvvit_with_selectors),
        cmocka_unit_test(plans_a_graph_cannot_say_are_refused),
        cmocka_unit_test(pruned_forms_that_have_no_graph_are_refused),
        cmocka_unit_test(weights_that_are_no_numbers_are_refused),
        cmocka_unit_test(unknown_ops_and_foreign_inputs_are_named),
    };
    return cmocka_run_group_tests(tests, set_up, remove_folder);
}
