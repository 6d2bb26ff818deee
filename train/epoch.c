/* The end of an epoch: thresholds of the selectors, accuracy, a row of metrics, checkpoints. All that goes into a checkpoint is a function of the
 * run's state, so that a run killed in here does the same again. */
#include "train/ranks.h"
#include "train/retain.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- checkpoints ------------------------------------------------------------------------------------------------- */

static sv_status plan_text(const sv_session *s, sv_text *text, sv_error *err)
{
    sv_plan_print(sv_pruning_plan_of(s->pruning), text);
    return sv_text_check(text, err);
}

/* of: the evaluation of weights that are written alone, for their card; NULL: the whole run is written. */
static sv_status write_checkpoint(sv_session *s, const char *path, const sv_evaluation *of, const sv_real *values, sv_error *err)
{
    sv_text plan = { 0 }, card = { 0 };
    sv_status status = plan_text(s, &plan, err);
    if (!status && of) status = sv_session_card(s, of, &card, err);
    sv_checkpoint checkpoint = { .set = s->model->parameters, .model = s->model_text, .plan = plan.data, .classes = s->classes_text, .config = s->recipe_text, .values = values };
    checkpoint.card = card.data;
    if (!of) checkpoint.optimizer = s->optimizer, checkpoint.ema = s->ema, checkpoint.state = &s->state, checkpoint.teacher = s->other ? s->teacher_mark : NULL;
    if (!status) status = sv_checkpoint_write(&checkpoint, path, err);
    sv_text_clear(&card);
    sv_text_clear(&plan);
    return status;
}

sv_status sv_session_save_as(sv_session *s, const char *path, sv_error *err) { return write_checkpoint(s, path, NULL, NULL, err); }
/* What was saved is safe, whatever becomes of its other names: that they cannot be given is said, and the run goes on. */
static void say_not_kept(const sv_error *err) { sv_log(SV_WARNING, "a checkpoint is not kept under its own name: %s", err->text); }

sv_status sv_session_save(sv_session *s, sv_error *err)
{
    sv_error aside = { 0 };
    sv_status status = sv_session_save_as(s, s->last, err);
    if (status) return status;
    s->saved = sv_now_seconds();
    s->own_last = true;
    if (sv_retain_last(s->folder, s->last, s->state.step, s->options.keep_last, &aside)) say_not_kept(&aside);
    return SV_OK;
}

/* A run that goes on with another teacher would be no run anybody could repeat. */
static sv_status check_teacher(const sv_session *s, const char *mark, const char *path, sv_error *err)
{
    if (strcmp(mark ? mark : "", s->teacher_mark) == 0) return SV_OK;
    return sv_fail(err, SV_MODEL_FILE, "%s: the run began %s train.teacher%s; go on with the teacher it began with, or begin anew (--resume never)", path, mark ? "with" : "without",
                   mark && s->teacher_mark[0] ? " of other weights" : "");
}

sv_status sv_session_load(sv_session *s, const char *path, sv_error *err)
{
    sv_checkpoint checkpoint = { .set = s->model->parameters, .optimizer = s->optimizer, .ema = s->ema, .state = &s->state };
    sv_weights *file = NULL;
    sv_status status = sv_checkpoint_read(&checkpoint, path, err);
    if (!status) status = sv_weights_open(&file, path, err);
    if (!status) {
        const char *text = sv_weights_metadata(file, "sieve.plan");
        if (!text) status = sv_fail(err, SV_MODEL_FILE, "%s: the pruning plan is missing; the file is damaged", path);
        else status = sv_plan_parse(sv_pruning_plan_of(s->pruning), text, path, err);
        sv_plan_fit(sv_pruning_plan_of(s->pruning), s->model);
    }
    if (!status) status = check_teacher(s, sv_weights_metadata(file, "sieve.teacher"), path, err);
    sv_weights_close(file);
    if (!status && s->state.stages != s->training.stages)
        status = sv_fail(err, SV_MODEL_FILE, "%s: the checkpoint has %llu selectors and the config %zu; give the config it was made with", path, (unsigned long long)s->state.stages, s->training.stages);
    return status;
}

/* ---- evaluation -------------------------------------------------------------------------------------------------- */

/* By all ranks, each its places of every batch. */
static sv_status evaluate(sv_session *s, const sv_removal_tape *removal, const char *what, sv_evaluation *out, sv_error *err)
{
    const size_t classes = s->model->options.classes;
    sv_evaluate_options options = { .progress = sv_comm_rank(s->comm) ? NULL : what, .comm = s->comm, .first = s->places };
    if (out == &s->evaluation && s->confusion) {
        memset(s->confusion, 0, classes * classes * sizeof *s->confusion);
        options.confusion = s->confusion;
    }
    if (out == &s->evaluation) {
        s->records.count = 0;
        options.records = &s->records;
    }
    return sv_evaluate(removal, s->val, s->val_source, &options, out, err);
}

