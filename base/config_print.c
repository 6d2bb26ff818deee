/* A config and its schema as text: the resolved INI of a run, the reference in Markdown, help for a terminal. All three walk
 * the rows in their order; a new section begins where the part of the name before the dot changes. */
#include "base/config_entry.h"

#include <stdio.h>
#include <string.h>

/* Whether `row` opens a section after `before` (NULL: the first row). */
static bool opens_section(const sv_config_row *row, const sv_config_row *before)
{
    size_t length = sv_config_section_length(row->name);
    return !before || sv_config_section_length(before->name) != length || memcmp(before->name, row->name, length) != 0;
}

static const char *key_of(const sv_config_row *row)
{
    const char *dot = strchr(row->name, '.');
    return dot ? dot + 1 : row->name;
}

/* Quotes where the reader would take a plain value for something else. */
static void add_value(sv_text *text, const char *value)
{
    size_t length = strlen(value);
    bool edge = length && (strchr(" \t", value[0]) || strchr(" \t", value[length - 1]));
    if (!edge && !strpbrk(value, "#;\"") && !strstr(value, "${")) {
        sv_text_add(text, "%s", value);
        return;
    }
    sv_text_add(text, "\"");
    for (const char *c = value; *c; c++) sv_text_add(text, "%s%c", strchr("\"\\$", *c) ? "\\" : "", *c);
    sv_text_add(text, "\"");
}

/* Sections stand together even where the rows of one come from several groups: each is written at its first row. */
static void print_section(const sv_config *config, size_t first, sv_text *text)
{
    const sv_config_row *head = config->entries[first].row;
    size_t length = sv_config_section_length(head->name);
    for (size_t i = 0; i < first; i++)
        if (!opens_section(config->entries[i].row, head)) return;
    sv_text_add(text, "%s[%.*s]\n", text->length ? "\n" : "", (int)length, head->name);
    for (size_t i = first; i < config->count; i++) {
        const sv_config_entry *entry = &config->entries[i];
        if (opens_section(entry->row, head)) continue;
        sv_text_add(text, "%s = ", key_of(entry->row));
        add_value(text, entry->value.text);
        sv_text_add(text, "\n");
    }
}

sv_status sv_config_print(const sv_config *config, sv_text *text, sv_error *err)
{
    for (size_t i = 0; i < config->count; i++)
        if (opens_section(config->entries[i].row, i ? config->entries[i - 1].row : NULL)) print_section(config, i, text);
    return sv_text_check(text, err);
}

static void add_escaped(sv_text *text, const char *words)
{
    for (; *words; words++) sv_text_add(text, "%s%c", *words == '|' ? "\\" : "", *words);
}

void sv_config_print_markdown(const sv_config_group *groups, size_t group_count, sv_text *text)
{
    const sv_config_row *before = NULL;
    for (size_t g = 0; g < group_count; g++)
        for (size_t i = 0; i < groups[g].count; i++) {
            const sv_config_row *row = &groups[g].rows[i];
            if (opens_section(row, before)) {
                sv_text_add(text, "%s## [%.*s]\n\n", before ? "\n" : "", (int)sv_config_section_length(row->name), row->name);
                sv_text_add(text, "| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
            }
            sv_text_add(text, "| `%s` | ", row->name);
            sv_config_expect(row, text);
            sv_text_add(text, " | %s%s%s | ", row->value[0] ? "`" : "", row->value, row->value[0] ? "`" : "");
            add_escaped(text, row->help);
            sv_text_add(text, " |\n");
            before = row;
        }
}

void sv_config_print_help(const sv_config_group *groups, size_t group_count, sv_text *text)
{
    const sv_config_row *before = NULL;
    for (size_t g = 0; g < group_count; g++)
        for (size_t i = 0; i < groups[g].count; i++) {
            const sv_config_row *row = &groups[g].rows[i];
            if (opens_section(row, before))
                sv_text_add(text, "%s[%.*s]\n", before ? "\n" : "", (int)sv_config_section_length(row->name), row->name);
            sv_text_add(text, "  --%s=%s\n      %s; ", row->name, row->value, row->help);
            sv_config_expect(row, text);
            sv_text_add(text, "\n");
            before = row;
        }
}
