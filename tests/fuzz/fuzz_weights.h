/* What the targets of tensor files share: the bytes become a file, which is refused with code 4 and one sentence that fits
 * its room, or read whole; in bounded memory (4 times the file and 64 MiB), with nothing left behind. What was read is
 * written as safetensors and reads back the same. */
#ifndef SIEVE_FUZZ_WEIGHTS_H
#define SIEVE_FUZZ_WEIGHTS_H

#include "formats/weights.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char fuzz_folder[] = "/tmp/sieve-fuzz-XXXXXX", fuzz_path[sizeof fuzz_folder + 8], fuzz_copy[sizeof fuzz_folder + 8];

static inline void fuzz_remove(void)
{
    unlink(fuzz_path);
    unlink(fuzz_copy);
    rmdir(fuzz_folder);
}

static inline void fuzz_prepare(void)
{
    if (fuzz_path[0]) return;
    if (!mkdtemp(fuzz_folder)) abort();
    snprintf(fuzz_path, sizeof fuzz_path, "%s/a", fuzz_folder);
    snprintf(fuzz_copy, sizeof fuzz_copy, "%s/b", fuzz_folder);
    atexit(fuzz_remove);
}

/* All tensors into one block of bytes, each handed to the writer; false where one is refused. */
static inline bool fuzz_read_all(sv_weights *weights, sv_weights_writer *writer, unsigned char *block, sv_error *err)
{
    for (size_t i = 0; i < sv_weights_count(weights); i++) {
        const sv_weights_entry *entry = sv_weights_at(weights, i);
        sv_weights_digest digest;
        assert(sv_weights_find(weights, entry->name) == entry);
        if (sv_weights_read_bytes(weights, entry, block, err)) return false;
        if (sv_weights_digest_read(weights, entry, &digest, err)) abort();
        sv_status status = sv_weights_writer_add(writer, entry->name, entry->dtype, entry->rank, entry->shape, block, err);
        if (status) assert(strcmp(entry->name, "__metadata__") == 0);
        block += entry->count * sv_dtype_bytes(entry->dtype);
    }
    return true;
}

static inline void fuzz_compare(sv_weights *weights, const unsigned char *block, unsigned char *room)
{
    sv_weights *again = NULL;
    sv_error err = { 0 };
    if (sv_weights_open(&again, fuzz_copy, &err)) abort();
    for (size_t i = 0; i < sv_weights_count(weights); i++) {
        const sv_weights_entry *entry = sv_weights_at(weights, i), *other = sv_weights_find(again, entry->name);
        size_t bytes = entry->count * sv_dtype_bytes(entry->dtype);
        if (other) {
            assert(other->count == entry->count && other->rank == entry->rank && strcmp(other->dtype, entry->dtype) == 0);
            if (sv_weights_read_bytes(again, other, room, &err)) abort();
            assert(memcmp(room, block, bytes) == 0);
        } else
            assert(strcmp(entry->name, "__metadata__") == 0);
        block += bytes;
    }
    sv_weights_close(again);
}

static inline void fuzz_round_trip(sv_weights *weights)
{
    size_t bytes = 1, most = 1;
    sv_error err = { 0 };
    sv_weights_writer *writer = NULL;
    for (size_t i = 0; i < sv_weights_count(weights); i++) {
        const sv_weights_entry *entry = sv_weights_at(weights, i);
        size_t own = entry->count * sv_dtype_bytes(entry->dtype);
        bytes += own;
        if (own > most) most = own;
    }
    unsigned char *block = malloc(bytes), *room = malloc(most);
    if (!block || !room || sv_weights_writer_create(&writer, &err)) abort();
    if (fuzz_read_all(weights, writer, block, &err)) {
        if (sv_weights_write_safetensors(writer, fuzz_copy, SV_WITH_CRC, &err)) abort();
        fuzz_compare(weights, block, room);
    } else
        assert(err.code == SV_MODEL_FILE);
    sv_weights_writer_destroy(writer);
    free(block);
    free(room);
}

static inline void fuzz_weights(const uint8_t *data, size_t size)
{
    sv_error err = { 0 };
    sv_weights *weights = NULL;
    fuzz_prepare();
    FILE *file = fopen(fuzz_path, "wb");
    if (!file || (size && fwrite(data, 1, size, file) != size) || fclose(file)) abort();
    size_t live = sv_memory_now().live, held = sv_memory_now().bytes_now;
    sv_status status = sv_weights_open(&weights, fuzz_path, &err);
    assert(sv_memory_now().bytes_peak <= held + 4 * (4 << 20) + (64 << 20)); /* inputs are 4 MiB at most */
    if (status)
        assert(status == SV_MODEL_FILE && err.code == status && strstr(err.text, fuzz_path) && memchr(err.text, 0, sizeof err.text));
    else
        fuzz_round_trip(weights);
    sv_weights_close(weights);
    assert(sv_memory_now().live == live);
}

#endif
