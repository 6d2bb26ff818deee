/* Products of f32 numbers in three parts of bf16, with AMX. */
#include "kernels/table.h"

#include "kernels/x86/words_avx512.h" /* first: what the rest is written in */

#include "kernels/wide/functions.h"

enum { PARTS = 3 };

#include "kernels/wide/pairs.h"

#include "kernels/x86/pairs_amx.h"

#include "kernels/wide/ahead.h"

#include "kernels/wide/product_parts.h"

void sv_bf16x3_amx(sv_kernel_table *table)
{
    /* attention stays in f32: with six products for one, and everything taken apart, it came out slower */
    table->three = (sv_parts_forms){ pack_forward_parts, pack_backward_parts, product_rows_parts, product_outer_parts, NULL, NULL };
}
