/* Pictures written and read back, each colour form of a PNG by hand, and what happens when anything is cut, changed or missing. */
#include "tests/unit/formats/test_pictures.h"

static void picture_make(sv_picture *picture, size_t width, size_t height)
{
    sv_error err = { 0 };
    assert_ok(sv_picture_resize(picture, width, height, &err), err);
    for (size_t i = 0; i < width * height * 3; i++) picture->rgb[i] = (uint8_t)(128 + 100 * ((i / 3 % width) * 2 < width) - (i / 3 / width) * 40 / height + i % 3 * 10);
}

static void assert_decodes(const sv_text *text, size_t width, size_t height, const uint8_t *rgb)
{
    sv_picture picture = { 0 };
    sv_error err = { 0 };
    assert_ok(sv_picture_decode(&picture, text->data, text->length, "made.png", &err), err);
    assert_int_equal(picture.width, width);
    assert_int_equal(picture.height, height);
    assert_memory_equal(picture.rgb, rgb, width * height * 3);
    sv_picture_clear(&picture);
}

static void assert_refused(const void *bytes, size_t count, const char *part)
{
    sv_picture picture = { 0 };
    sv_error err = { 0 };
    sv_status status = sv_picture_decode(&picture, bytes, count, "bad/one.jpg", &err);
    if (status != SV_DATA || !strstr(err.text, part) || strncmp(err.text, "bad/one.jpg: ", 13))
        fail_msg("expected a refusal that says '%s', got %d '%s'", part, (int)status, err.text);
    assert_int_equal(picture.width, 0);
    sv_picture_clear(&picture);
}

static void a_png_reads_back_the_same(void **state)
{
    static const size_t sizes[][2] = { { 1, 1 }, { 1, 300 }, { 300, 1 }, { 37, 23 }, { 224, 224 } };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(sizes); i++) {
        sv_picture made = { 0 }, read = { 0 };
        sv_error err = { 0 };
        picture_make(&made, sizes[i][0], sizes[i][1]);
        assert_ok(sv_png_write(in_folder("a.png"), &made, &err), err);
        assert_ok(sv_picture_read(&read, in_folder("a.png"), &err), err);
        assert_int_equal(read.width, made.width);
        assert_int_equal(read.height, made.height);
        assert_memory_equal(read.rgb, made.rgb, made.width * made.height * 3);
        sv_picture_clear(&made);
        sv_picture_clear(&read);
    }
}

static void a_jpeg_reads_back_nearly_the_same(void **state)
{
    sv_picture made = { 0 }, read = { 0 };
    sv_error err = { 0 };
    double apart = 0;
    (void)state;
    picture_make(&made, 61, 47);
    assert_ok(sv_jpeg_write(in_folder("a.jpg"), &made, 95, &err), err);
    assert_ok(sv_picture_read(&read, in_folder("a.jpg"), &err), err);
    assert_int_equal(read.width, 61);
    assert_int_equal(read.height, 47);
    for (size_t i = 0; i < 61 * 47 * 3; i++) apart += abs(read.rgb[i] - made.rgb[i]);
    assert_true(apart / (61 * 47 * 3) < 4); /* grey levels on average; the sharp edge at half width is where chroma at half size tells */
    sv_picture_clear(&made);
    sv_picture_clear(&read);
}

static void large_jpegs_are_written_in_pieces(void **state)
{
    sv_picture made = { 0 }, read = { 0 };
    sv_error err = { 0 };
    (void)state;
    assert_ok(sv_picture_resize(&made, 400, 400, &err), err);
    sv_random random = sv_random_at(1, SV_FOR_TEST, 0, 0, 0);
    for (size_t i = 0; i < 400 * 400 * 3; i++) made.rgb[i] = (uint8_t)sv_random_word(&random);
    assert_ok(sv_jpeg_write(in_folder("noise.jpg"), &made, 100, &err), err); /* far above one 64 KiB piece */
    assert_ok(sv_picture_read(&read, in_folder("noise.jpg"), &err), err);
    assert_int_equal(read.width * read.height, 160000);
    sv_picture_clear(&made);
    sv_picture_clear(&read);
}

