/* eval/onnx_flat.c, onnx_freeze.c ...: models pruned in every form and by every method, on every backbone that has it, answer as Sieve does and keep the
 * same tokens; what cannot go out says so. */
#include "tests/unit/eval/test_onnx.h"

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

/* Forms of the package, with nothing, all but one or some dropped. */
static size_t plans_of(sv_pruning_plan *plans, sv_pruning_plan base)
{
    for (size_t i = 0; i < 7; i++) plans[i] = base;
    plans[1].package = SV_CHOICE_SUM;
    plans[2].package = SV_CHOICE_MEAN, plans[2].empty = SV_EMPTY_KEEP_ZERO;
    plans[3].package = SV_CHOICE_NONE;
    for (size_t t = 0; t < base.stages; t++) plans[5].keep[t] = 0.01, plans[6].keep[t] = 1;
    plans[4].keep[0] = 1,
    plans[4].empty = base.at[0] % 2 ? SV_EMPTY_KEEP_ZERO : SV_EMPTY_MASK; /* a package that waits for something to be dropped */
    plans[6].package = SV_CHOICE_SUM;
    return 7;
}

static void in_all_plans(const char *backbone, const sv_pruning_plan *places, size_t place_count, const sv_model_options *sizes,
                         size_t size_count)
{
    for (size_t i = 0; i < place_count; i++) {
        sv_pruning_plan plans[7];
        pruned_case cases[7];
        const size_t count = plans_of(plans, places[i]);
        for (size_t k = 0; k < count; k++) cases[k] = (pruned_case){ backbone, sizes[(i + k) % size_count], plans[k] };
        for (size_t k = 0; k < count; k++) cases[k].plan.rule = SV_RULE_TOPK;
        pruned_models_answer_as_sieve_does(cases, count);
    }
}

/* Rows that wait in their grid, a package that crosses the steps between stages. */
static void pit_with_selectors(void **state)
{
    static const sv_pruning_plan places[] = {
        { .stages = 2, .at = { 0, 2 }, .keep = { 0.7, 0.5 } },
        { .stages = 3, .at = { 0, 1, 2 }, .keep = { 0.8, 0.7, 0.3 } },
        { .stages = 1, .at = { 1 }, .keep = { 0.6 } },
        { .stages = 2, .at = { 0, 3 }, .keep = { 0.6, 0.5 } },
    };
    static const sv_model_options sizes[] = { { 0 }, { .image = 23 }, { .distilled = true } };
    (void)state;
    in_all_plans("pit_test", places, SV_COUNT(places), sizes, SV_COUNT(sizes));
}

/* Windows, whole and shifted, in which cells are missing, and a package that all of them see. */
static void swin_with_selectors(void **state)
{
    static const sv_pruning_plan places[] = {
        { .stages = 2, .at = { 0, 3 }, .keep = { 0.6, 0.5 } },
        { .stages = 3, .at = { 0, 1, 2 }, .keep = { 0.8, 0.3, 0.6 } },
        { .stages = 2, .at = { 1, 4 }, .keep = { 0.4, 0.5 } },
    };
    static const sv_model_options sizes[] = { { 0 }, { .image = 16 }, { .image = 64 } };
    (void)state;
    in_all_plans("swin_test", places, SV_COUNT(places), sizes, 2);
    in_all_plans("swin_test", places, 1, sizes + 2, 1);
}

/* Its second head takes the largest answer of the patches that are left, no package's. */
static void lvvit_with_selectors(void **state)
{
    const sv_pruning_plan predictors = {
        .stages = 2, .at = { 0, 2 }, .keep = { 0.7, 0.4 }, .method = SV_METHOD_DYNAMICVIT, .package = SV_CHOICE_NONE
    };
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

/* Rows that take the slow way and rows that take the fast one, in one stage. */
static void two_paths(void **state)
{
    static const sv_pruning_plan plans[] = {
        { .stages = 1, .at = { 1 }, .keep = { 0.4 }, .method = SV_METHOD_DYNAMICVIT, .package = SV_CHOICE_NONE, .rule = SV_RULE_TOPK },
        { .stages = 1, .at = { 2 }, .keep = { 0.01 }, .method = SV_METHOD_DYNAMICVIT, .package = SV_CHOICE_NONE, .rule = SV_RULE_TOPK },
        { .stages = 1, .at = { 2 }, .keep = { 1 }, .method = SV_METHOD_DYNAMICVIT, .package = SV_CHOICE_NONE, .rule = SV_RULE_TOPK },
        { .stages = 1, .at = { 0 }, .keep = { 0.5 }, .method = SV_METHOD_DYNAMICVIT, .package = SV_CHOICE_NONE, .rule = SV_RULE_TOPK },
    };
    const sv_pruning_plan convnext = { .stages = 2,
                                       .at = { 1, 2 },
                                       .keep = { 0.7, 0.3 },
                                       .method = SV_METHOD_DYNAMICVIT,
                                       .package = SV_CHOICE_NONE,
                                       .rule = SV_RULE_TOPK },
                          swin = { .stages = 2,
                                   .at = { 2, 3 },
                                   .keep = { 0.3, 0.7 },
                                   .method = SV_METHOD_DYNAMICVIT,
                                   .package = SV_CHOICE_NONE,
                                   .rule = SV_RULE_TOPK };
    pruned_case cases[2 * SV_COUNT(plans) + 2] = { { "convnext_test", { .image = 48 }, convnext }, { "swin_test", { .image = 64 }, swin } };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(plans); i++) {
        cases[2 + 2 * i] = (pruned_case){ "convnext_test", { 0 }, plans[i] };
        cases[3 + 2 * i] = (pruned_case){ "swin_test", { 0 }, plans[i] };
    }
    pruned_models_answer_as_sieve_does(cases, SV_COUNT(cases));
}

