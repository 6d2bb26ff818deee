/* Kernels: loops over numbers. No shapes beyond the arguments, no graphs, no allocation, no failure, no threads: whoever calls
 * shares out the rows. Every function here has one readable C form (in sv_real) and, in the float build, forms per ISA chosen
 * once at start; all give results that do not depend on how rows are shared out: a row's value is the same sum in the same
 * order whatever the block of rows it is computed in.
 * Letters: m, n, k as in Y[m,n] = X[m,k] W[n,k]^T. A stride counts numbers from one row to the next. Nothing is read or
 * written beyond the stated sizes except where packed panels say so. Alignment: none needed, 64 bytes is fastest. */
#ifndef SIEVE_KERNELS_KERNELS_H
#define SIEVE_KERNELS_KERNELS_H

#include "base/base.h"

/* Fills the table of kernels for sv_isa_now(). Called by programs and checks once at start; without it the C forms run. */
void sv_kernels_init(void);
/* For the checks and bench: takes the forms of exactly `isa` (or lower where it has none). Not while kernels run. */
void sv_kernels_use(sv_isa isa);

/* ---- products ---------------------------------------------------------------------------------------------------- */

/* A weight W[n,k] (out, in) is packed for the two products of a linear layer; repack when it changes.
 * _forward: for Y = X W^T;  _backward: for dX = dY W. Bytes include padding of the last panel with zeros. */
size_t sv_pack_forward_bytes(size_t n, size_t k);
size_t sv_pack_backward_bytes(size_t n, size_t k);
void sv_pack_forward(sv_real *panels, const sv_real *w, size_t n, size_t k);
void sv_pack_backward(sv_real *panels, const sv_real *w, size_t n, size_t k);

/* Operands of a product in parts of bf16, sums in f32 (order: kernels/chain.h). One part: the number rounded to nearest even. Three parts
 * add up to the number exactly, and six of their nine products make a product as exact as f32's own (Henry, Tang, Heinecke 2019):
 * quicker than f32 where tiles multiply bf16 (AMX); elsewhere three parts mean plain f32. */
typedef enum sv_parts { SV_WHOLE = 0, SV_ONE_PART = 1, SV_THREE_PARTS = 3 } sv_parts;

/* The same for products in parts. */
size_t sv_pack_forward_parts_bytes(size_t n, size_t k, sv_parts parts);
size_t sv_pack_backward_parts_bytes(size_t n, size_t k, sv_parts parts);
void sv_pack_forward_parts(void *panels, const sv_real *w, size_t n, size_t k, sv_parts parts);
void sv_pack_backward_parts(void *panels, const sv_real *w, size_t n, size_t k, sv_parts parts);

/* What happens to a tile of Y when its sum is complete. */
typedef enum sv_epilogue {
    SV_STORE, /* y = sum + bias */
    SV_ADD,   /* y = sum + bias + addend, or (sum + bias) gain + addend where there is a gain; addend may be y itself */
    SV_GELU   /* before = sum + bias (where before is not NULL), y = gelu(sum + bias) */
} sv_epilogue;

typedef struct sv_product {
    size_t m, n, k;
    const sv_real *x;
    size_t x_stride;        /* [m,k] */
    const uint16_t *x_half; /* one part alone: bf16 rows instead of x, as they come out of sv_to_bf16; else NULL */
    const void *panels;     /* of sv_pack_forward(n, k); or of sv_pack_backward(n=k here, k=n here) */
    sv_parts parts;         /* panels are of sv_pack_*_parts; x is taken apart on its way in */
    const sv_real *bias;    /* [n] or NULL */
    sv_epilogue epilogue;
    const sv_real *addend;
    size_t addend_stride; /* [m,n], SV_ADD */
    const sv_real *gain;  /* [n], SV_ADD, or NULL: none; product and sum are rounded apart */
    sv_real *before;
    size_t before_stride; /* [m,n], SV_GELU, may be NULL */
    sv_real *y;
    size_t y_stride;  /* [m,n] */
    uint16_t *y_half; /* one part alone: rounded rows instead of y, for a product that would round them; else NULL */
    const void *ahead;
    size_t ahead_bytes; /* what is read next, another weight's panels say: fetched into L2 meanwhile. NULL: nothing */
} sv_product;
/* Y = X W^T (+ ...) over packed panels. The sum runs in rising k, one fused multiply-add a step, in pieces of 96 that are added in order;
 * then bias and addend are added. */
