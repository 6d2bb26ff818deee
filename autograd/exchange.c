/* Sums of lanes of several ranks, beside the work. A thread of each rank owns, of every segment's lanes, the slice of its rank:
 *
 *     out: own lanes, slice r, to each rank r        in: the other lanes of the own slice
 *     slice of the gradient + lane 0 + lane 1 ...    (the order of one process)
 *     out: the own slice, added, to each rank        in: the other slices
 *
 * so that per segment of G bytes a rank sends (1 - 1/R) (L/R + 1) G, and so much comes in. Meanwhile backward goes on with the next segment in a
 * second room for lanes; it waits only where that one is not free yet, and at the end. With bf16 what goes out is rounded, the own part too. */
#include "autograd/tape_internal.h"
#include "kernels/kernels.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

enum { ROOMS = 2 };

struct sv_exchange {
    sv_tape *tape;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    const sv_segment *jobs[ROOMS];
    uint64_t posted, done; /* jobs; job n stands in room n % ROOMS */
    bool quit;
    sv_real *second;      /* room 1 for lanes; room 0 is the tape's */
    sv_real *total;       /* [lane_stride]: the gradient of a segment, then with its lanes */
    unsigned char *others; /* [lanes][slice_most] numbers as sent: what comes in */
    uint16_t *own_half, *total_half; /* [own lanes][lane_stride], [lane_stride]; NULL without bf16 */
    size_t word;          /* bytes of a number as sent */
    size_t slice_most;
    sv_peer_items *out, *in; /* [ranks] */
    double busy, core, waited; /* seconds: of the thread at work, of a core for it, of backward waiting for it */
};

/* ---- a segment ---------------------------------------------------------------------------------------------------- */

static size_t own_first(const sv_exchange *x) { return sv_peers_lane(x->tape, x->tape->peers.rank); }
static size_t own_count(const sv_exchange *x) { return sv_peers_lane(x->tape, x->tape->peers.rank + 1) - own_first(x); }
static sv_real *room_of(const sv_exchange *x, uint64_t job) { return job % ROOMS ? x->second : x->tape->lanes; }

/* Where rank r's slice begins: cut at 16 numbers, for the kernels. */
static size_t slice_first(size_t count, size_t ranks, size_t r) { return count / 16 * r / ranks * 16; }

/* The part of a segment's parameters that stands in [from, to) of a lane, to or from their gradients. */
typedef enum direction { FROM_GRADIENTS, TO_GRADIENTS } direction;
static void move_gradients(const sv_exchange *x, const sv_segment *segment, size_t from, size_t to, direction towards)
{
    for (size_t k = 0; k < segment->lane_item_count; k++) {
        const sv_lane_item *item = &segment->lane_items[k];
        const size_t item_end = item->offset + item->parameter->count;
        const size_t begin = item->offset > from ? item->offset : from, end = item_end < to ? item_end : to;
        if (begin >= end) continue;
        sv_real *gradient = item->parameter->gradient + (begin - item->offset);
        if (towards == FROM_GRADIENTS)
            memcpy(x->total + begin, gradient, (end - begin) * sizeof *gradient);
        else if (x->total_half) /* the sum alone was sent */
            sv_lanes_add_half(gradient, x->total_half + begin, end - begin, true);
        else
            memcpy(gradient, x->total + begin, (end - begin) * sizeof *gradient);
    }
}

typedef struct job {
    sv_exchange *x;
    const sv_segment *segment;
    const sv_real *lanes;
    size_t first, end; /* of the own slice */
} job;

/* One lane's slice: an own one, or one that came. */
static void add_lane(const job *j, size_t lane, bool accumulate)
{
    const sv_exchange *x = j->x;
    const size_t count = j->end - j->first, stride = x->tape->lane_stride, from = own_first(x);
    const bool own = lane >= from && lane < from + own_count(x);
    const unsigned char *other = x->others + lane * x->slice_most * x->word;
    if (x->own_half)
        sv_lanes_add_half(x->total + j->first, own ? x->own_half + (lane - from) * stride + j->first : (const uint16_t *)(const void *)other, count, accumulate);
    else
        sv_scale(x->total + j->first, own ? j->lanes + lane * stride + j->first : (const sv_real *)(const void *)other, 1, count, true);
}

