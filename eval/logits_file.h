/* The logits of an evaluation as an .npy file: [pictures, classes], float32. */
#ifndef SIEVE_EVAL_LOGITS_FILE_H
#define SIEVE_EVAL_LOGITS_FILE_H

#include "eval/eval.h"

/* All zero is empty. */
typedef struct sv_logits_file { float *block; size_t count, capacity, classes; } sv_logits_file;
sv_logits_sink sv_logits_take;  /* context: an sv_logits_file */
sv_status sv_logits_write(const sv_logits_file *file, const char *path, sv_error *err) SV_MUST_CHECK;
void sv_logits_clear(sv_logits_file *file);

#endif
