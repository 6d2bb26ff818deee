/* What the tests of latency/ share: a table whose times are known by a formula. */
#ifndef SIEVE_TESTS_LATENCY_H
#define SIEVE_TESTS_LATENCY_H

#include "tests/unit/base/test_base.h"

#include "latency/latency.h"

#include <math.h>

static const char HEADER[] = "# device: Test board\n# arch: deit_t\n# image: 224\n# patch: 16\n# depth: 12\n# width: 192\n# heads: 3\n";
static const char COLUMNS[] = "op,batch,tokens,ms_median,ms_p95\n";

static inline void add(sv_latency_table *table, sv_latency_op op, size_t tokens, double ms)
{
    sv_error err;
    assert_ok(sv_latency_table_add(table, &(sv_latency_row){ .op = op, .batch = 1, .tokens = tokens, .median_ms = ms, .p95_ms = ms * 1.1 }, &err), err);
}

static inline sv_latency_table empty_table(void)
{
    return (sv_latency_table){ .about = { .device = "Test board", .arch = "deit_t", .image = 224, .patch = 16, .depth = 12, .width = 192, .heads = 3 } };
}

static inline double block_ms(size_t n) { return 0.1 + 0.004 * (double)n + 2e-6 * (double)(n * n); }
static inline double selector_ms(size_t rows) { return 0.02 + 0.0005 * (double)rows; }

/* Every count 1..220, so that nothing is interpolated. */
static inline sv_latency_table full_table(void)
{
    sv_latency_table table = empty_table();
    for (size_t n = 1; n <= 220; n++) {
        add(&table, SV_LATENCY_BLOCK, n, block_ms(n));
        add(&table, SV_LATENCY_SELECTOR, n, selector_ms(n));
    }
    add(&table, SV_LATENCY_EMBED, 197, 0.3);
    add(&table, SV_LATENCY_HEAD, 197, 0.05);
    return table;
}

typedef enum packages { SV_LATENCY_NO_PACKAGE, SV_LATENCY_ONE_PACKAGE, SV_LATENCY_EACH_PACKAGE } sv_latency_packages;

static inline void add_term(sv_latency_shape *shape, sv_latency_op op, size_t grid, size_t behind, size_t selector, size_t tokens, size_t count)
{
    if (count) shape->terms[shape->term_count++] = (sv_latency_term){ op, grid, behind, selector, tokens, count };
}

/* A flat model with selectors before blocks at[0] < at[1] < ..., by the letters of latency.h. */
static inline sv_latency_shape flat_shape(size_t extra, size_t patches, size_t depth, const int64_t *at, size_t selectors, sv_latency_packages packages)
{
    sv_latency_shape shape = { .extra = extra, .patches = patches, .selectors = selectors };
    size_t more = patches, before = 0;
    add_term(&shape, SV_LATENCY_EMBED, 0, 0, 0, extra + patches, 1);
    for (size_t t = 0; t < selectors; t++) {
        shape.of[t] = patches;
        add_term(&shape, SV_LATENCY_BLOCK, 0, t, t, extra + more, (size_t)at[t] - before);
        add_term(&shape, SV_LATENCY_SELECTOR, 0, t, t, more, 1);
        before = (size_t)at[t];
        more = packages == SV_LATENCY_NO_PACKAGE ? 0 : packages == SV_LATENCY_ONE_PACKAGE ? 1 : t + 1;
    }
    add_term(&shape, SV_LATENCY_BLOCK, 0, selectors, selectors, extra + more, depth - before);
    add_term(&shape, SV_LATENCY_HEAD, 0, selectors, selectors, extra + more, 1);
    shape.dense[0] = (sv_latency_term){ SV_LATENCY_EMBED, 0, 0, 0, extra + patches, 1 };
    shape.dense[1] = (sv_latency_term){ SV_LATENCY_BLOCK, 0, 0, 0, extra + patches, depth };
    shape.dense[2] = (sv_latency_term){ SV_LATENCY_HEAD, 0, 0, 0, extra + patches, 1 };
    shape.dense_count = 3;
    return shape;
}

static inline sv_latency_shape deit_shape(sv_latency_packages packages)
{
    static const int64_t at[] = { 3, 6, 9 };
    return flat_shape(1, 196, 12, at, 3, packages);
}

#endif
