/* Swin as a graph (layers/swin.c, spec backbones 6). The grid is rolled by two slices an axis, cut into windows by a reshape of six axes and a
 * transpose. A block's table of relative positions is gathered by a stored list of places; the mask of a shifted grid is a stored constant a
 * stage, -100 between places that were not neighbours.
 * Among living rows (pruning/freeze.c) their queries, keys and values are set into the grid for the attention alone, where the dropped cells are masked:
 * windows keep their size, which a graph must know. Norms, linear layers and the MLP run on living rows. */
#include "eval/onnx_inside.h"
#include "layers/stages.h"

#include <stdio.h>
#include <string.h>

typedef struct grid {
    size_t stage, side, window, shift, width;
    size_t packages;    /* 0, 1: a key behind those of each window */
    sv_onnx_value away; /* [windows of all pictures, 1, 1, window^2], added to scores: of cells that are dropped; 0: there are none */
} grid;

static const double dropped = -3e4; /* no other score is near it, and a half-precision number holds it */

static grid grid_of(const sv_model *model, size_t stage, size_t inside)
{
    const sv_stages *stages = sv_stages_of(model);
    grid g = { .stage = stage, .side = (model->options.image / model->options.patch) >> stage, .width = stages->width[stage] };
    g.window = g.side <= stages->window ? g.side : stages->window;
    g.shift = inside % 2 && g.side > g.window ? g.window / 2 : 0;
    return g;
}

/* ---- moves ------------------------------------------------------------------------------------------------------- */

/* Index i of the axis becomes what was at i + by. */
static sv_onnx_value rolled(sv_onnx_mapping *m, sv_onnx_value x, int64_t axis, size_t by)
{
    sv_onnx_value parts[] = { sv_onnx_slice(m, x, axis, (int64_t)by, INT64_MAX), sv_onnx_slice(m, x, axis, 0, (int64_t)by) };
    return sv_onnx_concat(m, (size_t)axis, 2, parts);
}

static const int64_t swapped[] = { 0, 1, 3, 2, 4, 5 };

/* [B, side*side, C] -> [B*windows, window*window, C] */
static sv_onnx_value to_windows(sv_onnx_mapping *m, const grid *g, sv_onnx_value x)
{
    const int64_t side = (int64_t)g->side, w = (int64_t)g->window, n = side / w, width = (int64_t)g->width;
    x = sv_onnx_reshape(m, x, 4, (int64_t[]){ 0, side, side, width });
    if (g->shift) x = rolled(m, rolled(m, x, 1, g->shift), 2, g->shift);
    x = sv_onnx_reshape(m, x, 6, (int64_t[]){ 0, n, w, n, w, width });
    return sv_onnx_reshape(m, sv_onnx_transpose(m, x, 6, swapped), 3, (int64_t[]){ -1, w * w, width });
}

static sv_onnx_value from_windows(sv_onnx_mapping *m, const grid *g, sv_onnx_value x)
{
    const int64_t side = (int64_t)g->side, w = (int64_t)g->window, n = side / w, width = (int64_t)g->width;
    x = sv_onnx_reshape(m, x, 6, (int64_t[]){ -1, n, n, w, w, width });
    x = sv_onnx_reshape(m, sv_onnx_transpose(m, x, 6, swapped), 4, (int64_t[]){ 0, side, side, width });
    if (g->shift) x = rolled(m, rolled(m, x, 1, g->side - g->shift), 2, g->side - g->shift);
    return sv_onnx_reshape(m, x, 3, (int64_t[]){ 0, side * side, width });
}

/* 2 x 2 places become one: channels of (even row, even column), (odd, even), (even, odd), (odd, odd); norm, linear layer without bias. A package
 * token behind the grid is merged as four equal neighbours. */
