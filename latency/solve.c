/* From a budget to keep ratios. The family r, r^2, r^3 ... is found by bisection on r, since the time rises with r. Free ratios
 * are found by walking all falling combinations of a short list of ratios, cut where what is spent already excludes an answer:
 * the part of the time that selector t governs depends on K_t alone, so a walk adds up numbers of a small array. */
#include "latency/latency.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const double KEEP_LEAST = 0.1;

/* Sums of the same times in another order differ in the last bits: a budget equal to the time is met. */
static bool within(double ms, double budget_ms)
{
    return ms <= budget_ms * (1 + 1e-9);
}

static double least_of(const sv_latency_question *question)
{
    return question->keep_least > 0 ? question->keep_least : KEEP_LEAST;
}

/* Of the patches of the selector's own grid. */
static size_t count_of(const sv_latency_shape *shape, size_t t, double keep)
{
    const size_t count = sv_latency_count(shape->of[t], keep);
    return count < shape->least ? shape->least : count;
}

/* Inside a grid what was dropped does not come back. */
static bool same_grid(const sv_latency_shape *shape, size_t t) { return t && shape->on[t] == shape->on[t - 1]; }

/* r^e, e the logarithm of the ratio over that of the first selector that drops anything, or r, r^2, r^3 ... where nothing says otherwise. */
static void family(const sv_latency_question *question, double r, double *keep, size_t *kept)
{
    const sv_latency_shape *shape = question->shape;
    double power = 1, first = 1;
    for (size_t t = 0; question->like && first == 1 && t < shape->selectors; t++) first = question->like[t];
    for (size_t t = 0; t < shape->selectors; t++) {
        power *= r;
        keep[t] = first < 1 ? pow(r, log(question->like[t]) / log(first)) : power;
        kept[t] = count_of(shape, t, keep[t]);
    }
}

static sv_status predict_kept(const sv_latency_question *question, const size_t *kept, sv_latency_prediction *out, sv_error *err)
{
    return sv_latency_predict(question->table, question->batch, question->shape, kept, question->rule, out, err);
}

/* Dense time and budget into an answer that is otherwise empty. */
static sv_status begin_answer(const sv_latency_question *question, sv_latency_answer *out, sv_error *err)
{
    sv_latency_prediction dense;
    assert(question->shape->selectors > 0 && question->shape->selectors <= SV_LATENCY_MOST_STAGES);
    *out = (sv_latency_answer){ .selectors = question->shape->selectors, .budget_ms = question->budget_ms };
    sv_status status = sv_latency_predict_dense(question->table, question->batch, question->shape, question->rule, &dense, err);
    if (!status) out->dense_ms = dense.total_ms;
    return status;
}

/* The fewest decimals of r, rounded down, that still name the same counts. */
static double shorten(const sv_latency_question *question, double r, const size_t *kept)
{
    double keep[SV_LATENCY_MOST_STAGES];
    size_t again[SV_LATENCY_MOST_STAGES];
    for (double scale = 100; scale <= 1e8; scale *= 10) {
        double shorter = floor(r * scale) / scale;
        family(question, shorter, keep, again);
        if (memcmp(kept, again, question->shape->selectors * sizeof *kept) == 0) return shorter;
    }
    return r;
}

static sv_status too_small(const sv_latency_question *question, const sv_latency_answer *least, double r, sv_error *err)
{
    const sv_latency_prediction *parts = &least->predicted;
    return sv_fail(err, SV_BUDGET,
                   "the budget of %.4g ms cannot be met on %s: the least is %.4g ms, at keep ratio %g a selector, of which %.4g ms depend on no selector; "
                   "the dense model takes %.4g ms. Allow at least %.4g ms, place selectors earlier, or take a smaller model",
                   question->budget_ms, question->table->about.device, parts->total_ms, r, parts->fixed_ms, least->dense_ms,
                   ceil(parts->total_ms * 1000) / 1000);
}

