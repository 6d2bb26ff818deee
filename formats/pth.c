/* PyTorch .pth, read. Zip form: NAME/data.pkl is a pickle whose storages are the entries NAME/data/KEY. Legacy form: five
 * pickles (magic, protocol, machine, object, list of storage keys), then each storage as its count and its elements.
 * The pickles are read by a machine that calls nothing (pickle.h); what comes of them is walked here for tensors. */
#include <stdlib.h>
#include <string.h>

#include "formats/pickle.h"
#include "formats/zip.h"

enum { DEPTH_MOST = 32, FOLDER_MOST = 256, VERSION_MOST = 10 /* the highest PyTorch reads; it writes 3 */ };

/* ---- from the pickle's object to tensors ------------------------------------------------------------------------- */

typedef struct walk {
    sv_weights *weights;
    sv_text name; /* of the dict being walked, with a dot at its end */
    uint64_t steps_left;
    bool big_endian;
    sv_error *err;
} walk;

static bool is_row_major(const sv_pickle_tensor *tensor)
{
    size_t expected = 1;
    if (tensor->count == 0) return true;
    for (size_t i = tensor->rank; i-- > 0; expected *= tensor->shape[i])
        if (tensor->shape[i] != 1 && tensor->strides[i] != expected) return false;
    return true;
}

static sv_status tensor_add(walk *at, const char *name, const sv_pickle_tensor *tensor)
{
    sv_weights_item item = { .dtype = tensor->dtype, .store = tensor->storage->store, .big_endian = at->big_endian };
    size_t width = tensor->dtype->bits / 8;
    item.entry = (sv_weights_entry){ .name = name, .dtype = tensor->dtype->name, .rank = tensor->rank, .count = tensor->count };
    memcpy(item.entry.shape, tensor->shape, sizeof item.entry.shape);
    /* in bytes: an untyped storage counts bytes already; the view was checked to lie in it */
    item.first = tensor->count ? tensor->storage->first * (tensor->storage->dtype ? width : 1) + tensor->offset * width : 0;
    if (!is_row_major(tensor)) {
        sv_status status = sv_weights_take(at->weights, 256, "its strides", at->err);
        if (!status) status = sv_alloc(&item.strides, sizeof tensor->strides, "weights strides", at->err);
        if (status) return status;
        memcpy(item.strides, tensor->strides, sizeof tensor->strides);
    }
    sv_status status = sv_weights_add_item(at->weights, &item, at->err);
    if (status) sv_free(item.strides);
    return status;
}

static int key_order(const void *a, const void *b)
{
    return strcmp((*(sv_pickle_text *const *)a)->bytes, (*(sv_pickle_text *const *)b)->bytes);
}

/* A key that stands twice: Python would let the last one win, silently. */
static sv_status keys_check(walk *at, const sv_pickle_list *dict)
{
    sv_pickle_text **keys = NULL;
    size_t count = 0;
    char room[96];
    sv_status status = sv_alloc(&keys, dict->count / 2 * sizeof *keys, "pickle keys", at->err);
    if (status) return status;
    for (size_t i = 0; i < dict->count; i += 2)
        if (dict->items[i].kind == SV_PICKLE_TEXT) keys[count++] = dict->items[i].text;
    qsort(keys, count, sizeof *keys, key_order);
    for (size_t i = 1; i < count && !status; i++)
        if (strcmp(keys[i - 1]->bytes, keys[i]->bytes) == 0)
            status = sv_fail(at->err, SV_MODEL_FILE, "%s: the key '%s%s' stands twice in its dict: no answer would be right",
                             at->weights->file.path, at->name.length ? at->name.data : "", sv_text_safe(room, sizeof room, keys[i]->bytes));
    sv_free(keys);
    return status;
}

static sv_status dict_walk(walk *at, const sv_pickle_list *dict, unsigned depth);

