/* Comm: who else is at work on a run. Its first inhabitant keeps two processes out of one run folder. */
#ifndef SIEVE_COMM_COMM_H
#define SIEVE_COMM_COMM_H

#include "base/base.h"

/* Held while a process trains into a folder: an advisory lock on FOLDER/.lock with the process number and host in it. The system lets go of it
 * when the process ends, however it ends, so a file left behind means nothing. */
typedef struct sv_run_lock sv_run_lock;
/* SV_USAGE, naming the process that holds it, where another one does; SV_FAULT where the file cannot be made. */
sv_status sv_run_lock_take(sv_run_lock **out, const char *folder, sv_error *err) SV_MUST_CHECK;
void sv_run_lock_release(sv_run_lock *lock); /* accepts NULL */

#endif
