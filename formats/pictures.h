/* Pictures: JPEG and PNG files to 8-bit RGB and back. The kind is told by the content, never by the name. Every colour form
 * becomes RGB as Pillow's Image.open(f).convert('RGB') gives it, and what Pillow refuses is refused (docs/decisions-pictures.md
 * names the few differences). Pixels are rows of R, G, B bytes without padding. Nothing here knows of models or transforms. */
#ifndef SIEVE_FORMATS_PICTURES_H
#define SIEVE_FORMATS_PICTURES_H

#include "base/base.h"

/* A picture: rgb[(y * width + x) * 3 + channel]. All zero is empty. `capacity` bytes are held behind rgb, so that a picture
 * decoded into again needs no new memory. Owned by the caller, freed by sv_picture_clear. */
typedef struct sv_picture {
    uint8_t *rgb;
    size_t width, height, capacity;
} sv_picture;

typedef struct sv_box { size_t left, top, width, height; } sv_box;

/* The most pixels a picture may declare: twice 89,478,485, where Pillow raises DecompressionBombError. */
#define SV_PICTURE_PIXELS_MAX 178956970u
/* The most bytes a picture file may have. */
#define SV_PICTURE_FILE_MAX ((size_t)1 << 30)

/* Sets the size and makes room; the pixels are undefined. On failure (SV_DATA: a size that is 0 or above the limit,
 * SV_FAULT: memory) the picture is as before. */
sv_status sv_picture_resize(sv_picture *picture, size_t width, size_t height, sv_error *err) SV_MUST_CHECK;
/* Frees; accepts all zero; leaves it empty. */
void sv_picture_clear(sv_picture *picture);

/* Decodes the first picture in bytes[0..count). `name` stands before each message. SV_DATA: not a JPEG or PNG, broken, cut off,
 * or a bomb; SV_FAULT: memory. After a failure the pixels in *out are undefined and its size is 0 x 0; its memory stays for
 * the next picture. Memory: the pixels, two PNG rows that the file can fill, or what libjpeg holds of the coefficients (2 bytes a
 * sample in a progressive file). Safe from any thread. */
sv_status sv_picture_decode(sv_picture *out, const void *bytes, size_t count, const char *name, sv_error *err) SV_MUST_CHECK;
/* The same where only a part will be looked at: `part` is asked for it once the size is known (called at most twice; the box lies in the picture).
 * Pixels of the part are those of a whole decode, to the byte; others may be left undefined. Verdicts are the same wherever a broken JPEG shows
 * in its marks or its length; coefficients below the part are not decoded. Saves most of the time of rows and columns that are not wanted in a JPEG of three colours. */
typedef sv_box sv_part_rule(void *context, size_t width, size_t height);
sv_status sv_picture_decode_part(sv_picture *out, const void *bytes, size_t count, const char *name, sv_part_rule *part, void *context, sv_error *err) SV_MUST_CHECK;
/* The same for a file; one that cannot be opened or read is SV_DATA too. */
sv_status sv_picture_read(sv_picture *out, const char *path, sv_error *err) SV_MUST_CHECK;

/* The picture as a PNG (8-bit RGB) or JPEG (4:2:0, quality 1..100) file in memory; *bytes is freed with sv_free. */
sv_status sv_png_encode(const sv_picture *picture, unsigned char **bytes, size_t *count, sv_error *err) SV_MUST_CHECK;
sv_status sv_jpeg_encode(const sv_picture *picture, int quality, unsigned char **bytes, size_t *count, sv_error *err) SV_MUST_CHECK;
/* The same into a file that appears whole or not at all. */
sv_status sv_png_write(const char *path, const sv_picture *picture, sv_error *err) SV_MUST_CHECK;
sv_status sv_jpeg_write(const char *path, const sv_picture *picture, int quality, sv_error *err) SV_MUST_CHECK;

/* One kind each, without the name before the message; for sv_picture_decode and the checks. */
sv_status sv_jpeg_decode(sv_picture *out, const unsigned char *bytes, size_t count, sv_error *err) SV_MUST_CHECK;
sv_status sv_jpeg_decode_part(sv_picture *out, const unsigned char *bytes, size_t count, sv_part_rule *part, void *context, sv_error *err) SV_MUST_CHECK;
sv_status sv_png_decode(sv_picture *out, const unsigned char *bytes, size_t count, sv_error *err) SV_MUST_CHECK;

#endif
