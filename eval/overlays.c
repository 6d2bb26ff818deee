/* Overlays of chosen pictures: read, transformed as validation does it, run one at a time (an image's result does not depend on its batch), drawn from
 * the origins that each stage lets through. */
#include "eval/overlays.h"
#include "eval/stage_view.h"
#include "pruning/grid.h"
#include "report/figure.h"
#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The picture as the model sees it, from its numbers. */
static void see(const sv_real *chw, const sv_transform_options *transform, uint8_t *rgb)
{
    const size_t plane = transform->size * transform->size;
    for (size_t i = 0; i < plane; i++)
        for (size_t c = 0; c < 3; c++) {
            double v = 255 * ((double)chw[c * plane + i] * (double)transform->deviation[c] + (double)transform->mean[c]);
            rgb[3 * i + c] = (uint8_t)fmin(fmax(v + 0.5, 0), 255);
        }
}

/* Picture and stages of image 0 of the tape's last run, as numbers and drawn for the report page. */
static sv_status look(const sv_removal_tape *removal, const sv_real *chw, const sv_transform_options *transform, size_t side, sv_overlaid *item, sv_error *err)
{
    const size_t patches = side * side, size = transform->size, stages = removal->stages ? removal->stages : 1;
    const uint8_t *kept[SV_MOST_STAGES];
    size_t width = 0, height = 0;
    sv_status status = sv_alloc_zero(&item->seen, 3 * size * size, "overlay", err);
    if (!status) status = sv_alloc_zero(&item->stays, stages * patches, "overlay", err);
    if (!status) status = sv_alloc_zero(&item->score, stages * patches * sizeof *item->score, "overlay", err);
    if (status) return status;
    see(chw, transform, item->seen);
    for (size_t t = 0; t < removal->stages; t++) {
        item->packaged[t] = sv_stage_view(removal, t, 0, patches, item->stays + t * patches, item->score + t * patches);
        kept[t] = item->stays + t * patches;
        item->kept[t] = sv_removal_kept(removal, t, 0);
    }
    const sv_overlay overlay = { .rgb = item->seen, .width = size, .height = size, .grid_columns = side, .grid_rows = side, .kept = kept, .stages = removal->stages };
    status = sv_overlay_size(&overlay, &width, &height, err);
    if (!status) status = sv_picture_resize(&item->drawn, width, height, err);
    if (!status) sv_overlay_draw(&overlay, item->drawn.rgb);
    return status;
}

/* ---- a few pictures of a source ---------------------------------------------------------------------------------- */

typedef struct workshop {
    const sv_removal_tape *removal;
    const sv_source *source;
    const sv_transform_options *options;
    size_t side;
    sv_transform *transform;
    sv_picture picture;
    sv_real *chw;
} workshop;

static void take_answer(sv_overlaid *item, const sv_real *logits, size_t classes)
{
    double sum = 0;
    item->answer = 0;
    for (size_t k = 1; k < classes; k++)
        if (logits[k] > logits[item->answer]) item->answer = k;
    for (size_t k = 0; k < classes; k++) sum += exp((double)logits[k] - (double)logits[item->answer]);
    item->probability = 1 / sum;
}

/* The first picture of `from`..`end`-1 that can be read; *from becomes `end` where there is none. */
static sv_status read_next(workshop *w, size_t *from, size_t end, sv_error *err)
{
    for (; *from < end; (*from)++) {
        sv_status status = sv_source_read(w->source, *from, &w->picture, err);
        if (status != SV_DATA) return status;
    }
    return SV_OK;
}

static sv_status file_name(const sv_source *source, size_t sample, char **out, sv_error *err)
{
    char *path = NULL;
    sv_status status = sv_source_path(source, sample, &path, err);
    if (!status) {
        const char *slash = strrchr(path, '/');
        status = sv_text_copy(out, slash ? slash + 1 : path, err);
    }
    sv_free(path);
    return status;
}

static sv_status make_one(workshop *w, size_t sample, sv_overlaid *item, sv_error *err)
{
    const sv_removal_tape *removal = w->removal;
    size_t numbers = sv_tensor_width(removal->picture);
    item->sample = sample;
    item->truth = sv_source_label(w->source, sample);
    sv_step step = { .images = 1, .samples = &item->sample };
    sv_status status = sv_transform_evaluation(w->transform, &w->picture, w->chw, err);
    if (status) return status;
    memcpy(sv_tape_data(removal->tape, removal->picture, 0), w->chw, numbers * sizeof *w->chw);
    status = sv_tape_forward(removal->tape, &step, err);
    if (!status) status = look(removal, w->chw, w->options, w->side, item, err);
    if (!status) status = file_name(w->source, sample, &item->file, err);
    if (status) return status;
    take_answer(item, sv_tape_data(removal->tape, removal->logits, 0), sv_tensor_width(removal->logits));
    return SV_OK;
}

