/* What the readers and writers of tensor files share (formats/weights.h is their public face). A file is a list of stores
 * (runs of bytes in it, plain or deflated) and a list of tensors, each a view into one store. Readers of a form fill both;
 * weights.c reads through them, so that strides, byte order, checksums and conversion are written once. */
#ifndef SIEVE_FORMATS_WEIGHTS_INSIDE_H
#define SIEVE_FORMATS_WEIGHTS_INSIDE_H

#include "formats/weights.h"

/* A kind of number. */
typedef struct sv_number {
    const char *name;    /* PyTorch's word */
    const char *letters; /* in safetensors; NULL: none */
    const char *storage; /* class of a storage in a .pth; NULL: none */
    const char *numpy;   /* type and size in a .npy; NULL: none */
    size_t bits;         /* of one element */
    /* count elements of little-endian bytes to doubles; NULL: the kind is known, but its tensors are skipped */
    void (*widen)(double *out, const unsigned char *bytes, size_t count);
} sv_number;

typedef enum sv_number_word { SV_BY_NAME, SV_BY_LETTERS, SV_BY_STORAGE, SV_BY_NUMPY } sv_number_word;
const sv_number *sv_number_find(sv_number_word kind, const char *word); /* NULL: none */

/* Bytes of a file that tensors view. */
typedef struct sv_store {
    uint64_t at, packed; /* where in the file, how many bytes there */
    size_t bytes;        /* when unpacked; equals packed where not deflated */
    uint32_t crc;        /* of the unpacked bytes, where has_crc */
    bool deflated, has_crc, checked;
    char *label; /* the store's name in messages, owned; NULL: the tensor's name alone says enough */
} sv_store;

typedef struct sv_weights_item {
    sv_weights_entry entry;
    const sv_number *dtype;
    size_t *strides; /* in elements, rank of them; NULL: row-major without gaps */
    size_t first;    /* byte of the store at which element 0 stands */
    uint32_t store;
    uint32_t crc; /* of the tensor's bytes, where has_crc */
    bool has_crc, checked, big_endian;
} sv_weights_item;

typedef struct sv_metadata_pair {
    uint32_t key, value;
} sv_metadata_pair; /* places in sv_weights.header */

struct sv_weights {
    sv_file file;
    const char *format;
    unsigned char *header;   /* safetensors: the header, its strings unescaped in place */
    sv_metadata_pair *pairs; /* sorted by key */
    size_t pair_count;
    sv_weights_item *items;
    size_t item_count, item_capacity;
    uint32_t *by_name; /* item numbers sorted by name */
    sv_store *stores;
    size_t store_count, store_capacity;
    char **names;
    size_t name_count, name_capacity; /* owned names (pth, npz) */
    char **skipped;
    size_t skipped_count, skipped_capacity;
    uint64_t memory_left;    /* what reading this file may still hold */
    uint64_t elements_left;  /* what its tensors may still hold together, once made dense */
    unsigned char *unpacked; /* the store inflated last */
    size_t unpacked_store;
};

/* Takes bytes off what reading this file may hold; refuses beyond it. `what` names them: "objects of the pickle". */
sv_status sv_weights_take(sv_weights *weights, uint64_t bytes, const char *what, sv_error *err) SV_MUST_CHECK;
/* Adds a store or a tensor; `added` is valid until the next call. The item's name must outlive weights (header or names). */
sv_status sv_weights_add_store(sv_weights *weights, const sv_store *store, sv_error *err) SV_MUST_CHECK;
sv_status sv_weights_add_item(sv_weights *weights, const sv_weights_item *item, sv_error *err) SV_MUST_CHECK;
/* Keeps a copy of a name of `length` bytes, without which a pth's or npz's names would end with its directory. */
sv_status sv_weights_keep_name(sv_weights *weights, const char *name, size_t length, const char **out, sv_error *err) SV_MUST_CHECK;
/* Notes "name: what" as left out. */
sv_status sv_weights_skip(sv_weights *weights, const char *name, const char *what, sv_error *err) SV_MUST_CHECK;
/* Sorts by name and refuses a name that stands twice; to be called once all items are there. */
sv_status sv_weights_sort(sv_weights *weights, sv_error *err) SV_MUST_CHECK;
/* Product of a shape; true where it does not fit. */
bool sv_shape_count(size_t *out, const size_t *shape, size_t rank) SV_MUST_CHECK;

/* The whole store, unpacked, into out (store->bytes bytes), its CRC checked where it has one. */
sv_status sv_store_load(sv_weights *weights, size_t store, void *out, sv_error *err) SV_MUST_CHECK;
/* Checks the CRC of a plain store, once. */
sv_status sv_store_check(sv_weights *weights, size_t store, sv_error *err) SV_MUST_CHECK;

/* Readers of one form; `weights` has its file open. */
sv_status sv_safetensors_read(sv_weights *weights, sv_error *err) SV_MUST_CHECK;
sv_status sv_pth_read_legacy(sv_weights *weights, sv_error *err) SV_MUST_CHECK;
sv_status sv_npy_read(sv_weights *weights, sv_error *err) SV_MUST_CHECK;
struct sv_zip;
sv_status sv_pth_read_zip(sv_weights *weights, const struct sv_zip *zip, sv_error *err) SV_MUST_CHECK;
sv_status sv_npz_read(sv_weights *weights, const struct sv_zip *zip, sv_error *err) SV_MUST_CHECK;

/* True for well-formed UTF-8 without surrogates and zero bytes. */
bool sv_name_valid(const char *name, size_t length);

/* What the writers of one form see. */
typedef struct sv_written {
    sv_weights_entry entry;
    const sv_number *dtype;
    const void *data;
    size_t bytes;
    char *name;
} sv_written;
typedef struct sv_written_pair {
    char *key, *value;
} sv_written_pair;
struct sv_weights_writer {
    sv_written *items;
    size_t count, capacity;
    sv_written_pair *pairs;
    size_t pair_count, pair_capacity;
};

#endif
