/* Resize against Pillow 13.0.0 (tests/golden/data/make_resize.py made the figures), and what must hold of any resize. */
#include "data/resize.h"
#include "tests/unit/formats/test_pictures.h"

static void picture_fill(sv_picture *picture, const char *kind, size_t width, size_t height)
{
    sv_error err = { 0 };
    assert_ok(sv_picture_resize(picture, width, height, &err), err);
    for (size_t i = 0; i < width * height * 3; i++) {
        uint32_t v = (uint32_t)i * 2654435761u;
        v = ((v ^ v >> 15) * 2246822519u) >> 24;
        picture->rgb[i] = (uint8_t)(!strcmp(kind, "edges") ? (v & 64 ? 255 : 0) : v);
    }
}

static sv_resize_to whole(size_t width, size_t height, sv_interpolation kind)
{
    return (sv_resize_to){ width, height, { 0, 0, width, height }, kind, SV_AS_PILLOW_13 };
}

static void resized_bytes_equal_pillows(void **state)
{
    FILE *file = fopen("tests/golden/data/resize.csv", "r");
    sv_resizer resizer = { 0 };
    sv_picture from = { 0 }, to = { 0 };
    sv_error err = { 0 };
    char kind[16], filter[16], sha[65], hex[65];
    size_t width, height, across, down, cases = 0;
    sv_box crop;
    (void)state;
    assert_non_null(file);
    while (fscanf(file, "%15[^,],%zu,%zu,%zu,%zu,%zu,%zu,%zu,%zu,%15[^,],%64s\n", kind, &width, &height, &crop.left, &crop.top, &crop.width, &crop.height, &across, &down,
                  filter, sha) == 11) {
        sv_resize_to result = whole(across, down, !strcmp(filter, "bilinear") ? SV_BILINEAR : SV_BICUBIC);
        picture_fill(&from, kind, width, height);
        assert_ok(sv_resize(&resizer, &from, crop, &result, &to, &err), err);
        sha256_hex(to.rgb, across * down * 3, hex);
        if (strcmp(hex, sha)) fail_msg("%s %zu x %zu, crop %zu x %zu, to %zu x %zu, %s: other bytes than Pillow's", kind, width, height, crop.width, crop.height, across, down, filter);
        cases++;
    }
    assert_int_equal(cases, 108);
    fclose(file);
    sv_resizer_clear(&resizer);
    sv_picture_clear(&from);
    sv_picture_clear(&to);
}

static void a_window_is_a_part_of_the_whole(void **state)
{
    sv_random random = sv_random_at(3, SV_FOR_TEST, 0, 0, 0);
    sv_resizer resizer = { 0 };
    sv_picture from = { 0 }, all = { 0 }, part = { 0 };
    sv_error err = { 0 };
    (void)state;
    for (int i = 0; i < 60; i++) {
        size_t width = 1 + sv_random_below(&random, 90), height = 1 + sv_random_below(&random, 90);
        sv_box crop = { 0, 0, width, height };
        sv_resize_to result = whole(1 + sv_random_below(&random, 120), 1 + sv_random_below(&random, 120), i % 2 ? SV_BILINEAR : SV_BICUBIC);
        if (i % 3 == 0) result.order = SV_ACROSS_FIRST;
        picture_fill(&from, "noise", width, height);
        assert_ok(sv_resize(&resizer, &from, crop, &result, &all, &err), err);
        sv_box window = { sv_random_below(&random, result.width), sv_random_below(&random, result.height), 1, 1 };
        window.width += sv_random_below(&random, result.width - window.left);
        window.height += sv_random_below(&random, result.height - window.top);
        result.window = window;
        assert_ok(sv_resize(&resizer, &from, crop, &result, &part, &err), err);
        for (size_t y = 0; y < window.height; y++)
            assert_memory_equal(part.rgb + y * window.width * 3, all.rgb + ((window.top + y) * result.width + window.left) * 3, window.width * 3);
    }
    sv_resizer_clear(&resizer);
    sv_picture_clear(&from);
    sv_picture_clear(&all);
    sv_picture_clear(&part);
}

