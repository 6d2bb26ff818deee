/* latency: tables of how long the parts of a model take, and what a budget allows. */
#include "base/json.h"
#include "base/program.h"
#include "data/data.h"
#include "kernels/kernels.h"
#include "latency/measure_model.h"
#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: latency measure --config FILE [--out TABLE] [options]\n"
    "       latency show TABLE...\n"
    "       latency solve --config FILE [--latency.table=TABLE] [--latency.budget=70%] [--json]\n"
    "       latency import FILE --out TABLE --config FILE [--device NAME]\n"
    "\n"
    "measure  times the parts of the config's model (blocks and selectors over token counts, embedding, head) on this machine\n"
    "show     prints tables, block times as bars\n"
    "solve    which keep ratios meet a budget by a table, and what they are predicted to take\n"
    "import   makes a table of plain lines `tokens,ms`, one a block time, measured on a device of your own\n"
    "\n"
    "Examples\n"
    "  latency measure --config deit_t_mobile.ini --out my_machine.csv\n"
    "  latency solve --config deit_t_mobile.ini --latency.table=my_phone.csv --latency.budget=60%\n"
    "\n"
    "Options\n"
    "  --out TABLE       where the table goes; default: latency.csv\n"
    "  --device NAME     import: what the times were measured on\n"
    "  --json, --threads N, --quiet, --verbose, --help, --keys, --version\n"
    "\n"
    "Exit codes: 0 done, 1 fault, 2 usage or config, 4 table, 6 the budget cannot be met\n";

static const char *out_path, *device;
static const sv_flag flags[] = { { "--out", NULL, &out_path }, { "--device", NULL, &device } };

typedef struct subject { sv_model *model; sv_pruning *pruning; sv_pruning_options options; } subject;

