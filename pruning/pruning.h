/* Pruning: how tokens are scored, dropped, packed and merged. A method (a file and a row of methods.c each) may add parameters to a model;
 * shared by all: the masked form that is trained, the form in which tokens really leave, the losses. Nothing here knows training loops, files of
 * pictures or clocks.
 * Letters: S selectors (stages), E prefix rows, N0 patches, keep ratio rho_t cumulative: share of the N0 patches alive behind selector t; where a backbone
 * changes its grid from stage to stage, of the patches of the selector's own grid. */
#ifndef SIEVE_PRUNING_PRUNING_H
#define SIEVE_PRUNING_PRUNING_H

#include "autograd/ops.h"
#include "layers/layers.h"

enum { SV_MOST_STAGES = 6 };

/* Whose selectors: the list of methods, the only one. A new method is one row here and one file, pruning/NAME.c, with a sv_method_NAME. */
#define SV_METHOD_ROWS(ROW) ROW(SPVIT, spvit) ROW(DYNAMICVIT, dynamicvit) ROW(RANDOM, random) ROW(ATTENTION, attention) ROW(EVIT, evit) ROW(TOME, tome)
#define SV_METHOD_ENTRY(NAME, name) SV_METHOD_##NAME,
typedef enum sv_method { SV_METHOD_ROWS(SV_METHOD_ENTRY) SV_METHODS } sv_method;
const char *sv_method_name(sv_method method);               /* "spvit": the word of pruning.method, of plans, and of latency tables */
const char *sv_method_title(sv_method method);              /* "SPViT" */
bool sv_method_find(sv_method *out, const char *name);      /* false: no such name */
/* How a method's work falls into parts of a latency table: its stages stand between whole blocks; in a block, whose attention is timed with the stage and
 * whose MLP apart; or there is one in every block. */
typedef enum sv_method_form { SV_BETWEEN_BLOCKS, SV_INSIDE_BLOCKS, SV_IN_EVERY_BLOCK } sv_method_form;
sv_method_form sv_method_form_of(sv_method method);

typedef enum sv_decision_rule { SV_RULE_THRESHOLD, SV_RULE_TOPK, SV_RULE_ARGMAX, SV_RULE_GUMBEL } sv_decision_rule;
typedef enum sv_package_choice { SV_CHOICE_WAVG, SV_CHOICE_SUM, SV_CHOICE_MEAN, SV_CHOICE_NONE } sv_package_choice;

/* What a deployed model must know: stored with it ("sieve.plan"). */
typedef struct sv_pruning_plan {
    size_t stages;                      /* 0: dense */
    sv_method method;                   /* of nothing where there are no stages */
    size_t at[SV_MOST_STAGES];          /* selector t stands before block at[t] */
    double keep[SV_MOST_STAGES];        /* rho_t */
    double threshold[SV_MOST_STAGES];   /* keep iff sigmoid(a) >= threshold; calibrated (spec SPViT 7.3) */
    size_t patches[SV_MOST_STAGES];     /* of the grid that selector t stands on, whose shares and counts these are: a flat model's N0. Not stored: see
                                         * sv_plan_fit */
    size_t count[SV_MOST_STAGES];       /* floor(patches rho_t + 1e-9); of ToMe: tokens left behind the last block */
    sv_decision_rule rule;
    sv_package_choice package;
    sv_package_empty empty;
    size_t min_keep;                    /* patches that always stay */
} sv_pruning_plan;

typedef enum sv_ratio_form { SV_RATIO_PENALTY, SV_RATIO_LAGRANGE } sv_ratio_form; /* how a goal enters the loss: ratios, latency */

typedef struct sv_pruning_options {
    sv_pruning_plan plan;
    double mask_eps; bool mask_all;     /* reference forms of the masked attention; 0, false: exact */
    double mask_clamp, tau;
    bool ratio_per_image, keep_bias;    /* keep_bias: selectors start at the targets instead of one half */
    sv_ratio_form ratio_form, latency_form;
    double ratio_weight, kl_weight, token_weight, latency_weight /* 0: no latency term */, multiplier_rate;
} sv_pruning_options;

