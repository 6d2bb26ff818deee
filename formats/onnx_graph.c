/* A graph of ONNX that grows: values have names, nodes are serialised as they come. Numbers of fields are those of onnx.proto (onnx 1.12,
 * which opset 17 belongs to); repeated numbers are written unpacked, as its proto2 syntax asks. */
#include "formats/onnx_inside.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

size_t sv_onnx_type_bytes(int64_t type)
{
    switch (type) {
    case SV_ONNX_FLOAT:
        return 4;
    case SV_ONNX_INT64:
        return 8;
    case SV_ONNX_INT8:
    case SV_ONNX_BOOL:
        return 1;
    case SV_ONNX_FLOAT16:
    case SV_ONNX_BFLOAT16:
        return 2;
    default:
        return 0;
    }
}

/* ---- protobuf ---------------------------------------------------------------------------------------------------- */

enum { WIRE_INT = 0, WIRE_BYTES = 2, WIRE_4 = 5 };

static void add_varint(sv_text *message, uint64_t value)
{
    do {
        const unsigned char byte = (unsigned char)((value & 127) | (value > 127 ? 128 : 0));
        sv_text_add_bytes(message, &byte, 1);
        value >>= 7;
    } while (value);
}

void sv_proto_int(sv_text *message, uint32_t field, int64_t value)
{
    add_varint(message, field << 3 | WIRE_INT);
    add_varint(message, (uint64_t)value);
}

void sv_proto_float(sv_text *message, uint32_t field, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const unsigned char bytes[4] = { (unsigned char)bits, (unsigned char)(bits >> 8), (unsigned char)(bits >> 16),
                                     (unsigned char)(bits >> 24) };
    add_varint(message, field << 3 | WIRE_4);
    sv_text_add_bytes(message, bytes, sizeof bytes);
}

void sv_proto_head(sv_text *message, uint32_t field, uint64_t count)
{
    add_varint(message, field << 3 | WIRE_BYTES);
    add_varint(message, count);
}

void sv_proto_bytes(sv_text *message, uint32_t field, const void *bytes, size_t count)
{
    sv_proto_head(message, field, count);
    sv_text_add_bytes(message, bytes, count);
}

void sv_proto_string(sv_text *message, uint32_t field, const char *string) { sv_proto_bytes(message, field, string, strlen(string)); }

void sv_proto_message(sv_text *message, uint32_t field, sv_text *inner)
{
    sv_proto_bytes(message, field, inner->data, inner->length);
    message->failed = message->failed || inner->failed;
    sv_text_clear(inner);
}

/* ---- the graph --------------------------------------------------------------------------------------------------- */

sv_status sv_onnx_create(sv_onnx_graph **out, const char *name, sv_error *err)
{
    sv_onnx_graph *graph = NULL;
    sv_status status = sv_alloc_zero(&graph, sizeof *graph, "onnx", err);
    if (status) return status;
    status = sv_text_copy(&graph->name, name, err);
    if (status) {
        sv_onnx_destroy(graph);
        return status;
    }
    *out = graph;
    return SV_OK;
}

void sv_onnx_destroy(sv_onnx_graph *graph)
{
    if (!graph) return;
    for (size_t i = 0; i < graph->value_count; i++) sv_free(graph->values[i]);
    for (size_t i = 0; i < graph->stored_count; i++) sv_free(graph->stored[i].data);
    sv_free(graph->values);
    sv_free(graph->stored);
    sv_text_clear(&graph->nodes);
    sv_text_clear(&graph->inputs);
    sv_text_clear(&graph->outputs);
    sv_text_clear(&graph->metadata);
    sv_free(graph->name);
    sv_free(graph);
}

void sv_onnx_scope(sv_onnx_graph *graph, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(graph->scope, sizeof graph->scope, format, arguments);
    va_end(arguments);
}

/* A value of that name, its own copy. */
static sv_onnx_value add_value(sv_onnx_graph *graph, const char *name)
{
    char *copy = NULL;
    if (graph->failed) return 0;
    if (graph->value_count > INT32_MAX / 2) {
        graph->failed = sv_fail(&graph->error, SV_FAULT, "a graph of more than %zu values", graph->value_count);
        return 0;
    }
    graph->failed = sv_grow(&graph->values, &graph->value_capacity, graph->value_count + 1, sizeof *graph->values, "onnx", &graph->error);
    if (!graph->failed) graph->failed = sv_text_copy(&copy, name, &graph->error);
    if (graph->failed) return 0;
    graph->values[graph->value_count] = copy;
    return (sv_onnx_value)graph->value_count++;
}

