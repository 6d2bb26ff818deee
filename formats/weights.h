/* Files of named tensors, read and written: safetensors, PyTorch .pth (zip and legacy form), NumPy .npy and .npz.
 * Which of them a file is, its content says, never its name. What a file claims is compared with the bytes it has before it
 * is believed; nothing in a file is ever called, and names in it never become paths. Memory stays within 4 times the file
 * plus 64 MiB. Every refusal is SV_MODEL_FILE with one sentence that holds the path and the tensor or byte. The forms are
 * described field by field in docs/formats.md. Nothing here knows models: names are given as they stand in the file. */
#ifndef SIEVE_FORMATS_WEIGHTS_H
#define SIEVE_FORMATS_WEIGHTS_H

#include "base/base.h"

enum { SV_WEIGHTS_RANK = 8 }; /* most dimensions of a tensor; more are refused */

/* The dtype word of sv_real, for files that keep the engine's own numbers. */
#ifdef SIEVE_F64
#define SV_REAL_DTYPE "float64"
#else
#define SV_REAL_DTYPE "float32"
#endif

typedef struct sv_weights sv_weights;

/* One tensor of a file. All belongs to the sv_weights it came from. */
typedef struct sv_weights_entry {
    const char *name;              /* UTF-8, without zero bytes; dicts in dicts of a .pth are joined by dots */
    const char *dtype;             /* PyTorch's word: float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool
                                      uint64 uint32 uint16 float8_e4m3fn float8_e5m2 */
    size_t rank;                   /* 0: a scalar */
    size_t shape[SV_WEIGHTS_RANK]; /* zeros beyond rank */
    size_t count;                  /* elements: the product of the shape */
} sv_weights_entry;

/* Opens a file and checks all that can be checked without its data; data is read on demand. The file stays open, and must
 * stay as it is, until sv_weights_close. *out is owned by the caller and untouched on failure. Errors: SV_MODEL_FILE, or
 * SV_FAULT where memory is gone. */
sv_status sv_weights_open(sv_weights **out, const char *path, sv_error *err) SV_MUST_CHECK;
void sv_weights_close(sv_weights *weights); /* accepts NULL */

const char *sv_weights_path(const sv_weights *weights);
const char *sv_weights_format(const sv_weights *weights); /* "safetensors", "pth", "pth (legacy)", "npy", "npz" */
size_t sv_weights_count(const sv_weights *weights);
/* index < count; in the order in which the file lists them. */
const sv_weights_entry *sv_weights_at(const sv_weights *weights, size_t index);
/* NULL where the file has no tensor of that name. */
const sv_weights_entry *sv_weights_find(const sv_weights *weights, const char *name);

/* All elements in row-major order, whatever strides the file has; `out` has room for entry->count of them. int64, uint64
 * and float64 round to nearest where they must; bool is 0 or 1. The CRC-32 that the file holds for the bytes (zip entry, or
 * "crc32" in the metadata) is checked. After a failure `out` may be partly written. One thread at a time for one file. */
sv_status sv_weights_read(sv_weights *weights, const sv_weights_entry *entry, sv_real *out, sv_error *err) SV_MUST_CHECK;
sv_status sv_weights_read_floats(sv_weights *weights, const sv_weights_entry *entry, float *out, sv_error *err) SV_MUST_CHECK;
sv_status sv_weights_read_doubles(sv_weights *weights, const sv_weights_entry *entry, double *out, sv_error *err) SV_MUST_CHECK;
/* int8 weights: the scales of entry, a tensor NAME_scale of float32 with a number for each index of its first dimension; NULL: there is none. */
const sv_weights_entry *sv_weights_scale_of(const sv_weights *weights, const sv_weights_entry *entry);
/* sv_weights_read; where entry has scales, times these. Errors also: a scale that is not finite. */
sv_status sv_weights_read_scaled(sv_weights *weights, const sv_weights_entry *entry, sv_real *out, sv_error *err) SV_MUST_CHECK;
/* The same elements as they are stored: little-endian, row-major, count x sv_dtype_bytes(entry->dtype) bytes. */
sv_status sv_weights_read_bytes(sv_weights *weights, const sv_weights_entry *entry, void *out, sv_error *err) SV_MUST_CHECK;
/* CRC-32 (zlib's) over the bytes that sv_weights_read_bytes gives. */
sv_status sv_weights_crc32(sv_weights *weights, const sv_weights_entry *entry, uint32_t *out, sv_error *err) SV_MUST_CHECK;

