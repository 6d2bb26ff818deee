/* Moving rows and columns: nothing is computed, gradients go back the way the numbers came. Rows that are not live get none. */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

#include <string.h>

static size_t number_bytes(const sv_call *call) { return call->node->out[0]->dtype == SV_INDEX ? sizeof(int32_t) : sizeof(sv_real); }

/* out rows at.. = `count` rows of `from` from row `row` on. */
static void copy_rows(const sv_call *call, size_t at, const sv_span *from, size_t row, size_t count)
{
    const size_t bytes = call->out[0].width * number_bytes(call);
    if (count) memcpy((unsigned char *)call->out[0].data + at * bytes, (const unsigned char *)from->data + row * bytes, count * bytes);
}

static void clear_rows(const sv_call *call, size_t at, size_t count)
{
    const size_t bytes = call->out[0].width * number_bytes(call);
    if (count) memset((unsigned char *)call->out[0].data + at * bytes, 0, count * bytes);
}

/* Gradient rows at.. of the input (live ones alone) from `count` rows of dy from row `row` on. */
static void rows_back(const sv_call *call, const sv_span *in, size_t at, size_t row, size_t count)
{
    const size_t width = call->out[0].width, end = at + count < in->live ? at + count : in->live;
    if (at < end) sv_scale(in->gradient + at * width, call->out[0].gradient + row * width, 1, (end - at) * width, in->accumulate);
}

/* Zeros for live rows at..end-1, unless they are added to. */
static void no_rows_back(const sv_span *in, size_t at, size_t end)
{
    if (end > in->live) end = in->live;
    if (!in->accumulate && at < end) memset(in->gradient + at * in->width, 0, (end - at) * in->width * sizeof *in->gradient);
}

/* Whether a number of rows can be added to. */
static bool can_shift(sv_rows rows) { return rows.source < 0 || rows.times == 1; }

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* ---- slice_rows --------------------------------------------------------------------------------------------------- */

/* y[r] = x[begin + r]:  dx[begin + r] = dy[r], zero elsewhere. Rows that an image does not have are zeros. All rows from
 * `begin` on: every image must have `begin` live rows at least. */
static sv_status slice_rows_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *x = node->in[0];
    sv_tensor *y = node->out[0];
    const int64_t begin = node->attributes.i[0], count = node->attributes.i[1];
    sv_status status = sv_want_any(x, "x", err);
    if (status) return status;
    y->dtype = x->dtype;
    if (begin < 0 || count < 0 || begin + (count ? count : 1) > (int64_t)x->rows.most)
        return sv_fail(err, SV_USAGE, "x has at most %u rows, so %lld rows from row %lld on are not in it", x->rows.most, (long long)count,
                       (long long)begin);
    if (count) {
        y->rows = y->live = sv_rows_fixed((size_t)count);
        return SV_OK;
    }
    if (!can_shift(x->rows) || !can_shift(x->live))
        return sv_fail(err, SV_USAGE, "x must not have several rows a token where their number varies");
    y->rows = sv_rows_plus(x->rows, -(int32_t)begin);
    y->live = (int64_t)x->live.most > begin ? sv_rows_plus(x->live, -(int32_t)begin) : sv_rows_fixed(0);
    return SV_OK;
}

static void slice_rows_forward(const sv_call *call)
{
    const size_t begin = (size_t)call->attributes->i[0], have = call->in[0].rows > begin ? call->in[0].rows - begin : 0;
    const size_t end = smaller(have, call->row_end), cut = end > call->row_begin ? end : call->row_begin;
    copy_rows(call, call->row_begin, &call->in[0], begin + call->row_begin, cut - call->row_begin);
    clear_rows(call, cut, call->row_end - cut);
}

static void slice_rows_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0];
    const size_t begin = (size_t)call->attributes->i[0], count = call->out[0].live;
    if (!x->gradient) return;
    no_rows_back(x, 0, begin);
    rows_back(call, x, begin, 0, count);
    no_rows_back(x, begin + count, x->live);
}

