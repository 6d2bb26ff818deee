/* Attention of one image with a policy: who is seen by whom.
 *   a_ij = q_i.k_j / sqrt(d);  A_ij = 1 for j = i, policy_j elsewhere;  e_ij = exp(a_ij - top_i) A_ij;
 *   p_ij = (e_ij + eps/R) / (sum_j e_ij + eps);  y_i = sum_j p_ij v_j.
 * policy_attention is that formula, for any policy. attention is the form that models use: eps 0, kept rows in front (policy one on
 * the live rows, zero behind), where rows that are not live get no gradient and need none (spec exact savings). */
#include "autograd/op_heads.h"

#include <math.h>
#include <string.h>

static sv_status heads_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *qkv = node->in[0], *policy = node->in[1];
    sv_status status = sv_want_heads(node, err);
    if (status) return status;
    if (!(node->attributes.r[0] > 0))
        return sv_fail(err, SV_USAGE, "the clamp of exponents must be above 0, but is %g", node->attributes.r[0]);
    if (policy) status = sv_want_width(policy, "policy", SV_REAL, 1, err);
    if (!status && policy) status = sv_want_rows(policy, "policy", qkv, "qkv", err);
    if (!status) node->out[0]->width = qkv->width / 3;
    return status;
}

/* ---- attention ---------------------------------------------------------------------------------------------------- */

static sv_status attention_shape(sv_node *node, sv_error *err)
{
    sv_status status = heads_shape(node, err);
    if (!status && !node->in[1] && !sv_rows_equal(node->in[0]->rows, node->in[0]->live))
        return sv_fail(err, SV_USAGE, "without a policy all rows must be live; give the policy that the rows were ordered by");
    return status;
}

static void attention_forward(const sv_call *call)
{
    sv_attention attention = sv_attention_of(call);
    sv_attention_forward(&attention, call->row_begin, call->row_end);
}

/* Scratch in backward: the kernel's, then a policy's gradient, then a whole gradient of qkv where it cannot be written in place. */
/* The kernel overwrites the gradient of qkv; policy_j gets sum over heads and live queries i != j of
 * exp(min(a_ij - top_i, clamp)) / Z_i (g_i.v_j - g_i.y_i), of dead j too: that is how attention teaches the selectors. */
static void attention_backward(const sv_call *call)
{
    const sv_span *qkv = &call->in[0], *policy = &call->in[1], *y = &call->out[0];
    sv_attention attention = sv_attention_of(call);
    sv_real *d_policy = (sv_real *)((unsigned char *)call->scratch + sv_attention_room(qkv->rows, attention.width));
    const bool in_place = qkv->gradient && !qkv->accumulate;
    sv_real *d_qkv = in_place ? qkv->gradient : d_policy + qkv->rows;
    memset(d_policy, 0, qkv->rows * sizeof *d_policy);
    sv_attention_backward(&attention, y->gradient, y->width, d_qkv, qkv->width, policy->gradient ? d_policy : NULL,
                          (sv_real)call->attributes->r[0], NULL);
    if (!in_place && qkv->gradient) sv_scale(qkv->gradient, d_qkv, 1, qkv->live * qkv->width, true);
    if (policy->gradient) sv_scale(policy->gradient, d_policy, 1, policy->live, policy->accumulate);
}

static size_t attention_saved(const sv_node *node) { return 2 * (size_t)node->attributes.i[0] * node->in[0]->rows.most; }

static size_t attention_scratch(const sv_node *node)
{
    const size_t rows = node->in[0]->rows.most, width = node->out[0]->width / (size_t)node->attributes.i[0];
    const size_t forward = sv_attention_forward_scratch(rows, width), own = (rows + rows * node->in[0]->width) * sizeof(sv_real);
    const size_t backward = sv_attention_room(rows, width) + own;
    return backward > forward ? backward : forward;
}

/* Each query with the keys it sees: the live ones, and itself. */
static uint64_t attention_macs(const sv_call *call)
{
    const uint64_t rows = call->in[0].rows, live = call->in[0].live;
    return 2 * (rows * live + (rows - live)) * call->out[0].width;
}

