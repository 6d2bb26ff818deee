/* What the files of the ONNX export share: a model on its way into a graph. Functions that add nodes cannot fail: the graph remembers. */
#ifndef SIEVE_EVAL_ONNX_INSIDE_H
#define SIEVE_EVAL_ONNX_INSIDE_H

#include "eval/onnx_export.h"
#include "layers/stages.h"

typedef struct sv_onnx_mapping sv_onnx_mapping;

/* Tokens on their way through a graph. */
typedef struct sv_onnx_tokens {
    sv_onnx_value x;       /* [batch, prefix + patches + packages, width] */
    size_t patches;        /* static: that are left */
    size_t packages;       /* rows behind them; dynamic: at most */
    sv_onnx_value origin;  /* behind the first selector: numbers of the patches left, [batch,k] or [k] */
    sv_onnx_value alive;   /* dynamic, behind the first selector: how many, int64 [1] */
    sv_onnx_value watched; /* [batch, all rows]: what the class token saw of them in the last attention; 0: nobody asked */
} sv_onnx_tokens;

/* Rows of a grid of which some wait (pruning/freeze.c), static. */
typedef struct sv_onnx_living {
    sv_onnx_value x;        /* [batch, prefix + alive + packages, width] */
    size_t cells, alive;    /* of the grid; that live */
    size_t packages;        /* 0, 1 */
    sv_onnx_value number;   /* [batch,alive]: which cells live, rising; 0: all do */
    sv_onnx_value position; /* [batch,cells]: where each cell stands, living ones first; 0: in its place */
} sv_onnx_living;

/* How a family of layers/ stands in a graph: a file (onnx_vit.c ...) and a row in onnx_export.c. Rows: [batch, prefix + patches, width]. */
typedef struct sv_onnx_block_form sv_onnx_block_form;
typedef struct sv_onnx_family {
    const char *name;
    sv_onnx_value (*embed)(sv_onnx_mapping *m, sv_onnx_value picture);
    /* The step to the stage that block `index` opens, rows where it opens none; NULL: no block does. packages: rows behind the grid, 0 or 1. */
    sv_onnx_value (*enter)(sv_onnx_mapping *m, size_t index, sv_onnx_value rows, size_t packages);
    void (*block_form)(const sv_onnx_mapping *m, size_t index,
                       sv_onnx_block_form *form); /* where blocks are those of onnx_block.c; NULL: they are not, */
    sv_onnx_value (*block)(sv_onnx_mapping *m, size_t index, sv_onnx_value rows);           /* but these; without the step */
    sv_onnx_value (*among)(sv_onnx_mapping *m, size_t index, const sv_onnx_living *living); /* block `index` over some rows of its grid */
    /* The two parts of a block whose rows can go two ways (sv_block_ways): base + branch(y). */
    sv_onnx_value (*mix)(sv_onnx_mapping *m, size_t index, sv_onnx_value rows, sv_onnx_value *base); /* -> y */
    sv_onnx_value (*branch)(sv_onnx_mapping *m, size_t index, sv_onnx_value y);                      /* of any rows of y */
    sv_onnx_value (*head)(sv_onnx_mapping *m, const sv_onnx_tokens *tokens);                         /* -> [batch,classes] */
} sv_onnx_family;
extern const sv_onnx_family sv_onnx_vit, sv_onnx_lvvit, sv_onnx_pit, sv_onnx_swin, sv_onnx_convnext;

/* How a form of pruning/ stands in a graph: a file (onnx_flat.c ...) and a row in onnx_export.c. */
typedef struct sv_onnx_form {
    const char *name; /* as sv_pruning_form_name says it */
    /* Embedded rows through all blocks; kept[t]: what stays behind selector t (patches and origin are read). */
    sv_onnx_tokens (*walk)(sv_onnx_mapping *m, sv_onnx_value rows, sv_onnx_tokens *kept);
    bool by_rank_alone; /* there is no dynamic graph */
} sv_onnx_form;
extern const sv_onnx_form sv_onnx_flat, sv_onnx_freeze, sv_onnx_paths;

