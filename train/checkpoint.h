/* Checkpoints: one safetensors file holds all a run needs to go on to the same bytes. Weights stand under timm names, moments under
 * "optim.first." and, of AdamW, "optim.second.", averaged weights under "ema."; everything else is text in the metadata, each tensor has a CRC-32.
 * Written atomically: a run killed at any moment finds the old file or the new one. Nothing in it depends on the clock. */
#ifndef SIEVE_TRAIN_CHECKPOINT_H
#define SIEVE_TRAIN_CHECKPOINT_H

#include "autograd/autograd.h"
#include "train/optimizer.h"

enum { SV_STATE_STAGES = 8, SV_STATE_SUMS = 24, SV_STATE_GUARD = 4 };

/* Where a run stands. Counters say what is done: `batch` batches of epoch `epoch`, `step` optimizer steps in all. */
typedef struct sv_run_state {
    uint64_t epoch, batch, step, skipped_steps, skipped_in_row, round, best_epoch, stages;
    double best;                            /* best top-1 so far, -1: none */
    double keep[SV_STATE_STAGES];           /* targets in force */
    double multiplier[SV_STATE_STAGES];     /* of the Lagrange form */
    double sums[SV_STATE_SUMS];             /* of the running epoch's metrics, so that its row is the same after a resume */
    uint64_t sum_count;
    uint64_t better_epoch;                  /* last epoch whose top-1 was above all before: best_epoch may be as good, and later */
    uint64_t stopped_epoch;                 /* where train.patience ended the run; 0: it did not */
    uint64_t rolled_back;                   /* 1: the last good checkpoint was taken up once */
    uint64_t guard_count;                   /* of train/guard.h: steps in its means */
    double guard[SV_STATE_GUARD];
    double latency_multiplier;              /* of latency.loss = lagrange */
    double goal_ms;                         /* what the targets are solved for by the table: the budget, less after each round; 0: there is none */
} sv_run_state;

typedef struct sv_checkpoint {
    sv_parameters *set;
    sv_optimizer *optimizer;    /* NULL: weights alone (best, export) */
    sv_real *ema;               /* block like set->values; NULL: none */
    const sv_real *values;      /* written instead of set->values where not NULL (the averaged weights as the model) */
    sv_run_state *state;        /* NULL: none */
    /* Texts of the metadata, NULL: left out. model: what rebuilds the model; plan: the pruning plan; config: the resolved config; teacher: the
     * mark of train.teacher's weights; card: what the file is, for people. */
    const char *model, *plan, *config, *classes, *teacher, *card;
} sv_checkpoint;

sv_status sv_checkpoint_write(const sv_checkpoint *checkpoint, const char *path, sv_error *err) SV_MUST_CHECK;
/* Reads into the blocks that are not NULL; each must be in the file with every name and shape, else SV_MODEL_FILE and nothing is changed that
 * matters (values may be partly read: the caller starts from another file or stops). The texts are not read (sv_weights_metadata). */
sv_status sv_checkpoint_read(sv_checkpoint *checkpoint, const char *path, sv_error *err) SV_MUST_CHECK;

/* The state as text and back; exact. Unknown keys are errors: a newer version wrote them. */
void sv_run_state_print(const sv_run_state *state, sv_text *text);
sv_status sv_run_state_parse(sv_run_state *state, const char *text, const char *path, sv_error *err) SV_MUST_CHECK;

#endif
