/* Weights of a file into a model: by name, into a block of their own first, so that a file that does not fit leaves the model as it
 * was. What is missing, misshapen or unexpected is listed in one table. A stranger under the model's own words ("blocks.12.norm1.weight"
 * for a model of 12 blocks) says that the file is of another model, and is refused like a missing tensor (spec backbones 8.3). */
#include "layers/layers.h"
#include "layers/names.h"

#include <stdio.h>
#include <string.h>

enum { LINES_MOST = 20, NAMED_MOST = 3 }; /* a kind: of the table; of all: in the error */
typedef enum fault_kind { MISSING, MISSHAPEN, FOREIGN, UNEXPECTED, FAULT_KINDS } fault_kind;
static const char *const fault_words[FAULT_KINDS] = { "missing", "misshapen", "foreign", "unexpected" };

typedef struct loader {
    sv_model *model;
    sv_weights *file;
    const sv_load_options *options;
    sv_naming naming;
    uint64_t seed;
    sv_real *values; /* laid out like the model's block */
    bool *is_new;    /* by parameter */
    bool *used;      /* by entry of the file */
    size_t faults[FAULT_KINDS], passed_selectors;
    sv_text table, named; /* for the log; the first names, for the error */
} loader;

/* A parameter and the tensor of the file that fills its part `part` of `parts` along the first dimension. */
typedef struct piece {
    const sv_parameter *parameter;
    size_t index, part, parts;
    const sv_weights_entry *entry;
} piece;

static const char *path_of(const loader *l) { return sv_weights_path(l->file); }
static size_t fatal_faults(const loader *l) { return l->faults[MISSING] + l->faults[MISSHAPEN] + l->faults[FOREIGN]; }

/* ---- the table --------------------------------------------------------------------------------------------------- */

static void complain(loader *l, fault_kind kind, const char *name, const char *detail)
{
    char safe[128];
    sv_text_safe(safe, sizeof safe, name);
    l->faults[kind]++;
    if (!l->table.length) sv_text_add(&l->table, "%-10s  %-52s  %s\n", "weights", "tensor", "shape");
    if (l->faults[kind] <= LINES_MOST) sv_text_add(&l->table, "%-10s  %-52s  %s\n", fault_words[kind], safe, detail);
    if (kind != UNEXPECTED && fatal_faults(l) <= NAMED_MOST)
        sv_text_add(&l->named, "%s%s '%s' %s", fatal_faults(l) > 1 ? "; " : "", fault_words[kind], safe, detail);
}

static void say_table(const loader *l)
{
    for (const char *at = l->table.data; at && *at;) {
        size_t length = strcspn(at, "\n");
        sv_log(SV_WARNING, "%.*s", (int)length, at);
        at += length + (at[length] == '\n');
    }
    for (size_t k = 0; k < FAULT_KINDS; k++)
        if (l->faults[k] > LINES_MOST) sv_log(SV_WARNING, "%-10s  and %zu more", fault_words[k], l->faults[k] - LINES_MOST);
    if (l->passed_selectors)
        sv_log(SV_INFO, "%zu tensors of selectors in %s passed over: this model has none", l->passed_selectors, path_of(l));
}

/* "[3,192]" */
static const char *shape_text(char out[96], size_t rank, const size_t *shape)
{
    size_t at = (size_t)snprintf(out, 96, "[");
    for (size_t d = 0; d < rank && at < 72; d++) at += (size_t)snprintf(out + at, 96 - at, "%s%zu", d ? "," : "", shape[d]);
    snprintf(out + at, 96 - at, "]");
    return out;
}

/* What a part of the parameter should look like. */
static const char *wanted_text(char out[96], const piece *p)
{
    size_t shape[SV_MOST_DIMS];
    memcpy(shape, p->parameter->shape, sizeof shape);
    shape[0] /= p->parts;
    return shape_text(out, p->parameter->dims, shape);
}

static void complain_of_shape(loader *l, const piece *p)
{
    char found[96], wanted[96], detail[256];
    snprintf(detail, sizeof detail, "%s, the model has %s", shape_text(found, p->entry->rank, p->entry->shape), wanted_text(wanted, p));
    complain(l, MISSHAPEN, p->entry->name, detail);
}

