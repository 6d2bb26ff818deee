/* Reading a config: INI files and command-line overrides.
 *
 *     file  = line*                      line = blank | comment | [section] | key = value | include = path
 *     value = plain text up to " #" or " ;"  |  "quoted: \" \\ and \$ stand for themselves"
 *
 * ${NAME} in a value is taken from the environment (not again within what it gave). A key is section.key; where no section has
 * begun it may be written so. An included file counts as standing at that place: what comes after it wins. */
#include "base/config_entry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST_INCLUDE = 8, LONGEST_KEY = 128 };
static const size_t LARGEST_FILE = (size_t)1 << 20;

typedef struct reading {
    sv_config *config;
    const char *name;               /* as shown in messages */
    unsigned file_number, depth;
    size_t line_number;
    char section[LONGEST_KEY];
    char where[512];                /* "deit.ini:12" */
    sv_error *err;
} reading;

static sv_status read_file(sv_config *config, const char *path, unsigned depth, sv_error *err);

static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    size_t length = strlen(text);
    while (length && strchr(" \t\r", text[length - 1])) length--;
    text[length] = 0;
    return text;
}

/* ---- values ---- */

/* ${NAME} at *at: adds what the environment holds and moves on behind the brace. */
static sv_status add_variable(const reading *now, const char **at, sv_text *value)
{
    char name[LONGEST_KEY], shown[LONGEST_KEY];
    const char *from = *at + 2;
    size_t length = strcspn(from, "}");
    if (!from[length] || length == 0 || length >= sizeof name)
        return sv_fail(now->err, SV_USAGE, "%s: '${' has no name and '}' behind it; expected ${NAME}, or \"\\$\" in quotes for a dollar", now->where);
    memcpy(name, from, length);
    name[length] = 0;
    *at = from + length + 1;
    const char *given = getenv(name);
    sv_text_safe(shown, sizeof shown, name);
    if (!given || !*given)
        return sv_fail(now->err, SV_DATA, "%s: ${%s} is not set; say `export %s=...` before the run, or write the value here", now->where, shown, shown);
    sv_text_add_bytes(value, given, strlen(given));
    return SV_OK;
}

/* The plain form ends at a comment sign that follows a space; the spaces before it do not count. */
static size_t plain_length(const char *text)
{
    size_t end = 0;
    while (text[end] && !((text[end] == '#' || text[end] == ';') && (end == 0 || text[end - 1] == ' ' || text[end - 1] == '\t'))) end++;
    while (end && (text[end - 1] == ' ' || text[end - 1] == '\t')) end--;
    return end;
}

static sv_status read_plain(const reading *now, const char *text, sv_text *value)
{
    sv_status status = SV_OK;
    const char *at = text, *end = text + plain_length(text);
    while (at < end && !status)
        if (at[0] == '$' && at[1] == '{') status = add_variable(now, &at, value);
        else sv_text_add_bytes(value, at++, 1);
    return status;
}

static sv_status read_quoted(const reading *now, const char *text, sv_text *value)
{
    sv_status status = SV_OK;
    const char *at = text + 1;
    while (*at && *at != '"' && !status)
        if (at[0] == '$' && at[1] == '{') status = add_variable(now, &at, value);
        else {
            if (at[0] == '\\' && at[1] && strchr("\"\\$", at[1])) at++;
            sv_text_add_bytes(value, at++, 1);
        }
    if (status) return status;
    if (!*at) return sv_fail(now->err, SV_USAGE, "%s: the value has no closing quote", now->where);
    at += 1 + strspn(at + 1, " \t");
    if (*at && *at != '#' && *at != ';') return sv_fail(now->err, SV_USAGE, "%s: there is text behind the closing quote", now->where);
    return SV_OK;
}

/* ---- lines ---- */

