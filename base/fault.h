/* Faults on demand, for the checks: the n-th call of a kind fails. Compiled in always; the cost is one counter. */
#ifndef SIEVE_BASE_FAULT_H
#define SIEVE_BASE_FAULT_H

#include "base/base.h"

typedef enum sv_fault_kind { SV_FAULT_ALLOC, SV_FAULT_OPEN, SV_FAULT_READ, SV_FAULT_WRITE, SV_FAULT_SYNC, SV_FAULT_RENAME, SV_FAULT_KINDS } sv_fault_kind;

/* The call number `at` (from 1; 0: none) of this kind fails, with `forever` every later one too. Resets the counter.
 * Also from the environment for whole programs: SIEVE_FAULT=alloc:17, write:3+ ('+': forever). */
void sv_fault_set(sv_fault_kind kind, uint64_t at, bool forever);
uint64_t sv_fault_calls(sv_fault_kind kind); /* calls of this kind since the last set */
/* For base/ alone: counts a call; true where it must fail. */
bool sv_fault_here(sv_fault_kind kind);

#endif
