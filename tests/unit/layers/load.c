/* layers/load.c: any file under names we know gives the same weights; any other leaves the model as it was and says why. */
#include "tests/unit/base/test_base.h"

#include "formats/weights.h"
#include "layers/layers.h"

#include <math.h>

enum { TENSORS_MOST = 400 };

/* ---- models and files of them ------------------------------------------------------------------------------------ */

static sv_model *make(const sv_model_options *options, uint64_t seed, bool selectors)
{
    static const struct {
        const char *name;
        size_t shape[2];
    } rows[] = {
        { "norm.weight", { 16 } },       { "norm.bias", { 16 } },    { "fc_in.weight", { 16, 16 } },  { "fc_in.bias", { 16 } },
        { "fc1.weight", { 8, 16 } },     { "fc1.bias", { 8 } },      { "fc2.weight", { 4, 8 } },      { "fc2.bias", { 4 } },
        { "fc_out.weight", { 2, 4 } },   { "fc_out.bias", { 2 } },   { "head_fc1.weight", { 1, 2 } }, { "head_fc1.bias", { 1 } },
        { "head_fc2.weight", { 2, 1 } }, { "head_fc2.bias", { 2 } },
    };
    sv_model *model = NULL;
    sv_error err = { 0 };
    assert_ok(sv_model_create(&model, "vit_test", options, &err), err);
    for (size_t i = 0; selectors && i < SV_COUNT(rows); i++) {
        char name[96];
        sv_parameter *unused = NULL;
        snprintf(name, sizeof name, "selectors.0.%s", rows[i].name);
        assert_ok(sv_parameters_add(model->parameters, &unused, name, rows[i].shape[1] ? 2 : 1, rows[i].shape, &err), err);
    }
    assert_ok(sv_model_allocate(model, false, &err), err);
    for (size_t i = 0; i < model->parameters->count; i++) {
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 1, i, 0);
        const sv_parameter *p = model->parameters->items[i];
        for (size_t k = 0; k < p->count; k++) p->value[k] = (sv_real)sv_random_normal(&random);
    }
    return model;
}

static void put(sv_weights_writer *writer, const char *name, uint32_t rank, const size_t *shape, const sv_real *data)
{
    sv_error err = { 0 };
    assert_ok(sv_weights_writer_add(writer, name, SV_REAL_DTYPE, rank, shape, data, &err), err);
}

static void replace(char out[256], const char *name, const char *from, const char *to)
{
    const char *at = strstr(name, from);
    snprintf(out, 256, "%.*s%s%s", (int)(at - name), name, to, at + strlen(from));
}

/* Names of Hugging Face by spec backbones 3.9, written out once more here. */
static void put_hugging_face(sv_weights_writer *writer, const sv_parameter *p, const char *prefix, bool teacher_heads)
{
    static const char *const pairs[][2] = { { ".norm1.", ".layernorm_before." },
                                            { ".norm2.", ".layernorm_after." },
                                            { ".attn.proj.", ".attention.output.dense." },
                                            { ".mlp.fc1.", ".intermediate.dense." },
                                            { ".mlp.fc2.", ".output.dense." } };
    static const char *const top[][2] = { { "cls_token", "embeddings.cls_token" },
                                          { "dist_token", "embeddings.distillation_token" },
                                          { "pos_embed", "embeddings.position_embeddings" },
                                          { "patch_embed.proj", "embeddings.patch_embeddings.projection" } };
    char name[256], full[256];
    size_t third[] = { p->shape[0] / 3, p->shape[1] };
    if (strncmp(p->name, "head", 4) == 0) {
        if (strncmp(p->name, "head_dist", 9) == 0)
            replace(full, p->name, "head_dist", "distillation_classifier");
        else
            replace(full, p->name, "head", teacher_heads ? "cls_classifier" : "classifier");
        put(writer, full, p->dims, p->shape, p->value);
        return;
    }
    snprintf(name, sizeof name, "%s", p->name);
    if (strncmp(p->name, "norm.", 5) == 0) snprintf(name, sizeof name, "layernorm.%s", p->name + 5);
    for (size_t i = 0; i < SV_COUNT(top); i++)
        if (strncmp(p->name, top[i][0], strlen(top[i][0])) == 0) replace(name, p->name, top[i][0], top[i][1]);
    if (strncmp(p->name, "blocks.", 7) == 0) {
        char layer[256];
        replace(layer, p->name, "blocks.", "encoder.layer.");
        snprintf(name, sizeof name, "%s", layer);
        for (size_t i = 0; i < SV_COUNT(pairs); i++)
            if (strstr(layer, pairs[i][0])) replace(name, layer, pairs[i][0], pairs[i][1]);
        for (size_t i = 0; i < 3 && strstr(layer, ".attn.qkv."); i++) {
            static const char *const words[] = { ".attention.attention.query.", ".attention.attention.key.",
                                                 ".attention.attention.value." };
            replace(name, layer, ".attn.qkv.", words[i]);
            snprintf(full, sizeof full, "%s%s", prefix, name);
            put(writer, full, p->dims, third, p->value + i * (p->count / 3));
        }
        if (strstr(layer, ".attn.qkv.")) return;
    }
    snprintf(full, sizeof full, "%s%s", prefix, name);
    put(writer, full, p->dims, p->shape, p->value);
}

