/* A model: a row of the table of backbones, with the sizes of a run put over it, and the calls that go to its family. */
#include "layers/layers.h"
#include "layers/block.h"
#include "layers/convnext.h"
#include "layers/lvvit.h"
#include "layers/pit.h"
#include "layers/swin.h"
#include "layers/vit.h"
#include "autograd/ops.h"

#include <math.h>

#define VIT(width_, heads_) { .image = 224, .patch = 16, .width = width_, .depth = 12, .heads = heads_, .mlp_ratio = 4, .classes = 1000, .norm_eps = 1e-6 }
#define DISTILLED(width_, heads_) { .image = 224, .patch = 16, .width = width_, .depth = 12, .heads = heads_, .mlp_ratio = 4, .classes = 1000, .norm_eps = 1e-6, .distilled = true }
/* clang-format off */
#define PIT(patch_, width_, heads_, depth_) { .image = 224, .patch = patch_, .width = width_, .depth = depth_, .heads = heads_, .mlp_ratio = 4, .classes = 1000, .norm_eps = 1e-6 }
#define PIT_DISTILLED(patch_, width_, heads_, depth_) { .image = 224, .patch = patch_, .width = width_, .depth = depth_, .heads = heads_, .mlp_ratio = 4, .classes = 1000, .norm_eps = 1e-6, .distilled = true }
#define CONVNEXT(width_, depth_) { .image = 224, .patch = 4, .width = width_, .depth = depth_, .heads = 1, .mlp_ratio = 4, .classes = 1000, .norm_eps = 1e-6 }
#define SWIN(width_, heads_, depth_) { .image = 224, .patch = 4, .width = width_, .depth = depth_, .heads = heads_, .mlp_ratio = 4, .classes = 1000, .norm_eps = 1e-5 }
#define LVVIT(width_, heads_, depth_) { .image = 224, .patch = 16, .width = width_, .depth = depth_, .heads = heads_, .mlp_ratio = 3, .classes = 1000, .norm_eps = 1e-5 }
/* clang-format on */
static const sv_stages convnext_t = { 4, { 3, 3, 9, 3 }, { 96, 192, 384, 768 }, { 0 }, .stride = 4 };
static const sv_stages convnext_s = { 4, { 3, 3, 27, 3 }, { 96, 192, 384, 768 }, { 0 }, .stride = 4 };
static const sv_stages convnext_b = { 4, { 3, 3, 27, 3 }, { 128, 256, 512, 1024 }, { 0 }, .stride = 4 };
static const sv_stages convnext_nano = { 3, { 1, 1, 2 }, { 32, 64, 128 }, { 0 }, .stride = 4 };
static const sv_stages convnext_test = { 3, { 1, 2, 1 }, { 8, 16, 24 }, { 0 }, .stride = 4 };
static const sv_stages swin_t = { 4, { 2, 2, 6, 2 }, { 96, 192, 384, 768 }, { 3, 6, 12, 24 }, .stride = 4, .window = 7 };
static const sv_stages swin_s = { 4, { 2, 2, 18, 2 }, { 96, 192, 384, 768 }, { 3, 6, 12, 24 }, .stride = 4, .window = 7 };
static const sv_stages swin_b = { 4, { 2, 2, 18, 2 }, { 128, 256, 512, 1024 }, { 4, 8, 16, 32 }, .stride = 4, .window = 7 };
static const sv_stages swin_nano = { 3, { 1, 2, 2 }, { 32, 64, 128 }, { 2, 4, 8 }, .stride = 4, .window = 4 };
static const sv_stages swin_test = { 3, { 2, 2, 1 }, { 8, 16, 32 }, { 1, 2, 4 }, .stride = 4, .window = 2 };
static const sv_lvvit_form lvvit_64 = { 64, 2 }, lvvit_t = { 64, 1 }, lvvit_nano = { 16, 1 }, lvvit_test = { 4, 2 };
static const sv_stages pit_ti = { 3, { 2, 6, 4 }, { 64, 128, 256 }, { 2, 4, 8 }, .stride = 8 };
static const sv_stages pit_xs = { 3, { 2, 6, 4 }, { 96, 192, 384 }, { 2, 4, 8 }, .stride = 8 };
static const sv_stages pit_s = { 3, { 2, 6, 4 }, { 144, 288, 576 }, { 3, 6, 12 }, .stride = 8 };
static const sv_stages pit_b = { 3, { 3, 6, 4 }, { 256, 512, 1024 }, { 4, 8, 16 }, .stride = 7 };
static const sv_stages pit_nano = { 3, { 1, 2, 1 }, { 32, 64, 128 }, { 2, 4, 8 }, .stride = 8 };
static const sv_stages pit_test = { 3, { 1, 2, 1 }, { 8, 16, 32 }, { 1, 2, 4 }, .stride = 2 };

