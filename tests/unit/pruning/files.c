/* Checkpoints of DynamicViT under the names its authors publish: they fill our predictors, and nobody else's. */
#include "test_pruning.h"

#include "formats/weights.h"

static sv_model *model_of(sv_method method, size_t stages, uint64_t seed)
{
    sv_pruning_options options = { .plan = { .method = method, .stages = stages, .at = { 1, 2, 3 }, .package = SV_CHOICE_NONE } };
    sv_model *model = NULL;
    sv_pruning *pruning = NULL;
    sv_error err = { 0 };
    assert_ok(sv_model_create(&model, "vit_test", NULL, &err), err);
    assert_ok(sv_pruning_create(&pruning, model, &options, &err), err);
    assert_ok(sv_model_allocate(model, false, &err), err);
    sv_pruning_destroy(pruning);
    for (size_t i = 0; i < model->parameters->count; i++) {
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 1, i, 0);
        const sv_parameter *p = model->parameters->items[i];
        for (size_t k = 0; k < p->count; k++) p->value[k] = (sv_real)sv_random_normal(&random);
    }
    return model;
}

static void save(const sv_model *model, const char *prefix)
{
    sv_weights_writer *writer = NULL;
    sv_error err = { 0 };
    assert_ok(sv_weights_writer_create(&writer, &err), err);
    for (size_t i = 0; i < model->parameters->count; i++) {
        const sv_parameter *p = model->parameters->items[i];
        char name[256];
        snprintf(name, sizeof name, "%s%s", prefix, p->name);
        assert_ok(sv_weights_writer_add(writer, name, SV_REAL_DTYPE, p->dims, p->shape, p->value, &err), err);
    }
    assert_ok(sv_weights_write_safetensors(writer, in_folder("model.safetensors"), SV_WITHOUT_CRC, &err), err);
    sv_weights_writer_destroy(writer);
}

/* PredictorLG of width C = 32 as its state_dict() lists it (spec 2.3). */
static void predictors_carry_the_published_names_and_shapes(void **state)
{
    static const struct {
        const char *name;
        size_t dims, shape[2];
    } rows[] = {
        { "in_conv.0.weight", 1, { 32 } },     { "in_conv.0.bias", 1, { 32 } },        { "in_conv.1.weight", 2, { 32, 32 } },
        { "in_conv.1.bias", 1, { 32 } },       { "out_conv.0.weight", 2, { 16, 32 } }, { "out_conv.0.bias", 1, { 16 } },
        { "out_conv.2.weight", 2, { 8, 16 } }, { "out_conv.2.bias", 1, { 8 } },        { "out_conv.4.weight", 2, { 2, 8 } },
        { "out_conv.4.bias", 1, { 2 } },
    };
    sv_model *model = model_of(SV_METHOD_DYNAMICVIT, 3, 1), *dense = model_of(SV_METHOD_DYNAMICVIT, 0, 1);
    (void)state;
    for (size_t t = 0; t < 3; t++)
        for (size_t i = 0; i < SV_COUNT(rows); i++) {
            char name[96];
            snprintf(name, sizeof name, "score_predictor.%zu.%s", t, rows[i].name);
            const sv_parameter *p = sv_parameters_find(model->parameters, name);
            assert_non_null(p);
            assert_int_equal(p->dims, rows[i].dims);
            assert_memory_equal(p->shape, rows[i].shape, p->dims * sizeof *p->shape);
        }
    assert_int_equal(model->parameters->count, dense->parameters->count + 3 * SV_COUNT(rows));
    sv_model_destroy(model);
    sv_model_destroy(dense);
}

enum { LEARNED = SV_METHOD_DYNAMICVIT + 1 }; /* the methods behind it have nothing to learn */

/* layers/names.c knows the first words of selectors without knowing methods; a method whose word it lacks would train as backbone. */
static void parameters_of_every_method_are_known_as_selectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_METHODS; i++) {
        sv_model *with = model_of((sv_method)i, 2, 1), *without = model_of((sv_method)i, 0, 1);
        size_t selecting = 0;
        for (size_t k = 0; k < with->parameters->count; k++) selecting += sv_name_selects(with->parameters->items[k]->name);
        assert_int_equal(selecting, with->parameters->count - without->parameters->count);
        assert_true((selecting > 0) == (i < LEARNED));
        sv_model_destroy(with);
        sv_model_destroy(without);
    }
}

static void files_of_the_reference_fill_every_parameter(void **state)
{
    static const char *const prefixes[] = { "", "module.", "model." };
    sv_model *from = model_of(SV_METHOD_DYNAMICVIT, 3, 1);
    sv_load_options options = { .need_all = true };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(prefixes); i++) {
        sv_model *to = model_of(SV_METHOD_DYNAMICVIT, 3, 2);
        sv_error err = { 0 };
        save(from, prefixes[i]);
        assert_ok(sv_model_load(to, in_folder("model.safetensors"), &options, 0, NULL, &err), err);
        assert_same_numbers(from->parameters->values, to->parameters->values, from->parameters->total, prefixes[i], 0);
        sv_model_destroy(to);
    }
    sv_model_destroy(from);
}

static void a_dense_file_leaves_predictors_new_and_a_pruned_one_fills_a_dense_model(void **state)
{
    sv_model *dense = model_of(SV_METHOD_DYNAMICVIT, 0, 1), *pruned = model_of(SV_METHOD_DYNAMICVIT, 2, 2);
    sv_load_options options = { .optional_selectors = true };
    bool is_new[200];
    sv_error err = { 0 };
    (void)state;
    save(dense, "");
    assert_true(pruned->parameters->count <= SV_COUNT(is_new));
    assert_ok(sv_model_load(pruned, in_folder("model.safetensors"), &options, 0, is_new, &err), err);
    for (size_t i = 0; i < pruned->parameters->count; i++) assert_int_equal(is_new[i], sv_name_selects(pruned->parameters->items[i]->name));
    save(pruned, "");
    assert_ok(sv_model_load(dense, in_folder("model.safetensors"), &options, 0, NULL, &err), err);
    sv_model_destroy(dense);
    sv_model_destroy(pruned);
}

static void selectors_of_another_method_are_refused_by_name(void **state)
{
    static const char *const says[] = { [SV_METHOD_SPVIT] = "DynamicViT", [SV_METHOD_DYNAMICVIT] = "SPViT" };
    sv_load_options options = { .optional_selectors = true };
    (void)state;
    for (size_t i = 0; i < LEARNED; i++) {
        sv_model *from = model_of((sv_method)!i, 1, 1), *to = model_of((sv_method)i, 1, 2);
        sv_error err = { 0 };
        save(from, "");
        assert_int_equal(sv_model_load(to, in_folder("model.safetensors"), &options, 0, NULL, &err), SV_MODEL_FILE);
        assert_non_null(strstr(err.text, says[i]));
        sv_model_destroy(from);
        sv_model_destroy(to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(predictors_carry_the_published_names_and_shapes),
        cmocka_unit_test(parameters_of_every_method_are_known_as_selectors),
        cmocka_unit_test(files_of_the_reference_fill_every_parameter),
        cmocka_unit_test(a_dense_file_leaves_predictors_new_and_a_pruned_one_fills_a_dense_model),
        cmocka_unit_test(selectors_of_another_method_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
