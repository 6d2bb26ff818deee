/* A file that appears whole or not at all. The bytes go to ".NAME.partial" beside it, which is locked while it is written:
 * a second writer waits, and what a killed one left behind is taken over, not added to. Order of the end: bytes flushed, file
 * synced, renamed over the old one, folder synced. Where only that last sync fails the new file stands, whole, and the caller
 * is told that it may not outlive a power cut. */
#include "base/base.h"
#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 18 /* measured no slower than larger ones */, LOCK_TRIES = 20, LOCK_WAIT_MS = 100 };

/* Where a link is to be replaced, the file it points at is meant, not the link. */
static sv_status real_path(char **out, const char *path, sv_error *err)
{
    struct stat about;
    if (lstat(path, &about) < 0 || !S_ISLNK(about.st_mode)) return sv_text_copy(out, path, err);
    char *target = realpath(path, NULL);
    sv_status status = sv_text_copy(out, target ? target : path, err);
    free(target);
    return status;
}

static sv_status temporary_beside(char **out, const char *path, sv_error *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    sv_text text = { 0 };
    sv_text_add(&text, "%.*s.%.200s.partial", (int)(name - path), path, name);
    sv_status status = sv_text_check(&text, err);
    if (status) sv_text_clear(&text);
    else *out = text.data;
    return status;
}

static bool same_file(int descriptor, const char *path)
{
    struct stat open_one, named;
    return fstat(descriptor, &open_one) == 0 && stat(path, &named) == 0 && open_one.st_ino == named.st_ino && open_one.st_dev == named.st_dev;
}

/* The temporary file, open and locked, empty. A file that was renamed between open and lock is somebody's finished work:
 * its name no longer leads to it, and it is left alone. */
