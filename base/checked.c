/* Sizes that come from files or are products of dimensions: every step says whether it still fits. */
#include "base/base.h"

#include <assert.h>

bool sv_add_size(size_t *out, size_t a, size_t b)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return true;
    *out = sum;
    return false;
}

bool sv_mul_size(size_t *out, size_t a, size_t b)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) return true;
    *out = product;
    return false;
}

/* 0 anywhere is 0, whatever the others are: the answer does not depend on the order of the three. */
bool sv_mul_size3(size_t *out, size_t a, size_t b, size_t c)
{
    if (a == 0 || b == 0 || c == 0) {
        *out = 0;
        return false;
    }
    size_t product;
    if (sv_mul_size(&product, a, b)) return true;
    return sv_mul_size(out, product, c);
}

bool sv_align_up(size_t *out, size_t value, size_t unit)
{
    assert(unit != 0 && "a unit to round up to");
    size_t over = value % unit;
    return sv_add_size(out, value, over ? unit - over : 0);
}
