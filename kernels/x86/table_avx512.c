/* What AVX512 offers. */
#include "kernels/table.h"

void sv_table_avx512(sv_kernel_table *table) {
    (void)table;
}
