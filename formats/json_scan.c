/* JSON without a tree: position and text are all the state there is. An unescaped string is never longer than its escaped
 * form, so it is written over it, and the zero byte lands on the closing quote or before it. */
#include "formats/json_scan.h"

#include <string.h>

#include "formats/weights_inside.h"

enum { DEPTH = 64 }; /* headers nest three deep; more is for keys nobody needs */

static bool wrong(sv_scan *scan, const char *problem)
{
    scan->problem = problem;
    return false;
}

static int peek(const sv_scan *scan) { return scan->at < scan->length ? scan->text[scan->at] : -1; }

static void skip_space(sv_scan *scan)
{
    for (int c = peek(scan); c == ' ' || c == '\n' || c == '\t' || c == '\r'; c = peek(scan)) scan->at++;
}

bool sv_scan_is(sv_scan *scan, char mark)
{
    skip_space(scan);
    if (peek(scan) != mark) return false;
    scan->at++;
    return true;
}

bool sv_scan_mark(sv_scan *scan, char mark)
{
    if (sv_scan_is(scan, mark)) return true;
    switch (mark) {
    case '{':
        return wrong(scan, "expected '{'");
    case '}':
        return wrong(scan, "expected ',' or '}'");
    case '[':
        return wrong(scan, "expected '['");
    case ']':
        return wrong(scan, "expected ',' or ']'");
    case ':':
        return wrong(scan, "expected ':'");
    default:
        return wrong(scan, "expected '\"'");
    }
}

static bool hex4(sv_scan *scan, unsigned *out)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++, scan->at++) {
        int c = peek(scan);
        if (c >= '0' && c <= '9')
            value = value << 4 | (unsigned)(c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            value = value << 4 | (unsigned)((c | 32) - 'a' + 10);
        else
            return wrong(scan, "expected four hex digits after \\u");
    }
    *out = value;
    return true;
}

/* After "\u": a code point, from a pair of surrogates where one begins. */
static bool code_point(sv_scan *scan, unsigned *out)
{
    unsigned low = 0;
    if (!hex4(scan, out)) return false;
    if (*out == 0) return wrong(scan, "a zero byte in a string");
    if (*out < 0xD800 || *out > 0xDFFF) return true;
    if (*out > 0xDBFF || peek(scan) != '\\') return wrong(scan, "half a surrogate pair");
    scan->at++;
    if (peek(scan) != 'u') return wrong(scan, "half a surrogate pair");
    scan->at++;
    if (!hex4(scan, &low)) return false;
    if (low < 0xDC00 || low > 0xDFFF) return wrong(scan, "half a surrogate pair");
    *out = 0x10000 + ((*out - 0xD800) << 10) + (low - 0xDC00);
    return true;
}

static unsigned char *put_utf8(unsigned char *to, unsigned code)
{
    if (code < 0x80) {
        *to++ = (unsigned char)code;
        return to;
    }
    if (code < 0x800)
        *to++ = (unsigned char)(0xC0 | code >> 6);
    else {
        if (code < 0x10000)
            *to++ = (unsigned char)(0xE0 | code >> 12);
        else {
            *to++ = (unsigned char)(0xF0 | code >> 18);
            *to++ = (unsigned char)(0x80 | (code >> 12 & 63));
        }
        *to++ = (unsigned char)(0x80 | (code >> 6 & 63));
    }
    *to++ = (unsigned char)(0x80 | (code & 63));
    return to;
}

/* After the opening quote. to: where the unescaped bytes go, or NULL to leave the text alone. */
static bool string_rest(sv_scan *scan, unsigned char *to)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    for (;;) {
        int c = peek(scan);
        unsigned code = 0;
        if (c < 0) return wrong(scan, "a string that does not end");
        if (c < 0x20) return wrong(scan, "a control character in a string");
        scan->at++;
        if (c == '"') break;
        if (c != '\\') {
            if (to) *to++ = (unsigned char)c;
            continue;
        }
        c = peek(scan);
        const char *letter = c > 0 ? strchr(letters, c) : NULL;
        if (!letter && c != 'u') return wrong(scan, "no such escape");
        scan->at++;
        if (letter)
            code = (unsigned char)meant[letter - letters];
        else if (!code_point(scan, &code))
            return false;
        if (to) to = put_utf8(to, code);
    }
    if (to) *to = 0;
    return true;
}

