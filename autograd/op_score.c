/* Scores of tokens that nobody has to learn: what the class token looks at, and draws. */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

/* ---- class_attention ---------------------------------------------------------------------------------------------- */

/* p_hj = softmax_j(scale q_0.k_j) of head h, y_j = sum_h p_hj / H. With g = dy / H:
 *   da_hj = p_hj (g_j - sum_l p_hl g_l);  dq_0 = scale sum_j da_hj k_j;  dk_j = scale da_hj q_0;  zero for other queries and for values. */
static sv_status class_attention_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *qkv = node->in[0];
    const int64_t heads = node->attributes.i[0];
    sv_status status = sv_want_image(qkv, "qkv", SV_REAL, err);
    if (status) return status;
    if (heads < 1 || qkv->width % (3 * (size_t)heads))
        return sv_fail(err, SV_USAGE, "qkv must be 3 x %lld heads wide times the width of a head, but is %zu wide", (long long)heads,
                       qkv->width);
    if (!sv_rows_equal(qkv->rows, qkv->live)) return sv_fail(err, SV_USAGE, "all rows of qkv must be live");
    node->out[0]->width = 1;
    return SV_OK;
}

typedef struct seen_by {
    const sv_real *q, *k; /* of row 0; of row 0, others `stride` apart */
    size_t rows, stride, width;
    sv_real scale;
} seen_by;

static seen_by head_of(const sv_call *call, size_t h)
{
    const sv_span *qkv = &call->in[0];
    const size_t part = qkv->width / 3, width = part / (size_t)call->attributes->i[0];
    return (
        seen_by){ qkv->data + h * width, qkv->data + part + h * width, qkv->rows, qkv->width, width, (sv_real)(1 / sqrt((double)width)) };
}

static void weights_of(const seen_by *head, sv_real *p)
{
    for (size_t j = 0; j < head->rows; j++) p[j] = head->scale * sv_dot(head->q, head->k + j * head->stride, head->width);
    sv_softmax(p, head->rows, p, head->rows, 1, head->rows, false);
}

static void class_attention_forward(const sv_call *call)
{
    const size_t heads = (size_t)call->attributes->i[0], rows = call->in[0].rows;
    sv_real *p = call->scratch, *y = call->out[0].data;
    memset(y, 0, rows * sizeof *y);
    for (size_t h = 0; h < heads; h++) {
        const seen_by head = head_of(call, h);
        weights_of(&head, p);
        sv_scale(y, p, 1, rows, true);
    }
    sv_scale(y, y, 1 / (sv_real)heads, rows, false);
}

static void class_attention_backward(const sv_call *call)
{
    const size_t heads = (size_t)call->attributes->i[0];
    const sv_span *qkv = &call->in[0];
    const sv_real *g = call->out[0].gradient;
    sv_real *p = call->scratch;
    sv_begin_gradient(qkv);
    for (size_t h = 0; h < heads; h++) {
        const seen_by head = head_of(call, h);
        sv_real *dq = qkv->gradient + h * head.width, *dk = dq + qkv->width / 3;
        weights_of(&head, p);
        const sv_real through = sv_dot(p, g, head.rows);
        for (size_t j = 0; j < head.rows; j++) {
            const sv_real da = head.scale * p[j] * (g[j] - through) / (sv_real)heads;
            sv_scale(dq, head.k + j * head.stride, da, head.width, true);
            sv_scale(dk + j * head.stride, head.q, da, head.width, true);
        }
    }
}

static size_t class_attention_scratch(const sv_node *node) { return node->in[0]->rows.most * sizeof(sv_real); }
static uint64_t class_attention_macs(const sv_call *call) { return (uint64_t)call->in[0].rows * call->in[0].width / 3; }

static const sv_sample class_attention_samples[] = {
    { .name = "one row", .images = 2, .in = { IMAGE(NORMAL, 1, 12) }, .attributes.i = { 2 } },
    { .name = "one number a head", .images = 1, .in = { IMAGE(NORMAL, 5, 9) }, .attributes.i = { 3 } },
    { .name = "odd widths", .images = 3, .in = { IMAGE(NORMAL, 7, 42) }, .attributes.i = { 2 } },
    { .name = "many rows", .images = 1, .in = { IMAGE(NORMAL, 35, 24) }, .attributes.i = { 1 } },
    { .name = "large numbers", .images = 2, .in = { IMAGE(LARGE, 4, 24) }, .attributes.i = { 2 } },
    { .name = "all scores equal", .images = 1, .in = { IMAGE(ZERO, 6, 12) }, .attributes.i = { 2 } },
};

const sv_op sv_op_class_attention = {
    .name = "class_attention",
    .formula = "qkv [R,3D] -> y [R,1] = mean over heads of softmax_j(q_0.k_j / sqrt(d))",
    .source = "Liang et al. 2022 (EViT), attentiveness of tokens",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_IMAGE_WHOLE,
    .shape = class_attention_shape,
    .forward = class_attention_forward,
    .backward = class_attention_backward,
    .backward_inputs = 1,
    .scratch = class_attention_scratch,
    .macs = class_attention_macs,
    SV_SAMPLES_OF(class_attention_samples),
};

