/* JSON result lines: one object a line. Writing only; reading of untrusted JSON is jansson's work (formats/). */
#ifndef SIEVE_BASE_JSON_H
#define SIEVE_BASE_JSON_H

#include "base/base.h"

/* Appends to text. Members come in the order of the calls; strings are escaped, broken UTF-8 becomes U+FFFD;
 * a number that is not finite becomes null. name NULL: an item of an array. */
typedef struct sv_json { sv_text *text; unsigned depth; bool comma; } sv_json;
void sv_json_open(sv_json *json, const char *name);             /* { */
void sv_json_close(sv_json *json);                              /* } */
void sv_json_open_array(sv_json *json, const char *name);
void sv_json_close_array(sv_json *json);
void sv_json_text(sv_json *json, const char *name, const char *value);
void sv_json_int(sv_json *json, const char *name, int64_t value);
void sv_json_real(sv_json *json, const char *name, double value); /* shortest form that reads back to the same double */
void sv_json_bool(sv_json *json, const char *name, bool value);
void sv_json_reals(sv_json *json, const char *name, const double *values, size_t count);

#endif
