/* Prediction: a token count becomes ms by a monotone piecewise-linear curve through the rows of an op, a plan becomes ms by
 * the sum of latency.h. Kernels work in tiles, so measured times have plateaus and small dips; the running maximum from few
 * tokens to many takes the dips away. */
#include "autograd/ops.h"
#include "latency/latency.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const double BEYOND = 1.1; /* package tokens lift n a little over the largest measured count; more than a tenth is a guess */

/* The rows of an op at a batch; *count 0 where there is none. */
static const sv_latency_row *rows_of(const sv_latency_table *table, sv_latency_op op, size_t batch, size_t *count)
{
    size_t begin = 0;
    while (begin < table->count && !(table->rows[begin].op == op && table->rows[begin].batch == batch)) begin++;
    size_t end = begin;
    while (end < table->count && table->rows[end].op == op && table->rows[end].batch == batch) end++;
    *count = end - begin;
    return table->rows + begin;
}

static sv_status no_rows(const sv_latency_table *table, sv_latency_op op, size_t batch, sv_error *err)
{
    sv_text text = { 0 };
    for (size_t i = 0; i < table->count; i++) {
        const sv_latency_row *row = &table->rows[i];
        bool first = i == 0 || row->op != row[-1].op || row->batch != row[-1].batch;
        if (row->op == op && first) sv_text_add(&text, "%s%zu", text.length ? ", " : "", row->batch);
    }
    sv_status status = sv_text_check(&text, err);
    if (!status && text.length)
        status = sv_fail(err, SV_MODEL_FILE, "the latency table of %s has '%s' rows at batch %s, none at batch %zu; measure it at that batch",
                         table->about.device, sv_latency_op_name(op), text.data, batch);
    else if (!status)
        status = sv_fail(err, SV_MODEL_FILE, "the latency table of %s has no '%s' rows; measure one with `latency measure`, or name another",
                         table->about.device, sv_latency_op_name(op));
    sv_text_clear(&text);
    return status;
}

/* Where `tokens` falls on the curve of rows: ms and ms a token there. A single row is a constant. */
static void read_curve(const sv_latency_row *rows, size_t count, double tokens, sv_latency_rule rule, double *ms, double *slope)
{
    double low = rows[0].median_ms, high = low;     /* running maxima at rows i-1 and i */
    size_t i = 0;
    while (i + 1 < count && (double)rows[i].tokens < tokens) {
        i++;
        low = high;
        high = fmax(high, rows[i].median_ms);
    }
    if (i == 0) {
        *ms = low;
        *slope = 0;
        return;
    }
    double from = (double)rows[i - 1].tokens, to = (double)rows[i].tokens;
    *slope = (high - low) / (to - from);
    *ms = rule == SV_LATENCY_CEILING && tokens <= to ? high : low + (tokens - from) * *slope;
}

static sv_status find(const sv_latency_table *table, sv_latency_op op, size_t batch, double tokens, sv_latency_rule rule, double *ms, double *slope, sv_error *err)
{
    size_t count;
    const sv_latency_row *rows = rows_of(table, op, batch, &count);
    if (!count) return no_rows(table, op, batch, err);
    double most = (double)rows[count - 1].tokens;
    bool constant = count == 1 && op != SV_LATENCY_BLOCK && op != SV_LATENCY_MLP && op != SV_LATENCY_SELECTOR && op != SV_LATENCY_GATHER;
    if (tokens > most * BEYOND && !constant)
        return sv_fail(err, SV_MODEL_FILE, "the latency table of %s knows '%s' up to %g tokens at batch %zu; %g are needed. Measure a table for this model",
                       table->about.device, sv_latency_op_name(op), most, batch, tokens);
    read_curve(rows, count, tokens, rule, ms, slope);
    return SV_OK;
}

sv_status sv_latency_at(const sv_latency_table *table, sv_latency_op op, size_t batch, double tokens, sv_latency_rule rule, double *ms, sv_error *err)
{
    double slope;
    return find(table, op, batch, tokens, rule, ms, &slope, err);
}

/* A part that may be missing: 0 ms, and a bit. */
static sv_status find_if_there(const sv_latency_table *table, sv_latency_op op, size_t batch, double tokens, sv_latency_rule rule, double *ms, double *slope,
                               unsigned *missing, sv_error *err)
{
    bool there = false;
    for (size_t i = 0; i < table->count && !there; i++) there = table->rows[i].op == op;
    if (there) return find(table, op, batch, tokens, rule, ms, slope, err);
    *ms = *slope = 0;
    if (op != SV_LATENCY_GATHER) *missing |= 1u << op;
    return SV_OK;
}

/* A selector over `rows` scored rows, with its gather. */
static sv_status selector_at(const sv_latency_table *table, size_t batch, double rows, sv_latency_rule rule, double *ms, double *slope, unsigned *missing, sv_error *err)
{
    double gather_ms = 0, gather_slope = 0;
    sv_status status = find_if_there(table, SV_LATENCY_SELECTOR, batch, rows, rule, ms, slope, missing, err);
    if (!status) status = find_if_there(table, SV_LATENCY_GATHER, batch, rows, rule, &gather_ms, &gather_slope, missing, err);
    *ms += gather_ms;
    *slope += gather_slope;
    return status;
}

