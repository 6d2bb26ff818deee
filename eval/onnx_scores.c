/* Scores of patches in a graph (spec SPViT 2.2-2.4, DynamicViT 2): of all rows behind the prefix, the logit of keep and the weight in a package. A method
 * a function. */
#include "autograd/ops.h"
#include "eval/onnx_inside.h"

#include <stdio.h>

/* As pruning/selector.c has it. */
static double norm_epsilon(const sv_onnx_mapping *m, size_t stage)
{
    const double own = sv_model_place(m->d->model, m->plan->at[stage]).norm_eps;
    return own > 0 ? own : 1e-5;
}

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
    sv_onnx_value v = sv_onnx_gelu(m, layer(m, stage, "fc_in", sv_onnx_norm(m, slices, prefix, norm_epsilon(m, stage))));
    sv_onnx_value local = sv_onnx_split(m, v, 2), global = sv_onnx_mean(m, local + 1, 1, true);
    sv_onnx_value both[] = { local, sv_onnx_binary(m, "Expand", global, sv_onnx_shape(m, local)) };
    sv_onnx_value z = sv_onnx_gelu(m, layer(m, stage, "fc1", sv_onnx_concat(m, 3, 2, both)));
    return layer(m, stage, "fc_out", sv_onnx_gelu(m, layer(m, stage, "fc2", z)));
}

static sv_onnx_scores score_spvit(sv_onnx_mapping *m, size_t stage, sv_onnx_value u)
{
    const sv_place at = sv_model_place(m->d->model, m->plan->at[stage]);
    sv_onnx_value slices = sv_onnx_reshape(m, u, 4, (int64_t[]){ 0, 0, (int64_t)at.heads, (int64_t)(at.width / at.heads) });
    sv_onnx_value sides = sv_onnx_split(m, decide_heads(m, stage, slices), 2);
    sv_onnx_value delta = sv_onnx_squeeze(m, sv_onnx_binary(m, "Sub", sides, sides + 1), -1);
    sv_onnx_value importance = sv_onnx_gelu(m, layer(m, stage, "head_fc1", sv_onnx_mean(m, slices, -1, false)));
    importance = sv_onnx_unary(m, "Sigmoid", layer(m, stage, "head_fc2", importance));
    sv_onnx_value total = sv_onnx_binary(m, "Max", sv_onnx_sum(m, importance, -1, false), sv_onnx_real(m->graph, 1e-12));
    sv_onnx_value a = sv_onnx_sum(m, sv_onnx_binary(m, "Mul", importance, delta), -1, false);
    sv_onnx_value keep = sv_onnx_unary(m, "Sigmoid", delta);
    sv_onnx_value score = sv_onnx_sum(m, sv_onnx_binary(m, "Mul", importance, keep), -1, false);
    return (sv_onnx_scores){ sv_onnx_binary(m, "Div", a, total), sv_onnx_binary(m, "Div", score, total) };
}

/* Spec DynamicViT 2: whole tokens, one pair of logits. */
static sv_onnx_scores score_dynamicvit(sv_onnx_mapping *m, size_t stage, sv_onnx_value u)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "score_predictor.%zu.in_conv.0", stage);
    sv_onnx_value v = sv_onnx_gelu(m, predictor(m, stage, "in_conv.1", sv_onnx_norm(m, u, prefix, norm_epsilon(m, stage))));
    sv_onnx_value local = sv_onnx_split(m, v, 2), global = sv_onnx_mean(m, local + 1, 1, true);
    sv_onnx_value both[] = { local, sv_onnx_binary(m, "Expand", global, sv_onnx_shape(m, local)) };
    sv_onnx_value z = sv_onnx_gelu(m, predictor(m, stage, "out_conv.0", sv_onnx_concat(m, 2, 2, both)));
    sv_onnx_value sides = sv_onnx_split(m, predictor(m, stage, "out_conv.4", sv_onnx_gelu(m, predictor(m, stage, "out_conv.2", z))), 2);
    sv_onnx_value delta = sv_onnx_squeeze(m, sv_onnx_binary(m, "Sub", sides, sides + 1), -1);
    return (sv_onnx_scores){ delta, sv_onnx_unary(m, "Sigmoid", delta) };
}

/* ---- scores that nobody learns ----------------------------------------------------------------------------------- */

/* Sieve's draws for the first picture of a seed of 0, which its deployed form takes for every picture: a stored number a patch. */
static sv_onnx_scores score_random(sv_onnx_mapping *m, size_t stage, const sv_onnx_tokens *tokens)
{
    const size_t patches = sv_model_patches(m->d->model), dims[] = { 1, patches, 1 };
    float *draws = NULL;
    char name[48];
    m->note = "patches were drawn once: every picture keeps the same ones";
    if (!m->failed) m->failed = sv_alloc(&draws, patches * sizeof *draws, "onnx", &m->error);
    if (m->failed) return (sv_onnx_scores){ 0, 0 };
    for (size_t i = 0; i < patches; i++) draws[i] = (float)sv_random_score(0, 0, 0, stage, i);
    snprintf(name, sizeof name, "selectors.%zu.draws", stage);
    sv_onnx_value a = sv_onnx_initializer(m->graph, name, SV_ONNX_FLOAT, SV_COUNT(dims), dims, draws);
    a = sv_onnx_squeeze(m, sv_onnx_repeated(m, a, patches, 1, tokens->x), 2);
    if (tokens->origin) a = sv_onnx_numbers_at(m, a, tokens->origin);
    return (sv_onnx_scores){ a, a };
}

/* What the class token saw of each row. */
static sv_onnx_scores score_watched(sv_onnx_mapping *m, size_t stage, const sv_onnx_tokens *tokens)
{
    (void)stage;
    sv_onnx_value a = sv_onnx_slice(m, tokens->watched, 1, (int64_t)sv_model_prefix(m->d->model), INT64_MAX);
    return (sv_onnx_scores){ a, a };
}

/* ---- the methods ------------------------------------------------------------------------------------------------- */

/* learned or free: how the rows are scored; NULL: not so. */
typedef struct scorer {
    sv_onnx_scores (*learned)(sv_onnx_mapping *m, size_t stage, sv_onnx_value u);
    sv_onnx_scores (*free)(sv_onnx_mapping *m, size_t stage, const sv_onnx_tokens *tokens);
    bool watches;
} scorer;
static const scorer scorers[SV_METHODS] = {
    [SV_METHOD_SPVIT] = { .learned = score_spvit },
    [SV_METHOD_DYNAMICVIT] = { .learned = score_dynamicvit },
    [SV_METHOD_RANDOM] = { .free = score_random },
    [SV_METHOD_ATTENTION] = { .free = score_watched, .watches = true },
    [SV_METHOD_EVIT] = { .free = score_watched, .watches = true },
    [SV_METHOD_TOME] = { NULL, NULL, false }, /* onnx_merge.c */
};

bool sv_onnx_learns(sv_method method) { return scorers[method].learned != NULL; }
bool sv_onnx_watches(sv_method method) { return scorers[method].watches; }

sv_onnx_scores sv_onnx_score_rows(sv_onnx_mapping *m, size_t stage, sv_onnx_value u, const sv_onnx_tokens *tokens)
{
    const scorer *s = &scorers[m->plan->method];
    return s->learned ? s->learned(m, stage, u) : s->free(m, stage, tokens);
}
