/* Tar shards: packing, reading, index files, the order of training, forms of tar, and what is broken. */
#include "data/shards.h"
#include "data/pack.h"
#include "formats/tar.h"
#include "tests/unit/data/test_data.h"

#include <sys/resource.h>

/* ---- what the tests share ---- */

static sv_source *open_ok(const char *folder, const sv_source_options *options)
{
    static const sv_source_options plain;
    sv_source *source;
    sv_error err = { 0 };
    assert_ok(sv_source_open(&source, in_folder(folder), options ? options : &plain, &err), err);
    return source;
}

static void assert_refused(const char *folder, const sv_source_options *options, const char *says)
{
    static const sv_source_options plain;
    sv_source *source;
    sv_error err = { 0 };
    sv_memory before = sv_memory_now();
    sv_status status = sv_source_open(&source, in_folder(folder), options ? options : &plain, &err);
    if (status != SV_DATA || !strstr(err.text, says))
        fail_msg("expected a refusal that says '%s', got %d '%s'", says, (int)status, err.text);
    assert_int_equal(sv_memory_now().live, before.live);
}

static sv_status pack(const char *from, const char *to, uint64_t shard_bytes, uint64_t seed, sv_pack_result *result, sv_error *err)
{
    char from_path[512], to_path[512];
    snprintf(from_path, sizeof from_path, "%s", in_folder(from));
    snprintf(to_path, sizeof to_path, "%s", in_folder(to));
    sv_pack_options options = {
        .from = from_path, .to = to_path, .source = { .format = "folder" }, .name = "train", .shard_bytes = shard_bytes, .seed = seed
    };
    return sv_pack(&options, result, err);
}

static sv_pack_result pack_ok(const char *from, const char *to, uint64_t shard_bytes, uint64_t seed)
{
    sv_pack_result result;
    sv_error err = { 0 };
    assert_ok(pack(from, to, shard_bytes, seed, &result, &err), err);
    return result;
}

static size_t read_file(const char *relative, unsigned char **bytes)
{
    size_t count;
    sv_error err = { 0 };
    assert_ok(sv_file_read_all(in_folder(relative), SIZE_MAX, SV_DATA, bytes, &count, &err), err);
    return count;
}

