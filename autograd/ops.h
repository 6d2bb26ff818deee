/* The ops a model is recorded with: one function an op, thin calls of sv_tape_record. Each takes and returns tensors of the tape;
 * after an earlier error every one of them returns NULL and does nothing. Shapes in letters: R rows of an image (any number, may
 * differ between images), D width, H heads, d = D/H, K classes, N0 patches of the picture. "Live" rows are the first rows of a tensor,
 * those that can have a gradient (masked training keeps dropped tokens behind them; spec exact savings). */
#ifndef SIEVE_AUTOGRAD_OPS_H
#define SIEVE_AUTOGRAD_OPS_H

#include "autograd/autograd.h"

/* ---- linear layers (op_linear.c) ---- weight [N,K] as (out, in), bias [N] or NULL; x [R,K] -> [R,N] */
sv_tensor *sv_tape_linear(sv_tape *tape, sv_tensor *x, sv_tensor *weight, sv_tensor *bias);
sv_tensor *sv_tape_linear_add(sv_tape *tape, sv_tensor *x, sv_tensor *weight, sv_tensor *bias, sv_tensor *addend); /* + addend [R,N] */
sv_tensor *sv_tape_linear_gelu(sv_tape *tape, sv_tensor *x, sv_tensor *weight, sv_tensor *bias);
/* a [R,M] and b [S,...] of one image: op(a) op(b). Which rows they have must be fixed where they become columns. */
sv_tensor *sv_tape_product(sv_tape *tape, sv_tensor *a, sv_tensor *b, bool transpose_a, bool transpose_b);

/* ---- embedding (op_embed.c) ---- */
/* picture: one row of 3*height*width numbers (channel, row, column); weight [D,3,P,P], bias [D]; -> [(height/P)*(width/P), D] in raster order. */
sv_tensor *sv_tape_patch_embed(sv_tape *tape, sv_tensor *picture, sv_tensor *weight, sv_tensor *bias, size_t height, size_t width);
/* class token [1,1,D], distillation token [1,1,D] or NULL, positions [1,E+N0,D]: rows cls, dist, patches, each plus its position. */
sv_tensor *sv_tape_embed_tokens(sv_tape *tape, sv_tensor *patches, sv_tensor *class_token, sv_tensor *distillation_token, sv_tensor *positions);

/* tokens [1,E,D], map [1,D,H,W] with H W = N0: rows tokens, then patches plus their place of the map. */
sv_tensor *sv_tape_embed_map(sv_tape *tape, sv_tensor *patches, sv_tensor *tokens, sv_tensor *map);

/* ---- pictures whose places are rows (op_conv.c, op_pool.c, op_channel.c) ---- x [H*W,C] in raster order, channels last; H' = (H + 2 padding - P) / stride + 1 */
/* weight [O,C/groups,P,P], bias [O] or NULL -> [H'*W',O]; x may be a picture [1,C*H*W] of planes too. */
sv_tensor *sv_tape_conv2d(sv_tape *tape, sv_tensor *x, sv_tensor *weight, sv_tensor *bias, size_t height, size_t width, size_t stride, size_t padding,
                          size_t groups);
/* A group a channel: weight [m C,1,P,P]; channel o of the result reads channel o / m. */
sv_tensor *sv_tape_depthwise_conv(sv_tape *tape, sv_tensor *x, sv_tensor *weight, sv_tensor *bias, size_t height, size_t width, size_t stride,
                                  size_t padding);
/* Windows of side x side places: the largest number, padding left out; or the mean, padding counted as zeros. (Mean of all rows: weighted_mean.) */
typedef enum sv_pool_kind { SV_POOL_MAX, SV_POOL_MEAN } sv_pool_kind;
sv_tensor *sv_tape_pool(sv_tape *tape, sv_tensor *x, sv_pool_kind kind, size_t height, size_t width, size_t side, size_t stride, size_t padding);
/* gain, bias and the stored mean and variance, all [C]: the form without statistics of the batch. */
sv_tensor *sv_tape_batch_norm(sv_tape *tape, sv_tensor *x, sv_tensor *gain, sv_tensor *bias, sv_tensor *mean, sv_tensor *variance, double eps);
/* addend + gain (x weight^T + bias): for inference, of the same bits as linear and layer_scale_add */
sv_tensor *sv_tape_linear_scale_add(sv_tape *tape, sv_tensor *x, sv_tensor *weight, sv_tensor *bias, sv_tensor *gain, sv_tensor *addend);
sv_tensor *sv_tape_layer_scale_add(sv_tape *tape, sv_tensor *x, sv_tensor *gain, sv_tensor *addend); /* addend + gain x */
sv_tensor *sv_tape_layer_scale(sv_tape *tape, sv_tensor *x, sv_tensor *gain);               /* gain [C] times x */

