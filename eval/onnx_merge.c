/* ToMe in a graph (pruning/walk.c, autograd/op_merge.c): in every block, between attention and MLP, the r most similar pairs of even and odd rows meet.
 * How many rows each block has is known here. Rows carry their size, how many patches they stand for, as a last column beside size * x, so that meeting
 * is a sum; who meets whom is a one-hot matrix.
 * Letters: B pictures, T rows, E prefix rows, D width; a, b: even rows but row 0, odd rows behind the prefix. */
#include "autograd/ops.h"
#include "eval/onnx_inside.h"

typedef struct merging {
    sv_onnx_value x, size, origin; /* [B,T,D], [B,T,1] (0: ones), int64 [B,T] */
    size_t rows, prefix;
} merging;

/* Every second row from `first` on. */
static sv_onnx_value every_second(sv_onnx_mapping *m, sv_onnx_value x, size_t first)
{
    const int64_t begin = (int64_t)first, end = INT64_MAX, axis = 1, step = 2;
    sv_onnx_call call = { .op = "Slice", .inputs = 5, .input = { x } };
    const int64_t numbers[] = { begin, end, axis, step };
    for (size_t i = 0; i < SV_COUNT(numbers); i++) call.input[1 + i] = sv_onnx_ints(m->graph, 1, &numbers[i]);
    return sv_onnx_node(m->graph, &call);
}

/* Each key stands for as many as its row: log size is added to the scores. */
static sv_onnx_value add_sizes(sv_onnx_mapping *m, const sv_onnx_block_form *form, sv_onnx_value score)
{
    const merging *s = form->context;
    return sv_onnx_binary(m, "Add", score, sv_onnx_reshape(m, sv_onnx_unary(m, "Log", s->size), 4, (int64_t[]){ 0, 1, 1, -1 }));
}

/* keys [B,T,D] -> [B,T,D/heads]: mean over heads, of length 1. */
static sv_onnx_value directions(sv_onnx_mapping *m, sv_onnx_value keys, const sv_onnx_block_form *form)
{
    const int64_t heads = (int64_t)form->heads, width = (int64_t)(form->width / form->heads);
    sv_onnx_value mean = sv_onnx_mean(m, sv_onnx_reshape(m, keys, 4, (int64_t[]){ 0, 0, heads, width }), 2, false);
    sv_onnx_value length = sv_onnx_unary(m, "Sqrt", sv_onnx_sum(m, sv_onnx_binary(m, "Mul", mean, mean), -1, true));
    return sv_onnx_binary(m, "Div", mean, sv_onnx_binary(m, "Max", length, sv_onnx_real(m->graph, 1e-12)));
}

/* list [B,r] of numbers below b -> [B,b,r]: column j has its 1 in row list_j. */
static sv_onnx_value one_hot(sv_onnx_mapping *m, sv_onnx_value list, size_t b)
{
    const size_t two = 2;
    float *values = NULL;
    if (!m->off_on) {
        if (!m->failed) m->failed = sv_alloc(&values, two * sizeof *values, "onnx", &m->error);
        if (m->failed) return 0;
        values[0] = 0, values[1] = 1;
        m->off_on = sv_onnx_initializer(m->graph, "off_on", SV_ONNX_FLOAT, 1, &two, values);
    }
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "OneHot",
                                                   .inputs = 3,
                                                   .input = { list, sv_onnx_int(m->graph, (int64_t)b), m->off_on },
                                                   .attributes = 1,
                                                   .attribute = { { .name = "axis", .kind = SV_ONNX_I, .i = 1 } } });
}

/* Rows of both sides with their sizes in the last column, and what patch each stands in. */
typedef struct sides {
    sv_onnx_value even, odd, even_origin, odd_origin;
    size_t a, b;
} sides;

/* The r even rows that are most like their most similar odd row go into it. */
static void meet(sv_onnx_mapping *m, sides *s, sv_onnx_value directed, size_t prefix, size_t r)
{
    const int64_t one = 1, all = (int64_t)s->a, gone = (int64_t)r, left = all - gone;
    sv_onnx_value even = every_second(m, directed, 2), odd = every_second(m, directed, 2 * (prefix / 2) + 1);
    sv_onnx_value alike = sv_onnx_binary(m, "MatMul", even, sv_onnx_transpose(m, odd, 3, (int64_t[]){ 0, 2, 1 }));
    sv_onnx_value best = sv_onnx_top_k(m, alike, sv_onnx_ints(m->graph, 1, &one), true), other = sv_onnx_squeeze(m, best + 1, 2);
    sv_onnx_value ranked = sv_onnx_top_k(m, sv_onnx_squeeze(m, best, 2), sv_onnx_ints(m->graph, 1, &all), true) + 1;
    sv_onnx_value go = sv_onnx_slice(m, ranked, 1, 0, gone);
    sv_onnx_value into = one_hot(m, sv_onnx_numbers_at(m, other, go), s->b);
    s->odd = sv_onnx_binary(m, "Add", s->odd, sv_onnx_binary(m, "MatMul", into, sv_onnx_rows_at(m, s->even, go)));
    s->a = (size_t)left;
    if (!left) return;
    sv_onnx_value stay = sv_onnx_top_k(m, sv_onnx_slice(m, ranked, 1, gone, INT64_MAX), sv_onnx_ints(m->graph, 1, &left), false);
    s->even = sv_onnx_rows_at(m, s->even, stay);
    s->even_origin = sv_onnx_numbers_at(m, s->even_origin, stay);
}