static void write_file(const char *relative, const void *bytes, size_t count)
{
    FILE *file = fopen(in_folder(relative), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

/* A tar put together member by member. */
static void sum_set(unsigned char *header)
{
    char text[16];
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (int i = 0; i < 512; i++) sum += header[i];
    snprintf(text, sizeof text, "%06o", sum);
    memcpy(header + 148, text, 7);
}

static void put_member_as(sv_text *tar, const char *name, char type, const void *data, size_t bytes, size_t stated)
{
    unsigned char header[512] = { 0 };
    strncpy((char *)header, name, 100);
    snprintf((char *)header + 124, 12, "%011zo", stated);
    header[156] = (unsigned char)type;
    memcpy(header + 257, "ustar\00000", 8);
    sum_set(header);
    sv_text_add_bytes(tar, header, 512);
    sv_text_add_bytes(tar, data, bytes);
    memset(header, 0, 512);
    sv_text_add_bytes(tar, header, (512 - bytes % 512) % 512);
}

static void put_member(sv_text *tar, const char *name, const char *data)
{
    put_member_as(tar, name, '0', data, strlen(data), strlen(data));
}

static void put_end(sv_text *tar, const char *relative)
{
    static const char zeros[1024];
    char folder[512];
    sv_error err = { 0 };
    snprintf(folder, sizeof folder, "%s", in_folder(relative));
    *strrchr(folder, '/') = 0;
    assert_ok(sv_folder_create(folder, &err), err);
    sv_text_add_bytes(tar, zeros, sizeof zeros);
    write_file(relative, tar->data, tar->length);
    sv_text_clear(tar);
}

static void assert_sample(const sv_source *source, size_t sample, const char *path_end, uint32_t label, const char *data)
{
    sv_bytes room = { 0 };
    sv_error err = { 0 };
    char *path;
    assert_ok(sv_source_path(source, sample, &path, &err), err);
    if (!strstr(path, path_end)) fail_msg("'%s' does not hold '%s'", path, path_end);
    sv_free(path);
    assert_int_equal(sv_source_label(source, sample), label);
    assert_ok(sv_source_bytes(source, sample, &room, &err), err);
    assert_int_equal(room.count, strlen(data));
    assert_memory_equal(room.data, data, room.count);
    sv_bytes_clear(&room);
}

/* Position of each sample of the source in the folder, by the permutation of the packing. */
static void assert_same_samples(const sv_source *shards, const sv_source *folder, uint64_t seed)
{
    size_t count = sv_source_count(folder);
    uint64_t *order = calloc(count, sizeof *order);
    sv_random random = sv_random_at(seed, SV_FOR_SHUFFLE, 0, 0, 0);
    sv_bytes one = { 0 }, other = { 0 };
    sv_error err = { 0 };
    assert_int_equal(sv_source_count(shards), count);
    assert_ok(sv_source_check_same(folder, shards, &err), err);
    sv_random_permutation(&random, order, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(sv_source_label(shards, i), sv_source_label(folder, order[i]));
        assert_ok(sv_source_bytes(shards, i, &one, &err), err);
        assert_ok(sv_source_bytes(folder, order[i], &other, &err), err);
        assert_int_equal(one.count, other.count);
        assert_memory_equal(one.data, other.data, one.count);
    }
    sv_bytes_clear(&one);
    sv_bytes_clear(&other);
    free(order);
}

/* ---- packing ---- */

static void packed_shards_hold_the_samples_of_the_folder(void **state)
{
    char name[64];
    (void)state;
    put_tree("a/tree", 4, 9);
    write_text(in_folder("a/tree/classB/broken.jpg"), "no picture");
    write_text(in_folder("a/tree/classB/empty"), "");
    put_picture("a/tree/classC/dots.in.its name.jpeg", 2);
    sv_source *folder = open_ok("a/tree", NULL);
    sv_pack_result result = pack_ok("a/tree", "a/shards", 12000, 5);
    assert_int_equal(result.samples, 39);
    assert_int_equal(result.classes, 4);
    assert_true(result.shards > 3);
    assert_false(sv_path_exists(in_folder("a/shards/train.incomplete")));
    sv_source *shards = open_ok("a/shards", NULL);
    assert_same_samples(shards, folder, 5);
    assert_string_equal(sv_source_classes(shards)->folders[2], "classC");
    sv_source_close(shards);
    uint64_t bytes = 0;
    for (size_t i = 0; i < result.shards; i++) { /* without their indices the same */
        unsigned char *tar;
        snprintf(name, sizeof name, "a/shards/train-%06zu.tar", i);
        size_t count = read_file(name, &tar);
        assert_true(count <= 12000 && count % 512 == 0);
        bytes += count;
        sv_free(tar);
        strcat(name, ".index");
        assert_int_equal(unlink(in_folder(name)), 0);
    }
    assert_int_equal(bytes, result.bytes);
    shards = open_ok("a/shards", NULL);
    assert_same_samples(shards, folder, 5);
    sv_source_close(shards);
    sv_source_close(folder);
}

static void the_same_seed_packs_the_same_bytes(void **state)
{
    static const char *const files[] = { "train-000000.tar", "train-000000.tar.index", "train-000001.tar", "classes.txt" };
    (void)state;
    put_tree("d/tree", 3, 7);
    pack_ok("d/tree", "d/one", 15000, 1);
    pack_ok("d/tree", "d/two", 15000, 1);
    pack_ok("d/tree", "d/other", 15000, 2);
    for (size_t i = 0; i < SV_COUNT(files); i++) {
        unsigned char *bytes[3];
        size_t counts[3];
        static const char *const folders[] = { "one", "two", "other" };
        for (size_t f = 0; f < 3; f++) {
            char name[128];
            snprintf(name, sizeof name, "d/%s/%s", folders[f], files[i]);
            counts[f] = read_file(name, &bytes[f]);
        }
        assert_int_equal(counts[0], counts[1]);
        assert_memory_equal(bytes[0], bytes[1], counts[0]);
        bool same = counts[0] == counts[2] && !memcmp(bytes[0], bytes[2], counts[0]);
        assert_int_equal(same, i == 3);
        for (size_t f = 0; f < 3; f++) sv_free(bytes[f]);
    }
}

static void packing_takes_no_folder_that_holds_other_shards(void **state)
{
    sv_pack_result result;
    sv_error err = { 0 };
    (void)state;
    put_tree("o/tree", 2, 6);
    result = pack_ok("o/tree", "o/shards", 1, 0); /* one picture a shard */
    assert_int_equal(result.shards, 12);
    assert_int_equal(pack("o/tree", "o/shards", 1 << 20, 0, &result, &err), SV_DATA);
    assert_non_null(strstr(err.text, "it holds train-000000.tar already"));
    /* What a killed run left is not opened, and is gone over. */
    write_text(in_folder("o/shards/train.incomplete"), "");
    assert_refused("o/shards", NULL, "its shards are not complete, as train.incomplete in it says");
    result = pack_ok("o/tree", "o/shards", 1 << 20, 0);
    assert_int_equal(result.shards, 1);
    assert_false(sv_path_exists(in_folder("o/shards/train-000001.tar")));
    assert_false(sv_path_exists(in_folder("o/shards/train-000011.tar.index")));
    sv_source *source = open_ok("o/shards", NULL);
    assert_int_equal(sv_source_count(source), 12);
    sv_source_close(source);
    sv_pack_options bad = { .from = "x", .to = "y", .name = "a/b", .shard_bytes = 1 };
    assert_int_equal(sv_pack(&bad, &result, &err), SV_USAGE);
}

static void any_failed_call_of_packing_leaves_a_marked_folder(void **state)
{
    char clean[1024];
    (void)state;
    put_tree("pf/tree", 2, 1);
    snprintf(clean, sizeof clean, "rm -rf '%s'", in_folder("pf/shards"));
    for (int kind = SV_FAULT_ALLOC; kind < SV_FAULT_KINDS; kind++)
        for (uint64_t at = 1;; at++) {
            sv_pack_result result = { 0 };
            sv_error err = { 0 };
            sv_memory before = sv_memory_now();
            size_t descriptors = open_descriptors();
            sv_fault_set((sv_fault_kind)kind, at, false);
            sv_status status = pack("pf/tree", "pf/shards", 2000, 0, &result, &err);
            bool survived = sv_fault_calls((sv_fault_kind)kind) < at;
            sv_fault_set((sv_fault_kind)kind, 0, false);
            assert_true(survived == !status);
            assert_int_equal(sv_memory_now().live, before.live);
            assert_int_equal(open_descriptors(), descriptors);
            if (status) assert_true(err.text[0] && (status == SV_FAULT || status == SV_DATA));
            if (status && at % 4 == 0) { /* syncing takes its time: not each time */
                bool any = sv_path_exists(in_folder("pf/shards/train-000000.tar"));
                if (any) assert_true(sv_path_exists(in_folder("pf/shards/train.incomplete")));
                result = pack_ok("pf/tree", "pf/shards", 2000, 0);
                status = SV_OK;
            }
            if (!status) {
                sv_source *source = open_ok("pf/shards", NULL);
                assert_int_equal(sv_source_count(source), 2);
                sv_source_close(source);
            }
            assert_int_equal(system(clean), 0);
            if (survived) break;
        }
}

/* ---- the order of training ---- */

static void order_of(const sv_source *source, uint64_t seed, uint32_t epoch, uint64_t *order)
{
    sv_random random = sv_random_at(seed, SV_FOR_SHUFFLE, epoch, 0, 0);
    sv_source_order(source, &random, order);
}

/* Shards of 1 to 60 samples without pictures. */
static size_t put_plain_shards(const char *folder, size_t shards)
{
    size_t samples = 0;
    for (size_t s = 0; s < shards; s++) {
        sv_text tar = { 0 };
        char name[128];
        for (size_t i = 0; i < 1 + s * 59 / (shards - 1); i++, samples++) {
            snprintf(name, sizeof name, "%05zu.jpg", samples);
            put_member(&tar, name, "x");
            snprintf(name, sizeof name, "%05zu.cls", samples);
            put_member(&tar, name, "0");
        }
        snprintf(name, sizeof name, "%s/%03zu.tar", folder, s);
        put_end(&tar, name);
    }
    return samples;
}

static void training_reads_shards_nearly_in_order(void **state)
{
    static const size_t buffers[] = { 1, 2, 50, 100000 };
    enum { SHARDS = 40 };
    (void)state;
    size_t count = put_plain_shards("n", SHARDS);
    uint64_t *order = calloc(count, sizeof *order), *again = calloc(count, sizeof *again), *stream = calloc(count, sizeof *stream);
    uint8_t *seen = calloc(count, 1);
    assert_true(order && again && stream && seen);
    for (size_t b = 0; b < SV_COUNT(buffers); b++) {
        sv_source *source = open_ok("n", &(sv_source_options){ .shuffle_buffer = buffers[b] });
        assert_int_equal(sv_source_count(source), count);
        order_of(source, 3, 1, order);
        order_of(source, 3, 1, again);
        assert_memory_equal(order, again, count * sizeof *order); /* a function of seed and epoch */
        order_of(source, 4, 1, again);
        assert_memory_not_equal(order, again, count * sizeof *order);
        order_of(source, 3, 2, again);
        assert_memory_not_equal(order, again, count * sizeof *order);
        memset(seen, 0, count);
        for (size_t i = 0; i < count; i++) {
            assert_true(order[i] < count && !seen[order[i]]);
            seen[order[i]] = 1;
        }
        /* The same draws with a buffer of one give the stream before shuffling: whole shards, one after the other. */
        sv_source *plain = open_ok("n", &(sv_source_options){ .shuffle_buffer = 1 });
        order_of(plain, 3, 1, stream);
        size_t joins = 0;
        uint64_t *place = again;
        double distance = 0;
        for (size_t i = 0; i < count; i++) place[stream[i]] = i;
        for (size_t i = 1; i < count; i++) joins += stream[i] != stream[i - 1] + 1;
        assert_true(joins < SHARDS && joins > SHARDS / 2); /* shards in random order */
        for (size_t i = 0; i < count; i++) {
            assert_true(place[order[i]] < i + buffers[b]); /* nothing is taken that has not been read yet */
            distance += place[order[i]] > i ? (double)(place[order[i]] - i) : (double)(i - place[order[i]]);
        }
        if (buffers[b] == 1) assert_memory_equal(order, stream, count * sizeof *order);
        if (buffers[b] == 50)
            assert_true(distance / (double)count > 15 && distance / (double)count < 60);   /* about the buffer, not the set */
        if (buffers[b] > count) assert_true(distance / (double)count > (double)count / 4); /* uniform: a third of the set */
        sv_source_close(plain);
        sv_source_close(source);
    }
    free(order);
    free(again);
    free(stream);
    free(seen);
}

static void single_files_keep_their_permutation(void **state)
{
    uint64_t expected[12], got[12];
    sv_random random = sv_random_at(9, SV_FOR_SHUFFLE, 2, 0, 0);
    (void)state;
    put_tree("k", 3, 4);
    sv_source *source = open_ok("k", NULL);
    sv_random_permutation(&random, expected, 12);
    order_of(source, 9, 2, got);
    assert_memory_equal(got, expected, sizeof got);
    sv_source_close(source);
}

/* The pictures and labels of batches from a start, as one number each. */
static size_t batches_of(const sv_source *source, size_t workers, uint64_t from, uint64_t *digests)
{
    sv_loader_options options = {
        .use = SV_LOAD_TRAINING, .batch = 4, .workers = workers, .queue = 2, .seed = 3, .transform = sv_transform_defaults()
    };
    sv_loader *loader;
    sv_batch *batch;
    sv_error err = { 0 };
    size_t count = 0;
    options.transform.size = 16;
    assert_ok(sv_loader_create(&loader, source, &options, &err), err);
    sv_loader_start(loader, (uint32_t)(from / sv_loader_batches(loader)), from % sv_loader_batches(loader), 3);
    for (;;) {
        assert_ok(sv_loader_next(loader, &batch, &err), err);
        if (!batch) break;
        uint64_t digest = 14695981039346656037u;
        const uint8_t *bytes = (const uint8_t *)batch->pictures;
        for (size_t i = 0; i < batch->count * 3 * 16 * 16 * sizeof *batch->pictures; i++) digest = (digest ^ bytes[i]) * 1099511628211u;
        for (size_t i = 0; i < batch->count; i++) digest = (digest ^ batch->labels[i]) * 1099511628211u;
        digests[count++] = digest;
    }
    sv_loader_destroy(loader);
    return count;
}

static void a_start_inside_a_shard_gives_the_same_batches(void **state)
{
    uint64_t all[64], rest[64];
    (void)state;
    put_tree("l/tree", 3, 9);
    pack_ok("l/tree", "l/shards", 20000, 0);
    sv_source *source = open_ok("l/shards", &(sv_source_options){ .shuffle_buffer = 7 });
    size_t count = batches_of(source, 1, 0, all);
    assert_int_equal(count, 18);
    for (size_t from = 0; from < count; from++) {
        assert_int_equal(batches_of(source, 1 + from % 3, from, rest), count - from);
        assert_memory_equal(rest, all + from, (count - from) * sizeof *rest);
    }
    sv_source_close(source);
}

static void many_shards_are_opened_one_at_a_time(void **state)
{
    struct rlimit before, low;
    (void)state;
    put_tree("r/tree", 2, 8);
    pack_ok("r/tree", "r/shards", 1, 0);
    size_t descriptors = open_descriptors();
    sv_source *source = open_ok("r/shards", NULL), *folder = open_ok("r/tree", NULL);
    assert_int_equal(open_descriptors(), descriptors + 16);
    sv_source_close(source);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = 40;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    source = open_ok("r/shards", NULL);
    assert_int_equal(open_descriptors(), descriptors);
    assert_same_samples(source, folder, 0);
    sv_source_close(source);
    sv_source_close(folder);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

/* ---- forms of tar ---- */

static void members_of_one_name_are_a_sample(void **state)
{
    char long_name[300], pax[400];
    sv_text tar = { 0 };
    (void)state;
    put_member_as(&tar, "train/", '5', "", 0, 0);
    put_member(&tar, "train/a.JPEG", "one");
    put_member(&tar, "train/a.json", "{}");
    put_member(&tar, "train/a.cls", " 3\n");
    put_member(&tar, "train/._b.jpg", "hidden");
    put_member(&tar, "README", "no ending");
    put_member(&tar, "b.cls", "1"); /* the label first */
    put_member_as(&tar, "link.jpg", '2', "", 0, 512);
    put_member(&tar, "b.seg.png", "not the picture: its ending is seg.png");
    put_member(&tar, "b.png", "two");
    put_member(&tar, "only.txt", "neither picture nor label");
    memset(long_name, 'n', sizeof long_name);
    memcpy(long_name, "some.folder/", 12);
    strcpy(long_name + 250, ".jpg");
    put_member_as(&tar, "././@LongLink", 'L', long_name, strlen(long_name) + 1, strlen(long_name) + 1);
    put_member(&tar, "cut short", "three");
    strcpy(long_name + 250, ".cls");
    int length = snprintf(pax, sizeof pax, "%d path=%s\n", (int)strlen(long_name) + 10, long_name);
    assert_int_equal(length, strlen(long_name) + 10);
    put_member_as(&tar, "global", 'g', "11 a=b cde\n", 11, 11);
    put_member_as(&tar, "pax", 'x', pax, (size_t)length, (size_t)length);
    put_member(&tar, "cut short", "0");
    /* A prefix, and a size in base 256. */
    size_t at = tar.length;
    put_member(&tar, "c.jpg", "four");
    memcpy(tar.data + at + 345, "prefix/folder", 13);
    memset(tar.data + at + 124, 0, 12);
    tar.data[at + 124] = (char)0x80;
    tar.data[at + 135] = 4;
    sum_set((unsigned char *)tar.data + at);
    at = tar.length;
    put_member(&tar, "c.cls", "2");
    memcpy(tar.data + at + 345, "prefix/folder", 13);
    sum_set((unsigned char *)tar.data + at);
    /* A size that pax says. */
    put_member(&tar, "e.cls", "4");
    put_member_as(&tar, "pax", 'x', "12 mtime=12\n9 size=4\n", 21, 21);
    put_member_as(&tar, "e.jpg", '0', "five", 4, 0);
    put_end(&tar, "form/x.tar");
    sv_source *source = open_ok("form", NULL);
    assert_int_equal(sv_source_count(source), 5);
    assert_int_equal(sv_source_classes(source)->count, 5);
    assert_true(sv_source_numbered(source));
    assert_sample(source, 0, "form/x.tar: train/a.JPEG", 3, "one");
    assert_sample(source, 1, "form/x.tar: b.png", 1, "two");
    assert_sample(source, 2, "form/x.tar: some.folder/nnnn", 0, "three");
    assert_sample(source, 3, "form/x.tar: prefix/folder/c.jpg", 2, "four");
    assert_sample(source, 4, "form/x.tar: e.jpg", 4, "five");
    sv_picture picture = { 0 };
    sv_error err = { 0 };
    assert_int_equal(sv_source_read(source, 1, &picture, &err), SV_DATA);
    assert_non_null(strstr(err.text, "form/x.tar: b.png: this is neither JPEG nor PNG"));
    sv_source_close(source);
}

static void tars_beside_class_folders_are_explained(void **state)
{
    sv_text tar = { 0 };
    (void)state;
    put_tree("both", 2, 1);
    put_member(&tar, "n1.JPEG", "x");
    put_end(&tar, "both/n1.tar");
    assert_refused("both", NULL, "for its class folders set data.format = folder: ");
    sv_source *source = open_ok("both", &(sv_source_options){ .format = "folder" });
    assert_int_equal(sv_source_count(source), 2);
    sv_source_close(source);
}

static void class_names_come_from_the_shards_or_the_class_file(void **state)
{
    sv_text tar = { 0 };
    char own[512], same[512], other[512], few[512];
    (void)state;
    put_member(&tar, "a.jpg", "x");
    put_member(&tar, "a.cls", "1");
    put_end(&tar, "names/x.tar");
    snprintf(own, sizeof own, "%s", in_folder("names/classes.txt"));
    snprintf(same, sizeof same, "%s", in_folder("same.txt"));
    snprintf(other, sizeof other, "%s", in_folder("other.txt"));
    snprintf(few, sizeof few, "%s", in_folder("few.txt"));
    write_text(same, "n0\tzero\nn1\tuno\n");
    write_text(other, "n1\tone\nn0\tzero\n");
    write_text(few, "n1\tone\n");
    sv_source *source = open_ok("names", &(sv_source_options){ .class_file = other });
    assert_string_equal(sv_source_classes(source)->names[1], "zero");
    sv_source_close(source);
    assert_refused("names", &(sv_source_options){ .class_file = few }, "x.tar: a.jpg: label 1 is not a class; the class list has 1");
    write_text(own, "n0\tzero\nn1\tone\n");
    source = open_ok("names", &(sv_source_options){ .class_file = same });
    assert_string_equal(sv_source_classes(source)->names[1], "one");
    assert_false(sv_source_numbered(source));
    sv_source_close(source);
    assert_refused("names", &(sv_source_options){ .class_file = other }, "class 0 is 'n0' in");
    assert_refused("names", &(sv_source_options){ .class_file = few }, "has 2 classes but");
}

/* ---- what is broken ---- */

static void assert_tar_refused(sv_text *tar, const char *says)
{
    put_end(tar, "bad/x.tar");
    assert_refused("bad", NULL, says);
}

static void broken_samples_name_their_member(void **state)
{
    static const struct {
        const char *names[3], *data[3], *says;
    } cases[] = {
        { { "a.jpg", "b.jpg" }, { "x", "y" }, "x.tar: a: the picture has no label" },
        { { "a.cls", "b.jpg" }, { "1", "y" }, "x.tar: a: the label has no picture" },
        { { "d/a.jpg", "d/a.png", "d/a.cls" }, { "x", "y", "1" }, "x.tar: d/a.png: the sample has two pictures" },
        { { "a.jpg", "a.cls", "a.cls" }, { "x", "1", "1" }, "x.tar: a.cls: the sample has two labels" },
        { { "a.jpg", "a.cls" }, { "x", "cat" }, "x.tar: a.cls: the label is not a whole number" },
        { { "a.jpg", "a.cls" }, { "x", "" }, "x.tar: a.cls: the label is not a whole number" },
        { { "a.jpg", "a.cls" }, { "x", "-1" }, "x.tar: a.cls: the label is not a whole number" },
        { { "a.jpg", "a.cls" }, { "x", "1000000" }, "x.tar: a.cls: the label is not a whole number" },
        { { "a.jpg", "a.cls" }, { "x", "000000000000000000000000000000001" }, "x.tar: a.cls: the label has more than 32 bytes" },
        { { "a.txt" }, { "x" }, "bad: its 1 shards hold no sample" },
    };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        sv_text tar = { 0 };
        for (size_t m = 0; m < 3 && cases[i].names[m]; m++) put_member(&tar, cases[i].names[m], cases[i].data[m]);
        assert_tar_refused(&tar, cases[i].says);
    }
}

static void broken_tars_are_refused(void **state)
{
    static const struct {
        char type;
        const char *data, *says;
    } extras[] = {
        { 'x', "11 a=b\n", "a pax header is not made of records" },
        { 'x', "7 abcd\n", "a pax header is not made of records" },
        { 'x', "99999999999 path=a\n", "a pax header is not made of records" },
        { 'x', "8 path=\n", "a member has no name" },
        { 'x', "0 a=b\n", "a pax header is not made of records" },
        { 'x', "9 size=x\n", "a size that is no number" },
        { 'x', "28 size=9223372036854775807\n", "a size that is no number" },
        { 'x', "27 size=922337203685477579\n", "a member of 922337203685477579 bytes begins" },
        { 'x', "22 GNU.sparse.major=1\n", "a sparse file" },
        { 'L', "", "a member has no name" },
        { 'S', "abc", "a sparse file" },
    };
    sv_text tar = { 0 };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(extras); i++) {
        put_member_as(&tar, "extra", extras[i].type, extras[i].data, strlen(extras[i].data), strlen(extras[i].data));
        put_member(&tar, "a.jpg", "x");
        assert_tar_refused(&tar, extras[i].says);
    }
    put_member_as(&tar, "a.jpg", '0', "x", 1, 077777777777);
    assert_tar_refused(&tar, "at byte 0 a member of 8589934591 bytes begins, but only 1536 are left");
    put_member_as(&tar, "long", 'L', "name", 5, 5);
    assert_tar_refused(&tar, "it ends behind a long name");
    put_member_as(&tar, "a.jpg", '0', "x", 1, 1024);
    assert_tar_refused(&tar, "it ends with one block of zeros, where two were expected");
    put_member_as(&tar, "", '0', "x", 1, 1);
    assert_tar_refused(&tar, "a member has no name");
    put_member(&tar, "a.jpg", "x");
    tar.data[0] = 'b';
    assert_tar_refused(&tar, "at byte 0 stands no header, or one whose sum is wrong");
    put_member(&tar, "a.jpg", "x");
    memset(tar.data + 124, 0xff, 12); /* a negative size */
    sum_set((unsigned char *)tar.data);
    assert_tar_refused(&tar, "a size that is no number");
    sv_text_add_bytes(&tar, (char[512]){ 0 }, 512);
    put_member(&tar, "a.jpg", "x");
    assert_tar_refused(&tar, "a block of zeros that is not the end");
    write_file("bad/x.tar", "", 0);
    assert_refused("bad", NULL, "it ends without the two blocks of zeros");
    write_text(in_folder("bad/x.tar"), "hello");
    assert_refused("bad", NULL, "it ends without the two blocks of zeros");
    sv_error err = { 0 };
    assert_int_equal(unlink(in_folder("bad/x.tar")), 0);
    assert_ok(sv_folder_create(in_folder("bad/x.tar"), &err), err);
    assert_refused("bad", NULL, "is a folder; expected a file");
}

static void cut_shards_are_never_taken_for_whole(void **state)
{
    unsigned char *tar;
    sv_source *source;
    sv_error err = { 0 };
    (void)state;
    put_tree("u/tree", 2, 4);
    pack_ok("u/tree", "u/shards", 1 << 20, 0);
    size_t count = read_file("u/shards/train-000000.tar", &tar);
    for (int with_index = 1; with_index >= 0; with_index--) {
        if (!with_index) assert_int_equal(unlink(in_folder("u/shards/train-000000.tar.index")), 0);
        sv_log_set(log_keep, NULL, SV_WARNING);
        for (size_t bytes = 0; bytes <= count; bytes += 512) {
            logged[0] = 0;
            write_file("u/shards/train-000000.tar", tar, bytes);
            sv_status status = sv_source_open(&source, in_folder("u/shards"), &(sv_source_options){ .format = "shards" }, &err);
            assert_int_equal(status, bytes < count ? SV_DATA : SV_OK);
            if (status) assert_non_null(strstr(err.text, "train-000000.tar: at byte"));
            if (with_index && status) assert_non_null(strstr(logged, "not used: it is of a tar of another size"));
            if (!status) sv_source_close(source);
        }
        sv_log_set(NULL, NULL, SV_INFO);
    }
    sv_free(tar);
}

/* Opens what may be broken, reads all of it; any verdict is fine but a crash, a leak or a failure without a sentence. */
static bool survey(const char *folder)
{
    sv_source *source;
    sv_error err = { 0 };
    sv_bytes room = { 0 };
    sv_memory before = sv_memory_now();
    sv_status status = sv_source_open(&source, in_folder(folder), &(sv_source_options){ .format = "shards" }, &err);
    if (status) assert_true(status == SV_DATA && err.text[0] && !strchr(err.text, '\n'));
    for (size_t i = 0; !status && i < sv_source_count(source); i++) {
        char *path;
        assert_ok(sv_source_path(source, i, &path, &err), err);
        sv_free(path);
        assert_true(sv_source_label(source, i) < sv_source_classes(source)->count);
        sv_status read = sv_source_bytes(source, i, &room, &err);
        assert_true(!read || (read == SV_DATA && err.text[0]));
    }
    if (!status) sv_source_close(source);
    sv_bytes_clear(&room);
    assert_int_equal(sv_memory_now().live, before.live);
    return !status;
}

static void changed_bytes_never_crash(void **state)
{
    static const char *const files[] = { "v/shards/train-000000.tar.index", "v/shards/train-000000.tar" };
    unsigned char *bytes;
    size_t opened = 0, refused = 0;
    (void)state;
    put_tree("v/tree", 2, 4);
    pack_ok("v/tree", "v/shards", 1 << 20, 0);
    sv_log_set(log_keep, NULL, SV_QUIET);
    for (size_t f = 0; f < SV_COUNT(files); f++) {
        size_t count = read_file(files[f], &bytes);
        sv_random random = sv_random_at(f, SV_FOR_TEST, 0, 0, 0);
        if (f) assert_int_equal(unlink(in_folder(files[0])), 0);
        for (size_t i = 0; i < 300; i++) {
            size_t at = (size_t)sv_random_below(&random, count);
            unsigned char kept = bytes[at];
            if (f && i % 2) at = at / 512 * 512 + at % 160; /* into the header where one stands */
            kept = bytes[at];
            bytes[at] = (unsigned char)sv_random_below(&random, 256);
            write_file(files[f], bytes, count);
            if (f && i % 3 == 0) { /* with a sum that fits, so that the change gets through */
                unsigned char *block = bytes + at / 512 * 512, sum[8];
                memcpy(sum, block + 148, 8);
                if (!memcmp(block + 257, "ustar", 5)) sum_set(block);
                write_file(files[f], bytes, count);
                memcpy(block + 148, sum, 8);
            }
            if (survey("v/shards"))
                opened++;
            else
                refused++;
            bytes[at] = kept;
        }
        sv_free(bytes);
    }
    sv_log_set(NULL, NULL, SV_INFO);
    assert_true(opened > 0 && refused > 50);
}

static void an_index_that_does_not_fit_is_passed_over(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        { "", "it is of another form" },
        { "sieve-shard-index 2 2560 1\n", "it is of another form" },
        { "sieve-shard-index 1 2560\n", "its first line is broken" },
        { "sieve-shard-index 1 3072 1\n512 1 7 a.jpg\n", "of a tar of another size" },
        { "sieve-shard-index 1 2560 2\n512 1 7 a.jpg\n", "not as many lines" },
        { "sieve-shard-index 1 2560 1\n512 1 7\n", "a line is broken" },
        { "sieve-shard-index 1 2560 1\n512 1 7 a.jpg", "a line is broken" },
        { "sieve-shard-index 1 2560 1\n512 1 7 \n", "a line is broken" },
        { "sieve-shard-index 1 2560 1\n-512 1 7 a.jpg\n", "a line is broken" },
        { "sieve-shard-index 1 2560 1\n99999999999999999999 1 7 a.jpg\n", "a line is broken" },
        { "sieve-shard-index 1 2560 1\n0 1 7 a.jpg\n", "places outside of the tar" },
        { "sieve-shard-index 1 2560 1\n513 1 7 a.jpg\n", "places outside of the tar" },
        { "sieve-shard-index 1 2560 1\n512 2049 7 a.jpg\n", "places outside of the tar" },
        { "sieve-shard-index 1 2560 2\n1024 1 7 a.jpg\n512 1 7 b.jpg\n", "places outside of the tar" },
        { "sieve-shard-index 1 2560 1\n512 1 1000000 a.jpg\n", "a label beyond 999999" },
    };
    sv_text tar = { 0 };
    (void)state;
    put_member(&tar, "a.jpg", "x");
    put_member_as(&tar, "dir", '5', "", 0, 0);
    put_end(&tar, "idx/x.tar");
    assert_refused("idx", NULL, "the picture has no label");
    sv_log_set(log_keep, NULL, SV_WARNING);
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        logged[0] = 0;
        write_text(in_folder("idx/x.tar.index"), cases[i].text);
        assert_refused("idx", NULL, "the picture has no label"); /* that is, the tar was read */
        if (!strstr(logged, cases[i].says)) fail_msg("case %zu: expected a warning that says '%s', got '%s'", i, cases[i].says, logged);
    }
    sv_log_set(NULL, NULL, SV_INFO);
    write_text(in_folder("idx/x.tar.index"), "sieve-shard-index 1 2560 1\n512 1 7 a.jpg\n");
    sv_source *source = open_ok("idx", NULL); /* one that fits is believed */
    assert_sample(source, 0, "idx/x.tar: a.jpg", 7, "x");
    sv_source_close(source);
}

