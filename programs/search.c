/* search: where selectors stand and what they keep, block by block from the last to the first. */
#include "base/json.h"
#include "base/program.h"
#include "kernels/kernels.h"
#include "train/search.h"
#include "train/train.h"

#include <math.h>
#include <stdio.h>

static const char usage[] =
    "Usage: search --config FILE [--section.key=value ...] [options]\n"
    "\n"
    "Finds in front of which blocks selectors stand and how much they keep, for a trained dense model (SPViT's block-to-stage\n"
    "training): from the last block to the first it lowers the keep ratio while accuracy on held-out training pictures stays within\n"
    "search.tolerance, joins blocks with like ratios into stages, and stops when the latency table predicts the budget or the\n"
    "tolerance is used up. Leaves outcome.ini in run.dir, a config that `train` takes, and trials.csv. Killed or stopped, the same\n"
    "command goes on.\n"
    "\n"
    "Examples\n"
    "  search --config deit_t_mobile.ini --run.dir=runs/search --latency.budget=60% --search.form=cheap\n"
    "  search --config deit_t_mobile.ini --run.dir=runs/search_full --search.epochs=2 --search.tolerance=0.01\n"
    "  train --config runs/search/outcome.ini\n"
    "\n"
    "Options\n"
    "  --config FILE     the run's config (INI); the keys of the search are in its [search]\n"
    "  --json            the outcome as one JSON object on standard output\n"
    "  --threads N, --seed N, --quiet, --verbose, --help, --keys, --version\n"
    "\n"
    "Exit codes: 0 done, 1 fault (memory, disk), 2 usage or config, 3 data, 4 model file, 6 tolerance used up above the budget,\n"
    "75 interrupted (the same command goes on)\n";

static void print_result(const sv_search_result *r)
{
    sv_text text = { 0 };
    sv_json json = { .text = &text };
    sv_json_open(&json, NULL);
    sv_json_int(&json, "trials", (int64_t)r->trials);
    sv_json_open_array(&json, "at");
    for (size_t t = 0; t < r->stages; t++) sv_json_int(&json, NULL, (int64_t)r->at[t]);
    sv_json_close_array(&json);
    sv_json_reals(&json, "keep_ratios", r->keep, r->stages);
    sv_json_int(&json, "right", (int64_t)r->right);
    sv_json_int(&json, "dense_right", (int64_t)r->dense_right);
    sv_json_int(&json, "images", (int64_t)r->images);
    sv_json_real(&json, "budget_ms", isfinite(r->budget_ms) ? r->budget_ms : NAN);
    sv_json_real(&json, "predicted_ms", r->predicted_ms);
    sv_json_real(&json, "dense_ms", r->dense_ms);
    sv_json_text(&json, "outcome", r->outcome);
    sv_json_close(&json);
    if (text.data) puts(text.data);
    sv_text_clear(&text);
}

static sv_status run(const sv_program_call *call, sv_error *err)
{
    sv_search_result result;
    if (call->word_count) return sv_fail(err, SV_USAGE, "'%s' is not understood; a config is given as --config %s", call->words[0], call->words[0]);
    sv_kernels_init();
    sv_status status = sv_search(call->config, &result, err);
    if ((!status || (status == SV_BUDGET && result.stages)) && call->json) print_result(&result);
    if (!status) sv_log(SV_INFO, "done: %s, %.3f ms by the table, %zu of %zu right (dense %zu)", result.outcome, result.predicted_ms, result.right, result.images, result.dense_right);
    return status;
}

int main(int argc, char **argv)
{
    sv_config_group groups[SV_TRAIN_GROUPS_MOST];
    static const char *const unneeded[] = { "data.val", NULL };
    sv_program program = { .name = "search", .usage = usage, .unneeded = unneeded, .groups = groups, .group_count = sv_train_config_groups(groups), .needs_arguments = true, .run = run };
    return sv_program_main(&program, argc, argv);
}
