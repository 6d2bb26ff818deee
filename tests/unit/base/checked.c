/* base/checked.c against arithmetic in 128 bits, on drawn sizes that lie near powers of two, where overflow begins. */
#include "tests/unit/base/test_base.h"

typedef unsigned __int128 wide;
enum { CASES = 200000 };

static size_t draw_size(sv_random *random)
{
    unsigned bits = (unsigned)sv_random_below(random, 65);
    size_t power = bits == 64 ? 0 : (size_t)1 << bits;
    return power + (size_t)sv_random_below(random, 7) - 3;
}

static void add_agrees_with_wide_arithmetic(void **state)
{
    (void)state;
    sv_random random = sv_random_at(1, SV_FOR_TEST, 0, 0, 0);
    for (int i = 0; i < CASES; i++) {
        size_t a = draw_size(&random), b = draw_size(&random), out = 77;
        wide sum = (wide)a + b;
        assert_int_equal(sv_add_size(&out, a, b), sum > SIZE_MAX);
        assert_int_equal(out, sum > SIZE_MAX ? 77 : (size_t)sum);
    }
}

static void mul_agrees_with_wide_arithmetic(void **state)
{
    (void)state;
    sv_random random = sv_random_at(2, SV_FOR_TEST, 0, 0, 0);
    for (int i = 0; i < CASES; i++) {
        size_t a = draw_size(&random), b = draw_size(&random), out = 77;
        wide product = (wide)a * b;
        assert_int_equal(sv_mul_size(&out, a, b), product > SIZE_MAX);
        assert_int_equal(out, product > SIZE_MAX ? 77 : (size_t)product);
    }
}

static void mul3_does_not_depend_on_the_order(void **state)
{
    (void)state;
    sv_random random = sv_random_at(3, SV_FOR_TEST, 0, 0, 0);
    for (int i = 0; i < CASES; i++) {
        size_t a = draw_size(&random), b = draw_size(&random), c = draw_size(&random), x = 77, y = 77;
        bool first = sv_mul_size3(&x, a, b, c), second = sv_mul_size3(&y, c, a, b);
        assert_int_equal(first, second);
        assert_int_equal(x, y);
        bool zero = !a || !b || !c;
        wide product = zero || (wide)a * b > SIZE_MAX ? 0 : (wide)a * b * c;
        bool fits = zero || ((wide)a * b <= SIZE_MAX && (wide)a * b <= SIZE_MAX / c);
        assert_int_equal(first, !fits);
        assert_int_equal(x, fits ? (size_t)product : 77);
    }
}

static void align_up_rounds_or_refuses(void **state)
{
    (void)state;
    sv_random random = sv_random_at(4, SV_FOR_TEST, 0, 0, 0);
    for (int i = 0; i < CASES; i++) {
        size_t value = draw_size(&random), unit = draw_size(&random), out = 77;
        if (unit == 0) unit = 1;
        wide rounded = ((wide)value + unit - 1) / unit * unit;
        assert_int_equal(sv_align_up(&out, value, unit), rounded > SIZE_MAX);
        assert_int_equal(out, rounded > SIZE_MAX ? 77 : (size_t)rounded);
    }
}

static void the_edges_are_exact(void **state)
{
    (void)state;
    size_t out = 5;
    assert_false(sv_add_size(&out, SIZE_MAX, 0));
    assert_int_equal(out, SIZE_MAX);
    assert_true(sv_add_size(&out, SIZE_MAX, 1));
    assert_false(sv_mul_size(&out, SIZE_MAX, 1));
    assert_true(sv_mul_size(&out, SIZE_MAX / 2 + 1, 2));
    assert_false(sv_mul_size3(&out, SIZE_MAX, SIZE_MAX, 0));
    assert_int_equal(out, 0);
    assert_false(sv_align_up(&out, 0, 64));
    assert_int_equal(out, 0);
    assert_true(sv_align_up(&out, SIZE_MAX, 64));
    assert_int_equal(out, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(add_agrees_with_wide_arithmetic),
        cmocka_unit_test(mul_agrees_with_wide_arithmetic),
        cmocka_unit_test(mul3_does_not_depend_on_the_order),
        cmocka_unit_test(align_up_rounds_or_refuses),
        cmocka_unit_test(the_edges_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
