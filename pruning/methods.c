/* The list of pruning methods: the only one. A new method is one file and one row here, and its word in the choices of pruning.method. */
#include "pruning/inside.h"

#include <string.h>

extern const sv_pruning_method sv_method_spvit, sv_method_dynamicvit, sv_method_random, sv_method_attention, sv_method_evit, sv_method_tome;
static const sv_pruning_method *const methods[] = {
    [SV_METHOD_SPVIT] = &sv_method_spvit,         [SV_METHOD_DYNAMICVIT] = &sv_method_dynamicvit, [SV_METHOD_RANDOM] = &sv_method_random,
    [SV_METHOD_ATTENTION] = &sv_method_attention, [SV_METHOD_EVIT] = &sv_method_evit,             [SV_METHOD_TOME] = &sv_method_tome,
};
_Static_assert(SV_COUNT(methods) == SV_METHODS, "each method of sv_method has a row");

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
