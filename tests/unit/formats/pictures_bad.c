/* The awkward pictures of ../shared/data/bad: each opens with the bytes that Pillow gives, or is refused where Pillow refuses. */
#include "tests/unit/formats/test_pictures.h"

#include <math.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_awkward_picture_gets_pillows_verdict),
        cmocka_unit_test(foreign_formats_are_called_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