static const char *name_of(const sv_onnx_graph *graph, sv_onnx_value value)
{
    return value >= 0 && (size_t)value < graph->value_count ? graph->values[value] : "";
}

/* ValueInfoProto: 1 name, 2 type; TypeProto: 1 tensor; its 1 element type, 2 shape; the shape's 1 dimension: 1 number or 2 word. */
static void add_value_info(sv_text *fields, uint32_t field, const char *name, sv_onnx_type type, size_t rank, const sv_onnx_dim *dims)
{
    sv_text info = { 0 }, kind = { 0 }, tensor = { 0 }, shape = { 0 };
    for (size_t i = 0; i < rank; i++) {
        sv_text dim = { 0 };
        if (dims[i].word)
            sv_proto_string(&dim, 2, dims[i].word);
        else
            sv_proto_int(&dim, 1, (int64_t)dims[i].size);
        sv_proto_message(&shape, 1, &dim);
    }
    sv_proto_int(&tensor, 1, type);
    sv_proto_message(&tensor, 2, &shape);
    sv_proto_message(&kind, 1, &tensor);
    sv_proto_string(&info, 1, name);
    sv_proto_message(&info, 2, &kind);
    sv_proto_message(fields, field, &info);
}

sv_onnx_value sv_onnx_input(sv_onnx_graph *graph, const char *name, sv_onnx_type type, size_t rank, const sv_onnx_dim *dims)
{
    add_value_info(&graph->inputs, 11, name, type, rank, dims);
    return add_value(graph, name);
}

static void add_attribute(sv_text *node, const sv_onnx_attribute *a)
{
    enum { TYPE_F = 1, TYPE_I = 2, TYPE_TENSOR = 4, TYPE_INTS = 7 };
    static const int types[] = { [SV_ONNX_I] = TYPE_I, [SV_ONNX_F] = TYPE_F, [SV_ONNX_INTS] = TYPE_INTS, [SV_ONNX_ONE] = TYPE_TENSOR };
    sv_text attribute = { 0 }, tensor = { 0 };
    sv_proto_string(&attribute, 1, a->name);
    if (a->kind == SV_ONNX_F) sv_proto_float(&attribute, 2, (float)a->f);
    if (a->kind == SV_ONNX_I) sv_proto_int(&attribute, 3, a->i);
    if (a->kind == SV_ONNX_ONE) { /* TensorProto: 1 dims, 2 type, 9 bytes */
        const float one = (float)a->f;
        sv_proto_int(&tensor, 1, 1);
        sv_proto_int(&tensor, 2, SV_ONNX_FLOAT);
        sv_proto_bytes(&tensor, 9, &one, sizeof one);
        sv_proto_message(&attribute, 5, &tensor);
    }
    for (size_t i = 0; a->kind == SV_ONNX_INTS && i < a->count; i++) sv_proto_int(&attribute, 8, a->ints[i]);
    sv_proto_int(&attribute, 20, types[a->kind]);
    sv_proto_message(node, 5, &attribute);
}

/* NodeProto: 1 inputs, 2 outputs, 3 name, 4 op, 5 attributes. */
static void add_node(sv_onnx_graph *graph, const sv_onnx_call *call, const sv_onnx_value *outputs, size_t output_count)
{
    sv_text node = { 0 };
    for (size_t i = 0; i < call->inputs; i++) sv_proto_string(&node, 1, name_of(graph, call->input[i]));
    for (size_t i = 0; i < output_count; i++) sv_proto_string(&node, 2, name_of(graph, outputs[i]));
    sv_proto_string(&node, 3, name_of(graph, outputs[0]));
    sv_proto_string(&node, 4, call->op);
    for (size_t i = 0; i < call->attributes; i++) add_attribute(&node, &call->attribute[i]);
    sv_proto_message(&graph->nodes, 1, &node);
}

