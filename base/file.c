/* Reading files at any place, and appending to logs. A file is a regular file: folders, devices and pipes are refused, since
 * their size says nothing. All calls repeat what a signal interrupted. */
#include "base/base.h"
#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

sv_status sv_file_open(sv_file *file, const char *path, sv_status code, sv_error *err)
{
    sv_status status = SV_OK;
    struct stat about;
    sv_file opened = { .descriptor = -1, .code = code };
    if (sv_fault_here(SV_FAULT_OPEN)) errno = EMFILE;
    else opened.descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (opened.descriptor < 0) {
        status = sv_fail(err, code, "%s: cannot be opened: %m", path);
        goto done;
    }
    if (fstat(opened.descriptor, &about) < 0) {
        status = sv_fail(err, code, "%s: its size cannot be read: %m", path);
        goto done;
    }
    if (!S_ISREG(about.st_mode)) {
        status = sv_fail(err, code, "%s: is %s; expected a file", path, S_ISDIR(about.st_mode) ? "a folder" : "a device or pipe");
        goto done;
    }
    opened.size = (uint64_t)about.st_size;
    status = sv_text_copy(&opened.path, path, err);
    if (status) goto done;
    *file = opened;
    opened.descriptor = -1;
done:
    if (opened.descriptor >= 0) close(opened.descriptor);
    return status;
}

sv_status sv_file_read_at(const sv_file *file, uint64_t offset, void *out, size_t bytes, sv_error *err)
{
    char *to = out;
    size_t left = bytes;
    if (offset > INT64_MAX || bytes > INT64_MAX - offset)
        return sv_fail(err, file->code, "%s: %zu bytes at %ju are beyond any file", file->path, bytes, (uintmax_t)offset);
    while (left) {
        ssize_t got = -1;
        if (sv_fault_here(SV_FAULT_READ)) errno = EIO;
        else got = pread(file->descriptor, to, left, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return sv_fail(err, file->code, "%s: reading %zu bytes at %ju failed: %m", file->path, left, (uintmax_t)offset);
        if (got == 0)
            return sv_fail(err, file->code, "%s: ends at byte %ju, where %zu more were expected; is the file cut off?", file->path,
                           (uintmax_t)offset, left);
        to += got;
        left -= (size_t)got;
        offset += (uint64_t)got;
    }
    return SV_OK;
}

/* An all-zero struct has descriptor 0 and no path: the path says whether there is anything to close. */
void sv_file_close(sv_file *file)
{
    if (file->path) close(file->descriptor);
    sv_free(file->path);
    *file = (sv_file){ 0 };
}

sv_status sv_file_read_all(const char *path, size_t max_bytes, sv_status code, unsigned char **bytes, size_t *count, sv_error *err)
{
    sv_file file = { 0 };
    unsigned char *all = NULL;
    sv_status status = sv_file_open(&file, path, code, err);
    if (status) goto done;
    if (file.size > max_bytes || file.size > SIZE_MAX - 1) {
        status = sv_fail(err, code, "%s: has %ju bytes; at most %zu were expected", path, (uintmax_t)file.size, max_bytes);
        goto done;
    }
    status = sv_alloc(&all, (size_t)file.size + 1, "file", err);
    if (status) goto done;
    status = sv_file_read_at(&file, 0, all, (size_t)file.size, err);
    if (status) goto done;
    all[file.size] = 0;
    *bytes = all;
    *count = (size_t)file.size;
    all = NULL;
done:
    sv_free(all);
    sv_file_close(&file);
    return status;
}

sv_status sv_file_append(const char *path, const void *bytes, size_t count, sv_error *err)
{
    const char *from = bytes;
    sv_status status = SV_OK;
    int descriptor = -1;
    if (sv_fault_here(SV_FAULT_OPEN)) errno = EMFILE;
    else descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (descriptor < 0) return sv_fail(err, SV_FAULT, "%s: cannot be opened for appending: %m", path);
    while (count) {
        ssize_t put = -1;
        if (sv_fault_here(SV_FAULT_WRITE)) errno = ENOSPC;
        else put = write(descriptor, from, count);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) {
            status = sv_fail(err, SV_FAULT, "%s: appending %zu bytes failed: %m", path, count);
            goto done;
        }
        from += put;
        count -= (size_t)put;
    }
    bool sync_fault = sv_fault_here(SV_FAULT_SYNC);
    if (sync_fault) errno = EIO;
    if (sync_fault || (fdatasync(descriptor) < 0 && errno != EINVAL && errno != EROFS))
        status = sv_fail(err, SV_FAULT, "%s: could not be brought to disk: %m", path);
done:
    if (close(descriptor) < 0 && !status) status = sv_fail(err, SV_FAULT, "%s: closing failed: %m", path);
    return status;
}
