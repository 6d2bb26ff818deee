/* Whole models at several keep settings, timed part by part by the protocol of latency/measure.h. */
#include "latency/measure_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void sv_latency_about_model(sv_latency_about *about, const sv_model *model)
{
    sv_latency_about_here(about, sv_precision_name(model->options.precision));
    snprintf(about->arch, sizeof about->arch, "%s", model->backbone->name);
    about->image = model->options.image;
    about->patch = model->options.patch;
    about->depth = model->options.depth;
    about->width = model->options.width;
    about->heads = model->options.heads;
}

sv_status sv_latency_fits_method(const sv_latency_table *table, const sv_pruning_plan *plan, const char *name, sv_error *err)
{
    char word[sizeof table->about.selector];
    sv_method timed;
    snprintf(word, sizeof word, "%.*s", (int)strcspn(table->about.selector, " "), table->about.selector);
    if (!plan->stages || !sv_method_find(&timed, word) || timed == plan->method) return SV_OK;
    return sv_fail(err, SV_MODEL_FILE, "%s: is the table of selectors of %s, the run's are of %s; measure one for them, or name another table", name, sv_method_name(timed),
                   sv_method_name(plan->method));
}

void sv_latency_shape_method(sv_latency_shape *shape, const sv_pruning_plan *plan)
{
    const sv_method_form form = sv_method_form_of(plan->method);
    shape->split = plan->stages && form == SV_INSIDE_BLOCKS;
    shape->merges = plan->stages && form == SV_IN_EVERY_BLOCK;
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
    size_t part_most;
    double *seconds;                        /* of the segments of a run */
    sv_real *pictures;
    size_t picture_numbers, picture_count, next;
} bench;

/* In every block: attention with the meeting of tokens, then the MLP. */
static size_t list_merging(const bench *b, size_t setting, sv_latency_part *parts)
{
    const sv_model *model = sv_pruning_model(b->pruning);
    const size_t prefix = sv_model_prefix(model), patches = sv_model_patches(model), depth = sv_model_depth(model);
    size_t rows = patches, n = 0;
    parts[n++] = (sv_latency_part){ SV_LATENCY_EMBED, prefix + rows };
    for (size_t i = 0; i < depth; i++) {
        parts[n++] = (sv_latency_part){ SV_LATENCY_SELECTOR, rows };
        rows -= sv_merge_count(patches, b->counts[setting][0], depth, i, rows);
        parts[n++] = (sv_latency_part){ SV_LATENCY_MLP, prefix + rows };
    }
    parts[n++] = (sv_latency_part){ SV_LATENCY_HEAD, prefix + rows };
    return n;
}

/* Every part of a model is a segment of its tape: embedding, blocks and selectors as they come, head. */
static size_t list_parts(const bench *b, size_t setting, sv_latency_part *parts)
{
    const sv_model *model = sv_pruning_model(b->pruning);
    const sv_method_form form = sv_method_form_of(b->plan.method);
    const size_t prefix = sv_model_prefix(model), stages = setting ? b->plan.stages : 0;
    size_t tokens = prefix + sv_model_patches(model), n = 0;
    if (stages && form == SV_IN_EVERY_BLOCK) return list_merging(b, setting, parts);
    parts[n++] = (sv_latency_part){ SV_LATENCY_EMBED, tokens };
    for (size_t i = 0, t = 0; i < sv_model_depth(model); i++) {
        const bool here = t < stages && b->plan.at[t] == i;
        if (here) {
            parts[n++] = (sv_latency_part){ SV_LATENCY_SELECTOR, tokens - prefix };
            tokens = prefix + b->counts[setting][t] + (b->plan.package == SV_CHOICE_NONE ? 0 : t + 1);
            t++;
        }
        parts[n++] = (sv_latency_part){ here && form == SV_INSIDE_BLOCKS ? SV_LATENCY_MLP : SV_LATENCY_BLOCK, tokens };
    }
    parts[n++] = (sv_latency_part){ SV_LATENCY_HEAD, tokens };
    return n;
}

/* The most that list_parts can give. */
static size_t parts_of(const bench *b)
{
    const size_t depth = sv_model_depth(sv_pruning_model(b->pruning));
    return 2 + depth + (sv_method_form_of(b->plan.method) == SV_IN_EVERY_BLOCK ? depth : b->plan.stages);
}

static void add_counts(bench *b, const size_t *counts)
{
    const size_t bytes = b->plan.stages * sizeof *counts;
    for (size_t s = 1; s < b->setting_count; s++)
        if (memcmp(b->counts[s], counts, bytes) == 0) return;
    if (b->setting_count < SETTINGS_MOST) memcpy(b->counts[b->setting_count++], counts, bytes);
}

