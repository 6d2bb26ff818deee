#include "report/heat.h"

#include <math.h>
#include <stdbool.h>

static const double DARK = 0.24, LIGHT = 0.94, HUE_FROM = 300, HUE_TO = 102, CHROMA = 0.16;

/* OKLab to linear sRGB; false where a channel is out of range. */
static bool linear_of(double lightness, double a, double b, double out[3])
{
    const double l = pow(lightness + 0.3963377774 * a + 0.2158037573 * b, 3), m = pow(lightness - 0.1055613458 * a - 0.0638541728 * b, 3),
                 s = pow(lightness - 0.0894841775 * a - 1.2914855480 * b, 3);
    out[0] = 4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s;
    out[1] = -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s;
    out[2] = -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s;
    return out[0] >= 0 && out[0] <= 1 && out[1] >= 0 && out[1] <= 1 && out[2] >= 0 && out[2] <= 1;
}

static uint8_t encoded(double linear)
{
    const double share = linear <= 0.0031308 ? 12.92 * linear : 1.055 * pow(linear, 1 / 2.4) - 0.055;
    return (uint8_t)(255 * fmin(fmax(share, 0), 1) + 0.5);
}

void sv_heat_color(double share, uint8_t rgb[3])
{
    const double t = share > 0 ? fmin(share, 1) : 0, hue = (HUE_FROM + t * (HUE_TO - HUE_FROM)) * 3.14159265358979323846 / 180;
    double linear[3], low = 0, high = CHROMA;
    for (int i = 0; i < 24; i++) { /* the most colour that a screen has of this lightness and hue */
        const double chroma = (low + high) / 2;
        if (linear_of(DARK + t * (LIGHT - DARK), chroma * cos(hue), chroma * sin(hue), linear)) low = chroma;
        else high = chroma;
    }
    (void)linear_of(DARK + t * (LIGHT - DARK), low * cos(hue), low * sin(hue), linear);
    for (int c = 0; c < 3; c++) rgb[c] = encoded(linear[c]);
}
