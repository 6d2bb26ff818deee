/* Tables of kinds: rows whose first member is their name. Near means few edits: a letter changed, added, left out, or two
 * neighbours exchanged. How many are few depends on the last part of the name ("batch" of "train.batch"), so that a long
 * section name does not make everything in it look alike. */
#include "base/base.h"

#include <string.h>

enum { LONGEST_NAME = 64 };

static const char *name_of(const void *rows, size_t row_bytes, size_t i)
{
    const char *name;
    memcpy(&name, (const char *)rows + i * row_bytes, sizeof name);
    return name;
}

const void *sv_kind_find(const void *rows, size_t row_count, size_t row_bytes, const char *name)
{
    for (size_t i = 0; i < row_count; i++)
        if (strcmp(name_of(rows, row_bytes, i), name) == 0) return (const char *)rows + i * row_bytes;
    return NULL;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Edits from a to b, by the usual table of prefixes: rows of it are prefixes of a; three rows are kept. */
static size_t edits(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[3][LONGEST_NAME + 1];
    for (size_t j = 0; j <= b_length; j++) rows[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t *now = rows[i % 3], *before = rows[(i + 2) % 3], *before2 = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t changed = before[j - 1] + (a[i - 1] != b[j - 1]);
            now[j] = least(changed, least(before[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) now[j] = least(now[j], before2[j - 2] + 1);
        }
    }
    return rows[a_length % 3][b_length];
}

static size_t edits_allowed(const char *name)
{
    const char *dot = strrchr(name, '.');
    size_t length = strlen(dot ? dot + 1 : name);
    return length <= 2 ? 1 : length <= 7 ? 2 : 3;
}

const char *sv_kind_nearest(const void *rows, size_t row_count, size_t row_bytes, const char *name)
{
    size_t length = strlen(name), best = edits_allowed(name) + 1;
    const char *nearest = NULL;
    if (length == 0 || length > LONGEST_NAME) return NULL;
    for (size_t i = 0; i < row_count; i++) {
        const char *row = name_of(rows, row_bytes, i);
        size_t row_length = strlen(row);
        if (row_length > LONGEST_NAME) continue;
        size_t count = edits(name, length, row, row_length);
        if (count < best && count < length) {
            best = count;
            nearest = row;
        }
    }
    return nearest;
}

void sv_kind_list(const void *rows, size_t row_count, size_t row_bytes, sv_text *text)
{
    for (size_t i = 0; i < row_count; i++) sv_text_add(text, "%s%s", i ? ", " : "", name_of(rows, row_bytes, i));
}
