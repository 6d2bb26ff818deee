/* One driver for all kernels and all their forms. A case draws shapes and numbers, calls a slot of the table it is given, and
 * names its outputs; the driver runs it with the C forms and with each ISA and compares every byte, guards included, then
 * once more with the rows shared out in random pieces. Forms promise the same bits as C, so there is no tolerance: NaN equals
 * NaN, +0 equals -0. Inputs end at a page that cannot be read, and the gaps between rows hold NaN.
 * SIEVE_CASES: cases a slot and form (default 200). SIEVE_SEED: where to begin. SIEVE_UNFENCED=1: pages behind inputs can be
 * read, for emulators whose masked loads touch what is masked off (qemu 7.2). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "kernels/table.h"

enum { FENCES = 16, FENCE_BYTES = 1 << 22, ARENA_BYTES = 1 << 21, OUTPUTS = 6, MOST_PIECES = 5 };
typedef enum number_kind { REALS, FLOATS, HALVES, BYTES, COUNTS } number_kind;
typedef struct output {
    const char *name;
    void *at;
    size_t count;
    number_kind kind;
} output;

typedef struct run {
    const sv_kernel_table *forms;
    sv_random random, cuts;
    unsigned flavour; /* of the numbers */
    bool split;
    size_t fences_used, used, output_count;
    unsigned char *arena;
    output outputs[OUTPUTS];
} run;

static unsigned char *fences[FENCES]; /* each ends where reading faults */