void sv_product_rows(const sv_product *product);

/* Weight gradient: C[n,k] (+)= A[m,n]^T B[m,k], a sum over rows in rising order. accumulate: adds to C, else overwrites
 * (m = 0 then writes zeros). */
void sv_product_outer(sv_real *c, size_t c_stride, const sv_real *a, size_t a_stride, const sv_real *b, size_t b_stride, size_t m, size_t n,
                      size_t k, bool accumulate);
/* The same with A and B in parts; b_half: with one part B's rows in bf16, instead of b, or NULL. scratch: sv_product_outer_parts_scratch
 * bytes of this thread alone. */
void sv_product_outer_parts(sv_real *c, size_t c_stride, const sv_real *a, size_t a_stride, const sv_real *b, const uint16_t *b_half,
                            size_t b_stride, size_t m, size_t n, size_t k, bool accumulate, sv_parts parts, void *scratch);
size_t sv_product_outer_parts_scratch(size_t m, size_t k, sv_parts parts);
/* Bias gradient: sum[n] (+)= column sums of a[m,n]. */
void sv_column_sums(sv_real *sum, const sv_real *a, size_t a_stride, size_t m, size_t n, bool accumulate);

/* Plain small product C[m,n] (+)= op(A) op(B), any transposition, row strides; readable, for what is not hot. */
void sv_product_plain(sv_real *c, size_t c_stride, const sv_real *a, size_t a_stride, bool transpose_a, const sv_real *b, size_t b_stride,
                      bool transpose_b, size_t m, size_t n, size_t k, bool accumulate);

/* ---- attention of one image -------------------------------------------------------------------------------------- */

/* Rows 0..rows-1 hold q|k|v, each heads x width numbers: qkv[row*qkv_stride + part*heads*width + head*width + c].
 * Visible keys: 0..live-1 for every query; a query row >= live sees itself too (spec of SPViT: dropped tokens come last, see the
 * kept ones and themselves, and nobody sees them). live == rows: ordinary softmax attention. scale = width^-1/2.
 * Never more than one head's scores of a few rows exist at a time in forward; one head's rows x rows in backward (scratch). */
typedef struct sv_attention {
    size_t rows, live, heads, width;
    const sv_real *qkv;
    size_t qkv_stride;
    sv_real *out;
    size_t out_stride;  /* [rows, heads*width]; forward writes it, backward reads it */
    sv_real *log_sum;   /* [heads, rows]: max + log(sum exp) of each query; NULL: not wanted. backward reads it */
    sv_real *top;       /* [heads, rows]: the max over visible keys; with log_sum */
    void *scratch;      /* sv_attention_*_scratch bytes, of this thread alone */
    sv_parts parts;     /* of the operands of products; sums, exponents and their sum are f32 */
    uint16_t *out_half; /* one part, forward alone: rounded rows instead of out; else NULL */
    /* Added to the scores: a_ij = scale q_i.k_j + bias[h][i][j] (+ mask[i][j]), live == rows. bias [heads, rows, bias_stride], NULL: none;
     * mask [rows, bias_stride], with a bias, NULL: none. d_bias, backward: gets the gradient of the bias added to it, NULL: not wanted. */
    const sv_real *bias, *mask;
    sv_real *d_bias;
    size_t bias_stride;
    const sv_real *sizes; /* [live]: key j counts as so many, above 0 (exp(a_ij) sizes_j in place of exp(a_ij)); NULL: each as one */
} sv_attention;
size_t sv_attention_forward_scratch(size_t rows, size_t width);
size_t sv_attention_backward_scratch(size_t rows, size_t width);
/* Query rows row_begin..row_end-1 alone are computed and written. */
void sv_attention_forward(const sv_attention *attention, size_t row_begin, size_t row_end);
/* From d_out [live rows, heads*width] (gradient of dead rows is zero and not read): d_qkv rows 0..live-1 are overwritten (dead
 * rows are not touched). Where policy_gradient [rows] is not NULL, adds for each key j the sum over heads and over live queries
 * i != j of exp(min(a_ij - top_i, clamp)) / Z_i * (g_i.v_j - sum_l p_il g_i.v_l) (spec SPViT 3.1, exact savings 2), also for dead j;
 * *clamped (may be NULL) counts exponents cut. */
