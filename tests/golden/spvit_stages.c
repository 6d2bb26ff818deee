/* SPViT steps and removals of small PiT and Swin models against PyTorch in double, without any file but data/spvit_stages.txt: every package form and
 * none, both kinds of empty package, selectors in front of a stage, inside one and several in one, with and without distillation token. Weights,
 * pictures and noise are hashes of (name, index), made here as data/make_spvit_stages.py makes them. */
#include "test_hashed.h"

enum { MOST_CELLS = 64, MOST_WIDTH = 32 };

typedef struct stage_case {
    const char *name, *backbone;
    size_t image;
    bool distilled;
    sv_pruning_plan plan;
} stage_case;

#define PLAN(count, places, ratios, form, nothing) { .stages = count, .at = places, .keep = ratios, .package = form, .empty = nothing }
#define LIST(...) { __VA_ARGS__ }
static const stage_case cases[] = {
    { "pit_wavg", "pit_test", 16, false, PLAN(3, LIST(0, 2, 3), LIST(0.7, 0.5, 0.5), SV_CHOICE_WAVG, SV_EMPTY_MASK) },
    { "pit_mean", "pit_test", 16, true, PLAN(2, LIST(1, 2), LIST(0.8, 0.5), SV_CHOICE_MEAN, SV_EMPTY_MASK) },
    { "pit_sum", "pit_test", 16, false, PLAN(2, LIST(1, 3), LIST(0.6, 0.5), SV_CHOICE_SUM, SV_EMPTY_KEEP_ZERO) },
    { "pit_bare", "pit_test", 16, false, PLAN(2, LIST(0, 1), LIST(0.6, 0.7), SV_CHOICE_NONE, SV_EMPTY_MASK) },
    { "swin_wavg", "swin_test", 32, false, PLAN(2, LIST(2, 4), LIST(0.6, 0.5), SV_CHOICE_WAVG, SV_EMPTY_MASK) },
    { "swin_mean", "swin_test", 32, false, PLAN(3, LIST(0, 1, 3), LIST(0.7, 0.5, 0.5), SV_CHOICE_MEAN, SV_EMPTY_KEEP_ZERO) },
    { "swin_sum", "swin_test", 32, false, PLAN(2, LIST(2, 3), LIST(0.7, 0.4), SV_CHOICE_SUM, SV_EMPTY_MASK) },
    { "swin_bare", "swin_test", 32, false, PLAN(3, LIST(1, 2, 4), LIST(0.5, 0.6, 0.5), SV_CHOICE_NONE, SV_EMPTY_MASK) },
};

typedef struct stage_world {
    const stage_case *c;
    sv_model *student, *teacher;
    sv_pruning *pruning;
    const sv_pruning_plan *plan;
    sv_training_tape t;
} stage_world;

static void fill_images(const sv_tape *tape, const sv_tensor *picture)
{
    char name[16];
    for (size_t b = 0; b < IMAGES; b++) {
        snprintf(name, sizeof name, "picture%zu", b);
        for (size_t k = 0; k < sv_tensor_width(picture); k++) sv_tape_data(tape, picture, b)[k] = (sv_real)both("", name, k);
    }
}

static void fill_noise(const stage_world *w)
{
    char name[32];
    for (size_t s = 0; s < w->plan->stages; s++)
        for (size_t b = 0; b < IMAGES; b++) {
            const double sure = s + 1 == w->plan->stages && b == 1 ? -50 : s == 0 && b == 0 ? 50 : s == 0 && b == 2 ? -50 : 0;
            snprintf(name, sizeof name, "noise%zu%zu", s, b);
            for (size_t j = 0; j < w->plan->patches[s]; j++) {
                const double u = unit("", name, j) * (1 - 2e-6) + 1e-6;
                sv_tape_data(w->t.tape, w->t.noise[s], b)[j] = (sv_real)(sure != 0 ? sure : log(u / (1 - u)));
            }
        }
}

static stage_world stage_open(const stage_case *c)
{
    stage_world w = { .c = c };
    sv_pruning_options options = { .plan = c->plan, .mask_clamp = 30, .tau = 1, .kl_weight = 0.5, .token_weight = 0.5 };
    const sv_model_options sizes = { .classes = CLASSES, .distilled = c->distilled };
    const sv_training_choice choice = { .images = IMAGES, .lanes = 2, .given_noise = true, .details = true };
    sv_error err = { 0 };
    if (sv_model_create(&w.student, c->backbone, &sizes, &err) || sv_pruning_create(&w.pruning, w.student, &options, &err) || sv_model_allocate(w.student, true, &err)
        || sv_model_create(&w.teacher, c->backbone, &sizes, &err) || sv_model_allocate(w.teacher, false, &err))
        fail_msg("%s", err.text);
    sv_plan_set_keep(sv_pruning_plan_of(w.pruning), c->plan.keep);
    w.plan = sv_pruning_plan_of(w.pruning);
    fill_weights(w.student, "");
    fill_weights(w.teacher, "teacher/");
    if (sv_training_record(&w.t, w.pruning, w.teacher, &choice, &err)) fail_msg("%s", err.text);
    fill_images(w.t.tape, w.t.picture);
    fill_targets(&w.t);
    fill_noise(&w);
    for (size_t s = 0; s < w.plan->stages; s++) memcpy(sv_tape_data(w.t.tape, w.t.goal[s], 0), (sv_real[]){ (sv_real)c->plan.keep[s], 0, 1 }, 3 * sizeof(sv_real));
    return w;
}

