/* Attention inside windows of a grid of which only some cells are there, with package rows that all see (spec SPViT on other backbones 4.5, 4.6).
 * Row i of qkv is cell place_i of a grid H x W (raster order), or a package token where place_i is below 0. w(i): its window after the shift.
 *   allowed j of i: i itself; rows of the same window and package rows; for a package row all rows. A_ij = 1 for j = i, else policy_j (1 without one).
 *   a_ij = q_i.k_j / sqrt(d), between cells + table[index(i, j)][h] + mask_ij;  e_ij = exp(a_ij - top_i) A_ij;  p_ij = e_ij / sum_j e_ij;  y_i = sum_j p_ij v_j
 * index and mask as in window_attention, by the cells' places in the whole grid; top over allowed j with A_ij > 0. With x_ij = exp(min(a_ij - top_i, clamp)),
 * Z_i = sum_j e_ij, g = dy, s_ij = g_i.v_j, D_i = sum_j p_ij s_ij:
 *   da_ij = p_ij (s_ij - D_i);  dpolicy_j += x_ij / Z_i (s_ij - D_i) for j != i;  dtable[index] += da;  dq_i = sum_j da_ij k_j / sqrt(d);
 *   dk_j = sum_i da_ij q_i / sqrt(d);  dv_j = sum_i p_ij g_i.
 * Without a policy and with all cells there it is window_attention, by other sums. */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

enum { MOST_SIDE = 32, MOST_GRID = 1 << 12 };

static const sv_real apart = -100; /* as in window_attention */

typedef struct grid { size_t height, width, side, shift, heads; } grid;

static grid grid_of(const sv_attributes *a)
{
    return (grid){ (size_t)a->i[0], (size_t)a->i[1], (size_t)a->i[2], (size_t)a->i[3], (size_t)a->i[4] };
}

static sv_status check_grid(const sv_attributes *a, sv_error *err)
{
    const int64_t height = a->i[0], width = a->i[1], side = a->i[2], shift = a->i[3];
    if (side < 1 || side > MOST_SIDE || height < 1 || width < 1 || height > MOST_GRID || width > MOST_GRID || height % side || width % side)
        return sv_fail(err, SV_USAGE, "a grid of %lld x %lld cannot be cut into windows of %lld x %lld (at most 32 x 32)", (long long)height, (long long)width,
                       (long long)side, (long long)side);
    if (shift < 0 || shift >= side) return sv_fail(err, SV_USAGE, "windows of %lld cannot be shifted by %lld", (long long)side, (long long)shift);
    if (!(a->r[0] > 0)) return sv_fail(err, SV_USAGE, "the clamp of exponents must be above 0, but is %g", a->r[0]);
    return SV_OK;
}

static sv_status cell_attention_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *qkv = node->in[0], *place = node->in[2], *policy = node->in[3];
    const int64_t heads = node->attributes.i[4];
    sv_status status = sv_want_image(qkv, "qkv", SV_REAL, err);
    if (!status) status = check_grid(&node->attributes, err);
    if (status) return status;
    if (heads < 1 || qkv->width % (3 * (size_t)heads))
        return sv_fail(err, SV_USAGE, "qkv must be 3 x %lld heads wide times the width of a head, but is %zu wide", (long long)heads, qkv->width);
    const size_t reach = 2 * (size_t)node->attributes.i[2] - 1;
    status = sv_want_parameter(node->in[1], "table", 2, (size_t[]){ reach * reach, (size_t)heads }, err);
    if (!status) status = sv_want_width(place, "place", SV_INDEX, 1, err);
    if (!status) status = sv_want_rows(place, "place", qkv, "qkv", err);
    if (!status && policy) status = sv_want_width(policy, "policy", SV_REAL, 1, err);
    if (!status && policy) status = sv_want_rows(policy, "policy", qkv, "qkv", err);
    node->out[0]->width = qkv->width / 3;
    return status;
}

/* ---- who stands where ---------------------------------------------------------------------------------------------- */

/* Of a row: its window (windows: a package row), its place inside as a number whose differences are differences in the table, the band it came from. */
typedef struct cell { int32_t next, window, inside, band; } cell;

/* Rows of each window as lists in order of rows; package rows form the last one. */
typedef struct cells {
    grid g;
    size_t rows, windows, d, stride;
    const sv_real *qkv, *table, *policy;
    cell *row;
    int32_t *first, *keys;  /* [windows + 1], [rows]: of the query looked at */
    sv_real *a, *p, *x;     /* [rows] by key: exponents, weights, exponentials */
    sv_real *room;          /* of window_head */
    sv_real scale, clamp;
} cells;

