/* What the files of the ONNX interpreter share: the call of one node. */
#ifndef SIEVE_EVAL_ONNX_OP_H
#define SIEVE_EVAL_ONNX_OP_H

#include "eval/onnx_run.h"

enum { SV_ONNX_MOST_IN = 8, SV_ONNX_VALUE_BYTES = 1 << 30 /* of one computed value: damaged sizes must not fill a memory */ };

typedef struct sv_onnx_op_call {
    const sv_onnx_read_node *node;
    const sv_onnx_array *in[SV_ONNX_MOST_IN]; /* NULL: left out */
    sv_onnx_array *out;                       /* node->out_count of them, all zero */
    sv_error *err;
} sv_onnx_op_call;

typedef sv_status sv_onnx_op_run(const sv_onnx_op_call *call);
typedef struct sv_onnx_op {
    const char *name;
    size_t inputs; /* at least, none of them left out */
    sv_onnx_op_run *run;
} sv_onnx_op;
extern const sv_onnx_op sv_onnx_moves[], sv_onnx_choices[], sv_onnx_numbers[], sv_onnx_maps[]; /* end with an all-zero row */

/* Room for out, its count set. */
sv_status sv_onnx_make(const sv_onnx_op_call *call, sv_onnx_array *out, int64_t type, size_t rank, const size_t *dims) SV_MUST_CHECK;
/* "its inputs do not fit". */
sv_status sv_onnx_unfit(const sv_onnx_op_call *call);
int64_t sv_onnx_int_attribute(const sv_onnx_op_call *call, const char *name, int64_t otherwise);
/* An axis, counted from the end where below 0; false: beyond the rank. */
bool sv_onnx_axis(size_t *out, int64_t axis, size_t rank) SV_MUST_CHECK;
/* Shape that both broadcast to; false: none. */
bool sv_onnx_broadcast(size_t *rank, size_t dims[SV_ONNX_RANK], const sv_onnx_array *a, const sv_onnx_array *b) SV_MUST_CHECK;
/* For each axis of a broadcast shape the distance of neighbours in x, 0 where x is repeated. */
void sv_onnx_strides(size_t strides[SV_ONNX_RANK], const sv_onnx_array *x, size_t rank);

#endif
