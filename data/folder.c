/* The kind folder: a tree as torchvision's ImageFolder. Listing reads folders alone; only links and file systems that do not tell a file's
 * kind cost one stat call each. */
#include "data/source_kind.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 16 };

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

/* Every file below `relative` (a path from the root) belongs to `label`. */
static sv_status class_list(sv_file_source *source, const char *relative, uint32_t label, int depth, sv_error *err)
{
    struct entries entries = { 0 };
    char *path = NULL;
    if (depth > DEPTH_MAX) return sv_fail(err, SV_DATA, "%s/%s: folders lie more than %d deep; does a link point back at its own folder?", source->base.root, relative, DEPTH_MAX);
    sv_status status = sv_path_join(&path, source->base.root, relative, err);
    if (!status) status = entries_list(&entries, path, err);
    for (size_t i = 0; i < entries.count && !status; i++) {
        char *below = NULL;
        status = sv_path_join(&below, relative, entries.items[i].name, err);
        if (!status && entries.items[i].kind == ENTRY_FOLDER)
            status = class_list(source, below, label, depth + 1, err);
        else if (!status)
            status = sv_file_source_add(source, below, label, err);
        sv_free(below);
    }
    entries_clear(&entries);
    sv_free(path);
    return status;
}

/* Without a class file the sorted folders are the classes. */
static sv_status classes_of(sv_classes *classes, const struct entries *entries, sv_error *err)
{
    sv_text names = { 0 };
    size_t folders = 0;
    for (size_t i = 0; i < entries->count; i++) {
        if (entries->items[i].kind != ENTRY_FOLDER) continue;
        sv_text_add_bytes(&names, entries->items[i].name, strlen(entries->items[i].name) + 1);
        folders++;
    }
    return sv_classes_of_folders(classes, &names, folders, err);
}

static sv_status class_unknown(const sv_source *source, const char *folder, const char *class_file, sv_error *err)
{
    char safe[256];
    return sv_fail(err, SV_DATA, "%s: class folder '%s' is not named in %s; add a line for it there, move the folder away, or leave such folders out with data.unlisted = skip",
                   source->root, sv_text_safe(safe, sizeof safe, folder), class_file);
}

static sv_status classes_list(sv_file_source *files, const struct entries *entries, const sv_source_options *options, sv_error *err)
{
    sv_source *source = &files->base;
    sv_status status = SV_OK;
    char safe[256];
    size_t left_out = 0;
    for (size_t i = 0; i < entries->count && !status; i++) {
        const char *folder = entries->items[i].name;
        if (entries->items[i].kind != ENTRY_FOLDER) continue;
        int64_t label = sv_classes_find(&source->classes, folder);
        size_t before = source->count;
        if (label < 0 && options->unlisted != SV_UNLISTED_SKIP) return class_unknown(source, folder, options->class_file, err);
        if (label < 0) {
            left_out++;
            continue;
        }
        status = class_list(files, folder, (uint32_t)label, 0, err);
        if (!status && source->count == before)
            status = sv_fail(err, SV_DATA, "%s: class folder '%s' holds no picture; fill it or move it away", source->root, sv_text_safe(safe, sizeof safe, folder));
    }
    if (!status && !source->count)
        return sv_fail(err, SV_DATA, "%s: none of its %zu class folders is named in %s; is it the list of another data set?", source->root, left_out, options->class_file);
    if (!status && left_out) sv_log(SV_INFO, "%s: %zu class folders that %s does not name are left out", source->root, left_out, options->class_file);
    return status;
}

static sv_status folder_open(sv_source **out, const char *folder, const sv_source_options *options, sv_error *err)
{
    sv_source *source = NULL;
    struct entries entries = { 0 };
    bool given = options->class_file && *options->class_file, any = false;
    sv_status status = sv_source_create(&source, sizeof(sv_file_source), &sv_source_folder, folder, err);
    if (!status) status = entries_list(&entries, folder, err);
    for (size_t i = 0; i < entries.count; i++) any = any || entries.items[i].kind == ENTRY_FOLDER;
    if (!status && !any)
        status = sv_fail(err, SV_DATA, "%s: there is no class folder in it; expected pictures as FOLDER/CLASS/PICTURE, shards FOLDER/*.tar, or FOLDER/PICTURE with a list of labels",
                         folder);
    if (!status) status = given ? sv_classes_read(&source->classes, options->class_file, err) : classes_of(&source->classes, &entries, err);
    if (!status) status = classes_list((sv_file_source *)source, &entries, options, err);
    entries_clear(&entries);
    if (status)
        sv_source_close(source);
    else
        *out = source;
    return status;
}

/* Does it hold a folder that is not hidden? */
static bool folder_fits(const char *path, const sv_source_options *options)
{
    bool found = false;
    struct dirent *entry;
    DIR *folder = opendir(path);
    (void)options;
    while (folder && !found && (entry = readdir(folder))) found = entry->d_name[0] != '.' && kind_of(folder, entry) == ENTRY_FOLDER;
    if (folder) closedir(folder);
    return found;
}

const sv_source_kind sv_source_folder = { .name = "folder", .fits = folder_fits, .open = folder_open, .path = sv_file_source_path,
                                          .bytes = sv_file_source_bytes, .label = sv_file_source_label, .clear = sv_file_source_clear };
