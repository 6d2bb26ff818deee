/* Inside of a config, for base/config.c (values), base/config_read.c (files, command line) and base/config_print.c alone. */
#ifndef SIEVE_BASE_CONFIG_ENTRY_H
#define SIEVE_BASE_CONFIG_ENTRY_H

#include "base/config.h"

/* A value in its forms: which of them are filled is the row's type. `text` is what was given, trimmed. */
typedef struct sv_config_value {
    char *text;
    int64_t integer;
    double real;
    bool yes;
    size_t choice;
    int64_t *integers;
    double *reals;
    size_t count;
} sv_config_value;

typedef struct sv_config_entry {
    const sv_config_row *row;
    sv_config_value value;
    char *where;            /* NULL: the default */
    char *missing;          /* what is wrong with the value a file gave: a variable that is not set; NULL: nothing */
    unsigned file_number;   /* the file that set it last, and its line: a key twice in one file is a mistake */
    size_t line_number;
} sv_config_entry;

struct sv_config {
    sv_config_entry *entries;
    size_t count;
    unsigned files_read;
};

sv_config_entry *sv_config_entry_find(const sv_config *config, const char *key);
/* "; did you mean 'train.batch'?" or "" into room. */
const char *sv_config_guess(const sv_config *config, const char *key, char *room, size_t room_bytes);
/* "a whole number from 1 to 65536": what a row accepts, for messages and help. */
void sv_config_expect(const sv_config_row *row, sv_text *text);
/* Length of "train" in "train.batch"; 0 where a key has no section. */
size_t sv_config_section_length(const char *key);

#endif