typedef struct sv_pruning sv_pruning;

/* ---- config ------------------------------------------------------------------------------------------------------ */

extern const sv_config_group sv_pruning_config;     /* the [pruning] keys */
/* For that model. plan.stages 0 where pruning.method = none. SV_USAGE with where the value came from. */
sv_status sv_pruning_options_read(sv_pruning_options *out, const sv_config *config, const sv_model *model, sv_error *err) SV_MUST_CHECK;
/* Whether somebody chose the ratios; else a budget decides. */
bool sv_pruning_keep_given(const sv_config *config);
/* SV_USAGE where the config names a method that has no form for the model (pruning/form.h). */
sv_status sv_pruning_check_model(const sv_config *config, const sv_model *model, sv_error *err) SV_MUST_CHECK;
/* Fills plan->patches: from the grids that the model has at the selectors' places; or one grid of so many for all. */
void sv_plan_fit(sv_pruning_plan *plan, const sv_model *model);
void sv_plan_fit_grid(sv_pruning_plan *plan, size_t patches);
size_t sv_plan_patches_most(const sv_pruning_plan *plan);
/* Puts new keep ratios into a plan, with their counts of plan->patches. */
void sv_plan_set_keep(sv_pruning_plan *plan, const double *keep);

/* ---- selectors of a model ---------------------------------------------------------------------------------------- */

/* Fits the plan to the model (sv_plan_fit), chooses the form, and declares the method's selectors in the model (before it is allocated): selectors.T.* of SPViT, score_predictor.T.* of DynamicViT; and sets the form
 * of its attention. plan.stages may be 0: then there are none. SV_USAGE: places that do not rise or lie behind the last block, sizes the method cannot
 * divide, a package token of a method that has none. */
sv_status sv_pruning_create(sv_pruning **out, sv_model *model, const sv_pruning_options *options, sv_error *err) SV_MUST_CHECK;
void sv_pruning_destroy(sv_pruning *pruning);
/* Selectors from scratch: normal .02, biases 0 (spec training 10), with keep_bias the output starts at logit(rho_t / rho_(t-1)). */
void sv_pruning_initialise(sv_pruning *pruning, uint64_t seed);
/* How tokens leave: "flat", "freeze", "two paths" (pruning/form.h). */
const char *sv_pruning_form_name(const sv_pruning *pruning);
const sv_pruning_options *sv_pruning_options_of(const sv_pruning *pruning);
sv_pruning_plan *sv_pruning_plan_of(sv_pruning *pruning);
const sv_model *sv_pruning_model(const sv_pruning *pruning);

/* Scores of selector `stage` for u [n,D] (all rows but the prefix) with their policy [n,1]: a [n,1] logit of keep, *score [n,1] its probability. */
sv_tensor *sv_selector_record(sv_tape *tape, const sv_pruning *pruning, size_t stage, sv_tensor *u, sv_tensor *policy, sv_tensor **score);

/* ---- the training form ------------------------------------------------------------------------------------------- */

typedef struct sv_training_tape {
    sv_tape *tape;
    size_t stages;
    /* inputs */
    sv_tensor *picture, *target;            /* [1,3*image*image], [1,K] soft targets */
    sv_tensor *noise[SV_MOST_STAGES];       /* [patches,1] logistic, by patch; NULL unless noise is given */
    sv_tensor *goal[SV_MOST_STAGES];        /* per batch [3], see sv_tape_ratio_loss; NULL where decisions are not learned: then */
    sv_tensor *value;                       /* per batch [stages], how many patches stay; sv_training_set_goals fills both */
    sv_tensor *curve;                       /* per batch, see sv_tape_latency_loss; NULL without latency_weight */
    /* results, kept */
    sv_tensor *loss, *cls, *kl, *token, *latency, *predicted_ms, *distill;  /* per batch [1]; NULL where there is no such term */
    sv_tensor *logits, *teacher_logits;     /* [1,K]; logits: those that cls reads, with distillation the class head's alone */
    sv_tensor *distilled;                   /* [1,K] logits that distill reads; NULL without distillation */
    sv_tensor *share[SV_MOST_STAGES];       /* [1,1] kept share of each picture */
    sv_tensor *a[SV_MOST_STAGES], *score[SV_MOST_STAGES], *keep[SV_MOST_STAGES], *origin[SV_MOST_STAGES]; /* [n,1], rows as they stood before the selector */
    sv_tensor *package[SV_MOST_STAGES], *package_policy[SV_MOST_STAGES];
} sv_training_tape;

