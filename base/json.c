/* JSON result lines. A comma stands before every member but the first of its object or array; `comma` remembers whether one
 * is due. At depth 0 none is, so that several objects can be written into one text. */
#include "base/json.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_string(sv_text *text, const char *string)
{
    size_t left = strlen(string);
    sv_text_add_bytes(text, "\"", 1);
    while (left) {
        size_t length = sv_utf8_length(string, left);
        unsigned char first = (unsigned char)string[0];
        if (length == 0) sv_text_add_bytes(text, "\xef\xbf\xbd", 3);
        else if (first == '"' || first == '\\') sv_text_add(text, "\\%c", first);
        else if (first == '\n') sv_text_add_bytes(text, "\\n", 2);
        else if (first == '\t') sv_text_add_bytes(text, "\\t", 2);
        else if (first < 0x20 || first == 0x7f) sv_text_add(text, "\\u%04x", first);
        else sv_text_add_bytes(text, string, length);
        string += length ? length : 1;
        left -= length ? length : 1;
    }
    sv_text_add_bytes(text, "\"", 1);
}

static void begin(sv_json *json, const char *name)
{
    if (json->comma) sv_text_add_bytes(json->text, ", ", 2);
    if (name) {
        add_string(json->text, name);
        sv_text_add_bytes(json->text, ": ", 2);
    }
    json->comma = json->depth > 0;
}

static void open_with(sv_json *json, const char *name, const char *bracket)
{
    begin(json, name);
    sv_text_add_bytes(json->text, bracket, 1);
    json->depth++;
    json->comma = false;
}

static void close_with(sv_json *json, const char *bracket)
{
    sv_text_add_bytes(json->text, bracket, 1);
    if (json->depth) json->depth--;
    json->comma = json->depth > 0;
}

void sv_json_open(sv_json *json, const char *name) { open_with(json, name, "{"); }
void sv_json_close(sv_json *json) { close_with(json, "}"); }
void sv_json_open_array(sv_json *json, const char *name) { open_with(json, name, "["); }
void sv_json_close_array(sv_json *json) { close_with(json, "]"); }

void sv_json_text(sv_json *json, const char *name, const char *value)
{
    begin(json, name);
    if (value) add_string(json->text, value);
    else sv_text_add_bytes(json->text, "null", 4);
}

void sv_json_int(sv_json *json, const char *name, int64_t value)
{
    begin(json, name);
    sv_text_add(json->text, "%lld", (long long)value);
}

/* The first count of digits that reads back to the same bits; compared as bits, since workers flush denormals. */
static void add_real(sv_text *text, double value)
{
    char room[40];
    if (!isfinite(value)) {
        sv_text_add_bytes(text, "null", 4);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(room, sizeof room, "%.*g", digits, value);
        double back = strtod(room, NULL);
        if (memcmp(&back, &value, sizeof back) == 0) break;
    }
    for (char *c = room; *c; c++)
        if (!strchr("0123456789+-e", *c)) *c = '.';
    sv_text_add_bytes(text, room, strlen(room));
}

void sv_json_real(sv_json *json, const char *name, double value)
{
    begin(json, name);
    add_real(json->text, value);
}

void sv_json_bool(sv_json *json, const char *name, bool value)
{
    begin(json, name);
    sv_text_add(json->text, "%s", value ? "true" : "false");
}

void sv_json_reals(sv_json *json, const char *name, const double *values, size_t count)
{
    sv_json_open_array(json, name);
    for (size_t i = 0; i < count; i++) sv_json_real(json, NULL, values[i]);
    sv_json_close_array(json);
}
