/* The figures of an evaluation for a terminal: aligned, ASCII alone, the same in a pipe. */
#include "eval/figures.h"

#include <math.h>
#include <stdio.h>

enum { BAR = 40, NAME = 24 };

static double share(size_t count, size_t of)
{
    return (double)count / (double)(of ? of : 1);
}

/* "  365   73.00 %  68.9 to 76.7 %" */
static void add_share(sv_text *text, size_t count, size_t of)
{
    const sv_interval interval = sv_wilson(count, of);
    sv_text_add(text, " %6zu %7.2f %%  %4.1f to %5.1f %%", count, 100 * share(count, of), 100 * interval.low, 100 * interval.high);
}

void sv_figures_print(sv_text *text, const sv_figures *figures, size_t count)
{
    bool timed = false;
    if (!count) return;
    for (size_t i = 0; i < count; i++) timed = timed || isfinite(figures[i].ms_median);
    sv_text_add(text, "%-8s %6s %9s  %15s %6s %9s  %15s %8s %8s %8s %11s%s\n", "", "top-1", "", "95 % interval", "top-5", "", "95 % interval", "of these", "loss", "GMAC",
                "pictures/s", timed ? "       ms      p95" : "");
    for (size_t i = 0; i < count; i++) {
        const sv_evaluation *e = figures[i].e;
        sv_text_add(text, "%-8s", figures[i].name);
        add_share(text, e->top1, e->images);
        add_share(text, e->top5, e->images);
        sv_text_add(text, " %8zu %8.4f %8.3f %11.1f", e->top1_among, e->loss, 1e-9 * e->macs, e->seconds > 0 ? (double)e->images / e->seconds : 0);
        if (isfinite(figures[i].ms_median)) sv_text_add(text, " %8.2f %8.2f", figures[i].ms_median, figures[i].ms_p95);
        sv_text_add(text, "\n");
    }
    sv_text_add(text, "%zu pictures, %zu unreadable; \"of these\": right where only the classes that have pictures may be answered\n", figures->e->images, figures->e->bad_pictures);
    if (count == 2 && isfinite(figures[0].ms_median) && isfinite(figures[1].ms_median))
        sv_text_add(text, "one picture at a time, the %s model is %.2f times as fast\n", figures[1].name, figures[0].ms_median / figures[1].ms_median);
}