static sv_status read_section(reading *now, char *line)
{
    char *close = strchr(line, ']'), shown[LONGEST_KEY], key[LONGEST_KEY + 2], guess[LONGEST_KEY] = "";
    char *behind = close ? close + 1 + strspn(close + 1, " \t") : line;
    if (!close || (*behind && *behind != '#' && *behind != ';'))
        return sv_fail(now->err, SV_USAGE, "%s: '%s' is no section; expected [name]", now->where, sv_text_safe(shown, 60, line));
    *close = 0;
    const char *name = trim(line + 1);
    size_t length = strlen(name);
    struct { const char *name; char room[LONGEST_KEY]; } sections[64];
    size_t count = 0;
    for (size_t i = 0; i < now->config->count; i++) {
        const char *known = now->config->entries[i].row->name;
        size_t known_length = sv_config_section_length(known);
        if (known_length == length && memcmp(known, name, length) == 0) {
            snprintf(now->section, sizeof now->section, "%s", name);
            return SV_OK;
        }
        if (count == SV_COUNT(sections) || (count && strncmp(sections[count - 1].room, known, known_length) == 0)) continue;
        snprintf(sections[count].room, LONGEST_KEY, "%.*s", (int)known_length, known);
        sections[count].name = sections[count].room;
        count++;
    }
    const char *nearest = sv_kind_nearest(sections, count, sizeof *sections, name);
    if (nearest) snprintf(guess, sizeof guess, "; did you mean [%s]?", nearest);
    snprintf(key, sizeof key, "[%s]", sv_text_safe(shown, sizeof shown, name));
    return sv_fail(now->err, SV_USAGE, "%s: unknown section %s%s", now->where, key, guess);
}

static sv_status read_include(const reading *now, const char *name)
{
    char *path = NULL, folder[4096];
    const char *slash = strrchr(now->name, '/');
    if (!name[0]) return sv_fail(now->err, SV_USAGE, "%s: include names no file", now->where);
    if (now->depth >= DEEPEST_INCLUDE)
        return sv_fail(now->err, SV_USAGE, "%s: more than %d files include each other; does a file include itself?", now->where, DEEPEST_INCLUDE);
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - now->name + 1) : 0, now->name);
    sv_status status = sv_path_join(&path, folder, name, now->err);
    if (!status) status = read_file(now->config, path, now->depth + 1, now->err);
    if (status && !sv_path_is_file(path ? path : "")) status = sv_fail_within(now->err, "%s: include", now->where);
    sv_free(path);
    return status;
}

static sv_status set_once(reading *now, const char *key, const char *value)
{
    sv_config_entry *entry = sv_config_entry_find(now->config, key);
    if (entry && entry->file_number == now->file_number)
        return sv_fail(now->err, SV_USAGE, "%s: '%s' stands twice in this file, first on line %zu; keep one of them", now->where, key, entry->line_number);
    sv_status status = sv_config_set(now->config, key, value, now->where, now->err);
    if (!status) {
        entry->file_number = now->file_number;
        entry->line_number = now->line_number;
    }
    return status;
}

/* A variable that is not set is no mistake yet: a later file or the command line may give the value. */
static sv_status leave_open(reading *now, const char *key)
{
    sv_config_entry *entry = sv_config_entry_find(now->config, key);
    char *text = NULL, sentence[sizeof now->err->text];
    if (!entry) return sv_config_set(now->config, key, "", now->where, now->err);
    snprintf(sentence, sizeof sentence, "%s", now->err ? now->err->text : "a variable is not set");
    sv_status status = sv_text_copy(&text, sentence, now->err);
    if (status) return status;
    sv_free(entry->missing);
    entry->missing = text;
    return SV_OK;
}

static sv_status read_assignment(reading *now, char *line)
{
    char shown[80], key[2 * LONGEST_KEY];
    char *equals = strchr(line, '=');
    if (!equals) return sv_fail(now->err, SV_USAGE, "%s: '%s' is no setting; expected key = value", now->where, sv_text_safe(shown, 60, line));
    *equals = 0;
    const char *name = trim(line), *text = trim(equals + 1);
    if (!name[0]) return sv_fail(now->err, SV_USAGE, "%s: there is no key before '='; expected key = value", now->where);
    if (strlen(name) >= LONGEST_KEY) return sv_fail(now->err, SV_USAGE, "%s: the key is longer than %d bytes", now->where, LONGEST_KEY - 1);
    sv_text value = { 0 };
    sv_status status = text[0] == '"' ? read_quoted(now, text, &value) : read_plain(now, text, &value);
    if (!status) status = sv_text_check(&value, now->err);
    const bool open = status == SV_DATA && strcmp(name, "include") != 0 && (now->section[0] || strchr(name, '.'));
    if (status && !open) goto done;
    if (strcmp(name, "include") == 0) {
        status = read_include(now, value.data);
        goto done;
    }
    if (!now->section[0] && !strchr(name, '.')) {
        status = sv_fail(now->err, SV_USAGE, "%s: '%s' stands before the first [section]", now->where, sv_text_safe(shown, 60, name));
        goto done;
    }
    snprintf(key, sizeof key, "%s%s%s", now->section, now->section[0] ? "." : "", name);
    status = open ? leave_open(now, key) : set_once(now, key, value.data);
done:
    sv_text_clear(&value);
    return status;
}