static const sv_sample slice_rows_samples[] = {
    { .name = "first row", .images = 2, .in = { IMAGE(NORMAL, 4, 7) }, .attributes.i = { 0, 1 } },
    { .name = "one row of one", .images = 1, .in = { IMAGE(NORMAL, 1, 5) }, .attributes.i = { 0, 1 } },
    { .name = "last row", .images = 2, .in = { IMAGE(NORMAL, 4, 7) }, .attributes.i = { 3, 1 } },
    { .name = "middle", .images = 3, .in = { IMAGE(NORMAL, 6, 17) }, .attributes.i = { 2, 3 } },
    { .name = "all but the first", .images = 2, .in = { IMAGE(LARGE, 5, 3) }, .attributes.i = { 1, 0 } },
    { .name = "all", .images = 1, .in = { IMAGE(NORMAL, 3, 32) }, .attributes.i = { 0, 0 } },
    { .name = "indices", .images = 2, .in = { CONSTANT(COUNT_UP, 5, 1) }, .attributes.i = { 1, 0 } },
};

const sv_op sv_op_slice_rows = {
    .name = "slice_rows",
    .formula = "x [R,D] -> y [count,D] = x[begin + r]; count 0: all rows from begin on",
    .source = "x[:, begin:begin + count]",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_IMAGE_ROWS,
    .shape = slice_rows_shape,
    .forward = slice_rows_forward,
    .backward = slice_rows_backward,
    SV_SAMPLES_OF(slice_rows_samples),
};

sv_tensor *sv_tape_slice_rows(sv_tape *tape, sv_tensor *x, size_t begin, size_t count)
{
    sv_attributes attributes = { .i = { (int64_t)begin, (int64_t)count } };
    return sv_tape_record(tape, &sv_op_slice_rows, &x, 1, &attributes, NULL);
}

/* ---- concat_rows -------------------------------------------------------------------------------------------------- */

/* y = rows of a, then rows of b:  da, db = their rows of dy. */
static sv_status concat_rows_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *a = node->in[0], *b = node->in[1];
    sv_status status = sv_want_any(a, "a", err);
    if (!status) status = sv_want_width(b, "b", a->dtype, a->width, err);
    if (!status && a->rows.source >= 0) status = sv_want_fixed_rows(b, "b", 0, err);
    if (status) return status;
    const sv_rows varying = b->rows.source >= 0 ? b->rows : a->rows, other = b->rows.source >= 0 ? a->rows : b->rows;
    if (!can_shift(varying)) return sv_fail(err, SV_USAGE, "neither may have several rows a token where their number varies");
    node->out[0]->dtype = a->dtype;
    sv_make_image(node->out[0], sv_rows_plus(varying, (int32_t)other.most), a->width);
    return SV_OK;
}

static void concat_rows_forward(const sv_call *call)
{
    const sv_span *a = &call->in[0], *b = &call->in[1];
    const size_t begin = call->row_begin, end = call->row_end, cut = a->rows;
    if (begin < cut) copy_rows(call, begin, a, begin, smaller(end, cut) - begin);
    if (end > cut) {
        const size_t first = begin > cut ? begin : cut;
        copy_rows(call, first, b, first - cut, end - first);
    }
}

static void concat_rows_backward(const sv_call *call)
{
    const sv_span *a = &call->in[0], *b = &call->in[1];
    if (a->gradient) rows_back(call, a, 0, 0, a->rows);
    if (b->gradient) rows_back(call, b, 0, a->rows, b->rows);
}

