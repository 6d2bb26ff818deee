/* A strict scanner of JSON text (RFC 8259) from untrusted files: it walks, it builds no tree, so that a header costs no more
 * memory than its own bytes. Strings are unescaped in place. */
#ifndef SIEVE_FORMATS_JSON_SCAN_H
#define SIEVE_FORMATS_JSON_SCAN_H

#include "base/base.h"

/* text: length bytes, changed by sv_scan_string. After a failure `problem` says what is wrong at byte `at`. */
typedef struct sv_scan {
    unsigned char *text;
    size_t length, at;
    const char *problem;
} sv_scan;

/* Each returns false on failure, and skips white space before what it reads. */
bool sv_scan_mark(sv_scan *scan, char mark) SV_MUST_CHECK; /* this one character, such as { or : */
bool sv_scan_is(sv_scan *scan, char mark);                 /* is it the next one? Then it is read; cannot fail */
/* A string, unescaped in place and ended by a zero byte; refuses broken UTF-8, half surrogates and zero bytes in it. */
bool sv_scan_string(sv_scan *scan, const char **out) SV_MUST_CHECK;
bool sv_scan_size(sv_scan *scan, uint64_t *out) SV_MUST_CHECK; /* a whole number from 0 to 2^64 - 1, digits alone */
bool sv_scan_skip(sv_scan *scan) SV_MUST_CHECK;                /* any value, at most 64 deep; text stays as it is */
bool sv_scan_end(sv_scan *scan) SV_MUST_CHECK;                 /* nothing but white space is left */

#endif
