/* Numbers of the batch: means over images, and the losses made of them. Images are taken in order, sums run in double. */
#include "autograd/op_shape.h"

#include <assert.h>

/* One row an image, `width` wide. */
static sv_status want_row(const sv_tensor *tensor, const char *what, size_t width, sv_error *err)
{
    sv_status status = sv_want_width(tensor, what, SV_REAL, width ? width : tensor->width, err);
    return status ? status : sv_want_fixed_rows(tensor, what, 1, err);
}

static const sv_real *image_row(const sv_span *span, size_t image) { return span->data + image * span->image_stride; }

static void give_image(const sv_span *span, size_t image, size_t i, double value)
{
    sv_give(span, image * span->image_stride + i, (sv_real)value);
}

/* ---- batch_mean --------------------------------------------------------------------------------------------------- */

/* y = sum_b x_b / B:  dx_b = dy / B. */
static sv_status batch_mean_shape(sv_node *node, sv_error *err)
{
    sv_status status = want_row(node->in[0], "x", 0, err);
    sv_make_batch(node->out[0], node->in[0]->width);
    return status;
}

static void batch_mean_forward(const sv_call *call)
{
    for (size_t i = 0; i < call->in[0].width; i++) {
        double sum = 0;
        for (size_t b = 0; b < call->images; b++) sum += (double)image_row(&call->in[0], b)[i];
        call->out[0].data[i] = (sv_real)(sum / (double)call->images);
    }
}

static void batch_mean_backward(const sv_call *call)
{
    for (size_t b = 0; b < call->images; b++)
        for (size_t i = 0; i < call->in[0].width; i++)
            give_image(&call->in[0], b, i, (double)call->out[0].gradient[i] / (double)call->images);
}

static const sv_sample batch_mean_samples[] = {
    { .name = "one image", .images = 1, .in = { IMAGE(NORMAL, 1, 1) } },
    { .name = "two numbers", .images = 2, .in = { IMAGE(NORMAL, 1, 2) } },
    { .name = "five images", .images = 5, .in = { IMAGE(NORMAL, 1, 1) } },
    { .name = "odd width", .images = 3, .in = { IMAGE(NORMAL, 1, 17) } },
    { .name = "large numbers", .images = 7, .in = { IMAGE(LARGE, 1, 3) } },
    { .name = "zeros", .images = 2, .in = { IMAGE(ZERO, 1, 3) } },
};

const sv_op sv_op_batch_mean = {
    .name = "batch_mean",
    .formula = "x [1,W] of B images -> y [W] = sum_b x_b / B",
    .source = "torch.mean(x, 0)",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_BATCH_OP,
    .shape = batch_mean_shape,
    .forward = batch_mean_forward,
    .backward = batch_mean_backward,
    SV_SAMPLES_OF(batch_mean_samples),
};

sv_tensor *sv_tape_batch_mean(sv_tape *tape, sv_tensor *x) { return sv_tape_record(tape, &sv_op_batch_mean, &x, 1, NULL, NULL); }

/* ---- batch_ratio -------------------------------------------------------------------------------------------------- */

/* n = sum_b x_b0, m = sum_b x_b1, y = n / max(m, 1):  dx_b0 = dy / max(m, 1);  dx_b1 = -dy n / m^2 where m > 1, else 0. */
static sv_status batch_ratio_shape(sv_node *node, sv_error *err)
{
    sv_status status = want_row(node->in[0], "x", 2, err);
    sv_make_batch(node->out[0], 1);
    return status;
}

typedef struct ratio {
    double above, below;
} ratio;

static ratio ratio_of(const sv_call *call)
{
    ratio r = { 0, 0 };
    for (size_t b = 0; b < call->images; b++) {
        r.above += (double)image_row(&call->in[0], b)[0];
        r.below += (double)image_row(&call->in[0], b)[1];
    }
    return r;
}

static void batch_ratio_forward(const sv_call *call)
{
    const ratio r = ratio_of(call);
    call->out[0].data[0] = (sv_real)(r.above / (r.below > 1 ? r.below : 1));
}

static void batch_ratio_backward(const sv_call *call)
{
    const ratio r = ratio_of(call);
    const double dy = (double)call->out[0].gradient[0];
    for (size_t b = 0; b < call->images; b++) {
        give_image(&call->in[0], b, 0, r.below > 1 ? dy / r.below : dy);
        give_image(&call->in[0], b, 1, r.below > 1 ? -dy * r.above / (r.below * r.below) : 0);
    }
}

