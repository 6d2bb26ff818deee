/* The loader: same batches for any number of workers and from any start, unreadable pictures, faults. */
#include "tests/unit/data/test_data.h"

#include <math.h>

enum { SIZE = 16, BATCH = 4 };

static sv_loader_options options_of(sv_loader_use use, size_t workers)
{
    sv_loader_options options = { .use = use, .batch = BATCH, .workers = workers, .queue = 2, .seed = 11, .max_bad = 0, .transform = sv_transform_defaults() };
    options.transform.size = SIZE;
    return options;
}

static sv_source *source_of(const char *root)
{
    sv_source *source;
    sv_error err = { 0 };
    assert_ok(sv_source_open_folder(&source, in_folder(root), NULL, &err), err);
    return source;
}

/* All that a batch holds, and where it stands, as one number. */
static uint64_t batch_digest(const sv_batch *batch)
{
    uint64_t digest = 14695981039346656037u;
    const struct { const void *bytes; size_t count; } parts[] = {
        { batch->pictures, batch->count * 3 * SIZE * SIZE * sizeof *batch->pictures }, { batch->labels, batch->count * sizeof *batch->labels },
        { batch->samples, batch->count * sizeof *batch->samples }, { &batch->epoch, sizeof batch->epoch }, { &batch->index, sizeof batch->index } };
    for (size_t i = 0; i < SV_COUNT(parts); i++)
        for (size_t at = 0; at < parts[i].count; at++) digest = (digest ^ ((const uint8_t *)parts[i].bytes)[at]) * 1099511628211u;
    return digest;
}

/* Runs from (epoch, batch) to the end of epoch `end` - 1; the digests go to `digests`. */
static size_t run(sv_loader *loader, uint32_t epoch, uint64_t first, uint32_t end, uint64_t *digests)
{
    sv_batch *batch;
    sv_error err = { 0 };
    size_t count = 0;
    sv_loader_start(loader, epoch, first, end);
    for (;;) {
        assert_ok(sv_loader_next(loader, &batch, &err), err);
        if (!batch) return count;
        digests[count++] = batch_digest(batch);
    }
}

static void batches_are_the_same_for_any_number_of_workers(void **state)
{
    static const size_t workers[] = { 1, 2, 3, 7 };
    uint64_t expected[64], got[64];
    (void)state;
    put_tree("w", 3, 5);
    for (int use = 0; use < 2; use++)
        for (size_t i = 0; i < SV_COUNT(workers); i++) {
            sv_source *source = source_of("w");
            sv_loader *loader;
            sv_error err = { 0 };
            sv_loader_options options = options_of((sv_loader_use)use, workers[i]);
            options.queue = 1 + i;
            assert_ok(sv_loader_create(&loader, source, &options, &err), err);
            assert_int_equal(sv_loader_batches(loader), use == SV_LOAD_TRAINING ? 3 : 4);
            size_t count = run(loader, 0, 0, 3, i ? got : expected);
            assert_int_equal(count, 3 * sv_loader_batches(loader));
            if (i) assert_memory_equal(got, expected, count * sizeof *got);
            sv_loader_destroy(loader);
            sv_source_close(source);
        }
}

static void a_start_in_the_middle_gives_the_same_batches(void **state)
{
    uint64_t all[64], rest[64];
    sv_loader_options options = options_of(SV_LOAD_TRAINING, 2);
    sv_loader *loader;
    sv_error err = { 0 };
    sv_source *source;
    (void)state;
    put_tree("m", 3, 5);
    source = source_of("m");
    assert_ok(sv_loader_create(&loader, source, &options, &err), err);
    size_t count = run(loader, 0, 0, 4, all), batches = sv_loader_batches(loader);
    for (size_t from = 0; from <= count; from++) {
        size_t left = run(loader, (uint32_t)(from / batches), from % batches, 4, rest);
        assert_int_equal(left, count - from);
        assert_memory_equal(rest, all + from, left * sizeof *rest);
    }
    /* A start while workers are busy, and with a batch in hand. */
    sv_batch *batch;
    sv_loader_start(loader, 0, 0, 4);
    assert_ok(sv_loader_next(loader, &batch, &err), err);
    sv_loader_start(loader, 2, 1, 4);
    assert_ok(sv_loader_next(loader, &batch, &err), err);
    assert_int_equal(batch->epoch, 2);
    assert_int_equal(batch->index, 1);
    assert_true(batch_digest(batch) == all[2 * batches + 1]);
    sv_loader_destroy(loader);
    sv_source_close(source);
}

