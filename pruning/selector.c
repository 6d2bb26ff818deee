/* The multi-head selector with its head-importance branch (SPViT; spec 2.2-2.4), composed of plain ops. All heads share one set of weights.
 * For each head's slice of a token: norm, linear, GELU; its second half is averaged over the tokens still kept; local | global, then three
 * linears down to (keep, drop). Heads are averaged with weights from the mean of the raw slices. */
#include "pruning/inside.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double selector_norm_eps = 1e-5; /* the library default of the reference, unlike the backbone's 1e-6 (F20) */

static sv_status declare(sv_model *model, size_t stage, const char *name, sv_parameter **weight, sv_parameter **bias, size_t rows, size_t columns, sv_error *err)
{
    char full[64];
    size_t shape[] = { rows ? rows : columns, columns };
    snprintf(full, sizeof full, "selectors.%zu.%s.weight", stage, name);
    sv_status status = sv_parameters_add(model->parameters, weight, full, rows ? 2 : 1, shape, err);
    if (status) return status;
    snprintf(full, sizeof full, "selectors.%zu.%s.bias", stage, name);
    return sv_parameters_add(model->parameters, bias, full, 1, shape, err);
}

static sv_status declare_selector(sv_model *model, size_t stage, sv_selector_slots *s, sv_error *err)
{
    size_t heads = model->options.heads, d = model->options.width / heads, half = heads / 2 ? heads / 2 : 1;
    sv_status status = declare(model, stage, "norm", &s->norm, &s->norm_bias, 0, d, err);
    if (!status) status = declare(model, stage, "fc_in", &s->fc_in, &s->fc_in_bias, d, d, err);
    if (!status) status = declare(model, stage, "fc1", &s->fc1, &s->fc1_bias, d / 2, d, err);
    if (!status) status = declare(model, stage, "fc2", &s->fc2, &s->fc2_bias, d / 4, d / 2, err);
    if (!status) status = declare(model, stage, "fc_out", &s->fc_out, &s->fc_out_bias, 2, d / 4, err);
    if (!status) status = declare(model, stage, "head_fc1", &s->head1, &s->head1_bias, half, heads, err);
    if (!status) status = declare(model, stage, "head_fc2", &s->head2, &s->head2_bias, heads, half, err);
    return status;
}

static sv_status check_plan(const sv_pruning_plan *plan, const sv_model *model, sv_error *err)
{
    size_t d = model->options.width / model->options.heads, depth = sv_model_depth(model);
    if (plan->stages > SV_MOST_STAGES) return sv_fail(err, SV_USAGE, "%zu selectors are too many; at most %d", plan->stages, SV_MOST_STAGES);
    if (plan->stages && sv_model_unfit(model))
        return sv_fail(err, SV_USAGE, "%s cannot be pruned by tokens: %s; set pruning.method = none, or take a backbone such as deit_s", model->backbone->name, sv_model_unfit(model));
    if (plan->stages && d % 4)
        return sv_fail(err, SV_USAGE, "selectors need heads of a width that is a multiple of 4, but model.width / model.heads = %zu", d);
    for (size_t t = 0; t < plan->stages; t++) {
        if (plan->at[t] >= depth)
            return sv_fail(err, SV_USAGE, "a selector before block %zu lies behind the last one; the model has blocks 0 to %zu", plan->at[t], depth - 1);
        if (t && plan->at[t] <= plan->at[t - 1])
            return sv_fail(err, SV_USAGE, "places of selectors must rise, but block %zu follows %zu", plan->at[t], plan->at[t - 1]);
    }
    return SV_OK;
}

sv_status sv_pruning_create(sv_pruning **out, sv_model *model, const sv_pruning_options *options, sv_error *err)
{
    sv_pruning *pruning = NULL;
    sv_status status = check_plan(&options->plan, model, err);
    if (!status) status = sv_alloc_zero(&pruning, sizeof *pruning, "pruning", err);
    if (status) return status;
    pruning->model = model;
    pruning->options = *options;
    model->attention = (sv_attention_form){ .plain = options->mask_eps > 0 || options->mask_all, .eps = options->mask_eps, .top_all = options->mask_all, .clamp = options->mask_clamp };
    for (size_t t = 0; !status && t < options->plan.stages; t++) status = declare_selector(model, t, &pruning->slots[t], err);
    if (status) {
        sv_pruning_destroy(pruning);
        return status;
    }
    *out = pruning;
    return SV_OK;
}

