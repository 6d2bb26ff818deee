/* Numbers one by one, and rows one by one. Derivatives stand above each op. */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

static sv_status same_shape(sv_node *node, sv_error *err) { return sv_want_image(node->in[0], "x", SV_REAL, err); }

/* The call's rows of an input or of output 0, all numbers of them in one run. */
static sv_real *rows_of(const sv_call *call, const sv_span *span) { return span->data + call->row_begin * span->width; }
static size_t numbers_of(const sv_call *call) { return (call->row_end - call->row_begin) * call->out[0].width; }

static const sv_sample one_input_samples[] = {
    { .name = "one number", .images = 1, .in = { IMAGE(NORMAL, 1, 1) }, .attributes.r = { 1 } },
    { .name = "one row", .images = 2, .in = { IMAGE(NORMAL, 1, 7) }, .attributes.r = { -0.5 } },
    { .name = "odd width", .images = 3, .in = { IMAGE(NORMAL, 5, 17) }, .attributes.r = { 3 } },
    { .name = "whole registers", .images = 1, .in = { IMAGE(NORMAL, 3, 32) }, .attributes.r = { 1e-3 } },
    { .name = "large numbers", .images = 2, .in = { IMAGE(LARGE, 4, 9) }, .attributes.r = { 100 } },
    { .name = "all equal", .images = 2, .in = { IMAGE(ZERO, 2, 5) }, .attributes.r = { 0 } },
};

/* ---- gelu --------------------------------------------------------------------------------------------------------- */

/* y = x Phi(x):  dx = dy (Phi(x) + x phi(x)). Made again from x. */
static void gelu_forward(const sv_call *call) { sv_gelu(rows_of(call, &call->out[0]), rows_of(call, &call->in[0]), numbers_of(call)); }

static void gelu_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0];
    sv_gelu_backward(x->gradient, call->out[0].gradient, x->data, sv_span_numbers(x), x->accumulate);
}

const sv_op sv_op_gelu = {
    .name = "gelu",
    .formula = "x [R,D] -> y = x Phi(x), Phi of the normal distribution",
    .source = "Hendrycks & Gimpel 2016; torch.nn.functional.gelu, exact",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = same_shape,
    .forward = gelu_forward,
    .backward = gelu_backward,
    .backward_inputs = 1,
    .rebuild = gelu_forward,
    .rebuild_inputs = 1,
    SV_SAMPLES_OF(one_input_samples),
};

sv_tensor *sv_tape_gelu(sv_tape *tape, sv_tensor *x) { return sv_tape_record(tape, &sv_op_gelu, &x, 1, NULL, NULL); }

/* ---- relu --------------------------------------------------------------------------------------------------------- */

/* y = max(x, 0):  dx = dy where y > 0, else 0. */
static void relu_forward(const sv_call *call)
{
    const sv_real *x = rows_of(call, &call->in[0]);
    sv_real *y = rows_of(call, &call->out[0]);
    for (size_t i = 0; i < numbers_of(call); i++) y[i] = x[i] > 0 ? x[i] : 0;
}

static void relu_backward(const sv_call *call)
{
    const sv_real *y = call->out[0].data, *dy = call->out[0].gradient;
    for (size_t i = 0; i < sv_span_numbers(&call->in[0]); i++) sv_give(&call->in[0], i, y[i] > 0 ? dy[i] : 0);
}

/* No zeros: differences cannot see which side of the corner counts. */
static const sv_sample relu_samples[] = {
    { .name = "one number", .images = 1, .in = { IMAGE(NORMAL, 1, 1) } },
    { .name = "one row", .images = 2, .in = { IMAGE(LARGE, 1, 7) } },
    { .name = "odd width", .images = 3, .in = { IMAGE(LARGE, 5, 17) } },
    { .name = "whole registers", .images = 1, .in = { IMAGE(LARGE, 3, 32) } },
    { .name = "all above", .images = 2, .in = { IMAGE(ONE, 4, 9) } },
    { .name = "large numbers", .images = 2, .in = { IMAGE(LARGE, 2, 5) } },
};

