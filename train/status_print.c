/* A run's status as lines for the eye and as one JSON object. */
#include "base/json.h"
#include "train/status.h"

#include <inttypes.h>
#include <math.h>

static const struct { const char *state, *says; } ends[] = {
    { "stopped", "the same command goes on" }, { "crashed", "it ended without a word (killed, or the machine went down); the same command goes on" },
    { "silent", "it runs on another machine and has told nothing for a while" }, { "empty", "nothing was saved yet" },
};

static void add_head(const sv_run_status *s, const char *folder, sv_text *text)
{
    char age[32];
    sv_text_add(text, "%s: %s", folder, s->state);
    if (s->has_told) sv_text_add(text, " (process %" PRIu64 " on %s, told %s ago)", s->told.process, s->told.host, sv_duration(age, s->told_age_s));
    for (size_t i = 0; i < SV_COUNT(ends); i++)
        if (ends[i].state[0] == s->state[0] && ends[i].state[1] == s->state[1] && !s->told.said[0]) sv_text_add(text, "; %s", ends[i].says);
    sv_text_add(text, "\n");
    if (s->told.said[0]) sv_text_add(text, "  it said      %s\n", s->told.said);
}

static void add_list(sv_text *text, const double *values, size_t count)
{
    for (size_t t = 0; t < count; t++) sv_text_add(text, "%s%.3f", t ? " / " : "", values[t]);
}

static void add_told(const sv_run_told *t, sv_text *text)
{
    char left[32];
    const bool in_epoch = t->epoch < t->epochs;
    sv_text_add(text, "  epoch        %" PRIu64 " of %" PRIu64, in_epoch ? t->epoch + 1 : t->epoch, t->epochs);
    if (in_epoch) sv_text_add(text, ", step %" PRIu64 " of %" PRIu64, t->epoch_step, t->epoch_steps);
    sv_text_add(text, "; %" PRIu64 " steps in all, %" PRIu64 " skipped\n", t->step, t->skipped);
    if (isfinite(t->loss)) sv_text_add(text, "  loss         %.4f in this epoch\n", t->loss);
    if (isfinite(t->top1) || isfinite(t->best)) {
        sv_text_add(text, "  top-1        ");
        if (isfinite(t->top1)) sv_text_add(text, "%.2f %%, ", 100 * t->top1);
        if (isfinite(t->best)) sv_text_add(text, "best %.2f %%\n", 100 * t->best);
        else sv_text_add(text, "none before\n");
    }
    if (t->stages) {
        sv_text_add(text, "  keep         ");
        if (isfinite(t->keep[0])) add_list(text, t->keep, t->stages), sv_text_add(text, ", ");
        sv_text_add(text, "targets ");
        add_list(text, t->target, t->stages);
        sv_text_add(text, "\n");
    }
    if (isfinite(t->images_per_s)) sv_text_add(text, "  speed        %.1f pictures/s, %s left\n", t->images_per_s, sv_duration(left, t->left_s));
    sv_text_add(text, "  memory       %" PRIu64 " MiB\n", t->memory_mib);
}

void sv_run_status_print(const sv_run_status *s, const char *folder, sv_text *text)
{
    char age[32];
    add_head(s, folder, text);
    if (s->has_told) add_told(&s->told, text);
    if (s->has_last)
        sv_text_add(text, "  checkpoint   step %" PRIu64 " (%" PRIu64 " epochs whole), %s old\n", s->last.step, s->last.epoch, sv_duration(age, s->last_age_s));
    else sv_text_add(text, "  checkpoint   none\n");
    if (s->warnings) sv_text_add(text, "  warnings     %zu, the last: %s\n", s->warnings, s->warning);
    else sv_text_add(text, "  warnings     none\n");
    sv_text_add(text, "  disk         %.1f MiB used, %.1f GiB free\n", (double)s->bytes / 1048576, (double)s->disk_free / 1073741824);
}

static void told_json(const sv_run_told *t, sv_json *json)
{
    sv_json_int(json, "process", (int64_t)t->process);
    sv_json_text(json, "host", t->host);
    sv_json_text(json, "said", t->said);
    sv_json_int(json, "code", (int64_t)t->code);
    sv_json_int(json, "epoch", (int64_t)t->epoch);
    sv_json_int(json, "epochs", (int64_t)t->epochs);
    sv_json_int(json, "step", (int64_t)t->step);
    sv_json_int(json, "epoch_step", (int64_t)t->epoch_step);
    sv_json_int(json, "epoch_steps", (int64_t)t->epoch_steps);
    sv_json_int(json, "skipped_steps", (int64_t)t->skipped);
    sv_json_real(json, "loss", t->loss);
    sv_json_real(json, "top1", t->top1);
    sv_json_real(json, "best_top1", t->best);
    sv_json_reals(json, "keep_ratios", t->keep, t->stages);
    sv_json_reals(json, "keep_targets", t->target, t->stages);
    sv_json_real(json, "images_per_s", t->images_per_s);
    sv_json_real(json, "left_s", t->left_s);
    sv_json_int(json, "memory_mib", (int64_t)t->memory_mib);
}

void sv_run_status_json(const sv_run_status *s, const char *folder, sv_text *text)
{
    sv_json json = { .text = text };
    sv_json_open(&json, NULL);
    sv_json_text(&json, "run", folder);
    sv_json_text(&json, "state", s->state);
    if (s->has_told) told_json(&s->told, &json);
    sv_json_real(&json, "told_age_s", s->told_age_s);
    sv_json_real(&json, "checkpoint_age_s", s->has_last ? s->last_age_s : NAN);
    if (s->has_last) sv_json_int(&json, "checkpoint_step", (int64_t)s->last.step);
    else sv_json_real(&json, "checkpoint_step", NAN);
    sv_json_int(&json, "warnings", (int64_t)s->warnings);
    sv_json_text(&json, "last_warning", s->warning);
    sv_json_int(&json, "disk_used_bytes", (int64_t)s->bytes);
    sv_json_int(&json, "disk_free_bytes", (int64_t)s->disk_free);
    sv_json_close(&json);
}