typedef struct file_form {
    const char *prefix;
    bool pth, hugging_face, teacher_heads;
    const char *without;  /* parameters that begin with this are left out */
    const char *extra[4]; /* further tensors [1] */
} file_form;

static const char *save(const sv_model *model, const file_form *form)
{
    static const sv_real one = 1;
    const char *path = in_folder(form->pth ? "model.pth" : "model.safetensors");
    sv_weights_writer *writer = NULL;
    sv_error err = { 0 };
    assert_ok(sv_weights_writer_create(&writer, &err), err);
    for (size_t i = 0; i < model->parameters->count; i++) {
        const sv_parameter *p = model->parameters->items[i];
        char name[256];
        if (form->without && strncmp(p->name, form->without, strlen(form->without)) == 0) continue;
        snprintf(name, sizeof name, "%s%s", form->prefix ? form->prefix : "", p->name);
        if (form->hugging_face)
            put_hugging_face(writer, p, form->prefix, form->teacher_heads);
        else
            put(writer, name, p->dims, p->shape, p->value);
    }
    for (size_t i = 0; i < SV_COUNT(form->extra) && form->extra[i]; i++) put(writer, form->extra[i], 1, &(size_t){ 1 }, &one);
    if (form->pth)
        assert_ok(sv_weights_write_pth(writer, path, &err), err);
    else
        assert_ok(sv_weights_write_safetensors(writer, path, SV_WITH_CRC, &err), err);
    sv_weights_writer_destroy(writer);
    return path;
}

static bool equal(const sv_model *a, const sv_model *b, const char *name)
{
    const sv_parameter *p = sv_parameters_find(a->parameters, name), *q = sv_parameters_find(b->parameters, name);
    return p && q && p->count == q->count && memcmp(p->value, q->value, p->count * sizeof(sv_real)) == 0;
}

static void assert_all_equal(const sv_model *a, const sv_model *b, const char *what)
{
    assert_int_equal(a->parameters->count, b->parameters->count);
    for (size_t i = 0; i < a->parameters->count; i++)
        if (!equal(a, b, a->parameters->items[i]->name)) fail_msg("%s: '%s' differs", what, a->parameters->items[i]->name);
}

/* ---- the log ----------------------------------------------------------------------------------------------------- */

static sv_text logged;
static void keep_line(void *context, sv_level level, const char *line)
{
    (void)context;
    sv_text_add(&logged, "%s%s\n", level == SV_WARNING ? "! " : "", line);
}
static int catch_log(void **state)
{
    (void)state;
    sv_log_set(keep_line, NULL, SV_INFO);
    sv_text_clear(&logged);
    return 0;
}
static int release_log(void **state)
{
    (void)state;
    sv_log_set(NULL, NULL, SV_INFO);
    sv_text_clear(&logged);
    return 0;
}
static bool said(const char *part) { return logged.data && strstr(logged.data, part); }

