/* Decisions: which tokens stay (spec SPViT 2.5, 2.6, 7.2), and the order that puts them in front.
 * A row whose origin is below 0 is no patch: its keep is passed on as it is. */
#include "autograd/op_shape.h"
#include "kernels/kernels.h"

#include <math.h>

/* Logistic noise is the difference of the two Gumbel draws of a choice between two.
 * A draw belongs to (seed, epoch, sample, stage, patch). */
static sv_real drawn_noise(const sv_call *call, uint32_t stage, int32_t patch)
{
    sv_random random = sv_random_at(call->step->seed, SV_FOR_DECISION, call->step->epoch, call->sample, stage << 18 | (uint32_t)patch);
    return (sv_real)sv_random_logistic(&random);
}

enum { MOST_STAGES = 1 << 6, MOST_PATCHES = 1 << 18 };

static sv_status decision_shape(sv_node *node, int64_t stage, sv_error *err)
{
    const sv_tensor *a = node->in[0], *before = node->in[1], *origin = node->in[2];
    sv_status status = sv_want_width(a, "a", SV_REAL, 1, err);
    if (!status) status = sv_want_width(before, "before", SV_REAL, 1, err);
    if (!status) status = sv_want_width(origin, "origin", SV_INDEX, 1, err);
    if (!status) status = sv_want_rows(before, "before", a, "a", err);
    if (!status) status = sv_want_rows(origin, "origin", a, "a", err);
    if (status) return status;
    if (stage < 0 || stage >= MOST_STAGES)
        return sv_fail(err, SV_USAGE, "the stage must be 0 to %d, but is %lld", MOST_STAGES - 1, (long long)stage);
    if (a->rows.most > MOST_PATCHES) return sv_fail(err, SV_USAGE, "at most %d tokens can be decided on", MOST_PATCHES);
    node->out[0]->live = before->live;
    return SV_OK;
}

/* ---- decide ------------------------------------------------------------------------------------------------------- */

/* soft = sigmoid((a + noise) / tau), hard = [soft >= 1/2]; keep = before hard, which passes for before (hard - constant(soft) + soft):
 *   da = dkeep before soft (1 - soft) / tau;  dbefore = dkeep hard.
 * The check form (soft) has keep = before soft. soft is saved; of rows that are no patch 1 is saved and they pass dbefore = dkeep alone. */
static sv_status decide_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *noise = node->in[3];
    sv_status status = decision_shape(node, node->attributes.i[0], err);
    if (!status && noise) status = sv_want_width(noise, "noise", SV_REAL, 1, err);
    if (!status && noise) status = sv_want_constant(noise, "noise", err);
    if (!status && !(node->attributes.r[0] > 0)) status = sv_fail(err, SV_USAGE, "tau must be above 0, but is %g", node->attributes.r[0]);
    return status;
}

static sv_real noise_of(const sv_call *call, int32_t patch)
{
    const sv_span *noise = &call->in[3];
    if (!noise->present) return drawn_noise(call, (uint32_t)call->attributes->i[0], patch);
    return (size_t)patch < noise->rows ? noise->data[patch] : 0;
}

static sv_real step_of(const sv_call *call, sv_real soft) { return call->attributes->i[1] ? soft : soft >= (sv_real)0.5; }

static void decide_forward(const sv_call *call)
{
    const sv_real tau = (sv_real)call->attributes->r[0];
    for (size_t r = call->row_begin; r < call->row_end; r++) {
        const int32_t patch = call->in[2].ints[r];
        const sv_real soft = patch < 0 ? 1 : sv_sigmoid((call->in[0].data[r] + noise_of(call, patch)) / tau);
        call->out[0].data[r] = call->in[1].data[r] * step_of(call, soft);
        if (call->saved) call->saved[r] = soft;
    }
}

static void decide_backward(const sv_call *call)
{
    const sv_span *a = &call->in[0], *before = &call->in[1], *keep = &call->out[0];
    const sv_real tau = (sv_real)call->attributes->r[0];
    for (size_t r = 0; a->gradient && r < a->live; r++) {
        const sv_real soft = call->saved[r], g = r < keep->live ? keep->gradient[r] : 0;
        sv_give(a, r, g * before->data[r] * soft * (1 - soft) / tau);
    }
    for (size_t r = 0; before->gradient && r < before->live; r++) sv_give(before, r, keep->gradient[r] * step_of(call, call->saved[r]));
}

static size_t decide_saved(const sv_node *node) { return node->in[0]->rows.most; }

