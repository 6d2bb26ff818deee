/* train/teacher.c: which model a file becomes, which losses it may give, and that nothing is left behind where it fails. */
#include "tests/unit/base/test_base.h"

#include "base/fault.h"
#include "kernels/kernels.h"
#include "train/checkpoint.h"
#include "train/teacher.h"

/* "key=value" pairs over the keys of models, pruning and teachers; ends with NULL. */
static sv_config *config_of(const char *const *pairs)
{
    sv_config_group groups[] = { sv_model_config, sv_pruning_config, sv_teacher_config };
    sv_config *config = NULL;
    sv_error err = { 0 };
    assert_ok(sv_config_create(&config, groups, SV_COUNT(groups), &err), err);
    for (; pairs && *pairs; pairs++) {
        char key[128];
        const char *equals = strchr(*pairs, '=');
        snprintf(key, sizeof key, "%.*s", (int)(equals - *pairs), *pairs);
        assert_ok(sv_config_set(config, key, equals + 1, "test.ini:1", &err), err);
    }
    return config;
}

static sv_model *make(const sv_model_options *sizes, uint64_t seed)
{
    sv_model *model = NULL;
    sv_error err = { 0 };
    assert_ok(sv_model_create(&model, "vit_test", sizes, &err), err);
    assert_ok(sv_model_allocate(model, false, &err), err);
    sv_model_initialise(model, seed);
    return model;
}

/* As a checkpoint of ours (told) or as bare weights. */
static const char *save(const sv_model *model, bool told)
{
    sv_text text = { 0 };
    sv_error err = { 0 };
    sv_model_print(model, &text);
    sv_checkpoint checkpoint = { .set = model->parameters, .model = told ? text.data : NULL };
    const char *path = in_folder(told ? "told.safetensors" : "bare.safetensors");
    assert_ok(sv_checkpoint_write(&checkpoint, path, &err), err);
    sv_text_clear(&text);
    return path;
}

static const sv_model_options wide = { .image = 24, .patch = 8, .width = 48, .depth = 2, .heads = 4, .distilled = true, .drop_path = 0.5 };

static void assert_same_weights(const sv_model *a, const sv_model *b, const char *name)
{
    const sv_parameter *p = sv_parameters_find(a->parameters, name), *q = sv_parameters_find(b->parameters, name);
    assert_non_null(q);
    assert_int_equal(p->count, q->count);
    assert_memory_equal(p->value, q->value, p->count * sizeof *p->value);
}

static void a_checkpoint_tells_its_sizes_and_pictures_are_the_runs(void **state)
{
    (void)state;
    sv_model *from = make(&wide, 1), *student = make(NULL, 2), *teacher = NULL;
    sv_config *config = config_of(NULL);
    sv_teacher_options options = { .file = save(from, true), .arch = "" };
    sv_error err = { 0 };
    student->options.precision = SV_PRECISION_BF16, student->options.recompute = true;
    assert_ok(sv_teacher_load(&teacher, &options, config, student, NULL, &err), err);
    assert_int_equal(teacher->options.width, 48);
    assert_int_equal(teacher->options.depth, 2);
    assert_true(teacher->options.distilled && teacher->options.drop_path == 0 && !teacher->options.recompute);
    assert_true(teacher->options.precision == SV_PRECISION_BF16);
    assert_int_equal(teacher->options.image, student->options.image);
    assert_int_equal(sv_model_patches(teacher), 4); /* positions of 3 x 3 resized */
    assert_null(teacher->parameters->gradients);
    assert_same_weights(from, teacher, "head_dist.weight");
    sv_model_destroy(teacher);
    sv_config_destroy(config);
    sv_model_destroy(student);
    sv_model_destroy(from);
}

static void bare_weights_have_the_arch_that_is_given_else_the_students_sizes(void **state)
{
    (void)state;
    sv_model_options sizes = { .width = 48, .heads = 4, .depth = 3 };
    sv_model *from = make(&sizes, 1), *student = make(&sizes, 2), *teacher = NULL;
    sv_config *config = config_of(NULL);
    sv_teacher_options options = { .file = save(from, false), .arch = "" };
    sv_error err = { 0 };
    assert_ok(sv_teacher_load(&teacher, &options, config, student, NULL, &err), err);
    assert_same_weights(from, teacher, "blocks.2.mlp.fc2.weight");
    sv_model_destroy(teacher);
    options.arch = "vit_test";
    teacher = NULL;
    assert_int_equal(sv_teacher_load(&teacher, &options, config, student, NULL, &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "does not fit vit_test"));
    assert_null(teacher);
    sv_config_destroy(config);
    sv_model_destroy(student);
    sv_model_destroy(from);
}

static void another_class_count_is_refused_with_both_counts(void **state)
{
    (void)state;
    sv_model_options more = { .classes = 9 };
    sv_model *from = make(&more, 1), *student = make(NULL, 2), *teacher = NULL;
    sv_config *config = config_of(NULL);
    sv_error err = { 0 };
    for (int told = 0; told < 2; told++) {
        sv_teacher_options options = { .file = save(from, told), .arch = "" };
        assert_int_equal(sv_teacher_load(&teacher, &options, config, student, NULL, &err), SV_MODEL_FILE);
        assert_non_null(strstr(err.text, "answers with 9 classes, but 5 are needed"));
    }
    sv_config_destroy(config);
    sv_model_destroy(student);
    sv_model_destroy(from);
}

