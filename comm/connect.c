/* How ranks are made by fork and joined by socket pairs; and how all ranks part. */
#include "base/fault.h"
#include "comm/carrier.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static bool lost_elsewhere(void *context) { return atomic_load(&((sv_comm *)context)->lost); }

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

sv_wire_wait sv_comm_wait(sv_comm *comm) { return (sv_wire_wait){ .stop = lost_elsewhere, .context = comm }; }

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
    for (size_t i = 0; i < comm->mesh_count; i++) sv_wire_close(&comm->mesh[i].data);
    wait_for_children(comm);
    if (comm->leave) comm->leave(!atomic_load(&comm->lost));
    pthread_mutex_destroy(&comm->lock);
    sv_free(comm->links);
    sv_free(comm->mesh);
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
    return sv_wire_open(&link->data, data, sv_comm_wait(comm), err);
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
