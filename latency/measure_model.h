/* Measuring models: the ops of a model into a table, and whole models end to end. What is timed is what the deployed model runs: the same tapes, the
 * same split over threads. */
#ifndef SIEVE_LATENCY_MEASURE_MODEL_H
#define SIEVE_LATENCY_MEASURE_MODEL_H

#include "latency/shape.h"

typedef struct sv_model_measure {
    size_t batch;                       /* pictures at a time */
    sv_measure_options options;         /* of each setting */
    double tolerance;
    bool quiet;                         /* no progress line */
} sv_model_measure;

/* SV_MODEL_FILE where the table says that it timed selectors of another method than the plan's; what it says in other words is not judged. */
sv_status sv_latency_fits_method(const sv_latency_table *table, const sv_pruning_plan *plan, const char *name, sv_error *err) SV_MUST_CHECK;
/* Of a file of several tables that of the model (`model`: sv_latency_about_model) and the plan's method, of several such one that has rows at the batch,
 * then one of the model's precision; of a file of one table that one, if it fits both. SV_MODEL_FILE where none does: the sentence says of which models
 * the file is. */
sv_status sv_latency_file_choose(size_t *out, const sv_latency_file *file, const char *name, const sv_latency_about *model, const sv_pruning_plan *plan, size_t batch,
                                 sv_error *err) SV_MUST_CHECK;
/* Read and chosen; on failure *out is as before. */
sv_status sv_latency_table_take(sv_latency_table *out, const char *path, const sv_latency_about *model, const sv_pruning_plan *plan, size_t batch, sv_error *err) SV_MUST_CHECK;
/* The dense model, then with selectors that keep r, r^2, r^3 ... for r from .95 down (and as the plan has it; on several grids also all): each run tells
 * the times of its parts (sv_removal_parts) at the token counts they meet, where they stand. A picture is handed over before each run; that counts as embedding.
 * Replaces the table. `pruning` may be without stages: then the dense model alone is measured. */
sv_status sv_latency_measure_model(sv_latency_table *table, const sv_pruning *pruning, const sv_model_measure *measure, sv_latency_quality *quality,
                                   sv_error *err) SV_MUST_CHECK;

/* The rows such a table has, without times: what an outside device is asked for (latency/runner.h). *rows: the caller's, sv_free. */
sv_status sv_latency_rows_wanted(sv_latency_row **rows, size_t *count, const sv_pruning *pruning, size_t batch, sv_error *err) SV_MUST_CHECK;

/* How near a table comes: models that keep drawn shares of their patches, predicted by it and measured end to end. The first row is the dense model.
 * In batches of more than one the pictures keep different numbers: then least and most of them stand here. */
typedef struct sv_latency_trial { size_t least[SV_MOST_STAGES], most[SV_MOST_STAGES]; double predicted_ms, measured_ms, p95_ms; } sv_latency_trial;
/* trials[count], count at most SV_MEASURE_SUBJECTS_MOST; drawn from `seed`. SV_MODEL_FILE where the table lacks rows; SV_USAGE without selectors. */
sv_status sv_latency_try(sv_latency_trial *trials, size_t count, const sv_latency_table *table, const sv_pruning *pruning, const sv_model_measure *measure,
                         sv_latency_rule rule, uint64_t seed, sv_machine_state *machine, sv_error *err) SV_MUST_CHECK;

/* End to end: each run takes the next of `pictures` ([3*image*image] numbers each) through the tape, `batch` of them at a time. Tapes are measured in
 * alternation, so that drift hits all alike. out[i] belongs to tapes[i]; ms are of a whole batch. */
sv_status sv_latency_measure_tapes(const sv_removal_tape *const *tapes, size_t count, const sv_real *const *pictures, size_t picture_count, size_t batch,
                                   const sv_measure_options *options, sv_measured *out, sv_machine_state *machine, sv_error *err) SV_MUST_CHECK;

#endif
