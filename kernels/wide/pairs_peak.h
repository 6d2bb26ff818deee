/* The yardstick of bf16 products on this engine. */
#ifndef SIEVE_KERNELS_WIDE_PAIRS_PEAK_H
#define SIEVE_KERNELS_WIDE_PAIRS_PEAK_H

/* Pairs multiplied and added in registers alone, for about `seconds`. */
static double peak_bf16_gflops(double seconds)
{
    enum { CHAINS = 12, STEPS = 20000 };
    v16 sum[CHAINS];
    UNROLL for (int c = 0; c < CHAINS; c++) sum[c] = v_set((float)c);
    const i16 a = w_set(0xbf003f00u), b = w_set(0x3e803e80u);
    double done = 0;
    const double begin = sv_now_seconds();
    double now = begin;
    for (; now - begin < seconds || done == 0; now = sv_now_seconds()) {
        for (int s = 0; s < STEPS; s++) {
            UNROLL for (int c = 0; c < CHAINS; c++) sum[c] = v_dot(sum[c], a, b);
        }
        done += 64.0 * CHAINS * STEPS;
    }
    float sink = 0;
    for (int c = 0; c < CHAINS; c++) sink += v_first(sum[c]);
    volatile float kept = sink;
    (void)kept;
    return now > begin ? done / (now - begin) * 1e-9 : 0;
}

#endif
