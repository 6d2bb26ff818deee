/* The package token: what is dropped at a stage, as one row (spec SPViT 2.7).
 * With drop = before - after (1 for rows dropped now, else 0) and weight_j = drop_j score_j (wavg, sum) or drop_j (mean):
 *   num = sum_j weight_j u_j;  den = max(sum_j weight_j, 1e-6) (wavg, mean) or 1 (sum, and where nothing was dropped);
 *   package = num / den.
 * With g = dpackage and q_j = g.(u_j - package) / den, without package where den does not depend on the weights:
 *   du_j = weight_j g / den;  dbefore_j = score_j q_j (wavg, sum) or q_j (mean);  dafter_j = -dbefore_j;
 *   dscore_j = drop_j q_j (wavg, sum).
 * dbefore and dafter reach rows that were dropped at earlier stages too, so u and score of such rows are read. */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

#include <string.h>

static sv_status package_shape(sv_node *node, sv_error *err)
{
    static const char *const names[] = { "u", "before", "after", "score" };
    const sv_tensor *u = node->in[0];
    sv_status status = sv_want_image(u, "u", SV_REAL, err);
    for (size_t i = 1; !status && i < 4; i++) {
        status = sv_want_width(node->in[i], names[i], SV_REAL, 1, err);
        if (!status) status = sv_want_rows(node->in[i], names[i], u, "u", err);
    }
    if (status) return status;
    if (node->attributes.i[0] < SV_PACKAGE_WAVG || node->attributes.i[0] > SV_PACKAGE_MEAN)
        return sv_fail(err, SV_USAGE, "there is no package form %lld", (long long)node->attributes.i[0]);
    sv_make_image(node->out[0], sv_rows_fixed(1), u->width);
    sv_make_image(node->out[1], sv_rows_fixed(1), 1);
    return SV_OK;
}

typedef struct packing {
    sv_real factor;
    bool some, through;
} packing; /* 1 / den; something dropped; den depends on the weights */

static sv_real drop_of(const sv_call *call, size_t r) { return call->in[1].data[r] - call->in[2].data[r]; }
static sv_real score_of(const sv_call *call, size_t r) { return call->attributes->i[0] == SV_PACKAGE_MEAN ? 1 : call->in[3].data[r]; }

static packing packing_of(const sv_call *call)
{
    const sv_real least = (sv_real)1e-6;
    sv_real dropped = 0, weight = 0;
    packing p = { .factor = 1 };
    for (size_t r = 0; r < call->in[0].rows; r++) {
        dropped += drop_of(call, r);
        weight += drop_of(call, r) * score_of(call, r);
    }
    p.some = dropped > (sv_real)0.5;
    if (!p.some || call->attributes->i[0] == SV_PACKAGE_SUM) return p;
    p.through = weight > least;
    p.factor = 1 / (p.through ? weight : least);
    return p;
}

static void package_forward(const sv_call *call)
{
    const packing p = packing_of(call);
    const size_t width = call->in[0].width;
    sv_real *package = call->out[0].data;
    memset(package, 0, width * sizeof *package);
    for (size_t r = 0; r < call->in[0].rows; r++) {
        const sv_real weight = drop_of(call, r) * score_of(call, r);
        if (weight != 0) sv_scale(package, call->in[0].data + r * width, weight, width, true);
    }
    sv_scale(package, package, p.factor, width, false);
    call->out[1].data[0] = p.some || call->attributes->i[1] == SV_EMPTY_KEEP_ZERO ? 1 : 0;
}

static void package_backward(const sv_call *call)
{
    const sv_span *u = &call->in[0], *before = &call->in[1], *after = &call->in[2], *score = &call->in[3];
    const packing p = packing_of(call);
    const size_t width = u->width;
    const sv_real *g = call->out[0].gradient, through = p.through ? sv_dot(g, call->out[0].data, width) : 0;
    for (size_t r = 0; r < u->rows; r++) {
        const sv_real drop = drop_of(call, r), s = score_of(call, r), q = p.factor * (sv_dot(g, u->data + r * width, width) - through);
        if (u->gradient && r < u->live) sv_scale(u->gradient + r * width, g, drop * s * p.factor, width, u->accumulate);
        if (before->gradient && r < before->live) sv_give(before, r, s * q);
        if (after->gradient && r < after->live) sv_give(after, r, -s * q);
        if (score->gradient && r < score->live) sv_give(score, r, call->attributes->i[0] == SV_PACKAGE_MEAN ? 0 : drop * q);
    }
}