static sv_status value_walk(walk *at, const sv_pickle_value *value, unsigned depth)
{
    char what[64];
    if (value->kind == SV_PICKLE_DICT) {
        sv_text_add(&at->name, ".");
        sv_status status = sv_text_check(&at->name, at->err);
        return status ? status : dict_walk(at, value->list, depth + 1);
    }
    if (value->kind != SV_PICKLE_TENSOR) return sv_weights_skip(at->weights, at->name.data, sv_pickle_kind_name(value), at->err);
    if (!value->tensor->dtype->widen) {
        sv_text_safe(what, sizeof what, "a tensor of ");
        strncat(what, value->tensor->dtype->name, sizeof what - 1 - strlen(what));
        return sv_weights_skip(at->weights, at->name.data, what, at->err);
    }
    const char *name = NULL;
    sv_status status = sv_weights_keep_name(at->weights, at->name.data, at->name.length, &name, at->err);
    return status ? status : tensor_add(at, name, value->tensor);
}

/* Dicts may be shared or hold themselves: depth and the number of steps are bounded by the file. */
static sv_status dict_walk(walk *at, const sv_pickle_list *dict, unsigned depth)
{
    const char *path = at->weights->file.path;
    size_t length = at->name.length;
    char room[96];
    if (depth > DEPTH_MOST)
        return sv_fail(at->err, SV_MODEL_FILE, "%s: dicts nested deeper than %d at '%s'; expected a checkpoint's state dict", path,
                       DEPTH_MOST, sv_text_safe(room, sizeof room, at->name.data));
    if (dict->count / 2 > at->steps_left)
        return sv_fail(at->err, SV_MODEL_FILE, "%s: its dicts stand for more names than the file has bytes; refused", path);
    at->steps_left -= dict->count / 2;
    sv_status status = keys_check(at, dict);
    for (size_t i = 0; i < dict->count && !status; i += 2) {
        const sv_pickle_value *key = &dict->items[i];
        if (key->kind == SV_PICKLE_TEXT)
            sv_text_add(&at->name, "%s", key->text->bytes);
        else
            sv_text_add(&at->name, "(%s)", key->kind == SV_PICKLE_INT ? "number" : "no text");
        status = sv_text_check(&at->name, at->err);
        if (status) return status;
        if (key->kind == SV_PICKLE_TEXT)
            status = value_walk(at, &dict->items[i + 1], depth);
        else
            status = sv_weights_skip(at->weights, at->name.data, "its key is no text", at->err);
        at->name.length = length;
        at->name.data[length] = 0;
    }
    return status;
}

/* A checkpoint keeps its model under one of these keys (spec/backbones.md 8.1), or is the model itself. */
static const char *const model_keys[] = { "model", "state_dict", "state_dict_ema", "model_ema" };

static sv_status rest_skip(walk *at, const sv_pickle_list *top, const char *chosen)
{
    sv_status status = keys_check(at, top);
    for (size_t i = 0; i < top->count && !status; i += 2) {
        const sv_pickle_value *key = &top->items[i];
        const char *name = key->kind == SV_PICKLE_TEXT ? key->text->bytes : "(no text)";
        if (strcmp(name, chosen) != 0) status = sv_weights_skip(at->weights, name, sv_pickle_kind_name(key + 1), at->err);
    }
    return status;
}

static sv_status model_walk(walk *at, const sv_pickle_value *top)
{
    const char *path = at->weights->file.path;
    sv_status status = SV_OK;
    if (top->kind != SV_PICKLE_DICT)
        return sv_fail(at->err, SV_MODEL_FILE, "%s: holds %s, expected a dict of tensors; save model.state_dict()", path,
                       sv_pickle_kind_name(top));
    for (size_t i = 0; i < SV_COUNT(model_keys) && !status; i++) {
        const sv_pickle_value *model = sv_pickle_get(top, model_keys[i]);
        if (!model || model->kind != SV_PICKLE_DICT) continue;
        status = dict_walk(at, model->list, 1);
        if (!status && at->weights->item_count) return rest_skip(at, top->list, model_keys[i]);
    }
    if (!status) status = dict_walk(at, top->list, 0);
    if (!status && at->weights->item_count == 0)
        status = sv_fail(at->err, SV_MODEL_FILE, "%s: holds no tensor under a name that could be read; expected a checkpoint's state dict",
                         path);
    return status;
}

