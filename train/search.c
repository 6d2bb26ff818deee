/* The walk: block by block from the last to the first, ratio by ratio down the grid. What earlier calls tried is read from trials.csv and not run
 * again, so that going on is walking the same way. */
#include "train/search.h"

#include "comm/comm.h"
#include "kernels/kernels.h"
#include "latency/shape.h"
#include "train/search_trial.h"
#include "train/table.h"
#include "train/train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const sv_config_row rows[] = {
    { "search.form", SV_CONFIG_CHOICE, "full", 0, 0, "cheap|full", "cheap: trials of untrained selectors, without training: minutes, a rough order of blocks; full: each trial is fine-tuned from the last accepted one" },
    { "search.first_block", SV_CONFIG_INT, "3", 1, 1023, NULL, "no selector stands before this block: early tokens tell little about their worth" },
    { "search.tolerance", SV_CONFIG_REAL, "0.005", 0, 1, NULL, "share of held-out pictures that may be lost against the dense model, in all" },
    { "search.spread", SV_CONFIG_BOOL, "yes", 0, 0, NULL, "the tolerance opens evenly from block to block; no: the last blocks may use all of it" },
    { "search.merge_tol", SV_CONFIG_REAL, "0.085", 0, 1, NULL, "neighbouring blocks whose ratios differ by less are one stage, with one selector" },
    { "search.epochs", SV_CONFIG_INT, "1", 1, 100000, NULL, "full: epochs of each trial" },
    { "search.grid", SV_CONFIG_REALS, "0.9,0.8,0.7,0.6,0.5,0.4,0.3", 0.001, 1, NULL, "ratios that are tried, falling" },
    { "search.hold_out", SV_CONFIG_INT, "1000", 1, 1e9, NULL, "training pictures, drawn by run.seed, that trials are judged by and never train on" },
    { "search.among", SV_CONFIG_BOOL, "no", 0, 0, NULL, "judge among the classes that are present (a head of 1000 on pictures of ten)" },
};
const sv_config_group sv_search_config = SV_CONFIG_GROUP(rows);

typedef struct search {
    const sv_config *config;
    sv_trial_place place;
    char *folder, *config_path, *trials_path, *text;
    uint64_t mark;
    sv_run_lock *lock;
    sv_model *model;
    sv_pruning *pruning;
    sv_latency_table table;
    bool foreign;
    sv_budget budget;
    double budget_ms, dense_ms;
    const double *grid; size_t grid_count;
    size_t first, depth;
    sv_trials trials;
    size_t done;                /* trials walked: read or run */
    double began; size_t run;   /* of this process */
    double ratios[SV_SEARCH_BLOCKS_MOST];
    sv_trial best;              /* the last accepted */
} search;

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static sv_status check_keys(search *s, sv_error *err)
{
    s->grid = sv_config_reals(s->config, "search.grid", &s->grid_count);
    const char *where = sv_config_where(s->config, "search.grid");
    if (!s->grid_count || s->grid_count > SV_SEARCH_GRID_MOST) return sv_fail(err, SV_USAGE, "%s: search.grid has %zu ratios; expected 1 to %d", where, s->grid_count, SV_SEARCH_GRID_MOST);
    for (size_t i = 1; i < s->grid_count; i++)
        if (s->grid[i] >= s->grid[i - 1]) return sv_fail(err, SV_USAGE, "%s: search.grid rises from %g to %g; expected falling ratios", where, s->grid[i - 1], s->grid[i]);
    if (strcmp(sv_config_text(s->config, "pruning.method"), "none") == 0)
        return sv_fail(err, SV_USAGE, "%s: a search needs selectors to place; set pruning.method = spvit or dynamicvit", sv_config_where(s->config, "pruning.method"));
    if (!sv_config_text(s->config, "model.weights")[0])
        return sv_fail(err, SV_USAGE, "%s: a search begins with a trained dense model; set model.weights", sv_config_where(s->config, "model.weights"));
    if (sv_config_int(s->config, "data.hold_out"))
        return sv_fail(err, SV_USAGE, "%s: a search holds out pictures itself; set search.hold_out, not data.hold_out", sv_config_where(s->config, "data.hold_out"));
    return SV_OK;
}

