/* The table of kernels and the functions of kernels.h that call through it. Filled once at start: C first, then each ISA in
 * rising order overrides what it has, up to what the machine offers. */
#include "kernels/table.h"

static const sv_kernel_table c_forms = {
    .pack_forward = sv_pack_forward_c,
    .pack_backward = sv_pack_backward_c,
    .product_rows = sv_product_rows_c,
    .product_outer = sv_product_outer_c,
    .product_plain = sv_product_plain_c,
    .column_sums = sv_column_sums_c,
    .attention_forward = sv_attention_forward_c,
    .attention_backward = sv_attention_backward_c,
    .layer_norm = sv_layer_norm_c,
    .layer_norm_backward = sv_layer_norm_backward_c,
    .gelu = sv_gelu_c,
    .gelu_backward = sv_gelu_backward_c,
    .softmax = sv_softmax_c,
    .scale = sv_scale_c,
    .sigmoids = sv_sigmoids_c,
    .weighted_rows = sv_weighted_rows_c,
    .dot = sv_dot_c,
    .adamw_step = sv_adamw_step_c,
    .sgd_step = sv_sgd_step_c,
    .to_bf16 = sv_to_bf16_c,
    .from_bf16 = sv_from_bf16_c,
    .depthwise_forward = sv_depthwise_forward_c,
    .depthwise_weights = sv_depthwise_weights_c,
    .turn_rows = sv_turn_rows_c,
    .affine_rows = sv_affine_rows_c,
    .column_dots = sv_column_dots_c,
    .resize_across = sv_resize_across_c,
    .resize_down = sv_resize_down_c,
    .blend_bytes = sv_blend_bytes_c,
    .smooth_bytes = sv_smooth_bytes_c,
    .move_row = sv_move_row_c,
    .peak_gflops = sv_peak_gflops_c,
    .peak_bf16_gflops = sv_peak_gflops_c,
};

static sv_kernel_table chosen;
static const sv_kernel_table *now = &c_forms;

/* clang-format off */
#define SLOT(member) {#member, offsetof(sv_kernel_table, member)}
/* clang-format on */
const sv_kernel_slot sv_kernel_slots[] = {
    SLOT(pack_forward),
    SLOT(pack_backward),
    SLOT(product_rows),
    SLOT(product_outer),
    SLOT(product_plain),
    SLOT(column_sums),
    SLOT(attention_forward),
    SLOT(attention_backward),
    SLOT(one.pack_forward),
    SLOT(one.pack_backward),
    SLOT(one.product_rows),
    SLOT(one.product_outer),
    SLOT(one.attention_forward),
    SLOT(one.attention_backward),
    SLOT(three.pack_forward),
    SLOT(three.pack_backward),
    SLOT(three.product_rows),
    SLOT(three.product_outer),
    SLOT(three.attention_forward),
    SLOT(three.attention_backward),
    SLOT(layer_norm),
    SLOT(layer_norm_backward),
    SLOT(gelu),
    SLOT(gelu_backward),
    SLOT(softmax),
    SLOT(scale),
    SLOT(sigmoids),
    SLOT(weighted_rows),
    SLOT(dot),
    SLOT(adamw_step),
    SLOT(sgd_step),
    SLOT(to_bf16),
    SLOT(from_bf16),
    SLOT(depthwise_forward),
    SLOT(depthwise_weights),
    SLOT(turn_rows),
    SLOT(affine_rows),
    SLOT(column_dots),
    SLOT(resize_across),
    SLOT(resize_down),
    SLOT(blend_bytes),
    SLOT(smooth_bytes),
    SLOT(move_row),
    SLOT(peak_gflops),
    SLOT(peak_bf16_gflops),
};
const size_t sv_kernel_slot_count = SV_COUNT(sv_kernel_slots);
_Static_assert(SV_COUNT(sv_kernel_slots) * sizeof(void (*)(void)) == sizeof(sv_kernel_table), "each slot has its row");

sv_kernel_table sv_kernel_table_for(sv_isa isa)
{
    sv_kernel_table table = c_forms;
    table.one = sv_one_part_c;
#ifdef SIEVE_X86
    const sv_isa most = sv_isa_now();
    if (isa == SV_ISA_NEON) isa = SV_ISA_C;
    if (isa > most) isa = most;
    if (isa >= SV_ISA_AVX2) sv_table_avx2(&table);
    if (isa >= SV_ISA_AVX512) sv_table_avx512(&table);
    if (isa >= SV_ISA_AVX512_BF16) sv_bf16_avx512_bf16(&table);
    if (isa >= SV_ISA_AMX) sv_bf16_amx(&table);
    if (isa >= SV_ISA_AMX) sv_bf16x3_amx(&table);
#elif defined(SIEVE_ARM)
    if (isa == SV_ISA_NEON) sv_table_neon(&table);
#else
    (void)isa;
#endif
    return table;
}

