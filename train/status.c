/* Reading a run folder from outside. */
#include "train/status.h"
#include "comm/comm.h"
#include "formats/weights.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOG_BYTES_MOST = 1 << 28, TOLD_BYTES_MOST = 1 << 16 };
static const double SILENT_SECONDS = 180; /* a run on another machine that tells nothing for so long may be gone */

/* The file's path; false where it is not there. */
static bool find(char **path, const char *folder, const char *name, struct stat *about, sv_status *status, sv_error *err)
{
    *path = NULL;
    if (*status) return false;
    *status = sv_path_join(path, folder, name, err);
    return !*status && stat(*path, about) == 0 && S_ISREG(about->st_mode);
}

static sv_status read_told(sv_run_status *out, const char *folder, sv_error *err)
{
    struct stat about;
    char *path = NULL;
    unsigned char *text = NULL;
    size_t count = 0;
    sv_error aside;
    sv_status status = SV_OK;
    if (find(&path, folder, "status.txt", &about, &status, err) && !sv_file_read_all(path, TOLD_BYTES_MOST, SV_DATA, &text, &count, &aside))
        out->has_told = sv_run_told_parse(&out->told, (const char *)text, path, &aside) == SV_OK;
    out->told_age_s = out->has_told ? fmax(0, sv_wall_seconds() - out->told.written) : NAN;
    sv_free(text);
    sv_free(path);
    return status;
}

static sv_status read_last(sv_run_status *out, const char *folder, sv_error *err)
{
    struct stat about;
    char *path = NULL;
    sv_weights *file = NULL;
    sv_error aside;
    sv_status status = SV_OK;
    if (find(&path, folder, "last.safetensors", &about, &status, err) && !sv_weights_open(&file, path, &aside)) {
        const char *state = sv_weights_metadata(file, "sieve.state");
        out->has_last = state && !sv_run_state_parse(&out->last, state, path, &aside);
        out->last_age_s = fmax(0, sv_wall_seconds() - ((double)about.st_mtim.tv_sec + 1e-9 * (double)about.st_mtim.tv_nsec));
    }
    sv_weights_close(file);
    sv_free(path);
    if (!status) out->has_model = find(&path, folder, "model.safetensors", &about, &status, err);
    sv_free(path);
    return status;
}

static sv_status count_warnings(sv_run_status *out, const char *folder, sv_error *err)
{
    static const char mark[] = " warning: ";
    enum { STAMP = 19 };
    struct stat about;
    char *path = NULL;
    unsigned char *text = NULL;
    size_t count = 0;
    sv_error aside;
    sv_status status = SV_OK;
    if (find(&path, folder, "log.txt", &about, &status, err) && !sv_file_read_all(path, LOG_BYTES_MOST, SV_DATA, &text, &count, &aside))
        for (char *line = (char *)text, *end; *line; line = end) {
            end = line + strcspn(line, "\n");
            if (*end) *end++ = 0;
            if (strlen(line) <= STAMP || strncmp(line + STAMP, mark, sizeof mark - 1) != 0) continue;
            out->warnings++;
            sv_text_safe(out->warning, sizeof out->warning, line + STAMP + sizeof mark - 1);
        }
    sv_free(text);
    sv_free(path);
    return status;
}

static sv_status weigh(sv_run_status *out, const char *folder, sv_error *err)
{
    sv_names names = { 0 };
    sv_disk disk;
    sv_status status = sv_folder_list(folder, SV_USAGE, &names, err);
    for (size_t i = 0; !status && i < names.count; i++) {
        struct stat about;
        char *path = NULL;
        if (find(&path, folder, names.items[i], &about, &status, err) && about.st_nlink) out->bytes += (uint64_t)about.st_blocks * 512 / about.st_nlink;
        sv_free(path);
    }
    if (sv_disk_about(folder, &disk)) out->disk_free = disk.free;
    sv_names_clear(&names);
    return status;
}

static const char *judge(const sv_run_status *s)
{
    const bool ended = s->has_told && strcmp(s->told.state, "training") != 0;
    if (s->life == SV_RUN_ALIVE) return "running";
    if (ended) return s->told.state;
    if (s->has_told && s->life == SV_RUN_ELSEWHERE) return s->told_age_s <= SILENT_SECONDS ? "running" : "silent";
    if (s->has_told) return "crashed";
    return s->has_model ? "finished" : s->has_last ? "stopped" : "empty";
}

sv_status sv_run_status_read(sv_run_status *out, const char *folder, sv_error *err)
{
    struct stat about;
    char *path = NULL, host[64] = "";
    memset(out, 0, sizeof *out);
    if (!sv_path_is_folder(folder)) return sv_fail(err, SV_USAGE, "%s: is no folder; expected the run.dir of a run", folder);
    sv_status status = read_told(out, folder, err);
    if (!status) status = read_last(out, folder, err);
    if (!status) status = count_warnings(out, folder, err);
    if (!status) status = weigh(out, folder, err);
    const bool any = find(&path, folder, "config.ini", &about, &status, err);
    sv_free(path);
    if (status) return status;
    if (!any && !out->has_told && !out->has_last) return sv_fail(err, SV_USAGE, "%s: holds no run (no config.ini, status.txt, last.safetensors); expected the run.dir of a run", folder);
    if (gethostname(host, sizeof host - 1)) host[0] = 0;
    out->life = sv_run_lock_held(folder) ? SV_RUN_ALIVE : out->has_told && strcmp(host, out->told.host) != 0 ? SV_RUN_ELSEWHERE : SV_RUN_GONE;
    out->state = judge(out);
    return SV_OK;
}