static sv_status object_read(sv_weights *weights, const sv_pickle *pickle, uint64_t pickle_bytes, bool big_endian, sv_error *err)
{
    walk at = { .weights = weights, .steps_left = 4 * pickle_bytes + 1000, .big_endian = big_endian, .err = err };
    sv_text_add(&at.name, "%s", "");
    sv_status status = sv_text_check(&at.name, err);
    if (!status) status = model_walk(&at, &pickle->top);
    if (!status) status = sv_weights_sort(weights, err);
    sv_text_clear(&at.name);
    return status;
}

/* ---- storages ---------------------------------------------------------------------------------------------------- */

/* All storages a pickle names, sorted by key, so that those of one record stand together. */
typedef struct records {
    sv_pickle_storage **items;
    size_t count;
} records;

static int storage_order(const void *a, const void *b)
{
    return strcmp((*(sv_pickle_storage *const *)a)->key, (*(sv_pickle_storage *const *)b)->key);
}

static sv_status key_wrong(const sv_weights *weights, const char *key, const char *what, sv_error *err)
{
    char room[96];
    return sv_fail(err, SV_MODEL_FILE, "%s: storage '%s': %s", weights->file.path, sv_text_safe(room, sizeof room, key), what);
}

static sv_status records_sort(sv_weights *weights, const sv_pickle *pickle, records *out, sv_error *err)
{
    size_t count = 0;
    for (const sv_pickle_storage *storage = pickle->storages; storage; storage = storage->next) count++;
    sv_status status = sv_alloc(&out->items, count * sizeof *out->items, "storages", err);
    if (status) return status;
    for (sv_pickle_storage *storage = pickle->storages; storage; storage = storage->next) out->items[out->count++] = storage;
    qsort(out->items, count, sizeof *out->items, storage_order);
    for (size_t i = 1; i < count; i++) {
        const sv_pickle_storage *a = out->items[i - 1], *b = out->items[i];
        if (strcmp(a->key, b->key) == 0 && (a->dtype != b->dtype || a->count != b->count))
            return key_wrong(weights, a->key, "is named twice with different types or sizes: no answer would be right", err);
    }
    return SV_OK;
}

/* How many storages from `first` on name the same record. */
static size_t group_of(const records *all, size_t first)
{
    size_t end = first + 1;
    while (end < all->count && strcmp(all->items[first]->key, all->items[end]->key) == 0) end++;
    return end - first;
}

static size_t storage_bytes(const sv_pickle_storage *storage) { return storage->count * (storage->dtype ? storage->dtype->bits / 8 : 1); }

/* Adds a store and tells a group of storages its number. */
static sv_status record_add(sv_weights *weights, const records *all, size_t first, size_t count, sv_store *store, sv_error *err)
{
    sv_text label = { 0 };
    sv_status status = sv_weights_take(weights, 2 * sizeof *store + 256, "its storages", err);
    if (status) return status;
    sv_text_add(&label, "data/%.80s", all->items[first]->key);
    status = sv_text_check(&label, err);
    store->label = label.data;
    if (!status) status = sv_weights_add_store(weights, store, err);
    if (status) {
        sv_text_clear(&label);
        return status;
    }
    for (size_t i = first; i < first + count; i++) all->items[i]->store = (uint32_t)(weights->store_count - 1);
    return SV_OK;
}

/* ---- the zip form ------------------------------------------------------------------------------------------------ */

typedef struct archive {
    sv_weights *weights;
    const sv_zip *zip;
    const char *folder; /* folder_length bytes */
    size_t folder_length;
    bool big_endian;
    sv_error *err;
} archive;

