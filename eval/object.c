/* Where objects are: boxes of a CSV file, or masks beside the pictures, both as the model's crop shows them. */
#include "eval/object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MOST = 1 << 26, THRESHOLD = 128 };

typedef struct box_row { uint64_t sample; sv_box box; } box_row;
struct sv_objects {
    const sv_source *source;
    bool masks;
    box_row *boxes; size_t box_count, box_room;     /* by sample */
    uint64_t *samples; size_t count;
};

/* ---- boxes ------------------------------------------------------------------------------------------------------- */

/* The picture whose path ends in `name`, whole folders counted. */
static sv_status find_sample(const sv_source *source, const char *name, uint64_t *out, bool *found, sv_error *err)
{
    const size_t length = strlen(name);
    *found = false;
    for (size_t i = 0; i < sv_source_count(source) && !*found; i++) {
        char *path = NULL;
        sv_status status = sv_source_path(source, i, &path, err);
        if (status) return status;
        const size_t whole = strlen(path);
        *found = whole >= length && !strcmp(path + whole - length, name) && (whole == length || path[whole - length - 1] == '/');
        *out = i;
        sv_free(path);
    }
    return SV_OK;
}

/* "file,left,top,right,bottom" from its end: a name may hold commas. */
static bool split(char *line, char *fields[5])
{
    fields[0] = line;
    for (size_t i = 4; i > 0; i--) {
        char *comma = strrchr(line, ',');
        if (!comma) return false;
        *comma = 0;
        fields[i] = comma + 1;
    }
    return true;
}

static sv_status take_line(sv_objects *o, char *line, const char *path, size_t number, sv_error *err)
{
    char *fields[5];
    int64_t at[4];
    box_row row = { 0 };
    bool found, whole = split(line, fields);
    for (size_t i = 0; whole && i < 4; i++) whole = sv_parse_int(fields[i + 1], &at[i]) && at[i] >= 0 && at[i] <= SV_PICTURE_PIXELS_MAX;
    if (!whole || at[2] <= at[0] || at[3] <= at[1])
        return sv_fail(err, SV_DATA, "%s:%zu: expected file,left,top,right,bottom in whole pixels with left < right and top < bottom", path, number);
    sv_status status = find_sample(o->source, fields[0], &row.sample, &found, err);
    if (!status && !found) status = sv_fail(err, SV_DATA, "%s:%zu: no picture of %s ends in '%s'", path, number, sv_source_name(o->source), fields[0]);
    row.box = (sv_box){ (size_t)at[0], (size_t)at[1], (size_t)(at[2] - at[0]), (size_t)(at[3] - at[1]) };
    if (!status) status = sv_grow(&o->boxes, &o->box_room, o->box_count + 1, sizeof *o->boxes, "boxes", err);
    if (!status) o->boxes[o->box_count++] = row;
    return status;
}

static int by_sample(const void *a, const void *b)
{
    const box_row *x = a, *y = b;
    return x->sample < y->sample ? -1 : x->sample > y->sample;
}

static sv_status read_boxes(sv_objects *o, const char *path, sv_error *err)
{
    unsigned char *bytes = NULL;
    size_t count = 0, number = 0;
    sv_status status = sv_file_read_all(path, FILE_MOST, SV_DATA, &bytes, &count, err);
    for (char *at = (char *)bytes, *end = at ? at + count : at; !status && at < end;) {
        char *line = at;
        at += strcspn(at, "\n");
        if (at < end) *at++ = 0;
        line[strcspn(line, "\r")] = 0;
        if (!number++ && strcmp(line, "file,left,top,right,bottom"))
            status = sv_fail(err, SV_DATA, "%s:1: expected the heading file,left,top,right,bottom (or --object-share " SV_OBJECT_MASKS ")", path);
        else if (number > 1 && line[0]) status = take_line(o, line, path, number, err);
    }
    sv_free(bytes);
    if (!status && !o->box_count) status = sv_fail(err, SV_DATA, "%s: there is no box", path);
    if (!status) qsort(o->boxes, o->box_count, sizeof *o->boxes, by_sample);
    if (!status) status = sv_alloc(&o->samples, o->box_count * sizeof *o->samples, "boxes", err);
    for (size_t i = 0; !status && i < o->box_count; i++)
        if (!i || o->boxes[i].sample != o->boxes[i - 1].sample) o->samples[o->count++] = o->boxes[i].sample;
    return status;
}

static void paint_boxes(const sv_objects *o, uint64_t sample, sv_picture *mask)
{
    memset(mask->rgb, 0, 3 * mask->width * mask->height);
    for (size_t i = 0; i < o->box_count; i++) {
        const sv_box *box = &o->boxes[i].box;
        if (o->boxes[i].sample != sample || box->left >= mask->width) continue;
        const size_t across = box->width < mask->width - box->left ? box->width : mask->width - box->left;
        for (size_t y = box->top; y < box->top + box->height && y < mask->height; y++) memset(mask->rgb + 3 * (y * mask->width + box->left), 255, 3 * across);
    }
}

