/* train: fine-tunes a model, dense or with token selectors, to a latency budget. */
#include "base/json.h"
#include "base/program.h"
#include "comm/comm.h"
#include "kernels/kernels.h"
#include "train/status.h"
#include "train/train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "Usage: train --config FILE [--section.key=value ...] [options]\n"
    "       train status RUN... [--json]\n"
    "\n"
    "Fine-tunes a vision transformer, dense or with token selectors (SPViT, DynamicViT), to a latency budget; removes the tokens for real,\n"
    "measures the result on this machine and leaves it in run.dir: model.safetensors (the measured model), last.safetensors\n"
    "(to go on from), best.safetensors, metrics.csv, log.txt, report.html. Killed or stopped, the same command goes on.\n"
    "\n"
    "Examples\n"
    "  train --config deit_t_mobile.ini                        a config of the current folder or of those that come with Sieve\n"
    "  train --config deit_t_mobile.ini --latency.budget=60%   any key can be set on the command line\n"
    "  train --config my.ini --dry-run                         parameters, work, memory, keep plan, time; then stops\n"
    "  train status runs/mine                                  how a run stands: read from outside, while it runs or after\n"
    "\n"
    "Options\n"
    "  --config FILE          the run's config (INI); may be given more than once, later ones win\n"
    "  --resume auto|never|FILE   auto (default): go on where run.dir holds a checkpoint; never: begin anew\n"
    "  --verify-resume N      make N steps twice from the same state, once through a checkpoint, and compare the bytes\n"
    "  --dry-run              say the plan and stop\n"
    "  --profile              time the ops by kind\n"
    "  --ranks N              N processes on this machine share out each batch; the result has the same bytes as one's.\n"
    "                         Started by hand instead: SIEVE_RANK=r SIEVE_RANKS=N SIEVE_MASTER=host:port for each;\n"
    "                         or, in a Sieve made with MPI=1: mpirun -n N train ...\n"
    "  --json                 the result as one JSON object on standard output\n"
    "  --threads N, --seed N  short for --run.threads, --run.seed\n"
    "  --quiet, --verbose     less, more on standard error\n"
    "  --help, --keys         this text; all config keys with their defaults\n"
    "  --version\n"
    "\n"
    "Exit codes: 0 done, 1 fault (memory, disk), 2 usage or config, 3 data, 4 model file, 5 not finite, 6 budget not met,\n"
    "75 interrupted (resume to go on)\n";

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

static bool dry_run, profile;
static const char *resume = "auto", *verify, *ranks;
static const sv_flag flags[] = { { "--ranks", NULL, &ranks }, { "--dry-run", &dry_run, NULL }, { "--profile", &profile, NULL }, { "--resume", NULL, &resume }, { "--verify-resume", NULL, &verify } };

static sv_status number_in(const char *name, size_t *out, sv_error *err)
{
    const char *value = getenv(name);
    int64_t number = 0;
    if (!value || !sv_parse_int(value, &number) || number < 0) return sv_fail(err, SV_USAGE, "%s = '%.40s'; expected a whole number", name, value ? value : "");
    *out = (size_t)number;
    return SV_OK;
}

/* Several processes, made here or met; *out stays NULL for one alone. */
static sv_status find_ranks(sv_comm **out, const sv_config *config, sv_error *err)
{
    const char *master = getenv("SIEVE_MASTER");
    const double timeout = sv_config_real(config, "run.rank_timeout");
    int64_t count = 1;
    size_t rank = 0, all = 0;
    if (ranks && (!sv_parse_int(ranks, &count) || count < 1 || count > SV_RANKS_MOST)) return sv_fail(err, SV_USAGE, "--ranks %s; expected a number from 1 to %d", ranks, SV_RANKS_MOST);
    if (ranks && master) return sv_fail(err, SV_USAGE, "--ranks starts the processes itself; leave it out, or unset SIEVE_MASTER");
    if (!ranks && !master && sv_comm_mpi_ranks() > 1) return sv_comm_mpi(out, timeout, err);
    if (!master) return count > 1 ? sv_comm_fork(out, (size_t)count, timeout, err) : SV_OK;
    sv_status status = number_in("SIEVE_RANKS", &all, err);
    if (!status) status = number_in("SIEVE_RANK", &rank, err);
    return status ? status : sv_comm_join(out, master, rank, all, timeout, err);
}

/* A forked rank ends here: rank 0 alone speaks and returns to the caller. */
static void part(sv_comm *comm, sv_status status, const sv_error *err)
{
    const bool child = sv_comm_forked(comm) && sv_comm_rank(comm) > 0;
    if (status && status != SV_BUDGET) sv_comm_give_up(comm, err);
    sv_comm_close(comm);
    if (child) _exit(status);
}

static sv_status show_status(const sv_program_call *call, sv_error *err)
{
    sv_run_status shown;
    sv_status status = SV_OK;
    if (call->word_count < 2) return sv_fail(err, SV_USAGE, "train status needs the folder of a run, such as %s", sv_config_text(call->config, "run.dir"));
    for (size_t i = 1; !status && i < call->word_count; i++) {
        sv_text text = { 0 };
        status = sv_run_status_read(&shown, call->words[i], err);
        if (!status) (call->json ? sv_run_status_json : sv_run_status_print)(&shown, call->words[i], &text);
        if (!status) status = sv_text_check(&text, err);
        if (!status) printf("%s%s", text.data, call->json ? "\n" : "");
        sv_text_clear(&text);
    }
    return status;
}

static sv_status run(const sv_program_call *call, sv_error *err)
{
    sv_train_request request = { .dry_run = dry_run, .profile = profile, .resume_file = resume };
    sv_train_result result;
    int64_t steps = 0;
    if (call->word_count && strcmp(call->words[0], "status") == 0) return show_status(call, err);
    if (call->word_count) return sv_fail(err, SV_USAGE, "'%s' is not understood; a config is given as --config %s", call->words[0], call->words[0]);
    if (verify && (!sv_parse_int(verify, &steps) || steps < 1)) return sv_fail(err, SV_USAGE, "--verify-resume %s; expected a number of steps, 1 or more", verify);
    request.verify_resume = (size_t)steps;
    request.resume = strcmp(resume, "auto") == 0 ? SV_RESUME_AUTO : strcmp(resume, "never") == 0 ? SV_RESUME_NEVER : SV_RESUME_FILE;
    sv_status status = find_ranks(&request.comm, call->config, err);
    if (status) return status;
    const bool leads = sv_comm_rank(request.comm) == 0;
    sv_kernels_init();
    status = sv_train(call->config, &request, &result, err);
    part(request.comm, status, err);
    if (!leads) return status;
    if ((!status || status == SV_BUDGET) && call->json && !dry_run && !steps) print_result(&result);
    if (!status && !dry_run && !steps) sv_log(SV_INFO, "done: %s", result.checkpoint);
    return status;
}

int main(int argc, char **argv)
{
    sv_config_group groups[SV_TRAIN_GROUPS_MOST];
    sv_program program = { .name = "train", .usage = usage, .groups = groups, .group_count = sv_train_config_groups(groups), .flags = flags, .flag_count = SV_COUNT(flags),
                           .needs_arguments = true, .run = run };
    return sv_program_main(&program, argc, argv);
}
