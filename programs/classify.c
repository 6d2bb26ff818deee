/* classify: what is in a picture, how long it takes, and which tokens were looked at. The first user of the inference library. */
#include "base/json.h"
#include "base/program.h"
#include "data/data.h"
#include "formats/pictures.h"
#include "infer/sieve_infer.h"
#include "pruning/grid.h"
#include "report/figure.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: classify MODEL PICTURE... [options]\n"
    "\n"
    "The five likeliest classes of each picture, the time of one run, and how many tokens each selector kept.\n"
    "MODEL is a checkpoint or export of Sieve, or other weights (.pth, .safetensors) with --arch.\n"
    "\n"
    "Examples\n"
    "  classify runs/deit_t_mobile/model.safetensors cat.jpg\n"
    "  classify model.safetensors cat.jpg --overlay cat-tokens.png      what survives each stage, dropped patches faded\n"
    "  classify deit_tiny_patch16_224.pth *.jpg --arch deit_t --classes imagenet_classes.txt\n"
    "\n"
    "Options\n"
    "  --arch NAME       backbone of a weight file that is not Sieve's: deit_t, deit_s, deit_b, ...\n"
    "  --classes FILE    names of the classes, `folder<TAB>name` a line; default: those in the model\n"
    "  --precision P     of products: fp32, bf16 or bf16x3; default: as the model was trained\n"
    "  --overlay FILE    the picture and what each selector keeps (one picture): .png, .jpg or .svg\n"
    "  --heat            in the overlay also the scores of each selector, as colours\n"
    "  --json            one JSON object a picture: file, top5 (index, name, probability), ms, tokens_kept\n"
    "  --details         with --json: also all logits, and for each selector the numbers of the patches it keeps\n"
    "  --threads N, --quiet, --verbose, --help, --version\n"
    "\n"
    "Exit codes: 0 done, 1 fault, 2 usage, 3 a picture cannot be read (the others are done), 4 model file\n";

static const char *arch, *classes_path, *overlay_path, *precision;
static bool details, heat;
static const sv_flag flags[] = { { "--arch", NULL, &arch }, { "--classes", NULL, &classes_path }, { "--overlay", NULL, &overlay_path }, { "--precision", NULL, &precision }, { "--details", &details, NULL },
                                 { "--heat", &heat, NULL } };

enum { TOP = 5, RUNS = 5 };
typedef struct answer { sieve_answer top[TOP]; size_t count; double ms; double kept[SIEVE_MOST_STAGES]; } answer;
typedef struct looker { sieve_model *model; sieve_session *session; sieve_about about; sv_classes classes; bool has_classes, json; } looker;

/* Codes of the inference library are exit codes, and its errors sentences of ours. */
static sv_status told(sieve_code code, const sieve_error *error, sv_error *err) { return code ? sv_fail(err, (sv_status)code, "%s", error->text) : SV_OK; }

static const char *class_name(const looker *l, size_t index, char room[128])
{
    const char *name = sieve_class_name(l->model, index);
    if (l->has_classes) return index < l->classes.count ? l->classes.names[index] : "?";
    if (name) snprintf(room, 128, "%.*s", 127, name);
    else snprintf(room, 128, "class %zu", index);
    return room;
}

/* The time is the model's alone: the numbers of the picture are run again. */
static sv_status look(looker *l, const sieve_rgb *picture, answer *out, sv_error *err)
{
    sieve_error error;
    double least = HUGE_VAL;
    sieve_code code = sieve_run_rgb(l->session, picture, 1, &error);
    for (size_t i = 0; !code && i < RUNS; i++) {
        double begin = sv_now_seconds();
        code = sieve_run_floats(l->session, sieve_seen(l->session, 0), 1, &error);
        least = fmin(least, sv_now_seconds() - begin);
    }
    if (code) return told(code, &error, err);
    out->ms = 1e3 * least;
    out->count = sieve_top(l->session, 0, out->top, TOP);
    for (size_t t = 0; t < l->about.stages; t++) out->kept[t] = (double)sieve_kept(l->session, 0, t, NULL);
    return SV_OK;
}

