/* comm/wire.c: whole messages or an error, whatever comes over the socket: cut, changed, said to be huge, out of order, late. */
#include "tests/unit/base/test_base.h"

#include "comm/wire.h"

#include <sys/socket.h>
#include <sys/wait.h>

static const char words[] = "sixteen bytes...";
enum { PAYLOAD = 16, MESSAGE = SV_WIRE_HEAD + PAYLOAD + 4 };

typedef struct ends {
    sv_wire wire;
    int other;
} ends;

static ends open_ends(double seconds)
{
    int pair[2];
    ends e;
    sv_error err = { 0 };
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_ok(sv_wire_open(&e.wire, pair[0], (sv_wire_wait){ .seconds = seconds }, &err), err);
    e.other = pair[1];
    return e;
}

static void close_ends(ends *e)
{
    sv_wire_close(&e->wire);
    if (e->other >= 0) close(e->other);
}

/* The bytes of message `number`. */
static void make_message(unsigned char bytes[MESSAGE], uint32_t number)
{
    ends e = open_ends(1);
    e.wire.sent = number;
    assert_int_equal(sv_wire_begin(&e.wire, SV_WIRE_BLOCK, PAYLOAD), SV_WIRE_OK);
    assert_int_equal(sv_wire_put(&e.wire, words, 3), SV_WIRE_OK);
    assert_int_equal(sv_wire_put(&e.wire, words + 3, PAYLOAD - 3), SV_WIRE_OK);
    assert_int_equal(sv_wire_end(&e.wire), SV_WIRE_OK);
    assert_int_equal(read(e.other, bytes, MESSAGE), MESSAGE);
    close_ends(&e);
}

/* What a receiver makes of `count` bytes and then the end of the stream. */
static sv_wire_result receive(const unsigned char *bytes, size_t count, char got[PAYLOAD])
{
    ends e = open_ends(1);
    assert_int_equal(write(e.other, bytes, count), count);
    close(e.other);
    e.other = -1;
    sv_wire_result result = sv_wire_expect(&e.wire, SV_WIRE_BLOCK, PAYLOAD);
    if (!result) result = sv_wire_take(&e.wire, got, PAYLOAD);
    if (!result) result = sv_wire_finish(&e.wire);
    close_ends(&e);
    return result;
}

static void a_message_in_pieces_arrives_whole(void **state)
{
    (void)state;
    unsigned char bytes[MESSAGE];
    char got[PAYLOAD];
    make_message(bytes, 0);
    assert_int_equal(receive(bytes, MESSAGE, got), SV_WIRE_OK);
    assert_memory_equal(got, words, PAYLOAD);
}

static void a_message_cut_anywhere_is_a_closed_connection(void **state)
{
    (void)state;
    unsigned char bytes[MESSAGE];
    char got[PAYLOAD];
    make_message(bytes, 0);
    for (size_t count = 0; count < MESSAGE; count++) assert_int_equal(receive(bytes, count, got), SV_WIRE_CLOSED);
}

static void a_changed_bit_anywhere_is_found(void **state)
{
    (void)state;
    unsigned char bytes[MESSAGE];
    char got[PAYLOAD];
    make_message(bytes, 0);
    for (size_t bit = 0; bit < 8 * MESSAGE; bit++) {
        bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ 1u << bit % 8);
        assert_int_equal(receive(bytes, MESSAGE, got), bit / 8 < SV_WIRE_HEAD ? SV_WIRE_FOREIGN : SV_WIRE_DAMAGED);
        bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ 1u << bit % 8);
    }
}

static void noise_is_foreign(void **state)
{
    (void)state;
    unsigned char bytes[MESSAGE];
    char got[PAYLOAD];
    for (uint64_t seed = 0; seed < 200; seed++) {
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 0, 0, 0);
        for (size_t i = 0; i < MESSAGE; i++) bytes[i] = (unsigned char)sv_random_word(&random);
        assert_int_equal(receive(bytes, MESSAGE, got), SV_WIRE_FOREIGN);
    }
}

/* Properly signed, but not what is expected: nothing is read by the sender's length, and nothing allocated. */
static void a_huge_or_other_length_is_refused_before_anything_is_taken(void **state)
{
    (void)state;
    const uint64_t lengths[] = { UINT64_MAX, (uint64_t)1 << 62, PAYLOAD + 1, PAYLOAD - 1, 0 };
    for (size_t i = 0; i < SV_COUNT(lengths); i++) {
        ends from = open_ends(1), to = open_ends(1);
        assert_int_equal(sv_wire_begin(&from.wire, SV_WIRE_BLOCK, lengths[i]), SV_WIRE_OK);
        assert_int_equal(write(to.other, from.wire.out, SV_WIRE_HEAD), SV_WIRE_HEAD);
        sv_memory before = sv_memory_now();
        assert_int_equal(sv_wire_expect(&to.wire, SV_WIRE_BLOCK, PAYLOAD), SV_WIRE_UNEXPECTED);
        assert_int_equal(sv_memory_now().allocations, before.allocations);
        close_ends(&from);
        close_ends(&to);
    }
}

