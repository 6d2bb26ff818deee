/* Autograd: tensors, parameters, the tape and its executor. A model is recorded once: each op appends a node to the tape, with
 * shapes checked, nothing computed. sv_tape_finish plans memory. Then every step fills the inputs, runs forward, and walks the
 * nodes back once from the end. No step after the plan allocates anything.
 *
 * A tensor on the tape is per image ([images, rows, width]; the number of rows may differ from image to image and be known only
 * when the step runs), per batch (a few numbers for all images, such as a loss), or a parameter. Ops that read and write one image
 * alone form segments, run image by image while its rows are in cache, one image a thread; ops over the batch stand between
 * segments. Weight gradients are summed in a fixed number of lanes, added in order, so that results are the same to the bit for
 * any number of threads. With fewer images than threads (inference) one image is split by rows.
 *
 * Errors while recording are sticky: the first one is kept, later recordings return NULL and do nothing, sv_tape_finish
 * reports it. So a model reads as one page of calls. It knows nothing of models, files, configs. */
#ifndef SIEVE_AUTOGRAD_AUTOGRAD_H
#define SIEVE_AUTOGRAD_AUTOGRAD_H

#include "base/base.h"

/* ---- dtypes and row counts --------------------------------------------------------------------------------------- */

typedef enum sv_dtype { SV_REAL, SV_INDEX /* int32 */, SV_BF16 /* an activation that products alone read */ } sv_dtype;
size_t sv_dtype_size(sv_dtype dtype);

/* What products are made of; everything else is f32 (f64 in that build). bf16: operands rounded to it, sums in f32. bf16x3: operands in
 * three parts that add up to them exactly, as exact as fp32 and much quicker where tiles multiply bf16; elsewhere it is fp32. */
typedef enum sv_precision { SV_PRECISION_FP32, SV_PRECISION_BF16, SV_PRECISION_BF16X3, SV_PRECISION_COUNT } sv_precision;
const char *sv_precision_name(sv_precision precision);                  /* "fp32", "bf16", "bf16x3" */
bool sv_precision_find(sv_precision *out, const char *name);            /* false: no such name */

/* How many rows a per-image tensor has: (count + add) * times, where count is a number an op writes for each image at run time
 * (source >= 0: its place in the tape's table of counts) or 0 (source -1: the same for every image). most bounds it. */
typedef struct sv_rows { int32_t source; int32_t add; uint32_t times; uint32_t most; } sv_rows;
sv_rows sv_rows_fixed(size_t rows);
bool sv_rows_equal(sv_rows a, sv_rows b);

/* ---- parameters -------------------------------------------------------------------------------------------------- */

enum { SV_MOST_DIMS = 5 };

typedef struct sv_parameter {
    char *name;                         /* timm's: "blocks.0.attn.qkv.weight" */
    uint32_t dims;
    size_t shape[SV_MOST_DIMS];
    size_t count;                       /* product of shape */
    size_t offset;                      /* of its first number in the blocks below */
    sv_real *value, *gradient;          /* into the blocks of its set; gradient NULL where the set has none */
    bool fixed;                         /* never trained: stored statistics, kept in files beside the parameters */
    bool trainable;                     /* false: a constant for every tape, no gradient is computed */
    struct sv_packed { void *panels; size_t bytes; uint64_t version; } forward[SV_PRECISION_COUNT], backward[SV_PRECISION_COUNT]; /* for the products, owned
                                         * here, remade when stale: the set's version they were made from, 0: never */
    struct sv_parameters *set;
} sv_parameter;

/* All parameters of a model in one block of values and one of gradients, each starting at a multiple of 16 numbers. */
typedef struct sv_parameters {
    sv_parameter **items; size_t count, capacity;
    sv_real *values, *gradients;
    size_t total;                       /* numbers in a block, padding included (padding stays zero) */
    uint64_t version;                   /* raised by sv_parameters_changed */
} sv_parameters;

sv_status sv_parameters_create(sv_parameters **out, sv_error *err) SV_MUST_CHECK;
void sv_parameters_destroy(sv_parameters *set);
/* Declares one; the returned pointer is valid until the set is destroyed. Before _allocate only. */
sv_status sv_parameters_add(sv_parameters *set, sv_parameter **out, const char *name, uint32_t dims, const size_t *shape, sv_error *err) SV_MUST_CHECK;
/* Makes the blocks (zeros). with_gradients false: a frozen model. */
sv_status sv_parameters_allocate(sv_parameters *set, bool with_gradients, sv_error *err) SV_MUST_CHECK;
sv_parameter *sv_parameters_find(const sv_parameters *set, const char *name);
/* Must follow every change of values: packed weights become stale. */
void sv_parameters_changed(sv_parameters *set);
void sv_parameters_zero_gradients(sv_parameters *set);

