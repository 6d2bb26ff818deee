/* tools/delay_switch.c and the arithmetic of tools/tap.c: to the nanosecond when frames come out, in which order, and where each one went. The clock is
 * a number here. At 8 Gbit/s a byte keeps a way busy for a nanosecond. */
#include "tests/unit/base/test_base.h"

#include "tools/delay_switch.h"
#include "tools/tap.h"

enum { DELAY = 100, PATIENCE = 100 };
static const sv_delay_options byte_a_nanosecond = { DELAY, 8e9, PATIENCE, 1 << 20 };

static sv_delay_switch *open_switch(size_t lines, sv_delay_options options)
{
    sv_delay_switch *sw = NULL;
    sv_error err = { 0 };
    assert_ok(sv_delay_open(&sw, lines, &options, &err), err);
    return sw;
}

static void put(sv_delay_switch *sw, size_t from, size_t to, size_t bytes, unsigned char mark, uint64_t now_ns)
{
    sv_delay_frame *frame = NULL;
    sv_error err = { 0 };
    assert_ok(sv_delay_frame_new(&frame, bytes, &err), err);
    memset(frame->data, mark, bytes);
    sv_delay_take(sw, from, to, frame, now_ns);
}

/* The next frame, asked for at `now_ns`, is that with `mark`, for line `to`, and was due at `at_ns`. */
static void expect(sv_delay_switch *sw, uint64_t now_ns, unsigned char mark, size_t to, uint64_t at_ns)
{
    sv_delay_frame *frame = sv_delay_due(sw, now_ns);
    assert_non_null(frame);
    assert_int_equal(frame->data[0], mark);
    assert_int_equal(frame->to, to);
    assert_int_equal(frame->at_ns, at_ns);
    sv_free(frame);
}

static void a_frame_comes_out_when_its_delay_is_over_and_not_before(void **state)
{
    sv_delay_switch *sw = open_switch(2, (sv_delay_options){ DELAY, 0, PATIENCE, 1 << 20 });
    (void)state;
    assert_int_equal(sv_delay_next(sw), UINT64_MAX);
    put(sw, 0, 1, 60, 'a', 5);
    assert_int_equal(sv_delay_next(sw), 5 + DELAY);
    assert_null(sv_delay_due(sw, 5 + DELAY - 1));
    expect(sw, 5 + DELAY, 'a', 1, 5 + DELAY);
    assert_int_equal(sv_delay_next(sw), UINT64_MAX);
    sv_delay_close(sw);
}

static void frames_of_a_line_follow_one_another_at_its_rate(void **state)
{
    sv_delay_switch *sw = open_switch(2, byte_a_nanosecond);
    (void)state;
    put(sw, 0, 1, 50, 'a', 0);
    put(sw, 0, 1, 30, 'b', 0);
    put(sw, 1, 0, 20, 'c', 0); /* the other way is one of its own */
    expect(sw, DELAY + 20, 'c', 0, DELAY + 20);
    assert_null(sv_delay_due(sw, DELAY + 49));
    expect(sw, DELAY + 50, 'a', 1, DELAY + 50);
    expect(sw, DELAY + 80, 'b', 1, DELAY + 80);
    sv_delay_close(sw);
}

static void two_senders_share_the_way_to_their_receiver(void **state)
{
    sv_delay_switch *sw = open_switch(3, byte_a_nanosecond);
    (void)state;
    put(sw, 0, 2, 50, 'a', 0);
    put(sw, 1, 2, 50, 'b', 1);
    expect(sw, 1000, 'a', 2, DELAY + 50);
    expect(sw, 1000, 'b', 2, DELAY + 100);
    sv_delay_close(sw);
}

static void who_asks_late_makes_nothing_later(void **state)
{
    sv_delay_switch *sw = open_switch(2, byte_a_nanosecond);
    (void)state;
    put(sw, 0, 1, 50, 'a', 0);
    put(sw, 0, 1, 50, 'b', 0);
    expect(sw, 99999, 'a', 1, DELAY + 50);
    put(sw, 0, 1, 50, 'c', 99999);
    expect(sw, 99999, 'b', 1, DELAY + 100);
    expect(sw, 99999 + DELAY + 50, 'c', 1, 99999 + DELAY + 50);
    sv_delay_close(sw);
}

static void a_frame_that_would_wait_too_long_is_dropped_and_counted(void **state)
{
    sv_delay_switch *sw = open_switch(3, byte_a_nanosecond);
    (void)state;
    for (unsigned char i = 0; i < 4; i++) put(sw, 0, 2, 50, 'a' + i, 0); /* they wait for 0, 50, 100 and 150 ns */
    assert_int_equal(sv_delay_counts(sw, 0).dropped, 1);
    for (unsigned char i = 0; i < 3; i++) put(sw, 1, 2, 50, 'k' + i, 0); /* with those of line 0 there are six on the way to line 2 */
    size_t came = 0;
    for (sv_delay_frame *frame; (frame = sv_delay_due(sw, 9999)); sv_free(frame)) came++;
    assert_int_equal(sv_delay_counts(sw, 2).dropped, 6 - came);
    assert_true(came < 6 && came >= 3);
    sv_delay_close(sw);
}

static void no_more_is_held_than_may_be(void **state)
{
    sv_delay_switch *sw = open_switch(2, (sv_delay_options){ DELAY, 0, PATIENCE, 100 });
    (void)state;
    put(sw, 0, 1, 60, 'a', 0);
    put(sw, 0, 1, 60, 'b', 0);
    put(sw, 0, 1, 40, 'c', 0);
    assert_int_equal(sv_delay_counts(sw, 0).dropped, 1);
    expect(sw, DELAY, 'a', 1, DELAY);
    expect(sw, DELAY, 'c', 1, DELAY);
    put(sw, 0, 1, 100, 'd', 200);
    expect(sw, 400, 'd', 1, 200 + DELAY);
    sv_delay_close(sw);
}

