/* PNG to RGB. This file walks the chunks and gives Pillow's verdict on them; formats/png_rows.c makes the pixels. The walk is our own,
 * not libpng's, because the verdicts are part of the contract: Pillow accepts a wrong check sum of IDAT and an unknown critical chunk, and
 * refuses a broken text chunk before the rows (docs/decisions-pictures.md has the list and what each choice rests on).
 * Every length is compared with what is left of the file before it is used; nothing is allocated by a number from the file alone. */
#include "formats/png_rows.h"

#include <string.h>

enum { TEXT_MAX = 1 << 20, TEXTS_MAX = 64 << 20, PIECE = 65536, NO_SEQUENCE = -1 };

struct png_chunk {
    char name[5];
    const unsigned char *body;
    size_t length, after; /* after: place of the check sum in the file */
};

struct png_reader {
    const unsigned char *bytes;
    size_t count, at;
    uint32_t width, height;
    unsigned depth, colour;
    bool known_form, interlaced, animated, several;
    uint8_t palette[768];
    size_t palette_bytes, texts;
    int64_t sequence;
    uint32_t frame[4]; /* left, top, width, height of an animation's first frame; width 0: none */
};

typedef sv_status chunk_work(struct png_reader *png, const struct png_chunk *chunk, sv_error *err);

