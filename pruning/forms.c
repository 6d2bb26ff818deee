/* Which form of pruning a method takes on a model. */
#include "pruning/form.h"

#include <stdio.h>
#include <string.h>

const sv_pruning_form *sv_form_find(sv_method method, const sv_model *model)
{
    const sv_pruning_method *m = sv_pruning_method_of(method);
    for (size_t i = 0; i < SV_FORMS_MOST && m->forms[i]; i++)
        if (!m->forms[i]->misfit(model)) return m->forms[i];
    return NULL;
}

/* A reason that two forms share is said once. */
const char *sv_form_misfits(char *room, size_t size, sv_method method, const sv_model *model)
{
    const sv_pruning_method *m = sv_pruning_method_of(method);
    const char *last = "";
    room[0] = 0;
    for (size_t i = 0, used = 0; i < SV_FORMS_MOST && m->forms[i] && used < size; i++) {
        const char *reason = m->forms[i]->misfit(model);
        if (reason && strcmp(reason, last) != 0) snprintf(room + used, size - used, "%s%s", used ? "; " : "", reason);
        if (reason) last = reason;
        used = strlen(room);
    }
    return room;
}

size_t sv_plan_packages(const sv_pruning_plan *plan, size_t selectors) { return plan->package == SV_CHOICE_NONE ? 0 : selectors; }