/* The folder is what stands before /data.pkl; it must be one plain name. */
static sv_status folder_find(archive *in)
{
    static const char tail[] = "/data.pkl";
    size_t tail_length = sizeof tail - 1;
    const char *path = in->weights->file.path;
    for (size_t i = 0; i < in->zip->count; i++) {
        const sv_zip_entry *entry = &in->zip->entries[i];
        size_t length = entry->name_length;
        if (length <= tail_length || memcmp(entry->name + length - tail_length, tail, tail_length) != 0) continue;
        length -= tail_length;
        if (memchr(entry->name, '/', length) || length > FOLDER_MOST || (length == 2 && memcmp(entry->name, "..", 2) == 0)) continue;
        if (in->folder) return sv_fail(in->err, SV_MODEL_FILE, "%s: zip with two data.pkl: no answer would be right", path);
        in->folder = entry->name;
        in->folder_length = length;
    }
    return in->folder ? SV_OK : sv_fail(in->err, SV_MODEL_FILE, "%s: zip without a data.pkl in its folder: not a file of torch.save", path);
}

static const sv_zip_entry *record_find(const archive *in, const char *name, sv_status *status)
{
    sv_text whole = { 0 };
    const sv_zip_entry *entry = NULL;
    sv_text_add_bytes(&whole, in->folder, in->folder_length);
    sv_text_add(&whole, "/%s", name);
    *status = sv_text_check(&whole, in->err);
    if (!*status) entry = sv_zip_find(in->zip, whole.data, whole.length);
    sv_text_clear(&whole);
    return entry;
}

/* Adds the store of a record that is read at once; the name is for messages. */
static sv_status record_store(archive *in, sv_store *store, const char *name)
{
    sv_status status = sv_text_copy(&store->label, name, in->err);
    if (!status) status = sv_weights_add_store(in->weights, store, in->err);
    if (status) sv_free(store->label);
    return status;
}

/* A small record, such as version, as text. *found is false where there is none. */
static sv_status word_read(archive *in, const char *name, char out[16], bool *found)
{
    sv_store store = { 0 };
    sv_status status = SV_OK;
    const sv_zip_entry *entry = record_find(in, name, &status);
    *found = entry != NULL;
    if (status || !entry) return status;
    status = sv_zip_store(in->zip, entry, &store, in->err);
    if (status) return status;
    if (store.bytes > 15)
        return sv_fail(in->err, SV_MODEL_FILE, "%s: the record '%s' has %zu bytes, expected one word", in->weights->file.path, name,
                       store.bytes);
    status = record_store(in, &store, name);
    if (status) return status;
    memset(out, 0, 16);
    return sv_store_load(in->weights, in->weights->store_count - 1, out, in->err);
}

static sv_status records_about(archive *in)
{
    char word[16] = "", room[16];
    bool found = false;
    int64_t version = 0;
    const char *path = in->weights->file.path;
    sv_status status = SV_OK;
    if (record_find(in, "constants.pkl", &status))
        return sv_fail(in->err, SV_MODEL_FILE, "%s: a TorchScript program, not a checkpoint; save model.state_dict()", path);
    if (!status) status = word_read(in, "version", word, &found);
    if (status) return status;
    word[strcspn(word, "\r\n")] = 0;
    if (found && (!sv_parse_int(word, &version) || version < 1 || version > VERSION_MOST))
        return sv_fail(in->err, SV_MODEL_FILE, "%s: the record 'version' says '%s'; 1 to %d are known", path,
                       sv_text_safe(room, sizeof room, word), VERSION_MOST);
    status = word_read(in, "byteorder", word, &found);
    if (status || !found) return status;
    in->big_endian = strcmp(word, "big") == 0;
    if (in->big_endian || strcmp(word, "little") == 0) return SV_OK;
    return sv_fail(in->err, SV_MODEL_FILE, "%s: the record 'byteorder' says '%s', expected little or big", path,
                   sv_text_safe(room, sizeof room, word));
}