static void grey_of_each_depth_becomes_rgb(void **state)
{
    static const struct { unsigned depth; uint8_t rows[4]; size_t width, count; uint8_t grey[4]; } cases[] = {
        { 1, { 0, 0xA0 }, 4, 2, { 255, 0, 255, 0 } },
        { 2, { 0, 0x1B }, 4, 2, { 0, 85, 170, 255 } },
        { 4, { 0, 0x1F, 0x0A }, 3, 3, { 17, 255, 0 } },
        { 8, { 0, 7, 200, 255 }, 3, 4, { 7, 200, 255 } },
        { 16, { 0, 1, 5 }, 1, 3, { 255 } },     /* 261: clipped, not the high byte */
        { 16, { 0, 0, 200 }, 1, 3, { 200 } },
    };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        sv_text png = { 0 };
        uint8_t rgb[12];
        put_png_head(&png, (uint32_t)cases[i].width, 1, cases[i].depth, 0, 0);
        put_png_rows(&png, cases[i].rows, cases[i].count);
        for (size_t x = 0; x < cases[i].width; x++) memset(rgb + 3 * x, cases[i].grey[x], 3);
        assert_decodes(&png, cases[i].width, 1, rgb);
        sv_text_clear(&png);
    }
}

static void alpha_and_low_bytes_are_dropped(void **state)
{
    static const struct { unsigned depth, colour; uint8_t row[9]; size_t count; uint8_t rgb[3]; } cases[] = {
        { 8, 4, { 0, 90, 0 }, 3, { 90, 90, 90 } },
        { 16, 4, { 0, 90, 91, 0, 0 }, 5, { 90, 90, 90 } },
        { 8, 6, { 0, 1, 2, 3, 0 }, 5, { 1, 2, 3 } },
        { 16, 6, { 0, 1, 9, 2, 9, 3, 9, 0, 0 }, 9, { 1, 2, 3 } },
        { 16, 2, { 0, 4, 9, 5, 9, 6, 9 }, 7, { 4, 5, 6 } },
    };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        sv_text png = { 0 };
        put_png_head(&png, 1, 1, cases[i].depth, cases[i].colour, 0);
        put_png_rows(&png, cases[i].row, cases[i].count);
        assert_decodes(&png, 1, 1, cases[i].rgb);
        sv_text_clear(&png);
    }
}

static void colours_beyond_the_palette_are_black(void **state)
{
    static const uint8_t palette[] = { 10, 11, 12, 20, 21, 22 }, row[] = { 0, 1, 0, 2, 255 }, rgb[] = { 20, 21, 22, 10, 11, 12, 0, 0, 0, 0, 0, 0 };
    sv_text png = { 0 };
    (void)state;
    put_png_head(&png, 4, 1, 8, 3, 0);
    put_chunk(&png, "PLTE", palette, sizeof palette);
    put_png_rows(&png, row, sizeof row);
    assert_decodes(&png, 4, 1, rgb);
    sv_text_clear(&png);
}

static void rows_that_a_whole_stream_lacks_are_the_first_colour(void **state)
{
    static const uint8_t palette[] = { 10, 11, 12, 20, 21, 22 }, rows[] = { 0, 1 }, rgb[] = { 20, 21, 22, 10, 11, 12, 10, 11, 12 };
    sv_text png = { 0 };
    (void)state;
    put_png_head(&png, 1, 3, 8, 3, 0);
    put_chunk(&png, "PLTE", palette, sizeof palette);
    put_png_rows(&png, rows, sizeof rows);
    assert_decodes(&png, 1, 3, rgb);
    sv_text_clear(&png);
    put_png_head(&png, 2, 2, 8, 3, 0);
    put_chunk(&png, "PLTE", palette, sizeof palette);
    put_png_rows(&png, rows, sizeof rows); /* two bytes of a row of three */
    assert_refused(png.data, png.length, "ends before row 1 of 2");
    sv_text_clear(&png);
}

/* 3 x 3 in Adam7: passes 2 and 3 have no pixel. */
static void interlaced_pixels_find_their_places(void **state)
{
    static const uint8_t rows[] = { 0, 0, /* pass 1 */ 0, 2, /* pass 4 */ 0, 6, 8, /* pass 5 */ 0, 1, 0, 7, /* pass 6 */ 0, 3, 4, 5 /* pass 7 */ };
    sv_text png = { 0 };
    uint8_t rgb[27];
    (void)state;
    put_png_head(&png, 3, 3, 8, 0, 1);
    put_png_rows(&png, rows, sizeof rows);
    for (size_t i = 0; i < 9; i++) memset(rgb + 3 * i, (int)i, 3);
    assert_decodes(&png, 3, 3, rgb);
    sv_text_clear(&png);
}

