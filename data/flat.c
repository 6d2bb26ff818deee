/* The kind flat: pictures in one folder, and a list of lines `NAME LABEL`. The list alone says which pictures there are; the folder is not
 * read, and only the first picture is looked for when the source is opened. */
#include "data/source_kind.h"

#include <stdlib.h>
#include <string.h>

enum { LIST_MAX_BYTES = 1 << 30, LINE_MAX_BYTES = 4096, NO_LABEL = -1 };

struct reader {
    sv_file_source *source;
    const sv_source_options *options;
    const char *path; /* of the list */
    uint32_t *lines;  /* by sample: where it stands */
    size_t line, line_capacity, left_out, largest;
};

static bool given(const char *text) { return text && *text; }

static const char *name_of_list(const sv_source_options *options) { return given(options->list_name) ? options->list_name : "val.txt"; }

/* NAME in the folder, else, where it holds no class folders, beside it; NULL in *out where there is none. */
static sv_status list_find(char **out, const char *folder, const sv_source_options *options, sv_error *err)
{
    char *parent = NULL, *path = NULL;
    *out = NULL;
    sv_status status = sv_path_join(&path, folder, name_of_list(options), err);
    if (!status && !sv_path_is_file(path)) {
        sv_free(path);
        path = NULL;
        if (!sv_source_folder.fits(folder, options)) {
            status = sv_path_join(&parent, folder, "..", err);
            if (!status) status = sv_path_join(&path, parent, name_of_list(options), err);
        }
        if (!status && path && !sv_path_is_file(path)) {
            sv_free(path);
            path = NULL;
        }
    }
    if (status)
        sv_free(path);
    else
        *out = path;
    sv_free(parent);
    return status;
}

static bool flat_fits(const char *path, const sv_source_options *options)
{
    char *list = NULL;
    bool found = sv_path_is_folder(path) && !list_find(&list, path, options, NULL) && list;
    sv_free(list);
    return found;
}

/* Names stay inside the folder. */
static bool name_is_inside(const char *name)
{
    if (*name == '/') return false;
    for (const char *part = name; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL)
        if (!strncmp(part, "..", 2) && (part[2] == '/' || !part[2])) return false;
    return true;
}

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

/* Parts the line at its last TAB, where it has none at its last space; NULL where it has one word only. */
static char *label_cut(char *line)
{
    char *cut = strrchr(line, '\t');
    if (!cut) cut = strrchr(line, ' ');
    if (!cut) return NULL;
    char *label = cut + 1;
    while (cut > line && is_blank(cut[-1])) cut--;
    *cut = 0;
    while (is_blank(*label)) label++;
    return label;
}

/* A class folder where classes are named, else an index; NO_LABEL for one that is to be left out. */
static sv_status label_read(struct reader *reader, const char *text, int64_t *label, sv_error *err)
{
    const sv_classes *classes = &reader->source->base.classes;
    char safe[256];
    bool named = given(reader->options->class_file), number = sv_parse_int(text, label);
    int64_t limit = named ? (int64_t)classes->count : SV_CLASSES_MAX, found = named ? sv_classes_find(classes, text) : -1;
    if (found >= 0) {
        *label = found;
        return SV_OK;
    }
    sv_text_safe(safe, sizeof safe, text);
    if (number && *label >= 0 && *label < limit) return SV_OK;
    if (number)
        return sv_fail(err, SV_DATA, "%s:%zu: label %s is not a class; expected 0 to %lld", reader->path, reader->line, safe,
                       (long long)limit - 1);
    if (!named)
        return sv_fail(err, SV_DATA, "%s:%zu: label '%s' is not a number; class folder names need a class file, data.classes", reader->path,
                       reader->line, safe);
    *label = NO_LABEL;
    if (reader->options->unlisted == SV_UNLISTED_SKIP) return SV_OK;
    return sv_fail(err, SV_DATA,
                   "%s:%zu: class '%s' is not named in %s; add a line for it there, or leave such pictures out with data.unlisted = skip",
                   reader->path, reader->line, safe, reader->options->class_file);
}

static sv_status line_take(struct reader *reader, char *line, size_t length, sv_error *err)
{
    char safe[256];
    int64_t label;
    sv_file_source *source = reader->source;
    if (length > LINE_MAX_BYTES)
        return sv_fail(err, SV_DATA, "%s:%zu: the line has %zu bytes, at most %d are allowed; is this a list of pictures?", reader->path,
                       reader->line, length, LINE_MAX_BYTES);
    if (strlen(line) != length)
        return sv_fail(err, SV_DATA, "%s:%zu: the line holds a zero byte; is this a list of pictures?", reader->path, reader->line);
    while (length && is_blank(line[length - 1])) line[--length] = 0;
    while (is_blank(*line)) line++;
    if (!*line || *line == '#') return SV_OK;
    char *text = label_cut(line);
    if (!text)
        return sv_fail(err, SV_DATA, "%s:%zu: there is no label behind '%s'; 'NAME LABEL' was expected", reader->path, reader->line,
                       sv_text_safe(safe, sizeof safe, line));
    if (!name_is_inside(line))
        return sv_fail(err, SV_DATA, "%s:%zu: '%s' leads out of the folder; the name of a picture in it was expected", reader->path,
                       reader->line, sv_text_safe(safe, sizeof safe, line));
    sv_status status = label_read(reader, text, &label, err);
    if (status) return status;
    if (label == NO_LABEL) {
        reader->left_out++;
        return SV_OK;
    }
    if ((size_t)label > reader->largest) reader->largest = (size_t)label;
    status = sv_grow(&reader->lines, &reader->line_capacity, source->base.count + 1, sizeof *reader->lines, "data", err);
    if (!status) reader->lines[source->base.count] = (uint32_t)reader->line;
    return status ? status : sv_file_source_add(source, line, (uint32_t)label, err);
}

