/* Rows of channels and depth-wise convolution with AVX2. */
#include "kernels/table.h"

#include "kernels/x86/words_avx2.h" /* first: what the rest is written in */

#include "kernels/wide/functions.h"

#include "kernels/wide/channels.h"

#include "kernels/wide/depthwise.h"

void sv_channels_avx2(sv_kernel_table *table)
{
    table->depthwise_forward = depthwise_forward;
    table->depthwise_weights = depthwise_weights;
    table->turn_rows = turn_rows;
    table->affine_rows = affine_rows;
    table->column_dots = column_dots;
}
