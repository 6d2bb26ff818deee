/* A picture file by its content: a table of signatures, of which JPEG and PNG have a decoder and the rest a name, so that a
 * refusal can say what the file is. */
#include "formats/pictures.h"

#include <string.h>

typedef sv_status picture_decoder(sv_picture *out, const unsigned char *bytes, size_t count, sv_part_rule *part, void *context, sv_error *err);

static sv_status png_decode(sv_picture *out, const unsigned char *bytes, size_t count, sv_part_rule *part, void *context, sv_error *err)
{
    (void)part, (void)context; /* rows of a PNG build on one another */
    return sv_png_decode(out, bytes, count, err);
}

/* `mark` stands at byte `mark_at`; zero bytes within are part of it. */
struct picture_kind {
    const char *name;
    picture_decoder *decode;
    size_t mark_at, mark_bytes;
    const char *mark;
};

static const struct picture_kind kinds[] = {
    { "JPEG", sv_jpeg_decode_part, 0, 3, "\xff\xd8\xff" },
    { "PNG", png_decode, 0, 8, "\x89PNG\r\n\x1a\n" },
    { "GIF", NULL, 0, 4, "GIF8" },
    { "BMP", NULL, 0, 2, "BM" },
    { "WebP", NULL, 8, 4, "WEBP" },
    { "TIFF", NULL, 0, 4, "II*\0" },
    { "TIFF", NULL, 0, 4, "MM\0*" },
    { "PPM", NULL, 0, 2, "P6" },
    { "PPM", NULL, 0, 2, "P5" },
    { "PPM", NULL, 0, 2, "P4" },
    { "PPM", NULL, 0, 2, "P3" },
    { "PPM", NULL, 0, 2, "P2" },
    { "PPM", NULL, 0, 2, "P1" },
    { "JPEG 2000", NULL, 0, 12, "\0\0\0\x0cjP  \r\n\x87\n" },
    { "JPEG XL", NULL, 0, 12, "\0\0\0\x0cJXL \r\n\x87\n" },
    { "AVIF", NULL, 4, 8, "ftypavif" },
    { "HEIC", NULL, 4, 8, "ftypheic" },
    { "Photoshop", NULL, 0, 4, "8BPS" },
    { "PDF", NULL, 0, 5, "%PDF-" },
    { "Windows icon", NULL, 0, 4, "\0\0\1\0" },
    { "gzip", NULL, 0, 2, "\x1f\x8b" },
    { "HTML", NULL, 0, 9, "<!DOCTYPE" },
    { "HTML", NULL, 0, 5, "<html" },
};

static const struct picture_kind *kind_of(const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < SV_COUNT(kinds); i++) {
        const struct picture_kind *kind = &kinds[i];
        if (count >= kind->mark_at + kind->mark_bytes && !memcmp(bytes + kind->mark_at, kind->mark, kind->mark_bytes)) return kind;
    }
    return NULL;
}

sv_status sv_picture_resize(sv_picture *picture, size_t width, size_t height, sv_error *err)
{
    size_t pixels, bytes;
    if (!width || !height) return sv_fail(err, SV_DATA, "the picture is said to be %zu x %zu pixels; both sides must be at least 1", width, height);
    if (sv_mul_size(&pixels, width, height) || pixels > SV_PICTURE_PIXELS_MAX || sv_mul_size(&bytes, pixels, 3))
        return sv_fail(err, SV_DATA, "the picture is said to be %zu x %zu pixels, more than the %u that are read; scale it down", width, height,
                       SV_PICTURE_PIXELS_MAX);
    if (bytes > picture->capacity) {
        uint8_t *rgb;
        sv_status status = sv_alloc(&rgb, bytes, "pictures", err);
        if (status) return status;
        sv_free(picture->rgb);
        picture->rgb = rgb;
        picture->capacity = bytes;
    }
    picture->width = width;
    picture->height = height;
    return SV_OK;
}

void sv_picture_clear(sv_picture *picture)
{
    sv_free(picture->rgb);
    *picture = (sv_picture){ 0 };
}

/* Text files and pages saved as pictures are common among downloaded ones; their first word says what went wrong. */
static sv_status unknown_kind(const unsigned char *bytes, size_t count, sv_error *err)
{
    char first[24], safe[24];
    size_t length = count < sizeof first - 1 ? count : sizeof first - 1;
    if (!count) return sv_fail(err, SV_DATA, "the file is empty, a JPEG or PNG was expected; remove it or fetch it again");
    memcpy(first, bytes, length);
    first[length] = 0;
    return sv_fail(err, SV_DATA, "this is neither JPEG nor PNG: it begins with '%s'; convert or remove it", sv_text_safe(safe, sizeof safe, first));
}

sv_status sv_picture_decode(sv_picture *out, const void *bytes, size_t count, const char *name, sv_error *err)
{
    return sv_picture_decode_part(out, bytes, count, name, NULL, NULL, err);
}

sv_status sv_picture_decode_part(sv_picture *out, const void *bytes, size_t count, const char *name, sv_part_rule *part, void *context, sv_error *err)
{
    char safe[512];
    sv_status status;
    const struct picture_kind *kind = kind_of(bytes, count);
    if (!kind)
        status = unknown_kind(bytes, count, err);
    else if (!kind->decode)
        status = sv_fail(err, SV_DATA, "the content is %s, but pictures are read from JPEG and PNG alone; convert or remove it", kind->name);
    else
        status = kind->decode(out, bytes, count, part, context, err);
    if (!status) return SV_OK;
    out->width = out->height = 0;
    return sv_fail_within(err, "%s", sv_text_safe(safe, sizeof safe, name));
}

sv_status sv_picture_read(sv_picture *out, const char *path, sv_error *err)
{
    unsigned char *bytes = NULL;
    size_t count = 0;
    out->width = out->height = 0;
    sv_status status = sv_file_read_all(path, SV_PICTURE_FILE_MAX, SV_DATA, &bytes, &count, err);
    if (!status) status = sv_picture_decode(out, bytes, count, path, err);
    sv_free(bytes);
    return status;
}