/* A model with selectors in several places, for the table. */
static sv_status open_model(search *s, sv_error *err)
{
    const size_t size = (size_t)sv_config_int(s->config, "data.image_size");
    sv_pruning_options options;
    size_t classes = (size_t)sv_config_int(s->config, "model.classes");
    sv_config *config = NULL;
    sv_trial spaced = { 0 };
    sv_status status = sv_model_from_config(&s->model, s->config, size, classes ? classes : 10, err);
    if (!status) status = sv_pruning_check_model(s->config, s->model, err);
    if (!status && sv_model_unfit(s->model))
        status = sv_fail(err, SV_USAGE, "%s: model.arch = %s: a search joins blocks to stages and needs blocks that are alike, but %s; set pruning.at and a latency.budget, and train",
                         sv_config_where(s->config, "model.arch"), s->model->backbone->name, sv_model_unfit(s->model));
    if (status) return status;
    s->depth = sv_model_depth(s->model);
    if (s->first >= s->depth || s->depth > SV_SEARCH_BLOCKS_MOST)
        return sv_fail(err, SV_USAGE, "%s: search.first_block = %zu leaves no block of the %zu (at most %d) to search", sv_config_where(s->config, "search.first_block"), s->first, s->depth,
                       SV_SEARCH_BLOCKS_MOST);
    for (size_t t = 0; t < 3 && s->first + t * (s->depth - s->first) / 3 < s->depth; t++) {
        const size_t at = s->first + t * (s->depth - s->first) / 3;
        if (spaced.stages && spaced.at[spaced.stages - 1] == at) continue;
        spaced.at[spaced.stages] = at;
        spaced.keep[spaced.stages] = pow(0.7, (double)spaced.stages + 1);
        spaced.stages++;
    }
    status = sv_trial_config(&config, &s->place, &spaced, 0, err);
    if (!status) status = sv_pruning_options_read(&options, config, s->model, err);
    if (!status) status = sv_pruning_create(&s->pruning, s->model, &options, err);
    if (!status) status = sv_model_allocate(s->model, false, err);
    sv_config_destroy(config);
    if (status) return status;
    sv_model_initialise(s->model, 1); /* times do not depend on the weights */
    sv_pruning_initialise(s->pruning, 1);
    return SV_OK;
}

static sv_status predict(const search *s, sv_trial *trial, sv_error *err)
{
    sv_pruning_plan plan = *sv_pruning_plan_of(s->pruning);
    sv_latency_shape shape;
    sv_latency_prediction predicted;
    const size_t batch = (size_t)sv_config_int(s->config, "latency.batch");
    const sv_latency_rule rule = (sv_latency_rule)sv_config_choice(s->config, "latency.rule");
    plan.stages = trial->stages;
    for (size_t t = 0; t < trial->stages; t++) plan.at[t] = trial->at[t];
    sv_plan_fit(&plan, s->model);
    sv_plan_set_keep(&plan, trial->keep);
    sv_status status = sv_latency_shape_of(&shape, s->model, &plan, err);
    if (!status) status = trial->stages ? sv_latency_predict(&s->table, batch, &shape, plan.count, rule, &predicted, err) : sv_latency_predict_dense(&s->table, batch, &shape, rule, &predicted, err);
    if (!status) trial->predicted_ms = predicted.total_ms;
    return status;
}

/* Of all that changes what is found: not where it lies, nor by how many threads. */
static uint64_t mark_of(const char *text)
{
    uint64_t mark = 1;
    for (const char *at = text; *at;) {
        const size_t length = strcspn(at, "\n") + 1;
        if (strncmp(at, "dir = ", 6) != 0 && strncmp(at, "threads = ", 10) != 0) mark = sv_hash(mark, at, length - (at[length - 1] == 0));
        at += length - (at[length - 1] == 0);
    }
    return mark;
}

