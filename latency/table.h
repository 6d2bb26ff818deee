/* What the files of the latency table share: the rows of its kinds and of its header. Nobody else includes this. */
#ifndef SIEVE_LATENCY_TABLE_H
#define SIEVE_LATENCY_TABLE_H

#include "latency/latency.h"

/* needed: a prediction fails without such rows, else they count as nothing; once: one row may stand for any token count. */
typedef struct sv_latency_kind { const char *name; bool grids, block, needed, once; } sv_latency_kind;
extern const sv_latency_kind sv_latency_kinds[SV_LATENCY_OPS];

/* A key of the header: a text of `room` bytes or a size_t at `offset` of sv_latency_about. In the order of the file. */
typedef struct sv_latency_field { const char *name; bool is_text; size_t offset, room; bool needed; } sv_latency_field;
extern const sv_latency_field sv_latency_fields[];
extern const size_t sv_latency_field_count;

/* Grids that the header tells: numbers in `depths`. 0: flat. */
size_t sv_latency_grids(const sv_latency_about *about);
int sv_latency_row_order(const sv_latency_row *a, const sv_latency_row *b);
/* SV_MODEL_FILE where times fall with rising tokens beyond noise. */
sv_status sv_latency_check_rise(const sv_latency_table *table, const char *name, sv_error *err) SV_MUST_CHECK;
/* sv_latency_table_parse of a part of a file, `before` lines of which stand before it: messages and rows have the file's lines. */
sv_status sv_latency_table_parse_behind(sv_latency_table *out, const char *bytes, size_t count, const char *name, size_t before, sv_error *err) SV_MUST_CHECK;
/* CRC-32 of zlib and PNG. */
uint32_t sv_latency_sum(const char *bytes, size_t count);

#endif
