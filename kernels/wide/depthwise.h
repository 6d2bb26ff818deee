/* Depth-wise convolution and turning of rows over vector words; formulas and order of sums: kernels/depthwise.c.
 * Sixteen channels at a time. Sums of a strip of neighbouring places stand in registers; a vector of x is read once for all the places
 * of the strip that see it. Strips have constant sides and lengths (PLACE_STRIPS of the ISA); other sides, steps and rests of channels
 * go place by place. */
#ifndef SIEVE_KERNELS_WIDE_DEPTHWISE_H
#define SIEVE_KERNELS_WIDE_DEPTHWISE_H

enum { MOST_STRIP = 16, BAND_ROWS = 14 };

/* First place of x that a place of y sees, which may lie outside. */
WORD ptrdiff_t first_tap(const sv_depthwise *d, size_t at) { return (ptrdiff_t)(at * d->stride) - d->padding; }
WORD bool inside(ptrdiff_t at, size_t length) { return at >= 0 && at < (ptrdiff_t)length; }

WORD v16 sum_start(const sv_depthwise *d, const float *y, size_t c, size_t n)
{
    return d->accumulate ? v_load(y, n) : d->bias ? v_load(d->bias + c, n) : v_set(0.0f);
}

/* Any window, one place, n channels. */
static void place_any(const sv_depthwise *d, size_t row, size_t column, size_t c, size_t n)
{
    const ptrdiff_t top = first_tap(d, row), left = first_tap(d, column);
    float *y = d->y + (row * d->across + column) * d->channels + c;
    v16 sum = sum_start(d, y, c, n);
    for (size_t t = 0; t < d->side * d->side; t++) {
        const ptrdiff_t from = top + (ptrdiff_t)(t / d->side), at = left + (ptrdiff_t)(t % d->side);
        if (!inside(from, d->height) || !inside(at, d->width)) continue;
        const float *x = d->x + ((size_t)from * d->width + (size_t)at) * d->channels + c;
        sum = v_fma(v_load(d->weight + t * d->channels + c, n), v_load(x, n), sum);
    }
    v_store(y, sum, n);
}

/* `places` neighbours of a row, windows of `side`, stride 1. */
WORD void strip_forward(const sv_depthwise *d, size_t row, size_t column, size_t c, const int places, const int side)
{
    const ptrdiff_t top = first_tap(d, row), left = first_tap(d, column);
    float *y = d->y + (row * d->across + column) * d->channels + c;
    v16 sum[MOST_STRIP];
    UNROLL for (int i = 0; i < places; i++) sum[i] = sum_start(d, y + (size_t)i * d->channels, c, 16);
    for (int down = 0; down < side; down++) {
        if (!inside(top + down, d->height)) continue;
        const float *line = d->x + (size_t)(top + down) * d->width * d->channels + c;
        v16 weight[8];
        UNROLL for (int k = 0; k < side; k++) weight[k] = v_load(d->weight + (size_t)(down * side + k) * d->channels + c, 16);
        UNROLL_LONG for (int j = 0; j < places + side - 1; j++)
        {
            if (!inside(left + j, d->width)) continue;
            const v16 x = v_load(line + (size_t)(left + j) * d->channels, 16);
            UNROLL for (int k = side - 1; k >= 0; k--) if (j >= k && j - k < places) sum[j - k] = v_fma(weight[k], x, sum[j - k]);
        }
    }
    UNROLL for (int i = 0; i < places; i++) v_store(y + (size_t)i * d->channels, sum[i], 16);
}

#define RUN_FORWARD(places, side)                                                                                                          \
    for (; column + places <= end; column += places) strip_forward(d, row, column, c, places, side);
#define RUN_FORWARD_3(places) RUN_FORWARD(places, 3)
#define RUN_FORWARD_7(places) RUN_FORWARD(places, 7)
static __attribute__((noinline)) void row_forward_3(const sv_depthwise *d, size_t row, size_t column, size_t end, size_t c)
{
    PLACE_STRIPS(RUN_FORWARD_3)
}
static __attribute__((noinline)) void row_forward_7(const sv_depthwise *d, size_t row, size_t column, size_t end, size_t c)
{
    PLACE_STRIPS(RUN_FORWARD_7)
}

static void row_forward(const sv_depthwise *d, size_t row, size_t column, size_t end, size_t c)
{
    const size_t n = least(d->channels - c, 16);
    if (n == 16 && d->stride == 1 && d->side == 7)
        row_forward_7(d, row, column, end, c);
    else if (n == 16 && d->stride == 1 && d->side == 3)
        row_forward_3(d, row, column, end, c);
    else
        for (; column < end; column++) place_any(d, row, column, c, n);
}

/* Bands of rows, so that x is near for all channels of it. */
static void depthwise_forward(const sv_depthwise *d, size_t begin, size_t end)
{
    for (size_t first = begin, last; first < end; first = last) {
        last = least(end, (first / d->across + BAND_ROWS) * d->across);
        for (size_t c = 0; c < d->channels; c += 16)
            for (size_t place = first, next; place < last; place = next) {
                const size_t row = place / d->across;
                next = least(last, (row + 1) * d->across);
                row_forward(d, row, place - row * d->across, next - row * d->across, c);
            }
    }
}

