/* Time, and stopping on request: the first SIGINT or SIGTERM sets a flag that loops look at, the second one ends the process
 * as if nobody had caught it. */
#include "base/base.h"
#include "base/fault.h"

#include <signal.h>
#include <stdatomic.h>
#include <time.h>

static atomic_bool interrupted;

double sv_now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double sv_wall_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec + sv_fault_clock_offset();
}

static void on_signal(int number)
{
    if (atomic_exchange(&interrupted, true)) {
        signal(number, SIG_DFL);
        raise(number);
    }
}

void sv_interrupt_install(void)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool sv_interrupted(void) { return atomic_load_explicit(&interrupted, memory_order_relaxed); }
