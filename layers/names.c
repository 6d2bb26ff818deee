/* From timm's names to those of a file. Hugging Face: the same tree under other words, with q, k and v apart. A table of words, no code a name. */
#include "layers/names.h"

#include <stdio.h>
#include <string.h>

static const char *const prefixes[] = { "", "module.", "model.", "vit.", "deit.", "vit.vit.", "base_model." };

static const struct { const char *timm, *other; } top_words[] = {
    { "cls_token", "embeddings.cls_token" }, { "dist_token", "embeddings.distillation_token" }, { "pos_embed", "embeddings.position_embeddings" },
    { "patch_embed.proj.weight", "embeddings.patch_embeddings.projection.weight" }, { "patch_embed.proj.bias", "embeddings.patch_embeddings.projection.bias" },
    { "norm.weight", "layernorm.weight" }, { "norm.bias", "layernorm.bias" },
};
static const struct { const char *timm, *other[2]; } head_words[] = {
    { "head.weight", { "classifier.weight", "cls_classifier.weight" } }, { "head.bias", { "classifier.bias", "cls_classifier.bias" } },
    { "head_dist.weight", { "distillation_classifier.weight", NULL } }, { "head_dist.bias", { "distillation_classifier.bias", NULL } },
};
static const struct { const char *timm, *other; } block_words[] = {
    { "norm1", "layernorm_before" }, { "norm2", "layernorm_after" }, { "attn.proj", "attention.output.dense" }, { "mlp.fc1", "intermediate.dense" }, { "mlp.fc2", "output.dense" },
};
static const char *const attention_parts[] = { "query", "key", "value" };

static bool contains(const sv_weights *file, const char *piece)
{
    for (size_t i = 0; i < sv_weights_count(file); i++)
        if (strstr(sv_weights_at(file, i)->name, piece)) return true;
    return false;
}

sv_naming sv_naming_of(const sv_weights *file) { return contains(file, "attention.attention.query") ? SV_NAMES_HUGGING_FACE : SV_NAMES_TIMM; }

bool sv_name_ignored(const char *name)
{
    static const char *const starts[] = { "optim.", "ema.", "pooler.", "vit.pooler.", "deit.pooler." };
    for (size_t i = 0; i < SV_COUNT(starts); i++)
        if (strncmp(name, starts[i], strlen(starts[i])) == 0) return true;
    return strstr(name, "pre_logits") || strstr(name, "relative_position_index") || strstr(name, "attn_mask") || strstr(name, "num_batches_tracked");
}

/* Puts the prefix before the name under which the file has it. */
static void with_prefix(const sv_weights *file, const char *name, char out[256])
{
    for (size_t i = 0; i < SV_COUNT(prefixes); i++) {
        snprintf(out, 256, "%s%s", prefixes[i], name);
        if (sv_weights_find(file, out)) return;
    }
    snprintf(out, 256, "%s", name);
}

static size_t block_names(const sv_weights *file, const char *name, char parts[3][256])
{
    unsigned index = 0;
    int used = 0;
    char word[256];
    if (sscanf(name, "blocks.%u.%n", &index, &used) != 1 || !used) return 0;
    const char *rest = name + used, *ending = strrchr(rest, '.');
    if (!ending) return 0;
    if (strncmp(rest, "attn.qkv.", 9) == 0) {
        for (size_t i = 0; i < 3; i++) {
            snprintf(word, sizeof word, "encoder.layer.%u.attention.attention.%s%s", index, attention_parts[i], ending);
            with_prefix(file, word, parts[i]);
        }
        return 3;
    }
    for (size_t i = 0; i < SV_COUNT(block_words); i++) {
        size_t length = strlen(block_words[i].timm);
        if (strncmp(rest, block_words[i].timm, length) != 0 || rest[length] != '.') continue;
        snprintf(word, sizeof word, "encoder.layer.%u.%s%s", index, block_words[i].other, ending);
        with_prefix(file, word, parts[0]);
        return 1;
    }
    return 0;
}

size_t sv_names_in_file(const sv_weights *file, sv_naming naming, const char *name, char parts[3][256])
{
    with_prefix(file, name, parts[0]);
    if (naming == SV_NAMES_TIMM || sv_weights_find(file, parts[0])) return 1;
    for (size_t i = 0; i < SV_COUNT(top_words); i++)
        if (strcmp(name, top_words[i].timm) == 0) return with_prefix(file, top_words[i].other, parts[0]), 1;
    for (size_t i = 0; i < SV_COUNT(head_words); i++)
        for (size_t k = 0; k < 2 && head_words[i].other[k]; k++)
            if (strcmp(name, head_words[i].timm) == 0 && (with_prefix(file, head_words[i].other[k], parts[0]), sv_weights_find(file, parts[0]))) return 1;
    size_t count = block_names(file, name, parts);
    return count ? count : 1;
}
