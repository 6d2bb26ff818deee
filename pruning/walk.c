/* Tokens through the blocks of a model, one loop for what is trained and what is deployed: stages between blocks, stages between attention and MLP of a
 * block, merging in every block. */
#include "pruning/inside.h"

/* A block whose attention is watched, the stage in its middle where there is one (stage NULL: none). */
static sv_stream watched_block(sv_tape *tape, const sv_pruning *pruning, size_t i, sv_stream stream, const sv_walk *walk,
                               const size_t *stage)
{
    const sv_model *model = pruning->model;
    sv_tensor *qkv = NULL;
    stream.x = sv_model_attention_half(tape, model, i, stream.x, NULL, &qkv);
    stream.watched = sv_tape_class_attention(tape, qkv, model->options.heads);
    if (stage) stream = walk->stage(walk->context, *stage, stream);
    stream.x = sv_model_mlp_half(tape, model, i, stream.x);
    sv_tape_cut(tape);
    return stream;
}

static sv_stream merging_blocks(sv_tape *tape, const sv_pruning *pruning, sv_stream stream, sv_tensor *value)
{
    const sv_model *model = pruning->model;
    const size_t prefix = sv_model_prefix(model), depth = sv_model_depth(model);
    sv_tensor *size = sv_tape_fill(tape, stream.x, 0, 1);
    stream.origin = sv_tape_count_up(tape, stream.x, -(int64_t)prefix);
    for (size_t i = 0; i < depth; i++) {
        sv_tensor *qkv = NULL, *from = NULL;
        sv_tensor *x = sv_model_attention_half(tape, model, i, stream.x, i ? size : NULL, &qkv);
        sv_tensor *to = sv_tape_merge_match(tape, qkv, value, model->options.heads, prefix, i, depth, sv_model_patches(model), &from);
        stream.x = sv_tape_merge_rows(tape, x, size, to, from, &size);
        size = sv_tape_constant(tape, size);
        stream.origin = sv_tape_gather_rows(tape, stream.origin, from, SV_TAKE_LIVE);
        sv_tape_cut(tape);
        stream.x = sv_model_mlp_half(tape, model, i, stream.x);
        sv_tape_cut(tape);
    }
    return stream;
}

sv_stream sv_stream_walk(sv_tape *tape, const sv_pruning *pruning, const sv_pruning_plan *plan, sv_stream stream, const sv_walk *walk)
{
    const sv_model *model = pruning->model;
    const size_t stages = plan ? plan->stages : 0;
    const sv_pruning_method *method = sv_pruning_method_of(stages ? plan->method : SV_METHOD_SPVIT);
    if (stages && method->merges) return merging_blocks(tape, pruning, stream, walk->value);
    for (size_t i = 0, t = 0; i < sv_model_depth(model); i++) {
        const bool here = t < stages && plan->at[t] == i;
        const size_t stage = t;
        t += here;
        if (here && !method->inside) stream = walk->stage(walk->context, stage, stream);
        stream.watched = NULL;
        if (method->watches && (method->inside ? here : t < stages && plan->at[t] == i + 1))
            stream = watched_block(tape, pruning, i, stream, walk, method->inside ? &stage : NULL);
        else
            stream.x = sv_model_block(tape, model, i, stream.x, stream.policy);
    }
    return stream;
}
