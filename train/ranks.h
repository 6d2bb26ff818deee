/* One run made by several processes (comm/comm.h): who makes which pictures, what rank 0 does alone and tells, and what all check of one another.
 * Every function is also right for a run of one process, where s->comm is NULL and nothing is sent. For the files of train/ alone. */
#ifndef SIEVE_TRAIN_RANKS_H
#define SIEVE_TRAIN_RANKS_H

#include "train/session.h"

/* Threads of a rank: forked ranks share run.threads evenly, and have it all while rank 0 works alone. */
void sv_ranks_threads(const sv_session *session, bool alone);
/* Fills session->places from batch and lanes. SV_USAGE where a rank would have none. */
sv_status sv_ranks_places(sv_session *session, sv_error *err) SV_MUST_CHECK;
size_t sv_ranks_own(const sv_session *session); /* how many of them are this rank's */
/* When all is set up: the tape learns of its peers, and the ranks compare version, instruction set, config, pictures, weights and plan. SV_USAGE
 * naming the rank and what differs. */
sv_status sv_ranks_open(sv_session *session, sv_error *err) SV_MUST_CHECK;
sv_status sv_ranks_agree(sv_session *session, sv_error *err) SV_MUST_CHECK; /* agreement.c: the comparing part of it */
uint64_t sv_ranks_hash_state(const sv_session *session);                   /* weights, moments, averages, state */
void sv_ranks_close(sv_session *session);

/* A batch as the step sees it: numbers of all pictures, and the pictures of places first .. end-1. */
typedef struct sv_whole_batch {
    size_t count, first, end, from; /* from: the place of pictures[0] */
    sv_real *pictures;
    uint32_t *labels;
    uint64_t *draws;
} sv_whole_batch;
/* paired: a picture also needs that of place count-1-i, which is got from the rank that made it. */
sv_status sv_ranks_batch(sv_session *session, const sv_batch *batch, bool paired, sv_whole_batch *out, sv_error *err) SV_MUST_CHECK;

/* Logs what other ranks had to say; on rank 0. */
void sv_ranks_hear(sv_session *session);
/* Before each step: *stop on any rank is *stop on all, *save is what rank 0 says; SV_DATA where all ranks together found more unreadable pictures than may be. */
sv_status sv_ranks_meet(sv_session *session, bool *stop, bool *save, sv_error *err) SV_MUST_CHECK;
/* Rank 0 does the work; then all have its state, plan and verdict. The work must not talk to other ranks. */
typedef sv_status sv_lead_work(sv_session *session, sv_error *err);
sv_status sv_ranks_lead(sv_session *session, sv_lead_work *work, sv_error *err) SV_MUST_CHECK;
/* Rank 0 first, then the others, which find what it left in the run's folder. */
sv_status sv_ranks_in_turn(sv_session *session, sv_lead_work *work, sv_error *err) SV_MUST_CHECK;
/* Rank 0's weights, moments, averages and counters, on all. */
sv_status sv_ranks_share(sv_session *session, sv_error *err) SV_MUST_CHECK;
/* SV_FAULT naming the rank whose weights, moments, averages or state are not those of rank 0. */
sv_status sv_ranks_check(sv_session *session, sv_error *err) SV_MUST_CHECK;
/* sv_ranks_check, then rank 0 saves: what is written is what every rank holds. */
sv_status sv_ranks_save(sv_session *session, sv_error *err) SV_MUST_CHECK;

#endif
