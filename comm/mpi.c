/* The carrier for clusters: bytes go over MPI, point to point, so that orders stay ours (MPI_Allreduce promises none). A wire is a stream of
 * messages of at most CHUNK bytes to one rank under one tag, which MPI keeps in order; what is sent is copied into one of SLOTS rooms. MPI moves
 * them only inside its calls, hence at_rest. The watch keeps sockets of its own: MPI does not say who is silent. */
#include "comm/carrier.h"

#include <stdlib.h>

/* Open MPI; MPICH and others that speak PMI. */
size_t sv_comm_mpi_ranks(void)
{
    static const char *const names[] = { "OMPI_COMM_WORLD_SIZE", "PMI_SIZE" };
    for (size_t i = 0; i < SV_COUNT(names); i++) {
        const char *value = getenv(names[i]);
        int64_t count = 0;
        if (value && sv_parse_int(value, &count) && count > 0) return (size_t)count;
    }
    return 0;
}

#ifndef SIEVE_MPI

sv_status sv_comm_mpi(sv_comm **out, double timeout, sv_error *err)
{
    (void)out, (void)timeout;
    return sv_fail(err, SV_USAGE, "mpirun started %zu processes, but this Sieve was built without MPI; build it with: make MPI=1",
                   sv_comm_mpi_ranks());
}

sv_status sv_mpi_wire(sv_comm *comm, sv_link *link, sv_error *err)
{
    (void)comm, (void)link;
    return sv_fail(err, SV_FAULT, "there is no MPI in this build");
}

#else

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <mpi.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 256 << 10, SLOTS = 4, TAG = 71 };

typedef struct slot {
    MPI_Request request; /* MPI_REQUEST_NULL: free */
    unsigned char *bytes;
} slot;
typedef struct stream {
    int peer;
    slot out[SLOTS];
    size_t next;
    slot in; /* the message that is coming or being handed out */
    int in_count;
    size_t in_at;
} stream;

/* ---- the carrier -------------------------------------------------------------------------------------------------- */

static sv_wire_result result_of(int code) { return code == MPI_SUCCESS ? SV_WIRE_OK : SV_WIRE_CLOSED; }

static sv_wire_result mpi_send(sv_wire *wire, const void *bytes, size_t count, size_t *done)
{
    stream *s = wire->stream;
    slot *room = &s->out[s->next];
    int ready = 1;
    *done = 0;
    int code = MPI_Test(&room->request, &ready, MPI_STATUS_IGNORE);
    if (code != MPI_SUCCESS || !ready) return result_of(code);
    const size_t taken = count < CHUNK ? count : CHUNK;
    memcpy(room->bytes, bytes, taken);
    code = MPI_Isend(room->bytes, (int)taken, MPI_BYTE, s->peer, TAG, MPI_COMM_WORLD, &room->request);
    if (code == MPI_SUCCESS) *done = taken;
    s->next = (s->next + 1) % SLOTS;
    return result_of(code);
}

/* Finds the next message and lets it come, as far as it has. */
static sv_wire_result let_come(stream *s, bool *here)
{
    int found = 0, ready = 0;
    MPI_Message message;
    MPI_Status status;
    *here = false;
    if (s->in.request == MPI_REQUEST_NULL) {
        int code = MPI_Improbe(s->peer, TAG, MPI_COMM_WORLD, &found, &message, &status);
        if (code != MPI_SUCCESS || !found) return result_of(code);
        code = MPI_Get_count(&status, MPI_BYTE, &s->in_count);
        if (code != MPI_SUCCESS || s->in_count < 0 || s->in_count > CHUNK) return SV_WIRE_FOREIGN;
        code = MPI_Imrecv(s->in.bytes, s->in_count, MPI_BYTE, &message, &s->in.request);
        if (code != MPI_SUCCESS) return SV_WIRE_CLOSED;
    }
    int code = MPI_Test(&s->in.request, &ready, MPI_STATUS_IGNORE);
    *here = ready;
    if (*here) s->in_at = 0;
    return result_of(code);
}

