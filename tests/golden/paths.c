/* DynamicViT's two paths on a small ConvNeXt and a small Swin against PyTorch in double: scores, decisions, losses, all gradients; the deployed form by the
 * best k and by thresholds; and the deployed form against the training form with the same decisions, bit for bit. Needs data/paths.txt alone; it is made by
 * make_paths.py. */
#include "test_hashed.h"

enum { PATCHES = 16, IMAGE = 32 };

typedef struct paths_case {
    const char *name, *backbone;
    sv_pruning_options options;
} paths_case;

#define COMMON .mask_clamp = 30, .tau = 1, .kl_weight = 0.5, .token_weight = 0.5, .ratio_per_image = true
#define PLAN .method = SV_METHOD_DYNAMICVIT, .package = SV_CHOICE_NONE, .stages = 2
static const paths_case cases[] = {
    { "convnext", "convnext_test", { .plan = { PLAN, .at = { 1, 2 }, .keep = { 0.7, 0.5 } }, COMMON } },
    { "swin", "swin_test", { .plan = { PLAN, .at = { 2, 3 }, .keep = { 0.6, 0.4 } }, COMMON } },
};

typedef struct world {
    const paths_case *c;
    sv_model *student, *teacher;
    sv_pruning *pruning;
    sv_training_tape t;
} world;

static void fill_picture_batch(const sv_tape *tape, const sv_tensor *picture)
{
    char name[16];
    for (size_t b = 0; b < IMAGES; b++) {
        snprintf(name, sizeof name, "picture%zu", b);
        for (size_t k = 0; k < 3 * IMAGE * IMAGE; k++) sv_tape_data(tape, picture, b)[k] = (sv_real)both("", name, k);
    }
}

static void fill_inputs(const sv_training_tape *t, const sv_pruning_plan *plan)
{
    char name[32];
    fill_picture_batch(t->tape, t->picture);
    fill_targets(t);
    for (size_t s = 0; s < t->stages; s++) {
        sv_real *goal = sv_tape_data(t->tape, t->goal[s], 0);
        goal[0] = (sv_real)plan->keep[s], goal[1] = 0, goal[2] = 1;
        for (size_t b = 0; b < IMAGES; b++) {
            const double sure = s + 1 == t->stages && b == 1 ? -50 : s == 0 && b == 0 ? 50 : s == 0 && b == 2 ? -50 : 0;
            snprintf(name, sizeof name, "noise%zu%zu", s, b);
            for (size_t j = 0; j < PATCHES; j++) {
                const double u = unit("", name, j) * (1 - 2e-6) + 1e-6;
                sv_tape_data(t->tape, t->noise[s], b)[j] = (sv_real)(sure != 0 ? sure : log(u / (1 - u)));
            }
        }
    }
}

static world open_world(const paths_case *c)
{
    world w = { .c = c };
    sv_pruning_options options = c->options;
    const sv_model_options sizes = { .image = IMAGE, .classes = CLASSES };
    const sv_training_choice choice = { .images = IMAGES, .lanes = 2, .given_noise = true };
    sv_error err = { 0 };
    sv_plan_fit_grid(&options.plan, PATCHES);
    sv_plan_set_keep(&options.plan, c->options.plan.keep);
    if (sv_model_create(&w.student, c->backbone, &sizes, &err) || sv_pruning_create(&w.pruning, w.student, &options, &err) || sv_model_allocate(w.student, true, &err)
        || sv_model_create(&w.teacher, c->backbone, &sizes, &err) || sv_model_allocate(w.teacher, false, &err))
        fail_msg("%s: %s", c->name, err.text);
    fill_weights(w.student, "");
    fill_weights(w.teacher, "teacher/");
    if (sv_training_record(&w.t, w.pruning, w.teacher, &choice, &err)) fail_msg("%s: %s", c->name, err.text);
    fill_inputs(&w.t, &options.plan);
    return w;
}

static void close_world(world *w)
{
    sv_training_clear(&w->t);
    sv_pruning_destroy(w->pruning);
    sv_model_destroy(w->student);
    sv_model_destroy(w->teacher);
}

