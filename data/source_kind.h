/* Inside of sources, for the kinds of them alone: what a kind offers, what every source begins with, and what the kinds whose samples are
 * single files share. A kind is one file and one row in data/source.c. */
#ifndef SIEVE_DATA_SOURCE_KIND_H
#define SIEVE_DATA_SOURCE_KIND_H

#include "data/source.h"

typedef struct sv_source_kind {
    const char *name;                                                 /* in data.format */
    bool (*fits)(const char *path, const sv_source_options *options); /* for data.format = auto: does it look like one of this kind? */
    sv_status (*open)(sv_source **out, const char *path, const sv_source_options *options, sv_error *err);
    sv_status (*path)(const sv_source *source, size_t sample, char **path, sv_error *err);
    sv_status (*bytes)(const sv_source *source, size_t sample, sv_bytes *room, sv_error *err);
    uint32_t (*label)(const sv_source *source, size_t sample);
    void (*order)(const sv_source *source, sv_random *random, uint64_t *order); /* NULL: sv_random_permutation */
    void (*clear)(sv_source *source);                                           /* what the kind added; half-built sources too */
} sv_source_kind;

extern const sv_source_kind sv_source_shards, sv_source_folder, sv_source_flat;

/* The first member of every kind's struct. */
struct sv_source {
    const sv_source_kind *kind;
    char *root;
    sv_classes classes;
    bool numbered; /* the classes have no names of their own */
    size_t count;
};

/* Begins a source of `bytes` bytes, all zero behind its first member; freed by sv_source_close. */
sv_status sv_source_create(sv_source **out, size_t bytes, const sv_source_kind *kind, const char *root, sv_error *err) SV_MUST_CHECK;
/* Room for `count` bytes of the picture `name`; SV_DATA above SV_PICTURE_FILE_MAX. room->count becomes 0. */
sv_status sv_bytes_reserve(sv_bytes *room, uint64_t count, const char *name, sv_error *err) SV_MUST_CHECK;

/* ---- samples that are single files -------------------------------------------------------------------------------- */

/* A sample is 16 bytes, its label and where its path stands in one block of text, so that ImageNet's 1.3 million take about 80 MB. */
typedef struct sv_file_sample {
    uint64_t path_at;
    uint32_t label;
} sv_file_sample;
typedef struct sv_file_source {
    sv_source base;
    sv_file_sample *samples;
    size_t capacity;
    sv_text paths; /* from the root, each with its zero byte */
} sv_file_source;

sv_status sv_file_source_add(sv_file_source *source, const char *path, uint32_t label, sv_error *err) SV_MUST_CHECK;
sv_status sv_file_source_path(const sv_source *source, size_t sample, char **path, sv_error *err) SV_MUST_CHECK;
sv_status sv_file_source_bytes(const sv_source *source, size_t sample, sv_bytes *room, sv_error *err) SV_MUST_CHECK;
uint32_t sv_file_source_label(const sv_source *source, size_t sample);
void sv_file_source_clear(sv_source *source);

#endif
