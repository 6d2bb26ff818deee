/* Inflate, undo the filter of each row, put its pixels where they belong (Adam7 included), as RGB.
 * A row is decoded as soon as its bytes are there; the stream is not read beyond the last one, so that 40 MiB of zeros behind an
 * 8 x 8 picture cost nothing. What a check sum behind the last row says counts only where zlib sees it in the same piece: so does Pillow. */
#include "formats/png_rows.h"

#include <stdlib.h>
#include <string.h>

/* The seven passes of Adam7; the last row is a picture that is not interlaced. */
static const struct png_pass { uint8_t x, y, step_x, step_y; } passes[] = {
    { 0, 0, 8, 8 }, { 4, 0, 8, 8 }, { 0, 4, 4, 8 }, { 2, 0, 4, 4 }, { 0, 2, 2, 4 }, { 1, 0, 2, 2 }, { 0, 1, 1, 2 }, { 0, 0, 1, 1 },
};
enum { PASS_COUNT = 7, PASS_WHOLE = 7 };

void *sv_zlib_alloc(void *context, unsigned items, unsigned bytes)
{
    size_t total;
    void *pointer;
    (void)context;
    return sv_mul_size(&total, items, bytes) || sv_alloc_zero(&pointer, total, "zlib", NULL) ? NULL : pointer;
}

void sv_zlib_free(void *context, void *pointer)
{
    (void)context;
    sv_free(pointer);
}

static unsigned pixel_bits(unsigned depth, unsigned colour)
{
    switch (colour) {
    case PNG_RGB: return depth * 3;
    case PNG_GREY_ALPHA: return depth * 2;
    case PNG_RGB_ALPHA: return depth * 4;
    default: return depth;
    }
}

/* Pixels of a row in pass `pass`; 0 where the picture is too narrow for it. */
static size_t pass_width(size_t width, unsigned pass)
{
    return width > passes[pass].x ? (width - passes[pass].x + passes[pass].step_x - 1u) / passes[pass].step_x : 0;
}

/* Width is at most the pixel limit, so that the product fits. */
static size_t row_bytes_of(size_t pixels, unsigned bits)
{
    return (pixels * bits + 7) / 8;
}

size_t sv_png_rows_first(size_t width, unsigned depth, unsigned colour, bool interlaced)
{
    return row_bytes_of(pass_width(width, interlaced ? 0 : PASS_WHOLE), pixel_bits(depth, colour));
}

/* What the stream leaves out is sample 0: black, or the first colour of the palette. */
static void pixels_clear(uint8_t *rgb, size_t count, const uint8_t colour[3])
{
    if (!colour[0] && !colour[1] && !colour[2])
        memset(rgb, 0, count * 3);
    else
        for (size_t i = 0; i < count; i++) memcpy(rgb + 3 * i, colour, 3);
}

sv_status sv_png_rows_start(sv_png_rows *rows, sv_error *err)
{
    rows->bits = pixel_bits(rows->depth, rows->colour);
    rows->pass = rows->interlaced ? 0 : PASS_WHOLE;
    rows->row_bytes = sv_png_rows_first(rows->width, rows->depth, rows->colour, rows->interlaced);
    size_t most = row_bytes_of(rows->width, rows->bits) + 1;
    sv_status status = sv_alloc(&rows->row, most, "pictures", err);
    if (!status) status = sv_alloc_zero(&rows->before, most, "pictures", err);
    if (status) return status;
    rows->stream.zalloc = sv_zlib_alloc;
    rows->stream.zfree = sv_zlib_free;
    /* Cleared first only where rows do not come one after the other: a bomb of few bytes shall not touch all its pixels. */
    rows->scattered = rows->interlaced || rows->width != rows->picture->width || rows->height != rows->picture->height;
    if (rows->scattered) pixels_clear(rows->picture->rgb, rows->picture->width * rows->picture->height, rows->palette);
    rows->started = inflateInit(&rows->stream) == Z_OK;
    return rows->started ? SV_OK : sv_fail(err, SV_FAULT, "no memory to unpack a PNG");
}

void sv_png_rows_clear(sv_png_rows *rows)
{
    if (rows->started) inflateEnd(&rows->stream);
    rows->started = false;
    sv_free(rows->row);
    sv_free(rows->before);
    rows->row = rows->before = NULL;
}

/* ---- filters: row[i] += what stands left, above, or both; `back` is the distance to the pixel on the left ---- */

static void filter_left(uint8_t *row, size_t count, size_t back)
{
    for (size_t i = back; i < count; i++) row[i] = (uint8_t)(row[i] + row[i - back]);
}

static void filter_up(uint8_t *restrict row, const uint8_t *restrict above, size_t count)
{
    for (size_t i = 0; i < count; i++) row[i] = (uint8_t)(row[i] + above[i]);
}

static void filter_average(uint8_t *row, const uint8_t *above, size_t count, size_t back)
{
    for (size_t i = 0; i < count; i++) row[i] = (uint8_t)(row[i] + ((i >= back ? row[i - back] : 0u) + above[i]) / 2);
}

static void filter_paeth(uint8_t *row, const uint8_t *above, size_t count, size_t back)
{
    for (size_t i = 0; i < count; i++) {
        int a = i >= back ? row[i - back] : 0, b = above[i], c = i >= back ? above[i - back] : 0;
        int from_a = abs(b - c), from_b = abs(a - c), from_c = abs(a + b - 2 * c);
        row[i] = (uint8_t)(row[i] + (from_a <= from_b && from_a <= from_c ? a : from_b <= from_c ? b : c));
    }
}

