/* Two ways for a row: chosen softly in training, by lists of rows when deployed (spec DynamicViT 7.4, 7.6). */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

#include <string.h>

/* ---- blend_rows --------------------------------------------------------------------------------------------------- */

/* y = share a + (1 - share) b by row:  da = share dy, db = (1 - share) dy, dshare = (a - b) . dy. */
static sv_status blend_rows_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *a = node->in[0], *b = node->in[1], *share = node->in[2];
    sv_status status = sv_want_image(a, "a", SV_REAL, err);
    if (!status) status = sv_want_width(b, "b", SV_REAL, a->width, err);
    if (!status) status = sv_want_rows(b, "b", a, "a", err);
    if (!status) status = sv_want_width(share, "share", SV_REAL, 1, err);
    if (!status) status = sv_want_rows(share, "share", a, "a", err);
    node->out[0]->live = node->out[0]->rows;
    return status;
}

static void blend_rows_forward(const sv_call *call)
{
    const size_t width = call->out[0].width;
    for (size_t r = call->row_begin; r < call->row_end; r++) {
        const sv_real *a = call->in[0].data + r * width, *b = call->in[1].data + r * width, share = call->in[2].data[r];
        sv_real *y = call->out[0].data + r * width;
        for (size_t i = 0; i < width; i++) y[i] = share * a[i] + (1 - share) * b[i];
    }
}

/* Rows that are not live in an input have no gradient to give there. */
static void branch_back(const sv_call *call, const sv_span *in, bool first)
{
    const size_t width = in->width;
    for (size_t r = 0; in->gradient && r < in->live; r++) {
        const sv_real share = call->in[2].data[r];
        sv_scale(in->gradient + r * width, call->out[0].gradient + r * width, first ? share : 1 - share, width, in->accumulate);
    }
}

static void blend_rows_backward(const sv_call *call)
{
    const sv_span *share = &call->in[2];
    const size_t width = call->out[0].width;
    branch_back(call, &call->in[0], true);
    branch_back(call, &call->in[1], false);
    for (size_t r = 0; share->gradient && r < share->live; r++) {
        const sv_real *a = call->in[0].data + r * width, *b = call->in[1].data + r * width, *dy = call->out[0].gradient + r * width;
        sv_real sum = 0;
        for (size_t i = 0; i < width; i++) sum += (a[i] - b[i]) * dy[i];
        sv_give(share, r, sum);
    }
}

static const sv_sample blend_rows_samples[] = {
    { .name = "one row", .images = 1, .in = { IMAGE(NORMAL, 1, 7), IMAGE(NORMAL, 1, 7), IMAGE(UNIT, 1, 1) } },
    { .name = "decided", .images = 3, .in = { IMAGE(NORMAL, 6, 17), IMAGE(NORMAL, 6, 17), IMAGE(BINARY, 6, 1) } },
    { .name = "the first alone", .images = 2, .in = { IMAGE(NORMAL, 5, 3), IMAGE(LARGE, 5, 3), IMAGE(ONE, 5, 1) } },
    { .name = "the second alone", .images = 2, .in = { IMAGE(LARGE, 5, 3), IMAGE(NORMAL, 5, 3), IMAGE(ZERO, 5, 1) } },
    { .name = "a constant way", .images = 2, .in = { CONSTANT(NORMAL, 4, 32), IMAGE(NORMAL, 4, 32), IMAGE(UNIT, 4, 1) } },
    { .name = "constant shares", .images = 2, .in = { IMAGE(NORMAL, 4, 1), IMAGE(NORMAL, 4, 1), CONSTANT(UNIT, 4, 1) } },
};

const sv_op sv_op_blend_rows = {
    .name = "blend_rows",
    .formula = "a, b [R,D], share [R,1] -> y [R,D] = share a + (1 - share) b",
    .source = "Rao et al. 2023 (dynamic spatial sparsification), one stream: slow and fast paths",
    .inputs_least = 3,
    .inputs_most = 3,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = blend_rows_shape,
    .forward = blend_rows_forward,
    .backward = blend_rows_backward,
    .backward_inputs = 1 << 0 | 1 << 1 | 1 << 2,
    SV_SAMPLES_OF(blend_rows_samples),
};

