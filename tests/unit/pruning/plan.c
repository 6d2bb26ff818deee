/* pruning/{plan_text,work,selector}.c: plans as text, numbers that the literature prints, plans that cannot be. */
#include "test_pruning.h"

/* ---- text -------------------------------------------------------------------------------------------------------- */

static void printed_plans_come_back_exactly(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        world w = world_of(seed);
        sv_pruning_plan again = { 0 }, *plan = &w.options.plan;
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 3, 0, 0);
        sv_text one = { 0 }, two = { 0 };
        sv_error err = { 0 };
        plan->rule = (sv_decision_rule)sv_random_below(&random, 4);
        plan->min_keep = sv_random_below(&random, 9);
        for (size_t t = 0; t < plan->stages; t++) plan->threshold[t] = sv_random_uniform(&random);
        sv_plan_fit_grid(plan, 196);
        sv_plan_set_keep(plan, plan->keep);
        sv_plan_print(plan, &one);
        assert_true(!plan->stages || strncmp(one.data + strlen("method "), sv_method_name(plan->method), strlen(sv_method_name(plan->method))) == 0);
        assert_ok(sv_plan_parse(&again, one.data, "model.safetensors", &err), err);
        sv_plan_print(&again, &two);
        assert_string_equal(one.data, two.data);
        for (size_t t = 0; t < plan->stages; t++) assert_true(again.keep[t] == plan->keep[t] && again.threshold[t] == plan->threshold[t]);
        assert_int_equal(again.rule, plan->rule);
        assert_int_equal(again.package, plan->package);
        assert_int_equal(again.method, plan->stages ? plan->method : SV_METHOD_SPVIT);
        sv_text_clear(&one);
        sv_text_clear(&two);
    }
}

#define REST "rule topk\npackage wavg\nempty mask\nmin_keep 1\n"
#define TWO "method spvit\nstages 2\n" REST

static void broken_plans_are_refused_with_path_and_line(void **state)
{
    static const struct { const char *text, *part; } broken[] = {
        { "", "has no 'method'" },
        { "method spvit\n", "has no 'stages'" },
        { TWO "stage 3 0.7 137 0.5\n", "lists 1" },
        { TWO "stage 3 0.7 137 0.5\nstage 3 0.4 90 0.5\n", "line 8" },
        { TWO "stage 3 0.7 137 0.5\nstage 6 1.4 90 0.5\n", "line 8" },
        { TWO "stage 3 0.7 137\n", "line 7" },
        { TWO "stage 3 0.7 137 0.5 1\n", "line 7" },
        { TWO "stage 3 nan 137 0.5\n", "line 7" },
        { TWO "stage -3 0.7 137 0.5\n", "line 7" },
        { TWO "stages 2\n", "line 7" },
        { TWO "colour red\n", "'colour red'" },
        { TWO "rule\n", "line 7" },
        { TWO "\n", "line 7" },
        { "method spvit\nstages 0\n" REST, "method spvit with 0" },
        { "method none\nstages 1\n" REST "stage 3 0.7 137 0.5\n", "method none with 1" },
        { "method spvit\nstages 99999999999999999999\n" REST, "line 2" },
        { "method magic\n", "line 1" },
        { "method dynamicvit\nstages 0\nrule topk\npackage none\nempty mask\nmin_keep 1\n", "method dynamicvit with 0" },
        { "method dynamicvit\nstages 1\n" REST "stage 3 0.7 137 0.5\n", "dynamicvit with package tokens" },
    };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(broken); i++) {
        sv_pruning_plan plan = { .stages = 5 };
        sv_error err = { 0 };
        sv_status status = sv_plan_parse(&plan, broken[i].text, "old/run.safetensors", &err);
        if (status != SV_MODEL_FILE || !strstr(err.text, "old/run.safetensors") || !strstr(err.text, broken[i].part))
            fail_msg("expected a refusal that says '%s', got %d '%s'", broken[i].part, (int)status, status ? err.text : "");
        assert_int_equal(plan.stages, 5);
    }
}

static void any_cut_or_changed_byte_of_a_plan_is_refused_or_read_whole(void **state)
{
    static const char good[] = TWO "stage 3 0.7 137 0.5\nstage 6 0.49 96 0.5\n";
    (void)state;
    for (uint64_t seed = 0; seed < 3000; seed++) {
        char text[sizeof good];
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 4, 0, 0);
        sv_pruning_plan plan = { 0 };
        memcpy(text, good, sizeof good);
        if (seed % 2) text[sv_random_below(&random, sizeof good - 1)] = 0;
        else text[sv_random_below(&random, sizeof good - 1)] = (char)(1 + sv_random_below(&random, 127));
        if (sv_plan_parse(&plan, text, "x", NULL) == SV_OK) assert_int_equal(plan.stages, 2);
    }
}

