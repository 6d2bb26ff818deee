/* The loader. Batches since the last start are numbered 0, 1, ... (`number`); batch `number` is made in room number % room_count. Places of a
 * batch are handed to workers one by one, in order, so that the batch wanted next is finished first:
 *
 *     released          next_number                released + room_count
 *     | held by caller | ready or being made | ...  | not before a room is free
 *
 * Which worker makes a place is chance; what it makes is not. Unreadable pictures are noted in the room and judged when the batch is handed out,
 * in order of place, so that messages and verdicts are the same for any number of workers. */
#include "data/loader.h"
#include "base/fault.h"
#include "data/cache.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS_MAX = 256, QUEUE_MAX = 64, TRIES_MAX = 16, CORES_A_WORKER = 8 };

struct bad_note {
    size_t place, attempt;
    uint64_t sample;
    char *text;
};

struct room {
    sv_batch batch;
    bool planned;
    bool *absent;               /* by place: left out */
    uint32_t *repeats;          /* by place: which of a picture's repeats */
    size_t places, made;
    struct bad_note *notes;
    size_t note_count, note_capacity;
    sv_status status;           /* a failure that is not a bad picture's */
    sv_error error;
};

struct sv_loader {
    const sv_source *source;
    sv_loader_options options;
    size_t floats;              /* of one picture */
    uint64_t batches;           /* of an epoch */
    sv_cache *cache;
    uint8_t *known_bad;         /* by sample */

    pthread_mutex_t lock;
    pthread_cond_t work, ready, idle;
    pthread_t *threads;
    size_t thread_count, busy;
    bool quit, running, held;
    struct room *rooms;
    size_t room_count;
    uint64_t *order;            /* training: the permutation of order_epoch */
    uint32_t order_epoch;
    bool order_valid;

    uint32_t first_epoch;
    uint64_t first_batch, total;        /* numbers below total exist */
    uint64_t released, next_number;     /* batches given back by the caller; the batch whose places are handed out */
    size_t next_place;
    sv_status failed;
    sv_error failure;
    double started, waited;
    uint64_t handed_pictures;
    size_t bad_count;
};

/* A worker's own scratch. */
struct worker {
    sv_loader *loader;
    sv_transform *transform;
    sv_picture picture;
    sv_bytes bytes;
};

/* ---- what stands in which batch ---- */

static uint32_t epoch_of(const sv_loader *loader, uint64_t number)
{
    return loader->first_epoch + (uint32_t)((loader->first_batch + number) / loader->batches);
}

static uint64_t index_of(const sv_loader *loader, uint64_t number)
{
    return (loader->first_batch + number) % loader->batches;
}

static size_t places_of(const sv_loader *loader, uint64_t index)
{
    const sv_loader_options *options = &loader->options;
    uint64_t from = index * options->batch + options->slice_first, count = sv_source_count(loader->source);
    uint64_t left = from < count ? count - from : 0;
    return left < options->slice_count ? (size_t)left : options->slice_count;
}

static bool has_order(const sv_loader_options *options) { return options->use == SV_LOAD_TRAINING || options->scattered; }

/* Where a place of a batch stands in the list of repeated pictures: rank r of R is dealt entries r, r + R, ...; a batch is the ranks' parts, one
 * behind another. */
static uint64_t dealt_position(const sv_loader_options *options, uint64_t index, size_t place)
{
    const size_t part = options->batch / options->repeat_ranks;
    return index * options->batch + place % part * options->repeat_ranks + place / part;
}

static void room_plan(sv_loader *loader, struct room *room, uint64_t number)
{
    const sv_loader_options *options = &loader->options;
    uint32_t epoch = epoch_of(loader, number);
    uint64_t index = index_of(loader, number), from = index * options->batch + options->slice_first;
    if (has_order(options) && !(loader->order_valid && loader->order_epoch == epoch)) {
        sv_random random = sv_random_at(options->seed, SV_FOR_SHUFFLE, epoch, 0, 0);
        sv_source_order(loader->source, &random, loader->order);
        loader->order_epoch = epoch;
        loader->order_valid = true;
    }
    room->batch.epoch = epoch;
    room->batch.index = index;
    room->batch.last_of_epoch = index + 1 == loader->batches;
    room->places = places_of(loader, index);
    for (size_t i = 0; i < room->places; i++) {
        uint64_t position = options->repeats > 1 ? dealt_position(options, index, options->slice_first + i) : from + i;
        room->repeats[i] = (uint32_t)(position % options->repeats);
        position /= options->repeats;
        room->batch.samples[i] = has_order(options) ? loader->order[position] : position;
    }
    memset(room->absent, 0, options->slice_count * sizeof *room->absent);
    room->made = 0;
    room->status = SV_OK;
    room->planned = true;
}

