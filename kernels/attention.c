/* Attention of one image, C form. Query i sees keys 0..live-1, and itself where it is dead (i >= live).
 *   a_ij = scale q_i.k_j;  top_i = max over visible j;  Z_i = sum of exp(a_ij - top_i);  p_ij = exp(a_ij - top_i) / Z_i;
 *   out_i = sum of p_ij v_j;  log_sum_i = top_i + log Z_i.
 * Backward over live rows, g = d_out:  D_i = g_i.out_i;  e_ij = p_ij (g_i.v_j - D_i);
 *   dq_i = scale sum_j e_ij k_j;  dk_j = scale sum_i e_ij q_i;  dv_j = sum_i p_ij g_i;  policy_j = sum over i != j of e_ij, where
 *   for dead keys p_ij stands for exp(min(a_ij - top_i, clamp)) / Z_i.
 * Order of sums: scores rise over c, weighted rows over j, gradients of keys over i, each one chain from zero; Z, D and the
 * score of a row with itself run in lanes. Exponents are in units of log 2, c = scale log2 e: forward 2^((s - top) c), which is
 * exactly 1 at the top; backward 2^(s c - log_sum log2 e). */
#include "kernels/real.h"

/* One head of the image: rows of q, k, v. */
typedef struct head {
    const sv_real *q, *k, *v;
    sv_real *out;
    size_t stride, out_stride, width, live;
    sv_real scale;
} head;

static head head_of(const sv_attention *a, size_t h)
{
    const size_t part = a->heads * a->width;
    const sv_real *q = a->qkv + h * a->width;
    return (head){
        q, q + part, q + 2 * part, a->out + h * a->width, a->qkv_stride, a->out_stride, a->width, a->live, 1 / real_sqrt((sv_real)a->width)
    };
}

static sv_real dot_rising(const sv_real *x, const sv_real *y, size_t count)
{
    sv_real sum = 0;
    for (size_t i = 0; i < count; i++) sum = real_fma(x[i], y[i], sum);
    return sum;
}

/* y += a x */
static void add_scaled(sv_real *y, sv_real a, const sv_real *x, size_t count)
{
    for (size_t i = 0; i < count; i++) y[i] = real_fma(a, x[i], y[i]);
}

/* Enough for every form (drawn in kernels/wide/attention.h) and any share of live rows; the C form needs a row or two of it. */
size_t sv_attention_forward_scratch(size_t rows, size_t width)
{
    const size_t columns = (width + SV_PANEL - 1) / SV_PANEL * SV_PANEL;
    return ((rows + SV_PANEL) * width + rows * columns + 9 * (rows + 16) + 64) * sizeof(sv_real);
}

size_t sv_attention_backward_scratch(size_t rows, size_t width)
{
    const size_t columns = (width + SV_PANEL - 1) / SV_PANEL * SV_PANEL;
    return (2 * (rows + 2 * SV_PANEL) * width + 3 * rows * columns + (2 * rows + 20) * (rows + 32) + 256) * sizeof(sv_real);
}

static void forward_row(const sv_attention *a, size_t h, size_t i)
{
    const head d = head_of(a, h);
    const sv_real *q = d.q + i * d.stride, c = d.scale * REAL_LOG2_E;
    sv_real *weights = a->scratch, *out = d.out + i * d.out_stride;
    const bool dead = i >= d.live;
    const sv_real own = dead ? lanes_dot(q, d.k + i * d.stride, d.width) : 0;
    const sv_real lowest = -127 / c;
    sv_real top = dead ? own : -INFINITY, lanes[SV_LANES] = { 0 };
    for (size_t j = 0; j < d.live; j++) {
        weights[j] = dot_rising(q, d.k + j * d.stride, d.width);
        top = weights[j] > top ? weights[j] : top;
    }
    for (size_t j = 0; j < d.live; j++) {
        weights[j] = real_exp2_below(weights[j] - top, c, lowest);
        lanes[j % SV_LANES] += weights[j];
    }
    const sv_real own_weight = dead ? real_exp2_below(own - top, c, lowest) : 0;
    const sv_real total = lanes_total(lanes) + own_weight, factor = 1 / total;
    memset(out, 0, d.width * sizeof *out);
    for (size_t j = 0; j < d.live; j++) add_scaled(out, weights[j], d.v + j * d.stride, d.width);
    if (dead) add_scaled(out, own_weight, d.v + i * d.stride, d.width);
    for (size_t x = 0; x < d.width; x++) out[x] *= factor;
    if (a->top) a->top[h * a->rows + i] = top * d.scale;
    if (a->log_sum) a->log_sum[h * a->rows + i] = top * d.scale + sv_ln(total);
}

