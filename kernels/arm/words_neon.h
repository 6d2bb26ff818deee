/* Vector words of NEON: what kernels/wide/ is written in. v16: 16 floats in rising order, as four registers; `n` below 16: the
 * first n lanes are in memory. The same bits as kernels/x86/words_avx2.h: a > b ? a : b where x86 says max, fused steps where it fuses. */
#ifndef SIEVE_KERNELS_ARM_WORDS_NEON_H
#define SIEVE_KERNELS_ARM_WORDS_NEON_H

#include <arm_neon.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/wide/unroll.h"

#define WORD static inline __attribute__((always_inline))

/* 24 accumulators, 4 of B, 1 of A: 29 of 32 registers. */
enum { TILE_ROWS = 6, TILE_VECTORS = 1, PEAK_CHAINS = 6 };
/* clang-format off */
#define TILES(F) F(1, 1) F(2, 1) F(3, 1) F(4, 1) F(5, 1) F(6, 1)
#define PLACE_STRIPS(F) F(4) F(2) F(1)
#define QUARTERS(q) UNROLL for (int q = 0; q < 4; q++)

typedef float32x4x4_t v16;
typedef uint32x4x4_t i16;
typedef i16 v_mask; /* a number of first lanes, worked out once */

WORD v_mask v_mask_of(size_t n)
{
    static const uint32_t lanes[32] = { ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u };
    const uint32_t *at = lanes + 16 - (n < 16 ? n : 16);
    v_mask m;
    QUARTERS(q) m.val[q] = vld1q_u32(at + 4 * q);
    return m;
}
WORD size_t lanes_of(v_mask m)
{
    uint32_t count = 0;
    QUARTERS(q) count += vaddvq_u32(vshrq_n_u32(m.val[q], 31));
    return count;
}
WORD v16 v_whole(const float *p)
{
    v16 x;
    QUARTERS(q) x.val[q] = vld1q_f32(p + 4 * q);
    return x;
}
WORD v16 v_load(const float *p, size_t n)
{
    if (n >= 16) return v_whole(p);
    float room[16] = { 0 };
    for (size_t i = 0; i < n; i++) room[i] = p[i];
    return v_whole(room);
}
WORD v16 v_load_masked(const float *p, v_mask m) { return v_load(p, lanes_of(m)); }
WORD void v_store(float *p, v16 x, size_t n)
{
    float room[16], *to = n >= 16 ? p : room;
    QUARTERS(q) vst1q_f32(to + 4 * q, x.val[q]);
    for (size_t i = 0; n < 16 && i < n; i++) p[i] = room[i];
}
WORD void v_store_masked(float *p, v16 x, v_mask m) { v_store(p, x, lanes_of(m)); }

WORD v16 v_set(float x)
{
    v16 y;
    QUARTERS(q) y.val[q] = vdupq_n_f32(x);
    return y;
}
WORD v16 v_choose(v16 no, v16 yes, v_mask m)
{
    v16 y;
    QUARTERS(q) y.val[q] = vbslq_f32(m.val[q], yes.val[q], no.val[q]);
    return y;
}
WORD v16 v_load_or(const float *p, size_t n, v16 rest) { return v_choose(rest, v_load(p, n), v_mask_of(n)); }
WORD v16 v_keep(v16 x, size_t n) { return v_choose(v_set(0.0f), x, v_mask_of(n)); }
WORD v16 v_without(v16 x, size_t lane)
{
    static const uint32_t rising[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    v_mask m;
    QUARTERS(q) m.val[q] = vceqq_u32(vld1q_u32(rising + 4 * q), vdupq_n_u32((uint32_t)lane));
    return v_choose(x, v_set(0.0f), m);
}

#define V_TWO(name, expression)                  \
    WORD v16 name(v16 a, v16 b)                  \
    {                                            \
        v16 y;                                   \
        QUARTERS(q)                              \
        {                                        \
            const float32x4_t l = a.val[q], r = b.val[q]; \
            y.val[q] = expression;               \
        }                                        \
        return y;                                \
    }
#define V_THREE(name, expression)                \
    WORD v16 name(v16 a, v16 b, v16 c)           \
    {                                            \
        v16 y;                                   \
        QUARTERS(q)                              \
        {                                        \
            const float32x4_t l = a.val[q], r = b.val[q], t = c.val[q]; \
            y.val[q] = expression;               \
        }                                        \
        return y;                                \
    }
V_TWO(v_add, vaddq_f32(l, r))
V_TWO(v_sub, vsubq_f32(l, r))
V_TWO(v_mul, vmulq_f32(l, r))
V_TWO(v_div, vdivq_f32(l, r))
V_TWO(v_max, vbslq_f32(vcgtq_f32(l, r), l, r)) /* a > b ? a : b */
V_TWO(v_min, vbslq_f32(vcltq_f32(l, r), l, r)) /* a < b ? a : b */
V_THREE(v_fma, vfmaq_f32(t, l, r))             /* a b + c */
V_THREE(v_fms, vfmaq_f32(vnegq_f32(t), l, r))  /* a b - c */
V_THREE(v_fnma, vfmsq_f32(t, l, r))            /* c - a b */

WORD v16 v_sqrt(v16 a)
{
    v16 y;
    QUARTERS(q) y.val[q] = vsqrtq_f32(a.val[q]);
    return y;
}
WORD v16 v_abs(v16 a)
{
    v16 y;
    QUARTERS(q) y.val[q] = vabsq_f32(a.val[q]);
    return y;
}
/* a with its sign turned where s is negative. */
WORD v16 v_sign_of(v16 s, v16 a)
{
    v16 y;
    QUARTERS(q) y.val[q] = vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(a.val[q]), vandq_u32(vreinterpretq_u32_f32(s.val[q]), vdupq_n_u32(0x80000000u))));
    return y;
}
WORD size_t v_count_above(v16 a, v16 b, size_t n)
{
    const v_mask within = v_mask_of(n);
    uint32_t count = 0;
    QUARTERS(q) count += vaddvq_u32(vshrq_n_u32(vandq_u32(vcgtq_f32(a.val[q], b.val[q]), within.val[q]), 31));
    return count;
}

