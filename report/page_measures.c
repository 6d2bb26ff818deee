#include "report/page_measures.h"
#include "report/markup.h"

#include <math.h>

const char sv_page_measures_style[] =
    ".hists{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,260px),1fr));gap:12px}.hist{padding:10px 14px}.hist b{font-weight:600}"
    ".columns{display:flex;align-items:flex-end;gap:2px;height:90px;margin-top:8px;border-bottom:1px solid var(--edge)}"
    ".columns i{flex:1 1 0;min-width:0;background:var(--bar);border-radius:2px 2px 0 0}.ends{display:flex;justify-content:space-between;color:var(--soft);font-size:12px}";

static double share(uint64_t count, uint64_t of)
{
    return of ? (double)count / (double)of : 0;
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

static void print_histogram(const sv_report_tokens *tokens, size_t stage, sv_text *text)
{
    uint64_t most = 1;
    for (size_t b = 0; b < tokens->bars; b++)
        if (tokens->pictures[b] > most) most = tokens->pictures[b];
    sv_text_add(text, "<div class=\"card hist\"><b>Selector %zu</b><div class=\"columns\">", stage + 1);
    for (size_t b = 0; b < tokens->bars; b++) {
        const size_t from = b * tokens->step, last = from + tokens->step - 1 < tokens->patches ? from + tokens->step - 1 : tokens->patches;
        const double height = tokens->pictures[b] ? fmax(2, 100 * share(tokens->pictures[b], most)) : 0;
        sv_text_add(text, "<i style=\"height:%.1f%%\" title=\"%zu to %zu patches: %ju pictures\"></i>", height, from, last, (uintmax_t)tokens->pictures[b]);
    }
    sv_text_add(text, "</div><div class=\"ends\"><span>0</span><span>patches kept</span><span>%zu</span></div></div>", tokens->patches);
}

void sv_page_tokens(const sv_report *report, sv_text *text)
{
    if (!report->token_count) return;
    sv_text_add(text, "<h2>Tokens a picture</h2><p class=\"sub\">How many validation pictures keep so many patches behind each selector.</p><div class=\"hists\">");
    for (size_t t = 0; t < report->token_count; t++) print_histogram(&report->tokens[t], t, text);
    sv_text_add(text, "</div>");
}

/* ---- classes ----------------------------------------------------------------------------------------------------- */

void sv_page_classes(const sv_report *report, sv_text *text)
{
    if (!report->class_count) return;
    sv_text_add(text, "<h2>Worst classes</h2><div class=\"card scroll\"><table><tr><th>Class</th><th>Pictures</th><th>Top-1</th><th>Top-5</th><th>Most often taken for</th></tr>");
    for (size_t i = 0; i < report->class_count; i++) {
        const sv_report_class *row = &report->classes[i];
        sv_text_add(text, "<tr><td>");
        sv_markup_text(text, row->name);
        sv_text_add(text, "</td><td>%ju</td><td>%.2f %%</td><td>%.2f %%</td><td>", (uintmax_t)row->pictures, 100 * share(row->top1, row->pictures), 100 * share(row->top5, row->pictures));
        if (row->mistaken) {
            sv_markup_text(text, row->mistake);
            sv_text_add(text, " (%ju)", (uintmax_t)row->mistaken);
        }
        sv_text_add(text, "</td></tr>");
    }
    sv_text_add(text, "</table></div>");
}

/* ---- calibration ------------------------------------------------------------------------------------------------- */

void sv_page_calibration(const sv_report *report, sv_text *text)
{
    const sv_report_calibration *c = report->calibration;
    if (!c || !c->bins || !isfinite(c->error)) return;
    sv_text_add(text, "<h2>Are probabilities meant?</h2><p class=\"sub\">Expected calibration error %.2f %%, negative log likelihood %.4f. The bar is how often answers of a bin are right, "
                      "the mark the probability they were given.</p>", 100 * c->error, c->loss);
    sv_text_add(text, "<div class=\"card scroll\"><table><tr><th>Probability</th><th>Pictures</th><th>Said</th><th>Right</th><th></th></tr>");
    for (size_t b = 0; b < c->bins; b++) {
        if (!c->pictures[b]) continue;
        const double right = 100 * share(c->right[b], c->pictures[b]), said = 100 * c->said[b];
        sv_text_add(text, "<tr><td>%.2f to %.2f</td><td>%ju</td><td>%.1f %%</td><td>%.1f %%</td><td><span class=\"bar\"><i style=\"width:%.1f%%\"></i><u style=\"left:%.1f%%\"></u></span></td></tr>",
                    (double)b / (double)c->bins, (double)(b + 1) / (double)c->bins, (uintmax_t)c->pictures[b], said, right, right, said);
    }
    sv_text_add(text, "</table></div>");
}
