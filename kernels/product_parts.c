/* Products of parts of bf16, C forms: x, dY and weights are taken apart, sums and results are f32 (orders: kernels/chain.h).
 * Packed panels hold pairs that lie along the summed index: [ceil(n / 32)][ceil(k / 32) * 16][32][2], what is beyond n and k zero; the
 * panels of a second and third part follow behind all of the first's. */
#include "kernels/chain.h"

static size_t up_to(size_t x, size_t unit) { return (x + unit - 1) / unit * unit; }
static size_t panel_bytes(size_t columns, size_t depth)
{
    return up_to(columns, SV_PANEL_BF16) * up_to(depth, SV_DEPTH_BF16) * sizeof(uint16_t);
}

/* Three parts may turn out to be plain f32. */
static size_t bytes_of(size_t whole, size_t part, sv_parts parts)
{
    if (parts == SV_ONE_PART) return part;
    return parts == SV_WHOLE || whole > 3 * part ? whole : 3 * part;
}
size_t sv_pack_forward_parts_bytes(size_t n, size_t k, sv_parts parts)
{
    return bytes_of(sv_pack_forward_bytes(n, k), panel_bytes(n, k), parts);
}
size_t sv_pack_backward_parts_bytes(size_t n, size_t k, sv_parts parts)
{
    return bytes_of(sv_pack_backward_bytes(n, k), panel_bytes(k, n), parts);
}

/* B[l,j] = w[l * depth_step + j * column_step], each part of it. */
static void pack(uint16_t *panels, const sv_real *w, size_t columns, size_t column_step, size_t depth, size_t depth_step, sv_parts parts)
{
    for (int part = 0; part < (int)parts; part++)
        for (size_t first = 0; first < columns; first += SV_PANEL_BF16)
            for (size_t l = 0; l < up_to(depth, SV_DEPTH_BF16); l += 2)
                for (size_t j = first; j < first + SV_PANEL_BF16; j++)
                    for (size_t half = 0; half < 2; half++)
                        *panels++ =
                            l + half < depth && j < columns ? bf16_bits(real_part(w[(l + half) * depth_step + j * column_step], part)) : 0;
}

enum { DEPTH_AT_ONCE = 512 }; /* a whole number of tiles' depths */

/* Some of a row of x, widened where it is bf16. */
static const sv_real *piece_of(const sv_product *p, size_t row, size_t begin, size_t count, sv_real *room)
{
    if (!p->x_half) return p->x + row * p->x_stride + begin;
    for (size_t i = 0; i < count; i++) room[i] = bf16_value(p->x_half[row * p->x_stride + begin + i]);
    return room;
}

static sv_real element(const sv_product *p, size_t row, size_t column, sv_chain chain)
{
    const size_t first = column / SV_PANEL_BF16 * SV_PANEL_BF16, depth = up_to(p->k, SV_DEPTH_BF16),
                 step = up_to(p->n, SV_PANEL_BF16) * depth;
    const uint16_t *panel = (const uint16_t *)p->panels + first * depth + 2 * (column - first);
    sv_real sum = 0, weights[3][DEPTH_AT_ONCE], room[DEPTH_AT_ONCE];
    const sv_real *const parts[3] = { weights[0], weights[1], weights[2] };
    for (size_t begin = 0; begin < p->k; begin += DEPTH_AT_ONCE) {
        const size_t count = p->k - begin < DEPTH_AT_ONCE ? p->k - begin : DEPTH_AT_ONCE;
        for (size_t part = 0; part < chain.parts; part++)
            for (size_t i = 0; i < count; i++)
                weights[part][i] = bf16_value(panel[part * step + (begin + i) / 2 * 2 * SV_PANEL_BF16 + i % 2]);
        sum = chain_parts(chain, sum, piece_of(p, row, begin, count, room), 1, parts, 1, count);
    }
    return sum;
}

