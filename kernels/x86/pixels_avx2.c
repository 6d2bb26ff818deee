/* Rows of pixels with AVX2. */
#include "kernels/table.h"

#include <immintrin.h>
#include <string.h>

#define ALWAYS static inline __attribute__((always_inline))
typedef int32_t whole4 __attribute__((vector_size(16)));
typedef double real4 __attribute__((vector_size(32)));

ALWAYS whole4 whole_at(const uint8_t *rgb)
{
    int32_t four;
    memcpy(&four, rgb, sizeof four);
    return (whole4)_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four));
}
ALWAYS real4 real_at(const uint8_t *rgb) { return (real4)_mm256_cvtepi32_pd((__m128i)whole_at(rgb)); }

#include "kernels/wide/pixels.h"

/* Four taps at a time: their twelve bytes become red 01, red 23, green 01, green 23 | blue 01, blue 23 as pairs of 16 bits, for products that
 * add pairs. High and low halves of weights have sums of their own; both wrap, the whole sum does not. */
static void resize_across(uint8_t *out, const uint8_t *in, const sv_resize_taps *axis)
{
    const __m256i order = _mm256_setr_epi8(0, -1, 3, -1, 6, -1, 9, -1, 1, -1, 4, -1, 7, -1, 10, -1, 2, -1, 5, -1, 8, -1, 11, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const size_t bytes = axis->width * 3, reach = axis->fours * 12 + 4;
    size_t x = 0;
    for (; x + 1 < axis->count && axis->lows[x] * 3 + reach <= bytes; x++, out += 3) {
        const int16_t *halves = axis->halves + x * axis->fours * 8;
        const uint8_t *pixels = in + 3 * axis->lows[x];
        __m256i high = _mm256_setzero_si256(), low = _mm256_setzero_si256();
        for (size_t f = 0; f < axis->fours; f++, pixels += 12, halves += 8) {
            const __m256i pairs = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)pixels)), order);
            int64_t weights[2];
            memcpy(weights, halves, sizeof weights);
            high = _mm256_add_epi32(high, _mm256_madd_epi16(pairs, _mm256_set1_epi64x(weights[0])));
            low = _mm256_add_epi32(low, _mm256_madd_epi16(pairs, _mm256_set1_epi64x(weights[1])));
        }
        const __m256i sums = _mm256_add_epi32(_mm256_slli_epi32(high, 12), low);
        const __m128i both = _mm_hadd_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
        const __m128i values = _mm_srai_epi32(_mm_add_epi32(both, _mm_set1_epi32(HALF)), PRECISION), words = _mm_packs_epi32(values, values);
        const int32_t four = _mm_cvtsi128_si32(_mm_packus_epi16(words, words)); /* clamped; its last byte is the next pixel's first, not yet made */
        memcpy(out, &four, sizeof four);
    }
    const sv_resize_taps rest = { axis->width, axis->count - x, axis->fours, axis->lows + x, axis->halves + x * axis->fours * 8 };
    sv_resize_across_c(out, in, &rest);
}

void sv_pixels_avx2(sv_kernel_table *table)
{
    table->resize_across = resize_across;
    table->resize_down = resize_down;
    table->blend_bytes = blend_bytes;
    table->smooth_bytes = smooth_bytes;
    table->move_row = move_row;
}
