/* Weights of a file into a model: by name, into a block of their own first, so that a file that does not fit leaves the model as it was. What is missing,
 * unexpected or misshapen is listed in one table. */
#include "layers/layers.h"
#include "layers/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct loader {
    sv_model *model;
    sv_weights *file;
    const sv_load_options *options;
    sv_naming naming;
    uint64_t seed;
    sv_real *values;            /* laid out like the model's block */
    bool *is_new;
    uint8_t *used;              /* by entry of the file */
    size_t missing, misshapen, resized, unexpected;
    sv_text table;
    char first[400];            /* the first complaint, for the error */
} loader;

static void complain(loader *l, const char *what, const char *name, const char *detail)
{
    if (!l->table.length) sv_text_add(&l->table, "%-11s %-44s %s\n", "", "tensor", "");
    sv_text_add(&l->table, "%-11s %-44s %s\n", what, name, detail);
    if (!l->first[0] && strcmp(what, "unexpected") != 0) snprintf(l->first, sizeof l->first, "%s is %s%s%s", name, what, detail[0] ? ": " : "", detail);
}

static void shape_text(char out[96], size_t rank, const size_t *shape)
{
    size_t at = (size_t)snprintf(out, 96, "[");
    for (size_t d = 0; d < rank && at < 80; d++) at += (size_t)snprintf(out + at, 96 - at, "%s%zu", d ? "," : "", shape[d]);
    snprintf(out + at, 96 - at, "]");
}

static bool is_head(const loader *l, const char *name)
{
    for (const char *const *head = l->model->backbone->family->head_names; *head; head++)
        if (strcmp(*head, name) == 0) return true;
    return false;
}

static bool same_shape(const sv_parameter *p, const sv_weights_entry *entry, size_t parts)
{
    if (entry->rank != p->dims) return false;
    for (size_t d = 0; d < entry->rank; d++)
        if (entry->shape[d] != (d == 0 ? p->shape[0] / parts : p->shape[d])) return false;
    return true;
}

/* ---- positions, heads -------------------------------------------------------------------------------------------- */

static size_t side_of(size_t patches)
{
    size_t side = 0;
    while (side * side < patches) side++;
    return side * side == patches ? side : 0;
}

/* Positions [1, E + n, D] of another grid. */
static sv_status load_positions(loader *l, const sv_parameter *p, const sv_weights_entry *entry, bool *done, sv_error *err)
{
    size_t prefix = sv_model_prefix(l->model), width = l->model->options.width, to = side_of(sv_model_patches(l->model)), from = 0;
    sv_real *all = NULL;
    *done = false;
    if (entry->rank != 3 || entry->shape[0] != 1 || entry->shape[2] != width || entry->shape[1] <= prefix || !(from = side_of(entry->shape[1] - prefix)) || l->options->need_all) return SV_OK;
    sv_status status = sv_alloc(&all, entry->count * sizeof *all, "positions", err);
    if (!status) status = sv_weights_read(l->file, entry, all, err);
    if (!status) {
        memcpy(l->values + p->offset, all, prefix * width * sizeof *all);
        status = sv_positions_resize(l->values + p->offset + prefix * width, to, all + prefix * width, from, width, l->options->resize, err);
        sv_log(SV_INFO, "positions resized from %zu x %zu to %zu x %zu patches", from, from, to, to);
        l->resized++;
        *done = true;
    }
    sv_free(all);
    return status;
}

static void make_anew(loader *l, const sv_parameter *p, size_t index)
{
    sv_random random = sv_random_at(l->seed, SV_FOR_INIT, 2, index, 0);
    for (size_t k = 0; k < p->count; k++) l->values[p->offset + k] = (sv_real)(p->dims >= 2 ? 0.02 * sv_random_normal(&random) : 0);
    l->is_new[index] = true;
}

/* ---- one parameter ----------------------------------------------------------------------------------------------- */

