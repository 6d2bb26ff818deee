/* The stream under sv_comm: whole messages, each checked, with an eye on the clock and on the rest of the run. */
#include "base/fault.h"
#include "comm/wire.h"

#include <assert.h>
#include <string.h>
#include <zlib.h>

static const uint32_t MAGIC = 0x4b525653; /* "SVRK" where bytes go up from the lowest */

const char *sv_wire_says(sv_wire_result result)
{
    static const char *const words[] = {
        "is well",
        "closed the connection",
        "has not moved a byte for too long",
        "was not waited for",
        "does not speak this protocol (another version of Sieve, another byte order, or another program)",
        "is at another place of the run",
        "sent bytes that do not have their check sum",
    };
    return words[result];
}

sv_status sv_wire_open_on(sv_wire *wire, const sv_carrier *carrier, int descriptor, void *stream, sv_wire_wait wait, sv_error *err)
{
    *wire = (sv_wire){ .carrier = carrier, .descriptor = descriptor, .stream = stream, .wait = wait };
    sv_status status = sv_alloc(&wire->out, SV_WIRE_ROOM, "ranks", err);
    if (!status) status = sv_alloc(&wire->in, SV_WIRE_ROOM, "ranks", err);
    if (status) sv_wire_close(wire);
    return status;
}

bool sv_wire_is_open(const sv_wire *wire) { return wire->descriptor >= 0 || wire->stream; }

void sv_wire_close(sv_wire *wire)
{
    if (wire->carrier) wire->carrier->close(wire);
    sv_free(wire->out);
    sv_free(wire->in);
    *wire = (sv_wire){ .descriptor = -1 };
}

/* ---- bytes -------------------------------------------------------------------------------------------------------- */

sv_wire_result sv_wire_look(sv_wire *out, sv_wire *in, double since)
{
    const sv_wire *wire = in ? in : out;
    wire->carrier->wait(out, in);
    if (wire->wait.stop && wire->wait.stop(wire->wait.context)) return SV_WIRE_STOPPED;
    return wire->wait.seconds > 0 && sv_now_seconds() - since > wire->wait.seconds ? SV_WIRE_LATE : SV_WIRE_OK;
}

sv_wire_result sv_carry_out(sv_wire *wire, const void *bytes, size_t count, size_t *done)
{
    if (sv_fault_here(SV_FAULT_SEND)) return SV_WIRE_CLOSED;
    return wire->carrier->send(wire, bytes, count, done);
}

sv_wire_result sv_carry_in(sv_wire *wire, void *bytes, size_t room, size_t *count)
{
    if (sv_fault_here(SV_FAULT_RECEIVE)) return SV_WIRE_CLOSED;
    return wire->carrier->receive(wire, bytes, room, count);
}

static sv_wire_result write_all(sv_wire *wire, const unsigned char *bytes, size_t count)
{
    double since = sv_now_seconds();
    while (count) {
        size_t done = 0;
        sv_wire_result result = sv_carry_out(wire, bytes, count, &done);
        bytes += done;
        count -= done;
        if (done) since = sv_now_seconds();
        if (!result && !done) result = sv_wire_look(wire, NULL, since);
        if (result) return result;
    }
    return SV_WIRE_OK;
}

static sv_wire_result come_to_rest(sv_wire *wire)
{
    const double since = sv_now_seconds();
    sv_wire_result result = SV_WIRE_OK;
    while (!result && !wire->carrier->at_rest(wire)) result = sv_wire_look(wire, NULL, since);
    return result;
}

/* At least one byte, at most `room`. */
static sv_wire_result read_some(sv_wire *wire, unsigned char *bytes, size_t room, size_t *count)
{
    const double since = sv_now_seconds();
    sv_wire_result result = SV_WIRE_OK;
    for (*count = 0; !result && !*count;) {
        result = sv_carry_in(wire, bytes, room, count);
        if (!result && !*count) result = sv_wire_look(NULL, wire, since);
    }
    return result;
}

static sv_wire_result flush(sv_wire *wire)
{
    size_t count = wire->out_count;
    wire->out_count = 0;
    return write_all(wire, wire->out, count);
}

/* Large pieces go past the buffer. */
static sv_wire_result write_buffered(sv_wire *wire, const void *bytes, size_t count)
{
    sv_wire_result result = SV_WIRE_OK;
    if (count > SV_WIRE_ROOM - wire->out_count) result = flush(wire);
    if (result || !count) return result;
    if (count >= SV_WIRE_ROOM) return write_all(wire, bytes, count);
    memcpy(wire->out + wire->out_count, bytes, count);
    wire->out_count += count;
    return SV_WIRE_OK;
}

