/* ConvNeXt (Liu et al. 2022): no tokens but the places of a grid, in four stages. A block: depthwise 7 x 7, norm, an MLP, a factor a channel,
 * added. Between stages a norm and a 2 x 2 convolution; at the end the mean over places, then the norm, then the head.
 * Parameters carry timm's names; the authors' files name the same things otherwise. */
#include "layers/convnext.h"
#include "layers/block.h"

#include <stdio.h>
#include <string.h>

enum { KERNEL = 7, PADDING = 3 };

typedef struct next_block {
    sv_parameter *gamma, *conv, *conv_bias, *norm, *norm_bias, *fc1, *fc1_bias, *fc2, *fc2_bias;
} next_block;

typedef struct next_step {
    sv_parameter *norm, *norm_bias, *conv, *conv_bias;
} next_step;

typedef struct next_slots {
    next_step steps[SV_BACKBONE_STAGES]; /* [0]: the stem, whose norm comes last; [s]: before stage s */
    sv_parameter *norm_gain, *norm_bias, *head, *head_bias;
    next_block blocks[];
} next_slots;

static size_t side_of(const sv_model *model, size_t stage) { return (model->options.image / model->options.patch) >> stage; }

static size_t hidden_of(const sv_model *model, size_t stage)
{
    return (size_t)(model->options.mlp_ratio * (double)sv_stages_of(model)->width[stage] + 0.5);
}

/* ---- parameters ---------------------------------------------------------------------------------------------------- */

static sv_status next_check(const sv_model *model, sv_error *err)
{
    const size_t multiple = model->options.patch << (sv_stages_of(model)->count - 1);
    sv_status status = sv_stages_check(model, err);
    if (!status && model->options.distilled)
        status = sv_fail(err, SV_USAGE, "%s has no class token, so model.distilled does not fit it", model->backbone->name);
    if (!status && model->options.image % multiple)
        status = sv_fail(err, SV_USAGE, "data.image_size = %zu is not a multiple of %zu, which %s halves to whole grids",
                         model->options.image, multiple, model->backbone->name);
    return status;
}

static sv_status declare_block(sv_model *model, size_t index, next_block *b, sv_error *err)
{
    const sv_stages *stages = sv_stages_of(model);
    size_t inside = 0, stage = sv_stage_of(stages, index, &inside), width = stages->width[stage], hidden = hidden_of(model, stage);
    char at[48], name[96];
    snprintf(at, sizeof at, "stages.%zu.blocks.%zu", stage, inside);
    snprintf(name, sizeof name, "%s.gamma", at);
    sv_status status = sv_parameters_add(model->parameters, &b->gamma, name, 1, &width, err);
    snprintf(name, sizeof name, "%s.conv_dw", at);
    if (!status) status = sv_pair_declare(model, name, &b->conv, &b->conv_bias, 4, (size_t[]){ width, 1, KERNEL, KERNEL }, err);
    snprintf(name, sizeof name, "%s.norm", at);
    if (!status) status = sv_norm_declare(model, name, &b->norm, &b->norm_bias, width, err);
    snprintf(name, sizeof name, "%s.mlp.fc1", at);
    if (!status) status = sv_linear_declare(model, name, &b->fc1, &b->fc1_bias, hidden, width, err);
    snprintf(name, sizeof name, "%s.mlp.fc2", at);
    return status ? status : sv_linear_declare(model, name, &b->fc2, &b->fc2_bias, width, hidden, err);
}

static sv_status declare_step(sv_model *model, size_t stage, next_step *step, sv_error *err)
{
    const sv_stages *stages = sv_stages_of(model);
    char name[64];
    snprintf(name, sizeof name, "stages.%zu.downsample.0", stage);
    sv_status status = sv_norm_declare(model, name, &step->norm, &step->norm_bias, stages->width[stage - 1], err);
    snprintf(name, sizeof name, "stages.%zu.downsample.1", stage);
    return status ? status
                  : sv_pair_declare(model, name, &step->conv, &step->conv_bias, 4,
                                    (size_t[]){ stages->width[stage], stages->width[stage - 1], 2, 2 }, err);
}

static sv_status next_declare(sv_model *model, sv_error *err)
{
    const sv_model_options *o = &model->options;
    const sv_stages *stages = sv_stages_of(model);
    const size_t last = stages->width[stages->count - 1];
    next_slots *slots = NULL;
    sv_status status = sv_alloc_zero(&slots, sizeof *slots + o->depth * sizeof *slots->blocks, "model", err);
    if (status) return status;
    model->slots = slots;
    next_step *stem = &slots->steps[0];
    status = sv_pair_declare(model, "stem.0", &stem->conv, &stem->conv_bias, 4, (size_t[]){ o->width, 3, o->patch, o->patch }, err);
    if (!status) status = sv_norm_declare(model, "stem.1", &stem->norm, &stem->norm_bias, o->width, err);
    for (size_t i = 0; !status && i < o->depth; i++) {
        size_t inside = 0, stage = sv_stage_of(stages, i, &inside);
        if (stage && !inside) status = declare_step(model, stage, &slots->steps[stage], err);
        if (!status) status = declare_block(model, i, &slots->blocks[i], err);
    }
    if (!status) status = sv_norm_declare(model, "head.norm", &slots->norm_gain, &slots->norm_bias, last, err);
    if (!status) status = sv_linear_declare(model, "head.fc", &slots->head, &slots->head_bias, o->classes, last, err);
    return status;
}