static void an_epoch_of_training_takes_each_sample_at_most_once(void **state)
{
    sv_loader_options options = options_of(SV_LOAD_TRAINING, 2);
    sv_loader *loader;
    sv_batch *batch;
    sv_error err = { 0 };
    uint64_t first[2][12];
    (void)state;
    put_tree("e", 3, 5);
    sv_source *source = source_of("e");
    assert_ok(sv_loader_create(&loader, source, &options, &err), err);
    sv_loader_start(loader, 0, 0, 2);
    for (uint32_t epoch = 0; epoch < 2; epoch++) {
        bool seen[15] = { false };
        for (size_t b = 0; b < 3; b++) {
            assert_ok(sv_loader_next(loader, &batch, &err), err);
            assert_int_equal(batch->epoch, epoch);
            assert_int_equal(batch->count, BATCH);
            assert_int_equal(batch->last_of_epoch, b == 2);
            for (size_t i = 0; i < BATCH; i++) {
                assert_false(seen[batch->samples[i]]);
                seen[batch->samples[i]] = true;
                first[epoch][b * BATCH + i] = batch->samples[i];
                assert_int_equal(batch->labels[i], batch->samples[i] / 5);
            }
        }
    }
    assert_memory_not_equal(first[0], first[1], sizeof first[0]);
    sv_loader_destroy(loader);
    sv_source_close(source);
}

/* DeiT's RASampler said again: the permutation with each entry `repeats` times in a row, dealt out to ranks; each rank makes its part of a batch. */
static void repeats_are_dealt_as_to_ranks(void **state)
{
    enum { REPEATS = 3, RANKS = 2, PART = BATCH / RANKS, PICTURES = 15 };
    sv_loader_options options = options_of(SV_LOAD_TRAINING, 2);
    sv_loader *plain, *loader;
    sv_batch *batch;
    sv_error err = { 0 };
    uint64_t order[12];
    (void)state;
    put_tree("ra", 3, 5);
    sv_source *source = source_of("ra");
    assert_ok(sv_loader_create(&plain, source, &options, &err), err);
    sv_loader_start(plain, 1, 0, 2);
    for (size_t b = 0; b < 3; b++) {
        assert_ok(sv_loader_next(plain, &batch, &err), err);
        memcpy(order + b * BATCH, batch->samples, sizeof *order * BATCH);
    }
    options.repeats = REPEATS;
    options.repeat_ranks = RANKS;
    assert_ok(sv_loader_create(&loader, source, &options, &err), err);
    assert_int_equal(sv_loader_batches(loader), 3);
    sv_loader_start(loader, 1, 0, 2);
    for (size_t b = 0; b < 3; b++) {
        assert_ok(sv_loader_next(loader, &batch, &err), err);
        for (size_t rank = 0; rank < RANKS; rank++)
            for (size_t i = 0; i < PART; i++) {
                const size_t mine = b * PART + i, entry = rank + mine * RANKS; /* idx[r], idx[r + R], ... */
                assert_int_equal(batch->samples[rank * PART + i], order[entry / REPEATS]);
                assert_int_equal(batch->draws[rank * PART + i], order[entry / REPEATS] | (uint64_t)(entry % REPEATS) << 48);
            }
        for (size_t i = 0; i < BATCH; i++) /* repeats of a picture are different pictures */
            for (size_t k = 0; k < i; k++)
                if (batch->samples[i] == batch->samples[k])
                    assert_memory_not_equal(batch->pictures + i * 3 * SIZE * SIZE, batch->pictures + k * 3 * SIZE * SIZE, 3 * SIZE * SIZE * sizeof(sv_real));
    }
    sv_loader_destroy(plain);
    sv_loader_destroy(loader);
    options.repeat_ranks = 3;
    assert_int_equal(sv_loader_create(&loader, source, &options, &err), SV_USAGE);
    sv_source_close(source);
}

