/* Layers: models made of ops. A backbone is one family (a file) with a row a size; a model is a backbone at given sizes with its named
 * parameters. It records itself on a tape piece by piece, so that pruning can stand between its blocks. Nothing here knows pruning,
 * training or command lines. */
#ifndef SIEVE_LAYERS_LAYERS_H
#define SIEVE_LAYERS_LAYERS_H

#include "autograd/autograd.h"
#include "base/config.h"

/* Sizes of a model. In a row of the table: its defaults; in a config: 0 takes the row's. */
typedef struct sv_model_options {
    size_t image;               /* pixels a side */
    size_t patch, width, depth, heads;
    double mlp_ratio;           /* hidden width of the MLP / width */
    size_t classes;
    bool distilled;             /* a distillation token and head beside the class token's */
    double norm_eps;
    double drop_path;           /* of the last block; block i gets i/(depth-1) of it */
    double dropout;             /* behind embedding, projection and MLP */
    bool recompute;             /* training keeps only what goes from block to block and makes the rest again (sv_tape_options) */
    sv_precision precision;     /* what its products are made of; may be set before recording */
} sv_model_options;

/* How attention treats a policy: the default keeps live rows first and is exact (spec SPViT 3); plain is the reference's masked softmax with
 * eps, its maximum over all keys or the visible ones. clamp cuts the exponent of a dropped key in the gradient of its decision. */
typedef struct sv_attention_form { bool plain; double eps; bool top_all; double clamp; } sv_attention_form;

struct sv_block;        /* layers/block.h */
struct sv_block_form;
typedef struct sv_backbone sv_backbone;
typedef struct sv_model {
    const sv_backbone *backbone;
    sv_model_options options;
    sv_attention_form attention;    /* may be set before recording */
    sv_parameters *parameters;  /* owned; a pruning method adds its own before sv_model_allocate */
    void *slots;                /* the family's: pointers to its parameters */
} sv_model;

/* The grid of patches that a block works on: how many, how many a side, their width and heads; prefix: rows in front of them, sv_model_prefix; stage: 0, 1 ...
 * of blocks that share it. */
typedef struct sv_place {
    size_t stage, patches, side, width, heads, prefix;
    double norm_eps;    /* of norms that predictors add here; 0: their own */
} sv_place;

/* Blocks in two parts, for forms of pruning that give each row one of two ways through them (spec DynamicViT 7.3): mix lets places see one another,
 * then base + branch(y). */
typedef struct sv_block_ways {
    sv_tensor *(*mix)(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor **base);  /* -> y */
    sv_tensor *(*branch)(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *y);                 /* of any rows of y */
    sv_tensor *(*join)(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *base, sv_tensor *h);  /* base + h, with dropout and drop path */
    uint64_t (*branch_macs)(const sv_model *model, size_t index);                                           /* of one row */
    void (*name)(const sv_model *model, size_t index, char *out, size_t room);                              /* "stages.2.blocks.4" */
    const char *fast, *fast_gain;   /* what its authors call the other way: FAST.0 a norm, FAST.1 a linear layer; a factor a channel, NULL: none */
} sv_block_ways;

