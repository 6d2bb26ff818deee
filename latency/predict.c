/* Prediction: a token count becomes ms by a monotone piecewise-linear curve through the rows of an op, a plan becomes ms by
 * the sum over the terms of its shape. Kernels work in tiles, so measured times have plateaus and small dips; the running maximum from few
 * tokens to many takes the dips away. */
#include "autograd/ops.h"
#include "latency/latency.h"
#include "latency/table.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const double BEYOND = 1.1; /* package tokens lift n a little over the largest measured count; more than a tenth, or than one a stage, is a guess */

/* The rows of an op on its grid at a batch; *count 0 where there is none. */
static const sv_latency_row *rows_of(const sv_latency_table *table, sv_latency_op op, size_t grid, size_t batch, size_t *count)
{
    size_t begin = 0;
    while (begin < table->count && !(table->rows[begin].op == op && table->rows[begin].grid == grid && table->rows[begin].batch == batch)) begin++;
    size_t end = begin;
    while (end < table->count && table->rows[end].op == op && table->rows[end].grid == grid && table->rows[end].batch == batch) end++;
    *count = end - begin;
    return table->rows + begin;
}

static sv_status no_rows(const sv_latency_table *table, sv_latency_op op, size_t grid, size_t batch, sv_error *err)
{
    sv_text text = { 0 };
    char name[SV_LATENCY_NAME_ROOM];
    sv_latency_name(name, op, grid);
    for (size_t i = 0; i < table->count; i++) {
        const sv_latency_row *row = &table->rows[i];
        bool first = i == 0 || row->op != row[-1].op || row->grid != row[-1].grid || row->batch != row[-1].batch;
        if (row->op == op && row->grid == grid && first) sv_text_add(&text, "%s%zu", text.length ? ", " : "", row->batch);
    }
    sv_status status = sv_text_check(&text, err);
    if (!status && text.length)
        status = sv_fail(err, SV_MODEL_FILE, "the latency table of %s has '%s' rows at batch %s, none at batch %zu; measure it at that batch",
                         table->about.device, name, text.data, batch);
    else if (!status)
        status = sv_fail(err, SV_MODEL_FILE, "the latency table of %s has no '%s' rows; measure one with `latency measure`%s, or name another",
                         table->about.device, name, grid ? " for these places of selectors" : "");
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

static sv_status find(const sv_latency_table *table, sv_latency_op op, size_t grid, size_t batch, double tokens, sv_latency_rule rule, double *ms, double *slope, sv_error *err)
{
    size_t count;
    char name[SV_LATENCY_NAME_ROOM];
    const sv_latency_row *rows = rows_of(table, op, grid, batch, &count);
    if (!count) return no_rows(table, op, grid, batch, err);
    double most = (double)rows[count - 1].tokens;
    bool constant = count == 1 && sv_latency_kinds[op].once;
    if (tokens > fmax(most * BEYOND, most + SV_LATENCY_MOST_STAGES) && !constant)
        return sv_fail(err, SV_MODEL_FILE, "the latency table of %s knows '%s' up to %g tokens at batch %zu; %g are needed. Measure a table for this model",
                       table->about.device, sv_latency_name(name, op, grid), most, batch, tokens);
    read_curve(rows, count, tokens, rule, ms, slope);
    return SV_OK;
}

sv_status sv_latency_at(const sv_latency_table *table, sv_latency_op op, size_t grid, size_t batch, double tokens, sv_latency_rule rule, double *ms, sv_error *err)
{
    double slope;
    return find(table, op, grid, batch, tokens, rule, ms, &slope, err);
}

/* What is summed at one batch by one rule. */
typedef struct sum { const sv_latency_table *table; size_t batch; sv_latency_rule rule; unsigned missing; } sum;

/* A part that may be missing: 0 ms, and a bit. */
static sv_status find_if_there(sum *s, sv_latency_op op, size_t grid, double tokens, double *ms, double *slope, sv_error *err)
{
    bool there = sv_latency_kinds[op].needed;
    for (size_t i = 0; i < s->table->count && !there; i++) there = s->table->rows[i].op == op;
    if (there) return find(s->table, op, grid, s->batch, tokens, s->rule, ms, slope, err);
    *ms = *slope = 0;
    if (op != SV_LATENCY_GATHER) s->missing |= 1u << op;
    return SV_OK;
}

/* A term at so many tokens, a selector with its gather. */
static sv_status term_at(sum *s, const sv_latency_term *term, double tokens, double *ms, double *slope, sv_error *err)
{
    double gather_ms = 0, gather_slope = 0;
    sv_status status = find_if_there(s, term->op, term->grid, tokens, ms, slope, err);
    if (!status && term->op == SV_LATENCY_SELECTOR) status = find_if_there(s, SV_LATENCY_GATHER, term->grid, tokens, &gather_ms, &gather_slope, err);
    *ms = (double)term->count * (*ms + gather_ms);
    *slope = (double)term->count * (*slope + gather_slope);
    return status;
}

size_t sv_latency_count(size_t patches, double keep)
{
    double count = floor((double)patches * keep + 1e-9); /* 0.7 * 0.7 in double is below 0.49 */
    return !(count > 0) ? 0 : count >= (double)patches ? patches : (size_t)count;
}

/* Where a term's time is told. */
static void add_term(sv_latency_prediction *to, const sv_latency_term *term, size_t tokens, double ms)
{
    if (term->op == SV_LATENCY_EMBED) to->embed_ms += ms;
    else if (term->op == SV_LATENCY_HEAD) to->head_ms += ms;
    else if (term->op == SV_LATENCY_SELECTOR) to->selectors_ms[term->behind] += ms;
    else to->blocks_ms[term->behind] += ms;
    if (!to->tokens[term->behind] && term->op != SV_LATENCY_SELECTOR) to->tokens[term->behind] = tokens;
    if (term->selector) to->kept_ms[term->selector - 1] += ms;
    else to->fixed_ms += ms;
    to->total_ms += ms;
}

static sv_status add_terms(sum *s, const sv_latency_term *terms, size_t count, const size_t *kept, sv_latency_prediction *out, sv_error *err)
{
    sv_latency_prediction made = { 0 };
    sv_status status = SV_OK;
    for (size_t i = 0; i < count && !status; i++) {
        const size_t tokens = terms[i].tokens + (terms[i].selector ? kept[terms[i].selector - 1] : 0);
        double ms = 0, slope;
        status = term_at(s, &terms[i], (double)tokens, &ms, &slope, err);
        add_term(&made, &terms[i], tokens, ms);
    }
    made.missing = s->missing;
    if (!status) *out = made;
    return status;
}

/* Every block: its attention with the meeting of tokens at the tokens that come, its MLP at those that go on. */
static sv_status predict_merging(sum *s, const sv_latency_shape *shape, size_t kept, sv_latency_prediction *out, sv_error *err)
{
    sv_latency_prediction made = { .tokens = { shape->extra + shape->patches } };
    size_t rows = shape->patches;
    double slope, one_ms;
    sv_status status = find_if_there(s, SV_LATENCY_EMBED, 0, (double)(shape->extra + rows), &made.embed_ms, &slope, err);
    for (size_t i = 0; !status && i < shape->merging; i++) {
        status = find(s->table, SV_LATENCY_SELECTOR, 0, s->batch, (double)rows, s->rule, &one_ms, &slope, err);
        if (!status) made.selectors_ms[0] += one_ms, rows -= sv_merge_count(shape->patches, kept, shape->merging, i, rows);
        if (!status) status = find(s->table, SV_LATENCY_MLP, 0, s->batch, (double)(shape->extra + rows), s->rule, &one_ms, &slope, err);
        if (!status) made.blocks_ms[1] += one_ms;
    }
    made.tokens[1] = shape->extra + rows;
    if (!status) status = find_if_there(s, SV_LATENCY_HEAD, 0, (double)made.tokens[1], &made.head_ms, &slope, err);
    made.fixed_ms = made.embed_ms;
    made.kept_ms[0] = made.selectors_ms[0] + made.blocks_ms[1] + made.head_ms;
    made.total_ms = made.fixed_ms + made.kept_ms[0];
    made.missing = s->missing;
    if (!status) *out = made;
    return status;
}

sv_status sv_latency_predict(const sv_latency_table *table, size_t batch, const sv_latency_shape *shape, const size_t *kept, sv_latency_rule rule,
                             sv_latency_prediction *out, sv_error *err)
{
    sum s = { .table = table, .batch = batch, .rule = rule };
    assert(shape->selectors <= SV_LATENCY_MOST_STAGES);
    return shape->merging ? predict_merging(&s, shape, kept[0], out, err) : add_terms(&s, shape->terms, shape->term_count, kept, out, err);
}

sv_status sv_latency_predict_dense(const sv_latency_table *table, size_t batch, const sv_latency_shape *shape, sv_latency_rule rule,
                                   sv_latency_prediction *out, sv_error *err)
{
    sum s = { .table = table, .batch = batch, .rule = rule };
    return add_terms(&s, shape->dense, shape->dense_count, NULL, out, err);
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

/* What depends on selector t, if it keeps so many patches. */
static sv_status behind_selector(sum *s, const sv_latency_shape *shape, size_t t, double kept, double *ms, double *slope, sv_error *err)
{
    sv_status status = SV_OK;
    *ms = *slope = 0;
    for (size_t i = 0; i < shape->term_count && !status; i++) {
        const sv_latency_term *term = &shape->terms[i];
        double one_ms = 0, one_slope = 0;
        if (term->selector != t + 1) continue;
        status = term_at(s, term, (double)term->tokens + kept, &one_ms, &one_slope, err);
        *ms += one_ms;
        *slope += one_slope;
    }
    return status;
}

size_t sv_latency_curve_patches(const sv_latency_shape *shape)
{
    size_t most = 0;
    for (size_t t = 0; t < shape->selectors; t++) most = shape->of[t] > most ? shape->of[t] : most;
    return most;
}

size_t sv_latency_curve_count(const sv_latency_shape *shape) { return 3 + shape->selectors * (sv_latency_curve_patches(shape) + 1); }

sv_status sv_latency_curve(const sv_latency_table *table, size_t batch, const sv_latency_shape *shape, double budget_ms, sv_real *curve, sv_error *err)
{
    assert(shape->selectors > 0 && shape->selectors <= SV_LATENCY_MOST_STAGES);
    const size_t steps = sv_latency_curve_patches(shape);
    sum s = { .table = table, .batch = batch, .rule = SV_LATENCY_LINEAR };
    sv_latency_prediction full;
    sv_status status = sv_latency_predict(table, batch, shape, shape->of, SV_LATENCY_LINEAR, &full, err);
    if (status) return status;
    curve[0] = (sv_real)full.fixed_ms;
    curve[1] = (sv_real)budget_ms;
    curve[2] = 0;
    sv_real *to = curve + 3;
    for (size_t t = 0; t < shape->selectors; t++)
        for (size_t k = 0; k <= steps && !status; k++) {
            double ms = 0, slope;
            status = behind_selector(&s, shape, t, (double)(k * shape->of[t]) / (double)steps, &ms, &slope, err);
            *to++ = (sv_real)ms;
        }
    return status;
}

sv_status sv_latency_slope(const sv_latency_table *table, size_t batch, const sv_latency_shape *shape, const double *kept, double *slope, sv_error *err)
{
    sum s = { .table = table, .batch = batch, .rule = SV_LATENCY_LINEAR };
    sv_status status = SV_OK;
    double ms;
    for (size_t t = 0; t < shape->selectors && !status; t++) status = behind_selector(&s, shape, t, kept[t], &ms, &slope[t], err);
    return status;
}
