/* The directory of a zip file (PKWARE APPNOTE 6.3.10), zip64 included. The end record is looked for from behind; everything
 * it and the directory claim is compared with the file's size before it is used. Refused: several disks, encryption, methods
 * beyond stored and deflated, one name twice, entries whose own header disagrees with the directory. */
#include "formats/zip.h"

#include <stdlib.h>
#include <string.h>

enum {
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    CENTRAL_BYTES = 46,
    LOCAL_BYTES = 30, /* fixed parts of the records */
    COMMENT_MOST = 65535,
    ZIP64_FIELD = 1,
    FLAG_ENCRYPTED = 1,
    FLAG_DESCRIPTOR = 8,
    STORED = 0,
    DEFLATED = 8
};

static unsigned get16(const unsigned char *at) { return (unsigned)at[0] | (unsigned)at[1] << 8; }
static uint32_t get32(const unsigned char *at) { return get16(at) | (uint32_t)get16(at + 2) << 16; }
static uint64_t get64(const unsigned char *at) { return get32(at) | (uint64_t)get32(at + 4) << 32; }

static sv_status zip_wrong(const sv_file *file, uint64_t at, const char *what, sv_error *err)
{
    return sv_fail(err, SV_MODEL_FILE, "%s: zip, byte %llu: %s; is the file cut off or damaged?", file->path, (unsigned long long)at, what);
}

static sv_status entry_wrong(const sv_zip *zip, const sv_zip_entry *entry, const char *what, sv_error *err)
{
    char name[80], room[80];
    size_t length = entry->name_length < sizeof name ? entry->name_length : sizeof name - 1;
    memcpy(name, entry->name, length);
    name[length] = 0;
    return sv_fail(err, SV_MODEL_FILE, "%s: zip entry '%s' (byte %llu): %s", zip->file->path, sv_text_safe(room, sizeof room, name),
                   (unsigned long long)entry->header_at, what);
}

typedef struct end_record {
    uint64_t at, count, bytes, directory_at;
} end_record;

/* The last end record whose comment reaches exactly to the end of the file: a comment may hold the signature too. */
static sv_status end_find(const sv_file *file, unsigned char record[END_BYTES], uint64_t *at, sv_error *err)
{
    unsigned char *tail = NULL;
    size_t bytes = file->size < END_BYTES + COMMENT_MOST ? file->size : END_BYTES + COMMENT_MOST;
    sv_status status = sv_alloc(&tail, bytes, "zip end", err);
    if (status) return status;
    status = sv_file_read_at(file, file->size - bytes, tail, bytes, err);
    bool found = false;
    for (size_t i = bytes >= END_BYTES ? bytes - END_BYTES + 1 : 0; i-- > 0 && !status && !found;) {
        if (get32(tail + i) != 0x06054B50 || i + END_BYTES + get16(tail + i + 20) != bytes) continue;
        memcpy(record, tail + i, END_BYTES);
        *at = file->size - bytes + i;
        found = true;
    }
    sv_free(tail);
    return status || found ? status : zip_wrong(file, file->size, "no end record of a zip file", err);
}

static sv_status end64_read(const sv_file *file, end_record *end, sv_error *err)
{
    unsigned char locator[LOCATOR_BYTES] = { 0 }, record[END64_BYTES] = { 0 };
    uint64_t locator_at = end->at - LOCATOR_BYTES;
    if (end->at < LOCATOR_BYTES + END64_BYTES) return zip_wrong(file, end->at, "zip64 records are missing", err);
    sv_status status = sv_file_read_at(file, locator_at, locator, sizeof locator, err);
    if (status) return status;
    uint64_t at = get64(locator + 8);
    if (get32(locator) != 0x07064B50) return zip_wrong(file, locator_at, "the zip64 locator is missing", err);
    if (get32(locator + 4) != 0) return zip_wrong(file, locator_at, "one disk of several", err);
    if (at > locator_at - END64_BYTES) return zip_wrong(file, locator_at, "the zip64 locator points beyond the file", err);
    status = sv_file_read_at(file, at, record, sizeof record, err);
    if (status) return status;
    if (get32(record) != 0x06064B50) return zip_wrong(file, at, "expected a zip64 end record", err);
    if (get32(record + 16) != 0 || get32(record + 20) != 0) return zip_wrong(file, at, "one disk of several", err);
    if (get64(record + 24) != get64(record + 32)) return zip_wrong(file, at, "two counts of entries that differ", err);
    *end = (end_record){ .at = at, .count = get64(record + 32), .bytes = get64(record + 40), .directory_at = get64(record + 48) };
    return SV_OK;
}

