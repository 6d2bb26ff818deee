/* ViT and DeiT as a graph (layers/vit.c). */
#include "eval/onnx_inside.h"

#include <stdio.h>

static sv_onnx_value vit_embed(sv_onnx_mapping *m, sv_onnx_value picture)
{
    const sv_model_options *o = &m->d->model->options;
    sv_onnx_scope(m->graph, "embed");
    sv_onnx_value x = sv_onnx_conv(m, picture, "patch_embed.proj", &(sv_onnx_conv_form){ .side = o->patch, .stride = o->patch });
    x = sv_onnx_rows_of_map(m, x, o->width);
    sv_onnx_value parts[3] = { sv_onnx_repeated(m, sv_onnx_parameter(m, "cls_token", SV_ONNX_AS_IT_IS), 1, o->width, x) };
    size_t count = 1;
    if (o->distilled) parts[count++] = sv_onnx_repeated(m, sv_onnx_parameter(m, "dist_token", SV_ONNX_AS_IT_IS), 1, o->width, x);
    parts[count++] = x;
    return sv_onnx_binary(m, "Add", sv_onnx_concat(m, 1, count, parts), sv_onnx_parameter(m, "pos_embed", SV_ONNX_AS_IT_IS));
}

static void vit_block_form(const sv_onnx_mapping *m, size_t index, sv_onnx_block_form *form)
{
    const sv_model_options *o = &m->d->model->options;
    *form = (sv_onnx_block_form){ .width = o->width, .heads = o->heads, .epsilon = o->norm_eps };
    snprintf(form->prefix, sizeof form->prefix, "blocks.%zu", index);
}

sv_onnx_value sv_onnx_prefix_head(sv_onnx_mapping *m, const sv_onnx_tokens *tokens)
{
    const sv_model *model = m->d->model;
    sv_onnx_scope(m->graph, "head");
    sv_onnx_value x = sv_onnx_norm(m, sv_onnx_slice(m, tokens->x, 1, 0, (int64_t)sv_model_prefix(model)), "norm", model->options.norm_eps);
    sv_onnx_value logits = sv_onnx_linear(m, sv_onnx_token(m, x, 0), "head");
    if (!model->options.distilled) return logits;
    sv_onnx_value other = sv_onnx_linear(m, sv_onnx_token(m, x, 1), "head_dist");
    return sv_onnx_binary(m, "Mul", sv_onnx_binary(m, "Add", logits, other), sv_onnx_real(m->graph, 0.5));
}

const sv_onnx_family sv_onnx_vit = { .name = "vit", .embed = vit_embed, .block_form = vit_block_form, .head = sv_onnx_prefix_head };