sv_status sv_latency_shape_fill(sv_latency_shape *out, size_t extra, size_t patches, size_t depth, const int64_t *at, size_t selectors,
                                sv_latency_packages packages, sv_error *err)
{
    if (selectors > SV_LATENCY_MOST_STAGES)
        return sv_fail(err, SV_USAGE, "%zu selectors; at most %d can be planned", selectors, SV_LATENCY_MOST_STAGES);
    sv_latency_shape shape = { .extra = extra, .patches = patches, .selectors = selectors };
    int64_t before = 0;
    for (size_t t = 0; t < selectors; t++) {
        if (at[t] < before + (t > 0) || at[t] >= (int64_t)depth)
            return sv_fail(err, SV_USAGE, "selector %zu stands before block %jd; expected rising places below the %zu blocks", t, (intmax_t)at[t], depth);
        shape.blocks[t] = (size_t)(at[t] - before);
        before = at[t];
        shape.packages[t + 1] = packages == SV_LATENCY_NO_PACKAGE ? 0 : packages == SV_LATENCY_ONE_PACKAGE ? 1 : t + 1;
    }
    shape.blocks[selectors] = depth - (size_t)before;
    *out = shape;
    return SV_OK;
}

size_t sv_latency_count(size_t patches, double keep)
{
    double count = floor((double)patches * keep + 1e-9); /* 0.7 * 0.7 in double is below 0.49 */
    return !(count > 0) ? 0 : count >= (double)patches ? patches : (size_t)count;
}

static size_t tokens_of_stage(const sv_latency_shape *shape, size_t stage, const size_t *kept)
{
    return stage ? shape->extra + kept[stage - 1] + shape->packages[stage] : shape->extra + shape->patches;
}

/* Blocks of stage t, of which the first may be split. */
static sv_status blocks_at(const sv_latency_table *table, size_t batch, const sv_latency_shape *shape, size_t t, double tokens, sv_latency_rule rule, double *ms, double *slope,
                           sv_error *err)
{
    const bool split = shape->split && t > 0 && shape->blocks[t] > 0;
    const double whole = (double)shape->blocks[t] - split;
    double mlp_ms = 0, mlp_slope = 0;
    sv_status status = find(table, SV_LATENCY_BLOCK, batch, tokens, rule, ms, slope, err);
    if (!status && split) status = find(table, SV_LATENCY_MLP, batch, tokens, rule, &mlp_ms, &mlp_slope, err);
    *ms = whole * *ms + mlp_ms;
    *slope = whole * *slope + mlp_slope;
    return status;
}

/* Every block: its attention with the meeting of tokens at the tokens that come, its MLP at those that go on. */
static sv_status predict_merging(const sv_latency_table *table, size_t batch, const sv_latency_shape *shape, size_t kept, sv_latency_rule rule, sv_latency_prediction *out,
                                 sv_error *err)
{
    sv_latency_prediction sum = { .tokens = { shape->extra + shape->patches } };
    const size_t depth = shape->blocks[0] + shape->blocks[1];
    size_t rows = shape->patches;
    double slope, one_ms;
    sv_status status = find_if_there(table, SV_LATENCY_EMBED, batch, (double)(shape->extra + rows), rule, &sum.embed_ms, &slope, &sum.missing, err);
    for (size_t i = 0; !status && i < depth; i++) {
        status = find(table, SV_LATENCY_SELECTOR, batch, (double)rows, rule, &one_ms, &slope, err);
        if (!status) sum.selectors_ms[0] += one_ms, rows -= sv_merge_count(shape->patches, kept, depth, i, rows);
        if (!status) status = find(table, SV_LATENCY_MLP, batch, (double)(shape->extra + rows), rule, &one_ms, &slope, err);
        if (!status) sum.blocks_ms[1] += one_ms;
    }
    sum.tokens[1] = shape->extra + rows;
    if (!status) status = find_if_there(table, SV_LATENCY_HEAD, batch, (double)sum.tokens[1], rule, &sum.head_ms, &slope, &sum.missing, err);
    sum.total_ms = sum.embed_ms + sum.selectors_ms[0] + sum.blocks_ms[1] + sum.head_ms;
    if (!status) *out = sum;
    return status;
}