static sv_onnx_value merged(sv_onnx_mapping *m, size_t stage, sv_onnx_value x, size_t packages)
{
    const grid g = grid_of(m->d->model, stage - 1, 0);
    const int64_t half = (int64_t)g.side / 2, width = (int64_t)g.width;
    char norm[64], reduction[64];
    snprintf(norm, sizeof norm, "layers.%zu.downsample.norm", stage);
    snprintf(reduction, sizeof reduction, "layers.%zu.downsample.reduction", stage);
    sv_onnx_scope(m->graph, "layers.%zu.downsample", stage);
    sv_onnx_value package = packages ? sv_onnx_slice(m, x, 1, 4 * half * half, INT64_MAX) : 0,
                  four[] = { package, package, package, package };
    if (packages) x = sv_onnx_slice(m, x, 1, 0, 4 * half * half);
    x = sv_onnx_reshape(m, x, 6, (int64_t[]){ 0, half, 2, half, 2, width });
    x = sv_onnx_transpose(m, x, 6, (int64_t[]){ 0, 1, 3, 4, 2, 5 });
    x = sv_onnx_reshape(m, x, 3, (int64_t[]){ 0, half * half, 4 * width });
    if (packages) x = sv_onnx_concat(m, 1, 2, (sv_onnx_value[]){ x, sv_onnx_concat(m, 2, 4, four) });
    return sv_onnx_linear(m, sv_onnx_norm(m, x, norm, m->d->model->options.norm_eps), reduction);
}

/* ---- what is added to scores ------------------------------------------------------------------------------------- */

/* For each pair of places of a window its row of the table: int64 [window^4]. */
static sv_onnx_value places(sv_onnx_mapping *m, const grid *g)
{
    const size_t w = g->window, count = w * w * w * w;
    int64_t *index = NULL;
    char name[48];
    if (!m->failed) m->failed = sv_alloc(&index, count * sizeof *index, "onnx", &m->error);
    if (m->failed) return 0;
    for (size_t i = 0; i < w * w; i++)
        for (size_t j = 0; j < w * w; j++) index[i * w * w + j] = (int64_t)((i / w + w - 1 - j / w) * (2 * w - 1) + i % w + w - 1 - j % w);
    snprintf(name, sizeof name, "layers.%zu.window_places", g->stage);
    return sv_onnx_initializer(m->graph, name, SV_ONNX_INT64, 1, &count, index);
}

static size_t band_of(const grid *g, size_t place) { return (place >= g->side - g->window) + (place >= g->side - g->shift); }

/* [windows, 1, window^2, window^2] */
static sv_onnx_value shift_mask(sv_onnx_mapping *m, const grid *g)
{
    const size_t w = g->window, n = g->side / w, places = w * w, dims[] = { n * n, 1, places, places };
    float *mask = NULL;
    char name[48];
    if (!m->failed) m->failed = sv_alloc(&mask, n * n * places * places * sizeof *mask, "onnx", &m->error);
    if (m->failed) return 0;
    for (size_t k = 0; k < n * n; k++)
        for (size_t i = 0; i < places; i++)
            for (size_t j = 0; j < places; j++) {
                const size_t row = k / n * w, column = k % n * w;
                const bool same =
                    band_of(g, row + i / w) == band_of(g, row + j / w) && band_of(g, column + i % w) == band_of(g, column + j % w);
                mask[(k * places + i) * places + j] = same ? 0 : -100;
            }
    snprintf(name, sizeof name, "layers.%zu.shift_mask", g->stage);
    return sv_onnx_initializer(m->graph, name, SV_ONNX_FLOAT, 4, dims, mask);
}

/* What a stage's blocks share is stored with the first that needs it. */
static sv_onnx_value shared(sv_onnx_mapping *m, sv_onnx_value *slot, sv_onnx_value (*make)(sv_onnx_mapping *, const grid *), const grid *g)
{
    if (!*slot) *slot = make(m, g);
    return *slot;
}

/* A package token has no place: nothing is added for it, the last of the keys on `axis`. */
static sv_onnx_value with_package(sv_onnx_mapping *m, const grid *g, sv_onnx_value x, int64_t axis)
{
    if (!g->packages) return x;
    return sv_onnx_concat(m, (size_t)axis, 2, (sv_onnx_value[]){ x, sv_onnx_filled(m, sv_onnx_slice(m, x, axis, 0, 1), 0) });
}

