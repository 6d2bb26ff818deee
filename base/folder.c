/* Folders and paths. Listings are sorted by bytes, so that the order of classes and pictures is the same on every machine. */
#include "base/base.h"
#include "base/fault.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool sv_path_exists(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0;
}

bool sv_path_is_folder(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

bool sv_path_is_file(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISREG(about.st_mode);
}

sv_status sv_folder_create(const char *path, sv_error *err)
{
    char *copy;
    sv_status status = sv_text_copy(&copy, path, err);
    if (status) return status;
    size_t length = strlen(copy);
    for (size_t end = 1; end <= length && !status; end++) {
        if (copy[end] != '/' && copy[end] != 0) continue;
        char kept = copy[end];
        copy[end] = 0;
        if (mkdir(copy, 0777) < 0 && !sv_path_is_folder(copy)) {
            if (errno == EEXIST) errno = ENOTDIR;
            status = sv_fail(err, SV_FAULT, "%s: the folder cannot be created: %m", copy);
        }
        copy[end] = kept;
    }
    sv_free(copy);
    return status;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

sv_status sv_folder_list(const char *path, sv_status code, sv_names *out, sv_error *err)
{
    sv_status status = SV_OK;
    sv_names names = { 0 };
    size_t capacity = 0;
    DIR *folder = NULL;
    if (sv_fault_here(SV_FAULT_OPEN)) errno = EMFILE;
    else folder = opendir(path);
    if (!folder) return sv_fail(err, code, "%s: the folder cannot be listed: %m", path);
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (!entry && errno) status = sv_fail(err, code, "%s: listing the folder failed: %m", path);
        if (!entry || status) break;
        if (entry->d_name[0] == '.') continue;
        status = sv_grow(&names.items, &capacity, names.count + 1, sizeof *names.items, "folder listing", err);
        if (!status) status = sv_text_copy(&names.items[names.count], entry->d_name, err);
        if (status) break;
        names.count++;
    }
    closedir(folder);
    if (status) {
        sv_names_clear(&names);
        return status;
    }
    if (names.count) qsort(names.items, names.count, sizeof *names.items, by_bytes);
    *out = names;
    return SV_OK;
}

void sv_names_clear(sv_names *names)
{
    for (size_t i = 0; i < names->count; i++) sv_free(names->items[i]);
    sv_free(names->items);
    *names = (sv_names){ 0 };
}

sv_status sv_path_join(char **out, const char *folder, const char *name, sv_error *err)
{
    size_t length = strlen(folder);
    if (name[0] == '/' || length == 0) return sv_text_copy(out, name, err);
    sv_text text = { 0 };
    sv_text_add(&text, "%s%s%s", folder, folder[length - 1] == '/' ? "" : "/", name);
    sv_status status = sv_text_check(&text, err);
    if (status) sv_text_clear(&text);
    else *out = text.data;
    return status;
}

sv_status sv_path_of_program(char **out, sv_error *err)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0) return sv_fail(err, SV_FAULT, "/proc/self/exe: the path of the running program cannot be read: %m");
    path[length] = 0;
    char *slash = strrchr(path, '/');
    if (slash) slash[slash == path ? 1 : 0] = 0;
    return sv_text_copy(out, slash ? path : ".", err);
}
