/* The live line. On a terminal it is rewritten in place, at most ten times a second, cut to the width; messages are printed
 * above it. In a pipe it becomes plain lines, at most one in ten seconds. All state is under one lock. */
#include "base/base.h"
#include "base/terminal.h"
#include "base/utf8.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const double TERMINAL_SECONDS = 0.1, PIPE_SECONDS = 10;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char live[1024];         /* the state told last; "" where no line is live */
static bool shown;              /* the terminal's last line is the live one */
static bool told;               /* last_time is set */
static double last_time;

static void put(const char *bytes, size_t count)
{
    while (count) {
        ssize_t done = write(STDERR_FILENO, bytes, count);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return;
        bytes += done;
        count -= (size_t)done;
    }
}

static bool on_terminal(void)
{
    const char *kind = getenv("TERM");
    return isatty(STDERR_FILENO) && kind && strcmp(kind, "dumb") != 0;
}

static size_t terminal_width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

/* One write of the whole line, so that lines of several processes do not mix: "\r", as many characters as fit before the
 * last column (some terminals wrap there), clear to the end. */
static void draw(void)
{
    char room[sizeof live + 16];
    size_t used = 1, length = strlen(live), at = 0, columns = terminal_width() - 1;
    room[0] = '\r';
    for (size_t column = 0; at < length && column < columns; column++) {
        size_t bytes = sv_utf8_length(live + at, length - at);
        bytes = bytes ? bytes : 1;
        memcpy(room + used, live + at, bytes);
        used += bytes;
        at += bytes;
    }
    memcpy(room + used, "\033[K", 3);
    put(room, used + 3);
    shown = true;
}

void sv_terminal_line(const char *before, const char *line)
{
    char room[5120];
    pthread_mutex_lock(&lock);
    bool redraw = shown;
    int length = snprintf(room, sizeof room - 1, "%s%s%s", redraw ? "\r\033[K" : "", before, line);
    size_t used = length < 0 ? 0 : (size_t)length < sizeof room - 2 ? (size_t)length : sizeof room - 2;
    room[used++] = '\n';
    put(room, used);
    if (redraw) draw();
    pthread_mutex_unlock(&lock);
}

void sv_progress(const char *format, ...)
{
    char line[sizeof live - 1];
    if (sv_log_level() < SV_INFO) return;
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(line, sizeof line, format, arguments) < 0) line[0] = 0;
    va_end(arguments);
    double now = sv_now_seconds();
    pthread_mutex_lock(&lock);
    bool terminal = on_terminal();
    sv_text_safe(live, sizeof live, line);
    if (!told || now - last_time >= (terminal ? TERMINAL_SECONDS : PIPE_SECONDS)) {
        told = true;
        last_time = now;
        if (terminal) draw();
        else {
            size_t length = strlen(live);
            memcpy(line, live, length);
            line[length] = '\n';
            put(line, length + 1);
        }
    }
    pthread_mutex_unlock(&lock);
}

void sv_progress_end(void)
{
    pthread_mutex_lock(&lock);
    if (live[0] && on_terminal()) {
        draw();
        put("\n", 1);
        told = false; /* the next line starts at once; in a pipe the ten seconds go on */
    }
    shown = false;
    live[0] = 0;
    pthread_mutex_unlock(&lock);
}
