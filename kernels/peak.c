/* The multiply-add peak, C form: what portable C reaches with independent chains in registers. */
#include "kernels/real.h"

double sv_peak_gflops_c(double seconds)
{
    enum { CHAINS = 64, STEPS = 20000 };
    sv_real sums[CHAINS];
    for (int c = 0; c < CHAINS; c++) sums[c] = (sv_real)c;
    double done = 0;
    const double begin = sv_now_seconds();
    double now = begin;
    for (; now - begin < seconds || done == 0; now = sv_now_seconds()) {
        for (int s = 0; s < STEPS; s++)
            for (int c = 0; c < CHAINS; c++) sums[c] = sums[c] * (sv_real)0.5 + (sv_real)1;
        done += 2.0 * CHAINS * STEPS;
    }
    volatile sv_real sink = lanes_total(sums); /* keeps the chains alive */
    (void)sink;
    return now > begin ? done / (now - begin) * 1e-9 : 0;
}
