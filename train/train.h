/* Training: fine-tunes a model, dense or with token selectors, to a latency budget; resumes to the byte; ends with a measured number.
 * The public face of the folder; parts stand in train/options.h, train/optimizer.h, train/checkpoint.h, train/session.h. */
#ifndef SIEVE_TRAIN_TRAIN_H
#define SIEVE_TRAIN_TRAIN_H

#include "comm/comm.h"
#include "train/checkpoint.h"
#include "train/options.h"

typedef struct sv_train_request {
    sv_resume resume;           /* SV_RESUME_AUTO: go on where run.dir holds a checkpoint, else begin */
    const char *resume_file;    /* of SV_RESUME_FILE */
    bool dry_run;               /* say the plan, then stop */
    bool profile;               /* time ops by kind, and say so at the end */
    sv_comm *comm;              /* the ranks that make this run together, each with the same call; NULL: this process alone. Borrowed */
    bool unmeasured;            /* a trial of a search: the model is written, but not timed, and nothing goes by a budget */
    size_t verify_resume;       /* steps: run so many from a checkpoint twice and compare bytes; 0: no */
} sv_train_request;

/* What a finished run can say; NAN and 0 where there is none. */
typedef struct sv_train_result {
    uint64_t epochs, steps;
    double top1, top1_ema, top1_dense, loss;    /* shares 0..1 on data.val */
    size_t images, right, right_among, dense_right, dense_right_among; /* counts of the same */
    size_t stages;
    double keep[SV_STATE_STAGES], kept_share[SV_STATE_STAGES];
    double budget_ms, predicted_ms, measured_ms, measured_p95_ms, dense_ms;
    double images_per_s, peak_mib;
    char checkpoint[512];
} sv_train_result;

/* The groups of keys a config may hold: run, model, data, pruning, latency, train. Writes them into groups[SV_TRAIN_GROUPS_MOST], returns how many. */
enum { SV_TRAIN_GROUPS_MOST = 8 };
size_t sv_train_config_groups(sv_config_group *groups);

/* Runs to the end. SV_INTERRUPTED: saved, resume to go on. SV_BUDGET: finished, but the measured time is above the budget (result is filled, on rank 0). A rank that is lost ends the others with
 * SV_INTERRUPTED; then the caller closes comm. After any other failure it gives up first.
 * The config is borrowed. */
sv_status sv_train(const sv_config *config, const sv_train_request *request, sv_train_result *result, sv_error *err) SV_MUST_CHECK;

#endif