/* ---- windows of such pictures (op_window.c; spec backbones 6) ---- side divides H and W; the picture is rolled by -shift first */
sv_tensor *sv_tape_window_partition(sv_tape *tape, sv_tensor *x, size_t height, size_t width, size_t side, size_t shift);
sv_tensor *sv_tape_window_reverse(sv_tape *tape, sv_tensor *x, size_t height, size_t width, size_t side, size_t shift);
/* qkv [H*W,3D] in window order, table [(2 side - 1)^2,heads] of relative positions -> [H*W,D]; shift 0: no mask. */
sv_tensor *sv_tape_window_attention(sv_tape *tape, sv_tensor *qkv, sv_tensor *table, size_t height, size_t width, size_t side, size_t shift,
                                    size_t heads);
/* The same attention among some cells of the grid (op_cells.c): row r of qkv [R,3D] is cell place[r] (SV_INDEX [R,1]), below 0 a package token, which all
 * see and which sees all. policy [R,1] weighs keys (a row always sees itself), NULL: ones; exponents of keys of weight 0 cut at clamp in its gradient. */
sv_tensor *sv_tape_cell_attention(sv_tape *tape, sv_tensor *qkv, sv_tensor *table, sv_tensor *place, sv_tensor *policy, size_t height, size_t width,
                                  size_t side, size_t shift, size_t heads, double clamp);
sv_tensor *sv_tape_merge_patches(sv_tape *tape, sv_tensor *x, size_t height, size_t width); /* -> [H*W/4,4C] */

/* ---- norm (op_norm.c) ---- gain, bias [D] */
sv_tensor *sv_tape_layer_norm(sv_tape *tape, sv_tensor *x, sv_tensor *gain, sv_tensor *bias, double eps);
/* [R,D] -> [R*H,d]: row r*H+h is head h of row r, normed by itself. */
sv_tensor *sv_tape_norm_heads(sv_tape *tape, sv_tensor *x, sv_tensor *gain, sv_tensor *bias, double eps, size_t heads);

/* ---- attention (op_attention.c) ---- qkv [R,3D]: q|k|v, heads contiguous inside each -> [R,D] */
/* Visible keys are the live rows; a row that is not live sees itself too. policy [R,1] (NULL: ordinary attention, all rows live) is one
 * on the live rows and zero behind them; it is not read but receives its gradient (spec SPViT 3.1), exponents of dead keys cut at clamp. */
sv_tensor *sv_tape_attention(sv_tape *tape, sv_tensor *qkv, sv_tensor *policy, size_t heads, double clamp);
/* The plain form: any policy values in any order; e = exp(a - top) * (policy + (1 - policy) I), (e + eps/R) / (sum e + eps).
 * top over all keys (top_all) or over those with a weight. eps 0 and the policy 1, then 0: what sv_tape_attention gives. Readable, slow. */
sv_tensor *sv_tape_policy_attention(sv_tape *tape, sv_tensor *qkv, sv_tensor *policy, size_t heads, double eps, bool top_all, double clamp);

/* Ordinary attention in which key j counts size[j] times, above 0, constant (op_sized.c; Bolya et al. 2023, proportional attention). */
sv_tensor *sv_tape_sized_attention(sv_tape *tape, sv_tensor *qkv, sv_tensor *size, size_t heads);

/* ---- numbers one by one, rows one by one (op_unary.c) ---- */
sv_tensor *sv_tape_gelu(sv_tape *tape, sv_tensor *x);
sv_tensor *sv_tape_relu(sv_tape *tape, sv_tensor *x);
sv_tensor *sv_tape_sigmoid(sv_tape *tape, sv_tensor *x);
sv_tensor *sv_tape_softmax(sv_tape *tape, sv_tensor *x);
sv_tensor *sv_tape_log_softmax(sv_tape *tape, sv_tensor *x);
sv_tensor *sv_tape_add(sv_tape *tape, sv_tensor *a, sv_tensor *b);
sv_tensor *sv_tape_scale(sv_tape *tape, sv_tensor *x, double factor);

