/* Patches that stay by chance: a draw a patch, the largest k stay. What every other score must be better than. */
#include "pruning/form.h"

static sv_tensor *random_score(sv_tape *tape, size_t stage, sv_cut *cut)
{
    sv_tensor *a = sv_tape_random_score(tape, cut->origin, stage);
    cut->score = sv_tape_sigmoid(tape, a);
    return a;
}

static uint64_t random_macs(const sv_place *place, size_t rows)
{
    (void)place, (void)rows;
    return 0;
}

const sv_pruning_method sv_method_random = {
    .name = "random",
    .title = "random",
    .rule = SV_RULE_TOPK,
    .package = SV_CHOICE_NONE,
    .ratio_form = SV_RATIO_PENALTY,
    .forms = { &sv_form_flat },
    .fixed = true,
    .score = random_score,
    .macs = random_macs,
};