const sv_backbone sv_backbones[] = {
    { "deit_t", &sv_family_vit, VIT(192, 3), "DeiT-T, also ViT-Ti/16: 5.7 M parameters, 1.25 GMAC", .form = NULL },
    { "deit_s", &sv_family_vit, VIT(384, 6), "DeiT-S, also ViT-S/16: 22.1 M parameters, 4.6 GMAC", .form = NULL },
    { "deit_b", &sv_family_vit, VIT(768, 12), "DeiT-B, also ViT-B/16: 86.6 M parameters, 17.6 GMAC", .form = NULL },
    { "deit_t_distilled", &sv_family_vit, DISTILLED(192, 3), "DeiT-T with a distillation token", .form = NULL },
    { "deit_s_distilled", &sv_family_vit, DISTILLED(384, 6), "DeiT-S with a distillation token", .form = NULL },
    { "deit_b_distilled", &sv_family_vit, DISTILLED(768, 12), "DeiT-B with a distillation token", .form = NULL },
    { "vit_t", &sv_family_vit, VIT(192, 3), "ViT-Ti/16 (timm vit_tiny_patch16_224)", .form = NULL },
    { "vit_s", &sv_family_vit, VIT(384, 6), "ViT-S/16 (timm vit_small_patch16_224)", .form = NULL },
    { "vit_b", &sv_family_vit, VIT(768, 12), "ViT-B/16 (timm vit_base_patch16_224)", .form = NULL },
    { "vit_nano", &sv_family_vit, { .image = 64, .patch = 8, .width = 96, .depth = 6, .heads = 3, .mlp_ratio = 4, .classes = 10, .norm_eps = 1e-6 },
      "a small ViT that learns the built-in pictures in minutes", .init = 0.08 },
    { "vit_test", &sv_family_vit, { .image = 16, .patch = 4, .width = 32, .depth = 4, .heads = 2, .mlp_ratio = 2, .classes = 5, .norm_eps = 1e-6 },
      "a very small ViT for the checks", .form = NULL },
    { "pit_ti", &sv_family_pit, PIT(16, 64, 2, 12), "PiT-Ti: 4.8 M parameters, 0.70 GMAC", .form = &pit_ti },
    { "pit_xs", &sv_family_pit, PIT(16, 96, 2, 12), "PiT-XS: 10.6 M parameters, 1.39 GMAC", .form = &pit_xs },
    { "pit_s", &sv_family_pit, PIT(16, 144, 3, 12), "PiT-S: 23.5 M parameters, 2.87 GMAC", .form = &pit_s },
    { "pit_b", &sv_family_pit, PIT(14, 256, 4, 13), "PiT-B: 73.8 M parameters, 12.4 GMAC", .form = &pit_b },
    { "pit_ti_distilled", &sv_family_pit, PIT_DISTILLED(16, 64, 2, 12), "PiT-Ti with a distillation token", .form = &pit_ti },
    { "pit_xs_distilled", &sv_family_pit, PIT_DISTILLED(16, 96, 2, 12), "PiT-XS with a distillation token", .form = &pit_xs },
    { "pit_s_distilled", &sv_family_pit, PIT_DISTILLED(16, 144, 3, 12), "PiT-S with a distillation token", .form = &pit_s },
    { "pit_b_distilled", &sv_family_pit, PIT_DISTILLED(14, 256, 4, 13), "PiT-B with a distillation token", .form = &pit_b },
    { "pit_nano", &sv_family_pit, { .image = 64, .patch = 16, .width = 32, .depth = 4, .heads = 2, .mlp_ratio = 4, .classes = 10, .norm_eps = 1e-6 },
      "a small PiT that learns the built-in pictures in minutes", .form = &pit_nano },
    { "pit_test", &sv_family_pit, { .image = 16, .patch = 4, .width = 8, .depth = 4, .heads = 1, .mlp_ratio = 2, .classes = 7, .norm_eps = 1e-6 },
      "a very small PiT for the checks", .form = &pit_test },
    { "convnext_t", &sv_family_convnext, CONVNEXT(96, 18), "ConvNeXt-T: 28.6 M parameters, 4.46 GMAC", .form = &convnext_t },
    { "convnext_s", &sv_family_convnext, CONVNEXT(96, 36), "ConvNeXt-S: 50.2 M parameters, 8.68 GMAC", .form = &convnext_s },
    { "convnext_b", &sv_family_convnext, CONVNEXT(128, 36), "ConvNeXt-B: 88.6 M parameters, 15.4 GMAC", .form = &convnext_b },
    { "convnext_nano", &sv_family_convnext, { .image = 64, .patch = 4, .width = 32, .depth = 4, .heads = 1, .mlp_ratio = 4, .classes = 10, .norm_eps = 1e-6 },
      "a small ConvNeXt that learns the built-in pictures in minutes", .init = 0.08, .form = &convnext_nano },
    { "convnext_test", &sv_family_convnext, { .image = 32, .patch = 4, .width = 8, .depth = 4, .heads = 1, .mlp_ratio = 4, .classes = 7, .norm_eps = 1e-6 },
      "a very small ConvNeXt for the checks", .form = &convnext_test },
    { "swin_t", &sv_family_swin, SWIN(96, 3, 12), "Swin-T: 28.3 M parameters, 4.49 GMAC", .form = &swin_t },
    { "swin_s", &sv_family_swin, SWIN(96, 3, 24), "Swin-S: 49.6 M parameters, 8.74 GMAC", .form = &swin_s },
    { "swin_b", &sv_family_swin, SWIN(128, 4, 24), "Swin-B: 87.8 M parameters, 15.4 GMAC", .form = &swin_b },
    { "swin_nano", &sv_family_swin, { .image = 64, .patch = 4, .width = 32, .depth = 5, .heads = 2, .mlp_ratio = 4, .classes = 10, .norm_eps = 1e-5 },
      "a small Swin that learns the built-in pictures in minutes", .init = 0.08, .form = &swin_nano },
    { "swin_test", &sv_family_swin, { .image = 32, .patch = 4, .width = 8, .depth = 5, .heads = 1, .mlp_ratio = 2, .classes = 7, .norm_eps = 1e-5 },
      "a very small Swin for the checks", .form = &swin_test },
    { "lvvit_t", &sv_family_lvvit, LVVIT(240, 4, 12), "LV-ViT-T: 8.5 M parameters, 2.87 GMAC", .form = &lvvit_t },
    { "lvvit_s", &sv_family_lvvit, LVVIT(384, 6, 16), "LV-ViT-S: 26.2 M parameters, 6.55 GMAC", .form = &lvvit_64 },
    { "lvvit_m", &sv_family_lvvit, LVVIT(512, 8, 20), "LV-ViT-M: 55.8 M parameters, 12.7 GMAC", .form = &lvvit_64 },
    { "lvvit_nano", &sv_family_lvvit, { .image = 64, .patch = 16, .width = 96, .depth = 4, .heads = 3, .mlp_ratio = 3, .classes = 10, .norm_eps = 1e-5 },
      "a small LV-ViT that learns the built-in pictures in minutes", .init = 0.08, .form = &lvvit_nano },
    { "lvvit_test", &sv_family_lvvit, { .image = 32, .patch = 16, .width = 16, .depth = 2, .heads = 2, .mlp_ratio = 3, .classes = 7, .norm_eps = 1e-5 },
      "a very small LV-ViT for the checks", .form = &lvvit_test },
};
const size_t sv_backbone_count = SV_COUNT(sv_backbones);

