/* From timm's names to those of a file. Hugging Face: the same tree under other words, with q, k and v apart. The reference of
 * SPViT: selectors as nested sequences, once a head. Tables of words, no code a name. */
#include "layers/names.h"
#include "layers/layers.h"

#include <stdio.h>
#include <string.h>

static const char *const outers[] = { "", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "base_model." };
static const char *const inners[] = { "", "vit.", "deit." };
static const char probe[] = "encoder.layer.0.attention.attention.query.weight";

typedef struct words {
    const char *timm, *other;
} words;
static const words top_words[] = {
    { "cls_token", "embeddings.cls_token" },
    { "dist_token", "embeddings.distillation_token" },
    { "pos_embed", "embeddings.position_embeddings" },
    { "patch_embed.proj", "embeddings.patch_embeddings.projection" },
    { "norm", "layernorm" },
};
static const words head_words[] = {
    { "head", "classifier" },
    { "head", "cls_classifier" },
    { "head_dist", "distillation_classifier" },
};
static const words block_words[] = {
    { "norm1", "layernorm_before" },     { "norm2", "layernorm_after" }, { "attn.proj", "attention.output.dense" },
    { "mlp.fc1", "intermediate.dense" }, { "mlp.fc2", "output.dense" },
};
/* "*" stands for the head. */
static const words selector_words[] = {
    { "norm", "in_conv.*.0" },    { "fc_in", "in_conv.*.1" }, { "fc1", "out_conv.*.0" }, { "fc2", "out_conv.*.2" },
    { "fc_out", "out_conv.*.4" }, { "head_fc1", "senet.0" },  { "head_fc2", "senet.2" },
};
static const char *const attention_parts[] = { "query", "key", "value" };

static bool starts(const char *name, const char *start) { return strncmp(name, start, strlen(start)) == 0; }

/* ---- the file's own manner --------------------------------------------------------------------------------------- */

static bool has(const sv_weights *file, const char *a, const char *b, const char *c)
{
    char name[SV_NAME_ROOM];
    snprintf(name, sizeof name, "%s%s%s", a, b, c);
    return sv_weights_find(file, name) != NULL;
}

/* Tensors that tell where a file's prefixes end: one of them is in every file of a backbone we know. */
static const char *const signs[] = { "cls_token", "patch_embed.proj.weight", "stem.0.weight", "downsample_layers.0.0.weight" };

sv_naming sv_naming_of(const sv_weights *file, const sv_family *family)
{
    for (size_t o = 0; o < SV_COUNT(outers); o++)
        for (size_t i = 0; i < SV_COUNT(inners); i++) {
            bool other = has(file, outers[o], inners[i], probe), known = other;
            for (size_t s = 0; s < SV_COUNT(signs); s++) known = known || has(file, outers[o], inners[i], signs[s]);
            if (!known) continue;
            bool official = family->official_probe && has(file, outers[o], inners[i], family->official_probe);
            return (sv_naming){ outers[o], inners[i], other, official ? family->official_name : NULL };
        }
    return (sv_naming){ .outer = "", .inner = "" };
}

const char *sv_name_bare(const sv_naming *naming, const char *name)
{
    if (starts(name, naming->outer)) name += strlen(naming->outer);
    if (starts(name, naming->inner)) name += strlen(naming->inner);
    return name;
}

bool sv_name_selects(const char *name)
{
    return starts(name, "selectors.") || starts(name, "score_predictor.") || strstr(name, ".fast_path") || strstr(name, ".fastmlp.");
}

/* Of a file: Swin's authors count predictors to a stage ("layers.2.score_predictor."). */
bool sv_name_is_selector(const sv_naming *naming, const char *name)
{
    const char *bare = sv_name_bare(naming, name);
    return sv_name_selects(bare) || strstr(bare, ".score_predictor.");
}

bool sv_name_ignored(const sv_naming *naming, const char *name)
{
    static const char *const first[] = { "optim.", "ema.", "pooler.", "embeddings.mask_token" };
    static const char *const inside[] = { "pre_logits", "relative_position_index", "attn_mask", "num_batches_tracked" };
    const char *bare = sv_name_bare(naming, name);
    for (size_t i = 0; i < SV_COUNT(first); i++)
        if (starts(bare, first[i])) return true;
    for (size_t i = 0; i < SV_COUNT(inside); i++)
        if (strstr(bare, inside[i])) return true;
    return false;
}

/* ---- one parameter ----------------------------------------------------------------------------------------------- */

