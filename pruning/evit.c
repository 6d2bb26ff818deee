/* EViT (Liang et al. 2022): between attention and MLP of a block the patches that the class token attends to most stay, the others become one token, the
 * sum of them weighted by that attention (its equation 3), through which gradients reach the weights. Tokens made so at earlier stages stay as they are;
 * in its code they compete with the patches and may be fused again (docs/methods.md). */
#include "pruning/form.h"

static sv_tensor *evit_score(sv_tape *tape, size_t stage, sv_cut *cut)
{
    (void)stage;
    cut->score = cut->watched;
    return sv_tape_constant(tape, cut->watched);
}

static uint64_t evit_macs(const sv_place *place, size_t rows) { return (uint64_t)(rows + place->prefix) * place->width; }

const sv_pruning_method sv_method_evit = {
    .name = "evit",
    .title = "EViT",
    .rule = SV_RULE_TOPK,
    .package = SV_CHOICE_SUM,
    .ratio_form = SV_RATIO_PENALTY,
    .packs = true,
    .forms = { &sv_form_flat },
    .fixed = true,
    .watches = true,
    .inside = true,
    .score = evit_score,
    .macs = evit_macs,
};