static sv_status end_read(const sv_file *file, end_record *end, sv_error *err)
{
    unsigned char record[END_BYTES] = { 0 };
    sv_status status = end_find(file, record, &end->at, err);
    if (status) return status;
    end->count = get16(record + 10);
    end->bytes = get32(record + 12);
    end->directory_at = get32(record + 16);
    if (get16(record + 4) != 0 || get16(record + 6) != 0) return zip_wrong(file, end->at, "one disk of several", err);
    if (get16(record + 8) != end->count) return zip_wrong(file, end->at, "two counts of entries that differ", err);
    if (end->count == 0xFFFF || end->bytes == 0xFFFFFFFF || end->directory_at == 0xFFFFFFFF) {
        status = end64_read(file, end, err);
        if (status) return status;
    }
    if (end->directory_at > end->at || end->bytes > end->at - end->directory_at)
        return zip_wrong(file, end->at, "the directory is said to lie beyond the end record", err);
    if (end->count > end->bytes / CENTRAL_BYTES) return zip_wrong(file, end->at, "more entries than the directory has room for", err);
    return SV_OK;
}

/* The zip64 field holds, in this order, those of size, packed size and place that are all ones in the record itself. */
static bool zip64_apply(sv_zip_entry *entry, const unsigned char *extra, size_t left)
{
    uint64_t *wide[] = { &entry->bytes, &entry->packed, &entry->header_at };
    bool needed = entry->bytes == 0xFFFFFFFF || entry->packed == 0xFFFFFFFF || entry->header_at == 0xFFFFFFFF;
    while (left >= 4) {
        size_t length = get16(extra + 2);
        const unsigned char *field = extra + 4;
        if (length > left - 4) return false;
        left -= 4 + length;
        extra += 4 + length;
        if (get16(field - 4) != ZIP64_FIELD || !needed) continue;
        for (size_t i = 0; i < SV_COUNT(wide); i++) {
            if (*wide[i] != 0xFFFFFFFF) continue;
            if (length < 8) return false;
            *wide[i] = get64(field);
            field += 8;
            length -= 8;
        }
        needed = false;
    }
    return !needed;
}

static sv_status central_read(const sv_zip *zip, size_t *at, size_t bytes, sv_zip_entry *entry, sv_error *err)
{
    const unsigned char *record = (const unsigned char *)zip->directory + *at;
    uint64_t place = zip->directory_at + *at;
    size_t left = bytes - *at;
    if (left < CENTRAL_BYTES || get32(record) != 0x02014B50) return zip_wrong(zip->file, place, "expected an entry of the directory", err);
    *entry = (sv_zip_entry){ .name = (const char *)record + CENTRAL_BYTES,
                             .header_at = get32(record + 42),
                             .packed = get32(record + 20),
                             .bytes = get32(record + 24),
                             .crc = get32(record + 16),
                             .name_length = (uint16_t)get16(record + 28),
                             .method = (uint16_t)get16(record + 10),
                             .flags = (uint16_t)get16(record + 8) };
    size_t extra = get16(record + 30), whole = CENTRAL_BYTES + entry->name_length + extra + get16(record + 32);
    if (whole > left) return zip_wrong(zip->file, place, "an entry of the directory reaches beyond it", err);
    if (get16(record + 34) != 0) return zip_wrong(zip->file, place, "an entry on another disk", err);
    if (!zip64_apply(entry, record + CENTRAL_BYTES + entry->name_length, extra))
        return zip_wrong(zip->file, place, "a broken zip64 field", err);
    *at += whole;
    return SV_OK;
}

static int name_order(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order ? order : a_length < b_length ? -1 : a_length > b_length;
}

static int by_name(const void *a, const void *b, void *entries)
{
    const sv_zip_entry *left = (sv_zip_entry *)entries + *(const uint32_t *)a, *right = (sv_zip_entry *)entries + *(const uint32_t *)b;
    return name_order(left->name, left->name_length, right->name, right->name_length);
}

static sv_status names_sort(sv_zip *zip, sv_error *err)
{
    for (uint32_t i = 0; i < zip->count; i++) zip->by_name[i] = i;
    qsort_r(zip->by_name, zip->count, sizeof *zip->by_name, by_name, zip->entries);
    for (size_t i = 1; i < zip->count; i++)
        if (by_name(&zip->by_name[i - 1], &zip->by_name[i], zip->entries) == 0)
            return entry_wrong(zip, &zip->entries[zip->by_name[i]], "the name stands twice in the zip: no answer would be right", err);
    return SV_OK;
}

static sv_status directory_read(sv_zip *zip, sv_weights *weights, const end_record *end, sv_error *err)
{
    size_t at = 0;
    sv_status status =
        sv_weights_take(weights, end->bytes + end->count * (sizeof *zip->entries + 2 * sizeof *zip->by_name), "the zip directory", err);
    if (!status) status = sv_alloc(&zip->directory, end->bytes, "zip directory", err);
    if (!status) status = sv_alloc(&zip->entries, end->count * sizeof *zip->entries, "zip directory", err);
    if (!status) status = sv_alloc(&zip->by_name, end->count * sizeof *zip->by_name, "zip directory", err);
    if (!status) status = sv_file_read_at(zip->file, end->directory_at, zip->directory, end->bytes, err);
    zip->directory_at = end->directory_at;
    for (; !status && zip->count < end->count; zip->count++) status = central_read(zip, &at, end->bytes, &zip->entries[zip->count], err);
    if (status) return status;
    if (at != end->bytes) return zip_wrong(zip->file, end->directory_at + at, "the directory is longer than its entries", err);
    return names_sort(zip, err);
}

