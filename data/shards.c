/* The kind shards: a folder of tar files. Samples of shard s are first[s] .. first[s + 1] - 1 of one list, in order of place, so that reading
 * them in order is reading the files from front to end. */
#include "data/shards.h"
#include "data/source_kind.h"
#include "formats/tar.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>

/* What the kernel is asked to read ahead: so far beyond a picture that is read, in steps of so much; a reader that comes from further away
 * than the last is not reading in order, and what lies between is left alone. */
enum { AHEAD_BYTES = 8 << 20, STEP_BYTES = 16 << 20, GAP_BYTES = 512 << 20, SHUFFLE_BUFFER = 1000 };

struct shard {
    char *path;
    size_t first;           /* of its samples */
    sv_file file;           /* all zero where files are opened for each picture */
    _Atomic uint64_t asked; /* bytes of it the kernel was asked to read */
};

struct shard_source {
    sv_source base;
    struct shard *shards;
    size_t shard_count, shuffle_buffer;
    sv_shard_list list;
};

static bool is_tar(const char *name)
{
    size_t length = strlen(name);
    return length > 4 && !strcmp(name + length - 4, ".tar");
}

static size_t shard_of(const struct shard_source *source, size_t sample)
{
    size_t low = 0, high = source->shard_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (source->shards[middle].first <= sample)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* ---- reading ---- */

static uint32_t shards_label(const sv_source *base, size_t sample) { return ((const struct shard_source *)base)->list.items[sample].label; }

static sv_status shards_path(const sv_source *base, size_t sample, char **path, sv_error *err)
{
    const struct shard_source *source = (const struct shard_source *)base;
    char safe[SV_TAR_NAME_MAX + 1];
    sv_text text = { 0 };
    sv_text_add(&text, "%s: %s", source->shards[shard_of(source, sample)].path,
                sv_text_safe(safe, sizeof safe, source->list.names.data + source->list.items[sample].name_at));
    sv_status status = sv_text_check(&text, err);
    if (status)
        sv_text_clear(&text);
    else
        *path = text.data;
    return status;
}

/* Advice alone: whoever wins asks, and nothing depends on it. */
static void ask_ahead(struct shard *shard, const sv_file *file, uint64_t at)
{
    uint64_t asked = atomic_load_explicit(&shard->asked, memory_order_relaxed), from = asked, to = at + AHEAD_BYTES;
    if (asked >= to || asked >= file->size) return;
    if (at > asked + GAP_BYTES) from = at;
    if (to > from + STEP_BYTES) to = from + STEP_BYTES;
    if (atomic_compare_exchange_strong_explicit(&shard->asked, &asked, to, memory_order_relaxed, memory_order_relaxed))
        posix_fadvise(file->descriptor, (off_t)from, (off_t)(to - from), POSIX_FADV_WILLNEED);
}

static sv_status read_failed(const sv_source *base, size_t sample, const char *what, sv_error *err)
{
    sv_error why = { 0 };
    char *path = NULL;
    if (err) why = *err;
    sv_status status = shards_path(base, sample, &path, err);
    if (!status) status = sv_fail(err, SV_DATA, "%s: %s", path, what ? what : why.text);
    sv_free(path);
    return status;
}

static sv_status shards_bytes(const sv_source *base, size_t sample, sv_bytes *room, sv_error *err)
{
    const struct shard_source *source = (const struct shard_source *)base;
    const sv_shard_sample *item = &source->list.items[sample];
    struct shard *shard = &source->shards[shard_of(source, sample)];
    sv_file opened = { 0 };
    const sv_file *file = shard->file.path ? &shard->file : &opened;
    room->count = 0;
    if (item->bytes > SV_PICTURE_FILE_MAX) return read_failed(base, sample, "has more than the 1 GiB a picture may have", err);
    sv_status status = shard->file.path ? SV_OK : sv_file_open(&opened, shard->path, SV_DATA, err);
    if (!status) ask_ahead(shard, file, item->data_at);
    if (!status) status = sv_bytes_reserve(room, item->bytes, shard->path, err);
    if (!status) status = sv_file_read_at(file, item->data_at, room->data, item->bytes, err);
    if (!status) room->count = item->bytes;
    sv_file_close(&opened);
    return status == SV_DATA ? read_failed(base, sample, NULL, err) : status;
}

/* ---- the order of training ---- */

/* Needs no memory but `order`. The numbers of the shards stand in random order at its end; each is replaced by its samples, written from the
 * front: as no shard is empty, what is written never reaches a number that is still to be read. Then the buffer is order[k .. k + buffer - 1]:
 * its members in any order, of which a random one changes places with order[k] and is sample k. */
static void shards_order(const sv_source *base, sv_random *random, uint64_t *order)
{
    const struct shard_source *source = (const struct shard_source *)base;
    size_t count = base->count, shards = source->shard_count, written = 0;
    uint64_t *numbers = order + (count - shards);
    sv_random_permutation(random, numbers, shards);
    for (size_t i = 0; i < shards; i++) {
        size_t shard = (size_t)numbers[i], end = shard + 1 < shards ? source->shards[shard + 1].first : count;
        for (size_t sample = source->shards[shard].first; sample < end; sample++) order[written++] = sample;
    }
    for (size_t k = 0; k < count; k++) {
        size_t left = count - k, j = k + (size_t)sv_random_below(random, left < source->shuffle_buffer ? left : source->shuffle_buffer);
        uint64_t kept = order[k];
        order[k] = order[j];
        order[j] = kept;
    }
    for (size_t i = 0; i < shards; i++) atomic_store_explicit(&source->shards[i].asked, 0, memory_order_relaxed);
}

/* ---- opening ---- */

static void shards_clear(sv_source *base)
{
    struct shard_source *source = (struct shard_source *)base;
    for (size_t i = 0; i < source->shard_count; i++) {
        sv_file_close(&source->shards[i].file);
        sv_free(source->shards[i].path);
    }
    sv_free(source->shards);
    sv_shard_list_clear(&source->list);
}

/* Takes a shard in; one without a sample is passed over, as a writer's last one may be. */
static sv_status shard_add(struct shard_source *source, const char *name, bool keep_open, sv_error *err)
{
    struct shard *shard = &source->shards[source->shard_count];
    bool used = false;
    *shard = (struct shard){ .first = source->list.count };
    sv_status status = sv_path_join(&shard->path, source->base.root, name, err);
    if (!status) status = sv_shard_index_read(&source->list, shard->path, &used, err);
    if (!status && !used) status = sv_shard_scan(&source->list, shard->path, err);
    bool empty = source->list.count == shard->first;
    if (!status && !empty && keep_open) status = sv_file_open(&shard->file, shard->path, SV_DATA, err);
    if (status || empty)
        sv_free(shard->path);
    else
        source->shard_count++;
    return status;
}

/* Files stay open while they are few beside what the process may open. */
static bool may_keep_open(size_t shards)
{
    struct rlimit limit;
    return !getrlimit(RLIMIT_NOFILE, &limit) && (limit.rlim_cur == RLIM_INFINITY || shards < limit.rlim_cur / 4);
}

static sv_status shards_add(struct shard_source *source, const sv_names *names, sv_error *err)
{
    size_t tars = 0;
    for (size_t i = 0; i < names->count; i++) {
        size_t length = strlen(names->items[i]), ending = strlen(".incomplete");
        tars += is_tar(names->items[i]);
        if (length > ending && !strcmp(names->items[i] + length - ending, ".incomplete"))
            return sv_fail(err, SV_DATA, "%s: its shards are not complete, as %s in it says; run the packing again to its end",
                           source->base.root, names->items[i]);
    }
    if (!tars) return sv_fail(err, SV_DATA, "%s: there is no shard in it; files *.tar were expected", source->base.root);
    sv_status status = sv_alloc_zero(&source->shards, tars * sizeof *source->shards, "data", err);
    for (size_t i = 0; i < names->count && !status; i++)
        if (is_tar(names->items[i])) status = shard_add(source, names->items[i], may_keep_open(tars), err);
    source->base.count = source->list.count;
    if (!status && !source->list.count)
        status = sv_fail(err, SV_DATA, "%s: its %zu shards hold no sample; members NAME.jpg and NAME.cls were expected", source->base.root,
                         tars);
    return status;
}

/* The shards' own class list counts; one given beside it must be the same. */
static sv_status classes_read(sv_source *source, const char *class_file, sv_error *err)
{
    char *own = NULL, safe[128], also[128];
    sv_classes given = { 0 };
    bool has_given = class_file && *class_file;
    sv_status status = sv_path_join(&own, source->root, "classes.txt", err);
    bool has_own = !status && sv_path_is_file(own);
    if (has_own) status = sv_classes_read(&source->classes, own, err);
    if (!status && has_given) status = sv_classes_read(has_own ? &given : &source->classes, class_file, err);
    if (!status && has_own && has_given) {
        const sv_classes *a = &source->classes, *b = &given;
        if (a->count != b->count)
            status = sv_fail(err, SV_DATA, "%s has %zu classes but %s has %zu; the labels of the shards are of the first", own, a->count,
                             class_file, b->count);
        for (size_t i = 0; i < a->count && !status; i++)
            if (strcmp(a->folders[i], b->folders[i]))
                status = sv_fail(err, SV_DATA, "class %zu is '%s' in %s but '%s' in %s; the labels of the shards are of the first", i,
                                 sv_text_safe(safe, sizeof safe, a->folders[i]), own, sv_text_safe(also, sizeof also, b->folders[i]),
                                 class_file);
    }
    sv_classes_clear(&given);
    sv_free(own);
    return status;
}

static sv_status labels_check(struct shard_source *source, sv_error *err)
{
    sv_classes *classes = &source->base.classes;
    char *path = NULL;
    size_t largest = 0;
    for (size_t i = 1; i < source->list.count; i++)
        if (source->list.items[i].label > source->list.items[largest].label) largest = i;
    uint32_t label = source->list.items[largest].label;
    source->base.numbered = !classes->count;
    if (!classes->count) return sv_classes_of_numbers(classes, (size_t)label + 1, err);
    if (label < classes->count) return SV_OK;
    sv_status status = shards_path(&source->base, largest, &path, err);
    if (!status)
        status = sv_fail(err, SV_DATA, "%s: label %u is not a class; the class list has %zu, 0 to %zu", path, label, classes->count,
                         classes->count - 1);
    sv_free(path);
    return status;
}

static sv_status shards_open(sv_source **out, const char *folder, const sv_source_options *options, sv_error *err)
{
    sv_source *source = NULL;
    sv_names names = { 0 };
    sv_status status = sv_source_create(&source, sizeof(struct shard_source), &sv_source_shards, folder, err);
    struct shard_source *shards = (struct shard_source *)source;
    if (!status) shards->shuffle_buffer = options->shuffle_buffer ? options->shuffle_buffer : SHUFFLE_BUFFER;
    if (!status) status = sv_folder_list(folder, SV_DATA, &names, err);
    if (!status) status = shards_add(shards, &names, err);
    if (!status) status = classes_read(source, options->class_file, err);
    if (!status) status = labels_check(shards, err);
    sv_names_clear(&names);
    if (status)
        sv_source_close(source);
    else
        *out = source;
    return status;
}

static bool shards_fit(const char *path, const sv_source_options *options)
{
    sv_names names = { 0 };
    bool found = false;
    (void)options;
    if (sv_folder_list(path, SV_DATA, &names, NULL)) return false;
    for (size_t i = 0; i < names.count && !found; i++) found = is_tar(names.items[i]);
    sv_names_clear(&names);
    return found;
}

const sv_source_kind sv_source_shards = { .name = "shards",
                                          .fits = shards_fit,
                                          .open = shards_open,
                                          .path = shards_path,
                                          .bytes = shards_bytes,
                                          .label = shards_label,
                                          .order = shards_order,
                                          .clear = shards_clear };