/* What `eval --inspect` prints of a tensor, read in pieces: no room for the whole tensor is needed. */
typedef struct sv_weights_digest {
    double sum;         /* of all elements, in float64, in row-major order */
    double first[4];    /* the first elements in row-major order */
    size_t first_count; /* 0..4 */
} sv_weights_digest;
sv_status sv_weights_digest_read(sv_weights *weights, const sv_weights_entry *entry, sv_weights_digest *out, sv_error *err) SV_MUST_CHECK;

/* The text pairs of a safetensors file's __metadata__, sorted by key; none in other forms. */
size_t sv_weights_metadata_count(const sv_weights *weights);
const char *sv_weights_metadata_key(const sv_weights *weights, size_t index);
const char *sv_weights_metadata_value(const sv_weights *weights, size_t index);
const char *sv_weights_metadata(const sv_weights *weights, const char *key); /* NULL where there is none */

/* What the file holds beside its tensors and was left out: "optimizer: a dict", "s: a sparse tensor". The first 1000 of it. */
size_t sv_weights_skipped_count(const sv_weights *weights);
const char *sv_weights_skipped(const sv_weights *weights, size_t index);

/* Bytes of one element of a dtype word; 0 for a word that is none. */
size_t sv_dtype_bytes(const char *dtype);

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* Gathers tensors and metadata, then writes them as one file. Same calls, same bytes. */
typedef struct sv_weights_writer sv_weights_writer;
sv_status sv_weights_writer_create(sv_weights_writer **out, sv_error *err) SV_MUST_CHECK;
void sv_weights_writer_destroy(sv_weights_writer *writer); /* accepts NULL */
/* `data`: the elements in row-major order, in memory form of `dtype`; borrowed until the last _write. Name and shape are
 * copied. Refused (SV_FAULT): a name twice, or not UTF-8, an unknown dtype, rank > SV_WEIGHTS_RANK. */
sv_status sv_weights_writer_add(sv_weights_writer *writer, const char *name, const char *dtype, size_t rank, const size_t *shape,
                                const void *data, sv_error *err) SV_MUST_CHECK;
/* Copies both texts. A key given twice is refused (SV_FAULT). */
sv_status sv_weights_writer_metadata(sv_weights_writer *writer, const char *key, const char *value, sv_error *err) SV_MUST_CHECK;

typedef enum sv_crc_choice { SV_WITHOUT_CRC, SV_WITH_CRC } sv_crc_choice;
/* safetensors, written atomically. The data begin at a multiple of 8 bytes; tensors stand in the order of the calls, those
 * with wider elements first. With SV_WITH_CRC the metadata get "crc32": a JSON object of name and 8 hex digits, which
 * sv_weights_read checks. Metadata come in the order of the calls. */
sv_status sv_weights_write_safetensors(const sv_weights_writer *writer, const char *path, sv_crc_choice crc, sv_error *err) SV_MUST_CHECK;
/* A .pth in zip form that torch.load(weights_only=True) reads as {"model": {name: tensor}, "metadata": {key: value}},
 * the latter only where there is any. Written atomically. Refused: dtypes without a storage type in PyTorch (unsigned 16
 * to 64 bit, 8-bit floats), and 4 GiB or more. */
sv_status sv_weights_write_pth(const sv_weights_writer *writer, const char *path, sv_error *err) SV_MUST_CHECK;

#endif
