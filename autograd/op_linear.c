/* Linear layers, plain and with what follows them done on the way out of the product, and the plain product of two tensors.
 *   y = x weight^T + bias:  dx = dy weight;  dweight = dy^T x;  dbias = column sums of dy.
 * Rows that are not live have no gradient, so dx, dweight and dbias run over the live rows alone. */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

/* ---- linear ------------------------------------------------------------------------------------------------------ */

static sv_status linear_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *x = node->in[0], *weight = node->in[1], *bias = node->in[2];
    sv_status status = sv_want_image(x, "x", SV_REAL, err);
    if (!status) status = sv_want_parameter(weight, "weight", 2, (size_t[]){ 0, x->width }, err);
    if (!status && bias) status = sv_want_parameter(bias, "bias", 1, (size_t[]){ weight->parameter->shape[0] }, err);
    if (!status) node->out[0]->width = weight->parameter->shape[0];
    return status;
}

static sv_product product_of(const sv_call *call)
{
    const sv_span *x = &call->in[0], *y = &call->out[0];
    sv_product product = { .m = call->row_end - call->row_begin,
                           .n = y->width,
                           .k = x->width,
                           .x = x->half ? NULL : x->data + call->row_begin * x->width,
                           .x_half = x->half ? x->halves + call->row_begin * x->width : NULL,
                           .x_stride = x->width,
                           .bias = call->in[2].present ? call->in[2].data : NULL,
                           .y = y->half ? NULL : y->data + call->row_begin * y->width,
                           .y_half = y->half ? y->halves + call->row_begin * y->width : NULL,
                           .y_stride = y->width };
    sv_take_panels(call, &product, call->in[1].parameter, false);
    return product;
}

static void linear_forward(const sv_call *call)
{
    sv_product product = product_of(call);
    sv_product_rows(&product);
}

/* From dy [live, N] to the gradients of x, weight and bias; room: linear_room bytes. */
static void linear_back_from(const sv_call *call, const sv_real *dy, void *room)
{
    const sv_span *x = &call->in[0], *weight = &call->in[1], *bias = &call->in[2];
    const size_t live = call->out[0].live, n = call->out[0].width, k = x->width;
    if (x->gradient) {
        sv_product product = { .m = live,
                               .n = k,
                               .k = n,
                               .x = dy,
                               .x_stride = n,
                               .epilogue = x->accumulate ? SV_ADD : SV_STORE,
                               .addend = x->gradient,
                               .addend_stride = k,
                               .y = x->gradient,
                               .y_stride = k };
        sv_take_panels(call, &product, weight->parameter, true);
        sv_product_rows(&product);
    }
    if (weight->gradient) sv_weight_gradient(call, weight, dy, x->data, x->half, live, n, k, weight->accumulate, room);
    if (bias->gradient) sv_column_sums(bias->gradient, dy, n, live, n, bias->accumulate);
}

static size_t linear_room(const sv_node *node) { return sv_outer_room(node, node->in[0]->rows.most, node->in[0]->width); }
static void linear_backward(const sv_call *call) { linear_back_from(call, call->out[0].gradient, call->scratch); }

static uint64_t linear_macs(const sv_call *call) { return (uint64_t)call->out[0].rows * call->out[0].width * call->in[0].width; }

