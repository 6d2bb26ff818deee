/* The table of kernels: one pointer a slot, filled with the C forms first, then by each ISA in rising order with what it has.
 * For kernels/ itself and for the checks and bench, which walk sv_kernel_slots; everybody else calls kernels/kernels.h.
 * The layout of packed panels stands here too, because all forms share it:
 * a matrix B[k,n] is cut into panels of SV_PANEL columns, [ceil(n/SV_PANEL)][k][SV_PANEL], columns beyond n zero. */
#ifndef SIEVE_KERNELS_TABLE_H
#define SIEVE_KERNELS_TABLE_H

#include "kernels/kernels.h"

#define SV_PIECE                                                                                                                           \
    96 /* products summed in a row before the sum goes to the total: rounding grows with the piece, not with k (docs/decisions-kernels.md) */
#define SV_PANEL                                                                                                                           \
    48 /* 9 rows of three AVX-512 registers fill 27 accumulators: the fewest loads a multiply-add (docs/decisions-kernels.md) */
#define SV_PANEL_BF16 32 /* columns of a panel of pairs: two AMX tiles, two AVX-512 registers */
#define SV_DEPTH_BF16 32 /* the summed index is padded to it: the depth of an AMX tile */
#define SV_ROWS_BF16 32  /* most rows of a block: two AMX tiles */
#define SV_LANES 16      /* every sum along a row runs in this many lanes, in every form (kernels/real.h) */

/* Kernels whose operands are in parts of bf16. */
typedef struct sv_parts_forms {
    void (*pack_forward)(void *panels, const sv_real *w, size_t n, size_t k);
    void (*pack_backward)(void *panels, const sv_real *w, size_t n, size_t k);
    void (*product_rows)(const sv_product *product);
    void (*product_outer)(sv_real *c, size_t c_stride, const sv_real *a, size_t a_stride, const sv_real *b, const uint16_t *b_half,
                          size_t b_stride, size_t m, size_t n, size_t k, bool accumulate, void *scratch);
    void (*attention_forward)(const sv_attention *attention, size_t row_begin, size_t row_end);
    void (*attention_backward)(const sv_attention *attention, const sv_real *d_out, size_t d_out_stride, sv_real *d_qkv,
                               size_t d_qkv_stride, sv_real *policy_gradient, sv_real clamp, uint64_t *clamped);
} sv_parts_forms;

typedef struct sv_kernel_table {
    void (*pack_forward)(sv_real *panels, const sv_real *w, size_t n, size_t k);
    void (*pack_backward)(sv_real *panels, const sv_real *w, size_t n, size_t k);
    void (*product_rows)(const sv_product *product);
    void (*product_outer)(sv_real *c, size_t c_stride, const sv_real *a, size_t a_stride, const sv_real *b, size_t b_stride, size_t m,
                          size_t n, size_t k, bool accumulate);
    void (*product_plain)(sv_real *c, size_t c_stride, const sv_real *a, size_t a_stride, bool transpose_a, const sv_real *b,
                          size_t b_stride, bool transpose_b, size_t m, size_t n, size_t k, bool accumulate);
    void (*column_sums)(sv_real *sum, const sv_real *a, size_t a_stride, size_t m, size_t n, bool accumulate);
    void (*attention_forward)(const sv_attention *attention, size_t row_begin, size_t row_end);
    void (*attention_backward)(const sv_attention *attention, const sv_real *d_out, size_t d_out_stride, sv_real *d_qkv,
                               size_t d_qkv_stride, sv_real *policy_gradient, sv_real clamp, uint64_t *clamped);
    sv_parts_forms one, three; /* by number of parts; NULL, as three is without tiles: plain f32 is taken */
    void (*layer_norm)(sv_real *y, size_t y_stride, sv_real *stats, const sv_real *x, size_t x_stride, const sv_real *gain,
                       const sv_real *bias, size_t rows, size_t width, double eps);
    void (*layer_norm_backward)(sv_real *dx, size_t dx_stride, sv_real *d_gain, sv_real *d_bias, const sv_real *dy, size_t dy_stride,
                                const sv_real *x, size_t x_stride, const sv_real *stats, const sv_real *gain, size_t rows, size_t width,
                                bool accumulate_x, bool accumulate_parameters);
    void (*gelu)(sv_real *y, const sv_real *x, size_t count);
    void (*gelu_backward)(sv_real *dx, const sv_real *dy, const sv_real *x, size_t count, bool accumulate);
    void (*softmax)(sv_real *y, size_t y_stride, const sv_real *x, size_t x_stride, size_t rows, size_t width, bool log_form);
    void (*scale)(sv_real *y, const sv_real *x, sv_real a, size_t count, bool accumulate);
    void (*sigmoids)(sv_real *y, const sv_real *x, size_t count);
    void (*weighted_rows)(sv_real *y, const sv_real *x, size_t x_stride, const sv_real *weight, size_t rows, size_t width);
    sv_real (*dot)(const sv_real *x, const sv_real *y, size_t count);
    void (*adamw_step)(sv_real *p, sv_real *m, sv_real *v, const sv_real *g, size_t count, const sv_adamw *adamw);
    void (*sgd_step)(sv_real *p, sv_real *m, const sv_real *g, size_t count, const sv_sgd *sgd);
    void (*to_bf16)(uint16_t *out, const float *in, size_t count);
    void (*from_bf16)(float *out, const uint16_t *in, size_t count);
    void (*depthwise_forward)(const sv_depthwise *depthwise, size_t begin, size_t end);
    void (*depthwise_weights)(sv_real *d_weight, const sv_depthwise *depthwise, const sv_real *dy, bool accumulate);
    void (*turn_rows)(sv_real *out, size_t out_stride, const sv_real *const *rows, size_t count, size_t columns);
    void (*affine_rows)(sv_real *y, const sv_real *x, const sv_affine *affine, size_t rows, size_t width);
    void (*column_dots)(sv_real *sum, const sv_real *a, const sv_real *b, const sv_real *shift, size_t rows, size_t width, bool accumulate);
    void (*resize_across)(uint8_t *out, const uint8_t *in, const sv_resize_taps *axis);
    void (*resize_down)(uint8_t *out, const uint8_t *in, size_t stride, const int32_t *weights, size_t taps, size_t count);
    void (*blend_bytes)(uint8_t *near, const uint8_t *far, float factor, size_t count);
    void (*smooth_bytes)(uint8_t *out, const uint8_t *above, const uint8_t *here, const uint8_t *below, size_t count);
    void (*move_row)(uint8_t *out, const sv_move *move, size_t row);
    double (*peak_gflops)(double seconds);
    double (*peak_bf16_gflops)(double seconds);
} sv_kernel_table;

