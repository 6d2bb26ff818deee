/* The built-in pictures: coloured shapes on cluttered ground, ten classes, written as ordinary picture files so that the first run of a new
 * user goes through the same code as ImageNet does. Each picture is a function of (seed, split, index). */
#ifndef SIEVE_DATA_SHAPES_H
#define SIEVE_DATA_SHAPES_H

#include "formats/pictures.h"

typedef struct sv_shapes_options {
    const char *folder;
    size_t train, val;          /* pictures over all classes; multiples of 10 give even classes */
    size_t size;                /* pixels a side, 16..1024 */
    uint64_t seed;
} sv_shapes_options;

size_t sv_shape_kinds(void);
const char *sv_shape_name(size_t kind);

/* Draws one picture and its mask (255 inside the object, 0 outside, grey on its edge), both size x size. The object covers 12 to 32 % of the
 * area, drawn from `random` (less where its longest form would not fit), and lies wholly inside. SV_FAULT: memory. */
sv_status sv_shape_draw(size_t kind, size_t size, sv_random *random, sv_picture *picture, sv_picture *mask, sv_error *err) SV_MUST_CHECK;

/* Picture `index` of a set as sv_shapes_write draws it (before it becomes a file: PNG keeps it to the byte, JPEG nearly), with the mask of its object.
 * split 0: train, 1: val. Of picture number n of class k, the file CLASS_n, the index is 10 n + k. SV_FAULT: memory. */
sv_status sv_shapes_at(uint64_t seed, size_t size, uint32_t split, size_t index, sv_picture *picture, sv_picture *mask, sv_error *err) SV_MUST_CHECK;

/* Writes folder/train/CLASS/NAME, folder/val/CLASS/NAME (PNG and JPEG in turn), the masks as folder/masks/train/CLASS/NAME.png and so on, and
 * last folder/classes.txt: where that is absent the set is not whole. Files that are there already are replaced. Drawn by all threads.
 * Stops at a signal (SV_INTERRUPTED). */
sv_status sv_shapes_write(const sv_shapes_options *options, sv_error *err) SV_MUST_CHECK;

#endif
