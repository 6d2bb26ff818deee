/* Samples of a tar shard by its headers: members that follow one another and share the name up to the first dot behind the last slash. */
#include "data/shards.h"
#include "formats/tar.h"

#include <string.h>
#include <strings.h>

enum { LABEL_MAX_BYTES = 32 };

static const char *const picture_endings[] = { "jpg", "jpeg", "png" };

void sv_shard_list_clear(sv_shard_list *list)
{
    sv_free(list->items);
    sv_text_clear(&list->names);
    *list = (sv_shard_list){ 0 };
}

sv_status sv_shard_list_add(sv_shard_list *list, const char *name, uint64_t data_at, uint64_t bytes, uint32_t label, sv_error *err)
{
    sv_status status = sv_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items, "data", err);
    if (status) return status;
    size_t at = list->names.length;
    sv_text_add_bytes(&list->names, name, strlen(name) + 1);
    status = sv_text_check(&list->names, err);
    if (!status) list->items[list->count++] = (sv_shard_sample){ data_at, at, bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX, label };
    return status;
}

/* The sample whose members are being read. */
struct sample {
    char key[SV_TAR_NAME_MAX + 1], picture[SV_TAR_NAME_MAX + 1];
    bool any, has_picture, has_label;
    uint64_t data_at, bytes;
    uint32_t label;
};

struct scan {
    sv_tar tar;
    sv_shard_list *list;
    struct sample sample;
};

static sv_status member_fail(const struct scan *scan, const char *member, const char *what, sv_error *err)
{
    char safe[512];
    return sv_fail(err, SV_DATA, "%s: %s: %s", scan->tar.file.path, sv_text_safe(safe, sizeof safe, member), what);
}

static sv_status sample_end(struct scan *scan, sv_error *err)
{
    struct sample *sample = &scan->sample;
    sv_status status = SV_OK;
    if (sample->any && sample->has_picture != sample->has_label)
        return member_fail(
            scan, sample->key,
            sample->has_picture
                ? "the picture has no label; a member of the same name with the ending .cls was expected beside it"
                : "the label has no picture; a member of the same name with the ending .jpg, .jpeg or .png was expected beside it",
            err);
    if (sample->has_picture) status = sv_shard_list_add(scan->list, sample->picture, sample->data_at, sample->bytes, sample->label, err);
    sample->any = sample->has_picture = sample->has_label = false;
    return status;
}

/* Bytes of the name before the dot that begins its ending; all of it where there is none. */
static size_t key_length(const char *name)
{
    const char *slash = strrchr(name, '/'), *dot = strchr(slash ? slash : name, '.');
    return dot ? (size_t)(dot - name) : strlen(name);
}

static bool is_hidden(const char *name)
{
    const char *slash = strrchr(name, '/');
    return (slash ? slash[1] : *name) == '.';
}

static sv_status label_take(struct scan *scan, const sv_tar_member *member, sv_error *err)
{
    char text[LABEL_MAX_BYTES + 1], *end = text + member->bytes, *start = text;
    int64_t label;
    if (scan->sample.has_label) return member_fail(scan, member->name, "the sample has two labels", err);
    if (member->bytes > LABEL_MAX_BYTES)
        return member_fail(scan, member->name, "the label has more than 32 bytes; a whole number was expected", err);
    sv_status status = sv_tar_read(&scan->tar, member, text, (size_t)member->bytes, err);
    if (status) return status;
    while (end > start && strchr(" \t\r\n", end[-1]) && end[-1]) end--;
    *end = 0;
    while (*start == ' ' || *start == '\t') start++;
    if (strlen(start) != (size_t)(end - start) || !sv_parse_int(start, &label) || label < 0 || label >= SV_CLASSES_MAX)
        return member_fail(scan, member->name, "the label is not a whole number from 0 to 999999", err);
    scan->sample.label = (uint32_t)label;
    scan->sample.has_label = true;
    return SV_OK;
}

static sv_status member_take(struct scan *scan, const sv_tar_member *member, sv_error *err)
{
    struct sample *sample = &scan->sample;
    size_t key = key_length(member->name);
    sv_status status = SV_OK;
    if (!member->is_file || is_hidden(member->name) || !member->name[key]) return SV_OK;
    if (!sample->any || strlen(sample->key) != key || memcmp(sample->key, member->name, key)) {
        status = sample_end(scan, err);
        if (status) return status;
        memcpy(sample->key, member->name, key);
        sample->key[key] = 0;
        sample->any = true;
    }
    const char *ending = member->name + key + 1;
    if (!strcasecmp(ending, "cls")) return label_take(scan, member, err);
    for (size_t i = 0; i < SV_COUNT(picture_endings); i++) {
        if (strcasecmp(ending, picture_endings[i])) continue;
        if (sample->has_picture) return member_fail(scan, member->name, "the sample has two pictures", err);
        strcpy(sample->picture, member->name);
        sample->data_at = member->data_at;
        sample->bytes = member->bytes;
        sample->has_picture = true;
    }
    return SV_OK;
}

sv_status sv_shard_scan(sv_shard_list *list, const char *tar_path, sv_error *err)
{
    struct scan *scan = NULL;
    sv_tar_member member;
    bool there = true;
    sv_status status = sv_alloc_zero(&scan, sizeof *scan, "data", err);
    if (status) return status;
    scan->list = list;
    status = sv_tar_open(&scan->tar, tar_path, SV_DATA, err);
    while (!status && there) {
        status = sv_tar_next(&scan->tar, &member, &there, err);
        if (!status) status = there ? member_take(scan, &member, err) : sample_end(scan, err);
    }
    sv_tar_close(&scan->tar);
    sv_free(scan);
    return status;
}
