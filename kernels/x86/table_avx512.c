/* What AVX-512 offers. */
#include "kernels/table.h"

void sv_table_avx512(sv_kernel_table *table)
{
    sv_rows_avx512(table);
    sv_channels_avx512(table);
    sv_bf16_avx512(table);
    sv_matrix_avx512(table);
}
