/* The report page: one HTML file without anything from outside (no script, no font, no picture by address), so that it can be
 * mailed and kept. From top to bottom: name and verdict, the figures that matter as tiles, dense beside pruned, keep ratios against
 * targets, tokens a picture, charts, token overlays, confusion, worst classes, calibration, machine, config. A part without figures is left out. */
#include "report/markup.h"
#include "report/page_measures.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CLASSES_AS_GRID = 24, PAIRS_SHOWN = 15 };

static const char page_style[] =
    ":root{--ground:#f4f6f9;--card:#fff;--ink:#1c2430;--soft:#5d6b7e;--edge:#e3e8ef;--good:#00734f;--good-ground:#dcf5ea;--bad:#b3261e;--bad-ground:#fde8e6;"
    "--calm:#24527a;--calm-ground:#e2eefa;--bar:#0067b8;color-scheme:light dark}"
    "@media (prefers-color-scheme:dark){:root{--ground:#10151c;--card:#19212b;--ink:#e8edf4;--soft:#9aa8bb;--edge:#2c3644;--good:#57d9a9;--good-ground:#12382b;"
    "--bad:#ff9d94;--bad-ground:#471c19;--calm:#9fd1ff;--calm-ground:#17324b;--bar:#5cb3ff}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}"
    "main{max-width:1120px;margin:0 auto;padding:20px 14px 48px}h1{font-size:26px;line-height:1.25;margin:0;overflow-wrap:anywhere}"
    "h2{font-size:17px;margin:28px 0 10px}.sub{color:var(--soft);margin:2px 0 14px}.card{background:var(--card);border:1px solid var(--edge);border-radius:10px}"
    ".verdict{display:inline-block;border-radius:8px;padding:8px 14px;font-weight:600;margin:0 0 14px}.good{background:var(--good-ground);color:var(--good)}"
    ".bad{background:var(--bad-ground);color:var(--bad)}.calm{background:var(--calm-ground);color:var(--calm)}"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px}.tile{padding:12px 14px}.tile b{display:block;font-size:25px;line-height:1.2;"
    "font-variant-numeric:tabular-nums}.tile span{color:var(--soft);font-size:13px}.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;"
    "font-variant-numeric:tabular-nums}th,td{padding:7px 14px;text-align:right;border-bottom:1px solid var(--edge);white-space:nowrap}"
    "tr:last-child td{border-bottom:0}th{color:var(--soft);font-weight:500;font-size:13px}th:first-child,td:first-child{text-align:left}"
    ".bar{position:relative;display:block;height:12px;min-width:140px;border-radius:6px;background:var(--edge)}.bar i{position:absolute;left:0;top:0;bottom:0;"
    "border-radius:6px;background:var(--bar)}.bar u{position:absolute;top:-3px;bottom:-3px;width:3px;margin-left:-1px;border-radius:2px;background:var(--ink)}"
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:12px}.charts .card{padding:8px 4px 2px}.charts svg{display:block;width:100%}"
    "figure{margin:0 0 12px;padding:10px}figure img{display:block;max-width:100%;height:auto;border-radius:4px;background:#fff}"
    "figcaption{color:var(--soft);font-size:13px;margin-top:6px;overflow-wrap:anywhere}.heat td,.heat th{padding:4px 7px;text-align:center;border:0;font-size:12px}"
    ".heat th:first-child{text-align:right}"
    ".heat td{border-radius:4px}details{padding:10px 14px}summary{cursor:pointer;font-weight:600}pre{overflow-x:auto;font:12.5px/1.45 ui-monospace,Menlo,Consolas,monospace;margin:10px 0 4px}"
    "footer{color:var(--soft);font-size:13px;margin-top:24px;overflow-wrap:anywhere}";

sv_report_model sv_report_unknown(void)
{
    return (sv_report_model){ NAN, NAN, NAN, NAN, NAN, NAN, NAN };
}

sv_report sv_report_empty(void)
{
    return (sv_report){ .title = "", .subtitle = "", .budget_ms = NAN, .predicted_ms = NAN, .top1_ema = NAN, .dense = sv_report_unknown(), .pruned = sv_report_unknown() };
}