static sv_status calibrate_alone(sv_session *s, sv_error *err)
{
    return sv_calibrate(&s->pruned, sv_pruning_plan_of(s->pruning), s->calibrate, s->options.calibrate, err);
}

static sv_status calibrate(sv_session *s, sv_error *err)
{
    sv_status status = sv_ranks_lead(s, calibrate_alone, err);
    if (!status) sv_removal_set_plan(&s->pruned, sv_pruning_plan_of(s->pruning));
    return status;
}

/* The averaged weights in place of the raw ones, for an evaluation. */
static void swap_ema(sv_session *s)
{
    size_t bytes = s->model->parameters->total * sizeof *s->ema;
    memcpy(s->spare, s->model->parameters->values, bytes);
    memcpy(s->model->parameters->values, s->ema, bytes);
    memcpy(s->ema, s->spare, bytes);
    sv_parameters_changed(s->model->parameters);
}

static sv_status evaluate_all(sv_session *s, sv_error *err)
{
    sv_pruning_plan *plan = sv_pruning_plan_of(s->pruning);
    sv_status status = SV_OK;
    if (s->ema) {
        sv_pruning_plan raw = *plan;
        swap_ema(s);
        status = calibrate(s, err);
        if (!status) status = evaluate(s, &s->pruned, "validation (averaged weights)", &s->ema_evaluation, err);
        swap_ema(s);
        *plan = raw;
    }
    if (!status) status = calibrate(s, err);
    if (!status) status = evaluate(s, &s->pruned, "validation", &s->evaluation, err);
    if (!status && s->dense.tape && !s->dense_evaluation.images) status = evaluate(s, &s->dense, "validation (dense)", &s->dense_evaluation, err);
    return status;
}

sv_status sv_session_figures(sv_session *s, sv_error *err)
{
    if (s->evaluation.images) return SV_OK;
    sv_removal_set_plan(&s->pruned, sv_pruning_plan_of(s->pruning)); /* as the checkpoint has it */
    sv_status status = evaluate(s, &s->pruned, "validation", &s->evaluation, err);
    return status || !s->dense.tape ? status : evaluate(s, &s->dense, "validation (dense)", &s->dense_evaluation, err);
}

/* ---- metrics ----------------------------------------------------------------------------------------------------- */

enum { COLUMNS_MOST = 64, NAME_MOST = 24 };
typedef struct row { char names[COLUMNS_MOST][NAME_MOST]; double values[COLUMNS_MOST]; size_t count; } row;

static void put(row *r, double value, const char *format, size_t t)
{
    snprintf(r->names[r->count], NAME_MOST, format, t);
    r->values[r->count++] = value;
}

static void fill_row(const sv_session *s, row *r, bool evaluated)
{
    double steps = s->state.sum_count ? (double)s->state.sum_count : NAN, rates[SV_GROUP_COUNT];
    const size_t *patches = sv_pruning_plan_of(s->pruning)->patches;
    const sv_evaluation *e = &s->evaluation, *a = &s->ema_evaluation;
    size_t epoch = s->state.epoch < s->options.epochs ? (size_t)s->state.epoch : s->options.epochs ? s->options.epochs - 1 : 0;
    sv_schedule_rates(&s->options.schedule, epoch, 0, rates);
    put(r, (double)s->state.step, "step", 0);
    put(r, (double)s->state.epoch + 1, "epoch", 0);
    put(r, s->state.sums[SV_SUM_LOSS] / steps, "loss", 0);
    put(r, s->state.sums[SV_SUM_CLS] / steps, "loss_cls", 0);
    put(r, s->training.stages ? s->state.sums[SV_SUM_RATIO] / steps : NAN, "loss_ratio", 0);
    put(r, s->training.kl ? s->state.sums[SV_SUM_KL] / steps : NAN, "loss_kl", 0);
    put(r, s->training.token ? s->state.sums[SV_SUM_TOKEN] / steps : NAN, "loss_token", 0);
    put(r, s->training.latency ? s->state.sums[SV_SUM_LATENCY] / steps : NAN, "loss_latency", 0);
    if (s->training.distill) put(r, s->state.sums[SV_SUM_DISTILL] / steps, "loss_distill", 0);
    put(r, s->state.sums[SV_SUM_NORM] / steps, "gradient_norm", 0);
    put(r, rates[SV_GROUP_SELECTOR], "lr", 0);
    put(r, rates[SV_GROUP_BACKBONE], "lr_backbone", 0);
    put(r, evaluated ? (double)e->top1 / (double)e->images : NAN, "top1", 0);
    put(r, evaluated ? (double)e->top5 / (double)e->images : NAN, "top5", 0);
    put(r, evaluated ? (double)e->top1_among / (double)e->images : NAN, "top1_among", 0);
    put(r, evaluated ? e->loss : NAN, "val_loss", 0);
    put(r, evaluated && s->ema ? (double)a->top1 / (double)a->images : NAN, "top1_ema", 0);
    for (size_t t = 0; t < s->training.stages; t++) {
        put(r, s->state.keep[t], "target_%zu", t);
        put(r, s->state.sums[SV_SUM_SHARE + t] / steps, "sampled_%zu", t);
        put(r, evaluated ? e->kept[t] / (double)patches[t] : NAN, "kept_%zu", t);
        put(r, t < 3 ? s->state.sums[SV_SUM_MEAN + t] / steps : NAN, "logit_mean_%zu", t);
        put(r, t < 3 ? s->state.sums[SV_SUM_DEVIATION + t] / steps : NAN, "logit_deviation_%zu", t);
        put(r, s->state.multiplier[t], "multiplier_%zu", t);
    }
    if (s->training.latency) {
        put(r, s->state.sums[SV_SUM_MS] / steps, "sampled_ms", 0);
        put(r, s->state.latency_multiplier, "multiplier_ms", 0);
        put(r, sv_session_goal_ms(s), "goal_ms", 0);
    }
    put(r, s->predicted_ms > 0 ? s->predicted_ms : NAN, "predicted_ms", 0);
    put(r, (double)s->state.skipped_steps, "skipped_steps", 0);
    put(r, s->worked > 0 ? (double)s->pictures / s->worked : NAN, "images_per_s", 0);
    put(r, s->worked > 0 ? s->waited / s->worked : NAN, "waited_share", 0);
}