/* ---- positions, heads, selectors --------------------------------------------------------------------------------- */

static size_t side_of(size_t patches)
{
    size_t side = 0;
    while (side * side < patches) side++;
    return side * side == patches ? side : 0;
}

/* Positions [1, E + n, D] of another grid; *done stays false where the tensor is none. */
static sv_status load_positions(const loader *l, const piece *p, bool *done, sv_error *err)
{
    const sv_weights_entry *entry = p->entry;
    size_t prefix = sv_model_prefix(l->model), width = l->model->options.width, to = side_of(sv_model_patches(l->model)), from = 0;
    sv_real *all = NULL, *out = l->values + p->parameter->offset;
    if (l->options->need_all || entry->rank != 3 || entry->shape[0] != 1 || entry->shape[2] != width || entry->shape[1] <= prefix)
        return SV_OK;
    from = side_of(entry->shape[1] - prefix);
    if (!from) return SV_OK;
    sv_status status = sv_alloc(&all, entry->count * sizeof *all, "positions", err);
    if (!status) status = sv_weights_read_scaled(l->file, entry, all, err);
    if (!status) status = sv_positions_resize(out + prefix * width, to, all + prefix * width, from, width, l->options->resize, err);
    if (!status) {
        memcpy(out, all, prefix * width * sizeof *all);
        sv_log(SV_INFO, "positions resized from %zu x %zu to %zu x %zu patches", from, from, to, to);
        *done = true;
    }
    sv_free(all);
    return status;
}

/* The same of a map [1, D, side, side]: channel by channel. */
static sv_status load_map(const loader *l, const piece *p, bool *done, sv_error *err)
{
    const sv_weights_entry *entry = p->entry;
    const size_t *shape = p->parameter->shape;
    sv_real *all = NULL, *out = l->values + p->parameter->offset;
    if (l->options->need_all || entry->rank != 4 || entry->shape[0] != 1 || entry->shape[1] != shape[1] || !entry->shape[2] || entry->shape[2] != entry->shape[3])
        return SV_OK;
    const size_t to = shape[2], from = entry->shape[2];
    sv_status status = sv_alloc(&all, entry->count * sizeof *all, "positions", err);
    if (!status) status = sv_weights_read_scaled(l->file, entry, all, err);
    for (size_t c = 0; !status && c < shape[1]; c++)
        status = sv_positions_resize(out + c * to * to, to, all + c * from * from, from, 1, l->options->resize, err);
    if (!status) {
        sv_log(SV_INFO, "positions resized from %zu x %zu to %zu x %zu patches", from, from, to, to);
        *done = true;
    }
    sv_free(all);
    return status;
}

static bool is_head(const loader *l, const char *name)
{
    for (const char *const *head = l->model->backbone->family->head_names; *head; head++)
        if (strcmp(*head, name) == 0) return true;
    return false;
}

static bool has_other_count(const loader *l, const piece *p)
{
    const sv_parameter *head = p->parameter;
    return is_head(l, head->name) && p->entry->rank == head->dims && (head->dims == 1 || p->entry->shape[1] == head->shape[1]);
}

/* A head of another class count: normal .02, biases 0. */
static bool remake_head(loader *l, const piece *p)
{
    const sv_parameter *head = p->parameter;
    if (l->options->need_all || !has_other_count(l, p)) return false;
    sv_random random = sv_random_at(l->seed, SV_FOR_INIT, 2, p->index, 0);
    for (size_t k = 0; k < head->count; k++) l->values[head->offset + k] = (sv_real)(head->dims > 1 ? 0.02 * sv_random_normal(&random) : 0);
    l->is_new[p->index] = true;
    if (head->dims > 1)
        sv_log(SV_INFO, "%.*s re-made: file has %zu classes, the run has %zu", (int)strcspn(head->name, "."), head->name,
               p->entry->shape[0], head->shape[0]);
    return true;
}

