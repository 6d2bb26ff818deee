/* Averaged weights (spec training 3): after each optimizer step average <- decay average + (1 - decay) values. The average begins as a
 * copy of the weights before training. */
#ifndef SIEVE_TRAIN_AVERAGE_H
#define SIEVE_TRAIN_AVERAGE_H

#include "base/base.h"

typedef struct sv_average_options {
    double decay;   /* 0: no average */
    bool warmup;    /* decay after step t is min(decay, (1 + t) / (10 + t)): a short run's average forgets where it began */
} sv_average_options;

/* t: optimizer steps made, 1 after the first. */
double sv_average_decay(const sv_average_options *options, uint64_t t);
void sv_average_step(sv_real *average, const sv_real *values, size_t count, double decay);

#endif
