/* Errors are values: a code and one sentence in room the caller owns, so that a failure can be told when memory is gone. */
#include "base/base.h"

#include <stdio.h>
#include <string.h>

sv_status sv_fail(sv_error *err, sv_status code, const char *format, ...)
{
    if (!err) return code;
    va_list arguments;
    va_start(arguments, format);
    err->code = code;
    if (vsnprintf(err->text, sizeof err->text, format, arguments) < 0) err->text[0] = 0;
    va_end(arguments);
    return code;
}

sv_status sv_fail_within(sv_error *err, const char *format, ...)
{
    if (!err) return SV_FAULT;
    char before[sizeof err->text];
    memcpy(before, err->text, sizeof before);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(err->text, sizeof err->text, format, arguments);
    va_end(arguments);
    if (length < 0) length = 0;
    if ((size_t)length < sizeof err->text) {
        size_t room = sizeof err->text - (size_t)length;
        snprintf(err->text + length, room, ": %s", before);
    }
    return err->code;
}
