/* A model's sizes as text, lines "key value", for the metadata of checkpoints. */
#include "layers/layers.h"

#include <stddef.h>
#include <string.h>

typedef struct row { const char *name; size_t offset; enum { SIZE, REAL, FLAG } kind; } row;
#define ROW(field, kind_) { #field, offsetof(sv_model_options, field), kind_ }
static const row rows[] = { ROW(image, SIZE), ROW(patch, SIZE), ROW(width, SIZE), ROW(depth, SIZE), ROW(heads, SIZE), ROW(mlp_ratio, REAL), ROW(classes, SIZE),
                            ROW(distilled, FLAG), ROW(norm_eps, REAL) };

void sv_model_print(const sv_model *model, sv_text *text)
{
    const char *options = (const char *)&model->options;
    sv_text_add(text, "arch %s\n", model->backbone->name);
    for (size_t i = 0; i < SV_COUNT(rows); i++) {
        const void *at = options + rows[i].offset;
        if (rows[i].kind == SIZE) sv_text_add(text, "%s %zu\n", rows[i].name, *(const size_t *)at);
        else if (rows[i].kind == REAL) sv_text_add(text, "%s %.17g\n", rows[i].name, *(const double *)at);
        else sv_text_add(text, "%s %d\n", rows[i].name, *(const bool *)at);
    }
}

static bool parse_value(sv_model_options *options, const row *kind, const char *value)
{
    void *at = (char *)options + kind->offset;
    int64_t whole = 0;
    if (kind->kind == REAL) return sv_parse_real(value, (double *)at);
    if (!sv_parse_int(value, &whole) || whole < 0) return false;
    if (kind->kind == SIZE) *(size_t *)at = (size_t)whole;
    else *(bool *)at = whole != 0;
    return kind->kind == SIZE || whole <= 1;
}

sv_status sv_model_parse(sv_model **out, const char *text, const char *path, sv_error *err)
{
    sv_model_options options = { 0 };
    char arch[64] = "", shown[96];
    while (*text) {
        char line[128], *value = NULL;
        size_t length = strcspn(text, "\n");
        bool good = false;
        if (length >= sizeof line) return sv_fail(err, SV_MODEL_FILE, "%s: the model's description has a line of %zu bytes; the file is damaged", path, length);
        memcpy(line, text, length);
        line[length] = 0;
        sv_text_safe(shown, sizeof shown, line);
        value = strchr(line, ' ');
        if (value) *value++ = 0;
        if (value && strcmp(line, "arch") == 0 && strlen(value) < sizeof arch) {
            strcpy(arch, value);
            good = true;
        }
        const row *found = value ? SV_KIND_FIND(rows, line) : NULL;
        if (found) good = parse_value(&options, found, value);
        if (!good) return sv_fail(err, SV_MODEL_FILE, "%s: '%s' in the model's description is not understood; the file is damaged or of a newer version", path, shown);
        text += length + (text[length] == '\n');
    }
    if (sv_model_create(out, arch, &options, err)) {
        err->code = SV_MODEL_FILE;
        return sv_fail_within(err, "%s", path);
    }
    return SV_OK;
}