sv_status sv_zip_open(sv_zip *zip, sv_weights *weights, sv_error *err)
{
    end_record end = { 0 };
    *zip = (sv_zip){ .file = &weights->file };
    sv_status status = end_read(zip->file, &end, err);
    if (!status) status = directory_read(zip, weights, &end, err);
    if (status) sv_zip_close(zip);
    return status;
}

void sv_zip_close(sv_zip *zip)
{
    sv_free(zip->by_name);
    sv_free(zip->entries);
    sv_free(zip->directory);
    *zip = (sv_zip){ 0 };
}

const sv_zip_entry *sv_zip_find(const sv_zip *zip, const char *name, size_t length)
{
    size_t low = 0, high = zip->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const sv_zip_entry *entry = &zip->entries[zip->by_name[middle]];
        int order = name_order(name, length, entry->name, entry->name_length);
        if (order == 0) return entry;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* The header before the data repeats what the directory says; with a descriptor behind the data, sizes and CRC are left out. */
static const char *local_differs(const sv_zip_entry *entry, const unsigned char *local)
{
    if (get32(local) != 0x04034B50) return "no entry begins where the directory says";
    if (get16(local + 26) != entry->name_length) return "the name before the data and the name in the directory differ";
    if (get16(local + 8) != entry->method) return "the method before the data and the one in the directory differ";
    if ((get16(local + 6) & FLAG_ENCRYPTED) != 0) return "it is encrypted";
    if (get16(local + 6) & FLAG_DESCRIPTOR) return NULL;
    if (get32(local + 14) != entry->crc) return "the CRC before the data and the one in the directory differ";
    if (get32(local + 18) != 0xFFFFFFFF && get32(local + 18) != entry->packed)
        return "the size before the data and the one in the directory differ";
    if (get32(local + 22) != 0xFFFFFFFF && get32(local + 22) != entry->bytes)
        return "the size before the data and the one in the directory differ";
    return NULL;
}

static const char *entry_refused(const sv_zip_entry *entry)
{
    if (entry->flags & FLAG_ENCRYPTED) return "it is encrypted";
    if (entry->method != STORED && entry->method != DEFLATED) return "its compression method is neither stored nor deflated";
    if (entry->method == STORED && entry->packed != entry->bytes) return "it is stored, but its two sizes differ";
    if (entry->packed > 0 && entry->bytes / 1032 > entry->packed)
        return "it is said to inflate to more than deflate can"; /* at most 1032 to 1 */
    return NULL;
}

sv_status sv_zip_store(const sv_zip *zip, const sv_zip_entry *entry, sv_store *out, sv_error *err)
{
    unsigned char local[LOCAL_BYTES] = { 0 };
    char name[256];
    const char *problem = entry_refused(entry);
    if (!problem && (zip->directory_at < LOCAL_BYTES || entry->header_at > zip->directory_at - LOCAL_BYTES))
        problem = "its place lies beyond the data of the zip";
    if (problem) return entry_wrong(zip, entry, problem, err);
    sv_status status = sv_file_read_at(zip->file, entry->header_at, local, sizeof local, err);
    if (status) return status;
    problem = local_differs(entry, local);
    if (problem) return entry_wrong(zip, entry, problem, err);
    uint64_t at = entry->header_at + LOCAL_BYTES;
    for (size_t done = 0; done < entry->name_length; done += sizeof name) {
        size_t part = entry->name_length - done < sizeof name ? entry->name_length - done : sizeof name;
        status = sv_file_read_at(zip->file, at + done, name, part, err);
        if (status) return status;
        if (memcmp(name, entry->name + done, part) != 0)
            return entry_wrong(zip, entry, "the name before the data and the name in the directory differ", err);
    }
    at += entry->name_length + get16(local + 28);
    if (entry->method == DEFLATED && entry->bytes / 4 > zip->file->size + ((uint64_t)16 << 20))
        return entry_wrong(zip, entry, "it inflates to more than 4 times the file and 64 MiB; refused", err);
    if (at > zip->directory_at || entry->packed > zip->directory_at - at)
        return entry_wrong(zip, entry, "its data reach beyond the data of the zip", err);
    *out = (sv_store){
        .at = at, .packed = entry->packed, .bytes = entry->bytes, .crc = entry->crc, .deflated = entry->method == DEFLATED, .has_crc = true
    };
    return SV_OK;
}
