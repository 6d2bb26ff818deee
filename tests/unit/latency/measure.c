/* latency/measure.c and machine.c: the protocol with a clock that the test turns, never with real time. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/latency/test_latency.h"

#include "base/fault.h"
#include "latency/measure.h"

/* Subjects add to the clock what they take; the order of runs is written down. */
typedef struct turned_bench {
    double seconds;
    char order[4096];
    size_t runs, prepared, fail_at;
    size_t setting;
    const sv_latency_setting *settings;
    double take_ms[256];            /* by tokens, for parts of settings */
    double stumble_ms;              /* what one part of a run, each in its turn, takes longer */
    size_t disturbed_runs;          /* the first so many runs take twice as long */
    double drift;                   /* every preparation makes all times longer by this share */
    size_t settings_done[512];
} turned_bench;
typedef struct turned_subject { turned_bench *bench; char name; double ms; } turned_subject;

static double read_clock(void *context)
{
    return ((turned_bench *)context)->seconds;
}

static sv_status run_subject(void *context, sv_error *err)
{
    turned_subject *of = context;
    turned_bench *bench = of->bench;
    if (bench->runs + 1 < sizeof bench->order) bench->order[bench->runs] = of->name;
    bench->runs++;
    if (bench->runs == bench->fail_at) return sv_fail(err, SV_NOT_FINITE, "run %zu failed", bench->runs);
    bench->seconds += of->ms / 1e3;
    return SV_OK;
}

static sv_measure_options turning(turned_bench *bench, size_t warm_up, size_t runs, double seconds)
{
    return (sv_measure_options){ .warm_up = warm_up, .runs = runs, .seconds_most = seconds, .clock = read_clock, .clock_context = bench };
}

static void statistics_are_those_of_the_sorted_times(void **state)
{
    (void)state;
    double times[100];
    for (size_t i = 0; i < 100; i++) times[i] = (double)((i * 37) % 100 + 1);
    sv_measured of = sv_measured_from(times, 100);
    assert_true(of.median_ms == 50.5 && of.p95_ms == 95 && of.least_ms == 1 && of.most_ms == 100 && of.mean_ms == 50.5);
    assert_true(fabs(of.spread - 50 / 50.5) < 1e-12);
    double one[] = { 7 }, three[] = { 3, 1, 2 };
    assert_true(sv_measured_from(one, 1).median_ms == 7 && one[0] == 7);
    of = sv_measured_from(three, 3);
    assert_true(of.median_ms == 2 && of.p95_ms == 3);
}

static void subjects_alternate_forwards_and_backwards(void **state)
{
    (void)state;
    turned_bench bench = { 0 };
    turned_subject a = { &bench, 'a', 1 }, b = { &bench, 'b', 2 }, c = { &bench, 'c', 3 };
    sv_measure_subject subjects[] = { { run_subject, &a }, { run_subject, &b }, { run_subject, &c } };
    sv_measure_options options = turning(&bench, 1, 4, 100);
    sv_measured out[3];
    sv_error err;
    assert_ok(sv_latency_measure(&options, subjects, 3, out, NULL, &err), err);
    assert_string_equal(bench.order, "abcabccbaabccba"); /* warm-up first */
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(out[i].runs, 4);
        assert_true(fabs(out[i].median_ms - (double)(i + 1)) < 1e-9);
        assert_true(fabs(out[i].p95_ms - (double)(i + 1)) < 1e-9);
    }
}

static void the_time_limit_ends_it_early_but_not_before_three_runs(void **state)
{
    (void)state;
    turned_bench bench = { 0 };
    turned_subject slow = { &bench, 's', 1000 };
    sv_measure_subject subjects[] = { { run_subject, &slow } };
    sv_measure_options options = turning(&bench, 10, 50, 5);
    sv_measured out;
    sv_error err;
    assert_ok(sv_latency_measure(&options, subjects, 1, &out, NULL, &err), err);
    assert_int_equal(out.runs, SV_MEASURE_RUNS_LEAST);
    assert_int_equal(bench.runs, 5 + 3);
    options.warm_up = 0;
    bench.runs = 0;
    assert_ok(sv_latency_measure(&options, subjects, 1, &out, NULL, &err), err);
    assert_int_equal(out.runs, 5);
}

