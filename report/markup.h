/* What the writers of SVG and HTML share: escaping, numbers for people, the colours. Nobody else includes this. */
#ifndef SIEVE_REPORT_MARKUP_H
#define SIEVE_REPORT_MARKUP_H

#include "report/report.h"

/* Text with & < > " escaped, control characters and broken UTF-8 as '?'; NULL as nothing. */
void sv_markup_text(sv_text *text, const char *string);
/* A number in about four digits: "0.0123", "12.3", "1234", "4.6 G" where large; "-" where it is not finite. */
const char *sv_markup_number(char room[32], double value);
/* Letters and digits of the title as the CSS of a chart: shared by the page and by a chart in a file of its own. */
extern const char sv_chart_style[];
void sv_markup_base64(sv_text *text, const unsigned char *bytes, size_t count);

#endif
