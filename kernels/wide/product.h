/* Packing and products over the tile. Rows outer, panels inner: the rows of a block stay in L1 while panels stream from L2. */
#ifndef SIEVE_KERNELS_WIDE_PRODUCT_H
#define SIEVE_KERNELS_WIDE_PRODUCT_H

_Static_assert(SV_PANEL % (16 * TILE_VECTORS) == 0, "a panel is a whole number of tiles");

/* Panels whose columns are `count` rows of `depth` numbers: B[l,j] = rows[j * stride + l], columns beyond count zero. */
static void pack_columns(float *panels, const float *rows, size_t stride, size_t count, size_t depth)
{
    for (size_t first = 0; first < count; first += SV_PANEL, panels += depth * SV_PANEL)
        for (size_t l = 0; l < depth; l += 16)
            for (size_t j = 0; j < SV_PANEL; j += 16) {
                const size_t left = first + j < count ? count - first - j : 0;
                v_transpose(panels + l * SV_PANEL + j, SV_PANEL, rows + (left ? first + j : 0) * stride + l, stride, least(left, 16),
                            least(depth - l, 16));
            }
}

/* Panels whose rows are pieces of `depth` rows of `count` numbers: B[l,j] = rows[l * stride + j], columns beyond count zero. */
static void pack_pieces(float *panels, const float *rows, size_t stride, size_t count, size_t depth)
{
    for (size_t first = 0; first < count; first += SV_PANEL)
        for (size_t l = 0; l < depth; l++, panels += SV_PANEL)
            for (size_t j = 0; j < SV_PANEL; j += 16) {
                const size_t left = first + j < count ? count - first - j : 0;
                v_store(panels + j, left ? v_load(rows + l * stride + first + j, least(left, 16)) : v_set(0.0f), 16);
            }
}

static void pack_forward(float *panels, const float *w, size_t n, size_t k) { pack_columns(panels, w, k, n, k); }
static void pack_backward(float *panels, const float *w, size_t n, size_t k) { pack_pieces(panels, w, k, k, n); }

/* y = gelu(before) on a tile that was just stored. */
static void gelu_tile(float *y, size_t y_stride, const float *before, size_t before_stride, size_t rows, size_t columns)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c += 16) {
            const size_t n = least(columns - c, 16);
            v_store(y + r * y_stride + c, w_gelu(v_load(before + r * before_stride + c, n)), n);
        }
}

static void product_block(const sv_product *p, size_t begin, size_t rows, size_t from, size_t to, const ahead *next)
{
    const bool gelu = p->epilogue == SV_GELU, keep = gelu && p->before;
    for (size_t first = from; first < to; first += SV_PANEL) {
        tile t = { .depth = p->k,
                   .pieces = true,
                   .a = p->x + begin * p->x_stride,
                   .a_stride = p->x_stride,
                   .b = (const float *)p->panels + first * p->k,
                   .b_stride = SV_PANEL,
                   .bias = p->bias ? p->bias + first : NULL,
                   .y = p->y + begin * p->y_stride + first,
                   .y_stride = p->y_stride,
                   .columns = least(p->n - first, SV_PANEL) };
        float *y = t.y;
        if (p->epilogue == SV_ADD) {
            t.addend = p->addend + begin * p->addend_stride + first;
            t.addend_stride = p->addend_stride;
            t.gain = p->gain ? p->gain + first : NULL;
        }
        if (keep) {
            t.y = p->before + begin * p->before_stride + first;
            t.y_stride = p->before_stride;
        }
        tile_any(t, rows, false);
        fetch_ahead(next, begin * (to - from) + rows * (first - from), rows * t.columns);
        if (gelu) gelu_tile(y, p->y_stride, t.y, t.y_stride, rows, t.columns);
    }
}

enum { GROUP_BYTES = 640 * 1024 }; /* of panels that all rows meet before the next ones: they stay in L2 */

