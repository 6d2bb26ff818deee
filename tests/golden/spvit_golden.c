/* One SPViT training step on DeiT-T, decision noise given, against PyTorch in double: scores, masks, package tokens, loss terms, logits, all
 * gradients; and the same photos with tokens really removed. Photo 0 drops nothing at stage 0, photo 1 everything at stage 2. */
#include "test_golden.h"

#include "pruning/inside.h"

enum { STAGES = 3, IMAGES = 3, PATCHES = 196, WIDTH = 192, CLASSES = 1000 };

#ifdef SIEVE_F64
static const double bound = 1e-9, gradient_bound = 1e-9;
#else
static const double bound = 1e-4, gradient_bound = 2e-3; /* float: sums over 600 rows and twelve blocks */
#endif

static sv_pruning_options spvit_options(sv_package_choice form)
{
    return (sv_pruning_options){ .plan = { .stages = STAGES, .at = { 3, 6, 9 }, .keep = { 0.7, 0.49, 0.343 }, .package = form, .empty = SV_EMPTY_MASK, .rule = SV_RULE_GUMBEL },
                                 .mask_clamp = 30, .tau = 1, .ratio_form = SV_RATIO_PENALTY, .ratio_weight = 2, .kl_weight = 0.5, .token_weight = 0.5 };
}

typedef struct world { sv_model *student, *teacher; sv_pruning *pruning; sv_training_tape t; sv_weights *file; } world;

