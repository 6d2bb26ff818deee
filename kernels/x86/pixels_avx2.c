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

void sv_pixels_avx2(sv_kernel_table *table)
{
    table->resize_across = resize_across;
    table->resize_down = resize_down;
    table->blend_bytes = blend_bytes;
    table->smooth_bytes = smooth_bytes;
    table->move_row = move_row;
}
