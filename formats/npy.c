/* NumPy .npy and .npz, read. A .npy is "\x93NUMPY", two bytes of version, the length of a header, the header (a Python dict
 * in text: descr, fortran_order, shape), then the elements. A .npz is a zip of them; an entry's name less ".npy" is the
 * tensor's. Object arrays would be pickles and are refused, as are structured types. */
#include <stdio.h>
#include <string.h>

#include "formats/zip.h"

enum { HEAD = 12, HEADER_MOST = 1 << 16 };

/* The header as text; each reader steps over blanks first and is false where something else stands. */
typedef struct cursor {
    const char *at;
} cursor;

static bool mark(cursor *in, char expected)
{
    in->at += strspn(in->at, " \n\t");
    if (*in->at != expected) return false;
    in->at++;
    return true;
}

static bool word(cursor *in, const char *expected)
{
    size_t length = strlen(expected);
    in->at += strspn(in->at, " \n\t");
    if (strncmp(in->at, expected, length) != 0) return false;
    in->at += length;
    return true;
}

static bool quoted(cursor *in, char *out, size_t room)
{
    in->at += strspn(in->at, " \n\t");
    char quote = *in->at;
    if (quote != '\'' && quote != '"') return false;
    const char *begin = in->at + 1, *end = strchr(begin, quote);
    if (!end || (size_t)(end - begin) >= room) return false;
    memcpy(out, begin, (size_t)(end - begin));
    out[end - begin] = 0;
    in->at = end + 1;
    return true;
}

static bool size(cursor *in, size_t *out)
{
    *out = 0;
    in->at += strspn(in->at, " \n\t");
    if (*in->at < '0' || *in->at > '9') return false;
    for (; *in->at >= '0' && *in->at <= '9'; in->at++)
        if (sv_mul_size(out, *out, 10) || sv_add_size(out, *out, (size_t)(*in->at - '0'))) return false;
    return true;
}

static bool shape_parse(cursor *in, sv_weights_entry *entry)
{
    if (!mark(in, '(')) return false;
    while (!mark(in, ')')) {
        if (entry->rank == SV_WEIGHTS_RANK || !size(in, &entry->shape[entry->rank++])) return false;
        if (mark(in, ',')) continue;
        if (!mark(in, ')')) return false;
        break;
    }
    return true;
}

/* '<f4': byte order, kind, bytes. */
static bool descr_parse(cursor *in, sv_weights_item *item)
{
    char text[8];
    if (!quoted(in, text, sizeof text) || !strchr("<>|=", text[0]) || text[0] == 0) return false;
    item->dtype = sv_number_find(SV_BY_NUMPY, text + 1);
    if (!item->dtype) return false;
    item->big_endian = text[0] == '>' && item->dtype->bits > 8;
    item->entry.dtype = item->dtype->name;
    return true;
}

/* NULL, or what is wrong. */
static const char not_plain[] = "its descr is no plain number such as '<f4' (objects and structures are not read)";

static const char *header_parse(const char *text, sv_weights_item *item, bool *fortran)
{
    enum { DESCR = 1, ORDER = 2, SHAPE = 4, ALL = 7 };
    cursor in = { text };
    char key[16];
    unsigned seen = 0;
    if (!mark(&in, '{')) return "the header is no dict";
    while (!mark(&in, '}')) {
        if (!quoted(&in, key, sizeof key) || !mark(&in, ':')) return "the header is no dict of descr, fortran_order and shape";
        unsigned now = strcmp(key, "descr") == 0           ? DESCR
                       : strcmp(key, "fortran_order") == 0 ? ORDER
                       : strcmp(key, "shape") == 0         ? SHAPE
                                                           : 0;
        if (!now || (seen & now)) return "the header is no dict of descr, fortran_order and shape";
        seen |= now;
        if (now == DESCR && !descr_parse(&in, item))
            return not_plain;
        if (now == ORDER) {
            *fortran = word(&in, "True");
            if (!*fortran && !word(&in, "False")) return "its fortran_order is neither True nor False";
        }
        if (now == SHAPE && !shape_parse(&in, &item->entry)) return "its shape is no tuple of at most 8 whole numbers";
        if (!mark(&in, ',') && *in.at != '}' && in.at[strspn(in.at, " \n\t")] != '}') return "the header is no dict";
    }
    in.at += strspn(in.at, " \n\t");
    return seen != ALL ? "descr, fortran_order or shape is missing" : *in.at ? "something stands behind the header's dict" : NULL;
}

static sv_status array_wrong(const sv_weights *weights, const char *name, const char *what, sv_error *err)
{
    char room[96];
    return sv_fail(err, SV_MODEL_FILE, "%s: array '%s': %s", weights->file.path, sv_text_safe(room, sizeof room, name), what);
}

static sv_status fortran_strides(sv_weights *weights, sv_weights_item *item, sv_error *err)
{
    size_t stride = 1;
    if (item->entry.rank < 2 || item->entry.count == 0) return SV_OK;
    sv_status status = sv_weights_take(weights, 256, "its strides", err);
    if (!status) status = sv_alloc(&item->strides, SV_WEIGHTS_RANK * sizeof stride, "weights strides", err);
    for (size_t i = 0; i < item->entry.rank && !status; stride *= item->entry.shape[i++]) item->strides[i] = stride;
    return status;
}