static sv_status open_folder(search *s, sv_error *err)
{
    sv_text text = { 0 };
    sv_status status = sv_text_copy(&s->folder, sv_config_text(s->config, "run.dir"), err);
    if (!status) status = sv_folder_create(s->folder, err);
    if (!status) status = sv_run_lock_take(&s->lock, s->folder, err);
    if (!status) status = sv_path_join(&s->config_path, s->folder, "config.ini", err);
    if (!status) status = sv_path_join(&s->trials_path, s->folder, "trials.csv", err);
    if (!status) status = sv_config_print(s->config, &text, err);
    if (!status) status = sv_text_check(&text, err);
    if (status) return status;
    s->text = text.data;
    s->mark = mark_of(s->text);
    status = sv_trials_read(&s->trials, s->trials_path, s->mark, err);
    return status ? status : sv_file_write_atomic(s->config_path, s->text, strlen(s->text), err);
}

static sv_status open_search(search *s, sv_error *err)
{
    sv_status status = check_keys(s, err);
    sv_threads_set((size_t)sv_config_int(s->config, "run.threads"));
    s->first = (size_t)sv_config_int(s->config, "search.first_block");
    if (!status) status = sv_budget_parse(&s->budget, sv_config_text(s->config, "latency.budget"), sv_config_where(s->config, "latency.budget"), err);
    if (!status) status = open_folder(s, err);
    s->place = (sv_trial_place){ .folder = s->folder, .config = s->config_path, .trains = sv_config_choice(s->config, "search.form") == 1, .among = sv_config_bool(s->config, "search.among"),
                                 .hold_out = (size_t)sv_config_int(s->config, "search.hold_out"), .epochs = (size_t)sv_config_int(s->config, "search.epochs") };
    if (!status) status = open_model(s, err);
    if (!status) status = sv_table_take(&s->table, &s->foreign, s->config, s->pruning, s->folder, err);
    if (!status) status = predict(s, &s->best, err); /* dense: nothing is in it yet */
    if (status) return status;
    s->dense_ms = s->best.predicted_ms;
    s->budget_ms = sv_budget_ms(s->budget, s->dense_ms);
    for (size_t b = 0; b < s->depth; b++) s->ratios[b] = 1;
    return SV_OK;
}

static void close_search(search *s)
{
    sv_trials_clear(&s->trials);
    sv_latency_table_clear(&s->table);
    sv_pruning_destroy(s->pruning);
    sv_model_destroy(s->model);
    sv_run_lock_release(s->lock);
    sv_free(s->folder);
    sv_free(s->config_path);
    sv_free(s->trials_path);
    sv_free(s->text);
}

/* ---- the walk ----------------------------------------------------------------------------------------------------- */

static void say_trial(const search *s, const sv_trial *t, size_t number, size_t most_left, bool ran)
{
    char places[96] = "dense", left[32] = "-";
    for (size_t i = 0, at = 0; i < t->stages && at < sizeof places; i++) at += (size_t)snprintf(places + at, sizeof places - at, "%s%zu:%.2f", i ? " " : "", t->at[i], t->keep[i]);
    if (s->run) sv_duration(left, (sv_now_seconds() - s->began) / (double)s->run * (double)most_left);
    if (!number) sv_log(SV_INFO, "trial      right   predicted ms  verdict   at most left  block:keep");
    sv_log(SV_INFO, "%5zu  %9zu  %13.3f  %-8s  %-12s  %s%s", number, t->right, t->predicted_ms, t->accepted ? "taken" : "refused", left, places, ran ? "" : "  (earlier)");
}

