/* Letters for figures in pixels: a plain sans serif of strokes, drawn with a round pen at any size, so that no font file is needed. ASCII; any other
 * character is an empty box. (Figures in SVG leave their text to the reader's own font.) */
#ifndef SIEVE_REPORT_LETTERS_H
#define SIEVE_REPORT_LETTERS_H

#include "formats/pictures.h"

typedef enum sv_anchor { SV_ANCHOR_START, SV_ANCHOR_MIDDLE, SV_ANCHOR_END } sv_anchor;

/* Pixels that `text` (UTF-8) takes across at `size` pixels an em; capitals are 0.7 em high. */
double sv_letters_width(const char *text, double size);
/* Draws it with its baseline at y; what lies outside of the picture is left out. color: R, G, B. */
void sv_letters_draw(sv_picture *picture, double x, double y, double size, sv_anchor anchor, const uint8_t color[3], const char *text);

#endif
