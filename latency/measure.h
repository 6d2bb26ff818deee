/* Measuring: the protocol by which a time becomes a number one may promise, how busy the machine was meanwhile, and a table of
 * points measured by it. It calls what it is handed and knows nothing of models; latency/measure_model.h hands it models.
 *
 * Subjects are run in alternation (A B C, then C B A ...), so that a machine that slows down slows all of them alike. Warm-up runs
 * are dropped. What counts is the median; p95 is told beside it. */
#ifndef SIEVE_LATENCY_MEASURE_H
#define SIEVE_LATENCY_MEASURE_H

#include "latency/latency.h"

/* ---- how busy the machine is ------------------------------------------------------------------------------------- */

/* Clock ticks since boot of the CPUs this process may run on, and its own. */
typedef struct sv_machine_times { double total, busy, stolen, own, pace /* seconds a fixed piece of arithmetic takes at least */; } sv_machine_times;
/* From /proc/stat and getrusage; all zero where the system does not tell. */
sv_machine_times sv_machine_times_now(void);
/* total, busy and stolen from the text of /proc/stat, over the CPUs for which counts(context, cpu) is true. False where it is not understood. */
bool sv_machine_times_parse(sv_machine_times *out, const char *text, bool (*counts)(void *context, size_t cpu), void *context);
/* Shares of the CPUs' time; by how much the clock was slower at the end, below 0: faster. 0 where unknown. */
typedef struct sv_machine_state { double others_share, stolen_share, slower; } sv_machine_state;
sv_machine_state sv_machine_between(sv_machine_times before, sv_machine_times after);
/* "others used 34 % of its cores and 2 % of its time was stolen", or "" where the machine was as good as idle. */
const char *sv_machine_busy(char *room, size_t room_bytes, sv_machine_state state);

/* ---- one measurement --------------------------------------------------------------------------------------------- */

typedef struct sv_measure_options {
    size_t warm_up, runs;       /* of each subject */
    size_t rehearsals;          /* runs of the same subject, not timed, right before each timed one: deployed, a model follows itself and finds its weights near */
    double seconds_most;        /* for all subjects together, warm-up included; it ends early, with at least runs_least timed runs of each */
    double (*clock)(void *context); /* seconds; NULL: sv_now_seconds */
    void *clock_context;
} sv_measure_options;
enum { SV_MEASURE_RUNS_LEAST = 3, SV_MEASURE_RUNS_MOST = 100000, SV_MEASURE_SUBJECTS_MOST = 16 };
sv_measure_options sv_measure_defaults(void);           /* 10 and 50 runs, 5 s */

typedef struct sv_measure_subject { sv_status (*run)(void *context, sv_error *err); void *context; } sv_measure_subject;

typedef struct sv_measured {
    size_t runs;
    double median_ms, p95_ms, least_ms, most_ms, mean_ms;   /* p95: the smallest time that 95 % of the runs do not exceed */
    double spread;                                          /* (75th - 25th percentile) / median */
} sv_measured;

/* Measures all subjects; out[i] belongs to subjects[i]. *machine (may be NULL): how busy it was. A failing run ends it with that failure;
 * SV_INTERRUPTED after a signal; on failure out is untouched. */
sv_status sv_latency_measure(const sv_measure_options *options, const sv_measure_subject *subjects, size_t count, sv_measured *out,
                             sv_machine_state *machine, sv_error *err) SV_MUST_CHECK;
/* Statistics of times in any order (ms; sorted in place); count > 0. */
sv_measured sv_measured_from(double *times_ms, size_t count);

/* ---- a table ----------------------------------------------------------------------------------------------------- */

/* What is measured are settings of a whole model (which tokens stay), because an op takes as long as it does where it stands: its weights come from where
 * they come from in a model. Each run of a setting tells the time of all its parts; the same op at the same token count may be a part more than
 * once, in one setting (its blocks) and in several. */
typedef struct sv_latency_part { sv_latency_op op; size_t grid, tokens; } sv_latency_part;
typedef struct sv_latency_setting { const sv_latency_part *parts; size_t count; } sv_latency_setting;

/* prepare makes a setting ready; run runs it once and writes the ms of its parts. */
typedef struct sv_latency_bench {
    void *context;
    sv_status (*prepare)(void *context, size_t setting, sv_error *err);
    sv_status (*run)(void *context, double *part_ms, sv_error *err);
    void (*progress)(void *context, size_t done, size_t total); /* may be NULL */
} sv_latency_bench;

typedef struct sv_latency_quality {
    double worst;               /* the largest share by which an op's time and its next larger median differ */
    size_t unsteady;            /* ops that differ by more than the tolerance even so */
    sv_machine_state machine;
} sv_latency_quality;

/* Measures all settings twice, the second time in opposite order; those with an op whose medians differ by more than `tolerance`, or are below
 * a point with fewer tokens by more than noise, once more, three times at most. A row holds the lower quartile of its medians (of two the smaller):
 * what disturbs adds time; a row that stays above one of more tokens by more than noise takes that one's time and counts as unsteady; then all rows are multiplied by the one factor that makes them add up to the whole runs (its median over the settings), because
 * medians of parts fall short of the median of their sum. Rows are added to the table; on failure it is as before. */
sv_status sv_latency_measure_settings(sv_latency_table *table, size_t batch, const sv_latency_setting *settings, size_t count, const sv_measure_options *options,
                                      double tolerance, const sv_latency_bench *bench, sv_latency_quality *quality, sv_error *err) SV_MUST_CHECK;

/* device, cpu, threads, precision, isa, affinity, date, tool of this process and machine; precision "fp32" or "bf16". */
void sv_latency_about_here(sv_latency_about *about, const char *precision);

#endif
