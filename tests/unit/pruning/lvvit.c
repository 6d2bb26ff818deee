/* Selectors between the blocks of LV-ViT: both forms are one model, work and parameters are those of the literature, files of the authors of SPViT and
 * DynamicViT load. What PyTorch says of it stands in tests/golden/lvvit_small.c. */
#include "test_pruning.h"

#include "formats/weights.h"

enum { WORLDS = 60 };

/* As world_of, with patches of 16 pixels and without a distillation token. Without a teacher's tokens training reads the answer that is measured. */
static world lvvit_of(uint64_t seed)
{
    world w = world_of(seed);
    w.backbone = "lvvit_test";
    w.sizes.image = w.sizes.image / 4 % 4 * 16 + 16, w.sizes.patch = 16;
    w.sizes.distilled = false;
    w.options.token_weight = 0;
    return w;
}

static void training_and_removal_with_the_same_draws_give_the_same_bits(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        world w = lvvit_of(seed);
        world_open(&w);
        assert_masked_is_removed(&w);
        world_close(&w);
    }
}

static void the_plain_masked_form_equals_the_exact_one(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        world plain = lvvit_of(seed), exact = lvvit_of(seed);
        plain.options.mask_all = true;
        plain.options.token_weight = exact.options.token_weight = 0.5; /* and both heads apart */
        world_open(&plain);
        world_open(&exact);
        forward(plain.training.tape, plain.images, seed);
        forward(exact.training.tape, exact.images, seed);
        for (size_t b = 0; b < plain.images; b++)
            for (size_t k = 0; k < plain.sizes.classes; k++)
                assert_true(fabs((double)sv_tape_data(plain.training.tape, plain.training.logits, b)[k]
                                 - (double)sv_tape_data(exact.training.tape, exact.training.logits, b)[k])
                            < 1e-5);
        assert_true(fabs((double)sv_tape_data(plain.training.tape, plain.training.token, 0)[0]
                         - (double)sv_tape_data(exact.training.tape, exact.training.token, 0)[0])
                    < 1e-5);
        sv_tape_backward(plain.training.tape, 1);
        assert_null(sv_tape_not_finite(plain.training.tape));
        world_close(&plain);
        world_close(&exact);
    }
}

static void nothing_dropped_is_the_dense_model(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) assert_nothing_dropped_is_dense(lvvit_of(seed), assert_same_numbers);
}

static void a_picture_alone_gets_the_bits_it_gets_in_a_batch(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        world w = lvvit_of(seed);
        w.options.plan.rule = SV_RULE_TOPK, w.options.plan.min_keep = 1;
        world_open(&w);
        assert_alone_as_in_batch(&w);
        world_close(&w);
    }
}

static void the_work_counted_by_formula_is_the_work_done(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < WORLDS; seed++) assert_work_by_formula(lvvit_of(seed));
}

/* ---- numbers of the literature (spec DynamicViT 1.3) --------------------------------------------------------------- */

typedef struct known {
    const char *backbone;
    size_t at[3], parameters, shared;
    uint64_t macs[5]; /* at rho .9 .8 .7 .6 .5, in units of 10^5; that of .7 exactly */
} known;

static sv_model *with_selectors(const char *backbone, const sv_pruning_plan *plan)
{
    const sv_pruning_options options = { .plan = *plan, .mask_clamp = 30, .tau = 1 };
    sv_pruning *pruning = NULL;
    sv_model *model = NULL;
    sv_error err = { 0 };
    assert_ok(sv_model_create(&model, backbone, NULL, &err), err);
    assert_ok(sv_pruning_create(&pruning, model, &options, &err), err);
    sv_pruning_destroy(pruning);
    return model;
}

/* SPViT's log has 26,172,614 parameters for a selector without the branch of head importance: 3 x 6,930 more than dense; ours has the branch,
 * H h + h + h H + H numbers with h = H / 2. */
