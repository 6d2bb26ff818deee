/* The evaluation and the training transform: a crop, one resize, a flip, and a table look-up per byte that holds the float32 value
 * (v / 255 - mean) / deviation, so that normalisation has no rounding of its own. */
#include "data/transform.h"

#include <math.h>
#include <string.h>

struct sv_transform {
    sv_transform_options options;
    sv_resizer resizer;
    sv_picture picture, spare;
    sv_augment_look look;
    sv_real values[3][256];
};

sv_transform_options sv_transform_defaults(void)
{
    return (sv_transform_options){ .size = 224, .interpolation = SV_BICUBIC, .crop_ratio = 0.875, .crop_round = SV_ROUND_EVEN, .scale_min = 0.08, .scale_max = 1.0,
                                   .ratio_min = 3.0 / 4.0, .ratio_max = 4.0 / 3.0, .flip = 0.5, .mean = { 0.485f, 0.456f, 0.406f },
                                   .deviation = { 0.229f, 0.224f, 0.225f } };
}

sv_status sv_transform_create(sv_transform **out, const sv_transform_options *options, sv_error *err)
{
    sv_transform *transform;
    sv_status status = sv_alloc_zero(&transform, sizeof *transform, "data", err);
    if (status) return status;
    transform->options = *options;
    for (size_t c = 0; c < 3; c++)
        for (size_t v = 0; v < 256; v++) {
            float share = (float)v / 255.0f;
            transform->values[c][v] = (share - options->mean[c]) / options->deviation[c];
        }
    transform->look.interpolation = options->interpolation;
    for (size_t c = 0; c < 3; c++) transform->look.fill[c] = (uint8_t)nearbyint(255.0 * (double)options->mean[c]);
    *out = transform;
    return SV_OK;
}

void sv_transform_destroy(sv_transform *transform)
{
    if (!transform) return;
    sv_resizer_clear(&transform->resizer);
    sv_picture_clear(&transform->picture);
    sv_picture_clear(&transform->spare);
    sv_free(transform);
}

/* Half of a margin: an odd one goes to the even neighbour, as Python's round does, or up. */
static size_t half(size_t margin, sv_crop_round rule)
{
    size_t down = margin / 2;
    if (margin % 2 == 0) return down;
    return rule == SV_ROUND_UP || down % 2 ? down + 1 : down;
}

void sv_evaluation_crop(const sv_transform_options *options, size_t width, size_t height, size_t *resized_width, size_t *resized_height, sv_box *window)
{
    size_t size = options->size, side = (size_t)floor((double)size / options->crop_ratio);
    bool upright = width < height;
    size_t narrow = upright ? width : height, wide = upright ? height : width;
    size_t other = narrow == side ? wide : (size_t)((double)(side * wide) / (double)narrow);
    *resized_width = upright ? side : other;
    *resized_height = upright ? other : side;
    *window = (sv_box){ half(*resized_width - size, options->crop_round), half(*resized_height - size, options->crop_round), size, size };
}

static sv_box centred(size_t width, size_t height, size_t crop_width, size_t crop_height)
{
    return (sv_box){ (width - crop_width) / 2, (height - crop_height) / 2, crop_width, crop_height };
}

/* Where ten draws find no box: the largest part of the picture within the ratios. */
static sv_box fallback_crop(const sv_transform_options *options, size_t width, size_t height)
{
    double ratio = (double)width / (double)height;
    if (ratio < options->ratio_min) {
        double rows = nearbyint((double)width / options->ratio_min);
        return centred(width, height, width, rows < 1 ? 1 : rows > (double)height ? height : (size_t)rows);
    }
    if (ratio > options->ratio_max) {
        double columns = nearbyint((double)height * options->ratio_max);
        return centred(width, height, columns < 1 ? 1 : columns > (double)width ? width : (size_t)columns, height);
    }
    return (sv_box){ 0, 0, width, height };
}

sv_box sv_training_crop(const sv_transform_options *options, size_t width, size_t height, sv_draw draw)
{
    sv_random random = sv_random_at(draw.seed, SV_FOR_CROP, draw.epoch, draw.sample, draw.repeat);
    double area = (double)width * (double)height, low = log(options->ratio_min), high = log(options->ratio_max);
    for (int attempt = 0; attempt < 10; attempt++) {
        double part = area * (options->scale_min + (options->scale_max - options->scale_min) * sv_random_uniform(&random));
        double ratio = exp(low + (high - low) * sv_random_uniform(&random));
        double columns = nearbyint(sqrt(part * ratio)), rows = nearbyint(sqrt(part / ratio));
        if (columns < 1 || rows < 1 || columns > (double)width || rows > (double)height) continue;
        sv_box box = { 0, 0, (size_t)columns, (size_t)rows };
        box.top = sv_random_below(&random, height - box.height + 1);
        box.left = sv_random_below(&random, width - box.width + 1);
        return box;
    }
    return fallback_crop(options, width, height);
}

