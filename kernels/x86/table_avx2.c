/* What AVX2 offers. */
#include "kernels/table.h"

void sv_table_avx2(sv_kernel_table *table)
{
    sv_rows_avx2(table);
    sv_channels_avx2(table);
    sv_pixels_avx2(table);
    sv_bf16_avx2(table);
    sv_matrix_avx2(table);
}
