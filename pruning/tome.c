/* ToMe (Bolya et al. 2023): in every block, between attention and MLP, the most similar tokens meet; nothing is learned and nothing is dropped. Who meets
 * whom is op merge_match; the loop over blocks is in walk.c. */
#include "pruning/inside.h"

static uint64_t tome_macs(const sv_model *model, size_t rows)
{
    const uint64_t all = rows + sv_model_prefix(model);
    return (all + 1) / 2 * (all / 2) * (model->options.width / model->options.heads);
}

static sv_status tome_check(const sv_model *model, sv_error *err)
{
    if (sv_model_prefix(model) > 0) return SV_OK;
    return sv_fail(err, SV_USAGE, "tome needs a class token in front, which %s has not", model->backbone->name);
}

const sv_pruning_method sv_method_tome = {
    .name = "tome",
    .title = "ToMe",
    .rule = SV_RULE_TOPK,
    .package = SV_CHOICE_NONE,
    .ratio_form = SV_RATIO_PENALTY,
    .fixed = true,
    .merges = true,
    .check = tome_check,
    .macs = tome_macs,
};
