/* Line charts as SVG. A chart is 480 units wide: at the width of a phone its text is still 9 points high. From top to bottom: title,
 * legend (as many lines as it takes), plot, labels of the x axis. Ticks stand at 1, 2 or 5 times a power of ten. A series of
 * many points is cut into columns of the width of a point; of each, first, least, most and last are drawn. */
#include "report/markup.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double WIDTH = 480, LEFT = 46, RIGHT = 12, PLOT_HEIGHT = 200, TITLE_HEIGHT = 26, LEGEND_LINE = 18, BOTTOM = 38, LETTER = 6.3, MARGIN = 0.04;
enum { COLORS = 8, TICKS_MOST = 24, COLUMNS_MOST = 420, DOTS_MOST = 40 };

/* Colours that stay apart for colour-blind readers too (after Okabe and Ito 2008), lighter on dark ground. */
const char sv_chart_style[] =
    ".chart{--ink:#1c2430;--soft:#5d6b7e;--grid:#e3e8ef;--c0:#0067b8;--c1:#d1551a;--c2:#008566;--c3:#b4478c;--c4:#9a7b00;--c5:#3f8fd0;--c6:#6b54b8;--c7:#6d7681;"
    "font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;font-size:12px}"
    "@media (prefers-color-scheme:dark){.chart{--ink:#e8edf4;--soft:#9aa8bb;--grid:#2c3644;--c0:#5cb3ff;--c1:#ff9a63;--c2:#3fd0a8;--c3:#ec8fcb;--c4:#e6c34a;"
    "--c5:#9fd1ff;--c6:#b4a2ff;--c7:#a9b3bf}}"
    ".chart text{fill:var(--soft)}.chart .name{fill:var(--ink)}.chart .title{fill:var(--ink);font-size:14px;font-weight:600}"
    ".chart .grid{stroke:var(--grid);stroke-width:1}.chart .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}"
    ".chart .goal{fill:none;stroke-width:1.5;stroke-dasharray:5 4}.chart .faint{fill:none;stroke-width:1.2;opacity:.45}";

typedef struct chart_axis { double low, high; bool log; } chart_axis;
typedef struct chart_plot { const sv_chart *chart; sv_text *text; chart_axis x, y; double top; } chart_plot;

static double factor_of(const sv_chart *chart)
{
    return chart->y_factor != 0 ? chart->y_factor : 1;
}

static bool shown_y(const sv_chart *chart, double y)
{
    return isfinite(y) && (chart->scale != SV_SCALE_LOG || y >= DBL_MIN); /* below it powers of ten are 0, and ticks would never end */
}

static void widen(chart_axis *axis, double value)
{
    axis->low = fmin(axis->low, value);
    axis->high = fmax(axis->high, value);
}

/* Ranges of what is shown; false where nothing is. */
static bool find_ranges(chart_plot *plot)
{
    const sv_chart *chart = plot->chart;
    double factor = factor_of(chart);
    plot->x = plot->y = (chart_axis){ INFINITY, -INFINITY, false };
    for (size_t s = 0; s < chart->series_count; s++)
        for (size_t i = 0; i < chart->series[s].count; i++) {
            double x = chart->series[s].x[i], y = chart->series[s].y[i] * factor;
            if (!shown_y(chart, y) || !isfinite(x)) continue;
            widen(&plot->x, x);
            widen(&plot->y, y);
        }
    if (plot->x.low > plot->x.high) return false;
    for (size_t g = 0; g < chart->goal_count; g++)
        if (shown_y(chart, chart->goals[g].y * factor)) widen(&plot->y, chart->goals[g].y * factor);
    if (chart->scale == SV_SCALE_FROM_ZERO) widen(&plot->y, 0);
    plot->y.log = chart->scale == SV_SCALE_LOG;
    if (plot->x.high == plot->x.low) plot->x = (chart_axis){ plot->x.low - 0.5, plot->x.high + 0.5, false };
    return true;
}

