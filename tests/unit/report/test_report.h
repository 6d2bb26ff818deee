/* What the tests of report/ share: a reader of markup that accepts what a browser must understand without guessing, and nothing else. */
#ifndef SIEVE_TESTS_REPORT_H
#define SIEVE_TESTS_REPORT_H

#include "tests/unit/base/test_base.h"

#include "report/report.h"

#include <ctype.h>
#include <math.h>

enum { ELEMENTS_DEEP = 64, NAME_LETTERS = 32 };

static inline size_t times_in(const char *text, const char *part)
{
    size_t count = 0;
    for (; (text = strstr(text, part)); text++) count++;
    return count;
}

static inline void assert_part(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("'%s' is not in: %.3000s", part, text);
}

/* At '&' of a reference: one of those that the writers use. */
static inline void assert_reference(const char *at)
{
    static const char *const known[] = { "&amp;", "&lt;", "&gt;", "&quot;", "&darr;", "&rarr;", "&nbsp;" };
    for (size_t i = 0; i < SV_COUNT(known); i++)
        if (strncmp(at, known[i], strlen(known[i])) == 0) return;
    fail_msg("a bare '&' before: %.60s", at);
}

/* Behind '<' of a tag: its name, attributes in double quotes; returns behind '>'. */
static inline const char *read_tag(const char *at, char name[NAME_LETTERS], bool *closed)
{
    size_t letters = 0;
    const char *begin = at;
    while (isalnum((unsigned char)*at) && letters < NAME_LETTERS - 1) name[letters++] = *at++;
    name[letters] = 0;
    if (!letters) fail_msg("a bare '<' before: %.60s", begin);
    while (*at == ' ') {
        at++;
        while (isalnum((unsigned char)*at) || *at == '-') at++;
        if (at[0] != '=' || at[1] != '"') fail_msg("an attribute without a value in double quotes: %.120s", begin);
        for (at += 2; *at != '"'; at++) {
            if (!*at || *at == '<') fail_msg("an attribute that does not end: %.120s", begin);
            if (*at == '&') assert_reference(at);
        }
        at++;
    }
    *closed = *at == '/';
    at += *closed;
    if (*at != '>') fail_msg("a tag that does not end: %.120s", begin);
    return at + 1;
}

/* Each element closed in its order, each '&' and '<' with a meaning, no control character. */
static inline void assert_well_formed(const char *text)
{
    static const char *const empty[] = { "meta", "br", "img" };
    static const char doctype[] = "<!DOCTYPE html>";
    char open[ELEMENTS_DEEP][NAME_LETTERS], name[NAME_LETTERS];
    size_t depth = 0;
    if (strncmp(text, doctype, strlen(doctype)) == 0) text += strlen(doctype);
    while (*text) {
        bool closed = false;
        if (*text == '&') assert_reference(text);
        if (*text == '>') fail_msg("a bare '>' before: %.60s", text);
        if ((unsigned char)*text < ' ' && *text != '\n') fail_msg("the control character %d", *text);
        if (*text != '<') {
            text++;
            continue;
        }
        if (text[1] == '/') {
            text = read_tag(text + 2, name, &closed);
            if (!depth || strcmp(open[depth - 1], name))
                fail_msg("</%s> closes '%s' before: %.60s", name, depth ? open[depth - 1] : "", text);
            depth--;
            continue;
        }
        text = read_tag(text + 1, name, &closed);
        for (size_t i = 0; i < SV_COUNT(empty); i++) closed = closed || strcmp(name, empty[i]) == 0;
        if (!closed) {
            assert_true(depth < ELEMENTS_DEEP);
            strcpy(open[depth++], name);
        }
    }
    if (depth) fail_msg("<%s> is never closed", open[depth - 1]);
}

#endif
