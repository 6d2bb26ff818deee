/* Augmentation of 8-bit pictures, byte for byte what Pillow and timm 0.4.5 make of the same draws (spec/training.md 6.2, 7): the fifteen
 * operations of RandAugment, colour jitter, random erasing. Every draw comes from a stream the caller names, so that a picture is a function
 * of (seed, epoch, sample, repeat). */
#ifndef SIEVE_DATA_AUGMENT_H
#define SIEVE_DATA_AUGMENT_H

#include "data/resize.h"

/* What moved pictures are sampled and filled with. */
typedef struct sv_augment_look { sv_interpolation interpolation; uint8_t fill[3]; } sv_augment_look;

/* One operation of RandAugment. argument: from a level of 0..10 and a sign of 1 or -1; `increasing` is timm's inc1, where every operation does
 * more with a higher level. apply: changes the picture; `spare` is a second picture to work in, and may be exchanged with it. Sizes stay. */
typedef struct sv_augment_op {
    const char *name;
    double (*argument)(double level, double sign, bool increasing);
    sv_status (*apply)(sv_picture *picture, sv_picture *spare, double argument, const sv_augment_look *look, sv_error *err);
} sv_augment_op;
enum { SV_AUGMENT_OPS = 15 };
extern const sv_augment_op sv_augment_ops[SV_AUGMENT_OPS];

/* ---- RandAugment (Cubuk et al. 2019; timm's strings) --------------------------------------------------------------------- */

typedef struct sv_rand_augment { size_t ops; double level, deviation, probability; bool increasing; } sv_rand_augment; /* ops 0: off */
/* "rand-m9-mstd0.5-inc1" and the like; "" turns it off. SV_USAGE: what is wrong with it, without a name before the message. */
sv_status sv_rand_augment_read(sv_rand_augment *out, const char *text, sv_error *err) SV_MUST_CHECK;
sv_status sv_rand_augment_apply(const sv_rand_augment *options, const sv_augment_look *look, sv_random *random, sv_picture *picture, sv_picture *spare,
                                sv_error *err) SV_MUST_CHECK;

/* ---- colour jitter (torchvision.transforms.ColorJitter(strength, strength, strength)) ------------------------------------ */

/* Brightness, contrast and colour, each by a factor of U(1 - strength, 1 + strength), in a drawn order. */
sv_status sv_colour_jitter(double strength, sv_random *random, sv_picture *picture, sv_picture *spare, sv_error *err) SV_MUST_CHECK;

/* ---- random erasing (Zhong et al. 2017; timm's mode "pixel") ------------------------------------------------------------- */

/* The box drawn for a size x size picture, and whether there is one; ten attempts. */
bool sv_erase_draw(double probability, size_t size, sv_random *random, sv_box *box);
/* With that probability a box of chw[3, size, size] becomes independent N(0, 1). */
void sv_random_erase(double probability, sv_random *random, sv_real *chw, size_t size);

/* ---- the operations themselves, for the table and the checks ------------------------------------------------------------- */

/* augment_points.c. Blends lie on the line from a degenerate picture (factor 0) through the picture (factor 1). */
sv_status sv_auto_contrast(sv_picture *picture, sv_picture *spare, double unused, const sv_augment_look *look, sv_error *err) SV_MUST_CHECK;
sv_status sv_equalize(sv_picture *picture, sv_picture *spare, double unused, const sv_augment_look *look, sv_error *err) SV_MUST_CHECK;
sv_status sv_invert(sv_picture *picture, sv_picture *spare, double unused, const sv_augment_look *look, sv_error *err) SV_MUST_CHECK;
sv_status sv_posterize(sv_picture *picture, sv_picture *spare, double bits, const sv_augment_look *look, sv_error *err) SV_MUST_CHECK;
sv_status sv_solarize(sv_picture *picture, sv_picture *spare, double threshold, const sv_augment_look *look, sv_error *err) SV_MUST_CHECK;
sv_status sv_solarize_add(sv_picture *picture, sv_picture *spare, double add, const sv_augment_look *look, sv_error *err) SV_MUST_CHECK;
sv_status sv_colour(sv_picture *picture, sv_picture *spare, double factor, const sv_augment_look *look, sv_error *err) SV_MUST_CHECK;
sv_status sv_contrast(sv_picture *picture, sv_picture *spare, double factor, const sv_augment_look *look, sv_error *err) SV_MUST_CHECK;
sv_status sv_brightness(sv_picture *picture, sv_picture *spare, double factor, const sv_augment_look *look, sv_error *err) SV_MUST_CHECK;
sv_status sv_sharpness(sv_picture *picture, sv_picture *spare, double factor, const sv_augment_look *look, sv_error *err) SV_MUST_CHECK;
/* augment_affine.c. Degrees turn counter-clockwise, within (-90, 90); shears are slopes; translations shares of width and height. */
sv_status sv_rotate(sv_picture *picture, sv_picture *spare, double degrees, const sv_augment_look *look, sv_error *err) SV_MUST_CHECK;
sv_status sv_shear_x(sv_picture *picture, sv_picture *spare, double slope, const sv_augment_look *look, sv_error *err) SV_MUST_CHECK;
sv_status sv_shear_y(sv_picture *picture, sv_picture *spare, double slope, const sv_augment_look *look, sv_error *err) SV_MUST_CHECK;
sv_status sv_translate_x(sv_picture *picture, sv_picture *spare, double share, const sv_augment_look *look, sv_error *err) SV_MUST_CHECK;
sv_status sv_translate_y(sv_picture *picture, sv_picture *spare, double share, const sv_augment_look *look, sv_error *err) SV_MUST_CHECK;

#endif
