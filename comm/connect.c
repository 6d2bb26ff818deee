/* How ranks find each other: made by fork and joined by socket pairs, or started by hand and met over TCP; and how they part. */
#include "base/fault.h"
#include "comm/carrier.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static bool lost_elsewhere(void *context) { return atomic_load(&((sv_comm *)context)->lost); }
static bool interrupted(void *context) { return (void)context, sv_interrupted(); }

sv_status sv_comm_new(sv_comm **out, size_t rank, size_t ranks, double timeout, sv_error *err)
{
    sv_comm *comm = NULL;
    sv_status status = SV_OK;
    if (ranks < 1 || ranks > SV_RANKS_MOST || rank >= ranks)
        return sv_fail(err, SV_USAGE, "rank %zu of %zu ranks; expected 1 to %d ranks, numbered from 0", rank, ranks, SV_RANKS_MOST);
    status = sv_alloc_zero(&comm, sizeof *comm, "ranks", err);
    if (status) return status;
    *comm = (sv_comm){ .rank = rank, .ranks = ranks, .timeout = timeout, .wake = { -1, -1 } };
    pthread_mutex_init(&comm->lock, NULL);
    comm->link_count = rank ? 1 : ranks - 1;
    status = sv_alloc_zero(&comm->links, comm->link_count * sizeof *comm->links, "ranks", err);
    for (size_t i = 0; !status && i < comm->link_count; i++)
        comm->links[i] = (sv_link){ .rank = rank ? 0 : i + 1, .data.descriptor = -1, .alive = -1 };
    if (status)
        comm->link_count = 0, sv_comm_close(comm);
    else
        *out = comm;
    return status;
}

static sv_wire_wait wait_of(sv_comm *comm) { return (sv_wire_wait){ .stop = lost_elsewhere, .context = comm }; }

/* ---- parting ------------------------------------------------------------------------------------------------------ */

/* Children end by themselves; one that is stopped or hangs is ended. */
static void wait_for_children(sv_comm *comm)
{
    const double begin = sv_now_seconds(), patience = atomic_load(&comm->lost) ? 2 : 10;
    for (size_t left = comm->link_count; left;) {
        left = 0;
        for (size_t i = 0; i < comm->link_count; i++) {
            sv_link *link = &comm->links[i];
            if (!link->child) continue;
            pid_t done = waitpid((pid_t)link->process, NULL, WNOHANG);
            if (done == 0 && sv_now_seconds() - begin > patience) {
                kill((pid_t)link->process, SIGKILL);
                done = waitpid((pid_t)link->process, NULL, 0);
            }
            if (done == 0)
                left++;
            else
                link->child = false;
        }
        if (left) poll(NULL, 0, 5);
    }
}

void sv_comm_close(sv_comm *comm)
{
    if (!comm) return;
    sv_watch_end(comm);
    for (size_t i = 0; i < comm->link_count; i++) {
        sv_wire_close(&comm->links[i].data);
        if (comm->links[i].alive >= 0) close(comm->links[i].alive);
    }
    wait_for_children(comm);
    pthread_mutex_destroy(&comm->lock);
    sv_free(comm->links);
    sv_free(comm);
}

/* ---- by fork ------------------------------------------------------------------------------------------------------ */

typedef struct pair {
    int data[2], alive[2];
} pair;

static void close_pairs(pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (int end = 0; end < 2; end++) {
            if (pairs[i].data[end] >= 0) close(pairs[i].data[end]);
            if (pairs[i].alive[end] >= 0) close(pairs[i].alive[end]);
        }
}

static sv_status open_pairs(pair *pairs, size_t count, sv_error *err)
{
    for (size_t i = 0; i < count; i++) pairs[i] = (pair){ { -1, -1 }, { -1, -1 } };
    for (size_t i = 0; i < count; i++)
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i].data)
            || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i].alive))
            return sv_fail(err, SV_FAULT, "%zu ranks cannot be connected: %s", count + 1, strerror(errno));
    return SV_OK;
}

/* Takes this end of a pair over from the list, so that the rest of the list can be closed. */
static sv_status take_end(sv_comm *comm, sv_link *link, pair *from, int end, long process, sv_error *err)
{
    int data = from->data[end];
    link->alive = from->alive[end];
    link->process = process;
    from->data[end] = from->alive[end] = -1;
    return sv_wire_open(&link->data, data, wait_of(comm), err);
}

/* Every process keeps only its own ends: another's copy of one would hide that its owner is gone. */
static sv_status be_child(sv_comm **out, pair *pairs, size_t rank, size_t ranks, double timeout, sv_error *err)
{
    sv_comm *comm = NULL;
    sv_status status = sv_comm_new(&comm, rank, ranks, timeout, err);
    if (!status) status = take_end(comm, &comm->links[0], &pairs[rank - 1], 1, (long)getppid(), err);
    close_pairs(pairs, ranks - 1);
    if (!status) status = sv_watch_start(comm, err);
    if (status) _exit(status); /* rank 0 sees the end of the connection */
    comm->forked = true;
    *out = comm;
    return SV_OK;
}