static const sv_sample concat_rows_samples[] = {
    { .name = "one and one", .images = 1, .in = { IMAGE(NORMAL, 1, 7), IMAGE(NORMAL, 1, 7) } },
    { .name = "four and one", .images = 3, .in = { IMAGE(NORMAL, 4, 17), IMAGE(NORMAL, 1, 17) } },
    { .name = "one and four", .images = 2, .in = { IMAGE(NORMAL, 1, 1), IMAGE(NORMAL, 4, 1) } },
    { .name = "constant a", .images = 2, .in = { CONSTANT(NORMAL, 2, 5), IMAGE(NORMAL, 3, 5) } },
    { .name = "constant b", .images = 2, .in = { IMAGE(LARGE, 2, 5), CONSTANT(NORMAL, 3, 5) } },
    { .name = "indices", .images = 2, .in = { CONSTANT(COUNT_UP, 3, 1), CONSTANT(INDEX, 2, 1) } },
};

const sv_op sv_op_concat_rows = {
    .name = "concat_rows",
    .formula = "a [R,D], b [S,D] -> y [R+S,D]: rows of a, then of b",
    .source = "torch.cat([a, b], 1)",
    .inputs_least = 2,
    .inputs_most = 2,
    .outputs = 1,
    .locality = SV_IMAGE_ROWS,
    .shape = concat_rows_shape,
    .forward = concat_rows_forward,
    .backward = concat_rows_backward,
    SV_SAMPLES_OF(concat_rows_samples),
};

sv_tensor *sv_tape_concat_rows(sv_tape *tape, sv_tensor *a, sv_tensor *b)
{
    return sv_tape_record(tape, &sv_op_concat_rows, (sv_tensor *[]){ a, b }, 2, NULL, NULL);
}

/* ---- slice_columns ------------------------------------------------------------------------------------------------ */

/* y = columns begin .. begin+count-1 of x:  dx = dy there, zero in the other columns. */
static sv_status slice_columns_shape(sv_node *node, sv_error *err)
{
    const int64_t begin = node->attributes.i[0], count = node->attributes.i[1];
    sv_status status = sv_want_image(node->in[0], "x", SV_REAL, err);
    if (status) return status;
    if (begin < 0 || count < 1 || begin + count > (int64_t)node->in[0]->width)
        return sv_fail(err, SV_USAGE, "x is %zu wide, so %lld columns from %lld on are not in it", node->in[0]->width, (long long)count,
                       (long long)begin);
    node->out[0]->width = (size_t)count;
    return SV_OK;
}

static void slice_columns_forward(const sv_call *call)
{
    const sv_span *x = &call->in[0], *y = &call->out[0];
    for (size_t r = call->row_begin; r < call->row_end; r++)
        memcpy(y->data + r * y->width, x->data + r * x->width + call->attributes->i[0], y->width * sizeof *y->data);
}

static void slice_columns_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0], *y = &call->out[0];
    sv_begin_gradient(x);
    for (size_t r = 0; r < x->live; r++)
        sv_scale(x->gradient + r * x->width + call->attributes->i[0], y->gradient + r * y->width, 1, y->width, true);
}

static const sv_sample slice_columns_samples[] = {
    { .name = "first column", .images = 2, .in = { IMAGE(NORMAL, 4, 7) }, .attributes.i = { 0, 1 } },
    { .name = "one number of one", .images = 1, .in = { IMAGE(NORMAL, 1, 1) }, .attributes.i = { 0, 1 } },
    { .name = "last column", .images = 2, .in = { IMAGE(NORMAL, 1, 17) }, .attributes.i = { 16, 1 } },
    { .name = "half", .images = 3, .in = { IMAGE(NORMAL, 5, 32) }, .attributes.i = { 16, 16 } },
    { .name = "middle", .images = 2, .in = { IMAGE(LARGE, 3, 9) }, .attributes.i = { 2, 5 } },
    { .name = "all", .images = 1, .in = { IMAGE(NORMAL, 3, 5) }, .attributes.i = { 0, 5 } },
};

const sv_op sv_op_slice_columns = {
    .name = "slice_columns",
    .formula = "x [R,D] -> y [R,count] = columns begin .. begin+count-1 of x",
    .source = "x[..., begin:begin + count]",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = slice_columns_shape,
    .forward = slice_columns_forward,
    .backward = slice_columns_backward,
    SV_SAMPLES_OF(slice_columns_samples),
};

