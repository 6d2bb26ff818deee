/* log.txt: "2026-02-03 04:05:06 message" a line, warnings marked, in local time. The sink runs on any thread; a line is one append, which the
 * system keeps whole. */
#include "report/report.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

struct sv_run_log { char *path; sv_level file_most, terminal_most; atomic_bool failed; };

static sv_status append(const sv_run_log *log, sv_level level, const char *line, sv_error *err)
{
    char stamp[32] = "", room[4096 + 64];
    struct tm local;
    time_t now = time(NULL);
    if (localtime_r(&now, &local)) strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &local);
    int length = snprintf(room, sizeof room, "%s %s%s\n", stamp, level == SV_WARNING ? "warning: " : "", line);
    if (length < 0) return SV_OK;
    size_t count = (size_t)length < sizeof room ? (size_t)length : sizeof room - 1;
    room[count - 1] = '\n';
    return sv_file_append(log->path, room, count, err);
}

static void take(void *context, sv_level level, const char *line)
{
    sv_run_log *log = context;
    sv_error err;
    if (level <= log->terminal_most) sv_log_to_terminal(NULL, level, line);
    if (level > log->file_most || !append(log, level, line, &err)) return;
    if (!atomic_exchange(&log->failed, true)) sv_log_to_terminal(NULL, SV_WARNING, err.text);
}

sv_status sv_run_log_open(sv_run_log **out, const char *path, sv_level file_most, sv_level terminal_most, sv_error *err)
{
    sv_run_log *log = NULL;
    sv_status status = sv_alloc_zero(&log, sizeof *log, "log", err);
    if (status) return status;
    log->file_most = file_most;
    log->terminal_most = terminal_most;
    status = sv_text_copy(&log->path, path, err);
    if (!status) status = sv_file_append(path, "", 0, err); /* a folder that is not there is said now */
    if (status) {
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
    sv_free(log->path);
    sv_free(log);
}
