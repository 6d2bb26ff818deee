/* Messages between two ranks over one stream socket. A message is
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

typedef enum sv_wire_kind { SV_WIRE_HELLO = 1, SV_WIRE_BLOCK, SV_WIRE_ROWS, SV_WIRE_MEET, SV_WIRE_PAIR } sv_wire_kind;

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

/* One end of a stream, with buffers, so that small pieces do not cost a call of the system each. Not for two threads at once. */
typedef struct sv_wire {
    int descriptor; /* owned; -1: none */
    sv_wire_wait wait;
    uint32_t sent, received; /* messages */
    unsigned char *out, *in; /* [SV_WIRE_ROOM] */
    size_t out_count, in_at, in_count;
    uint32_t check; /* of the running payload */
    uint64_t left;  /* of it */
} sv_wire;
/* Takes the descriptor over, also on failure. */
sv_status sv_wire_open(sv_wire *wire, int descriptor, sv_wire_wait wait, sv_error *err) SV_MUST_CHECK;
void sv_wire_close(sv_wire *wire); /* accepts one that is all zero but its descriptor -1 */

/* A message in pieces: begin with its whole length, put so many bytes, end. The end sends what is buffered. */
sv_wire_result sv_wire_begin(sv_wire *wire, sv_wire_kind kind, uint64_t length) SV_MUST_CHECK;
sv_wire_result sv_wire_put(sv_wire *wire, const void *bytes, size_t count) SV_MUST_CHECK;
sv_wire_result sv_wire_end(sv_wire *wire) SV_MUST_CHECK;
/* The other side of it. */
sv_wire_result sv_wire_expect(sv_wire *wire, sv_wire_kind kind, uint64_t length) SV_MUST_CHECK;
sv_wire_result sv_wire_take(sv_wire *wire, void *bytes, size_t count) SV_MUST_CHECK;
sv_wire_result sv_wire_finish(sv_wire *wire) SV_MUST_CHECK;

#endif
