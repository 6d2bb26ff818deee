/* bench: speed, beside the multiply-add peak measured in the same program. A case is a row of `cases` below: a name and a
 * function that prints its rows through report(). Times are taken in short batches, alternating with the peak, because clocks
 * change with the load of the multipliers; shares are of the peak beside them. Nothing here is a test. */
#include <stdio.h>
#include <stdlib.h>
#include <math.h>
#include <string.h>
#include <sys/resource.h>

#include "autograd/op_shape.h"
#include "base/base.h"
#include "base/json.h"
#include "data/speed.h"
#include "kernels/kernels.h"
#include "train/speed.h"

typedef struct settings {
    const char *model, *photos;
    sv_precision precision;
    size_t threads, batch, steps, image;
    bool json, profile, recompute;
    double seconds;
} settings;

/* One line of results. work counts what `rate` is measured in: multiply-adds twice (flops), or numbers. */
typedef struct timing {
    double median, least;
} timing;
typedef struct row {
    char name[96];
    timing time;
    double flops, share, numbers, images;
} row;

/* ---- measuring --------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double median_of(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

typedef struct peaks {
    double of[64];
    sv_precision precision;
} peaks;
static void peak_of_thread(void *context, size_t item, size_t thread)
{
    peaks *p = context;
    (void)thread;
    p->of[item % 64] = (p->precision == SV_PRECISION_BF16 ? sv_peak_bf16_gflops : sv_peak_gflops)(0.003);
}

/* GFLOP/s of all threads together, now. */
static double peak_now(const settings *s)
{
    peaks p = { .precision = s->precision };
    double sum = 0;
    sv_for_items(s->threads, peak_of_thread, &p);
    for (size_t i = 0; i < s->threads && i < 64; i++) sum += p.of[i];
    return sum;
}

/* One thread's share of a case, done `calls` times. */
typedef void part_of_thread(void *context, size_t thread);
typedef struct loop {
    part_of_thread *part;
    void *context;
    size_t calls;
} loop;
static void loop_of_thread(void *context, size_t item, size_t thread)
{
    (void)thread;
    const loop *l = context;
    for (size_t c = 0; c < l->calls; c++) l->part(l->context, item);
}
static double time_of(const settings *s, loop l)
{
    const double begin = sv_now_seconds();
    sv_for_items(s->threads, loop_of_thread, &l);
    return (sv_now_seconds() - begin) / (double)l.calls;
}

enum { BATCHES = 25 };

/* Calls the part on every thread until `seconds` are spent, in BATCHES batches. With flops, the peak is taken before each batch;
 * the share is the median over those in which neither was disturbed by others on the machine (a third slower than the best). */
static timing measure(part_of_thread *part, void *context, const settings *s, double flops, double *share)
{
    double times[BATCHES], peaks_of[BATCHES], shares[BATCHES], best = 0;
    const double once = time_of(s, (loop){ part, context, 3 }), wanted = s->seconds / BATCHES / (once > 1e-9 ? once : 1e-9);
    const loop batch = { part, context, wanted < 1 ? 1 : (size_t)wanted };
    for (size_t b = 0; b < BATCHES; b++) {
        peaks_of[b] = flops > 0 ? peak_now(s) : 0;
        times[b] = time_of(s, batch);
        best = peaks_of[b] > best ? peaks_of[b] : best;
    }
    double sorted[BATCHES];
    memcpy(sorted, times, sizeof sorted);
    const timing result = { median_of(sorted, BATCHES), sorted[0] };
    size_t fair = 0;
    for (size_t b = 0; b < BATCHES; b++)
        if (best > 0 && times[b] < result.least * 4 / 3 && peaks_of[b] > best * 3 / 4)
            shares[fair++] = flops / times[b] * 1e-9 / peaks_of[b];
    *share = fair ? median_of(shares, fair) : 0;
    return result;
}

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
    sv_json_text(&json, "case", r->name);
    sv_json_real(&json, "ms_median", r->time.median * 1e3);
    sv_json_real(&json, "ms_min", r->time.least * 1e3);
    if (r->flops > 0) sv_json_real(&json, "gflops", r->flops / r->time.median * 1e-9);
    if (r->flops > 0) sv_json_real(&json, "share_of_peak", r->share);
    if (r->numbers > 0) sv_json_real(&json, "ns_a_number", r->time.median * 1e9 / r->numbers);
    if (r->images > 0) sv_json_real(&json, "images_per_s", r->images / r->time.median);
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
    printf("%-44s %10.4f %10.4f", r->name, r->time.median * 1e3, r->time.least * 1e3);
    if (r->flops > 0) printf(" %9.1f GFLOP/s %6.1f %%", r->flops / r->time.median * 1e-9, r->share * 100);
    if (r->numbers > 0) printf(" %9.3f ns a number", r->time.median * 1e9 / r->numbers);
    if (r->images > 0) printf(" %9.1f images/s", r->images / r->time.median);
    printf("\n");
    fflush(stdout);
}

