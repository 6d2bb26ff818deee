/* A run from its first step, or from where it was left, to its measured end. */
#include "train/guard.h"
#include "train/ranks.h"
#include "layers/layers.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- beginning or going on --------------------------------------------------------------------------------------- */

static sv_status begin_state(sv_session *s, sv_error *err)
{
    const sv_pruning_plan *plan = sv_pruning_plan_of(s->pruning);
    s->state.stages = plan->stages;
    if (s->has_table) s->state.goal_ms = sv_session_goal_ms(s);
    return sv_session_apply_keep(s, plan->keep, err);
}

static sv_status take_up(sv_session *s, sv_error *err)
{
    const char *path = s->request->resume == SV_RESUME_FILE ? s->request->resume_file : s->last;
    if (s->request->resume == SV_RESUME_AUTO && !sv_path_exists(path)) return SV_OK;
    sv_status status = sv_session_load(s, path, err);
    s->own_last = path == s->last;
    if (!status && s->has_table) s->state.goal_ms = sv_session_goal_ms(s); /* files of earlier versions do not tell it */
    if (!status) status = sv_session_apply_keep(s, s->state.keep, err);
    if (s->state.stopped_epoch && !s->state.round && (!s->options.patience || s->state.stopped_epoch < s->state.better_epoch + s->options.patience)) s->state.stopped_epoch = 0; /* more patience now */
    s->epochs = sv_session_goal(s);
    if (!status)
        sv_log(SV_INFO, "goes on from %s: epoch %" PRIu64 ", step %" PRIu64, path, s->state.epoch + 1, s->state.step);
    return status;
}

/* A fresh start in a folder that holds another run's checkpoint would destroy it at the first save: it must be asked for. */
static sv_status resume(sv_session *s, sv_error *err)
{
    sv_status status = begin_state(s, err);
    if (status || s->request->resume == SV_RESUME_NEVER || s->request->dry_run) return status;
    status = sv_ranks_lead(s, take_up, err);
    return status ? status : sv_ranks_share(s, err);
}

/* ---- epochs ------------------------------------------------------------------------------------------------------ */

static void say_progress(const sv_session *s)
{
    char left[32];
    double steps = s->state.sum_count ? (double)s->state.sum_count : 1;
    sv_text text = { 0 };
    sv_text_add(&text, "epoch %" PRIu64 " of %zu, step %" PRIu64 " of %" PRIu64 ", loss %.4f", s->state.epoch + 1, s->epochs, s->state.batch / s->options.accumulate, s->steps_per_epoch,
                s->state.sums[SV_SUM_LOSS] / steps);
    for (size_t t = 0; t < s->training.stages; t++) sv_text_add(&text, "%s%.2f", t ? "/" : ", keep ", s->state.sums[SV_SUM_SHARE + t] / steps);
    if (s->evaluation.images) sv_text_add(&text, ", top-1 %.2f %%", 100.0 * (double)s->evaluation.top1 / (double)s->evaluation.images);
    sv_text_add(&text, ", %.1f pictures/s, %s left", sv_session_rate(s), sv_duration(left, sv_session_seconds_left(s)));
    if (text.data) sv_progress("%s", text.data);
    sv_text_clear(&text);
}

/* The one roll-back of a run: weights, moments and means of the last good checkpoint, and the pictures that led to where it broke are passed over.
 * (The same steps from the same weights would end at the same place.) Saved at once, so that a run killed behind it goes on the same way. */
static sv_status roll_back(sv_session *s, sv_error *err)
{
    const sv_error first = *err;
    const sv_run_state broken = s->state;
    sv_status status = sv_session_load(s, s->last, err);
    if (status) return status;
    sv_log(SV_WARNING, "%s", first.text);
    sv_log(SV_WARNING, "takes up %s again (step %" PRIu64 "), once, and passes over the pictures that led here", s->last, s->state.step);
    s->state.skipped_steps = broken.skipped_steps;
    s->state.skipped_in_row = 0;
    s->state.rolled_back = 1;
    if (s->state.epoch == broken.epoch) s->state.batch = broken.batch;
    return sv_session_save(s, err);
}

