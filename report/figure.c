#include "report/figure.h"
#include "report/heat.h"
#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MARGIN = 28, GAP = 24, PAIR = 14, BETWEEN = 56, HEADING = 40, CAPTION = 70, ROW_GAP = 20, LEGEND = 56, ALONE_MOST = 6, STAGES_MOST = 16, OUTLINE = 3, KEY = 240 };
static const double TEXT = 22, SMALL = 18;
static const uint8_t ink[3] = { 28, 36, 48 }, soft[3] = { 93, 107, 126 }, track[3] = { 226, 231, 238 }, bar[3] = { 0, 103, 184 }, gone[3] = { 236, 238, 241 },
                     outline[3] = { 255, 106, 0 };
static const uint8_t *const note_colors[SV_NOTES] = { [SV_NOTE_PLAIN] = soft, [SV_NOTE_RIGHT] = (const uint8_t[]){ 0, 115, 79 }, [SV_NOTE_WRONG] = (const uint8_t[]){ 179, 38, 30 } };

typedef struct layout { const sv_figure *figure; sv_canvas *canvas; size_t scale, panel_width, panel_height, across, block_width, block_height; sv_picture panel; } layout;

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static size_t stage_left(const layout *l, size_t stage)
{
    const size_t pair = l->figure->heat ? 2 * l->panel_width + PAIR : l->panel_width;
    return l->panel_width + GAP + stage * (pair + GAP);
}

static void measure(layout *l)
{
    const sv_figure *f = l->figure;
    sv_overlay one = { .width = f->width, .height = f->height };
    l->scale = sv_overlay_scale(&one);
    l->panel_width = f->width * l->scale;
    l->panel_height = f->height * l->scale;
    l->across = f->across ? f->across : f->row_count > ALONE_MOST ? 2 : 1;
    if (l->across > f->row_count) l->across = f->row_count;
    l->block_width = stage_left(l, f->stages) - GAP;
    l->block_height = l->panel_height + CAPTION + ROW_GAP;
}

/* ---- panels ------------------------------------------------------------------------------------------------------ */

static bool on_object(const layout *l, const uint8_t *object, long x, long y)
{
    if (x < 0 || y < 0 || x >= (long)l->panel_width || y >= (long)l->panel_height) return false;
    return object[(size_t)y / l->scale * l->figure->width + (size_t)x / l->scale] >= 128;
}

/* A line of OUTLINE pixels just inside the object's edge. */
static void draw_outline(layout *l, const uint8_t *object)
{
    for (size_t y = 0; y < l->panel_height; y++)
        for (size_t x = 0; x < l->panel_width; x++) {
            const long far = OUTLINE, px = (long)x, py = (long)y;
            if (!on_object(l, object, px, py)) continue;
            if (on_object(l, object, px - far, py) && on_object(l, object, px + far, py) && on_object(l, object, px, py - far) && on_object(l, object, px, py + far)) continue;
            memcpy(l->panel.rgb + (y * l->panel_width + x) * 3, outline, 3);
        }
}

static void draw_heat(layout *l, const float *score)
{
    const sv_figure *f = l->figure;
    const size_t patch_width = l->panel_width / f->grid_columns, patch_height = l->panel_height / f->grid_rows;
    for (size_t p = 0; p < f->grid_columns * f->grid_rows; p++) {
        uint8_t color[3];
        memcpy(color, gone, 3);
        if (isfinite(score[p])) sv_heat_color((double)score[p], color);
        uint8_t *corner = l->panel.rgb + (p / f->grid_columns * patch_height * l->panel_width + p % f->grid_columns * patch_width) * 3;
        for (size_t y = 0; y < patch_height; y++)
            for (size_t x = 0; x < patch_width; x++) memcpy(corner + (y * l->panel_width + x) * 3, color, 3);
    }
}

static void show_panel(layout *l, size_t x, size_t y) { sv_canvas_picture(l->canvas, x, y, &l->panel); }

