/* report/events.c, read back by a parser of its own: framing, checksums, fields; resumes; what fails leaves whole records. */
#include "tests/unit/base/test_base.h"

#include <float.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include "report/report.h"

/* ---- an independent reader --------------------------------------------------------------------------------------- */

enum { VALUES_MOST = 8, EVENTS_MOST = 64, TAG_MOST = 300, FIRST = 2 /* values come after version and start */ };
typedef struct value {
    char tag[TAG_MOST];
    bool has_number;
    float number;
} value;
typedef struct event {
    double wall_time;
    int64_t step;
    char version[32];
    uint64_t session;
    size_t value_count;
    value values[VALUES_MOST];
} event;
typedef struct events {
    event items[EVENTS_MOST];
    size_t count, bytes_left;
} events;
typedef struct span {
    const unsigned char *at, *end;
} span;

/* Bit by bit, as the definition has it. */
static uint32_t crc32c(const void *bytes, size_t count)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < count; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            bool one = ((crc ^ (uint32_t)(((const unsigned char *)bytes)[i] >> bit)) & 1) != 0;
            crc = (crc >> 1) ^ (one ? 0x82F63B78u : 0);
        }
    return crc ^ UINT32_MAX;
}

static uint64_t take_fixed(span *from, size_t bytes)
{
    uint64_t result = 0;
    if ((size_t)(from->end - from->at) < bytes) fail_msg("%zu bytes expected, %td left", bytes, from->end - from->at);
    for (size_t i = bytes; i--;) result = result << 8 | from->at[i];
    from->at += bytes;
    return result;
}

static uint64_t take_varint(span *from)
{
    uint64_t result = 0, byte;
    unsigned shift = 0;
    do {
        assert_true(shift < 64);
        byte = take_fixed(from, 1);
        result |= (byte & 127) << shift;
        shift += 7;
    } while (byte & 128);
    return result;
}

static span take_span(span *from)
{
    uint64_t length = take_varint(from);
    assert_true(length <= (uint64_t)(from->end - from->at));
    span inside = { from->at, from->at + length };
    from->at += length;
    return inside;
}

static void take_text(span *from, char *room, size_t room_bytes)
{
    span text = take_span(from);
    size_t length = (size_t)(text.end - text.at);
    assert_true(length < room_bytes);
    memcpy(room, text.at, length);
    room[length] = 0;
}

/* A key is field * 8 + wire kind: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes. */
static value parse_value(span from)
{
    value v = { 0 };
    while (from.at < from.end) {
        uint64_t key = take_varint(&from);
        if (key == 1 * 8 + 2)
            take_text(&from, v.tag, sizeof v.tag);
        else if (key == 2 * 8 + 5) {
            uint32_t bits = (uint32_t)take_fixed(&from, 4);
            memcpy(&v.number, &bits, 4);
            v.has_number = true;
        } else
            fail_msg("a value has key %ju", (uintmax_t)key);
    }
    return v;
}

static event parse_event(span from)
{
    event e = { 0 };
    while (from.at < from.end) {
        uint64_t key = take_varint(&from), bits;
        if (key == 1 * 8 + 1) {
            bits = take_fixed(&from, 8);
            memcpy(&e.wall_time, &bits, 8);
        } else if (key == 2 * 8 + 0)
            e.step = (int64_t)take_varint(&from);
        else if (key == 3 * 8 + 2)
            take_text(&from, e.version, sizeof e.version);
        else if (key == 5 * 8 + 2) {
            span summary = take_span(&from);
            while (summary.at < summary.end) {
                assert_int_equal(take_varint(&summary), 1 * 8 + 2);
                assert_true(e.value_count < VALUES_MOST);
                e.values[e.value_count++] = parse_value(take_span(&summary));
            }
        } else if (key == 7 * 8 + 2) {
            span session = take_span(&from);
            assert_int_equal(take_varint(&session), 1 * 8 + 0);
            e.session = take_varint(&session);
            assert_true(session.at == session.end);
        } else
            fail_msg("an event has key %ju", (uintmax_t)key);
    }
    return e;
}