static const sv_sample decide_samples[] = {
    { .name = "one patch",
      .images = 2,
      .in = { IMAGE(NORMAL, 1, 1), IMAGE(ONE, 1, 1), CONSTANT(COUNT_UP, 1, 1), CONSTANT(NORMAL, 1, 1) },
      .attributes = { .i = { 0, 1 }, .r = { 1 } } },
    { .name = "given noise",
      .images = 3,
      .in = { IMAGE(NORMAL, 7, 1), IMAGE(ONE, 7, 1), CONSTANT(INDEX, 7, 1), CONSTANT(NORMAL, 7, 1) },
      .attributes = { .i = { 0, 1 }, .r = { 1 } } },
    { .name = "drawn noise",
      .images = 3,
      .in = { IMAGE(NORMAL, 7, 1), IMAGE(BINARY, 7, 1), CONSTANT(INDEX, 7, 1) },
      .attributes = { .i = { 2, 1 }, .r = { 1 } } },
    { .name = "everything dropped before",
      .images = 2,
      .in = { IMAGE(NORMAL, 5, 1), IMAGE(ZERO, 5, 1), CONSTANT(COUNT_UP, 5, 1) },
      .attributes = { .i = { 1, 1 }, .r = { 1 } } },
    { .name = "cold",
      .images = 2,
      .in = { IMAGE(NORMAL, 5, 1), IMAGE(ONE, 5, 1), CONSTANT(COUNT_UP, 5, 1) },
      .attributes = { .i = { 63, 1 }, .r = { 0.5 } } },
    { .name = "sure scores",
      .images = 2,
      .in = { IMAGE(LARGE, 5, 1), IMAGE(ONE, 5, 1), CONSTANT(COUNT_UP, 5, 1) },
      .attributes = { .i = { 1, 1 }, .r = { 1 } } },
    { .name = "a package token among them",
      .images = 3,
      .in = { IMAGE(NORMAL, 5, 1), IMAGE(ONE, 5, 1), CONSTANT(ORIGIN, 5, 1), CONSTANT(NORMAL, 4, 1) },
      .attributes = { .i = { 1, 1 }, .r = { 1 } } },
    { .name = "less noise than patches",
      .images = 1,
      .in = { IMAGE(NORMAL, 6, 1), IMAGE(ONE, 6, 1), CONSTANT(COUNT_UP, 6, 1), CONSTANT(NORMAL, 3, 1) },
      .attributes = { .i = { 0, 1 }, .r = { 2 } } },
};

const sv_op sv_op_decide = {
    .name = "decide",
    .formula = "a, before [R,1], origin index [R,1], noise [N0,1] or none -> keep [R,1] = before [sigmoid((a + noise) / tau) >= 1/2]; "
               "backward as without the step",
    .source = "Jang et al. 2017 (Gumbel-softmax, straight-through); SPViT code",
    .inputs_least = 3,
    .inputs_most = 4,
    .outputs = 1,
    .optional = 1 << 3,
    .locality = SV_IMAGE_ROWS,
    .shape = decide_shape,
    .forward = decide_forward,
    .backward = decide_backward,
    .backward_inputs = 1 << 1,
    .backward_dead = 1 << 1,
    .saved = decide_saved,
    SV_SAMPLES_OF(decide_samples),
};

sv_tensor *sv_tape_decide(sv_tape *tape, sv_tensor *a, sv_tensor *before, sv_tensor *origin, sv_tensor *noise, double tau, size_t stage,
                          bool soft)
{
    sv_attributes attributes = { .i = { (int64_t)stage, soft }, .r = { tau } };
    return sv_tape_record(tape, &sv_op_decide, (sv_tensor *[]){ a, before, origin, noise }, 4, &attributes, NULL);
}

/* ---- choose ------------------------------------------------------------------------------------------------------- */

/* Among the patches that are still there (before above 1/2). A patch's rank is the number of better ones:
 * larger a, or equal a and a lower row; a score that is not a number ranks behind all others. */
static sv_status choose_shape(sv_node *node, sv_error *err)
{
    const int64_t rule = node->attributes.i[0], stage = node->attributes.i[1];
    sv_status status = decision_shape(node, stage, err);
    if (!status) status = sv_want_batch(node->in[3], "value", 0, err);
    if (status) return status;
    if (rule < SV_BY_THRESHOLD || rule > SV_BY_NOISE) return sv_fail(err, SV_USAGE, "there is no rule %lld", (long long)rule);
    if (node->in[3]->width <= (size_t)stage)
        return sv_fail(err, SV_USAGE, "value holds %zu stages, so none %lld", node->in[3]->width, (long long)stage);
    if (node->attributes.i[2] < 0) return sv_fail(err, SV_USAGE, "the least number of patches kept cannot be below 0");
    return SV_OK;
}

