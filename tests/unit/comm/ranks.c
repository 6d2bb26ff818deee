/* comm/{connect,collect,watch}.c: ranks made by fork or met over TCP do the same things in the same order, and a rank that is lost, stopped, out of
 * step or gives up is named to all others. Each case forks; a child that finds something wrong gives up, which fails the parent's next call. */
#include "tests/unit/base/test_base.h"

#include "comm/comm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

typedef sv_status rank_work(sv_comm *comm, sv_error *err);

/* Runs `work` on every rank; returns rank 0's status. The children end here. */
static sv_status on_ranks(size_t ranks, double timeout, rank_work *work, sv_error *err)
{
    sv_comm *comm = NULL;
    if (sv_comm_fork(&comm, ranks, timeout, err)) fail_msg("%s", err->text);
    sv_status status = work(comm, err);
    const bool child = sv_comm_rank(comm) > 0;
    if (status) sv_comm_give_up(comm, err);
    sv_comm_close(comm);
    if (child) _exit(status);
    return status;
}

#define NEED(condition, err)                                                                                                               \
    do                                                                                                                                     \
        if (!(condition)) return sv_fail(err, SV_FAULT, "line %d: %s does not hold", __LINE__, #condition);                                \
    while (0)

/* ---- together ----------------------------------------------------------------------------------------------------- */

static sv_status all_collectives(sv_comm *comm, sv_error *err)
{
    const size_t rank = sv_comm_rank(comm), ranks = sv_comm_ranks(comm);
    int block[100], rows[40][3] = { { 0 } };
    size_t first[SV_RANKS_MOST + 1];
    sv_real sum[1000];
    for (int i = 0; i < 100; i++) block[i] = rank ? -1 : i;
    sv_status status = sv_comm_broadcast(comm, block, sizeof block, err);
    if (status) return status;
    for (int i = 0; i < 100; i++) NEED(block[i] == i, err);
    for (size_t r = 0; r <= ranks; r++) first[r] = 40 * r / ranks; /* uneven, and with gaps between the items */
    for (size_t i = first[rank]; i < first[rank + 1]; i++) rows[i][0] = (int)i + 1, rows[i][1] = -(int)i, rows[i][2] = (int)rank + 1;
    status = sv_comm_gather(comm, rows, sizeof *rows, 2 * sizeof(int), first, true, err);
    if (status) return status;
    for (size_t i = 0; i < 40; i++) NEED(rows[i][0] == (int)i + 1 && rows[i][1] == -(int)i, err);
    for (size_t i = 0; i < 40; i++) NEED(rows[i][2] == (i >= first[rank] && i < first[rank + 1] ? (int)rank + 1 : 0), err);
    for (size_t i = 0; i < 1000; i++) sum[i] = (sv_real)(rank + i);
    status = sv_comm_sum(comm, sum, 1000, err);
    if (status) return status;
    for (size_t i = 0; i < 1000; i++) NEED(sum[i] == (sv_real)(ranks * i + ranks * (ranks - 1) / 2), err);
    return sv_comm_barrier(comm, err);
}

static void all_ranks_have_the_same_for_any_number_of_them(void **state)
{
    (void)state;
    for (size_t ranks = 1; ranks <= 5; ranks++) {
        sv_error err = { 0 };
        assert_ok(on_ranks(ranks, 20, all_collectives, &err), err);
    }
    sv_error err = { 0 };
    assert_ok(all_collectives(NULL, &err), err); /* one process alone */
}

/* 1e8 + 1 - 1e8 in floats is 0 in this order, 1 in another. */
static sv_status ordered_sum(sv_comm *comm, sv_error *err)
{
    static const sv_real parts[] = { (sv_real)1e8, 1, (sv_real)-1e8 };
    sv_real own = parts[sv_comm_rank(comm)];
    sv_status status = sv_comm_sum(comm, &own, 1, err);
    if (status) return status;
    NEED(own == parts[0] + parts[1] + parts[2], err);
    return sv_comm_barrier(comm, err);
}

static void sums_run_in_order_of_ranks(void **state)
{
    (void)state;
    sv_error err = { 0 };
    assert_ok(on_ranks(3, 20, ordered_sum, &err), err);
}

static sv_status pairs(sv_comm *comm, sv_error *err)
{
    uint64_t word = 0;
    if (sv_comm_rank(comm) == 1) {
        sv_error refused;
        NEED(sv_comm_send(comm, 2, &word, sizeof word, &refused) == SV_FAULT, err); /* no road */
        sv_status status = sv_comm_receive(comm, 0, &word, sizeof word, err);
        NEED(!status && word == 77, err);
        word++;
        return sv_comm_send(comm, 0, &word, sizeof word, err);
    }
    if (sv_comm_rank(comm)) return SV_OK;
    word = 77;
    sv_status status = sv_comm_send(comm, 1, &word, sizeof word, err);
    if (!status) status = sv_comm_receive(comm, 1, &word, sizeof word, err);
    NEED(status || word == 78, err);
    return status;
}

static void two_ranks_talk_through_rank_0(void **state)
{
    (void)state;
    sv_error err = { 0 };
    assert_ok(on_ranks(3, 20, pairs, &err), err);
}

/* Items of every size around the buffer's, both ways at once, uneven and with gaps: more than any socket holds. */
static sv_status trade_of(sv_comm *comm, size_t bytes, size_t count, sv_error *err)
{
    enum { MOST = 5 };
    const size_t rank = sv_comm_rank(comm), ranks = sv_comm_ranks(comm), stride = bytes + 3;
    sv_comm_items out[MOST] = { 0 }, in[MOST] = { 0 };
    sv_status status = SV_OK;
    for (size_t r = 0; r < ranks; r++) {
        unsigned char *give = calloc(count + rank, stride), *get = calloc(count + r, stride);
        NEED(give && get, err);
        for (size_t i = 0; i < (count + rank) * stride; i++) give[i] = (unsigned char)(i * 7 + rank * 31 + r);
        out[r] = (sv_comm_items){ give, stride, bytes, count + rank };
        in[r] = (sv_comm_items){ get, stride, bytes, count + r };
    }
    status = sv_comm_trade(comm, out, in, err);
    for (size_t r = 0; !status && r < ranks; r++)
        for (size_t i = 0; i < in[r].count * stride; i++) {
            const unsigned char expected = r == rank || i % stride >= bytes ? 0 : (unsigned char)(i * 7 + r * 31 + rank);
            NEED(((unsigned char *)in[r].base)[i] == expected, err);
        }
    for (size_t r = 0; r < ranks; r++) free(out[r].base), free(in[r].base);
    return status;
}

static sv_status trades(sv_comm *comm, sv_error *err)
{
    static const size_t sizes[][2] = { { 0, 3 },     { 1, 1 },     { 100, 2000 },  { 16383, 9 },
                                       { 16384, 9 }, { 65536, 3 }, { 3000001, 1 }, { 40, 0 } };
    sv_status status = sv_comm_mesh(comm, err);
    for (size_t i = 0; !status && i < SV_COUNT(sizes); i++) {
        status = trade_of(comm, sizes[i][0], sizes[i][1], err);
        if (!status) status = sv_comm_barrier(comm, err); /* the star's messages and the mesh's follow one another */
    }
    return status;
}

static void all_ranks_trade_with_all(void **state)
{
    (void)state;
    for (size_t ranks = 1; ranks <= 5; ranks++) {
        sv_error err = { 0 };
        assert_ok(on_ranks(ranks, 20, trades, &err), err);
    }
}

/* ---- lost --------------------------------------------------------------------------------------------------------- */

static int said[2]; /* a pipe: what rank 1 was told */

static sv_status meet_and_tell(sv_comm *comm, sv_error *err)
{
    sv_status status = SV_OK;
    while (!status) status = sv_comm_barrier(comm, err);
    if (sv_comm_rank(comm) == 1 && write(said[1], err->text, strlen(err->text) + 1) < 0) _exit(9);
    return status;
}

static void expect_named(rank_work *work, size_t ranks, double timeout, sv_status code, const char *named)
{
    sv_error err = { 0 };
    char told[2048] = "";
    assert_int_equal(pipe(said), 0);
    const double begin = sv_now_seconds();
    assert_int_equal(on_ranks(ranks, timeout, work, &err), code);
    const double took = sv_now_seconds() - begin;
    close(said[1]);
    ssize_t count = read(said[0], told, sizeof told - 1);
    close(said[0]);
    if (!strstr(err.text, named)) fail_msg("rank 0: '%s'; expected '%s' in it", err.text, named);
    if (count <= 0 || !strstr(told, named)) fail_msg("rank 1: '%s'; expected '%s' in it", told, named);
    if (took > timeout + 8) fail_msg("took %.1f s", took);
}

static sv_status killed_in_the_middle(sv_comm *comm, sv_error *err)
{
    for (int i = 0; i < 50; i++)
        if (sv_comm_barrier(comm, err)) return err->code;
    if (sv_comm_rank(comm) == 2) raise(SIGKILL);
    return meet_and_tell(comm, err);
}

static void a_killed_rank_is_named_to_all(void **state)
{
    (void)state;
    expect_named(killed_in_the_middle, 4, 20, SV_INTERRUPTED, "rank 2 (process ");
}

static sv_status killed_between_trades(sv_comm *comm, sv_error *err)
{
    sv_status status = sv_comm_mesh(comm, err);
    for (int i = 0; !status; i++) {
        if (i == 5 && sv_comm_rank(comm) == 2) raise(SIGKILL);
        status = trade_of(comm, 100000, 2, err);
    }
    return status && sv_comm_rank(comm) == 1 ? meet_and_tell(comm, err) : status;
}

static void a_rank_killed_in_a_trade_is_named_to_all(void **state)
{
    (void)state;
    expect_named(killed_between_trades, 4, 20, SV_INTERRUPTED, "rank 2 (process ");
}

static sv_status stopped_in_the_middle(sv_comm *comm, sv_error *err)
{
    if (sv_comm_rank(comm) == 2) raise(SIGSTOP);
    return meet_and_tell(comm, err);
}

static void a_stopped_rank_is_named_to_all_and_ended(void **state)
{
    (void)state;
    expect_named(stopped_in_the_middle, 4, 1, SV_INTERRUPTED, "of 4 is lost: it has said nothing for");
}

static sv_status busy_for_long(sv_comm *comm, sv_error *err)
{
    if (sv_comm_rank(comm) == 1) usleep(1500000); /* three times the timeout, but alive */
    return sv_comm_barrier(comm, err);
}

static void a_rank_that_works_for_long_is_waited_for(void **state)
{
    (void)state;
    sv_error err = { 0 };
    assert_ok(on_ranks(3, 0.5, busy_for_long, &err), err);
}

static sv_status gives_up(sv_comm *comm, sv_error *err)
{
    if (sv_comm_rank(comm) == 2) return sv_fail(err, SV_DATA, "the pictures are gone");
    return meet_and_tell(comm, err);
}

static void a_rank_that_gives_up_is_heard_with_its_code(void **state)
{
    (void)state;
    expect_named(gives_up, 3, 20, SV_DATA, "rank 2: the pictures are gone");
}

static sv_status out_of_step(sv_comm *comm, sv_error *err)
{
    uint64_t word = 0;
    if (sv_comm_rank(comm) == 2) return sv_comm_send(comm, 0, &word, sizeof word, err);
    return meet_and_tell(comm, err);
}

static void a_rank_out_of_step_is_named(void **state)
{
    (void)state;
    expect_named(out_of_step, 3, 20, SV_INTERRUPTED, "is at another place of the run");
}

/* ---- over TCP ----------------------------------------------------------------------------------------------------- */

static int free_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(descriptor >= 0);
    assert_int_equal(bind(descriptor, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(descriptor, (struct sockaddr *)&address, &length), 0);
    close(descriptor);
    return ntohs(address.sin_port);
}

static pid_t start_by_hand(const char *master, size_t rank, size_t ranks, rank_work *work)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child) return child;
    sv_comm *comm = NULL;
    sv_error err = { 0 };
    sv_status status = sv_comm_join(&comm, master, rank, ranks, 10, &err);
    if (!status) status = work(comm, &err);
    sv_comm_close(comm);
    _exit(status);
}

