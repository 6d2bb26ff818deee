/* eval: accuracy, work and time of a model, dense beside pruned; what a weight file holds. */
#include "base/json.h"
#include "base/program.h"
#include "data/data.h"
#include "eval/eval.h"
#include "eval/overlays.h"
#include "eval/sensitivity.h"
#include "formats/weights.h"
#include "kernels/kernels.h"
#include "latency/measure_model.h"
#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: eval --config FILE [--checkpoint FILE] [--latency] [--section.key=value ...] [options]\n"
    "       eval --inspect FILE [--json]\n"
    "\n"
    "Accuracy on data.val, multiply-adds, pictures a second and, with --latency, the time of one picture at a time.\n"
    "With a checkpoint of a pruned model, the pruned model and beside it the same weights without selectors, or the dense\n"
    "model of model.weights where the config names one. Without a checkpoint: the dense model of model.weights.\n"
    "\n"
    "Examples\n"
    "  eval --config deit_t_eval.ini                                  a dense model as the config says\n"
    "  eval --config my.ini --checkpoint runs/my/model.safetensors --latency\n"
    "  eval --config my.ini --checkpoint runs/my/model.safetensors --overlays 12 --overlay-dir figures\n"
    "  eval --inspect deit_tiny_patch16_224.pth                       names, shapes, dtypes, sums\n"
    "\n"
    "Options\n"
    "  --checkpoint FILE   a model that train or export wrote\n"
    "  --latency           also measure one picture at a time, dense and pruned in alternation\n"
    "  --logits FILE       write the logits of every picture as .npy [pictures, classes], float32\n"
    "  --overlays N        draw N pictures (1 to 64), evenly spread over data.val, and what survives each selector: a PNG each, and\n"
    "                      sheet.png of all, a row a picture, a column a stage\n"
    "  --overlay-dir DIR   where to (default: overlays)\n"
    "  --sensitivity FILE  what keeping less costs at each selector alone, on train.calibrate pictures drawn from data.val: lines\n"
    "                      `selector,keep,cost` for `latency solve --costs`\n"
    "  --precision P       of products: fp32, bf16 or bf16x3; default: as the checkpoint was trained, or as the config says\n"
    "  --inspect FILE      what a weight file holds (.pth, .safetensors, .npz, .npy); exit 4 where it is refused\n"
    "  --json              one JSON object (with --inspect: one a tensor) on standard output\n"
    "  --threads N, --quiet, --verbose, --help, --keys, --version\n"
    "\n"
    "Exit codes: 0 done, 1 fault, 2 usage or config, 3 data, 4 model file, 75 interrupted\n";

static const char *inspect, *checkpoint, *logits_path, *precision, *overlays_text, *overlay_folder = "overlays", *sensitivity_path;
static bool measure;
static const sv_flag flags[] = { { "--inspect", NULL, &inspect }, { "--checkpoint", NULL, &checkpoint }, { "--latency", &measure, NULL }, { "--logits", NULL, &logits_path },
                                 { "--precision", NULL, &precision }, { "--overlays", NULL, &overlays_text }, { "--overlay-dir", NULL, &overlay_folder }, { "--sensitivity", NULL, &sensitivity_path } };

/* ---- inspect ----------------------------------------------------------------------------------------------------- */

static void shape_text(char *out, size_t room, const sv_weights_entry *entry)
{
    size_t at = 0;
    at += (size_t)snprintf(out, room, "[");
    for (size_t d = 0; d < entry->rank && at + 24 < room; d++) at += (size_t)snprintf(out + at, room - at, "%s%zu", d ? ", " : "", entry->shape[d]);
    snprintf(out + at, room - at, "]");
}

static void print_tensor_json(const sv_weights_entry *entry, const sv_weights_digest *digest)
{
    sv_text text = { 0 };
    sv_json json = { .text = &text };
    sv_json_open(&json, NULL);
    sv_json_text(&json, "name", entry->name);
    sv_json_open_array(&json, "shape");
    for (size_t d = 0; d < entry->rank; d++) sv_json_int(&json, NULL, (int64_t)entry->shape[d]);
    sv_json_close_array(&json);
    sv_json_text(&json, "dtype", entry->dtype);
    sv_json_real(&json, "sum", digest->sum);
    sv_json_reals(&json, "first", digest->first, digest->first_count);
    sv_json_close(&json);
    puts(text.data ? text.data : "");
    sv_text_clear(&text);
}