const sv_backbone *sv_backbone_find(const char *name) { return SV_KIND_FIND(sv_backbones, name); }

static sv_status unknown_backbone(const char *name, sv_error *err)
{
    const char *near = sv_kind_nearest(sv_backbones, sv_backbone_count, sizeof sv_backbones[0], name);
    sv_text list = { 0 };
    sv_kind_list(sv_backbones, sv_backbone_count, sizeof sv_backbones[0], &list);
    sv_status status = sv_fail(err, SV_USAGE, "model.arch = '%s' is unknown%s%s%s; known: %s", name, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "",
                               list.data ? list.data : "");
    sv_text_clear(&list);
    return status;
}

static void put_over(sv_model_options *o, const sv_model_options *given)
{
    if (given->image) o->image = given->image;
    if (given->patch) o->patch = given->patch;
    if (given->width) o->width = given->width;
    if (given->depth) o->depth = given->depth;
    if (given->heads) o->heads = given->heads;
    if (given->classes) o->classes = given->classes;
    if (given->mlp_ratio > 0) o->mlp_ratio = given->mlp_ratio;
    if (given->norm_eps > 0) o->norm_eps = given->norm_eps;
    if (given->drop_path > 0) o->drop_path = given->drop_path;
    if (given->dropout > 0) o->dropout = given->dropout;
    o->distilled = o->distilled || given->distilled;
    o->precision = given->precision;
    o->recompute = given->recompute;
}

