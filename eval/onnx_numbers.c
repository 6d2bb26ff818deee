/* Ops of ONNX that compute, in float32 as the standard defines them; sums of a row in double, since this is the side that is to be believed. */
#include "eval/onnx_op.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- one number by one ------------------------------------------------------------------------------------------- */

typedef enum pair_op { ADD, SUBTRACT, MULTIPLY, DIVIDE, LARGER, SMALLER, AT_LEAST } pair_op;

static float pair_floats(pair_op op, float a, float b)
{
    switch (op) {
    case ADD:
        return a + b;
    case SUBTRACT:
        return a - b;
    case MULTIPLY:
        return a * b;
    case DIVIDE:
        return a / b;
    case LARGER:
        return a > b ? a : b;
    default:
        return a < b ? a : b;
    }
}

/* Rows of the last axis; steps are 0 or 1 there. */
static void pair_rows(const sv_onnx_op_call *call, pair_op op, const size_t *first, const size_t *second)
{
    sv_onnx_array *out = call->out;
    const size_t rank = out->rank, inner = rank ? out->dims[rank - 1] : 1, a_step = rank ? first[rank - 1] : 0,
                 b_step = rank ? second[rank - 1] : 0;
    const void *a = call->in[0]->data, *b = call->in[1]->data;
    const bool ints = call->in[0]->type == SV_ONNX_INT64;
    size_t index[SV_ONNX_RANK] = { 0 };
    for (size_t done = 0; done < out->count; done += inner) {
        size_t i = 0, j = 0;
        for (size_t k = 0; k + 1 < rank; k++) i += index[k] * first[k], j += index[k] * second[k];
        for (size_t n = 0; n < inner; n++, i += a_step, j += b_step) {
            if (ints) {
                const int64_t x = ((const int64_t *)a)[i], y = ((const int64_t *)b)[j];
                ((int64_t *)out->data)[done + n] = (op == LARGER) == (x > y) ? x : y;
            } else if (op == AT_LEAST) {
                ((unsigned char *)out->data)[done + n] = ((const float *)a)[i] >= ((const float *)b)[j];
            } else {
                ((float *)out->data)[done + n] = pair_floats(op, ((const float *)a)[i], ((const float *)b)[j]);
            }
        }
        for (size_t k = rank ? rank - 1 : 0; k-- > 0;) {
            if (++index[k] < out->dims[k]) break;
            index[k] = 0;
        }
    }
}

static sv_status run_pair(const sv_onnx_op_call *call, pair_op op)
{
    const sv_onnx_array *a = call->in[0], *b = call->in[1];
    size_t rank = 0, dims[SV_ONNX_RANK], first[SV_ONNX_RANK], second[SV_ONNX_RANK];
    const bool ints = a->type == SV_ONNX_INT64 && (op == LARGER || op == SMALLER);
    if (a->type != b->type || !(ints || a->type == SV_ONNX_FLOAT) || !sv_onnx_broadcast(&rank, dims, a, b)) return sv_onnx_unfit(call);
    sv_status status = sv_onnx_make(call, call->out, op == AT_LEAST ? SV_ONNX_BOOL : a->type, rank, dims);
    if (status) return status;
    sv_onnx_strides(first, a, rank);
    sv_onnx_strides(second, b, rank);
    pair_rows(call, op, first, second);
    return SV_OK;
}

static sv_status run_add(const sv_onnx_op_call *call) { return run_pair(call, ADD); }
static sv_status run_sub(const sv_onnx_op_call *call) { return run_pair(call, SUBTRACT); }
static sv_status run_mul(const sv_onnx_op_call *call) { return run_pair(call, MULTIPLY); }
static sv_status run_div(const sv_onnx_op_call *call) { return run_pair(call, DIVIDE); }
static sv_status run_max(const sv_onnx_op_call *call) { return run_pair(call, LARGER); }
static sv_status run_min(const sv_onnx_op_call *call) { return run_pair(call, SMALLER); }
static sv_status run_at_least(const sv_onnx_op_call *call) { return run_pair(call, AT_LEAST); }

