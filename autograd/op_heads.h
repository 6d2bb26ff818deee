/* What ops over qkv rows [q | k | v] of all heads share: the check of their widths, the kernel's view of a call, its room in backward. For op files alone. */
#ifndef SIEVE_AUTOGRAD_OP_HEADS_H
#define SIEVE_AUTOGRAD_OP_HEADS_H

#include "autograd/op_shape.h"
#include "kernels/kernels.h"

/* qkv: input 0, attributes.i[0] heads. SV_USAGE where its width is not 3 heads times the width of one. */
static inline sv_status sv_want_heads(const sv_node *node, sv_error *err)
{
    const sv_tensor *qkv = node->in[0];
    const int64_t heads = node->attributes.i[0];
    sv_status status = sv_want_image(qkv, "qkv", SV_REAL, err);
    if (!status && (heads < 1 || qkv->width % (3 * (size_t)heads)))
        status = sv_fail(err, SV_USAGE, "qkv must be 3 x %lld heads wide times the width of a head, but is %zu wide", (long long)heads, qkv->width);
    return status;
}

/* Keys and queries that are live come first; log sums and tops are what the op saved. */
static inline sv_attention sv_attention_of(const sv_call *call)
{
    const sv_span *qkv = &call->in[0], *y = &call->out[0];
    const size_t heads = (size_t)call->attributes->i[0];
    return (sv_attention){ .rows = qkv->rows,
                           .live = qkv->live,
                           .heads = heads,
                           .width = y->width / heads,
                           .qkv = qkv->data,
                           .qkv_stride = qkv->width,
                           .out = y->half ? NULL : y->data,
                           .out_half = y->half ? y->halves : NULL,
                           .out_stride = y->width,
                           .log_sum = call->saved,
                           .top = call->saved ? call->saved + heads * qkv->rows : NULL,
                           .scratch = call->scratch,
                           .parts = sv_parts_of(call->node->precision) };
}

/* Bytes of scratch the kernel takes in backward; what the op puts behind them is aligned. */
static inline size_t sv_attention_room(size_t rows, size_t width) { return (sv_attention_backward_scratch(rows, width) + 63) / 64 * 64; }

#endif
