/* A file of any bytes that claims to be a .pth, zip or legacy: the properties of tests/fuzz/fuzz_weights.h hold. */
#include "tests/fuzz/fuzz_weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= 4 << 20) fuzz_weights(data, size);
    return 0;
}