static void hold_decisions(const world *w, size_t t, worst *scores)
{
    double a[IMAGES * PATCHES], keep[IMAGES * PATCHES];
    char name[16];
    snprintf(name, sizeof name, "a%zu", t), golden_numbers(w->c->name, name, a, SV_COUNT(a));
    snprintf(name, sizeof name, "keep%zu", t), golden_numbers(w->c->name, name, keep, SV_COUNT(keep));
    for (size_t k = 0; k < SV_COUNT(a); k++) {
        hold(scores, "a", (double)sv_tape_data(w->t.tape, w->t.a[t], k / PATCHES)[k % PATCHES], a[k], fmax(1, fabs(a[k])));
        assert_true((double)sv_tape_data(w->t.tape, w->t.keep[t], k / PATCHES)[k % PATCHES] == keep[k]);
    }
}

static void step_equals(const paths_case *c)
{
    world w = open_world(c);
    const sv_training_tape *t = &w.t;
    const sv_step step = { .images = IMAGES };
    worst forward = { 0 }, gradients = { 0 };
    sv_error err = { 0 };
    if (sv_tape_forward(t->tape, &step, &err)) fail_msg("%s", err.text);
    sv_tape_backward(t->tape, 1);
    for (size_t s = 0; s < t->stages; s++) hold_decisions(&w, s, &forward);
    hold_logits(c->name, &forward, "logits", t->tape, t->logits);
    hold_logits(c->name, &forward, "teacher_logits", t->tape, t->teacher_logits);
    hold_scalar(c->name, &forward, "loss_cls", t->tape, t->cls);
    hold_scalar(c->name, &forward, "loss_kl", t->tape, t->kl);
    hold_scalar(c->name, &forward, "loss_token", t->tape, t->token);
    hold_scalar(c->name, &forward, "loss", t->tape, t->loss);
    hold_all_gradients(c->name, w.student->parameters, &gradients);
    print_message("%s: forward %.1e (%s), gradients %.1e (%s)\n", c->name, forward.off, forward.where, gradients.off, gradients.where);
    assert_true(forward.off <= bound);
    assert_true(gradients.off <= gradient_bound);
    close_world(&w);
}

static void steps_equal_pytorch(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) step_equals(&cases[i]);
}

static void deployed_equals(const world *w, sv_decision_rule rule, const char *rule_name)
{
    sv_pruning_plan plan = *sv_pruning_plan_of(w->pruning);
    const sv_step step = { .images = IMAGES };
    sv_removal_tape removal;
    double kept[2 * IMAGES];
    worst off = { 0 };
    char name[32];
    sv_error err = { 0 };
    plan.rule = rule, plan.min_keep = 1;
    golden_numbers(w->c->name, "thresholds", plan.threshold, plan.stages);
    if (sv_removal_record(&removal, w->pruning, &plan, IMAGES, &err)) fail_msg("%s", err.text);
    fill_picture_batch(removal.tape, removal.picture);
    if (sv_tape_forward(removal.tape, &step, &err)) fail_msg("%s", err.text);
    snprintf(name, sizeof name, "%s_kept", rule_name), golden_numbers(w->c->name, name, kept, SV_COUNT(kept));
    for (size_t t = 0; t < plan.stages; t++)
        for (size_t b = 0; b < IMAGES; b++) assert_int_equal(sv_removal_kept(&removal, t, b), (size_t)kept[t * IMAGES + b]);
    snprintf(name, sizeof name, "%s_logits", rule_name), hold_logits(w->c->name, &off, name, removal.tape, removal.logits);
    print_message("%s by %s: logits %.1e\n", w->c->name, rule_name, off.off);
    assert_true(off.off <= bound);
    if (rule == SV_RULE_TOPK) { /* the same count for each picture: what the tape did is what the formula says */
        const uint64_t macs = sv_pruned_macs(w->student, &plan, plan.count);
        assert_int_equal(sv_tape_macs(removal.tape), IMAGES * macs);
    }
    sv_removal_clear(&removal);
}

static void deployed_forms_equal_pytorch(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        world w = open_world(&cases[i]);
        deployed_equals(&w, SV_RULE_TOPK, "topk");
        deployed_equals(&w, SV_RULE_THRESHOLD, "threshold");
        close_world(&w);
    }
}

