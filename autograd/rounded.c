/* Sums of lanes in bf16 (sv_tape_options.lanes_bf16). The same functions round for one process and for ranks, so both have the same bits. */
#include "autograd/tape_internal.h"
#include "kernels/kernels.h"

enum { PIECE = 1024 };

void sv_lanes_to_half(uint16_t *out, const sv_real *in, size_t count)
{
    float piece[PIECE];
    for (size_t at = 0; at < count; at += PIECE) {
        const size_t some = count - at < PIECE ? count - at : PIECE;
        for (size_t i = 0; i < some; i++) piece[i] = (float)in[at + i];
        sv_to_bf16(out + at, piece, some);
    }
}

void sv_lanes_add_half(sv_real *sum, const uint16_t *in, size_t count, bool accumulate)
{
    float piece[PIECE];
    for (size_t at = 0; at < count; at += PIECE) {
        const size_t some = count - at < PIECE ? count - at : PIECE;
        sv_from_bf16(piece, in + at, some);
        for (size_t i = 0; i < some; i++) sum[at + i] = (accumulate ? sum[at + i] : 0) + (sv_real)piece[i];
    }
}

void sv_lanes_add_rounded(sv_real *gradient, const sv_real *lanes, size_t stride, size_t lane_count, const bool *empty, size_t count)
{
    sv_real sum[PIECE];
    uint16_t half[PIECE];
    for (size_t at = 0; at < count; at += PIECE) {
        const size_t some = count - at < PIECE ? count - at : PIECE;
        bool first = true;
        for (size_t lane = 0; lane < lane_count; lane++) {
            if (empty[lane]) continue;
            sv_lanes_to_half(half, lanes + lane * stride + at, some);
            sv_lanes_add_half(sum, half, some, !first);
            first = false;
        }
        if (first) continue;
        sv_lanes_to_half(half, sum, some);
        sv_lanes_add_half(gradient + at, half, some, true);
    }
}