/* On rank 0. Steps that are finite may be a new level that lasts (a backbone that thaws): where there is nothing to go back to, it is taken as it is. */
static sv_status mend(sv_session *s, sv_error *err)
{
    if (!s->state.rolled_back && s->own_last && sv_path_exists(s->last)) return roll_back(s, err);
    if (!s->spiking) return err->code;
    sv_log(SV_WARNING, "%s: taken for usual from here on", err->text);
    sv_guard_forget(&s->state);
    s->state.skipped_in_row = 0;
    return SV_OK;
}

static sv_status mend_all(sv_session *s, sv_error *err)
{
    sv_status status = sv_ranks_lead(s, mend, err);
    if (!status) status = sv_ranks_share(s, err);
    if (!status) sv_loader_start(s->train, (uint32_t)s->state.epoch, s->state.batch, (uint32_t)s->epochs);
    return status;
}

static bool out_of_time(const sv_session *s) { return s->options.max_seconds > 0 && sv_now_seconds() - s->began >= s->options.max_seconds; }

static sv_status interrupted(sv_session *s, sv_error *err)
{
    sv_progress_end();
    sv_status status = sv_ranks_save(s, err);
    if (status) return status;
    return sv_fail(err, SV_INTERRUPTED, "stopped after step %" PRIu64 " and saved%s; the same command goes on from %s", s->state.step, out_of_time(s) ? " (train.max_time is over)" : "", s->last);
}

static bool wants_stop(const sv_session *s) { return sv_interrupted() || out_of_time(s) || (s->options.max_steps && s->state.step >= s->options.max_steps); }

static bool wants_save(const sv_session *s) { return s->options.save_seconds > 0 && sv_now_seconds() - s->saved >= s->options.save_seconds; }

static sv_status run_epoch(sv_session *s, sv_error *err)
{
    sv_status status = SV_OK;
    for (bool ended = false; !ended;) {
        bool stop = wants_stop(s), save = wants_save(s);
        status = sv_ranks_meet(s, &stop, &save, err);
        if (status) return status;
        if (stop) return interrupted(s, err);
        if (save) status = sv_ranks_save(s, err);
        if (!status) status = sv_session_step(s, &ended, err);
        if (status == SV_NOT_FINITE) status = mend_all(s, err);
        if (status) return status;
        if (ended) break;
        if (!sv_comm_rank(s->comm)) say_progress(s);
        sv_session_tell(s, false);
        if (s->state.step % s->options.check_every == 0) status = sv_ranks_check(s, err);
        if (!status && s->options.save_every && s->state.step % s->options.save_every == 0) status = sv_ranks_save(s, err);
        if (status) return status;
    }
    sv_progress_end();
    status = sv_ranks_check(s, err);
    if (!status) status = sv_session_end_epoch(s, err);
    return status == SV_INTERRUPTED && !sv_comm_lost(s->comm) ? interrupted(s, err) : status;
}

static sv_status run_epochs(sv_session *s, sv_error *err)
{
    sv_status status = SV_OK;
    sv_session_tell(s, true);
    sv_loader_start(s->train, (uint32_t)s->state.epoch, s->state.batch, (uint32_t)s->epochs);
    while (!status && s->state.epoch < s->epochs) status = run_epoch(s, err);
    return status;
}

/* ---- --verify-resume --------------------------------------------------------------------------------------------- */

static sv_status some_steps(sv_session *s, size_t steps, sv_error *err)
{
    sv_status status = SV_OK;
    sv_loader_start(s->train, (uint32_t)s->state.epoch, s->state.batch, (uint32_t)s->state.epoch + 1);
    for (size_t i = 0; !status && i < steps; i++) {
        bool ended = false;
        status = sv_session_step(s, &ended, err);
        if (!status && ended) status = sv_fail(err, SV_USAGE, "--verify-resume %zu: only %zu steps are left in the epoch; ask for fewer", steps, i);
    }
    return status;
}

static sv_status same_bytes(const char *one, const char *other, sv_error *err)
{
    unsigned char *a = NULL, *b = NULL;
    size_t a_count = 0, b_count = 0;
    sv_status status = sv_file_read_all(one, SIZE_MAX / 4, SV_FAULT, &a, &a_count, err);
    if (!status) status = sv_file_read_all(other, SIZE_MAX / 4, SV_FAULT, &b, &b_count, err);
    if (!status && (a_count != b_count || memcmp(a, b, a_count) != 0))
        status = sv_fail(err, SV_FAULT, "a resumed run does not end with the bytes of an unbroken one: compare %s and %s", one, other);
    sv_free(a);
    sv_free(b);
    return status;
}

