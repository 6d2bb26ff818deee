/* The run's side of status.txt: written every so often, at the end of an epoch and at the end of the run. It is news, not part of the run: a file
 * that cannot be written stops nothing, and nothing in a run depends on it. */
#include "train/session.h"
#include "train/status.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const double TELL_SECONDS = 15;

static uint64_t memory_now_mib(void)
{
    unsigned long whole = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file && fscanf(file, "%lu %lu", &whole, &resident) != 2) resident = 0;
    if (file) fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) >> 20;
}

double sv_session_rate(const sv_session *s) { return s->worked > 0 ? (double)s->pictures / s->worked : 0; }

double sv_session_seconds_left(const sv_session *s)
{
    const uint64_t done = s->state.epoch * s->steps_per_epoch + s->state.batch / s->options.accumulate, all = (uint64_t)s->epochs * s->steps_per_epoch;
    const double rate = sv_session_rate(s);
    return rate > 0 && all > done ? (double)(all - done) * (double)(s->options.batch * s->options.accumulate) / rate : 0;
}

static void fill(const sv_session *s, const char *state, sv_status code, const char *said, sv_run_told *told)
{
    const double steps = s->state.sum_count ? (double)s->state.sum_count : NAN;
    *told = (sv_run_told){ .process = (uint64_t)getpid(), .code = (uint64_t)code, .epoch = s->state.epoch, .epochs = s->epochs, .step = s->state.step,
                           .epoch_step = s->state.batch / s->options.accumulate, .epoch_steps = s->steps_per_epoch, .skipped = s->state.skipped_steps, .stages = s->training.stages,
                           .memory_mib = memory_now_mib(), .written = sv_wall_seconds(), .loss = s->state.sums[SV_SUM_LOSS] / steps,
                           .top1 = s->evaluation.images ? (double)s->evaluation.top1 / (double)s->evaluation.images : NAN, .best = s->state.best < 0 ? NAN : s->state.best,
                           .images_per_s = s->worked > 0 ? sv_session_rate(s) : NAN, .left_s = s->worked > 0 ? sv_session_seconds_left(s) : NAN };
    told->began = told->written - (sv_now_seconds() - s->began);
    for (size_t t = 0; t < s->training.stages && t < SV_STATE_STAGES; t++) {
        told->keep[t] = s->state.sums[SV_SUM_SHARE + t] / steps;
        told->target[t] = s->state.keep[t];
    }
    snprintf(told->state, sizeof told->state, "%s", state);
    snprintf(told->said, sizeof told->said, "%s", said);
    if (gethostname(told->host, sizeof told->host - 1)) told->host[0] = 0;
}

static void tell(sv_session *s, const char *state, sv_status code, const char *said)
{
    sv_run_told told;
    sv_text text = { 0 };
    sv_error aside;
    char *path = NULL;
    if (!s->lock) return; /* not ours to write in: another rank, a dry run, a folder in use */
    fill(s, state, code, said, &told);
    sv_run_told_print(&told, &text);
    sv_status status = sv_text_check(&text, &aside);
    if (!status) status = sv_path_join(&path, s->folder, "status.txt", &aside);
    if (!status) status = sv_file_write_atomic(path, text.data, text.length, &aside);
    if (status) sv_log(SV_VERBOSE, "%s", aside.text);
    s->told = sv_now_seconds();
    sv_free(path);
    sv_text_clear(&text);
}

void sv_session_tell(sv_session *s, bool now)
{
    if (now || sv_now_seconds() - s->told >= TELL_SECONDS) tell(s, "training", SV_OK, "");
}

void sv_session_tell_end(sv_session *s, sv_status status, const sv_error *err)
{
    const char *state = !status || status == SV_BUDGET ? "finished" : status == SV_INTERRUPTED ? "stopped" : "failed";
    tell(s, state, status, status ? err->text : "");
}