/* Room: queries and keys turned [d, most], values [most, d], p and its turn [most, most], y [most, d]; most = side^2 + 1: a full window and a package. */
static size_t most_keys(const grid *g) { return g->side * g->side + 1; }
static size_t window_room(const grid *g, size_t d) { return most_keys(g) * (4 * d + 2 * most_keys(g)); }

/* 0, 1 or 2: which part of the axis a rolled coordinate lies in. */
static int32_t band(const grid *g, size_t at, size_t length) { return !g->shift || at < length - g->side ? 0 : at < length - g->shift ? 1 : 2; }

static cell cell_of(const grid *g, int32_t place)
{
    const size_t across = g->width / g->side, all = g->height / g->side * across;
    if (place < 0 || (size_t)place >= g->height * g->width) return (cell){ .window = (int32_t)all };
    const size_t r = ((size_t)place / g->width + g->height - g->shift) % g->height, c = ((size_t)place % g->width + g->width - g->shift) % g->width;
    return (cell){ .window = (int32_t)(r / g->side * across + c / g->side),
                   .inside = (int32_t)(r % g->side * (2 * g->side - 1) + c % g->side),
                   .band = 3 * band(g, r, g->height) + band(g, c, g->width) };
}

static void list_rows(cells *s, const int32_t *place)
{
    for (size_t w = 0; w <= s->windows; w++) s->first[w] = -1;
    for (size_t r = s->rows; r-- > 0;) {
        s->row[r] = cell_of(&s->g, place[r]);
        s->row[r].next = s->first[s->row[r].window];
        s->first[s->row[r].window] = (int32_t)r;
    }
}

static cells cells_of(const sv_call *call)
{
    const grid g = grid_of(call->attributes);
    const size_t rows = call->in[0].rows, most = call->node->in[0]->rows.most, windows = g.height / g.side * (g.width / g.side);
    const size_t part = call->out[0].width;
    sv_real *room = call->scratch;
    cell *row = (cell *)(void *)(room + 3 * most + window_room(&g, part / g.heads));
    cells s = { .g = g, .rows = rows, .windows = windows, .d = part / g.heads, .stride = 3 * part, .qkv = call->in[0].data, .table = call->in[1].data,
                .policy = call->in[3].present ? call->in[3].data : NULL, .row = row, .first = (int32_t *)(void *)(row + most),
                .keys = (int32_t *)(void *)(row + most) + windows + 1, .a = room, .p = room + most, .x = room + 2 * most, .room = room + 3 * most,
                .clamp = (sv_real)call->attributes->r[0] };
    s.scale = (sv_real)(1 / sqrt((double)s.d));
    list_rows(&s, call->in[2].ints);
    return s;
}

static size_t cell_attention_scratch(const sv_node *node)
{
    const grid g = grid_of(&node->attributes);
    const size_t rows = node->in[0]->rows.most, windows = g.height / g.side * (g.width / g.side);
    return window_room(&g, node->out[0]->width / (size_t)node->attributes.i[4]) * sizeof(sv_real) + rows * (3 * sizeof(sv_real) + sizeof(cell) + sizeof(int32_t)) + (windows + 1) * sizeof(int32_t);
}

static sv_real seen(const cells *s, size_t i, size_t j) { return i == j || !s->policy ? 1 : s->policy[j]; }

static bool is_package(const cells *s, size_t i) { return s->row[i].window == (int32_t)s->windows; }

/* Adds rows of one list that query i may see; all: those it sees with weight 0 too, which have gradients. */
static size_t add_list(const cells *s, size_t list, size_t i, bool all, size_t count)
{
    for (int32_t j = s->first[list]; j >= 0; j = s->row[j].next)
        if (all || seen(s, i, (size_t)j) != 0) s->keys[count++] = j;
    return count;
}

static size_t keys_of(const cells *s, size_t i, bool all)
{
    size_t count = 0;
    if (!is_package(s, i)) return add_list(s, s->windows, i, all, add_list(s, (size_t)s->row[i].window, i, all, 0));
    for (size_t j = 0; j < s->rows; j++)
        if (all || seen(s, i, j) != 0) s->keys[count++] = (int32_t)j;
    return count;
}

