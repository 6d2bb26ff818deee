/* exp, logarithm, GELU over vector words, step by step as kernels/activation.c and kernels/real.h: the same bits.
 * Everything here is static: no file of another ISA can be given this code. Included after the words of an ISA. */
#ifndef SIEVE_KERNELS_WIDE_FUNCTIONS_H
#define SIEVE_KERNELS_WIDE_FUNCTIONS_H

#include "kernels/coefficients.h"
#include "kernels/wide/unroll.h"

static inline size_t least(size_t a, size_t b) { return a < b ? a : b; }

#define LOG2_E 1.44269504f
#define LN_2_HIGH 0.693147182464599609375f /* ln 2 as float, and what it lacks */
#define LN_2_LOW (-1.9046542999577680e-9f)
#define ROUNDING 12583039.0f /* kernels/real.h */
#define WHOLE 12582912.0f    /* 1.5 * 2^23: adding it rounds to a whole number, which stands in the low bits */

WORD v16 w_join(v16 fraction, v16 shifted)
{
    v16 sum = v_set(sv_coefficients_exp2[6]);
    UNROLL for (int d = 5; d >= 0; d--) sum = v_fma(sum, fraction, v_set(sv_coefficients_exp2[d]));
    return v_mul(sum, v_power(shifted));
}

WORD v16 w_exp2(v16 t)
{
    t = v_min(v_set(128.0f), v_max(v_set(-127.0f), t));
    const v16 shifted = v_add(t, v_set(ROUNDING));
    return w_join(v_sub(t, v_sub(shifted, v_set(ROUNDING))), shifted);
}

/* 2^(x factor) for x <= 0 < factor, lowest = -127 / factor. */
WORD v16 w_exp2_below(v16 x, v16 factor, v16 lowest)
{
    x = v_max(lowest, x);
    const v16 shifted = v_fma(x, factor, v_set(ROUNDING));
    return w_join(v_fms(x, factor, v_sub(shifted, v_set(ROUNDING))), shifted);
}

WORD v16 w_exp(v16 x)
{
    x = v_min(v_set(88.73f), v_max(v_set(-88.03f), x));
    const v16 shifted = v_fma(x, v_set(LOG2_E), v_set(ROUNDING)), n = v_sub(shifted, v_set(ROUNDING));
    const v16 rest = v_fma(n, v_set(-LN_2_LOW), v_fma(n, v_set(-LN_2_HIGH), x));
    return w_join(v_mul(rest, v_set(LOG2_E)), shifted);
}

/* Of normal positive numbers, and NaN of NaN. */
WORD v16 w_ln(v16 x)
{
    v16 mantissa;
    const v16 e = v_exponent(x, &mantissa), f = v_sub(mantissa, v_set(1.0f)), s = v_div(f, v_add(v_set(2.0f), f)), z = v_mul(s, s);
    const v16 half = v_mul(v_mul(v_set(0.5f), f), f);
    v16 rest = v_set(sv_coefficients_ln[3]);
    for (int d = 2; d >= 0; d--) rest = v_fma(rest, z, v_set(sv_coefficients_ln[d]));
    const v16 small = v_fma(s, v_fma(z, rest, half), v_mul(e, v_set(LN_2_LOW)));
    const v16 result = v_fma(e, v_set(LN_2_HIGH), v_sub(f, v_sub(half, small)));
    return v_add(result, v_sub(x, x));
}

WORD v16 w_on_pieces(const float table[6][16], v16 x)
{
    const v16 a = v_min(v_set(5.6f), v_abs(x)), unit = v_set((float)(15.5 / 5.6)), shifted = v_fma(a, unit, v_set(WHOLE));
    const v16 f = v_fms(a, unit, v_sub(shifted, v_set(WHOLE)));
    const i16 piece = v_bits(shifted);
    v16 sum = v_lookup(table[5], piece);
    UNROLL for (int d = 4; d >= 0; d--) sum = v_fma(sum, f, v_lookup(table[d], piece));
    return sum;
}

WORD v16 w_sigmoid(v16 x) { return v_div(v_set(1.0f), v_add(v_set(1.0f), w_exp(v_sub(v_set(-0.0f), x)))); }
WORD v16 w_gelu(v16 x) { return v_sub(v_max(v_set(0.0f), x), w_on_pieces(sv_coefficients_gelu, x)); }
WORD v16 w_gelu_slope(v16 x) { return v_add(v_set(0.5f), v_sign_of(x, w_on_pieces(sv_coefficients_gelu_slope, x))); }

#endif
