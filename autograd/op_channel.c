/* One factor or one shift a channel: what stands between convolutions, and at the end of a branch.
 * batch_norm is the form of a model that is used or fine-tuned: mean and variance are stored numbers, not those of the batch, so every
 * image goes alone and a batch of one gives what a batch of a thousand gives (docs/decisions.md). */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

/* ---- batch_norm ---------------------------------------------------------------------------------------------------- */

/* y = gain xhat + bias, xhat = (x - mean) r, r = 1 / sqrt(variance + eps). With s0 = sum dy, s1 = sum dy xhat over the rows:
 *   dx = dy gain r;  dgain = s1;  dbias = s0;  dmean = -gain r s0;  dvariance = -gain r^2 s1 / 2. */
static sv_status batch_norm_shape(sv_node *node, sv_error *err)
{
    static const char *const roles[] = { "x", "gain", "bias", "mean", "variance" };
    sv_status status = sv_want_image(node->in[0], "x", SV_REAL, err);
    for (size_t i = 1; !status && i < SV_COUNT(roles); i++)
        status = sv_want_parameter(node->in[i], roles[i], 1, (size_t[]){ node->in[0]->width }, err);
    return status;
}

static sv_real inverse_deviation(const sv_call *call, size_t c)
{
    return (sv_real)(1 / sqrt((double)call->in[4].data[c] + call->attributes->r[0]));
}

static void batch_norm_forward(const sv_call *call)
{
    const size_t width = call->in[0].width;
    sv_real *factor = call->scratch, *shift = factor + width;
    for (size_t c = 0; c < width; c++) {
        factor[c] = call->in[1].data[c] * inverse_deviation(call, c);
        shift[c] = call->in[2].data[c] - call->in[3].data[c] * factor[c];
    }
    const size_t first = call->row_begin * width;
    sv_affine_rows(call->out[0].data + first, call->in[0].data + first, &(sv_affine){ .factor = factor, .shift = shift },
                   call->row_end - call->row_begin, width);
}

/* s0 and s1 of each channel. */
static void batch_norm_sums(const sv_call *call, sv_real *sum, sv_real *along)
{
    const size_t width = call->in[0].width;
    sv_column_sums(sum, call->out[0].gradient, width, call->out[0].live, width, false);
    sv_column_dots(along, call->out[0].gradient, call->in[0].data, call->in[3].data, call->out[0].live, width, false);
    for (size_t c = 0; c < width; c++) along[c] *= inverse_deviation(call, c);
}

/* dx (+)= dy factor. */
static void scale_back(const sv_span *x, const sv_real *dy, const sv_real *factor)
{
    sv_affine_rows(x->gradient, dy, &(sv_affine){ .factor = factor, .addend = x->accumulate ? x->gradient : NULL }, x->live, x->width);
}

static void batch_norm_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0], *gain = &call->in[1], *bias = &call->in[2], *mean = &call->in[3], *variance = &call->in[4];
    const size_t width = x->width;
    sv_real *sum = call->scratch, *along = sum + width;
    if (gain->gradient || bias->gradient || mean->gradient || variance->gradient) batch_norm_sums(call, sum, along);
    for (size_t c = 0; c < width; c++) {
        const sv_real r = inverse_deviation(call, c), slope = gain->data[c] * r;
        if (gain->gradient) sv_give(gain, c, along[c]);
        if (bias->gradient) sv_give(bias, c, sum[c]);
        if (mean->gradient) sv_give(mean, c, -slope * sum[c]);
        if (variance->gradient) sv_give(variance, c, -slope * r * along[c] / 2);
        sum[c] = slope; /* from here on the factor of dx */
    }
    if (x->gradient) scale_back(x, call->out[0].gradient, sum);
}

static size_t batch_norm_scratch(const sv_node *node) { return 2 * node->in[0]->width * sizeof(sv_real); }