static void pad_y(chart_plot *plot)
{
    chart_axis *y = &plot->y;
    if (y->log) {
        double span = log(y->high) - log(y->low), room = span > 0.01 ? exp(span * MARGIN) : 1.2;
        y->low = fmax(y->low / room, DBL_MIN);
        y->high = fmin(y->high * room, DBL_MAX);
        return;
    }
    double span = y->high - y->low, room = span > 0 ? span * MARGIN : y->high != 0 ? fabs(y->high) * 0.1 : 1;
    if (!(plot->chart->scale == SV_SCALE_FROM_ZERO && y->low == 0)) y->low -= room;
    if (!(plot->chart->scale == SV_SCALE_FROM_ZERO && y->high == 0 && span > 0)) y->high += room;
}

static double place_x(const chart_plot *plot, double x)
{
    return LEFT + (x - plot->x.low) / (plot->x.high - plot->x.low) * (WIDTH - LEFT - RIGHT);
}

static double place_y(const chart_plot *plot, double y)
{
    const chart_axis *axis = &plot->y;
    double share = axis->log ? (log(y) - log(axis->low)) / (log(axis->high) - log(axis->low)) : (y - axis->low) / (axis->high - axis->low);
    return plot->top + PLOT_HEIGHT * (1 - share);
}

/* About `wanted` round values inside the axis, rising. whole: none that is not a whole number. */
static size_t linear_ticks(const chart_axis *axis, double wanted, bool whole, double *ticks)
{
    double rough = (axis->high - axis->low) / wanted, power = pow(10, floor(log10(rough))), rest = rough / power;
    double step = power * (rest > 5 ? 10 : rest > 2 ? 5 : rest > 1 ? 2 : 1);
    size_t count = 0;
    if (whole && step < 1) step = 1;
    for (double n = ceil(axis->low / step - 1e-9); n * step <= axis->high + step * 1e-9 && count < TICKS_MOST; n++) ticks[count++] = n * step;
    return count;
}

static size_t log_ticks(const chart_axis *axis, double *ticks)
{
    static const double inside[] = { 1, 2, 5 };
    size_t count = 0, step = log10(axis->high / axis->low) > 3 ? 3 : 1;
    for (double power = pow(10, floor(log10(axis->low))); power <= axis->high && count < TICKS_MOST; power *= 10)
        for (size_t i = 0; i < 3 && count < TICKS_MOST; i += step)
            if (inside[i] * power >= axis->low && inside[i] * power <= axis->high) ticks[count++] = inside[i] * power;
    return count >= 2 ? count : linear_ticks(axis, 4, false, ticks);
}

