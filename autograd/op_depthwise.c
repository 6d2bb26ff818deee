/* Convolution of each channel with its own windows, over rows that are the places of a picture (op_grid.h): kernels/depthwise.c.
 * Channel o of the result reads channel o / times of x alone. The weight is turned to [tap][o], so that kernels run over channels, which
 * are neighbours. Backward: dx is the same convolution of dy with the taps in falling order; where windows step by more than a place, dy
 * is spread out with zeros between first. */
#include "autograd/op_grid.h"
#include "kernels/kernels.h"

#include <string.h>

typedef struct depthwise {
    sv_grid grid;
    size_t channels, outs, times, taps;
    size_t places;             /* of x */
    size_t tall, wide;         /* dy spread out */
} depthwise;

static depthwise depthwise_of(const sv_node *node)
{
    const size_t *shape = node->in[1]->parameter->shape, channels = node->in[0]->width;
    depthwise v = { sv_grid_accepted(&node->attributes, shape[3]), channels, shape[0], shape[0] / channels, shape[3] * shape[3], 0, 0, 0 };
    v.places = v.grid.height * v.grid.width;
    v.tall = (v.grid.down - 1) * v.grid.stride + 1;
    v.wide = (v.grid.across - 1) * v.grid.stride + 1;
    return v;
}

/* Scratch in order: the weight turned, its gradient turned, taps in falling order; x (or dx) with a column an output where that is not
 * the same; dy spread out where it must be. */
typedef struct rooms {
    sv_real *turned, *d_turned, *falling, *widened, *spread;
} rooms;

static rooms rooms_in(const depthwise *v, void *scratch)
{
    const size_t weight = v->taps * v->outs;
    sv_real *room = scratch;
    return (rooms){ room, room + weight, room + 2 * weight, room + 3 * weight,
                    room + 3 * weight + (v->times > 1 ? v->places * v->outs : 0) };
}

static size_t depthwise_scratch(const sv_node *node)
{
    const depthwise v = depthwise_of(node);
    const size_t widened = v.times > 1 ? v.places * v.outs : 0, spread = v.grid.stride > 1 ? v.tall * v.wide * v.outs : 0;
    return (3 * v.taps * v.outs + widened + spread) * sizeof(sv_real);
}

static sv_status depthwise_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *x = node->in[0];
    sv_grid grid;
    node->attributes.i[4] = x ? (int64_t)x->width : 1;
    sv_status status = sv_want_windows(node, err);
    if (!status) status = sv_grid_of(&grid, &node->attributes, node->in[1]->parameter->shape[3], err);
    if (!status) status = sv_want_grid_rows(x, (size_t)node->attributes.i[0], (size_t)node->attributes.i[1], err);
    if (!status && node->in[1]->parameter->shape[1] != 1)
        status = sv_fail(err, SV_USAGE, "weight must have one channel a group, but has %zu", node->in[1]->parameter->shape[1]);
    if (!status) sv_make_image(node->out[0], sv_rows_fixed(grid.down * grid.across), node->in[1]->parameter->shape[0]);
    return status;
}

/* out [columns, count] = in [count, columns]^T. */
static void turn(sv_real *out, const sv_real *in, size_t count, size_t columns)
{
    const sv_real *rows[16];
    for (size_t r = 0; r < count; r += SV_COUNT(rows)) {
        const size_t some = count - r < SV_COUNT(rows) ? count - r : SV_COUNT(rows);
        for (size_t i = 0; i < some; i++) rows[i] = in + (r + i) * columns;
        sv_turn_rows(out + r, count, rows, some, columns);
    }
}

/* x with a column an output. */
static const sv_real *widened(const depthwise *v, sv_real *room, const sv_real *x)
{
    if (v->times == 1) return x;
    for (size_t i = 0; i < v->places * v->channels; i++)
        for (size_t k = 0; k < v->times; k++) room[i * v->times + k] = x[i];
    return room;
}

