/* Writing tar files of regular members. What would differ from one machine or day to the next is constant. */
#include "formats/tar.h"

#include <stdio.h>
#include <string.h>

static const unsigned char zeros[2 * SV_TAR_BLOCK];

static size_t padding_of(uint64_t bytes) { return (size_t)((SV_TAR_BLOCK - bytes % SV_TAR_BLOCK) % SV_TAR_BLOCK); }

uint64_t sv_tar_member_bytes(uint64_t bytes) { return SV_TAR_BLOCK + bytes + padding_of(bytes); }

sv_status sv_tar_write(sv_atomic_file *file, const char *name, const void *data, size_t bytes, uint64_t *data_at, sv_error *err)
{
    unsigned char header[SV_TAR_BLOCK] = { 0 };
    size_t length = strlen(name);
    unsigned sum = 0;
    char number[24];
    if (!length || length > 100)
        return sv_fail(err, SV_FAULT, "%s: a member's name has %zu bytes; 1 to 100 were expected", file->path, length);
    if ((uint64_t)bytes >> 33)
        return sv_fail(err, SV_FAULT, "%s: member %s has %zu bytes; less than 8 GiB were expected", file->path, name, bytes);
    memcpy(header, name, length);
    memcpy(header + 100, "0000644", 7);
    memcpy(header + 108, "0000000", 7);
    memcpy(header + 116, "0000000", 7);
    snprintf(number, sizeof number, "%011llo", (unsigned long long)bytes);
    memcpy(header + 124, number, 11);
    memcpy(header + 136, "00000000000", 11);
    memset(header + 148, ' ', 8);
    header[156] = '0';
    memcpy(header + 257, "ustar\00000", 8);
    for (size_t i = 0; i < sizeof header; i++) sum += header[i];
    snprintf(number, sizeof number, "%06o", sum);
    memcpy(header + 148, number, 7); /* six digits, a zero byte, and the space that stands there */
    sv_status status = sv_atomic_write(file, header, sizeof header, err);
    if (!status && data_at) *data_at = file->written + file->buffered;
    if (!status) status = sv_atomic_write(file, data, bytes, err);
    if (!status) status = sv_atomic_write(file, zeros, padding_of(bytes), err);
    return status;
}

sv_status sv_tar_write_end(sv_atomic_file *file, sv_error *err) { return sv_atomic_write(file, zeros, sizeof zeros, err); }