sv_tensor *sv_tape_slice_columns(sv_tape *tape, sv_tensor *x, size_t begin, size_t count)
{
    sv_attributes attributes = { .i = { (int64_t)begin, (int64_t)count } };
    return sv_tape_record(tape, &sv_op_slice_columns, &x, 1, &attributes, NULL);
}

/* ---- concat_columns ----------------------------------------------------------------------------------------------- */

/* y = columns of a, then of b:  da, db = their columns of dy. */
static sv_status concat_columns_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *a = node->in[0], *b = node->in[1];
    sv_status status = sv_want_image(a, "a", SV_REAL, err);
    if (!status) status = sv_want_image(b, "b", SV_REAL, err);
    if (!status) status = sv_want_rows(b, "b", a, "a", err);
    if (status) return status;
    node->out[0]->width = a->width + b->width;
    if (!sv_rows_equal(a->live, b->live)) node->out[0]->live = node->out[0]->rows;
    return SV_OK;
}

static void concat_columns_forward(const sv_call *call)
{
    const sv_span *a = &call->in[0], *b = &call->in[1], *y = &call->out[0];
    for (size_t r = call->row_begin; r < call->row_end; r++) {
        memcpy(y->data + r * y->width, a->data + r * a->width, a->width * sizeof *y->data);
        memcpy(y->data + r * y->width + a->width, b->data + r * b->width, b->width * sizeof *y->data);
    }
}

static void concat_columns_backward(const sv_call *call)
{
    const sv_span *y = &call->out[0];
    const sv_real *dy = y->gradient;
    for (size_t k = 0; k < 2; dy += call->in[k++].width) {
        const sv_span *in = &call->in[k];
        for (size_t r = 0; in->gradient && r < in->live; r++)
            sv_scale(in->gradient + r * in->width, dy + r * y->width, 1, in->width, in->accumulate);
    }
}

static const sv_sample concat_columns_samples[] = {
    { .name = "one and one", .images = 1, .in = { IMAGE(NORMAL, 1, 1), IMAGE(NORMAL, 1, 1) } },
    { .name = "odd widths", .images = 3, .in = { IMAGE(NORMAL, 4, 17), IMAGE(NORMAL, 4, 5) } },
    { .name = "halves", .images = 2, .in = { IMAGE(NORMAL, 5, 16), IMAGE(NORMAL, 5, 16) } },
    { .name = "constant a", .images = 2, .in = { CONSTANT(NORMAL, 2, 5), IMAGE(NORMAL, 2, 3) } },
    { .name = "constant b", .images = 2, .in = { IMAGE(LARGE, 2, 5), CONSTANT(NORMAL, 2, 3) } },
    { .name = "one row", .images = 2, .in = { IMAGE(NORMAL, 1, 3), IMAGE(NORMAL, 1, 30) } },
};

const sv_op sv_op_concat_columns = {
    .name = "concat_columns",
    .formula = "a [R,D], b [R,E] -> y [R,D+E]: columns of a, then of b",
    .source = "torch.cat([a, b], -1)",
    .inputs_least = 2,
    .inputs_most = 2,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = concat_columns_shape,
    .forward = concat_columns_forward,
    .backward = concat_columns_backward,
    SV_SAMPLES_OF(concat_columns_samples),
};

sv_tensor *sv_tape_concat_columns(sv_tape *tape, sv_tensor *a, sv_tensor *b)
{
    return sv_tape_record(tape, &sv_op_concat_columns, (sv_tensor *[]){ a, b }, 2, NULL, NULL);
}

/* ---- gather_rows -------------------------------------------------------------------------------------------------- */