/* ---- the tape ---------------------------------------------------------------------------------------------------- */

typedef struct sv_tape sv_tape;
typedef struct sv_tensor sv_tensor;
typedef struct sv_node sv_node;
typedef struct sv_op sv_op;

typedef enum sv_mode { SV_INFERENCE, SV_TRAINING } sv_mode;

typedef struct sv_tape_options {
    sv_mode mode;               /* SV_INFERENCE: no gradients, nothing kept */
    size_t images_most;         /* the largest batch a step may hold */
    sv_precision precision;
    bool recompute;             /* training: of a segment (a block) only what crosses its ends is kept; backward makes the rest again, bit for bit */
    size_t lanes;               /* of gradient sums; part of a run's identity; 0: 4 */
    bool lanes_bf16;            /* each lane's sum, and their sum, are rounded to bf16 before they are added further, whoever adds; halves what ranks send */
} sv_tape_options;

sv_status sv_tape_create(sv_tape **out, const sv_tape_options *options, sv_error *err) SV_MUST_CHECK;
void sv_tape_destroy(sv_tape *tape);
sv_mode sv_tape_mode(const sv_tape *tape);

/* Leaves. An input is per image; the caller fills sv_tape_data before each run. wants_gradient: its gradient can be read after
 * backward (the checks use it). */
sv_tensor *sv_tape_input(sv_tape *tape, const char *label, sv_dtype dtype, size_t rows, size_t width, bool wants_gradient);
/* A per-batch input: one row of `width` numbers for all images (targets of the ratio loss, a table's slopes ...). */
sv_tensor *sv_tape_batch_input(sv_tape *tape, const char *label, size_t width);
sv_tensor *sv_tape_parameter(sv_tape *tape, sv_parameter *parameter); /* NULL parameter: NULL tensor (an absent bias), no error */

/* What an op needs to know beside its tensors; each op says in ops.h what it reads. */
typedef struct sv_attributes { int64_t i[6]; double r[8]; } sv_attributes;
/* Appends a node; fills outputs[] (as many as the op has). The functions of ops.h are thin calls of this. NULL inputs are allowed
 * where the op says so. Returns outputs[0], NULL after an error. */
enum { SV_MOST_INPUTS = 8, SV_MOST_OUTPUTS = 3 };
sv_tensor *sv_tape_record(sv_tape *tape, const sv_op *op, sv_tensor *const *inputs, size_t input_count, const sv_attributes *attributes,
                          sv_tensor **outputs);
/* A cut ends the running segment: at the end of each block of a model. */
void sv_tape_cut(sv_tape *tape);
/* The tensor's values stay readable after the run (sv_tape_data), and are not reused. */
void sv_tape_keep(sv_tape *tape, sv_tensor *tensor);
/* Names a tensor in messages and profiles. */
void sv_tape_label(sv_tape *tape, sv_tensor *tensor, const char *format, ...) SV_PRINTF(3, 4);
/* Puts a failure of the model's own into the tape (sticky, as above). */
void sv_tape_fail(sv_tape *tape, sv_status code, const char *format, ...) SV_PRINTF(3, 4);

/* Ends recording: reports the first error, plans and allocates all memory. loss: the per-batch [1] tensor to differentiate, NULL for
 * inference. */
sv_status sv_tape_finish(sv_tape *tape, sv_tensor *loss, sv_error *err) SV_MUST_CHECK;

/* What a step is: random draws of ops are functions of seed, epoch and sample number alone (and the op's own position). */
typedef struct sv_step {
    size_t images;              /* 1..images_most */
    uint64_t seed;
    uint32_t epoch;
    const uint64_t *samples;    /* [images]; NULL: 0, 1, 2 ... */
} sv_step;
/* Repacks stale weights, then runs all nodes. Fails on a step the tape was not made for, and for want of memory at the first run or
 * where there are more threads than ever before. */
sv_status sv_tape_forward(sv_tape *tape, const sv_step *step, sv_error *err) SV_MUST_CHECK;
/* After forward of the same step: adds `scale` times the loss's gradient to the gradients of trainable parameters. */
void sv_tape_backward(sv_tape *tape, double scale);

/* A training tape whose lanes are shared out to processes ("ranks") in order, and with them their images: rank r has lanes r L / ranks and on. Ops of
 * one image run for own images alone. What an op of the batch reads, kept tensors and row counts are gathered, so that every rank has the
 * numbers of the whole batch; of the sums of lanes each rank adds a slice, in order of lanes, and hands it to all, while backward goes on. All
 * bits are those of one process.
 * The caller fills inputs of own images. Row counts of a batch must be alike on all ranks, and so must all calls. */
