/* A session: one recorded tape of a model with the memory of its runs. The weights it reads are the model's; packed for the products they stand
 * there too, made by the first session that is prepared and only read from then on. So preparing runs the model once, under the model's lock:
 * afterwards no run allocates or writes anything that two sessions share. */
#include "eval/stage_view.h"
#include "infer/inside.h"

#include <math.h>
#include <string.h>

struct sieve_session {
    sieve_model *model;
    sv_removal_tape removal;
    sv_transform *transform;
    size_t batch, threads, pictures; /* pictures: of the last run; 0: it failed, or there was none */
    size_t classes, numbers, patches;
    float *logits;      /* [batch, classes] */
    float *seen;        /* [batch, numbers]; NULL where the tape's own numbers are floats */
    uint32_t *kept;     /* [batch, stages, patches] */
    size_t *kept_count; /* [batch, stages] */
    float *score;       /* [batch, stages, patches] */
    double *packaged;   /* [batch, stages] */
    uint8_t *stays;     /* [patches], of one stage while it is read */
    uint64_t *drawn_by; /* [batch] zeros: what is drawn for a picture does not depend on its place */
};

/* ---- preparing ---- */

static sv_status take_memory(sieve_session *s, sv_error *err)
{
    const size_t rows = s->batch * (s->removal.stages ? s->removal.stages : 1); /* below what the tape itself has taken: no overflow */
    sv_status status = sv_alloc_zero(&s->logits, s->batch * s->classes * sizeof *s->logits, "results", err);
    if (!status && sizeof(sv_real) != sizeof(float))
        status = sv_alloc_zero(&s->seen, s->batch * s->numbers * sizeof *s->seen, "results", err);
    if (!status) status = sv_alloc_zero(&s->kept, rows * s->patches * sizeof *s->kept, "results", err);
    if (!status) status = sv_alloc_zero(&s->kept_count, rows * sizeof *s->kept_count, "results", err);
    if (!status) status = sv_alloc_zero(&s->score, rows * s->patches * sizeof *s->score, "results", err);
    if (!status) status = sv_alloc_zero(&s->packaged, rows * sizeof *s->packaged, "results", err);
    if (!status) status = sv_alloc_zero(&s->stays, s->patches, "results", err);
    if (!status) status = sv_alloc_zero(&s->drawn_by, s->batch * sizeof *s->drawn_by, "results", err);
    return status;
}

/* Once through the model with black pictures: packs the weights where no session has yet, and takes the scratch of all threads. */
static sv_status warm_up(sieve_session *s, sv_error *err)
{
    for (size_t i = 0; i < s->batch; i++) memset(sv_tape_data(s->removal.tape, s->removal.picture, i), 0, s->numbers * sizeof(sv_real));
    pthread_mutex_lock(&s->model->preparing);
    sv_status status = sv_tape_forward(s->removal.tape, &(sv_step){ .images = s->batch }, err);
    pthread_mutex_unlock(&s->model->preparing);
    return status;
}

static sv_status prepare(sieve_session *s, const sieve_session_options *options, sv_error *err)
{
    enum { MOST_THREADS = 4096, MOST_PICTURES = 1 << 20 };
    const sv_deployed *deployed = &s->model->deployed;
    if (options->threads > MOST_THREADS || options->batch > MOST_PICTURES)
        return sv_fail(err, SV_USAGE, "a session of %zu threads and %zu pictures; at most %d and %d are possible", options->threads,
                       options->batch, MOST_THREADS, MOST_PICTURES);
    s->batch = options->batch ? options->batch : 1;
    s->classes = deployed->model->options.classes;
    s->numbers = 3 * deployed->model->options.image * deployed->model->options.image;
    s->patches = deployed->plan.stages ? sv_plan_patches_most(&deployed->plan) : sv_model_patches(deployed->model);
    sv_status status = sv_removal_record(&s->removal, deployed->pruning, &deployed->plan, s->batch, err);
    if (!status) status = sv_transform_create(&s->transform, &s->model->transform, err);
    if (!status) status = take_memory(s, err);
    if (!status) status = warm_up(s, err);
    return status;
}