/* What a family must do. Every function but create may assume the model is allocated. */
typedef struct sv_family {
    const char *name;           /* "vit" */
    sv_status (*declare)(sv_model *model, sv_error *err);       /* parameters and slots */
    void (*initialise)(sv_model *model, uint64_t seed);         /* from scratch (spec backbones 3.11) */
    sv_tensor *(*embed)(sv_tape *tape, const sv_model *model, sv_tensor *picture);
    sv_tensor *(*block)(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor *policy); /* without the step to its stage */
    sv_tensor *(*finish)(sv_tape *tape, const sv_model *model, sv_tensor *x);
    sv_tensor *(*head)(sv_tape *tape, const sv_model *model, sv_tensor *finished);
    uint64_t (*block_macs)(const sv_model *model, size_t tokens);
    uint64_t (*fixed_macs)(const sv_model *model);
    const char *const *head_names;  /* parameters that depend on the class count, ends with NULL */
    /* Logits of the class head; *distillation: of the other. Asked of distilled models alone; NULL: the family has none. */
    sv_tensor *(*heads)(sv_tape *tape, const sv_model *model, sv_tensor *finished, sv_tensor **distillation);

    /* What a plain ViT does not need; NULL, false: as there. */
    sv_status (*check)(const sv_model *model, sv_error *err);   /* sizes that do not go together, SV_USAGE; NULL: pictures are multiples of the patch */
    size_t (*patches)(const sv_model *model);                   /* rows that embed makes, without prefix; NULL: (image / patch)^2 */
    sv_tensor *(*enter)(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x);  /* the step to the stage that block `index` opens, x where it
                                                                 * opens none; NULL: no block does. Rows behind the grid's (package tokens) go the way
                                                                 * of class tokens, or as a group of equal neighbours */
    sv_place (*place)(const sv_model *model, size_t index);     /* of block `index`; NULL: all work on the patches that embed makes */
    uint64_t (*macs)(const sv_model *model);                    /* of the dense model where blocks differ; block_macs and fixed_macs are then NULL */
    /* Blocks that can run on some of their grid's rows; NULL: they cannot. x [R,D] in any order, place SV_INDEX [R,1]: the patch of each row, below 0 class
     * and package tokens; policy as in sv_tape_attention. Its work with so many patches and package tokens there, patches taken as evenly spread;
     * and that of a package token's step into the stage that the block opens. */
    sv_tensor *(*among)(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor *place, sv_tensor *policy);
    uint64_t (*among_macs)(const sv_model *model, size_t index, size_t patches, size_t packages);
    uint64_t (*carry_macs)(const sv_model *model, size_t index);
    const sv_block_ways *ways;                                  /* NULL: its blocks have one way alone */
    sv_tensor *(*features)(sv_tape *tape, const sv_model *model, sv_tensor *x); /* the last norm row by row; NULL: finish does that */
    bool without_prefix;                                        /* no class token */
    bool head_reads_all;                                        /* finish and head want all rows, not the prefix alone */
    /* A second head that answers for each patch (LV-ViT), NULL: none. head_kept: as head, reading of the rows behind the prefix those whose origin
     * [rows,1] is a patch (NULL: all). class_head: the class token's answer alone, patch_head: logits [R,K] of any finished rows. */
    sv_tensor *(*head_kept)(sv_tape *tape, const sv_model *model, sv_tensor *finished, sv_tensor *origin);
    sv_tensor *(*class_head)(sv_tape *tape, const sv_model *model, sv_tensor *finished);
    sv_tensor *(*patch_head)(sv_tape *tape, const sv_model *model, sv_tensor *rows);
    uint64_t (*patch_head_macs)(const sv_model *model, size_t patches);
    /* Block `index` and its form, where blocks are those of block.h and may be recorded in halves; NULL: they are not. */
    const struct sv_block *(*block_of)(const sv_model *model, size_t index, struct sv_block_form *form);
    const char *unfit;                                          /* why selectors cannot stand between its blocks, "its pooling ..."; NULL: they can */
    /* Files whose parameters have other names than ours (timm's): a name that only they have, and the translation of ours (false: the same). */
    const char *official_probe;
    bool (*official_name)(const char *own, char *out, size_t room);
} sv_family;

/* init: standard deviation of linear weights made from scratch; 0: 0.02. form: what else the family needs of the row, in a struct of its own. */
struct sv_backbone { const char *name; const sv_family *family; sv_model_options options; const char *help; double init; const void *form; };
extern const sv_backbone sv_backbones[];
extern const size_t sv_backbone_count;
/* NULL where there is none of that name. */
const sv_backbone *sv_backbone_find(const char *name);

