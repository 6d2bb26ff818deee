/* Pillow's resize, exact to the integer (spec/training.md 8). Two passes, across first, each rounding to 8 bits:
 *     out = clamp((2^21 + sum_k in[low + k] * weight[k]) >> 22)
 * Weights are double arithmetic in a fixed order, rounded once to 22 bits behind the point. An axis keeps the table of its last
 * lengths. Only the columns and rows that the window needs are computed: each output depends on nothing but its own inputs. */
#include "data/resize.h"
#include "kernels/kernels.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { PRECISION = 22 };

static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static double bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static const struct resize_kind { double support; double (*filter)(double x); } kinds[] = {
    [SV_BICUBIC] = { 2.0, bicubic }, [SV_BILINEAR] = { 1.0, bilinear },
};

/* Weights of output `at`; the sum runs from the lowest input up. `real` has room for the taps. */
static size_t weights_of(const struct resize_kind *kind, size_t in, size_t out, size_t at, size_t *low, double *real)
{
    double scale = (double)in / (double)out, wide = scale < 1.0 ? 1.0 : scale, support = kind->support * wide, inverse = 1.0 / wide;
    double centre = ((double)at + 0.5) * scale, sum = 0.0, edge = centre - support + 0.5;
    size_t first = edge > 0 ? (size_t)edge : 0, last = (size_t)(centre + support + 0.5);
    if (last > in) last = in;
    for (size_t k = 0; k < last - first; k++) {
        real[k] = kind->filter(((double)(k + first) - centre + 0.5) * inverse);
        sum += real[k];
    }
    if (sum != 0.0)
        for (size_t k = 0; k < last - first; k++) real[k] /= sum;
    *low = first;
    return last - first;
}

static int32_t weight_fixed(double weight)
{
    double scaled = weight * (1 << PRECISION);
    return (int32_t)(weight < 0 ? scaled - 0.5 : scaled + 0.5);
}

/* As kernels.h wants weights of a pass across. */
static void split_weights(int16_t *halves, const int32_t *weights, size_t taps, size_t fours)
{
    for (size_t k = 0; k < 4 * fours; k++) {
        const int32_t weight = k < taps ? weights[k] : 0, low = weight & (SV_TAP_UNIT - 1);
        halves[k / 4 * 8 + k % 4] = (int16_t)((weight - low) / SV_TAP_UNIT);
        halves[k / 4 * 8 + 4 + k % 4] = (int16_t)low;
    }
}

/* The table for outputs first..first+count-1; across: with halves. */
static sv_status axis_prepare(sv_resize_axis *axis, sv_interpolation kind, size_t in, size_t out, size_t first, size_t count, bool is_across, sv_error *err)
{
    if (axis->kind == kind && axis->in == in && axis->out == out && axis->first == first && axis->count == count && axis->weights) return SV_OK;
    double scale = (double)in / (double)out;
    size_t taps = (size_t)ceil(kinds[kind].support * (scale < 1.0 ? 1.0 : scale)) * 2 + 1, need;
    if (taps > in) taps = in;
    const size_t fours = is_across ? (taps + 3) / 4 : 0;
    if (sv_mul_size3(&need, count, taps, 1) || sv_add_size(&need, need, taps * (sizeof(double) / sizeof(int32_t)) + 1))
        return sv_fail(err, SV_FAULT, "resizing %zu pixels to %zu needs a table that is too large", in, out);
    axis->in = 0; /* no table until it is whole */
    size_t lengths_capacity = axis->capacity_lows;
    sv_status status = sv_grow(&axis->lengths, &lengths_capacity, count, sizeof *axis->lengths, "data", err);
    if (!status) status = sv_grow(&axis->lows, &axis->capacity_lows, count, sizeof *axis->lows, "data", err);
    if (!status) status = sv_grow(&axis->weights, &axis->capacity_weights, need, sizeof *axis->weights, "data", err);
    if (!status && fours) status = sv_grow(&axis->halves, &axis->capacity_halves, count * fours * 8, sizeof *axis->halves, "data", err);
    if (status) return status;
    size_t real_at = (count * taps + 1) / 2 * 2; /* doubles stand behind the table, on their own alignment */
    double *real = (double *)(void *)(axis->weights + real_at);
    for (size_t i = 0; i < count; i++) {
        axis->lengths[i] = weights_of(&kinds[kind], in, out, first + i, &axis->lows[i], real);
        for (size_t k = 0; k < axis->lengths[i]; k++) axis->weights[i * taps + k] = weight_fixed(real[k]);
        if (fours) split_weights(axis->halves + i * fours * 8, axis->weights + i * taps, axis->lengths[i], fours);
    }
    *axis = (sv_resize_axis){ in, out, first, count, taps, axis->capacity_lows, axis->capacity_weights, axis->capacity_halves, kind, axis->lows, axis->lengths, axis->weights, axis->halves };
    return SV_OK;
}

/* One row across. */
static void row_across(const sv_resize_axis *axis, size_t width, const uint8_t *in, uint8_t *out)
{
    const sv_resize_taps taps = { width, axis->count, (axis->taps + 3) / 4, axis->lows, axis->halves };
    sv_resize_across(out, in, &taps);
}

