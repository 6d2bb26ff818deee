/* `ip netns add NAME` binds a namespace to /run/netns/NAME; setns takes the thread there. */
#include "tools/namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

sv_status sv_namespace_enter(const char *name, sv_error *err)
{
    char path[512];
    if (strchr(name, '/') || snprintf(path, sizeof path, "/run/netns/%s", name) >= (int)sizeof path)
        return sv_fail(err, SV_USAGE, "'%s' is no name of a network namespace", name);
    const int there = open(path, O_RDONLY | O_CLOEXEC);
    if (there < 0)
        return sv_fail(err, SV_USAGE, "network namespace '%s' (%s): %s; make it with `ip netns add %s`", name, path, strerror(errno), name);
    return sv_namespace_back(there, err);
}

sv_status sv_namespace_here(int *here, sv_error *err)
{
    *here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    return *here >= 0 ? SV_OK : sv_fail(err, SV_FAULT, "the network namespace of this process cannot be told: %s", strerror(errno));
}

sv_status sv_namespace_back(int here, sv_error *err)
{
    const int failed = setns(here, CLONE_NEWNET) ? errno : 0;
    close(here);
    return failed ? sv_fail(err, SV_FAULT, "a network namespace cannot be entered: %s (root is needed)", strerror(failed)) : SV_OK;
}

uint64_t sv_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