sieve_code sieve_session_create(sieve_session **out, sieve_model *model, const sieve_session_options *options, sieve_error *error)
{
    static const sieve_session_options defaults = { 0 };
    sv_infer_call call;
    sieve_session *s = NULL;
    sv_error err = { 0 };
    if (!options) options = &defaults;
    size_t threads = options->threads ? options->threads : sv_cores();
    sv_infer_enter(&call, threads, NULL);
    sv_status status = sv_alloc_zero(&s, sizeof *s, "session", &err);
    if (!status) {
        atomic_fetch_add_explicit(&model->holders, 1, memory_order_relaxed);
        s->model = model;
        s->threads = threads;
        status = prepare(s, options, &err);
    }
    if (!status)
        *out = s;
    else
        sieve_session_free(s);
    sv_infer_leave(&call);
    return sv_infer_answer(status, &err, error);
}

void sieve_session_free(sieve_session *s)
{
    if (!s) return;
    sv_transform_destroy(s->transform);
    sv_removal_clear(&s->removal);
    sv_free(s->logits);
    sv_free(s->seen);
    sv_free(s->kept);
    sv_free(s->kept_count);
    sv_free(s->score);
    sv_free(s->packaged);
    sv_free(s->stays);
    sv_free(s->drawn_by);
    sv_infer_model_release(s->model);
    sv_free(s);
}

/* ---- running ---- */

static void collect_kept(sieve_session *s, size_t picture)
{
    const sv_tape *tape = s->removal.tape;
    for (size_t t = 0; t < s->removal.stages; t++) {
        const int32_t *origin = (const int32_t *)(const void *)sv_tape_data(tape, s->removal.after[t], picture);
        size_t rows = sv_tape_rows(tape, s->removal.after[t], picture), count = 0, place = picture * s->removal.stages + t;
        for (size_t r = 0; r < rows; r++)
            if (origin[r] >= 0) s->kept[place * s->patches + count++] = (uint32_t)origin[r];
        s->kept_count[place] = count;
        s->packaged[place] = sv_stage_view(&s->removal, t, picture, s->removal.patches[t], s->stays, s->score + place * s->patches);
    }
}

/* The results leave the tape, in float whatever the engine's number is. */
static void collect(sieve_session *s, size_t picture)
{
    const sv_real *logits = sv_tape_data(s->removal.tape, s->removal.logits, picture),
                  *seen = sv_tape_data(s->removal.tape, s->removal.picture, picture);
    for (size_t k = 0; k < s->classes; k++) s->logits[picture * s->classes + k] = (float)logits[k];
    for (size_t i = 0; s->seen && i < s->numbers; i++) s->seen[picture * s->numbers + i] = (float)seen[i];
    collect_kept(s, picture);
}

static sv_status run(sieve_session *s, size_t count, sv_error *err)
{
    sv_status status = sv_tape_forward(s->removal.tape, &(sv_step){ .images = count, .samples = s->drawn_by }, err);
    for (size_t i = 0; !status && i < count; i++) collect(s, i);
    if (!status) s->pictures = count;
    return status;
}

static sv_status check_count(const sieve_session *s, const void *given, size_t count, sv_error *err)
{
    if (!given || count < 1 || count > s->batch)
        return sv_fail(err, SV_USAGE, "a run of %zu pictures%s; this session holds 1 to %zu (sieve_session_options.batch)", count,
                       given ? "" : " at NULL", s->batch);
    return SV_OK;
}

static sv_status take_rgb(sieve_session *s, const sieve_rgb *from, size_t index, sv_error *err)
{
    size_t pixels;
    if (!from->pixels || !from->width || !from->height || sv_mul_size(&pixels, from->width, from->height) || pixels > SV_PICTURE_PIXELS_MAX)
        return sv_fail(err, SV_DATA, "picture %zu is said to have %zu x %zu pixels%s; expected 1 to %u in all", index, from->width,
                       from->height, from->pixels ? "" : " at NULL", SV_PICTURE_PIXELS_MAX);
    const sv_picture picture = { .rgb = (uint8_t *)(uintptr_t)from->pixels, .width = from->width, .height = from->height }; /* read alone */
    sv_status status = sv_transform_evaluation(s->transform, &picture, sv_tape_data(s->removal.tape, s->removal.picture, index), err);
    return status ? sv_fail_within(err, "picture %zu", index) : SV_OK;
}