static const sv_sample batch_ratio_samples[] = {
    { .name = "one image", .images = 1, .in = { IMAGE(UNIT, 1, 2) } },
    { .name = "nothing counted", .images = 2, .in = { IMAGE(ZERO, 1, 2) } },
    { .name = "eight images", .images = 8, .in = { IMAGE(UNIT, 1, 2) } },
    { .name = "five images", .images = 5, .in = { IMAGE(UNIT, 1, 2) } },
    { .name = "large numbers", .images = 3, .in = { IMAGE(LARGE, 1, 2) } },
    { .name = "all equal", .images = 3, .in = { IMAGE(ONE, 1, 2) } },
};

const sv_op sv_op_batch_ratio = {
    .name = "batch_ratio",
    .formula = "x [1,2] of B images -> y [1] = sum_b x_b0 / max(sum_b x_b1, 1)",
    .source = "SPViT code, token distillation",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_BATCH_OP,
    .shape = batch_ratio_shape,
    .forward = batch_ratio_forward,
    .backward = batch_ratio_backward,
    .backward_inputs = 1,
    SV_SAMPLES_OF(batch_ratio_samples),
};

sv_tensor *sv_tape_batch_ratio(sv_tape *tape, sv_tensor *x) { return sv_tape_record(tape, &sv_op_batch_ratio, &x, 1, NULL, NULL); }

/* ---- ratio_loss --------------------------------------------------------------------------------------------------- */

/* f(m) = linear (m - target) + square (m - target)^2 of the mean share m of the batch:  dshare_b = dy (linear + 2 square (m - target)) / B;
 * or (of each image) the mean of f(share_b):  dshare_b = dy (linear + 2 square (share_b - target)) / B. */
static sv_status ratio_loss_shape(sv_node *node, sv_error *err)
{
    sv_status status = want_row(node->in[0], "share", 1, err);
    if (!status) status = sv_want_batch(node->in[1], "goal", 3, err);
    if (!status) status = sv_want_constant(node->in[1], "goal", err);
    sv_make_batch(node->out[0], 1);
    return status;
}

static double mean_share(const sv_call *call, const sv_span *share)
{
    double sum = 0;
    for (size_t b = 0; b < call->images; b++) sum += (double)image_row(share, b)[0];
    return sum / (double)call->images;
}

static double pull(const sv_real *goal, double share)
{
    const double off = share - (double)goal[0];
    return (double)goal[1] * off + (double)goal[2] * off * off;
}

static void ratio_loss_forward(const sv_call *call)
{
    double sum = 0;
    if (!call->attributes->i[0]) {
        call->out[0].data[0] = (sv_real)pull(call->in[1].data, mean_share(call, &call->in[0]));
        return;
    }
    for (size_t b = 0; b < call->images; b++) sum += pull(call->in[1].data, (double)image_row(&call->in[0], b)[0]);
    call->out[0].data[0] = (sv_real)(sum / (double)call->images);
}

static void ratio_loss_backward(const sv_call *call)
{
    const sv_real *goal = call->in[1].data;
    const double mean = mean_share(call, &call->in[0]), dy = (double)call->out[0].gradient[0] / (double)call->images;
    for (size_t b = 0; b < call->images; b++) {
        const double share = call->attributes->i[0] ? (double)image_row(&call->in[0], b)[0] : mean;
        give_image(&call->in[0], b, 0, dy * ((double)goal[1] + 2 * (double)goal[2] * (share - (double)goal[0])));
    }
}

static const sv_sample ratio_loss_samples[] = {
    { .name = "one image", .images = 1, .in = { IMAGE(UNIT, 1, 1), NUMBERS(UNIT, 3) } },
    { .name = "the batch", .images = 5, .in = { IMAGE(UNIT, 1, 1), NUMBERS(UNIT, 3) } },
    { .name = "each image", .images = 5, .in = { IMAGE(UNIT, 1, 1), NUMBERS(UNIT, 3) }, .attributes.i = { 1 } },
    { .name = "no weight", .images = 2, .in = { IMAGE(UNIT, 1, 1), NUMBERS(ZERO, 3) } },
    { .name = "on target", .images = 3, .in = { IMAGE(ONE, 1, 1), NUMBERS(ONE, 3) } },
    { .name = "large weights", .images = 3, .in = { IMAGE(ZERO, 1, 1), NUMBERS(LARGE, 3) }, .attributes.i = { 1 } },
};

