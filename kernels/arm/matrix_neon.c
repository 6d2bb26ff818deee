/* Products and attention with NEON. */
#include "kernels/table.h"

#include "kernels/arm/words_neon.h" /* first: what the rest is written in */

#include "kernels/wide/functions.h"

#include "kernels/wide/tile.h"

#include "kernels/wide/ahead.h"

#include "kernels/wide/product.h"

#include "kernels/wide/head.h"

#include "kernels/wide/attention.h"

void sv_matrix_neon(sv_kernel_table *table)
{
    table->pack_forward = pack_forward;
    table->pack_backward = pack_backward;
    table->product_rows = product_rows;
    table->product_outer = product_outer;
    table->product_plain = product_plain;
    table->attention_forward = attention_forward;
    table->attention_backward = attention_backward;
}
