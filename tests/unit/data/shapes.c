/* The built-in pictures: the tree they make, what the masks say, that they are functions of the seed. */
#include "data/shapes.h"
#include "tests/unit/data/test_data.h"

static void the_tree_is_an_ordinary_source(void **state)
{
    sv_shapes_options options = { .folder = in_folder("shapes"), .train = 40, .val = 20, .size = 32, .seed = 1 };
    sv_source *train, *val, *masks;
    sv_error err = { 0 };
    (void)state;
    assert_ok(sv_shapes_write(&options, &err), err);
    assert_ok(sv_source_open_folder(&train, in_folder("shapes/train"), in_folder("shapes/classes.txt"), &err), err);
    assert_ok(sv_source_open_folder(&val, in_folder("shapes/val"), NULL, &err), err);
    assert_ok(sv_source_open_folder(&masks, in_folder("shapes/masks/train"), NULL, &err), err);
    assert_int_equal(sv_source_count(train), 40);
    assert_int_equal(sv_source_count(val), 20);
    assert_int_equal(sv_source_classes(train)->count, 10);
    assert_ok(sv_source_check_same(train, val, &err), err);
    size_t jpegs = 0;
    for (size_t i = 0; i < 40; i++) {
        sv_picture picture = { 0 }, mask = { 0 };
        char *path, *mask_path;
        assert_int_equal(sv_source_label(train, i), i / 4);
        assert_ok(sv_source_path(train, i, &path, &err), err);
        assert_ok(sv_source_path(masks, i, &mask_path, &err), err);
        assert_memory_equal(strrchr(path, '/'), strrchr(mask_path, '/'), (size_t)(strrchr(path, '.') - strrchr(path, '/')));
        jpegs += strstr(path, ".jpg") != NULL;
        assert_ok(sv_source_read(train, i, &picture, &err), err);
        assert_ok(sv_source_read(masks, i, &mask, &err), err);
        assert_int_equal(picture.width, 32);
        assert_int_equal(mask.height, 32);
        sv_picture drawn = { 0 }, object = { 0 }; /* the same from the generator: number i % 4 of class i / 4 */
        assert_ok(sv_shapes_at(options.seed, options.size, 0, 10 * (i % 4) + i / 4, &drawn, &object, &err), err);
        assert_memory_equal(mask.rgb, object.rgb, 3 * 32 * 32);
        if (strstr(path, ".png")) assert_memory_equal(picture.rgb, drawn.rgb, 3 * 32 * 32);
        sv_picture_clear(&drawn);
        sv_picture_clear(&object);
        sv_free(path);
        sv_free(mask_path);
        sv_picture_clear(&picture);
        sv_picture_clear(&mask);
    }
    assert_int_equal(jpegs, 20);
    sv_source_close(train);
    sv_source_close(val);
    sv_source_close(masks);
}

/* 12 to 32 % of the area, nothing on the border, and the object's colour differs from what is around it. */
static void masks_cover_the_share_that_was_drawn(void **state)
{
    enum { SIZE = 64 };
    sv_picture picture = { 0 }, mask = { 0 };
    sv_error err = { 0 };
    (void)state;
    for (size_t kind = 0; kind < sv_shape_kinds(); kind++) {
        double least = 1, most = 0;
        for (uint64_t i = 0; i < 40; i++) {
            sv_random random = sv_random_at(3, SV_FOR_SHAPES, 0, i, (uint32_t)kind);
            double sum = 0;
            assert_ok(sv_shape_draw(kind, SIZE, &random, &picture, &mask, &err), err);
            for (size_t p = 0; p < SIZE * SIZE; p++) sum += mask.rgb[3 * p] / 255.0;
            double share = sum / (SIZE * SIZE);
            least = share < least ? share : least;
            most = share > most ? share : most;
        }
        if (least < 0.11 || most > 0.33 || most - least < 0.08) fail_msg("%s covers %g to %g", sv_shape_name(kind), least, most);
    }
    sv_picture_clear(&picture);
    sv_picture_clear(&mask);
}

static void the_same_seed_draws_the_same_pictures(void **state)
{
    sv_picture one = { 0 }, other = { 0 }, mask = { 0 };
    sv_error err = { 0 };
    (void)state;
    sv_random first = sv_random_at(3, SV_FOR_SHAPES, 0, 9, 0), second = first, third = sv_random_at(4, SV_FOR_SHAPES, 0, 9, 0);
    assert_ok(sv_shape_draw(2, 48, &first, &one, &mask, &err), err);
    assert_ok(sv_shape_draw(2, 48, &second, &other, &mask, &err), err);
    assert_memory_equal(one.rgb, other.rgb, 48 * 48 * 3);
    assert_ok(sv_shape_draw(2, 48, &third, &other, &mask, &err), err);
    assert_memory_not_equal(one.rgb, other.rgb, 48 * 48 * 3);
    sv_picture_clear(&one);
    sv_picture_clear(&other);
    sv_picture_clear(&mask);
}

static void a_folder_that_cannot_be_written_is_said(void **state)
{
    sv_shapes_options options = { .folder = "/proc/no such place", .train = 10, .val = 0, .size = 16 };
    sv_error err = { 0 };
    (void)state;
    assert_int_equal(sv_shapes_write(&options, &err), SV_FAULT);
    assert_non_null(strstr(err.text, "/proc/no such place"));
}

static void any_failed_allocation_leaves_nothing(void **state)
{
    sv_shapes_options options = { .folder = in_folder("faulty"), .train = 2, .val = 0, .size = 16 };
    (void)state;
    sv_threads_set(1);
    for (uint64_t at = 1;; at++) {
        sv_error err = { 0 };
        sv_memory before = sv_memory_now();
        sv_fault_set(SV_FAULT_ALLOC, at, false);
        sv_status status = sv_shapes_write(&options, &err);
        bool survived = sv_fault_calls(SV_FAULT_ALLOC) < at;
        sv_fault_set(SV_FAULT_ALLOC, 0, false);
        assert_true(survived == !status || !status);
        if (status) assert_int_equal(status, SV_FAULT);
        assert_int_equal(sv_memory_now().live, before.live);
        if (survived) break;
    }
    sv_threads_set(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tree_is_an_ordinary_source),
        cmocka_unit_test(masks_cover_the_share_that_was_drawn),
        cmocka_unit_test(the_same_seed_draws_the_same_pictures),
        cmocka_unit_test(a_folder_that_cannot_be_written_is_said),
        cmocka_unit_test(any_failed_allocation_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
