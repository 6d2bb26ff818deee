/* AdamW, C form. The factors that hold for all numbers of a step are worked out in double and rounded once. */
#include "kernels/real.h"

void sv_adamw_step_c(sv_real *p, sv_real *m, sv_real *v, const sv_real *g, size_t count, const sv_adamw *adamw) {
    const sv_real shrink = (sv_real)(1 - adamw->lr * adamw->decay), gradient_scale = (sv_real)adamw->gradient_scale;
    const sv_real keep1 = (sv_real)adamw->beta1, take1 = (sv_real)(1 - adamw->beta1);
    const sv_real keep2 = (sv_real)adamw->beta2, take2 = (sv_real)(1 - adamw->beta2);
    const sv_real step = (sv_real)(-adamw->lr / (1 - pow(adamw->beta1, (double)adamw->t)));
    const sv_real correct = (sv_real)(1 / sqrt(1 - pow(adamw->beta2, (double)adamw->t))), eps = (sv_real)adamw->eps;
    for (size_t i = 0; i < count; i++) {
        const sv_real gradient = g[i] * gradient_scale;
        m[i] = real_fma(keep1, m[i], take1 * gradient);
        v[i] = real_fma(keep2, v[i], take2 * gradient * gradient);
        const sv_real divisor = real_fma(real_sqrt(v[i]), correct, eps);
        p[i] = real_fma(step, m[i] / divisor, p[i] * shrink);
    }
}
