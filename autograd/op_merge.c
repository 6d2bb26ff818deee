/* Token merging (Bolya et al. 2023): who meets whom, the mean of those that meet, attention in which a merged token counts as often as it has tokens
 * in it. Rows of an image fall into even ones, A, and odd ones, B; of A some go into B. */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

size_t sv_merge_count(size_t patches, size_t kept, size_t depth, size_t block, size_t rows)
{
    const size_t all = patches > kept ? patches - kept : 0, wanted = all * (block + 1) / depth - all * block / depth;
    return wanted < rows / 2 ? wanted : rows / 2;
}

/* ---- merge_match -------------------------------------------------------------------------------------------------- */

/* m_j = mean over heads of k_j, divided by its length; s_i = max over j in B of m_i.m_j for i in A. The r rows of A with the largest s (of equal
 * ones the earlier) go where their maximum is (the first of equals). Class row 0 goes nowhere; row 1, where it is prefix too, takes in nobody. */
static sv_status merge_match_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *qkv = node->in[0];
    const int64_t *i = node->attributes.i;
    sv_status status = sv_want_image(qkv, "qkv", SV_REAL, err);
    if (!status) status = sv_want_batch(node->in[1], "value", 0, err);
    if (status) return status;
    if (i[0] < 1 || qkv->width % (3 * (size_t)i[0]))
        return sv_fail(err, SV_USAGE, "qkv must be 3 x %lld heads wide times the width of a head, but is %zu wide", (long long)i[0],
                       qkv->width);
    if (i[1] < 1 || i[1] > 2 || qkv->rows.most < (size_t)i[1])
        return sv_fail(err, SV_USAGE, "merging needs a class token and at most one more in front, not %lld rows", (long long)i[1]);
    if (i[3] < 1 || i[2] < 0 || i[2] >= i[3] || i[4] < 0)
        return sv_fail(err, SV_USAGE, "block %lld of %lld cannot merge", (long long)i[2], (long long)i[3]);
    for (size_t k = 0; k < 2; k++) {
        node->out[k]->dtype = SV_INDEX;
        sv_make_image(node->out[k], qkv->rows, 1);
        node->out[k]->dtype = SV_INDEX;
    }
    node->out[1]->live = (sv_rows){ .source = node->count_source, .add = 0, .times = 1, .most = qkv->rows.most };
    return SV_OK;
}

typedef struct matching {
    size_t rows, prefix, width, a, b; /* a, b: how many rows are even, odd */
    sv_real *mean, *best;             /* [rows,width]; [a] */
    int32_t *other;                   /* [a]: row of B */
} matching;

static matching matching_in(const sv_call *call)
{
    const sv_span *qkv = &call->in[0];
    matching m = { .rows = qkv->rows, .prefix = (size_t)call->attributes->i[1], .width = qkv->width / 3 / (size_t)call->attributes->i[0] };
    m.a = (m.rows + 1) / 2, m.b = m.rows / 2;
    m.mean = call->scratch;
    m.best = m.mean + m.rows * m.width;
    m.other = (int32_t *)(void *)(m.best + m.a);
    return m;
}

static void fill_means(const sv_call *call, const matching *m)
{
    const sv_span *qkv = &call->in[0];
    const size_t heads = (size_t)call->attributes->i[0];
    for (size_t r = 0; r < m->rows; r++) {
        sv_real *mean = m->mean + r * m->width;
        for (size_t h = 0; h < heads; h++) sv_scale(mean, qkv->data + r * qkv->width + qkv->width / 3 + h * m->width, 1, m->width, h > 0);
        const double length = sqrt((double)sv_dot(mean, mean, m->width));
        sv_scale(mean, mean, (sv_real)(1 / fmax(length, 1e-12)), m->width, false);
    }
}

static void find_others(const matching *m)
{
    for (size_t i = 0; i < m->a; i++) {
        m->best[i] = -INFINITY, m->other[i] = -1;
        for (size_t j = m->prefix / 2; i > 0 && j < m->b; j++) {
            const sv_real s = sv_dot(m->mean + 2 * i * m->width, m->mean + (2 * j + 1) * m->width, m->width);
            if (m->other[i] < 0 || s > m->best[i]) m->best[i] = s == s ? s : -INFINITY, m->other[i] = (int32_t)(2 * j + 1);
        }
    }
}

/* How many rows of A are before row i by their similarity. */
static size_t rank_of(const matching *m, size_t i)
{
    size_t better = 0;
    for (size_t j = 1; j < m->a; j++) better += m->best[j] > m->best[i] || (j < i && !(m->best[j] < m->best[i]));
    return better;
}