/* y[r] = x[order[r]], a zero row where x has no such row:  dx[i] = sum of dy[r] over r with order[r] = i. */
static sv_status gather_rows_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *x = node->in[0], *order = node->in[1];
    sv_tensor *y = node->out[0];
    const int64_t take = node->attributes.i[0];
    sv_status status = sv_want_any(x, "x", err);
    if (!status) status = sv_want_width(order, "order", SV_INDEX, 1, err);
    if (status) return status;
    if (take < SV_TAKE_ALL || take > SV_TAKE_ALL_LIVE) return sv_fail(err, SV_USAGE, "there is no way %lld to take rows", (long long)take);
    y->dtype = x->dtype;
    y->rows = take == SV_TAKE_LIVE ? order->live : order->rows;
    y->live = take == SV_TAKE_ALL_LIVE ? order->rows : order->live;
    return SV_OK;
}

static void gather_rows_forward(const sv_call *call)
{
    const int32_t *order = call->in[1].ints;
    for (size_t r = call->row_begin; r < call->row_end; r++) {
        if (order[r] >= 0 && (size_t)order[r] < call->in[0].rows)
            copy_rows(call, r, &call->in[0], (size_t)order[r], 1);
        else
            clear_rows(call, r, 1);
    }
}

static void gather_rows_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0], *y = &call->out[0];
    const int32_t *order = call->in[1].ints;
    sv_begin_gradient(x);
    for (size_t r = 0; r < y->live; r++)
        if (order[r] >= 0 && (size_t)order[r] < x->live)
            sv_scale(x->gradient + (size_t)order[r] * x->width, y->gradient + r * y->width, 1, y->width, true);
}

static const sv_sample gather_rows_samples[] = {
    { .name = "one row", .images = 1, .in = { IMAGE(NORMAL, 1, 7), CONSTANT(INDEX, 1, 1) }, .attributes.i = { SV_TAKE_ALL } },
    { .name = "a permutation", .images = 3, .in = { IMAGE(NORMAL, 6, 17), CONSTANT(INDEX, 6, 1) }, .attributes.i = { SV_TAKE_ALL } },
    { .name = "some rows", .images = 3, .in = { IMAGE(NORMAL, 6, 5), CONSTANT(INDEX, 3, 1) }, .attributes.i = { SV_TAKE_LIVE } },
    { .name = "one row twice",
      .images = 2,
      .in = { IMAGE(NORMAL, 3, 4), CONSTANT(INDEX_ZERO, 5, 1) },
      .attributes.i = { SV_TAKE_ALL_LIVE } },
    { .name = "rows that are not there",
      .images = 2,
      .in = { IMAGE(NORMAL, 2, 3), CONSTANT(INDEX, 5, 1) },
      .attributes.i = { SV_TAKE_ALL_LIVE } },
    { .name = "large numbers", .images = 1, .in = { IMAGE(LARGE, 4, 32), CONSTANT(COUNT_UP, 4, 1) }, .attributes.i = { SV_TAKE_ALL } },
    { .name = "indices", .images = 2, .in = { CONSTANT(INDEX, 5, 1), CONSTANT(INDEX, 5, 1) }, .attributes.i = { SV_TAKE_ALL } },
};

const sv_op sv_op_gather_rows = {
    .name = "gather_rows",
    .formula = "x [R,D], order index [S,1] -> y [S,D] = x[order[r]], zero where there is no such row",
    .source = "torch.gather of rows",
    .inputs_least = 2,
    .inputs_most = 2,
    .outputs = 1,
    .locality = SV_IMAGE_ROWS,
    .shape = gather_rows_shape,
    .forward = gather_rows_forward,
    .backward = gather_rows_backward,
    .backward_inputs = 1 << 1,
    SV_SAMPLES_OF(gather_rows_samples),
};

sv_tensor *sv_tape_gather_rows(sv_tape *tape, sv_tensor *x, sv_tensor *order, sv_take take)
{
    sv_attributes attributes = { .i = { take } };
    return sv_tape_record(tape, &sv_op_gather_rows, (sv_tensor *[]){ x, order }, 2, &attributes, NULL);
}

/* ---- scatter_rows ------------------------------------------------------------------------------------------------- */

