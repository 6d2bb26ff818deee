/* What both attentions share: a head of the image, sums along its rows, the end of an output row. */
#ifndef SIEVE_KERNELS_WIDE_HEAD_H
#define SIEVE_KERNELS_WIDE_HEAD_H

static size_t up_to(size_t x, size_t unit) { return (x + unit - 1) / unit * unit; }

static float *aligned(void *scratch) { return (float *)(void *)(((uintptr_t)scratch + 63) / 64 * 64); }

typedef struct head {
    const float *q, *k, *v;
    float *out;
    size_t stride, out_stride, width, live;
    float scale, unit; /* of q.k; of the scores that exponents are made of: 1 where a bias was added */
    const float *bias, *mask;
    float *d_bias;
    size_t bias_stride;
    const float *sizes; /* of keys, NULL: one each */
} head;

static head head_of(const sv_attention *a, size_t h)
{
    const size_t part = a->heads * a->width;
    const float *q = a->qkv + h * a->width;
    const float scale = 1.0f / v_first(v_sqrt(v_set((float)a->width)));
    const size_t map = h * a->rows * a->bias_stride;
    return (head){ q,
                   q + part,
                   q + 2 * part,
                   a->out ? a->out + h * a->width : NULL,
                   a->qkv_stride,
                   a->out_stride,
                   a->width,
                   a->live,
                   scale,
                   a->bias ? 1.0f : scale,
                   a->bias ? a->bias + map : NULL,
                   a->mask,
                   a->d_bias ? a->d_bias + map : NULL,
                   a->bias_stride,
                   a->sizes };
}

/* Scores of query i, whole vectors of them, scaled, with bias and mask; nothing where there is no bias. */
static void bias_row(const head *d, float *scores, size_t i)
{
    for (size_t j = 0; d->bias && j < d->live; j += 16) {
        const size_t n = least(d->live - j, 16), at = i * d->bias_stride + j;
        v16 sum = v_fma(v_load(scores + j, 16), v_set(d->scale), v_load(d->bias + at, n));
        if (d->mask) sum = v_add(sum, v_load(d->mask + at, n));
        v_store(scores + j, sum, 16);
    }
}

/* e of query i and keys j.. goes into the gradient of the bias. */
WORD void grow_bias(const head *d, size_t i, size_t j, v16 e)
{
    if (!d->d_bias || j >= d->live) return;
    float *to = d->d_bias + i * d->bias_stride + j;
    const size_t n = least(d->live - j, 16);
    v_store(to, v_add(v_load(to, n), e), n);
}

static float row_dot(const float *x, const float *y, size_t count)
{
    v16 sum = v_set(0.0f);
    for (size_t i = 0; i < count; i += 16) {
        const size_t n = least(count - i, 16);
        sum = v_fma(v_load(x + i, n), v_load(y + i, n), sum);
    }
    return v_total(sum);
}

static float row_top(const float *scores, size_t live, float top)
{
    v16 most = v_set(top);
    size_t j = 0;
    for (; j + 16 <= live; j += 16) most = v_max(v_load(scores + j, 16), most);
    if (j < live) most = v_max(v_load_or(scores + j, live - j, most), most);
    return v_top(most);
}

/* out = (out + own v) factor, own = 0 for live rows. */
static void finish_out(float *out, const float *v, size_t width, float own, bool dead, float factor)
{
    for (size_t x = 0; x < width; x += 16) {
        const size_t n = least(width - x, 16);
        v16 sum = v_load(out + x, n);
        if (dead) sum = v_fma(v_set(own), v_load(v + x, n), sum);
        v_store(out + x, v_mul(sum, v_set(factor)), n);
    }
}

/* e of one live query towards the dead keys, from its scores and products with them; added to sums. Returns how many exponents were cut. */
static uint64_t dead_row(float *sums, const float *scores, const float *products, size_t dead, float scale, float top, float log_sum,
                         float clamp, float through)
{
    const v16 c = v_set(scale * LOG2_E), shift = v_set(-(top * LOG2_E)), most = v_set(clamp * LOG2_E);
    const v16 inverse = w_exp2(v_set((top - log_sum) * LOG2_E));
    uint64_t clamped = 0;
    for (size_t j = 0; j < dead; j += 16) {
        const v16 exponent = v_fma(v_load(scores + j, 16), c, shift), product = v_sub(v_load(products + j, 16), v_set(through));
        const v16 e = v_mul(v_mul(w_exp2(v_min(most, exponent)), inverse), product);
        clamped += v_count_above(exponent, most, least(dead - j, 16));
        v_store(sums + j, v_add(v_load(sums + j, 16), e), 16);
    }
    return clamped;
}

#endif
