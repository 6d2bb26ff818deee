/* Pictures: any bytes decode or are refused with one sentence, and nothing stays behind; what decodes, written as PNG, decodes to the same
 * pixels. Inputs that declare more than 2^21 pixels are left to the unit tests: they are slow, not interesting. */
#include "formats/pictures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what, const sv_error *err)
{
    if (holds) return;
    fprintf(stderr, "fuzz_picture: %s: '%s'\n", what, err->text);
    abort();
}

static bool is_large(uint64_t width, uint64_t height)
{
    return width * height > 1 << 21;
}

/* Any place that could be a frame header counts: a large picture must not slip through. */
static bool declares_much(const uint8_t *data, size_t size)
{
    for (size_t at = 0; at + 13 < size; at++) {
        const uint8_t *d = data + at;
        if (!memcmp(d, "IHDR", 4) && is_large((uint32_t)d[4] << 24 | d[5] << 16 | d[6] << 8 | d[7], (uint32_t)d[8] << 24 | d[9] << 16 | d[10] << 8 | d[11])) return true;
        if (d[0] == 0xFF && (d[1] & 0xF0) == 0xC0 && is_large((uint64_t)d[7] << 8 | d[8], (uint64_t)d[5] << 8 | d[6])) return true;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sv_picture picture = { 0 }, again = { 0 };
    sv_error err = { 0 };
    unsigned char *bytes = NULL;
    size_t count = 0, live = sv_memory_now().live;
    if (declares_much(data, size)) return 0;
    sv_status status = sv_picture_decode(&picture, data, size, "fuzz", &err);
    must(!status || status == SV_DATA, "refused with another code", &err);
    if (status) {
        must(!strncmp(err.text, "fuzz: ", 6) && !strchr(err.text, '\n'), "not one sentence", &err);
    } else {
        must(!sv_png_encode(&picture, &bytes, &count, &err), "cannot be written", &err);
        must(!sv_picture_decode(&again, bytes, count, "again", &err), "cannot be read again", &err);
        must(again.width == picture.width && again.height == picture.height, "another size", &err);
        must(!memcmp(again.rgb, picture.rgb, again.width * again.height * 3), "other pixels", &err);
    }
    sv_free(bytes);
    sv_picture_clear(&picture);
    sv_picture_clear(&again);
    must(sv_memory_now().live == live, "memory stays behind", &err);
    return 0;
}
