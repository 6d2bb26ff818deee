/* Vector words of AVX2 and FMA: what kernels/wide/ is written in. v16: 16 floats in rising order, as two registers; `n` below
 * 16: the first n lanes are in memory. Only for files built with AVX2. */
#ifndef SIEVE_KERNELS_X86_WORDS_AVX2_H
#define SIEVE_KERNELS_X86_WORDS_AVX2_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORD static inline __attribute__((always_inline))

/* 12 accumulators, 2 of B, 1 of A: 15 of 16 registers. */
enum { TILE_ROWS = 6, TILE_VECTORS = 1, PEAK_CHAINS = 5 };
/* clang-format off */
#define TILES(F) F(1, 1) F(2, 1) F(3, 1) F(4, 1) F(5, 1) F(6, 1)
#define PLACE_STRIPS(F) F(4) F(2) F(1)
/* clang-format on */

typedef struct v16 {
    __m256 low, high;
} v16;
typedef struct i16 {
    __m256i low, high;
} i16;
typedef i16 v_mask; /* a number of first lanes, worked out once */

WORD v_mask v_mask_of(size_t n)
{
    static const int32_t lanes[32] = { -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1 };
    const int32_t *at = lanes + 16 - (n < 16 ? n : 16);
    return (v_mask){ _mm256_loadu_si256((const __m256i *)(const void *)at), _mm256_loadu_si256((const __m256i *)(const void *)(at + 8)) };
}
WORD v16 v_load_masked(const float *p, v_mask m) { return (v16){ _mm256_maskload_ps(p, m.low), _mm256_maskload_ps(p + 8, m.high) }; }
WORD void v_store_masked(float *p, v16 x, v_mask m)
{
    _mm256_maskstore_ps(p, m.low, x.low);
    _mm256_maskstore_ps(p + 8, m.high, x.high);
}

WORD v16 v_set(float x) { return (v16){ _mm256_set1_ps(x), _mm256_set1_ps(x) }; }
WORD v16 v_load(const float *p, size_t n)
{
    return n == 16 ? (v16){ _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8) } : v_load_masked(p, v_mask_of(n));
}
WORD v16 v_choose(v16 no, v16 yes, v_mask m)
{
    return (v16){ _mm256_blendv_ps(no.low, yes.low, _mm256_castsi256_ps(m.low)),
                  _mm256_blendv_ps(no.high, yes.high, _mm256_castsi256_ps(m.high)) };
}
WORD v16 v_load_or(const float *p, size_t n, v16 rest) { return v_choose(rest, v_load(p, n), v_mask_of(n)); }
WORD void v_store(float *p, v16 x, size_t n)
{
    if (n == 16) {
        _mm256_storeu_ps(p, x.low);
        _mm256_storeu_ps(p + 8, x.high);
    } else
        v_store_masked(p, x, v_mask_of(n));
}
WORD v16 v_keep(v16 x, size_t n) { return v_choose(v_set(0.0f), x, v_mask_of(n)); }
WORD v16 v_without(v16 x, size_t lane)
{
    const __m256i low = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), high = _mm256_add_epi32(low, _mm256_set1_epi32(8));
    const __m256i one = _mm256_set1_epi32((int)lane);
    return v_choose(x, v_set(0.0f), (v_mask){ _mm256_cmpeq_epi32(low, one), _mm256_cmpeq_epi32(high, one) });
}