/* Linear layers and convolutions normal .02, biases 0, norms 1 and 0, factors 1e-6 (spec 7.7). */
static void next_initialise(sv_model *model, uint64_t seed)
{
    const double spread = model->backbone->init > 0 ? model->backbone->init : 0.02;
    for (size_t i = 0; i < model->parameters->count; i++) {
        const sv_parameter *p = model->parameters->items[i];
        sv_start_parameter(model, i, seed,
                           sv_name_ends(p->name, ".gamma") ? (sv_start_rule){ SV_START_CONSTANT, 1e-6 } : sv_start_usual(p, spread));
    }
}

static bool next_official_name(const char *own, char *out, size_t room)
{
    static const char *const words[][2] = {
        { "conv_dw.", "dwconv." }, { "mlp.fc1.", "pwconv1." }, { "mlp.fc2.", "pwconv2." }, { "norm.", "norm." },
        { "gamma", "gamma" },        { "fast_path", "fast_path" },
    };
    unsigned stage = 0, block = 0;
    int used = 0;
    if (strncmp(own, "stem.", 5) == 0)
        snprintf(out, room, "downsample_layers.0.%s", own + 5);
    else if (strncmp(own, "head.norm.", 10) == 0)
        snprintf(out, room, "norm.%s", own + 10);
    else if (strncmp(own, "head.fc.", 8) == 0)
        snprintf(out, room, "head.%s", own + 8);
    else if (sscanf(own, "stages.%u.downsample.%n", &stage, &used) == 1 && used)
        snprintf(out, room, "downsample_layers.%u.%s", stage, own + used);
    else if (sscanf(own, "stages.%u.blocks.%u.%n", &stage, &block, &used) == 2 && used) {
        for (size_t w = 0; w < SV_COUNT(words); w++) {
            const size_t length = strlen(words[w][0]);
            if (strncmp(own + used, words[w][0], length) == 0) {
                snprintf(out, room, "stages.%u.%u.%s%s", stage, block, words[w][1], own + used + length);
                return true;
            }
        }
        return false;
    } else
        return false;
    return true;
}

/* ---- recording ----------------------------------------------------------------------------------------------------- */

static sv_tensor *next_embed(sv_tape *tape, const sv_model *model, sv_tensor *picture)
{
    const next_step *stem = &((const next_slots *)model->slots)->steps[0];
    sv_tensor *x = sv_tape_patch_embed(tape, picture, sv_tape_parameter(tape, stem->conv), sv_tape_parameter(tape, stem->conv_bias),
                                       model->options.image, model->options.image);
    return sv_norm_of(tape, x, stem->norm, stem->norm_bias, model->options.norm_eps);
}

static sv_tensor *next_stage(sv_tape *tape, const sv_model *model, size_t stage, sv_tensor *x)
{
    const next_step *step = &((const next_slots *)model->slots)->steps[stage];
    const size_t side = side_of(model, stage - 1);
    x = sv_norm_of(tape, x, step->norm, step->norm_bias, model->options.norm_eps);
    return sv_tape_conv2d(tape, x, sv_tape_parameter(tape, step->conv), sv_tape_parameter(tape, step->conv_bias), side, side, 2, 0, 1);
}

static sv_tensor *next_enter(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x)
{
    size_t inside = 0, stage = sv_stage_of(sv_stages_of(model), index, &inside);
    return stage && !inside ? next_stage(tape, model, stage, x) : x;
}

static sv_place next_place(const sv_model *model, size_t index)
{
    sv_place place = sv_stage_place(model, index, side_of);
    place.norm_eps = model->options.norm_eps;
    return place;
}

/* ---- a block, and its two ways (Rao et al. 2023) ---- */

static sv_tensor *next_mix(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor **base)
{
    const next_block *b = &((const next_slots *)model->slots)->blocks[index];
    const size_t side = next_place(model, index).side;
    *base = x;
    return sv_tape_depthwise_conv(tape, x, sv_tape_parameter(tape, b->conv), sv_tape_parameter(tape, b->conv_bias), side, side, 1, PADDING);
}

static sv_tensor *next_hidden(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *y)
{
    const next_block *b = &((const next_slots *)model->slots)->blocks[index];
    sv_tensor *h = sv_norm_of(tape, y, b->norm, b->norm_bias, model->options.norm_eps);
    return sv_tape_linear_gelu(tape, h, sv_tape_parameter(tape, b->fc1), sv_tape_parameter(tape, b->fc1_bias));
}

