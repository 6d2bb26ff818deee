/* Runs of bytes of a file, plain or deflated, with or without a CRC-32. A deflated store is inflated whole or not at all:
 * exactly as many bytes as were announced, no more and no fewer. */
#include <string.h>
#include <zlib.h>

#include "formats/weights_inside.h"

enum { CHUNK = 1 << 15 };

static const char *label_of(const sv_store *store) { return store->label ? store->label : "data"; }

static sv_status crc_compare(const sv_weights *weights, const sv_store *store, uint32_t crc, sv_error *err)
{
    char room[96];
    if (crc == store->crc) return SV_OK;
    return sv_fail(err, SV_MODEL_FILE, "%s: '%s' (byte %llu): CRC-32 is %08x, expected %08x: its bytes were changed", weights->file.path,
                   sv_text_safe(room, sizeof room, label_of(store)), (unsigned long long)store->at, crc, store->crc);
}

sv_status sv_store_check(sv_weights *weights, size_t index, sv_error *err)
{
    sv_store *store = &weights->stores[index];
    unsigned char chunk[CHUNK];
    uint32_t crc = 0;
    if (!store->has_crc || store->checked || store->deflated) return SV_OK;
    for (uint64_t done = 0; done < store->packed;) {
        size_t part = store->packed - done < sizeof chunk ? (size_t)(store->packed - done) : sizeof chunk;
        sv_status status = sv_file_read_at(&weights->file, store->at + done, chunk, part, err);
        if (status) return status;
        crc = (uint32_t)crc32(crc, chunk, (uInt)part);
        done += part;
    }
    sv_status status = crc_compare(weights, store, crc, err);
    store->checked = !status;
    return status;
}

/* zlib's memory comes through base/, so that it is counted and can fail on demand. */
static void *zlib_alloc(void *opaque, unsigned count, unsigned bytes)
{
    void *out = NULL;
    size_t whole;
    (void)opaque;
    if (sv_mul_size(&whole, count, bytes) || sv_alloc_zero(&out, whole, "inflate", NULL)) return NULL;
    return out;
}

static void zlib_free(void *opaque, void *memory)
{
    (void)opaque;
    sv_free(memory);
}

static sv_status inflate_wrong(const sv_weights *weights, const sv_store *store, const char *what, sv_error *err)
{
    char room[96];
    return sv_fail(err, SV_MODEL_FILE, "%s: '%s' (byte %llu): %s", weights->file.path, sv_text_safe(room, sizeof room, label_of(store)),
                   (unsigned long long)store->at, what);
}

/* Feeds the store to an open stream; *left counts what of `out` is still empty. */
static sv_status inflate_all(const sv_weights *weights, const sv_store *store, z_stream *stream, size_t *left, sv_error *err)
{
    unsigned char chunk[CHUNK], beyond;
    uint64_t done = 0;
    int result = Z_OK;
    while (result != Z_STREAM_END) {
        if (stream->avail_in == 0 && done < store->packed) {
            size_t part = store->packed - done < sizeof chunk ? (size_t)(store->packed - done) : sizeof chunk;
            sv_status status = sv_file_read_at(&weights->file, store->at + done, chunk, part, err);
            if (status) return status;
            stream->next_in = chunk;
            stream->avail_in = (uInt)part;
            done += part;
        }
        bool full = *left == 0;
        uInt room = full ? 1 : *left < 1U << 30 ? (uInt)*left : 1U << 30;
        if (full) stream->next_out = &beyond;
        stream->avail_out = room;
        result = inflate(stream, Z_NO_FLUSH);
        if (full && stream->avail_out == 0) return inflate_wrong(weights, store, "it inflates to more than its size says", err);
        if (!full) *left -= room - stream->avail_out;
        if (result == Z_MEM_ERROR) return sv_fail(err, SV_FAULT, "%s: no memory to inflate", weights->file.path);
        if (result != Z_OK && result != Z_STREAM_END)
            return inflate_wrong(weights, store, "it is said to be deflated, but does not inflate", err);
    }
    if (*left != 0) return inflate_wrong(weights, store, "it inflates to less than its size says", err);
    if (done != store->packed || stream->avail_in != 0)
        return inflate_wrong(weights, store, "bytes stand behind the end of its deflated data", err);
    return SV_OK;
}

static sv_status inflate_store(const sv_weights *weights, const sv_store *store, unsigned char *out, sv_error *err)
{
    z_stream stream = { .zalloc = zlib_alloc, .zfree = zlib_free, .next_out = out };
    size_t left = store->bytes;
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return sv_fail(err, SV_FAULT, "%s: no memory to inflate", weights->file.path);
    sv_status status = inflate_all(weights, store, &stream, &left, err);
    inflateEnd(&stream);
    return status;
}

sv_status sv_store_load(sv_weights *weights, size_t index, void *out, sv_error *err)
{
    sv_store *store = &weights->stores[index];
    unsigned char *bytes = out;
    uint32_t crc = 0;
    sv_status status =
        store->deflated ? inflate_store(weights, store, bytes, err) : sv_file_read_at(&weights->file, store->at, bytes, store->bytes, err);
    if (status || !store->has_crc) return status;
    for (size_t done = 0; done < store->bytes;) {
        size_t part = store->bytes - done < 1U << 30 ? store->bytes - done : 1U << 30;
        crc = (uint32_t)crc32(crc, bytes + done, (uInt)part);
        done += part;
    }
    status = crc_compare(weights, store, crc, err);
    store->checked = !status;
    return status;
}
