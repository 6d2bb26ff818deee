/* A run as it stands: everything that setup makes and steps use. For the files of train/ alone. */
#ifndef SIEVE_TRAIN_SESSION_H
#define SIEVE_TRAIN_SESSION_H

#include "comm/comm.h"
#include "data/data.h"
#include "eval/eval.h"
#include "formats/weights.h"
#include "latency/latency.h"
#include "latency/measure.h"
#include "report/report.h"
#include "train/teacher.h"
#include "train/train.h"

typedef struct sv_session {
    const sv_config *config;
    const sv_train_request *request;
    sv_comm *comm;                          /* of the request: the ranks of this run; NULL: one process */
    size_t places[SV_RANKS_MOST + 1];       /* of a batch: rank r makes places[r] .. places[r+1]-1 */
    sv_train_options options;
    sv_data_options data;

    sv_source *train_source, *val_source;
    sv_loader *train, *val, *calibrate;

    sv_model *model, *start, *other;        /* start: the dense model a pruned run begins with; other: of train.teacher; NULL: none */
    const sv_model *teacher;                /* who teaches: other, else start; NULL: nobody */
    sv_teacher_options teaching;
    char teacher_mark[SV_TEACHER_MARK];     /* of other; "": none */
    sv_pruning *pruning, *start_pruning;    /* the latter without stages: records the dense model */
    bool *is_new;                           /* [parameters]: not filled from model.weights */
    bool from_scratch;

    sv_training_tape training;
    sv_removal_tape pruned, dense;          /* deployed forms; dense: of the start, where there is one */
    sv_optimizer *optimizer;
    sv_real *ema, *spare;                   /* blocks like values; NULL where off */
    sv_real *targets;                       /* [batch, classes] soft targets of a batch */
    uint32_t *labels; uint64_t *draws;      /* [batch] with ranks: of the whole batch */
    sv_real *pictures_of_all;               /* [batch, 3, size, size] with ranks that mix; else NULL */

    sv_latency_table table;                 /* empty without a budget or a latency term */
    sv_latency_shape shape;
    sv_budget budget;
    bool has_table, foreign_table;          /* foreign: of another machine; then nothing is measured here */
    double budget_ms, dense_ms, predicted_ms;
    sv_measured measured_dense, measured_pruned;
    bool was_measured;

    sv_run_state state;
    uint64_t steps_per_epoch;
    size_t epochs;                          /* with those of rounds */
    bool again;                             /* the finish tightened the targets: another epoch */
    sv_evaluation evaluation, ema_evaluation, dense_evaluation;

    char *folder, *last, *best, *model_text, *classes_text, *config_text, *recipe_text; /* recipe: the config without run.dir and run.threads */
    sv_metrics *metrics;
    sv_records records;                 /* a row a picture, of the last evaluation */
    uint64_t *confusion;                /* [classes * classes] truth, answer, of the last evaluation; NULL: too many classes */
    sv_events *events;                  /* NULL: run.tensorboard is no */
    sv_run_log *log;
    sv_run_lock *lock;
    double told;                            /* seconds: when status.txt was written last */
    double saved;                           /* seconds: when last.safetensors was written last, or the run began */
    bool own_last;                          /* last.safetensors is of this run: made by it, or what it went on from */
    bool spiking;                           /* the bad steps in a row are finite */
    double began, worked;                   /* seconds: of the process, in steps */
    uint64_t pictures;                      /* through training steps of this process */
    double waited;
} sv_session;

/* setup.c */
sv_status sv_session_open(sv_session *session, sv_error *err) SV_MUST_CHECK;
void sv_session_close(sv_session *session);
/* plan.c: the table, the plan a run begins with. */
sv_status sv_session_plan(sv_session *session, sv_error *err) SV_MUST_CHECK;
/* targets.c: keep ratios in force; the targets of the selectors and the curve of the latency term. */
double sv_session_goal_ms(const sv_session *session);  /* what the table should predict for what is kept; the dense time without a budget */
sv_status sv_session_apply_keep(sv_session *session, const double *keep, sv_error *err) SV_MUST_CHECK;
sv_status sv_session_solve(sv_session *session, sv_error *err) SV_MUST_CHECK;        /* from the budget */
sv_status sv_session_tighten(sv_session *session, sv_error *err) SV_MUST_CHECK;      /* by as much as the measured time is above the budget */
sv_status sv_session_follow(sv_session *session, sv_error *err) SV_MUST_CHECK;       /* by as much as what the last evaluation kept differs from the targets */
/* rounds.c: rounds.csv, a line for each measured end of the run. */
sv_status sv_rounds_add(const sv_session *session, sv_error *err) SV_MUST_CHECK;
sv_status sv_rounds_read(const sv_session *session, sv_report_round *rounds, size_t most, size_t *count, sv_error *err) SV_MUST_CHECK; /* *count 0 where there is no file */
void sv_rounds_say(const sv_session *session);
void sv_session_dry_run(sv_session *session);
/* step.c: one optimizer step. *ended: no batch is left in the epoch. */
sv_status sv_session_step(sv_session *session, bool *ended, sv_error *err) SV_MUST_CHECK;
enum { SV_SUM_LOSS, SV_SUM_CLS, SV_SUM_KL, SV_SUM_TOKEN, SV_SUM_RATIO, SV_SUM_LATENCY, SV_SUM_NORM, SV_SUM_SHARE /* and one a stage */,
       SV_SUM_MEAN = SV_SUM_SHARE + SV_MOST_STAGES, SV_SUM_DEVIATION = SV_SUM_MEAN + 3 /* of the first three stages */, SV_SUM_DISTILL = SV_SUM_DEVIATION + 3, SV_SUM_MS /* predicted for what was sampled */ };
/* card.c: what best.safetensors and model.safetensors say of themselves (eval/card.h); e: of these weights. */
sv_status sv_session_card(const sv_session *session, const sv_evaluation *e, sv_text *text, sv_error *err) SV_MUST_CHECK;
/* epoch.c: thresholds, evaluation, metrics, checkpoints, page. */
sv_status sv_session_end_epoch(sv_session *session, sv_error *err) SV_MUST_CHECK;        /* of all ranks together, as the next */
sv_status sv_session_figures(sv_session *session, sv_error *err) SV_MUST_CHECK;          /* evaluates where that was not done yet */
size_t sv_session_goal(const sv_session *session);                                       /* epochs in all, with those of rounds, or where patience ended */
sv_status sv_session_save(sv_session *session, sv_error *err) SV_MUST_CHECK;             /* to last.safetensors */
sv_status sv_session_save_as(sv_session *session, const char *path, sv_error *err) SV_MUST_CHECK;
sv_status sv_session_load(sv_session *session, const char *path, sv_error *err) SV_MUST_CHECK;
/* finish.c: the measured end, on rank 0; *again: the targets were tightened and epochs added. */
sv_status sv_session_finish(sv_session *session, bool *again, sv_error *err) SV_MUST_CHECK;
void sv_session_result(const sv_session *session, sv_train_result *result);
/* tell.c: status.txt, on rank 0; every few seconds, or now. */
void sv_session_tell(sv_session *session, bool now);
void sv_session_tell_end(sv_session *session, sv_status status, const sv_error *err);
double sv_session_rate(const sv_session *session);         /* training pictures a second */
double sv_session_seconds_left(const sv_session *session); /* of the epochs to come, evaluations aside */
/* page.c */
sv_status sv_session_page(sv_session *session, sv_verdict verdict, sv_error *err) SV_MUST_CHECK;

#endif
