/* A pruning plan as text, lines "key value...", for the metadata of checkpoints and exports. */
#include "pruning/pruning.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const rule_names[] = { [SV_RULE_THRESHOLD] = "threshold", [SV_RULE_TOPK] = "topk", [SV_RULE_ARGMAX] = "argmax", [SV_RULE_GUMBEL] = "gumbel" };
static const char *const package_names[] = { [SV_CHOICE_WAVG] = "wavg", [SV_CHOICE_SUM] = "sum", [SV_CHOICE_MEAN] = "mean", [SV_CHOICE_NONE] = "none" };
static const char *const empty_names[] = { [SV_EMPTY_MASK] = "mask", [SV_EMPTY_KEEP_ZERO] = "keep_zero" };

void sv_plan_print(const sv_pruning_plan *plan, sv_text *text)
{
    sv_text_add(text, "method %s\n", plan->stages ? "spvit" : "none");
    sv_text_add(text, "stages %zu\n", plan->stages);
    sv_text_add(text, "rule %s\npackage %s\nempty %s\nmin_keep %zu\n", rule_names[plan->rule], package_names[plan->package], empty_names[plan->empty], plan->min_keep);
    for (size_t t = 0; t < plan->stages; t++)
        sv_text_add(text, "stage %zu %.17g %zu %.17g\n", plan->at[t], plan->keep[t], plan->count[t], plan->threshold[t]);
}

static bool name_index(const char *const *names, size_t count, const char *name, int *out)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) {
            *out = (int)i;
            return true;
        }
    return false;
}

/* "stage AT KEEP COUNT THRESHOLD". */
static bool parse_stage(sv_pruning_plan *plan, size_t t, const char *values)
{
    char at[32], keep[64], count[32], threshold[64];
    int64_t a = 0, c = 0;
    if (t >= SV_MOST_STAGES || sscanf(values, "%31s %63s %31s %63s", at, keep, count, threshold) != 4) return false;
    if (!sv_parse_int(at, &a) || !sv_parse_int(count, &c) || !sv_parse_real(keep, &plan->keep[t]) || !sv_parse_real(threshold, &plan->threshold[t])) return false;
    plan->at[t] = (size_t)a;
    plan->count[t] = (size_t)c;
    return a >= 0 && a < 1 << 20 && c >= 0 && c < 1 << 20 && (t == 0 || plan->at[t] > plan->at[t - 1]) && plan->keep[t] >= 0 && plan->keep[t] <= 1;
}

static bool parse_line(sv_pruning_plan *plan, char *line, size_t *stage)
{
    char *value = strchr(line, ' ');
    int64_t number = 0;
    int index = 0;
    if (!value) return false;
    *value++ = 0;
    if (strcmp(line, "method") == 0) return strcmp(value, "none") == 0 || strcmp(value, "spvit") == 0;
    if (strcmp(line, "stage") == 0) return parse_stage(plan, (*stage)++, value);
    if (strcmp(line, "rule") == 0) return name_index(rule_names, SV_COUNT(rule_names), value, &index) && (plan->rule = (sv_decision_rule)index, true);
    if (strcmp(line, "package") == 0) return name_index(package_names, SV_COUNT(package_names), value, &index) && (plan->package = (sv_package_choice)index, true);
    if (strcmp(line, "empty") == 0) return name_index(empty_names, SV_COUNT(empty_names), value, &index) && (plan->empty = (sv_package_empty)index, true);
    if (!sv_parse_int(value, &number) || number < 0 || number > 1 << 20) return false;
    if (strcmp(line, "stages") == 0) return (plan->stages = (size_t)number, number <= SV_MOST_STAGES);
    if (strcmp(line, "min_keep") == 0) return (plan->min_keep = (size_t)number, true);
    return false;
}

sv_status sv_plan_parse(sv_pruning_plan *plan, const char *text, const char *path, sv_error *err)
{
    sv_pruning_plan read = { 0 };
    size_t stage = 0;
    while (*text) {
        char line[512], shown[64];
        size_t length = strcspn(text, "\n");
        if (length >= sizeof line) return sv_fail(err, SV_MODEL_FILE, "%s: the pruning plan has a line of %zu bytes; the file is damaged", path, length);
        memcpy(line, text, length);
        line[length] = 0;
        if (!parse_line(&read, line, &stage))
            return sv_fail(err, SV_MODEL_FILE, "%s: '%s' in the pruning plan is not understood; the file is damaged or of a newer version", path, sv_text_safe(shown, sizeof shown, line));
        text += length + (text[length] == '\n');
    }
    if (stage != read.stages) return sv_fail(err, SV_MODEL_FILE, "%s: the pruning plan speaks of %zu selectors and lists %zu; the file is damaged", path, read.stages, stage);
    *plan = read;
    return SV_OK;
}