/* y[index[r]] = x[r], zero elsewhere; of two rows with one index the later counts:  dx[r] = dy[index[r]] where r counts, else zero. */
static sv_status scatter_rows_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *x = node->in[0], *index = node->in[1];
    sv_status status = sv_want_image(x, "x", SV_REAL, err);
    if (!status) status = sv_want_width(index, "index", SV_INDEX, 1, err);
    if (!status) status = sv_want_rows(index, "index", x, "x", err);
    if (status) return status;
    if (node->attributes.i[0] < 1) return sv_fail(err, SV_USAGE, "the result must have at least one row");
    sv_make_image(node->out[0], sv_rows_fixed((size_t)node->attributes.i[0]), x->width);
    return SV_OK;
}

static void scatter_rows_forward(const sv_call *call)
{
    const sv_span *x = &call->in[0];
    const int32_t *index = call->in[1].ints;
    clear_rows(call, call->row_begin, call->row_end - call->row_begin);
    for (size_t r = 0; r < x->rows; r++)
        if (index[r] >= (int64_t)call->row_begin && index[r] < (int64_t)call->row_end) copy_rows(call, (size_t)index[r], x, r, 1);
}

static void scatter_rows_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0], *y = &call->out[0];
    const int32_t *index = call->in[1].ints;
    size_t *last = call->scratch; /* which row of x counts for each row of y */
    for (size_t r = 0; r < x->rows; r++)
        if (index[r] >= 0 && (size_t)index[r] < y->rows) last[index[r]] = r;
    for (size_t r = 0; r < x->live; r++) {
        if (index[r] >= 0 && (size_t)index[r] < y->rows && last[index[r]] == r)
            rows_back(call, x, r, (size_t)index[r], 1);
        else
            no_rows_back(x, r, r + 1);
    }
}

static size_t scatter_rows_scratch(const sv_node *node) { return (size_t)node->attributes.i[0] * sizeof(size_t); }

static const sv_sample scatter_rows_samples[] = {
    { .name = "one row of one", .images = 1, .in = { IMAGE(NORMAL, 1, 7), CONSTANT(INDEX, 1, 1) }, .attributes.i = { 1 } },
    { .name = "a permutation", .images = 3, .in = { IMAGE(NORMAL, 5, 17), CONSTANT(INDEX, 5, 1) }, .attributes.i = { 5 } },
    { .name = "into more rows", .images = 2, .in = { IMAGE(NORMAL, 3, 4), CONSTANT(INDEX, 3, 1) }, .attributes.i = { 6 } },
    { .name = "beyond the rows", .images = 2, .in = { IMAGE(NORMAL, 5, 4), CONSTANT(INDEX, 5, 1) }, .attributes.i = { 2 } },
    { .name = "all to one row", .images = 2, .in = { IMAGE(NORMAL, 4, 3), CONSTANT(INDEX_ZERO, 4, 1) }, .attributes.i = { 2 } },
    { .name = "large numbers", .images = 1, .in = { IMAGE(LARGE, 3, 1), CONSTANT(COUNT_UP, 3, 1) }, .attributes.i = { 4 } },
};

const sv_op sv_op_scatter_rows = {
    .name = "scatter_rows",
    .formula = "x [R,D], index [R,1] -> y [rows,D], y[index[r]] = x[r], zero elsewhere",
    .source = "torch.scatter of rows",
    .inputs_least = 2,
    .inputs_most = 2,
    .outputs = 1,
    .locality = SV_IMAGE_ROWS,
    .shape = scatter_rows_shape,
    .forward = scatter_rows_forward,
    .backward = scatter_rows_backward,
    .backward_inputs = 1 << 1,
    .backward_dead = 1 << 1,
    .scratch = scatter_rows_scratch,
    SV_SAMPLES_OF(scatter_rows_samples),
};

sv_tensor *sv_tape_scatter_rows(sv_tape *tape, sv_tensor *x, sv_tensor *index, size_t rows)
{
    sv_attributes attributes = { .i = { (int64_t)rows } };
    return sv_tape_record(tape, &sv_op_scatter_rows, (sv_tensor *[]){ x, index }, 2, &attributes, NULL);
}
