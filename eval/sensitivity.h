/* What keeping less costs in quality: the rise of the loss when one selector alone is reduced. What free keep ratios are solved by
 * (latency/plans.h: sv_costs_read). */
#ifndef SIEVE_EVAL_SENSITIVITY_H
#define SIEVE_EVAL_SENSITIVITY_H

#include "eval/eval.h"

enum { SV_SENSITIVITY_STEPS = 11 };
extern const double sv_sensitivity_keep[SV_SENSITIVITY_STEPS]; /* 1, .9 .. .1, falling */

/* For each selector of the model and each ratio: it keeps that share of all patches, those before it keep all, those behind it what is left to them.
 * cost[stages * SV_SENSITIVITY_STEPS]: mean cross entropy over the first `pictures` pictures of the loader above that of keeping all; a cost never
 * falls with the ratio (noise is taken away by the running maximum). Counts are the same for every picture (the best k). SV_USAGE: no selectors. */
sv_status sv_sensitivity(double *cost, const sv_deployed *deployed, sv_loader *loader, const sv_source *source, size_t batch, size_t pictures, sv_error *err) SV_MUST_CHECK;
/* The lines `selector,keep,cost` of it. */
void sv_sensitivity_print(sv_text *text, const double *cost, size_t stages);

#endif
