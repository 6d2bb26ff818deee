/* For writers of ops: the descriptor of an op and what it is handed when it runs. One family a file (autograd/op_*.c); an op is one
 * descriptor there, one line in autograd/op_list.c and one function in autograd/ops.h. From the descriptor come shape messages, the
 * executor's plan, profile names, MACs, the gradient check on every sample, and the table in docs/ops.md. */
#ifndef SIEVE_AUTOGRAD_OP_H
#define SIEVE_AUTOGRAD_OP_H

#include "autograd/autograd.h"

/* What of its inputs an op must see to make some rows of its output. */
typedef enum sv_locality {
    SV_ROW_LOCAL,       /* output row r needs row r of each per-image input (all have the same row count), and parameters */
    SV_IMAGE_ROWS,      /* output rows can be made separately, but from any rows of the image (attention, gather, concat) */
    SV_IMAGE_WHOLE,     /* one thread makes the whole output of an image */
    SV_BATCH_OP         /* mixes images: ends a segment, runs once a step; inputs have a fixed number of rows */
} sv_locality;

/* One tensor of a call. For a per-image tensor the rows of the call's image; batch ops step from image to image by image_stride. */
typedef struct sv_span {
    union { sv_real *data; int32_t *ints; uint16_t *halves; /* where half */ };
    sv_real *gradient;          /* backward: inputs: NULL where none is wanted; outputs: never NULL (zeros where nothing reads it) */
    bool accumulate;            /* backward, inputs: add to gradient; false: overwrite all live rows (parameters: all of it). One tensor may
                                 * be two inputs: gradients are written in order of the inputs */
    size_t rows, width;
    size_t live;                /* rows 0..live-1 can have a gradient; the others' gradient is zero, never read nor written */
    size_t image_stride;        /* numbers from one image to the next: data and gradient; 0 for per-batch tensors */
    const sv_parameter *parameter; /* of a parameter: shape, panels */
    bool half;                  /* data is bf16, which gives and takes allow (gradients never are) */
    bool present;               /* false: the input was NULL */
} sv_span;

typedef struct sv_call {
    const sv_node *node;
    const sv_attributes *attributes;
    const sv_step *step;
    uint64_t sample;            /* number of the call's image, for random draws */
    size_t image;               /* its place in the batch; 0 for batch ops */
    size_t images;              /* in the batch */
    size_t row_begin, row_end;  /* forward: the rows of output 0 to make; the whole of it unless one image is split by rows */
    sv_span in[SV_MOST_INPUTS], out[SV_MOST_OUTPUTS];
    sv_real *saved;             /* the node's own numbers of this image (op->saved of them), kept from forward to backward; NULL in inference */
    void *scratch;              /* op->scratch bytes of this thread, contents undefined */
    const void *ahead; size_t ahead_bytes; /* forward: the packed weight that is read next; products fetch it meanwhile */
    uint32_t *count;            /* the run-time row count this op sets for the image (ops with sets_count) */
} sv_call;

/* The shape rule's view: inputs known, outputs to be filled. */
struct sv_tensor {
    char label[48];
    sv_dtype dtype;
    enum { SV_PER_IMAGE, SV_PER_BATCH, SV_SHARED } extent;
    sv_rows rows;               /* per image; fixed 1 for per batch; for a parameter rows = shape[0] .. see parameter */
    sv_rows live;               /* rows that can have a gradient: the first so many */
    size_t width;
    bool needs_gradient;        /* set by the tape: some input needs one and the op has a backward */
    sv_parameter *parameter;
    uint32_t index, node;       /* place on the tape; the node that makes it (UINT32_MAX: a leaf) */
};

struct sv_node {
    const sv_op *op;
    sv_attributes attributes;
    sv_tensor *in[SV_MOST_INPUTS], *out[SV_MOST_OUTPUTS];
    uint32_t input_count, output_count;
    int32_t count_source;       /* the row count it sets, -1: none */
    uint32_t segment, index;
    sv_precision precision;     /* of the tape: what its products are made of */
};

/* A sample for the gradient check and the docs: shapes of inputs, attributes, how the numbers are drawn. */
typedef enum sv_fill { SV_FILL_NONE /* input absent */, SV_FILL_NORMAL, SV_FILL_LARGE /* times 10 */, SV_FILL_UNIT /* (0,1) */, SV_FILL_ZERO, SV_FILL_ONE,
    SV_FILL_BINARY /* 0 or 1 */, SV_FILL_SOFTMAX /* rows sum to 1 */, SV_FILL_INDEX /* 0 .. most-1, a permutation by row */,
    SV_FILL_PREFIX /* [rows,1]: ones then zeros, the first always one */, SV_FILL_COUNT_UP /* index r in row r */,
    SV_FILL_ORIGIN /* the same, but -1 in the last row: no patch */, SV_FILL_INDEX_ZERO /* index 0 everywhere */ } sv_fill;
