/* Vector words of AVX-512: what kernels/wide/ is written in. v16: 16 floats in rising order. `n` below 16: the first n lanes
 * are in memory; with the constant 16 the mask goes away. Only for files built with AVX-512. */
#ifndef SIEVE_KERNELS_X86_WORDS_AVX512_H
#define SIEVE_KERNELS_X86_WORDS_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/wide/unroll.h"

#define WORD static inline __attribute__((always_inline))

/* 27 accumulators, 3 of B, 1 of A: 31 of 32 registers. */
enum { TILE_ROWS = 9, TILE_VECTORS = 3, PEAK_CHAINS = 16 };
/* clang-format off */
#define TILES(F)                                                        \
    F(1, 1) F(2, 1) F(3, 1) F(4, 1) F(5, 1) F(6, 1) F(7, 1) F(8, 1) F(9, 1) \
    F(1, 2) F(2, 2) F(3, 2) F(4, 2) F(5, 2) F(6, 2) F(7, 2) F(8, 2) F(9, 2) \
    F(1, 3) F(2, 3) F(3, 3) F(4, 3) F(5, 3) F(6, 3) F(7, 3) F(8, 3) F(9, 3)
/* clang-format on */

/* Lengths of strips of depth-wise sums, falling: the rows of Swin's and ConvNeXt's grids are whole numbers of the first two. */
#define PLACE_STRIPS(F) F(14) F(7) F(4) F(2) F(1)

typedef __m512 v16;
typedef __m512i i16;

WORD __mmask16 lanes_below(size_t n) { return (__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1u); }

typedef __mmask16 v_mask; /* a number of first lanes, worked out once */
WORD v_mask v_mask_of(size_t n) { return lanes_below(n); }
WORD v16 v_load_masked(const float *p, v_mask mask) { return _mm512_maskz_loadu_ps(mask, p); }
WORD void v_store_masked(float *p, v16 x, v_mask mask) { _mm512_mask_storeu_ps(p, mask, x); }

WORD v16 v_set(float x) { return _mm512_set1_ps(x); }
WORD v16 v_load(const float *p, size_t n) { return n == 16 ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(lanes_below(n), p); }
WORD v16 v_load_or(const float *p, size_t n, v16 rest) { return _mm512_mask_loadu_ps(rest, lanes_below(n), p); }
WORD void v_store(float *p, v16 x, size_t n)
{
    if (n == 16)
        _mm512_storeu_ps(p, x);
    else
        _mm512_mask_storeu_ps(p, lanes_below(n), x);
}
WORD v16 v_keep(v16 x, size_t n) { return _mm512_maskz_mov_ps(lanes_below(n), x); }
WORD v16 v_without(v16 x, size_t lane) { return _mm512_maskz_mov_ps((__mmask16) ~(1u << lane), x); }

WORD v16 v_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
WORD v16 v_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
WORD v16 v_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
WORD v16 v_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
WORD v16 v_sqrt(v16 a) { return _mm512_sqrt_ps(a); }
WORD v16 v_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }   /* a b + c */
WORD v16 v_fms(v16 a, v16 b, v16 c) { return _mm512_fmsub_ps(a, b, c); }   /* a b - c */
WORD v16 v_fnma(v16 a, v16 b, v16 c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a b */
WORD v16 v_max(v16 a, v16 b) { return _mm512_max_ps(a, b); }               /* a > b ? a : b */
WORD v16 v_min(v16 a, v16 b) { return _mm512_min_ps(a, b); }               /* a < b ? a : b */
WORD v16 v_abs(v16 a) { return _mm512_abs_ps(a); }
/* a with its sign turned where s is negative. */
WORD v16 v_sign_of(v16 s, v16 a) { return _mm512_xor_ps(a, _mm512_and_ps(s, _mm512_set1_ps(-0.0f))); }
WORD size_t v_count_above(v16 a, v16 b, size_t n)
{
    return (size_t)__builtin_popcount(_mm512_mask_cmp_ps_mask(lanes_below(n), a, b, _CMP_GT_OQ));
}

/* 2^n where the low bits of x hold n + 127. */
WORD v16 v_power(v16 x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(x), 23)); }
/* x = mantissa 2^e, mantissa in [sqrt(1/2), sqrt(2)); returns e. x normal and positive. */
WORD v16 v_exponent(v16 x, v16 *mantissa)
{
    const __m512i root = _mm512_set1_epi32(0x3f3504f3), above = _mm512_sub_epi32(_mm512_castps_si512(x), root);
    *mantissa = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_and_si512(above, _mm512_set1_epi32(0x7fffff)), root));
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(above, 23));
}
WORD i16 v_bits(v16 x) { return _mm512_castps_si512(x); }
/* table[low four bits of index] */
WORD v16 v_lookup(const float table[16], i16 index) { return _mm512_permutexvar_ps(index, _mm512_loadu_ps(table)); }