static bool is_candidate(const sv_call *call, size_t r) { return call->in[2].ints[r] >= 0 && call->in[1].data[r] > (sv_real)0.5; }

/* Scores of the candidates in order of rows, minus infinity for no number; how many there are. */
static size_t candidates(const sv_call *call, sv_real *score)
{
    size_t count = 0;
    for (size_t r = 0; r < call->out[0].rows; r++) {
        const sv_real a = call->in[0].data[r];
        if (is_candidate(call, r)) score[count++] = a == a ? a : -INFINITY;
    }
    return count;
}

/* The wanted-th largest of x, 0 < wanted <= count, by Hoare's selection; x is put in another order. */
static sv_real nth_largest(sv_real *x, size_t count, size_t wanted)
{
    size_t low = 0, high = count - 1;
    while (low < high) {
        const sv_real middle = x[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;; i++, j--) {
            while (x[i] > middle) i++;
            while (x[j] < middle) j--;
            if (i >= j) break;
            const sv_real held = x[i];
            x[i] = x[j], x[j] = held;
        }
        if (wanted <= j + 1) high = j;
        else low = j + 1;
    }
    return x[low];
}

/* The best `wanted` candidates stay, of equal ones those in front. */
static void keep_best(const sv_call *call, sv_real *score, size_t count, size_t wanted)
{
    const sv_real least = wanted < count ? nth_largest(score, count, wanted) : -INFINITY;
    size_t equal = wanted < count ? wanted : count;
    candidates(call, score);
    for (size_t i = 0; i < count; i++) equal -= score[i] > least;
    for (size_t r = 0, i = 0; r < call->out[0].rows; r++) {
        if (!is_candidate(call, r)) continue;
        const bool level = score[i] == least && equal > 0;
        call->out[0].data[r] = score[i++] > least || level ? 1 : 0;
        equal -= level;
    }
}

static bool passes(const sv_call *call, size_t r, sv_real value)
{
    const sv_real a = call->in[0].data[r];
    if (call->attributes->i[0] == SV_BY_THRESHOLD) return sv_sigmoid(a) >= value;
    return sv_sigmoid(a + drawn_noise(call, (uint32_t)call->attributes->i[1], call->in[2].ints[r])) >= (sv_real)0.5;
}

static void choose_forward(const sv_call *call)
{
    const sv_real value = call->in[3].data[call->attributes->i[1]];
    const bool by_rank = call->attributes->i[0] == SV_BY_TOP_K;
    sv_real *score = call->scratch, *keep = call->out[0].data;
    const size_t count = candidates(call, score);
    size_t wanted = (size_t)call->attributes->i[2], kept = 0;
    if (by_rank && value > (sv_real)wanted) wanted = value < (sv_real)count ? (size_t)value : count;
    for (size_t r = 0; r < call->out[0].rows; r++) {
        keep[r] = is_candidate(call, r) ? !by_rank && passes(call, r, value) : call->in[1].data[r];
        kept += is_candidate(call, r) && keep[r] > 0;
    }
    if (kept < wanted) keep_best(call, score, count, wanted);
}

static size_t choose_scratch(const sv_node *node) { return node->in[0]->rows.most * sizeof(sv_real); }

static const sv_sample choose_samples[] = {
    { .name = "one patch",
      .images = 2,
      .in = { CONSTANT(NORMAL, 1, 1), CONSTANT(ONE, 1, 1), CONSTANT(COUNT_UP, 1, 1), NUMBERS(UNIT, 1) },
      .attributes.i = { SV_BY_THRESHOLD, 0, 1 } },
    { .name = "by threshold",
      .images = 3,
      .in = { CONSTANT(NORMAL, 7, 1), CONSTANT(BINARY, 7, 1), CONSTANT(INDEX, 7, 1), NUMBERS(UNIT, 3) },
      .attributes.i = { SV_BY_THRESHOLD, 2, 1 } },
    { .name = "the best one",
      .images = 3,
      .in = { CONSTANT(NORMAL, 7, 1), CONSTANT(ONE, 7, 1), CONSTANT(INDEX, 7, 1), NUMBERS(ONE, 2) },
      .attributes.i = { SV_BY_TOP_K, 1, 0 } },
    { .name = "ties",
      .images = 1,
      .in = { CONSTANT(ZERO, 7, 1), CONSTANT(ONE, 7, 1), CONSTANT(INDEX, 7, 1), NUMBERS(ONE, 1) },
      .attributes.i = { SV_BY_TOP_K, 0, 3 } },
    { .name = "a package token among them",
      .images = 2,
      .in = { CONSTANT(NORMAL, 7, 1), CONSTANT(ONE, 7, 1), CONSTANT(ORIGIN, 7, 1), NUMBERS(ONE, 1) },
      .attributes.i = { SV_BY_TOP_K, 0, 2 } },
    { .name = "by noise",
      .images = 3,
      .in = { CONSTANT(NORMAL, 7, 1), CONSTANT(ONE, 7, 1), CONSTANT(INDEX, 7, 1), NUMBERS(ZERO, 1) },
      .attributes.i = { SV_BY_NOISE, 0, 1 } },
    { .name = "everything dropped before",
      .images = 1,
      .in = { CONSTANT(LARGE, 5, 1), CONSTANT(ZERO, 5, 1), CONSTANT(COUNT_UP, 5, 1), NUMBERS(UNIT, 1) },
      .attributes.i = { SV_BY_THRESHOLD, 0, 1 } },
};