static int end_of(pid_t child)
{
    int ended = 0;
    assert_int_equal(waitpid(child, &ended, 0), child);
    return WIFEXITED(ended) ? WEXITSTATUS(ended) : -1;
}

/* A program that knows nothing of us, once rank 0 listens: it is sent away without a byte. */
static bool sent_away(int port)
{
    const struct sockaddr_in address = { .sin_family = AF_INET,
                                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                         .sin_port = htons((uint16_t)port) };
    for (int i = 0; i < 2000; i++) {
        int descriptor = socket(AF_INET, SOCK_STREAM, 0);
        char answer[8];
        if (connect(descriptor, (const struct sockaddr *)&address, sizeof address) == 0) {
            bool sent = send(descriptor, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 36, MSG_NOSIGNAL) == 36;
            bool away = recv(descriptor, answer, sizeof answer, 0) <= 0;
            close(descriptor);
            return sent && away;
        }
        close(descriptor);
        usleep(5000);
    }
    return false;
}

static void ranks_started_by_hand_meet_whoever_else_calls(void **state)
{
    (void)state;
    char master[64];
    const int port = free_port();
    snprintf(master, sizeof master, "127.0.0.1:%d", port);
    pid_t ranks[3] = { start_by_hand(master, 0, 3, all_collectives) };
    assert_true(sent_away(port));
    for (size_t r = 1; r < 3; r++) ranks[r] = start_by_hand(master, r, 3, all_collectives);
    for (size_t r = 0; r < 3; r++) assert_int_equal(end_of(ranks[r]), SV_OK);
}

