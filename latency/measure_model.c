/* Whole models at several keep settings, timed part by part by the protocol of latency/measure.h. */
#include "latency/measure_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

sv_status sv_latency_fits_method(const sv_latency_table *table, const sv_pruning_plan *plan, const char *name, sv_error *err)
{
    char word[sizeof table->about.selector];
    sv_method timed;
    snprintf(word, sizeof word, "%.*s", (int)strcspn(table->about.selector, " "), table->about.selector);
    if (!plan->stages || !sv_method_find(&timed, word) || timed == plan->method) return SV_OK;
    return sv_fail(err, SV_MODEL_FILE, "%s: is the table of selectors of %s, the run's are of %s; measure one for them, or name another table", name, sv_method_name(timed),
                   sv_method_name(plan->method));
}

/* ---- a model by its settings ------------------------------------------------------------------------------------- */

enum { SETTINGS_MOST = 24, PICTURES_LEAST = 4 };

typedef struct bench {
    const sv_pruning *pruning;
    const sv_model_measure *measure;
    sv_pruning_plan plan;                   /* counts that are the same for every picture */
    sv_removal_tape dense, pruned, *now;
    size_t counts[SETTINGS_MOST][SV_MOST_STAGES], setting_count; /* of setting 0, the dense model, unused */
    sv_latency_part *parts;                 /* [settings][part_most] */
    sv_part *list;                          /* [part_most] of the setting that is listed */
    size_t part_most;
    double *seconds;                        /* of the segments of a run */
    sv_real *pictures;
    size_t picture_numbers, picture_count, next;
} bench;

/* Of a setting; list[part_most] is room for them as pruning tells them. */
static size_t list_parts(const bench *b, size_t setting, sv_part *list, sv_latency_part *parts)
{
    sv_pruning_plan plan = b->plan;
    if (!setting) plan.stages = 0;
    memcpy(plan.count, b->counts[setting], sizeof plan.count);
    const size_t count = sv_removal_parts(sv_pruning_model(b->pruning), &plan, list);
    for (size_t i = 0; i < count; i++) parts[i] = sv_latency_part_of(&list[i], plan.count);
    return count;
}

static void add_counts(bench *b, const size_t *counts)
{
    const size_t bytes = b->plan.stages * sizeof *counts;
    for (size_t s = 1; s < b->setting_count; s++)
        if (memcmp(b->counts[s], counts, bytes) == 0) return;
    if (b->setting_count < SETTINGS_MOST) memcpy(b->counts[b->setting_count++], counts, bytes);
}

static void add_ratios(bench *b, const double *keep)
{
    sv_plan_set_keep(&b->plan, keep);
    add_counts(b, b->plan.count);
}

/* r falls until the last selector keeps a tenth. Where blocks on the rows of a grid that live are others than those of the dense model, all is a setting too. */
static void choose_settings(bench *b)
{
    static const double all[SV_MOST_STAGES] = { 1, 1, 1, 1, 1, 1 };
    const sv_model *model = sv_pruning_model(b->pruning);
    const size_t stages = b->plan.stages;
    b->part_most = sv_removal_parts_most(model, &b->plan);
    b->setting_count = 1;
    if (!stages) return;
    add_counts(b, b->plan.count);
    if (sv_model_place(model, sv_model_depth(model) - 1).stage > 0) add_ratios(b, all);
    for (int twentieths = 19; twentieths > 0 && pow(0.05 * (twentieths + 1), (double)stages) >= 0.1; twentieths--) {
        double keep[SV_MOST_STAGES];
        for (size_t t = 0; t < stages; t++) keep[t] = pow(0.05 * twentieths, (double)(t + 1));
        add_ratios(b, keep);
    }
}

static sv_status check_segments(const bench *b, const sv_removal_tape *removal, size_t parts, sv_error *err)
{
    if (sv_tape_segments(removal->tape) == parts) return SV_OK;
    return sv_fail(err, SV_FAULT, "the tape of %s has %zu segments where %zu parts were expected", sv_pruning_model(b->pruning)->backbone->name, sv_tape_segments(removal->tape), parts);
}

