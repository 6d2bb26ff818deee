/* A file of named tensors, whatever its form: opening by content, looking up, and reading. The readers of a form leave a
 * list of tensors that view stores (weights_inside.h); here a view becomes little-endian row-major bytes, piece by piece,
 * and these become numbers. A piece is at most PIECE elements, so that no tensor needs room beside the caller's. */
#include "formats/weights.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "formats/weights_inside.h"
#include "formats/zip.h"

enum { PIECE = 4096, WIDEST = 8, SKIPPED_MOST = 1000, BLOCK = 192 /* what a small allocation costs beside its bytes, at most */ };
static const uint64_t memory_beside = 64 << 20; /* the promise: 4 times the file and this */

/* ---- building ---------------------------------------------------------------------------------------------------- */

sv_status sv_weights_take(sv_weights *weights, uint64_t bytes, const char *what, sv_error *err)
{
    if (bytes > weights->memory_left)
        return sv_fail(err, SV_MODEL_FILE, "%s: %s would need more memory than 4 times the file and 64 MiB; refused", weights->file.path,
                       what);
    weights->memory_left -= bytes;
    return SV_OK;
}

bool sv_shape_count(size_t *out, const size_t *shape, size_t rank)
{
    size_t count = 1;
    for (size_t i = 0; i < rank; i++)
        if (sv_mul_size(&count, count, shape[i])) return true;
    *out = count;
    return false;
}

sv_status sv_weights_add_store(sv_weights *weights, const sv_store *store, sv_error *err)
{
    sv_status status = sv_grow(&weights->stores, &weights->store_capacity, weights->store_count + 1, sizeof *store, "weights stores", err);
    if (status) return status;
    weights->stores[weights->store_count++] = *store;
    return SV_OK;
}

sv_status sv_weights_add_item(sv_weights *weights, const sv_weights_item *item, sv_error *err)
{
    char room[96];
    if (item->entry.count > weights->elements_left)
        return sv_fail(err, SV_MODEL_FILE, "%s: tensor '%s' has %zu elements, more than a file of %llu bytes may stand for",
                       weights->file.path, sv_text_safe(room, sizeof room, item->entry.name), item->entry.count,
                       (unsigned long long)weights->file.size);
    sv_status status =
        weights->item_count < weights->item_capacity ? SV_OK : sv_weights_take(weights, 2 * sizeof *item + BLOCK, "its tensors", err);
    if (!status) status = sv_grow(&weights->items, &weights->item_capacity, weights->item_count + 1, sizeof *item, "weights", err);
    if (status) return status;
    weights->elements_left -= item->entry.count;
    weights->items[weights->item_count++] = *item;
    return SV_OK;
}

sv_status sv_weights_keep_name(sv_weights *weights, const char *name, size_t length, const char **out, sv_error *err)
{
    char *copy = NULL;
    sv_status status = sv_weights_take(weights, length + BLOCK + sizeof copy, "its names", err);
    if (!status) status = sv_grow(&weights->names, &weights->name_capacity, weights->name_count + 1, sizeof copy, "weights names", err);
    if (!status) status = sv_alloc(&copy, length + 1, "weights names", err);
    if (status) return status;
    memcpy(copy, name, length);
    copy[length] = 0;
    weights->names[weights->name_count++] = copy;
    *out = copy;
    return SV_OK;
}

sv_status sv_weights_skip(sv_weights *weights, const char *name, const char *what, sv_error *err)
{
    char room[160];
    sv_text line = { 0 };
    if (weights->skipped_count == SKIPPED_MOST) return SV_OK;
    sv_status status = sv_grow(&weights->skipped, &weights->skipped_capacity, weights->skipped_count + 1, sizeof *weights->skipped,
                               "weights skipped", err);
    if (status) return status;
    sv_text_add(&line, "%s: %s", sv_text_safe(room, sizeof room, name), what);
    status = sv_text_check(&line, err);
    if (status)
        sv_text_clear(&line);
    else
        weights->skipped[weights->skipped_count++] = line.data;
    return status;
}

