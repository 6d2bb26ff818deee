/* The yardstick of bf16 products on this engine. */
#ifndef SIEVE_KERNELS_X86_PEAK_AMX_H
#define SIEVE_KERNELS_X86_PEAK_AMX_H

/* Products of tiles that stay in registers, for about `seconds`. */
static double peak_bf16_gflops(double seconds)
{
    enum { STEPS = 20000 };
    double done = 0;
    engine_begin();
    tiles_for(32);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    const double begin = sv_now_seconds();
    double now = begin;
    for (; now - begin < seconds || done == 0; now = sv_now_seconds()) {
        for (int s = 0; s < STEPS / 16; s++) {
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        done += 4.0 * 16 * 16 * 32 * 2 * (STEPS / 16);
    }
    engine_end();
    return now > begin ? done / (now - begin) * 1e-9 : 0;
}

#endif
