/* A table from settings of a whole model: each op's time is put together from all runs in which it was a part. */
#include "latency/measure.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double STEADY_MS = 0.005; /* below 5 us a difference is the timer's */
enum { AGAIN_MOST = 3, MEDIANS_MOST = 128 };

/* An op at a token count. */
typedef struct point {
    sv_latency_part part;
    size_t medians;
    double median_ms[MEDIANS_MOST], p95_ms[MEDIANS_MOST]; /* of the settings measured so far; both in order of the medians */
} point;

typedef struct settings_run {
    const sv_latency_setting *settings;
    size_t count, done, total, batch;
    const sv_measure_options *options;
    const sv_latency_bench *bench;
    point *points;
    size_t point_count, parts_most;
    size_t *place;      /* [settings][parts_most]: the point of a part */
    double *times;      /* [runs][parts of a setting], one run's parts at the end */
    double *sorted;     /* [runs] */
    double *whole_ms;   /* [settings] the least median of whole runs, 0: not yet measured */
} settings_run;

static size_t quartile(const point *p) { return (p->medians - 1) / 4; }
static double time_of(const point *p) { return p->median_ms[quartile(p)]; }

/* By how much the next median lies above the one that counts. */
static double difference(const point *p)
{
    const size_t at = quartile(p);
    if (at + 1 >= p->medians) return 0;
    const double apart = p->median_ms[at + 1] - p->median_ms[at];
    return apart > STEADY_MS && p->median_ms[at] > 0 ? apart / p->median_ms[at] : 0;
}

static void add_median(point *p, const sv_measured *measured)
{
    size_t at = p->medians < MEDIANS_MOST ? p->medians++ : MEDIANS_MOST - 1;
    for (; at > 0 && p->median_ms[at - 1] > measured->median_ms; at--) p->median_ms[at] = p->median_ms[at - 1], p->p95_ms[at] = p->p95_ms[at - 1];
    p->median_ms[at] = measured->median_ms;
    p->p95_ms[at] = measured->p95_ms;
}

/* Parts of a setting that are one point count as one: their mean, run by run. */
static void take_times(settings_run *run, size_t setting, size_t runs)
{
    const size_t parts = run->settings[setting].count, *place = run->place + setting * run->parts_most;
    for (size_t first = 0; first < parts; first++) {
        size_t alike = 0;
        bool before = false;
        for (size_t i = 0; i < first; i++) before = before || place[i] == place[first];
        if (before) continue;
        for (size_t r = 0; r < runs; r++) run->sorted[r] = 0;
        for (size_t i = first; i < parts; i++) {
            if (place[i] != place[first]) continue;
            alike++;
            for (size_t r = 0; r < runs; r++) run->sorted[r] += run->times[r * parts + i];
        }
        for (size_t r = 0; r < runs; r++) run->sorted[r] /= (double)alike;
        const sv_measured measured = sv_measured_from(run->sorted, runs);
        add_median(&run->points[place[first]], &measured);
    }
}

/* A median of sums is above the sum of medians, and what disturbs a part seldom is in its median: so wholes are kept beside the parts. */
static void take_whole(settings_run *run, size_t setting, size_t runs)
{
    const size_t parts = run->settings[setting].count;
    for (size_t r = 0; r < runs; r++) {
        run->sorted[r] = 0;
        for (size_t i = 0; i < parts; i++) run->sorted[r] += run->times[r * parts + i];
    }
    const double median = sv_measured_from(run->sorted, runs).median_ms;
    if (!(run->whole_ms[setting] > 0) || median < run->whole_ms[setting]) run->whole_ms[setting] = median;
}

/* The factor by which rows are multiplied so that they add up to the wholes they were measured in: the median over the settings. */
static double whole_by_parts(settings_run *run)
{
    double ratios[MEDIANS_MOST];
    size_t count = 0;
    for (size_t s = 0; s < run->count && count < MEDIANS_MOST; s++) {
        double sum = 0;
        for (size_t i = 0; i < run->settings[s].count; i++) sum += time_of(&run->points[run->place[s * run->parts_most + i]]);
        if (sum > 0) ratios[count++] = run->whole_ms[s] / sum;
    }
    return count ? sv_measured_from(ratios, count).median_ms : 1;
}

