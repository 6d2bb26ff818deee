/* The latency table as a file:
 *     # format: sieve latency table 1          optional
 *     # device: Samsung Galaxy S20             the header: a key a line, each once, in any order; device, arch, image, patch, depth,
 *     # arch: deit_t                           width and heads must be there (sv_latency_about names all of them)
 *     # rows: 43                               optional: how many rows follow
 *     op,batch,tokens,ms_median,ms_p95         this line, then the rows in any order
 *     block,1,197,1.034,1.08                   op of sv_latency_op; batch and tokens >= 1; ms > 0 to six digits, p95 >= median
 *     model,1,,26,                             op model alone may leave tokens and p95 empty
 * A backbone whose grid of patches changes from stage to stage tells them in the header, and its ops have the number of their grid, from 1:
 *     # depths: 1,2,1                          blocks of each grid
 *     # widths: 32,64,128
 *     block.1,1,65,0.08,0.1                    a block over the whole first grid
 *     living.2,1,12,0.05,0.06                  a block of the second over the 12 rows that live (SPViT on PiT and Swin); paths.2: 12 rows take the
 *                                              slow path, the others the fast one, both in the time (DynamicViT on ConvNeXt and Swin)
 *     step.2,1,17,0.02,0.03                    pooling, merging or down-sampling from the first to the second, behind which 17 rows stand
 * embed, head and model have no number.
 *     # crc32: 89abcdef                        optional last line: CRC-32 of all bytes before it
 * Lines end in \n or \r\n, the last one too: a file that is cut off is noticed, with `rows` or `crc32` at any place, and any change of
 * a bit. Whoever edits a table by hand leaves those two out. Spaces around values and empty lines mean nothing. At most 1 MiB,
 * 16384 rows, 1 KiB a line. Tables of several models in one file: table_file.c. */
#include "latency/latency.h"
#include "latency/table.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const char FORMAT[] = "sieve latency table 1", COLUMNS[] = "op,batch,tokens,ms_median,ms_p95";
static const double MS_MOST = 1e9;
enum { LINE_MOST = 1024, COLUMN_COUNT = 5, FIELDS_MOST = 32, GRIDS_MOST = 16 };

typedef struct table_reader {
    sv_latency_table table;
    const char *name, *bytes;
    size_t before, line, line_begin;    /* lines of the file that stand before the table; number of the line, and where it begins */
    bool columns, format, rows, ended;  /* seen: the line of columns; the keys format, rows, crc32 */
    bool seen[FIELDS_MOST];
    size_t rows_told;
    sv_error *err;
} table_reader;

uint32_t sv_latency_sum(const char *bytes, size_t count)
{
    return (uint32_t)crc32(0, (const unsigned char *)bytes, (uInt)count);
}

/* "file:line: sentence" */
static sv_status SV_PRINTF(2, 3) refuse(table_reader *reader, const char *format, ...)
{
    char sentence[768];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    return sv_fail(reader->err, SV_MODEL_FILE, "%s:%zu: %s", reader->name, reader->line, sentence);
}

/* Of a table as a whole: "file: sentence", with its first line where it is not the first of its file. */
static sv_status SV_PRINTF(2, 3) refuse_table(table_reader *reader, const char *format, ...)
{
    char sentence[512], place[40] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    if (reader->before) snprintf(place, sizeof place, "%zu: the table from here on: ", reader->before + 1);
    return sv_fail(reader->err, SV_MODEL_FILE, "%s:%s%s%s", reader->name, place, reader->before ? "" : " ", sentence);
}

static char *trim(char *text)
{
    while (*text == ' ' || *text == '\t') text++;
    size_t length = strlen(text);
    while (length && (text[length - 1] == ' ' || text[length - 1] == '\t' || text[length - 1] == '\r')) text[--length] = 0;
    return text;
}

static const char *shown(char room[80], const char *text)
{
    return sv_text_safe(room, 80, text);
}

/* A whole number of 1..most; empty gives 0 where that is allowed. */
static sv_status read_count(table_reader *reader, const char *what, const char *text, size_t most, bool may_be_empty, size_t *out)
{
    char room[80];
    int64_t value = 0;
    if (may_be_empty && !*text) *out = 0;
    else if (!sv_parse_int(text, &value) || value < 1 || (uint64_t)value > most)
        return refuse(reader, "%s is '%s'; expected a whole number from 1 to %zu", what, shown(room, text), most);
    else *out = (size_t)value;
    return SV_OK;
}

