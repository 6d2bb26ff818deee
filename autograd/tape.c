/* Recording: leaves and nodes in order of creation, shapes checked, nothing computed. The first error stays. */
#include "autograd/tape_internal.h"

#include <stdio.h>
#include <string.h>

size_t sv_dtype_size(sv_dtype dtype)
{
    static const size_t bytes[] = { [SV_REAL] = sizeof(sv_real), [SV_INDEX] = sizeof(int32_t), [SV_BF16] = sizeof(uint16_t) };
    return bytes[dtype];
}

sv_rows sv_rows_fixed(size_t rows) { return (sv_rows){ .source = -1, .add = (int32_t)rows, .times = 1, .most = (uint32_t)rows }; }

bool sv_rows_equal(sv_rows a, sv_rows b)
{
    if (a.source < 0 && b.source < 0) return a.most == b.most;
    return a.source == b.source && a.add == b.add && a.times == b.times;
}

sv_rows sv_rows_plus(sv_rows rows, int32_t add)
{
    if (rows.times != 1) {
        if (rows.source < 0) return sv_rows_fixed((size_t)((int64_t)rows.most + add));
        add /= (int32_t)rows.times;
        rows.most = (uint32_t)((int64_t)rows.most + (int64_t)add * rows.times);
    } else {
        rows.most = (uint32_t)((int64_t)rows.most + add);
    }
    rows.add += add;
    return rows;
}

sv_rows sv_rows_times(sv_rows rows, uint32_t times)
{
    rows.times *= times;
    rows.most *= times;
    return rows;
}

sv_status sv_tape_create(sv_tape **out, const sv_tape_options *options, sv_error *err)
{
    sv_tape *tape = NULL;
    sv_status status = sv_alloc_zero(&tape, sizeof *tape, "tape", err);
    if (status) return status;
    tape->options = *options;
    if (!tape->options.images_most) tape->options.images_most = 1;
    if (!tape->options.lanes) tape->options.lanes = 4;
    *out = tape;
    return SV_OK;
}

void sv_tape_destroy(sv_tape *tape)
{
    if (!tape) return;
    for (size_t i = 0; i < tape->tensor_count; i++) sv_free(tape->tensors[i]);
    for (size_t i = 0; i < tape->node_count; i++) sv_free(tape->nodes[i]);
    for (size_t i = 0; tape->segments && i < tape->segment_count; i++) {
        sv_free(tape->segments[i].way);
        sv_free(tape->segments[i].lane_items);
    }
    for (size_t i = 0; i < tape->scratch_threads; i++) sv_free(tape->scratch[i]);
    sv_free(tape->tensors);
    sv_free(tape->plans);
    sv_free(tape->nodes);
    sv_free(tape->segments);
    sv_free(tape->counts);
    sv_free(tape->barriers);
    sv_free(tape->saved);
    sv_free(tape->redone);
    sv_free(tape->next_packed);
    sv_free(tape->arena);
    sv_free(tape->batch_arena);
    sv_free(tape->team_arena);
    sv_free(tape->zeros);
    sv_free(tape->scratch);
    sv_exchange_destroy(tape);
    sv_free(tape->lanes);
    sv_free(tape->lane_empty);
    sv_free(tape->peer_first);
    sv_free(tape->samples);
    sv_clocks_destroy(tape);
    sv_free(tape);
}

sv_mode sv_tape_mode(const sv_tape *tape) { return tape->options.mode; }

/* Puts the sentence in tape->error; later failures do not replace it. */
static void fail(sv_tape *tape, const sv_error *error)
{
    if (tape->failed) return;
    tape->error = *error;
    tape->failed = true;
}

void sv_tape_fail(sv_tape *tape, sv_status code, const char *format, ...)
{
    sv_error error = { .code = code };
    va_list list;
    va_start(list, format);
    vsnprintf(error.text, sizeof error.text, format, list);
    va_end(list);
    fail(tape, &error);
}

static sv_tensor *tensor_add(sv_tape *tape)
{
    sv_tensor *tensor = NULL;
    sv_error error = { 0 };
    if (tape->failed) return NULL;
    if (tape->finished) {
        sv_tape_fail(tape, SV_FAULT, "the tape is finished; nothing more can be recorded on it");
        return NULL;
    }
    if (sv_grow(&tape->tensors, &tape->tensor_capacity, tape->tensor_count + 1, sizeof *tape->tensors, "tape", &error) ||
        sv_grow(&tape->plans, &tape->plan_capacity, tape->tensor_count + 1, sizeof *tape->plans, "tape", &error) ||
        sv_alloc_zero(&tensor, sizeof *tensor, "tape", &error)) {
        fail(tape, &error);
        return NULL;
    }
    tensor->index = (uint32_t)tape->tensor_count;
    tensor->node = UINT32_MAX;
    memset(&tape->plans[tape->tensor_count], 0, sizeof *tape->plans);
    tape->tensors[tape->tensor_count++] = tensor;
    return tensor;
}

