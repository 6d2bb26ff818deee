/* Lists of rows in a graph, one a picture: who is best, who is left over, rows by their numbers. Lists are int64 [B,k]; TopK names the lower index first
 * among equals, in the standard as in Sieve. */
#include "eval/onnx_inside.h"

sv_onnx_value sv_onnx_shape(sv_onnx_mapping *m, sv_onnx_value x) { return sv_onnx_unary(m, "Shape", x); }

sv_onnx_value sv_onnx_filled(sv_onnx_mapping *m, sv_onnx_value like, double value)
{
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "ConstantOfShape",
                                                   .inputs = 1,
                                                   .input = { sv_onnx_shape(m, like) },
                                                   .attributes = 1,
                                                   .attribute = { { .name = "value", .kind = SV_ONNX_ONE, .f = value } } });
}

sv_onnx_value sv_onnx_top_k(sv_onnx_mapping *m, sv_onnx_value x, sv_onnx_value count, bool largest)
{
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "TopK",
                                                   .inputs = 2,
                                                   .input = { x, count },
                                                   .outputs = 2,
                                                   .attributes = 3,
                                                   .attribute = { { .name = "axis", .kind = SV_ONNX_I, .i = -1 },
                                                                  { .name = "largest", .kind = SV_ONNX_I, .i = largest },
                                                                  { .name = "sorted", .kind = SV_ONNX_I, .i = 1 } } });
}

sv_onnx_value sv_onnx_best(sv_onnx_mapping *m, sv_onnx_value a, size_t k)
{
    const int64_t count = (int64_t)k;
    sv_onnx_value number = sv_onnx_ints(m->graph, 1, &count);
    return sv_onnx_top_k(m, sv_onnx_top_k(m, a, number, true) + 1, number, false);
}

sv_onnx_value sv_onnx_others(sv_onnx_mapping *m, sv_onnx_value left_out, size_t count)
{
    const int64_t number = (int64_t)count;
    return sv_onnx_top_k(m, left_out, sv_onnx_ints(m->graph, 1, &number), true) + 1;
}

sv_onnx_value sv_onnx_inverse(sv_onnx_mapping *m, sv_onnx_value list, size_t count)
{
    const int64_t number = (int64_t)count;
    return sv_onnx_top_k(m, list, sv_onnx_ints(m->graph, 1, &number), false) + 1;
}

sv_onnx_value sv_onnx_put(sv_onnx_mapping *m, sv_onnx_value base, sv_onnx_value list, double value)
{
    sv_onnx_value numbers = sv_onnx_filled(m, list, value);
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "ScatterElements",
                                                   .inputs = 3,
                                                   .input = { base, list, numbers },
                                                   .attributes = 1,
                                                   .attribute = { { .name = "axis", .kind = SV_ONNX_I, .i = 1 } } });
}

sv_onnx_value sv_onnx_gather(sv_onnx_mapping *m, const char *op, const char *attribute, sv_onnx_value x, sv_onnx_value index, int64_t value)
{
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = op,
                                                   .inputs = 2,
                                                   .input = { x, index },
                                                   .attributes = 1,
                                                   .attribute = { { .name = attribute, .kind = SV_ONNX_I, .i = value } } });
}

sv_onnx_value sv_onnx_rows_at(sv_onnx_mapping *m, sv_onnx_value x, sv_onnx_value list)
{
    return sv_onnx_gather(m, "GatherND", "batch_dims", x, sv_onnx_unsqueeze(m, list, 2), 1);
}

sv_onnx_value sv_onnx_numbers_at(sv_onnx_mapping *m, sv_onnx_value x, sv_onnx_value list)
{
    return sv_onnx_gather(m, "GatherElements", "axis", x, list, 1);
}
