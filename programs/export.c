/* export: a trained model for others: weights under timm names, selectors, and what is needed to run them. */
#include "base/json.h"
#include "base/program.h"
#include "eval/eval.h"
#include "eval/onnx_export.h"
#include "eval/weights_export.h"
#include "formats/weights.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: export CHECKPOINT --format safetensors|onnx [--out FILE] [--json]\n"
    "\n"
    "Writes the model of a checkpoint (model.safetensors, best.safetensors, last.safetensors of a run) for others.\n"
    "safetensors: weights under timm's names, selectors as selectors.T.* (SPViT) or score_predictor.T.*\n"
    "(DynamicViT), the pruning plan and a model card in the metadata.\n"
    "onnx: one graph (opset 17) with selectors, decisions and package tokens inside. Input pixel_values [batch,3,side,side]; outputs logits\n"
    "and tokens_kept_0, tokens_kept_1 ...: numbers of the patches that stay behind each selector. The card is in metadata_props.\n"
    "Either is read back, and a picture's logits compared with the checkpoint's, before export says done; an onnx file that fails this never\n"
    "gets its name.\n"
    "\n"
    "Examples\n"
    "  export runs/deit_t_mobile/model.safetensors --format safetensors --out deit_t_pruned.safetensors\n"
    "  export runs/deit_t_mobile/model.safetensors --format onnx --mode static --weights f16 --out deit_t_pruned.onnx\n"
    "  python: onnxruntime.InferenceSession('deit_t_pruned.onnx').run(None, {'pixel_values': pictures})\n"
    "\n"
    "Options\n"
    "  --format FORM     safetensors or onnx\n"
    "  --arch NAME       CHECKPOINT is a file of dense weights from elsewhere (.pth, .safetensors, .npz) for this backbone: deit_t, swin_t ...\n"
    "  --out FILE        default: CHECKPOINT with -export before its ending, or with the ending .onnx\n"
    "  --mode MODE       onnx: static (default): every picture keeps the plan's number of patches; dynamic: by the plan's thresholds, each\n"
    "                    picture its own number, one picture at a time (SPViT and DynamicViT on ViT, DeiT and LV-ViT)\n"
    "  --batch N|any     onnx: pictures at a time; default: any (static), 1 (dynamic)\n"
    "  --weights KIND    f32 (default), f16, bf16 or int8: how the backbone's matrices are stored; all is computed in f32. int8: a scale for\n"
    "                    each output channel, a quarter of the bytes\n"
    "  --licence TEXT    licence of the weights the model began from, for its card; default: the run's model.licence\n"
    "  --external-above BYTES  onnx: larger files keep their weights in FILE.data beside FILE; default: 2147483647, the most that ONNX allows\n"
    "  --json, --quiet, --verbose, --help, --version\n"
    "\n"
    "Exit codes: 0 done, 1 fault (memory, disk), 2 usage, 4 model file\n";

static const char *format, *out_path, *mode, *batch, *weights, *licence, *external_above, *arch;
static const sv_flag flags[] = { { "--format", NULL, &format },   { "--out", NULL, &out_path },         { "--mode", NULL, &mode },
                                 { "--batch", NULL, &batch },     { "--weights", NULL, &weights },      { "--licence", NULL, &licence },
                                 { "--external-above", NULL, &external_above }, { "--arch", NULL, &arch } };

static sv_status default_path(const char *checkpoint, sv_text *text, sv_error *err)
{
    size_t length = strlen(checkpoint), ending = strlen(".safetensors");
    if (length > ending && strcmp(checkpoint + length - ending, ".safetensors") == 0) length -= ending;
    sv_text_add_bytes(text, checkpoint, length);
    sv_text_add(text, "%s", strcmp(format, "onnx") == 0 ? ".onnx" : "-export.safetensors");
    return sv_text_check(text, err);
}

/* ---- onnx -------------------------------------------------------------------------------------------------------- */

typedef struct weight_kind {
    const char *name;
    sv_onnx_type type;
} weight_kind;
static const weight_kind weight_kinds[] = { { "f32", SV_ONNX_FLOAT }, { "f16", SV_ONNX_FLOAT16 }, { "bf16", SV_ONNX_BFLOAT16 }, { "int8", SV_ONNX_INT8 } };

static sv_status read_options(sv_onnx_options *out, sv_error *err)
{
    enum { MOST_BATCH = 65536 };
    const weight_kind *kind = weights ? SV_KIND_FIND(weight_kinds, weights) : weight_kinds;
    int64_t count = 0, above = 0;
    *out = (sv_onnx_options){ .licence = licence };
    if (mode && strcmp(mode, "static") != 0 && strcmp(mode, "dynamic") != 0) return sv_fail(err, SV_USAGE, "--mode is '%s'; expected static or dynamic", mode);
    if (!kind) return sv_fail(err, SV_USAGE, "--weights is '%s'; expected f32, f16, bf16 or int8", weights);
    if (batch && strcmp(batch, "any") != 0 && (!sv_parse_int(batch, &count) || count < 1 || count > MOST_BATCH))
        return sv_fail(err, SV_USAGE, "--batch is '%s'; expected any or a number from 1 to %d", batch, MOST_BATCH);
    if (external_above && (!sv_parse_int(external_above, &above) || above < 1)) return sv_fail(err, SV_USAGE, "--external-above is '%s'; expected bytes", external_above);
    out->mode = mode && strcmp(mode, "dynamic") == 0 ? SV_ONNX_DYNAMIC : SV_ONNX_STATIC;
    if (out->mode == SV_ONNX_DYNAMIC && batch && strcmp(batch, "any") == 0)
        return sv_fail(err, SV_USAGE, "--batch any is not for --mode dynamic, whose pictures keep different numbers of tokens; leave it out: it takes one at a time");
    out->weights = kind->type;
    out->batch = (size_t)count;
    out->external_above = (uint64_t)above;
    return SV_OK;
}

