/* TensorBoard event files: events.out.tfevents.<seconds, 10 digits>.sieve, a list of records.
 *
 *   record   u64 length | u32 masked crc of the 8 bytes before | length bytes: an Event | u32 masked crc of the Event
 *            (little endian; crc is CRC-32C, masked = (crc rotated right by 15) + 0xa282ead8)
 *   Event    protobuf: 1 wall_time double, 2 step int64, and one of 3 file_version string, 5 Summary, 7 SessionLog
 *   Summary  1 Value, repeated: { 1 tag string, 2 simple_value float };   SessionLog  1 status: 1 is START
 *
 * The first record is the version, the second START: readers drop what they have read of its step and of later ones, but for the
 * first START of a folder, which they pass over (so that every file must have one). Each opening begins a file of its own, since
 * readers go from file to file by name and give up a cut end for the next file; the name's seconds are therefore above those of
 * every event file that is there. */
#include "report/report.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct sv_events {
    char *path;
    size_t size;
    bool cut; /* bytes of a record that failed may stand behind `size` */
};

static const char NAME_FRONT[] = "events.out.tfevents.";
static const uint64_t SECONDS_MOST = 9999999999; /* 10 digits: beyond them names no longer sort by time */
enum { SECONDS_DIGITS = 10 };

typedef enum wire { WIRE_VARINT = 0, WIRE_8_BYTES = 1, WIRE_LENGTH = 2, WIRE_4_BYTES = 5 } wire;
enum { EVENT_WALL_TIME = 1, EVENT_STEP = 2, EVENT_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION = 7 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2, SESSION_STATUS = 1, SESSION_START = 1 };

/* ---- records ----------------------------------------------------------------------------------------------------- */