/* r falls until the last selector keeps a tenth. */
static void choose_settings(bench *b)
{
    const size_t stages = b->plan.stages;
    b->setting_count = 1;
    if (!stages) return;
    add_counts(b, b->plan.count);
    for (int twentieths = 19; twentieths > 0 && pow(0.05 * (twentieths + 1), (double)stages) >= 0.1; twentieths--) {
        double keep[SV_MOST_STAGES];
        for (size_t t = 0; t < stages; t++) keep[t] = pow(0.05 * twentieths, (double)(t + 1));
        sv_plan_set_keep(&b->plan, keep);
        add_counts(b, b->plan.count);
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

static sv_status make_room(bench *b, sv_error *err)
{
    const sv_model *model = sv_pruning_model(b->pruning);
    size_t bytes = 0;
    b->picture_numbers = 3 * model->options.image * model->options.image;
    b->picture_count = b->measure->batch > PICTURES_LEAST ? b->measure->batch : PICTURES_LEAST;
    b->part_most = parts_of(b);
    if (sv_mul_size3(&bytes, b->picture_count, b->picture_numbers, sizeof *b->pictures)) return sv_fail(err, SV_FAULT, "%zu pictures do not fit", b->picture_count);
    sv_status status = sv_alloc(&b->pictures, bytes, "pictures", err);
    if (!status) status = sv_alloc(&b->seconds, b->part_most * sizeof *b->seconds, "times", err);
    if (!status) status = sv_alloc(&b->parts, b->setting_count * b->part_most * sizeof *b->parts, "parts", err);
    if (status) return status;
    sv_random random = sv_random_at(1, SV_FOR_TEST, 0, 0, 0);
    for (size_t i = 0; i < b->picture_count * b->picture_numbers; i++) b->pictures[i] = (sv_real)(2 * sv_random_uniform(&random) - 1);
    return SV_OK;
}

static sv_status record(bench *b, sv_error *err)
{
    sv_status status = sv_removal_record(&b->dense, b->pruning, NULL, b->measure->batch, err);
    if (!status && b->plan.stages) status = sv_removal_record(&b->pruned, b->pruning, &b->plan, b->measure->batch, err);
    if (!status) status = check_segments(b, &b->dense, sv_model_depth(sv_pruning_model(b->pruning)) + 2, err);
    if (!status && b->plan.stages) status = check_segments(b, &b->pruned, b->part_most, err);
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
}

/* A table holds one kind of block. */
static sv_status check_model(const sv_model *model, sv_error *err)
{
    if (!sv_model_unfit(model)) return SV_OK;
    return sv_fail(err, SV_USAGE, "%s has no latency table: a table holds one kind of block, and its blocks differ from stage to stage; set pruning.keep instead of a budget, and measure the whole model with eval --latency", model->backbone->name);
}

sv_status sv_latency_rows_wanted(sv_latency_row **rows, size_t *count, const sv_pruning *pruning, size_t batch, sv_error *err)
{
    bench b = { .pruning = pruning, .plan = sv_pruning_options_of(pruning)->plan };
    sv_latency_table table = { 0 };
    sv_latency_part *parts = NULL;
    sv_status status = check_model(sv_pruning_model(pruning), err);
    if (status) return status;
    choose_settings(&b);
    status = sv_alloc(&parts, parts_of(&b) * sizeof *parts, "parts", err);
    for (size_t s = 0; !status && s < b.setting_count; s++)
        for (size_t i = 0, n = list_parts(&b, s, parts); !status && i < n; i++)
            status = sv_latency_table_add(&table, &(sv_latency_row){ .op = parts[i].op, .batch = batch, .tokens = parts[i].tokens }, err);
    sv_free(parts);
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
    sv_status status = check_model(sv_pruning_model(pruning), err);
    if (status) return status;
    b.plan.rule = SV_RULE_TOPK;
    choose_settings(&b);
    sv_latency_about_model(&made.about, sv_pruning_model(pruning));
    if (b.plan.stages) snprintf(made.about.selector, sizeof made.about.selector, "%s", sv_method_name(b.plan.method));
    status = make_room(&b, err);
    if (!status) status = record(&b, err);
    for (size_t s = 0; !status && s < b.setting_count; s++) {
        sv_latency_part *parts = b.parts + s * b.part_most;
        settings[s] = (sv_latency_setting){ parts, list_parts(&b, s, parts) };
    }
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
