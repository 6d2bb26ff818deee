#include "train/page_parts.h"

#include <string.h>

static sv_status draw_pictures(sv_page_parts *p, sv_session *s, sv_report *report, sv_error *err)
{
    const sv_classes *classes = sv_source_classes(s->train_source);
    const size_t side = s->model->options.image / s->model->options.patch;
    if (!s->options.pictures || !s->pruned.stages) return SV_OK;
    sv_status status = sv_overlays_make(&p->overlays, &s->pruned, s->val_source, &s->data.transform, side, &(sv_overlay_choice){ .wanted = s->options.pictures }, err);
    for (size_t i = 0; !status && i < p->overlays.count; i++) {
        size_t bytes = 0;
        sv_overlay_caption(&p->overlays, i, classes, &p->captions[i]);
        status = sv_text_check(&p->captions[i], err);
        if (!status) status = sv_png_encode(&p->overlays.items[i].drawn, &p->png[i], &bytes, err);
        if (!status) p->pictures[i] = (sv_report_picture){ p->png[i], bytes, p->captions[i].data };
    }
    if (status) return status;
    report->pictures = p->pictures;
    report->picture_count = p->overlays.count;
    return SV_OK;
}

/* ---- confusion --------------------------------------------------------------------------------------------------- */

static uint64_t wrong_answers(const sv_session *s, size_t truth)
{
    const size_t classes = s->model->options.classes;
    uint64_t wrong = 0;
    for (size_t k = 0; k < classes; k++) wrong += k == truth ? 0 : s->confusion[truth * classes + k];
    return wrong;
}

/* The classes with most wrong answers, in their own order; those with none are left out. */
static size_t worst_classes(const sv_session *s, size_t worst[SV_WORST_CLASSES])
{
    const size_t classes = s->model->options.classes;
    uint64_t wrong[SV_WORST_CLASSES];
    size_t count = 0;
    for (size_t truth = 0; truth < classes; truth++) {
        const uint64_t now = wrong_answers(s, truth);
        size_t at = count;
        while (at > 0 && wrong[at - 1] < now) at--;
        if (!now || at == SV_WORST_CLASSES) continue;
        if (count < SV_WORST_CLASSES) count++;
        memmove(worst + at + 1, worst + at, (count - 1 - at) * sizeof *worst);
        memmove(wrong + at + 1, wrong + at, (count - 1 - at) * sizeof *wrong);
        worst[at] = truth;
        wrong[at] = now;
    }
    for (size_t i = 1; i < count; i++)
        for (size_t k = i; k > 0 && worst[k - 1] > worst[k]; k--) {
            const size_t swap = worst[k];
            worst[k] = worst[k - 1];
            worst[k - 1] = swap;
        }
    return count;
}

static void count_confusion(sv_page_parts *p, const sv_session *s, sv_report *report)
{
    const sv_classes *known = sv_source_classes(s->train_source);
    const size_t classes = s->model->options.classes;
    size_t worst[SV_WORST_CLASSES];
    if (!s->confusion || !s->evaluation.images) return;
    const size_t count = worst_classes(s, worst);
    for (size_t i = 0; i < count; i++) {
        p->names[i] = worst[i] < known->count ? known->names[worst[i]] : "?";
        for (size_t k = 0; k < count; k++) p->counts[i * count + k] = s->confusion[worst[i] * classes + worst[k]];
    }
    p->confusion = (sv_report_confusion){ count, p->names, p->counts };
    if (count > 1) report->confusion = &p->confusion;
}

/* ---- the last evaluation, measured ------------------------------------------------------------------------------- */

static const char *class_name(const sv_session *s, size_t index)
{
    const sv_classes *known = sv_source_classes(s->train_source);
    return index < known->count ? known->names[index] : "?";
}

static sv_status list_classes(sv_page_parts *p, const sv_session *s, sv_report *report, sv_error *err)
{
    sv_class_table table = { 0 };
    sv_status status = sv_class_table_make(&table, &s->records, err);
    if (status) return status;
    for (size_t i = 0; i < table.count && i < SV_WORST_ROWS; i++) {
        const sv_class_row *row = &table.rows[i];
        p->rows[i] = (sv_report_class){ class_name(s, row->index), row->images, row->top1, row->top5, row->mistaken ? class_name(s, row->mistake) : NULL, row->mistaken };
        report->class_count = i + 1;
    }
    report->classes = p->rows;
    sv_class_table_clear(&table);
    return SV_OK;
}

static void count_tokens(sv_page_parts *p, const sv_session *s, sv_report *report)
{
    const size_t patches = sv_model_patches(s->model), step = sv_tokens_step(patches);
    for (size_t t = 0; t < s->pruned.stages; t++) {
        for (size_t i = 0; i < s->records.count; i++)
            if (s->records.rows[i].kept[t] <= patches) p->bars[t][s->records.rows[i].kept[t] / step]++;
        p->tokens[t] = (sv_report_tokens){ p->bars[t], patches / step + 1, step, patches };
    }
    report->tokens = p->tokens;
    report->token_count = s->pruned.stages;
}

static void weigh_probabilities(sv_page_parts *p, const sv_session *s, sv_report *report)
{
    sv_calibration c;
    sv_calibration_of(&c, &s->records);
    for (size_t b = 0; b < SV_CALIBRATION_BINS; b++) p->said_pictures[b] = c.images[b], p->said_right[b] = c.right[b], p->said[b] = c.said[b];
    p->calibration = (sv_report_calibration){ SV_CALIBRATION_BINS, p->said_pictures, p->said_right, p->said, c.error, c.loss };
    report->calibration = &p->calibration;
}

static sv_status measure(sv_page_parts *p, const sv_session *s, sv_report *report, sv_error *err)
{
    if (!s->records.count) return SV_OK;
    count_tokens(p, s, report);
    weigh_probabilities(p, s, report);
    return list_classes(p, s, report, err);
}

sv_status sv_page_parts_make(sv_page_parts *parts, sv_session *session, sv_report *report, sv_error *err)
{
    count_confusion(parts, session, report);
    sv_status status = measure(parts, session, report, err);
    return status ? status : draw_pictures(parts, session, report, err);
}

void sv_page_parts_clear(sv_page_parts *parts)
{
    for (size_t i = 0; i < SV_OVERLAYS_MOST; i++) {
        sv_free(parts->png[i]);
        sv_text_clear(&parts->captions[i]);
    }
    sv_overlays_clear(&parts->overlays);
    memset(parts, 0, sizeof *parts);
}