static sv_status load_one(loader *l, size_t index, sv_error *err)
{
    const sv_parameter *p = l->model->parameters->items[index];
    char parts[3][256], wanted[96], found[96];
    size_t count = sv_names_in_file(l->file, l->naming, p->name, parts);
    sv_status status = SV_OK;
    for (size_t i = 0; i < count; i++) {
        const sv_weights_entry *entry = sv_weights_find(l->file, parts[i]);
        bool done = false;
        if (!entry) {
            if (l->options->optional_selectors && strncmp(p->name, "selectors.", 10) == 0) {
                l->is_new[index] = true;
                return SV_OK;
            }
            l->missing++;
            complain(l, "missing", p->name, "");
            return SV_OK;
        }
        for (size_t e = 0; e < sv_weights_count(l->file); e++)
            if (sv_weights_at(l->file, e) == entry) l->used[e] = 1;
        if (strncmp(entry->dtype, "float", 5) != 0 && strcmp(entry->dtype, "bfloat16") != 0)
            return sv_fail(err, SV_MODEL_FILE, "%s: tensor '%s' holds %s, but weights are numbers with a point (float32, float16, bfloat16, float64)", sv_weights_path(l->file), entry->name, entry->dtype);
        if (same_shape(p, entry, count)) {
            status = sv_weights_read(l->file, entry, l->values + p->offset + i * (p->count / count), err);
            if (status) return status;
            continue;
        }
        shape_text(wanted, p->dims, p->shape);
        shape_text(found, entry->rank, entry->shape);
        if (strcmp(p->name, "pos_embed") == 0) {
            status = load_positions(l, p, entry, &done, err);
            if (status) return status;
        } else if (is_head(l, p->name) && !l->options->need_all && entry->rank == p->dims && (p->dims < 2 || entry->shape[1] == p->shape[1])) {
            if (p->dims == 2) sv_log(SV_INFO, "%s re-made: the file answers %zu classes, the run %zu", p->name, entry->shape[0], p->shape[0]);
            make_anew(l, p, index);
            done = true;
        }
        if (!done) {
            char detail[256];
            snprintf(detail, sizeof detail, "the file has %s, the model %s", found, wanted);
            l->misshapen++;
            complain(l, "misshapen", p->name, detail);
        }
    }
    return SV_OK;
}

static void list_unexpected(loader *l)
{
    for (size_t e = 0; e < sv_weights_count(l->file); e++) {
        const sv_weights_entry *entry = sv_weights_at(l->file, e);
        char shape[96], safe[128];
        if (l->used[e] || sv_name_ignored(entry->name)) continue;
        shape_text(shape, entry->rank, entry->shape);
        l->unexpected++;
        if (l->unexpected <= 20) complain(l, "unexpected", sv_text_safe(safe, sizeof safe, entry->name), shape);
    }
}

static void say_table(loader *l)
{
    const char *at = l->table.data;
    while (at && *at) {
        size_t length = strcspn(at, "\n");
        sv_log(SV_WARNING, "%.*s", (int)length, at);
        at += length + (at[length] == '\n');
    }
}

static sv_status verdict(loader *l, sv_error *err)
{
    const char *hint = "";
    if (sv_weights_find(l->file, "dist_token") && !l->model->options.distilled) hint = "; the file is of a distilled model: set model.arch to the ..._distilled form";
    if (!sv_weights_find(l->file, "dist_token") && l->model->options.distilled) hint = "; the file is of a model without distillation: set model.arch without _distilled";
    if (l->missing || l->misshapen)
        return sv_fail(err, SV_MODEL_FILE, "%s does not fit %s: %zu tensors missing, %zu misshapen, %zu unexpected (%s)%s", sv_weights_path(l->file), l->model->backbone->name,
                       l->missing, l->misshapen, l->unexpected, l->first, hint);
    return SV_OK;
}

sv_status sv_model_load(sv_model *model, const char *path, const sv_load_options *options, uint64_t seed, bool *is_new, sv_error *err)
{
    loader l = { .model = model, .options = options, .seed = seed };
    sv_parameters *set = model->parameters;
    sv_status status = sv_weights_open(&l.file, path, err);
    if (status) return status;
    l.naming = sv_naming_of(l.file);
    status = sv_alloc(&l.values, set->total * sizeof *l.values, "weights", err);
    if (!status) status = sv_alloc_zero(&l.is_new, set->count * sizeof *l.is_new, "weights", err);
    if (!status) status = sv_alloc_zero(&l.used, sv_weights_count(l.file) + 1, "weights", err);
    if (!status) memcpy(l.values, set->values, set->total * sizeof *l.values);
    for (size_t i = 0; !status && i < set->count; i++) status = load_one(&l, i, err);
    if (!status) {
        list_unexpected(&l);
        say_table(&l);
        status = verdict(&l, err);
    }
    if (!status) {
        memcpy(set->values, l.values, set->total * sizeof *l.values);
        if (is_new) memcpy(is_new, l.is_new, set->count * sizeof *is_new);
        sv_parameters_changed(set);
    }
    sv_text_clear(&l.table);
    sv_free(l.used);
    sv_free(l.is_new);
    sv_free(l.values);
    sv_weights_close(l.file);
    return status;
}
