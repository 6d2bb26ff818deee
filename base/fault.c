/* Faults on demand. One counter a kind; the n-th call fails, or the n-th and all after it, or ends the process. The environment is read at
 * the first call of anything here, so that whole programs can be run against faults. */
#include "base/fault.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const kind_names[] = { "alloc", "open", "read", "write", "sync", "rename", "thread", "send", "receive", "space" };
_Static_assert(SV_COUNT(kind_names) == SV_FAULT_KINDS, "a name for each kind");

typedef enum fault_form { FAULT_ONCE, FAULT_FOREVER, FAULT_DEATH } fault_form;
typedef struct fault_point { atomic_uint_fast64_t calls, at; atomic_int form; } fault_point;
static fault_point points[SV_FAULT_KINDS];
static atomic_uint_fast64_t slow_ms, clock_seconds, clock_looks, here, meant; /* here, meant: ranks + 1; meant 0: all */
static pthread_once_t environment_once = PTHREAD_ONCE_INIT;

static void arm(sv_fault_kind kind, uint64_t at, fault_form form)
{
    atomic_store(&points[kind].calls, 0);
    atomic_store(&points[kind].at, at);
    atomic_store(&points[kind].form, (int)form);
}

/* What has a number but is no call that fails. */
static bool take_other(const char *word, uint64_t number)
{
    if (strcmp(word, "slow") == 0) atomic_store(&slow_ms, number);
    else if (strcmp(word, "clock") == 0) atomic_store(&clock_seconds, number);
    else if (strcmp(word, "rank") == 0) atomic_store(&meant, number + 1);
    else return false;
    return true;
}

/* "alloc:17", "write:3+", "sync:5!"; what is not of this form is ignored with a warning. */
static void arm_from_text(char *word)
{
    char *colon = strchr(word, ':'), *number = colon ? colon + 1 : word;
    size_t length = strlen(number);
    const char last = length ? number[length - 1] : 0;
    const fault_form form = last == '+' ? FAULT_FOREVER : last == '!' ? FAULT_DEATH : FAULT_ONCE;
    int64_t at = 0;
    if (colon) *colon = 0;
    if (form) number[length - 1] = 0;
    if (colon && sv_parse_int(number, &at) && at >= 0) {
        if (!form && take_other(word, (uint64_t)at)) return;
        for (size_t i = 0; i < SV_COUNT(kind_names); i++)
            if (strcmp(kind_names[i], word) == 0) {
                arm((sv_fault_kind)i, (uint64_t)at, form);
                return;
            }
    }
    sv_log(SV_WARNING, "SIEVE_FAULT: '%s' is not understood; expected words like alloc:17, write:3+ or sync:5!", word);
}

static void write_counts(void)
{
    const char *path = getenv("SIEVE_FAULT_COUNT");
    FILE *file = path ? fopen(path, "we") : NULL;
    for (size_t i = 0; file && i < SV_FAULT_KINDS; i++) fprintf(file, "%s %ju\n", kind_names[i], (uintmax_t)atomic_load(&points[i].calls));
    if (file) fclose(file);
}

static void read_environment(void)
{
    char room[256], *rest = NULL;
    const char *given = getenv("SIEVE_FAULT");
    if (getenv("SIEVE_FAULT_COUNT")) atexit(write_counts);
    atomic_store(&here, 1);
    if (!given || strlen(given) >= sizeof room) return;
    strcpy(room, given);
    for (char *word = strtok_r(room, ", ", &rest); word; word = strtok_r(NULL, ", ", &rest)) arm_from_text(word);
}

void sv_fault_set(sv_fault_kind kind, uint64_t at, bool forever)
{
    pthread_once(&environment_once, read_environment);
    arm(kind, at, forever ? FAULT_FOREVER : FAULT_ONCE);
}

void sv_fault_rank(size_t rank)
{
    pthread_once(&environment_once, read_environment);
    atomic_store(&here, rank + 1);
}

uint64_t sv_fault_calls(sv_fault_kind kind)
{
    pthread_once(&environment_once, read_environment);
    return atomic_load(&points[kind].calls);
}

static void wait_ms(uint64_t ms)
{
    nanosleep(&(struct timespec){ .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000L }, NULL);
}

bool sv_fault_here(sv_fault_kind kind)
{
    pthread_once(&environment_once, read_environment);
    fault_point *point = &points[kind];
    uint64_t call = atomic_fetch_add(&point->calls, 1) + 1, at = atomic_load(&point->at), slow = atomic_load(&slow_ms), rank = atomic_load(&meant);
    if (slow && (kind == SV_FAULT_WRITE || kind == SV_FAULT_SYNC)) wait_ms(slow);
    if (!at || call < at || (rank && rank != atomic_load(&here))) return false;
    const int form = atomic_load(&point->form);
    if (form == FAULT_DEATH && call == at) raise(SIGKILL);
    return form == FAULT_FOREVER || (form == FAULT_ONCE && call == at);
}

double sv_fault_clock_offset(void)
{
    pthread_once(&environment_once, read_environment);
    const uint64_t most = atomic_load(&clock_seconds);
    if (!most) return 0;
    sv_random random = sv_random_at(0, SV_FOR_TEST, 0, atomic_fetch_add(&clock_looks, 1), 0);
    return (2 * sv_random_uniform(&random) - 1) * (double)most;
}