static void parameters_and_macs_are_those_of_the_literature(void **state)
{
    static const known rows[] = {
        { "lvvit_s", { 4, 8, 12 }, 26875574, 26172614 + 3 * (6 * 3 + 3 + 3 * 6 + 6), { 58763, 52062, 4650082752, 41730, 37902 } },
        { "lvvit_m", { 5, 10, 15 }, 57115030, 55830544 + 3 * (6930 + 8 * 4 + 4 + 4 * 8 + 8), { 112067, 97826, 8593229056, 75674, 67406 } },
    };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(rows); i++) {
        sv_pruning_plan plan = { .stages = 3, .method = SV_METHOD_DYNAMICVIT, .package = SV_CHOICE_NONE };
        memcpy(plan.at, rows[i].at, sizeof rows[i].at);
        sv_model *model = with_selectors(rows[i].backbone, &plan);
        assert_int_equal(sv_model_parameter_count(model), rows[i].parameters);
        for (size_t r = 0; r < 5; r++) {
            const double rho = 0.9 - 0.1 * (double)r, keep[] = { rho, rho * rho, rho * rho * rho };
            sv_plan_fit_grid(&plan, 196);
            sv_plan_set_keep(&plan, keep);
            const uint64_t macs = sv_pruned_macs(model, &plan, plan.count);
            if (r == 2)
                assert_int_equal(macs, rows[i].macs[r]);
            else
                assert_int_equal((macs + 50000) / 100000, rows[i].macs[r]);
        }
        sv_model_destroy(model);
        plan.method = SV_METHOD_SPVIT, plan.package = SV_CHOICE_WAVG;
        model = with_selectors(rows[i].backbone, &plan);
        assert_int_equal(sv_model_parameter_count(model), rows[i].shared);
        sv_model_destroy(model);
    }
}

static void places_part_the_depth_in_four_unless_told(void **state)
{
    static const struct {
        size_t depth, stages, at[3];
    } rows[] = { { 12, 3, { 3, 6, 9 } }, { 16, 3, { 4, 8, 12 } }, { 20, 3, { 5, 10, 15 } },
                 { 4, 3, { 1, 2, 3 } },  { 6, 3, { 1, 3, 4 } },   { 2, 1, { 1 } } };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(rows); i++) {
        const sv_model_options sizes = { .depth = rows[i].depth };
        sv_config *config = NULL;
        sv_model *model = NULL;
        sv_pruning_options o;
        sv_error err = { 0 };
        assert_ok(sv_model_create(&model, "deit_t", &sizes, &err), err);
        assert_ok(sv_config_create(&config, &sv_pruning_config, 1, &err), err);
        assert_ok(sv_config_set(config, "pruning.method", "dynamicvit", "here:1", &err), err);
        assert_ok(sv_pruning_options_read(&o, config, model, &err), err);
        assert_int_equal(o.plan.stages, rows[i].stages);
        for (size_t t = 0; t < o.plan.stages; t++) assert_int_equal(o.plan.at[t], rows[i].at[t]);
        sv_config_destroy(config);
        sv_model_destroy(model);
    }
}

/* ---- files --------------------------------------------------------------------------------------------------------- */

static sv_model *model_of(sv_method method, uint64_t seed)
{
    const sv_pruning_options options = { .plan = { .method = method, .stages = 2, .at = { 1, 2 }, .package = SV_CHOICE_NONE } };
    const sv_model_options sizes = { .depth = 4, .image = 32 };
    sv_model *model = NULL;
    sv_pruning *pruning = NULL;
    sv_error err = { 0 };
    assert_ok(sv_model_create(&model, "lvvit_test", &sizes, &err), err);
    assert_ok(sv_pruning_create(&pruning, model, &options, &err), err);
    assert_ok(sv_model_allocate(model, false, &err), err);
    sv_pruning_destroy(pruning);
    for (size_t i = 0; i < model->parameters->count; i++) {
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 1, i, 0);
        for (size_t k = 0; k < model->parameters->items[i]->count; k++)
            model->parameters->items[i]->value[k] = (sv_real)sv_random_normal(&random);
    }
    return model;
}

static void add(sv_weights_writer *writer, const char *name, const sv_parameter *p, const sv_real *values)
{
    sv_error err = { 0 };
    assert_ok(sv_weights_writer_add(writer, name, SV_REAL_DTYPE, p->dims, p->shape, values, &err), err);
}