struct sv_onnx_mapping {
    sv_onnx_graph *graph;
    const sv_deployed *d;
    const sv_onnx_family *family;
    const sv_onnx_form *form;
    const sv_pruning_plan *plan; /* by the rule of the mode */
    sv_onnx_options options;
    sv_onnx_value window_places[SV_BACKBONE_STAGES], shift_masks[SV_BACKBONE_STAGES]; /* Swin's, by stage; 0: not made yet */
    sv_onnx_value off_on;                                                             /* of one-hot rows: 0, 1; 0: not made yet */
    const char *note; /* what a user of this graph should know, for its card; NULL: nothing */
    sv_status failed; /* a parameter that is absent or cannot be stored */
    sv_error error;
};

/* ---- words (onnx_words.c) ---- */
sv_onnx_value sv_onnx_unary(sv_onnx_mapping *m, const char *op, sv_onnx_value x);
sv_onnx_value sv_onnx_binary(sv_onnx_mapping *m, const char *op, sv_onnx_value a, sv_onnx_value b);
sv_onnx_value sv_onnx_reshape(sv_onnx_mapping *m, sv_onnx_value x, size_t rank, const int64_t *dims);
sv_onnx_value sv_onnx_concat(sv_onnx_mapping *m, size_t axis, size_t count, const sv_onnx_value *parts);
/* Indices begin..end-1 of an axis; end INT64_MAX: all from begin on. */
sv_onnx_value sv_onnx_slice(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis, int64_t begin, int64_t end);
sv_onnx_value sv_onnx_slice_at(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis, sv_onnx_value begin, sv_onnx_value end);
/* Equal halves (or thirds ...) of the last axis; the others are the numbers that follow. */
sv_onnx_value sv_onnx_split(sv_onnx_mapping *m, sv_onnx_value x, size_t parts);
sv_onnx_value sv_onnx_squeeze(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis);
sv_onnx_value sv_onnx_unsqueeze(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis);
sv_onnx_value sv_onnx_mean(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis, bool keep);
sv_onnx_value sv_onnx_sum(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis, bool keep);
sv_onnx_value sv_onnx_gelu(sv_onnx_mapping *m, sv_onnx_value x);
sv_onnx_value sv_onnx_max(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis);
sv_onnx_value sv_onnx_transpose(sv_onnx_mapping *m, sv_onnx_value x, size_t rank, const int64_t *order);
/* [batch,T,width] -> [batch,width]: token number `index`. */
sv_onnx_value sv_onnx_token(sv_onnx_mapping *m, sv_onnx_value x, int64_t index);
/* tokens [1,count,width] for each picture of `like`. */
sv_onnx_value sv_onnx_repeated(sv_onnx_mapping *m, sv_onnx_value tokens, size_t count, size_t width, sv_onnx_value like);
/* [batch,width,side,side] and [batch,side*side,width]: the same places as a map and as rows. */
sv_onnx_value sv_onnx_rows_of_map(sv_onnx_mapping *m, sv_onnx_value x, size_t width);
sv_onnx_value sv_onnx_map_of_rows(sv_onnx_mapping *m, sv_onnx_value x, size_t width, size_t side);