const sv_op sv_op_choose = {
    .name = "choose",
    .formula = "a, before [R,1], origin index [R,1], value [stages] -> keep [R,1] = before and (sigmoid(a) >= value, or the value-th "
               "largest a and above, or as decide), at least min_keep",
    .source = "top-k as in Rao et al. 2021 (DynamicViT); the other rules are ours",
    .inputs_least = 4,
    .inputs_most = 4,
    .outputs = 1,
    .locality = SV_IMAGE_WHOLE,
    .shape = choose_shape,
    .forward = choose_forward,
    .scratch = choose_scratch,
    SV_SAMPLES_OF(choose_samples),
};

sv_tensor *sv_tape_choose(sv_tape *tape, sv_tensor *a, sv_tensor *before, sv_tensor *origin, sv_tensor *value, sv_rule rule, size_t stage,
                          size_t min_keep)
{
    sv_attributes attributes = { .i = { rule, (int64_t)stage, (int64_t)min_keep } };
    return sv_tape_record(tape, &sv_op_choose, (sv_tensor *[]){ a, before, origin, value }, 4, &attributes, NULL);
}

/* ---- live_order --------------------------------------------------------------------------------------------------- */

static sv_status live_order_shape(sv_node *node, sv_error *err)
{
    sv_tensor *order = node->out[0];
    sv_status status = sv_want_width(node->in[0], "policy", SV_REAL, 1, err);
    order->dtype = SV_INDEX;
    order->live = (sv_rows){ .source = node->count_source, .add = 0, .times = 1, .most = order->rows.most };
    return status;
}

static void live_order_forward(const sv_call *call)
{
    const sv_real *policy = call->in[0].data;
    const size_t rows = call->in[0].rows;
    int32_t *order = call->out[0].ints;
    size_t at = 0;
    for (size_t r = 0; r < rows; r++)
        if (policy[r] > (sv_real)0.5) order[at++] = (int32_t)r;
    *call->count = (uint32_t)at;
    for (size_t r = 0; r < rows; r++)
        if (!(policy[r] > (sv_real)0.5)) order[at++] = (int32_t)r;
}

static const sv_sample live_order_samples[] = {
    { .name = "one row", .images = 1, .in = { CONSTANT(ONE, 1, 1) } },
    { .name = "kept and dropped", .images = 3, .in = { CONSTANT(BINARY, 9, 1) } },
    { .name = "everything kept", .images = 2, .in = { CONSTANT(ONE, 5, 1) } },
    { .name = "everything dropped", .images = 2, .in = { CONSTANT(ZERO, 5, 1) } },
    { .name = "in order already", .images = 2, .in = { CONSTANT(PREFIX, 6, 1) } },
    { .name = "behind something trainable", .images = 2, .in = { IMAGE(UNIT, 6, 1) } },
};

const sv_op sv_op_live_order = {
    .name = "live_order",
    .formula = "policy [R,1] -> index [R,1]: rows with policy > 1/2 in order, then the others in order; the first ones are live",
    .source = "ours: kept rows in front, so that dropped ones cost no backward",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_IMAGE_WHOLE,
    .shape = live_order_shape,
    .forward = live_order_forward,
    .stops_gradient = true,
    .sets_count = true,
    SV_SAMPLES_OF(live_order_samples),
};

sv_tensor *sv_tape_live_order(sv_tape *tape, sv_tensor *policy) { return sv_tape_record(tape, &sv_op_live_order, &policy, 1, NULL, NULL); }
