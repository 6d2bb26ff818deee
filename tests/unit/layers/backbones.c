/* Backbones of other families than ViT: sizes and work as the papers' code has them, names of other people's files, and what is refused. */
#include "tests/unit/base/test_base.h"

#include "formats/weights.h"
#include "layers/layers.h"
#include "pruning/pruning.h"

/* ---- sizes --------------------------------------------------------------------------------------------------------- */

/* Spec backbones 2: computed from the authors' definitions at 224 x 224, 1000 classes. */
static const struct check_values {
    const char *name;
    size_t parameters;
    uint64_t macs;
    size_t patches, prefix;
} table[] = {
    { "lvvit_t", 8534720, 2868017664, 196, 1 },           { "lvvit_s", 26151824, 6551485440, 196, 1 },
    { "lvvit_m", 55830544, 12678045696, 196, 1 },         { "pit_ti", 4847272, 699059456, 729, 1 },
    { "pit_xs", 10618888, 1394699136, 729, 1 },           { "pit_s", 23461912, 2870796096, 729, 1 },
    { "pit_b", 73764840, 12401916928, 961, 1 },           { "pit_ti_distilled", 5104336, 704967680, 729, 2 },
    { "pit_xs_distilled", 11003984, 1406909952, 729, 2 }, { "pit_s_distilled", 24039056, 2896646400, 729, 2 },
    { "pit_b_distilled", 74790096, 12482355712, 961, 2 }, { "swin_t", 28288354, 4490566656, 3136, 0 },
    { "swin_s", 49606258, 8740875264, 3136, 0 },          { "swin_b", 87768224, 15430946816, 3136, 0 },
    { "convnext_t", 28589128, 4455531264, 3136, 0 },      { "convnext_s", 50223688, 8683712256, 3136, 0 },
    { "convnext_b", 88591464, 15354729472, 3136, 0 },
};

static sv_model *make(const char *name, const sv_model_options *options)
{
    sv_model *model = NULL;
    sv_error err = { 0 };
    assert_ok(sv_model_create(&model, name, options, &err), err);
    return model;
}

static void sizes_and_work_are_those_of_the_authors_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_COUNT(table); i++) {
        sv_model *model = make(table[i].name, NULL);
        if (sv_model_parameter_count(model) != table[i].parameters || sv_model_macs(model) != table[i].macs)
            fail_msg("%s: %zu parameters, %llu multiply-adds; expected %zu, %llu", table[i].name, sv_model_parameter_count(model),
                     (unsigned long long)sv_model_macs(model), table[i].parameters, (unsigned long long)table[i].macs);
        assert_int_equal(sv_model_patches(model), table[i].patches);
        assert_int_equal(sv_model_prefix(model), table[i].prefix);
        sv_model_destroy(model);
    }
}

static void larger_pictures_cost_what_the_authors_code_says(void **state)
{
    (void)state;
    sv_model *s = make("lvvit_s", &(sv_model_options){ .image = 384 }), *m = make("lvvit_m", &(sv_model_options){ .image = 384 });
    assert_int_equal(sv_model_parameter_count(s), 26297744);
    assert_int_equal(sv_model_macs(s), 21896432640);
    assert_int_equal(sv_model_parameter_count(m), 56025104);
    assert_int_equal(sv_model_macs(m), 41637912576);
    sv_model_destroy(m);
    sv_model_destroy(s);
}

static void sizes_that_do_not_go_together_are_refused(void **state)
{
    (void)state;
    static const struct misfit {
        const char *name;
        sv_model_options options;
        const char *says;
    } misfits[] = {
        { "pit_s", { .width = 192 }, "sizes by stage" },         { "swin_t", { .depth = 11 }, "sizes by stage" },
        { "convnext_t", { .mlp_ratio = 3 }, "sizes by stage" },  { "convnext_t", { .image = 200 }, "multiple of 32" },
        { "swin_t", { .image = 256 }, "multiple of 224" },       { "swin_t", { .distilled = true }, "no class token" },
        { "convnext_s", { .distilled = true }, "class token" },  { "lvvit_s", { .patch = 8 }, "16 pixels" },
        { "lvvit_s", { .distilled = true }, "no distillation" }, { "pit_b", { .image = 8 }, "less than a patch" },
        { "lvvit_s", { .image = 230 }, "multiple of 16" },
    };
    for (size_t i = 0; i < SV_COUNT(misfits); i++) {
        sv_model *model = NULL;
        sv_error err = { 0 };
        assert_int_equal(sv_model_create(&model, misfits[i].name, &misfits[i].options, &err), SV_USAGE);
        if (!strstr(err.text, misfits[i].says)) fail_msg("%s: '%s' is not in '%s'", misfits[i].name, misfits[i].says, err.text);
        assert_null(model);
    }
}

