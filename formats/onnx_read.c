/* An ONNX file, read by one who knows the format's numbers alone. Names become numbers by sorting, so that no choice of names makes it slow. Sparse
 * tensors, functions and quantization notes are not read. */
#include "formats/onnx_parse.h"

#include <stdlib.h>
#include <string.h>

enum { SPARE = 32 << 20 /* memory for small files */ };
static const uint64_t most_file = (uint64_t)1 << 31;

static sv_status mention_name(sv_onnx_reading *r, sv_onnx_span name, uint32_t *slot)
{
    *slot = UINT32_MAX;
    if (name.at == name.end) return SV_OK;
    if (r->mention_count == r->mention_capacity) return sv_onnx_damaged(r, "names are counted wrongly");
    r->mentions[r->mention_count++] = (sv_onnx_mention){ name, slot };
    return SV_OK;
}

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

static sv_status read_ints(sv_onnx_reading *r, sv_onnx_span s, sv_onnx_read_attribute *a)
{
    size_t loose = 0, at = 0;
    int64_t *ints = NULL;
    sv_status status = sv_onnx_count_field(r, s, 8, SV_WIRE_INT, &loose);
    if (!status && loose) status = sv_onnx_take(r, &ints, loose, sizeof *ints);
    while (!status && s.at != s.end) {
        sv_onnx_field f;
        if (!sv_onnx_next_field(&s, &f)) return sv_onnx_damaged(r, "an attribute is cut off");
        if (f.number == 8 && f.wire == SV_WIRE_INT) ints[at++] = (int64_t)f.value;
        if (f.number == 8 && f.wire != SV_WIRE_INT)
            return sv_onnx_damaged(r, "the numbers of an attribute are packed; expected them one by one");
    }
    a->ints = ints;
    a->int_count = loose;
    return status;
}

/* AttributeProto: 1 name, 2 float, 3 int, 5 tensor, 8 ints. */
static sv_status read_attribute(sv_onnx_reading *r, sv_onnx_span s, sv_onnx_read_attribute *a)
{
    sv_status status = read_ints(r, s, a);
    while (!status && s.at != s.end) {
        sv_onnx_field f;
        sv_onnx_span unnamed;
        if (!sv_onnx_next_field(&s, &f)) return sv_onnx_damaged(r, "an attribute is cut off");
        const uint32_t bits = (uint32_t)f.value;
        if (f.number == 1 && f.wire == SV_WIRE_BYTES && !a->name)
            status = sv_onnx_text_of(r, f.bytes, &a->name);
        else if (f.number == 2 && f.wire == SV_WIRE_4)
            memcpy(&a->f, &bits, sizeof bits), a->has_f = true;
        else if (f.number == 3 && f.wire == SV_WIRE_INT)
            a->i = (int64_t)f.value, a->has_i = true;
        else if (f.number == 5 && f.wire == SV_WIRE_BYTES && !a->has_tensor)
            status = sv_onnx_parse_tensor(r, f.bytes, &a->tensor, &unnamed), a->has_tensor = true;
    }
    return status || a->name ? status : sv_onnx_damaged(r, "an attribute has no name");
}

/* NodeProto: 1 inputs, 2 outputs, 4 op, 5 attributes, 7 domain. */
static sv_status read_node(sv_onnx_reading *r, sv_onnx_span s, sv_onnx_read_node *node)
{
    uint32_t *in = NULL, *out = NULL;
    sv_onnx_read_attribute *attributes = NULL;
    size_t next_in = 0, next_out = 0, next_attribute = 0;
    sv_status status = sv_onnx_count_field(r, s, 1, SV_WIRE_BYTES, &node->in_count);
    if (!status) status = sv_onnx_count_field(r, s, 2, SV_WIRE_BYTES, &node->out_count);
    if (!status) status = sv_onnx_count_field(r, s, 5, SV_WIRE_BYTES, &node->attribute_count);
    if (!status) status = sv_onnx_take(r, &in, node->in_count, sizeof *in);
    if (!status) status = sv_onnx_take(r, &out, node->out_count, sizeof *out);
    if (!status) status = sv_onnx_take(r, &attributes, node->attribute_count, sizeof *attributes);
    while (!status && s.at != s.end) {
        sv_onnx_field f;
        if (!sv_onnx_next_field(&s, &f)) return sv_onnx_damaged(r, "a node is cut off");
        if (f.wire != SV_WIRE_BYTES) continue;
        if (f.number == 1)
            status = mention_name(r, f.bytes, &in[next_in++]);
        else if (f.number == 2)
            status = mention_name(r, f.bytes, &out[next_out++]);
        else if (f.number == 4 && !node->op)
            status = sv_onnx_text_of(r, f.bytes, &node->op);
        else if (f.number == 5)
            status = read_attribute(r, f.bytes, &attributes[next_attribute++]);
        else if (f.number == 7 && f.bytes.at != f.bytes.end)
            status = sv_onnx_damaged(r, "a node is of a domain that is not ONNX's own");
    }
    node->in = in;
    node->out = out;
    node->attributes = attributes;
    return status || node->op ? status : sv_onnx_damaged(r, "a node has no op");
}