/* Refused with every part in the sentence, the model as before. */
static void assert_refused(sv_model *model, const char *path, const sv_load_options *options, const char *const *parts)
{
    sv_real *before = NULL;
    sv_error err = { 0 };
    uint64_t version = model->parameters->version;
    size_t bytes = model->parameters->total * sizeof *before;
    bool is_new[TENSORS_MOST];
    memset(is_new, 2, sizeof is_new);
    assert_ok(sv_alloc(&before, bytes, "test", &err), err);
    memcpy(before, model->parameters->values, bytes);
    sv_status status = sv_model_load(model, path, options, 1, is_new, &err);
    for (size_t i = 0; parts[i]; i++)
        if (status != SV_MODEL_FILE || !strstr(err.text, parts[i]))
            fail_msg("expected a refusal that says '%s', got %d '%s'", parts[i], (int)status, status ? err.text : "");
    assert_true(strstr(err.text, path) != NULL);
    assert_memory_equal(before, model->parameters->values, bytes);
    assert_true(version == model->parameters->version);
    for (size_t i = 0; i < sizeof is_new; i++) assert_int_equal(((unsigned char *)is_new)[i], 2);
    sv_free(before);
}
#define ASSERT_REFUSED(model, path, options, ...) assert_refused(model, path, options, (const char *const[]){ __VA_ARGS__, NULL })

/* ---- good files -------------------------------------------------------------------------------------------------- */

static sv_model_options random_sizes(sv_random *random)
{
    size_t patch = 1 + sv_random_below(random, 4), heads = 1 + sv_random_below(random, 3);
    return (sv_model_options){ .patch = patch,
                               .image = patch * (1 + sv_random_below(random, 5)),
                               .heads = heads,
                               .width = heads * (1 + sv_random_below(random, 9)),
                               .depth = 1 + sv_random_below(random, 3),
                               .mlp_ratio = 1 + (double)sv_random_below(random, 3),
                               .classes = 1 + sv_random_below(random, 7),
                               .distilled = sv_random_below(random, 2) != 0 };
}

static void saved_models_load_equal_under_every_naming(void **state)
{
    (void)state;
    static const file_form forms[] = { { .prefix = "" },
                                       { .prefix = "", .pth = true },
                                       { .prefix = "module." },
                                       { .prefix = "_orig_mod." },
                                       { .prefix = "module._orig_mod.", .pth = true },
                                       { .prefix = "", .hugging_face = true },
                                       { .prefix = "vit.", .hugging_face = true },
                                       { .prefix = "deit.", .hugging_face = true, .teacher_heads = true } };
    sv_load_options options = { .need_all = true };
    for (uint64_t seed = 0; seed < 8 * SV_COUNT(forms); seed++) {
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 0, 0, 0);
        sv_model_options sizes = random_sizes(&random);
        sv_model *from = make(&sizes, seed, false), *to = make(&sizes, seed + 1000, false);
        sv_error err = { 0 };
        char what[64];
        bool is_new[TENSORS_MOST];
        snprintf(what, sizeof what, "seed %d, form %d", (int)seed, (int)(seed % SV_COUNT(forms)));
        if (sv_model_load(to, save(from, &forms[seed % SV_COUNT(forms)]), &options, 0, is_new, &err)) fail_msg("%s: %s", what, err.text);
        assert_all_equal(from, to, what);
        for (size_t i = 0; i < to->parameters->count; i++) assert_false(is_new[i]);
        sv_model_destroy(from);
        sv_model_destroy(to);
    }
    assert_null(logged.data);
}

