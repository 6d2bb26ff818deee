/* Products of linear layers with operands in parts of bf16, over an engine (kernels/wide/pairs_tile.h, kernels/x86/pairs_amx.h). Rows outer: a block of rows is
 * taken apart once and meets all panels; the sums of a panel are finished while the engine works on the next one. */
#ifndef SIEVE_KERNELS_WIDE_PRODUCT_PARTS_H
#define SIEVE_KERNELS_WIDE_PRODUCT_PARTS_H

/* Rows taken apart at a time, on the stack. Weights that stay in L2 are met block by block of rows, so that rows of y are written whole; of
 * larger ones a panel meets as many blocks as fit, so that they are read from far but once for all these. */
enum { ROOM_WORDS = 160 * 1024, STRIP_DEPTH = 2 * ROOM_WORDS / ENGINE_ROWS / PARTS / 32 * 32, NEAR_WORDS = 384 * 1024 };

static void pack_forward_parts(void *panels, const float *w, size_t n, size_t k) { pack_columns_parts(panels, w, k, n, k); }
static void pack_backward_parts(void *panels, const float *w, size_t n, size_t k) { pack_pieces_parts(panels, w, k, k, n); }

/* Blocks of at most ENGINE_ROWS rows, as even as can be. */
static size_t engine_blocks(size_t rows) { return (rows + ENGINE_ROWS - 1) / ENGINE_ROWS; }
static size_t engine_block_begin(size_t rows, size_t block)
{
    const size_t count = engine_blocks(rows), low = rows / count, more = rows % count;
    return block * low + (block < more ? block : more);
}

typedef float block_sums[ENGINE_ROWS * SV_PANEL_BF16];

/* Bias and what the epilogue says, from sums to y; bf16 goes through the sums' own place. */
static void finish_block(const sv_product *p, float *sums, size_t row, size_t rows, size_t first)
{
    const size_t columns = least(p->n - first, SV_PANEL_BF16), y_stride = p->y_half ? SV_PANEL_BF16 : p->y_stride;
    float *y = p->y_half ? sums : p->y + row * p->y_stride + first;
    for (size_t c = 0; c < columns; c += 16) {
        const size_t n = least(columns - c, 16), at = first + c;
        const v16 bias = p->bias ? v_load(p->bias + at, n) : v_set(0.0f);
        for (size_t r = 0; r < rows; r++) {
            v16 sum = v_load(sums + r * SV_PANEL_BF16 + c, 16);
            if (p->bias) sum = v_add(sum, bias);
            if (p->epilogue == SV_ADD && p->gain) sum = v_mul(sum, v_load(p->gain + at, n));
            if (p->epilogue == SV_ADD) sum = v_add(sum, v_load(p->addend + (row + r) * p->addend_stride + at, n));
            if (p->epilogue == SV_GELU) {
                if (p->before) v_store(p->before + (row + r) * p->before_stride + at, sum, n);
                sum = w_gelu(sum);
            }
            v_store(y + r * y_stride + c, sum, n);
        }
    }
    for (size_t r = 0; p->y_half && r < rows; r++) put_halves(p->y_half + (row + r) * p->y_stride + first, y + r * y_stride, columns);
}

/* A span of rows on its way: its blocks' strips lie one behind another in room; rows of whole words of bf16 are read where they are. */
typedef struct span {
    const sv_product *p;
    uint32_t *room;
    size_t row, rows, step; /* first row, rows; words of a block's strip, one part */
} span;

static bool in_place(const sv_product *p) { return p->x_half && p->k % 32 == 0 && p->x_stride % 2 == 0 && (uintptr_t)p->x_half % 4 == 0; }

static uint32_t *strip_of(const span *s, size_t block) { return s->room + block * PARTS * s->step; }

static void take_span(const span *s, size_t from, size_t depth)
{
    const size_t padded = up_to_32(depth);
    for (size_t block = 0; block < engine_blocks(s->rows); block++) {
        const size_t begin = engine_block_begin(s->rows, block), rows = engine_block_begin(s->rows, block + 1) - begin;
        const size_t at = (s->row + begin) * s->p->x_stride + from;
        if (s->p->x_half)
            copy_halves(strip_of(s, block), s->p->x_half + at, s->p->x_stride, rows, depth, padded);
        else
            take_rows(strip_of(s, block), s->step, s->p->x + at, s->p->x_stride, rows, depth, padded);
    }
}

/* Sums of one block and one panel; they go on where a row is deeper than a strip. */
static void sum_block(const span *s, float *sums, size_t block, size_t rows, size_t first)
{
    const sv_product *p = s->p;
    const uint32_t *panel = (const uint32_t *)p->panels + first * pairs_of(p->k);
    const size_t step = panel_words(p->n, p->k);
    if (in_place(p)) {
        const uint16_t *x = p->x_half + (s->row + engine_block_begin(s->rows, block)) * p->x_stride;
        multiply(sums, SV_PANEL_BF16, (const uint32_t *)(const void *)x, p->x_stride / 2, 0, panel, step, rows, SV_PANEL_BF16, p->k / 2,
                 false);
        return;
    }
    for (size_t l = 0; l == 0 || l < p->k; l += STRIP_DEPTH) {
        const size_t depth = least(p->k - l, STRIP_DEPTH), pairs = pairs_of(depth);
        if (p->k > STRIP_DEPTH) take_span(s, l, depth); /* then a span is one block */
        multiply(sums, SV_PANEL_BF16, strip_of(s, block), pairs, s->step, panel + l / 2 * SV_PANEL_BF16, step, rows, SV_PANEL_BF16, pairs,
                 l > 0);
    }
}

