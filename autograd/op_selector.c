/* The pieces of a selector (spec SPViT 2.2-2.4) that are no linear layer. Rows of a head-split tensor: row r*H+h is head h of token r. */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

#include <string.h>

/* x must have G rows a token; the tokens' rows. */
static sv_status want_groups(const sv_tensor *x, const char *what, size_t groups, sv_error *err)
{
    const bool whole = groups > 0 && (x->rows.source < 0 ? x->rows.most % groups == 0 : x->rows.times % groups == 0);
    return whole ? SV_OK : sv_fail(err, SV_USAGE, "%s must have %zu rows a token, but has at most %u rows", what, groups, x->rows.most);
}

/* ---- head_mean ---------------------------------------------------------------------------------------------------- */

/* y[r,h] = mean of the d numbers of head h in row r:  dx = dy / d. */
static sv_status head_mean_shape(sv_node *node, sv_error *err)
{
    const size_t heads = (size_t)node->attributes.i[0];
    sv_status status = sv_want_image(node->in[0], "x", SV_REAL, err);
    if (status) return status;
    if (!heads || node->in[0]->width % heads)
        return sv_fail(err, SV_USAGE, "a width of %zu cannot be cut into %zu heads", node->in[0]->width, heads);
    node->out[0]->width = heads;
    return SV_OK;
}

/* In lanes by position, so that a compiler may add many at once. */
static sv_real sum_of(const sv_real *x, size_t count)
{
    enum { LANES = 16 };
    sv_real lanes[LANES] = { 0 }, total = 0;
    size_t c = 0;
    for (; c + LANES <= count; c += LANES)
        for (size_t l = 0; l < LANES; l++) lanes[l] += x[c + l];
    for (size_t l = 0; c < count; c++, l++) lanes[l] += x[c];
    for (size_t l = 0; l < LANES; l++) total += lanes[l];
    return total;
}

static void head_mean_forward(const sv_call *call)
{
    const size_t heads = call->out[0].width, d = call->in[0].width / heads;
    for (size_t i = call->row_begin * heads; i < call->row_end * heads; i++)
        call->out[0].data[i] = sum_of(call->in[0].data + i * d, d) / (sv_real)d;
}

static void head_mean_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0];
    const size_t heads = call->out[0].width, d = x->width / heads;
    for (size_t i = 0; i < x->live * heads; i++) {
        const sv_real each = call->out[0].gradient[i] / (sv_real)d;
        for (size_t c = 0; c < d; c++) sv_give(x, i * d + c, each);
    }
}

static const sv_sample head_mean_samples[] = {
    { .name = "one row", .images = 1, .in = { IMAGE(NORMAL, 1, 6) }, .attributes.i = { 2 } },
    { .name = "one head", .images = 2, .in = { IMAGE(NORMAL, 4, 7) }, .attributes.i = { 1 } },
    { .name = "one number a head", .images = 2, .in = { IMAGE(NORMAL, 3, 5) }, .attributes.i = { 5 } },
    { .name = "odd width", .images = 3, .in = { IMAGE(NORMAL, 5, 51) }, .attributes.i = { 3 } },
    { .name = "large numbers", .images = 2, .in = { IMAGE(LARGE, 2, 32) }, .attributes.i = { 2 } },
    { .name = "all equal", .images = 1, .in = { IMAGE(ONE, 2, 9) }, .attributes.i = { 3 } },
};

const sv_op sv_op_head_mean = {
    .name = "head_mean",
    .formula = "x [R,D] -> y [R,H], mean of the d = D/H numbers of each head",
    .source = "SPViT code, importance of heads",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = head_mean_shape,
    .forward = head_mean_forward,
    .backward = head_mean_backward,
    SV_SAMPLES_OF(head_mean_samples),
};

sv_tensor *sv_tape_head_mean(sv_tape *tape, sv_tensor *x, size_t heads)
{
    sv_attributes attributes = { .i = { (int64_t)heads } };
    return sv_tape_record(tape, &sv_op_head_mean, &x, 1, &attributes, NULL);
}

/* ---- weighted_mean ------------------------------------------------------------------------------------------------ */

/* Of the columns of x from f on:  y[g] = sum_r w_r x[r*G+g] / W, W = max(sum_r w_r, least):
 *   dx[r*G+g] = w_r dy[g] / W;  dw_r = sum_g dy[g].(x[r*G+g] - y[g]) / W, without y[g] where the floor holds.
 * dw_r reads x of rows that are not live too: that is how a later selector teaches the decisions before it (spec 2.2). */