static sv_status zip_records(archive *in, const sv_pickle *pickle)
{
    records all = { 0 };
    sv_status status = records_sort(in->weights, pickle, &all, in->err);
    for (size_t i = 0, count; i < all.count && !status; i += count) {
        const sv_pickle_storage *storage = all.items[i];
        sv_text name = { 0 };
        sv_store store = { 0 };
        count = group_of(&all, i);
        sv_text_add(&name, "data/%s", storage->key);
        status = sv_text_check(&name, in->err);
        const sv_zip_entry *entry = status ? NULL : record_find(in, name.data, &status);
        sv_text_clear(&name);
        if (!status && !entry) status = key_wrong(in->weights, storage->key, "the file has no such record", in->err);
        if (!status) status = sv_zip_store(in->zip, entry, &store, in->err);
        if (!status && store.bytes != storage_bytes(storage))
            status = key_wrong(in->weights, storage->key, "its record has another size than the pickle says", in->err);
        if (!status) status = record_add(in->weights, &all, i, count, &store, in->err);
    }
    sv_free(all.items);
    return status;
}

static sv_status zip_object(archive *in, const unsigned char *bytes, size_t count)
{
    sv_pickle pickle = { 0 };
    sv_pickle_input input = { .bytes = bytes, .count = count, .end = count };
    sv_status status = sv_pickle_run(&pickle, &input, in->weights, "data.pkl", in->err);
    if (!status) status = zip_records(in, &pickle);
    if (!status) status = object_read(in->weights, &pickle, count, in->big_endian, in->err);
    sv_pickle_clear(&pickle, in->weights);
    return status;
}

sv_status sv_pth_read_zip(sv_weights *weights, const sv_zip *zip, sv_error *err)
{
    archive in = { .weights = weights, .zip = zip, .err = err };
    unsigned char *bytes = NULL;
    size_t count = 0;
    sv_store store = { 0 };
    weights->format = "pth";
    sv_status status = folder_find(&in);
    if (!status) status = records_about(&in);
    if (status) return status;
    const sv_zip_entry *entry = record_find(&in, "data.pkl", &status);
    if (!status) status = sv_zip_store(zip, entry, &store, err);
    if (status) return status;
    count = store.bytes;
    status = sv_weights_take(weights, count, "data.pkl", err);
    if (!status) status = record_store(&in, &store, "data.pkl");
    if (!status) status = sv_alloc(&bytes, count, "data.pkl", err);
    if (!status) status = sv_store_load(weights, weights->store_count - 1, bytes, err);
    if (!status) status = zip_object(&in, bytes, count);
    sv_free(bytes);
    weights->memory_left += status ? 0 : count;
    return status;
}

/* ---- the legacy form --------------------------------------------------------------------------------------------- */

static sv_status head_read(sv_weights *weights, sv_pickle_input *input, sv_error *err)
{
    static const unsigned char magic[10] = { 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19 };
    sv_pickle one = { 0 };
    sv_status status = sv_pickle_run(&one, input, weights, "the first pickle", err);
    if (!status
        && (one.top.kind != SV_PICKLE_BIG || one.top.text->length != sizeof magic || memcmp(one.top.text->bytes, magic, sizeof magic) != 0))
        status = sv_fail(err, SV_MODEL_FILE, "%s: byte 0: a pickle without PyTorch's magic number: not a file of torch.save",
                         weights->file.path);
    sv_pickle_clear(&one, weights);
    if (status) return status;
    status = sv_pickle_run(&one, input, weights, "the protocol", err);
    if (!status && (one.top.kind != SV_PICKLE_INT || one.top.integer != 1001))
        status = sv_fail(err, SV_MODEL_FILE, "%s: byte %llu: unknown protocol of a legacy file, expected 1001", weights->file.path,
                         (unsigned long long)sv_pickle_at(input));
    sv_pickle_clear(&one, weights);
    if (status) return status;
    status = sv_pickle_run(&one, input, weights, "the machine's description", err);
    sv_pickle_clear(&one, weights);
    return status;
}