static const sv_sample attention_samples[] = {
    { .name = "one row", .images = 2, .in = { IMAGE(NORMAL, 1, 12) }, .attributes = { .i = { 2 }, .r = { 80 } } },
    { .name = "one number a head", .images = 1, .in = { IMAGE(NORMAL, 5, 9) }, .attributes = { .i = { 3 }, .r = { 80 } } },
    { .name = "odd widths", .images = 3, .in = { IMAGE(NORMAL, 7, 42) }, .attributes = { .i = { 2 }, .r = { 80 } } },
    { .name = "more rows than a panel", .images = 1, .in = { IMAGE(NORMAL, 35, 24) }, .attributes = { .i = { 1 }, .r = { 80 } } },
    { .name = "large numbers", .images = 2, .in = { IMAGE(LARGE, 4, 24) }, .attributes = { .i = { 2 }, .r = { 80 } } },
    { .name = "all scores equal", .images = 1, .in = { IMAGE(ZERO, 6, 12) }, .attributes = { .i = { 2 }, .r = { 80 } } },
    { .name = "constant policy of ones",
      .images = 2,
      .in = { IMAGE(NORMAL, 6, 12), CONSTANT(ONE, 6, 1) },
      .attributes = { .i = { 2 }, .r = { 80 } } },
};

const sv_op sv_op_attention = {
    .name = "attention",
    .formula = "qkv [R,3D], policy [R,1] or none -> y [R,D] = softmax over live keys and the row itself of q.k / sqrt(d), times v, by head",
    .source = "Vaswani et al. 2017, eq. 1; policy as in Rao et al. 2021 (DynamicViT), eps 0",
    .equals = "policy_attention with eps 0",
    .inputs_least = 1,
    .inputs_most = 2,
    .outputs = 1,
    .optional = 1 << 1,
    .locality = SV_IMAGE_ROWS,
    .shape = attention_shape,
    .forward = attention_forward,
    .backward = attention_backward,
    .backward_inputs = 1,
    .backward_outputs = 1,
    .backward_dead = 1,
    .gives_half = true,
    .saved = attention_saved,
    .scratch = attention_scratch,
    .macs = attention_macs,
    SV_SAMPLES_OF(attention_samples),
};

sv_tensor *sv_tape_attention(sv_tape *tape, sv_tensor *qkv, sv_tensor *policy, size_t heads, double clamp)
{
    sv_attributes attributes = { .i = { (int64_t)heads }, .r = { clamp } };
    return sv_tape_record(tape, &sv_op_attention, (sv_tensor *[]){ qkv, policy }, 2, &attributes, NULL);
}

/* ---- policy_attention --------------------------------------------------------------------------------------------- */

/* With Z_i = sum_j e_ij + eps, x_ij = exp(min(a_ij - top_i, clamp)), g = dy, s_ij = g_i.v_j, D_i = sum_j p_ij s_ij:
 *   de_ij = (s_ij - D_i) / Z_i;  da_ij = de_ij e_ij (0 where the exponent was cut);  dpolicy_j += de_ij x_ij for i != j;
 *   dq_i = sum_j da_ij k_j / sqrt(d);  dk_j = sum_i da_ij q_i / sqrt(d);  dv_j = sum_i p_ij g_i.
 * The top is subtracted from every exponent: with eps 0 that cancels, with eps above 0 da of the top's key loses sum_j da_ij. */
typedef struct plain_head {
    const sv_real *q, *k, *v, *policy;
    size_t rows, stride, width;
    sv_real scale, eps, clamp;
    bool top_all;
} plain_head;

static plain_head head_of(const sv_call *call, size_t h)
{
    const sv_span *qkv = &call->in[0];
    const sv_attributes *attributes = call->attributes;
    const size_t part = qkv->width / 3, width = part / (size_t)attributes->i[0];
    const sv_real *q = qkv->data + h * width;
    return (plain_head){ .q = q,
                         .k = q + part,
                         .v = q + 2 * part,
                         .policy = call->in[1].present ? call->in[1].data : NULL,
                         .rows = qkv->rows,
                         .stride = qkv->width,
                         .width = width,
                         .scale = (sv_real)(1 / sqrt((double)width)),
                         .eps = (sv_real)attributes->r[1],
                         .clamp = (sv_real)attributes->r[0],
                         .top_all = attributes->i[1] };
}

