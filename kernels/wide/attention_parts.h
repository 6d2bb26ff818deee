/* Attention with operands in parts of bf16, over an engine; formulas and orders: kernels/attention.c. As kernels/wide/attention.h, but
 * with operands taken apart and packed as pairs, and weights P and slopes S kept so, as rows in L2. Scratch in order:
 *   forward:   keys, values (panels) | q [rows of a block] | scores | weights | sums of a block
 *   backward:  keys, values (columns) | k, q, g (pieces) | q, g of a block | scores, products of a block | P | S | sums ||
 *              for dead keys: keys, values (columns) | scores, products of a block | sums */
#ifndef SIEVE_KERNELS_WIDE_ATTENTION_PARTS_H
#define SIEVE_KERNELS_WIDE_ATTENTION_PARTS_H

static void *take_bytes(unsigned char **room, size_t count)
{
    unsigned char *taken = *room;
    *room += up_to(count, 64);
    return taken;
}
static uint32_t *take_panels(unsigned char **room, size_t columns, size_t depth)
{
    return take_bytes(room, PARTS * panel_words(columns, depth) * 4);
}
/* Rows of `padded` numbers in parts. */
static uint32_t *take_halves(unsigned char **room, size_t rows, size_t padded) { return take_bytes(room, PARTS * rows * padded * 2); }

/* ---- forward ----------------------------------------------------------------------------------------------------- */

/* Weights 2^((score - top) c) of a row, times the keys' sizes where they have any, taken apart for the product, zeros behind them; returns the sum of the whole ones. */
static float weigh_row_parts(uint32_t *weights, size_t step, const float *scores, const float *sizes, size_t live, size_t padded, float c,
                             float lowest, float top)
{
    v16 sum = v_set(0.0f);
    const v16 scale = v_set(c), deepest = v_set(lowest), most = v_set(top);
    for (size_t j = 0; j < padded; j += 32) {
        v16 pair[2];
        UNROLL for (size_t half = 0; half < 2; half++)
        {
            const size_t at = j + 16 * half;
            pair[half] = w_exp2_below(v_sub(v_load(scores + at, 16), most), scale, deepest);
            if (sizes) pair[half] = v_mul(pair[half], v_load(sizes + at, live > at ? least(live - at, 16) : 0));
            if (at + 16 > live) pair[half] = v_keep(pair[half], live > at ? live - at : 0);
            sum = v_add(sum, pair[half]);
        }
        store_parts(weights + j / 2, step, pair[0], pair[1]);
    }
    return v_total(sum);
}

typedef struct front {
    head d;
    uint32_t *keys, *values, *q, *weights;
    float *scores, *sums;
    uint16_t *out_half; /* of the head; NULL: sums are made in out */
    size_t wide, tall;  /* width and live, padded */
} front;

static void forward_block(const front *f, size_t begin, size_t rows, float *top_out, float *log_sum)
{
    const head *d = &f->d;
    const float c = d->unit * LOG2_E, lowest = -127.0f / c;
    float tops[SV_ROWS_BF16] = { 0 }, totals[SV_ROWS_BF16], owns[SV_ROWS_BF16];
    const size_t q_step = ENGINE_ROWS * f->wide / 2, step = ENGINE_ROWS * f->tall / 2;
    take_rows(f->q, q_step, d->q + begin * d->stride, d->stride, rows, d->width, f->wide);
    multiply(f->scores, f->tall, f->q, f->wide / 2, q_step, f->keys, panel_words(d->live, d->width), rows, f->tall, f->wide / 2, false);
    for (size_t r = 0; r < rows; r++) {
        const float *row = d->q + (begin + r) * d->stride;
        float *scores = f->scores + r * f->tall;
        const bool dead = begin + r >= d->live;
        const float own = dead ? row_dot(row, d->k + (begin + r) * d->stride, d->width) : -__builtin_inff();
        bias_row(d, scores, begin + r);
        tops[r] = row_top(scores, d->live, own);
        owns[r] = dead ? v_first(w_exp2_below(v_set(own - tops[r]), v_set(c), v_set(lowest))) : 0.0f;
        totals[r] = weigh_row_parts(f->weights + r * f->tall / 2, step, scores, d->sizes, d->live, f->tall, c, lowest, tops[r]) + owns[r];
    }
    float *out = f->out_half ? f->sums : d->out + begin * d->out_stride;
    const size_t out_stride = f->out_half ? f->wide : d->out_stride;
    multiply(out, out_stride, f->weights, f->tall / 2, step, f->values, panel_words(d->width, d->live), rows, d->width, f->tall / 2, false);
    for (size_t r = 0; r < rows; r++) {
        finish_out(out + r * out_stride, d->v + (begin + r) * d->stride, d->width, owns[r], begin + r >= d->live, 1.0f / totals[r]);
        for (size_t x = 0; f->out_half && x < d->width; x += SV_PANEL_BF16)
            put_halves(f->out_half + (begin + r) * d->out_stride + x, out + r * out_stride + x, least(d->width - x, SV_PANEL_BF16));
    }
    for (size_t r = 0; r < rows; r += 16) {
        const size_t n = least(rows - r, 16);
        const v16 top = v_mul(v_load(tops + r, n), v_set(d->unit));
        if (top_out) v_store(top_out + begin + r, top, n);
        if (log_sum) v_store(log_sum + begin + r, v_add(top, w_ln(v_load(totals + r, n))), n);
    }
}

