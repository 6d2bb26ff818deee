/* Reading tar headers. POSIX.1-1988 (ustar), POSIX.1-2001 (pax) and the GNU manual, "Basic Tar Format". A member is a header of 512 bytes,
 * its data and zeros up to the next multiple of 512; two blocks of zeros are the end. */
#include "formats/tar.h"

#include <string.h>

enum {
    NAME_AT = 0,
    NAME_BYTES = 100,
    SIZE_AT = 124,
    SIZE_BYTES = 12,
    SUM_AT = 148,
    SUM_BYTES = 8,
    TYPE_AT = 156,
    MAGIC_AT = 257,
    PREFIX_AT = 345,
    PREFIX_BYTES = 155
};
enum { PAX_MAX = 1 << 20 };

/* What the extra headers before a member say of it. */
struct extra {
    bool has_name, has_size, sparse;
    uint64_t size;
};

sv_status sv_tar_open(sv_tar *tar, const char *path, sv_status code, sv_error *err)
{
    *tar = (sv_tar){ 0 };
    return sv_file_open(&tar->file, path, code, err);
}

void sv_tar_close(sv_tar *tar)
{
    sv_file_close(&tar->file);
    sv_text_clear(&tar->name);
    sv_free(tar->extra);
    *tar = (sv_tar){ 0 };
}

static sv_status broken(const sv_tar *tar, const char *what, sv_error *err)
{
    return sv_fail(err, tar->file.code, "%s: at byte %ju %s; is it a tar file, and whole?", tar->file.path, (uintmax_t)tar->at, what);
}

/* At most a window of bytes, which are known to be within the file. */
static sv_status window_read(sv_tar *tar, uint64_t at, void *out, size_t bytes, sv_error *err)
{
    if (at < tar->window_at || at - tar->window_at > tar->window_bytes || bytes > tar->window_bytes - (size_t)(at - tar->window_at)) {
        uint64_t left = tar->file.size - at;
        tar->window_bytes = 0;
        sv_status status = sv_file_read_at(&tar->file, at, tar->window, left < SV_TAR_WINDOW ? (size_t)left : SV_TAR_WINDOW, err);
        if (status) return status;
        tar->window_at = at;
        tar->window_bytes = left < SV_TAR_WINDOW ? (size_t)left : SV_TAR_WINDOW;
    }
    memcpy(out, tar->window + (at - tar->window_at), bytes);
    return SV_OK;
}

sv_status sv_tar_read(sv_tar *tar, const sv_tar_member *member, void *out, size_t bytes, sv_error *err)
{
    return bytes <= SV_TAR_WINDOW ? window_read(tar, member->data_at, out, bytes, err)
                                  : sv_file_read_at(&tar->file, member->data_at, out, bytes, err);
}

/* Octal digits between spaces and zero bytes, or, where the first bit is set, 63 bits with the highest first. An empty field is 0. */
static bool number_read(const unsigned char *field, size_t bytes, uint64_t *out)
{
    uint64_t value = 0;
    size_t i = 0;
    if (field[0] & 0x80) {
        if (field[0] != 0x80) return false; /* negative, or beyond any file */
        for (i = 1; i < bytes; i++) {
            if (value >> 55) return false;
            value = value << 8 | field[i];
        }
        *out = value;
        return true;
    }
    while (i < bytes && field[i] == ' ') i++;
    for (; i < bytes && field[i] >= '0' && field[i] <= '7'; i++) {
        if (value >> 60) return false;
        value = value << 3 | (uint64_t)(field[i] - '0');
    }
    for (; i < bytes; i++)
        if (field[i] && field[i] != ' ') return false;
    *out = value;
    return true;
}

/* Old writers added the bytes up as signed ones. */
static bool sum_fits(const unsigned char block[SV_TAR_BLOCK])
{
    uint64_t stated;
    int64_t plain = 0, with_sign = 0;
    if (!number_read(block + SUM_AT, SUM_BYTES, &stated)) return false;
    for (size_t i = 0; i < SV_TAR_BLOCK; i++) {
        unsigned char byte = i >= SUM_AT && i < SUM_AT + SUM_BYTES ? ' ' : block[i];
        plain += byte;
        with_sign += (signed char)byte;
    }
    return stated == (uint64_t)plain || stated == (uint64_t)with_sign;
}

