/* The flat form in a graph (pruning/flat.c): selectors between blocks, and what they drop leaves for good. A model without selectors is this form too,
 * whatever its backbone. */
#include "eval/onnx_inside.h"

static sv_onnx_tokens flat_walk(sv_onnx_mapping *m, sv_onnx_value rows, sv_onnx_tokens *kept)
{
    const sv_model *model = m->d->model;
    sv_onnx_tokens tokens = { .x = rows, .patches = sv_model_patches(model) };
    for (size_t i = 0, t = 0; i < sv_model_depth(model); i++) {
        if (t < m->plan->stages && m->plan->at[t] == i) kept[t] = tokens = sv_onnx_select(m, t, tokens), t++;
        tokens.x = sv_onnx_block(m, i, sv_onnx_enter(m, i, tokens.x, 0));
    }
    return tokens;
}

const sv_onnx_form sv_onnx_flat = { .name = "flat", .walk = flat_walk };
