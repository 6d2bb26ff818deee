/* Tar files: the members of one, from its headers alone, and the writing of plain ones. Read are ustar, GNU long names, base-256 sizes and
 * the path and size of pax; sparse files are refused. Any bytes are safe to read: sizes are compared with the file before they are used, a
 * header must match its sum, names have 4096 bytes at most, and the end must be there, so that a file that was cut off is never taken for a
 * shorter whole one. Nothing is ever unpacked to disk. */
#ifndef SIEVE_FORMATS_TAR_H
#define SIEVE_FORMATS_TAR_H

#include "base/base.h"

enum { SV_TAR_BLOCK = 512, SV_TAR_NAME_MAX = 4096, SV_TAR_WINDOW = 3 * SV_TAR_BLOCK };

/* A tar file open for reading from front to end. All zero is closed. */
typedef struct sv_tar {
    sv_file file;
    uint64_t at;          /* of the next header */
    sv_text name;         /* of the member read last */
    unsigned char *extra; /* what a pax header or a long name says */
    size_t extra_capacity;
    unsigned char window[SV_TAR_WINDOW]; /* a header, a small member, and the header behind it come in one read */
    uint64_t window_at;
    size_t window_bytes;
} sv_tar;

typedef struct sv_tar_member {
    const char *name;        /* borrowed until the next call; not empty, no zero byte within */
    uint64_t data_at, bytes; /* where its bytes stand in the file; all within it */
    bool is_file;            /* a regular file: no folder, no link */
} sv_tar_member;

/* `code` is what its failures are reported as (SV_DATA). */
sv_status sv_tar_open(sv_tar *tar, const char *path, sv_status code, sv_error *err) SV_MUST_CHECK;
/* The next member, or *there = false behind the last one. Errors name the file and the byte. Reads headers only. */
sv_status sv_tar_next(sv_tar *tar, sv_tar_member *member, bool *there, sv_error *err) SV_MUST_CHECK;
/* The first `bytes` bytes of the member, which has that many. */
sv_status sv_tar_read(sv_tar *tar, const sv_tar_member *member, void *out, size_t bytes, sv_error *err) SV_MUST_CHECK;
void sv_tar_close(sv_tar *tar); /* accepts all zero */

/* Bytes of a member of `bytes` bytes with its header and padding. */
uint64_t sv_tar_member_bytes(uint64_t bytes);
/* Appends a regular file: ustar, mode 0644, owner 0, time 0, so that the same members give the same bytes. The name has 1 to 100 bytes.
 * *data_at (NULL: not wanted): where its bytes stand. */
sv_status sv_tar_write(sv_atomic_file *file, const char *name, const void *data, size_t bytes, uint64_t *data_at,
                       sv_error *err) SV_MUST_CHECK;
/* The two zero blocks behind the last member. */
sv_status sv_tar_write_end(sv_atomic_file *file, sv_error *err) SV_MUST_CHECK;

#endif