/* Tries, or remembers; least: how many must be right. */
static sv_status try_plan(search *s, sv_trial *trial, double least, size_t most_left, sv_error *err)
{
    const size_t number = s->done;
    const bool known = number < s->trials.count;
    sv_status status = predict(s, trial, err);
    if (!status && known) {
        const sv_trial *t = &s->trials.items[number];
        if (t->block != trial->block || t->ratio != trial->ratio || t->stages != trial->stages || memcmp(t->at, trial->at, sizeof t->at) != 0)
            return sv_fail(err, SV_MODEL_FILE, "%s: trial %zu is another one than the walk comes to; move the file away", s->trials_path, number);
        trial->right = t->right, trial->images = t->images;
    } else if (!status) {
        if (number) sv_trial_sweep(&s->place, number - 1, 0);
        status = sv_trial_run(&s->place, trial, number, err);
    }
    if (status) return status;
    trial->accepted = (double)trial->right >= least - 1e-9;
    if (!known && trial->accepted && number) status = sv_trial_keep(&s->place, number, err);
    if (!status && !known) status = sv_trials_add(&s->trials, trial, err);
    if (!status && !known) status = sv_trials_write(&s->trials, s->trials_path, s->mark, err);
    if (status) return status;
    sv_trial_sweep(&s->place, number, trial->accepted ? s->place.best : 0);
    if (trial->accepted) {
        s->best = *trial;
        s->place.best = number;
        s->place.best_stages = trial->stages;
    }
    s->done++;
    s->run += !known;
    say_trial(s, trial, number, most_left, !known);
    return SV_OK;
}

/* Ratios of the grid that may stand before block b: none below those behind it. */
static size_t choices_at(const search *s, size_t block, double *choices)
{
    double behind = 0;
    size_t count = 0;
    for (size_t b = s->depth; b-- > block + 1;) behind = s->ratios[b] < 1 ? s->ratios[b] : behind;
    for (size_t i = 0; i < s->grid_count; i++)
        if (s->grid[i] < 1 && s->grid[i] >= behind) choices[count++] = s->grid[i];
    return count;
}

static bool met(const search *s) { return s->best.stages && s->best.predicted_ms <= s->budget_ms * (1 + 1e-9); }

static sv_status walk_block(search *s, size_t block, double least, bool *any, sv_error *err)
{
    double choices[SV_SEARCH_GRID_MOST];
    const size_t count = choices_at(s, block, choices);
    sv_status status = SV_OK;
    *any = false;
    for (size_t i = 0; !status && i < count && !met(s); i++) {
        const double before = s->ratios[block];
        sv_trial trial = { .block = block, .ratio = choices[i] };
        s->ratios[block] = choices[i];
        trial.stages = sv_search_stages(s->ratios, s->depth, sv_config_real(s->config, "search.merge_tol"), trial.at, trial.keep);
        status = try_plan(s, &trial, least, count - 1 - i + (block - s->first) * s->grid_count, err);
        if (!status && !trial.accepted) {
            s->ratios[block] = before;
            break;
        }
        *any = true;
    }
    return status;
}

static sv_status walk(search *s, sv_error *err)
{
    const bool spread = sv_config_bool(s->config, "search.spread");
    const size_t blocks = s->depth - s->first;
    sv_trial dense = { .block = SIZE_MAX, .ratio = 1 };
    s->began = sv_now_seconds();
    sv_status status = try_plan(s, &dense, 0, blocks * s->grid_count, err);
    if (!status && !dense.images) status = sv_fail(err, SV_DATA, "there is no readable held-out picture to judge by");
    const double allowed = sv_config_real(s->config, "search.tolerance") * (double)dense.images;
    for (size_t b = s->depth; !status && b-- > s->first && !met(s);) {
        bool any;
        status = walk_block(s, b, (double)dense.right - allowed * (spread ? (double)(s->depth - b) / (double)blocks : 1), &any, err);
        if (!any && !spread) break; /* the tolerance is used up: earlier blocks only cost more */
    }
    return status;
}

/* ---- the outcome -------------------------------------------------------------------------------------------------- */