static void merge_match_forward(const sv_call *call)
{
    const int64_t *at = call->attributes->i;
    const matching m = matching_in(call);
    const sv_real kept = call->in[1].data[0];
    int32_t *to = call->out[0].ints, *from = call->out[1].ints, count = 0;
    const size_t r = sv_merge_count((size_t)at[4], kept > 0 ? (size_t)kept : 0, (size_t)at[3], (size_t)at[2], m.rows - m.prefix);
    fill_means(call, &m);
    find_others(&m);
    for (size_t i = 0; i < m.rows; i++) to[i] = -1;
    for (size_t i = 0; i < m.prefix; i++) from[count] = (int32_t)i, to[i] = count++;
    for (size_t i = 1; i < m.a; i++)
        if (rank_of(&m, i) >= r) from[count] = (int32_t)(2 * i), to[2 * i] = count++;
    for (size_t j = m.prefix / 2; j < m.b; j++) from[count] = (int32_t)(2 * j + 1), to[2 * j + 1] = count++;
    for (size_t i = 1; i < m.a; i++)
        if (to[2 * i] < 0) to[2 * i] = to[m.other[i]];
    *call->count = (uint32_t)count;
    for (size_t i = (size_t)count; i < m.rows; i++) from[i] = -1;
}

static size_t merge_match_scratch(const sv_node *node)
{
    const size_t rows = node->in[0]->rows.most, width = node->in[0]->width / 3 / (size_t)node->attributes.i[0];
    return (rows * width + rows + 1) * sizeof(sv_real) + (rows + 1) * sizeof(int32_t);
}

static uint64_t merge_match_macs(const sv_call *call)
{
    const uint64_t rows = call->in[0].rows, width = call->in[0].width / 3 / (size_t)call->attributes->i[0];
    return (rows + 1) / 2 * (rows / 2) * width;
}

/* heads, prefix, block, depth, patches; value is between 0 and 1, so as many merge as can where there is one block. */
static const sv_sample merge_match_samples[] = {
    { .name = "half of the patches", .images = 2, .in = { IMAGE(NORMAL, 9, 12), NUMBERS(UNIT, 1) }, .attributes.i = { 2, 1, 0, 1, 8 } },
    { .name = "a share", .images = 3, .in = { IMAGE(NORMAL, 17, 18), NUMBERS(UNIT, 1) }, .attributes.i = { 3, 1, 2, 5, 16 } },
    { .name = "two rows in front", .images = 2, .in = { IMAGE(NORMAL, 12, 24), NUMBERS(UNIT, 2) }, .attributes.i = { 1, 2, 0, 3, 10 } },
    { .name = "the class token alone", .images = 1, .in = { IMAGE(NORMAL, 1, 6), NUMBERS(UNIT, 1) }, .attributes.i = { 1, 1, 0, 1, 0 } },
    { .name = "one patch", .images = 1, .in = { IMAGE(NORMAL, 2, 6), NUMBERS(UNIT, 1) }, .attributes.i = { 2, 1, 0, 1, 1 } },
    { .name = "all alike", .images = 1, .in = { IMAGE(ONE, 8, 12), NUMBERS(UNIT, 1) }, .attributes.i = { 2, 1, 1, 2, 7 } },
    { .name = "keys of zero", .images = 1, .in = { IMAGE(ZERO, 7, 12), NUMBERS(UNIT, 1) }, .attributes.i = { 2, 2, 0, 1, 5 } },
};

const sv_op sv_op_merge_match = {
    .name = "merge_match",
    .formula = "qkv [R,3D], value [1] -> to index [R,1], from index [R,1]: the most similar pairs of even and odd rows meet, by the cosine "
               "of the heads' mean keys",
    .source = "Bolya et al. 2023 (ToMe), bipartite soft matching",
    .inputs_least = 2,
    .inputs_most = 2,
    .outputs = 2,
    .locality = SV_IMAGE_WHOLE,
    .shape = merge_match_shape,
    .forward = merge_match_forward,
    .stops_gradient = true,
    .sets_count = true,
    .scratch = merge_match_scratch,
    .macs = merge_match_macs,
    SV_SAMPLES_OF(merge_match_samples),
};

sv_tensor *sv_tape_merge_match(sv_tape *tape, sv_tensor *qkv, sv_tensor *value, size_t heads, size_t prefix, size_t block, size_t depth,
                               size_t patches, sv_tensor **from)
{
    sv_tensor *outputs[2] = { NULL, NULL };
    sv_attributes attributes = { .i = { (int64_t)heads, (int64_t)prefix, (int64_t)block, (int64_t)depth, (int64_t)patches } };
    sv_tape_record(tape, &sv_op_merge_match, (sv_tensor *[]){ qkv, value }, 2, &attributes, outputs);
    *from = outputs[1];
    return outputs[0];
}

/* ---- merge_rows --------------------------------------------------------------------------------------------------- */