static void half_and_double_weights_are_converted(void **state)
{
    (void)state;
    /* 1.5, -2, 0.25 in each form */
    static const uint16_t half[] = { 0x3e00, 0xc000, 0x3400 }, brain[] = { 0x3fc0, 0xc000, 0x3e80 };
    static const double full[] = { 1.5, -2, 0.25 };
    static const struct {
        const char *dtype;
        const void *bytes;
    } forms[] = { { "float16", half }, { "bfloat16", brain }, { "float64", full } };
    sv_model_options sizes = { .classes = 3 };
    for (size_t f = 0; f < SV_COUNT(forms); f++) {
        sv_model *model = make(&sizes, 1, false);
        sv_weights_writer *writer = NULL;
        sv_load_options options = { .need_all = true };
        sv_error err = { 0 };
        assert_ok(sv_weights_writer_create(&writer, &err), err);
        for (size_t i = 0; i < model->parameters->count; i++) {
            const sv_parameter *p = model->parameters->items[i];
            if (strcmp(p->name, "head.bias") == 0)
                assert_ok(sv_weights_writer_add(writer, p->name, forms[f].dtype, 1, p->shape, forms[f].bytes, &err), err);
            else
                put(writer, p->name, p->dims, p->shape, p->value);
        }
        assert_ok(sv_weights_write_safetensors(writer, in_folder("half.safetensors"), SV_WITHOUT_CRC, &err), err);
        sv_weights_writer_destroy(writer);
        assert_ok(sv_model_load(model, in_folder("half.safetensors"), &options, 0, NULL, &err), err);
        for (size_t k = 0; k < 3; k++) assert_true((double)sv_parameters_find(model->parameters, "head.bias")->value[k] == full[k]);
        sv_model_destroy(model);
    }
}

static void head_of_another_class_count_is_made_anew_and_said(void **state)
{
    (void)state;
    sv_model_options thousand = { .classes = 1000 }, two = { .classes = 2 };
    sv_model *from = make(&thousand, 1, false), *to = make(&two, 2, false), *again = make(&two, 3, false);
    sv_load_options options = { 0 }, strict = { .need_all = true };
    sv_error err = { 0 };
    bool is_new[TENSORS_MOST];
    double squares = 0;
    const char *path = save(from, &(file_form){ .prefix = "" });
    ASSERT_REFUSED(to, path, &strict, "head.weight", "[1000,32]", "[2,32]");
    assert_ok(sv_model_load(to, path, &options, 5, is_new, &err), err);
    assert_ok(sv_model_load(again, path, &options, 5, NULL, &err), err);
    assert_true(said("head re-made: file has 1000 classes, the run has 2\n"));
    for (size_t i = 0; i < to->parameters->count; i++) {
        const sv_parameter *p = to->parameters->items[i];
        bool head = strncmp(p->name, "head", 4) == 0;
        assert_int_equal(is_new[i], head);
        if (!head) assert_true(equal(from, to, p->name));
    }
    const sv_parameter *weight = sv_parameters_find(to->parameters, "head.weight"), *bias = sv_parameters_find(to->parameters, "head.bias");
    for (size_t k = 0; k < weight->count; k++) squares += (double)weight->value[k] * (double)weight->value[k];
    assert_true(sqrt(squares / 64) > 0.01 && sqrt(squares / 64) < 0.03); /* 64 draws of .02: beyond five deviations of the estimate */
    assert_true(bias->value[0] == 0 && bias->value[1] == 0);
    assert_all_equal(to, again, "the same seed");
    sv_model_destroy(from);
    sv_model_destroy(to);
    sv_model_destroy(again);
}

static void positions_of_another_grid_are_resized_behind_the_prefix(void **state)
{
    (void)state;
    for (int distilled = 0; distilled < 2; distilled++) {
        sv_model_options coarse = { .image = 16, .distilled = distilled }, fine = { .image = 28, .distilled = distilled };
        sv_model *from = make(&coarse, 1, false), *to = make(&fine, 2, false);
        sv_load_options options = { .resize = SV_RESIZE_BILINEAR }, strict = { .need_all = true };
        sv_error err = { 0 };
        sv_real want[49 * 32];
        size_t prefix = (1 + (size_t)distilled) * 32;
        const char *path = save(from, &(file_form){ .prefix = "" });
        ASSERT_REFUSED(to, path, &strict, "pos_embed");
        assert_ok(sv_model_load(to, path, &options, 0, NULL, &err), err);
        assert_true(said("positions resized from 4 x 4 to 7 x 7"));
        const sv_real *old = sv_parameters_find(from->parameters, "pos_embed")->value,
                      *new = sv_parameters_find(to->parameters, "pos_embed")->value;
        assert_ok(sv_positions_resize(want, 7, old + prefix, 4, 32, SV_RESIZE_BILINEAR, &err), err);
        assert_memory_equal(new, old, prefix * sizeof *new);
        assert_memory_equal(new + prefix, want, sizeof want);
        sv_model_destroy(from);
        sv_model_destroy(to);
    }
}

