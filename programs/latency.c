/* latency: tables of how long the parts of a model take, and what a budget allows. */
#include "base/json.h"
#include "base/program.h"
#include "data/data.h"
#include "kernels/kernels.h"
#include "latency/measure_model.h"
#include "latency/plans.h"
#include "latency/runner.h"
#include "report/report.h"
#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "Usage: latency measure --config FILE [--out TABLE] [--add] [--runner COMMAND --device NAME] [options]\n"
    "       latency try --config FILE --latency.table=TABLE [--json]\n"
    "       latency show TABLE... [--chart FILE.svg]\n"
    "       latency solve --config FILE [--latency.table=TABLE] [--latency.budget=70%] [--costs FILE] [--json]\n"
    "       latency solve TABLE... --config FILE --budgets 80%,65%,9ms [--out PLANS.csv]\n"
    "       latency import FILE --out TABLE --config FILE [--add] [--device NAME]\n"
    "\n"
    "measure  times the parts of the config's model (blocks and selectors over token counts, embedding, head) on this machine\n"
    "try      how near a table comes: 12 models with drawn keep ratios, predicted by it and measured here end to end\n"
    "show     prints tables, block times as bars; a chart of several beside one another\n"
    "solve    which keep ratios meet a budget by a table, and what they are predicted to take: r, r^2, r^3 ..., those of pruning.keep,\n"
    "         or with --costs (from `eval --sensitivity`) free ones of least cost; several tables and budgets give a CSV of plans\n"
    "import   makes a table of plain lines `tokens,ms`, one a block time, measured on a device of your own\n"
    "\n"
    "Examples\n"
    "  latency measure --config deit_t_mobile.ini --out my_machine.csv\n"
    "  latency measure --config deit_s_mobile.ini --out my_machine.csv --add\n"
    "  latency solve --config deit_t_mobile.ini --latency.table=my_phone.csv --latency.budget=60%\n"
    "\n"
    "Options\n"
    "  --out TABLE       where the table goes; default: latency.csv\n"
    "  --add             measure, import: a file of several models. The table is put behind those that --out holds, or in the place of that of\n"
    "                    the same model, selectors, precision and batch; the others keep their bytes. All who read such a file take from it\n"
    "                    the table of their config's model\n"
    "  --device NAME     import, --runner: what the times were measured on\n"
    "  --runner COMMAND  measure: an outside command (adb shell, ssh, a simulator) that reads lines `op,batch,tokens` behind a line that\n"
    "                    tells the model, and writes them back with `,ms` or `,ms,p95` (docs/how-to-device.md)\n"
    "  --json, --threads N, --quiet, --verbose, --help, --keys, --version\n"
    "\n"
    "Exit codes: 0 done, 1 fault, 2 usage or config, 4 table, 6 the budget cannot be met\n";

static bool add;
static const char *out_path, *device, *budgets, *costs_path, *chart_path, *runner;
static const sv_flag flags[] = { { "--add", &add, NULL }, { "--out", NULL, &out_path }, { "--device", NULL, &device }, { "--budgets", NULL, &budgets }, { "--costs", NULL, &costs_path }, { "--chart", NULL, &chart_path }, { "--runner", NULL, &runner } };

enum { LIST_MOST = 32 }; /* tables, budgets */

typedef struct subject { sv_model *model; sv_pruning *pruning; sv_pruning_options options; } subject;

static sv_status open_subject(subject *s, const sv_config *config, sv_error *err)
{
    sv_data_options data;
    sv_status status = sv_data_options_read(config, &data, err);
    sv_threads_set((size_t)sv_config_int(config, "run.threads"));
    if (!status) status = sv_model_from_config(&s->model, config, data.transform.size, (size_t)sv_config_int(config, "model.classes"), err);
    if (!status) status = sv_pruning_check_model(config, s->model, err);
    if (!status) status = sv_pruning_options_read(&s->options, config, s->model, err);
    if (!status) status = sv_pruning_create(&s->pruning, s->model, &s->options, err);
    if (!status) status = sv_model_allocate(s->model, false, err);
    if (status) return status;
    sv_model_initialise(s->model, 1); /* times do not depend on the weights */
    sv_pruning_initialise(s->pruning, 1);
    return SV_OK;
}

