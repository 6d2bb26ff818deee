/* What all kinds of sources have in common. */
#include "data/source_kind.h"

#include <string.h>

sv_status sv_source_create(sv_source **out, size_t bytes, const sv_source_kind *kind, const char *root, sv_error *err)
{
    sv_source *source;
    sv_status status = sv_alloc_zero(&source, bytes, "data", err);
    if (status) return status;
    source->kind = kind;
    status = sv_text_copy(&source->root, root, err);
    if (status)
        sv_free(source);
    else
        *out = source;
    return status;
}

void sv_source_close(sv_source *source)
{
    if (!source) return;
    source->kind->clear(source);
    sv_classes_clear(&source->classes);
    sv_free(source->root);
    sv_free(source);
}

size_t sv_source_count(const sv_source *source) { return source->count; }

const sv_classes *sv_source_classes(const sv_source *source) { return &source->classes; }

bool sv_source_numbered(const sv_source *source) { return source->numbered; }

uint32_t sv_source_label(const sv_source *source, size_t sample) { return source->kind->label(source, sample); }

const char *sv_source_name(const sv_source *source) { return source->root; }

sv_status sv_source_path(const sv_source *source, size_t sample, char **path, sv_error *err)
{
    return source->kind->path(source, sample, path, err);
}

/* ---- pictures ---- */

void sv_bytes_clear(sv_bytes *bytes)
{
    sv_free(bytes->data);
    *bytes = (sv_bytes){ 0 };
}

sv_status sv_bytes_reserve(sv_bytes *room, uint64_t count, const char *name, sv_error *err)
{
    room->count = 0;
    if (count > SV_PICTURE_FILE_MAX)
        return sv_fail(err, SV_DATA, "%s: has %ju bytes; at most %zu were expected", name, (uintmax_t)count, SV_PICTURE_FILE_MAX);
    if (room->data && count <= room->capacity) return SV_OK;
    sv_bytes_clear(room); /* nothing of it is to be copied */
    return sv_grow(&room->data, &room->capacity, (size_t)count, 1, "file", err);
}

sv_status sv_source_bytes(const sv_source *source, size_t sample, sv_bytes *room, sv_error *err)
{
    return source->kind->bytes(source, sample, room, err);
}

sv_status sv_source_read_part(const sv_source *source, size_t sample, sv_part_rule *part, void *context, sv_bytes *room, sv_picture *out, sv_error *err)
{
    char *path = NULL;
    out->width = out->height = 0;
    sv_status status = sv_source_path(source, sample, &path, err);
    if (!status) status = sv_source_bytes(source, sample, room, err);
    if (!status) status = sv_picture_decode_part(out, room->data, room->count, path, part, context, err);
    sv_free(path);
    return status;
}

sv_status sv_source_read(const sv_source *source, size_t sample, sv_picture *out, sv_error *err)
{
    sv_bytes bytes = { 0 };
    const sv_status status = sv_source_read_part(source, sample, NULL, NULL, &bytes, out, err);
    sv_bytes_clear(&bytes);
    return status;
}

void sv_source_order(const sv_source *source, sv_random *random, uint64_t *order)
{
    if (source->kind->order)
        source->kind->order(source, random, order);
    else
        sv_random_permutation(random, order, source->count);
}

/* ---- training and validation ---- */

/* Classes that labels of the source can name: of numbered classes all are in use up to the last. */
static sv_status check_numbers(const sv_source *one, const sv_source *other, sv_error *err)
{
    size_t a = one->classes.count, b = other->classes.count;
    if (other->numbered && b > a)
        return sv_fail(err, SV_DATA, "%s: its largest label is %zu, but %s has %zu classes, 0 to %zu; give both the same class indices",
                       other->root, b - 1, one->root, a, a - 1);
    if (!other->numbered && a != b)
        return sv_fail(err, SV_DATA,
                       "%s: its largest label is %zu, but %s has %zu classes, 0 to %zu; give both the same class indices, or a class file "
                       "with data.classes",
                       one->root, a - 1, other->root, b, b - 1);
    return SV_OK;
}

sv_status sv_source_check_same(const sv_source *one, const sv_source *other, sv_error *err)
{
    char safe[256], also[256];
    const sv_classes *a = &one->classes, *b = &other->classes;
    if (one->numbered || other->numbered) return check_numbers(one, other, err);
    for (size_t i = 0; i < a->count && i < b->count; i++)
        if (strcmp(a->folders[i], b->folders[i]))
            return sv_fail(
                err, SV_DATA, "class %zu is '%s' in %s but '%s' in %s; give both the same class folders, or a class file with data.classes",
                i, sv_text_safe(safe, sizeof safe, a->folders[i]), one->root, sv_text_safe(also, sizeof also, b->folders[i]), other->root);
    if (a->count != b->count)
        return sv_fail(err, SV_DATA,
                       "%s has %zu classes but %s has %zu; give both the same class folders, or a class file with data.classes", one->root,
                       a->count, other->root, b->count);
    return SV_OK;
}
