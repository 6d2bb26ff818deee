/* An ONNX file, written: ModelProto { ir, opset, producer, graph { nodes, name, tensors, inputs, outputs }, metadata }. A message says its
 * length before it comes, so sizes are computed first and tensors then go to the file straight from where they stand. Both files are complete
 * on disk and have passed the caller's check before one of them takes its name. */
#include "formats/onnx_inside.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* EXTERNAL_LEAST as the onnx package has it: shapes and scalars must stay where every runtime finds them. PAGE: so that files can be mapped. */
enum { EXTERNAL_LEAST = 1024, PAGE = 4096 };
static const uint64_t most_message = INT32_MAX;

typedef struct writing {
    const sv_onnx_graph *graph;
    const char *data_name; /* NULL: tensors stand in the model */
    sv_text *heads;        /* for each stored tensor: what stands before its bytes */
    sv_text before;        /* the model up to its tensors */
    sv_text after;         /* and behind them */
} writing;

static bool is_external(const writing *w, size_t i) { return w->data_name && w->graph->stored[i].bytes >= EXTERNAL_LEAST; }

static void add_pair(sv_text *message, const char *key, const char *value)
{
    sv_text pair = { 0 };
    sv_proto_string(&pair, 1, key);
    sv_proto_string(&pair, 2, value);
    sv_proto_message(message, 13, &pair);
}

static void add_place(sv_text *tensor, const char *name, uint64_t offset, size_t bytes)
{
    char number[32];
    add_pair(tensor, "location", name);
    snprintf(number, sizeof number, "%ju", (uintmax_t)offset);
    add_pair(tensor, "offset", number);
    snprintf(number, sizeof number, "%zu", bytes);
    add_pair(tensor, "length", number);
    sv_proto_int(tensor, 14, 1); /* data_location = EXTERNAL */
}

/* TensorProto: 1 dims, 2 type, 8 name, 9 bytes, 13 external data. Field 5 of the graph. The bytes themselves come later. */
static void make_head(writing *w, size_t i, uint64_t offset)
{
    const sv_onnx_stored *s = &w->graph->stored[i];
    sv_text tensor = { 0 };
    for (size_t k = 0; k < s->rank; k++) sv_proto_int(&tensor, 1, (int64_t)s->dims[k]);
    sv_proto_int(&tensor, 2, s->type);
    sv_proto_string(&tensor, 8, s->name);
    if (is_external(w, i)) {
        add_place(&tensor, w->data_name, offset, s->bytes);
        sv_proto_message(&w->heads[i], 5, &tensor);
        return;
    }
    sv_proto_head(&tensor, 9, s->bytes);
    sv_proto_head(&w->heads[i], 5, tensor.length + s->bytes);
    sv_text_add_bytes(&w->heads[i], tensor.data, tensor.length);
    w->heads[i].failed = w->heads[i].failed || tensor.failed;
    sv_text_clear(&tensor);
}

static uint64_t make_heads(writing *w)
{
    uint64_t offset = 0, bytes = 0;
    for (size_t i = 0; i < w->graph->stored_count; i++) {
        sv_text_clear(&w->heads[i]);
        make_head(w, i, offset);
        bytes += w->heads[i].length;
        if (is_external(w, i))
            offset += (w->graph->stored[i].bytes + PAGE - 1) / PAGE * PAGE;
        else
            bytes += w->graph->stored[i].bytes;
    }
    return bytes;
}

/* What stands around the tensors: `tensors` is their size with heads. */
static void make_frame(writing *w, uint64_t tensors)
{
    const sv_onnx_graph *g = w->graph;
    sv_text name = { 0 }, opset = { 0 };
    sv_text_clear(&w->before);
    sv_text_clear(&w->after);
    sv_proto_string(&name, 2, g->name);
    sv_proto_int(&w->before, 1, SV_ONNX_IR);
    sv_proto_string(&w->before, 2, "Sieve");
    sv_proto_string(&w->before, 3, SV_VERSION);
    sv_proto_string(&opset, 1, "");
    sv_proto_int(&opset, 2, SV_ONNX_OPSET);
    sv_proto_message(&w->before, 8, &opset);
    sv_text_add_bytes(&w->before, g->metadata.data, g->metadata.length);
    sv_proto_head(&w->before, 7, g->nodes.length + name.length + tensors + g->inputs.length + g->outputs.length);
    sv_text_add_bytes(&w->before, g->nodes.data, g->nodes.length);
    sv_text_add_bytes(&w->before, name.data, name.length);
    sv_text_add_bytes(&w->after, g->inputs.data, g->inputs.length);
    sv_text_add_bytes(&w->after, g->outputs.data, g->outputs.length);
    w->before.failed = w->before.failed || name.failed;
    sv_text_clear(&name);
}