/* CRC-32C (Castagnoli, reflected polynomial 0x82f63b78), four bits a look. zlib has the other CRC-32 alone. */
static uint32_t masked_crc(const void *bytes, size_t count)
{
    static const uint32_t table[16] = { 0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                                        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75 };
    const unsigned char *at = bytes;
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < count; i++) {
        crc ^= at[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static void put_fixed(sv_text *text, uint64_t value, size_t bytes)
{
    unsigned char raw[8];
    for (size_t i = 0; i < bytes; i++) raw[i] = (unsigned char)(value >> 8 * i);
    sv_text_add_bytes(text, raw, bytes);
}

/* Seven bits a byte, the lowest first; all but the last have the top bit. */
static void put_varint(sv_text *text, uint64_t value)
{
    for (; value > 127; value >>= 7) put_fixed(text, (value & 127) | 128, 1);
    put_fixed(text, value, 1);
}

static size_t varint_bytes(uint64_t value)
{
    size_t bytes = 1;
    for (; value > 127; value >>= 7) bytes++;
    return bytes;
}

static void put_key(sv_text *text, unsigned field, wire kind) { put_varint(text, field << 3 | (unsigned)kind); }

static void put_bytes(sv_text *text, unsigned field, const void *bytes, size_t count)
{
    put_key(text, field, WIRE_LENGTH);
    put_varint(text, count);
    sv_text_add_bytes(text, bytes, count);
}

static void put_value(sv_text *summary, const char *tag, float value)
{
    uint32_t bits;
    size_t length = strlen(tag);
    memcpy(&bits, &value, sizeof bits);
    put_key(summary, SUMMARY_VALUE, WIRE_LENGTH);
    put_varint(summary, 1 + varint_bytes(length) + length + 1 + sizeof bits); /* each key below is one byte */
    put_bytes(summary, VALUE_TAG, tag, length);
    put_key(summary, VALUE_SIMPLE, WIRE_4_BYTES);
    put_fixed(summary, bits, sizeof bits);
}

/* Adds a record whose Event is now, at `step`, and has `field` of these bytes. */
static sv_status put_record(sv_text *records, uint64_t step, unsigned field, const void *bytes, size_t count, sv_error *err)
{
    sv_text event = { 0 };
    double seconds = sv_wall_seconds();
    uint64_t bits;
    memcpy(&bits, &seconds, sizeof bits);
    put_key(&event, EVENT_WALL_TIME, WIRE_8_BYTES);
    put_fixed(&event, bits, sizeof bits);
    put_key(&event, EVENT_STEP, WIRE_VARINT);
    put_varint(&event, step);
    put_bytes(&event, field, bytes, count);
    sv_status status = sv_text_check(&event, err);
    if (status) goto done;
    unsigned char length[8];
    for (size_t i = 0; i < sizeof length; i++) length[i] = (unsigned char)((uint64_t)event.length >> 8 * i);
    sv_text_add_bytes(records, length, sizeof length);
    put_fixed(records, masked_crc(length, sizeof length), 4);
    sv_text_add_bytes(records, event.data, event.length);
    put_fixed(records, masked_crc(event.data, event.length), 4);
    status = sv_text_check(records, err);
done:
    sv_text_clear(&event);
    return status;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

/* The seconds in the name of an event file, whoever wrote it; false where the name is another. */
static bool read_seconds(const char *name, uint64_t *out)
{
    size_t front = sizeof NAME_FRONT - 1;
    uint64_t seconds = 0;
    if (strncmp(name, NAME_FRONT, front) != 0) return false;
    for (size_t i = front; i < front + SECONDS_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9') return false;
        seconds = seconds * 10 + (uint64_t)(name[i] - '0');
    }
    *out = seconds;
    return name[front + SECONDS_DIGITS] == '.';
}

/* A name that sorts behind those of the event files in the folder. */
static sv_status choose_path(char **path, const char *folder, sv_error *err)
{
    sv_names names = { 0 };
    char name[sizeof NAME_FRONT + SECONDS_DIGITS + sizeof ".sieve"];
    double now = sv_wall_seconds();
    uint64_t seconds = now > 0 ? (uint64_t)now : 0, found;
    sv_status status = sv_folder_list(folder, SV_FAULT, &names, err);
    if (status) return status;
    for (size_t i = 0; i < names.count; i++)
        if (read_seconds(names.items[i], &found) && found >= seconds) seconds = found + 1;
    sv_names_clear(&names);
    if (seconds > SECONDS_MOST)
        return sv_fail(err, SV_FAULT, "%s: the name of an event file in it is the last there can be; move the file away to go on", folder);
    snprintf(name, sizeof name, "%s%0*ju.sieve", NAME_FRONT, SECONDS_DIGITS, (uintmax_t)seconds);
    return sv_path_join(path, folder, name, err);
}

sv_status sv_events_open(sv_events **out, const char *folder, int64_t last_step, sv_error *err)
{
    static const char version[] = "brain.Event:2";
    static const unsigned char start[] = { SESSION_STATUS << 3 | WIRE_VARINT, SESSION_START };
    sv_events *events = NULL;
    sv_text records = { 0 };
    int64_t first = last_step < INT64_MAX ? last_step + 1 : INT64_MAX;
    if (last_step < -1)
        return sv_fail(err, SV_FAULT, "%s: event files cannot go on from step %jd; expected -1 or more", folder, (intmax_t)last_step);
    sv_status status = sv_alloc_zero(&events, sizeof *events, "events", err);
    if (status) return status;
    status = sv_folder_create(folder, err);
    if (!status) status = choose_path(&events->path, folder, err);
    if (!status) status = put_record(&records, 0, EVENT_VERSION, version, sizeof version - 1, err);
    if (!status) status = put_record(&records, (uint64_t)first, EVENT_SESSION, start, sizeof start, err);
    if (!status) status = sv_file_write_atomic(events->path, records.data, records.length, err);
    if (status) goto done;
    events->size = records.length;
    *out = events;
    events = NULL;
done:
    sv_text_clear(&records);
    sv_events_close(events);
    return status;
}

static sv_status append(sv_events *events, const sv_text *record, sv_error *err)
{
    if (events->cut && truncate(events->path, (off_t)events->size) < 0)
        return sv_fail(err, SV_FAULT, "%s: a record that could not be written whole cannot be removed: %m", events->path);
    events->cut = true;
    sv_status status = sv_file_append(events->path, record->data, record->length, err);
    if (status) return status;
    events->cut = false;
    events->size += record->length;
    return SV_OK;
}

sv_status sv_events_add(sv_events *events, uint64_t step, size_t count, const char *const *names, const double *values, sv_error *err)
{
    sv_text summary = { 0 }, record = { 0 };
    if (step > INT64_MAX) return sv_fail(err, SV_FAULT, "%s: step %ju is beyond what event files hold", events->path, (uintmax_t)step);
    for (size_t i = 0; i < count; i++)
        if (fabs(values[i]) <= FLT_MAX) put_value(&summary, names[i], (float)values[i]); /* false for NAN too */
    sv_status status = sv_text_check(&summary, err);
    if (status || !summary.length) goto done;
    status = put_record(&record, step, EVENT_SUMMARY, summary.data, summary.length, err);
    if (!status) status = append(events, &record, err);
done:
    sv_text_clear(&record);
    sv_text_clear(&summary);
    return status;
}

void sv_events_close(sv_events *events)
{
    if (!events) return;
    sv_free(events->path);
    sv_free(events);
}
