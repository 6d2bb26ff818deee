#include "latency/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ANSWER_MOST = 1 << 20 };

typedef struct child { pid_t pid; int in, out; } child; /* in: what it reads */

static sv_status start(child *c, const char *command, sv_error *err)
{
    int to[2], from[2];
    if (pipe2(to, O_CLOEXEC)) return sv_fail(err, SV_FAULT, "no pipe to the runner: %s", strerror(errno));
    if (pipe2(from, O_CLOEXEC)) {
        close(to[0]), close(to[1]);
        return sv_fail(err, SV_FAULT, "no pipe from the runner: %s", strerror(errno));
    }
    c->pid = fork();
    if (c->pid == 0) {
        setpgid(0, 0); /* so that all it starts can be ended */
        dup2(to[0], 0);
        dup2(from[1], 1);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    c->in = to[1];
    c->out = from[0];
    if (c->pid > 0) return SV_OK;
    close(c->in), close(c->out);
    return sv_fail(err, SV_FAULT, "the runner cannot be started: %s", strerror(errno));
}

static bool quiet_write(int file, const char *bytes, size_t count)
{
    struct sigaction ignore = { .sa_handler = SIG_IGN }, before;
    sigaction(SIGPIPE, &ignore, &before);
    while (count) {
        const ssize_t written = write(file, bytes, count);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) break;
        bytes += written;
        count -= (size_t)written;
    }
    sigaction(SIGPIPE, &before, NULL);
    return !count;
}

/* All it says until it closes its output. */
static sv_status listen_to(child *c, sv_text *answer, double seconds, sv_error *err)
{
    const double end = sv_now_seconds() + seconds;
    char some[4096];
    for (;;) {
        const double left = end - sv_now_seconds();
        struct pollfd wait = { .fd = c->out, .events = POLLIN };
        if (sv_interrupted()) return sv_fail(err, SV_INTERRUPTED, "measuring was interrupted");
        if (left <= 0) return sv_fail(err, SV_MODEL_FILE, "the runner took longer than %g s; raise latency.seconds, or see why it waits", seconds);
        const int ready = poll(&wait, 1, left > 0.2 ? 200 : (int)(left * 1000) + 1);
        if (ready <= 0) continue;
        const ssize_t got = read(c->out, some, sizeof some);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return SV_OK;
        if (answer->length + (size_t)got > ANSWER_MOST) return sv_fail(err, SV_MODEL_FILE, "the runner said more than %d bytes; a line a row was expected", ANSWER_MOST);
        sv_text_add_bytes(answer, some, (size_t)got);
    }
}

static sv_status end(child *c, sv_status status, sv_error *err)
{
    int code = 0;
    if (c->in >= 0) close(c->in);
    close(c->out);
    if (status) kill(-c->pid, SIGKILL);
    while (waitpid(c->pid, &code, 0) < 0 && errno == EINTR) {}
    if (status || (WIFEXITED(code) && WEXITSTATUS(code) == 0)) return status;
    if (WIFSIGNALED(code)) return sv_fail(err, SV_MODEL_FILE, "the runner was ended by signal %d", WTERMSIG(code));
    return sv_fail(err, SV_MODEL_FILE, "the runner ended with code %d; 0 was expected%s", WEXITSTATUS(code), WEXITSTATUS(code) == 127 ? " (is the command there?)" : "");
}

static void ask(sv_text *text, const sv_latency_about *about, const sv_latency_row *rows, size_t count)
{
    char name[SV_LATENCY_NAME_ROOM];
    sv_text_add(text, "model %s image %zu patch %zu depth %zu width %zu heads %zu precision %s", about->arch, about->image, about->patch, about->depth, about->width, about->heads,
                about->precision);
    if (about->depths[0]) sv_text_add(text, " depths %s widths %s", about->depths, about->widths);
    sv_text_add(text, "\n");
    for (size_t i = 0; i < count; i++) sv_text_add(text, "%s,%zu,%zu\n", sv_latency_name(name, rows[i].op, rows[i].grid), rows[i].batch, rows[i].tokens);
}

/* "block,1,197,1.03" or with p95. */
static sv_status take_line(char *line, size_t number, sv_latency_row *rows, size_t count, sv_error *err)
{
    char *fields[6], safe[80], name[SV_LATENCY_NAME_ROOM];
    size_t found = 0;
    int64_t batch, tokens;
    double ms, p95;
    sv_text_safe(safe, sizeof safe, line);
    for (char *at = line; at && found < SV_COUNT(fields); found++) {
        fields[found] = at;
        at = strchr(at, ',');
        if (at) *at++ = 0;
    }
    if ((found != 4 && found != 5) || !sv_parse_int(fields[1], &batch) || !sv_parse_int(fields[2], &tokens) || !sv_parse_real(fields[3], &ms) ||
        (p95 = ms, found == 5 && !sv_parse_real(fields[4], &p95)) || !(ms > 0) || !isfinite(ms) || !(p95 >= ms) || !isfinite(p95))
        return sv_fail(err, SV_MODEL_FILE, "line %zu of the runner is '%s'; `op,batch,tokens,ms` or `op,batch,tokens,ms,p95` was expected, such as block,1,197,1.03", number, safe);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(fields[0], sv_latency_name(name, rows[i].op, rows[i].grid)) || batch != (int64_t)rows[i].batch || tokens != (int64_t)rows[i].tokens) continue;
        if (rows[i].median_ms > 0) return sv_fail(err, SV_MODEL_FILE, "line %zu of the runner gives %s of %lld tokens a second time", number, fields[0], (long long)tokens);
        rows[i].median_ms = ms;
        rows[i].p95_ms = p95;
        return SV_OK;
    }
    return sv_fail(err, SV_MODEL_FILE, "line %zu of the runner, '%s', was not asked for", number, safe);
}

static sv_status take_answer(sv_text *answer, sv_latency_row *rows, size_t count, sv_error *err)
{
    sv_status status = sv_text_check(answer, err);
    size_t number = 0;
    char name[SV_LATENCY_NAME_ROOM];
    for (size_t i = 0; i < count; i++) rows[i].median_ms = rows[i].p95_ms = 0;
    for (char *line = answer->data, *next; !status && line && *line; line = next) {
        next = line + strcspn(line, "\n");
        if (*next) *next++ = 0;
        line[strcspn(line, "\r")] = 0;
        number++;
        if (line[0] && line[0] != '#') status = take_line(line, number, rows, count, err);
    }
    for (size_t i = 0; !status && i < count; i++)
        if (!(rows[i].median_ms > 0))
            status = sv_fail(err, SV_MODEL_FILE, "the runner left out %s at batch %zu with %zu tokens", sv_latency_name(name, rows[i].op, rows[i].grid), rows[i].batch, rows[i].tokens);
    return status;
}

sv_status sv_latency_run_command(const char *command, const sv_latency_about *about, sv_latency_row *rows, size_t count, double seconds, sv_error *err)
{
    child c;
    sv_text question = { 0 }, answer = { 0 };
    ask(&question, about, rows, count);
    sv_status status = sv_text_check(&question, err);
    if (!status) status = start(&c, command, err);
    if (!status) {
        (void)quiet_write(c.in, question.data, question.length); /* one that needs no question may have ended */
        close(c.in);
        c.in = -1;
        status = listen_to(&c, &answer, seconds, err);
        status = end(&c, status, err);
    }
    if (!status) status = take_answer(&answer, rows, count, err);
    sv_text_clear(&question);
    sv_text_clear(&answer);
    return status;
}
