/* Writing the latency table (its form: table_read.c): header in the order of sv_latency_fields, rows in order, six digits of a
 * time, so that a table read and written again has the same bytes. What is written is read back before the file takes its
 * name: a table that its reader refuses is never left behind. */
#include "latency/latency.h"
#include "latency/table.h"

#include <math.h>
#include <string.h>

static void print_header(const sv_latency_table *table, sv_text *text)
{
    sv_text_add(text, "# format: sieve latency table 1\n");
    for (size_t i = 0; i < sv_latency_field_count; i++) {
        const sv_latency_field *field = &sv_latency_fields[i];
        const char *at = (const char *)&table->about + field->offset;
        if (field->is_text && *at) sv_text_add(text, "# %s: %s\n", field->name, at);
        if (!field->is_text && *(const size_t *)(const void *)at) sv_text_add(text, "# %s: %zu\n", field->name, *(const size_t *)(const void *)at);
    }
    sv_text_add(text, "# rows: %zu\n", table->count);
}

static void print_row(const sv_latency_row *row, sv_text *text)
{
    char name[SV_LATENCY_NAME_ROOM];
    sv_text_add(text, "%s,%zu,", sv_latency_name(name, row->op, row->grid), row->batch);
    if (row->tokens) sv_text_add(text, "%zu", row->tokens);
    sv_text_add(text, ",%.6g,", row->median_ms);
    if (!isnan(row->p95_ms)) sv_text_add(text, "%.6g", row->p95_ms);
    sv_text_add(text, "\n");
}

sv_status sv_latency_table_print(const sv_latency_table *table, sv_text *text, sv_error *err)
{
    size_t begin = text->length;
    print_header(table, text);
    sv_text_add(text, "op,batch,tokens,ms_median,ms_p95\n");
    for (size_t i = 0; i < table->count; i++) print_row(&table->rows[i], text);
    sv_status status = sv_text_check(text, err);
    if (status) return status;
    sv_text_add(text, "# crc32: %08x\n", (unsigned)sv_latency_sum(text->data + begin, text->length - begin));
    return sv_text_check(text, err);
}

sv_status sv_latency_table_write(const sv_latency_table *table, const char *path, sv_error *err)
{
    sv_text text = { 0 };
    sv_latency_table again = { 0 };
    sv_status status = sv_latency_table_print(table, &text, err);
    if (!status) status = sv_latency_table_parse(&again, text.data, text.length, path, err);
    if (!status) status = sv_file_write_atomic(path, text.data, text.length, err);
    sv_latency_table_clear(&again);
    sv_text_clear(&text);
    return status;
}
