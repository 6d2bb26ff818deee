/* Operands of bf16 products, packed (kernels/table.h): pairs along the summed index in 32-bit words. B in panels
 * [depth/2][32] of words, A either along (a row's pairs side by side) or, made by an engine for itself, in strips.
 * What is beyond a depth or a column count is zero. */
#ifndef SIEVE_KERNELS_WIDE_PAIRS_H
#define SIEVE_KERNELS_WIDE_PAIRS_H

static size_t up_to_32(size_t x) { return (x + 31) / 32 * 32; }
static size_t pairs_of(size_t depth) { return up_to_32(depth) / 2; }

/* Rows of numbers become rows of bf16, padded to `padded` columns, a multiple of 32. */
static void round_rows(uint16_t *out, size_t out_stride, const float *in, size_t in_stride, size_t rows, size_t columns, size_t padded)
{
    for (size_t r = 0; r < rows; r++, in += in_stride, out += out_stride) {
        size_t c = 0;
        for (; c + 32 <= columns; c += 32) v_store_halves(out + c, v_load(in + c, 16), v_load(in + c + 16, 16));
        for (; c < padded; c += 32) {
            const size_t left = columns > c ? columns - c : 0;
            const v16 low = v_load(in + (left ? c : 0), least(left, 16)), high = v_load(in + (left > 16 ? c + 16 : 0), left > 16 ? left - 16 : 0);
            v_store_halves(out + c, low, high);
        }
    }
}

/* B[l,j] = rows[j * stride + l] for l < depth, j < count. */
static void pack_columns_bf16(uint32_t *panels, const float *rows, size_t stride, size_t count, size_t depth)
{
    _Alignas(64) float turned[16 * 16]; /* words, as v_transpose takes them */
    for (size_t first = 0; first < count; first += SV_PANEL_BF16, panels += pairs_of(depth) * SV_PANEL_BF16)
        for (size_t l = 0; l < depth; l += 32)
            for (size_t j = 0; j < SV_PANEL_BF16; j += 16) {
                const size_t left = first + j < count ? least(count - first - j, 16) : 0;
                round_rows((uint16_t *)(void *)turned, 32, rows + (left ? (first + j) * stride + l : 0), stride, left, least(depth - l, 32), 32);
                v_transpose((float *)(void *)(panels + l / 2 * SV_PANEL_BF16 + j), SV_PANEL_BF16, turned, 16, left, 16);
            }
}

WORD v16 row_piece(const float *rows, size_t stride, size_t row, size_t depth, size_t n) { return row < depth ? v_load(rows + row * stride, n) : v_set(0.0f); }

/* B[l,j] = rows[l * stride + j] for l < depth, j < count. */
static void pack_pieces_bf16(uint32_t *panels, const float *rows, size_t stride, size_t count, size_t depth)
{
    for (size_t first = 0; first < count; first += SV_PANEL_BF16)
        for (size_t l = 0; l < up_to_32(depth); l += 2, panels += SV_PANEL_BF16)
            for (size_t j = 0; j < SV_PANEL_BF16; j += 16) {
                const size_t at = first + j, n = at < count ? least(count - at, 16) : 0;
                const float *from = rows + (n ? at : 0);
                w_store(panels + j, n ? v_pair(row_piece(from, stride, l, depth, n), row_piece(from, stride, l + 1, depth, n)) : w_set(0));
            }
}

/* Columns first .. first + 15 of two rows, as words; of rows of floats or of bf16. */
typedef struct across { const void *rows; size_t stride, depth; bool halves; } across;

WORD i16 across_pair(const across *a, size_t l, size_t first, size_t n)
{
    if (l >= a->depth || n == 0) return w_set(0);
    if (a->halves) {
        const uint16_t *row = (const uint16_t *)a->rows + l * a->stride + first;
        return w_zip(row, l + 1 < a->depth ? row + a->stride : NULL, n);
    }
    const float *row = (const float *)a->rows + l * a->stride + first;
    return v_pair(v_load(row, n), l + 1 < a->depth ? v_load(row + a->stride, n) : v_set(0.0f));
}

#endif
