/* Forms of pruning: how tokens leave a backbone, whatever the method that chose them. flat: blocks of one width, rows leave for good;
 * freeze: backbones of several stages, dropped rows wait in their grid for the next stage; paths: rows stay, and some take a cheaper way through a stage. A form is a file
 * that ends in one of these rows; a method's row (methods.c) lists those it can take, the first that fits a model is used. A model without selectors
 * is recorded by the flat form, whatever its backbone. */
#ifndef SIEVE_PRUNING_FORM_H
#define SIEVE_PRUNING_FORM_H

#include "pruning/inside.h"

/* The masked student as its losses read it, behind the last norm. finished: the rows that the head wants; kept SV_INDEX [rows,1]: the patch of each, below
 * 0 none, NULL: all are there (sv_model_head_kept). tokens: rows that the token loss compares with
 * the teacher's, the living ones live; origin SV_INDEX [rows,1]: the patch of the teacher's last grid that each is, below 0: none. Both NULL unless wanted. */
typedef struct sv_student { sv_tensor *finished, *kept, *tokens, *origin; } sv_student;

/* The parts of a deployed model as its form lists them, in the order it records them. */
typedef struct sv_part_list { const sv_model *model; sv_part *parts; size_t count, behind; } sv_part_list;
/* One more, of block `index`; selector, tokens: as in sv_part. */
void sv_part_add(sv_part_list *list, sv_part_kind kind, size_t index, size_t selector, size_t tokens);

struct sv_pruning_form {
    const char *name;                               /* "flat" */
    const char *(*misfit)(const sv_model *model);   /* why it does not fit, as "its pooling ..."; NULL: it does */
    sv_status (*check)(const sv_model *model, const sv_pruning_options *options, sv_error *err);    /* settings it cannot have, SV_USAGE; NULL: none */
    sv_status (*declare)(sv_pruning *pruning, sv_error *err);       /* parameters beside the selectors', into pruning->extra; NULL: there are none */
    void (*initialise)(sv_pruning *pruning, uint64_t seed);         /* of those; NULL: there are none */
    bool independent;                               /* each selector decides anew for all patches of its grid: keep ratios are not cumulative */
    sv_student (*student)(sv_training_tape *out, const sv_pruning *pruning, const sv_training_choice *choice, bool tokens);
    /* -> what sv_model_finish is to have of the last block's rows; *kept: as sv_student has it, NULL before the call */
    sv_tensor *(*deployed)(sv_removal_tape *out, const sv_pruning *pruning, const sv_pruning_plan *plan, sv_tensor **kept);
    void (*parts)(const sv_pruning_plan *plan, sv_part_list *list); /* what deployed records and sv_removal_record ends; plan without stages: flat alone is asked */
    /* Multiply-adds of one picture with kept[t] patches behind selector t: inference; the student's forward and backward in a training step. */
    uint64_t (*macs)(const sv_model *model, const sv_pruning_plan *plan, const size_t *kept);
    uint64_t (*training_macs)(const sv_model *model, const sv_pruning_plan *plan, const size_t *kept);
};
extern const sv_pruning_form sv_form_flat, sv_form_freeze, sv_form_paths;

/* The first form of the method that fits the model; NULL where none does. */
const sv_pruning_form *sv_form_find(sv_method method, const sv_model *model);
/* Why none does: the reasons of all, parted by "; ". */
const char *sv_form_misfits(char *room, size_t size, sv_method method, const sv_model *model);
/* Package tokens behind so many selectors. */
size_t sv_plan_packages(const sv_pruning_plan *plan, size_t selectors);

/* ---- what forms share: decisions, recorded and kept for reading ---------------------------------------------------- */

/* Of cut->u with cut->before and cut->origin: noise where it is given, scores, decisions (cut->score, cut->keep), shares. Methods that learn nothing take
 * the best out->value. */
void sv_training_decide(sv_training_tape *out, const sv_pruning *pruning, const sv_training_choice *choice, size_t t, sv_cut *cut);
/* What the run, its report and the checks read of stage t. Ends a segment. */
void sv_training_keep_stage(sv_training_tape *out, const sv_cut *cut, size_t t, const sv_training_choice *choice);
/* The same of the deployed form; after SV_INDEX [n',1]: origins of the rows that go on. Ends a segment. */
void sv_removal_decide(sv_removal_tape *out, const sv_pruning *pruning, const sv_pruning_plan *plan, size_t t, sv_cut *cut);
void sv_removal_keep_stage(sv_removal_tape *out, const sv_cut *cut, size_t t, sv_tensor *after);

#endif
