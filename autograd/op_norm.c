/* LayerNorm of rows: y = gain xhat + bias, xhat = (x - mean) / deviation, deviation = sqrt(variance + eps).
 *   With g = dy gain:  dx = (g - mean(g) - xhat mean(g xhat)) / deviation;  dgain = sum dy xhat;  dbias = sum dy  (kernels/norm.c).
 * Mean and 1/deviation of each row are saved; the output is made again from x where backward of what follows reads it. */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

#include <string.h>

static sv_status layer_norm_shape(sv_node *node, sv_error *err)
{
    const size_t width = node->in[0]->width;
    sv_status status = sv_want_image(node->in[0], "x", SV_REAL, err);
    if (!status) status = sv_want_parameter(node->in[1], "gain", 1, (size_t[]){ width }, err);
    if (!status) status = sv_want_parameter(node->in[2], "bias", 1, (size_t[]){ width }, err);
    return status;
}

enum { ROWS_AT_ONCE = 8 }; /* that are rounded while they are in L1 */

static void norm_rows(const sv_call *call, sv_real *stats)
{
    const sv_span *x = &call->in[0], *y = &call->out[0];
    const size_t width = y->width, step = y->half ? ROWS_AT_ONCE : call->row_end;
    for (size_t row = call->row_begin, rows; row < call->row_end; row += rows) {
        rows = call->row_end - row < step ? call->row_end - row : step;
        sv_real *out = y->half ? call->scratch : y->data + row * width;
        sv_layer_norm(out, width, stats ? stats + 2 * (row - call->row_begin) : NULL, x->data + row * width, width, call->in[1].data,
                      call->in[2].data, rows, width, call->attributes->r[0]);
        if (y->half) sv_give_half(y, row * width, out, rows * width);
    }
}

static void layer_norm_forward(const sv_call *call) { norm_rows(call, call->saved ? call->saved + 2 * call->row_begin : NULL); }
static void layer_norm_rebuild(const sv_call *call) { norm_rows(call, NULL); }

/* Where to sum a gradient: its own memory, or (not wanted) memory that is thrown away. Zeroed unless it is added to. */
static sv_real *sum_place(const sv_span *parameter, sv_real *thrown_away, size_t width)
{
    sv_real *place = parameter->gradient ? parameter->gradient : thrown_away;
    if (!parameter->gradient || !parameter->accumulate) memset(place, 0, width * sizeof *place);
    return place;
}

static void layer_norm_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0], *gain = &call->in[1], *bias = &call->in[2];
    const size_t width = call->out[0].width;
    sv_real *unwanted = call->scratch, *d_gain = NULL, *d_bias = NULL;
    if (gain->gradient || bias->gradient) {
        d_gain = sum_place(gain, unwanted + width, width);
        d_bias = sum_place(bias, unwanted + 2 * width, width);
    }
    /* dx not wanted: every row goes over the same unwanted one */
    sv_layer_norm_backward(x->gradient ? x->gradient : unwanted, x->gradient ? width : 0, d_gain, d_bias, call->out[0].gradient, width,
                           x->data, width, call->saved, gain->data, call->out[0].live, width, x->gradient && x->accumulate, true);
}

static size_t layer_norm_saved(const sv_node *node) { return 2 * (size_t)node->out[0]->rows.most; }
static size_t layer_norm_scratch(const sv_node *node) { return ROWS_AT_ONCE * node->out[0]->width * sizeof(sv_real); }

static const sv_sample layer_norm_samples[] = {
    { .name = "one row", .images = 1, .in = { IMAGE(NORMAL, 1, 7), WEIGHT(NORMAL, 0, 7), WEIGHT(NORMAL, 0, 7) }, .attributes.r = { 1e-6 } },
    { .name = "width 1", .images = 2, .in = { IMAGE(NORMAL, 3, 1), WEIGHT(NORMAL, 0, 1), WEIGHT(NORMAL, 0, 1) }, .attributes.r = { 1e-1 } },
    { .name = "odd width",
      .images = 3,
      .in = { IMAGE(NORMAL, 5, 19), WEIGHT(NORMAL, 0, 19), WEIGHT(NORMAL, 0, 19) },
      .attributes.r = { 1e-6 } },
    { .name = "two registers",
      .images = 1,
      .in = { IMAGE(NORMAL, 4, 32), WEIGHT(NORMAL, 0, 32), WEIGHT(NORMAL, 0, 32) },
      .attributes.r = { 1e-5 } },
    { .name = "large numbers",
      .images = 2,
      .in = { IMAGE(LARGE, 3, 17), WEIGHT(LARGE, 0, 17), WEIGHT(NORMAL, 0, 17) },
      .attributes.r = { 1e-6 } },
    { .name = "all numbers equal",
      .images = 1,
      .in = { IMAGE(ONE, 2, 6), WEIGHT(NORMAL, 0, 6), WEIGHT(NORMAL, 0, 6) },
      .attributes.r = { 1 } },
    { .name = "constant x",
      .images = 3,
      .in = { CONSTANT(NORMAL, 4, 5), WEIGHT(NORMAL, 0, 5), WEIGHT(NORMAL, 0, 5) },
      .attributes.r = { 1e-6 } },
    { .name = "gain of zeros",
      .images = 1,
      .in = { IMAGE(NORMAL, 3, 5), WEIGHT(ZERO, 0, 5), WEIGHT(ZERO, 0, 5) },
      .attributes.r = { 1e-6 } },
};