static double clock_now(const sv_measure_options *options) { return options->clock ? options->clock(options->clock_context) : sv_now_seconds(); }

static sv_status measure_setting(settings_run *run, size_t setting, sv_error *err)
{
    const sv_measure_options *options = run->options;
    const size_t parts = run->settings[setting].count;
    size_t done = 0;
    if (run->bench->progress) run->bench->progress(run->bench->context, run->done++, run->total);
    sv_status status = run->bench->prepare(run->bench->context, setting, err);
    const double end = clock_now(options) + options->seconds_most;
    for (size_t i = 0; !status && i < options->warm_up && (i == 0 || clock_now(options) < end); i++)
        status = run->bench->run(run->bench->context, run->times, err);
    while (!status && done < options->runs && (done < SV_MEASURE_RUNS_LEAST || clock_now(options) < end)) {
        if (sv_interrupted()) return sv_fail(err, SV_INTERRUPTED, "measuring was interrupted");
        status = run->bench->run(run->bench->context, run->times + done * parts, err);
        done++;
    }
    if (!status) take_whole(run, setting, done);
    if (!status) take_times(run, setting, done);
    return status;
}

/* The same op of the same grid. */
static bool alike(const point *a, const point *b) { return a->part.op == b->part.op && a->part.grid == b->part.grid; }

/* Whether another point of fewer tokens took so much longer that one of the two is wrong. */
static bool out_of_line(const settings_run *run, const point *p)
{
    for (size_t i = 0; i < run->point_count; i++) {
        const point *other = &run->points[i];
        if (!alike(other, p)) continue;
        if (other->part.tokens < p->part.tokens && sv_latency_below_noise(time_of(other), time_of(p))) return true;
        if (other->part.tokens > p->part.tokens && sv_latency_below_noise(time_of(p), time_of(other))) return true;
    }
    return false;
}

static bool doubtful(const settings_run *run, size_t setting, double tolerance)
{
    for (size_t i = 0; i < run->settings[setting].count; i++) {
        const point *p = &run->points[run->place[setting * run->parts_most + i]];
        if (difference(p) > tolerance || out_of_line(run, p)) return true;
    }
    return false;
}

static sv_status measure_all(settings_run *run, double tolerance, sv_error *err)
{
    sv_status status = SV_OK;
    for (size_t i = 0; i < run->count && !status; i++) status = measure_setting(run, i, err);
    for (size_t i = run->count; i-- > 0 && !status;) status = measure_setting(run, i, err);
    for (size_t again = 0; again < AGAIN_MOST; again++)
        for (size_t i = 0; i < run->count && !status; i++)
            if (doubtful(run, i, tolerance)) {
                run->total++;
                status = measure_setting(run, i, err);
            }
    return status;
}

/* The distinct ops of all settings, and where each part belongs. */
static void find_points(settings_run *run)
{
    for (size_t s = 0; s < run->count; s++)
        for (size_t i = 0; i < run->settings[s].count; i++) {
            const sv_latency_part part = run->settings[s].parts[i];
            size_t at = 0;
            while (at < run->point_count && (!alike(&run->points[at], &(point){ .part = part }) || run->points[at].part.tokens != part.tokens)) at++;
            if (at == run->point_count) run->points[run->point_count++].part = part;
            run->place[s * run->parts_most + i] = at;
        }
}