void sv_kernels_use(sv_isa isa)
{
    chosen = sv_kernel_table_for(isa);
    now = &chosen;
}

void sv_kernels_init(void) { sv_kernels_use(sv_isa_now()); }

void sv_pack_forward(sv_real *panels, const sv_real *w, size_t n, size_t k) { now->pack_forward(panels, w, n, k); }
void sv_pack_backward(sv_real *panels, const sv_real *w, size_t n, size_t k) { now->pack_backward(panels, w, n, k); }
/* The forms for operands in parts; NULL: plain f32 is taken. */
static const sv_parts_forms *forms_of(sv_parts parts)
{
    if (parts == SV_ONE_PART) return now == &c_forms ? &sv_one_part_c : &now->one;
    return parts == SV_THREE_PARTS && now->three.product_rows ? &now->three : NULL;
}

void sv_pack_forward_parts(void *panels, const sv_real *w, size_t n, size_t k, sv_parts parts)
{
    const sv_parts_forms *forms = forms_of(parts);
    if (forms)
        forms->pack_forward(panels, w, n, k);
    else
        now->pack_forward(panels, w, n, k);
}

void sv_pack_backward_parts(void *panels, const sv_real *w, size_t n, size_t k, sv_parts parts)
{
    const sv_parts_forms *forms = forms_of(parts);
    if (forms)
        forms->pack_backward(panels, w, n, k);
    else
        now->pack_backward(panels, w, n, k);
}

void sv_product_rows(const sv_product *product)
{
    const sv_parts_forms *forms = forms_of(product->parts);
    (forms ? forms->product_rows : now->product_rows)(product);
}

void sv_product_outer_parts(sv_real *c, size_t c_stride, const sv_real *a, size_t a_stride, const sv_real *b, const uint16_t *b_half,
                            size_t b_stride, size_t m, size_t n, size_t k, bool accumulate, sv_parts parts, void *scratch)
{
    const sv_parts_forms *forms = forms_of(parts);
    if (forms)
        forms->product_outer(c, c_stride, a, a_stride, b, b_half, b_stride, m, n, k, accumulate, scratch);
    else
        now->product_outer(c, c_stride, a, a_stride, b, b_stride, m, n, k, accumulate);
}

void sv_product_outer(sv_real *c, size_t c_stride, const sv_real *a, size_t a_stride, const sv_real *b, size_t b_stride, size_t m, size_t n,
                      size_t k, bool accumulate)
{
    now->product_outer(c, c_stride, a, a_stride, b, b_stride, m, n, k, accumulate);
}

void sv_product_plain(sv_real *c, size_t c_stride, const sv_real *a, size_t a_stride, bool transpose_a, const sv_real *b, size_t b_stride,
                      bool transpose_b, size_t m, size_t n, size_t k, bool accumulate)
{
    now->product_plain(c, c_stride, a, a_stride, transpose_a, b, b_stride, transpose_b, m, n, k, accumulate);
}

void sv_column_sums(sv_real *sum, const sv_real *a, size_t a_stride, size_t m, size_t n, bool accumulate)
{
    now->column_sums(sum, a, a_stride, m, n, accumulate);
}

void sv_attention_forward(const sv_attention *attention, size_t row_begin, size_t row_end)
{
    const sv_parts_forms *forms = forms_of(attention->parts);
    (forms && forms->attention_forward ? forms->attention_forward : now->attention_forward)(attention, row_begin, row_end);
}

void sv_attention_backward(const sv_attention *attention, const sv_real *d_out, size_t d_out_stride, sv_real *d_qkv, size_t d_qkv_stride,
                           sv_real *policy_gradient, sv_real clamp, uint64_t *clamped)
{
    const sv_parts_forms *forms = forms_of(attention->parts);
    (forms && forms->attention_backward ? forms->attention_backward : now->attention_backward)(
        attention, d_out, d_out_stride, d_qkv, d_qkv_stride, policy_gradient, clamp, clamped);
}

