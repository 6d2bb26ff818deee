/* Engine of bf16 products over vector words: a tile of PAIR_ROWS x 32 sums in registers, pairs broadcast against words of B.
 * An engine offers: ENGINE_ROWS, engine_begin/end around a kernel, `multiply`, and the strips it reads of A across. */
#ifndef SIEVE_KERNELS_WIDE_PAIRS_TILE_H
#define SIEVE_KERNELS_WIDE_PAIRS_TILE_H

enum { ENGINE_ROWS = PAIR_ROWS };

static void engine_begin(void) {}
static void engine_end(void) {}

/* clang-format off */
typedef struct pair_tile {
    const uint32_t *a; size_t row_step, pair_step;  /* of words */
    const uint32_t *b;                              /* a panel */
    float *y; size_t y_stride;
    size_t pairs, columns;
    bool accumulate;
} pair_tile;

WORD void pair_tile_run(const pair_tile *t, const int rows, const int vectors) {
    v16 sum[PAIR_ROWS][PAIR_VECTORS];
    const uint32_t *a = t->a, *b = t->b;
    const size_t row_step = t->row_step, pair_step = t->pair_step;
    const size_t last = t->columns - 16 * (size_t)(t->columns > 16);
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            const size_t n = v == 0 ? least(t->columns, 16) : t->columns > 16 ? last : 0;
            sum[r][v] = t->accumulate && n ? v_load(t->y + (size_t)r * t->y_stride + 16 * v, n) : v_set(0.0f);
        }
    }
    for (size_t l = t->pairs; l > 0; l--) {
        i16 row[PAIR_VECTORS];
        UNROLL for (int v = 0; v < vectors; v++) row[v] = w_load(b + 16 * v);
        UNROLL for (int r = 0; r < rows; r++) {
            const i16 factor = w_set(a[(size_t)r * row_step]);
            UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = v_dot(sum[r][v], factor, row[v]);
        }
        a += pair_step;
        b += SV_PANEL_BF16;
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            const size_t n = v == 0 ? least(t->columns, 16) : t->columns > 16 ? last : 0;
            if (n) v_store(t->y + (size_t)r * t->y_stride + 16 * v, sum[r][v], n);
        }
    }
}

#define PAIR_TILE(rows, vectors) \
    static __attribute__((noinline)) void pair_tile_##rows##_##vectors(const pair_tile *t) { pair_tile_run(t, rows, vectors); }
#define PAIR_TILE_NAME(rows, vectors) pair_tile_##rows##_##vectors,
PAIR_TILES(PAIR_TILE)
static void (*const pair_tile_forms[])(const pair_tile *t) = { PAIR_TILES(PAIR_TILE_NAME) };
/* clang-format on */

_Static_assert(PARTS == 1, "three parts are for tiles");

static void multiply_steps(float *y, size_t y_stride, const uint32_t *a, size_t row_step, size_t pair_step, const uint32_t *panels,
                           size_t rows, size_t columns, size_t pairs, bool accumulate)
{
    for (size_t first = 0; first < columns; first += SV_PANEL_BF16) {
        const pair_tile t = { a,         row_step, pair_step, panels + first * pairs,
                              y + first, y_stride, pairs,     least(columns - first, SV_PANEL_BF16),
                              accumulate };
        pair_tile_forms[rows - 1](&t);
    }
}
/* y[rows, columns] (+)= A B for at most ENGINE_ROWS rows; a_stride in words; panels of `columns` columns, each `pairs` deep. */
static void multiply(float *y, size_t y_stride, const uint32_t *a, size_t a_stride, size_t a_step, const uint32_t *panels,
                     size_t panel_step, size_t rows, size_t columns, size_t pairs, bool accumulate)
{
    (void)a_step;
    (void)panel_step;
    multiply_steps(y, y_stride, a, a_stride, 1, panels, rows, columns, pairs, accumulate);
}

/* A strip of A across, for rows first .. first + rows - 1 of the result and pairs from row `begin` on: here [pairs][16]. */
enum { STRIP_PAIRS = 256, STRIP_WORDS = STRIP_PAIRS * 16 };
static void strip_make(uint32_t *strip, const across *a, size_t begin, size_t pairs, size_t first, size_t rows)
{
    for (size_t p = 0; p < pairs; p++) across_pairs(strip + p * 16, STRIP_WORDS, a, begin + 2 * p, first, rows);
}
static void strip_multiply(float *y, size_t y_stride, const uint32_t *strip, const uint32_t *panel, size_t panel_step, size_t rows,
                           size_t columns, size_t pairs, bool accumulate)
{
    (void)panel_step;
    multiply_steps(y, y_stride, strip, 1, 16, panel, rows, columns, pairs, accumulate);
}
#endif