/* ---- masks ------------------------------------------------------------------------------------------------------- */

/* DIR/SPLIT/CLASS/NAME.jpg: DIR/masks/SPLIT/CLASS/NAME.png; NULL data where the path is too short. */
static void mask_path(const char *picture, sv_text *out)
{
    const char *point = strrchr(picture, '.'), *cut = picture + strlen(picture);
    for (int up = 0; up < 3; up++) {
        const char *at = cut;
        while (at > picture && at[-1] != '/') at--;
        if (at == picture && up < 2) return; /* no folder above the split's */
        cut = at == picture ? picture : at - 1;
    }
    const char *behind = cut == picture && picture[0] != '/' ? picture : cut + 1;
    const char *name_end = point && point > strrchr(picture, '/') ? point : picture + strlen(picture);
    sv_text_add_bytes(out, picture, (size_t)(behind - picture));
    sv_text_add(out, "masks/");
    sv_text_add_bytes(out, behind, (size_t)(name_end - behind));
    sv_text_add(out, ".png");
}

static sv_status read_mask(const sv_objects *o, uint64_t sample, const sv_picture *picture, sv_picture *mask, sv_error *err)
{
    char *path = NULL;
    sv_text at = { 0 };
    sv_status status = sv_source_path(o->source, (size_t)sample, &path, err);
    if (!status) mask_path(path, &at);
    if (!status) status = sv_text_check(&at, err);
    if (!status && !at.length) status = sv_fail(err, SV_DATA, "%s: no folder above it could hold masks; they are expected as DIR/masks/SPLIT/CLASS/NAME.png", path);
    if (!status) status = sv_picture_read(mask, at.data, err);
    if (!status && (mask->width != picture->width || mask->height != picture->height))
        status = sv_fail(err, SV_DATA, "%s: a mask of %zu x %zu pixels for a picture of %zu x %zu", at.data, mask->width, mask->height, picture->width, picture->height);
    sv_text_clear(&at);
    sv_free(path);
    return status;
}

/* ---- both -------------------------------------------------------------------------------------------------------- */

sv_status sv_objects_open(sv_objects **out, const char *what, const sv_source *source, sv_error *err)
{
    sv_objects *o = NULL;
    sv_status status = sv_alloc_zero(&o, sizeof *o, "objects", err);
    if (status) return status;
    o->source = source;
    o->masks = strcmp(what, SV_OBJECT_MASKS) == 0;
    if (!o->masks) {
        status = read_boxes(o, what, err);
    } else {
        const size_t count = sv_source_count(source);
        status = sv_alloc(&o->samples, (count ? count : 1) * sizeof *o->samples, "objects", err);
        for (size_t i = 0; !status && i < count; i++) o->samples[o->count++] = i;
    }
    if (status) sv_objects_close(o);
    else *out = o;
    return status;
}

void sv_objects_close(sv_objects *o)
{
    if (!o) return;
    sv_free(o->boxes);
    sv_free(o->samples);
    sv_free(o);
}

const uint64_t *sv_objects_samples(const sv_objects *o, size_t *count)
{
    *count = o->count;
    return o->samples;
}

/* Each pixel of the model's crop asks the pixel of the stored picture that its centre lies in. */
static void crop(const sv_picture *mask, const sv_transform_options *transform, uint8_t *view)
{
    size_t width, height;
    sv_box window;
    sv_evaluation_crop(transform, mask->width, mask->height, &width, &height, &window);
    for (size_t y = 0; y < transform->size; y++)
        for (size_t x = 0; x < transform->size; x++) {
            const size_t from_x = (2 * (window.left + x) + 1) * mask->width / (2 * width), from_y = (2 * (window.top + y) + 1) * mask->height / (2 * height);
            view[y * transform->size + x] = mask->rgb[3 * (from_y * mask->width + from_x)] >= THRESHOLD ? 255 : 0;
        }
}

sv_status sv_objects_view(const sv_objects *o, uint64_t sample, const sv_transform_options *transform, uint8_t *view, sv_error *err)
{
    sv_picture picture = { 0 }, mask = { 0 };
    sv_status status = sv_source_read(o->source, (size_t)sample, &picture, err);
    if (!status && o->masks) status = read_mask(o, sample, &picture, &mask, err);
    if (!status && !o->masks) status = sv_picture_resize(&mask, picture.width, picture.height, err);
    if (!status && !o->masks) paint_boxes(o, sample, &mask);
    if (!status) crop(&mask, transform, view);
    sv_picture_clear(&picture);
    sv_picture_clear(&mask);
    return status;
}
