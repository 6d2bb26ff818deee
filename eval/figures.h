/* What `eval` says of one model or of two on the same pictures: for a terminal, as CSV, as JSON. */
#ifndef SIEVE_EVAL_FIGURES_H
#define SIEVE_EVAL_FIGURES_H

#include "base/json.h"
#include "eval/measures.h"
#include "eval/object.h"

/* All borrowed. */
typedef struct sv_figures {
    const char *name;                   /* "dense", "pruned", "beside" */
    const sv_evaluation *e;
    const sv_records *records;
    const sv_pruning_plan *plan;        /* stages 0 or NULL: dense */
    size_t patches;
    double ms_median, ms_p95;           /* one picture at a time; NAN: not measured */
    const sv_object_share *object;      /* NULL: not looked at */
} sv_figures;

/* A line a model under one heading, aligned; then how many pictures there were. */
void sv_figures_print(sv_text *text, const sv_figures *figures, size_t count);
/* Who is right where the other is not, the difference, its interval and the test; in what words depends on p. */
void sv_paired_print(sv_text *text, const sv_paired *paired, const char *first, const char *second);
/* For each selector: mean, least, most and a bar for each range of kept counts that occurs. Nothing for a dense model. */
sv_status sv_tokens_print(sv_text *text, const sv_figures *figures, sv_error *err) SV_MUST_CHECK;
/* A line; with `bins` a table of those that are not empty. */
void sv_calibration_print(sv_text *text, const sv_figures *figures, bool bins);
/* At most `most` rows of the table. */
void sv_classes_print(sv_text *text, const sv_class_table *table, const sv_classes *classes, size_t most);

/* Lines `model,table,key,name,value` of all that was measured, accuracy to tokens; `paired` (of figures[0] and figures[1]): NULL: none. */
sv_status sv_figures_csv(sv_text *text, const sv_figures *figures, size_t count, const sv_paired *paired, sv_error *err) SV_MUST_CHECK;
/* Lines `class,name,pictures,top1,top5,top1_share,mistaken_for,mistaken_pictures`, in the table's order. */
void sv_classes_csv(sv_text *text, const sv_class_table *table, const sv_classes *classes);
/* Members of one model into an open object. */
sv_status sv_figures_json(sv_json *json, const sv_figures *figures, sv_error *err) SV_MUST_CHECK;
void sv_paired_json(sv_json *json, const char *name, const sv_paired *paired);
void sv_classes_json(sv_json *json, const char *name, const sv_class_table *table, const sv_classes *classes);

#endif
