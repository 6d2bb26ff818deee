/* Weights stored in fewer bits than they are computed in: float16, bfloat16, int8 with a scale for each output channel. A model is rounded
 * first; then what is stored and what the model computes with are the same numbers, and a file can be held against it. */
#ifndef SIEVE_EVAL_NARROW_H
#define SIEVE_EVAL_NARROW_H

#include "eval/eval.h"
#include "formats/onnx.h"

/* Kinds: SV_ONNX_FLOAT (nothing is narrowed), SV_ONNX_FLOAT16, SV_ONNX_BFLOAT16, SV_ONNX_INT8. */
const char *sv_narrow_words(sv_onnx_type kind); /* for the card: "float16, computed in float32" */
/* What p is stored as: `kind` or SV_ONNX_FLOAT. Selectors, biases, norms stay floats; int8 is for weights of layers alone, not for tokens,
 * positions and tables. */
sv_onnx_type sv_narrow_of(sv_onnx_type kind, const sv_parameter *p);

uint16_t sv_narrow_half(sv_onnx_type kind, float value); /* to nearest, ties to even */
float sv_narrow_from_half(sv_onnx_type kind, uint16_t bits);

/* Of a row of weights that one output channel reads: w is about q times the scale, q from -127 to 127, the largest of them 127. A scale has 16
 * significant bits, so that q * scale is exact in float32: every runtime gets the same numbers back, and rounding twice changes nothing. */
float sv_int8_scale(const sv_real *row, size_t count);
int8_t sv_int8_of(sv_real value, float scale);

/* Rounds what will be stored narrowly. SV_MODEL_FILE: not finite, or beyond float16. */
sv_status sv_narrow_round(sv_deployed *d, sv_onnx_type kind, sv_error *err) SV_MUST_CHECK;

#endif
