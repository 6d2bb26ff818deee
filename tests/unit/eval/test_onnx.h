/* What the tests of exports to ONNX share: small models of any family, dense or pruned, exported with their proof; and what must be refused. */
#ifndef SIEVE_TESTS_ONNX_H
#define SIEVE_TESTS_ONNX_H

#include "tests/unit/pruning/test_pruning.h"

#include "eval/onnx_export.h"

static inline void export_one(sv_deployed *d, uint64_t seed, sv_onnx_mode mode, sv_onnx_type weights, size_t batch, uint64_t above)
{
    const sv_onnx_options options = { .mode = mode, .weights = weights, .batch = batch, .external_above = above, .licence = "Apache-2.0" };
    sv_onnx_report report = { 0 };
    sv_error err = { 0 };
    if (sv_onnx_export(d, NULL, in_folder("m.onnx"), &options, &report, &err))
        fail_msg("world %d, mode %d: %s", (int)seed, (int)mode, err.text);
    if (!report.compared) fail_msg("world %d, mode %d: not compared", (int)seed, (int)mode);
}

/* Numbers that differ from the starting values of norms, factors and statistics, so that each of them shows in the logits. */
static inline void shake(sv_model *model, uint64_t seed)
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
static inline sv_deployed model_of(const char *backbone, const sv_model_options *sizes, const sv_pruning_plan *plan, uint64_t seed)
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

static inline void refuse(sv_deployed *d, const sv_onnx_options *options, sv_status code, const char *part)
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

#endif