static void product_rows(const sv_product *p)
{
    const size_t panels = p->k ? GROUP_BYTES / (p->k * SV_PANEL * sizeof(float)) : 1, group = (panels ? panels : 1) * SV_PANEL;
    for (size_t first = 0; first < p->n; first += group) {
        const size_t end = least(first + group, p->n);
        const ahead next = end < p->n ? ahead_of((const float *)p->panels + end * p->k, least(group, p->n - end) * p->k * sizeof(float), p->m * (end - first))
                                      : ahead_of(p->ahead, p->ahead_bytes, p->m * (end - first));
        for (size_t block = 0; block < block_count(p->m); block++) {
            const size_t begin = block_begin(p->m, block);
            product_block(p, begin, block_begin(p->m, block + 1) - begin, first, end, &next);
        }
    }
}

/* C[n, columns] from A across and B whose vectors are whole. */
static void outer_panel(float *c, size_t c_stride, const float *a, size_t a_stride, const float *b, size_t b_stride, size_t m, size_t n,
                        size_t columns, bool accumulate)
{
    for (size_t block = 0; block < block_count(n); block++) {
        const size_t begin = block_begin(n, block);
        const tile t = { .depth = m,
                         .a = a + begin,
                         .a_stride = a_stride,
                         .b = b,
                         .b_stride = b_stride,
                         .accumulate = accumulate,
                         .y = c + begin * c_stride,
                         .y_stride = c_stride,
                         .columns = columns };
        tile_any(t, block_begin(n, block + 1) - begin, true);
    }
}

enum { PASS = 112, STRIP = 64 }; /* most rows of B copied at a time: with A's share of them they fit L1 */

/* Panels outer: a strip of B's columns is copied, padded, and stays near while all of A passes it. Reading B in place, rows of
 * C outer, is 3 to 5 points of the peak slower: strides of 768 floats meet in few sets of L1. */
static void product_outer(float *c, size_t c_stride, const float *a, size_t a_stride, const float *b, size_t b_stride, size_t m, size_t n,
                          size_t k, bool accumulate)
{
    float strip[PASS * SV_PANEL];
    const size_t passes = m ? (m + PASS - 1) / PASS : 1;
    for (size_t pass = 0; pass < passes; pass++) {
        const size_t row = m * pass / passes, rows = m * (pass + 1) / passes - row;
        for (size_t first = 0; first < k; first += SV_PANEL) {
            const size_t columns = least(k - first, SV_PANEL);
            pack_pieces(strip, b + row * b_stride + first, b_stride, columns, rows);
            outer_panel(c + first, c_stride, a + row * a_stride, a_stride, strip, SV_PANEL, rows, n, columns, accumulate || pass > 0);
        }
    }
}

/* A strip of op(B) is packed on the stack and summed into C before the next one. */
static void product_plain(float *c, size_t c_stride, const float *a, size_t a_stride, bool transpose_a, const float *b, size_t b_stride,
                          bool transpose_b, size_t m, size_t n, size_t k, bool accumulate)
{
    float strip[STRIP * SV_PANEL];
    for (size_t first = 0; first < n; first += SV_PANEL) {
        const size_t columns = least(n - first, SV_PANEL);
        size_t l = 0;
        do {
            const size_t depth = least(k - l, STRIP);
            if (transpose_b)
                pack_columns(strip, b + first * b_stride + l, b_stride, columns, depth);
            else
                pack_pieces(strip, b + l * b_stride + first, b_stride, columns, depth);
            for (size_t block = 0; block < block_count(m); block++) {
                const size_t begin = block_begin(m, block);
                const tile t = { .depth = depth,
                                 .a = transpose_a ? a + l * a_stride + begin : a + begin * a_stride + l,
                                 .a_stride = a_stride,
                                 .b = strip,
                                 .b_stride = SV_PANEL,
                                 .accumulate = accumulate || l > 0,
                                 .y = c + begin * c_stride + first,
                                 .y_stride = c_stride,
                                 .columns = columns };
                tile_any(t, block_begin(m, block + 1) - begin, transpose_a);
            }
            l += depth;
        } while (l < k);
    }
}

#endif
