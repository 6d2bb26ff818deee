/* The same figures for other programs: CSV by lines of one number each, JSON. Numbers in full, so that they read back to the same double. */
#include "eval/figures.h"

#include <math.h>
#include <stdio.h>

static double share(size_t count, size_t of)
{
    return (double)count / (double)(of ? of : 1);
}

/* ---- CSV --------------------------------------------------------------------------------------------------------- */

typedef struct lines { sv_text *text; const char *model, *table; } lines;

/* What is no number becomes an empty field. */
static void line(const lines *to, const char *key, const char *name, double value)
{
    sv_text_add(to->text, "%s,%s,%s,%s,", to->model, to->table, key, name);
    if (isfinite(value)) sv_text_add(to->text, "%.17g", value);
    sv_text_add(to->text, "\n");
}

static void accuracy_lines(const lines *to, const char *key, size_t count, size_t of)
{
    const sv_interval interval = sv_wilson(count, of);
    line(to, key, "count", (double)count);
    line(to, key, "share", share(count, of));
    line(to, key, "low", interval.low);
    line(to, key, "high", interval.high);
}

static void calibration_lines(lines *to, const sv_records *records)
{
    sv_calibration c;
    char key[24];
    sv_calibration_of(&c, records);
    to->table = "calibration";
    line(to, "", "error", c.error);
    line(to, "", "confidence", c.confidence);
    line(to, "", "loss", c.loss);
    for (size_t b = 0; b < SV_CALIBRATION_BINS; b++) {
        snprintf(key, sizeof key, "%zu", b + 1);
        line(to, key, "images", (double)c.images[b]);
        line(to, key, "said", c.images[b] ? c.said[b] : NAN);
        line(to, key, "right", c.images[b] ? share(c.right[b], c.images[b]) : NAN);
    }
}

static sv_status token_lines(lines *to, const sv_figures *f, sv_error *err)
{
    size_t *counts = NULL, stages = f->plan ? f->plan->stages : 0;
    char key[24], name[24];
    if (!stages) return SV_OK;
    sv_status status = sv_alloc(&counts, (f->patches + 1) * sizeof *counts, "tokens", err);
    to->table = "tokens";
    for (size_t t = 0; !status && t < stages; t++) {
        snprintf(key, sizeof key, "%zu", t + 1);
        line(to, key, "mean", f->e->kept[t]);
        line(to, key, "least", (double)f->e->kept_least[t]);
        line(to, key, "most", (double)f->e->kept_most[t]);
        sv_tokens_count(counts, f->patches, f->records, t);
        for (size_t n = 0; n <= f->patches; n++) {
            if (!counts[n]) continue;
            snprintf(name, sizeof name, "kept %zu", n);
            line(to, key, name, (double)counts[n]);
        }
    }
    sv_free(counts);
    return status;
}

static void object_lines(lines *to, const sv_object_share *object)
{
    char key[24];
    if (!object) return;
    to->table = "object";
    line(to, "", "images", (double)object->pictures);
    line(to, "", "area", object->area);
    for (size_t t = 0; t < object->stages; t++) {
        snprintf(key, sizeof key, "%zu", t + 1);
        line(to, key, "kept", object->kept[t]);
        line(to, key, "on_object", object->on_object[t]);
        line(to, key, "object_kept", object->object_kept[t]);
    }
}

static void paired_lines(sv_text *text, const char *first, const char *second, const sv_paired *paired)
{
    const lines to = { text, second, "paired" };
    line(&to, first, "both", (double)paired->both);
    line(&to, first, "first_alone", (double)paired->first_alone);
    line(&to, first, "second_alone", (double)paired->second_alone);
    line(&to, first, "neither", (double)paired->neither);
    line(&to, first, "difference", paired->difference);
    line(&to, first, "low", paired->interval.low);
    line(&to, first, "high", paired->interval.high);
    line(&to, first, "p", paired->p);
}