/* ---- inputs and outputs ------------------------------------------------------------------------------------------ */

/* Dimension: 1 number, else unknown. */
static sv_status read_shape(const sv_onnx_reading *r, sv_onnx_span s, sv_onnx_read_value *v)
{
    while (s.at != s.end) {
        sv_onnx_field f, inner;
        int64_t size = -1;
        if (!sv_onnx_next_field(&s, &f)) return sv_onnx_damaged(r, "a shape is cut off");
        if (f.number != 1 || f.wire != SV_WIRE_BYTES) continue;
        while (f.bytes.at != f.bytes.end) {
            if (!sv_onnx_next_field(&f.bytes, &inner)) return sv_onnx_damaged(r, "a dimension is cut off");
            if (inner.number == 1 && inner.wire == SV_WIRE_INT) size = (int64_t)inner.value;
        }
        if (v->rank == SV_ONNX_RANK || size < -1) return sv_onnx_damaged(r, "an input or output has more than 8 dimensions or one below 0");
        v->dims[v->rank++] = size;
    }
    return SV_OK;
}

/* The first message of that number in s; an empty one where there is none. */
static sv_status first_message(const sv_onnx_reading *r, sv_onnx_span s, uint32_t number, sv_onnx_span *out)
{
    *out = (sv_onnx_span){ s.end, s.end };
    while (s.at != s.end) {
        sv_onnx_field f;
        if (!sv_onnx_next_field(&s, &f)) return sv_onnx_damaged(r, "an input or output is cut off");
        if (f.number != number || f.wire != SV_WIRE_BYTES) continue;
        *out = f.bytes;
        return SV_OK;
    }
    return SV_OK;
}

static sv_status read_value(sv_onnx_reading *r, sv_onnx_span s, sv_onnx_read_value *v)
{
    sv_onnx_span name, kind, tensor = { 0 }, shape = { 0 };
    sv_status status = first_message(r, s, 1, &name);
    if (!status) status = first_message(r, s, 2, &kind);
    if (!status) status = first_message(r, kind, 1, &tensor);
    if (!status) status = first_message(r, tensor, 2, &shape);
    while (!status && tensor.at != tensor.end) {
        sv_onnx_field f;
        if (!sv_onnx_next_field(&tensor, &f)) return sv_onnx_damaged(r, "an input or output is cut off");
        if (f.number == 1 && f.wire == SV_WIRE_INT) v->type = (int64_t)f.value;
    }
    if (!status) status = read_shape(r, shape, v);
    return status ? status : mention_name(r, name, &v->value);
}

/* ---- the graph --------------------------------------------------------------------------------------------------- */

/* Names that nodes mention, so that their list is made once. */
static sv_status count_mentions(const sv_onnx_reading *r, sv_onnx_span s, size_t *out)
{
    *out = 0;
    while (s.at != s.end) {
        sv_onnx_field f;
        size_t in = 0, outs = 0;
        if (!sv_onnx_next_field(&s, &f)) return sv_onnx_damaged(r, "the graph is cut off");
        if (f.wire != SV_WIRE_BYTES) continue;
        if (f.number == 5 || f.number == 11 || f.number == 12) ++*out;
        if (f.number != 1) continue;
        sv_status status = sv_onnx_count_field(r, f.bytes, 1, SV_WIRE_BYTES, &in);
        if (!status) status = sv_onnx_count_field(r, f.bytes, 2, SV_WIRE_BYTES, &outs);
        if (status) return status;
        *out += in + outs;
    }
    return SV_OK;
}

static sv_status make_lists(sv_onnx_reading *r)
{
    sv_onnx_model *m = &r->model;
    sv_status status = count_mentions(r, r->graph, &r->mention_capacity);
    if (!status) status = sv_onnx_count_field(r, r->graph, 1, SV_WIRE_BYTES, &m->node_count);
    if (!status) status = sv_onnx_count_field(r, r->graph, 5, SV_WIRE_BYTES, &m->initializer_count);
    if (!status) status = sv_onnx_count_field(r, r->graph, 11, SV_WIRE_BYTES, &m->input_count);
    if (!status) status = sv_onnx_count_field(r, r->graph, 12, SV_WIRE_BYTES, &m->output_count);
    if (!status) status = sv_onnx_take(r, &r->mentions, r->mention_capacity, sizeof *r->mentions);
    if (!status) status = sv_onnx_take(r, &m->nodes, m->node_count, sizeof *m->nodes);
    if (!status) status = sv_onnx_take(r, &m->initializers, m->initializer_count, sizeof *m->initializers);
    if (!status) status = sv_onnx_take(r, &m->inputs, m->input_count, sizeof *m->inputs);
    return status ? status : sv_onnx_take(r, &m->outputs, m->output_count, sizeof *m->outputs);
}