/* ---- moving rows and columns (op_rows.c) ---- */
sv_tensor *sv_tape_slice_rows(sv_tape *tape, sv_tensor *x, size_t begin, size_t count);     /* count 0: all from begin on */
sv_tensor *sv_tape_concat_rows(sv_tape *tape, sv_tensor *a, sv_tensor *b);                  /* one of them with a fixed number of rows; all rows of the result are live */
sv_tensor *sv_tape_slice_columns(sv_tape *tape, sv_tensor *x, size_t begin, size_t count);
sv_tensor *sv_tape_concat_columns(sv_tape *tape, sv_tensor *a, sv_tensor *b);
/* y[r] = x[order[r]]; order: SV_INDEX [R,1]. SV_TAKE_ALL: all rows of order, live as order is. SV_TAKE_LIVE: its live rows alone (the others
 * leave). SV_TAKE_ALL_LIVE: all rows, all live. x may be SV_INDEX (then no gradient). */
typedef enum sv_take { SV_TAKE_ALL, SV_TAKE_LIVE, SV_TAKE_ALL_LIVE } sv_take;
sv_tensor *sv_tape_gather_rows(sv_tape *tape, sv_tensor *x, sv_tensor *order, sv_take take);
/* y has `rows` rows, zero but y[index[r]] = x[r]; an index below 0 or twice is left out / counts last. */
sv_tensor *sv_tape_scatter_rows(sv_tape *tape, sv_tensor *x, sv_tensor *index, size_t rows);
/* Two ways for a row: y = share a + (1 - share) b, a, b [R,D], share [R,1]. */
sv_tensor *sv_tape_blend_rows(sv_tape *tape, sv_tensor *a, sv_tensor *b, sv_tensor *share);
/* base [R,D] with x [S,D] added to its rows index [S,1]; a row whose index is none of base's is left out. */
sv_tensor *sv_tape_add_rows_at(sv_tape *tape, sv_tensor *base, sv_tensor *x, sv_tensor *index);
/* y = x, but y[index[r]] = policy[r] moved[r] + (1 - policy[r]) x[index[r]] (op_put.c); policy [S,1] over rows of moved [S,D], NULL: ones; index: a row at
 * least for each of moved, those below 0 or behind x are left out. All rows of y are live. */
sv_tensor *sv_tape_put_rows(sv_tape *tape, sv_tensor *x, sv_tensor *moved, sv_tensor *index, sv_tensor *policy);
/* ---- constants of an image's size (op_fill.c) ---- */
/* Index constants: rows 0,1,2 ... + first, as many rows as `like` has; SV_INDEX. */
sv_tensor *sv_tape_count_up(sv_tape *tape, sv_tensor *like, int64_t first);
/* For each image of `of` a tensor [rows,1] filled with value, all rows live. */
sv_tensor *sv_tape_fill(sv_tape *tape, sv_tensor *of, size_t rows, double value);           /* rows 0: as many as `of` */
sv_tensor *sv_tape_fill_index(sv_tape *tape, sv_tensor *of, size_t rows, int64_t value);    /* the same, SV_INDEX */

/* ---- regularisation (op_regularize.c) ---- identity in inference mode; position tells layers apart */
sv_tensor *sv_tape_dropout(sv_tape *tape, sv_tensor *x, double share, size_t position);
sv_tensor *sv_tape_drop_path(sv_tape *tape, sv_tensor *branch, double share, size_t position); /* whole image, kept ones times 1/(1-share) */

/* ---- the selector (op_selector.c; spec SPViT 2.2-2.4) ---- */
sv_tensor *sv_tape_head_mean(sv_tape *tape, sv_tensor *x, size_t heads);                    /* [R,D] -> [R,H], mean of each head's slice */
/* x [R*G,D], weight [R,1] (NULL: ones): y[g] = sum_r weight[r] x[r*G+g] / max(sum_r weight[r], 1e-6) -> [G,D]. Gradient to both. */
sv_tensor *sv_tape_weighted_mean(sv_tape *tape, sv_tensor *x, sv_tensor *weight, size_t groups);
/* The same of the columns of x from `from` on, with another floor under the sum: least instead of 1e-6 (0: 1e-6). With weights of 0 and 1 a floor of 1 changes no mean, and keeps the
 * gradient of an empty one in bounds. */
sv_tensor *sv_tape_floored_mean(sv_tape *tape, sv_tensor *x, size_t from, sv_tensor *weight, size_t groups, double least);
/* local [R*G,d], global [G,d/2]: row r*G+g = first d/2 columns of local | global[g] -> [R*G,d]. */
sv_tensor *sv_tape_local_global(sv_tape *tape, sv_tensor *local, sv_tensor *global);
/* z [R*H,2], importance [R,H] -> a [R,1] = sum_h w (z0-z1) / sum_h w (logit of keep), score [R,1] = sum_h w softmax(z)_0 / sum_h w. */
sv_tensor *sv_tape_combine_heads(sv_tape *tape, sv_tensor *z, sv_tensor *importance, sv_tensor **score);

