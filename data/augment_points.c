/* Operations that keep every pixel where it is: tables of 256 entries, and blends with a degenerate picture (spec/training.md 7.2, 7.3;
 * Pillow's ImageOps, ImageEnhance, ImageFilter.SMOOTH). */
#include "data/augment.h"
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

typedef struct point_table {
    uint8_t of[3][256];
} point_table;

static sv_status look_up(sv_picture *picture, const point_table *table)
{
    uint8_t *rgb = picture->rgb;
    for (size_t i = 0, count = picture->width * picture->height; i < count; i++, rgb += 3)
        for (size_t c = 0; c < 3; c++) rgb[c] = table->of[c][rgb[c]];
    return SV_OK;
}

static uint8_t to_byte(int64_t value) { return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value; }

/* ---- tables ------------------------------------------------------------------------------------------------------ */

typedef struct histogram {
    uint32_t of[3][256];
} histogram;

static void count_values(const sv_picture *picture, histogram *h)
{
    const uint8_t *rgb = picture->rgb;
    memset(h, 0, sizeof *h);
    for (size_t i = 0, count = picture->width * picture->height; i < count; i++, rgb += 3)
        for (size_t c = 0; c < 3; c++) h->of[c][rgb[c]]++;
}

sv_status sv_auto_contrast(sv_picture *picture, sv_picture *spare, double unused, const sv_augment_look *look, sv_error *err)
{
    (void)spare, (void)unused, (void)look, (void)err;
    histogram h;
    point_table table;
    count_values(picture, &h);
    for (size_t c = 0; c < 3; c++) {
        int low = 0, high = 255;
        while (low < 255 && !h.of[c][low]) low++;
        while (high > 0 && !h.of[c][high]) high--;
        const double scale = high > low ? 255.0 / (high - low) : 1, offset = high > low ? -low * scale : 0;
        for (int i = 0; i < 256; i++) table.of[c][i] = to_byte((int64_t)(i * scale + offset));
    }
    return look_up(picture, &table);
}

static void equalize_channel(const uint32_t counts[256], uint8_t table[256])
{
    uint64_t sum = 0, last = 0, kinds = 0;
    for (size_t i = 0; i < 256; i++) {
        sum += counts[i];
        if (counts[i]) last = counts[i];
        kinds += counts[i] != 0;
    }
    const uint64_t step = (sum - last) / 255;
    uint64_t n = step / 2;
    for (size_t i = 0; i < 256; i++) {
        table[i] = kinds <= 1 || !step ? (uint8_t)i : to_byte((int64_t)(n / step));
        n += counts[i];
    }
}

sv_status sv_equalize(sv_picture *picture, sv_picture *spare, double unused, const sv_augment_look *look, sv_error *err)
{
    (void)spare, (void)unused, (void)look, (void)err;
    histogram h;
    point_table table;
    count_values(picture, &h);
    for (size_t c = 0; c < 3; c++) equalize_channel(h.of[c], table.of[c]);
    return look_up(picture, &table);
}

/* A table that is the same for all channels. */
static sv_status look_up_one(sv_picture *picture, const uint8_t one[256])
{
    uint8_t *bytes = picture->rgb;
    for (size_t i = 0, count = picture->width * picture->height * 3; i < count; i++) bytes[i] = one[bytes[i]];
    return SV_OK;
}

sv_status sv_invert(sv_picture *picture, sv_picture *spare, double unused, const sv_augment_look *look, sv_error *err)
{
    (void)spare, (void)unused, (void)look, (void)err;
    uint8_t *bytes = picture->rgb;
    for (size_t i = 0, count = picture->width * picture->height * 3; i < count; i++) bytes[i] = (uint8_t)(255 - bytes[i]);
    return SV_OK;
}

sv_status sv_posterize(sv_picture *picture, sv_picture *spare, double bits, const sv_augment_look *look, sv_error *err)
{
    (void)spare, (void)look, (void)err;
    const int kept = bits < 0 ? 0 : bits > 8 ? 8 : (int)bits;
    const uint8_t mask = (uint8_t)(0xff << (8 - kept));
    uint8_t *bytes = picture->rgb;
    for (size_t i = 0, count = picture->width * picture->height * 3; i < count; i++) bytes[i] = (uint8_t)(bytes[i] & mask);
    return SV_OK;
}

sv_status sv_solarize(sv_picture *picture, sv_picture *spare, double threshold, const sv_augment_look *look, sv_error *err)
{
    (void)spare, (void)look, (void)err;
    uint8_t table[256];
    for (int i = 0; i < 256; i++) table[i] = (uint8_t)(i < threshold ? i : 255 - i);
    return look_up_one(picture, table);
}

sv_status sv_solarize_add(sv_picture *picture, sv_picture *spare, double add, const sv_augment_look *look, sv_error *err)
{
    (void)spare, (void)look, (void)err;
    uint8_t table[256];
    for (int i = 0; i < 256; i++) table[i] = i < 128 ? to_byte(i + (int64_t)add) : (uint8_t)i;
    return look_up_one(picture, table);
}

/* ---- blends ------------------------------------------------------------------------------------------------------ */

static sv_status blend_with(sv_picture *picture, const sv_picture *far, double factor)
{
    const float f = (float)factor;
    const size_t count = picture->width * picture->height * 3;
    if (f == 0)
        memcpy(picture->rgb, far->rgb, count);
    else if (f != 1)
        sv_blend_bytes(picture->rgb, far->rgb, f, count);
    return SV_OK;
}

static uint8_t luma(const uint8_t *rgb) { return (uint8_t)((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 0x8000u) >> 16); }

sv_status sv_colour(sv_picture *picture, sv_picture *spare, double factor, const sv_augment_look *look, sv_error *err)
{
    (void)look;
    sv_status status = sv_picture_resize(spare, picture->width, picture->height, err);
    if (status) return status;
    for (size_t i = 0, count = picture->width * picture->height; i < count; i++) memset(spare->rgb + 3 * i, luma(picture->rgb + 3 * i), 3);
    return blend_with(picture, spare, factor);
}

sv_status sv_contrast(sv_picture *picture, sv_picture *spare, double factor, const sv_augment_look *look, sv_error *err)
{
    (void)look;
    const size_t count = picture->width * picture->height;
    uint64_t sum = 0;
    sv_status status = sv_picture_resize(spare, picture->width, picture->height, err);
    if (status) return status;
    for (size_t i = 0; i < count; i++) sum += luma(picture->rgb + 3 * i);
    memset(spare->rgb, (int)((double)sum / (double)count + 0.5), count * 3);
    return blend_with(picture, spare, factor);
}

sv_status sv_brightness(sv_picture *picture, sv_picture *spare, double factor, const sv_augment_look *look, sv_error *err)
{
    (void)look;
    sv_status status = sv_picture_resize(spare, picture->width, picture->height, err);
    if (status) return status;
    memset(spare->rgb, 0, picture->width * picture->height * 3);
    return blend_with(picture, spare, factor);
}

sv_status sv_sharpness(sv_picture *picture, sv_picture *spare, double factor, const sv_augment_look *look, sv_error *err)
{
    (void)look;
    const size_t width = picture->width, height = picture->height, row = width * 3;
    sv_status status = sv_picture_resize(spare, width, height, err);
    if (status) return status;
    memcpy(spare->rgb, picture->rgb, row * height);
    for (size_t y = 1; width > 2 && y + 1 < height; y++) {
        const uint8_t *here = picture->rgb + y * row;
        sv_smooth_bytes(spare->rgb + y * row, here - row, here, here + row, row);
    }
    return blend_with(picture, spare, factor);
}