/* An item of a region, so that denormals are treated as everywhere. */
static void add_slice(void *context, size_t item, size_t thread)
{
    const job *j = context;
    const sv_tape *tape = j->x->tape;
    bool first = true;
    (void)item, (void)thread;
    if (!j->x->own_half) move_gradients(j->x, j->segment, j->first, j->end, FROM_GRADIENTS);
    for (size_t lane = 0; lane < tape->options.lanes; lane++) {
        if (sv_lane_begin(tape, lane) == sv_lane_begin(tape, lane + 1)) continue;
        add_lane(j, lane, !first);
        first = false;
    }
    if (j->x->own_half) sv_lanes_to_half(j->x->total_half + j->first, j->x->total + j->first, j->end - j->first);
}

static void round_own(void *context, size_t item, size_t thread)
{
    const job *j = context;
    const size_t stride = j->x->tape->lane_stride;
    (void)thread;
    sv_lanes_to_half(j->x->own_half + item * stride, j->lanes + (own_first(j->x) + item) * stride, j->segment->lane_numbers);
}

static void take_back(void *context, size_t item, size_t thread)
{
    const job *j = context;
    (void)item, (void)thread;
    move_gradients(j->x, j->segment, 0, j->segment->lane_numbers, TO_GRADIENTS);
}

/* What goes to each rank and comes from it: parts of lanes, then slices. */
static void list_lanes(const job *j)
{
    const sv_exchange *x = j->x;
    const sv_tape *tape = x->tape;
    const size_t numbers = j->segment->lane_numbers, ranks = tape->peers.ranks, own = own_first(x);
    unsigned char *base = x->own_half ? (unsigned char *)x->own_half : (unsigned char *)(uintptr_t)(j->lanes + own * tape->lane_stride);
    for (size_t r = 0; r < ranks; r++) {
        const size_t first = slice_first(numbers, ranks, r), end = slice_first(numbers, ranks, r + 1), lane = sv_peers_lane(tape, r);
        x->out[r] = (sv_peer_items){ base + first * x->word, tape->lane_stride * x->word, (end - first) * x->word, own_count(x) };
        x->in[r] = (sv_peer_items){ x->others + lane * x->slice_most * x->word, x->slice_most * x->word, (j->end - j->first) * x->word,
                                    sv_peers_lane(tape, r + 1) - lane };
    }
}

static void list_slices(const job *j)
{
    const sv_exchange *x = j->x;
    const size_t numbers = j->segment->lane_numbers, ranks = x->tape->peers.ranks;
    unsigned char *base = x->total_half ? (unsigned char *)x->total_half : (unsigned char *)x->total;
    for (size_t r = 0; r < ranks; r++) {
        const size_t first = slice_first(numbers, ranks, r), end = slice_first(numbers, ranks, r + 1);
        x->out[r] = (sv_peer_items){ base + j->first * x->word, 0, (j->end - j->first) * x->word, 1 };
        x->in[r] = (sv_peer_items){ base + first * x->word, 0, (end - first) * x->word, 1 };
    }
}

static sv_status do_job(sv_exchange *x, const sv_segment *segment, const sv_real *lanes, sv_error *err)
{
    const sv_tape_peers *peers = &x->tape->peers;
    job j = { x, segment, lanes, slice_first(segment->lane_numbers, peers->ranks, peers->rank), slice_first(segment->lane_numbers, peers->ranks, peers->rank + 1) };
    for (size_t lane = 0; x->own_half && lane < own_count(x); lane++) round_own(&j, lane, 0);
    list_lanes(&j);
    sv_status status = peers->trade(peers->context, x->out, x->in, err);
    if (status) return status;
    sv_for_items(1, add_slice, &j);
    list_slices(&j);
    status = peers->trade(peers->context, x->out, x->in, err);
    if (!status) sv_for_items(1, take_back, &j);
    return status;
}

/* ---- the thread --------------------------------------------------------------------------------------------------- */

