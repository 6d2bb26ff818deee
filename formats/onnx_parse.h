/* What the files of the ONNX reader share: the file on its way into a model, its budget of memory, and fields of protobuf messages. */
#ifndef SIEVE_FORMATS_ONNX_PARSE_H
#define SIEVE_FORMATS_ONNX_PARSE_H

#include "formats/onnx.h"

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

typedef struct sv_onnx_span {
    const unsigned char *at, *end;
} sv_onnx_span;

/* A place where a name stands, and where its number goes. */
typedef struct sv_onnx_mention {
    sv_onnx_span name;
    uint32_t *slot;
} sv_onnx_mention;

typedef struct sv_onnx_reading {
    sv_onnx_model model;
    sv_onnx_room *room;
    const char *path, *data;
    sv_onnx_span graph;
    sv_onnx_mention *mentions;
    size_t mention_count, mention_capacity;
    sv_error *err;
} sv_onnx_reading;

typedef struct sv_onnx_field {
    uint32_t number, wire;
    uint64_t value;     /* of a number, as bits */
    sv_onnx_span bytes; /* of a string or message */
} sv_onnx_field;
enum { SV_WIRE_INT = 0, SV_WIRE_8 = 1, SV_WIRE_BYTES = 2, SV_WIRE_4 = 5 };

/* "PATH: what; the file is damaged or no ONNX model". */
sv_status sv_onnx_damaged(const sv_onnx_reading *r, const char *what);
/* Zeroed memory that lives as long as the model, within the budget. */
sv_status sv_onnx_take(sv_onnx_reading *r, void *pointer, size_t count, size_t each) SV_MUST_CHECK;
bool sv_onnx_next_varint(sv_onnx_span *s, uint64_t *out) SV_MUST_CHECK;
/* False where the message is broken; asked only where s is not at its end. */
bool sv_onnx_next_field(sv_onnx_span *s, sv_onnx_field *out) SV_MUST_CHECK;
/* How often a field stands in a message; checks the whole message on the way. */
sv_status sv_onnx_count_field(const sv_onnx_reading *r, sv_onnx_span s, uint32_t number, uint32_t wire, size_t *out) SV_MUST_CHECK;
/* A copy with a zero byte behind it; UTF-8. */
sv_status sv_onnx_text_of(sv_onnx_reading *r, sv_onnx_span s, const char **out) SV_MUST_CHECK;
/* A TensorProto, all zero before, with its numbers, which stand in the file or beside it; its name is not yet a number. */
sv_status sv_onnx_parse_tensor(sv_onnx_reading *r, sv_onnx_span s, sv_onnx_read_tensor *t, sv_onnx_span *name) SV_MUST_CHECK;

#endif
