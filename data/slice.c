/* A part of another source: the pictures that are held out of training, or the rest. Which are held out is a draw of the seed alone, so that both
 * parts fit together wherever they are opened. Samples stay in their order. */
#include "data/source_kind.h"

#include <stdlib.h>

typedef struct slice {
    sv_source base;
    sv_source *whole;
    uint64_t *samples; /* [count] of the whole, rising */
} slice;

static const slice *slice_of(const sv_source *source) { return (const slice *)(const void *)source; }

static sv_status slice_path(const sv_source *source, size_t sample, char **path, sv_error *err)
{
    return sv_source_path(slice_of(source)->whole, slice_of(source)->samples[sample], path, err);
}

static sv_status slice_bytes(const sv_source *source, size_t sample, sv_bytes *room, sv_error *err)
{
    return sv_source_bytes(slice_of(source)->whole, slice_of(source)->samples[sample], room, err);
}

static uint32_t slice_label(const sv_source *source, size_t sample) { return sv_source_label(slice_of(source)->whole, slice_of(source)->samples[sample]); }

/* The classes are the whole's: only their owner frees them. */
static void slice_clear(sv_source *source)
{
    slice *s = (slice *)(void *)source;
    s->base.classes = (sv_classes){ 0 };
    sv_source_close(s->whole);
    sv_free(s->samples);
}

/* Not in data.format: a slice is made of a source that is open. */
static const sv_source_kind kind = { .name = "slice", .path = slice_path, .bytes = slice_bytes, .label = slice_label, .clear = slice_clear };

static int by_number(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

sv_status sv_source_slice(sv_source **out, sv_source *whole, sv_slice_part part, size_t held_out, uint64_t seed, sv_error *err)
{
    slice *s = NULL;
    uint64_t *order = NULL;
    const size_t count = whole->count, first = part == SV_SLICE_HELD_OUT ? 0 : held_out, length = part == SV_SLICE_HELD_OUT ? held_out : count - held_out;
    sv_random random = sv_random_at(seed, SV_FOR_HOLD_OUT, 0, 0, 0);
    size_t bytes;
    if (!held_out || held_out >= count)
        return sv_fail(err, SV_USAGE, "%s: %zu of %zu pictures cannot be held out; expected 1 to %zu", whole->root, held_out, count, count ? count - 1 : 0);
    if (sv_mul_size(&bytes, count, sizeof *order)) return sv_fail(err, SV_FAULT, "an order of %zu pictures does not fit", count);
    sv_status status = sv_alloc(&order, bytes, "data", err);
    if (!status) status = sv_source_create((sv_source **)(void *)&s, sizeof *s, &kind, whole->root, err);
    if (!status) status = sv_alloc(&s->samples, length * sizeof *s->samples, "data", err);
    if (status) {
        if (s) sv_source_close(&s->base);
        sv_free(order);
        return status;
    }
    sv_random_permutation(&random, order, count);
    for (size_t i = 0; i < length; i++) s->samples[i] = order[first + i];
    qsort(s->samples, length, sizeof *s->samples, by_number);
    sv_free(order);
    s->base.classes = whole->classes;
    s->base.numbered = whole->numbered;
    s->base.count = length;
    s->whole = whole;
    *out = &s->base;
    return SV_OK;
}
