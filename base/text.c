/* Text that grows, numbers from text, and names made fit to be shown. Numbers are read and written as in the C locale,
 * whatever locale a program that links the library has set. */
#include "base/base.h"
#include "base/utf8.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for `more` bytes and the zero byte; false marks the text as failed. */
static bool make_room(sv_text *text, size_t more)
{
    size_t need;
    if (text->failed) return false;
    if (sv_add_size(&need, text->length, more) || sv_add_size(&need, need, 1)
        || sv_grow(&text->data, &text->capacity, need, 1, "text", NULL))
        text->failed = true;
    return !text->failed;
}

void sv_text_add(sv_text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) text->failed = true;
    if (length < 0 || !make_room(text, (size_t)length)) return;
    va_start(arguments, format);
    vsnprintf(text->data + text->length, (size_t)length + 1, format, arguments);
    va_end(arguments);
    text->length += (size_t)length;
}

void sv_text_add_bytes(sv_text *text, const void *bytes, size_t count)
{
    if (!make_room(text, count)) return;
    if (count) memcpy(text->data + text->length, bytes, count);
    text->length += count;
    text->data[text->length] = 0;
}

sv_status sv_text_check(sv_text *text, sv_error *err)
{
    if (!text->failed && !text->data) sv_text_add_bytes(text, "", 0);
    if (text->failed) return sv_fail(err, SV_FAULT, "out of memory for a text of more than %zu bytes", text->length);
    return SV_OK;
}

void sv_text_clear(sv_text *text)
{
    sv_free(text->data);
    *text = (sv_text){ 0 };
}

sv_status sv_text_copy(char **out, const char *string, sv_error *err)
{
    size_t bytes = strlen(string) + 1;
    char *copy;
    sv_status status = sv_alloc(&copy, bytes, "text", err);
    if (status) return status;
    memcpy(copy, string, bytes);
    *out = copy;
    return SV_OK;
}

bool sv_parse_int(const char *string, int64_t *out)
{
    if (!string[0] || strspn(string, "0123456789+-") != strlen(string)) return false;
    char *end;
    errno = 0;
    long long value = strtoll(string, &end, 10);
    if (errno || *end || end == string) return false;
    *out = value;
    return true;
}

/* strtod reads the decimal point of the current locale: the point is exchanged for it in a copy. */
bool sv_parse_real(const char *string, double *out)
{
    char room[512], *end;
    size_t length = strlen(string);
    if (!length || length >= sizeof room || strspn(string, "0123456789+-.eE") != length) return false;
    memcpy(room, string, length + 1);
    char point = localeconv()->decimal_point[0], *at = strchr(room, '.');
    if (at && point) *at = point;
    double value = strtod(room, &end);
    if (*end || end == room || !isfinite(value)) return false;
    *out = value;
    return true;
}

size_t sv_utf8_length(const char *bytes, size_t count)
{
    const unsigned char *b = (const unsigned char *)bytes;
    if (count == 0) return 0;
    if (b[0] < 0x80) return 1;
    size_t length = b[0] >= 0xf0 && b[0] <= 0xf4 ? 4 : b[0] >= 0xe0 && b[0] < 0xf0 ? 3 : b[0] >= 0xc2 && b[0] < 0xe0 ? 2 : 0;
    if (length == 0 || length > count) return 0;
    for (size_t i = 1; i < length; i++)
        if ((b[i] & 0xc0) != 0x80) return 0;
    bool overlong = (b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xf0 && b[1] < 0x90);
    bool surrogate = b[0] == 0xed && b[1] >= 0xa0, beyond = b[0] == 0xf4 && b[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : length;
}

/* Control characters of both kinds: below space, DEL, and U+0080..U+009F, which some terminals obey. */
static bool is_control(const char *bytes, size_t length)
{
    unsigned char first = (unsigned char)bytes[0];
    return first < 0x20 || first == 0x7f || (length == 2 && first == 0xc2 && (unsigned char)bytes[1] < 0xa0);
}

const char *sv_text_safe(char *room, size_t room_bytes, const char *string)
{
    size_t left = strlen(string), used = 0;
    if (room_bytes == 0) return "";
    while (left) {
        size_t length = sv_utf8_length(string, left), taken = length ? length : 1;
        bool shown = length && !is_control(string, length);
        size_t written = shown ? length : 1;
        if (used + written > room_bytes - 1) break;
        if (shown) memcpy(room + used, string, length);
        else room[used] = '?';
        used += written;
        string += taken;
        left -= taken;
    }
    room[used] = 0;
    return room;
}
