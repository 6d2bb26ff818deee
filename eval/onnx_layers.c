/* Words of a graph (slices, sums, linear layers, GELU) and the backbone in these words. Matrices are stored turned, [in, out], as MatMul
 * wants them: no runtime has to turn them first. GELU stands as x/2 (1 + erf(x/sqrt 2)), the form that runtimes know and fuse. */
#include "eval/onnx_inside.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- words ------------------------------------------------------------------------------------------------------- */

sv_onnx_value sv_onnx_unary(sv_onnx_mapping *m, const char *op, sv_onnx_value x)
{
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = op, .inputs = 1, .input = { x } });
}

sv_onnx_value sv_onnx_binary(sv_onnx_mapping *m, const char *op, sv_onnx_value a, sv_onnx_value b)
{
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = op, .inputs = 2, .input = { a, b } });
}

sv_onnx_value sv_onnx_reshape(sv_onnx_mapping *m, sv_onnx_value x, size_t rank, const int64_t *dims)
{
    return sv_onnx_binary(m, "Reshape", x, sv_onnx_ints(m->graph, rank, dims));
}

sv_onnx_value sv_onnx_concat(sv_onnx_mapping *m, size_t axis, size_t count, const sv_onnx_value *parts)
{
    sv_onnx_call call = {
        .op = "Concat", .inputs = count, .attributes = 1, .attribute = { { .name = "axis", .kind = SV_ONNX_I, .i = (int64_t)axis } }
    };
    memcpy(call.input, parts, count * sizeof *parts);
    return sv_onnx_node(m->graph, &call);
}

sv_onnx_value sv_onnx_slice_at(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis, sv_onnx_value begin, sv_onnx_value end)
{
    return sv_onnx_node(m->graph,
                        &(sv_onnx_call){ .op = "Slice", .inputs = 4, .input = { x, begin, end, sv_onnx_ints(m->graph, 1, &axis) } });
}

sv_onnx_value sv_onnx_slice(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis, int64_t begin, int64_t end)
{
    return sv_onnx_slice_at(m, x, axis, sv_onnx_ints(m->graph, 1, &begin), sv_onnx_ints(m->graph, 1, &end));
}

sv_onnx_value sv_onnx_split(sv_onnx_mapping *m, sv_onnx_value x, size_t parts)
{
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "Split",
                                                   .inputs = 1,
                                                   .input = { x },
                                                   .outputs = parts,
                                                   .attributes = 1,
                                                   .attribute = { { .name = "axis", .kind = SV_ONNX_I, .i = -1 } } });
}

sv_onnx_value sv_onnx_squeeze(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis)
{
    return sv_onnx_binary(m, "Squeeze", x, sv_onnx_ints(m->graph, 1, &axis));
}
sv_onnx_value sv_onnx_unsqueeze(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis)
{
    return sv_onnx_binary(m, "Unsqueeze", x, sv_onnx_ints(m->graph, 1, &axis));
}

/* Up to opset 17 ReduceMean has its axes as an attribute, ReduceSum as an input. */
sv_onnx_value sv_onnx_mean(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis, bool keep)
{
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "ReduceMean",
                                                   .inputs = 1,
                                                   .input = { x },
                                                   .attributes = 2,
                                                   .attribute = { { .name = "axes", .kind = SV_ONNX_INTS, .count = 1, .ints = { axis } },
                                                                  { .name = "keepdims", .kind = SV_ONNX_I, .i = keep } } });
}

sv_onnx_value sv_onnx_sum(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis, bool keep)
{
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "ReduceSum",
                                                   .inputs = 2,
                                                   .input = { x, sv_onnx_ints(m->graph, 1, &axis) },
                                                   .attributes = 1,
                                                   .attribute = { { .name = "keepdims", .kind = SV_ONNX_I, .i = keep } } });
}

sv_onnx_value sv_onnx_gelu(sv_onnx_mapping *m, sv_onnx_value x)
{
    sv_onnx_value bend = sv_onnx_unary(m, "Erf", sv_onnx_binary(m, "Div", x, sv_onnx_real(m->graph, sqrt(2))));
    x = sv_onnx_binary(m, "Mul", x, sv_onnx_binary(m, "Add", bend, sv_onnx_real(m->graph, 1)));
    return sv_onnx_binary(m, "Mul", x, sv_onnx_real(m->graph, 0.5));
}

/* ---- parameters -------------------------------------------------------------------------------------------------- */

typedef enum turn { AS_IT_IS, TURNED } turn;