static bool is_zero(const unsigned char block[SV_TAR_BLOCK])
{
    for (size_t i = 0; i < SV_TAR_BLOCK; i++)
        if (block[i]) return false;
    return true;
}

static sv_status name_set(sv_tar *tar, const unsigned char *bytes, size_t count, sv_error *err)
{
    if (!count) return broken(tar, "a member has no name", err);
    if (count > SV_TAR_NAME_MAX) return broken(tar, "a member has a name of more than 4096 bytes", err);
    if (memchr(bytes, 0, count)) return broken(tar, "a name holds a zero byte", err);
    tar->name.length = 0;
    sv_text_add_bytes(&tar->name, bytes, count);
    return sv_text_check(&tar->name, err);
}

static sv_status name_of_header(sv_tar *tar, const unsigned char block[SV_TAR_BLOCK], sv_error *err)
{
    unsigned char name[PREFIX_BYTES + 1 + NAME_BYTES];
    size_t length = 0;
    if (!memcmp(block + MAGIC_AT, "ustar", 6)) length = strnlen((const char *)block + PREFIX_AT, PREFIX_BYTES);
    memcpy(name, block + PREFIX_AT, length);
    if (length) name[length++] = '/';
    size_t own = strnlen((const char *)block + NAME_AT, NAME_BYTES);
    memcpy(name + length, block + NAME_AT, own);
    return name_set(tar, name, length + own, err);
}

/* The whole data of an extra header into tar->extra. */
static sv_status extra_read(sv_tar *tar, uint64_t at, size_t bytes, sv_error *err)
{
    sv_status status = sv_grow(&tar->extra, &tar->extra_capacity, bytes + 1, 1, "tar", err);
    return status || !bytes ? status : sv_file_read_at(&tar->file, at, tar->extra, bytes, err);
}

static sv_status long_name_read(sv_tar *tar, uint64_t at, uint64_t bytes, struct extra *extra, sv_error *err)
{
    if (bytes > SV_TAR_NAME_MAX + 1) return broken(tar, "a member has a name of more than 4096 bytes", err);
    sv_status status = extra_read(tar, at, (size_t)bytes, err);
    if (!status) status = name_set(tar, tar->extra, strnlen((const char *)tar->extra, (size_t)bytes), err);
    extra->has_name = true;
    return status;
}

static bool decimal_read(const unsigned char *text, size_t count, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9' || value > (uint64_t)INT64_MAX / 10 - 1) return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *out = value;
    return count > 0;
}

static sv_status pax_take(sv_tar *tar, const unsigned char *key, size_t key_bytes, const unsigned char *value, size_t value_bytes,
                          struct extra *extra, sv_error *err)
{
    sv_status status = SV_OK;
    if (key_bytes == 4 && !memcmp(key, "path", 4)) {
        status = name_set(tar, value, value_bytes, err);
        extra->has_name = true;
    } else if (key_bytes == 4 && !memcmp(key, "size", 4)) {
        if (!decimal_read(value, value_bytes, &extra->size)) return broken(tar, "a pax header has a size that is no number", err);
        extra->has_size = true;
    } else if (key_bytes > 10 && !memcmp(key, "GNU.sparse", 10)) {
        extra->sparse = true;
    }
    return status;
}

