/* Weights in int8: a tensor NAME of int8 with NAME_scale beside it, float32, a number for each index of NAME's first dimension. */
#include "formats/weights.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const sv_weights_entry *sv_weights_scale_of(const sv_weights *weights, const sv_weights_entry *entry)
{
    char name[512];
    if (strcmp(entry->dtype, "int8") != 0 || !entry->rank || strlen(entry->name) + sizeof "_scale" > sizeof name) return NULL;
    snprintf(name, sizeof name, "%s_scale", entry->name);
    const sv_weights_entry *scale = sv_weights_find(weights, name);
    return scale && strcmp(scale->dtype, "float32") == 0 && scale->count == entry->shape[0] ? scale : NULL;
}

sv_status sv_weights_read_scaled(sv_weights *weights, const sv_weights_entry *entry, sv_real *out, sv_error *err)
{
    const sv_weights_entry *scale = sv_weights_scale_of(weights, entry);
    float *scales = NULL;
    size_t bytes = 0;
    sv_status status = sv_weights_read(weights, entry, out, err);
    if (status || !scale || !entry->count) return status;
    if (sv_mul_size(&bytes, scale->count, sizeof *scales))
        return sv_fail(err, SV_MODEL_FILE, "%s: '%s' is too large", sv_weights_path(weights), scale->name);
    status = sv_alloc(&scales, bytes, "weights", err);
    if (!status) status = sv_weights_read_floats(weights, scale, scales, err);
    const size_t columns = entry->count / entry->shape[0];
    for (size_t i = 0; !status && i < entry->count; i++) {
        if (!isfinite(scales[i / columns]))
            status = sv_fail(err, SV_MODEL_FILE, "%s: '%s' holds a scale that is not finite (number %zu)", sv_weights_path(weights),
                             scale->name, i / columns);
        out[i] *= (sv_real)scales[i / columns];
    }
    sv_free(scales);
    return status;
}