static sv_onnx_value bias_scores(sv_onnx_mapping *m, const sv_onnx_block_form *form, sv_onnx_value score)
{
    const grid *g = form->context;
    const int64_t places_count = (int64_t)(g->window * g->window), heads = (int64_t)form->heads, windows = (int64_t)(g->side / g->window);
    char name[96];
    snprintf(name, sizeof name, "%s.attn.relative_position_bias_table", form->prefix);
    sv_onnx_value index = shared(m, &m->window_places[g->stage], places, g);
    sv_onnx_value bias = sv_onnx_node(m->graph, &(sv_onnx_call){ .op = "Gather",
                                                                 .inputs = 2,
                                                                 .input = { sv_onnx_parameter(m, name, SV_ONNX_AS_IT_IS), index },
                                                                 .attributes = 1,
                                                                 .attribute = { { .name = "axis", .kind = SV_ONNX_I, .i = 0 } } });
    bias = sv_onnx_transpose(m, sv_onnx_reshape(m, bias, 3, (int64_t[]){ places_count, places_count, heads }), 3, (int64_t[]){ 2, 0, 1 });
    score = sv_onnx_binary(m, "Add", score, with_package(m, g, bias, 2));
    if (g->away) score = sv_onnx_binary(m, "Add", score, with_package(m, g, g->away, 3));
    if (!g->shift) return score;
    const int64_t keys = places_count + (int64_t)g->packages;
    score = sv_onnx_reshape(m, score, 5, (int64_t[]){ -1, windows * windows, heads, places_count, keys });
    score = sv_onnx_binary(m, "Add", score, with_package(m, g, shared(m, &m->shift_masks[g->stage], shift_mask, g), 3));
    return sv_onnx_reshape(m, score, 4, (int64_t[]){ -1, heads, places_count, keys });
}

/* ---- the backbone ------------------------------------------------------------------------------------------------ */

static sv_onnx_value swin_embed(sv_onnx_mapping *m, sv_onnx_value picture)
{
    const sv_model_options *o = &m->d->model->options;
    sv_onnx_scope(m->graph, "embed");
    sv_onnx_value x = sv_onnx_conv(m, picture, "patch_embed.proj", &(sv_onnx_conv_form){ .side = o->patch, .stride = o->patch });
    return sv_onnx_norm(m, sv_onnx_rows_of_map(m, x, o->width), "patch_embed.norm", o->norm_eps);
}

static sv_onnx_value swin_enter(sv_onnx_mapping *m, size_t index, sv_onnx_value x, size_t packages)
{
    size_t inside = 0, stage = sv_stage_of(sv_stages_of(m->d->model), index, &inside);
    return stage && !inside ? merged(m, stage, x, packages) : x;
}

/* Names of a block's layers, its form; g: filled. Names of nodes begin with it. */
typedef struct block {
    grid g;
    sv_onnx_block_form form;
    char norm[96], qkv[96], proj[96];
} block;

static void block_at(sv_onnx_mapping *m, size_t index, block *b)
{
    const sv_stages *stages = sv_stages_of(m->d->model);
    size_t inside = 0, stage = sv_stage_of(stages, index, &inside);
    b->g = grid_of(m->d->model, stage, inside);
    b->form = (sv_onnx_block_form){ .width = b->g.width,
                                    .heads = stages->heads[stage],
                                    .epsilon = m->d->model->options.norm_eps,
                                    .bias_scores = bias_scores,
                                    .context = &b->g };
    snprintf(b->form.prefix, sizeof b->form.prefix, "layers.%zu.blocks.%zu", stage, inside);
    snprintf(b->norm, sizeof b->norm, "%s.norm1", b->form.prefix);
    snprintf(b->qkv, sizeof b->qkv, "%s.attn.qkv", b->form.prefix);
    snprintf(b->proj, sizeof b->proj, "%s.attn.proj", b->form.prefix);
    sv_onnx_scope(m->graph, "%s.attn", b->form.prefix);
}

static sv_onnx_value swin_mix(sv_onnx_mapping *m, size_t index, sv_onnx_value x, sv_onnx_value *base)
{
    block b;
    block_at(m, index, &b);
    sv_onnx_value h = to_windows(m, &b.g, sv_onnx_norm(m, x, b.norm, b.form.epsilon));
    h = from_windows(m, &b.g, sv_onnx_attention(m, &b.form, sv_onnx_linear(m, h, b.qkv)));
    return *base = sv_onnx_add_branch(m, &b.form, x, sv_onnx_linear(m, h, b.proj));
}

static sv_onnx_value swin_branch(sv_onnx_mapping *m, size_t index, sv_onnx_value y)
{
    block b;
    block_at(m, index, &b);
    return sv_onnx_mlp_branch(m, &b.form, y);
}

static sv_onnx_value swin_block(sv_onnx_mapping *m, size_t index, sv_onnx_value x)
{
    sv_onnx_value base = 0, y = swin_mix(m, index, x, &base);
    return sv_onnx_binary(m, "Add", base, swin_branch(m, index, y));
}

/* ---- a block among living rows ----------------------------------------------------------------------------------- */

