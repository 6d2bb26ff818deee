/* The evaluation transform against the tensors PyTorch was fed, the geometry of both crops, and that draws are functions. */
#include "data/transform.h"
#include "tests/unit/formats/test_pictures.h"

#include <math.h>

/* The deflated member `name` of a zip file, unpacked into `room`: enough for the one array that is wanted, beside others that hold text. */
static size_t member_unpack(const char *path, const char *name, void *room, size_t room_bytes)
{
    unsigned char *bytes;
    size_t count, letters = strlen(name), made = 0;
    sv_error err = { 0 };
    assert_ok(sv_file_read_all(path, 64 << 20, SV_DATA, &bytes, &count, &err), err);
    for (size_t at = 0; at + 30 + letters < count && !made; at++) {
        const unsigned char *head = bytes + at;
        if (memcmp(head, "PK\3\4", 4) || (size_t)(head[26] | head[27] << 8) != letters || memcmp(head + 30, name, letters)) continue;
        size_t data = at + 30 + letters + (size_t)(head[28] | head[29] << 8);
        z_stream stream = { .next_in = bytes + data, .avail_in = (uInt)(count - data), .next_out = room, .avail_out = (uInt)room_bytes };
        assert_int_equal(inflateInit2(&stream, -15), Z_OK);
        assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
        made = stream.total_out;
        inflateEnd(&stream);
    }
    sv_free(bytes);
    return made;
}

static void evaluation_equals_pytorchs_input(void **state)
{
    static const char *const photos[] = { "imagenet-sample/val/n01440764/n01440764_tench.JPEG", "imagenet-sample/val/n13052670/n13052670_hen-of-the-woods.JPEG" };
    sv_transform_options options = sv_transform_defaults();
    sv_transform *transform;
    sv_picture picture = { 0 };
    sv_error err = { 0 };
    static unsigned char array[1 << 16];
    float expected[2][3][14][14];
    sv_real *chw;
    (void)state;
    skip_without("golden/tensors.npz");
    skip_without("imagenet-sample");
    size_t bytes = member_unpack(data_path("golden/tensors.npz"), "input.npy", array, sizeof array);
    assert_true(bytes > sizeof expected);
    memcpy(expected, array + bytes - sizeof expected, sizeof expected); /* float32 behind the head of the array */
    assert_ok(sv_transform_create(&transform, &options, &err), err);
    assert_ok(sv_alloc(&chw, 3 * 224 * 224 * sizeof *chw, "test", &err), err);
    for (size_t i = 0; i < 2; i++) {
        assert_ok(sv_picture_read(&picture, data_path(photos[i]), &err), err);
        assert_ok(sv_transform_evaluation(transform, &picture, chw, &err), err);
        for (size_t c = 0; c < 3; c++)
            for (size_t y = 0; y < 14; y++)
                for (size_t x = 0; x < 14; x++) assert_true(chw[(c * 224 + 16 * y) * 224 + 16 * x] == expected[i][c][y][x]);
    }
    sv_free(chw);
    sv_picture_clear(&picture);
    sv_transform_destroy(transform);
}

