/* Selectors of a model, whatever the method: their parameters, where they start, and the calls that go to the method's row. */
#include "pruning/form.h"

#include <math.h>
#include <stdio.h>

static const double selector_norm_eps = 1e-5;

static sv_status declare(sv_model *model, const char *prefix, size_t stage, const sv_selector_layer *layer, sv_layer_slots *slot, sv_error *err)
{
    char full[64];
    size_t shape[] = { layer->rows ? layer->rows : layer->columns, layer->columns };
    snprintf(full, sizeof full, "%s.%zu.%s.weight", prefix, stage, layer->name);
    sv_status status = sv_parameters_add(model->parameters, &slot->weight, full, layer->rows ? 2 : 1, shape, err);
    if (status) return status;
    snprintf(full, sizeof full, "%s.%zu.%s.bias", prefix, stage, layer->name);
    return sv_parameters_add(model->parameters, &slot->bias, full, 1, shape, err);
}

static sv_status declare_selector(sv_pruning *pruning, size_t stage, sv_error *err)
{
    const sv_pruning_method *method = sv_pruning_method_of(pruning->options.plan.method);
    sv_selector_layer layers[SV_SELECTOR_LAYERS_MOST];
    size_t count = method->layers ? method->layers(&pruning->places[stage], layers) : 0;
    sv_status status = SV_OK;
    for (size_t i = 0; !status && i < count; i++) status = declare(pruning->model, method->prefix, stage, &layers[i], &pruning->slots[stage][i], err);
    return status;
}

static sv_status check_form(const sv_pruning_options *options, const sv_model *model, sv_error *err)
{
    const sv_pruning_form *form = sv_form_find(options->plan.method, model);
    char why[512];
    if (form) return form->check ? form->check(model, options, err) : SV_OK;
    return sv_fail(err, SV_USAGE, "%s cannot be pruned by tokens: %s; set pruning.method = none, or take a backbone such as deit_s", model->backbone->name,
                   sv_form_misfits(why, sizeof why, options->plan.method, model));
}

static sv_status check_selectors(const sv_pruning_plan *plan, const sv_model *model, sv_error *err)
{
    const sv_pruning_method *method = sv_pruning_method_of(plan->method);
    sv_status status = SV_OK;
    for (size_t t = 0; method->check && !status && t < plan->stages; t++) {
        const sv_place place = sv_model_place(model, plan->at[t]);
        status = method->check(&place, err);
    }
    return status;
}

static sv_status check_plan(const sv_pruning_options *options, const sv_model *model, sv_error *err)
{
    const sv_pruning_plan *plan = &options->plan;
    const sv_pruning_method *method = sv_pruning_method_of(plan->method);
    size_t depth = sv_model_depth(model);
    if (plan->stages > SV_MOST_STAGES) return sv_fail(err, SV_USAGE, "%zu selectors are too many; at most %d", plan->stages, SV_MOST_STAGES);
    sv_status status = plan->stages ? check_form(options, model, err) : SV_OK;
    if (status) return status;
    if (plan->stages && !method->packs && plan->package != SV_CHOICE_NONE) return sv_fail(err, SV_USAGE, "%s has no package tokens", method->name);
    if (plan->stages && method->watches && !method->inside && !plan->at[0])
        return sv_fail(err, SV_USAGE, "%s scores patches by the attention of the block in front, but there is none in front of block 0; let pruning.at begin with 1 or more", method->name);
    for (size_t t = 0; t < plan->stages; t++) {
        if (plan->at[t] >= depth)
            return sv_fail(err, SV_USAGE, "a selector before block %zu lies behind the last one; the model has blocks 0 to %zu", plan->at[t], depth - 1);
        if (t && plan->at[t] <= plan->at[t - 1])
            return sv_fail(err, SV_USAGE, "places of selectors must rise, but block %zu follows %zu", plan->at[t], plan->at[t - 1]);
    }
    return check_selectors(plan, model, err);
}

sv_status sv_pruning_create(sv_pruning **out, sv_model *model, const sv_pruning_options *options, sv_error *err)
{
    sv_pruning *pruning = NULL;
    sv_status status = check_plan(options, model, err);
    if (!status) status = sv_alloc_zero(&pruning, sizeof *pruning, "pruning", err);
    if (status) return status;
    pruning->model = model;
    pruning->options = *options;
    sv_plan_fit(&pruning->options.plan, model);
    pruning->form = options->plan.stages ? sv_form_find(options->plan.method, model) : &sv_form_flat;
    for (size_t t = 0; t < options->plan.stages; t++) pruning->places[t] = sv_model_place(model, options->plan.at[t]);
    model->attention = (sv_attention_form){ .plain = options->mask_eps > 0 || options->mask_all, .eps = options->mask_eps, .top_all = options->mask_all, .clamp = options->mask_clamp };
    for (size_t t = 0; !status && t < options->plan.stages; t++) status = declare_selector(pruning, t, err);
    if (!status && pruning->form->declare) status = pruning->form->declare(pruning, err);
    if (status) {
        sv_pruning_destroy(pruning);
        return status;
    }
    *out = pruning;
    return SV_OK;
}

