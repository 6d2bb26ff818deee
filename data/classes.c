/* Class lists. One block of text holds all lines; folders and names point into it, and an index sorted by folder finds them. */
#include "data/source.h"

#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 1000, FILE_MAX_BYTES = 256 << 20 };

void sv_classes_clear(sv_classes *classes)
{
    sv_free(classes->text);
    sv_free(classes->folders);
    sv_free(classes->names);
    sv_free(classes->sorted);
    *classes = (sv_classes){ 0 };
}

int64_t sv_classes_find(const sv_classes *classes, const char *folder)
{
    size_t low = 0, high = classes->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(classes->folders[classes->sorted[middle]], folder);
        if (!order) return classes->sorted[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

static int by_folder(const void *one, const void *other, void *context)
{
    const sv_classes *classes = context;
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    int order = strcmp(classes->folders[a], classes->folders[b]);
    return order ? order : (a > b) - (a < b);
}

static sv_status index_make(sv_classes *classes, const char *path, sv_error *err)
{
    char safe[128];
    sv_status status = sv_alloc(&classes->sorted, classes->count * sizeof *classes->sorted, "data", err);
    if (status) return status;
    for (size_t i = 0; i < classes->count; i++) classes->sorted[i] = (uint32_t)i;
    qsort_r(classes->sorted, classes->count, sizeof *classes->sorted, by_folder, classes);
    for (size_t i = 1; i < classes->count; i++) {
        uint32_t one = classes->sorted[i - 1], other = classes->sorted[i];
        const char *folder = classes->folders[one];
        if (!strcmp(folder, classes->folders[other]))
            return sv_fail(err, SV_DATA, "%s:%u: class '%s' stands on line %u already; each class may stand on one line only", path, other + 1,
                           sv_text_safe(safe, sizeof safe, folder), one + 1);
    }
    return SV_OK;
}

/* Cuts one line out of the text, in place. */
static sv_status line_take(sv_classes *classes, char *line, size_t length, const char *path, sv_error *err)
{
    size_t number = classes->count + 1;
    if (length > LINE_MAX_BYTES) return sv_fail(err, SV_DATA, "%s:%zu: the line has %zu bytes, at most %d are allowed; is this a class file?", path, number, length, LINE_MAX_BYTES);
    if (strlen(line) != length) return sv_fail(err, SV_DATA, "%s:%zu: the line holds a zero byte; is this a class file?", path, number);
    char *tab = strchr(line, '\t');
    if (tab) *tab = 0;
    if (!*line) return sv_fail(err, SV_DATA, "%s:%zu: the line names no class folder; 'folder<TAB>name' was expected", path, number);
    if (tab && !tab[1]) return sv_fail(err, SV_DATA, "%s:%zu: nothing follows the TAB; 'folder<TAB>name' was expected", path, number);
    classes->folders[classes->count] = line;
    classes->names[classes->count] = tab ? tab + 1 : line;
    classes->count++;
    return SV_OK;
}

static size_t lines_in(const char *text, size_t length)
{
    size_t lines = length && text[length - 1] != '\n';
    for (size_t i = 0; i < length; i++) lines += text[i] == '\n';
    return lines;
}

static sv_status lines_take(sv_classes *classes, size_t length, const char *path, sv_error *err)
{
    char *text = classes->text, *end = text + length;
    if (length >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) text += 3;
    while (end > text && (end[-1] == '\n' || end[-1] == '\r')) end--;
    *end = 0;
    size_t lines = lines_in(text, (size_t)(end - text));
    if (!lines) return sv_fail(err, SV_DATA, "%s: the class file names no class; a line 'folder<TAB>name' for each was expected", path);
    if (lines > SV_CLASSES_MAX) return sv_fail(err, SV_DATA, "%s: the class file has %zu lines, at most %d are allowed; is this a class file?", path, lines, SV_CLASSES_MAX);
    sv_status status = sv_alloc(&classes->folders, lines * sizeof *classes->folders, "data", err);
    if (!status) status = sv_alloc(&classes->names, lines * sizeof *classes->names, "data", err);
    while (!status && text <= end && classes->count < lines) {
        char *stop = memchr(text, '\n', (size_t)(end - text));
        char *next = stop ? stop + 1 : end + 1;
        if (!stop) stop = end;
        if (stop > text && stop[-1] == '\r') stop--;
        *stop = 0;
        status = line_take(classes, text, (size_t)(stop - text), path, err);
        text = next;
    }
    return status;
}

sv_status sv_classes_read(sv_classes *classes, const char *path, sv_error *err)
{
    sv_classes made = { 0 };
    unsigned char *bytes = NULL;
    size_t length;
    sv_status status = sv_file_read_all(path, FILE_MAX_BYTES, SV_DATA, &bytes, &length, err);
    if (status) return status;
    made.text = (char *)bytes;
    status = lines_take(&made, length, path, err);
    if (!status) status = index_make(&made, path, err);
    if (status)
        sv_classes_clear(&made);
    else
        *classes = made;
    return status;
}

sv_status sv_classes_of_folders(sv_classes *classes, sv_text *names, size_t count, sv_error *err)
{
    sv_classes made = { 0 };
    sv_status status = sv_text_check(names, err);
    made.text = names->data;
    *names = (sv_text){ 0 };
    if (!status) status = sv_alloc(&made.folders, count * sizeof *made.folders, "data", err);
    if (!status) status = sv_alloc(&made.names, count * sizeof *made.names, "data", err);
    if (!status) status = sv_alloc(&made.sorted, count * sizeof *made.sorted, "data", err);
    const char *name = made.text;
    for (size_t i = 0; i < count && !status; i++, name += strlen(name) + 1) {
        made.folders[i] = made.names[i] = name;
        made.sorted[i] = (uint32_t)i;
        made.count = i + 1;
    }
    if (status)
        sv_classes_clear(&made);
    else
        *classes = made;
    return status;
}

sv_status sv_classes_of_numbers(sv_classes *classes, size_t count, sv_error *err)
{
    sv_text names = { 0 };
    for (size_t i = 0; i < count; i++) {
        sv_text_add(&names, "%zu", i);
        sv_text_add_bytes(&names, "", 1);
    }
    sv_status status = sv_classes_of_folders(classes, &names, count, err);
    if (!status && count) qsort_r(classes->sorted, count, sizeof *classes->sorted, by_folder, classes);
    return status;
}
