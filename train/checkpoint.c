/* A checkpoint is written from the flat blocks of a run and read back into them; the state goes as "key value..." lines. */
#include "train/checkpoint.h"
#include "formats/weights.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- state ------------------------------------------------------------------------------------------------------- */

typedef struct state_row { const char *name; size_t offset, count; bool real, later; } state_row; /* later: files of earlier versions lack it, which means 0 */
#define COUNTER(field) { #field, offsetof(sv_run_state, field), 1, false, false }
#define REALS(field, many) { #field, offsetof(sv_run_state, field), many, true, false }
#define LATER(field, many, real) { #field, offsetof(sv_run_state, field), many, real, true }
/* Those that came later stand first: a text that is cut anywhere still lacks rows that must be there. */
static const state_row state_rows[] = {
    LATER(better_epoch, 1, false), LATER(stopped_epoch, 1, false), LATER(rolled_back, 1, false), LATER(guard_count, 1, false), LATER(guard, SV_STATE_GUARD, true),
    LATER(latency_multiplier, 1, true), LATER(goal_ms, 1, true),
    COUNTER(epoch), COUNTER(batch), COUNTER(step), COUNTER(skipped_steps), COUNTER(skipped_in_row), COUNTER(round), COUNTER(best_epoch),
    COUNTER(stages), REALS(best, 1), REALS(keep, SV_STATE_STAGES), REALS(multiplier, SV_STATE_STAGES), REALS(sums, SV_STATE_SUMS), COUNTER(sum_count),
};

void sv_run_state_print(const sv_run_state *state, sv_text *text)
{
    for (size_t r = 0; r < SV_COUNT(state_rows); r++) {
        const char *at = (const char *)state + state_rows[r].offset;
        sv_text_add(text, "%s", state_rows[r].name);
        for (size_t i = 0; i < state_rows[r].count; i++) {
            uint64_t counter = 0;
            double real = 0;
            memcpy(state_rows[r].real ? (void *)&real : (void *)&counter, at + 8 * i, 8);
            if (state_rows[r].real) sv_text_add(text, " %.17g", real);
            else sv_text_add(text, " %" PRIu64, counter);
        }
        sv_text_add(text, "\n");
    }
}

static bool parse_row(sv_run_state *state, const state_row *row, const char *values)
{
    for (size_t i = 0; i < row->count; i++) {
        char *end = NULL;
        double real = 0;
        uint64_t counter = 0;
        if (*values != ' ') return false;
        errno = 0;
        if (row->real) real = strtod(values + 1, &end);
        else counter = strtoull(values + 1, &end, 10);
        if (end == values + 1 || (!row->real && (errno == ERANGE || values[1] < '0' || values[1] > '9'))) return false;
        memcpy((char *)state + row->offset + 8 * i, row->real ? (void *)&real : (void *)&counter, 8);
        values = end;
    }
    return *values == 0;
}