static void mark_used(loader *l, const sv_weights_entry *entry)
{
    const sv_weights_entry *scale = sv_weights_scale_of(l->file, entry);
    for (size_t e = 0; e < sv_weights_count(l->file); e++)
        if (sv_weights_at(l->file, e) == entry || sv_weights_at(l->file, e) == scale) l->used[e] = true;
}

static sv_status check_numbers(const loader *l, const sv_weights_entry *entry, sv_error *err)
{
    static const char *const good[] = { "float32", "float16", "bfloat16", "float64" };
    char safe[128];
    for (size_t i = 0; i < SV_COUNT(good); i++)
        if (strcmp(entry->dtype, good[i]) == 0) return SV_OK;
    if (sv_weights_scale_of(l->file, entry)) return SV_OK;
    return sv_fail(err, SV_MODEL_FILE,
                   "%s: tensor '%s' holds %s, but weights are float32, float16, bfloat16, float64, or int8 with scales (NAME_scale, float32, one a row); is it the right file?", path_of(l),
                   sv_text_safe(safe, sizeof safe, entry->name), entry->dtype);
}

static sv_status check_copy(loader *l, const piece *p, size_t head, const char *name, sv_real *copy, sv_error *err)
{
    const sv_weights_entry *other = sv_weights_find(l->file, name);
    if (!other || other->count != p->entry->count)
        return sv_fail(err, SV_MODEL_FILE,
                       "%s: '%s', the selector's weights of head %zu of %zu, is absent or of another size; is the file of another model?",
                       path_of(l), name, head, l->model->options.heads);
    mark_used(l, other);
    sv_status status = sv_weights_read_scaled(l->file, other, copy, err);
    if (!status && memcmp(copy, l->values + p->parameter->offset, other->count * sizeof *copy) != 0)
        status = sv_fail(err, SV_MODEL_FILE,
                         "%s: '%s' differs from '%s', but selectors here share one set of weights over all heads; load the dense "
                         "weights and train selectors anew",
                         path_of(l), name, p->entry->name);
    return status;
}

/* All heads of our selectors share one set of weights; files of the reference hold it once a head (spec SPViT F1). */
static sv_status check_copies(loader *l, const piece *p, sv_error *err)
{
    char name[SV_NAME_ROOM];
    sv_real *copy = NULL;
    if (!sv_name_of_copy(name, p->entry->name, 0)) return SV_OK;
    sv_status status = sv_alloc(&copy, p->entry->count * sizeof *copy, "weights", err);
    for (size_t head = 1; !status && head < l->model->options.heads; head++)
        if (sv_name_of_copy(name, p->entry->name, head)) status = check_copy(l, p, head, name, copy, err);
    sv_free(copy);
    return status;
}

/* ---- one parameter ----------------------------------------------------------------------------------------------- */

/* A 1 x 1 convolution is a linear layer: predictors of DynamicViT's ConvNeXt are stored so. */
static bool same_shape(const piece *p)
{
    size_t rank = p->entry->rank;
    if (rank == 4 && p->parameter->dims == 2 && p->entry->shape[2] == 1 && p->entry->shape[3] == 1) rank = 2;
    if (rank != p->parameter->dims) return false;
    for (size_t d = 0; d < rank; d++)
        if (p->entry->shape[d] != (d ? p->parameter->shape[d] : p->parameter->shape[0] / p->parts)) return false;
    return true;
}

/* Selectors of one method do not fit those of another. */
static sv_status check_method(const loader *l, const char *own, sv_error *err)
{
    static const struct {
        const char *own, *other, *what;
    } rows[] = {
        { "selectors.", "score_predictor.0.in_conv.0.weight", "does not look at heads (DynamicViT)" },
        { "score_predictor.", "score_predictor.0.in_conv.0.0.weight", "looks at heads (SPViT)" },
        { "score_predictor.", "selectors.0.norm.weight", "looks at heads (SPViT)" },
    };
    for (size_t i = 0; i < SV_COUNT(rows); i++) {
        char other[SV_NAME_ROOM];
        snprintf(other, sizeof other, "%s%s", l->naming.outer, rows[i].other);
        if (strncmp(own, rows[i].own, strlen(rows[i].own)) == 0 && sv_weights_find(l->file, other))
            return sv_fail(err, SV_MODEL_FILE,
                           "%s: '%s' is of a selector that %s, which does not fit this model's; load the dense weights and train selectors anew",
                           path_of(l), other, rows[i].what);
    }
    return SV_OK;
}