static void selectors_are_refused_where_tokens_cannot_leave(void **state)
{
    (void)state;
    static const char *const names[] = { "convnext_test" };
    const sv_pruning_options options = { .plan = { .stages = 1, .at = { 1 }, .keep = { 0.5 } }, .mask_clamp = 30 };
    for (size_t i = 0; i < SV_COUNT(names); i++) {
        sv_model *model = make(names[i], NULL);
        sv_pruning *pruning = NULL;
        sv_error err = { 0 };
        assert_int_equal(sv_pruning_create(&pruning, model, &options, &err), SV_USAGE);
        if (!strstr(err.text, names[i]) || !strstr(err.text, sv_model_unfit(model))) fail_msg("%s: '%s'", names[i], err.text);
        sv_model_destroy(model);
    }
    sv_model *vit = make("vit_test", NULL);
    assert_null(sv_model_unfit(vit));
    sv_model_destroy(vit);
}

/* ---- files --------------------------------------------------------------------------------------------------------- */

/* The authors' names, as replacements in ours from first to last. */
typedef struct naming {
    const char *backbone, *sign; /* a name of the authors' form */
    const char *words[10][2];
    const char *buffers[4]; /* that their files hold beside parameters */
} naming;
static const naming namings[] = {
    { "pit_test", "pools.1.conv.weight", { { "transformers.1.pool", "pools.0" }, { "transformers.2.pool", "pools.1" } }, { NULL } },
    { "swin_test",
      "head.weight",
      { { "layers.1.downsample", "layers.0.downsample" }, { "layers.2.downsample", "layers.1.downsample" }, { "head.fc", "head" } },
      { "layers.0.blocks.1.attn_mask", "layers.0.blocks.0.attn.relative_position_index" } },
    { "convnext_test",
      "stages.1.0.pwconv2.weight",
      { { "stem.", "downsample_layers.0." },
        { "stages.1.downsample", "downsample_layers.1" },
        { "stages.2.downsample", "downsample_layers.2" },
        { ".blocks.", "." },
        { "conv_dw", "dwconv" },
        { "mlp.fc1", "pwconv1" },
        { "mlp.fc2", "pwconv2" },
        { "head.norm", "norm" },
        { "head.fc", "head" } },
      { NULL } },
    { "lvvit_test", "patch_embed.bn1.running_var", { { NULL } }, { "patch_embed.bn1.num_batches_tracked" } },
};

static void rename_as(char out[256], const naming *by, const char *name)
{
    char next[256];
    snprintf(out, 256, "%s", name);
    for (size_t i = 0; by && i < SV_COUNT(by->words) && by->words[i][0]; i++) {
        const char *at = strstr(out, by->words[i][0]);
        if (!at) continue;
        snprintf(next, sizeof next, "%.*s%s%s", (int)(at - out), out, by->words[i][1], at + strlen(by->words[i][0]));
        memcpy(out, next, sizeof next);
        if (strstr(by->words[i][0], "downsample") || strstr(by->words[i][0], "pool"))
            break; /* the next number is not to be counted down again */
    }
}

static sv_model *filled(const char *backbone, const sv_model_options *options, uint64_t seed)
{
    sv_model *model = make(backbone, options);
    sv_error err = { 0 };
    assert_ok(sv_model_allocate(model, false, &err), err);
    for (size_t i = 0; i < model->parameters->count; i++) {
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 1, i, 0);
        const sv_parameter *p = model->parameters->items[i];
        for (size_t k = 0; k < p->count; k++) p->value[k] = (sv_real)sv_random_normal(&random);
    }
    return model;
}

