/* The awkward pictures of ../shared/data/bad: each opens with the bytes that Pillow gives, or is refused where Pillow refuses. */
#include "tests/unit/formats/test_pictures.h"

#include <math.h>
#include <stdlib.h>

enum { COLUMNS = 9 };
enum { FILE_NAME, OPENS, WIDTH, HEIGHT, MEAN, SHA = MEAN + 3, NOTE };

/* Cuts one CSV record out of *at, in place; false at the end. */
static bool record_take(char **at, char *fields[COLUMNS])
{
    char *from = *at;
    if (!*from) return false;
    for (int i = 0; i < COLUMNS; i++) {
        char *to = from;
        bool quoted = *from == '"';
        if (quoted) from++;
        for (fields[i] = to; *from; from++) {
            if (quoted && *from == '"') {
                if (from[1] != '"') {
                    quoted = false;
                    continue;
                }
                from++;
            } else if (!quoted && (*from == ',' || *from == '\n')) {
                break;
            }
            *to++ = *from;
        }
        if (*from) from++;
        *to = 0;
    }
    *at = from;
    return true;
}

/* Formats of others open in Pillow but are not ours. */
static bool is_foreign(const char *name)
{
    static const char *const names[] = { "bmp_named.jpg", "gif_named.jpg", "ppm_named.jpg", "tiff_named.jpg", "webp_named.jpg" };
    for (size_t i = 0; i < SV_COUNT(names); i++)
        if (!strcmp(name, names[i])) return true;
    return false;
}

/* Lossless JPEG needs libjpeg-turbo 3; with an older one it is refused, and that is said here. */
static bool depends_on_library(const char *name)
{
    return !strcmp(name, "lossless.jpg");
}

static bool means_agree(const sv_picture *picture, char *fields[COLUMNS])
{
    size_t count = picture->width * picture->height;
    for (size_t c = 0; c < 3; c++) {
        double sum = 0;
        for (size_t i = 0; i < count; i++) sum += picture->rgb[3 * i + c];
        if (fabs(sum / (double)count - atof(fields[MEAN + c])) > 0.5) return false;
    }
    return true;
}

static void check_opened(const sv_picture *picture, char *fields[COLUMNS], size_t *by_mean)
{
    char hex[65];
    if (strcmp(fields[OPENS], "yes") || is_foreign(fields[FILE_NAME])) fail_msg("%s opens, a refusal was expected (%s)", fields[FILE_NAME], fields[NOTE]);
    assert_int_equal(picture->width, atoi(fields[WIDTH]));
    assert_int_equal(picture->height, atoi(fields[HEIGHT]));
    sha256_hex(picture->rgb, picture->width * picture->height * 3, hex);
    if (!strcmp(hex, fields[SHA])) return;
    /* Another JPEG library may differ by single grey levels; a PNG has no such excuse. */
    if (!strstr(fields[FILE_NAME], ".png") && means_agree(picture, fields)) {
        print_message("%s: other bytes, same means: another JPEG library than Pillow's\n", fields[FILE_NAME]);
        (*by_mean)++;
        return;
    }
    fail_msg("%s opens with other bytes than Pillow gives (%s)", fields[FILE_NAME], fields[NOTE]);
}

static void each_awkward_picture_gets_pillows_verdict(void **state)
{
    unsigned char *bytes;
    char *fields[COLUMNS];
    size_t count, opened = 0, refused = 0, by_mean = 0;
    sv_picture picture = { 0 };
    sv_error err = { 0 };
    (void)state;
    skip_without("bad/expected.csv");
    assert_ok(sv_file_read_all(data_path("bad/expected.csv"), 1 << 20, SV_DATA, &bytes, &count, &err), err);
    char *at = (char *)bytes;
    assert_true(record_take(&at, fields)); /* the names of the columns */
    while (record_take(&at, fields)) {
        char name[512];
        snprintf(name, sizeof name, "bad/%s", fields[FILE_NAME]);
        sv_memory before = sv_memory_now();
        sv_status status = sv_picture_read(&picture, data_path(name), &err);
        if (!status) {
            opened++;
            check_opened(&picture, fields, &by_mean);
        } else {
            refused++;
            if (!strcmp(fields[OPENS], "yes") && !is_foreign(fields[FILE_NAME]) && !depends_on_library(fields[FILE_NAME])) fail_msg("%s, which Pillow opens", err.text);
            assert_int_equal(status, SV_DATA);
            if (!strstr(err.text, fields[FILE_NAME]) || strchr(err.text, '\n')) fail_msg("not one sentence that names the file: '%s'", err.text);
            if (before.live && sv_memory_now().live > before.live + 1) fail_msg("%s leaves memory behind", fields[FILE_NAME]);
        }
    }
    print_message("%zu opened, %zu refused, %zu held by their means\n", opened, refused, by_mean);
    assert_int_equal(opened + refused, 151);
    sv_free(bytes);
    sv_picture_clear(&picture);
}

static void foreign_formats_are_called_by_name(void **state)
{
    static const char *const cases[][2] = { { "bad/bmp_named.jpg", "BMP" }, { "bad/gif_named.jpg", "GIF" }, { "bad/ppm_named.jpg", "PPM" },
                                            { "bad/tiff_named.jpg", "TIFF" }, { "bad/webp_named.jpg", "WebP" } };
    sv_picture picture = { 0 };
    (void)state;
    skip_without("bad/expected.csv");
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        sv_error err = { 0 };
        assert_int_equal(sv_picture_read(&picture, data_path(cases[i][0]), &err), SV_DATA);
        if (!strstr(err.text, cases[i][1])) fail_msg("'%s' does not say %s", err.text, cases[i][1]);
    }
}