static sv_status load_absent(loader *l, const piece *p, const char *name, sv_error *err)
{
    char wanted[96];
    bool selects = sv_name_selects(p->parameter->name);
    sv_status status = selects ? check_method(l, p->parameter->name, err) : SV_OK;
    if (status) return status;
    if (selects && l->options->optional_selectors)
        l->is_new[p->index] = true;
    else
        complain(l, MISSING, name, wanted_text(wanted, p));
    return SV_OK;
}

static sv_status load_piece(loader *l, const piece *p, sv_error *err)
{
    bool done = false;
    mark_used(l, p->entry);
    sv_status status = check_numbers(l, p->entry, err);
    if (!status && same_shape(p)) {
        status = sv_weights_read_scaled(l->file, p->entry, l->values + p->parameter->offset + p->part * (p->parameter->count / p->parts), err);
        return status ? status : check_copies(l, p, err);
    }
    if (!status && strcmp(p->parameter->name, "pos_embed") == 0) status = (p->parameter->dims == 4 ? load_map : load_positions)(l, p, &done, err);
    if (!status && !done && l->options->whole_head && has_other_count(l, p))
        return sv_fail(err, SV_MODEL_FILE, "%s: '%s' answers with %zu classes, but %zu are needed", path_of(l), p->entry->name, p->entry->shape[0], p->parameter->shape[0]);
    if (!status && !done) done = remake_head(l, p);
    if (!status && !done) complain_of_shape(l, p);
    return status;
}

static sv_status load_parameter(loader *l, size_t index, sv_error *err)
{
    char names[3][SV_NAME_ROOM];
    piece p = { .parameter = l->model->parameters->items[index], .index = index };
    sv_status status = SV_OK;
    p.parts = sv_names_in_file(l->file, &l->naming, p.parameter->name, names);
    for (p.part = 0; !status && p.part < p.parts; p.part++) {
        p.entry = sv_weights_find(l->file, names[p.part]);
        status = p.entry ? load_piece(l, &p, err) : load_absent(l, &p, names[p.part], err);
    }
    return status;
}

/* ---- the whole file ---------------------------------------------------------------------------------------------- */

/* Whether a name begins with a word of such models: "blocks", at Hugging Face "encoder". Further selectors are no sign of another
 * backbone. */
static bool is_of_a_model(const loader *l, const char *name)
{
    static const char *const others[] = { "dist_token", "head_dist",  "embeddings",     "encoder",
                                          "layernorm",  "classifier", "cls_classifier", "distillation_classifier" };
    const char *bare = sv_name_bare(&l->naming, name);
    size_t length = strcspn(bare, ".");
    if (sv_name_is_selector(&l->naming, name)) return false;
    for (size_t i = 0; i < SV_COUNT(others); i++)
        if (strlen(others[i]) == length && strncmp(bare, others[i], length) == 0) return true;
    for (size_t i = 0; i < l->model->parameters->count; i++) {
        const char *own = l->model->parameters->items[i]->name;
        if (strcspn(own, ".") == length && strncmp(bare, own, length) == 0) return true;
    }
    return false;
}

static void list_unexpected(loader *l)
{
    bool has_selectors = false;
    for (size_t i = 0; i < l->model->parameters->count; i++) has_selectors = has_selectors || sv_name_selects(l->model->parameters->items[i]->name);
    for (size_t e = 0; e < sv_weights_count(l->file); e++) {
        const sv_weights_entry *entry = sv_weights_at(l->file, e);
        char shape[96];
        if (l->used[e] || sv_name_ignored(&l->naming, entry->name)) continue;
        if (!has_selectors && sv_name_is_selector(&l->naming, entry->name))
            l->passed_selectors++;
        else
            complain(l, is_of_a_model(l, entry->name) ? FOREIGN : UNEXPECTED, entry->name, shape_text(shape, entry->rank, entry->shape));
    }
}