/* Declares a model: backbone row, with the members of `options` that are not 0 (false, negative for drop_path, dropout) put over it.
 * SV_USAGE: unknown name (with the nearest), image not a multiple of patch, width not of heads, a size of 0 or beyond reason. */
sv_status sv_model_create(sv_model **out, const char *backbone, const sv_model_options *options, sv_error *err) SV_MUST_CHECK;
/* Makes the blocks; all parameters zero. */
sv_status sv_model_allocate(sv_model *model, bool with_gradients, sv_error *err) SV_MUST_CHECK;
void sv_model_initialise(sv_model *model, uint64_t seed);
void sv_model_destroy(sv_model *model);

size_t sv_model_patches(const sv_model *model);     /* N0 */
size_t sv_model_prefix(const sv_model *model);      /* E: rows in front of the patches, never dropped: 1, with distillation 2; 0 without a class token */
size_t sv_model_depth(const sv_model *model);
/* The grid that block `index` works on (behind the step to its stage). */
sv_place sv_model_place(const sv_model *model, size_t index);
/* Why tokens cannot be taken out between the blocks of this backbone, as the end of a sentence; NULL: they can, and all its blocks are alike:
 * pruning methods and latency tables fit it. */
const char *sv_model_unfit(const sv_model *model);
/* Numbers that training can change: running statistics are not counted. */
size_t sv_model_parameter_count(const sv_model *model);
/* Multiply-adds of the parts at n tokens (spec latency 4.1; 0 where sv_model_unfit), and of the whole dense model. */
uint64_t sv_model_block_macs(const sv_model *model, size_t tokens);
uint64_t sv_model_mlp_macs(const sv_model *model, size_t tokens);       /* the MLP's share of block_macs */
uint64_t sv_model_fixed_macs(const sv_model *model);    /* patch embedding and head */
uint64_t sv_model_patch_head_macs(const sv_model *model, size_t patches);   /* of a head that reads each patch; 0 where there is none */
uint64_t sv_model_macs(const sv_model *model);

/* ---- recording --------------------------------------------------------------------------------------------------- */

/* picture: one row of 3*image*image numbers -> tokens [E+N0, D]. Ends a segment. */
sv_tensor *sv_model_embed(sv_tape *tape, const sv_model *model, sv_tensor *picture);
/* Block `index` over tokens x, with the step to its stage in front where it opens one; policy as in sv_tape_attention, NULL: ordinary. Each ends a segment. */
sv_tensor *sv_model_block(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor *policy);
/* Its two parts, for forms of pruning: the step to the stage that block `index` opens (pooled, merged, downsampled rows; x where it opens none; ends no
 * segment), and the block over rows of its own stage. */
sv_tensor *sv_model_enter(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x);
sv_tensor *sv_model_block_inside(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor *policy);
/* Block `index` over some of its grid's rows: see sv_family.among. Ends no segment. */
sv_tensor *sv_model_block_among(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor *place, sv_tensor *policy);
/* The same block in halves, for what stands between them; of every backbone that is not sv_model_unfit. Neither ends a segment.
 * x + attention(norm1 x), all rows live; size [rows,1] or NULL: how many patches a key stands for (sv_tape_sized_attention); *qkv: what attention read. */
sv_tensor *sv_model_attention_half(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor *size, sv_tensor **qkv);
sv_tensor *sv_model_mlp_half(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x);
/* The rows of x that the head reads: the prefix, of some backbones all. */
sv_tensor *sv_model_head_rows(sv_tape *tape, const sv_model *model, sv_tensor *x);
/* The last norm, over all rows of x. */
sv_tensor *sv_model_finish(sv_tape *tape, const sv_model *model, sv_tensor *x);
/* The last norm of each row of x, for comparing tokens; what sv_model_finish gives, unless that takes a mean. */
sv_tensor *sv_model_features(sv_tape *tape, const sv_model *model, sv_tensor *x);
/* Class logits [1,K] from finished tokens (its first E rows are read): distilled: the mean of the two heads. */
sv_tensor *sv_model_head(sv_tape *tape, const sv_model *model, sv_tensor *finished);
/* The same where tokens may have left: finished [R,D] in the order prefix, others; origin SV_INDEX [R,1], below 0: no patch (NULL: nothing left).
 * Heads that read the class token alone do not care; LV-ViT's takes the largest answer of the live patches there are. */