static void slices_of_ranks_make_up_the_whole_batch(void **state)
{
    sv_loader_options options = options_of(SV_LOAD_TRAINING, 1);
    sv_loader *whole, *half[2];
    sv_batch *batch, *part;
    sv_error err = { 0 };
    size_t floats = 3 * SIZE * SIZE;
    (void)state;
    put_tree("s", 3, 5);
    sv_source *source = source_of("s");
    assert_ok(sv_loader_create(&whole, source, &options, &err), err);
    options.slice_count = BATCH / 2;
    for (size_t rank = 0; rank < 2; rank++) {
        options.slice_first = rank * BATCH / 2;
        assert_ok(sv_loader_create(&half[rank], source, &options, &err), err);
        sv_loader_start(half[rank], 0, 0, 2);
    }
    sv_loader_start(whole, 0, 0, 2);
    for (int b = 0; b < 6; b++) {
        assert_ok(sv_loader_next(whole, &batch, &err), err);
        for (size_t rank = 0; rank < 2; rank++) {
            assert_ok(sv_loader_next(half[rank], &part, &err), err);
            assert_int_equal(part->count, BATCH / 2);
            assert_memory_equal(part->pictures, batch->pictures + rank * (BATCH / 2) * floats, (BATCH / 2) * floats * sizeof *part->pictures);
            assert_memory_equal(part->samples, batch->samples + rank * (BATCH / 2), (BATCH / 2) * sizeof *part->samples);
        }
    }
    sv_loader_destroy(whole);
    sv_loader_destroy(half[0]);
    sv_loader_destroy(half[1]);
    sv_source_close(source);
}

static void slices_of_an_evaluation_make_up_the_last_batch(void **state)
{
    sv_loader_options options = options_of(SV_LOAD_EVALUATION, 1);
    size_t seen = 0;
    (void)state;
    put_tree("se", 1, 5);
    sv_source *source = source_of("se");
    options.slice_count = 2;
    for (size_t rank = 0; rank < 2; rank++) {
        sv_loader *loader;
        sv_batch *batch;
        sv_error err = { 0 };
        options.slice_first = rank * 2;
        assert_ok(sv_loader_create(&loader, source, &options, &err), err);
        sv_loader_start(loader, 0, 0, 1);
        for (int b = 0; b < 2; b++) {
            assert_ok(sv_loader_next(loader, &batch, &err), err);
            assert_non_null(batch);
            assert_int_equal(batch->count, b == 0 ? 2 : rank == 0 ? 1 : 0); /* the second rank's last batch is empty, not absent */
            seen += batch->count;
        }
        assert_ok(sv_loader_next(loader, &batch, &err), err);
        assert_null(batch);
        sv_loader_destroy(loader);
    }
    assert_int_equal(seen, 5);
    sv_source_close(source);
}

static void evaluation_leaves_unreadable_pictures_out(void **state)
{
    uint64_t first[8], again[8];
    (void)state;
    put_tree("b", 2, 5);
    write_text(in_folder("b/classA/02.jpg"), "GIF89a, really");
    write_text(in_folder("b/classB/04.jpg"), "");
    sv_source *source = source_of("b");
    for (size_t workers = 1; workers <= 3; workers += 2) {
        sv_loader_options options = options_of(SV_LOAD_EVALUATION, workers);
        sv_loader *loader;
        sv_error err = { 0 };
        options.max_bad = 0.25;
        logged[0] = 0;
        sv_log_set(log_keep, NULL, SV_INFO);
        assert_ok(sv_loader_create(&loader, source, &options, &err), err);
        size_t count = run(loader, 0, 0, 2, workers == 1 ? first : again);
        sv_log_set(NULL, NULL, SV_INFO);
        assert_int_equal(count, 6);
        if (workers > 1) assert_memory_equal(first, again, sizeof *first * count);
        sv_loader_stats stats = sv_loader_stats_now(loader);
        assert_int_equal(stats.pictures, 16);
        assert_int_equal(stats.bad_pictures, 2);
        assert_int_equal(times_in(logged, "classA/02.jpg"), 1); /* named once, in spite of two epochs */
        assert_int_equal(times_in(logged, "classB/04.jpg"), 1);
        assert_true(strstr(logged, "02.jpg") < strstr(logged, "04.jpg"));
        sv_loader_destroy(loader);
    }
    sv_source_close(source);
}

