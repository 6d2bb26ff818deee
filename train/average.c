/* Averaged weights, in chunks shared out to threads. */
#include "train/average.h"
#include "kernels/kernels.h"

#include <math.h>

enum { CHUNK = 65536 };

typedef struct average_run { sv_real *average; const sv_real *values; size_t count; sv_real keep, take; } average_run;

static void average_chunk(void *context, size_t item, size_t thread)
{
    const average_run *run = context;
    const size_t at = item * CHUNK, count = run->count - at < CHUNK ? run->count - at : CHUNK;
    (void)thread;
    sv_scale(run->average + at, run->average + at, run->keep, count, false);
    sv_scale(run->average + at, run->values + at, run->take, count, true);
}

double sv_average_decay(const sv_average_options *options, uint64_t t)
{
    const double steps = (double)t;
    return options->warmup ? fmin(options->decay, (1 + steps) / (10 + steps)) : options->decay;
}

/* The two factors add up to 1 exactly (the difference of a float from 1/2 to 1 and 1 is a float): rounded apart, 0.99996 and 0.00004
 * give 1 + 5e-9, and the average of weights that stand still would grow to 1.00013 of them. */
void sv_average_step(sv_real *average, const sv_real *values, size_t count, double decay)
{
    average_run run = { average, values, count, (sv_real)decay, 0 };
    run.take = 1 - run.keep;
    sv_for_items((count + CHUNK - 1) / CHUNK, average_chunk, &run);
}
