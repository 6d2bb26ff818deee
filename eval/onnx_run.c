/* The walk over a graph: each node's op is found by name, values are freed behind their last use. */
#include "eval/onnx_op.h"

#include <stdio.h>
#include <string.h>

void sv_onnx_array_clear(sv_onnx_array *array)
{
    sv_free(array->data);
    *array = (sv_onnx_array){ 0 };
}

/* ---- what ops share ---------------------------------------------------------------------------------------------- */

sv_status sv_onnx_make(const sv_onnx_op_call *call, sv_onnx_array *out, int64_t type, size_t rank, const size_t *dims)
{
    size_t bytes = 0, count = 1;
    sv_onnx_array made = { .type = type, .rank = rank };
    if (rank > SV_ONNX_RANK || !sv_onnx_type_bytes(type)) return sv_onnx_unfit(call);
    for (size_t i = 0; i < rank; i++) {
        made.dims[i] = dims[i];
        if (sv_mul_size(&count, count, dims[i])) return sv_onnx_unfit(call);
    }
    if (sv_mul_size(&bytes, count, sv_onnx_type_bytes(type))) return sv_onnx_unfit(call);
    if (bytes > SV_ONNX_VALUE_BYTES)
        return sv_fail(call->err, SV_MODEL_FILE, "%s: its result would take %zu bytes; at most %d are computed here", call->node->op, bytes,
                       SV_ONNX_VALUE_BYTES);
    made.count = count;
    sv_status status = sv_alloc(&made.data, bytes, "onnx values", call->err);
    if (!status) *out = made;
    return status;
}

sv_status sv_onnx_unfit(const sv_onnx_op_call *call)
{
    return sv_fail(call->err, SV_MODEL_FILE, "%s: its inputs or attributes do not fit it", call->node->op);
}

int64_t sv_onnx_int_attribute(const sv_onnx_op_call *call, const char *name, int64_t otherwise)
{
    const sv_onnx_read_attribute *a = sv_onnx_attribute_of(call->node, name);
    return a && a->has_i ? a->i : otherwise;
}

bool sv_onnx_axis(size_t *out, int64_t axis, size_t rank)
{
    if (axis < 0) axis += (int64_t)rank;
    if (axis < 0 || axis >= (int64_t)rank) return false;
    *out = (size_t)axis;
    return true;
}

bool sv_onnx_broadcast(size_t *rank, size_t dims[SV_ONNX_RANK], const sv_onnx_array *a, const sv_onnx_array *b)
{
    *rank = a->rank > b->rank ? a->rank : b->rank;
    for (size_t i = 0; i < *rank; i++) { /* i counts from the last axis */
        const size_t n = i < a->rank ? a->dims[a->rank - 1 - i] : 1, m = i < b->rank ? b->dims[b->rank - 1 - i] : 1;
        if (n != m && n != 1 && m != 1) return false;
        dims[*rank - 1 - i] = n == 1 ? m : n;
    }
    return true;
}

void sv_onnx_strides(size_t strides[SV_ONNX_RANK], const sv_onnx_array *x, size_t rank)
{
    size_t step = 1;
    for (size_t i = 0; i < rank; i++) {
        const size_t size = i < x->rank ? x->dims[x->rank - 1 - i] : 1;
        strides[rank - 1 - i] = size == 1 ? 0 : step;
        step *= size;
    }
}

/* ---- the walk ---------------------------------------------------------------------------------------------------- */

typedef struct running {
    const sv_onnx_model *model;
    sv_onnx_array *values;
    const sv_onnx_read_tensor **stored; /* of values that are tensors of the file */
    size_t *last;                       /* the node that uses a value last; node_count: an output */
    sv_error *err;
} running;

static const sv_onnx_op *op_of(const char *name)
{
    const sv_onnx_op *tables[] = { sv_onnx_moves, sv_onnx_choices, sv_onnx_numbers, sv_onnx_maps };
    for (size_t t = 0; t < SV_COUNT(tables); t++)
        for (const sv_onnx_op *op = tables[t]; op->name; op++)
            if (strcmp(op->name, name) == 0) return op;
    return NULL;
}

static sv_status copy_array(sv_onnx_array *out, int64_t type, size_t rank, const size_t *dims, size_t count, const void *data,
                            sv_error *err)
{
    sv_onnx_array made = { .type = type, .rank = rank, .count = count };
    const size_t bytes = count * sv_onnx_type_bytes(type);
    sv_status status = sv_alloc(&made.data, bytes, "onnx values", err);
    if (status) return status;
    memcpy(made.dims, dims, rank * sizeof *dims);
    if (bytes) memcpy(made.data, data, bytes);
    *out = made;
    return SV_OK;
}

/* A value of the file is copied when it is first needed: in the file it stands at any address. */
static sv_status fetch(running *r, uint32_t value, const sv_onnx_array **out)
{
    sv_onnx_array *a = &r->values[value];
    const sv_onnx_read_tensor *t = r->stored[value];
    sv_status status = SV_OK;
    if (!a->data && t) status = copy_array(a, t->type, t->rank, t->dims, t->count, t->data, r->err);
    *out = a;
    return status;
}

