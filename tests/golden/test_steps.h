/* What the golden tests of pruning methods share: one training step, and removals by the best k and by thresholds, of a tiny model against
 * numbers of PyTorch in double (test_hashed.h). A method brings its cases and its file of numbers. */
#ifndef SIEVE_TESTS_GOLDEN_TEST_STEPS_H
#define SIEVE_TESTS_GOLDEN_TEST_STEPS_H

#include "test_hashed.h"

enum { PATCHES = 16, WIDTH = 24 };

typedef struct small_case {
    const char *name;
    bool distilled;
    sv_pruning_options options;
    double goal[2]; /* linear and square weight of a stage's share */
    const char *backbone; /* NULL: vit_test */
    size_t image;         /* of 16 patches; 0: the backbone's */
    bool fixed;           /* nothing is learned about decisions: there are no noise, goals and scores to compare */
} small_case;

/* ---- inputs ------------------------------------------------------------------------------------------------------ */

/* Logistic; picture 0 keeps everything at stage 0, picture 2 drops everything there, picture 1 at the last stage. */
static inline void fill_noise(const sv_training_tape *t)
{
    char name[32];
    for (size_t s = 0; s < t->stages; s++)
        for (size_t b = 0; b < IMAGES; b++) {
            double sure = s + 1 == t->stages && b == 1 ? -50 : s == 0 && b == 0 ? 50 : s == 0 && b == 2 ? -50 : 0;
            snprintf(name, sizeof name, "noise%zu%zu", s, b);
            for (size_t j = 0; j < PATCHES; j++) {
                double u = unit("", name, j) * (1 - 2e-6) + 1e-6;
                sv_tape_data(t->tape, t->noise[s], b)[j] = (sv_real)(sure != 0 ? sure : log(u / (1 - u)));
            }
        }
}

static inline void fill_goals(const sv_training_tape *t, const small_case *c)
{
    for (size_t s = 0; s < t->stages; s++) {
        sv_real *goal = sv_tape_data(t->tape, t->goal[s], 0);
        goal[0] = (sv_real)c->options.plan.keep[s];
        goal[1] = (sv_real)c->goal[0];
        goal[2] = (sv_real)c->goal[1];
    }
}

static inline void fill_curve(const sv_training_tape *t)
{
    double full = 1.5;
    char name[16];
    if (!t->curve) return;
    sv_real *curve = sv_tape_data(t->tape, t->curve, 0);
    for (size_t s = 0; s < t->stages; s++) {
        double sum = 0;
        snprintf(name, sizeof name, "curve%zu", s);
        for (size_t k = 0; k <= PATCHES; k++) {
            sum += unit("", name, k);
            curve[3 + s * (PATCHES + 1) + k] = (sv_real)sum;
        }
        full += sum;
    }
    curve[0] = (sv_real)1.5;
    curve[1] = (sv_real)(0.35 * full);
    curve[2] = 0;
}

/* ---- one case ---------------------------------------------------------------------------------------------------- */

typedef struct small_world {
    const small_case *c;
    sv_model *student, *teacher;
    sv_pruning *pruning;
    sv_pruning_options options;
    sv_training_tape t;
} small_world;

static inline small_world small_open(const small_case *c)
{
    small_world w = { .c = c, .options = c->options };
    sv_model_options sizes = { .width = WIDTH, .heads = 3, .depth = 5, .classes = CLASSES, .distilled = c->distilled, .image = c->image };
    const char *backbone = c->backbone ? c->backbone : "vit_test";
    sv_training_choice choice = { .images = IMAGES, .lanes = 2, .given_noise = true, .details = true };
    sv_error err = { 0 };
    sv_plan_fit_grid(&w.options.plan, PATCHES);
    sv_plan_set_keep(&w.options.plan, c->options.plan.keep);
    if (sv_model_create(&w.student, backbone, &sizes, &err) || sv_pruning_create(&w.pruning, w.student, &w.options, &err)
        || sv_model_allocate(w.student, true, &err) || sv_model_create(&w.teacher, backbone, &sizes, &err)
        || sv_model_allocate(w.teacher, false, &err))
        fail_msg("%s", err.text);
    fill_weights(w.student, "");
    fill_weights(w.teacher, "teacher/");
    if (sv_training_record(&w.t, w.pruning, w.teacher, &choice, &err)) fail_msg("%s", err.text);
    fill_pictures(w.t.tape, w.t.picture);
    fill_targets(&w.t);
    if (c->fixed) sv_training_set_goals(&w.t, &w.options, w.options.plan.keep, NULL, 0);
    if (!c->fixed) fill_noise(&w.t), fill_goals(&w.t, c);
    fill_curve(&w.t);
    return w;
}