static sv_status set_outcome(const search *s, sv_config *config, sv_error *err)
{
    char *trained = NULL, *table = NULL;
    sv_status status = sv_path_join(&trained, s->folder, "trained", err);
    if (!status) status = sv_path_join(&table, s->folder, "latency.csv", err);
    if (!status) status = sv_trial_set_plan(config, &s->best, err);
    if (!status) status = sv_config_set(config, "run.dir", trained, "search", err);
    if (!status && !sv_config_text(s->config, "latency.table")[0]) status = sv_config_set(config, "latency.table", table, "search", err);
    if (!status && !met(s)) status = sv_config_set(config, "latency.budget", "", "search", err);
    sv_free(trained);
    sv_free(table);
    return status;
}

static sv_status write_outcome(const search *s, const char *path, sv_error *err)
{
    sv_config_group groups[SV_TRAIN_GROUPS_MOST];
    sv_config *config = NULL;
    sv_text text = { 0 };
    const sv_trial *dense = &s->trials.items[0], *t = &s->best;
    sv_status status = sv_config_create(&config, groups, sv_train_config_groups(groups), err);
    if (!status) status = sv_config_read(config, s->config_path, err);
    if (!status) status = set_outcome(s, config, err);
    sv_text_add(&text, "# Places and ratios found by search in %zu trials (trials.csv): of %zu held-out pictures %zu are right, %zu by the dense model.\n# The table predicts %.4g ms, %.4g ms dense.\n",
                s->done, dense->images, t->right, dense->right, t->predicted_ms, s->dense_ms);
    if (!met(s) && s->budget.kind != SV_NO_BUDGET) sv_text_add(&text, "# The budget of %.4g ms was not met within the tolerance, and is left out.\n", s->budget_ms);
    if (s->place.trains) sv_text_add(&text, "# To go on from the fine-tuned trial instead of the dense model: model.weights = %s/accepted-%zu.safetensors\n", s->folder, s->place.best);
    if (!status) status = sv_config_print(config, &text, err);
    if (!status) status = sv_text_check(&text, err);
    if (!status) status = sv_file_write_atomic(path, text.data, text.length, err);
    sv_text_clear(&text);
    sv_config_destroy(config);
    return status;
}

static sv_status finish(search *s, sv_search_result *r, sv_error *err)
{
    const sv_trial *dense = &s->trials.items[0], *t = &s->best;
    *r = (sv_search_result){ .trials = s->done, .stages = t->stages, .right = t->right, .dense_right = dense->right, .images = dense->images, .budget_ms = s->budget_ms,
                             .predicted_ms = t->predicted_ms, .dense_ms = s->dense_ms };
    memcpy(r->at, t->at, sizeof r->at);
    memcpy(r->keep, t->keep, sizeof r->keep);
    snprintf(r->outcome, sizeof r->outcome, "%s/outcome.ini", s->folder);
    if (!t->stages)
        return sv_fail(err, SV_BUDGET, "not even keep %g before the last block stays within the tolerance (%zu of %zu right, %zu dense); raise search.tolerance, train longer, or hold out more pictures",
                       s->grid[0], s->trials.items[s->done - 1].right, dense->images, dense->right);
    sv_status status = write_outcome(s, r->outcome, err);
    if (status || met(s) || s->budget.kind == SV_NO_BUDGET) return status;
    bool refused = false;
    for (size_t i = 0; i < s->done; i++) refused = refused || !s->trials.items[i].accepted;
    return sv_fail(err, SV_BUDGET, "the search ends at %.4g ms by the table, above the budget of %.4g ms; %s holds what was found. %s, or allow more time", t->predicted_ms, s->budget_ms, r->outcome,
                   refused ? "The tolerance is used up: raise search.tolerance or search.epochs" : "All ratios were taken: go lower with search.grid or search.first_block");
}

sv_status sv_search(const sv_config *config, sv_search_result *result, sv_error *err)
{
    search s = { .config = config };
    memset(result, 0, sizeof *result);
    sv_status status = open_search(&s, err);
    if (!status) status = walk(&s, err);
    if (!status) status = finish(&s, result, err);
    if (status == SV_INTERRUPTED) status = sv_fail_within(err, "the search stopped and goes on with the same command");
    close_search(&s);
    return status;
}