static size_t record_find_sorted(const records *all, const char *key)
{
    size_t low = 0, high = all->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(all->items[middle]->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* One storage: its count in 8 bytes, then its elements. *at moves behind it. */
static sv_status legacy_record(sv_weights *weights, const records *all, const char *key, uint64_t *at, sv_error *err)
{
    unsigned char raw[8] = { 0 };
    uint64_t count = 0;
    size_t first = record_find_sorted(all, key);
    if (first == all->count || strcmp(all->items[first]->key, key) != 0)
        return key_wrong(weights, key, "stands in the list of storages, but no tensor uses it", err);
    const sv_pickle_storage *storage = all->items[first];
    if (storage->store != 0) return key_wrong(weights, key, "stands twice in the list of storages", err);
    if (weights->file.size - *at < sizeof raw) return key_wrong(weights, key, "the file ends before it; is the file cut off?", err);
    sv_status status = sv_file_read_at(&weights->file, *at, raw, sizeof raw, err);
    if (status) return status;
    for (int i = 7; i >= 0; i--) count = count << 8 | raw[i];
    *at += sizeof raw;
    if (count != storage->count) return key_wrong(weights, key, "the count before its data and the one in the pickle differ", err);
    sv_store store = { .at = *at, .packed = storage_bytes(storage), .bytes = storage_bytes(storage) };
    if (store.bytes > weights->file.size - *at) return key_wrong(weights, key, "its data reach beyond the file; is the file cut off?", err);
    *at += store.bytes;
    return record_add(weights, all, first, group_of(all, first), &store, err);
}

static sv_status legacy_records(sv_weights *weights, const sv_pickle *pickle, const sv_pickle_value *keys, uint64_t at, sv_error *err)
{
    static const sv_store none = { 0 }; /* so that number 0 means: not seen yet */
    records all = { 0 };
    if (keys->kind != SV_PICKLE_LIST)
        return sv_fail(err, SV_MODEL_FILE, "%s: byte %llu: expected a list of storages", weights->file.path, (unsigned long long)at);
    sv_status status = records_sort(weights, pickle, &all, err);
    if (!status) status = sv_weights_add_store(weights, &none, err);
    for (size_t i = 0; i < keys->list->count && !status; i++) {
        const sv_pickle_value *key = &keys->list->items[i];
        if (key->kind != SV_PICKLE_TEXT)
            status = sv_fail(err, SV_MODEL_FILE, "%s: byte %llu: the list of storages holds %s", weights->file.path, (unsigned long long)at,
                             sv_pickle_kind_name(key));
        else
            status = legacy_record(weights, &all, key->text->bytes, &at, err);
    }
    for (size_t i = 0; i < all.count && !status; i++)
        if (all.items[i]->store == 0) status = key_wrong(weights, all.items[i]->key, "is missing in the list of storages", err);
    sv_free(all.items);
    return status;
}

sv_status sv_pth_read_legacy(sv_weights *weights, sv_error *err)
{
    sv_pickle object = { 0 }, keys = { 0 };
    sv_pickle_input input = { .file = &weights->file, .end = weights->file.size };
    weights->format = "pth (legacy)";
    sv_status status = head_read(weights, &input, err);
    uint64_t begin = sv_pickle_at(&input), end = begin;
    if (!status) status = sv_pickle_run(&object, &input, weights, "the pickle", err);
    end = sv_pickle_at(&input);
    if (!status) status = sv_pickle_run(&keys, &input, weights, "the list of storages", err);
    if (!status) status = legacy_records(weights, &object, &keys.top, sv_pickle_at(&input), err);
    if (!status) status = object_read(weights, &object, end - begin, false, err);
    sv_pickle_clear(&keys, weights);
    sv_pickle_clear(&object, weights);
    return status;
}
