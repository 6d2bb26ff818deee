/* An ONNX file, read by one who knows the format's numbers alone: a bounded walk over protobuf fields, in which every length is held against
 * the message it stands in, and a budget of memory from which every array is taken before it is made. Names become numbers by sorting, so that
 * no choice of names makes it slow. Typed number lists (float_data ...), sparse tensors, functions and quantization notes are not read. */
#include "formats/onnx.h"
#include "formats/weights_inside.h"

#include <stdlib.h>
#include <string.h>

enum { SPARE = 32 << 20 /* for small files */, PIECE = 1 << 16 };
static const uint64_t most_file = (uint64_t)1 << 31;

/* What one file may cost, and all that was allocated for it. */
typedef struct sv_onnx_room {
    void **pieces;
    size_t count, capacity;
    unsigned char *piece; /* where the last small piece goes on */
    size_t piece_left;
    uint64_t left;
    unsigned char *bytes; /* the file */
    sv_file data;         /* open while external tensors are read */
    bool has_data;
} sv_onnx_room;

typedef struct span {
    const unsigned char *at, *end;
} span;

/* A place where a name stands, and where its number goes. */
typedef struct mention {
    span name;
    uint32_t *slot;
} mention;

typedef struct reading {
    sv_onnx_model model;
    sv_onnx_room *room;
    const char *path, *data;
    span graph;
    mention *mentions;
    size_t mention_count, mention_capacity;
    sv_error *err;
} reading;

static sv_status damaged(const reading *r, const char *what)
{
    return sv_fail(r->err, SV_MODEL_FILE, "%s: %s; the file is damaged or no ONNX model", r->path, what);
}

static sv_status add_piece(reading *r, size_t bytes, unsigned char **out)
{
    sv_onnx_room *room = r->room;
    sv_status status = sv_grow(&room->pieces, &room->capacity, room->count + 1, sizeof *room->pieces, "onnx", r->err);
    if (!status) status = sv_alloc_zero(out, bytes, "onnx", r->err);
    if (!status) room->pieces[room->count++] = *out;
    return status;
}

/* Zeroed memory that lives as long as the model; small ones are cut from larger pieces, since a file may ask for many. */
static sv_status take(reading *r, void *pointer, size_t count, size_t each)
{
    sv_onnx_room *room = r->room;
    unsigned char *piece = NULL;
    sv_status status = SV_OK;
    size_t bytes = 0;
    if (sv_mul_size(&bytes, count, each) || sv_align_up(&bytes, bytes, 16) || bytes > room->left)
        return sv_fail(r->err, SV_MODEL_FILE, "%s: what it lists would take more memory than 4 times the file; the file is damaged",
                       r->path);
    room->left -= bytes;
    if (bytes > PIECE / 4) {
        status = add_piece(r, bytes, &piece);
    } else {
        if (bytes > room->piece_left) status = add_piece(r, PIECE, &room->piece), room->piece_left = status ? 0 : PIECE;
        piece = room->piece;
        if (!status) room->piece += bytes, room->piece_left -= bytes;
    }
    if (!status) *(void **)pointer = piece;
    return status;
}

/* ---- fields ------------------------------------------------------------------------------------------------------ */

typedef struct field {
    uint32_t number, wire;
    uint64_t value; /* of a number, as bits */
    span bytes;     /* of a string or message */
} field;
enum { WIRE_INT = 0, WIRE_8 = 1, WIRE_BYTES = 2, WIRE_4 = 5 };

static bool next_varint(span *s, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (s->at == s->end) return false;
        const unsigned char byte = *s->at++;
        if (shift == 63 && byte > 1) return false;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            *out = value;
            return true;
        }
    }
    return false;
}

static bool next_fixed(span *s, size_t bytes, uint64_t *out)
{
    if ((size_t)(s->end - s->at) < bytes) return false;
    *out = 0;
    for (size_t i = 0; i < bytes; i++) *out |= (uint64_t)s->at[i] << (8 * i);
    s->at += bytes;
    return true;
}

