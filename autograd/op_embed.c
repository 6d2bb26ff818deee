/* From a picture to tokens: the patches of a picture as rows through one linear layer, then the tokens that stand before them and the
 * positions. A patch as a row: channel, then row, then column inside the patch, as a convolution's weight [D,C,P,P] stands in memory. */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

#include <string.h>

/* Patches are gathered this many at a time, so that they stay in cache for the product. */
enum { PATCHES_AT_ONCE = 48 };

typedef struct patch_grid {
    size_t channels, height, width, side, across, numbers;
} patch_grid;

static patch_grid grid_of(const sv_attributes *attributes, const sv_parameter *weight)
{
    patch_grid g = {
        .channels = weight->shape[1], .height = (size_t)attributes->i[0], .width = (size_t)attributes->i[1], .side = weight->shape[3]
    };
    g.across = g.width / g.side;
    g.numbers = g.channels * g.side * g.side;
    return g;
}

/* ---- patch_embed -------------------------------------------------------------------------------------------------- */

static sv_status patch_embed_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *picture = node->in[0], *weight = node->in[1], *bias = node->in[2];
    const int64_t height = node->attributes.i[0], width = node->attributes.i[1];
    sv_status status = sv_want_image(picture, "picture", SV_REAL, err);
    if (!status) status = sv_want_fixed_rows(picture, "picture", 1, err);
    if (!status) status = sv_want_parameter(weight, "weight", 4, (size_t[]){ 0, 0, 0, 0 }, err);
    if (!status && bias) status = sv_want_parameter(bias, "bias", 1, (size_t[]){ weight->parameter->shape[0] }, err);
    if (status) return status;
    const size_t *shape = weight->parameter->shape;
    if (shape[2] != shape[3] || !shape[3])
        return sv_fail(err, SV_USAGE, "weight must have square patches, but they are %zu x %zu", shape[2], shape[3]);
    if (height < 1 || width < 1 || height % (int64_t)shape[3] || width % (int64_t)shape[3])
        return sv_fail(err, SV_USAGE, "a picture of %lld x %lld cannot be cut into patches of %zu x %zu", (long long)height,
                       (long long)width, shape[2], shape[3]);
    const patch_grid g = grid_of(&node->attributes, weight->parameter);
    if (picture->width != g.channels * g.height * g.width)
        return sv_fail(err, SV_USAGE, "picture must hold %zu numbers (%zu x %zu x %zu), but holds %zu", g.channels * g.height * g.width,
                       g.channels, g.height, g.width, picture->width);
    sv_make_image(node->out[0], sv_rows_fixed(g.height / g.side * g.across), shape[0]);
    return SV_OK;
}

/* rows [end - begin, numbers] = patches begin..end-1 of the picture; or, backwards, adds the rows to the picture. */
static void move_patches(const patch_grid *g, sv_real *rows, sv_real *picture, size_t begin, size_t end, bool back)
{
    for (size_t patch = begin; patch < end; patch++)
        for (size_t c = 0; c < g->channels; c++)
            for (size_t y = 0; y < g->side; y++, rows += g->side) {
                sv_real *line = picture + (c * g->height + patch / g->across * g->side + y) * g->width + patch % g->across * g->side;
                if (back)
                    sv_scale(line, rows, 1, g->side, true);
                else
                    memcpy(rows, line, g->side * sizeof *rows);
            }
}

static void patch_embed_forward(const sv_call *call)
{
    const patch_grid g = grid_of(call->attributes, call->in[1].parameter);
    const sv_span *y = &call->out[0];
    sv_real *rows = call->scratch;
    for (size_t begin = call->row_begin; begin < call->row_end; begin += PATCHES_AT_ONCE) {
        const size_t end = begin + PATCHES_AT_ONCE < call->row_end ? begin + PATCHES_AT_ONCE : call->row_end;
        move_patches(&g, rows, call->in[0].data, begin, end, false);
        sv_product product = { .m = end - begin,
                               .n = y->width,
                               .k = g.numbers,
                               .x = rows,
                               .x_stride = g.numbers,
                               .bias = call->in[2].present ? call->in[2].data : NULL,
                               .y = y->data + begin * y->width,
                               .y_stride = y->width };
        sv_take_panels(call, &product, call->in[1].parameter, false);
        sv_product_rows(&product);
    }
}

