/* Two paths in a graph (pruning/paths.c), by rank: behind a predictor k rows of a stage's grid take the block's own branch, the others a norm and one
 * linear layer; each kind is gathered, and both come back to their places by one list. */
#include "eval/onnx_inside.h"

#include <stdio.h>

typedef struct split {
    sv_onnx_value slow, fast, position; /* [B,k], [B,N-k], 0: none; [B,N]: where each row stands in slow | fast */
} split;

static split decide(sv_onnx_mapping *m, size_t t, sv_onnx_value x, sv_onnx_tokens *kept)
{
    const size_t n = sv_model_place(m->d->model, m->plan->at[t]).patches, k = sv_onnx_wanted(m->plan, t, n);
    sv_onnx_scope(m->graph, "selectors.%zu", t);
    const sv_onnx_scores scores = sv_onnx_score_rows(m, t, x, NULL);
    split s = { .slow = sv_onnx_best(m, scores.a, k) };
    *kept = (sv_onnx_tokens){ .patches = k, .origin = s.slow };
    if (k == n) return s;
    s.fast = sv_onnx_others(m, sv_onnx_put(m, sv_onnx_filled(m, scores.a, 1), s.slow, 0), n - k);
    s.position = sv_onnx_inverse(m, sv_onnx_concat(m, 1, 2, (sv_onnx_value[]){ s.slow, s.fast }), n);
    return s;
}

/* Layers of the fast path of block `index` over y; where no row takes it (y 0) they are stored all the same: a file holds the whole model. */
static sv_onnx_value fast_path(sv_onnx_mapping *m, size_t index, sv_onnx_value y)
{
    static const char *const parts[] = { "0.weight", "0.bias", "1.weight", "1.bias" };
    const sv_block_ways *ways = m->d->model->backbone->family->ways;
    char block[64], name[96], gain[96], path[112];
    ways->name(m->d->model, index, block, sizeof block);
    if (ways->fast_gain) snprintf(gain, sizeof gain, "%s.%s", block, ways->fast_gain);
    snprintf(name, sizeof name, "%s.%s", block, ways->fast);
    sv_onnx_scope(m->graph, "%s", name);
    for (size_t i = 0; !y && i < SV_COUNT(parts); i++) {
        snprintf(path, sizeof path, "%s.%s", name, parts[i]);
        (void)sv_onnx_parameter(m, path, SV_ONNX_AS_IT_IS);
    }
    sv_onnx_value factor = ways->fast_gain ? sv_onnx_parameter(m, gain, SV_ONNX_AS_IT_IS) : 0;
    if (!y) return 0;
    snprintf(path, sizeof path, "%s.0", name);
    y = sv_onnx_norm(m, y, path, m->d->model->options.norm_eps);
    snprintf(path, sizeof path, "%s.1", name);
    y = sv_onnx_linear(m, y, path);
    return factor ? sv_onnx_binary(m, "Mul", y, factor) : y;
}

static sv_onnx_value two_ways(sv_onnx_mapping *m, size_t index, const split *s, sv_onnx_value x)
{
    sv_onnx_value base = 0, y = m->family->mix(m, index, x, &base);
    sv_onnx_value slow = m->family->branch(m, index, s->fast ? sv_onnx_rows_at(m, y, s->slow) : y);
    sv_onnx_value fast = fast_path(m, index, s->fast ? sv_onnx_rows_at(m, y, s->fast) : 0);
    if (fast) slow = sv_onnx_rows_at(m, sv_onnx_concat(m, 1, 2, (sv_onnx_value[]){ slow, fast }), s->position);
    return sv_onnx_binary(m, "Add", base, slow);
}

static sv_onnx_tokens paths_walk(sv_onnx_mapping *m, sv_onnx_value rows, sv_onnx_tokens *kept)
{
    const sv_model *model = m->d->model;
    const sv_pruning_plan *plan = m->plan;
    const size_t stage = sv_model_place(model, plan->at[0]).stage;
    split s = { 0, 0, 0 };
    for (size_t i = 0, t = 0; i < sv_model_depth(model); i++) {
        rows = sv_onnx_enter(m, i, rows, 0);
        if (t < plan->stages && plan->at[t] == i) s = decide(m, t, rows, &kept[t]), t++;
        rows = t && sv_model_place(model, i).stage == stage ? two_ways(m, i, &s, rows) : sv_onnx_block(m, i, rows);
    }
    return (sv_onnx_tokens){ .x = rows };
}

const sv_onnx_form sv_onnx_paths = { .name = "two paths", .walk = paths_walk, .by_rank_alone = true };
