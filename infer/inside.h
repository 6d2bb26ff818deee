/* What the files of the inference library share. A call from outside runs between sv_enter and sv_leave: with the floating-point state, the
 * number of threads and the ears for messages that Sieve's inside expects, and the caller's again afterwards. */
#ifndef SIEVE_INFER_INSIDE_H
#define SIEVE_INFER_INSIDE_H

#include "eval/eval.h"
#include "infer/sieve_infer.h"

#include <fenv.h>
#include <pthread.h>
#include <stdatomic.h>

struct sieve_model {
    sv_deployed deployed;
    sv_transform_options transform;
    char **class_names;
    size_t class_name_count;
    pthread_mutex_t preparing; /* the first session packs the weights, where all sessions read them */
    atomic_size_t holders;     /* the caller until sieve_model_free, and each session */
};

/* Takes one holder away; the last one frees. */
void sv_infer_model_release(sieve_model *model);

typedef struct sv_infer_call {
    fenv_t floating;
    const sieve_load_options *say;
} sv_infer_call;
void sv_infer_enter(sv_infer_call *call, size_t threads, const sieve_load_options *say);
void sv_infer_leave(const sv_infer_call *call);

/* The sentence of a failure for the caller. */
sieve_code sv_infer_answer(sv_status status, const sv_error *err, sieve_error *error);

#endif
