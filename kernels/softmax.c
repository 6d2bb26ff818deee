/* Softmax of rows, C form: exp(x - max) / sum, or x - max - log(sum). The sum runs in lanes. */
#include "kernels/real.h"

static void softmax_row(sv_real *y, const sv_real *x, size_t width, bool log_form)
{
    sv_real top = -INFINITY, lanes[SV_LANES] = { 0 };
    for (size_t i = 0; i < width; i++) top = x[i] > top ? x[i] : top;
    bool all_low = top == -INFINITY; /* so it is for a row of NaN too, which must stay NaN */
    for (size_t i = 0; i < width; i++) all_low = all_low && x[i] == -INFINITY;
    if (all_low) {
        memset(y, 0, width * sizeof *y);
        return;
    }
    for (size_t i = 0; i < width; i++) {
        const sv_real weight = sv_exp(x[i] - top);
        lanes[i % SV_LANES] += weight;
        y[i] = log_form ? x[i] - top : weight;
    }
    const sv_real total = lanes_total(lanes), factor = 1 / total, log_total = log_form ? sv_ln(total) : 0;
    for (size_t i = 0; i < width; i++) y[i] = log_form ? y[i] - log_total : y[i] * factor;
}

void sv_softmax_c(sv_real *y, size_t y_stride, const sv_real *x, size_t x_stride, size_t rows, size_t width, bool log_form)
{
    for (size_t row = 0; row < rows; row++) softmax_row(y + row * y_stride, x + row * x_stride, width, log_form);
}
