/* Losses of one image (spec SPViT 5.1), before they are brought together over the batch. */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

static sv_status two_rows_shape(sv_node *node, const char *second, sv_error *err)
{
    const sv_tensor *logits = node->in[0], *other = node->in[1];
    sv_status status = sv_want_image(logits, "logits", SV_REAL, err);
    if (!status) status = sv_want_fixed_rows(logits, "logits", 1, err);
    if (!status) status = sv_want_width(other, second, SV_REAL, logits->width, err);
    if (!status) status = sv_want_fixed_rows(other, second, 1, err);
    if (!status) status = sv_want_constant(other, second, err);
    if (!status) sv_make_image(node->out[0], sv_rows_fixed(1), 1);
    return status;
}

static size_t two_rows_scratch(const sv_node *node) { return 2 * node->in[0]->width * sizeof(sv_real); }

/* ---- cross_entropy ------------------------------------------------------------------------------------------------ */

/* y = -sum_k target_k log_softmax(z)_k:  dz = dy (softmax(z) sum(target) - target). */
static sv_status cross_entropy_shape(sv_node *node, sv_error *err) { return two_rows_shape(node, "target", err); }

static void cross_entropy_forward(const sv_call *call)
{
    const size_t classes = call->in[0].width;
    sv_real *log_p = call->scratch;
    sv_softmax(log_p, classes, call->in[0].data, classes, 1, classes, true);
    call->out[0].data[0] = -sv_dot(call->in[1].data, log_p, classes);
}

static void cross_entropy_backward(const sv_call *call)
{
    const size_t classes = call->in[0].width;
    const sv_real *target = call->in[1].data, dy = call->out[0].gradient[0];
    sv_real *p = call->scratch, sum = 0;
    sv_softmax(p, classes, call->in[0].data, classes, 1, classes, false);
    for (size_t k = 0; k < classes; k++) sum += target[k];
    for (size_t k = 0; k < classes; k++) sv_give(&call->in[0], k, dy * (p[k] * sum - target[k]));
}

static const sv_sample cross_entropy_samples[] = {
    { .name = "two classes", .images = 1, .in = { IMAGE(NORMAL, 1, 2), CONSTANT(SOFTMAX, 1, 2) } },
    { .name = "one class", .images = 2, .in = { IMAGE(NORMAL, 1, 1), CONSTANT(ONE, 1, 1) } },
    { .name = "odd number of classes", .images = 3, .in = { IMAGE(NORMAL, 1, 19), CONSTANT(SOFTMAX, 1, 19) } },
    { .name = "sure logits", .images = 2, .in = { IMAGE(LARGE, 1, 10), CONSTANT(SOFTMAX, 1, 10) } },
    { .name = "all logits equal", .images = 1, .in = { IMAGE(ZERO, 1, 10), CONSTANT(SOFTMAX, 1, 10) } },
    { .name = "no target", .images = 1, .in = { IMAGE(NORMAL, 1, 5), CONSTANT(ZERO, 1, 5) } },
    { .name = "several labels", .images = 2, .in = { IMAGE(NORMAL, 1, 32), CONSTANT(BINARY, 1, 32) } },
};

const sv_op sv_op_cross_entropy = {
    .name = "cross_entropy",
    .formula = "logits z [1,K], target [1,K] -> y [1,1] = -sum_k target_k log_softmax(z)_k",
    .source = "torch.nn.functional.cross_entropy with soft targets",
    .inputs_least = 2,
    .inputs_most = 2,
    .outputs = 1,
    .locality = SV_IMAGE_WHOLE,
    .shape = cross_entropy_shape,
    .forward = cross_entropy_forward,
    .backward = cross_entropy_backward,
    .backward_inputs = 3,
    .scratch = two_rows_scratch,
    SV_SAMPLES_OF(cross_entropy_samples),
};

sv_tensor *sv_tape_cross_entropy(sv_tape *tape, sv_tensor *logits, sv_tensor *target)
{
    return sv_tape_record(tape, &sv_op_cross_entropy, (sv_tensor *[]){ logits, target }, 2, NULL, NULL);
}

/* ---- kl ----------------------------------------------------------------------------------------------------------- */

/* y = sum_k t_k (log t_k - log s_k), t = softmax(teacher), s = softmax(z):  dz = dy (s - t). */
static sv_status kl_shape(sv_node *node, sv_error *err) { return two_rows_shape(node, "teacher logits", err); }

