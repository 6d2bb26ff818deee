/* Tensors and metadata gathered for a file. Everything but the data itself is copied; the forms are written by
 * safetensors_write.c and pth_write.c. */
#include <string.h>

#include "formats/weights_inside.h"

sv_status sv_weights_writer_create(sv_weights_writer **out, sv_error *err)
{
    return sv_alloc_zero(out, sizeof **out, "weights writer", err);
}

void sv_weights_writer_destroy(sv_weights_writer *writer)
{
    if (!writer) return;
    for (size_t i = 0; i < writer->count; i++) sv_free(writer->items[i].name);
    for (size_t i = 0; i < writer->pair_count; i++) {
        sv_free(writer->pairs[i].key);
        sv_free(writer->pairs[i].value);
    }
    sv_free(writer->items);
    sv_free(writer->pairs);
    sv_free(writer);
}

static sv_status add_check(const sv_weights_writer *writer, const char *name, const char *dtype, size_t rank, sv_error *err)
{
    char room[96];
    sv_text_safe(room, sizeof room, name);
    if (!sv_name_valid(name, strlen(name)) || strcmp(name, "__metadata__") == 0)
        return sv_fail(err, SV_FAULT, "tensor '%s' to be written: the name must be UTF-8 and not __metadata__", room);
    if (sv_dtype_bytes(dtype) == 0) return sv_fail(err, SV_FAULT, "tensor '%s' to be written: there is no dtype '%s'", room, dtype);
    if (rank > SV_WEIGHTS_RANK)
        return sv_fail(err, SV_FAULT, "tensor '%s' to be written: %zu dimensions, at most %d are kept", room, rank, SV_WEIGHTS_RANK);
    for (size_t i = 0; i < writer->count; i++)
        if (strcmp(writer->items[i].name, name) == 0) return sv_fail(err, SV_FAULT, "tensor '%s' to be written was added twice", room);
    return SV_OK;
}

sv_status sv_weights_writer_add(sv_weights_writer *writer, const char *name, const char *dtype, size_t rank, const size_t *shape,
                                const void *data, sv_error *err)
{
    sv_written item = { .data = data };
    sv_status status = add_check(writer, name, dtype, rank, err);
    if (status) return status;
    item.dtype = sv_number_find(SV_BY_NAME, dtype);
    item.entry = (sv_weights_entry){ .dtype = item.dtype->name, .rank = rank };
    for (size_t i = 0; i < rank; i++) item.entry.shape[i] = shape[i];
    if (sv_shape_count(&item.entry.count, shape, rank) || sv_mul_size(&item.bytes, item.entry.count, item.dtype->bits / 8))
        return sv_fail(err, SV_FAULT, "tensor '%s' to be written has more elements than memory", name);
    status = sv_grow(&writer->items, &writer->capacity, writer->count + 1, sizeof item, "weights writer", err);
    if (!status) status = sv_text_copy(&item.name, name, err);
    if (status) return status;
    item.entry.name = item.name;
    writer->items[writer->count++] = item;
    return SV_OK;
}

sv_status sv_weights_writer_metadata(sv_weights_writer *writer, const char *key, const char *value, sv_error *err)
{
    sv_written_pair pair = { 0 };
    for (size_t i = 0; i < writer->pair_count; i++)
        if (strcmp(writer->pairs[i].key, key) == 0) return sv_fail(err, SV_FAULT, "metadata '%s' to be written was given twice", key);
    sv_status status = sv_grow(&writer->pairs, &writer->pair_capacity, writer->pair_count + 1, sizeof pair, "weights writer", err);
    if (!status) status = sv_text_copy(&pair.key, key, err);
    if (!status) status = sv_text_copy(&pair.value, value, err);
    if (status) {
        sv_free(pair.key);
        return status;
    }
    writer->pairs[writer->pair_count++] = pair;
    return SV_OK;
}
