/* The ImageFolder source. A sample is 16 bytes: its class and where its path, relative to the root, stands in one block of text, so that
 * 1.3 million ImageNet files take about 80 MB and a second. Listing reads folders alone; only links and file systems that do not tell a file's kind cost
 * one stat call each. */
#include "data/source.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 16 };

struct sample {
    uint64_t path_at;
    uint32_t label;
};

struct sv_source {
    char *root;
    sv_classes classes;
    struct sample *samples;
    size_t count, capacity;
    sv_text paths;
};

enum entry_kind { ENTRY_NONE, ENTRY_FILE, ENTRY_FOLDER };

/* Names of a folder with their kinds, sorted by bytes. */
struct entry {
    char *name;
    enum entry_kind kind;
};

struct entries {
    struct entry *items;
    size_t count, capacity;
};

static void entries_clear(struct entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) sv_free(entries->items[i].name);
    sv_free(entries->items);
    *entries = (struct entries){ 0 };
}

/* Links are followed; a link to nothing is a file that cannot be read, so that it is counted and named. */
static enum entry_kind kind_of(DIR *folder, const struct dirent *entry)
{
    struct stat about;
    if (entry->d_type == DT_REG) return ENTRY_FILE;
    if (entry->d_type == DT_DIR) return ENTRY_FOLDER;
    if (entry->d_type != DT_LNK && entry->d_type != DT_UNKNOWN) return ENTRY_NONE;
    if (fstatat(dirfd(folder), entry->d_name, &about, 0)) return ENTRY_FILE;
    return S_ISDIR(about.st_mode) ? ENTRY_FOLDER : S_ISREG(about.st_mode) ? ENTRY_FILE : ENTRY_NONE;
}

static int by_name(const void *one, const void *other)
{
    return strcmp(((const struct entry *)one)->name, ((const struct entry *)other)->name);
}

static sv_status entries_list(struct entries *entries, const char *path, sv_error *err)
{
    sv_status status = SV_OK;
    struct dirent *entry;
    DIR *folder = opendir(path);
    if (!folder) return sv_fail(err, SV_DATA, "%s: the folder cannot be read (%s); a folder of class folders was expected", path, strerror(errno));
    while (!status && (errno = 0, entry = readdir(folder))) {
        enum entry_kind kind = entry->d_name[0] == '.' ? ENTRY_NONE : kind_of(folder, entry);
        if (kind == ENTRY_NONE) continue;
        status = sv_grow(&entries->items, &entries->capacity, entries->count + 1, sizeof *entries->items, "data", err);
        if (!status) status = sv_text_copy(&entries->items[entries->count].name, entry->d_name, err);
        if (!status) entries->items[entries->count++].kind = kind;
    }
    if (!status && errno) status = sv_fail(err, SV_DATA, "%s: the folder cannot be read (%s)", path, strerror(errno));
    closedir(folder);
    if (!status && entries->count) qsort(entries->items, entries->count, sizeof *entries->items, by_name);
    if (status) entries_clear(entries);
    return status;
}

static sv_status sample_add(sv_source *source, const char *path, uint32_t label, sv_error *err)
{
    sv_status status = sv_grow(&source->samples, &source->capacity, source->count + 1, sizeof *source->samples, "data", err);
    if (status) return status;
    size_t at = source->paths.length;
    sv_text_add_bytes(&source->paths, path, strlen(path) + 1);
    status = sv_text_check(&source->paths, err);
    if (!status) source->samples[source->count++] = (struct sample){ at, label };
    return status;
}

/* Every file below `relative` (a path from the root) belongs to `label`. */
static sv_status class_list(sv_source *source, const char *relative, uint32_t label, int depth, sv_error *err)
{
    struct entries entries = { 0 };
    char *path = NULL;
    if (depth > DEPTH_MAX) return sv_fail(err, SV_DATA, "%s/%s: folders lie more than %d deep; does a link point back at its own folder?", source->root, relative, DEPTH_MAX);
    sv_status status = sv_path_join(&path, source->root, relative, err);
    if (!status) status = entries_list(&entries, path, err);
    for (size_t i = 0; i < entries.count && !status; i++) {
        char *below = NULL;
        status = sv_path_join(&below, relative, entries.items[i].name, err);
        if (!status && entries.items[i].kind == ENTRY_FOLDER)
            status = class_list(source, below, label, depth + 1, err);
        else if (!status)
            status = sample_add(source, below, label, err);
        sv_free(below);
    }
    entries_clear(&entries);
    sv_free(path);
    return status;
}

