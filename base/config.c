/* The values of a run. An entry a row; a new value is parsed and checked whole before it takes the place of the old one, so
 * that a mistake leaves the config as it was. What a row accepts is said by one function, for messages, help and docs. */
#include "base/config_entry.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- what a row accepts ---- */

static void add_range(const sv_config_row *row, sv_text *text)
{
    bool any = row->least == 0 && row->most == 0, from = isfinite(row->least), to = isfinite(row->most);
    if (any || (!from && !to)) return;
    if (from && to) sv_text_add(text, " from %.16g to %.16g", row->least, row->most);
    else if (from) sv_text_add(text, " of at least %.16g", row->least);
    else sv_text_add(text, " of at most %.16g", row->most);
}

static void add_choices(const sv_config_row *row, sv_text *text)
{
    for (const char *at = row->choices; *at;) {
        size_t length = strcspn(at, "|");
        bool first = at == row->choices, last = at[length] == 0;
        sv_text_add(text, "%s%.*s", first ? "" : last ? " or " : ", ", (int)length, at);
        at += length + !last;
    }
}

void sv_config_expect(const sv_config_row *row, sv_text *text)
{
    static const char *const nouns[] = {
        [SV_CONFIG_INT] = "a whole number", [SV_CONFIG_REAL] = "a number", [SV_CONFIG_BOOL] = "yes or no", [SV_CONFIG_TEXT] = "text",
        [SV_CONFIG_CHOICE] = "", [SV_CONFIG_INTS] = "whole numbers parted by commas, each", [SV_CONFIG_REALS] = "numbers parted by commas, each",
    };
    bool list = row->type == SV_CONFIG_INTS || row->type == SV_CONFIG_REALS;
    bool any = row->least == 0 && row->most == 0;
    if (list && any) sv_text_add(text, "%s parted by commas", row->type == SV_CONFIG_INTS ? "whole numbers" : "numbers");
    else sv_text_add(text, "%s", nouns[row->type]);
    if (row->type == SV_CONFIG_CHOICE) add_choices(row, text);
    else add_range(row, text);
}

/* ---- finding ---- */

sv_config_entry *sv_config_entry_find(const sv_config *config, const char *key)
{
    for (size_t i = 0; i < config->count; i++)
        if (strcmp(config->entries[i].row->name, key) == 0) return &config->entries[i];
    return NULL;
}

size_t sv_config_section_length(const char *key)
{
    const char *dot = strchr(key, '.');
    return dot ? (size_t)(dot - key) : 0;
}

typedef struct named { const char *name; } named;

/* The same key in another section first; else a near name. */
const char *sv_config_guess(const sv_config *config, const char *key, char *room, size_t room_bytes)
{
    named *names;
    room[0] = 0;
    if (sv_alloc(&names, config->count * sizeof *names, "config", NULL)) return room;
    for (size_t i = 0; i < config->count; i++) names[i].name = config->entries[i].row->name;
    const char *nearest = NULL, *dot = strchr(key, '.');
    for (size_t i = 0; i < config->count && !nearest && dot; i++) {
        const char *other = strchr(names[i].name, '.');
        if (other && strcmp(other, dot) == 0) nearest = names[i].name;
    }
    if (!nearest) nearest = sv_kind_nearest(names, config->count, sizeof *names, key);
    if (nearest) snprintf(room, room_bytes, "; did you mean '%s'?", nearest);
    sv_free(names);
    return room;
}

/* ---- parsing one value ---- */

typedef struct parse_case {
    const sv_config_row *row;
    const char *where;
    const char *text;
    sv_error *err;
} parse_case;

/* "deit.ini:9: train.batch = 0 is out of range; expected a whole number from 1 to 65536" */
static sv_status refuse(const parse_case *given, const char *what)
{
    char shown[200];
    sv_text expected = { 0 };
    sv_config_expect(given->row, &expected);
    sv_fail(given->err, SV_USAGE, "%s: %s = %s %s; expected %s", given->where, given->row->name,
            given->text[0] ? sv_text_safe(shown, sizeof shown, given->text) : "(nothing)", what, expected.data ? expected.data : "another value");
    sv_text_clear(&expected);
    return SV_USAGE;
}

static bool in_range(const sv_config_row *row, double value)
{
    return (row->least == 0 && row->most == 0) || (value >= row->least && value <= row->most);
}

static sv_status parse_int_item(const parse_case *given, const char *item, int64_t *out)
{
    if (!sv_parse_int(item, out)) return refuse(given, "is not a whole number");
    return in_range(given->row, (double)*out) ? SV_OK : refuse(given, "is out of range");
}

static sv_status parse_real_item(const parse_case *given, const char *item, double *out)
{
    if (!sv_parse_real(item, out)) return refuse(given, "is not a number");
    return in_range(given->row, *out) ? SV_OK : refuse(given, "is out of range");
}

