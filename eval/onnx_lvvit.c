/* LV-ViT as a graph (layers/lvvit.c): three convolutions with batch norm before the patches, and a second head whose largest answer over the
 * patches that are left counts half; package tokens have none. */
#include "eval/onnx_inside.h"
#include "layers/lvvit.h"

#include <stdio.h>

static const double batch_norm_epsilon = 1e-5;

static sv_onnx_value lvvit_embed(sv_onnx_mapping *m, sv_onnx_value picture)
{
    static const sv_onnx_conv_form convs[] = { { 7, 2, 3, 1 }, { 3, 1, 1, 1 }, { 3, 1, 1, 1 } };
    const sv_model_options *o = &m->d->model->options;
    sv_onnx_value x = picture;
    sv_onnx_scope(m->graph, "embed");
    for (size_t i = 0; i < SV_COUNT(convs); i++) {
        char conv[48], norm[48];
        snprintf(conv, sizeof conv, "patch_embed.conv%zu", i + 1);
        snprintf(norm, sizeof norm, "patch_embed.bn%zu", i + 1);
        x = sv_onnx_unary(m, "Relu", sv_onnx_batch_norm(m, sv_onnx_conv(m, x, conv, &convs[i]), norm, batch_norm_epsilon));
    }
    x = sv_onnx_rows_of_map(m, sv_onnx_conv(m, x, "patch_embed.proj", &(sv_onnx_conv_form){ .side = 8, .stride = 8 }), o->width);
    sv_onnx_value parts[] = { sv_onnx_repeated(m, sv_onnx_parameter(m, "cls_token", SV_ONNX_AS_IT_IS), 1, o->width, x), x };
    return sv_onnx_binary(m, "Add", sv_onnx_concat(m, 1, 2, parts), sv_onnx_parameter(m, "pos_embed", SV_ONNX_AS_IT_IS));
}

static void lvvit_block_form(const sv_onnx_mapping *m, size_t index, sv_onnx_block_form *form)
{
    const sv_model_options *o = &m->d->model->options;
    const sv_lvvit_form *row = m->d->model->backbone->form;
    *form = (sv_onnx_block_form){ .width = o->width, .heads = o->heads, .epsilon = o->norm_eps, .branch_scale = 1 / row->skip_lam };
    snprintf(form->prefix, sizeof form->prefix, "blocks.%zu", index);
}

/* x [batch, 1 + patches + packages, width] -> the patches. */
static sv_onnx_value patches_of(sv_onnx_mapping *m, const sv_onnx_tokens *tokens, sv_onnx_value x)
{
    const int64_t none = 0;
    if (!tokens->alive) return sv_onnx_slice(m, x, 1, 1, 1 + (int64_t)tokens->patches);
    return sv_onnx_slice_at(m, sv_onnx_slice(m, x, 1, 1, INT64_MAX), 1, sv_onnx_ints(m->graph, 1, &none), tokens->alive);
}

static sv_onnx_value lvvit_head(sv_onnx_mapping *m, const sv_onnx_tokens *tokens)
{
    sv_onnx_scope(m->graph, "head");
    sv_onnx_value x = sv_onnx_norm(m, tokens->x, "norm", m->d->model->options.norm_eps);
    sv_onnx_value logits = sv_onnx_linear(m, sv_onnx_token(m, x, 0), "head");
    sv_onnx_value largest = sv_onnx_max(m, sv_onnx_linear(m, patches_of(m, tokens, x), "aux_head"), 1);
    return sv_onnx_binary(m, "Add", logits, sv_onnx_binary(m, "Mul", largest, sv_onnx_real(m->graph, 0.5)));
}

const sv_onnx_family sv_onnx_lvvit = { .name = "lvvit", .embed = lvvit_embed, .block_form = lvvit_block_form, .head = lvvit_head };
