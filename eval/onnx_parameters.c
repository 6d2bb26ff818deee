/* Parameters of a model as stored tensors of a graph, and the layers that read them. Matrices are stored turned, [in, out], as MatMul wants
 * them: no runtime has to turn them first. */
#include "eval/narrow.h"
#include "eval/onnx_inside.h"

#include <stdio.h>

/* One number of p as it is stored, at place `to` of data. */
static void put_number(void *data, size_t to, sv_onnx_type kind, sv_real value, float scale)
{
    if (kind == SV_ONNX_FLOAT)
        ((float *)data)[to] = (float)value;
    else if (kind == SV_ONNX_INT8)
        ((int8_t *)data)[to] = sv_int8_of(value, scale);
    else
        ((uint16_t *)data)[to] = sv_narrow_half(kind, (float)value);
}

/* The numbers of a parameter as they are stored; SV_ONNX_TURNED: columns become rows. scales [shape[0]]: of int8. */
static sv_status make_data(const sv_parameter *p, sv_onnx_type kind, sv_onnx_turn how, void **out, float **scales, sv_error *err)
{
    const size_t rows = p->shape[0], columns = p->count / rows;
    sv_status status = sv_alloc(out, p->count * sv_onnx_type_bytes(kind), "onnx", err);
    if (!status && kind == SV_ONNX_INT8) status = sv_alloc(scales, rows * sizeof **scales, "onnx", err);
    for (size_t r = 0; !status && r < rows; r++) {
        const sv_real *row = p->value + r * columns;
        const float scale = kind == SV_ONNX_INT8 ? ((*scales)[r] = sv_int8_scale(row, columns)) : 1;
        for (size_t c = 0; c < columns; c++) put_number(*out, how == SV_ONNX_TURNED ? c * rows + r : r * columns + c, kind, row[c], scale);
    }
    if (!status) return SV_OK;
    sv_free(*out);
    *out = NULL;
    return status;
}

/* What stands in the graph between a stored tensor and the layer that reads it. */
static sv_onnx_value widened(sv_onnx_mapping *m, const sv_parameter *p, sv_onnx_type kind, sv_onnx_turn how, sv_onnx_value value,
                             float *scales)
{
    if (kind == SV_ONNX_FLOAT) return value;
    if (kind != SV_ONNX_INT8)
        return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "Cast",
                                                       .inputs = 1,
                                                       .input = { value },
                                                       .attributes = 1,
                                                       .attribute = { { .name = "to", .kind = SV_ONNX_I, .i = SV_ONNX_FLOAT } } });
    char name[160];
    snprintf(name, sizeof name, "%s_scale", p->name);
    sv_onnx_value scale = sv_onnx_initializer(m->graph, name, SV_ONNX_FLOAT, 1, p->shape, scales);
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "DequantizeLinear",
                                                   .inputs = 2,
                                                   .input = { value, scale },
                                                   .attributes = 1,
                                                   .attribute = { { .name = "axis", .kind = SV_ONNX_I, .i = how == SV_ONNX_TURNED } } });
}

sv_onnx_value sv_onnx_parameter(sv_onnx_mapping *m, const char *name, sv_onnx_turn how)
{
    const sv_parameter *p = sv_parameters_find(m->d->model->parameters, name);
    const sv_onnx_type kind = p ? sv_narrow_of(m->options.weights, p) : SV_ONNX_FLOAT;
    void *data = NULL;
    float *scales = NULL;
    char stored[160];
    if (!p && !m->failed)
        m->failed =
            sv_fail(&m->error, SV_FAULT, "the model has no %s, which its graph needs; this is a mistake of Sieve, please report it", name);
    if (!m->failed) m->failed = make_data(p, kind, how, &data, &scales, &m->error);
    if (m->failed) return 0;
    snprintf(stored, sizeof stored, "%s%s", name, how == SV_ONNX_TURNED ? ".transposed" : "");
    const size_t turned[] = { p->shape[1], p->shape[0] };
    sv_onnx_value value = sv_onnx_initializer(m->graph, stored, kind, p->dims, how == SV_ONNX_TURNED ? turned : p->shape, data);
    return widened(m, p, kind, how, value, scales);
}

static sv_onnx_value named(sv_onnx_mapping *m, const char *prefix, const char *name, sv_onnx_turn how)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    return sv_onnx_parameter(m, full, how);
}

static bool has(const sv_onnx_mapping *m, const char *prefix, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    return sv_parameters_find(m->d->model->parameters, full) != NULL;
}

sv_onnx_value sv_onnx_linear(sv_onnx_mapping *m, sv_onnx_value x, const char *prefix)
{
    x = sv_onnx_binary(m, "MatMul", x, named(m, prefix, "weight", SV_ONNX_TURNED));
    if (!has(m, prefix, "bias")) return x;
    return sv_onnx_binary(m, "Add", x, named(m, prefix, "bias", SV_ONNX_AS_IT_IS));
}

sv_onnx_value sv_onnx_conv(sv_onnx_mapping *m, sv_onnx_value x, const char *prefix, const sv_onnx_conv_form *form)
{
    const int64_t side = (int64_t)form->side, stride = (int64_t)form->stride, pad = (int64_t)form->padding;
    sv_onnx_call call = { .op = "Conv",
                          .inputs = 2,
                          .attributes = 4,
                          .attribute = { { .name = "kernel_shape", .kind = SV_ONNX_INTS, .count = 2, .ints = { side, side } },
                                         { .name = "strides", .kind = SV_ONNX_INTS, .count = 2, .ints = { stride, stride } },
                                         { .name = "pads", .kind = SV_ONNX_INTS, .count = 4, .ints = { pad, pad, pad, pad } },
                                         { .name = "group", .kind = SV_ONNX_I, .i = form->groups ? (int64_t)form->groups : 1 } } };
    call.input[0] = x;
    call.input[1] = named(m, prefix, "weight", SV_ONNX_AS_IT_IS);
    if (has(m, prefix, "bias")) call.input[call.inputs++] = named(m, prefix, "bias", SV_ONNX_AS_IT_IS);
    return sv_onnx_node(m->graph, &call);
}

sv_onnx_value sv_onnx_batch_norm(sv_onnx_mapping *m, sv_onnx_value x, const char *prefix, double epsilon)
{
    static const char *const names[] = { "weight", "bias", "running_mean", "running_var" };
    sv_onnx_call call = { .op = "BatchNormalization",
                          .inputs = 1 + SV_COUNT(names),
                          .input = { x },
                          .attributes = 1,
                          .attribute = { { .name = "epsilon", .kind = SV_ONNX_F, .f = epsilon } } };
    for (size_t i = 0; i < SV_COUNT(names); i++) call.input[1 + i] = named(m, prefix, names[i], SV_ONNX_AS_IT_IS);
    return sv_onnx_node(m->graph, &call);
}

sv_onnx_value sv_onnx_norm(sv_onnx_mapping *m, sv_onnx_value x, const char *prefix, double epsilon)
{
    sv_onnx_value gain = named(m, prefix, "weight", SV_ONNX_AS_IT_IS), bias = named(m, prefix, "bias", SV_ONNX_AS_IT_IS);
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "LayerNormalization",
                                                   .inputs = 3,
                                                   .input = { x, gain, bias },
                                                   .attributes = 2,
                                                   .attribute = { { .name = "axis", .kind = SV_ONNX_I, .i = -1 },
                                                                  { .name = "epsilon", .kind = SV_ONNX_F, .f = epsilon } } });
}