static sv_status open_files(sv_session *s, const char *const *names, size_t count, sv_error *err)
{
    char *metrics = NULL, *events = NULL;
    sv_status status = sv_path_join(&metrics, s->folder, "metrics.csv", err);
    if (!status) status = sv_path_join(&events, s->folder, "tensorboard", err);
    if (!status) status = sv_metrics_open(&s->metrics, metrics, names, count, s->state.step ? s->state.step - 1 : 0, err);
    if (!status && s->options.tensorboard) status = sv_events_open(&s->events, events, (int64_t)s->state.step - 1, err);
    sv_free(metrics);
    sv_free(events);
    return status;
}

/* Where TensorBoard shows a column. */
static const char *card_of(const char *column)
{
    static const struct { const char *begin, *card; } cards[] = {
        { "sampled_ms", "latency" }, { "multiplier_ms", "latency" }, { "top", "val" }, { "val", "val" }, { "target", "tokens" }, { "sampled", "tokens" }, { "kept", "tokens" }, { "logit", "tokens" }, { "multiplier", "tokens" }, { "predicted", "latency" }, { "goal", "latency" },
    };
    for (size_t i = 0; i < SV_COUNT(cards); i++)
        if (strncmp(column, cards[i].begin, strlen(cards[i].begin)) == 0) return cards[i].card;
    return "train";
}

static sv_status write_events(sv_session *s, const row *r, sv_error *err)
{
    char tags[COLUMNS_MOST][NAME_MOST + 16];
    const char *names[COLUMNS_MOST];
    for (size_t i = 0; i < r->count; i++) {
        snprintf(tags[i], sizeof tags[i], "%s/%s", card_of(r->names[i]), r->names[i]);
        names[i] = tags[i];
    }
    return sv_events_add(s->events, s->state.step, r->count - 1, names + 1, r->values + 1, err); /* the step is no curve */
}

static sv_status write_row(sv_session *s, bool evaluated, sv_error *err)
{
    row r = { .count = 0 };
    const char *names[COLUMNS_MOST];
    sv_status status = SV_OK;
    if (!s->state.sum_count && s->state.step) return SV_OK; /* every step was skipped: nothing to say, and no new step to say it of */
    fill_row(s, &r, evaluated);
    for (size_t i = 0; i < r.count; i++) names[i] = r.names[i];
    if (!s->metrics) status = open_files(s, names, r.count, err);
    if (!status) status = sv_metrics_add(s->metrics, r.values, err);
    return status || !s->events ? status : write_events(s, &r, err);
}

