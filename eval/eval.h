/* Evaluation: what a trained model is worth. Accuracy on labelled pictures, thresholds that meet the targets, models from checkpoint files.
 * Knows nothing of training. */
#ifndef SIEVE_EVAL_EVAL_H
#define SIEVE_EVAL_EVAL_H

#include "comm/comm.h"
#include "data/loader.h"
#include "pruning/pruning.h"

/* ---- accuracy ---------------------------------------------------------------------------------------------------- */

typedef struct sv_evaluation {
    size_t images, top1, top5;          /* counts; ties of logits go to the lower index */
    size_t top1_among;                  /* right where only the classes that have pictures may be answered */
    size_t bad_pictures;
    double loss;                        /* mean cross entropy */
    double kept[SV_MOST_STAGES];        /* mean patches kept behind each selector */
    size_t kept_least[SV_MOST_STAGES], kept_most[SV_MOST_STAGES];
    double macs;                        /* mean of a picture */
    double seconds;                     /* of the model alone, without pictures being read */
} sv_evaluation;

/* What one picture said. Rows stand in the order of the loader, which neither batch nor threads nor ranks change. */
typedef struct sv_record {
    uint64_t sample;                    /* its number in the source */
    double loss, confidence;            /* cross entropy; probability of the answer */
    uint32_t label, answer;             /* classes */
    uint32_t rank, rank_among;          /* classes that beat the label: 0: right; among the classes that have pictures */
    uint32_t kept[SV_MOST_STAGES];      /* patches behind each selector */
} sv_record;
/* All zero is empty. */
typedef struct sv_records { sv_record *rows; size_t count, room, stages, classes; } sv_records;
void sv_records_clear(sv_records *records);

/* Called for each picture in order: its sample number, label and logits [classes]. */
typedef sv_status sv_logits_sink(void *context, uint64_t sample, uint32_t label, const sv_real *logits, size_t classes, sv_error *err);

typedef struct sv_evaluate_options {
    const char *progress;               /* what to say while it runs ("validation"); NULL: nothing */
    size_t pictures_most;               /* stop after so many, to the picture; 0: all. With ranks a place whose picture cannot be read counts as one
                                         * of its batch, and the next batch makes up for it */
    sv_logits_sink *sink; void *sink_context;
    sv_records *records;                /* becomes a row a picture; empty before; cleared by the caller, after a failure too. NULL: none */
    uint64_t *confusion;                /* [classes * classes] truth, answer: added to; NULL: none */
    /* Ranks that evaluate together, each with a loader of its slice of every batch: rank r makes places first[r] .. first[r+1]-1 ([ranks + 1]).
     * Each has the result of all, to the bit that of one process. A sink sees own pictures alone. comm NULL: this process alone. */
    sv_comm *comm; const size_t *first;
} sv_evaluate_options;

/* Runs the loader's epoch 0 (made with SV_LOAD_EVALUATION) through the tape. The loader's batch must not exceed the tape's. */
sv_status sv_evaluate(const sv_removal_tape *removal, sv_loader *loader, const sv_source *source, const sv_evaluate_options *options, sv_evaluation *out,
                      sv_error *err) SV_MUST_CHECK;

/* Sets plan->threshold[t], first stage to last, so that the mean share kept over the first `pictures` pictures of the loader is plan->keep[t] (spec
 * SPViT 7.3); leaves the tape with that plan. Nothing to do for rules other than threshold. */
sv_status sv_calibrate(sv_removal_tape *removal, sv_pruning_plan *plan, sv_loader *loader, size_t pictures, sv_error *err) SV_MUST_CHECK;

/* ---- models from files ------------------------------------------------------------------------------------------- */

/* A model as it was trained: weights, selectors, plan, class names. */
typedef struct sv_deployed {
    sv_model *model;
    sv_pruning *pruning;
    sv_pruning_plan plan;               /* stages 0: dense */
    char *classes;                      /* class names, one a line; NULL: none stored */
    char *config;                       /* the resolved config of the run that made it; NULL: none stored */
} sv_deployed;
/* Reads a checkpoint or export of Sieve (safetensors with "sieve.model"). SV_MODEL_FILE. */
sv_status sv_deployed_load(sv_deployed *out, const char *path, sv_error *err) SV_MUST_CHECK;
/* A dense model of a named backbone with weights of a foreign file; image, classes 0: the row's. */
sv_status sv_deployed_from_weights(sv_deployed *out, const char *arch, const char *path, size_t image, size_t classes, sv_error *err) SV_MUST_CHECK;
/* Another precision for its products than the one it was trained in: "fp32", "bf16", "bf16x3"; NULL: as it is. Before recording. SV_USAGE. */
sv_status sv_deployed_set_precision(sv_deployed *deployed, const char *name, sv_error *err) SV_MUST_CHECK;
/* The evaluation transform its pictures had: of the stored config, where there is none the defaults; the size is the model's. SV_MODEL_FILE: a
 * stored value out of its range. */
sv_status sv_deployed_transform(const sv_deployed *deployed, sv_transform_options *out, sv_error *err) SV_MUST_CHECK;
void sv_deployed_clear(sv_deployed *deployed);

#endif
