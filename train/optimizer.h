/* The optimizer of a run: AdamW over the flat blocks of a model's parameters, in groups with their own rates (spec training 2).
 * Knows parameters by name and shape alone. */
#ifndef SIEVE_TRAIN_OPTIMIZER_H
#define SIEVE_TRAIN_OPTIMIZER_H

#include "autograd/autograd.h"

/* Which rate a parameter follows. The first that fits, by name: */
typedef enum sv_group {
    SV_GROUP_SELECTOR,  /* "selectors.": the rate of the schedule */
    SV_GROUP_NEW,       /* made from scratch though the rest was loaded (a new head): the rate of the schedule */
    SV_GROUP_FROZEN,    /* cls_token, dist_token, pos_embed, unless they are asked for: never updated */
    SV_GROUP_BACKBONE,  /* everything else: the backbone's rate */
    SV_GROUP_COUNT
} sv_group;

typedef struct sv_optimizer_options {
    double decay, beta1, beta2, eps;    /* AdamW; decay on parameters of two dims and more */
    bool decay_all_selectors;           /* also biases and norms of selectors, as the reference does (F17) */
    bool train_embeddings;              /* cls_token, dist_token, pos_embed too (F16) */
    bool all_new;                       /* nothing was loaded: every parameter follows the schedule */
} sv_optimizer_options;

typedef struct sv_optimizer {
    sv_parameters *set;                 /* borrowed */
    sv_optimizer_options options;
    sv_real *first, *second;            /* moments, laid out like set->values */
    uint8_t *group;                     /* [set->count] sv_group */
    struct sv_chunk *chunks; size_t chunk_count;
    double *norms;                      /* [chunk_count] */
    uint64_t t;                         /* steps made */
} sv_optimizer;

/* is_new: [set->count], parameters made from scratch; NULL: none. Parameters of SV_GROUP_FROZEN become constants for tapes recorded later. */
sv_status sv_optimizer_create(sv_optimizer **out, sv_parameters *set, const sv_optimizer_options *options, const bool *is_new, sv_error *err) SV_MUST_CHECK;
void sv_optimizer_destroy(sv_optimizer *optimizer);
/* The 2-norm of all gradients, summed in double in a fixed order; not finite where any gradient is not. */
double sv_optimizer_gradient_norm(sv_optimizer *optimizer);
/* One step over all groups; gradients are multiplied by gradient_scale (clipping) on the way. A rate of 0 leaves the values but moves the
 * moments, as the reference does. */
void sv_optimizer_step(sv_optimizer *optimizer, const double rates[SV_GROUP_COUNT], double gradient_scale);

/* Rates of an epoch position (spec training 3). */
typedef enum sv_schedule { SV_COSINE_EPOCH /* SPViT: one value an epoch */, SV_COSINE_STEP /* warm-up and cosine each step */, SV_CONSTANT } sv_schedule;
typedef struct sv_schedule_options {
    sv_schedule schedule;
    double lr, min_lr;                  /* lr is the final one: scaling by the batch is done before */
    double backbone_scale;              /* backbone rate = min(scale * lr, rate) (epoch form), scale * rate (step form) */
    double epochs, warmup_epochs, frozen_epochs;
} sv_schedule_options;
/* epoch counts whole epochs done; share: of the running epoch, 0..1. */
void sv_schedule_rates(const sv_schedule_options *options, size_t epoch, double share, double rates[SV_GROUP_COUNT]);

#endif
