/* .pth, written in zip form: archive/data.pkl (protocol 2), archive/byteorder, archive/data/0 ..., archive/version, all
 * stored, their data at multiples of 64 bytes as PyTorch aligns them. The pickle is {"model": {name: tensor}} and, where
 * there is metadata, "metadata": {key: value}; each tensor has a storage of its own. */
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "formats/weights_inside.h"

enum { ALIGN = 64, LOCAL_BYTES = 30, NAME_MOST = 40 };

typedef struct record {
    char name[NAME_MOST];
    const void *bytes;
    size_t count;
    uint32_t crc;
    uint64_t at;
} record;

static void put(sv_text *text, uint64_t value, int bytes)
{
    unsigned char raw[8];
    for (int i = 0; i < bytes; i++) raw[i] = (unsigned char)(value >> 8 * i);
    sv_text_add_bytes(text, raw, (size_t)bytes);
}

/* ---- the pickle -------------------------------------------------------------------------------------------------- */

static void put_text(sv_text *text, const char *string)
{
    sv_text_add(text, "X");
    put(text, strlen(string), 4);
    sv_text_add(text, "%s", string);
}

/* LONG1 of 8 bytes where BININT does not reach. */
static void put_int(sv_text *text, uint64_t value)
{
    if (value <= INT32_MAX) {
        sv_text_add(text, "J");
        put(text, value, 4);
        return;
    }
    put(text, 0x088A, 2);
    put(text, value, 8);
}

static void put_tensor(sv_text *text, const sv_written *item, size_t number)
{
    char key[24];
    size_t stride = item->entry.count, rank = item->entry.rank;
    snprintf(key, sizeof key, "%zu", number);
    sv_text_add(text, "ctorch._utils\n_rebuild_tensor_v2\n((");
    put_text(text, "storage");
    sv_text_add(text, "ctorch\n%s\n", item->dtype->storage);
    put_text(text, key);
    put_text(text, "cpu");
    put_int(text, item->entry.count);
    sv_text_add(text, "tQ");
    put_int(text, 0);
    sv_text_add(text, "(");
    for (size_t i = 0; i < rank; i++) put_int(text, item->entry.shape[i]);
    sv_text_add(text, "t(");
    for (size_t i = 0; i < rank; i++) {
        stride = item->entry.count ? stride / item->entry.shape[i] : 1;
        put_int(text, stride);
    }
    sv_text_add(text, "t");
    put(text, 0x89, 1); /* no gradient is kept */
    sv_text_add(text, "ccollections\nOrderedDict\n)RtR");
}

static void pickle_make(const sv_weights_writer *writer, sv_text *text)
{
    put(text, 0x0280, 2);
    sv_text_add(text, "}(");
    put_text(text, "model");
    sv_text_add(text, "}(");
    for (size_t i = 0; i < writer->count; i++) {
        put_text(text, writer->items[i].name);
        put_tensor(text, &writer->items[i], i);
    }
    sv_text_add(text, "u");
    if (writer->pair_count) {
        put_text(text, "metadata");
        sv_text_add(text, "}(");
        for (size_t i = 0; i < writer->pair_count; i++) {
            put_text(text, writer->pairs[i].key);
            put_text(text, writer->pairs[i].value);
        }
        sv_text_add(text, "u");
    }
    sv_text_add(text, "u.");
}

/* ---- the zip ----------------------------------------------------------------------------------------------------- */

/* What the header before the data and the one in the directory have in common. */
static void put_common(sv_text *text, const record *entry, size_t extra)
{
    put(text, 20, 2);     /* version needed */
    put(text, 0x0800, 2); /* names are UTF-8 */
    put(text, 0, 2);      /* stored */
    put(text, 0, 2);
    put(text, 33, 2); /* 1980-01-01: same calls, same bytes */
    put(text, entry->crc, 4);
    put(text, entry->count, 4);
    put(text, entry->count, 4);
    put(text, strlen(entry->name), 2);
    put(text, extra, 2);
}

static uint64_t place_of(const sv_atomic_file *file) { return file->written + file->buffered; }

