/* Attention of one image, C form. Query i sees keys 0..live-1, and itself where it is dead (i >= live).
 * With sizes s_j of keys, weights are s_j exp(a_ij - top_i) throughout.
 *   a_ij = scale q_i.k_j;  top_i = max over visible j;  Z_i = sum of exp(a_ij - top_i);  p_ij = exp(a_ij - top_i) / Z_i;
 *   out_i = sum of p_ij v_j;  log_sum_i = top_i + log Z_i.  With a bias a_ij = scale q_i.k_j + bias_ij + mask_ij (windows of Swin).
 * Backward over live rows, g = d_out:  D_i = g_i.out_i;  e_ij = p_ij (g_i.v_j - D_i);
 *   dq_i = scale sum_j e_ij k_j;  dk_j = scale sum_i e_ij q_i;  dv_j = sum_i p_ij g_i;  policy_j = sum over i != j of e_ij, where
 *   for dead keys p_ij stands for exp(min(a_ij - top_i, clamp)) / Z_i.
 * With parts of bf16, q, k, v, g and the weights p and slopes scale e enter products so (kernels/chain.h); sums, exponents and Z do not.
 * Order of sums: scores rise over c, weighted rows over j, gradients of keys over i, each one chain from zero; Z, D and the
 * score of a row with itself run in lanes. Exponents are in units of log 2, c = scale log2 e: forward 2^((s - top) c), which is
 * exactly 1 at the top; backward 2^(s c - log_sum log2 e). With a bias scores s are scaled when it is added, and c = log2 e. */
#include "kernels/chain.h"

/* One head of the image: rows of q, k, v. */
typedef struct head {
    const sv_real *q, *k, *v;
    sv_real *out;
    size_t stride, out_stride, width, live;
    sv_real scale, unit; /* of q.k; of the scores that exponents are made of: 1 where a bias was added */
    const sv_real *bias, *mask;
    size_t bias_stride;
    const sv_real *sizes;
} head;

static head head_of(const sv_attention *a, size_t h)
{
    const size_t part = a->heads * a->width;
    const sv_real *q = a->qkv + h * a->width;
    return (head){ q,
                   q + part,
                   q + 2 * part,
                   a->out ? a->out + h * a->width : NULL,
                   a->qkv_stride,
                   a->out_stride,
                   a->width,
                   a->live,
                   1 / real_sqrt((sv_real)a->width),
                   a->bias ? 1 : 1 / real_sqrt((sv_real)a->width),
                   a->bias ? a->bias + h * a->rows * a->bias_stride : NULL,
                   a->mask,
                   a->bias_stride,
                   a->sizes };
}

static sv_real biased(const head *d, size_t i, size_t j, sv_real score)
{
    if (!d->bias) return score;
    const sv_real sum = real_fma(score, d->scale, d->bias[i * d->bias_stride + j]);
    return d->mask ? sum + d->mask[i * d->bias_stride + j] : sum;
}

/* Enough for every form (drawn in kernels/wide/attention.h and attention_bf16.h) and any share of live rows; the C form needs less. */
static size_t larger(size_t a, size_t b) { return ((a > b ? a : b) + 63) / 64 * 64; }

size_t sv_attention_forward_scratch(size_t rows, size_t width)
{
    const size_t columns = (width + SV_PANEL - 1) / SV_PANEL * SV_PANEL, tall = rows + 2 * SV_DEPTH_BF16, wide = width + SV_DEPTH_BF16;
    const size_t whole = ((rows + SV_PANEL) * width + rows * columns + 9 * (rows + 16) + 64) * sizeof(sv_real);
    const size_t parts = 3 * (2 * tall * wide * 2 + SV_ROWS_BF16 * (wide * 2 + tall * 2)) + SV_ROWS_BF16 * (tall + wide) * 4 + 1024;
    return larger(whole, parts);
}

