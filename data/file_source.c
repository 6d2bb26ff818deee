/* Samples that are single files: what the kinds folder and flat share. */
#include "data/source_kind.h"

#include <string.h>

sv_status sv_file_source_add(sv_file_source *source, const char *path, uint32_t label, sv_error *err)
{
    sv_status status = sv_grow(&source->samples, &source->capacity, source->base.count + 1, sizeof *source->samples, "data", err);
    if (status) return status;
    size_t at = source->paths.length;
    sv_text_add_bytes(&source->paths, path, strlen(path) + 1);
    status = sv_text_check(&source->paths, err);
    if (!status) source->samples[source->base.count++] = (sv_file_sample){ at, label };
    return status;
}

sv_status sv_file_source_path(const sv_source *source, size_t sample, char **path, sv_error *err)
{
    const sv_file_source *files = (const sv_file_source *)source;
    return sv_path_join(path, source->root, files->paths.data + files->samples[sample].path_at, err);
}

sv_status sv_file_source_bytes(const sv_source *source, size_t sample, sv_bytes *room, sv_error *err)
{
    sv_file file = { 0 };
    char *path = NULL;
    room->count = 0;
    sv_status status = sv_file_source_path(source, sample, &path, err);
    if (!status) status = sv_file_open(&file, path, SV_DATA, err);
    if (!status) status = sv_bytes_reserve(room, file.size, path, err);
    if (!status) status = sv_file_read_at(&file, 0, room->data, (size_t)file.size, err);
    if (!status) room->count = (size_t)file.size;
    sv_file_close(&file);
    sv_free(path);
    return status;
}

uint32_t sv_file_source_label(const sv_source *source, size_t sample) { return ((const sv_file_source *)source)->samples[sample].label; }

void sv_file_source_clear(sv_source *source)
{
    sv_file_source *files = (sv_file_source *)source;
    sv_free(files->samples);
    sv_text_clear(&files->paths);
}