static sv_status parse_bool(const parse_case *given, bool *out)
{
    static const struct { const char *name; bool yes; } words[] = {
        { "yes", true }, { "no", false }, { "true", true }, { "false", false }, { "on", true }, { "off", false }, { "1", true }, { "0", false },
    };
    for (size_t i = 0; i < SV_COUNT(words); i++)
        if (strcmp(words[i].name, given->text) == 0) {
            *out = words[i].yes;
            return SV_OK;
        }
    return refuse(given, "is neither yes nor no");
}

static sv_status parse_choice(const parse_case *given, size_t *out)
{
    size_t index = 0, length = strlen(given->text), count = 0;
    named near[64];
    char words[1024];
    snprintf(words, sizeof words, "%s", given->row->choices);
    for (char *at = words, *next; at; at = next, index++) {
        next = strchr(at, '|');
        if (next) *next++ = 0;
        if (length && strcmp(at, given->text) == 0) {
            *out = index;
            return SV_OK;
        }
        if (count < SV_COUNT(near)) near[count++].name = at;
    }
    sv_status status = refuse(given, "is not one of its choices");
    const char *nearest = sv_kind_nearest(near, count, sizeof *near, given->text);
    size_t used = given->err ? strlen(given->err->text) : 0;
    if (nearest && given->err) snprintf(given->err->text + used, sizeof given->err->text - used, "; did you mean '%s'?", nearest);
    return status;
}

/* One item of a list into room, without the spaces around it; moves *at behind its comma, or to NULL behind the last. */
static bool next_item(const char **at, char *room, size_t room_bytes)
{
    const char *from = *at + strspn(*at, " \t");
    size_t length = strcspn(from, ",");
    *at = from[length] ? from + length + 1 : NULL;
    while (length && strchr(" \t", from[length - 1])) length--;
    if (length >= room_bytes) return false;
    memcpy(room, from, length);
    room[length] = 0;
    return true;
}

static sv_status parse_list(const parse_case *given, sv_config_value *value)
{
    size_t most = 1;
    char item[64];
    bool whole = given->row->type == SV_CONFIG_INTS;
    for (const char *c = given->text; *c; c++) most += *c == ',';
    if (!given->text[0]) most = 0;
    sv_status status = whole ? sv_alloc_zero(&value->integers, most * sizeof *value->integers, "config", given->err)
                             : sv_alloc_zero(&value->reals, most * sizeof *value->reals, "config", given->err);
    const char *at = most ? given->text : NULL;
    while (at && !status) {
        if (!next_item(&at, item, sizeof item)) return refuse(given, "has an item that is too long");
        status = whole ? parse_int_item(given, item, &value->integers[value->count]) : parse_real_item(given, item, &value->reals[value->count]);
        if (!status) value->count++;
    }
    return status;
}

static void clear_value(sv_config_value *value)
{
    sv_free(value->text);
    sv_free(value->integers);
    sv_free(value->reals);
    *value = (sv_config_value){ 0 };
}

/* Nothing is a value of texts and lists, and of whatever has nothing as its default. */
static bool may_be_empty(const sv_config_row *row)
{
    return row->type == SV_CONFIG_TEXT || row->type == SV_CONFIG_INTS || row->type == SV_CONFIG_REALS || !row->value[0];
}

static sv_status parse_value(const parse_case *given, sv_config_value *value)
{
    for (const char *c = given->text; *c; c++)
        if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f) return refuse(given, "holds a control character");
    sv_status status = sv_text_copy(&value->text, given->text, given->err);
    bool list = given->row->type == SV_CONFIG_INTS || given->row->type == SV_CONFIG_REALS;
    if (status || (!given->text[0] && !list && may_be_empty(given->row))) return status;
    switch (given->row->type) {
    case SV_CONFIG_INT: return parse_int_item(given, given->text, &value->integer);
    case SV_CONFIG_REAL: return parse_real_item(given, given->text, &value->real);
    case SV_CONFIG_BOOL: return parse_bool(given, &value->yes);
    case SV_CONFIG_CHOICE: return parse_choice(given, &value->choice);
    case SV_CONFIG_INTS:
    case SV_CONFIG_REALS: return parse_list(given, value);
    case SV_CONFIG_TEXT: break;
    }
    return SV_OK;
}

/* ---- the config ---- */

static sv_status add_default(sv_config *config, const sv_config_row *row, sv_error *err)
{
    sv_config_entry entry = { .row = row };
    parse_case given = { row, "default", row->value, err };
    if (sv_config_entry_find(config, row->name)) return sv_fail(err, SV_FAULT, "config: the key '%s' stands in two rows of the schema", row->name);
    sv_status status = parse_value(&given, &entry.value);
    if (status) clear_value(&entry.value);
    else config->entries[config->count++] = entry;
    return status == SV_USAGE ? sv_fail_within(err, "config schema") : status;
}

