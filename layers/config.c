/* The [model] keys and the model they declare. */
#include "layers/layers.h"

static const sv_config_row rows[] = {
    { "model.arch", SV_CONFIG_TEXT, "deit_t", 0, 0, NULL, "backbone: deit_t, deit_s, deit_b, ..._distilled, vit_t, vit_s, vit_b, vit_nano, lvvit_t, lvvit_s, lvvit_m, lvvit_nano; of several stages (SPViT: PiT, Swin; DynamicViT: ConvNeXt, Swin): pit_ti, pit_xs, pit_s, pit_b, ..._distilled, convnext_t, convnext_s, convnext_b, swin_t, swin_s, swin_b, and of each a ..._nano" },
    { "model.weights", SV_CONFIG_TEXT, "", 0, 0, NULL, "pretrained weights: .pth or .safetensors under timm or Hugging Face names, or a checkpoint of ours; empty: from scratch" },
    { "model.licence", SV_CONFIG_TEXT, "", 0, 0, NULL, "licence of the weights the run begins from (\"Apache-2.0\" for DeiT's); goes into the card of its files and exports, where whoever gets the model will look" },
    { "model.classes", SV_CONFIG_INT, "0", 0, 10000000, NULL, "answers of the head; 0: as many as the data has" },
    { "model.patch", SV_CONFIG_INT, "0", 0, 1024, NULL, "pixels a side of a patch; 0: the backbone's" },
    { "model.width", SV_CONFIG_INT, "0", 0, 65536, NULL, "embedding width; 0: the backbone's" },
    { "model.depth", SV_CONFIG_INT, "0", 0, 1024, NULL, "blocks; 0: the backbone's. Backbones of several stages have patch, width, depth, heads and ratio of their own" },
    { "model.heads", SV_CONFIG_INT, "0", 0, 1024, NULL, "attention heads; 0: the backbone's" },
    { "model.mlp_ratio", SV_CONFIG_REAL, "0", 0, 64, NULL, "hidden width of the MLP / width; 0: the backbone's" },
    { "model.distilled", SV_CONFIG_BOOL, "no", 0, 0, NULL, "yes: a distillation token and head beside the class token's; the ..._distilled backbones have them anyway" },
    { "model.norm_eps", SV_CONFIG_REAL, "0", 0, 1, NULL, "epsilon of the layer norms; 0: the backbone's (1e-6; Hugging Face configs say 1e-12)" },
    { "model.drop_path", SV_CONFIG_REAL, "0", 0, 0.99, NULL, "stochastic depth of the last block, rising linearly from the first" },
    { "model.dropout", SV_CONFIG_REAL, "0", 0, 0.99, NULL, "dropout behind embedding, projection and MLP" },
    { "train.precision", SV_CONFIG_CHOICE, "fp32", 0, 0, "fp32|bf16|bf16x3", "of products, in training and ever after: bf16 rounds their operands; bf16x3 takes them apart into three, as exact as fp32 and quicker on CPUs with AMX (elsewhere it is fp32); sums, softmax, norms, losses, weights and moments stay fp32" },
    { "train.recompute", SV_CONFIG_CHOICE, "auto", 0, 0, "auto|no|yes", "keep only what goes from block to block and compute the rest again in backward: a third of the memory, the same bits; auto: where it is quicker too, with bf16 on matrix tiles" },
    { "model.pos_resize", SV_CONFIG_CHOICE, "bicubic", 0, 0, "bicubic|bicubic_aa|bilinear", "how positions of another grid are resized; timm: bicubic_aa, DeiT: bicubic" },
};
const sv_config_group sv_model_config = SV_CONFIG_GROUP(rows);

/* Tiles make products anew sooner than memory brings them back. */
static bool wants_recompute(const sv_config *config)
{
    enum { AUTO, NO };
    const int choice = (int)sv_config_choice(config, "train.recompute");
    if (choice != AUTO) return choice != NO;
    return sv_config_choice(config, "train.precision") == SV_PRECISION_BF16 && sv_isa_now() == SV_ISA_AMX;
}

sv_status sv_model_from_config(sv_model **out, const sv_config *config, size_t image, size_t classes, sv_error *err)
{
    sv_model_options options = {
        .image = image, .classes = classes, .patch = (size_t)sv_config_int(config, "model.patch"), .width = (size_t)sv_config_int(config, "model.width"),
        .depth = (size_t)sv_config_int(config, "model.depth"), .heads = (size_t)sv_config_int(config, "model.heads"), .mlp_ratio = sv_config_real(config, "model.mlp_ratio"),
        .norm_eps = sv_config_real(config, "model.norm_eps"), .drop_path = sv_config_real(config, "model.drop_path"), .dropout = sv_config_real(config, "model.dropout"),
        .distilled = sv_config_bool(config, "model.distilled"), .precision = (sv_precision)sv_config_choice(config, "train.precision"),
        .recompute = wants_recompute(config) };
    sv_status status = sv_model_create(out, sv_config_text(config, "model.arch"), &options, err);
    if (status) sv_fail_within(err, "%s", sv_config_where(config, "model.arch"));
    return status;
}

sv_load_options sv_load_options_from_config(const sv_config *config)
{
    return (sv_load_options){ .resize = (sv_position_resize)sv_config_choice(config, "model.pos_resize") };
}