/* The numbers of a parameter as they are stored; TURNED: columns become rows. */
static sv_status make_data(const sv_onnx_mapping *m, const sv_parameter *p, turn how, void **out, sv_error *err)
{
    const bool half = sv_onnx_is_half(&m->options, p);
    const size_t rows = how == TURNED ? p->shape[0] : 1, columns = p->count / rows;
    void *data = NULL;
    sv_status status = sv_alloc(&data, p->count * (half ? sizeof(uint16_t) : sizeof(float)), "onnx", err);
    if (status) return status;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            const float value = (float)p->value[r * columns + c];
            if (half)
                ((uint16_t *)data)[c * rows + r] = sv_onnx_to_half(m->options.weights, value);
            else
                ((float *)data)[c * rows + r] = value;
        }
    *out = data;
    return SV_OK;
}

/* A parameter by its name, as float32, with a Cast where it is stored in 16 bits. */
static sv_onnx_value parameter(sv_onnx_mapping *m, const char *name, turn how)
{
    const sv_parameter *p = sv_parameters_find(m->d->model->parameters, name);
    void *data = NULL;
    char stored[160];
    if (!p && !m->failed)
        m->failed = sv_fail(&m->error, SV_USAGE, "the model has no %s: export to ONNX knows plain vision transformers (ViT, DeiT)", name);
    if (!m->failed) m->failed = make_data(m, p, how, &data, &m->error);
    if (m->failed) return 0;
    snprintf(stored, sizeof stored, "%s%s", name, how == TURNED ? ".transposed" : "");
    const bool half = sv_onnx_is_half(&m->options, p);
    const size_t turned[] = { p->shape[1], p->shape[0] };
    sv_onnx_value value =
        sv_onnx_initializer(m->graph, stored, half ? m->options.weights : SV_ONNX_FLOAT, p->dims, how == TURNED ? turned : p->shape, data);
    if (!half) return value;
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "Cast",
                                                   .inputs = 1,
                                                   .input = { value },
                                                   .attributes = 1,
                                                   .attribute = { { .name = "to", .kind = SV_ONNX_I, .i = SV_ONNX_FLOAT } } });
}

static sv_onnx_value named(sv_onnx_mapping *m, const char *prefix, const char *name, turn how)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    return parameter(m, full, how);
}

sv_onnx_value sv_onnx_linear(sv_onnx_mapping *m, sv_onnx_value x, const char *prefix)
{
    x = sv_onnx_binary(m, "MatMul", x, named(m, prefix, "weight", TURNED));
    return sv_onnx_binary(m, "Add", x, named(m, prefix, "bias", AS_IT_IS));
}

sv_onnx_value sv_onnx_norm(sv_onnx_mapping *m, sv_onnx_value x, const char *prefix, double epsilon)
{
    sv_onnx_value gain = named(m, prefix, "weight", AS_IT_IS), bias = named(m, prefix, "bias", AS_IT_IS);
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "LayerNormalization",
                                                   .inputs = 3,
                                                   .input = { x, gain, bias },
                                                   .attributes = 2,
                                                   .attribute = { { .name = "axis", .kind = SV_ONNX_I, .i = -1 },
                                                                  { .name = "epsilon", .kind = SV_ONNX_F, .f = epsilon } } });
}

/* ---- the backbone ------------------------------------------------------------------------------------------------ */

static sv_onnx_value transpose(sv_onnx_mapping *m, sv_onnx_value x, size_t rank, const int64_t *order)
{
    sv_onnx_call call = { .op = "Transpose",
                          .inputs = 1,
                          .input = { x },
                          .attributes = 1,
                          .attribute = { { .name = "perm", .kind = SV_ONNX_INTS, .count = rank } } };
    memcpy(call.attribute[0].ints, order, rank * sizeof *order);
    return sv_onnx_node(m->graph, &call);
}

/* A token for each picture: [batch,1,width]. */
static sv_onnx_value repeated(sv_onnx_mapping *m, sv_onnx_value token, sv_onnx_value batch)
{
    sv_onnx_value parts[] = { batch, sv_onnx_ints(m->graph, 2, (int64_t[]){ 1, (int64_t)m->d->model->options.width }) };
    return sv_onnx_binary(m, "Expand", token, sv_onnx_concat(m, 0, 2, parts));
}

sv_onnx_value sv_onnx_embed(sv_onnx_mapping *m, sv_onnx_value picture)
{
    const sv_model_options *o = &m->d->model->options;
    const int64_t patch = (int64_t)o->patch;
    sv_onnx_scope(m->graph, "embed");
    sv_onnx_value weight = parameter(m, "patch_embed.proj.weight", AS_IT_IS), bias = parameter(m, "patch_embed.proj.bias", AS_IT_IS);
    sv_onnx_value x = sv_onnx_node(
        m->graph, &(sv_onnx_call){ .op = "Conv",
                                   .inputs = 3,
                                   .input = { picture, weight, bias },
                                   .attributes = 2,
                                   .attribute = { { .name = "kernel_shape", .kind = SV_ONNX_INTS, .count = 2, .ints = { patch, patch } },
                                                  { .name = "strides", .kind = SV_ONNX_INTS, .count = 2, .ints = { patch, patch } } } });
    x = sv_onnx_reshape(m, x, 3, (int64_t[]){ 0, (int64_t)o->width, (int64_t)sv_model_patches(m->d->model) });
    x = transpose(m, x, 3, (int64_t[]){ 0, 2, 1 });
    sv_onnx_value batch = sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "Shape",
                                                                  .inputs = 1,
                                                                  .input = { x },
                                                                  .attributes = 2,
                                                                  .attribute = { { .name = "start", .kind = SV_ONNX_I, .i = 0 },
                                                                                 { .name = "end", .kind = SV_ONNX_I, .i = 1 } } });
    sv_onnx_value parts[3] = { repeated(m, parameter(m, "cls_token", AS_IT_IS), batch) };
    size_t count = 1;
    if (o->distilled) parts[count++] = repeated(m, parameter(m, "dist_token", AS_IT_IS), batch);
    parts[count++] = x;
    return sv_onnx_binary(m, "Add", sv_onnx_concat(m, 1, count, parts), parameter(m, "pos_embed", AS_IT_IS));
}

