/* classify: what is in a picture, how long it takes, and which tokens were looked at. */
#include "base/json.h"
#include "base/program.h"
#include "data/data.h"
#include "eval/eval.h"
#include "eval/overlays.h"
#include "kernels/kernels.h"

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
    "  --overlay FILE    a PNG of the picture and of what each selector keeps (one picture)\n"
    "  --json            one JSON object a picture: file, top5 (index, name, probability), ms, tokens_kept\n"
    "  --threads N, --quiet, --verbose, --help, --version\n"
    "\n"
    "Exit codes: 0 done, 1 fault, 2 usage, 3 a picture cannot be read (the others are done), 4 model file\n";

static const char *arch, *classes_path, *overlay_path, *precision;
static const sv_flag flags[] = { { "--arch", NULL, &arch }, { "--classes", NULL, &classes_path }, { "--overlay", NULL, &overlay_path }, { "--precision", NULL, &precision } };

enum { TOP = 5, RUNS = 5 };
typedef struct answer { size_t index[TOP]; double probability[TOP]; size_t count; double ms; double kept[SV_MOST_STAGES]; } answer;
typedef struct session { sv_deployed model; sv_removal_tape tape; sv_classes classes; bool has_classes; sv_transform *transform; sv_transform_options options; bool json; } session;

static const char *class_name(const session *s, size_t index, char room[128])
{
    const char *at = s->model.classes;
    if (s->has_classes) return index < s->classes.count ? s->classes.names[index] : "?";
    for (size_t i = 0; at && *at; i++) {
        size_t length = strcspn(at, "\n");
        if (i == index) {
            snprintf(room, 128, "%.*s", (int)(length < 127 ? length : 127), at);
            return room;
        }
        at += length + (at[length] == '\n');
    }
    snprintf(room, 128, "class %zu", index);
    return room;
}

static void take_top(const sv_real *logits, size_t classes, answer *out)
{
    double sum = 0, top = -HUGE_VAL;
    for (size_t k = 0; k < classes; k++) top = fmax(top, (double)logits[k]);
    for (size_t k = 0; k < classes; k++) sum += exp((double)logits[k] - top);
    out->count = classes < TOP ? classes : TOP;
    for (size_t i = 0; i < out->count; i++) {
        size_t best = SIZE_MAX;
        for (size_t k = 0; k < classes; k++) {
            bool used = false;
            for (size_t j = 0; j < i; j++) used = used || out->index[j] == k;
            if (!used && (best == SIZE_MAX || logits[k] > logits[best])) best = k;
        }
        out->index[i] = best;
        out->probability[i] = exp((double)logits[best] - top) / sum;
    }
}

static sv_status look(session *s, const sv_picture *picture, answer *out, sv_error *err)
{
    sv_step step = { .images = 1 };
    double least = HUGE_VAL;
    sv_status status = sv_transform_evaluation(s->transform, picture, sv_tape_data(s->tape.tape, s->tape.picture, 0), err);
    for (size_t i = 0; !status && i < RUNS; i++) {
        double begin = sv_now_seconds();
        status = sv_tape_forward(s->tape.tape, &step, err);
        least = fmin(least, sv_now_seconds() - begin);
    }
    if (status) return status;
    out->ms = 1e3 * least;
    take_top(sv_tape_data(s->tape.tape, s->tape.logits, 0), sv_tensor_width(s->tape.logits), out);
    for (size_t t = 0; t < s->tape.stages; t++) out->kept[t] = (double)sv_removal_kept(&s->tape, t, 0);
    return SV_OK;
}

static void print_answer(const session *s, const char *file, const answer *a)
{
    char name[128], safe[256];
    printf("%s: %.2f ms", sv_text_safe(safe, sizeof safe, file), a->ms);
    for (size_t t = 0; t < s->tape.stages; t++) printf("%s%.0f", t ? ", " : ", keeps ", a->kept[t]);
    if (s->tape.stages) printf(" of %zu patches", sv_model_patches(s->model.model));
    printf("\n");
    for (size_t i = 0; i < a->count; i++) printf("  %5.1f %%  %s\n", 100 * a->probability[i], class_name(s, a->index[i], name));
}