static void numbers_that_do_not_fit_are_said(void **state)
{
    (void)state;
    char master[64];
    sv_comm *comm = NULL;
    sv_error err = { 0 };
    snprintf(master, sizeof master, "127.0.0.1:%d", free_port());
    pid_t other = start_by_hand(master, 1, 3, all_collectives);
    assert_int_equal(sv_comm_join(&comm, master, 0, 2, 10, &err), SV_USAGE);
    assert_non_null(strstr(err.text, "rank 1 was told of 3 ranks and rank 0 of 2"));
    assert_int_not_equal(end_of(other), SV_OK);
    assert_int_equal(sv_comm_join(&comm, "nowhere", 0, 2, 1, &err), SV_USAGE);
    assert_int_equal(sv_comm_join(&comm, master, 2, 2, 1, &err), SV_USAGE);
    assert_int_equal(sv_comm_join(&comm, master, 0, SV_RANKS_MOST + 1, 1, &err), SV_USAGE);
    assert_null(comm);
}

static void ranks_that_do_not_come_are_not_waited_for_for_ever(void **state)
{
    (void)state;
    char master[64];
    sv_comm *comm = NULL;
    sv_error err = { 0 };
    snprintf(master, sizeof master, "127.0.0.1:%d", free_port());
    assert_int_equal(sv_comm_join(&comm, master, 0, 2, 0.3, &err), SV_INTERRUPTED);
    assert_non_null(strstr(err.text, "1 of 2 ranks came"));
    assert_int_equal(sv_comm_join(&comm, master, 1, 2, 0.3, &err), SV_INTERRUPTED);
    assert_non_null(strstr(err.text, "rank 0 did not answer"));
    assert_null(comm);
}