static void close_subject(subject *s)
{
    sv_pruning_destroy(s->pruning);
    sv_model_destroy(s->model);
}

static sv_model_measure measure_of(const sv_config *config)
{
    sv_model_measure m = { .batch = (size_t)sv_config_int(config, "latency.batch"), .options = sv_measure_defaults(), .tolerance = sv_config_real(config, "latency.tolerance") };
    m.options.warm_up = (size_t)sv_config_int(config, "latency.warm_up");
    m.options.runs = (size_t)sv_config_int(config, "latency.runs");
    m.options.seconds_most = sv_config_real(config, "latency.seconds");
    return m;
}

/* Before minutes are spent: what is there can be added to, and several tables are not lost for one. */
static sv_status check_out(const char *path, sv_error *err)
{
    sv_latency_file file = { 0 };
    sv_error why;
    sv_status status = SV_OK;
    if (!sv_path_exists(path)) return SV_OK;
    if (add) status = sv_latency_file_read(&file, path, err);
    else if (!sv_latency_file_read(&file, path, &why) && file.count > 1)
        status = sv_fail(err, SV_USAGE, "%s holds tables of %zu models, which would be lost; give --add to put one to them, or another --out", path, file.count);
    sv_latency_file_clear(&file);
    return status;
}

static sv_status write_out(const sv_latency_table *table, const char *path, sv_error *err)
{
    bool replaced = false;
    if (!add) return sv_latency_table_write(table, path, err);
    sv_status status = sv_latency_file_put(table, path, &replaced, err);
    if (!status && replaced) sv_log(SV_INFO, "%s: the table of %s is replaced", path, table->about.arch);
    return status;
}

/* A device that is measured by an outside command. */
static sv_status measure_elsewhere(const sv_program_call *call, sv_error *err)
{
    subject s = { 0 };
    sv_latency_table table = { 0 };
    sv_latency_row *rows = NULL;
    size_t count = 0;
    const char *path = out_path ? out_path : "latency.csv";
    sv_status status = check_out(path, err);
    if (!status) status = open_subject(&s, call->config, err);
    if (!status) status = sv_latency_rows_wanted(&rows, &count, s.pruning, (size_t)sv_config_int(call->config, "latency.batch"), err);
    if (!status) {
        sv_latency_about_model(&table.about, s.model);
        snprintf(table.about.device, sizeof table.about.device, "%s", device ? device : "device of a runner");
        snprintf(table.about.note, sizeof table.about.note, "measured by an outside command");
        if (s.options.plan.stages) snprintf(table.about.selector, sizeof table.about.selector, "%s", sv_method_name(s.options.plan.method));
        table.about.cpu[0] = table.about.isa[0] = table.about.affinity[0] = 0;
        table.about.threads = 0;
        status = sv_latency_run_command(runner, &table.about, rows, count, sv_config_real(call->config, "latency.seconds") * (double)count, err);
    }
    for (size_t i = 0; !status && i < count; i++) status = sv_latency_table_add(&table, &rows[i], err);
    if (!status) status = write_out(&table, path, err);
    if (!status) sv_log(SV_INFO, "%s: %zu rows of %s", path, count, table.about.device);
    sv_free(rows);
    sv_latency_table_clear(&table);
    close_subject(&s);
    return status;
}

