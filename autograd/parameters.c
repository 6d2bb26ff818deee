/* Parameters of a model: named, in one flat block of values and one of gradients, so that optimizer, norm, checkpoint and
 * all-reduce see one array each. Blocks are padded to 16 numbers between parameters; the padding is zero and stays zero. */
#include "autograd/autograd.h"

#include <string.h>

enum { BLOCK_UNIT = 16 };

static const char *const precision_names[SV_PRECISION_COUNT] = { "fp32", "bf16", "bf16x3" };

const char *sv_precision_name(sv_precision precision) { return precision_names[precision]; }

bool sv_precision_find(sv_precision *out, const char *name)
{
    for (size_t p = 0; p < SV_PRECISION_COUNT; p++)
        if (strcmp(precision_names[p], name) == 0) {
            *out = (sv_precision)p;
            return true;
        }
    return false;
}

sv_status sv_parameters_create(sv_parameters **out, sv_error *err)
{
    sv_parameters *set = NULL;
    sv_status status = sv_alloc_zero(&set, sizeof *set, "parameters", err);
    if (status) return status;
    set->version = 1;
    *out = set;
    return SV_OK;
}

static void parameter_free(sv_parameter *parameter)
{
    if (!parameter) return;
    for (size_t p = 0; p < SV_PRECISION_COUNT; p++) {
        sv_free(parameter->forward[p].panels);
        sv_free(parameter->backward[p].panels);
    }
    sv_free(parameter->name);
    sv_free(parameter);
}

void sv_parameters_destroy(sv_parameters *set)
{
    if (!set) return;
    for (size_t i = 0; i < set->count; i++) parameter_free(set->items[i]);
    sv_free(set->items);
    sv_free(set->values);
    sv_free(set->gradients);
    sv_free(set);
}

static sv_status padded(size_t *out, size_t count, const char *name, sv_error *err)
{
    if (sv_align_up(out, count, BLOCK_UNIT)) return sv_fail(err, SV_MODEL_FILE, "parameter '%s': its size does not fit the address space", name);
    return SV_OK;
}

sv_status sv_parameters_add(sv_parameters *set, sv_parameter **out, const char *name, uint32_t dims, const size_t *shape, sv_error *err)
{
    sv_parameter *parameter = NULL;
    size_t room = 0;
    sv_status status = SV_OK;
    if (set->values) return sv_fail(err, SV_FAULT, "parameter '%s' is declared after the blocks were made", name);
    if (dims > SV_MOST_DIMS) return sv_fail(err, SV_FAULT, "parameter '%s' has %u dimensions; at most %d are possible", name, dims, SV_MOST_DIMS);
    if (sv_parameters_find(set, name)) return sv_fail(err, SV_FAULT, "parameter '%s' is declared twice", name);
    status = sv_alloc_zero(&parameter, sizeof *parameter, "parameters", err);
    if (status) goto done;
    status = sv_text_copy(&parameter->name, name, err);
    if (status) goto done;
    parameter->count = 1;
    parameter->dims = dims;
    for (uint32_t d = 0; d < dims; d++) {
        parameter->shape[d] = shape[d];
        if (sv_mul_size(&parameter->count, parameter->count, shape[d])) {
            status = sv_fail(err, SV_MODEL_FILE, "parameter '%s': its size does not fit the address space", name);
            goto done;
        }
    }
    status = padded(&room, parameter->count, name, err);
    if (status) goto done;
    parameter->offset = set->total;
    if (sv_add_size(&room, set->total, room)) {
        status = sv_fail(err, SV_MODEL_FILE, "parameter '%s': the model does not fit the address space", name);
        goto done;
    }
    status = sv_grow(&set->items, &set->capacity, set->count + 1, sizeof *set->items, "parameters", err);
    if (status) goto done;
    parameter->trainable = true;
    parameter->set = set;
    set->total = room;
    set->items[set->count++] = parameter;
    *out = parameter;
    parameter = NULL;
done:
    parameter_free(parameter);
    return status;
}

sv_status sv_parameters_allocate(sv_parameters *set, bool with_gradients, sv_error *err)
{
    sv_real *values = NULL, *gradients = NULL;
    size_t bytes = 0;
    sv_status status = SV_OK;
    if (sv_mul_size(&bytes, set->total, sizeof *values)) return sv_fail(err, SV_MODEL_FILE, "the model does not fit the address space");
    status = sv_alloc_zero(&values, bytes, "parameter values", err);
    if (!status && with_gradients) status = sv_alloc_zero(&gradients, bytes, "parameter gradients", err);
    if (status) {
        sv_free(values);
        return status;
    }
    set->values = values;
    set->gradients = gradients;
    for (size_t i = 0; i < set->count; i++) {
        sv_parameter *parameter = set->items[i];
        parameter->value = values + parameter->offset;
        parameter->gradient = gradients ? gradients + parameter->offset : NULL;
        if (!gradients) parameter->trainable = false;
    }
    return SV_OK;
}

sv_parameter *sv_parameters_find(const sv_parameters *set, const char *name)
{
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->items[i]->name, name) == 0) return set->items[i];
    return NULL;
}

void sv_parameters_changed(sv_parameters *set) { set->version++; }

void sv_parameters_zero_gradients(sv_parameters *set)
{
    if (set->gradients) memset(set->gradients, 0, set->total * sizeof *set->gradients);
}
