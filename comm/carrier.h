/* What sv_comm is made of, for the files of comm/. Messages (wire.h) go over a carrier: sockets (socket.c) or MPI (mpi.c). On them stand a star to
 * rank 0 with its collectives (collect.c) and a mesh among all (mesh.c). The watch (watch.c) has sockets of its own, with MPI too. */
#ifndef SIEVE_COMM_CARRIER_H
#define SIEVE_COMM_CARRIER_H

#include "comm/comm.h"
#include "comm/wire.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

enum { SV_NOTE_BYTES = 640, SV_NOTE_TEXT = SV_SAID_TEXT, SV_SAID_MOST = 16 };

/* One word of the watch, always of the same size. */
typedef enum sv_note_kind { SV_NOTE_ALIVE = 1, SV_NOTE_LOST, SV_NOTE_GAVE_UP, SV_NOTE_BYE, SV_NOTE_SAY } sv_note_kind;
typedef struct sv_note {
    uint32_t magic, kind, rank, code, check;
    char text[SV_NOTE_TEXT];
} sv_note;
_Static_assert(sizeof(sv_note) == SV_NOTE_BYTES, "a note has no gaps");

/* What another rank said and nobody has asked for yet; more than there is room for are counted. */
typedef struct sv_said {
    size_t rank;
    char text[SV_NOTE_TEXT];
} sv_said;

/* To one other rank. Links: on rank 0 one for each, elsewhere one to rank 0. Mesh: between two that are not rank 0, for data alone. */
typedef struct sv_link {
    size_t rank;
    long process;
    bool child; /* to be waited for */
    sv_wire data;
    int alive; /* socket of the watch */
    sv_note note;
    size_t note_bytes; /* being read */
    double heard;      /* when it last said something */
    bool left;         /* it said goodbye */
} sv_link;

struct sv_comm {
    size_t rank, ranks;
    double timeout;
    bool forked;
    sv_link *links;
    size_t link_count;
    sv_link *mesh; /* NULL before sv_comm_mesh */
    size_t mesh_count;
    uint64_t token;           /* of this run; 0 before it is told */
    bool mpi;                 /* data goes over MPI */
    void (*leave)(bool well); /* what the carrier does at the very end; NULL: nothing */
    pthread_t watch;
    bool watching;
    int wake[2];          /* a byte in it ends the watch */
    pthread_mutex_t lock; /* of what follows, and of sending notes */
    atomic_bool lost;
    sv_error why;
    sv_said said[SV_SAID_MOST];
    size_t said_count, said_lost;
};

sv_link *sv_comm_link(sv_comm *comm, size_t rank); /* NULL: none */
sv_wire_wait sv_comm_wait(sv_comm *comm);          /* while nobody is lost */
/* watch.c */
sv_status sv_watch_start(sv_comm *comm, sv_error *err) SV_MUST_CHECK;
void sv_watch_end(sv_comm *comm);                                                 /* says goodbye */
void sv_watch_lose(sv_comm *comm, size_t rank, sv_status code, const char *text); /* the first one counts; rank 0 tells the others */
/* The sentence of a lost rank; waits a little for the watch to say who it is where a connection broke first. */
sv_status sv_watch_verdict(sv_comm *comm, const sv_link *link, sv_wire_result result, sv_error *err) SV_MUST_CHECK;
/* connect.c: an sv_comm without connections; freed by sv_comm_close. */
sv_status sv_comm_new(sv_comm **out, size_t rank, size_t ranks, double timeout, sv_error *err) SV_MUST_CHECK;
/* meet.c. name: of the address, for messages. */
typedef struct sv_address {
    struct sockaddr_storage bytes;
    socklen_t length;
} sv_address;
typedef enum sv_meeting { SV_FOR_DATA, SV_FOR_WATCH } sv_meeting;
sv_status sv_meet_find(sv_address *out, const char *master, sv_error *err) SV_MUST_CHECK;
sv_status sv_meet_listen(int *listener, sv_address *at, const char *name, sv_error *err) SV_MUST_CHECK; /* at: then with its port */
sv_status sv_meet_accept(sv_comm *comm, int listener, const char *name, sv_error *err) SV_MUST_CHECK; /* until all higher ranks are here */
sv_status sv_meet_call(sv_comm *comm, const sv_address *at, const char *name, sv_meeting purpose, sv_link *link,
                       sv_error *err) SV_MUST_CHECK;
sv_status sv_meet_begin(sv_comm *comm, sv_error *err) SV_MUST_CHECK; /* all links stand: a first barrier, then the watch */
/* mpi.c */
sv_status sv_mpi_wire(sv_comm *comm, sv_link *link, sv_error *err) SV_MUST_CHECK;

#endif
