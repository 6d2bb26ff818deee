/* eval: accuracy, work and time of a model, dense beside pruned; what a weight file holds. */
#include "base/json.h"
#include "base/program.h"
#include "data/data.h"
#include "eval/beside.h"
#include "eval/figures.h"
#include "eval/logits_file.h"
#include "eval/overlays.h"
#include "eval/sensitivity.h"
#include "formats/weights.h"
#include "kernels/kernels.h"
#include "latency/measure_model.h"
#include "report/canvas.h"
#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: eval --config FILE [--checkpoint FILE] [--latency] [--section.key=value ...] [options]\n"
    "       eval --inspect FILE [--json]\n"
    "\n"
    "Accuracy on data.val with 95 % intervals, multiply-adds, pictures a second and, with --latency, the time of one picture at a\n"
    "time; how many patches pictures keep, how well the probabilities are meant, the worst classes (docs/how-to-evaluate.md).\n"
    "With a checkpoint of a pruned model, the pruned model and beside it, on the same pictures, the same weights without\n"
    "selectors, or the dense model of model.weights where the config names one; and whether they differ by more than chance.\n"
    "Without a checkpoint: the dense model of model.weights.\n"
    "\n"
    "Examples\n"
    "  eval --config deit_t_eval.ini                                  a dense model as the config says\n"
    "  eval --config my.ini --checkpoint runs/my/model.safetensors --latency\n"
    "  eval --config my.ini --checkpoint runs/my/model.safetensors --overlays 12 --overlay-dir figures\n"
    "  eval --inspect deit_tiny_patch16_224.pth                       names, shapes, dtypes, sums\n"
    "\n"
    "Options\n"
    "  --checkpoint FILE   a model that train or export wrote\n"
    "  --beside FILE       another model to compare with: a checkpoint, or weights of model.arch; `teacher`: the dense model that the run\n"
    "                      of the checkpoint learned from\n"
    "  --details           all classes, and all probabilities of both models; with --json: the classes too\n"
    "  --csv FILE          every figure as a line `model,table,key,name,value`\n"
    "  --per-class FILE    classes as CSV, worst first: pictures, top-1, top-5, what they are most often taken for\n"
    "  --latency           also measure one picture at a time, dense and pruned in alternation\n"
    "  --logits FILE       write the logits of every picture as .npy [pictures, classes], float32\n"
    "  --overlays N        draw N pictures (1 to 64), evenly spread over data.val, and what survives each selector: a PNG each, and\n"
    "                      sheet.png of all\n"
    "  --overlay-dir DIR   where to (default: overlays)\n"
    "  --figure FILE       the N pictures (default: 8) in one figure for a page: .png, .jpg or .svg\n"
    "  --heat              in overlays and figures also the scores of each selector, as colours\n"
    "  --across N          pictures side by side in a figure (default: 1, of more than six pictures 2)\n"
    "  --object-share W    how much of what is kept lies on the object, stage by stage. W is `masks` for the built-in pictures, or a CSV\n"
    "                      file of boxes, `file,left,top,right,bottom`; a figure then shows those pictures, their objects outlined\n"
    "  --sensitivity FILE  what keeping less costs at each selector alone, on train.calibrate pictures drawn from data.val: lines\n"
    "                      `selector,keep,cost` for `latency solve --costs`\n"
    "  --precision P       of products: fp32, bf16 or bf16x3; default: as the checkpoint was trained, or as the config says\n"
    "  --inspect FILE      what a weight file holds (.pth, .safetensors, .npz, .npy); exit 4 where it is refused\n"
    "  --json              one JSON object (with --inspect: one a tensor) on standard output\n"
    "  --threads N, --quiet, --verbose, --help, --keys, --version\n"
    "\n"
    "Exit codes: 0 done, 1 fault, 2 usage or config, 3 data, 4 model file, 75 interrupted\n";

