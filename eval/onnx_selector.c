/* A selector in a graph: scores (spec SPViT 2.2-2.4), decision (7.2), package token (2.7), removal. Rows stand as in Sieve: prefix, patches in
 * rising order, package tokens, oldest first. Static: how many patches stay is known here, so whether a package is empty is too. Dynamic: both
 * are known at run time only; one picture, so patches can be gathered by one list.
 * Letters: B pictures, R rows scored (patches and packages), n patches among them, k of these that stay. */
#include "eval/onnx_inside.h"

#include <stdio.h>
#include <string.h>

static const double norm_epsilon = 1e-5; /* of selectors, as pruning/selector.c has it */

static sv_onnx_value shape_of(sv_onnx_mapping *m, sv_onnx_value x) { return sv_onnx_unary(m, "Shape", x); }

static sv_onnx_value filled(sv_onnx_mapping *m, sv_onnx_value like, double value)
{
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "ConstantOfShape",
                                                   .inputs = 1,
                                                   .input = { shape_of(m, like) },
                                                   .attributes = 1,
                                                   .attribute = { { .name = "value", .kind = SV_ONNX_ONE, .f = value } } });
}

static sv_onnx_value cast(sv_onnx_mapping *m, sv_onnx_value x, sv_onnx_type type)
{
    return sv_onnx_node(
        m->graph,
        &(sv_onnx_call){
            .op = "Cast", .inputs = 1, .input = { x }, .attributes = 1, .attribute = { { .name = "to", .kind = SV_ONNX_I, .i = type } } });
}

/* ---- scores ------------------------------------------------------------------------------------------------------ */

typedef struct scores {
    sv_onnx_value a, score; /* [B,R]: logit of keep; weight in the package */
} scores;

static sv_onnx_value layer(sv_onnx_mapping *m, size_t stage, const char *name, sv_onnx_value x)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "selectors.%zu.%s", stage, name);
    return sv_onnx_linear(m, x, prefix);
}

static sv_onnx_value predictor(sv_onnx_mapping *m, size_t stage, const char *name, sv_onnx_value x)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "score_predictor.%zu.%s", stage, name);
    return sv_onnx_linear(m, x, prefix);
}

/* [B,R,H,d] -> [B,R,H,2]: (keep, drop) of each head. */
static sv_onnx_value decide_heads(sv_onnx_mapping *m, size_t stage, sv_onnx_value slices)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "selectors.%zu.norm", stage);
    sv_onnx_value v = sv_onnx_gelu(m, layer(m, stage, "fc_in", sv_onnx_norm(m, slices, prefix, norm_epsilon)));
    sv_onnx_value local = sv_onnx_split(m, v, 2), global = sv_onnx_mean(m, local + 1, 1, true);
    sv_onnx_value both[] = { local, sv_onnx_binary(m, "Expand", global, shape_of(m, local)) };
    sv_onnx_value z = sv_onnx_gelu(m, layer(m, stage, "fc1", sv_onnx_concat(m, 3, 2, both)));
    return layer(m, stage, "fc_out", sv_onnx_gelu(m, layer(m, stage, "fc2", z)));
}

static scores score_spvit(sv_onnx_mapping *m, size_t stage, sv_onnx_value u)
{
    const sv_model_options *o = &m->d->model->options;
    sv_onnx_value slices = sv_onnx_reshape(m, u, 4, (int64_t[]){ 0, 0, (int64_t)o->heads, (int64_t)(o->width / o->heads) });
    sv_onnx_value sides = sv_onnx_split(m, decide_heads(m, stage, slices), 2);
    sv_onnx_value delta = sv_onnx_squeeze(m, sv_onnx_binary(m, "Sub", sides, sides + 1), -1);
    sv_onnx_value importance = sv_onnx_gelu(m, layer(m, stage, "head_fc1", sv_onnx_mean(m, slices, -1, false)));
    importance = sv_onnx_unary(m, "Sigmoid", layer(m, stage, "head_fc2", importance));
    sv_onnx_value total = sv_onnx_binary(m, "Max", sv_onnx_sum(m, importance, -1, false), sv_onnx_real(m->graph, 1e-12));
    sv_onnx_value a = sv_onnx_sum(m, sv_onnx_binary(m, "Mul", importance, delta), -1, false);
    sv_onnx_value keep = sv_onnx_unary(m, "Sigmoid", delta);
    sv_onnx_value score = sv_onnx_sum(m, sv_onnx_binary(m, "Mul", importance, keep), -1, false);
    return (scores){ sv_onnx_binary(m, "Div", a, total), sv_onnx_binary(m, "Div", score, total) };
}

