/* What a run of a deployed model consists of: each form lists its own, here stands what they share. */
#include "pruning/form.h"

void sv_part_add(sv_part_list *list, sv_part_kind kind, size_t index, size_t selector, size_t tokens)
{
    const sv_model *model = list->model;
    const bool grids = sv_model_place(model, sv_model_depth(model) - 1).stage > 0;
    list->parts[list->count++] = (sv_part){ .kind = kind, .grid = grids ? sv_model_place(model, index).stage + 1 : 0, .behind = list->behind, .selector = selector, .tokens = tokens };
    list->behind += kind == SV_PART_SELECTOR;
}

/* Of a block: a step, a selector and itself, or in halves; methods that merge have no steps. */
size_t sv_removal_parts_most(const sv_model *model, const sv_pruning_plan *plan) { return 2 + 2 * sv_model_depth(model) + plan->stages; }

size_t sv_removal_parts(const sv_model *model, const sv_pruning_plan *plan, sv_part *parts)
{
    sv_part_list list = { .model = model, .parts = parts };
    const sv_pruning_form *form = plan->stages ? sv_form_find(plan->method, model) : &sv_form_flat;
    form->parts(plan, &list);
    return list.count;
}