static void print_json(const session *s, const char *file, const answer *a)
{
    sv_text text = { 0 };
    sv_json json = { .text = &text };
    char name[128];
    sv_json_open(&json, NULL);
    sv_json_text(&json, "file", file);
    sv_json_open_array(&json, "top5");
    for (size_t i = 0; i < a->count; i++) {
        sv_json_open(&json, NULL);
        sv_json_int(&json, "index", (int64_t)a->index[i]);
        sv_json_text(&json, "name", class_name(s, a->index[i], name));
        sv_json_real(&json, "probability", a->probability[i]);
        sv_json_close(&json);
    }
    sv_json_close_array(&json);
    sv_json_real(&json, "ms", a->ms);
    sv_json_reals(&json, "tokens_kept", a->kept, s->tape.stages);
    sv_json_close(&json);
    puts(text.data ? text.data : "");
    sv_text_clear(&text);
}

static sv_status draw_overlay(const session *s, const char *path, sv_error *err)
{
    sv_picture drawn = { 0 };
    sv_status status = sv_overlay_of_run(&s->tape, 0, sv_tape_data(s->tape.tape, s->tape.picture, 0), &s->options, s->model.model->options.image / s->model.model->options.patch, &drawn, err);
    if (!status) status = sv_png_write(path, &drawn, err);
    sv_picture_clear(&drawn);
    return status;
}

static sv_status open_session(session *s, const char *path, sv_error *err)
{
    sv_status status = classes_path ? sv_classes_read(&s->classes, classes_path, err) : SV_OK;
    s->has_classes = classes_path != NULL;
    if (!status) status = arch ? sv_deployed_from_weights(&s->model, arch, path, 0, s->has_classes ? s->classes.count : 0, err) : sv_deployed_load(&s->model, path, err);
    if (!status) status = sv_deployed_set_precision(&s->model, precision, err);
    if (status) return status;
    s->options = sv_transform_defaults();
    s->options.size = s->model.model->options.image;
    status = sv_removal_record(&s->tape, s->model.pruning, &s->model.plan, 1, err);
    return status ? status : sv_transform_create(&s->transform, &s->options, err);
}

static sv_status run(const sv_program_call *call, sv_error *err)
{
    session s = { .json = call->json };
    sv_picture picture = { 0 };
    sv_status last = SV_OK;
    if (call->word_count < 2) return sv_fail(err, SV_USAGE, "expected a model and at least one picture; see `classify --help`");
    if (overlay_path && call->word_count > 2) return sv_fail(err, SV_USAGE, "--overlay is for one picture, but %zu are given", call->word_count - 1);
    sv_kernels_init();
    sv_status status = open_session(&s, call->words[0], err);
    for (size_t i = 1; !status && i < call->word_count; i++) {
        answer a = { 0 };
        sv_error bad = { 0 };
        if (sv_picture_read(&picture, call->words[i], &bad)) { /* the others are still answered; the first failure is the program's */
            if (last) sv_log(SV_WARNING, "%s", bad.text);
            else *err = bad;
            last = bad.code;
            continue;
        }
        status = look(&s, &picture, &a, err);
        if (status) break;
        if (s.json) print_json(&s, call->words[i], &a);
        else print_answer(&s, call->words[i], &a);
        if (overlay_path) status = draw_overlay(&s, overlay_path, err);
    }
    sv_picture_clear(&picture);
    sv_transform_destroy(s.transform);
    sv_removal_clear(&s.tape);
    sv_deployed_clear(&s.model);
    sv_classes_clear(&s.classes);
    return status ? status : last;
}

int main(int argc, char **argv)
{
    sv_program program = { .name = "classify", .usage = usage, .flags = flags, .flag_count = SV_COUNT(flags), .needs_arguments = true, .run = run };
    return sv_program_main(&program, argc, argv);
}