/* Figures of torchvision's Resize(256) and CenterCrop(224). */
static void evaluation_crops_as_torchvision_does(void **state)
{
    static const struct { size_t width, height, to_width, to_height, left, top; } cases[] = {
        { 500, 375, 341, 256, 58, 16 },     /* margin 117: half is 58.5, to even */
        { 375, 500, 256, 341, 16, 58 },
        { 256, 256, 256, 256, 16, 16 },
        { 300, 256, 300, 256, 38, 16 },     /* already 256 high: unchanged */
        { 224, 224, 256, 256, 16, 16 },
        { 400, 304, 336, 256, 56, 16 },
        { 100, 99, 258, 256, 17, 16 },
        { 97, 100, 256, 263, 16, 20 },      /* margin 39: 19.5 to 20 */
        { 5000, 2, 640000, 256, 319888, 16 },
    };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        sv_transform_options options = sv_transform_defaults();
        size_t width, height;
        sv_box window;
        sv_evaluation_crop(&options, cases[i].width, cases[i].height, &width, &height, &window);
        if (width != cases[i].to_width || height != cases[i].to_height || window.left != cases[i].left || window.top != cases[i].top)
            fail_msg("%zu x %zu becomes %zu x %zu at %zu, %zu", cases[i].width, cases[i].height, width, height, window.left, window.top);
        assert_int_equal(window.width, 224);
        assert_int_equal(window.height, 224);
    }
    sv_transform_options options = sv_transform_defaults();
    size_t width, height;
    sv_box window;
    options.crop_round = SV_ROUND_UP;
    sv_evaluation_crop(&options, 500, 375, &width, &height, &window);
    assert_int_equal(window.left, 59);
    options.size = 64;
    options.crop_ratio = 1;
    sv_evaluation_crop(&options, 64, 64, &width, &height, &window);
    assert_int_equal(width, 64);
    assert_int_equal(window.left, 0);
}

static void training_crops_lie_inside_and_spread_as_asked(void **state)
{
    sv_transform_options options = sv_transform_defaults();
    double shares = 0, smallest = 1;
    enum { DRAWS = 20000 };
    (void)state;
    for (uint64_t i = 0; i < DRAWS; i++) {
        sv_box box = sv_training_crop(&options, 500, 400, (sv_draw){ 1, i, 0, 0 });
        double share = (double)(box.width * box.height) / (500 * 400), ratio = (double)box.width / (double)box.height;
        assert_true(box.width && box.height && box.left + box.width <= 500 && box.top + box.height <= 400);
        if (share < 0.078 || ratio < 0.74 || ratio > 1.35) fail_msg("draw %d: %zu x %zu", (int)i, box.width, box.height);
        shares += share;
        smallest = fmin(smallest, share);
    }
    /* Uniform in 0.08..1 has mean 0.54; crops that do not fit are drawn again, which takes away some of the largest. */
    assert_true(shares / DRAWS > 0.45 && shares / DRAWS < 0.54 && smallest < 0.085);
}

static void extreme_pictures_fall_back_to_the_middle(void **state)
{
    sv_transform_options options = sv_transform_defaults();
    (void)state;
    sv_box wide = sv_training_crop(&options, 5000, 2, (sv_draw){ 1, 2, 3, 0 });
    assert_true(wide.width >= 1 && wide.left + wide.width <= 5000 && wide.top + wide.height <= 2);
    options.scale_min = options.scale_max = 1; /* never fits: the fallback for certain */
    wide = sv_training_crop(&options, 1000, 100, (sv_draw){ 1, 2, 3, 0 });
    assert_int_equal(wide.width, 133);
    assert_int_equal(wide.height, 100);
    assert_int_equal(wide.left, 433);
    sv_box tall = sv_training_crop(&options, 100, 1000, (sv_draw){ 1, 2, 3, 0 });
    assert_int_equal(tall.height, 133);
    assert_int_equal(tall.top, 433);
    sv_box dot = sv_training_crop(&options, 1, 1, (sv_draw){ 1, 2, 3, 0 });
    assert_int_equal(dot.width * dot.height, 1);
}

static void picture_noise(sv_picture *picture, size_t width, size_t height)
{
    sv_error err = { 0 };
    sv_random random = sv_random_at(9, SV_FOR_TEST, 0, width, (uint32_t)height);
    assert_ok(sv_picture_resize(picture, width, height, &err), err);
    for (size_t i = 0; i < width * height * 3; i++) picture->rgb[i] = (uint8_t)sv_random_word(&random);
}

