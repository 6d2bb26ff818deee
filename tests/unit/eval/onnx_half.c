/* eval/onnx_half.c: floats in 16 bits, to nearest with ties to even, and back without loss. */
#include "tests/unit/base/test_base.h"

#include "eval/onnx_inside.h"
#include "kernels/kernels.h"

#include <math.h>

static void assert_half(double value, unsigned expected)
{
    const unsigned got = sv_onnx_to_half(SV_ONNX_FLOAT16, (float)value);
    if (got != expected) fail_msg("%.12g becomes %04x, expected %04x", value, got, expected);
}

static void floats_round_to_the_nearest_even_half(void **state)
{
    (void)state;
    assert_half(0, 0);
    assert_half(-0.0, 0x8000);
    assert_half(1, 0x3C00);
    assert_half(1 + 0x1p-11, 0x3C00);           /* halfway, to the even one below */
    assert_half(1 + 0x1.8p-10, 0x3C02);         /* halfway, to the even one above */
    assert_half(1 + 0x1p-11 + 0x1p-20, 0x3C01); /* a little more than halfway */
    assert_half(-(2 - 0x1p-12), 0xC000);        /* carries into the exponent */
    assert_half(65504, 0x7BFF);
    assert_half(65519, 0x7BFF);
    assert_half(65520, 0x7C00);
    assert_half(1e30, 0x7C00);
    assert_half(0x1p-14, 0x0400);           /* the least normal one */
    assert_half(0x1p-14 - 0x1p-26, 0x0400); /* rounds up to it */
    assert_half(0x1p-24, 0x0001);
    assert_half(0x1p-25, 0x0000); /* halfway to nothing */
    assert_half(0x1.8p-24, 0x0002);
    assert_half(1e-30, 0x0000);
    assert_true(isnan(sv_onnx_from_half(SV_ONNX_FLOAT16, sv_onnx_to_half(SV_ONNX_FLOAT16, NAN))));
}

static void every_half_comes_back(void **state)
{
    static const sv_onnx_type kinds[] = { SV_ONNX_FLOAT16, SV_ONNX_BFLOAT16 };
    (void)state;
    for (size_t k = 0; k < SV_COUNT(kinds); k++)
        for (unsigned bits = 0; bits < 65536; bits++) {
            const float value = sv_onnx_from_half(kinds[k], (uint16_t)bits);
            if (isnan(value)) continue;
            const unsigned back = sv_onnx_to_half(kinds[k], value);
            if (back != bits) fail_msg("kind %d: %04x is %.9g and comes back as %04x", (int)kinds[k], bits, (double)value, back);
        }
}

static int set_up(void **state)
{
    (void)state;
    sv_kernels_init();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_round_to_the_nearest_even_half),
        cmocka_unit_test(every_half_comes_back),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
