/* Parts of backbones: see block.h. qkv rows are [q of all heads | k of all heads | v of all heads]. */
#include "layers/block.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- pairs --------------------------------------------------------------------------------------------------------- */

sv_status sv_pair_declare(sv_model *model, const char *name, sv_parameter **weight, sv_parameter **bias, uint32_t dims, const size_t *shape,
                          sv_error *err)
{
    char full[112];
    snprintf(full, sizeof full, "%s.weight", name);
    sv_status status = sv_parameters_add(model->parameters, weight, full, dims, shape, err);
    if (status || !bias) return status;
    snprintf(full, sizeof full, "%s.bias", name);
    return sv_parameters_add(model->parameters, bias, full, 1, shape, err);
}

sv_status sv_linear_declare(sv_model *model, const char *name, sv_parameter **weight, sv_parameter **bias, size_t out, size_t in,
                            sv_error *err)
{
    return sv_pair_declare(model, name, weight, bias, 2, (size_t[]){ out, in }, err);
}

sv_status sv_norm_declare(sv_model *model, const char *name, sv_parameter **gain, sv_parameter **bias, size_t width, sv_error *err)
{
    return sv_pair_declare(model, name, gain, bias, 1, &width, err);
}

sv_tensor *sv_linear_of(sv_tape *tape, sv_tensor *x, sv_parameter *weight, sv_parameter *bias)
{
    return sv_tape_linear(tape, x, sv_tape_parameter(tape, weight), sv_tape_parameter(tape, bias));
}

sv_tensor *sv_norm_of(sv_tape *tape, sv_tensor *x, sv_parameter *gain, sv_parameter *bias, double eps)
{
    return sv_tape_layer_norm(tape, x, sv_tape_parameter(tape, gain), sv_tape_parameter(tape, bias), eps);
}

/* ---- from scratch -------------------------------------------------------------------------------------------------- */