WORD v16 v_add(v16 a, v16 b) { return (v16){ _mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high) }; }
WORD v16 v_sub(v16 a, v16 b) { return (v16){ _mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high) }; }
WORD v16 v_mul(v16 a, v16 b) { return (v16){ _mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high) }; }
WORD v16 v_div(v16 a, v16 b) { return (v16){ _mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high) }; }
WORD v16 v_sqrt(v16 a) { return (v16){ _mm256_sqrt_ps(a.low), _mm256_sqrt_ps(a.high) }; }
WORD v16 v_fma(v16 a, v16 b, v16 c)
{ /* a b + c */
    return (v16){ _mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high) };
}
WORD v16 v_fms(v16 a, v16 b, v16 c)
{ /* a b - c */
    return (v16){ _mm256_fmsub_ps(a.low, b.low, c.low), _mm256_fmsub_ps(a.high, b.high, c.high) };
}
WORD v16 v_fnma(v16 a, v16 b, v16 c)
{ /* c - a b */
    return (v16){ _mm256_fnmadd_ps(a.low, b.low, c.low), _mm256_fnmadd_ps(a.high, b.high, c.high) };
}
WORD v16 v_max(v16 a, v16 b) { return (v16){ _mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high) }; } /* a > b ? a : b */
WORD v16 v_min(v16 a, v16 b) { return (v16){ _mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high) }; } /* a < b ? a : b */
WORD v16 v_abs(v16 a)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return (v16){ _mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high) };
}
/* a with its sign turned where s is negative. */
WORD v16 v_sign_of(v16 s, v16 a)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return (v16){ _mm256_xor_ps(a.low, _mm256_and_ps(s.low, sign)), _mm256_xor_ps(a.high, _mm256_and_ps(s.high, sign)) };
}
WORD size_t v_count_above(v16 a, v16 b, size_t n)
{
    const int low = _mm256_movemask_ps(_mm256_cmp_ps(a.low, b.low, _CMP_GT_OQ)),
              high = _mm256_movemask_ps(_mm256_cmp_ps(a.high, b.high, _CMP_GT_OQ));
    const unsigned within = n >= 16 ? 0xffffu : (1u << n) - 1u;
    return (size_t)__builtin_popcount(((unsigned)low | (unsigned)high << 8) & within);
}

/* 2^n where the low bits of x hold n + 127. */
WORD __m256 power_of_half(__m256 x) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x), 23)); }
WORD v16 v_power(v16 x) { return (v16){ power_of_half(x.low), power_of_half(x.high) }; }

/* x = mantissa 2^e, mantissa in [sqrt(1/2), sqrt(2)); returns e. x normal and positive. */
WORD __m256 exponent_of_half(__m256 x, __m256 *mantissa)
{
    const __m256i root = _mm256_set1_epi32(0x3f3504f3), above = _mm256_sub_epi32(_mm256_castps_si256(x), root);
    *mantissa = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_and_si256(above, _mm256_set1_epi32(0x7fffff)), root));
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(above, 23));
}
WORD v16 v_exponent(v16 x, v16 *mantissa)
{
    return (v16){ exponent_of_half(x.low, &mantissa->low), exponent_of_half(x.high, &mantissa->high) };
}

WORD i16 v_bits(v16 x) { return (i16){ _mm256_castps_si256(x.low), _mm256_castps_si256(x.high) }; }
/* table[low four bits of index] */
WORD __m256 lookup_half(__m256 first, __m256 second, __m256i index)
{
    const __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)); /* bit 3 becomes the sign */
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(first, index), _mm256_permutevar8x32_ps(second, index), upper);
}
WORD v16 v_lookup(const float table[16], i16 index)
{
    const __m256 first = _mm256_loadu_ps(table), second = _mm256_loadu_ps(table + 8);
    return (v16){ lookup_half(first, second, index.low), lookup_half(first, second, index.high) };
}