/* DeiT (Touvron et al. 2021, section 4), as its losses.py has it: z the logits of the distillation head (of the class head, where the model has no
 * other), t the teacher's, B pictures, K classes.
 * soft: sum over pictures and classes of softmax(t/tau) (log softmax(t/tau) - log softmax(z/tau)), times tau^2 / (B K). The paper has no K:
 * its weight of the term is K times this one's.
 * hard: cross entropy of z with the teacher's first class. */
typedef enum sv_distillation { SV_DISTILL_NONE, SV_DISTILL_SOFT, SV_DISTILL_HARD } sv_distillation;

typedef struct sv_training_choice {
    size_t images, lanes;
    bool lanes_bf16;            /* sv_tape_options */
    sv_distillation distillation;
    double distill_alpha, distill_tau;  /* share of the distillation loss; temperature of the soft one */
    bool given_noise;           /* noise tensors are inputs instead of drawn */
    bool details;               /* keep score, keep, origin and package of every stage for reading */
} sv_training_choice;

/* Of models with an answer for each patch (LV-ViT) the token term is the KL of those answers, and while it is on cls and kl read the class token alone,
 * of both; else they read the measured answer.
 * Records student (masked form, or dense where the plan has no stages), teacher (NULL: none; frozen, dense, without drop path and dropout) and
 * losses, and plans the tape. The teacher may be of any backbone that takes the same pictures and has as many classes.
 * L = cls + sum_t ratio_t + kl_weight kl + token_weight token + w (max(m + 2 e, 0)^2 - m^2) / 4, w latency_weight, m latency_multiplier / w, e = (ms - budget) / budget, ratio_t by
 * goal[t]; with distillation
 * (1 - alpha) cls + alpha distill stands in place of cls.
 * SV_USAGE: distillation without a teacher, another class count, tokens compared that differ in width or number. */
sv_status sv_training_record(sv_training_tape *out, const sv_pruning *pruning, const sv_model *teacher, const sv_training_choice *choice, sv_error *err) SV_MUST_CHECK;
void sv_training_clear(sv_training_tape *training);
/* Writes goal[t] = { keep[t], linear, square } from the options: penalty: linear 0, square ratio_weight / S; Lagrange: multiplier[t], 2. And the multiplier
 * of the latency term into the curve, whose other numbers are the caller's (sv_latency_curve). */
void sv_training_set_goals(sv_training_tape *training, const sv_pruning_options *options, const double *keep, const double *multiplier, double latency_multiplier);
/* Mean kept share of each stage over the last step's pictures; mean and deviation of the decision logits of patches alive before. */
typedef struct sv_stage_report { double share, mean, deviation, decided; } sv_stage_report; /* decided: share of tokens with |a| > 2 */
void sv_training_report(const sv_training_tape *training, size_t images, sv_stage_report *stages);

/* ---- the deployed form ------------------------------------------------------------------------------------------- */

typedef struct sv_removal_tape {
    sv_tape *tape;
    size_t stages;
    sv_tensor *picture;                     /* input */
    sv_tensor *value;                       /* per-batch input [stages]: thresholds or counts; set by sv_removal_set_plan */
    sv_tensor *logits;                      /* [1,K], kept */
    size_t patches[SV_MOST_STAGES];         /* of the grid that each selector stands on */
    sv_tensor *a[SV_MOST_STAGES], *keep[SV_MOST_STAGES], *before[SV_MOST_STAGES]; /* [n,1] decision logits, decisions, origins of the rows scored; kept */
    bool packs;                             /* dropped tokens become package tokens */
    sv_tensor *after[SV_MOST_STAGES];       /* SV_INDEX [n',1] origins of the rows that go on, prefix rows (-1) and packages (-2..) included; kept */
} sv_removal_tape;