WORD i16 v_bits(v16 x)
{
    i16 y;
    QUARTERS(q) y.val[q] = vreinterpretq_u32_f32(x.val[q]);
    return y;
}
WORD v16 v_of_bits(i16 x)
{
    v16 y;
    QUARTERS(q) y.val[q] = vreinterpretq_f32_u32(x.val[q]);
    return y;
}
/* 2^n where the low bits of x hold n + 127. */
WORD v16 v_power(v16 x)
{
    i16 y = v_bits(x);
    QUARTERS(q) y.val[q] = vshlq_n_u32(y.val[q], 23);
    return v_of_bits(y);
}
/* x = mantissa 2^e, mantissa in [sqrt(1/2), sqrt(2)); returns e. x normal and positive. */
WORD v16 v_exponent(v16 x, v16 *mantissa)
{
    const uint32x4_t root = vdupq_n_u32(0x3f3504f3);
    v16 e;
    QUARTERS(q)
    {
        const uint32x4_t above = vsubq_u32(vreinterpretq_u32_f32(x.val[q]), root);
        mantissa->val[q] = vreinterpretq_f32_u32(vaddq_u32(vandq_u32(above, vdupq_n_u32(0x7fffff)), root));
        e.val[q] = vcvtq_f32_s32(vshrq_n_s32(vreinterpretq_s32_u32(above), 23));
    }
    return e;
}
/* table[low four bits of index] */
WORD v16 v_lookup(const float table[16], i16 index)
{
    uint8x16x4_t bytes;
    v16 y;
    QUARTERS(q) bytes.val[q] = vreinterpretq_u8_f32(vld1q_f32(table + 4 * q));
    QUARTERS(q)
    {
        const uint32x4_t place = vmlaq_n_u32(vdupq_n_u32(0x03020100u), vandq_u32(index.val[q], vdupq_n_u32(15)), 0x04040404u);
        y.val[q] = vreinterpretq_f32_u8(vqtbl4q_u8(bytes, vreinterpretq_u8_u32(place)));
    }
    return y;
}

/* Lane l takes l + 8, then l + 4, l + 2, l + 1: kernels/real.h. */
WORD float v_total(v16 x)
{
    const float32x4_t four = vaddq_f32(vaddq_f32(x.val[0], x.val[2]), vaddq_f32(x.val[1], x.val[3]));
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
WORD float above(float a, float b) { return a > b ? a : b; }
WORD float v_top(v16 x)
{
    float lanes[16];
    v_store(lanes, x, 16);
    for (size_t half = 8; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++) lanes[l] = above(lanes[l], lanes[l + half]);
    return lanes[0];
}
WORD float root_of(float x) { return __builtin_sqrtf(x); }
WORD float v_first(v16 x) { return vgetq_lane_f32(x.val[0], 0); }

/* Sixteen vectors turned: afterwards to[c] holds what stood in column c. */
WORD void v_turn(v16 from[16], v16 to[16])
{
    float rows[256], columns[256];
    for (size_t r = 0; r < 16; r++) v_store(rows + 16 * r, from[r], 16);
    for (size_t c = 0; c < 16; c++)
        for (size_t r = 0; r < 16; r++) columns[16 * c + r] = rows[16 * r + c];
    for (size_t c = 0; c < 16; c++) to[c] = v_load(columns + 16 * c, 16);
}

/* out[c][r] = in[r][c] for c < columns; rows beyond `rows` are zeros. */
WORD void v_transpose(float *out, size_t out_stride, const float *in, size_t in_stride, size_t rows, size_t columns)
{
    for (size_t c = 0; c < columns; c++)
        for (size_t r = 0; r < 16; r++) {
            uint32_t bits = 0; /* words pass through here too: moved, not read as numbers */
            if (r < rows) memcpy(&bits, in + r * in_stride + c, sizeof bits);
            memcpy(out + c * out_stride + r, &bits, sizeof bits);
        }
}

/* bfloat16, as kernels/convert.c. */
WORD uint32x4_t nan_of(float32x4_t x) { return vmvnq_u32(vceqq_f32(x, x)); }
WORD uint32x4_t bf16_of(float32x4_t x)
{
    const uint32x4_t bits = vreinterpretq_u32_f32(x), upper = vshrq_n_u32(bits, 16), odd = vandq_u32(upper, vdupq_n_u32(1));
    const uint32x4_t rounded = vshrq_n_u32(vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff))), 16);
    return vbslq_u32(nan_of(x), vorrq_u32(upper, vdupq_n_u32(0x40)), rounded);
}
WORD void v_store_bf16(uint16_t *p, v16 x, size_t n)
{
    uint16_t room[16], *to = n >= 16 ? p : room;
    QUARTERS(q) vst1_u16(to + 4 * q, vmovn_u32(bf16_of(x.val[q])));
    for (size_t i = 0; n < 16 && i < n; i++) p[i] = room[i];
}
WORD v16 v_load_bf16(const uint16_t *p, size_t n)
{
    uint16_t room[16] = { 0 };
    const uint16_t *from = n >= 16 ? p : room;
    v16 y;
    for (size_t i = 0; n < 16 && i < n; i++) room[i] = p[i];
    QUARTERS(q) y.val[q] = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(from + 4 * q), 16));
    return y;
}

