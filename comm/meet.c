/* How ranks that were started by hand find each other over TCP; the same words serve the watch of MPI (mpi.c) and the mesh (mesh.c). Who calls says
 * who it is, what for, and the token of its run. */
#include "comm/carrier.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct hello {
    uint64_t rank, ranks, process, token;
    uint32_t purpose, unused;
} hello;

static bool interrupted(void *context) { return (void)context, sv_interrupted(); }

sv_status sv_meet_find(sv_address *out, const char *master, sv_error *err)
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

/* Small messages wait for an answer: they must not wait for more to be sent with them. A cable that is cut ends the connection in about the
 * timeout, also where nothing is sent and no watch listens. (On sockets that are not TCP all this does nothing.) */
static void set_up(int descriptor, double timeout)
{
    int on = 1, quiet = timeout > 3 ? (int)(timeout / 3) : 1, tries = 2, limit = (int)(1000 * (timeout < 86400 ? timeout : 86400));
    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &quiet, sizeof quiet);
    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &quiet, sizeof quiet);
    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof tries);
    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit);
}

static sv_status late(const sv_comm *comm, const char *master, sv_error *err)
{
    size_t here = 1;
    for (size_t i = 0; i < comm->link_count; i++) here += comm->links[i].alive >= 0;
    if (sv_interrupted()) return sv_fail(err, SV_INTERRUPTED, "interrupted while waiting for other ranks");
    if (comm->rank)
        return sv_fail(err, SV_INTERRUPTED, "rank %zu: rank 0 did not answer at %s within %g s", comm->rank, master, comm->timeout);
    return sv_fail(err, SV_INTERRUPTED, "%zu of %zu ranks came to %s within %g s; start the others, or raise run.rank_timeout", here,
                   comm->ranks, master, comm->timeout);
}

static bool here_already(const sv_link *link, sv_meeting purpose)
{
    return purpose == SV_FOR_WATCH ? link->alive >= 0 : sv_wire_is_open(&link->data);
}

