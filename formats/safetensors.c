/* safetensors, read: 8 bytes of header length (little-endian), a JSON object, then the data. The object is walked twice:
 * once to check it and to count, so that one exact array holds the tensors; once to take what it says. The tensors must
 * cover the data from the first byte to the last, without gap or overlap (docs/formats.md). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json_scan.h"
#include "formats/weights_inside.h"

enum { HEADER_MOST = 100000000 }; /* the limit of the safetensors library: a longer header would be ours alone to read */

typedef struct reading {
    sv_weights *weights;
    sv_scan scan;
    uint64_t data_bytes;
    size_t members, pairs; /* counted by the first walk; members include __metadata__ */
    bool metadata_seen;
    sv_error *err;
} reading;

static sv_status json_wrong(reading *in)
{
    return sv_fail(in->err, SV_MODEL_FILE, "%s: header byte %zu: %s; is this a safetensors file?", in->weights->file.path, in->scan.at,
                   in->scan.problem);
}

static sv_status tensor_wrong(reading *in, const char *name, const char *what)
{
    char room[96];
    return sv_fail(in->err, SV_MODEL_FILE, "%s: tensor '%s' (header byte %zu): %s", in->weights->file.path,
                   sv_text_safe(room, sizeof room, name), in->scan.at, what);
}

static sv_status read_header(reading *in)
{
    sv_weights *weights = in->weights;
    const char *path = weights->file.path;
    unsigned char raw[8] = { 0 };
    uint64_t length = 0;
    sv_status status = sv_file_read_at(&weights->file, 0, raw, sizeof raw, in->err);
    if (status) return status;
    for (int i = 7; i >= 0; i--) length = length << 8 | raw[i];
    if (length > HEADER_MOST)
        return sv_fail(in->err, SV_MODEL_FILE, "%s: byte 0: the header is said to have %llu bytes, more than the %d allowed", path,
                       (unsigned long long)length, HEADER_MOST);
    if (length > weights->file.size - 8)
        return sv_fail(in->err, SV_MODEL_FILE,
                       "%s: byte 0: the header is said to have %llu bytes, but only %llu follow; is the file cut off?", path,
                       (unsigned long long)length, (unsigned long long)(weights->file.size - 8));
    status = sv_weights_take(weights, length, "its header", in->err);
    if (status) return status;
    status = sv_alloc(&weights->header, length, "weights header", in->err);
    if (status) return status;
    in->data_bytes = weights->file.size - 8 - length;
    in->scan = (sv_scan){ .text = weights->header, .length = length };
    return sv_file_read_at(&weights->file, 8, weights->header, length, in->err);
}

static bool count_members(sv_scan *scan, size_t *count)
{
    if (!sv_scan_mark(scan, '{')) return false;
    if (sv_scan_is(scan, '}')) return true;
    do {
        sv_scan key = *scan;
        if (!sv_scan_skip(scan)) return false;
        if (!sv_scan_is(&key, '"')) {
            *scan = key;
            scan->problem = "expected a name in quotes";
            return false;
        }
        if (!sv_scan_mark(scan, ':') || !sv_scan_skip(scan)) return false;
        ++*count;
    } while (sv_scan_is(scan, ','));
    return sv_scan_mark(scan, '}');
}

/* The first walk: is it JSON to the last byte, and how much is in it? The text stays as it is. */
static sv_status first_walk(reading *in)
{
    sv_weights *weights = in->weights;
    sv_scan *scan = &in->scan;
    if (scan->length == 0 || scan->text[0] != '{') {
        scan->problem = "expected '{'";
        return json_wrong(in);
    }
    if (!count_members(scan, &in->members) || !sv_scan_end(scan)) return json_wrong(in);
    scan->at = 0;
    sv_status status = sv_weights_take(weights, in->members * (sizeof *weights->items + 8), "its tensors", in->err);
    if (status) return status;
    weights->item_capacity = in->members;
    return sv_alloc_zero(&weights->items, in->members * sizeof *weights->items, "weights", in->err);
}

static int by_key(const void *a, const void *b, void *header)
{
    const sv_metadata_pair *left = a, *right = b;
    return strcmp((char *)header + left->key, (char *)header + right->key);
}

