/* The protocol of measure.h. Times stand in one block: [subject][run]. */
#include "latency/measure.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double MS = 1e3;

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