/* ---- plans that cannot be ---------------------------------------------------------------------------------------- */

static void refuse(const sv_model_options *sizes, const sv_pruning_plan *plan, const char *part)
{
    sv_pruning_options options = { .plan = *plan };
    sv_pruning *pruning = NULL;
    sv_model *model = NULL;
    sv_error err = { 0 };
    assert_ok(sv_model_create(&model, "vit_test", sizes, &err), err);
    assert_int_equal(sv_pruning_create(&pruning, model, &options, &err), SV_USAGE);
    assert_non_null(strstr(err.text, part));
    assert_null(pruning);
    sv_model_destroy(model);
}

static void plans_that_do_not_fit_the_model_are_refused(void **state)
{
    (void)state;
    refuse(NULL, &(sv_pruning_plan){ .stages = 1, .at = { 4 } }, "behind the last");
    refuse(NULL, &(sv_pruning_plan){ .stages = 2, .at = { 2, 2 } }, "must rise");
    refuse(NULL, &(sv_pruning_plan){ .stages = SV_MOST_STAGES + 1 }, "too many");
    refuse(&(sv_model_options){ .width = 12, .heads = 2 }, &(sv_pruning_plan){ .stages = 1 }, "multiple of 4");
    refuse(&(sv_model_options){ .width = 18, .heads = 2 }, &(sv_pruning_plan){ .stages = 1, .method = SV_METHOD_DYNAMICVIT, .package = SV_CHOICE_NONE }, "multiple of 4");
    refuse(NULL, &(sv_pruning_plan){ .stages = 1, .method = SV_METHOD_DYNAMICVIT, .package = SV_CHOICE_MEAN }, "no package tokens");
}

/* ---- numbers of the literature (spec latency 4.2-4.5) ------------------------------------------------------------- */

typedef struct known { const char *name; uint64_t parameters, dense, append, bare, selectors; } known;

static void parameters_and_macs_are_those_of_the_literature(void **state)
{
    static const known rows[] = {
        { "deit_t", 5738236, 1253683200, 793341984, 784068078, 8670240 },
        { "deit_s", 22071589, 4598882304, 2929723584, 2895250452, 17350848 },
        { "deit_b", 86588932, 17563828224, 11231595264, 11098947792, 34732800 },
    };
    static const double keep[] = { 0.7, 0.7 * 0.7, 0.343 };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(rows); i++) {
        sv_pruning_options options = { .plan = { .stages = 3, .at = { 3, 6, 9 } } };
        sv_model *model = NULL;
        sv_pruning *pruning = NULL;
        sv_error err = { 0 };
        uint64_t parameters = 0;
        assert_ok(sv_model_create(&model, rows[i].name, NULL, &err), err);
        sv_plan_fit(&options.plan, model);
        sv_plan_set_keep(&options.plan, keep);
        assert_int_equal(options.plan.count[1], 96);
        assert_ok(sv_pruning_create(&pruning, model, &options, &err), err);
        for (size_t k = 0; k < model->parameters->count; k++) parameters += model->parameters->items[k]->count;
        assert_int_equal(parameters, rows[i].parameters);
        assert_int_equal(sv_model_macs(model), rows[i].dense);
        assert_int_equal(sv_pruned_macs(model, &options.plan, options.plan.count), rows[i].append);
        const sv_place place = sv_model_place(model, 3);
        assert_int_equal(sv_selector_macs(SV_METHOD_SPVIT, &place, 196) + sv_selector_macs(SV_METHOD_SPVIT, &place, 138) + sv_selector_macs(SV_METHOD_SPVIT, &place, 98), rows[i].selectors);
        options.plan.package = SV_CHOICE_NONE;
        assert_int_equal(sv_pruned_macs(model, &options.plan, options.plan.count), rows[i].bare);
        sv_pruning_destroy(pruning);
        sv_model_destroy(model);
    }
}

/* Spec DynamicViT 1.3, 4.3: multiply-adds in units of the fourth digit behind a thousand million where the table has no more. */
typedef struct rho_row { double rho; size_t count[3]; } rho_row;
static const rho_row rhos[] = { { .9, { 176, 158, 142 } }, { .8, { 156, 125, 100 } }, { .7, { 137, 96, 67 } }, { .6, { 117, 70, 42 } }, { .5, { 98, 49, 24 } } };