sv_status sv_config_create(sv_config **out, const sv_config_group *groups, size_t group_count, sv_error *err)
{
    sv_config *config = NULL;
    size_t rows = 0;
    for (size_t g = 0; g < group_count; g++) rows += groups[g].count;
    sv_status status = sv_alloc_zero(&config, sizeof *config, "config", err);
    if (status) return status;
    status = sv_alloc_zero(&config->entries, rows * sizeof *config->entries, "config", err);
    for (size_t g = 0; g < group_count && !status; g++)
        for (size_t i = 0; i < groups[g].count && !status; i++) status = add_default(config, &groups[g].rows[i], err);
    if (status) sv_config_destroy(config);
    else *out = config;
    return status;
}

void sv_config_destroy(sv_config *config)
{
    if (!config) return;
    for (size_t i = 0; i < config->count; i++) {
        clear_value(&config->entries[i].value);
        sv_free(config->entries[i].where);
        sv_free(config->entries[i].missing);
    }
    sv_free(config->entries);
    sv_free(config);
}

static sv_status unknown_key(const sv_config *config, const char *key, const char *where, sv_error *err)
{
    char shown[128], guess[128];
    sv_text_safe(shown, sizeof shown, key);
    return sv_fail(err, SV_USAGE, "%s: unknown key '%s'%s (`%s --help` lists all keys)", where, shown,
                   sv_config_guess(config, key, guess, sizeof guess), program_invocation_short_name);
}

sv_status sv_config_set(sv_config *config, const char *key, const char *value, const char *where, sv_error *err)
{
    sv_config_entry *entry = sv_config_entry_find(config, key);
    if (!entry) return unknown_key(config, key, where, err);
    parse_case given = { entry->row, where, value, err };
    sv_config_value parsed = { 0 };
    char *place = NULL;
    sv_status status = parse_value(&given, &parsed);
    if (!status) status = sv_text_copy(&place, where, err);
    if (status) {
        clear_value(&parsed);
        return status;
    }
    clear_value(&entry->value);
    sv_free(entry->where);
    sv_free(entry->missing);
    entry->missing = NULL;
    entry->value = parsed;
    entry->where = place;
    entry->file_number = 0;
    return SV_OK;
}

static bool begins_as_one(const char *name, const char *const *words)
{
    for (; words && *words; words++)
        if (strncmp(name, *words, strlen(*words)) == 0) return true;
    return false;
}

sv_status sv_config_complete(const sv_config *config, const char *const *unneeded, sv_error *err)
{
    for (size_t i = 0; i < config->count; i++)
        if (config->entries[i].missing && !begins_as_one(config->entries[i].row->name, unneeded)) return sv_fail(err, SV_DATA, "%s", config->entries[i].missing);
    return SV_OK;
}

/* ---- values ---- */

static const sv_config_entry *entry_of(const sv_config *config, const char *key, sv_config_type type)
{
    const sv_config_entry *entry = sv_config_entry_find(config, key);
    assert(entry && "the schema has the key that is asked for");
    assert(entry->row->type == type && "the key is asked for as what its row says");
    (void)type;
    return entry;
}

int64_t sv_config_int(const sv_config *config, const char *key) { return entry_of(config, key, SV_CONFIG_INT)->value.integer; }
double sv_config_real(const sv_config *config, const char *key) { return entry_of(config, key, SV_CONFIG_REAL)->value.real; }
bool sv_config_bool(const sv_config *config, const char *key) { return entry_of(config, key, SV_CONFIG_BOOL)->value.yes; }
size_t sv_config_choice(const sv_config *config, const char *key) { return entry_of(config, key, SV_CONFIG_CHOICE)->value.choice; }

const char *sv_config_text(const sv_config *config, const char *key)
{
    const sv_config_entry *entry = sv_config_entry_find(config, key);
    assert(entry && (entry->row->type == SV_CONFIG_TEXT || entry->row->type == SV_CONFIG_CHOICE) && "a key of text or choices");
    return entry->value.text;
}

const int64_t *sv_config_ints(const sv_config *config, const char *key, size_t *count)
{
    const sv_config_entry *entry = entry_of(config, key, SV_CONFIG_INTS);
    *count = entry->value.count;
    return entry->value.integers;
}

const double *sv_config_reals(const sv_config *config, const char *key, size_t *count)
{
    const sv_config_entry *entry = entry_of(config, key, SV_CONFIG_REALS);
    *count = entry->value.count;
    return entry->value.reals;
}

const char *sv_config_where(const sv_config *config, const char *key)
{
    const sv_config_entry *entry = sv_config_entry_find(config, key);
    return entry && entry->where ? entry->where : "default";
}

bool sv_config_given(const sv_config *config, const char *key)
{
    const sv_config_entry *entry = sv_config_entry_find(config, key);
    return entry && entry->where;
}