/* What stands in for a picture that cannot be read: drawn anew for each attempt, from the whole source. */
static uint64_t stand_in(const sv_loader *loader, const struct room *room, size_t place, size_t attempt)
{
    uint64_t position = room->batch.index * loader->options.batch + loader->options.slice_first + place;
    sv_random random = sv_random_at(loader->options.seed, SV_FOR_SHUFFLE, room->batch.epoch, position, (uint32_t)attempt);
    return sv_random_below(&random, sv_source_count(loader->source));
}

/* ---- workers ---- */

static sv_status note_add(struct room *room, size_t place, size_t attempt, uint64_t sample, const char *text, sv_error *err)
{
    sv_status status = sv_grow(&room->notes, &room->note_capacity, room->note_count + 1, sizeof *room->notes, "data", err);
    struct bad_note note = { place, attempt, sample, NULL };
    if (!status) status = sv_text_copy(&note.text, text, err);
    if (!status) room->notes[room->note_count++] = note;
    return status;
}

static sv_status picture_make(struct worker *worker, const struct room *room, size_t place, uint64_t sample, sv_real *chw, sv_error *err)
{
    sv_loader *loader = worker->loader;
    sv_draw draw = { loader->options.seed, sample, room->batch.epoch, room->repeats[place] };
    sv_look look = { &loader->options.transform, draw };
    const bool training = loader->options.use == SV_LOAD_TRAINING;
    sv_part_rule *part = loader->cache ? NULL : training ? sv_training_part : sv_evaluation_part; /* what is cached is looked at again elsewhere */
    const sv_picture *picture = sv_cache_find(loader->cache, sample);
    if (!picture) {
        sv_status status = sv_source_read_part(loader->source, sample, part, &look, &worker->bytes, &worker->picture, err);
        if (status) return status;
        sv_cache_keep(loader->cache, sample, &worker->picture);
        picture = &worker->picture;
    }
    if (training) return sv_transform_training(worker->transform, picture, draw, chw, err);
    return sv_transform_evaluation(worker->transform, picture, chw, err);
}

/* Fills one place. Everything it writes belongs to this place alone but the notes, which the lock guards. */
static void place_make(struct worker *worker, struct room *room, size_t place)
{
    sv_loader *loader = worker->loader;
    size_t attempts = loader->options.use == SV_LOAD_TRAINING ? TRIES_MAX : 1;
    uint64_t sample = room->batch.samples[place];
    sv_status status = SV_DATA;
    sv_error error = { 0 };
    bool made = false;
    for (size_t attempt = 0; attempt < attempts && status == SV_DATA && !made; attempt++) {
        if (attempt) sample = stand_in(loader, room, place, attempt);
        status = picture_make(worker, room, place, sample, room->batch.pictures + place * loader->floats, &error);
        made = !status;
        if (status != SV_DATA) break;
        pthread_mutex_lock(&loader->lock);
        if (note_add(room, place, attempt, sample, error.text, &error)) status = SV_FAULT;
        pthread_mutex_unlock(&loader->lock);
    }
    room->batch.samples[place] = sample;
    room->batch.draws[place] = sample | (uint64_t)room->repeats[place] << 48;
    room->batch.labels[place] = sv_source_label(loader->source, sample);
    room->absent[place] = !made;
    if (made || (status == SV_DATA && attempts == 1)) return;
    if (status == SV_DATA) status = sv_fail(&error, SV_DATA, "%s: %d pictures drawn one after the other cannot be read", sv_source_name(loader->source), TRIES_MAX);
    pthread_mutex_lock(&loader->lock);
    if (!room->status) {
        room->status = status;
        room->error = error;
    }
    pthread_mutex_unlock(&loader->lock);
}

/* Under the lock: the next place to make, planning its batch where it is the first. False where there is nothing to do now. */
static bool place_take(sv_loader *loader, struct room **room, size_t *place)
{
    while (loader->running && loader->next_number < loader->total && loader->next_number < loader->released + loader->room_count) {
        *room = &loader->rooms[loader->next_number % loader->room_count];
        if (!loader->next_place) room_plan(loader, *room, loader->next_number);
        *place = loader->next_place++;
        bool there = *place < (*room)->places;
        if (loader->next_place >= (*room)->places) {
            loader->next_number++;
            loader->next_place = 0;
        }
        if (there) return true;
        pthread_cond_signal(&loader->ready); /* a batch of no places is ready as it is */
    }
    return false;
}

