/* A model's sizes as text, lines "key value", for the metadata of checkpoints. Read strictly: every key once, and the model that
 * comes of them has these sizes and no others. */
#include "layers/layers.h"

#include <stdio.h>
#include <string.h>

typedef enum size_kind { SIZE, REAL, FLAG } size_kind;
typedef struct size_row {
    const char *name;
    size_t offset;
    size_kind kind;
} size_row;
#define ROW(field, kind_)                                                                                                                  \
    {                                                                                                                                      \
#field, offsetof(sv_model_options, field), kind_                                                                                   \
    }
static const size_row rows[] = { ROW(image, SIZE),     ROW(patch, SIZE),   ROW(width, SIZE),     ROW(depth, SIZE),   ROW(heads, SIZE),
                                 ROW(mlp_ratio, REAL), ROW(classes, SIZE), ROW(distilled, FLAG), ROW(norm_eps, REAL) };

/* fp32 is not said: files from before there was another are read alike. */
void sv_model_print(const sv_model *model, sv_text *text)
{
    const char *options = (const char *)&model->options;
    sv_text_add(text, "arch %s\n", model->backbone->name);
    for (size_t i = 0; i < SV_COUNT(rows); i++) {
        const void *at = options + rows[i].offset;
        if (rows[i].kind == SIZE)
            sv_text_add(text, "%s %zu\n", rows[i].name, *(const size_t *)at);
        else if (rows[i].kind == REAL)
            sv_text_add(text, "%s %.17g\n", rows[i].name, *(const double *)at);
        else
            sv_text_add(text, "%s %d\n", rows[i].name, *(const bool *)at);
    }
    if (model->options.precision != SV_PRECISION_FP32) sv_text_add(text, "precision %s\n", sv_precision_name(model->options.precision));
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

typedef struct parsed {
    char arch[64];
    sv_model_options options;
    bool seen[SV_COUNT(rows)], seen_precision;
} parsed;

/* 0 would mean the backbone's own size, so no size is 0. */
static bool parse_value(sv_model_options *options, const size_row *row, const char *value)
{
    void *at = (char *)options + row->offset;
    int64_t whole = 0;
    if (row->kind == REAL) return sv_parse_real(value, (double *)at) && *(double *)at > 0;
    if (!sv_parse_int(value, &whole) || whole < (row->kind == SIZE) || (row->kind == FLAG && whole > 1)) return false;
    if (row->kind == SIZE)
        *(size_t *)at = (size_t)whole;
    else
        *(bool *)at = whole != 0;
    return true;
}

/* One line "key value"; false where it is none, or its key was there before. */
static bool parse_line(parsed *p, char *line)
{
    char *value = strchr(line, ' ');
    if (!value) return false;
    *value++ = 0;
    if (strcmp(line, "arch") == 0) {
        if (p->arch[0] || !value[0] || strlen(value) >= sizeof p->arch) return false;
        strcpy(p->arch, value);
        return true;
    }
    if (strcmp(line, "precision") == 0) {
        if (p->seen_precision) return false;
        p->seen_precision = true;
        return sv_precision_find(&p->options.precision, value);
    }
    const size_row *row = SV_KIND_FIND(rows, line);
    if (!row || p->seen[row - rows]) return false;
    p->seen[row - rows] = true;
    return parse_value(&p->options, row, value);
}

static sv_status parse_lines(parsed *p, const char *text, const char *path, sv_error *err)
{
    const char *missing = NULL;
    for (size_t number = 1; *text; number++) {
        char line[128], shown[96];
        size_t length = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(length < sizeof line ? length : sizeof line - 1), text);
        sv_text_safe(shown, sizeof shown, line);
        if (length >= sizeof line || !parse_line(p, line))
            return sv_fail(err, SV_MODEL_FILE,
                           "%s: line %zu of the model's description, '%s', is not understood: expected a known key, for the first "
                           "time, a space and its value; the file is damaged or of another version",
                           path, number, shown);
        text += length + (text[length] == '\n');
    }
    for (size_t i = SV_COUNT(rows); i-- > 0;)
        if (!p->seen[i]) missing = rows[i].name;
    if (!p->arch[0]) missing = "arch";
    return missing ? sv_fail(err, SV_MODEL_FILE, "%s: the model's description has no '%s'; the file is damaged or of another version", path,
                             missing)
                   : SV_OK;
}

sv_status sv_model_parse(sv_model **out, const char *text, const char *path, sv_error *err)
{
    parsed p = { .arch = "" };
    sv_model *model = NULL;
    sv_status status = parse_lines(&p, text, path, err);
    if (!status) status = sv_model_create(&model, p.arch, &p.options, err);
    if (status == SV_USAGE) {
        sv_fail_within(err, "%s: the model's description", path);
        if (err) err->code = SV_MODEL_FILE;
        return SV_MODEL_FILE;
    }
    if (status) return status;
    if (model->options.distilled != p.options.distilled) {
        sv_model_destroy(model);
        return sv_fail(err, SV_MODEL_FILE,
                       "%s: the model's description says arch %s and distilled %d, which do not go together; the file is damaged", path,
                       p.arch, p.options.distilled);
    }
    *out = model;
    return SV_OK;
}
