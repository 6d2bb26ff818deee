/* What an evaluation is worth: intervals, two models on the same pictures, classes one by one, how well probabilities are meant, how many tokens a
 * picture keeps. All are functions of the records of sv_evaluate, and so have the same bits for any batch and any number of threads. */
#ifndef SIEVE_EVAL_MEASURES_H
#define SIEVE_EVAL_MEASURES_H

#include "eval/eval.h"

/* ---- shares and their intervals ---------------------------------------------------------------------------------- */

/* Between them the true share lies in 95 of 100 such evaluations. Shares 0..1. */
typedef struct sv_interval { double low, high; } sv_interval;
/* Wilson's score interval (Wilson 1927) of `count` of `of`; 0 to 1 where `of` is 0. */
sv_interval sv_wilson(size_t count, size_t of);

/* ---- two models on the same pictures ----------------------------------------------------------------------------- */

typedef struct sv_paired {
    size_t both, first_alone, second_alone, neither;    /* pictures that are answered right by ... */
    double difference;                                  /* share right of the second minus that of the first */
    sv_interval interval;                               /* of the difference */
    double p;                                           /* McNemar's exact test: how often chance alone parts two equal models so far */
} sv_paired;
/* Two-sided binomial test of first_alone against second_alone at one half (McNemar 1947, exact form); 1 where both are 0. */
double sv_mcnemar(size_t first_alone, size_t second_alone);
/* Bonett and Price 2012, adjusted Wald: one is added to each of the two counts and two to the pictures. */
sv_interval sv_paired_interval(size_t first_alone, size_t second_alone, size_t of);
/* SV_FAULT where the two are not of the same pictures in the same order. */
sv_status sv_paired_of(sv_paired *out, const sv_records *first, const sv_records *second, sv_error *err) SV_MUST_CHECK;

/* ---- classes one by one ------------------------------------------------------------------------------------------ */

typedef struct sv_class_row {
    size_t index, images, top1, top5;
    size_t mistake, mistaken;           /* the class most often answered instead (of equals the lowest), and how often; mistaken 0: none */
} sv_class_row;
typedef struct sv_class_table { sv_class_row *rows; size_t count; } sv_class_table;
/* A row for each class that has pictures: lowest share of top-1 first, then of top-5, then the class with more pictures, then the lower index. */
sv_status sv_class_table_make(sv_class_table *out, const sv_records *records, sv_error *err) SV_MUST_CHECK;
void sv_class_table_clear(sv_class_table *table);

/* ---- are probabilities meant? ------------------------------------------------------------------------------------ */

enum { SV_CALIBRATION_BINS = 15 };
/* Bin i holds answers of a probability in (i/15, (i+1)/15]. */
typedef struct sv_calibration {
    size_t images[SV_CALIBRATION_BINS], right[SV_CALIBRATION_BINS];
    double said[SV_CALIBRATION_BINS];   /* mean probability of the answers in it; 0 where there are none */
    double error;                       /* expected calibration error (Guo et al. 2017): mean over pictures of |right - said| of their bin */
    double confidence;                  /* mean probability of all answers */
    double loss;                        /* negative log likelihood: the mean cross entropy */
} sv_calibration;
/* One answer whose probability is no number makes error and confidence no numbers; it is in no bin. */
void sv_calibration_of(sv_calibration *out, const sv_records *records);

/* ---- tokens a picture ---------------------------------------------------------------------------------------------- */

/* counts[n]: pictures that keep n patches behind `stage`; [patches + 1]. */
void sv_tokens_count(size_t *counts, size_t patches, const sv_records *records, size_t stage);
/* How many kept counts share a bar, so that at most 20 bars hold 0..patches. */
size_t sv_tokens_step(size_t patches);

#endif
