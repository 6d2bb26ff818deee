/* Convolutions over rows that are the places of a picture (op_grid.h). weight [O,C/groups,P,P] as PyTorch has it.
 *   y[p][o] = bias[o] + sum over channels c of o's group and taps t of weight[o][c][t] x[tap(p, t)][c]
 * conv2d lays the taps of some places out as rows [C P P] and multiplies them with the weight. A group a channel: op_depthwise.c. */
#include "autograd/op_grid.h"
#include "kernels/kernels.h"

#include <string.h>

/* ---- the grid ------------------------------------------------------------------------------------------------------ */

sv_grid sv_grid_accepted(const sv_attributes *attributes, size_t side)
{
    sv_grid g = { (size_t)attributes->i[0], (size_t)attributes->i[1], side, (size_t)attributes->i[2], (size_t)attributes->i[3], 0, 0 };
    g.down = (g.height + 2 * g.padding - side) / g.stride + 1;
    g.across = (g.width + 2 * g.padding - side) / g.stride + 1;
    return g;
}

sv_status sv_grid_of(sv_grid *out, const sv_attributes *attributes, size_t side, sv_error *err)
{
    enum { MOST = 1 << 15 }; /* pixels a side: products of four sides stay far below 2^63 */
    const int64_t height = attributes->i[0], width = attributes->i[1], stride = attributes->i[2], padding = attributes->i[3];
    const int64_t least = height < width ? height : width;
    if (height < 1 || width < 1 || height > MOST || width > MOST || stride < 1 || stride > MOST || padding < 0 || padding > MOST)
        return sv_fail(err, SV_USAGE, "a picture of %lld x %lld, stride %lld, padding %lld is not possible", (long long)height,
                       (long long)width, (long long)stride, (long long)padding);
    if (!side || (int64_t)side > least + 2 * padding)
        return sv_fail(err, SV_USAGE, "a window of %zu x %zu does not fit a picture of %lld x %lld with padding %lld", side, side,
                       (long long)height, (long long)width, (long long)padding);
    *out = sv_grid_accepted(attributes, side);
    return SV_OK;
}

sv_status sv_want_grid_rows(const sv_tensor *x, size_t height, size_t width, sv_error *err)
{
    sv_status status = sv_want_image(x, "x", SV_REAL, err);
    return status ? status : sv_want_fixed_rows(x, "x, a row a place of the picture,", height * width, err);
}

/* ---- conv2d -------------------------------------------------------------------------------------------------------- */

/* Places are laid out some at a time, so that they stay in cache for the product. */
enum { MOST_AT_ONCE = 112, LEAST_AT_ONCE = 16, ROWS_BYTES = 512 * 1024, TAPS_AT_ONCE = 16 };

/* x is rows (channels last), or a picture as it comes from a file: one row of planes. */
typedef struct conv {
    sv_grid grid;
    size_t channels, groups, outs, taps, numbers; /* taps of a channel; numbers of a place laid out */
    size_t place_step, channel_step;              /* in x */
} conv;

static bool is_planes(const sv_node *node) { return node->in[0]->rows.most == 1 && node->attributes.i[0] * node->attributes.i[1] > 1; }

static conv conv_of(const sv_node *node)
{
    const size_t *shape = node->in[1]->parameter->shape;
    const sv_grid grid = sv_grid_accepted(&node->attributes, shape[3]);
    conv v = { .grid = grid, .groups = (size_t)node->attributes.i[4], .outs = shape[0], .taps = shape[3] * shape[3] };
    v.channels = shape[1] * v.groups;
    v.numbers = v.channels * v.taps;
    v.place_step = is_planes(node) ? 1 : v.channels;
    v.channel_step = is_planes(node) ? grid.height * grid.width : 1;
    return v;
}

sv_status sv_want_windows(const sv_node *node, sv_error *err)
{
    const sv_tensor *weight = node->in[1], *bias = node->in[2];
    sv_status status = sv_want_parameter(weight, "weight", 4, (size_t[]){ 0, 0, 0, 0 }, err);
    if (!status && bias) status = sv_want_parameter(bias, "bias", 1, (size_t[]){ weight->parameter->shape[0] }, err);
    if (status) return status;
    const size_t *shape = weight->parameter->shape;
    const int64_t groups = node->attributes.i[4];
    if (shape[2] != shape[3]) return sv_fail(err, SV_USAGE, "weight must have square windows, but they are %zu x %zu", shape[2], shape[3]);
    if (groups < 1 || shape[0] % (size_t)groups)
        return sv_fail(err, SV_USAGE, "%zu channels of the result cannot be cut into %lld groups", shape[0], (long long)groups);
    return SV_OK;
}

