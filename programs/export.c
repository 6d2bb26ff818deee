/* export: a trained model for others: weights under timm names, selectors, and what is needed to run them. */
#include "base/json.h"
#include "base/program.h"
#include "eval/eval.h"
#include "formats/weights.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: export CHECKPOINT --format safetensors [--out FILE] [--json]\n"
    "\n"
    "Writes the model of a checkpoint (model.safetensors, best.safetensors, last.safetensors of a run) for others: float32 weights under\n"
    "timm's names, selectors as selectors.T.* (SPViT) or score_predictor.T.* (DynamicViT), the pruning plan and a model card in the\n"
    "metadata; no optimizer. The file is read back and its logits compared with the checkpoint's before export says done.\n"
    "\n"
    "Examples\n"
    "  export runs/deit_t_mobile/model.safetensors --format safetensors --out deit_t_pruned.safetensors\n"
    "  python: safetensors.torch.load_file('deit_t_pruned.safetensors')\n"
    "\n"
    "Options\n"
    "  --format safetensors   the form; the only one of this version\n"
    "  --out FILE             default: CHECKPOINT with -export before its ending\n"
    "  --json, --quiet, --verbose, --help, --version\n"
    "\n"
    "Exit codes: 0 done, 1 fault (memory, disk), 2 usage, 4 model file\n";

static const char *format, *out_path;
static const sv_flag flags[] = { { "--format", NULL, &format }, { "--out", NULL, &out_path } };

static sv_status default_path(const char *checkpoint, sv_text *text, sv_error *err)
{
    size_t length = strlen(checkpoint), ending = strlen(".safetensors");
    if (length > ending && strcmp(checkpoint + length - ending, ".safetensors") == 0) length -= ending;
    sv_text_add_bytes(text, checkpoint, length);
    sv_text_add(text, "-export.safetensors");
    return sv_text_check(text, err);
}

static void write_card(const sv_deployed *d, sv_text *card)
{
    const sv_pruning_plan *plan = &d->plan;
    size_t parameters = 0;
    for (size_t i = 0; i < d->model->parameters->count; i++) parameters += d->model->parameters->items[i]->count;
    sv_text_add(card, "model: %s, pictures of %zu x %zu, %zu classes, %zu parameters\n", d->model->backbone->name, d->model->options.image, d->model->options.image, d->model->options.classes, parameters);
    sv_text_add(card, "work: %.3f GMAC a picture dense", 1e-9 * (double)sv_model_macs(d->model));
    if (plan->stages) sv_text_add(card, ", %.3f GMAC pruned at the plan's counts", 1e-9 * (double)sv_pruned_macs(d->model, plan, plan->count));
    sv_text_add(card, "\npruning: %s", plan->stages ? sv_method_title(plan->method) : "none\n");
    for (size_t t = 0; t < plan->stages; t++) {
        sv_text_add(card, "%skeep %.4f before block %zu ", t ? "; " : ", ", plan->keep[t], plan->at[t]);
        if (plan->rule == SV_RULE_TOPK) sv_text_add(card, "(the best %zu patches)", plan->count[t]);
        else sv_text_add(card, "(threshold %.6f)", plan->threshold[t]);
    }
    sv_text_add(card, "%sinput: RGB / 255, minus mean, by deviation; channels first\nwritten by: Sieve " SV_VERSION "\n", plan->stages ? "\n" : "");
}

static sv_status write_model(const sv_deployed *d, const char *path, sv_error *err)
{
    sv_weights_writer *writer = NULL;
    sv_text model = { 0 }, plan = { 0 }, card = { 0 };
    sv_model_print(d->model, &model);
    sv_plan_print(&d->plan, &plan);
    write_card(d, &card);
    sv_status status = sv_text_check(&model, err);
    if (!status) status = sv_text_check(&plan, err);
    if (!status) status = sv_text_check(&card, err);
    if (!status) status = sv_weights_writer_create(&writer, err);
    if (!status) status = sv_weights_writer_metadata(writer, "format", "pt", err);
    if (!status) status = sv_weights_writer_metadata(writer, "sieve.version", SV_VERSION, err);
    if (!status) status = sv_weights_writer_metadata(writer, "sieve.model", model.data, err);
    if (!status) status = sv_weights_writer_metadata(writer, "sieve.plan", plan.data, err);
    if (!status) status = sv_weights_writer_metadata(writer, "sieve.card", card.data, err);
    if (!status && d->classes) status = sv_weights_writer_metadata(writer, "sieve.classes", d->classes, err);
    for (size_t i = 0; !status && i < d->model->parameters->count; i++) {
        const sv_parameter *p = d->model->parameters->items[i];
        status = sv_weights_writer_add(writer, p->name, SV_REAL_DTYPE, p->dims, p->shape, p->value, err);
    }
    if (!status) status = sv_weights_write_safetensors(writer, path, SV_WITH_CRC, err);
    sv_weights_writer_destroy(writer);
    sv_text_clear(&model);
    sv_text_clear(&plan);
    sv_text_clear(&card);
    return status;
}

