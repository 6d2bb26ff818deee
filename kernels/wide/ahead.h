/* Asking for what is read after this product, a share with each of its blocks: at batch 1 every weight comes from L3 or memory, and
 * the first block of rows would wait for it. */
#ifndef SIEVE_KERNELS_WIDE_AHEAD_H
#define SIEVE_KERNELS_WIDE_AHEAD_H

enum { AHEAD_BYTES = 640 * 1024 }; /* at most: more would push out what is being read */

/* What is fetched while `all` results are made. */
typedef struct ahead {
    const char *from;
    size_t lines, all;
} ahead;

static ahead ahead_of(const void *from, size_t bytes, size_t all)
{
    return (ahead){ (const char *)from, from ? least(bytes, AHEAD_BYTES) / 64 : 0, all ? all : 1 };
}

/* After `done` of the results were made, `more` of them are next. */
static void fetch_ahead(const ahead *a, size_t done, size_t more)
{
    const size_t end = a->lines * (done + more) / a->all;
    for (size_t line = a->lines * done / a->all; line < end; line++) __builtin_prefetch(a->from + 64 * line, 0, 2);
}

#endif
