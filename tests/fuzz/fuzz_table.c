/* A file of latency tables of any bytes: it is read, or refused with one sentence that names the file; its tables lie one behind another and each reads
 * alone from its bytes; what was read prints to text that reads back and prints the same; every time in it can be asked for and rises with the tokens; a
 * file of one table is what sv_latency_table_parse reads; nothing leaks. */
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
static void print_all(const sv_latency_file *file, sv_text *text)
{
    sv_error err;
    for (size_t i = 0; i < file->count; i++)
        if (sv_latency_table_print(&file->parts[i].table, text, &err)) assert(false && "what was read is not printed");
}

/* Each part alone is the same table. */
static void read_parts(const sv_latency_file *file, const char *bytes, size_t size)
{
    sv_error err;
    for (size_t i = 0; i < file->count; i++) {
        const sv_latency_part_of_file *part = &file->parts[i];
        sv_latency_table alone = { 0 };
        assert(part->begin == (i ? file->parts[i - 1].end : 0) && part->end > part->begin);
        if (sv_latency_table_parse(&alone, bytes + part->begin, part->end - part->begin, "part", &err)) assert(false && "a table of a file is refused alone");
        assert(alone.count == part->table.count && memcmp(&alone.about, &part->table.about, sizeof alone.about) == 0);
        sv_latency_table_clear(&alone);
    }
    assert(file->count && file->parts[file->count - 1].end == size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    sv_latency_file file = { 0 }, again = { 0 };
    sv_latency_table one = { 0 };
    sv_text first = { 0 }, second = { 0 };
    sv_error err = { 0 }, why = { 0 };
    const sv_status status = sv_latency_file_parse(&file, bytes, size, "fuzzed.csv", &err);
    assert(sv_memory_now().bytes_now <= 4 * size + (64 << 20));
    const sv_status alone = sv_latency_table_parse(&one, bytes, size, "fuzzed.csv", &why);
    assert((alone == SV_OK) == (status == SV_OK && file.count == 1));
    if (status) {
        assert(status == SV_MODEL_FILE && strncmp(err.text, "fuzzed.csv:", 11) == 0 && strlen(err.text) > 20 && !file.parts);
    } else {
        read_parts(&file, bytes, size);
        print_all(&file, &first);
        if (sv_latency_file_parse(&again, first.data, first.length, "again", &err)) assert(false && "what was read is refused when printed");
        print_all(&again, &second);
        assert(strcmp(first.data, second.data) == 0 && again.count == file.count);
        for (size_t i = 0; i < file.count; i++) ask(&file.parts[i].table, SV_LATENCY_LINEAR), ask(&file.parts[i].table, SV_LATENCY_CEILING);
    }
    sv_text_clear(&first);
    sv_text_clear(&second);
    sv_latency_file_clear(&again);
    sv_latency_file_clear(&file);
    sv_latency_table_clear(&one);
    assert(sv_memory_now().live == 0);
    return 0;
}
