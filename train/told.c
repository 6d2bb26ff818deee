/* status.txt: the table of its lines, printing and reading. */
#include "train/status.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef enum told_kind { TOLD_TEXT, TOLD_COUNT, TOLD_REAL } told_kind;
typedef struct told_row { const char *name; told_kind kind; size_t offset, room; } told_row; /* room: bytes of a text, reals of a list */
#define TEXT(field) { #field, TOLD_TEXT, offsetof(sv_run_told, field), sizeof((sv_run_told *)0)->field }
#define COUNTER(field) { #field, TOLD_COUNT, offsetof(sv_run_told, field), 1 }
#define REALS(field, count) { #field, TOLD_REAL, offsetof(sv_run_told, field), count }
static const told_row rows[] = {
    TEXT(state), TEXT(host), COUNTER(process), COUNTER(code), COUNTER(epoch), COUNTER(epochs), COUNTER(step), COUNTER(epoch_step), COUNTER(epoch_steps), COUNTER(skipped),
    COUNTER(stages), COUNTER(memory_mib), REALS(written, 1), REALS(began, 1), REALS(loss, 1), REALS(top1, 1), REALS(best, 1), REALS(images_per_s, 1), REALS(left_s, 1),
    REALS(keep, SV_STATE_STAGES), REALS(target, SV_STATE_STAGES), TEXT(said),
};

static void print_row(const told_row *row, const char *at, sv_text *text)
{
    char shown[sizeof((sv_run_told *)0)->said];
    sv_text_add(text, "%s", row->name);
    if (row->kind == TOLD_TEXT) sv_text_add(text, " %s", sv_text_safe(shown, sizeof shown, at));
    for (size_t i = 0; row->kind != TOLD_TEXT && i < row->room; i++) {
        uint64_t counter = 0;
        double real = 0;
        memcpy(row->kind == TOLD_REAL ? (void *)&real : (void *)&counter, at + 8 * i, 8);
        if (row->kind == TOLD_COUNT) sv_text_add(text, " %" PRIu64, counter);
        else if (isfinite(real)) sv_text_add(text, " %.15g", real);
        else sv_text_add(text, " nan");
    }
    sv_text_add(text, "\n");
}

void sv_run_told_print(const sv_run_told *told, sv_text *text)
{
    for (size_t r = 0; r < SV_COUNT(rows); r++) print_row(&rows[r], (const char *)told + rows[r].offset, text);
}

/* value: what stands behind the name, its line ended by a zero byte. */
static bool take_row(sv_run_told *told, const told_row *row, char *value)
{
    char *to = (char *)told + row->offset, *rest = NULL;
    if (row->kind == TOLD_TEXT) return snprintf(to, row->room, "%s", value) >= 0;
    char *word = strtok_r(value, " ", &rest);
    for (size_t i = 0; i < row->room; i++, word = strtok_r(NULL, " ", &rest)) {
        int64_t counter = 0;
        double real = NAN;
        if (!word || (row->kind == TOLD_COUNT ? !sv_parse_int(word, &counter) || counter < 0 : strcmp(word, "nan") != 0 && !sv_parse_real(word, &real))) return false;
        memcpy(to + 8 * i, row->kind == TOLD_REAL ? (void *)&real : (void *)&counter, 8);
    }
    return !word;
}

sv_status sv_run_told_parse(sv_run_told *told, const char *text, const char *path, sv_error *err)
{
    sv_run_told read = { .left_s = NAN };
    size_t seen = 0;
    for (const char *at = text; *at;) {
        char line[1024];
        const size_t length = strcspn(at, "\n"), name = strcspn(at, " \n");
        if (length >= sizeof line) break;
        memcpy(line, at, length);
        line[length] = 0;
        for (size_t r = 0; r < SV_COUNT(rows); r++)
            if (strlen(rows[r].name) == name && memcmp(rows[r].name, line, name) == 0) {
                if (!take_row(&read, &rows[r], line + name + (line[name] == ' '))) return sv_fail(err, SV_DATA, "%s: '%s' is not readable", path, rows[r].name);
                seen++;
            }
        at += length + (at[length] == '\n');
    }
    if (seen < SV_COUNT(rows) || read.stages > SV_STATE_STAGES) return sv_fail(err, SV_DATA, "%s: is not complete", path);
    *told = read;
    return SV_OK;
}
