/* Decoding and transforming pictures, timed: what bench prints beside Pillow. */
#ifndef SIEVE_DATA_SPEED_H
#define SIEVE_DATA_SPEED_H

#include "data/source.h"
#include "data/transform.h"

typedef struct sv_picture_speed_request {
    const sv_source *source;            /* its files are held in memory; NULL: one made-up photo of 500 x 375 */
    size_t most;                        /* pictures of the source that are used, from evenly spread places; 0: 500 */
    const sv_transform_options *options;
    bool training;                      /* or evaluation */
    size_t passes;                      /* over all pictures; the first one more, untimed */
} sv_picture_speed_request;
typedef struct sv_picture_speed { size_t pictures, threads; double median_seconds, least_seconds; /* of a pass, on all threads */ } sv_picture_speed;
sv_status sv_picture_speed_measure(const sv_picture_speed_request *request, sv_picture_speed *out, sv_error *err) SV_MUST_CHECK;

#endif
