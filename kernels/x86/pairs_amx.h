/* Engine of bf16 products on AMX tiles (Intel SDM, TDPBF16PS): blocks of up to 32 rows and 32 columns in four tiles of sums, two
 * tiles of A and two of B. The same interface as kernels/wide/pairs_tile.h. */
#ifndef SIEVE_KERNELS_X86_PAIRS_AMX_H
#define SIEVE_KERNELS_X86_PAIRS_AMX_H

enum { ENGINE_ROWS = 32 };

/* clang-format off */
typedef struct tile_config { uint8_t palette, start; uint8_t reserved[14]; uint16_t bytes[16]; uint8_t rows[16]; } tile_config;
/* clang-format on */
_Static_assert(sizeof(tile_config) == 64, "as the instruction reads it");

/* The tile instructions do not tell the compiler what memory they read. */
WORD void memory_is_read(void) { __asm__ volatile("" : : : "memory"); }

static _Thread_local size_t configured; /* rows the tiles stand for; 0: none */

/* Sums 0, 1 and A in 4: the upper rows; 2, 3 and 5: the lower ones; B in 6, 7. */
static void tiles_for(size_t rows)
{
    if (configured == rows) return;
    const uint8_t upper = (uint8_t)least(rows, 16), lower = (uint8_t)(rows > 16 ? rows - 16 : 1);
    tile_config config = { .palette = 1, .rows = { upper, upper, lower, lower, upper, lower, 16, 16 } };
    for (int t = 0; t < 8; t++) config.bytes[t] = 64;
    __asm__ volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
    configured = rows;
}
static void engine_begin(void) { configured = 0; }
static void engine_end(void)
{
    if (configured) _tile_release();
    configured = 0;
}

/* What a block is made of: A and B begin at a and b, their next parts a_step and b_step behind. Strides and steps in bytes. */
typedef struct tile_block {
    char *y;
    size_t y_stride;
    const char *a;
    size_t a_stride, a_step;
    const char *b;
    size_t b_step, pairs;
    bool accumulate;
} tile_block;

