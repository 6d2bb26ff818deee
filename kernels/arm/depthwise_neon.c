/* Depth-wise convolution and turning of rows with NEON. */
#include "kernels/table.h"

#include "kernels/arm/words_neon.h" /* first: what the rest is written in */

#include "kernels/wide/functions.h"

#include "kernels/wide/depthwise.h"

void sv_depthwise_neon(sv_kernel_table *table)
{
    table->depthwise_forward = depthwise_forward;
    table->depthwise_weights = depthwise_weights;
    table->turn_rows = turn_rows;
}