/* False where the message is broken; asked only where s is not at its end. */
static bool next_field(span *s, field *out)
{
    uint64_t tag = 0;
    if (!next_varint(s, &tag) || tag >> 3 == 0 || tag >> 3 > (1U << 29) - 1) return false;
    *out = (field){ .number = (uint32_t)(tag >> 3), .wire = (uint32_t)(tag & 7) };
    if (out->wire == WIRE_INT) return next_varint(s, &out->value);
    if (out->wire == WIRE_8) return next_fixed(s, 8, &out->value);
    if (out->wire == WIRE_4) return next_fixed(s, 4, &out->value);
    if (out->wire != WIRE_BYTES || !next_varint(s, &out->value) || out->value > (uint64_t)(s->end - s->at)) return false;
    out->bytes = (span){ s->at, s->at + out->value };
    s->at += out->value;
    return true;
}

/* How often a field stands in a message; checks the whole message on the way. */
static sv_status count_field(const reading *r, span s, uint32_t number, uint32_t wire, size_t *out)
{
    field f;
    *out = 0;
    while (s.at != s.end) {
        if (!next_field(&s, &f)) return damaged(r, "a message is cut off or has a field of no known kind");
        *out += f.number == number && f.wire == wire;
    }
    return SV_OK;
}

static sv_status text_of(reading *r, span s, const char **out)
{
    char *copy = NULL;
    const size_t length = (size_t)(s.end - s.at);
    if (!sv_name_valid((const char *)s.at, length)) return damaged(r, "a name or text is not UTF-8");
    sv_status status = take(r, &copy, length + 1, 1);
    if (status) return status;
    if (length) memcpy(copy, s.at, length);
    *out = copy;
    return SV_OK;
}

