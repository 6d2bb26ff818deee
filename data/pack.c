/* Packing. A sample is two members, KEY.jpg (or .png, by its content) and KEY.cls; KEY is its number in the set and what of its file's name
 * every file system knows: 00000123-n01440764_10026. */
#include "data/pack.h"
#include "data/shards.h"
#include "formats/tar.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { STEM_BYTES = 64, NAME_BYTES = 64 };

struct pack {
    const sv_pack_options *options;
    sv_source *source;
    uint64_t *order;
    sv_bytes picture;
    sv_atomic_file file; /* the shard being written */
    char *path;          /* its path; NULL between shards */
    sv_shard_list list;  /* what it holds */
    uint64_t at;         /* bytes of it so far */
    sv_pack_result result;
};

static sv_status shard_path(const struct pack *pack, size_t number, char **path, sv_error *err)
{
    char name[NAME_BYTES + 32];
    snprintf(name, sizeof name, "%s-%06zu.tar", pack->options->name, number);
    return sv_path_join(path, pack->options->to, name, err);
}

static sv_status shard_begin(struct pack *pack, sv_error *err)
{
    sv_status status = shard_path(pack, pack->result.shards, &pack->path, err);
    if (!status) status = sv_atomic_open(&pack->file, pack->path, err);
    pack->list.count = pack->list.names.length = 0;
    pack->at = 0;
    return status;
}

/* The index of a shard that stood here before must not outlive it: it goes first. */
static sv_status shard_end(struct pack *pack, sv_error *err)
{
    char *index = NULL;
    uint64_t bytes = pack->at + 2 * SV_TAR_BLOCK;
    sv_status status = sv_tar_write_end(&pack->file, err);
    if (!status) status = sv_shard_index_path(&index, pack->path, err);
    if (!status && unlink(index) && errno != ENOENT) status = sv_fail(err, SV_FAULT, "%s: cannot be removed: %m", index);
    if (!status) status = sv_atomic_commit(&pack->file, err);
    if (!status) status = sv_shard_index_write(&pack->list, pack->path, bytes, err);
    if (!status) {
        pack->result.shards++;
        pack->result.bytes += bytes;
    }
    sv_free(index);
    sv_free(pack->path);
    pack->path = NULL;
    return status;
}

/* The last part of the path up to its dot, as far as it is of plain letters; room: STEM_BYTES + 1. */
static void stem_of(const char *path, char *room)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    size_t length = dot ? (size_t)(dot - name) : strlen(name), i;
    for (i = 0; i < length && i < STEM_BYTES; i++)
        room[i] = isascii((unsigned char)name[i]) && isalnum((unsigned char)name[i]) ? name[i] : name[i] == '-' ? '-' : '_';
    room[i] = 0;
}

/* What is neither is packed all the same, so that the shards hold the samples of the folder, the unreadable ones too. */
static const char *ending_of(const sv_bytes *picture)
{
    return picture->count >= 4 && !memcmp(picture->data, "\x89PNG", 4) ? "png" : "jpg";
}

static sv_status sample_write(struct pack *pack, size_t number, size_t sample, sv_error *err)
{
    char stem[STEM_BYTES + 1], member[STEM_BYTES + 32], text[16], *path = NULL;
    uint64_t data_at = 0;
    uint32_t label = sv_source_label(pack->source, sample);
    sv_status status = sv_source_path(pack->source, sample, &path, err);
    if (status) return status;
    stem_of(path, stem);
    snprintf(member, sizeof member, "%08zu-%s.%s", number, stem, ending_of(&pack->picture));
    status = sv_tar_write(&pack->file, member, pack->picture.data, pack->picture.count, &data_at, err);
    if (!status) status = sv_shard_list_add(&pack->list, member, data_at, pack->picture.count, label, err);
    snprintf(member, sizeof member, "%08zu-%s.cls", number, stem);
    snprintf(text, sizeof text, "%u", label);
    if (!status) status = sv_tar_write(&pack->file, member, text, strlen(text), NULL, err);
    pack->at += sv_tar_member_bytes(pack->picture.count) + sv_tar_member_bytes(strlen(text));
    sv_free(path);
    return status;
}

static void progress_show(const struct pack *pack, size_t done, double began)
{
    char left[32];
    double seconds = sv_now_seconds() - began, all = (double)sv_source_count(pack->source);
    sv_progress("packed %zu of %zu pictures, %zu shards, %s left", done, sv_source_count(pack->source), pack->result.shards,
                sv_duration(left, done ? seconds / (double)done * (all - (double)done) : 0));
}

static sv_status samples_write(struct pack *pack, sv_error *err)
{
    sv_status status = SV_OK;
    size_t count = sv_source_count(pack->source);
    double began = sv_now_seconds(), shown = began;
    for (size_t i = 0; i < count && !status; i++) {
        status = sv_source_bytes(pack->source, pack->order[i], &pack->picture, err);
        uint64_t more = sv_tar_member_bytes(pack->picture.count) + 2 * SV_TAR_BLOCK; /* its label's fits a block */
        if (!status && pack->path && pack->at + more + 2 * SV_TAR_BLOCK > pack->options->shard_bytes) status = shard_end(pack, err);
        if (!status && !pack->path) status = shard_begin(pack, err);
        if (!status) status = sample_write(pack, i, pack->order[i], err);
        if (!status && sv_interrupted())
            status = sv_fail(err, SV_INTERRUPTED,
                             "interrupted after %zu of %zu pictures; the shards are not complete, the same command writes them anew", i + 1,
                             count);
        if (sv_now_seconds() - shown < 0.2) continue;
        shown = sv_now_seconds();
        progress_show(pack, i + 1, began);
    }
    if (!status && pack->path) status = shard_end(pack, err);
    sv_progress_end();
    return status;
}

