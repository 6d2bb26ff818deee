#include "report/canvas.h"
#include "report/markup.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { SIDE_MOST = 1 << 14, JPEG_QUALITY = 75 };

/* ---- pixels ------------------------------------------------------------------------------------------------------ */

static size_t place(double value, size_t most)
{
    return value <= 0 ? 0 : value >= (double)most ? most : (size_t)(value + 0.5);
}

static void fill_pixels(sv_canvas *c, double x, double y, double width, double height, const uint8_t color[3])
{
    const size_t left = place(x, c->width), right = place(x + width, c->width), bottom = place(y + height, c->height);
    for (size_t row = place(y, c->height); row < bottom; row++)
        for (size_t column = left; column < right; column++) memcpy(c->picture.rgb + (row * c->width + column) * 3, color, 3);
}

static void picture_pixels(sv_canvas *c, size_t x, size_t y, const sv_picture *picture)
{
    if (x >= c->width) return;
    const size_t across = picture->width < c->width - x ? picture->width : c->width - x;
    for (size_t row = 0; row < picture->height && y + row < c->height; row++)
        memcpy(c->picture.rgb + ((y + row) * c->width + x) * 3, picture->rgb + row * picture->width * 3, across * 3);
}

static void text_pixels(sv_canvas *c, double x, double y, double size, sv_anchor anchor, const uint8_t color[3], const char *text)
{
    sv_letters_draw(&c->picture, x, y, size, anchor, color, text);
}

/* ---- SVG --------------------------------------------------------------------------------------------------------- */

static void fill_svg(sv_canvas *c, double x, double y, double width, double height, const uint8_t color[3])
{
    sv_text_add(&c->svg, "<rect x=\"%.6g\" y=\"%.6g\" width=\"%.6g\" height=\"%.6g\" fill=\"#%02x%02x%02x\"/>\n", x, y, width, height, color[0], color[1], color[2]);
}

static void picture_svg(sv_canvas *c, size_t x, size_t y, const sv_picture *picture)
{
    unsigned char *png = NULL;
    size_t bytes = 0;
    c->failed = sv_png_encode(picture, &png, &bytes, c->err);
    if (c->failed) return;
    sv_text_add(&c->svg, "<image x=\"%zu\" y=\"%zu\" width=\"%zu\" height=\"%zu\" href=\"data:image/png;base64,", x, y, picture->width, picture->height);
    sv_markup_base64(&c->svg, png, bytes);
    sv_text_add(&c->svg, "\"/>\n");
    sv_free(png);
}

static void text_svg(sv_canvas *c, double x, double y, double size, sv_anchor anchor, const uint8_t color[3], const char *text)
{
    static const char *const anchors[] = { [SV_ANCHOR_START] = "start", [SV_ANCHOR_MIDDLE] = "middle", [SV_ANCHOR_END] = "end" };
    sv_text_add(&c->svg, "<text x=\"%.6g\" y=\"%.6g\" font-size=\"%.6g\" text-anchor=\"%s\" fill=\"#%02x%02x%02x\">", x, y, size, anchors[anchor], color[0], color[1], color[2]);
    sv_markup_text(&c->svg, text);
    sv_text_add(&c->svg, "</text>\n");
}

/* ---- both -------------------------------------------------------------------------------------------------------- */

typedef struct canvas_kind {
    void (*fill)(sv_canvas *, double x, double y, double width, double height, const uint8_t color[3]);
    void (*picture)(sv_canvas *, size_t x, size_t y, const sv_picture *);
    void (*text)(sv_canvas *, double x, double y, double size, sv_anchor, const uint8_t color[3], const char *);
} canvas_kind;
static const canvas_kind kinds[] = { [SV_CANVAS_PIXELS] = { fill_pixels, picture_pixels, text_pixels }, [SV_CANVAS_SVG] = { fill_svg, picture_svg, text_svg } };