void sv_attention_forward_c(const sv_attention *attention, size_t row_begin, size_t row_end)
{
    for (size_t h = 0; h < attention->heads; h++)
        for (size_t i = row_begin; i < row_end; i++) forward_row(attention, h, i);
}

/* What one live query gives: its own dq whole, its share of dk and dv, its e in e[0..live-1]. */
static void backward_row(const head *d, size_t i, const sv_real *g, sv_real log_sum, sv_real *dq, sv_real *dk, sv_real *dv, size_t d_stride,
                         sv_real *e)
{
    const sv_real *q = d->q + i * d->stride, c = d->scale * REAL_LOG2_E;
    const sv_real through = lanes_dot(g, d->out + i * d->out_stride, d->width);
    for (size_t j = 0; j < d->live; j++) {
        const sv_real score = dot_rising(q, d->k + j * d->stride, d->width);
        const sv_real p = real_exp2(real_fma(score, c, -(log_sum * REAL_LOG2_E)));
        e[j] = p * (dot_rising(g, d->v + j * d->stride, d->width) - through);
        add_scaled(dq, e[j] * d->scale, d->k + j * d->stride, d->width);
        add_scaled(dk + j * d_stride, e[j] * d->scale, q, d->width);
        add_scaled(dv + j * d_stride, p, g, d->width);
    }
}

/* e of a live query i towards the dead key j. */
static sv_real dead_key(const head *d, size_t i, size_t j, const sv_real *g, sv_real top, sv_real log_sum, sv_real clamp, uint64_t *clamped)
{
    const sv_real score = dot_rising(d->q + i * d->stride, d->k + j * d->stride, d->width);
    const sv_real through = lanes_dot(g, d->out + i * d->out_stride, d->width);
    const sv_real inverse = real_exp2((top - log_sum) * REAL_LOG2_E), most = clamp * REAL_LOG2_E;
    sv_real exponent = real_fma(score, d->scale * REAL_LOG2_E, -(top * REAL_LOG2_E));
    if (exponent > most) {
        exponent = most;
        if (clamped) ++*clamped;
    }
    return real_exp2(exponent) * inverse * (dot_rising(g, d->v + j * d->stride, d->width) - through);
}

static void backward_head(const sv_attention *a, size_t h, const sv_real *g, size_t g_stride, sv_real *dq, size_t d_stride, sv_real *policy,
                          sv_real clamp, uint64_t *clamped)
{
    const head d = head_of(a, h);
    const size_t part = a->heads * a->width;
    const sv_real *log_sum = a->log_sum + h * a->rows;
    sv_real *e = a->scratch, *sums = e + a->rows;
    memset(sums, 0, a->rows * sizeof *sums);
    for (size_t i = 0; i < d.live; i++)
        for (size_t p = 0; p < 3; p++) memset(dq + i * d_stride + p * part, 0, d.width * sizeof *dq);
    for (size_t i = 0; i < d.live; i++, g += g_stride) {
        backward_row(&d, i, g, log_sum[i], dq + i * d_stride, dq + part, dq + 2 * part, d_stride, e);
        if (!policy) continue;
        for (size_t j = 0; j < d.live; j++) sums[j] += j == i ? 0 : e[j];
        for (size_t j = d.live; j < a->rows; j++) sums[j] += dead_key(&d, i, j, g, a->top[h * a->rows + i], log_sum[i], clamp, clamped);
    }
    for (size_t j = 0; policy && j < a->rows; j++) policy[j] += sums[j];
}

void sv_attention_backward_c(const sv_attention *attention, const sv_real *d_out, size_t d_out_stride, sv_real *d_qkv, size_t d_qkv_stride,
                             sv_real *policy_gradient, sv_real clamp, uint64_t *clamped)
{
    for (size_t h = 0; h < attention->heads; h++)
        backward_head(attention, h, d_out + h * attention->width, d_out_stride, d_qkv + h * attention->width, d_qkv_stride, policy_gradient,
                      clamp, clamped);
}
