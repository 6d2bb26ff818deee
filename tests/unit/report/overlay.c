/* report/overlay.c: each stage shows exactly the patches that stay, and no size is promised that cannot be drawn. */
#include "tests/unit/report/test_report.h"

enum { GAP = 8, LEAST = 168, MOST = 1 << 14 };

/* A picture whose pixels are all different from one another and from white. */
static uint8_t *make_picture(size_t width, size_t height)
{
    uint8_t *rgb = NULL;
    sv_error err = { 0 };
    assert_ok(sv_alloc(&rgb, width * height * 3, "test", &err), err);
    for (size_t i = 0; i < width * height * 3; i++) rgb[i] = (uint8_t)(i * 73 % 251);
    return rgb;
}

static uint8_t *draw(const sv_overlay *overlay, size_t *width, size_t *height)
{
    enum { GUARD = 64 };
    uint8_t *rgb = NULL;
    sv_error err = { 0 };
    assert_ok(sv_overlay_size(overlay, width, height, &err), err);
    size_t bytes = *width * *height * 3;
    assert_ok(sv_alloc(&rgb, bytes + GUARD, "test", &err), err);
    memset(rgb, 0x5a, bytes + GUARD);
    sv_overlay_draw(overlay, rgb);
    for (size_t i = 0; i < GUARD; i++) assert_int_equal(rgb[bytes + i], 0x5a);
    return rgb;
}

static void the_size_is_a_panel_for_the_picture_and_for_each_stage(void **state)
{
    (void)state;
    static const struct {
        size_t width, height, columns, rows, stages, result_width, result_height;
    } cases[] = {
        { 224, 224, 14, 14, 3, 4 * 224 + 3 * GAP, 224 },
        { 224, 224, 14, 14, 0, 224, 224 },
        { 32, 32, 8, 8, 2, 3 * 192 + 2 * GAP, 192 }, /* 6 times, the first whole step at 168 or above */
        { 168, 168, 2, 2, 1, 2 * 168 + GAP, 168 },
        { 167, 167, 1, 1, 0, 334, 334 },
        { 60, 40, 3, 4, 1, 2 * 300 + GAP, 200 },
        { 1, 1, 1, 1, 16, 17 * 168 + 16 * GAP, 168 },
        { MOST, MOST, 1, 1, 0, MOST, MOST },
    };
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        sv_overlay overlay = {
            .width = cases[i].width, .height = cases[i].height, .grid_columns = cases[i].columns, .grid_rows = cases[i].rows
        };
        size_t width = 0, height = 0;
        sv_error err = { 0 };
        overlay.stages = cases[i].stages;
        assert_ok(sv_overlay_size(&overlay, &width, &height, &err), err);
        assert_int_equal(width, cases[i].result_width);
        assert_int_equal(height, cases[i].result_height);
    }
}

static void assert_no_size(size_t width, size_t height, size_t columns, size_t rows, size_t stages, const char *sentence)
{
    sv_overlay overlay = { .width = width, .height = height, .grid_columns = columns, .grid_rows = rows, .stages = stages };
    size_t result_width = 1234, result_height = 5678;
    sv_error err = { 0 };
    if (sv_overlay_size(&overlay, &result_width, &result_height, &err) != SV_USAGE)
        fail_msg("%zu x %zu in %zu x %zu, %zu stages: taken as %zu x %zu", width, height, columns, rows, stages, result_width,
                 result_height);
    if (!strstr(err.text, sentence)) fail_msg("'%s'; expected '%s' in it", err.text, sentence);
    assert_true(result_width == 1234 && result_height == 5678);
}

static void a_grid_that_does_not_fit_is_an_error_of_usage(void **state)
{
    (void)state;
    assert_no_size(224, 224, 15, 14, 1, "an overlay of 15 x 14 patches over a picture of 224 x 224 pixels: the patches do not divide it");
    assert_no_size(224, 224, 14, 15, 1, "do not divide");
    assert_no_size(224, 224, 448, 14, 1, "do not divide");
    assert_no_size(224, 224, 0, 14, 1, "do not divide");
    assert_no_size(224, 224, 14, 0, 1, "do not divide");
    assert_no_size(0, 224, 14, 14, 1, "do not divide");
    assert_no_size(224, 0, 14, 14, 1, "do not divide");
}