sv_status sv_comm_fork(sv_comm **out, size_t ranks, double timeout, sv_error *err)
{
    pair pairs[SV_RANKS_MOST];
    sv_comm *comm = NULL;
    sv_status status = sv_comm_new(&comm, 0, ranks, timeout, err);
    if (status) return status;
    status = open_pairs(pairs, ranks - 1, err);
    comm->forked = true;
    fflush(NULL); /* what is buffered must not be written twice */
    for (size_t i = 0; !status && i < comm->link_count; i++) {
        pid_t child = fork();
        if (child == 0) sv_fault_rank(i + 1);
        if (child == 0) return be_child(out, pairs, i + 1, ranks, timeout, err);
        if (child < 0)
            status = sv_fail(err, SV_FAULT, "process %zu of %zu cannot be started: %s", i + 2, ranks, strerror(errno));
        else
            comm->links[i].process = (long)child, comm->links[i].child = true;
    }
    for (size_t i = 0; !status && i < comm->link_count; i++)
        status = take_end(comm, &comm->links[i], &pairs[i], 0, comm->links[i].process, err);
    close_pairs(pairs, ranks - 1);
    if (!status) status = sv_watch_start(comm, err);
    if (status)
        sv_comm_close(comm);
    else
        *out = comm;
    return status;
}

/* ---- over TCP ----------------------------------------------------------------------------------------------------- */

typedef struct hello {
    uint64_t rank, ranks, process;
    uint32_t for_watch, unused;
} hello;
typedef struct address {
    struct sockaddr_storage bytes;
    socklen_t length;
} address;

static sv_status find(address *out, const char *master, sv_error *err)
{
    char host[256] = "";
    const char *colon = strrchr(master, ':');
    struct addrinfo wanted = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM }, *found = NULL;
    if (!colon || colon == master || (size_t)(colon - master) >= sizeof host || !colon[1])
        return sv_fail(err, SV_USAGE, "SIEVE_MASTER = '%.200s'; expected host:port, where rank 0 listens", master);
    memcpy(host, master, (size_t)(colon - master));
    int code = getaddrinfo(host, colon + 1, &wanted, &found);
    if (code || found->ai_addrlen > sizeof out->bytes) {
        if (!code) freeaddrinfo(found);
        return sv_fail(err, SV_USAGE, "SIEVE_MASTER = '%.200s' is not found: %s", master,
                       code ? gai_strerror(code) : "its address is too long");
    }
    memcpy(&out->bytes, found->ai_addr, found->ai_addrlen);
    out->length = found->ai_addrlen;
    freeaddrinfo(found);
    return SV_OK;
}

