/* From the compressed rows of a PNG to RGB: the half of the reader that knows nothing of chunks. For formats/png_read.c alone. */
#ifndef SIEVE_FORMATS_PNG_ROWS_H
#define SIEVE_FORMATS_PNG_ROWS_H

#include "formats/pictures.h"

#include <zlib.h>

enum { PNG_GREY = 0, PNG_RGB = 2, PNG_PALETTE = 3, PNG_GREY_ALPHA = 4, PNG_RGB_ALPHA = 6 };

/* All zero, then the first group is set, then sv_png_rows_start. */
typedef struct sv_png_rows {
    sv_picture *picture;            /* of its final size; what the stream leaves out becomes sample 0 */
    size_t left, top, width, height; /* where in the picture the rows belong */
    unsigned depth, colour;         /* a pair that the PNG standard allows */
    bool interlaced;
    uint8_t palette[768];           /* of a palette picture, else 0; what the file does not define is 0 */

    z_stream stream;
    bool started, done, scattered;
    uint8_t *row, *before;          /* filter byte and samples; the row before it in the same pass */
    size_t row_bytes, filled;       /* samples of a row of this pass; bytes in `row`, filter byte included */
    unsigned bits, pass;            /* bits of a pixel */
    size_t y;
} sv_png_rows;

sv_status sv_png_rows_start(sv_png_rows *rows, sv_error *err) SV_MUST_CHECK;
/* Takes a piece of the compressed stream; sets `done` when the picture is whole or the stream has ended on the border of a row. */
sv_status sv_png_rows_take(sv_png_rows *rows, const unsigned char *piece, size_t count, sv_error *err) SV_MUST_CHECK;
/* Accepts all zero. */
void sv_png_rows_clear(sv_png_rows *rows);

/* Bytes of the samples of the first row that the stream must hold. */
size_t sv_png_rows_first(size_t width, unsigned depth, unsigned colour, bool interlaced);

/* zlib's memory from base/, so that it is counted and can fail on demand. */
void *sv_zlib_alloc(void *context, unsigned items, unsigned bytes);
void sv_zlib_free(void *context, void *pointer);

#endif