typedef struct sv_peer_items { void *base; size_t stride, bytes, count; } sv_peer_items;
typedef struct sv_tape_peers {
    size_t rank, ranks;
    void *context;
    /* Items of `bytes`, `stride` apart, from base on: rank r brings items first[r] .. first[r+1]-1; then rank 0, or to_all every rank, has all. */
    sv_status (*gather)(void *context, void *base, size_t stride, size_t bytes, const size_t *first, bool to_all, sv_error *err);
    /* Sends out[r] to each other rank r and receives in[r] from it. Called by a thread of the tape, never at once with gather. */
    sv_status (*trade)(void *context, const sv_peer_items *out, const sv_peer_items *in, sv_error *err);
} sv_tape_peers;
/* Of all backward runs: how long gradients were on their way, what of a core that took, and how long backward had to wait for them. */
typedef struct sv_peers_seconds { double exchange, core, waited; } sv_peers_seconds;
sv_peers_seconds sv_tape_peers_seconds(const sv_tape *tape);
/* After sv_tape_finish. SV_USAGE where a rank would have no lane or no image of a full batch. */
sv_status sv_tape_set_peers(sv_tape *tape, const sv_tape_peers *peers, sv_error *err) SV_MUST_CHECK;
/* The first image of a rank, and behind its last one that of the next. */
size_t sv_tape_rank_first(size_t images, size_t lanes, size_t ranks, size_t rank);
/* Of the last backward run: SV_OK, or why peers could not be reached (then gradients are worth nothing). Forward returns its own. */
sv_status sv_tape_peers_check(const sv_tape *tape, sv_error *err) SV_MUST_CHECK;

/* An image's rows of an input, a kept tensor or (image 0) a per-batch tensor. For SV_INDEX cast the result. */
sv_real *sv_tape_data(const sv_tape *tape, const sv_tensor *tensor, size_t image);
sv_real *sv_tape_gradient(const sv_tape *tape, const sv_tensor *tensor, size_t image); /* inputs with wants_gradient */
size_t sv_tape_rows(const sv_tape *tape, const sv_tensor *tensor, size_t image);      /* of the last run */
size_t sv_tensor_width(const sv_tensor *tensor);
sv_rows sv_tensor_rows(const sv_tensor *tensor);

/* Multiply-adds of the last forward run over all images, counted from the real row counts (spec latency 4.1). */
uint64_t sv_tape_macs(const sv_tape *tape);
/* How many segments the tape has: what stands between two cuts, and each op over the batch. */
size_t sv_tape_segments(const sv_tape *tape);
/* From now on each forward writes the wall seconds of its segments to seconds[sv_tape_segments()], which is the caller's; NULL: no more. */
void sv_tape_watch(sv_tape *tape, double *seconds);
/* Bytes planned: activations stored, scratch of all threads, lanes. */
typedef struct sv_tape_bytes { size_t stored, scratch, lanes; } sv_tape_bytes;
sv_tape_bytes sv_tape_bytes_planned(const sv_tape *tape);
/* The first tensor (in order of the tape: parameters, kept tensors, numbers of the batch) that holds a number that is not finite: its label, or NULL. */
const char *sv_tape_not_finite(const sv_tape *tape);

/* Profile: where the time of forward and backward went since it was switched on, by op. Seconds are of threads: all rows together
 * are threads x wall_seconds. Work of the engine itself has rows too: "(pack weights)", "(add lanes)", and "(waiting)" for threads
 * that had nothing to do. macs: of forward; backward does about twice that. bytes: what forward reads and writes, each tensor once. */
typedef struct sv_profile_row { const char *op; double forward_seconds, backward_seconds; uint64_t macs, bytes; } sv_profile_row;
typedef struct sv_profile { sv_profile_row *rows; size_t count, threads; uint64_t runs; double wall_seconds; } sv_profile;
sv_status sv_tape_profile(sv_tape *tape, bool on, sv_error *err) SV_MUST_CHECK;
/* Sums up, the row with most time first. rows: owned by the caller, sv_free. */
sv_status sv_tape_profile_read(const sv_tape *tape, sv_profile *out, sv_error *err) SV_MUST_CHECK;
/* An aligned table of it for people; `other_seconds` of wall time (an optimizer, say) get a line of their own unless 0. */
void sv_profile_print(sv_text *text, const sv_profile *profile, const char *other, double other_seconds);

#endif