static uint32_t number(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static sv_status broken(const struct png_chunk *chunk, const char *why, sv_error *err)
{
    return sv_fail(err, SV_DATA, "broken PNG: chunk %s %s; fetch the file again or convert it", chunk->name, why);
}

static bool form_is_allowed(unsigned depth, unsigned colour)
{
    bool small = depth == 1 || depth == 2 || depth == 4, eight = depth == 8, sixteen = depth == 16;
    switch (colour) {
    case PNG_GREY: return small || eight || sixteen;
    case PNG_PALETTE: return small || eight;
    case PNG_RGB: case PNG_GREY_ALPHA: case PNG_RGB_ALPHA: return eight || sixteen;
    default: return false;
    }
}

static sv_status take_header(struct png_reader *png, const struct png_chunk *chunk, sv_error *err)
{
    const unsigned char *body = chunk->body;
    png->width = number(body);
    png->height = number(body + 4);
    if (form_is_allowed(body[8], body[9])) {
        png->depth = body[8];
        png->colour = body[9];
        png->known_form = true;
    }
    if (body[12]) png->interlaced = true;
    return body[11] ? broken(chunk, "names a filter method that does not exist", err) : SV_OK;
}

static sv_status take_palette(struct png_reader *png, const struct png_chunk *chunk, sv_error *err)
{
    (void)err;
    if (!png->known_form || png->colour != PNG_PALETTE) return SV_OK;
    memset(png->palette, 0, sizeof png->palette);
    png->palette_bytes = chunk->length;
    memcpy(png->palette, chunk->body, chunk->length < sizeof png->palette ? chunk->length / 3 * 3 : sizeof png->palette);
    return SV_OK;
}

static sv_status take_transparency(struct png_reader *png, const struct png_chunk *chunk, sv_error *err)
{
    size_t least = png->colour == PNG_RGB ? 6 : 2;
    bool counts = png->known_form && (png->colour == PNG_RGB || png->colour == PNG_GREY);
    return counts && chunk->length < least ? broken(chunk, "is too short", err) : SV_OK;
}

/* Unpacks a compressed text or profile to nowhere. Above 1 MiB it is refused, as a bomb would be; broken ones are of no concern. */
static sv_status text_unpack(struct png_reader *png, const struct png_chunk *chunk, const unsigned char *body, size_t length, sv_error *err)
{
    unsigned char room[16384];
    z_stream stream = { .zalloc = sv_zlib_alloc, .zfree = sv_zlib_free };
    size_t made = 0;
    int code = Z_OK;
    if (inflateInit(&stream) != Z_OK) return sv_fail(err, SV_FAULT, "no memory to unpack a PNG");
    stream.next_in = (unsigned char *)body; /* zlib reads it only */
    stream.avail_in = (uInt)length;
    while (code == Z_OK && made < TEXT_MAX && stream.avail_in) {
        stream.next_out = room;
        stream.avail_out = sizeof room;
        code = inflate(&stream, Z_NO_FLUSH);
        made += sizeof room - stream.avail_out;
    }
    bool more = code == Z_OK && made >= TEXT_MAX && stream.avail_in;
    inflateEnd(&stream);
    if (code == Z_MEM_ERROR) return sv_fail(err, SV_FAULT, "no memory to unpack a PNG");
    if (more) return broken(chunk, "unpacks to more than 1 MiB, as a bomb does", err);
    png->texts += made;
    return png->texts > TEXTS_MAX ? broken(chunk, "brings the texts of this file above 64 MiB", err) : SV_OK;
}

static sv_status take_profile(struct png_reader *png, const struct png_chunk *chunk, sv_error *err)
{
    size_t name = strnlen((const char *)chunk->body, chunk->length), texts = png->texts;
    if (name + 1 >= chunk->length || chunk->body[name + 1]) return broken(chunk, "has an unknown compression method", err);
    sv_status status = text_unpack(png, chunk, chunk->body + name + 2, chunk->length - name - 2, err);
    png->texts = texts; /* a profile is no text: it does not count against the sum */
    return status;
}

static sv_status take_text(struct png_reader *png, const struct png_chunk *chunk, sv_error *err)
{
    png->texts += chunk->length;
    return png->texts > TEXTS_MAX ? broken(chunk, "brings the texts of this file above 64 MiB", err) : SV_OK;
}

static sv_status take_packed_text(struct png_reader *png, const struct png_chunk *chunk, sv_error *err)
{
    size_t key = strnlen((const char *)chunk->body, chunk->length);
    if (key + 1 >= chunk->length) return SV_OK;
    if (chunk->body[key + 1]) return broken(chunk, "has an unknown compression method", err);
    return text_unpack(png, chunk, chunk->body + key + 2, chunk->length - key - 2, err);
}

/* key, 0, packed?, method, language, 0, translated key, 0, text */
static sv_status take_language_text(struct png_reader *png, const struct png_chunk *chunk, sv_error *err)
{
    size_t at = strnlen((const char *)chunk->body, chunk->length), flag = at + 1;
    if (at + 3 > chunk->length) return SV_OK;
    at += 3;
    for (int i = 0; i < 2; i++) {
        at += strnlen((const char *)chunk->body + at, chunk->length - at);
        if (at >= chunk->length) return SV_OK;
        at++;
    }
    if (!chunk->body[flag]) return take_text(png, chunk, err);
    return chunk->body[flag + 1] ? SV_OK : text_unpack(png, chunk, chunk->body + at, chunk->length - at, err);
}

static sv_status take_animation(struct png_reader *png, const struct png_chunk *chunk, sv_error *err)
{
    uint32_t frames = number(chunk->body);
    (void)err;
    bool valid = !png->animated && frames && frames <= 0x80000000u;
    png->animated = valid;
    png->several = valid && frames > 1;
    return SV_OK;
}

static sv_status take_frame(struct png_reader *png, const struct png_chunk *chunk, sv_error *err)
{
    uint32_t sequence = number(chunk->body), frame[4] = { number(chunk->body + 12), number(chunk->body + 16), number(chunk->body + 4), number(chunk->body + 8) };
    if (png->sequence == NO_SEQUENCE ? sequence != 0 : (int64_t)sequence != png->sequence + 1) return broken(chunk, "is out of order", err);
    png->sequence = sequence;
    if ((uint64_t)frame[0] + frame[2] > png->width || (uint64_t)frame[1] + frame[3] > png->height) return broken(chunk, "describes a frame larger than the picture", err);
    if (!frame[2] || !frame[3]) return broken(chunk, "describes an empty frame", err);
    memcpy(png->frame, frame, sizeof frame);
    return SV_OK;
}

static sv_status take_nothing(struct png_reader *png, const struct png_chunk *chunk, sv_error *err)
{
    (void)png;
    (void)chunk;
    (void)err;
    return SV_OK;
}

/* Chunks that are looked at; the rest are skipped. `least`: a shorter body is refused. */
static const struct chunk_kind { const char *name; size_t least; chunk_work *take; } chunk_kinds[] = {
    { "IHDR", 13, take_header }, { "PLTE", 0, take_palette }, { "tRNS", 0, take_transparency }, { "iCCP", 0, take_profile },
    { "tEXt", 0, take_text }, { "zTXt", 0, take_packed_text }, { "iTXt", 0, take_language_text }, { "acTL", 8, take_animation },
    { "fcTL", 26, take_frame }, { "gAMA", 4, take_nothing }, { "cHRM", 32, take_nothing }, { "sRGB", 1, take_nothing },
    { "pHYs", 9, take_nothing },
};

static sv_status chunk_take(struct png_reader *png, const struct png_chunk *chunk, sv_error *err)
{
    const struct chunk_kind *kind = SV_KIND_FIND(chunk_kinds, chunk->name);
    if (chunk->after > png->count) return sv_fail(err, SV_DATA, "the PNG is cut off after %zu bytes, inside chunk %s; fetch the file again", png->count, chunk->name);
    if (!kind) return SV_OK;
    return chunk->length < kind->least ? broken(chunk, "is too short", err) : kind->take(png, chunk, err);
}

static bool name_letter(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* The chunk at png->at. False where the file ends or no chunk begins there. Its body may reach beyond the file: see chunk_take. */
static bool chunk_at(struct png_reader *png, struct png_chunk *chunk)
{
    if (png->at > png->count || png->count - png->at < 8) return false;
    const unsigned char *at = png->bytes + png->at;
    for (size_t i = 4; i < 8; i++)
        if (!name_letter(at[i])) return false;
    memcpy(chunk->name, at + 4, 4);
    chunk->name[4] = 0;
    chunk->length = number(at);
    chunk->body = at + 8;
    chunk->after = png->at + 8 + chunk->length;
    return true;
}

static bool named(const struct png_chunk *chunk, const char *name)
{
    return !strcmp(chunk->name, name);
}

static sv_status no_chunk(const struct png_reader *png, sv_error *err)
{
    if (png->count - png->at < 8) return sv_fail(err, SV_DATA, "the PNG is cut off after %zu bytes; fetch the file again", png->count);
    return sv_fail(err, SV_DATA, "broken PNG: no chunk begins at byte %zu; fetch the file again", png->at);
}

/* Every chunk before the rows, check sums included. Leaves png->at at the first IDAT. */
static sv_status head_read(struct png_reader *png, sv_error *err)
{
    struct png_chunk chunk;
    for (;;) {
        if (!chunk_at(png, &chunk)) return no_chunk(png, err);
        if (named(&chunk, "IDAT")) return SV_OK;
        if (named(&chunk, "IEND")) return sv_fail(err, SV_DATA, "this PNG has no IDAT chunk and so no picture; fetch the file again");
        if (named(&chunk, "fdAT")) return broken(&chunk, "stands before the picture", err);
        sv_status status = chunk_take(png, &chunk, err);
        if (status) return status;
        if (png->count - chunk.after < 4) return sv_fail(err, SV_DATA, "the PNG is cut off after %zu bytes; fetch the file again", png->count);
        if (crc32(crc32(0, (const unsigned char *)chunk.name, 4), chunk.body, (uInt)chunk.length) != number(png->bytes + chunk.after))
            return broken(&chunk, "has a wrong check sum", err);
        png->at = chunk.after + 4;
    }
}

static sv_status head_check(struct png_reader *png, sv_error *err)
{
    if (!png->known_form) return sv_fail(err, SV_DATA, "broken PNG: its header names no colour form of the standard; fetch the file again or convert it");
    if (png->palette_bytes / 3 > 256) return sv_fail(err, SV_DATA, "broken PNG: its palette has more than 256 colours; fetch the file again or convert it");
    if (!png->frame[2]) memcpy(png->frame, (uint32_t[4]){ 0, 0, png->width, png->height }, sizeof png->frame);
    return SV_OK;
}

/* One IDAT, in the pieces Pillow feeds its decoder: whether a wrong check sum of the stream is seen depends on them. */
static sv_status data_feed(sv_png_rows *rows, const unsigned char *body, size_t length, sv_error *err)
{
    sv_status status = SV_OK;
    for (size_t at = 0; at < length && !rows->done && !status; at += PIECE) {
        size_t piece = length - at < PIECE ? length - at : PIECE;
        status = sv_png_rows_take(rows, body + at, piece, err);
    }
    return status;
}

static sv_status data_read(struct png_reader *png, sv_png_rows *rows, sv_error *err)
{
    struct png_chunk chunk;
    while (!rows->done) {
        if (!chunk_at(png, &chunk)) return no_chunk(png, err);
        if (!named(&chunk, "IDAT"))
            return sv_fail(err, SV_DATA, "the PNG ends before row %zu of %zu is whole; fetch the file again", rows->y + 1, rows->height);
        size_t there = chunk.after <= png->count ? chunk.length : png->count - png->at - 8;
        sv_status status = data_feed(rows, chunk.body, there, err);
        if (status) return status;
        if (!rows->done && there < chunk.length) return sv_fail(err, SV_DATA, "the PNG is cut off after %zu bytes; fetch the file again", png->count);
        png->at = chunk.after + 4;
    }
    return SV_OK;
}

/* What follows the rows: broken chunks count as before, check sums do not, and the file may simply end. */
static sv_status tail_read(struct png_reader *png, sv_error *err)
{
    struct png_chunk chunk;
    while (chunk_at(png, &chunk)) {
        if (named(&chunk, "IEND") || (named(&chunk, "fcTL") && png->several)) return SV_OK;
        sv_status status = chunk_take(png, &chunk, err);
        if (status) return status;
        png->at = chunk.after + 4;
    }
    return SV_OK;
}

/* Deflate makes at most 1032 bytes of one. A first row longer than that cannot come: refused before memory is asked for. */
static bool first_row_fits(const struct png_reader *png)
{
    size_t first = sv_png_rows_first(png->frame[2], png->depth, png->colour, png->interlaced);
    return first / 1032 <= png->count;
}

sv_status sv_png_decode(sv_picture *out, const unsigned char *bytes, size_t count, sv_error *err)
{
    struct png_reader png = { .bytes = bytes, .count = count, .at = 8, .sequence = NO_SEQUENCE };
    sv_png_rows rows = { 0 };
    sv_status status = head_read(&png, err);
    if (!status) status = head_check(&png, err);
    if (!status) status = sv_picture_resize(out, png.width, png.height, err);
    if (!status && !first_row_fits(&png)) status = sv_fail(err, SV_DATA, "the PNG is cut off: its first row is not whole; fetch the file again");
    if (status) return status;
    rows.picture = out;
    rows.left = png.frame[0];
    rows.top = png.frame[1];
    rows.width = png.frame[2];
    rows.height = png.frame[3];
    rows.depth = png.depth;
    rows.colour = png.colour;
    rows.interlaced = png.interlaced;
    if (png.colour == PNG_PALETTE) memcpy(rows.palette, png.palette, sizeof rows.palette);
    status = sv_png_rows_start(&rows, err);
    if (!status) status = data_read(&png, &rows, err);
    if (!status) status = tail_read(&png, err);
    sv_png_rows_clear(&rows);
    return status;
}