static sv_status check(const sv_model *model, const char *name, sv_error *err)
{
    const sv_model_options *o = &model->options;
    double hidden = o->mlp_ratio * (double)o->width;
    if (!o->image || !o->patch || !o->width || !o->depth || !o->heads || !o->classes)
        return sv_fail(err, SV_USAGE, "model '%s' has a size of 0", name);
    if (o->image > 8192 || o->patch > 1024 || o->width > 65536 || o->depth > 1024 || o->heads > 1024 || o->classes > 10000000 || o->mlp_ratio > 64)
        return sv_fail(err, SV_USAGE, "model '%s' has a size beyond reason (image %zu, patch %zu, width %zu, depth %zu, heads %zu, classes %zu)", name, o->image, o->patch,
                       o->width, o->depth, o->heads, o->classes);
    if (model->backbone->family->check) return model->backbone->family->check(model, err);
    if (o->image % o->patch)
        return sv_fail(err, SV_USAGE, "data.image_size = %zu is not a multiple of the model's patch of %zu pixels; nearest: %zu or %zu", o->image, o->patch,
                       o->image >= o->patch ? o->image / o->patch * o->patch : o->patch, (o->image / o->patch + 1) * o->patch);
    if (o->width % o->heads) return sv_fail(err, SV_USAGE, "model.width = %zu is not a multiple of model.heads = %zu", o->width, o->heads);
    if (fabs(hidden - floor(hidden + 0.5)) > 1e-6) return sv_fail(err, SV_USAGE, "model.mlp_ratio = %g times model.width = %zu is not a whole number", o->mlp_ratio, o->width);
    return SV_OK;
}