static void training_fills_the_place_of_an_unreadable_picture(void **state)
{
    uint64_t first[16], again[16];
    (void)state;
    put_tree("f", 2, 5);
    write_text(in_folder("f/classB/01.jpg"), "no picture");
    sv_source *source = source_of("f");
    for (size_t workers = 1; workers <= 3; workers += 2) {
        sv_loader_options options = options_of(SV_LOAD_TRAINING, workers);
        sv_loader *loader;
        sv_error err = { 0 };
        options.max_bad = 0.1;
        sv_log_set(log_keep, NULL, SV_INFO);
        assert_ok(sv_loader_create(&loader, source, &options, &err), err);
        size_t count = run(loader, 0, 0, 6, workers == 1 ? first : again);
        sv_log_set(NULL, NULL, SV_INFO);
        assert_int_equal(count, 12);
        assert_int_equal(sv_loader_stats_now(loader).pictures, 48);
        assert_int_equal(sv_loader_stats_now(loader).bad_pictures, 1);
        if (workers > 1) assert_memory_equal(first, again, sizeof first[0] * count);
        sv_loader_destroy(loader);
    }
    sv_source_close(source);
}

static void too_many_unreadable_pictures_stop_the_run(void **state)
{
    sv_loader_options options = options_of(SV_LOAD_EVALUATION, 2);
    sv_loader *loader;
    sv_batch *batch;
    sv_error err = { 0 };
    sv_status status = SV_OK;
    (void)state;
    put_tree("x", 2, 5);
    write_text(in_folder("x/classA/00.jpg"), "no picture");
    write_text(in_folder("x/classB/00.jpg"), "no picture");
    sv_source *source = source_of("x");
    options.max_bad = 0.1;
    sv_log_set(log_keep, NULL, SV_INFO);
    assert_ok(sv_loader_create(&loader, source, &options, &err), err);
    sv_loader_start(loader, 0, 0, 1);
    assert_ok(sv_loader_next(loader, &batch, &err), err);
    assert_int_equal(batch->count, 3);
    status = sv_loader_next(loader, &batch, &err);
    assert_int_equal(status, SV_DATA);
    assert_null(batch);
    assert_non_null(strstr(err.text, "2 of 10 pictures"));
    assert_non_null(strstr(err.text, "data.max_bad = 0.1"));
    assert_non_null(strstr(err.text, "classB/00.jpg"));
    assert_int_equal(sv_loader_next(loader, &batch, &err), SV_DATA); /* and stays so until the next start */
    sv_loader_destroy(loader);
    options.use = SV_LOAD_TRAINING;
    options.max_bad = 0;
    assert_ok(sv_loader_create(&loader, source, &options, &err), err);
    sv_loader_start(loader, 0, 0, 50);
    for (status = SV_OK; !status;) status = sv_loader_next(loader, &batch, &err);
    assert_int_equal(status, SV_DATA);
    sv_log_set(NULL, NULL, SV_INFO);
    sv_loader_destroy(loader);
    sv_source_close(source);
}

static void a_source_of_no_readable_picture_ends_with_a_sentence(void **state)
{
    sv_loader_options options = options_of(SV_LOAD_TRAINING, 2);
    sv_loader *loader;
    sv_batch *batch;
    sv_error err = { 0 };
    (void)state;
    for (int i = 0; i < 5; i++) {
        char name[64];
        snprintf(name, sizeof name, "n/class/%d.jpg", i);
        put_picture(name, 1);
        write_text(in_folder(name), "no picture");
    }
    sv_source *source = source_of("n");
    options.max_bad = 1;
    sv_log_set(log_keep, NULL, SV_INFO);
    assert_ok(sv_loader_create(&loader, source, &options, &err), err);
    sv_loader_start(loader, 0, 0, 1);
    assert_int_equal(sv_loader_next(loader, &batch, &err), SV_DATA);
    assert_non_null(strstr(err.text, "one after the other"));
    sv_log_set(NULL, NULL, SV_INFO);
    sv_loader_destroy(loader);
    sv_source_close(source);
}

static void the_cache_changes_nothing_but_the_reading(void **state)
{
    uint64_t plain[32], cached[32];
    sv_loader_options options = options_of(SV_LOAD_TRAINING, 3);
    (void)state;
    put_tree("c", 3, 5);
    sv_source *source = source_of("c");
    for (size_t bytes = 0; bytes <= 100000; bytes += 5000) { /* from none over some to all */
        sv_loader *loader;
        sv_error err = { 0 };
        options.cache_bytes = bytes;
        assert_ok(sv_loader_create(&loader, source, &options, &err), err);
        size_t count = run(loader, 0, 0, 4, bytes ? cached : plain);
        if (bytes) assert_memory_equal(cached, plain, count * sizeof *plain);
        assert_true(sv_loader_stats_now(loader).cached_bytes <= bytes);
        sv_loader_destroy(loader);
        if (!bytes) bytes = 5000;
    }
    sv_source_close(source);
}