/* by NULL: under our own names. without: this one is left out. Returns whether `sign` was among the names. */
static bool save(const char *path, const sv_model *model, const naming *by, const char *prefix, const char *without, const char *sign)
{
    static const sv_real one = 1;
    bool found = false;
    sv_weights_writer *writer = NULL;
    sv_error err = { 0 };
    char name[256], full[300];
    assert_ok(sv_weights_writer_create(&writer, &err), err);
    for (size_t i = 0; i < model->parameters->count; i++) {
        const sv_parameter *p = model->parameters->items[i];
        if (without && strcmp(without, p->name) == 0) continue;
        rename_as(name, by, p->name);
        found = found || strcmp(name, sign) == 0;
        snprintf(full, sizeof full, "%s%s", prefix, name);
        assert_ok(sv_weights_writer_add(writer, full, SV_REAL_DTYPE, p->dims, p->shape, p->value, &err), err);
    }
    for (size_t i = 0; by && by->buffers[i]; i++) {
        snprintf(full, sizeof full, "%s%s", prefix, by->buffers[i]);
        assert_ok(sv_weights_writer_add(writer, full, SV_REAL_DTYPE, 1, &(size_t){ 1 }, &one, &err), err);
    }
    assert_ok(sv_weights_write_safetensors(writer, path, SV_WITH_CRC, &err), err);
    sv_weights_writer_destroy(writer);
    return found;
}

static void assert_loads(const naming *by, const char *prefix, bool official)
{
    const char *path = in_folder("model.safetensors");
    const sv_load_options load = { 0 };
    sv_model *from = filled(by->backbone, NULL, 1), *to = filled(by->backbone, NULL, 2);
    sv_error err = { 0 };
    assert_true(save(path, from, official ? by : NULL, prefix, NULL, by->sign) == official || !by->words[0][0]);
    assert_ok(sv_model_load(to, path, &load, 0, NULL, &err), err);
    for (size_t i = 0; i < from->parameters->count; i++) {
        const sv_parameter *a = from->parameters->items[i], *b = to->parameters->items[i];
        if (memcmp(a->value, b->value, a->count * sizeof *a->value) != 0) fail_msg("%s: '%s' differs", by->backbone, a->name);
    }
    sv_model_destroy(from);
    sv_model_destroy(to);
}

static void the_authors_names_and_timms_give_the_same_weights(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_COUNT(namings); i++) {
        assert_loads(&namings[i], "", true);
        assert_loads(&namings[i], "module.", true);
        assert_loads(&namings[i], "", false);
    }
}

static void a_missing_tensor_is_named(void **state)
{
    (void)state;
    const char *path = in_folder("model.safetensors");
    for (size_t i = 0; i < SV_COUNT(namings); i++) {
        sv_model *model = filled(namings[i].backbone, NULL, 1);
        const sv_load_options load = { 0 };
        const char *name = model->parameters->items[model->parameters->count / 2]->name;
        char theirs[256];
        sv_error err = { 0 };
        rename_as(theirs, &namings[i], name);
        save(path, model, &namings[i], "", name, "");
        assert_int_equal(sv_model_load(model, path, &load, 0, NULL, &err), SV_MODEL_FILE);
        if (!strstr(err.text, theirs)) fail_msg("'%s' is not in '%s'", theirs, err.text);
        sv_model_destroy(model);
    }
}

/* Channel k of the map holds k everywhere, and so it must on any grid: a mix-up of channels and places would show. */
static void a_map_of_positions_is_resized_by_channel(void **state)
{
    (void)state;
    const char *path = in_folder("model.safetensors");
    const sv_load_options load = { 0 };
    sv_model *from = filled("pit_test", NULL, 1), *to = filled("pit_test", &(sv_model_options){ .image = 24 }, 2);
    const sv_parameter *a = sv_parameters_find(from->parameters, "pos_embed"), *b = sv_parameters_find(to->parameters, "pos_embed");
    const size_t places = a->shape[2] * a->shape[3], more = b->shape[2] * b->shape[3];
    sv_error err = { 0 };
    for (size_t k = 0; k < a->count; k++) a->value[k] = (sv_real)(k / places);
    save(path, from, NULL, "", NULL, "");
    assert_ok(sv_model_load(to, path, &load, 0, NULL, &err), err);
    assert_true(more > places);
    for (size_t k = 0; k < b->count; k++)
        assert_true((double)b->value[k] > (double)(k / more) - 1e-4 && (double)b->value[k] < (double)(k / more) + 1e-4);
    sv_model_destroy(from);
    sv_model_destroy(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_and_work_are_those_of_the_authors_code),
        cmocka_unit_test(larger_pictures_cost_what_the_authors_code_says),
        cmocka_unit_test(sizes_that_do_not_go_together_are_refused),
        cmocka_unit_test(selectors_are_refused_where_tokens_cannot_leave),
        cmocka_unit_test(the_authors_names_and_timms_give_the_same_weights),
        cmocka_unit_test(a_missing_tensor_is_named),
        cmocka_unit_test(a_map_of_positions_is_resized_by_channel),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