/* The raw text of a string holds broken UTF-8 exactly where the unescaped one does. */
static bool string_checked(sv_scan *scan, const char **out)
{
    if (!sv_scan_mark(scan, '"')) return false;
    size_t begin = scan->at;
    sv_scan probe = *scan;
    if (!string_rest(&probe, NULL)) {
        *scan = probe;
        return false;
    }
    if (!sv_name_valid((const char *)scan->text + begin, probe.at - 1 - begin)) return wrong(scan, "a string that is not UTF-8");
    if (out) {
        *out = (const char *)scan->text + begin;
        return string_rest(scan, scan->text + begin);
    }
    *scan = probe;
    return true;
}

bool sv_scan_string(sv_scan *scan, const char **out) { return string_checked(scan, out); }

static bool digit(const sv_scan *scan) { return peek(scan) >= '0' && peek(scan) <= '9'; }

bool sv_scan_size(sv_scan *scan, uint64_t *out)
{
    uint64_t value = 0;
    skip_space(scan);
    if (!digit(scan)) return wrong(scan, "expected a whole number that is not negative");
    if (peek(scan) == '0') {
        scan->at++;
        if (digit(scan)) return wrong(scan, "a number with a leading zero");
    } else {
        for (; digit(scan); scan->at++) {
            unsigned next = (unsigned)peek(scan) - '0';
            if (value > (UINT64_MAX - next) / 10) return wrong(scan, "a number beyond 64 bits");
            value = value * 10 + next;
        }
    }
    if (peek(scan) == '.' || (peek(scan) | 32) == 'e') return wrong(scan, "expected a whole number");
    *out = value;
    return true;
}

static bool digits(sv_scan *scan)
{
    if (!digit(scan)) return wrong(scan, "a digit is missing");
    while (digit(scan)) scan->at++;
    return true;
}

static bool skip_number(sv_scan *scan)
{
    if (peek(scan) == '-') scan->at++;
    if (peek(scan) == '0')
        scan->at++;
    else if (!digits(scan))
        return false;
    if (peek(scan) == '.') {
        scan->at++;
        if (!digits(scan)) return false;
    }
    if ((peek(scan) | 32) == 'e') {
        scan->at++;
        if (peek(scan) == '+' || peek(scan) == '-') scan->at++;
        if (!digits(scan)) return false;
    }
    return true;
}

static bool skip_word(sv_scan *scan)
{
    static const char *const words[] = { "true", "false", "null" };
    for (size_t i = 0; i < SV_COUNT(words); i++) {
        size_t length = strlen(words[i]);
        if (scan->length - scan->at < length || memcmp(scan->text + scan->at, words[i], length) != 0) continue;
        scan->at += length;
        return true;
    }
    return wrong(scan, "expected a value");
}

static bool skip_value(sv_scan *scan, int depth);

static bool skip_members(sv_scan *scan, bool object, int depth)
{
    char close = object ? '}' : ']';
    scan->at++;
    if (depth >= DEPTH) return wrong(scan, "nested deeper than 64");
    if (sv_scan_is(scan, close)) return true;
    do {
        if (object && (!string_checked(scan, NULL) || !sv_scan_mark(scan, ':'))) return false;
        if (!skip_value(scan, depth + 1)) return false;
    } while (sv_scan_is(scan, ','));
    return sv_scan_mark(scan, close);
}

static bool skip_value(sv_scan *scan, int depth)
{
    skip_space(scan);
    int c = peek(scan);
    if (c == '{' || c == '[') return skip_members(scan, c == '{', depth);
    if (c == '"') return string_checked(scan, NULL);
    if (c == '-' || digit(scan)) return skip_number(scan);
    return skip_word(scan);
}

bool sv_scan_skip(sv_scan *scan) { return skip_value(scan, 0); }

bool sv_scan_end(sv_scan *scan)
{
    skip_space(scan);
    return scan->at == scan->length || wrong(scan, "something after the end of the JSON");
}