sv_status sv_canvas_open(sv_canvas *c, sv_canvas_form form, size_t width, size_t height, sv_error *err)
{
    memset(c, 0, sizeof *c);
    if (!width || !height || width > SIDE_MOST || height > SIDE_MOST)
        return sv_fail(err, SV_USAGE, "a figure of %zu x %zu pixels; at most %d a side are possible: show fewer pictures", width, height, SIDE_MOST);
    *c = (sv_canvas){ .form = form, .width = width, .height = height, .err = err };
    if (form == SV_CANVAS_PIXELS) c->failed = sv_picture_resize(&c->picture, width, height, err);
    if (c->failed) return c->failed;
    if (form == SV_CANVAS_PIXELS) memset(c->picture.rgb, 255, width * height * 3);
    else
        sv_text_add(&c->svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.6g\" height=\"%.6g\" viewBox=\"0 0 %zu %zu\" font-family=\"Helvetica,Arial,sans-serif\">\n"
                             "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n", (double)width / 2, (double)height / 2, width, height);
    return SV_OK;
}

void sv_canvas_fill(sv_canvas *c, double x, double y, double width, double height, const uint8_t color[3])
{
    if (!c->failed) kinds[c->form].fill(c, x, y, width, height, color);
}

void sv_canvas_picture(sv_canvas *c, size_t x, size_t y, const sv_picture *picture)
{
    if (!c->failed) kinds[c->form].picture(c, x, y, picture);
}

/* `text` with as many of its characters as fit. */
static void fit(char *room, size_t bytes, const char *text, double size, double most)
{
    sv_text_safe(room, bytes - 3, text);
    size_t length = strlen(room);
    if (sv_letters_width(room, size) <= most) return;
    while (length && (sv_letters_width(room, size) + sv_letters_width("...", size) > most || room[length - 1] == ' ')) {
        do room[--length] = 0;
        while (length && ((unsigned char)room[length - 1] & 0xc0) == 0x80);
        if (length && (unsigned char)room[length - 1] >= 0xc0) room[--length] = 0; /* a first byte whose rest is gone */
    }
    memcpy(room + length, "...", 4);
}

void sv_canvas_text(sv_canvas *c, double x, double y, double size, double most, sv_anchor anchor, const uint8_t color[3], const char *text)
{
    char room[512];
    if (c->failed) return;
    fit(room, sizeof room, text, size, most);
    kinds[c->form].text(c, x, y, size, anchor, color, room);
}

sv_status sv_canvas_check(sv_canvas *c)
{
    if (!c->failed && c->form == SV_CANVAS_SVG) {
        sv_text_add(&c->svg, "</svg>\n");
        c->failed = sv_text_check(&c->svg, c->err);
    }
    return c->failed;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static sv_status write_png(const sv_canvas *c, const char *path, sv_error *err) { return sv_png_write(path, &c->picture, err); }
static sv_status write_jpeg(const sv_canvas *c, const char *path, sv_error *err) { return sv_jpeg_write(path, &c->picture, JPEG_QUALITY, err); }
static sv_status write_svg(const sv_canvas *c, const char *path, sv_error *err) { return sv_file_write_atomic(path, c->svg.data, c->svg.length, err); }

typedef struct file_kind { const char *name; sv_canvas_form form; sv_status (*write)(const sv_canvas *, const char *path, sv_error *); } file_kind;
static const file_kind files[] = { { "png", SV_CANVAS_PIXELS, write_png }, { "jpg", SV_CANVAS_PIXELS, write_jpeg }, { "jpeg", SV_CANVAS_PIXELS, write_jpeg }, { "svg", SV_CANVAS_SVG, write_svg } };

static const file_kind *kind_of(const char *path)
{
    const char *point = strrchr(path, '.');
    for (size_t i = 0; point && i < SV_COUNT(files); i++)
        if (strcasecmp(point + 1, files[i].name) == 0) return &files[i];
    return NULL;
}

sv_status sv_canvas_form_of(sv_canvas_form *out, const char *path, sv_error *err)
{
    const file_kind *kind = kind_of(path);
    if (!kind) return sv_fail(err, SV_USAGE, "%s: a figure is written as .png, .jpg or .svg; give a name that ends in one of them", path);
    *out = kind->form;
    return SV_OK;
}

sv_status sv_canvas_write(sv_canvas *c, const char *path, sv_error *err)
{
    const file_kind *kind = kind_of(path);
    if (!kind || kind->form != c->form) return sv_fail(err, SV_USAGE, "%s: this figure cannot be written under that ending", path);
    return kind->write(c, path, err);
}

void sv_canvas_clear(sv_canvas *c)
{
    sv_picture_clear(&c->picture);
    sv_text_clear(&c->svg);
    memset(c, 0, sizeof *c);
}