static void *worker_run(void *context)
{
    struct worker *worker = context;
    sv_loader *loader = worker->loader;
    struct room *room;
    size_t place;
    pthread_mutex_lock(&loader->lock);
    while (!loader->quit) {
        if (!place_take(loader, &room, &place)) {
            pthread_cond_wait(&loader->work, &loader->lock);
            continue;
        }
        loader->busy++;
        pthread_mutex_unlock(&loader->lock);
        place_make(worker, room, place);
        pthread_mutex_lock(&loader->lock);
        if (++room->made == room->places) pthread_cond_signal(&loader->ready);
        if (!--loader->busy) pthread_cond_signal(&loader->idle);
    }
    pthread_mutex_unlock(&loader->lock);
    sv_transform_destroy(worker->transform);
    sv_picture_clear(&worker->picture);
    sv_bytes_clear(&worker->bytes);
    sv_free(worker);
    return NULL;
}

/* Signals are for the main thread: workers block them all. */
static sv_status worker_start(sv_loader *loader, sv_error *err)
{
    struct worker *worker;
    sigset_t all, before;
    sv_status status = sv_alloc_zero(&worker, sizeof *worker, "data", err);
    if (status) return status;
    worker->loader = loader;
    status = sv_transform_create(&worker->transform, &loader->options.transform, err);
    if (!status) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int failed = sv_fault_here(SV_FAULT_THREAD) ? EAGAIN : pthread_create(&loader->threads[loader->thread_count], NULL, worker_run, worker);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (!failed) {
            loader->thread_count++;
            return SV_OK;
        }
        status = sv_fail(err, SV_FAULT, "thread %zu of the loader cannot be started (%s); lower data.workers", loader->thread_count + 1, strerror(failed));
    }
    sv_transform_destroy(worker->transform);
    sv_free(worker);
    return status;
}

/* ---- creation ---- */

static sv_status options_check(const sv_loader *loader, sv_error *err)
{
    const sv_loader_options *options = &loader->options;
    size_t count = sv_source_count(loader->source);
    if (!options->batch || options->slice_first + options->slice_count > options->batch)
        return sv_fail(err, SV_USAGE, "a loader of %zu pictures a batch cannot make places %zu to %zu", options->batch, options->slice_first,
                       options->slice_first + options->slice_count);
    if (options->batch % options->repeat_ranks)
        return sv_fail(err, SV_USAGE, "data.ra_world = %zu ranks cannot share a batch of %zu evenly; make train.batch a multiple of it", options->repeat_ranks,
                       options->batch);
    if (options->use == SV_LOAD_TRAINING && count < options->batch)
        return sv_fail(err, SV_DATA, "%s: %zu pictures are fewer than one batch of %zu; lower train.batch", sv_source_name(loader->source), count, options->batch);
    if (!count) return sv_fail(err, SV_DATA, "%s: there are no pictures", sv_source_name(loader->source));
    return SV_OK;
}

static sv_status room_create(const sv_loader *loader, struct room *room, sv_error *err)
{
    size_t places = loader->options.slice_count, bytes;
    if (sv_mul_size3(&bytes, places, loader->floats, sizeof(sv_real))) return sv_fail(err, SV_USAGE, "a batch of %zu pictures is too large", places);
    sv_status status = sv_alloc(&room->batch.pictures, bytes, "batches", err);
    if (!status) status = sv_alloc(&room->batch.labels, places * sizeof *room->batch.labels, "batches", err);
    if (!status) status = sv_alloc(&room->batch.samples, places * sizeof *room->batch.samples, "batches", err);
    if (!status) status = sv_alloc(&room->batch.draws, places * sizeof *room->batch.draws, "batches", err);
    if (!status) status = sv_alloc(&room->repeats, places * sizeof *room->repeats, "batches", err);
    if (!status) status = sv_alloc(&room->absent, places * sizeof *room->absent, "batches", err);
    return status;
}

