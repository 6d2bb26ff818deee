/* bench: speed, beside the multiply-add peak measured in the same program. A case is a row of `cases` below: a name and a
 * function that prints its rows through report(). Nothing here is a test. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "autograd/op_shape.h"
#include "base/base.h"
#include "base/json.h"
#include "data/speed.h"
#include "kernels/speed.h"
#include "train/speed.h"

typedef struct settings {
    const char *model, *photos;
    sv_precision precision;
    size_t threads, batch, steps, image;
    bool json, profile, recompute;
    double seconds;
} settings;

/* A line of results; images: where they are what counts. */
typedef struct row {
    sv_kernel_time time;
    double images;
} row;

static double peak_now(const settings *s) { return sv_speed_peak(s->threads, sv_parts_of(s->precision)); }

static double peak_mib(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? 0 : (double)usage.ru_maxrss / 1024;
}

static void report_json(const row *r)
{
    sv_text text = { 0 };
    sv_json json = { .text = &text };
    sv_error error;
    sv_json_open(&json, NULL);
    sv_json_text(&json, "case", r->time.name);
    sv_json_real(&json, "ms_median", r->time.median_seconds * 1e3);
    sv_json_real(&json, "ms_min", r->time.least_seconds * 1e3);
    if (r->time.flops > 0) sv_json_real(&json, "gflops", r->time.flops / r->time.median_seconds * 1e-9);
    if (r->time.flops > 0) sv_json_real(&json, "share_of_peak", r->time.share);
    if (r->time.numbers > 0) sv_json_real(&json, "ns_a_number", r->time.median_seconds * 1e9 / r->time.numbers);
    if (r->images > 0) sv_json_real(&json, "images_per_s", r->images / r->time.median_seconds);
    sv_json_real(&json, "peak_mib", peak_mib());
    sv_json_close(&json);
    if (sv_text_check(&text, &error) == SV_OK) printf("%s\n", text.data);
    sv_text_clear(&text);
}

static void report(const settings *s, const row *r)
{
    if (s->json) {
        report_json(r);
        return;
    }
    printf("%-44s %10.4f %10.4f", r->time.name, r->time.median_seconds * 1e3, r->time.least_seconds * 1e3);
    if (r->time.flops > 0) printf(" %9.1f GFLOP/s %6.1f %%", r->time.flops / r->time.median_seconds * 1e-9, r->time.share * 100);
    if (r->time.numbers > 0) printf(" %9.3f ns a number", r->time.median_seconds * 1e9 / r->time.numbers);
    if (r->images > 0) printf(" %9.1f images/s", r->images / r->time.median_seconds);
    printf("\n");
    fflush(stdout);
}

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

static void tell(void *context, const sv_kernel_time *time) { report(context, &(row){ .time = *time }); }

static sv_status run_timed(const settings *s, sv_status (*run)(const sv_kernel_speed *, sv_error *), sv_error *err)
{
    settings own = *s;
    const sv_kernel_speed speed = { .threads = s->threads, .parts = sv_parts_of(s->precision), .seconds = s->seconds, .tell = tell, .context = &own };
    return run(&speed, err);
}

static sv_status run_gemm(const settings *s, sv_error *err) { return run_timed(s, sv_speed_products, err); }
static sv_status run_kernels(const settings *s, sv_error *err) { return run_timed(s, sv_speed_kernels, err); }

/* ---- pictures ---------------------------------------------------------------------------------------------------- */

static sv_status run_pictures(const settings *s, sv_error *err)
{
    sv_transform_options options = sv_transform_defaults();
    sv_source *source = NULL;
    sv_status status = s->photos ? sv_source_open_folder(&source, s->photos, NULL, err) : SV_OK;
    if (!status) status = sv_rand_augment_read(&options.augment, "rand-m9-mstd0.5-inc1", err);
    options.erase = 0.25;
    for (int way = 0; !status && way < 2; way++) {
        const sv_picture_speed_request request = { .source = source, .options = &options, .training = way == 1, .passes = s->steps ? s->steps : 5 };
        sv_picture_speed speed;
        row result = { 0 };
        status = sv_picture_speed_measure(&request, &speed, err);
        if (status) break;
        result.images = (double)speed.pictures;
        result.time.median_seconds = speed.median_seconds, result.time.least_seconds = speed.least_seconds;
        snprintf(result.time.name, sizeof result.time.name, "%s, %zu pictures", way ? "training: decode to erasing" : "evaluation: decode, crop", speed.pictures);
        report(s, &result);
    }
    sv_source_close(source);
    return status;
}

/* ---- the cases and the command line ------------------------------------------------------------------------------ */