/* Lines of y that another core may have read last are made ours while the engine works. */
static void ask_block(const sv_product *p, size_t row, size_t rows, size_t first)
{
    for (size_t r = 0; r < rows; r++) {
        const size_t at = (row + r) * p->y_stride + first;
        const char *y = p->y_half ? (const char *)(p->y_half + at) : (const char *)(p->y + at);
        __builtin_prefetch(y, 1);
        if (!p->y_half) __builtin_prefetch(y + 64, 1);
    }
}

/* What was summed last, finished while the engine works on what comes next. */
typedef struct waiting {
    float *sums; /* NULL: nothing */
    size_t row, rows, first;
} waiting;

static void finish_waiting(const sv_product *p, waiting *w)
{
    if (w->sums) finish_block(p, w->sums, w->row, w->rows, w->first);
    w->sums = NULL;
}

static void product_span(const span *s)
{
    _Alignas(64) block_sums sums[2];
    const sv_product *p = s->p;
    const ahead next = ahead_of(p->ahead, p->ahead_bytes, p->m * p->n);
    waiting last = { NULL, 0, 0, 0 };
    size_t turn = 0;
    if (p->k <= STRIP_DEPTH && !in_place(p)) take_span(s, 0, p->k);
    for (size_t first = 0; first < p->n; first += SV_PANEL_BF16)
        for (size_t block = 0; block < engine_blocks(s->rows); block++, turn ^= 1) {
            const size_t begin = engine_block_begin(s->rows, block), rows = engine_block_begin(s->rows, block + 1) - begin,
                         row = s->row + begin;
            ask_block(p, row, rows, first);
            sum_block(s, sums[turn], block, rows, first);
            fetch_ahead(&next, s->row * p->n + s->rows * first + begin * SV_PANEL_BF16, rows * least(p->n - first, SV_PANEL_BF16));
            finish_waiting(p, &last);
            last = (waiting){ sums[turn], row, rows, first };
        }
    finish_waiting(p, &last);
}

static void product_rows_parts(const sv_product *p)
{
    _Alignas(64) uint32_t room[ROOM_WORDS];
    const size_t depth = least(p->k, STRIP_DEPTH), step = ENGINE_ROWS * (depth ? pairs_of(depth) : 16);
    const bool near = PARTS * panel_words(p->n, p->k) <= NEAR_WORDS;
    const size_t most = (near ? 1 : ROOM_WORDS / (PARTS * step)) * ENGINE_ROWS, spans = (p->m + most - 1) / most;
    engine_begin();
    for (size_t i = 0; i < spans; i++) {
        const size_t row = p->m * i / spans;
        product_span(&(span){ p, room, row, p->m * (i + 1) / spans - row, step });
    }
    engine_end();
}

/* c[rows of A across, columns] (+)= A^T B, B in panels of `columns` columns over all of A's depth. */
static void outer_rows(float *c, size_t c_stride, const across *a, const uint32_t *panels, size_t n, size_t columns, bool accumulate)
{
    _Alignas(64) uint32_t strip[PARTS * STRIP_WORDS];
    const size_t all = pairs_of(a->depth), step = panel_words(columns, a->depth);
    for (size_t block = 0; block < engine_blocks(n); block++) {
        const size_t row = engine_block_begin(n, block), rows = engine_block_begin(n, block + 1) - row;
        size_t done = 0;
        do {
            const size_t pairs = least(all - done, STRIP_PAIRS);
            strip_make(strip, a, 2 * done, pairs, row, rows);
            for (size_t first = 0; first < columns; first += SV_PANEL_BF16)
                strip_multiply(c + row * c_stride + first, c_stride, strip, panels + first * all + done * SV_PANEL_BF16, step, rows,
                               least(columns - first, SV_PANEL_BF16), pairs, accumulate || done > 0);
            done += pairs;
        } while (done < all);
    }
}

static void product_outer_parts(float *c, size_t c_stride, const float *a, size_t a_stride, const float *b, const uint16_t *b_half,
                                size_t b_stride, size_t m, size_t n, size_t k, bool accumulate, void *scratch)
{
    uint32_t *panels = (uint32_t *)(void *)(((uintptr_t)scratch + 63) / 64 * 64);
    const across rows = { a, a_stride, m, false, 0 };
    engine_begin();
    if (b_half)
        pack_pieces_halves(panels, b_half, b_stride, k, m);
    else
        pack_pieces_parts(panels, b, b_stride, k, m);
    outer_rows(c, c_stride, &rows, panels, n, k, accumulate);
    engine_end();
}

#endif