static sv_real seen(const plain_head *head, size_t i, size_t j) { return i == j || !head->policy ? 1 : head->policy[j]; }

/* One query: exponents (as numbers x), weights p, what they are divided by, and the key of the top. */
typedef struct plain_row {
    sv_real *exponent, *x, *p, total;
    size_t top;
} plain_row;

static void row_of(const plain_head *head, size_t i, plain_row *row)
{
    bool any = false;
    row->top = i;
    for (size_t j = 0; j < head->rows; j++) {
        row->exponent[j] = head->scale * sv_dot(head->q + i * head->stride, head->k + j * head->stride, head->width);
        if (!head->top_all && seen(head, i, j) == 0) continue;
        if (!any || row->exponent[j] > row->exponent[row->top]) row->top = j;
        any = true;
    }
    const sv_real top = row->exponent[row->top];
    row->total = head->eps;
    for (size_t j = 0; j < head->rows; j++) {
        row->exponent[j] -= top;
        row->x[j] = sv_exp(row->exponent[j] < head->clamp ? row->exponent[j] : head->clamp);
        row->total += row->x[j] * seen(head, i, j);
    }
    for (size_t j = 0; j < head->rows; j++) row->p[j] = (row->x[j] * seen(head, i, j) + head->eps / (sv_real)head->rows) / row->total;
}

static plain_row row_in(const sv_call *call)
{
    sv_real *room = call->scratch;
    const size_t rows = call->in[0].rows;
    return (plain_row){ .exponent = room, .x = room + rows, .p = room + 2 * rows };
}

static void policy_attention_forward(const sv_call *call)
{
    plain_row row = row_in(call);
    for (size_t h = 0; h < (size_t)call->attributes->i[0]; h++) {
        const plain_head head = head_of(call, h);
        for (size_t i = call->row_begin; i < call->row_end; i++) {
            sv_real *y = call->out[0].data + i * call->out[0].width + h * head.width;
            row_of(&head, i, &row);
            for (size_t j = 0; j < head.rows; j++) sv_scale(y, head.v + j * head.stride, row.p[j], head.width, j > 0);
        }
    }
}

/* row->x becomes de x (what policy_j gets), row->exponent becomes da. */
static void scores_back(const plain_head *head, size_t i, const sv_real *g, plain_row *row)
{
    sv_real through = 0, sum = 0;
    for (size_t j = 0; j < head->rows; j++) through += row->p[j] * sv_dot(g, head->v + j * head->stride, head->width);
    for (size_t j = 0; j < head->rows; j++) {
        row->x[j] *= (sv_dot(g, head->v + j * head->stride, head->width) - through) / row->total;
        row->exponent[j] = row->exponent[j] < head->clamp ? row->x[j] * seen(head, i, j) : 0;
        sum += row->exponent[j];
    }
    if (head->eps > 0) row->exponent[row->top] -= sum;
}

static void row_back(const sv_call *call, const plain_head *head, size_t h, size_t i, plain_row *row)
{
    const sv_span *qkv = &call->in[0], *policy = &call->in[1];
    const size_t part = qkv->width / 3;
    const sv_real *g = call->out[0].gradient + i * part + h * head->width;
    sv_real *dq = qkv->gradient ? qkv->gradient + h * head->width : NULL;
    row_of(head, i, row);
    scores_back(head, i, g, row);
    for (size_t j = 0; j < head->rows; j++) {
        if (dq && i < qkv->live)
            sv_scale(dq + i * head->stride, head->k + j * head->stride, head->scale * row->exponent[j], head->width, true);
        if (dq && j < qkv->live) {
            sv_scale(dq + part + j * head->stride, head->q + i * head->stride, head->scale * row->exponent[j], head->width, true);
            sv_scale(dq + 2 * part + j * head->stride, g, row->p[j], head->width, true);
        }
        if (policy->gradient && j != i && j < policy->live) policy->gradient[j] += row->x[j];
    }
}

