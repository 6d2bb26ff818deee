/* trials.csv: read, and written whole after each trial. */
#include "train/search.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char columns[] = "trial,block,keep,right,images,predicted_ms,accepted,at,ratios\n";
enum { FIELDS = 9, FILE_MOST = 1 << 22 };

void sv_trials_clear(sv_trials *trials)
{
    sv_free(trials->items);
    *trials = (sv_trials){ 0 };
}

sv_status sv_trials_add(sv_trials *trials, const sv_trial *trial, sv_error *err)
{
    sv_status status = sv_grow(&trials->items, &trials->capacity, trials->count + 1, sizeof *trials->items, "trials", err);
    if (!status) trials->items[trials->count++] = *trial;
    return status;
}

static void print_trial(const sv_trial *t, size_t number, sv_text *text)
{
    sv_text_add(text, "%zu,", number);
    if (t->block != SIZE_MAX) sv_text_add(text, "%zu", t->block);
    sv_text_add(text, ",%.17g,%zu,%zu,", t->ratio, t->right, t->images);
    if (isfinite(t->predicted_ms)) sv_text_add(text, "%.9g", t->predicted_ms);
    sv_text_add(text, ",%d,", t->accepted);
    for (size_t i = 0; i < t->stages; i++) sv_text_add(text, "%s%zu", i ? " " : "", t->at[i]);
    sv_text_add(text, ",");
    for (size_t i = 0; i < t->stages; i++) sv_text_add(text, "%s%.17g", i ? " " : "", t->keep[i]);
    sv_text_add(text, "\n");
}

sv_status sv_trials_write(const sv_trials *trials, const char *path, uint64_t mark, sv_error *err)
{
    sv_text text = { 0 };
    sv_text_add(&text, "# search %016" PRIx64 "\n%s", mark, columns);
    for (size_t i = 0; i < trials->count; i++) print_trial(&trials->items[i], i, &text);
    sv_status status = sv_text_check(&text, err);
    if (!status) status = sv_file_write_atomic(path, text.data, text.length, err);
    sv_text_clear(&text);
    return status;
}

static bool whole_number(const char *text, size_t *out)
{
    int64_t value;
    if (!sv_parse_int(text, &value) || value < 0) return false;
    *out = (size_t)value;
    return true;
}

/* "3 6 9" and "0.7 0.5 0.3" */
static bool parse_stages(char *at, char *ratios, sv_trial *t)
{
    char *rest = NULL, *also = NULL;
    char *a = strtok_r(at, " ", &rest), *k = strtok_r(ratios, " ", &also);
    for (; a && k; a = strtok_r(NULL, " ", &rest), k = strtok_r(NULL, " ", &also)) {
        if (t->stages == SV_MOST_STAGES || !whole_number(a, &t->at[t->stages]) || !sv_parse_real(k, &t->keep[t->stages])) return false;
        t->stages++;
    }
    return !a && !k;
}

static bool parse_line(char *line, size_t number, sv_trial *t)
{
    char *fields[FIELDS];
    size_t count = 0, trial = 0, accepted = 0;
    *t = (sv_trial){ .block = SIZE_MAX, .predicted_ms = NAN };
    for (char *at = line; at && count < FIELDS; count++) {
        fields[count] = at;
        at = strchr(at, ',');
        if (at) *at++ = 0;
        if (at && count + 1 == FIELDS) return false;
    }
    if (count != FIELDS || !whole_number(fields[0], &trial) || trial != number) return false;
    if (fields[1][0] && !whole_number(fields[1], &t->block)) return false;
    if (!sv_parse_real(fields[2], &t->ratio) || !whole_number(fields[3], &t->right) || !whole_number(fields[4], &t->images)) return false;
    if (fields[5][0] && !sv_parse_real(fields[5], &t->predicted_ms)) return false;
    if (!whole_number(fields[6], &accepted) || accepted > 1) return false;
    t->accepted = accepted;
    return parse_stages(fields[7], fields[8], t);
}

sv_status sv_trials_read(sv_trials *trials, const char *path, uint64_t mark, sv_error *err)
{
    unsigned char *bytes = NULL;
    size_t count = 0;
    char begin[64];
    sv_trials read = { 0 };
    sv_trial trial;
    if (!sv_path_exists(path)) return SV_OK;
    sv_status status = sv_file_read_all(path, FILE_MOST, SV_MODEL_FILE, &bytes, &count, err);
    if (status) return status;
    snprintf(begin, sizeof begin, "# search %016" PRIx64 "\n", mark);
    char *at = (char *)bytes;
    const size_t head = strlen(begin);
    if (strncmp(at, "# search ", 9) != 0 || strlen(at) < head + strlen(columns) || strncmp(at + head, columns, strlen(columns)) != 0)
        status = sv_fail(err, SV_MODEL_FILE, "%s is no list of a search's trials; move it away", path);
    else if (strncmp(at, begin, head) != 0)
        status = sv_fail(err, SV_USAGE, "%s was made with another config; go on with that one, or give another run.dir", path);
    else at += head + strlen(columns);
    while (!status && *at) {
        char *end = strchr(at, '\n');
        if (end) *end = 0;
        if (!end || !parse_line(at, read.count, &trial)) status = sv_fail(err, SV_MODEL_FILE, "%s:%zu: not a trial; the file is damaged", path, read.count + 3);
        else status = sv_trials_add(&read, &trial, err);
        if (end) at = end + 1;
    }
    sv_free(bytes);
    if (status) sv_trials_clear(&read);
    else sv_trials_clear(trials), *trials = read;
    return status;
}