static void every_filter_is_undone(void **state)
{
    static const uint8_t rows[] = { 0, 10, 20, 30, 1, 5, 5, 250, 2, 1, 2, 3, 3, 4, 4, 4, 4, 1, 1, 1 };
    static const uint8_t grey[] = { 10, 20, 30, 5, 10, 4, 6, 12, 7, 7, 13, 14, 8, 14, 15 };
    sv_text png = { 0 };
    uint8_t rgb[45];
    (void)state;
    put_png_head(&png, 3, 5, 8, 0, 0);
    put_png_rows(&png, rows, sizeof rows);
    for (size_t i = 0; i < 15; i++) memset(rgb + 3 * i, grey[i], 3);
    assert_decodes(&png, 3, 5, rgb);
    sv_text_clear(&png);
}

static void other_formats_are_refused_by_name(void **state)
{
    static const struct { const char *bytes; size_t count; const char *name; } cases[] = {
        { "GIF89a......", 12, "GIF" }, { "BM..........", 12, "BMP" }, { "RIFF....WEBP", 12, "WebP" }, { "II*\0........", 12, "TIFF" },
        { "MM\0*........", 12, "TIFF" }, { "P6 1 1 255\n", 11, "PPM" }, { "<!DOCTYPE html>", 15, "HTML" }, { "\0\0\0\x1c" "ftypavif....", 16, "AVIF" },
    };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) assert_refused(cases[i].bytes, cases[i].count, cases[i].name);
    assert_refused("", 0, "empty");
    assert_refused("hello\x1b[31m", 10, "begins with 'hello?[31m'");
}

static void bombs_are_refused_before_memory_is_asked_for(void **state)
{
    sv_text png = { 0 };
    (void)state;
    sv_memory before = sv_memory_now();
    put_png_head(&png, 0x7fffffff, 0x7fffffff, 8, 2, 0);
    put_png_rows(&png, "\0\0", 2);
    assert_refused(png.data, png.length, "2147483647 x 2147483647");
    sv_text_clear(&png);
    put_png_head(&png, 178956970, 1, 16, 6, 0); /* just allowed, but its first row of 1.4 GB cannot come out of 60 bytes */
    put_png_rows(&png, "\0\0", 2);
    assert_refused(png.data, png.length, "first row");
    sv_text_clear(&png);
    assert_int_equal(sv_memory_now().live, before.live);
}

static void names_in_messages_are_made_safe(void **state)
{
    sv_picture picture = { 0 };
    sv_error err = { 0 };
    (void)state;
    assert_int_equal(sv_picture_decode(&picture, "GIF89a", 6, "a\x1b[2Jb\n.jpg", &err), SV_DATA);
    assert_non_null(strstr(err.text, "a?[2Jb?.jpg: "));
}

static void what_is_no_file_is_refused(void **state)
{
    sv_picture picture = { 0 };
    sv_error err = { 0 };
    (void)state;
    assert_int_equal(sv_picture_read(&picture, test_folder, &err), SV_DATA);
    assert_non_null(strstr(err.text, "folder"));
    assert_int_equal(sv_picture_read(&picture, in_folder("absent.jpg"), &err), SV_DATA);
    assert_non_null(strstr(err.text, "absent.jpg"));
}

static void a_used_picture_is_decoded_into_without_new_memory(void **state)
{
    sv_picture made = { 0 }, read = { 0 };
    sv_error err = { 0 };
    unsigned char *bytes;
    size_t count;
    (void)state;
    picture_make(&made, 50, 40);
    assert_ok(sv_jpeg_encode(&made, 90, &bytes, &count, &err), err);
    assert_ok(sv_picture_resize(&read, 60, 60, &err), err);
    const uint8_t *rgb = read.rgb;
    size_t allocations = sv_memory_now().allocations;
    assert_ok(sv_picture_decode(&read, bytes, count, "a", &err), err);
    assert_ptr_equal(read.rgb, rgb);
    assert_int_equal(sv_memory_now().allocations, allocations);
    sv_free(bytes);
    sv_picture_clear(&made);
    sv_picture_clear(&read);
}