static inline void small_close(small_world *w)
{
    sv_training_clear(&w->t);
    sv_pruning_destroy(w->pruning);
    sv_model_destroy(w->student);
    sv_model_destroy(w->teacher);
}

/* Rows stand live first; the golden numbers in the order of patches. */
static inline void hold_stage(const small_world *w, size_t t, worst *scores)
{
    double a[IMAGES * PATCHES], score[IMAGES * PATCHES], keep[IMAGES * PATCHES], package[IMAGES * WIDTH];
    const sv_tape *tape = w->t.tape;
    char name[16];
    snprintf(name, sizeof name, "a%zu", t), golden_numbers(w->c->name, name, a, SV_COUNT(a));
    snprintf(name, sizeof name, "score%zu", t), golden_numbers(w->c->name, name, score, SV_COUNT(score));
    snprintf(name, sizeof name, "keep%zu", t), golden_numbers(w->c->name, name, keep, SV_COUNT(keep));
    for (size_t b = 0; b < IMAGES; b++) {
        const int32_t *origin = (const int32_t *)(const void *)sv_tape_data(tape, w->t.origin[t], b);
        size_t rows = sv_tape_rows(tape, w->t.a[t], b), seen = 0;
        for (size_t r = 0; r < rows; r++) {
            size_t at = b * PATCHES + (size_t)origin[r];
            if (origin[r] < 0) continue;
            seen++;
            assert_true((double)sv_tape_data(tape, w->t.keep[t], b)[r] == keep[at]);
            hold(scores, "a", (double)sv_tape_data(tape, w->t.a[t], b)[r], a[at], fmax(1, fabs(a[at])));
            hold(scores, "score", (double)sv_tape_data(tape, w->t.score[t], b)[r], score[at], 1);
        }
        assert_int_equal(seen, PATCHES);
    }
    if (w->options.plan.package == SV_CHOICE_NONE) return;
    snprintf(name, sizeof name, "package%zu", t), golden_numbers(w->c->name, name, package, SV_COUNT(package));
    for (size_t k = 0; k < SV_COUNT(package); k++)
        hold(scores, name, (double)sv_tape_data(tape, w->t.package[t], k / WIDTH)[k % WIDTH], package[k], fmax(1, fabs(package[k])));
}

static inline void hold_losses(const small_world *w, worst *losses)
{
    const sv_training_tape *t = &w->t;
    hold_scalar(w->c->name, losses, "loss_cls", t->tape, t->cls);
    hold_scalar(w->c->name, losses, "loss_kl", t->tape, t->kl);
    if (t->token) hold_scalar(w->c->name, losses, "loss_token", t->tape, t->token);
    if (t->latency) hold_scalar(w->c->name, losses, "loss_latency", t->tape, t->latency);
    if (t->latency) hold_scalar(w->c->name, losses, "ms", t->tape, t->predicted_ms);
    hold_scalar(w->c->name, losses, "loss", t->tape, t->loss);
}

