/* A letter is a list of strokes in tenths of an em, baseline at 0, up is negative: "L x y x y ..." is a line through points (twice the same: a dot),
 * "A cx cy rx ry from to" a part of an ellipse by degrees, 0 at the right, 90 below. A pixel is as dark as the pen covers it, by its distance from the
 * nearest stroke. */
#include "report/letters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double PEN = 0.8, SPACING = 0.25; /* tenths of an em */
enum { SEGMENTS_MOST = 256, ARC_STEP = 12 /* degrees */ };

typedef struct letter { double advance; const char *strokes; } letter;
/* ' ' to '~'. */
static const letter letters[] = {
    { 2.7, "" },
    { 2.0, "L .8 -7 .8 -2.2 L .8 -.1 .8 -.1" },
    { 3.4, "L .6 -7 .6 -5 L 2.2 -7 2.2 -5" },
    { 5.6, "L 1.7 -6.6 1 -.4 L 3.9 -6.6 3.2 -.4 L .4 -4.6 4.7 -4.6 L .2 -2.4 4.5 -2.4" },
    { 5.2, "A 2.3 -4.9 1.8 1.5 330 90 A 2.3 -2 2 1.5 270 510 L 2.3 -7.4 2.3 .4" },
    { 7.3, "A 1.5 -5.4 1.3 1.6 0 360 A 5.5 -1.6 1.3 1.6 0 360 L 5.5 -7 1.5 0" },
    { 5.8, "L 5.3 0 1.5 -4.6 A 2.5 -5.6 1.3 1.4 140 395 L 3.6 -4.8 1.1 -3.2 A 2.2 -1.8 1.9 1.8 235 30 L 3.85 -.9 4.9 -3.2" },
    { 1.9, "L .6 -7 .6 -5" },
    { 2.7, "A 3.3 -2.9 2.6 5.2 130 230" },
    { 2.7, "A -.6 -2.9 2.6 5.2 50 -50" },
    { 4.0, "L 1.8 -6.8 1.8 -3.6 L .4 -6 3.2 -4.4 L 3.2 -6 .4 -4.4" },
    { 5.2, "L 2.3 -5 2.3 -.6 L .1 -2.8 4.5 -2.8" },
    { 2.0, "L 1 -.2 .4 1.4" },
    { 3.1, "L .4 -2.5 2.6 -2.5" },
    { 1.9, "L .7 -.1 .7 -.1" },
    { 3.5, "L 3.1 -7 .2 .8" },
    { 5.2, "A 2.4 -3.5 2.05 3.5 0 360" },
    { 5.2, "L .9 -5.6 2.6 -7 2.6 0" },
    { 5.2, "A 2.4 -5.05 1.95 1.95 195 395 L 4 -3.93 .4 0 4.5 0" },
    { 5.2, "A 2.3 -5.3 1.75 1.7 205 450 L 2.3 -3.6 1.7 -3.6 A 2.3 -1.8 2 1.8 270 515" },
    { 5.2, "L 3.6 0 3.6 -7 .2 -2.2 4.7 -2.2" },
    { 5.2, "L 4.2 -7 1 -7 .7 -3.7 A 2.3 -2.25 2.1 2.25 221 510" },
    { 5.2, "A 2.4 -2.2 2 2.2 0 360 A 4.1 -2.3 3.7 4.7 180 265" },
    { 5.2, "L .3 -7 4.5 -7 1.8 0" },
    { 5.2, "A 2.4 -5.3 1.7 1.7 0 360 A 2.4 -1.8 2.05 1.8 0 360" },
    { 5.2, "A 2.4 -4.8 2 2.2 0 360 A .7 -4.7 3.7 4.7 0 85" },
    { 2.0, "L .8 -.1 .8 -.1 L .8 -4.5 .8 -4.5" },
    { 2.1, "L 1 -.2 .4 1.4 L .9 -4.5 .9 -4.5" },
    { 5.2, "L 4.2 -5.2 .5 -2.8 4.2 -.4" },
    { 5.2, "L .3 -3.8 4.4 -3.8 L .3 -1.8 4.4 -1.8" },
    { 5.2, "L .5 -5.2 4.2 -2.8 .5 -.4" },
    { 4.5, "A 2 -5.3 1.7 1.7 190 430 L 2.58 -3.7 2 -3 2 -2.1 L 2 -.1 2 -.1" },
    { 7.8, "A 3.6 -2.8 1.5 1.7 0 360 L 5.1 -4.5 5.1 -2 A 6.05 -2 .95 .9 180 0 A 3.7 -2.9 3.3 3.9 10 -295" },
    { 5.7, "L .2 0 2.8 -7 5.4 0 L 1.1 -2.3 4.5 -2.3" },
    { 5.5, "L .6 0 .6 -7 2.6 -7 A 2.6 -5.3 1.7 1.7 270 450 L 2.6 -3.6 .6 -3.6 L 2.6 -3.6 2.9 -3.6 A 2.9 -1.8 1.9 1.8 270 450 L 2.9 0 .6 0" },
    { 5.8, "A 3.2 -3.5 2.8 3.5 315 45" },
    { 6.1, "L .6 0 .6 -7 2.3 -7 A 2.3 -3.5 3.1 3.5 270 450 L 2.3 0 .6 0" },
    { 5.0, "L 4.3 -7 .6 -7 .6 0 4.4 0 L .6 -3.6 3.9 -3.6" },
    { 4.7, "L 4.2 -7 .6 -7 .6 0 L .6 -3.5 3.7 -3.5" },
    { 6.3, "A 3.2 -3.5 2.8 3.5 315 48 L 5.2 -.95 5.2 -3.2 3.4 -3.2" },
    { 6.0, "L .6 0 .6 -7 L 5 0 5 -7 L .6 -3.6 5 -3.6" },
    { 2.0, "L .7 0 .7 -7" },
    { 4.2, "L 3.2 -7 3.2 -2 A 1.75 -2 1.45 2 0 165" },
    { 5.4, "L .6 0 .6 -7 L 4.8 -7 .6 -2.6 L 2.1 -4.2 5.1 0" },
    { 4.5, "L .6 -7 .6 0 4.1 0" },
    { 7.0, "L .6 0 .6 -7 3.2 -1.4 5.8 -7 5.8 0" },
    { 6.0, "L .6 0 .6 -7 5 0 5 -7" },
    { 6.5, "A 3.2 -3.5 2.85 3.5 0 360" },
    { 5.2, "L .6 0 .6 -7 2.7 -7 A 2.7 -5.1 1.9 1.9 270 450 L 2.7 -3.2 .6 -3.2" },
    { 6.5, "A 3.2 -3.5 2.85 3.5 0 360 L 3.8 -1.8 5.9 .5" },
    { 5.5, "L .6 0 .6 -7 2.7 -7 A 2.7 -5.1 1.9 1.9 270 450 L 2.7 -3.2 .6 -3.2 L 2.7 -3.2 4.9 0" },
    { 5.2, "A 2.5 -5.25 1.9 1.75 328 90 A 2.5 -1.75 2.1 1.75 270 512" },
    { 5.0, "L .1 -7 4.9 -7 L 2.5 -7 2.5 0" },
    { 5.9, "L .6 -7 .6 -2.3 A 2.8 -2.3 2.2 2.3 180 0 L 5 -2.3 5 -7" },
    { 5.4, "L .2 -7 2.7 0 5.2 -7" },
    { 7.5, "L .2 -7 1.9 0 3.7 -7 5.5 0 7.2 -7" },
    { 5.2, "L .3 0 4.8 -7 L .3 -7 4.8 0" },
    { 5.1, "L .1 -7 2.5 -3.4 4.9 -7 L 2.5 -3.4 2.5 0" },
    { 5.2, "L .4 -7 4.6 -7 .3 0 4.7 0" },
    { 2.6, "L 2.1 -7.4 .7 -7.4 .7 1.4 2.1 1.4" },
    { 3.5, "L .2 -7 3.1 .8" },
    { 2.6, "L .3 -7.4 1.7 -7.4 1.7 1.4 .3 1.4" },
    { 4.8, "L .5 -4.2 2.3 -7 4.1 -4.2" },
    { 4.6, "L .1 1 4.5 1" },
    { 2.4, "L .5 -7 1.6 -5.8" },
    { 5.0, "A 2.3 -2.45 1.9 2.45 0 360 L 4.2 -4.9 4.2 0" },
    { 5.0, "L .6 -7.3 .6 0 A 2.5 -2.45 1.9 2.45 0 360" },
    { 4.4, "A 2.4 -2.45 2 2.45 315 45" },
    { 5.0, "A 2.3 -2.45 1.9 2.45 0 360 L 4.2 -7.3 4.2 0" },
    { 4.8, "L .4 -2.6 4.35 -2.6 A 2.4 -2.45 1.98 2.45 -4 -318" },
    { 3.0, "A 2.6 -5.7 1.35 1.65 290 180 L 1.25 -5.7 1.25 0 L .1 -4.8 2.7 -4.8" },
    { 5.0, "A 2.3 -2.45 1.9 2.45 0 360 L 4.2 -4.9 4.2 .2 A 2.35 .2 1.85 1.9 0 150" },
    { 4.9, "L .6 -7.3 .6 0 A 2.4 -2.8 1.8 2.1 180 360 L 4.2 -2.8 4.2 0" },
    { 1.9, "L .7 -4.9 .7 0 L .7 -6.9 .7 -6.9" },
    { 2.0, "L .9 -4.9 .9 .7 A -.2 .7 1.1 1.4 0 95 L .9 -6.9 .9 -6.9" },
    { 4.4, "L .6 -7.3 .6 0 L 3.8 -4.9 .6 -1.8 L 1.7 -2.9 4.1 0" },
    { 1.9, "L .7 -7.3 .7 0" },
    { 7.5, "L .6 -4.9 .6 0 A 2.15 -3 1.55 1.95 180 360 L 3.7 -3 3.7 0 A 5.25 -3 1.55 1.95 180 360 L 6.8 -3 6.8 0" },
    { 4.9, "L .6 -4.9 .6 0 A 2.4 -2.8 1.8 2.15 180 360 L 4.2 -2.8 4.2 0" },
    { 4.9, "A 2.4 -2.45 2 2.45 0 360" },
    { 5.0, "L .6 -4.9 .6 2.1 A 2.5 -2.45 1.9 2.45 0 360" },
    { 5.0, "A 2.3 -2.45 1.9 2.45 0 360 L 4.2 -4.9 4.2 2.1" },
    { 3.1, "L .6 -4.9 .6 0 A 2.5 -2.7 1.9 2.2 180 285" },
    { 4.2, "A 2 -3.7 1.45 1.2 325 90 A 2 -1.25 1.6 1.25 270 512" },
    { 3.1, "L 1.2 -6.5 1.2 -1.4 A 2.5 -1.4 1.3 1.4 180 80 L .1 -4.8 2.8 -4.8" },
    { 4.9, "L .6 -4.9 .6 -2.1 A 2.4 -2.1 1.8 2.1 180 0 L 4.2 -4.9 4.2 0" },
    { 4.4, "L .2 -4.9 2.2 0 4.2 -4.9" },
    { 6.3, "L .2 -4.9 1.6 0 3.1 -4.9 4.6 0 6 -4.9" },
    { 4.2, "L .3 0 3.9 -4.9 L .3 -4.9 3.9 0" },
    { 4.4, "L .2 -4.9 2.25 0 L 4.2 -4.9 2.1 .5 1.5 1.6 .4 2" },
    { 4.3, "L .4 -4.9 3.8 -4.9 .4 0 3.9 0" },
    { 3.0, "A 2.5 -6.1 .9 1.3 270 180 L 1.6 -6.1 1.6 -4.1 A .7 -4.1 .9 1.2 0 90 A .7 -1.7 .9 1.2 270 360 L 1.6 -1.7 1.6 .1 A 2.5 .1 .9 1.3 180 90" },
    { 2.0, "L .8 -7.5 .8 1.5" },
    { 3.0, "A .5 -6.1 .9 1.3 270 360 L 1.4 -6.1 1.4 -4.1 A 2.3 -4.1 .9 1.2 180 90 A 2.3 -1.7 .9 1.2 270 180 L 1.4 -1.7 1.4 .1 A .5 .1 .9 1.3 0 90" },
    { 5.2, "A 1.4 -2.7 1.1 .9 180 360 A 3.6 -2.7 1.1 .9 180 0" },
};
_Static_assert(sizeof letters / sizeof letters[0] == '~' - ' ' + 1, "a letter for each character from blank to tilde");
static const letter unknown = { 5.2, "L .6 0 .6 -7 4.4 -7 4.4 0 .6 0" };