static sv_status conv2d_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *x = node->in[0];
    sv_grid grid;
    sv_status status = sv_want_windows(node, err);
    if (status) return status;
    const size_t *shape = node->in[1]->parameter->shape, channels = shape[1] * (size_t)node->attributes.i[4];
    status = sv_grid_of(&grid, &node->attributes, shape[3], err);
    if (!status) status = sv_want_image(x, "x", SV_REAL, err);
    if (!status && is_planes(node)) status = sv_want_width(x, "picture", SV_REAL, channels * grid.height * grid.width, err);
    if (!status && !is_planes(node)) status = sv_want_grid_rows(x, grid.height, grid.width, err);
    if (!status && !is_planes(node)) status = sv_want_width(x, "x", SV_REAL, channels, err);
    if (!status) sv_make_image(node->out[0], sv_rows_fixed(grid.down * grid.across), shape[0]);
    return status;
}

static size_t most_at_once(const conv *v)
{
    const size_t fit = ROWS_BYTES / (v->numbers * sizeof(sv_real));
    return fit < LEAST_AT_ONCE ? LEAST_AT_ONCE : fit < MOST_AT_ONCE ? fit : MOST_AT_ONCE;
}

/* Where the next pass over places begin..end-1 ends: passes are as even as can be. */
static size_t pass_end(const conv *v, size_t begin, size_t end)
{
    const size_t most = most_at_once(v), passes = (end - begin + most - 1) / most;
    return begin + (end - begin + passes - 1) / passes;
}

/* What a place sees of a picture of planes: row [channel][tap] by runs of a tap's row, 0 outside. */
static void lay_out_planes(const conv *v, sv_real *row, const sv_real *picture, size_t place)
{
    const sv_grid *g = &v->grid;
    const ptrdiff_t top = (ptrdiff_t)(place / g->across * g->stride) - (ptrdiff_t)g->padding;
    const ptrdiff_t left = (ptrdiff_t)(place % g->across * g->stride) - (ptrdiff_t)g->padding;
    for (size_t c = 0; c < v->channels; c++)
        for (ptrdiff_t y = top; y < top + (ptrdiff_t)g->side; y++, row += g->side) {
            const bool inside = y >= 0 && y < (ptrdiff_t)g->height;
            const sv_real *line = picture + c * v->channel_step + (inside ? (size_t)y * g->width : 0);
            for (size_t i = 0; i < g->side; i++) {
                const ptrdiff_t x = left + (ptrdiff_t)i;
                row[i] = inside && x >= 0 && x < (ptrdiff_t)g->width ? line[x] : 0;
            }
        }
}

/* The same of rows of channels: taps become columns. */
static void lay_out_rows(const conv *v, sv_real *row, const sv_real *x, size_t place)
{
    const sv_real *seen[TAPS_AT_ONCE];
    for (size_t first = 0, count; first < v->taps; first += count) {
        count = v->taps - first < TAPS_AT_ONCE ? v->taps - first : TAPS_AT_ONCE;
        for (size_t t = 0; t < count; t++) {
            const int64_t at = sv_grid_tap(&v->grid, place, first + t);
            seen[t] = at == SV_OUTSIDE ? NULL : x + (size_t)at * v->channels;
        }
        sv_turn_rows(row + first, v->taps, seen, count, v->channels);
    }
}

/* rows [end - begin, numbers] = what places begin..end-1 see: channel, then tap, as a weight stands in memory. */
static void lay_out(const conv *v, sv_real *rows, const sv_real *x, size_t begin, size_t end)
{
    for (size_t place = begin; place < end; place++, rows += v->numbers)
        (v->place_step == 1 && v->channel_step > 1 ? lay_out_planes : lay_out_rows)(v, rows, x, place);
}

/* Back: adds what the places' rows hold to dx. room: a place's numbers. */
static void add_places(const conv *v, const sv_real *rows, sv_real *dx, size_t begin, size_t end, sv_real *room)
{
    for (size_t place = begin; place < end; place++, rows += v->numbers) {
        const sv_real *some[TAPS_AT_ONCE];
        for (size_t first = 0, count; first < v->channels; first += count) { /* room [tap][channel] */
            count = v->channels - first < TAPS_AT_ONCE ? v->channels - first : TAPS_AT_ONCE;
            for (size_t c = 0; c < count; c++) some[c] = rows + (first + c) * v->taps;
            sv_turn_rows(room + first, v->channels, some, count, v->taps);
        }
        for (size_t t = 0; t < v->taps; t++) {
            const int64_t at = sv_grid_tap(&v->grid, place, t);
            if (at == SV_OUTSIDE) continue;
            sv_real *to = dx + (size_t)at * v->place_step;
            if (v->channel_step == 1) sv_scale(to, room + t * v->channels, 1, v->channels, true);
            for (size_t c = 0; v->channel_step > 1 && c < v->channels; c++) to[c * v->channel_step] += room[t * v->channels + c];
        }
    }
}

