/* Room on a disk, asked before a large write: a full disk is then said in one sentence, before anything was written. */
#include "base/base.h"
#include "base/fault.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

enum { SPARE_BYTES = 1 << 16 }; /* tables of the file system, and the lines that a run writes beside a checkpoint */

bool sv_disk_about(const char *path, sv_disk *out)
{
    struct statvfs about;
    char folder[4096];
    if (sv_fault_here(SV_FAULT_SPACE)) {
        *out = (sv_disk){ 0, 0 };
        return true;
    }
    const char *slash = strrchr(path, '/');
    if (statvfs(path, &about) < 0) {
        const int length = snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
        if (length < 0 || (size_t)length >= sizeof folder || statvfs(folder, &about) < 0) return false;
    }
    if (!about.f_blocks) return false; /* a file system that does not count */
    *out = (sv_disk){ (uint64_t)about.f_bavail * about.f_frsize, (uint64_t)about.f_blocks * about.f_frsize };
    return true;
}

sv_status sv_disk_check(const char *path, uint64_t bytes, sv_error *err)
{
    sv_disk disk;
    if (!sv_disk_about(path, &disk) || (disk.free >= SPARE_BYTES && disk.free - SPARE_BYTES >= bytes)) return SV_OK;
    return sv_fail(err, SV_FAULT, "%s: needs %.1f MiB, and its disk has %.1f MiB left; the file before stays as it was. Make room, then give the same command again", path,
                   (double)bytes / 1048576, (double)disk.free / 1048576);
}
