/* The protocol of measure.h. Times stand in one block: [subject][run]. */
#include "latency/measure.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double MS = 1e3, STEADY_MS = 0.005; /* below 5 us a difference is the timer's */
enum { AGAIN_MOST = 3, GRID_STEPS = 19 };

sv_measure_options sv_measure_defaults(void)
{
    return (sv_measure_options){ .warm_up = 10, .runs = 50, .seconds_most = 5 };
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The smallest time that `share` of the runs do not exceed. */
static double percentile(const double *sorted, size_t count, double share)
{
    size_t rank = (size_t)ceil(share * (double)count - 1e-9);
    return sorted[rank ? rank - 1 : 0];
}

sv_measured sv_measured_from(double *times_ms, size_t count)
{
    assert(count > 0);
    double sum = 0;
    qsort(times_ms, count, sizeof *times_ms, by_size);
    for (size_t i = 0; i < count; i++) sum += times_ms[i];
    sv_measured of = { .runs = count, .least_ms = times_ms[0], .most_ms = times_ms[count - 1], .mean_ms = sum / (double)count };
    of.median_ms = (times_ms[(count - 1) / 2] + times_ms[count / 2]) / 2;
    of.p95_ms = percentile(times_ms, count, 0.95);
    of.spread = of.median_ms > 0 ? (percentile(times_ms, count, 0.75) - percentile(times_ms, count, 0.25)) / of.median_ms : 0;
    return of;
}

static double clock_now(const sv_measure_options *options)
{
    return options->clock ? options->clock(options->clock_context) : sv_now_seconds();
}

/* All subjects once, forwards in even rounds and backwards in odd ones. */
static sv_status run_round(const sv_measure_options *options, const sv_measure_subject *subjects, size_t count, size_t round, double *times, size_t runs, sv_error *err)
{
    for (size_t step = 0; step < count; step++) {
        size_t at = round % 2 ? count - 1 - step : step;
        if (sv_interrupted()) return sv_fail(err, SV_INTERRUPTED, "measuring was interrupted");
        sv_status status = SV_OK;
        for (size_t i = 0; !status && i < options->rehearsals; i++) status = subjects[at].run(subjects[at].context, err);
        if (status) return status;
        double begin = clock_now(options);
        status = subjects[at].run(subjects[at].context, err);
        double ms = MS * (clock_now(options) - begin);
        if (status) return status;
        if (times) times[at * runs + round] = ms;
    }
    return SV_OK;
}

sv_status sv_latency_measure(const sv_measure_options *options, const sv_measure_subject *subjects, size_t count, sv_measured *out,
                             sv_machine_state *machine, sv_error *err)
{
    assert(count > 0 && count <= SV_MEASURE_SUBJECTS_MOST);
    double *times = NULL;
    size_t runs = options->runs < SV_MEASURE_RUNS_LEAST ? SV_MEASURE_RUNS_LEAST : options->runs, done = 0, bytes;
    if (runs > SV_MEASURE_RUNS_MOST) runs = SV_MEASURE_RUNS_MOST;
    if (sv_mul_size3(&bytes, runs, count, sizeof *times)) return sv_fail(err, SV_FAULT, "times of %zu runs do not fit", runs);
    sv_status status = sv_alloc(&times, bytes, "times", err);
    if (status) return status;
    sv_machine_times before = sv_machine_times_now();
    double end = clock_now(options) + options->seconds_most;
    for (size_t i = 0; i < options->warm_up && !status && (i == 0 || clock_now(options) < end); i++)
        status = run_round(options, subjects, count, i, NULL, 0, err);
    while (!status && done < runs && (done < SV_MEASURE_RUNS_LEAST || clock_now(options) < end)) {
        status = run_round(options, subjects, count, done, times, runs, err);
        done++;
    }
    if (!status)
        for (size_t i = 0; i < count; i++) out[i] = sv_measured_from(times + i * runs, done);
    if (!status && machine) *machine = sv_machine_between(before, sv_machine_times_now());
    sv_free(times);
    return status;
}

/* ---- tables ---- */

static int by_count(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

size_t sv_latency_grid(size_t patches, size_t packages, const size_t *exact, size_t exact_count, size_t *counts, size_t most)
{
    size_t found = 0, unique = 0;
    for (size_t i = 0; i < exact_count && found < most; i++) counts[found++] = exact[i];
    if (found < most) counts[found++] = patches + packages;
    for (size_t i = 0; i < GRID_STEPS && found < most; i++) counts[found++] = sv_latency_count(patches, (double)(20 - i) / 20);
    qsort(counts, found, sizeof *counts, by_count);
    for (size_t i = 0; i < found; i++)
        if (counts[i] && (unique == 0 || counts[i] != counts[unique - 1])) counts[unique++] = counts[i];
    return unique;
}

/* The two best medians of a point so far. */
typedef struct point_state { double best_ms, second_ms, p95_ms; } point_state;

typedef struct points_run {
    const sv_latency_point *points;
    size_t count, done, total;
    const sv_measure_options *options;
    const sv_latency_bench *bench;
    point_state *states;
} points_run;

static sv_status measure_point(points_run *run, size_t at, sv_error *err)
{
    sv_measured measured;
    sv_measure_subject subject = { run->bench->run, run->bench->context };
    point_state *state = &run->states[at];
    if (run->bench->progress) run->bench->progress(run->bench->context, run->done++, run->total);
    sv_status status = run->bench->prepare(run->bench->context, run->points[at], err);
    if (!status) status = sv_latency_measure(run->options, &subject, 1, &measured, NULL, err);
    if (status) return status;
    if (measured.median_ms < state->best_ms) {
        state->second_ms = state->best_ms;
        state->best_ms = measured.median_ms;
        state->p95_ms = measured.p95_ms;
    } else if (measured.median_ms < state->second_ms) state->second_ms = measured.median_ms;
    return SV_OK;
}

static double difference(const point_state *state)
{
    double apart = state->second_ms - state->best_ms;
    return apart > STEADY_MS && state->best_ms > 0 ? apart / state->best_ms : 0;
}

/* Whether another point of fewer tokens took so much longer that one of the two is wrong. */
static bool out_of_line(const points_run *run, size_t at)
{
    const sv_latency_point *point = &run->points[at];
    for (size_t i = 0; i < run->count; i++) {
        const sv_latency_point *other = &run->points[i];
        if (other->op != point->op || other->batch != point->batch) continue;
        if (other->tokens < point->tokens && sv_latency_below_noise(run->states[i].best_ms, run->states[at].best_ms)) return true;
        if (other->tokens > point->tokens && sv_latency_below_noise(run->states[at].best_ms, run->states[i].best_ms)) return true;
    }
    return false;
}

static sv_status measure_all(points_run *run, double tolerance, sv_error *err)
{
    sv_status status = SV_OK;
    for (size_t i = 0; i < run->count && !status; i++) status = measure_point(run, i, err);
    for (size_t i = run->count; i-- > 0 && !status;) status = measure_point(run, i, err);
    for (size_t again = 0; again < AGAIN_MOST; again++)
        for (size_t i = 0; i < run->count && !status; i++)
            if (difference(&run->states[i]) > tolerance || out_of_line(run, i)) {
                run->total++;
                status = measure_point(run, i, err);
            }
    return status;
}

/* All rows or none: they are added to a copy first. */
static sv_status add_points(sv_latency_table *table, const points_run *run, sv_error *err)
{
    sv_latency_table grown = { .about = table->about };
    sv_status status = SV_OK;
    for (size_t i = 0; i < table->count && !status; i++) status = sv_latency_table_add(&grown, &table->rows[i], err);
    for (size_t i = 0; i < run->count && !status; i++) {
        const sv_latency_point *point = &run->points[i];
        const point_state *state = &run->states[i];
        status = sv_latency_table_add(&grown, &(sv_latency_row){ .op = point->op, .batch = point->batch, .tokens = point->tokens, .median_ms = state->best_ms,
                                                                 .p95_ms = state->p95_ms }, err);
    }
    if (status) {
        sv_latency_table_clear(&grown);
        return status;
    }
    sv_latency_table_clear(table);
    *table = grown;
    return SV_OK;
}

sv_status sv_latency_measure_points(sv_latency_table *table, const sv_latency_point *points, size_t count, const sv_measure_options *options,
                                    double tolerance, const sv_latency_bench *bench, sv_latency_quality *quality, sv_error *err)
{
    sv_latency_quality found = { 0 };
    points_run run = { .points = points, .count = count, .total = 2 * count, .options = options, .bench = bench };
    size_t bytes;
    if (sv_mul_size(&bytes, count, sizeof *run.states)) return sv_fail(err, SV_FAULT, "%zu points do not fit", count);
    sv_status status = sv_alloc(&run.states, bytes, "points", err);
    if (status) return status;
    for (size_t i = 0; i < count; i++) run.states[i] = (point_state){ INFINITY, INFINITY, INFINITY };
    sv_machine_times before = sv_machine_times_now();
    status = measure_all(&run, tolerance, err);
    if (!status) status = add_points(table, &run, err);
    for (size_t i = 0; i < count && !status; i++) {
        double apart = difference(&run.states[i]);
        found.worst = fmax(found.worst, apart);
        found.unsteady += apart > tolerance;
    }
    if (!status && quality) {
        found.machine = sv_machine_between(before, sv_machine_times_now());
        *quality = found;
    }
    sv_free(run.states);
    return status;
}