static const char *inspect, *checkpoint, *logits_path, *precision, *overlays_text, *overlay_folder, *figure_path, *across_text, *objects_asked, *sensitivity_path, *beside, *csv_path, *classes_path;
static bool measure, details, heat;
static const sv_flag flags[] = { { "--inspect", NULL, &inspect }, { "--checkpoint", NULL, &checkpoint }, { "--latency", &measure, NULL }, { "--logits", NULL, &logits_path },
                                 { "--precision", NULL, &precision }, { "--overlays", NULL, &overlays_text }, { "--overlay-dir", NULL, &overlay_folder }, { "--sensitivity", NULL, &sensitivity_path },
                                 { "--heat", &heat, NULL }, { "--figure", NULL, &figure_path }, { "--across", NULL, &across_text }, { "--object-share", NULL, &objects_asked },
                                 { "--beside", NULL, &beside }, { "--csv", NULL, &csv_path }, { "--per-class", NULL, &classes_path }, { "--details", &details, NULL } };

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

/* A model under evaluation and what became of it; subjects[1] is the one that was asked about, subjects[0] the one beside it, where there is one. */
typedef struct subject {
    const char *name;
    sv_deployed model;
    bool has, measured;
    sv_removal_tape batch, one;
    sv_evaluation e;
    sv_records records;
    sv_measured ms;
    sv_object_share object; bool looked;
} subject;

static sv_status evaluate(subject *s, sv_loader *loader, const sv_source *source, size_t batch, sv_logits_file *logits, sv_error *err)
{
    sv_evaluate_options options = { .progress = s->name, .records = &s->records };
    if (logits) options.sink = sv_logits_take, options.sink_context = logits;
    sv_status status = sv_removal_record(&s->batch, s->model.pruning, &s->model.plan, batch, err);
    return status ? status : sv_evaluate(&s->batch, loader, source, &options, &s->e, err);
}

static sv_figures figures_of(const subject *s)
{
    return (sv_figures){ .name = s->name, .e = &s->e, .records = &s->records, .plan = &s->model.plan, .patches = sv_model_patches(s->model.model),
                         .ms_median = s->measured ? s->ms.median_ms : NAN, .ms_p95 = s->measured ? s->ms.p95_ms : NAN,
                         .object = s->looked ? &s->object : NULL };
}

/* What is told at the end: one model, or two on the same pictures and how they differ. The classes are those of the last. */
typedef struct telling { sv_figures figures[2]; size_t count; sv_paired paired; sv_class_table classes; const sv_classes *names; } telling;

static sv_status tell_text(const telling *t, sv_text *text, sv_error *err)
{
    enum { WORST = 5 };
    const sv_figures *last = &t->figures[t->count - 1];
    sv_figures_print(text, t->figures, t->count);
    if (t->count > 1) sv_paired_print(text, &t->paired, t->figures[0].name, last->name);
    sv_status status = sv_tokens_print(text, last, err);
    if (last->object) sv_object_share_print(text, last->object, last->plan->at);
    if (!details) sv_text_add(text, "\n");
    for (size_t i = 0; !status && i < t->count; i++) sv_calibration_print(text, &t->figures[i], details);
    sv_classes_print(text, &t->classes, t->names, details ? t->classes.count : WORST);
    return status;
}

static sv_status tell_json(const telling *t, sv_text *text, sv_error *err)
{
    sv_json json = { .text = text };
    sv_status status = SV_OK;
    sv_json_open(&json, NULL);
    for (size_t i = 0; !status && i < t->count; i++) {
        if (t->count > 1) sv_json_open(&json, t->figures[i].name);
        status = sv_figures_json(&json, &t->figures[i], err);
        if (t->count > 1) sv_json_close(&json);
    }
    if (t->count > 1) sv_paired_json(&json, "paired", &t->paired);
    if (details) sv_classes_json(&json, "classes", &t->classes, t->names);
    sv_json_close(&json);
    sv_text_add(text, "\n");
    return status;
}

static sv_status write_text(sv_text *text, const char *path, sv_error *err)
{
    sv_status status = sv_text_check(text, err);
    if (!status) status = sv_file_write_atomic(path, text->data, text->length, err);
    sv_text_clear(text);
    return status;
}

/* On standard output, at once: what comes after may fail. */
static sv_status print_text(sv_text *text, sv_error *err)
{
    sv_status status = sv_text_check(text, err);
    if (!status && (fputs(text->data, stdout) < 0 || fflush(stdout) != 0)) status = sv_fail(err, SV_FAULT, "the figures cannot be written to standard output");
    sv_text_clear(text);
    return status;
}

