/* RandAugment, colour jitter and erasing: operations byte for byte, strings, and the laws of their draws. Goldens: tests/golden/data/augment.csv
 * holds a checksum a line of what Pillow 13 makes of a picture drawn here (tests/golden/data/make_augment.py). */
#include "data/augment.h"
#include "data/transform.h"
#include "test_data.h"

#include <math.h>
#include <string.h>

#include <zlib.h>

/* The picture of the goldens: the same arithmetic as in make_augment.py. */
static void picture_draw(sv_picture *picture, size_t width, size_t height, unsigned seed)
{
    sv_error err;
    assert_int_equal(sv_picture_resize(picture, width, height, &err), SV_OK);
    uint32_t state = seed;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++)
            for (size_t c = 0; c < 3; c++) {
                state = state * 1664525u + 1013904223u;
                const uint32_t noise = state >> 26, base = (uint32_t)((x * (c + 1) * 5 + y * 3 * (3 - c)) % 256);
                picture->rgb[(y * width + x) * 3 + c] = (uint8_t)((seed % 3 == 0 ? base / 4 + 90 : base) * 3 / 4 + noise);
            }
}

static const sv_augment_op *op_named(const char *name)
{
    for (size_t i = 0; i < SV_AUGMENT_OPS; i++)
        if (!strcmp(sv_augment_ops[i].name, name)) return &sv_augment_ops[i];
    return NULL;
}

static void operations_give_pillows_bytes(void **state)
{
    (void)state;
    FILE *file = fopen("tests/golden/data/augment.csv", "r");
    char line[256], name[32];
    size_t width, height, lines = 0;
    unsigned seed, linear;
    unsigned long crc;
    double argument;
    sv_picture picture = { 0 }, spare = { 0 };
    sv_error err;
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    while (fgets(line, sizeof line, file)) {
        assert_int_equal(sscanf(line, "%31[^,],%la,%zu,%zu,%u,%u,%lx", name, &argument, &width, &height, &seed, &linear, &crc), 7);
        const sv_augment_look look = { linear ? SV_BILINEAR : SV_BICUBIC, { 124, 116, 104 } };
        const sv_augment_op *op = op_named(name);
        assert_non_null(op);
        picture_draw(&picture, width, height, seed);
        assert_int_equal(op->apply(&picture, &spare, argument, &look, &err), SV_OK);
        assert_true(picture.width == width && picture.height == height);
        if (crc32(0, picture.rgb, (unsigned)(width * height * 3)) != crc) fail_msg("%s", line);
        lines++;
    }
    fclose(file);
    assert_true(lines > 300);
    sv_picture_clear(&picture);
    sv_picture_clear(&spare);
}

static void levels_mean_what_timm_says(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double level, sign, plain, increasing;
    } rows[] = {
        { "Rotate", 9, -1, -27, -27 },     { "Posterize", 9, 1, 3, 1 },       { "Posterize", 10, 1, 4, 0 },
        { "Solarize", 9, 1, 230, 26 },     { "SolarizeAdd", 9, 1, 99, 99 },   { "Color", 9, 1, 1.72, 1.81 },
        { "Contrast", 9, -1, 1.72, 0.19 }, { "ShearX", 9, -1, -0.27, -0.27 }, { "TranslateY", 9, 1, 0.405, 0.405 },
        { "Sharpness", 0, 1, 0.1, 1 },     { "Invert", 10, 1, 0, 0 },
    };
    for (size_t i = 0; i < SV_COUNT(rows); i++) {
        const sv_augment_op *op = op_named(rows[i].name);
        assert_true(fabs(op->argument(rows[i].level, rows[i].sign, false) - rows[i].plain) < 1e-12);
        assert_true(fabs(op->argument(rows[i].level, rows[i].sign, true) - rows[i].increasing) < 1e-12);
    }
}

