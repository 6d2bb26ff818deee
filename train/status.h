/* How a run stands, for people and scripts that look from outside. The run itself writes a few lines now and then (status.txt); whoever looks
 * reads them and what else is in the folder, without a lock and without writing anything there. */
#ifndef SIEVE_TRAIN_STATUS_H
#define SIEVE_TRAIN_STATUS_H

#include "train/checkpoint.h"

/* status.txt: "name value" lines in this order. Reals that are not known are nan. */
typedef struct sv_run_told {
    char state[16];             /* training, finished, stopped, failed */
    char host[64], said[512];   /* said: how it ended, one sentence; "" while it runs */
    uint64_t process, code;     /* code: exit code, where it has ended */
    uint64_t epoch, epochs, step, epoch_step, epoch_steps, skipped, stages, memory_mib;
    double written, began;      /* seconds since 1970 */
    double loss, top1, best, images_per_s, left_s, keep[SV_STATE_STAGES], target[SV_STATE_STAGES];
} sv_run_told;

void sv_run_told_print(const sv_run_told *told, sv_text *text);
/* SV_DATA where the text is no such lines. Names that are not known are passed over: a later version wrote them. */
sv_status sv_run_told_parse(sv_run_told *told, const char *text, const char *path, sv_error *err) SV_MUST_CHECK;

/* Where a run's process is. */
typedef enum sv_run_life { SV_RUN_ALIVE, SV_RUN_GONE, SV_RUN_ELSEWHERE /* on another machine: cannot be seen from here */ } sv_run_life;

typedef struct sv_run_status {
    sv_run_told told;
    bool has_told, has_last, has_model;
    sv_run_life life;
    const char *state;              /* running, silent, stopped, finished, failed, crashed, empty */
    double told_age_s;              /* since status.txt was written; NAN: none */
    double last_age_s;              /* of last.safetensors */
    sv_run_state last;              /* what it says */
    size_t warnings;
    char warning[512];              /* the last one */
    uint64_t bytes, disk_free;      /* of the folder's files; of its disk */
} sv_run_status;

/* SV_USAGE where `folder` holds no run. A file that is broken or half there is left out, not an error. */
sv_status sv_run_status_read(sv_run_status *out, const char *folder, sv_error *err) SV_MUST_CHECK;
void sv_run_status_print(const sv_run_status *status, const char *folder, sv_text *text);
void sv_run_status_json(const sv_run_status *status, const char *folder, sv_text *text);

#endif
