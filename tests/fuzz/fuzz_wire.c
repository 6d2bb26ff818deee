/* A stream of any bytes that claims to come from another rank: receiving a message of 100 bytes, then one of 70000, ends; it gives a message only where
 * the bytes are one; it allocates nothing and reads no more than it expects, whatever lengths the stream names. */
#include "comm/wire.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void need(bool holds)
{
    if (!holds) abort();
}

static sv_wire_result receive(sv_wire *wire, unsigned char *room, size_t count)
{
    sv_wire_result result = sv_wire_expect(wire, SV_WIRE_BLOCK, count);
    if (!result) result = sv_wire_take(wire, room, count);
    return result ? result : sv_wire_finish(wire);
}

/* What was received, written again, must be the bytes that came. */
static void compare(const unsigned char *room, size_t count, const uint8_t *data)
{
    int pair[2];
    sv_wire wire;
    unsigned char again[SV_WIRE_HEAD + 100 + 4];
    need(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    need(sv_wire_open(&wire, pair[0], (sv_wire_wait){ .seconds = 1 }, NULL) == SV_OK);
    need(sv_wire_begin(&wire, SV_WIRE_BLOCK, count) == SV_WIRE_OK && sv_wire_put(&wire, room, count) == SV_WIRE_OK
         && sv_wire_end(&wire) == SV_WIRE_OK);
    need(read(pair[1], again, sizeof again) == sizeof again);
    need(memcmp(again, data, sizeof again) == 0);
    sv_wire_close(&wire);
    close(pair[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char room[70000];
    int pair[2];
    sv_wire wire;
    if (size > 100000) return 0; /* the socket's buffer holds it: nobody needs to read meanwhile */
    need(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    need(sv_wire_open(&wire, pair[0], (sv_wire_wait){ .seconds = 1 }, NULL) == SV_OK);
    need(size == 0 || write(pair[1], data, size) == (ssize_t)size);
    close(pair[1]);
    const size_t allocations = sv_memory_now().allocations;
    sv_wire_result first = receive(&wire, room, 100), second = first ? first : receive(&wire, room, sizeof room);
    need(sv_memory_now().allocations == allocations);
    need(first != SV_WIRE_LATE && first != SV_WIRE_STOPPED && second != SV_WIRE_LATE && second != SV_WIRE_STOPPED);
    if (!first && second) compare(data + SV_WIRE_HEAD, 100, data);
    sv_wire_close(&wire);
    return 0;
}
