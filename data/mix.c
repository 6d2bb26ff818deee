/* Mixup and cutmix. Pairs (i, B-1-i) are taken together, so that both are computed from what stood there before. */
#include "data/mix.h"

#include <assert.h>
#include <math.h>

/* Gamma(alpha, 1) by Marsaglia and Tsang (2000); below 1 by the boost Gamma(a + 1) * u^(1/a). */
static double gamma_draw(sv_random *random, double alpha)
{
    double boost = 1.0;
    if (alpha < 1.0) {
        boost = pow(sv_random_uniform(random), 1.0 / alpha);
        alpha += 1.0;
    }
    double d = alpha - 1.0 / 3.0, c = 1.0 / sqrt(9.0 * d);
    for (;;) {
        double x = sv_random_normal(random), v = 1.0 + c * x;
        if (v <= 0.0) continue;
        v = v * v * v;
        if (log(sv_random_uniform(random)) < 0.5 * x * x + d * (1.0 - v + log(v))) return d * v * boost;
    }
}

static double beta_draw(sv_random *random, double alpha)
{
    double x = gamma_draw(random, alpha), y = gamma_draw(random, alpha);
    return x + y > 0.0 ? x / (x + y) : 0.5;
}

/* Borders of a side of `cut` around `centre`, inside 0..length. An odd cut gives a side one shorter, as in timm. */
static void side(size_t centre, size_t cut, size_t length, size_t *from, size_t *to)
{
    size_t reach = cut / 2;
    *from = centre > reach ? centre - reach : 0;
    *to = centre + reach < length ? centre + reach : length;
}

sv_mix sv_mix_draw(const sv_mix_options *options, uint64_t seed, uint32_t epoch, uint64_t step, size_t height, size_t width)
{
    sv_random random = sv_random_at(seed, SV_FOR_MIX, epoch, step, 0);
    sv_mix mix = { .kind = SV_MIX_NONE, .share = 1 };
    if (options->mixup <= 0 && options->cutmix <= 0) return mix;
    if (sv_random_uniform(&random) >= options->probability) return mix;
    bool cut = options->cutmix > 0 && (options->mixup <= 0 || sv_random_uniform(&random) < options->switching);
    double share = beta_draw(&random, cut ? options->cutmix : options->mixup);
    mix.kind = cut ? SV_MIX_CUT : SV_MIX_UP;
    mix.share = share;
    if (cut) {
        double root = sqrt(1.0 - share);
        side(sv_random_below(&random, height), (size_t)((double)height * root), height, &mix.top, &mix.bottom);
        side(sv_random_below(&random, width), (size_t)((double)width * root), width, &mix.left, &mix.right);
        double area = (double)(mix.bottom - mix.top) * (double)(mix.right - mix.left);
        mix.share = 1.0 - area / ((double)height * (double)width);
    }
    if (mix.share == 1) mix.kind = SV_MIX_NONE;
    return mix;
}

static void blend(sv_real *restrict one, sv_real *restrict other, size_t count, double share)
{
    sv_real own = (sv_real)share, rest = (sv_real)(1.0 - share);
    for (size_t i = 0; i < count; i++) {
        sv_real a = one[i], b = other[i];
        one[i] = own * a + rest * b;
        other[i] = own * b + rest * a;
    }
}

static void exchange(const sv_mix *mix, sv_real *restrict one, sv_real *restrict other, size_t width)
{
    for (size_t y = mix->top; y < mix->bottom; y++)
        for (size_t x = mix->left; x < mix->right; x++) {
            sv_real swap = one[y * width + x];
            one[y * width + x] = other[y * width + x];
            other[y * width + x] = swap;
        }
}

void sv_mix_pictures(const sv_mix *mix, sv_real *pictures, size_t count, size_t channels, size_t height, size_t width)
{
    sv_mix_pictures_of(mix, pictures, count, 0, count, channels, height, width);
}

void sv_mix_pictures_of(const sv_mix *mix, sv_real *pictures, size_t count, size_t first, size_t end, size_t channels, size_t height, size_t width)
{
    size_t plane = height * width, picture = channels * plane;
    if (mix->kind == SV_MIX_NONE) return;
    assert(count % 2 == 0 && "a mixed batch has an even number of pictures");
    for (size_t i = 0; i < count / 2; i++) {
        const size_t partner = count - 1 - i;
        if ((i < first || i >= end) && (partner < first || partner >= end)) continue;
        sv_real *one = pictures + i * picture, *other = pictures + partner * picture;
        if (mix->kind == SV_MIX_UP)
            blend(one, other, picture, mix->share);
        else
            for (size_t c = 0; c < channels; c++) exchange(mix, one + c * plane, other + c * plane, width);
    }
}

void sv_mix_targets(const sv_mix *mix, double smoothing, const uint32_t *labels, size_t count, size_t classes, sv_real *targets)
{
    double off = smoothing / (double)classes, on = 1.0 - smoothing + off;
    for (size_t i = 0; i < count; i++) {
        uint32_t own = labels[i], partner = labels[count - 1 - i];
        sv_real *row = targets + i * classes;
        assert(own < classes && partner < classes && "labels are below the number of classes");
        for (size_t k = 0; k < classes; k++) row[k] = (sv_real)off;
        if (mix->kind == SV_MIX_NONE || own == partner) {
            row[own] = (sv_real)on;
        } else {
            row[own] = (sv_real)(mix->share * on + (1.0 - mix->share) * off);
            row[partner] = (sv_real)(mix->share * off + (1.0 - mix->share) * on);
        }
    }
}
