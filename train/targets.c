/* What the selectors must keep, solved by the table: at the start from the budget, after a measured round that was over it, and at the end of an epoch
 * whose deployed model keeps other counts than were asked for. */
#include "train/session.h"

#include <math.h>

static const double DEAF = 0.01, FOLLOW_MOST = 0.1; /* drift that is let be; the most one correction makes of the goal */

static sv_latency_rule rule_of(const sv_session *s) { return (sv_latency_rule)sv_config_choice(s->config, "latency.rule"); }
static size_t batch_of(const sv_session *s) { return (size_t)sv_config_int(s->config, "latency.batch"); }

/* Ratios a person (or a search) chose stay in their relation to one another. */
static sv_latency_question question(const sv_session *s, double budget_ms)
{
    size_t count = 0;
    return (sv_latency_question){ .table = &s->table, .batch = batch_of(s), .shape = &s->shape, .rule = rule_of(s), .budget_ms = budget_ms,
                                  .keep_least = sv_config_real(s->config, "latency.keep_least"),
                                  .like = sv_pruning_keep_given(s->config) ? sv_config_reals(s->config, "pruning.keep", &count) : NULL };
}

/* A model that just meets its budget misses it the next time it is measured. */
static double reserved(const sv_session *s, double budget_ms) { return budget_ms * (1 - sv_config_real(s->config, "latency.reserve")); }

double sv_session_goal_ms(const sv_session *s)
{
    if (s->state.goal_ms > 0) return s->state.goal_ms;
    return isfinite(s->budget_ms) ? reserved(s, s->budget_ms) : s->dense_ms;
}

sv_status sv_session_apply_keep(sv_session *s, const double *keep, sv_error *err)
{
    sv_pruning_plan *plan = sv_pruning_plan_of(s->pruning);
    sv_latency_prediction predicted;
    sv_plan_set_keep(plan, keep);
    for (size_t t = 0; t < plan->stages; t++) s->state.keep[t] = keep[t];
    if (!s->has_table || !plan->stages) return SV_OK;
    sv_status status = sv_latency_predict(&s->table, batch_of(s), &s->shape, plan->count, rule_of(s), &predicted, err);
    if (status) return status;
    s->predicted_ms = predicted.total_ms;
    if (s->training.curve) status = sv_latency_curve(&s->table, batch_of(s), &s->shape, sv_session_goal_ms(s), sv_tape_data(s->training.tape, s->training.curve, 0), err);
    return status;
}

/* "0.700 (137 patches) before block 3, ..." */
static void say_plan(const sv_session *s, const char *begin)
{
    const sv_pruning_plan *plan = sv_pruning_plan_of(s->pruning);
    sv_text text = { 0 };
    const bool merges = plan->stages && sv_method_form_of(plan->method) == SV_IN_EVERY_BLOCK;
    if (merges) sv_text_add(&text, "%.3f (%zu patches, merged) behind the last block", plan->keep[0], plan->count[0]);
    for (size_t t = 0; !merges && t < plan->stages; t++) sv_text_add(&text, "%s%.3f (%zu patches) before block %zu", t ? ", " : "", plan->keep[t], plan->count[t], plan->at[t]);
    if (text.data) sv_log(SV_INFO, "%s %s", begin, text.data);
    sv_text_clear(&text);
}

sv_status sv_session_solve(sv_session *s, sv_error *err)
{
    const sv_pruning_plan *plan = sv_pruning_plan_of(s->pruning);
    sv_latency_question asked = question(s, s->budget_ms);
    sv_latency_answer answer;
    sv_status status = SV_OK;
    if (s->budget.kind == SV_NO_BUDGET) {
        status = sv_session_apply_keep(s, plan->keep, err);
    } else {
        sv_latency_question careful = asked;
        sv_error ignored = { 0 };
        careful.budget_ms = reserved(s, s->budget_ms);
        if (asked.like) status = sv_latency_check_keep(&asked, plan->keep, &answer, err);
        else if (sv_latency_solve_family(&careful, &answer, &ignored)) status = sv_latency_solve_family(&asked, &answer, err); /* no room for a reserve */
        if (!status) status = sv_session_apply_keep(s, answer.keep, err);
    }
    if (status) return status;
    say_plan(s, "keeps");
    sv_log(SV_INFO, "dense %.2f ms, budget %.2f ms, predicted %.2f ms for %s", s->dense_ms, s->budget_ms, s->predicted_ms, s->foreign_table ? s->table.about.device : "this machine");
    return SV_OK;
}

sv_status sv_session_tighten(sv_session *s, sv_error *err)
{
    sv_latency_answer answer;
    const double goal_ms = s->predicted_ms / s->measured_pruned.median_ms * reserved(s, s->budget_ms);
    sv_latency_question asked = question(s, goal_ms);
    sv_status status = sv_latency_solve_family(&asked, &answer, err);
    if (status == SV_BUDGET) return sv_fail_within(err, "measured %.3f ms against a budget of %.3f ms, and no round can mend it: by the table", s->measured_pruned.median_ms, s->budget_ms);
    if (status) return status;
    s->state.goal_ms = goal_ms;
    status = sv_session_apply_keep(s, answer.keep, err);
    if (!status) say_plan(s, "targets from the table anew: keeps");
    return status;
}

/* The table's ms of the mean counts the deployed model kept, which need not be whole. */
static sv_status reached_ms(const sv_session *s, double *ms, sv_error *err)
{
    size_t whole[SV_MOST_STAGES];
    double slope[SV_MOST_STAGES];
    sv_latency_prediction predicted;
    for (size_t t = 0; t < s->shape.selectors; t++) whole[t] = (size_t)s->evaluation.kept[t];
    sv_status status = sv_latency_predict(&s->table, batch_of(s), &s->shape, whole, SV_LATENCY_LINEAR, &predicted, err);
    if (!status) status = sv_latency_slope(&s->table, batch_of(s), &s->shape, s->evaluation.kept, slope, err);
    if (status) return status;
    *ms = predicted.total_ms;
    for (size_t t = 0; t < s->shape.selectors; t++) *ms += slope[t] * (s->evaluation.kept[t] - (double)whole[t]);
    return SV_OK;
}

sv_status sv_session_follow(sv_session *s, sv_error *err)
{
    const sv_pruning_plan *plan = sv_pruning_plan_of(s->pruning);
    sv_latency_answer answer;
    sv_error ignored = { 0 };
    double ms = 0;
    bool same = true;
    if (!s->has_table || !plan->stages || s->budget.kind == SV_NO_BUDGET || !s->evaluation.images || !sv_config_bool(s->config, "latency.follow")) return SV_OK;
    sv_status status = reached_ms(s, &ms, err);
    if (status || fabs(ms / s->predicted_ms - 1) <= DEAF) return status;
    const double factor = fmin(fmax(s->predicted_ms / ms, 1 - FOLLOW_MOST), 1 + FOLLOW_MOST), meant = s->predicted_ms;
    sv_latency_question asked = question(s, sv_session_goal_ms(s) * factor);
    if (sv_latency_solve_family(&asked, &answer, &ignored)) return SV_OK; /* no ratios are so small: the rounds will say it */
    for (size_t t = 0; t < plan->stages; t++) same = same && answer.kept[t] == plan->count[t];
    if (same) return SV_OK;
    status = sv_session_apply_keep(s, answer.keep, err);
    if (status) return status;
    sv_log(SV_INFO, "what was kept takes %.3f ms by the table where %.3f ms were meant: solved anew for %.3f ms", ms, meant, asked.budget_ms);
    say_plan(s, "keeps");
    return SV_OK;
}