static sv_status open_locked(int *out, const char *temporary, const char *path, sv_error *err)
{
    for (int attempt = 0; attempt < LOCK_TRIES; attempt++) {
        int descriptor = -1;
        if (sv_fault_here(SV_FAULT_OPEN)) errno = EACCES;
        else descriptor = open(temporary, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (descriptor < 0) return sv_fail(err, SV_FAULT, "%s: cannot be written: %s cannot be created: %m", path, temporary);
        bool taken = flock(descriptor, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
        if (!taken && same_file(descriptor, temporary)) {
            if (ftruncate(descriptor, 0) == 0) {
                *out = descriptor;
                return SV_OK;
            }
            sv_status status = sv_fail(err, SV_FAULT, "%s: cannot be written: %s cannot be emptied: %m", path, temporary);
            close(descriptor);
            return status;
        }
        close(descriptor);
        if (taken) nanosleep(&(struct timespec){ .tv_nsec = LOCK_WAIT_MS * 1000000L }, NULL);
    }
    return sv_fail(err, SV_FAULT, "%s: is being written by another process; try again when it is done", path);
}

sv_status sv_atomic_open(sv_atomic_file *file, const char *path, sv_error *err)
{
    struct stat old;
    int descriptor = -1;
    sv_atomic_file opened = { .descriptor = -1 };
    sv_status status = real_path(&opened.path, path, err);
    if (status) goto done;
    bool replaces = stat(opened.path, &old) == 0;
    if (replaces && !S_ISREG(old.st_mode)) {
        status = sv_fail(err, SV_FAULT, "%s: is %s; expected a file or nothing yet", path, S_ISDIR(old.st_mode) ? "a folder" : "a device or pipe");
        goto done;
    }
    status = temporary_beside(&opened.temporary, opened.path, err);
    if (status) goto done;
    status = sv_alloc(&opened.buffer, BUFFER_BYTES, "file buffer", err);
    if (status) goto done;
    status = open_locked(&descriptor, opened.temporary, path, err);
    if (status) goto done;
    if (replaces && fchmod(descriptor, old.st_mode & 0777) < 0) errno = 0; /* not our file: new rights are fine */
    opened.descriptor = descriptor;
    *file = opened;
    opened = (sv_atomic_file){ 0 };
done:
    sv_free(opened.buffer);
    sv_free(opened.temporary);
    sv_free(opened.path);
    return status;
}

static sv_status write_out(sv_atomic_file *file, const void *bytes, size_t count, sv_error *err)
{
    const char *from = bytes;
    while (count) {
        ssize_t put = -1;
        if (sv_fault_here(SV_FAULT_WRITE)) errno = ENOSPC;
        else put = write(file->descriptor, from, count);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0)
            return sv_fail(err, SV_FAULT, "%s: writing failed after %ju bytes: %m; the file before stays as it was", file->path, (uintmax_t)file->written);
        from += put;
        count -= (size_t)put;
        file->written += (uint64_t)put;
    }
    return SV_OK;
}

static sv_status flush(sv_atomic_file *file, sv_error *err)
{
    sv_status status = write_out(file, file->buffer, file->buffered, err);
    if (!status) file->buffered = 0;
    return status;
}

sv_status sv_atomic_write(sv_atomic_file *file, const void *bytes, size_t count, sv_error *err)
{
    sv_status status = SV_OK;
    if (count > BUFFER_BYTES - file->buffered) status = flush(file, err);
    if (status) return status;
    if (count >= BUFFER_BYTES) return write_out(file, bytes, count, err);
    if (count) memcpy(file->buffer + file->buffered, bytes, count);
    file->buffered += count;
    return SV_OK;
}

sv_status sv_atomic_flush(sv_atomic_file *file, sv_error *err) { return flush(file, err); }

/* fsync of the folder that holds `beside`, a path that is cut for it: at this point nothing may need memory any more. Some file
 * systems do not know it (EINVAL): then there is nothing more to do. */
static sv_status sync_folder(char *beside, const char *path, sv_error *err)
{
    int descriptor = open(dirname(beside), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool failed = sv_fault_here(SV_FAULT_SYNC);
    if (failed) errno = EIO;
    else failed = descriptor >= 0 && fsync(descriptor) < 0 && errno != EINVAL && errno != EROFS && errno != ENOTSUP;
    sv_status status = SV_OK;
    if (failed) status = sv_fail(err, SV_FAULT, "%s: is written, but its folder could not be brought to disk: %m; it may not outlive a power cut", path);
    if (descriptor >= 0) close(descriptor);
    return status;
}

sv_status sv_atomic_commit(sv_atomic_file *file, sv_error *err)
{
    sv_status status = flush(file, err);
    if (status) return status;
    bool failed = sv_fault_here(SV_FAULT_SYNC);
    if (failed) errno = EIO;
    else failed = fsync(file->descriptor) < 0 && errno != EINVAL && errno != EROFS;
    if (failed) return sv_fail(err, SV_FAULT, "%s: could not be brought to disk: %m; the file before stays as it was", file->path);
    failed = sv_fault_here(SV_FAULT_RENAME);
    if (failed) errno = EIO;
    else failed = rename(file->temporary, file->path) < 0;
    if (failed) return sv_fail(err, SV_FAULT, "%s: the finished file could not take its name: %m", file->path);
    char *renamed = file->temporary;
    file->temporary = NULL; /* from here on there is nothing to remove */
    bool closed = close(file->descriptor) == 0;
    file->descriptor = -1;
    if (!closed) status = sv_fail(err, SV_FAULT, "%s: closing failed: %m", file->path);
    else status = sync_folder(renamed, file->path, err);
    sv_free(renamed);
    sv_atomic_abandon(file);
    return status;
}

/* An all-zero struct has no path. The temporary file is removed before its lock is let go. */
void sv_atomic_abandon(sv_atomic_file *file)
{
    if (file->temporary) unlink(file->temporary);
    if (file->path && file->descriptor >= 0) close(file->descriptor);
    sv_free(file->buffer);
    sv_free(file->temporary);
    sv_free(file->path);
    *file = (sv_atomic_file){ 0 };
}

sv_status sv_file_write_atomic(const char *path, const void *bytes, size_t count, sv_error *err)
{
    sv_atomic_file file = { 0 };
    sv_status status = sv_atomic_open(&file, path, err);
    if (status) return status;
    status = sv_atomic_write(&file, bytes, count, err);
    if (!status) status = sv_atomic_commit(&file, err);
    sv_atomic_abandon(&file);
    return status;
}