static sv_real least_weight(const sv_attributes *attributes) { return (sv_real)(attributes->r[0] > 0 ? attributes->r[0] : 1e-6); }

static sv_status weighted_mean_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *x = node->in[0], *weight = node->in[1];
    const size_t groups = (size_t)node->attributes.i[0], from = (size_t)node->attributes.i[1];
    sv_status status = sv_want_image(x, "x", SV_REAL, err);
    if (!status) status = want_groups(x, "x", groups, err);
    if (!status && from >= x->width) status = sv_fail(err, SV_USAGE, "x has no columns from %zu on, but %zu in all", from, x->width);
    if (!status && weight) status = sv_want_width(weight, "weight", SV_REAL, 1, err);
    if (!status && weight && !sv_rows_equal(sv_rows_times(weight->rows, (uint32_t)groups), x->rows))
        status = sv_fail(err, SV_USAGE, "x must have %zu rows for each row of weight (at most %u against %u)", groups, x->rows.most,
                         weight->rows.most);
    if (!status) sv_make_image(node->out[0], sv_rows_fixed(groups), x->width - from);
    return status;
}

typedef struct mean_view {
    size_t groups, tokens, width, from, stride;
    const sv_real *weight;
    sv_real total, least;
} mean_view; /* total: the sum before its floor; stride: of a token */

static mean_view mean_view_of(const sv_call *call)
{
    const sv_span *x = &call->in[0], *weight = &call->in[1];
    mean_view v = { .groups = (size_t)call->attributes->i[0], .from = (size_t)call->attributes->i[1], .weight = weight->present ? weight->data : NULL,
                    .least = least_weight(call->attributes) };
    v.tokens = x->rows / v.groups, v.width = x->width - v.from, v.stride = x->width * v.groups;
    for (size_t r = 0; r < v.tokens; r++) v.total += v.weight ? v.weight[r] : 1;
    return v;
}

/* A sum that meets the floor is above it: one token kept under a floor of one teaches as any other number of them. */
static bool is_held(const mean_view *v) { return !(v->total >= v->least); }
static sv_real floored(const mean_view *v) { return is_held(v) ? v->least : v->total; }

static void weighted_mean_forward(const sv_call *call)
{
    const mean_view v = mean_view_of(call);
    const sv_real factor = 1 / floored(&v);
    for (size_t g = call->row_begin; g < call->row_end; g++) {
        sv_real *y = call->out[0].data + g * v.width;
        sv_weighted_rows(y, call->in[0].data + g * call->in[0].width + v.from, v.stride, v.weight, v.tokens, v.width);
        sv_scale(y, y, factor, v.width, false);
    }
}

/* dw of token r, `through` what the sum of all weights passes on. */
static sv_real weight_slope(const mean_view *v, const sv_span *x, const sv_real *dy, size_t r, sv_real factor, sv_real through)
{
    sv_real sum = 0;
    for (size_t g = 0; g < v->groups; g++) sum += sv_dot(dy + g * v->width, x->data + r * v->stride + g * x->width + v->from, v->width);
    return factor * (sum - through);
}

static void weighted_mean_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0], *weight = &call->in[1], *y = &call->out[0];
    const mean_view v = mean_view_of(call);
    const sv_real factor = 1 / floored(&v);
    sv_real through = 0;
    for (size_t i = 0; x->gradient && i < x->live; i++) {
        sv_real *dx = x->gradient + i * x->width;
        if (!x->accumulate) memset(dx, 0, v.from * sizeof *dx);
        sv_scale(dx + v.from, y->gradient + i % v.groups * v.width, v.weight ? v.weight[i / v.groups] * factor : factor, v.width, x->accumulate);
    }
    for (size_t g = 0; weight->gradient && !is_held(&v) && g < v.groups; g++)
        through += sv_dot(y->gradient + g * v.width, y->data + g * v.width, v.width);
    for (size_t r = 0; weight->gradient && r < weight->live; r++) sv_give(weight, r, weight_slope(&v, x, y->gradient, r, factor, through));
}