static void set_label(sv_tensor *tensor, const char *label) { snprintf(tensor->label, sizeof tensor->label, "%s", label); }

sv_tensor *sv_tape_input(sv_tape *tape, const char *label, sv_dtype dtype, size_t rows, size_t width, bool wants_gradient)
{
    sv_tensor *tensor = NULL;
    if (rows == 0 || width == 0 || rows > INT32_MAX / 64 || width > UINT32_MAX) {
        sv_tape_fail(tape, SV_USAGE, "input '%s' cannot have %zu rows of %zu numbers", label, rows, width);
        return NULL;
    }
    tensor = tensor_add(tape);
    if (!tensor) return NULL;
    set_label(tensor, label);
    tensor->dtype = dtype;
    tensor->extent = SV_PER_IMAGE;
    tensor->rows = tensor->live = sv_rows_fixed(rows);
    tensor->width = width;
    tensor->needs_gradient = wants_gradient && tape->options.mode == SV_TRAINING && dtype == SV_REAL;
    tape->plans[tensor->index].kept = true;
    tape->plans[tensor->index].wanted = tensor->needs_gradient;
    return tensor;
}

sv_tensor *sv_tape_batch_input(sv_tape *tape, const char *label, size_t width)
{
    sv_tensor *tensor = tensor_add(tape);
    if (!tensor) return NULL;
    set_label(tensor, label);
    tensor->extent = SV_PER_BATCH;
    tensor->rows = tensor->live = sv_rows_fixed(1);
    tensor->width = width;
    tape->plans[tensor->index].kept = true;
    return tensor;
}

sv_tensor *sv_tape_parameter(sv_tape *tape, sv_parameter *parameter)
{
    sv_tensor *tensor = NULL;
    if (!parameter || tape->failed) return NULL;
    for (size_t i = 0; i < tape->tensor_count; i++)
        if (tape->tensors[i]->parameter == parameter) return tape->tensors[i];
    tensor = tensor_add(tape);
    if (!tensor) return NULL;
    set_label(tensor, parameter->name);
    tensor->extent = SV_SHARED;
    tensor->parameter = parameter;
    tensor->width = parameter->dims ? parameter->shape[parameter->dims - 1] : 1;
    tensor->rows = tensor->live = sv_rows_fixed(tensor->width ? parameter->count / tensor->width : 0);
    tensor->needs_gradient = tape->options.mode == SV_TRAINING && parameter->trainable && !parameter->fixed && parameter->gradient;
    return tensor;
}

/* The names of a node's inputs for messages: "linear(norm1, blocks.0.attn.qkv.weight)". */
static void describe(sv_text *text, const sv_op *op, sv_tensor *const *inputs, size_t count)
{
    sv_text_add(text, "%s(", op->name);
    for (size_t i = 0; i < count; i++) {
        const sv_tensor *t = inputs[i];
        if (i) sv_text_add(text, ", ");
        if (!t) sv_text_add(text, "none");
        else if (t->extent == SV_SHARED && t->parameter->dims > 1) sv_text_add(text, "%s [%u,%zu]", t->label, t->rows.most, t->width);
        else sv_text_add(text, "%s [%s%u,%zu]", t->label[0] ? t->label : "tensor", t->rows.source >= 0 ? "<=" : "", t->rows.most, t->width);
    }
    sv_text_add(text, ")");
}

static sv_status check_inputs(const sv_op *op, sv_tensor *const *inputs, size_t count, sv_error *err)
{
    if (count < op->inputs_least || count > op->inputs_most)
        return sv_fail(err, SV_FAULT, "takes %u to %u inputs, got %zu", op->inputs_least, op->inputs_most, count);
    for (size_t i = 0; i < count; i++)
        if (!inputs[i] && !(op->optional >> i & 1)) return sv_fail(err, SV_FAULT, "input %zu is missing", i);
    return SV_OK;
}

static bool gradient_flows(const sv_node *node)
{
    for (uint32_t i = 0; i < node->input_count; i++)
        if (node->in[i] && node->in[i]->needs_gradient) return true;
    return false;
}

