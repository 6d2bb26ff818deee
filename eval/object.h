/* Do the tokens that stay lie on the object? Where objects are is told by masks (the built-in pictures have them beside) or by boxes drawn by hand. */
#ifndef SIEVE_EVAL_OBJECT_H
#define SIEVE_EVAL_OBJECT_H

#include "data/source.h"
#include "data/transform.h"
#include "pruning/pruning.h"

/* The word of `--object-share` for masks that lie beside the pictures. */
#define SV_OBJECT_MASKS "masks"

/* Where the objects of a source's pictures are. */
typedef struct sv_objects sv_objects;
/* what: SV_OBJECT_MASKS: the mask of DIR/SPLIT/CLASS/NAME.* is DIR/masks/SPLIT/CLASS/NAME.png, of the picture's size, bright inside. Else a CSV file of
 * lines `file,left,top,right,bottom` under that heading: the end of a picture's path, and whole pixels of the picture as it is stored, right and bottom
 * outside of the box; several lines of a picture are all its object. SV_DATA with file:line. The source is borrowed. */
sv_status sv_objects_open(sv_objects **out, const char *what, const sv_source *source, sv_error *err) SV_MUST_CHECK;
void sv_objects_close(sv_objects *objects); /* accepts NULL */

/* The pictures whose object is known, rising; borrowed. With masks: all. */
const uint64_t *sv_objects_samples(const sv_objects *objects, size_t *count);
/* A byte a pixel of what the model sees [size * size], 255 on the object. SV_DATA: the picture or its mask cannot be read, or they differ in size. */
sv_status sv_objects_view(const sv_objects *objects, uint64_t sample, const sv_transform_options *transform, uint8_t *view, sv_error *err) SV_MUST_CHECK;

/* coverage[patch]: the share of it that is object, 0..1; returns their mean: the object's share of the area. */
double sv_object_coverage(const uint8_t *view, size_t size, size_t side, double *coverage);

typedef struct sv_object_share {
    size_t pictures, unseen;            /* counted; those whose object the model's crop leaves out */
    size_t stages;
    double area;                        /* mean share of the area that is object: what patches drawn at random would have */
    double kept[SV_MOST_STAGES];        /* mean share of patches kept */
    double on_object[SV_MOST_STAGES];   /* mean share of the kept patches' area that is object */
    double object_kept[SV_MOST_STAGES]; /* mean share of the object that lies in kept patches */
} sv_object_share;
/* All pictures whose object is known, one at a time through the tape (recorded for pictures of `transform` with side * side patches). Those that cannot be
 * read are named and left out. */
sv_status sv_object_share_of(sv_object_share *out, const sv_removal_tape *removal, const sv_source *source, const sv_objects *objects,
                             const sv_transform_options *transform, size_t side, sv_error *err) SV_MUST_CHECK;
/* One picture's part of it; a stage that keeps nothing adds nothing on the object. stays: [stages * patches]. */
void sv_object_share_add(sv_object_share *sums, const double *coverage, const uint8_t *stays, size_t stages, size_t patches);
/* A table, a line a stage. */
void sv_object_share_print(sv_text *text, const sv_object_share *share, const size_t *before_block);

#endif