static sv_status mention_name(reading *r, span name, uint32_t *slot)
{
    *slot = UINT32_MAX;
    if (name.at == name.end) return SV_OK;
    if (r->mention_count == r->mention_capacity) return damaged(r, "names are counted wrongly");
    r->mentions[r->mention_count++] = (mention){ name, slot };
    return SV_OK;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

static sv_status add_dim(const reading *r, sv_onnx_read_tensor *t, uint64_t size)
{
    if (t->rank == SV_ONNX_RANK) return damaged(r, "a tensor has more than 8 dimensions");
    if (size > INT64_MAX || sv_mul_size(&t->count, t->count, (size_t)size)) return damaged(r, "a tensor is larger than memory can be");
    t->dims[t->rank++] = (size_t)size;
    return SV_OK;
}

static sv_status packed_dims(const reading *r, sv_onnx_read_tensor *t, span s)
{
    while (s.at != s.end) {
        uint64_t size = 0;
        if (!next_varint(&s, &size)) return damaged(r, "the sizes of a tensor are cut off");
        sv_status status = add_dim(r, t, size);
        if (status) return status;
    }
    return SV_OK;
}

typedef struct place {
    span location, offset, length;
    bool external;
} place;

static bool is_word(span s, const char *word) { return (size_t)(s.end - s.at) == strlen(word) && memcmp(s.at, word, strlen(word)) == 0; }

static sv_status read_place(const reading *r, span s, place *out)
{
    span key = { 0 }, value = { 0 };
    field f;
    while (s.at != s.end) {
        if (!next_field(&s, &f)) return damaged(r, "a pair of texts is cut off");
        if (f.number == 1 && f.wire == WIRE_BYTES) key = f.bytes;
        if (f.number == 2 && f.wire == WIRE_BYTES) value = f.bytes;
    }
    if (!key.at) return SV_OK;
    if (is_word(key, "location")) out->location = value;
    if (is_word(key, "offset")) out->offset = value;
    if (is_word(key, "length")) out->length = value;
    return SV_OK;
}

static bool number_of(span s, uint64_t *out)
{
    *out = 0;
    if (s.at == s.end || s.end - s.at > 18) return false;
    for (; s.at != s.end; s.at++) {
        if (*s.at < '0' || *s.at > '9') return false;
        *out = *out * 10 + (uint64_t)(*s.at - '0');
    }
    return true;
}

/* The file of external tensors: the caller's, or one of a plain name beside the model. */
static sv_status open_data(reading *r, span name)
{
    const char *slash = strrchr(r->path, '/');
    char *path = NULL, plain[256] = { 0 };
    const size_t length = (size_t)(name.end - name.at);
    sv_text folder = { 0 };
    if (!length || length >= sizeof plain || !sv_name_valid((const char *)name.at, length) || memchr(name.at, '/', length)
        || name.at[0] == '.')
        return damaged(r, "external tensors must stand in a file of a plain name beside the model");
    memcpy(plain, name.at, length);
    if (slash) sv_text_add_bytes(&folder, r->path, (size_t)(slash - r->path) + 1);
    sv_status status = sv_text_check(&folder, r->err);
    if (!status && !r->data) status = sv_path_join(&path, folder.data, plain, r->err);
    if (!status) {
        status = sv_file_open(&r->room->data, r->data ? r->data : path, SV_MODEL_FILE, r->err);
        if (status) sv_fail_within(r->err, "%s: its external tensors", r->path);
    }
    if (!status) {
        r->room->has_data = true;
        r->room->left += r->room->data.size;
    }
    sv_free(path);
    sv_text_clear(&folder);
    return status;
}

static sv_status read_external(reading *r, const place *p, size_t bytes, const unsigned char **out)
{
    uint64_t offset = 0, length = bytes;
    unsigned char *data = NULL;
    if ((p->offset.at && !number_of(p->offset, &offset)) || (p->length.at && !number_of(p->length, &length)) || length != bytes)
        return damaged(r, "an external tensor has another length than its sizes ask for");
    sv_status status = r->room->has_data ? SV_OK : open_data(r, p->location);
    if (status) return status;
    if (offset > r->room->data.size || bytes > r->room->data.size - offset)
        return sv_fail(r->err, SV_MODEL_FILE, "%s: too short: tensors of %s reach beyond its end", r->room->data.path, r->path);
    status = take(r, &data, bytes, 1);
    if (!status) status = sv_file_read_at(&r->room->data, offset, data, bytes, r->err);
    *out = data;
    return status;
}

typedef struct tensor_parts {
    span name, raw;
    bool has_raw, typed;
    place place;
} tensor_parts;

/* TensorProto: 1 dims, 2 type, 4-7, 10, 11 typed numbers, 8 name, 9 bytes, 13 place, 14 1 where external. */
static sv_status tensor_field(const reading *r, sv_onnx_read_tensor *t, tensor_parts *parts, const field *f)
{
    const bool bytes = f->wire == WIRE_BYTES;
    if (f->number == 1) return bytes ? packed_dims(r, t, f->bytes) : add_dim(r, t, f->value);
    if (f->number == 2) t->type = (int64_t)f->value;
    if (f->number == 8 && bytes) parts->name = f->bytes;
    if (f->number == 9 && bytes) parts->raw = f->bytes, parts->has_raw = true;
    if (f->number == 14) parts->place.external = f->value == 1;
    if ((f->number >= 4 && f->number <= 7) || f->number == 10 || f->number == 11) parts->typed = true;
    return f->number == 13 && bytes ? read_place(r, f->bytes, &parts->place) : SV_OK;
}

static sv_status read_tensor(reading *r, span s, sv_onnx_read_tensor *t, span *name)
{
    tensor_parts parts = { 0 };
    size_t bytes = 0;
    t->count = 1;
    t->value = UINT32_MAX;
    while (s.at != s.end) {
        field f;
        if (!next_field(&s, &f)) return damaged(r, "a tensor is cut off");
        sv_status status = tensor_field(r, t, &parts, &f);
        if (status) return status;
    }
    *name = parts.name;
    if (!sv_onnx_type_bytes(t->type)) return damaged(r, "a tensor is of another kind than float, float16, bfloat16, int64 and bool");
    if (parts.typed) return damaged(r, "a tensor keeps its numbers as a list; expected raw bytes");
    if (sv_mul_size(&bytes, t->count, sv_onnx_type_bytes(t->type))) return damaged(r, "a tensor is larger than memory can be");
    if (parts.place.external) return read_external(r, &parts.place, bytes, &t->data);
    if (!parts.has_raw || (size_t)(parts.raw.end - parts.raw.at) != bytes)
        return damaged(r, "a tensor has another length than its sizes ask for");
    t->data = parts.raw.at;
    return SV_OK;
}

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

static sv_status read_ints(reading *r, span s, sv_onnx_read_attribute *a)
{
    size_t loose = 0, at = 0;
    int64_t *ints = NULL;
    sv_status status = count_field(r, s, 8, WIRE_INT, &loose);
    if (!status && loose) status = take(r, &ints, loose, sizeof *ints);
    while (!status && s.at != s.end) {
        field f;
        if (!next_field(&s, &f)) return damaged(r, "an attribute is cut off");
        if (f.number == 8 && f.wire == WIRE_INT) ints[at++] = (int64_t)f.value;
        if (f.number == 8 && f.wire != WIRE_INT) return damaged(r, "the numbers of an attribute are packed; expected them one by one");
    }
    a->ints = ints;
    a->int_count = loose;
    return status;
}

/* AttributeProto: 1 name, 2 float, 3 int, 5 tensor, 8 ints. */
static sv_status read_attribute(reading *r, span s, sv_onnx_read_attribute *a)
{
    sv_status status = read_ints(r, s, a);
    while (!status && s.at != s.end) {
        field f;
        span unnamed;
        if (!next_field(&s, &f)) return damaged(r, "an attribute is cut off");
        const uint32_t bits = (uint32_t)f.value;
        if (f.number == 1 && f.wire == WIRE_BYTES && !a->name)
            status = text_of(r, f.bytes, &a->name);
        else if (f.number == 2 && f.wire == WIRE_4)
            memcpy(&a->f, &bits, sizeof bits), a->has_f = true;
        else if (f.number == 3 && f.wire == WIRE_INT)
            a->i = (int64_t)f.value, a->has_i = true;
        else if (f.number == 5 && f.wire == WIRE_BYTES && !a->has_tensor)
            status = read_tensor(r, f.bytes, &a->tensor, &unnamed), a->has_tensor = true;
    }
    return status || a->name ? status : damaged(r, "an attribute has no name");
}

/* NodeProto: 1 inputs, 2 outputs, 4 op, 5 attributes, 7 domain. */
static sv_status read_node(reading *r, span s, sv_onnx_read_node *node)
{
    uint32_t *in = NULL, *out = NULL;
    sv_onnx_read_attribute *attributes = NULL;
    size_t next_in = 0, next_out = 0, next_attribute = 0;
    sv_status status = count_field(r, s, 1, WIRE_BYTES, &node->in_count);
    if (!status) status = count_field(r, s, 2, WIRE_BYTES, &node->out_count);
    if (!status) status = count_field(r, s, 5, WIRE_BYTES, &node->attribute_count);
    if (!status) status = take(r, &in, node->in_count, sizeof *in);
    if (!status) status = take(r, &out, node->out_count, sizeof *out);
    if (!status) status = take(r, &attributes, node->attribute_count, sizeof *attributes);
    while (!status && s.at != s.end) {
        field f;
        if (!next_field(&s, &f)) return damaged(r, "a node is cut off");
        if (f.wire != WIRE_BYTES) continue;
        if (f.number == 1)
            status = mention_name(r, f.bytes, &in[next_in++]);
        else if (f.number == 2)
            status = mention_name(r, f.bytes, &out[next_out++]);
        else if (f.number == 4 && !node->op)
            status = text_of(r, f.bytes, &node->op);
        else if (f.number == 5)
            status = read_attribute(r, f.bytes, &attributes[next_attribute++]);
        else if (f.number == 7 && f.bytes.at != f.bytes.end)
            status = damaged(r, "a node is of a domain that is not ONNX's own");
    }
    node->in = in;
    node->out = out;
    node->attributes = attributes;
    return status || node->op ? status : damaged(r, "a node has no op");
}

/* ---- inputs and outputs ------------------------------------------------------------------------------------------ */

/* Dimension: 1 number, else unknown. */
static sv_status read_shape(const reading *r, span s, sv_onnx_read_value *v)
{
    while (s.at != s.end) {
        field f, inner;
        int64_t size = -1;
        if (!next_field(&s, &f)) return damaged(r, "a shape is cut off");
        if (f.number != 1 || f.wire != WIRE_BYTES) continue;
        while (f.bytes.at != f.bytes.end) {
            if (!next_field(&f.bytes, &inner)) return damaged(r, "a dimension is cut off");
            if (inner.number == 1 && inner.wire == WIRE_INT) size = (int64_t)inner.value;
        }
        if (v->rank == SV_ONNX_RANK || size < -1) return damaged(r, "an input or output has more than 8 dimensions or one below 0");
        v->dims[v->rank++] = size;
    }
    return SV_OK;
}

/* The first message of that number in s; an empty one where there is none. */
static sv_status first_message(const reading *r, span s, uint32_t number, span *out)
{
    *out = (span){ s.end, s.end };
    while (s.at != s.end) {
        field f;
        if (!next_field(&s, &f)) return damaged(r, "an input or output is cut off");
        if (f.number != number || f.wire != WIRE_BYTES) continue;
        *out = f.bytes;
        return SV_OK;
    }
    return SV_OK;
}

static sv_status read_value(reading *r, span s, sv_onnx_read_value *v)
{
    span name, kind, tensor = { 0 }, shape = { 0 };
    sv_status status = first_message(r, s, 1, &name);
    if (!status) status = first_message(r, s, 2, &kind);
    if (!status) status = first_message(r, kind, 1, &tensor);
    if (!status) status = first_message(r, tensor, 2, &shape);
    while (!status && tensor.at != tensor.end) {
        field f;
        if (!next_field(&tensor, &f)) return damaged(r, "an input or output is cut off");
        if (f.number == 1 && f.wire == WIRE_INT) v->type = (int64_t)f.value;
    }
    if (!status) status = read_shape(r, shape, v);
    return status ? status : mention_name(r, name, &v->value);
}

/* ---- the graph --------------------------------------------------------------------------------------------------- */

/* Names that nodes mention, so that their list is made once. */
static sv_status count_mentions(const reading *r, span s, size_t *out)
{
    *out = 0;
    while (s.at != s.end) {
        field f;
        size_t in = 0, outs = 0;
        if (!next_field(&s, &f)) return damaged(r, "the graph is cut off");
        if (f.wire != WIRE_BYTES) continue;
        if (f.number == 5 || f.number == 11 || f.number == 12) ++*out;
        if (f.number != 1) continue;
        sv_status status = count_field(r, f.bytes, 1, WIRE_BYTES, &in);
        if (!status) status = count_field(r, f.bytes, 2, WIRE_BYTES, &outs);
        if (status) return status;
        *out += in + outs;
    }
    return SV_OK;
}

static sv_status make_lists(reading *r)
{
    sv_onnx_model *m = &r->model;
    sv_status status = count_mentions(r, r->graph, &r->mention_capacity);
    if (!status) status = count_field(r, r->graph, 1, WIRE_BYTES, &m->node_count);
    if (!status) status = count_field(r, r->graph, 5, WIRE_BYTES, &m->initializer_count);
    if (!status) status = count_field(r, r->graph, 11, WIRE_BYTES, &m->input_count);
    if (!status) status = count_field(r, r->graph, 12, WIRE_BYTES, &m->output_count);
    if (!status) status = take(r, &r->mentions, r->mention_capacity, sizeof *r->mentions);
    if (!status) status = take(r, &m->nodes, m->node_count, sizeof *m->nodes);
    if (!status) status = take(r, &m->initializers, m->initializer_count, sizeof *m->initializers);
    if (!status) status = take(r, &m->inputs, m->input_count, sizeof *m->inputs);
    return status ? status : take(r, &m->outputs, m->output_count, sizeof *m->outputs);
}

/* GraphProto: 1 nodes, 5 tensors, 11 inputs, 12 outputs. */
static sv_status read_graph(reading *r)
{
    sv_onnx_model *m = &r->model;
    size_t node = 0, stored = 0, input = 0, output = 0;
    span s = r->graph, name = { 0 };
    sv_status status = make_lists(r);
    while (!status && s.at != s.end) {
        field f;
        if (!next_field(&s, &f)) return damaged(r, "the graph is cut off");
        if (f.wire != WIRE_BYTES) continue;
        if (f.number == 1)
            status = read_node(r, f.bytes, &m->nodes[node++]);
        else if (f.number == 11)
            status = read_value(r, f.bytes, &m->inputs[input++]);
        else if (f.number == 12)
            status = read_value(r, f.bytes, &m->outputs[output++]);
        else if (f.number == 15)
            status = damaged(r, "it has sparse tensors, which are not read");
        else if (f.number == 5) {
            sv_onnx_read_tensor *t = &m->initializers[stored++];
            status = read_tensor(r, f.bytes, t, &name);
            if (!status) status = mention_name(r, name, &t->value);
        }
    }
    return status;
}

static int compare_spans(span a, span b)
{
    const size_t n = (size_t)(a.end - a.at), m = (size_t)(b.end - b.at);
    return n != m ? (n < m ? -1 : 1) : memcmp(a.at, b.at, n);
}

static int compare_mentions(const void *a, const void *b) { return compare_spans(((const mention *)a)->name, ((const mention *)b)->name); }

static sv_status number_names(reading *r)
{
    size_t count = 0, at = 0;
    if (r->mention_count) qsort(r->mentions, r->mention_count, sizeof *r->mentions, compare_mentions);
    for (size_t i = 0; i < r->mention_count; i++) count += !i || compare_mentions(&r->mentions[i - 1], &r->mentions[i]) != 0;
    if (count >= UINT32_MAX) return damaged(r, "it has too many names");
    sv_status status = take(r, &r->model.names, count, sizeof *r->model.names);
    for (size_t i = 0; !status && i < r->mention_count; i++) {
        if (!i || compare_mentions(&r->mentions[i - 1], &r->mentions[i]) != 0)
            status = text_of(r, r->mentions[i].name, &r->model.names[at++]);
        *r->mentions[i].slot = (uint32_t)(at - 1);
    }
    r->model.value_count = count;
    return status;
}

static sv_status make_value(const reading *r, unsigned char *made, uint32_t value)
{
    char room[128];
    if (value == UINT32_MAX) return SV_OK;
    if (made[value])
        return sv_fail(r->err, SV_MODEL_FILE, "%s: '%s' is made twice; the file is damaged", r->path,
                       sv_text_safe(room, sizeof room, r->model.names[value]));
    made[value] = 1;
    return SV_OK;
}

static sv_status use_value(const reading *r, const unsigned char *made, uint32_t value)
{
    char room[128];
    if (value == UINT32_MAX || made[value]) return SV_OK;
    return sv_fail(r->err, SV_MODEL_FILE, "%s: '%s' is used before anything makes it; the file is damaged", r->path,
                   sv_text_safe(room, sizeof room, r->model.names[value]));
}

/* Every value is made once, and before it is used. */
static sv_status check_order(reading *r)
{
    const sv_onnx_model *m = &r->model;
    unsigned char *made = NULL;
    sv_status status = take(r, &made, m->value_count, 1);
    for (size_t i = 0; !status && i < m->input_count; i++) status = make_value(r, made, m->inputs[i].value);
    for (size_t i = 0; !status && i < m->initializer_count; i++) status = make_value(r, made, m->initializers[i].value);
    for (size_t i = 0; !status && i < m->node_count; i++) {
        for (size_t k = 0; !status && k < m->nodes[i].in_count; k++) status = use_value(r, made, m->nodes[i].in[k]);
        for (size_t k = 0; !status && k < m->nodes[i].out_count; k++) status = make_value(r, made, m->nodes[i].out[k]);
    }
    for (size_t i = 0; !status && i < m->output_count; i++) {
        if (m->outputs[i].value == UINT32_MAX)
            status = damaged(r, "an output has no name");
        else
            status = use_value(r, made, m->outputs[i].value);
    }
    return status;
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

static sv_status read_pair(reading *r, span s, const char **pair)
{
    span key, value;
    sv_status status = first_message(r, s, 1, &key);
    if (!status) status = first_message(r, s, 2, &value);
    if (!status) status = text_of(r, key, &pair[0]);
    return status ? status : text_of(r, value, &pair[1]);
}

/* OperatorSetIdProto: 1 domain, 2 version. */
static sv_status read_opset(reading *r, span s)
{
    span domain;
    int64_t version = 0;
    sv_status status = first_message(r, s, 1, &domain);
    while (!status && s.at != s.end) {
        field f;
        if (!next_field(&s, &f)) return damaged(r, "an opset is cut off");
        if (f.number == 2 && f.wire == WIRE_INT) version = (int64_t)f.value;
    }
    if (!status && domain.at == domain.end) r->model.opset = version;
    return status;
}

/* ModelProto: 1 IR version, 7 graph, 8 opsets, 14 metadata. */
static sv_status read_model(reading *r, span s)
{
    size_t pairs = 0, pair = 0, graphs = 0;
    sv_status status = count_field(r, s, 14, WIRE_BYTES, &pairs);
    if (!status) status = count_field(r, s, 7, WIRE_BYTES, &graphs);
    if (!status && graphs != 1) status = damaged(r, "it does not hold one graph");
    if (!status) status = take(r, &r->model.metadata, 2 * pairs, sizeof *r->model.metadata);
    r->model.metadata_count = pairs;
    while (!status && s.at != s.end) {
        field f;
        if (!next_field(&s, &f)) return damaged(r, "it is cut off");
        if (f.number == 1 && f.wire == WIRE_INT)
            r->model.ir = (int64_t)f.value;
        else if (f.wire != WIRE_BYTES)
            continue;
        else if (f.number == 7)
            r->graph = f.bytes;
        else if (f.number == 8)
            status = read_opset(r, f.bytes);
        else if (f.number == 14)
            status = read_pair(r, f.bytes, &r->model.metadata[2 * pair++]);
    }
    if (!status && (r->model.ir < 3 || r->model.opset < 1)) status = damaged(r, "it names no IR version or opset");
    if (!status) status = read_graph(r);
    if (!status) status = number_names(r);
    return status ? status : check_order(r);
}

sv_status sv_onnx_read(sv_onnx_model *out, const char *path, const char *data, sv_error *err)
{
    reading r = { .path = path, .data = data, .err = err };
    size_t count = 0;
    sv_status status = sv_alloc_zero(&r.room, sizeof *r.room, "onnx", err);
    if (status) return status;
    r.model.room = r.room;
    status = sv_file_read_all(path, most_file, SV_MODEL_FILE, &r.room->bytes, &count, err);
    r.room->left = 3 * (uint64_t)count + SPARE;
    if (!status) status = read_model(&r, (span){ r.room->bytes, r.room->bytes + count });
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
    const span wanted = { (const unsigned char *)name, (const unsigned char *)name + strlen(name) };
    size_t low = 0, high = model->value_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const unsigned char *at = (const unsigned char *)model->names[middle];
        const int order = compare_spans(wanted, (span){ at, at + strlen(model->names[middle]) });
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
