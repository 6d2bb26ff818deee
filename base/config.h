/* A run's configuration: INI text checked against one schema. Rows of the schema live in the folders whose options they
 * are (layers, data, pruning ...); a program gathers the groups it understands. From the rows come --help, docs/config.md,
 * validation, the resolved config and the command-line overrides. */
#ifndef SIEVE_BASE_CONFIG_H
#define SIEVE_BASE_CONFIG_H

#include "base/base.h"

typedef enum sv_config_type {
    SV_CONFIG_INT, SV_CONFIG_REAL, SV_CONFIG_BOOL /* yes no true false on off 1 0 */, SV_CONFIG_TEXT, SV_CONFIG_CHOICE,
    SV_CONFIG_INTS /* 3,6,9 */, SV_CONFIG_REALS
} sv_config_type;

typedef struct sv_config_row {
    const char *name;       /* "train.batch" */
    sv_config_type type;
    const char *value;      /* the default, as text; "" for none */
    double least, most;     /* inclusive, for numbers and each item of a list; both 0: any */
    const char *choices;    /* "a|b|c" for SV_CONFIG_CHOICE */
    const char *help;       /* one line */
} sv_config_row;

/* A group of rows; groups are borrowed and must outlive the config. */
typedef struct sv_config_group { const sv_config_row *rows; size_t count; } sv_config_group;
#define SV_CONFIG_GROUP(array) { (array), SV_COUNT(array) }

typedef struct sv_config sv_config;

/* All keys at their defaults. */
sv_status sv_config_create(sv_config **out, const sv_config_group *groups, size_t group_count, sv_error *err) SV_MUST_CHECK;
void sv_config_destroy(sv_config *config);
/* Reads an INI file over what is there: [section], key = value, # and ; comments, `include = other.ini` (relative to the file,
 * depth at most 8), ${NAME} from the environment. `name` without a slash that is not in the current folder is looked for in
 * configs/ beside the program's folder, then in ../share/sieve/configs. Errors: SV_USAGE with file:line, the nearest known key
 * for an unknown one, the range or the choices for a bad value; a key twice in one file; SV_DATA for an unset ${NAME} in an
 * include. A value with one is left open until something else sets the key: sv_config_complete. */
sv_status sv_config_read(sv_config *config, const char *name, sv_error *err) SV_MUST_CHECK;
/* After the last setting: SV_DATA for a value that is still open, with the sentence of its place. Keys that begin as one of unneeded[] (NULL at its
 * end; may be NULL) keep their defaults instead. */
sv_status sv_config_complete(const sv_config *config, const char *const *unneeded, sv_error *err) SV_MUST_CHECK;
/* One key from text; `where` ("deit.ini:12", "command line") stands in messages. */
sv_status sv_config_set(sv_config *config, const char *key, const char *value, const char *where, sv_error *err) SV_MUST_CHECK;
/* "--section.key=value" or "--section.key value" from a command line; *used = arguments taken (0: not an override). */
sv_status sv_config_argument(sv_config *config, int argc, char **argv, int at, int *used, sv_error *err) SV_MUST_CHECK;

/* Values. A name that no row has, or of another type, is a fault of the program (assert). Lists and texts are borrowed until the
 * key is set again. */
int64_t sv_config_int(const sv_config *config, const char *key);
double sv_config_real(const sv_config *config, const char *key);
bool sv_config_bool(const sv_config *config, const char *key);
const char *sv_config_text(const sv_config *config, const char *key);          /* TEXT and CHOICE; "" where none */
size_t sv_config_choice(const sv_config *config, const char *key);             /* index into the choices */
const int64_t *sv_config_ints(const sv_config *config, const char *key, size_t *count);
const double *sv_config_reals(const sv_config *config, const char *key, size_t *count);
/* Where the value came from: "deit.ini:12", "command line", "default". For messages about values that clash. */
const char *sv_config_where(const sv_config *config, const char *key);
bool sv_config_given(const sv_config *config, const char *key);                /* set by a file or the command line */

/* The resolved config as INI text (every key, defaults included) / the reference table in Markdown / help for a terminal. */
sv_status sv_config_print(const sv_config *config, sv_text *text, sv_error *err) SV_MUST_CHECK;
void sv_config_print_markdown(const sv_config_group *groups, size_t group_count, sv_text *text);
void sv_config_print_help(const sv_config_group *groups, size_t group_count, sv_text *text);

#endif