void sv_pruning_destroy(sv_pruning *pruning)
{
    if (pruning) sv_free(pruning->extra);
    sv_free(pruning);
}

const char *sv_pruning_form_name(const sv_pruning *pruning) { return pruning->form->name; }
const sv_pruning_options *sv_pruning_options_of(const sv_pruning *pruning) { return &pruning->options; }
sv_pruning_plan *sv_pruning_plan_of(sv_pruning *pruning) { return &pruning->options.plan; }
const sv_model *sv_pruning_model(const sv_pruning *pruning) { return pruning->model; }

void sv_pruning_initialise(sv_pruning *pruning, uint64_t seed)
{
    const sv_pruning_plan *plan = &pruning->options.plan;
    const sv_pruning_method *method = sv_pruning_method_of(plan->method);
    sv_selector_layer layers[SV_SELECTOR_LAYERS_MOST];
    for (size_t i = 0; i < pruning->model->parameters->count; i++) {
        sv_parameter *p = pruning->model->parameters->items[i];
        sv_random random = sv_random_at(seed, SV_FOR_INIT, 1, i, 0);
        if (!sv_name_selects(p->name)) continue;
        for (size_t k = 0; k < p->count; k++) p->value[k] = (sv_real)(p->dims == 2 ? 0.02 * sv_random_normal(&random) : 0);
    }
    for (size_t t = 0; method->layers && t < plan->stages; t++) {
        const sv_layer_slots *slots = pruning->slots[t];
        const bool fresh = !t || pruning->form->independent || pruning->places[t].stage != pruning->places[t - 1].stage; /* decisions begin anew on another grid */
        double share = plan->keep[t] / (fresh ? 1 : plan->keep[t - 1]);
        size_t count = method->layers(&pruning->places[t], layers);
        for (size_t i = 0; i < count; i++)
            for (size_t k = 0; !layers[i].rows && k < layers[i].columns; k++) slots[i].weight->value[k] = 1;
        share = fmin(fmax(share, 0.01), 0.99);
        if (pruning->options.keep_bias) slots[method->output].bias->value[0] = (sv_real)log(share / (1 - share));
    }
    if (pruning->form->initialise) pruning->form->initialise(pruning, seed);
    sv_parameters_changed(pruning->model->parameters);
}

sv_tensor *sv_slot_linear(sv_tape *tape, sv_tensor *x, const sv_layer_slots *slot)
{
    return sv_tape_linear(tape, x, sv_tape_parameter(tape, slot->weight), sv_tape_parameter(tape, slot->bias));
}

sv_tensor *sv_slot_linear_gelu(sv_tape *tape, sv_tensor *x, const sv_layer_slots *slot)
{
    return sv_tape_linear_gelu(tape, x, sv_tape_parameter(tape, slot->weight), sv_tape_parameter(tape, slot->bias));
}

sv_tensor *sv_slot_norm(sv_tape *tape, sv_tensor *x, const sv_layer_slots *slot, const sv_place *place, size_t heads)
{
    sv_tensor *gain = sv_tape_parameter(tape, slot->weight), *bias = sv_tape_parameter(tape, slot->bias);
    const double eps = place->norm_eps > 0 ? place->norm_eps : selector_norm_eps;
    return heads == 1 ? sv_tape_layer_norm(tape, x, gain, bias, eps) : sv_tape_norm_heads(tape, x, gain, bias, eps, heads);
}

sv_tensor *sv_selector_record(sv_tape *tape, const sv_pruning *pruning, size_t stage, sv_tensor *u, sv_tensor *policy, sv_tensor **score)
{
    return sv_pruning_method_of(pruning->options.plan.method)->record(tape, &pruning->places[stage], pruning->slots[stage], u, policy, score);
}

sv_tensor *sv_cut_score(sv_tape *tape, const sv_pruning *pruning, size_t stage, sv_cut *cut)
{
    const sv_pruning_method *method = sv_pruning_method_of(pruning->options.plan.method);
    return method->fixed ? method->score(tape, stage, cut) : sv_selector_record(tape, pruning, stage, cut->u, cut->before, &cut->score);
}

uint64_t sv_selector_macs(sv_method method, const sv_place *place, size_t rows) { return sv_pruning_method_of(method)->macs(place, rows); }
