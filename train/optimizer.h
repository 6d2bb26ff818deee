/* The optimizer of a run: AdamW or SGD over the flat blocks of a model's parameters, in groups with their own rates (spec training 2).
 * Knows parameters by name and shape alone. */
#ifndef SIEVE_TRAIN_OPTIMIZER_H
#define SIEVE_TRAIN_OPTIMIZER_H

#include "autograd/autograd.h"

/* Which rate a parameter follows. The first that fits, by name: */
typedef enum sv_group {
    SV_GROUP_SELECTOR,  /* sv_name_selects: the rate of the schedule */
    SV_GROUP_NEW,       /* made from scratch though the rest was loaded (a new head): the rate of the schedule */
    SV_GROUP_FROZEN,    /* cls_token, dist_token, pos_embed, unless they are asked for: never updated */
    SV_GROUP_BACKBONE,  /* everything else: the backbone's rate */
    SV_GROUP_COUNT
} sv_group;

typedef enum sv_optimizer_kind { SV_ADAMW, SV_SGD, SV_OPTIMIZER_KINDS } sv_optimizer_kind;
const char *sv_optimizer_name(sv_optimizer_kind kind);  /* "adamw", "sgd": the words of train.optimizer */

typedef struct sv_optimizer_options {
    sv_optimizer_kind kind;
    double decay;                       /* on parameters of two dims and more; decoupled (AdamW) or added to the gradient (SGD) */
    double beta1, beta2, eps;           /* AdamW */
    double momentum;                    /* SGD */
    bool nesterov;
    bool decay_all_selectors;           /* also biases and norms of selectors, as the reference does (F17) */
    bool train_embeddings;              /* cls_token, dist_token, pos_embed too (F16) */
    bool all_new;                       /* nothing was loaded: every parameter follows the schedule */
    bool skip_frozen;                   /* a step whose backbone rate is 0 leaves the backbone's moments as they are, as if it had not been */
    /* Layer-wise rates, 0 and 1: off. Block i of d has the rate of its group times layer_decay^(d - i), the embeddings (patches, tokens,
     * positions) layer_decay^(d + 1), norm and heads 1. The rule of BEiT (Bao et al. 2021, optim_factory.py) and MAE (He et al. 2021,
     * util/lr_decay.py). Selectors are no layers of the backbone: 1. */
    double layer_decay;
} sv_optimizer_options;

typedef struct sv_optimizer {
    sv_parameters *set;                 /* borrowed */
    sv_optimizer_options options;
    sv_real *first, *second;            /* moments, laid out like set->values; second: NULL with SGD, which has one */
    uint8_t *group;                     /* [set->count] sv_group */
    double *share;                      /* [set->count] of the group's rate, by layer */
    struct sv_chunk *chunks; size_t chunk_count;
    double *norms;                      /* [chunk_count] */
    uint64_t t, t_backbone;             /* steps made; those of the backbone's moments are fewer with skip_frozen */
} sv_optimizer;

/* is_new: [set->count], parameters made from scratch; NULL: none. Parameters of SV_GROUP_FROZEN become constants for tapes recorded later. */
sv_status sv_optimizer_create(sv_optimizer **out, sv_parameters *set, const sv_optimizer_options *options, const bool *is_new, sv_error *err) SV_MUST_CHECK;
void sv_optimizer_destroy(sv_optimizer *optimizer);
/* The 2-norm of all gradients that a step with these rates uses, summed in double in a fixed order; not finite where any of them is not.
 * Only with skip_frozen does it ask for the rates: NULL counts everything. */
double sv_optimizer_gradient_norm(sv_optimizer *optimizer, const double rates[SV_GROUP_COUNT]);
/* One step over all groups; gradients are multiplied by gradient_scale (clipping) on the way. A rate of 0 leaves the values but moves the
 * moments, as the reference does, unless skip_frozen. */
void sv_optimizer_step(sv_optimizer *optimizer, const double rates[SV_GROUP_COUNT], double gradient_scale);

/* Rates of a run (spec training 3), with e epochs done of E and k steps of n an epoch:
 *   epoch form (SPViT; timm's cosine, which DeiT is trained with): one value an epoch,
 *     warm-up  warmup_lr + (lr - warmup_lr) e / W,  then  min + (lr - min) (1 + cos(pi e / E)) / 2: the cosine began at epoch 0
 *   step form (DynamicViT): j = e n + k,
 *     warm-up  the W n values from warmup_lr to lr, both included,  then  the cosine over j - W n of (E - W) n steps
 *   constant: the step form's warm-up, then lr. */
typedef enum sv_schedule { SV_COSINE_EPOCH, SV_COSINE_STEP, SV_CONSTANT } sv_schedule;
typedef struct sv_schedule_options {
    sv_schedule schedule;
    double lr, min_lr, warmup_lr;       /* lr is the final one: scaling by the batch is done before */
    double backbone_scale;              /* backbone rate = min(scale * lr, rate) (epoch form), scale * rate (step form) */
    double epochs, warmup_epochs, frozen_epochs;
    double jump_epoch;                  /* from it on lr is 5e-4, as in the reference from epoch 30 on; 0: never */
    double steps;                       /* of an epoch; 0: not known, then the warm-up ends at lr one step late */
} sv_schedule_options;
/* epoch counts whole epochs done; share: of the running epoch, 0..1. */
void sv_schedule_rates(const sv_schedule_options *options, size_t epoch, double share, double rates[SV_GROUP_COUNT]);

#endif
