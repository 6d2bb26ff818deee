/* From a decoded picture to the numbers a model sees, in this order: crop, resize, flip, RandAugment or colour jitter, normalisation,
 * random erasing (spec/training.md 6). Every random choice is a function of (seed, epoch, sample, repeat), so that neither the number of workers nor
 * an interruption can change a picture. */
#ifndef SIEVE_DATA_TRANSFORM_H
#define SIEVE_DATA_TRANSFORM_H

#include "data/augment.h"

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
    sv_rand_augment augment;            /* training; ops 0: none */
    double jitter;                      /* training: strength of colour jitter where RandAugment is off; 0: none */
    double erase;                       /* training: probability of random erasing */
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

/* Rules for sv_picture_decode_part: what of a picture these transforms look at. */
typedef struct sv_look { const sv_transform_options *options; sv_draw draw; } sv_look;
sv_part_rule sv_training_part, sv_evaluation_part; /* context: an sv_look; evaluation does not read the draw */

/* A training picture before it becomes numbers (no erasing), for people to look at; borrowed until the next call. */
sv_status sv_transform_picture(sv_transform *transform, const sv_picture *picture, sv_draw draw, const sv_picture **out, sv_error *err) SV_MUST_CHECK;

/* The box a training crop takes from a width x height picture, and the geometry of the evaluation crop: for the checks and for overlays. */
sv_box sv_training_crop(const sv_transform_options *options, size_t width, size_t height, sv_draw draw);
void sv_evaluation_crop(const sv_transform_options *options, size_t width, size_t height, size_t *resized_width, size_t *resized_height, sv_box *window);

#endif