static void stage_close(stage_world *w)
{
    sv_training_clear(&w->t);
    sv_pruning_destroy(w->pruning);
    sv_model_destroy(w->student);
    sv_model_destroy(w->teacher);
}

static void hold_stage(const stage_world *w, size_t t, worst *scores)
{
    double a[IMAGES * MOST_CELLS], score[IMAGES * MOST_CELLS], keep[IMAGES * MOST_CELLS], package[IMAGES * MOST_WIDTH];
    const size_t patches = w->plan->patches[t], width = sv_model_place(w->student, w->plan->at[t]).width;
    const sv_tape *tape = w->t.tape;
    char name[16];
    snprintf(name, sizeof name, "a%zu", t), golden_numbers(w->c->name, name, a, IMAGES * patches);
    snprintf(name, sizeof name, "score%zu", t), golden_numbers(w->c->name, name, score, IMAGES * patches);
    snprintf(name, sizeof name, "keep%zu", t), golden_numbers(w->c->name, name, keep, IMAGES * patches);
    for (size_t i = 0; i < IMAGES * patches; i++) { /* rows of the masked form stand as in the grid */
        const size_t b = i / patches, r = i % patches;
        assert_true((double)sv_tape_data(tape, w->t.keep[t], b)[r] == keep[i]);
        hold(scores, "a", (double)sv_tape_data(tape, w->t.a[t], b)[r], a[i], fmax(1, fabs(a[i])));
        hold(scores, "score", (double)sv_tape_data(tape, w->t.score[t], b)[r], score[i], 1);
    }
    if (w->plan->package == SV_CHOICE_NONE) return;
    snprintf(name, sizeof name, "package%zu", t), golden_numbers(w->c->name, name, package, IMAGES * width);
    for (size_t k = 0; k < IMAGES * width; k++)
        if (sv_tape_data(tape, w->t.package_policy[t], k / width)[0] > 0) /* an absent one stands for nothing */
            hold(scores, name, (double)sv_tape_data(tape, w->t.package[t], k / width)[k % width], package[k], fmax(1, fabs(package[k])));
}

static void step_equals(const stage_case *c)
{
    stage_world w = stage_open(c);
    worst scores = { 0 }, losses = { 0 }, gradients = { 0 };
    const sv_step step = { .images = IMAGES };
    sv_error err = { 0 };
    if (sv_tape_forward(w.t.tape, &step, &err)) fail_msg("%s", err.text);
    sv_tape_backward(w.t.tape, 1);
    for (size_t t = 0; t < w.plan->stages; t++) hold_stage(&w, t, &scores);
    hold_logits(c->name, &losses, "logits", w.t.tape, w.t.logits);
    hold_logits(c->name, &losses, "teacher_logits", w.t.tape, w.t.teacher_logits);
    hold_scalar(c->name, &losses, "loss_cls", w.t.tape, w.t.cls);
    hold_scalar(c->name, &losses, "loss_kl", w.t.tape, w.t.kl);
    hold_scalar(c->name, &losses, "loss_token", w.t.tape, w.t.token);
    hold_scalar(c->name, &losses, "loss", w.t.tape, w.t.loss);
    hold_all_gradients(c->name, w.student->parameters, &gradients);
    print_message("%s: scores and packages %.1e (%s), logits and losses %.1e (%s), gradients %.1e (%s)\n", c->name, scores.off, scores.where, losses.off,
                  losses.where, gradients.off, gradients.where);
    assert_true(scores.off <= bound);
    assert_true(losses.off <= bound);
    assert_true(gradients.off <= gradient_bound);
    stage_close(&w);
}

static void steps_equal_pytorch(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) step_equals(&cases[i]);
}

static void removal_equals(const stage_world *w, sv_decision_rule rule, const char *rule_name)
{
    sv_pruning_plan plan = *w->plan;
    sv_removal_tape removal;
    const sv_step step = { .images = IMAGES };
    double kept[SV_MOST_STAGES * IMAGES];
    worst off = { 0 };
    char name[32];
    sv_error err = { 0 };
    plan.rule = rule;
    plan.min_keep = 1;
    golden_numbers(w->c->name, "thresholds", plan.threshold, plan.stages);
    if (sv_removal_record(&removal, w->pruning, &plan, IMAGES, &err)) fail_msg("%s", err.text);
    fill_images(removal.tape, removal.picture);
    if (sv_tape_forward(removal.tape, &step, &err)) fail_msg("%s", err.text);
    snprintf(name, sizeof name, "%s_kept", rule_name), golden_numbers(w->c->name, name, kept, plan.stages * IMAGES);
    for (size_t i = 0; i < plan.stages * IMAGES; i++) assert_int_equal(sv_removal_kept(&removal, i / IMAGES, i % IMAGES), (size_t)kept[i]);
    snprintf(name, sizeof name, "%s_logits", rule_name), hold_logits(w->c->name, &off, name, removal.tape, removal.logits);
    print_message("%s by %s: logits %.1e\n", w->c->name, rule_name, off.off);
    assert_true(off.off <= bound);
    sv_removal_clear(&removal);
}

static void removals_equal_pytorch(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        stage_world w = stage_open(&cases[i]);
        removal_equals(&w, SV_RULE_TOPK, "topk");
        removal_equals(&w, SV_RULE_THRESHOLD, "threshold");
        stage_close(&w);
    }
}

static int name_lines(void **state)
{
    *state = (void *)(uintptr_t) "tests/golden/data/spvit_stages.txt";
    return read_lines(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(steps_equal_pytorch), cmocka_unit_test(removals_equal_pytorch) };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, name_lines, free_lines);
}