static void print_axes(const chart_plot *plot)
{
    double ticks[TICKS_MOST];
    char room[32];
    size_t count = plot->y.log ? log_ticks(&plot->y, ticks) : linear_ticks(&plot->y, 5, false, ticks);
    for (size_t i = 0; i < count; i++) {
        double y = place_y(plot, ticks[i]);
        if (fabs(ticks[i]) < (plot->y.high - plot->y.low) * 1e-9) ticks[i] = 0; /* -0, 1e-17 */
        sv_text_add(plot->text, "<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/><text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>",
                    LEFT, y, WIDTH - RIGHT, y, LEFT - 6, y + 4, sv_markup_number(room, ticks[i]));
    }
    count = linear_ticks(&plot->x, 6, true, ticks);
    double bottom = plot->top + PLOT_HEIGHT;
    for (size_t i = 0; i < count; i++)
        sv_text_add(plot->text, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>", place_x(plot, ticks[i]), bottom + 16,
                    sv_markup_number(room, ticks[i]));
    sv_text_add(plot->text, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", WIDTH - RIGHT, bottom + 32);
    sv_markup_text(plot->text, plot->chart->x_label);
    sv_text_add(plot->text, "</text>");
}

/* ---- lines ---- */

typedef struct chart_pen { const chart_plot *plot; bool down; } chart_pen;

static void draw_to(chart_pen *pen, double x, double y)
{
    sv_text_add(pen->plot->text, "%c%.1f %.1f", pen->down ? 'L' : 'M', place_x(pen->plot, x), place_y(pen->plot, y));
    pen->down = true;
}

/* The points begin..end-1 of one column: first, the two extremes in their order, last. */
static void draw_column(chart_pen *pen, const sv_chart_series *series, size_t begin, size_t end, double factor)
{
    size_t least = begin, most = begin;
    for (size_t i = begin; i < end; i++) {
        if (series->y[i] < series->y[least]) least = i;
        if (series->y[i] > series->y[most]) most = i;
    }
    size_t order[] = { begin, least < most ? least : most, least < most ? most : least, end - 1 };
    for (size_t i = 0; i < 4; i++)
        if (i == 0 || order[i] != order[i - 1]) draw_to(pen, series->x[order[i]], series->y[order[i]] * factor);
}

static void print_path(const chart_plot *plot, const sv_chart_series *series)
{
    const char *class = series->kind == SV_LINE_DASHED ? "goal" : series->kind == SV_LINE_FAINT ? "faint" : "line";
    double factor = factor_of(plot->chart);
    chart_pen pen = { plot, false };
    size_t column = series->count / COLUMNS_MOST + 1;
    sv_text_add(plot->text, "<path class=\"%s\" stroke=\"var(--c%u)\" d=\"", class, series->color % COLORS);
    for (size_t i = 0; i < series->count;) {
        if (!shown_y(plot->chart, series->y[i] * factor) || !isfinite(series->x[i])) {
            pen.down = false;
            i++;
            continue;
        }
        size_t end = i + 1;
        while (end < series->count && end < i + column && shown_y(plot->chart, series->y[end] * factor) && isfinite(series->x[end])) end++;
        draw_column(&pen, series, i, end, factor);
        i = end;
    }
    sv_text_add(plot->text, "\"/>");
}

/* Few points are marked, each with its value for those who point at it; a lone point would have no line at all. */
static void print_dots(const chart_plot *plot, const sv_chart_series *series)
{
    double factor = factor_of(plot->chart);
    char x[32], y[32];
    if (series->count > DOTS_MOST || series->kind != SV_LINE_SOLID) return;
    for (size_t i = 0; i < series->count; i++) {
        double value = series->y[i] * factor;
        if (!shown_y(plot->chart, value) || !isfinite(series->x[i])) continue;
        sv_text_add(plot->text, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.6\" fill=\"var(--c%u)\"><title>", place_x(plot, series->x[i]), place_y(plot, value),
                    series->color % COLORS);
        sv_markup_text(plot->text, series->name);
        sv_text_add(plot->text, " %s ", sv_markup_number(y, value));
        sv_markup_text(plot->text, plot->chart->unit);
        sv_text_add(plot->text, " at %s</title></circle>", sv_markup_number(x, series->x[i]));
    }
}

static void print_goal(const chart_plot *plot, const sv_chart_goal *goal)
{
    double y = goal->y * factor_of(plot->chart);
    if (!shown_y(plot->chart, y)) return;
    sv_text_add(plot->text, "<path class=\"goal\" stroke=\"var(--c%u)\" d=\"M%.1f %.1fH%.1f\"/>", goal->color % COLORS, LEFT, place_y(plot, y), WIDTH - RIGHT);
}

/* ---- legend ---- */

typedef struct legend_item { const char *name; double last; unsigned color; bool dashed, faint; } legend_item;

static double last_shown(const sv_chart *chart, const sv_chart_series *series)
{
    for (size_t i = series->count; i-- > 0;)
        if (shown_y(chart, series->y[i] * factor_of(chart))) return series->y[i] * factor_of(chart);
    return NAN;
}

/* Item number `at`, series first; false behind the last or where it has no name. */
static bool legend_at(const sv_chart *chart, size_t at, legend_item *item)
{
    if (at < chart->series_count) {
        const sv_chart_series *series = &chart->series[at];
        *item = (legend_item){ series->name, last_shown(chart, series), series->color % COLORS, series->kind == SV_LINE_DASHED, series->kind == SV_LINE_FAINT };
    } else {
        const sv_chart_goal *goal = &chart->goals[at - chart->series_count];
        *item = (legend_item){ goal->name, goal->y * factor_of(chart), goal->color % COLORS, true, false };
    }
    return item->name != NULL;
}

static size_t letters(const char *text)
{
    size_t count = 0;
    for (; *text; text++) count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

/* Prints the legend from `top` down, or with draw false only measures it; returns its lines. */
static size_t print_legend(const sv_chart *chart, sv_text *text, double top, bool draw)
{
    double x = 14;
    size_t lines = 1;
    for (size_t i = 0; i < chart->series_count + chart->goal_count; i++) {
        legend_item item;
        char value[32];
        if (!legend_at(chart, i, &item)) continue;
        sv_markup_number(value, item.last);
        const char *unit = chart->unit ? chart->unit : "";
        double wide = 24 + LETTER * (double)(letters(item.name) + 1 + letters(value) + (*unit ? 1 + letters(unit) : 0)) + 14;
        if (x > 14 && x + wide > WIDTH) {
            x = 14;
            lines++;
        }
        double y = top + LEGEND_LINE * (double)(lines - 1);
        if (draw) {
            sv_text_add(text, "<path class=\"%s\" stroke=\"var(--c%u)\" d=\"M%.1f %.1fh16\"/><text class=\"name\" x=\"%.1f\" y=\"%.1f\">",
                        item.dashed ? "goal" : item.faint ? "faint" : "line", item.color, x, y - 4, x + 22, y);
            sv_markup_text(text, item.name);
            sv_text_add(text, " <tspan font-weight=\"600\">%s%s", value, *unit ? " " : "");
            sv_markup_text(text, unit);
            sv_text_add(text, "</tspan></text>");
        }
        x += wide;
    }
    return lines;
}

void sv_chart_print(const sv_chart *chart, sv_text *text)
{
    chart_plot plot = { .chart = chart, .text = text };
    bool any = find_ranges(&plot);
    plot.top = TITLE_HEIGHT + LEGEND_LINE * (double)print_legend(chart, text, 0, false) + 10;
    sv_text_add(text, "<svg class=\"chart\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"", WIDTH,
                plot.top + PLOT_HEIGHT + BOTTOM);
    sv_markup_text(text, chart->title);
    sv_text_add(text, "\"><text class=\"title\" x=\"14\" y=\"19\">");
    sv_markup_text(text, chart->title);
    sv_text_add(text, "</text>");
    if (any) {
        pad_y(&plot);
        print_legend(chart, text, TITLE_HEIGHT + LEGEND_LINE - 4, true);
        print_axes(&plot);
        for (size_t i = 0; i < chart->goal_count; i++) print_goal(&plot, &chart->goals[i]);
        for (size_t i = 0; i < chart->series_count; i++) print_path(&plot, &chart->series[i]);
        for (size_t i = 0; i < chart->series_count; i++) print_dots(&plot, &chart->series[i]);
    } else sv_text_add(text, "<text x=\"%.0f\" y=\"%.0f\" text-anchor=\"middle\">no values yet</text>", WIDTH / 2, plot.top + PLOT_HEIGHT / 2);
    sv_text_add(text, "</svg>");
}

sv_status sv_chart_write(const sv_chart *chart, const char *path, sv_error *err)
{
    sv_text text = { 0 };
    sv_chart_print(chart, &text);
    sv_status status = sv_text_check(&text, err);
    char *inside = status ? NULL : strchr(text.data, '>'); /* the style goes inside the element, so that the file stands alone */
    sv_text whole = { 0 };
    if (inside) {
        sv_text_add_bytes(&whole, text.data, (size_t)(inside + 1 - text.data));
        sv_text_add(&whole, "<style>%s</style>%s\n", sv_chart_style, inside + 1);
        status = sv_text_check(&whole, err);
    }
    if (!status) status = sv_file_write_atomic(path, whole.data, whole.length, err);
    sv_text_clear(&whole);
    sv_text_clear(&text);
    return status;
}
