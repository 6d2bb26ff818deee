/* The stream under sv_comm: whole messages, each checked, with an eye on the clock and on the rest of the run. */
#include "base/fault.h"
#include "comm/wire.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

static const uint32_t MAGIC = 0x4b525653; /* "SVRK" where bytes go up from the lowest */
enum { LOOK_MS = 20 };                    /* how often a wait looks up: what a lost rank costs the others beyond the notice itself */

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

sv_status sv_wire_open(sv_wire *wire, int descriptor, sv_wire_wait wait, sv_error *err)
{
    *wire = (sv_wire){ .descriptor = descriptor, .wait = wait };
    int flags = fcntl(descriptor, F_GETFL);
    sv_status status = SV_OK;
    if (flags < 0 || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0)
        status = sv_fail(err, SV_FAULT, "a connection between ranks cannot be set up: %s", strerror(errno));
    if (!status) status = sv_alloc(&wire->out, SV_WIRE_ROOM, "ranks", err);
    if (!status) status = sv_alloc(&wire->in, SV_WIRE_ROOM, "ranks", err);
    if (status) sv_wire_close(wire);
    return status;
}

void sv_wire_close(sv_wire *wire)
{
    if (wire->descriptor >= 0) close(wire->descriptor);
    sv_free(wire->out);
    sv_free(wire->in);
    *wire = (sv_wire){ .descriptor = -1 };
}

/* ---- bytes -------------------------------------------------------------------------------------------------------- */

static sv_wire_result wait_for(const sv_wire *wire, short events, double since)
{
    for (;;) {
        struct pollfd look = { wire->descriptor, events, 0 };
        int ready = poll(&look, 1, LOOK_MS);
        if (ready > 0) return SV_WIRE_OK; /* an error or hang-up too: the next call of send or recv tells */
        if (ready < 0 && errno != EINTR) return SV_WIRE_CLOSED;
        if (wire->wait.stop && wire->wait.stop(wire->wait.context)) return SV_WIRE_STOPPED;
        if (wire->wait.seconds > 0 && sv_now_seconds() - since > wire->wait.seconds) return SV_WIRE_LATE;
    }
}

static bool would_wait(void) { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

static sv_wire_result write_all(sv_wire *wire, const unsigned char *bytes, size_t count)
{
    double since = sv_now_seconds();
    while (count) {
        ssize_t done = -1;
        if (sv_fault_here(SV_FAULT_SEND)) errno = EPIPE;
        else done = send(wire->descriptor, bytes, count, MSG_NOSIGNAL);
        if (done > 0) {
            bytes += done;
            count -= (size_t)done;
            since = sv_now_seconds();
            continue;
        }
        if (done == 0 || !would_wait()) return SV_WIRE_CLOSED;
        sv_wire_result result = wait_for(wire, POLLOUT, since);
        if (result) return result;
    }
    return SV_WIRE_OK;
}

/* At least one byte, at most `room`. */
static sv_wire_result read_some(sv_wire *wire, unsigned char *bytes, size_t room, size_t *count)
{
    double since = sv_now_seconds();
    for (;;) {
        ssize_t done = -1;
        if (sv_fault_here(SV_FAULT_RECEIVE)) errno = ECONNRESET;
        else done = recv(wire->descriptor, bytes, room, 0);
        if (done > 0) return *count = (size_t)done, SV_WIRE_OK;
        if (done == 0 || !would_wait()) return SV_WIRE_CLOSED;
        sv_wire_result result = wait_for(wire, POLLIN, since);
        if (result) return result;
    }
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

static uint32_t sum_of(uint32_t before, const void *bytes, size_t count) { return (uint32_t)crc32_z(before, bytes, count); }

static head make_head(sv_wire_kind kind, uint32_t number, uint64_t length)
{
    head h = { .magic = MAGIC, .version = SV_WIRE_VERSION, .kind = (uint16_t)kind, .number = number, .length = length };
    h.check = sum_of(0, &h, sizeof h);
    return h;
}

sv_wire_result sv_wire_begin(sv_wire *wire, sv_wire_kind kind, uint64_t length)
{
    const head h = make_head(kind, wire->sent++, length);
    wire->check = 0;
    wire->left = length;
    return write_buffered(wire, &h, sizeof h);
}

sv_wire_result sv_wire_put(sv_wire *wire, const void *bytes, size_t count)
{
    assert(count <= wire->left && "no more is put than was said");
    wire->left -= count;
    wire->check = sum_of(wire->check, bytes, count);
    return write_buffered(wire, bytes, count);
}

sv_wire_result sv_wire_end(sv_wire *wire)
{
    assert(!wire->left && "all that was said is put");
    sv_wire_result result = write_buffered(wire, &wire->check, sizeof wire->check);
    return result ? result : flush(wire);
}

sv_wire_result sv_wire_expect(sv_wire *wire, sv_wire_kind kind, uint64_t length)
{
    head h, wanted = make_head(kind, wire->received++, length);
    sv_wire_result result = read_buffered(wire, &h, sizeof h);
    if (result) return result;
    uint32_t check = h.check;
    h.check = 0;
    if (h.magic != MAGIC || h.version != SV_WIRE_VERSION || check != sum_of(0, &h, sizeof h)) return SV_WIRE_FOREIGN;
    if (h.kind != wanted.kind || h.number != wanted.number || h.length != wanted.length) return SV_WIRE_UNEXPECTED;
    wire->check = 0;
    wire->left = length;
    return SV_WIRE_OK;
}

sv_wire_result sv_wire_take(sv_wire *wire, void *bytes, size_t count)
{
    assert(count <= wire->left && "no more is taken than was said");
    sv_wire_result result = read_buffered(wire, bytes, count);
    if (result) return result;
    wire->left -= count;
    wire->check = sum_of(wire->check, bytes, count);
    return SV_WIRE_OK;
}

sv_wire_result sv_wire_finish(sv_wire *wire)
{
    uint32_t check = 0;
    assert(!wire->left && "all that was said is taken");
    sv_wire_result result = read_buffered(wire, &check, sizeof check);
    return result ? result : check == wire->check ? SV_WIRE_OK : SV_WIRE_DAMAGED;
}