static sv_status record_write(sv_atomic_file *file, record *entry, sv_error *err)
{
    static const char zeros[ALIGN] = { 0 };
    sv_text text = { 0 };
    size_t head = LOCAL_BYTES + strlen(entry->name) + 4, fill;
    uint64_t at = place_of(file);
    fill = (ALIGN - (at + head) % ALIGN) % ALIGN;
    entry->at = at;
    put(&text, 0x04034B50, 4);
    put_common(&text, entry, fill + 4);
    sv_text_add(&text, "%sFB", entry->name); /* the field PyTorch fills with */
    put(&text, fill, 2);
    sv_text_add_bytes(&text, zeros, fill);
    sv_status status = sv_text_check(&text, err);
    if (!status) status = sv_atomic_write(file, text.data, text.length, err);
    if (!status) status = sv_atomic_write(file, entry->bytes, entry->count, err);
    sv_text_clear(&text);
    return status;
}

static sv_status directory_write(sv_atomic_file *file, const record *entries, size_t count, sv_error *err)
{
    sv_text text = { 0 };
    uint64_t at = place_of(file);
    for (size_t i = 0; i < count; i++) {
        put(&text, 0x02014B50, 4);
        put(&text, 20, 2);
        put_common(&text, &entries[i], 0);
        put(&text, 0, 8); /* no comment, disk 0, no attributes */
        put(&text, 0, 2);
        put(&text, entries[i].at, 4);
        sv_text_add(&text, "%s", entries[i].name);
    }
    size_t bytes = text.length;
    put(&text, 0x06054B50, 4);
    put(&text, 0, 4);
    put(&text, count, 2);
    put(&text, count, 2);
    put(&text, bytes, 4);
    put(&text, at, 4);
    put(&text, 0, 2);
    sv_status status = sv_text_check(&text, err);
    if (!status) status = sv_atomic_write(file, text.data, text.length, err);
    sv_text_clear(&text);
    return status;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static sv_status fits(const sv_weights_writer *writer, sv_error *err)
{
    uint64_t bytes = 1 << 20;
    if (writer->count > 65000)
        return sv_fail(err, SV_FAULT, "a .pth of %zu tensors to be written; at most 65000 fit, write safetensors", writer->count);
    for (size_t i = 0; i < writer->count; i++) {
        const sv_written *item = &writer->items[i];
        if (!item->dtype->storage)
            return sv_fail(err, SV_FAULT, "tensor '%s' to be written: a .pth has no storage of %s; write safetensors", item->name,
                           item->dtype->name);
        if (item->bytes > UINT32_MAX) bytes = UINT32_MAX;
        bytes += item->bytes + strlen(item->name) + 512;
    }
    return bytes < UINT32_MAX ? SV_OK : sv_fail(err, SV_FAULT, "a .pth of 4 GiB or more to be written; write safetensors");
}

static record record_of(const char *name, const void *bytes, size_t count)
{
    record out = { .bytes = bytes, .count = count, .crc = (uint32_t)crc32(0, bytes, (uInt)count) };
    snprintf(out.name, sizeof out.name, "archive/%s", name);
    return out;
}

static sv_status records_write(const sv_weights_writer *writer, const sv_text *pickle, record *entries, sv_atomic_file *file, sv_error *err)
{
    char name[NAME_MOST];
    size_t count = 0;
    entries[count++] = record_of("data.pkl", pickle->data, pickle->length);
    entries[count++] = record_of("byteorder", "little", 6);
    for (size_t i = 0; i < writer->count; i++) {
        snprintf(name, sizeof name, "data/%zu", i);
        entries[count++] = record_of(name, writer->items[i].bytes ? writer->items[i].data : "", writer->items[i].bytes);
    }
    entries[count++] = record_of("version", "3\n", 2);
    for (size_t i = 0; i < count; i++) {
        sv_status status = record_write(file, &entries[i], err);
        if (status) return status;
    }
    return directory_write(file, entries, count, err);
}

sv_status sv_weights_write_pth(const sv_weights_writer *writer, const char *path, sv_error *err)
{
    sv_atomic_file file = { 0 };
    sv_text pickle = { 0 };
    record *entries = NULL;
    sv_status status = fits(writer, err);
    if (status) return status;
    pickle_make(writer, &pickle);
    status = sv_text_check(&pickle, err);
    if (!status) status = sv_alloc(&entries, (writer->count + 3) * sizeof *entries, "zip directory", err);
    if (!status) status = sv_atomic_open(&file, path, err);
    if (!status) status = records_write(writer, &pickle, entries, &file, err);
    if (!status) status = sv_atomic_commit(&file, err);
    sv_atomic_abandon(&file);
    sv_free(entries);
    sv_text_clear(&pickle);
    return status;
}
