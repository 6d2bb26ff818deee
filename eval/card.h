/* The model card: what a file holds, what it was trained on and how well, how fast where, under which licence. What is not known is left out,
 * not guessed. The same card stands in the metadata of ONNX exports (a key each), of exported safetensors and of the files of a run
 * ("sieve.card", a line each). */
#ifndef SIEVE_EVAL_CARD_H
#define SIEVE_EVAL_CARD_H

#include "pruning/pruning.h"

typedef struct sv_card {
    const sv_model *model;
    const sv_pruning_plan *plan; /* stages 0: dense */
    const char *config;          /* resolved config of the run: data, input, model.licence; NULL: none */
    const char *weights;         /* how numbers are stored: "float32" */
    const char *accuracy;        /* a line; NULL: not known */
    const char *latency;         /* a line, with its machine; NULL: not said (files that must be the same bytes each time) */
    const char *licence;         /* NULL: the config's model.licence */
} sv_card;

typedef void sv_card_sink(void *context, const char *key, const char *value);
/* Keys: model, work, pruning, keep_ratios, tokens_kept or thresholds, weights, data, input, accuracy, latency, licence, tool. */
void sv_card_tell(const sv_card *card, sv_card_sink *sink, void *context);
/* The same as lines "key: value". The caller checks the text. */
void sv_card_print(const sv_card *card, sv_text *text);

/* What the file of a run says of its accuracy: its card, else the best of its run's state; an empty line where it says nothing. */
sv_status sv_card_accuracy(const char *path, char room[256], sv_error *err) SV_MUST_CHECK;
/* "7.1 ms a picture at batch 1 in Sieve (fp32, 2 threads) on CPU": with a word where the machine was busy. */
void sv_card_latency(double ms, char room[512]);

#endif