static const sv_sample linear_samples[] = {
    { .name = "one row", .images = 1, .in = { IMAGE(NORMAL, 1, 7), WEIGHT(NORMAL, 5, 7), WEIGHT(NORMAL, 0, 5) } },
    { .name = "one number", .images = 2, .in = { IMAGE(NORMAL, 1, 1), WEIGHT(NORMAL, 1, 1), WEIGHT(NORMAL, 0, 1) } },
    { .name = "odd widths", .images = 3, .in = { IMAGE(NORMAL, 5, 17), WEIGHT(NORMAL, 19, 17), WEIGHT(NORMAL, 0, 19) } },
    { .name = "whole panels", .images = 1, .in = { IMAGE(NORMAL, 13, 16), WEIGHT(NORMAL, 32, 16), WEIGHT(NORMAL, 0, 32) } },
    { .name = "no bias", .images = 2, .in = { IMAGE(NORMAL, 3, 6), WEIGHT(NORMAL, 33, 6) } },
    { .name = "large numbers", .images = 2, .in = { IMAGE(LARGE, 4, 9), WEIGHT(LARGE, 3, 9), WEIGHT(LARGE, 0, 3) } },
    { .name = "constant x", .images = 2, .in = { CONSTANT(NORMAL, 4, 5), WEIGHT(NORMAL, 3, 5), WEIGHT(NORMAL, 0, 3) } },
    { .name = "zeros", .images = 2, .in = { IMAGE(ZERO, 2, 5), WEIGHT(ZERO, 3, 5), WEIGHT(ZERO, 0, 3) } },
};

const sv_op sv_op_linear = {
    .name = "linear",
    .formula = "x [R,K], weight [N,K], bias [N] or none -> y [R,N] = x weight^T + bias",
    .source = "torch.nn.functional.linear",
    .inputs_least = 2,
    .inputs_most = 3,
    .outputs = 1,
    .optional = 1 << 2,
    .locality = SV_ROW_LOCAL,
    .shape = linear_shape,
    .forward = linear_forward,
    .backward = linear_backward,
    .backward_inputs = 3,
    .scratch = linear_room,
    .macs = linear_macs,
    .takes_half = 1 << 0,
    .pack_forward = 1 << 1,
    .pack_backward = 1 << 1,
    SV_SAMPLES_OF(linear_samples),
};

sv_tensor *sv_tape_linear(sv_tape *tape, sv_tensor *x, sv_tensor *weight, sv_tensor *bias)
{
    return sv_tape_record(tape, &sv_op_linear, (sv_tensor *[]){ x, weight, bias }, 3, NULL, NULL);
}

/* ---- linear, then a sum ------------------------------------------------------------------------------------------ */

/* y = x weight^T + bias + addend: as above, and daddend = dy. */
static sv_status linear_add_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *addend = node->in[3];
    sv_status status = linear_shape(node, err);
    if (!status) status = sv_want_width(addend, "addend", SV_REAL, node->out[0]->width, err);
    if (!status) status = sv_want_rows(addend, "addend", node->in[0], "x", err);
    if (!status && !sv_rows_equal(addend->live, node->in[0]->live))
        status = sv_fail(err, SV_USAGE, "addend and x must have the same live rows");
    return status;
}

static void linear_add_forward(const sv_call *call)
{
    sv_product product = product_of(call);
    product.epilogue = SV_ADD;
    product.addend = call->in[3].data + call->row_begin * call->in[3].width;
    product.addend_stride = call->in[3].width;
    sv_product_rows(&product);
}

static void linear_add_backward(const sv_call *call)
{
    const sv_span *addend = &call->in[3];
    const sv_real *dy = call->out[0].gradient;
    linear_back_from(call, dy, call->scratch);
    if (addend->gradient && addend->gradient != dy) sv_scale(addend->gradient, dy, 1, sv_span_numbers(addend), addend->accumulate);
}

static const sv_sample linear_add_samples[] = {
    { .name = "one row", .images = 1, .in = { IMAGE(NORMAL, 1, 7), WEIGHT(NORMAL, 5, 7), WEIGHT(NORMAL, 0, 5), IMAGE(NORMAL, 1, 5) } },
    { .name = "odd widths",
      .images = 3,
      .in = { IMAGE(NORMAL, 5, 17), WEIGHT(NORMAL, 19, 17), WEIGHT(NORMAL, 0, 19), IMAGE(NORMAL, 5, 19) } },
    { .name = "whole panels",
      .images = 1,
      .in = { IMAGE(NORMAL, 13, 16), WEIGHT(NORMAL, 32, 16), WEIGHT(NORMAL, 0, 32), IMAGE(NORMAL, 13, 32) } },
    { .name = "no bias", .images = 2, .in = { IMAGE(NORMAL, 3, 6), WEIGHT(NORMAL, 33, 6), ABSENT, IMAGE(NORMAL, 3, 33) } },
    { .name = "large addend", .images = 2, .in = { IMAGE(NORMAL, 4, 9), WEIGHT(NORMAL, 3, 9), WEIGHT(NORMAL, 0, 3), IMAGE(LARGE, 4, 3) } },
    { .name = "constant addend",
      .images = 2,
      .in = { IMAGE(NORMAL, 4, 5), WEIGHT(NORMAL, 3, 5), WEIGHT(NORMAL, 0, 3), CONSTANT(NORMAL, 4, 3) } },
    { .name = "constant x",
      .images = 2,
      .in = { CONSTANT(NORMAL, 4, 5), WEIGHT(NORMAL, 3, 5), WEIGHT(NORMAL, 0, 3), IMAGE(NORMAL, 4, 3) } },
};