#define NORM_OF(f, w) WEIGHT(f, 0, w), WEIGHT(NORMAL, 0, w), WEIGHT(NORMAL, 0, w), WEIGHT(UNIT, 0, w)
static const sv_sample batch_norm_samples[] = {
    { .name = "one row", .images = 1, .in = { IMAGE(NORMAL, 1, 7), NORM_OF(NORMAL, 7) }, .attributes.r = { 0.1 } },
    { .name = "one channel", .images = 2, .in = { IMAGE(NORMAL, 5, 1), NORM_OF(NORMAL, 1) }, .attributes.r = { 0.1 } },
    { .name = "odd width", .images = 3, .in = { IMAGE(NORMAL, 4, 17), NORM_OF(NORMAL, 17) }, .attributes.r = { 0.2 } },
    { .name = "constant x", .images = 2, .in = { CONSTANT(NORMAL, 4, 5), NORM_OF(NORMAL, 5) }, .attributes.r = { 0.1 } },
    { .name = "large numbers", .images = 1, .in = { IMAGE(LARGE, 3, 6), NORM_OF(LARGE, 6) }, .attributes.r = { 1 } },
    { .name = "variance of zero",
      .images = 2,
      .in = { IMAGE(NORMAL, 3, 4), WEIGHT(NORMAL, 0, 4), WEIGHT(NORMAL, 0, 4), WEIGHT(NORMAL, 0, 4), WEIGHT(ZERO, 0, 4) },
      .attributes.r = { 0.5 } },
};

const sv_op sv_op_batch_norm = {
    .name = "batch_norm",
    .formula = "x [R,C], gain, bias, mean, variance [C] -> y [R,C] = gain (x - mean) / sqrt(variance + eps) + bias",
    .source = "Ioffe & Szegedy 2015; torch.nn.functional.batch_norm with training=False",
    .inputs_least = 5,
    .inputs_most = 5,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = batch_norm_shape,
    .forward = batch_norm_forward,
    .backward = batch_norm_backward,
    .backward_inputs = 1,
    .scratch = batch_norm_scratch,
    SV_SAMPLES_OF(batch_norm_samples),
};

sv_tensor *sv_tape_batch_norm(sv_tape *tape, sv_tensor *x, sv_tensor *gain, sv_tensor *bias, sv_tensor *mean, sv_tensor *variance,
                              double eps)
{
    sv_attributes attributes = { .r = { eps } };
    return sv_tape_record(tape, &sv_op_batch_norm, (sv_tensor *[]){ x, gain, bias, mean, variance }, 5, &attributes, NULL);
}

/* ---- layer_scale --------------------------------------------------------------------------------------------------- */

/* y = gain x, a factor a channel:  dx = gain dy;  dgain = sum dy x. */
static sv_status layer_scale_shape(sv_node *node, sv_error *err)
{
    sv_status status = sv_want_image(node->in[0], "x", SV_REAL, err);
    return status ? status : sv_want_parameter(node->in[1], "gain", 1, (size_t[]){ node->in[0]->width }, err);
}

static void layer_scale_forward(const sv_call *call)
{
    const size_t width = call->in[0].width, first = call->row_begin * width;
    sv_affine_rows(call->out[0].data + first, call->in[0].data + first, &(sv_affine){ .factor = call->in[1].data },
                   call->row_end - call->row_begin, width);
}

static void layer_scale_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0], *gain = &call->in[1], *y = &call->out[0];
    if (gain->gradient) sv_column_dots(gain->gradient, y->gradient, x->data, NULL, y->live, x->width, gain->accumulate);
    if (x->gradient) scale_back(x, y->gradient, gain->data);
}

static const sv_sample layer_scale_samples[] = {
    { .name = "one row", .images = 1, .in = { IMAGE(NORMAL, 1, 7), WEIGHT(NORMAL, 0, 7) } },
    { .name = "one channel", .images = 2, .in = { IMAGE(NORMAL, 3, 1), WEIGHT(NORMAL, 0, 1) } },
    { .name = "odd width", .images = 3, .in = { IMAGE(NORMAL, 4, 17), WEIGHT(NORMAL, 0, 17) } },
    { .name = "gain of zeros", .images = 2, .in = { IMAGE(NORMAL, 4, 5), WEIGHT(ZERO, 0, 5) } },
    { .name = "constant x", .images = 2, .in = { CONSTANT(NORMAL, 4, 5), WEIGHT(NORMAL, 0, 5) } },
    { .name = "large numbers", .images = 1, .in = { IMAGE(LARGE, 2, 32), WEIGHT(LARGE, 0, 32) } },
};