static sv_status make_room(settings_run *run, sv_error *err)
{
    size_t all = 0, points = 0, places = 0, times = 0;
    for (size_t s = 0; s < run->count; s++) {
        all += run->settings[s].count;
        if (run->settings[s].count > run->parts_most) run->parts_most = run->settings[s].count;
    }
    if (sv_mul_size(&points, all, sizeof *run->points) || sv_mul_size3(&places, run->count, run->parts_most, sizeof *run->place) ||
        sv_mul_size3(&times, run->options->runs, run->parts_most, sizeof *run->times))
        return sv_fail(err, SV_FAULT, "%zu settings do not fit", run->count);
    sv_status status = sv_alloc_zero(&run->points, points, "points", err);
    if (!status) status = sv_alloc(&run->place, places, "points", err);
    if (!status) status = sv_alloc(&run->times, times, "times", err);
    if (!status) status = sv_alloc_zero(&run->whole_ms, run->count * sizeof *run->whole_ms, "times", err);
    if (!status) status = sv_alloc(&run->sorted, run->options->runs * sizeof *run->sorted, "times", err);
    if (!status) find_points(run);
    return status;
}

/* What a point counts as: where it stays above points of more tokens whatever is tried, the least of those, for more tokens cannot cost so much less. */
static double settled_ms(const settings_run *run, const point *p)
{
    double ms = time_of(p);
    for (size_t i = 0; i < run->point_count; i++) {
        const point *other = &run->points[i];
        if (alike(other, p) && other->part.tokens > p->part.tokens && sv_latency_below_noise(time_of(p), time_of(other))) ms = fmin(ms, time_of(other));
    }
    return ms;
}

/* All rows or none: they are added to a copy first. */
static sv_status add_points(sv_latency_table *table, settings_run *run, sv_error *err)
{
    const double factor = whole_by_parts(run);
    sv_latency_table grown = { .about = table->about };
    sv_status status = SV_OK;
    for (size_t i = 0; i < table->count && !status; i++) status = sv_latency_table_add(&grown, &table->rows[i], err);
    for (size_t i = 0; i < run->point_count && !status; i++) {
        const point *p = &run->points[i];
        const double ms = settled_ms(run, p);
        const sv_latency_row row = { .op = p->part.op, .grid = p->part.grid, .batch = run->batch, .tokens = p->part.tokens, .median_ms = factor * ms, .p95_ms = factor * fmax(p->p95_ms[quartile(p)], ms) };
        status = sv_latency_table_add(&grown, &row, err);
    }
    if (status) {
        sv_latency_table_clear(&grown);
        return status;
    }
    sv_latency_table_clear(table);
    *table = grown;
    return SV_OK;
}

sv_status sv_latency_measure_settings(sv_latency_table *table, size_t batch, const sv_latency_setting *settings, size_t count, const sv_measure_options *options,
                                      double tolerance, const sv_latency_bench *bench, sv_latency_quality *quality, sv_error *err)
{
    sv_measure_options bounded = *options;
    sv_latency_quality found = { 0 };
    settings_run run = { .settings = settings, .count = count, .total = 2 * count, .batch = batch, .options = &bounded, .bench = bench };
    if (bounded.runs < SV_MEASURE_RUNS_LEAST) bounded.runs = SV_MEASURE_RUNS_LEAST;
    if (bounded.runs > SV_MEASURE_RUNS_MOST) bounded.runs = SV_MEASURE_RUNS_MOST;
    const sv_machine_times before = sv_machine_times_now();
    sv_status status = make_room(&run, err);
    if (!status) status = measure_all(&run, tolerance, err);
    if (!status) status = add_points(table, &run, err);
    for (size_t i = 0; i < run.point_count && !status; i++) {
        const double apart = difference(&run.points[i]);
        found.worst = fmax(found.worst, apart);
        found.unsteady += apart > tolerance || settled_ms(&run, &run.points[i]) < time_of(&run.points[i]);
    }
    if (!status && quality) {
        found.machine = sv_machine_between(before, sv_machine_times_now());
        *quality = found;
    }
    sv_free(run.points);
    sv_free(run.place);
    sv_free(run.times);
    sv_free(run.sorted);
    sv_free(run.whole_ms);
    return status;
}
