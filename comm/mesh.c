/* Ranks that talk past rank 0. Each rank but 0 listens at an address of its own (that of its connection to rank 0, or one without a name for forked
 * ranks), all are told all addresses, and each calls the lower ones. Then slices of a block go straight to who adds them. */
#include "comm/carrier.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static sv_status make_links(sv_comm *comm, sv_error *err)
{
    sv_status status = sv_alloc_zero(&comm->mesh, comm->ranks * sizeof *comm->mesh, "ranks", err);
    for (size_t r = 1; !status && comm->rank && r < comm->ranks; r++)
        if (r != comm->rank) comm->mesh[comm->mesh_count++] = (sv_link){ .rank = r, .data.descriptor = -1, .alive = -1 };
    return status;
}

static sv_status call_lower(sv_comm *comm, const sv_address *all, sv_error *err)
{
    sv_status status = SV_OK;
    for (size_t i = 0; !status && i < comm->mesh_count; i++)
        if (comm->mesh[i].rank < comm->rank)
            status = sv_meet_call(comm, &all[comm->mesh[i].rank], "its address in the mesh", SV_FOR_DATA, &comm->mesh[i], err);
    return status;
}

/* The address of the connection to rank 0, with a port or name that the system chooses. */
static sv_address own_address(const sv_comm *comm)
{
    sv_address at = { .length = sizeof at.bytes };
    (void)getsockname(comm->links[0].data.descriptor, (struct sockaddr *)&at.bytes, &at.length);
    if (at.bytes.ss_family == AF_UNIX) at.length = sizeof(sa_family_t);
    if (at.bytes.ss_family == AF_INET) ((struct sockaddr_in *)&at.bytes)->sin_port = 0;
    if (at.bytes.ss_family == AF_INET6) ((struct sockaddr_in6 *)&at.bytes)->sin6_port = 0;
    return at;
}

static sv_status join_sockets(sv_comm *comm, sv_error *err)
{
    sv_address all[SV_RANKS_MOST];
    size_t first[SV_RANKS_MOST + 1];
    int listener = -1;
    sv_status status = SV_OK;
    memset(all, 0, sizeof all);
    for (size_t r = 0; r <= comm->ranks; r++) first[r] = r;
    if (comm->rank) {
        all[comm->rank] = own_address(comm);
        status = sv_meet_listen(&listener, &all[comm->rank], "an address for the mesh of ranks", err);
    }
    if (!status) status = sv_comm_gather(comm, all, sizeof *all, sizeof *all, first, true, err);
    if (!status) status = call_lower(comm, all, err);
    if (!status && comm->rank) status = sv_meet_accept(comm, listener, "the mesh of ranks", err);
    if (listener >= 0) close(listener);
    return status;
}

sv_status sv_comm_mesh(sv_comm *comm, sv_error *err)
{
    if (!comm || comm->mesh || comm->ranks < 3) return SV_OK;
    uint64_t token = sv_hash((uint64_t)(1e9 * sv_now_seconds()), &comm, sizeof comm);
    sv_status status = sv_comm_broadcast(comm, &token, sizeof token, err);
    comm->token = token;
    if (!status) status = make_links(comm, err);
    for (size_t i = 0; !status && comm->mpi && i < comm->mesh_count; i++) status = sv_mpi_wire(comm, &comm->mesh[i], err);
    if (!status && !comm->mpi) status = join_sockets(comm, err);
    return status ? status : sv_comm_barrier(comm, err);
}

/* In round k each rank sends to the k-th behind it and receives from the k-th before it: all wires carry something, none too much. */
sv_status sv_comm_trade(sv_comm *comm, const sv_comm_items *out, const sv_comm_items *in, sv_error *err)
{
    sv_status status = SV_OK;
    for (size_t k = 1; comm && !status && k < comm->ranks; k++) {
        sv_link *to = sv_comm_link(comm, (comm->rank + k) % comm->ranks),
                *from = sv_comm_link(comm, (comm->rank + comm->ranks - k) % comm->ranks);
        if (!to || !from) return sv_fail(err, SV_FAULT, "ranks trade without a mesh");
        const sv_comm_items *give = &out[to->rank], *get = &in[from->rank];
        const sv_wire_items gives = { give->base, give->stride, give->bytes, give->count },
                            gets = { get->base, get->stride, get->bytes, get->count };
        sv_wire *failed = NULL;
        sv_wire_result result = sv_comm_lost(comm) ? SV_WIRE_STOPPED : SV_WIRE_OK;
        if (!result) result = sv_wire_trade(&to->data, &gives, &from->data, &gets, SV_WIRE_SLICE, &failed);
        if (result) status = sv_watch_verdict(comm, failed == &to->data ? to : from, result, err);
    }
    return status;
}
