/* metrics.csv: a line of column names, then a line a row. A row is "%.9g" a value, the counter in full. Whatever the last
 * unbroken run wrote stays as bytes: a resume cuts lines off the end, nothing else. */
#include "report/report.h"

#include <assert.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

struct sv_metrics {
    char *path;
    size_t count, size; /* size: of the rows that are whole */
    uint64_t last;
    bool any, cut; /* cut: bytes of a row that failed may stand behind `size` */
};

static const double COUNTER_MOST = 9007199254740992.0; /* 2^53: whole in a double */

static void print_header(sv_text *text, const char *const *columns, size_t count)
{
    for (size_t i = 0; i < count; i++) sv_text_add(text, "%s%s", i ? "," : "", columns[i]);
    sv_text_add(text, "\n");
}

/* The counter of the line at `line`, which ends in a comma or at `end`. */
static bool read_counter(const char *line, const char *end, uint64_t *out)
{
    char room[32];
    const char *comma = memchr(line, ',', (size_t)(end - line));
    size_t length = (size_t)((comma ? comma : end) - line);
    int64_t value;
    if (length == 0 || length >= sizeof room) return false;
    memcpy(room, line, length);
    room[length] = 0;
    if (!sv_parse_int(room, &value) || value < 0) return false;
    *out = (uint64_t)value;
    return true;
}

/* How many of the bytes stay: whole lines up to the first whose counter is above `last`, or which is cut. */
static sv_status find_kept(sv_metrics *metrics, const char *bytes, size_t count, size_t header, uint64_t last, size_t *kept, sv_error *err)
{
    size_t at = header, line = 1;
    while (at < count) {
        const char *end = memchr(bytes + at, '\n', count - at);
        uint64_t counter;
        line++;
        if (!end) break;
        if (!read_counter(bytes + at, end, &counter) || (metrics->any && counter <= metrics->last))
            return sv_fail(err, SV_DATA, "%s:%zu: does not begin with a whole number above the one before; move the file away to go on", metrics->path, line);
        if (counter > last) break;
        metrics->any = true;
        metrics->last = counter;
        at = (size_t)(end - bytes) + 1;
    }
    *kept = at;
    return SV_OK;
}

/* Takes over the file that is there. */
static sv_status go_on(sv_metrics *metrics, const sv_text *header, uint64_t last, sv_error *err)
{
    unsigned char *bytes = NULL;
    size_t count, kept = 0;
    sv_status status = sv_file_read_all(metrics->path, SV_METRICS_BYTES_MOST, SV_DATA, &bytes, &count, err);
    if (status) return status;
    if (count < header->length && memcmp(bytes, header->data, count) == 0) kept = 0; /* cut inside its first line */
    else if (count < header->length || memcmp(bytes, header->data, header->length) != 0) {
        char found[200];
        char *end = strchr((char *)bytes, '\n');
        if (end) *end = 0;
        status = sv_fail(err, SV_DATA, "%s: has the columns '%s', not those of this run; move the file away to go on", metrics->path,
                         sv_text_safe(found, sizeof found, (char *)bytes));
        goto done;
    } else {
        status = find_kept(metrics, (const char *)bytes, count, header->length, last, &kept, err);
        if (status) goto done;
    }
    if (kept == 0) status = sv_file_write_atomic(metrics->path, header->data, header->length, err);
    else if (kept < count) status = sv_file_write_atomic(metrics->path, bytes, kept, err);
    metrics->size = kept ? kept : header->length;
done:
    sv_free(bytes);
    return status;
}

sv_status sv_metrics_open(sv_metrics **out, const char *path, const char *const *columns, size_t count, uint64_t last, sv_error *err)
{
    assert(count > 0 && count <= SV_METRICS_COLUMNS_MOST);
    sv_metrics *metrics = NULL;
    sv_text header = { 0 };
    sv_status status = sv_alloc_zero(&metrics, sizeof *metrics, "metrics", err);
    if (status) return status;
    metrics->count = count;
    status = sv_text_copy(&metrics->path, path, err);
    if (status) goto done;
    print_header(&header, columns, count);
    status = sv_text_check(&header, err);
    if (status) goto done;
    metrics->size = header.length;
    status = sv_path_exists(path) ? go_on(metrics, &header, last, err) : sv_file_write_atomic(path, header.data, header.length, err);
    if (status) goto done;
    *out = metrics;
    metrics = NULL;
done:
    sv_text_clear(&header);
    sv_metrics_close(metrics);
    return status;
}

/* What a failed row left behind goes first, so that the next try makes neither a torn row nor the same one twice. */
static sv_status append(sv_metrics *metrics, const sv_text *line, sv_error *err)
{
    if (metrics->cut && truncate(metrics->path, (off_t)metrics->size) < 0)
        return sv_fail(err, SV_FAULT, "%s: a row that could not be written whole cannot be removed: %m", metrics->path);
    metrics->cut = true;
    sv_status status = sv_file_append(metrics->path, line->data, line->length, err);
    if (status) return status;
    metrics->cut = false;
    metrics->size += line->length;
    return SV_OK;
}

