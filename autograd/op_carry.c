/* The package token that is carried on: one row that takes in what each selector drops, weighed against all it took in before (spec SPViT on other
 * backbones 3.6, `weighted`). With drop = before - after, w_j = drop_j score_j (wavg, sum) or drop_j (mean), W the weight so far, old the row so far:
 *   weight = W + sum_j w_j;  package = (W old + sum_j w_j u_j) / max(weight, 1e-6);  sum: old + sum_j w_j u_j, W counts but divides nothing.
 * Nothing dropped: old, to the bit. policy = 1 where weight > 0 (or empty packages are kept), else 0. old, W absent: nothing so far.
 * With g = dpackage, h = dweight, den as above (1 for sum), through 1 where den is the weight:
 *   dold = g W / den (g);  dw_j = g.(u_j - through package) / den + h;  dW = g.(old - through package) / den + h (h);  du_j = w_j g / den;
 *   dscore_j = drop_j dw_j, dbefore_j = score_j dw_j, dafter_j = -dbefore_j (mean: score 1, no dscore). */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

#include <string.h>

enum { U, BEFORE, AFTER, SCORE, OLD, WEIGHT };

static sv_status carry_shape(sv_node *node, sv_error *err)
{
    static const char *const names[] = { "u", "before", "after", "score" };
    const sv_tensor *u = node->in[U], *old = node->in[OLD], *weight = node->in[WEIGHT];
    sv_status status = sv_want_image(u, "u", SV_REAL, err);
    for (size_t i = BEFORE; !status && i <= SCORE; i++) {
        status = sv_want_width(node->in[i], names[i], SV_REAL, 1, err);
        if (!status) status = sv_want_rows(node->in[i], names[i], u, "u", err);
    }
    if (!status && !old != !weight) status = sv_fail(err, SV_USAGE, "a package so far and its weight come together");
    if (!status && old) status = sv_want_width(old, "old", SV_REAL, u->width, err);
    if (!status && old) status = sv_want_fixed_rows(old, "old", 1, err);
    if (!status && old) status = sv_want_width(weight, "weight", SV_REAL, 1, err);
    if (!status && old) status = sv_want_fixed_rows(weight, "weight", 1, err);
    if (status) return status;
    if (node->attributes.i[0] < SV_PACKAGE_WAVG || node->attributes.i[0] > SV_PACKAGE_MEAN)
        return sv_fail(err, SV_USAGE, "there is no package form %lld", (long long)node->attributes.i[0]);
    sv_make_image(node->out[0], sv_rows_fixed(1), u->width);
    sv_make_image(node->out[1], sv_rows_fixed(1), 1);
    sv_make_image(node->out[2], sv_rows_fixed(1), 1);
    return SV_OK;
}

static sv_real drop_of(const sv_call *call, size_t r) { return call->in[BEFORE].data[r] - call->in[AFTER].data[r]; }
static sv_real score_of(const sv_call *call, size_t r) { return call->attributes->i[0] == SV_PACKAGE_MEAN ? 1 : call->in[SCORE].data[r]; }

typedef struct carried {
    sv_real weight, factor, share; /* 1 / den; what old counts */
    bool divides, through; /* the sum is divided; den is the weight */
} carried;

static carried carried_of(const sv_call *call)
{
    const sv_real least = (sv_real)1e-6, old = call->in[WEIGHT].present ? call->in[WEIGHT].data[0] : 0;
    sv_real dropped = 0;
    carried c = { .weight = old, .factor = 1, .share = 1 };
    for (size_t r = 0; r < call->in[U].rows; r++) {
        dropped += drop_of(call, r);
        c.weight += drop_of(call, r) * score_of(call, r);
    }
    c.divides = call->attributes->i[0] != SV_PACKAGE_SUM && (dropped > (sv_real)0.5 || old > 0);
    if (!c.divides) return c;
    c.through = c.weight > least;
    c.factor = 1 / (c.through ? c.weight : least);
    c.share = old * c.factor;
    return c;
}

static void carry_forward(const sv_call *call)
{
    const carried c = carried_of(call);
    const size_t width = call->in[U].width;
    sv_real *package = call->out[0].data;
    if (call->in[OLD].present) memcpy(package, call->in[OLD].data, width * sizeof *package);
    else memset(package, 0, width * sizeof *package);
    for (size_t r = 0, first = 1; r < call->in[U].rows; r++) {
        const sv_real weight = drop_of(call, r) * score_of(call, r) * c.factor;
        if (weight == 0) continue;
        if (first && c.share != 1) sv_scale(package, package, c.share, width, false);
        first = 0;
        sv_scale(package, call->in[U].data + r * width, weight, width, true);
    }
    call->out[1].data[0] = c.weight;
    call->out[2].data[0] = c.weight > 0 || call->attributes->i[1] == SV_EMPTY_KEEP_ZERO ? 1 : 0;
}