sv_status sv_overlays_make(sv_overlays *out, const sv_removal_tape *removal, const sv_source *source, const sv_transform_options *transform, size_t side,
                           const sv_overlay_choice *choice, sv_error *err)
{
    if (removal->stages) side = sv_grid_common(removal->patches, removal->stages, transform->size);
    workshop w = { .removal = removal, .source = source, .options = transform, .side = side };
    const size_t all = sv_source_count(source);
    size_t wanted = choice->wanted;
    sv_overlays made = { .stages = removal->stages, .patches = side * side, .size = transform->size, .placed = choice->before_block };
    if (wanted > SV_OVERLAYS_MOST) wanted = SV_OVERLAYS_MOST;
    if (wanted > all) wanted = all;
    memcpy(made.own, removal->patches, sizeof made.own);
    for (size_t t = 0; choice->before_block && t < removal->stages; t++) made.before_block[t] = choice->before_block[t];
    sv_status status = sv_alloc_zero(&made.items, (wanted + 1) * sizeof *made.items, "overlays", err);
    if (!status) status = sv_alloc(&w.chw, sv_tensor_width(removal->picture) * sizeof *w.chw, "overlays", err);
    if (!status) status = sv_transform_create(&w.transform, transform, err);
    for (size_t i = 0; !status && i < wanted; i++) {
        size_t sample = (2 * i + 1) * all / (2 * wanted), end = (2 * i + 3) * all / (2 * wanted);
        if (choice->samples) sample = (size_t)choice->samples[i], end = sample + 1;
        if (end > all) end = all;
        status = read_next(&w, &sample, end, err);
        if (status || sample >= end) continue;
        made.count++; /* so that what is half made is cleared too */
        status = make_one(&w, sample, &made.items[made.count - 1], err);
    }
    sv_transform_destroy(w.transform);
    sv_picture_clear(&w.picture);
    sv_free(w.chw);
    if (status) sv_overlays_clear(&made);
    else *out = made;
    return status;
}

void sv_overlays_clear(sv_overlays *overlays)
{
    for (size_t i = 0; i < overlays->count; i++) {
        sv_picture_clear(&overlays->items[i].drawn);
        sv_free(overlays->items[i].file);
        sv_free(overlays->items[i].seen);
        sv_free(overlays->items[i].stays);
        sv_free(overlays->items[i].score);
        sv_free(overlays->items[i].object);
    }
    sv_free(overlays->items);
    memset(overlays, 0, sizeof *overlays);
}

/* ---- shown ------------------------------------------------------------------------------------------------------- */

static void add_class(sv_text *text, const sv_classes *classes, size_t index)
{
    if (index < classes->count) sv_text_add(text, "%s", classes->names[index]);
    else sv_text_add(text, "class %zu", index);
}

void sv_overlay_caption(const sv_overlays *overlays, size_t at, const sv_classes *classes, sv_text *text)
{
    const sv_overlaid *item = &overlays->items[at];
    sv_text_add(text, "%s: ", item->file);
    add_class(text, classes, item->truth);
    sv_text_add(text, ", answered ");
    add_class(text, classes, item->answer);
    sv_text_add(text, " (%.1f %%)", 100 * item->probability);
    for (size_t t = 0; t < overlays->stages; t++) {
        sv_text_add(text, "%s%zu", t ? ", " : "; keeps ", item->kept[t]);
        if (t + 1 == overlays->stages) sv_text_add(text, " of %zu patches", overlays->own[t]);
        else if (overlays->own[t] != overlays->own[t + 1]) sv_text_add(text, " of %zu", overlays->own[t]);
    }
}

/* "96.1 %" where it is right, else what it was taken for. */
static void note_of(const sv_overlaid *item, const sv_classes *classes, sv_figure_row *row, char room[160])
{
    char safe[128];
    row->kind = item->answer == item->truth ? SV_NOTE_RIGHT : SV_NOTE_WRONG;
    if (row->kind == SV_NOTE_RIGHT) snprintf(room, 160, "right, %.1f %%", 100 * item->probability);
    else if (item->answer < classes->count) snprintf(room, 160, "%.0f %% %s", 100 * item->probability, sv_text_safe(safe, sizeof safe, classes->names[item->answer]));
    else snprintf(room, 160, "%.0f %% class %zu", 100 * item->probability, item->answer);
    row->note = room;
}

sv_status sv_overlays_write(const sv_overlays *overlays, size_t at, const sv_classes *classes, const sv_overlay_figure *form, const char *path, sv_error *err)
{
    const size_t side = (size_t)(sqrt((double)overlays->patches) + 0.5), first = at < overlays->count ? at : 0, end = at < overlays->count ? at + 1 : overlays->count;
    sv_figure_row rows[SV_OVERLAYS_MOST];
    sv_figure_stage stages[SV_OVERLAYS_MOST][SV_MOST_STAGES];
    char notes[SV_OVERLAYS_MOST][160];
    sv_canvas canvas = { 0 };
    sv_canvas_form kind;
    sv_figure figure = { .width = overlays->size, .height = overlays->size, .grid_columns = side, .grid_rows = side, .stages = overlays->stages, .rows = rows, .across = form->across,
                         .heat = form->heat, .before_block = overlays->placed ? overlays->before_block : NULL };
    for (size_t i = first; i < end; i++, figure.row_count++) {
        const sv_overlaid *item = &overlays->items[i];
        const size_t r = figure.row_count;
        for (size_t t = 0; t < overlays->stages; t++)
            stages[r][t] = (sv_figure_stage){ item->stays + t * overlays->patches, item->score + t * overlays->patches, item->packaged[t], item->kept[t], overlays->own[t] };
        rows[r] = (sv_figure_row){ .rgb = item->seen, .object = item->object, .name = item->truth < classes->count ? classes->names[item->truth] : NULL, .stages = stages[r] };
        note_of(item, classes, &rows[r], notes[r]);
    }
    sv_status status = sv_canvas_form_of(&kind, path, err);
    if (!status) status = sv_figure_draw(&canvas, kind, &figure, err);
    if (!status) status = sv_canvas_write(&canvas, path, err);
    sv_canvas_clear(&canvas);
    return status;
}
