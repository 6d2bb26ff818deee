/* Ops of ONNX that move numbers and do not change them. Most are one strided copy: for each place of the result, where in the input it stands. */
#include "eval/onnx_op.h"

#include <string.h>

/* out[i0,i1..] = in[first + i0 step0 + i1 step1 ..]; steps in elements, below 0 for none here. */
static void copy_strided(sv_onnx_array *out, const sv_onnx_array *in, size_t first, const size_t *steps)
{
    const size_t width = sv_onnx_type_bytes(out->type);
    const size_t inner = out->rank ? out->dims[out->rank - 1] : 1, step = out->rank ? steps[out->rank - 1] : 0;
    const unsigned char *from = in->data;
    unsigned char *to = out->data;
    size_t index[SV_ONNX_RANK] = { 0 };
    for (size_t done = 0; done < out->count; done += inner) {
        size_t at = first;
        for (size_t k = 0; k + 1 < out->rank; k++) at += index[k] * steps[k];
        if (step == 1)
            memcpy(to + done * width, from + at * width, inner * width);
        else
            for (size_t i = 0; i < inner; i++) memcpy(to + (done + i) * width, from + (at + i * step) * width, width);
        for (size_t k = out->rank - 1; k-- > 0;) {
            if (++index[k] < out->dims[k]) break;
            index[k] = 0;
        }
    }
}

/* The same numbers under another shape. */
static sv_status copy_as(const sv_onnx_op_call *call, size_t rank, const size_t *dims)
{
    const sv_onnx_array *x = call->in[0];
    sv_status status = sv_onnx_make(call, call->out, x->type, rank, dims);
    if (status) return status;
    if (call->out->count != x->count) return sv_onnx_unfit(call);
    if (x->count) memcpy(call->out->data, x->data, x->count * sv_onnx_type_bytes(x->type));
    return SV_OK;
}

static bool ints_of(const sv_onnx_array *x, const int64_t **out)
{
    *out = x && x->type == SV_ONNX_INT64 && x->rank <= 1 ? x->data : NULL;
    return *out != NULL;
}

static sv_status run_identity(const sv_onnx_op_call *call) { return copy_as(call, call->in[0]->rank, call->in[0]->dims); }

/* 0 in the wanted shape: the input's size; -1: what is left. */
static sv_status run_reshape(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0], *shape = call->in[1];
    const int64_t *wanted = NULL;
    size_t dims[SV_ONNX_RANK], known = 1, open = SIZE_MAX;
    if (!ints_of(shape, &wanted) || shape->count > SV_ONNX_RANK) return sv_onnx_unfit(call);
    for (size_t i = 0; i < shape->count; i++) {
        if (wanted[i] < -1 || (wanted[i] == 0 && i >= x->rank) || (wanted[i] == -1 && open != SIZE_MAX)) return sv_onnx_unfit(call);
        if (wanted[i] == -1) {
            open = i;
            continue;
        }
        dims[i] = wanted[i] ? (size_t)wanted[i] : x->dims[i];
        if (sv_mul_size(&known, known, dims[i])) return sv_onnx_unfit(call);
    }
    if (open != SIZE_MAX) {
        if (!known || x->count % known) return sv_onnx_unfit(call);
        dims[open] = x->count / known;
    }
    return copy_as(call, shape->count, dims);
}

static sv_status run_transpose(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0];
    const sv_onnx_read_attribute *perm = sv_onnx_attribute_of(call->node, "perm");
    size_t dims[SV_ONNX_RANK], steps[SV_ONNX_RANK], own[SV_ONNX_RANK];
    if (!perm || perm->int_count != x->rank || !x->rank) return sv_onnx_unfit(call);
    sv_onnx_strides(own, x, x->rank);
    for (size_t i = 0; i < x->rank; i++) {
        if (perm->ints[i] < 0 || perm->ints[i] >= (int64_t)x->rank) return sv_onnx_unfit(call);
        dims[i] = x->dims[perm->ints[i]];
        steps[i] = own[perm->ints[i]];
    }
    sv_status status = sv_onnx_make(call, call->out, x->type, x->rank, dims);
    if (!status && call->out->count != x->count) status = sv_onnx_unfit(call);
    if (!status) copy_strided(call->out, x, 0, steps);
    return status;
}

