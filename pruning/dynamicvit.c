/* DynamicViT (Rao et al. 2021): one predictor over whole tokens, dropped tokens leave nothing behind (spec DynamicViT 2, 4, 5). Letters: C width.
 *     u = GELU(W1 norm(x) + b1);  global = sum_i D_i u[i, C/2:C] / max(sum_i D_i, 1);  z = u[:, 0:C/2] | global
 *     s = W4 GELU(W3 GELU(W2 z + b2) + b3) + b4;  p = log_softmax(s), 0 = keep, 1 = drop
 * Gumbel-softmax over p needs the difference p0 - p1 = s0 - s1 alone, and the ranking of exp(p0) is that of the difference: so a = s0 - s1.
 * The reference divides by sum D, which is NaN where sampling dropped everything: hence the floor of 1. Parameters carry its names. */
#include "pruning/form.h"

enum { IN_NORM, IN_LINEAR, OUT0, OUT2, OUT4, LAYERS };

static size_t dynamicvit_layers(const sv_place *place, sv_selector_layer *layers)
{
    size_t c = place->width;
    layers[IN_NORM] = (sv_selector_layer){ "in_conv.0", 0, c };
    layers[IN_LINEAR] = (sv_selector_layer){ "in_conv.1", c, c };
    layers[OUT0] = (sv_selector_layer){ "out_conv.0", c / 2, c };
    layers[OUT2] = (sv_selector_layer){ "out_conv.2", c / 4, c / 2 };
    layers[OUT4] = (sv_selector_layer){ "out_conv.4", 2, c / 4 };
    return LAYERS;
}

static sv_status dynamicvit_check(const sv_place *place, sv_error *err)
{
    if (place->width % 4 == 0) return SV_OK;
    return sv_fail(err, SV_USAGE, "predictors need a width that is a multiple of 4, but model.width = %zu", place->width);
}

static sv_tensor *dynamicvit_record(sv_tape *tape, const sv_place *place, const sv_layer_slots *s, sv_tensor *x, sv_tensor *policy,
                                    sv_tensor **score)
{
    size_t c = place->width;
    sv_tensor *u = sv_slot_linear_gelu(tape, sv_slot_norm(tape, x, &s[IN_NORM], place, 1), &s[IN_LINEAR]);
    sv_tensor *global = sv_tape_floored_mean(tape, u, c / 2, policy, 1, 1);
    sv_tensor *z = sv_slot_linear_gelu(tape, sv_tape_local_global(tape, u, global), &s[OUT0]);
    z = sv_slot_linear(tape, sv_slot_linear_gelu(tape, z, &s[OUT2]), &s[OUT4]);
    return sv_tape_combine_heads(tape, z, sv_tape_fill(tape, x, 0, 1), score); /* one head of importance 1: a = s0 - s1, score = exp(p0) */
}

static uint64_t dynamicvit_macs(const sv_place *place, size_t rows)
{
    uint64_t c = place->width;
    return rows * (c * c + c * (c / 2) + (c / 2) * (c / 4) + (c / 4) * 2);
}

/* As the reference: the best k stay, each picture is pulled to the ratio by a penalty. */
const sv_pruning_method sv_method_dynamicvit = {
    .name = "dynamicvit",
    .title = "DynamicViT",
    .rule = SV_RULE_TOPK,
    .package = SV_CHOICE_NONE,
    .ratio_form = SV_RATIO_PENALTY,
    .ratio_per_image = true,
    .packs = false,
    .forms = { &sv_form_flat, &sv_form_paths },
    .prefix = "score_predictor",
    .output = OUT4,
    .check = dynamicvit_check,
    .layers = dynamicvit_layers,
    .record = dynamicvit_record,
    .macs = dynamicvit_macs,
};
