/* Multiply-adds of pruned inference and of a training step, by the counting rules of spec latency 4.1 and exact savings 3. */
#include "pruning/inside.h"

static size_t packages(const sv_pruning_plan *plan, size_t stages_done) { return plan->package == SV_CHOICE_NONE ? 0 : stages_done; }

/* A block with a stage in it: attention over all tokens, the MLP over those that are left. */
static uint64_t split_macs(const sv_model *model, size_t tokens, size_t left)
{
    return sv_model_block_macs(model, tokens) - sv_model_mlp_macs(model, tokens) + sv_model_mlp_macs(model, left);
}

static uint64_t merged_macs(const sv_model *model, const sv_pruning_plan *plan, size_t kept)
{
    size_t prefix = sv_model_prefix(model), patches = sv_model_patches(model), tokens = prefix + patches, depth = sv_model_depth(model);
    uint64_t sum = sv_model_fixed_macs(model);
    for (size_t i = 0; i < depth; i++) {
        size_t left = tokens - sv_merge_count(patches, kept, depth, i, tokens - prefix);
        sum += sv_selector_macs(plan->method, model, tokens - prefix) + split_macs(model, tokens, left);
        tokens = left;
    }
    return sum + sv_model_patch_head_macs(model, tokens - prefix);
}

uint64_t sv_pruned_macs(const sv_model *model, const sv_pruning_plan *plan, const size_t *kept)
{
    if (sv_model_unfit(model)) return sv_model_macs(model);
    sv_method_form form = plan->stages ? sv_method_form_of(plan->method) : SV_BETWEEN_BLOCKS;
    if (form == SV_IN_EVERY_BLOCK) return merged_macs(model, plan, kept[0]);
    uint64_t sum = sv_model_fixed_macs(model);
    size_t prefix = sv_model_prefix(model), tokens = prefix + sv_model_patches(model);
    for (size_t i = 0, t = 0; i < sv_model_depth(model); i++) {
        size_t before = tokens;
        if (t < plan->stages && plan->at[t] == i) {
            sum += sv_selector_macs(plan->method, model, tokens - prefix);
            tokens = prefix + kept[t] + packages(plan, t + 1);
            t++;
        }
        sum += form == SV_INSIDE_BLOCKS ? split_macs(model, before, tokens) : sv_model_block_macs(model, tokens);
    }
    return sum + sv_model_patch_head_macs(model, tokens - prefix);
}

uint64_t sv_training_macs(const sv_model *model, const sv_pruning_plan *plan, const size_t *kept, const sv_model *teacher)
{
    if (sv_model_unfit(model)) return (teacher ? sv_model_macs(teacher) : 0) + 3 * sv_model_macs(model); /* backward is two products for one */
    if (plan->stages && sv_pruning_method_of(plan->method)->fixed) return (teacher ? sv_model_macs(teacher) : 0) + 3 * sv_pruned_macs(model, plan, kept);
    size_t prefix = sv_model_prefix(model), all = prefix + sv_model_patches(model), live = all;
    uint64_t patch = (uint64_t)sv_model_patches(model) * 3 * model->options.patch * model->options.patch * model->options.width;
    uint64_t sum = (teacher ? sv_model_macs(teacher) : 0) + sv_model_fixed_macs(model) + patch;
    for (size_t i = 0, t = 0; i < sv_model_depth(model); i++) {
        if (t < plan->stages && plan->at[t] == i) {
            all += packages(plan, 1);
            live = prefix + kept[t] + packages(plan, t + 1);
            t++;
        }
        sum += sv_model_block_macs(model, all) + 2 * sv_model_block_macs(model, live);
        if (t) sum += 2 * (uint64_t)live * (all - live) * model->options.width;
    }
    return sum + sv_model_patch_head_macs(model, all - prefix) + 2 * sv_model_patch_head_macs(model, live - prefix);
}
