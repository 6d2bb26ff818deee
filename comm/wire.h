/* Messages between two ranks over one stream of bytes, which a carrier moves: a socket here (socket.c), MPI in mpi.c. A message is
 *
 *     magic 4 | version 2 | kind 2 | number 4 | check of the head 4 | length 8 | payload, length bytes | check of the payload 4
 *
 * in the byte order of the machine (another order fails at the magic). The receiver says what it expects: another kind, number or length is an
 * error, and the payload goes straight to the receiver's memory, so nothing a peer sends decides how much is read or allocated.
 * For the files of comm/ and its tests. */
#ifndef SIEVE_COMM_WIRE_H
#define SIEVE_COMM_WIRE_H

#include "base/base.h"

enum { SV_WIRE_VERSION = 1, SV_WIRE_HEAD = 24, SV_WIRE_ROOM = 65536 };

typedef enum sv_wire_kind { SV_WIRE_HELLO = 1, SV_WIRE_BLOCK, SV_WIRE_ROWS, SV_WIRE_MEET, SV_WIRE_PAIR, SV_WIRE_SLICE } sv_wire_kind;

typedef enum sv_wire_result {
    SV_WIRE_OK,
    SV_WIRE_CLOSED,     /* the peer is gone, before or in the middle of a message */
    SV_WIRE_LATE,       /* nothing moved for so long */
    SV_WIRE_STOPPED,    /* the caller's wait said stop */
    SV_WIRE_FOREIGN,    /* not our protocol: magic, version or head check */
    SV_WIRE_UNEXPECTED, /* another kind, number or length than expected here: the peer is elsewhere in the run */
    SV_WIRE_DAMAGED     /* the payload does not have its check sum */
} sv_wire_result;
const char *sv_wire_says(sv_wire_result result); /* half a sentence: "closed the connection" */

/* How long to wait for bytes to move: `seconds` (0: for ever) and while `stop` (NULL: never) does not say so; asked every 20 ms. */
typedef struct sv_wire_wait {
    double seconds;
    bool (*stop)(void *context);
    void *context;
} sv_wire_wait;

typedef struct sv_wire sv_wire;
/* What moves the bytes of a wire; a row a kind. Neither send nor receive waits: *done may be 0, else 1 to what was asked. */
typedef struct sv_carrier {
    const char *name;
    sv_wire_result (*send)(sv_wire *wire, const void *bytes, size_t count, size_t *done);
    sv_wire_result (*receive)(sv_wire *wire, void *bytes, size_t room, size_t *done);
    bool (*at_rest)(sv_wire *wire); /* what was sent gets there without further calls */
    /* Waits until one of the two (either may be NULL) may go on, at most SV_WIRE_LOOK_MS. */
    void (*wait)(sv_wire *out, sv_wire *in);
    void (*close)(sv_wire *wire);
} sv_carrier;
enum { SV_WIRE_LOOK_MS = 20 }; /* how often a wait looks up: what a lost rank costs the others beyond the notice itself */
extern const sv_carrier sv_carrier_socket;

/* One end of a stream, with buffers, so that small pieces do not cost a call of the system each. Not for two threads at once. */
struct sv_wire {
    const sv_carrier *carrier;
    int descriptor; /* of a socket, owned; -1: none */
    void *stream;   /* of another carrier, owned */
    sv_wire_wait wait;
    uint32_t sent, received; /* messages */
    unsigned char *out, *in; /* [SV_WIRE_ROOM] */
    size_t out_at, out_count, in_at, in_count;
    uint32_t check_out, check_in; /* of the running payloads */
    uint64_t left_out, left_in;   /* of them */
};
/* Over a socket. Takes the descriptor over, also on failure. */
sv_status sv_wire_open(sv_wire *wire, int descriptor, sv_wire_wait wait, sv_error *err) SV_MUST_CHECK;
/* Over any carrier. Takes the stream over, also on failure. */
sv_status sv_wire_open_on(sv_wire *wire, const sv_carrier *carrier, int descriptor, void *stream, sv_wire_wait wait,
                          sv_error *err) SV_MUST_CHECK;
bool sv_wire_is_open(const sv_wire *wire);
void sv_wire_close(sv_wire *wire); /* accepts one that is all zero but its descriptor -1 */

/* A message in pieces: begin with its whole length, put so many bytes, end. The end sends what is buffered. */
sv_wire_result sv_wire_begin(sv_wire *wire, sv_wire_kind kind, uint64_t length) SV_MUST_CHECK;
sv_wire_result sv_wire_put(sv_wire *wire, const void *bytes, size_t count) SV_MUST_CHECK;
sv_wire_result sv_wire_end(sv_wire *wire) SV_MUST_CHECK;
/* The other side of it. */
sv_wire_result sv_wire_expect(sv_wire *wire, sv_wire_kind kind, uint64_t length) SV_MUST_CHECK;
sv_wire_result sv_wire_take(sv_wire *wire, void *bytes, size_t count) SV_MUST_CHECK;
sv_wire_result sv_wire_finish(sv_wire *wire) SV_MUST_CHECK;

/* Items of a payload: `count` of `bytes` each, `stride` apart. */
typedef struct sv_wire_items {
    unsigned char *base;
    size_t stride, bytes, count;
} sv_wire_items;
/* One message out and one in at the same time, so that two ranks which send to each other never wait for one another's buffers. *failed: the
 * wire that went wrong. */
sv_wire_result sv_wire_trade(sv_wire *to, const sv_wire_items *out, sv_wire *from, const sv_wire_items *in, sv_wire_kind kind,
                             sv_wire **failed) SV_MUST_CHECK;
/* For wire.c and trade.c: the head of the next message as bytes; whether a head that came is the one that is due. */
void sv_wire_make_head(sv_wire *wire, unsigned char head[SV_WIRE_HEAD], sv_wire_kind kind, uint64_t length);
sv_wire_result sv_wire_judge_head(sv_wire *wire, const unsigned char head[SV_WIRE_HEAD], sv_wire_kind kind, uint64_t length) SV_MUST_CHECK;
/* What the carrier does with its send and receive, and where those can be made to fail (base/fault.h). */
sv_wire_result sv_carry_out(sv_wire *wire, const void *bytes, size_t count, size_t *done) SV_MUST_CHECK;
sv_wire_result sv_carry_in(sv_wire *wire, void *bytes, size_t room, size_t *done) SV_MUST_CHECK;
/* One look of a wait that began at `since`: SV_WIRE_OK to try again. */
sv_wire_result sv_wire_look(sv_wire *out, sv_wire *in, double since) SV_MUST_CHECK;
uint32_t sv_wire_sum(uint32_t before, const void *bytes, size_t count);

#endif