static sv_status run_node(running *r, size_t index)
{
    const sv_onnx_read_node *node = &r->model->nodes[index];
    const sv_onnx_op *op = op_of(node->op);
    sv_onnx_array out[SV_ONNX_MOST_OUTPUTS] = { { 0 } };
    sv_onnx_op_call call = { .node = node, .out = out, .err = r->err };
    sv_status status = SV_OK;
    char name[64];
    if (!op) return sv_fail(r->err, SV_MODEL_FILE, "the op %s is not known", sv_text_safe(name, sizeof name, node->op));
    if (node->in_count > SV_ONNX_MOST_IN || node->in_count < op->inputs || !node->out_count || node->out_count > SV_ONNX_MOST_OUTPUTS)
        return sv_onnx_unfit(&call);
    for (size_t i = 0; !status && i < node->in_count; i++) {
        if (node->in[i] != UINT32_MAX)
            status = fetch(r, node->in[i], &call.in[i]);
        else if (i < op->inputs)
            status = sv_onnx_unfit(&call);
    }
    if (!status) status = op->run(&call);
    for (size_t i = 0; i < node->out_count; i++) {
        if (node->out[i] == UINT32_MAX)
            sv_onnx_array_clear(&out[i]);
        else
            r->values[node->out[i]] = out[i];
    }
    for (size_t i = 0; i < node->in_count; i++)
        if (node->in[i] != UINT32_MAX && r->last[node->in[i]] == index) sv_onnx_array_clear(&r->values[node->in[i]]);
    return status;
}

static void note_uses(running *r)
{
    const sv_onnx_model *m = r->model;
    for (size_t i = 0; i < m->node_count; i++)
        for (size_t k = 0; k < m->nodes[i].in_count; k++)
            if (m->nodes[i].in[k] != UINT32_MAX) r->last[m->nodes[i].in[k]] = i;
    for (size_t i = 0; i < m->output_count; i++) r->last[m->outputs[i].value] = m->node_count;
    for (size_t i = 0; i < m->initializer_count; i++)
        if (m->initializers[i].value != UINT32_MAX) r->stored[m->initializers[i].value] = &m->initializers[i];
}

static sv_status put_inputs(running *r, const sv_onnx_array *inputs)
{
    const sv_onnx_model *m = r->model;
    sv_status status = SV_OK;
    for (size_t i = 0; !status && i < m->input_count; i++) {
        const sv_onnx_read_value *v = &m->inputs[i];
        bool fits = v->value != UINT32_MAX && v->type == inputs[i].type && v->rank == inputs[i].rank;
        for (size_t k = 0; fits && k < v->rank; k++) fits = v->dims[k] < 0 || (size_t)v->dims[k] == inputs[i].dims[k];
        if (!fits) return sv_fail(r->err, SV_MODEL_FILE, "input %zu is of another kind or size than the graph says", i);
        status = copy_array(&r->values[v->value], v->type, v->rank, inputs[i].dims, inputs[i].count, inputs[i].data, r->err);
    }
    return status;
}

static sv_status take_outputs(running *r, sv_onnx_array *outputs)
{
    const sv_onnx_model *m = r->model;
    sv_status status = SV_OK;
    for (size_t i = 0; !status && i < m->output_count; i++) {
        const sv_onnx_array *a = NULL;
        status = fetch(r, m->outputs[i].value, &a);
        if (!status && (a->type != m->outputs[i].type || a->rank != m->outputs[i].rank))
            status = sv_fail(r->err, SV_MODEL_FILE, "output %zu is of another kind than the graph says", i);
        for (size_t k = 0; !status && k < a->rank; k++)
            if (m->outputs[i].dims[k] >= 0 && (size_t)m->outputs[i].dims[k] != a->dims[k])
                status = sv_fail(r->err, SV_MODEL_FILE, "output %zu has another size than the graph says", i);
        if (!status) status = copy_array(&outputs[i], a->type, a->rank, a->dims, a->count, a->data, r->err);
    }
    return status;
}

sv_status sv_onnx_run(const sv_onnx_model *model, const sv_onnx_array *inputs, sv_onnx_array *outputs, sv_error *err)
{
    running r = { .model = model, .err = err };
    sv_status status = sv_alloc_zero(&r.values, model->value_count * sizeof *r.values, "onnx values", err);
    if (!status) status = sv_alloc_zero(&r.stored, model->value_count * sizeof *r.stored, "onnx values", err);
    if (!status) status = sv_alloc_zero(&r.last, model->value_count * sizeof *r.last, "onnx values", err);
    if (!status) note_uses(&r);
    if (!status) status = put_inputs(&r, inputs);
    for (size_t i = 0; !status && i < model->node_count; i++) {
        status = run_node(&r, i);
        if (status) sv_fail_within(err, "node %zu of the graph", i);
    }
    if (!status) status = take_outputs(&r, outputs);
    for (size_t i = 0; r.values && i < model->value_count; i++) sv_onnx_array_clear(&r.values[i]);
    sv_free(r.values);
    sv_free(r.stored);
    sv_free(r.last);
    return status;
}
