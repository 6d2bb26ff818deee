/* Network namespaces by the names that `ip netns` gives them, and the clock that their tools share. */
#ifndef SIEVE_TOOLS_NAMESPACE_H
#define SIEVE_TOOLS_NAMESPACE_H

#include "base/base.h"

/* The calling thread is in the namespace from here on. SV_USAGE where there is none of that name, SV_FAULT where it may not be entered. */
sv_status sv_namespace_enter(const char *name, sv_error *err) SV_MUST_CHECK;
/* Where the thread is now, to go back to: a descriptor, closed by the second call. */
sv_status sv_namespace_here(int *here, sv_error *err) SV_MUST_CHECK;
sv_status sv_namespace_back(int here, sv_error *err) SV_MUST_CHECK;

uint64_t sv_now_ns(void); /* monotonic, in whole nanoseconds */

#endif