sv_status sv_model_create(sv_model **out, const char *backbone, const sv_model_options *options, sv_error *err)
{
    const sv_backbone *row = sv_backbone_find(backbone);
    sv_model *model = NULL;
    if (!row) return unknown_backbone(backbone, err);
    sv_status status = sv_alloc_zero(&model, sizeof *model, "model", err);
    if (status) return status;
    model->backbone = row;
    model->options = row->options;
    model->attention.clamp = 30;
    if (options) put_over(&model->options, options);
    status = check(model, backbone, err);
    if (!status) status = sv_parameters_create(&model->parameters, err);
    if (!status) status = row->family->declare(model, err);
    if (status) {
        sv_model_destroy(model);
        return status;
    }
    *out = model;
    return SV_OK;
}

void sv_model_destroy(sv_model *model)
{
    if (!model) return;
    sv_parameters_destroy(model->parameters);
    sv_free(model->slots);
    sv_free(model);
}

sv_status sv_model_allocate(sv_model *model, bool with_gradients, sv_error *err) { return sv_parameters_allocate(model->parameters, with_gradients, err); }

void sv_model_initialise(sv_model *model, uint64_t seed)
{
    model->backbone->family->initialise(model, seed);
    sv_parameters_changed(model->parameters);
}

size_t sv_model_patches(const sv_model *model)
{
    const sv_family *family = model->backbone->family;
    if (family->patches) return family->patches(model);
    size_t side = model->options.image / model->options.patch;
    return side * side;
}

size_t sv_model_prefix(const sv_model *model) { return model->backbone->family->without_prefix ? 0 : model->options.distilled ? 2 : 1; }

sv_place sv_model_place(const sv_model *model, size_t index)
{
    const sv_model_options *o = &model->options;
    sv_place place = { .patches = sv_model_patches(model), .side = o->image / o->patch, .width = o->width, .heads = o->heads };
    if (model->backbone->family->place) place = model->backbone->family->place(model, index);
    place.prefix = sv_model_prefix(model);
    return place;
}

size_t sv_model_depth(const sv_model *model) { return model->options.depth; }

const char *sv_model_unfit(const sv_model *model) { return model->backbone->family->unfit; }

size_t sv_model_parameter_count(const sv_model *model)
{
    size_t sum = 0;
    for (size_t i = 0; i < model->parameters->count; i++)
        if (!model->parameters->items[i]->fixed) sum += model->parameters->items[i]->count;
    return sum;
}

uint64_t sv_model_block_macs(const sv_model *model, size_t tokens)
{
    const sv_family *family = model->backbone->family;
    return family->block_macs ? family->block_macs(model, tokens) : 0;
}

uint64_t sv_model_mlp_macs(const sv_model *model, size_t tokens)
{
    sv_block_form form;
    model->backbone->family->block_of(model, 0, &form);
    return 2 * (uint64_t)tokens * form.width * form.hidden;
}

uint64_t sv_model_fixed_macs(const sv_model *model)
{
    const sv_family *family = model->backbone->family;
    return family->fixed_macs ? family->fixed_macs(model) : 0;
}

uint64_t sv_model_patch_head_macs(const sv_model *model, size_t patches)
{
    const sv_family *family = model->backbone->family;
    return family->patch_head_macs ? family->patch_head_macs(model, patches) : 0;
}

uint64_t sv_model_macs(const sv_model *model)
{
    if (model->backbone->family->macs) return model->backbone->family->macs(model);
    return sv_model_fixed_macs(model) + sv_model_patch_head_macs(model, sv_model_patches(model)) + model->options.depth * sv_model_block_macs(model, sv_model_patches(model) + sv_model_prefix(model));
}

sv_tensor *sv_model_embed(sv_tape *tape, const sv_model *model, sv_tensor *picture)
{
    sv_tensor *x = model->backbone->family->embed(tape, model, picture);
    sv_tape_cut(tape);
    return x;
}

sv_tensor *sv_model_enter(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x)
{
    const sv_family *family = model->backbone->family;
    return family->enter ? family->enter(tape, model, index, x) : x;
}

