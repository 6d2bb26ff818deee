/* The training form: the masked student, the frozen dense teacher, their loss terms and the latency term on one tape (SPViT; spec 2.5-5). Dropped
 * rows go on behind the live ones and have a gradient of exactly zero, so that backward runs over live rows alone (spec exact savings). */
#include "pruning/inside.h"

#include <math.h>
#include <string.h>

/* What the run, its report and the checks read of stage t. */
static void keep_stage(sv_training_tape *out, const sv_cut *cut, size_t t, const sv_training_choice *choice)
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
    if (!choice->details) return;
    sv_tape_keep(tape, cut->score);
    sv_tape_keep(tape, cut->package);
    sv_tape_keep(tape, cut->package_policy);
}

typedef struct student_walk {
    sv_training_tape *out;
    const sv_pruning *pruning;
    const sv_training_choice *choice;
} student_walk;

static sv_stream record_stage(sv_training_tape *out, const sv_pruning *pruning, const sv_training_choice *choice, size_t t, sv_stream stream)
{
    const sv_pruning_options *o = &pruning->options;
    sv_cut_form how = pruning->model->attention.plain ? SV_CUT_IN_PLACE : SV_CUT_MASKED;
    size_t patches = sv_model_patches(pruning->model);
    sv_tape *tape = out->tape;
    sv_cut cut = { 0 };
    sv_stream_scored(tape, pruning, &stream, &cut.u, &cut.before, &cut.origin);
    if (choice->given_noise) out->noise[t] = sv_tape_input(tape, "noise", SV_REAL, patches, 1, false);
    out->a[t] = sv_selector_record(tape, pruning, t, cut.u, cut.before, &cut.score);
    cut.keep = sv_tape_decide(tape, out->a[t], cut.before, cut.origin, out->noise[t], o->tau, t, false);
    out->share[t] = sv_tape_kept_share(tape, cut.keep, cut.origin, patches);
    stream = sv_stream_cut(tape, pruning, stream, &cut, o->plan.package, o->plan.empty, how);
    keep_stage(out, &cut, t, choice);
    sv_tape_cut(tape);
    return stream;
}

/* Decisions that are not learned: what is trained is what is deployed. */
static sv_stream record_fixed_stage(student_walk *walk, size_t t, sv_stream stream)
{
    sv_training_tape *out = walk->out;
    const sv_pruning *pruning = walk->pruning;
    sv_cut cut = { 0 };
    stream = sv_stream_leave(out->tape, pruning, &pruning->options.plan, SV_BY_TOP_K, t, stream, out->value, &cut, &out->a[t]);
    out->share[t] = sv_tape_kept_share(out->tape, cut.keep, cut.origin, sv_model_patches(pruning->model));
    keep_stage(out, &cut, t, walk->choice);
    sv_tape_cut(out->tape);
    return stream;
}

static sv_stream stage_of_student(void *context, size_t t, sv_stream stream)
{
    student_walk *walk = context;
    if (sv_pruning_method_of(walk->pruning->options.plan.method)->fixed) return record_fixed_stage(walk, t, stream);
    return record_stage(walk->out, walk->pruning, walk->choice, t, stream);
}

/* Of merged tokens: as many as are left, each by the patch it stands in. */
static void keep_merged(sv_training_tape *out, const sv_pruning *pruning, const sv_stream *stream)
{
    sv_tape *tape = out->tape;
    out->origin[0] = stream->origin;
    out->a[0] = sv_tape_fill(tape, stream->origin, 0, 0);
    out->keep[0] = sv_tape_fill(tape, stream->origin, 0, 1);
    out->share[0] = sv_tape_kept_share(tape, out->keep[0], stream->origin, sv_model_patches(pruning->model));
    sv_tape_keep(tape, out->a[0]);
    sv_tape_keep(tape, out->keep[0]);
    sv_tape_keep(tape, out->origin[0]);
    sv_tape_keep(tape, out->share[0]);
}