const sv_op sv_op_linear_add = {
    .name = "linear_add",
    .formula = "x [R,K], weight [N,K], bias [N] or none, addend [R,N] -> y [R,N] = x weight^T + bias + addend",
    .source = "torch.nn.functional.linear, then +",
    .equals = "linear, add",
    .inputs_least = 4,
    .inputs_most = 4,
    .outputs = 1,
    .optional = 1 << 2,
    .locality = SV_ROW_LOCAL,
    .shape = linear_add_shape,
    .forward = linear_add_forward,
    .backward = linear_add_backward,
    .backward_inputs = 3,
    .passes_gradient = 1 + 3,
    .scratch = linear_room,
    .macs = linear_macs,
    .takes_half = 1 << 0,
    .pack_forward = 1 << 1,
    .pack_backward = 1 << 1,
    SV_SAMPLES_OF(linear_add_samples),
};

sv_tensor *sv_tape_linear_add(sv_tape *tape, sv_tensor *x, sv_tensor *weight, sv_tensor *bias, sv_tensor *addend)
{
    return sv_tape_record(tape, &sv_op_linear_add, (sv_tensor *[]){ x, weight, bias, addend }, 4, NULL, NULL);
}

/* ---- linear, a factor a channel, then a sum ---------------------------------------------------------------------- */

/* z = x weight^T + bias, y = gain z + addend, one pass in inference. Backward makes z again: training records linear and layer_scale_add,
 * which keep it, and give the same bits.  dz = gain dy;  dgain = sum dy z;  daddend = dy. */
static sv_status linear_scale_add_shape(sv_node *node, sv_error *err)
{
    const sv_status status = linear_add_shape(node, err);
    return status ? status : sv_want_parameter(node->in[4], "gain", 1, (size_t[]){ node->out[0]->width }, err);
}

static void linear_scale_add_forward(const sv_call *call)
{
    sv_product product = product_of(call);
    product.epilogue = SV_ADD;
    product.addend = call->in[3].data + call->row_begin * call->in[3].width;
    product.addend_stride = call->in[3].width;
    product.gain = call->in[4].data;
    sv_product_rows(&product);
}

static size_t z_bytes(const sv_node *node)
{
    return ((size_t)node->out[0]->rows.most * node->out[0]->width * sizeof(sv_real) + 63) / 64 * 64;
}

static void linear_scale_add_backward(const sv_call *call)
{
    const sv_span *addend = &call->in[3], *gain = &call->in[4], *y = &call->out[0];
    const sv_real *dy = y->gradient;
    sv_real *z = call->scratch;
    if (gain->gradient) {
        sv_product product = product_of(call);
        product.m = y->live;
        product.y = z;
        sv_product_rows(&product);
        sv_column_dots(gain->gradient, dy, z, NULL, y->live, y->width, gain->accumulate);
    }
    sv_affine_rows(z, dy, &(sv_affine){ .factor = gain->data }, y->live, y->width); /* dz */
    linear_back_from(call, z, (unsigned char *)call->scratch + z_bytes(call->node));
    if (addend->gradient && addend->gradient != dy) sv_scale(addend->gradient, dy, 1, sv_span_numbers(addend), addend->accumulate);
}