static void kl_forward(const sv_call *call)
{
    const size_t classes = call->in[0].width;
    sv_real *log_t = call->scratch, *log_s = log_t + classes, sum = 0;
    sv_softmax(log_t, classes, call->in[1].data, classes, 1, classes, true);
    sv_softmax(log_s, classes, call->in[0].data, classes, 1, classes, true);
    for (size_t k = 0; k < classes; k++) sum += sv_exp(log_t[k]) * (log_t[k] - log_s[k]);
    call->out[0].data[0] = sum;
}

static void kl_backward(const sv_call *call)
{
    const size_t classes = call->in[0].width;
    sv_real *t = call->scratch, *s = t + classes;
    sv_softmax(t, classes, call->in[1].data, classes, 1, classes, false);
    sv_softmax(s, classes, call->in[0].data, classes, 1, classes, false);
    for (size_t k = 0; k < classes; k++) sv_give(&call->in[0], k, call->out[0].gradient[0] * (s[k] - t[k]));
}

static const sv_sample kl_samples[] = {
    { .name = "two classes", .images = 1, .in = { IMAGE(NORMAL, 1, 2), CONSTANT(NORMAL, 1, 2) } },
    { .name = "one class", .images = 2, .in = { IMAGE(NORMAL, 1, 1), CONSTANT(NORMAL, 1, 1) } },
    { .name = "odd number of classes", .images = 3, .in = { IMAGE(NORMAL, 1, 19), CONSTANT(NORMAL, 1, 19) } },
    { .name = "both sure", .images = 2, .in = { IMAGE(LARGE, 1, 10), CONSTANT(LARGE, 1, 10) } },
    { .name = "student equals teacher", .images = 1, .in = { IMAGE(ZERO, 1, 10), CONSTANT(ZERO, 1, 10) } },
    { .name = "undecided teacher", .images = 2, .in = { IMAGE(LARGE, 1, 32), CONSTANT(ZERO, 1, 32) } },
};

const sv_op sv_op_kl = {
    .name = "kl",
    .formula = "logits z, teacher logits [1,K] -> y [1,1] = sum_k t_k (log t_k - log s_k), t = softmax(teacher), s = softmax(z)",
    .source = "Hinton et al. 2015, temperature 1; torch.nn.functional.kl_div",
    .inputs_least = 2,
    .inputs_most = 2,
    .outputs = 1,
    .locality = SV_IMAGE_WHOLE,
    .shape = kl_shape,
    .forward = kl_forward,
    .backward = kl_backward,
    .backward_inputs = 3,
    .scratch = two_rows_scratch,
    SV_SAMPLES_OF(kl_samples),
};

sv_tensor *sv_tape_kl(sv_tape *tape, sv_tensor *logits, sv_tensor *teacher_logits)
{
    return sv_tape_record(tape, &sv_op_kl, (sv_tensor *[]){ logits, teacher_logits }, 2, NULL, NULL);
}

/* ---- top_class ---------------------------------------------------------------------------------------------------- */

/* y = 1 at the largest number of each row, the first of equals, 0 elsewhere. A row with a NaN becomes NaN: a broken teacher must not pass for
 * one that is sure. */
static sv_status top_class_shape(sv_node *node, sv_error *err) { return sv_want_image(node->in[0], "x", SV_REAL, err); }

static void top_class_forward(const sv_call *call)
{
    const size_t width = call->in[0].width;
    for (size_t r = call->row_begin; r < call->row_end; r++) {
        const sv_real *x = call->in[0].data + r * width;
        sv_real *y = call->out[0].data + r * width, lost = 0;
        size_t top = 0;
        for (size_t k = 0; k < width; k++) {
            if (x[k] > x[top]) top = k;
            if (x[k] != x[k]) lost = x[k];
        }
        for (size_t k = 0; k < width; k++) y[k] = lost != lost ? lost : k == top;
    }
}

static const sv_sample top_class_samples[] = {
    { .name = "one class", .images = 1, .in = { IMAGE(NORMAL, 1, 1) } },
    { .name = "two classes", .images = 2, .in = { IMAGE(NORMAL, 1, 2) } },
    { .name = "odd number of classes", .images = 3, .in = { CONSTANT(NORMAL, 1, 19) } },
    { .name = "all equal", .images = 1, .in = { CONSTANT(ZERO, 1, 10) } },
    { .name = "several rows", .images = 2, .in = { IMAGE(LARGE, 5, 32) } },
    { .name = "of a teacher", .images = 2, .in = { CONSTANT(LARGE, 1, 33) } },
};