void sv_paired_print(sv_text *text, const sv_paired *paired, const char *first, const char *second)
{
    sv_text_add(text, "\n%s against %s on the same pictures\n", second, first);
    sv_text_add(text, "  right: both %zu, %s alone %zu, %s alone %zu, neither %zu\n", paired->both, first, paired->first_alone, second, paired->second_alone, paired->neither);
    sv_text_add(text, "  top-1 differs by %+.2f %%, 95 %% interval %+.2f to %+.2f %%\n", 100 * paired->difference, 100 * paired->interval.low, 100 * paired->interval.high);
    sv_text_add(text, "  McNemar's exact test: p = %.3g, %s\n", paired->p,
                paired->p < 0.05 ? "more than chance explains" : "chance alone can explain it: these pictures do not tell the two apart");
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

static void add_bars(sv_text *text, const size_t *counts, size_t patches)
{
    const size_t step = sv_tokens_step(patches);
    size_t most = 1;
    for (size_t from = 0; from <= patches; from += step) {
        size_t here = 0;
        for (size_t n = from; n < from + step && n <= patches; n++) here += counts[n];
        if (here > most) most = here;
    }
    for (size_t from = 0; from <= patches; from += step) {
        const size_t last = from + step - 1 < patches ? from + step - 1 : patches;
        size_t here = 0;
        for (size_t n = from; n <= last; n++) here += counts[n];
        if (!here) continue;
        if (step > 1) sv_text_add(text, "  %4zu to %-4zu %7zu  ", from, last, here);
        else sv_text_add(text, "  %12zu %7zu  ", from, here);
        for (size_t i = 0; i < (here * BAR + most - 1) / most; i++) sv_text_add(text, "#"); /* at least one */
        sv_text_add(text, "\n");
    }
}

sv_status sv_tokens_print(sv_text *text, const sv_figures *f, sv_error *err)
{
    size_t *counts = NULL, stages = f->plan ? f->plan->stages : 0;
    if (!stages || !f->e->images) return SV_OK;
    sv_status status = sv_alloc(&counts, (f->patches + 1) * sizeof *counts, "tokens", err);
    for (size_t t = 0; !status && t < stages; t++) {
        const double kept = f->e->kept[t];
        sv_text_add(text, "\nselector %zu, before block %zu, keeps %.1f of %zu patches (%.1f %%)", t + 1, f->plan->at[t], kept, f->plan->patches[t], 100 * kept / (double)f->plan->patches[t]);
        if (f->e->kept_least[t] == f->e->kept_most[t]) {
            sv_text_add(text, " of every picture\n");
            continue;
        }
        sv_text_add(text, ", least %zu, most %zu\n       kept    pictures\n", f->e->kept_least[t], f->e->kept_most[t]);
        sv_tokens_count(counts, f->plan->patches[t], f->records, t);
        add_bars(text, counts, f->plan->patches[t]);
    }
    sv_free(counts);
    return status;
}

/* ---- calibration ------------------------------------------------------------------------------------------------- */

void sv_calibration_print(sv_text *text, const sv_figures *f, bool bins)
{
    sv_calibration c;
    sv_calibration_of(&c, f->records);
    sv_text_add(text, "%s%s: answers said to be right with %.2f %% on average are right with %.2f %%; expected calibration error %.2f %%, negative log likelihood %.4f\n", bins ? "\n" : "", f->name,
                100 * c.confidence, 100 * share(f->e->top1, f->e->images), 100 * c.error, c.loss);
    if (!bins) return;
    sv_text_add(text, "  probability       pictures     said      right      gap\n");
    for (size_t b = 0; b < SV_CALIBRATION_BINS; b++) {
        if (!c.images[b]) continue;
        const double right = share(c.right[b], c.images[b]);
        sv_text_add(text, "  %4.2f to %4.2f %12zu %7.2f %% %7.2f %% %+7.2f %%\n", (double)b / SV_CALIBRATION_BINS, (double)(b + 1) / SV_CALIBRATION_BINS, c.images[b], 100 * c.said[b],
                    100 * right, 100 * (right - c.said[b]));
    }
}

/* ---- classes ----------------------------------------------------------------------------------------------------- */

/* Cut to a column's width; bytes of a character are never parted, and columns of other scripts may be wider. */
static const char *class_name(char room[NAME + 8], const sv_classes *classes, size_t index)
{
    if (classes && index < classes->count) return sv_text_safe(room, NAME + 1, classes->names[index]);
    snprintf(room, NAME + 8, "class %zu", index);
    return room;
}

void sv_classes_print(sv_text *text, const sv_class_table *table, const sv_classes *classes, size_t most)
{
    char name[NAME + 8], other[NAME + 8];
    if (!table->count) return;
    if (most > table->count) most = table->count;
    sv_text_add(text, "\n%-*s %8s %6s %9s %6s %9s  most often taken for\n", NAME, most < table->count ? "worst classes" : "classes, worst first", "pictures", "top-1", "", "top-5", "");
    for (size_t i = 0; i < most; i++) {
        const sv_class_row *row = &table->rows[i];
        sv_text_add(text, "%-*s %8zu %6zu %7.2f %% %6zu %7.2f %%", NAME, class_name(name, classes, row->index), row->images, row->top1, 100 * share(row->top1, row->images), row->top5,
                    100 * share(row->top5, row->images));
        if (row->mistaken) sv_text_add(text, "  %s (%zu)", class_name(other, classes, row->mistake), row->mistaken);
        sv_text_add(text, "\n");
    }
    if (most < table->count) sv_text_add(text, "... of %zu\n", table->count);
}
