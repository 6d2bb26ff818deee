/* The orders in which the C forms sum products, one function each way. Where operands are bf16 they are rounded to nearest even
 * first, denormals to zero, and the products of pairs are summed in f32 as the instructions do it:
 *   DOT, of AVX512-BF16 and of every vector form: of each pair the odd product is added first, then the even one, each rounded.
 *   TILE, of AMX: 16 pairs make two chains from zero, of even and of odd products; both together are added to the sum. */
#ifndef SIEVE_KERNELS_CHAIN_H
#define SIEVE_KERNELS_CHAIN_H

#include "kernels/real.h"

typedef enum sv_chain { SV_CHAIN_F32, SV_CHAIN_DOT, SV_CHAIN_TILE } sv_chain;

/* The bf16 number nearest to x. In the f64 build too, where the sums alone are wider. */
static inline sv_real real_round_bf16(sv_real x)
{
    const float narrow = (float)x;
    uint32_t bits;
    float rounded;
    memcpy(&bits, &narrow, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) bits |= 0x400000u;
    else if ((bits & 0x7f800000u) == 0) bits &= 0x80000000u;
    else bits += 0x7fffu + (bits >> 16 & 1u);
    bits &= 0xffff0000u;
    memcpy(&rounded, &bits, sizeof rounded);
    return (sv_real)rounded;
}

/* Denormal results are zero, whatever the mode of the processor. */
static inline sv_real real_flush(sv_real x)
{
#ifdef SIEVE_F64
    return x;
#else
    return fabsf(x) < 1.17549435e-38f ? copysignf(0.0f, x) : x;
#endif
}

static inline sv_real chain_step(sv_real a, sv_real b, sv_real sum) { return real_flush(real_fma(real_round_bf16(a), real_round_bf16(b), sum)); }

/* sum + a[0] b[0] + a[1] b[1] + ... over `count` numbers that stand a_step and b_step apart. */
static inline sv_real chain_sum(sv_chain chain, sv_real sum, const sv_real *a, size_t a_step, const sv_real *b, size_t b_step, size_t count)
{
    if (chain == SV_CHAIN_F32) {
        for (size_t i = 0; i < count; i++) sum = real_fma(a[i * a_step], b[i * b_step], sum);
        return sum;
    }
    if (chain == SV_CHAIN_DOT) {
        for (size_t i = 0; i < count; i += 2) {
            sum = i + 1 < count ? chain_step(a[(i + 1) * a_step], b[(i + 1) * b_step], sum) : real_flush(sum + 0);
            sum = chain_step(a[i * a_step], b[i * b_step], sum);
        }
        return sum;
    }
    for (size_t first = 0; first < count; first += 32) {
        sv_real chains[2] = { 0, 0 };
        for (size_t i = first; i < first + 32 && i < count; i++) chains[i % 2] = chain_step(a[i * a_step], b[i * b_step], chains[i % 2]);
        sum = real_flush(sum + real_flush(chains[0] + chains[1]));
    }
    return sum;
}

#endif
