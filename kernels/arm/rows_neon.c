/* Element-wise and row kernels with NEON. */
#include "kernels/table.h"

#include "kernels/arm/words_neon.h" /* first: what the rest is written in */

#include "kernels/wide/functions.h"

#include "kernels/wide/rows.h"

void sv_rows_neon(sv_kernel_table *table)
{
    table->layer_norm = layer_norm;
    table->layer_norm_backward = layer_norm_backward;
    table->gelu = gelu;
    table->gelu_backward = gelu_backward;
    table->softmax = softmax;
    table->scale = scale;
    table->sigmoids = sigmoids;
    table->weighted_rows = weighted_rows;
    table->dot = dot;
    table->adamw_step = adamw_step;
    table->sgd_step = sgd_step;
    table->column_sums = column_sums;
    table->to_bf16 = to_bf16;
    table->from_bf16 = from_bf16;
    table->peak_gflops = peak_gflops;
}
