/* log.txt: "2026-02-03 04:05:06 message" a line, warnings marked, in local time. The sink runs on any thread; a line is one append, which the
 * system keeps whole. Lines wait for one another, so that the file is moved aside between two of them. */
#include "base/fault.h"
#include "report/report.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct sv_run_log {
    char *path;
    uint64_t bytes_most;
    sv_level file_most, terminal_most;
    pthread_mutex_t lock;
    bool failed;
};

/* "run/log.txt" -> "run/log.2.txt"; 0: the path itself. */
static bool name_of(const sv_run_log *log, unsigned age, char *room, size_t bytes)
{
    const char *dot = strrchr(log->path, '.'), *slash = strrchr(log->path, '/');
    const size_t stem = dot && (!slash || dot > slash) ? (size_t)(dot - log->path) : strlen(log->path);
    const int length = age ? snprintf(room, bytes, "%.*s.%u%s", (int)stem, log->path, age, log->path + stem) : snprintf(room, bytes, "%s", log->path);
    return length > 0 && (size_t)length < bytes;
}

/* Older files move on by one, the oldest goes. A name that cannot be given leaves the line where it is: in a file that is too long. */
static void turn_over(const sv_run_log *log, size_t line_bytes)
{
    struct stat about;
    char from[4096], to[4096];
    if (!log->bytes_most || stat(log->path, &about) < 0 || !about.st_size || (uint64_t)about.st_size + line_bytes <= log->bytes_most) return;
    for (unsigned age = SV_RUN_LOG_OLD; age-- > 0;)
        if (name_of(log, age, from, sizeof from) && name_of(log, age + 1, to, sizeof to) && !sv_fault_here(SV_FAULT_RENAME)) (void)rename(from, to);
}

static sv_status append(const sv_run_log *log, sv_level level, const char *line, sv_error *err)
{
    char stamp[32] = "", room[4096 + 64];
    struct tm local;
    time_t now = (time_t)sv_wall_seconds();
    if (localtime_r(&now, &local)) strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &local);
    int length = snprintf(room, sizeof room, "%s %s%s\n", stamp, level == SV_WARNING ? "warning: " : "", line);
    if (length < 0) return SV_OK;
    size_t count = (size_t)length < sizeof room ? (size_t)length : sizeof room - 1;
    room[count - 1] = '\n';
    turn_over(log, count);
    return sv_file_append(log->path, room, count, err);
}

static void take(void *context, sv_level level, const char *line)
{
    sv_run_log *log = context;
    sv_error err;
    if (level <= log->terminal_most) sv_log_to_terminal(NULL, level, line);
    if (level > log->file_most) return;
    pthread_mutex_lock(&log->lock);
    const bool tell = append(log, level, line, &err) && !log->failed;
    log->failed = log->failed || tell;
    pthread_mutex_unlock(&log->lock);
    if (tell) sv_log_to_terminal(NULL, SV_WARNING, err.text);
}

sv_status sv_run_log_open(sv_run_log **out, const char *path, uint64_t bytes_most, sv_level file_most, sv_level terminal_most, sv_error *err)
{
    sv_run_log *log = NULL;
    sv_status status = sv_alloc_zero(&log, sizeof *log, "log", err);
    if (status) return status;
    pthread_mutex_init(&log->lock, NULL);
    log->bytes_most = bytes_most;
    log->file_most = file_most;
    log->terminal_most = terminal_most;
    status = sv_text_copy(&log->path, path, err);
    if (!status) status = sv_file_append(path, "", 0, err); /* a folder that is not there is said now */
    if (status) {
        pthread_mutex_destroy(&log->lock);
        sv_free(log->path);
        sv_free(log);
        return status;
    }
    sv_log_set(take, log, file_most > terminal_most ? file_most : terminal_most);
    sv_log_set_terminal(terminal_most);
    *out = log;
    return SV_OK;
}

void sv_run_log_close(sv_run_log *log)
{
    if (!log) return;
    sv_log_set(NULL, NULL, log->terminal_most);
    pthread_mutex_destroy(&log->lock);
    sv_free(log->path);
    sv_free(log);
}