/* y [count, outs] of places laid out. Of several groups each is a small product of its own. */
static void multiply(const sv_call *call, const conv *v, const sv_real *rows, size_t begin, size_t count)
{
    const sv_span *weight = &call->in[1], *bias = &call->in[2];
    sv_real *y = call->out[0].data + begin * v->outs;
    const size_t outs = v->outs / v->groups, numbers = v->numbers / v->groups;
    if (v->groups == 1) {
        sv_product product = { .m = count,
                               .n = v->outs,
                               .k = v->numbers,
                               .x = rows,
                               .x_stride = v->numbers,
                               .bias = bias->present ? bias->data : NULL,
                               .y = y,
                               .y_stride = v->outs };
        sv_take_panels(call, &product, weight->parameter, false);
        sv_product_rows(&product);
        return;
    }
    for (size_t g = 0; g < v->groups; g++)
        sv_product_plain(y + g * outs, v->outs, rows + g * numbers, v->numbers, false, weight->data + g * outs * numbers, numbers, true,
                         count, outs, numbers, false);
    for (size_t r = 0; bias->present && r < count; r++) sv_scale(y + r * v->outs, bias->data, 1, v->outs, true);
}

static void conv2d_forward(const sv_call *call)
{
    const conv v = conv_of(call->node);
    sv_real *rows = call->scratch;
    for (size_t begin = call->row_begin, end; begin < call->row_end; begin = end) {
        end = pass_end(&v, begin, call->row_end);
        lay_out(&v, rows, call->in[0].data, begin, end);
        multiply(call, &v, rows, begin, end - begin);
    }
}

/* dweight (+)= dy^T rows. */
static void weight_back(const sv_call *call, const conv *v, const sv_real *dy, const sv_real *rows, size_t count, bool accumulate)
{
    const sv_span *weight = &call->in[1];
    const size_t outs = v->outs / v->groups, numbers = v->numbers / v->groups;
    sv_real *room = (sv_real *)call->scratch + most_at_once(v) * v->numbers;
    if (v->groups == 1) {
        sv_weight_gradient(call, weight, dy, rows, false, count, v->outs, v->numbers, accumulate, room);
        return;
    }
    for (size_t g = 0; g < v->groups; g++)
        sv_product_outer(weight->gradient + g * outs * numbers, numbers, dy + g * outs, v->outs, rows + g * numbers, v->numbers, count,
                         outs, numbers, accumulate);
}

/* rows = dy weight. */
static void rows_back(const sv_call *call, const conv *v, const sv_real *dy, sv_real *rows, size_t count)
{
    const sv_span *weight = &call->in[1];
    const size_t outs = v->outs / v->groups, numbers = v->numbers / v->groups;
    if (v->groups == 1) {
        sv_product product = { .m = count, .n = v->numbers, .k = v->outs, .x = dy, .x_stride = v->outs, .y = rows, .y_stride = v->numbers };
        sv_take_panels(call, &product, weight->parameter, true);
        sv_product_rows(&product);
        return;
    }
    for (size_t g = 0; g < v->groups; g++)
        sv_product_plain(rows + g * numbers, v->numbers, dy + g * outs, v->outs, false, weight->data + g * outs * numbers, numbers, false,
                         count, numbers, outs, false);
}

static void conv2d_backward(const sv_call *call)
{
    const conv v = conv_of(call->node);
    const sv_span *x = &call->in[0], *weight = &call->in[1], *bias = &call->in[2], *y = &call->out[0];
    sv_real *rows = call->scratch;
    sv_begin_gradient(x);
    for (size_t begin = 0, end; begin < y->live; begin = end) {
        end = pass_end(&v, begin, y->live);
        const sv_real *dy = y->gradient + begin * v.outs;
        if (weight->gradient) {
            lay_out(&v, rows, x->data, begin, end);
            weight_back(call, &v, dy, rows, end - begin, weight->accumulate || begin);
        }
        if (x->gradient) {
            rows_back(call, &v, dy, rows, end - begin);
            add_places(&v, rows, x->gradient, begin, end, rows + most_at_once(&v) * v.numbers);
        }
    }
    if (bias->gradient) sv_column_sums(bias->gradient, y->gradient, v.outs, y->live, v.outs, bias->accumulate);
}