/* ---- parameters (onnx_parameters.c) ---- */
typedef enum sv_onnx_turn { SV_ONNX_AS_IT_IS, SV_ONNX_TURNED } sv_onnx_turn;
/* As float32, whatever it is stored as; TURNED: columns of a matrix become rows. Each parameter is asked for once. */
sv_onnx_value sv_onnx_parameter(sv_onnx_mapping *m, const char *name, sv_onnx_turn how);
/* PREFIX.weight and, where the model has one, PREFIX.bias. */
sv_onnx_value sv_onnx_linear(sv_onnx_mapping *m, sv_onnx_value x, const char *prefix);
sv_onnx_value sv_onnx_norm(sv_onnx_mapping *m, sv_onnx_value x, const char *prefix, double epsilon);
typedef struct sv_onnx_conv_form {
    size_t side, stride, padding, groups; /* groups 0: one */
} sv_onnx_conv_form;
sv_onnx_value sv_onnx_conv(sv_onnx_mapping *m, sv_onnx_value x, const char *prefix, const sv_onnx_conv_form *form);
/* With the stored statistics PREFIX.running_mean and .running_var. */
sv_onnx_value sv_onnx_batch_norm(sv_onnx_mapping *m, sv_onnx_value x, const char *prefix, double epsilon);

/* ---- the block (onnx_block.c) ---- */
struct sv_onnx_block_form {
    char prefix[64]; /* PREFIX.norm1 ... PREFIX.mlp.fc2 */
    size_t width, heads;
    double epsilon, branch_scale;                                                                          /* 0: 1 */
    sv_onnx_value (*bias_scores)(sv_onnx_mapping *m, const sv_onnx_block_form *form, sv_onnx_value score); /* NULL: nothing is added */
    const void *context;                                                                                   /* of bias_scores */
    sv_onnx_value *watched, *keys; /* set to what row 0 sees, [batch,T], mean over heads; to the keys [batch,T,width]; NULL: nobody asks */
};
sv_onnx_value sv_onnx_whole_block(sv_onnx_mapping *m, const sv_onnx_block_form *form, sv_onnx_value x);
sv_onnx_value sv_onnx_attention(sv_onnx_mapping *m, const sv_onnx_block_form *form, sv_onnx_value qkv);
/* q [batch,Q,width], k, v [batch,K,width] -> [batch,Q,width] */
sv_onnx_value sv_onnx_attention_of(sv_onnx_mapping *m, const sv_onnx_block_form *form, sv_onnx_value q, sv_onnx_value k, sv_onnx_value v);
sv_onnx_value sv_onnx_attention_half(sv_onnx_mapping *m, const sv_onnx_block_form *form, sv_onnx_value x); /* x + attention(norm1 x) */
sv_onnx_value sv_onnx_add_branch(sv_onnx_mapping *m, const sv_onnx_block_form *form, sv_onnx_value x, sv_onnx_value branch);
sv_onnx_value sv_onnx_mlp_branch(sv_onnx_mapping *m, const sv_onnx_block_form *form, sv_onnx_value x); /* mlp(norm2 x), any rows */
sv_onnx_value sv_onnx_mlp(sv_onnx_mapping *m, const sv_onnx_block_form *form, sv_onnx_value x);        /* x + mlp(norm2 x) */
/* Of any family: the step to the stage that block `index` opens; the block behind it. */
sv_onnx_value sv_onnx_enter(sv_onnx_mapping *m, size_t index, sv_onnx_value x, size_t packages);
sv_onnx_value sv_onnx_block(sv_onnx_mapping *m, size_t index, sv_onnx_value x);
/* norm, head and, of distilled models, head_dist over the prefix (onnx_vit.c). */
sv_onnx_value sv_onnx_prefix_head(sv_onnx_mapping *m, const sv_onnx_tokens *tokens);

