/* Report: what people look at. The rows of metrics.csv, event files for TensorBoard, the lines of log.txt, charts as SVG, pictures
 * of which tokens stay, and the page that puts all of it together in one file. Plain numbers and texts in, files out; nothing here
 * knows of training, models or configs. */
#ifndef SIEVE_REPORT_REPORT_H
#define SIEVE_REPORT_REPORT_H

#include "base/base.h"

/* ---- metrics.csv ------------------------------------------------------------------------------------------------- */

/* Rows of numbers under fixed columns. The first column is a counter that rises from row to row (the step). Each row is on disk
 * when sv_metrics_add returns; a crash can cut the last line, which the next _open removes. */
typedef struct sv_metrics sv_metrics;
enum { SV_METRICS_COLUMNS_MOST = 128, SV_METRICS_BYTES_MOST = 1 << 28 };
/* Opens or begins the file. Of rows that are there, those with a counter above `last` are cut: they came after the checkpoint a
 * run goes on from (UINT64_MAX: all stay). Other columns in the file than `columns` are SV_DATA: the file is then left alone. */
sv_status sv_metrics_open(sv_metrics **out, const char *path, const char *const *columns, size_t count, uint64_t last, sv_error *err) SV_MUST_CHECK;
/* values[count]; values[0] is the counter, above the row before (else SV_FAULT). What is not finite becomes an empty field. After a failure the
 * same row may be tried again: what the first try left behind is removed before. */
sv_status sv_metrics_add(sv_metrics *metrics, const double *values, sv_error *err) SV_MUST_CHECK;
void sv_metrics_close(sv_metrics *metrics); /* accepts NULL */

/* The file as columns of numbers, NAN where a field is empty. Freed by _clear. */
typedef struct sv_metrics_table { char **columns; size_t column_count, row_count; double **values; /* [column][row] */ char *text; double *block; } sv_metrics_table;
sv_status sv_metrics_read(sv_metrics_table *out, const char *path, sv_error *err) SV_MUST_CHECK;
void sv_metrics_table_clear(sv_metrics_table *table);
const double *sv_metrics_column(const sv_metrics_table *table, const char *name); /* NULL where there is none */

/* ---- event files ------------------------------------------------------------------------------------------------- */

/* The same numbers for TensorBoard. Each event is on disk when sv_events_add returns; a crash can cut the last one, which readers
 * pass over. What fails leaves the events before it as they are, and a later _add may be tried. */
typedef struct sv_events sv_events;
/* Begins a file in the folder, which is created where absent. It tells readers to drop the points of event files that are there
 * already after `last_step`, the step a run goes on from (-1: all of them, a run from its start; INT64_MAX: none). */
sv_status sv_events_open(sv_events **out, const char *folder, int64_t last_step, sv_error *err) SV_MUST_CHECK;
/* One event of names[count] (UTF-8, "train/loss") and values[count]. What is not finite as a float is left out; where nothing is
 * left, nothing is written. */
sv_status sv_events_add(sv_events *events, uint64_t step, size_t count, const char *const *names, const double *values, sv_error *err) SV_MUST_CHECK;
void sv_events_close(sv_events *events); /* accepts NULL */

/* ---- log.txt ----------------------------------------------------------------------------------------------------- */

/* Takes the messages of sv_log: each goes to the file with date and time (all levels up to `file_most`) and on to the terminal (up
 * to `terminal_most`). A line that cannot be written is said once on the terminal; the run goes on. */
typedef struct sv_run_log sv_run_log;
/* bytes_most: where a line would make the file larger, the file becomes "log.1.txt" (and that one log.2.txt, up to SV_RUN_LOG_OLD) and a new
 * one begins; 0: no limit. */
enum { SV_RUN_LOG_OLD = 3 };
sv_status sv_run_log_open(sv_run_log **out, const char *path, uint64_t bytes_most, sv_level file_most, sv_level terminal_most, sv_error *err) SV_MUST_CHECK;
void sv_run_log_close(sv_run_log *log); /* gives messages back to the default sink, at terminal_most; accepts NULL */

/* ---- charts ------------------------------------------------------------------------------------------------------ */

typedef enum sv_line_kind { SV_LINE_SOLID, SV_LINE_DASHED /* goals */, SV_LINE_FAINT } sv_line_kind;
typedef struct sv_chart_series {
    const char *name;           /* in the legend, with the last value behind it; NULL: not in the legend */
    const double *x, *y;        /* [count], x rising; a y that is not finite is a gap */
    size_t count;
    unsigned color;             /* 0..7; a series and its goal share one */
    sv_line_kind kind;
} sv_chart_series;
typedef struct sv_chart_goal { const char *name; double y; unsigned color; } sv_chart_goal; /* a dashed line from side to side */
typedef enum sv_chart_scale { SV_SCALE_LINEAR, SV_SCALE_FROM_ZERO, SV_SCALE_LOG } sv_chart_scale;
typedef struct sv_chart {
    const char *title, *x_label, *unit; /* unit: of y, behind numbers in the legend: "ms", "%"; "" for none */
    sv_chart_scale scale;               /* SV_SCALE_LOG leaves out what is not above 0 */
    double y_factor;                    /* y is shown times this (100 for percent); 0: 1 */
    const sv_chart_series *series; size_t series_count;
    const sv_chart_goal *goals; size_t goal_count;
} sv_chart;
/* An <svg> element that stands alone too. Wide enough to be read on a phone, light or dark as the reader's device is. Long series are
 * thinned to what can be seen, extremes kept. A chart without a point says so. */