/* One call's geometry: `source` is the first pixel of the crop, `result` the first of the window. */
struct resize_job {
    sv_resizer *resizer;
    const uint8_t *source;
    size_t source_stride;
    uint8_t *result;
    size_t result_stride;
    bool across, down;          /* passes that are needed */
};

/* Inputs that an axis needs: first and count. */
static size_t axis_reach(const sv_resize_axis *axis, size_t *first)
{
    size_t last = axis->count - 1;
    *first = axis->lows[0];
    return axis->lows[last] + axis->lengths[last] - axis->lows[0];
}

static sv_status between_reserve(sv_resizer *resizer, size_t stride, size_t rows, sv_error *err)
{
    size_t bytes;
    if (sv_mul_size(&bytes, stride, rows)) return sv_fail(err, SV_FAULT, "resizing needs %zu rows of %zu bytes, which is too much", rows, stride);
    return sv_grow(&resizer->between, &resizer->capacity, bytes, 1, "data", err);
}

static sv_status across_then_down(const struct resize_job *job, sv_error *err)
{
    const sv_resize_axis *across = &job->resizer->across, *down = &job->resizer->down;
    size_t first, rows = axis_reach(down, &first), stride = across->count * 3;
    sv_status status = between_reserve(job->resizer, stride, rows, err);
    if (status) return status;
    for (size_t y = 0; y < rows; y++) {
        const uint8_t *row = job->source + (first + y) * job->source_stride;
        if (job->across)
            row_across(across, across->in, row, job->resizer->between + y * stride);
        else
            memcpy(job->resizer->between + y * stride, row + across->first * 3, stride);
    }
    for (size_t y = 0; y < down->count; y++)
        sv_resize_down(job->result + y * job->result_stride, job->resizer->between + (down->lows[y] - first) * stride, stride,
                       down->weights + y * down->taps, down->lengths[y], stride);
    return SV_OK;
}

static sv_status down_then_across(const struct resize_job *job, sv_error *err)
{
    const sv_resize_axis *across = &job->resizer->across, *down = &job->resizer->down;
    size_t first, stride = axis_reach(across, &first) * 3;
    sv_status status = between_reserve(job->resizer, across->in * 3, 1, err); /* a whole row, of which the middle is filled */
    if (status) return status;
    for (size_t y = 0; y < down->count; y++) {
        sv_resize_down(job->resizer->between + first * 3, job->source + down->lows[y] * job->source_stride + first * 3, job->source_stride,
                       down->weights + y * down->taps, down->lengths[y], stride);
        row_across(across, across->in, job->resizer->between, job->result + y * job->result_stride);
    }
    return SV_OK;
}

static void rows_across(const struct resize_job *job)
{
    const sv_resize_axis *across = &job->resizer->across, *down = &job->resizer->down;
    for (size_t y = 0; y < down->count; y++) {
        const uint8_t *row = job->source + (down->first + y) * job->source_stride;
        if (job->across)
            row_across(across, across->in, row, job->result + y * job->result_stride);
        else
            memcpy(job->result + y * job->result_stride, row + across->first * 3, across->count * 3);
    }
}

static bool box_inside(sv_box box, size_t width, size_t height)
{
    return box.width && box.height && box.left <= width && box.width <= width - box.left && box.top <= height && box.height <= height - box.top;
}

/* Pillow 13 goes down first where the height loses more than twice as many pixels as the width; older ones go across first, always. */
static bool goes_down_first(sv_pass_order order, sv_box crop, size_t width, size_t height)
{
    if (order == SV_ACROSS_FIRST || height >= crop.height) return false;
    return width >= crop.width || crop.height - height > 2 * (crop.width - width);
}

sv_status sv_resize(sv_resizer *resizer, const sv_picture *from, sv_box crop, const sv_resize_to *result, sv_picture *to, sv_error *err)
{
    size_t width = result->width, height = result->height;
    sv_box window = result->window;
    assert(box_inside(crop, from->width, from->height) && "the crop lies in the picture");
    assert(box_inside(window, width, height) && "the window lies in the result");
    sv_status status = sv_picture_resize(to, window.width, window.height, err);
    if (!status) status = axis_prepare(&resizer->across, result->kind, crop.width, width, window.left, window.width, true, err);
    if (!status) status = axis_prepare(&resizer->down, result->kind, crop.height, height, window.top, window.height, false, err);
    if (status) return status;
    struct resize_job job = { resizer, from->rgb + (crop.top * from->width + crop.left) * 3, from->width * 3, to->rgb, window.width * 3, width != crop.width,
                              height != crop.height };
    if (!job.down)
        rows_across(&job);
    else if (job.across && goes_down_first(result->order, crop, width, height))
        status = down_then_across(&job, err);
    else
        status = across_then_down(&job, err);
    return status;
}

static void axis_clear(sv_resize_axis *axis)
{
    sv_free(axis->lows);
    sv_free(axis->lengths);
    sv_free(axis->weights);
    sv_free(axis->halves);
    *axis = (sv_resize_axis){ 0 };
}

void sv_resizer_clear(sv_resizer *resizer)
{
    axis_clear(&resizer->across);
    axis_clear(&resizer->down);
    sv_free(resizer->between);
    *resizer = (sv_resizer){ 0 };
}