static sv_depthwise kernel_of(const depthwise *v, const sv_real *x)
{
    return (sv_depthwise){ .height = v->grid.height,
                           .width = v->grid.width,
                           .down = v->grid.down,
                           .across = v->grid.across,
                           .channels = v->outs,
                           .side = v->grid.side,
                           .stride = v->grid.stride,
                           .padding = (ptrdiff_t)v->grid.padding,
                           .x = x };
}

static void depthwise_forward(const sv_call *call)
{
    const depthwise v = depthwise_of(call->node);
    const rooms room = rooms_in(&v, call->scratch);
    sv_depthwise kernel = kernel_of(&v, widened(&v, room.widened, call->in[0].data));
    turn(room.turned, call->in[1].data, v.outs, v.taps);
    kernel.weight = room.turned;
    kernel.bias = call->in[2].present ? call->in[2].data : NULL;
    kernel.y = call->out[0].data;
    sv_depthwise_forward(&kernel, call->row_begin, call->row_end);
}

static const sv_real *spread(const depthwise *v, sv_real *room, const sv_real *dy)
{
    if (v->grid.stride == 1) return dy;
    memset(room, 0, v->tall * v->wide * v->outs * sizeof *room);
    for (size_t place = 0; place < v->grid.down * v->grid.across; place++) {
        const size_t at = place / v->grid.across * v->grid.stride * v->wide + place % v->grid.across * v->grid.stride;
        memcpy(room + at * v->outs, dy + place * v->outs, v->outs * sizeof *room);
    }
    return room;
}

static void x_back(const depthwise *v, const rooms *room, const sv_span *x, const sv_real *dy)
{
    for (size_t t = 0; t < v->taps; t++)
        memcpy(room->falling + t * v->outs, room->turned + (v->taps - 1 - t) * v->outs, v->outs * sizeof(sv_real));
    const sv_depthwise kernel = { .height = v->tall,
                                  .width = v->wide,
                                  .down = v->grid.height,
                                  .across = v->grid.width,
                                  .channels = v->outs,
                                  .side = v->grid.side,
                                  .stride = 1,
                                  .padding = (ptrdiff_t)v->grid.side - 1 - (ptrdiff_t)v->grid.padding,
                                  .x = spread(v, room->spread, dy),
                                  .weight = room->falling,
                                  .accumulate = v->times == 1 && x->accumulate,
                                  .y = v->times == 1 ? x->gradient : room->widened };
    sv_depthwise_forward(&kernel, 0, v->places);
    for (size_t i = 0; v->times > 1 && i < v->places * v->channels; i++) {
        sv_real sum = 0;
        for (size_t k = 0; k < v->times; k++) sum += room->widened[i * v->times + k];
        sv_give(x, i, sum);
    }
}

static void depthwise_backward(const sv_call *call)
{
    const depthwise v = depthwise_of(call->node);
    const rooms room = rooms_in(&v, call->scratch);
    const sv_span *x = &call->in[0], *weight = &call->in[1], *bias = &call->in[2], *y = &call->out[0];
    if (weight->gradient) {
        const sv_depthwise kernel = kernel_of(&v, widened(&v, room.widened, x->data));
        sv_depthwise_weights(room.d_turned, &kernel, y->gradient, false);
        turn(room.turned, room.d_turned, v.taps, v.outs);
        sv_scale(weight->gradient, room.turned, 1, v.taps * v.outs, weight->accumulate);
    }
    if (x->gradient) {
        turn(room.turned, weight->data, v.outs, v.taps);
        x_back(&v, &room, x, y->gradient);
    }
    if (bias->gradient) sv_column_sums(bias->gradient, y->gradient, v.outs, y->live, v.outs, bias->accumulate);
}

static uint64_t depthwise_macs(const sv_call *call)
{
    const depthwise v = depthwise_of(call->node);
    return (uint64_t)call->out[0].rows * v.outs * v.taps;
}

