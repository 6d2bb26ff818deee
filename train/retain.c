/* Names carry rank and age: sorted as text, the last ones are those that stay. */
#include "train/retain.h"
#include "base/fault.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char STEP_FORM[] = "step-%012" PRIu64 ".safetensors";

static void best_name(char room[64], double top1, uint64_t epoch)
{
    snprintf(room, 64, "best-%.6f-epoch-%05" PRIu64 ".safetensors", top1 < 0 ? 0 : top1 > 1 ? 1 : top1, epoch);
}

/* The number behind the last '-' of a name that is made as ours are; false for any other file. */
static bool number_of(const char *name, bool best, uint64_t *number)
{
    char again[64];
    double top1 = 0;
    if (best) {
        if (sscanf(name, "best-%8lf-epoch-%" SCNu64 ".safetensors", &top1, number) != 2) return false;
        best_name(again, top1, *number);
    } else {
        if (sscanf(name, "step-%" SCNu64 ".safetensors", number) != 1) return false;
        snprintf(again, sizeof again, STEP_FORM, *number);
    }
    return strcmp(again, name) == 0;
}

/* Those of a later number than `own` has, or of the same and another name, are of a way that the run no longer takes. */
static sv_status list_kept(const char *folder, bool best, const char *own, uint64_t most, sv_names *kept, sv_names *later, sv_error *err)
{
    sv_names all = { 0 };
    size_t kept_room = 0, later_room = 0;
    sv_status status = sv_folder_list(folder, SV_FAULT, &all, err);
    for (size_t i = 0; !status && i < all.count; i++) {
        uint64_t number = 0;
        if (!number_of(all.items[i], best, &number)) continue;
        const bool goes = number > most || (number == most && strcmp(own, all.items[i]) != 0);
        sv_names *to = goes ? later : kept;
        status = sv_grow(&to->items, goes ? &later_room : &kept_room, to->count + 1, sizeof *to->items, "kept checkpoints", err);
        if (status) break;
        to->items[to->count++] = all.items[i];
        all.items[i] = NULL;
    }
    sv_names_clear(&all);
    return status;
}

static sv_status drop(const char *folder, const sv_names *names, size_t count, sv_error *err)
{
    sv_status status = SV_OK;
    for (size_t i = 0; !status && i < count; i++) {
        char *path = NULL;
        status = sv_path_join(&path, folder, names->items[i], err);
        if (!status && unlink(path) && errno != ENOENT) status = sv_fail(err, SV_FAULT, "%s: an old checkpoint cannot be removed: %m", path);
        sv_free(path);
    }
    return status;
}

static sv_status copy(const char *from, const char *to, sv_error *err)
{
    enum { PIECE = 1 << 20 };
    sv_file file = { 0 };
    sv_atomic_file out = { 0 };
    unsigned char *room = NULL;
    sv_status status = sv_alloc(&room, PIECE, "kept checkpoints", err);
    if (!status) status = sv_file_open(&file, from, SV_FAULT, err);
    if (!status) status = sv_disk_check(to, file.size, err);
    if (!status) status = sv_atomic_open(&out, to, err);
    for (uint64_t at = 0; !status && at < file.size; at += PIECE) {
        const size_t bytes = file.size - at < PIECE ? (size_t)(file.size - at) : PIECE;
        status = sv_file_read_at(&file, at, room, bytes, err);
        if (!status) status = sv_atomic_write(&out, room, bytes, err);
    }
    if (!status) status = sv_atomic_commit(&out, err);
    sv_atomic_abandon(&out);
    sv_file_close(&file);
    sv_free(room);
    return status;
}

/* `path` is only ever replaced whole, never written into: another name of it keeps its bytes. */
static sv_status name_also(const char *path, const char *folder, const char *name, sv_error *err)
{
    char *to = NULL;
    sv_status status = sv_path_join(&to, folder, name, err);
    if (!status && unlink(to) && errno != ENOENT) status = sv_fail(err, SV_FAULT, "%s: an old checkpoint cannot be replaced: %m", to);
    if (!status && (sv_fault_here(SV_FAULT_RENAME) || link(path, to))) status = copy(path, to, err);
    sv_free(to);
    return status;
}

static sv_status keep_as(const char *folder, const char *path, const char *name, bool best, uint64_t number, size_t keep, sv_error *err)
{
    sv_names kept = { 0 }, later = { 0 };
    sv_status status = name_also(path, folder, name, err);
    if (!status) status = list_kept(folder, best, name, number, &kept, &later, err);
    if (!status) status = drop(folder, &later, later.count, err);
    if (!status && kept.count > keep) status = drop(folder, &kept, kept.count - keep, err);
    sv_names_clear(&kept);
    sv_names_clear(&later);
    return status;
}

sv_status sv_retain_last(const char *folder, const char *path, uint64_t step, size_t keep, sv_error *err)
{
    char name[64];
    if (!keep) return SV_OK;
    snprintf(name, sizeof name, STEP_FORM, step);
    return keep_as(folder, path, name, false, step, keep, err);
}

sv_status sv_retain_wants(const char *folder, double top1, uint64_t epoch, size_t keep, bool *wants, sv_error *err)
{
    char name[64];
    sv_names kept = { 0 }, later = { 0 };
    *wants = false;
    if (!keep) return SV_OK;
    best_name(name, top1, epoch);
    sv_status status = list_kept(folder, true, name, epoch, &kept, &later, err);
    if (!status) *wants = kept.count < keep || strcmp(name, kept.items[kept.count - keep]) >= 0;
    sv_names_clear(&kept);
    sv_names_clear(&later);
    return status;
}

sv_status sv_retain_best(const char *folder, const char *path, double top1, uint64_t epoch, size_t keep, sv_error *err)
{
    char name[64];
    if (!keep) return SV_OK;
    best_name(name, top1, epoch);
    return keep_as(folder, path, name, true, epoch, keep, err);
}