/* Two rows of tiles of A are in 4 and 5, two columns of B in 6 and 7. */
WORD void tiles_a(const char *a, size_t stride)
{
    _tile_loadd(4, a, stride);
    _tile_loadd(5, a + 16 * stride, stride);
}
WORD void tiles_b(const char *b)
{
    _tile_loadd(6, b, 128);
    _tile_loadd(7, b + 64, 128);
}
WORD void tiles_four(void)
{
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

/* 17 to 32 rows. The order of parts: kernels/chain.h. */
WORD void tiles_two(const tile_block *t)
{
    const size_t y_stride = t->y_stride, a_stride = t->a_stride, a_step = t->a_step, b_step = t->b_step;
    const char *a = t->a, *b = t->b;
    memory_is_read();
    if (t->accumulate) {
        _tile_loadd(0, t->y, y_stride);
        _tile_loadd(1, t->y + 64, y_stride);
        _tile_loadd(2, t->y + 16 * y_stride, y_stride);
        _tile_loadd(3, t->y + 16 * y_stride + 64, y_stride);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (const char *end = a + t->pairs * 4; a < end; a += 64, b += 16 * 128) {
        tiles_a(a, a_stride);
        if (PARTS == 3) {
            tiles_b(b + 2 * b_step);
            tiles_four();
            tiles_b(b + b_step);
            tiles_four();
        }
        tiles_b(b);
        tiles_four();
        if (PARTS == 3) {
            tiles_a(a + a_step, a_stride);
            tiles_four();
            tiles_b(b + b_step);
            tiles_four();
            tiles_a(a + 2 * a_step, a_stride);
            tiles_b(b);
            tiles_four();
        }
    }
    _tile_stored(0, t->y, y_stride);
    _tile_stored(1, t->y + 64, y_stride);
    _tile_stored(2, t->y + 16 * y_stride, y_stride);
    _tile_stored(3, t->y + 16 * y_stride + 64, y_stride);
}

WORD void tiles_pair(void)
{
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
}

/* At most 16 rows. */
WORD void tiles_one(const tile_block *t)
{
    const size_t a_step = t->a_step, b_step = t->b_step;
    const char *a = t->a, *b = t->b;
    memory_is_read();
    if (t->accumulate) {
        _tile_loadd(0, t->y, t->y_stride);
        _tile_loadd(1, t->y + 64, t->y_stride);
    } else {
        _tile_zero(0);
        _tile_zero(1);
    }
    for (const char *end = a + t->pairs * 4; a < end; a += 64, b += 16 * 128) {
        _tile_loadd(4, a, t->a_stride);
        if (PARTS == 3) {
            tiles_b(b + 2 * b_step);
            tiles_pair();
            tiles_b(b + b_step);
            tiles_pair();
        }
        tiles_b(b);
        tiles_pair();
        if (PARTS == 3) {
            _tile_loadd(4, a + a_step, t->a_stride);
            tiles_pair();
            tiles_b(b + b_step);
            tiles_pair();
            _tile_loadd(4, a + 2 * a_step, t->a_stride);
            tiles_b(b);
            tiles_pair();
        }
    }
    _tile_stored(0, t->y, t->y_stride);
    _tile_stored(1, t->y + 64, t->y_stride);
}

static void tiles_any(const tile_block *t, size_t rows)
{
    if (rows > 16)
        tiles_two(t);
    else
        tiles_one(t);
}

/* Columns that do not fill a block go through a copy. */
static void tiles_narrow(const tile_block *t, size_t rows, size_t columns)
{
    _Alignas(64) float room[32 * 32];
    float *y = (float *)(void *)t->y;
    const size_t stride = t->y_stride / 4;
    tile_block copy = *t;
    copy.y = (char *)room;
    copy.y_stride = 128;
    for (size_t r = 0; t->accumulate && r < rows; r++)
        for (size_t c = 0; c < 32; c += 16)
            v_store(room + 32 * r + c, v_load(y + (columns > c ? r * stride + c : 0), columns > c ? least(columns - c, 16) : 0), 16);
    tiles_any(&copy, rows);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c += 16) v_store(y + r * stride + c, v_load(room + 32 * r + c, 16), least(columns - c, 16));
}

/* What passes between two stores of a block's sums must leave them in L1: a tile stored to lines that are not there takes 1000 cycles instead
 * of 16. Then the pieces of A and B of a deep sum add up to 40 KiB. */
enum { CHUNK_PAIRS = PARTS == 3 ? 32 : 128 };

/* y[rows, columns] (+)= A B for at most ENGINE_ROWS rows; strides and steps in numbers and words. */
static void multiply(float *y, size_t y_stride, const uint32_t *a, size_t a_stride, size_t a_step, const uint32_t *panels,
                     size_t panel_step, size_t rows, size_t columns, size_t pairs, bool accumulate)
{
    tiles_for(rows);
    for (size_t first = 0; first < columns; first += SV_PANEL_BF16) {
        size_t done = 0;
        do {
            const uint32_t *panel = panels + first * pairs + done * SV_PANEL_BF16;
            const tile_block t = { (char *)(y + first), y_stride * 4,   (const char *)(a + done),         a_stride * 4,          a_step * 4,
                                   (const char *)panel, panel_step * 4, least(pairs - done, CHUNK_PAIRS), accumulate || done > 0 };
            if (columns - first >= SV_PANEL_BF16)
                tiles_any(&t, rows);
            else
                tiles_narrow(&t, rows, columns - first);
            done += CHUNK_PAIRS;
        } while (done < pairs);
    }
}

/* A strip of A across, for rows first .. first + rows - 1 of the result and pairs from row `begin` on: turned, so that it lies along:
 * [part][rows][STRIP_PAIRS]. */
enum { STRIP_PAIRS = 256, STRIP_WORDS = STRIP_PAIRS * 32 };
static void strip_make(uint32_t *strip, const across *a, size_t begin, size_t pairs, size_t first, size_t rows)
{
    _Alignas(64) float turned[PARTS * 16 * 16];
    for (size_t p = 0; p < pairs; p += 16)
        for (size_t r = 0; r < rows; r += 16) {
            const size_t n = least(rows - r, 16);
            for (size_t l = 0; l < 16; l++) across_pairs((uint32_t *)(void *)turned + 16 * l, 256, a, begin + 2 * (p + l), first + r, n);
            for (size_t part = 0; part < PARTS; part++)
                v_transpose((float *)(void *)(strip + part * STRIP_WORDS + r * STRIP_PAIRS + p), STRIP_PAIRS, turned + part * 256, 16, 16,
                            n);
        }
}
static void strip_multiply(float *y, size_t y_stride, const uint32_t *strip, const uint32_t *panel, size_t panel_step, size_t rows,
                           size_t columns, size_t pairs, bool accumulate)
{
    multiply(y, y_stride, strip, STRIP_PAIRS, STRIP_WORDS, panel, panel_step, rows, columns, pairs, accumulate);
}
#endif
