/* PiT as a graph (layers/pit.c): an overlapping stem, positions as a map, and a pooling between stages: a depthwise convolution for the patches, a
 * linear layer for the class tokens. */
#include "eval/onnx_inside.h"
#include "layers/stages.h"

#include <stdio.h>

/* Places a side: floor((image - patch) / stride) + 1, then halved, rounded up, at each pooling. */
static size_t side_of(const sv_model *model, size_t stage)
{
    const sv_model_options *o = &model->options;
    size_t side = (o->image - o->patch) / sv_stages_of(model)->stride + 1;
    while (stage--) side = (side - 1) / 2 + 1;
    return side;
}

static sv_onnx_value pit_embed(sv_onnx_mapping *m, sv_onnx_value picture)
{
    const sv_model *model = m->d->model;
    const sv_model_options *o = &model->options;
    sv_onnx_scope(m->graph, "embed");
    sv_onnx_value x =
        sv_onnx_conv(m, picture, "patch_embed.conv", &(sv_onnx_conv_form){ .side = o->patch, .stride = sv_stages_of(model)->stride });
    x = sv_onnx_binary(m, "Add", x, sv_onnx_parameter(m, "pos_embed", SV_ONNX_AS_IT_IS));
    x = sv_onnx_rows_of_map(m, x, o->width);
    sv_onnx_value tokens = sv_onnx_parameter(m, "cls_token", SV_ONNX_AS_IT_IS);
    sv_onnx_value parts[] = { sv_onnx_repeated(m, tokens, sv_model_prefix(model), o->width, x), x };
    return sv_onnx_concat(m, 1, 2, parts);
}

/* A package token behind the grid goes the way of the class tokens. */
static sv_onnx_value pooled(sv_onnx_mapping *m, size_t stage, sv_onnx_value x, size_t packages)
{
    const sv_stages *stages = sv_stages_of(m->d->model);
    const size_t from = stages->width[stage - 1], to = stages->width[stage], side = side_of(m->d->model, stage - 1);
    const int64_t prefix = (int64_t)sv_model_prefix(m->d->model), behind = packages ? prefix + (int64_t)(side * side) : INT64_MAX;
    char conv[64], fc[64];
    snprintf(conv, sizeof conv, "transformers.%zu.pool.conv", stage);
    snprintf(fc, sizeof fc, "transformers.%zu.pool.fc", stage);
    sv_onnx_scope(m->graph, "transformers.%zu.pool", stage);
    sv_onnx_value grid = sv_onnx_map_of_rows(m, sv_onnx_slice(m, x, 1, prefix, behind), from, side);
    grid = sv_onnx_conv(m, grid, conv, &(sv_onnx_conv_form){ .side = 3, .stride = 2, .padding = 1, .groups = from });
    sv_onnx_value tokens[] = { sv_onnx_slice(m, x, 1, 0, prefix), packages ? sv_onnx_slice(m, x, 1, behind, INT64_MAX) : 0 };
    sv_onnx_value turned = sv_onnx_linear(m, packages ? sv_onnx_concat(m, 1, 2, tokens) : tokens[0], fc),
                  rows = sv_onnx_rows_of_map(m, grid, to);
    if (!packages) return sv_onnx_concat(m, 1, 2, (sv_onnx_value[]){ turned, rows });
    sv_onnx_value parts[] = { sv_onnx_slice(m, turned, 1, 0, prefix), rows, sv_onnx_slice(m, turned, 1, prefix, INT64_MAX) };
    return sv_onnx_concat(m, 1, 3, parts);
}

static sv_onnx_value pit_enter(sv_onnx_mapping *m, size_t index, sv_onnx_value x, size_t packages)
{
    size_t inside = 0, stage = sv_stage_of(sv_stages_of(m->d->model), index, &inside);
    return stage && !inside ? pooled(m, stage, x, packages) : x;
}

static void pit_block_form(const sv_onnx_mapping *m, size_t index, sv_onnx_block_form *form)
{
    const sv_stages *stages = sv_stages_of(m->d->model);
    size_t inside = 0, stage = sv_stage_of(stages, index, &inside);
    *form = (sv_onnx_block_form){ .width = stages->width[stage], .heads = stages->heads[stage], .epsilon = m->d->model->options.norm_eps };
    snprintf(form->prefix, sizeof form->prefix, "transformers.%zu.blocks.%zu", stage, inside);
}

/* Attention is over all rows there are, so places do not matter. */
static sv_onnx_value pit_among(sv_onnx_mapping *m, size_t index, const sv_onnx_living *living)
{
    return sv_onnx_block(m, index, living->x);
}

const sv_onnx_family sv_onnx_pit = {
    .name = "pit", .embed = pit_embed, .enter = pit_enter, .block_form = pit_block_form, .among = pit_among, .head = sv_onnx_prefix_head
};
