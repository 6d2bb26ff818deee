/* ToMe (Bolya et al. 2023): in every block, between attention and MLP, the most similar tokens meet; nothing is learned and nothing is dropped. Who meets
 * whom is op merge_match; the loop over blocks is in walk.c. */
#include "pruning/form.h"

static uint64_t tome_macs(const sv_place *place, size_t rows)
{
    const uint64_t all = rows + place->prefix;
    return (all + 1) / 2 * (all / 2) * (place->width / place->heads);
}

static sv_status tome_check(const sv_place *place, sv_error *err)
{
    if (place->prefix > 0) return SV_OK;
    return sv_fail(err, SV_USAGE, "tome needs a class token in front, which this backbone has not");
}

const sv_pruning_method sv_method_tome = {
    .name = "tome",
    .title = "ToMe",
    .rule = SV_RULE_TOPK,
    .package = SV_CHOICE_NONE,
    .ratio_form = SV_RATIO_PENALTY,
    .forms = { &sv_form_flat },
    .fixed = true,
    .merges = true,
    .check = tome_check,
    .macs = tome_macs,
};
