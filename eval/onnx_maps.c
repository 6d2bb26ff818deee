/* Ops of ONNX over maps [batch, channels, height, width]: convolution as the standard defines it, in groups, with strides and zeros around;
 * batch norm by stored statistics. Sums in double. */
#include "eval/onnx_op.h"

#include <math.h>
#include <string.h>

typedef struct convolution {
    size_t groups, in, out;                           /* in, out: channels of a group */
    size_t side_y, side_x, step_y, step_x, top, left; /* of the kernel, strides, zeros above and to the left */
    size_t height, width, rows, columns;              /* of a plane of x, and of the result */
    const float *x, *weight, *bias;                   /* bias NULL: none */
} convolution;

/* Attribute of `count` numbers from 0 on, each below 2^20; `otherwise` where it is not there. */
static bool list_of(const sv_onnx_op_call *call, const char *name, size_t count, size_t otherwise, size_t *out)
{
    const sv_onnx_read_attribute *a = sv_onnx_attribute_of(call->node, name);
    for (size_t i = 0; i < count; i++) {
        if (a && (a->int_count != count || a->ints[i] < 0 || a->ints[i] >= 1 << 20)) return false;
        out[i] = a ? (size_t)a->ints[i] : otherwise;
    }
    return true;
}

static bool places_of(size_t *out, size_t size, size_t around, size_t kernel, size_t step)
{
    if (!step || !kernel || size >= SIZE_MAX / 4 || size + around < kernel) return false;
    *out = (size + around - kernel) / step + 1;
    return true;
}

static bool read_convolution(const sv_onnx_op_call *call, convolution *c)
{
    const sv_onnx_array *x = call->in[0], *w = call->in[1], *bias = call->in[2];
    const int64_t groups = sv_onnx_int_attribute(call, "group", 1);
    size_t steps[2], pads[4], dilations[2];
    if (x->rank != 4 || w->rank != 4 || x->type != SV_ONNX_FLOAT || w->type != SV_ONNX_FLOAT
        || (bias && (bias->type != SV_ONNX_FLOAT || bias->count != w->dims[0])))
        return false;
    if (!list_of(call, "strides", 2, 1, steps) || !list_of(call, "pads", 4, 0, pads) || !list_of(call, "dilations", 2, 1, dilations)
        || dilations[0] != 1 || dilations[1] != 1 || sv_onnx_attribute_of(call->node, "auto_pad"))
        return false;
    if (groups < 1 || w->dims[0] % (size_t)groups || x->dims[1] % (size_t)groups || w->dims[1] != x->dims[1] / (size_t)groups) return false;
    *c = (convolution){ .groups = (size_t)groups,
                        .in = w->dims[1],
                        .out = w->dims[0] / (size_t)groups,
                        .side_y = w->dims[2],
                        .side_x = w->dims[3],
                        .step_y = steps[0],
                        .step_x = steps[1],
                        .top = pads[0],
                        .left = pads[1],
                        .height = x->dims[2],
                        .width = x->dims[3],
                        .x = x->data,
                        .weight = w->data,
                        .bias = bias ? bias->data : NULL };
    return places_of(&c->rows, c->height, pads[0] + pads[2], c->side_y, c->step_y)
           && places_of(&c->columns, c->width, pads[1] + pads[3], c->side_x, c->step_x);
}

/* sum[column] += factor * line[column * step + offset - left], where that is inside. */
static void add_line(const convolution *c, double *restrict sum, const float *line, double factor, size_t offset)
{
    for (size_t column = 0; column < c->columns; column++) {
        const size_t at = column * c->step_x + offset;
        if (at >= c->left && at - c->left < c->width) sum[column] += factor * (double)line[at - c->left];
    }
}

/* A row of the result of output channel `output` of `image` [channels, height, width]. */
static void convolve_row(const convolution *c, const float *image, size_t output, size_t row, double *sum, float *out)
{
    const size_t first = output / c->out * c->in;
    for (size_t i = 0; i < c->columns; i++) sum[i] = c->bias ? (double)c->bias[output] : 0;
    for (size_t channel = 0; channel < c->in; channel++)
        for (size_t y = 0; y < c->side_y; y++) {
            const size_t at = row * c->step_y + y;
            if (at < c->top || at - c->top >= c->height) continue;
            const float *line = image + ((first + channel) * c->height + at - c->top) * c->width,
                        *weight = c->weight + ((output * c->in + channel) * c->side_y + y) * c->side_x;
            for (size_t x = 0; x < c->side_x; x++) add_line(c, sum, line, (double)weight[x], x);
        }
    for (size_t i = 0; i < c->columns; i++) out[i] = (float)sum[i];
}

static sv_status run_conv(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0];
    convolution c = { 0 };
    double *sum = NULL;
    size_t bytes = 0;
    if (!read_convolution(call, &c) || sv_mul_size(&bytes, c.columns, sizeof *sum)) return sv_onnx_unfit(call);
    const size_t outputs = c.groups * c.out, image = x->dims[1] * c.height * c.width;
    sv_status status = sv_onnx_make(call, call->out, SV_ONNX_FLOAT, 4, (size_t[]){ x->dims[0], outputs, c.rows, c.columns });
    if (!status) status = sv_alloc(&sum, bytes, "onnx values", call->err);
    for (size_t b = 0; !status && b < x->dims[0]; b++)
        for (size_t i = 0; i < outputs * c.rows; i++)
            convolve_row(&c, c.x + b * image, i / c.rows, i % c.rows, sum,
                         (float *)call->out->data + (b * outputs * c.rows + i) * c.columns);
    sv_free(sum);
    return status;
}

/* Inputs x, gain, bias, mean, variance; at evaluation. */
static sv_status run_batch_norm(const sv_onnx_op_call *call)
{
    const sv_onnx_array *x = call->in[0];
    const sv_onnx_read_attribute *eps = sv_onnx_attribute_of(call->node, "epsilon");
    if (x->rank < 2 || x->type != SV_ONNX_FLOAT || !eps || !eps->has_f || sv_onnx_int_attribute(call, "training_mode", 0)
        || call->node->out_count != 1)
        return sv_onnx_unfit(call);
    for (size_t i = 1; i < 5; i++)
        if (call->in[i]->type != SV_ONNX_FLOAT || call->in[i]->count != x->dims[1]) return sv_onnx_unfit(call);
    sv_status status = sv_onnx_make(call, call->out, x->type, x->rank, x->dims);
    const size_t plane = x->count && x->dims[0] ? x->count / x->dims[0] / x->dims[1] : 1;
    for (size_t i = 0; !status && i < x->count; i++) {
        const size_t c = i / plane % x->dims[1];
        const double centred = (double)((const float *)x->data)[i] - (double)((const float *)call->in[3]->data)[c],
                     factor = (double)((const float *)call->in[1]->data)[c]
                              / sqrt((double)((const float *)call->in[4]->data)[c] + (double)eps->f);
        ((float *)call->out->data)[i] = (float)(centred * factor + (double)((const float *)call->in[2]->data)[c]);
    }
    return status;
}

const sv_onnx_op sv_onnx_maps[] = {
    { "Conv", 2, run_conv },
    { "BatchNormalization", 5, run_batch_norm },
    { NULL, 0, NULL },
};
