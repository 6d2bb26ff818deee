/* eval/onnx_*.c: random models, plans and package forms go through writer, reader and interpreter, and answer as Sieve does; what cannot be
 * exported is refused, and nothing is left behind. */
#include "tests/unit/eval/test_onnx.h"

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

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

static world world_with_selectors(void)
{
    uint64_t seed = 0;
    while (!world_of(seed).options.plan.stages) seed++;
    return world_of(seed);
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
        cmocka_unit_test(plans_a_graph_cannot_say_are_refused),
        cmocka_unit_test(weights_that_are_no_numbers_are_refused),
        cmocka_unit_test(unknown_ops_and_foreign_inputs_are_named),
    };
    return cmocka_run_group_tests(tests, set_up, remove_folder);
}