size_t sv_attention_backward_scratch(size_t rows, size_t width)
{
    const size_t columns = (width + SV_PANEL - 1) / SV_PANEL * SV_PANEL, tall = rows + 2 * SV_DEPTH_BF16, wide = width + SV_DEPTH_BF16;
    const size_t whole = (2 * (rows + 2 * SV_PANEL) * width + 3 * rows * columns + (2 * rows + 20) * (rows + 32) + 256) * sizeof(sv_real);
    const size_t parts = 3 * (7 * tall * wide * 2 + 2 * SV_ROWS_BF16 * wide * 2 + 2 * (rows + 1) * tall * 2) + 4 * SV_ROWS_BF16 * tall * 4
                         + 2 * tall * 4 + 4096;
    return larger(whole, parts);
}

static void forward_row(const sv_attention *a, size_t h, size_t i, sv_chain chain)
{
    const head d = head_of(a, h);
    const sv_real *q = d.q + i * d.stride, c = d.unit * REAL_LOG2_E;
    sv_real *weights = a->scratch, *out = a->out_half ? NULL : d.out + i * d.out_stride;
    const bool dead = i >= d.live;
    const sv_real own = dead ? lanes_dot(q, d.k + i * d.stride, d.width) : 0;
    const sv_real lowest = -127 / c;
    sv_real top = dead ? own : -INFINITY, lanes[SV_LANES] = { 0 };
    for (size_t j = 0; j < d.live; j++) {
        weights[j] = biased(&d, i, j, chain_sum(chain, 0, q, 1, d.k + j * d.stride, 1, d.width));
        top = weights[j] > top ? weights[j] : top;
    }
    for (size_t j = 0; j < d.live; j++) {
        weights[j] = real_exp2_below(weights[j] - top, c, lowest);
        if (d.sizes) weights[j] *= d.sizes[j];
        lanes[j % SV_LANES] += weights[j];
    }
    const sv_real own_weight = dead ? real_exp2_below(own - top, c, lowest) : 0;
    const sv_real total = lanes_total(lanes) + own_weight, factor = 1 / total;
    for (size_t x = 0; x < d.width; x++) {
        const sv_real sum = chain_sum(chain, 0, weights, 1, d.v + x, d.stride, d.live);
        const sv_real number = (dead ? real_fma(own_weight, d.v[i * d.stride + x], sum) : sum) * factor;
        if (a->out_half)
            a->out_half[i * a->out_stride + h * a->width + x] = bf16_bits(real_round_bf16(number));
        else
            out[x] = number;
    }
    if (a->top) a->top[h * a->rows + i] = top * d.unit;
    if (a->log_sum) a->log_sum[h * a->rows + i] = top * d.unit + sv_ln(total);
}

void sv_attention_forward_any_c(const sv_attention *attention, size_t row_begin, size_t row_end, sv_chain chain)
{
    for (size_t h = 0; h < attention->heads; h++)
        for (size_t i = row_begin; i < row_end; i++) forward_row(attention, h, i, chain);
}

void sv_attention_forward_c(const sv_attention *a, size_t begin, size_t end)
{
    sv_attention_forward_any_c(a, begin, end, (sv_chain){ .order = SV_ORDER_F32 });
}

/* One head on its way back: weights p and slopes scale e of its live rows [live, live], and where gradients go. */
typedef struct back {
    head d;
    const sv_real *g;
    size_t g_stride;
    sv_real *dq, *dk, *dv;
    size_t d_stride;
    const sv_real *top, *log_sum;
    sv_real *weights, *slopes, *e, *d_bias;
    sv_real clamp;
    uint64_t *clamped;
    sv_chain chain;
} back;

static sv_real through_of(const back *b, size_t i) { return lanes_dot(b->g + i * b->g_stride, b->d.out + i * b->d.out_stride, b->d.width); }

/* Weights, slopes and dq of one live query; its e in b->e. */
static void backward_row(const back *b, size_t i)
{
    const head *d = &b->d;
    const sv_real *q = d->q + i * d->stride, *g = b->g + i * b->g_stride, c = d->unit * REAL_LOG2_E, through = through_of(b, i);
    sv_real *weights = b->weights + i * d->live, *slopes = b->slopes + i * d->live;
    for (size_t j = 0; j < d->live; j++) {
        const sv_real score = biased(d, i, j, chain_sum(b->chain, 0, q, 1, d->k + j * d->stride, 1, d->width));
        weights[j] = real_exp2(real_fma(score, c, -(b->log_sum[i] * REAL_LOG2_E)));
        if (d->sizes) weights[j] *= d->sizes[j];
        b->e[j] = weights[j] * (chain_sum(b->chain, 0, g, 1, d->v + j * d->stride, 1, d->width) - through);
        slopes[j] = b->e[j] * d->scale;
        if (b->d_bias) b->d_bias[i * d->bias_stride + j] += b->e[j];
    }
    for (size_t x = 0; x < d->width; x++) b->dq[i * b->d_stride + x] = chain_sum(b->chain, 0, slopes, 1, d->k + x, d->stride, d->live);
}

