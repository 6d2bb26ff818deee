#include "eval/logits_file.h"

#include <stdio.h>
#include <string.h>

sv_status sv_logits_take(void *context, uint64_t sample, uint32_t label, const sv_real *logits, size_t classes, sv_error *err)
{
    sv_logits_file *file = context;
    (void)sample, (void)label;
    sv_status status = sv_grow(&file->block, &file->capacity, (file->count + 1) * classes, sizeof *file->block, "logits", err);
    if (status) return status;
    for (size_t k = 0; k < classes; k++) file->block[file->count * classes + k] = (float)logits[k];
    file->classes = classes;
    file->count++;
    return SV_OK;
}

sv_status sv_logits_write(const sv_logits_file *file, const char *path, sv_error *err)
{
    char header[128];
    sv_atomic_file out = { 0 };
    int length = snprintf(header + 10, sizeof header - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", file->count, file->classes);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)(sizeof header - 10);
    header[9] = 0;
    memset(header + 10 + length, ' ', sizeof header - 11 - (size_t)length);
    header[sizeof header - 1] = '\n';
    sv_status status = sv_atomic_open(&out, path, err);
    if (!status) status = sv_atomic_write(&out, header, sizeof header, err);
    if (!status) status = sv_atomic_write(&out, file->block, file->count * file->classes * sizeof(float), err);
    if (!status) status = sv_atomic_commit(&out, err);
    sv_atomic_abandon(&out);
    return status;
}

void sv_logits_clear(sv_logits_file *file)
{
    sv_free(file->block);
    memset(file, 0, sizeof *file);
}