static void tensors_that_are_no_parameters_are_passed_over(void **state)
{
    (void)state;
    sv_model *from = make(NULL, 1, true), *to = make(NULL, 2, false);
    sv_load_options options = { 0 };
    sv_error err = { 0 };
    assert_ok(sv_model_load(
                  to,
                  save(from, &(file_form){ .prefix = "", .extra = { "ema.cls_token", "optim.first.cls_token", "pre_logits.fc.weight" } }),
                  &options, 0, NULL, &err),
              err);
    assert_true(equal(from, to, "blocks.3.mlp.fc2.bias"));
    assert_false(said("! "));
    assert_true(said("14 tensors of selectors"));
    assert_ok(sv_model_load(to, save(from, &(file_form){ .prefix = "", .extra = { "teacher.scale" } }), &options, 0, NULL, &err), err);
    assert_true(said("! unexpected  teacher.scale"));
    sv_model_destroy(from);
    sv_model_destroy(to);
}

/* ---- files that do not fit --------------------------------------------------------------------------------------- */

static void missing_tensors_stand_in_one_table_and_the_model_stays(void **state)
{
    (void)state;
    sv_model *from = make(NULL, 1, false), *to = make(NULL, 2, false);
    sv_load_options options = { 0 };
    ASSERT_REFUSED(to, save(from, &(file_form){ .prefix = "", .without = "blocks.2" }), &options, "12 tensors missing",
                   "blocks.2.norm1.weight", "blocks.2.norm1.bias", "...");
    assert_true(said("! missing     blocks.2.mlp.fc1.weight                               [64,32]\n"));
    ASSERT_REFUSED(to, save(from, &(file_form){ .prefix = "deit.", .hugging_face = true, .without = "norm.bias" }), &options,
                   "1 tensors missing", "'deit.layernorm.bias'");
    ASSERT_REFUSED(to, save(from, &(file_form){ .prefix = "", .without = "" }), &options, "tensors missing");
    sv_model_destroy(from);
    sv_model_destroy(to);
}

static void files_of_other_models_are_refused_with_the_way_out(void **state)
{
    (void)state;
    sv_model_options deep = { .depth = 5 }, wide = { .width = 64 }, distilled = { .distilled = true },
                     tiny = { .width = 192, .heads = 3, .depth = 1 },
                     tiny_distilled = { .width = 192, .heads = 3, .depth = 1, .distilled = true };
    sv_load_options options = { 0 };
    const struct {
        const sv_model_options *file, *model;
        const char *part, *way;
    } cases[] = {
        { &deep, NULL, "12 foreign", "blocks.4.norm1.weight" },
        { NULL, &deep, "12 tensors missing", "blocks.4.norm1.weight" },
        { &wide, NULL, "misshapen", "model.width = 64" },
        { &distilled, NULL, "with distillation", "model.distilled = yes" },
        { NULL, &distilled, "without distillation", "model.distilled = no" },
        { &tiny_distilled, &tiny, "with distillation", "model.arch = deit_t_distilled" },
        { &tiny, &tiny_distilled, "without distillation", "model.arch = deit_t" },
    };
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        sv_model *from = make(cases[i].file, 1, false), *to = make(cases[i].model, 2, false);
        ASSERT_REFUSED(to, save(from, &(file_form){ .prefix = "" }), &options, cases[i].part, cases[i].way);
        sv_model_destroy(from);
        sv_model_destroy(to);
    }
}

static void weights_that_are_integers_are_refused(void **state)
{
    (void)state;
    sv_model *model = make(NULL, 1, false);
    sv_weights_writer *writer = NULL;
    sv_load_options options = { 0 };
    sv_error err = { 0 };
    int64_t whole[32] = { 0 };
    assert_ok(sv_weights_writer_create(&writer, &err), err);
    for (size_t i = 0; i < model->parameters->count; i++) {
        const sv_parameter *p = model->parameters->items[i];
        if (strcmp(p->name, "norm.bias") == 0)
            assert_ok(sv_weights_writer_add(writer, p->name, "int64", 1, p->shape, whole, &err), err);
        else
            put(writer, p->name, p->dims, p->shape, p->value);
    }
    assert_ok(sv_weights_write_safetensors(writer, in_folder("whole.safetensors"), SV_WITHOUT_CRC, &err), err);
    sv_weights_writer_destroy(writer);
    ASSERT_REFUSED(model, in_folder("whole.safetensors"), &options, "'norm.bias'", "int64", "float32");
    sv_model_destroy(model);
}