static void draw_kept(layout *l, const sv_figure_row *row, const uint8_t *kept)
{
    const sv_overlay overlay = { .rgb = row->rgb, .width = l->figure->width, .height = l->figure->height, .grid_columns = l->figure->grid_columns, .grid_rows = l->figure->grid_rows };
    sv_overlay_panel(&overlay, kept, l->panel.rgb, 3 * l->panel_width);
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

static const char *share_text(char room[24], double share)
{
    snprintf(room, 24, share < 0.0995 ? "%.1f %%" : "%.0f %%", 100 * share);
    return room;
}

static void caption_input(const layout *l, const sv_figure_row *row, double x, double y)
{
    const double wide = (double)l->panel_width;
    if (row->name) sv_canvas_text(l->canvas, x, y + 27, TEXT, wide, SV_ANCHOR_START, ink, row->name);
    if (row->note) sv_canvas_text(l->canvas, x, y + 53, SMALL, wide, SV_ANCHOR_START, note_colors[row->kind], row->note);
}

static void caption_kept(const layout *l, const sv_figure_stage *stage, double x, double y)
{
    const size_t patches = l->figure->grid_columns * l->figure->grid_rows;
    const double wide = (double)l->panel_width;
    char text[64], share[24];
    size_t kept = stage->kept_count, all = stage->patches ? stage->patches : patches;
    for (size_t p = 0; !stage->patches && p < patches; p++) kept += stage->kept[p] != 0;
    snprintf(text, sizeof text, "%zu of %zu", kept, all);
    sv_canvas_text(l->canvas, x, y + 27, TEXT, wide * 0.7, SV_ANCHOR_START, ink, text);
    sv_canvas_text(l->canvas, x + wide, y + 27, TEXT, wide * 0.3, SV_ANCHOR_END, soft, share_text(share, (double)kept / (double)all));
    if (!isfinite(stage->packaged)) return;
    const double left = sv_letters_width("package ", SMALL) + 9, right = sv_letters_width(" 00.0 %", SMALL) + 2, length = wide - left - right;
    sv_canvas_text(l->canvas, x, y + 53, SMALL, wide, SV_ANCHOR_START, soft, "package");
    sv_canvas_fill(l->canvas, x + left, y + 43, length, 9, track);
    sv_canvas_fill(l->canvas, x + left, y + 43, length * fmin(fmax(stage->packaged, 0), 1), 9, bar);
    sv_canvas_text(l->canvas, x + wide, y + 53, SMALL, wide, SV_ANCHOR_END, soft, share_text(share, stage->packaged));
}

static void caption_heat(const layout *l, const float *score, double x, double y)
{
    double least = HUGE_VAL, most = -HUGE_VAL;
    char text[64];
    for (size_t p = 0; p < l->figure->grid_columns * l->figure->grid_rows; p++) {
        if (!isfinite(score[p])) continue;
        least = fmin(least, (double)score[p]);
        most = fmax(most, (double)score[p]);
    }
    if (least > most) return;
    snprintf(text, sizeof text, "%.2f to %.2f", least, most);
    sv_canvas_text(l->canvas, x, y + 27, TEXT, (double)l->panel_width, SV_ANCHOR_START, soft, text);
}

static void draw_headings(const layout *l, double x)
{
    const double y = MARGIN + 18, wide = (double)l->panel_width;
    sv_canvas_text(l->canvas, x, y, TEXT, wide, SV_ANCHOR_START, soft, "input");
    for (size_t t = 0; t < l->figure->stages; t++) {
        const double left = x + (double)stage_left(l, t);
        char text[64];
        if (l->figure->before_block) snprintf(text, sizeof text, "before block %zu", l->figure->before_block[t]);
        else snprintf(text, sizeof text, "selector %zu", t + 1);
        sv_canvas_text(l->canvas, left, y, TEXT, wide, SV_ANCHOR_START, soft, text);
        if (l->figure->heat) sv_canvas_text(l->canvas, left + wide + PAIR, y, TEXT, wide, SV_ANCHOR_START, soft, "score");
    }
}

/* ---- the key ----------------------------------------------------------------------------------------------------- */

/* A square of a colour and what it means; returns where the next may stand. */
static double key_square(const layout *l, double x, double y, const uint8_t color[3], const char *text)
{
    const double most = fmax(0, (double)l->canvas->width - MARGIN - x - 28);
    sv_canvas_fill(l->canvas, x, y - 15, 18, 18, color);
    sv_canvas_text(l->canvas, x + 28, y, SMALL, most, SV_ANCHOR_START, soft, text);
    return x + 28 + sv_letters_width(text, SMALL) + 36;
}

static double key_heat(const layout *l, double x, double y)
{
    static const char *const ends[] = { "probability to be kept  0", "1" };
    sv_canvas_text(l->canvas, x, y, SMALL, (double)l->canvas->width, SV_ANCHOR_START, soft, ends[0]);
    x += sv_letters_width(ends[0], SMALL) + 10;
    for (size_t i = 0; i < KEY / 2; i++) {
        uint8_t color[3];
        sv_heat_color(((double)i + 0.5) / (KEY / 2), color);
        sv_canvas_fill(l->canvas, x + 2.0 * (double)i, y - 15, 2, 18, color);
    }
    sv_canvas_text(l->canvas, x + KEY + 10, y, SMALL, 40, SV_ANCHOR_START, soft, ends[1]);
    return x + KEY + 60;
}

static bool any_package(const sv_figure *f)
{
    for (size_t i = 0; i < f->row_count; i++)
        for (size_t t = 0; t < f->stages; t++)
            if (isfinite(f->rows[i].stages[t].packaged)) return true;
    return false;
}

static bool any_object(const sv_figure *f)
{
    for (size_t i = 0; i < f->row_count; i++)
        if (f->rows[i].object) return true;
    return false;
}

static bool has_key(const sv_figure *f) { return f->heat || any_package(f) || any_object(f); }

static void draw_key(const layout *l)
{
    const double y = (double)l->canvas->height - MARGIN;
    double x = MARGIN;
    if (l->figure->heat) x = key_heat(l, x, y);
    if (l->figure->heat) x = key_square(l, x, y, gone, "had left before");
    if (any_object(l->figure)) x = key_square(l, x, y, outline, "object");
    if (any_package(l->figure)) (void)key_square(l, x, y, bar, "package: its share of the score");
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static void draw_row(layout *l, const sv_figure_row *row, size_t x, size_t y)
{
    const double below = (double)(y + l->panel_height);
    draw_kept(l, row, NULL);
    if (row->object) draw_outline(l, row->object);
    show_panel(l, x, y);
    caption_input(l, row, (double)x, below);
    for (size_t t = 0; t < l->figure->stages; t++) {
        const sv_figure_stage *stage = &row->stages[t];
        const size_t left = x + stage_left(l, t), beside = left + l->panel_width + PAIR;
        draw_kept(l, row, stage->kept);
        show_panel(l, left, y);
        caption_kept(l, stage, (double)left, below);
        if (!l->figure->heat || !stage->score) continue;
        draw_heat(l, stage->score);
        show_panel(l, beside, y);
        caption_heat(l, stage->score, (double)beside, below);
    }
}

static sv_status check(const sv_figure *f, sv_error *err)
{
    if (!f->row_count) return sv_fail(err, SV_USAGE, "a figure of no pictures: none was asked for, or none could be read");
    if (f->stages > STAGES_MOST) return sv_fail(err, SV_USAGE, "a figure of %zu stages; at most %d can be shown", f->stages, STAGES_MOST);
    const sv_overlay one = { .width = f->width, .height = f->height, .grid_columns = f->grid_columns, .grid_rows = f->grid_rows };
    size_t width, height;
    return sv_overlay_size(&one, &width, &height, err);
}

sv_status sv_figure_draw(sv_canvas *canvas, sv_canvas_form form, const sv_figure *figure, sv_error *err)
{
    layout l = { .figure = figure, .canvas = canvas };
    memset(canvas, 0, sizeof *canvas);
    sv_status status = check(figure, err);
    if (status) return status;
    measure(&l);
    const size_t down = (figure->row_count + l.across - 1) / l.across;
    const size_t width = 2 * MARGIN + l.across * (l.block_width + BETWEEN) - BETWEEN;
    const size_t height = 2 * MARGIN + HEADING + down * l.block_height - ROW_GAP + (has_key(figure) ? LEGEND - MARGIN + 4 : 0);
    status = sv_canvas_open(canvas, form, width, height, err);
    if (!status) status = sv_picture_resize(&l.panel, l.panel_width, l.panel_height, err);
    for (size_t a = 0; !status && a < l.across; a++) draw_headings(&l, (double)(MARGIN + a * (l.block_width + BETWEEN)));
    for (size_t i = 0; !status && i < figure->row_count; i++)
        draw_row(&l, &figure->rows[i], MARGIN + i % l.across * (l.block_width + BETWEEN), MARGIN + HEADING + i / l.across * l.block_height - 12);
    if (!status && has_key(figure)) draw_key(&l);
    if (!status) status = sv_canvas_check(canvas);
    sv_picture_clear(&l.panel);
    return status;
}
