/* Answers of the patches that were kept, row by row logits (LV-ViT's second head): their largest, and how far they are from a teacher's. A row counts
 * where it is live and its origin is the number of a patch; class, package and dropped tokens do not. */
#include "autograd/op_shape.h"

#include <string.h>

static bool counts(const sv_span *origin, size_t r) { return !origin->present || origin->ints[r] >= 0; }

/* ---- largest_kept ------------------------------------------------------------------------------------------------- */

/* y[k] = max over counting rows r of x[r,k]:  dx of the first largest = dy. No row counts: y = 0. */
static sv_status largest_kept_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *x = node->in[0], *origin = node->in[1];
    sv_status status = sv_want_image(x, "x", SV_REAL, err);
    if (!status && origin) status = sv_want_width(origin, "origin", SV_INDEX, 1, err);
    if (!status && origin) status = sv_want_rows(origin, "origin", x, "x", err);
    if (!status) sv_make_image(node->out[0], sv_rows_fixed(1), x->width);
    return status;
}

static void largest_kept_forward(const sv_call *call)
{
    const sv_span *x = &call->in[0];
    sv_real *y = call->out[0].data;
    bool first = true;
    memset(y, 0, x->width * sizeof *y);
    for (size_t r = 0; r < x->live; r++) {
        const sv_real *row = x->data + r * x->width;
        if (!counts(&call->in[1], r)) continue;
        for (size_t k = 0; k < x->width; k++) y[k] = first || row[k] > y[k] ? row[k] : y[k];
        first = false;
    }
}

/* Walked as forward was: scratch holds the row of the largest so far. */
static void largest_kept_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0], *y = &call->out[0];
    size_t *best = call->scratch, first = SIZE_MAX;
    sv_begin_gradient(x);
    for (size_t r = 0; r < x->live; r++) {
        if (!counts(&call->in[1], r)) continue;
        for (size_t k = 0; k < x->width; k++)
            if (first == SIZE_MAX || x->data[r * x->width + k] > x->data[best[k] * x->width + k]) best[k] = r;
        if (first == SIZE_MAX) first = r;
    }
    for (size_t k = 0; first != SIZE_MAX && k < x->width; k++) x->gradient[best[k] * x->width + k] += y->gradient[k];
}

static size_t largest_kept_scratch(const sv_node *node) { return node->in[0]->width * sizeof(size_t); }

static const sv_sample largest_kept_samples[] = {
    { .name = "one row", .images = 1, .in = { IMAGE(NORMAL, 1, 3) } },
    { .name = "all rows", .images = 2, .in = { IMAGE(LARGE, 9, 7) } },
    { .name = "some rows no patches", .images = 2, .in = { IMAGE(LARGE, 5, 4), CONSTANT(ORIGIN, 5, 1) } },
    { .name = "patches in another order", .images = 3, .in = { IMAGE(LARGE, 6, 17), CONSTANT(INDEX, 6, 1) } },
    { .name = "one class", .images = 2, .in = { IMAGE(LARGE, 4, 1), CONSTANT(COUNT_UP, 4, 1) } },
    { .name = "no patch at all", .images = 1, .in = { IMAGE(NORMAL, 1, 3), CONSTANT(ORIGIN, 1, 1) } },
};

const sv_op sv_op_largest_kept = {
    .name = "largest_kept",
    .formula = "x [R,K], origin index [R,1] or none -> y [1,K] = max over live rows with origin >= 0 of x[r]; 0 where there is none",
    .source = "Jiang et al. 2021 (LV-ViT), answer of the second head; torch.max(x, 1)[0]",
    .inputs_least = 1,
    .inputs_most = 2,
    .outputs = 1,
    .optional = 1 << 1,
    .locality = SV_IMAGE_WHOLE,
    .shape = largest_kept_shape,
    .forward = largest_kept_forward,
    .backward = largest_kept_backward,
    .backward_inputs = 3,
    .scratch = largest_kept_scratch,
    SV_SAMPLES_OF(largest_kept_samples),
};

sv_tensor *sv_tape_largest_kept(sv_tape *tape, sv_tensor *x, sv_tensor *origin)
{
    return sv_tape_record(tape, &sv_op_largest_kept, (sv_tensor *[]){ x, origin }, 2, NULL, NULL);
}

/* ---- masked_kl ---------------------------------------------------------------------------------------------------- */

/* y0 = sum over counting rows r of sum_k t_k (log t_k - log s_k), t = softmax(teacher[origin[r] + offset]), s = softmax(x[r]);
 * y1 = how many rows:  dx[r] = dy0 (s - t), zero for rows that do not count. */
static sv_status masked_kl_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *x = node->in[0], *teacher = node->in[1], *origin = node->in[2];
    sv_status status = sv_want_image(x, "x", SV_REAL, err);
    if (!status) status = sv_want_width(teacher, "teacher", SV_REAL, x->width, err);
    if (!status) status = sv_want_constant(teacher, "teacher", err);
    if (!status) status = sv_want_width(origin, "origin", SV_INDEX, 1, err);
    if (!status) status = sv_want_rows(origin, "origin", x, "x", err);
    if (!status) sv_make_image(node->out[0], sv_rows_fixed(1), 2);
    return status;
}