const sv_op sv_op_layer_scale = {
    .name = "layer_scale",
    .formula = "x [R,C], gain [C] -> y [R,C] = gain x",
    .source = "Touvron et al. 2021 (CaiT), sec. 2.1; Liu et al. 2022 (ConvNeXt)",
    .inputs_least = 2,
    .inputs_most = 2,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = layer_scale_shape,
    .forward = layer_scale_forward,
    .backward = layer_scale_backward,
    .backward_inputs = 1,
    SV_SAMPLES_OF(layer_scale_samples),
};

sv_tensor *sv_tape_layer_scale(sv_tape *tape, sv_tensor *x, sv_tensor *gain)
{
    return sv_tape_record(tape, &sv_op_layer_scale, (sv_tensor *[]){ x, gain }, 2, NULL, NULL);
}

/* ---- layer_scale, then a sum --------------------------------------------------------------------------------------- */

/* y = gain x + addend: as above, and daddend = dy. Product and sum are rounded apart: the bits of the two ops, of which this is one pass. */
static sv_status layer_scale_add_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *addend = node->in[2];
    sv_status status = layer_scale_shape(node, err);
    if (!status) status = sv_want_width(addend, "addend", SV_REAL, node->in[0]->width, err);
    if (!status) status = sv_want_rows(addend, "addend", node->in[0], "x", err);
    if (!status && !sv_rows_equal(addend->live, node->in[0]->live))
        status = sv_fail(err, SV_USAGE, "addend and x must have the same live rows");
    return status;
}

static void layer_scale_add_forward(const sv_call *call)
{
    const size_t width = call->in[0].width, first = call->row_begin * width;
    const sv_affine affine = { .factor = call->in[1].data, .addend = call->in[2].data + first };
    sv_affine_rows(call->out[0].data + first, call->in[0].data + first, &affine, call->row_end - call->row_begin, width);
}

static void layer_scale_add_backward(const sv_call *call)
{
    const sv_span *addend = &call->in[2];
    const sv_real *dy = call->out[0].gradient;
    layer_scale_backward(call);
    if (addend->gradient && addend->gradient != dy) sv_scale(addend->gradient, dy, 1, sv_span_numbers(addend), addend->accumulate);
}

static const sv_sample layer_scale_add_samples[] = {
    { .name = "one row", .images = 1, .in = { IMAGE(NORMAL, 1, 7), WEIGHT(NORMAL, 0, 7), IMAGE(NORMAL, 1, 7) } },
    { .name = "one channel", .images = 2, .in = { IMAGE(NORMAL, 3, 1), WEIGHT(NORMAL, 0, 1), IMAGE(NORMAL, 3, 1) } },
    { .name = "odd width", .images = 3, .in = { IMAGE(NORMAL, 4, 17), WEIGHT(NORMAL, 0, 17), IMAGE(NORMAL, 4, 17) } },
    { .name = "gain of zeros", .images = 2, .in = { IMAGE(NORMAL, 4, 5), WEIGHT(ZERO, 0, 5), IMAGE(NORMAL, 4, 5) } },
    { .name = "constant addend", .images = 2, .in = { IMAGE(NORMAL, 4, 5), WEIGHT(NORMAL, 0, 5), CONSTANT(NORMAL, 4, 5) } },
    { .name = "large numbers", .images = 1, .in = { IMAGE(LARGE, 2, 32), WEIGHT(LARGE, 0, 32), IMAGE(LARGE, 2, 32) } },
};

const sv_op sv_op_layer_scale_add = {
    .name = "layer_scale_add",
    .formula = "x [R,C], gain [C], addend [R,C] -> y [R,C] = gain x + addend",
    .source = "Touvron et al. 2021 (CaiT), sec. 2.1; Liu et al. 2022 (ConvNeXt)",
    .equals = "layer_scale, add",
    .inputs_least = 3,
    .inputs_most = 3,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = layer_scale_add_shape,
    .forward = layer_scale_add_forward,
    .backward = layer_scale_add_backward,
    .backward_inputs = 1,
    .passes_gradient = 1 + 2,
    SV_SAMPLES_OF(layer_scale_add_samples),
};

sv_tensor *sv_tape_layer_scale_add(sv_tape *tape, sv_tensor *x, sv_tensor *gain, sv_tensor *addend)
{
    return sv_tape_record(tape, &sv_op_layer_scale_add, (sv_tensor *[]){ x, gain, addend }, 3, NULL, NULL);
}