static void patch_embed_backward(const sv_call *call)
{
    const patch_grid g = grid_of(call->attributes, call->in[1].parameter);
    const sv_span *picture = &call->in[0], *weight = &call->in[1], *bias = &call->in[2];
    const size_t live = call->out[0].live, n = call->out[0].width;
    sv_real *rows = call->scratch;
    sv_begin_gradient(picture);
    for (size_t begin = 0; begin < live; begin += PATCHES_AT_ONCE) {
        const size_t end = begin + PATCHES_AT_ONCE < live ? begin + PATCHES_AT_ONCE : live;
        const sv_real *dy = call->out[0].gradient + begin * n;
        if (weight->gradient) {
            move_patches(&g, rows, picture->data, begin, end, false);
            sv_weight_gradient(call, weight, dy, rows, false, end - begin, n, g.numbers, weight->accumulate || begin, rows + PATCHES_AT_ONCE * g.numbers);
        }
        if (picture->gradient) { /* only checks and visualisations want it */
            sv_product_plain(rows, g.numbers, dy, n, false, weight->data, g.numbers, false, end - begin, g.numbers, n, false);
            move_patches(&g, rows, picture->gradient, begin, end, true);
        }
    }
    if (bias->gradient) sv_column_sums(bias->gradient, call->out[0].gradient, n, live, n, bias->accumulate);
}

static size_t patch_embed_scratch(const sv_node *node)
{
    const size_t numbers = grid_of(&node->attributes, node->in[1]->parameter).numbers;
    return PATCHES_AT_ONCE * numbers * sizeof(sv_real) + sv_outer_room(node, PATCHES_AT_ONCE, numbers);
}

static uint64_t patch_embed_macs(const sv_call *call)
{
    return (uint64_t)call->out[0].rows * call->out[0].width * grid_of(call->attributes, call->in[1].parameter).numbers;
}

/* clang-format off */
#define WEIGHT_OF(f, d, c, p) { .kind = SV_SAMPLE_PARAMETER, .fill = (f), .shape = { (d), (c), (p), (p) } }
/* clang-format on */
static const sv_sample patch_embed_samples[] = {
    { .name = "one patch",
      .images = 1,
      .in = { IMAGE(NORMAL, 1, 12), WEIGHT_OF(NORMAL, 5, 3, 2), WEIGHT(NORMAL, 0, 5) },
      .attributes.i = { 2, 2 } },
    { .name = "higher than wide",
      .images = 2,
      .in = { IMAGE(NORMAL, 1, 72), WEIGHT_OF(NORMAL, 3, 3, 2), WEIGHT(NORMAL, 0, 3) },
      .attributes.i = { 6, 4 } },
    { .name = "one pixel a patch",
      .images = 2,
      .in = { IMAGE(NORMAL, 1, 12), WEIGHT_OF(NORMAL, 4, 1, 1), WEIGHT(NORMAL, 0, 4) },
      .attributes.i = { 3, 4 } },
    { .name = "more patches than at once",
      .images = 1,
      .in = { IMAGE(NORMAL, 1, 200), WEIGHT_OF(NORMAL, 2, 2, 1), WEIGHT(NORMAL, 0, 2) },
      .attributes.i = { 10, 10 } },
    { .name = "no bias", .images = 2, .in = { IMAGE(NORMAL, 1, 27), WEIGHT_OF(NORMAL, 17, 3, 3) }, .attributes.i = { 3, 3 } },
    { .name = "constant picture",
      .images = 3,
      .in = { CONSTANT(LARGE, 1, 48), WEIGHT_OF(NORMAL, 5, 3, 2), WEIGHT(NORMAL, 0, 5) },
      .attributes.i = { 4, 4 } },
    { .name = "black picture",
      .images = 1,
      .in = { IMAGE(ZERO, 1, 48), WEIGHT_OF(NORMAL, 5, 3, 2), WEIGHT(NORMAL, 0, 5) },
      .attributes.i = { 4, 4 } },
};

