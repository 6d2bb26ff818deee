/* Words of the C forms. The float forms of every ISA do these same steps in the same order, so that all give the same bits:
 * fused multiply-adds where real_fma stands, sums along a row in SV_LANES lanes by position, lanes added as a tree of halves.
 * Inline functions: for the C forms alone, never for files built with the flags of an ISA. */
#ifndef SIEVE_KERNELS_REAL_H
#define SIEVE_KERNELS_REAL_H

#include <math.h>
#include <string.h>

#include "kernels/coefficients.h"
#include "kernels/table.h"

/* a * b + c, rounded once. The f64 build is for checks, has no other form to agree with, and takes the quick way. */
static inline sv_real real_fma(sv_real a, sv_real b, sv_real c)
{
#ifdef SIEVE_F64
    return a * b + c;
#else
    return fmaf(a, b, c);
#endif
}

static inline sv_real real_sqrt(sv_real x)
{
#ifdef SIEVE_F64
    return sqrt(x);
#else
    return sqrtf(x);
#endif
}

/* Lane l of 16 takes lane l + 8, then l + 4, l + 2, l + 1. */
static inline sv_real lanes_total(sv_real lanes[SV_LANES])
{
    for (size_t half = SV_LANES / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++) lanes[l] += lanes[l + half];
    return lanes[0];
}

/* sum of x[i] * y[i], in lanes. */
static inline sv_real lanes_dot(const sv_real *x, const sv_real *y, size_t count)
{
    sv_real lanes[SV_LANES] = { 0 };
    for (size_t i = 0; i < count; i++) lanes[i % SV_LANES] = real_fma(x[i], y[i], lanes[i % SV_LANES]);
    return lanes_total(lanes);
}

#define REAL_LOG2_E ((sv_real)1.4426950408889634)
#define REAL_LN_2 ((sv_real)0.69314718055994531)

#ifndef SIEVE_F64
/* Adding it rounds to a whole number n and leaves n + 127, the exponent of 2^n, in the low bits: 1.5 * 2^23 + 127. */
#define REAL_ROUNDING 12583039.0f

/* 2^(n + fraction) where shifted = n + REAL_ROUNDING. n = -127 gives 0, n = 128 infinity. */
static inline float exp2_join(float fraction, float shifted)
{
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits <<= 23;
    float power, sum = sv_coefficients_exp2[6];
    memcpy(&power, &bits, sizeof power);
    for (int d = 5; d >= 0; d--) sum = fmaf(sum, fraction, sv_coefficients_exp2[d]);
    return sum * power;
}
#endif

/* 2^t; 0 below about 2^-126.5, infinity from 2^127.5 on, NaN for NaN. Relative error 1 ULP within. */
static inline sv_real real_exp2(sv_real t)
{
#ifdef SIEVE_F64
    return exp2(t);
#else
    t = t < -127.0f ? -127.0f : t;
    t = t > 128.0f ? 128.0f : t;
    const float shifted = t + REAL_ROUNDING;
    return exp2_join(t - (shifted - REAL_ROUNDING), shifted);
#endif
}

/* 2^(x factor) for x <= 0 < factor; lowest = -127 / factor, below which it is 0. */
static inline sv_real real_exp2_below(sv_real x, sv_real factor, sv_real lowest)
{
#ifdef SIEVE_F64
    (void)lowest;
    return exp2(x * factor);
#else
    x = x < lowest ? lowest : x;
    const float shifted = fmaf(x, factor, REAL_ROUNDING);
    return exp2_join(fmaf(x, factor, -(shifted - REAL_ROUNDING)), shifted);
#endif
}

#endif
