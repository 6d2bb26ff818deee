/* A message out and a message in, side by side: each is a small machine that moves what it can and never waits; only when neither moves does the
 * pair wait. The bytes are those of wire.c. */
#include "comm/wire.h"

#include <string.h>

enum { DIRECT = 16384 }; /* pieces from here on go past the buffers */

typedef enum stage { HEAD, PAYLOAD, CHECK, REST, DONE } stage;
typedef struct flow {
    sv_wire *wire; /* NULL: nothing to do */
    sv_wire_items items;
    sv_wire_kind kind;
    size_t item, at;
    stage stage;
    double since; /* when it last moved */
} flow;

static uint64_t length_of(const sv_wire_items *items) { return (uint64_t)items->bytes * items->count; }

static flow begin(sv_wire *wire, const sv_wire_items *items, sv_wire_kind kind)
{
    flow f = { .wire = wire, .kind = kind, .stage = wire ? HEAD : DONE, .since = sv_now_seconds() };
    if (items) f.items = *items;
    return f;
}

/* The rest of the running item; 0 behind the last one. */
static size_t rest_of(flow *f, unsigned char **bytes)
{
    if (f->at == f->items.bytes) f->item++, f->at = 0;
    if (!f->items.bytes || f->item >= f->items.count) return 0;
    *bytes = f->items.base + f->item * f->items.stride + f->at;
    return f->items.bytes - f->at;
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static void buffer(sv_wire *wire, const void *bytes, size_t count)
{
    memcpy(wire->out + wire->out_count, bytes, count);
    wire->out_count += count;
}

/* Items into the buffer, or straight out; *moved stays 0 where nothing could be done. */
static sv_wire_result put_payload(flow *f, size_t *moved)
{
    sv_wire *wire = f->wire;
    sv_wire_result result = SV_WIRE_OK;
    unsigned char *bytes = NULL;
    size_t rest = rest_of(f, &bytes), done = 0;
    if (!rest) return f->stage = CHECK, *moved = 1, SV_WIRE_OK;
    const size_t room = SV_WIRE_ROOM - wire->out_count;
    if (rest < DIRECT && room) {
        done = smaller(rest, room);
        buffer(wire, bytes, done);
    } else if (!wire->out_count) {
        result = sv_carry_out(wire, bytes, rest, &done);
    }
    wire->check_out = sv_wire_sum(wire->check_out, bytes, done);
    wire->left_out -= done;
    f->at += done;
    *moved = done;
    return result;
}

static sv_wire_result send_buffered(sv_wire *wire, size_t *moved)
{
    sv_wire_result result = sv_carry_out(wire, wire->out + wire->out_at, wire->out_count - wire->out_at, moved);
    wire->out_at += *moved;
    if (wire->out_at == wire->out_count) wire->out_at = wire->out_count = 0;
    return result;
}

static sv_wire_result push(flow *f, size_t *moved)
{
    sv_wire *wire = f->wire;
    unsigned char head[SV_WIRE_HEAD];
    sv_wire_result result = SV_WIRE_OK;
    *moved = 0;
    if (f->stage == HEAD) {
        sv_wire_make_head(wire, head, f->kind, length_of(&f->items));
        buffer(wire, head, sizeof head); /* the last message left the buffer empty */
        f->stage = PAYLOAD;
    }
    if (f->stage == PAYLOAD) result = put_payload(f, moved);
    if (result || *moved) return result;
    if (f->stage == CHECK && wire->out_count + sizeof wire->check_out <= SV_WIRE_ROOM) {
        buffer(wire, &wire->check_out, sizeof wire->check_out);
        f->stage = REST;
    }
    if (wire->out_count) return send_buffered(wire, moved);
    if (f->stage == REST && wire->carrier->at_rest(wire)) f->stage = DONE, *moved = 1;
    return SV_WIRE_OK;
}

/* `count` bytes from the buffer, which is filled as far as possible before; false: not yet. */
static bool take(sv_wire *wire, void *to, size_t count, sv_wire_result *result)
{
    size_t done = 0;
    if (wire->in_count - wire->in_at < count) {
        memmove(wire->in, wire->in + wire->in_at, wire->in_count - wire->in_at);
        wire->in_count -= wire->in_at;
        wire->in_at = 0;
        *result = sv_carry_in(wire, wire->in + wire->in_count, SV_WIRE_ROOM - wire->in_count, &done);
        wire->in_count += done;
    }
    if (wire->in_count - wire->in_at < count) return false;
    memcpy(to, wire->in + wire->in_at, count);
    wire->in_at += count;
    return true;
}

static sv_wire_result take_payload(flow *f, size_t *moved)
{
    sv_wire *wire = f->wire;
    sv_wire_result result = SV_WIRE_OK;
    unsigned char *bytes = NULL;
    size_t rest = rest_of(f, &bytes), have = wire->in_count - wire->in_at, done = smaller(rest, have);
    if (!rest) return f->stage = CHECK, *moved = 1, SV_WIRE_OK;
    if (have) {
        memcpy(bytes, wire->in + wire->in_at, done);
        wire->in_at += done;
    } else if (rest >= DIRECT) {
        result = sv_carry_in(wire, bytes, rest, &done);
    } else {
        wire->in_at = 0;
        result = sv_carry_in(wire, wire->in, SV_WIRE_ROOM, &wire->in_count);
        *moved = wire->in_count;
        return result;
    }
    wire->check_in = sv_wire_sum(wire->check_in, bytes, done);
    wire->left_in -= done;
    f->at += done;
    *moved = done;
    return result;
}

static sv_wire_result pull(flow *f, size_t *moved)
{
    sv_wire *wire = f->wire;
    unsigned char head[SV_WIRE_HEAD];
    uint32_t check = 0;
    sv_wire_result result = SV_WIRE_OK;
    *moved = 0;
    if (f->stage == PAYLOAD) return take_payload(f, moved);
    if (f->stage == HEAD && take(wire, head, sizeof head, &result)) {
        result = sv_wire_judge_head(wire, head, f->kind, length_of(&f->items));
        f->stage = PAYLOAD;
        *moved = sizeof head;
    } else if (f->stage == CHECK && take(wire, &check, sizeof check, &result)) {
        result = check == wire->check_in ? SV_WIRE_OK : SV_WIRE_DAMAGED;
        f->stage = DONE;
        *moved = sizeof check;
    }
    return result;
}

static sv_wire_result advance(flow *f, sv_wire_result (*step)(flow *, size_t *), bool *any)
{
    sv_wire_result result = SV_WIRE_OK;
    for (size_t moved = 1; !result && moved && f->stage != DONE;) {
        result = step(f, &moved);
        if (!moved) break;
        *any = true;
        f->since = sv_now_seconds();
        if (moved >= DIRECT) break; /* the other way's turn */
    }
    return result;
}

sv_wire_result sv_wire_trade(sv_wire *to, const sv_wire_items *out, sv_wire *from, const sv_wire_items *in, sv_wire_kind kind,
                             sv_wire **failed)
{
    flow sending = begin(to, out, kind), receiving = begin(from, in, kind);
    sv_wire_result result = SV_WIRE_OK;
    while (!result && (sending.stage != DONE || receiving.stage != DONE)) {
        bool any = false;
        *failed = to;
        result = advance(&sending, push, &any);
        if (result) break;
        *failed = from;
        result = advance(&receiving, pull, &any);
        if (result || any) continue;
        *failed = receiving.stage != DONE ? from : to; /* who is waited for */
        result = sv_wire_look(sending.stage != DONE ? to : NULL, receiving.stage != DONE ? from : NULL,
                              receiving.stage != DONE ? receiving.since : sending.since);
    }
    return result;
}
