/* For `tools/bench-peer.sh --cpu-time`, preloaded into either side: the clock that programs time themselves by becomes the processor time
 * of their thread, so that one thread can be timed on a machine that others use too. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *out)
{
    return (int)syscall(SYS_clock_gettime, clock == CLOCK_MONOTONIC ? CLOCK_THREAD_CPUTIME_ID : clock, out);
}