static void say_epoch(const sv_session *s, bool evaluated)
{
    const sv_evaluation *e = &s->evaluation;
    sv_text text = { 0 };
    double steps = s->state.sum_count ? (double)s->state.sum_count : 1;
    const size_t *patches = sv_pruning_plan_of(s->pruning)->patches;
    sv_text_add(&text, "epoch %llu of %zu: loss %.4f", (unsigned long long)s->state.epoch + 1, s->epochs, s->state.sums[SV_SUM_LOSS] / steps);
    if (evaluated) sv_text_add(&text, ", top-1 %zu of %zu (%.2f %%), among present classes %zu", e->top1, e->images, 100.0 * (double)e->top1 / (double)(e->images ? e->images : 1), e->top1_among);
    if (evaluated && s->ema) sv_text_add(&text, ", averaged %zu", s->ema_evaluation.top1);
    for (size_t t = 0; t < s->training.stages; t++) {
        sv_text_add(&text, "%s%.3f", t ? " / " : ", sampled keep ", s->state.sums[SV_SUM_SHARE + t] / steps);
    }
    for (size_t t = 0; evaluated && t < s->training.stages; t++) sv_text_add(&text, "%s%.3f", t ? " / " : ", kept ", e->kept[t] / (double)patches[t]);
    for (size_t t = 0; t < s->training.stages; t++) sv_text_add(&text, "%s%.3f", t ? " / " : ", target ", s->state.keep[t]);
    if (text.data) sv_log(SV_INFO, "%s", text.data);
    sv_text_clear(&text);
}

static bool evaluates(const sv_session *s) { return s->state.epoch + 1 >= s->epochs || (s->state.epoch + 1) % s->options.evaluate_every == 0; }

/* best.safetensors, and with run.keep_best the others that are worth a name. */
static sv_status keep_best(sv_session *s, sv_error *err)
{
    const bool averaged = s->ema && s->ema_evaluation.top1 > s->evaluation.top1, first = s->state.best < 0;
    const double top1 = (double)(averaged ? s->ema_evaluation.top1 : s->evaluation.top1) / (double)(s->evaluation.images ? s->evaluation.images : 1);
    const uint64_t epoch = s->state.epoch + 1;
    const sv_real *values = averaged ? s->ema : NULL;
    const sv_evaluation *of = averaged ? &s->ema_evaluation : &s->evaluation;
    sv_error aside = { 0 };
    bool wants = false;
    if (first || top1 > s->state.best) s->state.better_epoch = epoch;
    if (top1 >= s->state.best) {
        s->state.best = top1;
        s->state.best_epoch = epoch;
        sv_status status = write_checkpoint(s, s->best, of, values, err);
        if (!status && sv_retain_best(s->folder, s->best, top1, epoch, s->options.keep_best, &aside)) say_not_kept(&aside);
        return status;
    }
    sv_status aside_status = sv_retain_wants(s->folder, top1, epoch, s->options.keep_best, &wants, &aside);
    char *path = NULL;
    if (!aside_status && wants) aside_status = sv_path_join(&path, s->folder, ".best.safetensors", &aside);
    if (!aside_status && wants) aside_status = write_checkpoint(s, path, of, values, &aside);
    if (!aside_status && wants) aside_status = sv_retain_best(s->folder, path, top1, epoch, s->options.keep_best, &aside);
    if (path) unlink(path);
    sv_free(path);
    if (aside_status) say_not_kept(&aside);
    return SV_OK;
}

/* train.patience: no better epoch for so long ends the training, as if train.epochs had said so. */
static void lose_patience(sv_session *s)
{
    const uint64_t epoch = s->state.epoch, better = s->state.better_epoch;
    if (!s->options.patience || epoch >= s->epochs || epoch < better + s->options.patience) return;
    s->state.stopped_epoch = epoch;
    s->epochs = sv_session_goal(s);
    sv_log(SV_INFO, "ends after epoch %llu of %zu: no better top-1 since epoch %llu (train.patience = %zu)", (unsigned long long)epoch, s->options.epochs, (unsigned long long)better,
           s->options.patience);
}

size_t sv_session_goal(const sv_session *s) { return (size_t)(s->state.stopped_epoch ? s->state.stopped_epoch : s->options.epochs) + (size_t)s->state.round; }

/* On rank 0. */
static sv_status close_epoch(sv_session *s, sv_error *err)
{
    const bool evaluated = evaluates(s);
    sv_status status = write_row(s, evaluated, err);
    if (status) return status;
    say_epoch(s, evaluated);
    if (evaluated) status = keep_best(s, err);
    if (status) return status;
    s->state.epoch++;
    s->state.batch = 0;
    memset(s->state.sums, 0, sizeof s->state.sums);
    s->state.sum_count = 0;
    if (evaluated) lose_patience(s);
    if (evaluated && s->state.epoch < s->epochs) status = sv_session_follow(s, err);
    if (!status) status = sv_session_save(s, err);
    if (!status) sv_session_tell(s, true);
    return status ? status : sv_session_page(s, SV_VERDICT_RUNNING, err);
}

sv_status sv_session_end_epoch(sv_session *s, sv_error *err)
{
    sv_status status = evaluates(s) ? evaluate_all(s, err) : SV_OK;
    return status ? status : sv_ranks_lead(s, close_epoch, err);
}