/* GraphProto: 1 nodes, 5 tensors, 11 inputs, 12 outputs. */
static sv_status read_graph(sv_onnx_reading *r)
{
    sv_onnx_model *m = &r->model;
    size_t node = 0, stored = 0, input = 0, output = 0;
    sv_onnx_span s = r->graph, name = { 0 };
    sv_status status = make_lists(r);
    while (!status && s.at != s.end) {
        sv_onnx_field f;
        if (!sv_onnx_next_field(&s, &f)) return sv_onnx_damaged(r, "the graph is cut off");
        if (f.wire != SV_WIRE_BYTES) continue;
        if (f.number == 1)
            status = read_node(r, f.bytes, &m->nodes[node++]);
        else if (f.number == 11)
            status = read_value(r, f.bytes, &m->inputs[input++]);
        else if (f.number == 12)
            status = read_value(r, f.bytes, &m->outputs[output++]);
        else if (f.number == 15)
            status = sv_onnx_damaged(r, "it has sparse tensors, which are not read");
        else if (f.number == 5) {
            sv_onnx_read_tensor *t = &m->initializers[stored++];
            status = sv_onnx_parse_tensor(r, f.bytes, t, &name);
            if (!status) status = mention_name(r, name, &t->value);
        }
    }
    return status;
}

static int compare_spans(sv_onnx_span a, sv_onnx_span b)
{
    const size_t n = (size_t)(a.end - a.at), m = (size_t)(b.end - b.at);
    return n != m ? (n < m ? -1 : 1) : memcmp(a.at, b.at, n);
}

static int compare_mentions(const void *a, const void *b)
{
    return compare_spans(((const sv_onnx_mention *)a)->name, ((const sv_onnx_mention *)b)->name);
}

static sv_status number_names(sv_onnx_reading *r)
{
    size_t count = 0, at = 0;
    if (r->mention_count) qsort(r->mentions, r->mention_count, sizeof *r->mentions, compare_mentions);
    for (size_t i = 0; i < r->mention_count; i++) count += !i || compare_mentions(&r->mentions[i - 1], &r->mentions[i]) != 0;
    if (count >= UINT32_MAX) return sv_onnx_damaged(r, "it has too many names");
    sv_status status = sv_onnx_take(r, &r->model.names, count, sizeof *r->model.names);
    for (size_t i = 0; !status && i < r->mention_count; i++) {
        if (!i || compare_mentions(&r->mentions[i - 1], &r->mentions[i]) != 0)
            status = sv_onnx_text_of(r, r->mentions[i].name, &r->model.names[at++]);
        *r->mentions[i].slot = (uint32_t)(at - 1);
    }
    r->model.value_count = count;
    return status;
}

static sv_status make_value(const sv_onnx_reading *r, unsigned char *made, uint32_t value)
{
    char room[128];
    if (value == UINT32_MAX) return SV_OK;
    if (made[value])
        return sv_fail(r->err, SV_MODEL_FILE, "%s: '%s' is made twice; the file is damaged", r->path,
                       sv_text_safe(room, sizeof room, r->model.names[value]));
    made[value] = 1;
    return SV_OK;
}

static sv_status use_value(const sv_onnx_reading *r, const unsigned char *made, uint32_t value)
{
    char room[128];
    if (value == UINT32_MAX || made[value]) return SV_OK;
    return sv_fail(r->err, SV_MODEL_FILE, "%s: '%s' is used before anything makes it; the file is damaged", r->path,
                   sv_text_safe(room, sizeof room, r->model.names[value]));
}

