/* Students that learn from a teacher of other sizes, against PyTorch in double with the loss of DeiT's losses.py: soft at three temperatures
 * and hard, on the distillation head and on the only head, with token distillation across other numbers of prefix rows, and with selectors.
 * Needs data/distill.txt alone; it is made by data/make_distill.py. */
#include "test_hashed.h"

enum { PATCHES = 16 };

typedef struct distill_case {
    const char *name;
    sv_distillation kind;
    double tau, alpha;
    bool distilled, pruned;
    double token_weight;
    sv_model_options teacher;
} distill_case;

#define TEACHER(width_, heads_, depth_, patch_, distilled_) { .width = width_, .heads = heads_, .depth = depth_, .patch = patch_, .classes = CLASSES, .distilled = distilled_ }
static const distill_case cases[] = {
    { "soft", SV_DISTILL_SOFT, 1, 0.5, true, false, 0, TEACHER(16, 2, 2, 8, false) },
    { "soft_warm", SV_DISTILL_SOFT, 3, 0.3, false, false, 0, TEACHER(16, 2, 2, 8, true) },
    { "hard", SV_DISTILL_HARD, 1, 0.5, true, false, 0, TEACHER(16, 2, 3, 4, false) },
    { "hard_one_head", SV_DISTILL_HARD, 1, 0.25, false, false, 0.5, TEACHER(24, 2, 2, 4, true) },
    { "soft_pruned", SV_DISTILL_SOFT, 2, 0.7, true, true, 0.5, TEACHER(24, 3, 2, 4, false) },
    { "hard_alone", SV_DISTILL_HARD, 1, 1, true, false, 0, TEACHER(16, 2, 2, 4, true) },
};
static const sv_pruning_plan selectors = { .stages = 2, .at = { 1, 3 }, .keep = { 0.7, 0.4 }, .package = SV_CHOICE_WAVG, .empty = SV_EMPTY_MASK };

typedef struct distill_world {
    sv_model *student, *teacher;
    sv_pruning *pruning;
    sv_training_tape t;
} distill_world;

static sv_training_choice choice_of(const distill_case *c)
{
    return (sv_training_choice){ .images = IMAGES, .lanes = 2, .given_noise = true, .distillation = c->kind, .distill_alpha = c->alpha, .distill_tau = c->tau };
}

static void make_models(distill_world *w, const distill_case *c)
{
    sv_model_options sizes = { .width = 24, .heads = 3, .depth = 5, .classes = CLASSES, .distilled = c->distilled };
    sv_pruning_options options = { .mask_clamp = 30, .tau = 1, .token_weight = c->token_weight };
    sv_error err = { 0 };
    if (c->pruned) options.plan = selectors;
    sv_plan_fit_grid(&options.plan, PATCHES);
    sv_plan_set_keep(&options.plan, selectors.keep);
    if (sv_model_create(&w->student, "vit_test", &sizes, &err) || sv_pruning_create(&w->pruning, w->student, &options, &err)
        || sv_model_allocate(w->student, true, &err) || sv_model_create(&w->teacher, "vit_test", &c->teacher, &err)
        || sv_model_allocate(w->teacher, false, &err))
        fail_msg("%s", err.text);
    fill_weights(w->student, "");
    fill_weights(w->teacher, "teacher/");
}

static void close_world(distill_world *w)
{
    sv_training_clear(&w->t);
    sv_pruning_destroy(w->pruning);
    sv_model_destroy(w->student);
    sv_model_destroy(w->teacher);
}

static void fill_inputs(const sv_training_tape *t)
{
    char name[32];
    fill_pictures(t->tape, t->picture);
    fill_targets(t);
    for (size_t s = 0; s < t->stages; s++) {
        sv_real *goal = sv_tape_data(t->tape, t->goal[s], 0);
        goal[0] = (sv_real)selectors.keep[s], goal[1] = 0, goal[2] = 1;
        for (size_t b = 0; b < IMAGES; b++) {
            snprintf(name, sizeof name, "noise%zu%zu", s, b);
            for (size_t j = 0; j < PATCHES; j++) sv_tape_data(t->tape, t->noise[s], b)[j] = (sv_real)both("", name, j);
        }
    }
}