const sv_op sv_op_layer_norm = {
    .name = "layer_norm",
    .formula = "x [R,D], gain [D], bias [D] -> y [R,D] = gain (x - mean) / sqrt(variance + eps) + bias, of each row",
    .source = "Ba et al. 2016, eq. 4; torch.nn.functional.layer_norm",
    .inputs_least = 3,
    .inputs_most = 3,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = layer_norm_shape,
    .forward = layer_norm_forward,
    .backward = layer_norm_backward,
    .backward_inputs = 1,
    .rebuild = layer_norm_rebuild,
    .rebuild_inputs = 1,
    .gives_half = true,
    .saved = layer_norm_saved,
    .scratch = layer_norm_scratch,
    SV_SAMPLES_OF(layer_norm_samples),
};

sv_tensor *sv_tape_layer_norm(sv_tape *tape, sv_tensor *x, sv_tensor *gain, sv_tensor *bias, double eps)
{
    sv_attributes attributes = { .r = { eps } };
    return sv_tape_record(tape, &sv_op_layer_norm, (sv_tensor *[]){ x, gain, bias }, 3, &attributes, NULL);
}

/* ---- norm_heads --------------------------------------------------------------------------------------------------- */

/* Row r*H+h of y is head h of row r of x, normed: the numbers lie as layer_norm wants them. */
static sv_status norm_heads_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *x = node->in[0];
    const int64_t heads = node->attributes.i[0];
    sv_status status = sv_want_image(x, "x", SV_REAL, err);
    if (status) return status;
    if (heads < 1 || x->width % (size_t)heads)
        return sv_fail(err, SV_USAGE, "a width of %zu cannot be cut into %lld heads", x->width, (long long)heads);
    const size_t width = x->width / (size_t)heads;
    status = sv_want_parameter(node->in[1], "gain", 1, (size_t[]){ width }, err);
    if (!status) status = sv_want_parameter(node->in[2], "bias", 1, (size_t[]){ width }, err);
    node->out[0]->rows = sv_rows_times(x->rows, (uint32_t)heads);
    node->out[0]->live = sv_rows_times(x->live, (uint32_t)heads);
    node->out[0]->width = width;
    return status;
}

static const sv_sample norm_heads_samples[] = {
    { .name = "one row",
      .images = 1,
      .in = { IMAGE(NORMAL, 1, 6), WEIGHT(NORMAL, 0, 2), WEIGHT(NORMAL, 0, 2) },
      .attributes = { .i = { 3 }, .r = { 1e-2 } } },
    { .name = "one head",
      .images = 2,
      .in = { IMAGE(NORMAL, 4, 7), WEIGHT(NORMAL, 0, 7), WEIGHT(NORMAL, 0, 7) },
      .attributes = { .i = { 1 }, .r = { 1e-5 } } },
    { .name = "one number a head",
      .images = 2,
      .in = { IMAGE(NORMAL, 3, 5), WEIGHT(NORMAL, 0, 1), WEIGHT(NORMAL, 0, 1) },
      .attributes = { .i = { 5 }, .r = { 1e-1 } } },
    { .name = "odd width",
      .images = 3,
      .in = { IMAGE(NORMAL, 5, 34), WEIGHT(NORMAL, 0, 17), WEIGHT(NORMAL, 0, 17) },
      .attributes = { .i = { 2 }, .r = { 1e-6 } } },
    { .name = "large numbers",
      .images = 1,
      .in = { IMAGE(LARGE, 2, 32), WEIGHT(LARGE, 0, 16), WEIGHT(NORMAL, 0, 16) },
      .attributes = { .i = { 2 }, .r = { 1e-6 } } },
    { .name = "zeros",
      .images = 1,
      .in = { IMAGE(ZERO, 2, 4), WEIGHT(NORMAL, 0, 2), WEIGHT(NORMAL, 0, 2) },
      .attributes = { .i = { 2 }, .r = { 1 } } },
};

const sv_op sv_op_norm_heads = {
    .name = "norm_heads",
    .formula = "x [R,D], gain [d], bias [d] -> y [R*H,d], row r*H+h = layer_norm of head h of row r",
    .source = "SPViT code: the norm in front of each head's layers",
    .equals = "layer_norm(x.reshape(R * H, d))",
    .inputs_least = 3,
    .inputs_most = 3,
    .outputs = 1,
    .locality = SV_IMAGE_ROWS,
    .shape = norm_heads_shape,
    .forward = layer_norm_forward,
    .backward = layer_norm_backward,
    .backward_inputs = 1,
    .rebuild = layer_norm_rebuild,
    .rebuild_inputs = 1,
    .gives_half = true,
    .saved = layer_norm_saved,
    .scratch = layer_norm_scratch,
    SV_SAMPLES_OF(norm_heads_samples),
};

sv_tensor *sv_tape_norm_heads(sv_tape *tape, sv_tensor *x, sv_tensor *gain, sv_tensor *bias, double eps, size_t heads)
{
    sv_attributes attributes = { .i = { (int64_t)heads }, .r = { eps } };
    return sv_tape_record(tape, &sv_op_norm_heads, (sv_tensor *[]){ x, gain, bias }, 3, &attributes, NULL);
}