/* Scores that nobody learns, between blocks and inside them; merging in every block. */
static void methods_that_learn_nothing(void **state)
{
    static const sv_method methods[] = { SV_METHOD_RANDOM, SV_METHOD_ATTENTION, SV_METHOD_EVIT };
    static const sv_package_choice forms[] = { SV_CHOICE_NONE, SV_CHOICE_NONE, SV_CHOICE_SUM };
    static const sv_model_options sizes[] = { { .image = 16, .depth = 4 },
                                              { .image = 20, .depth = 4, .distilled = true },
                                              { .image = 28, .depth = 5 } };
    static const size_t at[][2] = { { 1, 3 }, { 1, 2 } };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(methods); i++) {
        pruned_case cases[8];
        size_t count = 0;
        for (size_t k = 0; k < SV_COUNT(sizes); k++) {
            const sv_pruning_plan plan = { .stages = 2,
                                           .at = { at[k % 2][0], at[k % 2][1] },
                                           .keep = { 0.7, 0.4 },
                                           .method = methods[i],
                                           .package = forms[i],
                                           .rule = SV_RULE_TOPK };
            cases[count++] = (pruned_case){ "vit_test", sizes[k], plan };
        }
        cases[count] = (pruned_case){ "lvvit_test", { .image = 64, .depth = 4 }, cases[0].plan };
        pruned_models_answer_as_sieve_does(cases, count + 1);
    }
}

static void merged_tokens(void **state)
{
    static const double keep[] = { 0.5, 0.25, 1, 0.04 };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(keep); i++) {
        const sv_pruning_plan plan = {
            .stages = 1, .at = { 0 }, .keep = { keep[i] }, .method = SV_METHOD_TOME, .package = SV_CHOICE_NONE, .rule = SV_RULE_TOPK
        };
        const pruned_case cases[] = {
            { "vit_test", { .image = 20, .depth = 4 }, plan },   { "vit_test", { .image = 24, .depth = 3, .distilled = true }, plan },
            { "vit_test", { .image = 4, .depth = 2 }, plan },    { "vit_test", { .image = 28, .depth = 5 }, plan },
            { "lvvit_test", { .image = 64, .depth = 3 }, plan },
        };
        pruned_models_answer_as_sieve_does(cases, SV_COUNT(cases));
    }
}

/* A graph that does otherwise than Sieve for the same answer says so in its card, others do not. */
static void cards_say_what_a_graph_does_otherwise(void **state)
{
    static const struct {
        const char *backbone, *said;
        sv_method method;
    } cases[] = { { "swin_test", "dropped ones masked", SV_METHOD_SPVIT },
                  { "vit_test", "drawn once", SV_METHOD_RANDOM },
                  { "pit_test", NULL, SV_METHOD_SPVIT } };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        const sv_pruning_plan plan = {
            .stages = 1, .at = { 1 }, .keep = { 0.5 }, .method = cases[i].method, .package = SV_CHOICE_NONE, .rule = SV_RULE_TOPK
        };
        sv_deployed d = model_of(cases[i].backbone, NULL, &plan, i);
        sv_onnx_model model = { 0 };
        sv_error err = { 0 };
        const char *note = NULL;
        export_one(&d, i, SV_ONNX_STATIC, SV_ONNX_FLOAT, 0, 0);
        assert_ok(sv_onnx_read(&model, in_folder("m.onnx"), NULL, &err), err);
        for (size_t k = 0; k < model.metadata_count; k++)
            if (strcmp(model.metadata[2 * k], "graph") == 0) note = model.metadata[2 * k + 1];
        if (cases[i].said ? !note || !strstr(note, cases[i].said) : note != NULL)
            fail_msg("%s: '%s'", cases[i].backbone, note ? note : "nothing");
        sv_onnx_clear(&model);
        sv_deployed_clear(&d);
    }
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

static void pruned_forms_that_have_no_graph_are_refused(void **state)
{
    sv_deployed d = model_of("pit_test", NULL, &(sv_pruning_plan){ .stages = 1, .at = { 1 }, .keep = { 0.5 } }, 1);
    (void)state;
    refuse(&d, &(sv_onnx_options){ .mode = SV_ONNX_DYNAMIC, .weights = SV_ONNX_FLOAT }, SV_USAGE, "by rank alone");
    sv_deployed_clear(&d);
    d = model_of("vit_test", NULL,
                 &(sv_pruning_plan){ .stages = 1, .at = { 1 }, .keep = { 0.5 }, .method = SV_METHOD_ATTENTION, .package = SV_CHOICE_NONE },
                 1);
    refuse(&d, &(sv_onnx_options){ .mode = SV_ONNX_DYNAMIC, .weights = SV_ONNX_FLOAT }, SV_USAGE,
           "attention on vit_test goes to ONNX by rank alone");
    sv_deployed_clear(&d);
}

static int set_up(void **state)
{
    sv_kernels_init();
    return make_folder(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lvvit_with_selectors),
        cmocka_unit_test(pit_with_selectors),
        cmocka_unit_test(swin_with_selectors),
        cmocka_unit_test(two_paths),
        cmocka_unit_test(methods_that_learn_nothing),
        cmocka_unit_test(merged_tokens),
        cmocka_unit_test(cards_say_what_a_graph_does_otherwise),
        cmocka_unit_test(pruned_forms_that_have_no_graph_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, remove_folder);
}