static sv_tensor *next_branch(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *y)
{
    const next_block *b = &((const next_slots *)model->slots)->blocks[index];
    return sv_tape_layer_scale(tape, sv_linear_of(tape, next_hidden(tape, model, index, y), b->fc2, b->fc2_bias), sv_tape_parameter(tape, b->gamma));
}

static sv_tensor *next_join(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *base, sv_tensor *h)
{
    const sv_model_options *o = &model->options;
    const double share = o->depth > 1 ? o->drop_path * (double)index / (double)(o->depth - 1) : 0;
    if (o->dropout > 0) h = sv_tape_dropout(tape, h, o->dropout, 2 * index + 1);
    if (share > 0) h = sv_tape_drop_path(tape, h, share, 2 * index + 2);
    return sv_tape_add(tape, base, h);
}

static uint64_t next_branch_macs(const sv_model *model, size_t index)
{
    const sv_place place = next_place(model, index);
    return 2 * (uint64_t)place.width * hidden_of(model, place.stage);
}

static void next_name(const sv_model *model, size_t index, char *out, size_t room)
{
    size_t inside = 0, stage = sv_stage_of(sv_stages_of(model), index, &inside);
    snprintf(out, room, "stages.%zu.blocks.%zu", stage, inside);
}

static const sv_block_ways next_ways = {
    .mix = next_mix,
    .branch = next_branch,
    .join = next_join,
    .branch_macs = next_branch_macs,
    .name = next_name,
    .fast = "fast_path",
    .fast_gain = "fast_path_gamma",
};

/* There is no policy to heed: see unfit. With one way for all rows, branch, factor and sum are one op or two. */
static sv_tensor *next_record_block(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor *policy)
{
    const next_block *b = &((const next_slots *)model->slots)->blocks[index];
    sv_tensor *base = NULL, *y = next_mix(tape, model, index, x, &base), *h = next_hidden(tape, model, index, y), *gamma = sv_tape_parameter(tape, b->gamma);
    char name[64];
    (void)policy;
    if (sv_tape_mode(tape) == SV_INFERENCE)
        x = sv_tape_linear_scale_add(tape, h, sv_tape_parameter(tape, b->fc2), sv_tape_parameter(tape, b->fc2_bias), gamma, base);
    else if (model->options.drop_path <= 0 && model->options.dropout <= 0)
        x = sv_tape_layer_scale_add(tape, sv_linear_of(tape, h, b->fc2, b->fc2_bias), gamma, base);
    else
        x = next_join(tape, model, index, base, sv_tape_layer_scale(tape, sv_linear_of(tape, h, b->fc2, b->fc2_bias), gamma));
    next_name(model, index, name, sizeof name);
    sv_tape_label(tape, x, "%s", name);
    return x;
}

static sv_tensor *next_features(sv_tape *tape, const sv_model *model, sv_tensor *x)
{
    const next_slots *s = model->slots;
    return sv_norm_of(tape, x, s->norm_gain, s->norm_bias, model->options.norm_eps);
}

static sv_tensor *next_finish(sv_tape *tape, const sv_model *model, sv_tensor *x)
{
    const next_slots *s = model->slots;
    return sv_norm_of(tape, sv_tape_weighted_mean(tape, x, NULL, 1), s->norm_gain, s->norm_bias, model->options.norm_eps);
}

static sv_tensor *next_head(sv_tape *tape, const sv_model *model, sv_tensor *finished)
{
    const next_slots *s = model->slots;
    sv_tensor *logits = sv_linear_of(tape, finished, s->head, s->head_bias);
    sv_tape_label(tape, logits, "logits");
    return logits;
}

/* ---- work ---------------------------------------------------------------------------------------------------------- */

static uint64_t next_macs(const sv_model *model)
{
    const sv_stages *stages = sv_stages_of(model);
    const sv_model_options *o = &model->options;
    uint64_t sum = (uint64_t)side_of(model, 0) * side_of(model, 0) * 3 * o->patch * o->patch * o->width
                   + stages->width[stages->count - 1] * o->classes;
    for (size_t stage = 0; stage < stages->count; stage++) {
        const uint64_t places = side_of(model, stage) * side_of(model, stage), width = stages->width[stage];
        sum += stages->depth[stage] * places * width * (KERNEL * KERNEL + 2 * hidden_of(model, stage));
        if (stage) sum += places * 4 * stages->width[stage - 1] * width;
    }
    return sum;
}

static const char *const head_names[] = { "head.fc.weight", "head.fc.bias", NULL };

const sv_family sv_family_convnext = {
    .name = "convnext",
    .check = next_check,
    .declare = next_declare,
    .initialise = next_initialise,
    .embed = next_embed,
    .enter = next_enter,
    .place = next_place,
    .ways = &next_ways,
    .features = next_features,
    .block = next_record_block,
    .finish = next_finish,
    .head = next_head,
    .macs = next_macs,
    .without_prefix = true,
    .head_reads_all = true,
    .head_names = head_names,
    .official_probe = "downsample_layers.0.0.weight",
    .official_name = next_official_name,
    .unfit = "its convolutions need the whole grid of places",
};
