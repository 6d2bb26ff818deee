/* Tensors of an ONNX file: their numbers as raw bytes in the model or in one file beside it, never anywhere else. Lists of typed numbers
 * (float_data ...) are refused. */
#include "formats/onnx_parse.h"
#include "formats/weights_inside.h"

#include <string.h>

static sv_status add_dim(const sv_onnx_reading *r, sv_onnx_read_tensor *t, uint64_t size)
{
    if (t->rank == SV_ONNX_RANK) return sv_onnx_damaged(r, "a tensor has more than 8 dimensions");
    if (size > INT64_MAX || sv_mul_size(&t->count, t->count, (size_t)size))
        return sv_onnx_damaged(r, "a tensor is larger than memory can be");
    t->dims[t->rank++] = (size_t)size;
    return SV_OK;
}

static sv_status packed_dims(const sv_onnx_reading *r, sv_onnx_read_tensor *t, sv_onnx_span s)
{
    while (s.at != s.end) {
        uint64_t size = 0;
        if (!sv_onnx_next_varint(&s, &size)) return sv_onnx_damaged(r, "the sizes of a tensor are cut off");
        sv_status status = add_dim(r, t, size);
        if (status) return status;
    }
    return SV_OK;
}

typedef struct place {
    sv_onnx_span location, offset, length;
    bool external;
} place;

static bool is_word(sv_onnx_span s, const char *word)
{
    return (size_t)(s.end - s.at) == strlen(word) && memcmp(s.at, word, strlen(word)) == 0;
}

static sv_status read_place(const sv_onnx_reading *r, sv_onnx_span s, place *out)
{
    sv_onnx_span key = { 0 }, value = { 0 };
    sv_onnx_field f;
    while (s.at != s.end) {
        if (!sv_onnx_next_field(&s, &f)) return sv_onnx_damaged(r, "a pair of texts is cut off");
        if (f.number == 1 && f.wire == SV_WIRE_BYTES) key = f.bytes;
        if (f.number == 2 && f.wire == SV_WIRE_BYTES) value = f.bytes;
    }
    if (!key.at) return SV_OK;
    if (is_word(key, "location")) out->location = value;
    if (is_word(key, "offset")) out->offset = value;
    if (is_word(key, "length")) out->length = value;
    return SV_OK;
}

static bool number_of(sv_onnx_span s, uint64_t *out)
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
static sv_status open_data(sv_onnx_reading *r, sv_onnx_span name)
{
    const char *slash = strrchr(r->path, '/');
    char *path = NULL, plain[256] = { 0 };
    const size_t length = (size_t)(name.end - name.at);
    sv_text folder = { 0 };
    if (!length || length >= sizeof plain || !sv_name_valid((const char *)name.at, length) || memchr(name.at, '/', length)
        || name.at[0] == '.')
        return sv_onnx_damaged(r, "external tensors must stand in a file of a plain name beside the model");
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

static sv_status read_external(sv_onnx_reading *r, const place *p, size_t bytes, const unsigned char **out)
{
    uint64_t offset = 0, length = bytes;
    unsigned char *data = NULL;
    if ((p->offset.at && !number_of(p->offset, &offset)) || (p->length.at && !number_of(p->length, &length)) || length != bytes)
        return sv_onnx_damaged(r, "an external tensor has another length than its sizes ask for");
    sv_status status = r->room->has_data ? SV_OK : open_data(r, p->location);
    if (status) return status;
    if (offset > r->room->data.size || bytes > r->room->data.size - offset)
        return sv_fail(r->err, SV_MODEL_FILE, "%s: too short: tensors of %s reach beyond its end", r->room->data.path, r->path);
    status = sv_onnx_take(r, &data, bytes, 1);
    if (!status) status = sv_file_read_at(&r->room->data, offset, data, bytes, r->err);
    *out = data;
    return status;
}

typedef struct tensor_parts {
    sv_onnx_span name, raw;
    bool has_raw, typed;
    place place;
} tensor_parts;

/* TensorProto: 1 dims, 2 type, 4-7, 10, 11 typed numbers, 8 name, 9 bytes, 13 place, 14 1 where external. */
static sv_status tensor_field(const sv_onnx_reading *r, sv_onnx_read_tensor *t, tensor_parts *parts, const sv_onnx_field *f)
{
    const bool bytes = f->wire == SV_WIRE_BYTES;
    if (f->number == 1) return bytes ? packed_dims(r, t, f->bytes) : add_dim(r, t, f->value);
    if (f->number == 2) t->type = (int64_t)f->value;
    if (f->number == 8 && bytes) parts->name = f->bytes;
    if (f->number == 9 && bytes) parts->raw = f->bytes, parts->has_raw = true;
    if (f->number == 14) parts->place.external = f->value == 1;
    if ((f->number >= 4 && f->number <= 7) || f->number == 10 || f->number == 11) parts->typed = true;
    return f->number == 13 && bytes ? read_place(r, f->bytes, &parts->place) : SV_OK;
}

sv_status sv_onnx_parse_tensor(sv_onnx_reading *r, sv_onnx_span s, sv_onnx_read_tensor *t, sv_onnx_span *name)
{
    tensor_parts parts = { 0 };
    size_t bytes = 0;
    t->count = 1;
    t->value = UINT32_MAX;
    while (s.at != s.end) {
        sv_onnx_field f;
        if (!sv_onnx_next_field(&s, &f)) return sv_onnx_damaged(r, "a tensor is cut off");
        sv_status status = tensor_field(r, t, &parts, &f);
        if (status) return status;
    }
    *name = parts.name;
    if (!sv_onnx_type_bytes(t->type))
        return sv_onnx_damaged(r, "a tensor is of another kind than float, float16, bfloat16, int64, int8 and bool");
    if (parts.typed) return sv_onnx_damaged(r, "a tensor keeps its numbers as a list; expected raw bytes");
    if (sv_mul_size(&bytes, t->count, sv_onnx_type_bytes(t->type))) return sv_onnx_damaged(r, "a tensor is larger than memory can be");
    if (parts.place.external) return read_external(r, &parts.place, bytes, &t->data);
    if (!parts.has_raw || (size_t)(parts.raw.end - parts.raw.at) != bytes)
        return sv_onnx_damaged(r, "a tensor has another length than its sizes ask for");
    t->data = parts.raw.at;
    return SV_OK;
}