/* [batch,T,width] -> [batch,heads,T,d], or with `order` 0,2,3,1 keys ready for the product. */
static sv_onnx_value heads_of(sv_onnx_mapping *m, sv_onnx_value x, const int64_t *order)
{
    const int64_t heads = (int64_t)m->d->model->options.heads;
    return transpose(m, sv_onnx_reshape(m, x, 4, (int64_t[]){ 0, 0, heads, (int64_t)m->d->model->options.width / heads }), 4, order);
}

static sv_onnx_value attention(sv_onnx_mapping *m, sv_onnx_value qkv)
{
    static const int64_t rows[] = { 0, 2, 1, 3 }, columns[] = { 0, 2, 3, 1 };
    const sv_model_options *o = &m->d->model->options;
    sv_onnx_value q = sv_onnx_split(m, qkv, 3), k = q + 1, v = q + 2;
    sv_onnx_value score = sv_onnx_binary(m, "MatMul", heads_of(m, q, rows), heads_of(m, k, columns));
    score = sv_onnx_binary(m, "Mul", score, sv_onnx_real(m->graph, 1 / sqrt((double)(o->width / o->heads))));
    sv_onnx_value share = sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "Softmax",
                                                                  .inputs = 1,
                                                                  .input = { score },
                                                                  .attributes = 1,
                                                                  .attribute = { { .name = "axis", .kind = SV_ONNX_I, .i = -1 } } });
    sv_onnx_value mixed = transpose(m, sv_onnx_binary(m, "MatMul", share, heads_of(m, v, rows)), 4, rows);
    return sv_onnx_reshape(m, mixed, 3, (int64_t[]){ 0, 0, (int64_t)o->width });
}

sv_onnx_value sv_onnx_block(sv_onnx_mapping *m, size_t index, sv_onnx_value x)
{
    const double epsilon = m->d->model->options.norm_eps;
    char prefix[6][64];
    static const char *const names[] = { "norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2" };
    for (size_t i = 0; i < SV_COUNT(names); i++) snprintf(prefix[i], sizeof prefix[i], "blocks.%zu.%s", index, names[i]);
    sv_onnx_scope(m->graph, "blocks.%zu.attn", index);
    sv_onnx_value h = sv_onnx_linear(m, sv_onnx_norm(m, x, prefix[0], epsilon), prefix[1]);
    x = sv_onnx_binary(m, "Add", x, sv_onnx_linear(m, attention(m, h), prefix[2]));
    sv_onnx_scope(m->graph, "blocks.%zu.mlp", index);
    h = sv_onnx_gelu(m, sv_onnx_linear(m, sv_onnx_norm(m, x, prefix[3], epsilon), prefix[4]));
    return sv_onnx_binary(m, "Add", x, sv_onnx_linear(m, h, prefix[5]));
}

static sv_onnx_value token(sv_onnx_mapping *m, sv_onnx_value x, int64_t index)
{
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "Gather",
                                                   .inputs = 2,
                                                   .input = { x, sv_onnx_int(m->graph, index) },
                                                   .attributes = 1,
                                                   .attribute = { { .name = "axis", .kind = SV_ONNX_I, .i = 1 } } });
}

sv_onnx_value sv_onnx_head(sv_onnx_mapping *m, sv_onnx_value x)
{
    const sv_model *model = m->d->model;
    sv_onnx_scope(m->graph, "head");
    x = sv_onnx_norm(m, sv_onnx_slice(m, x, 1, 0, (int64_t)sv_model_prefix(model)), "norm", model->options.norm_eps);
    sv_onnx_value logits = sv_onnx_linear(m, token(m, x, 0), "head");
    if (!model->options.distilled) return logits;
    sv_onnx_value other = sv_onnx_linear(m, token(m, x, 1), "head_dist");
    return sv_onnx_binary(m, "Mul", sv_onnx_binary(m, "Add", logits, other), sv_onnx_real(m->graph, 0.5));
}
