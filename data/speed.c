#include "data/speed.h"

#include <math.h>
#include <stdlib.h>

enum { MADE_UP_WIDTH = 500, MADE_UP_HEIGHT = 375, MADE_UP_COPIES = 64, MOST = 500, PASSES_MOST = 64 };

typedef struct held_file { unsigned char *bytes; size_t count; } held_file;
typedef struct bench_thread { sv_transform *transform; sv_picture picture; sv_real *numbers; } bench_thread;
typedef struct speed_run {
    const sv_picture_speed_request *request;
    held_file *files;
    size_t file_count;
    bench_thread *threads;
    size_t thread_count;
    uint32_t pass;
    bool failed;
} speed_run;

/* Smooth, with some grain: about 60 KB as JPEG. */
static sv_status make_photo(held_file *file, sv_error *err)
{
    sv_picture photo = { 0 };
    sv_random random = sv_random_at(1, SV_FOR_TEST, 0, 0, 5);
    sv_status status = sv_picture_resize(&photo, MADE_UP_WIDTH, MADE_UP_HEIGHT, err);
    for (size_t y = 0; !status && y < MADE_UP_HEIGHT; y++)
        for (size_t x = 0; x < MADE_UP_WIDTH; x++)
            for (size_t c = 0; c < 3; c++) {
                const double wave = sin(0.021 * (double)(x * (c + 1))) * cos(0.017 * (double)y) + sin(0.3 * (double)(x + y)) * 0.2;
                photo.rgb[(y * MADE_UP_WIDTH + x) * 3 + c] = (uint8_t)(128 + 80 * wave + 16 * (sv_random_uniform(&random) - 0.5));
            }
    if (!status) status = sv_jpeg_encode(&photo, 90, &file->bytes, &file->count, err);
    sv_picture_clear(&photo);
    return status;
}

static sv_status hold_files(speed_run *run, sv_error *err)
{
    const sv_source *source = run->request->source;
    const size_t all = source ? sv_source_count(source) : 1, most = run->request->most ? run->request->most : MOST, count = all < most ? all : most;
    sv_status status = sv_alloc_zero(&run->files, count * sizeof *run->files, "bench", err);
    if (status || !source) {
        run->file_count = status ? 0 : 1;
        return status ? status : make_photo(run->files, err);
    }
    for (; !status && run->file_count < count; run->file_count++) {
        sv_bytes bytes = { 0 };
        status = sv_source_bytes(source, run->file_count * all / count, &bytes, err);
        run->files[run->file_count] = (held_file){ bytes.data, bytes.count };
    }
    return status;
}

static sv_status make_threads(speed_run *run, sv_error *err)
{
    const size_t size = run->request->options->size;
    sv_status status = sv_alloc_zero(&run->threads, sv_threads() * sizeof *run->threads, "bench", err);
    while (!status && run->thread_count < sv_threads()) {
        bench_thread *thread = &run->threads[run->thread_count++];
        status = sv_transform_create(&thread->transform, run->request->options, err);
        if (!status) status = sv_alloc(&thread->numbers, 3 * size * size * sizeof(sv_real), "bench", err);
    }
    return status;
}

static void develop(void *context, size_t item, size_t at)
{
    speed_run *run = context;
    bench_thread *thread = &run->threads[at];
    const held_file *file = &run->files[item % run->file_count];
    const bool training = run->request->training;
    const sv_draw draw = { .seed = 1, .sample = item, .epoch = run->pass };
    sv_look look = { run->request->options, draw };
    sv_status status =
        sv_picture_decode_part(&thread->picture, file->bytes, file->count, "bench", training ? sv_training_part : sv_evaluation_part, &look, NULL);
    if (!status && training) status = sv_transform_training(thread->transform, &thread->picture, draw, thread->numbers, NULL);
    else if (!status) status = sv_transform_evaluation(thread->transform, &thread->picture, thread->numbers, NULL);
    if (status) run->failed = true;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

sv_status sv_picture_speed_measure(const sv_picture_speed_request *request, sv_picture_speed *out, sv_error *err)
{
    speed_run run = { .request = request };
    double times[PASSES_MOST];
    const size_t passes = request->passes < 1 ? 1 : request->passes > PASSES_MOST ? PASSES_MOST : request->passes;
    sv_status status = hold_files(&run, err);
    if (!status) status = make_threads(&run, err);
    const size_t pictures = request->source ? run.file_count : MADE_UP_COPIES;
    for (size_t p = 0; !status && p <= passes; p++) {
        const double begin = sv_now_seconds();
        run.pass = (uint32_t)p;
        sv_for_items(pictures, develop, &run);
        if (p) times[p - 1] = sv_now_seconds() - begin;
    }
    if (!status && run.failed) status = sv_fail(err, SV_DATA, "bench: a picture could not be read");
    if (!status) {
        qsort(times, passes, sizeof *times, by_value);
        *out = (sv_picture_speed){ pictures, run.thread_count, times[passes / 2], times[0] };
    }
    for (size_t i = 0; i < run.file_count; i++) sv_free(run.files[i].bytes);
    for (size_t i = 0; i < run.thread_count; i++) {
        sv_transform_destroy(run.threads[i].transform);
        sv_picture_clear(&run.threads[i].picture);
        sv_free(run.threads[i].numbers);
    }
    sv_free(run.files);
    sv_free(run.threads);
    return status;
}
