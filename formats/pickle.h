/* Python pickles (protocols 0 to 5) as .pth files hold them, read by a machine that calls nothing. It knows an exact list
 * of names; what those would build is noted as data (a storage, a tensor), as a plain value, or as an opaque stand-in. A
 * call of any other name is refused wherever it stands. */
#ifndef SIEVE_FORMATS_PICKLE_H
#define SIEVE_FORMATS_PICKLE_H

#include "formats/weights_inside.h"

typedef enum sv_pickle_kind {
    SV_PICKLE_ABSENT,
    SV_PICKLE_NONE,
    SV_PICKLE_BOOL,
    SV_PICKLE_INT,
    SV_PICKLE_REAL,
    SV_PICKLE_TEXT,
    SV_PICKLE_BIG,
    SV_PICKLE_TUPLE,
    SV_PICKLE_LIST,
    SV_PICKLE_DICT,
    SV_PICKLE_NAME,
    SV_PICKLE_STORAGE,
    SV_PICKLE_TENSOR,
    SV_PICKLE_OPAQUE
} sv_pickle_kind;

typedef struct sv_pickle_text {
    size_t length;
    char bytes[];
} sv_pickle_text; /* a zero byte stands behind */
typedef struct sv_pickle_list sv_pickle_list;
typedef struct sv_pickle_name sv_pickle_name;
typedef struct sv_pickle_storage sv_pickle_storage;
typedef struct sv_pickle_tensor sv_pickle_tensor;

typedef struct sv_pickle_value {
    sv_pickle_kind kind;
    union {
        int64_t integer;      /* BOOL, INT */
        const char *word;     /* OPAQUE: what it is, a constant: "a set" */
        sv_pickle_text *text; /* TEXT: UTF-8 without zero bytes; BIG: an integer's bytes, little-endian */
        sv_pickle_list *list; /* TUPLE, LIST; DICT: key, value, key, value. NULL: the empty tuple */
        sv_pickle_name *name; /* NAME: a class or function, named but never looked up */
        sv_pickle_storage *storage;
        sv_pickle_tensor *tensor;
    };
} sv_pickle_value;

struct sv_pickle_list {
    sv_pickle_list *next;
    sv_pickle_value *items;
    size_t count, capacity;
};
struct sv_pickle_name {
    const struct sv_pickle_call *call;
    const char *module, *name;
}; /* call NULL: not on the list */

/* A storage as the pickle describes it: elements first .. first+view_count-1 of a record of `count`. */
struct sv_pickle_storage {
    sv_pickle_storage *next;
    const char *key;        /* names the record */
    const sv_number *dtype; /* NULL: bytes without a type */
    size_t count, first, view_count;
    uint32_t store; /* for the reader of the file */
};

struct sv_pickle_tensor {
    sv_pickle_storage *storage;
    const sv_number *dtype;
    size_t offset, count, rank, shape[SV_WEIGHTS_RANK], strides[SV_WEIGHTS_RANK]; /* in elements of dtype; inside the storage */
};

/* Where a pickle's bytes come from: memory, or a file in pieces. */
typedef struct sv_pickle_input {
    const sv_file *file;        /* NULL: memory alone */
    const unsigned char *bytes; /* bytes[at .. count) come next */
    size_t at, count;
    uint64_t place; /* of bytes[0] in the file or record */
    uint64_t end;   /* where it must end at the latest */
    unsigned char window[1 << 14];
} sv_pickle_input;

/* What one pickle built, and all memory it took. */
typedef struct sv_pickle {
    sv_pickle_value top;
    sv_pickle_storage *storages; /* all of them, youngest first */
    sv_pickle_list *lists;
    struct sv_pickle_block *blocks; /* where small things stand */
    uint64_t taken;                 /* of weights->memory_left */
} sv_pickle;

/* Runs one pickle, from where input stands to its STOP; input then stands behind it. Memory is taken out of
 * weights->memory_left and given back by _clear, which is due on failure too. `what` names the pickle in messages. */
sv_status sv_pickle_run(sv_pickle *pickle, sv_pickle_input *input, sv_weights *weights, const char *what, sv_error *err) SV_MUST_CHECK;
void sv_pickle_clear(sv_pickle *pickle, sv_weights *weights);
uint64_t sv_pickle_at(const sv_pickle_input *input);           /* place of the next byte */
const char *sv_pickle_kind_name(const sv_pickle_value *value); /* "a list", "a number", for messages */
/* The value that stands last under a text key of a DICT; NULL: none. */
const sv_pickle_value *sv_pickle_get(const sv_pickle_value *dict, const char *key);

/* ---- between pickle.c, pickle_input.c and pickle_call.c ---- */

enum { SV_PICKLE_LINE = 1024 }; /* room for a line of a pickle */

typedef struct sv_pickle_machine {
    sv_pickle *pickle;
    sv_pickle_input *input;
    sv_weights *weights;
    const char *what;
    sv_pickle_value *stack;
    size_t depth, stack_capacity;
    size_t *marks; /* depths of the stack at each MARK */
    size_t mark_count, mark_capacity;
    sv_pickle_value *memo;
    size_t memo_count, memo_capacity;
    uint64_t opcode_at;
    bool stopped;
    sv_error *err;
} sv_pickle_machine;

/* "path: data.pkl, byte 17: ..." */
sv_status sv_pickle_wrong(const sv_pickle_machine *machine, const char *format, ...) SV_PRINTF(2, 3);
/* Zeroed room that lives as long as the pickle. */
sv_status sv_pickle_room(sv_pickle_machine *machine, void *pointer, size_t bytes) SV_MUST_CHECK;
/* sv_grow, taken out of what the file may hold. */
sv_status sv_pickle_grow(sv_pickle_machine *machine, void *pointer, size_t *capacity, size_t need, size_t item_bytes) SV_MUST_CHECK;
sv_status sv_pickle_bytes_check(const sv_pickle_machine *machine, uint64_t count) SV_MUST_CHECK; /* are so many left? */
/* The next count bytes; out NULL: steps over them. */
sv_status sv_pickle_bytes_read(sv_pickle_machine *machine, void *out, uint64_t count) SV_MUST_CHECK;
/* A little-endian number of at most 8 bytes; a line of UTF-8 without its end. */
sv_status sv_pickle_number_read(sv_pickle_machine *machine, size_t bytes, uint64_t *out) SV_MUST_CHECK;
sv_status sv_pickle_line_read(sv_pickle_machine *machine, char line[SV_PICKLE_LINE]) SV_MUST_CHECK;
sv_status sv_pickle_list_new(sv_pickle_machine *machine, sv_pickle_kind kind, sv_pickle_value *out) SV_MUST_CHECK;
/* The row of the allow list, or NULL. */
const struct sv_pickle_call *sv_pickle_call_find(const char *module, const char *name);
/* What calling `callee` with these arguments would give, without calling anything. */
sv_status sv_pickle_reduce(sv_pickle_machine *machine, const sv_pickle_value *callee, const sv_pickle_value *arguments,
                           sv_pickle_value *out) SV_MUST_CHECK;
/* What the persistent id ("storage", class, key, device, count[, view]) names. */
sv_status sv_pickle_persistent(sv_pickle_machine *machine, const sv_pickle_value *id, sv_pickle_value *out) SV_MUST_CHECK;

#endif