static const sv_sample weighted_mean_samples[] = {
    { .name = "one row", .images = 1, .in = { IMAGE(NORMAL, 1, 7), IMAGE(UNIT, 1, 1) }, .attributes.i = { 1 } },
    { .name = "three heads", .images = 3, .in = { IMAGE(NORMAL, 15, 17), IMAGE(UNIT, 5, 1) }, .attributes.i = { 3 } },
    { .name = "kept and dropped", .images = 3, .in = { IMAGE(NORMAL, 14, 8), IMAGE(BINARY, 7, 1) }, .attributes.i = { 2 } },
    { .name = "one token left", .images = 2, .in = { IMAGE(NORMAL, 6, 4), IMAGE(PREFIX, 3, 1) }, .attributes.i = { 2 } },
    { .name = "everything dropped", .images = 2, .in = { IMAGE(NORMAL, 6, 4), CONSTANT(ZERO, 3, 1) }, .attributes.i = { 2 } },
    { .name = "no weight", .images = 2, .in = { IMAGE(NORMAL, 6, 4) }, .attributes.i = { 2 } },
    { .name = "large numbers", .images = 1, .in = { IMAGE(LARGE, 4, 32), IMAGE(UNIT, 4, 1) }, .attributes.i = { 1 } },
    { .name = "constant x", .images = 2, .in = { CONSTANT(NORMAL, 4, 3), IMAGE(UNIT, 4, 1) }, .attributes.i = { 1 } },
    { .name = "above a floor of one", .images = 3, .in = { IMAGE(NORMAL, 9, 5), IMAGE(UNIT, 9, 1) }, .attributes = { .i = { 1 }, .r = { 1 } } },
    { .name = "below a floor of one", .images = 2, .in = { IMAGE(NORMAL, 2, 5), IMAGE(UNIT, 1, 1) }, .attributes = { .i = { 2 }, .r = { 1 } } },
    { .name = "the second half", .images = 3, .in = { IMAGE(NORMAL, 10, 8), IMAGE(BINARY, 5, 1) }, .attributes.i = { 2, 4 } },
    { .name = "the last column", .images = 2, .in = { IMAGE(NORMAL, 6, 5), IMAGE(UNIT, 2, 1) }, .attributes.i = { 3, 4 } },
    { .name = "everything dropped, a floor of one", .images = 2, .in = { IMAGE(NORMAL, 5, 4), IMAGE(ZERO, 5, 1) }, .attributes = { .i = { 1 }, .r = { 1 } } },
};

const sv_op sv_op_weighted_mean = {
    .name = "weighted_mean",
    .formula = "x [R*G,D], weight [R,1] or none -> y [G,D-f], y[g] = sum_r weight_r x[r*G+g, f:] / max(sum_r weight_r, least)",
    .source = "DynamicViT and SPViT code, global feature of the kept tokens",
    .inputs_least = 1,
    .inputs_most = 2,
    .outputs = 1,
    .optional = 1 << 1,
    .locality = SV_IMAGE_ROWS,
    .shape = weighted_mean_shape,
    .forward = weighted_mean_forward,
    .backward = weighted_mean_backward,
    .backward_inputs = 3,
    .backward_outputs = 1,
    .backward_dead = 3,
    SV_SAMPLES_OF(weighted_mean_samples),
};

sv_tensor *sv_tape_weighted_mean(sv_tape *tape, sv_tensor *x, sv_tensor *weight, size_t groups)
{
    return sv_tape_floored_mean(tape, x, 0, weight, groups, 0);
}

sv_tensor *sv_tape_floored_mean(sv_tape *tape, sv_tensor *x, size_t from, sv_tensor *weight, size_t groups, double least)
{
    sv_attributes attributes = { .i = { (int64_t)groups, (int64_t)from }, .r = { least } };
    return sv_tape_record(tape, &sv_op_weighted_mean, (sv_tensor *[]){ x, weight }, 2, &attributes, NULL);
}

/* ---- local_global ------------------------------------------------------------------------------------------------- */

/* Row r*G+g of y = first half of local's row, then global[g]:  dlocal = first half of dy, then zeros;
 * dglobal[g] = sum_r second half of dy. */
static sv_status local_global_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *local = node->in[0], *global = node->in[1];
    sv_status status = sv_want_image(local, "local", SV_REAL, err);
    if (status) return status;
    if (local->width % 2) return sv_fail(err, SV_USAGE, "local must have an even width, but is %zu wide", local->width);
    status = sv_want_width(global, "global", SV_REAL, local->width / 2, err);
    if (!status) status = sv_want_fixed_rows(global, "global", 0, err);
    if (!status) status = want_groups(local, "local", global->rows.most, err);
    return status;
}

static void local_global_forward(const sv_call *call)
{
    const size_t half = call->in[1].width, groups = call->in[1].rows;
    for (size_t r = call->row_begin; r < call->row_end; r++) {
        memcpy(call->out[0].data + 2 * r * half, call->in[0].data + 2 * r * half, half * sizeof(sv_real));
        memcpy(call->out[0].data + (2 * r + 1) * half, call->in[1].data + r % groups * half, half * sizeof(sv_real));
    }
}