typedef enum sv_sample_kind { SV_SAMPLE_IMAGE, SV_SAMPLE_CONSTANT /* per image, no gradient */, SV_SAMPLE_PARAMETER, SV_SAMPLE_BATCH } sv_sample_kind;
typedef struct sv_sample_input {
    sv_sample_kind kind; sv_fill fill;
    size_t rows, width;         /* parameters: shape {rows, width}, or {width} where rows is 0 */
    size_t shape[SV_MOST_DIMS]; /* parameters of more dims: used where shape[0] is not 0 */
} sv_sample_input;
typedef struct sv_sample { const char *name; size_t images; sv_sample_input in[SV_MOST_INPUTS]; sv_attributes attributes; } sv_sample;

struct sv_op {
    const char *name;
    const char *formula;        /* plain text, names as in the code */
    const char *source;         /* paper and equation, or the PyTorch function it equals */
    const char *equals;         /* a fused op: the plain ops it equals; NULL otherwise */
    uint32_t inputs_least, inputs_most, outputs;
    uint32_t optional;          /* bit i: input i may be NULL */
    sv_locality locality;
    /* Fills dtype, extent, rows, live, width of node->out[*] (the tape has preset: dtype SV_REAL, per image, rows, live and width of
     * input 0). Returns SV_USAGE with what was expected; the tape adds op and tensor names. */
    sv_status (*shape)(sv_node *node, sv_error *err);
    void (*forward)(const sv_call *call);
    void (*backward)(const sv_call *call);      /* fills in[i].gradient where not NULL; NULL: not differentiable (a value, not an omission) */
    uint32_t backward_inputs, backward_outputs; /* bits: whose data (not gradient) backward reads */
    uint32_t backward_dead;                     /* bits: inputs of which backward reads rows that are not live too */
    bool stops_gradient;                        /* backward NULL by design: the output is a constant or an index for what follows; without
                                                 * it, recording such an op on a tensor that needs a gradient is an error */
    /* Where output 0 is cheaper to rebuild than to keep: makes it again in backward from the inputs in rebuild_inputs and saved. */
    void (*rebuild)(const sv_call *call);
    uint32_t rebuild_inputs;
    /* 1 + i: the gradient of input i equals the output's, so it may be the same memory; backward then finds
     * in[i].gradient == out[0].gradient and has nothing to do for it. 0: none. */
    uint32_t passes_gradient;
    bool sets_count;            /* forward writes *call->count before anything of its outputs is sized by it */
    size_t (*saved)(const sv_node *node);       /* numbers an image; NULL: none */
    size_t (*scratch)(const sv_node *node);     /* bytes a thread, forward and backward alike; NULL: none */
    uint64_t (*macs)(const sv_call *call);      /* of one image at its real row counts (batch ops: of the batch); NULL: none */
    /* bf16 in memory, in tapes of that precision. takes_half, bits: inputs that forward and backward read as operands of products
     * alone, which would round them. gives_half: forward and rebuild can write output 0 rounded. The plan makes a tensor half where all its
     * readers take it: the same bits in half the room. */
    uint32_t takes_half;
    bool gives_half;
    bool moves_half;            /* output 0 is numbers of input 0, moved: bf16 where that is, which its readers decide */
    uint32_t pack_forward, pack_backward;       /* bits: parameter inputs whose panels forward / backward reads */
    const sv_sample *samples; size_t sample_count;
};

/* For shape rules. */
sv_rows sv_rows_plus(sv_rows rows, int32_t add);        /* times must be 1 */
sv_rows sv_rows_times(sv_rows rows, uint32_t times);

/* All ops, for the checks, bench and docs. */
extern const sv_op *const sv_ops[];
extern const size_t sv_op_count;

/* Checks the gradients of one op on one sample against five-point differences (step chosen for sv_real); every input with a gradient,
 * every number of it. *worst: the largest |analytic - numeric| / max(1, |numeric|, largest gradient of that input). */
sv_status sv_gradient_check(const sv_op *op, const sv_sample *sample, uint64_t seed, double *worst, sv_error *err) SV_MUST_CHECK;

#endif
