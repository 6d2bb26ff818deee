/* Checkpoints of DynamicViT's ConvNeXt and Swin under the names their authors publish fill backbone, predictors and fast paths. */
#include "test_pruning.h"

#include "formats/weights.h"

typedef struct words {
    const char *own, *theirs;
} words;
/* How a name of ours begins, and theirs. */
typedef struct subject {
    const char *backbone;
    size_t at[2];
    words words[8];
    bool planes; /* predictors are 1 x 1 convolutions */
} subject;

static const subject subjects[] = {
    { "convnext_test",
      { 1, 2 },
      { { "stem.", "downsample_layers.0." }, { "head.norm.", "norm." }, { "head.fc.", "head." }, { "stages.1.downsample.", "downsample_layers.1." },
        { "stages.2.downsample.", "downsample_layers.2." } },
      true },
    { "swin_test",
      { 2, 3 },
      { { "head.fc.", "head." }, { "layers.1.downsample.", "layers.0.downsample." }, { "layers.2.downsample.", "layers.1.downsample." }, { "score_predictor.", "layers.2.score_predictor." } },
      false },
};

static void replace(char *name, size_t room, const char *from, const char *to)
{
    char rest[128];
    char *at = strstr(name, from);
    if (!at) return;
    snprintf(rest, sizeof rest, "%s", at + strlen(from));
    snprintf(at, room - (size_t)(at - name), "%s%s", to, rest);
}

static void their_name(const subject *s, const char *own, char *out, size_t room)
{
    snprintf(out, room, "%s", own);
    for (size_t i = 0; i < SV_COUNT(s->words) && s->words[i].own; i++)
        if (strncmp(own, s->words[i].own, strlen(s->words[i].own)) == 0) {
            replace(out, room, s->words[i].own, s->words[i].theirs);
            return;
        }
    if (!s->planes || strncmp(own, "stages.", 7) != 0) return;
    replace(out, room, ".blocks.", ".");
    replace(out, room, ".conv_dw.", ".dwconv.");
    replace(out, room, ".mlp.fc1.", ".pwconv1.");
    replace(out, room, ".mlp.fc2.", ".pwconv2.");
}

static sv_model *model_of(const subject *s, uint64_t seed)
{
    const sv_pruning_options options = { .plan = { .method = SV_METHOD_DYNAMICVIT, .stages = 2, .at = { s->at[0], s->at[1] }, .package = SV_CHOICE_NONE, .keep = { 0.7, 0.5 } } };
    sv_model *model = NULL;
    sv_pruning *pruning = NULL;
    sv_error err = { 0 };
    assert_ok(sv_model_create(&model, s->backbone, NULL, &err), err);
    assert_ok(sv_pruning_create(&pruning, model, &options, &err), err);
    assert_ok(sv_model_allocate(model, false, &err), err);
    sv_pruning_destroy(pruning);
    for (size_t i = 0; i < model->parameters->total; i++) {
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 1, i, 0);
        model->parameters->values[i] = (sv_real)sv_random_normal(&random);
    }
    return model;
}

static void published_names_fill_every_parameter(void **state)
{
    (void)state;
    for (size_t n = 0; n < SV_COUNT(subjects); n++) {
        const subject *s = &subjects[n];
        sv_model *from = model_of(s, 1), *to = model_of(s, 2);
        const sv_load_options load = { .need_all = true };
        sv_weights_writer *writer = NULL;
        sv_error err = { 0 };
        assert_ok(sv_weights_writer_create(&writer, &err), err);
        for (size_t i = 0; i < from->parameters->count; i++) {
            const sv_parameter *p = from->parameters->items[i];
            const bool plane = s->planes && p->dims == 2 && strncmp(p->name, "score_predictor.", 16) == 0;
            const size_t shape[] = { p->shape[0], p->shape[1], 1, 1 };
            char name[256];
            their_name(s, p->name, name, sizeof name);
            assert_ok(sv_weights_writer_add(writer, name, SV_REAL_DTYPE, plane ? 4 : p->dims, plane ? shape : p->shape, p->value, &err), err);
        }
        assert_ok(sv_weights_write_safetensors(writer, in_folder("model.safetensors"), SV_WITHOUT_CRC, &err), err);
        sv_weights_writer_destroy(writer);
        assert_ok(sv_model_load(to, in_folder("model.safetensors"), &load, 0, NULL, &err), err);
        for (size_t i = 0; i < from->parameters->count; i++) {
            const sv_parameter *a = from->parameters->items[i], *b = to->parameters->items[i];
            if (memcmp(a->value, b->value, a->count * sizeof *a->value) != 0) fail_msg("%s: '%s' differs", s->backbone, a->name);
        }
        sv_model_destroy(from);
        sv_model_destroy(to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(published_names_fill_every_parameter) };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
