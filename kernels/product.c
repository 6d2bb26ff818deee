/* Matrix products, C form. Packed panels: kernels/table.h. Every element is one chain of fused multiply-adds in rising order of
 * the summed index, begun from the bias, from what stood there, or from zero; so no form and no split of rows changes a bit. */
#include "kernels/real.h"

static size_t panel_bytes(size_t columns, size_t depth) { return (columns + SV_PANEL - 1) / SV_PANEL * SV_PANEL * depth * sizeof(sv_real); }

size_t sv_pack_forward_bytes(size_t n, size_t k) { return panel_bytes(n, k); }
size_t sv_pack_backward_bytes(size_t n, size_t k) { return panel_bytes(k, n); }

/* B[l,j] = w[j,l]: column j of a panel is a row of w. */
void sv_pack_forward_c(sv_real *panels, const sv_real *w, size_t n, size_t k)
{
    for (size_t first = 0; first < n; first += SV_PANEL, panels += k * SV_PANEL)
        for (size_t l = 0; l < k; l++)
            for (size_t j = 0; j < SV_PANEL; j++) panels[l * SV_PANEL + j] = first + j < n ? w[(first + j) * k + l] : 0;
}

/* B[l,j] = w[l,j]: rows of a panel are pieces of rows of w. */
void sv_pack_backward_c(sv_real *panels, const sv_real *w, size_t n, size_t k)
{
    for (size_t first = 0; first < k; first += SV_PANEL, panels += n * SV_PANEL)
        for (size_t l = 0; l < n; l++)
            for (size_t j = 0; j < SV_PANEL; j++) panels[l * SV_PANEL + j] = first + j < k ? w[l * k + first + j] : 0;
}

static void finish_row(const sv_product *p, size_t row, size_t first, const sv_real *sums, size_t columns)
{
    sv_real *y = p->y + row * p->y_stride + first;
    switch (p->epilogue) {
    case SV_STORE:
        memcpy(y, sums, columns * sizeof *y);
        break;
    case SV_ADD:
        for (size_t j = 0; j < columns; j++) y[j] = (p->gain ? sums[j] * p->gain[first + j] : sums[j]) + p->addend[row * p->addend_stride + first + j];
        break;
    case SV_GELU:
        if (p->before) memcpy(p->before + row * p->before_stride + first, sums, columns * sizeof *y);
        sv_gelu_c(y, sums, columns);
        break;
    }
}

/* The sum over k = begin .. begin + count - 1 begins the sums or is added to them. */
static void add_piece(sv_real *sums, const sv_real *x, const sv_real *panel, size_t begin, size_t count, size_t columns)
{
    sv_real piece[SV_PANEL] = { 0 };
    for (size_t l = begin; l < begin + count; l++)
        for (size_t j = 0; j < columns; j++) piece[j] = real_fma(x[l], panel[l * SV_PANEL + j], piece[j]);
    for (size_t j = 0; j < columns; j++) sums[j] = begin ? sums[j] + piece[j] : piece[j];
}

void sv_product_rows_c(const sv_product *p)
{
    for (size_t row = 0; row < p->m; row++) {
        const sv_real *x = p->x + row * p->x_stride;
        for (size_t first = 0; first < p->n; first += SV_PANEL) {
            const sv_real *panel = (const sv_real *)p->panels + first * p->k;
            const size_t columns = p->n - first < SV_PANEL ? p->n - first : SV_PANEL;
            sv_real sums[SV_PANEL];
            for (size_t l = 0; l == 0 || l < p->k; l += SV_PIECE) add_piece(sums, x, panel, l, p->k - l < SV_PIECE ? p->k - l : SV_PIECE, columns);
            for (size_t j = 0; p->bias && j < columns; j++) sums[j] += p->bias[first + j];
            finish_row(p, row, first, sums, columns);
        }
    }
}

static void clear_rows(sv_real *c, size_t stride, size_t rows, size_t columns)
{
    for (size_t i = 0; i < rows; i++) memset(c + i * stride, 0, columns * sizeof *c);
}

void sv_product_outer_c(sv_real *c, size_t c_stride, const sv_real *a, size_t a_stride, const sv_real *b, size_t b_stride, size_t m,
                        size_t n, size_t k, bool accumulate)
{
    if (!accumulate) clear_rows(c, c_stride, n, k);
    for (size_t row = 0; row < m; row++)
        for (size_t i = 0; i < n; i++) {
            const sv_real factor = a[row * a_stride + i];
            for (size_t j = 0; j < k; j++) c[i * c_stride + j] = real_fma(factor, b[row * b_stride + j], c[i * c_stride + j]);
        }
}

void sv_product_plain_c(sv_real *c, size_t c_stride, const sv_real *a, size_t a_stride, bool transpose_a, const sv_real *b, size_t b_stride,
                        bool transpose_b, size_t m, size_t n, size_t k, bool accumulate)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            sv_real sum = accumulate ? c[i * c_stride + j] : 0;
            for (size_t l = 0; l < k; l++) {
                const sv_real left = transpose_a ? a[l * a_stride + i] : a[i * a_stride + l];
                const sv_real right = transpose_b ? b[j * b_stride + l] : b[l * b_stride + j];
                sum = real_fma(left, right, sum);
            }
            c[i * c_stride + j] = sum;
        }
}

void sv_column_sums_c(sv_real *sum, const sv_real *a, size_t a_stride, size_t m, size_t n, bool accumulate)
{
    if (!accumulate) clear_rows(sum, n, 1, n);
    for (size_t row = 0; row < m; row++)
        for (size_t j = 0; j < n; j++) sum[j] += a[row * a_stride + j];
}