sv_tensor *sv_tape_class_attention(sv_tape *tape, sv_tensor *qkv, size_t heads)
{
    sv_attributes attributes = { .i = { (int64_t)heads } };
    return sv_tape_record(tape, &sv_op_class_attention, &qkv, 1, &attributes, NULL);
}

/* ---- random_score ------------------------------------------------------------------------------------------------- */

enum { MOST_STAGES = 1 << 6, MOST_PATCHES = 1 << 18 };

static sv_status random_score_shape(sv_node *node, sv_error *err)
{
    const int64_t stage = node->attributes.i[0];
    sv_status status = sv_want_width(node->in[0], "origin", SV_INDEX, 1, err);
    if (!status && (stage < 0 || stage >= MOST_STAGES))
        status = sv_fail(err, SV_USAGE, "the stage must be 0 to %d, but is %lld", MOST_STAGES - 1, (long long)stage);
    if (!status && node->in[0]->rows.most > MOST_PATCHES) status = sv_fail(err, SV_USAGE, "at most %d tokens can be scored", MOST_PATCHES);
    node->out[0]->dtype = SV_REAL;
    return status;
}

sv_real sv_random_score(uint64_t seed, uint32_t epoch, uint64_t sample, size_t stage, size_t patch)
{
    const uint32_t position = (uint32_t)stage << 18 | ((uint32_t)patch & (MOST_PATCHES - 1));
    sv_random random = sv_random_at(seed, SV_FOR_DECISION, epoch, sample, position);
    return (sv_real)sv_random_logistic(&random);
}

static void random_score_forward(const sv_call *call)
{
    for (size_t r = call->row_begin; r < call->row_end; r++) {
        const int32_t patch = call->in[0].ints[r];
        call->out[0].data[r] =
            patch < 0 ? 0 : sv_random_score(call->step->seed, call->step->epoch, call->sample, (size_t)call->attributes->i[0], (size_t)patch);
    }
}

static const sv_sample random_score_samples[] = {
    { .name = "one patch", .images = 2, .in = { CONSTANT(COUNT_UP, 1, 1) } },
    { .name = "in any order", .images = 3, .in = { CONSTANT(INDEX, 9, 1) }, .attributes.i = { 2 } },
    { .name = "a package token among them", .images = 2, .in = { CONSTANT(ORIGIN, 5, 1) }, .attributes.i = { 1 } },
    { .name = "one patch twice", .images = 1, .in = { CONSTANT(INDEX_ZERO, 3, 1) } },
    { .name = "many", .images = 2, .in = { CONSTANT(INDEX, 49, 1) }, .attributes.i = { 63 } },
    { .name = "no patch at all", .images = 1, .in = { CONSTANT(ORIGIN, 1, 1) } },
};

const sv_op sv_op_random_score = {
    .name = "random_score",
    .formula = "origin index [R,1] -> y [R,1]: a logistic number for (seed, epoch, sample, stage, origin), 0 where the origin is below 0",
    .source = "ours: the score that knows nothing",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_IMAGE_ROWS,
    .shape = random_score_shape,
    .forward = random_score_forward,
    .stops_gradient = true,
    SV_SAMPLES_OF(random_score_samples),
};

sv_tensor *sv_tape_random_score(sv_tape *tape, sv_tensor *origin, size_t stage)
{
    sv_attributes attributes = { .i = { (int64_t)stage } };
    return sv_tape_record(tape, &sv_op_random_score, &origin, 1, &attributes, NULL);
}

/* ---- constant ----------------------------------------------------------------------------------------------------- */

static sv_status constant_shape(sv_node *node, sv_error *err) { return sv_want_image(node->in[0], "x", SV_REAL, err); }

static void constant_forward(const sv_call *call)
{
    const size_t width = call->out[0].width, at = call->row_begin * width;
    memcpy(call->out[0].data + at, call->in[0].data + at, (call->row_end - call->row_begin) * width * sizeof(sv_real));
}

static const sv_sample constant_samples[] = {
    { .name = "one number", .images = 1, .in = { IMAGE(NORMAL, 1, 1) } },
    { .name = "one row", .images = 2, .in = { IMAGE(NORMAL, 1, 17) } },
    { .name = "rows", .images = 3, .in = { IMAGE(NORMAL, 5, 3) } },
    { .name = "large numbers", .images = 2, .in = { IMAGE(LARGE, 4, 32) } },
    { .name = "of a constant", .images = 1, .in = { CONSTANT(UNIT, 4, 2) } },
    { .name = "zeros", .images = 1, .in = { IMAGE(ZERO, 3, 3) } },
};

const sv_op sv_op_constant = {
    .name = "constant",
    .formula = "x [R,D] -> y [R,D] = x, through which no gradient goes",
    .source = "x.detach()",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = constant_shape,
    .forward = constant_forward,
    .stops_gradient = true,
    SV_SAMPLES_OF(constant_samples),
};

sv_tensor *sv_tape_constant(sv_tape *tape, sv_tensor *x) { return sv_tape_record(tape, &sv_op_constant, &x, 1, NULL, NULL); }