sieve_code sieve_run_rgb(sieve_session *s, const sieve_rgb *pictures, size_t count, sieve_error *error)
{
    sv_infer_call call;
    sv_error err = { 0 };
    s->pictures = 0;
    sv_infer_enter(&call, s->threads, NULL);
    sv_status status = check_count(s, pictures, count, &err);
    for (size_t i = 0; !status && i < count; i++) status = take_rgb(s, &pictures[i], i, &err);
    if (!status) status = run(s, count, &err);
    sv_infer_leave(&call);
    return sv_infer_answer(status, &err, error);
}

sieve_code sieve_run_floats(sieve_session *s, const float *numbers, size_t count, sieve_error *error)
{
    sv_infer_call call;
    sv_error err = { 0 };
    s->pictures = 0;
    sv_infer_enter(&call, s->threads, NULL);
    sv_status status = check_count(s, numbers, count, &err);
    for (size_t i = 0; !status && i < count; i++) {
        sv_real *to = sv_tape_data(s->removal.tape, s->removal.picture, i);
        const float *from = numbers + i * s->numbers;
        for (size_t k = 0; (const void *)to != from && k < s->numbers; k++) to[k] = from[k];
    }
    if (!status) status = run(s, count, &err);
    sv_infer_leave(&call);
    return sv_infer_answer(status, &err, error);
}

/* ---- results ---- */

const float *sieve_logits(const sieve_session *s, size_t picture)
{
    return picture < s->pictures ? s->logits + picture * s->classes : NULL;
}

const float *sieve_seen(const sieve_session *s, size_t picture)
{
    if (picture >= s->pictures) return NULL;
    return s->seen ? s->seen + picture * s->numbers
                   : (const float *)(const void *)sv_tape_data(s->removal.tape, s->removal.picture, picture);
}

static bool among(const sieve_answer *answers, size_t count, size_t class_index)
{
    for (size_t i = 0; i < count; i++)
        if (answers[i].class_index == class_index) return true;
    return false;
}

size_t sieve_top(const sieve_session *s, size_t picture, sieve_answer *answers, size_t room)
{
    const float *logits = sieve_logits(s, picture);
    if (!logits) return 0;
    if (room > s->classes) room = s->classes;
    float top = logits[0]; /* compared by hand: gcc 12 for aarch64 breaks over fmax of widened floats */
    for (size_t k = 1; k < s->classes; k++)
        if (logits[k] > top) top = logits[k];
    double sum = 0;
    for (size_t k = 0; k < s->classes; k++) sum += exp((double)logits[k] - (double)top);
    for (size_t i = 0; i < room; i++) {
        size_t best = SIZE_MAX;
        for (size_t k = 0; k < s->classes; k++)
            if (!among(answers, i, k) && (best == SIZE_MAX || logits[k] > logits[best])) best = k;
        answers[i] = (sieve_answer){ best, exp((double)logits[best] - (double)top) / sum };
    }
    return room;
}

size_t sieve_kept(const sieve_session *s, size_t picture, size_t stage, const uint32_t **patches)
{
    const bool there = picture < s->pictures && stage < s->removal.stages;
    const size_t place = picture * s->removal.stages + stage;
    if (patches) *patches = there ? s->kept + place * s->patches : NULL;
    return there ? s->kept_count[place] : 0;
}

const float *sieve_scores(const sieve_session *s, size_t picture, size_t stage, double *packaged)
{
    const bool there = picture < s->pictures && stage < s->removal.stages;
    const size_t place = picture * s->removal.stages + stage;
    if (packaged) *packaged = there ? s->packaged[place] : NAN;
    return there ? s->score + place * s->patches : NULL;
}
