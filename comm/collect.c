/* What all ranks do together, on links to rank 0. Blocks go straight from and to the caller's memory. */
#include "comm/carrier.h"

#include <string.h>

size_t sv_comm_rank(const sv_comm *comm) { return comm ? comm->rank : 0; }
size_t sv_comm_ranks(const sv_comm *comm) { return comm ? comm->ranks : 1; }
bool sv_comm_forked(const sv_comm *comm) { return comm && comm->forked; }
bool sv_comm_lost(const sv_comm *comm) { return comm && atomic_load(&comm->lost); }

sv_link *sv_comm_link(sv_comm *comm, size_t rank)
{
    for (size_t i = 0; i < comm->link_count; i++)
        if (comm->links[i].rank == rank) return &comm->links[i];
    for (size_t i = 0; i < comm->mesh_count; i++)
        if (comm->mesh[i].rank == rank) return &comm->mesh[i];
    return NULL;
}

long sv_comm_process(const sv_comm *comm, size_t rank)
{
    for (size_t i = 0; comm && i < comm->link_count; i++)
        if (comm->links[i].rank == rank) return comm->links[i].process;
    return 0;
}

/* ---- one message -------------------------------------------------------------------------------------------------- */

typedef struct items {
    unsigned char *base;
    size_t stride, bytes, count;
} items;

static bool dense(const items *all) { return all->stride == all->bytes; }

static sv_status give(sv_comm *comm, sv_link *link, sv_wire_kind kind, const items *all, sv_error *err)
{
    sv_wire *wire = &link->data;
    sv_wire_result result = sv_comm_lost(comm) ? SV_WIRE_STOPPED : sv_wire_begin(wire, kind, (uint64_t)all->bytes * all->count);
    if (!result && dense(all)) result = sv_wire_put(wire, all->base, all->bytes * all->count);
    for (size_t i = 0; !dense(all) && !result && i < all->count; i++) result = sv_wire_put(wire, all->base + i * all->stride, all->bytes);
    if (!result) result = sv_wire_end(wire);
    return result ? sv_watch_verdict(comm, link, result, err) : SV_OK;
}

static sv_status get(sv_comm *comm, sv_link *link, sv_wire_kind kind, const items *all, sv_error *err)
{
    sv_wire *wire = &link->data;
    sv_wire_result result = sv_comm_lost(comm) ? SV_WIRE_STOPPED : sv_wire_expect(wire, kind, (uint64_t)all->bytes * all->count);
    if (!result && dense(all)) result = sv_wire_take(wire, all->base, all->bytes * all->count);
    for (size_t i = 0; !dense(all) && !result && i < all->count; i++) result = sv_wire_take(wire, all->base + i * all->stride, all->bytes);
    if (!result) result = sv_wire_finish(wire);
    return result ? sv_watch_verdict(comm, link, result, err) : SV_OK;
}

/* ---- collectives -------------------------------------------------------------------------------------------------- */

static sv_status spread(sv_comm *comm, sv_wire_kind kind, const items *all, sv_error *err)
{
    sv_status status = SV_OK;
    if (comm->rank) return get(comm, &comm->links[0], kind, all, err);
    for (size_t i = 0; !status && i < comm->link_count; i++) status = give(comm, &comm->links[i], kind, all, err);
    return status;
}

sv_status sv_comm_broadcast(sv_comm *comm, void *block, size_t bytes, sv_error *err)
{
    const items all = { block, bytes, bytes, 1 };
    return comm ? spread(comm, SV_WIRE_BLOCK, &all, err) : SV_OK;
}

static items part_of(void *base, size_t stride, size_t bytes, const size_t *first, size_t rank)
{
    return (items){ (unsigned char *)base + first[rank] * stride, stride, bytes, first[rank + 1] - first[rank] };
}

sv_status sv_comm_gather(sv_comm *comm, void *base, size_t stride, size_t bytes, const size_t *first, bool to_all, sv_error *err)
{
    sv_status status = SV_OK;
    if (!comm) return SV_OK;
    if (comm->rank) {
        const items own = part_of(base, stride, bytes, first, comm->rank);
        status = give(comm, &comm->links[0], SV_WIRE_ROWS, &own, err);
    }
    for (size_t i = 0; !comm->rank && !status && i < comm->link_count; i++) {
        const items theirs = part_of(base, stride, bytes, first, comm->links[i].rank);
        status = get(comm, &comm->links[i], SV_WIRE_ROWS, &theirs, err);
    }
    const items all = { (unsigned char *)base + first[0] * stride, stride, bytes, first[comm->ranks] - first[0] };
    return status || !to_all ? status : spread(comm, SV_WIRE_ROWS, &all, err);
}