/* Name and place of each slot, for whoever walks the table. */
typedef struct sv_kernel_slot {
    const char *name;
    size_t offset;
} sv_kernel_slot;
extern const sv_kernel_slot sv_kernel_slots[];
extern const size_t sv_kernel_slot_count;

/* The forms sv_kernels_use(isa) would take. */
sv_kernel_table sv_kernel_table_for(sv_isa isa);

/* What is the same for all numbers of a step; for the forms. */
typedef struct sv_adamw_factors {
    sv_real gradient_scale, shrink, keep1, take1, keep2, take2, step, correct, eps;
} sv_adamw_factors;
sv_adamw_factors sv_adamw_prepare(const sv_adamw *adamw);
typedef struct sv_sgd_factors {
    sv_real gradient_scale, decay, momentum, step;
} sv_sgd_factors;
sv_sgd_factors sv_sgd_prepare(const sv_sgd *sgd);

/* Filled by the ISA folders: each overrides the slots it has. */
void sv_table_avx2(sv_kernel_table *table);
void sv_table_avx512(sv_kernel_table *table);
void sv_rows_avx2(sv_kernel_table *table);
void sv_channels_avx2(sv_kernel_table *table);
void sv_rows_avx512(sv_kernel_table *table);
void sv_channels_avx512(sv_kernel_table *table);
void sv_pixels_avx2(sv_kernel_table *table);
void sv_matrix_avx2(sv_kernel_table *table);
void sv_matrix_avx512(sv_kernel_table *table);
void sv_table_neon(sv_kernel_table *table);
void sv_rows_neon(sv_kernel_table *table);
void sv_channels_neon(sv_kernel_table *table);
void sv_matrix_neon(sv_kernel_table *table);
void sv_bf16_neon(sv_kernel_table *table);
void sv_bf16_avx2(sv_kernel_table *table);
void sv_bf16_avx512(sv_kernel_table *table);
void sv_bf16_avx512_bf16(sv_kernel_table *table);
void sv_bf16_amx(sv_kernel_table *table);
void sv_bf16x3_amx(sv_kernel_table *table);