const sv_op sv_op_relu = {
    .name = "relu",
    .formula = "x [R,D] -> y = max(x, 0)",
    .source = "torch.relu",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = same_shape,
    .forward = relu_forward,
    .backward = relu_backward,
    .backward_outputs = 1,
    SV_SAMPLES_OF(relu_samples),
};

sv_tensor *sv_tape_relu(sv_tape *tape, sv_tensor *x) { return sv_tape_record(tape, &sv_op_relu, &x, 1, NULL, NULL); }

/* ---- sigmoid ------------------------------------------------------------------------------------------------------ */

/* y = 1 / (1 + exp(-x)):  dx = dy y (1 - y). */
static void sigmoid_forward(const sv_call *call) { sv_sigmoids(rows_of(call, &call->out[0]), rows_of(call, &call->in[0]), numbers_of(call)); }

static void sigmoid_backward(const sv_call *call)
{
    const sv_real *y = call->out[0].data, *dy = call->out[0].gradient;
    for (size_t i = 0; i < sv_span_numbers(&call->in[0]); i++) sv_give(&call->in[0], i, dy[i] * y[i] * (1 - y[i]));
}

const sv_op sv_op_sigmoid = {
    .name = "sigmoid",
    .formula = "x [R,D] -> y = 1 / (1 + exp(-x))",
    .source = "torch.sigmoid",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = same_shape,
    .forward = sigmoid_forward,
    .backward = sigmoid_backward,
    .backward_outputs = 1,
    SV_SAMPLES_OF(one_input_samples),
};

sv_tensor *sv_tape_sigmoid(sv_tape *tape, sv_tensor *x) { return sv_tape_record(tape, &sv_op_sigmoid, &x, 1, NULL, NULL); }

/* ---- softmax and its logarithm ------------------------------------------------------------------------------------ */

static void softmax_rows(const sv_call *call, bool log_form)
{
    const size_t width = call->out[0].width;
    sv_softmax(rows_of(call, &call->out[0]), width, rows_of(call, &call->in[0]), width, call->row_end - call->row_begin, width, log_form);
}

static void softmax_forward(const sv_call *call) { softmax_rows(call, false); }
static void log_softmax_forward(const sv_call *call) { softmax_rows(call, true); }

/* y = exp(x - max) / sum:  dx = y (dy - sum(dy y)). */
static void softmax_backward(const sv_call *call)
{
    const size_t width = call->out[0].width;
    for (size_t r = 0; r < call->in[0].live; r++) {
        const sv_real *y = call->out[0].data + r * width, *dy = call->out[0].gradient + r * width, through = sv_dot(dy, y, width);
        for (size_t i = 0; i < width; i++) sv_give(&call->in[0], r * width + i, y[i] * (dy[i] - through));
    }
}

/* y = x - max - log(sum):  dx = dy - exp(y) sum(dy). */
static void log_softmax_backward(const sv_call *call)
{
    const size_t width = call->out[0].width;
    for (size_t r = 0; r < call->in[0].live; r++) {
        const sv_real *y = call->out[0].data + r * width, *dy = call->out[0].gradient + r * width;
        sv_real sum = 0;
        for (size_t i = 0; i < width; i++) sum += dy[i];
        for (size_t i = 0; i < width; i++) sv_give(&call->in[0], r * width + i, dy[i] - sv_exp(y[i]) * sum);
    }
}

const sv_op sv_op_softmax = {
    .name = "softmax",
    .formula = "x [R,D] -> y = exp(x - max) / sum, of each row",
    .source = "torch.softmax(x, -1)",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = same_shape,
    .forward = softmax_forward,
    .backward = softmax_backward,
    .backward_outputs = 1,
    SV_SAMPLES_OF(one_input_samples),
};

const sv_op sv_op_log_softmax = {
    .name = "log_softmax",
    .formula = "x [R,D] -> y = x - max - log(sum of exp(x - max)), of each row",
    .source = "torch.log_softmax(x, -1)",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = same_shape,
    .forward = log_softmax_forward,
    .backward = log_softmax_backward,
    .backward_outputs = 1,
    SV_SAMPLES_OF(one_input_samples),
};

