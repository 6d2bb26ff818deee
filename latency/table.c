/* The table in memory: rows in order of (op, batch, tokens), each once, so that rows of one op and batch stand together
 * and rise in tokens. */
#include "latency/latency.h"
#include "latency/table.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* A second measurement of the same thing on a machine in use differs by a tenth now and then; one tile more or less by
 * less. Below a quarter, and by more than timers and wake-ups explain, the file is wrong. */
static const double NOISE_SHARE = 0.25, NOISE_MS = 0.05;

const sv_latency_kind sv_latency_kinds[SV_LATENCY_OPS] = {
    [SV_LATENCY_BLOCK] = { "block", .grids = true, .block = true, .needed = true },
    [SV_LATENCY_SELECTOR] = { "selector", .grids = true },
    [SV_LATENCY_GATHER] = { "gather", .grids = true },
    [SV_LATENCY_EMBED] = { "embed", .once = true },
    [SV_LATENCY_HEAD] = { "head", .once = true },
    [SV_LATENCY_MLP] = { "mlp", .grids = true, .needed = true },
    [SV_LATENCY_LIVING] = { "living", .grids = true, .block = true, .needed = true },
    [SV_LATENCY_PATHS] = { "paths", .grids = true, .block = true, .needed = true },
    [SV_LATENCY_STEP] = { "step", .grids = true, .once = true },
    [SV_LATENCY_MODEL] = { "model", .once = true },
};

#define TEXT(field, needed) { #field, true, offsetof(sv_latency_about, field), sizeof((sv_latency_about *)0)->field, needed }
#define NUMBER(field, needed) { #field, false, offsetof(sv_latency_about, field), 0, needed }
const sv_latency_field sv_latency_fields[] = {
    TEXT(device, true), TEXT(cpu, false), NUMBER(threads, false), TEXT(precision, false), TEXT(isa, false), TEXT(affinity, false),
    TEXT(date, false), TEXT(tool, false), TEXT(arch, true), NUMBER(image, true), NUMBER(patch, true), NUMBER(depth, true),
    NUMBER(width, true), NUMBER(heads, true), TEXT(depths, false), TEXT(widths, false), TEXT(selector, false), TEXT(statistic, false), TEXT(citation, false), TEXT(note, false),
};
const size_t sv_latency_field_count = SV_COUNT(sv_latency_fields);

const char *sv_latency_op_name(sv_latency_op op)
{
    assert(op < SV_LATENCY_OPS);
    return sv_latency_kinds[op].name;
}

const char *sv_latency_name(char *room, sv_latency_op op, size_t grid)
{
    if (grid) snprintf(room, SV_LATENCY_NAME_ROOM, "%s.%zu", sv_latency_op_name(op), grid);
    else snprintf(room, SV_LATENCY_NAME_ROOM, "%s", sv_latency_op_name(op));
    return room;
}

bool sv_latency_is_block(sv_latency_op op) { return sv_latency_kinds[op].block; }
bool sv_latency_has_grids(sv_latency_op op) { return sv_latency_kinds[op].grids; }

size_t sv_latency_grids(const sv_latency_about *about)
{
    size_t count = about->depths[0] != 0;
    for (const char *at = about->depths; *at; at++) count += *at == ',';
    return count;
}

void sv_latency_table_clear(sv_latency_table *table)
{
    sv_free(table->rows);
    *table = (sv_latency_table){ 0 };
}

int sv_latency_row_order(const sv_latency_row *a, const sv_latency_row *b)
{
    if (a->op != b->op) return a->op < b->op ? -1 : 1;
    if (a->grid != b->grid) return a->grid < b->grid ? -1 : 1;
    if (a->batch != b->batch) return a->batch < b->batch ? -1 : 1;
    if (a->tokens != b->tokens) return a->tokens < b->tokens ? -1 : 1;
    return 0;
}