/* ---- pieces ---- */

/* value times factor with its unit: "12.3 ms"; "-" where it is not known. */
static const char *measure(char room[48], double value, double factor, const char *unit)
{
    char number[32];
    if (!isfinite(value)) return strcpy(room, "-");
    snprintf(room, 48, "%s%s%s", sv_markup_number(number, value * factor), *unit ? " " : "", unit);
    return room;
}

static const char *percent(char room[48], double share)
{
    if (!isfinite(share)) return strcpy(room, "-");
    snprintf(room, 48, "%.2f %%", 100 * share);
    return room;
}

static void tile(sv_text *text, const char *value, const char *name)
{
    sv_text_add(text, "<div class=\"card tile\"><b>");
    sv_markup_text(text, value);
    sv_text_add(text, "</b><span>");
    sv_markup_text(text, name);
    sv_text_add(text, "</span></div>");
}

static void cell(sv_text *text, const char *element, const char *value)
{
    sv_text_add(text, "<%s>", element);
    sv_markup_text(text, value);
    sv_text_add(text, "</%s>", element);
}

static const sv_report_model *final_model(const sv_report *report)
{
    return isfinite(report->pruned.top1) || isfinite(report->pruned.ms_median) ? &report->pruned : &report->dense;
}

/* ---- parts ---- */

static void print_verdict(const sv_report *report, sv_text *text)
{
    char budget[48], measured[48], spare[48];
    double ms = final_model(report)->ms_median;
    measure(budget, report->budget_ms, 1, "ms");
    measure(measured, ms, 1, "ms");
    percent(spare, fabs(1 - ms / report->budget_ms));
    switch (report->verdict) {
    case SV_VERDICT_MET: sv_text_add(text, "<p class=\"verdict good\">Budget met: %s measured of %s, %s to spare</p>", measured, budget, spare); break;
    case SV_VERDICT_MISSED: sv_text_add(text, "<p class=\"verdict bad\">Budget not met: %s measured, %s allowed, %s too much</p>", measured, budget, spare); break;
    case SV_VERDICT_RUNNING: sv_text_add(text, "<p class=\"verdict calm\">Training goes on; figures so far</p>"); break;
    case SV_VERDICT_NONE: break;
    }
}

static void print_tiles(const sv_report *report, sv_text *text)
{
    char room[48], label[96], other[48];
    const sv_report_model *dense = &report->dense, *model = final_model(report);
    bool both = model == &report->pruned;
    sv_text_add(text, "<div class=\"tiles\">");
    if (isfinite(model->top1)) {
        if (both && isfinite(dense->top1)) snprintf(label, sizeof label, "top-1, dense %s", percent(other, dense->top1));
        else snprintf(label, sizeof label, "top-1");
        tile(text, percent(room, model->top1), label);
    }
    if (isfinite(model->ms_median)) {
        if (isfinite(report->budget_ms)) snprintf(label, sizeof label, "median a picture, budget %s", measure(other, report->budget_ms, 1, "ms"));
        else snprintf(label, sizeof label, "median a picture");
        tile(text, measure(room, model->ms_median, 1, "ms"), label);
    }
    if (both && isfinite(model->ms_median) && isfinite(dense->ms_median)) {
        snprintf(label, sizeof label, "faster than dense (%s)", measure(other, dense->ms_median, 1, "ms"));
        tile(text, measure(room, dense->ms_median / model->ms_median, 1, "times"), label);
    }
    if (both && isfinite(model->macs) && isfinite(dense->macs)) {
        snprintf(label, sizeof label, "of the dense multiply-adds");
        snprintf(room, sizeof room, "%.1f %%", 100 * model->macs / dense->macs);
        tile(text, room, label);
    }
    for (size_t i = 0; i < report->fact_count; i++) tile(text, report->facts[i].value, report->facts[i].name);
    sv_text_add(text, "</div>");
}