typedef struct bench_case {
    const char *name, *help;
    sv_status (*run)(const settings *s, sv_error *err);
} bench_case;
/* ---- whole steps ------------------------------------------------------------------------------------------------- */

static sv_status run_model(const settings *s, sv_speed_kind kind, const char *name, sv_error *err)
{
    const size_t runs = s->steps ? s->steps : kind == SV_SPEED_DENSE_TRAIN || kind == SV_SPEED_SPVIT_TRAIN ? 5 : s->batch > 4 ? 10 : 50;
    sv_speed speed;
    sv_text profile = { 0 };
    const sv_speed_request request = { .kind = kind, .backbone = s->model, .image = s->image, .precision = s->precision, .recompute = s->recompute, .batch = s->batch, .runs = runs, .profile = s->profile ? &profile : NULL };
    row r = { .images = (double)s->batch };
    const double before = peak_now(s);
    sv_status status = sv_speed_measure(&request, &speed, err);
    if (!status && s->profile) status = sv_text_check(&profile, err);
    if (!status && s->profile) fprintf(stderr, "%s\n", profile.data);
    sv_text_clear(&profile);
    if (status) return status;
    const double after = peak_now(s);
    snprintf(r.time.name, sizeof r.time.name, "%s %s batch %zu", name, s->model, s->batch);
    r.time.median_seconds = speed.median_seconds, r.time.least_seconds = speed.least_seconds;
    r.time.flops = 2 * speed.macs;
    r.time.share = r.time.flops / speed.median_seconds * 1e-9 / (before > after ? before : after);
    report(s, &r);
    return SV_OK;
}

static sv_status run_dense_train(const settings *s, sv_error *err) { return run_model(s, SV_SPEED_DENSE_TRAIN, "dense-train", err); }
static sv_status run_spvit_train(const settings *s, sv_error *err) { return run_model(s, SV_SPEED_SPVIT_TRAIN, "spvit-train", err); }
static sv_status run_infer(const settings *s, sv_error *err) { return run_model(s, SV_SPEED_INFER, "infer", err); }
static sv_status run_infer_pruned(const settings *s, sv_error *err) { return run_model(s, SV_SPEED_INFER_PRUNED, "infer-pruned", err); }

static const bench_case cases[] = {
    { "gemm", "matrix products of DeiT-T: forward shapes, epilogues, weight gradients", run_gemm },
    { "kernels", "attention, norms, activations, optimizer on one image a thread", run_kernels },
    { "augment", "pictures decoded and transformed: a made-up photo, or --photos", run_pictures },
    { "dense-train", "a training step of the dense model", run_dense_train },
    { "spvit-train", "a SPViT step: student, teacher, selectors, losses, AdamW", run_spvit_train },
    { "infer", "the dense model forward", run_infer },
    { "infer-pruned", "the pruned model forward, keep .7/.49/.343", run_infer_pruned },
};

static void help(void)
{
    printf("bench [--case NAME] [--threads N] [--seconds S] [--json]\n"
           "Speed beside the multiply-add peak of this machine, measured in between.\n\n"
           "  --case NAME    one case alone (default: all)\n"
           "  --threads N    compute threads (default: all cores)\n"
           "  --seconds S    time spent on each row (default 0.3)\n"
           "  --model NAME   backbone of the whole steps (default deit_t)\n"
           "  --batch N      their pictures a step (default 32)\n"
           "  --image N      pixels a side of theirs (default: the backbone's, 224)\n"
           "  --steps N      their timed runs\n"
           "  --precision P  of products: fp32 (default), bf16, bf16x3; shares of bf16 are of its peak, others of f32's\n"
           "  --photos DIR   pictures for `augment`: DIR/CLASS/PICTURE, held in memory\n"
           "  --profile      where the time of whole steps goes, by op, on standard error\n"
           "  --recompute    training steps keep only what goes from block to block\n"
           "  --json         one JSON object a row\n  --version      prints the version\n\nCases\n");
    for (size_t i = 0; i < SV_COUNT(cases); i++) printf("  %-14s %s\n", cases[i].name, cases[i].help);
}

