/* Token overlays: the picture and its stages side by side on white, a gap between them. A dropped patch is drawn at a sixth of
 * its strength on light grey, so that one can still see what was thought needless. */
#include "report/report.h"

#include <string.h>

enum { GAP = 8, PANEL_LEAST = 168 /* pixels; smaller pictures are enlarged */, STAGES_MOST = 16, SIDE_MOST = 1 << 14, FADE_KEPT = 40, FADE_GROUND = 236 };

size_t sv_overlay_scale(const sv_overlay *overlay)
{
    size_t scale = 1, side = overlay->width < overlay->height ? overlay->width : overlay->height;
    while (side * scale < PANEL_LEAST) scale++;
    return scale;
}

sv_status sv_overlay_size(const sv_overlay *overlay, size_t *width, size_t *height, sv_error *err)
{
    size_t columns = overlay->grid_columns, rows = overlay->grid_rows;
    if (!overlay->width || !overlay->height || !columns || !rows || overlay->width % columns || overlay->height % rows)
        return sv_fail(err, SV_USAGE, "an overlay of %zu x %zu patches over a picture of %zu x %zu pixels: the patches do not divide it", columns, rows,
                       overlay->width, overlay->height);
    size_t scale = sv_overlay_scale(overlay), side_most = SIDE_MOST / scale;
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

void sv_overlay_panel(const sv_overlay *overlay, const uint8_t *kept, uint8_t *rgb, size_t stride)
{
    size_t scale = sv_overlay_scale(overlay), patch_width = overlay->width / overlay->grid_columns, patch_height = overlay->height / overlay->grid_rows;
    for (size_t y = 0; y < overlay->height * scale; y++) {
        const uint8_t *from = overlay->rgb + y / scale * overlay->width * 3;
        const uint8_t *row = kept ? kept + y / scale / patch_height * overlay->grid_columns : NULL;
        uint8_t *to = rgb + y * stride;
        for (size_t x = 0; x < overlay->width * scale; x++) {
            bool stays = !row || row[x / scale / patch_width];
            for (size_t c = 0; c < 3; c++) to[3 * x + c] = stays ? from[x / scale * 3 + c] : fade(from[x / scale * 3 + c]);
        }
    }
}

void sv_overlay_draw(const sv_overlay *overlay, uint8_t *rgb)
{
    size_t scale = sv_overlay_scale(overlay), panel = overlay->width * scale, stride = 3 * ((overlay->stages + 1) * panel + overlay->stages * GAP);
    memset(rgb, 255, stride * overlay->height * scale);
    for (size_t stage = 0; stage <= overlay->stages; stage++)
        sv_overlay_panel(overlay, stage ? overlay->kept[stage - 1] : NULL, rgb + 3 * stage * (panel + GAP), stride);
}