static sv_status run_each(const sv_onnx_op_call *call, float (*of)(float x))
{
    const sv_onnx_array *x = call->in[0];
    if (x->type != SV_ONNX_FLOAT) return sv_onnx_unfit(call);
    sv_status status = sv_onnx_make(call, call->out, x->type, x->rank, x->dims);
    for (size_t i = 0; !status && i < x->count; i++) ((float *)call->out->data)[i] = of(((const float *)x->data)[i]);
    return status;
}

static float above_zero(float x) { return x < 0 ? 0 : x; }
static float logistic(float x) { return (float)(1 / (1 + exp(-(double)x))); }

static sv_status run_erf(const sv_onnx_op_call *call) { return run_each(call, erff); }
static sv_status run_relu(const sv_onnx_op_call *call) { return run_each(call, above_zero); }
static sv_status run_sigmoid(const sv_onnx_op_call *call) { return run_each(call, logistic); }
static sv_status run_sqrt(const sv_onnx_op_call *call) { return run_each(call, sqrtf); }
static sv_status run_log(const sv_onnx_op_call *call) { return run_each(call, logf); }

static float half_to_float(uint16_t half)
{
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    const float size = exponent == 31 ? (fraction ? NAN : INFINITY)
                                      : ldexpf((float)(exponent ? fraction + 1024 : fraction), (exponent ? exponent : 1) - 25);
    return half & 0x8000 ? -size : size;
}

static float brain_to_float(uint16_t brain)
{
    const uint32_t bits = (uint32_t)brain << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float float_at(const sv_onnx_array *x, size_t i)
{
    switch (x->type) {
    case SV_ONNX_FLOAT16:
        return half_to_float(((const uint16_t *)x->data)[i]);
    case SV_ONNX_BFLOAT16:
        return brain_to_float(((const uint16_t *)x->data)[i]);
    case SV_ONNX_BOOL:
        return ((const unsigned char *)x->data)[i] ? 1 : 0;
    case SV_ONNX_INT64:
        return (float)((const int64_t *)x->data)[i];
    default:
        return ((const float *)x->data)[i];
    }
}

/* To float from any kind; to int64 from float (toward zero). */
static sv_status run_cast(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0];
    const int64_t to = sv_onnx_int_attribute(call, "to", 0);
    if (x->type == SV_ONNX_INT8 || (to != SV_ONNX_FLOAT && !(to == SV_ONNX_INT64 && x->type != SV_ONNX_INT64))) return sv_onnx_unfit(call);
    sv_status status = sv_onnx_make(call, call->out, to, x->rank, x->dims);
    for (size_t i = 0; !status && i < x->count; i++) {
        const float value = float_at(x, i);
        if (to == SV_ONNX_FLOAT)
            ((float *)call->out->data)[i] = value;
        else if (!(fabsf(value) < 1e9F))
            return sv_onnx_unfit(call);
        else
            ((int64_t *)call->out->data)[i] = (int64_t)value;
    }
    return status;
}

/* int8 without a zero point, a scale for each index of an axis. */
static sv_status run_dequantize(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0], *scale = call->in[1];
    size_t axis = 0, inner = 1;
    if (x->type != SV_ONNX_INT8 || scale->type != SV_ONNX_FLOAT || call->node->in_count > 2
        || !sv_onnx_axis(&axis, sv_onnx_int_attribute(call, "axis", 1), x->rank) || scale->count != x->dims[axis])
        return sv_onnx_unfit(call);
    for (size_t i = axis + 1; i < x->rank; i++) inner *= x->dims[i];
    sv_status status = sv_onnx_make(call, call->out, SV_ONNX_FLOAT, x->rank, x->dims);
    for (size_t i = 0; !status && i < x->count; i++)
        ((float *)call->out->data)[i] = (float)((const int8_t *)x->data)[i] * ((const float *)scale->data)[i / inner % x->dims[axis]];
    return status;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

