/* UTF-8, for the library itself: what is a whole character, for text that goes to terminals and into JSON. */
#ifndef SIEVE_BASE_UTF8_H
#define SIEVE_BASE_UTF8_H

#include <stddef.h>

/* Bytes of the character at the start of bytes[0..count-1]: 1 to 4, or 0 where it is broken (overlong, surrogate, cut off,
 * beyond U+10FFFF, or count is 0). */
size_t sv_utf8_length(const char *bytes, size_t count);

#endif
