/* ONNX files (opset 17), written and read back by hand: a model is a protobuf message, a graph of named values. The writer builds a graph
 * node by node; the reader knows nothing of the writer, so that what it finds is what others will find. Neither knows models.
 * Read: at most 2 GiB, memory within 4 times the file plus 64 MiB; fields that are not needed are walked over. */
#ifndef SIEVE_FORMATS_ONNX_H
#define SIEVE_FORMATS_ONNX_H

#include "base/base.h"

enum { SV_ONNX_OPSET = 17, SV_ONNX_IR = 8 /* the IR version that came with opset 17 */, SV_ONNX_RANK = 8, SV_ONNX_MOST_OUTPUTS = 4 };

/* Kinds of elements, by their numbers in the format. */
typedef enum sv_onnx_type {
    SV_ONNX_FLOAT = 1,
    SV_ONNX_INT8 = 3,
    SV_ONNX_INT64 = 7,
    SV_ONNX_BOOL = 9,
    SV_ONNX_FLOAT16 = 10,
    SV_ONNX_BFLOAT16 = 16
} sv_onnx_type;
size_t sv_onnx_type_bytes(int64_t type); /* of one element; 0: not one of these */

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* A graph that grows. After a failed call later ones do nothing, so that a page of nodes needs one check, in sv_onnx_write. Values are
 * numbers; names are made from the scope and the op: "blocks.0.attn/MatMul_12". */
typedef struct sv_onnx_graph sv_onnx_graph;
typedef int sv_onnx_value;

sv_status sv_onnx_create(sv_onnx_graph **out, const char *name, sv_error *err) SV_MUST_CHECK;
void sv_onnx_destroy(sv_onnx_graph *graph); /* accepts NULL */
/* Names of what follows begin with this. */
void sv_onnx_scope(sv_onnx_graph *graph, const char *format, ...) SV_PRINTF(2, 3);

/* A size of an input or output: a number, or a word where it is known at run time only. */
typedef struct sv_onnx_dim {
    size_t size;
    const char *word;
} sv_onnx_dim;
sv_onnx_value sv_onnx_input(sv_onnx_graph *graph, const char *name, sv_onnx_type type, size_t rank, const sv_onnx_dim *dims);
/* Renames the value, which must come from a node, through an Identity node. */
void sv_onnx_output(sv_onnx_graph *graph, sv_onnx_value value, const char *name, sv_onnx_type type, size_t rank, const sv_onnx_dim *dims);

/* A stored tensor. The graph takes `data` (sv_alloc) over, also on failure. */
sv_onnx_value sv_onnx_initializer(sv_onnx_graph *graph, const char *name, sv_onnx_type type, size_t rank, const size_t *dims, void *data);
/* Stored numbers; equal ones are stored once. */
sv_onnx_value sv_onnx_real(sv_onnx_graph *graph, double value);                        /* a float scalar */
sv_onnx_value sv_onnx_ints(sv_onnx_graph *graph, size_t count, const int64_t *values); /* int64 [count] */
sv_onnx_value sv_onnx_int(sv_onnx_graph *graph, int64_t value);                        /* int64 scalar */

typedef enum sv_onnx_attribute_kind {
    SV_ONNX_I,
    SV_ONNX_F,
    SV_ONNX_INTS,
    SV_ONNX_ONE /* a float tensor [1] that holds f */
} sv_onnx_attribute_kind;
typedef struct sv_onnx_attribute {
    const char *name;
    sv_onnx_attribute_kind kind;
    int64_t i;
    double f;
    size_t count; /* of ints */
    int64_t ints[SV_ONNX_RANK];
} sv_onnx_attribute;

typedef struct sv_onnx_call {
    const char *op;
    size_t inputs, outputs, attributes; /* outputs 0: one */
    sv_onnx_value input[SV_ONNX_RANK];
    sv_onnx_attribute attribute[4];
} sv_onnx_call;
/* The node's first output; the others are the numbers that follow. */
sv_onnx_value sv_onnx_node(sv_onnx_graph *graph, const sv_onnx_call *call);

/* Text pairs of the model (metadata_props). */
void sv_onnx_metadata(sv_onnx_graph *graph, const char *key, const char *value);

/* The graph goes to path under a temporary name, and where it would pass `external_above` bytes (0: 2 GiB - 1, the most a protobuf message
 * may have) its tensors of 1 KiB and more to path.data. check(context, file, data) is called with the temporary names (data NULL: there is
 * none) when all is on disk; only after its SV_OK the files take their names, data first. A model that stood under `path` is removed before
 * path.data is replaced, so that no model ever stands beside data that are not its own. */
typedef sv_status sv_onnx_check_file(void *context, const char *file, const char *data, sv_error *err);
sv_status sv_onnx_write(sv_onnx_graph *graph, const char *path, uint64_t external_above, sv_onnx_check_file *check, void *context,
                        sv_error *err) SV_MUST_CHECK;

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Values are numbers below value_count, the same one wherever the same name stands. All belongs to the model. */
typedef struct sv_onnx_read_tensor {
    uint32_t value;
    int64_t type;
    size_t rank, dims[SV_ONNX_RANK], count;
    const unsigned char *data; /* little-endian, count * sv_onnx_type_bytes(type) bytes, not aligned */
} sv_onnx_read_tensor;

typedef struct sv_onnx_read_attribute {
    const char *name;
    int64_t i;
    float f;
    const int64_t *ints;
    size_t int_count;
    bool has_i, has_f, has_tensor;
    sv_onnx_read_tensor tensor;
} sv_onnx_read_attribute;

typedef struct sv_onnx_read_node {
    const char *op;
    const uint32_t *in, *out; /* UINT32_MAX: left out (an empty name) */
    size_t in_count, out_count;
    const sv_onnx_read_attribute *attributes;
    size_t attribute_count;
} sv_onnx_read_node;

typedef struct sv_onnx_read_value {
    uint32_t value;
    int64_t type;
    size_t rank;
    int64_t dims[SV_ONNX_RANK]; /* -1: a word, or nothing said */
} sv_onnx_read_value;

typedef struct sv_onnx_model {
    int64_t ir, opset;
    size_t value_count, initializer_count, node_count, input_count, output_count, metadata_count;
    const char **names; /* of the values */
    sv_onnx_read_tensor *initializers;
    sv_onnx_read_node *nodes;
    sv_onnx_read_value *inputs, *outputs;
    const char **metadata; /* key, value, key, value ... */
    struct sv_onnx_room *room;
} sv_onnx_model;

/* Reads and checks a file: every length lies in what holds it; tensors have the bytes their sizes ask for; names are UTF-8; every value is made
 * once and before it is used; outputs are made. data: the file of external tensors; NULL: the one the file names, which must be a plain name
 * and stands beside it. Errors: SV_MODEL_FILE with the path; SV_FAULT where memory is gone. *out is untouched on failure. */
sv_status sv_onnx_read(sv_onnx_model *out, const char *path, const char *data, sv_error *err) SV_MUST_CHECK;
void sv_onnx_clear(sv_onnx_model *model); /* accepts an all-zero one */
/* Index of the value of that name; UINT32_MAX: none. */
uint32_t sv_onnx_find(const sv_onnx_model *model, const char *name);
const sv_onnx_read_attribute *sv_onnx_attribute_of(const sv_onnx_read_node *node, const char *name); /* NULL: none */

#endif