/* ---- selectors --------------------------------------------------------------------------------------------------- */

/* The reference's file: every shared tensor once a head (two heads); `other` makes head 1's fc1 differ. */
static const char *save_reference(const sv_model *model, bool other, const char *left_out)
{
    static const struct {
        const char *own, *list;
        char place;
    } words[] = { { "norm.", "in_conv", '0' },
                  { "fc_in.", "in_conv", '1' },
                  { "fc1.", "out_conv", '0' },
                  { "fc2.", "out_conv", '2' },
                  { "fc_out.", "out_conv", '4' } };
    static sv_real changed[8 * 16];
    sv_weights_writer *writer = NULL;
    sv_error err = { 0 };
    assert_ok(sv_weights_writer_create(&writer, &err), err);
    for (size_t i = 0; i < model->parameters->count; i++) {
        const sv_parameter *p = model->parameters->items[i];
        const char *own = p->name + strlen("selectors.0."), *ending = strrchr(p->name, '.');
        char name[256];
        if (strncmp(p->name, "selectors.", 10) != 0) {
            put(writer, p->name, p->dims, p->shape, p->value);
            continue;
        }
        if (strncmp(own, "head_fc", 7) == 0) {
            snprintf(name, sizeof name, "score_predictor.0.senet.%c%s", own[7] == '1' ? '0' : '2', ending);
            put(writer, name, p->dims, p->shape, p->value);
            continue;
        }
        for (size_t w = 0; w < SV_COUNT(words); w++) {
            if (strncmp(own, words[w].own, strlen(words[w].own)) != 0) continue;
            for (int head = 0; head < 2; head++) {
                bool differs = other && head == 1 && strcmp(own, "fc1.weight") == 0;
                snprintf(name, sizeof name, "score_predictor.0.%s.%d.%c%s", words[w].list, head, words[w].place, ending);
                if (left_out && strcmp(name, left_out) == 0) continue;
                if (differs) {
                    memcpy(changed, p->value, sizeof changed);
                    changed[3] += 1;
                }
                put(writer, name, p->dims, p->shape, differs ? changed : p->value);
            }
        }
    }
    assert_ok(sv_weights_write_safetensors(writer, in_folder("reference.safetensors"), SV_WITHOUT_CRC, &err), err);
    sv_weights_writer_destroy(writer);
    return in_folder("reference.safetensors");
}

static void selectors_of_the_reference_load_where_heads_agree(void **state)
{
    (void)state;
    sv_model *from = make(NULL, 1, true), *to = make(NULL, 2, true);
    sv_load_options options = { .need_all = true }, optional = { .optional_selectors = true };
    sv_error err = { 0 };
    assert_ok(sv_model_load(to, save_reference(from, false, NULL), &options, 0, NULL, &err), err);
    assert_all_equal(from, to, "selectors of the reference");
    assert_false(said("! "));
    ASSERT_REFUSED(to, save_reference(from, true, NULL), &optional, "score_predictor.0.out_conv.1.0.weight", "share one set");
    ASSERT_REFUSED(to, save_reference(from, false, "score_predictor.0.in_conv.1.1.bias"), &optional, "score_predictor.0.in_conv.1.1.bias",
                   "head 1 of 2");
    ASSERT_REFUSED(to, save(from, &(file_form){ .prefix = "", .without = "selectors.", .extra = { "score_predictor.0.in_conv.0.weight" } }),
                   &optional, "DynamicViT");
    sv_model_destroy(from);
    sv_model_destroy(to);
}

