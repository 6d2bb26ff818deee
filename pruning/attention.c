/* Patches that stay by what the class token looked at in the block in front, mean over heads: no parameters, and no gradient into the scores. */
#include "pruning/form.h"

static sv_tensor *attention_score(sv_tape *tape, size_t stage, sv_cut *cut)
{
    (void)stage;
    return cut->score = sv_tape_constant(tape, cut->watched);
}

/* One query over all rows, the prefix too. */
static uint64_t attention_macs(const sv_place *place, size_t rows) { return (uint64_t)(rows + place->prefix) * place->width; }

const sv_pruning_method sv_method_attention = {
    .name = "attention",
    .title = "class attention",
    .rule = SV_RULE_TOPK,
    .package = SV_CHOICE_NONE,
    .ratio_form = SV_RATIO_PENALTY,
    .forms = { &sv_form_flat },
    .fixed = true,
    .watches = true,
    .score = attention_score,
    .macs = attention_macs,
};