/* As the writer prints it, so that what was read and what is printed from it pass the same checks. */
static double six_digits(double value)
{
    char text[32];
    double rounded;
    snprintf(text, sizeof text, "%.6g", value);
    return sv_parse_real(text, &rounded) ? rounded : value;
}

static sv_status read_ms(table_reader *reader, const char *what, const char *text, bool may_be_empty, double *out)
{
    char room[80];
    double value = NAN;
    if (may_be_empty && !*text) *out = NAN;
    else if (!sv_parse_real(text, &value) || !(value > 0) || value > MS_MOST)
        return refuse(reader, "%s is '%s'; expected milliseconds above 0, such as 1.034", what, shown(room, text));
    else *out = six_digits(value);
    return SV_OK;
}

static sv_status read_text(table_reader *reader, const sv_latency_field *field, const char *value, char *out)
{
    char safe[LINE_MOST];
    if (!*value) return refuse(reader, "'%s' has no value; give one or remove the line", field->name);
    if (strlen(value) >= field->room)
        return refuse(reader, "the value of '%s' has %zu characters; at most %zu fit", field->name, strlen(value), field->room - 1);
    if (strcmp(sv_text_safe(safe, sizeof safe, value), value) != 0)
        return refuse(reader, "the value of '%s' holds control characters or broken UTF-8: '%s'", field->name, safe);
    strcpy(out, value);
    return SV_OK;
}