static int item_order(const void *a, const void *b, void *items)
{
    const sv_weights_item *left = (sv_weights_item *)items + *(const uint32_t *)a, *right = (sv_weights_item *)items + *(const uint32_t *)b;
    return strcmp(left->entry.name, right->entry.name);
}

sv_status sv_weights_sort(sv_weights *weights, sv_error *err)
{
    char room[96];
    sv_free(weights->by_name);
    weights->by_name = NULL;
    sv_status status = sv_alloc(&weights->by_name, weights->item_count * sizeof *weights->by_name, "weights order", err);
    if (status) return status;
    for (uint32_t i = 0; i < weights->item_count; i++) weights->by_name[i] = i;
    qsort_r(weights->by_name, weights->item_count, sizeof *weights->by_name, item_order, weights->items);
    for (size_t i = 1; i < weights->item_count; i++)
        if (item_order(&weights->by_name[i - 1], &weights->by_name[i], weights->items) == 0)
            return sv_fail(err, SV_MODEL_FILE, "%s: tensor '%s' stands twice in the file: no answer would be right", weights->file.path,
                           sv_text_safe(room, sizeof room, weights->items[weights->by_name[i]].entry.name));
    return SV_OK;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static sv_status read_zip(sv_weights *weights, sv_error *err)
{
    sv_zip zip = { 0 };
    sv_status status = sv_zip_open(&zip, weights, err);
    if (status) return status;
    bool numpy = zip.count > 0;
    for (size_t i = 0; i < zip.count; i++) {
        const sv_zip_entry *entry = &zip.entries[i];
        numpy = numpy && entry->name_length > 4 && memcmp(entry->name + entry->name_length - 4, ".npy", 4) == 0;
    }
    status = numpy ? sv_npz_read(weights, &zip, err) : sv_pth_read_zip(weights, &zip, err);
    sv_zip_close(&zip);
    return status;
}

/* The first bytes tell the form. A safetensors file is known by the brace behind its length, as its first bytes may be any. */
static sv_status read_by_content(sv_weights *weights, sv_error *err)
{
    unsigned char head[9] = { 0 };
    size_t bytes = weights->file.size < sizeof head ? weights->file.size : sizeof head;
    sv_status status = sv_file_read_at(&weights->file, 0, head, bytes, err);
    if (status) return status;
    if (bytes == sizeof head && head[8] == '{') return sv_safetensors_read(weights, err);
    if (memcmp(head, "PK\3\4", 4) == 0 || memcmp(head, "PK\5\6", 4) == 0) return read_zip(weights, err);
    if (memcmp(head, "\x93NUMPY", 6) == 0) return sv_npy_read(weights, err);
    if (head[0] == 0x80 && head[1] >= 1 && head[1] < 32) return sv_pth_read_legacy(weights, err);
    if (bytes == 0) return sv_fail(err, SV_MODEL_FILE, "%s: is empty; expected a file of tensors", weights->file.path);
    return sv_fail(err, SV_MODEL_FILE,
                   "%s: byte 0: neither safetensors (a header length, then '{'), .pth (zip or pickle) nor .npy; its %llu bytes begin with "
                   "%02x %02x %02x %02x",
                   weights->file.path, (unsigned long long)weights->file.size, head[0], head[1], head[2], head[3]);
}

sv_status sv_weights_open(sv_weights **out, const char *path, sv_error *err)
{
    sv_weights *weights = NULL;
    sv_status status = sv_alloc_zero(&weights, sizeof *weights, "weights", err);
    if (status) return status;
    status = sv_file_open(&weights->file, path, SV_MODEL_FILE, err);
    if (status) goto done;
    if (weights->file.size > (uint64_t)1 << 60) {
        status = sv_fail(err, SV_MODEL_FILE, "%s: is said to have %llu bytes", path, (unsigned long long)weights->file.size);
        goto done;
    }
    weights->memory_left = 3 * weights->file.size + memory_beside / 4 * 3; /* an array that grows is there twice for a moment */
    weights->elements_left = (4 * weights->file.size + memory_beside) / sizeof(float);
    status = read_by_content(weights, err);
    if (status) goto done;
    *out = weights;
    weights = NULL;
done:
    sv_weights_close(weights);
    return status;
}

void sv_weights_close(sv_weights *weights)
{
    if (!weights) return;
    for (size_t i = 0; i < weights->item_count; i++) sv_free(weights->items[i].strides);
    for (size_t i = 0; i < weights->store_count; i++) sv_free(weights->stores[i].label);
    for (size_t i = 0; i < weights->name_count; i++) sv_free(weights->names[i]);
    for (size_t i = 0; i < weights->skipped_count; i++) sv_free(weights->skipped[i]);
    sv_free(weights->unpacked);
    sv_free(weights->skipped);
    sv_free(weights->names);
    sv_free(weights->stores);
    sv_free(weights->by_name);
    sv_free(weights->items);
    sv_free(weights->pairs);
    sv_free(weights->header);
    sv_file_close(&weights->file);
    sv_free(weights);
}

/* ---- looking up -------------------------------------------------------------------------------------------------- */

const char *sv_weights_path(const sv_weights *weights) { return weights->file.path; }
const char *sv_weights_format(const sv_weights *weights) { return weights->format; }
size_t sv_weights_count(const sv_weights *weights) { return weights->item_count; }
const sv_weights_entry *sv_weights_at(const sv_weights *weights, size_t index) { return &weights->items[index].entry; }
size_t sv_weights_skipped_count(const sv_weights *weights) { return weights->skipped_count; }
const char *sv_weights_skipped(const sv_weights *weights, size_t index) { return weights->skipped[index]; }
size_t sv_weights_metadata_count(const sv_weights *weights) { return weights->pair_count; }

const sv_weights_entry *sv_weights_find(const sv_weights *weights, const char *name)
{
    size_t low = 0, high = weights->item_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const sv_weights_entry *entry = &weights->items[weights->by_name[middle]].entry;
        int order = strcmp(name, entry->name);
        if (order == 0) return entry;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const char *sv_weights_metadata_key(const sv_weights *weights, size_t index)
{
    return (const char *)weights->header + weights->pairs[index].key;
}
const char *sv_weights_metadata_value(const sv_weights *weights, size_t index)
{
    return (const char *)weights->header + weights->pairs[index].value;
}

const char *sv_weights_metadata(const sv_weights *weights, const char *key)
{
    size_t low = 0, high = weights->pair_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(key, sv_weights_metadata_key(weights, middle));
        if (order == 0) return sv_weights_metadata_value(weights, middle);
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Where a tensor's elements come from: bytes in memory (strided or deflated), else the file itself. */
typedef struct source {
    sv_weights *weights;
    sv_weights_item *item;
    size_t width;                /* bytes of an element */
    unsigned char *loaded;       /* owned; holds the store from item->first on */
    const unsigned char *memory; /* element 0, where the tensor is in memory */
} source;

/* Bytes from element 0 to the end of the last element of a tensor that is not empty; the reader has checked that it fits. */
static size_t span_of(const sv_weights_item *item, size_t width)
{
    size_t last = item->strides ? 0 : item->entry.count - 1;
    for (size_t i = 0; item->strides && i < item->entry.rank; i++) last += (item->entry.shape[i] - 1) * item->strides[i];
    return (last + 1) * width;
}

static sv_status unpack(sv_weights *weights, size_t index, sv_error *err)
{
    unsigned char *bytes = NULL;
    if (weights->unpacked && weights->unpacked_store == index) return SV_OK;
    sv_free(weights->unpacked);
    weights->unpacked = NULL;
    sv_status status = sv_alloc(&bytes, weights->stores[index].bytes, "inflated weights", err);
    if (!status) status = sv_store_load(weights, index, bytes, err);
    if (status) {
        sv_free(bytes);
        return status;
    }
    weights->unpacked = bytes;
    weights->unpacked_store = index;
    return SV_OK;
}

static sv_status source_open(source *from, sv_weights *weights, const sv_weights_entry *entry, sv_error *err)
{
    sv_weights_item *item = (sv_weights_item *)entry; /* the entry is its first member */
    const sv_store *store = &weights->stores[item->store];
    *from = (source){ .weights = weights, .item = item, .width = item->dtype->bits / 8 };
    if (entry->count == 0) return SV_OK;
    sv_status status = store->deflated ? unpack(weights, item->store, err) : sv_store_check(weights, item->store, err);
    if (status) return status;
    if (store->deflated)
        from->memory = weights->unpacked + item->first;
    else if (item->strides) {
        size_t span = span_of(item, from->width);
        status = sv_alloc(&from->loaded, span, "strided weights", err);
        if (!status) status = sv_file_read_at(&weights->file, store->at + item->first, from->loaded, span, err);
        from->memory = from->loaded;
    }
    return status;
}

static void source_close(source *from) { sv_free(from->loaded); }

/* Elements first .. first+count-1 in row-major order, from wherever the strides put them. */
static void gather(const source *from, size_t first, size_t count, unsigned char *out)
{
    const sv_weights_entry *entry = &from->item->entry;
    const size_t *strides = from->item->strides;
    size_t index[SV_WEIGHTS_RANK], place = 0;
    for (size_t d = entry->rank; d-- > 0; first /= entry->shape[d]) {
        index[d] = first % entry->shape[d];
        place += index[d] * strides[d];
    }
    for (size_t i = 0; i < count; i++) {
        memcpy(out + i * from->width, from->memory + place * from->width, from->width);
        for (size_t d = entry->rank; d-- > 0;) {
            place += strides[d];
            if (++index[d] < entry->shape[d]) break;
            place -= strides[d] * entry->shape[d];
            index[d] = 0;
        }
    }
}

static void swap_bytes(unsigned char *bytes, size_t count, size_t width)
{
    for (size_t i = 0; i < count; i++, bytes += width)
        for (size_t a = 0, b = width - 1; a < b; a++, b--) {
            unsigned char kept = bytes[a];
            bytes[a] = bytes[b];
            bytes[b] = kept;
        }
}

static sv_status piece_read(const source *from, size_t first, size_t count, unsigned char *out, sv_error *err)
{
    const sv_weights_item *item = from->item;
    size_t bytes = count * from->width, skip = first * from->width;
    sv_status status = SV_OK;
    if (from->memory && item->strides)
        gather(from, first, count, out);
    else if (from->memory)
        memcpy(out, from->memory + skip, bytes);
    else
        status = sv_file_read_at(&from->weights->file, from->weights->stores[item->store].at + item->first + skip, out, bytes, err);
    if (item->big_endian) swap_bytes(out, count, from->width);
    return status;
}

/* What becomes of a piece: count elements from number `first` on, as little-endian bytes. */
typedef void piece_use(void *context, const sv_weights_item *item, const unsigned char *bytes, size_t first, size_t count);

static sv_status crc_compare(const sv_weights *weights, sv_weights_item *item, uint32_t crc, sv_error *err)
{
    char room[96];
    item->checked = crc == item->crc;
    if (item->checked) return SV_OK;
    return sv_fail(err, SV_MODEL_FILE,
                   "%s: tensor '%s': CRC-32 of its bytes is %08x, the metadata say %08x: it was changed after it was written",
                   weights->file.path, sv_text_safe(room, sizeof room, item->entry.name), crc, item->crc);
}

static sv_status each_piece(sv_weights *weights, const sv_weights_entry *entry, piece_use *use, void *context, sv_error *err)
{
    unsigned char piece[PIECE * WIDEST];
    source from;
    uint32_t crc = 0;
    sv_status status = source_open(&from, weights, entry, err);
    for (size_t first = 0; first < entry->count && !status; first += PIECE) {
        size_t count = entry->count - first < PIECE ? entry->count - first : PIECE;
        status = piece_read(&from, first, count, piece, err);
        if (status) break;
        if (from.item->has_crc && !from.item->checked) crc = (uint32_t)crc32(crc, piece, (uInt)(count * from.width));
        use(context, from.item, piece, first, count);
    }
    if (!status && from.item->has_crc && !from.item->checked) status = crc_compare(weights, from.item, crc, err);
    source_close(&from);
    return status;
}

static void use_doubles(void *context, const sv_weights_item *item, const unsigned char *bytes, size_t first, size_t count)
{
    item->dtype->widen((double *)context + first, bytes, count);
}

static void use_floats(void *context, const sv_weights_item *item, const unsigned char *bytes, size_t first, size_t count)
{
    float *out = (float *)context + first;
    double wide[PIECE];
    if (strcmp(item->dtype->name, "float32") == 0) {
        memcpy(out, bytes, count * sizeof *out);
        return;
    }
    item->dtype->widen(wide, bytes, count);
    for (size_t i = 0; i < count; i++) out[i] = (float)wide[i];
}

static void use_bytes(void *context, const sv_weights_item *item, const unsigned char *bytes, size_t first, size_t count)
{
    size_t width = item->dtype->bits / 8;
    memcpy((unsigned char *)context + first * width, bytes, count * width);
}

static void use_crc(void *context, const sv_weights_item *item, const unsigned char *bytes, size_t first, size_t count)
{
    uint32_t *crc = context;
    (void)first;
    *crc = (uint32_t)crc32(*crc, bytes, (uInt)(count * item->dtype->bits / 8));
}

static void use_digest(void *context, const sv_weights_item *item, const unsigned char *bytes, size_t first, size_t count)
{
    sv_weights_digest *digest = context;
    double wide[PIECE];
    item->dtype->widen(wide, bytes, count);
    for (size_t i = 0; i < count; i++) digest->sum += wide[i];
    for (size_t i = 0; first + i < 4 && i < count; i++) digest->first[digest->first_count++] = wide[i];
}

sv_status sv_weights_read_doubles(sv_weights *weights, const sv_weights_entry *entry, double *out, sv_error *err)
{
    return each_piece(weights, entry, use_doubles, out, err);
}

sv_status sv_weights_read_floats(sv_weights *weights, const sv_weights_entry *entry, float *out, sv_error *err)
{
    return each_piece(weights, entry, use_floats, out, err);
}

sv_status sv_weights_read(sv_weights *weights, const sv_weights_entry *entry, sv_real *out, sv_error *err)
{
    return each_piece(weights, entry, sizeof *out == sizeof(float) ? use_floats : use_doubles, out, err);
}

sv_status sv_weights_read_bytes(sv_weights *weights, const sv_weights_entry *entry, void *out, sv_error *err)
{
    return each_piece(weights, entry, use_bytes, out, err);
}

sv_status sv_weights_crc32(sv_weights *weights, const sv_weights_entry *entry, uint32_t *out, sv_error *err)
{
    uint32_t crc = 0;
    sv_status status = each_piece(weights, entry, use_crc, &crc, err);
    if (!status) *out = crc;
    return status;
}

sv_status sv_weights_digest_read(sv_weights *weights, const sv_weights_entry *entry, sv_weights_digest *out, sv_error *err)
{
    sv_weights_digest digest = { 0 };
    sv_status status = each_piece(weights, entry, use_digest, &digest, err);
    if (!status) *out = digest;
    return status;
}