/* Lane l takes l + 8, then l + 4, l + 2, l + 1: kernels/real.h. */
WORD float v_total(v16 x)
{
    const __m256 eight = _mm256_add_ps(x.low, x.high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
WORD float v_top(v16 x)
{
    const __m256 eight = _mm256_max_ps(x.low, x.high);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
WORD float root_of(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
WORD float v_first(v16 x) { return _mm256_cvtss_f32(x.low); }

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
        for (size_t r = 0; r < 16; r++) out[c * out_stride + r] = r < rows ? in[r * in_stride + c] : 0.0f;
}

/* bfloat16, as kernels/convert.c. */
WORD __m256i bf16_of_half(__m256 x)
{
    const __m256i bits = _mm256_castps_si256(x), upper = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    return _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
}
WORD void v_store_bf16(uint16_t *p, v16 x, size_t n)
{
    const __m256i mixed = _mm256_packus_epi32(bf16_of_half(x.low), bf16_of_half(x.high)), ordered = _mm256_permute4x64_epi64(mixed, 0xd8);
    uint16_t room[16];
    _mm256_storeu_si256((__m256i *)(void *)(n == 16 ? p : room), ordered);
    for (size_t i = 0; n < 16 && i < n; i++) p[i] = room[i];
}
WORD v16 v_load_bf16(const uint16_t *p, size_t n)
{
    uint16_t room[16] = { 0 };
    for (size_t i = 0; n < 16 && i < n; i++) room[i] = p[i];
    const __m256i all = _mm256_loadu_si256((const __m256i *)(const void *)(n == 16 ? p : room));
    const __m256i low = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(all)), high = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(all, 1));
    return (v16){ _mm256_castsi256_ps(_mm256_slli_epi32(low, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(high, 16)) };
}

/* Pairs of bf16 in 32-bit lanes, as kernels/chain.h. */
enum { PAIR_ROWS = 2, PAIR_VECTORS = 2 };
/* clang-format off */
#define PAIR_TILES(F) F(1, 2) F(2, 2)
/* clang-format on */
WORD i16 w_load(const void *p)
{
    return (i16){ _mm256_loadu_si256((const __m256i *)(const void *)p),
                  _mm256_loadu_si256((const __m256i *)(const void *)((const char *)p + 32)) };
}
WORD void w_store(void *p, i16 x)
{
    _mm256_storeu_si256(p, x.low);
    _mm256_storeu_si256((__m256i *)(void *)((char *)p + 32), x.high);
}
WORD i16 w_set(uint32_t x) { return (i16){ _mm256_set1_epi32((int)x), _mm256_set1_epi32((int)x) }; }

/* Rounded, in the upper half of each lane; the lower half is not cleared. */
WORD __m256i rounded_half(__m256 x)
{
    const __m256i bits = _mm256_castps_si256(x), odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000)),
                  sign = _mm256_and_si256(bits, _mm256_set1_epi32((int)0x80000000u));
    const __m256i denormal = _mm256_cmpeq_epi32(_mm256_and_si256(bits, _mm256_set1_epi32(0x7f800000)), _mm256_setzero_si256());
    const __m256i number = _mm256_blendv_epi8(rounded, sign, denormal);
    return _mm256_blendv_epi8(number, quiet, _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
}
WORD __m256i pair_half(__m256 x, __m256 y)
{
    return _mm256_or_si256(_mm256_srli_epi32(rounded_half(x), 16), _mm256_and_si256(rounded_half(y), _mm256_set1_epi32((int)0xffff0000u)));
}
/* Lane l: x's number l below, y's above. */
WORD i16 v_pair(v16 x, v16 y) { return (i16){ pair_half(x.low, y.low), pair_half(x.high, y.high) }; }
/* The 32 numbers of x, then y. */
WORD void v_store_halves(uint16_t *p, v16 x, v16 y)
{
    const __m256i a = _mm256_packus_epi32(_mm256_srli_epi32(rounded_half(x.low), 16), _mm256_srli_epi32(rounded_half(x.high), 16));
    const __m256i b = _mm256_packus_epi32(_mm256_srli_epi32(rounded_half(y.low), 16), _mm256_srli_epi32(rounded_half(y.high), 16));
    _mm256_storeu_si256((__m256i *)(void *)p, _mm256_permute4x64_epi64(a, 0xd8));
    _mm256_storeu_si256((__m256i *)(void *)(p + 16), _mm256_permute4x64_epi64(b, 0xd8));
}
WORD __m256 rest_half(__m256 x)
{
    return _mm256_sub_ps(x, _mm256_castsi256_ps(_mm256_and_si256(rounded_half(x), _mm256_set1_epi32((int)0xffff0000u))));
}
/* x without its bf16. */
WORD v16 v_rest(v16 x) { return (v16){ rest_half(x.low), rest_half(x.high) }; }
WORD __m256 even_half(__m256i x) { return _mm256_castsi256_ps(_mm256_slli_epi32(x, 16)); }
WORD __m256 odd_half(__m256i x) { return _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32((int)0xffff0000u))); }
WORD __m256 dot_half(__m256 sum, __m256i a, __m256i b)
{
    return _mm256_fmadd_ps(even_half(a), even_half(b), _mm256_fmadd_ps(odd_half(a), odd_half(b), sum));
}
WORD v16 v_dot(v16 sum, i16 a, i16 b) { return (v16){ dot_half(sum.low, a.low, b.low), dot_half(sum.high, a.high, b.high) }; }
/* Lane l: number l of 16 below, number l of another 16 above; the first n lanes are in memory. */
WORD i16 w_zip(const uint16_t *low, const uint16_t *high, size_t n)
{
    uint32_t room[16] = { 0 };
    for (size_t i = 0; i < n; i++) room[i] = low[i] | (high ? (uint32_t)high[i] << 16 : 0);
    return w_load(room);
}

#endif