static void assert_masked(uint64_t stored, const void *bytes, size_t count)
{
    uint32_t crc = crc32c(bytes, count);
    assert_int_equal(stored, (uint32_t)(((crc >> 15) | (crc << 17)) + 0xA282EAD8u));
}

/* Whole records up to the first that is cut; `bytes_left` is what stands behind them. */
static events read_file(const char *path)
{
    static unsigned char bytes[1 << 20];
    events all = { 0 };
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t count = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    span from = { bytes, bytes + count };
    while (from.at < from.end) {
        span record = from;
        if (record.end - record.at < 12) break;
        const unsigned char *start = record.at;
        uint64_t length = take_fixed(&record, 8);
        assert_masked(take_fixed(&record, 4), start, 8);
        if ((uint64_t)(record.end - record.at) < length + 4) break;
        span inside = { record.at, record.at + length };
        record.at += length;
        assert_masked(take_fixed(&record, 4), inside.at, length);
        assert_true(all.count < EVENTS_MOST);
        all.items[all.count++] = parse_event(inside);
        from = record;
    }
    all.bytes_left = (size_t)(from.end - from.at);
    return all;
}

/* The number-th event file of the folder by name. */
static const char *event_file(size_t number)
{
    static char path[512];
    sv_names names = { 0 };
    sv_error err;
    assert_ok(sv_folder_list(test_folder, SV_DATA, &names, &err), err);
    assert_true(number < names.count);
    snprintf(path, sizeof path, "%s/%s", test_folder, names.items[number]);
    sv_names_clear(&names);
    return path;
}

static sv_events *open_events(int64_t last_step)
{
    sv_error err;
    sv_events *e = NULL;
    assert_ok(sv_events_open(&e, test_folder, last_step, &err), err);
    return e;
}