static void options_that_cannot_be_are_refused(void **state)
{
    sv_loader *loader;
    sv_error err = { 0 };
    (void)state;
    put_tree("o", 1, 3);
    sv_source *source = source_of("o");
    sv_loader_options options = options_of(SV_LOAD_TRAINING, 1);
    assert_int_equal(sv_loader_create(&loader, source, &options, &err), SV_DATA);
    assert_non_null(strstr(err.text, "fewer than one batch of 4; lower train.batch"));
    options.batch = 2;
    options.slice_first = 1;
    options.slice_count = 2;
    assert_int_equal(sv_loader_create(&loader, source, &options, &err), SV_USAGE);
    options.batch = options.slice_count = options.slice_first = 0;
    assert_int_equal(sv_loader_create(&loader, source, &options, &err), SV_USAGE);
    sv_source_close(source);
}

static sv_status load_all(const sv_source *source, size_t workers, sv_error *err)
{
    sv_loader_options options = options_of(SV_LOAD_TRAINING, workers);
    sv_loader *loader = NULL;
    sv_batch *batch;
    options.max_bad = 1;
    options.cache_bytes = 4000;
    sv_status status = sv_loader_create(&loader, source, &options, err);
    if (status) return status;
    sv_loader_start(loader, 0, 0, 1);
    do status = sv_loader_next(loader, &batch, err);
    while (!status && batch);
    sv_loader_destroy(loader);
    return status;
}

static void any_failed_call_leaves_nothing(void **state)
{
    (void)state;
    put_tree("z", 2, 4);
    write_text(in_folder("z/classA/00.jpg"), "no picture");
    sv_source *source = source_of("z");
    sv_log_set(log_keep, NULL, SV_QUIET);
    for (int kind = SV_FAULT_ALLOC; kind <= SV_FAULT_READ; kind++)
        for (uint64_t at = 1;; at++) {
            sv_error err = { 0 };
            sv_memory before = sv_memory_now();
            size_t descriptors = open_descriptors();
            sv_fault_set((sv_fault_kind)kind, at, false);
            sv_status status = load_all(source, 2, &err);
            bool survived = sv_fault_calls((sv_fault_kind)kind) < at;
            sv_fault_set((sv_fault_kind)kind, 0, false);
            if (status && (!err.text[0] || (status != SV_FAULT && status != SV_DATA))) fail_msg("kind %d, call %d: %d '%s'", kind, (int)at, (int)status, err.text);
            assert_int_equal(sv_memory_now().live, before.live);
            assert_int_equal(open_descriptors(), descriptors);
            if (survived) break;
        }
    sv_log_set(NULL, NULL, SV_INFO);
    sv_source_close(source);
}

static void steps_allocate_nothing_of_their_own(void **state)
{
    sv_loader_options options = options_of(SV_LOAD_EVALUATION, 1);
    sv_loader *loader;
    sv_error err = { 0 };
    uint64_t digests[16];
    (void)state;
    put_tree("a", 1, 8);
    sv_source *source = source_of("a");
    assert_ok(sv_loader_create(&loader, source, &options, &err), err);
    run(loader, 0, 0, 2, digests);
    size_t live = sv_memory_now().live;
    run(loader, 0, 0, 4, digests);
    assert_int_equal(sv_memory_now().live, live);
    sv_loader_destroy(loader);
    sv_source_close(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_are_the_same_for_any_number_of_workers),
        cmocka_unit_test(a_start_in_the_middle_gives_the_same_batches),
        cmocka_unit_test(an_epoch_of_training_takes_each_sample_at_most_once),
        cmocka_unit_test(repeats_are_dealt_as_to_ranks),
        cmocka_unit_test(slices_of_ranks_make_up_the_whole_batch),
        cmocka_unit_test(slices_of_an_evaluation_make_up_the_last_batch),
        cmocka_unit_test(evaluation_leaves_unreadable_pictures_out),
        cmocka_unit_test(training_fills_the_place_of_an_unreadable_picture),
        cmocka_unit_test(too_many_unreadable_pictures_stop_the_run),
        cmocka_unit_test(a_source_of_no_readable_picture_ends_with_a_sentence),
        cmocka_unit_test(the_cache_changes_nothing_but_the_reading),
        cmocka_unit_test(options_that_cannot_be_are_refused),
        cmocka_unit_test(any_failed_call_leaves_nothing),
        cmocka_unit_test(steps_allocate_nothing_of_their_own),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