sv_tensor *sv_tape_record(sv_tape *tape, const sv_op *op, sv_tensor *const *inputs, size_t input_count, const sv_attributes *attributes,
                          sv_tensor **outputs)
{
    sv_node *node = NULL;
    sv_text text = { 0 };
    sv_error error = { 0 };
    sv_status status = SV_OK;
    for (uint32_t o = 0; outputs && o < op->outputs; o++) outputs[o] = NULL;
    if (tape->failed) return NULL;
    status = check_inputs(op, inputs, input_count, &error);
    if (status) goto done;
    status = sv_alloc_zero(&node, sizeof *node, "tape", &error);
    if (status) goto done;
    node->op = op;
    node->precision = tape->options.precision;
    if (attributes) node->attributes = *attributes;
    node->input_count = (uint32_t)input_count;
    node->output_count = op->outputs;
    node->count_source = -1;
    node->index = (uint32_t)tape->node_count;
    if (op->sets_count) node->count_source = (int32_t)tape->count_sources;
    for (size_t i = 0; i < input_count; i++) node->in[i] = inputs[i];
    status = sv_grow(&tape->nodes, &tape->node_capacity, tape->node_count + 1, sizeof *tape->nodes, "tape", &error);
    if (status) goto done;
    for (uint32_t o = 0; o < op->outputs; o++) {
        const sv_tensor *like = inputs[0];
        node->out[o] = tensor_add(tape);
        if (!node->out[o]) {
            sv_free(node);
            return NULL;
        }
        if (like) {
            node->out[o]->extent = like->extent;
            node->out[o]->rows = like->rows;
            node->out[o]->live = like->live;
            node->out[o]->width = like->width;
        }
        node->out[o]->node = node->index;
        set_label(node->out[o], op->name);
    }
    status = op->shape(node, &error);
    if (status) goto done;
    if (tape->options.mode == SV_TRAINING && gradient_flows(node)) {
        if (!op->backward && !op->stops_gradient) {
            status = sv_fail(&error, SV_USAGE, "has no gradient, but one is needed through it");
            goto done;
        }
        for (uint32_t o = 0; o < op->outputs && op->backward; o++) node->out[o]->needs_gradient = node->out[o]->dtype == SV_REAL;
    }
    if (op->sets_count) tape->count_sources++;
    if (tape->cut_next || !tape->node_count || op->locality == SV_BATCH_OP ||
        tape->nodes[tape->node_count - 1]->op->locality == SV_BATCH_OP)
        tape->segment_count++;
    tape->cut_next = false;
    node->segment = tape->segment_count - 1;
    tape->nodes[tape->node_count++] = node;
    for (uint32_t o = 0; outputs && o < op->outputs; o++) outputs[o] = node->out[o];
    return node->out[0];
done:
    describe(&text, op, inputs, input_count);
    sv_fail_within(&error, "%s", text.data ? text.data : op->name);
    fail(tape, &error);
    sv_text_clear(&text);
    sv_free(node);
    return NULL;
}

void sv_tape_cut(sv_tape *tape) { tape->cut_next = true; }

void sv_tape_keep(sv_tape *tape, sv_tensor *tensor)
{
    if (tensor && !tape->failed) tape->plans[tensor->index].kept = true;
}

void sv_tape_label(sv_tape *tape, sv_tensor *tensor, const char *format, ...)
{
    va_list list;
    if (!tensor || tape->failed) return;
    va_start(list, format);
    vsnprintf(tensor->label, sizeof tensor->label, format, list);
    va_end(list);
}

size_t sv_tensor_width(const sv_tensor *tensor) { return tensor->width; }
sv_rows sv_tensor_rows(const sv_tensor *tensor) { return tensor->rows; }

sv_status sv_tape_finish(sv_tape *tape, sv_tensor *loss, sv_error *err)
{
    sv_status status = SV_OK;
    if (tape->failed) {
        if (err) *err = tape->error;
        return tape->error.code;
    }
    if (loss && (loss->extent != SV_PER_BATCH || loss->width != 1))
        return sv_fail(err, SV_FAULT, "the loss must be one number of the batch, but '%s' is not", loss->label);
    if (!tape->node_count) return sv_fail(err, SV_FAULT, "the tape is empty");
    tape->loss = loss;
    status = sv_tape_plan(tape, err);
    if (!status && tape->options.mode == SV_INFERENCE) status = sv_plan_team(tape, err);
    if (status) return status;
    tape->finished = true;
    return SV_OK;
}