static void local_global_backward(const sv_call *call)
{
    const sv_span *local = &call->in[0], *global = &call->in[1];
    const size_t half = global->width, groups = global->rows;
    const sv_real *dy = call->out[0].gradient;
    if (local->gradient) sv_begin_gradient(local);
    for (size_t r = 0; local->gradient && r < local->live; r++) sv_scale(local->gradient + 2 * r * half, dy + 2 * r * half, 1, half, true);
    if (global->gradient) sv_begin_gradient(global);
    for (size_t r = 0; global->gradient && r < call->out[0].live; r++)
        if (r % groups < global->live) sv_scale(global->gradient + r % groups * half, dy + (2 * r + 1) * half, 1, half, true);
}

static const sv_sample local_global_samples[] = {
    { .name = "one row", .images = 1, .in = { IMAGE(NORMAL, 1, 2), IMAGE(NORMAL, 1, 1) } },
    { .name = "three heads", .images = 3, .in = { IMAGE(NORMAL, 15, 6), IMAGE(NORMAL, 3, 3) } },
    { .name = "one head", .images = 2, .in = { IMAGE(NORMAL, 4, 34), IMAGE(NORMAL, 1, 17) } },
    { .name = "one token", .images = 2, .in = { IMAGE(NORMAL, 4, 8), IMAGE(NORMAL, 4, 4) } },
    { .name = "constant local", .images = 2, .in = { CONSTANT(NORMAL, 4, 8), IMAGE(NORMAL, 2, 4) } },
    { .name = "constant global", .images = 2, .in = { IMAGE(LARGE, 4, 8), CONSTANT(NORMAL, 2, 4) } },
};

const sv_op sv_op_local_global = {
    .name = "local_global",
    .formula = "local [R*G,d], global [G,d/2] -> y [R*G,d], row r*G+g = first d/2 columns of local | global[g]",
    .source = "SPViT code, local and global feature",
    .inputs_least = 2,
    .inputs_most = 2,
    .outputs = 1,
    .locality = SV_IMAGE_ROWS,
    .shape = local_global_shape,
    .forward = local_global_forward,
    .backward = local_global_backward,
    SV_SAMPLES_OF(local_global_samples),
};

sv_tensor *sv_tape_local_global(sv_tape *tape, sv_tensor *local, sv_tensor *global)
{
    return sv_tape_record(tape, &sv_op_local_global, (sv_tensor *[]){ local, global }, 2, NULL, NULL);
}

/* ---- combine_heads ------------------------------------------------------------------------------------------------ */

/* With delta_h = z_h0 - z_h1, s_h = softmax(z_h)_0 = sigmoid(delta_h), W = max(sum_h w_h, 1e-12):
 *   a = sum_h w_h delta_h / W;  da/dz_h0 = w_h / W = -da/dz_h1;  da/dw_h = (delta_h - a) / W;
 *   score = sum_h w_h s_h / W;  dscore/ddelta_h = w_h s_h (1 - s_h) / W;  dscore/dw_h = (s_h - score) / W
 * (without a and score in the last of each where the floor holds). */
static const sv_real least_importance = (sv_real)1e-12;

static sv_status combine_heads_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *z = node->in[0], *importance = node->in[1];
    sv_status status = sv_want_width(z, "z", SV_REAL, 2, err);
    if (!status) status = sv_want_image(importance, "importance", SV_REAL, err);
    if (status) return status;
    if (!sv_rows_equal(sv_rows_times(importance->rows, (uint32_t)importance->width), z->rows))
        return sv_fail(err, SV_USAGE, "z must have %zu rows, one a head, for each row of importance (at most %u against %u)",
                       importance->width, z->rows.most, importance->rows.most);
    const bool alike = sv_rows_equal(sv_rows_times(importance->live, (uint32_t)importance->width), z->live);
    for (size_t o = 0; o < 2; o++) {
        sv_make_image(node->out[o], importance->rows, 1);
        if (alike) node->out[o]->live = importance->live;
    }
    return SV_OK;
}

typedef struct combined {
    sv_real a, score, total;
} combined; /* total: the sum before its floor */

/* s: the sigmoids of delta. */
static combined combine(const sv_real *delta, const sv_real *s, const sv_real *w, size_t heads)
{
    combined c = { 0, 0, 0 };
    for (size_t h = 0; h < heads; h++) {
        c.total += w[h];
        c.a += w[h] * delta[h];
        c.score += w[h] * s[h];
    }
    const sv_real floor = c.total > least_importance ? c.total : least_importance;
    c.a /= floor;
    c.score /= floor;
    return c;
}