/* Rows along the last axis, which the attribute must name. */
static bool last_axis(const sv_onnx_op_call *call, size_t *width)
{
    const sv_onnx_array *x = call->in[0];
    size_t axis = 0;
    if (x->type != SV_ONNX_FLOAT || !sv_onnx_axis(&axis, sv_onnx_int_attribute(call, "axis", -1), x->rank) || axis + 1 != x->rank)
        return false;
    *width = x->dims[axis];
    return true;
}

static sv_status run_softmax(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0];
    size_t width = 0;
    if (!last_axis(call, &width)) return sv_onnx_unfit(call);
    sv_status status = sv_onnx_make(call, call->out, x->type, x->rank, x->dims);
    for (size_t row = 0; !status && row < x->count; row += width) {
        const float *from = (const float *)x->data + row;
        float *to = (float *)call->out->data + row, top = from[0];
        double sum = 0;
        for (size_t i = 1; i < width; i++) top = from[i] > top ? from[i] : top;
        for (size_t i = 0; i < width; i++) sum += (double)(to[i] = expf(from[i] - top));
        for (size_t i = 0; i < width; i++) to[i] = (float)((double)to[i] / sum);
    }
    return status;
}

static sv_status run_layer_norm(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0], *gain = call->in[1], *bias = call->in[2];
    const sv_onnx_read_attribute *eps = sv_onnx_attribute_of(call->node, "epsilon");
    size_t width = 0;
    if (!last_axis(call, &width) || !eps || !eps->has_f || gain->count != width || bias->count != width || gain->type != SV_ONNX_FLOAT
        || bias->type != SV_ONNX_FLOAT)
        return sv_onnx_unfit(call);
    sv_status status = sv_onnx_make(call, call->out, x->type, x->rank, x->dims);
    for (size_t row = 0; !status && row < x->count; row += width) {
        const float *from = (const float *)x->data + row;
        double mean = 0, square = 0;
        for (size_t i = 0; i < width; i++) mean += (double)from[i];
        mean /= (double)width;
        for (size_t i = 0; i < width; i++) square += ((double)from[i] - mean) * ((double)from[i] - mean);
        const double factor = 1 / sqrt(square / (double)width + (double)eps->f);
        for (size_t i = 0; i < width; i++)
            ((float *)call->out->data)[row + i] =
                (float)(((double)from[i] - mean) * factor) * ((const float *)gain->data)[i] + ((const float *)bias->data)[i];
    }
    return status;
}

typedef enum reduction { SUM, MEAN, LARGEST } reduction;

static float reduce(reduction how, const float *from, size_t count, size_t step)
{
    double sum = 0;
    float largest = from[0];
    for (size_t k = 0; k < count; k++) {
        sum += (double)from[k * step];
        largest = from[k * step] > largest ? from[k * step] : largest;
    }
    return how == LARGEST ? largest : (float)(how == MEAN ? sum / (double)count : sum);
}

/* One axis: of the attribute axes (ReduceMean, ReduceMax) or the second input (ReduceSum, as of opset 13). */
static sv_status run_reduce(const sv_onnx_op_call *call, reduction how)
{
    const sv_onnx_array *x = call->in[0], *axes = call->in[1];
    const sv_onnx_read_attribute *named = sv_onnx_attribute_of(call->node, "axes");
    const bool given = how != SUM ? named && named->int_count == 1 : axes && axes->type == SV_ONNX_INT64 && axes->count == 1,
               keep = sv_onnx_int_attribute(call, "keepdims", 1) != 0;
    size_t axis = 0, dims[SV_ONNX_RANK], rank = 0, inner = 1;
    if (!given || x->type != SV_ONNX_FLOAT || !sv_onnx_axis(&axis, how != SUM ? named->ints[0] : *(const int64_t *)axes->data, x->rank)
        || !x->dims[axis])
        return sv_onnx_unfit(call);
    for (size_t i = 0; i < x->rank; i++)
        if (i != axis || keep) dims[rank++] = i == axis ? 1 : x->dims[i];
    for (size_t i = axis + 1; i < x->rank; i++) inner *= x->dims[i];
    sv_status status = sv_onnx_make(call, call->out, x->type, rank, dims);
    for (size_t i = 0; !status && i < call->out->count; i++) {
        const float *from = (const float *)x->data + i / inner * x->dims[axis] * inner + i % inner;
        ((float *)call->out->data)[i] = reduce(how, from, x->dims[axis], inner);
    }
    return status;
}