sv_tensor *sv_tape_blend_rows(sv_tape *tape, sv_tensor *a, sv_tensor *b, sv_tensor *share)
{
    return sv_tape_record(tape, &sv_op_blend_rows, (sv_tensor *[]){ a, b, share }, 3, NULL, NULL);
}

/* ---- add_rows_at -------------------------------------------------------------------------------------------------- */

/* y = base, y[index[r]] += x[r]; rows of x whose index is no row of base are left out:  dbase = dy, dx[r] = dy[index[r]]. */
static sv_status add_rows_at_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *base = node->in[0], *x = node->in[1], *index = node->in[2];
    sv_status status = sv_want_image(base, "base", SV_REAL, err);
    if (!status) status = sv_want_width(x, "x", SV_REAL, base->width, err);
    if (!status) status = sv_want_width(index, "index", SV_INDEX, 1, err);
    if (!status) status = sv_want_rows(index, "index", x, "x", err);
    node->out[0]->live = node->out[0]->rows;
    return status;
}

static void add_rows_at_forward(const sv_call *call)
{
    const sv_span *base = &call->in[0], *x = &call->in[1], *y = &call->out[0];
    const size_t width = y->width;
    const int32_t *index = call->in[2].ints;
    memcpy(y->data + call->row_begin * width, base->data + call->row_begin * width, (call->row_end - call->row_begin) * width * sizeof *y->data);
    for (size_t r = 0; r < x->rows; r++)
        if (index[r] >= (int64_t)call->row_begin && index[r] < (int64_t)call->row_end)
            sv_scale(y->data + (size_t)index[r] * width, x->data + r * width, 1, width, true);
}

static void add_rows_at_backward(const sv_call *call)
{
    const sv_span *base = &call->in[0], *x = &call->in[1], *y = &call->out[0];
    const int32_t *index = call->in[2].ints;
    if (base->gradient) sv_scale(base->gradient, y->gradient, 1, sv_span_numbers(base), base->accumulate);
    if (!x->gradient) return;
    sv_begin_gradient(x);
    for (size_t r = 0; r < x->live; r++)
        if (index[r] >= 0 && (size_t)index[r] < y->rows)
            sv_scale(x->gradient + r * x->width, y->gradient + (size_t)index[r] * x->width, 1, x->width, true);
}

static const sv_sample add_rows_at_samples[] = {
    { .name = "one row", .images = 1, .in = { IMAGE(NORMAL, 1, 7), IMAGE(NORMAL, 1, 7), CONSTANT(INDEX, 1, 1) } },
    { .name = "a permutation", .images = 3, .in = { IMAGE(NORMAL, 6, 17), IMAGE(NORMAL, 6, 17), CONSTANT(INDEX, 6, 1) } },
    { .name = "some rows", .images = 2, .in = { IMAGE(NORMAL, 6, 5), IMAGE(NORMAL, 3, 5), CONSTANT(INDEX, 3, 1) } },
    { .name = "all to one row", .images = 2, .in = { IMAGE(NORMAL, 3, 4), IMAGE(NORMAL, 4, 4), CONSTANT(INDEX_ZERO, 4, 1) } },
    { .name = "beyond the rows", .images = 2, .in = { IMAGE(NORMAL, 2, 3), IMAGE(LARGE, 5, 3), CONSTANT(INDEX, 5, 1) } },
    { .name = "constant rows", .images = 1, .in = { IMAGE(NORMAL, 4, 32), CONSTANT(NORMAL, 4, 32), CONSTANT(COUNT_UP, 4, 1) } },
};

const sv_op sv_op_add_rows_at = {
    .name = "add_rows_at",
    .formula = "base [R,D], x [S,D], index [S,1] -> y [R,D] = base, y[index[r]] += x[r]",
    .source = "torch.index_add of rows",
    .inputs_least = 3,
    .inputs_most = 3,
    .outputs = 1,
    .locality = SV_IMAGE_ROWS,
    .shape = add_rows_at_shape,
    .forward = add_rows_at_forward,
    .backward = add_rows_at_backward,
    .backward_inputs = 1 << 2,
    SV_SAMPLES_OF(add_rows_at_samples),
};

sv_tensor *sv_tape_add_rows_at(sv_tape *tape, sv_tensor *base, sv_tensor *x, sv_tensor *index)
{
    return sv_tape_record(tape, &sv_op_add_rows_at, (sv_tensor *[]){ base, x, index }, 3, NULL, NULL);
}
