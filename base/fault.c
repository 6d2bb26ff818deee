/* Faults on demand. One counter a kind; the n-th call fails, or the n-th and all after it. The environment is read at the
 * first call of anything here, so that whole programs can be run against faults. */
#include "base/fault.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = { "alloc", "open", "read", "write", "sync", "rename" };
_Static_assert(SV_COUNT(kind_names) == SV_FAULT_KINDS, "a name for each kind");

typedef struct fault_point { atomic_uint_fast64_t calls, at; atomic_bool forever; } fault_point;
static fault_point points[SV_FAULT_KINDS];
static pthread_once_t environment_once = PTHREAD_ONCE_INIT;

static void arm(sv_fault_kind kind, uint64_t at, bool forever)
{
    atomic_store(&points[kind].calls, 0);
    atomic_store(&points[kind].at, at);
    atomic_store(&points[kind].forever, forever);
}

/* "alloc:17" or "write:3+"; what is not of this form is ignored with a warning. */
static void arm_from_text(char *word)
{
    char *colon = strchr(word, ':'), *number = colon ? colon + 1 : word;
    size_t length = strlen(number);
    bool forever = length && number[length - 1] == '+';
    int64_t at = 0;
    if (colon) *colon = 0;
    if (forever) number[length - 1] = 0;
    if (colon && sv_parse_int(number, &at) && at >= 0)
        for (size_t i = 0; i < SV_COUNT(kind_names); i++)
            if (strcmp(kind_names[i], word) == 0) {
                arm((sv_fault_kind)i, (uint64_t)at, forever);
                return;
            }
    sv_log(SV_WARNING, "SIEVE_FAULT: '%s' is not understood; expected words like alloc:17 or write:3+", word);
}

static void read_environment(void)
{
    char room[256], *rest = NULL;
    const char *given = getenv("SIEVE_FAULT");
    if (!given || strlen(given) >= sizeof room) return;
    strcpy(room, given);
    for (char *word = strtok_r(room, ", ", &rest); word; word = strtok_r(NULL, ", ", &rest)) arm_from_text(word);
}

void sv_fault_set(sv_fault_kind kind, uint64_t at, bool forever)
{
    pthread_once(&environment_once, read_environment);
    arm(kind, at, forever);
}

uint64_t sv_fault_calls(sv_fault_kind kind)
{
    pthread_once(&environment_once, read_environment);
    return atomic_load(&points[kind].calls);
}

bool sv_fault_here(sv_fault_kind kind)
{
    pthread_once(&environment_once, read_environment);
    uint64_t call = atomic_fetch_add(&points[kind].calls, 1) + 1, at = atomic_load(&points[kind].at);
    return at && (call == at || (call > at && atomic_load(&points[kind].forever)));
}
