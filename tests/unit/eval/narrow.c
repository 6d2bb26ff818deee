/* eval/narrow.c, eval/weights_export.c, formats/weights_scaled.c: floats in 16 bits, to nearest with ties to even, and back without loss; rows
 * in int8 with a scale, exact when written again; files of either kind give the same model back. */
#include "tests/unit/base/test_base.h"

#include "eval/weights_export.h"
#include "formats/weights.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdlib.h>

static void assert_half(double value, unsigned expected)
{
    const unsigned got = sv_narrow_half(SV_ONNX_FLOAT16, (float)value);
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
    assert_true(isnan(sv_narrow_from_half(SV_ONNX_FLOAT16, sv_narrow_half(SV_ONNX_FLOAT16, NAN))));
}

static void every_half_comes_back(void **state)
{
    static const sv_onnx_type kinds[] = { SV_ONNX_FLOAT16, SV_ONNX_BFLOAT16 };
    (void)state;
    for (size_t k = 0; k < SV_COUNT(kinds); k++)
        for (unsigned bits = 0; bits < 65536; bits++) {
            const float value = sv_narrow_from_half(kinds[k], (uint16_t)bits);
            if (isnan(value)) continue;
            const unsigned back = sv_narrow_half(kinds[k], value);
            if (back != bits) fail_msg("kind %d: %04x is %.9g and comes back as %04x", (int)kinds[k], bits, (double)value, back);
        }
}

/* ---- int8 ---------------------------------------------------------------------------------------------------------- */

enum { ROWS = 2000, WIDTH = 37 };

static void rows_of_int8_are_near_and_rounding_twice_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < ROWS; seed++) {
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 3, 0, 0);
        const double size = exp(40 * (2 * sv_random_uniform(&random) - 1));
        sv_real row[WIDTH], again[WIDTH];
        double most = 0;
        for (size_t i = 0; i < WIDTH; i++) row[i] = (sv_real)(size * sv_random_normal(&random)), most = fmax(most, fabs((double)row[i]));
        const float scale = sv_int8_scale(row, WIDTH);
        int largest = 0;
        for (size_t i = 0; i < WIDTH; i++) {
            const int q = sv_int8_of(row[i], scale);
            again[i] = (sv_real)((float)q * scale);
            largest = abs(q) > largest ? abs(q) : largest;
            assert_true((double)q * (double)scale == (double)again[i]); /* exact: no runtime can round it otherwise */
            assert_true(fabs((double)again[i] - (double)row[i]) <= 0.5001 * (double)scale);
        }
        assert_int_equal(largest, 127);
        assert_true((double)scale <= most / 127 * (1 + 0x1p-15));
        assert_true(sv_int8_scale(again, WIDTH) == scale);
        for (size_t i = 0; i < WIDTH; i++) assert_true((sv_real)((float)sv_int8_of(again[i], scale) * scale) == again[i]);
    }
}

static void rows_of_nothing_stay_nothing(void **state)
{
    const sv_real zero[3] = { 0 }, tiny[3] = { (sv_real)1e-37, (sv_real)-1e-37, 0 };
    (void)state;
    assert_true(sv_int8_scale(zero, 3) == 1);
    assert_int_equal(sv_int8_of(zero[0], 1), 0);
    assert_true(sv_int8_scale(tiny, 3) == 1);
    assert_int_equal(sv_int8_of(tiny[1], 1), 0);
}

/* ---- files --------------------------------------------------------------------------------------------------------- */

static sv_deployed drawn(const char *backbone)
{
    sv_deployed d = { 0 };
    sv_error err = { 0 };
    sv_pruning_options none = { .mask_clamp = 30, .tau = 1 };
    assert_ok(sv_model_create(&d.model, backbone, NULL, &err), err);
    assert_ok(sv_pruning_create(&d.pruning, d.model, &none, &err), err);
    assert_ok(sv_model_allocate(d.model, false, &err), err);
    sv_model_initialise(d.model, 5);
    return d;
}