static size_t linear_scale_add_scratch(const sv_node *node) { return z_bytes(node) + linear_room(node); }

static const sv_sample linear_scale_add_samples[] = {
    { .name = "one row",
      .images = 1,
      .in = { IMAGE(NORMAL, 1, 7), WEIGHT(NORMAL, 5, 7), WEIGHT(NORMAL, 0, 5), IMAGE(NORMAL, 1, 5), WEIGHT(NORMAL, 0, 5) } },
    { .name = "odd widths",
      .images = 3,
      .in = { IMAGE(NORMAL, 5, 17), WEIGHT(NORMAL, 19, 17), WEIGHT(NORMAL, 0, 19), IMAGE(NORMAL, 5, 19), WEIGHT(NORMAL, 0, 19) } },
    { .name = "no bias", .images = 2, .in = { IMAGE(NORMAL, 3, 6), WEIGHT(NORMAL, 33, 6), ABSENT, IMAGE(NORMAL, 3, 33), WEIGHT(NORMAL, 0, 33) } },
    { .name = "gain of zeros",
      .images = 2,
      .in = { IMAGE(NORMAL, 4, 9), WEIGHT(NORMAL, 3, 9), WEIGHT(NORMAL, 0, 3), IMAGE(LARGE, 4, 3), WEIGHT(ZERO, 0, 3) } },
    { .name = "constant addend",
      .images = 2,
      .in = { IMAGE(NORMAL, 4, 5), WEIGHT(NORMAL, 3, 5), WEIGHT(NORMAL, 0, 3), CONSTANT(NORMAL, 4, 3), WEIGHT(NORMAL, 0, 3) } },
    { .name = "constant x",
      .images = 2,
      .in = { CONSTANT(NORMAL, 4, 5), WEIGHT(NORMAL, 3, 5), WEIGHT(NORMAL, 0, 3), IMAGE(NORMAL, 4, 3), WEIGHT(NORMAL, 0, 3) } },
};

const sv_op sv_op_linear_scale_add = {
    .name = "linear_scale_add",
    .formula = "x [R,K], weight [N,K], bias [N] or none, addend [R,N], gain [N] -> y [R,N] = gain (x weight^T + bias) + addend",
    .source = "torch.nn.functional.linear, then layer scale (Liu et al. 2022, ConvNeXt), then +",
    .equals = "linear, layer_scale_add",
    .inputs_least = 5,
    .inputs_most = 5,
    .outputs = 1,
    .optional = 1 << 2,
    .locality = SV_ROW_LOCAL,
    .shape = linear_scale_add_shape,
    .forward = linear_scale_add_forward,
    .backward = linear_scale_add_backward,
    .backward_inputs = 1 | 2,
    .passes_gradient = 1 + 3,
    .scratch = linear_scale_add_scratch,
    .macs = linear_macs,
    .takes_half = 1 << 0,
    .pack_forward = 1 << 1,
    .pack_backward = 1 << 1,
    SV_SAMPLES_OF(linear_scale_add_samples),
};

sv_tensor *sv_tape_linear_scale_add(sv_tape *tape, sv_tensor *x, sv_tensor *weight, sv_tensor *bias, sv_tensor *gain, sv_tensor *addend)
{
    return sv_tape_record(tape, &sv_op_linear_scale_add, (sv_tensor *[]){ x, weight, bias, addend, gain }, 5, NULL, NULL);
}

/* ---- linear, then gelu ------------------------------------------------------------------------------------------- */

/* before = x weight^T + bias, y = gelu(before). `before` is saved; y itself is made again from it, which is cheaper than keeping both. */
static void linear_gelu_forward(const sv_call *call)
{
    sv_product product = product_of(call);
    product.epilogue = SV_GELU;
    product.before = call->saved ? call->saved + call->row_begin * call->out[0].width : NULL;
    product.before_stride = call->out[0].width;
    sv_product_rows(&product);
}