/* Pairs of bf16 in 32-bit lanes, as kernels/chain.h. */
enum { PAIR_ROWS = 2, PAIR_VECTORS = 2 };
#define PAIR_TILES(F) F(1, 2) F(2, 2)
WORD i16 w_load(const void *p)
{
    i16 y;
    QUARTERS(q) y.val[q] = vreinterpretq_u32_u8(vld1q_u8((const uint8_t *)p + 16 * q));
    return y;
}
WORD void w_store(void *p, i16 x) { QUARTERS(q) vst1q_u8((uint8_t *)p + 16 * q, vreinterpretq_u8_u32(x.val[q])); }
WORD i16 w_set(uint32_t x)
{
    i16 y;
    QUARTERS(q) y.val[q] = vdupq_n_u32(x);
    return y;
}
/* Rounded, in the upper half of each lane; the lower half is not cleared. Denormals are zero. */
WORD uint32x4_t rounded_of(float32x4_t x)
{
    const uint32x4_t bits = vreinterpretq_u32_f32(x), odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    const uint32x4_t denormal = vceqq_u32(vandq_u32(bits, vdupq_n_u32(0x7f800000)), vdupq_n_u32(0));
    const uint32x4_t exponent_full = vcgtq_u32(vandq_u32(bits, vdupq_n_u32(0x7fffffff)), vdupq_n_u32(0x7f800000)); /* NaN */
    const uint32x4_t number = vbslq_u32(denormal, vandq_u32(bits, vdupq_n_u32(0x80000000u)), rounded);
    return vbslq_u32(exponent_full, vorrq_u32(bits, vdupq_n_u32(0x400000)), number);
}
/* Lane l: x's number l below, y's above. */
WORD i16 v_pair(v16 x, v16 y)
{
    i16 z;
    QUARTERS(q) z.val[q] = vorrq_u32(vshrq_n_u32(rounded_of(x.val[q]), 16), vandq_u32(rounded_of(y.val[q]), vdupq_n_u32(0xffff0000u)));
    return z;
}
/* The 32 numbers of x, then y. */
WORD void v_store_halves(uint16_t *p, v16 x, v16 y)
{
    QUARTERS(q) vst1_u16(p + 4 * q, vshrn_n_u32(rounded_of(x.val[q]), 16));
    QUARTERS(q) vst1_u16(p + 16 + 4 * q, vshrn_n_u32(rounded_of(y.val[q]), 16));
}
/* x without its bf16. */
WORD v16 v_rest(v16 x)
{
    v16 y;
    QUARTERS(q) y.val[q] = vsubq_f32(x.val[q], vreinterpretq_f32_u32(vandq_u32(rounded_of(x.val[q]), vdupq_n_u32(0xffff0000u))));
    return y;
}
WORD float32x4_t even_of(uint32x4_t x) { return vreinterpretq_f32_u32(vshlq_n_u32(x, 16)); }
WORD float32x4_t odd_of(uint32x4_t x) { return vreinterpretq_f32_u32(vandq_u32(x, vdupq_n_u32(0xffff0000u))); }
WORD v16 v_dot(v16 sum, i16 a, i16 b)
{
    QUARTERS(q) sum.val[q] = vfmaq_f32(vfmaq_f32(sum.val[q], odd_of(a.val[q]), odd_of(b.val[q])), even_of(a.val[q]), even_of(b.val[q]));
    return sum;
}
/* Lane l: number l of 16 below, number l of another 16 above; the first n lanes are in memory. */
WORD i16 w_zip(const uint16_t *low, const uint16_t *high, size_t n)
{
    uint32_t room[16] = { 0 };
    for (size_t i = 0; i < n; i++) room[i] = low[i] | (high ? (uint32_t)high[i] << 16 : 0);
    return w_load(room);
}
/* clang-format on */

#endif
