/* Ops of ONNX that say who is chosen: the best of a row, what is not zero, a list as rows of zeros and ones. */
#include "eval/onnx_op.h"

#include <stdlib.h>
#include <string.h>

typedef struct ranked {
    double value;
    int64_t index;
} ranked;

/* Of equal values the lower index comes first, as the standard says. */
static int falling(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->value < y->value || x->value > y->value) return x->value > y->value ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static sv_status rank_rows(const sv_onnx_op_call *call, size_t width, size_t k, bool largest)
{
    const sv_onnx_array *x = call->in[0];
    ranked *row = NULL;
    sv_status status = sv_alloc(&row, width * sizeof *row, "onnx values", call->err);
    for (size_t r = 0; !status && width && r < x->count / width; r++) {
        for (size_t i = 0; i < width; i++) {
            const double value = x->type == SV_ONNX_INT64 ? (double)((const int64_t *)x->data)[r * width + i]
                                                          : (double)((const float *)x->data)[r * width + i];
            row[i] = (ranked){ largest ? value : -value, (int64_t)i };
        }
        qsort(row, width, sizeof *row, falling);
        for (size_t i = 0; i < k; i++) {
            const size_t from = r * width + (size_t)row[i].index, to = r * k + i;
            if (x->type == SV_ONNX_INT64)
                ((int64_t *)call->out[0].data)[to] = ((const int64_t *)x->data)[from];
            else
                ((float *)call->out[0].data)[to] = ((const float *)x->data)[from];
            ((int64_t *)call->out[1].data)[to] = row[i].index;
        }
    }
    sv_free(row);
    return status;
}

static sv_status run_top_k(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0], *k = call->in[1];
    size_t axis = 0, dims[SV_ONNX_RANK];
    if (call->node->out_count != 2 || !sv_onnx_axis(&axis, sv_onnx_int_attribute(call, "axis", -1), x->rank) || axis + 1 != x->rank
        || k->type != SV_ONNX_INT64 || k->count != 1 || (x->type != SV_ONNX_FLOAT && x->type != SV_ONNX_INT64))
        return sv_onnx_unfit(call);
    const int64_t wanted = *(const int64_t *)k->data;
    if (wanted < 0 || (uint64_t)wanted > x->dims[axis]) return sv_onnx_unfit(call);
    memcpy(dims, x->dims, sizeof dims);
    dims[axis] = (size_t)wanted;
    sv_status status = sv_onnx_make(call, &call->out[0], x->type, x->rank, dims);
    if (!status) status = sv_onnx_make(call, &call->out[1], SV_ONNX_INT64, x->rank, dims);
    return status ? status : rank_rows(call, x->dims[axis], (size_t)wanted, sv_onnx_int_attribute(call, "largest", 1) != 0);
}

/* Of a list. */
static sv_status run_non_zero(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0];
    size_t dims[2] = { 1, 0 }, at = 0;
    if (x->rank != 1 || x->type != SV_ONNX_FLOAT) return sv_onnx_unfit(call);
    const float *from = x->data;
    for (size_t i = 0; i < x->count; i++) dims[1] += from[i] < 0 || from[i] > 0;
    sv_status status = sv_onnx_make(call, call->out, SV_ONNX_INT64, 2, dims);
    for (size_t i = 0; !status && i < x->count; i++)
        if (from[i] < 0 || from[i] > 0) ((int64_t *)call->out->data)[at++] = (int64_t)i;
    return status;
}

/* index int64 [B,r], a depth b, values [2], axis 1 -> [B,b,r]: values[1] at the index, values[0] elsewhere; an index outside is nowhere. */
static sv_status run_one_hot(const sv_onnx_op_call *call)
{
    const sv_onnx_array *index = call->in[0], *depth = call->in[1], *values = call->in[2];
    if (sv_onnx_int_attribute(call, "axis", -1) != 1 || index->type != SV_ONNX_INT64 || index->rank != 2 || depth->type != SV_ONNX_INT64
        || depth->count != 1 || values->type != SV_ONNX_FLOAT || values->count != 2 || *(const int64_t *)depth->data < 1)
        return sv_onnx_unfit(call);
    const size_t count = (size_t) * (const int64_t *)depth->data, list = index->dims[1], dims[] = { index->dims[0], count, list };
    const float *value = values->data;
    sv_status status = sv_onnx_make(call, call->out, SV_ONNX_FLOAT, 3, dims);
    for (size_t i = 0; !status && i < call->out->count; i++) ((float *)call->out->data)[i] = value[0];
    for (size_t i = 0; !status && i < index->count; i++) {
        const int64_t at = ((const int64_t *)index->data)[i];
        if (at >= 0 && (uint64_t)at < count) ((float *)call->out->data)[(i / list * count + (size_t)at) * list + i % list] = value[1];
    }
    return status;
}

const sv_onnx_op sv_onnx_choices[] = {
    { "TopK", 2, run_top_k },
    { "NonZero", 1, run_non_zero },
    { "OneHot", 3, run_one_hot },
    { NULL, 0, NULL },
};
