/* RandAugment's table and driver, and colour jitter (spec/training.md 7; timm 0.4.5 data/auto_augment.py). */
#include "data/augment.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* ---- what a level means ------------------------------------------------------------------------------------------ */

enum { LEVEL_MOST = 10 };
static double share_of(double level) { return level / LEVEL_MOST; }
static double no_argument(double level, double sign, bool increasing) { return (void)level, (void)sign, (void)increasing, 0; }
static double degrees(double level, double sign, bool increasing) { return (void)increasing, sign * share_of(level) * 30; }
static double slope(double level, double sign, bool increasing) { return (void)increasing, sign * share_of(level) * 0.3; }
static double translation(double level, double sign, bool increasing) { return (void)increasing, sign * share_of(level) * 0.45; }
static double added(double level, double sign, bool increasing) { return (void)sign, (void)increasing, trunc(share_of(level) * 110); }
static double bits(double level, double sign, bool increasing)
{
    (void)sign;
    return increasing ? 4 - trunc(share_of(level) * 4) : trunc(share_of(level) * 4);
}
static double threshold(double level, double sign, bool increasing)
{
    (void)sign;
    return increasing ? 256 - trunc(share_of(level) * 256) : trunc(share_of(level) * 256);
}
static double factor(double level, double sign, bool increasing)
{
    return increasing ? 1 + sign * share_of(level) * 0.9 : share_of(level) * 1.8 + 0.1;
}

const sv_augment_op sv_augment_ops[SV_AUGMENT_OPS] = {
    { "AutoContrast", no_argument, sv_auto_contrast },
    { "Equalize", no_argument, sv_equalize },
    { "Invert", no_argument, sv_invert },
    { "Rotate", degrees, sv_rotate },
    { "Posterize", bits, sv_posterize },
    { "Solarize", threshold, sv_solarize },
    { "SolarizeAdd", added, sv_solarize_add },
    { "Color", factor, sv_colour },
    { "Contrast", factor, sv_contrast },
    { "Brightness", factor, sv_brightness },
    { "Sharpness", factor, sv_sharpness },
    { "ShearX", slope, sv_shear_x },
    { "ShearY", slope, sv_shear_y },
    { "TranslateX", translation, sv_translate_x },
    { "TranslateY", translation, sv_translate_y },
};

/* ---- the driver -------------------------------------------------------------------------------------------------- */

static const struct part {
    const char *name;
    double least, most;
    size_t place; /* of the double; SIZE_MAX: see part_set */
} parts[] = {
    { "mstd", 0, 10, offsetof(sv_rand_augment, deviation) },
    { "m", 0, 10, offsetof(sv_rand_augment, level) },
    { "p", 0, 1, offsetof(sv_rand_augment, probability) },
    { "n", 1, 16, SIZE_MAX },
    { "inc", 1, 1, SIZE_MAX },
};

static sv_status part_read(sv_rand_augment *out, const char *text, sv_error *err)
{
    for (size_t i = 0; i < SV_COUNT(parts); i++) {
        const size_t length = strlen(parts[i].name);
        double value;
        if (strncmp(text, parts[i].name, length) || !sv_parse_real(text + length, &value)) continue;
        if (!(value >= parts[i].least && value <= parts[i].most))
            return sv_fail(err, SV_USAGE, "'%s' must be from %g to %g (inc0 means inc1 to timm; leave it out instead)", text,
                           parts[i].least, parts[i].most);
        if (parts[i].place != SIZE_MAX)
            memcpy((char *)out + parts[i].place, &value, sizeof value);
        else if (parts[i].name[0] == 'n')
            out->ops = (size_t)value;
        else
            out->increasing = true;
        return SV_OK;
    }
    return sv_fail(err, SV_USAGE, "'%s' is not one of m (level 0..10), n (operations), mstd (spread of the level), p (probability), inc1",
                   text);
}

sv_status sv_rand_augment_read(sv_rand_augment *out, const char *text, sv_error *err)
{
    sv_rand_augment read = { .ops = 2, .level = 10, .probability = 0.5 };
    char part[32];
    *out = (sv_rand_augment){ 0 };
    if (!*text) return SV_OK;
    if (strncmp(text, "rand", 4) || (text[4] && text[4] != '-'))
        return sv_fail(err, SV_USAGE, "'%s' was read where 'rand-m9-mstd0.5-inc1' or the like was expected; only RandAugment is known",
                       text);
    for (text += 4; *text == '-';) {
        const size_t length = strcspn(++text, "-");
        if (length >= sizeof part) return sv_fail(err, SV_USAGE, "'%s' is too long a part of a RandAugment", text);
        memcpy(part, text, length);
        part[length] = 0;
        sv_status status = part_read(&read, part, err);
        if (status) return status;
        text += length;
    }
    *out = read;
    return SV_OK;
}

sv_status sv_rand_augment_apply(const sv_rand_augment *options, const sv_augment_look *look, sv_random *random, sv_picture *picture,
                                sv_picture *spare, sv_error *err)
{
    sv_status status = SV_OK;
    for (size_t i = 0; i < options->ops && !status; i++) {
        const sv_augment_op *op = &sv_augment_ops[sv_random_below(random, SV_AUGMENT_OPS)];
        if (sv_random_uniform(random) > options->probability) continue;
        const double drawn = options->level + options->deviation * sv_random_normal(random), level = drawn < 0            ? 0
                                                                                                     : drawn > LEVEL_MOST ? LEVEL_MOST
                                                                                                                          : drawn;
        const double sign = sv_random_uniform(random) > 0.5 ? -1 : 1;
        status = op->apply(picture, spare, op->argument(level, sign, options->increasing), look, err);
    }
    return status;
}

/* ---- colour jitter ----------------------------------------------------------------------------------------------- */

sv_status sv_colour_jitter(double strength, sv_random *random, sv_picture *picture, sv_picture *spare, sv_error *err)
{
    static sv_status (*const blends[])(sv_picture *, sv_picture *, double, const sv_augment_look *,
                                       sv_error *) = { sv_brightness, sv_contrast, sv_colour };
    const double least = strength < 1 ? 1 - strength : 0;
    uint64_t order[SV_COUNT(blends)];
    sv_status status = SV_OK;
    sv_random_permutation(random, order, SV_COUNT(blends));
    for (size_t i = 0; i < SV_COUNT(blends) && !status; i++)
        status = blends[order[i]](picture, spare, least + (1 + strength - least) * sv_random_uniform(random), NULL, err);
    return status;
}