static void absent_selectors_keep_their_values_where_they_may(void **state)
{
    (void)state;
    sv_model *from = make(NULL, 1, true), *to = make(NULL, 2, true), *before = make(NULL, 2, true);
    sv_load_options options = { 0 }, optional = { .optional_selectors = true };
    sv_error err = { 0 };
    bool is_new[TENSORS_MOST];
    const char *path = save(from, &(file_form){ .prefix = "", .without = "selectors." });
    ASSERT_REFUSED(to, path, &options, "14 tensors missing", "selectors.0.norm.weight");
    assert_ok(sv_model_load(to, path, &optional, 0, is_new, &err), err);
    for (size_t i = 0; i < to->parameters->count; i++) {
        const char *name = to->parameters->items[i]->name;
        bool selector = strncmp(name, "selectors.", 10) == 0;
        assert_int_equal(is_new[i], selector);
        assert_true(equal(selector ? before : from, to, name));
    }
    sv_model_destroy(from);
    sv_model_destroy(to);
    sv_model_destroy(before);
}

/* ---- memory and real weights ------------------------------------------------------------------------------------- */

static void each_failing_allocation_leaves_the_model_and_no_leak(void **state)
{
    (void)state;
    sv_model_options fine = { .image = 24, .classes = 9 };
    sv_model *from = make(&fine, 1, false), *to = make(NULL, 2, false), *before = make(NULL, 2, false);
    sv_load_options options = { 0 };
    const char *path = save(from, &(file_form){ .prefix = "vit.", .hugging_face = true });
    sv_status status = SV_FAULT;
    sv_log_set(NULL, NULL, SV_QUIET);
    for (uint64_t n = 1; status; n++) {
        sv_error err = { 0 };
        size_t live = sv_memory_now().live, descriptors = open_descriptors();
        sv_fault_set(SV_FAULT_ALLOC, n, false);
        status = sv_model_load(to, path, &options, 0, NULL, &err);
        sv_fault_set(SV_FAULT_ALLOC, 0, false);
        assert_int_equal(sv_memory_now().live, live);
        assert_int_equal(open_descriptors(), descriptors);
        if (!status) break;
        assert_true(status == SV_FAULT && err.text[0]);
        assert_all_equal(before, to, "after a failure");
        assert_true(n < 1000);
    }
    assert_true(equal(from, to, "norm.weight"));
    sv_model_destroy(from);
    sv_model_destroy(to);
    sv_model_destroy(before);
}

static void real_deit_weights_load_whole(void **state)
{
    (void)state;
    const char *base = getenv("SIEVE_DATA");
    char path[512];
    sv_model *model = NULL;
    sv_load_options options = { .need_all = true };
    sv_error err = { 0 };
    size_t numbers = 0;
    snprintf(path, sizeof path, "%s/weights/deit_tiny_patch16_224.pth", base ? base : "../shared/data");
    if (!sv_path_is_file(path)) {
        print_message("no %s\n", path);
        skip();
    }
    assert_ok(sv_model_create(&model, "deit_t", NULL, &err), err);
    assert_ok(sv_model_allocate(model, false, &err), err);
    assert_ok(sv_model_load(model, path, &options, 0, NULL, &err), err);
    for (size_t i = 0; i < model->parameters->count; i++) numbers += model->parameters->items[i]->count;
    assert_int_equal(model->parameters->count, 152);
    assert_int_equal(numbers, 5717416);
    assert_null(logged.data);
    sv_model_destroy(model);
}

#define LOGGED(test) cmocka_unit_test_setup_teardown(test, catch_log, release_log)
int main(void)
{
    const struct CMUnitTest tests[] = {
        LOGGED(saved_models_load_equal_under_every_naming),           LOGGED(half_and_double_weights_are_converted),
        LOGGED(head_of_another_class_count_is_made_anew_and_said),    LOGGED(positions_of_another_grid_are_resized_behind_the_prefix),
        LOGGED(tensors_that_are_no_parameters_are_passed_over),       LOGGED(missing_tensors_stand_in_one_table_and_the_model_stays),
        LOGGED(files_of_other_models_are_refused_with_the_way_out),   LOGGED(weights_that_are_integers_are_refused),
        LOGGED(selectors_of_the_reference_load_where_heads_agree),    LOGGED(absent_selectors_keep_their_values_where_they_may),
        LOGGED(each_failing_allocation_leaves_the_model_and_no_leak), LOGGED(real_deit_weights_load_whole),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