/* ---- parts, cuts and changed bytes ------------------------------------------------------------------------------- */

/* Calls `visit` for each file of the folder. */
static size_t each_file(const char *folder, void (*visit)(const char *name, unsigned char *bytes, size_t count))
{
    char *fields[COLUMNS];
    unsigned char *list, *bytes;
    size_t count, files = 0;
    sv_error err = { 0 };
    assert_ok(sv_file_read_all(data_path("bad/expected.csv"), 1 << 20, SV_DATA, &list, &count, &err), err);
    char *at = (char *)list;
    assert_true(record_take(&at, fields));
    while (record_take(&at, fields)) {
        char name[512];
        snprintf(name, sizeof name, "%s/%s", folder, fields[FILE_NAME]);
        if (!sv_path_is_file(data_path(name))) continue; /* directory.jpg */
        assert_ok(sv_file_read_all(data_path(name), 1 << 28, SV_DATA, &bytes, &count, &err), err);
        visit(fields[FILE_NAME], bytes, count);
        sv_free(bytes);
        files++;
    }
    sv_free(list);
    return files;
}

typedef struct part_draw { sv_random *random; sv_box box; } part_draw;
static sv_box draw_part(void *context, size_t width, size_t height)
{
    part_draw *draw = context;
    draw->box.left = sv_random_below(draw->random, width);
    draw->box.top = sv_random_below(draw->random, height);
    draw->box.width = 1 + sv_random_below(draw->random, width - draw->box.left);
    draw->box.height = 1 + sv_random_below(draw->random, height - draw->box.top);
    return draw->box;
}

static void compare_parts(const char *name, unsigned char *bytes, size_t count)
{
    sv_picture whole = { 0 }, part = { 0 };
    sv_error err = { 0 };
    sv_random random = sv_random_at(1, SV_FOR_TEST, 0, count, 0);
    const sv_status verdict = sv_picture_decode(&whole, bytes, count, name, &err);
    for (int i = 0; i < 12; i++) {
        part_draw draw = { &random, { 0, 0, 0, 0 } };
        const sv_status status = sv_picture_decode_part(&part, bytes, count, name, draw_part, &draw, &err);
        if (status != verdict) fail_msg("%s: a part gets verdict %d, the whole %d", name, (int)status, (int)verdict);
        if (status) continue;
        assert_true(part.width == whole.width && part.height == whole.height);
        for (size_t y = draw.box.top; y < draw.box.top + draw.box.height; y++) {
            const size_t from = (y * whole.width + draw.box.left) * 3;
            if (memcmp(part.rgb + from, whole.rgb + from, draw.box.width * 3))
                fail_msg("%s: row %zu of the part of %zu x %zu at %zu, %zu differs", name, y, draw.box.width, draw.box.height, draw.box.left, draw.box.top);
        }
    }
    sv_picture_clear(&whole);
    sv_picture_clear(&part);
}

static void a_part_is_what_the_whole_gives(void **state)
{
    (void)state;
    skip_without("bad/expected.csv");
    assert_int_equal(each_file("bad", compare_parts), 150);
}

static size_t setting(const char *name, size_t otherwise)
{
    int64_t value;
    const char *text = getenv(name);
    return text && sv_parse_int(text, &value) && value >= 0 ? (size_t)value : otherwise;
}

static void decode_any(const unsigned char *bytes, size_t count, sv_random *random)
{
    sv_picture picture = { 0 };
    sv_error err = { 0 };
    part_draw draw = { random, { 0, 0, 0, 0 } };
    unsigned char *exact = malloc(count ? count : 1); /* a read behind the end is seen */
    assert_non_null(exact);
    memcpy(exact, bytes, count);
    const sv_status whole = sv_picture_decode(&picture, exact, count, "x", &err);
    assert_true(whole == SV_OK || whole == SV_DATA);
    const sv_status part = sv_picture_decode_part(&picture, exact, count, "x", draw_part, &draw, &err);
    assert_true(part == SV_OK || part == SV_DATA);
    free(exact);
    sv_picture_clear(&picture);
}

/* SIEVE_CUTS, SIEVE_CHANGES: of each file. */
static void harm(const char *name, unsigned char *bytes, size_t count)
{
    sv_random random = sv_random_at(2, SV_FOR_TEST, 0, count, 0);
    const size_t cuts = setting("SIEVE_CUTS", 3), changes = setting("SIEVE_CHANGES", 6);
    (void)name;
    for (size_t i = 0; i < cuts; i++) decode_any(bytes, sv_random_below(&random, count + 1), &random);
    for (size_t i = 0; i < changes && count; i++) {
        const size_t at = sv_random_below(&random, i % 2 ? count : count < 1024 ? count : 1024);
        const unsigned char before = bytes[at];
        bytes[at] = (unsigned char)sv_random_below(&random, 256);
        decode_any(bytes, count, &random);
        bytes[at] = before;
    }
}

static void no_cut_and_no_changed_byte_does_harm(void **state)
{
    (void)state;
    skip_without("bad/expected.csv");
    assert_int_equal(each_file("bad", harm), 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_is_what_the_whole_gives),
        cmocka_unit_test(no_cut_and_no_changed_byte_does_harm),
        cmocka_unit_test(each_awkward_picture_gets_pillows_verdict),
        cmocka_unit_test(foreign_formats_are_called_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
