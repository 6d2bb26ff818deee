/* Operands of products in parts of bf16, packed (kernels/table.h): pairs along the summed index in 32-bit words. B in panels
 * [depth/2][32] of words, A either along (a row's pairs side by side) or, made by an engine for itself, in strips. What is beyond a
 * depth or a column count is zero. PARTS, of the file that includes this: 1, or 3; a part stands `step` words behind the one before. */
#ifndef SIEVE_KERNELS_WIDE_PAIRS_H
#define SIEVE_KERNELS_WIDE_PAIRS_H

#include <string.h>

static size_t up_to_32(size_t x) { return (x + 31) / 32 * 32; }
static size_t pairs_of(size_t depth) { return up_to_32(depth) / 2; }
/* Words of all panels of one part. */
static size_t panel_words(size_t columns, size_t depth) { return up_to_32(columns) * pairs_of(depth); }

/* 32 numbers side by side, all their parts. */
WORD void store_parts(uint32_t *out, size_t step, v16 low, v16 high)
{
    UNROLL for (int part = 0; part < PARTS; part++)
    {
        if (part) {
            low = v_rest(low);
            high = v_rest(high);
        }
        v_store_halves((uint16_t *)(void *)(out + (size_t)part * step), low, high);
    }
}
/* 16 pairs of numbers. */
WORD void store_pairs(uint32_t *out, size_t step, v16 even, v16 odd)
{
    UNROLL for (int part = 0; part < PARTS; part++)
    {
        if (part) {
            even = v_rest(even);
            odd = v_rest(odd);
        }
        w_store(out + (size_t)part * step, v_pair(even, odd));
    }
}

/* Rows of numbers, padded to `padded` columns, a multiple of 32; row r begins at out + r * padded / 2. */
static void take_rows(uint32_t *out, size_t step, const float *in, size_t in_stride, size_t rows, size_t columns, size_t padded)
{
    for (size_t r = 0; r < rows; r++, in += in_stride, out += padded / 2) {
        size_t c = 0;
        for (; c + 32 <= columns; c += 32) store_parts(out + c / 2, step, v_load(in + c, 16), v_load(in + c + 16, 16));
        for (; c < padded; c += 32) {
            const size_t left = columns > c ? columns - c : 0;
            const v16 low = v_load(in + (left ? c : 0), least(left, 16)),
                      high = v_load(in + (left > 16 ? c + 16 : 0), left > 16 ? left - 16 : 0);
            store_parts(out + c / 2, step, low, high);
        }
    }
}

/* Rows that are bf16 already, padded with zeros. */
static void copy_halves(uint32_t *out, const uint16_t *in, size_t in_stride, size_t rows, size_t columns, size_t padded)
{
    for (size_t r = 0; r < rows; r++, in += in_stride, out += padded / 2) {
        memcpy(out, in, columns * sizeof *in);
        memset((uint16_t *)(void *)out + columns, 0, (padded - columns) * sizeof *in);
    }
}

/* At most 32 numbers, rounded. */
static void put_halves(uint16_t *out, const float *in, size_t columns)
{
    _Alignas(64) uint16_t room[SV_PANEL_BF16];
    v_store_halves(columns == SV_PANEL_BF16 ? out : room, v_load(in, 16), v_load(in + 16, 16));
    if (columns < SV_PANEL_BF16) memcpy(out, room, columns * sizeof *out);
}

/* B[l,j] = rows[j * stride + l] for l < depth, j < count. */
static void pack_columns_parts(uint32_t *panels, const float *rows, size_t stride, size_t count, size_t depth)
{
    _Alignas(64) float turned[PARTS * 16 * 16]; /* words, as v_transpose takes them */
    const size_t step = panel_words(count, depth);
    for (size_t first = 0; first < count; first += SV_PANEL_BF16, panels += pairs_of(depth) * SV_PANEL_BF16)
        for (size_t l = 0; l < depth; l += 32)
            for (size_t j = 0; j < SV_PANEL_BF16; j += 16) {
                const size_t left = first + j < count ? least(count - first - j, 16) : 0;
                take_rows((uint32_t *)(void *)turned, 256, rows + (left ? (first + j) * stride + l : 0), stride, left, least(depth - l, 32),
                          32);
                for (size_t part = 0; part < PARTS; part++)
                    v_transpose((float *)(void *)(panels + part * step + l / 2 * SV_PANEL_BF16 + j), SV_PANEL_BF16, turned + part * 256, 16,
                                left, 16);
            }
}

WORD v16 row_piece(const float *rows, size_t stride, size_t row, size_t depth, size_t n)
{
    return row < depth ? v_load(rows + row * stride, n) : v_set(0.0f);
}

/* B[l,j] = rows[l * stride + j] for l < depth, j < count. */
static void pack_pieces_parts(uint32_t *panels, const float *rows, size_t stride, size_t count, size_t depth)
{
    const size_t step = panel_words(count, depth);
    for (size_t first = 0; first < count; first += SV_PANEL_BF16)
        for (size_t l = 0; l < up_to_32(depth); l += 2, panels += SV_PANEL_BF16)
            for (size_t j = 0; j < SV_PANEL_BF16; j += 16) {
                const size_t at = first + j, n = at < count ? least(count - at, 16) : 0;
                const float *from = rows + (n ? at : 0);
                if (n)
                    store_pairs(panels + j, step, row_piece(from, stride, l, depth, n), row_piece(from, stride, l + 1, depth, n));
                else
                    store_pairs(panels + j, step, v_set(0.0f), v_set(0.0f));
            }
}

/* The same from rows of bf16, one part. */
static void pack_pieces_halves(uint32_t *panels, const uint16_t *rows, size_t stride, size_t count, size_t depth)
{
    for (size_t first = 0; first < count; first += SV_PANEL_BF16)
        for (size_t l = 0; l < up_to_32(depth); l += 2, panels += SV_PANEL_BF16)
            for (size_t j = 0; j < SV_PANEL_BF16; j += 16) {
                const size_t at = first + j, n = at < count && l < depth ? least(count - at, 16) : 0;
                const uint16_t *row = rows + (n ? l * stride + at : 0);
                w_store(panels + j, n ? w_zip(row, l + 1 < depth ? row + stride : NULL, n) : w_set(0));
            }
}

/* A across: columns of rows that lie along what is summed. Rows of floats, or rows that were taken apart before, part by part. */
typedef struct across {
    const void *rows;
    size_t stride, depth;
    bool taken;
    size_t step;
} across;

/* Columns first .. first + n - 1 of rows l and l + 1, as words; to out, out + step ... */
WORD void across_pairs(uint32_t *out, size_t out_step, const across *a, size_t l, size_t first, size_t n)
{
    const bool some = l < a->depth && n > 0, second = l + 1 < a->depth;
    if (!some) {
        UNROLL for (int part = 0; part < PARTS; part++) w_store(out + (size_t)part * out_step, w_set(0));
    } else if (a->taken) {
        UNROLL for (int part = 0; part < PARTS; part++)
        {
            const uint16_t *row = (const uint16_t *)a->rows + 2 * a->step * (size_t)part + l * a->stride + first;
            w_store(out + (size_t)part * out_step, w_zip(row, second ? row + a->stride : NULL, n));
        }
    } else {
        const float *row = (const float *)a->rows + l * a->stride + first;
        store_pairs(out, out_step, v_load(row, n), second ? v_load(row + a->stride, n) : v_set(0.0f));
    }
}

#endif