/* As the authors of SPViT save it: every layer of a selector once a head, branch of head importance apart; other: the second copy differs. */
static void add_copies(sv_weights_writer *writer, const sv_parameter *p, size_t heads, const sv_real *other)
{
    static const char *const words[][3] = { { ".norm.", ".in_conv.", ".0." },    { ".fc_in.", ".in_conv.", ".1." },
                                            { ".fc1.", ".out_conv.", ".0." },    { ".fc2.", ".out_conv.", ".2." },
                                            { ".fc_out.", ".out_conv.", ".4." }, { ".head_fc1.", ".senet.0.", NULL },
                                            { ".head_fc2.", ".senet.2.", NULL } };
    const char *stage = p->name + strlen("selectors.");
    for (size_t i = 0; i < SV_COUNT(words); i++) {
        const char *at = strstr(p->name, words[i][0]), *ending = at ? at + strlen(words[i][0]) : NULL;
        for (size_t h = 0; at && h < (words[i][2] ? heads : 1); h++) {
            char name[160];
            if (words[i][2])
                snprintf(name, sizeof name, "module.score_predictor.%.1s%s%zu%s%s", stage, words[i][1], h, words[i][2], ending);
            else
                snprintf(name, sizeof name, "module.score_predictor.%.1s%s%s", stage, words[i][1], ending);
            add(writer, name, p, other && h ? other : p->value);
        }
    }
}

static void save_published(const sv_model *model, sv_method method, bool different)
{
    sv_weights_writer *writer = NULL;
    sv_real zeros[4096] = { 0 };
    sv_error err = { 0 };
    assert_ok(sv_weights_writer_create(&writer, &err), err);
    for (size_t i = 0; i < model->parameters->count; i++) {
        const sv_parameter *p = model->parameters->items[i];
        char name[160];
        snprintf(name, sizeof name, "module.%s", p->name);
        if (method == SV_METHOD_SPVIT && sv_name_selects(p->name))
            add_copies(writer, p, model->options.heads, different ? zeros : NULL);
        else
            add(writer, name, p, p->value);
    }
    assert_ok(sv_weights_writer_add(writer, "module.patch_embed.bn1.num_batches_tracked", SV_REAL_DTYPE, 1, (size_t[]){ 1 }, zeros, &err),
              err);
    assert_ok(sv_weights_write_safetensors(writer, in_folder("published.safetensors"), SV_WITHOUT_CRC, &err), err);
    sv_weights_writer_destroy(writer);
}

static void files_of_both_references_fill_every_parameter(void **state)
{
    static const sv_method methods[] = { SV_METHOD_SPVIT, SV_METHOD_DYNAMICVIT };
    const sv_load_options options = { .need_all = true };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(methods); i++) {
        sv_model *from = model_of(methods[i], 1), *to = model_of(methods[i], 2);
        sv_error err = { 0 };
        save_published(from, methods[i], false);
        assert_ok(sv_model_load(to, in_folder("published.safetensors"), &options, 0, NULL, &err), err);
        assert_same_numbers(from->parameters->values, to->parameters->values, from->parameters->total, "weights", i);
        sv_model_destroy(from);
        sv_model_destroy(to);
    }
}

static void copies_of_a_selector_that_differ_are_refused(void **state)
{
    const sv_load_options options = { .need_all = true };
    sv_model *from = model_of(SV_METHOD_SPVIT, 1), *to = model_of(SV_METHOD_SPVIT, 2);
    sv_error err = { 0 };
    (void)state;
    save_published(from, SV_METHOD_SPVIT, true);
    assert_int_equal(sv_model_load(to, in_folder("published.safetensors"), &options, 0, NULL, &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "differs from"));
    sv_model_destroy(from);
    sv_model_destroy(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_and_removal_with_the_same_draws_give_the_same_bits),
        cmocka_unit_test(the_plain_masked_form_equals_the_exact_one),
        cmocka_unit_test(nothing_dropped_is_the_dense_model),
        cmocka_unit_test(a_picture_alone_gets_the_bits_it_gets_in_a_batch),
        cmocka_unit_test(the_work_counted_by_formula_is_the_work_done),
        cmocka_unit_test(parameters_and_macs_are_those_of_the_literature),
        cmocka_unit_test(places_part_the_depth_in_four_unless_told),
        cmocka_unit_test(files_of_both_references_fill_every_parameter),
        cmocka_unit_test(copies_of_a_selector_that_differ_are_refused),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