void sv_pruning_destroy(sv_pruning *pruning) { sv_free(pruning); }
const sv_pruning_options *sv_pruning_options_of(const sv_pruning *pruning) { return &pruning->options; }
sv_pruning_plan *sv_pruning_plan_of(sv_pruning *pruning) { return &pruning->options.plan; }
const sv_model *sv_pruning_model(const sv_pruning *pruning) { return pruning->model; }

void sv_pruning_initialise(sv_pruning *pruning, uint64_t seed)
{
    const sv_pruning_plan *plan = &pruning->options.plan;
    for (size_t i = 0; i < pruning->model->parameters->count; i++) {
        sv_parameter *p = pruning->model->parameters->items[i];
        sv_random random = sv_random_at(seed, SV_FOR_INIT, 1, i, 0);
        if (strncmp(p->name, "selectors.", 10) != 0) continue;
        for (size_t k = 0; k < p->count; k++) p->value[k] = (sv_real)(p->dims == 2 ? 0.02 * sv_random_normal(&random) : 0);
    }
    for (size_t t = 0; t < plan->stages; t++) {
        const sv_selector_slots *s = &pruning->slots[t];
        double share = plan->keep[t] / (t ? plan->keep[t - 1] : 1);
        for (size_t k = 0; k < s->norm->count; k++) s->norm->value[k] = 1;
        share = fmin(fmax(share, 0.01), 0.99);
        if (pruning->options.keep_bias) s->fc_out_bias->value[0] = (sv_real)log(share / (1 - share));
    }
    sv_parameters_changed(pruning->model->parameters);
}

static sv_tensor *linear(sv_tape *tape, sv_tensor *x, sv_parameter *weight, sv_parameter *bias)
{
    return sv_tape_linear(tape, x, sv_tape_parameter(tape, weight), sv_tape_parameter(tape, bias));
}

static sv_tensor *linear_gelu(sv_tape *tape, sv_tensor *x, sv_parameter *weight, sv_parameter *bias)
{
    return sv_tape_linear_gelu(tape, x, sv_tape_parameter(tape, weight), sv_tape_parameter(tape, bias));
}

sv_tensor *sv_selector_record(sv_tape *tape, const sv_pruning *pruning, size_t stage, sv_tensor *u, sv_tensor *policy, sv_tensor **score)
{
    const sv_selector_slots *s = &pruning->slots[stage];
    size_t heads = pruning->model->options.heads, d = pruning->model->options.width / heads;
    sv_tensor *slices = sv_tape_split_heads(tape, u, heads);
    sv_tensor *v = sv_tape_layer_norm(tape, slices, sv_tape_parameter(tape, s->norm), sv_tape_parameter(tape, s->norm_bias), selector_norm_eps);
    v = linear_gelu(tape, v, s->fc_in, s->fc_in_bias);
    sv_tensor *global = sv_tape_weighted_mean(tape, sv_tape_slice_columns(tape, v, d / 2, d - d / 2), policy, heads);
    sv_tensor *z = linear_gelu(tape, sv_tape_local_global(tape, v, global), s->fc1, s->fc1_bias);
    z = linear(tape, linear_gelu(tape, z, s->fc2, s->fc2_bias), s->fc_out, s->fc_out_bias);
    sv_tensor *importance = linear_gelu(tape, sv_tape_head_mean(tape, u, heads), s->head1, s->head1_bias);
    importance = sv_tape_sigmoid(tape, linear(tape, importance, s->head2, s->head2_bias));
    return sv_tape_combine_heads(tape, z, importance, score);
}

uint64_t sv_selector_macs(const sv_model *model, size_t rows)
{
    uint64_t heads = model->options.heads, d = model->options.width / heads, half = heads / 2 ? heads / 2 : 1;
    return rows * (heads * (d * d + d * (d / 2) + (d / 2) * (d / 4) + (d / 4) * 2) + 2 * heads * half);
}
