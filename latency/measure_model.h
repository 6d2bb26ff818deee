/* Measuring models: the ops of a model into a table, and whole models end to end. What is timed is what the deployed model runs: the same tapes, the
 * same split over threads. */
#ifndef SIEVE_LATENCY_MEASURE_MODEL_H
#define SIEVE_LATENCY_MEASURE_MODEL_H

#include "latency/measure.h"
#include "pruning/pruning.h"

typedef struct sv_model_measure {
    size_t batch;                       /* pictures at a time */
    size_t packages;                    /* package tokens at most */
    const size_t *exact; size_t exact_count; /* scored rows that must be measured beside the grid; NULL: none */
    sv_measure_options options;
    double tolerance;
    bool quiet;                         /* no progress line */
} sv_model_measure;

/* The model's signature (arch .. heads) over what sv_latency_about_here tells. */
void sv_latency_about_model(sv_latency_about *about, const sv_model *model);
/* SV_MODEL_FILE where the table says that it timed selectors of another method than the plan's; what it says in other words is not judged. */
sv_status sv_latency_fits_method(const sv_latency_table *table, const sv_pruning_plan *plan, const char *name, sv_error *err) SV_MUST_CHECK;
/* Embedding, all blocks over a grid of token counts (a block's time is that of all blocks divided by their number, so that weights come from where
 * they come from in a model), selectors, head. Replaces the table. `pruning` may be without stages: then there are no selector rows. */
sv_status sv_latency_measure_model(sv_latency_table *table, const sv_pruning *pruning, const sv_model_measure *measure, sv_latency_quality *quality,
                                   sv_error *err) SV_MUST_CHECK;

/* End to end: each run takes the next of `pictures` ([3*image*image] numbers each) through the tape, `batch` of them at a time. Tapes are measured in
 * alternation, so that drift hits all alike. out[i] belongs to tapes[i]; ms are of a whole batch. */
sv_status sv_latency_measure_tapes(const sv_removal_tape *const *tapes, size_t count, const sv_real *const *pictures, size_t picture_count, size_t batch,
                                   const sv_measure_options *options, sv_measured *out, sv_machine_state *machine, sv_error *err) SV_MUST_CHECK;

#endif