static void fill_selectors(sv_model *model)
{
    char room[512];
    sv_weights *file = NULL;
    sv_error err = { 0 };
    if (sv_weights_open(&file, data_path(room, "golden/selectors.safetensors"), &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < sv_weights_count(file); i++) {
        const sv_weights_entry *entry = sv_weights_at(file, i);
        sv_parameter *p = sv_parameters_find(model->parameters, entry->name);
        assert_non_null(p);
        assert_int_equal(p->count, entry->count);
        assert_int_equal(sv_weights_read(file, entry, p->value, NULL), SV_OK);
    }
    sv_parameters_changed(model->parameters);
    sv_weights_close(file);
}

static void fill_pictures(world *w)
{
    char room[512], classes[512];
    sv_source *source = NULL;
    sv_error err = { 0 };
    if (sv_source_open_folder(&source, data_path(room, "imagenet-sample/val"), data_path(classes, "imagenet_classes.txt"), &err)) fail_msg("%s", err.text);
    size_t all = sv_source_count(source), samples[IMAGES] = { 0, all / 2, all - 1 };
    for (size_t b = 0; b < IMAGES; b++) {
        char *path = NULL;
        assert_int_equal(sv_source_path(source, samples[b], &path, &err), SV_OK);
        photo(path, sv_tape_data(w->t.tape, w->t.picture, b));
        sv_free(path);
        sv_real *target = sv_tape_data(w->t.tape, w->t.target, b);
        for (size_t k = 0; k < CLASSES; k++) target[k] = (sv_real)(0.1 / CLASSES + (k == sv_source_label(source, samples[b]) ? 0.9 : 0));
    }
    sv_source_close(source);
}

static world world_open(sv_package_choice form, const char *golden_name, bool given_noise)
{
    world w = { 0 };
    char room[512];
    sv_error err = { 0 };
    sv_pruning_options options = spvit_options(form);
    sv_load_options load = { .optional_selectors = true };
    sv_training_choice choice = { .images = IMAGES, .lanes = 2, .given_noise = given_noise, .details = true };
    data_path(room, "weights/deit_tiny_patch16_224.pth");
    sv_plan_fit_grid(&options.plan, PATCHES);
    sv_plan_set_keep(&options.plan, options.plan.keep);
    if (sv_model_create(&w.student, "deit_t", NULL, &err) || sv_pruning_create(&w.pruning, w.student, &options, &err) || sv_model_allocate(w.student, true, &err) ||
        sv_model_load(w.student, room, &load, 0, NULL, &err) || sv_model_create(&w.teacher, "deit_t", NULL, &err) || sv_model_allocate(w.teacher, false, &err) ||
        sv_model_load(w.teacher, room, &load, 0, NULL, &err)) fail_msg("%s", err.text);
    fill_selectors(w.student);
    if (sv_training_record(&w.t, w.pruning, w.teacher, &choice, &err)) fail_msg("%s", err.text);
    sv_training_set_goals(&w.t, &options, options.plan.keep, NULL, 0);
    fill_pictures(&w);
    if (golden_name && sv_weights_open(&w.file, data_path(room, golden_name), &err)) fail_msg("%s", err.text);
    return w;
}

static void world_close(world *w)
{
    sv_weights_close(w->file);
    sv_training_clear(&w->t);
    sv_pruning_destroy(w->pruning);
    sv_model_destroy(w->student);
    sv_model_destroy(w->teacher);
}

static void fill_noise(world *w)
{
    size_t count = 0;
    double *noise = golden(w->file, "noise", &count);
    for (size_t t = 0; t < STAGES; t++)
        for (size_t b = 0; b < IMAGES; b++)
            for (size_t j = 0; j < PATCHES; j++) sv_tape_data(w->t.tape, w->t.noise[t], b)[j] = (sv_real)noise[(t * IMAGES + b) * PATCHES + j];
    sv_free(noise);
}

/* Rows of a stage stand in the order of what was alive; the golden numbers in the order of patches. Patches dropped earlier are scored
 * too: the gradient of an earlier decision reads their scores. */
static void hold_stage(world *w, size_t t, worst *scores, worst *packages)
{
    char name[32];
    size_t count = 0;
    double *a, *sp, *keep, *package, *policy;
    snprintf(name, sizeof name, "a%zu", t), a = golden(w->file, name, &count);
    snprintf(name, sizeof name, "sp%zu", t), sp = golden(w->file, name, &count);
    snprintf(name, sizeof name, "keep%zu", t), keep = golden(w->file, name, &count);
    snprintf(name, sizeof name, "package%zu", t), package = golden(w->file, name, &count);
    snprintf(name, sizeof name, "package_policy%zu", t), policy = golden(w->file, name, &count);
    for (size_t b = 0; b < IMAGES; b++) {
        const sv_tape *tape = w->t.tape;
        const int32_t *origin = (const int32_t *)(const void *)sv_tape_data(tape, w->t.origin[t], b);
        size_t rows = sv_tape_rows(tape, w->t.a[t], b), seen = 0;
        for (size_t r = 0; r < rows; r++) {
            size_t at = b * PATCHES + (size_t)origin[r];
            if (origin[r] < 0) continue;
            seen++;
            assert_true((double)sv_tape_data(tape, w->t.keep[t], b)[r] == keep[at]);
            hold(scores, "a", (double)sv_tape_data(tape, w->t.a[t], b)[r], a[at], 1);
            hold(scores, "score", (double)sv_tape_data(tape, w->t.score[t], b)[r], sp[at], 1);
        }
        assert_int_equal(seen, PATCHES);
        assert_true((double)sv_tape_data(tape, w->t.package_policy[t], b)[0] == policy[b]);
        for (size_t c = 0; c < WIDTH; c++) {
            double size = 1;
            for (size_t k = 0; k < WIDTH; k++) size = fmax(size, fabs(package[b * WIDTH + k]));
            hold(packages, "package", (double)sv_tape_data(tape, w->t.package[t], b)[c], package[b * WIDTH + c], size);
        }
    }
    sv_free(a), sv_free(sp), sv_free(keep), sv_free(package), sv_free(policy);
}

static void hold_number(world *w, worst *x, const char *name, double got)
{
    size_t count = 0;
    double *want = golden(w->file, name, &count);
    hold(x, name, got, want[0], fmax(1, fabs(want[0])));
    sv_free(want);
}

static void hold_rows(world *w, worst *x, const char *name, const sv_tensor *tensor)
{
    size_t count = 0;
    double *want = golden(w->file, name, &count);
    for (size_t k = 0; k < count; k++) hold(x, name, (double)sv_tape_data(w->t.tape, tensor, k / CLASSES)[k % CLASSES], want[k], 10);
    sv_free(want);
}

static void step_equals(sv_package_choice form, const char *golden_name)
{
    if (!have_data()) skip();
    world w = world_open(form, golden_name, true);
    worst scores = { 0 }, packages = { 0 }, logits = { 0 }, losses = { 0 }, gradients = { 0 };
    sv_step step = { .images = IMAGES };
    sv_error err = { 0 };
    double ratio = 0;
    fill_noise(&w);
    if (sv_tape_forward(w.t.tape, &step, &err)) fail_msg("%s", err.text);
    sv_tape_backward(w.t.tape, 1);
    for (size_t t = 0; t < STAGES; t++) {
        double share = 0;
        hold_stage(&w, t, &scores, &packages);
        for (size_t b = 0; b < IMAGES; b++) share += (double)sv_tape_data(w.t.tape, w.t.share[t], b)[0] / IMAGES;
        share -= sv_pruning_plan_of(w.pruning)->keep[t];
        ratio += share * share;
    }
    hold_rows(&w, &logits, "logits", w.t.logits);
    hold_rows(&w, &logits, "teacher_logits", w.t.teacher_logits);
    hold_rows(&w, &logits, "removed_logits", w.t.logits); /* the same function; removed_equals has the tokens really leave */
    hold_number(&w, &losses, "loss_cls", (double)sv_tape_data(w.t.tape, w.t.cls, 0)[0]);
    hold_number(&w, &losses, "loss_kl", (double)sv_tape_data(w.t.tape, w.t.kl, 0)[0]);
    hold_number(&w, &losses, "loss_token", (double)sv_tape_data(w.t.tape, w.t.token, 0)[0]);
    hold_number(&w, &losses, "loss_ratio", ratio);
    hold_number(&w, &losses, "loss_total", (double)sv_tape_data(w.t.tape, w.t.loss, 0)[0]);
    hold_gradients(&gradients, w.file, w.student->parameters, "grad/");
    print_message("scores %.1e (%s), packages %.1e, logits %.1e (%s), losses %.1e (%s), gradients %.1e (%s)\n", scores.off, scores.where, packages.off, logits.off, logits.where, losses.off,
                  losses.where, gradients.off, gradients.where);
    assert_true(scores.off <= bound);
    assert_true(packages.off <= bound);
    assert_true(logits.off <= bound);
    assert_true(losses.off <= bound);
    assert_true(gradients.off <= gradient_bound);
    world_close(&w);
}

static void step_with_weighted_average_package(void **state) { (void)state; step_equals(SV_CHOICE_WAVG, "golden/spvit_wavg.npz"); }
static void step_with_summed_package(void **state) { (void)state; step_equals(SV_CHOICE_SUM, "golden/spvit_sum.npz"); }
static void step_with_mean_package(void **state) { (void)state; step_equals(SV_CHOICE_MEAN, "golden/spvit_mean.npz"); }

/* The deployed form as sv_removal_record makes it, but with the file's noise in the decisions; noise [STAGES] gets the inputs. */
static sv_tensor *record_removed(sv_tape *tape, const world *w, sv_tensor *picture, sv_tensor **noise, sv_tensor **after)
{
    const sv_pruning_plan *plan = sv_pruning_plan_of(w->pruning);
    const sv_model *model = w->student;
    sv_stream stream = { .x = sv_model_embed(tape, model, picture) };
    for (size_t i = 0, t = 0; i < sv_model_depth(model); i++) {
        if (t < STAGES && plan->at[t] == i) {
            sv_cut cut = sv_stream_scored(tape, w->pruning, &stream);
            noise[t] = sv_tape_input(tape, "noise", SV_REAL, PATCHES, 1, false);
            sv_tensor *a = sv_selector_record(tape, w->pruning, t, cut.u, cut.before, &cut.score);
            cut.keep = sv_tape_decide(tape, a, cut.before, cut.origin, noise[t], 1, t, false);
            stream = sv_stream_cut(tape, w->pruning, stream, &cut, plan->package, plan->empty, SV_CUT_REMOVED);
            sv_tape_keep(tape, after[t++] = stream.origin);
            sv_tape_cut(tape);
        }
        stream.x = sv_model_block(tape, model, i, stream.x, NULL);
    }
    stream.x = sv_tape_slice_rows(tape, stream.x, 0, sv_model_prefix(model));
    sv_tensor *logits = sv_model_head(tape, model, sv_model_finish(tape, model, stream.x));
    sv_tape_keep(tape, logits);
    return logits;
}

/* Exactly the patches that the file keeps go on, in rising order, behind one prefix row. */
static void hold_survivors(world *w, const sv_tape *tape, const sv_tensor *after, size_t t)
{
    char name[32];
    size_t count = 0;
    snprintf(name, sizeof name, "keep%zu", t);
    double *keep = golden(w->file, name, &count);
    for (size_t b = 0; b < IMAGES; b++) {
        const int32_t *origin = (const int32_t *)(const void *)sv_tape_data(tape, after, b);
        size_t rows = sv_tape_rows(tape, after, b), r = 1;
        assert_int_equal(origin[0], -1);
        for (int32_t j = 0; j < PATCHES; j++) {
            if (keep[b * PATCHES + (size_t)j] < 0.5) continue;
            assert_true(r < rows);
            assert_int_equal(origin[r++], j);
        }
        for (; r < rows; r++) assert_true(origin[r] < -1);
    }
    sv_free(keep);
}

static void removed_equals(sv_package_choice form, const char *golden_name)
{
    if (!have_data()) skip();
    world w = world_open(form, golden_name, true);
    sv_tape_options options = { .mode = SV_INFERENCE, .images_most = IMAGES };
    sv_step step = { .images = IMAGES };
    sv_tensor *noise[STAGES], *after[STAGES];
    sv_tape *tape = NULL;
    sv_error err = { 0 };
    worst off = { 0 };
    size_t count = 0;
    assert_int_equal(sv_tape_create(&tape, &options, &err), SV_OK);
    sv_tensor *picture = sv_tape_input(tape, "picture", SV_REAL, 1, 3 * 224 * 224, false);
    sv_tensor *logits = record_removed(tape, &w, picture, noise, after);
    if (sv_tape_finish(tape, NULL, &err)) fail_msg("%s", err.text);
    fill_noise(&w);
    for (size_t b = 0; b < IMAGES; b++) {
        memcpy(sv_tape_data(tape, picture, b), sv_tape_data(w.t.tape, w.t.picture, b), 3 * 224 * 224 * sizeof(sv_real));
        for (size_t t = 0; t < STAGES; t++) memcpy(sv_tape_data(tape, noise[t], b), sv_tape_data(w.t.tape, w.t.noise[t], b), PATCHES * sizeof(sv_real));
    }
    if (sv_tape_forward(tape, &step, &err)) fail_msg("%s", err.text);
    for (size_t t = 0; t < STAGES; t++) hold_survivors(&w, tape, after[t], t);
    double *want = golden(w.file, "removed_logits", &count);
    assert_int_equal(count, IMAGES * CLASSES);
    for (size_t k = 0; k < count; k++) hold(&off, "removed_logits", (double)sv_tape_data(tape, logits, k / CLASSES)[k % CLASSES], want[k], 10);
    print_message("removed, decisions given %.1e\n", off.off);
    assert_true(off.off <= bound);
    sv_free(want);
    sv_tape_destroy(tape);
    world_close(&w);
}

static void removed_with_weighted_average_package(void **state) { (void)state; removed_equals(SV_CHOICE_WAVG, "golden/spvit_wavg.npz"); }
static void removed_with_summed_package(void **state) { (void)state; removed_equals(SV_CHOICE_SUM, "golden/spvit_sum.npz"); }
static void removed_with_mean_package(void **state) { (void)state; removed_equals(SV_CHOICE_MEAN, "golden/spvit_mean.npz"); }

/* The same draws decide in the masked form and where tokens really leave. */
static void removed_equals_masked_with_the_same_draws(void **state)
{
    (void)state;
    if (!have_data()) skip();
    world w = world_open(SV_CHOICE_WAVG, NULL, false);
    sv_removal_tape removal;
    sv_step step = { .images = IMAGES, .seed = 5, .epoch = 2 };
    sv_error err = { 0 };
    worst off = { 0 };
    if (sv_removal_record(&removal, w.pruning, sv_pruning_plan_of(w.pruning), IMAGES, &err)) fail_msg("%s", err.text);
    for (size_t b = 0; b < IMAGES; b++) memcpy(sv_tape_data(removal.tape, removal.picture, b), sv_tape_data(w.t.tape, w.t.picture, b), 3 * 224 * 224 * sizeof(sv_real));
    if (sv_tape_forward(w.t.tape, &step, &err) || sv_tape_forward(removal.tape, &step, &err)) fail_msg("%s", err.text);
    for (size_t b = 0; b < IMAGES; b++) {
        for (size_t t = 0; t < STAGES; t++)
            assert_int_equal(sv_removal_kept(&removal, t, b), (size_t)((double)sv_tape_data(w.t.tape, w.t.share[t], b)[0] * PATCHES + 0.5));
        for (size_t k = 0; k < CLASSES; k++)
            hold(&off, "logits", (double)sv_tape_data(removal.tape, removal.logits, b)[k], (double)sv_tape_data(w.t.tape, w.t.logits, b)[k], 10);
    }
    print_message("masked against removed %.1e\n", off.off);
    assert_true(off.off <= 1e-5);
    sv_removal_clear(&removal);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(step_with_weighted_average_package), cmocka_unit_test(step_with_summed_package), cmocka_unit_test(step_with_mean_package),
                                        cmocka_unit_test(removed_with_weighted_average_package), cmocka_unit_test(removed_with_summed_package), cmocka_unit_test(removed_with_mean_package),
                                        cmocka_unit_test(removed_equals_masked_with_the_same_draws) };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