typedef struct figure_row { const char *name; size_t offset; double factor; const char *unit; } figure_row;
static const figure_row figure_rows[] = {
    { "Top-1", offsetof(sv_report_model, top1), 0, "%" },
    { "Top-5", offsetof(sv_report_model, top5), 0, "%" },
    { "Median of one picture", offsetof(sv_report_model, ms_median), 1, "ms" },
    { "95th percentile", offsetof(sv_report_model, ms_p95), 1, "ms" },
    { "Multiply-adds a picture", offsetof(sv_report_model, macs), 1, "" },
    { "Parameters", offsetof(sv_report_model, parameters), 1, "" },
    { "Pictures a second", offsetof(sv_report_model, images_per_s), 1, "" },
};

static double figure_of(const sv_report_model *model, const figure_row *row)
{
    return *(const double *)(const void *)((const char *)model + row->offset);
}

static void model_cell(sv_text *text, const sv_report_model *model, const figure_row *row)
{
    char room[48];
    double value = figure_of(model, row);
    cell(text, "td", row->factor == 0 ? percent(room, value) : measure(room, value, row->factor, row->unit));
}

static void budget_row(sv_text *text, const char *name, double ms)
{
    char room[48];
    if (!isfinite(ms)) return;
    sv_text_add(text, "<tr><td>%s</td><td></td>", name);
    cell(text, "td", measure(room, ms, 1, "ms"));
    sv_text_add(text, "</tr>");
}

static void print_figures(const sv_report *report, sv_text *text)
{
    char room[48];
    bool any = isfinite(report->budget_ms) || isfinite(report->predicted_ms) || isfinite(report->top1_ema);
    for (size_t i = 0; i < SV_COUNT(figure_rows); i++)
        any = any || isfinite(figure_of(&report->dense, &figure_rows[i])) || isfinite(figure_of(&report->pruned, &figure_rows[i]));
    if (!any) return;
    sv_text_add(text, "<h2>Key figures</h2><div class=\"card scroll\"><table><tr><th></th><th>Dense</th><th>Pruned</th></tr>");
    for (size_t i = 0; i < SV_COUNT(figure_rows); i++) {
        const figure_row *row = &figure_rows[i];
        if (!isfinite(figure_of(&report->dense, row)) && !isfinite(figure_of(&report->pruned, row))) continue;
        sv_text_add(text, "<tr><td>%s</td>", row->name);
        model_cell(text, &report->dense, row);
        model_cell(text, &report->pruned, row);
        sv_text_add(text, "</tr>");
        if (i == 0 && isfinite(report->top1_ema)) sv_text_add(text, "<tr><td>Top-1 of the average (EMA)</td><td></td><td>%s</td></tr>", percent(room, report->top1_ema));
    }
    budget_row(text, "Predicted from the table", report->predicted_ms);
    budget_row(text, "Budget", report->budget_ms);
    sv_text_add(text, "</table></div>");
}

static double clamp_share(double share)
{
    return share < 0 ? 0 : share > 1 ? 1 : share;
}

static void print_stages(const sv_report *report, sv_text *text)
{
    char target[48], reached[48], tokens[32];
    if (!report->stage_count) return;
    sv_text_add(text, "<h2>Tokens kept</h2><div class=\"card scroll\"><table><tr><th>Selector before block</th><th>Target</th><th>Reached</th><th>Tokens</th>"
                      "<th></th></tr>");
    for (size_t i = 0; i < report->stage_count; i++) {
        const sv_report_stage *stage = &report->stages[i];
        sv_text_add(text, "<tr><td>%zu</td><td>%s</td><td>%s</td><td>%s</td><td><span class=\"bar\">", stage->before_block, percent(target, stage->target),
                    percent(reached, stage->reached), sv_markup_number(tokens, stage->tokens));
        if (isfinite(stage->reached)) sv_text_add(text, "<i style=\"width:%.1f%%\"></i>", 100 * clamp_share(stage->reached));
        if (isfinite(stage->target)) sv_text_add(text, "<u style=\"left:%.1f%%\"></u>", 100 * clamp_share(stage->target));
        sv_text_add(text, "</span></td></tr>");
    }
    sv_text_add(text, "</table></div>");
}