/* ---- a query ------------------------------------------------------------------------------------------------------- */

/* Number of the pair in the table, or -1: it has none. */
static int64_t pair_of(const cells *s, size_t i, size_t j)
{
    const int64_t across = 2 * (int64_t)s->g.side - 1;
    if (is_package(s, i) || is_package(s, j)) return -1;
    return s->row[i].inside - s->row[j].inside + ((int64_t)s->g.side - 1) * (across + 1);
}

/* p of the keys, x (exponents cut at clamp); returns Z. */
static sv_real weigh(const cells *s, size_t h, size_t i, size_t count)
{
    const sv_real *q = s->qkv + i * s->stride + h * s->d, *k = s->qkv + s->stride / 3 + h * s->d;
    sv_real top = -INFINITY, total = 0;
    for (size_t n = 0; n < count; n++) {
        const size_t j = (size_t)s->keys[n];
        const int64_t pair = pair_of(s, i, j);
        s->a[n] = s->scale * sv_dot(q, k + j * s->stride, s->d);
        if (pair >= 0) s->a[n] += s->table[(size_t)pair * s->g.heads + h] + (s->row[i].band != s->row[j].band ? apart : 0);
        if (seen(s, i, j) != 0 && s->a[n] > top) top = s->a[n];
    }
    for (size_t n = 0; n < count; n++) {
        const sv_real exponent = s->a[n] - top;
        s->x[n] = sv_exp(exponent < s->clamp ? exponent : s->clamp);
        s->p[n] = s->x[n] * seen(s, i, (size_t)s->keys[n]);
        total += s->p[n];
    }
    for (size_t n = 0; n < count; n++) s->p[n] /= total;
    return total;
}

static void query_forward(const sv_call *call, const cells *s, size_t i)
{
    const size_t width = call->out[0].width, count = keys_of(s, i, false);
    for (size_t h = 0; h < s->g.heads; h++) {
        sv_real *y = call->out[0].data + i * width + h * s->d;
        weigh(s, h, i, count);
        for (size_t n = 0; n < count; n++) sv_scale(y, s->qkv + 2 * width + (size_t)s->keys[n] * s->stride + h * s->d, s->p[n], s->d, n > 0);
    }
}

/* ---- living queries of a window together --------------------------------------------------------------------------- */

/* turned [d, count] = factor * numbers at `from` of these rows. */
static void turn_rows(sv_real *turned, const cells *s, const sv_real *from, const int32_t *rows, size_t count, sv_real factor)
{
    for (size_t r = 0; r < count; r++)
        for (size_t c = 0; c < s->d; c++) turned[c * count + r] = factor * from[(size_t)rows[r] * s->stride + c];
}

static void bias_row(const cells *s, size_t h, size_t i, sv_real *a, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        const size_t j = (size_t)s->keys[n];
        const int64_t pair = pair_of(s, i, j);
        if (pair >= 0) a[n] += s->table[(size_t)pair * s->g.heads + h] + (s->row[i].band != s->row[j].band ? apart : 0);
    }
}

/* Queries are keys first .. first + count - 1 of `keys`. */
static void window_head(const sv_call *call, const cells *s, size_t h, size_t first, size_t count, size_t keys)
{
    const size_t width = call->out[0].width, most = most_keys(&s->g), at = h * s->d;
    sv_real *q = s->room, *k = q + most * s->d, *v = k + most * s->d, *y = v + most * s->d, *p = y + most * s->d, *turned = p + most * most;
    turn_rows(q, s, s->qkv + at, s->keys + first, count, s->scale);
    turn_rows(k, s, s->qkv + width + at, s->keys, keys, 1);
    for (size_t n = 0; n < keys; n++) memcpy(v + n * s->d, s->qkv + 2 * width + (size_t)s->keys[n] * s->stride + at, s->d * sizeof *v);
    sv_product_outer(p, keys, q, count, k, keys, s->d, count, keys, false);
    for (size_t i = 0; i < count; i++) bias_row(s, h, (size_t)s->keys[first + i], p + i * keys, keys);
    sv_softmax(p, keys, p, keys, count, keys, false);
    for (size_t i = 0; i < count; i++)
        for (size_t n = 0; n < keys; n++) turned[n * count + i] = p[i * keys + n];
    sv_product_outer(y, s->d, turned, count, v, s->d, keys, count, s->d, false);
    for (size_t i = 0; i < count; i++) memcpy(call->out[0].data + (size_t)s->keys[first + i] * width + at, y + i * s->d, s->d * sizeof *y);
}