bool sv_name_ends(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

void sv_start_parameter(sv_model *model, size_t index, uint64_t seed, sv_start_rule rule)
{
    sv_parameter *p = model->parameters->items[index];
    sv_random random = sv_random_at(seed, SV_FOR_INIT, 0, index, 0);
    for (size_t k = 0; k < p->count; k++) {
        double value = rule.kind == SV_START_ONE ? 1 : rule.kind == SV_START_CONSTANT ? rule.size : 0;
        if (rule.kind == SV_START_UNIFORM) value = rule.size * (2 * sv_random_uniform(&random) - 1);
        if (rule.kind == SV_START_NORMAL) value = rule.size * sv_random_normal(&random);
        p->value[k] = (sv_real)value;
    }
}

sv_start_rule sv_start_usual(const sv_parameter *parameter, double spread)
{
    if (parameter->dims > 1) return (sv_start_rule){ SV_START_NORMAL, spread };
    return (sv_start_rule){ sv_name_ends(parameter->name, ".weight") ? SV_START_ONE : SV_START_ZERO, 0 };
}

sv_start_rule sv_start_torch(const sv_model *model, const sv_parameter *parameter)
{
    char name[112];
    const sv_parameter *weight = parameter;
    if (sv_name_ends(parameter->name, ".bias")) {
        snprintf(name, sizeof name, "%.*s.weight", (int)(strlen(parameter->name) - strlen(".bias")), parameter->name);
        weight = sv_parameters_find(model->parameters, name);
    }
    return (sv_start_rule){ SV_START_UNIFORM, 1 / sqrt((double)(weight->count / weight->shape[0])) };
}

/* ---- the block ----------------------------------------------------------------------------------------------------- */

sv_status sv_block_declare(sv_model *model, sv_block *b, const char *prefix, const sv_block_form *form, sv_error *err)
{
    size_t d = form->width, hidden = form->hidden;
    const struct {
        const char *name;
        sv_parameter **weight, **bias;
        size_t rows, columns; /* rows 0: a norm */
    } pairs[] = {
        { "norm1", &b->norm1_gain, &b->norm1_bias, 0, d }, { "attn.qkv", &b->qkv, form->bare_qkv ? NULL : &b->qkv_bias, 3 * d, d },
        { "attn.proj", &b->proj, &b->proj_bias, d, d },    { "norm2", &b->norm2_gain, &b->norm2_bias, 0, d },
        { "mlp.fc1", &b->fc1, &b->fc1_bias, hidden, d },   { "mlp.fc2", &b->fc2, &b->fc2_bias, d, hidden },
    };
    for (size_t i = 0; i < SV_COUNT(pairs); i++) {
        char name[96];
        snprintf(name, sizeof name, "%s.%s", prefix, pairs[i].name);
        sv_status status = pairs[i].rows
                               ? sv_linear_declare(model, name, pairs[i].weight, pairs[i].bias, pairs[i].rows, pairs[i].columns, err)
                               : sv_norm_declare(model, name, pairs[i].weight, pairs[i].bias, pairs[i].columns, err);
        if (status) return status;
    }
    return SV_OK;
}

sv_tensor *sv_block_qkv(sv_tape *tape, const sv_block *block, const sv_block_form *form, sv_tensor *x)
{
    return sv_linear_of(tape, sv_norm_of(tape, x, block->norm1_gain, block->norm1_bias, form->eps), block->qkv, block->qkv_bias);
}

sv_tensor *sv_block_join(sv_tape *tape, const sv_block_form *form, size_t which, sv_tensor *h, sv_tensor *x)
{
    const size_t position = 1 + 4 * form->index + 2 * which;
    if (form->dropout > 0) h = sv_tape_dropout(tape, h, form->dropout, position);
    if (form->drop_share > 0) h = sv_tape_drop_path(tape, h, form->drop_share, position + 1);
    if (form->branch_scale > 0 && form->branch_scale != 1) h = sv_tape_scale(tape, h, form->branch_scale);
    return sv_tape_add(tape, x, h);
}

sv_tensor *sv_block_add(sv_tape *tape, const sv_block_form *form, size_t which, sv_tensor *h, sv_parameter *weight, sv_parameter *bias,
                        sv_tensor *x)
{
    const bool scaled = form->branch_scale > 0 && form->branch_scale != 1;
    if (form->drop_share <= 0 && form->dropout <= 0 && !scaled)
        return sv_tape_linear_add(tape, h, sv_tape_parameter(tape, weight), sv_tape_parameter(tape, bias), x);
    return sv_block_join(tape, form, which, sv_linear_of(tape, h, weight, bias), x);
}

static sv_tensor *hidden_of(sv_tape *tape, const sv_block *block, const sv_block_form *form, sv_tensor *x)
{
    sv_tensor *h = sv_norm_of(tape, x, block->norm2_gain, block->norm2_bias, form->eps);
    h = sv_tape_linear_gelu(tape, h, sv_tape_parameter(tape, block->fc1), sv_tape_parameter(tape, block->fc1_bias));
    return form->dropout > 0 ? sv_tape_dropout(tape, h, form->dropout, 4 * form->index + 4) : h;
}

sv_tensor *sv_block_branch(sv_tape *tape, const sv_block *block, const sv_block_form *form, sv_tensor *x)
{
    return sv_linear_of(tape, hidden_of(tape, block, form, x), block->fc2, block->fc2_bias);
}

sv_tensor *sv_block_mlp(sv_tape *tape, const sv_block *block, const sv_block_form *form, sv_tensor *x)
{
    return sv_block_add(tape, form, 1, hidden_of(tape, block, form, x), block->fc2, block->fc2_bias, x);
}

sv_tensor *sv_block_record(sv_tape *tape, const sv_model *model, const sv_block *block, const sv_block_form *form, sv_tensor *x,
                           sv_tensor *policy)
{
    const sv_attention_form *attention = &model->attention;
    sv_tensor *h = sv_block_qkv(tape, block, form, x);
    if (policy && attention->plain)
        h = sv_tape_policy_attention(tape, h, policy, form->heads, attention->eps, attention->top_all, attention->clamp);
    else
        h = sv_tape_attention(tape, h, policy, form->heads, attention->clamp);
    x = sv_block_add(tape, form, 0, h, block->proj, block->proj_bias, x);
    return sv_block_mlp(tape, block, form, x);
}

uint64_t sv_block_macs(const sv_block_form *form, uint64_t tokens, uint64_t keys)
{
    const uint64_t d = form->width;
    return tokens * d * (4 * d + 2 * form->hidden) + 2 * tokens * keys * d;
}