static void nothing_outside_the_crop_is_seen(void **state)
{
    sv_resizer resizer = { 0 };
    sv_picture from = { 0 }, one = { 0 }, other = { 0 };
    sv_error err = { 0 };
    sv_box crop = { 11, 7, 20, 15 };
    sv_resize_to result = whole(64, 64, SV_BICUBIC);
    (void)state;
    picture_fill(&from, "noise", 50, 40);
    assert_ok(sv_resize(&resizer, &from, crop, &result, &one, &err), err);
    for (size_t y = 0; y < 40; y++)
        for (size_t x = 0; x < 50; x++)
            if (x < crop.left || x >= crop.left + crop.width || y < crop.top || y >= crop.top + crop.height) memset(from.rgb + (y * 50 + x) * 3, 255, 3);
    assert_ok(sv_resize(&resizer, &from, crop, &result, &other, &err), err);
    assert_memory_equal(one.rgb, other.rgb, 64 * 64 * 3);
    sv_resizer_clear(&resizer);
    sv_picture_clear(&from);
    sv_picture_clear(&one);
    sv_picture_clear(&other);
}

static void the_order_of_passes_is_a_choice(void **state)
{
    sv_resizer resizer = { 0 };
    sv_picture from = { 0 }, new = { 0 }, old = { 0 };
    sv_error err = { 0 };
    sv_box crop = { 0, 0, 20, 19 };
    sv_resize_to result = whole(64, 5, SV_BICUBIC);
    (void)state;
    picture_fill(&from, "edges", 20, 19);
    assert_ok(sv_resize(&resizer, &from, crop, &result, &new, &err), err);
    result.order = SV_ACROSS_FIRST;
    assert_ok(sv_resize(&resizer, &from, crop, &result, &old, &err), err);
    assert_memory_not_equal(new.rgb, old.rgb, 64 * 5 * 3);
    sv_resizer_clear(&resizer);
    sv_picture_clear(&from);
    sv_picture_clear(&new);
    sv_picture_clear(&old);
}

static void a_used_resizer_allocates_nothing(void **state)
{
    sv_resizer resizer = { 0 };
    sv_picture from = { 0 }, to = { 0 };
    sv_error err = { 0 };
    sv_resize_to result = whole(64, 64, SV_BICUBIC);
    (void)state;
    picture_fill(&from, "noise", 200, 200);
    assert_ok(sv_resize(&resizer, &from, (sv_box){ 0, 0, 200, 200 }, &result, &to, &err), err);
    size_t allocations = sv_memory_now().allocations;
    for (size_t side = 1; side < 190; side += 7) assert_ok(sv_resize(&resizer, &from, (sv_box){ 3, 5, side / 2 + 1, side }, &result, &to, &err), err);
    assert_int_equal(sv_memory_now().allocations, allocations);
    sv_resizer_clear(&resizer);
    sv_picture_clear(&from);
    sv_picture_clear(&to);
}

static void any_failed_allocation_leaves_nothing(void **state)
{
    sv_picture from = { 0 };
    sv_status status = SV_FAULT;
    (void)state;
    picture_fill(&from, "noise", 60, 60);
    for (uint64_t at = 1; status; at++) {
        sv_resizer resizer = { 0 };
        sv_picture to = { 0 };
        sv_error err = { 0 };
        sv_memory before = sv_memory_now();
        sv_resize_to result = whole(20, 20, SV_BICUBIC);
        sv_fault_set(SV_FAULT_ALLOC, at, false);
        status = sv_resize(&resizer, &from, (sv_box){ 0, 0, 60, 60 }, &result, &to, &err);
        sv_fault_set(SV_FAULT_ALLOC, 0, false);
        if (status) {
            assert_int_equal(status, SV_FAULT);
            assert_ok(sv_resize(&resizer, &from, (sv_box){ 0, 0, 60, 60 }, &result, &to, &err), err); /* the next call works */
        }
        sv_resizer_clear(&resizer);
        sv_picture_clear(&to);
        assert_int_equal(sv_memory_now().live, before.live);
    }
    sv_picture_clear(&from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resized_bytes_equal_pillows),
        cmocka_unit_test(a_window_is_a_part_of_the_whole),
        cmocka_unit_test(nothing_outside_the_crop_is_seen),
        cmocka_unit_test(the_order_of_passes_is_a_choice),
        cmocka_unit_test(a_used_resizer_allocates_nothing),
        cmocka_unit_test(any_failed_allocation_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