void sv_chart_print(const sv_chart *chart, sv_text *text);
/* As a file of its own. */
sv_status sv_chart_write(const sv_chart *chart, const char *path, sv_error *err) SV_MUST_CHECK;

/* ---- token overlays ---------------------------------------------------------------------------------------------- */

/* The picture, then beside it for each stage what survives: patches that are dropped are faded to near white.
 * kept: [stages][grid_rows * grid_columns], not 0 where the patch stays, in raster order. Small pictures are enlarged in whole steps. */
typedef struct sv_overlay {
    const uint8_t *rgb; size_t width, height;   /* rows of R, G, B */
    size_t grid_columns, grid_rows;             /* must divide width and height */
    const uint8_t *const *kept; size_t stages;
} sv_overlay;
/* Size of the result in pixels. SV_USAGE where the grid does not fit the picture or the result is too large. */
sv_status sv_overlay_size(const sv_overlay *overlay, size_t *width, size_t *height, sv_error *err) SV_MUST_CHECK;
/* rgb[width * height * 3] of sv_overlay_size. */
void sv_overlay_draw(const sv_overlay *overlay, uint8_t *rgb);
/* How many pixels a pixel of the picture becomes, a side; and one panel into rows of `stride` bytes, `rgb` its left upper corner. kept NULL: all. */
size_t sv_overlay_scale(const sv_overlay *overlay);
void sv_overlay_panel(const sv_overlay *overlay, const uint8_t *kept, uint8_t *rgb, size_t stride);

/* ---- the page ---------------------------------------------------------------------------------------------------- */

typedef enum sv_verdict { SV_VERDICT_NONE /* no budget */, SV_VERDICT_RUNNING, SV_VERDICT_MET, SV_VERDICT_MISSED } sv_verdict;

/* One model's figures; NAN where not known. Shares are 0..1. */
typedef struct sv_report_model { double top1, top5, ms_median, ms_p95, macs, parameters, images_per_s; } sv_report_model;
/* One selector. */
typedef struct sv_report_stage { size_t before_block; double target, reached, tokens; } sv_report_stage;
/* One measured end of a run; NAN where not known. */
typedef struct sv_report_round { double epoch, budget_ms, predicted_ms, measured_ms, p95_ms, dense_ms, top1; } sv_report_round;
enum { SV_REPORT_ROUNDS_MOST = 32 };
typedef struct sv_report_fact { const char *name, *value; } sv_report_fact;
typedef struct sv_report_picture { const unsigned char *png; size_t bytes; const char *caption; } sv_report_picture;
/* counts[truth * classes + prediction]. */
typedef struct sv_report_confusion { size_t classes; const char *const *names; const uint64_t *counts; } sv_report_confusion;

/* Pictures that keep b * step .. b * step + step - 1 of `patches` behind one selector. */
typedef struct sv_report_tokens { const uint64_t *pictures; size_t bars, step, patches; } sv_report_tokens;
typedef struct sv_report_class { const char *name; uint64_t pictures, top1, top5; const char *mistake; uint64_t mistaken; } sv_report_class;
/* Bin b: answers of a probability in (b / bins, (b + 1) / bins]; said: their mean. */
typedef struct sv_report_calibration { size_t bins; const uint64_t *pictures, *right; const double *said; double error, loss; } sv_report_calibration;

typedef struct sv_report {
    const char *title, *subtitle;       /* the run's name; a line about what was trained on what */
    sv_verdict verdict;
    double budget_ms, predicted_ms;     /* NAN: none */
    sv_report_model dense, pruned;      /* of a dense run `pruned` is all NAN */
    double top1_ema;                    /* of the trained model's average; NAN: none */
    const sv_report_stage *stages; size_t stage_count;
    const sv_report_round *rounds; size_t round_count;      /* of the closed loop: train, measure, tighten */
    const sv_report_fact *facts; size_t fact_count;         /* further key figures: time taken, pictures a second, peak memory */
    const sv_chart *charts; size_t chart_count;
    const sv_report_picture *pictures; size_t picture_count;
    const sv_report_confusion *confusion;                   /* NULL: none */
    const sv_report_tokens *tokens; size_t token_count;     /* one a selector */
    const sv_report_class *classes; size_t class_count;     /* worst first */
    const sv_report_calibration *calibration;               /* NULL: none */
    const char *machine, *config, *tool, *date;             /* machine line; resolved config as text; what wrote the page and when */
} sv_report;
/* All figures unknown, no lists. */
sv_report sv_report_empty(void);
sv_report_model sv_report_unknown(void);
/* One page of HTML without anything from outside. */
sv_status sv_report_print(const sv_report *report, sv_text *text, sv_error *err) SV_MUST_CHECK;
sv_status sv_report_write(const sv_report *report, const char *path, sv_error *err) SV_MUST_CHECK;

#endif