/* Lane l takes l + 8, then l + 4, l + 2, l + 1: kernels/real.h. */
WORD float v_total(v16 x)
{
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
WORD float v_top(v16 x)
{
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
WORD float root_of(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
WORD float v_first(v16 x) { return _mm512_cvtss_f32(x); }

/* Sixteen registers of sixteen, turned: afterwards b[c] holds what stood in column c of a. */
WORD void turn_16(__m512 a[16], __m512 b[16])
{
    UNROLL for (size_t r = 0; r < 16; r += 2)
    { /* pairs of rows */
        b[r] = _mm512_unpacklo_ps(a[r], a[r + 1]);
        b[r + 1] = _mm512_unpackhi_ps(a[r], a[r + 1]);
    }
    UNROLL for (size_t r = 0; r < 16; r += 4)
    { /* fours of rows: column c of each quarter of the columns */
        UNROLL for (size_t c = 0; c < 4; c++)
        {
            const __m512d low = _mm512_castps_pd(b[r + c / 2]), high = _mm512_castps_pd(b[r + 2 + c / 2]);
            a[r + c] = _mm512_castpd_ps(c % 2 ? _mm512_unpackhi_pd(low, high) : _mm512_unpacklo_pd(low, high));
        }
    }
    UNROLL for (size_t c = 0; c < 4; c++)
    { /* a[0+c], a[4+c], a[8+c], a[12+c] hold columns c, 4+c, 8+c, 12+c in quarters */
        const __m512 even_low = _mm512_shuffle_f32x4(a[c], a[4 + c], 0x88), odd_low = _mm512_shuffle_f32x4(a[c], a[4 + c], 0xdd);
        const __m512 even_high = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0x88),
                     odd_high = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0xdd);
        b[c] = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
        b[8 + c] = _mm512_shuffle_f32x4(even_low, even_high, 0xdd);
        b[4 + c] = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
        b[12 + c] = _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd);
    }
}

WORD void v_turn(v16 from[16], v16 to[16]) { turn_16(from, to); }

/* out[c][r] = in[r][c] for c < columns; rows beyond `rows` are zeros. */
WORD void v_transpose(float *out, size_t out_stride, const float *in, size_t in_stride, size_t rows, size_t columns)
{
    __m512 a[16], b[16];
    const __mmask16 whole = lanes_below(columns);
    UNROLL for (size_t r = 0; r < 16; r++) a[r] = r < rows ? _mm512_maskz_loadu_ps(whole, in + r * in_stride) : _mm512_setzero_ps();
    turn_16(a, b);
    UNROLL for (size_t c = 0; c < 16; c++) if (c < columns) _mm512_storeu_ps(out + c * out_stride, b[c]);
}

/* bfloat16, as kernels/convert.c. */
WORD void v_store_bf16(uint16_t *p, v16 x, size_t n)
{
    const __m512i bits = _mm512_castps_si512(x), one = _mm512_set1_epi32(1);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), one);
    const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    const __m512i quiet = _mm512_or_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x40));
    const __m512i chosen = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), quiet);
    _mm512_mask_cvtepi32_storeu_epi16(p, lanes_below(n), chosen);
}
WORD v16 v_load_bf16(const uint16_t *p, size_t n)
{
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes_below(n), p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

/* Pairs of bf16 in 32-bit lanes, as kernels/chain.h; the instructions of AVX512-BF16 where the file may use them. */
enum { PAIR_ROWS = 12, PAIR_VECTORS = 2 };
/* clang-format off */
#define PAIR_TILES(F) \
    F(1, 2) F(2, 2) F(3, 2) F(4, 2) F(5, 2) F(6, 2) F(7, 2) F(8, 2) F(9, 2) F(10, 2) F(11, 2) F(12, 2)
/* clang-format on */
WORD i16 w_load(const void *p) { return _mm512_loadu_si512(p); }
WORD void w_store(void *p, i16 x) { _mm512_storeu_si512(p, x); }
WORD i16 w_set(uint32_t x) { return _mm512_set1_epi32((int)x); }
#ifdef __AVX512BF16__
/* Lane l: x's number l below, y's above. */
WORD i16 v_pair(v16 x, v16 y)
{
    const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x)), high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(y));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}
/* The 32 numbers of x, then y. */
WORD void v_store_halves(uint16_t *p, v16 x, v16 y) { _mm512_storeu_si512(p, (__m512i)_mm512_cvtne2ps_pbh(y, x)); }
WORD v16 v_dot(v16 sum, i16 a, i16 b) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }
/* x without its bf16. */
WORD v16 v_rest(v16 x)
{
    return v_sub(x, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x)), 16)));
}
#else
WORD i16 w_rounded(v16 x)
{
    const __m512i bits = _mm512_castps_si512(x), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    rounded = _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), bits, _mm512_set1_epi32(0x400000));
    const __mmask16 denormal = _mm512_testn_epi32_mask(bits, _mm512_set1_epi32(0x7f800000));
    return _mm512_mask_and_epi32(rounded, denormal, bits, _mm512_set1_epi32((int)0x80000000u));
}
WORD i16 v_pair(v16 x, v16 y)
{
    return _mm512_or_si512(_mm512_srli_epi32(w_rounded(x), 16), _mm512_and_si512(w_rounded(y), _mm512_set1_epi32((int)0xffff0000u)));
}
WORD void v_store_halves(uint16_t *p, v16 x, v16 y)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(w_rounded(x), 16)));
    _mm256_storeu_si256((__m256i *)(void *)(p + 16), _mm512_cvtepi32_epi16(_mm512_srli_epi32(w_rounded(y), 16)));
}
WORD v16 v_rest(v16 x) { return v_sub(x, _mm512_castsi512_ps(_mm512_and_si512(w_rounded(x), _mm512_set1_epi32((int)0xffff0000u)))); }
WORD v16 w_even(i16 x) { return _mm512_castsi512_ps(_mm512_slli_epi32(x, 16)); }
WORD v16 w_odd(i16 x) { return _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32((int)0xffff0000u))); }
WORD v16 v_dot(v16 sum, i16 a, i16 b) { return v_fma(w_even(a), w_even(b), v_fma(w_odd(a), w_odd(b), sum)); }
#endif
/* Lane l: number l of 16 below, number l of another 16 above; the first n lanes are in memory. */
WORD i16 w_zip(const uint16_t *low, const uint16_t *high, size_t n)
{
    const __mmask16 lanes = lanes_below(n);
    const __m512i below = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, low));
    return high ? _mm512_or_si512(below, _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, high)), 16)) : below;
}

#endif