/* Selectors at their places, blocks between them; returns the tokens in front of the last norm, live rows first. */
static sv_stream record_student(sv_training_tape *out, const sv_pruning *pruning, const sv_training_choice *choice)
{
    const sv_pruning_plan *plan = &pruning->options.plan;
    const sv_pruning_method *method = sv_pruning_method_of(plan->method);
    const sv_model *model = pruning->model;
    sv_tape *tape = out->tape;
    student_walk walk = { out, pruning, choice };
    if (plan->stages && method->fixed) out->value = sv_tape_batch_input(tape, "counts", plan->stages);
    sv_stream stream = { .x = sv_model_embed(tape, model, out->picture) };
    stream = sv_stream_walk(tape, pruning, plan, stream, &(sv_walk){ &walk, stage_of_student, out->value });
    if (plan->stages && method->merges) keep_merged(out, pruning, &stream);
    if (plan->stages && model->attention.plain && stream.policy) { /* rows stayed where they were */
        sv_tensor *order = sv_tape_live_order(tape, stream.policy);
        stream.x = sv_tape_gather_rows(tape, stream.x, order, SV_TAKE_ALL);
        stream.origin = sv_tape_gather_rows(tape, stream.origin, order, SV_TAKE_ALL);
    }
    return stream;
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
    sv_tensor *finished = sv_model_finish(tape, &teacher, tokens ? x : sv_model_head_rows(tape, &teacher, x));
    sv_tensor *logits = answers ? sv_model_class_head(tape, &teacher, finished) : sv_model_head(tape, &teacher, finished);
    *features = answers ? sv_model_patch_head(tape, &teacher, sv_tape_slice_rows(tape, finished, sv_model_prefix(&teacher), 0)) : tokens ? finished : NULL;
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
static sv_tensor *record_answer(sv_tape *tape, const sv_model *model, const sv_stream *stream, sv_tensor *finished, bool answers, sv_tensor **distilled)
{
    if (model->options.distilled && distilled) return sv_model_heads(tape, model, finished, distilled);
    sv_tensor *logits = answers ? sv_model_class_head(tape, model, finished) : sv_model_head_kept(tape, model, finished, stream->origin);
    if (distilled) *distilled = logits;
    return logits;
}

/* How far the kept tokens are from the teacher's [1,2], see sv_tape_masked_square and sv_tape_masked_kl. */
static sv_tensor *record_tokens(sv_tape *tape, const sv_model *model, const sv_stream *stream, sv_tensor *finished, const sv_model *teacher, sv_tensor *features,
                                bool answers)
{
    size_t prefix = sv_model_prefix(model);
    sv_tensor *origin = stream->origin ? stream->origin : sv_tape_count_up(tape, finished, -(int64_t)prefix);
    if (!answers) return sv_tape_masked_square(tape, finished, features, origin, sv_model_prefix(teacher));
    sv_tensor *own = sv_model_patch_head(tape, model, sv_tape_slice_rows(tape, finished, prefix, 0));
    return sv_tape_masked_kl(tape, own, features, sv_tape_slice_rows(tape, origin, prefix, 0), 0);
}

static size_t curve_width(const sv_pruning *pruning) { return 2 + pruning->options.plan.stages * (sv_model_patches(pruning->model) + 1); }

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

static void record_losses(sv_training_tape *out, const sv_pruning *pruning, const sv_training_choice *choice, sv_stream stream, const sv_model *teacher,
                          sv_tensor *teacher_features)
{
    const sv_pruning_options *o = &pruning->options;
    const sv_model *model = pruning->model;
    sv_tape *tape = out->tape;
    term_list terms = { 0 }, ratios = { 0 };
    bool tokens = teacher_features != NULL, answers = compares_answers(pruning, tokens);
    sv_tensor *finished = sv_model_finish(tape, model, tokens ? stream.x : sv_model_head_rows(tape, model, stream.x));
    bool distill = choice->distillation != SV_DISTILL_NONE;
    out->logits = record_answer(tape, model, &stream, finished, answers, distill ? &out->distilled : NULL);
    sv_tape_keep(tape, out->logits);
    if (distill) sv_tape_keep(tape, out->distilled);
    sv_tensor *cls = sv_tape_cross_entropy(tape, out->logits, out->target), *kl = NULL, *square = NULL;
    if (out->teacher_logits && o->kl_weight > 0) kl = sv_tape_kl(tape, out->logits, out->teacher_logits);
    if (tokens) square = record_tokens(tape, model, &stream, finished, teacher, teacher_features, answers);
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
        out->curve = sv_tape_batch_input(tape, "latency curve", curve_width(pruning));
        out->latency = sv_tape_latency_loss(tape, out->share, out->stages, out->curve, sv_model_patches(model), &out->predicted_ms);
        sv_tape_keep(tape, out->predicted_ms);
        term(tape, &terms, out->latency, o->latency_weight, "loss latency");
    }
    out->loss = add_all(tape, &terms);
    sv_tape_label(tape, out->loss, "loss");
    sv_tape_keep(tape, out->loss);
}