static void a_failing_run_ends_it_and_leaves_the_result_alone(void **state)
{
    (void)state;
    turned_bench bench = { .fail_at = 7 };
    turned_subject one = { &bench, 'x', 1 };
    sv_measure_subject subjects[] = { { run_subject, &one } };
    sv_measure_options options = turning(&bench, 2, 50, 5);
    sv_measured out = { .runs = 99 };
    sv_error err;
    assert_int_equal(sv_latency_measure(&options, subjects, 1, &out, NULL, &err), SV_NOT_FINITE);
    assert_string_equal(err.text, "run 7 failed");
    assert_int_equal(out.runs, 99);
    sv_fault_set(SV_FAULT_ALLOC, 1, false);
    assert_int_equal(sv_latency_measure(&options, subjects, 1, &out, NULL, &err), SV_FAULT);
    sv_fault_set(SV_FAULT_ALLOC, 0, false);
}

/* ---- tables ---- */

/* Settings of one block, or of two alike and a head. */
static sv_status prepare_setting(void *context, size_t setting, sv_error *err)
{
    (void)err;
    turned_bench *bench = context;
    bench->setting = setting;
    bench->settings_done[bench->prepared++ % 512] = setting;
    return SV_OK;
}

static sv_status run_setting(void *context, double *part_ms, sv_error *err)
{
    turned_bench *bench = context;
    const sv_latency_setting *setting = &bench->settings[bench->setting];
    bench->runs++;
    if (bench->runs == bench->fail_at) return sv_fail(err, SV_FAULT, "no memory for run %zu", bench->runs);
    for (size_t i = 0; i < setting->count; i++) {
        const double ms = bench->take_ms[setting->parts[i].tokens];
        part_ms[i] = (bench->runs <= bench->disturbed_runs ? 2 : 1) * (1 + bench->drift * (double)bench->prepared) * ms;
        if (bench->runs % setting->count == i) part_ms[i] += bench->stumble_ms;
        bench->seconds += part_ms[i] / 1e3;
    }
    return SV_OK;
}

static sv_latency_bench bench_of(turned_bench *bench, const sv_latency_setting *settings)
{
    bench->settings = settings;
    return (sv_latency_bench){ .context = bench, .prepare = prepare_setting, .run = run_setting };
}
#define ONE(op, tokens) { (const sv_latency_part[]){ { op, 0, tokens } }, 1 }

static void a_table_is_measured_there_and_back(void **state)
{
    (void)state;
    turned_bench bench = { 0 };
    const sv_latency_setting settings[] = { ONE(SV_LATENCY_BLOCK, 10), ONE(SV_LATENCY_BLOCK, 20), ONE(SV_LATENCY_BLOCK, 30) };
    for (size_t n = 0; n < 256; n++) bench.take_ms[n] = 0.1 * (double)n;
    sv_latency_table table = empty_table();
    sv_latency_bench calls = bench_of(&bench, settings);
    sv_measure_options options = turning(&bench, 2, 9, 10);
    sv_latency_quality quality;
    sv_error err;
    assert_ok(sv_latency_measure_settings(&table, 1, settings, 3, &options, 0.03, &calls, &quality, &err), err);
    assert_int_equal(bench.prepared, 6);
    static const size_t order[] = { 0, 1, 2, 2, 1, 0 };
    for (size_t i = 0; i < 6; i++) assert_int_equal(bench.settings_done[i], order[i]);
    assert_int_equal(table.count, 3);
    for (size_t i = 0; i < 3; i++) assert_true(fabs(table.rows[i].median_ms - 0.1 * (double)table.rows[i].tokens) < 1e-9);
    assert_int_equal(quality.unsteady, 0);
    assert_true(quality.worst < 1e-6);
    sv_latency_table_clear(&table);
}

static void a_disturbed_point_is_measured_again_and_the_better_time_counts(void **state)
{
    (void)state;
    turned_bench bench = { .disturbed_runs = 11 };
    const sv_latency_setting settings[] = { ONE(SV_LATENCY_BLOCK, 10), ONE(SV_LATENCY_BLOCK, 20) };
    for (size_t n = 0; n < 256; n++) bench.take_ms[n] = 1 + 0.1 * (double)n;
    sv_latency_table table = empty_table();
    sv_latency_bench calls = bench_of(&bench, settings);
    sv_measure_options options = turning(&bench, 2, 9, 10);
    sv_latency_quality quality;
    sv_error err;
    assert_ok(sv_latency_measure_settings(&table, 1, settings, 2, &options, 0.03, &calls, &quality, &err), err);
    assert_int_equal(bench.prepared, 5); /* the first point once more */
    assert_true(fabs(table.rows[0].median_ms - 2) < 1e-9 && fabs(table.rows[1].median_ms - 3) < 1e-9);
    assert_int_equal(quality.unsteady, 0);
    sv_latency_table_clear(&table);
}

