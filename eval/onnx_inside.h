/* What the files of the ONNX export share: a model on its way into a graph. Functions that add nodes cannot fail: the graph remembers. */
#ifndef SIEVE_EVAL_ONNX_INSIDE_H
#define SIEVE_EVAL_ONNX_INSIDE_H

#include "eval/onnx_export.h"

typedef struct sv_onnx_mapping {
    sv_onnx_graph *graph;
    const sv_deployed *d;
    const sv_pruning_plan *plan; /* by the rule of the mode */
    sv_onnx_options options;
    sv_status failed; /* a parameter that is absent or cannot be stored */
    sv_error error;
} sv_onnx_mapping;

/* ---- words (onnx_layers.c) ---- */
sv_onnx_value sv_onnx_unary(sv_onnx_mapping *m, const char *op, sv_onnx_value x);
sv_onnx_value sv_onnx_binary(sv_onnx_mapping *m, const char *op, sv_onnx_value a, sv_onnx_value b);
sv_onnx_value sv_onnx_reshape(sv_onnx_mapping *m, sv_onnx_value x, size_t rank, const int64_t *dims);
sv_onnx_value sv_onnx_concat(sv_onnx_mapping *m, size_t axis, size_t count, const sv_onnx_value *parts);
/* Indices begin..end-1 of an axis; end INT64_MAX: all from begin on. */
sv_onnx_value sv_onnx_slice(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis, int64_t begin, int64_t end);
sv_onnx_value sv_onnx_slice_at(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis, sv_onnx_value begin, sv_onnx_value end);
/* Equal halves (or thirds ...) of the last axis; the others are the numbers that follow. */
sv_onnx_value sv_onnx_split(sv_onnx_mapping *m, sv_onnx_value x, size_t parts);
sv_onnx_value sv_onnx_squeeze(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis);
sv_onnx_value sv_onnx_unsqueeze(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis);
sv_onnx_value sv_onnx_mean(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis, bool keep);
sv_onnx_value sv_onnx_sum(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis, bool keep);
sv_onnx_value sv_onnx_gelu(sv_onnx_mapping *m, sv_onnx_value x);
/* PREFIX.weight and .bias of the model. */
sv_onnx_value sv_onnx_linear(sv_onnx_mapping *m, sv_onnx_value x, const char *prefix);
sv_onnx_value sv_onnx_norm(sv_onnx_mapping *m, sv_onnx_value x, const char *prefix, double epsilon);

/* ---- the backbone (onnx_layers.c) ---- */
sv_onnx_value sv_onnx_embed(sv_onnx_mapping *m, sv_onnx_value picture);
sv_onnx_value sv_onnx_block(sv_onnx_mapping *m, size_t index, sv_onnx_value x);
sv_onnx_value sv_onnx_head(sv_onnx_mapping *m, sv_onnx_value x);

/* ---- selectors (onnx_selector.c) ---- */
typedef struct sv_onnx_tokens {
    sv_onnx_value x;      /* [batch, prefix + patches + packages, width] */
    size_t patches;       /* static: that are left */
    size_t packages;      /* rows behind them; dynamic: at most */
    sv_onnx_value origin; /* behind the first selector: numbers of the patches left, [batch,k] or [k] */
    sv_onnx_value alive;  /* dynamic, behind the first selector: how many, int64 [1] */
} sv_onnx_tokens;
sv_onnx_tokens sv_onnx_select(sv_onnx_mapping *m, size_t stage, sv_onnx_tokens tokens);

/* ---- the proof (onnx_prove.c) ---- */
typedef struct sv_onnx_proof {
    const sv_deployed *d;
    const sv_pruning_plan *plan;
    sv_onnx_mode mode;
    sv_onnx_type weights;
    sv_onnx_report *report;
} sv_onnx_proof;
/* sv_onnx_check_file for a proof. */
sv_status sv_onnx_prove(void *proof, const char *file, const char *data, sv_error *err) SV_MUST_CHECK;
/* Median time of a picture in Sieve. */
sv_status sv_onnx_time(const sv_deployed *d, const sv_pruning_plan *plan, double *ms, sv_error *err) SV_MUST_CHECK;

/* ---- 16 bits (onnx_half.c) ---- */
bool sv_onnx_is_half(const sv_onnx_options *options, const sv_parameter *p); /* stored in 16 bits */
uint16_t sv_onnx_to_half(sv_onnx_type type, float value);                    /* to nearest, ties to even */
float sv_onnx_from_half(sv_onnx_type type, uint16_t bits);
/* Rounds what will be stored in 16 bits. SV_MODEL_FILE: beyond float16. */
sv_status sv_onnx_round(sv_deployed *d, const sv_onnx_options *options, sv_error *err) SV_MUST_CHECK;

/* ---- the card (onnx_card.c) ---- */
sv_status sv_onnx_card(sv_onnx_mapping *m, const char *source, double ms, sv_error *err) SV_MUST_CHECK;

#endif