static sv_status classes_write(const struct pack *pack, sv_error *err)
{
    const sv_classes *classes = sv_source_classes(pack->source);
    sv_text text = { 0 };
    char *path = NULL;
    for (size_t i = 0; i < classes->count; i++) {
        if (strchr(classes->folders[i], '\n') || strchr(classes->folders[i], '\t')) {
            sv_text_clear(&text);
            return sv_fail(err, SV_DATA, "the name of class folder %zu holds a TAB or a line end, which a class list cannot; rename it", i);
        }
        sv_text_add(&text, "%s\t%s\n", classes->folders[i], classes->names[i]);
    }
    sv_status status = sv_text_check(&text, err);
    if (!status) status = sv_path_join(&path, pack->options->to, "classes.txt", err);
    if (!status) status = sv_file_write_atomic(path, text.data, text.length, err);
    sv_text_clear(&text);
    sv_free(path);
    return status;
}

/* A shard of this name, NAME-NNNNNN.tar. */
static bool is_own(const char *file, const char *name)
{
    size_t length = strlen(name);
    return !strncmp(file, name, length) && file[length] == '-' && strspn(file + length + 1, "0123456789") == 6
           && !strcmp(file + length + 7, ".tar");
}

/* Shards that are there already must be left by a run of the same name that did not end. */
static sv_status folder_check(const struct pack *pack, const char *marker, sv_error *err)
{
    sv_names names = { 0 };
    const char *to = pack->options->to, *name = pack->options->name;
    bool again = sv_path_is_file(marker);
    sv_status status = sv_folder_list(to, SV_DATA, &names, err);
    for (size_t i = 0; i < names.count && !status; i++) {
        size_t length = strlen(names.items[i]);
        bool is_tar = length > 4 && !strcmp(names.items[i] + length - 4, ".tar");
        if (is_tar && !(again && is_own(names.items[i], name)))
            status = sv_fail(err, SV_DATA, "%s: it holds %s already, and all shards of a folder are one set; give a folder of its own", to,
                             names.items[i]);
    }
    sv_names_clear(&names);
    return status;
}

/* What a run that did not end left beyond the last shard of this one. */
static sv_status rest_remove(const struct pack *pack, sv_error *err)
{
    sv_status status = SV_OK;
    for (size_t i = pack->result.shards; !status; i++) {
        char *path = NULL, *index = NULL;
        status = shard_path(pack, i, &path, err);
        bool there = !status && sv_path_is_file(path);
        if (there) status = sv_shard_index_path(&index, path, err);
        if (there && !status && ((unlink(index) && errno != ENOENT) || unlink(path)))
            status = sv_fail(err, SV_FAULT, "%s: cannot be removed: %m", path);
        sv_free(index);
        sv_free(path);
        if (!there) break;
    }
    return status;
}

static sv_status options_check(const sv_pack_options *options, sv_error *err)
{
    size_t length = strlen(options->name);
    for (size_t i = 0; i < length; i++)
        if (!isascii((unsigned char)options->name[i]) || (!isalnum((unsigned char)options->name[i]) && !strchr("_-", options->name[i])))
            length = 0;
    if (length && length <= NAME_BYTES) return SV_OK;
    return sv_fail(err, SV_USAGE, "the shards cannot have '%s' for a name; 1 to %d letters, digits, '_' and '-' were expected",
                   options->name, NAME_BYTES);
}

static sv_status all_write(struct pack *pack, const char *marker, sv_error *err)
{
    static const char note[] = "Shards are being written here, or were until the program was stopped; they are not complete.\n";
    sv_random random = sv_random_at(pack->options->seed, SV_FOR_SHUFFLE, 0, 0, 0);
    size_t count = sv_source_count(pack->source);
    sv_status status = sv_alloc(&pack->order, count * sizeof *pack->order, "data", err);
    if (!status) status = sv_file_write_atomic(marker, note, sizeof note - 1, err);
    if (status) return status;
    sv_random_permutation(&random, pack->order, count);
    status = samples_write(pack, err);
    if (!status) status = rest_remove(pack, err);
    if (!status && !sv_source_numbered(pack->source)) status = classes_write(pack, err);
    if (!status && unlink(marker)) status = sv_fail(err, SV_FAULT, "%s: cannot be removed: %m", marker);
    return status;
}

sv_status sv_pack(const sv_pack_options *options, sv_pack_result *result, sv_error *err)
{
    struct pack pack = { .options = options };
    char name[NAME_BYTES + 32], *marker = NULL;
    sv_status status = options_check(options, err);
    snprintf(name, sizeof name, "%s.incomplete", options->name);
    if (!status) status = sv_source_open(&pack.source, options->from, &options->source, err);
    if (!status) status = sv_folder_create(options->to, err);
    if (!status) status = sv_path_join(&marker, options->to, name, err);
    if (!status) status = folder_check(&pack, marker, err);
    if (!status) status = all_write(&pack, marker, err);
    if (!status) {
        pack.result.samples = sv_source_count(pack.source);
        pack.result.classes = sv_source_classes(pack.source)->count;
        *result = pack.result;
    }
    sv_atomic_abandon(&pack.file);
    sv_shard_list_clear(&pack.list);
    sv_bytes_clear(&pack.picture);
    sv_free(pack.path);
    sv_free(pack.order);
    sv_free(marker);
    sv_source_close(pack.source);
    return status;
}
