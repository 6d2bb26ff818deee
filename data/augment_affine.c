/* Operations that move pixels: each pixel of the result asks where it comes from (spec/training.md 7.4, Pillow's Image.transform). */
#include "data/augment.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sv_status move(sv_picture *picture, sv_picture *spare, sv_move m, const sv_augment_look *look, sv_error *err)
{
    sv_status status = sv_picture_resize(spare, picture->width, picture->height, err);
    if (status) return status;
    m.rgb = picture->rgb;
    m.width = picture->width;
    m.height = picture->height;
    m.linear = look->interpolation == SV_BILINEAR;
    memcpy(m.fill, look->fill, sizeof m.fill);
    for (size_t y = 0; y < picture->height; y++) sv_move_row(spare->rgb + y * picture->width * 3, &m, y);
    const sv_picture moved = *spare;
    *spare = *picture;
    *picture = moved;
    return SV_OK;
}

/* To 15 decimals, as Python's round does: the nearest decimal, read back. */
static double rounded(double x)
{
    char text[32];
    snprintf(text, sizeof text, "%.15f", x);
    return strtod(text, NULL);
}

sv_status sv_rotate(sv_picture *picture, sv_picture *spare, double degrees, const sv_augment_look *look, sv_error *err)
{
    const double pi = 3.14159265358979323846, turn = fmod(degrees, 360) < 0 ? fmod(degrees, 360) + 360 : fmod(degrees, 360);
    if (turn == 0) return SV_OK;
    const double angle = -(turn * (pi / 180)), x = (double)picture->width / 2, y = (double)picture->height / 2;
    sv_move m = { .a = rounded(cos(angle)), .b = rounded(sin(angle)), .d = rounded(-sin(angle)), .e = rounded(cos(angle)) };
    m.c = m.a * -x + m.b * -y + 0 + x;
    m.f = m.d * -x + m.e * -y + 0 + y;
    return move(picture, spare, m, look, err);
}

sv_status sv_shear_x(sv_picture *picture, sv_picture *spare, double slope, const sv_augment_look *look, sv_error *err)
{
    return move(picture, spare, (sv_move){ .a = 1, .b = slope, .e = 1 }, look, err);
}

sv_status sv_shear_y(sv_picture *picture, sv_picture *spare, double slope, const sv_augment_look *look, sv_error *err)
{
    return move(picture, spare, (sv_move){ .a = 1, .d = slope, .e = 1 }, look, err);
}

sv_status sv_translate_x(sv_picture *picture, sv_picture *spare, double share, const sv_augment_look *look, sv_error *err)
{
    return move(picture, spare, (sv_move){ .a = 1, .c = share * (double)picture->width, .e = 1 }, look, err);
}

sv_status sv_translate_y(sv_picture *picture, sv_picture *spare, double share, const sv_augment_look *look, sv_error *err)
{
    return move(picture, spare, (sv_move){ .a = 1, .e = 1, .f = share * (double)picture->height }, look, err);
}