static sv_status run_expand(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0], *shape = call->in[1];
    const int64_t *wanted = NULL;
    sv_onnx_array target = { 0 };
    size_t rank = 0, dims[SV_ONNX_RANK], steps[SV_ONNX_RANK];
    if (!ints_of(shape, &wanted) || shape->count > SV_ONNX_RANK) return sv_onnx_unfit(call);
    target.rank = shape->count;
    for (size_t i = 0; i < shape->count; i++) {
        if (wanted[i] < 0) return sv_onnx_unfit(call);
        target.dims[i] = (size_t)wanted[i];
    }
    if (!sv_onnx_broadcast(&rank, dims, x, &target) || !rank) return sv_onnx_unfit(call);
    sv_status status = sv_onnx_make(call, call->out, x->type, rank, dims);
    if (status) return status;
    sv_onnx_strides(steps, x, rank);
    copy_strided(call->out, x, 0, steps);
    return SV_OK;
}

/* Bytes that lie behind one index of axis `axis`, and how many such runs stand before it. */
static size_t inner_of(const sv_onnx_array *x, size_t axis)
{
    size_t inner = sv_onnx_type_bytes(x->type);
    for (size_t i = axis + 1; i < x->rank; i++) inner *= x->dims[i];
    return inner;
}
static size_t outer_of(const sv_onnx_array *x, size_t axis)
{
    size_t outer = 1;
    for (size_t i = 0; i < axis; i++) outer *= x->dims[i];
    return outer;
}

/* Takes `size` indices of an axis, every `step` from `begin` on. */
static sv_status take_steps(const sv_onnx_op_call *call, sv_onnx_array *out, size_t axis, size_t begin, size_t step, size_t size)
{
    const sv_onnx_array *x = call->in[0];
    const size_t inner = inner_of(x, axis), outer = outer_of(x, axis);
    size_t dims[SV_ONNX_RANK];
    memcpy(dims, x->dims, sizeof dims);
    dims[axis] = size;
    sv_status status = sv_onnx_make(call, out, x->type, x->rank, dims);
    const size_t runs = step == 1 ? 1 : size, run = step == 1 ? size * inner : inner;
    for (size_t i = 0; !status && size && i < outer; i++)
        for (size_t k = 0; k < runs; k++)
            memcpy((char *)out->data + i * size * inner + k * run, (const char *)x->data + (i * x->dims[axis] + begin + k * step) * inner,
                   run);
    return status;
}

static sv_status take_part(const sv_onnx_op_call *call, sv_onnx_array *out, size_t axis, size_t begin, size_t size)
{
    return take_steps(call, out, axis, begin, 1, size);
}

/* Equal parts, as many as there are outputs. */
static sv_status run_split(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0];
    const size_t parts = call->node->out_count;
    size_t axis = 0;
    sv_status status = SV_OK;
    if (!sv_onnx_axis(&axis, sv_onnx_int_attribute(call, "axis", 0), x->rank) || x->dims[axis] % parts || call->node->in_count > 1)
        return sv_onnx_unfit(call);
    for (size_t i = 0; !status && i < parts; i++)
        status = take_part(call, &call->out[i], axis, i * (x->dims[axis] / parts), x->dims[axis] / parts);
    return status;
}

static size_t clamp_index(int64_t index, size_t size)
{
    if (index < 0) index += (int64_t)size;
    return index < 0 ? 0 : (uint64_t)index > size ? size : (size_t)index;
}

/* One axis, forwards. */
static sv_status run_slice(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0];
    const int64_t *start = NULL, *end = NULL, *axes = NULL, *steps = NULL, one = 1;
    const bool stepped = call->node->in_count == 5;
    size_t axis = 0;
    if ((call->node->in_count != 4 && !stepped) || !ints_of(call->in[1], &start) || !ints_of(call->in[2], &end)
        || !ints_of(call->in[3], &axes))
        return sv_onnx_unfit(call);
    if (stepped && (!ints_of(call->in[4], &steps) || call->in[4]->count != 1 || steps[0] < 1)) return sv_onnx_unfit(call);
    if (!stepped) steps = &one;
    if (call->in[1]->count != 1 || call->in[2]->count != 1 || call->in[3]->count != 1 || !sv_onnx_axis(&axis, axes[0], x->rank))
        return sv_onnx_unfit(call);
    const size_t from = clamp_index(start[0], x->dims[axis]), to = clamp_index(end[0], x->dims[axis]);
    return take_steps(call, call->out, axis, from, (size_t)steps[0], to > from ? (to - from - 1) / (size_t)steps[0] + 1 : 0);
}

static bool concat_fits(const sv_onnx_array *a, const sv_onnx_array *b, size_t axis)
{
    bool fits = a->type == b->type && a->rank == b->rank;
    for (size_t i = 0; fits && i < a->rank; i++) fits = i == axis || a->dims[i] == b->dims[i];
    return fits;
}

