/* The tile: rows x columns sums of products held in registers over the whole depth. Written once; the numbers of rows and of
 * vectors and the way A lies are constants of each instance, listed below. B is broadcast against whole vectors of it.
 *   y[r,c] = start + sum over l of A[r,l] b[l,c]  (gain[c]) (+ addend), in rising l, fused multiply-adds. */
#ifndef SIEVE_KERNELS_WIDE_TILE_H
#define SIEVE_KERNELS_WIDE_TILE_H

/* clang-format off: it scatters what stands behind UNROLL */
typedef struct tile {
    size_t depth;
    const float *a; size_t a_stride;            /* along: A[r,l] = a[r * stride + l]; across: a[l * stride + r] */
    const float *b; size_t b_stride;            /* b[l * stride + c]; whole vectors are read */
    const float *bias;                          /* start: bias[c], or y itself where accumulate, or zero */
    bool accumulate;
    bool pieces;                                /* the sum is of pieces of SV_PIECE products each, start added last (kernels.h) */
    const float *addend; size_t addend_stride;  /* NULL: none; may be y */
    const float *gain;                          /* with an addend: what the sums are multiplied by before, or NULL */
    float *y; size_t y_stride;
    size_t columns;                             /* 1 .. 16 TILE_VECTORS; y, bias, addend are touched within them alone */
} tile;

typedef v16 tile_sums[TILE_ROWS][TILE_VECTORS];

/* `last` names the real columns of the last vector. */
WORD v16 tile_load(const float *at, bool whole, v_mask last) { return whole ? v_load(at, 16) : v_load_masked(at, last); }

/* What lies in memory when the sums begin is near when they are done: 15 to 20 points of the peak where y is not in L2. Sums that
 * go on from y read it at once; for them the next block of rows is asked for. */
WORD void tile_ask(const float *y, size_t stride, const int rows, const int vectors)
{
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) __builtin_prefetch(y + (size_t)r * stride + 16 * v, 1);
    }
}

WORD void tile_begin(tile_sums sum, const tile *t, const int rows, const int vectors, v_mask last) {
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = v_set(0.0f);
    }
    tile_ask(t->accumulate ? t->y + (size_t)rows * t->y_stride : t->y, t->y_stride, rows, vectors);
    if (t->addend) tile_ask(t->addend, t->addend_stride, rows, vectors);
    if (t->pieces || (!t->bias && !t->accumulate)) return;
    const float *start = t->bias ? t->bias : t->y;
    const size_t stride = t->bias ? 0 : t->y_stride;
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = tile_load(start + (size_t)r * stride + 16 * v, v + 1 < vectors, last);
    }
}

WORD void tile_end(tile_sums sum, const tile *t, const int rows, const int vectors, v_mask last) {
    if (t->pieces && t->bias) {
        UNROLL for (int v = 0; v < vectors; v++) {
            const v16 start = tile_load(t->bias + 16 * v, v + 1 < vectors, last);
            UNROLL for (int r = 0; r < rows; r++) sum[r][v] = v_add(sum[r][v], start);
        }
    }
    if (t->gain) {
        UNROLL for (int v = 0; v < vectors; v++) {
            const v16 gain = tile_load(t->gain + 16 * v, v + 1 < vectors, last);
            UNROLL for (int r = 0; r < rows; r++) sum[r][v] = v_mul(sum[r][v], gain);
        }
    }
    if (t->addend) {
        const float *addend = t->addend;
        const size_t stride = t->addend_stride;
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < vectors; v++)
                sum[r][v] = v_add(sum[r][v], tile_load(addend + (size_t)r * stride + 16 * v, v + 1 < vectors, last));
        }
    }
    float *y = t->y;
    const size_t stride = t->y_stride;
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            float *at = y + (size_t)r * stride + 16 * v;
            if (v + 1 < vectors) v_store(at, sum[r][v], 16);
            else v_store_masked(at, sum[r][v], last);
        }
    }
}