static sv_status measure_here(const sv_program_call *call, sv_error *err)
{
    subject s = { 0 };
    sv_latency_table table = { 0 };
    sv_latency_quality quality = { 0 };
    char busy[160], taken[32];
    const char *path = out_path ? out_path : "latency.csv";
    double begin = sv_now_seconds();
    sv_status status = check_out(path, err);
    if (!status) status = open_subject(&s, call->config, err);
    if (!status) {
        const sv_model_measure m = measure_of(call->config);
        status = sv_latency_measure_model(&table, s.pruning, &m, &quality, err);
    }
    if (!status) status = write_out(&table, path, err);
    if (!status) {
        sv_log(SV_INFO, "%s: %zu points in %s; %zu did not repeat within the tolerance, the worst differs by %.1f %%", path, table.count, sv_duration(taken, sv_now_seconds() - begin), quality.unsteady,
               100 * quality.worst);
        if (sv_machine_busy(busy, sizeof busy, quality.machine)[0]) sv_log(SV_WARNING, "meanwhile %s: the times may be too long", busy);
    }
    sv_latency_table_clear(&table);
    close_subject(&s);
    return status;
}

static sv_status measure(const sv_program_call *call, sv_error *err)
{
    if (runner) return measure_elsewhere(call, err);
    return measure_here(call, err);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum { TRIALS = 13 }; /* the dense model and twelve settings */

static void print_trials(const subject *s, const sv_latency_trial *trials, bool as_json)
{
    double off[TRIALS];
    sv_text text = { 0 };
    sv_json json = { .text = &text };
    if (!as_json) printf("%-36s %12s %12s %8s\n", "patches kept", "predicted ms", "measured ms", "off");
    if (as_json) sv_json_open_array(&json, NULL);
    for (size_t i = 0; i < TRIALS; i++) {
        const sv_latency_trial *t = &trials[i];
        char kept[64] = "dense";
        for (size_t k = 0, at = 0; i && k < s->options.plan.stages && at < sizeof kept; k++) {
            at += (size_t)snprintf(kept + at, sizeof kept - at, "%s%zu", k ? " / " : "", t->least[k]);
            if (t->most[k] > t->least[k] && at < sizeof kept) at += (size_t)snprintf(kept + at, sizeof kept - at, "-%zu", t->most[k]);
        }
        off[i] = fabs(t->predicted_ms / t->measured_ms - 1);
        if (!as_json) printf("%-36s %12.3f %12.3f %+7.1f %%\n", kept, t->predicted_ms, t->measured_ms, 100 * (t->predicted_ms / t->measured_ms - 1));
        if (!as_json) continue;
        sv_json_open(&json, NULL);
        sv_json_text(&json, "kept", kept);
        sv_json_real(&json, "predicted_ms", t->predicted_ms);
        sv_json_real(&json, "measured_ms", t->measured_ms);
        sv_json_real(&json, "p95_ms", t->p95_ms);
        sv_json_close(&json);
    }
    qsort(off, TRIALS, sizeof *off, by_value);
    if (as_json) sv_json_close_array(&json);
    if (as_json) puts(text.data ? text.data : "");
    else printf("median off %.1f %%, worst %.1f %%\n", 100 * off[TRIALS / 2], 100 * off[TRIALS - 1]);
    sv_text_clear(&text);
}

/* The subject's table of a file. */
static sv_status take_table(sv_latency_table *table, sv_latency_about *about, const subject *s, const sv_config *config, const char *path, sv_error *err)
{
    sv_latency_about_model(about, s->model);
    return sv_latency_table_take(table, path, about, &s->options.plan, (size_t)sv_config_int(config, "latency.batch"), err);
}

static sv_status try_table(const sv_program_call *call, sv_error *err)
{
    subject s = { 0 };
    sv_latency_table table = { 0 };
    sv_latency_about about = { 0 };
    sv_latency_trial trials[TRIALS];
    sv_machine_state machine = { 0 };
    char differs[256], busy[160];
    const char *path = sv_config_text(call->config, "latency.table");
    sv_model_measure m = measure_of(call->config);
    m.options.rehearsals = 1;
    m.options.seconds_most = 60;
    if (!path[0]) return sv_fail(err, SV_USAGE, "no table is given; make one with `latency measure` and give it as --latency.table=FILE");
    sv_status status = open_subject(&s, call->config, err);
    if (!status) status = take_table(&table, &about, &s, call->config, path, err);
    if (!status && sv_latency_differs(differs, sizeof differs, &table, &about)[0]) sv_log(SV_WARNING, "%s is of another machine or setting: %s", path, differs);
    if (!status)
        status = sv_latency_try(trials, TRIALS, &table, s.pruning, &m, (sv_latency_rule)sv_config_choice(call->config, "latency.rule"),
                                (uint64_t)sv_config_int(call->config, "run.seed"), &machine, err);
    if (!status) print_trials(&s, trials, call->json);
    if (!status && sv_machine_busy(busy, sizeof busy, machine)[0]) sv_log(SV_WARNING, "meanwhile %s: the times may be too long", busy);
    sv_latency_table_clear(&table);
    close_subject(&s);
    return status;
}

/* The block times of one table against tokens, a line for each kind of block, by the device's name; where there are several `models`, with the model's.
 * Returns how many lines there are now, of at most LIST_MOST. */
static size_t add_lines(const sv_latency_table *table, bool models, double *x, double *y, char (*names)[160], sv_chart_series *series, size_t count)
{
    char name[SV_LATENCY_NAME_ROOM];
    const sv_latency_row *last = NULL;
    for (size_t r = 0; r < table->count; r++) {
        const sv_latency_row *row = &table->rows[r];
        if (!sv_latency_is_block(row->op) || row->batch != table->rows[0].batch) continue;
        if (!last || row->op != last->op || row->grid != last->grid) {
            if (count == LIST_MOST) break;
            snprintf(names[count], sizeof *names, "%.63s%s%.63s%s%s", models ? table->about.arch : "", models ? ", " : "", table->about.device, row->grid ? " " : "", row->grid ? sv_latency_name(name, row->op, row->grid) : "");
            series[count] = (sv_chart_series){ .name = names[count], .x = x + r, .y = y + r, .color = (unsigned)(count % 8) };
            count++;
        }
        x[r] = (double)row->tokens, y[r] = row->median_ms; /* rows of a kind stand together */
        series[count - 1].count++;
        last = row;
    }
    return count;
}

static sv_status draw_chart(const sv_latency_table *tables, size_t count, sv_error *err)
{
    sv_chart_series series[LIST_MOST];
    char names[LIST_MOST][160];
    double *numbers = NULL;
    size_t most = 1, used = 0, lines = 0;
    bool models = false; /* more than one */
    for (size_t i = 0; i < count; i++) most += 2 * tables[i].count, models |= strcmp(tables[i].about.arch, tables[0].about.arch) != 0;
    sv_status status = sv_alloc(&numbers, most * sizeof *numbers, "chart", err);
    if (status) return status;
    for (size_t i = 0; i < count; i++) {
        lines = add_lines(&tables[i], models, numbers + used, numbers + used + tables[i].count, names, series, lines);
        used += 2 * tables[i].count;
    }
    const sv_chart chart = { .title = "Time of a block", .x_label = "tokens", .unit = "ms", .scale = SV_SCALE_FROM_ZERO, .series = series, .series_count = lines };
    status = sv_chart_write(&chart, chart_path, err);
    sv_free(numbers);
    return status;
}

static void print_table(const char *path, const sv_latency_table *table)
{
    double most = 0;
    char name[SV_LATENCY_NAME_ROOM];
    printf("%s: %s, %s, %zu threads, %s, %s %zux%zu\n", path, table->about.device, table->about.cpu, table->about.threads, table->about.precision, table->about.arch, table->about.image, table->about.image);
    if (table->about.depths[0]) printf("grids 1, 2 ... of %s blocks, %s wide; an op's number is its grid's\n", table->about.depths, table->about.widths);
    for (size_t r = 0; r < table->count; r++)
        if (sv_latency_is_block(table->rows[r].op)) most = fmax(most, table->rows[r].median_ms);
    printf("%-10s %6s %7s %10s %10s\n", "op", "batch", "tokens", "ms", "p95");
    for (size_t r = 0; r < table->count; r++) {
        const sv_latency_row *row = &table->rows[r];
        int bar = sv_latency_is_block(row->op) && most > 0 ? (int)(40 * row->median_ms / most + 0.5) : 0;
        printf("%-10s %6zu %7zu %10.4f %10.4f  %.*s\n", sv_latency_name(name, row->op, row->grid), row->batch, row->tokens, row->median_ms, row->p95_ms, bar, "########################################");
    }
}

/* The tables of a file, moved behind those there are. */
static sv_status show_file(sv_latency_table *tables, size_t *count, const char *path, sv_error *err)
{
    sv_latency_file file = { 0 };
    sv_status status = sv_latency_file_read(&file, path, err);
    if (!status && *count + file.count > LIST_MOST) status = sv_fail(err, SV_USAGE, "%s: with it there are more than %d tables to show", path, LIST_MOST);
    for (size_t i = 0; !status && i < file.count; i++) {
        sv_latency_table *table = &tables[(*count)++];
        *table = file.parts[i].table;
        file.parts[i].table = (sv_latency_table){ 0 };
        print_table(path, table);
    }
    sv_latency_file_clear(&file);
    return status;
}

static sv_status show(const sv_program_call *call, sv_error *err)
{
    sv_latency_table tables[LIST_MOST] = { { .rows = NULL } };
    sv_status status = SV_OK;
    size_t count = 0;
    if (call->word_count < 2) return sv_fail(err, SV_USAGE, "expected 1 to %d tables; see `latency --help`", LIST_MOST);
    for (size_t i = 1; !status && i < call->word_count; i++) status = show_file(tables, &count, call->words[i], err);
    if (!status && chart_path) status = draw_chart(tables, count, err);
    for (size_t i = 0; i < count; i++) sv_latency_table_clear(&tables[i]);
    return status;
}

static void print_answer(const subject *s, const sv_latency_answer *a, bool as_json)
{
    uint64_t macs = sv_pruned_macs(s->model, &s->options.plan, a->kept);
    sv_text text = { 0 };
    sv_json json = { .text = &text };
    if (!as_json) {
        printf("dense %.3f ms, budget %.3f ms, predicted %.3f ms, %.3f GMAC (dense %.3f)\n", a->dense_ms, a->budget_ms, a->predicted.total_ms, 1e-9 * (double)macs, 1e-9 * (double)sv_model_macs(s->model));
        const bool merges = sv_method_form_of(s->options.plan.method) == SV_IN_EVERY_BLOCK;
        if (merges) printf("merges to %.4f behind the last block: %zu patches, %zu tokens\n", a->keep[0], a->kept[0], a->predicted.tokens[1]);
        for (size_t t = 0; !merges && t < a->selectors; t++) printf("selector %zu before block %2zu keeps %.4f: %zu patches, %zu tokens\n", t + 1, s->options.plan.at[t], a->keep[t], a->kept[t], a->predicted.tokens[t + 1]);
        return;
    }
    sv_json_open(&json, NULL);
    sv_json_reals(&json, "keep_ratios", a->keep, a->selectors);
    sv_json_open_array(&json, "tokens");
    for (size_t t = 0; t <= a->selectors; t++) sv_json_int(&json, NULL, (int64_t)a->predicted.tokens[t]);
    sv_json_close_array(&json);
    sv_json_real(&json, "predicted_ms", a->predicted.total_ms);
    sv_json_real(&json, "dense_ms", a->dense_ms);
    sv_json_real(&json, "budget_ms", a->budget_ms);
    sv_json_int(&json, "macs", (int64_t)macs);
    sv_json_close(&json);
    puts(text.data ? text.data : "");
    sv_text_clear(&text);
}

/* One table and one budget: the answer in words or JSON. */
static sv_status solve_one(const subject *s, const sv_plan_request *request, bool as_json, sv_error *err)
{
    sv_latency_answer answer;
    sv_status status = sv_plan_solve(request, &answer, err);
    if (!status) print_answer(s, &answer, as_json);
    return status;
}

/* "80%,65%,9ms" */
static sv_status read_budgets(char *room, sv_budget *list, const char **words, size_t *count, sv_error *err)
{
    sv_status status = SV_OK;
    *count = 0;
    for (char *word = strtok(room, ","); word && !status; word = strtok(NULL, ",")) {
        if (*count == LIST_MOST) return sv_fail(err, SV_USAGE, "more than %d budgets are given", LIST_MOST);
        words[*count] = word;
        status = sv_budget_parse(&list[(*count)++], word, "--budgets", err);
    }
    return status;
}

/* Each table with each budget: a line of CSV; what cannot be met is said in its line. */
static sv_status solve_many(const sv_program_call *call, const subject *s, sv_plan_request *request, const char *const *tables, size_t table_count, sv_error *err)
{
    char room[512];
    const char *words[LIST_MOST];
    sv_budget list[LIST_MOST];
    size_t count = 0;
    sv_text text = { 0 };
    snprintf(room, sizeof room, "%s", budgets ? budgets : sv_config_text(call->config, "latency.budget"));
    sv_status status = read_budgets(room, list, words, &count, err);
    sv_plans_header(&text);
    for (size_t i = 0; !status && i < table_count; i++) {
        sv_latency_table table = { 0 };
        sv_latency_about about = { 0 };
        status = take_table(&table, &about, s, call->config, tables[i], err);
        request->table = &table;
        request->name = tables[i];
        for (size_t k = 0; !status && k < count; k++) {
            sv_latency_answer answer;
            sv_error why;
            request->budget = list[k];
            const sv_status solved = sv_plan_solve(request, &answer, &why);
            if (solved && solved != SV_BUDGET) status = sv_fail(err, solved, "%s", why.text);
            else sv_plans_row(&text, request, words[k], &answer, solved ? why.text : NULL);
        }
        sv_latency_table_clear(&table);
    }
    if (!status) status = sv_text_check(&text, err);
    if (!status && out_path) status = sv_file_write_atomic(out_path, text.data, text.length, err);
    else if (!status) fputs(text.data, stdout);
    sv_text_clear(&text);
    return status;
}

static sv_status solve(const sv_program_call *call, sv_error *err)
{
    subject s = { 0 };
    sv_latency_table table = { 0 };
    sv_latency_about about = { 0 };
    sv_latency_costs costs = { 0 };
    const char *path = sv_config_text(call->config, "latency.table");
    const bool many = call->word_count > 1 || budgets;
    sv_plan_request request = { .batch = (size_t)sv_config_int(call->config, "latency.batch"), .rule = (sv_latency_rule)sv_config_choice(call->config, "latency.rule"),
                                .keep_least = sv_config_real(call->config, "latency.keep_least"), .name = path, .table = &table, .costs = &costs,
                                .form = costs_path ? SV_PLAN_FREE : sv_pruning_keep_given(call->config) ? SV_PLAN_GIVEN : SV_PLAN_FAMILY };
    if (!path[0] && call->word_count < 2) return sv_fail(err, SV_USAGE, "there is no table to solve by: give --latency.table=FILE (`latency measure` makes one of this machine)");
    sv_status status = open_subject(&s, call->config, err);
    request.pruning = s.pruning;
    if (!status && costs_path) status = sv_costs_read(&costs, s.options.plan.stages, costs_path, err);
    if (!status && many) status = solve_many(call, &s, &request, call->word_count > 1 ? call->words + 1 : &path, call->word_count > 1 ? call->word_count - 1 : 1, err);
    else if (!status) {
        status = take_table(&table, &about, &s, call->config, path, err);
        if (!status) status = sv_budget_parse(&request.budget, sv_config_text(call->config, "latency.budget"), sv_config_where(call->config, "latency.budget"), err);
        if (!status) status = solve_one(&s, &request, call->json, err);
    }
    sv_free((void *)(uintptr_t)costs.keep);
    sv_free((void *)(uintptr_t)costs.cost);
    sv_latency_table_clear(&table);
    close_subject(&s);
    return status;
}

static sv_status import(const sv_program_call *call, sv_error *err)
{
    subject s = { 0 };
    sv_latency_table table = { 0 };
    unsigned char *text = NULL;
    size_t count = 0, line = 0;
    if (call->word_count != 2 || !out_path) return sv_fail(err, SV_USAGE, "expected `latency import FILE --out TABLE --config FILE`");
    sv_status status = check_out(out_path, err);
    if (!status) status = open_subject(&s, call->config, err);
    if (!status) sv_latency_about_model(&table.about, s.model);
    if (!status && table.about.depths[0])
        status = sv_fail(err, SV_USAGE, "%s has grids of %s blocks, and `tokens,ms` does not say of which; have them measured by `latency measure --runner`, or write the table (docs/how-to-device.md)",
                         s.model->backbone->name, table.about.depths);
    if (!status) status = sv_file_read_all(call->words[1], SV_LATENCY_FILE_MOST, SV_MODEL_FILE, &text, &count, err);
    if (!status) {
        snprintf(table.about.device, sizeof table.about.device, "%s", device ? device : "imported");
        table.about.cpu[0] = table.about.isa[0] = table.about.affinity[0] = 0;
        table.about.threads = 0;
    }
    for (char *at = (char *)text; !status && at && *at;) {
        size_t length = strcspn(at, "\n");
        char row[128], *comma = NULL;
        int64_t tokens = 0;
        double ms = 0;
        line++;
        snprintf(row, sizeof row, "%.*s", (int)(length < 127 ? length : 127), at);
        row[strcspn(row, "\r")] = 0;
        at += length + (at[length] == '\n');
        if (!row[0] || row[0] == '#' || (line == 1 && strcmp(row, "tokens,ms") == 0)) continue;
        comma = strchr(row, ',');
        if (comma) *comma = 0;
        if (!comma || !sv_parse_int(row, &tokens) || !sv_parse_real(comma + 1, &ms) || tokens < 1 || tokens > SV_LATENCY_TOKENS_MOST || ms < 0)
            status = sv_fail(err, SV_MODEL_FILE, "%s:%zu: expected `tokens,ms` such as `197,1.034`", call->words[1], line);
        else status = sv_latency_table_add(&table, &(sv_latency_row){ .op = SV_LATENCY_BLOCK, .batch = 1, .tokens = (size_t)tokens, .median_ms = ms, .p95_ms = ms, .line = line }, err);
    }
    if (!status && !table.count) status = sv_fail(err, SV_MODEL_FILE, "%s holds no line `tokens,ms`", call->words[1]);
    if (!status) status = write_out(&table, out_path, err);
    if (!status) sv_log(SV_INFO, "%s: %zu block times of %s", out_path, table.count, table.about.device);
    sv_free(text);
    sv_latency_table_clear(&table);
    close_subject(&s);
    return status;
}

static const struct { const char *name; sv_status (*run)(const sv_program_call *call, sv_error *err); } commands[] = { { "measure", measure }, { "try", try_table }, { "show", show }, { "solve", solve }, { "import", import } };

static sv_status run(const sv_program_call *call, sv_error *err)
{
    const char *word = call->word_count ? call->words[0] : "";
    sv_kernels_init();
    for (size_t i = 0; i < SV_COUNT(commands); i++)
        if (strcmp(commands[i].name, word) == 0) return commands[i].run(call, err);
    return sv_fail(err, SV_USAGE, "'%s' is no command; expected measure, try, show, solve or import", word);
}

int main(int argc, char **argv)
{
    sv_config_group groups[SV_TRAIN_GROUPS_MOST];
    static const char *const unneeded[] = { "data.", "model.weights", "run.", "train.", NULL };
    sv_program program = { .name = "latency", .usage = usage, .unneeded = unneeded, .groups = groups, .group_count = sv_train_config_groups(groups), .flags = flags, .flag_count = SV_COUNT(flags), .needs_arguments = true, .run = run };
    return sv_program_main(&program, argc, argv);
}
