/* The guard against steps that would break a run: a loss or gradient norm far above its running mean. A function of the numbers and the run's
 * state alone, so that a resumed run skips the same steps. */
#ifndef SIEVE_TRAIN_GUARD_H
#define SIEVE_TRAIN_GUARD_H

#include "train/checkpoint.h"

enum { SV_GUARD_WARM_UP = 20 /* steps before anything is judged */, SV_GUARD_WINDOW = 100 /* steps that a mean looks back, about */ };

typedef struct sv_spike { const char *what; double value, mean, deviation; } sv_spike; /* what: "loss", "gradient norm"; NULL: none */

/* Is this step out of the running mean by more than `z` deviations, upwards? Where not, its numbers enter the means: m += a (x - m),
 * v = (1 - a)(v + a (x - m)^2), a = 1 / min(count, window). Both numbers finite; z above 0. */
sv_spike sv_guard_judge(sv_run_state *state, double z, double loss, double norm);
/* What is now is taken for what is usual: the means begin anew. */
void sv_guard_forget(sv_run_state *state);

#endif