/* Rows laid out; then what a product of gradients needs, or a place turned back. */
static size_t conv2d_scratch(const sv_node *node)
{
    const conv v = conv_of(node);
    const size_t outer = sv_outer_room(node, most_at_once(&v), v.numbers), turned = v.numbers * sizeof(sv_real);
    return most_at_once(&v) * v.numbers * sizeof(sv_real) + (outer > turned ? outer : turned);
}

/* A full window at every place, also where it lies over padding (spec backbones 1.4). */
static uint64_t conv2d_macs(const sv_call *call)
{
    const conv v = conv_of(call->node);
    return (uint64_t)call->out[0].rows * v.outs * (v.numbers / v.groups);
}

/* clang-format off */
#define KERNEL(f, o, c, p) { .kind = SV_SAMPLE_PARAMETER, .fill = (f), .shape = { (o), (c), (p), (p) } }
/* clang-format on */
static const sv_sample conv2d_samples[] = {
    { .name = "one place",
      .images = 1,
      .in = { IMAGE(NORMAL, 1, 3), KERNEL(NORMAL, 4, 3, 1), WEIGHT(NORMAL, 0, 4) },
      .attributes.i = { 1, 1, 1, 0, 1 } },
    { .name = "3 x 3 with padding",
      .images = 2,
      .in = { IMAGE(NORMAL, 12, 3), KERNEL(NORMAL, 5, 3, 3), WEIGHT(NORMAL, 0, 5) },
      .attributes.i = { 3, 4, 1, 1, 1 } },
    { .name = "overlapping, stride 2",
      .images = 2,
      .in = { IMAGE(NORMAL, 35, 2), KERNEL(NORMAL, 3, 2, 3), WEIGHT(NORMAL, 0, 3) },
      .attributes.i = { 5, 7, 2, 0, 1 } },
    { .name = "a picture of planes",
      .images = 2,
      .in = { IMAGE(NORMAL, 1, 90), KERNEL(NORMAL, 3, 3, 4), WEIGHT(NORMAL, 0, 3) },
      .attributes.i = { 5, 6, 2, 1, 1 } },
    { .name = "a constant picture of planes",
      .images = 2,
      .in = { CONSTANT(NORMAL, 1, 48), KERNEL(NORMAL, 5, 3, 2), WEIGHT(NORMAL, 0, 5) },
      .attributes.i = { 4, 4, 2, 0, 1 } },
    { .name = "two groups",
      .images = 2,
      .in = { IMAGE(NORMAL, 9, 4), KERNEL(NORMAL, 6, 2, 3), WEIGHT(NORMAL, 0, 6) },
      .attributes.i = { 3, 3, 1, 1, 2 } },
    { .name = "more places than at once",
      .images = 1,
      .in = { IMAGE(NORMAL, 156, 2), KERNEL(NORMAL, 2, 2, 2) },
      .attributes.i = { 12, 13, 1, 0, 1 } },
    { .name = "a window wider than the picture",
      .images = 1,
      .in = { IMAGE(LARGE, 4, 2), KERNEL(NORMAL, 3, 2, 5), WEIGHT(NORMAL, 0, 3) },
      .attributes.i = { 2, 2, 1, 2, 1 } },
};

const sv_op sv_op_conv2d = {
    .name = "conv2d",
    .formula =
        "x [H*W,C] or picture [1,C*H*W], weight [O,C/groups,P,P], bias [O] or none -> y [H'*W',O] = bias + sum weight x of the window, "
        "H' = (H + 2 padding - P) / stride + 1",
    .source = "torch.nn.functional.conv2d, channels last",
    .inputs_least = 2,
    .inputs_most = 3,
    .outputs = 1,
    .optional = 1 << 2,
    .locality = SV_IMAGE_ROWS,
    .shape = conv2d_shape,
    .forward = conv2d_forward,
    .backward = conv2d_backward,
    .backward_inputs = 1,
    .scratch = conv2d_scratch,
    .macs = conv2d_macs,
    .pack_forward = 1 << 1,
    .pack_backward = 1 << 1,
    SV_SAMPLES_OF(conv2d_samples),
};

sv_tensor *sv_tape_conv2d(sv_tape *tape, sv_tensor *x, sv_tensor *weight, sv_tensor *bias, size_t height, size_t width, size_t stride,
                          size_t padding, size_t groups)
{
    sv_attributes attributes = { .i = { (int64_t)height, (int64_t)width, (int64_t)stride, (int64_t)padding, (int64_t)groups } };
    return sv_tape_record(tape, &sv_op_conv2d, (sv_tensor *[]){ x, weight, bias }, 3, &attributes, NULL);
}