sv_status sv_latency_table_add(sv_latency_table *table, const sv_latency_row *row, sv_error *err)
{
    size_t at = table->count;
    while (at && sv_latency_row_order(row, &table->rows[at - 1]) < 0) at--;
    if (at && sv_latency_row_order(row, &table->rows[at - 1]) == 0) {
        table->rows[at - 1] = *row;
        return SV_OK;
    }
    if (table->count >= SV_LATENCY_ROWS_MOST) return sv_fail(err, SV_FAULT, "a latency table holds at most %d rows", SV_LATENCY_ROWS_MOST);
    sv_status status = sv_grow(&table->rows, &table->capacity, table->count + 1, sizeof *table->rows, "latency table", err);
    if (status) return status;
    memmove(table->rows + at + 1, table->rows + at, (table->count - at) * sizeof *table->rows);
    table->rows[at] = *row;
    table->count++;
    return SV_OK;
}

bool sv_latency_below_noise(double before_ms, double ms)
{
    return ms < before_ms * (1 - NOISE_SHARE) && before_ms - ms > NOISE_MS;
}

sv_status sv_latency_check_rise(const sv_latency_table *table, const char *name, sv_error *err)
{
    const sv_latency_row *top = NULL;
    for (size_t i = 0; i < table->count; i++) {
        const sv_latency_row *row = &table->rows[i];
        char name_of[SV_LATENCY_NAME_ROOM];
        if (!top || row->op != top->op || row->grid != top->grid || row->batch != top->batch) top = row;
        if (row->op != SV_LATENCY_MODEL && sv_latency_below_noise(top->median_ms, row->median_ms)) {
            char place[32] = "";
            if (row->line) snprintf(place, sizeof place, ":%zu", row->line);
            return sv_fail(err, SV_MODEL_FILE,
                           "%s%s: %s at batch %zu takes %g ms with %zu tokens, but %g ms with %zu; more tokens cannot cost so much less. "
                           "Measure again while the machine is idle", name, place, sv_latency_name(name_of, row->op, row->grid), row->batch, row->median_ms,
                           row->tokens, top->median_ms, top->tokens);
        }
        if (row->median_ms > top->median_ms) top = row;
    }
    return SV_OK;
}

static const char *text_of(const sv_latency_about *about, const sv_latency_field *field)
{
    return (const char *)about + field->offset;
}

static size_t number_of(const sv_latency_about *about, const sv_latency_field *field)
{
    return *(const size_t *)((const char *)about + field->offset);
}

/* Adds "name A, not B" for each field that both tell and that differs. */
static void add_differences(sv_text *text, const sv_latency_about *table, const sv_latency_about *other, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const sv_latency_field *field = sv_kind_find(sv_latency_fields, sv_latency_field_count, sizeof *sv_latency_fields, names[i]);
        assert(field);
        const char *comma = text->length ? ", " : "";
        if (field->is_text) {
            const char *a = text_of(table, field), *b = text_of(other, field);
            if (*a && *b && strcmp(a, b) != 0) sv_text_add(text, "%s%s %s, not %s", comma, field->name, a, b);
        } else {
            size_t a = number_of(table, field), b = number_of(other, field);
            if (a && b && a != b) sv_text_add(text, "%s%s %zu, not %zu", comma, field->name, a, b);
        }
    }
}

sv_status sv_latency_fits_model(const sv_latency_table *table, const sv_latency_about *model, const char *name, sv_error *err)
{
    static const char *const fields[] = { "arch", "image", "patch", "depth", "width", "heads", "depths", "widths" };
    sv_text text = { 0 };
    add_differences(&text, &table->about, model, fields, SV_COUNT(fields));
    sv_status status = sv_text_check(&text, err);
    if (!status && text.length)
        status = sv_fail(err, SV_MODEL_FILE, "%s: is the table of another model: %s; measure one for this model, or name another table", name, text.data);
    sv_text_clear(&text);
    return status;
}

const char *sv_latency_differs(char *room, size_t room_bytes, const sv_latency_table *table, const sv_latency_about *here)
{
    static const char *const fields[] = { "device", "cpu", "threads", "precision", "isa", "tool" };
    sv_text text = { 0 };
    add_differences(&text, &table->about, here, fields, SV_COUNT(fields));
    sv_error err;
    bool told = sv_text_check(&text, &err) == SV_OK;
    snprintf(room, room_bytes, "%s", told ? text.data : "not known: no memory to compare");
    sv_text_clear(&text);
    return room;
}
