/* A selector in a graph, behind its scores: decision (spec SPViT 7.2), package token (2.7), removal. Rows stand as in Sieve: prefix, patches in
 * rising order, package tokens, oldest first. Static: how many patches stay is known here, so whether a package is empty is too. Dynamic: both
 * are known at run time only; one picture, so patches can be gathered by one list.
 * Letters: B pictures, R rows scored (patches and packages), n patches among them, k of these that stay. */
#include "eval/onnx_inside.h"

static sv_onnx_value cast(sv_onnx_mapping *m, sv_onnx_value x, sv_onnx_type type)
{
    return sv_onnx_node(
        m->graph,
        &(sv_onnx_call){
            .op = "Cast", .inputs = 1, .input = { x }, .attributes = 1, .attribute = { { .name = "to", .kind = SV_ONNX_I, .i = type } } });
}

/* ---- the package token ------------------------------------------------------------------------------------------- */

sv_onnx_value sv_onnx_package(sv_onnx_mapping *m, sv_onnx_value patches, sv_onnx_value drop, sv_onnx_value score, sv_onnx_value old,
                              sv_onnx_value *carried)
{
    const sv_package_choice form = m->plan->package;
    sv_onnx_value weight = form == SV_CHOICE_MEAN ? drop : sv_onnx_binary(m, "Mul", drop, score);
    sv_onnx_value sum = sv_onnx_binary(m, "MatMul", sv_onnx_unsqueeze(m, weight, 1), patches);
    if (form == SV_CHOICE_SUM) return old ? sv_onnx_binary(m, "Add", sum, old) : sum;
    sv_onnx_value total = sv_onnx_sum(m, weight, 1, true);
    if (carried && *carried) {
        sum = sv_onnx_binary(m, "Add", sum, sv_onnx_binary(m, "Mul", old, sv_onnx_unsqueeze(m, *carried, 2)));
        total = sv_onnx_binary(m, "Add", total, *carried);
    }
    if (carried) *carried = total;
    return sv_onnx_binary(m, "Div", sum, sv_onnx_unsqueeze(m, sv_onnx_binary(m, "Max", total, sv_onnx_real(m->graph, 1e-6)), 2));
}

/* ---- static ------------------------------------------------------------------------------------------------------ */

size_t sv_onnx_wanted(const sv_pruning_plan *plan, size_t stage, size_t patches)
{
    const size_t count = plan->count[stage] > plan->min_keep ? plan->count[stage] : plan->min_keep;
    return count < patches ? count : patches;
}

static sv_onnx_tokens select_static(sv_onnx_mapping *m, size_t stage, sv_onnx_tokens tokens, sv_onnx_value prefix, sv_onnx_value u)
{
    const int64_t n = (int64_t)tokens.patches, k = (int64_t)sv_onnx_wanted(m->plan, stage, tokens.patches);
    const bool packs = m->plan->package != SV_CHOICE_NONE && (k < n || m->plan->empty == SV_EMPTY_KEEP_ZERO);
    const sv_onnx_scores s = sv_onnx_score_rows(m, stage, u, &tokens);
    sv_onnx_value parts[4] = { prefix }, patches = sv_onnx_slice(m, u, 1, 0, n);
    size_t part = 2;
    sv_onnx_value index = sv_onnx_best(m, sv_onnx_slice(m, s.a, 1, 0, n), (size_t)k);
    parts[1] = sv_onnx_rows_at(m, patches, index);
    if (tokens.packages) parts[part++] = sv_onnx_slice(m, u, 1, n, INT64_MAX);
    if (packs) {
        sv_onnx_value score = sv_onnx_slice(m, s.score, 1, 0, n);
        parts[part++] = sv_onnx_package(m, patches, sv_onnx_put(m, sv_onnx_filled(m, score, 1), index, 0), score, 0, NULL);
    }
    return (sv_onnx_tokens){ .x = sv_onnx_concat(m, 1, part, parts),
                             .patches = (size_t)k,
                             .packages = tokens.packages + packs,
                             .origin = stage ? sv_onnx_numbers_at(m, tokens.origin, index) : index };
}

/* ---- dynamic ----------------------------------------------------------------------------------------------------- */

/* keep [1,n], 0 or 1: those at or above the threshold, and the min_keep best in any case. */
static sv_onnx_value keep_by_threshold(sv_onnx_mapping *m, size_t stage, sv_onnx_value a)
{
    const int64_t least = (int64_t)m->plan->min_keep, one = 1;
    const double threshold = m->plan->rule == SV_RULE_ARGMAX ? 0.5 : m->plan->threshold[stage];
    sv_onnx_value pass = sv_onnx_binary(m, "GreaterOrEqual", sv_onnx_unary(m, "Sigmoid", a), sv_onnx_real(m->graph, threshold));
    pass = cast(m, pass, SV_ONNX_FLOAT);
    sv_onnx_value count = sv_onnx_slice(m, sv_onnx_shape(m, a), 0, one, INT64_MAX);
    count = sv_onnx_binary(m, "Min", count, sv_onnx_ints(m->graph, 1, &least));
    sv_onnx_value best = sv_onnx_top_k(m, a, count, true) + 1;
    return sv_onnx_binary(m, "Max", pass, sv_onnx_put(m, sv_onnx_filled(m, a, 0), best, 1));
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
    const sv_onnx_scores s = sv_onnx_score_rows(m, stage, u, &tokens);
    sv_onnx_value n = stage ? tokens.alive : sv_onnx_ints(m->graph, 1, &all), none = sv_onnx_ints(m->graph, 1, &zero);
    sv_onnx_value patches = sv_onnx_slice_at(m, u, 1, none, n), a = sv_onnx_slice_at(m, s.a, 1, none, n), parts[4] = { prefix };
    size_t part = 2;
    sv_onnx_value keep = keep_by_threshold(m, stage, a);
    sv_onnx_value index = sv_onnx_squeeze(m, sv_onnx_unary(m, "NonZero", sv_onnx_squeeze(m, keep, 0)), 0);
    parts[1] = sv_onnx_gather(m, "Gather", "axis", patches, index, 1);
    if (tokens.packages) parts[part++] = sv_onnx_slice_at(m, u, 1, n, sv_onnx_ints(m->graph, 1, &last));
    if (m->plan->package != SV_CHOICE_NONE) {
        sv_onnx_value drop = sv_onnx_binary(m, "Sub", sv_onnx_real(m->graph, 1), keep);
        sv_onnx_value package = sv_onnx_package(m, patches, drop, sv_onnx_slice_at(m, s.score, 1, none, n), 0, NULL);
        parts[part++] = package_if_any(m, package, drop);
    }
    return (sv_onnx_tokens){ .x = sv_onnx_concat(m, 1, part, parts),
                             .packages = tokens.packages + (m->plan->package != SV_CHOICE_NONE),
                             .origin = stage ? sv_onnx_gather(m, "Gather", "axis", tokens.origin, index, 0) : index,
                             .alive = sv_onnx_shape(m, index) };
}

sv_onnx_tokens sv_onnx_select(sv_onnx_mapping *m, size_t stage, sv_onnx_tokens tokens)
{
    const int64_t prefix = (int64_t)sv_model_prefix(m->d->model);
    sv_onnx_scope(m->graph, "selectors.%zu", stage);
    sv_onnx_value first = sv_onnx_slice(m, tokens.x, 1, 0, prefix), u = sv_onnx_slice(m, tokens.x, 1, prefix, INT64_MAX);
    return m->options.mode == SV_ONNX_STATIC ? select_static(m, stage, tokens, first, u) : select_dynamic(m, stage, tokens, first, u);
}
