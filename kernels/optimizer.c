/* AdamW and SGD, C forms. The factors that hold for all numbers of a step are worked out in double and rounded once. */
#include "kernels/real.h"

/* base^exponent by squaring: the same bits everywhere, which libm does not promise. */
static double power(double base, uint64_t exponent)
{
    double result = 1;
    for (; exponent > 0; exponent /= 2, base *= base)
        if (exponent % 2) result *= base;
    return result;
}

sv_adamw_factors sv_adamw_prepare(const sv_adamw *a)
{
    return (sv_adamw_factors){ .gradient_scale = (sv_real)a->gradient_scale,
                               .shrink = (sv_real)(1 - a->lr * a->decay),
                               .keep1 = (sv_real)a->beta1,
                               .take1 = (sv_real)(1 - a->beta1),
                               .keep2 = (sv_real)a->beta2,
                               .take2 = (sv_real)(1 - a->beta2),
                               .step = (sv_real)(-a->lr / (1 - power(a->beta1, a->t))),
                               .correct = (sv_real)(1 / sqrt(1 - power(a->beta2, a->t))),
                               .eps = (sv_real)a->eps };
}

void sv_adamw_step_c(sv_real *p, sv_real *m, sv_real *v, const sv_real *g, size_t count, const sv_adamw *adamw)
{
    const sv_adamw_factors f = sv_adamw_prepare(adamw);
    for (size_t i = 0; i < count; i++) {
        const sv_real gradient = g[i] * f.gradient_scale;
        m[i] = real_fma(f.keep1, m[i], f.take1 * gradient);
        v[i] = real_fma(f.keep2, v[i], f.take2 * gradient * gradient);
        const sv_real divisor = real_fma(real_sqrt(v[i]), f.correct, f.eps);
        p[i] = real_fma(f.step, m[i] / divisor, p[i] * f.shrink);
    }
}

sv_sgd_factors sv_sgd_prepare(const sv_sgd *s)
{
    return (sv_sgd_factors){ .gradient_scale = (sv_real)s->gradient_scale,
                             .decay = (sv_real)s->decay,
                             .momentum = (sv_real)s->momentum,
                             .step = (sv_real)-s->lr };
}

void sv_sgd_step_c(sv_real *p, sv_real *m, const sv_real *g, size_t count, const sv_sgd *sgd)
{
    const sv_sgd_factors f = sv_sgd_prepare(sgd);
    for (size_t i = 0; i < count; i++) {
        const sv_real gradient = real_fma(f.decay, p[i], g[i] * f.gradient_scale);
        m[i] = real_fma(f.momentum, m[i], gradient);
        p[i] = real_fma(f.step, sgd->nesterov ? real_fma(f.momentum, m[i], gradient) : m[i], p[i]);
    }
}