sv_onnx_value sv_onnx_node(sv_onnx_graph *graph, const sv_onnx_call *call)
{
    sv_onnx_value outputs[SV_ONNX_MOST_OUTPUTS];
    size_t count = call->outputs ? call->outputs : 1;
    for (size_t i = 0; i < count; i++) {
        char name[192];
        snprintf(name, sizeof name, "%s%s%s_%zu", graph->scope, graph->scope[0] ? "/" : "", call->op, graph->value_count);
        outputs[i] = add_value(graph, name);
    }
    if (!graph->failed) add_node(graph, call, outputs, count);
    return outputs[0];
}

void sv_onnx_output(sv_onnx_graph *graph, sv_onnx_value value, const char *name, sv_onnx_type type, size_t rank, const sv_onnx_dim *dims)
{
    sv_onnx_value named = add_value(graph, name);
    if (!graph->failed) add_node(graph, &(sv_onnx_call){ .op = "Identity", .inputs = 1, .input = { value } }, &named, 1);
    add_value_info(&graph->outputs, 12, name, type, rank, dims);
}

/* ---- stored tensors ---------------------------------------------------------------------------------------------- */

static bool tensor_bytes(size_t *out, sv_onnx_type type, size_t rank, const size_t *dims)
{
    size_t bytes = sv_onnx_type_bytes(type);
    for (size_t i = 0; i < rank; i++)
        if (sv_mul_size(&bytes, bytes, dims[i])) return true;
    *out = bytes;
    return rank > SV_ONNX_RANK;
}

sv_onnx_value sv_onnx_initializer(sv_onnx_graph *graph, const char *name, sv_onnx_type type, size_t rank, const size_t *dims, void *data)
{
    sv_onnx_stored stored = { .type = type, .rank = rank, .data = data };
    if (!graph->failed && tensor_bytes(&stored.bytes, type, rank, dims))
        graph->failed = sv_fail(&graph->error, SV_FAULT, "%s is too large", name);
    if (!graph->failed)
        graph->failed =
            sv_grow(&graph->stored, &graph->stored_capacity, graph->stored_count + 1, sizeof *graph->stored, "onnx", &graph->error);
    stored.value = add_value(graph, name);
    if (graph->failed) {
        sv_free(data);
        return 0;
    }
    stored.name = graph->values[stored.value];
    memcpy(stored.dims, dims, rank * sizeof *dims);
    graph->stored[graph->stored_count++] = stored;
    return stored.value;
}

/* The tensor of that name, or a new one with these bytes. */
static sv_onnx_value small(sv_onnx_graph *graph, const char *name, sv_onnx_type type, size_t rank, size_t count, const void *bytes)
{
    void *data = NULL;
    for (size_t i = graph->stored_count; i > 0; i--)
        if (strcmp(graph->stored[i - 1].name, name) == 0) return graph->stored[i - 1].value;
    if (!graph->failed) graph->failed = sv_alloc(&data, count * sv_onnx_type_bytes(type), "onnx", &graph->error);
    if (graph->failed) return 0;
    memcpy(data, bytes, count * sv_onnx_type_bytes(type));
    return sv_onnx_initializer(graph, name, type, rank, &count, data);
}

sv_onnx_value sv_onnx_real(sv_onnx_graph *graph, double value)
{
    const float single = (float)value;
    char name[48];
    snprintf(name, sizeof name, "real_%.9g", (double)single);
    return small(graph, name, SV_ONNX_FLOAT, 0, 1, &single);
}

sv_onnx_value sv_onnx_ints(sv_onnx_graph *graph, size_t count, const int64_t *values)
{
    char name[SV_ONNX_RANK * 21 + 8] = "ints";
    for (size_t i = 0, at = 4; i < count && i < SV_ONNX_RANK; i++)
        at += (size_t)snprintf(name + at, sizeof name - at, "_%lld", (long long)values[i]);
    return small(graph, name, SV_ONNX_INT64, 1, count, values);
}

sv_onnx_value sv_onnx_int(sv_onnx_graph *graph, int64_t value)
{
    char name[32];
    snprintf(name, sizeof name, "int_%lld", (long long)value);
    return small(graph, name, SV_ONNX_INT64, 0, 1, &value);
}

/* StringStringEntryProto: 1 key, 2 value; field 14 of the model. */
void sv_onnx_metadata(sv_onnx_graph *graph, const char *key, const char *value)
{
    sv_text pair = { 0 };
    sv_proto_string(&pair, 1, key);
    sv_proto_string(&pair, 2, value);
    sv_proto_message(&graph->metadata, 14, &pair);
}