sv_box sv_training_part(void *context, size_t width, size_t height)
{
    const sv_look *look = context;
    return sv_training_crop(look->options, width, height, look->draw);
}

/* Inputs of an axis that outputs from .. from + count - 1 of `out` read, with some to spare. */
static size_t reach(size_t in, size_t out, size_t from, size_t count, size_t *first)
{
    const double scale = (double)in / (double)out, support = 2 * fmax(scale, 1) + 2;
    const double low = (double)from * scale - support, high = (double)(from + count) * scale + support;
    *first = low > 0 ? (size_t)low : 0;
    return (high < (double)in ? (size_t)high : in) - *first;
}

sv_box sv_evaluation_part(void *context, size_t width, size_t height)
{
    const sv_look *look = context;
    size_t resized_width, resized_height;
    sv_box window, part;
    sv_evaluation_crop(look->options, width, height, &resized_width, &resized_height, &window);
    part.width = reach(width, resized_width, window.left, window.width, &part.left);
    part.height = reach(height, resized_height, window.top, window.height, &part.top);
    return part;
}

static void flip(sv_picture *picture)
{
    for (size_t y = 0; y < picture->height; y++) {
        uint8_t *left = picture->rgb + y * picture->width * 3, *right = left + (picture->width - 1) * 3;
        for (; left < right; left += 3, right -= 3)
            for (size_t c = 0; c < 3; c++) {
                uint8_t swap = left[c];
                left[c] = right[c];
                right[c] = swap;
            }
    }
}

static void normalise(const sv_transform *transform, sv_real *chw)
{
    size_t count = transform->options.size * transform->options.size;
    const uint8_t *rgb = transform->picture.rgb;
    for (size_t i = 0; i < count; i++, rgb += 3) {
        chw[i] = transform->values[0][rgb[0]];
        chw[count + i] = transform->values[1][rgb[1]];
        chw[2 * count + i] = transform->values[2][rgb[2]];
    }
}

sv_status sv_transform_evaluation(sv_transform *transform, const sv_picture *picture, sv_real *chw, sv_error *err)
{
    sv_box whole = { 0, 0, picture->width, picture->height };
    sv_resize_to result = { .kind = transform->options.interpolation, .order = transform->options.pass_order };
    sv_evaluation_crop(&transform->options, picture->width, picture->height, &result.width, &result.height, &result.window);
    sv_status status = sv_resize(&transform->resizer, picture, whole, &result, &transform->picture, err);
    if (status) return status;
    normalise(transform, chw);
    return SV_OK;
}

static sv_random stream(sv_draw draw, sv_purpose purpose) { return sv_random_at(draw.seed, purpose, draw.epoch, draw.sample, draw.repeat); }

sv_status sv_transform_picture(sv_transform *transform, const sv_picture *picture, sv_draw draw, const sv_picture **out, sv_error *err)
{
    const sv_transform_options *options = &transform->options;
    sv_box crop = sv_training_crop(options, picture->width, picture->height, draw);
    sv_resize_to result = { options->size, options->size, { 0, 0, options->size, options->size }, options->interpolation, options->pass_order };
    sv_status status = sv_resize(&transform->resizer, picture, crop, &result, &transform->picture, err);
    if (status) return status;
    sv_random turn = stream(draw, SV_FOR_FLIP), random = stream(draw, SV_FOR_AUGMENT);
    if (sv_random_uniform(&turn) < options->flip) flip(&transform->picture);
    if (options->augment.ops) status = sv_rand_augment_apply(&options->augment, &transform->look, &random, &transform->picture, &transform->spare, err);
    else if (options->jitter > 0) status = sv_colour_jitter(options->jitter, &random, &transform->picture, &transform->spare, err);
    *out = &transform->picture;
    return status;
}

sv_status sv_transform_training(sv_transform *transform, const sv_picture *picture, sv_draw draw, sv_real *chw, sv_error *err)
{
    const sv_picture *made;
    sv_status status = sv_transform_picture(transform, picture, draw, &made, err);
    if (status) return status;
    normalise(transform, chw);
    sv_random random = stream(draw, SV_FOR_ERASE);
    sv_random_erase(transform->options.erase, &random, chw, transform->options.size);
    return SV_OK;
}