static void window_forward(const sv_call *call, const cells *s, size_t window)
{
    const size_t own = add_list(s, window, s->rows, false, 0), keys = add_list(s, s->windows, s->rows, false, own);
    size_t first = 0, end = own;
    while (first < end && (size_t)s->keys[first] < call->row_begin) first++;
    while (end > first && (size_t)s->keys[end - 1] >= call->row_end) end--;
    if (first == end) return;
    if (keys <= most_keys(&s->g)) {
        for (size_t h = 0; h < s->g.heads; h++) window_head(call, s, h, first, end - first, keys);
        return;
    }
    for (int32_t i = s->first[window]; i >= 0; i = s->row[i].next) /* places that are named more than once */
        if ((size_t)i >= call->row_begin && (size_t)i < call->row_end && seen(s, s->rows, (size_t)i) != 0) query_forward(call, s, (size_t)i);
}

static bool is_binary(const cells *s)
{
    for (size_t i = 0; s->policy && i < s->rows; i++)
        if (s->policy[i] != 0 && s->policy[i] != 1) return false;
    return true;
}

/* Living cells by windows; package rows, cells that are dropped (which see themselves too) and soft policies one by one. */
static void cell_attention_forward(const sv_call *call)
{
    const cells s = cells_of(call);
    const bool binary = is_binary(&s);
    for (size_t w = 0; binary && w < s.windows; w++) window_forward(call, &s, w);
    for (size_t i = call->row_begin; i < call->row_end; i++)
        if (!binary || is_package(&s, i) || (s.policy && s.policy[i] == 0)) query_forward(call, &s, i);
}

static void query_back(const sv_call *call, const cells *s, size_t h, size_t i, size_t count)
{
    const sv_span *qkv = &call->in[0], *table = &call->in[1], *policy = &call->in[3];
    const size_t part = call->out[0].width, at = h * s->d;
    const sv_real *g = call->out[0].gradient + i * part + at, *q = s->qkv + i * s->stride + at, total = weigh(s, h, i, count);
    sv_real *dq = qkv->gradient ? qkv->gradient + at : NULL, through = 0;
    for (size_t n = 0; n < count; n++) {
        s->a[n] = sv_dot(g, s->qkv + 2 * part + (size_t)s->keys[n] * s->stride + at, s->d);
        through += s->p[n] * s->a[n];
    }
    for (size_t n = 0; n < count; n++) {
        const size_t j = (size_t)s->keys[n];
        const int64_t pair = pair_of(s, i, j);
        const sv_real slope = s->a[n] - through, da = s->p[n] * slope;
        if (policy->gradient && j != i && j < policy->live) policy->gradient[j] += s->x[n] / total * slope;
        if (table->gradient && pair >= 0) table->gradient[(size_t)pair * s->g.heads + h] += da;
        if (!dq) continue;
        if (i < qkv->live) sv_scale(dq + i * s->stride, s->qkv + part + j * s->stride + at, s->scale * da, s->d, true);
        if (j >= qkv->live || s->p[n] == 0) continue;
        sv_scale(dq + part + j * s->stride, q, s->scale * da, s->d, true);
        sv_scale(dq + 2 * part + j * s->stride, g, s->p[n], s->d, true);
    }
}

static void cell_attention_backward(const sv_call *call)
{
    const cells s = cells_of(call);
    for (size_t k = 0; k < 4; k++)
        if (k != 2) sv_begin_gradient(&call->in[k]);
    for (size_t i = 0; i < call->out[0].live; i++) {
        const size_t count = keys_of(&s, i, call->in[3].gradient != NULL);
        for (size_t h = 0; h < s.g.heads; h++) query_back(call, &s, h, i, count);
    }
}

/* Pairs of rows that see one another: live rows by windows, and themselves. Read from place, which must be kept to be counted right. */
static uint64_t cell_attention_macs(const sv_call *call)
{
    const grid g = grid_of(call->attributes);
    const int32_t *place = call->in[2].ints;
    const size_t rows = call->in[2].rows, live = call->in[0].live;
    uint64_t pairs = 0;
    for (size_t i = 0; i < rows; i++) {
        const int32_t window = cell_of(&g, place[i]).window, packages = cell_of(&g, -1).window;
        for (size_t j = 0; j < live; j++) {
            const int32_t other = cell_of(&g, place[j]).window;
            pairs += i != j && (other == window || other == packages || window == packages);
        }
    }
    return 2 * (pairs + rows) * call->out[0].width;
}