sv_status sv_latency_solve_family(const sv_latency_question *question, sv_latency_answer *out, sv_error *err)
{
    sv_latency_answer answer, trial;
    double low = least_of(question), high = 1;
    sv_status status = begin_answer(question, &answer, err);
    if (status) return status;
    trial = answer;
    family(question, low, answer.keep, answer.kept);
    status = predict_kept(question, answer.kept, &answer.predicted, err);
    if (status) return status;
    if (!within(answer.predicted.total_ms, question->budget_ms)) return too_small(question, &answer, low, err);
    family(question, high, trial.keep, trial.kept);
    status = predict_kept(question, trial.kept, &trial.predicted, err);
    if (status) return status;
    if (within(trial.predicted.total_ms, question->budget_ms)) low = high;
    while (high - low > 1e-12) {
        double middle = (low + high) / 2;
        family(question, middle, trial.keep, trial.kept);
        status = predict_kept(question, trial.kept, &trial.predicted, err);
        if (status) return status;
        if (within(trial.predicted.total_ms, question->budget_ms)) low = middle;
        else high = middle;
    }
    family(question, low, answer.keep, answer.kept);
    family(question, shorten(question, low, answer.kept), answer.keep, answer.kept);
    status = predict_kept(question, answer.kept, &answer.predicted, err);
    if (!status) *out = answer;
    return status;
}

static sv_status above_budget(const sv_latency_question *question, const sv_latency_answer *answer, sv_error *err)
{
    sv_latency_answer instead;
    sv_text text = { 0 };
    sv_error why;
    double ms = answer->predicted.total_ms;
    sv_status status = sv_latency_solve_family(question, &instead, &why);
    if (status) return sv_fail(err, status, "the given keep ratios take %.4g ms; %s", ms, why.text);
    for (size_t t = 0; t < instead.selectors; t++) sv_text_add(&text, "%s%.4g", t ? "," : "", instead.keep[t]);
    status = sv_text_check(&text, err);
    if (!status)
        status = sv_fail(err, SV_BUDGET, "the given keep ratios take %.4g ms on %s, above the budget of %.4g ms; keep = %s would take %.4g ms", ms,
                         question->table->about.device, question->budget_ms, text.data, instead.predicted.total_ms);
    sv_text_clear(&text);
    return status;
}

sv_status sv_latency_check_keep(const sv_latency_question *question, const double *keep, sv_latency_answer *out, sv_error *err)
{
    sv_latency_answer answer;
    sv_status status = begin_answer(question, &answer, err);
    if (status) return status;
    for (size_t t = 0; t < answer.selectors; t++) {
        if (!(keep[t] >= 0 && keep[t] <= 1)) return sv_fail(err, SV_USAGE, "keep ratio %g of selector %zu: expected 0 to 1", keep[t], t);
        if (same_grid(question->shape, t) && keep[t] > keep[t - 1])
            return sv_fail(err, SV_USAGE, "keep ratio %g of selector %zu is above %g of the one before; dropped tokens do not come back", keep[t], t, keep[t - 1]);
        answer.keep[t] = keep[t];
        answer.kept[t] = count_of(question->shape, t, keep[t]);
    }
    status = predict_kept(question, answer.kept, &answer.predicted, err);
    if (status) return status;
    *out = answer;
    return within(answer.predicted.total_ms, question->budget_ms) ? SV_OK : above_budget(question, &answer, err);
}

/* ---- free ratios ---- */

typedef struct ratio_walk {
    const sv_latency_costs *costs;
    size_t selectors, steps;                                        /* steps that are not below keep_least */
    double ms[SV_LATENCY_MOST_STAGES][SV_LATENCY_MOST_STEPS];       /* what selector t governs, at step i */
    double least_ms[SV_LATENCY_MOST_STAGES + 1], least_cost[SV_LATENCY_MOST_STAGES + 1]; /* of selectors t and on */
    bool anew[SV_LATENCY_MOST_STAGES];                              /* on another grid than the selector before it */
    size_t now[SV_LATENCY_MOST_STAGES], best[SV_LATENCY_MOST_STAGES];
    double room_ms, best_cost, best_ms;
    bool found;
} ratio_walk;

