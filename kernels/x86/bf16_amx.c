/* Products in bf16 with AMX. */
#include "kernels/table.h"

#include "kernels/x86/words_avx512.h" /* first: what the rest is written in */

#include "kernels/wide/functions.h"

#include "kernels/wide/pairs.h"

#include "kernels/x86/pairs_amx.h"

#include "kernels/wide/product_bf16.h"

#include "kernels/wide/head.h"

#include "kernels/wide/attention_bf16.h"

void sv_bf16_amx(sv_kernel_table *table)
{
    table->pack_forward_bf16 = pack_forward_bf16;
    table->pack_backward_bf16 = pack_backward_bf16;
    table->product_rows_bf16 = product_rows_bf16;
    table->product_outer_bf16 = product_outer_bf16;
    table->attention_forward_bf16 = attention_forward_bf16;
    table->attention_backward_bf16 = attention_backward_bf16;
    table->peak_bf16_gflops = peak_bf16_gflops;
}