static void a_message_of_another_kind_or_place_is_unexpected(void **state)
{
    (void)state;
    unsigned char bytes[MESSAGE];
    char got[PAYLOAD];
    make_message(bytes, 1); /* one was left out */
    assert_int_equal(receive(bytes, MESSAGE, got), SV_WIRE_UNEXPECTED);
    ends e = open_ends(1);
    make_message(bytes, 0);
    assert_int_equal(write(e.other, bytes, MESSAGE), MESSAGE);
    assert_int_equal(sv_wire_expect(&e.wire, SV_WIRE_MEET, PAYLOAD), SV_WIRE_UNEXPECTED);
    close_ends(&e);
}

static bool at_once(void *context) { return (void)context, true; }

static void silence_ends_the_wait(void **state)
{
    (void)state;
    ends e = open_ends(0.05);
    assert_int_equal(sv_wire_expect(&e.wire, SV_WIRE_BLOCK, PAYLOAD), SV_WIRE_LATE);
    close_ends(&e);
    e = open_ends(0);
    e.wire.wait.stop = at_once;
    assert_int_equal(sv_wire_expect(&e.wire, SV_WIRE_BLOCK, PAYLOAD), SV_WIRE_STOPPED);
    close_ends(&e);
}

/* A reader that does not read holds the writer up no longer than the wait. */
static void a_full_socket_ends_the_wait_too(void **state)
{
    (void)state;
    enum { LARGE = 16 << 20 };
    ends e = open_ends(0.05);
    char *block = calloc(1, LARGE);
    assert_non_null(block);
    assert_int_equal(sv_wire_begin(&e.wire, SV_WIRE_BLOCK, LARGE), SV_WIRE_OK);
    assert_int_equal(sv_wire_put(&e.wire, block, LARGE), SV_WIRE_LATE);
    close(e.other);
    e.other = -1;
    e.wire.left_out = LARGE;
    assert_int_equal(sv_wire_put(&e.wire, block, LARGE), SV_WIRE_CLOSED); /* and no signal */
    free(block);
    close_ends(&e);
}

/* Sizes around the buffer's, both ways, many in a row. */
static void messages_of_all_sizes_follow_one_another(void **state)
{
    (void)state;
    static const size_t sizes[] = {
        0, 1, 7, SV_WIRE_ROOM - 28, SV_WIRE_ROOM - 1, SV_WIRE_ROOM, SV_WIRE_ROOM + 1, 3 * SV_WIRE_ROOM + 5, 2, 1 << 20, 0, 9
    };
    ends e = open_ends(10);
    unsigned char *block = malloc(1 << 20);
    assert_non_null(block);
    for (size_t i = 0; i < 1 << 20; i++) block[i] = (unsigned char)(i * 7 + i / 251);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        sv_wire wire;
        sv_error err;
        sv_wire_result result = sv_wire_open(&wire, e.other, (sv_wire_wait){ .seconds = 10 }, &err) ? SV_WIRE_CLOSED : SV_WIRE_OK;
        for (size_t i = 0; !result && i < SV_COUNT(sizes); i++) {
            result = sv_wire_begin(&wire, SV_WIRE_BLOCK, sizes[i]);
            for (size_t at = 0; !result && at < sizes[i]; at += 50000)
                result = sv_wire_put(&wire, block + at, sizes[i] - at < 50000 ? sizes[i] - at : 50000);
            if (!result) result = sv_wire_end(&wire);
        }
        _exit((int)result);
    }
    for (size_t i = 0; i < SV_COUNT(sizes); i++) {
        unsigned char *got = calloc(1, sizes[i] + 1);
        assert_non_null(got);
        assert_int_equal(sv_wire_expect(&e.wire, SV_WIRE_BLOCK, sizes[i]), SV_WIRE_OK);
        assert_int_equal(sv_wire_take(&e.wire, got, sizes[i]), SV_WIRE_OK);
        assert_int_equal(sv_wire_finish(&e.wire), SV_WIRE_OK);
        assert_memory_equal(got, block, sizes[i]);
        free(got);
    }
    int ended = -1;
    waitpid(child, &ended, 0);
    assert_int_equal(ended, 0);
    free(block);
    close_ends(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_in_pieces_arrives_whole),
        cmocka_unit_test(a_message_cut_anywhere_is_a_closed_connection),
        cmocka_unit_test(a_changed_bit_anywhere_is_found),
        cmocka_unit_test(noise_is_foreign),
        cmocka_unit_test(a_huge_or_other_length_is_refused_before_anything_is_taken),
        cmocka_unit_test(a_message_of_another_kind_or_place_is_unexpected),
        cmocka_unit_test(silence_ends_the_wait),
        cmocka_unit_test(a_full_socket_ends_the_wait_too),
        cmocka_unit_test(messages_of_all_sizes_follow_one_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