static void each_failing_allocation_leaves_nothing(void **state)
{
    (void)state;
    sv_model *from = make(&wide, 1), *student = make(NULL, 2), *teacher = NULL;
    sv_config *config = config_of(NULL);
    sv_teacher_options options = { .file = save(from, true), .arch = "" };
    sv_status status = SV_FAULT;
    for (uint64_t n = 1; status; n++) {
        sv_error err = { 0 };
        size_t live = sv_memory_now().live, descriptors = open_descriptors();
        sv_fault_set(SV_FAULT_ALLOC, n, false);
        status = sv_teacher_load(&teacher, &options, config, student, NULL, &err);
        sv_fault_set(SV_FAULT_ALLOC, 0, false);
        if (!status) break;
        assert_true(status == SV_FAULT && err.text[0] && !teacher);
        assert_int_equal(sv_memory_now().live, live);
        assert_int_equal(open_descriptors(), descriptors);
        assert_true(n < 1000);
    }
    sv_model_destroy(teacher);
    sv_config_destroy(config);
    sv_model_destroy(student);
    sv_model_destroy(from);
}

static void the_mark_is_of_the_weights(void **state)
{
    (void)state;
    char first[SV_TEACHER_MARK], again[SV_TEACHER_MARK], other[SV_TEACHER_MARK];
    sv_model *a = make(NULL, 1), *b = make(NULL, 1);
    sv_teacher_mark(first, a);
    sv_teacher_mark(again, b);
    assert_string_equal(first, again);
    sv_parameters_find(b->parameters, "head.bias")->value[4] += (sv_real)1e-6;
    sv_teacher_mark(other, b);
    assert_string_not_equal(first, other);
    sv_model_destroy(a);
    sv_model_destroy(b);
}

/* ---- what goes together ---- */

typedef enum sort { NOBODY, SAME, OTHER_WIDTH } sort;
typedef struct choice {
    const char *keys[6];
    sort teacher;
    double kl, token;   /* in force */
    const char *says;   /* NULL: accepted */
} choice;

#define PRUNED "pruning.method=spvit"
#define TAUGHT "train.teacher=x.pth"
static const choice choices[] = {
    { { NULL }, NOBODY, 0, 0, NULL },
    { { PRUNED }, SAME, 0.5, 0.5, NULL },
    { { PRUNED, "train.distillation=soft" }, SAME, 0, 0.5, NULL },
    { { PRUNED, TAUGHT }, OTHER_WIDTH, 0.5, 0, NULL },
    { { PRUNED, TAUGHT, "train.distillation=hard" }, OTHER_WIDTH, 0, 0, NULL },
    { { TAUGHT, "train.distillation=hard" }, SAME, 0, 0, NULL },
    { { TAUGHT, "pruning.token_weight=0.25" }, SAME, 0, 0.25, NULL },
    { { TAUGHT, "pruning.distill_weight=2" }, OTHER_WIDTH, 2, 0, NULL },
    { { TAUGHT }, SAME, 0, 0, "would teach nothing" },
    { { PRUNED, TAUGHT, "pruning.distill_weight=0", "pruning.token_weight=0" }, SAME, 0, 0, "would teach nothing" },
    { { PRUNED, TAUGHT, "pruning.token_weight=0.5" }, OTHER_WIDTH, 0, 0, "16 of width 32 and the teacher 16 of width 48" },
    { { TAUGHT, "train.distillation=soft", "pruning.token_weight=0.5" }, OTHER_WIDTH, 0, 0, "pruning.token_weight" },
    { { "train.distillation=soft" }, NOBODY, 0, 0, "nobody to learn from" },
    { { TAUGHT, "train.distillation=soft", "pruning.distill_weight=0.5" }, SAME, 0, 0, "give one of them" },
    { { "train.teacher_arch=vit_test" }, NOBODY, 0, 0, "no teacher" },
    { { TAUGHT, "train.teacher_arch=vit_tesd", "train.distillation=soft" }, SAME, 0, 0, "did you mean 'vit_test'" },
};

static void weights_in_force_are_those_that_fit_the_teacher(void **state)
{
    (void)state;
    sv_model_options other = { .width = 48, .heads = 4 };
    sv_model *student = make(NULL, 1), *models[] = { NULL, make(NULL, 2), make(&other, 3) };
    for (size_t i = 0; i < SV_COUNT(choices); i++) {
        const choice *c = &choices[i];
        sv_config *config = config_of(c->keys);
        sv_teacher_options options;
        sv_pruning_options weights;
        sv_error err = { 0 };
        assert_ok(sv_config_set(config, "pruning.at", "1,3", "test", &err), err);
        sv_status status = sv_pruning_options_read(&weights, config, student, &err);
        if (!status) status = sv_teacher_options_read(&options, config, &err);
        if (!status) status = sv_teacher_weigh(&weights, &options, config, student, models[c->teacher], &err);
        if ((status != SV_OK) != (c->says != NULL)) fail_msg("choice %zu: '%s'", i, err.text);
        if (status && (status != SV_USAGE || !strstr(err.text, c->says))) fail_msg("choice %zu: '%s' is not in '%s'", i, c->says, err.text);
        if (!status && (weights.kl_weight != c->kl || weights.token_weight != c->token))
            fail_msg("choice %zu: weights %g and %g, expected %g and %g", i, weights.kl_weight, weights.token_weight, c->kl, c->token);
        sv_config_destroy(config);
    }
    for (size_t i = 0; i < SV_COUNT(models); i++) sv_model_destroy(models[i]);
    sv_model_destroy(student);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_tells_its_sizes_and_pictures_are_the_runs),
        cmocka_unit_test(bare_weights_have_the_arch_that_is_given_else_the_students_sizes),
        cmocka_unit_test(another_class_count_is_refused_with_both_counts),
        cmocka_unit_test(each_failing_allocation_leaves_nothing),
        cmocka_unit_test(the_mark_is_of_the_weights),
        cmocka_unit_test(weights_in_force_are_those_that_fit_the_teacher),
    };
    sv_kernels_init();
    sv_log_set(NULL, NULL, SV_QUIET);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
