/* Words of a graph: slices, sums, GELU as x/2 (1 + erf(x/sqrt 2)), the form that runtimes know and fuse; pictures of places as rows and back. */
#include "eval/onnx_inside.h"

#include <math.h>
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

sv_onnx_value sv_onnx_transpose(sv_onnx_mapping *m, sv_onnx_value x, size_t rank, const int64_t *order)
{
    sv_onnx_call call = { .op = "Transpose",
                          .inputs = 1,
                          .input = { x },
                          .attributes = 1,
                          .attribute = { { .name = "perm", .kind = SV_ONNX_INTS, .count = rank } } };
    memcpy(call.attribute[0].ints, order, rank * sizeof *order);
    return sv_onnx_node(m->graph, &call);
}

sv_onnx_value sv_onnx_max(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis)
{
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "ReduceMax",
                                                   .inputs = 1,
                                                   .input = { x },
                                                   .attributes = 2,
                                                   .attribute = { { .name = "axes", .kind = SV_ONNX_INTS, .count = 1, .ints = { axis } },
                                                                  { .name = "keepdims", .kind = SV_ONNX_I, .i = 0 } } });
}

sv_onnx_value sv_onnx_token(sv_onnx_mapping *m, sv_onnx_value x, int64_t index)
{
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "Gather",
                                                   .inputs = 2,
                                                   .input = { x, sv_onnx_int(m->graph, index) },
                                                   .attributes = 1,
                                                   .attribute = { { .name = "axis", .kind = SV_ONNX_I, .i = 1 } } });
}

sv_onnx_value sv_onnx_repeated(sv_onnx_mapping *m, sv_onnx_value tokens, size_t count, size_t width, sv_onnx_value like)
{
    sv_onnx_value batch = sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "Shape",
                                                                  .inputs = 1,
                                                                  .input = { like },
                                                                  .attributes = 2,
                                                                  .attribute = { { .name = "start", .kind = SV_ONNX_I, .i = 0 },
                                                                                 { .name = "end", .kind = SV_ONNX_I, .i = 1 } } });
    sv_onnx_value parts[] = { batch, sv_onnx_ints(m->graph, 2, (int64_t[]){ (int64_t)count, (int64_t)width }) };
    return sv_onnx_binary(m, "Expand", tokens, sv_onnx_concat(m, 0, 2, parts));
}

/* ---- places as rows ------------------------------------------------------------------------------------------------ */

sv_onnx_value sv_onnx_rows_of_map(sv_onnx_mapping *m, sv_onnx_value x, size_t width)
{
    x = sv_onnx_reshape(m, x, 3, (int64_t[]){ 0, (int64_t)width, -1 });
    return sv_onnx_transpose(m, x, 3, (int64_t[]){ 0, 2, 1 });
}

sv_onnx_value sv_onnx_map_of_rows(sv_onnx_mapping *m, sv_onnx_value x, size_t width, size_t side)
{
    x = sv_onnx_transpose(m, x, 3, (int64_t[]){ 0, 2, 1 });
    return sv_onnx_reshape(m, x, 4, (int64_t[]){ 0, (int64_t)width, (int64_t)side, (int64_t)side });
}
