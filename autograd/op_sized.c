/* Attention over keys that stand for several tokens each: weights size_j exp(a_ij) instead of exp(a_ij), which is log size added to the scores.
 *   p_ij = size_j exp(a_ij) / sum_l size_l exp(a_il);  y_i = sum_j p_ij v_j;  backward as attention's with these p. */
#include "autograd/op_heads.h"

static sv_status sized_attention_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *qkv = node->in[0];
    sv_status status = sv_want_heads(node, err);
    if (!status) status = sv_want_width(node->in[1], "size", SV_REAL, 1, err);
    if (!status) status = sv_want_rows(node->in[1], "size", qkv, "qkv", err);
    if (!status) status = sv_want_constant(node->in[1], "size", err);
    if (status) return status;
    if (!sv_rows_equal(qkv->rows, qkv->live)) return sv_fail(err, SV_USAGE, "all rows of qkv must be live");
    node->out[0]->width = qkv->width / 3;
    return SV_OK;
}

static sv_attention attention_of(const sv_call *call)
{
    sv_attention attention = sv_attention_of(call);
    attention.sizes = call->in[1].data;
    return attention;
}

static void sized_attention_forward(const sv_call *call)
{
    const sv_attention attention = attention_of(call);
    sv_attention_forward(&attention, call->row_begin, call->row_end);
}

static void sized_attention_backward(const sv_call *call)
{
    const sv_span *qkv = &call->in[0], *y = &call->out[0];
    const sv_attention attention = attention_of(call);
    sv_real *room = (sv_real *)((unsigned char *)call->scratch + sv_attention_room(qkv->rows, attention.width));
    sv_real *d_qkv = qkv->accumulate ? room : qkv->gradient;
    sv_attention_backward(&attention, y->gradient, y->width, d_qkv, qkv->width, NULL, 1, NULL);
    if (d_qkv == room) sv_scale(qkv->gradient, room, 1, qkv->rows * qkv->width, true);
}

static size_t sized_attention_saved(const sv_node *node) { return 2 * (size_t)node->attributes.i[0] * node->in[0]->rows.most; }

static size_t sized_attention_scratch(const sv_node *node)
{
    const size_t rows = node->in[0]->rows.most, width = node->out[0]->width / (size_t)node->attributes.i[0];
    const size_t forward = sv_attention_forward_scratch(rows, width),
                 backward = sv_attention_room(rows, width) + rows * node->in[0]->width * sizeof(sv_real);
    return backward > forward ? backward : forward;
}

static uint64_t sized_attention_macs(const sv_call *call) { return 2 * (uint64_t)call->in[0].rows * call->in[0].rows * call->out[0].width; }

static const sv_sample sized_attention_samples[] = {
    { .name = "one row", .images = 2, .in = { IMAGE(NORMAL, 1, 12), CONSTANT(UNIT, 1, 1) }, .attributes.i = { 2 } },
    { .name = "one number a head", .images = 1, .in = { IMAGE(NORMAL, 5, 9), CONSTANT(UNIT, 5, 1) }, .attributes.i = { 3 } },
    { .name = "odd widths", .images = 3, .in = { IMAGE(NORMAL, 7, 42), CONSTANT(UNIT, 7, 1) }, .attributes.i = { 2 } },
    { .name = "more rows than a panel", .images = 1, .in = { IMAGE(NORMAL, 35, 24), CONSTANT(UNIT, 35, 1) }, .attributes.i = { 1 } },
    { .name = "large numbers", .images = 2, .in = { IMAGE(LARGE, 4, 24), CONSTANT(UNIT, 4, 1) }, .attributes.i = { 2 } },
    { .name = "sizes of one", .images = 2, .in = { IMAGE(NORMAL, 6, 12), CONSTANT(ONE, 6, 1) }, .attributes.i = { 2 } },
};

const sv_op sv_op_sized_attention = {
    .name = "sized_attention",
    .formula = "qkv [R,3D], size [R,1] -> y [R,D] = softmax_j(q.k_j / sqrt(d) + log size_j) v, by head",
    .source = "Bolya et al. 2023 (ToMe), proportional attention",
    .inputs_least = 2,
    .inputs_most = 2,
    .outputs = 1,
    .locality = SV_IMAGE_ROWS,
    .shape = sized_attention_shape,
    .forward = sized_attention_forward,
    .backward = sized_attention_backward,
    .backward_inputs = 3,
    .backward_outputs = 1,
    .gives_half = true,
    .saved = sized_attention_saved,
    .scratch = sized_attention_scratch,
    .macs = sized_attention_macs,
    SV_SAMPLES_OF(sized_attention_samples),
};

sv_tensor *sv_tape_sized_attention(sv_tape *tape, sv_tensor *qkv, sv_tensor *size, size_t heads)
{
    sv_attributes attributes = { .i = { (int64_t)heads } };
    return sv_tape_record(tape, &sv_op_sized_attention, (sv_tensor *[]){ qkv, size }, 2, &attributes, NULL);
}