static void add_loss(sv_events *e, uint64_t step, double loss)
{
    sv_error err;
    assert_ok(sv_events_add(e, step, 1, (const char *const[]){ "loss" }, &loss, &err), err);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void the_reader_of_this_test_has_the_known_checksum(void **state)
{
    (void)state;
    assert_int_equal(crc32c("123456789", 9), 0xE3069283u);
}

static void a_new_file_is_named_by_its_seconds_and_begins_with_version_and_start(void **state)
{
    (void)state;
    time_t before = time(NULL);
    sv_events_close(open_events(-1));
    time_t after = time(NULL);
    const char *path = event_file(0);
    long long seconds;
    int end = 0;
    assert_int_equal(sscanf(path + strlen(test_folder), "/events.out.tfevents.%10lld.sieve%n", &seconds, &end), 1);
    assert_int_equal(end, strlen(path + strlen(test_folder)));
    assert_true(seconds >= before && seconds <= after);
    assert_int_equal(entries_in(test_folder), 1);
    events all = read_file(path);
    assert_int_equal(all.count, 2);
    assert_int_equal(all.bytes_left, 0);
    assert_string_equal(all.items[0].version, "brain.Event:2");
    assert_int_equal(all.items[0].session, 0);
    assert_string_equal(all.items[1].version, "");
    assert_int_equal(all.items[1].session, 1); /* readers pass over the first START of a folder: without it the next one is lost */
    assert_int_equal(all.items[1].step, 0);
    assert_true(all.items[0].wall_time >= (double)before && all.items[0].wall_time < (double)after + 1);
}

static void an_event_holds_all_names_and_values_of_its_step(void **state)
{
    (void)state;
    static const char *const names[] = { "train/loss", "val/top1", "zero", "\xc3\xa4" };
    static const double values[] = { 0.1, -1e30, 0, 1e-40 };
    static const uint64_t steps[] = { 0, 1, 127, 128, 300, UINT32_MAX, INT64_MAX };
    sv_error err;
    sv_events *e = open_events(-1);
    for (size_t i = 0; i < SV_COUNT(steps); i++) assert_ok(sv_events_add(e, steps[i], SV_COUNT(names), names, values, &err), err);
    sv_events_close(e);
    events all = read_file(event_file(0));
    assert_int_equal(all.count, FIRST + SV_COUNT(steps));
    assert_int_equal(all.bytes_left, 0);
    for (size_t i = 0; i < SV_COUNT(steps); i++) {
        const event *got = &all.items[FIRST + i];
        assert_true(got->step == (int64_t)steps[i] && got->wall_time >= all.items[FIRST + i - 1].wall_time);
        assert_int_equal(got->value_count, SV_COUNT(names));
        for (size_t k = 0; k < SV_COUNT(names); k++) {
            assert_string_equal(got->values[k].tag, names[k]);
            assert_true(got->values[k].has_number && got->values[k].number == (float)values[k]);
        }
    }
}

static void lengths_of_more_than_one_byte_are_read_back(void **state)
{
    (void)state;
    sv_events *e = open_events(-1);
    static const size_t lengths[] = { 0, 118, 119, 120, 121, 127, 128, 129, TAG_MOST - 1 };
    for (size_t i = 0; i < SV_COUNT(lengths); i++) {
        sv_error err;
        char name[TAG_MOST] = { 0 };
        memset(name, 'n', lengths[i]);
        assert_ok(sv_events_add(e, i, 1, (const char *const[]){ name }, (const double[]){ 1.5 }, &err), err);
    }
    sv_events_close(e);
    events all = read_file(event_file(0));
    assert_int_equal(all.count, FIRST + SV_COUNT(lengths));
    for (size_t i = 0; i < SV_COUNT(lengths); i++) {
        assert_int_equal(strlen(all.items[FIRST + i].values[0].tag), lengths[i]);
        assert_true(all.items[FIRST + i].values[0].number == 1.5f);
    }
}

static void what_is_not_finite_is_left_out(void **state)
{
    (void)state;
    static const char *const names[] = { "nan", "most", "plus", "minus", "beyond float", "kept" };
    static const double values[] = { NAN, FLT_MAX, INFINITY, -INFINITY, 1e39, 2 };
    sv_error err;
    sv_events *e = open_events(-1);
    assert_ok(sv_events_add(e, 1, SV_COUNT(names), names, values, &err), err);
    assert_ok(sv_events_add(e, 2, 1, names, values, &err), err); /* NAN alone: no event */
    assert_ok(sv_events_add(e, 3, 0, NULL, NULL, &err), err);
    sv_events_close(e);
    events all = read_file(event_file(0));
    assert_int_equal(all.count, FIRST + 1);
    assert_int_equal(all.items[FIRST].value_count, 2);
    assert_string_equal(all.items[FIRST].values[0].tag, "most");
    assert_true(all.items[FIRST].values[0].number == FLT_MAX);
    assert_string_equal(all.items[FIRST].values[1].tag, "kept");
}

static void each_event_is_in_the_file_when_add_returns(void **state)
{
    (void)state;
    sv_events *e = open_events(-1);
    for (uint64_t step = 0; step < 5; step++) {
        uint64_t syncs;
        sv_fault_set(SV_FAULT_SYNC, 0, false);
        add_loss(e, step, 1);
        syncs = sv_fault_calls(SV_FAULT_SYNC);
        assert_true(syncs > 0);
        assert_int_equal(read_file(event_file(0)).count, FIRST + 1 + step);
    }
    sv_events_close(e);
}

static void a_resumed_run_starts_a_later_file_after_its_last_step(void **state)
{
    (void)state;
    sv_events *e = open_events(-1);
    for (uint64_t step = 0; step < 10; step++) add_loss(e, step, 1);
    sv_events_close(e);
    char first[512];
    snprintf(first, sizeof first, "%s", event_file(0));
    for (size_t i = 1; i < 4; i++) { /* within one second: names must rise all the same */
        e = open_events(4 + (int64_t)i);
        add_loss(e, 5 + i, 2);
        sv_events_close(e);
        assert_int_equal(entries_in(test_folder), 1 + i);
        assert_string_equal(event_file(0), first);
        events all = read_file(event_file(i));
        assert_int_equal(all.count, 3);
        assert_string_equal(all.items[0].version, "brain.Event:2");
        assert_int_equal(all.items[1].session, 1);
        assert_int_equal(all.items[1].step, 5 + i);
        assert_int_equal(all.items[1].value_count, 0);
        assert_int_equal(all.items[2].step, 5 + i);
    }
    assert_int_equal(read_file(first).count, FIRST + 10);
}

static void a_run_from_its_start_drops_all_points_and_the_largest_step_none(void **state)
{
    (void)state;
    sv_events_close(open_events(-1));
    sv_events_close(open_events(-1));
    sv_events_close(open_events(INT64_MAX));
    events again = read_file(event_file(1)), on = read_file(event_file(2));
    assert_int_equal(again.items[1].session, 1);
    assert_int_equal(again.items[1].step, 0);
    assert_int_equal(on.items[1].session, 1);
    assert_true(on.items[1].step == INT64_MAX);
}

static void the_name_follows_event_files_of_others_and_of_a_clock_ahead(void **state)
{
    (void)state;
    static const char *const others[] = { "events.out.tfevents.9000000000.host.17.0", "events.out.tfevents.99999999999.host",
                                          "events.out.tfevents.x", "notes" };
    for (size_t i = 0; i < SV_COUNT(others); i++) write_text(in_folder(others[i]), "");
    sv_events_close(open_events(7));
    events all = read_file(in_folder("events.out.tfevents.9000000001.sieve"));
    assert_int_equal(all.count, 2);
    assert_int_equal(all.items[1].step, 8);
    sv_error err;
    sv_events *e = NULL;
    char expected[512];
    write_text(in_folder("events.out.tfevents.9999999999.host"), "");
    assert_int_equal(sv_events_open(&e, test_folder, 7, &err), SV_FAULT);
    snprintf(expected, sizeof expected, "%s: the name of an event file in it is the last there can be; move the file away to go on",
             test_folder);
    assert_string_equal(err.text, expected);
    assert_null(e);
}

static void the_folder_is_created_and_one_that_cannot_be_written_is_named(void **state)
{
    (void)state;
    sv_error err;
    sv_events *e = NULL;
    char expected[512];
    assert_ok(sv_events_open(&e, in_folder("runs/a"), -1, &err), err);
    sv_events_close(e);
    e = NULL;
    assert_int_equal(entries_in(in_folder("runs/a")), 1);
    write_text(in_folder("file"), "");
    assert_int_equal(sv_events_open(&e, in_folder("file/events"), -1, &err), SV_FAULT);
    snprintf(expected, sizeof expected, "%s: the folder cannot be created: Not a directory", in_folder("file"));
    assert_string_equal(err.text, expected);
    if (geteuid() == 0)
        print_message("run by root, who may write everywhere: folders without the right to write are not tried\n");
    else {
        assert_int_equal(mkdir(in_folder("locked"), 0555), 0);
        assert_int_equal(sv_events_open(&e, in_folder("locked"), -1, &err), SV_FAULT);
        assert_non_null(strstr(err.text, in_folder("locked/events.out.tfevents.")));
        assert_non_null(strstr(err.text, "Permission denied"));
    }
    assert_null(e);
}

static void steps_beyond_the_format_are_refused(void **state)
{
    (void)state;
    sv_error err;
    sv_events *none = NULL;
    assert_int_equal(sv_events_open(&none, test_folder, -2, &err), SV_FAULT);
    assert_null(none);
    sv_events *e = open_events(-1);
    assert_int_equal(sv_events_add(e, (uint64_t)INT64_MAX + 1, 1, (const char *const[]){ "a" }, (const double[]){ 1 }, &err), SV_FAULT);
    assert_non_null(strstr(err.text, "step 9223372036854775808 is beyond what event files hold"));
    sv_events_close(e);
    assert_int_equal(read_file(event_file(0)).count, FIRST);
}

static void a_full_disk_is_named_and_what_was_cut_makes_room_for_the_next(void **state)
{
    (void)state;
    sv_error err;
    struct rlimit before, small;
    sv_events *e = open_events(-1);
    add_loss(e, 1, 1);
    struct stat about;
    assert_int_equal(stat(event_file(0), &about), 0);
    /* Room for ten bytes of the next record, as on a disk that fills up within it. */
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = (rlim_t)about.st_size + 10;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    sv_status first = sv_events_add(e, 2, 1, (const char *const[]){ "loss" }, (const double[]){ 2 }, &err);
    sv_status second = sv_events_add(e, 3, 1, (const char *const[]){ "loss" }, (const double[]){ 3 }, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(first, SV_FAULT);
    assert_int_equal(second, SV_FAULT);
    assert_int_equal(strncmp(err.text, event_file(0), strlen(event_file(0))), 0);
    assert_non_null(strstr(err.text, "failed: File too large"));
    events cut = read_file(event_file(0));
    assert_int_equal(cut.count, FIRST + 1);
    assert_int_equal(cut.bytes_left, 10);
    add_loss(e, 4, 4);
    sv_events_close(e);
    events all = read_file(event_file(0));
    assert_int_equal(all.count, FIRST + 2);
    assert_int_equal(all.bytes_left, 0);
    assert_int_equal(all.items[FIRST + 1].step, 4);
}

/* Opens and adds twice; how far it came is what the file must hold. */
static sv_status run_twice(size_t *added, sv_error *err)
{
    sv_events *e = NULL;
    *added = 0;
    sv_status status = sv_events_open(&e, test_folder, 3, err);
    for (uint64_t step = 4; step < 6 && !status; step++) {
        status = sv_events_add(e, step, 1, (const char *const[]){ "loss" }, (const double[]){ 1 }, err);
        if (!status) *added += 1;
    }
    sv_events_close(e);
    return status;
}

static void every_failing_call_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    static const sv_fault_kind kinds[] = { SV_FAULT_ALLOC, SV_FAULT_OPEN, SV_FAULT_WRITE, SV_FAULT_SYNC, SV_FAULT_RENAME };
    for (size_t k = 0; k < SV_COUNT(kinds) * 2; k++) {
        bool survived = false;
        size_t failures = 0;
        for (uint64_t at = 1; at < 100 && !survived; at++) {
            sv_error err = { 0 };
            size_t added, descriptors = open_descriptors();
            sv_memory memory = sv_memory_now();
            sv_fault_set(kinds[k / 2], at, k % 2);
            survived = run_twice(&added, &err) == SV_OK;
            sv_fault_set(kinds[k / 2], 0, false);
            assert_int_equal(open_descriptors(), descriptors);
            assert_int_equal(sv_memory_now().live, memory.live);
            if (!survived) {
                assert_int_equal(err.code, SV_FAULT);
                assert_true(strstr(err.text, test_folder) || strstr(err.text, "out of memory"));
                failures++;
            }
            if (added) { /* a failed sync may leave its whole record */
                size_t whole = read_file(event_file(entries_in(test_folder) - 1)).count;
                assert_in_range(whole, FIRST + added, FIRST + added + 1);
            }
            remove_folder(NULL);
            assert_int_equal(mkdir(test_folder, 0777), 0);
        }
        assert_true(survived && failures > 0);
    }
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reader_of_this_test_has_the_known_checksum),
        WITH_FOLDER(a_new_file_is_named_by_its_seconds_and_begins_with_version_and_start),
        WITH_FOLDER(an_event_holds_all_names_and_values_of_its_step),
        WITH_FOLDER(lengths_of_more_than_one_byte_are_read_back),
        WITH_FOLDER(what_is_not_finite_is_left_out),
        WITH_FOLDER(each_event_is_in_the_file_when_add_returns),
        WITH_FOLDER(a_resumed_run_starts_a_later_file_after_its_last_step),
        WITH_FOLDER(a_run_from_its_start_drops_all_points_and_the_largest_step_none),
        WITH_FOLDER(the_name_follows_event_files_of_others_and_of_a_clock_ahead),
        WITH_FOLDER(the_folder_is_created_and_one_that_cannot_be_written_is_named),
        WITH_FOLDER(steps_beyond_the_format_are_refused),
        WITH_FOLDER(a_full_disk_is_named_and_what_was_cut_makes_room_for_the_next),
        WITH_FOLDER(every_failing_call_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