static sv_status prepare(void *context, size_t setting, sv_error *err)
{
    bench *b = context;
    (void)err;
    b->now = setting ? &b->pruned : &b->dense;
    if (setting) memcpy(b->plan.count, b->counts[setting], sizeof b->plan.count);
    if (setting) sv_removal_set_plan(b->now, &b->plan);
    return SV_OK;
}

static sv_status run(void *context, double *part_ms, sv_error *err)
{
    bench *b = context;
    const sv_step step = { .images = b->measure->batch };
    const double begin = sv_now_seconds();
    for (size_t i = 0; i < step.images; i++, b->next = (b->next + 1) % b->picture_count)
        memcpy(sv_tape_data(b->now->tape, b->now->picture, i), b->pictures + b->next * b->picture_numbers, b->picture_numbers * sizeof *b->pictures);
    const double copied = sv_now_seconds();
    const sv_status status = sv_tape_forward(b->now->tape, &step, err);
    const double end = sv_now_seconds();
    double inside = 0;
    for (size_t i = 0; i < sv_tape_segments(b->now->tape); i++) {
        part_ms[i] = 1e3 * b->seconds[i];
        inside += b->seconds[i];
    }
    part_ms[0] += 1e3 * (copied - begin + (end - copied - inside)); /* what starts and ends a run, too */
    return status;
}

static void progress(void *context, size_t done, size_t total)
{
    const bench *b = context;
    if (!b->measure->quiet) sv_progress("measuring this machine: %zu of %zu settings", done, total);
}

static sv_status make_lists(bench *b, sv_error *err)
{
    sv_status status = sv_alloc(&b->list, b->part_most * sizeof *b->list, "parts", err);
    return status ? status : sv_alloc(&b->parts, b->setting_count * b->part_most * sizeof *b->parts, "parts", err);
}

static sv_status make_room(bench *b, sv_error *err)
{
    const sv_model *model = sv_pruning_model(b->pruning);
    size_t bytes = 0;
    b->picture_numbers = 3 * model->options.image * model->options.image;
    b->picture_count = b->measure->batch > PICTURES_LEAST ? b->measure->batch : PICTURES_LEAST;
    if (sv_mul_size3(&bytes, b->picture_count, b->picture_numbers, sizeof *b->pictures)) return sv_fail(err, SV_FAULT, "%zu pictures do not fit", b->picture_count);
    sv_status status = sv_alloc(&b->pictures, bytes, "pictures", err);
    if (!status) status = sv_alloc(&b->seconds, b->part_most * sizeof *b->seconds, "times", err);
    if (status) return status;
    sv_random random = sv_random_at(1, SV_FOR_TEST, 0, 0, 0);
    for (size_t i = 0; i < b->picture_count * b->picture_numbers; i++) b->pictures[i] = (sv_real)(2 * sv_random_uniform(&random) - 1);
    return SV_OK;
}

static sv_status record(bench *b, const sv_latency_setting *settings, sv_error *err)
{
    sv_status status = sv_removal_record(&b->dense, b->pruning, NULL, b->measure->batch, err);
    if (!status && b->plan.stages) status = sv_removal_record(&b->pruned, b->pruning, &b->plan, b->measure->batch, err);
    if (!status) status = check_segments(b, &b->dense, settings[0].count, err);
    if (!status && b->plan.stages) status = check_segments(b, &b->pruned, settings[1].count, err);
    if (!status) sv_tape_watch(b->dense.tape, b->seconds);
    if (!status && b->plan.stages) sv_tape_watch(b->pruned.tape, b->seconds);
    return status;
}

static void clear(bench *b)
{
    sv_removal_clear(&b->dense);
    sv_removal_clear(&b->pruned);
    sv_free(b->pictures);
    sv_free(b->seconds);
    sv_free(b->parts);
    sv_free(b->list);
}

