/* What the tests of pictures share: where real data is, SHA-256, and PNG files put together chunk by chunk. */
#ifndef SIEVE_TEST_PICTURES_H
#define SIEVE_TEST_PICTURES_H

#include "formats/pictures.h"
#include "tests/unit/base/test_base.h"

#include <zlib.h>

/* "DATA/name" in a static room of its own for each of two calls in a row. DATA: environment SIEVE_DATA, else ../shared/data. */
static inline const char *data_path(const char *name)
{
    static char rooms[2][1024];
    static unsigned next;
    const char *folder = getenv("SIEVE_DATA");
    char *room = rooms[next++ % 2];
    snprintf(room, sizeof rooms[0], "%s/%s", folder ? folder : "../shared/data", name);
    return room;
}

static inline void skip_without(const char *name)
{
    if (sv_path_exists(data_path(name))) return;
    print_message("skipped: %s is absent\n", data_path(name));
    skip();
}

/* ---- SHA-256 (FIPS 180-4) ---- */

static inline uint32_t sha_turn(uint32_t x, int by) { return x >> by | x << (32 - by); }

static inline void sha_block(uint32_t state[8], const uint8_t *block)
{
    static const uint32_t k[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
        0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
        0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
        0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
        0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
        0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2 };
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] + (sha_turn(w[i - 15], 7) ^ sha_turn(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (sha_turn(w[i - 2], 17) ^ sha_turn(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(v, state, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t one = v[7] + (sha_turn(v[4], 6) ^ sha_turn(v[4], 11) ^ sha_turn(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
        uint32_t two = (sha_turn(v[0], 2) ^ sha_turn(v[0], 13) ^ sha_turn(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += one;
        v[0] = one + two;
    }
    for (int i = 0; i < 8; i++) state[i] += v[i];
}

static inline void sha256_hex(const uint8_t *bytes, size_t count, char hex[65])
{
    uint32_t state[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
    uint8_t last[128] = { 0 };
    size_t whole = count / 64 * 64, rest = count - whole, blocks = rest < 56 ? 1 : 2;
    for (size_t at = 0; at < whole; at += 64) sha_block(state, bytes + at);
    if (rest) memcpy(last, bytes + whole, rest);
    last[rest] = 0x80;
    for (size_t i = 0; i < 8; i++) last[blocks * 64 - 1 - i] = (uint8_t)((uint64_t)count * 8 >> 8 * i);
    for (size_t i = 0; i < blocks; i++) sha_block(state, last + 64 * i);
    for (size_t i = 0; i < 8; i++) snprintf(hex + 8 * i, 9, "%08x", state[i]);
}

/* ---- PNG by hand ---- */

static inline void put_big(sv_text *text, uint32_t value)
{
    unsigned char bytes[4] = { (unsigned char)(value >> 24), (unsigned char)(value >> 16), (unsigned char)(value >> 8), (unsigned char)value };
    sv_text_add_bytes(text, bytes, 4);
}

static inline void put_chunk(sv_text *text, const char *name, const void *body, size_t count)
{
    uLong sum = crc32(0, (const unsigned char *)name, 4);
    put_big(text, (uint32_t)count);
    sv_text_add_bytes(text, name, 4);
    if (count) sv_text_add_bytes(text, body, count);
    if (count) sum = crc32(sum, body, (uInt)count);
    put_big(text, (uint32_t)sum);
}

/* Signature and header. */
static inline void put_png_head(sv_text *text, uint32_t width, uint32_t height, unsigned depth, unsigned colour, unsigned interlace)
{
    sv_text head = { 0 };
    put_big(&head, width);
    put_big(&head, height);
    sv_text_add_bytes(&head, (unsigned char[5]){ (unsigned char)depth, (unsigned char)colour, 0, 0, (unsigned char)interlace }, 5);
    sv_text_add_bytes(text, "\x89PNG\r\n\x1a\n", 8);
    put_chunk(text, "IHDR", head.data, head.length);
    sv_text_clear(&head);
}

static inline void put_png_rows(sv_text *text, const void *rows, size_t count)
{
    unsigned char packed[4096];
    uLongf length = sizeof packed;
    assert_int_equal(compress(packed, &length, rows, (uLong)count), Z_OK);
    put_chunk(text, "IDAT", packed, length);
    put_chunk(text, "IEND", NULL, 0);
}

#endif
