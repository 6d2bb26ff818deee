/* Messages: formatted into a line of fixed room (no allocation, so that they work when memory is gone) and handed to the sink
 * the program has set. Set the sink at start, before threads log. */
#include "base/base.h"
#include "base/terminal.h"

#include <pthread.h>
#include <stdio.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sv_log_sink *current_sink;
static void *current_context;
static sv_level current_most = SV_INFO, terminal_most = SV_INFO;
static _Thread_local sv_log_sink *sink_here; /* of this thread alone */
static _Thread_local void *context_here;

void sv_log_set(sv_log_sink *sink, void *context, sv_level most)
{
    pthread_mutex_lock(&lock);
    current_sink = sink;
    current_context = context;
    current_most = terminal_most = most;
    pthread_mutex_unlock(&lock);
}

void sv_log_set_terminal(sv_level most)
{
    pthread_mutex_lock(&lock);
    terminal_most = most;
    pthread_mutex_unlock(&lock);
}

void sv_log_set_here(sv_log_sink *sink, void *context)
{
    sink_here = sink;
    context_here = context;
}

void sv_log_to_terminal(void *context, sv_level level, const char *line)
{
    (void)context;
    sv_terminal_line(level == SV_WARNING ? "warning: " : "", line);
}

sv_level sv_log_level(void)
{
    if (sink_here) return SV_QUIET; /* a library shows nothing of its own */
    pthread_mutex_lock(&lock);
    const sv_level most = terminal_most;
    pthread_mutex_unlock(&lock);
    return most;
}

bool sv_log_wants(sv_level level)
{
    if (sink_here) return level <= SV_INFO && level != SV_QUIET;
    pthread_mutex_lock(&lock);
    bool wanted = level <= current_most && level != SV_QUIET;
    pthread_mutex_unlock(&lock);
    return wanted;
}

/* What this thread's sink logs itself goes where lines went before. */
static void hand_over_here(sv_level level, const char *line)
{
    sv_log_sink *sink = sink_here;
    sink_here = NULL;
    sink(context_here, level, line);
    sink_here = sink;
}

void sv_log(sv_level level, const char *format, ...)
{
    char line[4096];
    if (!sv_log_wants(level)) return;
    const bool here = sink_here != NULL;
    pthread_mutex_lock(&lock);
    sv_log_sink *sink = current_sink;
    void *context = current_context;
    pthread_mutex_unlock(&lock);
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(line, sizeof line, format, arguments) < 0) line[0] = 0;
    va_end(arguments);
    if (here) hand_over_here(level, line);
    else if (sink) sink(context, level, line);
    else sv_log_to_terminal(NULL, level, line);
}
