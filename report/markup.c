/* Escaping for SVG and HTML, numbers as people read them, base64 (RFC 4648) for pictures inside the page. */
#include "report/markup.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SAFE_BYTES = 4096 };

void sv_markup_text(sv_text *text, const char *string)
{
    char safe[SAFE_BYTES];
    if (!string) return;
    for (const char *at = sv_text_safe(safe, sizeof safe, string); *at; at++) {
        if (*at == '&') sv_text_add(text, "&amp;");
        else if (*at == '<') sv_text_add(text, "&lt;");
        else if (*at == '>') sv_text_add(text, "&gt;");
        else if (*at == '"') sv_text_add(text, "&quot;");
        else sv_text_add_bytes(text, at, 1);
    }
}

/* Digits behind the point so that four stand in all, without zeros at the end. */
static void print_four(char room[32], double value, const char *unit)
{
    double size = fabs(value);
    int behind = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : size >= 0.1 || size == 0 ? 3 : 4;
    if (size != 0 && size < 0.001) {
        snprintf(room, 32, "%.3g%s", value, unit);
        return;
    }
    int length = snprintf(room, 24, "%.*f", behind, value);
    if (strchr(room, '.')) {
        while (length > 1 && room[length - 1] == '0') room[--length] = 0;
        if (room[length - 1] == '.') room[--length] = 0;
    }
    strncat(room, unit, 7);
}

const char *sv_markup_number(char room[32], double value)
{
    double size = fabs(value);
    if (!isfinite(value)) snprintf(room, 32, "-");
    else if (size >= 1e12) snprintf(room, 32, "%.3g", value);
    else if (size >= 1e9) print_four(room, value / 1e9, " G");
    else if (size >= 1e6) print_four(room, value / 1e6, " M");
    else print_four(room, value, "");
    return room;
}

void sv_markup_base64(sv_text *text, const unsigned char *bytes, size_t count)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char block[4 * 256];
    size_t used = 0;
    for (size_t i = 0; i < count; i += 3) {
        size_t here = count - i < 3 ? count - i : 3;
        uint32_t word = (uint32_t)bytes[i] << 16 | (here > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) | (here > 2 ? (uint32_t)bytes[i + 2] : 0);
        block[used++] = digits[word >> 18];
        block[used++] = digits[word >> 12 & 63];
        block[used++] = here > 1 ? digits[word >> 6 & 63] : '=';
        block[used++] = here > 2 ? digits[word & 63] : '=';
        if (used == sizeof block || i + 3 >= count) {
            sv_text_add_bytes(text, block, used);
            used = 0;
        }
    }
}
