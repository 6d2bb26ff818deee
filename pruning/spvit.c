/* SPViT (Kong et al. 2022): the multi-head selector with its head-importance branch (spec 2.2-2.4), composed of plain ops; what is dropped is packed
 * into a token. All heads share one set of weights. For each head's slice of a token: norm, linear, GELU; its second half is averaged over the tokens
 * still kept; local | global, then three linears down to (keep, drop). Heads are averaged with weights from the mean of the raw slices. */
#include "pruning/form.h"

enum { NORM, FC_IN, FC1, FC2, FC_OUT, HEAD1, HEAD2, LAYERS };

static size_t spvit_layers(const sv_place *place, sv_selector_layer *layers)
{
    size_t heads = place->heads, d = place->width / heads, half = heads / 2 ? heads / 2 : 1;
    layers[NORM] = (sv_selector_layer){ "norm", 0, d };
    layers[FC_IN] = (sv_selector_layer){ "fc_in", d, d };
    layers[FC1] = (sv_selector_layer){ "fc1", d / 2, d };
    layers[FC2] = (sv_selector_layer){ "fc2", d / 4, d / 2 };
    layers[FC_OUT] = (sv_selector_layer){ "fc_out", 2, d / 4 };
    layers[HEAD1] = (sv_selector_layer){ "head_fc1", half, heads };
    layers[HEAD2] = (sv_selector_layer){ "head_fc2", heads, half };
    return LAYERS;
}

static sv_status spvit_check(const sv_place *place, sv_error *err)
{
    size_t d = place->width / place->heads;
    if (d % 4 == 0) return SV_OK;
    return sv_fail(err, SV_USAGE, "selectors need heads of a width that is a multiple of 4, but model.width / model.heads = %zu", d);
}

static sv_tensor *spvit_record(sv_tape *tape, const sv_place *place, const sv_layer_slots *s, sv_tensor *u, sv_tensor *policy,
                               sv_tensor **score)
{
    size_t heads = place->heads, d = place->width / heads;
    sv_tensor *v = sv_slot_linear_gelu(tape, sv_slot_norm(tape, u, &s[NORM], place, heads), &s[FC_IN]);
    sv_tensor *global = sv_tape_floored_mean(tape, v, d / 2, policy, heads, 0);
    sv_tensor *z = sv_slot_linear_gelu(tape, sv_tape_local_global(tape, v, global), &s[FC1]);
    z = sv_slot_linear(tape, sv_slot_linear_gelu(tape, z, &s[FC2]), &s[FC_OUT]);
    sv_tensor *importance = sv_slot_linear_gelu(tape, sv_tape_head_mean(tape, u, heads), &s[HEAD1]);
    importance = sv_tape_sigmoid(tape, sv_slot_linear(tape, importance, &s[HEAD2]));
    return sv_tape_combine_heads(tape, z, importance, score);
}

static uint64_t spvit_macs(const sv_place *place, size_t rows)
{
    uint64_t heads = place->heads, d = place->width / heads, half = heads / 2 ? heads / 2 : 1;
    return rows * (heads * (d * d + d * (d / 2) + (d / 2) * (d / 4) + (d / 4) * 2) + 2 * heads * half);
}

/* Deployment and ratio loss are ours: thresholds, and multipliers that meet a budget (docs/decisions.md). */
const sv_pruning_method sv_method_spvit = {
    .name = "spvit",
    .title = "SPViT",
    .rule = SV_RULE_THRESHOLD,
    .package = SV_CHOICE_WAVG,
    .ratio_form = SV_RATIO_LAGRANGE,
    .ratio_per_image = false,
    .packs = true,
    .forms = { &sv_form_flat, &sv_form_freeze },
    .prefix = "selectors",
    .output = FC_OUT,
    .check = spvit_check,
    .layers = spvit_layers,
    .record = spvit_record,
    .macs = spvit_macs,
};