const sv_op sv_op_ratio_loss = {
    .name = "ratio_loss",
    .formula = "share [1,1] of B images, goal [3] = target, linear, square -> y [1] = linear (m - target) + square (m - target)^2, m the "
               "mean share; or its mean over images",
    .source = "SPViT code (mean of the batch); Rao et al. 2021 (DynamicViT; of each image)",
    .inputs_least = 2,
    .inputs_most = 2,
    .outputs = 1,
    .locality = SV_BATCH_OP,
    .shape = ratio_loss_shape,
    .forward = ratio_loss_forward,
    .backward = ratio_loss_backward,
    .backward_inputs = 3,
    SV_SAMPLES_OF(ratio_loss_samples),
};

sv_tensor *sv_tape_ratio_loss(sv_tape *tape, sv_tensor *share, sv_tensor *goal, bool per_image)
{
    sv_attributes attributes = { .i = { per_image } };
    return sv_tape_record(tape, &sv_op_ratio_loss, (sv_tensor *[]){ share, goal }, 2, &attributes, NULL);
}

/* ---- latency_loss ------------------------------------------------------------------------------------------------- */

/* kept_t = patches mean_b share_t (cut to 0..patches), ms = fixed + sum_t curve_t(kept_t), linear between whole numbers of patches;
 * excess = (ms - budget) / budget, pull = max(linear + 2 excess, 0), loss = (pull^2 - linear^2) / 4, 0 where the budget is not above 0: linear excess + excess^2
 * down to where it would push upwards (the augmented Lagrangian of an inequality, Rockafellar 1973); without linear max(excess, 0)^2:
 *   dshare_tb = (dms + dloss pull / budget) slope_t patches / B,
 *   slope_t of the piece that begins at or below kept_t. */
enum { MOST_LATENCY_STAGES = 6 };

static sv_status latency_loss_shape(sv_node *node, sv_error *err)
{
    const int64_t stages = node->attributes.i[0], patches = node->attributes.i[1];
    sv_status status = SV_OK;
    if (stages < 1 || stages > MOST_LATENCY_STAGES)
        return sv_fail(err, SV_USAGE, "1 to %d stages are possible, not %lld", MOST_LATENCY_STAGES, (long long)stages);
    if (patches < 1) return sv_fail(err, SV_USAGE, "there must be at least one patch");
    for (int64_t t = 0; !status && t < stages; t++) {
        if (!node->in[t]) return sv_fail(err, SV_USAGE, "the share of stage %lld is missing", (long long)t);
        status = want_row(node->in[t], "share", 1, err);
    }
    if (!status && !node->in[stages]) status = sv_fail(err, SV_USAGE, "the curve is missing");
    if (!status) status = sv_want_batch(node->in[stages], "curve", (size_t)(3 + stages * (patches + 1)), err);
    if (!status) status = sv_want_constant(node->in[stages], "curve", err);
    sv_make_batch(node->out[0], 1);
    sv_make_batch(node->out[1], 1);
    return status;
}

typedef struct stage_cost {
    double ms, slope;
} stage_cost; /* slope: ms for each patch more, 0 where the share was cut */

static stage_cost cost_of(const sv_call *call, size_t stage)
{
    const size_t patches = (size_t)call->attributes->i[1];
    const sv_real *ms = call->in[call->attributes->i[0]].data + 3 + stage * (patches + 1);
    const double kept = mean_share(call, &call->in[stage]) * (double)patches;
    if (!(kept >= 0)) return (stage_cost){ (double)ms[0], 0 };
    if (kept > (double)patches) return (stage_cost){ (double)ms[patches], 0 };
    const size_t below = (size_t)kept < patches ? (size_t)kept : patches - 1;
    const double slope = (double)ms[below + 1] - (double)ms[below];
    return (stage_cost){ (double)ms[below] + (kept - (double)below) * slope, slope };
}

static double predicted_ms(const sv_call *call)
{
    double ms = (double)call->in[call->attributes->i[0]].data[0];
    for (size_t t = 0; t < (size_t)call->attributes->i[0]; t++) ms += cost_of(call, t).ms;
    return ms;
}

/* (ms - budget) / budget, 0 without a budget. */
static double excess_of(const sv_call *call, double ms)
{
    const double budget = (double)call->in[call->attributes->i[0]].data[1];
    return budget > 0 ? (ms - budget) / budget : 0;
}