static uint64_t dynamicvit_macs(const sv_model *model, double rho, const size_t *expected)
{
    sv_pruning_plan plan = { .stages = 3, .at = { 3, 6, 9 }, .method = SV_METHOD_DYNAMICVIT, .package = SV_CHOICE_NONE };
    const double keep[] = { rho, rho * rho, rho * rho * rho };
    const sv_place place = sv_model_place(model, 3);
    uint64_t c = model->options.width, tokens = 196, predictors = 0;
    sv_plan_fit_grid(&plan, 196);
    sv_plan_set_keep(&plan, keep);
    for (size_t t = 0; t < 3; t++) {
        assert_int_equal(plan.count[t], expected[t]);
        assert_int_equal(sv_selector_macs(SV_METHOD_DYNAMICVIT, &place, tokens) * 8, tokens * (13 * c * c + 4 * c)); /* N (1.625 C^2 + C/2) */
        predictors += sv_selector_macs(SV_METHOD_DYNAMICVIT, &place, tokens);
        tokens = plan.count[t];
    }
    assert_true(predictors > 0);
    return sv_pruned_macs(model, &plan, plan.count);
}

static void dynamicvit_parameters_and_macs_are_those_of_the_spec(void **state)
{
    static const struct { const char *name; size_t width, heads; uint64_t parameters; double giga[5]; } models[] = {
        { "deit_t", 0, 0, 5899582, { 1.0915, 0.9319, 0.8012, 0.6901, 0.6016 } },
        { "deit_s", 256, 4, 10304942, { 1.8682, 1.5979, 1.3746, 1.1833, 1.0301 } },
        { "deit_s", 0, 0, 22774414, { 4.0407, 3.4631, 2.9809, 2.5647, 2.2291 } },
        { "deit_b", 0, 0, 89452846, { 0, 0, 11.4758, 0, 8.5613 } },
    };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(models); i++) {
        sv_pruning_options options = { .plan = { .stages = 3, .at = { 3, 6, 9 }, .method = SV_METHOD_DYNAMICVIT, .package = SV_CHOICE_NONE } };
        sv_model_options sizes = { .width = models[i].width, .heads = models[i].heads };
        sv_model *model = NULL;
        sv_pruning *pruning = NULL;
        sv_error err = { 0 };
        uint64_t parameters = 0;
        assert_ok(sv_model_create(&model, models[i].name, &sizes, &err), err);
        assert_ok(sv_pruning_create(&pruning, model, &options, &err), err);
        for (size_t k = 0; k < model->parameters->count; k++) parameters += model->parameters->items[k]->count;
        assert_int_equal(parameters, models[i].parameters);
        assert_non_null(sv_parameters_find(model->parameters, "score_predictor.2.out_conv.4.bias"));
        for (size_t r = 0; r < SV_COUNT(rhos); r++) {
            uint64_t macs = dynamicvit_macs(model, rhos[r].rho, rhos[r].count);
            if (models[i].giga[r] > 0) assert_int_equal((macs + 50000) / 100000, (uint64_t)(models[i].giga[r] * 1e4 + 0.5));
        }
        if (i == 2) assert_int_equal(dynamicvit_macs(model, 0.7, rhos[2].count), 2980897728);
        if (i == 3) assert_int_equal(dynamicvit_macs(model, 0.7, rhos[2].count), 11475801984);
        sv_pruning_destroy(pruning);
        sv_model_destroy(model);
    }
}

static void block_macs_on_the_keep_grid_are_those_of_the_literature(void **state)
{
    static const struct { size_t tokens; uint64_t t, s, b; } grid[] = {
        { 197, 102049152, 378391296, 1453954560 }, { 177, 90329472, 337257216, 1300907520 }, { 157, 78916992, 296737536, 1149089280 },
        { 138, 68359680, 258812928, 1006000128 },  { 118, 57546240, 219491328, 856578048 },  { 59, 27436416, 107072256, 422942208 },
    };
    sv_model *t = NULL, *s = NULL, *b = NULL;
    (void)state;
    assert_int_equal(sv_model_create(&t, "deit_t", NULL, NULL) + sv_model_create(&s, "deit_s", NULL, NULL) + sv_model_create(&b, "deit_b", NULL, NULL), SV_OK);
    for (size_t i = 0; i < SV_COUNT(grid); i++) {
        assert_int_equal(sv_model_block_macs(t, grid[i].tokens), grid[i].t);
        assert_int_equal(sv_model_block_macs(s, grid[i].tokens), grid[i].s);
        assert_int_equal(sv_model_block_macs(b, grid[i].tokens), grid[i].b);
    }
    sv_model_destroy(t);
    sv_model_destroy(s);
    sv_model_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(printed_plans_come_back_exactly),
        cmocka_unit_test(broken_plans_are_refused_with_path_and_line),
        cmocka_unit_test(any_cut_or_changed_byte_of_a_plan_is_refused_or_read_whole),
        cmocka_unit_test(plans_that_do_not_fit_the_model_are_refused),
        cmocka_unit_test(parameters_and_macs_are_those_of_the_literature),
        cmocka_unit_test(dynamicvit_parameters_and_macs_are_those_of_the_spec),
        cmocka_unit_test(block_macs_on_the_keep_grid_are_those_of_the_literature),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
