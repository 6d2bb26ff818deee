/* train: fine-tunes a model, dense or with token selectors, to a latency budget. */
#include "base/json.h"
#include "kernels/kernels.h"
#include "train/train.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: train --config FILE [--section.key=value ...] [options]\n"
    "\n"
    "Fine-tunes a vision transformer, dense or with SPViT token selectors, to a latency budget; removes the tokens for real,\n"
    "measures the result on this machine and leaves it in run.dir: model.safetensors (the measured model), last.safetensors\n"
    "(to go on from), best.safetensors, metrics.csv, log.txt, report.html. Killed or stopped, the same command goes on.\n"
    "\n"
    "Examples\n"
    "  train --config deit_t_mobile.ini                        a config of the current folder or of those that come with Sieve\n"
    "  train --config deit_t_mobile.ini --latency.budget=60%   any key can be set on the command line\n"
    "  train --config my.ini --dry-run                         parameters, work, memory, keep plan, time; then stops\n"
    "\n"
    "Options\n"
    "  --config FILE          the run's config (INI); may be given more than once, later ones win\n"
    "  --resume auto|never|FILE   auto (default): go on where run.dir holds a checkpoint; never: begin anew\n"
    "  --dry-run              say the plan and stop\n"
    "  --profile              time the ops by kind\n"
    "  --json                 the result as one JSON object on standard output\n"
    "  --threads N, --seed N  short for --run.threads, --run.seed\n"
    "  --quiet, --verbose     less, more on standard error\n"
    "  --help, --keys         this text; all config keys with their defaults\n"
    "  --version\n"
    "\n"
    "Exit codes: 0 done, 1 fault (memory, disk), 2 usage or config, 3 data, 4 model file, 5 not finite, 6 budget not met,\n"
    "75 interrupted (resume to go on)\n";

typedef struct arguments { sv_train_request request; bool json, done; sv_level level; } arguments;

static sv_status set_key(sv_config *config, const char *key, int argc, char **argv, int *at, sv_error *err)
{
    if (*at + 1 >= argc) return sv_fail(err, SV_USAGE, "%s needs a value", argv[*at]);
    return sv_config_set(config, key, argv[++*at], "command line", err);
}

static sv_status read_argument(sv_config *config, arguments *a, int argc, char **argv, int *at, sv_error *err)
{
    const char *word = argv[*at];
    int used = 0;
    if (strcmp(word, "--dry-run") == 0) return a->request.dry_run = true, SV_OK;
    if (strcmp(word, "--profile") == 0) return a->request.profile = true, SV_OK;
    if (strcmp(word, "--json") == 0) return a->json = true, SV_OK;
    if (strcmp(word, "--quiet") == 0) return a->level = SV_WARNING, SV_OK;
    if (strcmp(word, "--verbose") == 0) return a->level = SV_VERBOSE, SV_OK;
    if (strcmp(word, "--threads") == 0) return set_key(config, "run.threads", argc, argv, at, err);
    if (strcmp(word, "--seed") == 0) return set_key(config, "run.seed", argc, argv, at, err);
    if (strcmp(word, "--config") == 0) {
        if (*at + 1 >= argc) return sv_fail(err, SV_USAGE, "--config needs the name of a file");
        return sv_config_read(config, argv[++*at], err);
    }
    if (strcmp(word, "--resume") == 0) {
        if (*at + 1 >= argc) return sv_fail(err, SV_USAGE, "--resume needs auto, never or the name of a checkpoint");
        const char *value = argv[++*at];
        a->request.resume = strcmp(value, "auto") == 0 ? SV_RESUME_AUTO : strcmp(value, "never") == 0 ? SV_RESUME_NEVER : SV_RESUME_FILE;
        a->request.resume_file = value;
        return SV_OK;
    }
    sv_status status = sv_config_argument(config, argc, argv, *at, &used, err);
    if (status) return status;
    if (!used) return sv_fail(err, SV_USAGE, "'%s' is not understood; `train --help` lists the options, `train --keys` the config keys", word);
    *at += used - 1;
    return SV_OK;
}

static void print_result(const sv_train_result *r)
{
    sv_text text = { 0 };
    sv_json json = { .text = &text };
    sv_json_open(&json, NULL);
    sv_json_int(&json, "epochs", (int64_t)r->epochs);
    sv_json_int(&json, "steps", (int64_t)r->steps);
    sv_json_int(&json, "images", (int64_t)r->images);
    sv_json_int(&json, "top1_count", (int64_t)r->right);
    sv_json_int(&json, "top1_among_count", (int64_t)r->right_among);
    sv_json_real(&json, "top1", r->top1);
    sv_json_real(&json, "top1_ema", r->top1_ema);
    sv_json_real(&json, "top1_dense", r->top1_dense);
    sv_json_int(&json, "dense_top1_count", (int64_t)r->dense_right);
    sv_json_int(&json, "dense_top1_among_count", (int64_t)r->dense_right_among);
    sv_json_reals(&json, "keep_ratios", r->keep, r->stages);
    sv_json_reals(&json, "kept_shares", r->kept_share, r->stages);
    sv_json_real(&json, "budget_ms", r->budget_ms);
    sv_json_real(&json, "predicted_ms", r->predicted_ms);
    sv_json_real(&json, "measured_ms", r->measured_ms);
    sv_json_real(&json, "measured_p95_ms", r->measured_p95_ms);
    sv_json_real(&json, "dense_ms", r->dense_ms);
    sv_json_text(&json, "checkpoint", r->checkpoint);
    sv_json_real(&json, "images_per_s", r->images_per_s);
    sv_json_real(&json, "peak_mib", r->peak_mib);
    sv_json_close(&json);
    if (text.data) puts(text.data);
    sv_text_clear(&text);
}

static int run(sv_config *config, arguments *a, int argc, char **argv, sv_error *err)
{
    sv_train_result result;
    sv_status status = SV_OK;
    for (int at = 1; !status && at < argc; at++) status = read_argument(config, a, argc, argv, &at, err);
    if (status) return status;
    sv_log_set(NULL, NULL, a->level);
    status = sv_isa_check(err);
    if (status) return status;
    sv_interrupt_install();
    sv_kernels_init();
    status = sv_train(config, &a->request, &result, err);
    if ((!status || status == SV_BUDGET) && a->json && !a->request.dry_run) print_result(&result);
    if (!status && !a->request.dry_run) sv_log(SV_INFO, "done: %s", result.checkpoint);
    return status;
}

int main(int argc, char **argv)
{
    sv_config_group groups[SV_TRAIN_GROUPS_MOST];
    size_t count = sv_train_config_groups(groups);
    arguments a = { .level = SV_INFO };
    sv_config *config = NULL;
    sv_error err = { 0 };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) return fputs(usage, stdout) < 0;
        if (strcmp(argv[i], "--version") == 0) return puts("train (Sieve) " SV_VERSION) < 0;
        if (strcmp(argv[i], "--keys") == 0) {
            sv_text text = { 0 };
            sv_config_print_help(groups, count, &text);
            fputs(text.data ? text.data : "", stdout);
            sv_text_clear(&text);
            return 0;
        }
    }
    if (argc == 1) {
        fputs(usage, stderr);
        return SV_USAGE;
    }
    int status = sv_config_create(&config, groups, count, &err);
    if (!status) status = run(config, &a, argc, argv, &err);
    if (status) fprintf(stderr, "train: %s\n", err.text);
    sv_config_destroy(config);
    return status;
}