static void linear_gelu_rebuild(const sv_call *call)
{
    const sv_span *y = &call->out[0];
    sv_real some[1024];
    for (size_t i = call->row_begin * y->width, end = call->row_end * y->width, count; i < end; i += count) {
        count = end - i < SV_COUNT(some) ? end - i : SV_COUNT(some);
        sv_gelu(y->half ? some : y->data + i, call->saved + i, count);
        if (y->half) sv_give_half(y, i, some, count);
    }
}

static size_t d_before_bytes(const sv_node *node)
{
    return ((size_t)node->out[0]->rows.most * node->out[0]->width * sizeof(sv_real) + 63) / 64 * 64;
}

static void linear_gelu_backward(const sv_call *call)
{
    sv_real *d_before = call->scratch;
    sv_gelu_backward(d_before, call->out[0].gradient, call->saved, sv_span_numbers(&call->out[0]), false);
    linear_back_from(call, d_before, (unsigned char *)call->scratch + d_before_bytes(call->node));
}

static size_t linear_gelu_saved(const sv_node *node) { return (size_t)node->out[0]->rows.most * node->out[0]->width; }
static size_t linear_gelu_scratch(const sv_node *node) { return d_before_bytes(node) + linear_room(node); }

const sv_op sv_op_linear_gelu = {
    .name = "linear_gelu",
    .formula = "x [R,K], weight [N,K], bias [N] or none -> y [R,N] = gelu(x weight^T + bias)",
    .source = "torch.nn.functional.linear, then gelu",
    .equals = "linear, gelu",
    .inputs_least = 2,
    .inputs_most = 3,
    .outputs = 1,
    .optional = 1 << 2,
    .locality = SV_ROW_LOCAL,
    .shape = linear_shape,
    .forward = linear_gelu_forward,
    .backward = linear_gelu_backward,
    .backward_inputs = 3,
    .rebuild = linear_gelu_rebuild,
    .saved = linear_gelu_saved,
    .scratch = linear_gelu_scratch,
    .macs = linear_macs,
    .takes_half = 1 << 0,
    .gives_half = true,
    .pack_forward = 1 << 1,
    .pack_backward = 1 << 1,
    SV_SAMPLES_OF(linear_samples),
};

sv_tensor *sv_tape_linear_gelu(sv_tape *tape, sv_tensor *x, sv_tensor *weight, sv_tensor *bias)
{
    return sv_tape_record(tape, &sv_op_linear_gelu, (sv_tensor *[]){ x, weight, bias }, 3, NULL, NULL);
}

/* ---- product of two tensors -------------------------------------------------------------------------------------- */

/* y = A B, A = a or a^T, B = b or b^T:  dA = dy B^T, dB = A^T dy, each read as it stands in a or b. Plain loops: for what is not hot. */
typedef struct product_view {
    bool a_transposed, b_transposed;
    size_t m, n, k;
} product_view;

static product_view product_view_of(const sv_call *call)
{
    const sv_span *a = &call->in[0];
    const bool a_transposed = call->attributes->i[0], b_transposed = call->attributes->i[1];
    return (product_view){ a_transposed, b_transposed, call->out[0].rows, call->out[0].width, a_transposed ? a->rows : a->width };
}

static sv_status product_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *a = node->in[0], *b = node->in[1];
    const bool a_transposed = node->attributes.i[0], b_transposed = node->attributes.i[1];
    sv_status status = sv_want_image(a, "a", SV_REAL, err);
    if (!status) status = sv_want_image(b, "b", SV_REAL, err);
    if (!status && b_transposed) status = sv_want_fixed_rows(b, "b, whose rows become columns,", 0, err);
    if (status) return status;
    sv_rows inner_a = a_transposed ? a->rows : sv_rows_fixed(a->width), inner_b = b_transposed ? sv_rows_fixed(b->width) : b->rows;
    if (!sv_rows_equal(inner_a, inner_b))
        return sv_fail(err, SV_USAGE, "the inner dimensions must be equal in every image (at most %u against %u)", inner_a.most,
                       inner_b.most);
    sv_make_image(node->out[0], a_transposed ? sv_rows_fixed(a->width) : a->rows, b_transposed ? b->rows.most : b->width);
    return SV_OK;
}