/* delta and s of `rows` tokens from token `begin` on. */
static void differ(const sv_call *call, size_t begin, size_t rows, sv_real *delta, sv_real *s)
{
    const size_t heads = call->in[1].width;
    const sv_real *z = call->in[0].data + 2 * begin * heads;
    for (size_t i = 0; i < rows * heads; i++) delta[i] = z[2 * i] - z[2 * i + 1];
    sv_sigmoids(s, delta, rows * heads);
}

static void combine_heads_forward(const sv_call *call)
{
    const size_t heads = call->in[1].width;
    sv_real *delta = call->scratch, *s = delta + call->out[0].rows * heads;
    differ(call, call->row_begin, call->row_end - call->row_begin, delta, s);
    for (size_t r = call->row_begin; r < call->row_end; r++, delta += heads, s += heads) {
        const combined c = combine(delta, s, call->in[1].data + r * heads, heads);
        call->out[0].data[r] = c.a;
        call->out[1].data[r] = c.score;
    }
}

static void combine_heads_backward(const sv_call *call)
{
    const sv_span *z = &call->in[0], *w = &call->in[1];
    const size_t heads = w->width;
    sv_real *delta = call->scratch, *s = delta + call->out[0].rows * heads;
    differ(call, 0, call->out[0].live, delta, s);
    for (size_t r = 0; r < call->out[0].live; r++) {
        const sv_real da = call->out[0].gradient[r], dscore = call->out[1].gradient[r];
        const combined c = combine(delta + r * heads, s + r * heads, w->data + r * heads, heads);
        const bool held = !(c.total > least_importance);
        const sv_real factor = 1 / (held ? least_importance : c.total), through = held ? 0 : da * c.a + dscore * c.score;
        for (size_t h = 0, i = r * heads; h < heads; h++, i++) {
            const sv_real d_delta = w->data[i] * factor * (da + dscore * s[i] * (1 - s[i]));
            if (z->gradient && i < z->live) {
                sv_give(z, 2 * i, d_delta);
                sv_give(z, 2 * i + 1, -d_delta);
            }
            if (w->gradient && r < w->live) sv_give(w, i, factor * (da * delta[i] + dscore * s[i] - through));
        }
    }
}

static size_t combine_heads_scratch(const sv_node *node) { return 2 * (size_t)node->in[1]->rows.most * node->in[1]->width * sizeof(sv_real); }

static const sv_sample combine_heads_samples[] = {
    { .name = "one head", .images = 2, .in = { IMAGE(NORMAL, 1, 2), IMAGE(UNIT, 1, 1) } },
    { .name = "three heads", .images = 3, .in = { IMAGE(NORMAL, 15, 2), IMAGE(UNIT, 5, 3) } },
    { .name = "twelve heads, one token", .images = 1, .in = { IMAGE(NORMAL, 12, 2), IMAGE(UNIT, 1, 12) } },
    { .name = "sure scores", .images = 2, .in = { IMAGE(LARGE, 8, 2), IMAGE(UNIT, 4, 2) } },
    { .name = "all scores equal", .images = 2, .in = { IMAGE(ZERO, 6, 2), IMAGE(ONE, 2, 3) } },
    { .name = "no importance", .images = 1, .in = { IMAGE(NORMAL, 4, 2), CONSTANT(ZERO, 2, 2) } },
    { .name = "constant importance", .images = 2, .in = { IMAGE(NORMAL, 6, 2), CONSTANT(ONE, 2, 3) } },
};

const sv_op sv_op_combine_heads = {
    .name = "combine_heads",
    .formula = "z [R*H,2], importance w [R,H] -> a [R,1] = sum_h w_h (z_h0 - z_h1) / sum_h w_h, score [R,1] = sum_h w_h softmax(z_h)_0 / "
               "sum_h w_h",
    .source = "SPViT code, scores weighted by importance",
    .inputs_least = 2,
    .inputs_most = 2,
    .outputs = 2,
    .locality = SV_IMAGE_ROWS,
    .shape = combine_heads_shape,
    .forward = combine_heads_forward,
    .backward = combine_heads_backward,
    .backward_inputs = 3,
    .backward_dead = 3,
    .scratch = combine_heads_scratch,
    SV_SAMPLES_OF(combine_heads_samples),
};

sv_tensor *sv_tape_combine_heads(sv_tape *tape, sv_tensor *z, sv_tensor *importance, sv_tensor **score)
{
    sv_tensor *outputs[2] = { NULL, NULL };
    sv_tape_record(tape, &sv_op_combine_heads, (sv_tensor *[]){ z, importance }, 2, NULL, outputs);
    if (score) *score = outputs[1];
    return outputs[0];
}