void sv_attention_backward(const sv_attention *attention, const sv_real *d_out, size_t d_out_stride, sv_real *d_qkv, size_t d_qkv_stride,
                           sv_real *policy_gradient, sv_real clamp, uint64_t *clamped);

/* ---- rows of numbers --------------------------------------------------------------------------------------------- */

/* y = gain * (x - mean) / sqrt(variance + eps) + bias (Ba et al. 2016). stats [2*rows]: mean, 1/deviation of each row; may be NULL. */
void sv_layer_norm(sv_real *y, size_t y_stride, sv_real *stats, const sv_real *x, size_t x_stride, const sv_real *gain, const sv_real *bias,
                   size_t rows, size_t width, double eps);
/* dx (+)= ...; d_gain, d_bias (+)= (both or neither NULL). accumulate_x / accumulate_parameters say which are added to. */
void sv_layer_norm_backward(sv_real *dx, size_t dx_stride, sv_real *d_gain, sv_real *d_bias, const sv_real *dy, size_t dy_stride,
                            const sv_real *x, size_t x_stride, const sv_real *stats, const sv_real *gain, size_t rows, size_t width,
                            bool accumulate_x, bool accumulate_parameters);
/* Exact-erf GELU: y = x Phi(x). count numbers in a row. */
void sv_gelu(sv_real *y, const sv_real *x, size_t count);
/* dx (+)= dy * gelu'(x); dx may be dy where accumulate is false. */
void sv_gelu_backward(sv_real *dx, const sv_real *dy, const sv_real *x, size_t count, bool accumulate);
/* Each row: softmax, or x - max - log(sum exp) with log_form; y may be x. A row of -inf alone becomes zeros. */
void sv_softmax(sv_real *y, size_t y_stride, const sv_real *x, size_t x_stride, size_t rows, size_t width, bool log_form);
/* y = a*x + (accumulate ? y : 0). */
void sv_scale(sv_real *y, const sv_real *x, sv_real a, size_t count, bool accumulate);
/* y[c] = sum over rows in rising order of weight[r] x[r * x_stride + c], one fused multiply-add a step; weight NULL: 1. */
void sv_weighted_rows(sv_real *y, const sv_real *x, size_t x_stride, const sv_real *weight, size_t rows, size_t width);
/* sum over i of x[i]*y[i], in 16 lanes by position, lanes added in order, in every form. */
sv_real sv_dot(const sv_real *x, const sv_real *y, size_t count);
/* exp, natural logarithm, erf of one number, the same polynomials in every form and build on every machine (double build: to double precision). */
sv_real sv_exp(sv_real x);
sv_real sv_ln(sv_real x);
sv_real sv_erf(sv_real x);
sv_real sv_sigmoid(sv_real x);
/* y = sv_sigmoid(x), number by number; y may be x. */
void sv_sigmoids(sv_real *y, const sv_real *x, size_t count);

/* One AdamW step (Loshchilov & Hutter, decoupled; spec training 2) over count numbers; t counts from 1:
 * p -= p*lr*decay; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; p -= lr * (m / (1-b1^t)) / (sqrt(v)/sqrt(1-b2^t) + eps). */
typedef struct sv_adamw {
    double lr, decay, beta1, beta2, eps;
    uint64_t t;
    double gradient_scale;
} sv_adamw;
void sv_adamw_step(sv_real *p, sv_real *m, sv_real *v, const sv_real *g, size_t count, const sv_adamw *adamw);

/* One step of SGD with momentum as torch.optim.SGD makes it: g += decay p; m = momentum m + g; p -= lr m, with nesterov
 * p -= lr (g + momentum m). m begins as zeros, so that the first step finds m = g. */
typedef struct sv_sgd {
    double lr, decay, momentum;
    double gradient_scale;
    bool nesterov;
} sv_sgd;
void sv_sgd_step(sv_real *p, sv_real *m, const sv_real *g, size_t count, const sv_sgd *sgd);

/* ---- rows of channels -------------------------------------------------------------------------------------------- */

/* y = x factor (+ shift) (+ addend), each step rounded by itself: the bits of one pass a step. y may be x or addend. */
typedef struct sv_affine {
    const sv_real *factor; /* [width] */
    const sv_real *shift;  /* [width], or NULL: none */
    const sv_real *addend; /* [rows, width], or NULL: none */
} sv_affine;
void sv_affine_rows(sv_real *y, const sv_real *x, const sv_affine *affine, size_t rows, size_t width);
/* sum[c] (+)= sum over rows in rising order of a[r][c] (b[r][c] - shift[c]); shift NULL: 0. */
void sv_column_dots(sv_real *sum, const sv_real *a, const sv_real *b, const sv_real *shift, size_t rows, size_t width, bool accumulate);

