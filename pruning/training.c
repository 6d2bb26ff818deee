/* The training form: the masked student (recorded by the form of pruning), the frozen dense teacher, their loss terms and the latency term on one tape
 * (SPViT; spec 2.5-5). */
#include "pruning/form.h"

#include <math.h>
#include <string.h>

void sv_training_decide(sv_training_tape *out, const sv_pruning *pruning, const sv_training_choice *choice, size_t t, sv_cut *cut)
{
    const sv_pruning_options *o = &pruning->options;
    sv_tape *tape = out->tape;
    const bool learned = !sv_pruning_method_of(o->plan.method)->fixed;
    if (choice->given_noise && learned) out->noise[t] = sv_tape_input(tape, "noise", SV_REAL, o->plan.patches[t], 1, false);
    out->a[t] = sv_cut_score(tape, pruning, t, cut);
    cut->keep = learned ? sv_tape_decide(tape, out->a[t], cut->before, cut->origin, out->noise[t], o->tau, t, false)
                        : sv_tape_choose(tape, out->a[t], cut->before, cut->origin, out->value, SV_BY_TOP_K, t, o->plan.min_keep);
    out->share[t] = sv_tape_kept_share(tape, cut->keep, cut->origin, o->plan.patches[t]);
}

void sv_training_keep_stage(sv_training_tape *out, const sv_cut *cut, size_t t, const sv_training_choice *choice)
{
    sv_tape *tape = out->tape;
    out->score[t] = cut->score, out->keep[t] = cut->keep, out->origin[t] = cut->origin;
    out->package[t] = cut->package, out->package_policy[t] = cut->package_policy;
    sv_tape_label(tape, out->a[t], "selectors.%zu.a", t);
    sv_tape_keep(tape, out->a[t]);
    sv_tape_keep(tape, cut->before);
    sv_tape_keep(tape, cut->keep);
    sv_tape_keep(tape, cut->origin);
    sv_tape_keep(tape, out->share[t]);
    if (choice->details) {
        sv_tape_keep(tape, cut->score);
        sv_tape_keep(tape, cut->package);
        sv_tape_keep(tape, cut->package_policy);
    }
    sv_tape_cut(tape);
}

/* Whether tokens are compared by what a second head answers for each (LV-ViT) instead of by their numbers; then the loss of classes reads the class
 * token alone, as the second head has a teacher of its own (spec DynamicViT 5.1, 5.4). */
static bool compares_answers(const sv_pruning *pruning, bool tokens) { return tokens && sv_model_has_patch_head(pruning->model); }

/* The teacher answers as a deployed model would: without drop path and dropout, whatever the student trains with. *features: all its tokens behind the
 * last norm, or its answers for all patches, NULL unless wanted. */
static sv_tensor *record_teacher(sv_training_tape *out, const sv_model *model, bool tokens, bool answers, sv_tensor **features)
{
    sv_model teacher = *model;
    sv_tape *tape = out->tape;
    teacher.options.drop_path = teacher.options.dropout = 0;
    sv_tensor *x = sv_model_embed(tape, &teacher, out->picture);
    for (size_t i = 0; i < sv_model_depth(&teacher); i++) x = sv_model_block(tape, &teacher, i, x, NULL);
    const bool apart = teacher.backbone->family->features != NULL; /* the head does not read what is compared */
    sv_tensor *finished = sv_model_finish(tape, &teacher, tokens && !apart ? x : sv_model_head_rows(tape, &teacher, x));
    sv_tensor *logits = answers ? sv_model_class_head(tape, &teacher, finished) : sv_model_head(tape, &teacher, finished);
    if (answers) *features = sv_model_patch_head(tape, &teacher, sv_tape_slice_rows(tape, finished, sv_model_prefix(&teacher), 0));
    else *features = !tokens ? NULL : apart ? sv_model_features(tape, &teacher, x) : finished;
    sv_tape_label(tape, logits, "teacher logits");
    sv_tape_keep(tape, logits);
    sv_tape_cut(tape);
    return logits;
}

