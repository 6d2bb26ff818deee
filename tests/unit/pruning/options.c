/* pruning/{options,methods}.c: what a method decides for itself unless the config says otherwise. */
#include "test_pruning.h"

#include "base/config.h"
#include "latency/measure_model.h"


static sv_status read_options(sv_pruning_options *out, const char *const *settings, sv_error *err)
{
    sv_config *config = NULL;
    sv_model *model = NULL; /* 12 blocks, 196 patches */
    assert_ok(sv_model_create(&model, "deit_t", NULL, err), *err);
    assert_ok(sv_config_create(&config, &sv_pruning_config, 1, err), *err);
    for (size_t i = 0; settings[i]; i += 2) assert_ok(sv_config_set(config, settings[i], settings[i + 1], "here:1", err), *err);
    sv_status status = sv_pruning_options_read(out, config, model, err);
    sv_config_destroy(config);
    sv_model_destroy(model);
    return status;
}

static sv_pruning_options options_of(const char *const *settings)
{
    sv_pruning_options o;
    sv_error err = { 0 };
    assert_ok(read_options(&o, settings, &err), err);
    return o;
}
#define OPTIONS(...) options_of((const char *const[]){ __VA_ARGS__, NULL })

static void auto_is_what_the_method_has(void **state)
{
    (void)state;
    sv_pruning_options s = OPTIONS("pruning.method", "spvit"), d = OPTIONS("pruning.method", "dynamicvit");
    assert_int_equal(s.plan.method, SV_METHOD_SPVIT);
    assert_int_equal(s.plan.rule, SV_RULE_THRESHOLD);
    assert_int_equal(s.plan.package, SV_CHOICE_WAVG);
    assert_true(s.ratio_form == SV_RATIO_LAGRANGE && !s.ratio_per_image);
    assert_int_equal(d.plan.method, SV_METHOD_DYNAMICVIT);
    assert_int_equal(d.plan.rule, SV_RULE_TOPK);
    assert_int_equal(d.plan.package, SV_CHOICE_NONE);
    assert_true(d.ratio_form == SV_RATIO_PENALTY && d.ratio_per_image);
    assert_int_equal(d.plan.stages, 3);
    assert_int_equal(d.plan.count[0], 137);
    assert_int_equal(OPTIONS("pruning.method", "none").plan.stages, 0);
}

static void what_the_config_says_stands(void **state)
{
    (void)state;
    sv_pruning_options d = OPTIONS("pruning.method", "dynamicvit", "pruning.rule", "threshold", "pruning.ratio_scope", "batch",
                                   "pruning.ratio_loss", "lagrange", "pruning.package_form", "none");
    sv_pruning_options s = OPTIONS("pruning.method", "spvit", "pruning.rule", "gumbel", "pruning.ratio_scope", "image",
                                   "pruning.ratio_loss", "penalty", "pruning.package_form", "none");
    assert_int_equal(d.plan.rule, SV_RULE_THRESHOLD);
    assert_true(d.ratio_form == SV_RATIO_LAGRANGE && !d.ratio_per_image);
    assert_int_equal(s.plan.rule, SV_RULE_GUMBEL);
    assert_int_equal(s.plan.package, SV_CHOICE_NONE);
    assert_true(s.ratio_form == SV_RATIO_PENALTY && s.ratio_per_image);
}

static void a_package_token_that_the_method_has_not_is_refused(void **state)
{
    const char *const settings[] = { "pruning.method", "dynamicvit", "pruning.package_form", "wavg", NULL };
    sv_pruning_options o;
    sv_error err = { 0 };
    (void)state;
    assert_int_equal(read_options(&o, settings, &err), SV_USAGE);
    assert_non_null(strstr(err.text, "pruning.package_form = wavg"));
}

static void every_method_can_be_named_and_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_METHODS; i++) {
        const char *name = sv_method_name((sv_method)i);
        sv_method found = SV_METHODS;
        assert_true(sv_method_find(&found, name));
        assert_int_equal(found, i);
        assert_int_equal(OPTIONS("pruning.method", name).plan.method, i); /* the choices of the key stand in the order of the table */
    }
    assert_false(sv_method_find(&(sv_method){ 0 }, "spvitt"));
}

static void a_measured_table_tells_whose_selectors_were_timed(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_METHODS; i++) {
        sv_pruning_options options = { .plan = { .method = (sv_method)i, .stages = 1, .at = { 1 }, .package = SV_CHOICE_NONE },
                                       .mask_clamp = 30,
                                       .tau = 1 };
        sv_model_measure measure = { .batch = 1, .options = sv_measure_defaults(), .tolerance = 1, .quiet = true };
        sv_latency_quality quality = { 0 };
        sv_latency_table table = { 0 };
        sv_model *model = NULL;
        sv_pruning *pruning = NULL;
        sv_error err = { 0 };
        measure.options.warm_up = 1, measure.options.runs = 2, measure.options.seconds_most = 0.01;
        assert_ok(sv_model_create(&model, "vit_test", NULL, &err), err);
        assert_ok(sv_pruning_create(&pruning, model, &options, &err), err);
        assert_ok(sv_model_allocate(model, false, &err), err);
        assert_ok(sv_latency_measure_model(&table, pruning, &measure, &quality, &err), err);
        assert_string_equal(table.about.selector, sv_method_name((sv_method)i));
        sv_latency_table_clear(&table);
        sv_pruning_destroy(pruning);
        sv_model_destroy(model);
    }
}

static void a_latency_table_of_another_method_is_refused(void **state)
{
    static const struct {
        const char *timed;
        sv_method method;
        bool fits;
    } rows[] = {
        { "spvit", SV_METHOD_SPVIT, true },           { "spvit wavg append", SV_METHOD_DYNAMICVIT, false },
        { "dynamicvit", SV_METHOD_DYNAMICVIT, true }, { "dynamicvit", SV_METHOD_SPVIT, false },
        { "", SV_METHOD_DYNAMICVIT, true },           { "by hand", SV_METHOD_SPVIT, true },
    };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(rows); i++) {
        sv_latency_table table = { 0 };
        sv_pruning_plan plan = { .stages = 1, .method = rows[i].method };
        sv_error err = { 0 };
        snprintf(table.about.selector, sizeof table.about.selector, "%s", rows[i].timed);
        assert_int_equal(sv_latency_fits_method(&table, &plan, "phone.csv", &err), rows[i].fits ? SV_OK : SV_MODEL_FILE);
        if (!rows[i].fits) assert_non_null(strstr(err.text, "phone.csv"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auto_is_what_the_method_has),
        cmocka_unit_test(what_the_config_says_stands),
        cmocka_unit_test(a_package_token_that_the_method_has_not_is_refused),
        cmocka_unit_test(a_measured_table_tells_whose_selectors_were_timed),
        cmocka_unit_test(a_latency_table_of_another_method_is_refused),
        cmocka_unit_test(every_method_can_be_named_and_found),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
