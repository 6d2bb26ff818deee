/* ConvNeXt as a graph (layers/convnext.c). Norms and MLPs work on rows, channels last; convolutions on maps, so each block turns twice. */
#include "eval/onnx_inside.h"
#include "layers/stages.h"

#include <stdio.h>

static size_t side_of(const sv_model *model, size_t stage) { return (model->options.image / model->options.patch) >> stage; }

static sv_onnx_value next_embed(sv_onnx_mapping *m, sv_onnx_value picture)
{
    const sv_model_options *o = &m->d->model->options;
    sv_onnx_scope(m->graph, "embed");
    sv_onnx_value x = sv_onnx_conv(m, picture, "stem.0", &(sv_onnx_conv_form){ .side = o->patch, .stride = o->patch });
    return sv_onnx_norm(m, sv_onnx_rows_of_map(m, x, o->width), "stem.1", o->norm_eps);
}

static sv_onnx_value next_stage(sv_onnx_mapping *m, size_t stage, sv_onnx_value x)
{
    const sv_stages *stages = sv_stages_of(m->d->model);
    char norm[64], conv[64];
    snprintf(norm, sizeof norm, "stages.%zu.downsample.0", stage);
    snprintf(conv, sizeof conv, "stages.%zu.downsample.1", stage);
    sv_onnx_scope(m->graph, "stages.%zu.downsample", stage);
    x = sv_onnx_norm(m, x, norm, m->d->model->options.norm_eps);
    x = sv_onnx_map_of_rows(m, x, stages->width[stage - 1], side_of(m->d->model, stage - 1));
    x = sv_onnx_conv(m, x, conv, &(sv_onnx_conv_form){ .side = 2, .stride = 2 });
    return sv_onnx_rows_of_map(m, x, stages->width[stage]);
}

static sv_onnx_value next_enter(sv_onnx_mapping *m, size_t index, sv_onnx_value x, size_t packages)
{
    (void)packages; /* no form of pruning has any here */
    size_t inside = 0, stage = sv_stage_of(sv_stages_of(m->d->model), index, &inside);
    return stage && !inside ? next_stage(m, stage, x) : x;
}

/* Layer `layer` of block `index`, or what else is stored under that name. */
static void name_of(const sv_onnx_mapping *m, size_t index, const char *layer, char name[96])
{
    size_t inside = 0, stage = sv_stage_of(sv_stages_of(m->d->model), index, &inside);
    snprintf(name, 96, "stages.%zu.blocks.%zu.%s", stage, inside, layer);
}

static sv_onnx_value next_mix(sv_onnx_mapping *m, size_t index, sv_onnx_value x, sv_onnx_value *base)
{
    const sv_place at = sv_model_place(m->d->model, index);
    char conv[96];
    name_of(m, index, "conv_dw", conv);
    sv_onnx_scope(m->graph, "%s", conv);
    sv_onnx_value y = sv_onnx_map_of_rows(m, x, at.width, at.side);
    y = sv_onnx_conv(m, y, conv, &(sv_onnx_conv_form){ .side = 7, .stride = 1, .padding = 3, .groups = at.width });
    *base = x;
    return sv_onnx_rows_of_map(m, y, at.width);
}

static sv_onnx_value next_branch(sv_onnx_mapping *m, size_t index, sv_onnx_value y)
{
    char name[4][96];
    static const char *const names[] = { "norm", "mlp.fc1", "mlp.fc2", "gamma" };
    for (size_t i = 0; i < SV_COUNT(names); i++) name_of(m, index, names[i], name[i]);
    sv_onnx_scope(m->graph, "%s", name[1]);
    sv_onnx_value h = sv_onnx_norm(m, y, name[0], m->d->model->options.norm_eps);
    h = sv_onnx_linear(m, sv_onnx_gelu(m, sv_onnx_linear(m, h, name[1])), name[2]);
    return sv_onnx_binary(m, "Mul", h, sv_onnx_parameter(m, name[3], SV_ONNX_AS_IT_IS));
}

static sv_onnx_value next_block(sv_onnx_mapping *m, size_t index, sv_onnx_value x)
{
    sv_onnx_value base = 0, y = next_mix(m, index, x, &base);
    return sv_onnx_binary(m, "Add", base, next_branch(m, index, y));
}

static sv_onnx_value next_head(sv_onnx_mapping *m, const sv_onnx_tokens *tokens)
{
    sv_onnx_scope(m->graph, "head");
    sv_onnx_value x = sv_onnx_norm(m, sv_onnx_mean(m, tokens->x, 1, false), "head.norm", m->d->model->options.norm_eps);
    return sv_onnx_linear(m, x, "head.fc");
}

const sv_onnx_family sv_onnx_convnext = { .name = "convnext",
                                          .embed = next_embed,
                                          .enter = next_enter,
                                          .block = next_block,
                                          .mix = next_mix,
                                          .branch = next_branch,
                                          .head = next_head };
