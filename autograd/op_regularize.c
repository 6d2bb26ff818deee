/* Regularisation by chance. Draws are functions of (seed, epoch, sample, position) and of the place in the tensor, so backward draws them
 * again instead of keeping them:  y = x m / (1 - share), m = 0 or 1:  dx = dy m / (1 - share).
 * In inference mode, and with share 0, nothing is recorded. */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

static sv_status share_shape(sv_node *node, sv_error *err)
{
    const double share = node->attributes.r[0];
    sv_status status = sv_want_image(node->in[0], "x", SV_REAL, err);
    if (status) return status;
    if (!(share >= 0 && share < 1)) return sv_fail(err, SV_USAGE, "the share dropped must be at least 0 and below 1, but is %g", share);
    if (node->attributes.i[0] < 0 || node->attributes.i[0] >= 1 << 24)
        return sv_fail(err, SV_USAGE, "there is no position %lld", (long long)node->attributes.i[0]);
    return SV_OK;
}

static sv_random draws_of(const sv_call *call, sv_purpose purpose)
{
    return sv_random_at(call->step->seed, purpose, call->step->epoch, call->sample, (uint32_t)call->attributes->i[0]);
}

static sv_tensor *record(sv_tape *tape, const sv_op *op, sv_tensor *x, double share, size_t position)
{
    sv_attributes attributes = { .i = { (int64_t)position }, .r = { share } };
    if (share == 0 || sv_tape_mode(tape) == SV_INFERENCE) return x;
    return sv_tape_record(tape, op, &x, 1, &attributes, NULL);
}

/* ---- dropout ------------------------------------------------------------------------------------------------------ */

/* y += or = x m / (1 - share) for the first `count` numbers of the tensor; number i takes word i of the stream. */
static void drop(const sv_call *call, sv_real *y, const sv_real *x, size_t count, bool accumulate)
{
    const double share = call->attributes->r[0];
    const uint32_t below = (uint32_t)(share * 4294967296.0);
    const sv_real factor = (sv_real)(1 / (1 - share));
    sv_random random = draws_of(call, SV_FOR_DROPOUT);
    for (size_t i = 0; i < count; i++) {
        const sv_real value = sv_random_word(&random) < below ? 0 : x[i] * factor;
        y[i] = accumulate ? y[i] + value : value;
    }
}

static void dropout_forward(const sv_call *call)
{
    drop(call, call->out[0].data, call->in[0].data, call->out[0].rows * call->out[0].width, false);
}

static void dropout_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0];
    drop(call, x->gradient, call->out[0].gradient, sv_span_numbers(x), x->accumulate);
}

static const sv_sample share_samples[] = {
    { .name = "one number", .images = 4, .in = { IMAGE(NORMAL, 1, 1) }, .attributes = { .i = { 0 }, .r = { 0.5 } } },
    { .name = "one row", .images = 3, .in = { IMAGE(NORMAL, 1, 7) }, .attributes = { .i = { 1 }, .r = { 0.1 } } },
    { .name = "odd width", .images = 3, .in = { IMAGE(NORMAL, 5, 17) }, .attributes = { .i = { 2 }, .r = { 0.3 } } },
    { .name = "nearly all", .images = 4, .in = { IMAGE(NORMAL, 4, 32) }, .attributes = { .i = { 3 }, .r = { 0.99 } } },
    { .name = "nothing", .images = 2, .in = { IMAGE(NORMAL, 2, 5) }, .attributes = { .i = { 4 }, .r = { 0 } } },
    { .name = "large numbers", .images = 2, .in = { IMAGE(LARGE, 2, 5) }, .attributes = { .i = { (1 << 24) - 1 }, .r = { 0.5 } } },
};

const sv_op sv_op_dropout = {
    .name = "dropout",
    .formula = "x [R,D] -> y = x m / (1 - share), m = 0 with probability share, else 1, for each number",
    .source = "Srivastava et al. 2014; torch.nn.functional.dropout",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_IMAGE_WHOLE,
    .shape = share_shape,
    .forward = dropout_forward,
    .backward = dropout_backward,
    SV_SAMPLES_OF(share_samples),
};

sv_tensor *sv_tape_dropout(sv_tape *tape, sv_tensor *x, double share, size_t position)
{
    return record(tape, &sv_op_dropout, x, share, position);
}

/* ---- drop_path ---------------------------------------------------------------------------------------------------- */

static sv_real path_factor(const sv_call *call)
{
    const double share = call->attributes->r[0];
    sv_random random = draws_of(call, SV_FOR_DROP_PATH);
    return sv_random_uniform(&random) < share ? 0 : (sv_real)(1 / (1 - share));
}

static void drop_path_forward(const sv_call *call)
{
    const size_t from = call->row_begin * call->out[0].width, end = call->row_end * call->out[0].width;
    sv_scale(call->out[0].data + from, call->in[0].data + from, path_factor(call), end - from, false);
}

static void drop_path_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0];
    sv_scale(x->gradient, call->out[0].gradient, path_factor(call), sv_span_numbers(x), x->accumulate);
}

const sv_op sv_op_drop_path = {
    .name = "drop_path",
    .formula = "x [R,D] -> y = x m / (1 - share), m = 0 with probability share, else 1, for each image",
    .source = "Huang et al. 2016 (stochastic depth); timm DropPath",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = share_shape,
    .forward = drop_path_forward,
    .backward = drop_path_backward,
    SV_SAMPLES_OF(share_samples),
};

sv_tensor *sv_tape_drop_path(sv_tape *tape, sv_tensor *branch, double share, size_t position)
{
    return record(tape, &sv_op_drop_path, branch, share, position);
}
