/* Windows of a picture whose places are rows (Liu et al. 2021, Swin). The picture is rolled by (-shift, -shift) and cut into windows
 * of side x side places: window by window, raster order inside. Row (r, c) of the picture stands at (r - shift, c - shift) of the rolled one.
 * After the roll a window can hold places that were not neighbours: three bands of rows and of columns tell them apart. */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

#include <string.h>

typedef struct windows {
    size_t height, width, side, shift;
} windows;

static windows windows_of(const sv_attributes *a)
{
    return (windows){ (size_t)a->i[0], (size_t)a->i[1], (size_t)a->i[2], (size_t)a->i[3] };
}

static sv_status check_windows(const sv_tensor *x, const sv_attributes *a, sv_error *err)
{
    enum { MOST = 1 << 15 };
    const int64_t height = a->i[0], width = a->i[1], side = a->i[2], shift = a->i[3];
    sv_status status = sv_want_image(x, "x", SV_REAL, err);
    if (status) return status;
    if (side < 1 || height < 1 || width < 1 || height > MOST || width > MOST || height % side || width % side)
        return sv_fail(err, SV_USAGE, "a picture of %lld x %lld cannot be cut into windows of %lld x %lld", (long long)height,
                       (long long)width, (long long)side, (long long)side);
    if (shift < 0 || shift >= side)
        return sv_fail(err, SV_USAGE, "windows of %lld cannot be shifted by %lld", (long long)side, (long long)shift);
    return sv_want_fixed_rows(x, "x, a row a place of the picture,", (size_t)(height * width), err);
}

/* Row of the rolled picture's place, in rolled coordinates, that stands at `row` in window order. */
static void rolled_place(const windows *w, size_t row, size_t *r, size_t *c)
{
    const size_t places = w->side * w->side, window = row / places, inside = row % places, across = w->width / w->side;
    *r = window / across * w->side + inside / w->side;
    *c = window % across * w->side + inside % w->side;
}

/* From window order to the picture and back. */
static size_t picture_row(const windows *w, size_t row)
{
    size_t r = 0, c = 0;
    rolled_place(w, row, &r, &c);
    return (r + w->shift) % w->height * w->width + (c + w->shift) % w->width;
}

static size_t window_row(const windows *w, size_t row)
{
    const size_t r = (row / w->width + w->height - w->shift) % w->height, c = (row % w->width + w->width - w->shift) % w->width;
    const size_t window = r / w->side * (w->width / w->side) + c / w->side;
    return window * w->side * w->side + r % w->side * w->side + c % w->side;
}

/* ---- window_rows --------------------------------------------------------------------------------------------------- */

/* Into window order y[p] = x[picture_row(p)], or back y[q] = x[window_row(q)]: each is the other's backward. */
static sv_status window_rows_shape(sv_node *node, sv_error *err) { return check_windows(node->in[0], &node->attributes, err); }

static size_t moved_row(const windows *w, bool back, size_t row) { return back ? window_row(w, row) : picture_row(w, row); }

static void window_rows_forward(const sv_call *call)
{
    const windows w = windows_of(call->attributes);
    const size_t bytes = call->in[0].width * (call->in[0].half ? sizeof(uint16_t) : sizeof(sv_real));
    unsigned char *to = (unsigned char *)call->out[0].data;
    const unsigned char *from = (const unsigned char *)call->in[0].data;
    for (size_t row = call->row_begin; row < call->row_end; row++)
        memcpy(to + row * bytes, from + moved_row(&w, call->attributes->i[4], row) * bytes, bytes);
}

static void window_rows_backward(const sv_call *call)
{
    const windows w = windows_of(call->attributes);
    const sv_span *x = &call->in[0];
    for (size_t row = 0; row < x->live; row++)
        sv_scale(x->gradient + row * x->width, call->out[0].gradient + moved_row(&w, !call->attributes->i[4], row) * x->width, 1, x->width,
                 x->accumulate);
}

static const sv_sample window_rows_samples[] = {
    { .name = "one place", .images = 1, .in = { IMAGE(NORMAL, 1, 3) }, .attributes.i = { 1, 1, 1, 0, 0 } },
    { .name = "into windows", .images = 2, .in = { IMAGE(NORMAL, 24, 5) }, .attributes.i = { 4, 6, 2, 0, 0 } },
    { .name = "back from windows", .images = 2, .in = { IMAGE(NORMAL, 24, 5) }, .attributes.i = { 4, 6, 2, 0, 1 } },
    { .name = "shifted", .images = 2, .in = { IMAGE(NORMAL, 36, 3) }, .attributes.i = { 6, 6, 3, 1, 0 } },
    { .name = "shifted, back", .images = 2, .in = { IMAGE(NORMAL, 36, 3) }, .attributes.i = { 6, 6, 3, 1, 1 } },
    { .name = "one window", .images = 1, .in = { IMAGE(LARGE, 9, 17) }, .attributes.i = { 3, 3, 3, 0, 0 } },
};