static sv_wire_result read_buffered(sv_wire *wire, void *to, size_t count)
{
    unsigned char *bytes = to;
    while (count) {
        size_t have = wire->in_count - wire->in_at, done = have < count ? have : count;
        sv_wire_result result = SV_WIRE_OK;
        if (have) {
            memcpy(bytes, wire->in + wire->in_at, done);
            wire->in_at += done;
        } else if (count >= SV_WIRE_ROOM) {
            result = read_some(wire, bytes, count, &done);
        } else {
            wire->in_at = wire->in_count = done = 0;
            result = read_some(wire, wire->in, SV_WIRE_ROOM, &wire->in_count);
        }
        if (result) return result;
        bytes += done;
        count -= done;
    }
    return SV_WIRE_OK;
}

/* ---- messages ----------------------------------------------------------------------------------------------------- */

typedef struct head {
    uint32_t magic;
    uint16_t version, kind;
    uint32_t number, check; /* check: of the head with a check of 0 */
    uint64_t length;
} head;
_Static_assert(sizeof(head) == SV_WIRE_HEAD, "the head has no gaps");

uint32_t sv_wire_sum(uint32_t before, const void *bytes, size_t count) { return (uint32_t)crc32_z(before, bytes, count); }

static head make_head(sv_wire_kind kind, uint32_t number, uint64_t length)
{
    head h = { .magic = MAGIC, .version = SV_WIRE_VERSION, .kind = (uint16_t)kind, .number = number, .length = length };
    h.check = sv_wire_sum(0, &h, sizeof h);
    return h;
}

void sv_wire_make_head(sv_wire *wire, unsigned char bytes[SV_WIRE_HEAD], sv_wire_kind kind, uint64_t length)
{
    const head h = make_head(kind, wire->sent++, length);
    memcpy(bytes, &h, sizeof h);
    wire->check_out = 0;
    wire->left_out = length;
}

sv_wire_result sv_wire_judge_head(sv_wire *wire, const unsigned char bytes[SV_WIRE_HEAD], sv_wire_kind kind, uint64_t length)
{
    head h, wanted = make_head(kind, wire->received++, length);
    memcpy(&h, bytes, sizeof h);
    uint32_t check = h.check;
    h.check = 0;
    if (h.magic != MAGIC || h.version != SV_WIRE_VERSION || check != sv_wire_sum(0, &h, sizeof h)) return SV_WIRE_FOREIGN;
    if (h.kind != wanted.kind || h.number != wanted.number || h.length != wanted.length) return SV_WIRE_UNEXPECTED;
    wire->check_in = 0;
    wire->left_in = length;
    return SV_WIRE_OK;
}

sv_wire_result sv_wire_begin(sv_wire *wire, sv_wire_kind kind, uint64_t length)
{
    unsigned char bytes[SV_WIRE_HEAD];
    sv_wire_make_head(wire, bytes, kind, length);
    return write_buffered(wire, bytes, sizeof bytes);
}

sv_wire_result sv_wire_put(sv_wire *wire, const void *bytes, size_t count)
{
    assert(count <= wire->left_out && "no more is put than was said");
    wire->left_out -= count;
    wire->check_out = sv_wire_sum(wire->check_out, bytes, count);
    return write_buffered(wire, bytes, count);
}

sv_wire_result sv_wire_end(sv_wire *wire)
{
    assert(!wire->left_out && "all that was said is put");
    sv_wire_result result = write_buffered(wire, &wire->check_out, sizeof wire->check_out);
    if (!result) result = flush(wire);
    return result ? result : come_to_rest(wire);
}

sv_wire_result sv_wire_expect(sv_wire *wire, sv_wire_kind kind, uint64_t length)
{
    unsigned char bytes[SV_WIRE_HEAD];
    sv_wire_result result = read_buffered(wire, bytes, sizeof bytes);
    return result ? result : sv_wire_judge_head(wire, bytes, kind, length);
}

sv_wire_result sv_wire_take(sv_wire *wire, void *bytes, size_t count)
{
    assert(count <= wire->left_in && "no more is taken than was said");
    sv_wire_result result = read_buffered(wire, bytes, count);
    if (result) return result;
    wire->left_in -= count;
    wire->check_in = sv_wire_sum(wire->check_in, bytes, count);
    return SV_WIRE_OK;
}

sv_wire_result sv_wire_finish(sv_wire *wire)
{
    uint32_t check = 0;
    assert(!wire->left_in && "all that was said is taken");
    sv_wire_result result = read_buffered(wire, &check, sizeof check);
    return result ? result : check == wire->check_in ? SV_WIRE_OK : SV_WIRE_DAMAGED;
}