static sv_status sort_pairs(reading *in)
{
    sv_weights *weights = in->weights;
    char room[96];
    qsort_r(weights->pairs, weights->pair_count, sizeof *weights->pairs, by_key, weights->header);
    for (size_t i = 1; i < weights->pair_count; i++)
        if (by_key(&weights->pairs[i - 1], &weights->pairs[i], weights->header) == 0)
            return sv_fail(in->err, SV_MODEL_FILE, "%s: metadata key '%s' stands twice", weights->file.path,
                           sv_text_safe(room, sizeof room, sv_weights_metadata_key(weights, i)));
    return SV_OK;
}

static sv_status metadata_read(reading *in)
{
    sv_weights *weights = in->weights;
    sv_scan *scan = &in->scan, ahead = *scan;
    size_t pairs = 0;
    if (in->metadata_seen)
        return sv_fail(in->err, SV_MODEL_FILE, "%s: header byte %zu: __metadata__ stands twice", weights->file.path, scan->at);
    in->metadata_seen = true;
    if (sv_scan_is(&ahead, 'n')) return sv_scan_skip(scan) ? SV_OK : json_wrong(in); /* null: none */
    if (!count_members(&ahead, &pairs)) {
        *scan = ahead;
        return json_wrong(in);
    }
    sv_status status = sv_weights_take(weights, pairs * sizeof *weights->pairs, "its metadata", in->err);
    if (!status) status = sv_alloc(&weights->pairs, pairs * sizeof *weights->pairs, "weights metadata", in->err);
    if (status) return status;
    if (!sv_scan_mark(scan, '{')) return json_wrong(in);
    for (; weights->pair_count < pairs; weights->pair_count++) {
        const char *key = NULL, *value = NULL;
        if (weights->pair_count && !sv_scan_is(scan, ',')) return json_wrong(in);
        if (!sv_scan_string(scan, &key) || !sv_scan_mark(scan, ':')) return json_wrong(in);
        if (!sv_scan_string(scan, &value)) {
            scan->problem = "metadata must be text in quotes";
            return json_wrong(in);
        }
        weights->pairs[weights->pair_count] =
            (sv_metadata_pair){ (uint32_t)(key - (char *)weights->header), (uint32_t)(value - (char *)weights->header) };
    }
    if (!sv_scan_mark(scan, '}')) return json_wrong(in);
    return sort_pairs(in);
}

static sv_status dtype_read(reading *in, sv_weights_item *item)
{
    const char *letters = NULL;
    char what[160], room[40];
    if (!sv_scan_string(&in->scan, &letters)) return json_wrong(in);
    item->dtype = sv_number_find(SV_BY_LETTERS, letters);
    if (item->dtype) {
        item->entry.dtype = item->dtype->name;
        return SV_OK;
    }
    snprintf(what, sizeof what, "there is no dtype '%s'; expected one like F32, BF16 or I64", sv_text_safe(room, sizeof room, letters));
    return tensor_wrong(in, item->entry.name, what);
}

static sv_status shape_read(reading *in, sv_weights_item *item)
{
    sv_scan *scan = &in->scan;
    uint64_t size = 0;
    if (!sv_scan_mark(scan, '[')) return json_wrong(in);
    if (sv_scan_is(scan, ']')) return SV_OK;
    do {
        if (!sv_scan_size(scan, &size)) return json_wrong(in);
        if (item->entry.rank == SV_WEIGHTS_RANK) return tensor_wrong(in, item->entry.name, "more than 8 dimensions");
        item->entry.shape[item->entry.rank++] = size;
    } while (sv_scan_is(scan, ','));
    return sv_scan_mark(scan, ']') ? SV_OK : json_wrong(in);
}

static sv_status offsets_read(reading *in, uint64_t offsets[2])
{
    sv_scan *scan = &in->scan;
    if (!sv_scan_mark(scan, '[') || !sv_scan_size(scan, &offsets[0])) return json_wrong(in);
    if (!sv_scan_is(scan, ',') || !sv_scan_size(scan, &offsets[1]) || !sv_scan_is(scan, ']')) {
        scan->problem = "data_offsets must be two whole numbers";
        return json_wrong(in);
    }
    return SV_OK;
}

