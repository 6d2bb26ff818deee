/* Tables of several models in one file: whole tables (table_read.c), one behind another. A line `# format: ...` below rows begins the next one, so
 * every table but the first has that line, as all that are written do, and `cat a.csv b.csv` makes such a file. Each table has its own header and its
 * own `rows` and `crc32`: putting one in leaves the bytes of the others alone. A file that is cut off exactly between two tables is a whole file of
 * fewer; whoever asks for the lost one is told what is there. No two tables may answer the same question (sv_latency_same_subject). At most 1 MiB and
 * 64 tables a file. */
#include "latency/latency.h"
#include "latency/table.h"

#include <string.h>

void sv_latency_file_clear(sv_latency_file *file)
{
    for (size_t i = 0; i < file->count; i++) sv_latency_table_clear(&file->parts[i].table);
    sv_free(file->parts);
    *file = (sv_latency_file){ 0 };
}

/* ---- what a table is about --------------------------------------------------------------------------------------- */

/* The method is the first word; more may be told behind it. */
static bool same_word(const char *a, const char *b)
{
    const size_t length = strcspn(a, " ");
    return length == strcspn(b, " ") && memcmp(a, b, length) == 0;
}

static bool share_a_batch(const sv_latency_table *a, const sv_latency_table *b)
{
    unsigned char has[SV_LATENCY_BATCH_MOST / 8 + 1] = { 0 };
    for (size_t i = 0; i < a->count; i++) has[a->rows[i].batch / 8] |= (unsigned char)(1U << a->rows[i].batch % 8);
    for (size_t i = 0; i < b->count; i++)
        if (has[b->rows[i].batch / 8] >> b->rows[i].batch % 8 & 1) return true;
    return false;
}

bool sv_latency_same_subject(const sv_latency_table *a, const sv_latency_table *b)
{
    const sv_latency_about *x = &a->about, *y = &b->about;
    return strcmp(x->arch, y->arch) == 0 && x->image == y->image && x->patch == y->patch && x->depth == y->depth && x->width == y->width && x->heads == y->heads &&
           strcmp(x->depths, y->depths) == 0 && strcmp(x->widths, y->widths) == 0 && strcmp(x->precision, y->precision) == 0 && same_word(x->selector, y->selector) && share_a_batch(a, b);
}