const sv_op sv_op_top_class = {
    .name = "top_class",
    .formula = "x [R,K] -> y [R,K] = 1 at the largest number of the row (the first of equals), 0 elsewhere; a row with a NaN is NaN",
    .source = "torch.nn.functional.one_hot(x.argmax(-1))",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = top_class_shape,
    .forward = top_class_forward,
    .stops_gradient = true,
    SV_SAMPLES_OF(top_class_samples),
};

sv_tensor *sv_tape_top_class(sv_tape *tape, sv_tensor *x) { return sv_tape_record(tape, &sv_op_top_class, &x, 1, NULL, NULL); }

/* ---- kept_share --------------------------------------------------------------------------------------------------- */

/* y = sum over patches of keep / patches:  dkeep[r] = dy / patches, zero for rows that are no patches. */
static sv_status kept_share_shape(sv_node *node, sv_error *err)
{
    sv_status status = sv_want_width(node->in[0], "keep", SV_REAL, 1, err);
    if (!status) status = sv_want_width(node->in[1], "origin", SV_INDEX, 1, err);
    if (!status) status = sv_want_rows(node->in[1], "origin", node->in[0], "keep", err);
    if (!status && node->attributes.i[0] < 1) status = sv_fail(err, SV_USAGE, "there must be at least one patch");
    if (!status) sv_make_image(node->out[0], sv_rows_fixed(1), 1);
    return status;
}

static void kept_share_forward(const sv_call *call)
{
    sv_real sum = 0;
    for (size_t r = 0; r < call->in[0].rows; r++) sum += call->in[1].ints[r] >= 0 ? call->in[0].data[r] : 0;
    call->out[0].data[0] = sum / (sv_real)call->attributes->i[0];
}

static void kept_share_backward(const sv_call *call)
{
    const sv_real each = call->out[0].gradient[0] / (sv_real)call->attributes->i[0];
    for (size_t r = 0; r < call->in[0].live; r++) sv_give(&call->in[0], r, call->in[1].ints[r] >= 0 ? each : 0);
}

static const sv_sample kept_share_samples[] = {
    { .name = "one patch", .images = 1, .in = { IMAGE(ONE, 1, 1), CONSTANT(COUNT_UP, 1, 1) }, .attributes.i = { 1 } },
    { .name = "kept and dropped", .images = 3, .in = { IMAGE(BINARY, 7, 1), CONSTANT(INDEX, 7, 1) }, .attributes.i = { 7 } },
    { .name = "everything dropped", .images = 2, .in = { IMAGE(ZERO, 5, 1), CONSTANT(INDEX, 5, 1) }, .attributes.i = { 5 } },
    { .name = "a package token behind", .images = 2, .in = { IMAGE(UNIT, 4, 1), CONSTANT(ORIGIN, 4, 1) }, .attributes.i = { 3 } },
    { .name = "soft", .images = 2, .in = { IMAGE(UNIT, 33, 1), CONSTANT(INDEX, 33, 1) }, .attributes.i = { 33 } },
    { .name = "rows of many patches", .images = 2, .in = { IMAGE(BINARY, 4, 1), CONSTANT(INDEX, 4, 1) }, .attributes.i = { 196 } },
    { .name = "large numbers", .images = 1, .in = { IMAGE(LARGE, 4, 1), CONSTANT(COUNT_UP, 4, 1) }, .attributes.i = { 4 } },
};

const sv_op sv_op_kept_share = {
    .name = "kept_share",
    .formula = "keep [R,1], origin index [R,1] -> y [1,1] = sum of keep over rows that are patches / patches",
    .source = "SPViT code, ratio loss",
    .inputs_least = 2,
    .inputs_most = 2,
    .outputs = 1,
    .locality = SV_IMAGE_WHOLE,
    .shape = kept_share_shape,
    .forward = kept_share_forward,
    .backward = kept_share_backward,
    .backward_inputs = 1 << 1,
    SV_SAMPLES_OF(kept_share_samples),
};

sv_tensor *sv_tape_kept_share(sv_tape *tape, sv_tensor *keep, sv_tensor *origin, size_t patches)
{
    sv_attributes attributes = { .i = { (int64_t)patches } };
    return sv_tape_record(tape, &sv_op_kept_share, (sv_tensor *[]){ keep, origin }, 2, &attributes, NULL);
}