typedef struct segment { double x, y, to_x, to_y; } segment;

/* The next letter; *text goes behind its bytes. */
static const letter *next(const char **text)
{
    const unsigned char c = (unsigned char)*(*text)++;
    if (c >= ' ' && c <= '~') return &letters[c - ' '];
    while (((unsigned char)**text & 0xc0) == 0x80) (*text)++;
    return &unknown;
}

double sv_letters_width(const char *text, double size)
{
    double sum = 0;
    while (*text) sum += next(&text)->advance + SPACING;
    return sum * size / 10;
}

static size_t numbers(const char **at, double *out, size_t most)
{
    size_t count = 0;
    for (char *end; count < most; *at = end) {
        const double value = strtod(*at, &end);
        if (end == *at) break;
        out[count++] = value;
    }
    while (**at == ' ') (*at)++;
    return count;
}

static size_t arc(const double *a, segment *out)
{
    static const double radians = 3.14159265358979323846 / 180;
    const size_t steps = (size_t)ceil(fabs(a[5] - a[4]) / ARC_STEP);
    for (size_t i = 0; i < steps; i++) {
        const double from = (a[4] + (a[5] - a[4]) * (double)i / (double)steps) * radians, to = (a[4] + (a[5] - a[4]) * (double)(i + 1) / (double)steps) * radians;
        out[i] = (segment){ a[0] + a[2] * cos(from), a[1] + a[3] * sin(from), a[0] + a[2] * cos(to), a[1] + a[3] * sin(to) };
    }
    return steps;
}

