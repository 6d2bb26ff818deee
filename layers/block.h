/* Parts that several families are made of: pairs of weight and bias, and the transformer's block x += attention(norm1 x); x += mlp(norm2 x). */
#ifndef SIEVE_LAYERS_BLOCK_H
#define SIEVE_LAYERS_BLOCK_H

#include "autograd/ops.h"
#include "layers/layers.h"

/* ---- pairs --------------------------------------------------------------------------------------------------------- */

/* Declares NAME.weight of this shape and NAME.bias [shape[0]]; bias NULL: there is none. */
sv_status sv_pair_declare(sv_model *model, const char *name, sv_parameter **weight, sv_parameter **bias, uint32_t dims, const size_t *shape,
                          sv_error *err) SV_MUST_CHECK;
sv_status sv_linear_declare(sv_model *model, const char *name, sv_parameter **weight, sv_parameter **bias, size_t out, size_t in,
                            sv_error *err) SV_MUST_CHECK;
sv_status sv_norm_declare(sv_model *model, const char *name, sv_parameter **gain, sv_parameter **bias, size_t width,
                          sv_error *err) SV_MUST_CHECK;
sv_tensor *sv_linear_of(sv_tape *tape, sv_tensor *x, sv_parameter *weight, sv_parameter *bias);
sv_tensor *sv_norm_of(sv_tape *tape, sv_tensor *x, sv_parameter *gain, sv_parameter *bias, double eps);

/* From scratch: what a family's rule says of one parameter. Uniform: +- 1 / sqrt(fan in), fan in of its weight (torch's own, spec backbones 1.8). */
typedef enum sv_start { SV_START_ZERO, SV_START_ONE, SV_START_NORMAL, SV_START_UNIFORM, SV_START_CONSTANT } sv_start;
typedef struct sv_start_rule {
    sv_start kind;
    double size; /* deviation, bound or the constant itself */
} sv_start_rule;
/* Fills parameter number `index`; draws are a function of (seed, index). */
void sv_start_parameter(sv_model *model, size_t index, uint64_t seed, sv_start_rule rule);
/* What most families do: norms 1 and 0, other vectors 0, all else normal. */
sv_start_rule sv_start_usual(const sv_parameter *parameter, double spread);
/* The bound of a uniform start: of a weight by its own fan in, of NAME.bias by that of NAME.weight. */
sv_start_rule sv_start_torch(const sv_model *model, const sv_parameter *parameter);
bool sv_name_ends(const char *name, const char *end);

/* ---- the block ----------------------------------------------------------------------------------------------------- */

typedef struct sv_block {
    sv_parameter *norm1_gain, *norm1_bias, *qkv, *qkv_bias, *proj, *proj_bias, *norm2_gain, *norm2_bias, *fc1, *fc1_bias, *fc2, *fc2_bias;
} sv_block;

typedef struct sv_block_form {
    size_t index; /* of the block in the model: tells random draws apart */
    size_t width, hidden, heads;
    double eps, dropout;
    double drop_share;   /* of drop path in this block */
    double branch_scale; /* each branch times this; 0: 1 */
    bool bare_qkv;       /* qkv has no bias */
} sv_block_form;

/* PREFIX.norm1 ... PREFIX.mlp.fc2, timm's names. */
sv_status sv_block_declare(sv_model *model, sv_block *block, const char *prefix, const sv_block_form *form, sv_error *err) SV_MUST_CHECK;
/* qkv of norm1 x. */
sv_tensor *sv_block_qkv(sv_tape *tape, const sv_block *block, const sv_block_form *form, sv_tensor *x);
/* x + branch; which: 0 attention, 1 MLP. The branch is h weight + bias, dropped for whole pictures now and then where drop path is on. */
sv_tensor *sv_block_add(sv_tape *tape, const sv_block_form *form, size_t which, sv_tensor *h, sv_parameter *weight, sv_parameter *bias,
                        sv_tensor *x);
/* The same of a branch h that is there: x + h. */
sv_tensor *sv_block_join(sv_tape *tape, const sv_block_form *form, size_t which, sv_tensor *h, sv_tensor *x);
/* mlp(norm2 x), of any rows. */
sv_tensor *sv_block_branch(sv_tape *tape, const sv_block *block, const sv_block_form *form, sv_tensor *x);
/* x + mlp(norm2 x). */
sv_tensor *sv_block_mlp(sv_tape *tape, const sv_block *block, const sv_block_form *form, sv_tensor *x);
/* The whole block; policy as in sv_tape_attention, NULL: ordinary. */
sv_tensor *sv_block_record(sv_tape *tape, const sv_model *model, const sv_block *block, const sv_block_form *form, sv_tensor *x,
                           sv_tensor *policy);
uint64_t sv_block_macs(const sv_block_form *form, uint64_t tokens, uint64_t keys);

#endif