sv_status sv_figures_csv(sv_text *text, const sv_figures *figures, size_t count, const sv_paired *paired, sv_error *err)
{
    sv_status status = SV_OK;
    sv_text_add(text, "model,table,key,name,value\n");
    for (size_t i = 0; !status && i < count; i++) {
        const sv_evaluation *e = figures[i].e;
        lines to = { text, figures[i].name, "accuracy" };
        line(&to, "", "images", (double)e->images);
        line(&to, "", "bad_pictures", (double)e->bad_pictures);
        accuracy_lines(&to, "top1", e->top1, e->images);
        accuracy_lines(&to, "top5", e->top5, e->images);
        accuracy_lines(&to, "top1_among", e->top1_among, e->images);
        to.table = "work";
        line(&to, "", "macs", e->macs);
        line(&to, "", "images_per_s", e->seconds > 0 ? (double)e->images / e->seconds : NAN);
        line(&to, "", "ms_batch1_median", figures[i].ms_median);
        line(&to, "", "ms_batch1_p95", figures[i].ms_p95);
        calibration_lines(&to, figures[i].records);
        object_lines(&to, figures[i].object);
        status = token_lines(&to, &figures[i], err);
    }
    if (paired && count > 1) paired_lines(text, figures[0].name, figures[1].name, paired);
    return status;
}

/* In quotes, those inside doubled; a class without a name is its number. */
static void quoted_class(sv_text *text, const sv_classes *classes, size_t index)
{
    char safe[1024];
    if (!classes || index >= classes->count) {
        sv_text_add(text, "%zu", index);
        return;
    }
    sv_text_add(text, "\"");
    for (const char *at = sv_text_safe(safe, sizeof safe, classes->names[index]); *at; at++) sv_text_add_bytes(text, *at == '"' ? "\"\"" : at, *at == '"' ? 2 : 1);
    sv_text_add(text, "\"");
}