/* Reads who came; a stranger is sent away. */
static sv_status welcome(sv_comm *comm, int descriptor, sv_error *err)
{
    sv_wire wire;
    hello who = { 0 };
    sv_status status = sv_wire_open(&wire, descriptor, (sv_wire_wait){ .seconds = 2, .stop = interrupted }, err);
    if (status) return status;
    set_up(descriptor, comm->timeout);
    sv_wire_result result = sv_wire_expect(&wire, SV_WIRE_HELLO, sizeof who);
    if (!result) result = sv_wire_take(&wire, &who, sizeof who);
    if (!result) result = sv_wire_finish(&wire);
    if (!result && (who.rank <= comm->rank || who.rank >= comm->ranks || who.token != comm->token)) result = SV_WIRE_FOREIGN;
    sv_link *link = result ? NULL : sv_comm_link(comm, (size_t)who.rank);
    if (!result && who.ranks != comm->ranks)
        status = sv_fail(err, SV_USAGE, "rank %llu was told of %llu ranks and rank 0 of %zu; give all the same SIEVE_RANKS",
                         (unsigned long long)who.rank, (unsigned long long)who.ranks, comm->ranks);
    else if (link && here_already(link, who.purpose))
        status = sv_fail(err, SV_USAGE, "two processes came as rank %zu; give each its own SIEVE_RANK", link->rank);
    if (status || !link) return sv_wire_close(&wire), status;
    link->process = (long)who.process;
    if (who.purpose == SV_FOR_DATA) {
        wire.wait = sv_comm_wait(comm);
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
        if (!sv_wire_is_open(&comm->links[i].data) || comm->links[i].alive < 0) return false;
    for (size_t i = 0; i < comm->mesh_count; i++)
        if (comm->mesh[i].rank > comm->rank && !sv_wire_is_open(&comm->mesh[i].data)) return false;
    return true;
}

sv_status sv_meet_listen(int *out, sv_address *at, const char *name, sv_error *err)
{
    int on = 1, listener = socket(at->bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener >= 0 && at->bytes.ss_family != AF_UNIX) (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (listener < 0 || bind(listener, (const struct sockaddr *)&at->bytes, at->length) || listen(listener, 2 * SV_RANKS_MOST)) {
        sv_status status = sv_fail(err, SV_USAGE, "this rank cannot listen at %.200s: %s", name, strerror(errno));
        if (listener >= 0) close(listener);
        return status;
    }
    at->length = sizeof at->bytes; /* with the port that was given, where none was asked for */
    (void)getsockname(listener, (struct sockaddr *)&at->bytes, &at->length);
    *out = listener;
    return SV_OK;
}

sv_status sv_meet_accept(sv_comm *comm, int listener, const char *name, sv_error *err)
{
    const double end = sv_now_seconds() + comm->timeout;
    sv_status status = SV_OK;
    while (!status && !complete(comm)) {
        struct pollfd look = { listener, POLLIN, 0 };
        if (sv_interrupted() || sv_comm_lost(comm) || sv_now_seconds() > end)
            status = late(comm, name, err);
        else if (poll(&look, 1, 50) > 0) {
            int came = accept(listener, NULL, NULL);
            if (came >= 0) (void)fcntl(came, F_SETFD, FD_CLOEXEC);
            if (came >= 0) status = welcome(comm, came, err);
        }
    }
    return status;
}

/* The other may start later. */
sv_status sv_meet_call(sv_comm *comm, const sv_address *at, const char *name, sv_meeting purpose, sv_link *link, sv_error *err)
{
    const hello who = {
        .rank = comm->rank, .ranks = comm->ranks, .process = (uint64_t)getpid(), .token = comm->token, .purpose = (uint32_t)purpose
    };
    const double end = sv_now_seconds() + comm->timeout;
    sv_wire wire;
    int descriptor = -1;
    for (;;) {
        descriptor = socket(at->bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (descriptor < 0) return sv_fail(err, SV_FAULT, "no socket for rank %zu: %s", comm->rank, strerror(errno));
        if (connect(descriptor, (const struct sockaddr *)&at->bytes, at->length) == 0) break;
        close(descriptor);
        if (sv_interrupted() || sv_comm_lost(comm) || sv_now_seconds() > end) return late(comm, name, err);
        poll(NULL, 0, 50);
    }
    set_up(descriptor, comm->timeout);
    sv_status status = sv_wire_open(&wire, descriptor, sv_comm_wait(comm), err);
    if (status) return status;
    sv_wire_result result = sv_wire_begin(&wire, SV_WIRE_HELLO, sizeof who);
    if (!result) result = sv_wire_put(&wire, &who, sizeof who);
    if (!result) result = sv_wire_end(&wire);
    if (result) return sv_wire_close(&wire), sv_fail(err, SV_INTERRUPTED, "rank %zu at %s %s", link->rank, name, sv_wire_says(result));
    if (purpose == SV_FOR_DATA) return link->data = wire, SV_OK;
    link->alive = wire.descriptor;
    wire.descriptor = -1;
    sv_wire_close(&wire);
    return SV_OK;
}

static sv_status meet(sv_comm *comm, sv_address *at, const char *master, sv_error *err)
{
    int listener = -1;
    sv_status status = SV_OK;
    if (comm->rank) {
        status = sv_meet_call(comm, at, master, SV_FOR_DATA, &comm->links[0], err);
        return status ? status : sv_meet_call(comm, at, master, SV_FOR_WATCH, &comm->links[0], err);
    }
    status = sv_meet_listen(&listener, at, master, err);
    if (status) return status;
    status = sv_meet_accept(comm, listener, master, err);
    close(listener);
    return status;
}

sv_status sv_meet_begin(sv_comm *comm, sv_error *err)
{
    sv_status status = SV_OK;
    for (size_t i = 0; i < comm->link_count; i++) comm->links[i].data.wait.seconds = comm->timeout;
    status = sv_comm_barrier(comm, err);
    for (size_t i = 0; i < comm->link_count; i++) comm->links[i].data.wait.seconds = 0;
    return status ? status : sv_watch_start(comm, err);
}

/* Both sides count the hello as message 0 of the data connection. The watch begins behind the first meeting: notes that came with a hello would be
 * lost in its buffer. */
sv_status sv_comm_join(sv_comm **out, const char *master, size_t rank, size_t ranks, double timeout, sv_error *err)
{
    sv_comm *comm = NULL;
    sv_address at;
    sv_status status = sv_comm_new(&comm, rank, ranks, timeout, err);
    if (status) return status;
    status = sv_meet_find(&at, master, err);
    if (!status) status = meet(comm, &at, master, err);
    if (!status) status = sv_meet_begin(comm, err);
    if (status)
        sv_comm_close(comm);
    else
        *out = comm;
    return status;
}
