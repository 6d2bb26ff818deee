/* Batches of transformed pictures, made ahead by worker threads and handed out in a fixed order. What a batch holds is a function of
 * (source, options, epoch, batch): neither the number of workers nor where a run was resumed can change a bit of it. */
#ifndef SIEVE_DATA_LOADER_H
#define SIEVE_DATA_LOADER_H

#include "data/source.h"
#include "data/transform.h"

typedef enum sv_loader_use {
    SV_LOAD_TRAINING,   /* shuffled, training transform, the last partial batch dropped; an unreadable picture's place is taken by another */
    SV_LOAD_EVALUATION  /* in order, evaluation transform, every picture once; an unreadable picture is left out */
} sv_loader_use;

typedef struct sv_loader_options {
    sv_loader_use use;
    size_t batch;               /* pictures a batch, over all ranks */
    size_t slice_first, slice_count; /* which places of each batch this process makes (data parallel); count 0: all */
    size_t workers;             /* threads; 0: one, and one more for each 8 cores */
    size_t queue;               /* batches made ahead; at least 1 */
    uint64_t seed;
    size_t repeats, repeat_ranks; /* training: repeated augmentation, each picture so many times in a row, dealt out to so many ranks whose parts make
                                 * a batch (spec training 4; DeiT's RASampler); an epoch keeps its length and sees that share of the pictures. 0: 1 */
    bool scattered;             /* evaluation: in shuffled order, each picture once: the first so many are then a fair sample */
    double max_bad;             /* share of the source's pictures that may be unreadable */
    size_t cache_bytes;         /* decoded pictures kept in memory, 0: none */
    sv_transform_options transform;
} sv_loader_options;

/* One batch; borrowed until the next call of sv_loader_next, _start or _destroy. The pictures may be written to (mixup). */
typedef struct sv_batch {
    uint32_t epoch;
    uint64_t index;             /* of the batch in its epoch */
    size_t count;               /* pictures here; below the batch size where evaluation left some out or ends */
    sv_real *pictures;          /* [count, 3, size, size] */
    uint32_t *labels;           /* [count] */
    uint64_t *samples;          /* [count] indices in the source */
    uint64_t *draws;            /* [count] the same, but another number for each repeat of a picture: what random draws of ops are made by */
    bool last_of_epoch;
} sv_batch;

typedef struct sv_loader sv_loader;

/* Borrows the source. Starts the threads; nothing is read before sv_loader_start. SV_DATA: fewer pictures than one training batch;
 * SV_USAGE: options that cannot be; SV_FAULT: memory, threads. */
sv_status sv_loader_create(sv_loader **out, const sv_source *source, const sv_loader_options *options, sv_error *err) SV_MUST_CHECK;
/* Ends the threads and frees everything; accepts NULL. */
void sv_loader_destroy(sv_loader *loader);
/* Batches of an epoch: for training as many as are full, for evaluation all. */
uint64_t sv_loader_batches(const sv_loader *loader);
/* Goes to batch `batch` of epoch `epoch`; the epochs up to end_epoch - 1 follow one another. May be called again at any time. */
void sv_loader_start(sv_loader *loader, uint32_t epoch, uint64_t batch, uint32_t end_epoch);
/* The next batch, or *batch = NULL after the last one of end_epoch - 1. Waits for it where it is not ready. Each unreadable picture is
 * logged once (SV_WARNING). SV_DATA: more unreadable pictures than max_bad allows; SV_FAULT: memory. One thread may call it. */
sv_status sv_loader_next(sv_loader *loader, sv_batch **batch, sv_error *err) SV_MUST_CHECK;

typedef struct sv_loader_stats {
    double waited_seconds;      /* in sv_loader_next, since the last start */
    double seconds;             /* since the last start */
    uint64_t pictures;          /* handed out since the last start */
    size_t bad_pictures;        /* unreadable ones found since the loader was created */
    size_t cached_bytes;
} sv_loader_stats;
sv_loader_stats sv_loader_stats_now(const sv_loader *loader);

#endif