/* DeiT's loss of one picture; its mean over the batch is what losses.py gives. */
static sv_tensor *record_distillation(sv_training_tape *out, const sv_training_choice *choice)
{
    sv_tape *tape = out->tape;
    double tau = choice->distill_tau;
    if (choice->distillation == SV_DISTILL_HARD) return sv_tape_cross_entropy(tape, out->distilled, sv_tape_top_class(tape, out->teacher_logits));
    sv_tensor *kl = sv_tape_kl(tape, sv_tape_scale(tape, out->distilled, 1 / tau), sv_tape_scale(tape, out->teacher_logits, 1 / tau));
    return sv_tape_scale(tape, kl, tau * tau / (double)sv_tensor_width(out->target));
}

/* What cls reads; *distilled: what a distillation loss reads. */
static sv_tensor *record_answer(sv_tape *tape, const sv_model *model, sv_student student, bool answers, sv_tensor **distilled)
{
    if (distilled && !sv_model_has_patch_head(model)) return sv_model_heads(tape, model, student.finished, distilled);
    sv_tensor *logits = answers ? sv_model_class_head(tape, model, student.finished) : sv_model_head_kept(tape, model, student.finished, student.kept);
    if (distilled) *distilled = logits;
    return logits;
}

/* How far the kept tokens are from the teacher's [1,2], see sv_tape_masked_square and sv_tape_masked_kl. */
static sv_tensor *record_tokens(sv_tape *tape, const sv_model *model, sv_student student, const sv_model *teacher, sv_tensor *features, bool answers)
{
    const size_t prefix = sv_model_prefix(model);
    if (!answers) return sv_tape_masked_square(tape, student.tokens, features, student.origin, sv_model_prefix(teacher));
    sv_tensor *own = sv_model_patch_head(tape, model, sv_tape_slice_rows(tape, student.tokens, prefix, 0));
    return sv_tape_masked_kl(tape, own, features, sv_tape_slice_rows(tape, student.origin, prefix, 0), 0);
}

/* Shares are read at so many steps: the patches of the largest grid a selector stands on. */
static size_t curve_steps(const sv_pruning *pruning) { return sv_plan_patches_most(&pruning->options.plan); }

typedef struct term_list { sv_tensor *items[8]; double weights[8]; size_t count; } term_list;

static void term(sv_tape *tape, term_list *list, sv_tensor *value, double weight, const char *label)
{
    if (!value) return;
    sv_tape_label(tape, value, "%s", label);
    sv_tape_keep(tape, value);
    list->items[list->count] = value;
    list->weights[list->count++] = weight;
}

static sv_tensor *add_all(sv_tape *tape, const term_list *list) { return sv_tape_weighted_sum(tape, list->items, list->count, list->weights); }