static void print_answer(const looker *l, const char *file, const answer *a)
{
    char name[128], safe[256];
    printf("%s: %.2f ms", sv_text_safe(safe, sizeof safe, file), a->ms);
    for (size_t t = 0; t < l->about.stages; t++) printf("%s%.0f", t ? ", " : ", keeps ", a->kept[t]);
    if (l->about.stages) printf(" of %zu patches", l->about.patches);
    printf("\n");
    for (size_t i = 0; i < a->count; i++) printf("  %5.1f %%  %s\n", 100 * a->top[i].probability, class_name(l, a->top[i].class_index, name));
}

/* Logits and patches of the last run. */
static void print_details(sv_json *json, const looker *l)
{
    const float *logits = sieve_logits(l->session, 0);
    sv_json_open_array(json, "logits");
    for (size_t k = 0; k < l->about.classes; k++) sv_json_real(json, NULL, (double)logits[k]);
    sv_json_close_array(json);
    sv_json_open_array(json, "patches_kept");
    for (size_t t = 0; t < l->about.stages; t++) {
        const uint32_t *patches;
        const size_t count = sieve_kept(l->session, 0, t, &patches);
        sv_json_open_array(json, NULL);
        for (size_t i = 0; i < count; i++) sv_json_int(json, NULL, (int64_t)patches[i]);
        sv_json_close_array(json);
    }
    sv_json_close_array(json);
}

static void print_json(const looker *l, const char *file, const answer *a)
{
    sv_text text = { 0 };
    sv_json json = { .text = &text };
    char name[128];
    sv_json_open(&json, NULL);
    sv_json_text(&json, "file", file);
    sv_json_open_array(&json, "top5");
    for (size_t i = 0; i < a->count; i++) {
        sv_json_open(&json, NULL);
        sv_json_int(&json, "index", (int64_t)a->top[i].class_index);
        sv_json_text(&json, "name", class_name(l, a->top[i].class_index, name));
        sv_json_real(&json, "probability", a->top[i].probability);
        sv_json_close(&json);
    }
    sv_json_close_array(&json);
    sv_json_real(&json, "ms", a->ms);
    sv_json_reals(&json, "tokens_kept", a->kept, l->about.stages);
    if (details) print_details(&json, l);
    sv_json_close(&json);
    puts(text.data ? text.data : "");
    sv_text_clear(&text);
}

/* The picture as the model sees it, from its numbers. */
static sv_status seen_picture(const looker *l, sv_picture *out, sv_error *err)
{
    size_t side = l->about.image, plane = side * side;
    const float *chw = sieve_seen(l->session, 0);
    sv_status status = sv_picture_resize(out, side, side, err);
    for (size_t i = 0; !status && i < plane; i++)
        for (size_t c = 0; c < 3; c++) {
            double v = 255 * ((double)chw[c * plane + i] * (double)l->about.deviation[c] + (double)l->about.mean[c]);
            out->rgb[3 * i + c] = (uint8_t)fmin(fmax(v + 0.5, 0), 255);
        }
    return status;
}