static sv_status offsets_check(reading *in, sv_weights_item *item, const uint64_t offsets[2])
{
    sv_weights_entry *entry = &item->entry;
    size_t bits = 0;
    char what[200];
    if (offsets[0] > offsets[1] || offsets[1] > in->data_bytes) {
        snprintf(what, sizeof what, "data_offsets %llu to %llu do not lie in the %llu bytes of data; is the file cut off?",
                 (unsigned long long)offsets[0], (unsigned long long)offsets[1], (unsigned long long)in->data_bytes);
        return tensor_wrong(in, entry->name, what);
    }
    if (sv_shape_count(&entry->count, entry->shape, entry->rank) || sv_mul_size(&bits, entry->count, item->dtype->bits))
        return tensor_wrong(in, entry->name, "its shape has more elements than any file");
    if (bits % 8 || bits / 8 != offsets[1] - offsets[0]) {
        snprintf(what, sizeof what, "its shape and dtype %s need %zu bytes, but data_offsets give %llu", item->dtype->letters, bits / 8,
                 (unsigned long long)(offsets[1] - offsets[0]));
        return tensor_wrong(in, entry->name, what);
    }
    item->first = offsets[0];
    return SV_OK;
}

static sv_status tensor_read(reading *in, const char *name)
{
    enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4, ALL = 7 };
    sv_weights_item item = { .entry.name = name };
    uint64_t offsets[2] = { 0, 0 };
    unsigned seen = 0, now;
    const char *key = NULL;
    sv_status status = SV_OK;
    if (!sv_scan_is(&in->scan, '{')) return tensor_wrong(in, name, "expected an object with dtype, shape and data_offsets");
    if (!sv_scan_is(&in->scan, '}')) {
        do {
            if (!sv_scan_string(&in->scan, &key) || !sv_scan_mark(&in->scan, ':')) return json_wrong(in);
            now = strcmp(key, "dtype") == 0 ? DTYPE : strcmp(key, "shape") == 0 ? SHAPE : strcmp(key, "data_offsets") == 0 ? OFFSETS : 0;
            if (seen & now) return tensor_wrong(in, name, "one key stands twice");
            seen |= now;
            if (now == DTYPE)
                status = dtype_read(in, &item);
            else if (now == SHAPE)
                status = shape_read(in, &item);
            else if (now == OFFSETS)
                status = offsets_read(in, offsets);
            else if (!sv_scan_skip(&in->scan))
                return json_wrong(in);
            if (status) return status;
        } while (sv_scan_is(&in->scan, ','));
        if (!sv_scan_mark(&in->scan, '}')) return json_wrong(in);
    }
    if (seen != ALL) return tensor_wrong(in, name, "dtype, shape or data_offsets is missing");
    status = offsets_check(in, &item, offsets);
    return status ? status : sv_weights_add_item(in->weights, &item, in->err);
}

static sv_status second_walk(reading *in)
{
    sv_status status = SV_OK;
    const char *name = NULL;
    if (!sv_scan_mark(&in->scan, '{')) return json_wrong(in);
    for (size_t i = 0; i < in->members; i++) {
        if (i && !sv_scan_is(&in->scan, ',')) return json_wrong(in);
        if (!sv_scan_string(&in->scan, &name) || !sv_scan_mark(&in->scan, ':')) return json_wrong(in);
        status = strcmp(name, "__metadata__") == 0 ? metadata_read(in) : tensor_read(in, name);
        if (status) return status;
    }
    return SV_OK;
}

static size_t item_end(const sv_weights_item *item) { return item->first + item->entry.count * item->dtype->bits / 8; }

static int by_place(const void *a, const void *b, void *items)
{
    const sv_weights_item *left = (sv_weights_item *)items + *(const uint32_t *)a, *right = (sv_weights_item *)items + *(const uint32_t *)b;
    size_t left_end = item_end(left), right_end = item_end(right);
    if (left->first != right->first) return left->first < right->first ? -1 : 1;
    return left_end < right_end ? -1 : left_end > right_end;
}

