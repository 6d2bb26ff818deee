/* A latency table of any bytes: it is read, or refused with one sentence that names the file; what was read prints to text that
 * reads back and prints the same; every time in it can be asked for and rises with the tokens; nothing leaks. */
#include "latency/latency.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

static void ask(const sv_latency_table *table, sv_latency_rule rule)
{
    sv_error err;
    for (size_t i = 0; i < table->count; i++) {
        const sv_latency_row *row = &table->rows[i];
        double here, above;
        assert(row->median_ms > 0 && isfinite(row->median_ms));
        if (sv_latency_at(table, row->op, row->grid, row->batch, (double)row->tokens, rule, &here, &err)) assert(strlen(err.text) > 0);
        else if (!sv_latency_at(table, row->op, row->grid, row->batch, (double)row->tokens + 0.5, rule, &above, &err)) assert(above >= here);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sv_latency_table table = { 0 }, again = { 0 };
    sv_text first = { 0 }, second = { 0 };
    sv_error err = { 0 };
    sv_status status = sv_latency_table_parse(&table, (const char *)data, size, "fuzzed.csv", &err);
    assert(sv_memory_now().bytes_now <= 4 * size + (64 << 20));
    if (status) {
        assert(status == SV_MODEL_FILE && strncmp(err.text, "fuzzed.csv:", 11) == 0 && strlen(err.text) > 20 && !table.rows);
    } else {
        if (sv_latency_table_print(&table, &first, &err) || sv_latency_table_parse(&again, first.data, first.length, "again", &err) ||
            sv_latency_table_print(&again, &second, &err)) assert(!"what was read is refused when printed");
        assert(strcmp(first.data, second.data) == 0 && again.count == table.count);
        ask(&table, SV_LATENCY_LINEAR);
        ask(&table, SV_LATENCY_CEILING);
    }
    sv_text_clear(&first);
    sv_text_clear(&second);
    sv_latency_table_clear(&again);
    sv_latency_table_clear(&table);
    assert(sv_memory_now().live == 0);
    return 0;
}
