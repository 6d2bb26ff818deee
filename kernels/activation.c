/* Functions of single numbers: exp, logarithm, erf, sigmoid, GELU; scaling and the dot product. The float build uses our own
 * polynomials (kernels/coefficients.h), equal on every machine; the f64 build, which checks gradients, asks libm.
 * gelu(x) = x Phi(x) = max(x, 0) - h(|x|), h(a) = a (1 - Phi(a));  gelu'(x) = Phi(x) + x phi(x) = 1/2 + an odd function. */
#include "kernels/real.h"

#ifdef SIEVE_F64

sv_real sv_exp(sv_real x) { return exp(x); }
sv_real sv_ln(sv_real x) { return log(x); }
sv_real sv_erf(sv_real x) { return erf(x); }

static sv_real gelu_of(sv_real x) { return x * 0.5 * erfc(-x * 0.70710678118654752); }

static sv_real gelu_slope_of(sv_real x) { return 0.5 * erfc(-x * 0.70710678118654752) + x * exp(-0.5 * x * x) * 0.39894228040143268; }

#else

#define PIECES_A_UNIT ((float)(15.5 / 5.6))
#define LN_2_HIGH 0.693147182464599609375f /* ln 2 as float, and what it lacks */
#define LN_2_LOW (-1.9046542999577680e-9f)

/* x = n ln 2 + r with ln 2 in two parts, so that r keeps its last bits; then 2^n 2^(r log2 e). */
sv_real sv_exp(sv_real x)
{
    x = x < -88.03f ? -88.03f : x; /* 2^-127 and below: 0 */
    x = x > 88.73f ? 88.73f : x;   /* from 88.37 on: infinity */
    const float shifted = fmaf(x, REAL_LOG2_E, REAL_ROUNDING), n = shifted - REAL_ROUNDING;
    const float rest = fmaf(n, -LN_2_LOW, fmaf(n, -LN_2_HIGH, x));
    return exp2_join(rest * REAL_LOG2_E, shifted);
}

/* x = 2^e (1 + f), f in [sqrt(1/2) - 1, sqrt(2) - 1]; log(1 + f) = f - (f^2/2 - s (f^2/2 + R)), s = f / (2 + f), where
 * R = s^2 P(s^2): the largest term, f, is exact. */
sv_real sv_ln(sv_real x)
{
    if (!(x > 0.0f)) return x == 0.0f ? -INFINITY : NAN;
    if (x == INFINITY) return x;
    int32_t exponent = 0, bits;
    if (x < 1.17549435e-38f) {
        x *= 8388608.0f;
        exponent = -23;
    }
    memcpy(&bits, &x, sizeof bits);
    const int32_t above = bits - 0x3f3504f3; /* sqrt(1/2) */
    exponent += above >> 23;
    bits = (above & 0x7fffff) + 0x3f3504f3;
    memcpy(&x, &bits, sizeof x);
    const float f = x - 1.0f, s = f / (2.0f + f), z = s * s, half = 0.5f * f * f, e = (float)exponent;
    float rest = sv_coefficients_ln[3];
    for (int d = 2; d >= 0; d--) rest = fmaf(rest, z, sv_coefficients_ln[d]);
    const float small = fmaf(s, fmaf(z, rest, half), e * LN_2_LOW);
    return fmaf(e, LN_2_HIGH, f - (half - small));
}

/* Odd polynomial to 1, then 1 - a piece of erfc; 1 from 4 on, where 1 - erf is 1.5e-8. */
sv_real sv_erf(sv_real x)
{
    const float a = x < 0.0f ? -x : x;
    if (a != a) return x;
    if (a <= 1.0f) {
        float sum = sv_coefficients_erf[6];
        for (int d = 5; d >= 0; d--) sum = fmaf(sum, a * a, sv_coefficients_erf[d]);
        return x * sum;
    }
    float result = 1.0f;
    if (a < 4.0f) {
        const float place = (a - 1.0f) * (8.0f / 3.0f);
        const int piece = (int)place;
        const float f = place - (float)piece;
        float sum = sv_coefficients_erfc[5][piece];
        for (int d = 4; d >= 0; d--) sum = fmaf(sum, f, sv_coefficients_erfc[d][piece]);
        result = 1.0f - sum;
    }
    return x < 0.0f ? -result : result;
}

/* The polynomial of the piece in which |x| lies; beyond 5.6 the value at 5.6; NaN of NaN. */
static float on_pieces(const float table[6][16], float x)
{
    float a = x < 0.0f ? -x : x;
    if (a != a) return a;
    a = a > 5.6f ? 5.6f : a;
    const float shifted = fmaf(a, PIECES_A_UNIT, 12582912.0f), n = shifted - 12582912.0f; /* 1.5 * 2^23: rounds to a whole number */
    const int piece = (int)n;
    const float f = fmaf(a, PIECES_A_UNIT, -n);
    float sum = table[5][piece];
    for (int d = 4; d >= 0; d--) sum = fmaf(sum, f, table[d][piece]);
    return sum;
}

static sv_real gelu_of(sv_real x) { return (x < 0.0f ? 0.0f : x) - on_pieces(sv_coefficients_gelu, x); }

static sv_real gelu_slope_of(sv_real x)
{
    const float odd = on_pieces(sv_coefficients_gelu_slope, x);
    return 0.5f + (x < 0.0f ? -odd : odd);
}

#endif

sv_real sv_sigmoid(sv_real x) { return 1 / (1 + sv_exp(-x)); }

void sv_gelu_c(sv_real *y, const sv_real *x, size_t count)
{
    for (size_t i = 0; i < count; i++) y[i] = gelu_of(x[i]);
}

void sv_gelu_backward_c(sv_real *dx, const sv_real *dy, const sv_real *x, size_t count, bool accumulate)
{
    for (size_t i = 0; i < count; i++) {
        const sv_real slope = gelu_slope_of(x[i]);
        dx[i] = accumulate ? real_fma(dy[i], slope, dx[i]) : dy[i] * slope;
    }
}

void sv_scale_c(sv_real *y, const sv_real *x, sv_real a, size_t count, bool accumulate)
{
    for (size_t i = 0; i < count; i++) y[i] = accumulate ? real_fma(a, x[i], y[i]) : a * x[i];
}

void sv_sigmoids_c(sv_real *y, const sv_real *x, size_t count)
{
    for (size_t i = 0; i < count; i++) y[i] = sv_sigmoid(x[i]);
}

void sv_weighted_rows_c(sv_real *y, const sv_real *x, size_t x_stride, const sv_real *weight, size_t rows, size_t width)
{
    for (size_t c = 0; c < width; c++) y[c] = 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < width; c++) y[c] = real_fma(weight ? weight[r] : 1, x[r * x_stride + c], y[c]);
}

/* The lanes are added in rising order here, as kernels.h promises. */
sv_real sv_dot_c(const sv_real *x, const sv_real *y, size_t count)
{
    sv_real lanes[SV_LANES] = { 0 }, total = 0;
    for (size_t i = 0; i < count; i++) lanes[i % SV_LANES] = real_fma(x[i], y[i], lanes[i % SV_LANES]);
    for (size_t l = 0; l < SV_LANES; l++) total += lanes[l];
    return total;
}
