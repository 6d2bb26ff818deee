/* Products and kernels, timed: what bench prints beside the multiply-add peak of the machine. Times are taken in short batches, alternating with the peak,
 * because clocks change with the load of the multipliers; shares are of the peak beside them. */
#ifndef SIEVE_KERNELS_SPEED_H
#define SIEVE_KERNELS_SPEED_H

#include "base/base.h"
#include "kernels/kernels.h"

enum { SV_SPEED_THREADS_MOST = 64, SV_SPEED_ROWS_MOST = 6304 /* of 32 images of DeiT-T */ };

/* One line of results, of all threads together. numbers: where no multiply-adds are counted. share: of the peak, 0 where it was never measured undisturbed. */
typedef struct sv_kernel_time {
    char name[96];
    double median_seconds, least_seconds, flops, share, numbers;
} sv_kernel_time;

typedef struct sv_kernel_speed {
    size_t threads;             /* 1 .. SV_SPEED_THREADS_MOST */
    sv_parts parts;             /* of products */
    double seconds;             /* spent on each row */
    void (*tell)(void *context, const sv_kernel_time *row);
    void *context;
} sv_kernel_speed;

/* Multiply-adds of `threads` threads now, in 10^9 flops a second; of bf16 where parts is SV_ONE_PART. Takes 3 ms. */
double sv_speed_peak(size_t threads, sv_parts parts);
/* Matrix products of DeiT-T: forward shapes at several numbers of rows, epilogues, weight gradients. SV_FAULT: memory. */
sv_status sv_speed_products(const sv_kernel_speed *s, sv_error *err) SV_MUST_CHECK;
/* Attention, norms, activations, optimizers; each thread an image of DeiT-T. SV_FAULT: memory. */
sv_status sv_speed_kernels(const sv_kernel_speed *s, sv_error *err) SV_MUST_CHECK;

/* ---- for the files of the two -------------------------------------------------------------------------------------- */

/* The room all kernels work in. */
typedef struct sv_speed_room {
    sv_real *x, *y, *z, *w, *sums[SV_SPEED_THREADS_MOST];
    void *panels, *scratch[SV_SPEED_THREADS_MOST];
    sv_parts parts;
} sv_speed_room;
sv_status sv_speed_room_make(sv_speed_room *r, const sv_kernel_speed *s, sv_error *err) SV_MUST_CHECK;
void sv_speed_room_clear(sv_speed_room *r);

/* Calls the part on every thread until `seconds` are spent, in batches, and fills the row's times; with flops, the peak is taken before each batch, and
 * the share is the median over those batches in which neither was disturbed by others on the machine (a third slower than the best). */
typedef void sv_speed_part(void *context, size_t thread);
void sv_speed_row(sv_kernel_time *row, sv_speed_part *part, void *context, const sv_kernel_speed *s);

#endif
