/* What the files of pruning share. */
#ifndef SIEVE_PRUNING_INSIDE_H
#define SIEVE_PRUNING_INSIDE_H

#include "pruning/pruning.h"

enum { SV_SELECTOR_LAYERS_MOST = 8, SV_FORMS_MOST = 4 };

typedef struct sv_pruning_form sv_pruning_form; /* pruning/form.h */

/* A layer of a selector: PREFIX.STAGE.NAME.weight [rows, columns] and .bias [rows]; rows 0: a norm, both [columns]. */
typedef struct sv_selector_layer { const char *name; size_t rows, columns; } sv_selector_layer;
typedef struct sv_layer_slots { sv_parameter *weight, *bias; } sv_layer_slots;

/* A pruning method: one file of pruning/ that ends in one of these, and a row of methods.c. What differs between methods stands here; how tokens are
 * sampled, masked, removed and what the losses are is shared. */
struct sv_cut;
typedef struct sv_pruning_method {
    const char *name, *title;       /* name: the word of pruning.method and of stored plans; title: as its authors write it */
    /* What "auto" stands for in the config. */
    sv_decision_rule rule;
    sv_package_choice package;
    sv_ratio_form ratio_form;
    bool ratio_per_image;
    bool packs;                     /* dropped tokens may become package tokens; false: SV_CHOICE_NONE alone */
    const sv_pruning_form *forms[SV_FORMS_MOST];    /* how its tokens can leave, the preferred one first */
    /* Selectors. place: the grid they stand on. */
    const char *prefix;             /* of their parameters' names; sv_name_selects must know it */
    size_t output;                  /* the layer whose first output is the logit of keep */
    sv_status (*check)(const sv_place *place, sv_error *err);                           /* whether they fit its sizes; NULL: they fit all */
    size_t (*layers)(const sv_place *place, sv_selector_layer *layers);                 /* fills them, returns how many */
    /* u [n,D] with its policy [n,1] -> a [n,1] logit of keep, *score [n,1] its probability. slots in the order of layers. */
    sv_tensor *(*record)(sv_tape *tape, const sv_place *place, const sv_layer_slots *slots, sv_tensor *u, sv_tensor *policy, sv_tensor **score);
    uint64_t (*macs)(const sv_place *place, size_t rows);
    /* Methods that learn nothing (fixed): no parameters, so that prefix, output, layers and record are not there; decisions are the best k in
     * training too, where tokens really leave, and nothing pulls them. All but those that merge score by score: fills cut->score and returns what the
     * best are chosen by, which must be a constant. */
    bool fixed;
    bool watches;                   /* scores are what the class token saw in the block in front (inside: in the same block) */
    bool inside;                    /* tokens leave between attention and MLP of the block, not in front of it */
    bool merges;                    /* tokens meet in every block instead of leaving: one stage at block 0, its count is what is left behind the last */
    sv_tensor *(*score)(sv_tape *tape, size_t stage, struct sv_cut *cut);
} sv_pruning_method;
const sv_pruning_method *sv_pruning_method_of(sv_method method);

struct sv_pruning {
    sv_model *model;            /* borrowed */
    sv_pruning_options options;
    const sv_pruning_form *form;
    void *extra;                /* owned: what the form keeps of its own parameters */
    sv_place places[SV_MOST_STAGES];    /* the grid of each selector */
    sv_layer_slots slots[SV_MOST_STAGES][SV_SELECTOR_LAYERS_MOST];
};

/* For writers of selectors: linear and linear_gelu by slot. */
sv_tensor *sv_slot_linear(sv_tape *tape, sv_tensor *x, const sv_layer_slots *slot);
sv_tensor *sv_slot_linear_gelu(sv_tape *tape, sv_tensor *x, const sv_layer_slots *slot);
/* The norm of all selectors: eps is the library default of the references, unlike the backbone's 1e-6 (spec SPViT F20), unless the
 * grid has its own (spec DynamicViT 7.2). x [R,D] -> [R*heads, D/heads], each head normed by itself. */
sv_tensor *sv_slot_norm(sv_tape *tape, sv_tensor *x, const sv_layer_slots *slot, const sv_place *place, size_t heads);

/* Tokens on their way through the blocks. */
typedef struct sv_stream {
    sv_tensor *x;               /* [rows, D] */
    sv_tensor *policy;          /* [rows, 1]; NULL before the first selector and in the deployed form */
    sv_tensor *origin;          /* SV_INDEX [rows, 1]: patch number, -1 prefix, -2.. package tokens; NULL before the first selector */
    sv_tensor *watched;         /* [rows, 1] what the class token saw in the last block; NULL where nobody asks */
} sv_stream;

/* Behind a decision: appends the package token, and puts live rows first (masked form) or leaves them alone (removal). u, keep, score, origin: rows
 * without prefix. */
typedef struct sv_cut {
    sv_tensor *u, *before, *keep, *score, *origin, *package, *package_policy;
    sv_tensor *watched;         /* [rows,1] of the stream's; NULL where nobody asks */
} sv_cut;
typedef enum sv_cut_form { SV_CUT_MASKED, SV_CUT_IN_PLACE /* plain masked attention: rows keep their order */, SV_CUT_REMOVED } sv_cut_form;
sv_stream sv_stream_cut(sv_tape *tape, const sv_pruning *pruning, sv_stream stream, sv_cut *cut, sv_package_choice form, sv_package_empty empty, sv_cut_form how);
/* Scores of cut->u into cut->score, learned or not; returns what decisions are made by. */
sv_tensor *sv_cut_score(sv_tape *tape, const sv_pruning *pruning, size_t stage, sv_cut *cut);
/* Through all blocks. Stages come where the plan and the method have them: walk->stage records stage t. plan without stages: the dense
 * model. */
typedef struct sv_walk {
    void *context;
    sv_stream (*stage)(void *context, size_t t, sv_stream stream);
    sv_tensor *value;   /* per-batch: how many tokens a merging method leaves */
} sv_walk;
sv_stream sv_stream_walk(sv_tape *tape, const sv_pruning *pruning, const sv_pruning_plan *plan, sv_stream stream, const sv_walk *walk);
/* What a selector sees: rows without prefix, with their policy and origin (made where the stream has none yet). */
sv_cut sv_stream_scored(sv_tape *tape, const sv_pruning *pruning, const sv_stream *stream);

#endif