static double pull_of(double linear, double excess) { return linear + 2 * excess > 0 ? linear + 2 * excess : 0; }

/* excess (linear + excess) rather than a difference of squares: exact zeros stay zeros. */
static double loss_of(double linear, double excess) { return pull_of(linear, excess) > 0 ? excess * (linear + excess) : -linear * linear / 4; }

static void latency_loss_forward(const sv_call *call)
{
    const double ms = predicted_ms(call), excess = excess_of(call, ms), linear = (double)call->in[call->attributes->i[0]].data[2];
    call->out[0].data[0] = (sv_real)(loss_of(linear, excess));
    call->out[1].data[0] = (sv_real)ms;
}

static void latency_loss_backward(const sv_call *call)
{
    const size_t stages = (size_t)call->attributes->i[0];
    const double excess = excess_of(call, predicted_ms(call)), budget = (double)call->in[stages].data[1], linear = (double)call->in[stages].data[2];
    double d_ms = (double)call->out[1].gradient[0];
    if (budget > 0) d_ms += (double)call->out[0].gradient[0] * pull_of(linear, excess) / budget;
    for (size_t t = 0; t < stages; t++) {
        const double each =
            call->in[t].gradient ? d_ms * cost_of(call, t).slope * (double)call->attributes->i[1] / (double)call->images : 0;
        for (size_t b = 0; call->in[t].gradient && b < call->images; b++) give_image(&call->in[t], b, 0, each);
    }
}

static const sv_sample latency_loss_samples[] = {
    { .name = "one stage", .images = 1, .in = { IMAGE(UNIT, 1, 1), NUMBERS(UNIT, 8) }, .attributes.i = { 1, 4 } },
    { .name = "one patch", .images = 2, .in = { IMAGE(UNIT, 1, 1), NUMBERS(UNIT, 5) }, .attributes.i = { 1, 1 } },
    { .name = "three stages",
      .images = 5,
      .in = { IMAGE(UNIT, 1, 1), IMAGE(UNIT, 1, 1), IMAGE(UNIT, 1, 1), NUMBERS(UNIT, 21) },
      .attributes.i = { 3, 5 } },
    { .name = "one share constant",
      .images = 2,
      .in = { CONSTANT(UNIT, 1, 1), IMAGE(UNIT, 1, 1), NUMBERS(UNIT, 11) },
      .attributes.i = { 2, 3 } },
    { .name = "flat curve", .images = 3, .in = { IMAGE(UNIT, 1, 1), NUMBERS(ONE, 9) }, .attributes.i = { 1, 5 } },
    { .name = "no budget", .images = 3, .in = { IMAGE(UNIT, 1, 1), NUMBERS(ZERO, 9) }, .attributes.i = { 1, 5 } },
    { .name = "shares above one", .images = 1, .in = { IMAGE(LARGE, 1, 1), NUMBERS(UNIT, 9) }, .attributes.i = { 1, 5 } },
};

const sv_op sv_op_latency_loss = {
    .name = "latency_loss",
    .formula = "shares [1,1] of B images by stage, curve [3 + stages (patches+1)] -> loss [1] = (max(linear + 2 e, 0)^2 - linear^2) / 4, e = (ms - budget) / budget, ms [1] = "
               "fixed + sum_t curve_t(patches mean_b share_t)",
    .source = "ours: a latency table read by linear interpolation; linear: the multiplier of an augmented Lagrangian (Rockafellar 1973)",
    .inputs_least = 2,
    .inputs_most = 1 + MOST_LATENCY_STAGES,
    .outputs = 2,
    .locality = SV_BATCH_OP,
    .shape = latency_loss_shape,
    .forward = latency_loss_forward,
    .backward = latency_loss_backward,
    .backward_inputs = 127,
    SV_SAMPLES_OF(latency_loss_samples),
};

sv_tensor *sv_tape_latency_loss(sv_tape *tape, sv_tensor *const *shares, size_t stages, sv_tensor *curve, size_t patches,
                                sv_tensor **predicted)
{
    sv_tensor *inputs[1 + MOST_LATENCY_STAGES] = { NULL }, *outputs[2] = { NULL, NULL };
    sv_attributes attributes = { .i = { (int64_t)stages, (int64_t)patches } };
    if (predicted) *predicted = NULL;
    if (stages < 1 || stages > MOST_LATENCY_STAGES) {
        sv_tape_fail(tape, SV_USAGE, "latency_loss: 1 to %d stages are possible, not %zu", MOST_LATENCY_STAGES, stages);
        return NULL;
    }
    for (size_t t = 0; t < stages; t++) inputs[t] = shares[t];
    inputs[stages] = curve;
    sv_tape_record(tape, &sv_op_latency_loss, inputs, stages + 1, &attributes, outputs);
    if (predicted) *predicted = outputs[1];
    return outputs[0];
}