static void record_losses(sv_training_tape *out, const sv_pruning *pruning, const sv_training_choice *choice, sv_student student, const sv_model *teacher,
                          sv_tensor *teacher_features)
{
    const sv_pruning_options *o = &pruning->options;
    const sv_model *model = pruning->model;
    sv_tape *tape = out->tape;
    term_list terms = { 0 }, ratios = { 0 };
    const bool tokens = teacher_features != NULL, answers = compares_answers(pruning, tokens);
    bool distill = choice->distillation != SV_DISTILL_NONE;
    out->logits = record_answer(tape, model, student, answers, distill ? &out->distilled : NULL);
    sv_tape_keep(tape, out->logits);
    if (distill) sv_tape_keep(tape, out->distilled);
    sv_tensor *cls = sv_tape_cross_entropy(tape, out->logits, out->target), *kl = NULL, *square = NULL;
    if (out->teacher_logits && o->kl_weight > 0) kl = sv_tape_kl(tape, out->logits, out->teacher_logits);
    if (tokens) square = record_tokens(tape, model, student, teacher, teacher_features, answers);
    term(tape, &terms, out->cls = sv_tape_batch_mean(tape, cls), distill ? 1 - choice->distill_alpha : 1, "loss cls");
    if (distill) term(tape, &terms, out->distill = sv_tape_batch_mean(tape, record_distillation(out, choice)), choice->distill_alpha, "loss distill");
    if (kl) term(tape, &terms, out->kl = sv_tape_batch_mean(tape, kl), o->kl_weight, "loss kl");
    if (square) term(tape, &terms, out->token = sv_tape_batch_ratio(tape, square), o->token_weight, "loss token");
    bool pulled = out->stages && !sv_pruning_method_of(o->plan.method)->fixed;
    for (size_t t = 0; pulled && t < out->stages; t++) {
        out->goal[t] = sv_tape_batch_input(tape, "goal", 3);
        term(tape, &ratios, sv_tape_ratio_loss(tape, out->share[t], out->goal[t], o->ratio_per_image), 1, "loss ratio");
    }
    if (ratios.count) term(tape, &terms, add_all(tape, &ratios), 1, "loss ratio");
    if (pulled && o->latency_weight > 0) {
        out->curve = sv_tape_batch_input(tape, "latency curve", 3 + out->stages * (curve_steps(pruning) + 1));
        out->latency = sv_tape_latency_loss(tape, out->share, out->stages, out->curve, curve_steps(pruning), &out->predicted_ms);
        sv_tape_keep(tape, out->predicted_ms);
        term(tape, &terms, out->latency, o->latency_weight, "loss latency");
    }
    out->loss = add_all(tape, &terms);
    sv_tape_label(tape, out->loss, "loss");
    sv_tape_keep(tape, out->loss);
}

/* Whether its rows are its patches up to the last norm. */
static bool has_tokens(const sv_model *model) { return !sv_model_unfit(model) || model->backbone->family->among || model->backbone->family->ways; }

sv_place sv_tokens_place(const sv_model *model) { return sv_model_place(model, sv_model_depth(model) - 1); }

bool sv_tokens_comparable(const sv_model *student, const sv_model *teacher)
{
    if (sv_model_has_patch_head(student) != sv_model_has_patch_head(teacher)) return false;
    const sv_place ours = sv_tokens_place(student), theirs = sv_tokens_place(teacher);
    return has_tokens(student) && has_tokens(teacher) && ours.patches == theirs.patches && (sv_model_has_patch_head(student) || ours.width == theirs.width);
}

static sv_status check_teacher(const sv_pruning *pruning, const sv_model *teacher, const sv_training_choice *choice, sv_error *err)
{
    const sv_model *student = pruning->model;
    if (!teacher && choice->distillation == SV_DISTILL_NONE) return SV_OK;
    if (!teacher) return sv_fail(err, SV_USAGE, "distillation needs a teacher");
    if (choice->distillation != SV_DISTILL_NONE && !(choice->distill_tau > 0)) return sv_fail(err, SV_USAGE, "the temperature of distillation is %g; expected more than 0", choice->distill_tau);
    if (teacher->options.image != student->options.image || teacher->options.classes != student->options.classes)
        return sv_fail(err, SV_USAGE, "the teacher takes pictures of %zu pixels and has %zu classes, the student %zu and %zu; they must be equal", teacher->options.image,
                       teacher->options.classes, student->options.image, student->options.classes);
    if (pruning->options.token_weight > 0 && !sv_tokens_comparable(student, teacher))
        return sv_fail(err, SV_USAGE, "tokens of the teacher cannot be compared with the student's: %zu patches, %zu wide, against %zu patches, %zu wide",
                       sv_tokens_place(teacher).patches, sv_tokens_place(teacher).width, sv_tokens_place(student).patches, sv_tokens_place(student).width);
    return SV_OK;
}