sv_tensor *sv_model_block_inside(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor *policy)
{
    x = model->backbone->family->block(tape, model, index, x, policy);
    sv_tape_cut(tape);
    return x;
}

sv_tensor *sv_model_attention_half(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor *size, sv_tensor **qkv)
{
    sv_block_form form;
    const sv_block *block = model->backbone->family->block_of(model, index, &form);
    *qkv = sv_block_qkv(tape, block, &form, x);
    sv_tensor *h = size ? sv_tape_sized_attention(tape, *qkv, size, form.heads) : sv_tape_attention(tape, *qkv, NULL, form.heads, model->attention.clamp);
    return sv_block_add(tape, &form, 0, h, block->proj, block->proj_bias, x);
}

sv_tensor *sv_model_mlp_half(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x)
{
    sv_block_form form;
    const sv_block *block = model->backbone->family->block_of(model, index, &form);
    x = sv_block_mlp(tape, block, &form, x);
    sv_tape_label(tape, x, "blocks.%zu", index);
    return x;
}

sv_tensor *sv_model_block(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor *policy)
{
    sv_tensor *entered = sv_model_enter(tape, model, index, x);
    if (entered != x) sv_tape_cut(tape);
    return sv_model_block_inside(tape, model, index, entered, policy);
}

sv_tensor *sv_model_block_among(sv_tape *tape, const sv_model *model, size_t index, sv_tensor *x, sv_tensor *place, sv_tensor *policy)
{
    return model->backbone->family->among(tape, model, index, x, place, policy);
}

sv_tensor *sv_model_head_rows(sv_tape *tape, const sv_model *model, sv_tensor *x)
{
    return model->backbone->family->head_reads_all ? x : sv_tape_slice_rows(tape, x, 0, sv_model_prefix(model));
}

sv_tensor *sv_model_finish(sv_tape *tape, const sv_model *model, sv_tensor *x) { return model->backbone->family->finish(tape, model, x); }

sv_tensor *sv_model_features(sv_tape *tape, const sv_model *model, sv_tensor *x)
{
    const sv_family *family = model->backbone->family;
    return family->features ? family->features(tape, model, x) : family->finish(tape, model, x);
}

sv_tensor *sv_model_head(sv_tape *tape, const sv_model *model, sv_tensor *finished) { return model->backbone->family->head(tape, model, finished); }

sv_tensor *sv_model_head_kept(sv_tape *tape, const sv_model *model, sv_tensor *finished, sv_tensor *origin)
{
    const sv_family *family = model->backbone->family;
    return family->head_kept ? family->head_kept(tape, model, finished, origin) : family->head(tape, model, finished);
}

bool sv_model_has_patch_head(const sv_model *model) { return model->backbone->family->patch_head != NULL; }
sv_tensor *sv_model_class_head(sv_tape *tape, const sv_model *model, sv_tensor *finished) { return model->backbone->family->class_head(tape, model, finished); }
sv_tensor *sv_model_patch_head(sv_tape *tape, const sv_model *model, sv_tensor *rows) { return model->backbone->family->patch_head(tape, model, rows); }

sv_tensor *sv_model_heads(sv_tape *tape, const sv_model *model, sv_tensor *finished, sv_tensor **distillation)
{
    const sv_family *family = model->backbone->family;
    if (model->options.distilled && family->heads) return family->heads(tape, model, finished, distillation);
    return *distillation = family->head(tape, model, finished);
}

sv_tensor *sv_model_record_dense(sv_tape *tape, const sv_model *model, sv_tensor *picture)
{
    sv_tensor *x = sv_model_embed(tape, model, picture);
    for (size_t i = 0; i < model->options.depth; i++) x = sv_model_block(tape, model, i, x, NULL);
    return sv_model_head(tape, model, sv_model_finish(tape, model, sv_model_head_rows(tape, model, x)));
}