static void a_cut_line_swallows_until_it_is_mended(void **state)
{
    sv_delay_switch *sw = open_switch(3, byte_a_nanosecond);
    (void)state;
    put(sw, 0, 1, 10, 'a', 0);
    sv_delay_cut(sw, 1, true);
    put(sw, 0, 1, 10, 'b', 5);
    put(sw, 1, 2, 10, 'c', 5);
    put(sw, 0, 2, 10, 'd', 50);
    expect(sw, 9999, 'd', 2, 50 + DELAY + 10);
    assert_null(sv_delay_due(sw, 9999));
    assert_int_equal(sv_delay_counts(sw, 1).swallowed, 3);
    sv_delay_cut(sw, 1, false);
    put(sw, 1, 0, 10, 'e', 20000);
    expect(sw, 30000, 'e', 0, 20000 + DELAY + 10);
    sv_delay_close(sw);
}

/* Whatever is put in: none comes before its time, those of one pair keep their order, and each is counted once. */
static void every_frame_goes_somewhere_and_none_comes_early(void **state)
{
    enum { LINES = 5, FRAMES = 4000 };
    (void)state;
    const size_t live = sv_memory_now().live;
    sv_delay_switch *sw = open_switch(LINES, (sv_delay_options){ 3000, 8e9, 20000, 60000 });
    sv_random random = sv_random_at(17, SV_FOR_TEST, 0, 0, 0);
    uint64_t now_ns = 0, last[LINES][LINES] = { { 0 } }, put_in = 0, came = 0, in = 0, gone = 0;
    sv_error err = { 0 };
    while (put_in < FRAMES) {
        sv_delay_frame *frame = NULL;
        const size_t from = sv_random_below(&random, LINES), to = (from + 1 + sv_random_below(&random, LINES - 1)) % LINES;
        const uint64_t word[3] = { ++put_in, now_ns, from };
        assert_ok(sv_delay_frame_new(&frame, sizeof word + sv_random_below(&random, 1500), &err), err);
        memcpy(frame->data, word, sizeof word);
        sv_delay_take(sw, from, to, frame, now_ns);
        if (put_in % 1000 == 0) sv_delay_cut(sw, 0, put_in % 2000 != 0);
        now_ns += put_in < FRAMES ? sv_random_below(&random, 400) : 1000000; /* the last one waits for all */
        while ((frame = sv_delay_due(sw, now_ns))) {
            uint64_t had[3];
            memcpy(had, frame->data, sizeof had);
            assert_true(frame->at_ns >= had[1] + 3000 + frame->on_wire && frame->at_ns <= now_ns);
            assert_true(last[had[2]][frame->to] < had[0]);
            last[had[2]][frame->to] = had[0];
            came++;
            sv_free(frame);
        }
    }
    for (size_t i = 0; i < LINES; i++)
        in += sv_delay_counts(sw, i).in_frames, gone += sv_delay_counts(sw, i).dropped + sv_delay_counts(sw, i).swallowed;
    assert_int_equal(in, FRAMES);
    assert_true(came > FRAMES / 4 && gone > 0 && came + gone == FRAMES);
    sv_delay_close(sw);
    assert_int_equal(sv_memory_now().live, live);
}

static void a_switch_that_is_closed_takes_its_frames_along(void **state)
{
    (void)state;
    const size_t live = sv_memory_now().live;
    sv_delay_switch *sw = open_switch(2, byte_a_nanosecond);
    put(sw, 0, 1, 10, 'a', 0);
    put(sw, 0, 1, 10, 'b', 0);
    expect(sw, DELAY + 10, 'a', 1, DELAY + 10);
    sv_delay_close(sw);
    assert_int_equal(sv_memory_now().live, live);
}

static void a_large_frame_counts_the_heads_of_its_packets(void **state)
{
    (void)state;
    unsigned char frame[SV_TAP_HEAD + 66 + 3000] = { 0 };
    const struct virtio_net_hdr cut = { .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .hdr_len = 66, .gso_size = 1448 };
    assert_int_equal(sv_tap_on_wire(frame, sizeof frame), 66 + 3000);
    memcpy(frame, &cut, sizeof cut);
    assert_int_equal(sv_tap_on_wire(frame, sizeof frame), 3 * 66 + 3000);
    assert_int_equal(sv_tap_on_wire(frame, SV_TAP_HEAD + 66 + 1448), 66 + 1448);
    assert_int_equal(sv_tap_on_wire(frame, SV_TAP_HEAD + 60), 60); /* shorter than it says its heads are */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_comes_out_when_its_delay_is_over_and_not_before),
        cmocka_unit_test(frames_of_a_line_follow_one_another_at_its_rate),
        cmocka_unit_test(two_senders_share_the_way_to_their_receiver),
        cmocka_unit_test(who_asks_late_makes_nothing_later),
        cmocka_unit_test(a_frame_that_would_wait_too_long_is_dropped_and_counted),
        cmocka_unit_test(no_more_is_held_than_may_be),
        cmocka_unit_test(a_cut_line_swallows_until_it_is_mended),
        cmocka_unit_test(every_frame_goes_somewhere_and_none_comes_early),
        cmocka_unit_test(a_switch_that_is_closed_takes_its_frames_along),
        cmocka_unit_test(a_large_frame_counts_the_heads_of_its_packets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