/* The same steps twice from the same state, the second time through a checkpoint. */
static sv_status verify_resume(sv_session *s, size_t steps, sv_error *err)
{
    static const char *const names[] = { "verify-start.safetensors", "verify-unbroken.safetensors", "verify-resumed.safetensors" };
    char *paths[3] = { 0 };
    sv_status status = SV_OK;
    for (size_t i = 0; !status && i < 3; i++) status = sv_path_join(&paths[i], s->folder, names[i], err);
    if (!status) status = sv_session_save_as(s, paths[0], err);
    if (!status) status = some_steps(s, steps, err);
    if (!status) status = sv_session_save_as(s, paths[1], err);
    if (!status) status = sv_session_load(s, paths[0], err);
    if (!status) status = sv_session_apply_keep(s, s->state.keep, err);
    if (!status) status = some_steps(s, steps, err);
    if (!status) status = sv_session_save_as(s, paths[2], err);
    if (!status) status = same_bytes(paths[1], paths[2], err);
    if (!status) {
        for (size_t i = 0; i < 3; i++) remove(paths[i]);
        sv_log(SV_INFO, "%zu steps made twice, once through a checkpoint: the same bytes", steps);
    }
    for (size_t i = 0; i < 3; i++) sv_free(paths[i]);
    return status;
}

static sv_status say_profile(const sv_session *s, sv_error *err)
{
    sv_profile profile;
    sv_text text = { 0 };
    sv_status status = sv_tape_profile_read(s->training.tape, &profile, err);
    if (!status) sv_profile_print(&text, &profile, "(data, optimizer, sums)", s->worked - profile.wall_seconds);
    if (!status) status = sv_text_check(&text, err);
    if (!status) sv_log(SV_INFO, "where the time of training steps went\n%s", text.data);
    sv_text_clear(&text);
    sv_free(profile.rows);
    return status;
}

/* Rank 0 says what there is to say; of the others only what they alone can know, such as pictures that cannot be read: on its terminal and in its
 * log.txt, and where a rank was started by hand on its own terminal too. */
static void warn_of_rank(void *context, sv_level level, const char *line)
{
    char named[4096];
    sv_comm_say(context, line);
    if (sv_comm_forked(context)) return;
    snprintf(named, sizeof named, "rank %zu: %s", sv_comm_rank(context), line);
    sv_log_to_terminal(NULL, level, named);
}

static sv_status finish(sv_session *s, sv_error *err) { return sv_session_finish(s, &s->again, err); }

static sv_status run_to_the_end(sv_session *s, sv_error *err)
{
    sv_status status = SV_OK;
    for (s->again = true; !status && s->again;) {
        status = run_epochs(s, err);
        s->again = false;
        if (!status) status = sv_session_figures(s, err); /* resumed behind the last epoch */
        if (!status) status = sv_ranks_lead(s, finish, err);
    }
    return status;
}

sv_status sv_train(const sv_config *config, const sv_train_request *request, sv_train_result *result, sv_error *err)
{
    sv_session session = { .config = config, .request = request, .comm = request->comm };
    const bool speaks = !sv_comm_rank(request->comm);
    memset(result, 0, sizeof *result);
    err->code = SV_OK;
    if (request->comm && (request->dry_run || request->verify_resume)) return sv_fail(err, SV_USAGE, "--dry-run and --verify-resume are for one process; leave out --ranks");
    if (!speaks) sv_log_set(NULL, NULL, SV_QUIET);
    sv_status status = sv_session_open(&session, err);
    if (!status) status = resume(&session, err);
    if (!speaks) sv_log_set(warn_of_rank, request->comm, SV_WARNING);
    if (!status && (request->dry_run || request->verify_resume)) {
        if (request->dry_run) sv_session_dry_run(&session);
        else status = verify_resume(&session, request->verify_resume, err);
        sv_session_close(&session);
        return status;
    }
    if (!status) status = sv_tape_profile(session.training.tape, request->profile && speaks, err);
    if (!status) status = run_to_the_end(&session, err);
    if (!status && request->profile && speaks) status = say_profile(&session, err);
    sv_ranks_hear(&session);
    sv_session_tell_end(&session, status, err);
    if (speaks && (!status || status == SV_BUDGET)) sv_session_result(&session, result);
    sv_session_close(&session);
    return status;
}
