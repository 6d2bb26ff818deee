/* The kinds of sources, and how one is chosen. */
#include "data/source_kind.h"

#include <string.h>

/* In the order in which "auto" tries them. */
static const sv_source_kind *const kinds[] = { &sv_source_shards, &sv_source_folder, &sv_source_flat };

static const sv_source_kind *kind_choose(const char *path, const sv_source_options *options)
{
    if (options->list_file && *options->list_file) return &sv_source_flat;
    for (size_t i = 0; i < SV_COUNT(kinds); i++)
        if (kinds[i]->fits(path, options)) return kinds[i];
    return &sv_source_folder; /* its refusal says what was expected */
}

/* Tars from which class folders were unpacked may still stand beside them. */
static sv_status open_as_it_looks(sv_source **out, const char *path, const sv_source_options *options, sv_error *err)
{
    const sv_source_kind *kind = kind_choose(path, options);
    sv_status status = kind->open(out, path, options, err);
    if (status == SV_DATA && kind == &sv_source_shards && sv_source_folder.fits(path, options))
        return sv_fail_within(err, "%s: taken for shards, as it holds *.tar; for its class folders set data.format = folder", path);
    return status;
}

sv_status sv_source_open(sv_source **out, const char *path, const sv_source_options *options, sv_error *err)
{
    const char *format = options->format;
    if (!format || !*format || !strcmp(format, "auto")) return open_as_it_looks(out, path, options, err);
    for (size_t i = 0; i < SV_COUNT(kinds); i++)
        if (!strcmp(kinds[i]->name, format)) return kinds[i]->open(out, path, options, err);
    return sv_fail(err, SV_USAGE, "data.format = %s is not known; expected auto, folder, flat or shards", format);
}

sv_status sv_source_open_folder(sv_source **out, const char *folder, const char *class_file, sv_error *err)
{
    return sv_source_folder.open(out, folder, &(sv_source_options){ .class_file = class_file }, err);
}