void sv_classes_csv(sv_text *text, const sv_class_table *table, const sv_classes *classes)
{
    sv_text_add(text, "class,name,pictures,top1,top5,top1_share,mistaken_for,mistaken_pictures\n");
    for (size_t i = 0; i < table->count; i++) {
        const sv_class_row *row = &table->rows[i];
        sv_text_add(text, "%zu,", row->index);
        quoted_class(text, classes, row->index);
        sv_text_add(text, ",%zu,%zu,%zu,%.17g,", row->images, row->top1, row->top5, share(row->top1, row->images));
        if (row->mistaken) quoted_class(text, classes, row->mistake);
        sv_text_add(text, ",%zu\n", row->mistaken);
    }
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void json_calibration(sv_json *json, const sv_records *records)
{
    sv_calibration c;
    sv_calibration_of(&c, records);
    sv_json_real(json, "calibration_error", c.error);
    sv_json_real(json, "confidence", c.confidence);
    sv_json_open_array(json, "calibration");
    for (size_t b = 0; b < SV_CALIBRATION_BINS; b++) {
        sv_json_open(json, NULL);
        sv_json_int(json, "images", (int64_t)c.images[b]);
        sv_json_int(json, "right", (int64_t)c.right[b]);
        sv_json_real(json, "said", c.images[b] ? c.said[b] : NAN);
        sv_json_close(json);
    }
    sv_json_close_array(json);
}

/* An array a stage of [patches kept, pictures], rising. */
static sv_status json_tokens(sv_json *json, const sv_figures *f, size_t stages, sv_error *err)
{
    size_t *counts = NULL;
    sv_status status = sv_alloc(&counts, (f->patches + 1) * sizeof *counts, "tokens", err);
    if (status) return status;
    sv_json_open_array(json, "tokens_pictures");
    for (size_t t = 0; t < stages; t++) {
        sv_tokens_count(counts, f->patches, f->records, t);
        sv_json_open_array(json, NULL);
        for (size_t n = 0; n <= f->patches; n++) {
            if (!counts[n]) continue;
            sv_json_open_array(json, NULL);
            sv_json_int(json, NULL, (int64_t)n);
            sv_json_int(json, NULL, (int64_t)counts[n]);
            sv_json_close_array(json);
        }
        sv_json_close_array(json);
    }
    sv_json_close_array(json);
    sv_free(counts);
    return SV_OK;
}

sv_status sv_figures_json(sv_json *json, const sv_figures *f, sv_error *err)
{
    const sv_evaluation *e = f->e;
    const size_t stages = f->plan ? f->plan->stages : 0;
    const sv_interval one = sv_wilson(e->top1, e->images), five = sv_wilson(e->top5, e->images);
    sv_json_int(json, "images", (int64_t)e->images);
    sv_json_int(json, "top1_count", (int64_t)e->top1);
    sv_json_int(json, "top5_count", (int64_t)e->top5);
    sv_json_int(json, "top1_among_count", (int64_t)e->top1_among);
    sv_json_real(json, "top1", share(e->top1, e->images));
    sv_json_reals(json, "top1_interval", (double[]){ one.low, one.high }, 2);
    sv_json_real(json, "top5", share(e->top5, e->images));
    sv_json_reals(json, "top5_interval", (double[]){ five.low, five.high }, 2);
    sv_json_real(json, "loss", e->loss);
    sv_json_int(json, "bad_pictures", (int64_t)e->bad_pictures);
    sv_json_real(json, "macs", e->macs);
    sv_json_real(json, "images_per_s", e->seconds > 0 ? (double)e->images / e->seconds : NAN);
    sv_json_real(json, "ms_batch1_median", f->ms_median);
    sv_json_real(json, "ms_batch1_p95", f->ms_p95);
    sv_json_reals(json, "tokens_kept", e->kept, stages);
    json_calibration(json, f->records);
    if (f->object) {
        sv_json_open(json, "object");
        sv_json_int(json, "images", (int64_t)f->object->pictures);
        sv_json_real(json, "area", f->object->area);
        sv_json_reals(json, "on_object", f->object->on_object, f->object->stages);
        sv_json_reals(json, "object_kept", f->object->object_kept, f->object->stages);
        sv_json_close(json);
    }
    return json_tokens(json, f, stages, err);
}

void sv_paired_json(sv_json *json, const char *name, const sv_paired *paired)
{
    sv_json_open(json, name);
    sv_json_int(json, "both", (int64_t)paired->both);
    sv_json_int(json, "first_alone", (int64_t)paired->first_alone);
    sv_json_int(json, "second_alone", (int64_t)paired->second_alone);
    sv_json_int(json, "neither", (int64_t)paired->neither);
    sv_json_real(json, "difference", paired->difference);
    sv_json_reals(json, "interval", (double[]){ paired->interval.low, paired->interval.high }, 2);
    sv_json_real(json, "p", paired->p);
    sv_json_close(json);
}

void sv_classes_json(sv_json *json, const char *name, const sv_class_table *table, const sv_classes *classes)
{
    sv_json_open_array(json, name);
    for (size_t i = 0; i < table->count; i++) {
        const sv_class_row *row = &table->rows[i];
        sv_json_open(json, NULL);
        sv_json_int(json, "class", (int64_t)row->index);
        if (classes && row->index < classes->count) sv_json_text(json, "name", classes->names[row->index]);
        sv_json_int(json, "images", (int64_t)row->images);
        sv_json_int(json, "top1_count", (int64_t)row->top1);
        sv_json_int(json, "top5_count", (int64_t)row->top5);
        if (row->mistaken) sv_json_int(json, "mistake", (int64_t)row->mistake);
        sv_json_int(json, "mistaken_count", (int64_t)row->mistaken);
        sv_json_close(json);
    }
    sv_json_close_array(json);
}