/* ms[t][i] by the same rule as the prediction: all other selectors at step 0, less what is fixed. */
static sv_status fill_walk(const sv_latency_question *question, ratio_walk *walk, double *fixed_ms, sv_error *err)
{
    const sv_latency_shape *shape = question->shape;
    sv_latency_prediction full, one;
    size_t kept[SV_LATENCY_MOST_STAGES];
    memcpy(kept, shape->of, sizeof kept);
    sv_status status = predict_kept(question, kept, &full, err);
    if (status) return status;
    *fixed_ms = full.fixed_ms;
    for (size_t t = 0; t < shape->selectors; t++) {
        for (size_t i = 0; i < walk->steps; i++) {
            kept[t] = count_of(shape, t, walk->costs->keep[i]);
            status = predict_kept(question, kept, &one, err);
            if (status) return status;
            walk->ms[t][i] = one.kept_ms[t];
        }
        kept[t] = shape->of[t];
    }
    for (size_t t = shape->selectors; t-- > 0;) {
        double ms = INFINITY, cost = INFINITY;
        for (size_t i = 0; i < walk->steps; i++) {
            ms = fmin(ms, walk->ms[t][i]);
            cost = fmin(cost, walk->costs->cost[t * walk->costs->steps + i]);
        }
        walk->least_ms[t] = ms + walk->least_ms[t + 1];
        walk->least_cost[t] = cost + walk->least_cost[t + 1];
    }
    return SV_OK;
}

static void step_down(ratio_walk *walk, size_t t, size_t from, double ms, double cost)
{
    if (t == walk->selectors) {
        if (walk->found && (cost > walk->best_cost || (cost == walk->best_cost && ms >= walk->best_ms))) return;
        walk->found = true;
        walk->best_cost = cost;
        walk->best_ms = ms;
        memcpy(walk->best, walk->now, sizeof walk->best);
        return;
    }
    for (size_t i = walk->anew[t] ? 0 : from; i < walk->steps; i++) {
        double more_ms = walk->ms[t][i], more_cost = cost + walk->costs->cost[t * walk->costs->steps + i];
        if (!within(ms + more_ms + walk->least_ms[t + 1], walk->room_ms)) continue;
        if (walk->found && more_cost + walk->least_cost[t + 1] > walk->best_cost) continue;
        walk->now[t] = i;
        step_down(walk, t + 1, i, ms + more_ms, more_cost);
    }
}

static sv_status check_costs(const sv_latency_question *question, const sv_latency_costs *costs, size_t *steps, sv_error *err)
{
    if (costs->steps == 0 || costs->steps > SV_LATENCY_MOST_STEPS || costs->keep[0] != 1)
        return sv_fail(err, SV_USAGE, "costs at %zu ratios from %g on: expected 1 to %d ratios, the first 1", costs->steps, costs->steps ? costs->keep[0] : 0.0,
                       SV_LATENCY_MOST_STEPS);
    for (size_t i = 1; i < costs->steps; i++)
        if (!(costs->keep[i] >= 0 && costs->keep[i] < costs->keep[i - 1]))
            return sv_fail(err, SV_USAGE, "costs at ratio %g after %g: expected falling ratios of 0 to 1", costs->keep[i], costs->keep[i - 1]);
    for (size_t i = 0; i < question->shape->selectors * costs->steps; i++)
        if (!isfinite(costs->cost[i]))
            return sv_fail(err, SV_USAGE, "the cost of selector %zu at ratio %g is not finite", i / costs->steps, costs->keep[i % costs->steps]);
    *steps = 0;
    while (*steps < costs->steps && costs->keep[*steps] >= least_of(question) - 1e-12) ++*steps;
    return SV_OK;
}

sv_status sv_latency_solve_free(const sv_latency_question *question, const sv_latency_costs *costs, sv_latency_answer *out, sv_error *err)
{
    sv_latency_answer answer;
    ratio_walk walk = { .costs = costs, .selectors = question->shape->selectors };
    double fixed_ms;
    sv_status status = begin_answer(question, &answer, err);
    if (!status) status = check_costs(question, costs, &walk.steps, err);
    if (!status) status = fill_walk(question, &walk, &fixed_ms, err);
    if (status) return status;
    for (size_t t = 0; t < walk.selectors; t++) walk.anew[t] = !same_grid(question->shape, t);
    walk.room_ms = question->budget_ms;
    step_down(&walk, 0, 0, fixed_ms, 0);
    if (!walk.found)
        for (size_t t = 0; t < answer.selectors; t++) walk.best[t] = walk.steps - 1;
    for (size_t t = 0; t < answer.selectors; t++) {
        answer.keep[t] = costs->keep[walk.best[t]];
        answer.kept[t] = count_of(question->shape, t, answer.keep[t]);
    }
    status = predict_kept(question, answer.kept, &answer.predicted, err);
    if (status) return status;
    if (!walk.found) return too_small(question, &answer, costs->keep[walk.steps - 1], err);
    answer.cost = walk.best_cost;
    *out = answer;
    return SV_OK;
}