static void print_rounds(const sv_report *report, sv_text *text)
{
    char room[48];
    if (!report->round_count || !isfinite(report->rounds[0].budget_ms)) return;
    sv_text_add(text, "<h2>Rounds to the budget</h2><div class=\"card scroll\"><table><tr><th>After epoch</th><th>Budget</th><th>Predicted</th><th>Measured</th><th>p95</th>"
                      "<th>Dense</th><th>Top-1</th><th></th></tr>");
    for (size_t i = 0; i < report->round_count; i++) {
        const sv_report_round *round = &report->rounds[i];
        const double ms[] = { round->budget_ms, round->predicted_ms, round->measured_ms, round->p95_ms, round->dense_ms };
        sv_text_add(text, "<tr><td>%.0f</td>", round->epoch);
        for (size_t k = 0; k < SV_COUNT(ms); k++) cell(text, "td", measure(room, ms[k], 1, "ms"));
        cell(text, "td", percent(room, round->top1));
        cell(text, "td", !isfinite(round->measured_ms) ? "" : round->measured_ms <= round->budget_ms ? "met" : "over");
        sv_text_add(text, "</tr>");
    }
    sv_text_add(text, "</table></div>");
}

static void print_charts(const sv_report *report, sv_text *text)
{
    if (!report->chart_count) return;
    sv_text_add(text, "<h2>Curves</h2><div class=\"charts\">");
    for (size_t i = 0; i < report->chart_count; i++) {
        sv_text_add(text, "<div class=\"card\">");
        sv_chart_print(&report->charts[i], text);
        sv_text_add(text, "</div>");
    }
    sv_text_add(text, "</div>");
}

static void print_pictures(const sv_report *report, sv_text *text)
{
    if (!report->picture_count) return;
    sv_text_add(text, "<h2>Which tokens stay</h2><p class=\"sub\">Left the picture, then what is left of it after each selector.</p>");
    sv_text_add(text, "<div class=\"charts\">");
    for (size_t i = 0; i < report->picture_count; i++) {
        const sv_report_picture *picture = &report->pictures[i];
        sv_text_add(text, "<figure class=\"card\"><img alt=\"");
        sv_markup_text(text, picture->caption);
        sv_text_add(text, "\" src=\"data:image/png;base64,");
        sv_markup_base64(text, picture->png, picture->bytes);
        sv_text_add(text, "\"><figcaption>");
        sv_markup_text(text, picture->caption);
        sv_text_add(text, "</figcaption></figure>");
    }
    sv_text_add(text, "</div>");
}

/* ---- confusion ---- */

static uint64_t row_sum(const sv_report_confusion *of, size_t truth)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < of->classes; i++) sum += of->counts[truth * of->classes + i];
    return sum;
}

static void print_grid(const sv_report_confusion *of, sv_text *text)
{
    sv_text_add(text, "<div class=\"card scroll\"><table class=\"heat\"><tr><th>is &darr; &nbsp; taken for &rarr;</th>");
    for (size_t i = 0; i < of->classes; i++) cell(text, "th", of->names[i]);
    sv_text_add(text, "</tr>");
    for (size_t truth = 0; truth < of->classes; truth++) {
        double sum = fmax(1, (double)row_sum(of, truth));
        sv_text_add(text, "<tr>");
        cell(text, "th", of->names[truth]);
        for (size_t guess = 0; guess < of->classes; guess++) {
            uint64_t count = of->counts[truth * of->classes + guess];
            const char *color = truth == guess ? "--good" : "--bad";
            sv_text_add(text, "<td style=\"background:color-mix(in srgb,var(%s) %.0f%%,transparent)\">", color, count ? 8 + 62 * (double)count / sum : 0.0);
            if (count) sv_text_add(text, "%ju", (uintmax_t)count);
            sv_text_add(text, "</td>");
        }
        sv_text_add(text, "</tr>");
    }
    sv_text_add(text, "</table></div>");
}

/* The pair with the most confusions behind the pair (most, at) in that order; false where there is none left. */
static bool next_pair(const sv_report_confusion *of, uint64_t most, size_t at, size_t *found)
{
    uint64_t best = 0;
    for (size_t i = 0; i < of->classes * of->classes; i++) {
        uint64_t count = of->counts[i];
        if (i / of->classes == i % of->classes || count > most || (count == most && i <= at)) continue;
        if (count > best) {
            best = count;
            *found = i;
        }
    }
    return best > 0;
}

