/* What every program of Sieve does the same way: --help, --version, --keys, --quiet, --verbose, --json, --threads, --seed, --config, config keys on the
 * command line, own flags, words; one sentence for the one error, and its exit code. */
#ifndef SIEVE_BASE_PROGRAM_H
#define SIEVE_BASE_PROGRAM_H

#include "base/config.h"

/* A flag of a program's own: with `value` it takes the next argument (or what follows '='), else it is a switch. */
typedef struct sv_flag { const char *name; bool *set; const char **value; } sv_flag;

typedef struct sv_program_call {
    sv_config *config;              /* NULL where the program has no groups */
    bool json;
    const char *const *words; size_t word_count;    /* arguments that are no flags, in order */
} sv_program_call;

typedef struct sv_program {
    const char *name, *usage;       /* usage: the whole text of --help */
    const sv_config_group *groups; size_t group_count;
    const sv_flag *flags; size_t flag_count;
    const char *const *unneeded;    /* keys (their beginnings, NULL at the end) that may hold ${NAME} of variables that are not set; NULL: none */
    bool needs_arguments;           /* called bare it prints the usage on standard error and ends with SV_USAGE */
    sv_status (*run)(const sv_program_call *call, sv_error *err);
} sv_program;

enum { SV_PROGRAM_WORDS_MOST = 65536 };
/* For main: returns the exit code. Installs signal handling; output that cannot be written is SV_FAULT. */
int sv_program_main(const sv_program *program, int argc, char **argv);

#endif
