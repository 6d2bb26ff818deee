/* Products of bf16 numbers, C forms: x, dY and weights are rounded, sums and results are not (orders: kernels/chain.h).
 * Packed panels hold pairs that lie along the summed index: [ceil(n / 32)][ceil(k / 32) * 16][32][2], what is beyond n and k zero. */
#include "kernels/chain.h"

static size_t up_to(size_t x, size_t unit) { return (x + unit - 1) / unit * unit; }
static size_t panel_bytes(size_t columns, size_t depth) { return up_to(columns, SV_PANEL_BF16) * up_to(depth, SV_DEPTH_BF16) * sizeof(uint16_t); }

size_t sv_pack_forward_bf16_bytes(size_t n, size_t k) { return panel_bytes(n, k); }
size_t sv_pack_backward_bf16_bytes(size_t n, size_t k) { return panel_bytes(k, n); }

static uint16_t bits_of(sv_real x)
{
    const float rounded = (float)real_round_bf16(x);
    uint32_t bits;
    memcpy(&bits, &rounded, sizeof bits);
    return (uint16_t)(bits >> 16);
}

static sv_real value_of(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (sv_real)value;
}

/* B[l,j] = w[l * depth_step + j * column_step]. */
static void pack(uint16_t *panels, const sv_real *w, size_t columns, size_t column_step, size_t depth, size_t depth_step)
{
    for (size_t first = 0; first < columns; first += SV_PANEL_BF16)
        for (size_t l = 0; l < up_to(depth, SV_DEPTH_BF16); l += 2)
            for (size_t j = first; j < first + SV_PANEL_BF16; j++)
                for (size_t half = 0; half < 2; half++)
                    *panels++ = l + half < depth && j < columns ? bits_of(w[(l + half) * depth_step + j * column_step]) : 0;
}

void sv_pack_forward_bf16_c(uint16_t *panels, const sv_real *w, size_t n, size_t k) { pack(panels, w, n, k, k, 1); }
void sv_pack_backward_bf16_c(uint16_t *panels, const sv_real *w, size_t n, size_t k) { pack(panels, w, k, 1, n, k); }

enum { DEPTH_AT_ONCE = 512 }; /* a whole number of tiles' depths */

static sv_real element(const sv_product *p, size_t row, size_t column, sv_chain chain)
{
    const size_t first = column / SV_PANEL_BF16 * SV_PANEL_BF16;
    const uint16_t *panel = p->panels_bf16 + first * up_to(p->k, SV_DEPTH_BF16) + 2 * (column - first);
    sv_real sum = 0, weights[DEPTH_AT_ONCE];
    for (size_t begin = 0; begin < p->k; begin += DEPTH_AT_ONCE) {
        const size_t count = p->k - begin < DEPTH_AT_ONCE ? p->k - begin : DEPTH_AT_ONCE;
        for (size_t i = 0; i < count; i++) weights[i] = value_of(panel[(begin + i) / 2 * 2 * SV_PANEL_BF16 + i % 2]);
        sum = chain_sum(chain, sum, p->x + row * p->x_stride + begin, 1, weights, 1, count);
    }
    return sum;
}

static void product_rows(const sv_product *p, sv_chain chain)
{
    for (size_t row = 0; row < p->m; row++)
        for (size_t j = 0; j < p->n; j++) {
            sv_real sum = element(p, row, j, chain);
            if (p->bias) sum += p->bias[j];
            if (p->epilogue == SV_ADD) sum += p->addend[row * p->addend_stride + j];
            if (p->epilogue == SV_GELU && p->before) p->before[row * p->before_stride + j] = sum;
            if (p->epilogue == SV_GELU) sv_gelu_c(&sum, &sum, 1);
            p->y[row * p->y_stride + j] = sum;
        }
}

size_t sv_product_outer_bf16_scratch(size_t m, size_t k) { return panel_bytes(k, m) + 64; }

static void product_outer(sv_real *c, size_t c_stride, const sv_real *a, size_t a_stride, const sv_real *b, size_t b_stride, size_t m, size_t n,
                          size_t k, bool accumulate, sv_chain chain)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < k; j++) {
            sv_real *at = c + i * c_stride + j;
            *at = chain_sum(chain, accumulate ? *at : 0, a + i, a_stride, b + j, b_stride, m);
        }
}

void sv_product_rows_bf16_c(const sv_product *p) { product_rows(p, SV_CHAIN_DOT); }
void sv_product_rows_tile_c(const sv_product *p) { product_rows(p, SV_CHAIN_TILE); }

void sv_product_outer_bf16_c(sv_real *c, size_t c_stride, const sv_real *a, size_t a_stride, const sv_real *b, size_t b_stride, size_t m,
                             size_t n, size_t k, bool accumulate, void *scratch)
{
    (void)scratch;
    product_outer(c, c_stride, a, a_stride, b, b_stride, m, n, k, accumulate, SV_CHAIN_DOT);
}

void sv_product_outer_tile_c(sv_real *c, size_t c_stride, const sv_real *a, size_t a_stride, const sv_real *b, size_t b_stride, size_t m,
                             size_t n, size_t k, bool accumulate, void *scratch)
{
    (void)scratch;
    product_outer(c, c_stride, a, a_stride, b, b_stride, m, n, k, accumulate, SV_CHAIN_TILE);
}