static sv_wire_result mpi_receive(sv_wire *wire, void *bytes, size_t room, size_t *done)
{
    stream *s = wire->stream;
    bool here = s->in.request == MPI_REQUEST_NULL && s->in_at < (size_t)s->in_count;
    sv_wire_result result = here ? SV_WIRE_OK : let_come(s, &here);
    *done = 0;
    if (result || !here) return result;
    const size_t left = (size_t)s->in_count - s->in_at;
    *done = left < room ? left : room;
    memcpy(bytes, s->in.bytes + s->in_at, *done);
    s->in_at += *done;
    return SV_WIRE_OK;
}

static bool mpi_at_rest(sv_wire *wire)
{
    stream *s = wire->stream;
    int all = 1;
    for (size_t i = 0; i < SLOTS; i++) {
        int ready = 1;
        if (MPI_Test(&s->out[i].request, &ready, MPI_STATUS_IGNORE) == MPI_SUCCESS) all = all && ready;
    }
    return all; /* after an error: the next send says so */
}

/* MPI cannot be slept on together with a clock; a short sleep leaves the core to who computes. */
static void mpi_wait(sv_wire *out, sv_wire *in)
{
    (void)out, (void)in;
    nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
}

/* Where a rank is lost requests may hang for ever: their rooms are left to the end of the process. */
static void mpi_close(sv_wire *wire)
{
    stream *s = wire->stream;
    if (!s) return;
    bool pending = s->in.request != MPI_REQUEST_NULL;
    for (size_t i = 0; i < SLOTS; i++) pending = pending || s->out[i].request != MPI_REQUEST_NULL;
    if (pending) return;
    for (size_t i = 0; i < SLOTS; i++) sv_free(s->out[i].bytes);
    sv_free(s->in.bytes);
    sv_free(s);
}

static const sv_carrier carrier = { "MPI", mpi_send, mpi_receive, mpi_at_rest, mpi_wait, mpi_close };

sv_status sv_mpi_wire(sv_comm *comm, sv_link *link, sv_error *err)
{
    stream *s = NULL;
    sv_status status = sv_alloc_zero(&s, sizeof *s, "ranks", err);
    if (status) return status;
    s->peer = (int)link->rank;
    s->in.request = MPI_REQUEST_NULL;
    status = sv_alloc(&s->in.bytes, CHUNK, "ranks", err);
    for (size_t i = 0; i < SLOTS; i++) s->out[i].request = MPI_REQUEST_NULL;
    for (size_t i = 0; !status && i < SLOTS; i++) status = sv_alloc(&s->out[i].bytes, CHUNK, "ranks", err);
    if (!status) return sv_wire_open_on(&link->data, &carrier, -1, s, sv_comm_wait(comm), err);
    for (size_t i = 0; i < SLOTS; i++) sv_free(s->out[i].bytes);
    sv_free(s->in.bytes);
    sv_free(s);
    return status;
}

/* ---- the watch, which MPI tells where to meet ----------------------------------------------------------------------- */

enum { ADDRESSES = 16 };
typedef struct place {
    char host[256], at[ADDRESSES][INET_ADDRSTRLEN];
    uint16_t port;
    int32_t failed;
} place;

static void list_addresses(place *own)
{
    struct ifaddrs *all = NULL;
    size_t count = 0;
    if (getifaddrs(&all)) return;
    for (struct ifaddrs *one = all; one && count < ADDRESSES; one = one->ifa_next)
        if (one->ifa_addr && one->ifa_addr->sa_family == AF_INET && !(one->ifa_flags & IFF_LOOPBACK))
            inet_ntop(AF_INET, &((struct sockaddr_in *)one->ifa_addr)->sin_addr, own->at[count++], INET_ADDRSTRLEN);
    freeifaddrs(all);
}

/* Whether a rank that is elsewhere gets through at an address; the first that answers is taken. */
static bool answers(const sv_address *at)
{
    struct timeval limit = { 3, 0 };
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return false;
    (void)setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    bool well = connect(descriptor, (const struct sockaddr *)&at->bytes, at->length) == 0;
    close(descriptor);
    return well;
}