const sv_op sv_op_window_rows = {
    .name = "window_rows",
    .formula = "x [H*W,C] -> y [H*W,C]: rows of the picture rolled by -shift in window order, or back",
    .source = "Liu et al. 2021 (Swin), torch.roll and window_partition / window_reverse",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_IMAGE_ROWS,
    .shape = window_rows_shape,
    .forward = window_rows_forward,
    .backward = window_rows_backward,
    .moves_half = true,
    SV_SAMPLES_OF(window_rows_samples),
};

static sv_tensor *window_rows(sv_tape *tape, sv_tensor *x, size_t height, size_t width, size_t side, size_t shift, bool back)
{
    sv_attributes attributes = { .i = { (int64_t)height, (int64_t)width, (int64_t)side, (int64_t)shift, back } };
    return sv_tape_record(tape, &sv_op_window_rows, &x, 1, &attributes, NULL);
}

sv_tensor *sv_tape_window_partition(sv_tape *tape, sv_tensor *x, size_t height, size_t width, size_t side, size_t shift)
{
    return window_rows(tape, x, height, width, side, shift, false);
}

sv_tensor *sv_tape_window_reverse(sv_tape *tape, sv_tensor *x, size_t height, size_t width, size_t side, size_t shift)
{
    return window_rows(tape, x, height, width, side, shift, true);
}

/* ---- window_attention ---------------------------------------------------------------------------------------------- */

/* In each window and head, places i and j of M = side^2:
 *   a_ij = q_i.k_j / sqrt(d) + table[index(i, j)][h] + mask_ij;  p = softmax_j a;  y_i = sum_j p_ij v_j
 *   index = (r_i - r_j + side - 1)(2 side - 1) + c_i - c_j + side - 1;  mask_ij = -100 where i and j lie in different bands, else 0.
 * With g = dy, s_ij = g_i.v_j:  da_ij = p_ij (s_ij - sum_l p_il s_il);  dtable[index] += da;  dq_i = sum_j da_ij k_j / sqrt(d);
 *   dk_j = sum_i da_ij q_i / sqrt(d);  dv_j = sum_i p_ij g_i.
 * The kernel of attention does it, window by window: all heads of a window share its mask, all windows their bias, which is laid out as
 * [heads, M, M] once a picture. */
static const sv_real apart = -100; /* as the reference: added, not minus infinity */

static sv_status window_attention_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *qkv = node->in[0];
    const int64_t heads = node->attributes.i[4], side = node->attributes.i[2];
    sv_status status = check_windows(qkv, &node->attributes, err);
    if (status) return status;
    if (heads < 1 || qkv->width % (3 * (size_t)heads))
        return sv_fail(err, SV_USAGE, "qkv must be 3 x %lld heads wide times the width of a head, but is %zu wide", (long long)heads,
                       qkv->width);
    if (side > 64) return sv_fail(err, SV_USAGE, "windows of %lld x %lld are larger than 64 x 64", (long long)side, (long long)side);
    const size_t reach = 2 * (size_t)side - 1;
    status = sv_want_parameter(node->in[1], "table", 2, (size_t[]){ reach * reach, (size_t)heads }, err);
    node->out[0]->width = qkv->width / 3;
    return status;
}

/* 0, 1 or 2: which part of the axis a rolled coordinate lies in. */
static unsigned band(size_t at, size_t length, size_t side, size_t shift)
{
    return at < length - side ? 0u : at < length - shift ? 1u : 2u;
}

/* The bands of a window's places; false: all are the same. */
static bool label_window(const windows *w, size_t window, unsigned char *label)
{
    size_t top = 0, left = 0;
    rolled_place(w, window * w->side * w->side, &top, &left);
    for (size_t r = 0, i = 0; r < w->side; r++)
        for (size_t c = 0; c < w->side; c++, i++)
            label[i] = (unsigned char)(3 * band(top + r, w->height, w->side, w->shift) + band(left + c, w->width, w->side, w->shift));
    return label[0] != label[w->side * w->side - 1]; /* bands rise with rows and columns */
}

