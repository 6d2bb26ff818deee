/* base/threads.c: each item once, teams that meet, denormals flushed everywhere, for several counts of threads. */
#include "tests/unit/base/test_base.h"

#include <pthread.h>
#include <stdatomic.h>

static const size_t counts[] = { 1, 2, 3, 7 };
enum { ITEMS = 5000, MOST_THREADS = 8 };

typedef struct tally { unsigned hits[ITEMS]; atomic_uint per_thread[MOST_THREADS]; size_t threads; } tally;

static void hit(void *context, size_t item, size_t thread)
{
    tally *t = context;
    t->hits[item]++; /* not atomic: an item is nobody else's */
    if (thread < t->threads) atomic_fetch_add(&t->per_thread[thread], 1);
}

static void each_item_is_done_once(void **state)
{
    (void)state;
    static const size_t items[] = { 0, 1, 2, 3, 8, 997, ITEMS };
    for (size_t c = 0; c < SV_COUNT(counts); c++)
        for (size_t n = 0; n < SV_COUNT(items); n++) {
            static tally t;
            memset(&t, 0, sizeof t);
            t.threads = counts[c];
            sv_threads_set(counts[c]);
            assert_int_equal(sv_threads(), counts[c]);
            sv_for_items(items[n], hit, &t);
            size_t sum = 0;
            for (size_t i = 0; i < ITEMS; i++) assert_int_equal(t.hits[i], i < items[n]);
            for (size_t i = 0; i < MOST_THREADS; i++) sum += t.per_thread[i];
            assert_int_equal(sum, items[n]);
        }
}

enum { ROUNDS = 300 };
typedef struct meeting { size_t written[MOST_THREADS]; atomic_size_t wrong, members; } meeting;

/* Each thread writes its round, meets, and looks whether everybody has; nobody writes again before all have looked. */
static void meet(void *context, sv_team *team, size_t thread, size_t thread_count)
{
    meeting *m = context;
    atomic_fetch_add(&m->members, 1);
    for (size_t round = 1; round <= ROUNDS; round++) {
        m->written[thread] = round;
        sv_team_barrier(team);
        for (size_t t = 0; t < thread_count; t++)
            if (m->written[t] != round) atomic_fetch_add(&m->wrong, 1);
        sv_team_barrier(team);
    }
}

static void a_team_meets_at_its_barrier(void **state)
{
    (void)state;
    for (size_t c = 0; c < SV_COUNT(counts); c++) {
        meeting m = { 0 };
        sv_threads_set(counts[c]);
        sv_team_run(meet, &m);
        assert_int_equal(m.wrong, 0);
        assert_int_equal(m.members, counts[c]);
    }
}

static void make_denormal(void *context, size_t item, size_t thread)
{
    (void)thread;
    volatile float tiny = 1.5e-38f, third = 0.25f;
    volatile float product = tiny * third;      /* a result that would be denormal */
    uint32_t bits = 0x00400000;                 /* an operand that is */
    float operand;
    memcpy(&operand, &bits, sizeof operand);
    volatile float held = operand;
    ((bool *)context)[item] = product == 0 && held * 1e20f == 0;
}

static void denormals_are_flushed_in_every_thread(void **state)
{
    (void)state;
#if defined(__x86_64__) || defined(__aarch64__)
    for (size_t c = 0; c < SV_COUNT(counts); c++) {
        bool flushed[64] = { false };
        sv_threads_set(counts[c]);
        sv_for_items(64, make_denormal, flushed);
        for (size_t i = 0; i < 64; i++) assert_true(flushed[i]);
        bool here = false;
        make_denormal(&here, 0, 0);
        assert_true(here);
    }
#else
    skip();
#endif
}

static void zero_asks_for_all_cores(void **state)
{
    (void)state;
    sv_threads_set(0);
    assert_int_equal(sv_threads(), sv_cores());
    assert_true(sv_cores() >= 1);
}

static void *work_with_a_count_of_its_own(void *context)
{
    meeting *m = context;
    sv_threads_set_here(3);
    for (int i = 0; i < 20; i++) sv_team_run(meet, m);
    if (sv_threads() != 3) atomic_fetch_add(&m->wrong, 1);
    sv_threads_set_here(0);
    if (sv_threads() != 2) atomic_fetch_add(&m->wrong, 1);
    return NULL;
}

static void a_thread_has_its_own_count_while_others_work(void **state)
{
    (void)state;
    static meeting own, ours;
    pthread_t thread;
    sv_threads_set(2);
    assert_int_equal(pthread_create(&thread, NULL, work_with_a_count_of_its_own, &own), 0);
    for (int i = 0; i < 20; i++) sv_team_run(meet, &ours);
    pthread_join(thread, NULL);
    assert_int_equal(own.wrong, 0);
    assert_int_equal(ours.wrong, 0);
    assert_int_equal(own.members, 60);
    assert_int_equal(ours.members, 40);
}

static void regions_follow_each_other_with_changing_counts(void **state)
{
    (void)state;
    static tally t;
    memset(&t, 0, sizeof t);
    t.threads = MOST_THREADS;
    for (size_t i = 0; i < 60; i++) {
        meeting m = { 0 };
        sv_threads_set(1 + i % 4);
        sv_for_items(100, hit, &t);
        if (i % 10 == 0) {
            sv_team_run(meet, &m);
            assert_int_equal(m.wrong, 0);
        }
    }
    for (size_t i = 0; i < 100; i++) assert_int_equal(t.hits[i], 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_item_is_done_once),
        cmocka_unit_test(a_team_meets_at_its_barrier),
        cmocka_unit_test(denormals_are_flushed_in_every_thread),
        cmocka_unit_test(zero_asks_for_all_cores),
        cmocka_unit_test(a_thread_has_its_own_count_while_others_work),
        cmocka_unit_test(regions_follow_each_other_with_changing_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
