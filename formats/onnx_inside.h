/* What the two files of the ONNX writer share: the graph as it grows, and fields of protobuf messages. */
#ifndef SIEVE_FORMATS_ONNX_INSIDE_H
#define SIEVE_FORMATS_ONNX_INSIDE_H

#include "formats/onnx.h"

typedef struct sv_onnx_stored {
    char *name;
    sv_onnx_type type;
    size_t rank, dims[SV_ONNX_RANK], bytes;
    void *data;
    sv_onnx_value value;
} sv_onnx_stored;

struct sv_onnx_graph {
    char *name, scope[128];
    char **values; /* their names */
    size_t value_count, value_capacity;
    sv_onnx_stored *stored;
    size_t stored_count, stored_capacity;
    sv_text nodes, inputs, outputs, metadata; /* serialised fields of GraphProto (metadata: of ModelProto) */
    sv_status failed;
    sv_error error; /* of the first failure */
};

/* Fields appended to a message: a tag, then the value. */
void sv_proto_int(sv_text *message, uint32_t field, int64_t value);
void sv_proto_float(sv_text *message, uint32_t field, float value);
void sv_proto_bytes(sv_text *message, uint32_t field, const void *bytes, size_t count);
void sv_proto_string(sv_text *message, uint32_t field, const char *string);
/* A message in a message; `inner` is emptied. What failed inside has failed outside. */
void sv_proto_message(sv_text *message, uint32_t field, sv_text *inner);
/* Tag and length of a field of `count` bytes that follow. */
void sv_proto_head(sv_text *message, uint32_t field, uint64_t count);

#endif
