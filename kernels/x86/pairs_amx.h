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

/* 17 to 32 rows. Strides in bytes. */
WORD void tiles_two(char *y, size_t y_stride, const char *a, size_t a_stride, const char *b, size_t pairs, bool accumulate)
{
    memory_is_read();
    if (accumulate) {
        _tile_loadd(0, y, y_stride);
        _tile_loadd(1, y + 64, y_stride);
        _tile_loadd(2, y + 16 * y_stride, y_stride);
        _tile_loadd(3, y + 16 * y_stride + 64, y_stride);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (const char *end = a + pairs * 4; a < end; a += 64, b += 16 * 128) {
        _tile_loadd(4, a, a_stride);
        _tile_loadd(6, b, 128);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + 64, 128);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + 16 * a_stride, a_stride);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, y, y_stride);
    _tile_stored(1, y + 64, y_stride);
    _tile_stored(2, y + 16 * y_stride, y_stride);
    _tile_stored(3, y + 16 * y_stride + 64, y_stride);
}

/* At most 16 rows. */
WORD void tiles_one(char *y, size_t y_stride, const char *a, size_t a_stride, const char *b, size_t pairs, bool accumulate)
{
    memory_is_read();
    if (accumulate) {
        _tile_loadd(0, y, y_stride);
        _tile_loadd(1, y + 64, y_stride);
    } else {
        _tile_zero(0);
        _tile_zero(1);
    }
    for (const char *end = a + pairs * 4; a < end; a += 64, b += 16 * 128) {
        _tile_loadd(4, a, a_stride);
        _tile_loadd(6, b, 128);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + 64, 128);
        _tile_dpbf16ps(1, 4, 7);
    }
    _tile_stored(0, y, y_stride);
    _tile_stored(1, y + 64, y_stride);
}

static void tiles_any(float *y, size_t y_stride, const uint32_t *a, size_t a_stride, const uint32_t *panel, size_t rows, size_t pairs, bool accumulate)
{
    (rows > 16 ? tiles_two : tiles_one)((char *)y, y_stride * 4, (const char *)a, a_stride * 4, (const char *)panel, pairs, accumulate);
}

/* Columns that do not fill a block go through a copy. */
static void tiles_narrow(float *y, size_t y_stride, const uint32_t *a, size_t a_stride, const uint32_t *panel, size_t rows, size_t columns, size_t pairs,
                         bool accumulate)
{
    float room[32 * 32];
    for (size_t r = 0; accumulate && r < rows; r++)
        for (size_t c = 0; c < 32; c += 16) v_store(room + 32 * r + c, v_load(y + (columns > c ? r * y_stride + c : 0), columns > c ? least(columns - c, 16) : 0), 16);
    tiles_any(room, 32, a, a_stride, panel, rows, pairs, accumulate);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c += 16) v_store(y + r * y_stride + c, v_load(room + 32 * r + c, 16), least(columns - c, 16));
}

/* y[rows, columns] (+)= A B for at most ENGINE_ROWS rows; strides in numbers and words. */
static void multiply(float *y, size_t y_stride, const uint32_t *a, size_t a_stride, const uint32_t *panels, size_t rows, size_t columns, size_t pairs,
                     bool accumulate)
{
    tiles_for(rows);
    size_t first = 0;
    for (; first + SV_PANEL_BF16 <= columns; first += SV_PANEL_BF16) tiles_any(y + first, y_stride, a, a_stride, panels + first * pairs, rows, pairs, accumulate);
    if (first < columns) tiles_narrow(y + first, y_stride, a, a_stride, panels + first * pairs, rows, columns - first, pairs, accumulate);
}

/* A strip of A across, for rows first .. first + rows - 1 of the result and pairs from row `begin` on: turned, so that it lies along:
 * [rows][STRIP_PAIRS]. */
enum { STRIP_PAIRS = 256, STRIP_WORDS = STRIP_PAIRS * 32 };
static void strip_make(uint32_t *strip, const across *a, size_t begin, size_t pairs, size_t first, size_t rows)
{
    _Alignas(64) float turned[16 * 16];
    for (size_t p = 0; p < pairs; p += 16)
        for (size_t r = 0; r < rows; r += 16) {
            const size_t n = least(rows - r, 16);
            for (size_t l = 0; l < 16; l++) w_store(turned + 16 * l, across_pair(a, begin + 2 * (p + l), first + r, n));
            v_transpose((float *)(void *)(strip + r * STRIP_PAIRS + p), STRIP_PAIRS, turned, 16, 16, n);
        }
}
static void strip_multiply(float *y, size_t y_stride, const uint32_t *strip, const uint32_t *panel, size_t rows, size_t columns, size_t pairs,
                           bool accumulate)
{
    multiply(y, y_stride, strip, STRIP_PAIRS, panel, rows, columns, pairs, accumulate);
}

/* Products of tiles that stay in registers, for about `seconds`. */
static double peak_bf16_gflops(double seconds)
{
    enum { STEPS = 20000 };
    double done = 0;
    engine_begin();
    tiles_for(32);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    const double begin = sv_now_seconds();
    double now = begin;
    for (; now - begin < seconds || done == 0; now = sv_now_seconds()) {
        for (int s = 0; s < STEPS / 16; s++) {
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        done += 4.0 * 16 * 16 * 32 * 2 * (STEPS / 16);
    }
    engine_end();
    return now > begin ? done / (now - begin) * 1e-9 : 0;
}

#endif