static sv_status read_line(reading *now, char *line)
{
    snprintf(now->where, sizeof now->where, "%.480s:%zu", now->name, now->line_number);
    line = trim(line);
    if (!line[0] || line[0] == '#' || line[0] == ';') return SV_OK;
    return line[0] == '[' ? read_section(now, line) : read_assignment(now, line);
}

/* ---- files ---- */

static sv_status read_text(sv_config *config, const char *name, char *text, size_t count, unsigned depth, sv_error *err)
{
    sv_status status = SV_OK;
    reading now = { .config = config, .name = name, .file_number = ++config->files_read, .depth = depth, .err = err };
    char *at = text, *end = text + count;
    if (strlen(text) != count) return sv_fail(err, SV_USAGE, "%s: holds a zero byte; expected a text file", name);
    if (count >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) at += 3; /* the mark some editors put before UTF-8 */
    while (at < end && !status) {
        char *line_end = strchr(at, '\n');
        if (!line_end) line_end = end;
        *line_end = 0;
        now.line_number++;
        status = read_line(&now, at);
        at = line_end + 1;
    }
    return status;
}

static sv_status read_file(sv_config *config, const char *path, unsigned depth, sv_error *err)
{
    unsigned char *bytes = NULL;
    size_t count;
    sv_status status = sv_file_read_all(path, LARGEST_FILE, SV_USAGE, &bytes, &count, err);
    if (!status) status = read_text(config, path, (char *)bytes, count, depth, err);
    sv_free(bytes);
    return status;
}

/* A bare name that is not here may be one of the configs that come with the program: in the build tree, or installed. */
sv_status sv_config_read(sv_config *config, const char *name, sv_error *err)
{
    static const char *const places[] = { "../configs", "../share/sieve/configs" };
    if (strchr(name, '/') || sv_path_exists(name)) return read_file(config, name, 1, err);
    char *program = NULL, *folder = NULL, *path = NULL;
    sv_status status = sv_path_of_program(&program, err);
    bool found = false;
    for (size_t i = 0; i < SV_COUNT(places) && !status && !found; i++) {
        sv_free(folder);
        sv_free(path);
        folder = path = NULL;
        status = sv_path_join(&folder, program, places[i], err);
        if (!status) status = sv_path_join(&path, folder, name, err);
        found = !status && sv_path_exists(path);
    }
    if (!status && found) status = read_file(config, path, 1, err);
    else if (!status)
        status = sv_fail(err, SV_USAGE, "%s: there is no such config here, in %s/%s or in %s/%s; expected the path of an INI file", name, program,
                         places[0], program, places[1]);
    sv_free(path);
    sv_free(folder);
    sv_free(program);
    return status;
}

/* ---- the command line ---- */

sv_status sv_config_argument(sv_config *config, int argc, char **argv, int at, int *used, sv_error *err)
{
    static const char where[] = "command line";
    char key[LONGEST_KEY], shown[LONGEST_KEY];
    const char *argument = argv[at];
    *used = 0;
    if (strncmp(argument, "--", 2) != 0) return SV_OK;
    size_t length = strcspn(argument + 2, "=");
    if (!memchr(argument + 2, '.', length)) return SV_OK;
    if (length >= sizeof key) return sv_fail(err, SV_USAGE, "%s: '%s...' is longer than any key", where, sv_text_safe(shown, 40, argument));
    memcpy(key, argument + 2, length);
    key[length] = 0;
    bool joined = argument[2 + length] == '=';
    if (!joined && (at + 1 >= argc || strncmp(argv[at + 1], "--", 2) == 0) && sv_config_entry_find(config, key))
        return sv_fail(err, SV_USAGE, "%s: --%s has no value; expected --%s=VALUE", where, key, key);
    const char *value = joined ? argument + 2 + length + 1 : at + 1 < argc ? argv[at + 1] : "";
    sv_status status = sv_config_set(config, key, value, where, err);
    if (!status) *used = joined ? 1 : 2;
    return status;
}
