/* The transformer's block in a graph: x += scale attention(norm1 x); x += scale mlp(norm2 x), as layers/block.c records it, of any family. */
#include "eval/onnx_inside.h"

#include <math.h>
#include <stdio.h>

/* [batch,T,width] -> [batch,heads,T,d], or with `order` 0,2,3,1 keys ready for the product. */
static sv_onnx_value heads_of(sv_onnx_mapping *m, const sv_onnx_block_form *form, sv_onnx_value x, const int64_t *order)
{
    const int64_t heads = (int64_t)form->heads, width = (int64_t)form->width;
    return sv_onnx_transpose(m, sv_onnx_reshape(m, x, 4, (int64_t[]){ 0, 0, heads, width / heads }), 4, order);
}

sv_onnx_value sv_onnx_attention_of(sv_onnx_mapping *m, const sv_onnx_block_form *form, sv_onnx_value q, sv_onnx_value k, sv_onnx_value v)
{
    static const int64_t rows[] = { 0, 2, 1, 3 }, columns[] = { 0, 2, 3, 1 };
    sv_onnx_value score = sv_onnx_binary(m, "MatMul", heads_of(m, form, q, rows), heads_of(m, form, k, columns));
    score = sv_onnx_binary(m, "Mul", score, sv_onnx_real(m->graph, 1 / sqrt((double)(form->width / form->heads))));
    if (form->bias_scores) score = form->bias_scores(m, form, score);
    sv_onnx_value share = sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "Softmax",
                                                                  .inputs = 1,
                                                                  .input = { score },
                                                                  .attributes = 1,
                                                                  .attribute = { { .name = "axis", .kind = SV_ONNX_I, .i = -1 } } });
    if (form->keys) *form->keys = k;
    if (form->watched) *form->watched = sv_onnx_mean(m, sv_onnx_gather(m, "Gather", "axis", share, sv_onnx_int(m->graph, 0), 2), 1, false);
    sv_onnx_value mixed = sv_onnx_transpose(m, sv_onnx_binary(m, "MatMul", share, heads_of(m, form, v, rows)), 4, rows);
    return sv_onnx_reshape(m, mixed, 3, (int64_t[]){ 0, 0, (int64_t)form->width });
}

sv_onnx_value sv_onnx_attention(sv_onnx_mapping *m, const sv_onnx_block_form *form, sv_onnx_value qkv)
{
    sv_onnx_value q = sv_onnx_split(m, qkv, 3);
    return sv_onnx_attention_of(m, form, q, q + 1, q + 2);
}

sv_onnx_value sv_onnx_add_branch(sv_onnx_mapping *m, const sv_onnx_block_form *form, sv_onnx_value x, sv_onnx_value branch)
{
    if (form->branch_scale > 0 && (form->branch_scale < 1 || form->branch_scale > 1))
        branch = sv_onnx_binary(m, "Mul", branch, sv_onnx_real(m->graph, form->branch_scale));
    return sv_onnx_binary(m, "Add", x, branch);
}

sv_onnx_value sv_onnx_mlp_branch(sv_onnx_mapping *m, const sv_onnx_block_form *form, sv_onnx_value x)
{
    char norm[96], first[96], second[96];
    snprintf(norm, sizeof norm, "%s.norm2", form->prefix);
    snprintf(first, sizeof first, "%s.mlp.fc1", form->prefix);
    snprintf(second, sizeof second, "%s.mlp.fc2", form->prefix);
    sv_onnx_scope(m->graph, "%s.mlp", form->prefix);
    sv_onnx_value h = sv_onnx_gelu(m, sv_onnx_linear(m, sv_onnx_norm(m, x, norm, form->epsilon), first));
    return sv_onnx_linear(m, h, second);
}

sv_onnx_value sv_onnx_mlp(sv_onnx_mapping *m, const sv_onnx_block_form *form, sv_onnx_value x)
{
    return sv_onnx_add_branch(m, form, x, sv_onnx_mlp_branch(m, form, x));
}

sv_onnx_value sv_onnx_attention_half(sv_onnx_mapping *m, const sv_onnx_block_form *form, sv_onnx_value x)
{
    char norm[96], qkv[96], proj[96];
    snprintf(norm, sizeof norm, "%s.norm1", form->prefix);
    snprintf(qkv, sizeof qkv, "%s.attn.qkv", form->prefix);
    snprintf(proj, sizeof proj, "%s.attn.proj", form->prefix);
    sv_onnx_scope(m->graph, "%s.attn", form->prefix);
    sv_onnx_value h = sv_onnx_linear(m, sv_onnx_norm(m, x, norm, form->epsilon), qkv);
    return sv_onnx_add_branch(m, form, x, sv_onnx_linear(m, sv_onnx_attention(m, form, h), proj));
}

sv_onnx_value sv_onnx_whole_block(sv_onnx_mapping *m, const sv_onnx_block_form *form, sv_onnx_value x)
{
    return sv_onnx_mlp(m, form, sv_onnx_attention_half(m, form, x));
}

sv_onnx_value sv_onnx_enter(sv_onnx_mapping *m, size_t index, sv_onnx_value x, size_t packages)
{
    return m->family->enter ? m->family->enter(m, index, x, packages) : x;
}

sv_onnx_value sv_onnx_block(sv_onnx_mapping *m, size_t index, sv_onnx_value x)
{
    sv_onnx_block_form form;
    if (m->family->block) return m->family->block(m, index, x);
    m->family->block_form(m, index, &form);
    return sv_onnx_whole_block(m, &form, x);
}