sv_tensor *sv_tape_softmax(sv_tape *tape, sv_tensor *x) { return sv_tape_record(tape, &sv_op_softmax, &x, 1, NULL, NULL); }
sv_tensor *sv_tape_log_softmax(sv_tape *tape, sv_tensor *x) { return sv_tape_record(tape, &sv_op_log_softmax, &x, 1, NULL, NULL); }

/* ---- add ---------------------------------------------------------------------------------------------------------- */

/* y = a + b:  da = dy, db = dy. A row is live where it is in a or in b. */
static sv_status add_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *a = node->in[0], *b = node->in[1];
    sv_status status = sv_want_image(a, "a", SV_REAL, err);
    if (!status) status = sv_want_width(b, "b", SV_REAL, a->width, err);
    if (!status) status = sv_want_rows(b, "b", a, "a", err);
    if (!status && !sv_rows_equal(a->live, b->live)) node->out[0]->live = node->out[0]->rows;
    return status;
}

static void add_forward(const sv_call *call)
{
    const sv_real *a = rows_of(call, &call->in[0]), *b = rows_of(call, &call->in[1]);
    sv_real *y = rows_of(call, &call->out[0]);
    for (size_t i = 0, count = numbers_of(call); i < count; i++) y[i] = a[i] + b[i];
}

static void add_backward(const sv_call *call)
{
    const sv_real *dy = call->out[0].gradient;
    for (size_t k = 0; k < 2; k++) { /* in order: b may be a, then the second one adds */
        const sv_span *in = &call->in[k];
        if (in->gradient && in->gradient != dy) sv_scale(in->gradient, dy, 1, sv_span_numbers(in), in->accumulate);
    }
}

static const sv_sample add_samples[] = {
    { .name = "one number", .images = 1, .in = { IMAGE(NORMAL, 1, 1), IMAGE(NORMAL, 1, 1) } },
    { .name = "one row", .images = 2, .in = { IMAGE(NORMAL, 1, 7), IMAGE(NORMAL, 1, 7) } },
    { .name = "odd width", .images = 3, .in = { IMAGE(NORMAL, 5, 17), IMAGE(NORMAL, 5, 17) } },
    { .name = "constant a", .images = 1, .in = { CONSTANT(NORMAL, 3, 32), IMAGE(NORMAL, 3, 32) } },
    { .name = "constant b", .images = 1, .in = { IMAGE(NORMAL, 3, 4), CONSTANT(NORMAL, 3, 4) } },
    { .name = "large numbers", .images = 2, .in = { IMAGE(LARGE, 4, 9), IMAGE(LARGE, 4, 9) } },
};

const sv_op sv_op_add = {
    .name = "add",
    .formula = "a [R,D], b [R,D] -> y = a + b",
    .source = "torch.add",
    .inputs_least = 2,
    .inputs_most = 2,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = add_shape,
    .forward = add_forward,
    .backward = add_backward,
    .passes_gradient = 1 + 0,
    SV_SAMPLES_OF(add_samples),
};

sv_tensor *sv_tape_add(sv_tape *tape, sv_tensor *a, sv_tensor *b)
{
    return sv_tape_record(tape, &sv_op_add, (sv_tensor *[]){ a, b }, 2, NULL, NULL);
}

/* ---- scale -------------------------------------------------------------------------------------------------------- */

/* y = factor x:  dx = factor dy. */
static void scale_forward(const sv_call *call)
{
    sv_scale(rows_of(call, &call->out[0]), rows_of(call, &call->in[0]), (sv_real)call->attributes->r[0], numbers_of(call), false);
}

static void scale_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0];
    sv_scale(x->gradient, call->out[0].gradient, (sv_real)call->attributes->r[0], sv_span_numbers(x), x->accumulate);
}

const sv_op sv_op_scale = {
    .name = "scale",
    .formula = "x [R,D] -> y = factor x",
    .source = "torch.mul",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = same_shape,
    .forward = scale_forward,
    .backward = scale_backward,
    SV_SAMPLES_OF(one_input_samples),
};

sv_tensor *sv_tape_scale(sv_tape *tape, sv_tensor *x, double factor)
{
    sv_attributes attributes = { .r = { factor } };
    return sv_tape_record(tape, &sv_op_scale, &x, 1, &attributes, NULL);
}
