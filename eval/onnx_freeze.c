/* The freezing form in a graph (pruning/freeze.c): what is dropped inside a stage waits as it was when it was dropped, and is put back into its cells
 * where the stage ends; one package token takes in what all selectors drop. By rank: how many rows live and whether there is something in the package
 * is known here.
 * Letters: B pictures, E prefix rows, N cells of the stage's grid, k of them alive. */
#include "eval/onnx_inside.h"

typedef struct frozen {
    sv_place at;
    sv_onnx_living living;
    sv_onnx_value waiting, waits;  /* [B,N-k,D] rows, [B,N-k] their cells; 0: none */
    sv_onnx_value package, weight; /* [B,1,D] while it is empty and not among the rows; [B,1], 0: it weighs nothing */
    bool packs;                    /* there is a package, in one place or the other */
} frozen;

static sv_onnx_value joined(sv_onnx_mapping *m, sv_onnx_value a, sv_onnx_value b)
{
    return a && b ? sv_onnx_concat(m, 1, 2, (sv_onnx_value[]){ a, b }) : a ? a : b;
}

static sv_onnx_value part(sv_onnx_mapping *m, sv_onnx_value x, size_t begin, size_t count)
{
    return count ? sv_onnx_slice(m, x, 1, (int64_t)begin, (int64_t)(begin + count)) : 0;
}

/* Prefix, all N cells and the package, whether it lives or not. */
static sv_onnx_value put_back(sv_onnx_mapping *m, const frozen *s)
{
    const sv_onnx_living *l = &s->living;
    const size_t prefix = s->at.prefix;
    if (!s->waiting) return joined(m, l->x, s->package);
    sv_onnx_value cells = joined(m, part(m, l->x, prefix, l->alive), s->waiting);
    sv_onnx_value package = l->packages ? part(m, l->x, prefix + l->alive, 1) : s->package;
    return joined(m, joined(m, part(m, l->x, 0, prefix), sv_onnx_rows_at(m, cells, l->position)), package);
}

/* The step to the stage that block i opens; behind it every cell lives. */
static void enter(sv_onnx_mapping *m, frozen *s, size_t i)
{
    sv_onnx_value grid = sv_onnx_enter(m, i, put_back(m, s), s->packs);
    const sv_place at = sv_model_place(m->d->model, i);
    const size_t packages = s->living.packages, rows = at.prefix + at.patches;
    const bool apart = s->packs && !packages;
    *s = (frozen){ .at = at,
                   .living = { .x = apart ? part(m, grid, 0, rows) : grid, .cells = at.patches, .alive = at.patches, .packages = packages },
                   .package = apart ? part(m, grid, rows, 1) : 0,
                   .weight = s->weight,
                   .packs = s->packs };
}

/* The package with what is dropped now; drop [B,n], 0: nothing. u: the rows scored, n patches first. */
static sv_onnx_value pack(sv_onnx_mapping *m, frozen *s, sv_onnx_value u, sv_onnx_value drop, sv_onnx_value score)
{
    const size_t n = s->living.alive;
    sv_onnx_value old = s->living.packages ? part(m, u, n, 1) : s->package;
    if (m->plan->package == SV_CHOICE_NONE) return 0;
    s->packs = true;
    if (drop) return sv_onnx_package(m, part(m, u, 0, n), drop, part(m, score, 0, n), old, &s->weight);
    return old ? old : sv_onnx_filled(m, part(m, u, 0, 1), 0);
}

/* Patches of the rows that are no more go to those that wait; lists: who stays, who goes, of the living. */
static void part_rows(sv_onnx_mapping *m, frozen *s, sv_onnx_value patches, sv_onnx_value stay, sv_onnx_value go)
{
    sv_onnx_living *l = &s->living;
    sv_onnx_value number = l->number;
    l->number = number ? sv_onnx_numbers_at(m, number, stay) : stay;
    if (!go) return;
    s->waiting = joined(m, s->waiting, sv_onnx_rows_at(m, patches, go));
    s->waits = joined(m, s->waits, number ? sv_onnx_numbers_at(m, number, go) : go);
    l->position = sv_onnx_inverse(m, joined(m, l->number, s->waits), l->cells);
}

static sv_onnx_tokens select_living(sv_onnx_mapping *m, frozen *s, size_t t)
{
    sv_onnx_living *l = &s->living;
    const size_t prefix = s->at.prefix, n = l->alive, k = sv_onnx_wanted(m->plan, t, n);
    sv_onnx_scope(m->graph, "selectors.%zu", t);
    sv_onnx_value u = sv_onnx_slice(m, l->x, 1, (int64_t)prefix, INT64_MAX), patches = part(m, u, 0, n);
    const sv_onnx_scores scores = sv_onnx_score_rows(m, t, u, NULL);
    sv_onnx_value stay = sv_onnx_best(m, part(m, scores.a, 0, n), k);
    sv_onnx_value drop = k < n ? sv_onnx_put(m, sv_onnx_filled(m, part(m, scores.a, 0, n), 1), stay, 0) : 0;
    sv_onnx_value package = pack(m, s, u, drop, scores.score);
    part_rows(m, s, patches, stay, drop ? sv_onnx_others(m, drop, n - k) : 0);
    l->packages = package && (l->packages || drop || m->plan->empty == SV_EMPTY_KEEP_ZERO);
    s->package = l->packages ? 0 : package;
    l->alive = k;
    l->x = joined(m, joined(m, part(m, l->x, 0, prefix), sv_onnx_rows_at(m, patches, stay)), l->packages ? package : 0);
    return (sv_onnx_tokens){ .patches = k, .origin = l->number };
}

static sv_onnx_tokens freeze_walk(sv_onnx_mapping *m, sv_onnx_value rows, sv_onnx_tokens *kept)
{
    const sv_model *model = m->d->model;
    const sv_place first = sv_model_place(model, 0);
    frozen s = { .at = first, .living = { .x = rows, .cells = first.patches, .alive = first.patches } };
    for (size_t i = 0, t = 0; i < sv_model_depth(model); i++) {
        if (sv_model_place(model, i).stage != s.at.stage) enter(m, &s, i);
        if (t < m->plan->stages && m->plan->at[t] == i) kept[t] = select_living(m, &s, t), t++;
        s.living.x = s.living.number || s.living.packages ? m->family->among(m, i, &s.living) : sv_onnx_block(m, i, s.living.x);
    }
    if (!model->backbone->family->head_reads_all) return (sv_onnx_tokens){ .x = s.living.x };
    sv_onnx_value grid = put_back(m, &s);
    return (sv_onnx_tokens){ .x = s.packs ? part(m, grid, 0, s.at.prefix + s.at.patches) : grid, .patches = s.at.patches };
}

const sv_onnx_form sv_onnx_freeze = { .name = "freeze", .walk = freeze_walk, .by_rank_alone = true };
