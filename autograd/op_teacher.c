/* Tokens beside a teacher's, row by row: how far apart they are, and in how much (spec SPViT 5.1, DynamicViT 5.4). A row counts where it is live and its origin
 * is the number of a patch that the teacher has; class, package and dropped tokens do not. */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

/* x [R,W], teacher [S,W] constant, origin index [R,1] -> [1,2] */
static sv_status teacher_shape(sv_node *node, sv_error *err)
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

/* ---- masked_square ------------------------------------------------------------------------------------------------ */

/* y0 = sum over live rows r that are patches of |x[r] - teacher[origin[r] + offset]|^2, y1 = how many numbers that is:
 *   dx[r] = 2 dy0 (x[r] - teacher row), zero for rows that are no patches. */
static void masked_square_forward(const sv_call *call)
{
    const sv_span *x = &call->in[0];
    sv_real *difference = call->scratch;
    double sum = 0, numbers = 0;
    for (size_t r = 0; r < x->live; r++) {
        const sv_real *row = teacher_row(call, r);
        if (!row) continue;
        for (size_t i = 0; i < x->width; i++) difference[i] = x->data[r * x->width + i] - row[i];
        sum += (double)sv_dot(difference, difference, x->width);
        numbers += (double)x->width;
    }
    call->out[0].data[0] = (sv_real)sum;
    call->out[0].data[1] = (sv_real)numbers;
}

static void masked_square_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0];
    const sv_real twice = 2 * call->out[0].gradient[0];
    for (size_t r = 0; r < x->live; r++) {
        const sv_real *row = teacher_row(call, r);
        for (size_t i = 0; i < x->width; i++) sv_give(x, r * x->width + i, row ? twice * (x->data[r * x->width + i] - row[i]) : 0);
    }
}

static size_t masked_square_scratch(const sv_node *node) { return node->in[0]->width * sizeof(sv_real); }

static const sv_sample masked_square_samples[] = {
    { .name = "one row",
      .images = 1,
      .in = { IMAGE(NORMAL, 1, 7), CONSTANT(NORMAL, 1, 7), CONSTANT(COUNT_UP, 1, 1) },
      .attributes.i = { 0 } },
    { .name = "behind the class token",
      .images = 3,
      .in = { IMAGE(NORMAL, 5, 17), CONSTANT(NORMAL, 6, 17), CONSTANT(INDEX, 5, 1) },
      .attributes.i = { 1 } },
    { .name = "some rows left",
      .images = 3,
      .in = { IMAGE(NORMAL, 2, 3), CONSTANT(NORMAL, 6, 3), CONSTANT(INDEX, 2, 1) },
      .attributes.i = { 2 } },
    { .name = "rows the teacher does not have",
      .images = 2,
      .in = { IMAGE(NORMAL, 4, 3), CONSTANT(NORMAL, 2, 3), CONSTANT(INDEX, 4, 1) },
      .attributes.i = { 0 } },
    { .name = "a package token behind",
      .images = 2,
      .in = { IMAGE(NORMAL, 4, 3), CONSTANT(NORMAL, 5, 3), CONSTANT(ORIGIN, 4, 1) },
      .attributes.i = { 1 } },
    { .name = "equal", .images = 1, .in = { IMAGE(ONE, 3, 32), CONSTANT(ONE, 3, 32), CONSTANT(COUNT_UP, 3, 1) }, .attributes.i = { 0 } },
    { .name = "large numbers",
      .images = 2,
      .in = { IMAGE(LARGE, 3, 5), CONSTANT(LARGE, 3, 5), CONSTANT(INDEX, 3, 1) },
      .attributes.i = { 0 } },
};

const sv_op sv_op_masked_square = {
    .name = "masked_square",
    .formula = "x [R,D], teacher [T,D], origin index [R,1] -> y [1,2] = (sum over live patches of (x[r] - teacher[origin[r] + offset])^2, "
               "count D)",
    .source = "SPViT code, token distillation",
    .inputs_least = 3,
    .inputs_most = 3,
    .outputs = 1,
    .locality = SV_IMAGE_WHOLE,
    .shape = teacher_shape,
    .forward = masked_square_forward,
    .backward = masked_square_backward,
    .backward_inputs = 7,
    .scratch = masked_square_scratch,
    SV_SAMPLES_OF(masked_square_samples),
};

sv_tensor *sv_tape_masked_square(sv_tape *tape, sv_tensor *x, sv_tensor *teacher, sv_tensor *origin, size_t offset)
{
    sv_attributes attributes = { .i = { (int64_t)offset } };
    return sv_tape_record(tape, &sv_op_masked_square, (sv_tensor *[]){ x, teacher, origin }, 3, &attributes, NULL);
}

/* ---- masked_kl ---------------------------------------------------------------------------------------------------- */

/* y0 = sum over counting rows r of sum_k t_k (log t_k - log s_k), t = softmax(teacher[origin[r] + offset]), s = softmax(x[r]);
 * y1 = how many rows:  dx[r] = dy0 (s - t), zero for rows that do not count. */
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
    .shape = teacher_shape,
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
