/* Parts of the report page about one evaluation: how many tokens pictures keep, the worst classes, whether probabilities are meant. For report/page.c alone. */
#ifndef SIEVE_REPORT_PAGE_MEASURES_H
#define SIEVE_REPORT_PAGE_MEASURES_H

#include "report/report.h"

extern const char sv_page_measures_style[];
/* Each prints a headed part, or nothing where there are no figures. */
void sv_page_tokens(const sv_report *report, sv_text *text);
void sv_page_classes(const sv_report *report, sv_text *text);
void sv_page_calibration(const sv_report *report, sv_text *text);

#endif