/* Living rows [B,k,C] -> [B*windows, window^2, C]; where a cell is dropped stands the row of another, which the mask hides. */
static sv_onnx_value living_windows(sv_onnx_mapping *m, const grid *g, const sv_onnx_living *living, sv_onnx_value rows)
{
    const int64_t last = (int64_t)living->alive - 1;
    if (living->position) rows = sv_onnx_rows_at(m, rows, sv_onnx_binary(m, "Min", living->position, sv_onnx_ints(m->graph, 1, &last)));
    return to_windows(m, g, rows);
}

static sv_onnx_value away_of(sv_onnx_mapping *m, const grid *g, const sv_onnx_living *living)
{
    grid one = *g;
    one.width = 1;
    if (!living->position) return 0;
    sv_onnx_value mask = sv_onnx_put(m, sv_onnx_filled(m, living->position, dropped), living->number, 0);
    mask = to_windows(m, &one, sv_onnx_unsqueeze(m, mask, 2));
    return sv_onnx_reshape(m, mask, 4, (int64_t[]){ -1, 1, 1, (int64_t)(g->window * g->window) });
}

/* The package [B,1,C] as a key of each window of its picture: [B*windows, window^2 + 1, C]. */
static sv_onnx_value and_package(sv_onnx_mapping *m, const grid *g, sv_onnx_value windows, sv_onnx_value package)
{
    const int64_t count = (int64_t)(g->side / g->window * (g->side / g->window));
    package = sv_onnx_binary(m, "Expand", package, sv_onnx_ints(m->graph, 3, (int64_t[]){ 1, count, 1 }));
    package = sv_onnx_reshape(m, package, 3, (int64_t[]){ -1, 1, (int64_t)g->width });
    return sv_onnx_concat(m, 1, 2, (sv_onnx_value[]){ windows, package });
}

static sv_onnx_value attention_among(sv_onnx_mapping *m, block *b, const sv_onnx_living *living, sv_onnx_value qkv)
{
    const int64_t alive = (int64_t)living->alive;
    sv_onnx_value all = sv_onnx_split(m, qkv, 3), part[3];
    for (int i = 0; i < 3; i++) {
        sv_onnx_value cells = living->packages ? sv_onnx_slice(m, all + i, 1, 0, alive) : all + i;
        part[i] = living_windows(m, &b->g, living, cells);
        if (i && living->packages) part[i] = and_package(m, &b->g, part[i], sv_onnx_slice(m, all + i, 1, alive, INT64_MAX));
    }
    b->g.packages = living->packages;
    b->g.away = away_of(m, &b->g, living);
    sv_onnx_value h = from_windows(m, &b->g, sv_onnx_attention_of(m, &b->form, part[0], part[1], part[2]));
    if (living->position) h = sv_onnx_rows_at(m, h, living->number);
    if (!living->packages) return h;
    sv_onnx_block_form plain = b->form; /* the package sees all, without places */
    plain.bias_scores = NULL;
    sv_onnx_value own = sv_onnx_attention_of(m, &plain, sv_onnx_slice(m, all, 1, alive, INT64_MAX), all + 1, all + 2);
    return sv_onnx_concat(m, 1, 2, (sv_onnx_value[]){ h, own });
}

static sv_onnx_value swin_among(sv_onnx_mapping *m, size_t index, const sv_onnx_living *living)
{
    block b;
    block_at(m, index, &b);
    m->note = "attention is computed over all cells of a window, dropped ones masked; norms, linear layers and MLPs over living rows alone";
    sv_onnx_value h = sv_onnx_linear(m, sv_onnx_norm(m, living->x, b.norm, b.form.epsilon), b.qkv);
    h = sv_onnx_linear(m, attention_among(m, &b, living, h), b.proj);
    return sv_onnx_mlp(m, &b.form, sv_onnx_add_branch(m, &b.form, living->x, h));
}

static sv_onnx_value swin_head(sv_onnx_mapping *m, const sv_onnx_tokens *tokens)
{
    sv_onnx_scope(m->graph, "head");
    sv_onnx_value x = sv_onnx_norm(m, tokens->x, "norm", m->d->model->options.norm_eps);
    return sv_onnx_linear(m, sv_onnx_mean(m, x, 1, false), "head.fc");
}

const sv_onnx_family sv_onnx_swin = { .name = "swin",
                                      .embed = swin_embed,
                                      .enter = swin_enter,
                                      .block = swin_block,
                                      .among = swin_among,
                                      .mix = swin_mix,
                                      .branch = swin_branch,
                                      .head = swin_head };
