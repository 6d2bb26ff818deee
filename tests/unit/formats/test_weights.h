/* What the tests of tensor files share: files put together byte by byte, a zip among them, and reading all of a file. */
#ifndef SIEVE_TEST_WEIGHTS_H
#define SIEVE_TEST_WEIGHTS_H

#include "formats/weights.h"
#include "tests/unit/base/test_base.h"

#include <zlib.h>

static inline void write_bytes(const char *path, const void *bytes, size_t count)
{
    sv_error err = { 0 };
    assert_ok(sv_file_write_atomic(path, bytes, count, &err), err);
}

static inline void put_number(sv_text *text, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) sv_text_add_bytes(text, &(unsigned char){ (unsigned char)(value >> 8 * i) }, 1);
}

/* Opens, reads every tensor, closes. */
static inline sv_status read_whole(const char *path, sv_error *err)
{
    sv_weights *weights = NULL;
    sv_status status = sv_weights_open(&weights, path, err);
    for (size_t i = 0; !status && i < sv_weights_count(weights); i++) {
        sv_weights_digest digest;
        status = sv_weights_digest_read(weights, sv_weights_at(weights, i), &digest, err);
    }
    sv_weights_close(weights);
    return status;
}

/* Refused with exit code 4, and the sentence holds the path and `part`. */
static inline void assert_refused(const char *path, const char *part)
{
    sv_error err = { 0 };
    sv_status status = read_whole(path, &err);
    if (status != SV_MODEL_FILE || !strstr(err.text, path) || !strstr(err.text, part))
        fail_msg("expected a refusal that says '%s', got %d '%s'", part, (int)status, err.text);
}

/* A safetensors file of a header and data. */
static inline void write_safetensors(const char *path, const char *header, const void *data, size_t bytes)
{
    sv_text text = { 0 };
    sv_error err = { 0 };
    put_number(&text, strlen(header), 8);
    sv_text_add_bytes(&text, header, strlen(header));
    sv_text_add_bytes(&text, data, bytes);
    assert_ok(sv_text_check(&text, &err), err);
    write_bytes(path, text.data, text.length);
    sv_text_clear(&text);
}

typedef struct zip_part {
    const char *name;
    const void *bytes;
    size_t count;
    bool deflated;
} zip_part;

static inline void put_zip_common(sv_text *text, const zip_part *part, size_t packed)
{
    put_number(text, 20, 4);
    put_number(text, part->deflated ? 8 : 0, 2);
    put_number(text, 33 << 16, 4);
    put_number(text, crc32(0, part->bytes, (uInt)part->count), 4);
    put_number(text, packed, 4);
    put_number(text, part->count, 4);
    put_number(text, strlen(part->name), 2);
    put_number(text, 0, 2);
}

static inline size_t deflate_raw(const void *bytes, size_t count, unsigned char *out, size_t room)
{
    z_stream stream = { .next_in = (unsigned char *)(uintptr_t)bytes, .avail_in = (uInt)count, .next_out = out, .avail_out = (uInt)room };
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    return room - stream.avail_out;
}

static inline void write_zip(const char *path, const zip_part *parts, size_t count)
{
    sv_text text = { 0 }, directory = { 0 };
    sv_error err = { 0 };
    for (size_t i = 0; i < count; i++) {
        size_t at = text.length, room = parts[i].count + 1000, packed = parts[i].count;
        unsigned char *shrunk = malloc(room);
        assert_non_null(shrunk);
        if (parts[i].deflated) packed = deflate_raw(parts[i].bytes, parts[i].count, shrunk, room);
        put_number(&text, 0x04034B50, 4);
        put_zip_common(&text, &parts[i], packed);
        sv_text_add(&text, "%s", parts[i].name);
        sv_text_add_bytes(&text, parts[i].deflated ? shrunk : parts[i].bytes, packed);
        free(shrunk);
        put_number(&directory, 0x02014B50, 4);
        put_number(&directory, 20, 2);
        put_zip_common(&directory, &parts[i], packed);
        put_number(&directory, 0, 8);
        put_number(&directory, 0, 2);
        put_number(&directory, at, 4);
        sv_text_add(&directory, "%s", parts[i].name);
    }
    size_t at = text.length;
    sv_text_add_bytes(&text, directory.data, directory.length);
    put_number(&text, 0x06054B50, 8);
    put_number(&text, count, 2);
    put_number(&text, count, 2);
    put_number(&text, directory.length, 4);
    put_number(&text, at, 4);
    put_number(&text, 0, 2);
    assert_ok(sv_text_check(&text, &err), err);
    write_bytes(path, text.data, text.length);
    sv_text_clear(&text);
    sv_text_clear(&directory);
}

/* Fails call 1, 2, 3 ... of a kind, once alone and once with all after it, until a run survives. After each: a documented
 * code, one sentence, nothing left behind. */
static inline void each_fault(sv_fault_kind kind, sv_status (*run)(sv_error *err), void (*after)(void))
{
    for (int forever = 0; forever < 2; forever++) {
        sv_status status = SV_FAULT;
        for (uint64_t at = 1; status; at++) {
            sv_error err = { 0 };
            size_t live = sv_memory_now().live, descriptors = open_descriptors();
            sv_fault_set(kind, at, forever);
            status = run(&err);
            bool reached = sv_fault_calls(kind) >= at;
            sv_fault_set(kind, 0, false);
            if (status && !reached) fail_msg("call %d: refused without a fault: %s", (int)at, err.text);
            if (status) assert_true(err.code == status && err.text[0]);
            assert_int_equal(sv_memory_now().live, live);
            assert_int_equal(open_descriptors(), descriptors);
            if (status && after) after();
            if (at > 5000) fail_msg("no end of faults");
        }
    }
}

/* Every cut of the file is refused; every byte changed is refused or read, and nothing worse. */
static inline void each_damage(const char *good, const char *damaged)
{
    unsigned char *bytes = NULL;
    size_t count = 0, live = sv_memory_now().live;
    sv_error err = { 0 };
    assert_ok(sv_file_read_all(good, 1 << 20, SV_DATA, &bytes, &count, &err), err);
    for (size_t cut = 0; cut < count; cut++) {
        FILE *file = fopen(damaged, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(bytes, 1, cut, file), cut);
        assert_int_equal(fclose(file), 0);
        assert_int_equal(read_whole(damaged, &err), SV_MODEL_FILE);
    }
    for (size_t at = 0; at < count; at++) {
        static const unsigned char flips[] = { 0x01, 0x80, 0xff };
        for (size_t i = 0; i < sizeof flips; i++) {
            FILE *file = fopen(damaged, "wb");
            assert_non_null(file);
            bytes[at] ^= flips[i];
            assert_int_equal(fwrite(bytes, 1, count, file), count);
            assert_int_equal(fclose(file), 0);
            bytes[at] ^= flips[i];
            sv_status status = read_whole(damaged, &err);
            assert_true(status == SV_OK || status == SV_MODEL_FILE);
        }
    }
    sv_free(bytes);
    assert_int_equal(sv_memory_now().live, live);
}

/* What reading the file took at most, beside what was held before. */
static inline size_t peak_of_reading(const char *path)
{
    sv_error err = { 0 };
    size_t before = sv_memory_now().bytes_peak;
    (void)!read_whole(path, &err);
    size_t after = sv_memory_now().bytes_peak;
    return after > before ? after : 0;
}

#endif
