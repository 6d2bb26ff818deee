/* Attention over the tile, one head at a time; formulas and the order of sums: kernels/attention.c.
 * Forward: keys as panels of columns, values as panels of pieces; then for each block of query rows the scores against all
 * live keys, the weights in place of them, and the weighted values. Nothing rows x rows exists.
 * Backward: weights P and slopes S = scale e of all live rows stay in L2 (2 rows^2 numbers); dq follows each block of rows,
 * dv = P^T g and dk = S^T q at the end. Scratch in order:
 *   forward:   keys [panels][width][48] | values [panels][live][48] | scores [9][live16]
 *   backward:  keys, values (columns) | keys, q, g (pieces) | P | S | sums [live16] || for dead keys: keys, values (columns)
 *              | scores, products [9][dead16] | sums [dead16] */
#ifndef SIEVE_KERNELS_WIDE_ATTENTION_H
#define SIEVE_KERNELS_WIDE_ATTENTION_H

static float *take(float **room, size_t count)
{
    float *taken = *room;
    *room += up_to(count, 16);
    return taken;
}

/* y[rows, columns] = A B for a block of rows over panels of B. */
static void block_product(float *y, size_t y_stride, const float *a, size_t a_stride, const float *panels, size_t rows, size_t columns,
                          size_t depth)
{
    for (size_t first = 0; first < columns; first += SV_PANEL) {
        const tile t = { .depth = depth,
                         .a = a,
                         .a_stride = a_stride,
                         .b = panels + first * depth,
                         .b_stride = SV_PANEL,
                         .y = y + first,
                         .y_stride = y_stride,
                         .columns = least(columns - first, SV_PANEL) };
        tile_any(t, rows, false);
    }
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

/* Scores become weights 2^((score - top) c), times the keys' sizes where they have any; returns their sum. */
static float weigh_row(float *scores, const float *sizes, size_t live, float c, float lowest, float top)
{
    v16 sum = v_set(0.0f);
    const v16 scale = v_set(c), deepest = v_set(lowest), most = v_set(top);
    size_t j = 0;
    for (; j + 16 <= live; j += 16) {
        v16 weight = w_exp2_below(v_sub(v_load(scores + j, 16), most), scale, deepest);
        if (sizes) weight = v_mul(weight, v_load(sizes + j, 16));
        sum = v_add(sum, weight);
        v_store(scores + j, weight, 16);
    }
    if (j < live) {
        v16 weight = v_keep(w_exp2_below(v_sub(v_load(scores + j, 16), most), scale, deepest), live - j);
        if (sizes) weight = v_mul(weight, v_load(sizes + j, live - j));
        sum = v_add(sum, weight);
        v_store(scores + j, weight, 16);
    }
    return v_total(sum);
}

static void forward_block(const head *d, const float *keys, const float *values, float *scores, size_t begin, size_t rows, float *top_out,
                          float *log_sum)
{
    const size_t padded = up_to(d->live, 16);
    const float c = d->unit * LOG2_E, lowest = -127.0f / c;
    float tops[16] = { 0 }, totals[16], owns[16];
    block_product(scores, padded, d->q + begin * d->stride, d->stride, keys, rows, padded, d->width);
    for (size_t r = 0; r < rows; r++) {
        const float *row = d->q + (begin + r) * d->stride;
        const bool dead = begin + r >= d->live;
        const float own = dead ? row_dot(row, d->k + (begin + r) * d->stride, d->width) : -__builtin_inff();
        bias_row(d, scores + r * padded, begin + r);
        tops[r] = row_top(scores + r * padded, d->live, own);
        owns[r] = dead ? v_first(w_exp2_below(v_set(own - tops[r]), v_set(c), v_set(lowest))) : 0.0f;
        totals[r] = weigh_row(scores + r * padded, d->sizes, d->live, c, lowest, tops[r]) + owns[r];
    }
    block_product(d->out + begin * d->out_stride, d->out_stride, scores, padded, values, rows, d->width, d->live);
    for (size_t r = 0; r < rows; r++)
        finish_out(d->out + (begin + r) * d->out_stride, d->v + (begin + r) * d->stride, d->width, owns[r], begin + r >= d->live,
                   1.0f / totals[r]);
    const v16 top = v_mul(v_load(tops, 16), v_set(d->unit));
    if (top_out) v_store(top_out + begin, top, rows);
    if (log_sum) v_store(log_sum + begin, v_add(top, w_ln(v_load(totals, rows))), rows);
}

static void attention_forward(const sv_attention *a, size_t row_begin, size_t row_end)
{
    const size_t count = row_end - row_begin;
    for (size_t h = 0; count > 0 && h < a->heads; h++) {
        const head d = head_of(a, h);
        float *room = aligned(a->scratch), *keys = take(&room, up_to(d.live, SV_PANEL) * d.width);
        float *values = take(&room, up_to(d.width, SV_PANEL) * d.live), *scores = take(&room, TILE_ROWS * up_to(d.live, 16));
        pack_columns(keys, d.k, d.stride, d.live, d.width);
        pack_pieces(values, d.v, d.stride, d.width, d.live);
        for (size_t block = 0; block < block_count(count); block++) {
            const size_t begin = block_begin(count, block);
            forward_block(&d, keys, values, scores, row_begin + begin, block_begin(count, block + 1) - begin,
                          a->top ? a->top + h * a->rows : NULL, a->log_sum ? a->log_sum + h * a->rows : NULL);
        }
    }
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

/* One head on its way back. */
typedef struct back {
    head d;
    const float *g;
    size_t g_stride; /* d_out of this head */
    float *dq, *dk, *dv;
    size_t d_stride;
    const float *log_sum, *top;
    float *keys, *values, *k, *q, *go; /* packed: columns; pieces */
    float *weights, *slopes, *sums;
    size_t padded;
    size_t dead; /* keys; 0 where no policy gradient is wanted */
    float *dead_keys, *dead_values, *dead_scores, *dead_products, *dead_sums;
    size_t dead_padded;
    bool policy;
    float clamp;
    uint64_t clamped;
} back;

/* Scores and products of a live row become weights and slopes; e goes into the sums of the policy. */
static void slope_row(back *b, size_t i, float through)
{
    const v16 c = v_set(b->d.unit * LOG2_E), shift = v_set(-(b->log_sum[i] * LOG2_E));
    float *weights = b->weights + i * b->padded, *slopes = b->slopes + i * b->padded;
    for (size_t j = 0; j < b->padded; j += 16) {
        v16 weight = w_exp2(v_fma(v_load(weights + j, 16), c, shift));
        if (b->d.sizes) weight = v_mul(weight, v_load(b->d.sizes + j, least(b->d.live - j, 16)));
        const v16 e = v_mul(weight, v_sub(v_load(slopes + j, 16), v_set(through)));
        v_store(weights + j, weight, 16);
        v_store(slopes + j, v_mul(e, v_set(b->d.scale)), 16);
        grow_bias(&b->d, i, j, e);
        if (b->policy) v_store(b->sums + j, v_add(v_load(b->sums + j, 16), i - j < 16 ? v_without(e, i - j) : e), 16);
    }
}

static void backward_block(back *b, size_t begin, size_t rows)
{
    const head *d = &b->d;
    const float *q = d->q + begin * d->stride, *g = b->g + begin * b->g_stride;
    float *weights = b->weights + begin * b->padded, *slopes = b->slopes + begin * b->padded;
    block_product(weights, b->padded, q, d->stride, b->keys, rows, b->padded, d->width);
    block_product(slopes, b->padded, g, b->g_stride, b->values, rows, b->padded, d->width);
    block_product(b->dead_scores, b->dead_padded, q, d->stride, b->dead_keys, rows, b->dead_padded, d->width);
    block_product(b->dead_products, b->dead_padded, g, b->g_stride, b->dead_values, rows, b->dead_padded, d->width);
    for (size_t r = 0; r < rows; r++) {
        const float through = row_dot(g + r * b->g_stride, d->out + (begin + r) * d->out_stride, d->width);
        bias_row(d, weights + r * b->padded, begin + r);
        slope_row(b, begin + r, through);
        if (b->dead)
            b->clamped += dead_row(b->dead_sums, b->dead_scores + r * b->dead_padded, b->dead_products + r * b->dead_padded, b->dead, d->scale,
                                   b->top[begin + r], b->log_sum[begin + r], b->clamp, through);
    }
    block_product(b->dq + begin * b->d_stride, b->d_stride, slopes, b->padded, b->k, rows, d->width, d->live);
}

static void back_lay_out(back *b, void *scratch)
{
    const head *d = &b->d;
    const size_t columns = up_to(d->live, SV_PANEL) * d->width, pieces = up_to(d->width, SV_PANEL) * d->live;
    const size_t dead_columns = up_to(b->dead, SV_PANEL) * d->width;
    float *room = aligned(scratch);
    b->padded = up_to(d->live, 16);
    b->dead_padded = up_to(b->dead, 16);
    b->keys = take(&room, columns);
    b->values = take(&room, columns);
    b->k = take(&room, pieces);
    b->q = take(&room, pieces);
    b->go = take(&room, pieces);
    b->weights = take(&room, d->live * b->padded);
    b->slopes = take(&room, d->live * b->padded);
    b->sums = take(&room, b->padded);
    b->dead_keys = take(&room, dead_columns);
    b->dead_values = take(&room, dead_columns);
    b->dead_scores = take(&room, TILE_ROWS * b->dead_padded);
    b->dead_products = take(&room, TILE_ROWS * b->dead_padded);
    b->dead_sums = take(&room, b->dead_padded);
}

static void back_pack(back *b)
{
    const head *d = &b->d;
    pack_columns(b->keys, d->k, d->stride, d->live, d->width);
    pack_columns(b->values, d->v, d->stride, d->live, d->width);
    pack_pieces(b->k, d->k, d->stride, d->width, d->live);
    pack_pieces(b->q, d->q, d->stride, d->width, d->live);
    pack_pieces(b->go, b->g, b->g_stride, d->width, d->live);
    pack_columns(b->dead_keys, d->k + d->live * d->stride, d->stride, b->dead, d->width);
    pack_columns(b->dead_values, d->v + d->live * d->stride, d->stride, b->dead, d->width);
    for (size_t j = 0; j < b->padded; j += 16) v_store(b->sums + j, v_set(0.0f), 16);
    for (size_t j = 0; j < b->dead_padded; j += 16) v_store(b->dead_sums + j, v_set(0.0f), 16);
}

/* y[keys, width] = A^T B over all live rows, A[live, padded], B in pieces. Rows outer: a strip of A stays in L1 for all of B. */
static void keys_product(float *y, size_t y_stride, const float *a, const float *pieces, const back *b)
{
    const size_t live = b->d.live, width = b->d.width;
    for (size_t block = 0; block < block_count(live); block++) {
        const size_t begin = block_begin(live, block), rows = block_begin(live, block + 1) - begin;
        for (size_t first = 0; first < width; first += SV_PANEL)
            outer_panel(y + begin * y_stride + first, y_stride, a + begin, b->padded, pieces + first * live, SV_PANEL, live, rows,
                        least(width - first, SV_PANEL), false);
    }
}

static void backward_head(back *b, void *scratch, float *policy)
{
    const head *d = &b->d;
    back_lay_out(b, scratch);
    back_pack(b);
    for (size_t block = 0; block < block_count(d->live); block++) {
        const size_t begin = block_begin(d->live, block);
        backward_block(b, begin, block_begin(d->live, block + 1) - begin);
    }
    keys_product(b->dk, b->d_stride, b->slopes, b->q, b);
    keys_product(b->dv, b->d_stride, b->weights, b->go, b);
    for (size_t j = 0; policy && j < d->live; j++) policy[j] += b->sums[j];
    for (size_t j = 0; policy && j < b->dead; j++) policy[d->live + j] += b->dead_sums[j];
}

static void attention_backward(const sv_attention *a, const float *d_out, size_t d_out_stride, float *d_qkv, size_t d_qkv_stride,
                               float *policy_gradient, float clamp, uint64_t *clamped)
{
    const size_t part = a->heads * a->width;
    for (size_t h = 0; a->live > 0 && h < a->heads; h++) {
        float *dq = d_qkv + h * a->width;
        back b = { .d = head_of(a, h),
                   .g = d_out + h * a->width,
                   .g_stride = d_out_stride,
                   .dq = dq,
                   .dk = dq + part,
                   .dv = dq + 2 * part,
                   .d_stride = d_qkv_stride,
                   .log_sum = a->log_sum + h * a->rows,
                   .top = a->top ? a->top + h * a->rows : NULL,
                   .dead = policy_gradient ? a->rows - a->live : 0,
                   .policy = policy_gradient != NULL,
                   .clamp = clamp };
        backward_head(&b, a->scratch, policy_gradient);
        if (clamped) *clamped += b.clamped;
    }
}

#endif