static sv_status coverage_check(reading *in)
{
    sv_weights *weights = in->weights;
    uint32_t *order = NULL;
    uint64_t at = 0;
    char room[96];
    sv_status status = sv_alloc(&order, weights->item_count * sizeof *order, "weights order", in->err);
    if (status) return status;
    for (uint32_t i = 0; i < weights->item_count; i++) order[i] = i;
    qsort_r(order, weights->item_count, sizeof *order, by_place, weights->items);
    for (size_t i = 0; i < weights->item_count && !status; i++) {
        const sv_weights_item *item = &weights->items[order[i]];
        if (item->first != at)
            status = sv_fail(in->err, SV_MODEL_FILE, "%s: tensor '%s' begins at byte %zu of the data, expected %llu: tensors may not %s",
                             weights->file.path, sv_text_safe(room, sizeof room, item->entry.name), item->first, (unsigned long long)at,
                             item->first < at ? "overlap" : "leave a gap");
        at = item_end(item);
    }
    if (!status && at != in->data_bytes)
        status = sv_fail(in->err, SV_MODEL_FILE,
                         "%s: the tensors end at byte %llu of the data, but the file has %llu: something stands behind the last one",
                         weights->file.path, (unsigned long long)at, (unsigned long long)in->data_bytes);
    sv_free(order);
    return status;
}

/* Kinds that are known but not read (complex, packed) were needed for the coverage; now they leave. */
static sv_status leave_out(reading *in)
{
    sv_weights *weights = in->weights;
    size_t kept = 0;
    for (size_t i = 0; i < weights->item_count; i++) {
        const sv_weights_item *item = &weights->items[i];
        if (item->dtype->widen) {
            weights->items[kept++] = *item;
            continue;
        }
        char what[64];
        snprintf(what, sizeof what, "a tensor of %s", item->dtype->name);
        sv_status status = sv_weights_skip(weights, item->entry.name, what, in->err);
        if (status) return status;
    }
    if (kept == weights->item_count) return SV_OK;
    weights->item_count = kept;
    return sv_weights_sort(weights, in->err);
}

static bool crc_parse(const char *digits, uint32_t *out)
{
    *out = 0;
    for (size_t i = 0; i < 8; i++) {
        char c = digits[i];
        if (c >= '0' && c <= '9')
            *out = *out << 4 | (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            *out = *out << 4 | (uint32_t)(c - 'a' + 10);
        else
            return false;
    }
    return digits[8] == 0;
}

static bool crc_take(sv_weights *weights, sv_scan *scan)
{
    const char *name = NULL, *digits = NULL;
    if (!sv_scan_mark(scan, '{')) return false;
    if (sv_scan_is(scan, '}')) return sv_scan_end(scan);
    do {
        if (!sv_scan_string(scan, &name) || !sv_scan_mark(scan, ':') || !sv_scan_string(scan, &digits)) return false;
        const sv_weights_entry *entry = sv_weights_find(weights, name);
        if (!entry) continue; /* a tensor of a kind that is left out */
        sv_weights_item *item = (sv_weights_item *)entry;
        item->has_crc = crc_parse(digits, &item->crc);
        if (!item->has_crc) return false;
    } while (sv_scan_is(scan, ','));
    return sv_scan_mark(scan, '}') && sv_scan_end(scan);
}

/* Takes the checksums out of the metadata, where our own writer puts them. */
static sv_status crc_read(reading *in)
{
    sv_weights *weights = in->weights;
    const char *text = sv_weights_metadata(weights, "crc32");
    unsigned char *copy = NULL;
    if (!text || text[0] != '{') return SV_OK;
    size_t length = strlen(text);
    sv_status status = sv_alloc(&copy, length, "checksums", in->err);
    if (status) return status;
    memcpy(copy, text, length);
    sv_scan scan = { .text = copy, .length = length };
    if (!crc_take(weights, &scan))
        status = sv_fail(in->err, SV_MODEL_FILE,
                         "%s: the metadata under 'crc32' is broken at its byte %zu: expected an object of name and 8 hex digits",
                         weights->file.path, scan.at);
    sv_free(copy);
    return status;
}

sv_status sv_safetensors_read(sv_weights *weights, sv_error *err)
{
    reading in = { .weights = weights, .err = err };
    weights->format = "safetensors";
    sv_status status = read_header(&in);
    if (!status) status = first_walk(&in);
    if (!status) status = second_walk(&in);
    if (!status) status = sv_weights_sort(weights, err);
    if (!status) status = coverage_check(&in);
    if (status) return status;
    sv_store store = { .at = weights->file.size - in.data_bytes, .packed = in.data_bytes, .bytes = in.data_bytes };
    status = sv_weights_add_store(weights, &store, err);
    if (!status) status = leave_out(&in);
    if (!status) status = crc_read(&in);
    return status;
}
