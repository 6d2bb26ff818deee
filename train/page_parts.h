/* What of a run's page is more than numbers: pictures of what the selectors keep, and the classes that are mistaken for others. */
#ifndef SIEVE_TRAIN_PAGE_PARTS_H
#define SIEVE_TRAIN_PAGE_PARTS_H

#include "eval/measures.h"
#include "eval/overlays.h"
#include "report/report.h"
#include "train/session.h"

enum { SV_WORST_CLASSES = 12, SV_WORST_ROWS = 10, SV_TOKEN_BARS = 20 };

typedef struct sv_page_parts {
    sv_overlays overlays;
    sv_report_picture pictures[SV_OVERLAYS_MOST];
    unsigned char *png[SV_OVERLAYS_MOST];
    sv_text captions[SV_OVERLAYS_MOST];
    sv_report_confusion confusion;
    const char *names[SV_WORST_CLASSES];
    uint64_t counts[SV_WORST_CLASSES * SV_WORST_CLASSES];
    sv_report_class rows[SV_WORST_ROWS];
    sv_report_tokens tokens[SV_MOST_STAGES];
    uint64_t bars[SV_MOST_STAGES][SV_TOKEN_BARS];
    sv_report_calibration calibration;
    uint64_t said_pictures[SV_CALIBRATION_BINS], said_right[SV_CALIBRATION_BINS];
    double said[SV_CALIBRATION_BINS];
} sv_page_parts;

/* Overlays by the pruned model as it is now, where run.pictures asks for them; the confusion of the classes with most wrong answers, of the last
 * evaluation, its worst classes, its tokens by picture, its calibration. Points the report at them: the parts must outlive it. */
sv_status sv_page_parts_make(sv_page_parts *parts, sv_session *session, sv_report *report, sv_error *err) SV_MUST_CHECK;
void sv_page_parts_clear(sv_page_parts *parts);

#endif