/* Prefix, even rows that are left, odd rows. */
static sv_onnx_value in_order(sv_onnx_mapping *m, const merging *s, const sides *by, sv_onnx_value all, sv_onnx_value even,
                              sv_onnx_value odd)
{
    sv_onnx_value parts[3] = { sv_onnx_slice(m, all, 1, 0, (int64_t)s->prefix) };
    size_t count = 1;
    if (by->a) parts[count++] = even;
    if (by->b) parts[count++] = odd;
    return sv_onnx_concat(m, 1, count, parts);
}

static void merge(sv_onnx_mapping *m, merging *s, const sv_onnx_block_form *form, sv_onnx_value keys, size_t r)
{
    const int64_t width = (int64_t)form->width;
    const size_t first = 2 * (s->prefix / 2) + 1;
    sv_onnx_value size = s->size ? s->size : sv_onnx_filled(m, sv_onnx_slice(m, s->x, 2, 0, 1), 1);
    sv_onnx_value all = sv_onnx_concat(m, 2, 2, (sv_onnx_value[]){ s->size ? sv_onnx_binary(m, "Mul", s->x, size) : s->x, size });
    sides by = { .a = (s->rows + 1) / 2 - 1, .b = s->rows / 2 - s->prefix / 2 };
    if (by.a) by.even = every_second(m, all, 2), by.even_origin = every_second(m, s->origin, 2);
    if (by.b) by.odd = every_second(m, all, first), by.odd_origin = every_second(m, s->origin, first);
    if (r) meet(m, &by, directions(m, keys, form), s->prefix, r);
    sv_onnx_value rows = in_order(m, s, &by, all, by.even, by.odd);
    s->origin = in_order(m, s, &by, s->origin, by.even_origin, by.odd_origin);
    s->size = sv_onnx_slice(m, rows, 2, width, INT64_MAX);
    s->x = sv_onnx_binary(m, "Div", sv_onnx_slice(m, rows, 2, 0, width), s->size);
    s->rows = s->prefix + by.a + by.b;
}

/* Numbers of the patches, below 0 for prefix rows: int64 [B,T]. */
static sv_onnx_value count_up(sv_onnx_mapping *m, const merging *s)
{
    const size_t dims[] = { 1, s->rows, 1 };
    int64_t *numbers = NULL;
    if (!m->failed) m->failed = sv_alloc(&numbers, s->rows * sizeof *numbers, "onnx", &m->error);
    if (m->failed) return 0;
    for (size_t i = 0; i < s->rows; i++) numbers[i] = (int64_t)i - (int64_t)s->prefix;
    sv_onnx_value list = sv_onnx_initializer(m->graph, "patch_numbers", SV_ONNX_INT64, SV_COUNT(dims), dims, numbers);
    return sv_onnx_squeeze(m, sv_onnx_repeated(m, list, s->rows, 1, s->x), 2);
}

sv_onnx_tokens sv_onnx_merging_blocks(sv_onnx_mapping *m, sv_onnx_value rows, sv_onnx_tokens *merged)
{
    const sv_model *model = m->d->model;
    const size_t patches = sv_model_patches(model), prefix = sv_model_prefix(model), depth = sv_model_depth(model);
    merging s = { .x = rows, .rows = prefix + patches, .prefix = prefix };
    s.origin = count_up(m, &s);
    for (size_t i = 0; i < depth; i++) {
        sv_onnx_block_form form;
        sv_onnx_value keys = 0;
        m->family->block_form(m, i, &form);
        form.keys = &keys, form.context = &s;
        if (s.size) form.bias_scores = add_sizes;
        s.x = sv_onnx_attention_half(m, &form, s.x);
        sv_onnx_scope(m->graph, "merge.%zu", i);
        merge(m, &s, &form, keys, sv_merge_count(patches, m->plan->count[0], depth, i, s.rows - prefix));
        s.x = sv_onnx_mlp(m, &form, s.x);
    }
    const int64_t left = (int64_t)(s.rows - prefix);
    sv_onnx_value origin = sv_onnx_slice(m, s.origin, 1, (int64_t)prefix, INT64_MAX);
    *merged =
        (sv_onnx_tokens){ .x = s.x, .patches = (size_t)left, .origin = sv_onnx_top_k(m, origin, sv_onnx_ints(m->graph, 1, &left), false) };
    return *merged;
}