/* A cut file and a file with one byte changed decode or are refused; a JPEG without its last bytes is refused. */
static void cuts_and_changed_bytes_never_do_worse_than_a_refusal(void **state)
{
    sv_picture made = { 0 }, read = { 0 };
    sv_error err = { 0 };
    (void)state;
    picture_make(&made, 33, 21);
    for (int jpeg = 0; jpeg < 2; jpeg++) {
        unsigned char *bytes;
        size_t count;
        assert_ok(jpeg ? sv_jpeg_encode(&made, 80, &bytes, &count, &err) : sv_png_encode(&made, &bytes, &count, &err), err);
        for (size_t length = 0; length < count; length++) {
            unsigned char *cut = malloc(length ? length : 1); /* of its exact size, for the sanitizer */
            assert_non_null(cut);
            memcpy(cut, bytes, length);
            sv_status status = sv_picture_decode(&read, cut, length, "cut", &err);
            if (status && status != SV_DATA) fail_msg("cut at %zu: %d %s", length, (int)status, err.text);
            if (!status && length + 40 < count) fail_msg("a file cut at %zu of %zu decodes", length, count);
            free(cut);
        }
        for (size_t at = 0; at < count; at++)
            for (int bit = 0; bit < 8; bit += 3) {
                bytes[at] = (unsigned char)(bytes[at] ^ 1 << bit);
                sv_status status = sv_picture_decode(&read, bytes, count, "changed", &err);
                if (status && status != SV_DATA) fail_msg("byte %zu, bit %d: %d %s", at, bit, (int)status, err.text);
                bytes[at] = (unsigned char)(bytes[at] ^ 1 << bit);
            }
        sv_free(bytes);
    }
    sv_picture_clear(&made);
    sv_picture_clear(&read);
}

static sv_status write_and_read(sv_error *err)
{
    sv_picture made = { 0 }, read = { 0 };
    sv_status status = sv_picture_resize(&made, 40, 30, err);
    if (!status) memset(made.rgb, 77, 40 * 30 * 3);
    if (!status) status = sv_png_write(in_folder("f.png"), &made, err);
    if (!status) status = sv_jpeg_write(in_folder("f.jpg"), &made, 90, err);
    if (!status) status = sv_picture_read(&read, in_folder("f.png"), err);
    if (!status) status = sv_picture_read(&read, in_folder("f.jpg"), err);
    sv_picture_clear(&made);
    sv_picture_clear(&read);
    return status;
}

static void any_failed_call_leaves_nothing(void **state)
{
    (void)state;
    for (int kind = 0; kind < SV_FAULT_KINDS; kind++)
        for (int forever = 0; forever < 2; forever++) {
            uint64_t at = 1;
            for (sv_status status = SV_FAULT; status; at++) {
                sv_error err = { 0 };
                sv_memory before = sv_memory_now();
                size_t descriptors = open_descriptors();
                sv_fault_set((sv_fault_kind)kind, at, forever);
                status = write_and_read(&err);
                bool survived = sv_fault_calls((sv_fault_kind)kind) < at;
                sv_fault_set((sv_fault_kind)kind, 0, false);
                if (status && !err.text[0]) fail_msg("kind %d, call %d: no sentence", kind, (int)at);
                if (status && status != SV_FAULT && status != SV_DATA) fail_msg("kind %d, call %d: %d %s", kind, (int)at, (int)status, err.text);
                if (!status && !survived && kind != SV_FAULT_ALLOC) fail_msg("kind %d, call %d: its failure was not seen", kind, (int)at);
                assert_int_equal(sv_memory_now().live, before.live);
                assert_int_equal(open_descriptors(), descriptors);
                if (!survived && !status) status = SV_FAULT; /* an allocation that may fail; go on to the next */
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_png_reads_back_the_same),
        cmocka_unit_test(a_jpeg_reads_back_nearly_the_same),
        cmocka_unit_test(large_jpegs_are_written_in_pieces),
        cmocka_unit_test(grey_of_each_depth_becomes_rgb),
        cmocka_unit_test(alpha_and_low_bytes_are_dropped),
        cmocka_unit_test(colours_beyond_the_palette_are_black),
        cmocka_unit_test(rows_that_a_whole_stream_lacks_are_the_first_colour),
        cmocka_unit_test(interlaced_pixels_find_their_places),
        cmocka_unit_test(every_filter_is_undone),
        cmocka_unit_test(other_formats_are_refused_by_name),
        cmocka_unit_test(bombs_are_refused_before_memory_is_asked_for),
        cmocka_unit_test(names_in_messages_are_made_safe),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(a_used_picture_is_decoded_into_without_new_memory),
        cmocka_unit_test(cuts_and_changed_bytes_never_do_worse_than_a_refusal),
        cmocka_unit_test(any_failed_call_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