static void product_rows(const sv_product *p, sv_chain chain)
{
    for (size_t row = 0; row < p->m; row++)
        for (size_t j = 0; j < p->n; j++) {
            sv_real sum = element(p, row, j, chain);
            if (p->bias) sum += p->bias[j];
            if (p->epilogue == SV_ADD && p->gain) sum *= p->gain[j];
            if (p->epilogue == SV_ADD) sum += p->addend[row * p->addend_stride + j];
            if (p->epilogue == SV_GELU && p->before) p->before[row * p->before_stride + j] = sum;
            if (p->epilogue == SV_GELU) sv_gelu_c(&sum, &sum, 1);
            if (p->y_half)
                p->y_half[row * p->y_stride + j] = bf16_bits(real_round_bf16(sum));
            else
                p->y[row * p->y_stride + j] = sum;
        }
}

size_t sv_product_outer_parts_scratch(size_t m, size_t k, sv_parts parts)
{
    return parts == SV_WHOLE ? 0 : panel_bytes(k, m) * (size_t)parts + 64;
}

static void product_outer(sv_real *c, size_t c_stride, const sv_real *a, size_t a_stride, const sv_real *b, const uint16_t *b_half,
                          size_t b_stride, size_t m, size_t n, size_t k, bool accumulate, sv_chain chain, sv_real *room)
{
    for (size_t j = 0; j < k; j++) {
        for (size_t l = 0; b_half && l < m; l++) room[l] = bf16_value(b_half[l * b_stride + j]);
        for (size_t i = 0; i < n; i++) {
            sv_real *at = c + i * c_stride + j;
            *at = chain_sum(chain, accumulate ? *at : 0, a + i, a_stride, b_half ? room : b + j, b_half ? 1 : b_stride, m);
        }
    }
}

/* The six kernels of one order and number of parts. */
#define FORMS(name, order_, parts_)                                                                                                        \
    static void name##_pack_forward(void *panels, const sv_real *w, size_t n, size_t k) { pack(panels, w, n, k, k, 1, parts_); }           \
    static void name##_pack_backward(void *panels, const sv_real *w, size_t n, size_t k) { pack(panels, w, k, 1, n, k, parts_); }          \
    static void name##_rows(const sv_product *p) { product_rows(p, (sv_chain){ order_, parts_ }); }                                        \
    static void name##_outer(sv_real *c, size_t c_stride, const sv_real *a, size_t a_stride, const sv_real *b, const uint16_t *b_half,     \
                             size_t b_stride, size_t m, size_t n, size_t k, bool accumulate, void *scratch)                                \
    {                                                                                                                                      \
        product_outer(c, c_stride, a, a_stride, b, b_half, b_stride, m, n, k, accumulate, (sv_chain){ order_, parts_ }, scratch);          \
    }                                                                                                                                      \
    static void name##_forward(const sv_attention *a, size_t begin, size_t end)                                                            \
    {                                                                                                                                      \
        sv_attention_forward_any_c(a, begin, end, (sv_chain){ order_, parts_ });                                                           \
    }                                                                                                                                      \
    static void name##_backward(const sv_attention *a, const sv_real *d_out, size_t d_out_stride, sv_real *d_qkv, size_t d_qkv_stride,     \
                                sv_real *policy, sv_real clamp, uint64_t *clamped)                                                         \
    {                                                                                                                                      \
        sv_attention_backward_any_c(a, d_out, d_out_stride, d_qkv, d_qkv_stride, policy, clamp, clamped, (sv_chain){ order_, parts_ });    \
    }                                                                                                                                      \
    const sv_parts_forms sv_##name##_c = { name##_pack_forward, name##_pack_backward, name##_rows,                                         \
                                           name##_outer,        name##_forward,       name##_backward };

FORMS(one_part, SV_ORDER_DOT, SV_ONE_PART)
FORMS(one_part_tile, SV_ORDER_TILE, SV_ONE_PART)
FORMS(three_parts_tile, SV_ORDER_TILE, SV_THREE_PARTS)