static sv_status check_texts(const writing *w, sv_error *err)
{
    const sv_onnx_graph *g = w->graph;
    bool failed = w->before.failed || w->after.failed || g->nodes.failed || g->inputs.failed || g->outputs.failed || g->metadata.failed;
    for (size_t i = 0; i < g->stored_count; i++) failed = failed || w->heads[i].failed;
    return failed ? sv_fail(err, SV_FAULT, "out of memory for an ONNX graph of %zu values", g->value_count) : SV_OK;
}

/* Sizes first; the tensors move out where the model would pass `above`. */
static sv_status lay_out(writing *w, const char *path, const char *data_name, uint64_t above, sv_error *err)
{
    uint64_t tensors = make_heads(w);
    make_frame(w, tensors);
    if (w->before.length + tensors + w->after.length > above) {
        w->data_name = data_name;
        tensors = make_heads(w);
        make_frame(w, tensors);
        if (w->before.length + tensors + w->after.length > most_message)
            return sv_fail(err, SV_USAGE, "%s: the graph without its tensors passes 2 GiB, which ONNX cannot hold", path);
    }
    return check_texts(w, err);
}

static sv_status put_model(const writing *w, sv_atomic_file *file, sv_error *err)
{
    sv_status status = sv_atomic_write(file, w->before.data, w->before.length, err);
    for (size_t i = 0; !status && i < w->graph->stored_count; i++) {
        status = sv_atomic_write(file, w->heads[i].data, w->heads[i].length, err);
        if (!status && !is_external(w, i)) status = sv_atomic_write(file, w->graph->stored[i].data, w->graph->stored[i].bytes, err);
    }
    if (!status) status = sv_atomic_write(file, w->after.data, w->after.length, err);
    return status ? status : sv_atomic_flush(file, err);
}

static sv_status put_data(const writing *w, sv_atomic_file *file, sv_error *err)
{
    static const unsigned char zeros[PAGE];
    sv_status status = SV_OK;
    for (size_t i = 0; !status && i < w->graph->stored_count; i++) {
        const sv_onnx_stored *s = &w->graph->stored[i];
        if (!is_external(w, i)) continue;
        status = sv_atomic_write(file, s->data, s->bytes, err);
        if (!status) status = sv_atomic_write(file, zeros, (PAGE - s->bytes % PAGE) % PAGE, err);
    }
    return status ? status : sv_atomic_flush(file, err);
}

/* With data beside it the old model goes first: killed between the renames there is no model rather than one with foreign data. */
static sv_status commit(sv_atomic_file *model, sv_atomic_file *data, const char *path, sv_error *err)
{
    if (!data->path) return sv_atomic_commit(model, err);
    if (sv_path_exists(path) && unlink(path) < 0) return sv_fail(err, SV_FAULT, "%s: the file before cannot be replaced: %m", path);
    sv_status status = sv_atomic_commit(data, err);
    return status ? status : sv_atomic_commit(model, err);
}

static sv_status write_both(writing *w, const char *path, const char *data_path, sv_onnx_check_file *check, void *context, sv_error *err)
{
    sv_atomic_file model = { 0 }, data = { 0 };
    uint64_t bytes = w->before.length + w->after.length;
    for (size_t i = 0; i < w->graph->stored_count; i++) bytes += w->graph->stored[i].bytes;
    sv_status status = sv_disk_check(path, bytes, err);
    if (!status) status = sv_atomic_open(&model, path, err);
    if (!status && w->data_name) status = sv_atomic_open(&data, data_path, err);
    if (!status && w->data_name) status = put_data(w, &data, err);
    if (!status) status = put_model(w, &model, err);
    if (!status && check) status = check(context, model.temporary, data.temporary, err);
    if (!status) status = commit(&model, &data, path, err);
    sv_atomic_abandon(&model);
    sv_atomic_abandon(&data);
    return status;
}

sv_status sv_onnx_write(sv_onnx_graph *graph, const char *path, uint64_t external_above, sv_onnx_check_file *check, void *context,
                        sv_error *err)
{
    writing w = { .graph = graph };
    sv_text data_path = { 0 };
    if (graph->failed) {
        if (err) *err = graph->error;
        return graph->failed;
    }
    if (!external_above || external_above > most_message) external_above = most_message;
    sv_text_add(&data_path, "%s.data", path);
    sv_status status = sv_text_check(&data_path, err);
    if (!status) status = sv_alloc_zero(&w.heads, (graph->stored_count + 1) * sizeof *w.heads, "onnx", err);
    const char *slash = status ? NULL : strrchr(data_path.data, '/');
    if (!status) status = lay_out(&w, path, slash ? slash + 1 : data_path.data, external_above, err);
    if (!status) status = write_both(&w, path, data_path.data, check, context, err);
    for (size_t i = 0; w.heads && i < graph->stored_count; i++) sv_text_clear(&w.heads[i]);
    sv_free(w.heads);
    sv_text_clear(&w.before);
    sv_text_clear(&w.after);
    sv_text_clear(&data_path);
    return status;
}
