/* Rows that changed put back among those that did not: what a block made of some rows of a grid, the others as they were (spec SPViT on other
 * backbones 3.4, 4.5: x_i <- D_i block(x)_i + (1 - D_i) x_i).
 *   y = x, but y[index[r]] = policy[r] moved[r] + (1 - policy[r]) x[index[r]];  without a policy it is 1.
 * A row of y is named by at most one index; of two the later counts. An index that is no row of x is left out.
 *   dmoved[r] = policy[r] dy[index[r]];  dpolicy[r] = dy[index[r]].(moved[r] - x[index[r]]);  dx = dy, times 1 - policy[r] where r counts.
 * The policy of a dropped row is 0 and still has a gradient: that is how rows that stayed frozen teach the selectors. */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

#include <string.h>

static sv_status put_rows_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *x = node->in[0], *moved = node->in[1], *index = node->in[2], *policy = node->in[3];
    sv_status status = sv_want_image(x, "x", SV_REAL, err);
    if (!status) status = sv_want_fixed_rows(x, "x", 0, err);
    if (!status) status = sv_want_width(moved, "moved", SV_REAL, x->width, err);
    if (!status) status = sv_want_width(index, "index", SV_INDEX, 1, err);
    if (!status && policy) status = sv_want_width(policy, "policy", SV_REAL, 1, err);
    if (!status && policy) status = sv_want_rows(policy, "policy", moved, "moved", err);
    if (status) return status;
    if (index->rows.most < moved->rows.most)
        return sv_fail(err, SV_USAGE, "index must name a place for each row of moved, but has %u rows for %u", index->rows.most, moved->rows.most);
    node->out[0]->live = node->out[0]->rows;
    return SV_OK;
}

/* Place of row r of moved in y, rows of y where it has none. */
static size_t place_of(const sv_call *call, size_t r)
{
    const int32_t at = r < call->in[2].rows ? call->in[2].ints[r] : -1;
    return at >= 0 && (size_t)at < call->in[0].rows ? (size_t)at : call->in[0].rows;
}

static sv_real policy_of(const sv_call *call, size_t r) { return call->in[3].present ? call->in[3].data[r] : 1; }

static void put_rows_forward(const sv_call *call)
{
    const sv_span *x = &call->in[0], *moved = &call->in[1], *y = &call->out[0];
    const size_t width = x->width;
    memcpy(y->data + call->row_begin * width, x->data + call->row_begin * width, (call->row_end - call->row_begin) * width * sizeof *y->data);
    for (size_t r = 0; r < moved->rows; r++) {
        const size_t at = place_of(call, r);
        const sv_real policy = policy_of(call, r);
        if (at < call->row_begin || at >= call->row_end) continue;
        if (policy == 1) {
            memcpy(y->data + at * width, moved->data + r * width, width * sizeof *y->data);
        } else { /* 0 gives x to the bit */
            sv_scale(y->data + at * width, x->data + at * width, 1 - policy, width, false);
            if (policy != 0) sv_scale(y->data + at * width, moved->data + r * width, policy, width, true);
        }
    }
}

static void put_rows_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0], *moved = &call->in[1], *policy = &call->in[3];
    const sv_real *g = call->out[0].gradient;
    const size_t width = x->width, none = SIZE_MAX;
    size_t *last = call->scratch; /* the row of moved that counts for each row of y */
    for (size_t i = 0; i < x->rows; i++) last[i] = none;
    for (size_t r = 0; r < moved->rows; r++)
        if (place_of(call, r) < x->rows) last[place_of(call, r)] = r;
    for (size_t i = 0; x->gradient && i < x->live; i++)
        sv_scale(x->gradient + i * width, g + i * width, last[i] == none ? 1 : 1 - policy_of(call, last[i]), width, x->accumulate);
    for (size_t r = 0; r < moved->rows; r++) {
        const size_t at = place_of(call, r);
        const bool counts = at < x->rows && last[at] == r;
        if (moved->gradient && r < moved->live)
            sv_scale(moved->gradient + r * width, counts ? g + at * width : moved->data, counts ? policy_of(call, r) : 0, width, moved->accumulate);
        if (policy->gradient && r < policy->live)
            sv_give(policy, r, counts ? sv_dot(g + at * width, moved->data + r * width, width) - sv_dot(g + at * width, x->data + at * width, width) : 0);
    }
}

static size_t put_rows_scratch(const sv_node *node) { return (size_t)node->in[0]->rows.most * sizeof(size_t); }

static const sv_sample put_rows_samples[] = {
    { .name = "one row", .images = 1, .in = { IMAGE(NORMAL, 1, 5), IMAGE(NORMAL, 1, 5), CONSTANT(INDEX, 1, 1), IMAGE(UNIT, 1, 1) } },
    { .name = "all rows in another order", .images = 3, .in = { IMAGE(NORMAL, 6, 17), IMAGE(NORMAL, 6, 17), CONSTANT(INDEX, 6, 1), IMAGE(UNIT, 6, 1) } },
    { .name = "kept and dropped", .images = 3, .in = { IMAGE(NORMAL, 7, 4), IMAGE(NORMAL, 7, 4), CONSTANT(INDEX, 7, 1), IMAGE(BINARY, 7, 1) } },
    { .name = "some rows, no policy", .images = 2, .in = { IMAGE(NORMAL, 6, 3), IMAGE(NORMAL, 3, 3), CONSTANT(INDEX, 3, 1) } },
    { .name = "index longer than moved", .images = 2, .in = { IMAGE(NORMAL, 5, 3), IMAGE(NORMAL, 2, 3), CONSTANT(INDEX, 5, 1) } },
    { .name = "beyond the rows", .images = 2, .in = { IMAGE(NORMAL, 2, 4), IMAGE(NORMAL, 5, 4), CONSTANT(INDEX, 5, 1), IMAGE(UNIT, 5, 1) } },
    { .name = "all to one row", .images = 2, .in = { IMAGE(NORMAL, 3, 4), IMAGE(NORMAL, 4, 4), CONSTANT(INDEX_ZERO, 4, 1), IMAGE(UNIT, 4, 1) } },
    { .name = "large numbers, everything dropped", .images = 1, .in = { IMAGE(LARGE, 4, 32), IMAGE(LARGE, 4, 32), CONSTANT(COUNT_UP, 4, 1), IMAGE(ZERO, 4, 1) } },
};

const sv_op sv_op_put_rows = {
    .name = "put_rows",
    .formula = "x [R,D], moved [S,D], index [S or more,1], policy [S,1] or none -> y [R,D] = x, but y[index[r]] = policy[r] moved[r] + (1 - policy[r]) x[index[r]]",
    .source = "ours: dropped tokens stay frozen in their grid",
    .inputs_least = 3,
    .inputs_most = 4,
    .outputs = 1,
    .optional = 1 << 3,
    .locality = SV_IMAGE_ROWS,
    .shape = put_rows_shape,
    .forward = put_rows_forward,
    .backward = put_rows_backward,
    .backward_inputs = 15,
    .backward_dead = 15,
    .scratch = put_rows_scratch,
    SV_SAMPLES_OF(put_rows_samples),
};

sv_tensor *sv_tape_put_rows(sv_tape *tape, sv_tensor *x, sv_tensor *moved, sv_tensor *index, sv_tensor *policy)
{
    return sv_tape_record(tape, &sv_op_put_rows, (sv_tensor *[]){ x, moved, index, policy }, 4, NULL, NULL);
}
