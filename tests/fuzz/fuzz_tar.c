/* A file of any bytes that claims to be a tar: its members end, each lies within the file and has a name; as a shard it is refused with
 * SV_DATA and one sentence, or every sample can be read; in bounded memory (4 times the file and 64 MiB), with nothing left behind. An input
 * with the mark "\nINDEX\n" is parted there: what follows becomes the index beside the tar. */
#include "data/shards.h"
#include "formats/tar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[] = "/tmp/sieve-fuzz-XXXXXX", tar_path[64], index_path[64];
static const char mark[] = "\nINDEX\n";

static void must(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "fuzz_tar: %s\n", what);
    abort();
}

static void quiet(void *context, sv_level level, const char *line)
{
    (void)context;
    (void)level;
    (void)line;
}

static void clean(void)
{
    unlink(tar_path);
    unlink(index_path);
    rmdir(folder);
}

static void prepare(void)
{
    if (tar_path[0]) return;
    must(mkdtemp(folder), "no folder for the inputs");
    snprintf(tar_path, sizeof tar_path, "%s/a.tar", folder);
    snprintf(index_path, sizeof index_path, "%s/a.tar.index", folder);
    sv_log_set(quiet, NULL, SV_QUIET);
    atexit(clean);
}

static void put(const char *path, const void *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");
    must(file && fwrite(bytes, 1, count, file) == count && !fclose(file), "cannot write the input");
}

static void must_say(sv_status status, const sv_error *err)
{
    must(status == SV_DATA && err->text[0] && !strchr(err->text, '\n'), "refused with another code or without a sentence");
}

static void walk(size_t size)
{
    sv_tar tar;
    sv_tar_member member;
    sv_error err = { 0 };
    bool there = true;
    uint64_t before = 0;
    must(!sv_tar_open(&tar, tar_path, SV_DATA, &err), "the file cannot be opened");
    while (there) {
        sv_status status = sv_tar_next(&tar, &member, &there, &err);
        if (status) must_say(status, &err);
        if (status || !there) break;
        must(member.data_at > before && member.data_at <= size && member.bytes <= size - member.data_at,
             "a member lies outside of the file");
        must(member.name[0] && strlen(member.name) <= SV_TAR_NAME_MAX, "a member has no name, or too long a one");
        before = member.data_at;
    }
    sv_tar_close(&tar);
}

static void list_check(const sv_shard_list *list, size_t size)
{
    for (size_t i = 0; i < list->count; i++) {
        const sv_shard_sample *sample = &list->items[i];
        must(sample->data_at <= size && sample->bytes <= size - sample->data_at, "a sample lies outside of the file");
        must(sample->name_at < list->names.length && list->names.data[sample->name_at], "a sample has no name");
        must(sample->label < SV_CLASSES_MAX, "a label is too large");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sv_shard_list list = { 0 };
    sv_error err = { 0 };
    bool used;
    if (size > 4 << 20) return 0;
    prepare();
    const uint8_t *index = size ? memmem(data, size, mark, sizeof mark - 1) : NULL;
    size_t tar_bytes = index ? (size_t)(index - data) : size;
    sv_memory before = sv_memory_now();
    put(tar_path, data, tar_bytes);
    walk(tar_bytes);
    sv_status status = sv_shard_scan(&list, tar_path, &err);
    if (status) must_say(status, &err);
    list_check(&list, tar_bytes);
    sv_shard_list_clear(&list);
    if (index) {
        put(index_path, index + sizeof mark - 1, size - tar_bytes - (sizeof mark - 1));
        status = sv_shard_index_read(&list, tar_path, &used, &err);
        must(!status && (used || (!list.count && !list.names.length)), "an index fails, or leaves half of itself");
        list_check(&list, tar_bytes);
        sv_shard_list_clear(&list);
        unlink(index_path);
    }
    must(sv_memory_now().live == before.live, "memory stays behind");
    must(sv_memory_now().bytes_peak <= before.bytes_now + 4 * ((size_t)4 << 20) + ((size_t)64 << 20), "more memory than the file can mean");
    return 0;
}