static sv_status rooms_create(sv_loader *loader, sv_error *err)
{
    size_t count = sv_source_count(loader->source), queue = loader->options.queue;
    queue = queue < 1 ? 1 : queue > QUEUE_MAX ? QUEUE_MAX : queue;
    loader->room_count = queue + 1; /* one more is in the caller's hands */
    sv_status status = sv_alloc_zero(&loader->rooms, loader->room_count * sizeof *loader->rooms, "data", err);
    for (size_t i = 0; i < loader->room_count && !status; i++) status = room_create(loader, &loader->rooms[i], err);
    if (!status) status = sv_alloc_zero(&loader->known_bad, count, "data", err);
    if (!status && has_order(&loader->options)) status = sv_alloc(&loader->order, count * sizeof *loader->order, "data", err);
    if (!status && loader->options.cache_bytes) status = sv_cache_create(&loader->cache, count, loader->options.cache_bytes, err);
    return status;
}

static sv_status workers_start(sv_loader *loader, sv_error *err)
{
    size_t workers = loader->options.workers ? loader->options.workers : 1 + sv_cores() / CORES_A_WORKER;
    if (workers > WORKERS_MAX) workers = WORKERS_MAX;
    sv_status status = sv_alloc(&loader->threads, workers * sizeof *loader->threads, "data", err);
    for (size_t i = 0; i < workers && !status; i++) status = worker_start(loader, err);
    return status;
}

sv_status sv_loader_create(sv_loader **out, const sv_source *source, const sv_loader_options *options, sv_error *err)
{
    sv_loader *loader;
    sv_status status = sv_alloc_zero(&loader, sizeof *loader, "data", err);
    if (status) return status;
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->work, NULL);
    pthread_cond_init(&loader->ready, NULL);
    pthread_cond_init(&loader->idle, NULL);
    loader->source = source;
    loader->options = *options;
    if (!loader->options.slice_count) loader->options.slice_count = loader->options.batch;
    if (!loader->options.repeats || options->use != SV_LOAD_TRAINING) loader->options.repeats = 1;
    if (!loader->options.repeat_ranks) loader->options.repeat_ranks = 1;
    status = options_check(loader, err);
    if (!status && sv_mul_size3(&loader->floats, 3, options->transform.size, options->transform.size))
        status = sv_fail(err, SV_USAGE, "pictures of %zu pixels a side are too large", options->transform.size);
    if (!status) {
        uint64_t count = sv_source_count(source), batch = options->batch;
        if (loader->options.repeats > 1 && count > 256) count = count / 256 * 256; /* as RASampler has it */
        loader->batches = options->use == SV_LOAD_TRAINING ? count / batch : (count + batch - 1) / batch;
        status = rooms_create(loader, err);
    }
    if (!status) status = workers_start(loader, err);
    if (status)
        sv_loader_destroy(loader);
    else
        *out = loader;
    return status;
}

static void notes_clear(struct room *room)
{
    for (size_t i = 0; i < room->note_count; i++) sv_free(room->notes[i].text);
    room->note_count = 0;
}

void sv_loader_destroy(sv_loader *loader)
{
    if (!loader) return;
    pthread_mutex_lock(&loader->lock);
    loader->quit = true;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->lock);
    for (size_t i = 0; i < loader->thread_count; i++) pthread_join(loader->threads[i], NULL);
    for (size_t i = 0; loader->rooms && i < loader->room_count; i++) {
        struct room *room = &loader->rooms[i];
        notes_clear(room);
        sv_free(room->notes);
        sv_free(room->absent);
        sv_free(room->batch.pictures);
        sv_free(room->batch.labels);
        sv_free(room->batch.samples);
        sv_free(room->batch.draws);
        sv_free(room->repeats);
    }
    sv_free(loader->rooms);
    sv_free(loader->order);
    sv_free(loader->known_bad);
    sv_free(loader->threads);
    sv_cache_destroy(loader->cache);
    pthread_cond_destroy(&loader->idle);
    pthread_cond_destroy(&loader->ready);
    pthread_cond_destroy(&loader->work);
    pthread_mutex_destroy(&loader->lock);
    sv_free(loader);
}

uint64_t sv_loader_batches(const sv_loader *loader)
{
    return loader->batches;
}