sv_status sv_latency_predict(const sv_latency_table *table, size_t batch, const sv_latency_shape *shape, const size_t *kept, sv_latency_rule rule,
                             sv_latency_prediction *out, sv_error *err)
{
    sv_latency_prediction sum = { 0 };
    double slope, one_ms;
    size_t stages = shape->selectors;
    if (shape->merges && stages) return predict_merging(table, batch, shape, kept[0], rule, out, err);
    assert(stages <= SV_LATENCY_MOST_STAGES);
    sv_status status = find_if_there(table, SV_LATENCY_EMBED, batch, (double)tokens_of_stage(shape, 0, kept), rule, &sum.embed_ms, &slope, &sum.missing, err);
    sum.total_ms = sum.embed_ms;
    for (size_t t = 0; t <= stages && !status; t++) {
        sum.tokens[t] = tokens_of_stage(shape, t, kept);
        status = blocks_at(table, batch, shape, t, (double)sum.tokens[t], rule, &one_ms, &slope, err);
        if (status) break;
        sum.blocks_ms[t] = one_ms;
        sum.total_ms += sum.blocks_ms[t];
        if (t == stages) break;
        status = selector_at(table, batch, (double)(sum.tokens[t] - shape->extra), rule, &sum.selectors_ms[t], &slope, &sum.missing, err);
        sum.total_ms += sum.selectors_ms[t];
    }
    if (!status) status = find_if_there(table, SV_LATENCY_HEAD, batch, (double)sum.tokens[stages], rule, &sum.head_ms, &slope, &sum.missing, err);
    if (status) return status;
    sum.total_ms += sum.head_ms;
    *out = sum;
    return SV_OK;
}

sv_status sv_latency_predict_dense(const sv_latency_table *table, size_t batch, const sv_latency_shape *shape, sv_latency_rule rule,
                                   sv_latency_prediction *out, sv_error *err)
{
    sv_latency_shape dense = { .extra = shape->extra, .patches = shape->patches };
    for (size_t t = 0; t <= shape->selectors; t++) dense.blocks[0] += shape->blocks[t];
    return sv_latency_predict(table, batch, &dense, NULL, rule, out, err);
}

const char *sv_latency_missing(char *room, size_t room_bytes, unsigned missing)
{
    size_t used = 0;
    if (room_bytes) room[0] = 0;
    for (unsigned op = 0; op < SV_LATENCY_OPS; op++) {
        if (!(missing >> op & 1) || used >= room_bytes) continue;
        int more = snprintf(room + used, room_bytes - used, "%s%s", used ? ", " : "", sv_latency_op_name((sv_latency_op)op));
        used += more > 0 ? (size_t)more : 0;
    }
    return room;
}

/* What follows selector t with `kept` patches: the blocks of stage t+1, the next selector or the head. */
static sv_status after_selector(const sv_latency_table *table, size_t batch, const sv_latency_shape *shape, size_t t, double kept, double *ms, double *slope, sv_error *err)
{
    unsigned missing = 0;
    double rows = kept + (double)shape->packages[t + 1], tokens = rows + (double)shape->extra;
    double block_ms, block_slope, next_ms = 0, next_slope = 0;
    sv_status status = blocks_at(table, batch, shape, t + 1, tokens, SV_LATENCY_LINEAR, &block_ms, &block_slope, err);
    if (!status && t + 1 < shape->selectors) status = selector_at(table, batch, rows, SV_LATENCY_LINEAR, &next_ms, &next_slope, &missing, err);
    else if (!status) status = find_if_there(table, SV_LATENCY_HEAD, batch, tokens, SV_LATENCY_LINEAR, &next_ms, &next_slope, &missing, err);
    if (status) return status;
    *ms = block_ms + next_ms;
    *slope = block_slope + next_slope;
    return SV_OK;
}

size_t sv_latency_curve_count(const sv_latency_shape *shape)
{
    return 3 + shape->selectors * (shape->patches + 1);
}

sv_status sv_latency_curve(const sv_latency_table *table, size_t batch, const sv_latency_shape *shape, double budget_ms, sv_real *curve, sv_error *err)
{
    assert(shape->selectors > 0 && shape->selectors <= SV_LATENCY_MOST_STAGES);
    size_t all[SV_LATENCY_MOST_STAGES];
    for (size_t t = 0; t < shape->selectors; t++) all[t] = shape->patches;
    sv_latency_prediction full;
    sv_status status = sv_latency_predict(table, batch, shape, all, SV_LATENCY_LINEAR, &full, err);
    if (status) return status;
    curve[0] = (sv_real)(full.embed_ms + full.blocks_ms[0] + full.selectors_ms[0]);
    curve[1] = (sv_real)budget_ms;
    curve[2] = 0;
    sv_real *to = curve + 3;
    for (size_t t = 0; t < shape->selectors; t++)
        for (size_t k = 0; k <= shape->patches && !status; k++) {
            double ms = 0, slope;
            status = after_selector(table, batch, shape, t, (double)k, &ms, &slope, err);
            *to++ = (sv_real)ms;
        }
    return status;
}

sv_status sv_latency_slope(const sv_latency_table *table, size_t batch, const sv_latency_shape *shape, const double *kept, double *slope, sv_error *err)
{
    sv_status status = SV_OK;
    double ms;
    for (size_t t = 0; t < shape->selectors && !status; t++) status = after_selector(table, batch, shape, t, kept[t], &ms, &slope[t], err);
    return status;
}
