/* Checks of shapes, shared by the shape rules of all ops. */
#include "autograd/op_shape.h"

#include <string.h>

sv_status sv_want_image(const sv_tensor *tensor, const char *what, sv_dtype dtype, sv_error *err)
{
    if (tensor->extent != SV_PER_IMAGE)
        return sv_fail(err, SV_USAGE, "%s must be a tensor of each image, not a parameter or a number of the batch", what);
    if (tensor->dtype != dtype) return sv_fail(err, SV_USAGE, "%s must hold %s", what, dtype == SV_INDEX ? "indices" : "real numbers");
    return SV_OK;
}

sv_status sv_want_any(const sv_tensor *tensor, const char *what, sv_error *err)
{
    return sv_want_image(tensor, what, tensor->dtype == SV_INDEX ? SV_INDEX : SV_REAL, err);
}

sv_status sv_want_width(const sv_tensor *tensor, const char *what, sv_dtype dtype, size_t width, sv_error *err)
{
    sv_status status = sv_want_image(tensor, what, dtype, err);
    if (status) return status;
    if (tensor->width != width) return sv_fail(err, SV_USAGE, "%s must be %zu wide, but is %zu wide", what, width, tensor->width);
    return SV_OK;
}

sv_status sv_want_rows(const sv_tensor *tensor, const char *what, const sv_tensor *like, const char *like_what, sv_error *err)
{
    if (sv_rows_equal(tensor->rows, like->rows)) return SV_OK;
    return sv_fail(err, SV_USAGE, "%s must have the rows of %s in every image (at most %u against %u)", what, like_what, tensor->rows.most,
                   like->rows.most);
}

sv_status sv_want_fixed_rows(const sv_tensor *tensor, const char *what, size_t rows, sv_error *err)
{
    if (tensor->rows.source >= 0) return sv_fail(err, SV_USAGE, "%s must have the same number of rows in every image", what);
    if (rows && tensor->rows.most != rows)
        return sv_fail(err, SV_USAGE, "%s must have %zu rows, but has %u", what, rows, tensor->rows.most);
    return SV_OK;
}

sv_status sv_want_parameter(const sv_tensor *tensor, const char *what, uint32_t dims, const size_t *shape, sv_error *err)
{
    if (tensor->extent != SV_SHARED) return sv_fail(err, SV_USAGE, "%s must be a parameter", what);
    if (tensor->parameter->dims != dims)
        return sv_fail(err, SV_USAGE, "%s must have %u dimensions, but has %u", what, dims, tensor->parameter->dims);
    for (uint32_t d = 0; d < dims; d++)
        if (shape[d] && tensor->parameter->shape[d] != shape[d])
            return sv_fail(err, SV_USAGE, "dimension %u of %s must be %zu, but is %zu", d, what, shape[d], tensor->parameter->shape[d]);
    return SV_OK;
}

sv_status sv_want_batch(const sv_tensor *tensor, const char *what, size_t width, sv_error *err)
{
    if (tensor->extent != SV_PER_BATCH) return sv_fail(err, SV_USAGE, "%s must be numbers of the batch", what);
    if (width && tensor->width != width)
        return sv_fail(err, SV_USAGE, "%s must hold %zu numbers, but holds %zu", what, width, tensor->width);
    return SV_OK;
}

sv_status sv_want_constant(const sv_tensor *tensor, const char *what, sv_error *err)
{
    if (tensor->needs_gradient) return sv_fail(err, SV_USAGE, "%s must be constant, but something trainable stands behind it", what);
    return SV_OK;
}

void sv_make_image(sv_tensor *out, sv_rows rows, size_t width)
{
    out->extent = SV_PER_IMAGE;
    out->rows = out->live = rows;
    out->width = width;
}

void sv_make_batch(sv_tensor *out, size_t width)
{
    out->extent = SV_PER_BATCH;
    out->rows = out->live = sv_rows_fixed(1);
    out->width = width;
}

size_t sv_span_numbers(const sv_span *span) { return span->parameter ? span->parameter->count : span->live * span->width; }

void sv_begin_gradient(const sv_span *span)
{
    if (span->gradient && !span->accumulate) memset(span->gradient, 0, sv_span_numbers(span) * sizeof *span->gradient);
}

void sv_give_half(const sv_span *span, size_t i, const sv_real *numbers, size_t count)
{
#ifdef SIEVE_F64
    for (size_t k = 0; k < count; k++) sv_to_bf16(span->halves + i + k, (float[]){ (float)numbers[k] }, 1);
#else
    sv_to_bf16(span->halves + i, numbers, count);
#endif
}

sv_parts sv_parts_of(sv_precision precision)
{
    static const sv_parts parts[SV_PRECISION_COUNT] = { [SV_PRECISION_BF16] = SV_ONE_PART, [SV_PRECISION_BF16X3] = SV_THREE_PARTS };
    return parts[precision];
}

void sv_take_panels(const sv_call *call, sv_product *product, const sv_parameter *weight, bool backward)
{
    const sv_precision precision = call->node->precision;
    product->panels = backward ? weight->backward[precision].panels : weight->forward[precision].panels;
    product->parts = sv_parts_of(call->node->precision);
    product->ahead = call->ahead;
    product->ahead_bytes = call->ahead_bytes;
}

void sv_weight_gradient(const sv_call *call, const sv_span *weight, const sv_real *dy, const void *x, bool x_half, size_t rows, size_t n, size_t k,
                        bool accumulate, void *room)
{
    const sv_parts parts = sv_parts_of(call->node->precision);
    if (parts) sv_product_outer_parts(weight->gradient, k, dy, n, x_half ? NULL : x, x_half ? x : NULL, k, rows, n, k, accumulate, parts, room);
    else sv_product_outer(weight->gradient, k, dy, n, x, k, rows, n, k, accumulate);
}

size_t sv_outer_room(const sv_node *node, size_t rows, size_t k) { return (sv_product_outer_parts_scratch(rows, k, sv_parts_of(node->precision)) + 63) / 64 * 64; }