/* Every value is made once, and before it is used. */
static sv_status check_order(sv_onnx_reading *r)
{
    const sv_onnx_model *m = &r->model;
    unsigned char *made = NULL;
    sv_status status = sv_onnx_take(r, &made, m->value_count, 1);
    for (size_t i = 0; !status && i < m->input_count; i++) status = make_value(r, made, m->inputs[i].value);
    for (size_t i = 0; !status && i < m->initializer_count; i++) status = make_value(r, made, m->initializers[i].value);
    for (size_t i = 0; !status && i < m->node_count; i++) {
        for (size_t k = 0; !status && k < m->nodes[i].in_count; k++) status = use_value(r, made, m->nodes[i].in[k]);
        for (size_t k = 0; !status && k < m->nodes[i].out_count; k++) status = make_value(r, made, m->nodes[i].out[k]);
    }
    for (size_t i = 0; !status && i < m->output_count; i++) {
        if (m->outputs[i].value == UINT32_MAX)
            status = sv_onnx_damaged(r, "an output has no name");
        else
            status = use_value(r, made, m->outputs[i].value);
    }
    return status;
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

static sv_status read_pair(sv_onnx_reading *r, sv_onnx_span s, const char **pair)
{
    sv_onnx_span key, value;
    sv_status status = first_message(r, s, 1, &key);
    if (!status) status = first_message(r, s, 2, &value);
    if (!status) status = sv_onnx_text_of(r, key, &pair[0]);
    return status ? status : sv_onnx_text_of(r, value, &pair[1]);
}

/* OperatorSetIdProto: 1 domain, 2 version. */
static sv_status read_opset(sv_onnx_reading *r, sv_onnx_span s)
{
    sv_onnx_span domain;
    int64_t version = 0;
    sv_status status = first_message(r, s, 1, &domain);
    while (!status && s.at != s.end) {
        sv_onnx_field f;
        if (!sv_onnx_next_field(&s, &f)) return sv_onnx_damaged(r, "an opset is cut off");
        if (f.number == 2 && f.wire == SV_WIRE_INT) version = (int64_t)f.value;
    }
    if (!status && domain.at == domain.end) r->model.opset = version;
    return status;
}

/* ModelProto: 1 IR version, 7 graph, 8 opsets, 14 metadata. */
static sv_status read_model(sv_onnx_reading *r, sv_onnx_span s)
{
    size_t pairs = 0, pair = 0, graphs = 0;
    sv_status status = sv_onnx_count_field(r, s, 14, SV_WIRE_BYTES, &pairs);
    if (!status) status = sv_onnx_count_field(r, s, 7, SV_WIRE_BYTES, &graphs);
    if (!status && graphs != 1) status = sv_onnx_damaged(r, "it does not hold one graph");
    if (!status) status = sv_onnx_take(r, &r->model.metadata, 2 * pairs, sizeof *r->model.metadata);
    r->model.metadata_count = pairs;
    while (!status && s.at != s.end) {
        sv_onnx_field f;
        if (!sv_onnx_next_field(&s, &f)) return sv_onnx_damaged(r, "it is cut off");
        if (f.number == 1 && f.wire == SV_WIRE_INT)
            r->model.ir = (int64_t)f.value;
        else if (f.wire != SV_WIRE_BYTES)
            continue;
        else if (f.number == 7)
            r->graph = f.bytes;
        else if (f.number == 8)
            status = read_opset(r, f.bytes);
        else if (f.number == 14)
            status = read_pair(r, f.bytes, &r->model.metadata[2 * pair++]);
    }
    if (!status && (r->model.ir < 3 || r->model.opset < 1)) status = sv_onnx_damaged(r, "it names no IR version or opset");
    if (!status) status = read_graph(r);
    if (!status) status = number_names(r);
    return status ? status : check_order(r);
}

sv_status sv_onnx_read(sv_onnx_model *out, const char *path, const char *data, sv_error *err)
{
    sv_onnx_reading r = { .path = path, .data = data, .err = err };
    size_t count = 0;
    sv_status status = sv_alloc_zero(&r.room, sizeof *r.room, "onnx", err);
    if (status) return status;
    r.model.room = r.room;
    status = sv_file_read_all(path, most_file, SV_MODEL_FILE, &r.room->bytes, &count, err);
    r.room->left = 2 * (uint64_t)count + SPARE;
    if (!status) status = read_model(&r, (sv_onnx_span){ r.room->bytes, r.room->bytes + count });
    if (r.room->has_data) sv_file_close(&r.room->data);
    r.room->has_data = false;
    if (status) {
        sv_onnx_clear(&r.model);
        return status;
    }
    *out = r.model;
    return SV_OK;
}

void sv_onnx_clear(sv_onnx_model *model)
{
    sv_onnx_room *room = model->room;
    for (size_t i = 0; room && i < room->count; i++) sv_free(room->pieces[i]);
    if (room) {
        sv_free(room->pieces);
        sv_free(room->bytes);
        sv_free(room);
    }
    *model = (sv_onnx_model){ 0 };
}

uint32_t sv_onnx_find(const sv_onnx_model *model, const char *name)
{
    const sv_onnx_span wanted = { (const unsigned char *)name, (const unsigned char *)name + strlen(name) };
    size_t low = 0, high = model->value_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const unsigned char *at = (const unsigned char *)model->names[middle];
        const int order = compare_spans(wanted, (sv_onnx_span){ at, at + strlen(model->names[middle]) });
        if (!order) return (uint32_t)middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return UINT32_MAX;
}

const sv_onnx_read_attribute *sv_onnx_attribute_of(const sv_onnx_read_node *node, const char *name)
{
    for (size_t i = 0; i < node->attribute_count; i++)
        if (strcmp(node->attributes[i].name, name) == 0) return &node->attributes[i];
    return NULL;
}