static void what_stays_unsteady_is_counted(void **state)
{
    (void)state;
    turned_bench bench = { .drift = 0.1 };
    const sv_latency_setting settings[] = { ONE(SV_LATENCY_BLOCK, 10), ONE(SV_LATENCY_HEAD, 10) };
    bench.take_ms[10] = 1;
    sv_latency_table table = empty_table();
    sv_latency_bench calls = bench_of(&bench, settings);
    sv_measure_options options = turning(&bench, 0, 5, 10);
    sv_latency_quality quality;
    sv_error err;
    assert_ok(sv_latency_measure_settings(&table, 1, settings, 2, &options, 0.03, &calls, &quality, &err), err);
    assert_int_equal(bench.prepared, 2 * 2 + 3 * 2); /* twice, then three times again at most */
    assert_int_equal(quality.unsteady, 2);
    assert_true(quality.worst > 0.05);
    sv_latency_table_clear(&table);
}

static void a_failure_in_the_middle_leaves_the_table_as_it_was(void **state)
{
    (void)state;
    turned_bench bench = { .fail_at = 30 };
    const sv_latency_setting settings[] = { ONE(SV_LATENCY_BLOCK, 10), ONE(SV_LATENCY_BLOCK, 20) };
    for (size_t n = 0; n < 256; n++) bench.take_ms[n] = 1;
    sv_latency_table table = empty_table();
    add(&table, SV_LATENCY_HEAD, 1, 0.5);
    sv_latency_bench calls = bench_of(&bench, settings);
    sv_measure_options options = turning(&bench, 2, 9, 10);
    sv_error err;
    assert_int_equal(sv_latency_measure_settings(&table, 1, settings, 2, &options, 0.03, &calls, NULL, &err), SV_FAULT);
    assert_int_equal(table.count, 1);
    bench.fail_at = 0;
    for (uint64_t at = 1;; at++) {
        sv_fault_set(SV_FAULT_ALLOC, at, false);
        sv_status status = sv_latency_measure_settings(&table, 1, settings, 2, &options, 0.03, &calls, NULL, &err);
        bool reached = sv_fault_calls(SV_FAULT_ALLOC) >= at;
        sv_fault_set(SV_FAULT_ALLOC, 0, false);
        if (!reached) break;
        assert_int_equal(status, SV_FAULT);
        assert_int_equal(table.count, 1);
    }
    assert_int_equal(table.count, 3);
    sv_latency_table_clear(&table);
}

/* Blocks of one token count in a run are one time, their mean; of several settings the lower quartile counts. */
static void parts_alike_are_one_op(void **state)
{
    (void)state;
    turned_bench bench = { 0 };
    const sv_latency_part dense[] = { { SV_LATENCY_BLOCK, 0, 40 }, { SV_LATENCY_BLOCK, 0, 40 }, { SV_LATENCY_HEAD, 0, 40 } };
    const sv_latency_part pruned[] = { { SV_LATENCY_BLOCK, 0, 40 }, { SV_LATENCY_SELECTOR, 0, 39 }, { SV_LATENCY_BLOCK, 0, 20 }, { SV_LATENCY_HEAD, 0, 20 } };
    const sv_latency_setting settings[] = { { dense, 3 }, { pruned, 4 } };
    bench.take_ms[40] = 4, bench.take_ms[39] = 1, bench.take_ms[20] = 2;
    sv_latency_table table = empty_table();
    sv_latency_bench calls = bench_of(&bench, settings);
    sv_measure_options options = turning(&bench, 2, 9, 10);
    sv_error err;
    double ms;
    assert_ok(sv_latency_measure_settings(&table, 1, settings, 2, &options, 0.03, &calls, NULL, &err), err);
    assert_int_equal(table.count, 5); /* block 20, 40; selector 39; head 20, 40 */
    assert_ok(sv_latency_at(&table, SV_LATENCY_BLOCK, 0, 1, 40, SV_LATENCY_LINEAR, &ms, &err), err);
    assert_true(fabs(ms - 4) < 1e-9);
    assert_ok(sv_latency_at(&table, SV_LATENCY_SELECTOR, 0, 1, 39, SV_LATENCY_LINEAR, &ms, &err), err);
    assert_true(fabs(ms - 1) < 1e-9);
    sv_latency_table_clear(&table);
}