static void policy_attention_backward(const sv_call *call)
{
    plain_row row = row_in(call);
    sv_begin_gradient(&call->in[0]);
    sv_begin_gradient(&call->in[1]);
    for (size_t h = 0; h < (size_t)call->attributes->i[0]; h++) {
        const plain_head head = head_of(call, h);
        for (size_t i = 0; i < call->out[0].live; i++) row_back(call, &head, h, i, &row);
    }
}

static size_t policy_attention_scratch(const sv_node *node) { return 3 * (size_t)node->in[0]->rows.most * sizeof(sv_real); }
static uint64_t policy_attention_macs(const sv_call *call)
{
    return 2 * (uint64_t)call->in[0].rows * call->in[0].rows * call->out[0].width;
}

/* Differences in a policy of 0 need scores of dropped keys that are not far above the kept ones: hence numbers in (0, 1). */
static const sv_sample policy_attention_samples[] = {
    { .name = "one row", .images = 2, .in = { IMAGE(NORMAL, 1, 6), IMAGE(UNIT, 1, 1) }, .attributes = { .i = { 2 }, .r = { 80 } } },
    { .name = "soft policy", .images = 3, .in = { IMAGE(NORMAL, 5, 18), IMAGE(UNIT, 5, 1) }, .attributes = { .i = { 2 }, .r = { 80 } } },
    { .name = "kept and dropped",
      .images = 3,
      .in = { IMAGE(UNIT, 7, 18), IMAGE(BINARY, 7, 1) },
      .attributes = { .i = { 2 }, .r = { 80 } } },
    { .name = "kept and dropped, top over all",
      .images = 2,
      .in = { IMAGE(UNIT, 7, 18), IMAGE(BINARY, 7, 1) },
      .attributes = { .i = { 2, 1 }, .r = { 80, 1e-3 } } },
    { .name = "everything dropped",
      .images = 1,
      .in = { IMAGE(UNIT, 4, 12), IMAGE(ZERO, 4, 1) },
      .attributes = { .i = { 2 }, .r = { 80 } } },
    { .name = "large eps, soft policy",
      .images = 2,
      .in = { IMAGE(NORMAL, 4, 9), IMAGE(UNIT, 4, 1) },
      .attributes = { .i = { 3 }, .r = { 80, 0.1 } } },
    { .name = "large numbers", .images = 2, .in = { IMAGE(LARGE, 4, 24), IMAGE(UNIT, 4, 1) }, .attributes = { .i = { 2 }, .r = { 80 } } },
    { .name = "no policy", .images = 2, .in = { IMAGE(NORMAL, 4, 9) }, .attributes = { .i = { 3 }, .r = { 80, 1e-6 } } },
};

const sv_op sv_op_policy_attention = {
    .name = "policy_attention",
    .formula = "qkv [R,3D], policy [R,1] or none -> y [R,D] = sum_j (e_ij + eps/R) / (sum_j e_ij + eps) v_j, e_ij = exp(q_i.k_j / sqrt(d) "
               "- top_i) (i = j ? 1 : policy_j)",
    .source = "Rao et al. 2021 (DynamicViT), attention masking; SPViT code",
    .inputs_least = 1,
    .inputs_most = 2,
    .outputs = 1,
    .optional = 1 << 1,
    .locality = SV_IMAGE_ROWS,
    .shape = heads_shape,
    .forward = policy_attention_forward,
    .backward = policy_attention_backward,
    .backward_inputs = 3,
    .backward_dead = 3,
    .scratch = policy_attention_scratch,
    .macs = policy_attention_macs,
    SV_SAMPLES_OF(policy_attention_samples),
};

sv_tensor *sv_tape_policy_attention(sv_tape *tape, sv_tensor *qkv, sv_tensor *policy, size_t heads, double eps, bool top_all, double clamp)
{
    sv_attributes attributes = { .i = { (int64_t)heads, top_all }, .r = { clamp, eps } };
    return sv_tape_record(tape, &sv_op_policy_attention, (sv_tensor *[]){ qkv, policy }, 2, &attributes, NULL);
}
