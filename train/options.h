/* The [run] and [train] keys of a config and what they become. */
#ifndef SIEVE_TRAIN_OPTIONS_H
#define SIEVE_TRAIN_OPTIONS_H

#include "base/config.h"
#include "train/average.h"
#include "train/optimizer.h"

extern const sv_config_group sv_run_config;     /* the [run] keys */
extern const sv_config_group sv_train_config;   /* the [train] keys */

typedef enum sv_resume { SV_RESUME_AUTO, SV_RESUME_NEVER, SV_RESUME_FILE } sv_resume;

typedef struct sv_train_options {
    const char *folder;                 /* of the run; borrowed from the config */
    size_t pictures;                    /* overlays on the page */
    bool tensorboard;                   /* event files beside metrics.csv */
    uint64_t seed;
    size_t epochs, batch, accumulate, lanes, save_every, max_bad_steps, calibrate, evaluate_every, check_every;
    bool wire_bf16;
    double clip;                        /* 0: off */
    sv_average_options ema;
    size_t patience;                    /* epochs; 0: off */
    size_t keep_last, keep_best;        /* checkpoints that stay under names of their own */
    double spike_z;                     /* deviations; 0: off */
    double max_seconds, save_seconds;   /* of this process; between checkpoints; 0: no limit, not by the clock */
    uint64_t log_bytes;                 /* of log.txt; 0: no limit */
    uint64_t max_steps;                 /* 0: no limit; then the run is saved and ends as if interrupted */
    sv_schedule_options schedule;
    sv_optimizer_options optimizer;
} sv_train_options;

/* method_prunes: the backbone's rate defaults to 0.01 of the selectors' (else 1), frozen epochs as given. SV_USAGE where values clash. */
sv_status sv_train_options_read(sv_train_options *options, const sv_config *config, bool method_prunes, sv_error *err) SV_MUST_CHECK;

#endif
