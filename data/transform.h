/* From a decoded picture to the numbers a model sees: resize as Pillow does it to the integer (spec/training.md 8), crops, flip,
 * normalisation. Every random choice is a function of (seed, epoch, sample, repeat), so that neither the number of workers nor
 * an interruption can change a picture. */
#ifndef SIEVE_DATA_TRANSFORM_H
#define SIEVE_DATA_TRANSFORM_H

#include "formats/pictures.h"

typedef struct sv_box { size_t left, top, width, height; } sv_box;

/* ---- resize ------------------------------------------------------------------------------------------------------ */

typedef enum sv_interpolation { SV_BICUBIC, SV_BILINEAR } sv_interpolation;

/* Scratch of one thread: coefficient tables and the picture between the two passes. All zero is empty. */
typedef struct sv_resize_axis { size_t in, out, first, count, taps, capacity_lows, capacity_weights; sv_interpolation kind; size_t *lows, *lengths; int32_t *weights; } sv_resize_axis;
typedef struct sv_resizer { sv_resize_axis across, down; uint8_t *between; size_t capacity; } sv_resizer;
void sv_resizer_clear(sv_resizer *resizer);

/* Which pass comes first shows in single grey levels where the height shrinks much more than the width. */
typedef enum sv_pass_order { SV_AS_PILLOW_13, SV_ACROSS_FIRST /* Pillow up to 12 */ } sv_pass_order;

/* The whole result is width x height; `window` is the part of it that is wanted. */
typedef struct sv_resize_to { size_t width, height; sv_box window; sv_interpolation kind; sv_pass_order order; } sv_resize_to;

/* Cuts `crop` out of `from` (a copy: the filter sees nothing outside), resizes it, and gives the window in *to: the same bytes as
 * Pillow's from.crop(...).resize((width, height), kind).crop(window). Boxes must lie inside and not be empty (assert).
 * SV_FAULT: memory; SV_DATA: a window above the picture limit. Then *to is undefined. */
sv_status sv_resize(sv_resizer *resizer, const sv_picture *from, sv_box crop, const sv_resize_to *result, sv_picture *to, sv_error *err) SV_MUST_CHECK;

/* ---- the two transforms ------------------------------------------------------------------------------------------ */

typedef enum sv_crop_round { SV_ROUND_EVEN, SV_ROUND_UP } sv_crop_round;

typedef struct sv_transform_options {
    size_t size;                        /* pixels a side of the result */
    sv_interpolation interpolation;
    sv_pass_order pass_order;
    double crop_ratio;                  /* evaluation: the shorter side becomes floor(size / crop_ratio) before the centre crop; 0.875 */
    sv_crop_round crop_round;           /* evaluation: an odd margin is halved to the even neighbour (torchvision) or up */
    double scale_min, scale_max;        /* training: share of the area a random crop covers; 0.08..1 */
    double ratio_min, ratio_max;        /* training: width over height of the crop; 3/4..4/3 */
    double flip;                        /* training: probability of a horizontal flip; 0.5 */
    float mean[3], deviation[3];        /* of ImageNet: (v / 255 - mean) / deviation, float32 */
} sv_transform_options;

/* 224, bicubic, the defaults above. */
sv_transform_options sv_transform_defaults(void);

/* Names the draws of one picture. `repeat` tells copies of one sample in one epoch apart (repeated augmentation). */
typedef struct sv_draw { uint64_t seed, sample; uint32_t epoch, repeat; } sv_draw;

/* One thread's transform with its scratch. */
typedef struct sv_transform sv_transform;
sv_status sv_transform_create(sv_transform **out, const sv_transform_options *options, sv_error *err) SV_MUST_CHECK;
void sv_transform_destroy(sv_transform *transform);

/* chw: [3, size, size]. After the first pictures of a size these allocate nothing. SV_FAULT: memory. */
sv_status sv_transform_evaluation(sv_transform *transform, const sv_picture *picture, sv_real *chw, sv_error *err) SV_MUST_CHECK;
sv_status sv_transform_training(sv_transform *transform, const sv_picture *picture, sv_draw draw, sv_real *chw, sv_error *err) SV_MUST_CHECK;

/* The box a training crop takes from a width x height picture, and the geometry of the evaluation crop: for the checks and for overlays. */
sv_box sv_training_crop(const sv_transform_options *options, size_t width, size_t height, sv_draw draw);
void sv_evaluation_crop(const sv_transform_options *options, size_t width, size_t height, size_t *resized_width, size_t *resized_height, sv_box *window);

#endif