/* ---- convolution, each channel alone ----------------------------------------------------------------------------- */

/* Rows are the places of a picture in raster order, a column a channel. Place (r, c) of y sees x at (r stride + i - padding,
 * c stride + j - padding), i and j below side; what lies outside counts as nothing. */
typedef struct sv_depthwise {
    size_t height, width; /* places of x */
    size_t down, across;  /* places of y */
    size_t channels, side, stride;
    ptrdiff_t padding;     /* below 0: y begins inside */
    const sv_real *x;      /* [height * width, channels] */
    const sv_real *weight; /* [side * side, channels] */
    const sv_real *bias;   /* [channels], or NULL: none */
    bool accumulate;       /* sums begin from y, not from the bias */
    sv_real *y;            /* [down * across, channels] */
} sv_depthwise;
/* Places begin..end-1 of y: sums over taps in raster order, one fused multiply-add a step. */
void sv_depthwise_forward(const sv_depthwise *depthwise, size_t begin, size_t end);
/* d_weight [side * side, channels] (+)= sum over places in raster order of dy times what each tap sees. y, weight, bias are not read. */
void sv_depthwise_weights(sv_real *d_weight, const sv_depthwise *depthwise, const sv_real *dy, bool accumulate);
/* out[c * out_stride + r] = rows[r][c], 0 where rows[r] is NULL: `count` rows of `columns` numbers become columns. */
void sv_turn_rows(sv_real *out, size_t out_stride, const sv_real *const *rows, size_t count, size_t columns);

/* ---- conversion -------------------------------------------------------------------------------------------------- */

/* bfloat16 bits, round to nearest even, NaN kept a NaN. */
void sv_to_bf16(uint16_t *out, const float *in, size_t count);
void sv_from_bf16(float *out, const uint16_t *in, size_t count);

/* ---- rows of 8-bit pixels ---------------------------------------------------------------------------------------- */

/* Pillow's resize, one pass (spec training 8): out = clamp((2^21 + sum_k in[low + k] weight[k]) >> 22), a pixel at a time across, a byte at a
 * time down. Sums must fit 32 bits. Across, a weight is high * 4096 + low with low in 0..4095, taps in fours: [high 0..3, low 0..3], those beyond
 * an output's taps zero. */
enum { SV_TAP_UNIT = 4096 };
typedef struct sv_resize_taps {
    size_t width, count, fours;         /* pixels of the row `in`; outputs; groups of four taps of an output */
    const size_t *lows;                 /* [count] */
    const int16_t *halves;              /* [count, fours, 8] */
} sv_resize_taps;
void sv_resize_across(uint8_t *out, const uint8_t *in, const sv_resize_taps *axis);
void sv_resize_down(uint8_t *out, const uint8_t *in, size_t stride, const int32_t *weights, size_t taps, size_t count);
/* near = far + factor (near - far), truncated and clamped; float32, two roundings (spec training 7.3). */
void sv_blend_bytes(uint8_t *near, const uint8_t *far, float factor, size_t count);
/* Bytes 3 .. count-4 of a row of pixels smoothed by (1,1,1; 1,5,1; 1,1,1) / 13 with the rows above and below (spec training 7.3). */
void sv_smooth_bytes(uint8_t *out, const uint8_t *above, const uint8_t *here, const uint8_t *below, size_t count);
/* Row `row` of the picture moved by xin = a x + b y + c, yin = d x + e y + f (of pixel centres), sampled by cubic convolution (a = -1) or
 * linearly, `fill` where it comes from outside (spec training 7.4). */
typedef struct sv_move { const uint8_t *rgb; size_t width, height; double a, b, c, d, e, f; bool linear; uint8_t fill[3]; } sv_move;
void sv_move_row(uint8_t *out, const sv_move *move, size_t row);

/* ---- the yardstick ----------------------------------------------------------------------------------------------- */

/* Multiply-adds in registers alone for about `seconds`, on the calling thread: returns GFLOP/s (2 a multiply-add) of the current
 * forms' widest unit. The peak that shares in bench are shares of. */
double sv_peak_gflops(double seconds);
double sv_peak_bf16_gflops(double seconds); /* of products in bf16, as the forms do them */

#endif
