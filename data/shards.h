/* Inside of tar shards, for the kind that reads them and the packing that writes them: what a shard's samples are, and the index file beside
 * it. A shard of one picture and one label a sample, as WebDataset's; docs/data.md names the forms field by field. */
#ifndef SIEVE_DATA_SHARDS_H
#define SIEVE_DATA_SHARDS_H

#include "data/source.h"

/* 24 bytes and the picture's name. */
typedef struct sv_shard_sample {
    uint64_t data_at; /* of the picture's bytes in the tar */
    uint64_t name_at; /* of the member's name in the list's names */
    uint32_t bytes;   /* UINT32_MAX: more than can be read */
    uint32_t label;
} sv_shard_sample;

/* Samples of one shard or of many, in order. All zero is empty. */
typedef struct sv_shard_list {
    sv_shard_sample *items;
    size_t count, capacity;
    sv_text names; /* each with its zero byte */
} sv_shard_list;

void sv_shard_list_clear(sv_shard_list *list);
sv_status sv_shard_list_add(sv_shard_list *list, const char *name, uint64_t data_at, uint64_t bytes, uint32_t label,
                            sv_error *err) SV_MUST_CHECK;

/* Adds the samples of a tar file by its headers and labels; no picture is read. SV_DATA naming shard and member: a broken tar, a picture
 * without a label or the other way round, two of either, a label that is no number from 0 to SV_CLASSES_MAX - 1. On failure the list may
 * have grown. */
sv_status sv_shard_scan(sv_shard_list *list, const char *tar_path, sv_error *err) SV_MUST_CHECK;

/* "NAME.tar.index", owned by the caller. */
sv_status sv_shard_index_path(char **out, const char *tar_path, sv_error *err) SV_MUST_CHECK;
/* Adds the samples as the index beside the tar names them. *used = false, and the list is as before, where there is none or it does not fit
 * the tar: another size, places outside of it, another form; then (but where there is none) a warning says so. SV_FAULT: memory. */
sv_status sv_shard_index_read(sv_shard_list *list, const char *tar_path, bool *used, sv_error *err) SV_MUST_CHECK;
/* Writes the index of a tar of tar_bytes bytes that holds exactly these samples. */
sv_status sv_shard_index_write(const sv_shard_list *list, const char *tar_path, uint64_t tar_bytes, sv_error *err) SV_MUST_CHECK;

#endif