static void step_equals(const distill_case *c)
{
    distill_world w = { 0 };
    sv_training_choice choice = choice_of(c);
    worst losses = { 0 }, gradients = { 0 };
    sv_step step = { .images = IMAGES };
    sv_error err = { 0 };
    make_models(&w, c);
    if (sv_training_record(&w.t, w.pruning, w.teacher, &choice, &err)) fail_msg("%s: %s", c->name, err.text);
    fill_inputs(&w.t);
    if (sv_tape_forward(w.t.tape, &step, &err)) fail_msg("%s: %s", c->name, err.text);
    sv_tape_backward(w.t.tape, 1);
    hold_logits(c->name, &losses, "logits", w.t.tape, w.t.logits);
    hold_logits(c->name, &losses, "distilled", w.t.tape, w.t.distilled);
    hold_logits(c->name, &losses, "teacher_logits", w.t.tape, w.t.teacher_logits);
    hold_scalar(c->name, &losses, "loss_cls", w.t.tape, w.t.cls);
    hold_scalar(c->name, &losses, "loss_distill", w.t.tape, w.t.distill);
    if (c->token_weight > 0) hold_scalar(c->name, &losses, "loss_token", w.t.tape, w.t.token);
    hold_scalar(c->name, &losses, "loss", w.t.tape, w.t.loss);
    hold_all_gradients(c->name, w.student->parameters, &gradients);
    print_message("%s: logits and losses %.1e (%s), gradients %.1e (%s)\n", c->name, losses.off, losses.where, gradients.off, gradients.where);
    assert_true(losses.off <= bound);
    assert_true(gradients.off <= gradient_bound);
    close_world(&w);
}

static void steps_equal_pytorch(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) step_equals(&cases[i]);
}

/* What sv_training_record refuses, in a sentence. */
static void refused(const distill_case *c, bool with_teacher, const char *says)
{
    distill_world w = { 0 };
    sv_training_choice choice = choice_of(c);
    sv_error err = { 0 };
    make_models(&w, c);
    assert_int_equal(sv_training_record(&w.t, w.pruning, with_teacher ? w.teacher : NULL, &choice, &err), SV_USAGE);
    if (!strstr(err.text, says)) fail_msg("'%s' is not in '%s'", says, err.text);
    assert_null(w.t.tape);
    close_world(&w);
}

static void a_teacher_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    distill_case c = cases[0];
    refused(&c, false, "needs a teacher");
    c.teacher.classes = CLASSES + 1;
    refused(&c, true, "8 classes, the student 16 and 7");
    c = cases[0], c.teacher.image = 2 * SIDE;
    refused(&c, true, "32 pixels");
    c = cases[0], c.token_weight = 1;
    refused(&c, true, "4 patches, 16 wide");
    c = cases[0], c.tau = 0;
    refused(&c, true, "temperature");
}

/* A teacher that went mad must not pass for one that is sure: the loss is not finite, and the teacher is named. */
static void a_teacher_of_nan_makes_a_hard_loss_of_nan(void **state)
{
    (void)state;
    distill_world w = { 0 };
    sv_training_choice choice = choice_of(&cases[2]);
    sv_step step = { .images = IMAGES };
    sv_error err = { 0 };
    make_models(&w, &cases[2]);
    sv_parameters_find(w.teacher->parameters, "head.bias")->value[3] = (sv_real)NAN;
    sv_parameters_changed(w.teacher->parameters);
    if (sv_training_record(&w.t, w.pruning, w.teacher, &choice, &err)) fail_msg("%s", err.text);
    fill_inputs(&w.t);
    if (sv_tape_forward(w.t.tape, &step, &err)) fail_msg("%s", err.text);
    assert_true(isnan((double)sv_tape_data(w.t.tape, w.t.loss, 0)[0]));
    close_world(&w);
}

static int name_lines(void **state)
{
    *state = (void *)(uintptr_t)"tests/golden/data/distill.txt";
    return read_lines(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_equal_pytorch),
        cmocka_unit_test(a_teacher_that_does_not_fit_is_refused),
        cmocka_unit_test(a_teacher_of_nan_makes_a_hard_loss_of_nan),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, name_lines, free_lines);
}
