/* For op files alone: checks that shape rules are made of, and the words samples and backward passes are written in. `what` is the
 * role of the tensor in messages ("weight"). Each check returns SV_USAGE with what was expected; the tape adds op and tensor names. */
#ifndef SIEVE_AUTOGRAD_OP_SHAPE_H
#define SIEVE_AUTOGRAD_OP_SHAPE_H

#include "autograd/op.h"
#include "kernels/kernels.h"
#include "autograd/ops.h"

/* Per image, of this dtype. */
sv_status sv_want_image(const sv_tensor *tensor, const char *what, sv_dtype dtype, sv_error *err) SV_MUST_CHECK;
/* Per image, real numbers or indices: for ops that move rows as they are. */
sv_status sv_want_any(const sv_tensor *tensor, const char *what, sv_error *err) SV_MUST_CHECK;
/* Per image, of this dtype and width. */
sv_status sv_want_width(const sv_tensor *tensor, const char *what, sv_dtype dtype, size_t width, sv_error *err) SV_MUST_CHECK;
/* As many rows as `like` in every image. */
sv_status sv_want_rows(const sv_tensor *tensor, const char *what, const sv_tensor *like, const char *like_what,
                       sv_error *err) SV_MUST_CHECK;
/* The same number of rows in every image; 0: any such number. */
sv_status sv_want_fixed_rows(const sv_tensor *tensor, const char *what, size_t rows, sv_error *err) SV_MUST_CHECK;
/* A parameter of `dims` dimensions; a 0 in shape: any length. */
sv_status sv_want_parameter(const sv_tensor *tensor, const char *what, uint32_t dims, const size_t *shape, sv_error *err) SV_MUST_CHECK;
/* Per batch, of this width (0: any). */
sv_status sv_want_batch(const sv_tensor *tensor, const char *what, size_t width, sv_error *err) SV_MUST_CHECK;
/* Nothing trainable behind it: the op gives it no gradient. */
sv_status sv_want_constant(const sv_tensor *tensor, const char *what, sv_error *err) SV_MUST_CHECK;

/* The output: per image, all rows live. */
void sv_make_image(sv_tensor *out, sv_rows rows, size_t width);
void sv_make_batch(sv_tensor *out, size_t width);

/* Gradients are overwritten or added to, as the span says. */
static inline void sv_give(const sv_span *span, size_t i, sv_real value)
{
    span->gradient[i] = span->accumulate ? span->gradient[i] + value : value;
}
/* Rounds numbers into a half span, from place i on. */
void sv_give_half(const sv_span *span, size_t i, const sv_real *numbers, size_t count);
/* Before ops that add in several steps: zeros in live rows, unless the span is to be added to. */
void sv_begin_gradient(const sv_span *span);
size_t sv_span_numbers(const sv_span *span); /* live rows times width; of a parameter all of it */

/* Products of layers in the precision of the call's tape. The panels of a weight, as the product wants them: */
sv_parts sv_parts_of(sv_precision precision);
void sv_take_panels(const sv_call *call, sv_product *product, const sv_parameter *weight, bool backward);
/* weight gradient (+)= dy^T x over `rows` rows; x_half: x is bf16. room: sv_outer_room bytes of this thread. */
void sv_weight_gradient(const sv_call *call, const sv_span *weight, const sv_real *dy, const void *x, bool x_half, size_t rows, size_t n, size_t k,
                        bool accumulate, void *room);
size_t sv_outer_room(const sv_node *node, size_t rows, size_t k);

/* Words of samples: an input is one of five kinds, filled with one of these. */
/* clang-format off */
#define IMAGE(f, r, w) { .kind = SV_SAMPLE_IMAGE, .fill = (f), .rows = (r), .width = (w) }
#define CONSTANT(f, r, w) { .kind = SV_SAMPLE_CONSTANT, .fill = (f), .rows = (r), .width = (w) }
#define WEIGHT(f, r, w) { .kind = SV_SAMPLE_PARAMETER, .fill = (f), .rows = (r), .width = (w) }
#define NUMBERS(f, w) { .kind = SV_SAMPLE_BATCH, .fill = (f), .rows = 1, .width = (w) }
#define ABSENT { .fill = SV_FILL_NONE }
/* clang-format on */
#define NORMAL SV_FILL_NORMAL
#define LARGE SV_FILL_LARGE
#define UNIT SV_FILL_UNIT
#define ZERO SV_FILL_ZERO
#define ONE SV_FILL_ONE
#define BINARY SV_FILL_BINARY
#define SOFTMAX SV_FILL_SOFTMAX
#define PREFIX SV_FILL_PREFIX
#define INDEX SV_FILL_INDEX
#define COUNT_UP SV_FILL_COUNT_UP
#define ORIGIN SV_FILL_ORIGIN
#define INDEX_ZERO SV_FILL_INDEX_ZERO
#define SV_SAMPLES_OF(array) .samples = (array), .sample_count = SV_COUNT(array)

#endif