static void product_forward(const sv_call *call)
{
    const sv_span *a = &call->in[0], *b = &call->in[1], *y = &call->out[0];
    const product_view v = product_view_of(call);
    const sv_real *first = a->data + (v.a_transposed ? call->row_begin : call->row_begin * a->width);
    sv_product_plain(y->data + call->row_begin * y->width, y->width, first, a->width, v.a_transposed, b->data, b->width, v.b_transposed,
                     call->row_end - call->row_begin, v.n, v.k, false);
}

static void product_backward(const sv_call *call)
{
    const sv_span *a = &call->in[0], *b = &call->in[1];
    const sv_real *dy = call->out[0].gradient;
    const product_view v = product_view_of(call);
    if (a->gradient && v.a_transposed) /* da [k,m] = B dy^T */
        sv_product_plain(a->gradient, a->width, b->data, b->width, v.b_transposed, dy, v.n, true, a->live, v.m, v.n, a->accumulate);
    else if (a->gradient) /* da [m,k] = dy B^T */
        sv_product_plain(a->gradient, a->width, dy, v.n, false, b->data, b->width, !v.b_transposed, a->live, v.k, v.n, a->accumulate);
    if (b->gradient && v.b_transposed) /* db [n,k] = dy^T A */
        sv_product_plain(b->gradient, b->width, dy, v.n, true, a->data, a->width, v.a_transposed, b->live, v.k, v.m, b->accumulate);
    else if (b->gradient) /* db [k,n] = A^T dy */
        sv_product_plain(b->gradient, b->width, a->data, a->width, !v.a_transposed, dy, v.n, false, b->live, v.n, v.m, b->accumulate);
}

static uint64_t product_macs(const sv_call *call)
{
    const product_view v = product_view_of(call);
    return (uint64_t)v.m * v.n * v.k;
}

static const sv_sample product_samples[] = {
    { .name = "plain", .images = 2, .in = { IMAGE(NORMAL, 3, 5), IMAGE(NORMAL, 5, 4) } },
    { .name = "a transposed", .images = 2, .in = { IMAGE(NORMAL, 5, 3), IMAGE(NORMAL, 5, 4) }, .attributes.i = { 1, 0 } },
    { .name = "b transposed", .images = 2, .in = { IMAGE(NORMAL, 3, 5), IMAGE(NORMAL, 4, 5) }, .attributes.i = { 0, 1 } },
    { .name = "both transposed", .images = 2, .in = { IMAGE(NORMAL, 5, 3), IMAGE(NORMAL, 4, 5) }, .attributes.i = { 1, 1 } },
    { .name = "one number", .images = 1, .in = { IMAGE(NORMAL, 1, 1), IMAGE(NORMAL, 1, 1) } },
    { .name = "large numbers", .images = 1, .in = { IMAGE(LARGE, 7, 17), IMAGE(LARGE, 17, 1) } },
    { .name = "constant b", .images = 1, .in = { IMAGE(NORMAL, 2, 3), CONSTANT(NORMAL, 3, 2) } },
};

const sv_op sv_op_product = {
    .name = "product",
    .formula = "a [R,M], b [S,N] -> y = A B, A = a or a^T, B = b or b^T",
    .source = "torch.matmul",
    .inputs_least = 2,
    .inputs_most = 2,
    .outputs = 1,
    .locality = SV_IMAGE_ROWS,
    .shape = product_shape,
    .forward = product_forward,
    .backward = product_backward,
    .backward_inputs = 3,
    .backward_dead = 3,
    .macs = product_macs,
    SV_SAMPLES_OF(product_samples),
};

sv_tensor *sv_tape_product(sv_tape *tape, sv_tensor *a, sv_tensor *b, bool transpose_a, bool transpose_b)
{
    sv_attributes attributes = { .i = { transpose_a, transpose_b } };
    return sv_tape_record(tape, &sv_op_product, (sv_tensor *[]){ a, b }, 2, &attributes, NULL);
}
