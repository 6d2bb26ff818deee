/* base/random.c: known answers (Philox of Random123's kat_vectors; streams against an independent form in Python), streams
 * that never share a number, and distributions within bounds of five deviations of their estimators. */
#include "tests/unit/base/test_base.h"

#include <math.h>

static void philox_gives_the_known_answers(void **state)
{
    (void)state;
    static const struct { uint32_t counter[4], key[2], out[4]; } cases[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff }, { 0xffffffff, 0xffffffff }, { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 }, { 0xa4093822, 0x299f31d0 }, { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        uint32_t out[4];
        sv_philox(out, cases[i].counter, cases[i].key);
        assert_memory_equal(out, cases[i].out, sizeof out);
    }
}

/* A resumed run must draw what the run before it would have drawn: these numbers may never change. */
static void streams_give_the_stored_answers(void **state)
{
    (void)state;
    static const uint32_t words[] = { 0x1ba09492, 0xad8748f0, 0xb97a7d3a, 0xc322b811, 0x35d51841, 0xd23bdb16 };
    sv_random random = sv_random_at(0xdeadbeefcafef00d, SV_FOR_TEST, 0xfffffe, 0x123456789abcdef0, 0xabcdef);
    for (size_t i = 0; i < SV_COUNT(words); i++) assert_int_equal(sv_random_word(&random), words[i]);

    static const double uniforms[] = { 0x1.02b0df530ed0fp-1, 0x1.0ab6a7201f545p-1, 0x1.68f3b2988de2ap-2, 0x1.cd93e63620648p-4 };
    random = sv_random_at(1, SV_FOR_INIT, 0, 0, 0);
    for (size_t i = 0; i < SV_COUNT(uniforms); i++) assert_true(sv_random_uniform(&random) == uniforms[i]);

    static const double normals[] = { 0x1.afb30039428b6p-7, 0x1.addf7637284a4p-5, -0x1.83aff33fe8878p-2, -0x1.365c57f1dad39p+0,
                                      0x1.6fd0cfb417e02p+0, 0x1.47910794df486p-1 };
    random = sv_random_at(1, SV_FOR_INIT, 0, 0, 0);
    for (size_t i = 0; i < SV_COUNT(normals); i++) assert_true(sv_random_normal(&random) == normals[i]);

    static const double logistics[] = { 0x1.e290b9c3e7a46p-2, -0x1.08bb11a2b6fdp-1, -0x1.3fb2be8b4a055p+2, 0x1.4c02b5d28aa6ep-2 };
    random = sv_random_at(1, SV_FOR_DECISION, 0, 0, 0);
    for (size_t i = 0; i < SV_COUNT(logistics); i++) assert_true(sv_random_logistic(&random) == logistics[i]);

    static const uint64_t below[] = { 1415751157184450016, 836599912741669571, 4212731115097780683, 1130554824836550768 };
    random = sv_random_at(5, SV_FOR_TEST, 0, 0, 0);
    for (size_t i = 0; i < SV_COUNT(below); i++) assert_true(sv_random_below(&random, ((uint64_t)1 << 63) + 1) == below[i]);
}

static void permutations_give_the_stored_answer(void **state)
{
    (void)state;
    static const uint64_t expected[16] = { 3, 1, 5, 0, 4, 7, 12, 10, 8, 14, 9, 13, 6, 2, 11, 15 };
    uint64_t order[16];
    sv_random random = sv_random_at(42, SV_FOR_SHUFFLE, 3, 0, 0);
    sv_random_permutation(&random, order, 16);
    assert_memory_equal(order, expected, sizeof order);
}

static void permutations_hold_each_number_once(void **state)
{
    (void)state;
    enum { MOST = 3000 };
    static uint64_t order[MOST];
    static bool seen[MOST];
    for (size_t count = 0; count < MOST; count = count * 2 + 1) {
        sv_random random = sv_random_at(count, SV_FOR_SHUFFLE, 0, 0, 0);
        sv_random_permutation(&random, order, count);
        memset(seen, 0, sizeof seen);
        for (size_t i = 0; i < count; i++) {
            assert_true(order[i] < count && !seen[order[i]]);
            seen[order[i]] = true;
        }
    }
}

static void all_permutations_of_four_come_alike(void **state)
{
    (void)state;
    enum { DRAWS = 24000 };
    unsigned tally[256] = { 0 };
    sv_random random = sv_random_at(9, SV_FOR_TEST, 0, 0, 0);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t order[4];
        sv_random_permutation(&random, order, 4);
        tally[order[0] | order[1] << 2 | order[2] << 4 | order[3] << 6]++;
    }
    unsigned kinds = 0;
    for (int i = 0; i < 256; i++) {
        kinds += tally[i] > 0;
        if (tally[i]) assert_true(fabs(tally[i] - DRAWS / 24.0) < 5 * sqrt(DRAWS / 24.0));
    }
    assert_int_equal(kinds, 24);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* 64-bit pairs of words from streams that differ in one field: a repeated one by chance has odds of 1 in 10^9. */