static sv_status open_subject(subject *s, const sv_config *config, sv_error *err)
{
    sv_data_options data;
    sv_status status = sv_data_options_read(config, &data, err);
    sv_threads_set((size_t)sv_config_int(config, "run.threads"));
    if (!status) status = sv_model_from_config(&s->model, config, data.transform.size, (size_t)sv_config_int(config, "model.classes"), err);
    if (!status) status = sv_pruning_options_read(&s->options, config, sv_model_depth(s->model), sv_model_patches(s->model), err);
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

static sv_status measure(const sv_program_call *call, sv_error *err)
{
    subject s = { 0 };
    sv_latency_table table = { 0 };
    sv_latency_quality quality = { 0 };
    char busy[160], taken[32];
    const char *path = out_path ? out_path : "latency.csv";
    double begin = sv_now_seconds();
    sv_status status = open_subject(&s, call->config, err);
    if (!status) {
        sv_model_measure m = { .batch = (size_t)sv_config_int(call->config, "latency.batch"), .packages = s.options.plan.package == SV_CHOICE_NONE ? 0 : s.options.plan.stages,
                               .options = sv_measure_defaults(), .tolerance = sv_config_real(call->config, "latency.tolerance") };
        m.options.warm_up = (size_t)sv_config_int(call->config, "latency.warm_up");
        m.options.runs = (size_t)sv_config_int(call->config, "latency.runs");
        m.options.seconds_most = sv_config_real(call->config, "latency.seconds");
        status = sv_latency_measure_model(&table, s.pruning, &m, &quality, err);
    }
    if (!status) status = sv_latency_table_write(&table, path, err);
    if (!status) {
        sv_log(SV_INFO, "%s: %zu points in %s; %zu did not repeat within the tolerance, the worst differs by %.1f %%", path, table.count, sv_duration(taken, sv_now_seconds() - begin), quality.unsteady,
               100 * quality.worst);
        if (sv_machine_busy(busy, sizeof busy, quality.machine)[0]) sv_log(SV_WARNING, "meanwhile %s: the times may be too long", busy);
    }
    sv_latency_table_clear(&table);
    close_subject(&s);
    return status;
}

static sv_status show(const sv_program_call *call, sv_error *err)
{
    sv_status status = SV_OK;
    if (call->word_count < 2) return sv_fail(err, SV_USAGE, "expected at least one table; see `latency --help`");
    for (size_t i = 1; !status && i < call->word_count; i++) {
        sv_latency_table table = { 0 };
        double most = 0;
        status = sv_latency_table_read(&table, call->words[i], err);
        if (status) break;
        printf("%s: %s, %s, %zu threads, %s, %s %zux%zu\n", call->words[i], table.about.device, table.about.cpu, table.about.threads, table.about.precision, table.about.arch, table.about.image, table.about.image);
        for (size_t r = 0; r < table.count; r++)
            if (table.rows[r].op == SV_LATENCY_BLOCK) most = fmax(most, table.rows[r].median_ms);
        printf("%-9s %6s %7s %10s %10s\n", "op", "batch", "tokens", "ms", "p95");
        for (size_t r = 0; r < table.count; r++) {
            const sv_latency_row *row = &table.rows[r];
            int bar = row->op == SV_LATENCY_BLOCK && most > 0 ? (int)(40 * row->median_ms / most + 0.5) : 0;
            printf("%-9s %6zu %7zu %10.4f %10.4f  %.*s\n", sv_latency_op_name(row->op), row->batch, row->tokens, row->median_ms, row->p95_ms, bar, "########################################");
        }
        sv_latency_table_clear(&table);
    }
    return status;
}

static void print_answer(const subject *s, const sv_latency_answer *a, bool as_json)
{
    uint64_t macs = sv_pruned_macs(s->model, &s->options.plan, a->kept);
    sv_text text = { 0 };
    sv_json json = { .text = &text };
    if (!as_json) {
        printf("dense %.3f ms, budget %.3f ms, predicted %.3f ms, %.3f GMAC (dense %.3f)\n", a->dense_ms, a->budget_ms, a->predicted.total_ms, 1e-9 * (double)macs, 1e-9 * (double)sv_model_macs(s->model));
        for (size_t t = 0; t < a->selectors; t++) printf("selector %zu before block %2zu keeps %.4f: %zu patches, %zu tokens\n", t + 1, s->options.plan.at[t], a->keep[t], a->kept[t], a->predicted.tokens[t + 1]);
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

static sv_status solve_with(const subject *s, const sv_config *config, const sv_latency_table *table, const char *name, sv_latency_answer *out, sv_error *err)
{
    sv_latency_about about = { 0 };
    sv_latency_shape shape;
    sv_budget budget;
    sv_latency_prediction dense;
    int64_t at[SV_MOST_STAGES];
    size_t batch = (size_t)sv_config_int(config, "latency.batch");
    sv_latency_rule rule = (sv_latency_rule)sv_config_choice(config, "latency.rule");
    for (size_t t = 0; t < s->options.plan.stages; t++) at[t] = (int64_t)s->options.plan.at[t];
    sv_latency_about_model(&about, s->model);
    sv_status status = sv_latency_fits_model(table, &about, name, err);
    if (!status) status = sv_latency_fits_method(table, &s->options.plan, name, err);
    if (!status) status = sv_budget_parse(&budget, sv_config_text(config, "latency.budget"), sv_config_where(config, "latency.budget"), err);
    if (!status && budget.kind == SV_NO_BUDGET) status = sv_fail(err, SV_USAGE, "there is no budget to solve for: give --latency.budget=70%% or --latency.budget=12.5ms");
    if (!status) status = sv_latency_shape_fill(&shape, sv_model_prefix(s->model), sv_model_patches(s->model), sv_model_depth(s->model), at, s->options.plan.stages,
                                                s->options.plan.package == SV_CHOICE_NONE ? SV_LATENCY_NO_PACKAGE : SV_LATENCY_EACH_PACKAGE, err);
    if (!status) status = sv_latency_predict_dense(table, batch, &shape, rule, &dense, err);
    if (status) return status;
    sv_latency_question question = { .table = table, .batch = batch, .shape = &shape, .rule = rule, .budget_ms = sv_budget_ms(budget, dense.total_ms), .keep_least = sv_config_real(config, "latency.keep_least") };
    return sv_config_given(config, "pruning.keep") ? sv_latency_check_keep(&question, s->options.plan.keep, out, err) : sv_latency_solve_family(&question, out, err);
}

static sv_status solve(const sv_program_call *call, sv_error *err)
{
    subject s = { 0 };
    sv_latency_table table = { 0 };
    sv_latency_answer answer;
    const char *path = sv_config_text(call->config, "latency.table");
    if (!path[0]) return sv_fail(err, SV_USAGE, "there is no table to solve by: give --latency.table=FILE (`latency measure` makes one of this machine)");
    sv_status status = open_subject(&s, call->config, err);
    if (!status && !s.options.plan.stages) status = sv_fail(err, SV_USAGE, "%s: pruning.method = none has no keep ratios to solve for; set pruning.method = spvit or dynamicvit", sv_config_where(call->config, "pruning.method"));
    if (!status) status = sv_latency_table_read(&table, path, err);
    if (!status) status = solve_with(&s, call->config, &table, path, &answer, err);
    if (!status) print_answer(&s, &answer, call->json);
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
    sv_status status = open_subject(&s, call->config, err);
    if (!status) status = sv_file_read_all(call->words[1], SV_LATENCY_FILE_MOST, SV_MODEL_FILE, &text, &count, err);
    if (!status) {
        sv_latency_about_model(&table.about, s.model);
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
    if (!status) status = sv_latency_table_write(&table, out_path, err);
    if (!status) sv_log(SV_INFO, "%s: %zu block times of %s", out_path, table.count, table.about.device);
    sv_free(text);
    sv_latency_table_clear(&table);
    close_subject(&s);
    return status;
}

static const struct { const char *name; sv_status (*run)(const sv_program_call *call, sv_error *err); } commands[] = { { "measure", measure }, { "show", show }, { "solve", solve }, { "import", import } };

static sv_status run(const sv_program_call *call, sv_error *err)
{
    const char *word = call->word_count ? call->words[0] : "";
    sv_kernels_init();
    for (size_t i = 0; i < SV_COUNT(commands); i++)
        if (strcmp(commands[i].name, word) == 0) return commands[i].run(call, err);
    return sv_fail(err, SV_USAGE, "'%s' is no command; expected measure, show, solve or import", word);
}

int main(int argc, char **argv)
{
    sv_config_group groups[SV_TRAIN_GROUPS_MOST];
    sv_program program = { .name = "latency", .usage = usage, .groups = groups, .group_count = sv_train_config_groups(groups), .flags = flags, .flag_count = SV_COUNT(flags), .needs_arguments = true, .run = run };
    return sv_program_main(&program, argc, argv);
}
