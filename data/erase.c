/* Random erasing (spec/training.md 6.2; timm 0.4.5 data/random_erasing.py, mode "pixel", one box). */
#include "data/augment.h"

#include <math.h>

bool sv_erase_draw(double probability, size_t size, sv_random *random, sv_box *box)
{
    const double area = (double)size * (double)size, steepest = log(1 / 0.3);
    if (probability <= 0 || sv_random_uniform(random) > probability) return false;
    for (int attempt = 0; attempt < 10; attempt++) {
        const double part = area * (0.02 + (1.0 / 3.0 - 0.02) * sv_random_uniform(random));
        const double ratio = exp(-steepest + 2 * steepest * sv_random_uniform(random));
        const double height = nearbyint(sqrt(part * ratio)), width = nearbyint(sqrt(part / ratio));
        if (!(width < (double)size && height < (double)size)) continue;
        box->width = (size_t)width;
        box->height = (size_t)height;
        box->top = sv_random_below(random, size - box->height + 1);
        box->left = sv_random_below(random, size - box->width + 1);
        return true;
    }
    return false;
}

void sv_random_erase(double probability, sv_random *random, sv_real *chw, size_t size)
{
    sv_box box;
    if (!sv_erase_draw(probability, size, random, &box)) return;
    for (size_t c = 0; c < 3; c++)
        for (size_t y = box.top; y < box.top + box.height; y++)
            for (size_t x = box.left; x < box.left + box.width; x++) chw[(c * size + y) * size + x] = (sv_real)sv_random_normal(random);
}