/* Small messages wait for an answer: they must not wait for more to be sent with them. */
static void hurry(int descriptor)
{
    int on = 1;
    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static sv_status late(const sv_comm *comm, const char *master, sv_error *err)
{
    size_t here = 1;
    for (size_t i = 0; i < comm->link_count; i++) here += comm->links[i].data.descriptor >= 0 && comm->links[i].alive >= 0;
    if (sv_interrupted()) return sv_fail(err, SV_INTERRUPTED, "interrupted while waiting for other ranks");
    if (comm->rank)
        return sv_fail(err, SV_INTERRUPTED, "rank %zu: rank 0 did not answer at %s within %g s", comm->rank, master, comm->timeout);
    return sv_fail(err, SV_INTERRUPTED, "%zu of %zu ranks came to %s within %g s; start the others, or raise run.rank_timeout", here,
                   comm->ranks, master, comm->timeout);
}

/* Reads who came; a stranger is sent away. */
static sv_status welcome(sv_comm *comm, int descriptor, sv_error *err)
{
    sv_wire wire;
    hello who = { 0 };
    sv_status status = sv_wire_open(&wire, descriptor, (sv_wire_wait){ .seconds = 2, .stop = interrupted }, err);
    if (status) return status;
    hurry(descriptor);
    sv_wire_result result = sv_wire_expect(&wire, SV_WIRE_HELLO, sizeof who);
    if (!result) result = sv_wire_take(&wire, &who, sizeof who);
    if (!result) result = sv_wire_finish(&wire);
    sv_link *link = result || who.rank == 0 || who.rank >= comm->ranks ? NULL : sv_comm_link(comm, (size_t)who.rank);
    if (!result && who.ranks != comm->ranks)
        status = sv_fail(err, SV_USAGE, "rank %llu was told of %llu ranks and rank 0 of %zu; give all the same SIEVE_RANKS",
                         (unsigned long long)who.rank, (unsigned long long)who.ranks, comm->ranks);
    else if (link && (who.for_watch ? link->alive : link->data.descriptor) >= 0)
        status = sv_fail(err, SV_USAGE, "two processes came as rank %zu; give each its own SIEVE_RANK", link->rank);
    if (status || !link) return sv_wire_close(&wire), status;
    link->process = (long)who.process;
    if (!who.for_watch) {
        wire.wait = wait_of(comm);
        link->data = wire;
        return SV_OK;
    }
    link->alive = wire.descriptor;
    wire.descriptor = -1;
    sv_wire_close(&wire);
    return SV_OK;
}

static bool complete(const sv_comm *comm)
{
    for (size_t i = 0; i < comm->link_count; i++)
        if (comm->links[i].data.descriptor < 0 || comm->links[i].alive < 0) return false;
    return true;
}

static sv_status listen_for_all(sv_comm *comm, const address *at, const char *master, sv_error *err)
{
    const double end = sv_now_seconds() + comm->timeout;
    int on = 1, listener = socket(at->bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sv_status status = SV_OK;
    if (listener >= 0) (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (listener < 0 || bind(listener, (const struct sockaddr *)&at->bytes, at->length) || listen(listener, 2 * SV_RANKS_MOST))
        status = sv_fail(err, SV_USAGE, "rank 0 cannot listen at SIEVE_MASTER = '%.200s': %s", master, strerror(errno));
    while (!status && !complete(comm)) {
        struct pollfd look = { listener, POLLIN, 0 };
        if (sv_interrupted() || sv_now_seconds() > end)
            status = late(comm, master, err);
        else if (poll(&look, 1, 50) > 0) {
            int came = accept(listener, NULL, NULL);
            if (came >= 0) (void)fcntl(came, F_SETFD, FD_CLOEXEC);
            if (came >= 0) status = welcome(comm, came, err);
        }
    }
    if (listener >= 0) close(listener);
    return status;
}

/* Rank 0 may start later than the others. */
static sv_status call(sv_comm *comm, const address *at, const char *master, bool for_watch, double end, sv_wire *out, sv_error *err)
{
    const hello who = { .rank = comm->rank, .ranks = comm->ranks, .process = (uint64_t)getpid(), .for_watch = for_watch };
    int descriptor = -1;
    for (;;) {
        descriptor = socket(at->bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (descriptor < 0) return sv_fail(err, SV_FAULT, "no socket for rank %zu: %s", comm->rank, strerror(errno));
        if (connect(descriptor, (const struct sockaddr *)&at->bytes, at->length) == 0) break;
        close(descriptor);
        if (sv_interrupted() || sv_now_seconds() > end) return late(comm, master, err);
        poll(NULL, 0, 50);
    }
    hurry(descriptor);
    sv_status status = sv_wire_open(out, descriptor, wait_of(comm), err);
    if (status) return status;
    sv_wire_result result = sv_wire_begin(out, SV_WIRE_HELLO, sizeof who);
    if (!result) result = sv_wire_put(out, &who, sizeof who);
    if (!result) result = sv_wire_end(out);
    return result ? sv_fail(err, SV_INTERRUPTED, "rank 0 at %s %s", master, sv_wire_says(result)) : SV_OK;
}

static sv_status call_leader(sv_comm *comm, const address *at, const char *master, sv_error *err)
{
    const double end = sv_now_seconds() + comm->timeout;
    sv_wire watch = { .descriptor = -1 };
    sv_status status = call(comm, at, master, false, end, &comm->links[0].data, err);
    if (!status) status = call(comm, at, master, true, end, &watch, err);
    comm->links[0].alive = watch.descriptor;
    watch.descriptor = -1;
    sv_wire_close(&watch);
    return status;
}

/* Both sides count the hello as message 0 of the data connection. The watch begins behind the first meeting: notes that came with a hello would be
 * lost in its buffer. */
sv_status sv_comm_join(sv_comm **out, const char *master, size_t rank, size_t ranks, double timeout, sv_error *err)
{
    sv_comm *comm = NULL;
    address at;
    sv_status status = sv_comm_new(&comm, rank, ranks, timeout, err);
    if (status) return status;
    status = find(&at, master, err);
    if (!status) status = rank ? call_leader(comm, &at, master, err) : listen_for_all(comm, &at, master, err);
    for (size_t i = 0; !status && i < comm->link_count; i++) comm->links[i].data.wait.seconds = timeout;
    if (!status) status = sv_comm_barrier(comm, err);
    for (size_t i = 0; !status && i < comm->link_count; i++) comm->links[i].data.wait.seconds = 0;
    if (!status) status = sv_watch_start(comm, err);
    if (status)
        sv_comm_close(comm);
    else
        *out = comm;
    return status;
}
