/* Products in bf16 with AVX-512. */
#include "kernels/table.h"

#include "kernels/x86/words_avx512.h" /* first: what the rest is written in */

#include "kernels/wide/functions.h"

enum { PARTS = 1 };

#include "kernels/wide/pairs.h"

#include "kernels/wide/pairs_tile.h"

#include "kernels/wide/pairs_peak.h"

#include "kernels/wide/ahead.h"

#include "kernels/wide/product_parts.h"

#include "kernels/wide/head.h"

#include "kernels/wide/attention_parts.h"

void sv_bf16_avx512(sv_kernel_table *table)
{
    table->one = (sv_parts_forms){ pack_forward_parts,  pack_backward_parts,     product_rows_parts,
                                   product_outer_parts, attention_forward_parts, attention_backward_parts };
    table->peak_bf16_gflops = peak_bf16_gflops;
}