/* e of a live query i towards the dead key j. */
static sv_real dead_key(const back *b, size_t i, size_t j)
{
    const head *d = &b->d;
    const sv_real score = chain_sum(b->chain, 0, d->q + i * d->stride, 1, d->k + j * d->stride, 1, d->width);
    const sv_real inverse = real_exp2((b->top[i] - b->log_sum[i]) * REAL_LOG2_E), most = b->clamp * REAL_LOG2_E;
    sv_real exponent = real_fma(score, d->scale * REAL_LOG2_E, -(b->top[i] * REAL_LOG2_E));
    if (exponent > most) {
        exponent = most;
        if (b->clamped) ++*b->clamped;
    }
    return real_exp2(exponent) * inverse
           * (chain_sum(b->chain, 0, b->g + i * b->g_stride, 1, d->v + j * d->stride, 1, d->width) - through_of(b, i));
}

static void backward_head(const back *b, size_t rows, sv_real *policy)
{
    const head *d = &b->d;
    sv_real *sums = b->e + rows;
    memset(sums, 0, rows * sizeof *sums);
    for (size_t i = 0; i < d->live; i++) {
        backward_row(b, i);
        for (size_t j = 0; policy && j < d->live; j++) sums[j] += j == i ? 0 : b->e[j];
        for (size_t j = d->live; policy && j < rows; j++) sums[j] += dead_key(b, i, j);
    }
    for (size_t j = 0; j < d->live; j++)
        for (size_t x = 0; x < d->width; x++) {
            b->dk[j * b->d_stride + x] = chain_sum(b->chain, 0, b->slopes + j, d->live, d->q + x, d->stride, d->live);
            b->dv[j * b->d_stride + x] = chain_sum(b->chain, 0, b->weights + j, d->live, b->g + x, b->g_stride, d->live);
        }
    for (size_t j = 0; policy && j < rows; j++) policy[j] += sums[j];
}

void sv_attention_backward_any_c(const sv_attention *a, const sv_real *d_out, size_t d_out_stride, sv_real *d_qkv, size_t d_qkv_stride,
                                 sv_real *policy, sv_real clamp, uint64_t *clamped, sv_chain chain)
{
    const size_t part = a->heads * a->width;
    for (size_t h = 0; h < a->heads; h++) {
        sv_real *dq = d_qkv + h * a->width, *weights = a->scratch;
        const back b = { .d = head_of(a, h),
                         .g = d_out + h * a->width,
                         .g_stride = d_out_stride,
                         .dq = dq,
                         .dk = dq + part,
                         .dv = dq + 2 * part,
                         .d_stride = d_qkv_stride,
                         .top = a->top ? a->top + h * a->rows : NULL,
                         .log_sum = a->log_sum + h * a->rows,
                         .weights = weights,
                         .slopes = weights + a->live * a->live,
                         .e = weights + 2 * a->live * a->live,
                         .d_bias = a->d_bias ? a->d_bias + h * a->rows * a->bias_stride : NULL,
                         .clamp = clamp,
                         .clamped = clamped,
                         .chain = chain };
        backward_head(&b, a->rows, policy);
    }
}

void sv_attention_backward_c(const sv_attention *a, const sv_real *d_out, size_t d_out_stride, sv_real *d_qkv, size_t d_qkv_stride,
                             sv_real *policy, sv_real clamp, uint64_t *clamped)
{
    sv_attention_backward_any_c(a, d_out, d_out_stride, d_qkv, d_qkv_stride, policy, clamp, clamped, (sv_chain){ .order = SV_ORDER_F32 });
}
