/* Patches that stay by what the class token looked at in the block in front, mean over heads: no parameters, and no gradient into the scores. */
#include "pruning/inside.h"

static sv_tensor *attention_score(sv_tape *tape, size_t stage, sv_cut *cut, sv_tensor *watched)
{
    (void)stage;
    return cut->score = sv_tape_constant(tape, watched);
}

/* One query over all rows, the prefix too. */
static uint64_t attention_macs(const sv_model *model, size_t rows)
{
    return (uint64_t)(rows + sv_model_prefix(model)) * model->options.width;
}

const sv_pruning_method sv_method_attention = {
    .name = "attention",
    .title = "class attention",
    .rule = SV_RULE_TOPK,
    .package = SV_CHOICE_NONE,
    .ratio_form = SV_RATIO_PENALTY,
    .fixed = true,
    .watches = true,
    .score = attention_score,
    .macs = attention_macs,
};