/* size'_o = sum of size_j over rows with to_j = o;  y_o = sum of (size_j / size'_o) x_j:  dx_j = (size_j / size'_to) dy_to. */
static sv_status merge_rows_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *x = node->in[0], *from = node->in[3];
    sv_status status = sv_want_image(x, "x", SV_REAL, err);
    if (!status) status = sv_want_width(node->in[1], "size", SV_REAL, 1, err);
    if (!status) status = sv_want_rows(node->in[1], "size", x, "x", err);
    if (!status) status = sv_want_constant(node->in[1], "size", err);
    if (!status) status = sv_want_width(node->in[2], "to", SV_INDEX, 1, err);
    if (!status) status = sv_want_rows(node->in[2], "to", x, "x", err);
    if (!status) status = sv_want_width(from, "from", SV_INDEX, 1, err);
    if (status) return status;
    sv_make_image(node->out[0], from->live, x->width);
    sv_make_image(node->out[1], from->live, 1);
    return SV_OK;
}

static bool goes_to(const sv_call *call, size_t j, size_t *row)
{
    const int32_t to = call->in[2].ints[j];
    *row = (size_t)to;
    return to >= 0 && (size_t)to < call->out[0].rows;
}

static void merge_rows_forward(const sv_call *call)
{
    const sv_span *x = &call->in[0], *y = &call->out[0];
    const sv_real *size = call->in[1].data;
    sv_real *after = call->out[1].data;
    size_t o;
    memset(y->data, 0, y->rows * y->width * sizeof *y->data);
    memset(after, 0, y->rows * sizeof *after);
    for (size_t j = 0; j < x->rows; j++)
        if (goes_to(call, j, &o)) after[o] += size[j];
    for (size_t j = 0; j < x->rows; j++)
        if (goes_to(call, j, &o) && after[o] > 0)
            sv_scale(y->data + o * y->width, x->data + j * x->width, size[j] / after[o], x->width, true);
}

static void merge_rows_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0], *y = &call->out[0];
    const sv_real *size = call->in[1].data, *after = call->out[1].data;
    size_t o;
    sv_begin_gradient(x);
    for (size_t j = 0; j < x->live; j++)
        if (goes_to(call, j, &o) && after[o] > 0)
            sv_scale(x->gradient + j * x->width, y->gradient + o * y->width, size[j] / after[o], x->width, true);
}

static const sv_sample merge_rows_samples[] = {
    { .name = "one row",
      .images = 1,
      .in = { IMAGE(NORMAL, 1, 7), CONSTANT(ONE, 1, 1), CONSTANT(COUNT_UP, 1, 1), CONSTANT(COUNT_UP, 1, 1) } },
    { .name = "nobody meets",
      .images = 2,
      .in = { IMAGE(NORMAL, 6, 5), CONSTANT(UNIT, 6, 1), CONSTANT(INDEX, 6, 1), CONSTANT(INDEX, 6, 1) } },
    { .name = "all meet",
      .images = 3,
      .in = { IMAGE(NORMAL, 5, 17), CONSTANT(UNIT, 5, 1), CONSTANT(INDEX_ZERO, 5, 1), CONSTANT(COUNT_UP, 1, 1) } },
    { .name = "a row that nobody goes to",
      .images = 2,
      .in = { IMAGE(NORMAL, 4, 3), CONSTANT(UNIT, 4, 1), CONSTANT(INDEX_ZERO, 4, 1), CONSTANT(COUNT_UP, 2, 1) } },
    { .name = "rows that go nowhere",
      .images = 2,
      .in = { IMAGE(NORMAL, 5, 4), CONSTANT(UNIT, 5, 1), CONSTANT(ORIGIN, 5, 1), CONSTANT(COUNT_UP, 4, 1) } },
    { .name = "large numbers",
      .images = 1,
      .in = { IMAGE(LARGE, 5, 32), CONSTANT(UNIT, 5, 1), CONSTANT(INDEX, 5, 1), CONSTANT(COUNT_UP, 5, 1) } },
};

const sv_op sv_op_merge_rows = {
    .name = "merge_rows",
    .formula = "x [R,D], size [R,1], to index [R,1], from index [R',1] -> y [R',D] = sum of size_j x_j / sum of size_j over rows with to_j "
               "= o, size' [R',1]",
    .source = "Bolya et al. 2023 (ToMe), merge_wavg",
    .inputs_least = 4,
    .inputs_most = 4,
    .outputs = 2,
    .locality = SV_IMAGE_WHOLE,
    .shape = merge_rows_shape,
    .forward = merge_rows_forward,
    .backward = merge_rows_backward,
    .backward_inputs = 1 << 1 | 1 << 2,
    .backward_outputs = 1 << 1,
    SV_SAMPLES_OF(merge_rows_samples),
};

sv_tensor *sv_tape_merge_rows(sv_tape *tape, sv_tensor *x, sv_tensor *size, sv_tensor *to, sv_tensor *from, sv_tensor **size_after)
{
    sv_tensor *outputs[2] = { NULL, NULL };
    sv_tape_record(tape, &sv_op_merge_rows, (sv_tensor *[]){ x, size, to, from }, 4, NULL, outputs);
    *size_after = outputs[1];
    return outputs[0];
}