void sv_loader_start(sv_loader *loader, uint32_t epoch, uint64_t batch, uint32_t end_epoch)
{
    pthread_mutex_lock(&loader->lock);
    loader->running = false;
    while (loader->busy) pthread_cond_wait(&loader->idle, &loader->lock);
    for (size_t i = 0; i < loader->room_count; i++) {
        notes_clear(&loader->rooms[i]);
        loader->rooms[i].planned = false;
    }
    uint64_t all = end_epoch > epoch ? (uint64_t)(end_epoch - epoch) * loader->batches : 0;
    loader->first_epoch = epoch;
    loader->first_batch = batch;
    loader->total = all > batch ? all - batch : 0;
    loader->released = loader->next_number = 0;
    loader->next_place = 0;
    loader->held = false;
    loader->failed = SV_OK;
    loader->started = sv_now_seconds();
    loader->waited = 0;
    loader->handed_pictures = 0;
    loader->running = true;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->lock);
}

/* ---- handing out ---- */

static int by_place(const void *one, const void *other)
{
    const struct bad_note *a = one, *b = other;
    if (a->place != b->place) return a->place < b->place ? -1 : 1;
    return (a->attempt > b->attempt) - (a->attempt < b->attempt);
}

static sv_status notes_judge(sv_loader *loader, struct room *room, sv_error *err)
{
    size_t count = sv_source_count(loader->source);
    if (room->note_count) qsort(room->notes, room->note_count, sizeof *room->notes, by_place);
    for (size_t i = 0; i < room->note_count; i++) {
        const struct bad_note *note = &room->notes[i];
        if (loader->known_bad[note->sample]) continue;
        loader->known_bad[note->sample] = 1;
        loader->bad_count++;
        sv_log(SV_WARNING, "left out: %s", note->text);
        if ((double)loader->bad_count > loader->options.max_bad * (double)count)
            return sv_fail(err, SV_DATA, "%s: %zu of %zu pictures cannot be read, more than data.max_bad = %g allows; remove them or raise data.max_bad; the last: %s",
                           sv_source_name(loader->source), loader->bad_count, count, loader->options.max_bad, note->text);
    }
    return SV_OK;
}

/* Closes the gaps of pictures that are left out. */
static void room_compact(const sv_loader *loader, struct room *room)
{
    sv_batch *batch = &room->batch;
    batch->count = 0;
    for (size_t i = 0; i < room->places; i++) {
        if (room->absent[i]) continue;
        size_t to = batch->count++;
        if (to == i) continue;
        memcpy(batch->pictures + to * loader->floats, batch->pictures + i * loader->floats, loader->floats * sizeof *batch->pictures);
        batch->labels[to] = batch->labels[i];
        batch->samples[to] = batch->samples[i];
        batch->draws[to] = batch->draws[i];
    }
}

/* Gives the caller's batch back and waits for the next one; NULL after the last. */
static struct room *room_wait(sv_loader *loader)
{
    struct room *room = NULL;
    pthread_mutex_lock(&loader->lock);
    if (loader->held) {
        struct room *back = &loader->rooms[loader->released % loader->room_count];
        notes_clear(back);
        back->planned = false;
        loader->held = false;
        loader->released++;
        pthread_cond_broadcast(&loader->work);
    }
    if (loader->released < loader->total) {
        double since = sv_now_seconds();
        room = &loader->rooms[loader->released % loader->room_count];
        while (!room->planned || room->made < room->places) pthread_cond_wait(&loader->ready, &loader->lock);
        loader->waited += sv_now_seconds() - since;
        loader->held = true;
    }
    pthread_mutex_unlock(&loader->lock);
    return room;
}

sv_status sv_loader_next(sv_loader *loader, sv_batch **batch, sv_error *err)
{
    *batch = NULL;
    if (loader->failed) return sv_fail(err, loader->failed, "%s", loader->failure.text);
    struct room *room = room_wait(loader);
    if (!room) return SV_OK;
    loader->failed = notes_judge(loader, room, &loader->failure);
    if (!loader->failed && room->status) {
        loader->failed = room->status;
        loader->failure = room->error;
    }
    if (loader->failed) return sv_fail(err, loader->failed, "%s", loader->failure.text);
    room_compact(loader, room);
    loader->handed_pictures += room->batch.count;
    *batch = &room->batch;
    return SV_OK;
}

sv_loader_stats sv_loader_stats_now(const sv_loader *loader)
{
    return (sv_loader_stats){ .waited_seconds = loader->waited, .seconds = loader->started > 0 ? sv_now_seconds() - loader->started : 0,
                              .pictures = loader->handed_pictures, .bad_pictures = loader->bad_count, .cached_bytes = sv_cache_bytes(loader->cache) };
}
