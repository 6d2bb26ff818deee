/* The orders in which the C forms sum products, one function each way. Where operands are bf16 they are rounded to nearest even
 * first, denormals to zero, and the products of pairs are summed in f32 as the instructions do it:
 *   DOT, of AVX512-BF16 and of every vector form: of each pair the odd product is added first, then the even one, each rounded.
 *   TILE, of AMX: 16 pairs make two chains from zero, of even and of odd products; both together are added to the sum.
 * Three parts: of each 16 pairs six products of parts are added, one after another; the three that are left out are below 2^-24. */
#ifndef SIEVE_KERNELS_CHAIN_H
#define SIEVE_KERNELS_CHAIN_H

#include "kernels/real.h"

typedef enum sv_order { SV_ORDER_F32, SV_ORDER_DOT, SV_ORDER_TILE } sv_order;
typedef struct sv_chain {
    sv_order order;
    sv_parts parts;
} sv_chain;

/* The bf16 number nearest to x. In the f64 build too, where the sums alone are wider. */
static inline sv_real real_round_bf16(sv_real x)
{
    const float narrow = (float)x;
    uint32_t bits;
    float rounded;
    memcpy(&bits, &narrow, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        bits |= 0x400000u;
    else if ((bits & 0x7f800000u) == 0)
        bits &= 0x80000000u;
    else
        bits += 0x7fffu + (bits >> 16 & 1u);
    bits &= 0xffff0000u;
    memcpy(&rounded, &bits, sizeof rounded);
    return (sv_real)rounded;
}

/* bf16 in memory. bits: of a number that is rounded already. */
static inline uint16_t bf16_bits(sv_real rounded)
{
    const float narrow = (float)rounded;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    return (uint16_t)(bits >> 16);
}
static inline sv_real bf16_value(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (sv_real)value;
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

/* Part 0, 1 or 2 of x: what is left of it, rounded. */
static inline sv_real real_part(sv_real x, int part)
{
    for (; part > 0; part--) x -= real_round_bf16(x);
    return real_round_bf16(x);
}

/* Which part of a meets which part of b: in an order that lets tiles be used twice. */
static const struct {
    int a, b;
} sv_part_pairs[6] = { { 0, 2 }, { 0, 1 }, { 0, 0 }, { 1, 0 }, { 1, 1 }, { 2, 0 } };
enum { SV_MAIN_PAIR = 2 };

/* sum + a[0] b[0] + a[1] b[1] + ... over `count` numbers that stand a_step and b_step apart. b is one array a part, or, where all
 * three are the same, numbers that are yet to be taken apart. */
static inline sv_real chain_parts(sv_chain chain, sv_real sum, const sv_real *a, size_t a_step, const sv_real *const b[3], size_t b_step,
                                  size_t count)
{
    const bool whole = b[0] == b[1];
#define STEP(i, to) real_flush(real_fma(real_part(a[(i)*a_step], pa), whole ? real_part(b[pb][(i)*b_step], pb) : b[pb][(i)*b_step], to))
    if (chain.order == SV_ORDER_DOT) {
        const int pa = 0, pb = 0;
        for (size_t i = 0; i < count; i += 2) {
            sum = i + 1 < count ? STEP(i + 1, sum) : real_flush(sum + 0);
            sum = STEP(i, sum);
        }
        return sum;
    }
    const size_t from = chain.parts == SV_THREE_PARTS ? 0 : SV_MAIN_PAIR, to = chain.parts == SV_THREE_PARTS ? 6 : SV_MAIN_PAIR + 1;
    for (size_t first = 0; first < count; first += 32)
        for (size_t p = from; p < to; p++) {
            const int pa = sv_part_pairs[p].a, pb = sv_part_pairs[p].b;
            sv_real chains[2] = { 0, 0 };
            for (size_t i = first; i < first + 32 && i < count; i++) chains[i % 2] = STEP(i, chains[i % 2]);
            sum = real_flush(sum + real_flush(chains[0] + chains[1]));
        }
#undef STEP
    return sum;
}

static inline sv_real chain_sum(sv_chain chain, sv_real sum, const sv_real *a, size_t a_step, const sv_real *b, size_t b_step, size_t count)
{
    if (chain.order != SV_ORDER_F32) return chain_parts(chain, sum, a, a_step, (const sv_real *const[3]){ b, b, b }, b_step, count);
    for (size_t i = 0; i < count; i++) sum = real_fma(a[i * a_step], b[i * b_step], sum);
    return sum;
}

#endif
