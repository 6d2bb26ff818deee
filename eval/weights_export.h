/* Models as safetensors for others: weights under timm's names, selectors, plan and card in the metadata. */
#ifndef SIEVE_EVAL_WEIGHTS_EXPORT_H
#define SIEVE_EVAL_WEIGHTS_EXPORT_H

#include "eval/narrow.h"

typedef struct sv_weights_export_options {
    sv_onnx_type weights; /* how matrices are stored, as in eval/narrow.h; int8 ones have NAME_scale [rows] beside them */
    const char *licence;  /* NULL: as the run's config says */
    const char *source;   /* the file d was loaded from, for its card; NULL: none */
} sv_weights_export_options;

/* Writes, reads back and compares a picture's logits to the bit. With narrower weights the values in d->model are rounded to what is stored.
 * *tensors: how many the file holds. SV_MODEL_FILE: weights or answers that are not finite; SV_FAULT: a file that answers otherwise. */
sv_status sv_weights_export(sv_deployed *d, const char *path, const sv_weights_export_options *options, size_t *tensors,
                            sv_error *err) SV_MUST_CHECK;

#endif
