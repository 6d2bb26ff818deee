/* One trial of a search: a run of its own in a folder that is gone afterwards. For the files of the search alone. */
#ifndef SIEVE_TRAIN_SEARCH_TRIAL_H
#define SIEVE_TRAIN_SEARCH_TRIAL_H

#include "train/search.h"

typedef struct sv_trial_place {
    const char *folder;         /* of the search */
    const char *config;         /* its config.ini */
    bool trains;                /* search.form = full */
    bool among;                 /* right among the classes that are present */
    size_t hold_out, epochs;
    size_t best;                /* the accepted trial whose weights the next begins with; 0: those of the config */
    size_t best_stages;
} sv_trial_place;

/* The config of the run for a plan (stages 0: dense). */
sv_status sv_trial_config(sv_config **out, const sv_trial_place *place, const sv_trial *trial, size_t number, sv_error *err) SV_MUST_CHECK;
/* Runs it, or goes on with it; fills trial->right and images. */
sv_status sv_trial_run(const sv_trial_place *place, sv_trial *trial, size_t number, sv_error *err) SV_MUST_CHECK;
/* Keeps the weights of an accepted trial (full form): accepted-NUMBER.safetensors. */
sv_status sv_trial_keep(const sv_trial_place *place, size_t number, sv_error *err) SV_MUST_CHECK;
/* Removes the trial's folder, and the weights of an accepted trial that another took the place of (0: none). */
void sv_trial_sweep(const sv_trial_place *place, size_t number, size_t replaced);
/* "3,6,9" and "0.7,0.49,0.3". */
sv_status sv_trial_set_plan(sv_config *config, const sv_trial *trial, sv_error *err) SV_MUST_CHECK;

#endif