sv_status sv_run_state_parse(sv_run_state *state, const char *text, const char *path, sv_error *err)
{
    sv_run_state read = { 0 };
    uint32_t seen = 0;
    for (size_t r = 0; r < SV_COUNT(state_rows); r++) seen |= state_rows[r].later ? 1u << r : 0;
    while (*text) {
        char line[2048];
        size_t length = strcspn(text, "\n"), name = strcspn(text, " \n");
        const state_row *row = NULL;
        if (length >= sizeof line) return sv_fail(err, SV_MODEL_FILE, "%s: the run's state has a line of %zu bytes; the file is damaged", path, length);
        memcpy(line, text, length);
        line[length] = 0;
        for (size_t r = 0; r < SV_COUNT(state_rows); r++)
            if (strlen(state_rows[r].name) == name && memcmp(state_rows[r].name, line, name) == 0) {
                row = &state_rows[r];
                seen |= 1u << r;
            }
        if (!row) return sv_fail(err, SV_MODEL_FILE, "%s: the run's state holds '%.*s', which this version does not know; use the version that wrote it", path, (int)name, line);
        if (!parse_row(&read, row, line + name)) return sv_fail(err, SV_MODEL_FILE, "%s: '%s' in the run's state is not readable; the file is damaged", path, row->name);
        text += length + (text[length] == '\n');
    }
    uint32_t needed = 0, later = 0;
    for (size_t r = 0; r < SV_COUNT(state_rows); r++) *(state_rows[r].later ? &later : &needed) |= 1u << r;
    if (!(seen & later)) read.better_epoch = read.best_epoch;
    if ((seen & needed) != needed || ((seen & later) && (seen & later) != later) || read.stages > SV_STATE_STAGES)
        return sv_fail(err, SV_MODEL_FILE, "%s: the run's state is not complete; the file is damaged", path);
    *state = read;
    return SV_OK;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static sv_status add_block(sv_weights_writer *writer, const sv_parameters *set, const sv_real *block, const char *prefix, sv_error *err)
{
    for (size_t i = 0; i < set->count; i++) {
        const sv_parameter *p = set->items[i];
        sv_text name = { 0 };
        sv_text_add(&name, "%s%s", prefix, p->name);
        sv_status status = sv_text_check(&name, err);
        if (!status) status = sv_weights_writer_add(writer, name.data, SV_REAL_DTYPE, p->dims, p->shape, block + p->offset, err);
        sv_text_clear(&name);
        if (status) return status;
    }
    return SV_OK;
}

static sv_status add_text(sv_weights_writer *writer, const char *key, const char *value, sv_error *err)
{
    return value ? sv_weights_writer_metadata(writer, key, value, err) : SV_OK;
}

static sv_status add_count(sv_weights_writer *writer, const char *key, uint64_t count, sv_error *err)
{
    sv_text text = { 0 };
    sv_text_add(&text, "%" PRIu64, count);
    sv_status status = sv_text_check(&text, err);
    if (!status) status = sv_weights_writer_metadata(writer, key, text.data, err);
    sv_text_clear(&text);
    return status;
}

static sv_status add_counters(sv_weights_writer *writer, const sv_checkpoint *checkpoint, sv_error *err)
{
    sv_text text = { 0 };
    sv_status status = SV_OK;
    if (checkpoint->state) {
        sv_run_state_print(checkpoint->state, &text);
        status = sv_text_check(&text, err);
        if (!status) status = sv_weights_writer_metadata(writer, "sieve.state", text.data, err);
    }
    sv_text_clear(&text);
    if (status || !checkpoint->optimizer) return status;
    status = add_count(writer, "sieve.optimizer_steps", checkpoint->optimizer->t, err);
    if (!status && checkpoint->optimizer->t_backbone != checkpoint->optimizer->t)
        status = add_count(writer, "sieve.optimizer_backbone_steps", checkpoint->optimizer->t_backbone, err);
    if (!status) status = sv_weights_writer_metadata(writer, "sieve.optimizer", sv_optimizer_name(checkpoint->optimizer->options.kind), err);
    return status;
}

sv_status sv_checkpoint_write(const sv_checkpoint *checkpoint, const char *path, sv_error *err)
{
    sv_weights_writer *writer = NULL;
    sv_status status = sv_weights_writer_create(&writer, err);
    if (!status) status = sv_weights_writer_metadata(writer, "format", "pt", err);
    if (!status) status = sv_weights_writer_metadata(writer, "sieve.version", SV_VERSION, err);
    if (!status) status = add_text(writer, "sieve.model", checkpoint->model, err);
    if (!status) status = add_text(writer, "sieve.plan", checkpoint->plan, err);
    if (!status) status = add_text(writer, "sieve.classes", checkpoint->classes, err);
    if (!status) status = add_text(writer, "sieve.config", checkpoint->config, err);
    if (!status) status = add_text(writer, "sieve.teacher", checkpoint->teacher, err);
    if (!status) status = add_text(writer, "sieve.card", checkpoint->card, err);
    if (!status) status = add_counters(writer, checkpoint, err);
    if (!status) status = add_block(writer, checkpoint->set, checkpoint->values ? checkpoint->values : checkpoint->set->values, "", err);
    if (!status && checkpoint->optimizer) status = add_block(writer, checkpoint->set, checkpoint->optimizer->first, "optim.first.", err);
    if (!status && checkpoint->optimizer && checkpoint->optimizer->second)
        status = add_block(writer, checkpoint->set, checkpoint->optimizer->second, "optim.second.", err);
    if (!status && checkpoint->ema) status = add_block(writer, checkpoint->set, checkpoint->ema, "ema.", err);
    if (!status) status = sv_weights_write_safetensors(writer, path, SV_WITH_CRC, err);
    sv_weights_writer_destroy(writer);
    return status;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static sv_status read_block(sv_weights *file, const sv_parameters *set, sv_real *block, const char *prefix, sv_error *err)
{
    for (size_t i = 0; i < set->count; i++) {
        const sv_parameter *p = set->items[i];
        const sv_weights_entry *entry = NULL;
        sv_text name = { 0 };
        bool same = false;
        sv_text_add(&name, "%s%s", prefix, p->name);
        sv_status status = sv_text_check(&name, err);
        if (status) return status;
        entry = sv_weights_find(file, name.data);
        if (entry) {
            same = entry->rank == p->dims;
            for (uint32_t d = 0; same && d < p->dims; d++) same = entry->shape[d] == p->shape[d];
        }
        if (!same) {
            status = sv_fail(err, SV_MODEL_FILE, "%s: tensor '%s' %s; this checkpoint is of another model or config", sv_weights_path(file), name.data,
                             entry ? "has another shape than the run's model" : "is missing");
            sv_text_clear(&name);
            return status;
        }
        sv_text_clear(&name);
        status = sv_weights_read(file, entry, block + p->offset, err);
        if (status) return status;
    }
    return SV_OK;
}

/* Moments of one optimizer mean nothing to the other. Files from before there were two are AdamW's; files without steps have none. */
static sv_status check_optimizer(sv_weights *file, const sv_optimizer *optimizer, sv_error *err)
{
    const char *written = sv_weights_metadata(file, "sieve.optimizer"), *wanted = sv_optimizer_name(optimizer->options.kind);
    if (!written) written = sv_optimizer_name(SV_ADAMW);
    if (!sv_weights_metadata(file, "sieve.optimizer_steps") || strcmp(written, wanted) == 0) return SV_OK;
    return sv_fail(err, SV_MODEL_FILE, "%s: its run has train.optimizer = %s, the config says %s; set train.optimizer = %s to go on, or begin anew with --resume never",
                   sv_weights_path(file), written, wanted, written);
}

static sv_status read_counters(sv_weights *file, sv_checkpoint *checkpoint, sv_error *err)
{
    const char *state = sv_weights_metadata(file, "sieve.state"), *steps = sv_weights_metadata(file, "sieve.optimizer_steps");
    if (checkpoint->state) {
        if (!state) return sv_fail(err, SV_MODEL_FILE, "%s holds weights but not the state of a run; give it as model.weights to start from it", sv_weights_path(file));
        sv_status status = sv_run_state_parse(checkpoint->state, state, sv_weights_path(file), err);
        if (status) return status;
    }
    if (checkpoint->optimizer) {
        const char *backbone = sv_weights_metadata(file, "sieve.optimizer_backbone_steps"); /* written where it differs */
        int64_t t = 0, t_backbone = 0;
        if (!steps || !sv_parse_int(steps, &t) || t < 0 || !sv_parse_int(backbone ? backbone : steps, &t_backbone) || t_backbone < 0 || t_backbone > t)
            return sv_fail(err, SV_MODEL_FILE, "%s: the optimizer's step count is missing or damaged", sv_weights_path(file));
        checkpoint->optimizer->t = (uint64_t)t;
        checkpoint->optimizer->t_backbone = (uint64_t)t_backbone;
    }
    return SV_OK;
}

sv_status sv_checkpoint_read(sv_checkpoint *checkpoint, const char *path, sv_error *err)
{
    sv_weights *file = NULL;
    sv_status status = sv_weights_open(&file, path, err);
    if (!status && checkpoint->optimizer) status = check_optimizer(file, checkpoint->optimizer, err);
    if (!status) status = read_counters(file, checkpoint, err);
    if (!status) status = read_block(file, checkpoint->set, checkpoint->set->values, "", err);
    if (!status && checkpoint->optimizer) status = read_block(file, checkpoint->set, checkpoint->optimizer->first, "optim.first.", err);
    if (!status && checkpoint->optimizer && checkpoint->optimizer->second)
        status = read_block(file, checkpoint->set, checkpoint->optimizer->second, "optim.second.", err);
    if (!status && checkpoint->ema) status = read_block(file, checkpoint->set, checkpoint->ema, "ema.", err);
    if (!status) sv_parameters_changed(checkpoint->set);
    sv_weights_close(file);
    return status;
}
