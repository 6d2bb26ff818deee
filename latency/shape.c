#include "latency/shape.h"

#include <stdio.h>
#include <string.h>

static const sv_latency_op ops[] = {
    [SV_PART_EMBED] = SV_LATENCY_EMBED, [SV_PART_STEP] = SV_LATENCY_STEP,         [SV_PART_BLOCK] = SV_LATENCY_BLOCK, [SV_PART_LIVING] = SV_LATENCY_LIVING,
    [SV_PART_PATHS] = SV_LATENCY_PATHS, [SV_PART_SELECTOR] = SV_LATENCY_SELECTOR, [SV_PART_MLP] = SV_LATENCY_MLP,     [SV_PART_HEAD] = SV_LATENCY_HEAD,
};
_Static_assert(SV_COUNT(ops) == SV_PART_KINDS, "each kind of part has its op");

static size_t grid_of(const sv_part *part) { return sv_latency_has_grids(ops[part->kind]) ? part->grid : 0; }

sv_latency_part sv_latency_part_of(const sv_part *part, const size_t *kept)
{
    return (sv_latency_part){ ops[part->kind], grid_of(part), part->tokens + (part->selector ? kept[part->selector - 1] : 0) };
}

/* Parts alike become one term, where the first of them stands. */
static sv_status add_term(sv_latency_term *terms, size_t *count, const sv_part *part, const sv_model *model, sv_error *err)
{
    const sv_latency_term made = { .op = ops[part->kind], .grid = grid_of(part), .behind = part->behind, .selector = part->selector, .tokens = part->tokens, .count = 1 };
    for (size_t i = 0; i < *count; i++) {
        sv_latency_term *t = &terms[i];
        if (t->op != made.op || t->grid != made.grid || t->behind != made.behind || t->selector != made.selector || t->tokens != made.tokens) continue;
        t->count++;
        return SV_OK;
    }
    if (*count == SV_LATENCY_MOST_TERMS)
        return sv_fail(err, SV_FAULT, "%s has more than %d kinds of parts, which no prediction can hold", model->backbone->name, SV_LATENCY_MOST_TERMS);
    terms[(*count)++] = made;
    return SV_OK;
}

static sv_status add_terms(sv_latency_term *terms, size_t *count, const sv_model *model, const sv_pruning_plan *plan, sv_error *err)
{
    sv_part *parts = NULL;
    size_t bytes = 0;
    if (sv_mul_size(&bytes, sv_removal_parts_most(model, plan), sizeof *parts)) return sv_fail(err, SV_FAULT, "the parts of %s do not fit", model->backbone->name);
    sv_status status = sv_alloc(&parts, bytes, "parts", err);
    for (size_t i = 0, n = status ? 0 : sv_removal_parts(model, plan, parts); !status && i < n; i++) status = add_term(terms, count, &parts[i], model, err);
    sv_free(parts);
    return status;
}

sv_status sv_latency_shape_of(sv_latency_shape *out, const sv_model *model, const sv_pruning_plan *plan, sv_error *err)
{
    static const sv_pruning_plan dense = { 0 };
    sv_latency_shape shape = { .extra = sv_model_prefix(model), .patches = sv_model_patches(model), .selectors = plan->stages, .least = plan->min_keep };
    const bool grids = sv_model_place(model, sv_model_depth(model) - 1).stage > 0;
    for (size_t t = 0; t < plan->stages; t++) {
        const sv_place place = sv_model_place(model, plan->at[t]);
        shape.on[t] = grids ? place.stage + 1 : 0;
        shape.of[t] = place.patches;
    }
    if (plan->stages && sv_method_form_of(plan->method) == SV_IN_EVERY_BLOCK) shape.merging = sv_model_depth(model);
    sv_status status = add_terms(shape.dense, &shape.dense_count, model, &dense, err);
    if (!status && !shape.merging) status = add_terms(shape.terms, &shape.term_count, model, plan, err);
    if (!status) *out = shape;
    return status;
}

/* "2,6,4": what each grid has. */
static void add_number(char *text, size_t room, size_t number)
{
    const size_t used = strlen(text);
    snprintf(text + used, room - used, "%s%zu", used ? "," : "", number);
}

void sv_latency_about_model(sv_latency_about *about, const sv_model *model)
{
    const size_t depth = sv_model_depth(model);
    sv_latency_about_here(about, sv_precision_name(model->options.precision));
    snprintf(about->arch, sizeof about->arch, "%s", model->backbone->name);
    about->image = model->options.image;
    about->patch = model->options.patch;
    about->depth = depth;
    about->width = model->options.width;
    about->heads = sv_model_place(model, 0).heads;
    about->depths[0] = about->widths[0] = 0;
    for (size_t i = 0, first = 0; sv_model_place(model, depth - 1).stage > 0 && i < depth; i++) {
        const sv_place place = sv_model_place(model, i);
        if (i + 1 < depth && sv_model_place(model, i + 1).stage == place.stage) continue;
        add_number(about->depths, sizeof about->depths, i + 1 - first);
        add_number(about->widths, sizeof about->widths, place.width);
        first = i + 1;
    }
}