/* The row whose timm word is `name` up to its ending (".weight", or nothing). */
static const words *find_words(const words *rows, size_t count, const char *name, const char **ending)
{
    for (size_t i = 0; i < count; i++) {
        *ending = name + strlen(rows[i].timm);
        if (starts(name, rows[i].timm) && (!**ending || (**ending == '.' && !strchr(*ending + 1, '.')))) return &rows[i];
    }
    return NULL;
}

static size_t block_names(const sv_naming *naming, const char *name, char parts[3][SV_NAME_ROOM])
{
    unsigned index = 0;
    int used = 0;
    const char *ending = NULL;
    if (sscanf(name, "blocks.%u.%n", &index, &used) != 1 || !used) return 0;
    name += used;
    if (starts(name, "attn.qkv.")) {
        for (size_t i = 0; i < 3; i++)
            snprintf(parts[i], SV_NAME_ROOM, "%s%sencoder.layer.%u.attention.attention.%s.%s", naming->outer, naming->inner, index,
                     attention_parts[i], name + strlen("attn.qkv."));
        return 3;
    }
    const words *row = find_words(block_words, SV_COUNT(block_words), name, &ending);
    if (!row) return 0;
    snprintf(parts[0], SV_NAME_ROOM, "%s%sencoder.layer.%u.%s%s", naming->outer, naming->inner, index, row->other, ending);
    return 1;
}

static bool head_name(const sv_weights *file, const sv_naming *naming, const char *name, char out[SV_NAME_ROOM])
{
    bool known = false;
    for (size_t i = 0; i < SV_COUNT(head_words); i++) {
        const char *ending = NULL;
        if (!find_words(&head_words[i], 1, name, &ending)) continue;
        known = true;
        snprintf(out, SV_NAME_ROOM, "%s%s%s", naming->outer, head_words[i].other, ending);
        if (sv_weights_find(file, out)) return true;
    }
    return known;
}

static bool selector_name(const sv_naming *naming, const char *name, char out[SV_NAME_ROOM])
{
    unsigned stage = 0;
    int used = 0;
    const char *ending = NULL;
    if (sscanf(name, "selectors.%u.%n", &stage, &used) != 1 || !used) return false;
    const words *row = find_words(selector_words, SV_COUNT(selector_words), name + used, &ending);
    if (!row) return false;
    size_t length = strcspn(row->other, "*"); /* copy 0 stands for all */
    bool copies = row->other[length] == '*';
    snprintf(out, SV_NAME_ROOM, "%sscore_predictor.%u.%.*s%s%s%s", naming->outer, stage, (int)length, row->other, copies ? "0" : "",
             row->other + length + copies, ending);
    return true;
}

static size_t hugging_face_names(const sv_weights *file, const sv_naming *naming, const char *name, char parts[3][SV_NAME_ROOM])
{
    const char *ending = NULL;
    const words *row = find_words(top_words, SV_COUNT(top_words), name, &ending);
    if (!row) return head_name(file, naming, name, parts[0]) ? 1 : block_names(naming, name, parts);
    snprintf(parts[0], SV_NAME_ROOM, "%s%s%s%s", naming->outer, naming->inner, row->other, ending);
    return 1;
}

size_t sv_names_in_file(const sv_weights *file, const sv_naming *naming, const char *name, char parts[3][SV_NAME_ROOM])
{
    char own[SV_NAME_ROOM], theirs[SV_NAME_ROOM];
    bool translated = naming->official && naming->official(name, theirs, sizeof theirs);
    snprintf(own, sizeof own, "%s%s%s", naming->outer, naming->hugging_face ? "" : naming->inner, translated ? theirs : name);
    if (!sv_weights_find(file, own)) {
        if (selector_name(naming, name, parts[0]) && sv_weights_find(file, parts[0])) return 1;
        size_t count = naming->hugging_face ? hugging_face_names(file, naming, name, parts) : 0;
        if (count) return count;
    }
    memcpy(parts[0], own, sizeof own);
    return 1;
}

bool sv_name_of_copy(char out[SV_NAME_ROOM], const char *name, size_t head)
{
    static const char *const lists[] = { ".in_conv.", ".out_conv." };
    const char *predictor = strstr(name, "score_predictor.");
    for (size_t i = 0; predictor && i < SV_COUNT(lists); i++) {
        const char *at = strstr(predictor, lists[i]);
        if (!at || !starts(at + strlen(lists[i]), "0.")) continue;
        at += strlen(lists[i]);
        if (at[2] < '0' || at[2] > '9') continue; /* "out_conv.0.weight": of DynamicViT, whose selectors have no heads */
        snprintf(out, SV_NAME_ROOM, "%.*s%zu%s", (int)(at - name), name, head, at + 1);
        return true;
    }
    return false;
}