static void a_draw_is_a_function_of_its_names(void **state)
{
    sv_transform_options options = sv_transform_defaults();
    sv_transform *one, *other;
    sv_picture picture = { 0 };
    sv_error err = { 0 };
    enum { SIZE = 32, COUNT = 3 * SIZE * SIZE };
    static sv_real first[COUNT], second[COUNT];
    const sv_draw draw = { 5, 77, 3, 0 };
    const sv_draw others[] = { { 6, 77, 3, 0 }, { 5, 78, 3, 0 }, { 5, 77, 4, 0 }, { 5, 77, 3, 1 } };
    (void)state;
    options.size = SIZE;
    picture_noise(&picture, 90, 70);
    assert_ok(sv_transform_create(&one, &options, &err), err);
    assert_ok(sv_transform_create(&other, &options, &err), err);
    assert_ok(sv_transform_training(one, &picture, draw, first, &err), err);
    for (size_t i = 0; i < SV_COUNT(others); i++) {
        assert_ok(sv_transform_training(other, &picture, others[i], second, &err), err);
        assert_memory_not_equal(first, second, sizeof first);
    }
    assert_ok(sv_transform_training(other, &picture, draw, second, &err), err);
    assert_memory_equal(first, second, sizeof first);
    sv_transform_destroy(one);
    sv_transform_destroy(other);
    sv_picture_clear(&picture);
}

static void a_flip_mirrors_every_row(void **state)
{
    sv_transform_options options = sv_transform_defaults();
    sv_transform *plain, *flipped;
    sv_picture picture = { 0 };
    sv_error err = { 0 };
    enum { SIZE = 17 };
    static sv_real one[3][SIZE][SIZE], other[3][SIZE][SIZE];
    (void)state;
    options.size = SIZE;
    options.flip = 0;
    picture_noise(&picture, 40, 40);
    assert_ok(sv_transform_create(&plain, &options, &err), err);
    options.flip = 1;
    assert_ok(sv_transform_create(&flipped, &options, &err), err);
    assert_ok(sv_transform_training(plain, &picture, (sv_draw){ 1, 2, 3, 0 }, &one[0][0][0], &err), err);
    assert_ok(sv_transform_training(flipped, &picture, (sv_draw){ 1, 2, 3, 0 }, &other[0][0][0], &err), err);
    for (size_t c = 0; c < 3; c++)
        for (size_t y = 0; y < SIZE; y++)
            for (size_t x = 0; x < SIZE; x++) assert_true(one[c][y][x] == other[c][y][SIZE - 1 - x]);
    sv_transform_destroy(plain);
    sv_transform_destroy(flipped);
    sv_picture_clear(&picture);
}

static void values_are_normalised_in_float32(void **state)
{
    sv_transform_options options = sv_transform_defaults();
    sv_transform *transform;
    sv_picture picture = { 0 };
    sv_error err = { 0 };
    static sv_real chw[3][8][8];
    (void)state;
    options.size = 8;
    options.crop_ratio = 1;
    assert_ok(sv_picture_resize(&picture, 8, 8, &err), err);
    for (int i = 0; i < 8 * 8; i++) memset(picture.rgb + 3 * i, i * 4, 3);
    assert_ok(sv_transform_create(&transform, &options, &err), err);
    assert_ok(sv_transform_evaluation(transform, &picture, &chw[0][0][0], &err), err);
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < 64; i++) {
            volatile float share = (float)(i * 4) / 255.0f, off = share - options.mean[c];
            volatile float expected = off / options.deviation[c];
            assert_true(chw[c][i / 8][i % 8] == (sv_real)expected);
        }
    sv_transform_destroy(transform);
    sv_picture_clear(&picture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evaluation_equals_pytorchs_input),
        cmocka_unit_test(evaluation_crops_as_torchvision_does),
        cmocka_unit_test(training_crops_lie_inside_and_spread_as_asked),
        cmocka_unit_test(extreme_pictures_fall_back_to_the_middle),
        cmocka_unit_test(a_draw_is_a_function_of_its_names),
        cmocka_unit_test(a_flip_mirrors_every_row),
        cmocka_unit_test(values_are_normalised_in_float32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