/* The teacher's row for row r, NULL where there is none. */
static const sv_real *teacher_row(const sv_call *call, size_t r)
{
    const sv_span *teacher = &call->in[1];
    const int64_t origin = call->in[2].ints[r], row = origin + call->attributes->i[0];
    return origin >= 0 && row >= 0 && row < (int64_t)teacher->rows ? teacher->data + (size_t)row * teacher->width : NULL;
}

static void masked_kl_forward(const sv_call *call)
{
    const sv_span *x = &call->in[0];
    const size_t classes = x->width;
    sv_real *log_t = call->scratch, *log_s = log_t + classes;
    double sum = 0, rows = 0;
    for (size_t r = 0; r < x->live; r++) {
        const sv_real *teacher = teacher_row(call, r);
        sv_real one = 0;
        if (!teacher) continue;
        sv_softmax(log_t, classes, teacher, classes, 1, classes, true);
        sv_softmax(log_s, classes, x->data + r * classes, classes, 1, classes, true);
        for (size_t k = 0; k < classes; k++) one += sv_exp(log_t[k]) * (log_t[k] - log_s[k]);
        sum += (double)one;
        rows++;
    }
    call->out[0].data[0] = (sv_real)sum;
    call->out[0].data[1] = (sv_real)rows;
}

static void masked_kl_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0];
    const size_t classes = x->width;
    sv_real *t = call->scratch, *s = t + classes;
    for (size_t r = 0; r < x->live; r++) {
        const sv_real *teacher = teacher_row(call, r);
        if (teacher) sv_softmax(t, classes, teacher, classes, 1, classes, false);
        if (teacher) sv_softmax(s, classes, x->data + r * classes, classes, 1, classes, false);
        for (size_t k = 0; k < classes; k++) sv_give(x, r * classes + k, teacher ? call->out[0].gradient[0] * (s[k] - t[k]) : 0);
    }
}

static size_t masked_kl_scratch(const sv_node *node) { return 2 * node->in[0]->width * sizeof(sv_real); }

static const sv_sample masked_kl_samples[] = {
    { .name = "one row", .images = 1, .in = { IMAGE(NORMAL, 1, 7), CONSTANT(NORMAL, 1, 7), CONSTANT(COUNT_UP, 1, 1) } },
    { .name = "behind the class token",
      .images = 3,
      .in = { IMAGE(NORMAL, 5, 17), CONSTANT(NORMAL, 6, 17), CONSTANT(INDEX, 5, 1) },
      .attributes.i = { 1 } },
    { .name = "some rows left", .images = 3, .in = { IMAGE(NORMAL, 2, 3), CONSTANT(NORMAL, 6, 3), CONSTANT(INDEX, 2, 1) } },
    { .name = "rows the teacher does not have", .images = 2, .in = { IMAGE(NORMAL, 4, 3), CONSTANT(NORMAL, 2, 3), CONSTANT(INDEX, 4, 1) } },
    { .name = "a package token behind",
      .images = 2,
      .in = { IMAGE(NORMAL, 4, 3), CONSTANT(NORMAL, 5, 3), CONSTANT(ORIGIN, 4, 1) },
      .attributes.i = { 1 } },
    { .name = "equal", .images = 1, .in = { IMAGE(ONE, 3, 32), CONSTANT(ONE, 3, 32), CONSTANT(COUNT_UP, 3, 1) } },
    { .name = "both sure", .images = 2, .in = { IMAGE(LARGE, 3, 5), CONSTANT(LARGE, 3, 5), CONSTANT(INDEX, 3, 1) } },
};

const sv_op sv_op_masked_kl = {
    .name = "masked_kl",
    .formula =
        "x [R,K], teacher [T,K], origin index [R,1] -> y [1,2] = (sum over live patches of KL(softmax(teacher[origin[r] + offset]) || "
        "softmax(x[r])), how many)",
    .source = "Rao et al. 2021 (DynamicViT), token distillation of LV-ViT",
    .inputs_least = 3,
    .inputs_most = 3,
    .outputs = 1,
    .locality = SV_IMAGE_WHOLE,
    .shape = masked_kl_shape,
    .forward = masked_kl_forward,
    .backward = masked_kl_backward,
    .backward_inputs = 7,
    .scratch = masked_kl_scratch,
    SV_SAMPLES_OF(masked_kl_samples),
};

sv_tensor *sv_tape_masked_kl(sv_tape *tape, sv_tensor *x, sv_tensor *teacher, sv_tensor *origin, size_t offset)
{
    sv_attributes attributes = { .i = { (int64_t)offset } };
    return sv_tape_record(tape, &sv_op_masked_kl, (sv_tensor *[]){ x, teacher, origin }, 3, &attributes, NULL);
}
