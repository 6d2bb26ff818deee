/* What the tests of data/ share: small trees of pictures made on the spot. */
#ifndef SIEVE_TEST_DATA_H
#define SIEVE_TEST_DATA_H

#include "data/data.h"
#include "tests/unit/formats/test_pictures.h"

/* A small picture of one colour and some noise at test_folder/relative; folders on the way are made. */
static inline void put_picture(const char *relative, unsigned value)
{
    sv_picture picture = { 0 };
    sv_error err = { 0 };
    char folder[512];
    snprintf(folder, sizeof folder, "%s", in_folder(relative));
    *strrchr(folder, '/') = 0;
    assert_ok(sv_folder_create(folder, &err), err);
    assert_ok(sv_picture_resize(&picture, 20 + value % 7, 18, &err), err);
    for (size_t i = 0; i < picture.width * picture.height * 3; i++) picture.rgb[i] = (uint8_t)(value * 37 + i % 11 * 5);
    assert_ok(value % 2 ? sv_png_write(in_folder(relative), &picture, &err) : sv_jpeg_write(in_folder(relative), &picture, 90, &err), err);
    sv_picture_clear(&picture);
}

/* root/classA/00.jpg ...: `classes` folders of `each` pictures. */
static inline void put_tree(const char *root, size_t classes, size_t each)
{
    for (size_t c = 0; c < classes; c++)
        for (size_t i = 0; i < each; i++) {
            char name[128];
            snprintf(name, sizeof name, "%s/class%c/%02zu.jpg", root, (char)('A' + c), i);
            put_picture(name, (unsigned)(c * each + i));
        }
}

/* Lines of the log, kept. */
static char logged[4096];
static inline void log_keep(void *context, sv_level level, const char *line)
{
    (void)context;
    (void)level;
    strncat(logged, line, sizeof logged - strlen(logged) - 2);
    strcat(logged, "\n");
}

static inline size_t times_in(const char *text, const char *part)
{
    size_t count = 0;
    for (; (text = strstr(text, part)); text++) count++;
    return count;
}

#endif