const sv_op sv_op_patch_embed = {
    .name = "patch_embed",
    .formula = "picture [1,C*height*width], weight [D,C,P,P], bias [D] or none -> y [N0,D], y[patch] = weight . patch + bias",
    .source = "torch.nn.functional.conv2d, stride P",
    .inputs_least = 2,
    .inputs_most = 3,
    .outputs = 1,
    .optional = 1 << 2,
    .locality = SV_IMAGE_ROWS,
    .shape = patch_embed_shape,
    .forward = patch_embed_forward,
    .backward = patch_embed_backward,
    .backward_inputs = 1,
    .scratch = patch_embed_scratch,
    .macs = patch_embed_macs,
    .pack_forward = 1 << 1,
    SV_SAMPLES_OF(patch_embed_samples),
};

sv_tensor *sv_tape_patch_embed(sv_tape *tape, sv_tensor *picture, sv_tensor *weight, sv_tensor *bias, size_t height, size_t width)
{
    sv_attributes attributes = { .i = { (int64_t)height, (int64_t)width } };
    return sv_tape_record(tape, &sv_op_patch_embed, (sv_tensor *[]){ picture, weight, bias }, 3, &attributes, NULL);
}

/* ---- embed_tokens ------------------------------------------------------------------------------------------------- */

/* Row 0 the class token, row 1 the distillation token where there is one, then the patches; each plus its position.
 * Gradients are the rows of dy. */
static sv_status embed_tokens_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *patches = node->in[0], *positions = node->in[3];
    sv_status status = sv_want_image(patches, "patches", SV_REAL, err);
    if (!status) status = sv_want_fixed_rows(patches, "patches", 0, err);
    if (status) return status;
    const size_t width = patches->width, rows = patches->rows.most + (node->in[2] ? 2 : 1);
    status = sv_want_parameter(node->in[1], "class token", 3, (size_t[]){ 1, 1, width }, err);
    if (!status && node->in[2]) status = sv_want_parameter(node->in[2], "distillation token", 3, (size_t[]){ 1, 1, width }, err);
    if (!status) status = sv_want_parameter(positions, "positions", 3, (size_t[]){ 1, rows, width }, err);
    if (!status) sv_make_image(node->out[0], sv_rows_fixed(rows), width);
    return status;
}

static void embed_tokens_forward(const sv_call *call)
{
    const sv_span *y = &call->out[0];
    const size_t extra = y->rows - call->in[0].rows, width = y->width;
    for (size_t r = call->row_begin; r < call->row_end; r++) {
        const sv_real *from = r >= extra ? call->in[0].data + (r - extra) * width : call->in[1 + r].data;
        const sv_real *position = call->in[3].data + r * width;
        for (size_t i = 0; i < width; i++) y->data[r * width + i] = from[i] + position[i];
    }
}

static void embed_tokens_backward(const sv_call *call)
{
    const sv_span *y = &call->out[0], *patches = &call->in[0], *positions = &call->in[3];
    const size_t extra = y->rows - patches->rows, width = y->width;
    const sv_real *dy = y->gradient;
    if (patches->gradient) sv_scale(patches->gradient, dy + extra * width, 1, patches->live * width, patches->accumulate);
    for (size_t t = 0; t < extra; t++)
        if (call->in[1 + t].gradient) sv_scale(call->in[1 + t].gradient, dy + t * width, 1, width, call->in[1 + t].accumulate);
    if (positions->gradient) sv_scale(positions->gradient, dy, 1, y->rows * width, positions->accumulate);
}