/* ---- gradient of weights ----------------------------------------------------------------------------------------- */

/* One tap of any window, n channels. */
static v16 tap_weight(const sv_depthwise *d, const float *dy, size_t t, size_t c, size_t n)
{
    v16 sum = v_set(0.0f);
    for (size_t row = 0; row < d->down; row++) {
        const ptrdiff_t from = first_tap(d, row) + (ptrdiff_t)(t / d->side);
        if (!inside(from, d->height)) continue;
        for (size_t column = 0; column < d->across; column++) {
            const ptrdiff_t at = first_tap(d, column) + (ptrdiff_t)(t % d->side);
            if (!inside(at, d->width)) continue;
            const v16 grown = v_load(dy + (row * d->across + column) * d->channels + c, n);
            sum = v_fma(grown, v_load(d->x + ((size_t)from * d->width + (size_t)at) * d->channels + c, n), sum);
        }
    }
    return sum;
}

/* What a strip of places adds to a row of taps. dy, line: of the strip's first place, of x's row. */
WORD void strip_weights(v16 sum[8], const sv_depthwise *d, const float *dy, const float *line, ptrdiff_t left, const int places,
                        const int side)
{
    v16 grown[MOST_STRIP];
    UNROLL for (int i = 0; i < places; i++) grown[i] = v_load(dy + (size_t)i * d->channels, 16);
    UNROLL_LONG for (int j = 0; j < places + side - 1; j++)
    {
        if (!inside(left + j, d->width)) continue;
        const v16 x = v_load(line + (size_t)(left + j) * d->channels, 16);
        UNROLL for (int k = 0; k < side; k++) if (j >= k && j - k < places) sum[k] = v_fma(grown[j - k], x, sum[k]);
    }
}

/* The taps of one row of the window, over the whole picture. */
#define RUN_WEIGHTS(places, side)                                                                                                          \
    for (; column + places <= d->across; column += places)                                                                                 \
        strip_weights(sum, d, grown + column * d->channels, line, first_tap(d, column), places, side);
#define RUN_WEIGHTS_3(places) RUN_WEIGHTS(places, 3)
#define RUN_WEIGHTS_7(places) RUN_WEIGHTS(places, 7)
#define ROW_WEIGHTS(side, run)                                                                                                             \
    static __attribute__((noinline)) void row_weights_##side(float *d_weight, const sv_depthwise *d, const float *dy, size_t down,         \
                                                             size_t c, bool accumulate)                                                    \
    {                                                                                                                                      \
        v16 sum[8];                                                                                                                        \
        UNROLL for (int k = 0; k < side; k++) sum[k] = v_set(0.0f);                                                                        \
        for (size_t row = 0; row < d->down; row++) {                                                                                       \
            const ptrdiff_t from = first_tap(d, row) + (ptrdiff_t)down;                                                                    \
            if (!inside(from, d->height)) continue;                                                                                        \
            const float *grown = dy + row * d->across * d->channels + c, *line = d->x + (size_t)from * d->width * d->channels + c;         \
            size_t column = 0;                                                                                                             \
            PLACE_STRIPS(run)                                                                                                              \
        }                                                                                                                                  \
        UNROLL for (int k = 0; k < side; k++)                                                                                              \
        {                                                                                                                                  \
            float *to = d_weight + (down * side + (size_t)k) * d->channels + c;                                                            \
            v_store(to, accumulate ? v_add(v_load(to, 16), sum[k]) : sum[k], 16);                                                          \
        }                                                                                                                                  \
    }
ROW_WEIGHTS(3, RUN_WEIGHTS_3)
ROW_WEIGHTS(7, RUN_WEIGHTS_7)

static void depthwise_weights(float *d_weight, const sv_depthwise *d, const float *dy, bool accumulate)
{
    for (size_t c = 0; c < d->channels; c += 16) {
        const size_t n = least(d->channels - c, 16);
        const bool strips = n == 16 && d->stride == 1 && (d->side == 3 || d->side == 7);
        for (size_t down = 0; strips && down < d->side; down++)
            (d->side == 3 ? row_weights_3 : row_weights_7)(d_weight, d, dy, down, c, accumulate);
        for (size_t t = 0; !strips && t < d->side * d->side; t++) {
            float *to = d_weight + t * d->channels + c;
            const v16 sum = tap_weight(d, dy, t, c, n);
            v_store(to, accumulate ? v_add(v_load(to, n), sum) : sum, n);
        }
    }
}

/* ---- turning ----------------------------------------------------------------------------------------------------- */

static void turn_rows(float *out, size_t out_stride, const float *const *rows, size_t count, size_t columns)
{
    for (size_t r = 0; r < count; r += 16)
        for (size_t c = 0; c < columns; c += 16) {
            const size_t height = least(count - r, 16), n = least(columns - c, 16);
            v16 from[16], to[16];
            UNROLL for (size_t i = 0; i < 16; i++) from[i] = i < height && rows[r + i] ? v_load(rows[r + i] + c, n) : v_set(0.0f);
            v_turn(from, to);
            UNROLL for (size_t i = 0; i < 16; i++) if (i < n) v_store(out + (c + i) * out_stride + r, to[i], height);
        }
}

#endif