static void print_pairs(const sv_report_confusion *of, sv_text *text)
{
    uint64_t most = UINT64_MAX;
    size_t at = 0;
    sv_text_add(text, "<div class=\"card scroll\"><table><tr><th>Is</th><th>Taken for</th><th>Pictures</th><th>Of its class</th></tr>");
    for (size_t shown = 0; shown < PAIRS_SHOWN && next_pair(of, most, at, &at); shown++) {
        char share[48];
        most = of->counts[at];
        sv_text_add(text, "<tr>");
        cell(text, "td", of->names[at / of->classes]);
        cell(text, "td", of->names[at % of->classes]);
        sv_text_add(text, "<td>%ju</td><td>%s</td></tr>", (uintmax_t)most, percent(share, (double)most / (double)row_sum(of, at / of->classes)));
    }
    sv_text_add(text, "</table></div>");
}

static void print_confusion(const sv_report *report, sv_text *text)
{
    const sv_report_confusion *of = report->confusion;
    if (!of || !of->classes) return;
    sv_text_add(text, "<h2>Confusion</h2>");
    if (of->classes <= CLASSES_AS_GRID) print_grid(of, text);
    else print_pairs(of, text);
}

/* ---- the end of the page ---- */

static void print_config(const sv_report *report, sv_text *text)
{
    if (!report->config || !*report->config) return;
    sv_text_add(text, "<h2>Configuration</h2><details class=\"card\"><summary>Resolved config</summary><pre>");
    char line[2048];
    for (const char *at = report->config; *at;) {
        size_t length = strcspn(at, "\n"), shown = length < sizeof line - 1 ? length : sizeof line - 1, parted = shown;
        while (shown < length && parted > shown - 3 && ((unsigned char)at[parted] & 0xc0) == 0x80) parted--; /* not inside a character */
        if (((unsigned char)at[parted] & 0xc0) != 0x80) shown = parted;
        memcpy(line, at, shown);
        line[shown] = 0;
        sv_markup_text(text, line);
        at += shown;
        if (shown == length) sv_text_add(text, "\n");
        if (shown == length && *at) at++;
    }
    sv_text_add(text, "</pre></details>");
}

static void print_footer(const sv_report *report, sv_text *text)
{
    sv_text_add(text, "<footer>");
    sv_markup_text(text, report->machine);
    if (report->machine && report->tool) sv_text_add(text, "<br>");
    sv_markup_text(text, report->tool);
    if (report->tool && report->date) sv_text_add(text, ", ");
    sv_markup_text(text, report->date);
    sv_text_add(text, "</footer>");
}

sv_status sv_report_print(const sv_report *report, sv_text *text, sv_error *err)
{
    sv_text_add(text, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>");
    sv_markup_text(text, report->title);
    sv_text_add(text, "</title><style>%s%s%s</style></head>\n<body><main><h1>", page_style, sv_page_measures_style, sv_chart_style);
    sv_markup_text(text, report->title);
    sv_text_add(text, "</h1><p class=\"sub\">");
    sv_markup_text(text, report->subtitle);
    sv_text_add(text, "</p>");
    print_verdict(report, text);
    print_tiles(report, text);
    print_figures(report, text);
    print_rounds(report, text);
    print_stages(report, text);
    sv_page_tokens(report, text);
    print_charts(report, text);
    print_pictures(report, text);
    print_confusion(report, text);
    sv_page_classes(report, text);
    sv_page_calibration(report, text);
    print_config(report, text);
    print_footer(report, text);
    sv_text_add(text, "</main></body></html>\n");
    return sv_text_check(text, err);
}

sv_status sv_report_write(const sv_report *report, const char *path, sv_error *err)
{
    sv_text text = { 0 };
    sv_status status = sv_report_print(report, &text, err);
    if (!status) status = sv_file_write_atomic(path, text.data, text.length, err);
    sv_text_clear(&text);
    return status;
}