static size_t flatten(const letter *of, segment *out)
{
    enum { NUMBERS = 16 };
    size_t count = 0;
    for (const char *at = of->strokes; *at;) {
        double v[NUMBERS];
        const char kind = *at++;
        const size_t have = numbers(&at, v, NUMBERS);
        if (kind == 'A') count += arc(v, out + count);
        else
            for (size_t i = 0; i + 3 < have; i += 2) out[count++] = (segment){ v[i], v[i + 1], v[i + 2], v[i + 3] };
    }
    return count;
}

static double distance(const segment *s, double x, double y)
{
    const double dx = s->to_x - s->x, dy = s->to_y - s->y, length = dx * dx + dy * dy;
    double along = length > 0 ? ((x - s->x) * dx + (y - s->y) * dy) / length : 0;
    along = fmin(fmax(along, 0), 1);
    return hypot(x - s->x - along * dx, y - s->y - along * dy);
}

static size_t inside(double value, size_t most) { return value <= 0 ? 0 : value >= (double)most ? most : (size_t)value; }

static void draw(sv_picture *picture, double x, double y, double unit, const letter *of, const uint8_t color[3])
{
    segment segments[SEGMENTS_MOST];
    const size_t count = flatten(of, segments);
    if (!count) return;
    const size_t left = inside(x - 2 * unit, picture->width), right = inside(x + (of->advance + 2) * unit, picture->width);
    const size_t top = inside(y - 9 * unit, picture->height), bottom = inside(y + 4 * unit, picture->height);
    for (size_t row = top; row < bottom; row++)
        for (size_t column = left; column < right; column++) {
            double least = HUGE_VAL;
            for (size_t i = 0; i < count; i++) least = fmin(least, distance(&segments[i], ((double)column + 0.5 - x) / unit, ((double)row + 0.5 - y) / unit));
            const double cover = fmin(fmax((PEN / 2 - least) * unit + 0.5, 0), 1);
            uint8_t *pixel = picture->rgb + (row * picture->width + column) * 3;
            for (size_t c = 0; cover > 0 && c < 3; c++) pixel[c] = (uint8_t)(pixel[c] + cover * (color[c] - pixel[c]) + 0.5);
        }
}

void sv_letters_draw(sv_picture *picture, double x, double y, double size, sv_anchor anchor, const uint8_t color[3], const char *text)
{
    static const double part[] = { [SV_ANCHOR_START] = 0, [SV_ANCHOR_MIDDLE] = 0.5, [SV_ANCHOR_END] = 1 };
    x -= part[anchor] * sv_letters_width(text, size);
    while (*text) {
        const letter *of = next(&text);
        draw(picture, x, y, size / 10, of, color);
        x += (of->advance + SPACING) * size / 10;
    }
}