static sv_status run_reduce_mean(const sv_onnx_op_call *call) { return run_reduce(call, MEAN); }
static sv_status run_reduce_sum(const sv_onnx_op_call *call) { return run_reduce(call, SUM); }
static sv_status run_reduce_max(const sv_onnx_op_call *call) { return run_reduce(call, LARGEST); }

/* ---- products ---------------------------------------------------------------------------------------------------- */

/* c [rows, width] += a [rows, depth] b [depth, width]; c is zero before. */
static void product(float *c, const float *a, const float *b, size_t rows, size_t depth, size_t width)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < depth; k++) {
            const float factor = a[i * depth + k];
            for (size_t j = 0; j < width; j++) c[i * width + j] += factor * b[k * width + j];
        }
}

/* Leading axes of both are equal, or b has none. */
static sv_status run_mat_mul(const sv_onnx_op_call *call)
{
    const sv_onnx_array *a = call->in[0], *b = call->in[1];
    size_t dims[SV_ONNX_RANK], batches = 1;
    if (a->rank < 2 || b->rank < 2 || a->type != SV_ONNX_FLOAT || b->type != SV_ONNX_FLOAT || a->dims[a->rank - 1] != b->dims[b->rank - 2]
        || (b->rank != 2 && b->rank != a->rank))
        return sv_onnx_unfit(call);
    memcpy(dims, a->dims, sizeof dims);
    for (size_t i = 0; i + 2 < a->rank; i++) {
        if (b->rank > 2 && a->dims[i] != b->dims[i]) return sv_onnx_unfit(call);
        batches *= a->dims[i];
    }
    const size_t rows = a->dims[a->rank - 2], depth = a->dims[a->rank - 1], width = dims[a->rank - 1] = b->dims[b->rank - 1];
    sv_status status = sv_onnx_make(call, call->out, SV_ONNX_FLOAT, a->rank, dims);
    if (status) return status;
    memset(call->out->data, 0, call->out->count * sizeof(float));
    for (size_t i = 0; i < batches; i++)
        product((float *)call->out->data + i * rows * width, (const float *)a->data + i * rows * depth,
                (const float *)b->data + (b->rank > 2 ? i * depth * width : 0), rows, depth, width);
    return SV_OK;
}

const sv_onnx_op sv_onnx_numbers[] = {
    { "Add", 2, run_add },
    { "Sub", 2, run_sub },
    { "Mul", 2, run_mul },
    { "Div", 2, run_div },
    { "Max", 2, run_max },
    { "Min", 2, run_min },
    { "GreaterOrEqual", 2, run_at_least },
    { "Erf", 1, run_erf },
    { "Relu", 1, run_relu },
    { "Sigmoid", 1, run_sigmoid },
    { "Sqrt", 1, run_sqrt },
    { "Log", 1, run_log },
    { "Cast", 1, run_cast },
    { "DequantizeLinear", 2, run_dequantize },
    { "Softmax", 1, run_softmax },
    { "LayerNormalization", 3, run_layer_norm },
    { "ReduceMean", 1, run_reduce_mean },
    { "ReduceMax", 1, run_reduce_max },
    { "ReduceSum", 2, run_reduce_sum },
    { "MatMul", 2, run_mat_mul },
    { NULL, 0, NULL },
};