/* ---- the room all kernels work in -------------------------------------------------------------------------------- */

enum { ROWS_MOST = 6304, WIDTH_MOST = 768, THREADS_MOST = 64 };
typedef struct room {
    sv_real *x, *y, *z, *w, *sums[THREADS_MOST];
    void *panels, *scratch[THREADS_MOST];
    sv_precision precision;
} room;

static void room_clear(room *r)
{
    sv_free(r->x);
    sv_free(r->y);
    sv_free(r->z);
    sv_free(r->w);
    sv_free(r->panels);
    for (size_t t = 0; t < THREADS_MOST; t++) {
        sv_free(r->sums[t]);
        sv_free(r->scratch[t]);
    }
    *r = (room){ 0 };
}

static void fill(sv_real *x, size_t count, uint32_t position)
{
    sv_random random = sv_random_at(1, SV_FOR_TEST, 0, 0, position);
    for (size_t i = 0; i < count; i++) x[i] = (sv_real)(sv_random_uniform(&random) - 0.5);
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static sv_status room_make(room *r, const settings *s, sv_error *err)
{
    const size_t rows = (size_t)ROWS_MOST * WIDTH_MOST * sizeof(sv_real), square = (size_t)WIDTH_MOST * WIDTH_MOST * sizeof(sv_real) * 2; /* as parts too */
    *r = (room){ .precision = s->precision };
    sv_status status = sv_alloc(&r->x, rows, "bench", err);
    if (!status) status = sv_alloc(&r->y, rows, "bench", err);
    if (!status) status = sv_alloc(&r->z, rows, "bench", err);
    if (!status) status = sv_alloc(&r->w, square, "bench", err);
    if (!status) status = sv_alloc(&r->panels, square, "bench", err);
    for (size_t t = 0; t < s->threads && !status; t++) {
        status = sv_alloc_zero(&r->sums[t], square, "bench", err);
        if (!status) status = sv_alloc_zero(&r->scratch[t], larger(sv_attention_backward_scratch(256, 64), sv_product_outer_parts_scratch(ROWS_MOST / 32, WIDTH_MOST, SV_THREE_PARTS)), "bench", err);
    }
    if (status) {
        room_clear(r);
        return status;
    }
    fill(r->x, rows / sizeof(sv_real), 1);
    fill(r->y, rows / sizeof(sv_real), 2);
    fill(r->z, rows / sizeof(sv_real), 3);
    fill(r->w, square / sizeof(sv_real), 4);
    return SV_OK;
}

/* ---- gemm -------------------------------------------------------------------------------------------------------- */

typedef struct shape {
    size_t m, n, k;
} shape;
typedef struct job {
    const settings *s;
    room *room;
    shape shape;
    sv_epilogue epilogue;
} job;

static void rows_of_thread(void *context, size_t item)
{
    const job *j = context;
    const size_t begin = j->shape.m * item / j->s->threads, end = j->shape.m * (item + 1) / j->s->threads;
    const sv_product p = { .m = end - begin,
                           .n = j->shape.n,
                           .k = j->shape.k,
                           .x = j->room->x + begin * j->shape.k,
                           .x_stride = j->shape.k,
                           .panels = j->room->panels,
                           .parts = sv_parts_of(j->s->precision),
                           .bias = j->room->w,
                           .epilogue = j->epilogue,
                           .addend = j->room->z + begin * j->shape.n,
                           .addend_stride = j->shape.n,
                           .before = j->room->z + begin * j->shape.n,
                           .before_stride = j->shape.n,
                           .y = j->room->y + begin * j->shape.n,
                           .y_stride = j->shape.n };
    sv_product_rows(&p);
}

static void outer_of_thread(void *context, size_t item)
{
    const job *j = context; /* each thread an image of its own, as in training */
    const shape *s = &j->shape;
    const sv_real *a = j->room->y + item * s->m * s->n, *b = j->room->x + item * s->m * s->k;
    const sv_parts parts = sv_parts_of(j->s->precision);
    if (parts) sv_product_outer_parts(j->room->sums[item], s->k, a, s->n, b, NULL, s->k, s->m, s->n, s->k, true, parts, j->room->scratch[item]);
    else sv_product_outer(j->room->sums[item], s->k, a, s->n, b, s->k, s->m, s->n, s->k, true);
}

static void pack(const settings *s, room *r, size_t n, size_t k)
{
    sv_pack_forward_parts(r->panels, r->w, n, k, sv_parts_of(s->precision));
}

static const struct {
    size_t k, n;
} layers[] = { { 192, 576 }, { 192, 192 }, { 192, 768 }, { 768, 192 } };

static void gemm_rows(const settings *s, room *r)
{
    static const size_t counts[] = { 27, 68, 97, 138, 197, 6304 };
    for (size_t l = 0; l < SV_COUNT(layers); l++) {
        pack(s, r, layers[l].n, layers[l].k);
        for (size_t c = 0; c < SV_COUNT(counts); c++) {
            job j = { s, r, { counts[c], layers[l].n, layers[l].k }, SV_STORE };
            row result = { .flops = 2.0 * (double)(j.shape.m * j.shape.n * j.shape.k) };
            snprintf(result.name, sizeof result.name, "product %zux%zu rows %zu", layers[l].k, layers[l].n, counts[c]);
            result.time = measure(rows_of_thread, &j, s, result.flops, &result.share);
            report(s, &result);
        }
    }
}

static void gemm_epilogues(const settings *s, room *r)
{
    static const struct {
        const char *name;
        size_t k, n;
        sv_epilogue epilogue;
    } rows[] = { { "gelu", 192, 768, SV_GELU }, { "add", 768, 192, SV_ADD } };
    for (size_t i = 0; i < SV_COUNT(rows); i++) {
        pack(s, r, rows[i].n, rows[i].k);
        job j = { s, r, { 197, rows[i].n, rows[i].k }, rows[i].epilogue };
        row result = { .flops = 2.0 * (double)(j.shape.m * j.shape.n * j.shape.k) };
        snprintf(result.name, sizeof result.name, "product %zux%zu rows 197 + %s", rows[i].k, rows[i].n, rows[i].name);
        result.time = measure(rows_of_thread, &j, s, result.flops, &result.share);
        report(s, &result);
    }
}

static sv_status run_gemm(const settings *s, sv_error *err)
{
    room r;
    sv_status status = room_make(&r, s, err);
    if (status) return status;
    gemm_rows(s, &r);
    gemm_epilogues(s, &r);
    for (size_t l = 0; l < SV_COUNT(layers); l++) {
        job j = { s, &r, { 197, layers[l].n, layers[l].k }, SV_STORE };
        row result = { .flops = 2.0 * (double)(j.shape.m * j.shape.n * j.shape.k * s->threads) };
        snprintf(result.name, sizeof result.name, "weight gradient %zux%zu rows 197", layers[l].k, layers[l].n);
        result.time = measure(outer_of_thread, &j, s, result.flops, &result.share);
        report(s, &result);
    }
    room_clear(&r);
    return SV_OK;
}

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

/* A kernel at work on thread t's own part of the room; tokens: of an image of DeiT-T. */
typedef struct task {
    const char *name;
    void (*run)(room *r, size_t t, size_t tokens);
    double (*flops)(double tokens);
    size_t width;
} task;
enum { HEADS = 3, HEAD = 64, DIM = 192, STRIPE = 197 * 768 };

static sv_attention attention_of(room *r, size_t t, size_t tokens)
{
    sv_real *out = r->z + t * STRIPE, *log_sum = out + 197 * DIM;
    return (sv_attention){ .rows = tokens,
                           .live = tokens,
                           .heads = HEADS,
                           .width = HEAD,
                           .qkv = r->x + t * STRIPE,
                           .qkv_stride = 3 * DIM,
                           .out = out,
                           .out_stride = DIM,
                           .log_sum = log_sum,
                           .top = log_sum + HEADS * 197,
                           .scratch = r->scratch[t],
                           .parts = sv_parts_of(r->precision) };
}
static void do_attention(room *r, size_t t, size_t tokens)
{
    const sv_attention a = attention_of(r, t, tokens);
    sv_attention_forward(&a, 0, tokens);
}
static void do_attention_backward(room *r, size_t t, size_t tokens)
{
    const sv_attention a = attention_of(r, t, tokens);
    sv_attention_backward(&a, r->w, DIM, r->y + t * STRIPE, 3 * DIM, NULL, 80, NULL);
}
static void do_pruned_backward(room *r, size_t t, size_t tokens)
{
    sv_attention a = attention_of(r, t, 197);
    a.live = tokens;
    sv_attention_backward(&a, r->w, DIM, r->y + t * STRIPE, 3 * DIM, r->sums[t], 80, NULL);
}
static void do_norm(room *r, size_t t, size_t tokens)
{
    sv_layer_norm(r->y + t * STRIPE, DIM, r->sums[t], r->x + t * STRIPE, DIM, r->w, r->w + DIM, tokens, DIM, 1e-6);
}
static void do_norm_backward(room *r, size_t t, size_t tokens)
{
    sv_layer_norm_backward(r->y + t * STRIPE, DIM, r->sums[t] + 2048, r->sums[t] + 3072, r->z + t * STRIPE, DIM, r->x + t * STRIPE, DIM,
                           r->w, r->w + 2048, tokens, DIM, true, true);
}
static void do_gelu(room *r, size_t t, size_t tokens) { sv_gelu(r->y + t * STRIPE, r->x + t * STRIPE, tokens * 4 * DIM); }
static void do_gelu_backward(room *r, size_t t, size_t tokens)
{
    sv_gelu_backward(r->y + t * STRIPE, r->z + t * STRIPE, r->x + t * STRIPE, tokens * 4 * DIM, false);
}
static void do_softmax(room *r, size_t t, size_t tokens)
{
    sv_softmax(r->y + t * STRIPE, tokens, r->x + t * STRIPE, tokens, tokens, tokens, false);
}
static void do_column_sums(room *r, size_t t, size_t tokens)
{
    sv_column_sums(r->sums[t], r->x + t * STRIPE, 4 * DIM, tokens, 4 * DIM, true);
}
static void do_scale(room *r, size_t t, size_t tokens)
{
    sv_scale(r->y + t * STRIPE, r->x + t * STRIPE, (sv_real)1e-3, tokens * DIM, true);
}
static void do_dot(room *r, size_t t, size_t tokens) { r->sums[t][0] = sv_dot(r->y + t * STRIPE, r->x + t * STRIPE, tokens * DIM); }
static void do_adamw(room *r, size_t t, size_t tokens)
{
    static const sv_adamw step = { .lr = 1e-4, .decay = 0.05, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .t = 10, .gradient_scale = 1 };
    const size_t count = tokens * DIM;
    sv_adamw_step(r->y + t * STRIPE, r->y + t * STRIPE + count, r->sums[t], r->x + t * STRIPE, count, &step);
}

static void do_sgd(room *r, size_t t, size_t tokens)
{
    static const sv_sgd step = { .lr = 1e-4, .decay = 1e-4, .momentum = 0.9, .gradient_scale = 1 };
    const size_t count = tokens * DIM;
    sv_sgd_step(r->y + t * STRIPE, r->y + t * STRIPE + count, r->x + t * STRIPE, count, &step);
}
static void do_pack(room *r, size_t t, size_t tokens)
{
    (void)tokens;
    sv_pack_forward(r->y + t * STRIPE, r->w, 4 * DIM, DIM);
}
static double forward_flops(double tokens) { return 4.0 * tokens * tokens * DIM; }
static double backward_flops(double tokens) { return 10.0 * tokens * tokens * DIM; }
static double pruned_flops(double tokens) { return backward_flops(tokens) + 4.0 * tokens * (197 - tokens) * DIM; }

static const task tasks[] = {
    { "attention forward", do_attention, forward_flops, 0 },
    { "attention backward", do_attention_backward, backward_flops, 0 },
    { "attention backward, dead keys' policy", do_pruned_backward, pruned_flops, 0 },
    { "layer norm", do_norm, NULL, DIM },
    { "layer norm backward", do_norm_backward, NULL, DIM },
    { "gelu", do_gelu, NULL, 4 * DIM },
    { "gelu backward", do_gelu_backward, NULL, 4 * DIM },
    { "softmax", do_softmax, NULL, 0 },
    { "column sums", do_column_sums, NULL, 4 * DIM },
    { "scale", do_scale, NULL, DIM },
    { "dot", do_dot, NULL, DIM },
    { "adamw", do_adamw, NULL, DIM },
    { "sgd", do_sgd, NULL, DIM },
    { "pack 192x768", do_pack, NULL, 0 },
};

typedef struct chore {
    const settings *s;
    const task *task;
    room *room;
    size_t tokens;
} chore;
static void chore_of_thread(void *context, size_t item)
{
    const chore *c = context;
    c->task->run(c->room, item, c->tokens);
}

static sv_status run_kernels(const settings *s, sv_error *err)
{
    static const size_t counts[] = { 197, 139, 99, 71 };
    room r;
    sv_status status = room_make(&r, s, err);
    if (status) return status;
    for (size_t i = 0; i < SV_COUNT(tasks); i++)
        for (size_t c = 0; c < (tasks[i].flops ? SV_COUNT(counts) : 1); c++) {
            chore work = { s, &tasks[i], &r, counts[c] };
            const double all = (double)s->threads;
            row result = { .flops = tasks[i].flops ? tasks[i].flops((double)counts[c]) * all : 0 };
            result.numbers = tasks[i].flops ? 0
                                            : all
                                                  * (double)(tasks[i].width            ? tasks[i].width * counts[c]
                                                             : tasks[i].run == do_pack ? 4 * DIM * DIM
                                                                                       : counts[c] * counts[c]);
            snprintf(result.name, sizeof result.name, "%s, %zu tokens", tasks[i].name, counts[c]);
            if (tasks[i].flops)
                time_of(s, (loop){ chore_of_thread, &(chore){ s, &tasks[0], &r, counts[c] }, 1 }); /* backward reads what forward left */
            result.time = measure(chore_of_thread, &work, s, result.flops, &result.share);
            report(s, &result);
        }
    room_clear(&r);
    return SV_OK;
}

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
        result.time = (timing){ speed.median_seconds, speed.least_seconds };
        snprintf(result.name, sizeof result.name, "%s, %zu pictures", way ? "training: decode to erasing" : "evaluation: decode, crop", speed.pictures);
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
    snprintf(r.name, sizeof r.name, "%s %s batch %zu", name, s->model, s->batch);
    r.time = (timing){ speed.median_seconds, speed.least_seconds };
    r.flops = 2 * speed.macs;
    r.share = r.flops / speed.median_seconds * 1e-9 / (before > after ? before : after);
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
            if (!sv_parse_int(value, &whole) || whole < 1 || whole > THREADS_MOST)
                return sv_fail(err, SV_USAGE, "bench: --threads is '%s', expected 1 to %d", value, THREADS_MOST);
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
    s.threads = sv_threads() > THREADS_MOST ? THREADS_MOST : sv_threads();
    status = header(&s, &error);
    for (size_t i = 0; i < SV_COUNT(cases) && !status; i++)
        if (!only || only == &cases[i]) status = cases[i].run(&s, &error);
end:
    if (status) fprintf(stderr, "%s\n", error.text);
    return (int)status;
}
