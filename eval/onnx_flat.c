/* The flat form in a graph (pruning/flat.c, walk.c): selectors between blocks, or between attention and MLP of a block, and what they drop leaves for
 * good. A model without selectors is this form too, whatever its backbone. */
#include "eval/onnx_inside.h"

/* A block whose attention is watched, selector `stage` in its middle where there is one (NULL: none). */
static void watched_block(sv_onnx_mapping *m, size_t index, sv_onnx_tokens *tokens, const size_t *stage)
{
    sv_onnx_block_form form;
    m->family->block_form(m, index, &form);
    form.watched = &tokens->watched;
    tokens->x = sv_onnx_attention_half(m, &form, tokens->x);
    if (stage) *tokens = sv_onnx_select(m, *stage, *tokens);
    tokens->x = sv_onnx_mlp(m, &form, tokens->x);
}

static sv_onnx_tokens flat_walk(sv_onnx_mapping *m, sv_onnx_value rows, sv_onnx_tokens *kept)
{
    const sv_pruning_plan *plan = m->plan;
    const sv_method_form where = plan->stages ? sv_method_form_of(plan->method) : SV_BETWEEN_BLOCKS;
    const bool watches = plan->stages && sv_onnx_watches(plan->method), inside = where == SV_INSIDE_BLOCKS;
    sv_onnx_tokens tokens = { .x = rows, .patches = sv_model_patches(m->d->model) };
    if (where == SV_IN_EVERY_BLOCK) return sv_onnx_merging_blocks(m, rows, kept);
    for (size_t i = 0, t = 0; i < sv_model_depth(m->d->model); i++) {
        const bool here = t < plan->stages && plan->at[t] == i, next = t + here < plan->stages && plan->at[t + here] == i + 1;
        if (here && !inside) tokens = sv_onnx_select(m, t, tokens);
        if (watches && (inside ? here : next))
            watched_block(m, i, &tokens, inside ? &t : NULL);
        else
            tokens.x = sv_onnx_block(m, i, sv_onnx_enter(m, i, tokens.x, 0));
        if (here) kept[t++] = tokens;
    }
    return tokens;
}

const sv_onnx_form sv_onnx_flat = { .name = "flat", .walk = flat_walk };
