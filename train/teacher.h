/* Who teaches a run: the dense model it starts from, or another model from a file (train.teacher), and by which loss. */
#ifndef SIEVE_TRAIN_TEACHER_H
#define SIEVE_TRAIN_TEACHER_H

#include "base/config.h"
#include "pruning/pruning.h"

extern const sv_config_group sv_teacher_config; /* keys of [train] */

typedef struct sv_teacher_options {
    const char *file, *arch;    /* "": none; what the file says, else the student's. Borrowed from the config */
    sv_distillation kind;
    double alpha, tau;
} sv_teacher_options;

/* SV_USAGE where values clash that can be told without a model. */
sv_status sv_teacher_options_read(sv_teacher_options *out, const sv_config *config, sv_error *err) SV_MUST_CHECK;
/* Declares and fills the model of options->file for pictures and classes of `student`; frozen, dense, in the student's precision. names: the run's
 * classes, one a line, to be compared with those a checkpoint tells (a warning), NULL: not known. SV_MODEL_FILE: absent, damaged, of another
 * backbone or class count. The model is the caller's. */
sv_status sv_teacher_load(sv_model **out, const sv_teacher_options *options, const sv_config *config, const sv_model *student, const char *names, sv_error *err) SV_MUST_CHECK;
/* Tells one teacher from another: 16 hex digits of its weights (FNV-1a, by words of 8 bytes), whatever file they came from. */
enum { SV_TEACHER_MARK = 17 };
void sv_teacher_mark(char mark[SV_TEACHER_MARK], const sv_model *teacher);
/* Puts the weights in force that fit this teacher (NULL: the run has none): pruning.distill_weight and pruning.token_weight of -1 become 0 where they
 * cannot or need not be. SV_USAGE: distillation with nobody to teach, a teacher with nothing to teach, tokens
 * asked for that cannot be compared. */
sv_status sv_teacher_weigh(sv_pruning_options *weights, const sv_teacher_options *options, const sv_config *config, const sv_model *student, const sv_model *teacher, sv_error *err) SV_MUST_CHECK;

#endif