/* ---- weighted_sum ------------------------------------------------------------------------------------------------- */

/* y = sum_t weight_t term_t:  dterm_t = weight_t dy. */
static_assert(SV_COUNT(((sv_attributes *)0)->r) >= SV_MOST_INPUTS, "a weight for each term");

static sv_status weighted_sum_shape(sv_node *node, sv_error *err)
{
    sv_status status = SV_OK;
    for (uint32_t t = 0; !status && t < node->input_count; t++) status = sv_want_batch(node->in[t], "a term", 1, err);
    sv_make_batch(node->out[0], 1);
    return status;
}

static void weighted_sum_forward(const sv_call *call)
{
    double sum = 0;
    for (uint32_t t = 0; t < call->node->input_count; t++) sum += call->attributes->r[t] * (double)call->in[t].data[0];
    call->out[0].data[0] = (sv_real)sum;
}

static void weighted_sum_backward(const sv_call *call)
{
    for (uint32_t t = 0; t < call->node->input_count; t++)
        if (call->in[t].gradient) sv_give(&call->in[t], 0, (sv_real)call->attributes->r[t] * call->out[0].gradient[0]);
}

static const sv_sample weighted_sum_samples[] = {
    { .name = "one term", .images = 1, .in = { NUMBERS(NORMAL, 1) }, .attributes.r = { 1 } },
    { .name = "two terms", .images = 2, .in = { NUMBERS(NORMAL, 1), NUMBERS(NORMAL, 1) }, .attributes.r = { 1, -2 } },
    { .name = "no weight", .images = 1, .in = { NUMBERS(LARGE, 1), NUMBERS(NORMAL, 1) }, .attributes.r = { 0, 0 } },
    { .name = "three terms",
      .images = 3,
      .in = { NUMBERS(NORMAL, 1), NUMBERS(LARGE, 1), NUMBERS(ZERO, 1) },
      .attributes.r = { 0.5, 2, 1 } },
    { .name = "six terms",
      .images = 1,
      .in = { NUMBERS(NORMAL, 1), NUMBERS(NORMAL, 1), NUMBERS(NORMAL, 1), NUMBERS(NORMAL, 1), NUMBERS(NORMAL, 1), NUMBERS(NORMAL, 1) },
      .attributes.r = { 1, 2, 3, 4, 5, 6 } },
    { .name = "eight terms",
      .images = 1,
      .in = { NUMBERS(ONE, 1), NUMBERS(ONE, 1), NUMBERS(ONE, 1), NUMBERS(ONE, 1), NUMBERS(ONE, 1), NUMBERS(ONE, 1), NUMBERS(ONE, 1),
              NUMBERS(ONE, 1) },
      .attributes.r = { 1, 2, 3, 4, 5, 6, 7, 8 } },
};

const sv_op sv_op_weighted_sum = {
    .name = "weighted_sum",
    .formula = "terms [1] of the batch -> y [1] = sum_t weight_t term_t",
    .source = "torch.add, terms of a loss",
    .inputs_least = 1,
    .inputs_most = SV_MOST_INPUTS,
    .outputs = 1,
    .locality = SV_BATCH_OP,
    .shape = weighted_sum_shape,
    .forward = weighted_sum_forward,
    .backward = weighted_sum_backward,
    SV_SAMPLES_OF(weighted_sum_samples),
};

sv_tensor *sv_tape_weighted_sum(sv_tape *tape, sv_tensor *const *terms, size_t count, const double *weights)
{
    sv_attributes attributes = { .i = { 0 } };
    if (count < 1 || count > SV_COUNT(attributes.r)) {
        sv_tape_fail(tape, SV_USAGE, "weighted_sum: 1 to %zu terms are possible, not %zu", SV_COUNT(attributes.r), count);
        return NULL;
    }
    for (size_t t = 0; t < count; t++) attributes.r[t] = weights[t];
    return sv_tape_record(tape, &sv_op_weighted_sum, terms, count, &attributes, NULL);
}
