/* Overlays of chosen pictures: read, transformed as validation does it, run one at a time (an image's result does not depend on its batch), drawn from
 * the origins that each stage lets through. */
#include "eval/overlays.h"
#include "report/report.h"

#include <math.h>
#include <string.h>

enum { GAP = 8 /* as between the panels of an overlay */ };

/* The picture as the model sees it, from its numbers. */
static sv_status seen_picture(const sv_real *chw, const sv_transform_options *transform, sv_picture *out, sv_error *err)
{
    size_t side = transform->size, plane = side * side;
    sv_status status = sv_picture_resize(out, side, side, err);
    for (size_t i = 0; !status && i < plane; i++)
        for (size_t c = 0; c < 3; c++) {
            double v = 255 * ((double)chw[c * plane + i] * (double)transform->deviation[c] + (double)transform->mean[c]);
            out->rgb[3 * i + c] = (uint8_t)fmin(fmax(v + 0.5, 0), 255);
        }
    return status;
}

sv_status sv_overlay_of_run(const sv_removal_tape *removal, size_t image, const sv_real *chw, const sv_transform_options *transform, sv_picture *drawn, sv_error *err)
{
    size_t width = 0, height = 0, patches = 1, sides[SV_MOST_STAGES];
    sv_picture seen = { 0 };
    uint8_t *kept = NULL;
    const uint8_t *stages[SV_MOST_STAGES];
    sv_status status = seen_picture(chw, transform, &seen, err);
    for (size_t t = 0; t < removal->stages; t++) {
        sides[t] = (size_t)(sqrt((double)removal->patches[t]) + 0.5);
        if (removal->patches[t] > patches) patches = removal->patches[t];
    }
    if (!status) status = sv_alloc_zero(&kept, patches * SV_MOST_STAGES, "overlay", err);
    for (size_t t = 0; !status && t < removal->stages; t++) {
        const int32_t *origin = (const int32_t *)(const void *)sv_tape_data(removal->tape, removal->after[t], image);
        size_t rows = sv_tape_rows(removal->tape, removal->after[t], image);
        for (size_t r = 0; r < rows; r++)
            if (origin[r] >= 0) kept[t * patches + (size_t)origin[r]] = 1;
        stages[t] = kept + t * patches;
    }
    sv_overlay overlay = { .rgb = seen.rgb, .width = seen.width, .height = seen.height, .kept = stages, .stages = removal->stages, .sides = sides };
    if (!status) status = sv_overlay_size(&overlay, &width, &height, err);
    if (!status) status = sv_picture_resize(drawn, width, height, err);
    if (!status) sv_overlay_draw(&overlay, drawn->rgb);
    sv_free(kept);
    sv_picture_clear(&seen);
    return status;
}

/* ---- a few pictures of a source ---------------------------------------------------------------------------------- */

typedef struct workshop {
    const sv_removal_tape *removal;
    const sv_source *source;
    const sv_transform_options *options;
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
    if (!status) status = sv_overlay_of_run(removal, 0, w->chw, w->options, &item->drawn, err);
    if (!status) status = file_name(w->source, sample, &item->file, err);
    if (status) return status;
    take_answer(item, sv_tape_data(removal->tape, removal->logits, 0), sv_tensor_width(removal->logits));
    for (size_t t = 0; t < removal->stages; t++) item->kept[t] = sv_removal_kept(removal, t, 0);
    return SV_OK;
}

sv_status sv_overlays_make(sv_overlays *out, const sv_removal_tape *removal, const sv_source *source, const sv_transform_options *transform, size_t wanted,
                           sv_error *err)
{
    workshop w = { .removal = removal, .source = source, .options = transform };
    size_t all = sv_source_count(source);
    sv_overlays made = { .stages = removal->stages };
    memcpy(made.patches, removal->patches, sizeof made.patches);
    if (wanted > SV_OVERLAYS_MOST) wanted = SV_OVERLAYS_MOST;
    if (wanted > all) wanted = all;
    sv_status status = sv_alloc_zero(&made.items, (wanted + 1) * sizeof *made.items, "overlays", err);
    if (!status) status = sv_alloc(&w.chw, sv_tensor_width(removal->picture) * sizeof *w.chw, "overlays", err);
    if (!status) status = sv_transform_create(&w.transform, transform, err);
    for (size_t i = 0; !status && i < wanted; i++) {
        size_t sample = (2 * i + 1) * all / (2 * wanted), end = (2 * i + 3) * all / (2 * wanted);
        if (end > all) end = all;
        status = read_next(&w, &sample, end, err);
        if (status || sample == end) continue;
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
        if (t + 1 == overlays->stages) sv_text_add(text, " of %zu patches", overlays->patches[t]);
        else if (overlays->patches[t] != overlays->patches[t + 1]) sv_text_add(text, " of %zu", overlays->patches[t]);
    }
}

sv_status sv_overlays_sheet(const sv_overlays *overlays, sv_picture *sheet, sv_error *err)
{
    if (!overlays->count) return sv_fail(err, SV_USAGE, "a sheet of no pictures: none was asked for, or none could be read");
    size_t width = overlays->items[0].drawn.width, height = overlays->items[0].drawn.height, bytes = 3 * width * height; /* all are alike */
    sv_status status = sv_picture_resize(sheet, width, overlays->count * (height + GAP) - GAP, err);
    if (status) return status;
    memset(sheet->rgb, 255, 3 * sheet->width * sheet->height);
    for (size_t i = 0; i < overlays->count; i++) memcpy(sheet->rgb + i * (bytes + 3 * width * GAP), overlays->items[i].drawn.rgb, bytes);
    return SV_OK;
}
