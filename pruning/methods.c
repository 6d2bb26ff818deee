/* What the rows of sv_method stand for. */
#include "pruning/inside.h"

#include <string.h>

#define DECLARE(NAME, name) extern const sv_pruning_method sv_method_##name;
SV_METHOD_ROWS(DECLARE)

#define ENTRY(NAME, name) &sv_method_##name,
static const sv_pruning_method *const methods[] = { SV_METHOD_ROWS(ENTRY) };

const sv_pruning_method *sv_pruning_method_of(sv_method method) { return methods[method]; }
const char *sv_method_name(sv_method method) { return methods[method]->name; }

const char *sv_method_title(sv_method method) { return methods[method]->title; }

sv_method_form sv_method_form_of(sv_method method)
{
    return methods[method]->merges ? SV_IN_EVERY_BLOCK : methods[method]->inside ? SV_INSIDE_BLOCKS : SV_BETWEEN_BLOCKS;
}

bool sv_method_find(sv_method *out, const char *name)
{
    for (size_t i = 0; i < SV_METHODS; i++)
        if (strcmp(methods[i]->name, name) == 0) {
            *out = (sv_method)i;
            return true;
        }
    return false;
}