/* The noise is what makes training take the deployed decisions: far above zero where a row stays, far below where it goes. */
static void training_takes_the_deployed_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        world w = open_world(&cases[i]);
        sv_pruning_plan plan = *sv_pruning_plan_of(w.pruning);
        const sv_step step = { .images = IMAGES };
        sv_removal_tape removal;
        sv_error err = { 0 };
        plan.rule = SV_RULE_THRESHOLD, plan.min_keep = 1;
        golden_numbers(w.c->name, "thresholds", plan.threshold, plan.stages);
        if (sv_removal_record(&removal, w.pruning, &plan, IMAGES, &err)) fail_msg("%s", err.text);
        fill_picture_batch(removal.tape, removal.picture);
        if (sv_tape_forward(removal.tape, &step, &err)) fail_msg("%s", err.text);
        for (size_t t = 0; t < plan.stages; t++)
            for (size_t b = 0; b < IMAGES; b++)
                for (size_t j = 0; j < PATCHES; j++)
                    sv_tape_data(w.t.tape, w.t.noise[t], b)[j] = sv_tape_data(removal.tape, removal.keep[t], b)[j] > 0 ? 1000 : -1000;
        if (sv_tape_forward(w.t.tape, &step, &err)) fail_msg("%s", err.text);
        for (size_t b = 0; b < IMAGES; b++)
            assert_memory_equal(sv_tape_data(w.t.tape, w.t.logits, b), sv_tape_data(removal.tape, removal.logits, b), CLASSES * sizeof(sv_real));
        sv_removal_clear(&removal);
        close_world(&w);
    }
}

/* Multiply-adds and parameters of the published models (spec DynamicViT 1.3), whose counts come from int() of ratios: 0.7 - 0.2 gives 97 of 196. */
static void published_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *backbone;
        size_t at[3];
        uint64_t macs, parameters;
    } rows[] = { { "convnext_t", { 7, 8, 9 }, 3578797056, 30504814 }, { "convnext_s", { 9, 12, 15 }, 0, 54523246 }, { "convnext_b", { 9, 12, 15 }, 0, 96216558 },
                 { "swin_t", { 5, 6, 7 }, 4041159936, 0 } };
    for (size_t i = 0; i < SV_COUNT(rows); i++) {
        sv_pruning_options options = { .plan = { .method = SV_METHOD_DYNAMICVIT, .package = SV_CHOICE_NONE, .stages = 3, .keep = { 0.7, 0.5, 0.3 } } };
        sv_model *model = NULL;
        sv_pruning *pruning = NULL;
        sv_error err = { 0 };
        memcpy(options.plan.at, rows[i].at, sizeof rows[i].at);
        if (sv_model_create(&model, rows[i].backbone, NULL, &err) || sv_pruning_create(&pruning, model, &options, &err)) fail_msg("%s: %s", rows[i].backbone, err.text);
        if (rows[i].macs) assert_int_equal(sv_pruned_macs(model, sv_pruning_plan_of(pruning), (const size_t[]){ 137, 97, 58 }), rows[i].macs);
        if (rows[i].parameters) assert_int_equal(sv_model_parameter_count(model), rows[i].parameters);
        sv_pruning_destroy(pruning);
        sv_model_destroy(model);
    }
}

static void mistakes_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *backbone;
        sv_pruning_plan plan;
        const char *words;
    } rows[] = { { "convnext_test", { PLAN, .at = { 1, 3 }, .keep = { 0.7, 0.5 } }, "one stage" },
                 { "pit_test", { PLAN, .at = { 1, 2 }, .keep = { 0.7, 0.5 } }, "one way alone" } };
    for (size_t i = 0; i < SV_COUNT(rows); i++) {
        const sv_pruning_options options = { .plan = rows[i].plan };
        sv_model *model = NULL;
        sv_pruning *pruning = NULL;
        sv_error err = { 0 };
        if (sv_model_create(&model, rows[i].backbone, NULL, &err)) fail_msg("%s", err.text);
        assert_int_equal(sv_pruning_create(&pruning, model, &options, &err), SV_USAGE);
        if (!strstr(err.text, rows[i].words)) fail_msg("'%s' does not say '%s'", err.text, rows[i].words);
        sv_model_destroy(model);
    }
}

static int name_lines(void **state)
{
    *state = (void *)(uintptr_t)"tests/golden/data/paths.txt";
    return read_lines(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(steps_equal_pytorch), cmocka_unit_test(deployed_forms_equal_pytorch), cmocka_unit_test(training_takes_the_deployed_values),
                                        cmocka_unit_test(published_sizes), cmocka_unit_test(mistakes_are_told) };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, name_lines, free_lines);
}