static sv_status row_unfilter(sv_png_rows *rows, sv_error *err)
{
    size_t back = (rows->bits + 7) / 8, count = rows->row_bytes;
    uint8_t *row = rows->row + 1;
    const uint8_t *above = rows->before + 1;
    if (back > count) back = count;
    switch (rows->row[0]) {
    case 0: return SV_OK;
    case 1: filter_left(row, count, back); return SV_OK;
    case 2: filter_up(row, above, count); return SV_OK;
    case 3: filter_average(row, above, count, back); return SV_OK;
    case 4: filter_paeth(row, above, count, back); return SV_OK;
    default: return sv_fail(err, SV_DATA, "broken PNG: a row has filter %u, 0 to 4 were expected; fetch the file again", rows->row[0]);
    }
}

/* ---- samples to RGB: pixel i of the row goes to out + i * step ---- */

static unsigned sample_at(const uint8_t *row, size_t i, unsigned depth)
{
    size_t bit = i * depth;
    return depth == 8 ? row[i] : row[bit / 8] >> (8 - depth - bit % 8) & ((1u << depth) - 1);
}

static void grey_to_rgb(const sv_png_rows *rows, const uint8_t *row, size_t pixels, uint8_t *out, size_t step)
{
    static const uint8_t scale[9] = { [1] = 255, [2] = 85, [4] = 17, [8] = 1 };
    for (size_t i = 0; i < pixels; i++, out += step) {
        unsigned value = rows->depth == 16 ? (row[2 * i] ? 255 : row[2 * i + 1]) /* clipped, not the high byte */
                                           : sample_at(row, i, rows->depth) * scale[rows->depth];
        out[0] = out[1] = out[2] = (uint8_t)value;
    }
}

static void palette_to_rgb(const sv_png_rows *rows, const uint8_t *row, size_t pixels, uint8_t *out, size_t step)
{
    for (size_t i = 0; i < pixels; i++, out += step) memcpy(out, rows->palette + 3 * sample_at(row, i, rows->depth), 3);
}

/* RGB, with alpha or 16 bits or both, and grey with alpha: the high byte of the colours, alpha dropped. */
static void colours_to_rgb(const sv_png_rows *rows, const uint8_t *row, size_t pixels, uint8_t *out, size_t step)
{
    size_t sample = rows->depth / 8, pixel = rows->bits / 8, next = rows->colour == PNG_GREY_ALPHA ? 0 : sample;
    for (size_t i = 0; i < pixels; i++, out += step, row += pixel) {
        out[0] = row[0];
        out[1] = row[next];
        out[2] = row[2 * next];
    }
}

static void row_place(const sv_png_rows *rows)
{
    const struct png_pass *pass = &passes[rows->pass];
    size_t pixels = pass_width(rows->width, rows->pass);
    uint8_t *out = rows->picture->rgb + ((rows->top + rows->y) * rows->picture->width + rows->left + pass->x) * 3;
    size_t step = pass->step_x * 3u;
    if (rows->colour == PNG_GREY)
        grey_to_rgb(rows, rows->row + 1, pixels, out, step);
    else if (rows->colour == PNG_PALETTE)
        palette_to_rgb(rows, rows->row + 1, pixels, out, step);
    else if (rows->bits == 24 && step == 3)
        memcpy(out, rows->row + 1, pixels * 3);
    else
        colours_to_rgb(rows, rows->row + 1, pixels, out, step);
}

/* Goes on to the next row, and where a pass is over to the first row of the next one that has pixels. */
static void row_advance(sv_png_rows *rows)
{
    uint8_t *swap = rows->before;
    rows->before = rows->row;
    rows->row = swap;
    rows->filled = 0;
    rows->y += passes[rows->pass].step_y;
    while (rows->y >= rows->height) {
        if (rows->pass == PASS_WHOLE || rows->pass + 1 == PASS_COUNT) {
            rows->done = true;
            return;
        }
        rows->pass++;
        size_t pixels = pass_width(rows->width, rows->pass);
        rows->y = pixels ? passes[rows->pass].y : rows->height;
        rows->row_bytes = row_bytes_of(pixels, rows->bits);
        memset(rows->before, 0, rows->row_bytes + 1);
    }
}

static sv_status inflate_failed(int code, sv_error *err)
{
    if (code == Z_MEM_ERROR) return sv_fail(err, SV_FAULT, "no memory to unpack a PNG");
    return sv_fail(err, SV_DATA, "broken PNG: its rows cannot be unpacked (%s); fetch the file again", zError(code));
}

sv_status sv_png_rows_take(sv_png_rows *rows, const unsigned char *piece, size_t count, sv_error *err)
{
    rows->stream.next_in = (unsigned char *)piece; /* zlib reads it only */
    rows->stream.avail_in = (uInt)count;
    while (!rows->done && rows->stream.avail_in) {
        size_t room = rows->row_bytes + 1 - rows->filled;
        rows->stream.next_out = rows->row + rows->filled;
        rows->stream.avail_out = (uInt)room;
        int code = inflate(&rows->stream, Z_NO_FLUSH);
        if (code != Z_OK && code != Z_STREAM_END) return inflate_failed(code, err);
        rows->filled += room - rows->stream.avail_out;
        if (rows->stream.avail_out) return SV_OK; /* wants the next piece; after the end of the stream none will do */
        sv_status status = row_unfilter(rows, err);
        if (status) return status;
        row_place(rows);
        row_advance(rows);
        if (code == Z_STREAM_END) rows->done = true;
    }
    if (rows->done && !rows->scattered && rows->y < rows->height)
        pixels_clear(rows->picture->rgb + rows->y * rows->width * 3, (rows->height - rows->y) * rows->width, rows->palette);
    return SV_OK;
}