static sv_status run_inspect(const char *path, bool as_json, sv_error *err)
{
    sv_weights *file = NULL;
    size_t widest = 6, numbers = 0;
    sv_status status = sv_weights_open(&file, path, err);
    for (size_t i = 0; !status && i < sv_weights_count(file); i++) {
        size_t length = strlen(sv_weights_at(file, i)->name);
        if (length > widest) widest = length < 64 ? length : 64;
    }
    if (!status && !as_json) printf("%-*s  %-9s %-22s %16s\n", (int)widest, "tensor", "dtype", "shape", "sum");
    for (size_t i = 0; !status && i < sv_weights_count(file); i++) {
        const sv_weights_entry *entry = sv_weights_at(file, i);
        sv_weights_digest digest;
        char name[128], shape[160];
        status = sv_weights_digest_read(file, entry, &digest, err);
        if (status) break;
        numbers += entry->count;
        shape_text(shape, sizeof shape, entry);
        if (as_json) print_tensor_json(entry, &digest);
        else printf("%-*s  %-9s %-22s %16.8g\n", (int)widest, sv_text_safe(name, sizeof name, entry->name), entry->dtype, shape, digest.sum);
    }
    if (!status && !as_json) {
        printf("%zu tensors, %zu numbers, %s\n", sv_weights_count(file), numbers, sv_weights_format(file));
        for (size_t i = 0; i < sv_weights_metadata_count(file); i++) {
            char key[96], value[96];
            sv_text_safe(key, sizeof key, sv_weights_metadata_key(file, i));
            sv_text_safe(value, sizeof value, sv_weights_metadata_value(file, i));
            printf("metadata %s: %s\n", key, value);
        }
        for (size_t i = 0; i < sv_weights_skipped_count(file) && i < 20; i++) printf("left out: %s\n", sv_weights_skipped(file, i));
    }
    sv_weights_close(file);
    return status;
}

/* ---- accuracy ---------------------------------------------------------------------------------------------------- */

typedef struct logits_file { float *block; size_t count, capacity, classes; } logits_file;

static sv_status take_logits(void *context, uint64_t sample, uint32_t label, const sv_real *logits, size_t classes, sv_error *err)
{
    logits_file *file = context;
    (void)sample, (void)label;
    sv_status status = sv_grow(&file->block, &file->capacity, (file->count + 1) * classes, sizeof *file->block, "logits", err);
    if (status) return status;
    for (size_t k = 0; k < classes; k++) file->block[file->count * classes + k] = (float)logits[k];
    file->classes = classes;
    file->count++;
    return SV_OK;
}

