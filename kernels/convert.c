/* bfloat16 is the upper half of a float: rounding to nearest even is adding 0x7fff and the bit that will be the last. */
#include "kernels/real.h"

void sv_to_bf16_c(uint16_t *out, const float *in, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, in + i, sizeof bits);
        const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
        out[i] = (uint16_t)(nan ? bits >> 16 | 0x40u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
    }
}

void sv_from_bf16_c(float *out, const uint16_t *in, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const uint32_t bits = (uint32_t)in[i] << 16;
        memcpy(out + i, &bits, sizeof bits);
    }
}
