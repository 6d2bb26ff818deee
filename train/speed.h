/* Whole steps and whole inferences on made-up pictures, timed: what bench prints beside the peers. */
#ifndef SIEVE_TRAIN_SPEED_H
#define SIEVE_TRAIN_SPEED_H

#include "autograd/autograd.h"

typedef enum sv_speed_kind {
    SV_SPEED_DENSE_TRAIN,   /* forward, cross entropy, backward, AdamW */
    SV_SPEED_SPVIT_TRAIN,   /* masked student with three selectors, frozen dense teacher, four loss terms, backward, AdamW */
    SV_SPEED_INFER,         /* dense forward */
    SV_SPEED_INFER_PRUNED   /* tokens removed, best k of .7/.49/.343, package tokens */
} sv_speed_kind;

typedef struct sv_speed { double median_seconds, least_seconds, macs; } sv_speed; /* macs: needed by one step, all images */
typedef struct sv_speed_request {
    sv_speed_kind kind;
    const char *backbone;       /* a row of sv_backbones */
    size_t image;               /* pixels a side; 0: the backbone's */
    sv_precision precision;
    bool recompute;             /* training: see sv_tape_options */
    size_t batch, runs;         /* runs: timed, after 2 (training) or 5 (inference) that are not */
    sv_text *profile;           /* where not NULL: gets a table of where the time went */
} sv_speed_request;
sv_status sv_speed_measure(const sv_speed_request *request, sv_speed *out, sv_error *err) SV_MUST_CHECK;

#endif
