/* Running mean and variance of two numbers; state->guard holds { mean, variance } of the loss, then of the norm. */
#include "train/guard.h"

#include <math.h>

/* A loss that hardly moves must not make a spike of its last digits. */
static const double LEAST_DEVIATION = 1e-3; /* of the mean */

static double deviation_of(const double *pair) { return fmax(sqrt(fmax(pair[1], 0)), LEAST_DEVIATION * fabs(pair[0])); }

static void enter(double *pair, double value, double share)
{
    const double off = value - pair[0];
    pair[0] += share * off;
    pair[1] = (1 - share) * (pair[1] + share * off * off);
}

sv_spike sv_guard_judge(sv_run_state *state, double z, double loss, double norm)
{
    const double values[] = { loss, norm };
    static const char *const names[] = { "loss", "gradient norm" };
    const uint64_t count = state->guard_count + 1;
    for (size_t i = 0; i < SV_COUNT(values) && state->guard_count >= SV_GUARD_WARM_UP; i++) {
        const double *pair = state->guard + 2 * i, deviation = deviation_of(pair);
        if (values[i] > pair[0] + z * deviation) return (sv_spike){ names[i], values[i], pair[0], deviation };
    }
    for (size_t i = 0; i < SV_COUNT(values); i++) enter(state->guard + 2 * i, values[i], 1 / (double)(count < SV_GUARD_WINDOW ? count : SV_GUARD_WINDOW));
    state->guard_count = count;
    return (sv_spike){ 0 };
}

void sv_guard_forget(sv_run_state *state)
{
    state->guard_count = 0;
    for (size_t i = 0; i < SV_STATE_GUARD; i++) state->guard[i] = 0;
}