static unsigned char *mapped(size_t bytes, bool fence)
{
    unsigned char *at = mmap(NULL, bytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(at != MAP_FAILED);
    if (fence && !getenv("SIEVE_UNFENCED")) assert_int_equal(mprotect(at + bytes, 4096, PROT_NONE), 0);
    return at;
}

/* ---- what cases are made of -------------------------------------------------------------------------------------- */

static size_t size_up_to(run *r, size_t most)
{
    static const size_t edges[] = { 0, 1, 2, 5, 6, 7, 8, 9, 10, 15, 16, 17, 18, 31, 32, 33, 47, 48, 49, 63, 64, 65, 96, 97 };
    size_t size =
        sv_random_below(&r->random, 3) ? edges[sv_random_below(&r->random, SV_COUNT(edges))] : sv_random_below(&r->random, most + 1);
    return size > most ? most : size;
}

static size_t stride_for(run *r, size_t width) { return width + (sv_random_below(&r->random, 2) ? 0 : sv_random_below(&r->random, 20)); }
static bool coin(run *r) { return sv_random_below(&r->random, 2) == 1; }

static double number(run *r)
{
    static const double odd[] = { 0, -0.0, INFINITY, -INFINITY, NAN, 1e-40, -1e-40, 3e38, -3e38, 1e-20, 88.5, -90 };
    const double x = sv_random_normal(&r->random);
    switch (r->flavour) {
    case 0:
        return x;
    case 1:
        return x * 30;
    case 2:
        return sv_random_below(&r->random, 40) ? x : odd[sv_random_below(&r->random, SV_COUNT(odd))];
    default:
        return sv_random_below(&r->random, 2) ? 0 : x;
    }
}

/* Numbers that end at a fence: rows of `width`, NaN between them. */
static void *input_bytes(run *r, size_t bytes)
{
    assert_true(r->fences_used < FENCES && bytes <= FENCE_BYTES);
    return fences[r->fences_used++] + FENCE_BYTES - bytes;
}
static sv_real *input(run *r, size_t rows, size_t width, size_t stride)
{
    const size_t count = rows ? (rows - 1) * stride + width : 0;
    sv_real *at = input_bytes(r, count * sizeof *at);
    for (size_t i = 0; i < count; i++) at[i] = i % (stride ? stride : 1) < width ? (sv_real)number(r) : (sv_real)NAN;
    return at;
}

/* Rows of bf16 from numbers as above. */
static uint16_t *input_halves(run *r, size_t rows, size_t width, size_t stride)
{
    const size_t count = rows ? (rows - 1) * stride + width : 0;
    uint16_t *at = input_bytes(r, count * sizeof *at);
    for (size_t i = 0; i < count; i++) {
        const float narrow = i % (stride ? stride : 1) < width ? (float)number(r) : NAN;
        sv_to_bf16_c(at + i, &narrow, 1);
    }
    return at;
}

/* Room that is compared whole, begun with finite numbers, guarded by 32 of them on both sides. */
static void *output_of(run *r, const char *name, size_t count, number_kind kind)
{
    const size_t unit = kind == REALS ? sizeof(sv_real) : kind == FLOATS ? 4 : kind == HALVES ? 2 : kind == BYTES ? 1 : 8;
    unsigned char *at = r->arena + r->used;
    assert_true(r->output_count < OUTPUTS && r->used + (count + 64) * unit + 64 <= ARENA_BYTES);
    for (size_t i = 0; i < count + 64; i++) {
        const double x = sv_random_uniform(&r->random);
        const float narrow = (float)x;
        const sv_real real = (sv_real)x;
        const uint64_t whole = (uint64_t)(x * 60000);
        memcpy(at + i * unit, kind == REALS ? (const void *)&real : kind == FLOATS ? (const void *)&narrow : (const void *)&whole, unit);
    }
    r->outputs[r->output_count++] = (output){ name, at, count + 64, kind };
    r->used += ((count + 64) * unit + 63) / 64 * 64;
    return at + 32 * unit;
}
static sv_real *output_rows(run *r, const char *name, size_t rows, size_t width, size_t stride)
{
    return output_of(r, name, rows ? (rows - 1) * stride + width : 0, REALS);
}

/* Where the rows are cut: 0 = first <= ... <= last = count; one piece unless the run is split. */
static size_t cut(run *r, size_t count, size_t at[MOST_PIECES + 1])
{
    const size_t pieces = r->split ? 1 + sv_random_below(&r->cuts, MOST_PIECES) : 1;
    at[0] = 0;
    for (size_t p = 1; p < pieces; p++) at[p] = at[p - 1] + sv_random_below(&r->cuts, count - at[p - 1] + 1);
    at[pieces] = count;
    return pieces;
}

/* ---- the cases, one a slot --------------------------------------------------------------------------------------- */

static void case_pack_forward(run *r)
{
    const size_t n = size_up_to(r, 120), k = size_up_to(r, 120);
    const sv_real *w = input(r, n, k, k);
    r->forms->pack_forward(output_of(r, "panels", sv_pack_forward_bytes(n, k) / sizeof(sv_real), REALS), w, n, k);
}

static void case_pack_backward(run *r)
{
    const size_t n = size_up_to(r, 120), k = size_up_to(r, 120);
    const sv_real *w = input(r, n, k, k);
    r->forms->pack_backward(output_of(r, "panels", sv_pack_backward_bytes(n, k) / sizeof(sv_real), REALS), w, n, k);
}

/* Kernels with operands in parts: the forms of one part and of three are drawn alike. */
static const sv_parts_forms *forms_of(const run *r, sv_parts parts) { return parts == SV_ONE_PART ? &r->forms->one : &r->forms->three; }
static const sv_parts_forms *c_forms_of(sv_parts parts) { return parts == SV_ONE_PART ? &sv_one_part_c : &sv_three_parts_tile_c; }

static void pack_parts_case(run *r, sv_parts parts, bool backward)
{
    const size_t n = size_up_to(r, 120), k = size_up_to(r, 120);
    const sv_real *w = input(r, n, k, k);
    const size_t bytes = (backward ? sv_pack_backward_parts_bytes : sv_pack_forward_parts_bytes)(n, k, SV_ONE_PART) * (size_t)parts;
    (backward ? forms_of(r, parts)->pack_backward : forms_of(r, parts)->pack_forward)(output_of(r, "panels", bytes / 2, HALVES), w, n, k);
}

static void product_case(run *r, sv_parts parts)
{
    sv_product p = { .m = size_up_to(r, 60), .n = size_up_to(r, 110), .k = size_up_to(r, 80) };
    if (parts && sv_random_below(&r->random, 16) == 0) { /* deeper than a strip */
        p.k += 10240 / (size_t)parts;
        p.n = p.n < 8 ? p.n : 8;
        p.m = p.m < 8 ? p.m : 8;
    }
    const sv_real *w = input(r, p.n, p.k, p.k);
    void *panels =
        input_bytes(r, parts ? sv_pack_forward_parts_bytes(p.n, p.k, SV_ONE_PART) * (size_t)parts : sv_pack_forward_bytes(p.n, p.k));
    if (parts)
        c_forms_of(parts)->pack_forward(panels, w, p.n, p.k);
    else
        sv_pack_forward_c(panels, w, p.n, p.k);
    p.panels = panels;
    p.parts = parts;
    const bool x_half = parts == SV_ONE_PART && coin(r), y_half = parts == SV_ONE_PART && coin(r);
    p.x_stride = stride_for(r, p.k);
    if (x_half)
        p.x_half = input_halves(r, p.m, p.k, p.x_stride);
    else
        p.x = input(r, p.m, p.k, p.x_stride);
    p.bias = coin(r) ? input(r, 1, p.n, p.n) : NULL;
    p.y_stride = stride_for(r, p.n);
    if (y_half)
        p.y_half = output_of(r, "y_half", p.m ? (p.m - 1) * p.y_stride + p.n : 0, HALVES);
    else
        p.y = output_rows(r, "y", p.m, p.n, p.y_stride);
    p.epilogue = (sv_epilogue)sv_random_below(&r->random, 3);
    const bool own = coin(r) && !y_half, keep = coin(r);
    p.addend_stride = own ? p.y_stride : stride_for(r, p.n);
    p.addend = own ? p.y : input(r, p.m, p.n, p.addend_stride);
    p.gain = coin(r) ? input(r, 1, p.n, p.n) : NULL;
    p.before_stride = stride_for(r, p.n);
    p.before = keep ? output_rows(r, "before", p.m, p.n, p.before_stride) : NULL;
    size_t at[MOST_PIECES + 1], pieces = cut(r, p.m, at);
    for (size_t i = 0; i < pieces; i++) {
        sv_product part = p;
        part.m = at[i + 1] - at[i];
        if (x_half)
            part.x_half += at[i] * p.x_stride;
        else
            part.x += at[i] * p.x_stride;
        if (y_half)
            part.y_half += at[i] * p.y_stride;
        else
            part.y += at[i] * p.y_stride;
        part.addend += at[i] * p.addend_stride;
        if (part.before) part.before += at[i] * p.before_stride;
        (parts ? forms_of(r, parts)->product_rows : r->forms->product_rows)(&part);
    }
}
static void case_product_rows(run *r) { product_case(r, SV_WHOLE); }

/* A sum goes on from c only at whole pairs and tiles: rows are not cut. */
static void outer_parts_case(run *r, sv_parts parts)
{
    const size_t m = size_up_to(r, 150) + (sv_random_below(&r->random, 16) ? 0 : 512), n = size_up_to(r, 60), k = size_up_to(r, 110);
    const size_t a_stride = stride_for(r, n), b_stride = stride_for(r, k), c_stride = stride_for(r, k);
    const bool half = parts == SV_ONE_PART && coin(r);
    const sv_real *a = input(r, m, n, a_stride), *b = half ? NULL : input(r, m, k, b_stride);
    const uint16_t *b_half = half ? input_halves(r, m, k, b_stride) : NULL;
    sv_real *c = output_rows(r, "c", n, k, c_stride);
    const bool accumulate = coin(r);
    forms_of(r, parts)->product_outer(c, c_stride, a, a_stride, b, b_half, b_stride, m, n, k, accumulate,
                                      input_bytes(r, sv_product_outer_parts_scratch(m, k, parts)));
}

static void case_product_outer(run *r)
{
    const size_t m = size_up_to(r, 150), n = size_up_to(r, 60), k = size_up_to(r, 110);
    const size_t a_stride = stride_for(r, n), b_stride = stride_for(r, k), c_stride = stride_for(r, k);
    const sv_real *a = input(r, m, n, a_stride), *b = input(r, m, k, b_stride);
    sv_real *c = output_rows(r, "c", n, k, c_stride);
    const bool accumulate = coin(r);
    size_t at[MOST_PIECES + 1], pieces = cut(r, m, at);
    for (size_t i = 0; i < pieces; i++)
        r->forms->product_outer(c, c_stride, a + at[i] * a_stride, a_stride, b + at[i] * b_stride, b_stride, at[i + 1] - at[i], n, k,
                                accumulate || i > 0);
}

static void case_product_plain(run *r)
{
    const size_t m = size_up_to(r, 60), n = size_up_to(r, 110), k = size_up_to(r, 150);
    const bool turn_a = coin(r), turn_b = coin(r), accumulate = coin(r);
    const size_t a_stride = stride_for(r, turn_a ? m : k), b_stride = stride_for(r, turn_b ? k : n), c_stride = stride_for(r, n);
    const sv_real *a = turn_a ? input(r, k, m, a_stride) : input(r, m, k, a_stride);
    const sv_real *b = turn_b ? input(r, n, k, b_stride) : input(r, k, n, b_stride);
    sv_real *c = output_rows(r, "c", m, n, c_stride);
    size_t at[MOST_PIECES + 1], pieces = cut(r, m, at);
    for (size_t i = 0; i < pieces; i++)
        r->forms->product_plain(c + at[i] * c_stride, c_stride, a + at[i] * (turn_a ? 1 : a_stride), a_stride, turn_a, b, b_stride, turn_b,
                                at[i + 1] - at[i], n, k, accumulate);
}

static void case_column_sums(run *r)
{
    const size_t m = size_up_to(r, 60), n = size_up_to(r, 200), stride = stride_for(r, n);
    const sv_real *a = input(r, m, n, stride);
    sv_real *sum = output_rows(r, "sum", 1, n, n);
    const bool accumulate = coin(r);
    size_t at[MOST_PIECES + 1], pieces = cut(r, m, at);
    for (size_t i = 0; i < pieces; i++) r->forms->column_sums(sum, a + at[i] * stride, stride, at[i + 1] - at[i], n, accumulate || i > 0);
}

/* An image whose scratch ends at a fence; out, log_sum and top are given by the C form where `with_results`. */
static sv_attention image_of(run *r, bool with_results, sv_parts parts)
{
    static const size_t widths[] = { 1, 4, 8, 15, 16, 17, 32, 48, 64, 64, 64, 80 };
    sv_attention a = { .parts = parts, .rows = 1 + size_up_to(r, 69), .heads = 1 + sv_random_below(&r->random, 3) };
    a.width = widths[sv_random_below(&r->random, SV_COUNT(widths))];
    a.live = coin(r) ? a.rows : sv_random_below(&r->random, a.rows + 1);
    const size_t all = a.heads * a.width;
    a.qkv_stride = stride_for(r, 3 * all);
    a.qkv = input(r, a.rows, 3 * all, a.qkv_stride);
    const size_t forward = sv_attention_forward_scratch(a.rows, a.width), backward = sv_attention_backward_scratch(a.rows, a.width);
    sv_real *sizes = a.live && coin(r) ? input(r, 1, a.live, a.live) : NULL;
    for (size_t j = 0; sizes && j < a.live; j++) sizes[j] = (sizes[j] < 0 ? -sizes[j] : sizes[j]) + (sv_real)0.5;
    a.sizes = sizes;
    a.scratch = input_bytes(r, with_results ? (forward > backward ? forward : backward) : forward);
    if (a.live == a.rows && coin(r)) {
        a.bias_stride = stride_for(r, a.rows);
        a.bias = input(r, a.heads * a.rows, a.rows, a.bias_stride);
        a.mask = coin(r) ? input(r, a.rows, a.rows, a.bias_stride) : NULL;
    }
    a.out_stride = stride_for(r, all);
    if (!with_results) return a;
    a.out = input(r, a.rows, all, a.out_stride);
    a.log_sum = input(r, a.heads, a.rows, a.rows);
    a.top = input(r, a.heads, a.rows, a.rows);
    sv_attention_forward_c(&a, 0, a.rows);
    return a;
}

static void attention_forward_case(run *r, sv_parts parts)
{
    sv_attention a = image_of(r, false, parts);
    const size_t all = a.heads * a.width;
    if (parts == SV_ONE_PART && coin(r))
        a.out_half = output_of(r, "out_half", (a.rows - 1) * a.out_stride + all, HALVES);
    else
        a.out = output_rows(r, "out", a.rows, all, a.out_stride);
    if (coin(r)) {
        a.log_sum = output_rows(r, "log_sum", a.heads, a.rows, a.rows);
        a.top = output_rows(r, "top", a.heads, a.rows, a.rows);
    }
    size_t at[MOST_PIECES + 1], pieces = cut(r, a.rows, at);
    for (size_t i = 0; i < pieces; i++) (parts ? forms_of(r, parts)->attention_forward : r->forms->attention_forward)(&a, at[i], at[i + 1]);
}
static void case_attention_forward(run *r) { attention_forward_case(r, SV_WHOLE); }

static void attention_backward_case(run *r, sv_parts parts)
{
    sv_attention a = image_of(r, true, parts);
    if (a.bias && coin(r)) a.d_bias = output_rows(r, "d_bias", a.heads * a.rows, a.rows, a.bias_stride);
    const size_t all = a.heads * a.width, d_out_stride = stride_for(r, all), d_stride = stride_for(r, 3 * all);
    const sv_real *d_out = input(r, a.live, all, d_out_stride);
    sv_real *d_qkv = output_rows(r, "d_qkv", a.rows, 3 * all, d_stride);
    sv_real *policy = coin(r) ? output_rows(r, "policy", 1, a.rows, a.rows) : NULL;
    uint64_t *clamped = output_of(r, "clamped", 1, COUNTS);
    const sv_real clamp = coin(r) ? 80 : (sv_real)0.25;
    (parts ? forms_of(r, parts)->attention_backward : r->forms->attention_backward)(&a, d_out, d_out_stride, d_qkv, d_stride, policy, clamp,
                                                                                    coin(r) ? clamped : NULL);
}
static void case_attention_backward(run *r) { attention_backward_case(r, SV_WHOLE); }

#define PARTS_CASES(name, parts)                                                                                                           \
    static void case_##name##_pack_forward(run *r) { pack_parts_case(r, parts, false); }                                                   \
    static void case_##name##_pack_backward(run *r) { pack_parts_case(r, parts, true); }                                                   \
    static void case_##name##_product_rows(run *r) { product_case(r, parts); }                                                             \
    static void case_##name##_product_outer(run *r) { outer_parts_case(r, parts); }                                                        \
    static void case_##name##_attention_forward(run *r) { attention_forward_case(r, parts); }                                              \
    static void case_##name##_attention_backward(run *r) { attention_backward_case(r, parts); }
PARTS_CASES(one, SV_ONE_PART)
PARTS_CASES(three, SV_THREE_PARTS)
#define PARTS_ROWS(name)                                                                                                                   \
    { #name ".pack_forward", case_##name##_pack_forward }, { #name ".pack_backward", case_##name##_pack_backward },                        \
        { #name ".product_rows", case_##name##_product_rows }, { #name ".product_outer", case_##name##_product_outer },                    \
        { #name ".attention_forward", case_##name##_attention_forward },                                                                   \
        { #name ".attention_backward", case_##name##_attention_backward },

static void case_layer_norm(run *r)
{
    const size_t rows = size_up_to(r, 40), width = 1 + size_up_to(r, 220), x_stride = stride_for(r, width), y_stride = stride_for(r, width);
    const sv_real *x = input(r, rows, width, x_stride), *gain = input(r, 1, width, width), *bias = input(r, 1, width, width);
    sv_real *y = output_rows(r, "y", rows, width, y_stride), *stats = coin(r) ? output_rows(r, "stats", 1, 2 * rows, 2 * rows) : NULL;
    size_t at[MOST_PIECES + 1], pieces = cut(r, rows, at);
    for (size_t i = 0; i < pieces; i++)
        r->forms->layer_norm(y + at[i] * y_stride, y_stride, stats ? stats + 2 * at[i] : NULL, x + at[i] * x_stride, x_stride, gain, bias,
                             at[i + 1] - at[i], width, 1e-6);
}

static void case_layer_norm_backward(run *r)
{
    const size_t rows = size_up_to(r, 40), width = 1 + size_up_to(r, 220);
    const size_t x_stride = stride_for(r, width), dy_stride = stride_for(r, width), dx_stride = stride_for(r, width);
    const sv_real *x = input(r, rows, width, x_stride), *dy = input(r, rows, width, dy_stride), *gain = input(r, 1, width, width);
    const sv_real *stats = input(r, 1, 2 * rows, 2 * rows);
    sv_real *dx = output_rows(r, "dx", rows, width, dx_stride);
    sv_real *d_gain = coin(r) ? output_rows(r, "d_gain", 1, width, width) : NULL;
    sv_real *d_bias = d_gain ? output_rows(r, "d_bias", 1, width, width) : NULL;
    const bool add_x = coin(r), add_parameters = coin(r);
    size_t at[MOST_PIECES + 1], pieces = cut(r, rows, at);
    for (size_t i = 0; i < pieces; i++)
        r->forms->layer_norm_backward(dx + at[i] * dx_stride, dx_stride, d_gain, d_bias, dy + at[i] * dy_stride, dy_stride,
                                      x + at[i] * x_stride, x_stride, stats + 2 * at[i], gain, at[i + 1] - at[i], width, add_x,
                                      add_parameters || i > 0);
}

static void case_gelu(run *r)
{
    const size_t count = size_up_to(r, 1000);
    const sv_real *x = input(r, 1, count, count);
    sv_real *y = output_rows(r, "y", 1, count, count);
    size_t at[MOST_PIECES + 1], pieces = cut(r, count, at);
    for (size_t i = 0; i < pieces; i++) r->forms->gelu(y + at[i], x + at[i], at[i + 1] - at[i]);
}

static void case_sigmoids(run *r)
{
    const size_t count = size_up_to(r, 1000);
    const sv_real *x = input(r, 1, count, count);
    sv_real *y = output_rows(r, "y", 1, count, count);
    size_t at[MOST_PIECES + 1], pieces = cut(r, count, at);
    for (size_t i = 0; i < pieces; i++) r->forms->sigmoids(y + at[i], x + at[i], at[i + 1] - at[i]);
}

static void case_weighted_rows(run *r)
{
    const size_t rows = size_up_to(r, 60), width = size_up_to(r, 200), stride = stride_for(r, width);
    const sv_real *x = input(r, rows, width, stride), *weight = coin(r) ? input(r, 1, rows, rows) : NULL;
    r->forms->weighted_rows(output_rows(r, "y", 1, width, width), x, stride, weight, rows, width);
}

static void case_gelu_backward(run *r)
{
    const size_t count = size_up_to(r, 1000);
    const sv_real *x = input(r, 1, count, count), *dy = input(r, 1, count, count);
    sv_real *dx = output_rows(r, "dx", 1, count, count);
    const bool accumulate = coin(r), in_place = !accumulate && coin(r);
    if (in_place) memcpy(dx, dy, count * sizeof *dx);
    size_t at[MOST_PIECES + 1], pieces = cut(r, count, at);
    for (size_t i = 0; i < pieces; i++)
        r->forms->gelu_backward(dx + at[i], (in_place ? dx : dy) + at[i], x + at[i], at[i + 1] - at[i], accumulate);
}

static void case_softmax(run *r)
{
    const size_t rows = size_up_to(r, 40), width = 1 + size_up_to(r, 220), x_stride = stride_for(r, width), y_stride = stride_for(r, width);
    sv_real *x = input(r, rows, width, x_stride), *y = output_rows(r, "y", rows, width, y_stride);
    for (size_t row = 0; row < rows; row++) /* rows of -inf alone, and such rows with a NaN */
        if (sv_random_below(&r->random, 5) == 0) {
            for (size_t i = 0; i < width; i++) x[row * x_stride + i] = (sv_real)-INFINITY;
            if (coin(r)) x[row * x_stride + sv_random_below(&r->random, width)] = (sv_real)NAN;
        }
    const bool log_form = coin(r);
    size_t at[MOST_PIECES + 1], pieces = cut(r, rows, at);
    for (size_t i = 0; i < pieces; i++)
        r->forms->softmax(y + at[i] * y_stride, y_stride, x + at[i] * x_stride, x_stride, at[i + 1] - at[i], width, log_form);
}

static void case_scale(run *r)
{
    const size_t count = size_up_to(r, 1000);
    const sv_real *x = input(r, 1, count, count), a = (sv_real)number(r);
    sv_real *y = output_rows(r, "y", 1, count, count);
    const bool accumulate = coin(r);
    size_t at[MOST_PIECES + 1], pieces = cut(r, count, at);
    for (size_t i = 0; i < pieces; i++) r->forms->scale(y + at[i], x + at[i], a, at[i + 1] - at[i], accumulate);
}

static void case_dot(run *r)
{
    const size_t count = size_up_to(r, 1000);
    const sv_real *x = input(r, 1, count, count), *y = input(r, 1, count, count);
    *(sv_real *)output_of(r, "dot", 1, REALS) = r->forms->dot(x, y, count);
}

static void case_adamw_step(run *r)
{
    const size_t count = size_up_to(r, 1000);
    const sv_real *g = input(r, 1, count, count);
    sv_real *p = output_rows(r, "p", 1, count, count), *m = output_rows(r, "m", 1, count, count), *v = output_rows(r, "v", 1, count, count);
    const sv_adamw step = { .lr = 1e-3,
                            .decay = coin(r) ? 0.05 : 0,
                            .beta1 = 0.9,
                            .beta2 = 0.999,
                            .eps = 1e-8,
                            .t = 1 + sv_random_below(&r->random, 100000),
                            .gradient_scale = 0.5 };
    size_t at[MOST_PIECES + 1], pieces = cut(r, count, at);
    for (size_t i = 0; i < pieces; i++) r->forms->adamw_step(p + at[i], m + at[i], v + at[i], g + at[i], at[i + 1] - at[i], &step);
}

static void case_sgd_step(run *r)
{
    const size_t count = size_up_to(r, 1000);
    const sv_real *g = input(r, 1, count, count);
    sv_real *p = output_rows(r, "p", 1, count, count), *m = output_rows(r, "m", 1, count, count);
    const sv_sgd step = { .lr = 1e-2, .decay = coin(r) ? 1e-4 : 0, .momentum = coin(r) ? 0.9 : 0, .gradient_scale = 0.5, .nesterov = coin(r) };
    size_t at[MOST_PIECES + 1], pieces = cut(r, count, at);
    for (size_t i = 0; i < pieces; i++) r->forms->sgd_step(p + at[i], m + at[i], g + at[i], at[i + 1] - at[i], &step);
}

/* Pictures and windows of all sorts; a window may be larger than the picture, or begin inside of it. */
static sv_depthwise depthwise_of(run *r)
{
    static const size_t sides[] = { 1, 2, 3, 3, 3, 5, 7, 7, 7 };
    sv_depthwise d = { .height = 1 + sv_random_below(&r->random, 17), .width = 1 + sv_random_below(&r->random, 24) };
    d.side = sides[sv_random_below(&r->random, SV_COUNT(sides))];
    d.stride = coin(r) ? 1 : 1 + sv_random_below(&r->random, 3);
    d.padding = (ptrdiff_t)sv_random_below(&r->random, d.side + 1) - 1;
    d.down = 1 + sv_random_below(&r->random, d.height + 2);
    d.across = 1 + sv_random_below(&r->random, d.width + 2);
    d.channels = size_up_to(r, 50);
    d.x = input(r, d.height * d.width, d.channels, d.channels);
    return d;
}

static void case_depthwise_forward(run *r)
{
    sv_depthwise d = depthwise_of(r);
    d.weight = input(r, d.side * d.side, d.channels, d.channels);
    d.bias = coin(r) ? input(r, 1, d.channels, d.channels) : NULL;
    d.accumulate = coin(r);
    d.y = output_rows(r, "y", d.down * d.across, d.channels, d.channels);
    size_t at[MOST_PIECES + 1], pieces = cut(r, d.down * d.across, at);
    for (size_t i = 0; i < pieces; i++) r->forms->depthwise_forward(&d, at[i], at[i + 1]);
}

static void case_depthwise_weights(run *r)
{
    const sv_depthwise d = depthwise_of(r);
    const sv_real *dy = input(r, d.down * d.across, d.channels, d.channels);
    sv_real *d_weight = output_rows(r, "d_weight", d.side * d.side, d.channels, d.channels);
    r->forms->depthwise_weights(d_weight, &d, dy, coin(r));
}

static void case_turn_rows(run *r)
{
    const size_t count = size_up_to(r, 60), columns = size_up_to(r, 60), stride = stride_for(r, columns), out_stride = stride_for(r, count);
    const sv_real *in = input(r, count, columns, stride), *rows[97];
    for (size_t i = 0; i < count; i++) rows[i] = sv_random_below(&r->random, 5) ? in + i * stride : NULL;
    r->forms->turn_rows(output_rows(r, "out", columns, count, out_stride), out_stride, rows, count, columns);
}

static void case_affine_rows(run *r)
{
    const size_t rows = size_up_to(r, 40), width = 1 + size_up_to(r, 120), place = sv_random_below(&r->random, 3);
    const sv_real *x = input(r, rows, width, width);
    sv_real *y = output_rows(r, "y", rows, width, width);
    sv_affine affine = { .factor = input(r, 1, width, width), .shift = coin(r) ? input(r, 1, width, width) : NULL };
    const sv_real *addend = place == 0 ? NULL : place == 1 ? y : input(r, rows, width, width);
    size_t at[MOST_PIECES + 1], pieces = cut(r, rows, at);
    for (size_t i = 0; i < pieces; i++) {
        affine.addend = addend ? addend + at[i] * width : NULL;
        r->forms->affine_rows(y + at[i] * width, x + at[i] * width, &affine, at[i + 1] - at[i], width);
    }
}

static void case_column_dots(run *r)
{
    const size_t rows = size_up_to(r, 60), width = size_up_to(r, 200);
    const sv_real *a = input(r, rows, width, width), *b = input(r, rows, width, width), *shift = coin(r) ? input(r, 1, width, width) : NULL;
    sv_real *sum = output_rows(r, "sum", 1, width, width);
    const bool accumulate = coin(r);
    size_t at[MOST_PIECES + 1], pieces = cut(r, rows, at);
    for (size_t i = 0; i < pieces; i++)
        r->forms->column_dots(sum, a + at[i] * width, b + at[i] * width, shift, at[i + 1] - at[i], width, accumulate || i > 0);
}

static void case_to_bf16(run *r)
{
    const size_t count = size_up_to(r, 1000);
    float *in = input_bytes(r, count * sizeof *in);
    for (size_t i = 0; i < count; i++) {
        const uint32_t bits = sv_random_word(&r->random);
        in[i] = (float)number(r);
        if (r->flavour == 3) memcpy(in + i, &bits, sizeof bits);
    }
    uint16_t *out = output_of(r, "out", count, HALVES);
    size_t at[MOST_PIECES + 1], pieces = cut(r, count, at);
    for (size_t i = 0; i < pieces; i++) r->forms->to_bf16(out + at[i], in + at[i], at[i + 1] - at[i]);
}

static void case_from_bf16(run *r)
{
    const size_t count = size_up_to(r, 1000);
    uint16_t *in = input_bytes(r, count * sizeof *in);
    for (size_t i = 0; i < count; i++) in[i] = (uint16_t)sv_random_word(&r->random);
    float *out = output_of(r, "out", count, FLOATS);
    size_t at[MOST_PIECES + 1], pieces = cut(r, count, at);
    for (size_t i = 0; i < pieces; i++) r->forms->from_bf16(out + at[i], in + at[i], at[i + 1] - at[i]);
}

/* ---- rows of pixels ---- */

static uint8_t *input_pixels(run *r, size_t bytes)
{
    uint8_t *at = input_bytes(r, bytes);
    const bool flat = sv_random_below(&r->random, 4) == 0; /* few values: ties and ends of the range */
    for (size_t i = 0; i < bytes; i++) at[i] = (uint8_t)(flat ? 255 * sv_random_below(&r->random, 2) : sv_random_below(&r->random, 256));
    return at;
}
/* Room of bytes, begun with what stands in `from` where that is not NULL. */
static uint8_t *output_pixels(run *r, const char *name, size_t bytes, const uint8_t *from)
{
    uint8_t *at = output_of(r, name, bytes, BYTES);
    if (from) memcpy(at, from, bytes);
    return at;
}

static void case_resize_across(run *r)
{
    sv_resize_taps axis = { .width = 1 + size_up_to(r, 90), .count = size_up_to(r, 40), .fours = 1 + sv_random_below(&r->random, 4) };
    size_t *lows = input_bytes(r, axis.count * sizeof *lows);
    int16_t *halves = input_bytes(r, axis.count * axis.fours * 8 * sizeof *halves);
    for (size_t x = 0; x < axis.count; x++) {
        lows[x] = sv_random_below(&r->random, axis.width);
        for (size_t k = 0; k < axis.fours * 8; k++)
            halves[x * axis.fours * 8 + k] = (int16_t)(k % 8 < 4 ? (int)sv_random_below(&r->random, 256) - 64 : (int)sv_random_below(&r->random, SV_TAP_UNIT));
    }
    axis.lows = lows;
    axis.halves = halves;
    const uint8_t *in = input_pixels(r, axis.width * 3);
    r->forms->resize_across(output_pixels(r, "out", axis.count * 3, NULL), in, &axis);
}

static void case_resize_down(run *r)
{
    const size_t count = size_up_to(r, 300), taps = 1 + sv_random_below(&r->random, 12), stride = stride_for(r, count);
    int32_t *weights = input_bytes(r, taps * sizeof *weights);
    for (size_t k = 0; k < taps; k++) weights[k] = (int32_t)sv_random_below(&r->random, 1 << 20) - (1 << 18);
    const uint8_t *in = input_pixels(r, (taps - 1) * stride + count);
    uint8_t *out = output_pixels(r, "out", count, NULL);
    size_t at[MOST_PIECES + 1], pieces = cut(r, count, at);
    for (size_t i = 0; i < pieces; i++) r->forms->resize_down(out + at[i], in + at[i], stride, weights, taps, at[i + 1] - at[i]);
}

static void case_blend_bytes(run *r)
{
    const size_t count = size_up_to(r, 300);
    const uint8_t *far = input_pixels(r, count);
    uint8_t *near = output_pixels(r, "near", count, input_pixels(r, count));
    const float factor = (float)(sv_random_normal(&r->random) + 1);
    size_t at[MOST_PIECES + 1], pieces = cut(r, count, at);
    for (size_t i = 0; i < pieces; i++) r->forms->blend_bytes(near + at[i], far + at[i], factor, at[i + 1] - at[i]);
}

static void case_smooth_bytes(run *r)
{
    const size_t count = 3 * size_up_to(r, 100);
    const uint8_t *above = input_pixels(r, count), *here = input_pixels(r, count), *below = input_pixels(r, count);
    r->forms->smooth_bytes(output_pixels(r, "out", count, NULL), above, here, below, count);
}

static void case_move_row(run *r)
{
    sv_move m = { .width = 1 + size_up_to(r, 60), .height = 1 + size_up_to(r, 20), .linear = coin(r), .fill = { 124, 116, 104 } };
    const double turn = sv_random_normal(&r->random) * 0.3;
    m.rgb = input_pixels(r, m.width * m.height * 3);
    m.a = coin(r) ? 1 : cos(turn);
    m.b = sin(turn);
    m.c = coin(r) ? 0 : sv_random_normal(&r->random) * 5;
    m.d = coin(r) ? 0 : -sin(turn);
    m.e = coin(r) ? 1 : cos(turn);
    m.f = coin(r) ? 0 : sv_random_normal(&r->random) * 5;
    uint8_t *out = output_pixels(r, "out", m.width * 3 * m.height, NULL);
    for (size_t row = 0; row < m.height; row++) r->forms->move_row(out + row * m.width * 3, &m, row);
}

static void case_peak_gflops(run *r) { *(uint64_t *)output_of(r, "positive", 1, COUNTS) = r->forms->peak_gflops(0) > 0; }
static void case_peak_bf16_gflops(run *r) { *(uint64_t *)output_of(r, "positive", 1, COUNTS) = r->forms->peak_bf16_gflops(0) > 0; }

typedef struct slot_case {
    const char *name;
    void (*draw)(run *r);
} slot_case;
static const slot_case cases[] = {
    { "pack_forward", case_pack_forward },
    { "pack_backward", case_pack_backward },
    { "product_rows", case_product_rows },
    { "product_outer", case_product_outer },
    { "product_plain", case_product_plain },
    { "column_sums", case_column_sums },
    { "attention_forward", case_attention_forward },
    { "attention_backward", case_attention_backward },
    PARTS_ROWS(one) PARTS_ROWS(three){ "layer_norm", case_layer_norm },
    { "layer_norm_backward", case_layer_norm_backward },
    { "gelu", case_gelu },
    { "gelu_backward", case_gelu_backward },
    { "softmax", case_softmax },
    { "scale", case_scale },
    { "sigmoids", case_sigmoids },
    { "weighted_rows", case_weighted_rows },
    { "dot", case_dot },
    { "adamw_step", case_adamw_step },
    { "sgd_step", case_sgd_step },
    { "depthwise_forward", case_depthwise_forward },
    { "depthwise_weights", case_depthwise_weights },
    { "turn_rows", case_turn_rows },
    { "affine_rows", case_affine_rows },
    { "column_dots", case_column_dots },
    { "resize_across", case_resize_across },
    { "resize_down", case_resize_down },
    { "blend_bytes", case_blend_bytes },
    { "smooth_bytes", case_smooth_bytes },
    { "move_row", case_move_row },
    { "to_bf16", case_to_bf16 },
    { "from_bf16", case_from_bf16 },
    { "peak_gflops", case_peak_gflops },
    { "peak_bf16_gflops", case_peak_bf16_gflops },
};

/* ---- the driver -------------------------------------------------------------------------------------------------- */

static bool same(double a, double b) { return a == b || (a != a && b != b); }

static double value_at(const output *a, size_t i)
{
    float wide;
    switch (a->kind) {
    case REALS:
        return (double)((const sv_real *)a->at)[i];
    case FLOATS:
        return (double)((const float *)a->at)[i];
    case BYTES:
        return ((const uint8_t *)a->at)[i];
    case HALVES:
        sv_from_bf16_c(&wide, (const uint16_t *)a->at + i, 1);
        return (double)wide;
    case COUNTS:
        return (double)((const uint64_t *)a->at)[i];
    }
    return 0;
}

static bool same_at(const output *a, const output *b, size_t i)
{
    switch (a->kind) {
    case REALS:
        return same((double)((const sv_real *)a->at)[i], (double)((const sv_real *)b->at)[i]);
    case FLOATS:
        return same((double)((const float *)a->at)[i], (double)((const float *)b->at)[i]);
    case BYTES:
        return ((const uint8_t *)a->at)[i] == ((const uint8_t *)b->at)[i];
    case HALVES:
        return same(value_at(a, i), value_at(b, i));
    case COUNTS:
        return ((const uint64_t *)a->at)[i] == ((const uint64_t *)b->at)[i];
    }
    return false;
}

static void draw(run *r, const slot_case *c, const sv_kernel_table *forms, uint64_t seed, bool split)
{
    *r = (run){ .forms = forms,
                .random = sv_random_at(seed, SV_FOR_TEST, 0, 0, 0),
                .cuts = sv_random_at(seed, SV_FOR_TEST, 1, 0, 0),
                .split = split,
                .arena = r->arena };
    r->flavour = (unsigned)sv_random_below(&r->random, 4);
    c->draw(r);
}

static void compare(const run *a, const run *b, const char *slot, const char *isa, uint64_t seed)
{
    assert_int_equal(a->output_count, b->output_count);
    for (size_t o = 0; o < a->output_count; o++)
        for (size_t i = 0; i < a->outputs[o].count; i++)
            if (!same_at(&a->outputs[o], &b->outputs[o], i))
                fail_msg("%s, %s form%s: %s[%td of %zu] is %.9g, the C form says %.9g; again: SIEVE_SEED=%llu SIEVE_CASES=1", slot, isa,
                         b->split ? " in pieces" : "", a->outputs[o].name, (ptrdiff_t)i - 32, a->outputs[o].count - 64,
                         value_at(&b->outputs[o], i), value_at(&a->outputs[o], i), (unsigned long long)seed);
}

static void (*pointer_of(const sv_kernel_table *table, const sv_kernel_slot *slot))(void)
{
    void (*pointer)(void);
    memcpy(&pointer, (const unsigned char *)table + slot->offset, sizeof pointer);
    return pointer;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    int64_t value;
    const char *text = getenv(name);
    return text && sv_parse_int(text, &value) && value >= 0 ? (uint64_t)value : otherwise;
}

static unsigned char *arenas[2];

static void run_slot(const slot_case *c, const sv_kernel_table *forms, const sv_kernel_table *plain, const char *isa)
{
    const uint64_t first = setting("SIEVE_SEED", 1), count = setting("SIEVE_CASES", 200);
    for (uint64_t seed = first; seed < first + count; seed++) {
        run a = { .arena = arenas[0] }, b = { .arena = arenas[1] };
        draw(&a, c, plain, seed, false);
        draw(&b, c, forms, seed, false);
        compare(&a, &b, c->name, isa, seed);
        draw(&b, c, forms, seed, true);
        compare(&a, &b, c->name, isa, seed);
    }
}

static void nothing(void *context, size_t item, size_t thread)
{
    (void)context;
    (void)item;
    (void)thread;
}

/* Runs the forms that this ISA adds to the one below; every slot must have its case. */
static void run_isa(sv_isa isa, sv_isa below)
{
    const sv_kernel_table forms = sv_kernel_table_for(isa), lower = sv_kernel_table_for(below);
    sv_kernel_table plain = sv_kernel_table_for(SV_ISA_C);
    size_t own = 0;
    plain.three = sv_three_parts_tile_c; /* where there are no tiles, three parts are plain f32 and nothing is held against this */
    if (isa == SV_ISA_AMX) plain.one = sv_one_part_tile_c; /* tiles sum in an order of their own */
    sv_for_items(1, nothing, NULL);                        /* as in every region: denormals are zero */
    for (size_t s = 0; s < sv_kernel_slot_count; s++) {
        const slot_case *c = SV_KIND_FIND(cases, sv_kernel_slots[s].name);
        if (!c) fail_msg("slot %s has no case in tests/unit/kernels/forms.c", sv_kernel_slots[s].name);
        if (!pointer_of(&forms, &sv_kernel_slots[s])) continue;
        if (isa != below && pointer_of(&forms, &sv_kernel_slots[s]) == pointer_of(&lower, &sv_kernel_slots[s])) continue;
        own++;
        run_slot(c, &forms, &plain, sv_isa_name(isa));
    }
    if (isa != below && own == 0) {
        print_message("skipped: this machine or build has no %s forms\n", sv_isa_name(isa));
        skip();
    }
}

static void c_forms_do_not_depend_on_the_split(void **state)
{
    (void)state;
    run_isa(SV_ISA_C, SV_ISA_C);
}
static void avx2_forms_equal_c_to_the_bit(void **state)
{
    (void)state;
    run_isa(SV_ISA_AVX2, SV_ISA_C);
}
static void avx512_forms_equal_c_to_the_bit(void **state)
{
    (void)state;
    run_isa(SV_ISA_AVX512, SV_ISA_AVX2);
}

static void avx512_bf16_forms_equal_c_to_the_bit(void **state)
{
    (void)state;
    run_isa(SV_ISA_AVX512_BF16, SV_ISA_AVX512);
}
static void amx_forms_equal_c_to_the_bit(void **state)
{
    (void)state;
    run_isa(SV_ISA_AMX, SV_ISA_AVX512_BF16);
}
static void neon_forms_equal_c_to_the_bit(void **state)
{
    (void)state;
    run_isa(SV_ISA_NEON, SV_ISA_C);
}

int main(void)
{
    for (size_t i = 0; i < FENCES; i++) fences[i] = mapped(FENCE_BYTES, true);
    for (size_t i = 0; i < 2; i++) arenas[i] = mapped(ARENA_BYTES, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c_forms_do_not_depend_on_the_split), cmocka_unit_test(avx2_forms_equal_c_to_the_bit),
        cmocka_unit_test(avx512_forms_equal_c_to_the_bit),    cmocka_unit_test(avx512_bf16_forms_equal_c_to_the_bit),
        cmocka_unit_test(amx_forms_equal_c_to_the_bit),       cmocka_unit_test(neon_forms_equal_c_to_the_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