/* ---- decisions (op_decision.c; spec SPViT 2.5, 2.6, 7.2) ---- rows: patches and package tokens, cls left out. origin SV_INDEX [R,1]:
 * number of the patch, below 0 for package tokens, whose keep is passed through unchanged. before [R,1]: keep of the stage before. */
/* Training: keep = before * hard, hard = [sigmoid((a + noise) / tau) >= 1/2] with the gradient of the soft value (straight-through).
 * noise [N0,1] logistic, by patch number; NULL: drawn from (seed, SV_FOR_DECISION, epoch, sample, stage, patch). soft: no hard step (checks). */
sv_tensor *sv_tape_decide(sv_tape *tape, sv_tensor *a, sv_tensor *before, sv_tensor *origin, sv_tensor *noise, double tau, size_t stage, bool soft);
/* Inference, not differentiable: SV_BY_THRESHOLD keeps sigmoid(a) >= value; SV_BY_TOP_K the `value` largest a (ties: lower row);
 * SV_BY_NOISE as training (hard). At least min_keep patches stay (the best ones). value: per-batch input [stages], number `stage` is read. */
typedef enum sv_rule { SV_BY_THRESHOLD, SV_BY_TOP_K, SV_BY_NOISE } sv_rule;
sv_tensor *sv_tape_choose(sv_tape *tape, sv_tensor *a, sv_tensor *before, sv_tensor *origin, sv_tensor *value, sv_rule rule, size_t stage, size_t min_keep);
/* policy [R,1] -> SV_INDEX [R,1]: rows with policy > 1/2 first, in order, then the others in order; its live rows are the first. */
sv_tensor *sv_tape_live_order(sv_tape *tape, sv_tensor *policy);

/* ---- scores without parameters (op_score.c) ---- */
/* What row 0 sees of every row: mean over heads of softmax_j(q_0.k_j / sqrt d); qkv [R,3D] -> [R,1]. */
sv_tensor *sv_tape_class_attention(sv_tape *tape, sv_tensor *qkv, size_t heads);
/* Logistic draws of (seed, SV_FOR_DECISION, epoch, sample, stage, patch) by origin SV_INDEX [R,1]; 0 for rows that are no patch. */
sv_tensor *sv_tape_random_score(sv_tape *tape, sv_tensor *origin, size_t stage);
/* One of these numbers. */
sv_real sv_random_score(uint64_t seed, uint32_t epoch, uint64_t sample, size_t stage, size_t patch);
sv_tensor *sv_tape_constant(sv_tape *tape, sv_tensor *x);                                   /* x, through which no gradient goes */

/* ---- merging (op_merge.c; Bolya et al. 2023) ---- */
/* Bipartite soft matching on the keys of qkv [R,3D], mean over heads: even rows look for their most similar odd row, and those of the greatest
 * similarity go into it. Rows 0..prefix-1 stay alone. Returns to SV_INDEX [R,1]: the row each row goes to; *from SV_INDEX [R,1], its live rows
 * the rows that the new ones are made in, in the order unmerged even rows, odd rows, prefix first. How many merge: see sv_merge_count, with
 * kept = value[0] of the per-batch input `value`. */
sv_tensor *sv_tape_merge_match(sv_tape *tape, sv_tensor *qkv, sv_tensor *value, size_t heads, size_t prefix, size_t block, size_t depth, size_t patches,
                               sv_tensor **from);
/* Mean of the rows that meet, by size [R,1] (constant): x [R,D] -> [R',D]; *size_after [R',1] their sum. */
sv_tensor *sv_tape_merge_rows(sv_tape *tape, sv_tensor *x, sv_tensor *size, sv_tensor *to, sv_tensor *from, sv_tensor **size_after);
/* Rows that block `block` of `depth` merges so that of `patches` about `kept` are left behind the last: as even a share as whole numbers allow, at
 * most half of the `rows` there are behind the prefix. */
size_t sv_merge_count(size_t patches, size_t kept, size_t depth, size_t block, size_t rows);

/* ---- package token (op_package.c; spec SPViT 2.7) ---- u [R,D], before, after, score [R,1] -> package [1,D], *policy [1,1]:
 * drop = before - after; wavg: sum drop score u / sum drop score; sum; mean. Nothing dropped: a zero row, policy 0 (mask) or 1. */
