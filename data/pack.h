/* Packing pictures into tar shards that sv_source_open reads again: the same pictures and labels, in a random order, in few large files. */
#ifndef SIEVE_DATA_PACK_H
#define SIEVE_DATA_PACK_H

#include "data/source.h"

typedef struct sv_pack_options {
    const char *from; /* any source; how it is opened is in `source` */
    sv_source_options source;
    const char *to;       /* a folder; it may hold no other shards */
    const char *name;     /* shards are NAME-000000.tar ...; letters, digits, '_' and '-' */
    uint64_t shard_bytes; /* the most bytes of a shard of more than one picture */
    uint64_t seed;
} sv_pack_options;

typedef struct sv_pack_result {
    size_t samples, classes, shards;
    uint64_t bytes;
} sv_pack_result;

/* Writes the shards, NAME-NNNNNN.tar.index beside each, and classes.txt where the classes have names. The same source, options and seed give
 * the same bytes. Each file appears whole or not at all; NAME.incomplete stands in the folder until the last one has, so that a killed run is
 * not taken for a whole set; the same call goes over it again. Shows progress. SV_DATA: the source, or a picture of it, cannot be read; the
 * folder holds shards already; SV_USAGE: a name that cannot be; SV_FAULT: writing; SV_INTERRUPTED. */
sv_status sv_pack(const sv_pack_options *options, sv_pack_result *result, sv_error *err) SV_MUST_CHECK;

#endif