/* clang-format off */
#define TOKENS_OF(f, r, w) { .kind = SV_SAMPLE_PARAMETER, .fill = (f), .shape = { 1, (r), (w) } }
/* clang-format on */
static const sv_sample embed_tokens_samples[] = {
    { .name = "one patch", .images = 1, .in = { IMAGE(NORMAL, 1, 7), TOKENS_OF(NORMAL, 1, 7), ABSENT, TOKENS_OF(NORMAL, 2, 7) } },
    { .name = "one number", .images = 2, .in = { IMAGE(NORMAL, 2, 1), TOKENS_OF(NORMAL, 1, 1), ABSENT, TOKENS_OF(NORMAL, 3, 1) } },
    { .name = "distilled",
      .images = 3,
      .in = { IMAGE(NORMAL, 4, 17), TOKENS_OF(NORMAL, 1, 17), TOKENS_OF(NORMAL, 1, 17), TOKENS_OF(NORMAL, 6, 17) } },
    { .name = "distilled, one patch",
      .images = 1,
      .in = { IMAGE(NORMAL, 1, 3), TOKENS_OF(NORMAL, 1, 3), TOKENS_OF(NORMAL, 1, 3), TOKENS_OF(NORMAL, 3, 3) } },
    { .name = "constant patches", .images = 2, .in = { CONSTANT(NORMAL, 3, 5), TOKENS_OF(NORMAL, 1, 5), ABSENT, TOKENS_OF(NORMAL, 4, 5) } },
    { .name = "large numbers", .images = 2, .in = { IMAGE(LARGE, 3, 5), TOKENS_OF(LARGE, 1, 5), ABSENT, TOKENS_OF(LARGE, 4, 5) } },
};

const sv_op sv_op_embed_tokens = {
    .name = "embed_tokens",
    .formula = "patches [N0,D], class [1,1,D], distillation [1,1,D] or none, positions [1,E+N0,D] -> y [E+N0,D] = rows + positions",
    .source = "Touvron et al. 2021 (DeiT), sec. 3",
    .inputs_least = 4,
    .inputs_most = 4,
    .outputs = 1,
    .optional = 1 << 2,
    .locality = SV_IMAGE_ROWS,
    .shape = embed_tokens_shape,
    .forward = embed_tokens_forward,
    .backward = embed_tokens_backward,
    SV_SAMPLES_OF(embed_tokens_samples),
};

sv_tensor *sv_tape_embed_tokens(sv_tape *tape, sv_tensor *patches, sv_tensor *class_token, sv_tensor *distillation_token,
                                sv_tensor *positions)
{
    return sv_tape_record(tape, &sv_op_embed_tokens, (sv_tensor *[]){ patches, class_token, distillation_token, positions }, 4, NULL, NULL);
}

/* ---- embed_map ---------------------------------------------------------------------------------------------------- */

/* Rows 0..E-1 the tokens, then the patches, each plus its place of a map that stands channel by channel, as a picture does (PiT): the
 * tokens have no position. Gradients are the rows of dy. */
static sv_status embed_map_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *patches = node->in[0], *tokens = node->in[1], *map = node->in[2];
    sv_status status = sv_want_image(patches, "patches", SV_REAL, err);
    if (!status) status = sv_want_fixed_rows(patches, "patches", 0, err);
    if (!status) status = sv_want_parameter(tokens, "tokens", 3, (size_t[]){ 1, 0, patches->width }, err);
    if (!status) status = sv_want_parameter(map, "map", 4, (size_t[]){ 1, patches->width, 0, 0 }, err);
    if (status) return status;
    const size_t *shape = map->parameter->shape;
    if (shape[2] * shape[3] != patches->rows.most)
        return sv_fail(err, SV_USAGE, "a map of %zu x %zu places does not fit %u patches", shape[2], shape[3], patches->rows.most);
    sv_make_image(node->out[0], sv_rows_fixed(tokens->parameter->shape[1] + patches->rows.most), patches->width);
    return SV_OK;
}