static void no_two_places_share_a_number(void **state)
{
    (void)state;
    static uint64_t pairs[100000];
    size_t count = 0;
    for (uint64_t seed = 0; seed < 4; seed++)
        for (int purpose = SV_FOR_SHUFFLE; purpose <= SV_FOR_TEST; purpose++)
            for (uint32_t epoch = 0; epoch < 4; epoch++)
                for (uint64_t sample = 0; sample < 4; sample++)
                    for (uint32_t position = 0; position < 4; position++) {
                        sv_random random = sv_random_at(seed, (sv_purpose)purpose, epoch, sample << (20 * (sample % 3)), position);
                        for (int i = 0; i < 16; i++) pairs[count++] = (uint64_t)sv_random_word(&random) << 32 | sv_random_word(&random);
                    }
    qsort(pairs, count, sizeof pairs[0], by_value);
    for (size_t i = 1; i < count; i++) assert_true(pairs[i] != pairs[i - 1]);
}

static void a_copied_stream_repeats(void **state)
{
    (void)state;
    sv_random random = sv_random_at(3, SV_FOR_CROP, 1, 2, 3);
    for (int i = 0; i < 7; i++) (void)sv_random_word(&random);
    sv_random copy = random;
    for (int i = 0; i < 100; i++) assert_int_equal(sv_random_word(&random), sv_random_word(&copy));
}

enum { SAMPLES = 400000 };

static void uniforms_are_uniform_and_never_an_end(void **state)
{
    (void)state;
    enum { BINS = 64 };
    unsigned tally[BINS] = { 0 };
    double sum = 0, last = 0.5, lag = 0;
    sv_random random = sv_random_at(4, SV_FOR_TEST, 0, 0, 0);
    for (int i = 0; i < SAMPLES; i++) {
        double u = sv_random_uniform(&random);
        assert_true(u > 0 && u < 1);
        tally[(int)(u * BINS)]++;
        sum += u;
        lag += (u - 0.5) * (last - 0.5);
        last = u;
    }
    double chi = 0, expected = (double)SAMPLES / BINS;
    for (int i = 0; i < BINS; i++) chi += (tally[i] - expected) * (tally[i] - expected) / expected;
    assert_true(fabs(sum / SAMPLES - 0.5) < 5 * sqrt(1.0 / 12 / SAMPLES));
    assert_true(fabs(chi - (BINS - 1)) < 5 * sqrt(2.0 * (BINS - 1)));
    assert_true(fabs(lag / SAMPLES) < 5 * sqrt(1.0 / 144 / SAMPLES));
}

static void normals_have_the_moments_and_tails(void **state)
{
    (void)state;
    double sum = 0, square = 0, fourth = 0;
    unsigned beyond2 = 0;
    sv_random random = sv_random_at(5, SV_FOR_TEST, 0, 0, 0);
    for (int i = 0; i < SAMPLES; i++) {
        double x = sv_random_normal(&random);
        sum += x;
        square += x * x;
        fourth += x * x * x * x;
        beyond2 += fabs(x) > 2;
    }
    assert_true(fabs(sum / SAMPLES) < 5 * sqrt(1.0 / SAMPLES));
    assert_true(fabs(square / SAMPLES - 1) < 5 * sqrt(2.0 / SAMPLES));
    assert_true(fabs(fourth / SAMPLES - 3) < 5 * sqrt(96.0 / SAMPLES));
    assert_true(fabs((double)beyond2 / SAMPLES - 0.0455003) < 5 * sqrt(0.0455 * 0.9545 / SAMPLES));
}

static void logistics_are_the_log_odds_of_the_uniform(void **state)
{
    (void)state;
    sv_random random = sv_random_at(6, SV_FOR_TEST, 0, 0, 0);
    for (int i = 0; i < 20000; i++) {
        sv_random copy = random;
        double u = sv_random_uniform(&copy), x = sv_random_logistic(&random);
        assert_true(fabs(x - log(u / (1 - u))) <= 1e-14 * fmax(1, fabs(x)));
    }
}

static void below_reaches_every_number_alike(void **state)
{
    (void)state;
    static const uint64_t bounds[] = { 1, 2, 3, 7, 10, 100 };
    sv_random random = sv_random_at(7, SV_FOR_TEST, 0, 0, 0);
    for (size_t b = 0; b < SV_COUNT(bounds); b++) {
        unsigned tally[100] = { 0 };
        double expected = 100000.0 / (double)bounds[b];
        for (int i = 0; i < 100000; i++) {
            uint64_t drawn = sv_random_below(&random, bounds[b]);
            assert_true(drawn < bounds[b]);
            tally[drawn]++;
        }
        for (size_t i = 0; i < bounds[b]; i++) assert_true(fabs(tally[i] - expected) <= 5 * sqrt(expected));
    }
    for (int i = 0; i < 1000; i++) assert_true(sv_random_below(&random, UINT64_MAX) < UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_known_answers),
        cmocka_unit_test(streams_give_the_stored_answers),
        cmocka_unit_test(permutations_give_the_stored_answer),
        cmocka_unit_test(permutations_hold_each_number_once),
        cmocka_unit_test(all_permutations_of_four_come_alike),
        cmocka_unit_test(no_two_places_share_a_number),
        cmocka_unit_test(a_copied_stream_repeats),
        cmocka_unit_test(uniforms_are_uniform_and_never_an_end),
        cmocka_unit_test(normals_have_the_moments_and_tails),
        cmocka_unit_test(logistics_are_the_log_odds_of_the_uniform),
        cmocka_unit_test(below_reaches_every_number_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