/* Bytes of the store added last: from memory where it was inflated, else from the file. */
typedef struct array {
    sv_weights *weights;
    const char *name;
    const unsigned char *memory; /* NULL: in the file */
    sv_error *err;
} array;

static const sv_store *store_of(const array *in) { return &in->weights->stores[in->weights->store_count - 1]; }

static sv_status part_read(const array *in, size_t at, void *out, size_t count)
{
    if (!in->memory) return sv_file_read_at(&in->weights->file, store_of(in)->at + at, out, count, in->err);
    memcpy(out, in->memory + at, count);
    return SV_OK;
}

/* The header as text, owned by the caller, and where it begins. */
static sv_status header_read(const array *in, char **text, size_t *begin, size_t *length)
{
    unsigned char head[HEAD] = { 0 };
    if (store_of(in)->bytes < HEAD) return array_wrong(in->weights, in->name, "too short for a header of NumPy", in->err);
    sv_status status = part_read(in, 0, head, HEAD);
    if (status) return status;
    if (memcmp(head, "\x93NUMPY", 6) != 0 || head[6] < 1 || head[6] > 3)
        return array_wrong(in->weights, in->name, "no array of NumPy's format 1 to 3", in->err);
    *begin = head[6] == 1 ? 10 : 12;
    *length = (size_t)head[8] | (size_t)head[9] << 8;
    if (head[6] > 1) *length |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
    if (*length > HEADER_MOST || *length > store_of(in)->bytes - *begin)
        return array_wrong(in->weights, in->name, "its header is longer than 64 KiB or than the file", in->err);
    status = sv_alloc_zero(text, *length + 1, "npy header", in->err);
    return status ? status : part_read(in, *begin, *text, *length);
}

static sv_status array_read(const array *in)
{
    char *text = NULL;
    bool fortran = false;
    size_t begin = 0, length = 0, bytes = 0;
    sv_weights_item item = { .entry.name = in->name, .store = (uint32_t)(in->weights->store_count - 1) };
    sv_status status = header_read(in, &text, &begin, &length);
    if (status) goto done;
    const char *problem = strlen(text) == length ? header_parse(text, &item, &fortran) : "a zero byte in its header";
    if (!problem
        && (sv_shape_count(&item.entry.count, item.entry.shape, item.entry.rank)
            || sv_mul_size(&bytes, item.entry.count, item.dtype->bits / 8)))
        problem = "its shape has more elements than any file";
    if (!problem && bytes != store_of(in)->bytes - begin - length)
        problem = "its shape and dtype need another number of bytes than it has; is the file cut off?";
    if (problem == not_plain && strcmp(in->weights->format, "npz") == 0) { /* texts beside numbers, such as names of photos */
        status = sv_weights_skip(in->weights, in->name, "an array of texts, structures or objects", in->err);
        goto done;
    }
    if (problem) {
        status = array_wrong(in->weights, in->name, problem, in->err);
        goto done;
    }
    item.first = begin + length;
    if (fortran) status = fortran_strides(in->weights, &item, in->err);
    if (!status) status = sv_weights_add_item(in->weights, &item, in->err);
    if (status) sv_free(item.strides);
done:
    sv_free(text);
    return status;
}

sv_status sv_npy_read(sv_weights *weights, sv_error *err)
{
    sv_store store = { .packed = weights->file.size, .bytes = weights->file.size };
    weights->format = "npy";
    sv_status status = sv_weights_add_store(weights, &store, err);
    if (!status) status = array_read(&(array){ weights, "array", NULL, err });
    return status ? status : sv_weights_sort(weights, err);
}

static sv_status npz_entry(sv_weights *weights, const sv_zip *zip, const sv_zip_entry *entry, sv_error *err)
{
    unsigned char *memory = NULL;
    const char *name = NULL;
    sv_store store = { 0 };
    sv_status status = sv_zip_store(zip, entry, &store, err);
    if (!status) status = sv_weights_keep_name(weights, entry->name, entry->name_length - 4U, &name, err);
    if (!status && !sv_name_valid(name, entry->name_length - 4U)) status = array_wrong(weights, name, "its name is not UTF-8", err);
    if (!status) status = sv_weights_take(weights, 2 * sizeof store + 256, "its arrays", err);
    if (!status) status = sv_text_copy(&store.label, name, err);
    if (status) return status;
    status = sv_weights_add_store(weights, &store, err);
    if (status) {
        sv_free(store.label);
        return status;
    }
    if (store.deflated) {
        status = sv_alloc(&memory, store.bytes, "inflated array", err);
        if (!status) status = sv_store_load(weights, weights->store_count - 1, memory, err);
    }
    if (!status) status = array_read(&(array){ weights, name, memory, err });
    sv_free(memory);
    return status;
}

sv_status sv_npz_read(sv_weights *weights, const sv_zip *zip, sv_error *err)
{
    sv_status status = SV_OK;
    weights->format = "npz";
    for (size_t i = 0; i < zip->count && !status; i++) status = npz_entry(weights, zip, &zip->entries[i], err);
    return status ? status : sv_weights_sort(weights, err);
}
