/* What NEON offers. */
#include "kernels/table.h"

void sv_table_neon(sv_kernel_table *table)
{
    sv_rows_neon(table);
    sv_channels_neon(table);
    sv_matrix_neon(table);
    sv_bf16_neon(table);
}