static void embed_map_forward(const sv_call *call)
{
    const sv_span *patches = &call->in[0], *y = &call->out[0];
    const size_t extra = y->rows - patches->rows, width = y->width;
    for (size_t r = call->row_begin; r < call->row_end; r++) {
        sv_real *row = y->data + r * width;
        memcpy(row, r < extra ? call->in[1].data + r * width : patches->data + (r - extra) * width, width * sizeof *row);
        for (size_t c = 0; r >= extra && c < width; c++) row[c] += call->in[2].data[c * patches->rows + r - extra];
    }
}

static void embed_map_backward(const sv_call *call)
{
    const sv_span *patches = &call->in[0], *tokens = &call->in[1], *map = &call->in[2];
    const size_t extra = call->out[0].rows - patches->rows, width = call->out[0].width;
    const sv_real *dy = call->out[0].gradient;
    if (patches->gradient) sv_scale(patches->gradient, dy + extra * width, 1, patches->live * width, patches->accumulate);
    if (tokens->gradient) sv_scale(tokens->gradient, dy, 1, extra * width, tokens->accumulate);
    for (size_t i = 0; map->gradient && i < map->parameter->count; i++)
        sv_give(map, i, dy[(extra + i % patches->rows) * width + i / patches->rows]);
}

/* clang-format off */
#define MAP_OF(f, w, h, a) { .kind = SV_SAMPLE_PARAMETER, .fill = (f), .shape = { 1, (w), (h), (a) } }
/* clang-format on */
static const sv_sample embed_map_samples[] = {
    { .name = "one patch", .images = 1, .in = { IMAGE(NORMAL, 1, 7), TOKENS_OF(NORMAL, 1, 7), MAP_OF(NORMAL, 7, 1, 1) } },
    { .name = "one number", .images = 2, .in = { IMAGE(NORMAL, 4, 1), TOKENS_OF(NORMAL, 1, 1), MAP_OF(NORMAL, 1, 2, 2) } },
    { .name = "two tokens", .images = 3, .in = { IMAGE(NORMAL, 4, 17), TOKENS_OF(NORMAL, 2, 17), MAP_OF(NORMAL, 17, 2, 2) } },
    { .name = "wider than high", .images = 2, .in = { IMAGE(NORMAL, 6, 5), TOKENS_OF(NORMAL, 1, 5), MAP_OF(NORMAL, 5, 2, 3) } },
    { .name = "constant patches", .images = 2, .in = { CONSTANT(NORMAL, 4, 5), TOKENS_OF(NORMAL, 1, 5), MAP_OF(NORMAL, 5, 2, 2) } },
    { .name = "large numbers", .images = 2, .in = { IMAGE(LARGE, 4, 5), TOKENS_OF(LARGE, 2, 5), MAP_OF(LARGE, 5, 2, 2) } },
};

const sv_op sv_op_embed_map = {
    .name = "embed_map",
    .formula = "patches [N0,D], tokens [1,E,D], map [1,D,H,W], H W = N0 -> y [E+N0,D]: tokens, then patches + map",
    .source = "Heo et al. 2021 (PiT), pit.py",
    .inputs_least = 3,
    .inputs_most = 3,
    .outputs = 1,
    .locality = SV_IMAGE_ROWS,
    .shape = embed_map_shape,
    .forward = embed_map_forward,
    .backward = embed_map_backward,
    SV_SAMPLES_OF(embed_map_samples),
};

sv_tensor *sv_tape_embed_map(sv_tape *tape, sv_tensor *patches, sv_tensor *tokens, sv_tensor *map)
{
    return sv_tape_record(tape, &sv_op_embed_map, (sv_tensor *[]){ patches, tokens, map }, 3, NULL, NULL);
}