/* A picture's windows on their way: what they share, and where it lies in scratch. */
typedef struct window_run {
    windows w;
    size_t places, heads, width, stride; /* M, of a head, of the bias from row to row */
    sv_real *bias, *mask, *d_bias, *column, *d_qkv;
    unsigned char *label;
    void *kernel; /* its own scratch */
} window_run;

static size_t up(size_t bytes) { return (bytes + 63) / 64 * 64; }

/* Lays scratch out, where it is not NULL; returns its bytes. */
static size_t lay_out(window_run *run, const sv_node *node, void *scratch)
{
    const windows w = windows_of(&node->attributes);
    const size_t places = w.side * w.side, heads = (size_t)node->attributes.i[4], part = node->out[0]->width, width = part / heads;
    const size_t stride = (places + 15) / 16 * 16, reach = 2 * w.side - 1;
    const size_t forward = sv_attention_forward_scratch(places, width), backward = sv_attention_backward_scratch(places, width);
    const size_t map = up(heads * places * stride * sizeof(sv_real)), mask = up(places * stride * sizeof(sv_real));
    const size_t column = up(reach * reach * sizeof(sv_real)), rows = up(places * 3 * part * sizeof(sv_real));
    const size_t sizes[] = { map, mask, map, column, rows, up(places), forward > backward ? forward : backward };
    size_t at[SV_COUNT(sizes) + 1] = { 0 };
    for (size_t i = 0; i < SV_COUNT(sizes); i++) at[i + 1] = at[i] + sizes[i];
    if (!scratch) return at[SV_COUNT(sizes)];
    unsigned char *room = scratch;
    *run = (window_run){ w,
                         places,
                         heads,
                         width,
                         stride,
                         (sv_real *)(void *)(room + at[0]),
                         (sv_real *)(void *)(room + at[1]),
                         (sv_real *)(void *)(room + at[2]),
                         (sv_real *)(void *)(room + at[3]),
                         (sv_real *)(void *)(room + at[4]),
                         room + at[5],
                         room + at[6] };
    return at[SV_COUNT(sizes)];
}

/* Place of (i, 0) in the table; (i, j) stands r_j (2 side - 1) + c_j before it. */
static size_t table_start(const windows *w, size_t i)
{
    return (i / w->side + w->side - 1) * (2 * w->side - 1) + i % w->side + w->side - 1;
}

/* bias[h][i][j] = table[index(i, j)][h], by a column of the table with its numbers in falling order: there a row of the window is one run. */
static void lay_out_bias(const window_run *run, const sv_real *table)
{
    const size_t side = run->w.side, reach = 2 * side - 1, all = reach * reach;
    for (size_t h = 0; h < run->heads; h++) {
        for (size_t t = 0; t < all; t++) run->column[t] = table[(all - 1 - t) * run->heads + h];
        for (size_t i = 0; i < run->places; i++) {
            sv_real *to = run->bias + (h * run->places + i) * run->stride;
            const sv_real *from = run->column + all - 1 - table_start(&run->w, i);
            for (size_t r = 0; r < side; r++)
                for (size_t c = 0; c < side; c++) to[r * side + c] = from[r * reach + c];
        }
    }
}

/* The mask of a window, NULL where all of it lies in one band. */
static const sv_real *mask_of(const window_run *run, size_t window)
{
    if (!run->w.shift || !label_window(&run->w, window, run->label)) return NULL;
    for (size_t i = 0; i < run->places; i++)
        for (size_t j = 0; j < run->places; j++) run->mask[i * run->stride + j] = run->label[i] == run->label[j] ? 0 : apart;
    return run->mask;
}

/* Of one window; log_sum is kept as [window][head][place]. */
static sv_attention kernel_of(const window_run *run, const sv_call *call, size_t window)
{
    const sv_span *y = &call->out[0];
    const size_t first = window * run->places;
    return (sv_attention){ .rows = run->places,
                           .live = run->places,
                           .heads = run->heads,
                           .width = run->width,
                           .qkv = call->in[0].data + first * call->in[0].width,
                           .qkv_stride = call->in[0].width,
                           .out = y->half ? NULL : y->data + first * y->width,
                           .out_half = y->half ? y->halves + first * y->width : NULL,
                           .out_stride = y->width,
                           .log_sum = call->saved ? call->saved + first * run->heads : NULL,
                           .scratch = run->kernel,
                           .parts = sv_parts_of(call->node->precision),
                           .bias = run->bias,
                           .mask = mask_of(run, window),
                           .bias_stride = run->stride };
}

