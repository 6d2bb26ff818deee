/* The floor of the ONNX reader: a bounded walk over protobuf fields, in which every length is held against the message it stands in, and memory
 * that is taken from a budget before it is made. */
#include "formats/onnx_parse.h"
#include "formats/weights_inside.h"

#include <string.h>

enum { PIECE = 1 << 16 };

sv_status sv_onnx_damaged(const sv_onnx_reading *r, const char *what)
{
    return sv_fail(r->err, SV_MODEL_FILE, "%s: %s; the file is damaged or no ONNX model", r->path, what);
}

static sv_status add_piece(sv_onnx_reading *r, size_t bytes, unsigned char **out)
{
    sv_onnx_room *room = r->room;
    sv_status status = sv_grow(&room->pieces, &room->capacity, room->count + 1, sizeof *room->pieces, "onnx", r->err);
    if (!status) status = sv_alloc_zero(out, bytes, "onnx", r->err);
    if (!status) room->pieces[room->count++] = *out;
    return status;
}

/* Zeroed memory that lives as long as the model; small ones are cut from larger pieces, since a file may ask for many. */
sv_status sv_onnx_take(sv_onnx_reading *r, void *pointer, size_t count, size_t each)
{
    sv_onnx_room *room = r->room;
    unsigned char *piece = NULL;
    sv_status status = SV_OK;
    size_t bytes = 0;
    if (sv_mul_size(&bytes, count, each) || sv_align_up(&bytes, bytes, 16) || bytes > room->left)
        return sv_fail(r->err, SV_MODEL_FILE, "%s: what it lists would take more memory than 4 times the file; the file is damaged",
                       r->path);
    *(void **)pointer = NULL;
    if (!bytes) return SV_OK; /* no piece may be there yet, and C does not add even 0 to a null pointer */
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

bool sv_onnx_next_varint(sv_onnx_span *s, uint64_t *out)
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

static bool next_fixed(sv_onnx_span *s, size_t bytes, uint64_t *out)
{
    if ((size_t)(s->end - s->at) < bytes) return false;
    *out = 0;
    for (size_t i = 0; i < bytes; i++) *out |= (uint64_t)s->at[i] << (8 * i);
    s->at += bytes;
    return true;
}

/* False where the message is broken; asked only where s is not at its end. */
bool sv_onnx_next_field(sv_onnx_span *s, sv_onnx_field *out)
{
    uint64_t tag = 0;
    if (!sv_onnx_next_varint(s, &tag) || tag >> 3 == 0 || tag >> 3 > (1U << 29) - 1) return false;
    *out = (sv_onnx_field){ .number = (uint32_t)(tag >> 3), .wire = (uint32_t)(tag & 7) };
    if (out->wire == SV_WIRE_INT) return sv_onnx_next_varint(s, &out->value);
    if (out->wire == SV_WIRE_8) return next_fixed(s, 8, &out->value);
    if (out->wire == SV_WIRE_4) return next_fixed(s, 4, &out->value);
    if (out->wire != SV_WIRE_BYTES || !sv_onnx_next_varint(s, &out->value) || out->value > (uint64_t)(s->end - s->at)) return false;
    out->bytes = (sv_onnx_span){ s->at, s->at + out->value };
    s->at += out->value;
    return true;
}

/* How often a field stands in a message; checks the whole message on the way. */
sv_status sv_onnx_count_field(const sv_onnx_reading *r, sv_onnx_span s, uint32_t number, uint32_t wire, size_t *out)
{
    sv_onnx_field f;
    *out = 0;
    while (s.at != s.end) {
        if (!sv_onnx_next_field(&s, &f)) return sv_onnx_damaged(r, "a message is cut off or has a field of no known kind");
        *out += f.number == number && f.wire == wire;
    }
    return SV_OK;
}

sv_status sv_onnx_text_of(sv_onnx_reading *r, sv_onnx_span s, const char **out)
{
    char *copy = NULL;
    const size_t length = (size_t)(s.end - s.at);
    if (!sv_name_valid((const char *)s.at, length)) return sv_onnx_damaged(r, "a name or text is not UTF-8");
    sv_status status = sv_onnx_take(r, &copy, length + 1, 1);
    if (status) return status;
    if (length) memcpy(copy, s.at, length);
    *out = copy;
    return SV_OK;
}
