/* The lock of a run folder: flock on a file that also says who holds it. The text is for people; the lock itself is the system's. */
#include "base/fault.h"
#include "comm/comm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct sv_run_lock { int descriptor; };

static sv_status held(int descriptor, const char *folder, sv_error *err)
{
    char who[128] = "", shown[128];
    ssize_t got = pread(descriptor, who, sizeof who - 1, 0);
    if (got < 0) got = 0;
    who[got] = 0;
    who[strcspn(who, "\n")] = 0;
    return sv_fail(err, SV_USAGE, "%s is in use by %s; wait for it, or give another run.dir", folder, who[0] ? sv_text_safe(shown, sizeof shown, who) : "another process");
}

sv_status sv_run_lock_take(sv_run_lock **out, const char *folder, sv_error *err)
{
    sv_run_lock *lock = NULL;
    char *path = NULL, host[64] = "", text[160];
    sv_status status = sv_path_join(&path, folder, ".lock", err);
    if (!status) status = sv_alloc_zero(&lock, sizeof *lock, "run lock", err);
    if (status) goto done;
    lock->descriptor = -1;
    if (sv_fault_here(SV_FAULT_OPEN)) errno = EACCES;
    else lock->descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock->descriptor < 0) {
        status = sv_fail(err, SV_FAULT, "%s cannot be opened: %s", path, strerror(errno));
        goto done;
    }
    if (flock(lock->descriptor, LOCK_EX | LOCK_NB)) {
        status = held(lock->descriptor, folder, err);
        goto done;
    }
    gethostname(host, sizeof host - 1);
    int length = snprintf(text, sizeof text, "process %ld on %s\n", (long)getpid(), host);
    if (ftruncate(lock->descriptor, 0) || pwrite(lock->descriptor, text, (size_t)length, 0) != length) {
        status = sv_fail(err, SV_FAULT, "%s cannot be written: %s", path, strerror(errno));
        goto done;
    }
    *out = lock;
    lock = NULL;
done:
    sv_run_lock_release(lock);
    sv_free(path);
    return status;
}

void sv_run_lock_release(sv_run_lock *lock)
{
    if (!lock) return;
    if (lock->descriptor >= 0) close(lock->descriptor);
    sv_free(lock);
}

/* A line of /proc/locks: "3: FLOCK  ADVISORY  WRITE 4711 fe:01:1234 0 EOF". Number of device and file; some file systems tell stat another
 * device, so the file's number and the process that the lock's text names also do. */
bool sv_run_lock_held(const char *folder)
{
    char line[256], who[64] = "", path[4096];
    struct stat about;
    bool held = false;
    long named = 0;
    const int length = snprintf(path, sizeof path, "%s/.lock", folder);
    if (length < 0 || (size_t)length >= sizeof path || stat(path, &about) < 0) return false;
    FILE *lock = fopen(path, "re"), *file = fopen("/proc/locks", "re");
    if (lock && fgets(who, sizeof who, lock) && sscanf(who, "process %ld", &named) != 1) named = 0;
    while (file && !held && fgets(line, sizeof line, file)) {
        long process = 0;
        unsigned major_part = 0, minor_part = 0;
        unsigned long long number = 0;
        if (sscanf(line, "%*d: FLOCK %*s %*s %ld %x:%x:%llu", &process, &major_part, &minor_part, &number) != 4 || number != (unsigned long long)about.st_ino) continue;
        held = (major(about.st_dev) == major_part && minor(about.st_dev) == minor_part) || process == named;
    }
    if (lock) fclose(lock);
    if (file) fclose(file);
    return held;
}
