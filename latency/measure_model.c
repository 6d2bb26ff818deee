/* Small inference tapes, one an op and token count, timed by the protocol of latency/measure.h. */
#include "latency/measure_model.h"

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

/* ---- one op ------------------------------------------------------------------------------------------------------ */

typedef struct bench { const sv_pruning *pruning; const sv_model_measure *measure; sv_tape *tape; sv_step step; } bench;

static void fill_input(sv_tape *tape, const sv_tensor *tensor, size_t images)
{
    for (size_t b = 0; b < images; b++) {
        sv_random random = sv_random_at(1, SV_FOR_TEST, 0, b, 0);
        size_t count = sv_tape_rows(tape, tensor, b) * sv_tensor_width(tensor);
        sv_real *data = sv_tape_data(tape, tensor, b);
        for (size_t i = 0; i < count; i++) data[i] = (sv_real)(2 * sv_random_uniform(&random) - 1);
    }
}

/* The package tokens that n tokens can hold stand among the patches here: rows are rows. */
static sv_tensor *record_point(bench *b, sv_latency_point point, sv_tensor **input, sv_tensor **value)
{
    const sv_model *model = sv_pruning_model(b->pruning);
    const sv_pruning_plan *plan = &sv_pruning_options_of(b->pruning)->plan;
    sv_tensor *x = NULL;
    if (point.op == SV_LATENCY_EMBED) {
        *input = sv_tape_input(b->tape, "picture", SV_REAL, 1, 3 * model->options.image * model->options.image, false);
        return sv_model_embed(b->tape, model, *input);
    }
    *input = x = sv_tape_input(b->tape, "tokens", SV_REAL, point.tokens + (point.op == SV_LATENCY_SELECTOR ? sv_model_prefix(model) : 0), model->options.width, false);
    if (point.op == SV_LATENCY_SELECTOR) {
        *value = sv_tape_batch_input(b->tape, "thresholds", plan->stages);
        return sv_removal_record_stage(b->tape, b->pruning, plan, 0, x, *value);
    }
    if (point.op == SV_LATENCY_HEAD) return sv_model_head(b->tape, model, sv_model_finish(b->tape, model, sv_tape_slice_rows(b->tape, x, 0, sv_model_prefix(model))));
    for (size_t i = 0; i < sv_model_depth(model); i++) x = sv_model_block(b->tape, model, i, x, NULL);
    return x;
}

static sv_status prepare(void *context, sv_latency_point point, sv_error *err)
{
    bench *b = context;
    const sv_pruning_plan *plan = &sv_pruning_options_of(b->pruning)->plan;
    sv_tape_options options = { .mode = SV_INFERENCE, .images_most = point.batch, .precision = sv_pruning_model(b->pruning)->options.precision };
    sv_tensor *input = NULL, *value = NULL;
    sv_tape_destroy(b->tape);
    b->tape = NULL;
    sv_status status = sv_tape_create(&b->tape, &options, err);
    if (status) return status;
    sv_tape_keep(b->tape, record_point(b, point, &input, &value));
    status = sv_tape_finish(b->tape, NULL, err);
    if (status) return status;
    b->step = (sv_step){ .images = point.batch };
    fill_input(b->tape, input, point.batch);
    for (size_t t = 0; value && t < plan->stages; t++)
        sv_tape_data(b->tape, value, 0)[t] = (sv_real)(plan->rule == SV_RULE_TOPK ? (double)(point.tokens * 7 / 10) : 0.5);
    return SV_OK;
}

static sv_status run(void *context, sv_error *err)
{
    bench *b = context;
    return sv_tape_forward(b->tape, &b->step, err);
}

static void progress(void *context, size_t done, size_t total)
{
    const bench *b = context;
    if (!b->measure->quiet) sv_progress("measuring this machine: %zu of %zu points", done, total);
}

/* ---- a model ----------------------------------------------------------------------------------------------------- */

enum { POINTS_MOST = 160, COUNTS_MOST = 64 };

static size_t make_points(const sv_pruning *pruning, const sv_model_measure *m, sv_latency_point *points)
{
    const sv_model *model = sv_pruning_model(pruning);
    size_t counts[COUNTS_MOST], prefix = sv_model_prefix(model), patches = sv_model_patches(model), n = 0;
    size_t count = sv_latency_grid(patches, m->packages, m->exact, m->exact_count, counts, COUNTS_MOST);
    points[n++] = (sv_latency_point){ SV_LATENCY_EMBED, m->batch, prefix + patches };
    for (size_t i = 0; i < count; i++) points[n++] = (sv_latency_point){ SV_LATENCY_BLOCK, m->batch, prefix + counts[i] };
    for (size_t i = 0; i < count && sv_pruning_options_of(pruning)->plan.stages; i += i + 4 < count ? 3 : 1) /* every third: selectors are cheap */
        points[n++] = (sv_latency_point){ SV_LATENCY_SELECTOR, m->batch, counts[i] };
    points[n++] = (sv_latency_point){ SV_LATENCY_HEAD, m->batch, prefix + counts[0] };
    if (count > 1) points[n++] = (sv_latency_point){ SV_LATENCY_HEAD, m->batch, prefix + counts[count - 1] };
    return n;
}

sv_status sv_latency_measure_model(sv_latency_table *table, const sv_pruning *pruning, const sv_model_measure *measure, sv_latency_quality *quality, sv_error *err)
{
    sv_latency_point points[POINTS_MOST];
    bench b = { .pruning = pruning, .measure = measure };
    sv_latency_bench calls = { .context = &b, .prepare = prepare, .run = run, .progress = progress };
    sv_latency_table made = { 0 };
    double depth = (double)sv_model_depth(sv_pruning_model(pruning));
    sv_latency_about_model(&made.about, sv_pruning_model(pruning));
    if (sv_pruning_options_of(pruning)->plan.stages) snprintf(made.about.selector, sizeof made.about.selector, "%s", sv_method_name(sv_pruning_options_of(pruning)->plan.method));
    sv_status status = sv_latency_measure_points(&made, points, make_points(pruning, measure, points), &measure->options, measure->tolerance, &calls, quality, err);
    sv_tape_destroy(b.tape);
    if (!measure->quiet) sv_progress_end();
    if (status) {
        sv_latency_table_clear(&made);
        return status;
    }
    for (size_t i = 0; i < made.count; i++)
        if (made.rows[i].op == SV_LATENCY_BLOCK) made.rows[i].median_ms /= depth, made.rows[i].p95_ms /= depth;
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
