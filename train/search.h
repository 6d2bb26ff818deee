/* The search for places and ratios (SPViT, block-to-stage): from the last block to the first, how much may be dropped in front of each block while
 * accuracy on held-out training pictures stays within a tolerance; blocks whose ratios are alike become a stage. Its outcome is a config for sv_train.
 * A folder holds it: trials.csv (every trial, written whole after each), latency.csv, outcome.ini. Killed or stopped, the same call goes on and
 * ends with the same bytes: what a trial finds is a function of config and table, and the walk of what trials found. */
#ifndef SIEVE_TRAIN_SEARCH_H
#define SIEVE_TRAIN_SEARCH_H

#include "base/config.h"
#include "pruning/pruning.h"

extern const sv_config_group sv_search_config; /* the [search] keys */

enum { SV_SEARCH_BLOCKS_MOST = 64, SV_SEARCH_GRID_MOST = 32 };

typedef struct sv_search_result {
    size_t trials, stages, right, dense_right, images;  /* right: of the model found, among the held-out pictures */
    size_t at[SV_MOST_STAGES];
    double keep[SV_MOST_STAGES];
    double budget_ms, predicted_ms, dense_ms;           /* budget_ms: INFINITY without one */
    char outcome[512];                                  /* path of outcome.ini */
} sv_search_result;

/* SV_BUDGET: the tolerance was used up above the budget (outcome.ini holds what was found, without the budget), or nothing may be dropped at all.
 * SV_INTERRUPTED: the same call goes on. */
sv_status sv_search(const sv_config *config, sv_search_result *result, sv_error *err) SV_MUST_CHECK;

/* ---- its parts, for tests ---------------------------------------------------------------------------------------- */

/* Ratios by block (1: no selector there; falling over the others) to at most SV_MOST_STAGES stages. From the last block to the front: a block joins the
 * stage behind it where its ratio differs from the mean of that stage's by less than `tolerance`; what is too many then is joined by the nearest means.
 * A stage has the first of its blocks and their mean, in four decimals. Returns the stages. */
size_t sv_search_stages(const double *ratios, size_t blocks, double tolerance, size_t *at, double *keep);

/* One line of trials.csv. block SIZE_MAX: the dense model, trial 0. */
typedef struct sv_trial {
    size_t block; double ratio;     /* what was tried */
    size_t right, images;
    double predicted_ms;
    bool accepted;
    size_t stages, at[SV_MOST_STAGES];
    double keep[SV_MOST_STAGES];
} sv_trial;
typedef struct sv_trials { sv_trial *items; size_t count, capacity; } sv_trials;
void sv_trials_clear(sv_trials *trials);
sv_status sv_trials_add(sv_trials *trials, const sv_trial *trial, sv_error *err) SV_MUST_CHECK;
/* mark: of the config they were made with. A file of another mark is SV_USAGE, a damaged one SV_MODEL_FILE with file:line; none at all is no trial. */
sv_status sv_trials_read(sv_trials *trials, const char *path, uint64_t mark, sv_error *err) SV_MUST_CHECK;
sv_status sv_trials_write(const sv_trials *trials, const char *path, uint64_t mark, sv_error *err) SV_MUST_CHECK;

#endif