/* A dropped key far above the kept ones is beyond differences: with binary policies numbers lie in (0, 1) and no band hides others (-100). */
/* clang-format off */
#define GRID(h, w, side, shift, heads) .attributes = { .i = { h, w, side, shift, heads }, .r = { 80 } }
static const sv_sample cell_attention_samples[] = {
    { .name = "one cell", .images = 1, .in = { IMAGE(NORMAL, 1, 6), WEIGHT(NORMAL, 1, 2), CONSTANT(INDEX, 1, 1) }, GRID(1, 1, 1, 0, 2) },
    { .name = "all cells", .images = 2, .in = { IMAGE(NORMAL, 16, 12), WEIGHT(NORMAL, 9, 2), CONSTANT(COUNT_UP, 16, 1) }, GRID(4, 4, 2, 0, 2) },
    { .name = "some cells, soft policy", .images = 2, .in = { IMAGE(UNIT, 9, 6), WEIGHT(NORMAL, 9, 1), CONSTANT(INDEX, 9, 1), IMAGE(UNIT, 9, 1) }, GRID(4, 4, 2, 0, 1) },
    { .name = "shifted, with a package", .images = 3, .in = { IMAGE(UNIT, 17, 12), WEIGHT(NORMAL, 9, 2), CONSTANT(ORIGIN, 17, 1), IMAGE(UNIT, 17, 1) }, GRID(4, 4, 2, 1, 2) },
    { .name = "kept and dropped, with a package", .images = 3, .in = { IMAGE(UNIT, 17, 12), WEIGHT(UNIT, 9, 2), CONSTANT(ORIGIN, 17, 1), IMAGE(BINARY, 17, 1) }, GRID(4, 4, 2, 0, 2) },
    { .name = "windows of nothing", .images = 2, .in = { IMAGE(NORMAL, 4, 9), WEIGHT(NORMAL, 9, 1), CONSTANT(ORIGIN, 4, 1) }, GRID(4, 6, 2, 1, 1) },
    { .name = "everything dropped", .images = 2, .in = { IMAGE(UNIT, 5, 6), WEIGHT(NORMAL, 25, 1), CONSTANT(ORIGIN, 5, 1), IMAGE(ZERO, 5, 1) }, GRID(3, 3, 3, 0, 1) },
    { .name = "large numbers", .images = 1, .in = { IMAGE(LARGE, 8, 12), WEIGHT(NORMAL, 9, 2), CONSTANT(COUNT_UP, 8, 1) }, GRID(2, 4, 2, 0, 2) },
};
/* clang-format on */

const sv_op sv_op_cell_attention = {
    .name = "cell_attention",
    .formula = "qkv [R,3D], table [(2 side - 1)^2,H], place index [R,1], policy [R,1] or none -> y [R,D] = softmax over rows of the window, package rows (place < 0) "
               "and the row itself of q.k / sqrt(d) + table + mask, times v, by head",
    .source = "Liu et al. 2021 (Swin), eq. 4, over some places of the grid; keys masked as in Rao et al. 2021, eps 0",
    .inputs_least = 3,
    .inputs_most = 4,
    .outputs = 1,
    .optional = 1 << 3,
    .locality = SV_IMAGE_ROWS,
    .shape = cell_attention_shape,
    .forward = cell_attention_forward,
    .backward = cell_attention_backward,
    .backward_inputs = 13,
    .backward_dead = 13,
    .scratch = cell_attention_scratch,
    .macs = cell_attention_macs,
    SV_SAMPLES_OF(cell_attention_samples),
};

sv_tensor *sv_tape_cell_attention(sv_tape *tape, sv_tensor *qkv, sv_tensor *table, sv_tensor *place, sv_tensor *policy, size_t height, size_t width, size_t side,
                                  size_t shift, size_t heads, double clamp)
{
    sv_attributes attributes = { .i = { (int64_t)height, (int64_t)width, (int64_t)side, (int64_t)shift, (int64_t)heads }, .r = { clamp } };
    return sv_tape_record(tape, &sv_op_cell_attention, (sv_tensor *[]){ qkv, table, place, policy }, 4, &attributes, NULL);
}