static sv_status draw_overlay(const looker *l, const answer *a, const char *path, sv_error *err)
{
    const size_t side = l->about.stages ? sv_grid_common(l->about.stage_patches, l->about.stages, l->about.image) : 1, cells = side * side;
    sv_picture seen = { 0 };
    sv_canvas canvas = { 0 };
    sv_canvas_form form;
    uint8_t *kept = NULL;
    float *score = NULL;
    char name[128], note[32];
    sv_figure_stage stages[SIEVE_MOST_STAGES];
    sv_status status = sv_canvas_form_of(&form, path, err);
    if (!status) status = seen_picture(l, &seen, err);
    if (!status) status = sv_alloc_zero(&kept, cells * SIEVE_MOST_STAGES, "overlay", err);
    if (!status) status = sv_alloc_zero(&score, cells * SIEVE_MOST_STAGES * sizeof *score, "overlay", err);
    for (size_t t = 0; !status && t < l->about.stages; t++) {
        const uint32_t *patches;
        sv_figure_stage *stage = &stages[t];
        *stage = (sv_figure_stage){ .kept = kept + t * cells, .score = score + t * cells, .kept_count = sieve_kept(l->session, 0, t, &patches), .patches = l->about.stage_patches[t] };
        memcpy(score + t * cells, sieve_scores(l->session, 0, t, &stage->packaged), stage->patches * sizeof *score);
        for (size_t i = 0; i < stage->kept_count; i++) kept[t * cells + patches[i]] = 1;
        sv_grid_spread(kept + t * cells, sizeof *kept, stage->patches, cells);
        sv_grid_spread(score + t * cells, sizeof *score, stage->patches, cells);
    }
    snprintf(note, sizeof note, "%.1f %%", 100 * a->top[0].probability);
    const sv_figure_row row = { .rgb = seen.rgb, .name = class_name(l, a->top[0].class_index, name), .note = note, .stages = stages };
    const sv_figure figure = { .width = l->about.image, .height = l->about.image, .grid_columns = side, .grid_rows = side, .stages = l->about.stages,
                               .before_block = l->about.stage_before_block, .rows = &row, .row_count = 1, .heat = heat };
    if (!status) status = sv_figure_draw(&canvas, form, &figure, err);
    if (!status) status = sv_canvas_write(&canvas, path, err);
    sv_canvas_clear(&canvas);
    sv_free(score);
    sv_free(kept);
    sv_picture_clear(&seen);
    return status;
}

static void say(void *context, int level, const char *line)
{
    (void)context;
    sv_log((sv_level)level, "%s", line);
}

static sv_status open_looker(looker *l, const char *path, sv_error *err)
{
    sieve_error error;
    sv_status status = classes_path ? sv_classes_read(&l->classes, classes_path, err) : SV_OK;
    l->has_classes = classes_path != NULL;
    if (status) return status;
    sieve_load_options load = { .arch = arch, .classes = l->classes.count, .precision = precision, .say = say };
    sieve_code code = sieve_model_load(&l->model, path, &load, &error);
    if (!code) code = sieve_session_create(&l->session, l->model, &(sieve_session_options){ .batch = 1, .threads = sv_threads() }, &error);
    if (!code) l->about = sieve_model_about(l->model);
    return told(code, &error, err);
}

/* Every picture is answered; the first one that cannot be read is the program's failure. */
static sv_status look_at(looker *l, const char *path, sv_status *last, sv_error *err)
{
    sieve_rgb picture = { 0 };
    sieve_error error;
    answer a = { 0 };
    sieve_code code = sieve_picture_read(&picture, path, &error);
    if (code) {
        if (*last) sv_log(SV_WARNING, "%s", error.text);
        else *last = told(code, &error, err);
        return SV_OK;
    }
    sv_status status = look(l, &picture, &a, err);
    if (!status && l->json) print_json(l, path, &a);
    else if (!status) print_answer(l, path, &a);
    if (!status && overlay_path) status = draw_overlay(l, &a, overlay_path, err);
    sieve_picture_free(&picture);
    return status;
}

static sv_status run(const sv_program_call *call, sv_error *err)
{
    looker l = { .json = call->json };
    sv_status last = SV_OK;
    if (call->word_count < 2) return sv_fail(err, SV_USAGE, "expected a model and at least one picture; see `classify --help`");
    if (heat && !overlay_path) return sv_fail(err, SV_USAGE, "--heat is of the overlay; give --overlay FILE");
    if (overlay_path && call->word_count > 2) return sv_fail(err, SV_USAGE, "--overlay is for one picture, but %zu are given", call->word_count - 1);
    sv_status status = open_looker(&l, call->words[0], err);
    for (size_t i = 1; !status && i < call->word_count; i++) status = look_at(&l, call->words[i], &last, err);
    sieve_session_free(l.session);
    sieve_model_free(l.model);
    sv_classes_clear(&l.classes);
    return status ? status : last;
}

int main(int argc, char **argv)
{
    sv_program program = { .name = "classify", .usage = usage, .flags = flags, .flag_count = SV_COUNT(flags), .needs_arguments = true, .run = run };
    return sv_program_main(&program, argc, argv);
}