/* The figures first, so that a file that cannot be written does not cost the evaluation. */
static sv_status tell(const subject *subjects, const sv_source *source, bool as_json, sv_error *err)
{
    telling t = { .names = sv_source_classes(source) };
    sv_text text = { 0 };
    for (size_t i = 0; i < 2; i++)
        if (subjects[i].has) t.figures[t.count++] = figures_of(&subjects[i]);
    sv_status status = sv_class_table_make(&t.classes, t.figures[t.count - 1].records, err);
    if (!status && t.count > 1) status = sv_paired_of(&t.paired, t.figures[0].records, t.figures[1].records, err);
    if (!status) status = as_json ? tell_json(&t, &text, err) : tell_text(&t, &text, err);
    if (!status) status = print_text(&text, err);
    if (!status && csv_path && !(status = sv_figures_csv(&text, t.figures, t.count, &t.paired, err))) status = write_text(&text, csv_path, err);
    if (!status && classes_path) {
        sv_classes_csv(&text, &t.classes, t.names);
        status = write_text(&text, classes_path, err);
    }
    sv_text_clear(&text);
    sv_class_table_clear(&t.classes);
    return status;
}

enum { PICTURES = 32 };

static sv_status measure_models(subject *subjects, sv_loader *loader, const sv_config *config, sv_error *err)
{
    const sv_removal_tape *tapes[2];
    subject *out[2];
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
    for (size_t i = 0; !status && i < 2; i++) {
        subject *s = &subjects[i];
        if (!s->has) continue;
        status = sv_removal_record(&s->one, s->model.pruning, &s->model.plan, 1, err);
        tapes[count] = &s->one;
        out[count++] = s;
    }
    if (status) return status;
    numbers = sv_tensor_width(tapes[0]->picture);
    status = sv_alloc(&block, PICTURES * numbers * sizeof *block, "pictures", err);
    if (!status) sv_loader_start(loader, 0, 0, 1);
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

static sv_status count_read(const char *flag, const char *text, size_t most, size_t *out, sv_error *err)
{
    int64_t value;
    if (!text) return SV_OK;
    if (!sv_parse_int(text, &value) || value < 1 || value > (int64_t)most) return sv_fail(err, SV_USAGE, "%s %s: a whole number from 1 to %zu was expected", flag, text, most);
    *out = (size_t)value;
    return SV_OK;
}

/* How many pictures are to be drawn (0: none), and how many stand side by side. */
static sv_status overlay_counts(size_t *wanted, size_t *across, sv_error *err)
{
    enum { IN_A_FIGURE = 8, ACROSS_MOST = 16 };
    sv_canvas_form form;
    *wanted = figure_path ? IN_A_FIGURE : 0;
    *across = 0;
    sv_status status = count_read("--overlays", overlays_text, SV_OVERLAYS_MOST, wanted, err);
    if (!status) status = count_read("--across", across_text, ACROSS_MOST, across, err);
    if (!status && figure_path) status = sv_canvas_form_of(&form, figure_path, err);
    if (!status && !*wanted && (heat || across_text)) status = sv_fail(err, SV_USAGE, "%s says how pictures are drawn, but none are; give --overlays N or --figure FILE", heat ? "--heat" : "--across");
    return status;
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

static sv_status write_in_folder(const sv_overlays *overlays, size_t at, const sv_classes *classes, const sv_overlay_figure *figure, const char *name, sv_error *err)
{
    char *path = NULL;
    sv_status status = sv_path_join(&path, overlay_folder, name, err);
    if (!status) status = sv_overlays_write(overlays, at, classes, figure, path, err);
    sv_free(path);
    return status;
}

/* A file for each picture and one of all. */
static sv_status write_folder(const sv_overlays *overlays, const sv_classes *classes, const sv_overlay_figure *figure, sv_error *err)
{
    if (!overlay_folder) overlay_folder = "overlays";
    sv_status status = sv_folder_create(overlay_folder, err);
    for (size_t i = 0; !status && i < overlays->count; i++) {
        sv_text caption = { 0 };
        char name[80], safe[512];
        overlay_name(name, i, overlays->items[i].file);
        sv_overlay_caption(overlays, i, classes, &caption);
        status = sv_text_check(&caption, err);
        if (!status) status = write_in_folder(overlays, i, classes, figure, name, err);
        if (!status) sv_log(SV_INFO, "%s/%s: %s", overlay_folder, name, sv_text_safe(safe, sizeof safe, caption.data));
        sv_text_clear(&caption);
    }
    return status ? status : write_in_folder(overlays, SIZE_MAX, classes, figure, "sheet.png", err);
}

static size_t side_of(const sv_deployed *model) { return model->model->options.image / model->model->options.patch; }

/* The line around the object of each picture. */
static sv_status outline(sv_overlays *overlays, const sv_objects *objects, const sv_transform_options *transform, sv_error *err)
{
    sv_status status = SV_OK;
    for (size_t i = 0; objects && !status && i < overlays->count; i++) {
        sv_overlaid *item = &overlays->items[i];
        status = sv_alloc(&item->object, transform->size * transform->size, "overlay", err);
        if (!status) status = sv_objects_view(objects, item->sample, transform, item->object, err);
    }
    return status;
}

typedef struct drawing { size_t wanted, across; sv_objects *objects; } drawing;

static sv_status write_overlays(const subject *pruned, const sv_data_options *data, const sv_source *source, const drawing *how, sv_error *err)
{
    const sv_overlay_figure figure = { .heat = heat, .across = how->across };
    sv_overlay_choice choice = { .wanted = how->wanted, .before_block = pruned->model.plan.at };
    sv_overlays overlays = { 0 };
    if (how->objects && strcmp(objects_asked, SV_OBJECT_MASKS)) { /* the pictures that have boxes */
        size_t count;
        choice.samples = sv_objects_samples(how->objects, &count);
        if (!overlays_text || count < choice.wanted) choice.wanted = count;
    }
    sv_status status = sv_overlays_make(&overlays, &pruned->batch, source, &data->transform, side_of(&pruned->model), &choice, err);
    if (!status && !overlays.count) status = sv_fail(err, SV_DATA, "%s: none of the pictures for %s can be read", sv_source_name(source), overlays_text ? "--overlays" : "--figure");
    if (!status) status = outline(&overlays, how->objects, &data->transform, err);
    if (!status && overlays_text && (!figure_path || overlay_folder)) status = write_folder(&overlays, sv_source_classes(source), &figure, err);
    if (!status && figure_path) status = sv_overlays_write(&overlays, SIZE_MAX, sv_source_classes(source), &figure, figure_path, err);
    sv_overlays_clear(&overlays);
    return status;
}

/* ---- the two models ---------------------------------------------------------------------------------------------- */

static sv_status check_size(const sv_deployed *model, const char *path, const sv_data_options *data, sv_error *err)
{
    const size_t image = model->model->options.image;
    if (image == data->transform.size) return SV_OK;
    return sv_fail(err, SV_USAGE, "data.image_size = %zu, but %s is a model for pictures of %zu; set data.image_size = %zu", data->transform.size, path, image, image);
}

/* Beside a pruned checkpoint stands, where nothing else is named, the dense model: of model.weights where given, else the checkpoint's own weights
 * without its selectors. Without a checkpoint the dense model of model.weights is the one that is evaluated. */
static sv_status open_models(const sv_config *config, const sv_data_options *data, const sv_source *source, subject *first, subject *second, sv_error *err)
{
    const char *weights = sv_config_text(config, "model.weights"), *arch = sv_config_text(config, "model.arch");
    const size_t classes = (size_t)sv_config_int(config, "model.classes"), known = sv_source_classes(source)->count, wanted = classes ? classes : known;
    sv_status status = SV_OK;
    if (!checkpoint && !weights[0]) return sv_fail(err, SV_USAGE, "there is no model to evaluate: give --checkpoint FILE, or model.weights in the config");
    if (checkpoint) {
        status = sv_deployed_load(&second->model, checkpoint, err);
        if (!status) status = check_size(&second->model, checkpoint, data, err);
    } else {
        status = sv_deployed_from_weights(&second->model, arch, weights, data->transform.size, wanted, err);
        if (!status) second->model.model->options.precision = (sv_precision)sv_config_choice(config, "train.precision");
    }
    if (status) return status;
    second->has = true;
    second->name = second->model.plan.stages ? "pruned" : "dense";
    first->has = beside || second->model.plan.stages;
    if (!first->has) return SV_OK;
    if (beside && strcmp(beside, SV_BESIDE_TEACHER) == 0) status = sv_deployed_open_teacher(&first->model, &second->model, err);
    else if (beside) status = sv_deployed_open(&first->model, beside, arch, data->transform.size, wanted, err);
    else if (weights[0]) status = sv_deployed_from_weights(&first->model, arch, weights, data->transform.size, wanted, err);
    else status = sv_deployed_load(&first->model, checkpoint, err);
    if (status) return status;
    if (!beside) first->model.plan.stages = 0;
    if (!beside && weights[0]) first->model.model->options.precision = (sv_precision)sv_config_choice(config, "train.precision");
    first->name = first->model.plan.stages || !second->model.plan.stages ? "beside" : "dense";
    return beside ? check_size(&first->model, beside, data, err) : SV_OK;
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

/* What only selectors have must not be asked of a dense model. */
static sv_status check_asked(const subject *model, sv_error *err)
{
    const char *asked = overlays_text ? "--overlays shows what selectors keep" : figure_path ? "--figure shows what selectors keep" : objects_asked ? "--object-share is of what selectors keep" : sensitivity_path ? "--sensitivity is of selectors" : NULL;
    if (!asked || model->model.plan.stages) return SV_OK;
    return sv_fail(err, SV_USAGE, "%s, but there are none; give --checkpoint of a pruned model", asked);
}

static sv_status evaluate_all(const sv_program_call *call, const sv_data_options *data, const sv_source *source, subject *subjects, sv_logits_file *logits, sv_error *err)
{
    const size_t batch = (size_t)sv_config_int(call->config, "train.batch");
    const sv_loader_options options = sv_data_loader_options(data, SV_LOAD_EVALUATION, batch, 0);
    sv_loader *loader = NULL;
    sv_status status = sv_loader_create(&loader, source, &options, err);
    for (size_t i = 0; !status && i < 2; i++)
        if (subjects[i].has) status = evaluate(&subjects[i], loader, source, batch, logits_path && i == 1 ? logits : NULL, err);
    if (!status && measure) status = measure_models(subjects, loader, call->config, err);
    sv_loader_destroy(loader);
    return status;
}

static sv_status run_eval(const sv_program_call *call, sv_error *err)
{
    subject subjects[2] = { 0 }, *model = &subjects[1];
    sv_data_options data;
    sv_source *source = NULL;
    sv_logits_file logits = { 0 };
    drawing how = { 0 };
    sv_threads_set((size_t)sv_config_int(call->config, "run.threads"));
    sv_status status = overlay_counts(&how.wanted, &how.across, err);
    if (!status) status = sv_data_options_read(call->config, &data, err);
    if (!status) status = sv_data_open_val(&data, &source, err);
    if (!status) status = open_models(call->config, &data, source, &subjects[0], model, err);
    if (!status) status = check_asked(model, err);
    if (!status && objects_asked) status = sv_objects_open(&how.objects, objects_asked, source, err); /* before the long work */
    for (size_t i = 0; !status && i < 2; i++) status = sv_deployed_set_precision(&subjects[i].model, precision, err);
    if (!status) status = evaluate_all(call, &data, source, subjects, &logits, err);
    if (!status && how.objects) status = sv_object_share_of(&model->object, &model->batch, source, how.objects, &data.transform, side_of(&model->model), err), model->looked = true;
    if (!status) status = tell(subjects, source, call->json, err);
    if (!status && logits_path) status = sv_logits_write(&logits, logits_path, err);
    if (!status && how.wanted) status = write_overlays(model, &data, source, &how, err);
    if (!status && sensitivity_path) status = write_sensitivity(model, &data, source, (size_t)sv_config_int(call->config, "train.batch"), call->config, err);
    sv_logits_clear(&logits);
    sv_objects_close(how.objects);
    sv_source_close(source);
    for (size_t i = 0; i < 2; i++) {
        sv_removal_clear(&subjects[i].batch);
        sv_removal_clear(&subjects[i].one);
        sv_records_clear(&subjects[i].records);
        sv_deployed_clear(&subjects[i].model);
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