static void any_failed_call_leaves_nothing(void **state)
{
    (void)state;
    put_tree("f/tree", 2, 4);
    pack_ok("f/tree", "f/shards", 20000, 0);
    sv_log_set(log_keep, NULL, SV_QUIET);
    for (int with_index = 1; with_index >= 0; with_index--) {
        char clean[1024];
        snprintf(clean, sizeof clean, "rm -f '%s'/*.index", in_folder("f/shards"));
        if (!with_index) assert_int_equal(system(clean), 0);
        for (int kind = SV_FAULT_ALLOC; kind <= SV_FAULT_READ; kind++)
            for (uint64_t at = 1;; at++) {
                sv_source *source = NULL;
                sv_error err = { 0 };
                sv_memory before = sv_memory_now();
                size_t descriptors = open_descriptors();
                sv_fault_set((sv_fault_kind)kind, at, false);
                sv_status status = sv_source_open(&source, in_folder("f/shards"), &(sv_source_options){ .format = "shards" }, &err);
                bool survived = sv_fault_calls((sv_fault_kind)kind) < at;
                sv_fault_set((sv_fault_kind)kind, 0, false);
                if (!with_index) assert_true(survived == !status); /* an index that cannot be read is passed over */
                if (status)
                    assert_true(err.text[0] && (status == SV_FAULT || status == SV_DATA));
                else
                    assert_int_equal(sv_source_count(source), 8);
                sv_source_close(status ? NULL : source);
                assert_int_equal(sv_memory_now().live, before.live);
                assert_int_equal(open_descriptors(), descriptors);
                if (survived) break;
            }
    }
    sv_log_set(NULL, NULL, SV_INFO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_shards_hold_the_samples_of_the_folder),
        cmocka_unit_test(the_same_seed_packs_the_same_bytes),
        cmocka_unit_test(packing_takes_no_folder_that_holds_other_shards),
        cmocka_unit_test(any_failed_call_of_packing_leaves_a_marked_folder),
        cmocka_unit_test(training_reads_shards_nearly_in_order),
        cmocka_unit_test(single_files_keep_their_permutation),
        cmocka_unit_test(a_start_inside_a_shard_gives_the_same_batches),
        cmocka_unit_test(many_shards_are_opened_one_at_a_time),
        cmocka_unit_test(members_of_one_name_are_a_sample),
        cmocka_unit_test(tars_beside_class_folders_are_explained),
        cmocka_unit_test(class_names_come_from_the_shards_or_the_class_file),
        cmocka_unit_test(broken_samples_name_their_member),
        cmocka_unit_test(broken_tars_are_refused),
        cmocka_unit_test(cut_shards_are_never_taken_for_whole),
        cmocka_unit_test(changed_bytes_never_crash),
        cmocka_unit_test(an_index_that_does_not_fit_is_passed_over),
        cmocka_unit_test(any_failed_call_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