/* Spec DynamicViT 2: whole tokens, one pair of logits. */
static scores score_dynamicvit(sv_onnx_mapping *m, size_t stage, sv_onnx_value u)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "score_predictor.%zu.in_conv.0", stage);
    sv_onnx_value v = sv_onnx_gelu(m, predictor(m, stage, "in_conv.1", sv_onnx_norm(m, u, prefix, norm_epsilon)));
    sv_onnx_value local = sv_onnx_split(m, v, 2), global = sv_onnx_mean(m, local + 1, 1, true);
    sv_onnx_value both[] = { local, sv_onnx_binary(m, "Expand", global, shape_of(m, local)) };
    sv_onnx_value z = sv_onnx_gelu(m, predictor(m, stage, "out_conv.0", sv_onnx_concat(m, 2, 2, both)));
    sv_onnx_value sides = sv_onnx_split(m, predictor(m, stage, "out_conv.4", sv_onnx_gelu(m, predictor(m, stage, "out_conv.2", z))), 2);
    sv_onnx_value delta = sv_onnx_squeeze(m, sv_onnx_binary(m, "Sub", sides, sides + 1), -1);
    return (scores){ delta, sv_onnx_unary(m, "Sigmoid", delta) };
}

static scores score_rows(sv_onnx_mapping *m, size_t stage, sv_onnx_value u)
{
    static scores (*const of_method[SV_METHODS])(
        sv_onnx_mapping *, size_t, sv_onnx_value) = { [SV_METHOD_SPVIT] = score_spvit, [SV_METHOD_DYNAMICVIT] = score_dynamicvit };
    return of_method[m->plan->method](m, stage, u);
}

/* ---- the package token ------------------------------------------------------------------------------------------- */

/* patches [B,n,D] of which drop [B,n] (0 or 1) leave -> [B,1,D]; nothing dropped: zeros. */
static sv_onnx_value package_of(sv_onnx_mapping *m, sv_onnx_value patches, sv_onnx_value drop, sv_onnx_value score)
{
    const sv_package_choice form = m->plan->package;
    sv_onnx_value weight = form == SV_CHOICE_MEAN ? drop : sv_onnx_binary(m, "Mul", drop, score);
    sv_onnx_value sum = sv_onnx_binary(m, "MatMul", sv_onnx_unsqueeze(m, weight, 1), patches);
    if (form == SV_CHOICE_SUM) return sum;
    sv_onnx_value total = sv_onnx_binary(m, "Max", sv_onnx_sum(m, weight, 1, true), sv_onnx_real(m->graph, 1e-6));
    return sv_onnx_binary(m, "Div", sum, sv_onnx_unsqueeze(m, total, 2));
}

static sv_onnx_value top_k(sv_onnx_mapping *m, sv_onnx_value x, sv_onnx_value count, bool largest)
{
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "TopK",
                                                   .inputs = 2,
                                                   .input = { x, count },
                                                   .outputs = 2,
                                                   .attributes = 3,
                                                   .attribute = { { .name = "axis", .kind = SV_ONNX_I, .i = -1 },
                                                                  { .name = "largest", .kind = SV_ONNX_I, .i = largest },
                                                                  { .name = "sorted", .kind = SV_ONNX_I, .i = 1 } } });
}

/* `base` with the places of `index` set to value; base [B,n], index [B,k]. */
static sv_onnx_value put(sv_onnx_mapping *m, sv_onnx_value base, sv_onnx_value index, double value)
{
    sv_onnx_value numbers = filled(m, index, value);
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "ScatterElements",
                                                   .inputs = 3,
                                                   .input = { base, index, numbers },
                                                   .attributes = 1,
                                                   .attribute = { { .name = "axis", .kind = SV_ONNX_I, .i = 1 } } });
}

static sv_onnx_value gather(sv_onnx_mapping *m, const char *op, const char *attribute, sv_onnx_value x, sv_onnx_value index, int64_t value)
{
    return sv_onnx_node(m->graph, &(sv_onnx_call){ .op = op,
                                                   .inputs = 2,
                                                   .input = { x, index },
                                                   .attributes = 1,
                                                   .attribute = { { .name = attribute, .kind = SV_ONNX_I, .i = value } } });
}

/* ---- static ------------------------------------------------------------------------------------------------------ */

static size_t wanted(const sv_pruning_plan *plan, size_t stage, size_t patches)
{
    const size_t count = plan->count[stage] > plan->min_keep ? plan->count[stage] : plan->min_keep;
    return count < patches ? count : patches;
}

static sv_onnx_tokens select_static(sv_onnx_mapping *m, size_t stage, sv_onnx_tokens tokens, sv_onnx_value prefix, sv_onnx_value u)
{
    const int64_t n = (int64_t)tokens.patches, k = (int64_t)wanted(m->plan, stage, tokens.patches);
    const bool packs = m->plan->package != SV_CHOICE_NONE && (k < n || m->plan->empty == SV_EMPTY_KEEP_ZERO);
    const scores s = score_rows(m, stage, u);
    sv_onnx_value parts[4] = { prefix }, patches = sv_onnx_slice(m, u, 1, 0, n), count = sv_onnx_ints(m->graph, 1, &k);
    size_t part = 2;
    sv_onnx_value best = top_k(m, sv_onnx_slice(m, s.a, 1, 0, n), count, true) + 1;
    sv_onnx_value index = top_k(m, best, count, false); /* in rising order */
    parts[1] = gather(m, "GatherND", "batch_dims", patches, sv_onnx_unsqueeze(m, index, 2), 1);
    if (tokens.packages) parts[part++] = sv_onnx_slice(m, u, 1, n, INT64_MAX);
    if (packs) {
        sv_onnx_value score = sv_onnx_slice(m, s.score, 1, 0, n);
        parts[part++] = package_of(m, patches, put(m, filled(m, score, 1), index, 0), score);
    }
    return (sv_onnx_tokens){ .x = sv_onnx_concat(m, 1, part, parts),
                             .patches = (size_t)k,
                             .packages = tokens.packages + packs,
                             .origin = stage ? gather(m, "GatherElements", "axis", tokens.origin, index, 1) : index };
}

