/* Faults on demand, for the checks: the n-th call of a kind fails. Compiled in always; the cost is one counter. */
#ifndef SIEVE_BASE_FAULT_H
#define SIEVE_BASE_FAULT_H

#include "base/base.h"

typedef enum sv_fault_kind {
    SV_FAULT_ALLOC, SV_FAULT_OPEN, SV_FAULT_READ, SV_FAULT_WRITE, SV_FAULT_SYNC, SV_FAULT_RENAME,
    SV_FAULT_THREAD,    /* start of a thread */
    SV_FAULT_SEND, SV_FAULT_RECEIVE, /* of a socket: the connection breaks there */
    SV_FAULT_SPACE,     /* a question how much room a disk has: none */
    SV_FAULT_KINDS
} sv_fault_kind;

/* The call number `at` (from 1; 0: none) of this kind fails, with `forever` every later one too. Resets the counter.
 * Also from the environment for whole programs, SIEVE_FAULT, words with commas between them:
 *     alloc:17      the 17th allocation fails
 *     write:3+      the third write and all behind it fail: a disk that stays full
 *     sync:5!       the process is gone at the fifth sync, as by kill -9
 *     slow:20       each write and sync of a file takes 20 ms more
 *     clock:86400   the clock of the wall jumps: each look at it is up to so many seconds off, another way each time
 *     rank:1        what fails, fails in this rank alone (comm/ says which one a process is); else in all of them
 * SIEVE_FAULT_COUNT=FILE: at its end the program writes there how many calls of each kind it made, "alloc 812" a line. */
void sv_fault_set(sv_fault_kind kind, uint64_t at, bool forever);
uint64_t sv_fault_calls(sv_fault_kind kind); /* calls of this kind since the last set */
/* From here on this process is that rank: where another one was meant to fail, nothing fails. */
void sv_fault_rank(size_t rank);
/* At the place of a call: counts it; true where it must fail. */
bool sv_fault_here(sv_fault_kind kind);
double sv_fault_clock_offset(void); /* seconds, for sv_wall_seconds alone */

#endif