static sv_status run_concat(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0];
    size_t axis = 0, dims[SV_ONNX_RANK], at = 0;
    if (!sv_onnx_axis(&axis, sv_onnx_int_attribute(call, "axis", 0), x->rank)) return sv_onnx_unfit(call);
    memcpy(dims, x->dims, sizeof dims);
    for (size_t i = 1; i < call->node->in_count; i++) {
        if (!call->in[i] || !concat_fits(x, call->in[i], axis) || sv_add_size(&dims[axis], dims[axis], call->in[i]->dims[axis]))
            return sv_onnx_unfit(call);
    }
    sv_status status = sv_onnx_make(call, call->out, x->type, x->rank, dims);
    const size_t inner = inner_of(x, axis), outer = outer_of(x, axis), row = dims[axis] * inner;
    for (size_t i = 0; !status && i < call->node->in_count; i++) {
        const size_t own = call->in[i]->dims[axis] * inner;
        for (size_t k = 0; own && k < outer; k++)
            memcpy((char *)call->out->data + k * row + at, (const char *)call->in[i]->data + k * own, own);
        at += own;
    }
    return status;
}

/* axes as the second input; the numbers stay. */
static sv_status run_squeeze(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0];
    const int64_t *axes = NULL;
    size_t axis = 0, dims[SV_ONNX_RANK], rank = 0;
    if (!ints_of(call->in[1], &axes) || call->in[1]->count != 1 || !sv_onnx_axis(&axis, axes[0], x->rank) || x->dims[axis] != 1)
        return sv_onnx_unfit(call);
    for (size_t i = 0; i < x->rank; i++)
        if (i != axis) dims[rank++] = x->dims[i];
    return copy_as(call, rank, dims);
}

static sv_status run_unsqueeze(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0];
    const int64_t *axes = NULL;
    size_t axis = 0, dims[SV_ONNX_RANK];
    if (x->rank == SV_ONNX_RANK || !ints_of(call->in[1], &axes) || call->in[1]->count != 1 || !sv_onnx_axis(&axis, axes[0], x->rank + 1))
        return sv_onnx_unfit(call);
    for (size_t i = 0; i <= x->rank; i++) dims[i] = i == axis ? 1 : x->dims[i - (i > axis)];
    return copy_as(call, x->rank + 1, dims);
}

static sv_status run_shape(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0];
    const size_t begin = clamp_index(sv_onnx_int_attribute(call, "start", 0), x->rank);
    const size_t end = clamp_index(sv_onnx_int_attribute(call, "end", (int64_t)x->rank), x->rank), count = end > begin ? end - begin : 0;
    sv_status status = sv_onnx_make(call, call->out, SV_ONNX_INT64, 1, &count);
    for (size_t i = 0; !status && i < count; i++) ((int64_t *)call->out->data)[i] = (int64_t)x->dims[begin + i];
    return status;
}

static sv_status run_constant_of_shape(const sv_onnx_op_call *call)
{
    const sv_onnx_read_attribute *value = sv_onnx_attribute_of(call->node, "value");
    const int64_t *wanted = NULL;
    size_t dims[SV_ONNX_RANK];
    if (!ints_of(call->in[0], &wanted) || call->in[0]->count > SV_ONNX_RANK) return sv_onnx_unfit(call);
    if (!value || !value->has_tensor || value->tensor.type != SV_ONNX_FLOAT || value->tensor.count != 1) return sv_onnx_unfit(call);
    for (size_t i = 0; i < call->in[0]->count; i++) {
        if (wanted[i] < 0) return sv_onnx_unfit(call);
        dims[i] = (size_t)wanted[i];
    }
    sv_status status = sv_onnx_make(call, call->out, SV_ONNX_FLOAT, call->in[0]->count, dims);
    for (size_t i = 0; !status && i < call->out->count; i++) memcpy((float *)call->out->data + i, value->tensor.data, sizeof(float));
    return status;
}

/* ---- by index ---------------------------------------------------------------------------------------------------- */

static bool place_of(size_t *out, int64_t index, size_t size)
{
    if (index < 0) index += (int64_t)size;
    if (index < 0 || (uint64_t)index >= size) return false;
    *out = (size_t)index;
    return true;
}