sv_status sv_training_record(sv_training_tape *out, const sv_pruning *pruning, const sv_model *teacher, const sv_training_choice *choice, sv_error *err)
{
    const sv_model *model = pruning->model;
    sv_tape_options options = { .mode = SV_TRAINING, .images_most = choice->images, .precision = model->options.precision, .recompute = model->options.recompute, .lanes = choice->lanes, .lanes_bf16 = choice->lanes_bf16 };
    sv_tensor *features = NULL;
    memset(out, 0, sizeof *out);
    sv_status status = check_teacher(pruning, teacher, choice, err);
    if (!status) status = sv_tape_create(&out->tape, &options, err);
    if (status) return status;
    out->stages = pruning->options.plan.stages;
    out->picture = sv_tape_input(out->tape, "picture", SV_REAL, 1, 3 * model->options.image * model->options.image, false);
    out->target = sv_tape_input(out->tape, "target", SV_REAL, 1, model->options.classes, false);
    bool taught = choice->distillation != SV_DISTILL_NONE || pruning->options.kl_weight > 0 || pruning->options.token_weight > 0;
    if (pruning->options.plan.stages && sv_pruning_method_of(pruning->options.plan.method)->fixed) out->value = sv_tape_batch_input(out->tape, "counts", out->stages);
    const bool tokens = pruning->options.token_weight > 0;
    if (teacher && taught) out->teacher_logits = record_teacher(out, teacher, tokens, compares_answers(pruning, tokens), &features);
    sv_student student = pruning->form->student(out, pruning, choice, features != NULL);
    record_losses(out, pruning, choice, student, teacher, features);
    status = sv_tape_finish(out->tape, out->loss, err);
    if (status) sv_training_clear(out);
    return status;
}

void sv_training_clear(sv_training_tape *training)
{
    sv_tape_destroy(training->tape);
    memset(training, 0, sizeof *training);
}

void sv_training_set_goals(sv_training_tape *training, const sv_pruning_options *options, const double *keep, const double *multiplier, double latency_multiplier)
{
    if (training->value) {
        sv_pruning_plan plan = options->plan;
        sv_plan_set_keep(&plan, keep);
        for (size_t t = 0; t < training->stages; t++) sv_tape_data(training->tape, training->value, 0)[t] = (sv_real)plan.count[t];
    }
    if (training->curve)
        sv_tape_data(training->tape, training->curve, 0)[2] = (sv_real)(options->latency_form == SV_RATIO_LAGRANGE ? latency_multiplier / options->latency_weight : 0);
    for (size_t t = 0; t < training->stages && training->goal[t]; t++) {
        sv_real *goal = sv_tape_data(training->tape, training->goal[t], 0);
        bool lagrange = options->ratio_form == SV_RATIO_LAGRANGE;
        goal[0] = (sv_real)keep[t];
        goal[1] = (sv_real)(lagrange ? multiplier[t] : 0);
        goal[2] = (sv_real)(lagrange ? 2 : options->ratio_weight / (double)training->stages);
    }
}

void sv_training_report(const sv_training_tape *training, size_t images, sv_stage_report *stages)
{
    for (size_t t = 0; t < training->stages; t++) {
        double sum = 0, squares = 0, count = 0, decided = 0, share = 0;
        for (size_t b = 0; b < images; b++) {
            const sv_real *a = sv_tape_data(training->tape, training->a[t], b);
            const int32_t *origin = (const int32_t *)(const void *)sv_tape_data(training->tape, training->origin[t], b);
            size_t rows = sv_tape_rows(training->tape, training->a[t], b);
            share += (double)sv_tape_data(training->tape, training->share[t], b)[0];
            for (size_t r = 0; r < rows; r++) {
                if (origin[r] < 0) continue;
                sum += (double)a[r];
                squares += (double)a[r] * (double)a[r];
                decided += fabs((double)a[r]) > 2;
                count++;
            }
        }
        double mean = count > 0 ? sum / count : 0;
        stages[t] = (sv_stage_report){ .share = share / (double)images, .mean = mean, .deviation = count > 0 ? sqrt(fmax(squares / count - mean * mean, 0)) : 0,
                                       .decided = count > 0 ? decided / count : 0 };
    }
}