WORD void tile_sum(tile_sums sum, const float *a, size_t a_stride, const float *b, size_t b_stride, size_t depth, const int rows, const int vectors, const bool across) {
    for (size_t l = depth; l > 0; l--) {
        v16 row[TILE_VECTORS];
        UNROLL for (int v = 0; v < vectors; v++) row[v] = v_load(b + 16 * v, 16);
        UNROLL for (int r = 0; r < rows; r++) {
            const v16 factor = v_set(across ? a[r] : a[(size_t)r * a_stride]);
            UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = v_fma(factor, row[v], sum[r][v]);
        }
        a += across ? a_stride : 1;
        b += b_stride;
    }
}

WORD void tile_run(const tile *t, const int rows, const int vectors, const bool across) {
    tile_sums sum;
    float total[TILE_ROWS * TILE_VECTORS * 16];
    const v_mask last = v_mask_of(t->columns - 16 * (size_t)(vectors - 1));
    size_t at = 0, depth = t->depth;
    tile_begin(sum, t, rows, vectors, last);
    for (; !across && t->pieces && depth > SV_PIECE; at += SV_PIECE, depth -= SV_PIECE) {
        tile_sum(sum, t->a + at, t->a_stride, t->b + at * t->b_stride, t->b_stride, SV_PIECE, rows, vectors, false);
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < vectors; v++) {
                float *place = total + (r * vectors + v) * 16;
                v_store(place, at ? v_add(v_load(place, 16), sum[r][v]) : sum[r][v], 16);
                sum[r][v] = v_set(0.0f);
            }
        }
    }
    tile_sum(sum, t->a + at, t->a_stride, t->b + at * t->b_stride, t->b_stride, depth, rows, vectors, across);
    if (at) {
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = v_add(v_load(total + (r * vectors + v) * 16, 16), sum[r][v]);
        }
    }
    tile_end(sum, t, rows, vectors, last);
}

/* The instances, from the list TILES of the ISA: rows rise fastest. */
#define TILE_ALONG(rows, vectors) \
    static __attribute__((noinline)) void along_##rows##_##vectors(const tile *t) { tile_run(t, rows, vectors, false); }
#define TILE_ACROSS(rows, vectors) \
    static __attribute__((noinline)) void across_##rows##_##vectors(const tile *t) { tile_run(t, rows, vectors, true); }
#define NAME_ALONG(rows, vectors) along_##rows##_##vectors,
#define NAME_ACROSS(rows, vectors) across_##rows##_##vectors,
TILES(TILE_ALONG)
TILES(TILE_ACROSS)
typedef void tile_form(const tile *t);
static tile_form *const along_forms[] = {TILES(NAME_ALONG)};
static tile_form *const across_forms[] = {TILES(NAME_ACROSS)};

/* A tile of up to TILE_ROWS rows and any number of columns. */
static void tile_any(tile t, size_t rows, bool across) {
    const size_t columns = t.columns;
    for (size_t first = 0; first < columns; first += 16 * TILE_VECTORS) {
        t.columns = columns - first < 16 * TILE_VECTORS ? columns - first : 16 * TILE_VECTORS;
        const size_t form = ((t.columns + 15) / 16 - 1) * TILE_ROWS + rows - 1;
        (across ? across_forms : along_forms)[form](&t);
        t.b += 16 * TILE_VECTORS;
        t.y += 16 * TILE_VECTORS;
        if (t.bias) t.bias += 16 * TILE_VECTORS;
        if (t.addend) t.addend += 16 * TILE_VECTORS;
        if (t.gain) t.gain += 16 * TILE_VECTORS;
    }
}

/* Blocks of at most TILE_ROWS rows, as even as can be: 197 rows are 21 blocks of 9 and one of 8. */
static size_t block_count(size_t rows) { return (rows + TILE_ROWS - 1) / TILE_ROWS; }
static size_t block_begin(size_t rows, size_t block) {
    const size_t count = block_count(rows), low = rows / count, more = rows % count;
    return block * low + (block < more ? block : more);
}

/* clang-format on */

#endif
