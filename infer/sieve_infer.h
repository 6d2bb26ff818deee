/* libsieve-infer: what a model that Sieve has trained says about pictures, in any C or C++ program. Nothing here trains.
 *
 *     load a model file once      sieve_model_load
 *     prepare a place to run      sieve_session_create (batch, threads; all memory is taken here)
 *     run, as often as you like   sieve_run_rgb on bytes, or sieve_run_floats on numbers
 *     read                        sieve_logits, sieve_top, sieve_class_name, sieve_kept
 *
 * Errors. A function that can fail returns SIEVE_OK (0) or another sieve_code, and writes one sentence into *error (NULL: not wanted), which is
 * the caller's. *out is touched on success alone. The library never prints, exits or sets signal handlers.
 *
 * Threads. The rule: a session belongs to one thread at a time; everything else may be used by all at once. Any number of threads may load
 * models, make sessions of the same model or of several, and run them at the same time. Weights are shared by the sessions of a model and never change.
 * A session of n threads works with the calling thread and n - 1 workers of an OpenMP pool that belongs to the calling thread: two threads that
 * run sessions of 4 threads each need 8 cores. Where many threads run sessions, sessions of 1 thread are the quickest. In a process that forks,
 * only sessions of 1 thread may run on both sides of the fork.
 *
 * Bits. Results are the same to the bit for any batch, any number of threads, whatever runs beside; also for any rounding mode or flush of
 * denormals the caller has set, which are the same again when a function returns. Machines with other instruction sets may differ in the last bits.
 *
 * Link with `pkg-config --cflags --libs sieve-infer` (add --static for the static library). Until version 1.0 an update may change this
 * header; then the number in the shared library's name changes too. */
#ifndef SIEVE_INFER_H
#define SIEVE_INFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SIEVE_API __attribute__((visibility("default")))
#else
#define SIEVE_API
#endif

typedef enum sieve_code {
    SIEVE_OK = 0,
    SIEVE_FAULT = 1,     /* the system said no: memory, threads */
    SIEVE_USAGE = 2,     /* a call that cannot be right: no pictures, more of them than the session holds */
    SIEVE_PICTURE = 3,   /* a picture absent, broken or empty */
    SIEVE_MODEL_FILE = 4 /* the model file: absent, cut, of another program */
} sieve_code;

typedef struct sieve_error {
    sieve_code code;
    char text[1024]; /* UTF-8, ends in a zero byte */
} sieve_error;

SIEVE_API const char *sieve_version(void);

/* ---- models ---- */

typedef struct sieve_model sieve_model;

/* All zero (or NULL for the whole) is right for a checkpoint or export of Sieve. */
typedef struct sieve_load_options {
    const char *arch;      /* the backbone of a weight file of another program: "deit_t", ...; NULL: the file says it */
    size_t classes;        /* with arch: its number of classes; 0: the backbone's own (1000) */
    const char *precision; /* of products: "fp32", "bf16", "bf16x3"; NULL: as the model was trained */
    /* Called in the loading thread for what should be told but is no failure, a line at a time; level 1: a warning, 2: a remark. NULL: silence. */
    void (*say)(void *context, int level, const char *line);
    void *say_context;
} sieve_load_options;

SIEVE_API sieve_code sieve_model_load(sieve_model **out, const char *path, const sieve_load_options *options, sieve_error *error);
/* Accepts NULL. Sessions of the model go on: the last one to be freed takes the weights with it. */
SIEVE_API void sieve_model_free(sieve_model *model);

enum { SIEVE_MOST_STAGES = 6 };

/* What is known of a model. A picture becomes [3, image, image] numbers, plane by plane: (byte / 255 - mean) / deviation. */
typedef struct sieve_about {
    size_t image;   /* pixels a side */
    size_t patch;   /* pixels a side of a patch; patches are numbered row by row from the top left */
    size_t patches; /* of the model's first grid, a square */
    size_t classes;
    size_t stages; /* places where tokens leave; 0: none do */
    size_t stage_before_block[SIEVE_MOST_STAGES];
    size_t stage_patches[SIEVE_MOST_STAGES]; /* of the grid, a square, that each stage's selector looks at: `patches`, but where the model changes its grid */
    size_t parameters; /* numbers in the model */
    float mean[3], deviation[3];
} sieve_about;

SIEVE_API sieve_about sieve_model_about(const sieve_model *model);
/* The model's, valid as long as it; NULL where the file stores no name for this class. */
SIEVE_API const char *sieve_class_name(const sieve_model *model, size_t class_index);

/* ---- sessions ---- */

typedef struct sieve_session sieve_session;

typedef struct sieve_session_options {
    size_t batch;   /* the most pictures of one run; 0: 1 */
    size_t threads; /* including the caller's; 0: as many as there are cores for this process */
} sieve_session_options;

/* NULL options: one picture, all cores. Takes all memory that runs need, but what a larger picture than ever before needs to be scaled down.
 * Runs the model once to do so: as long as a run. */
SIEVE_API sieve_code sieve_session_create(sieve_session **out, sieve_model *model, const sieve_session_options *options,
                                          sieve_error *error);
SIEVE_API void sieve_session_free(sieve_session *session); /* accepts NULL */

/* pixels: height rows of width times R, G, B, without padding; borrowed for the call. */
typedef struct sieve_rgb {
    const uint8_t *pixels;
    size_t width, height;
} sieve_rgb;

/* Pictures 0 .. count-1, of any sizes: scaled, cropped at the centre and normalised as the model's own validation pictures were, then run.
 * After a failure there are no results. */
SIEVE_API sieve_code sieve_run_rgb(sieve_session *session, const sieve_rgb *pictures, size_t count, sieve_error *error);
/* The same for numbers made elsewhere: [count, 3, image, image], normalised. One picture may be what sieve_seen gave: the run again. */
SIEVE_API sieve_code sieve_run_floats(sieve_session *session, const float *numbers, size_t count, sieve_error *error);

/* ---- results of the last run: the session's, valid until its next run; NULL or 0 where there is no such picture ---- */

SIEVE_API const float *sieve_logits(const sieve_session *session, size_t picture); /* [classes] */
/* What the model saw, [3, image, image]. */
SIEVE_API const float *sieve_seen(const sieve_session *session, size_t picture);

typedef struct sieve_answer {
    size_t class_index;
    double probability; /* softmax of the logits */
} sieve_answer;

/* The likeliest classes first (ties: the lower index), at most `room` of them; returns how many. */
SIEVE_API size_t sieve_top(const sieve_session *session, size_t picture, sieve_answer *answers, size_t room);
/* How many patches go on behind stage `stage`; *patches (NULL: not wanted) becomes their numbers in the picture, in the order of the tokens. */
SIEVE_API size_t sieve_kept(const sieve_session *session, size_t picture, size_t stage, const uint32_t **patches);
/* [patches] probabilities to be kept behind stage `stage`; not a number where the patch had left before. *packaged (NULL: not wanted): the share of the
 * score of the patches seen there that went into the package token; not a number where the model packs none. */
SIEVE_API const float *sieve_scores(const sieve_session *session, size_t picture, size_t stage, double *packaged);

/* ---- picture files ---- */

/* Decodes a JPEG or PNG as Pillow's convert("RGB") does. out->pixels is then the caller's, to be given to sieve_picture_free. */
SIEVE_API sieve_code sieve_picture_read(sieve_rgb *out, const char *path, sieve_error *error);
SIEVE_API void sieve_picture_free(sieve_rgb *picture); /* accepts NULL and all zero; leaves it all zero */

#ifdef __cplusplus
}
#endif

#endif