/* plan NULL or without stages: the dense model. Rule and package form are fixed when recorded, thresholds and counts are not. */
sv_status sv_removal_record(sv_removal_tape *out, const sv_pruning *pruning, const sv_pruning_plan *plan, size_t images, sv_error *err) SV_MUST_CHECK;
void sv_removal_clear(sv_removal_tape *removal);
void sv_removal_set_plan(sv_removal_tape *removal, const sv_pruning_plan *plan);
/* Patches kept by stage `stage` for an image of the last run. */
size_t sv_removal_kept(const sv_removal_tape *removal, size_t stage, size_t image);

/* What a run of such a tape consists of: a part for each of its segments, in order. What a part takes depends on its kind, its grid and its tokens. */
typedef enum sv_part_kind {
    SV_PART_EMBED,      /* picture to tokens; tokens: of them */
    SV_PART_STEP,       /* the step to the backbone's next stage; tokens: rows behind it */
    SV_PART_BLOCK,      /* a block over all rows there are; tokens: of them */
    SV_PART_LIVING,     /* a block over the rows of its grid that live; tokens: of them */
    SV_PART_PATHS,      /* a block whose rows take two paths; tokens: those on the slow one */
    SV_PART_SELECTOR,   /* a selector with all that follows from its decision; tokens: rows it scores. Inside a block: with the attention in front */
    SV_PART_MLP,        /* the rest of a block in which a selector stands; tokens: rows behind that */
    SV_PART_HEAD,       /* last norm and classifier; tokens: rows of the last block */
    SV_PART_KINDS
} sv_part_kind;
typedef struct sv_part {
    sv_part_kind kind;
    size_t grid;        /* stage of the backbone, counted from 1; 0: it has one grid */
    size_t behind;      /* selectors in front of the part */
    size_t selector;    /* the tokens are `tokens` and what this one keeps, counted from 1; 0: `tokens` alone */
    size_t tokens;
} sv_part;
/* Writes them into parts[sv_removal_parts_most()], returns how many. plan without stages: of the dense model. Of methods that merge in every block tokens are
 * those at plan->count. */
size_t sv_removal_parts(const sv_model *model, const sv_pruning_plan *plan, sv_part *parts);
size_t sv_removal_parts_most(const sv_model *model, const sv_pruning_plan *plan);

/* The threshold at which the share `keep` * patches * pictures of the values sigmoid(a) pass; values is sorted in place. Halfway between the last
 * that passes and the first that does not. */
double sv_threshold_for(double *values, size_t count, double wanted);

/* ---- work -------------------------------------------------------------------------------------------------------- */

uint64_t sv_selector_macs(sv_method method, const sv_place *place, size_t rows);   /* rows scored: all tokens but the prefix */
/* Of one picture with kept[t] patches behind selector t (spec latency 4.4). */
uint64_t sv_pruned_macs(const sv_model *model, const sv_pruning_plan *plan, const size_t *kept);
/* The grid whose tokens are compared: the last one. */
sv_place sv_tokens_place(const sv_model *model);
/* Whether tokens of the one can be compared with the other's, patch by patch: as many and as wide, or as many with an answer for each (LV-ViT). */
bool sv_tokens_comparable(const sv_model *student, const sv_model *teacher);
/* Of one training step's picture: teacher (NULL: none), student forward, backward with the exact savings (spec exact savings 3). */
uint64_t sv_training_macs(const sv_model *model, const sv_pruning_plan *plan, const size_t *kept, const sv_model *teacher);

/* ---- text -------------------------------------------------------------------------------------------------------- */

void sv_plan_print(const sv_pruning_plan *plan, sv_text *text);     /* lines "key value..."; exact */
sv_status sv_plan_parse(sv_pruning_plan *plan, const char *text, const char *path, sv_error *err) SV_MUST_CHECK;

#endif