/* Without a class file the sorted folders are the classes. */
static sv_status classes_of(sv_classes *classes, const struct entries *entries, sv_error *err)
{
    sv_text text = { 0 };
    size_t folders = 0, at = 0;
    for (size_t i = 0; i < entries->count; i++) {
        if (entries->items[i].kind != ENTRY_FOLDER) continue;
        sv_text_add_bytes(&text, entries->items[i].name, strlen(entries->items[i].name) + 1);
        folders++;
    }
    sv_status status = sv_text_check(&text, err);
    classes->text = text.data;
    if (!status) status = sv_alloc(&classes->folders, folders * sizeof *classes->folders, "data", err);
    if (!status) status = sv_alloc(&classes->names, folders * sizeof *classes->names, "data", err);
    if (!status) status = sv_alloc(&classes->sorted, folders * sizeof *classes->sorted, "data", err);
    for (size_t i = 0; i < folders && !status; i++, at += strlen(text.data + at) + 1) {
        classes->folders[i] = classes->names[i] = text.data + at;
        classes->sorted[i] = (uint32_t)i;
        classes->count = i + 1;
    }
    return status;
}

static sv_status class_unknown(const sv_source *source, const char *folder, const char *class_file, sv_error *err)
{
    char safe[256];
    return sv_fail(err, SV_DATA, "%s: class folder '%s' is not named in %s; add a line for it there, or move the folder away", source->root,
                   sv_text_safe(safe, sizeof safe, folder), class_file);
}

static sv_status classes_list(sv_source *source, const struct entries *entries, const char *class_file, sv_error *err)
{
    sv_status status = SV_OK;
    char safe[256];
    for (size_t i = 0; i < entries->count && !status; i++) {
        const char *folder = entries->items[i].name;
        if (entries->items[i].kind != ENTRY_FOLDER) continue;
        int64_t label = sv_classes_find(&source->classes, folder);
        size_t before = source->count;
        if (label < 0) return class_unknown(source, folder, class_file, err);
        status = class_list(source, folder, (uint32_t)label, 0, err);
        if (!status && source->count == before)
            status = sv_fail(err, SV_DATA, "%s: class folder '%s' holds no picture; fill it or move it away", source->root, sv_text_safe(safe, sizeof safe, folder));
    }
    return status;
}

sv_status sv_source_open_folder(sv_source **out, const char *folder, const char *class_file, sv_error *err)
{
    sv_source *source = NULL;
    struct entries entries = { 0 };
    bool given = class_file && *class_file, any = false;
    sv_status status = sv_alloc_zero(&source, sizeof *source, "data", err);
    if (status) return status;
    status = sv_text_copy(&source->root, folder, err);
    if (!status) status = entries_list(&entries, folder, err);
    for (size_t i = 0; i < entries.count; i++) any = any || entries.items[i].kind == ENTRY_FOLDER;
    if (!status && !any) status = sv_fail(err, SV_DATA, "%s: there is no class folder in it; pictures are expected as FOLDER/CLASS/PICTURE", folder);
    if (!status) status = given ? sv_classes_read(&source->classes, class_file, err) : classes_of(&source->classes, &entries, err);
    if (!status) status = classes_list(source, &entries, given ? class_file : "the class list", err);
    entries_clear(&entries);
    if (status)
        sv_source_close(source);
    else
        *out = source;
    return status;
}

void sv_source_close(sv_source *source)
{
    if (!source) return;
    sv_free(source->root);
    sv_classes_clear(&source->classes);
    sv_free(source->samples);
    sv_text_clear(&source->paths);
    sv_free(source);
}

size_t sv_source_count(const sv_source *source)
{
    return source->count;
}

const sv_classes *sv_source_classes(const sv_source *source)
{
    return &source->classes;
}

uint32_t sv_source_label(const sv_source *source, size_t sample)
{
    return source->samples[sample].label;
}

const char *sv_source_name(const sv_source *source)
{
    return source->root;
}

sv_status sv_source_path(const sv_source *source, size_t sample, char **path, sv_error *err)
{
    return sv_path_join(path, source->root, source->paths.data + source->samples[sample].path_at, err);
}

sv_status sv_source_read(const sv_source *source, size_t sample, sv_picture *out, sv_error *err)
{
    char *path;
    sv_status status = sv_source_path(source, sample, &path, err);
    if (status) return status;
    status = sv_picture_read(out, path, err);
    sv_free(path);
    return status;
}

sv_status sv_source_check_same(const sv_source *one, const sv_source *other, sv_error *err)
{
    char safe[256], also[256];
    const sv_classes *a = &one->classes, *b = &other->classes;
    for (size_t i = 0; i < a->count && i < b->count; i++)
        if (strcmp(a->folders[i], b->folders[i]))
            return sv_fail(err, SV_DATA, "class %zu is '%s' in %s but '%s' in %s; give both the same class folders, or a class file with data.classes", i,
                           sv_text_safe(safe, sizeof safe, a->folders[i]), one->root, sv_text_safe(also, sizeof also, b->folders[i]), other->root);
    if (a->count != b->count)
        return sv_fail(err, SV_DATA, "%s has %zu classes but %s has %zu; give both the same class folders, or a class file with data.classes", one->root, a->count,
                       other->root, b->count);
    return SV_OK;
}
