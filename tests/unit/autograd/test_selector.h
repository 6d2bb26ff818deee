/* For tests: a selector recorded as models record it (spec SPViT 2.2-2.4). Rows of u are patches and package tokens. */
#ifndef SIEVE_TEST_SELECTOR_H
#define SIEVE_TEST_SELECTOR_H

#include "test_ops.h"

typedef struct layer {
    sv_parameter *weight, *bias;
} layer;

typedef struct selector {
    layer norm, fc_in, fc1, fc2, fc_out, head_fc1, head_fc2;
} selector;

/* in 0: a norm. */
static inline layer layer_of(sv_parameters *set, const char *name, int stage, size_t out, size_t in)
{
    layer l = { NULL, NULL };
    sv_text weight = { 0 }, bias = { 0 };
    sv_text_add(&weight, "%d.%s.weight", stage, name);
    sv_text_add(&bias, "%d.%s.bias", stage, name);
    assert_int_equal(sv_parameters_add(set, &l.weight, weight.data, in ? 2 : 1, (size_t[]){ out, in }, NULL), SV_OK);
    assert_int_equal(sv_parameters_add(set, &l.bias, bias.data, 1, (size_t[]){ out }, NULL), SV_OK);
    sv_text_clear(&weight);
    sv_text_clear(&bias);
    return l;
}

static inline selector selector_of(sv_parameters *set, int stage, size_t heads, size_t d)
{
    return (selector){ .norm = layer_of(set, "norm", stage, d, 0),
                       .fc_in = layer_of(set, "fc_in", stage, d, d),
                       .fc1 = layer_of(set, "fc1", stage, d / 2, d),
                       .fc2 = layer_of(set, "fc2", stage, d / 4, d / 2),
                       .fc_out = layer_of(set, "fc_out", stage, 2, d / 4),
                       .head_fc1 = layer_of(set, "head_fc1", stage, heads / 2, heads),
                       .head_fc2 = layer_of(set, "head_fc2", stage, heads, heads / 2) };
}

#define OF(layer) sv_tape_parameter(t, s->layer.weight), sv_tape_parameter(t, s->layer.bias)

/* The logit of keep a [R,1], and *score. */
static inline sv_tensor *selector_record(sv_tape *t, const selector *s, sv_tensor *u, sv_tensor *before, size_t heads, size_t d,
                                         sv_tensor **score)
{
    sv_tensor *v = sv_tape_linear_gelu(t, sv_tape_norm_heads(t, u, OF(norm), 1e-5, heads), OF(fc_in));
    sv_tensor *global = sv_tape_floored_mean(t, v, d / 2, before, heads, 0);
    sv_tensor *x = sv_tape_linear_gelu(t, sv_tape_local_global(t, v, global), OF(fc1));
    sv_tensor *z = sv_tape_linear(t, sv_tape_linear_gelu(t, x, OF(fc2)), OF(fc_out));
    sv_tensor *w = sv_tape_linear_gelu(t, sv_tape_head_mean(t, u, heads), OF(head_fc1));
    return sv_tape_combine_heads(t, z, sv_tape_sigmoid(t, sv_tape_linear(t, w, OF(head_fc2))), score);
}

#endif