static sv_status write_logits(const logits_file *file, const char *path, sv_error *err)
{
    char header[128];
    sv_atomic_file out = { 0 };
    int length = snprintf(header + 10, sizeof header - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", file->count, file->classes);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)(sizeof header - 10);
    header[9] = 0;
    memset(header + 10 + length, ' ', sizeof header - 11 - (size_t)length);
    header[sizeof header - 1] = '\n';
    sv_status status = sv_atomic_open(&out, path, err);
    if (!status) status = sv_atomic_write(&out, header, sizeof header, err);
    if (!status) status = sv_atomic_write(&out, file->block, file->count * file->classes * sizeof(float), err);
    if (!status) status = sv_atomic_commit(&out, err);
    sv_atomic_abandon(&out);
    return status;
}

typedef struct figures { sv_evaluation e; sv_measured ms; bool measured; } figures;

typedef struct subject { sv_deployed model; bool has, dense_of_checkpoint; sv_removal_tape batch, one; } subject;

static sv_status evaluate(subject *s, const sv_pruning_plan *plan, sv_loader *loader, const sv_source *source, size_t batch, const char *what, logits_file *logits, figures *out, sv_error *err)
{
    sv_evaluate_options options = { .progress = what };
    if (logits) options.sink = take_logits, options.sink_context = logits;
    sv_status status = sv_removal_record(&s->batch, s->model.pruning, plan, batch, err);
    return status ? status : sv_evaluate(&s->batch, loader, source, &options, &out->e, err);
}

static void put_figures(sv_json *json, const char *name, const figures *f, size_t stages)
{
    double images = (double)(f->e.images ? f->e.images : 1);
    sv_json_open(json, name);
    sv_json_int(json, "images", (int64_t)f->e.images);
    sv_json_int(json, "top1_count", (int64_t)f->e.top1);
    sv_json_int(json, "top5_count", (int64_t)f->e.top5);
    sv_json_int(json, "top1_among_count", (int64_t)f->e.top1_among);
    sv_json_real(json, "top1", (double)f->e.top1 / images);
    sv_json_real(json, "top5", (double)f->e.top5 / images);
    sv_json_real(json, "loss", f->e.loss);
    sv_json_int(json, "bad_pictures", (int64_t)f->e.bad_pictures);
    sv_json_real(json, "macs", f->e.macs);
    sv_json_real(json, "images_per_s", f->e.seconds > 0 ? (double)f->e.images / f->e.seconds : NAN);
    sv_json_real(json, "ms_batch1_median", f->measured ? f->ms.median_ms : NAN);
    sv_json_real(json, "ms_batch1_p95", f->measured ? f->ms.p95_ms : NAN);
    sv_json_reals(json, "tokens_kept", f->e.kept, stages);
    sv_json_close(json);
}

static void print_row(const char *name, const figures *f)
{
    double images = (double)(f->e.images ? f->e.images : 1);
    printf("%-8s %6zu %7.2f%% %6zu %7.2f%% %9zu %9.4f %9.3f %10.1f", name, f->e.top1, 100 * (double)f->e.top1 / images, f->e.top5, 100 * (double)f->e.top5 / images, f->e.top1_among, f->e.loss,
           1e-9 * f->e.macs, f->e.seconds > 0 ? (double)f->e.images / f->e.seconds : 0);
    if (f->measured) printf(" %9.2f %9.2f", f->ms.median_ms, f->ms.p95_ms);
    printf("\n");
}

static void print_all(const figures *dense, const figures *pruned, const sv_pruning_plan *plan, bool has_dense)
{
    const figures *any = pruned ? pruned : dense;
    printf("%-8s %6s %8s %6s %8s %9s %9s %9s %10s%s\n", "", "top-1", "", "top-5", "", "of these", "loss", "GMAC", "pictures/s", any->measured ? "        ms       p95" : "");
    if (has_dense) print_row("dense", dense);
    if (pruned) print_row("pruned", pruned);
    printf("%zu pictures, %zu unreadable; \"of these\": right where only the classes that have pictures may be answered\n", any->e.images, any->e.bad_pictures);
    for (size_t t = 0; pruned && t < plan->stages; t++)
        printf("selector %zu keeps %.1f of %zu patches (%.1f %%), least %zu, most %zu\n", t + 1, pruned->e.kept[t], plan->patches[t], 100 * pruned->e.kept[t] / (double)plan->patches[t], pruned->e.kept_least[t],
               pruned->e.kept_most[t]);
    if (pruned && has_dense && pruned->measured) printf("one picture at a time, the pruned model is %.2f times as fast\n", dense->ms.median_ms / pruned->ms.median_ms);
}

enum { PICTURES = 32 };

static sv_status measure_models(subject *dense, subject *pruned, sv_loader *loader, const sv_config *config, figures *d, figures *p, sv_error *err)
{
    const sv_removal_tape *tapes[2];
    figures *out[2];
    sv_measured measured[2];
    sv_machine_state machine;
    const sv_real *pictures[PICTURES];
    sv_real *block = NULL;
    sv_batch *batch = NULL;
    char busy[160];
    size_t count = 0, numbers = 0, have = 0;
    sv_measure_options options = sv_measure_defaults();
    sv_status status = SV_OK;
    options.runs = (size_t)sv_config_int(config, "latency.runs");
    options.warm_up = (size_t)sv_config_int(config, "latency.warm_up");
    options.rehearsals = 1;
    options.seconds_most = 60;
    if (dense->has) status = sv_removal_record(&dense->one, dense->model.pruning, NULL, 1, err), tapes[count] = &dense->one, out[count++] = d;
    if (!status && pruned->has) status = sv_removal_record(&pruned->one, pruned->model.pruning, &pruned->model.plan, 1, err), tapes[count] = &pruned->one, out[count++] = p;
    if (status) return status;
    numbers = sv_tensor_width(tapes[0]->picture);
    status = sv_alloc(&block, PICTURES * numbers * sizeof *block, "pictures", err);
    sv_loader_start(loader, 0, 0, 1);
    while (!status && have < PICTURES && !(status = sv_loader_next(loader, &batch, err)) && batch)
        for (size_t b = 0; b < batch->count && have < PICTURES; b++) {
            memcpy(block + have * numbers, batch->pictures + b * numbers, numbers * sizeof *block);
            pictures[have] = block + have * numbers;
            have++;
        }
    if (!status) status = sv_latency_measure_tapes(tapes, count, pictures, have, 1, &options, measured, &machine, err);
    for (size_t i = 0; !status && i < count; i++) out[i]->ms = measured[i], out[i]->measured = true;
    if (!status && sv_machine_busy(busy, sizeof busy, machine)[0]) sv_log(SV_WARNING, "while measuring, %s: the times may be too long", busy);
    sv_free(block);
    return status;
}

/* ---- overlays ---------------------------------------------------------------------------------------------------- */

static sv_status overlay_count(size_t *out, sv_error *err)
{
    int64_t value;
    *out = 0;
    if (!overlays_text) return SV_OK;
    if (!sv_parse_int(overlays_text, &value) || value < 1 || value > SV_OVERLAYS_MOST)
        return sv_fail(err, SV_USAGE, "--overlays %s: a whole number from 1 to %d was expected", overlays_text, SV_OVERLAYS_MOST);
    *out = (size_t)value;
    return SV_OK;
}

/* "01-name-of-the-picture.png": the number keeps names apart; a picture's name may hold anything. */
static void overlay_name(char room[80], size_t at, const char *file)
{
    size_t length = (size_t)snprintf(room, 80, "%02zu-", at + 1), end = strlen(file);
    const char *point = strrchr(file, '.');
    if (point && point > file) end = (size_t)(point - file);
    for (size_t i = 0; i < end && length < 70; i++) {
        char c = file[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
        room[length++] = plain ? c : '_';
    }
    memcpy(room + length, ".png", 5);
}

static sv_status write_overlay(const sv_picture *picture, const char *name, sv_error *err)
{
    char *path = NULL;
    sv_status status = sv_path_join(&path, overlay_folder, name, err);
    if (!status) status = sv_png_write(path, picture, err);
    sv_free(path);
    return status;
}

static sv_status write_overlays(const subject *pruned, const sv_data_options *data, const sv_source *source, size_t wanted, sv_error *err)
{
    sv_overlays overlays = { 0 };
    sv_picture sheet = { 0 };
    sv_status status = sv_overlays_make(&overlays, &pruned->batch, source, &data->transform, wanted, err);
    if (!status && !overlays.count) status = sv_fail(err, SV_DATA, "%s: none of the pictures for --overlays can be read", sv_source_name(source));
    if (!status) status = sv_folder_create(overlay_folder, err);
    for (size_t i = 0; !status && i < overlays.count; i++) {
        sv_text caption = { 0 };
        char name[80], safe[512];
        overlay_name(name, i, overlays.items[i].file);
        sv_overlay_caption(&overlays, i, sv_source_classes(source), &caption);
        status = sv_text_check(&caption, err);
        if (!status) status = write_overlay(&overlays.items[i].drawn, name, err);
        if (!status) sv_log(SV_INFO, "%s/%s: %s", overlay_folder, name, sv_text_safe(safe, sizeof safe, caption.data));
        sv_text_clear(&caption);
    }
    if (!status) status = sv_overlays_sheet(&overlays, &sheet, err);
    if (!status) status = write_overlay(&sheet, "sheet.png", err);
    sv_picture_clear(&sheet);
    sv_overlays_clear(&overlays);
    return status;
}

/* The dense model: of model.weights where given, else the checkpoint's own weights without its selectors. */
static sv_status open_models(const sv_config *config, const sv_data_options *data, const sv_source *source, subject *dense, subject *pruned, sv_error *err)
{
    const char *weights = sv_config_text(config, "model.weights"), *arch = sv_config_text(config, "model.arch");
    sv_status status = SV_OK;
    if (checkpoint) status = sv_deployed_load(&pruned->model, checkpoint, err);
    if (status) return status;
    pruned->has = checkpoint && pruned->model.plan.stages;
    if (checkpoint && pruned->model.model->options.image != data->transform.size)
        return sv_fail(err, SV_USAGE, "data.image_size = %zu, but %s is a model for pictures of %zu; set data.image_size = %zu", data->transform.size, checkpoint, pruned->model.model->options.image,
                       pruned->model.model->options.image);
    dense->has = true;
    if (checkpoint && (!weights[0] || !pruned->has)) {
        dense->dense_of_checkpoint = true;
        return sv_deployed_load(&dense->model, checkpoint, err);
    }
    if (!weights[0]) return sv_fail(err, SV_USAGE, "there is no model to evaluate: give --checkpoint FILE, or model.weights in the config");
    size_t classes = (size_t)sv_config_int(config, "model.classes"), known = sv_source_classes(source)->count;
    status = sv_deployed_from_weights(&dense->model, arch, weights, data->transform.size, classes ? classes : known, err);
    if (!status) dense->model.model->options.precision = (sv_precision)sv_config_choice(config, "train.precision");
    return status;
}

/* In drawn order: the first pictures of a folder are of one class. */
static sv_status write_sensitivity(const subject *pruned, const sv_data_options *data, const sv_source *source, size_t batch, const sv_config *config, sv_error *err)
{
    double cost[SV_MOST_STAGES * SV_SENSITIVITY_STEPS];
    sv_loader_options options = sv_data_loader_options(data, SV_LOAD_EVALUATION, batch, (uint64_t)sv_config_int(config, "run.seed"));
    sv_loader *loader = NULL;
    sv_text text = { 0 };
    options.scattered = true;
    sv_status status = sv_loader_create(&loader, source, &options, err);
    if (!status) status = sv_sensitivity(cost, &pruned->model, loader, source, batch, (size_t)sv_config_int(config, "train.calibrate"), err);
    sv_progress_end();
    if (!status) sv_sensitivity_print(&text, cost, pruned->model.plan.stages);
    if (!status) status = sv_text_check(&text, err);
    if (!status) status = sv_file_write_atomic(sensitivity_path, text.data, text.length, err);
    sv_text_clear(&text);
    sv_loader_destroy(loader);
    return status;
}

static sv_status run_eval(const sv_program_call *call, sv_error *err)
{
    subject dense = { 0 }, pruned = { 0 };
    figures d = { 0 }, p = { 0 };
    sv_data_options data;
    sv_source *source = NULL;
    sv_loader *loader = NULL;
    logits_file logits = { 0 };
    size_t batch = (size_t)sv_config_int(call->config, "train.batch"), overlays = 0;
    sv_threads_set((size_t)sv_config_int(call->config, "run.threads"));
    sv_status status = overlay_count(&overlays, err);
    if (!status) status = sv_data_options_read(call->config, &data, err);
    if (!status) status = sv_data_open_val(&data, &source, err);
    if (!status) status = open_models(call->config, &data, source, &dense, &pruned, err);
    if (!status && overlays && !pruned.has) status = sv_fail(err, SV_USAGE, "--overlays shows what selectors keep, but there are none; give --checkpoint of a pruned model");
    if (!status) status = sv_deployed_set_precision(&dense.model, precision, err);
    if (!status) status = sv_deployed_set_precision(&pruned.model, precision, err);
    if (!status) {
        sv_loader_options options = sv_data_loader_options(&data, SV_LOAD_EVALUATION, batch, 0);
        status = sv_loader_create(&loader, source, &options, err);
    }
    if (!status && dense.has) status = evaluate(&dense, NULL, loader, source, batch, "dense", logits_path && !pruned.has ? &logits : NULL, &d, err);
    if (!status && pruned.has) status = evaluate(&pruned, &pruned.model.plan, loader, source, batch, "pruned", logits_path ? &logits : NULL, &p, err);
    if (!status && overlays) status = write_overlays(&pruned, &data, source, overlays, err);
    if (!status && sensitivity_path && !pruned.has) status = sv_fail(err, SV_USAGE, "--sensitivity is of selectors, but there are none; give --checkpoint of a pruned model");
    if (!status && sensitivity_path) status = write_sensitivity(&pruned, &data, source, batch, call->config, err);
    if (!status && logits_path) status = write_logits(&logits, logits_path, err);
    if (!status && measure) status = measure_models(&dense, &pruned, loader, call->config, &d, &p, err);
    if (!status && call->json) {
        sv_text text = { 0 };
        sv_json json = { .text = &text };
        if (pruned.has) {
            sv_json_open(&json, NULL);
            put_figures(&json, "dense", &d, 0);
            put_figures(&json, "pruned", &p, pruned.model.plan.stages);
            sv_json_close(&json);
        } else {
            put_figures(&json, NULL, &d, 0);
        }
        puts(text.data ? text.data : "");
        sv_text_clear(&text);
    } else if (!status) {
        print_all(&d, pruned.has ? &p : NULL, &pruned.model.plan, dense.has);
    }
    sv_loader_destroy(loader);
    sv_source_close(source);
    sv_free(logits.block);
    for (size_t i = 0; i < 2; i++) {
        subject *s = i ? &pruned : &dense;
        sv_removal_clear(&s->batch);
        sv_removal_clear(&s->one);
        sv_deployed_clear(&s->model);
    }
    return status;
}

static sv_status run(const sv_program_call *call, sv_error *err)
{
    if (call->word_count) return sv_fail(err, SV_USAGE, "'%s' is not understood; a config is given as --config %s", call->words[0], call->words[0]);
    sv_kernels_init();
    return inspect ? run_inspect(inspect, call->json, err) : run_eval(call, err);
}

int main(int argc, char **argv)
{
    sv_config_group groups[SV_TRAIN_GROUPS_MOST];
    sv_program program = { .name = "eval", .usage = usage, .groups = groups, .group_count = sv_train_config_groups(groups), .flags = flags, .flag_count = SV_COUNT(flags), .needs_arguments = true, .run = run };
    return sv_program_main(&program, argc, argv);
}
