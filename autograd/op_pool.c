/* Pooling over rows that are the places of a picture (op_grid.h), each channel alone. The mean over all places is weighted_mean. */
#include "autograd/op_grid.h"
#include "kernels/kernels.h"

#include <string.h>

/* max: y = the largest of the window, padding left out:  dx of the first largest = dy.
 * mean: y = sum of the window / side^2, padding counted as zeros:  dx = dy / side^2 for each tap. */
static sv_grid pool_grid(const sv_node *node) { return sv_grid_accepted(&node->attributes, (size_t)node->attributes.i[4]); }
static bool is_max(const sv_node *node) { return node->attributes.i[5] == SV_POOL_MAX; }

static sv_status pool_shape(sv_node *node, sv_error *err)
{
    const int64_t side = node->attributes.i[4], kind = node->attributes.i[5];
    sv_grid grid;
    if (side < 1 || (kind != SV_POOL_MAX && kind != SV_POOL_MEAN))
        return sv_fail(err, SV_USAGE, "there is no pooling %lld over %lld places", (long long)kind, (long long)side);
    sv_status status = sv_grid_of(&grid, &node->attributes, (size_t)side, err);
    if (!status && 2 * grid.padding > grid.side)
        status = sv_fail(err, SV_USAGE, "a padding of %zu is more than half of the window of %zu: some windows would be empty",
                         grid.padding, grid.side);
    if (!status) status = sv_want_grid_rows(node->in[0], grid.height, grid.width, err);
    if (!status) sv_make_image(node->out[0], sv_rows_fixed(grid.down * grid.across), node->in[0]->width);
    return status;
}

static void pool_forward(const sv_call *call)
{
    const sv_grid grid = pool_grid(call->node);
    const size_t width = call->in[0].width, taps = grid.side * grid.side;
    const bool max = is_max(call->node);
    for (size_t place = call->row_begin; place < call->row_end; place++) {
        sv_real *y = call->out[0].data + place * width;
        bool first = true;
        memset(y, 0, width * sizeof *y);
        for (size_t t = 0; t < taps; t++) {
            const int64_t at = sv_grid_tap(&grid, place, t);
            if (at == SV_OUTSIDE) continue;
            const sv_real *x = call->in[0].data + (size_t)at * width;
            for (size_t c = 0; c < width; c++) y[c] = !max ? y[c] + x[c] : first || x[c] > y[c] ? x[c] : y[c];
            first = false;
        }
        if (!max) sv_scale(y, y, 1 / (sv_real)taps, width, false);
    }
}

/* Row of the first largest number that place sees in channel c. */
static size_t largest_of(const sv_grid *grid, const sv_span *x, size_t place, size_t c)
{
    int64_t best = SV_OUTSIDE;
    for (size_t t = 0; t < grid->side * grid->side; t++) {
        const int64_t at = sv_grid_tap(grid, place, t);
        if (at == SV_OUTSIDE) continue;
        if (best == SV_OUTSIDE || x->data[(size_t)at * x->width + c] > x->data[(size_t)best * x->width + c]) best = at;
    }
    return (size_t)best;
}

static void pool_backward(const sv_call *call)
{
    const sv_grid grid = pool_grid(call->node);
    const sv_span *x = &call->in[0], *y = &call->out[0];
    const size_t width = x->width, taps = grid.side * grid.side;
    sv_begin_gradient(x);
    for (size_t place = 0; place < y->live; place++) {
        const sv_real *dy = y->gradient + place * width;
        for (size_t c = 0; is_max(call->node) && c < width; c++) x->gradient[largest_of(&grid, x, place, c) * width + c] += dy[c];
        for (size_t t = 0; !is_max(call->node) && t < taps; t++) {
            const int64_t at = sv_grid_tap(&grid, place, t);
            if (at != SV_OUTSIDE) sv_scale(x->gradient + (size_t)at * width, dy, 1 / (sv_real)taps, width, true);
        }
    }
}

static const sv_sample pool_samples[] = {
    { .name = "one place", .images = 1, .in = { IMAGE(NORMAL, 1, 3) }, .attributes.i = { 1, 1, 1, 0, 1, SV_POOL_MAX } },
    { .name = "largest of all", .images = 2, .in = { IMAGE(LARGE, 9, 7) }, .attributes.i = { 3, 3, 1, 0, 3, SV_POOL_MAX } },
    { .name = "largest, overlapping", .images = 2, .in = { IMAGE(LARGE, 20, 5) }, .attributes.i = { 4, 5, 2, 1, 3, SV_POOL_MAX } },
    { .name = "mean of all", .images = 3, .in = { IMAGE(NORMAL, 4, 17) }, .attributes.i = { 2, 2, 1, 0, 2, SV_POOL_MEAN } },
    { .name = "mean, overlapping", .images = 2, .in = { IMAGE(NORMAL, 20, 5) }, .attributes.i = { 4, 5, 2, 1, 3, SV_POOL_MEAN } },
    { .name = "large numbers", .images = 1, .in = { IMAGE(LARGE, 12, 2) }, .attributes.i = { 3, 4, 1, 0, 2, SV_POOL_MEAN } },
};

const sv_op sv_op_pool = {
    .name = "pool",
    .formula = "x [H*W,C] -> y [H'*W',C], the largest number of a window of side x side places, or their sum / side^2",
    .source = "torch.nn.functional.max_pool2d, avg_pool2d (padding counted), channels last",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_IMAGE_ROWS,
    .shape = pool_shape,
    .forward = pool_forward,
    .backward = pool_backward,
    .backward_inputs = 1,
    SV_SAMPLES_OF(pool_samples),
};

sv_tensor *sv_tape_pool(sv_tape *tape, sv_tensor *x, sv_pool_kind kind, size_t height, size_t width, size_t side, size_t stride,
                        size_t padding)
{
    sv_attributes attributes = { .i = { (int64_t)height, (int64_t)width, (int64_t)stride, (int64_t)padding, (int64_t)side, kind } };
    return sv_tape_record(tape, &sv_op_pool, &x, 1, &attributes, NULL);
}
