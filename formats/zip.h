/* The directory of a zip file, read and checked: what the readers of .pth and .npz need, and no more. Nothing is ever
 * unpacked to disk; a name is a key to look up. */
#ifndef SIEVE_FORMATS_ZIP_H
#define SIEVE_FORMATS_ZIP_H

#include "formats/weights_inside.h"

typedef struct sv_zip_entry {
    const char *name; /* name_length bytes of the directory, no zero byte behind */
    uint64_t header_at, packed, bytes;
    uint32_t crc;
    uint16_t name_length, method, flags;
} sv_zip_entry;

typedef struct sv_zip {
    const sv_file *file;
    char *directory;       /* as in the file; names point into it */
    uint64_t directory_at; /* where data must end */
    sv_zip_entry *entries; /* in the order of the directory */
    uint32_t *by_name;     /* sorted by name; no name stands twice */
    size_t count;
} sv_zip;

/* Reads the directory of weights' file; all-zero on failure. */
sv_status sv_zip_open(sv_zip *zip, sv_weights *weights, sv_error *err) SV_MUST_CHECK;
void sv_zip_close(sv_zip *zip);
const sv_zip_entry *sv_zip_find(const sv_zip *zip, const char *name, size_t length); /* NULL: none */
/* Finds the entry's bytes in the file and compares what stands before them with the directory. out->label is NULL. */
sv_status sv_zip_store(const sv_zip *zip, const sv_zip_entry *entry, sv_store *out, sv_error *err) SV_MUST_CHECK;

#endif