static void attention_forward_parts(const sv_attention *a, size_t row_begin, size_t row_end)
{
    const size_t count = row_end - row_begin;
    engine_begin();
    for (size_t h = 0; count > 0 && h < a->heads; h++) {
        unsigned char *room = (unsigned char *)aligned(a->scratch);
        front f = { .d = head_of(a, h), .wide = up_to_32(a->width), .tall = up_to_32(a->live) };
        f.keys = take_panels(&room, a->live, a->width);
        f.values = take_panels(&room, a->width, a->live);
        f.q = take_halves(&room, ENGINE_ROWS, f.wide);
        f.scores = take_bytes(&room, ENGINE_ROWS * f.tall * 4);
        f.weights = take_halves(&room, ENGINE_ROWS, f.tall);
        f.sums = take_bytes(&room, ENGINE_ROWS * f.wide * 4);
        f.out_half = a->out_half ? a->out_half + h * a->width : NULL;
        pack_columns_parts(f.keys, f.d.k, f.d.stride, a->live, a->width);
        pack_pieces_parts(f.values, f.d.v, f.d.stride, a->width, a->live);
        for (size_t block = 0; block < engine_blocks(count); block++) {
            const size_t begin = engine_block_begin(count, block);
            forward_block(&f, row_begin + begin, engine_block_begin(count, block + 1) - begin, a->top ? a->top + h * a->rows : NULL,
                          a->log_sum ? a->log_sum + h * a->rows : NULL);
        }
    }
    engine_end();
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
    uint32_t *keys, *values, *k, *q, *go; /* packed: columns; pieces */
    uint32_t *block_q, *block_g;          /* rows of a block, rounded */
    float *scores, *products, *sums;      /* of a block; of the policy */
    uint32_t *weights, *slopes;           /* [part][live][tall] of bf16 */
    size_t wide, tall;
    size_t dead; /* keys; 0 where no policy gradient is wanted */
    uint32_t *dead_keys, *dead_values;
    float *dead_scores, *dead_products, *dead_sums;
    size_t dead_tall;
    bool policy;
    float clamp;
    uint64_t clamped;
} back;

/* 16 weights and slopes of live row i from j on; e goes into the sums of the policy. */
WORD void slope_piece(const back *b, size_t i, size_t j, const float *scores, const float *products, v16 shift, v16 through, v16 *weight,
                      v16 *slope)
{
    *weight = w_exp2(v_fma(v_load(scores + j, 16), v_set(b->d.unit * LOG2_E), shift));
    if (b->d.sizes) *weight = v_mul(*weight, v_load(b->d.sizes + j, b->d.live > j ? least(b->d.live - j, 16) : 0));
    v16 e = v_mul(*weight, v_sub(v_load(products + j, 16), through));
    if (j + 16 > b->d.live) {
        const size_t n = b->d.live > j ? b->d.live - j : 0;
        *weight = v_keep(*weight, n);
        e = v_keep(e, n);
    }
    *slope = v_mul(e, v_set(b->d.scale));
    grow_bias(&b->d, i, j, e);
    if (b->policy) v_store(b->sums + j, v_add(v_load(b->sums + j, 16), i - j < 16 ? v_without(e, i - j) : e), 16);
}

static void slope_row(const back *b, size_t i, const float *scores, const float *products, float through)
{
    const v16 shift = v_set(-(b->log_sum[i] * LOG2_E)), passed = v_set(through);
    const size_t step = b->d.live * b->tall / 2;
    for (size_t j = 0; j < b->tall; j += 32) {
        v16 weight[2], slope[2];
        UNROLL for (size_t half = 0; half < 2; half++)
            slope_piece(b, i, j + 16 * half, scores, products, shift, passed, &weight[half], &slope[half]);
        store_parts(b->weights + (i * b->tall + j) / 2, step, weight[0], weight[1]);
        store_parts(b->slopes + (i * b->tall + j) / 2, step, slope[0], slope[1]);
    }
}

