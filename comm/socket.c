/* The carrier that every build has: a stream socket, whichever family. */
#include "comm/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

sv_status sv_wire_open(sv_wire *wire, int descriptor, sv_wire_wait wait, sv_error *err)
{
    int flags = fcntl(descriptor, F_GETFL);
    sv_status status = sv_wire_open_on(wire, &sv_carrier_socket, descriptor, NULL, wait, err);
    if (status || (flags >= 0 && fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) >= 0)) return status;
    status = sv_fail(err, SV_FAULT, "a connection between ranks cannot be set up: %s", strerror(errno));
    sv_wire_close(wire);
    return status;
}

/* What send or recv gave. */
static sv_wire_result count_of(ssize_t moved, size_t *done)
{
    *done = moved > 0 ? (size_t)moved : 0;
    if (moved > 0) return SV_WIRE_OK;
    return moved < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) ? SV_WIRE_OK : SV_WIRE_CLOSED;
}

static sv_wire_result socket_send(sv_wire *wire, const void *bytes, size_t count, size_t *done)
{
    return count_of(send(wire->descriptor, bytes, count, MSG_NOSIGNAL), done);
}

static sv_wire_result socket_receive(sv_wire *wire, void *bytes, size_t room, size_t *done)
{
    return count_of(recv(wire->descriptor, bytes, room, 0), done);
}

static bool socket_at_rest(sv_wire *wire) { return (void)wire, true; } /* the system sends on by itself */

/* An error or hang-up ends the wait too: the next call of send or recv tells. */
static void socket_wait(sv_wire *out, sv_wire *in)
{
    struct pollfd look[2];
    nfds_t count = 0;
    if (out) look[count++] = (struct pollfd){ out->descriptor, POLLOUT, 0 };
    if (in) look[count++] = (struct pollfd){ in->descriptor, POLLIN, 0 };
    poll(look, count, SV_WIRE_LOOK_MS);
}

static void socket_close(sv_wire *wire)
{
    if (wire->descriptor >= 0) close(wire->descriptor);
}

const sv_carrier sv_carrier_socket = { "sockets", socket_send, socket_receive, socket_at_rest, socket_wait, socket_close };
