/* Models as ONNX graphs (opset 17): the deployed form as a whole, selectors, decisions and package tokens inside. Input "pixel_values"
 * [batch,3,side,side]: RGB / 255, minus mean, by deviation; outputs "logits" [batch,classes] and, for selector t, "tokens_kept_t": numbers of
 * the patches of its grid that stay (two paths: that take the slow one; ToMe: that merged tokens stand in), rising, int64, [batch,k] (static) or [k]
 * (dynamic: SPViT and DynamicViT in the flat form alone). */
#ifndef SIEVE_EVAL_ONNX_EXPORT_H
#define SIEVE_EVAL_ONNX_EXPORT_H

#include "eval/eval.h"
#include "formats/onnx.h"

/* Static: every picture keeps plan.count[t] patches, by rank (TopK); equal scores: the lower patch number, as in Sieve. Dynamic: by the plan's
 * thresholds, each picture its own count, one picture at a time. */
typedef enum sv_onnx_mode { SV_ONNX_STATIC, SV_ONNX_DYNAMIC } sv_onnx_mode;

typedef struct sv_onnx_options {
    sv_onnx_mode mode;
    size_t batch;            /* 0: any (static), 1 (dynamic) */
    sv_onnx_type weights;    /* SV_ONNX_FLOAT, _FLOAT16, _BFLOAT16, _INT8: how matrices are stored (eval/narrow.h); the rest is floats */
    uint64_t external_above; /* sv_onnx_write */
    const char *licence;     /* of the base weights; NULL: not said */
} sv_onnx_options;

typedef struct sv_onnx_report {
    size_t nodes, tensors;
    bool compared;               /* false: selectors so even that rounding decides, which a warning has said */
    double worst;                /* largest difference of logits from Sieve's, as a share of their largest */
    double ms;                   /* Sieve's own time of a picture, on this machine, as the card says */
    size_t kept[SV_MOST_STAGES]; /* of the proving picture */
} sv_onnx_report;

/* Writes the model of `source` (the file d was loaded from, for its card; NULL: none) to path, reads the file back and runs a picture through
 * it before it takes its name. With narrower weights the values in d->model are rounded to what is stored, so that d answers as the file does.
 * SV_USAGE: a plan the mode cannot express; SV_MODEL_FILE: weights that are not finite or beyond float16, or a file that does not answer as
 * Sieve does. */
sv_status sv_onnx_export(sv_deployed *d, const char *source, const char *path, const sv_onnx_options *options, sv_onnx_report *report,
                         sv_error *err) SV_MUST_CHECK;

#endif
