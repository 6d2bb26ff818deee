/* The latency table a run goes by. */
#ifndef SIEVE_TRAIN_TABLE_H
#define SIEVE_TRAIN_TABLE_H

#include "base/config.h"
#include "latency/latency.h"
#include "pruning/pruning.h"

/* latency.table, else folder/latency.csv, which is measured first where it is absent. *foreign: it is of another machine, thread count, precision or
 * instruction set, which is said as a warning. SV_MODEL_FILE where it is of another model or method. */
sv_status sv_table_take(sv_latency_table *out, bool *foreign, const sv_config *config, const sv_pruning *pruning, const char *folder, sv_error *err) SV_MUST_CHECK;

#endif
