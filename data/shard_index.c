/* The index beside a shard, so that opening 1.3 million samples needs no walk through 150 GB. Text, one form:
 *
 *     sieve-shard-index 1 TAR_BYTES SAMPLES
 *     DATA_AT BYTES LABEL NAME            for each sample, in the order of the tar
 *
 * It is a help and never the truth: what does not fit the tar is passed over, and the tar itself is read. */
#include "data/shards.h"
#include "formats/tar.h"

#include <string.h>

static const char first_word[] = "sieve-shard-index 1 ";
enum { INDEX_MAX_BYTES = 1 << 30 };

sv_status sv_shard_index_path(char **out, const char *tar_path, sv_error *err)
{
    sv_text text = { 0 };
    sv_text_add(&text, "%s.index", tar_path);
    sv_status status = sv_text_check(&text, err);
    if (status)
        sv_text_clear(&text);
    else
        *out = text.data;
    return status;
}

/* Digits and the byte `behind` them; false where they are not there or name more than 2^62. */
static bool number_take(const char **text, char behind, uint64_t *out)
{
    const char *at = *text;
    uint64_t value = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (value >> 58) return false;
        value = value * 10 + (uint64_t)(*at - '0');
    }
    if (at == *text || *at != behind) return false;
    *text = at + 1;
    *out = value;
    return true;
}

struct index {
    const char *text; /* what is left of it; a zero byte ends it */
    uint64_t tar_bytes, samples;
    const char *wrong; /* what does not fit, or NULL */
};

static bool head_take(struct index *index, uint64_t tar_bytes)
{
    if (strncmp(index->text, first_word, sizeof first_word - 1)) return index->wrong = "it is of another form", false;
    index->text += sizeof first_word - 1;
    if (!number_take(&index->text, ' ', &index->tar_bytes) || !number_take(&index->text, '\n', &index->samples))
        return index->wrong = "its first line is broken", false;
    if (index->tar_bytes != tar_bytes) return index->wrong = "it is of a tar of another size", false;
    return true;
}

/* One line; false with index->wrong where it does not fit. */
static bool line_take(struct index *index, sv_shard_sample *sample, uint64_t least, const char **name, size_t *name_bytes)
{
    uint64_t bytes, label;
    index->wrong = "a line is broken";
    if (!number_take(&index->text, ' ', &sample->data_at) || !number_take(&index->text, ' ', &bytes)
        || !number_take(&index->text, ' ', &label))
        return false;
    *name = index->text;
    *name_bytes = strcspn(index->text, "\n");
    if (!*name_bytes || *name_bytes > SV_TAR_NAME_MAX || index->text[*name_bytes] != '\n') return false;
    index->text += *name_bytes + 1;
    index->wrong = "it names places outside of the tar";
    if (sample->data_at < least || sample->data_at % SV_TAR_BLOCK || sample->data_at > index->tar_bytes
        || bytes > index->tar_bytes - sample->data_at)
        return false;
    index->wrong = "it names a label beyond 999999";
    if (label >= SV_CLASSES_MAX) return false;
    sample->bytes = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
    sample->label = (uint32_t)label;
    index->wrong = NULL;
    return true;
}

/* SV_OK with index->wrong where it does not fit. */
static sv_status lines_take(struct index *index, sv_shard_list *list, sv_error *err)
{
    uint64_t least = SV_TAR_BLOCK, taken = 0;
    sv_status status = SV_OK;
    while (!status && *index->text) {
        sv_shard_sample sample;
        const char *name;
        size_t length;
        if (!line_take(index, &sample, least, &name, &length)) return SV_OK;
        status = sv_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items, "data", err);
        if (status) return status;
        sample.name_at = list->names.length;
        sv_text_add_bytes(&list->names, name, length);
        sv_text_add_bytes(&list->names, "", 1);
        status = sv_text_check(&list->names, err);
        if (!status) list->items[list->count++] = sample;
        least = sample.data_at + SV_TAR_BLOCK;
        taken++;
    }
    if (!status && taken != index->samples) index->wrong = "it has not as many lines as it says";
    return status;
}

/* The bytes of a tar that can be opened; what cannot is left to the scan, which says why. */
static bool tar_size(const char *tar_path, uint64_t *bytes)
{
    sv_file file = { 0 };
    bool opened = !sv_file_open(&file, tar_path, SV_DATA, NULL);
    *bytes = file.size;
    sv_file_close(&file);
    return opened;
}

sv_status sv_shard_index_read(sv_shard_list *list, const char *tar_path, bool *used, sv_error *err)
{
    char *path = NULL;
    unsigned char *bytes = NULL;
    size_t count = 0, before = list->count, names = list->names.length;
    uint64_t tar_bytes = 0;
    struct index index = { 0 };
    sv_error why = { 0 };
    *used = false;
    sv_status status = sv_shard_index_path(&path, tar_path, err);
    if (status || !sv_path_exists(path) || !tar_size(tar_path, &tar_bytes)) goto done;
    status = sv_file_read_all(path, INDEX_MAX_BYTES, SV_DATA, &bytes, &count, &why);
    if (status == SV_DATA) {
        status = SV_OK;
        index.wrong = why.text;
    } else if (status) {
        status = sv_fail(err, status, "%s", why.text);
    } else {
        index.text = (const char *)bytes;
        if (head_take(&index, tar_bytes)) status = lines_take(&index, list, err);
        if (!status && !index.wrong && index.text != (const char *)bytes + count) index.wrong = "it holds a zero byte";
    }
    *used = !status && !index.wrong;
    if (index.wrong) sv_log(SV_WARNING, "%s: not used: %s; the tar itself is read", path, index.wrong);
done:
    if (!*used) {
        list->count = before;
        list->names.length = names;
    }
    sv_free(bytes);
    sv_free(path);
    return status;
}

sv_status sv_shard_index_write(const sv_shard_list *list, const char *tar_path, uint64_t tar_bytes, sv_error *err)
{
    sv_text text = { 0 };
    char *path = NULL;
    sv_text_add(&text, "%s%ju %zu\n", first_word, (uintmax_t)tar_bytes, list->count);
    for (size_t i = 0; i < list->count; i++) {
        const sv_shard_sample *sample = &list->items[i];
        sv_text_add(&text, "%ju %u %u %s\n", (uintmax_t)sample->data_at, sample->bytes, sample->label, list->names.data + sample->name_at);
    }
    sv_status status = sv_text_check(&text, err);
    if (!status) status = sv_shard_index_path(&path, tar_path, err);
    if (!status) status = sv_file_write_atomic(path, text.data, text.length, err);
    sv_text_clear(&text);
    sv_free(path);
    return status;
}