static sv_status call_watch(sv_comm *comm, const place *lead, sv_error *err)
{
    char host[256] = "", name[300];
    sv_address at;
    (void)gethostname(host, sizeof host - 1);
    const bool same = strcmp(host, lead->host) == 0;
    for (size_t i = 0; i < (same ? 1 : ADDRESSES) && (same || lead->at[i][0]); i++) {
        snprintf(name, sizeof name, "%s:%u", same ? "127.0.0.1" : lead->at[i], lead->port);
        sv_status status = sv_meet_find(&at, name, err);
        if (status) return status;
        if (same || answers(&at)) return sv_meet_call(comm, &at, name, SV_FOR_WATCH, &comm->links[0], err);
    }
    return sv_fail(err, SV_USAGE,
                   "rank %zu on %s gets through to rank 0 on %s by MPI but not by TCP (port %u), which the watch over ranks needs",
                   comm->rank, host, lead->host, lead->port);
}

/* Rank 0 listens on all its addresses before MPI tells the others the port. */
static sv_status meet_for_watch(sv_comm *comm, sv_error *err)
{
    sv_address any = { .length = sizeof(struct sockaddr_in) };
    place lead = { .host = "" };
    int listener = -1;
    sv_status status = SV_OK;
    any.bytes.ss_family = AF_INET;
    if (!comm->rank) {
        (void)gethostname(lead.host, sizeof lead.host - 1);
        list_addresses(&lead);
        status = sv_meet_listen(&listener, &any, "a free port", err);
        lead.port = ntohs(((struct sockaddr_in *)&any.bytes)->sin_port);
        lead.failed = status != SV_OK;
        comm->token = sv_hash((uint64_t)(1e9 * sv_now_seconds()), &comm, sizeof comm);
    }
    if (MPI_Bcast(&lead, sizeof lead, MPI_BYTE, 0, MPI_COMM_WORLD) != MPI_SUCCESS
        || MPI_Bcast(&comm->token, sizeof comm->token, MPI_BYTE, 0, MPI_COMM_WORLD) != MPI_SUCCESS)
        status = sv_fail(err, SV_FAULT, "MPI cannot broadcast");
    else if (lead.failed && comm->rank)
        status = sv_fail(err, SV_USAGE, "rank 0 cannot listen for the watch over ranks");
    if (!status) status = comm->rank ? call_watch(comm, &lead, err) : sv_meet_accept(comm, listener, "the port for the watch", err);
    if (listener >= 0) close(listener);
    return status;
}

/* ---- begin and end ------------------------------------------------------------------------------------------------ */

/* Where a rank is lost MPI_Finalize would wait for it: the process ends without it, and the launcher ends what is left. */
static void leave(bool well)
{
    if (well) MPI_Finalize();
}

/* The step's thread and the one that trades gradients call in turn, never at once: SERIALIZED. */
static sv_status start_mpi(int *rank, int *ranks, sv_error *err)
{
    int provided = 0;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS) return sv_fail(err, SV_FAULT, "MPI does not start");
    if (provided < MPI_THREAD_SERIALIZED)
        return sv_fail(err, SV_USAGE, "this MPI gives thread level %d; expected MPI_THREAD_SERIALIZED (%d)", provided,
                       MPI_THREAD_SERIALIZED);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (MPI_Comm_rank(MPI_COMM_WORLD, rank) != MPI_SUCCESS || MPI_Comm_size(MPI_COMM_WORLD, ranks) != MPI_SUCCESS)
        return sv_fail(err, SV_FAULT, "MPI does not say how many ranks there are");
    return SV_OK;
}

sv_status sv_comm_mpi(sv_comm **out, double timeout, sv_error *err)
{
    sv_comm *comm = NULL;
    int rank = 0, ranks = 0;
    sv_status status = start_mpi(&rank, &ranks, err);
    if (!status) status = sv_comm_new(&comm, (size_t)rank, (size_t)ranks, timeout, err);
    if (status) return status;
    comm->mpi = true;
    comm->leave = leave;
    for (size_t i = 0; !status && i < comm->link_count; i++) status = sv_mpi_wire(comm, &comm->links[i], err);
    if (!status) status = meet_for_watch(comm, err);
    if (!status) status = sv_meet_begin(comm, err);
    if (status) {
        comm->leave = NULL;
        sv_comm_close(comm);
    } else {
        *out = comm;
    }
    return status;
}

#endif