sv_status sv_comm_barrier(sv_comm *comm, sv_error *err)
{
    const items none = { NULL, 0, 0, 0 };
    sv_status status = SV_OK;
    if (!comm) return SV_OK;
    if (comm->rank) status = give(comm, &comm->links[0], SV_WIRE_MEET, &none, err);
    for (size_t i = 0; !comm->rank && !status && i < comm->link_count; i++) status = get(comm, &comm->links[i], SV_WIRE_MEET, &none, err);
    return status ? status : spread(comm, SV_WIRE_MEET, &none, err);
}

static sv_status add_from(sv_comm *comm, sv_link *link, sv_real *sum, sv_real *room, size_t count, sv_error *err)
{
    const items theirs = { (unsigned char *)room, count * sizeof *room, count * sizeof *room, 1 };
    sv_status status = get(comm, link, SV_WIRE_ROWS, &theirs, err);
    for (size_t i = 0; !status && i < count; i++) sum[i] += room[i];
    return status;
}

/* In pieces, so that rank 0 needs little room beside the block. */
sv_status sv_comm_sum(sv_comm *comm, sv_real *block, size_t count, sv_error *err)
{
    enum { PIECE = 1 << 18 };
    sv_real *room = NULL;
    sv_status status = SV_OK;
    if (!comm) return SV_OK;
    if (!comm->rank) status = sv_alloc(&room, (count < PIECE ? count : PIECE) * sizeof *room, "ranks", err);
    for (size_t at = 0; !status && at < count; at += PIECE) {
        const size_t piece = count - at < PIECE ? count - at : PIECE;
        const items own = { (unsigned char *)(block + at), piece * sizeof *block, piece * sizeof *block, 1 };
        if (comm->rank) status = give(comm, &comm->links[0], SV_WIRE_ROWS, &own, err);
        for (size_t i = 0; !comm->rank && !status && i < comm->link_count; i++)
            status = add_from(comm, &comm->links[i], block + at, room, piece, err);
        if (!status) status = spread(comm, SV_WIRE_BLOCK, &own, err);
    }
    sv_free(room);
    return status;
}

static sv_status no_link(const sv_comm *comm, size_t rank, sv_error *err)
{
    return sv_fail(err, SV_FAULT, "rank %zu has no connection to rank %zu: one of the two must be rank 0", sv_comm_rank(comm), rank);
}

sv_status sv_comm_send(sv_comm *comm, size_t to, const void *block, size_t bytes, sv_error *err)
{
    sv_link *link = comm ? sv_comm_link(comm, to) : NULL;
    const items all = { (unsigned char *)(uintptr_t)block, bytes, bytes, 1 };
    return link ? give(comm, link, SV_WIRE_PAIR, &all, err) : no_link(comm, to, err);
}

sv_status sv_comm_receive(sv_comm *comm, size_t from, void *block, size_t bytes, sv_error *err)
{
    sv_link *link = comm ? sv_comm_link(comm, from) : NULL;
    const items all = { block, bytes, bytes, 1 };
    return link ? get(comm, link, SV_WIRE_PAIR, &all, err) : no_link(comm, from, err);
}

/* ---- hash --------------------------------------------------------------------------------------------------------- */

static uint64_t stir(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9fb21c651e98df25u;
    return hash ^ hash >> 32;
}

/* Four streams of words side by side, so that a large block goes at the speed of memory; what is left goes into the first. */
uint64_t sv_hash(uint64_t seed, const void *bytes, size_t count)
{
    const unsigned char *at = bytes;
    uint64_t lanes[4] = { seed ^ count, seed + 1, seed + 2, seed + 3 }, word[4];
    for (; count >= sizeof word; count -= sizeof word, at += sizeof word) {
        memcpy(word, at, sizeof word);
        for (size_t i = 0; i < 4; i++) lanes[i] = stir(lanes[i], word[i]);
    }
    for (; count; count--, at++) lanes[0] = stir(lanes[0], *at);
    return stir(stir(stir(lanes[0], lanes[1]), lanes[2]), lanes[3]);
}
