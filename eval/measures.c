/* The measures of eval/measures.h. Sums run over the records in their order, in double. */
#include "eval/measures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double Z = 1.959963984540054; /* the normal deviate that 95 % lie within */

static sv_interval clamped(double low, double high, double least)
{
    return (sv_interval){ fmax(low, least), fmin(high, 1) };
}

sv_interval sv_wilson(size_t count, size_t of)
{
    if (!of) return (sv_interval){ 0, 1 };
    const double n = (double)of, p = (double)count / n, z2 = Z * Z;
    const double middle = (p + z2 / (2 * n)) / (1 + z2 / n), half = Z / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n));
    sv_interval made = clamped(middle - half, middle + half, 0);
    if (!count) made.low = 0; /* exactly, whatever the rounding */
    if (count == of) made.high = 1;
    return made;
}

/* ---- pairs ------------------------------------------------------------------------------------------------------- */

double sv_mcnemar(size_t first_alone, size_t second_alone)
{
    const double n = (double)first_alone + (double)second_alone;
    const size_t few = first_alone < second_alone ? first_alone : second_alone;
    double sum = 0;
    for (size_t k = 0; k <= few; k++) sum += exp(lgamma(n + 1) - lgamma((double)k + 1) - lgamma(n - (double)k + 1) - n * log(2));
    return fmin(1, 2 * sum);
}

sv_interval sv_paired_interval(size_t first_alone, size_t second_alone, size_t of)
{
    const double n = (double)of + 2, first = ((double)first_alone + 1) / n, second = ((double)second_alone + 1) / n;
    const double difference = second - first, half = Z * sqrt((first + second - difference * difference) / n);
    return clamped(difference - half, difference + half, -1);
}

sv_status sv_paired_of(sv_paired *out, const sv_records *first, const sv_records *second, sv_error *err)
{
    sv_paired made = { 0 };
    if (first->count != second->count) return sv_fail(err, SV_FAULT, "two evaluations of %zu and %zu pictures cannot be compared", first->count, second->count);
    for (size_t i = 0; i < first->count; i++) {
        const sv_record *a = &first->rows[i], *b = &second->rows[i];
        if (a->sample != b->sample) return sv_fail(err, SV_FAULT, "two evaluations differ in their picture %zu: they cannot be compared", i);
        made.both += !a->rank && !b->rank;
        made.first_alone += !a->rank && b->rank;
        made.second_alone += a->rank && !b->rank;
        made.neither += a->rank && b->rank;
    }
    if (first->count) made.difference = ((double)made.second_alone - (double)made.first_alone) / (double)first->count;
    made.interval = sv_paired_interval(made.first_alone, made.second_alone, first->count);
    made.p = sv_mcnemar(made.first_alone, made.second_alone);
    *out = made;
    return SV_OK;
}

/* ---- classes ----------------------------------------------------------------------------------------------------- */

static int by_label_and_answer(const void *a, const void *b)
{
    const sv_record *x = a, *y = b;
    if (x->label != y->label) return x->label < y->label ? -1 : 1;
    return x->answer == y->answer ? 0 : x->answer < y->answer ? -1 : 1;
}

/* count / of of the one against the other's, without division. */
static int share_order(size_t count, size_t of, size_t other, size_t other_of)
{
    const double x = (double)count * (double)other_of, y = (double)other * (double)of;
    return x < y ? -1 : x > y;
}

static int worst_first(const void *a, const void *b)
{
    const sv_class_row *x = a, *y = b;
    const int top1 = share_order(x->top1, x->images, y->top1, y->images), top5 = share_order(x->top5, x->images, y->top5, y->images);
    if (top1) return top1;
    if (top5) return top5;
    if (x->images != y->images) return x->images > y->images ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Rows of one class, its answers side by side. Not all that are of the class's own index are right: where the logits are no numbers none is. */
static sv_class_row row_of(const sv_record *rows, size_t count)
{
    sv_class_row made = { .index = rows[0].label, .images = count };
    for (size_t i = 0, run = 0; i < count; i++) {
        made.top1 += rows[i].rank < 1;
        made.top5 += rows[i].rank < 5;
        run = i && rows[i].answer == rows[i - 1].answer ? run + 1 : 1;
        if (rows[i].answer != rows[i].label && run > made.mistaken) made.mistake = rows[i].answer, made.mistaken = run;
    }
    return made;
}

sv_status sv_class_table_make(sv_class_table *out, const sv_records *records, sv_error *err)
{
    sv_class_table made = { 0 };
    sv_record *sorted = NULL;
    size_t bytes;
    if (sv_mul_size(&bytes, records->count ? records->count : 1, sizeof *sorted)) return sv_fail(err, SV_FAULT, "too many records");
    sv_status status = sv_alloc(&sorted, bytes, "classes", err);
    if (!status && records->count) memcpy(sorted, records->rows, records->count * sizeof *sorted);
    if (!status) qsort(sorted, records->count, sizeof *sorted, by_label_and_answer);
    size_t classes = 0;
    for (size_t i = 0; !status && i < records->count; i++) classes += !i || sorted[i].label != sorted[i - 1].label;
    if (!status) status = sv_alloc(&made.rows, (classes ? classes : 1) * sizeof *made.rows, "classes", err);
    for (size_t i = 0, end; !status && i < records->count; i = end) {
        for (end = i + 1; end < records->count && sorted[end].label == sorted[i].label;) end++;
        made.rows[made.count++] = row_of(sorted + i, end - i);
    }
    if (!status) {
        qsort(made.rows, made.count, sizeof *made.rows, worst_first);
        *out = made;
    }
    sv_free(sorted);
    return status;
}

void sv_class_table_clear(sv_class_table *table)
{
    sv_free(table->rows);
    memset(table, 0, sizeof *table);
}

/* ---- calibration ------------------------------------------------------------------------------------------------- */

static size_t bin_of(double confidence)
{
    const double place = ceil(confidence * SV_CALIBRATION_BINS) - 1;
    return place < 0 ? 0 : place >= SV_CALIBRATION_BINS ? SV_CALIBRATION_BINS - 1 : (size_t)place;
}

void sv_calibration_of(sv_calibration *out, const sv_records *records)
{
    const double images = records->count ? (double)records->count : 1;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < records->count; i++) {
        const sv_record *row = &records->rows[i];
        out->confidence += row->confidence;
        out->loss += row->loss;
        if (!isfinite(row->confidence)) continue;
        const size_t bin = bin_of(row->confidence);
        out->images[bin]++;
        out->right[bin] += !row->rank;
        out->said[bin] += row->confidence;
    }
    for (size_t b = 0; b < SV_CALIBRATION_BINS; b++) {
        out->error += fabs((double)out->right[b] - out->said[b]);
        if (out->images[b]) out->said[b] /= (double)out->images[b];
    }
    out->confidence /= images;
    out->loss /= images;
    out->error = isfinite(out->confidence) ? out->error / images : NAN;
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

void sv_tokens_count(size_t *counts, size_t patches, const sv_records *records, size_t stage)
{
    memset(counts, 0, (patches + 1) * sizeof *counts);
    for (size_t i = 0; i < records->count; i++)
        if (records->rows[i].kept[stage] <= patches) counts[records->rows[i].kept[stage]]++;
}

size_t sv_tokens_step(size_t patches)
{
    enum { BARS = 20 };
    return patches / BARS + 1;
}