static void strings_are_read_as_timm_reads_them(void **state)
{
    (void)state;
    sv_rand_augment read;
    sv_error err;
    assert_int_equal(sv_rand_augment_read(&read, "rand-m9-mstd0.5-inc1", &err), SV_OK);
    assert_true(read.ops == 2 && read.level == 9 && read.deviation == 0.5 && read.probability == 0.5 && read.increasing);
    assert_int_equal(sv_rand_augment_read(&read, "rand-m7-n3-p1", &err), SV_OK);
    assert_true(read.ops == 3 && read.level == 7 && read.deviation == 0 && read.probability == 1 && !read.increasing);
    assert_int_equal(sv_rand_augment_read(&read, "", &err), SV_OK);
    assert_true(read.ops == 0);
    static const char *const wrong[] = { "augmix-m3",   "rand-m11",  "rand-",  "rand-q3", "rand-m",
                                         "rand-mstd-1", "rand-inc0", "randm9", "rand-n0", "rand-m9-mstd0.5-inc1-" };
    for (size_t i = 0; i < SV_COUNT(wrong); i++) assert_int_equal(sv_rand_augment_read(&read, wrong[i], &err), SV_USAGE);
}

/* |share - p| within five standard deviations of n draws. */
static void near_share(double share, double p, double n) { assert_true(fabs(share - p) < 5 * sqrt(p * (1 - p) / n)); }

enum { DRAWS = 20000 };

static void erasing_follows_its_law(void **state)
{
    (void)state;
    size_t boxes = 0, upper = 0, upright = 0;
    double share = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        sv_random random = sv_random_at(1, SV_FOR_ERASE, 0, i, 0);
        sv_box box;
        if (!sv_erase_draw(0.25, 224, &random, &box)) continue;
        boxes++;
        assert_true(box.width > 0 && box.height > 0 && box.width < 224 && box.height < 224 && box.left + box.width <= 224
                    && box.top + box.height <= 224);
        share += (double)(box.width * box.height) / (224.0 * 224);
        upper += box.top * 2 + box.height < 224;
        upright += box.height > box.width;
    }
    near_share((double)boxes / DRAWS, 0.25, DRAWS);
    near_share((double)upright / (double)boxes, 0.5, (double)boxes);
    assert_true(fabs((double)upper / (double)boxes - 0.5) < 0.03);
    assert_true(fabs(share / (double)boxes - (0.02 + 1.0 / 3) / 2) < 0.005); /* U(0.02, 1/3), rounded to pixels */
}

static void erased_pixels_are_normal_and_the_rest_stays(void **state)
{
    (void)state;
    enum { SIDE = 64 };
    static sv_real chw[3 * SIDE * SIDE];
    double sum = 0, squares = 0, count = 0;
    for (uint64_t i = 0; i < 300; i++) {
        sv_random draw = sv_random_at(2, SV_FOR_ERASE, 0, i, 0), same = draw;
        sv_box box;
        for (size_t k = 0; k < SV_COUNT(chw); k++) chw[k] = 77;
        const bool any = sv_erase_draw(0.25, SIDE, &same, &box);
        sv_random_erase(0.25, &draw, chw, SIDE);
        for (size_t k = 0; k < SV_COUNT(chw); k++) {
            const size_t x = k % SIDE, y = k / SIDE % SIDE;
            const bool inside = any && x >= box.left && x < box.left + box.width && y >= box.top && y < box.top + box.height;
            assert_true(inside == (chw[k] != 77));
            if (!inside) continue;
            sum += (double)chw[k];
            squares += (double)chw[k] * (double)chw[k];
            count++;
        }
    }
    assert_true(count > 10000 && fabs(sum / count) < 5 / sqrt(count) && fabs(squares / count - 1) < 5 * sqrt(2 / count));
}

