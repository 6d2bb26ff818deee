/* Token overlays: the picture and its stages side by side on white, a gap between them. A dropped patch is drawn at a sixth of
 * its strength on light grey, so that one can still see what was thought needless. */
#include "report/report.h"

#include <string.h>

enum { GAP = 8, PANEL_LEAST = 168 /* pixels; smaller pictures are enlarged */, STAGES_MOST = 16, SIDE_MOST = 1 << 14, FADE_KEPT = 40, FADE_GROUND = 236 };

static size_t scale_of(const sv_overlay *overlay)
{
    size_t scale = 1, side = overlay->width < overlay->height ? overlay->width : overlay->height;
    while (side * scale < PANEL_LEAST) scale++;
    return scale;
}

static sv_status check_grids(const sv_overlay *overlay, sv_error *err)
{
    const size_t columns = overlay->grid_columns, rows = overlay->grid_rows;
    if (!overlay->sides && (!overlay->width || !overlay->height || !columns || !rows || overlay->width % columns || overlay->height % rows))
        return sv_fail(err, SV_USAGE, "an overlay of %zu x %zu patches over a picture of %zu x %zu pixels: the patches do not divide it", columns, rows,
                       overlay->width, overlay->height);
    for (size_t t = 0; overlay->sides && t < overlay->stages; t++)
        if (!overlay->sides[t] || overlay->sides[t] > overlay->width || overlay->sides[t] > overlay->height)
            return sv_fail(err, SV_USAGE, "an overlay of %zu x %zu patches over a picture of %zu x %zu pixels: a patch must be a pixel at least", overlay->sides[t],
                           overlay->sides[t], overlay->width, overlay->height);
    return SV_OK;
}

sv_status sv_overlay_size(const sv_overlay *overlay, size_t *width, size_t *height, sv_error *err)
{
    sv_status status = check_grids(overlay, err);
    if (status) return status;
    size_t scale = scale_of(overlay), side_most = SIDE_MOST / scale;
    if (overlay->width > side_most || overlay->height > side_most || overlay->stages > STAGES_MOST)
        return sv_fail(err, SV_USAGE, "an overlay of %zu stages over %zu x %zu pixels is too large; at most %d stages and %d pixels a side", overlay->stages,
                       overlay->width, overlay->height, STAGES_MOST, SIDE_MOST);
    size_t panels = overlay->stages + 1;
    *width = panels * overlay->width * scale + overlay->stages * GAP;
    *height = overlay->height * scale;
    return SV_OK;
}

static uint8_t fade(uint8_t value)
{
    return (uint8_t)((value * FADE_KEPT + FADE_GROUND * (256 - FADE_KEPT)) >> 8);
}

/* One panel; `rgb` is its left upper corner. kept NULL: everything. */
static void draw_panel(const sv_overlay *overlay, const uint8_t *kept, size_t columns, size_t rows, size_t scale, uint8_t *rgb, size_t stride)
{
    for (size_t y = 0; y < overlay->height * scale; y++) {
        const uint8_t *from = overlay->rgb + y / scale * overlay->width * 3;
        const uint8_t *row = kept ? kept + y / scale * rows / overlay->height * columns : NULL;
        uint8_t *to = rgb + y * stride;
        for (size_t x = 0; x < overlay->width * scale; x++) {
            bool stays = !row || row[x / scale * columns / overlay->width];
            for (size_t c = 0; c < 3; c++) to[3 * x + c] = stays ? from[x / scale * 3 + c] : fade(from[x / scale * 3 + c]);
        }
    }
}

void sv_overlay_draw(const sv_overlay *overlay, uint8_t *rgb)
{
    size_t scale = scale_of(overlay), panel = overlay->width * scale, stride = 3 * ((overlay->stages + 1) * panel + overlay->stages * GAP);
    memset(rgb, 255, stride * overlay->height * scale);
    for (size_t stage = 0; stage <= overlay->stages; stage++)
        draw_panel(overlay, stage ? overlay->kept[stage - 1] : NULL, overlay->sides && stage ? overlay->sides[stage - 1] : overlay->grid_columns,
                   overlay->sides && stage ? overlay->sides[stage - 1] : overlay->grid_rows, scale, rgb + 3 * stage * (panel + GAP), stride);
}
