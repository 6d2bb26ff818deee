/* The budget as a person writes it, and the keys of a run's [latency] section. */
#include "latency/latency.h"

#include <math.h>
#include <string.h>

static const sv_config_row rows[] = {
    { "latency.budget", SV_CONFIG_TEXT, "", 0, 0, NULL, "what one picture may take: '12.5ms', or '70%' of the dense model; empty: no budget" },
    { "latency.table", SV_CONFIG_TEXT, "", 0, 0, NULL, "latency table of the target device; empty: this machine's, measured at first use and kept beside the run" },
    { "latency.batch", SV_CONFIG_INT, "1", 1, 65536, NULL, "pictures at a time that the budget is for" },
    { "latency.rule", SV_CONFIG_CHOICE, "linear", 0, 0, "linear|ceiling", "a token count between two measured ones: linear between them, or the time of the one above" },
    { "latency.keep_least", SV_CONFIG_REAL, "0.1", 0.01, 1, NULL, "the smallest ratio the solver may ask of one selector" },
    { "latency.loss", SV_CONFIG_CHOICE, "none", 0, 0, "none|penalty|lagrange", "the predicted ms of what is kept in training as a term of the loss, through the slope of the table: none (targets of ratios alone); penalty: pulls from above the budget; lagrange: as hard as it takes, by a multiplier" },
    { "latency.weight", SV_CONFIG_REAL, "20", 1e-6, 1e6, NULL, "weight of ((ms - budget) / budget)^2 in that term; with lagrange it also damps the multiplier below the budget" },
    { "latency.multiplier_rate", SV_CONFIG_REAL, "0.2", 0, 1e6, NULL, "lagrange: after each step the multiplier moves by this times (ms - budget) / budget, never below 0" },
    { "latency.reserve", SV_CONFIG_REAL, "0.02", 0, 0.5, NULL, "share of the budget that ratios are solved to stay below: two measurements of one model differ by a percent or two" },
    { "latency.rounds", SV_CONFIG_INT, "2", 0, 20, NULL, "times to tighten and fine-tune on where the measured time is above the budget" },
    { "latency.follow", SV_CONFIG_BOOL, "yes", 0, 0, NULL, "where an evaluated model kept other counts than asked for, so that by the table it takes over 1 % more or less, targets are solved anew" },
    { "latency.warm_up", SV_CONFIG_INT, "10", 0, 10000, NULL, "runs before timing begins, at each point" },
    { "latency.runs", SV_CONFIG_INT, "50", 3, 100000, NULL, "timed runs at each point" },
    { "latency.seconds", SV_CONFIG_REAL, "5", 0.01, 3600, NULL, "the most time for one point; it may end before latency.runs are done" },
    { "latency.tolerance", SV_CONFIG_REAL, "0.03", 0.001, 1, NULL, "medians of the same point may differ by this share; then it is measured again, and said" },
};
const sv_config_group sv_latency_config = SV_CONFIG_GROUP(rows);

sv_status sv_budget_parse(sv_budget *out, const char *text, const char *where, sv_error *err)
{
    char number[32], shown[64];
    double value;
    size_t length = strlen(text), unit = 0;
    while (length && text[length - 1] == ' ') length--;
    if (!length) {
        *out = (sv_budget){ SV_NO_BUDGET, 0 };
        return SV_OK;
    }
    bool share = text[length - 1] == '%', ms = length >= 2 && memcmp(text + length - 2, "ms", 2) == 0;
    if (share) unit = 1;
    if (ms) unit = 2;
    length -= unit;
    while (length && text[length - 1] == ' ') length--;
    bool fits = unit && length && length < sizeof number;
    if (fits) {
        memcpy(number, text, length);
        number[length] = 0;
    }
    if (!fits || !sv_parse_real(number, &value))
        return sv_fail(err, SV_USAGE, "%s: latency.budget = '%s' is not understood; expected ms as in '12.5ms', or a share of the dense model as in '70%%'", where,
                       sv_text_safe(shown, sizeof shown, text));
    if (!(value > 0) || (share && value > 100) || value > 1e9)
        return sv_fail(err, SV_USAGE, "%s: the budget %g%s is out of range; expected %s", where, value, share ? "%" : "ms",
                       share ? "a share above 0% and up to 100%" : "milliseconds above 0");
    *out = share ? (sv_budget){ SV_BUDGET_SHARE, value / 100 } : (sv_budget){ SV_BUDGET_MS, value };
    return SV_OK;
}

double sv_budget_ms(sv_budget budget, double dense_ms)
{
    if (budget.kind == SV_NO_BUDGET) return INFINITY;
    return budget.kind == SV_BUDGET_SHARE ? budget.value * dense_ms : budget.value;
}