static sv_status header(const settings *s, sv_error *err)
{
    char machine[256];
    sv_machine_name(machine, sizeof machine);
    if (!s->json) {
        printf("# %s | %s | threads %zu | %s | %s | load %.2f | peak %.1f GFLOP/s\n", machine, sv_isa_name(sv_isa_now()), s->threads,
               __VERSION__, sv_precision_name(s->precision), sv_machine_load(), peak_now(s));
        printf("%-44s %10s %10s\n", "# case", "ms median", "ms least");
        return SV_OK;
    }
    sv_text text = { 0 };
    sv_json json = { .text = &text };
    sv_json_open(&json, NULL);
    sv_json_text(&json, "machine", machine);
    sv_json_text(&json, "isa", sv_isa_name(sv_isa_now()));
    sv_json_int(&json, "threads", (int64_t)s->threads);
    sv_json_text(&json, "compiler", __VERSION__);
    sv_json_text(&json, "precision", sv_precision_name(s->precision));
    sv_json_real(&json, "load", sv_machine_load());
    sv_json_real(&json, "peak_gflops", peak_now(s));
    sv_json_close(&json);
    const sv_status status = sv_text_check(&text, err);
    if (!status) printf("%s\n", text.data);
    sv_text_clear(&text);
    return status;
}

/* Reads the command line; *done where nothing is left to do. */
static sv_status read_settings(int count, char **words, settings *s, const bench_case **only, bool *done, sv_error *err)
{
    for (int i = 1; i < count; i++) {
        const char *word = words[i], *value = i + 1 < count ? words[i + 1] : NULL;
        int64_t whole = 0;
        if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
            help();
            *done = true;
            return SV_OK;
        }
        if (!strcmp(word, "--version")) {
            printf("bench %s\n", SV_VERSION);
            *done = true;
            return SV_OK;
        }
        bool *flag = !strcmp(word, "--json") ? &s->json : !strcmp(word, "--profile") ? &s->profile : !strcmp(word, "--recompute") ? &s->recompute : NULL;
        if (flag) {
            *flag = true;
            continue;
        }
        if (strcmp(word, "--case") && strcmp(word, "--threads") && strcmp(word, "--seconds") && strcmp(word, "--model") && strcmp(word, "--batch") && strcmp(word, "--steps") && strcmp(word, "--image") && strcmp(word, "--photos") &&
            strcmp(word, "--precision"))
            return sv_fail(err, SV_USAGE, "bench: unknown option '%s'; see bench --help", word);
        if (!value) return sv_fail(err, SV_USAGE, "bench: %s needs a value; see bench --help", word);
        i++;
        if (!strcmp(word, "--case")) {
            *only = SV_KIND_FIND(cases, value);
            if (!*only) return sv_fail(err, SV_USAGE, "bench: no case '%s'; see bench --help", value);
        } else if (!strcmp(word, "--model")) {
            s->model = value;
        } else if (!strcmp(word, "--photos")) {
            s->photos = value;
        } else if (!strcmp(word, "--precision")) {
            if (!sv_precision_find(&s->precision, value)) return sv_fail(err, SV_USAGE, "bench: --precision is '%s', expected fp32, bf16 or bf16x3", value);
        } else if (!strcmp(word, "--batch") || !strcmp(word, "--steps") || !strcmp(word, "--image")) {
            if (!sv_parse_int(value, &whole) || whole < 1 || whole > 65536) return sv_fail(err, SV_USAGE, "bench: %s is '%s', expected 1 to 65536", word, value);
            *(word[2] == 'b' ? &s->batch : word[2] == 's' ? &s->steps : &s->image) = (size_t)whole;
        } else if (!strcmp(word, "--threads")) {
            if (!sv_parse_int(value, &whole) || whole < 1 || whole > SV_SPEED_THREADS_MOST)
                return sv_fail(err, SV_USAGE, "bench: --threads is '%s', expected 1 to %d", value, SV_SPEED_THREADS_MOST);
            s->threads = (size_t)whole;
        } else if (!sv_parse_real(value, &s->seconds) || s->seconds < 0.001 || s->seconds > 60)
            return sv_fail(err, SV_USAGE, "bench: --seconds is '%s', expected 0.001 to 60", value);
    }
    return SV_OK;
}

int main(int count, char **words)
{
    settings s = { .seconds = 0.3, .model = "deit_t", .batch = 32 };
    const bench_case *only = NULL;
    bool done = false;
    sv_error error = { 0 };
    sv_status status = sv_isa_check(&error);
    if (!status) status = read_settings(count, words, &s, &only, &done, &error);
    if (status || done) goto end;
    sv_kernels_init();
    sv_threads_set(s.threads);
    s.threads = sv_threads() > SV_SPEED_THREADS_MOST ? SV_SPEED_THREADS_MOST : sv_threads();
    status = header(&s, &error);
    for (size_t i = 0; i < SV_COUNT(cases) && !status; i++)
        if (!only || only == &cases[i]) status = cases[i].run(&s, &error);
end:
    if (status) fprintf(stderr, "%s\n", error.text);
    return (int)status;
}