/* The C forms, one file a family. */
void sv_resize_across_c(uint8_t *out, const uint8_t *in, const sv_resize_taps *axis);
void sv_resize_down_c(uint8_t *out, const uint8_t *in, size_t stride, const int32_t *weights, size_t taps, size_t count);
void sv_blend_bytes_c(uint8_t *near, const uint8_t *far, float factor, size_t count);
void sv_smooth_bytes_c(uint8_t *out, const uint8_t *above, const uint8_t *here, const uint8_t *below, size_t count);
void sv_move_row_c(uint8_t *out, const sv_move *move, size_t row);
void sv_move_pixel_c(uint8_t out[3], const sv_move *move, size_t column, size_t row); /* for the forms: what lies near an edge */
void sv_pack_forward_c(sv_real *panels, const sv_real *w, size_t n, size_t k);
void sv_pack_backward_c(sv_real *panels, const sv_real *w, size_t n, size_t k);
void sv_product_rows_c(const sv_product *product);
void sv_product_outer_c(sv_real *c, size_t c_stride, const sv_real *a, size_t a_stride, const sv_real *b, size_t b_stride, size_t m,
                        size_t n, size_t k, bool accumulate);
void sv_product_plain_c(sv_real *c, size_t c_stride, const sv_real *a, size_t a_stride, bool transpose_a, const sv_real *b, size_t b_stride,
                        bool transpose_b, size_t m, size_t n, size_t k, bool accumulate);
void sv_column_sums_c(sv_real *sum, const sv_real *a, size_t a_stride, size_t m, size_t n, bool accumulate);
void sv_attention_forward_c(const sv_attention *attention, size_t row_begin, size_t row_end);
void sv_attention_backward_c(const sv_attention *attention, const sv_real *d_out, size_t d_out_stride, sv_real *d_qkv, size_t d_qkv_stride,
                             sv_real *policy_gradient, sv_real clamp, uint64_t *clamped);
extern const sv_parts_forms sv_one_part_c;                             /* in the order of vectors */
extern const sv_parts_forms sv_one_part_tile_c, sv_three_parts_tile_c; /* in the order of AMX tiles, for the checks */
/* Attention in C, any order and number of parts (kernels/chain.h). */
struct sv_chain;
void sv_attention_forward_any_c(const sv_attention *attention, size_t row_begin, size_t row_end, struct sv_chain chain);
void sv_attention_backward_any_c(const sv_attention *attention, const sv_real *d_out, size_t d_out_stride, sv_real *d_qkv,
                                 size_t d_qkv_stride, sv_real *policy_gradient, sv_real clamp, uint64_t *clamped, struct sv_chain chain);
void sv_layer_norm_c(sv_real *y, size_t y_stride, sv_real *stats, const sv_real *x, size_t x_stride, const sv_real *gain,
                     const sv_real *bias, size_t rows, size_t width, double eps);
void sv_layer_norm_backward_c(sv_real *dx, size_t dx_stride, sv_real *d_gain, sv_real *d_bias, const sv_real *dy, size_t dy_stride,
                              const sv_real *x, size_t x_stride, const sv_real *stats, const sv_real *gain, size_t rows, size_t width,
                              bool accumulate_x, bool accumulate_parameters);
void sv_gelu_c(sv_real *y, const sv_real *x, size_t count);
void sv_gelu_backward_c(sv_real *dx, const sv_real *dy, const sv_real *x, size_t count, bool accumulate);
void sv_softmax_c(sv_real *y, size_t y_stride, const sv_real *x, size_t x_stride, size_t rows, size_t width, bool log_form);
void sv_scale_c(sv_real *y, const sv_real *x, sv_real a, size_t count, bool accumulate);
void sv_sigmoids_c(sv_real *y, const sv_real *x, size_t count);
void sv_weighted_rows_c(sv_real *y, const sv_real *x, size_t x_stride, const sv_real *weight, size_t rows, size_t width);
sv_real sv_dot_c(const sv_real *x, const sv_real *y, size_t count);
void sv_adamw_step_c(sv_real *p, sv_real *m, sv_real *v, const sv_real *g, size_t count, const sv_adamw *adamw);
void sv_sgd_step_c(sv_real *p, sv_real *m, const sv_real *g, size_t count, const sv_sgd *sgd);
void sv_depthwise_forward_c(const sv_depthwise *depthwise, size_t begin, size_t end);
void sv_depthwise_weights_c(sv_real *d_weight, const sv_depthwise *depthwise, const sv_real *dy, bool accumulate);
void sv_turn_rows_c(sv_real *out, size_t out_stride, const sv_real *const *rows, size_t count, size_t columns);
void sv_affine_rows_c(sv_real *y, const sv_real *x, const sv_affine *affine, size_t rows, size_t width);
void sv_column_dots_c(sv_real *sum, const sv_real *a, const sv_real *b, const sv_real *shift, size_t rows, size_t width, bool accumulate);
void sv_to_bf16_c(uint16_t *out, const float *in, size_t count);
void sv_from_bf16_c(float *out, const uint16_t *in, size_t count);
double sv_peak_gflops_c(double seconds);

#endif