void sv_latency_tell_subject(sv_text *text, const sv_latency_about *about)
{
    sv_text_add(text, "%s (image %zu, patch %zu, depth %zu, width %zu, heads %zu", about->arch, about->image, about->patch, about->depth, about->width, about->heads);
    if (about->selector[0]) sv_text_add(text, ", selectors of %s", about->selector);
    if (about->precision[0]) sv_text_add(text, ", %s", about->precision);
    sv_text_add(text, ")");
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static const char *past_spaces(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r')) at++;
    return at;
}

/* "# format:", with spaces anywhere between. */
static bool is_format(const char *at, const char *end)
{
    static const char KEY[] = "format";
    at = past_spaces(at, end);
    if (at == end || *at != '#') return false;
    at = past_spaces(at + 1, end);
    if ((size_t)(end - at) < strlen(KEY) || memcmp(at, KEY, strlen(KEY)) != 0) return false;
    at = past_spaces(at + strlen(KEY), end);
    return at < end && *at == ':';
}

/* How many bytes the table at `bytes` has, and lines. */
static size_t part_of(const char *bytes, size_t count, size_t *lines)
{
    bool body = false; /* columns or rows seen */
    *lines = 0;
    for (size_t at = 0; at < count; ++*lines) {
        const char *begin = bytes + at, *end = memchr(begin, '\n', count - at);
        if (!end) end = bytes + count;
        if (body && is_format(begin, end)) return at;
        const char *first = past_spaces(begin, end);
        body |= first < end && *first != '#';
        at = (size_t)(end - bytes) + 1;
    }
    return count;
}

static sv_status add_part(sv_latency_file *file, const sv_latency_part_of_file *part, const char *bytes, const char *name, sv_error *err)
{
    if (file->count == SV_LATENCY_TABLES_MOST)
        return sv_fail(err, SV_MODEL_FILE, "%s:%zu: a file holds at most %d tables", name, part->before + 1, SV_LATENCY_TABLES_MOST);
    sv_status status = sv_grow(&file->parts, &file->capacity, file->count + 1, sizeof *file->parts, "latency tables", err);
    if (status) return status;
    sv_latency_part_of_file *added = &file->parts[file->count];
    *added = *part;
    status = sv_latency_table_parse_behind(&added->table, bytes + part->begin, part->end - part->begin, name, part->before, err);
    if (status) return status;
    file->count++;
    for (size_t i = 0; i + 1 < file->count; i++)
        if (sv_latency_same_subject(&file->parts[i].table, &added->table))
            return sv_fail(err, SV_MODEL_FILE, "%s:%zu: a second table of %s with the same selectors, precision and batch begins here; the first begins in line %zu. Leave one", name,
                           part->before + 1, added->table.about.arch, file->parts[i].before + 1);
    return SV_OK;
}

sv_status sv_latency_file_parse(sv_latency_file *out, const char *bytes, size_t count, const char *name, sv_error *err)
{
    sv_latency_file made = { 0 };
    sv_status status = SV_OK;
    size_t at = 0, line = 0;
    if (count > SV_LATENCY_FILE_MOST)
        return sv_fail(err, SV_MODEL_FILE, "%s: has %zu bytes; a file of latency tables has at most %d", name, count, SV_LATENCY_FILE_MOST);
    do {
        size_t lines = 0;
        const size_t length = part_of(bytes + at, count - at, &lines);
        status = add_part(&made, &(sv_latency_part_of_file){ .begin = at, .end = at + length, .before = line }, bytes, name, err);
        at += length, line += lines;
    } while (!status && at < count);
    if (status) {
        sv_latency_file_clear(&made);
        return status;
    }
    sv_latency_file_clear(out);
    *out = made;
    return SV_OK;
}

sv_status sv_latency_file_read(sv_latency_file *out, const char *path, sv_error *err)
{
    unsigned char *bytes = NULL;
    size_t count = 0;
    sv_status status = sv_file_read_all(path, SV_LATENCY_FILE_MOST, SV_MODEL_FILE, &bytes, &count, err);
    if (!status) status = sv_latency_file_parse(out, (const char *)bytes, count, path, err);
    sv_free(bytes);
    return status;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* The file's text with the table in the place of those with the same subject, else behind all. */
static sv_status join(sv_text *text, const sv_latency_file *file, const char *bytes, const sv_latency_table *table, bool *replaced, sv_error *err)
{
    sv_status status = SV_OK;
    *replaced = false;
    for (size_t i = 0; !status && i < file->count; i++) {
        const sv_latency_part_of_file *part = &file->parts[i];
        if (!sv_latency_same_subject(&part->table, table)) {
            sv_text_add_bytes(text, bytes + part->begin, part->end - part->begin);
        } else if (!*replaced) {
            status = sv_latency_table_print(table, text, err);
            *replaced = true;
        }
    }
    if (!status && !*replaced) status = sv_latency_table_print(table, text, err);
    return status ? status : sv_text_check(text, err);
}

sv_status sv_latency_file_put(const sv_latency_table *table, const char *path, bool *replaced, sv_error *err)
{
    unsigned char *bytes = NULL;
    size_t count = 0;
    sv_latency_file file = { 0 };
    sv_text text = { 0 };
    *replaced = false;
    if (!sv_path_exists(path)) return sv_latency_table_write(table, path, err);
    sv_status status = sv_file_read_all(path, SV_LATENCY_FILE_MOST, SV_MODEL_FILE, &bytes, &count, err);
    if (!status) status = sv_latency_file_parse(&file, (const char *)bytes, count, path, err);
    if (!status) status = join(&text, &file, (const char *)bytes, table, replaced, err);
    if (!status) status = sv_latency_file_parse(&file, text.data, text.length, path, err);
    if (!status) status = sv_file_write_atomic(path, text.data, text.length, err);
    sv_latency_file_clear(&file);
    sv_text_clear(&text);
    sv_free(bytes);
    return status;
}