sv_status sv_latency_rows_wanted(sv_latency_row **rows, size_t *count, const sv_pruning *pruning, size_t batch, sv_error *err)
{
    bench b = { .pruning = pruning, .plan = sv_pruning_options_of(pruning)->plan };
    sv_latency_table table = { 0 };
    choose_settings(&b);
    sv_status status = make_lists(&b, err);
    for (size_t s = 0; !status && s < b.setting_count; s++)
        for (size_t i = 0, n = list_parts(&b, s, b.list, b.parts); !status && i < n; i++)
            status = sv_latency_table_add(&table, &(sv_latency_row){ .op = b.parts[i].op, .grid = b.parts[i].grid, .batch = batch, .tokens = b.parts[i].tokens }, err);
    clear(&b);
    if (status) {
        sv_latency_table_clear(&table);
        return status;
    }
    *rows = table.rows;
    *count = table.count;
    return SV_OK;
}

sv_status sv_latency_measure_model(sv_latency_table *table, const sv_pruning *pruning, const sv_model_measure *measure, sv_latency_quality *quality, sv_error *err)
{
    bench b = { .pruning = pruning, .measure = measure, .plan = sv_pruning_options_of(pruning)->plan };
    const sv_latency_bench calls = { .context = &b, .prepare = prepare, .run = run, .progress = progress };
    sv_latency_setting settings[SETTINGS_MOST];
    sv_latency_table made = { 0 };
    b.plan.rule = SV_RULE_TOPK;
    choose_settings(&b);
    sv_latency_about_model(&made.about, sv_pruning_model(pruning));
    if (b.plan.stages) snprintf(made.about.selector, sizeof made.about.selector, "%s", sv_method_name(b.plan.method));
    sv_status status = make_lists(&b, err);
    if (!status) status = make_room(&b, err);
    for (size_t s = 0; !status && s < b.setting_count; s++) {
        sv_latency_part *parts = b.parts + s * b.part_most;
        settings[s] = (sv_latency_setting){ parts, list_parts(&b, s, b.list, parts) };
    }
    if (!status) status = record(&b, settings, err);
    if (!status) status = sv_latency_measure_settings(&made, measure->batch, settings, b.setting_count, &measure->options, measure->tolerance, &calls, quality, err);
    clear(&b);
    if (!measure->quiet) sv_progress_end();
    if (status) {
        sv_latency_table_clear(&made);
        return status;
    }
    sv_latency_table_clear(table);
    *table = made;
    return SV_OK;
}

/* ---- end to end -------------------------------------------------------------------------------------------------- */

typedef struct whole { const sv_removal_tape *removal; const sv_real *const *pictures; size_t count, batch, next; } whole;

static sv_status run_whole(void *context, sv_error *err)
{
    whole *w = context;
    sv_step step = { .images = w->batch };
    size_t bytes = sv_tensor_width(w->removal->picture) * sizeof(sv_real);
    for (size_t b = 0; b < w->batch; b++, w->next = (w->next + 1) % w->count) memcpy(sv_tape_data(w->removal->tape, w->removal->picture, b), w->pictures[w->next], bytes);
    return sv_tape_forward(w->removal->tape, &step, err);
}

sv_status sv_latency_measure_tapes(const sv_removal_tape *const *tapes, size_t count, const sv_real *const *pictures, size_t picture_count, size_t batch,
                                   const sv_measure_options *options, sv_measured *out, sv_machine_state *machine, sv_error *err)
{
    whole wholes[SV_MEASURE_SUBJECTS_MOST];
    sv_measure_subject subjects[SV_MEASURE_SUBJECTS_MOST];
    if (!count || count > SV_MEASURE_SUBJECTS_MOST || !picture_count) return sv_fail(err, SV_FAULT, "%zu models and %zu pictures cannot be measured", count, picture_count);
    for (size_t i = 0; i < count; i++) {
        wholes[i] = (whole){ tapes[i], pictures, picture_count, batch, 0 };
        subjects[i] = (sv_measure_subject){ run_whole, &wholes[i] };
    }
    return sv_latency_measure(options, subjects, count, out, machine, err);
}