/* Invert is its own mark: with m = 0 every operation but AutoContrast, Equalize, Invert and Solarize's 256 leaves this picture as it is. */
static void operations_are_drawn_alike(void **state)
{
    (void)state;
    const sv_rand_augment options = { .ops = 1, .level = 0, .probability = 0.5, .increasing = true };
    const sv_augment_look look = { SV_BICUBIC, { 0, 0, 0 } };
    sv_picture picture = { 0 }, spare = { 0 };
    sv_error err;
    size_t inverted = 0;
    assert_int_equal(sv_picture_resize(&picture, 2, 1, &err), SV_OK);
    for (uint64_t i = 0; i < DRAWS; i++) {
        static const uint8_t ends[6] = { 0, 0, 0, 255, 255, 255 };
        sv_random random = sv_random_at(3, SV_FOR_AUGMENT, 0, i, 0);
        memcpy(picture.rgb, ends, sizeof ends);
        assert_int_equal(sv_rand_augment_apply(&options, &look, &random, &picture, &spare, &err), SV_OK);
        inverted += picture.rgb[0] == 255;
    }
    near_share((double)inverted / DRAWS, 0.5 / SV_AUGMENT_OPS, DRAWS);
    sv_picture_clear(&picture);
    sv_picture_clear(&spare);
}

static void jitter_stays_within_its_strength(void **state)
{
    (void)state;
    sv_picture picture = { 0 }, spare = { 0 };
    sv_error err;
    double least = 255, most = 0;
    assert_int_equal(sv_picture_resize(&picture, 3, 3, &err), SV_OK);
    for (uint64_t i = 0; i < 2000; i++) { /* of a flat grey picture brightness alone changes anything */
        sv_random random = sv_random_at(4, SV_FOR_AUGMENT, 0, i, 0);
        memset(picture.rgb, 100, 27);
        assert_int_equal(sv_colour_jitter(0.4, &random, &picture, &spare, &err), SV_OK);
        least = picture.rgb[0] < least ? picture.rgb[0] : least;
        most = picture.rgb[0] > most ? picture.rgb[0] : most;
    }
    assert_true(least >= 59 && least <= 62 && most <= 140 && most >= 138);
    sv_picture_clear(&picture);
    sv_picture_clear(&spare);
}

static void a_picture_is_a_function_of_seed_epoch_sample_and_repeat(void **state)
{
    (void)state;
    enum { SIDE = 32 };
    static sv_real one[3 * SIDE * SIDE], other[3 * SIDE * SIDE];
    sv_transform_options options = sv_transform_defaults();
    sv_transform *transform;
    sv_picture picture = { 0 };
    sv_error err;
    options.size = SIDE;
    options.erase = 0.5;
    assert_int_equal(sv_rand_augment_read(&options.augment, "rand-m9-mstd0.5-inc1", &err), SV_OK);
    assert_int_equal(sv_transform_create(&transform, &options, &err), SV_OK);
    picture_draw(&picture, 50, 40, 5);
    const sv_draw draws[] = { { 1, 2, 3, 0 }, { 9, 2, 3, 0 }, { 1, 9, 3, 0 }, { 1, 2, 9, 0 }, { 1, 2, 3, 1 } };
    assert_int_equal(sv_transform_training(transform, &picture, draws[0], one, &err), SV_OK);
    for (size_t i = 0; i < SV_COUNT(draws); i++) {
        assert_int_equal(sv_transform_training(transform, &picture, draws[i], other, &err), SV_OK);
        assert_true((memcmp(one, other, sizeof one) == 0) == (i == 0));
    }
    assert_int_equal(sv_transform_training(transform, &picture, draws[0], other, &err), SV_OK);
    assert_memory_equal(one, other, sizeof one);
    sv_transform_destroy(transform);
    sv_picture_clear(&picture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_give_pillows_bytes),
        cmocka_unit_test(levels_mean_what_timm_says),
        cmocka_unit_test(strings_are_read_as_timm_reads_them),
        cmocka_unit_test(erasing_follows_its_law),
        cmocka_unit_test(erased_pixels_are_normal_and_the_rest_stays),
        cmocka_unit_test(operations_are_drawn_alike),
        cmocka_unit_test(jitter_stays_within_its_strength),
        cmocka_unit_test(a_picture_is_a_function_of_seed_epoch_sample_and_repeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