typedef enum sv_package_form { SV_PACKAGE_WAVG, SV_PACKAGE_SUM, SV_PACKAGE_MEAN } sv_package_form;
typedef enum sv_package_empty { SV_EMPTY_MASK, SV_EMPTY_KEEP_ZERO } sv_package_empty;
sv_tensor *sv_tape_package(sv_tape *tape, sv_tensor *u, sv_tensor *before, sv_tensor *after, sv_tensor *score, sv_package_form form,
                           sv_package_empty empty, sv_tensor **policy);

/* The package carried on from selector to selector (op_carry.c): old [1,D] and *weight [1,1] so far (both NULL: nothing), u as above -> package [1,D],
 * *weight and *policy [1,1]: wavg: averaged over all that was ever dropped, by scores. */
sv_tensor *sv_tape_carry_package(sv_tape *tape, sv_tensor *u, sv_tensor *before, sv_tensor *after, sv_tensor *score, sv_tensor *old, sv_tensor **weight,
                                 sv_package_form form, sv_package_empty empty, sv_tensor **policy);

/* ---- losses of one image (op_loss.c) ---- */
sv_tensor *sv_tape_cross_entropy(sv_tape *tape, sv_tensor *logits, sv_tensor *target);      /* [1,K], soft target [1,K] -> [1,1] */
sv_tensor *sv_tape_kl(sv_tape *tape, sv_tensor *logits, sv_tensor *teacher_logits);         /* KL(teacher || student), teacher constant -> [1,1] */
sv_tensor *sv_tape_top_class(sv_tape *tape, sv_tensor *x);                                  /* [R,K] -> [R,K], 1 at the largest of a row, else 0; a constant */
/* Over live rows with origin >= 0: sum of (x[r] - teacher[origin[r] + offset])^2, and count * D -> [1,2]. teacher constant. */
sv_tensor *sv_tape_masked_square(sv_tape *tape, sv_tensor *x, sv_tensor *teacher, sv_tensor *origin, size_t offset);
/* Sum of keep [R,1] over rows with origin >= 0, divided by patches -> [1,1]. */
sv_tensor *sv_tape_kept_share(sv_tape *tape, sv_tensor *keep, sv_tensor *origin, size_t patches);

/* ---- answers of kept patches (op_kept.c) ---- live rows with origin >= 0 count; origin SV_INDEX [R,1] or NULL: all live rows are patches */
/* x [R,K] -> [1,K]: the largest number of each column, zero where no row counts. */
sv_tensor *sv_tape_largest_kept(sv_tape *tape, sv_tensor *x, sv_tensor *origin);
/* x [R,K], teacher [T,K] logits -> [1,2]: sum of KL(softmax teacher[origin[r] + offset] || softmax x[r]), and how many rows. teacher constant. */
sv_tensor *sv_tape_masked_kl(sv_tape *tape, sv_tensor *x, sv_tensor *teacher, sv_tensor *origin, size_t offset);

/* ---- numbers of the batch (op_batch.c) ---- per-batch results */
sv_tensor *sv_tape_batch_mean(sv_tape *tape, sv_tensor *x);                                 /* [1,W] an image -> [W] */
sv_tensor *sv_tape_batch_ratio(sv_tape *tape, sv_tensor *x);                                /* [1,2] an image: sum x0 / max(sum x1, 1) -> [1] */
/* share [1,1] an image; goal per-batch [3]: target, linear weight, square weight: linear (m - target) + square (m - target)^2, m the mean over
 * the batch (per_image: each image's own share, then the mean). */
sv_tensor *sv_tape_ratio_loss(sv_tape *tape, sv_tensor *share, sv_tensor *goal, bool per_image);
/* shares of 1..6 stages, each [1,1] an image; curve per-batch [3 + stages * (patches + 1)]: fixed ms, budget ms, linear, then for each stage the ms of
 * what follows it as a function of the shares 0/patches .. patches/patches, read by linear interpolation at the batch mean. With e = (ms - budget) / budget: (max(linear + 2 e, 0)^2 - linear^2) / 4 -> [1];
 * *predicted_ms [1]. Spec latency 3.4. */
sv_tensor *sv_tape_latency_loss(sv_tape *tape, sv_tensor *const *shares, size_t stages, sv_tensor *curve, size_t patches, sv_tensor **predicted_ms);
sv_tensor *sv_tape_weighted_sum(sv_tape *tape, sv_tensor *const *terms, size_t count, const double *weights); /* of [1] per-batch, at most 8 */

#endif
