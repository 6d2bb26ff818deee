/* From a model to the terms its time is a sum of: the parts that pruning lists become ops of latency tables. */
#ifndef SIEVE_LATENCY_SHAPE_H
#define SIEVE_LATENCY_SHAPE_H

#include "latency/measure.h"
#include "pruning/pruning.h"

/* Of the model with the plan's selectors, and dense; of plan->count it depends on nothing. SV_FAULT: no memory, or more kinds of parts than a shape holds. */
sv_status sv_latency_shape_of(sv_latency_shape *out, const sv_model *model, const sv_pruning_plan *plan, sv_error *err) SV_MUST_CHECK;
/* The row that a part's time goes to; kept: of each selector. */
sv_latency_part sv_latency_part_of(const sv_part *part, const size_t *kept);
/* The model's signature (arch .. widths) over what sv_latency_about_here tells. */
void sv_latency_about_model(sv_latency_about *about, const sv_model *model);

#endif
