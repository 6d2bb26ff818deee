/* Comm: who else is at work on a run. A lock keeps two runs out of one folder; sv_comm joins the processes ("ranks") that make one run together:
 * broadcast, gather, agreement, who is alive. It moves bytes and knows nothing of models. Sockets or MPI carry it (comm/carrier.h). */
#ifndef SIEVE_COMM_COMM_H
#define SIEVE_COMM_COMM_H

#include "base/base.h"

/* Held while a process trains into a folder: an advisory lock on FOLDER/.lock with the process number and host in it. The system lets go of it
 * when the process ends, however it ends, so a file left behind means nothing. */
typedef struct sv_run_lock sv_run_lock;
/* SV_USAGE, naming the process that holds it, where another one does; SV_FAULT where the file cannot be made. */
sv_status sv_run_lock_take(sv_run_lock **out, const char *folder, sv_error *err) SV_MUST_CHECK;
/* Does a process of this machine hold the lock? Asked of the system's list, without touching lock or folder. */
bool sv_run_lock_held(const char *folder);
void sv_run_lock_release(sv_run_lock *lock); /* accepts NULL */

/* ---- ranks ------------------------------------------------------------------------------------------------------- */

/* Rank 0 leads: all but sv_comm_trade goes through it, so that each rank waits for rank 0 alone and rank 0 knows whom it waits for. A thread of each process
 * tells the others that it lives; one that is silent for the timeout, or gone, is lost, and every call of every other rank then ends with
 * SV_INTERRUPTED and a sentence that names it. All ranks make the same calls in the same order; NULL is one process alone, where each call is
 * done at once. One thread at a time may call. After a failure only sv_comm_give_up and sv_comm_close make sense. */
typedef struct sv_comm sv_comm;
enum { SV_RANKS_MOST = 64 };

/* Becomes `ranks` processes on this machine, joined by socket pairs: the caller is rank 0, each child returns from here as its own rank. To be
 * called before threads are made. On failure no child is left. */
sv_status sv_comm_fork(sv_comm **out, size_t ranks, double timeout_seconds, sv_error *err) SV_MUST_CHECK;
/* One of `ranks` processes that were started by hand, which meet over TCP at `master` ("host:port"), where rank 0 listens. No secrets are
 * exchanged: for machines and networks of one's own. SV_USAGE: no such address, numbers that cannot be; SV_INTERRUPTED: not all came in time. */
sv_status sv_comm_join(sv_comm **out, const char *master, size_t rank, size_t ranks, double timeout_seconds, sv_error *err) SV_MUST_CHECK;
/* Under mpirun (or another launcher of MPI): the ranks it started, data over MPI, the watch over TCP on a free port of rank 0. SV_USAGE where this
 * Sieve was built without MPI (make MPI=1). */
sv_status sv_comm_mpi(sv_comm **out, double timeout_seconds, sv_error *err) SV_MUST_CHECK;
size_t sv_comm_mpi_ranks(void); /* how many a launcher of MPI started, by its environment; 0: none did */
/* Tells the others why this rank ends: they end with the same code and sentence. Does nothing where a rank is lost already. */
void sv_comm_give_up(sv_comm *comm, const sv_error *why);
/* A line of this rank for rank 0, which has the log: sent at once, dropped where it does not fit; nothing where this is rank 0. */
enum { SV_SAID_TEXT = 620 };
void sv_comm_say(sv_comm *comm, const char *text);
/* The next line that another rank said; false: there is none. Asked by rank 0 between steps. */
bool sv_comm_heard(sv_comm *comm, size_t *rank, char text[SV_SAID_TEXT]) SV_MUST_CHECK;
/* Leaves in order; the parent waits for its children and ends those that do not. Accepts NULL. */
void sv_comm_close(sv_comm *comm);

size_t sv_comm_rank(const sv_comm *comm);               /* NULL: 0 */
size_t sv_comm_ranks(const sv_comm *comm);              /* NULL: 1 */
bool sv_comm_forked(const sv_comm *comm);               /* all on this machine, made by sv_comm_fork */
bool sv_comm_lost(const sv_comm *comm);                 /* a rank is lost or has given up */
long sv_comm_process(const sv_comm *comm, size_t rank); /* its number on its machine; on rank 0 alone */

/* Rank 0's bytes, on every rank. */
sv_status sv_comm_broadcast(sv_comm *comm, void *block, size_t bytes, sv_error *err) SV_MUST_CHECK;
/* Items of `bytes` bytes, `stride` bytes apart, from `base` on: rank r brings items first[r] .. first[r+1]-1 (first: [ranks + 1], rising). Then
 * rank 0, or to_all every rank, has them all. */
sv_status sv_comm_gather(sv_comm *comm, void *base, size_t stride, size_t bytes, const size_t *first, bool to_all,
                         sv_error *err) SV_MUST_CHECK;
sv_status sv_comm_barrier(sv_comm *comm, sv_error *err) SV_MUST_CHECK;
/* Sums in rank order, which is the order of a single process that has the parts one after another: block = ((block of 0 + block of 1) + ...). */
sv_status sv_comm_sum(sv_comm *comm, sv_real *block, size_t count, sv_error *err) SV_MUST_CHECK;
/* Between two ranks, one of which is rank 0. */
sv_status sv_comm_send(sv_comm *comm, size_t to, const void *block, size_t bytes, sv_error *err) SV_MUST_CHECK;
sv_status sv_comm_receive(sv_comm *comm, size_t from, void *block, size_t bytes, sv_error *err) SV_MUST_CHECK;

/* Straight between all ranks: `count` items of `bytes` bytes, `stride` bytes apart. */
typedef struct sv_comm_items {
    void *base;
    size_t stride, bytes, count;
} sv_comm_items;
/* Joins every rank to every other one; to be called once by all before sv_comm_trade. */
sv_status sv_comm_mesh(sv_comm *comm, sv_error *err) SV_MUST_CHECK;
/* Sends out[r] to each other rank r and receives in[r] from it, at the same time; entries of the own rank are not read. Both [ranks]. */
sv_status sv_comm_trade(sv_comm *comm, const sv_comm_items *out, const sv_comm_items *in, sv_error *err) SV_MUST_CHECK;

/* A 64-bit hash that goes on from `seed`; the same on all machines of one byte order. To find slips, not forgers. */
uint64_t sv_hash(uint64_t seed, const void *bytes, size_t count);

#endif
