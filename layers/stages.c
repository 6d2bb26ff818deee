/* See stages.h. */
#include "layers/stages.h"

const sv_stages *sv_stages_of(const sv_model *model) { return model->backbone->form; }

size_t sv_stage_of(const sv_stages *stages, size_t index, size_t *inside)
{
    size_t stage = 0;
    while (stage + 1 < stages->count && index >= stages->depth[stage]) index -= stages->depth[stage++];
    *inside = index;
    return stage;
}

sv_place sv_stage_place(const sv_model *model, size_t index, size_t (*side_of)(const sv_model *model, size_t stage))
{
    const sv_stages *stages = sv_stages_of(model);
    size_t inside = 0, stage = sv_stage_of(stages, index, &inside), side = side_of(model, stage);
    return (sv_place){ .stage = stage, .patches = side * side, .side = side, .width = stages->width[stage], .heads = stages->heads[stage] ? stages->heads[stage] : 1 };
}

sv_status sv_stages_check(const sv_model *model, sv_error *err)
{
    const sv_model_options *o = &model->options, *row = &model->backbone->options;
    if (o->patch != row->patch || o->width != row->width || o->depth != row->depth || o->heads != row->heads
        || o->mlp_ratio != row->mlp_ratio)
        return sv_fail(err, SV_USAGE,
                       "%s has its sizes by stage: model.patch, width, depth, heads and mlp_ratio cannot be set; leave them out",
                       model->backbone->name);
    return SV_OK;
}