void sv_layer_norm(sv_real *y, size_t y_stride, sv_real *stats, const sv_real *x, size_t x_stride, const sv_real *gain, const sv_real *bias,
                   size_t rows, size_t width, double eps)
{
    now->layer_norm(y, y_stride, stats, x, x_stride, gain, bias, rows, width, eps);
}

void sv_layer_norm_backward(sv_real *dx, size_t dx_stride, sv_real *d_gain, sv_real *d_bias, const sv_real *dy, size_t dy_stride,
                            const sv_real *x, size_t x_stride, const sv_real *stats, const sv_real *gain, size_t rows, size_t width,
                            bool accumulate_x, bool accumulate_parameters)
{
    now->layer_norm_backward(dx, dx_stride, d_gain, d_bias, dy, dy_stride, x, x_stride, stats, gain, rows, width, accumulate_x,
                             accumulate_parameters);
}

void sv_gelu(sv_real *y, const sv_real *x, size_t count) { now->gelu(y, x, count); }
void sv_gelu_backward(sv_real *dx, const sv_real *dy, const sv_real *x, size_t count, bool accumulate)
{
    now->gelu_backward(dx, dy, x, count, accumulate);
}

void sv_softmax(sv_real *y, size_t y_stride, const sv_real *x, size_t x_stride, size_t rows, size_t width, bool log_form)
{
    now->softmax(y, y_stride, x, x_stride, rows, width, log_form);
}

void sv_scale(sv_real *y, const sv_real *x, sv_real a, size_t count, bool accumulate) { now->scale(y, x, a, count, accumulate); }
void sv_sigmoids(sv_real *y, const sv_real *x, size_t count) { now->sigmoids(y, x, count); }
void sv_weighted_rows(sv_real *y, const sv_real *x, size_t x_stride, const sv_real *weight, size_t rows, size_t width)
{
    now->weighted_rows(y, x, x_stride, weight, rows, width);
}
sv_real sv_dot(const sv_real *x, const sv_real *y, size_t count) { return now->dot(x, y, count); }
void sv_adamw_step(sv_real *p, sv_real *m, sv_real *v, const sv_real *g, size_t count, const sv_adamw *adamw)
{
    now->adamw_step(p, m, v, g, count, adamw);
}
void sv_sgd_step(sv_real *p, sv_real *m, const sv_real *g, size_t count, const sv_sgd *sgd) { now->sgd_step(p, m, g, count, sgd); }

void sv_to_bf16(uint16_t *out, const float *in, size_t count) { now->to_bf16(out, in, count); }
void sv_from_bf16(float *out, const uint16_t *in, size_t count) { now->from_bf16(out, in, count); }
void sv_depthwise_forward(const sv_depthwise *depthwise, size_t begin, size_t end) { now->depthwise_forward(depthwise, begin, end); }
void sv_depthwise_weights(sv_real *d_weight, const sv_depthwise *depthwise, const sv_real *dy, bool accumulate)
{
    now->depthwise_weights(d_weight, depthwise, dy, accumulate);
}
void sv_turn_rows(sv_real *out, size_t out_stride, const sv_real *const *rows, size_t count, size_t columns)
{
    now->turn_rows(out, out_stride, rows, count, columns);
}
void sv_affine_rows(sv_real *y, const sv_real *x, const sv_affine *affine, size_t rows, size_t width)
{
    now->affine_rows(y, x, affine, rows, width);
}
void sv_column_dots(sv_real *sum, const sv_real *a, const sv_real *b, const sv_real *shift, size_t rows, size_t width, bool accumulate)
{
    now->column_dots(sum, a, b, shift, rows, width, accumulate);
}
void sv_resize_across(uint8_t *out, const uint8_t *in, const sv_resize_taps *axis) { now->resize_across(out, in, axis); }
void sv_resize_down(uint8_t *out, const uint8_t *in, size_t stride, const int32_t *weights, size_t taps, size_t count)
{
    now->resize_down(out, in, stride, weights, taps, count);
}
void sv_blend_bytes(uint8_t *near, const uint8_t *far, float factor, size_t count) { now->blend_bytes(near, far, factor, count); }
void sv_smooth_bytes(uint8_t *out, const uint8_t *above, const uint8_t *here, const uint8_t *below, size_t count)
{
    now->smooth_bytes(out, above, here, below, count);
}
void sv_move_row(uint8_t *out, const sv_move *move, size_t row) { now->move_row(out, move, row); }
double sv_peak_gflops(double seconds) { return now->peak_gflops(seconds); }
double sv_peak_bf16_gflops(double seconds) { return now->peak_bf16_gflops(seconds); }