/* Records "LENGTH KEY=VALUE\n", whose length counts all of the record. */
static sv_status pax_read(sv_tar *tar, uint64_t at, uint64_t bytes, struct extra *extra, sv_error *err)
{
    if (bytes > PAX_MAX) return broken(tar, "a pax header has more than 1 MiB", err);
    sv_status status = extra_read(tar, at, (size_t)bytes, err);
    for (size_t from = 0; !status && from < bytes;) {
        const unsigned char *record = tar->extra + from;
        size_t left = (size_t)bytes - from, digits = 0;
        uint64_t length = 0;
        while (digits < left && digits < 8 && record[digits] >= '0' && record[digits] <= '9') digits++;
        if (!decimal_read(record, digits, &length) || digits >= left || record[digits] != ' ' || length > left || length < digits + 4
            || record[length - 1] != '\n')
            return broken(tar, "a pax header is not made of records", err);
        const unsigned char *key = record + digits + 1, *end = record + length - 1, *equals = memchr(key, '=', (size_t)(end - key));
        if (!equals) return broken(tar, "a pax header is not made of records", err);
        status = pax_take(tar, key, (size_t)(equals - key), equals + 1, (size_t)(end - equals - 1), extra, err);
        from += length;
    }
    return status;
}

static sv_status end_check(sv_tar *tar, const struct extra *extra, sv_error *err)
{
    unsigned char block[SV_TAR_BLOCK];
    if (extra->has_name || extra->has_size) return broken(tar, "it ends behind a long name, where its member was expected", err);
    if (tar->file.size - tar->at < 2 * SV_TAR_BLOCK) return broken(tar, "it ends with one block of zeros, where two were expected", err);
    sv_status status = window_read(tar, tar->at + SV_TAR_BLOCK, block, sizeof block, err);
    if (!status && !is_zero(block)) return broken(tar, "stands a block of zeros that is not the end", err);
    return status;
}

/* Links, devices and folders have no data, whatever their size says. */
static bool has_data(unsigned char type) { return type < '1' || type > '6'; }

sv_status sv_tar_next(sv_tar *tar, sv_tar_member *member, bool *there, sv_error *err)
{
    unsigned char block[SV_TAR_BLOCK];
    struct extra extra = { 0 };
    *there = false;
    for (;;) {
        uint64_t bytes = 0, left = tar->file.size - tar->at, data_at = tar->at + SV_TAR_BLOCK;
        if (left < SV_TAR_BLOCK) return broken(tar, "it ends without the two blocks of zeros that are the end", err);
        sv_status status = window_read(tar, tar->at, block, sizeof block, err);
        if (status) return status;
        if (is_zero(block)) return end_check(tar, &extra, err);
        if (!sum_fits(block)) return broken(tar, "stands no header, or one whose sum is wrong", err);
        if (!number_read(block + SIZE_AT, SIZE_BYTES, &bytes)) return broken(tar, "a member has a size that is no number", err);
        unsigned char type = block[TYPE_AT];
        bool of_next = type == 'L' || type == 'K' || type == 'x' || type == 'g';
        if (extra.has_size && !of_next) bytes = extra.size;
        if (!has_data(type)) bytes = 0;
        left -= SV_TAR_BLOCK;
        if (bytes > left || (bytes + SV_TAR_BLOCK - 1) / SV_TAR_BLOCK > left / SV_TAR_BLOCK)
            return sv_fail(err, tar->file.code, "%s: at byte %ju a member of %ju bytes begins, but only %ju are left; is the file cut off?",
                           tar->file.path, (uintmax_t)tar->at, (uintmax_t)bytes, (uintmax_t)left);
        if (type == 'S' || extra.sparse) return broken(tar, "stands a sparse file, a form that is not read", err);
        if (type == 'L') status = long_name_read(tar, data_at, bytes, &extra, err);
        if (type == 'x') status = pax_read(tar, data_at, bytes, &extra, err);
        if (!of_next && !extra.has_name) status = name_of_header(tar, block, err);
        if (status) return status;
        tar->at = data_at + (bytes + SV_TAR_BLOCK - 1) / SV_TAR_BLOCK * SV_TAR_BLOCK;
        if (of_next) continue;
        *member = (sv_tar_member){
            .name = tar->name.data, .data_at = data_at, .bytes = bytes, .is_file = type == '0' || type == 0 || type == '7'
        };
        *there = true;
        return SV_OK;
    }
}
