/* Which checkpoints stay beside last.safetensors and best.safetensors: the latest under "step-000000001234.safetensors", the best under
 * "best-0.812500-epoch-00007.safetensors". A kept one is another name of the same bytes where the file system can do that, else a copy. What
 * is kept stands in the names alone, so that a killed run needs no list. */
#ifndef SIEVE_TRAIN_RETAIN_H
#define SIEVE_TRAIN_RETAIN_H

#include "base/base.h"

/* Keeps `path` as the checkpoint of `step`; of all such the `keep` latest stay. Those of later steps go: they are of a way that the run no longer
 * takes. keep 0: does nothing. */
sv_status sv_retain_last(const char *folder, const char *path, uint64_t step, size_t keep, sv_error *err) SV_MUST_CHECK;
/* Is top1 (0..1) of `epoch` among the `keep` best that are there? */
sv_status sv_retain_wants(const char *folder, double top1, uint64_t epoch, size_t keep, bool *wants, sv_error *err) SV_MUST_CHECK;
/* Keeps `path` as the checkpoint of `epoch` with top1; of all such the `keep` best stay (of equal ones the later), and none of later epochs. */
sv_status sv_retain_best(const char *folder, const char *path, double top1, uint64_t epoch, size_t keep, sv_error *err) SV_MUST_CHECK;

#endif