/* ---- nothing left ------------------------------------------------------------------------------------------------- */

static void nothing_is_left_behind(void **state)
{
    (void)state;
    sv_memory memory = sv_memory_now();
    size_t descriptors = open_descriptors();
    bool survived = false;
    for (uint64_t at = 1; at < 60 && !survived; at++) {
        sv_comm *comm = NULL;
        sv_error err = { 0 };
        sv_fault_set(SV_FAULT_ALLOC, at, false);
        survived = sv_comm_fork(&comm, 3, 5, &err) == SV_OK;
        const bool child = comm && sv_comm_rank(comm) > 0;
        sv_comm_close(comm);
        if (child) _exit(0);
        sv_fault_set(SV_FAULT_ALLOC, 0, false);
        assert_int_equal(sv_memory_now().live, memory.live);
        assert_int_equal(open_descriptors(), descriptors);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child either */
    }
    assert_true(survived);
}

static void a_hash_tells_blocks_apart(void **state)
{
    (void)state;
    unsigned char block[200] = { 0 };
    uint64_t before = sv_hash(0, block, sizeof block);
    assert_int_not_equal(before, sv_hash(1, block, sizeof block));
    assert_int_not_equal(before, sv_hash(0, block, sizeof block - 1));
    for (size_t i = 0; i < 8 * sizeof block; i++) {
        block[i / 8] = (unsigned char)(1u << i % 8);
        assert_int_not_equal(before, sv_hash(0, block, sizeof block));
        block[i / 8] = 0;
    }
    assert_int_equal(before, sv_hash(0, block, sizeof block));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_ranks_have_the_same_for_any_number_of_them),
        cmocka_unit_test(sums_run_in_order_of_ranks),
        cmocka_unit_test(all_ranks_trade_with_all),
        cmocka_unit_test(a_rank_killed_in_a_trade_is_named_to_all),
        cmocka_unit_test(two_ranks_talk_through_rank_0),
        cmocka_unit_test(a_killed_rank_is_named_to_all),
        cmocka_unit_test(a_stopped_rank_is_named_to_all_and_ended),
        cmocka_unit_test(a_rank_that_works_for_long_is_waited_for),
        cmocka_unit_test(a_rank_that_gives_up_is_heard_with_its_code),
        cmocka_unit_test(a_rank_out_of_step_is_named),
        cmocka_unit_test(ranks_started_by_hand_meet_whoever_else_calls),
        cmocka_unit_test(numbers_that_do_not_fit_are_said),
        cmocka_unit_test(ranks_that_do_not_come_are_not_waited_for_for_ever),
        cmocka_unit_test(nothing_is_left_behind),
        cmocka_unit_test(a_hash_tells_blocks_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