/* Logits of a made-up picture, the same for every call. */
static sv_status run_once(const sv_deployed *d, sv_removal_tape *tape, sv_error *err)
{
    sv_step step = { .images = 1 };
    sv_random random = sv_random_at(11, SV_FOR_TEST, 0, 0, 0);
    sv_status status = sv_removal_record(tape, d->pruning, &d->plan, 1, err);
    if (status) return status;
    sv_real *picture = sv_tape_data(tape->tape, tape->picture, 0);
    for (size_t i = 0; i < sv_tensor_width(tape->picture); i++) picture[i] = (sv_real)(2 * sv_random_uniform(&random) - 1);
    return sv_tape_forward(tape->tape, &step, err);
}

static sv_status prove(const sv_deployed *source, const char *path, sv_error *err)
{
    sv_deployed back = { 0 };
    sv_removal_tape one = { 0 }, other = { 0 };
    sv_status status = sv_deployed_load(&back, path, err);
    if (!status) status = run_once(source, &one, err);
    if (!status) status = run_once(&back, &other, err);
    for (size_t k = 0; !status && k < sv_tensor_width(one.logits); k++) {
        double a = (double)sv_tape_data(one.tape, one.logits, 0)[k], b = (double)sv_tape_data(other.tape, other.logits, 0)[k];
        if (!isfinite(a)) status = sv_fail(err, SV_MODEL_FILE, "the model answers with a number that is not finite (class %zu): it is not exported as good", k);
        else if (a != b) status = sv_fail(err, SV_FAULT, "%s does not give the checkpoint's logits (class %zu: %g, not %g); it is not good", path, k, b, a);
    }
    sv_removal_clear(&one);
    sv_removal_clear(&other);
    sv_deployed_clear(&back);
    return status;
}

static sv_status run(const sv_program_call *call, sv_error *err)
{
    sv_deployed source = { 0 };
    sv_text path = { 0 };
    if (call->word_count != 1) return sv_fail(err, SV_USAGE, "expected one checkpoint, got %zu; see `export --help`", call->word_count);
    if (!format) return sv_fail(err, SV_USAGE, "--format is missing; expected --format safetensors");
    if (strcmp(format, "safetensors") != 0) return sv_fail(err, SV_USAGE, "--format %s is not offered by this version; expected safetensors", format);
    sv_kernels_init();
    sv_status status = sv_deployed_load(&source, call->words[0], err);
    if (!status && !out_path) status = default_path(call->words[0], &path, err);
    if (!status) status = write_model(&source, out_path ? out_path : path.data, err);
    if (!status) status = prove(&source, out_path ? out_path : path.data, err);
    if (!status && call->json) {
        sv_text text = { 0 };
        sv_json json = { .text = &text };
        sv_json_open(&json, NULL);
        sv_json_text(&json, "file", out_path ? out_path : path.data);
        sv_json_int(&json, "tensors", (int64_t)source.model->parameters->count);
        sv_json_close(&json);
        puts(text.data ? text.data : "");
        sv_text_clear(&text);
    } else if (!status) {
        sv_log(SV_INFO, "%s: %zu tensors, read back, logits equal", out_path ? out_path : path.data, source.model->parameters->count);
    }
    sv_deployed_clear(&source);
    sv_text_clear(&path);
    return status;
}

int main(int argc, char **argv)
{
    sv_program program = { .name = "export", .usage = usage, .flags = flags, .flag_count = SV_COUNT(flags), .needs_arguments = true, .run = run };
    return sv_program_main(&program, argc, argv);
}