/* ---- dynamic ----------------------------------------------------------------------------------------------------- */

/* keep [1,n], 0 or 1: those at or above the threshold, and the min_keep best in any case. */
static sv_onnx_value keep_by_threshold(sv_onnx_mapping *m, size_t stage, sv_onnx_value a)
{
    const int64_t least = (int64_t)m->plan->min_keep, one = 1;
    const double threshold = m->plan->rule == SV_RULE_ARGMAX ? 0.5 : m->plan->threshold[stage];
    sv_onnx_value pass = sv_onnx_binary(m, "GreaterOrEqual", sv_onnx_unary(m, "Sigmoid", a), sv_onnx_real(m->graph, threshold));
    pass = cast(m, pass, SV_ONNX_FLOAT);
    sv_onnx_value count = sv_onnx_slice(m, shape_of(m, a), 0, one, INT64_MAX);
    count = sv_onnx_binary(m, "Min", count, sv_onnx_ints(m->graph, 1, &least));
    sv_onnx_value best = top_k(m, a, count, true) + 1;
    return sv_onnx_binary(m, "Max", pass, put(m, filled(m, a, 0), best, 1));
}

/* The package, or no row at all where nothing was dropped and the plan masks empty packages. */
static sv_onnx_value package_if_any(sv_onnx_mapping *m, sv_onnx_value package, sv_onnx_value drop)
{
    const int64_t zero = 0;
    if (m->plan->empty == SV_EMPTY_KEEP_ZERO) return package;
    sv_onnx_value dropped = sv_onnx_sum(m, sv_onnx_squeeze(m, drop, 0), 0, true);
    sv_onnx_value rows = cast(m, sv_onnx_binary(m, "Min", dropped, sv_onnx_real(m->graph, 1)), SV_ONNX_INT64);
    return sv_onnx_slice_at(m, package, 1, sv_onnx_ints(m->graph, 1, &zero), rows);
}

static sv_onnx_tokens select_dynamic(sv_onnx_mapping *m, size_t stage, sv_onnx_tokens tokens, sv_onnx_value prefix, sv_onnx_value u)
{
    const int64_t zero = 0, all = (int64_t)tokens.patches, last = INT64_MAX;
    const scores s = score_rows(m, stage, u);
    sv_onnx_value n = stage ? tokens.alive : sv_onnx_ints(m->graph, 1, &all), none = sv_onnx_ints(m->graph, 1, &zero);
    sv_onnx_value patches = sv_onnx_slice_at(m, u, 1, none, n), a = sv_onnx_slice_at(m, s.a, 1, none, n), parts[4] = { prefix };
    size_t part = 2;
    sv_onnx_value keep = keep_by_threshold(m, stage, a);
    sv_onnx_value index = sv_onnx_squeeze(m, sv_onnx_unary(m, "NonZero", sv_onnx_squeeze(m, keep, 0)), 0);
    parts[1] = gather(m, "Gather", "axis", patches, index, 1);
    if (tokens.packages) parts[part++] = sv_onnx_slice_at(m, u, 1, n, sv_onnx_ints(m->graph, 1, &last));
    if (m->plan->package != SV_CHOICE_NONE) {
        sv_onnx_value drop = sv_onnx_binary(m, "Sub", sv_onnx_real(m->graph, 1), keep);
        sv_onnx_value package = package_of(m, patches, drop, sv_onnx_slice_at(m, s.score, 1, none, n));
        parts[part++] = package_if_any(m, package, drop);
    }
    return (sv_onnx_tokens){ .x = sv_onnx_concat(m, 1, part, parts),
                             .packages = tokens.packages + (m->plan->package != SV_CHOICE_NONE),
                             .origin = stage ? gather(m, "Gather", "axis", tokens.origin, index, 0) : index,
                             .alive = shape_of(m, index) };
}

sv_onnx_tokens sv_onnx_select(sv_onnx_mapping *m, size_t stage, sv_onnx_tokens tokens)
{
    const int64_t prefix = (int64_t)sv_model_prefix(m->d->model);
    sv_onnx_scope(m->graph, "selectors.%zu", stage);
    sv_onnx_value first = sv_onnx_slice(m, tokens.x, 1, 0, prefix), u = sv_onnx_slice(m, tokens.x, 1, prefix, INT64_MAX);
    return m->options.mode == SV_ONNX_STATIC ? select_static(m, stage, tokens, first, u) : select_dynamic(m, stage, tokens, first, u);
}