static void window_attention_forward(const sv_call *call)
{
    window_run run;
    lay_out(&run, call->node, call->scratch);
    lay_out_bias(&run, call->in[1].data);
    for (size_t row = call->row_begin, end; row < call->row_end; row = end) {
        const size_t window = row / run.places, first = window * run.places;
        const sv_attention attention = kernel_of(&run, call, window);
        end = first + run.places < call->row_end ? first + run.places : call->row_end;
        sv_attention_forward(&attention, row - first, end - first);
    }
}

/* The table gets the sums over all windows of the gradients of its places. */
static void table_back(const window_run *run, const sv_span *table)
{
    const size_t side = run->w.side, reach = 2 * side - 1;
    sv_begin_gradient(table);
    for (size_t h = 0; h < run->heads; h++)
        for (size_t i = 0; i < run->places; i++) {
            const sv_real *from = run->d_bias + (h * run->places + i) * run->stride;
            sv_real *to = table->gradient + table_start(&run->w, i) * run->heads + h;
            for (size_t r = 0; r < side; r++)
                for (size_t c = 0; c < side; c++) to[-(ptrdiff_t)((r * reach + c) * run->heads)] += from[r * side + c];
        }
}

static void window_attention_backward(const sv_call *call)
{
    const sv_span *qkv = &call->in[0], *table = &call->in[1], *y = &call->out[0];
    const bool in_place = qkv->gradient && !qkv->accumulate;
    window_run run;
    lay_out(&run, call->node, call->scratch);
    lay_out_bias(&run, table->data);
    memset(run.d_bias, 0, run.heads * run.places * run.stride * sizeof *run.d_bias);
    for (size_t window = 0; window < qkv->rows / run.places; window++) {
        const size_t first = window * run.places, numbers = run.places * qkv->width;
        sv_attention attention = kernel_of(&run, call, window);
        sv_real *d_qkv = in_place ? qkv->gradient + first * qkv->width : run.d_qkv;
        attention.d_bias = table->gradient ? run.d_bias : NULL;
        sv_attention_backward(&attention, y->gradient + first * y->width, y->width, d_qkv, qkv->width, NULL, 0, NULL);
        if (!in_place && qkv->gradient) sv_scale(qkv->gradient + first * qkv->width, d_qkv, 1, numbers, true);
    }
    if (table->gradient) table_back(&run, table);
}

static size_t window_attention_saved(const sv_node *node) { return (size_t)node->attributes.i[4] * node->in[0]->rows.most; }

static size_t window_attention_scratch(const sv_node *node)
{
    return lay_out(NULL, node, NULL);
}

static uint64_t window_attention_macs(const sv_call *call)
{
    const size_t side = (size_t)call->attributes->i[2];
    return 2 * (uint64_t)call->in[0].rows * side * side * call->out[0].width;
}

static const sv_sample window_attention_samples[] = {
    { .name = "one place", .images = 1, .in = { IMAGE(NORMAL, 1, 6), WEIGHT(NORMAL, 1, 2) }, .attributes.i = { 1, 1, 1, 0, 2 } },
    { .name = "one window", .images = 2, .in = { IMAGE(NORMAL, 9, 12), WEIGHT(NORMAL, 25, 2) }, .attributes.i = { 3, 3, 3, 0, 2 } },
    { .name = "several windows", .images = 2, .in = { IMAGE(NORMAL, 24, 9), WEIGHT(NORMAL, 9, 1) }, .attributes.i = { 4, 6, 2, 0, 1 } },
    { .name = "shifted", .images = 2, .in = { IMAGE(NORMAL, 36, 12), WEIGHT(NORMAL, 25, 2) }, .attributes.i = { 6, 6, 3, 1, 2 } },
    { .name = "shifted, wider than high",
      .images = 1,
      .in = { IMAGE(NORMAL, 24, 15), WEIGHT(NORMAL, 9, 1) },
      .attributes.i = { 4, 6, 2, 1, 1 } },
    { .name = "large numbers", .images = 1, .in = { IMAGE(LARGE, 8, 12), WEIGHT(NORMAL, 9, 2) }, .attributes.i = { 2, 4, 2, 0, 2 } },
    { .name = "constant qkv", .images = 2, .in = { CONSTANT(NORMAL, 4, 6), WEIGHT(NORMAL, 9, 2) }, .attributes.i = { 2, 2, 2, 0, 2 } },
};