static void files_of_each_kind_give_the_rounded_model_back(void **state)
{
    static const char *const backbones[] = { "vit_test", "pit_test", "swin_test", "convnext_test", "lvvit_test" };
    static const sv_onnx_type kinds[] = { SV_ONNX_FLOAT, SV_ONNX_FLOAT16, SV_ONNX_BFLOAT16, SV_ONNX_INT8 };
    sv_error err = { 0 };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(backbones) * SV_COUNT(kinds); i++) {
        sv_deployed d = drawn(backbones[i / SV_COUNT(kinds)]), back = { 0 };
        const sv_weights_export_options options = { .weights = kinds[i % SV_COUNT(kinds)], .licence = "Apache-2.0" };
        size_t tensors = 0;
        assert_ok(sv_weights_export(&d, in_folder("m.safetensors"), &options, &tensors, &err), err);
        assert_ok(sv_deployed_load(&back, in_folder("m.safetensors"), &err), err);
        assert_memory_equal(back.model->parameters->values, d.model->parameters->values, d.model->parameters->total * sizeof(sv_real));
        if (options.weights == SV_ONNX_FLOAT)
            assert_int_equal(tensors, d.model->parameters->count);
        else if (options.weights == SV_ONNX_INT8)
            assert_true(tensors > d.model->parameters->count);
        sv_deployed_clear(&back);
        sv_deployed_clear(&d);
    }
}

static void cards_say_what_is_stored_and_under_which_licence(void **state)
{
    static const char *const lines[] = { "model: vit_test, ",       "\nwork: ",    "\npruning: none\n", "\nweights: int8 ",
                                         "\nlicence: Apache-2.0\n", "\nlatency: ", "\ntool: Sieve " };
    sv_deployed d = drawn("vit_test");
    const sv_weights_export_options options = { .weights = SV_ONNX_INT8, .licence = "Apache-2.0" };
    sv_weights *file = NULL;
    sv_error err = { 0 };
    size_t tensors = 0;
    (void)state;
    assert_ok(sv_weights_export(&d, in_folder("card.safetensors"), &options, &tensors, &err), err);
    assert_ok(sv_weights_open(&file, in_folder("card.safetensors"), &err), err);
    const char *card = sv_weights_metadata(file, "sieve.card");
    assert_non_null(card);
    for (size_t i = 0; i < SV_COUNT(lines); i++)
        if (!strstr(card, lines[i])) fail_msg("no '%s' in:\n%s", lines[i], card);
    sv_weights_close(file);
    sv_deployed_clear(&d);
}

/* ---- what int8 files may not be ------------------------------------------------------------------------------------ */

static void refuse(const char *dtype, size_t scales, float scale, const char *part)
{
    static const int8_t bytes[5 * 32 * 4];
    static float factors[32 * 4];
    sv_weights_writer *writer = NULL;
    sv_weights *file = NULL;
    sv_error err = { 0 };
    sv_real out[5 * 32];
    for (size_t i = 0; i < SV_COUNT(factors); i++) factors[i] = scale;
    assert_ok(sv_weights_writer_create(&writer, &err), err);
    assert_ok(sv_weights_writer_add(writer, "head.weight", "int8", 2, (size_t[]){ 5, 32 }, bytes, &err), err);
    assert_ok(sv_weights_writer_add(writer, "head.weight_scale", dtype, 1, &scales, factors, &err), err);
    assert_ok(sv_weights_write_safetensors(writer, in_folder("bad.safetensors"), SV_WITHOUT_CRC, &err), err);
    assert_ok(sv_weights_open(&file, in_folder("bad.safetensors"), &err), err);
    const sv_weights_entry *entry = sv_weights_find(file, "head.weight");
    if (part) {
        assert_non_null(sv_weights_scale_of(file, entry));
        assert_int_equal(sv_weights_read_scaled(file, entry, out, &err), SV_MODEL_FILE);
        assert_non_null(strstr(err.text, part));
    } else {
        assert_null(sv_weights_scale_of(file, entry));
    }
    sv_weights_close(file);
    sv_weights_writer_destroy(writer);
}

static void scales_must_be_floats_one_a_row_and_finite(void **state)
{
    (void)state;
    refuse("float32", 5, NAN, "not finite");
    refuse("float32", 5, INFINITY, "not finite");
    refuse("float32", 4, 1, NULL);
    refuse("float32", 32, 1, NULL);
    refuse("float16", 5, 1, NULL);
}

static int set_up(void **state)
{
    sv_kernels_init();
    return make_folder(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_round_to_the_nearest_even_half),
        cmocka_unit_test(every_half_comes_back),
        cmocka_unit_test(rows_of_int8_are_near_and_rounding_twice_changes_nothing),
        cmocka_unit_test(rows_of_nothing_stay_nothing),
        cmocka_unit_test(files_of_each_kind_give_the_rounded_model_back),
        cmocka_unit_test(cards_say_what_is_stored_and_under_which_licence),
        cmocka_unit_test(scales_must_be_floats_one_a_row_and_finite),
    };
    return cmocka_run_group_tests(tests, set_up, remove_folder);
}