/* ---- lists of rows (onnx_lists.c) ---- int64 [batch,k] */
sv_onnx_value sv_onnx_shape(sv_onnx_mapping *m, sv_onnx_value x);
sv_onnx_value sv_onnx_filled(sv_onnx_mapping *m, sv_onnx_value like, double value); /* float */
/* Values of the `count` largest (or smallest) of the last axis, the first the best; + 1: their indices. */
sv_onnx_value sv_onnx_top_k(sv_onnx_mapping *m, sv_onnx_value x, sv_onnx_value count, bool largest);
/* Numbers of the k largest of a [batch,n], rising. */
sv_onnx_value sv_onnx_best(sv_onnx_mapping *m, sv_onnx_value a, size_t k);
/* Numbers of the `count` ones of left_out [batch,n], which is 0 elsewhere, rising. */
sv_onnx_value sv_onnx_others(sv_onnx_mapping *m, sv_onnx_value left_out, size_t count);
/* Of a list that names each of 0 .. count - 1 once: where each stands in it. */
sv_onnx_value sv_onnx_inverse(sv_onnx_mapping *m, sv_onnx_value list, size_t count);
/* `base` [batch,n] with the places of the list set to value. */
sv_onnx_value sv_onnx_put(sv_onnx_mapping *m, sv_onnx_value base, sv_onnx_value list, double value);
sv_onnx_value sv_onnx_gather(sv_onnx_mapping *m, const char *op, const char *attribute, sv_onnx_value x, sv_onnx_value index,
                             int64_t value);
sv_onnx_value sv_onnx_rows_at(sv_onnx_mapping *m, sv_onnx_value x, sv_onnx_value list);    /* x [batch,n,D] -> [batch,k,D] */
sv_onnx_value sv_onnx_numbers_at(sv_onnx_mapping *m, sv_onnx_value x, sv_onnx_value list); /* x [batch,n] -> [batch,k] */

/* ---- scores (onnx_scores.c) ---- of rows u [batch,R,D] */
typedef struct sv_onnx_scores {
    sv_onnx_value a, score; /* [batch,R]: logit of keep; weight in the package */
} sv_onnx_scores;
/* tokens: that u are the rows of, behind the prefix; NULL where sv_onnx_learns the plan's method. */
sv_onnx_scores sv_onnx_score_rows(sv_onnx_mapping *m, size_t stage, sv_onnx_value u, const sv_onnx_tokens *tokens);
bool sv_onnx_learns(sv_method method);  /* its scores come from layers of its own */
bool sv_onnx_watches(sv_method method); /* they are what the class token saw */

/* ---- selectors (onnx_selector.c) ---- */
/* How many of so many patches a static graph keeps behind selector `stage`. */
size_t sv_onnx_wanted(const sv_pruning_plan *plan, size_t stage, size_t patches);
/* patches [batch,n,D] of which drop [batch,n] (0 or 1) leave, weighed by score -> [batch,1,D]; nothing dropped: zeros. A package that is carried on takes
 * them in: old [batch,1,D] (0: there is none), *carried [batch,1] what it weighs (0: nothing; NULL: it is not carried on), which grows. */
sv_onnx_value sv_onnx_package(sv_onnx_mapping *m, sv_onnx_value patches, sv_onnx_value drop, sv_onnx_value score, sv_onnx_value old,
                              sv_onnx_value *carried);
sv_onnx_tokens sv_onnx_select(sv_onnx_mapping *m, size_t stage, sv_onnx_tokens tokens);

/* ---- merging (onnx_merge.c) ---- all blocks, in each of which tokens meet; *merged: what is left behind the last */
sv_onnx_tokens sv_onnx_merging_blocks(sv_onnx_mapping *m, sv_onnx_value rows, sv_onnx_tokens *merged);

/* ---- the proof (onnx_prove.c) ---- */
typedef struct sv_onnx_proof {
    const sv_deployed *d;
    const sv_pruning_plan *plan;
    sv_onnx_mode mode;
    sv_onnx_type weights;
    sv_onnx_report *report;
} sv_onnx_proof;
/* sv_onnx_check_file for a proof. */
sv_status sv_onnx_prove(void *proof, const char *file, const char *data, sv_error *err) SV_MUST_CHECK;
/* Median time of a picture in Sieve. */
sv_status sv_onnx_time(const sv_deployed *d, const sv_pruning_plan *plan, double *ms, sv_error *err) SV_MUST_CHECK;

/* ---- the card (onnx_card.c) ---- */
sv_status sv_onnx_card(sv_onnx_mapping *m, const char *source, double ms, sv_error *err) SV_MUST_CHECK;

#endif
