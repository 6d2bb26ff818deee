/* The command line that all programs share. Arguments are read in order, so that a key behind --config overrides the file. */
#include "base/program.h"

#include <stdio.h>
#include <string.h>

typedef struct reader { const sv_program *program; sv_program_call call; const char **words; sv_level level; bool only_words; int argc, at; char **argv; } reader;

/* The value of flag `name` at the present argument: "--name value" or "--name=value". */
static sv_status take_value(reader *r, const char *name, const char **value, sv_error *err)
{
    const char *word = r->argv[r->at], *equals = strchr(word, '=');
    if (equals) *value = equals + 1;
    else if (r->at + 1 < r->argc) *value = r->argv[++r->at];
    else return sv_fail(err, SV_USAGE, "%s needs a value", name);
    return SV_OK;
}

static bool is_flag(const char *word, const char *name)
{
    size_t length = strlen(name);
    return strncmp(word, name, length) == 0 && (word[length] == 0 || word[length] == '=');
}

static sv_status take_key(reader *r, const char *flag, const char *key, sv_error *err)
{
    const char *value = NULL;
    sv_status status = take_value(r, flag, &value, err);
    return status ? status : sv_config_set(r->call.config, key, value, "command line", err);
}

static sv_status take_own(reader *r, const sv_flag *flag, sv_error *err)
{
    if (flag->set) *flag->set = true;
    if (flag->value) return take_value(r, flag->name, flag->value, err);
    if (strchr(r->argv[r->at], '=')) return sv_fail(err, SV_USAGE, "%s takes no value", flag->name);
    return SV_OK;
}

static sv_status unknown(const reader *r, const char *word, sv_error *err)
{
    const char *near = sv_kind_nearest(r->program->flags, r->program->flag_count, sizeof *r->program->flags, word);
    char shown[128];
    return sv_fail(err, SV_USAGE, "'%s' is not understood%s%s%s; `%s --help` lists the options%s", sv_text_safe(shown, sizeof shown, word), near ? "; did you mean '" : "", near ? near : "",
                   near ? "'?" : "", r->program->name, r->call.config ? ", `--keys` the config keys" : "");
}

static sv_status take_argument(reader *r, sv_error *err)
{
    const char *word = r->argv[r->at], *value = NULL;
    int used = 0;
    sv_status status = SV_OK;
    if (r->only_words || word[0] != '-' || word[1] == 0) {
        r->words[r->call.word_count++] = word;
        return SV_OK;
    }
    if (strcmp(word, "--") == 0) return r->only_words = true, SV_OK;
    if (strcmp(word, "--json") == 0) return r->call.json = true, SV_OK;
    if (strcmp(word, "--quiet") == 0) return r->level = SV_WARNING, sv_log_set(NULL, NULL, r->level), SV_OK;
    if (strcmp(word, "--verbose") == 0) return r->level = SV_VERBOSE, sv_log_set(NULL, NULL, r->level), SV_OK;
    for (size_t i = 0; i < r->program->flag_count; i++)
        if (is_flag(word, r->program->flags[i].name)) return take_own(r, &r->program->flags[i], err);
    if (is_flag(word, "--threads") && !r->call.config) {
        int64_t threads = 0;
        status = take_value(r, "--threads", &value, err);
        if (status) return status;
        if (!sv_parse_int(value, &threads) || threads < 0 || threads > 4096) return sv_fail(err, SV_USAGE, "--threads %s; expected a whole number from 0 to 4096", value);
        sv_threads_set((size_t)threads);
        return SV_OK;
    }
    if (!r->call.config) return unknown(r, word, err);
    if (is_flag(word, "--threads")) return take_key(r, "--threads", "run.threads", err);
    if (is_flag(word, "--seed")) return take_key(r, "--seed", "run.seed", err);
    if (is_flag(word, "--config")) {
        status = take_value(r, "--config", &value, err);
        return status ? status : sv_config_read(r->call.config, value, err);
    }
    status = sv_config_argument(r->call.config, r->argc, r->argv, r->at, &used, err);
    if (!status && !used) return unknown(r, word, err);
    if (!status) r->at += used - 1;
    return status;
}

static int print_out(const char *text)
{
    if (fputs(text, stdout) < 0 || fflush(stdout)) return SV_FAULT;
    return SV_OK;
}

static int print_keys(const sv_program *program, bool markdown)
{
    sv_text text = { 0 };
    if (markdown) sv_text_add(&text, "# Keys of a config\n\nWhat a run can be told, in a file (`[train]`, then `batch = 64`) or on the command line (`--train.batch=64`).\n"
                                     "This page is printed from the rows that check a config, by `make docs`; change those.\n\n");
    if (markdown) sv_config_print_markdown(program->groups, program->group_count, &text);
    else sv_config_print_help(program->groups, program->group_count, &text);
    int code = print_out(text.data ? text.data : "");
    sv_text_clear(&text);
    return code;
}

static sv_status read_and_run(reader *r, sv_error *err)
{
    sv_status status = r->program->group_count ? sv_config_create(&r->call.config, r->program->groups, r->program->group_count, err) : SV_OK;
    if (!status) status = sv_alloc(&r->words, ((size_t)r->argc + 1) * sizeof *r->words, "program", err);
    r->call.words = r->words;
    for (r->at = 1; !status && r->at < r->argc; r->at++) status = take_argument(r, err);
    if (!status && r->call.config) status = sv_config_complete(r->call.config, r->program->unneeded, err);
    if (!status) status = sv_isa_check(err);
    if (!status) status = r->program->run(&r->call, err);
    if (fflush(stdout) && !status) status = sv_fail(err, SV_FAULT, "standard output cannot be written; is the disk full or the pipe closed?");
    return status;
}

int sv_program_main(const sv_program *program, int argc, char **argv)
{
    reader r = { .program = program, .level = SV_INFO, .argc = argc, .argv = argv };
    sv_error err = { 0 };
    char line[128];
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return print_out(program->usage);
        if (strcmp(argv[i], "--keys") == 0 && program->group_count) return print_keys(program, false);
        if (strcmp(argv[i], "--keys-markdown") == 0 && program->group_count) return print_keys(program, true); /* makes docs/config.md */
        if (strcmp(argv[i], "--version") == 0) {
            snprintf(line, sizeof line, "%s (Sieve) %s, %s\n", program->name, SV_VERSION, SV_REAL_NAME);
            return print_out(line);
        }
    }
    if (argc == 1 && program->needs_arguments) {
        fputs(program->usage, stderr);
        return SV_USAGE;
    }
    sv_interrupt_install();
    sv_status status = read_and_run(&r, &err);
    if (status) fprintf(stderr, "%s: %s\n", program->name, err.text);
    sv_free(r.words);
    sv_config_destroy(r.call.config);
    return status;
}