static const sv_weights_entry *entry_of(const loader *l, const char *parameter)
{
    char names[3][SV_NAME_ROOM];
    sv_names_in_file(l->file, &l->naming, parameter, names);
    return sv_weights_find(l->file, names[0]);
}

/* Which model the file is of, as far as its tokens say. */
static void add_hint(const loader *l, sv_text *hint)
{
    const sv_model_options *own = &l->model->options;
    const sv_weights_entry *token = entry_of(l, "cls_token");
    bool distilled = entry_of(l, "dist_token") || (token && token->rank == 3 && token->shape[1] == 2);
    size_t width = token && token->rank == 3 ? token->shape[2] : own->width;
    if (!token || (distilled == own->distilled && width == own->width)) return;
    sv_text_add(hint, "; the file is of a model %s distillation, %zu wide: ", distilled ? "with" : "without", width);
    for (size_t i = 0; i < sv_backbone_count; i++) {
        const sv_backbone *row = &sv_backbones[i];
        if (row->family != l->model->backbone->family || row->options.width != width || row->options.distilled != distilled) continue;
        if (row == l->model->backbone) break; /* the run's own keys made another of it */
        sv_text_add(hint, "set %s = %s", l->options->arch_key ? l->options->arch_key : "model.arch", row->name);
        return;
    }
    if (l->options->arch_key) sv_text_add(hint, "%s has no such row", l->options->arch_key);
    else sv_text_add(hint, "set model.width = %zu, model.distilled = %s", width, distilled ? "yes" : "no");
}

static sv_status verdict(const loader *l, sv_error *err)
{
    sv_text hint = { 0 };
    const size_t *f = l->faults;
    if (!fatal_faults(l)) return SV_OK;
    add_hint(l, &hint);
    sv_status status = sv_fail(err, SV_MODEL_FILE, "%s does not fit %s: %zu tensors missing, %zu misshapen, %zu foreign to it (%s%s)%s",
                               path_of(l), l->model->backbone->name, f[MISSING], f[MISSHAPEN], f[FOREIGN],
                               l->named.data ? l->named.data : "", fatal_faults(l) > NAMED_MOST ? "; ..." : "", hint.data ? hint.data : "");
    sv_text_clear(&hint);
    return status;
}

static sv_status fill(loader *l, sv_error *err)
{
    sv_parameters *set = l->model->parameters;
    sv_status status = sv_alloc(&l->values, set->total * sizeof *l->values, "weights", err);
    if (!status) status = sv_alloc_zero(&l->is_new, set->count * sizeof *l->is_new, "weights", err);
    if (!status) status = sv_alloc_zero(&l->used, sv_weights_count(l->file) * sizeof *l->used, "weights", err);
    if (status) return status;
    memcpy(l->values, set->values, set->total * sizeof *l->values);
    l->naming = sv_naming_of(l->file, l->model->backbone->family);
    for (size_t i = 0; !status && i < set->count; i++) status = load_parameter(l, i, err);
    if (status) return status;
    list_unexpected(l);
    say_table(l);
    return verdict(l, err);
}

sv_status sv_model_load(sv_model *model, const char *path, const sv_load_options *options, uint64_t seed, bool *is_new, sv_error *err)
{
    loader l = { .model = model, .options = options, .seed = seed };
    sv_parameters *set = model->parameters;
    sv_status status = sv_weights_open(&l.file, path, err);
    if (!status) status = fill(&l, err);
    if (!status) {
        memcpy(set->values, l.values, set->total * sizeof *l.values);
        if (is_new) memcpy(is_new, l.is_new, set->count * sizeof *is_new);
        sv_parameters_changed(set);
    }
    sv_text_clear(&l.named);
    sv_text_clear(&l.table);
    sv_free(l.used);
    sv_free(l.is_new);
    sv_free(l.values);
    sv_weights_close(l.file);
    return status;
}
