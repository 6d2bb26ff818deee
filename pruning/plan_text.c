/* A pruning plan as text, lines "key value...", for the metadata of checkpoints and exports. Read strictly: every key once, a line a
 * selector, places that rise. */
#include "pruning/inside.h"

#include <stdio.h>
#include <string.h>

enum { WORDS_MOST = 4, WORD_ROOM = 64, COUNT_MOST = 1 << 20 };

/* A choice's words stand in the order of its values; those of the method are the table's. */
typedef struct plan_key {
    const char *name;
    const char *words[5];
} plan_key;
typedef enum key_index { METHOD, STAGES, RULE, PACKAGE, EMPTY, MIN_KEEP, KEYS } key_index;
static const plan_key keys[KEYS] = {
    [METHOD] = { "method", { "none" } },
    [STAGES] = { "stages", { NULL } },
    [RULE] = { "rule", { "threshold", "topk", "argmax", "gumbel" } },
    [PACKAGE] = { "package", { "wavg", "sum", "mean", "none" } },
    [EMPTY] = { "empty", { "mask", "keep_zero" } },
    [MIN_KEEP] = { "min_keep", { NULL } },
};

/* Word i of a choice, NULL behind the last. The first method's value is 1. */
static const char *word_of(const plan_key *key, int64_t i)
{
    if (key != &keys[METHOD] || !i) return key->words[i];
    return i <= SV_METHODS ? sv_method_name((sv_method)(i - 1)) : NULL;
}

void sv_plan_print(const sv_pruning_plan *plan, sv_text *text)
{
    sv_text_add(text, "method %s\nstages %zu\n", word_of(&keys[METHOD], plan->stages ? 1 + (int64_t)plan->method : 0), plan->stages);
    sv_text_add(text, "rule %s\npackage %s\nempty %s\n", keys[RULE].words[plan->rule], keys[PACKAGE].words[plan->package],
                keys[EMPTY].words[plan->empty]);
    sv_text_add(text, "min_keep %zu\n", plan->min_keep);
    for (size_t t = 0; t < plan->stages; t++)
        sv_text_add(text, "stage %zu %.17g %zu %.17g\n", plan->at[t], plan->keep[t], plan->count[t], plan->threshold[t]);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

typedef struct parsed {
    sv_pruning_plan plan;
    int64_t values[KEYS];
    bool seen[KEYS];
    size_t lines; /* of selectors */
} parsed;

static bool parse_count(const char *word, int64_t *out) { return sv_parse_int(word, out) && *out >= 0 && *out <= COUNT_MOST; }

/* The words of a line, parted by single spaces; 0 where there are too many, too long or empty ones. */
static size_t split(const char *line, char words[WORDS_MOST + 1][WORD_ROOM])
{
    for (size_t count = 0; count <= WORDS_MOST; count++) {
        size_t length = strcspn(line, " ");
        if (!length || length >= WORD_ROOM) return 0;
        memcpy(words[count], line, length);
        words[count][length] = 0;
        if (!line[length]) return count + 1;
        line += length + 1;
    }
    return 0;
}

/* "stage AT KEEP COUNT THRESHOLD". */
static bool parse_stage(parsed *p, char words[WORDS_MOST + 1][WORD_ROOM])
{
    sv_pruning_plan *plan = &p->plan;
    size_t t = p->lines++;
    int64_t at = 0, count = 0;
    if (t >= SV_MOST_STAGES || !parse_count(words[1], &at) || !parse_count(words[3], &count)) return false;
    if (!sv_parse_real(words[2], &plan->keep[t]) || !sv_parse_real(words[4], &plan->threshold[t])) return false;
    plan->at[t] = (size_t)at;
    plan->count[t] = (size_t)count;
    return (!t || plan->at[t] > plan->at[t - 1]) && plan->keep[t] >= 0 && plan->keep[t] <= 1;
}

static bool parse_line(parsed *p, const char *line)
{
    char words[WORDS_MOST + 1][WORD_ROOM];
    size_t count = split(line, words);
    if (count == WORDS_MOST + 1 && strcmp(words[0], "stage") == 0) return parse_stage(p, words);
    const plan_key *key = count == 2 ? SV_KIND_FIND(keys, words[0]) : NULL;
    if (!key || p->seen[key - keys]) return false;
    p->seen[key - keys] = true;
    if (!key->words[0]) return parse_count(words[1], &p->values[key - keys]);
    for (int64_t i = 0; word_of(key, i); i++)
        if (strcmp(word_of(key, i), words[1]) == 0) {
            p->values[key - keys] = i;
            return true;
        }
    return false;
}

static sv_status parse_lines(parsed *p, const char *text, const char *path, sv_error *err)
{
    for (size_t number = 1; *text; number++) {
        char line[512], shown[96];
        size_t length = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(length < sizeof line ? length : sizeof line - 1), text);
        if (length >= sizeof line || !parse_line(p, line))
            return sv_fail(err, SV_MODEL_FILE,
                           "%s: line %zu of the pruning plan, '%s', is not understood: expected a known key, for the first time, and its "
                           "value; the file is damaged or of another version",
                           path, number, sv_text_safe(shown, sizeof shown, line));
        text += length + (text[length] == '\n');
    }
    for (size_t k = 0; k < KEYS; k++)
        if (!p->seen[k])
            return sv_fail(err, SV_MODEL_FILE, "%s: the pruning plan has no '%s'; the file is damaged or of another version", path, keys[k].name);
    return SV_OK;
}

sv_status sv_plan_parse(sv_pruning_plan *plan, const char *text, const char *path, sv_error *err)
{
    parsed p = { .lines = 0 };
    sv_status status = parse_lines(&p, text, path, err);
    const int64_t *v = p.values;
    if (status) return status;
    if (v[STAGES] != (int64_t)p.lines || (v[METHOD] != 0) != (p.lines > 0))
        return sv_fail(err, SV_MODEL_FILE, "%s: the pruning plan speaks of method %s with %lld selectors and lists %zu; the file is damaged", path,
                       word_of(&keys[METHOD], v[METHOD]), (long long)v[STAGES], p.lines);
    p.plan.stages = p.lines;
    p.plan.rule = (sv_decision_rule)v[RULE];
    p.plan.package = (sv_package_choice)v[PACKAGE];
    p.plan.empty = (sv_package_empty)v[EMPTY];
    p.plan.min_keep = (size_t)v[MIN_KEEP];
    p.plan.method = v[METHOD] ? (sv_method)(v[METHOD] - 1) : SV_METHOD_SPVIT;
    if (!sv_pruning_method_of(p.plan.method)->packs && p.plan.package != SV_CHOICE_NONE)
        return sv_fail(err, SV_MODEL_FILE, "%s: the pruning plan speaks of method %s with package tokens, which it does not have; the file is damaged", path,
                       sv_method_name(p.plan.method));
    *plan = p.plan;
    return SV_OK;
}