static double core_seconds(void)
{
    struct timespec now = { 0 };
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void *exchange(void *context)
{
    sv_exchange *x = context;
    pthread_mutex_lock(&x->lock);
    for (;;) {
        while (!x->quit && x->done == x->posted) pthread_cond_wait(&x->moved, &x->lock);
        if (x->done == x->posted) break;
        const uint64_t number = x->done;
        const sv_segment *segment = x->jobs[number % ROOMS];
        const bool well = !x->tape->peers_error.code;
        pthread_mutex_unlock(&x->lock);
        sv_error err = { 0 };
        const double begin = sv_now_seconds(), core = core_seconds();
        sv_status status = well ? do_job(x, segment, room_of(x, number), &err) : SV_OK;
        pthread_mutex_lock(&x->lock);
        x->busy += sv_now_seconds() - begin;
        x->core += core_seconds() - core;
        if (status) x->tape->peers_error = err;
        x->done++;
        pthread_cond_broadcast(&x->moved);
    }
    pthread_mutex_unlock(&x->lock);
    return NULL;
}

/* Until at most `left` jobs are open. */
static void wait_for(sv_exchange *x, uint64_t left)
{
    const double begin = sv_now_seconds();
    pthread_mutex_lock(&x->lock);
    const bool waits = x->posted - x->done > left;
    while (x->posted - x->done > left) pthread_cond_wait(&x->moved, &x->lock);
    if (waits) x->waited += sv_now_seconds() - begin;
    pthread_mutex_unlock(&x->lock);
}

sv_real *sv_exchange_lanes(sv_tape *tape)
{
    sv_exchange *x = tape->exchange;
    if (!x) return tape->lanes;
    wait_for(x, ROOMS - 1);
    return room_of(x, x->posted);
}

void sv_exchange_post(sv_tape *tape, const sv_segment *segment)
{
    sv_exchange *x = tape->exchange;
    pthread_mutex_lock(&x->lock);
    x->jobs[x->posted++ % ROOMS] = segment;
    pthread_cond_broadcast(&x->moved);
    pthread_mutex_unlock(&x->lock);
}

void sv_exchange_wait(sv_tape *tape)
{
    if (tape->exchange) wait_for(tape->exchange, 0);
}

sv_peers_seconds sv_tape_peers_seconds(const sv_tape *tape)
{
    const sv_exchange *x = tape->exchange;
    return x ? (sv_peers_seconds){ x->busy, x->core, x->waited } : (sv_peers_seconds){ 0, 0, 0 };
}

/* ---- begin and end ------------------------------------------------------------------------------------------------ */

static sv_status make_rooms(sv_exchange *x, sv_error *err)
{
    const sv_tape *tape = x->tape;
    const size_t stride = tape->lane_stride, lanes = tape->options.lanes, ranks = tape->peers.ranks;
    size_t all = 0, numbers = 0, others = 0, halves = 0;
    x->word = tape->options.lanes_bf16 ? sizeof(uint16_t) : sizeof(sv_real);
    x->slice_most = stride / ranks + 2 * 16;
    if (sv_mul_size3(&all, stride, lanes, sizeof(sv_real)) || sv_mul_size3(&others, x->slice_most, lanes, x->word)
        || sv_mul_size3(&halves, stride, own_count(x), sizeof(uint16_t)) || sv_mul_size(&numbers, stride, sizeof(sv_real)))
        return sv_fail(err, SV_FAULT, "%zu lanes of gradients do not fit the address space; lower train.lanes", lanes);
    sv_status status = sv_alloc_zero(&x->second, all, "gradient lanes", err);
    if (!status) status = sv_alloc_zero(&x->total, numbers, "gradient lanes", err);
    if (!status) status = sv_alloc_zero(&x->others, others, "gradient lanes", err);
    if (!status && tape->options.lanes_bf16) status = sv_alloc_zero(&x->own_half, halves, "gradient lanes", err);
    if (!status && tape->options.lanes_bf16) status = sv_alloc_zero(&x->total_half, stride * sizeof(uint16_t), "gradient lanes", err);
    if (!status) status = sv_alloc_zero(&x->out, ranks * sizeof *x->out, "ranks", err);
    if (!status) status = sv_alloc_zero(&x->in, ranks * sizeof *x->in, "ranks", err);
    return status;
}

sv_status sv_exchange_create(sv_tape *tape, sv_error *err)
{
    sv_exchange *x = NULL;
    sv_status status = sv_alloc_zero(&x, sizeof *x, "ranks", err);
    if (status) return status;
    x->tape = tape;
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->moved, NULL);
    tape->exchange = x;
    status = make_rooms(x, err);
    if (!status && pthread_create(&x->thread, NULL, exchange, x)) status = sv_fail(err, SV_FAULT, "no thread for the exchange of gradients");
    x->running = status == SV_OK;
    if (status) sv_exchange_destroy(tape);
    return status;
}

void sv_exchange_destroy(sv_tape *tape)
{
    sv_exchange *x = tape->exchange;
    if (!x) return;
    pthread_mutex_lock(&x->lock);
    x->quit = true;
    pthread_cond_broadcast(&x->moved);
    pthread_mutex_unlock(&x->lock);
    if (x->running) pthread_join(x->thread, NULL);
    pthread_cond_destroy(&x->moved);
    pthread_mutex_destroy(&x->lock);
    sv_free(x->second);
    sv_free(x->total);
    sv_free(x->others);
    sv_free(x->own_half);
    sv_free(x->total_half);
    sv_free(x->out);
    sv_free(x->in);
    sv_free(x);
    tape->exchange = NULL;
}
