/* Threads, over OpenMP's pool. Two shapes: items that are handed out one by one as threads become free, and a team that meets
 * at a barrier. Which thread takes which item is chance, so callers let an item's result depend on the item alone.
 * Denormals are flushed to zero in the caller and in every worker, alike on x86 and ARM.
 * OpenMP's own waiting is invisible to ThreadSanitizer; an atomic told at the start and one told at the end say the same in
 * words it understands. */
#include "base/base.h"

#include <assert.h>
#include <omp.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

static const double SPIN_SECONDS = 70e-6;   /* a barrier inside a block of one image is met within 10 to 50 us */
enum { YIELDS = 50, NAP_NANOSECONDS = 50000 };

static atomic_size_t chosen_count;          /* 0: not chosen yet */
static _Thread_local size_t chosen_here;     /* of this thread alone; 0: as chosen for all */
static atomic_size_t begun, ended;          /* regions, workers: for ThreadSanitizer alone */
static _Thread_local bool inside_region;

void sv_threads_set(size_t count)
{
    assert(!inside_region && "the thread count is set between regions");
    atomic_store(&chosen_count, count ? count : sv_cores());
}

void sv_threads_set_here(size_t count)
{
    assert(!inside_region && "the thread count is set between regions");
    chosen_here = count;
}

size_t sv_threads(void)
{
    if (chosen_here) return chosen_here;
    size_t count = atomic_load(&chosen_count);
    return count ? count : sv_cores();
}

static void flush_denormals(void)
{
#if defined(__x86_64__)
    enum { FLUSH_RESULTS = 0x8000, FLUSH_OPERANDS = 0x0040 };
    unsigned control = _mm_getcsr(), wanted = control | FLUSH_RESULTS | FLUSH_OPERANDS;
    if (control != wanted) _mm_setcsr(wanted);
#elif defined(__aarch64__)
    const uint64_t FLUSH = 1u << 24;
    uint64_t control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    if (!(control & FLUSH)) __asm__ volatile("msr fpcr, %0" : : "r"(control | FLUSH));
#endif
}

/* What the caller wrote before _open is seen behind _enter, what workers wrote before _leave behind _close. */
static void region_open(void) { atomic_fetch_add_explicit(&begun, 1, memory_order_release); }
static void region_close(void) { (void)atomic_load_explicit(&ended, memory_order_acquire); }

static void region_enter(void)
{
    (void)atomic_load_explicit(&begun, memory_order_acquire);
    flush_denormals();
    inside_region = true;
}

static void region_leave(void)
{
    inside_region = false;
    atomic_fetch_add_explicit(&ended, 1, memory_order_release);
}

static void pause_core(void)
{
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- items ---- */

typedef struct item_share {
    _Alignas(64) atomic_size_t next;
    _Alignas(64) size_t count;
    sv_item_work *work;
    void *context;
} item_share;

static void take_items(item_share *share, size_t thread)
{
    region_enter();
    for (;;) {
        size_t item = atomic_fetch_add_explicit(&share->next, 1, memory_order_relaxed);
        if (item >= share->count) break;
        share->work(share->context, item, thread);
    }
    region_leave();
}

/* What the compiler makes of a region hands its variables over without atomics: not looked at by ThreadSanitizer. */
__attribute__((no_sanitize("thread"))) static void run_share(item_share *share, int threads)
{
#pragma omp parallel num_threads(threads)
    take_items(share, (size_t)omp_get_thread_num());
}

void sv_for_items(size_t count, sv_item_work *work, void *context)
{
    assert(!inside_region && "regions do not nest");
    size_t threads = sv_threads();
    if (threads > count) threads = count;
    flush_denormals();
    item_share share = { .count = count, .work = work, .context = context };
    region_open();
    if (threads <= 1) take_items(&share, 0);
    else run_share(&share, (int)threads);
    region_close();
}

/* ---- teams ---- */

struct sv_team {
    _Alignas(64) atomic_size_t arrived;
    _Alignas(64) atomic_size_t round;       /* counts barriers passed; the last to arrive moves it on */
    _Alignas(64) atomic_size_t count;
    double spin_seconds;
    sv_team_work *work;
    void *context;
};

static void wait_for_round(sv_team *team, size_t round)
{
    double until = 0;
    for (unsigned look = 0, yields = 0;; look++) {
        if (atomic_load_explicit(&team->round, memory_order_acquire) != round) return;
        pause_core();
        if (look % 32 != 31) continue;      /* the clock costs as much as a few looks */
        double now = sv_now_seconds();
        if (until == 0) until = now + team->spin_seconds;
        if (now < until) continue;
        if (yields++ < YIELDS) sched_yield();
        else nanosleep(&(struct timespec){ .tv_nsec = NAP_NANOSECONDS }, NULL);
    }
}

void sv_team_barrier(sv_team *team)
{
    size_t count = atomic_load_explicit(&team->count, memory_order_relaxed);
    if (count == 1) return;
    size_t round = atomic_load_explicit(&team->round, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 < count) {
        wait_for_round(team, round);
        return;
    }
    atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&team->round, round + 1, memory_order_release);
}

/* Every thread tells the same count, before it can arrive anywhere: OpenMP may give fewer threads than were asked for. */
static void run_member(sv_team *team, size_t thread, size_t thread_count)
{
    region_enter();
    atomic_store_explicit(&team->count, thread_count, memory_order_relaxed);
    team->work(team->context, team, thread, thread_count);
    region_leave();
}

__attribute__((no_sanitize("thread"))) static void run_team(sv_team *team, int threads)
{
#pragma omp parallel num_threads(threads)
    run_member(team, (size_t)omp_get_thread_num(), (size_t)omp_get_num_threads());
}

void sv_team_run(sv_team_work *work, void *context)
{
    assert(!inside_region && "regions do not nest");
    size_t threads = sv_threads();
    sv_team team = { .work = work, .context = context, .spin_seconds = threads <= sv_cores() ? SPIN_SECONDS : 0 };
    region_open();
    if (threads == 1) run_member(&team, 0, 1);
    else run_team(&team, (int)threads);
    region_close();
}