static void carry_backward(const sv_call *call)
{
    const sv_span *u = &call->in[U], *before = &call->in[BEFORE], *after = &call->in[AFTER], *score = &call->in[SCORE], *old = &call->in[OLD],
                  *weight = &call->in[WEIGHT];
    const carried c = carried_of(call);
    const size_t width = u->width;
    const bool mean = call->attributes->i[0] == SV_PACKAGE_MEAN;
    const sv_real *g = call->out[0].gradient, h = call->out[1].gradient[0], through = c.through ? sv_dot(g, call->out[0].data, width) : 0;
    for (size_t r = 0; r < u->rows; r++) {
        const sv_real drop = drop_of(call, r), s = score_of(call, r), dw = c.factor * (sv_dot(g, u->data + r * width, width) - through) + h;
        if (u->gradient && r < u->live) sv_scale(u->gradient + r * width, g, drop * s * c.factor, width, u->accumulate);
        if (before->gradient && r < before->live) sv_give(before, r, s * dw);
        if (after->gradient && r < after->live) sv_give(after, r, -s * dw);
        if (score->gradient && r < score->live) sv_give(score, r, mean ? 0 : drop * dw);
    }
    if (old->gradient) sv_scale(old->gradient, g, c.share, width, old->accumulate);
    if (weight->gradient) sv_give(weight, 0, h + (c.divides ? c.factor * (sv_dot(g, old->data, width) - through) : 0));
}

#define CARRY_OF(u_fill, before_fill, after_fill, score_fill, r, w) IMAGE(u_fill, r, w), IMAGE(before_fill, r, 1), IMAGE(after_fill, r, 1), IMAGE(score_fill, r, 1)
/* clang-format off */
static const sv_sample carry_samples[] = {
    { .name = "the first package", .images = 3, .in = { CARRY_OF(NORMAL, ONE, BINARY, UNIT, 9, 17) }, .attributes.i = { SV_PACKAGE_WAVG, SV_EMPTY_MASK } },
    { .name = "added to one", .images = 3, .in = { CARRY_OF(NORMAL, ONE, BINARY, UNIT, 9, 5), IMAGE(NORMAL, 1, 5), IMAGE(UNIT, 1, 1) }, .attributes.i = { SV_PACKAGE_WAVG, SV_EMPTY_MASK } },
    { .name = "mean", .images = 2, .in = { CARRY_OF(NORMAL, ONE, BINARY, UNIT, 7, 4), IMAGE(NORMAL, 1, 4), IMAGE(ONE, 1, 1) }, .attributes.i = { SV_PACKAGE_MEAN, SV_EMPTY_MASK } },
    { .name = "sum", .images = 2, .in = { CARRY_OF(NORMAL, ONE, BINARY, UNIT, 7, 4), IMAGE(NORMAL, 1, 4), IMAGE(UNIT, 1, 1) }, .attributes.i = { SV_PACKAGE_SUM, SV_EMPTY_KEEP_ZERO } },
    { .name = "nothing dropped, nothing before", .images = 2, .in = { CARRY_OF(NORMAL, ONE, ONE, UNIT, 4, 3) }, .attributes.i = { SV_PACKAGE_MEAN, SV_EMPTY_KEEP_ZERO } },
    { .name = "everything dropped", .images = 2, .in = { CARRY_OF(LARGE, ONE, ZERO, UNIT, 5, 32), IMAGE(LARGE, 1, 32), IMAGE(UNIT, 1, 1) }, .attributes.i = { SV_PACKAGE_WAVG, SV_EMPTY_MASK } },
    { .name = "one row", .images = 1, .in = { CARRY_OF(NORMAL, ONE, ZERO, UNIT, 1, 7), CONSTANT(NORMAL, 1, 7), CONSTANT(ONE, 1, 1) }, .attributes.i = { SV_PACKAGE_WAVG, SV_EMPTY_MASK } },
};
/* clang-format on */

const sv_op sv_op_carry_package = {
    .name = "carry_package",
    .formula = "u [R,D], before, after, score [R,1], old [1,D], W [1,1] or none -> package [1,D] = (W old + sum_j w_j u_j) / weight, weight [1,1] = W + sum_j w_j, "
               "policy [1,1]; w = (before - after) score (wavg, sum), before - after (mean)",
    .source = "SPViT (Kong et al. 2022), its package carried through stages; the running weight is ours",
    .inputs_least = 4,
    .inputs_most = 6,
    .outputs = 3,
    .optional = 1 << OLD | 1 << WEIGHT,
    .locality = SV_IMAGE_WHOLE,
    .shape = carry_shape,
    .forward = carry_forward,
    .backward = carry_backward,
    .backward_inputs = 63,
    .backward_outputs = 1,
    .backward_dead = 63,
    SV_SAMPLES_OF(carry_samples),
};

sv_tensor *sv_tape_carry_package(sv_tape *tape, sv_tensor *u, sv_tensor *before, sv_tensor *after, sv_tensor *score, sv_tensor *old, sv_tensor **weight,
                                 sv_package_form form, sv_package_empty empty, sv_tensor **policy)
{
    sv_tensor *outputs[3] = { NULL, NULL, NULL };
    sv_attributes attributes = { .i = { form, empty } };
    sv_tape_record(tape, &sv_op_carry_package, (sv_tensor *[]){ u, before, after, score, old, *weight }, 6, &attributes, outputs);
    *weight = outputs[1];
    *policy = outputs[2];
    return outputs[0];
}