/* A delay that hits another part each time is in every whole run and in no part's median. */
static void rows_add_up_to_whole_runs(void **state)
{
    (void)state;
    turned_bench bench = { .stumble_ms = 0.5 };
    const sv_latency_part parts[] = { { SV_LATENCY_EMBED, 0, 41 }, { SV_LATENCY_BLOCK, 0, 40 }, { SV_LATENCY_SELECTOR, 0, 39 }, { SV_LATENCY_BLOCK, 0, 20 }, { SV_LATENCY_HEAD, 0, 21 } };
    const sv_latency_setting settings[] = { { parts, 5 } };
    bench.take_ms[41] = 1, bench.take_ms[40] = 4, bench.take_ms[39] = 1, bench.take_ms[20] = 2, bench.take_ms[21] = 2;
    sv_latency_table table = empty_table();
    sv_latency_bench calls = bench_of(&bench, settings);
    sv_measure_options options = turning(&bench, 0, 25, 10);
    sv_error err;
    double sum = 0, ms = 0;
    assert_ok(sv_latency_measure_settings(&table, 1, settings, 1, &options, 0.03, &calls, NULL, &err), err);
    for (size_t i = 0; i < 5; i++) {
        assert_ok(sv_latency_at(&table, parts[i].op, 0, 1, (double)parts[i].tokens, SV_LATENCY_LINEAR, &ms, &err), err);
        sum += ms;
    }
    assert_true(fabs(sum - 10.5) < 1e-9);
    assert_true(fabs(ms - 2 * 1.05) < 1e-9); /* each in its share */
    sv_latency_table_clear(&table);
}

/* A machine that was busy at one point only is no reason to have no table. */
static void a_point_that_stays_too_slow_takes_the_time_of_more_tokens(void **state)
{
    (void)state;
    turned_bench bench = { 0 };
    const sv_latency_part parts[] = { { SV_LATENCY_BLOCK, 0, 20 }, { SV_LATENCY_BLOCK, 0, 40 } };
    const sv_latency_setting settings[] = { { parts, 2 } };
    bench.take_ms[20] = 9, bench.take_ms[40] = 3;
    sv_latency_table table = empty_table();
    sv_latency_bench calls = bench_of(&bench, settings);
    sv_measure_options options = turning(&bench, 0, 9, 10);
    sv_latency_quality quality = { 0 };
    sv_error err;
    double few = 0, many = 0;
    assert_ok(sv_latency_measure_settings(&table, 1, settings, 1, &options, 0.03, &calls, &quality, &err), err);
    assert_ok(sv_latency_at(&table, SV_LATENCY_BLOCK, 0, 1, 20, SV_LATENCY_LINEAR, &few, &err), err);
    assert_ok(sv_latency_at(&table, SV_LATENCY_BLOCK, 0, 1, 40, SV_LATENCY_LINEAR, &many, &err), err);
    assert_true(few == many);
    assert_int_equal(quality.unsteady, 1);
    sv_latency_table_clear(&table);
}

/* ---- the machine ---- */

static bool first_two(void *context, size_t cpu)
{
    (void)context;
    return cpu < 2;
}

static void only_our_cpus_are_counted(void **state)
{
    (void)state;
    static const char stat[] = "cpu  900 0 0 900 0 0 0 0 0 0\ncpu0 10 1 2 80 3 4 5 6 0 0\ncpu1 20 0 0 80 0 0 0 0\ncpu2 500 0 0 0 0 0 0 0 0 0\nintr 1 2 3\n";
    sv_machine_times times = { 0 };
    assert_true(sv_machine_times_parse(&times, stat, first_two, NULL));
    assert_true(times.total == 111 + 100 && times.busy == 22 + 20 && times.stolen == 6);
    assert_false(sv_machine_times_parse(&times, "", first_two, NULL));
    assert_false(sv_machine_times_parse(&times, "cpu0 one two\n", first_two, NULL));
    assert_false(sv_machine_times_parse(&times, "cpu7 1 2 3 4\n", first_two, NULL));
}

