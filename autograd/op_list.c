/* The list of ops: the only one. Checks, bench and docs walk it. A new op is one row here. */
#include "autograd/op.h"

#define OPS(ROW) \
    ROW(linear) ROW(linear_add) ROW(linear_scale_add) ROW(linear_gelu) ROW(product) ROW(patch_embed) ROW(embed_tokens) \
    ROW(embed_map) ROW(conv2d) ROW(depthwise_conv) ROW(pool) ROW(batch_norm) ROW(layer_scale) ROW(layer_scale_add) \
    ROW(window_rows) ROW(window_attention) ROW(cell_attention) ROW(merge_patches) ROW(layer_norm) ROW(attention) \
    ROW(policy_attention) ROW(gelu) ROW(relu) ROW(sigmoid) ROW(softmax) ROW(log_softmax) ROW(add) ROW(scale) ROW(slice_rows) \
    ROW(concat_rows) ROW(slice_columns) ROW(concat_columns) ROW(gather_rows) ROW(scatter_rows) ROW(put_rows) ROW(norm_heads) \
    ROW(blend_rows) ROW(add_rows_at) ROW(count_up) ROW(fill) ROW(fill_index) ROW(dropout) ROW(drop_path) ROW(head_mean) \
    ROW(weighted_mean) ROW(local_global) ROW(combine_heads) ROW(decide) ROW(choose) ROW(live_order) ROW(package) \
    ROW(carry_package) ROW(class_attention) ROW(random_score) ROW(constant) ROW(sized_attention) ROW(merge_match) ROW(merge_rows) \
    ROW(cross_entropy) ROW(kl) ROW(top_class) ROW(masked_square) ROW(kept_share) ROW(largest_kept) ROW(masked_kl) ROW(batch_mean) \
    ROW(batch_ratio) ROW(ratio_loss) ROW(latency_loss) ROW(weighted_sum)

#define DECLARE(name) extern const sv_op sv_op_##name;
OPS(DECLARE)

#define ENTRY(name) &sv_op_##name,
const sv_op *const sv_ops[] = { OPS(ENTRY) };
const size_t sv_op_count = SV_COUNT(sv_ops);