sv_status sv_metrics_add(sv_metrics *metrics, const double *values, sv_error *err)
{
    sv_text line = { 0 };
    double counter = values[0];
    if (!(counter >= 0 && counter < COUNTER_MOST) || counter != floor(counter) || (metrics->any && counter <= (double)metrics->last))
        return sv_fail(err, SV_FAULT, "%s: a row with counter %g after %g; expected a whole number above it", metrics->path, counter, (double)metrics->last);
    sv_text_add(&line, "%.0f", counter);
    for (size_t i = 1; i < metrics->count; i++) {
        sv_text_add(&line, ",");
        if (isfinite(values[i])) sv_text_add(&line, "%.9g", values[i]);
    }
    sv_text_add(&line, "\n");
    sv_status status = sv_text_check(&line, err);
    if (!status) status = append(metrics, &line, err);
    if (!status) {
        metrics->any = true;
        metrics->last = (uint64_t)counter;
    }
    sv_text_clear(&line);
    return status;
}

void sv_metrics_close(sv_metrics *metrics)
{
    if (!metrics) return;
    sv_free(metrics->path);
    sv_free(metrics);
}

/* ---- reading ---- */

/* Fields of a line, ended by zero bytes in place; how many there are. */
static size_t split(char *line, char **fields, size_t most)
{
    size_t count = 0;
    for (char *at = line; at; count++) {
        char *comma = strchr(at, ',');
        if (comma) *comma++ = 0;
        if (count < most) fields[count] = at;
        at = comma;
    }
    return count;
}

/* The next whole line from *at, ended by a zero byte; NULL at the end or where the last one is cut. */
static char *next_line(char **at)
{
    char *line = *at, *end = strchr(line, '\n');
    if (!end) return NULL;
    *end = 0;
    *at = end + 1;
    return line;
}

static sv_status read_rows(sv_metrics_table *table, char *at, const char *path, sv_error *err)
{
    char *fields[SV_METRICS_COLUMNS_MOST], *line;
    for (size_t row = 0; (line = next_line(&at)); row++) {
        if (split(line, fields, SV_METRICS_COLUMNS_MOST) != table->column_count)
            return sv_fail(err, SV_DATA, "%s:%zu: expected %zu values", path, row + 2, table->column_count);
        for (size_t i = 0; i < table->column_count; i++) {
            double value = NAN;
            if (*fields[i] && !sv_parse_real(fields[i], &value)) {
                char room[64];
                return sv_fail(err, SV_DATA, "%s:%zu: '%s' is no number", path, row + 2, sv_text_safe(room, sizeof room, fields[i]));
            }
            table->values[i][row] = value;
        }
    }
    return SV_OK;
}

static sv_status make_columns(sv_metrics_table *table, char *const *fields, sv_error *err)
{
    size_t bytes, count = table->column_count;
    if (sv_mul_size3(&bytes, table->row_count, count, sizeof(double))) return sv_fail(err, SV_FAULT, "%zu rows of metrics do not fit", table->row_count);
    sv_status status = sv_alloc(&table->columns, count * sizeof *table->columns, "metrics", err);
    if (!status) status = sv_alloc(&table->values, count * sizeof *table->values, "metrics", err);
    if (!status) status = sv_alloc(&table->block, bytes, "metrics", err);
    if (status) return status;
    for (size_t i = 0; i < count; i++) {
        table->columns[i] = fields[i];
        table->values[i] = table->block + i * table->row_count;
    }
    return SV_OK;
}

sv_status sv_metrics_read(sv_metrics_table *out, const char *path, sv_error *err)
{
    sv_metrics_table table = { 0 };
    unsigned char *bytes = NULL;
    char *fields[SV_METRICS_COLUMNS_MOST], *at, *line;
    size_t count;
    sv_status status = sv_file_read_all(path, SV_METRICS_BYTES_MOST, SV_DATA, &bytes, &count, err);
    if (status) return status;
    table.text = at = (char *)bytes;
    line = next_line(&at);
    table.column_count = line ? split(line, fields, SV_METRICS_COLUMNS_MOST) : 0;
    if (!table.column_count || table.column_count > SV_METRICS_COLUMNS_MOST) {
        status = sv_fail(err, SV_DATA, "%s: expected a line of 1 to %d column names", path, SV_METRICS_COLUMNS_MOST);
        goto done;
    }
    for (const char *c = at; (c = strchr(c, '\n')); c++) table.row_count++;
    status = make_columns(&table, fields, err);
    if (!status) status = read_rows(&table, at, path, err);
    if (status) goto done;
    *out = table;
    table = (sv_metrics_table){ 0 };
done:
    sv_metrics_table_clear(&table);
    return status;
}

void sv_metrics_table_clear(sv_metrics_table *table)
{
    sv_free(table->columns);
    sv_free(table->values);
    sv_free(table->block);
    sv_free(table->text);
    *table = (sv_metrics_table){ 0 };
}

const double *sv_metrics_column(const sv_metrics_table *table, const char *name)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (strcmp(table->columns[i], name) == 0) return table->values[i];
    return NULL;
}