static void backward_block(back *b, size_t begin, size_t rows)
{
    const head *d = &b->d;
    const float *g = b->g + begin * b->g_stride;
    const size_t words = b->wide / 2, step = ENGINE_ROWS * words, keys = panel_words(d->live, d->width),
                 dead = panel_words(b->dead, d->width);
    take_rows(b->block_q, step, d->q + begin * d->stride, d->stride, rows, d->width, b->wide);
    take_rows(b->block_g, step, g, b->g_stride, rows, d->width, b->wide);
    multiply(b->scores, b->tall, b->block_q, words, step, b->keys, keys, rows, b->tall, words, false);
    multiply(b->products, b->tall, b->block_g, words, step, b->values, keys, rows, b->tall, words, false);
    if (b->dead) multiply(b->dead_scores, b->dead_tall, b->block_q, words, step, b->dead_keys, dead, rows, b->dead_tall, words, false);
    if (b->dead) multiply(b->dead_products, b->dead_tall, b->block_g, words, step, b->dead_values, dead, rows, b->dead_tall, words, false);
    for (size_t r = 0; r < rows; r++) {
        const float through = row_dot(g + r * b->g_stride, d->out + (begin + r) * d->out_stride, d->width);
        bias_row(d, b->scores + r * b->tall, begin + r);
        slope_row(b, begin + r, b->scores + r * b->tall, b->products + r * b->tall, through);
        if (b->dead)
            b->clamped += dead_row(b->dead_sums, b->dead_scores + r * b->dead_tall, b->dead_products + r * b->dead_tall, b->dead, d->scale,
                                   b->top[begin + r], b->log_sum[begin + r], b->clamp, through);
    }
    multiply(b->dq + begin * b->d_stride, b->d_stride, b->slopes + begin * b->tall / 2, b->tall / 2, d->live * b->tall / 2, b->k,
             panel_words(d->width, d->live), rows, d->width, b->tall / 2, false);
}

static void back_lay_out(back *b, void *scratch)
{
    const size_t live = b->d.live, width = b->d.width;
    unsigned char *room = (unsigned char *)aligned(scratch);
    b->wide = up_to_32(width);
    b->tall = up_to_32(live);
    b->dead_tall = up_to_32(b->dead);
    b->keys = take_panels(&room, live, width);
    b->values = take_panels(&room, live, width);
    b->k = take_panels(&room, width, live);
    b->q = take_panels(&room, width, live);
    b->go = take_panels(&room, width, live);
    b->block_q = take_halves(&room, ENGINE_ROWS, b->wide);
    b->block_g = take_halves(&room, ENGINE_ROWS, b->wide);
    b->scores = take_bytes(&room, ENGINE_ROWS * b->tall * 4);
    b->products = take_bytes(&room, ENGINE_ROWS * b->tall * 4);
    b->weights = take_halves(&room, live, b->tall);
    b->slopes = take_halves(&room, live, b->tall);
    b->sums = take_bytes(&room, b->tall * 4);
    b->dead_keys = take_panels(&room, b->dead, width);
    b->dead_values = take_panels(&room, b->dead, width);
    b->dead_scores = take_bytes(&room, ENGINE_ROWS * b->dead_tall * 4);
    b->dead_products = take_bytes(&room, ENGINE_ROWS * b->dead_tall * 4);
    b->dead_sums = take_bytes(&room, b->dead_tall * 4);
}

static void back_pack(back *b)
{
    const head *d = &b->d;
    pack_columns_parts(b->keys, d->k, d->stride, d->live, d->width);
    pack_columns_parts(b->values, d->v, d->stride, d->live, d->width);
    pack_pieces_parts(b->k, d->k, d->stride, d->width, d->live);
    pack_pieces_parts(b->q, d->q, d->stride, d->width, d->live);
    pack_pieces_parts(b->go, b->g, b->g_stride, d->width, d->live);
    pack_columns_parts(b->dead_keys, d->k + d->live * d->stride, d->stride, b->dead, d->width);
    pack_columns_parts(b->dead_values, d->v + d->live * d->stride, d->stride, b->dead, d->width);
    for (size_t j = 0; j < b->tall; j += 16) v_store(b->sums + j, v_set(0.0f), 16);
    for (size_t j = 0; j < b->dead_tall; j += 16) v_store(b->dead_sums + j, v_set(0.0f), 16);
}

static void backward_head(back *b, void *scratch, float *policy)
{
    const head *d = &b->d;
    back_lay_out(b, scratch);
    back_pack(b);
    for (size_t block = 0; block < engine_blocks(d->live); block++) {
        const size_t begin = engine_block_begin(d->live, block);
        backward_block(b, begin, engine_block_begin(d->live, block + 1) - begin);
    }
    const size_t step = d->live * b->tall / 2;
    const across slopes = { b->slopes, b->tall, d->live, true, step }, weights = { b->weights, b->tall, d->live, true, step };
    outer_rows(b->dk, b->d_stride, &slopes, b->q, d->live, d->width, false);
    outer_rows(b->dv, b->d_stride, &weights, b->go, d->live, d->width, false);
    for (size_t j = 0; policy && j < d->live; j++) policy[j] += b->sums[j];
    for (size_t j = 0; policy && j < b->dead; j++) policy[d->live + j] += b->dead_sums[j];
}

static void attention_backward_parts(const sv_attention *a, const float *d_out, size_t d_out_stride, float *d_qkv, size_t d_qkv_stride,
                                     float *policy_gradient, float clamp, uint64_t *clamped)
{
    const size_t part = a->heads * a->width;
    engine_begin();
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
    engine_end();
}

#endif