static void a_busy_machine_is_said_and_an_idle_one_is_not(void **state)
{
    (void)state;
    char room[128];
    sv_machine_times before = { 1000, 100, 0, 50, 0 }, idle = { 2000, 620, 0, 560, 0 }, busy = { 2000, 900, 30, 560, 0 };
    assert_string_equal(sv_machine_busy(room, sizeof room, sv_machine_between(before, idle)), "");
    assert_string_equal(sv_machine_busy(room, sizeof room, sv_machine_between(before, busy)), "others used 29 % of its cores and 3 % of its time was stolen");
    assert_string_equal(sv_machine_busy(room, sizeof room, sv_machine_between((sv_machine_times){ 0 }, busy)), "");
    assert_string_equal(sv_machine_busy(room, sizeof room, (sv_machine_state){ .slower = 0.25 }), "its clock became 25 % slower");
    assert_string_equal(sv_machine_busy(room, sizeof room, (sv_machine_state){ 0.5, 0.02, -0.1 }),
                        "others used 50 % of its cores, 2 % of its time was stolen and its clock became 10 % faster");
    before.pace = 1e-4, busy.pace = 1.1e-4;
    assert_true(fabs(sv_machine_between(before, busy).slower - 0.1) < 1e-9);
}

/* A third of a second of work while every core has another program on it. */
static sv_status work_a_while(void *context, sv_error *err)
{
    (void)context;
    (void)err;
    for (double end = sv_now_seconds() + 0.03; sv_now_seconds() < end;) {}
    return SV_OK;
}

static void a_machine_loaded_on_purpose_is_noticed(void **state)
{
    (void)state;
    const sv_measure_options options = { .runs = 12, .seconds_most = 2 };
    const sv_measure_subject subject = { work_a_while, NULL };
    enum { MOST = 64 };
    pid_t others[MOST];
    size_t count = sv_cores() < MOST ? sv_cores() : MOST;
    char room[128];
    sv_measured measured;
    sv_machine_state machine = { 0 };
    sv_error err = { 0 };
    if (sv_machine_times_now().total <= 0) {
        print_message("skipped: this system does not tell how busy it is\n");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        others[i] = fork();
        if (others[i] == 0)
            for (double end = sv_now_seconds() + 5;;)
                if (sv_now_seconds() > end) _exit(0);
        assert_true(others[i] > 0);
    }
    sv_status status = sv_latency_measure(&options, &subject, 1, &measured, &machine, &err);
    for (size_t i = 0; i < count; i++) {
        kill(others[i], SIGKILL);
        waitpid(others[i], NULL, 0);
    }
    assert_ok(status, err);
    assert_true(machine.others_share > 0.05);
    assert_non_null(strstr(sv_machine_busy(room, sizeof room, machine), "others used "));
}

static void here_is_described_in_words_a_table_can_hold(void **state)
{
    (void)state;
    sv_latency_table table = empty_table(), again = { 0 };
    sv_text text = { 0 };
    sv_error err;
    add(&table, SV_LATENCY_BLOCK, 10, 1);
    sv_latency_about_here(&table.about, "fp32");
    assert_true(table.about.threads > 0 && table.about.cpu[0] && table.about.device[0] && table.about.date[0] && table.about.affinity[0]);
    assert_ok(sv_latency_table_print(&table, &text, &err), err);
    assert_ok(sv_latency_table_parse(&again, text.data, text.length, "here", &err), err);
    assert_string_equal(again.about.cpu, table.about.cpu);
    assert_string_equal(again.about.arch, "deit_t"); /* the model's part is left alone */
    sv_text_clear(&text);
    sv_latency_table_clear(&again);
    sv_latency_table_clear(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statistics_are_those_of_the_sorted_times),
        cmocka_unit_test(subjects_alternate_forwards_and_backwards),
        cmocka_unit_test(the_time_limit_ends_it_early_but_not_before_three_runs),
        cmocka_unit_test(a_failing_run_ends_it_and_leaves_the_result_alone),
        cmocka_unit_test(a_table_is_measured_there_and_back),
        cmocka_unit_test(a_disturbed_point_is_measured_again_and_the_better_time_counts),
        cmocka_unit_test(what_stays_unsteady_is_counted),
        cmocka_unit_test(a_failure_in_the_middle_leaves_the_table_as_it_was),
        cmocka_unit_test(parts_alike_are_one_op),
        cmocka_unit_test(rows_add_up_to_whole_runs),
        cmocka_unit_test(a_point_that_stays_too_slow_takes_the_time_of_more_tokens),
        cmocka_unit_test(only_our_cpus_are_counted),
        cmocka_unit_test(a_busy_machine_is_said_and_an_idle_one_is_not),
        cmocka_unit_test(a_machine_loaded_on_purpose_is_noticed),
        cmocka_unit_test(here_is_described_in_words_a_table_can_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