bool sv_tokens_comparable(const sv_model *student, const sv_model *teacher)
{
    if (sv_model_unfit(student) || sv_model_unfit(teacher) || sv_model_patches(student) != sv_model_patches(teacher)) return false;
    if (sv_model_has_patch_head(student) || sv_model_has_patch_head(teacher)) return sv_model_has_patch_head(student) && sv_model_has_patch_head(teacher);
    return student->options.width == teacher->options.width;
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
        return sv_fail(err, SV_USAGE, "tokens of the teacher cannot be compared with the student's: %zu patches, %zu wide, against %zu patches, %zu wide", sv_model_patches(teacher),
                       teacher->options.width, sv_model_patches(student), student->options.width);
    return SV_OK;
}

sv_status sv_training_record(sv_training_tape *out, const sv_pruning *pruning, const sv_model *teacher, const sv_training_choice *choice, sv_error *err)
{
    const sv_model *model = pruning->model;
    sv_tape_options options = { .mode = SV_TRAINING, .images_most = choice->images, .precision = model->options.precision, .recompute = model->options.recompute, .lanes = choice->lanes };
    sv_tensor *features = NULL;
    memset(out, 0, sizeof *out);
    sv_status status = check_teacher(pruning, teacher, choice, err);
    if (!status) status = sv_tape_create(&out->tape, &options, err);
    if (status) return status;
    out->stages = pruning->options.plan.stages;
    out->patches = sv_model_patches(model);
    out->picture = sv_tape_input(out->tape, "picture", SV_REAL, 1, 3 * model->options.image * model->options.image, false);
    out->target = sv_tape_input(out->tape, "target", SV_REAL, 1, model->options.classes, false);
    bool taught = choice->distillation != SV_DISTILL_NONE || pruning->options.kl_weight > 0 || pruning->options.token_weight > 0;
    if (teacher && taught) out->teacher_logits = record_teacher(out, teacher, pruning->options.token_weight > 0, compares_answers(pruning, pruning->options.token_weight > 0), &features);
    sv_stream stream = record_student(out, pruning, choice);
    record_losses(out, pruning, choice, stream, teacher, features);
    status = sv_tape_finish(out->tape, out->loss, err);
    if (status) sv_training_clear(out);
    return status;
}

void sv_training_clear(sv_training_tape *training)
{
    sv_tape_destroy(training->tape);
    memset(training, 0, sizeof *training);
}

void sv_training_set_goals(sv_training_tape *training, const sv_pruning_options *options, const double *keep, const double *multiplier)
{
    if (training->value) {
        sv_pruning_plan plan = options->plan;
        sv_plan_set_keep(&plan, keep, training->patches);
        for (size_t t = 0; t < training->stages; t++) sv_tape_data(training->tape, training->value, 0)[t] = (sv_real)plan.count[t];
    }
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