static inline void step_equals(const small_case *c)
{
    small_world w = small_open(c);
    worst scores = { 0 }, losses = { 0 }, gradients = { 0 };
    sv_step step = { .images = IMAGES };
    sv_error err = { 0 };
    if (sv_tape_forward(w.t.tape, &step, &err)) fail_msg("%s", err.text);
    sv_tape_backward(w.t.tape, 1);
    for (size_t t = 0; !c->fixed && t < w.t.stages; t++) hold_stage(&w, t, &scores);
    hold_logits(c->name, &losses, "logits", w.t.tape, w.t.logits);
    hold_logits(c->name, &losses, "teacher_logits", w.t.tape, w.t.teacher_logits);
    hold_losses(&w, &losses);
    hold_all_gradients(c->name, w.student->parameters, &gradients);
    print_message("%s: scores and packages %.1e (%s), logits and losses %.1e (%s), gradients %.1e (%s)\n", c->name, scores.off,
                  scores.where, losses.off, losses.where, gradients.off, gradients.where);
    assert_true(scores.off <= bound);
    assert_true(losses.off <= bound);
    assert_true(gradients.off <= gradient_bound);
    small_close(&w);
}

static inline void removal_equals(const small_world *w, sv_decision_rule rule, const char *rule_name)
{
    sv_pruning_plan plan = w->options.plan;
    sv_removal_tape removal;
    sv_step step = { .images = IMAGES };
    double kept[3 * IMAGES];
    worst off = { 0 };
    char name[32];
    sv_error err = { 0 };
    plan.rule = rule;
    plan.min_keep = 1;
    golden_numbers(w->c->name, "thresholds", plan.threshold, plan.stages);
    if (sv_removal_record(&removal, w->pruning, &plan, IMAGES, &err)) fail_msg("%s", err.text);
    fill_pictures(removal.tape, removal.picture);
    if (sv_tape_forward(removal.tape, &step, &err)) fail_msg("%s", err.text);
    snprintf(name, sizeof name, "%s_kept", rule_name), golden_numbers(w->c->name, name, kept, plan.stages * IMAGES);
    for (size_t t = 0; t < plan.stages; t++)
        for (size_t b = 0; b < IMAGES; b++) assert_int_equal(sv_removal_kept(&removal, t, b), (size_t)kept[t * IMAGES + b]);
    snprintf(name, sizeof name, "%s_logits", rule_name), hold_logits(w->c->name, &off, name, removal.tape, removal.logits);
    print_message("%s by %s: logits %.1e\n", w->c->name, rule_name, off.off);
    assert_true(off.off <= bound);
    sv_removal_clear(&removal);
}

static inline void both_removals_equal(const small_case *c)
{
    small_world w = small_open(c);
    if (w.t.stages) {
        removal_equals(&w, SV_RULE_TOPK, "topk");
        removal_equals(&w, SV_RULE_THRESHOLD, "threshold");
    }
    small_close(&w);
}

/* A test program of a method is its cases, its file of numbers, and this. */
#define SMALL_TESTS(cases, path)                                                                                                           \
    static void steps_equal_pytorch(void **state)                                                                                          \
    {                                                                                                                                      \
        (void)state;                                                                                                                       \
        for (size_t i = 0; i < SV_COUNT(cases); i++) step_equals(&cases[i]);                                                               \
    }                                                                                                                                      \
    static void removals_equal_pytorch(void **state)                                                                                       \
    {                                                                                                                                      \
        (void)state;                                                                                                                       \
        for (size_t i = 0; i < SV_COUNT(cases); i++) both_removals_equal(&cases[i]);                                                       \
    }                                                                                                                                      \
    static int name_lines(void **state)                                                                                                    \
    {                                                                                                                                      \
        *state = (void *)(uintptr_t)(path);                                                                                                \
        return read_lines(state);                                                                                                          \
    }                                                                                                                                      \
    int main(void)                                                                                                                         \
    {                                                                                                                                      \
        const struct CMUnitTest tests[] = { cmocka_unit_test(steps_equal_pytorch), cmocka_unit_test(removals_equal_pytorch) };             \
        sv_kernels_init();                                                                                                                 \
        return cmocka_run_group_tests(tests, name_lines, free_lines);                                                                      \
    }

#endif