static void what_is_too_large_is_an_error_of_usage(void **state)
{
    (void)state;
    assert_no_size(MOST + 1, 224, 1, 1, 1, "is too large; at most 16 stages and 16384 pixels a side");
    assert_no_size(224, MOST + 1, 1, 1, 1, "is too large");
    assert_no_size(224, 224, 1, 1, 17, "is too large");
    assert_no_size(SIZE_MAX, SIZE_MAX, 1, 1, SIZE_MAX, "is too large");
}

static void a_thin_picture_is_not_enlarged_beyond_what_is_allowed(void **state)
{
    (void)state;
    assert_no_size(MOST, 1, 1, 1, 0, "is too large"); /* 168 times: 2.7 million pixels wide */
    assert_no_size(1, MOST, 1, 1, 16, "is too large");
    assert_no_size(MOST / 2, 56, 1, 1, 0, "is too large"); /* 3 times */
}

static void the_first_panel_is_the_picture_and_gaps_are_white(void **state)
{
    (void)state;
    static const uint8_t kept[4] = { 0, 0, 0, 0 };
    const uint8_t *stages[] = { kept };
    sv_overlay overlay = { .width = 60, .height = 40, .grid_columns = 2, .grid_rows = 2, .kept = stages, .stages = 1 };
    size_t width, height, scale = 5;
    uint8_t *picture = make_picture(60, 40);
    overlay.rgb = picture;
    uint8_t *rgb = draw(&overlay, &width, &height);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < 60 * scale + GAP; x++)
            for (size_t c = 0; c < 3; c++) {
                uint8_t expected = x < 60 * scale ? picture[(y / scale * 60 + x / scale) * 3 + c] : 255;
                if (rgb[(y * width + x) * 3 + c] != expected)
                    fail_msg("pixel %zu, %zu is %d and not %d", x, y, rgb[(y * width + x) * 3 + c], expected);
            }
    sv_free(rgb);
    sv_free(picture);
}

/* Width, height, patches and stages all different, so that no two of them can be mixed up. */
static void dropped_patches_are_faded_in_their_stage_and_place_alone(void **state)
{
    (void)state;
    enum { WIDE = 180, HIGH = 168, COLUMNS = 3, ROWS = 4, STAGES = 3 };
    uint8_t kept[STAGES][ROWS * COLUMNS];
    const uint8_t *stages[STAGES];
    for (size_t t = 0; t < STAGES; t++) {
        stages[t] = kept[t];
        for (size_t p = 0; p < ROWS * COLUMNS; p++)
            kept[t][p] = (p * 7 + t) % (t + 2) == 0 ? (uint8_t)(p % 2 ? 255 : 1) : 0; /* anything but 0 stays */
    }
    sv_overlay overlay = { .width = WIDE, .height = HIGH, .grid_columns = COLUMNS, .grid_rows = ROWS, .kept = stages, .stages = STAGES };
    size_t width, height;
    uint8_t *picture = make_picture(WIDE, HIGH);
    overlay.rgb = picture;
    uint8_t *rgb = draw(&overlay, &width, &height);
    for (size_t t = 0; t < STAGES; t++)
        for (size_t y = 0; y < HIGH; y++)
            for (size_t x = 0; x < WIDE; x++) {
                bool stays = kept[t][y / (HIGH / ROWS) * COLUMNS + x / (WIDE / COLUMNS)] != 0;
                for (size_t c = 0; c < 3; c++) {
                    int from = picture[(y * WIDE + x) * 3 + c], is = rgb[(y * width + (t + 1) * (WIDE + GAP) + x) * 3 + c];
                    /* a sixth of its strength on light grey: 199 to 239, brighter pixels brighter */
                    bool right = stays ? is == from : abs(is - (199 + from * 40 / 256)) <= 1;
                    if (!right) fail_msg("stage %zu, pixel %zu, %zu: %d became %d", t, x, y, from, is);
                }
            }
    sv_free(rgb);
    sv_free(picture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_size_is_a_panel_for_the_picture_and_for_each_stage),
        cmocka_unit_test(a_grid_that_does_not_fit_is_an_error_of_usage),
        cmocka_unit_test(what_is_too_large_is_an_error_of_usage),
        cmocka_unit_test(a_thin_picture_is_not_enlarged_beyond_what_is_allowed),
        cmocka_unit_test(the_first_panel_is_the_picture_and_gaps_are_white),
        cmocka_unit_test(dropped_patches_are_faded_in_their_stage_and_place_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