static sv_status lines_take(struct reader *reader, char *text, size_t length, sv_error *err)
{
    char *end = text + length;
    sv_status status = SV_OK;
    if (length >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) text += 3;
    while (text < end && !status) {
        char *stop = memchr(text, '\n', (size_t)(end - text));
        char *next = stop ? stop + 1 : end;
        if (!stop) stop = end;
        if (stop > text && stop[-1] == '\r') stop--;
        *stop = 0; /* a zero byte stands behind the last line */
        reader->line++;
        status = line_take(reader, text, (size_t)(stop - text), err);
        text = next;
    }
    return status;
}

static int by_name(const void *one, const void *other, void *context)
{
    const sv_file_source *source = context;
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    int order = strcmp(source->paths.data + source->samples[a].path_at, source->paths.data + source->samples[b].path_at);
    return order ? order : (a > b) - (a < b);
}

/* No picture stands in the list twice. */
static sv_status names_check(const struct reader *reader, sv_error *err)
{
    sv_file_source *source = reader->source;
    size_t count = source->base.count;
    uint32_t *sorted = NULL;
    char safe[256];
    sv_status status = sv_alloc(&sorted, count * sizeof *sorted, "data", err);
    for (size_t i = 0; !status && i < count; i++) sorted[i] = (uint32_t)i;
    if (!status) qsort_r(sorted, count, sizeof *sorted, by_name, source);
    for (size_t i = 1; !status && i < count; i++) {
        const char *name = source->paths.data + source->samples[sorted[i]].path_at;
        if (!strcmp(source->paths.data + source->samples[sorted[i - 1]].path_at, name))
            status = sv_fail(err, SV_DATA, "%s:%u: '%s' stands on line %u already; each picture may stand on one line only", reader->path,
                             reader->lines[sorted[i]], sv_text_safe(safe, sizeof safe, name), reader->lines[sorted[i - 1]]);
    }
    sv_free(sorted);
    return status;
}

/* A list of another folder is noticed at once. */
static sv_status first_check(const struct reader *reader, sv_error *err)
{
    char *path = NULL, safe[256];
    const sv_source *source = &reader->source->base;
    sv_status status = sv_file_source_path(source, 0, &path, err);
    if (!status && !sv_path_is_file(path))
        status = sv_fail(err, SV_DATA, "%s:%u: there is no '%s' in %s; is it the list of other pictures?", reader->path, reader->lines[0],
                         sv_text_safe(safe, sizeof safe, reader->source->paths.data), source->root);
    sv_free(path);
    return status;
}

static sv_status list_read(struct reader *reader, sv_error *err)
{
    unsigned char *bytes = NULL;
    size_t length = 0;
    sv_source *source = &reader->source->base;
    sv_status status = sv_file_read_all(reader->path, LIST_MAX_BYTES, SV_DATA, &bytes, &length, err);
    if (!status) status = lines_take(reader, (char *)bytes, length, err);
    if (!status && !source->count)
        status = sv_fail(err, SV_DATA, "%s: it lists no picture%s; lines 'NAME LABEL' were expected", reader->path,
                         reader->left_out ? " of a class that is named" : "");
    if (!status) status = names_check(reader, err);
    if (!status) status = first_check(reader, err);
    if (!status && reader->left_out)
        sv_log(SV_INFO, "%s: %zu pictures of classes that %s does not name are left out", reader->path, reader->left_out,
               reader->options->class_file);
    sv_free(bytes);
    return status;
}

static sv_status flat_open(sv_source **out, const char *folder, const sv_source_options *options, sv_error *err)
{
    sv_source *source = NULL;
    char *list = NULL;
    struct reader reader = { .options = options };
    sv_status status = sv_source_create(&source, sizeof(sv_file_source), &sv_source_flat, folder, err);
    if (!status && !sv_path_is_folder(folder))
        status = sv_fail(err, SV_DATA, "%s: this is not a folder; a folder of pictures was expected", folder);
    if (!status) status = given(options->list_file) ? sv_text_copy(&list, options->list_file, err) : list_find(&list, folder, options, err);
    if (!status && !list)
        status =
            sv_fail(err, SV_DATA,
                    "%s: there is no list %s in it or beside it; lines 'NAME LABEL' are expected there, or in the file data.val_list names",
                    folder, name_of_list(options));
    if (!status && given(options->class_file)) status = sv_classes_read(&source->classes, options->class_file, err);
    reader.source = (sv_file_source *)source;
    reader.path = list;
    if (!status) status = list_read(&reader, err);
    if (!status && !given(options->class_file)) {
        source->numbered = true;
        status = sv_classes_of_numbers(&source->classes, reader.largest + 1, err);
    }
    sv_free(reader.lines);
    sv_free(list);
    if (status)
        sv_source_close(source);
    else
        *out = source;
    return status;
}

const sv_source_kind sv_source_flat = { .name = "flat",
                                        .fits = flat_fits,
                                        .open = flat_open,
                                        .path = sv_file_source_path,
                                        .bytes = sv_file_source_bytes,
                                        .label = sv_file_source_label,
                                        .clear = sv_file_source_clear };