#define PACKAGE_OF(u_fill, before_fill, after_fill, score_fill, r, w)                                                                      \
    {                                                                                                                                      \
        IMAGE(u_fill, r, w), IMAGE(before_fill, r, 1), IMAGE(after_fill, r, 1), IMAGE(score_fill, r, 1)                                    \
    }
static const sv_sample package_samples[] = {
    { .name = "one row dropped",
      .images = 1,
      .in = PACKAGE_OF(NORMAL, ONE, ZERO, UNIT, 1, 7),
      .attributes.i = { SV_PACKAGE_WAVG, SV_EMPTY_MASK } },
    { .name = "wavg", .images = 3, .in = PACKAGE_OF(NORMAL, ONE, BINARY, UNIT, 9, 17), .attributes.i = { SV_PACKAGE_WAVG, SV_EMPTY_MASK } },
    { .name = "sum",
      .images = 3,
      .in = PACKAGE_OF(NORMAL, ONE, BINARY, UNIT, 9, 5),
      .attributes.i = { SV_PACKAGE_SUM, SV_EMPTY_KEEP_ZERO } },
    { .name = "mean", .images = 3, .in = PACKAGE_OF(NORMAL, ONE, BINARY, UNIT, 9, 5), .attributes.i = { SV_PACKAGE_MEAN, SV_EMPTY_MASK } },
    { .name = "nothing dropped, wavg",
      .images = 2,
      .in = PACKAGE_OF(NORMAL, ONE, ONE, UNIT, 4, 3),
      .attributes.i = { SV_PACKAGE_WAVG, SV_EMPTY_MASK } },
    { .name = "nothing dropped, kept as zeros",
      .images = 2,
      .in = PACKAGE_OF(NORMAL, ONE, ONE, UNIT, 4, 3),
      .attributes.i = { SV_PACKAGE_MEAN, SV_EMPTY_KEEP_ZERO } },
    { .name = "everything dropped",
      .images = 2,
      .in = PACKAGE_OF(LARGE, ONE, ZERO, UNIT, 5, 32),
      .attributes.i = { SV_PACKAGE_WAVG, SV_EMPTY_MASK } },
    { .name = "one token stays",
      .images = 2,
      .in = PACKAGE_OF(NORMAL, ONE, PREFIX, UNIT, 3, 4),
      .attributes.i = { SV_PACKAGE_WAVG, SV_EMPTY_MASK } },
    { .name = "scores of zero",
      .images = 1,
      .attributes.i = { SV_PACKAGE_WAVG, SV_EMPTY_MASK },
      .in = { IMAGE(NORMAL, 3, 4), IMAGE(ONE, 3, 1), IMAGE(ZERO, 3, 1), CONSTANT(ZERO, 3, 1) } },
};

const sv_op sv_op_package = {
    .name = "package",
    .formula = "u [R,D], before, after, score [R,1] -> package [1,D] = sum_j weight_j u_j / den, policy [1,1]; drop = before - after, "
               "weight = drop score (wavg, sum), drop (mean)",
    .source = "SPViT (Kong et al. 2022), package token",
    .inputs_least = 4,
    .inputs_most = 4,
    .outputs = 2,
    .locality = SV_IMAGE_WHOLE,
    .shape = package_shape,
    .forward = package_forward,
    .backward = package_backward,
    .backward_inputs = 15,
    .backward_outputs = 1,
    .backward_dead = 15,
    SV_SAMPLES_OF(package_samples),
};

sv_tensor *sv_tape_package(sv_tape *tape, sv_tensor *u, sv_tensor *before, sv_tensor *after, sv_tensor *score, sv_package_form form,
                           sv_package_empty empty, sv_tensor **policy)
{
    sv_tensor *outputs[2] = { NULL, NULL };
    sv_attributes attributes = { .i = { form, empty } };
    sv_tape_record(tape, &sv_op_package, (sv_tensor *[]){ u, before, after, score }, 4, &attributes, outputs);
    if (policy) *policy = outputs[1];
    return outputs[0];
}