static sv_status read_field(table_reader *reader, const char *key, const char *value)
{
    char room[80];
    const sv_latency_field *field = sv_kind_find(sv_latency_fields, sv_latency_field_count, sizeof *sv_latency_fields, key);
    if (!field) {
        const char *nearest = sv_kind_nearest(sv_latency_fields, sv_latency_field_count, sizeof *sv_latency_fields, key);
        return refuse(reader, "unknown key '%s'%s%s%s", shown(room, key), nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
    }
    bool *seen = &reader->seen[field - sv_latency_fields];
    if (*seen) return refuse(reader, "'%s' is told twice; leave one", field->name);
    *seen = true;
    char *out = (char *)&reader->table.about + field->offset;
    return field->is_text ? read_text(reader, field, value, out)
                          : read_count(reader, field->name, value, SV_LATENCY_TOKENS_MOST, false, (size_t *)(void *)out);
}

static sv_status read_sum(table_reader *reader, const char *value)
{
    char told[16], room[80];
    snprintf(told, sizeof told, "%08x", (unsigned)sv_latency_sum(reader->bytes, reader->line_begin));
    if (strcmp(told, value) != 0)
        return refuse(reader, "crc32 is '%s', but the lines above give %s: the file has changed since it was written. If you edited it, remove the "
                              "lines 'crc32' and 'rows'; if not, measure again", shown(room, value), told);
    reader->ended = true;
    return SV_OK;
}

static sv_status read_key(table_reader *reader, char *text)
{
    char room[80];
    char *colon = strchr(text, ':');
    if (!colon) return refuse(reader, "expected '# key: value', found '# %s'", shown(room, trim(text)));
    *colon = 0;
    const char *key = trim(text), *value = trim(colon + 1);
    if (strcmp(key, "crc32") == 0) return read_sum(reader, value);
    if (reader->columns) return refuse(reader, "the key '%s' stands below the rows; expected it above '%s'", shown(room, key), COLUMNS);
    if (strcmp(key, "format") == 0) {
        if (reader->format) return refuse(reader, "'format' is told twice; leave one");
        reader->format = true;
        return strcmp(value, FORMAT) == 0 ? SV_OK : refuse(reader, "format is '%s'; this program reads '%s'", shown(room, value), FORMAT);
    }
    if (strcmp(key, "rows") == 0) {
        if (reader->rows) return refuse(reader, "'rows' is told twice; leave one");
        reader->rows = true;
        return read_count(reader, "rows", value, SV_LATENCY_ROWS_MOST, false, &reader->rows_told);
    }
    return read_field(reader, key, value);
}

static sv_status add_row(table_reader *reader, const sv_latency_row *row)
{
    sv_latency_table *table = &reader->table;
    if (table->count >= SV_LATENCY_ROWS_MOST) return refuse(reader, "more than %d rows", SV_LATENCY_ROWS_MOST);
    sv_status status = sv_grow(&table->rows, &table->capacity, table->count + 1, sizeof *table->rows, "latency table", reader->err);
    if (!status) table->rows[table->count++] = *row;
    return status;
}

/* "block", "living.2" */
static sv_status read_op(table_reader *reader, const char *text, sv_latency_row *row)
{
    char room[80], word[80], kinds[128] = "";
    int64_t grid = 0;
    const size_t length = strcspn(text, ".");
    const char *number = text[length] ? text + length + 1 : NULL;
    snprintf(word, sizeof word, "%.*s", (int)(length < sizeof word ? length : sizeof word - 1), text);
    const sv_latency_kind *kind = SV_KIND_FIND(sv_latency_kinds, word);
    if (kind) {
        if (number && !kind->grids) return refuse(reader, "op '%s' has a number; %s is there once, expected '%s'", shown(room, text), kind->name, kind->name);
        if (number && (!sv_parse_int(number, &grid) || grid < 1 || grid > (int64_t)GRIDS_MOST || *number < '1' || *number > '9'))
            return refuse(reader, "op '%s': expected a grid from 1 to %d behind the dot", shown(room, text), GRIDS_MOST);
        row->op = (sv_latency_op)(kind - sv_latency_kinds), row->grid = (size_t)grid;
        return SV_OK;
    }
    const char *nearest = sv_kind_nearest(sv_latency_kinds, SV_COUNT(sv_latency_kinds), sizeof *sv_latency_kinds, word);
    if (nearest) return refuse(reader, "unknown op '%s'; did you mean '%s'?", shown(room, text), nearest);
    for (size_t i = 0, used = 0; i < SV_LATENCY_OPS; i++)
        used += (size_t)snprintf(kinds + used, sizeof kinds - used, "%s%s", !i ? "" : i + 1 == SV_LATENCY_OPS ? " or " : ", ", sv_latency_kinds[i].name);
    return refuse(reader, "unknown op '%s'; expected %s", shown(room, text), kinds);
}

static sv_status read_row(table_reader *reader, char *text)
{
    char *fields[COLUMN_COUNT] = { text }, room[80];
    size_t found = 1;
    for (char *comma = strchr(text, ','); comma; comma = strchr(comma + 1, ',')) {
        if (found < COLUMN_COUNT) fields[found] = comma + 1;
        found++;
    }
    if (found != COLUMN_COUNT) return refuse(reader, "%zu values in the row '%s'; expected %d: %s", found, shown(room, text), COLUMN_COUNT, COLUMNS);
    for (size_t i = 1; i < COLUMN_COUNT; i++) fields[i][-1] = 0;
    for (size_t i = 0; i < COLUMN_COUNT; i++) fields[i] = trim(fields[i]);
    sv_latency_row row = { .line = reader->line };
    sv_status status = read_op(reader, fields[0], &row);
    bool model = row.op == SV_LATENCY_MODEL;
    if (!status) status = read_count(reader, "batch", fields[1], SV_LATENCY_BATCH_MOST, false, &row.batch);
    if (!status) status = read_count(reader, "tokens", fields[2], SV_LATENCY_TOKENS_MOST, model, &row.tokens);
    if (!status) status = read_ms(reader, "ms_median", fields[3], false, &row.median_ms);
    if (!status) status = read_ms(reader, "ms_p95", fields[4], model, &row.p95_ms);
    if (!status && row.p95_ms < row.median_ms)
        status = refuse(reader, "ms_p95 %g is below ms_median %g", row.p95_ms, row.median_ms);
    return status ? status : add_row(reader, &row);
}

static sv_status read_line(table_reader *reader, char *text)
{
    char room[80];
    text = trim(text);
    if (reader->ended && *text) return refuse(reader, "'%s' stands below crc32, which ends the table", shown(room, text));
    if (!*text) return SV_OK;
    if (*text == '#') return read_key(reader, text + 1);
    if (reader->columns) return read_row(reader, text);
    if (strcmp(text, COLUMNS) != 0) return refuse(reader, "expected the line '%s', found '%s'", COLUMNS, shown(room, text));
    reader->columns = true;
    return SV_OK;
}

static int by_order(const void *a, const void *b)
{
    const sv_latency_row *x = a, *y = b;
    int order = sv_latency_row_order(x, y);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

/* Rows by grid and a header that tells the grids go together. */
static sv_status check_grids(table_reader *reader)
{
    const size_t grids = sv_latency_grids(&reader->table.about);
    char name[SV_LATENCY_NAME_ROOM];
    for (size_t i = 0; i < reader->table.count; i++) {
        const sv_latency_row *row = &reader->table.rows[i];
        sv_latency_name(name, row->op, row->grid);
        if (row->grid > grids)
            return sv_fail(reader->err, SV_MODEL_FILE, "%s:%zu: '%s' is of grid %zu, but 'depths' in the header tells %zu", reader->name, row->line, name, row->grid, grids);
        if (grids && !row->grid && sv_latency_kinds[row->op].grids)
            return sv_fail(reader->err, SV_MODEL_FILE, "%s:%zu: '%s' is of no grid, but the header's 'depths' tells %zu; expected '%s.1' to '%s.%zu'", reader->name, row->line, name, grids,
                           name, name, grids);
    }
    return SV_OK;
}

/* What can be said only when all lines have been read. */
static sv_status check_whole(table_reader *reader)
{
    sv_latency_table *table = &reader->table;
    char name[SV_LATENCY_NAME_ROOM];
    if (!reader->columns)
        return refuse_table(reader, "the line '%s' and all rows are missing; is the file cut off?", COLUMNS);
    for (size_t i = 0; i < sv_latency_field_count; i++)
        if (sv_latency_fields[i].needed && !reader->seen[i])
            return refuse_table(reader, "the header does not tell '%s'; expected a line '# %s: ...'", sv_latency_fields[i].name, sv_latency_fields[i].name);
    if (!table->count) return refuse_table(reader, "has no rows; is the file cut off?");
    if (reader->rows && reader->rows_told != table->count)
        return refuse_table(reader, "%zu rows are told, %zu are there; is the file cut off?", reader->rows_told, table->count);
    sv_status status = check_grids(reader);
    if (status) return status;
    qsort(table->rows, table->count, sizeof *table->rows, by_order);
    for (size_t i = 1; i < table->count; i++) {
        const sv_latency_row *row = &table->rows[i], *before = row - 1;
        if (sv_latency_row_order(before, row) == 0)
            return sv_fail(reader->err, SV_MODEL_FILE, "%s:%zu: %s at batch %zu and %zu tokens stands in line %zu already; leave one", reader->name,
                           row->line, sv_latency_name(name, row->op, row->grid), row->batch, row->tokens, before->line);
    }
    return sv_latency_check_rise(table, reader->name, reader->err);
}

static sv_status read_lines(table_reader *reader, size_t count)
{
    char line[LINE_MOST];
    for (size_t at = 0; at < count;) {
        reader->line++;
        reader->line_begin = at;
        const char *end = memchr(reader->bytes + at, '\n', count - at);
        if (!end) return refuse(reader, "the last line does not end; is the file cut off?");
        size_t length = (size_t)(end - reader->bytes) - at;
        if (length >= sizeof line) return refuse(reader, "the line has %zu characters; at most %zu are read", length, sizeof line - 1);
        if (memchr(reader->bytes + at, 0, length)) return refuse(reader, "the line holds a zero byte; is this a latency table?");
        memcpy(line, reader->bytes + at, length);
        line[length] = 0;
        sv_status status = read_line(reader, line);
        if (status) return status;
        at += length + 1;
    }
    return SV_OK;
}

sv_status sv_latency_table_parse_behind(sv_latency_table *out, const char *bytes, size_t count, const char *name, size_t before, sv_error *err)
{
    assert(sv_latency_field_count <= FIELDS_MOST);
    table_reader reader = { .name = name, .bytes = bytes, .before = before, .line = before, .err = err };
    if (count > SV_LATENCY_FILE_MOST)
        return sv_fail(err, SV_MODEL_FILE, "%s: has %zu bytes; a latency table has at most %d", name, count, SV_LATENCY_FILE_MOST);
    sv_status status = read_lines(&reader, count);
    if (!status) status = check_whole(&reader);
    if (status) {
        sv_latency_table_clear(&reader.table);
        return status;
    }
    sv_latency_table_clear(out);
    *out = reader.table;
    return SV_OK;
}

sv_status sv_latency_table_parse(sv_latency_table *out, const char *bytes, size_t count, const char *name, sv_error *err)
{
    return sv_latency_table_parse_behind(out, bytes, count, name, 0, err);
}

sv_status sv_latency_table_read(sv_latency_table *out, const char *path, sv_error *err)
{
    unsigned char *bytes = NULL;
    size_t count = 0;
    sv_status status = sv_file_read_all(path, SV_LATENCY_FILE_MOST, SV_MODEL_FILE, &bytes, &count, err);
    if (!status) status = sv_latency_table_parse(out, (const char *)bytes, count, path, err);
    sv_free(bytes);
    return status;
}