/* clang-format off */
#define KERNEL(f, o, c, p) { .kind = SV_SAMPLE_PARAMETER, .fill = (f), .shape = { (o), (c), (p), (p) } }
/* clang-format on */
static const sv_sample depthwise_samples[] = {
    { .name = "one place",
      .images = 1,
      .in = { IMAGE(NORMAL, 1, 3), KERNEL(NORMAL, 3, 1, 1), WEIGHT(NORMAL, 0, 3) },
      .attributes.i = { 1, 1, 1, 0 } },
    { .name = "7 x 7 with padding",
      .images = 2,
      .in = { IMAGE(NORMAL, 20, 5), KERNEL(NORMAL, 5, 1, 7), WEIGHT(NORMAL, 0, 5) },
      .attributes.i = { 4, 5, 1, 3 } },
    { .name = "twice the channels, stride 2",
      .images = 2,
      .in = { IMAGE(NORMAL, 25, 3), KERNEL(NORMAL, 6, 1, 3), WEIGHT(NORMAL, 0, 6) },
      .attributes.i = { 5, 5, 2, 1 } },
    { .name = "whole vectors of channels",
      .images = 1,
      .in = { IMAGE(NORMAL, 12, 16), KERNEL(NORMAL, 16, 1, 3), WEIGHT(NORMAL, 0, 16) },
      .attributes.i = { 3, 4, 1, 1 } },
    { .name = "three times the channels, stride 3",
      .images = 1,
      .in = { IMAGE(NORMAL, 35, 2), KERNEL(NORMAL, 6, 1, 2), WEIGHT(NORMAL, 0, 6) },
      .attributes.i = { 5, 7, 3, 0 } },
    { .name = "no bias", .images = 3, .in = { IMAGE(NORMAL, 12, 17), KERNEL(NORMAL, 17, 1, 2) }, .attributes.i = { 3, 4, 1, 0 } },
    { .name = "constant x",
      .images = 2,
      .in = { CONSTANT(NORMAL, 9, 4), KERNEL(NORMAL, 4, 1, 3), WEIGHT(NORMAL, 0, 4) },
      .attributes.i = { 3, 3, 1, 1 } },
    { .name = "large numbers",
      .images = 1,
      .in = { IMAGE(LARGE, 6, 2), KERNEL(LARGE, 4, 1, 3), WEIGHT(LARGE, 0, 4) },
      .attributes.i = { 2, 3, 2, 1 } },
};

const sv_op sv_op_depthwise_conv = {
    .name = "depthwise_conv",
    .formula = "x [H*W,C], weight [m C,1,P,P], bias [m C] or none -> y [H'*W',m C], y[o] = bias[o] + sum weight[o] x[o / m] of the window",
    .source = "torch.nn.functional.conv2d, groups = C, channels last",
    .equals = "conv2d with as many groups as channels",
    .inputs_least = 2,
    .inputs_most = 3,
    .outputs = 1,
    .optional = 1 << 2,
    .locality = SV_IMAGE_ROWS,
    .shape = depthwise_shape,
    .forward = depthwise_forward,
    .backward = depthwise_backward,
    .backward_inputs = 1,
    .scratch = depthwise_scratch,
    .macs = depthwise_macs,
    SV_SAMPLES_OF(depthwise_samples),
};

sv_tensor *sv_tape_depthwise_conv(sv_tape *tape, sv_tensor *x, sv_tensor *weight, sv_tensor *bias, size_t height, size_t width,
                                  size_t stride, size_t padding)
{
    sv_attributes attributes = { .i = { (int64_t)height, (int64_t)width, (int64_t)stride, (int64_t)padding } };
    return sv_tape_record(tape, &sv_op_depthwise_conv, (sv_tensor *[]){ x, weight, bias }, 3, &attributes, NULL);
}
