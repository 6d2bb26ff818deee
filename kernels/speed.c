/* Timing a part beside the peak, and the numbers that the timed kernels work on. */
#include "kernels/speed.h"

#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double median_of(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

typedef struct peaks {
    double of[SV_SPEED_THREADS_MOST];
    sv_parts parts;
} peaks;
static void peak_of_thread(void *context, size_t item, size_t thread)
{
    peaks *p = context;
    (void)thread;
    p->of[item] = (p->parts == SV_ONE_PART ? sv_peak_bf16_gflops : sv_peak_gflops)(0.003);
}

double sv_speed_peak(size_t threads, sv_parts parts)
{
    peaks p = { .parts = parts };
    double sum = 0;
    sv_for_items(threads, peak_of_thread, &p);
    for (size_t i = 0; i < threads; i++) sum += p.of[i];
    return sum;
}

/* One thread's share of a case, done `calls` times. */
typedef struct loop {
    sv_speed_part *part;
    void *context;
    size_t calls;
} loop;
static void loop_of_thread(void *context, size_t item, size_t thread)
{
    (void)thread;
    const loop *l = context;
    for (size_t c = 0; c < l->calls; c++) l->part(l->context, item);
}
static double time_of(const sv_kernel_speed *s, loop l)
{
    const double begin = sv_now_seconds();
    sv_for_items(s->threads, loop_of_thread, &l);
    return (sv_now_seconds() - begin) / (double)l.calls;
}

enum { BATCHES = 25 };

void sv_speed_row(sv_kernel_time *row, sv_speed_part *part, void *context, const sv_kernel_speed *s)
{
    double times[BATCHES], peaks_of[BATCHES], shares[BATCHES], best = 0;
    const double once = time_of(s, (loop){ part, context, 3 }), wanted = s->seconds / BATCHES / (once > 1e-9 ? once : 1e-9);
    const loop batch = { part, context, wanted < 1 ? 1 : (size_t)wanted };
    for (size_t b = 0; b < BATCHES; b++) {
        peaks_of[b] = row->flops > 0 ? sv_speed_peak(s->threads, s->parts) : 0;
        times[b] = time_of(s, batch);
        best = peaks_of[b] > best ? peaks_of[b] : best;
    }
    double sorted[BATCHES];
    memcpy(sorted, times, sizeof sorted);
    row->median_seconds = median_of(sorted, BATCHES);
    row->least_seconds = sorted[0];
    size_t fair = 0;
    for (size_t b = 0; b < BATCHES; b++)
        if (best > 0 && times[b] < row->least_seconds * 4 / 3 && peaks_of[b] > best * 3 / 4)
            shares[fair++] = row->flops / times[b] * 1e-9 / peaks_of[b];
    row->share = fair ? median_of(shares, fair) : 0;
}

enum { ROWS_MOST = SV_SPEED_ROWS_MOST, WIDTH_MOST = 768 };
void sv_speed_room_clear(sv_speed_room *r)
{
    sv_free(r->x);
    sv_free(r->y);
    sv_free(r->z);
    sv_free(r->w);
    sv_free(r->panels);
    for (size_t t = 0; t < SV_SPEED_THREADS_MOST; t++) {
        sv_free(r->sums[t]);
        sv_free(r->scratch[t]);
    }
    *r = (sv_speed_room){ 0 };
}

static void fill(sv_real *x, size_t count, uint32_t position)
{
    sv_random random = sv_random_at(1, SV_FOR_TEST, 0, 0, position);
    for (size_t i = 0; i < count; i++) x[i] = (sv_real)(sv_random_uniform(&random) - 0.5);
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

sv_status sv_speed_room_make(sv_speed_room *r, const sv_kernel_speed *s, sv_error *err)
{
    const size_t rows = (size_t)ROWS_MOST * WIDTH_MOST * sizeof(sv_real), square = (size_t)WIDTH_MOST * WIDTH_MOST * sizeof(sv_real) * 2; /* as parts too */
    *r = (sv_speed_room){ .parts = s->parts };
    sv_status status = sv_alloc(&r->x, rows, "bench", err);
    if (!status) status = sv_alloc(&r->y, rows, "bench", err);
    if (!status) status = sv_alloc(&r->z, rows, "bench", err);
    if (!status) status = sv_alloc(&r->w, square, "bench", err);
    if (!status) status = sv_alloc(&r->panels, square, "bench", err);
    for (size_t t = 0; t < s->threads && !status; t++) {
        status = sv_alloc_zero(&r->sums[t], square, "bench", err);
        if (!status) status = sv_alloc_zero(&r->scratch[t], larger(sv_attention_backward_scratch(256, 64), sv_product_outer_parts_scratch(ROWS_MOST / 32, WIDTH_MOST, SV_THREE_PARTS)), "bench", err);
    }
    if (status) {
        sv_speed_room_clear(r);
        return status;
    }
    fill(r->x, rows / sizeof(sv_real), 1);
    fill(r->y, rows / sizeof(sv_real), 2);
    fill(r->z, rows / sizeof(sv_real), 3);
    fill(r->w, square / sizeof(sv_real), 4);
    return SV_OK;
}