const sv_op sv_op_window_attention = {
    .name = "window_attention",
    .formula =
        "qkv [H*W,3D] in window order, table [(2 side - 1)^2,H] -> y [H*W,D] = softmax over the window of q.k / sqrt(d) + table + mask, "
        "times v, by head",
    .source = "Liu et al. 2021 (Swin), eq. 4; mask -100 between bands, as in its code",
    .inputs_least = 2,
    .inputs_most = 2,
    .outputs = 1,
    .locality = SV_IMAGE_ROWS,
    .shape = window_attention_shape,
    .forward = window_attention_forward,
    .backward = window_attention_backward,
    .backward_inputs = 1,
    .backward_outputs = 1,
    .gives_half = true,
    .saved = window_attention_saved,
    .scratch = window_attention_scratch,
    .macs = window_attention_macs,
    SV_SAMPLES_OF(window_attention_samples),
};

sv_tensor *sv_tape_window_attention(sv_tape *tape, sv_tensor *qkv, sv_tensor *table, size_t height, size_t width, size_t side, size_t shift,
                                    size_t heads)
{
    sv_attributes attributes = { .i = { (int64_t)height, (int64_t)width, (int64_t)side, (int64_t)shift, (int64_t)heads } };
    return sv_tape_record(tape, &sv_op_window_attention, (sv_tensor *[]){ qkv, table }, 2, &attributes, NULL);
}

/* ---- merge_patches ------------------------------------------------------------------------------------------------- */

/* Four neighbours become one row: (even r, even c), (odd r, even c), (even r, odd c), (odd r, odd c). Each number of x stands once in y. */
static sv_status merge_patches_shape(sv_node *node, sv_error *err)
{
    const int64_t height = node->attributes.i[0], width = node->attributes.i[1];
    sv_status status = check_windows(node->in[0], &(sv_attributes){ .i = { height, width, 2, 0 } }, err);
    if (!status) sv_make_image(node->out[0], sv_rows_fixed((size_t)(height * width / 4)), 4 * node->in[0]->width);
    return status;
}

/* Row of x that stands in part `part` of row `row` of y. */
static size_t merged_row(const sv_call *call, size_t row, size_t part)
{
    const size_t width = (size_t)call->attributes->i[1], across = width / 2;
    return (2 * (row / across) + part % 2) * width + 2 * (row % across) + part / 2;
}

static void merge_patches_forward(const sv_call *call)
{
    const size_t width = call->in[0].width;
    for (size_t row = call->row_begin; row < call->row_end; row++)
        for (size_t part = 0; part < 4; part++)
            memcpy(call->out[0].data + (4 * row + part) * width, call->in[0].data + merged_row(call, row, part) * width,
                   width * sizeof(sv_real));
}

static void merge_patches_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0];
    for (size_t row = 0; row < call->out[0].live; row++)
        for (size_t part = 0; part < 4; part++)
            sv_scale(x->gradient + merged_row(call, row, part) * x->width, call->out[0].gradient + (4 * row + part) * x->width, 1, x->width,
                     x->accumulate);
}

static const sv_sample merge_patches_samples[] = {
    { .name = "one patch", .images = 1, .in = { IMAGE(NORMAL, 4, 1) }, .attributes.i = { 2, 2 } },
    { .name = "square", .images = 2, .in = { IMAGE(NORMAL, 16, 3) }, .attributes.i = { 4, 4 } },
    { .name = "wider than high", .images = 2, .in = { IMAGE(NORMAL, 12, 5) }, .attributes.i = { 2, 6 } },
    { .name = "higher than wide", .images = 3, .in = { IMAGE(NORMAL, 8, 17) }, .attributes.i = { 4, 2 } },
    { .name = "large numbers", .images = 1, .in = { IMAGE(LARGE, 4, 32) }, .attributes.i = { 2, 2 } },
    { .name = "zeros", .images = 1, .in = { IMAGE(ZERO, 8, 2) }, .attributes.i = { 2, 4 } },
};

const sv_op sv_op_merge_patches = {
    .name = "merge_patches",
    .formula = "x [H*W,C] -> y [H*W/4,4C]: of each 2 x 2 places (even,even) | (odd,even) | (even,odd) | (odd,odd), by (row,column)",
    .source = "Liu et al. 2021 (Swin), patch merging",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_IMAGE_ROWS,
    .shape = merge_patches_shape,
    .forward = merge_patches_forward,
    .backward = merge_patches_backward,
    SV_SAMPLES_OF(merge_patches_samples),
};

sv_tensor *sv_tape_merge_patches(sv_tape *tape, sv_tensor *x, size_t height, size_t width)
{
    sv_attributes attributes = { .i = { (int64_t)height, (int64_t)width } };
    return sv_tape_record(tape, &sv_op_merge_patches, &x, 1, &attributes, NULL);
}
