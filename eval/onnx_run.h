/* A graph that was read from an ONNX file, run by plain loops in float32: what an export is held against before it is called good. It shares
 * nothing with the engine and nothing with the writer. It knows the ops that exports of Sieve use, as opset 17 defines them, and says which one
 * it does not know. One thread; a picture through DeiT-T takes about a second. */
#ifndef SIEVE_EVAL_ONNX_RUN_H
#define SIEVE_EVAL_ONNX_RUN_H

#include "formats/onnx.h"

/* A value while it runs. data: float, int64_t, int8_t, unsigned char (bool) or uint16_t (half kinds); owned. */
typedef struct sv_onnx_array {
    int64_t type;
    size_t rank, dims[SV_ONNX_RANK], count;
    void *data;
} sv_onnx_array;
void sv_onnx_array_clear(sv_onnx_array *array); /* accepts an all-zero one */

/* inputs [model->input_count] are read; outputs [model->output_count], all zero before, are the caller's to clear, also on failure.
 * SV_MODEL_FILE: a node whose inputs do not fit it, by its number and op. */
sv_status sv_onnx_run(const sv_onnx_model *model, const sv_onnx_array *inputs, sv_onnx_array *outputs, sv_error *err) SV_MUST_CHECK;

#endif
