/* Multiply-adds of pruned inference and of a training step, by the counting rules of spec latency 4.1 and exact savings 3. */
#include "pruning/form.h"

/* A dense model of several stages has no form of its own: all its blocks run whole. */
static const sv_pruning_form *form_of(const sv_model *model, const sv_pruning_plan *plan)
{
    if (plan->stages) return sv_form_find(plan->method, model);
    return sv_form_flat.misfit(model) ? NULL : &sv_form_flat;
}

uint64_t sv_pruned_macs(const sv_model *model, const sv_pruning_plan *plan, const size_t *kept)
{
    const sv_pruning_form *form = form_of(model, plan);
    return form ? form->macs(model, plan, kept) : sv_model_macs(model);
}

uint64_t sv_training_macs(const sv_model *model, const sv_pruning_plan *plan, const size_t *kept, const sv_model *teacher)
{
    const sv_pruning_form *form = form_of(model, plan);
    const uint64_t student = form ? form->training_macs(model, plan, kept) : 3 * sv_model_macs(model); /* backward is two products for one */
    return student + (teacher ? sv_model_macs(teacher) : 0);
}