/* An index for the whole axis, scalar or a list. */
static sv_status run_gather(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0], *index = call->in[1];
    const int64_t *wanted = NULL;
    size_t axis = 0, dims[SV_ONNX_RANK], rank = 0;
    if (!ints_of(index, &wanted) || !sv_onnx_axis(&axis, sv_onnx_int_attribute(call, "axis", 0), x->rank)) return sv_onnx_unfit(call);
    for (size_t i = 0; i < x->rank; i++) {
        if (i != axis)
            dims[rank++] = x->dims[i];
        else if (index->rank)
            dims[rank++] = index->count;
    }
    sv_status status = sv_onnx_make(call, call->out, x->type, rank, dims);
    const size_t inner = inner_of(x, axis), outer = outer_of(x, axis);
    for (size_t i = 0; !status && i < outer; i++)
        for (size_t k = 0; !status && k < index->count; k++) {
            size_t at = 0;
            if (!place_of(&at, wanted[k], x->dims[axis]))
                status = sv_onnx_unfit(call);
            else
                memcpy((char *)call->out->data + (i * index->count + k) * inner, (const char *)x->data + (i * x->dims[axis] + at) * inner,
                       inner);
        }
    return status;
}

/* x [B,n,...], index [B,k,1], batch_dims 1: rows of each picture by its own list. */
static sv_status run_gather_nd(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0], *index = call->in[1];
    size_t dims[SV_ONNX_RANK];
    if (sv_onnx_int_attribute(call, "batch_dims", 0) != 1 || index->type != SV_ONNX_INT64 || index->rank != 3 || index->dims[2] != 1
        || x->rank < 2 || x->dims[0] != index->dims[0])
        return sv_onnx_unfit(call);
    memcpy(dims, x->dims, sizeof dims);
    dims[1] = index->dims[1];
    sv_status status = sv_onnx_make(call, call->out, x->type, x->rank, dims);
    const size_t inner = inner_of(x, 1);
    for (size_t i = 0; !status && i < index->count; i++) {
        size_t at = 0;
        if (!place_of(&at, ((const int64_t *)index->data)[i], x->dims[1]))
            status = sv_onnx_unfit(call);
        else
            memcpy((char *)call->out->data + i * inner, (const char *)x->data + (i / dims[1] * x->dims[1] + at) * inner, inner);
    }
    return status;
}

static bool pairs_fit(const sv_onnx_op_call *call, const sv_onnx_array *x, const sv_onnx_array *index)
{
    return sv_onnx_int_attribute(call, "axis", 0) == 1 && x->rank == 2 && index->rank == 2 && index->type == SV_ONNX_INT64
           && x->dims[0] == index->dims[0];
}

/* x [B,n], index [B,k], axis 1. */
static sv_status run_gather_elements(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0], *index = call->in[1];
    const size_t width = sv_onnx_type_bytes(x->type);
    if (!pairs_fit(call, x, index)) return sv_onnx_unfit(call);
    sv_status status = sv_onnx_make(call, call->out, x->type, 2, index->dims);
    for (size_t i = 0; !status && i < index->count; i++) {
        size_t at = 0;
        if (!place_of(&at, ((const int64_t *)index->data)[i], x->dims[1]))
            status = sv_onnx_unfit(call);
        else
            memcpy((char *)call->out->data + i * width, (const char *)x->data + (i / index->dims[1] * x->dims[1] + at) * width, width);
    }
    return status;
}

static sv_status run_scatter_elements(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0], *index = call->in[1], *put = call->in[2];
    const size_t width = sv_onnx_type_bytes(x->type);
    if (!pairs_fit(call, x, index) || put->type != x->type || put->count != index->count) return sv_onnx_unfit(call);
    sv_status status = copy_as(call, x->rank, x->dims);
    for (size_t i = 0; !status && i < index->count; i++) {
        size_t at = 0;
        if (!place_of(&at, ((const int64_t *)index->data)[i], x->dims[1]))
            status = sv_onnx_unfit(call);
        else
            memcpy((char *)call->out->data + (i / index->dims[1] * x->dims[1] + at) * width, (const char *)put->data + i * width, width);
    }
    return status;
}

const sv_onnx_op sv_onnx_moves[] = {
    { "Identity", 1, run_identity },
    { "Reshape", 2, run_reshape },
    { "Transpose", 1, run_transpose },
    { "Expand", 2, run_expand },
    { "Split", 1, run_split },
    { "Slice", 4, run_slice },
    { "Concat", 1, run_concat },
    { "Squeeze", 2, run_squeeze },
    { "Unsqueeze", 2, run_unsqueeze },
    { "Shape", 1, run_shape },
    { "ConstantOfShape", 1, run_constant_of_shape },
    { "Gather", 2, run_gather },
    { "GatherND", 2, run_gather_nd },
    { "GatherElements", 2, run_gather_elements },
    { "ScatterElements", 3, run_scatter_elements },
    { NULL, 0, NULL },
};