sv_tensor *sv_model_head_kept(sv_tape *tape, const sv_model *model, sv_tensor *finished, sv_tensor *origin);
/* Whether a head answers for every patch (LV-ViT); only such models have the two calls below. */
bool sv_model_has_patch_head(const sv_model *model);
sv_tensor *sv_model_class_head(sv_tape *tape, const sv_model *model, sv_tensor *finished);  /* [1,K] */
sv_tensor *sv_model_patch_head(sv_tape *tape, const sv_model *model, sv_tensor *rows);      /* finished rows [R,D] -> [R,K] */
/* The heads apart: class logits [1,K]; *distillation: those of the distillation head, where there is none the class logits again. */
sv_tensor *sv_model_heads(sv_tape *tape, const sv_model *model, sv_tensor *finished, sv_tensor **distillation);
/* Logits of the dense model: embed, blocks, finish of the first rows alone, head. */
sv_tensor *sv_model_record_dense(sv_tape *tape, const sv_model *model, sv_tensor *picture);

/* ---- weights from files ------------------------------------------------------------------------------------------ */

typedef enum sv_position_resize { SV_RESIZE_BICUBIC, SV_RESIZE_BICUBIC_AA, SV_RESIZE_BILINEAR } sv_position_resize;

typedef struct sv_load_options {
    sv_position_resize resize;
    bool optional_selectors;    /* parameters of selectors may be absent (then they keep their values) */
    bool need_all;              /* nothing may be missing, made anew or resized: checkpoints of our own */
    bool whole_head;            /* a head of another class count is refused, not made anew */
    const char *arch_key;       /* the config key that hints name; NULL: model.arch */
} sv_load_options;

/* Whether a parameter of that name is a selector's or came with selectors: "selectors." (SPViT), "score_predictor." (DynamicViT, its own names), and its
 * fast paths (".fast_path", ".fastmlp."). */
bool sv_name_selects(const char *name);

/* Fills the model from a file under timm, official, or Hugging Face names (spec backbones 3, 8). Positions of another grid are resized; a
 * head of another class count is made anew (normal .02, seed) and said; is_new (NULL, or [parameters->count]) tells which parameters
 * were not filled. Missing, unexpected and misshapen tensors are listed in one table: needed and missing is SV_MODEL_FILE, and the
 * model is as before. */
sv_status sv_model_load(sv_model *model, const char *path, const sv_load_options *options, uint64_t seed, bool *is_new, sv_error *err) SV_MUST_CHECK;
/* Resizes positions [from*from, width] to [to*to, width] (spec backbones 3.10). */
sv_status sv_positions_resize(sv_real *to, size_t to_side, const sv_real *from, size_t from_side, size_t width, sv_position_resize how, sv_error *err) SV_MUST_CHECK;

/* ---- text and config --------------------------------------------------------------------------------------------- */

/* What rebuilds the model, as lines "key value": goes into checkpoints as "sieve.model". */
void sv_model_print(const sv_model *model, sv_text *text);
/* Declares (not allocates) a model from such text. */
sv_status sv_model_parse(sv_model **out, const char *text, const char *path, sv_error *err) SV_MUST_CHECK;

extern const sv_config_group sv_model_config;       /* the [model] keys */
/* Declares a model from [model]; image size and class count come from the data (0: the row's). */
sv_status sv_model_from_config(sv_model **out, const sv_config *config, size_t image, size_t classes, sv_error *err) SV_MUST_CHECK;
sv_load_options sv_load_options_from_config(const sv_config *config);

#endif