static void tell(const char *path, const sv_onnx_report *report, size_t stages, bool as_json)
{
    sv_text text = { 0 };
    sv_json json = { .text = &text };
    double kept[SV_MOST_STAGES];
    for (size_t t = 0; t < stages; t++) kept[t] = (double)report->kept[t];
    if (!as_json) {
        if (report->compared) sv_log(SV_INFO, "%s: %zu nodes, %zu tensors, read back; a picture's logits differ by %.2g of their largest", path, report->nodes, report->tensors, report->worst);
        else sv_log(SV_INFO, "%s: %zu nodes, %zu tensors, read back", path, report->nodes, report->tensors);
        return;
    }
    sv_json_open(&json, NULL);
    sv_json_text(&json, "file", path);
    sv_json_int(&json, "nodes", (int64_t)report->nodes);
    sv_json_int(&json, "tensors", (int64_t)report->tensors);
    sv_json_real(&json, "logits_difference", report->compared ? report->worst : (double)NAN);
    sv_json_real(&json, "ms", report->ms);
    sv_json_reals(&json, "tokens_kept", kept, stages);
    sv_json_close(&json);
    puts(text.data ? text.data : "");
    sv_text_clear(&text);
}

static sv_status export_onnx(sv_deployed *source, const char *checkpoint, const char *path, bool as_json, sv_error *err)
{
    sv_onnx_options options;
    sv_onnx_report report = { 0 };
    sv_status status = read_options(&options, err);
    if (!status) status = sv_onnx_export(source, checkpoint, path, &options, &report, err);
    if (!status) tell(path, &report, source->plan.stages, as_json);
    return status;
}

/* ---- safetensors ------------------------------------------------------------------------------------------------- */

static sv_status export_safetensors(sv_deployed *source, const char *checkpoint, const char *path, bool as_json, sv_error *err)
{
    sv_onnx_options options;
    size_t tensors = 0;
    sv_status status = read_options(&options, err);
    const sv_weights_export_options wanted = { .weights = options.weights, .licence = licence, .source = checkpoint };
    if (!status) status = sv_weights_export(source, path, &wanted, &tensors, err);
    if (!status && as_json) {
        sv_text text = { 0 };
        sv_json json = { .text = &text };
        sv_json_open(&json, NULL);
        sv_json_text(&json, "file", path);
        sv_json_int(&json, "tensors", (int64_t)tensors);
        sv_json_close(&json);
        puts(text.data ? text.data : "");
        sv_text_clear(&text);
    } else if (!status) {
        sv_log(SV_INFO, "%s: %zu tensors, read back, logits equal", path, tensors);
    }
    return status;
}

static sv_status check_call(const sv_program_call *call, sv_error *err)
{
    if (call->word_count != 1) return sv_fail(err, SV_USAGE, "expected one checkpoint, got %zu; see `export --help`", call->word_count);
    if (!format) return sv_fail(err, SV_USAGE, "--format is missing; expected --format safetensors or --format onnx");
    if (strcmp(format, "onnx") == 0) return SV_OK;
    if (strcmp(format, "safetensors") != 0) return sv_fail(err, SV_USAGE, "--format %s is not offered by this version; expected safetensors or onnx", format);
    if (mode || batch || external_above) return sv_fail(err, SV_USAGE, "--mode, --batch and --external-above belong to --format onnx");
    return SV_OK;
}

/* Dense weights from elsewhere: their head says how many classes there are, lest it be made anew for the backbone's own number. */
static sv_status load_foreign(sv_deployed *out, const char *path, sv_error *err)
{
    static const char *const heads[] = { "head.weight", "head.fc.weight", "classifier.weight", "cls_classifier.weight" };
    const sv_weights_entry *head = NULL;
    sv_weights *file = NULL;
    sv_status status = sv_weights_open(&file, path, err);
    for (size_t i = 0; !status && !head && i < SV_COUNT(heads); i++) head = sv_weights_find(file, heads[i]);
    const size_t classes = head && head->rank == 2 ? head->shape[0] : 0;
    sv_weights_close(file);
    return status ? status : sv_deployed_from_weights(out, arch, path, 0, classes, err);
}

static sv_status run(const sv_program_call *call, sv_error *err)
{
    sv_deployed source = { 0 };
    sv_text path = { 0 };
    sv_onnx_options unused;
    sv_status status = check_call(call, err);
    if (!status) status = read_options(&unused, err); /* a mistake is said before a large file is read */
    if (status) return status;
    sv_kernels_init();
    status = arch ? load_foreign(&source, call->words[0], err) : sv_deployed_load(&source, call->words[0], err);
    if (!status && !out_path) status = default_path(call->words[0], &path, err);
    const char *to = out_path ? out_path : path.data;
    if (!status) status = strcmp(format, "onnx") == 0 ? export_onnx(&source, call->words[0], to, call->json, err) : export_safetensors(&source, call->words[0], to, call->json, err);
    sv_deployed_clear(&source);
    sv_text_clear(&path);
    return status;
}

int main(int argc, char **argv)
{
    sv_program program = { .name = "export", .usage = usage, .flags = flags, .flag_count = SV_COUNT(flags), .needs_arguments = true, .run = run };
    return sv_program_main(&program, argc, argv);
}
